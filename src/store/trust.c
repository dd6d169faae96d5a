/* See trust.h.
 *
 * How: a table of the keys that were put or deleted since the last gap, made when there is one.
 *
 * Invariants
 * 1. Without a gap, or after a flush behind the last one, everything is known.
 * Failure modes: no memory for the table; the change must not be done then. */
#include "store/trust.h"

#include "core/status.h"

void trust_init(struct trust *t, const struct os *os, uint64_t due, bool gap, bool never)
{
    *t = (struct trust){.os = os, .due = due, .gap = gap, .never = never};
}

static void forget(struct trust *t)
{
    table_session_close(t->session);
    table_close(t->known);
    t->session = NULL;
    t->known = NULL;
}

void trust_done(struct trust *t)
{
    forget(t);
}

void trust_quiescent(struct trust *t)
{
    if (t->session != NULL)
        table_session_quiescent(t->session);
}

static int note_known(struct trust *t, struct tarn_bytes key, struct tarn_error *error)
{
    const struct tarn_record record = {key, {"", 0}, 0};
    int status = TARN_OK;
    if (t->known == NULL)
        status = table_open(t->os, 0, TARN_EVICT_NOTHING, &t->known, error);
    if (status == TARN_OK && t->session == NULL)
        status = table_session_open(t->known, &t->session);
    if (status == TARN_OK)
        status = table_put(t->session, &record);
    return status == TARN_OK ? TARN_OK : error_set(error, TARN_NOMEM, "out of memory");
}

static bool is_known(struct trust *t, struct tarn_bytes key)
{
    struct tarn_record record;
    return t->session != NULL && table_get(t->session, key, &record) == TARN_OK;
}

int trust_change(struct trust *t, uint64_t sequence, const struct change *change, bool *ret_may,
                 struct tarn_error *error)
{
    int status = TARN_OK;
    bool gap = sequence != t->due, may = true;
    t->due = sequence + 1;
    t->gap |= gap;
    if (gap || change->kind == CHANGE_FLUSH)
        forget(t);
    if (change->kind == CHANGE_FLUSH)
        t->gap = false;
    else if (change->kind == CHANGE_PATCH)
        may = !t->never && (!t->gap || is_known(t, change->key));
    else if (change->kind != CHANGE_EXPIRE && t->gap)
        status = note_known(t, change->key, error);
    t->refused += !may;
    *ret_may = may;
    return status;
}
