/* RESP: requests as arrays of bulk strings, replies of version 2 or 3.
 *
 * How: a request is measured, room is reserved once, then it is written without further checks. A
 * reply is walked once from its start; what a request can be answered with is known, so that any
 * other type is refused at its first byte. Nothing is kept between calls: an incomplete reply is
 * walked again, but not before as many bytes are there as its lengths have announced.
 *
 * Invariants
 * 1. d->at <= input.size, and bytes before d->at have been judged; a byte at or after input.size is
 *    never read.
 * 2. A length is compared with its bound before it is added to anything.
 * 3. Each outcome but INCOMPLETE follows from the bytes that were judged, so that more bytes do not
 *    change it.
 * Failure modes: MALFORMED for anything that is no reply to the request; NOMEM for the list. */
#include "bench/protocol_internal.h"
#include "core/number.h"

#define DIGITS_MAX    10 /* of a length: enough for every bound here */
#define FRAME_BYTES   25 /* '$', 20 digits and two line ends: what a bulk string adds at most */
#define ELEMENT_BYTES 3  /* the least a value takes: "_\r\n" */
#define KEY_BYTES     6  /* the least a key of a SCAN takes: "$0\r\n\r\n" */
/* Redis takes 1024 * 1024 arguments, the command's name included; an MSET has two a key. */
#define GET_KEYS_MAX ((1u << 20) - 1)
#define PUT_KEYS_MAX ((1u << 19) - 1)

/* --- requests --- */

static inline unsigned char *write_number(unsigned char *out, uint64_t value)
{
    if (value < 10) {
        *out = (unsigned char)('0' + value);
        return out + 1;
    }
    if (value < 100) {
        out[0] = (unsigned char)('0' + value / 10);
        out[1] = (unsigned char)('0' + value % 10);
        return out + 2;
    }
    return out + number_format_uint(value, (char *)out);
}

static inline unsigned char *write_bulk(unsigned char *out, struct tarn_bytes bytes)
{
    *out++ = '$';
    out = protocol_write_line_end(write_number(out, bytes.size));
    return protocol_write_line_end(protocol_write(out, bytes.data, bytes.size));
}

/* "*<count>\r\n" and the command's name. */
static unsigned char *write_head(unsigned char *out, size_t count, const char *name)
{
    *out++ = '*';
    out = protocol_write_line_end(write_number(out, count));
    return write_bulk(out, bytes_of(name));
}

/* Room for a request of these arguments behind its head; NULL if refused. */
static unsigned char *reserve(struct buffer *out, const struct tarn_bytes *keys,
                              const struct tarn_bytes *values, size_t count)
{
    size_t size = 3 * FRAME_BYTES;
    for (size_t i = 0; i < count; i++) {
        ASSERT(keys[i].size <= TARN_KEY_BYTES_MAX);
        size += keys[i].size + FRAME_BYTES;
        if (values)
            size += values[i].size + FRAME_BYTES;
    }
    return buffer_reserve(out, size) ? out->data + out->size : NULL;
}

static unsigned resp_hello(const struct protocol_peer *peer, struct buffer *out)
{
    static const char ping[] = "*1\r\n$4\r\nPING\r\n";
    bool password = peer->password && *peer->password;
    if (password) {
        struct tarn_bytes words[] = {bytes_of("AUTH"), bytes_of(peer->password)};
        unsigned char *p = reserve(out, words, NULL, 2);
        if (p)
            protocol_written(out, write_bulk(write_head(p, 2, "AUTH"), words[1]));
    }
    buffer_append(out, ping, sizeof ping - 1);
    return password ? 2 : 1;
}

static void resp_get(const struct protocol_peer *peer, const struct tarn_bytes *keys, size_t count,
                     struct buffer *out)
{
    static const char get[] = "*2\r\n$3\r\nGET\r\n";
    (void)peer;
    ASSERT(count >= 1 && count <= GET_KEYS_MAX);
    unsigned char *p = reserve(out, keys, NULL, count);
    if (!p)
        return;
    if (count == 1) {
        p = protocol_write(p, get, sizeof get - 1);
    } else {
        p = write_head(p, count + 1, "MGET");
    }
    for (size_t i = 0; i < count; i++)
        p = write_bulk(p, keys[i]);
    protocol_written(out, p);
}

static void resp_put(const struct protocol_peer *peer, const struct tarn_bytes *keys,
                     const struct tarn_bytes *values, size_t count, struct buffer *out)
{
    static const char set[] = "*3\r\n$3\r\nSET\r\n";
    (void)peer;
    ASSERT(count >= 1 && count <= PUT_KEYS_MAX);
    unsigned char *p = reserve(out, keys, values, count);
    if (!p)
        return;
    if (count == 1) {
        p = protocol_write(p, set, sizeof set - 1);
    } else {
        p = write_head(p, 2 * count + 1, "MSET");
    }
    for (size_t i = 0; i < count; i++)
        p = write_bulk(write_bulk(p, keys[i]), values[i]);
    protocol_written(out, p);
}

