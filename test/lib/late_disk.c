/* Reads that come late. How: a fetch is a copy of its keys in a list; a read is good if its key is
 * in one that has come, or was said to be cached since the last turn. Values are the store's own.
 */
#include "lib/late_disk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/bytes.h"
#include "core/random.h"
#include "core/status.h"
#include "lib/test.h"

#define LIST_MAX 4096

/* A fetch, or a stream with its pieces. */
struct tarn_fetch {
    struct tarn_session *session;
    tarn_fetched done;
    void *context;
    bool under_way, told, full;
    size_t count;
    struct tarn_bytes keys[];
};

struct tarn_stream {
    struct tarn_session *session;
    tarn_fetched done;
    void *context;
    bool under_way, told, is_bad;
    struct tarn_bytes value;
    uint64_t at;
    void *piece; /* a copy, so that use after its time is seen */
    size_t piece_size;
};

struct late_disk late_disk;
static struct tarn_fetch *fetches[LIST_MAX];
static struct tarn_stream *streams[LIST_MAX];
static struct tarn_bytes cached[LIST_MAX];
static size_t cached_count;
static int late_fd = -1;

int __real_tarn_get(struct tarn_session *session, struct tarn_bytes key, struct tarn_bytes *ret);
int __real_tarn_get_record(struct tarn_session *session, struct tarn_bytes key,
                           struct tarn_record *ret);
int __real_tarn_get_expiry(struct tarn_session *session, struct tarn_bytes key, int64_t *ret);
int __real_tarn_usage(struct tarn_session *session, struct tarn_bytes key, uint64_t *ret);
size_t __real_tarn_get_many(struct tarn_session *session, const struct tarn_bytes *keys,
                            size_t count, struct tarn_bytes *ret);
size_t __real_tarn_get_together(struct tarn_session *session, const struct tarn_bytes *keys,
                                size_t count, struct tarn_bytes *ret);

void late_begin(uint64_t seed)
{
    late_disk = (struct late_disk){.on = true,
                                   .random = seed,
                                   .far_bytes = SIZE_MAX,
                                   .piece_bytes = 4096,
                                   .keys_max = SIZE_MAX,
                                   .records_max = SIZE_MAX};
    late_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    assert_true(late_fd >= 0);
}

void late_end(void)
{
    late_turn();
    assert_int_equal(late_disk.under_way, 0);
    assert_int_equal(late_disk.held, 0);
    assert_int_equal(late_disk.streams, 0);
    close(late_fd);
    late_fd = -1;
    late_disk.on = false;
}

static struct tarn_bytes copy(struct tarn_bytes key)
{
    void *data = malloc(key.size + 1);
    assert_non_null(data);
    memcpy(data, key.data, key.size);
    return (struct tarn_bytes){data, key.size};
}

void late_turn(void)
{
    for (size_t i = 0; i < cached_count; i++)
        free((void *)(uintptr_t)cached[i].data);
    cached_count = 0;
}

static bool is_in(const struct tarn_bytes *keys, size_t count, struct tarn_bytes key)
{
    for (size_t i = 0; i < count; i++)
        if (bytes_equal(keys[i], key))
            return true;
    return false;
}

static bool was_fetched(struct tarn_bytes key)
{
    bool here = is_in(cached, cached_count, key);
    for (size_t i = 0; i < LIST_MAX; i++)
        here = here || (fetches[i] != NULL && fetches[i]->told && !fetches[i]->full &&
                        is_in(fetches[i]->keys, fetches[i]->count, key));
    return here;
}

static bool is_bad(struct tarn_bytes key)
{
    return late_disk.on && late_disk.bad != NULL && bytes_equal(key, bytes_of(late_disk.bad));
}

static size_t value_size(struct tarn_session *session, struct tarn_bytes key)
{
    struct tarn_bytes value;
    return __real_tarn_get(session, key, &value) == TARN_OK ? value.size : 0;
}

/* A read of the key; is_whole: of its value, too. */
static void note(struct tarn_session *session, struct tarn_bytes key, bool is_whole)
{
    if (!late_disk.on)
        return;
    if (!was_fetched(key) || (is_whole && value_size(session, key) > late_disk.far_bytes))
        late_disk.blocked++;
}

/* --- reads -------------------------------------------------------------------------------- */

int __wrap_tarn_get(struct tarn_session *session, struct tarn_bytes key, struct tarn_bytes *ret);
int __wrap_tarn_get(struct tarn_session *session, struct tarn_bytes key, struct tarn_bytes *ret)
{
    note(session, key, true);
    return is_bad(key) ? TARN_IO : __real_tarn_get(session, key, ret);
}

int __wrap_tarn_get_record(struct tarn_session *session, struct tarn_bytes key,
                           struct tarn_record *ret);
int __wrap_tarn_get_record(struct tarn_session *session, struct tarn_bytes key,
                           struct tarn_record *ret)
{
    note(session, key, true);
    return is_bad(key) ? TARN_IO : __real_tarn_get_record(session, key, ret);
}

