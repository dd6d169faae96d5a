/* Bytes to requests. What: RESP arrays of bulk strings and inline commands, one request a call.
 *
 * How: two paths. The fast path takes a whole array of short arguments in one go, writing views
 * straight into the caller's storage; it either succeeds or leaves no trace. Everything else
 * (incomplete input, long arguments, many arguments, inline commands, errors) goes to the careful
 * path, which keeps its place: arguments found so far are stored as offsets, because the input may
 * have moved by the next call, and become views when the request is complete.
 *
 * Invariants
 * 1. The outcome depends on the bytes alone, never on how they were split into calls: every limit
 *    is checked at a fixed position of the request.
 * 2. Nothing outside input is read; no length is believed before it is compared with its limit, and
 *    memory grows with the arguments that arrived, not with the count that was announced.
 * 3. When not `busy`, offset and scanned are 0.
 *
 * Differences from Redis 7, both stricter: the CR LF after a length and after an argument is
 * checked, and one request has a limit on its total size.
 *
 * Failure modes: malformed input and out of memory give RESP_INVALID with a text. */
#include "resp/parse.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/assert.h"
#include "core/codec.h"
#include "core/number.h"

#define BULK_BYTES_MAX  (512ll << 20) /* Redis's proto-max-bulk-len */
#define SLOTS_KEPT      64            /* argument slots kept between requests */
#define SLOTS_FIRST     8
#define ERROR_BYTES_MAX 80

/* An argument: where it lies in the input (while incomplete), then a view of it. */
union slot {
    struct {
        size_t offset, size;
    } place;
    struct tarn_bytes view;
};
static_assert(sizeof(union slot) == sizeof(struct tarn_bytes), "slots are an array of views");

struct resp_parser {
    bool busy;           /* inside a request that was incomplete at the last call */
    size_t offset;       /* bytes of the request understood so far */
    size_t scanned;      /* bytes after offset known to hold no line end */
    size_t bytes_needed; /* see resp_parser_bytes_needed() */
    int64_t count;       /* arguments announced, -1 before that line */
    int64_t bulk_size;   /* of the next argument, -1 before that line */
    size_t slots_count, slots_capacity;
    union slot *slots;
    unsigned char *unquoted; /* arguments of an inline request with quotes; NULL when unused */
    char error_text[ERROR_BYTES_MAX];
};

struct resp_parser *resp_parser_new(void)
{
    return calloc(1, sizeof(struct resp_parser));
}

void resp_parser_free(struct resp_parser *p)
{
    if (p == NULL)
        return;
    free(p->slots);
    free(p->unquoted);
    free(p);
}

const char *resp_parser_error(const struct resp_parser *p)
{
    return p->error_text;
}

size_t resp_parser_bytes_needed(const struct resp_parser *p)
{
    return p->bytes_needed;
}

/* The arguments stay readable. */
void resp_parser_reset(struct resp_parser *p)
{
    p->busy = false;
    p->offset = 0;
    p->scanned = 0;
}

/* Before a new request: give back what an unusual one took. */
static void parser_begin(struct resp_parser *p)
{
    free(p->unquoted);
    p->unquoted = NULL;
    if (p->slots_capacity > SLOTS_KEPT) {
        free(p->slots);
        p->slots = NULL;
        p->slots_capacity = 0;
    }
    p->slots_count = 0;
    p->count = -1;
    p->bulk_size = -1;
    p->offset = 0;
    p->scanned = 0;
    p->busy = true;
}

static enum resp_outcome parser_fail(struct resp_parser *p, const char *what)
{
    snprintf(p->error_text, sizeof p->error_text, "Protocol error: %s", what);
    resp_parser_reset(p);
    return RESP_INVALID;
}

/* Not the client's mistake. */
static enum resp_outcome parser_fail_memory(struct resp_parser *p)
{
    snprintf(p->error_text, sizeof p->error_text, "out of memory: no room for the arguments");
    resp_parser_reset(p);
    return RESP_INVALID;
}

static enum resp_outcome parser_wait(struct resp_parser *p, size_t bytes_needed)
{
    p->bytes_needed = bytes_needed;
    return RESP_INCOMPLETE;
}

static bool parser_add(struct resp_parser *p, size_t offset, size_t size)
{
    if (p->slots_count == p->slots_capacity) {
        size_t capacity = p->slots_capacity == 0 ? SLOTS_FIRST : 2 * p->slots_capacity;
        union slot *slots = realloc(p->slots, capacity * sizeof *slots);
        if (slots == NULL)
            return false;
        p->slots = slots;
        p->slots_capacity = capacity;
    }
    p->slots[p->slots_count].place.offset = offset;
    p->slots[p->slots_count].place.size = size;
    p->slots_count++;
    return true;
}

