/* POST /mget.
 *
 * How: one pass over the body; a string is decoded over itself (an escape is never shorter than
 * the bytes it stands for). Duplicates are found with an open-addressing table of key numbers.
 * Invariants: 1. the write position of a string never passes its read position; 2. the table is at
 * most half full; 3. memory is bounded by the body's size and keys_max, the answer by out's bound.
 * Failure modes: bad bodies are INVALID with the place; the answer may outgrow its bound. */
#include "server/http_mget.h"

#include <stdlib.h>

#include "core/hash.h"
#include "core/number.h"
#include "server/escape.h"

struct parser {
    unsigned char *data;
    size_t size, at;
    struct tarn_error *error;
};

static int fail(struct parser *p, size_t at, const char *what)
{
    return error_set_at(p->error, TARN_INVALID, at, UINT64_MAX, "%s at byte %zu", what, at);
}

static void skip_space(struct parser *p)
{
    while (p->at < p->size && (p->data[p->at] == ' ' || p->data[p->at] == '\t' ||
                               p->data[p->at] == '\n' || p->data[p->at] == '\r'))
        p->at++;
}

/* Four hexadecimal digits at p->at; -1 if they are not there. */
static int32_t take_hex4(struct parser *p)
{
    int32_t value = 0;

    if (p->size - p->at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = number_hex_digit(p->data[p->at + (size_t)i]);
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    p->at += 4;
    return value;
}

/* After "\u": a character, a surrogate pair being two escapes. -1 if malformed. */
static int32_t take_unicode_escape(struct parser *p)
{
    int32_t high = take_hex4(p);

    if (high < 0xd800 || high > 0xdfff)
        return high;
    if (high > 0xdbff || p->size - p->at < 6 || p->data[p->at] != '\\' || p->data[p->at + 1] != 'u')
        return -1;
    p->at += 2;
    int32_t low = take_hex4(p);
    if (low < 0xdc00 || low > 0xdfff)
        return -1;
    return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

static size_t put_utf8(unsigned char *to, int32_t c)
{
    if (c < 0x80) {
        to[0] = (unsigned char)c;
        return 1;
    }
    if (c < 0x800) {
        to[0] = (unsigned char)(0xc0 | c >> 6);
        to[1] = (unsigned char)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        to[0] = (unsigned char)(0xe0 | c >> 12);
        to[1] = (unsigned char)(0x80 | (c >> 6 & 63));
        to[2] = (unsigned char)(0x80 | (c & 63));
        return 3;
    }
    to[0] = (unsigned char)(0xf0 | c >> 18);
    to[1] = (unsigned char)(0x80 | (c >> 12 & 63));
    to[2] = (unsigned char)(0x80 | (c >> 6 & 63));
    to[3] = (unsigned char)(0x80 | (c & 63));
    return 4;
}

/* What follows a backslash, decoded to `to`; returns the bytes written, 0 if malformed. */
static size_t take_escape(struct parser *p, unsigned char *to)
{
    static const char from[] = "\"\\/bfnrt";
    static const char into[] = "\"\\/\b\f\n\r\t";

    if (p->at >= p->size)
        return 0;
    unsigned char c = p->data[p->at++];
    if (c == 'u') {
        int32_t character = take_unicode_escape(p);
        return character < 0 ? 0 : put_utf8(to, character);
    }
    const char *found = c != 0 ? strchr(from, c) : NULL;
    if (found == NULL)
        return 0;
    to[0] = (unsigned char)into[found - from];
    return 1;
}

static int take_string(struct parser *p, struct tarn_bytes *ret_string)
{
    size_t open = p->at;

    if (p->at >= p->size || p->data[p->at] != '"')
        return fail(p, p->at, "expected a string");
    p->at++;
    size_t start = p->at, to = start;
    while (p->at < p->size && p->data[p->at] != '"') {
        size_t here = p->at;
        unsigned char c = p->data[p->at++];
        if (c < 0x20)
            return fail(p, here, "unescaped control character");
        if (c != '\\') {
            p->data[to++] = c;
            continue;
        }
        size_t n = take_escape(p, p->data + to);
        if (n == 0)
            return fail(p, here, "bad escape");
        to += n;
    }
    if (p->at >= p->size)
        return fail(p, open, "string without end, begun");
    p->at++;
    *ret_string = (struct tarn_bytes){p->data + start, to - start};
    return utf8_valid(*ret_string) ? TARN_OK : fail(p, open, "string is not UTF-8");
}

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
static int take_list(struct parser *p, size_t keys_max, struct tarn_bytes **keys, size_t *count)
{
    size_t capacity = 0;

    skip_space(p);
    if (p->at < p->size && p->data[p->at] == ']') {
        p->at++;
        return TARN_OK;
    }
    while (true) {
        struct tarn_bytes key;
        skip_space(p);
        int status = take_string(p, &key);
        if (status == TARN_OK)
            status = add_key(key, keys_max, keys, count, &capacity, p->error);
        if (status != TARN_OK)
            return status;
        skip_space(p);
        if (p->at >= p->size)
            return fail(p, p->at, "list without end");
        unsigned char c = p->data[p->at++];
        if (c == ']')
            return TARN_OK;
        if (c != ',')
            return fail(p, p->at - 1, "expected ',' or ']'");
    }
}

int http_mget_parse(unsigned char *body, size_t size, size_t keys_max, struct tarn_bytes **ret_keys,
                    size_t *ret_count, struct tarn_error *error)
{
    struct parser p = {.data = body, .size = size, .error = error};
    struct tarn_bytes *keys = NULL;
    size_t count = 0;
    int status;

    skip_space(&p);
    if (p.at >= p.size || p.data[p.at] != '[')
        return fail(&p, p.at, "expected a list of strings, '[\"key\", ...]',");
    p.at++;
    status = take_list(&p, keys_max, &keys, &count);
    if (status == TARN_OK) {
        skip_space(&p);
        if (p.at < p.size)
            status = fail(&p, p.at, "something after the list");
    }
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
    hits = tarn_get_many(session, keys, count, values);
    buffer_append_byte(out, '{');
    for (size_t i = 0, written = 0; i < count && !out->failed; i++) {
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
    return out->failed ? TARN_TOOBIG : TARN_OK;
}
