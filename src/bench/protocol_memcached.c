/* memcached's text protocol: get of any number of keys, set of one.
 *
 * How: a reply to a get is a line and a value for each key that is there, in the order asked, then
 * END; a key that is not there is left out. So the names that come are looked for among the keys
 * asked for, always behind the one found before: a key asked for twice comes twice.
 *
 * Source: doc/protocol.txt of memcached 1.6.
 *
 * Invariants
 * 1. After a value its key's place is count - 1, and all places before are filled.
 * 2. A length is compared with its bound before it is added to anything.
 * Failure modes: MALFORMED for anything that is no reply to the request, a value that was not asked
 * for included; NOMEM for the list. */
#include "bench/protocol_internal.h"
#include "core/number.h"

#define KEY_BYTES_MAX 250 /* memcached's KEY_MAX_LENGTH */
#define GET_KEYS_MAX  (1u << 16)

/* --- requests --- */

static int memcached_check(const struct protocol_peer *peer, struct tarn_error *error)
{
    if (peer->password && *peer->password)
        return error_set(error, TARN_INVALID, "memcached's text protocol has no password");
    return TARN_OK;
}

static unsigned memcached_hello(const struct protocol_peer *peer, struct buffer *out)
{
    (void)peer;
    buffer_append_text(out, "version\r\n");
    return 1;
}

static void memcached_get(const struct protocol_peer *peer, const struct tarn_bytes *keys,
                          size_t count, struct buffer *out)
{
    (void)peer;
    ASSERT(count >= 1 && count <= GET_KEYS_MAX);
    size_t size = 5;
    for (size_t i = 0; i < count; i++) {
        ASSERT(protocol_key_allowed(&protocol_memcached, keys[i]));
        size += 1 + keys[i].size;
    }
    if (!buffer_reserve(out, size))
        return;
    unsigned char *p = out->data + out->size;
    p = protocol_write(p, "get", 3);
    for (size_t i = 0; i < count; i++) {
        *p++ = ' ';
        p = protocol_write(p, keys[i].data, keys[i].size);
    }
    protocol_written(out, protocol_write_line_end(p));
}

static void memcached_put(const struct protocol_peer *peer, const struct tarn_bytes *keys,
                          const struct tarn_bytes *values, size_t count, struct buffer *out)
{
    static const char flags_and_expiry[] = " 0 0 ";
    (void)peer;
    ASSERT(count == 1 && protocol_key_allowed(&protocol_memcached, keys[0]));
    if (!buffer_reserve(out, 4 + keys[0].size + 5 + 20 + 2 + values[0].size + 2))
        return;
    unsigned char *p = out->data + out->size;
    p = protocol_write(p, "set ", 4);
    p = protocol_write(p, keys[0].data, keys[0].size);
    p = protocol_write(p, flags_and_expiry, sizeof flags_and_expiry - 1);
    p += number_format_uint(values[0].size, (char *)p);
    p = protocol_write(protocol_write_line_end(p), values[0].data, values[0].size);
    protocol_written(out, protocol_write_line_end(p));
}

/* --- replies --- */

static bool starts_with(struct tarn_bytes line, const char *word)
{
    size_t size = strlen(word);
    return line.size >= size && memcmp(line.data, word, size) == 0;
}

static bool is_error(struct tarn_bytes line)
{
    return bytes_equal(line, bytes_of("ERROR")) || starts_with(line, "ERROR ") ||
           starts_with(line, "CLIENT_ERROR") || starts_with(line, "SERVER_ERROR");
}

static enum protocol_outcome refused(struct protocol_reply *reply, struct tarn_bytes line)
{
    reply->error = true;
    reply->error_text = line;
    reply->count = 0;
    return PROTOCOL_COMPLETE;
}

static enum protocol_outcome unexpected(struct protocol_reply *reply, const char *request,
                                        struct tarn_bytes line)
{
    char excerpt[PROTOCOL_EXCERPT_BYTES_MAX];
    return protocol_malformed(reply, "%s was answered with \"%s\"", request,
                              protocol_excerpt(line, excerpt));
}

/* The word up to a blank or the end; *line goes on behind it. */
static struct tarn_bytes next_word(struct tarn_bytes *line)
{
    const char *start = line->data;
    const char *blank = line->size > 0 ? memchr(start, ' ', line->size) : NULL;
    struct tarn_bytes word = {start, blank ? (size_t)(blank - start) : line->size};
    size_t used = word.size + (blank != NULL);
    *line = (struct tarn_bytes){start + used, line->size - used};
    return word;
}

/* "VALUE <key> <flags> <bytes>[ <unique>]" */
static bool parse_value_line(struct tarn_bytes line, struct tarn_bytes *ret_key, uint64_t *ret_size)
{
    uint64_t flags;
    if (!starts_with(line, "VALUE "))
        return false;
    next_word(&line);
    *ret_key = next_word(&line);
    return ret_key->size > 0 && number_parse_uint(next_word(&line), &flags) &&
           number_parse_uint(next_word(&line), ret_size);
}

