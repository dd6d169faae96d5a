/* Payloads of JSON records: what follows the head in the line,
 *
 *     ,"op":"put","key":"k","value":"v","expire_ms":1234567890123}\n
 *
 * with "offset" between key and value of a patch. A key or value that is not UTF-8, that has a NUL,
 * or that would be longer with its escapes, is "key_base64" or "value_base64" instead. So a line is
 * never longer than ENCODE_LINE_BYTES_MAX.
 *
 * How: written by hand, in two passes over each string, of which ordinary text takes only quick
 * ones; read by jansson.
 * Failure modes: no memory (out->failed, scratch->failed); anything else than the above is refused.
 */
#include "wal/encode.h"

#include <jansson.h>

#include "core/escape.h"

/* --- writing --- */

enum form { FORM_PLAIN, FORM_ESCAPED, FORM_BASE64 };

static bool needs_escape(unsigned char c)
{
    return c < 0x20 || c == '"' || c == '\\';
}

static size_t base64_size(size_t size)
{
    return (size + 2) / 3 * 4;
}

/* For a string with bytes that are not plain ASCII. */
static enum form find_form(struct tarn_bytes bytes, bool escapes)
{
    const unsigned char *p = bytes.data;
    size_t size = bytes.size;
    if (!utf8_valid(bytes) || memchr(p, 0, bytes.size))
        return FORM_BASE64;
    for (size_t i = 0; escapes && i < bytes.size; i++)
        if (needs_escape(p[i]))
            size += p[i] >= 0x20 || (p[i] >= '\b' && p[i] <= '\r' && p[i] != '\v') ? 1 : 5;
    if (size > base64_size(bytes.size))
        return FORM_BASE64;
    return escapes ? FORM_ESCAPED : FORM_PLAIN;
}

/* How the string is written. The loop is one the compiler makes vectors of. */
static enum form form_of(struct tarn_bytes bytes)
{
    const unsigned char *p = bytes.data;
    unsigned char high = 0, special = 0;
    for (size_t i = 0; i < bytes.size; i++) {
        high |= p[i];
        special |= (unsigned char)((p[i] < 0x20) | (p[i] == '"') | (p[i] == '\\'));
    }
    if (special == 0 && high < 0x80)
        return FORM_PLAIN;
    return find_form(bytes, special != 0);
}

static void put(struct buffer *out, const char *text, size_t size)
{
    memcpy(out->data + out->size, text, size);
    out->size += size;
}

/* Room for a string's name, quotes and text, and for what else may stand in a line. */
#define STRING_ROOM(size) ((size) / 3 * 4 + 128)

/* ,"name":"..." or ,"name_base64":"..." */
static void put_string(struct buffer *out, const char *name, size_t name_size,
                       struct tarn_bytes bytes)
{
    enum form form = form_of(bytes);
    if (!buffer_reserve(out, STRING_ROOM(bytes.size)))
        return;
    put(out, ",\"", 2);
    put(out, name, name_size);
    if (form == FORM_PLAIN) {
        put(out, "\":\"", 3);
        if (bytes.size > 0)
            put(out, bytes.data, bytes.size);
        put(out, "\"", 1);
    } else if (form == FORM_ESCAPED) {
        put(out, "\":", 2);
        escape_json(out, bytes);
    } else {
        put(out, "_base64\":\"", 10);
        base64_append(out, bytes);
        put(out, "\"", 1);
    }
}

static void put_number(struct buffer *out, const char *name, int64_t value)
{
    buffer_append_text(out, name);
    buffer_append_int(out, value);
}

void encode_json(const struct change *change, struct buffer *out)
{
    struct tarn_bytes word = encode_word(change->kind);
    if (!buffer_reserve(out, 32))
        return;
    put(out, ",\"op\":\"", 7);
    put(out, word.data, word.size);
    put(out, "\"", 1);
    if (encode_has_key(change->kind))
        put_string(out, "key", 3, change->key);
    if (change->kind == CHANGE_PATCH) {
        buffer_append_text(out, ",\"offset\":");
        buffer_append_uint(out, change->offset);
    }
    if (encode_has_value(change->kind))
        put_string(out, "value", 5, change->value);
    if (encode_has_expiry(change->kind) && change->expire_ms != 0)
        put_number(out, ",\"expire_ms\":", change->expire_ms);
    buffer_append(out, "}\n", 2);
}

