/* Fetches: reads for those who must not wait. See tarn.h.
 *
 * How: a fetch holds the kept keys it was begun for and counts those that have not come. When the
 * last one has, it is queued; tarn_fetch_poll() calls.
 *
 * Invariants: (1) `missing` is the number of its links whose key is PENDING; (2) every link holds
 * its kept key, whose answer has memory of its own.
 * Failure modes: no memory: nothing is begun for the caller; reads begun go to the cache. */
#include <stdlib.h>

#include "core/assert.h"
#include "store/far.h"
#include "store/session.h"

#define PREFETCH_KEYS 64u /* of the cache, at once */

struct tarn_fetch {
    struct far_call call; /* first */
    struct far_session *session;
    struct tarn_fetch *next, **link;
    unsigned missing;
    size_t count;
    struct fetch_link links[];
};

/* --- who is to be told --- */

void far_call_queue(struct far_session *s, struct far_call *call)
{
    ASSERT(!call->queued);
    call->queued = true;
    call->next = NULL;
    *s->calls_last = call;
    s->calls_last = &call->next;
}

static struct far_call *next_call(struct far_session *s)
{
    struct far_call *call = s->calls;
    if (call == NULL)
        return NULL;
    s->calls = call->next;
    if (s->calls == NULL)
        s->calls_last = &s->calls;
    call->queued = false;
    return call;
}

void far_call_drop(struct far_session *s, struct far_call *call)
{
    if (!call->queued)
        return;
    struct far_call **p = &s->calls;
    while (*p != call)
        p = &(*p)->next;
    *p = call->next;
    if (*p == NULL)
        s->calls_last = p;
    call->queued = false;
}

/* --- links --- */

/* NOMEM, FULL: nothing has changed. */
static int attach(struct tarn_fetch *f, struct fetch_link *link, struct kept *k)
{
    int status = far_kept_copy(f->session, k);
    if (status != TARN_OK)
        return status;
    *link = (struct fetch_link){.kept = k, .fetch = f};
    k->holds++;
    if (k->state == KEPT_PENDING) {
        link->next = k->fetches;
        k->fetches = link;
        f->missing++;
    }
    return TARN_OK;
}

static void detach(struct fetch_link *link)
{
    struct kept *k = link->kept;
    struct tarn_fetch *f = link->fetch;
    if (k->state == KEPT_PENDING) {
        struct fetch_link **p = &k->fetches;
        while (*p != link)
            p = &(*p)->next;
        *p = link->next;
        f->missing--;
    }
    if (--k->holds > 0)
        return;
    if (k->state == KEPT_PENDING)
        far_miss_forget(f->session, k);
    else
        far_kept_leave(f->session, k);
}

void far_fetch_resolved(struct far_session *s, struct kept *k)
{
    struct fetch_link *next;
    for (struct fetch_link *link = k->fetches; link != NULL; link = next) {
        next = link->next;
        if (--link->fetch->missing == 0)
            far_call_queue(s, &link->fetch->call);
    }
    k->fetches = NULL;
}

/* The version that is served was exchanged meanwhile: what came of the old one is fetched again.
 * False: that is under way. */
static bool renew(struct far_session *s, struct far_call *call)
{
    struct tarn_fetch *f = (struct tarn_fetch *)(void *)call;
    for (size_t i = 0; i < f->count; i++) {
        struct fetch_link old = f->links[i];
        int status;
        if (old.kept->version == s->seen->number)
            continue;
        struct kept *k = far_want(s, old.kept->key, &status);
        if (k != NULL && attach(f, &f->links[i], k) == TARN_OK)
            detach(&old);
    }
    return f->missing == 0;
}

/* --- beginning --- */

/* Have all keys looked for. How many are under way, or an error. */
static int want_all(struct far_session *s, const struct tarn_bytes *keys, size_t count)
{
    int pending = 0;
    for (size_t i = 0; i < count; i++) {
        int status = TARN_NOTFOUND;
        if (i % PREFETCH_KEYS == 0)
            far_prefetch(s, keys + i, count - i < PREFETCH_KEYS ? count - i : PREFETCH_KEYS);
        struct kept *k = keys[i].size <= TARN_KEY_BYTES_MAX ? far_want(s, keys[i], &status) : NULL;
        if (k == NULL && status < 0)
            return status;
        if (k != NULL && k->state == KEPT_KNOWN && k->status == TARN_FULL)
            return TARN_FULL; /* another fetch had no room for it, and is told so yet */
        pending += k != NULL && k->state == KEPT_PENDING;
    }
    return pending;
}