static void resp_scan(const struct protocol_peer *peer, uint64_t cursor, unsigned count,
                      struct buffer *out)
{
    (void)peer;
    char from[20], number[20];
    struct tarn_bytes words[] = {
        {from, number_format_uint(cursor, from)},
        {"COUNT", 5},
        {number, number_format_uint(count, number)},
    };
    unsigned char *p = reserve(out, words, NULL, 3);
    if (!p)
        return;
    p = write_head(p, 4, "SCAN");
    for (size_t i = 0; i < 3; i++)
        p = write_bulk(p, words[i]);
    protocol_written(out, p);
}

/* --- replies --- */

struct decoder {
    struct tarn_bytes input;
    size_t at;
    size_t needed; /* after INCOMPLETE */
    enum request_kind kind;
    bool several; /* keys were asked for with MGET */
    struct protocol_reply *reply;
};

static inline const unsigned char *bytes_at(const struct decoder *d)
{
    return (const unsigned char *)d->input.data + d->at;
}

static inline size_t bytes_left(const struct decoder *d)
{
    return d->input.size - d->at;
}

/* `extra` bytes from d->at on are needed, more than there are. */
static enum protocol_outcome incomplete(struct decoder *d, size_t extra)
{
    d->needed = d->at + extra;
    return PROTOCOL_INCOMPLETE;
}

static const char *type_name(unsigned char type)
{
    switch (type) {
    case '+':
        return "a simple string";
    case '-':
    case '!':
        return "an error";
    case ':':
        return "an integer";
    case '$':
        return "a bulk string";
    case '*':
        return "an array";
    case '_':
        return "a null";
    case '%':
        return "a map";
    case '~':
        return "a set";
    case '#':
        return "a boolean";
    case ',':
        return "a double";
    case '(':
        return "a big number";
    case '=':
        return "a verbatim string";
    case '>':
        return "a push message";
    case '|':
        return "an attribute";
    default:
        return "what is not RESP";
    }
}

static const char *request_name(const struct decoder *d)
{
    switch (d->kind) {
    case REQUEST_HELLO:
        return "AUTH or PING";
    case REQUEST_GET:
        return d->several ? "MGET" : "GET";
    case REQUEST_PUT:
        return "SET or MSET";
    default:
        return "SCAN";
    }
}

/* There is at least one byte at d->at. */
static enum protocol_outcome unexpected(struct decoder *d)
{
    char excerpt[PROTOCOL_EXCERPT_BYTES_MAX];
    struct tarn_bytes rest = {bytes_at(d), bytes_left(d)};
    return protocol_malformed(d->reply, "%s was answered with %s: \"%s\"", request_name(d),
                              type_name(*bytes_at(d)), protocol_excerpt(rest, excerpt));
}

static enum protocol_outcome wrong_length(struct decoder *d)
{
    char excerpt[PROTOCOL_EXCERPT_BYTES_MAX];
    struct tarn_bytes rest = {bytes_at(d), bytes_left(d)};
    return protocol_malformed(d->reply, "%s was answered with a wrong length: \"%s\"",
                              request_name(d), protocol_excerpt(rest, excerpt));
}

/* The line of a type byte at d->at and a length, "$12\r\n": -1 for "-1", the only negative one. */
static inline enum protocol_outcome take_length(struct decoder *d, int64_t *ret_length)
{
    const unsigned char *p = bytes_at(d);
    size_t left = bytes_left(d), first = 1;
    int64_t length = 0;
    bool negative = left > 1 && p[1] == '-';
    first += negative;
    size_t i = first;
    for (; i < left && p[i] - (unsigned)'0' <= 9; i++) {
        if (i - first == DIGITS_MAX)
            return wrong_length(d);
        length = 10 * length + (p[i] - '0');
    }
    if (i == left)
        return incomplete(d, i == first ? i + 3 : i + 2);
    if (i == first || p[i] != '\r' || (negative && length != 1))
        return wrong_length(d);
    if (i + 1 == left)
        return incomplete(d, i + 2);
    if (p[i + 1] != '\n')
        return wrong_length(d);
    d->at += i + 2;
    *ret_length = negative ? -1 : length;
    return PROTOCOL_COMPLETE;
}

/* The bytes of a bulk string behind its length, and the line end behind them. d->at is that of
 * the length if it fails. */
