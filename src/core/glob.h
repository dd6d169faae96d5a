/* Redis's glob patterns: * ? [abc] [a-z] [^x] and \ as escape.
 *
 * Iterative; time O(pattern x text) at worst whatever the pattern (CVE-2022-36021 and
 * CVE-2024-31228 are what a recursive matcher costs). */
#ifndef CORE_GLOB_H
#define CORE_GLOB_H

#include "core/bytes.h"

/* Does the whole text match? Bytes, not characters. Same answers as Redis 7's KEYS and SCAN,
 * malformed classes included: stringmatchlen(), and "*" matches the empty text too. */
bool glob_match(struct tarn_bytes pattern, struct tarn_bytes text, bool ignore_case);

/* The same, telling how many pattern bytes were looked at: at most about pattern x text. */
bool glob_match_counted(struct tarn_bytes pattern, struct tarn_bytes text, bool ignore_case,
                        uint64_t *ret_steps);

#endif