int __wrap_tarn_get_expiry(struct tarn_session *session, struct tarn_bytes key, int64_t *ret);
int __wrap_tarn_get_expiry(struct tarn_session *session, struct tarn_bytes key, int64_t *ret)
{
    note(session, key, false);
    return is_bad(key) ? TARN_IO : __real_tarn_get_expiry(session, key, ret);
}

int __wrap_tarn_usage(struct tarn_session *session, struct tarn_bytes key, uint64_t *ret);
int __wrap_tarn_usage(struct tarn_session *session, struct tarn_bytes key, uint64_t *ret)
{
    note(session, key, false);
    return is_bad(key) ? TARN_IO : __real_tarn_usage(session, key, ret);
}

static size_t note_many(struct tarn_session *session, const struct tarn_bytes *keys, size_t count,
                        struct tarn_bytes *values, size_t found)
{
    for (size_t i = 0; i < count; i++) {
        note(session, keys[i], true);
        if (is_bad(keys[i])) {
            found -= values[i].data != NULL;
            values[i] = (struct tarn_bytes){NULL, (size_t)TARN_IO};
        }
    }
    return found;
}

size_t __wrap_tarn_get_many(struct tarn_session *session, const struct tarn_bytes *keys,
                            size_t count, struct tarn_bytes *ret);
size_t __wrap_tarn_get_many(struct tarn_session *session, const struct tarn_bytes *keys,
                            size_t count, struct tarn_bytes *ret)
{
    return note_many(session, keys, count, ret, __real_tarn_get_many(session, keys, count, ret));
}

size_t __wrap_tarn_get_together(struct tarn_session *session, const struct tarn_bytes *keys,
                                size_t count, struct tarn_bytes *ret);
size_t __wrap_tarn_get_together(struct tarn_session *session, const struct tarn_bytes *keys,
                                size_t count, struct tarn_bytes *ret)
{
    return note_many(session, keys, count, ret,
                     __real_tarn_get_together(session, keys, count, ret));
}

/* --- fetches ------------------------------------------------------------------------------ */

static size_t free_place(void *const *list)
{
    size_t i = 0;
    while (list[i] != NULL)
        i++;
    assert_true(i < LIST_MAX);
    return i;
}

int __wrap_tarn_fetch_fd(struct tarn_session *session);
int __wrap_tarn_fetch_fd(struct tarn_session *session)
{
    (void)session;
    return late_disk.on ? late_fd : -1;
}

void __wrap_tarn_fetch_submit(struct tarn_session *session);
void __wrap_tarn_fetch_submit(struct tarn_session *session)
{
    (void)session;
}

/* Is the key in the cache, by chance? Never a large value's. */
static bool is_cached(struct tarn_session *session, struct tarn_bytes key)
{
    if (random_next(&late_disk.random) % 100 >= late_disk.cached || cached_count == LIST_MAX ||
        value_size(session, key) > late_disk.far_bytes)
        return false;
    cached[cached_count++] = copy(key);
    return true;
}

int __wrap_tarn_fetch_begin(struct tarn_session *session, const struct tarn_bytes *keys,
                            size_t count, tarn_fetched done, void *context,
                            struct tarn_fetch **ret_fetch);
int __wrap_tarn_fetch_begin(struct tarn_session *session, const struct tarn_bytes *keys,
                            size_t count, tarn_fetched done, void *context,
                            struct tarn_fetch **ret_fetch)
{
    size_t missing = 0;
    *ret_fetch = NULL;
    if (!late_disk.on)
        return 0;
    if (late_disk.held + count > late_disk.keys_max) {
        late_disk.fulls++;
        return TARN_FULL;
    }
    struct tarn_fetch *fetch = malloc(sizeof *fetch + count * sizeof *keys);
    assert_non_null(fetch);
    *fetch = (struct tarn_fetch){session, done, context, true, false, false, count};
    for (size_t i = 0; i < count; i++) {
        fetch->keys[i] = copy(keys[i]);
        missing += !is_cached(session, keys[i]);
    }
    fetches[free_place((void *const *)fetches)] = fetch;
    late_disk.held += count;
    late_disk.fetches++;
    late_disk.keys += count;
    late_disk.under_way++;
    if (missing == 0) {
        fetch->under_way = false;
        late_disk.under_way--;
        tarn_fetch_end(fetch);
    } else {
        *ret_fetch = fetch;
    }
    return (int)missing;
}

int __wrap_tarn_fetch_status(const struct tarn_fetch *fetch);
int __wrap_tarn_fetch_status(const struct tarn_fetch *fetch)
{
    return fetch->full ? TARN_FULL : TARN_OK;
}

void __wrap_tarn_fetch_end(struct tarn_fetch *fetch);
void __wrap_tarn_fetch_end(struct tarn_fetch *fetch)
{
    if (fetch == NULL)
        return;
    for (size_t i = 0; i < LIST_MAX; i++)
        if (fetches[i] == fetch)
            fetches[i] = NULL;
    for (size_t i = 0; i < fetch->count; i++)
        free((void *)(uintptr_t)fetch->keys[i].data);
    late_disk.held -= fetch->count;
    late_disk.under_way -= fetch->under_way;
    free(fetch);
}

