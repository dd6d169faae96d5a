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

static void put(struct buffer *out, const char *text, size_t size)
{
    memcpy(out->data + out->size, text, size);
    out->size += size;
}

/* ,"name":"..." or ,"name_base64":"..." */
static void put_string(struct buffer *out, const char *name, struct tarn_bytes bytes)
{
    buffer_append_byte(out, ',');
    escape_json_member(out, bytes_of(name), bytes);
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
        put_string(out, "key", change->key);
    if (change->kind == CHANGE_PATCH) {
        buffer_append_text(out, ",\"offset\":");
        buffer_append_uint(out, change->offset);
    }
    if (encode_has_value(change->kind))
        put_string(out, "value", change->value);
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
