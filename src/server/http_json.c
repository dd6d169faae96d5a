/* Scanning JSON in place.
 *
 * How: one pass; a string is decoded over itself (an escape is never shorter than the bytes it
 * stands for). Invariants: 1. the write position of a string never passes its read position; 2.
 * nothing beyond `size` is read; 3. no allocation, no recursion. Failure modes: what is not JSON of
 * the shape asked for is INVALID with its place. */
#include "server/http_json.h"

#include "core/escape.h"
#include "core/number.h"

int http_json_fail(struct http_json *p, size_t at, const char *what)
{
    return error_set_at(p->error, TARN_INVALID, at, UINT64_MAX, "%s at byte %zu", what, at);
}

void http_json_skip_space(struct http_json *p)
{
    while (p->at < p->size && (p->data[p->at] == ' ' || p->data[p->at] == '\t' ||
                               p->data[p->at] == '\n' || p->data[p->at] == '\r'))
        p->at++;
}

unsigned char http_json_next(struct http_json *p)
{
    http_json_skip_space(p);
    return p->at < p->size ? p->data[p->at] : 0;
}

bool http_json_take(struct http_json *p, unsigned char byte)
{
    if (http_json_next(p) != byte || p->at >= p->size)
        return false;
    p->at++;
    return true;
}

/* Four hexadecimal digits at p->at; -1 if they are not there. */
static int32_t take_hex4(struct http_json *p)
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
static int32_t take_unicode_escape(struct http_json *p)
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
static size_t take_escape(struct http_json *p, unsigned char *to)
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

int http_json_string(struct http_json *p, struct tarn_bytes *ret_string)
{
    size_t open = p->at;

    if (p->at >= p->size || p->data[p->at] != '"')
        return http_json_fail(p, p->at, "expected a string");
    p->at++;
    size_t start = p->at, to = start;
    while (p->at < p->size && p->data[p->at] != '"') {
        size_t here = p->at;
        unsigned char c = p->data[p->at++];
        if (c < 0x20)
            return http_json_fail(p, here, "unescaped control character");
        if (c != '\\') {
            p->data[to++] = c;
            continue;
        }
        size_t n = take_escape(p, p->data + to);
        if (n == 0)
            return http_json_fail(p, here, "bad escape");
        to += n;
    }
    if (p->at >= p->size)
        return http_json_fail(p, open, "string without end, begun");
    p->at++;
    *ret_string = (struct tarn_bytes){p->data + start, to - start};
    return utf8_valid(*ret_string) ? TARN_OK : http_json_fail(p, open, "string is not UTF-8");
}

/* {"base64":"..."}, from its opening brace on. */
static int take_base64(struct http_json *p, struct tarn_bytes *ret_bytes)
{
    static const char *const shape = "expected {\"base64\":\"...\"}";
    struct tarn_bytes name, text;
    size_t open = p->at, size;
    p->at++;
    http_json_skip_space(p);
    int status = http_json_string(p, &name);
    if (status != TARN_OK)
        return status;
    if (!bytes_equal(name, bytes_of("base64")) || !http_json_take(p, ':'))
        return http_json_fail(p, open, shape);
    http_json_skip_space(p);
    size_t at = p->at;
    status = http_json_string(p, &text);
    if (status != TARN_OK)
        return status;
    if (!http_json_take(p, '}'))
        return http_json_fail(p, open, shape);
    unsigned char *out = p->data + ((const unsigned char *)text.data - p->data);
    if (!base64_decode(text, out, &size))
        return http_json_fail(p, at, "malformed base64");
    *ret_bytes = (struct tarn_bytes){out, size};
    return TARN_OK;
}

int http_json_bytes(struct http_json *p, struct tarn_bytes *ret_bytes)
{
    switch (http_json_next(p)) {
    case '"':
        return http_json_string(p, ret_bytes);
    case '{':
        return take_base64(p, ret_bytes);
    default:
        return http_json_fail(p, p->at, "expected a string or {\"base64\":\"...\"}");
    }
}

int http_json_separator(struct http_json *p, unsigned char close, bool *ret_more)
{
    bool is_list = close == ']';

    http_json_skip_space(p);
    if (p->at >= p->size)
        return http_json_fail(p, p->at, is_list ? "list without end" : "object without end");
    *ret_more = p->data[p->at] == ',';
    if (!*ret_more && p->data[p->at] != close)
        return http_json_fail(p, p->at, is_list ? "expected ',' or ']'" : "expected ',' or '}'");
    p->at++;
    return TARN_OK;
}

int http_json_end(struct http_json *p, const char *problem)
{
    http_json_skip_space(p);
    return p->at < p->size ? http_json_fail(p, p->at, problem) : TARN_OK;
}
