/* Unpacking LZF. The bytes come from anywhere.
 *
 * A packed string is a sequence of
 *   000LLLLL                 L + 1 literal bytes follow
 *   LLLooooo oooooooo        copy L + 2 bytes (L in 1..6) from o + 1 bytes before the output's end
 *   111ooooo LLLLLLLL oooooooo   copy L + 9 bytes, likewise; o has 13 bits, its high ones first
 * A copy may overlap what it writes: so runs are packed.
 *
 * Invariants: nothing is read outside `packed`, nothing is written outside out..out + size, a copy
 * never begins before the output. Failure modes: false, for anything else. */
#include "core/lzf.h"

#define LITERALS_MAX 32 /* control bytes below are literal runs */

struct lzf_state {
    const unsigned char *in, *in_end;
    unsigned char *start, *out, *out_end;
};

static bool unpack_literals(struct lzf_state *s, size_t size)
{
    if (size > (size_t)(s->in_end - s->in) || size > (size_t)(s->out_end - s->out))
        return false;
    memcpy(s->out, s->in, size);
    s->in += size;
    s->out += size;
    return true;
}

/* Byte by byte where the copy reads what it has just written. */
static void copy_back(struct lzf_state *s, size_t distance, size_t size)
{
    const unsigned char *from = s->out - distance;
    if (distance >= size)
        memcpy(s->out, from, size);
    else
        for (size_t i = 0; i < size; i++)
            s->out[i] = from[i];
    s->out += size;
}

static bool unpack_copy(struct lzf_state *s, unsigned control)
{
    size_t size = (control >> 5) + 2;
    if (size == 9) {
        if (s->in == s->in_end)
            return false;
        size += *s->in++;
    }
    if (s->in == s->in_end)
        return false;
    size_t distance = ((size_t)(control & 0x1f) << 8) + *s->in++ + 1;
    if (distance > (size_t)(s->out - s->start) || size > (size_t)(s->out_end - s->out))
        return false;
    copy_back(s, distance, size);
    return true;
}

bool lzf_unpack(struct tarn_bytes packed, void *out, size_t size)
{
    struct lzf_state s = {.in = packed.data, .start = out, .out = out};
    s.in_end = s.in + packed.size;
    s.out_end = s.out + size;
    while (s.in < s.in_end) {
        unsigned control = *s.in++;
        if (!(control < LITERALS_MAX ? unpack_literals(&s, control + 1) : unpack_copy(&s, control)))
            return false;
    }
    return s.out == s.out_end;
}
