/* The keys a client watches (WATCH): a set, so that watching a key again costs nothing. Owned by
 * one worker's thread. */
#ifndef SERVER_WATCHED_H
#define SERVER_WATCHED_H

#include "tarn.h"

#define WATCHED_KEYS_MAX 4096 /* of one client */

struct watched_key;

/* Zeroed: empty. */
struct watched {
    struct watched_key **slots; /* open addressing; capacity is 0 or a power of two */
    size_t count, capacity;
    size_t bytes; /* memory of all this, without the store's part */
};

/* Watch a key from now on; if it is watched already, nothing happens. Not between tarn_begin() and
 * tarn_end(). Errors: TOOBIG (WATCHED_KEYS_MAX are), those of tarn_watch_open(). */
TARN_MUST int watched_add(struct watched *w, struct tarn_session *session, struct tarn_bytes key);

/* Has any of the keys changed, or gone, since it was added? */
bool watched_changed(const struct watched *w);

/* Append the keys at ret_keys, which has room for `count` views; they last until the set changes.
 */
void watched_keys(const struct watched *w, struct tarn_bytes *ret_keys);

/* Watch nothing more. Not between tarn_begin() and tarn_end(). */
void watched_clear(struct watched *w);

#endif