static void free_fetch(struct tarn_fetch *f)
{
    for (size_t i = 0; i < f->count; i++)
        detach(&f->links[i]);
    far_call_drop(f->session, &f->call);
    *f->link = f->next;
    if (f->next != NULL)
        f->next->link = f->link;
    free(f);
}

static struct tarn_fetch *fetch_new(struct far_session *s, size_t count)
{
    struct tarn_fetch *f = calloc(1, sizeof *f + count * sizeof *f->links);
    if (f == NULL)
        return NULL;
    f->session = s;
    f->call.ready = renew;
    f->next = s->fetches;
    f->link = &s->fetches;
    if (f->next != NULL)
        f->next->link = &f->next;
    s->fetches = f;
    return f;
}

static int hold_all(struct tarn_fetch *f, const struct tarn_bytes *keys, size_t count)
{
    struct far_session *s = f->session;
    for (size_t i = 0; i < count; i++) {
        struct kept *k = far_kept_find(s, far_hash(s->far, keys[i]), keys[i]);
        int status = k != NULL ? attach(f, &f->links[f->count], k) : TARN_OK;
        if (status != TARN_OK)
            return status;
        f->count += k != NULL;
    }
    return (int)f->missing;
}

int tarn_fetch_begin(struct tarn_session *session, const struct tarn_bytes *keys, size_t count,
                     tarn_fetched done, void *context, struct tarn_fetch **ret_fetch)
{
    struct far_session *s = session_far(session);
    *ret_fetch = NULL;
    if (s == NULL)
        return 0;
    (void)far_version(s);
    int pending = far_tell(s) ? want_all(s, keys, count) : TARN_NOMEM;
    if (pending <= 0)
        return pending;
    struct tarn_fetch *f = fetch_new(s, count);
    int status = f != NULL ? hold_all(f, keys, count) : TARN_NOMEM;
    if (status <= 0) {
        if (f != NULL)
            free_fetch(f);
        return status;
    }
    f->call.done = done;
    f->call.context = context;
    *ret_fetch = f;
    return status;
}

void tarn_fetch_end(struct tarn_fetch *fetch)
{
    if (fetch != NULL)
        free_fetch(fetch);
}

void far_fetch_done(struct far_session *s)
{
    while (s->fetches != NULL)
        free_fetch(s->fetches);
}

/* --- polling --- */

const char *tarn_unreadable(struct tarn_session *session, struct tarn_bytes key)
{
    struct far_session *s = session_far(session);
    if (s == NULL || key.size > TARN_KEY_BYTES_MAX)
        return NULL;
    (void)far_version(s);
    const struct kept *k = far_kept_find(s, far_hash(s->far, key), key);
    if (k == NULL || k->state != KEPT_KNOWN || k->status >= 0 || k->record == NULL)
        return NULL;
    return k->record->record.value.data;
}

int tarn_fetch_status(const struct tarn_fetch *fetch)
{
    for (size_t i = 0; i < fetch->count; i++)
        if (fetch->links[i].kept->state == KEPT_KNOWN && fetch->links[i].kept->status == TARN_FULL)
            return TARN_FULL;
    return TARN_OK;
}

void tarn_fetch_submit(struct tarn_session *session)
{
    struct far_session *s = session->far;
    if (s != NULL && s->ring != NULL)
        ring_submit(s->ring);
}

int tarn_fetch_fd(struct tarn_session *session)
{
    struct far_session *s = session->far;
    if (s == NULL)
        return -1;
    return far_tell(s) ? ring_fd(s->ring) : TARN_NOMEM;
}

void tarn_fetch_poll(struct tarn_session *session)
{
    if (session->far == NULL)
        return;
    struct far_session *s = session_far(session);
    struct far_call *call;
    (void)far_version(s);
    far_poll(s);
    while ((call = next_call(s)) != NULL)
        if (call->ready(s, call))
            call->done(call->context);
    if (s->ring != NULL)
        ring_submit(s->ring);
}