/* --- reading --- */

/* jansson takes the text in pieces: the brace that the line begins with, then the payload behind
 * its comma. */
struct input {
    struct tarn_bytes rest;
    bool begun;
};

static size_t feed(void *to, size_t room, void *context)
{
    struct input *in = context;
    if (!in->begun) {
        in->begun = true;
        *(char *)to = '{';
        return 1;
    }
    size_t size = in->rest.size < room ? in->rest.size : room;
    if (size > 0)
        memcpy(to, in->rest.data, size);
    in->rest.data = (const unsigned char *)in->rest.data + size;
    in->rest.size -= size;
    return size;
}

/* The string under `name` or `name`_base64, appended to scratch, which has room. `fields` counts
 * down what was found. */
static bool take_string(const json_t *line, const char *name, const char *name_base64,
                        struct buffer *scratch, size_t *fields, struct tarn_bytes *ret_bytes)
{
    const json_t *plain = json_object_get(line, name), *base64 = json_object_get(line, name_base64);
    const json_t *found = plain ? plain : base64;
    size_t size;
    if (!json_is_string(found) || (plain && base64))
        return false;
    struct tarn_bytes text = {json_string_value(found), json_string_length(found)};
    unsigned char *at = scratch->data + scratch->size;
    if (plain) {
        size = text.size;
        memcpy(at, text.data, size);
    } else if (!base64_decode(text, at, &size)) {
        return false;
    }
    scratch->size += size;
    *ret_bytes = (struct tarn_bytes){at, size};
    --*fields;
    return true;
}

/* False: there, but no integer, or not in its range. Not there: 0. */
static bool take_integer(const json_t *line, const char *name, int64_t low, size_t *fields,
                         int64_t *ret_value)
{
    const json_t *found = json_object_get(line, name);
    *ret_value = 0;
    if (!found)
        return true;
    --*fields;
    *ret_value = json_integer_value(found);
    return json_is_integer(found) && *ret_value >= low;
}

static bool take_change(const json_t *line, struct buffer *scratch, struct change *ret_change)
{
    const json_t *op = json_object_get(line, "op");
    size_t fields = json_object_size(line);
    struct change c = {.kind = CHANGE_FLUSH};
    int64_t offset = 0;
    if (!json_is_string(op) ||
        !encode_parse_word((struct tarn_bytes){json_string_value(op), json_string_length(op)},
                           &c.kind))
        return false;
    fields--;
    if (encode_has_key(c.kind) && !take_string(line, "key", "key_base64", scratch, &fields, &c.key))
        return false;
    if (encode_has_value(c.kind) &&
        !take_string(line, "value", "value_base64", scratch, &fields, &c.value))
        return false;
    if (encode_has_expiry(c.kind) &&
        !take_integer(line, "expire_ms", INT64_MIN, &fields, &c.expire_ms))
        return false;
    if (c.kind == CHANGE_PATCH && !take_integer(line, "offset", 0, &fields, &offset))
        return false;
    c.offset = (uint64_t)offset;
    *ret_change = c;
    return fields == 0; /* and nothing else stands there */
}

bool decode_json(struct tarn_bytes payload, struct change *ret_change, struct buffer *scratch)
{
    struct input in = {payload, false};
    json_error_t error;
    buffer_clear(scratch);
    if (payload.size == 0 || *(const char *)payload.data != ',' ||
        !buffer_reserve(scratch, payload.size + 8))
        return false;
    in.rest.data = (const char *)payload.data + 1;
    in.rest.size--;
    json_t *line = json_load_callback(feed, &in, JSON_REJECT_DUPLICATES, &error);
    if (!line) {
        scratch->failed = json_error_code(&error) == json_error_out_of_memory;
        return false;
    }
    bool ok = take_change(line, scratch, ret_change);
    json_decref(line);
    return ok;
}
