/* Salvage: which changes may be done to what there is, when others are missing.
 *
 * A patch says what became of a part of a value. Done to a value that is not the one it was made to
 * it makes one that never was. So behind a gap in the sequences it is done only to keys of which
 * the whole value came since. */
#ifndef STORE_TRUST_H
#define STORE_TRUST_H

#include "core/change.h"
#include "table/table.h"

struct trust {
    const struct os *os;
    uint64_t due;        /* the sequence that comes next */
    bool gap, never;     /* there was a gap; no patch is to be trusted */
    struct table *known; /* keys whose value came since the gap; NULL: not needed yet */
    struct table_session *session;
    uint64_t refused; /* changes that may not be done */
};

/* due: the first sequence; gap: what there is before it is not what it should be; never: nothing
 * says whether there is a gap. */
void trust_init(struct trust *t, const struct os *os, uint64_t due, bool gap, bool never);
void trust_done(struct trust *t);

/* May this change, the next one there is, be done? This thread must be registered with qsbr.
 * Errors: NOMEM. */
TARN_MUST int trust_change(struct trust *t, uint64_t sequence, const struct change *change,
                           bool *ret_may, struct tarn_error *error);
void trust_quiescent(struct trust *t); /* before the thread's quiescent state */

#endif