static inline enum protocol_outcome take_bytes(struct decoder *d, int64_t length,
                                               struct tarn_bytes *ret_value)
{
    size_t size = (size_t)length;
    if (length > (int64_t)PROTOCOL_REPLY_BYTES_MAX)
        return protocol_malformed(d->reply, "%s was answered with a value of %lld bytes",
                                  request_name(d), (long long)length);
    if (bytes_left(d) < size + 2)
        return incomplete(d, size + 2);
    if (load_u16le(bytes_at(d) + size) != CRLF)
        return protocol_malformed(d->reply, "%s was answered with a value without a line end",
                                  request_name(d));
    *ret_value = (struct tarn_bytes){bytes_at(d), size};
    d->at += size + 2;
    return PROTOCOL_COMPLETE;
}

/* The rest of the line behind the type byte. */
static enum protocol_outcome take_line(struct decoder *d, struct tarn_bytes *ret_line)
{
    size_t end;
    enum protocol_outcome outcome = protocol_line(d->input, d->at + 1, d->reply, ret_line, &end);
    if (outcome == PROTOCOL_COMPLETE)
        d->at = end;
    else if (outcome == PROTOCOL_INCOMPLETE)
        d->needed = end;
    return outcome;
}

/* A string of a length that is no null: type '$', or '!' for an error. */
static enum protocol_outcome take_bulk(struct decoder *d, unsigned char type,
                                       struct tarn_bytes *ret_value)
{
    int64_t length = -1;
    size_t start = d->at;
    if (bytes_left(d) == 0)
        return incomplete(d, 1);
    if (*bytes_at(d) != type)
        return unexpected(d);
    enum protocol_outcome outcome = take_length(d, &length);
    if (outcome != PROTOCOL_COMPLETE)
        return outcome;
    if (length < 0) {
        d->at = start;
        return wrong_length(d);
    }
    return take_bytes(d, length, ret_value);
}

/* An error at d->at, of either version; the first one of a reply gives its text. */
static enum protocol_outcome take_error(struct decoder *d)
{
    struct tarn_bytes text;
    enum protocol_outcome outcome =
        *bytes_at(d) == '-' ? take_line(d, &text) : take_bulk(d, '!', &text);
    if (outcome == PROTOCOL_COMPLETE && !d->reply->error) {
        d->reply->error = true;
        d->reply->error_text = text;
    }
    return outcome;
}

/* What neither a bulk string nor the null of version 2 is. */
static enum protocol_outcome take_other_value(struct decoder *d)
{
    if (bytes_left(d) == 0)
        return incomplete(d, ELEMENT_BYTES);
    unsigned char type = *bytes_at(d);
    if (type == '-' || type == '!')
        return take_error(d);
    if (type != '_')
        return unexpected(d);
    if (bytes_left(d) < ELEMENT_BYTES)
        return incomplete(d, ELEMENT_BYTES);
    if (load_u16le(bytes_at(d) + 1) != CRLF)
        return wrong_length(d);
    d->at += ELEMENT_BYTES;
    return PROTOCOL_COMPLETE;
}

/* Add what one key has: a value, or data NULL for a null and for an error. */
static inline enum protocol_outcome take_value(struct decoder *d)
{
    struct tarn_bytes value = {NULL, 0};
    enum protocol_outcome outcome;
    if (__builtin_expect(bytes_left(d) > 0 && *bytes_at(d) == '$', 1)) {
        int64_t length = -1;
        outcome = take_length(d, &length);
        if (outcome == PROTOCOL_COMPLETE && length >= 0)
            outcome = take_bytes(d, length, &value);
    } else {
        outcome = take_other_value(d);
    }
    if (outcome != PROTOCOL_COMPLETE)
        return outcome;
    return protocol_reply_add(d->reply, value) ? PROTOCOL_COMPLETE : PROTOCOL_NOMEM;
}

/* "*<count>\r\n". A null array has no count and is refused. */
static enum protocol_outcome take_array(struct decoder *d, size_t *ret_count)
{
    int64_t count = -1;
    size_t start = d->at;
    if (bytes_left(d) == 0)
        return incomplete(d, 1);
    if (*bytes_at(d) != '*')
        return unexpected(d);
    enum protocol_outcome outcome = take_length(d, &count);
    if (outcome != PROTOCOL_COMPLETE)
        return outcome;
    if (count < 0) {
        d->at = start;
        return wrong_length(d);
    }
    *ret_count = (size_t)count;
    return PROTOCOL_COMPLETE;
}

/* MGET: as many values as keys. */
static enum protocol_outcome take_values(struct decoder *d, size_t count)
{
    size_t got;
    enum protocol_outcome outcome = take_array(d, &got);
    if (outcome != PROTOCOL_COMPLETE)
        return outcome;
    if (got != count)
        return protocol_malformed(d->reply, "MGET of %zu keys was answered with %zu values", count,
                                  got);
    if (!protocol_reply_grow(d->reply, count))
        return PROTOCOL_NOMEM;
    for (size_t i = 0; i < count; i++) {
        outcome = take_value(d);
        if (outcome == PROTOCOL_INCOMPLETE)
            d->needed += (count - i - 1) * ELEMENT_BYTES;
        if (outcome != PROTOCOL_COMPLETE)
            return outcome;
    }
    return PROTOCOL_COMPLETE;
}