/* Put a value at its key's place: behind those before it, with the keys between left out. */
static enum protocol_outcome place(const struct tarn_bytes *keys, size_t count,
                                   struct tarn_bytes key, struct tarn_bytes value,
                                   struct protocol_reply *reply)
{
    static const struct tarn_bytes missing = {NULL, 0};
    while (reply->count < count) {
        bool here = count == 1 || bytes_equal(keys[reply->count], key);
        if (!protocol_reply_add(reply, here ? value : missing))
            return PROTOCOL_NOMEM;
        if (here)
            return PROTOCOL_COMPLETE;
    }
    char excerpt[PROTOCOL_EXCERPT_BYTES_MAX];
    return protocol_malformed(reply, "get was answered with a key that was not asked for: \"%s\"",
                              protocol_excerpt(key, excerpt));
}

/* The bytes behind a VALUE line that ends at *at. *at becomes their end, or what is needed. */
static enum protocol_outcome take_value(struct tarn_bytes input, uint64_t size, size_t *at,
                                        struct tarn_bytes *ret_value, struct protocol_reply *reply)
{
    static const size_t end_line = 5; /* "END\r\n" */
    const unsigned char *start = (const unsigned char *)input.data + *at;
    size_t left = input.size - *at;
    if (size > PROTOCOL_REPLY_BYTES_MAX)
        return protocol_malformed(reply, "get was answered with a value of %llu bytes",
                                  (unsigned long long)size);
    if (left < size + 2) {
        *at += size + 2 + end_line;
        return PROTOCOL_INCOMPLETE;
    }
    if (load_u16le(start + size) != CRLF)
        return protocol_malformed(reply, "get was answered with a value without a line end");
    *ret_value = (struct tarn_bytes){start, size};
    *at += size + 2;
    return PROTOCOL_COMPLETE;
}

static enum protocol_outcome decode_get(const struct tarn_bytes *keys, size_t count,
                                        struct tarn_bytes input, struct protocol_reply *reply,
                                        size_t *ret_end)
{
    for (size_t at = 0;;) {
        struct tarn_bytes line, key, value = {NULL, 0};
        uint64_t size;
        enum protocol_outcome outcome = protocol_line(input, at, reply, &line, ret_end);
        if (outcome != PROTOCOL_COMPLETE)
            return outcome;
        at = *ret_end;
        if (parse_value_line(line, &key, &size)) {
            outcome = take_value(input, size, &at, &value, reply);
            *ret_end = at;
            if (outcome == PROTOCOL_COMPLETE)
                outcome = place(keys, count, key, value, reply);
            if (outcome != PROTOCOL_COMPLETE)
                return outcome;
        } else if (bytes_equal(line, bytes_of("END"))) {
            while (reply->count < count) {
                if (!protocol_reply_add(reply, (struct tarn_bytes){NULL, 0}))
                    return PROTOCOL_NOMEM;
            }
            return PROTOCOL_COMPLETE;
        } else {
            return is_error(line) ? refused(reply, line) : unexpected(reply, "get", line);
        }
    }
}

static enum protocol_outcome decode_line(enum request_kind kind, struct tarn_bytes input,
                                         struct protocol_reply *reply, size_t *ret_end)
{
    struct tarn_bytes line;
    bool put = kind == REQUEST_PUT;
    enum protocol_outcome outcome = protocol_line(input, 0, reply, &line, ret_end);
    if (outcome != PROTOCOL_COMPLETE)
        return outcome;
    if (put ? bytes_equal(line, bytes_of("STORED")) : starts_with(line, "VERSION "))
        return PROTOCOL_COMPLETE;
    if (is_error(line) || (put && bytes_equal(line, bytes_of("NOT_STORED"))))
        return refused(reply, line);
    return unexpected(reply, put ? "set" : "version", line);
}

static enum protocol_outcome memcached_decode(enum request_kind kind, const struct tarn_bytes *keys,
                                              size_t count, struct tarn_bytes input,
                                              struct protocol_reply *reply, size_t *ret_size)
{
    size_t end;
    protocol_reply_clear(reply);
    enum protocol_outcome outcome = kind == REQUEST_GET
                                        ? decode_get(keys, count, input, reply, &end)
                                        : decode_line(kind, input, reply, &end);
    if (outcome != PROTOCOL_COMPLETE && outcome != PROTOCOL_INCOMPLETE)
        return outcome;
    if (end > PROTOCOL_REPLY_BYTES_MAX)
        return protocol_malformed(reply, "an answer of more than %llu bytes",
                                  PROTOCOL_REPLY_BYTES_MAX);
    *ret_size = end;
    return outcome;
}

const struct protocol protocol_memcached = {
    .name = "memcached",
    .puts = true,
    .get_keys_max = GET_KEYS_MAX,
    .put_keys_max = 1,
    .key_bytes_max = KEY_BYTES_MAX,
    .keys_printable = true,
    .replies_name_keys = true,
    .check = memcached_check,
    .hello = memcached_hello,
    .get = memcached_get,
    .put = memcached_put,
    .decode = memcached_decode,
};
