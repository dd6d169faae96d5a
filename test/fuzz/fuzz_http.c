/* The pure parts of the HTTP front under arbitrary bytes: the body of POST /mget, percent-encoding,
 * Range, entity tags, Host and Authorization.
 *
 * The first byte chooses the part, the rest is its input, copied to its exact size so that a read
 * past its end is seen. What must hold: keys of a parsed body lie within it and are UTF-8; a body
 * that parses still does with white space around it; decoded text is no longer than its source; a
 * range lies within the value; a tag is found in a list that it was put into. */
#include <stdlib.h>
#include <string.h>

#include "core/assert.h"
#include "server/escape.h"
#include "server/http_mget.h"
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

static void check_request(unsigned char part, struct tarn_bytes text)
{
    static const struct tarn_bytes tag = {"\"0123456789abcdef\"", 18};
    uint64_t first, last;
    size_t size;
    switch (part % 5) {
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
        check_mget(data + 1, size - 1);
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
