/* HTTP/1.1: GET and PUT of one key, answered with Content-Length or in chunks.
 *
 * How: a request's size is known before it is written, so that room is reserved once; the key goes
 * percent-encoded, unreserved characters (RFC 3986 section 2.3) as they are, so that every server
 * decodes the same key. A reply's header is walked line by line, interim answers (1xx) are passed
 * over. A body in one piece is a view of the input; one in several chunks is gathered in the reply,
 * once all of it is there.
 *
 * Source: RFC 9112 (message syntax), RFC 9110 (status codes).
 *
 * Invariants
 * 1. All header bytes of one reply, interim answers included, are within the first
 *    PROTOCOL_LINE_BYTES_MAX bytes, and so is a chunked body's trailer behind its last chunk.
 * 2. A size is compared with its bound before it is added to anything.
 * 3. Each outcome but INCOMPLETE follows from the bytes that were judged.
 * Failure modes: MALFORMED for what is not HTTP/1 and for a body whose end only the end of the
 * connection would tell; NOMEM for gathering. */
#include "bench/protocol_internal.h"
#include "core/number.h"

#define CHUNK_DIGITS_MAX 16
#define LAST_CHUNK_BYTES 5 /* "0\r\n\r\n" */

/* --- requests --- */

static bool is_line_safe(const char *text, bool blanks)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p < 0x20 || *p == 0x7f || (*p == ' ' && !blanks))
            return false;
    }
    return true;
}

static int http_check(const struct protocol_peer *peer, struct tarn_error *error)
{
    if (!is_line_safe(peer->host, false))
        return error_set(error, TARN_INVALID,
                         "a host with blanks or control characters cannot go over HTTP");
    if (peer->path_before[0] != '/')
        return error_set(error, TARN_INVALID, "the path of a URL must start with '/'");
    if (!is_line_safe(peer->path_before, false) || !is_line_safe(peer->path_after, false))
        return error_set(
            error, TARN_INVALID,
            "blanks and control characters in a URL must be written as %%20 and the like");
    if (peer->password && !is_line_safe(peer->password, true))
        return error_set(error, TARN_INVALID,
                         "a password with control characters cannot go over HTTP");
    return TARN_OK;
}

static unsigned http_hello(const struct protocol_peer *peer, struct buffer *out)
{
    (void)peer;
    (void)out;
    return 0;
}

static unsigned char *write_text(unsigned char *out, const char *text)
{
    return protocol_write(out, text, strlen(text));
}

/* "." and ".." alone would be steps in the path and not keys. */
static bool is_dots(struct tarn_bytes key)
{
    return (key.size == 1 || key.size == 2) && memcmp(key.data, "..", key.size) == 0;
}

