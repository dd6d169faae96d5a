/* Generating a data set.
 *
 * How: every record has its own generator, SplitMix64 started from the seed and the record's
 * number (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014,
 * figure 17), so that a record depends on nothing but these. Values are characters of base64url,
 * six bits each. Records are gathered in a buffer and handed on a buffer at a time.
 *
 * Invariants
 * 1. Keys are distinct: the UUID's first half holds a bijection of the record's number in its 60
 *    free bits; the second half is random.
 * 2. The bytes do not depend on the buffer's size: values are drawn 8 characters at a time from
 *    their start, and the buffer's size is a multiple of 8.
 *
 * Failure modes: out of memory, cancelled, and what the sink reports. */
#include "cli/gen.h"

#include <stdlib.h>

#include "core/assert.h"
#include "core/codec.h"
#include "core/random.h"

#define BUFFER_BYTES ((size_t)1 << 20)
#define FRAME_BYTES  (GEN_KEY_BYTES + 2 * VARINT_BYTES_MAX) /* most that stands before a value */
#define SLACK_BYTES  8                                      /* characters are written 8 at a time */
#define BITS_60      ((1ull << 60) - 1)

static inline uint64_t record_state(uint64_t seed, uint64_t i)
{
    return random_mix(random_mix(seed) + i * 0xd1342543de82ef95ull);
}

/* A bijection of 60-bit numbers: additions, odd factors and xor-shifts can all be undone. */
static inline uint64_t permute_60(uint64_t seed, uint64_t i)
{
    uint64_t x = (i + random_mix(seed ^ 0x7461726e)) & BITS_60;
    x = (x * 0xbf58476d1ce4e5b9ull) & BITS_60;
    x ^= x >> 31;
    x = (x * 0x94d049bb133111ebull) & BITS_60;
    x ^= x >> 29;
    x = (x * 0x9e3779b97f4a7c15ull) & BITS_60;
    return x ^ (x >> 32);
}

/* Sixteen hex digits of v into out, the highest first. Each byte's nibble n becomes '0' + n, plus
 * 39 if it is over 9: n + 6 carries into bit 4 exactly then. */
static inline void put_hex(uint64_t v, char out[16])
{
    uint64_t halves[2] = {v >> 32, v & 0xffffffff};
    for (int i = 0; i < 2; i++) {
        uint64_t x = halves[i]; /* spread 8 nibbles to 8 bytes */
        x = (x | x << 16) & 0x0000ffff0000ffffull;
        x = (x | x << 8) & 0x00ff00ff00ff00ffull;
        x = (x | x << 4) & 0x0f0f0f0f0f0f0f0full;
        uint64_t letters = ((x + 0x0606060606060606ull) >> 4) & 0x0101010101010101ull;
        x += 0x3030303030303030ull + letters * 39;
        x = __builtin_bswap64(x);
        memcpy(out + 8 * i, &x, 8);
    }
}

void gen_key(uint64_t seed, uint64_t i, char out[GEN_KEY_BYTES])
{
    uint64_t state = ~record_state(seed, i);
    uint64_t unique = permute_60(seed, i), random = random_next(&state);
    char digits[32];
    put_hex((unique >> 12) << 16 | 0x4000 | (unique & 0xfff), digits);
    put_hex((random & ~(3ull << 62)) | 2ull << 62, digits + 16);
    memcpy(out, digits, 8);
    out[8] = '-';
    memcpy(out + 9, digits + 8, 4);
    out[13] = '-';
    memcpy(out + 14, digits + 12, 4);
    out[18] = '-';
    memcpy(out + 19, digits + 16, 4);
    out[23] = '-';
    memcpy(out + 24, digits + 20, 12);
}

struct generator {
    const struct gen_options *options;
    gen_sink sink;
    void *sink_context;
    tarn_progress progress;
    void *progress_context;
    struct tarn_error *error;
    unsigned char *buffer; /* BUFFER_BYTES + SLACK_BYTES */
    size_t used;
    uint64_t bytes_done, bytes_total; /* handed to the sink; expected in all */
};

static int flush(struct generator *g)
{
    if (g->used == 0)
        return TARN_OK;
    int status = g->sink(g->sink_context, g->buffer, g->used, g->error);
    if (status != TARN_OK)
        return status;
    g->bytes_done += g->used;
    g->used = 0;
    if (g->progress && !g->progress(g->progress_context, "writing", g->bytes_done, g->bytes_total))
        return error_set(g->error, TARN_CANCELLED, "cancelled, nothing was kept");
    return TARN_OK;
}

