/* Redis's glob patterns.
 *
 * How: every element of a pattern but '*' eats exactly one byte, so of several stars only the last
 * one reached ever needs to be reconsidered: if the elements after it fit nowhere in the rest of
 * the text, a longer match of an earlier star only leaves less text for them. One position to go
 * back to, no recursion, no memory.
 *
 * Cost: a star is abandoned for good when the next one is reached, and until then each of at most
 * T starting points tries at most that star's P_i pattern bytes; the sum is at most P x T. (A
 * class is read to its end before it decides, so it counts as its bytes.)
 *
 * Odd rules kept from Redis 7.0, found by asking it (test/lib/glob_table.h):
 *   - an empty text matches only an empty pattern and the pattern "*" itself, not "**";
 *   - a class without ']' ends with the pattern; "[^" alone fits any byte; "[]" fits none;
 *   - in a class, "a-]" is a range up to ']', reversed ends are swapped, bytes above 127 compare
 *     as negative numbers, and an escaped byte keeps its case even when case is ignored;
 *   - with case ignored, the ends of a range are put in order first and lowered afterwards;
 *   - a backslash that ends the pattern stands for itself.
 * Failure modes: none; any bytes are a valid pattern. */
#include "core/glob.h"

/* ASCII only, negative numbers (bytes above 127) as they are: tolower() of the C locale. */
static int lower(int c)
{
    return c >= 'A' && c <= 'Z' ? c + 32 : c;
}

/* Does byte c fit the class whose first byte after '[' is at p[at]? Returns where the pattern goes
 * on and writes the answer. Bytes are signed here, as Redis's are. */
static size_t match_class(const signed char *p, size_t size, size_t at, signed char c,
                          bool ignore_case, bool *ret_fits)
{
    bool fits = false;
    bool negated = at < size && p[at] == '^';
    if (negated)
        at++;
    for (; at < size && p[at] != ']'; at++) {
        size_t left = size - at;
        if (p[at] == '\\' && left >= 2) {
            at++;
            fits |= p[at] == c;
        } else if (left >= 3 && p[at + 1] == '-') {
            int low = p[at] < p[at + 2] ? p[at] : p[at + 2];
            int high = p[at] < p[at + 2] ? p[at + 2] : p[at];
            int x = c;
            if (ignore_case) {
                low = lower(low);
                high = lower(high);
                x = lower(x);
            }
            fits |= x >= low && x <= high;
            at += 2;
        } else {
            fits |= ignore_case ? lower(p[at]) == lower(c) : p[at] == c;
        }
    }
    *ret_fits = fits != negated;
    return at < size ? at + 1 : at; /* past ']' if there is one */
}

/* Does byte c fit the element at p[at], which is no star? As match_class(). */
static size_t match_one(const signed char *p, size_t size, size_t at, signed char c,
                        bool ignore_case, bool *ret_fits)
{
    if (p[at] == '?') {
        *ret_fits = true;
        return at + 1;
    }
    if (p[at] == '[')
        return match_class(p, size, at + 1, c, ignore_case, ret_fits);
    if (p[at] == '\\' && size - at >= 2)
        at++;
    *ret_fits = ignore_case ? lower(p[at]) == lower(c) : p[at] == c;
    return at + 1;
}

bool glob_match_counted(struct tarn_bytes pattern, struct tarn_bytes text, bool ignore_case,
                        uint64_t *ret_steps)
{
    const signed char *p = pattern.data, *t = text.data;
    size_t p_at = 0, t_at = 0;
    size_t star_p = SIZE_MAX, star_t = 0; /* after the last star; where its rest was last tried */
    uint64_t steps = 0;
    bool matched = false;

    if (text.size == 0)
        return *ret_steps = 1, pattern.size == 0 || (pattern.size == 1 && p[0] == '*');
    for (;;) {
        while (p_at < pattern.size && p[p_at] == '*') {
            star_p = ++p_at;
            star_t = t_at;
            steps++;
        }
        if (t_at == text.size) {
            matched = p_at == pattern.size;
            break; /* if not matched: the rest needs more text than any later start has */
        }
        if (p_at == pattern.size && star_p == pattern.size) {
            matched = true; /* a star at the end takes all that is left */
            break;
        }
        bool fits = false;
        if (p_at < pattern.size) {
            size_t next = match_one(p, pattern.size, p_at, t[t_at], ignore_case, &fits);
            steps += next - p_at;
            p_at = next;
            t_at++;
        }
        if (fits)
            continue;
        if (star_p == SIZE_MAX)
            break;
        p_at = star_p;
        t_at = ++star_t;
        steps++;
    }
    *ret_steps = steps;
    return matched;
}

bool glob_match(struct tarn_bytes pattern, struct tarn_bytes text, bool ignore_case)
{
    uint64_t steps;
    return glob_match_counted(pattern, text, ignore_case, &steps);
}
