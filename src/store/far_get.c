/* Reading a data file on disk and waiting for it, on the thread of whoever asks.
 *
 * How: a key is looked for among those kept, then in the cache; else its record is read. Of many
 * keys all reads are begun before any is waited for.
 *
 * Failure modes: IO, CORRUPT, STALE, NOMEM, FULL, of one key. */
#include <stdlib.h>

#include "core/number.h"
#include "store/far.h"

/* What the session was told of a key. */
static int kept_answer(const struct far_session *s, const struct kept *k,
                       struct tarn_record *ret_record)
{
    if (k->status != TARN_OK)
        return k->status;
    const struct tarn_record *record = k->state == KEPT_VIEW ? &k->view : &k->record->record;
    if (far_is_over(s->far, record->expire_ms))
        return TARN_NOTFOUND;
    *ret_record = *record;
    return TARN_OK;
}

static int cache_look(struct far_session *s, struct tarn_bytes key, struct tarn_record *ret_record)
{
    int status = s->table != NULL ? cache_get(s->table, key, ret_record) : CACHE_NOTHING;
    if (status != CACHE_NOTHING) {
        far_count(&s->counters.hits, 1);
        far_count(&s->counters.absent_hits, status == TARN_NOTFOUND);
    }
    return status;
}

/* Begin to read for a key that neither is kept nor cached. NULL: *ret_status is the answer. */
static struct kept *read_key(struct far_session *s, uint64_t hash, struct tarn_bytes key,
                             int *ret_status)
{
    struct lookup lookup;
    *ret_status = lookup_begin(s->seen->pack, key, &lookup);
    if (*ret_status != LOOKUP_READ) {
        far_count(&s->counters.refused, *ret_status == TARN_NOTFOUND);
        return NULL;
    }
    struct kept *k = far_kept_new(s, hash, key);
    *ret_status = k != NULL ? far_miss_begin(s, s->seen, k, &lookup) : TARN_NOMEM;
    if (*ret_status == TARN_OK)
        return k;
    if (k != NULL)
        far_kept_forget(s, k);
    return NULL;
}

struct kept *far_want(struct far_session *s, struct tarn_bytes key, int *ret_status)
{
    uint64_t hash = far_hash(s->far, key);
    struct kept *k = far_kept_find(s, hash, key);
    if (k != NULL)
        return k;
    struct tarn_record view;
    int status = cache_look(s, key, &view);
    if (status == CACHE_NOTHING)
        return read_key(s, hash, key, ret_status);
    if ((k = far_kept_new(s, hash, key)) == NULL) {
        *ret_status = TARN_NOMEM;
        return NULL;
    }
    k->state = KEPT_VIEW;
    k->status = status;
    k->view = view;
    far_kept_leave(s, k);
    return k;
}

void far_await(struct far_session *s, const struct kept *k)
{
    while (k->state == KEPT_PENDING) {
        far_wait(s);
        far_poll(s);
    }
}

void far_wait_begin(struct far_session *s)
{
    s->blocking = true;
}

/* What fetches were told of meanwhile is to be found by who polls for them. */
void far_wait_end(struct far_session *s)
{
    s->blocking = false;
    if (s->calls != NULL && s->told)
        ring_wake(s->ring);
}

/* --- one key --- */

static int find_slowly(struct far_session *s, uint64_t hash, struct tarn_bytes key,
                       struct tarn_record *ret_record, struct far_record **ret_far)
{
    int status;
    far_wait_begin(s);
    struct kept *k = far_kept_find(s, hash, key);
    if (k == NULL)
        k = read_key(s, hash, key, &status);
    if (k != NULL) {
        far_await(s, k);
        status = kept_answer(s, k, ret_record);
        if (status == TARN_OK && k->state == KEPT_KNOWN && k->record->far)
            *ret_far = k->record;
    }
    far_wait_end(s);
    return status;
}

int far_find(struct far_session *s, struct tarn_bytes key, struct tarn_record *ret_record,
             struct far_record **ret_far)
{
    (void)far_version(s);
    *ret_far = NULL;
    if (key.size > TARN_KEY_BYTES_MAX)
        return TARN_NOTFOUND;
    if (s->kept_count > 0) {
        uint64_t hash = far_hash(s->far, key);
        if (far_kept_find(s, hash, key) != NULL)
            return find_slowly(s, hash, key, ret_record, ret_far);
    }
    int status = cache_look(s, key, ret_record);
    if (status != CACHE_NOTHING)
        return status;
    return find_slowly(s, far_hash(s->far, key), key, ret_record, ret_far);
}

/* --- values that are far --- */