/* The array of the cursor and what follows up to the first key. */
static enum protocol_outcome take_scan_head(struct decoder *d, size_t *ret_count)
{
    size_t parts;
    struct tarn_bytes cursor;
    enum protocol_outcome outcome = take_array(d, &parts);
    if (outcome != PROTOCOL_COMPLETE)
        return outcome;
    if (parts != 2)
        return protocol_malformed(d->reply, "SCAN was answered with %zu parts, not 2", parts);
    outcome = take_bulk(d, '$', &cursor);
    if (outcome != PROTOCOL_COMPLETE)
        return outcome;
    if (!number_parse_uint(cursor, &d->reply->cursor)) {
        char excerpt[PROTOCOL_EXCERPT_BYTES_MAX];
        return protocol_malformed(d->reply,
                                  "SCAN was answered with a cursor that is no number: \"%s\"",
                                  protocol_excerpt(cursor, excerpt));
    }
    outcome = take_array(d, ret_count);
    if (outcome == PROTOCOL_COMPLETE && *ret_count > PROTOCOL_SCAN_KEYS_MAX)
        return protocol_malformed(d->reply, "SCAN was answered with %zu keys", *ret_count);
    return outcome;
}

static enum protocol_outcome take_scan(struct decoder *d)
{
    size_t count = 0;
    enum protocol_outcome outcome = take_scan_head(d, &count);
    for (size_t i = 0; i < count && outcome == PROTOCOL_COMPLETE; i++) {
        struct tarn_bytes key;
        outcome = take_bulk(d, '$', &key);
        if (outcome == PROTOCOL_INCOMPLETE)
            d->needed += (count - i - 1) * KEY_BYTES;
        if (outcome == PROTOCOL_COMPLETE && !protocol_reply_add(d->reply, key))
            return PROTOCOL_NOMEM;
    }
    return outcome;
}

/* What is not the answer to a GET of one key. */
static enum protocol_outcome take_reply(struct decoder *d, size_t count)
{
    struct tarn_bytes line;
    if (bytes_left(d) == 0)
        return incomplete(d, 1);
    unsigned char type = *bytes_at(d);
    if (type == '-' || type == '!')
        return take_error(d);
    switch (d->kind) {
    case REQUEST_GET:
        return take_values(d, count);
    case REQUEST_SCAN:
        return take_scan(d);
    default:
        return type == '+' ? take_line(d, &line) : unexpected(d);
    }
}

static enum protocol_outcome resp_decode(enum request_kind kind, const struct tarn_bytes *keys,
                                         size_t count, struct tarn_bytes input,
                                         struct protocol_reply *reply, size_t *ret_size)
{
    (void)keys;
    struct decoder d = {
        .input = input, .kind = kind, .several = kind == REQUEST_GET && count > 1, .reply = reply};
    ASSERT(kind != REQUEST_GET || count >= 1);
    protocol_reply_clear(reply);
    enum protocol_outcome outcome =
        kind == REQUEST_GET && count == 1 ? take_value(&d) : take_reply(&d, count);
    if (outcome == PROTOCOL_MALFORMED || outcome == PROTOCOL_NOMEM)
        return outcome;
    size_t size = outcome == PROTOCOL_COMPLETE ? d.at : d.needed;
    if (size > PROTOCOL_REPLY_BYTES_MAX)
        return protocol_malformed(reply, "%s was answered with more than %llu bytes",
                                  request_name(&d), PROTOCOL_REPLY_BYTES_MAX);
    if (reply->error)
        reply->count = 0;
    *ret_size = size;
    return outcome;
}

static int resp_check(const struct protocol_peer *peer, struct tarn_error *error)
{
    if (peer->password && strlen(peer->password) > TARN_KEY_BYTES_MAX)
        return error_set(error, TARN_INVALID, "a password of more than %u bytes cannot be sent",
                         TARN_KEY_BYTES_MAX);
    return TARN_OK;
}

const struct protocol protocol_resp = {
    .name = "RESP",
    .puts = true,
    .scans = true,
    .get_keys_max = GET_KEYS_MAX,
    .put_keys_max = PUT_KEYS_MAX,
    .key_bytes_max = TARN_KEY_BYTES_MAX,
    .check = resp_check,
    .hello = resp_hello,
    .get = resp_get,
    .put = resp_put,
    .scan = resp_scan,
    .decode = resp_decode,
};