/* At most 3 bytes for one. */
static unsigned char *write_encoded(unsigned char *out, struct tarn_bytes key)
{
    static const bool unreserved[256] = {
        ['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['0' ... '9'] = true, ['-'] = true,
        ['.'] = true,         ['_'] = true,         ['~'] = true,
    };
    static const char hex[] = "0123456789ABCDEF";
    const unsigned char *p = key.data;
    bool dots = is_dots(key);
    for (size_t i = 0; i < key.size; i++) {
        if (unreserved[p[i]] && !dots) {
            *out++ = p[i];
        } else {
            *out++ = '%';
            *out++ = (unsigned char)hex[p[i] >> 4];
            *out++ = (unsigned char)hex[p[i] & 15];
        }
    }
    return out;
}

/* One request; value: NULL for none. */
static void append_request(const struct protocol_peer *peer, const char *method,
                           struct tarn_bytes key, const struct tarn_bytes *value,
                           struct buffer *out)
{
    static const char version[] = " HTTP/1.1\r\nHost: ", length[] = "\r\nContent-Length: ",
                      authorization[] = "\r\nAuthorization: Bearer ", end[] = "\r\n\r\n";
    bool password = peer->password && *peer->password;
    size_t size = strlen(method) + strlen(peer->path_before) + 3 * key.size +
                  strlen(peer->path_after) + sizeof version + strlen(peer->host) + sizeof end;
    if (password)
        size += sizeof authorization + strlen(peer->password);
    if (value)
        size += sizeof length + 20 + value->size;
    ASSERT(key.size <= TARN_KEY_BYTES_MAX);
    if (!buffer_reserve(out, size))
        return;
    unsigned char *p = write_text(out->data + out->size, method);
    p = write_text(p, peer->path_before);
    p = write_encoded(p, key);
    p = write_text(p, peer->path_after);
    p = protocol_write(p, version, sizeof version - 1);
    p = write_text(p, peer->host);
    if (password)
        p = write_text(protocol_write(p, authorization, sizeof authorization - 1), peer->password);
    if (value) {
        p = protocol_write(p, length, sizeof length - 1);
        p += number_format_uint(value->size, (char *)p);
    }
    p = protocol_write(p, end, sizeof end - 1);
    if (value)
        p = protocol_write(p, value->data, value->size);
    protocol_written(out, p);
}

static void http_get(const struct protocol_peer *peer, const struct tarn_bytes *keys, size_t count,
                     struct buffer *out)
{
    ASSERT(count == 1);
    append_request(peer, "GET ", keys[0], NULL, out);
}

static void http_put(const struct protocol_peer *peer, const struct tarn_bytes *keys,
                     const struct tarn_bytes *values, size_t count, struct buffer *out)
{
    ASSERT(count == 1);
    append_request(peer, "PUT ", keys[0], &values[0], out);
}

/* --- the header of a reply --- */

struct head {
    unsigned status;
    struct tarn_bytes status_text; /* "503 Service Unavailable" */
    bool sized, chunked, closes;
    uint64_t size; /* if sized */
};

static enum protocol_outcome malformed(struct protocol_reply *reply, const char *what,
                                       struct tarn_bytes line)
{
    char excerpt[PROTOCOL_EXCERPT_BYTES_MAX];
    return protocol_malformed(reply, "%s: \"%s\"", what, protocol_excerpt(line, excerpt));
}

/* "HTTP/1.1 200 OK" */
static bool parse_status_line(struct tarn_bytes line, struct head *head)
{
    const char *p = line.data;
    if (line.size < 12 || memcmp(p, "HTTP/1.", 7) != 0 || (p[7] != '0' && p[7] != '1') ||
        p[8] != ' ' || (line.size > 12 && p[12] != ' '))
        return false;
    *head = (struct head){.closes = p[7] == '0', .status_text = {p + 9, line.size - 9}};
    for (size_t i = 9; i < 12; i++) {
        if (p[i] < '0' || p[i] > '9')
            return false;
        head->status = 10 * head->status + (unsigned)(p[i] - '0');
    }
    return head->status >= 100;
}

static struct tarn_bytes trim(const char *start, const char *end)
{
    while (start < end && (*start == ' ' || *start == '\t'))
        start++;
    while (start < end && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    return (struct tarn_bytes){start, (size_t)(end - start)};
}

/* Digits only, leading zeros allowed, at most PROTOCOL_REPLY_BYTES_MAX; a second one must agree. */
static bool parse_content_length(struct tarn_bytes text, struct head *head)
{
    const char *p = text.data;
    uint64_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (p[i] < '0' || p[i] > '9')
            return false;
        size = 10 * size + (uint64_t)(p[i] - '0');
        if (size > PROTOCOL_REPLY_BYTES_MAX)
            return false;
    }
    if (text.size == 0 || (head->sized && head->size != size))
        return false;
    head->sized = true;
    head->size = size;
    return true;
}

/* A list of words with commas between. */
static void parse_connection(struct tarn_bytes text, struct head *head)
{
    const char *start = text.data, *end = start + text.size;
    while (start < end) {
        const char *comma = memchr(start, ',', (size_t)(end - start));
        struct tarn_bytes word = trim(start, comma ? comma : end);
        if (bytes_equal_nocase(word, "close"))
            head->closes = true;
        else if (bytes_equal_nocase(word, "keep-alive"))
            head->closes = false;
        start = comma ? comma + 1 : end;
    }
}

static enum protocol_outcome parse_field(struct tarn_bytes line, struct head *head,
                                         struct protocol_reply *reply)
{
    const char *start = line.data, *end = start + line.size;
    const char *colon = memchr(start, ':', line.size);
    if (!colon || colon == start || *start == ' ' || *start == '\t')
        return malformed(reply, "not a header field", line);
    struct tarn_bytes name = {start, (size_t)(colon - start)};
    if (name.size == 14 && bytes_equal_nocase(name, "content-length")) {
        if (!parse_content_length(trim(colon + 1, end), head))
            return malformed(reply, "a wrong length", line);
    } else if (name.size == 10 && bytes_equal_nocase(name, "connection")) {
        parse_connection(trim(colon + 1, end), head);
    } else if (name.size == 17 && bytes_equal_nocase(name, "transfer-encoding")) {
        head->chunked = bytes_equal_nocase(trim(colon + 1, end), "chunked");
        if (!head->chunked)
            return malformed(reply, "only chunks are understood", line);
    }
    return PROTOCOL_COMPLETE;
}

/* Lines up to the empty one, within `input`, which is cut to its bound: the first one at *at is the
 * status line, unless head is NULL (a trailer). *at becomes their end, or what is needed. */
static enum protocol_outcome take_lines(struct tarn_bytes input, size_t *at, struct head *head,
                                        struct protocol_reply *reply)
{
    for (bool first = true;; first = false) {
        struct tarn_bytes line;
        enum protocol_outcome outcome = protocol_line(input, *at, reply, &line, at);
        if (outcome != PROTOCOL_COMPLETE)
            return outcome;
        if (head && first) {
            if (!parse_status_line(line, head))
                return malformed(reply, "not an answer of HTTP/1", line);
        } else if (line.size == 0) {
            return PROTOCOL_COMPLETE;
        } else if (head && parse_field(line, head, reply) != PROTOCOL_COMPLETE) {
            return PROTOCOL_MALFORMED;
        }
    }
}

/* The same, with the lines' end at most PROTOCOL_LINE_BYTES_MAX bytes behind `start`. */
static enum protocol_outcome take_head(struct tarn_bytes input, size_t start, size_t *at,
                                       struct head *head, struct protocol_reply *reply)
{
    size_t bound = start + PROTOCOL_LINE_BYTES_MAX;
    struct tarn_bytes within = {input.data, input.size < bound ? input.size : bound};
    enum protocol_outcome outcome = take_lines(within, at, head, reply);
    if (outcome == PROTOCOL_INCOMPLETE && input.size >= bound)
        return protocol_malformed(reply, "a header of more than %llu bytes",
                                  PROTOCOL_LINE_BYTES_MAX);
    return outcome;
}

/* --- the body of a reply --- */

struct chunks {
    size_t count, bytes;     /* without the last, empty one */
    struct tarn_bytes first; /* data NULL if there is none */
};

/* "1a[;extension]" */
static bool parse_chunk_line(struct tarn_bytes line, uint64_t *ret_size)
{
    const unsigned char *p = line.data;
    uint64_t size = 0;
    size_t i = 0;
    for (; i < line.size && i < CHUNK_DIGITS_MAX && number_hex_digit(p[i]) >= 0; i++)
        size = 16 * size + (uint64_t)number_hex_digit(p[i]);
    *ret_size = size;
    return i > 0 && (i == line.size || p[i] == ';' || p[i] == ' ' || p[i] == '\t') &&
           size <= PROTOCOL_REPLY_BYTES_MAX;
}

/* One chunk at *at; ret_chunk's size 0 is the last one, without its trailer. */
static enum protocol_outcome take_chunk(struct tarn_bytes input, size_t *at,
                                        struct protocol_reply *reply, struct tarn_bytes *ret_chunk)
{
    struct tarn_bytes line;
    uint64_t size;
    enum protocol_outcome outcome = protocol_line(input, *at, reply, &line, at);
    if (outcome != PROTOCOL_COMPLETE)
        return outcome;
    if (!parse_chunk_line(line, &size))
        return malformed(reply, "a wrong chunk size", line);
    const unsigned char *start = (const unsigned char *)input.data + *at;
    size_t left = input.size - *at;
    *ret_chunk = (struct tarn_bytes){start, size};
    if (size == 0)
        return PROTOCOL_COMPLETE;
    if (left < size + 2) {
        *at += size + 2 + LAST_CHUNK_BYTES;
        return PROTOCOL_INCOMPLETE;
    }
    if (load_u16le(start + size) != CRLF)
        return protocol_malformed(reply, "a chunk without a line end");
    *at += size + 2;
    return PROTOCOL_COMPLETE;
}

/* All chunks from *at on and the trailer; their bytes are appended to `into` unless that is NULL.
 */
static enum protocol_outcome take_chunks(struct tarn_bytes input, size_t *at,
                                         struct protocol_reply *reply, struct buffer *into,
                                         struct chunks *ret_chunks)
{
    *ret_chunks = (struct chunks){0};
    for (;;) {
        struct tarn_bytes chunk;
        enum protocol_outcome outcome = take_chunk(input, at, reply, &chunk);
        if (outcome != PROTOCOL_COMPLETE)
            return outcome;
        if (chunk.size == 0)
            return take_head(input, *at, at, NULL, reply);
        if (ret_chunks->count++ == 0)
            ret_chunks->first = chunk;
        ret_chunks->bytes += chunk.size;
        if (into)
            buffer_append(into, chunk.data, chunk.size);
    }
}

static enum protocol_outcome take_chunked(struct tarn_bytes input, size_t *at,
                                          struct protocol_reply *reply, struct tarn_bytes *ret_body)
{
    struct chunks chunks;
    size_t start = *at;
    enum protocol_outcome outcome = take_chunks(input, at, reply, NULL, &chunks);
    if (outcome != PROTOCOL_COMPLETE)
        return outcome;
    if (chunks.count == 0) {
        *ret_body = (struct tarn_bytes){(const char *)input.data + start, 0};
    } else if (chunks.count == 1) {
        *ret_body = chunks.first;
    } else {
        buffer_clear(&reply->gathered);
        if (!buffer_reserve(&reply->gathered, chunks.bytes))
            return PROTOCOL_NOMEM;
        outcome = take_chunks(input, &start, reply, &reply->gathered, &chunks);
        ASSERT(outcome == PROTOCOL_COMPLETE && start == *at);
        *ret_body = buffer_view(&reply->gathered);
    }
    return PROTOCOL_COMPLETE;
}

/* What follows the header of a final answer. *at becomes its end, or what is needed. */
static enum protocol_outcome take_body(struct tarn_bytes input, size_t *at, const struct head *head,
                                       struct protocol_reply *reply, struct tarn_bytes *ret_body)
{
    *ret_body = (struct tarn_bytes){(const char *)input.data + *at, 0};
    if (head->status == 204 || head->status == 304)
        return PROTOCOL_COMPLETE;
    if (head->chunked)
        return take_chunked(input, at, reply, ret_body);
    if (!head->sized)
        return protocol_malformed(reply, "answers without Content-Length cannot be measured");
    ret_body->size = head->size;
    bool whole = input.size - *at >= head->size;
    *at += head->size;
    return whole ? PROTOCOL_COMPLETE : PROTOCOL_INCOMPLETE;
}

/* --- replies --- */

static void refused(struct protocol_reply *reply, const struct head *head)
{
    static const char http[] = "HTTP ";
    size_t size = head->status_text.size, room = sizeof reply->text - sizeof http;
    if (size > room)
        size = room;
    memcpy(reply->text, http, sizeof http - 1);
    memcpy(reply->text + sizeof http - 1, head->status_text.data, size);
    reply->text[sizeof http - 1 + size] = 0;
    reply->error = true;
    reply->error_text = (struct tarn_bytes){reply->text, sizeof http - 1 + size};
}

static enum protocol_outcome judge(enum request_kind kind, const struct head *head,
                                   struct tarn_bytes body, struct protocol_reply *reply)
{
    static const struct tarn_bytes missing = {NULL, 0};
    bool added = true;
    if (kind == REQUEST_GET && head->status / 100 == 2)
        added = protocol_reply_add(reply, body);
    else if (kind == REQUEST_GET && head->status == 404)
        added = protocol_reply_add(reply, missing);
    else if (kind == REQUEST_GET ||
             (head->status != 200 && head->status != 201 && head->status != 204))
        refused(reply, head);
    return added ? PROTOCOL_COMPLETE : PROTOCOL_NOMEM;
}

/* The header of the final answer; interim ones before it are skipped. */
static enum protocol_outcome take_final_head(struct tarn_bytes input, size_t *at, struct head *head,
                                             struct protocol_reply *reply)
{
    do {
        enum protocol_outcome outcome = take_head(input, 0, at, head, reply);
        if (outcome != PROTOCOL_COMPLETE)
            return outcome;
        if (head->status == 101)
            return protocol_malformed(reply, "the server switched to another protocol");
    } while (head->status < 200);
    return PROTOCOL_COMPLETE;
}

static enum protocol_outcome http_decode(enum request_kind kind, const struct tarn_bytes *keys,
                                         size_t count, struct tarn_bytes input,
                                         struct protocol_reply *reply, size_t *ret_size)
{
    (void)keys;
    ASSERT(kind != REQUEST_GET || count == 1);
    struct head head;
    struct tarn_bytes body;
    size_t at = 0;
    protocol_reply_clear(reply);
    enum protocol_outcome outcome = take_final_head(input, &at, &head, reply);
    if (outcome == PROTOCOL_COMPLETE) {
        outcome = take_body(input, &at, &head, reply, &body);
        reply->closes = head.closes;
    }
    if (outcome == PROTOCOL_COMPLETE)
        outcome = judge(kind, &head, body, reply);
    if (outcome != PROTOCOL_COMPLETE && outcome != PROTOCOL_INCOMPLETE)
        return outcome;
    if (at > PROTOCOL_REPLY_BYTES_MAX)
        return protocol_malformed(reply, "an answer of more than %llu bytes",
                                  PROTOCOL_REPLY_BYTES_MAX);
    *ret_size = at;
    return outcome;
}

const struct protocol protocol_http = {
    .name = "HTTP",
    .puts = true,
    .get_keys_max = 1,
    .put_keys_max = 1,
    .key_bytes_max = TARN_KEY_BYTES_MAX,
    .check = http_check,
    .hello = http_hello,
    .get = http_get,
    .put = http_put,
    .decode = http_decode,
};