/* All of it, if there is room, in a record in the place of the one that says where it lies. */
static int read_whole(struct far_session *s, struct kept *k, struct tarn_record *ret_record)
{
    struct lookup_found found = {
        .record = k->record->record, .far = true, .place = k->record->place};
    struct buffer value = {0};
    struct tarn_error error;
    if (found.record.value.size > atomic_load(&s->far->record_bytes_max))
        return TARN_FULL;
    if (!buffer_reserve_exactly(&value, found.record.value.size))
        return TARN_NOMEM;
    int status = disk_value(s->seen->pack, &found, &s->buffer, &value, &error);
    struct far_record *whole = NULL;
    if (status == TARN_OK) {
        found.far = false;
        found.record.value = buffer_view(&value);
        status = far_record_new(s->far, k->key, &found, &whole);
    } else {
        far_failed(s->far, &error);
    }
    buffer_done(&value);
    if (status != TARN_OK)
        return status;
    far_record_unref(k->record);
    k->record = whole;
    *ret_record = whole->record;
    return TARN_OK;
}

int far_get(struct far_session *s, struct tarn_bytes key, struct tarn_record *ret_record)
{
    struct far_record *far;
    int status = far_find(s, key, ret_record, &far);
    if (__builtin_expect(far == NULL, 1))
        return status;
    return read_whole(s, far_kept_find(s, far_hash(s->far, key), key), ret_record);
}

/* --- many --- */

void far_prefetch(struct far_session *s, const struct tarn_bytes *keys, size_t count)
{
    (void)far_version(s);
    if (s->table != NULL)
        table_prefetch(s->table, keys, count);
}

/* Where a view of a value will be: the kept key, until all have come. */
#define UNDER_WAY SIZE_MAX

static void set_status(struct tarn_bytes *value, int status)
{
    *value = (struct tarn_bytes){NULL, status == TARN_NOTFOUND ? 0 : (size_t)status};
}

static void begin_one(struct far_session *s, struct tarn_bytes key, struct tarn_bytes *value)
{
    int status = TARN_NOTFOUND;
    struct kept *k = key.size <= TARN_KEY_BYTES_MAX ? far_want(s, key, &status) : NULL;
    if (k == NULL)
        set_status(value, status);
    else
        *value = (struct tarn_bytes){k, UNDER_WAY};
}

/* The cache's answers of all keys at once, which is much faster than one by one. */
static void look_at_all(struct far_session *s, const struct tarn_bytes *keys, size_t count,
                        struct tarn_bytes *values)
{
    uint64_t hits = 0, absent = 0;
    (void)table_get_many(s->table, keys, count, values);
    for (size_t i = 0; i < count; i++) {
        int status = cache_understand(&values[i]);
        if (status == CACHE_NOTHING) {
            begin_one(s, keys[i], &values[i]);
            continue;
        }
        hits++;
        if (status == TARN_NOTFOUND) {
            absent++;
            set_status(&values[i], TARN_NOTFOUND);
        }
    }
    far_count(&s->counters.hits, hits);
    far_count(&s->counters.absent_hits, absent);
}

static void finish_one(struct far_session *s, struct tarn_bytes *value)
{
    if (value->size != UNDER_WAY)
        return;
    struct kept *k = (struct kept *)(uintptr_t)value->data;
    struct tarn_record record;
    far_await(s, k);
    int status = kept_answer(s, k, &record);
    if (status == TARN_OK && k->state == KEPT_KNOWN && k->record->far)
        status = read_whole(s, k, &record);
    if (status == TARN_OK)
        *value = record.value;
    else
        set_status(value, status);
}

size_t far_get_many(struct far_session *s, const struct tarn_bytes *keys, size_t count,
                    struct tarn_bytes *ret_values)
{
    size_t found = 0;
    (void)far_version(s);
    far_wait_begin(s);
    if (s->table != NULL && s->kept_count == 0)
        look_at_all(s, keys, count, ret_values);
    else
        for (size_t i = 0; i < count; i++)
            begin_one(s, keys[i], &ret_values[i]);
    for (size_t i = 0; i < count; i++) {
        finish_one(s, &ret_values[i]);
        found += ret_values[i].data != NULL;
    }
    far_wait_end(s);
    return found;
}

/* --- all keys, some key --- */

int far_scan(struct far_session *s, uint64_t *cursor, size_t count, tarn_visit visit, void *context)
{
    struct tarn_error error;
    int status =
        disk_scan(far_version(s)->pack, cursor, count, &s->buffer, visit, context, NULL, &error);
    if (status != TARN_OK)
        far_failed(s->far, &error);
    return status;
}

int far_random_key(struct far_session *s, uint64_t random, struct tarn_bytes *ret_key)
{
    struct tarn_error error;
    struct tarn_bytes key;
    int status = disk_random_key(far_version(s)->pack, random, &s->buffer, &key, &error);
    if (status < 0)
        far_failed(s->far, &error);
    if (status != TARN_OK)
        return status;
    struct kept *k = far_kept_new(s, far_hash(s->far, key), key); /* only to keep the key's bytes */
    if (k == NULL)
        return TARN_NOMEM;
    k->version = 0;
    k->state = KEPT_KNOWN;
    k->status = TARN_NOTFOUND;
    far_kept_leave(s, k);
    *ret_key = k->key;
    return TARN_OK;
}