static size_t put_size(const struct tarn_format *format, unsigned char *p, uint64_t size)
{
    switch (format->size_type) {
    case TARN_SIZE_U16:
        store_u16le(p, format->big_endian ? __builtin_bswap16((uint16_t)size) : (uint16_t)size);
        return 2;
    case TARN_SIZE_U32:
        store_u32le(p, format->big_endian ? __builtin_bswap32((uint32_t)size) : (uint32_t)size);
        return 4;
    case TARN_SIZE_U64:
        store_u64le(p, format->big_endian ? __builtin_bswap64(size) : size);
        return 8;
    case TARN_SIZE_VARINT:
        break;
    }
    return store_varint(p, size);
}

/* All of a record that stands before its value. */
static void put_frame(struct generator *g, uint64_t i, uint64_t value_size)
{
    const struct tarn_format *format = &g->options->format;
    unsigned char *p = g->buffer + g->used;
    if (format->kind == TARN_FORMAT_BINARY)
        p += put_size(format, p, GEN_KEY_BYTES);
    gen_key(g->options->seed, i, (char *)p);
    p += GEN_KEY_BYTES;
    if (format->kind == TARN_FORMAT_BINARY)
        p += put_size(format, p, value_size);
    else
        *p++ = ' ';
    g->used = (size_t)(p - g->buffer);
}

/* `size` characters at p; up to 7 bytes after them are overwritten too. */
static inline void put_characters(unsigned char *p, size_t size, uint64_t *state)
{
    static const unsigned char characters[64] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (size_t at = 0; at < size; at += 8) {
        uint64_t r = random_next(state);
        for (int i = 0; i < 8; i++)
            p[at + (size_t)i] = characters[r >> (8 * i) & 63];
    }
}

static int put_value(struct generator *g, uint64_t size, uint64_t *state)
{
    while (size > BUFFER_BYTES - g->used) {
        int status = flush(g);
        if (status != TARN_OK)
            return status;
        size_t part = size < BUFFER_BYTES ? (size_t)size : BUFFER_BYTES;
        put_characters(g->buffer, part, state);
        g->used = part;
        size -= part;
    }
    put_characters(g->buffer + g->used, (size_t)size, state);
    g->used += (size_t)size;
    return TARN_OK;
}

static int put_record(struct generator *g, uint64_t i)
{
    const struct gen_options *o = g->options;
    uint64_t state = record_state(o->seed, i);
    uint64_t span = o->value_high - o->value_low + 1;
    uint64_t value_size =
        o->value_low + (uint64_t)(((unsigned __int128)random_next(&state) * span) >> 64);
    int status = TARN_OK;
    if (BUFFER_BYTES - g->used < FRAME_BYTES + 1)
        status = flush(g);
    if (status != TARN_OK)
        return status;
    put_frame(g, i, value_size);
    status = put_value(g, value_size, &state);
    if (status == TARN_OK && o->format.kind == TARN_FORMAT_TEXT) {
        if (g->used == BUFFER_BYTES)
            status = flush(g);
        g->buffer[g->used++] = '\n';
    }
    return status;
}

int gen_run(const struct gen_options *options, gen_sink sink, void *sink_context,
            tarn_progress progress, void *progress_context, struct tarn_error *error)
{
    ASSERT(options->count <= GEN_COUNT_MAX && options->value_low <= options->value_high);
    ASSERT(options->value_high <= TARN_VALUE_BYTES_MAX);
    struct generator g = {.options = options,
                          .sink = sink,
                          .sink_context = sink_context,
                          .progress = progress,
                          .progress_context = progress_context,
                          .error = error};
    uint64_t record_bytes =
        GEN_KEY_BYTES + 2 + options->value_low / 2 + (options->value_high + 1) / 2;
    g.bytes_total = options->count * record_bytes; /* at most 2^40 * 2^30 wraps: only a display */
    g.buffer = malloc(BUFFER_BYTES + SLACK_BYTES);
    if (!g.buffer)
        return error_set(error, TARN_NOMEM, "out of memory");
    int status = TARN_OK;
    for (uint64_t i = 0; i < options->count && status == TARN_OK; i++)
        status = put_record(&g, i);
    if (status == TARN_OK)
        status = flush(&g);
    free(g.buffer);
    return status;
}
