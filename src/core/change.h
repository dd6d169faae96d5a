/* A change to a store: what the table tells of before anybody can see it, and the log keeps.
 *
 * Changes are replayed in order, by a reader that lets nothing expire meanwhile, so they say what
 * became of a key and never what to compute. Replaying some of them twice, in order, ends the same.
 */
#ifndef CORE_CHANGE_H
#define CORE_CHANGE_H

#include <stdbool.h>

#include "core/bytes.h"

enum change_kind {
    CHANGE_PUT = 1,    /* key has this value and this expiry */
    CHANGE_DELETE = 2, /* key is gone */
    CHANGE_EXPIRE = 3, /* key, which is there, has this expiry */
    CHANGE_PATCH = 4,  /* key, which is there, has this expiry, and `value` in its value from
                          `offset`  on, zero-filled up to there if it was shorter */
    CHANGE_FLUSH = 5,  /* every key is gone */
};

struct change {
    enum change_kind kind;
    struct tarn_bytes key;   /* not of FLUSH */
    struct tarn_bytes value; /* PUT: all of it; PATCH: the new part */
    uint64_t offset;         /* PATCH */
    int64_t expire_ms;       /* PUT, EXPIRE, PATCH: ms since 1970; 0: never */
};

#endif