/* Turn the collected places into views of `base`, in the caller's storage if they fit there and
 * `may_share`, else in the parser's own. */
static void parser_deliver(struct resp_parser *p, const unsigned char *base, bool may_share,
                           struct tarn_bytes *storage, size_t capacity,
                           struct resp_request *ret_request)
{
    struct tarn_bytes *args = &p->slots->view;
    if (may_share && p->slots_count <= capacity)
        args = storage;
    for (size_t i = 0; i < p->slots_count; i++) {
        size_t offset = p->slots[i].place.offset, size = p->slots[i].place.size;
        args[i] = (struct tarn_bytes){base + offset, size};
    }
    *ret_request = (struct resp_request){args, p->slots_count};
}

/* A length as Redis's string2ll() takes it: no '+', no leading zeros, no spaces. */
static bool parse_length(const unsigned char *text, size_t size, int64_t *ret_value)
{
    bool negative = size > 0 && text[0] == '-';
    size_t i = negative;
    if (i == size || size > 20)
        return false;
    if (text[i] == '0' && (size > 1))
        return false;
    uint64_t value = 0;
    for (; i < size; i++) {
        unsigned digit = text[i] - (unsigned)'0';
        if (digit > 9 || value > ((uint64_t)INT64_MAX - digit) / 10)
            return false;
        value = 10 * value + digit;
    }
    *ret_value = negative ? -(int64_t)value : (int64_t)value;
    return true;
}

/* --- the careful path: arrays ------------------------------------------------------------- */

/* Find the line at p->offset that carries a length: RESP_REQUEST with its end (the index of '\r';
 * "\r\n" is there), RESP_INCOMPLETE, or RESP_INVALID with one of the two texts. */
static enum resp_outcome find_line(struct resp_parser *p, struct tarn_bytes input,
                                   const struct resp_limits *limits, const char *too_big,
                                   const char *malformed, size_t *ret_end)
{
    const unsigned char *line = (const unsigned char *)input.data + p->offset;
    size_t available = input.size - p->offset;
    size_t window = available;
    if (window > limits->inline_bytes_max)
        window = limits->inline_bytes_max + 1;
    const unsigned char *end = NULL;
    if (window > p->scanned)
        end = memchr(line + p->scanned, '\r', window - p->scanned);
    if (end == NULL) {
        if (available > limits->inline_bytes_max)
            return parser_fail(p, too_big);
        p->scanned = window;
        return parser_wait(p, p->offset + window + 2);
    }
    size_t size = (size_t)(end - line);
    if (size + 1 == available) {
        p->scanned = size;
        return parser_wait(p, p->offset + size + 2);
    }
    if (end[1] != '\n')
        return parser_fail(p, malformed);
    p->scanned = 0;
    *ret_end = p->offset + size;
    return RESP_REQUEST;
}

/* "*<count>\r\n". RESP_EMPTY for a count of zero or less. */
static enum resp_outcome parse_count(struct resp_parser *p, struct tarn_bytes input,
                                     const struct resp_limits *limits)
{
    static const char malformed[] = "invalid multibulk length";
    size_t end;
    enum resp_outcome outcome =
        find_line(p, input, limits, "too big mbulk count string", malformed, &end);
    if (outcome != RESP_REQUEST)
        return outcome;
    const unsigned char *data = input.data;
    int64_t count;
    if (!parse_length(data + p->offset + 1, end - p->offset - 1, &count) || count > INT_MAX)
        return parser_fail(p, malformed);
    if (count > 0 && (uint64_t)count > limits->args_max)
        return parser_fail(p, limits->unauthenticated ? "unauthenticated multibulk length"
                                                      : malformed);
    p->offset = end + 2;
    p->count = count;
    return count > 0 ? RESP_REQUEST : RESP_EMPTY;
}

/* "$<size>\r\n" */
static enum resp_outcome parse_bulk_size(struct resp_parser *p, struct tarn_bytes input,
                                         const struct resp_limits *limits)
{
    static const char malformed[] = "invalid bulk length";
    size_t end;
    enum resp_outcome outcome =
        find_line(p, input, limits, "too big bulk count string", malformed, &end);
    if (outcome != RESP_REQUEST)
        return outcome;
    const unsigned char *data = input.data;
    unsigned char first = data[p->offset];
    if (first != '$') {
        char text[40];
        snprintf(text, sizeof text, "expected '$', got '%c'", first < ' ' ? ' ' : first);
        return parser_fail(p, text);
    }
    int64_t size;
    if (!parse_length(data + p->offset + 1, end - p->offset - 1, &size) || size < 0 ||
        size > BULK_BYTES_MAX)
        return parser_fail(p, malformed);
    if ((uint64_t)size > limits->arg_bytes_max)
        return parser_fail(p, limits->unauthenticated ? "unauthenticated bulk length" : malformed);
    if (end + 2 + (uint64_t)size + 2 > limits->request_bytes_max)
        return parser_fail(p, "too big request");
    p->offset = end + 2;
    p->bulk_size = size;
    return RESP_REQUEST;
}

