/* The records of a server, over RESP.
 *
 * How: SCAN names some keys; they are asked for in batches small enough that neither side waits for
 * the other, each by PEXPIRETIME and GET.
 *
 * Invariants
 * 1. A record is handed on whole: a key that is gone by either answer is left out.
 * 2. Memory: the keys of one SCAN, and one value.
 * Failure modes: the server's errors, its silence, answers that are no RESP. A WRONGTYPE is told to
 * the target, which decides. */
#include <stdlib.h>

#include "cli/dump.h"
#include "cli/resp_client.h"
#include "core/bytes.h"
#include "core/number.h"

#define SCAN_COUNT  "1000"
#define CURSOR_SIZE 32
#define VALUE_KEEP  (1u << 20)

struct dumping {
    struct stream *stream;
    const struct dump_target *target;
    struct tarn_error *error;
    struct buffer request, names, value;
    struct tarn_bytes *keys; /* of one SCAN; views into names */
    size_t keys_count, keys_capacity;
    char cursor[CURSOR_SIZE];
    uint64_t done, total;
    struct resp_reply reply;
};

static int out_of_memory(struct dumping *d)
{
    return error_set(d->error, TARN_NOMEM, "out of memory");
}

/* The next reply, which must be of this type. */
static int expect(struct dumping *d, enum resp_reply_type type)
{
    int status = resp_client_reply(d->stream, &d->reply, d->error);
    if (status != TARN_OK)
        return status;
    if (d->reply.type == RESP_ERROR)
        return resp_client_refused(d->stream, &d->reply, d->error);
    return d->reply.type == type ? TARN_OK : resp_client_unexpected(d->stream, d->error);
}

static void ask(struct dumping *d, const char *command, struct tarn_bytes key)
{
    resp_client_begin(&d->request, 2);
    resp_client_argument(&d->request, bytes_of(command));
    resp_client_argument(&d->request, key);
}

static int count_keys(struct dumping *d)
{
    resp_client_begin(&d->request, 1);
    resp_client_argument(&d->request, bytes_of("DBSIZE"));
    int status = resp_client_send(d->stream, &d->request, d->error);
    if (status == TARN_OK)
        status = expect(d, RESP_INTEGER);
    if (status == TARN_OK)
        d->total = d->reply.number > 0 ? (uint64_t)d->reply.number : 0;
    return status;
}

/* --- SCAN --- */

static int read_cursor(struct dumping *d)
{
    uint64_t cursor;
    int status = expect(d, RESP_BULK);
    if (status != TARN_OK)
        return status;
    buffer_clear(&d->names);
    status = resp_client_bulk(d->stream, (uint64_t)d->reply.number, &d->names, d->error);
    if (status != TARN_OK)
        return status;
    if (!number_parse_uint(buffer_view(&d->names), &cursor))
        return resp_client_unexpected(d->stream, d->error);
    memcpy(d->cursor, d->names.data, d->names.size); /* at most 20 digits */
    d->cursor[d->names.size] = 0;
    return TARN_OK;
}

/* Keys lie in `names` one after the other; their data pointers are set once it stays in place. */
static int read_names(struct dumping *d)
{
    int status = expect(d, RESP_ARRAY);
    if (status != TARN_OK)
        return status;
    d->keys_count = 0;
    buffer_clear(&d->names);
    for (int64_t left = d->reply.number; left > 0 && status == TARN_OK; left--) {
        status = expect(d, RESP_BULK);
        if (status != TARN_OK)
            break;
        if (d->keys_count == d->keys_capacity) {
            size_t capacity = d->keys_capacity ? d->keys_capacity * 2 : 1024;
            struct tarn_bytes *keys = realloc(d->keys, capacity * sizeof *keys);
            if (keys == NULL)
                return out_of_memory(d);
            d->keys = keys;
            d->keys_capacity = capacity;
        }
        size_t size = (size_t)d->reply.number;
        if (!buffer_reserve(&d->names, size + 1)) /* there is data even for an empty key */
            return out_of_memory(d);
        d->keys[d->keys_count++].size = size;
        status = resp_client_bulk(d->stream, size, &d->names, d->error);
    }
    const unsigned char *at = d->names.data;
    for (size_t i = 0; i < d->keys_count; i++) {
        d->keys[i].data = at;
        at += d->keys[i].size;
    }
    return status;
}