bool late_come(uint64_t random)
{
    for (size_t i = 0; i < 2 * LIST_MAX; i++) {
        size_t at = (random + i) % (2 * LIST_MAX);
        bool *under_way = NULL;
        if (at < LIST_MAX && fetches[at] != NULL)
            under_way = &fetches[at]->under_way;
        else if (at >= LIST_MAX && streams[at - LIST_MAX] != NULL)
            under_way = &streams[at - LIST_MAX]->under_way;
        if (under_way != NULL && *under_way) {
            *under_way = false;
            late_disk.under_way--;
            return true;
        }
    }
    return false;
}

/* --- streams ------------------------------------------------------------------------------ */

int __wrap_tarn_stream_open(struct tarn_session *session, struct tarn_bytes key,
                            struct tarn_stream **ret_stream, uint64_t *ret_size);
int __wrap_tarn_stream_open(struct tarn_session *session, struct tarn_bytes key,
                            struct tarn_stream **ret_stream, uint64_t *ret_size)
{
    struct tarn_bytes value;
    *ret_stream = NULL;
    if (!late_disk.on)
        return TARN_OK;
    note(session, key, false);
    int status = __real_tarn_get(session, key, &value);
    if (status != TARN_OK || value.size <= late_disk.far_bytes)
        return status;
    struct tarn_stream *stream = calloc(1, sizeof *stream);
    assert_non_null(stream);
    *stream = (struct tarn_stream){.session = session, .value = value, .is_bad = is_bad(key)};
    streams[free_place((void *const *)streams)] = stream;
    late_disk.streams++;
    *ret_stream = stream;
    *ret_size = value.size;
    return TARN_OK;
}

void __wrap_tarn_stream_from(struct tarn_stream *stream, uint64_t offset);
void __wrap_tarn_stream_from(struct tarn_stream *stream, uint64_t offset)
{
    assert_null(stream->piece);
    stream->at = offset;
}

int __wrap_tarn_stream_next(struct tarn_stream *stream, tarn_fetched done, void *context);
int __wrap_tarn_stream_next(struct tarn_stream *stream, tarn_fetched done, void *context)
{
    size_t left = stream->value.size - stream->at;
    assert_true(!stream->under_way && !stream->told);
    free(stream->piece);
    stream->piece_size = left < late_disk.piece_bytes ? left : late_disk.piece_bytes;
    stream->piece = malloc(stream->piece_size + 1);
    assert_non_null(stream->piece);
    memcpy(stream->piece, (const char *)stream->value.data + stream->at, stream->piece_size);
    stream->done = done;
    stream->context = context;
    stream->under_way = true;
    late_disk.under_way++;
    late_disk.pieces++;
    return TARN_OK;
}

int __wrap_tarn_stream_piece(struct tarn_stream *stream, struct tarn_bytes *ret_piece,
                             struct tarn_error *error);
int __wrap_tarn_stream_piece(struct tarn_stream *stream, struct tarn_bytes *ret_piece,
                             struct tarn_error *error)
{
    assert_true(stream->told);
    stream->told = false;
    stream->at += stream->piece_size;
    if (stream->is_bad && stream->at > late_disk.bad_from)
        return error_set(error, TARN_IO, "data: cannot read at offset 12345");
    *ret_piece = (struct tarn_bytes){stream->piece, stream->piece_size};
    return TARN_OK;
}

void __wrap_tarn_stream_close(struct tarn_stream *stream);
void __wrap_tarn_stream_close(struct tarn_stream *stream)
{
    if (stream == NULL)
        return;
    for (size_t i = 0; i < LIST_MAX; i++)
        if (streams[i] == stream)
            streams[i] = NULL;
    late_disk.under_way -= stream->under_way;
    late_disk.streams--;
    free(stream->piece);
    free(stream);
}

/* --- telling ------------------------------------------------------------------------------ */

/* Keys of all fetches that have come and found room. */
static size_t records_held(void)
{
    size_t count = 0;
    for (size_t i = 0; i < LIST_MAX; i++)
        if (fetches[i] != NULL && fetches[i]->told && !fetches[i]->full)
            count += fetches[i]->count;
    return count;
}

void __wrap_tarn_fetch_poll(struct tarn_session *session);
void __wrap_tarn_fetch_poll(struct tarn_session *session)
{
    (void)session;
    for (size_t i = 0; i < LIST_MAX; i++) {
        struct tarn_fetch *fetch = fetches[i];
        if (fetch != NULL && !fetch->under_way && !fetch->told) {
            fetch->told = true;
            fetch->full = records_held() > late_disk.records_max;
            fetch->done(fetch->context);
        }
        struct tarn_stream *stream = streams[i];
        if (stream != NULL && !stream->under_way && !stream->told && stream->done != NULL) {
            tarn_fetched done = stream->done;
            stream->told = true;
            stream->done = NULL;
            done(stream->context);
        }
    }
}
