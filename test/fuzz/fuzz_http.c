/* The pure parts of the HTTP front under arbitrary bytes: the bodies of POST /mget and /mset,
 * percent-encoding, Range, entity tags, Host, Origin, Authorization and the parameters of writes.
 *
 * The first byte chooses the part, the rest is its input, copied to its exact size so that a read
 * past its end is seen. What must hold: keys and values of a parsed body lie within it, and keys
 * that are strings are UTF-8; a body that parses still does with white space around it; decoded
 * text is no longer than its source; a range lies within the value; a tag is found in a list that
 * it was put into, and only in a list; a time to live is over 0. */
#include <stdlib.h>
#include <string.h>

#include "core/assert.h"
#include "core/escape.h"
#include "server/http_mget.h"
#include "server/http_mset.h"
#include "server/http_request.h"

#define KEYS_MAX 1000

static int parse(const unsigned char *data, size_t size, size_t *ret_count)
{
    unsigned char *body = malloc(size + 1); /* + 1: malloc(0) may be NULL */
    ASSERT(body != NULL);
    memcpy(body, data, size);
    struct tarn_bytes *keys = NULL;
    struct tarn_error error = {.offset = 0};
    int status = http_mget_parse(body, size, KEYS_MAX, &keys, ret_count, &error);
    if (status != TARN_OK) {
        ASSERT(error.text[0] != 0);
        ASSERT(status == TARN_INVALID ? error.offset <= size : status == TARN_TOOBIG);
    } else {
        ASSERT(*ret_count <= KEYS_MAX);
        for (size_t i = 0; i < *ret_count; i++) {
            const unsigned char *key = keys[i].data;
            ASSERT(key >= body && key + keys[i].size <= body + size);
            ASSERT(utf8_valid(keys[i]));
        }
        free(keys);
    }
    free(body);
    return status;
}

static void check_mget(const unsigned char *data, size_t size)
{
    size_t count, count_again;
    if (parse(data, size, &count) != TARN_OK)
        return;
    unsigned char *padded = malloc(size + 2);
    ASSERT(padded != NULL);
    padded[0] = ' ';
    memcpy(padded + 1, data, size);
    padded[size + 1] = '\n';
    ASSERT(parse(padded, size + 2, &count_again) == TARN_OK && count_again == count);
    free(padded);
}

static void check_within(struct tarn_bytes bytes, const unsigned char *body, size_t size)
{
    const unsigned char *p = bytes.data;
    ASSERT(p >= body && p <= body + size && bytes.size <= (size_t)(body + size - p));
}

static void check_mset(const unsigned char *data, size_t size)
{
    unsigned char *body = malloc(size + 1);
    ASSERT(body != NULL);
    memcpy(body, data, size);
    struct tarn_record *records = NULL;
    struct tarn_error error = {.offset = 0};
    size_t count;
    int status = http_mset_parse(body, size, KEYS_MAX, &records, &count, &error);
    if (status != TARN_OK) {
        ASSERT(error.text[0] != 0 && records == NULL);
        ASSERT(status == TARN_INVALID ? error.offset <= size : status == TARN_TOOBIG);
    } else {
        ASSERT(count <= KEYS_MAX);
        for (size_t i = 0; i < count; i++) {
            check_within(records[i].key, body, size);
            check_within(records[i].value, body, size);
            ASSERT(records[i].expire_ms >= 0);
        }
        free(records);
    }
    free(body);
}

static void check_parameters(struct tarn_bytes text)
{
    for (unsigned takes = 0; takes < 8; takes++) {
        struct http_parameters p;
        if (http_parameters_parse(text, takes, &p) == NULL)
            ASSERT(p.ttl_ms >= 0 && p.ttl_ms <= INT64_MAX / 2 &&
                   ((takes & HTTP_TAKES_TTL) || p.ttl_ms == 0) &&
                   ((takes & HTTP_TAKES_BY) || p.by == 1));
    }
}

static void check_request(unsigned char part, struct tarn_bytes text)
{
    static const struct tarn_bytes tag = {"\"0123456789abcdef\"", 18};
    uint64_t first, last;
    size_t size;
    switch (part % 7) {
    case 0: {
        unsigned char *out = malloc(text.size + 1);
        ASSERT(out != NULL);
        if (http_percent_decode(text, out, &size))
            ASSERT(size <= text.size);
        free(out);
        break;
    }
    case 1:
        if (http_range_parse(text, 1000, &first, &last) == HTTP_RANGE_PART)
            ASSERT(first <= last && last < 1000);
        ASSERT(http_range_parse(text, 0, &first, &last) != HTTP_RANGE_PART);
        break;
    case 2:
        if (http_tag_listed(text, tag, false))
            ASSERT(http_tag_listed(text, tag, true)); /* the strong comparison is stricter */
        (void)http_tags_valid(text);
        break;
    case 4:
        check_parameters(text);
        break;
    case 5:
        if (http_origin_is(text, (struct tarn_bytes){"localhost", 9}))
            ASSERT(text.size >= 16);
        break;
    case 3:
        (void)http_host_is_loopback(text); /* only that it reads nothing outside */
        break;
    default:
        if (http_authorized(text, (struct tarn_bytes){"secret", 6}))
            ASSERT(!http_authorized(text, (struct tarn_bytes){"Secret", 6}));
    }
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] < 128) {
        (data[0] < 64 ? check_mget : check_mset)(data + 1, size - 1);
        return 0;
    }
    unsigned char *text = malloc(size); /* size - 1 bytes are used; never NULL for "" */
    ASSERT(text != NULL);
    unsigned char *end = text + size;
    memcpy(end - (size - 1), data + 1, size - 1);
    check_request(data[0], (struct tarn_bytes){end - (size - 1), size - 1});
    free(text);
    return 0;
}
