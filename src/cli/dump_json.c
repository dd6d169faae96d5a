/* Dumps as JSON, one object a line:
 *
 *     {"key":"k","value":"v","expire_ms":1893456000000}
 *
 * expire_ms (ms since 1970) is there if the key expires. Bytes that are not UTF-8, or have a NUL,
 * are "key_base64", "value_base64"; others too where that is shorter. Read in any order and with
 * any white space, but nothing else may stand there.
 *
 * Failure modes: what is wrong is said with the line's number and the byte in it. */
#include "cli/dump_format.h"
#include "core/escape.h"
#include "core/number.h"
#include "server/http_json.h"

void dump_json_encode(const struct tarn_record *record, struct buffer *out)
{
    size_t before = out->size;
    buffer_append_byte(out, '{');
    escape_json_member(out, bytes_of("key"), record->key);
    buffer_append_byte(out, ',');
    escape_json_member(out, bytes_of("value"), record->value);
    if (record->expire_ms != 0) {
        buffer_append_text(out, ",\"expire_ms\":");
        buffer_append_int(out, record->expire_ms);
    }
    buffer_append_text(out, "}\n");
    if (out->failed)
        out->size = before;
}

enum member { HAS_KEY = 1, HAS_VALUE = 2, HAS_EXPIRY = 4 };

/* A string, of base64 or not. */
static int take_bytes(struct http_json *p, bool base64, size_t size_max, struct tarn_bytes *ret)
{
    struct tarn_bytes text;
    size_t at = p->at, size;
    int status = http_json_string(p, &text);
    if (status != TARN_OK)
        return status;
    if (base64) {
        unsigned char *out = p->data + ((const unsigned char *)text.data - p->data);
        if (!base64_decode(text, out, &size))
            return http_json_fail(p, at, "malformed base64");
        text.size = size;
    }
    if (text.size > size_max)
        return http_json_fail(p, at, "longer than a key or value can be, the string");
    *ret = text;
    return TARN_OK;
}

static int take_expiry(struct http_json *p, int64_t *ret_expire_ms)
{
    size_t at = p->at;
    while (p->at < p->size && memchr("+-.0123456789eE", p->data[p->at], 15) != NULL)
        p->at++;
    if (!number_parse_int((struct tarn_bytes){p->data + at, p->at - at}, ret_expire_ms) ||
        *ret_expire_ms <= 0)
        return http_json_fail(p, at, "expected milliseconds since 1970, a whole number over 0,");
    return TARN_OK;
}

/* What stands behind the name and its colon. *seen: which members there were already. */
static int take_member(struct http_json *p, struct tarn_bytes name, size_t at, unsigned *seen,
                       struct tarn_record *r)
{
    bool base64 =
        name.size > 7 && memcmp((const char *)name.data + name.size - 7, "_base64", 7) == 0;
    struct tarn_bytes stem = {name.data, name.size - (base64 ? 7 : 0)};
    unsigned member = bytes_equal(stem, bytes_of("key"))                    ? HAS_KEY
                      : bytes_equal(stem, bytes_of("value"))                ? HAS_VALUE
                      : !base64 && bytes_equal(stem, bytes_of("expire_ms")) ? HAS_EXPIRY
                                                                            : 0u;
    if (member == 0)
        return http_json_fail(p, at, "unknown name");
    if (*seen & member)
        return http_json_fail(p, at, "a name for the second time");
    *seen |= member;
    http_json_skip_space(p);
    if (member == HAS_EXPIRY)
        return take_expiry(p, &r->expire_ms);
    return member == HAS_KEY ? take_bytes(p, base64, TARN_KEY_BYTES_MAX, &r->key)
                             : take_bytes(p, base64, TARN_VALUE_BYTES_MAX, &r->value);
}

static int take_object(struct http_json *p, struct tarn_record *r)
{
    bool more = true;
    unsigned seen = 0;
    if (!http_json_take(p, '{'))
        return http_json_fail(p, p->at, "expected an object");
    while (more) {
        struct tarn_bytes name;
        http_json_skip_space(p);
        size_t at = p->at;
        int status = http_json_string(p, &name);
        if (status == TARN_OK && !http_json_take(p, ':'))
            status = http_json_fail(p, p->at, "expected ':'");
        if (status == TARN_OK)
            status = take_member(p, name, at, &seen, r);
        if (status == TARN_OK)
            status = http_json_separator(p, '}', &more);
        if (status != TARN_OK)
            return status;
    }
    if ((seen & (HAS_KEY | HAS_VALUE)) != (HAS_KEY | HAS_VALUE))
        return http_json_fail(p, 0,
                              seen & HAS_KEY ? "no value in the object" : "no key in the object");
    return http_json_end(p, "something behind the object");
}

enum dump_outcome dump_json_decode(unsigned char *data, size_t size, bool at_end,
                                   const struct dump_place *place, size_t *ret_size,
                                   struct tarn_record *ret_record, struct tarn_error *error)
{
    unsigned char *newline = memchr(data, '\n', size);
    if (newline == NULL && !at_end)
        return DUMP_INCOMPLETE;
    struct tarn_error wrong;
    struct http_json line = {data, newline ? (size_t)(newline - data) : size, 0, &wrong};
    *ret_size = line.size + (newline != NULL);
    http_json_skip_space(&line);
    if (line.at == line.size)
        return DUMP_NOTHING;
    *ret_record = (struct tarn_record){0};
    if (take_object(&line, ret_record) == TARN_OK)
        return DUMP_RECORD;
    error_set_at(error, TARN_CORRUPT, place->offset + wrong.offset, place->record,
                 "%s: line %llu: %s", place->path, (unsigned long long)place->line, wrong.text);
    return DUMP_BAD;
}
