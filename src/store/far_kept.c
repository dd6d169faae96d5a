/* The keys that a session has asked for, and what came of them.
 *
 * How: a hash map of the session's own. What no fetch holds is in the list `leaving` and goes when
 * the session is quiescent.
 *
 * Invariants: (1) a kept key is PENDING, or held, or leaving; (2) a VIEW is never there after a
 * quiescent state; (3) what a session is told of a key does not change as long as it is kept.
 * Failure modes: no memory: the key cannot be read now. */
#include <stdlib.h>

#include "core/assert.h"
#include "store/far.h"

#define MAP_SIZE_MIN 64u

/* --- records --- */

/* Of all that are kept; a single one always may be. */
static bool count_record(struct far *far, uint64_t bytes)
{
    uint64_t before = atomic_fetch_add_explicit(&far->record_bytes, bytes, memory_order_relaxed);
    if (before == 0 ||
        before + bytes <= atomic_load_explicit(&far->record_bytes_max, memory_order_relaxed)) {
        far_charge(far, (int64_t)bytes);
        return true;
    }
    atomic_fetch_sub_explicit(&far->record_bytes, bytes, memory_order_relaxed);
    return false;
}

static void discount_record(struct far *far, uint64_t bytes)
{
    atomic_fetch_sub_explicit(&far->record_bytes, bytes, memory_order_relaxed);
    far_charge(far, -(int64_t)bytes);
}

int far_record_new(struct far *far, struct tarn_bytes key, const struct lookup_found *found,
                   struct far_record **ret)
{
    size_t value_size = found->far ? 0 : found->record.value.size;
    size_t bytes = sizeof(struct far_record) + key.size + value_size + CACHE_MARK_BYTES;
    if (!count_record(far, bytes))
        return TARN_FULL;
    struct far_record *r = malloc(bytes);
    if (r == NULL) {
        discount_record(far, bytes);
        return TARN_NOMEM;
    }
    *r = (struct far_record){.far = found->far, .far_store = far, .bytes = bytes};
    atomic_init(&r->references, 1);
    if (found->far)
        r->place = found->place;
    unsigned char *value = r->data + key.size;
    r->record = (struct tarn_record){
        .key = {r->data, key.size},
        .value = {found->far ? NULL : value, found->record.value.size},
        .expire_ms = found->record.expire_ms,
    };
    if (key.size > 0)
        memcpy(r->data, key.data, key.size);
    if (value_size > 0)
        memcpy(value, found->record.value.data, value_size);
    value[value_size] = CACHE_PRESENT;
    *ret = r;
    return TARN_OK;
}

void far_record_ref(struct far_record *r)
{
    atomic_fetch_add_explicit(&r->references, 1, memory_order_relaxed);
}

void far_record_unref(struct far_record *r)
{
    if (r == NULL || atomic_fetch_sub_explicit(&r->references, 1, memory_order_acq_rel) != 1)
        return;
    discount_record(r->far_store, r->bytes);
    free(r);
}

/* --- the map --- */

struct kept *far_kept_find(struct far_session *s, uint64_t hash, struct tarn_bytes key)
{
    if (s->kept_count == 0)
        return NULL;
    for (struct kept *k = s->map[hash & (s->map_size - 1)]; k != NULL; k = k->chain)
        if (k->hash == hash && k->version == s->seen->number && bytes_equal(k->key, key))
            return k;
    return NULL;
}

static void insert(struct far_session *s, struct kept *k)
{
    struct kept **bucket = &s->map[k->hash & (s->map_size - 1)];
    k->chain = *bucket;
    *bucket = k;
}

/* Without memory for a larger one the map goes on as it is. */
static bool make_room(struct far_session *s)
{
    if (s->kept_count < s->map_size)
        return true;
    size_t size = s->map_size == 0 ? MAP_SIZE_MIN : s->map_size * 2, old_size = s->map_size;
    struct kept **old = s->map, **map = calloc(size, sizeof(struct kept *)), *next;
    if (map == NULL)
        return old != NULL;
    s->map = map;
    s->map_size = size;
    for (size_t i = 0; i < old_size; i++)
        for (struct kept *k = old[i]; k != NULL; k = next) {
            next = k->chain;
            insert(s, k);
        }
    free(old);
    return true;
}

struct kept *far_kept_new(struct far_session *s, uint64_t hash, struct tarn_bytes key)
{
    struct kept *k = make_room(s) ? malloc(sizeof *k + key.size) : NULL;
    if (k == NULL)
        return NULL;
    *k = (struct kept){
        .hash = hash,
        .version = s->seen->number,
        .state = KEPT_PENDING,
        .session = s,
        .key = {k->key_data, key.size},
    };
    if (key.size > 0)
        memcpy(k->key_data, key.data, key.size);
    insert(s, k);
    s->kept_count++;
    return k;
}

void far_kept_forget(struct far_session *s, struct kept *k)
{
    struct kept **p = &s->map[k->hash & (s->map_size - 1)];
    while (*p != k)
        p = &(*p)->chain;
    *p = k->chain;
    s->kept_count--;
    far_record_unref(k->record);
    free(k);
}

void far_kept_leave(struct far_session *s, struct kept *k)
{
    if (k->leaving)
        return;
    k->leaving = true;
    k->leaving_next = s->leaving;
    s->leaving = k;
}

void far_kept_resolve(struct far_session *s, struct kept *k, int status, struct far_record *record)
{
    ASSERT(k->state == KEPT_PENDING);
    k->state = KEPT_KNOWN;
    k->status = status;
    k->record = record;
    if (k->holds == 0)
        far_kept_leave(s, k);
    far_fetch_resolved(s, k);
}

int far_kept_copy(struct far_session *s, struct kept *k)
{
    struct lookup_found found = {.record = k->view};
    if (k->state != KEPT_VIEW)
        return TARN_OK;
    int status =
        k->status == TARN_OK ? far_record_new(s->far, k->key, &found, &k->record) : TARN_OK;
    if (status == TARN_OK)
        k->state = KEPT_KNOWN;
    return status;
}

void far_kept_quiescent(struct far_session *s)
{
    struct kept *k = s->leaving, *next;
    s->leaving = NULL;
    for (; k != NULL; k = next) {
        next = k->leaving_next;
        k->leaving = false;
        if (k->holds == 0)
            far_kept_forget(s, k);
    }
}

void far_kept_done(struct far_session *s)
{
    for (size_t i = 0; i < s->map_size; i++)
        while (s->map[i] != NULL)
            far_kept_forget(s, s->map[i]);
    free(s->map);
    s->map = NULL;
    s->map_size = 0;
    s->leaving = NULL;
}

struct far_record *far_kept_record_of(struct far_session *s, struct tarn_bytes value)
{
    for (size_t i = 0; i < s->map_size && s->kept_count > 0; i++)
        for (struct kept *k = s->map[i]; k != NULL; k = k->chain)
            if (k->record != NULL && k->record->record.value.data == value.data)
                return k->record;
    return NULL;
}
