/* Slots of what was taken out, used again by those who write. Private to the background
 * (reclaim_internal.h) but for reclaim_reuse() of reclaim.h. */
#ifndef TABLE_REUSE_H
#define TABLE_REUSE_H

#include <stdbool.h>
#include <stdint.h>

struct reclaim;
struct retired;
struct table_session;

#define REUSE_UNIT      8u
#define REUSE_BYTES_MAX 1024u /* larger slots go back to the slab */

/* What is ready; guarded by the lock of struct reclaim but for the atomics. */
struct reuse {
    struct retired *ready; /* batches whose grace period is over */
    struct retired *spent; /* given back with something left: the next round frees it */
    struct table_session *sessions;
    _Atomic uint64_t bytes; /* of what is ready, with what sessions have; not less than there is */
    _Atomic bool any;       /* `ready` is not empty */
    _Atomic bool wanted;    /* somebody looked for a batch since the last round */
    bool offers;            /* of the rounds alone: somebody did before this one */
    uint64_t bytes_max;     /* likewise */
};

void reuse_session_open(struct reclaim *r, struct table_session *s);
void reuse_session_done(struct table_session *s);

/* A round begins: what nobody wants goes to be freed, all of it while memory is short. */
void reuse_begin_round(struct reclaim *r);
/* A grace period has passed: batches full of slots become ready instead of being freed. */
void reuse_offer(struct reclaim *r);
/* Everything goes to be freed. */
void reuse_take_back(struct reclaim *r);
uint64_t reuse_bytes(const struct reclaim *r);

#endif