static enum resp_outcome parse_array(struct resp_parser *p, struct tarn_bytes input,
                                     const struct resp_limits *limits, size_t *ret_size)
{
    enum resp_outcome outcome;
    if (p->count < 0 && (outcome = parse_count(p, input, limits)) != RESP_REQUEST) {
        *ret_size = p->offset;
        return outcome;
    }
    const unsigned char *data = input.data;
    while (p->slots_count < (size_t)p->count) {
        if (p->bulk_size < 0 && (outcome = parse_bulk_size(p, input, limits)) != RESP_REQUEST)
            return outcome;
        size_t end = p->offset + (size_t)p->bulk_size;
        if (end + 2 > input.size)
            return parser_wait(p, end + 2);
        if (data[end] != '\r' || data[end + 1] != '\n')
            return parser_fail(p, "expected CRLF after bulk string");
        if (!parser_add(p, p->offset, (size_t)p->bulk_size))
            return parser_fail_memory(p);
        p->offset = end + 2;
        p->bulk_size = -1;
    }
    *ret_size = p->offset;
    return RESP_REQUEST;
}

/* --- the careful path: inline commands ---------------------------------------------------- */

static bool is_space(unsigned char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The byte that a backslash at text[at] stands for inside double quotes; *ret_used is how many
 * bytes the escape takes. A backslash at the end of the line stands for itself. */
static unsigned char unescape(const unsigned char *text, size_t size, size_t at, size_t *ret_used)
{
    *ret_used = 1;
    if (at + 1 == size)
        return '\\';
    if (at + 3 < size && text[at + 1] == 'x') {
        int high = number_hex_digit(text[at + 2]), low = number_hex_digit(text[at + 3]);
        if (high >= 0 && low >= 0) {
            *ret_used = 4;
            return (unsigned char)(high << 4 | low);
        }
    }
    *ret_used = 2;
    switch (text[at + 1]) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'a':
        return '\a';
    default:
        return text[at + 1];
    }
}

/* Copy the inside of quotes that open at line[at] to out; the index after the closing quote, or 0
 * when they are not closed, or not followed by a space. */
static size_t unquote(const unsigned char *line, size_t size, size_t at, unsigned char *out,
                      size_t *out_size)
{
    unsigned char quote = line[at++];
    while (at < size && line[at] != quote) {
        size_t used = 1;
        unsigned char c = line[at];
        if (c == '\\' && quote == '"') {
            c = unescape(line, size, at, &used);
        } else if (c == '\\' && at + 1 < size && line[at + 1] == '\'') {
            c = '\'';
            used = 2;
        }
        out[(*out_size)++] = c;
        at += used;
    }
    if (at >= size || (at + 1 < size && !is_space(line[at + 1])))
        return 0;
    return at + 1;
}

/* Split the line into arguments as Redis's sdssplitargs() does. Arguments are copied to
 * p->unquoted if that is set, else left in place. RESP_REQUEST or RESP_INVALID. */
static enum resp_outcome split_line(struct resp_parser *p, const unsigned char *line, size_t size)
{
    size_t at = 0, out_size = 0;
    for (;;) {
        while (at < size && is_space(line[at]))
            at++;
        if (at == size)
            return RESP_REQUEST;
        size_t start = p->unquoted != NULL ? out_size : at;
        while (at < size && line[at] != ' ' && line[at] != '\t' && line[at] != '\r') {
            if (line[at] == '"' || line[at] == '\'') {
                at = unquote(line, size, at, p->unquoted, &out_size);
                if (at == 0)
                    return parser_fail(p, "unbalanced quotes in request");
                break;
            }
            if (p->unquoted != NULL)
                p->unquoted[out_size++] = line[at];
            at++;
        }
        size_t end = p->unquoted != NULL ? out_size : at;
        if (!parser_add(p, start, end - start))
            return parser_fail_memory(p);
    }
}

