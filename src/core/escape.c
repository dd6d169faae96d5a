/* Text forms of arbitrary bytes.
 *
 * How: UTF-8 is checked by the table of RFC 3629 section 4; escaping copies runs of harmless bytes
 * at once, so that ordinary text costs one scan and one copy.
 * Invariants: no function reads outside the view it is given. */
#include "core/escape.h"

/* Size 1..4 of the UTF-8 character at p (size bytes are there, at least one), 0 if malformed. */
static size_t utf8_char_size(const unsigned char *p, size_t size)
{
    unsigned char low = 0x80, high = 0xbf; /* bounds of the second byte */
    size_t n;

    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        n = 2;
    else if (p[0] >= 0xe0 && p[0] <= 0xef)
        n = 3;
    else if (p[0] >= 0xf0 && p[0] <= 0xf4)
        n = 4;
    else
        return 0;
    if (p[0] == 0xe0)
        low = 0xa0; /* overlong */
    else if (p[0] == 0xed)
        high = 0x9f; /* surrogates */
    else if (p[0] == 0xf0)
        low = 0x90; /* overlong */
    else if (p[0] == 0xf4)
        high = 0x8f; /* over U+10FFFF */
    if (size < n || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

bool utf8_valid(struct tarn_bytes bytes)
{
    const unsigned char *p = bytes.data;
    size_t at = 0;

    while (at < bytes.size) {
        uint64_t word;
        if (bytes.size - at >= sizeof word) {
            memcpy(&word, p + at, sizeof word);
            if ((word & 0x8080808080808080ull) == 0) {
                at += sizeof word;
                continue;
            }
        }
        size_t n = utf8_char_size(p + at, bytes.size - at);
        if (n == 0)
            return false;
        at += n;
    }
    return true;
}

/* Append what JSON writes for a byte below 0x20 or for " and \ . */
static void append_json_special(struct buffer *out, unsigned char byte)
{
    static const char hex[] = "0123456789abcdef";
    char text[6] = {'\\', (char)byte};
    size_t size = 2;

    switch (byte) {
    case '"':
    case '\\':
        break;
    case '\b':
        text[1] = 'b';
        break;
    case '\f':
        text[1] = 'f';
        break;
    case '\n':
        text[1] = 'n';
        break;
    case '\r':
        text[1] = 'r';
        break;
    case '\t':
        text[1] = 't';
        break;
    default:
        memcpy(text + 1, "u00", 3);
        text[4] = hex[byte >> 4];
        text[5] = hex[byte & 15];
        size = 6;
    }
    buffer_append(out, text, size);
}

void escape_json(struct buffer *out, struct tarn_bytes bytes)
{
    const unsigned char *p = bytes.data;
    size_t from = 0;

    buffer_append_byte(out, '"');
    for (size_t i = 0; i < bytes.size; i++) {
        if (p[i] >= 0x20 && p[i] != '"' && p[i] != '\\')
            continue;
        if (i > from)
            buffer_append(out, p + from, i - from);
        append_json_special(out, p[i]);
        from = i + 1;
    }
    if (bytes.size > from)
        buffer_append(out, p + from, bytes.size - from);
    buffer_append_byte(out, '"');
}

void escape_json_lossy(struct buffer *out, struct tarn_bytes bytes)
{
    const unsigned char *p = bytes.data;
    size_t at = 0;

    if (utf8_valid(bytes)) {
        escape_json(out, bytes);
        return;
    }
    buffer_append_byte(out, '"');
    while (at < bytes.size) {
        size_t n = utf8_char_size(p + at, bytes.size - at);
        if (n == 0)
            buffer_append_text(out, "\xef\xbf\xbd");
        else if (n == 1 && (p[at] < 0x20 || p[at] == '"' || p[at] == '\\'))
            append_json_special(out, p[at]);
        else
            buffer_append(out, p + at, n);
        at += n > 0 ? n : 1;
    }
    buffer_append_byte(out, '"');
}

enum json_form { JSON_PLAIN, JSON_ESCAPED, JSON_BASE64 };

/* For a string with bytes that are not plain ASCII. */
static enum json_form find_json_form(struct tarn_bytes bytes, bool escapes)
{
    const unsigned char *p = bytes.data;
    size_t size = bytes.size;

    if (!utf8_valid(bytes) || memchr(p, 0, bytes.size) != NULL)
        return JSON_BASE64;
    for (size_t i = 0; escapes && i < bytes.size; i++) {
        if (p[i] == '"' || p[i] == '\\' || (p[i] >= '\b' && p[i] <= '\r' && p[i] != '\v'))
            size += 1;
        else if (p[i] < 0x20)
            size += 5;
    }
    if (size > (bytes.size + 2) / 3 * 4)
        return JSON_BASE64;
    return escapes ? JSON_ESCAPED : JSON_PLAIN;
}

/* How a string is written. The loop is one that compilers make vectors of. */
static enum json_form json_form(struct tarn_bytes bytes)
{
    const unsigned char *p = bytes.data;
    unsigned char high = 0, special = 0;

    for (size_t i = 0; i < bytes.size; i++) {
        high |= p[i];
        special |= (unsigned char)((p[i] < 0x20) | (p[i] == '"') | (p[i] == '\\'));
    }
    return special == 0 && high < 0x80 ? JSON_PLAIN : find_json_form(bytes, special != 0);
}

/* Append where room was reserved before. */
static void put(struct buffer *out, const void *data, size_t size)
{
    if (size > 0)
        memcpy(out->data + out->size, data, size);
    out->size += size;
}

void escape_json_member(struct buffer *out, struct tarn_bytes name, struct tarn_bytes bytes)
{
    enum json_form form = json_form(bytes);

    if (!buffer_reserve(out, name.size + (bytes.size + 2) / 3 * 4 + 16))
        return;
    put(out, "\"", 1);
    put(out, name.data, name.size);
    if (form == JSON_PLAIN) {
        put(out, "\":\"", 3);
        put(out, bytes.data, bytes.size);
        put(out, "\"", 1);
    } else if (form == JSON_ESCAPED) {
        put(out, "\":", 2);
        escape_json(out, bytes);
    } else {
        put(out, "_base64\":\"", 10);
        base64_append(out, bytes);
        put(out, "\"", 1);
    }
}

void escape_prometheus(struct buffer *out, struct tarn_bytes bytes)
{
    const char *p = bytes.data;

    for (size_t i = 0; i < bytes.size; i++) {
        if (p[i] == '\n')
            buffer_append_text(out, "\\n");
        else if (p[i] == '"' || p[i] == '\\')
            buffer_append(out, (char[2]){'\\', p[i]}, 2);
        else
            buffer_append_byte(out, (unsigned char)p[i]);
    }
}

void base64_append(struct buffer *out, struct tarn_bytes bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = bytes.data;
    size_t groups = (bytes.size + 2) / 3;

    if (!buffer_reserve(out, groups * 4))
        return;
    unsigned char *to = out->data + out->size;
    for (size_t i = 0; i < bytes.size; i += 3, to += 4) {
        size_t left = bytes.size - i;
        uint32_t v = (uint32_t)p[i] << 16;
        if (left > 1)
            v |= (uint32_t)p[i + 1] << 8;
        if (left > 2)
            v |= p[i + 2];
        to[0] = (unsigned char)digits[v >> 18];
        to[1] = (unsigned char)digits[v >> 12 & 63];
        to[2] = left > 1 ? (unsigned char)digits[v >> 6 & 63] : '=';
        to[3] = left > 2 ? (unsigned char)digits[v & 63] : '=';
    }
    out->size += groups * 4;
}

/* 0..63, or -1 for a byte outside the alphabet. */
static int base64_digit(unsigned char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_decode(struct tarn_bytes text, unsigned char *out, size_t *ret_size)
{
    const unsigned char *p = text.data;
    size_t size = 0, padding = 0;

    if (text.size % 4 != 0)
        return false;
    while (padding < 2 && padding < text.size && p[text.size - 1 - padding] == '=')
        padding++;
    for (size_t i = 0; i < text.size; i += 4) {
        uint32_t v = 0;
        size_t digits = i + 4 == text.size ? 4 - padding : 4;
        for (size_t j = 0; j < 4; j++) {
            int digit = j < digits ? base64_digit(p[i + j]) : 0;
            if (digit < 0)
                return false;
            v = v << 6 | (uint32_t)digit;
        }
        for (size_t j = 0; j + 1 < digits; j++)
            out[size++] = (unsigned char)(v >> (16 - 8 * j));
    }
    *ret_size = size;
    return true;
}