static int scan(struct dumping *d)
{
    resp_client_begin(&d->request, 4);
    resp_client_argument(&d->request, bytes_of("SCAN"));
    resp_client_argument(&d->request, bytes_of(d->cursor));
    resp_client_argument(&d->request, bytes_of("COUNT"));
    resp_client_argument(&d->request, bytes_of(SCAN_COUNT));
    int status = resp_client_send(d->stream, &d->request, d->error);
    if (status == TARN_OK)
        status = expect(d, RESP_ARRAY);
    if (status == TARN_OK && d->reply.number != 2)
        status = resp_client_unexpected(d->stream, d->error);
    if (status == TARN_OK)
        status = read_cursor(d);
    return status == TARN_OK ? read_names(d) : status;
}

/* --- values --- */

/* The answer to GET; ret_there: there is such a key and it is a string. */
static int read_value(struct dumping *d, struct tarn_bytes key, bool *ret_there)
{
    *ret_there = false;
    buffer_clear(&d->value);
    buffer_trim(&d->value, VALUE_KEEP);
    int status = resp_client_reply(d->stream, &d->reply, d->error);
    if (status != TARN_OK || d->reply.type == RESP_NULL)
        return status;
    if (d->reply.type == RESP_ERROR && strncmp(d->reply.line, "WRONGTYPE", 9) == 0)
        return d->target->refused(d->target->context, key, "it is no string", d->error);
    if (d->reply.type == RESP_ERROR)
        return resp_client_refused(d->stream, &d->reply, d->error);
    if (d->reply.type != RESP_BULK)
        return resp_client_unexpected(d->stream, d->error);
    if (!buffer_reserve_exactly(&d->value, (size_t)d->reply.number + 1))
        return out_of_memory(d);
    *ret_there = true;
    return resp_client_bulk(d->stream, (uint64_t)d->reply.number, &d->value, d->error);
}

static int read_record(struct dumping *d, struct tarn_bytes key)
{
    bool there;
    int status = expect(d, RESP_INTEGER);
    int64_t expire_ms = d->reply.number;
    if (status == TARN_OK && expire_ms < -2)
        status = resp_client_unexpected(d->stream, d->error);
    if (status == TARN_OK)
        status = read_value(d, key, &there);
    if (status != TARN_OK || !there || expire_ms == -2)
        return status;
    struct tarn_record record = {
        .key = key,
        .value = buffer_view(&d->value),
        .expire_ms = expire_ms > 0 ? expire_ms : 0,
    };
    return d->target->sink(d->target->context, &record, d->error);
}

/* Ask for as many keys as a batch holds, from `first` on, and read the answers. */
static int read_batch(struct dumping *d, size_t first, size_t *ret_end)
{
    size_t end = first;
    do {
        ask(d, "PEXPIRETIME", d->keys[end]);
        ask(d, "GET", d->keys[end]); /* last: a large value comes once all is asked */
        end++;
    } while (end < d->keys_count &&
             d->request.size + 2 * d->keys[end].size < RESP_CLIENT_BATCH_BYTES);
    int status = resp_client_send(d->stream, &d->request, d->error);
    for (size_t i = first; i < end && status == TARN_OK; i++)
        status = read_record(d, d->keys[i]);
    *ret_end = end;
    return status;
}

static int read_all(struct dumping *d)
{
    int status = count_keys(d);
    while (status == TARN_OK) {
        status = scan(d);
        for (size_t at = 0; at < d->keys_count && status == TARN_OK;)
            status = read_batch(d, at, &at);
        d->done += d->keys_count;
        if (status == TARN_OK &&
            !d->target->progress(d->target->progress_context, "reading keys",
                                 d->done < d->total ? d->done : d->total, d->total))
            status = error_set(d->error, TARN_CANCELLED, "cancelled");
        if (strcmp(d->cursor, "0") == 0)
            break;
    }
    return status;
}

int dump_server(struct stream *stream, const struct dump_target *target, struct tarn_error *error)
{
    struct dumping *d = calloc(1, sizeof *d);
    if (d == NULL)
        return error_set(error, TARN_NOMEM, "out of memory");
    d->stream = stream;
    d->target = target;
    d->error = error;
    memcpy(d->cursor, "0", 2);
    int status = read_all(d);
    buffer_done(&d->request);
    buffer_done(&d->names);
    buffer_done(&d->value);
    free(d->keys);
    free(d);
    return status;
}
