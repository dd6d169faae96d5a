/* POST /mset.
 *
 * How: one pass over the body.
 * Invariant: memory is bounded by the body's size and records_max.
 * Failure modes: bad bodies are INVALID with the place; too many records; no memory. */
#include "server/http_mset.h"

#include <stdlib.h>

#include "server/http_json.h"
#include "server/http_request.h"

struct list {
    struct tarn_record *records;
    size_t count, capacity, max;
};

static int add_record(struct list *list, const struct tarn_record *record, struct tarn_error *error)
{
    if (list->count == list->max)
        return error_set(error, TARN_TOOBIG, "more than %zu keys in one request", list->max);
    if (list->count == list->capacity) {
        size_t wanted = list->capacity == 0 ? 16 : list->capacity * 2;
        struct tarn_record *grown = realloc(list->records, wanted * sizeof *grown);
        if (grown == NULL)
            return error_set(error, TARN_NOMEM, "out of memory");
        list->records = grown;
        list->capacity = wanted;
    }
    list->records[list->count++] = *record;
    return TARN_OK;
}

/* "key":value */
static int take_member(struct http_json *p, struct tarn_record *ret_record)
{
    http_json_skip_space(p);
    int status = http_json_string(p, &ret_record->key);
    if (status == TARN_OK && !http_json_take(p, ':'))
        status = http_json_fail(p, p->at, "expected ':'");
    return status == TARN_OK ? http_json_bytes(p, &ret_record->value) : status;
}

/* A JSON number: how many seconds. */
static int take_ttl(struct http_json *p, int64_t *ret_ms)
{
    http_json_skip_space(p);
    size_t from = p->at;
    while (p->at < p->size &&
           (p->data[p->at] == '.' || (p->data[p->at] >= '0' && p->data[p->at] <= '9')))
        p->at++;
    struct tarn_bytes text = {p->data + from, p->at - from};
    return http_ttl_parse(text, ret_ms) ? TARN_OK
                                        : http_json_fail(p, from, "expected seconds over 0");
}

/* [key,value] or [key,value,ttl] */
static int take_tuple(struct http_json *p, struct tarn_record *ret_record)
{
    bool more;
    if (!http_json_take(p, '['))
        return http_json_fail(p, p->at, "expected a pair, '[key, value]',");
    int status = http_json_bytes(p, &ret_record->key);
    if (status == TARN_OK && !http_json_take(p, ','))
        status = http_json_fail(p, p->at, "expected ','");
    if (status == TARN_OK)
        status = http_json_bytes(p, &ret_record->value);
    if (status == TARN_OK)
        status = http_json_separator(p, ']', &more);
    if (status != TARN_OK || !more)
        return status;
    status = take_ttl(p, &ret_record->expire_ms);
    if (status == TARN_OK && !http_json_take(p, ']'))
        status = http_json_fail(p, p->at, "expected ']'");
    return status;
}

/* All up to `close`. */
static int take_records(struct http_json *p, unsigned char close, struct list *list)
{
    bool more = !http_json_take(p, close);
    int status = TARN_OK;
    while (more && status == TARN_OK) {
        struct tarn_record record = {.expire_ms = 0};
        status = close == '}' ? take_member(p, &record) : take_tuple(p, &record);
        if (status == TARN_OK)
            status = add_record(list, &record, p->error);
        if (status == TARN_OK)
            status = http_json_separator(p, close, &more);
    }
    return status;
}

int http_mset_parse(unsigned char *body, size_t size, size_t records_max,
                    struct tarn_record **ret_records, size_t *ret_count, struct tarn_error *error)
{
    struct http_json p = {.data = body, .size = size, .error = error};
    struct list list = {.max = records_max};
    int status;
    if (http_json_take(&p, '{'))
        status = take_records(&p, '}', &list);
    else if (http_json_take(&p, '['))
        status = take_records(&p, ']', &list);
    else
        status =
            http_json_fail(&p, p.at, "expected an object, '{\"key\": \"value\", ...}', or a list");
    if (status == TARN_OK)
        status = http_json_end(&p, "something after the end");
    if (status != TARN_OK) {
        free(list.records);
        return status;
    }
    *ret_records = list.records;
    *ret_count = list.count;
    return TARN_OK;
}
