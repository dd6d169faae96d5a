/* POST /mget.
 *
 * How: one pass over the body. Duplicates are found with an open-addressing table of key numbers.
 * Invariants: 1. the table is at most half full; 2. memory is bounded by the body's size and
 * keys_max, the answer by out's bound.
 * Failure modes: bad bodies are INVALID with the place; the answer may outgrow its bound; a key
 * that cannot be read fails the whole. */
#include "server/http_mget.h"

#include <stdlib.h>

#include "core/escape.h"
#include "core/hash.h"
#include "server/http_json.h"

static int add_key(struct tarn_bytes key, size_t keys_max, struct tarn_bytes **keys, size_t *count,
                   size_t *capacity, struct tarn_error *error)
{
    if (*count == keys_max)
        return error_set(error, TARN_TOOBIG, "more than %zu keys in one request", keys_max);
    if (*count == *capacity) {
        size_t wanted = *capacity == 0 ? 16 : *capacity * 2;
        struct tarn_bytes *grown = realloc(*keys, wanted * sizeof **keys);
        if (grown == NULL)
            return error_set(error, TARN_NOMEM, "out of memory");
        *keys = grown;
        *capacity = wanted;
    }
    (*keys)[(*count)++] = key;
    return TARN_OK;
}

/* p->at is after '['. */
static int take_list(struct http_json *p, size_t keys_max, struct tarn_bytes **keys, size_t *count)
{
    size_t capacity = 0;
    bool more = !http_json_take(p, ']');
    int status = TARN_OK;

    while (more && status == TARN_OK) {
        struct tarn_bytes key;
        http_json_skip_space(p);
        status = http_json_string(p, &key);
        if (status == TARN_OK)
            status = add_key(key, keys_max, keys, count, &capacity, p->error);
        if (status == TARN_OK)
            status = http_json_separator(p, ']', &more);
    }
    return status;
}

int http_mget_parse(unsigned char *body, size_t size, size_t keys_max, struct tarn_bytes **ret_keys,
                    size_t *ret_count, struct tarn_error *error)
{
    struct http_json p = {.data = body, .size = size, .error = error};
    struct tarn_bytes *keys = NULL;
    size_t count = 0;
    int status;

    if (!http_json_take(&p, '['))
        return http_json_fail(&p, p.at, "expected a list of strings, '[\"key\", ...]',");
    status = take_list(&p, keys_max, &keys, &count);
    if (status == TARN_OK)
        status = http_json_end(&p, "something after the list");
    if (status != TARN_OK) {
        free(keys);
        return status;
    }
    *ret_keys = keys;
    *ret_count = count;
    return TARN_OK;
}

/* --- the answer --- */

/* Key numbers + 1 by hash; 0 is free. */
struct seen {
    uint32_t *slots;
    size_t mask;
    uint64_t seed;
};

/* True if an equal key has a lower number. */
static bool seen_before(struct seen *seen, const struct tarn_bytes *keys, size_t number)
{
    size_t slot = hash_checksum(keys[number].data, keys[number].size, seen->seed) & seen->mask;

    while (seen->slots[slot] != 0) {
        if (bytes_equal(keys[seen->slots[slot] - 1], keys[number]))
            return true;
        slot = (slot + 1) & seen->mask;
    }
    seen->slots[slot] = (uint32_t)number + 1;
    return false;
}

static void append_value(struct buffer *out, struct tarn_bytes value)
{
    if (value.data == NULL) {
        buffer_append_text(out, "null");
    } else if (utf8_valid(value)) {
        escape_json(out, value);
    } else {
        buffer_append_text(out, "{\"base64\":\"");
        base64_append(out, value);
        buffer_append_text(out, "\"}");
    }
}

int http_mget_answer(struct tarn_session *session, const struct tarn_bytes *keys, size_t count,
                     uint64_t seed, struct buffer *out, uint64_t *ret_hits, uint64_t *ret_misses)
{
    size_t slots_count = 16, hits = 0;

    if (count == 0) {
        buffer_append_text(out, "{}\n");
        *ret_hits = *ret_misses = 0;
        return out->failed ? TARN_NOMEM : TARN_OK;
    }
    while (slots_count < count * 2)
        slots_count *= 2;
    struct tarn_bytes *values = malloc(count * sizeof *values);
    struct seen seen = {calloc(slots_count, sizeof(uint32_t)), slots_count - 1, seed};
    if (values == NULL || seen.slots == NULL) {
        free(values);
        free(seen.slots);
        return TARN_NOMEM;
    }
    hits = tarn_get_together(session, keys, count, values);
    int status = TARN_OK;
    buffer_append_byte(out, '{');
    for (size_t i = 0, written = 0; i < count && !out->failed && status >= 0; i++) {
        status = tarn_value_status(values[i]);
        if (seen_before(&seen, keys, i))
            continue;
        if (written++ > 0)
            buffer_append_byte(out, ',');
        escape_json(out, keys[i]);
        buffer_append_byte(out, ':');
        append_value(out, values[i]);
    }
    buffer_append_text(out, "}\n");
    free(values);
    free(seen.slots);
    *ret_hits = hits;
    *ret_misses = count - hits;
    if (status < 0)
        return status;
    return out->failed ? TARN_TOOBIG : TARN_OK;
}