static enum resp_outcome parse_inline(struct resp_parser *p, struct tarn_bytes input,
                                      const struct resp_limits *limits, size_t *ret_size)
{
    const unsigned char *data = input.data;
    size_t max = limits->inline_bytes_max;
    size_t window = input.size > max ? max + 1 : input.size;
    const unsigned char *newline = NULL;
    if (window > p->scanned)
        newline = memchr(data + p->scanned, '\n', window - p->scanned);
    if (newline == NULL) {
        if (input.size > max)
            return parser_fail(p, "too big inline request");
        p->scanned = window;
        return parser_wait(p, window + 1);
    }
    size_t size = (size_t)(newline - data);
    *ret_size = size + 1;
    if (size > 0 && data[size - 1] == '\r')
        size--;
    size = strnlen(input.data, size); /* a NUL ends the line, as it does in Redis */
    if (memchr(data, '"', size) != NULL || memchr(data, '\'', size) != NULL) {
        p->unquoted = malloc(size);
        if (p->unquoted == NULL)
            return parser_fail_memory(p);
    }
    if (split_line(p, data, size) != RESP_REQUEST)
        return RESP_INVALID;
    if (p->slots_count > limits->args_max)
        return parser_fail(p, limits->unauthenticated ? "unauthenticated multibulk length"
                                                      : "invalid multibulk length");
    for (size_t i = 0; i < p->slots_count; i++)
        if (p->slots[i].place.size > limits->arg_bytes_max)
            return parser_fail(p, limits->unauthenticated ? "unauthenticated bulk length"
                                                          : "invalid bulk length");
    return p->slots_count > 0 ? RESP_REQUEST : RESP_EMPTY;
}

/* --- the fast path ------------------------------------------------------------------------ */

/* "<size>\r\n" of one to three digits at text: its bytes, or 0 if it is anything else. */
static inline size_t take_short_size(const unsigned char *text, size_t available, size_t *ret_size)
{
    if (available < 5)
        return 0;
    size_t size = text[0] - (size_t)'0';
    if (size > 9)
        return 0;
    if (load_u16le(text + 1) == 0x0a0d) {
        *ret_size = size;
        return 3;
    }
    size_t digit = text[1] - (size_t)'0';
    if (size == 0 || digit > 9)
        return 0;
    size = 10 * size + digit;
    if (load_u16le(text + 2) == 0x0a0d) {
        *ret_size = size;
        return 4;
    }
    digit = text[2] - (size_t)'0';
    if (digit > 9 || load_u16le(text + 3) != 0x0a0d)
        return 0;
    *ret_size = 10 * size + digit;
    return 5;
}

/* A whole array of at most args_capacity (and 9) arguments under 1000 bytes; 0 if the input holds
 * anything else, else the request's size. */
static inline size_t parse_fast(const unsigned char *data, size_t available,
                                const struct resp_limits *limits, struct tarn_bytes *args,
                                size_t args_capacity, size_t *ret_count)
{
    if (available < 4 || data[0] != '*' || load_u16le(data + 2) != 0x0a0d)
        return 0;
    size_t count = data[1] - (size_t)'0';
    if (count - 1 > 8 || count > args_capacity || count > limits->args_max)
        return 0;
    size_t at = 4;
    for (size_t i = 0; i < count; i++) {
        size_t size;
        if (at == available || data[at] != '$')
            return 0;
        size_t line = take_short_size(data + at + 1, available - at - 1, &size);
        if (line == 0)
            return 0;
        at += 1 + line;
        if (available - at < size + 2 || load_u16le(data + at + size) != 0x0a0d ||
            size > limits->arg_bytes_max)
            return 0;
        args[i] = (struct tarn_bytes){data + at, size};
        at += size + 2;
    }
    if (at > limits->request_bytes_max)
        return 0;
    *ret_count = count;
    return at;
}

enum resp_outcome resp_parse(struct resp_parser *p, struct tarn_bytes input,
                             const struct resp_limits *limits, struct tarn_bytes *args_storage,
                             size_t args_capacity, struct resp_request *ret_request,
                             size_t *ret_size)
{
    const unsigned char *data = input.data;
    if (!p->busy) {
        size_t count, size;
        size = parse_fast(data, input.size, limits, args_storage, args_capacity, &count);
        if (size != 0) {
            *ret_request = (struct resp_request){args_storage, count};
            *ret_size = size;
            return RESP_REQUEST;
        }
        if (input.size == 0)
            return parser_wait(p, 1);
        parser_begin(p);
    }
    ASSERT(input.size >= p->offset + p->scanned && input.size > 0);
    size_t size = 0;
    enum resp_outcome outcome = data[0] == '*' ? parse_array(p, input, limits, &size)
                                               : parse_inline(p, input, limits, &size);
    if (outcome == RESP_INCOMPLETE || outcome == RESP_INVALID)
        return outcome;
    if (outcome == RESP_REQUEST) {
        bool quoted = p->unquoted != NULL;
        parser_deliver(p, quoted ? p->unquoted : data, !quoted, args_storage, args_capacity,
                       ret_request);
    }
    *ret_size = size;
    resp_parser_reset(p);
    return outcome;
}
