/* Changes of a log kept for a moment, so that what they touch is fetched before they are made: a
 * table larger than the caches is replayed into at the speed of memory, not of its latency. */
#ifndef STORE_AHEAD_H
#define STORE_AHEAD_H

#include "core/buffer.h"
#include "core/change.h"
#include "table/table.h"

#define AHEAD_CHANGES 32 /* times five lines or so: they stay in the first cache */

/* A zeroed one is empty. One thread's. */
struct ahead {
    size_t count;
    struct change changes[AHEAD_CHANGES];
    struct tarn_bytes keys[AHEAD_CHANGES];
    struct buffer bytes; /* of their keys and values, in that order */
};

/* Keep a copy of a change. False: it is not one to be kept (large, or about no key), there are
 * AHEAD_CHANGES already, or there is no memory: those kept are to be made first, then this. */
bool ahead_add(struct ahead *a, const struct change *change);

/* Have what the changes touch fetched; they are in a->changes from now on, until ahead_clear(). */
void ahead_fetch(struct ahead *a, struct table_session *s);
void ahead_clear(struct ahead *a);
void ahead_done(struct ahead *a);

#endif
