/* Misses: the reading of one key's record, once however many want it.
 *
 * How: a table of misses under way, of all sessions, in shards. Who wants a key that is there
 * already puts its kept key to the miss's waiters. The session that reads drives the lookup as its
 * reads come back, puts what it found into the cache, takes the miss out of the table and hands the
 * answer to all: its own directly, others' by their inbox.
 *
 * A session whose thread waits joins only misses whose session waits as well, since another's
 * fetches are polled when their thread likes, perhaps never: the two would wait for each other.
 *
 * Invariants: (1) a miss is in the table until its answer is handed out, and what it found is in
 * the cache before; (2) a PENDING kept key is in the list of one miss's waiters, or its answer is
 * in the inbox; both change under the shard's lock. Failure modes: no memory for a miss: the key
 * cannot be read now. */
#include <errno.h>
#include <stdlib.h>

#include "core/assert.h"
#include "store/far.h"

static struct join_shard *shard_of(struct far *far, uint64_t hash)
{
    return &far->joins[hash % FAR_JOIN_SHARDS];
}

static struct miss **bucket_of(struct join_shard *shard, uint64_t hash)
{
    return &shard->buckets[hash / FAR_JOIN_SHARDS % FAR_JOIN_BUCKETS];
}

/* --- making and freeing --- */

/* With the kept key that it was begun for. */
static int64_t miss_bytes(const struct miss *m)
{
    return (int64_t)(sizeof *m + sizeof(struct kept) + 2 * m->key.size);
}

static struct miss *miss_new(struct far_session *s, const struct far_version *version,
                             const struct kept *k, const struct lookup *lookup, far_finish finish)
{
    struct miss *m = malloc(sizeof *m + k->key.size);
    if (m == NULL)
        return NULL;
    *m = (struct miss){
        .io = {.finish = finish},
        .lookup = *lookup,
        .pack = version->pack,
        .hash = k->hash,
        .version = version->number,
        .session = s,
        .driven = s->blocking,
        .key = {m->key_data, k->key.size},
    };
    if (k->key.size > 0)
        memcpy(m->key_data, k->key.data, k->key.size);
    m->lookup.key = m->key;
    disk_ref(m->pack);
    far_charge(s->far, miss_bytes(m));
    return m;
}

static void list_miss(struct far_session *s, struct miss *m)
{
    m->next = s->misses;
    m->link = &s->misses;
    if (m->next != NULL)
        m->next->link = &m->next;
    s->misses = m;
}

static void free_miss(struct far_session *s, struct miss *m)
{
    *m->link = m->next;
    if (m->next != NULL)
        m->next->link = m->link;
    far_io_release(s, &m->io);
    far_charge(s->far, -miss_bytes(m));
    disk_unref(m->pack);
    free(m);
}

/* --- the table of what is under way --- */

static struct miss *find_locked(struct join_shard *shard, const struct far_session *s,
                                uint64_t version, const struct kept *k)
{
    for (struct miss *m = *bucket_of(shard, k->hash); m != NULL; m = m->chain)
        if (m->hash == k->hash && m->version == version && bytes_equal(m->key, k->key) &&
            (m->session == s || (s->told && (m->driven || !s->blocking))))
            return m;
    return NULL;
}

static void remove_locked(struct join_shard *shard, struct miss *m)
{
    struct miss **p = bucket_of(shard, m->hash);
    while (*p != m)
        p = &(*p)->chain;
    *p = m->chain;
}

static void attach_locked(struct miss *m, struct kept *k)
{
    k->miss = m;
    k->waiter_next = m->waiters;
    m->waiters = k;
}

static bool join(struct far_session *s, struct join_shard *shard, uint64_t version, struct kept *k)
{
    lock_take(&shard->lock);
    struct miss *m = find_locked(shard, s, version, k);
    if (m != NULL) {
        k->joined = m->session != s;
        attach_locked(m, k);
    }
    lock_give(&shard->lock);
    if (m == NULL)
        return false;
    s->joined += k->joined;
    far_count(&s->counters.joined, 1);
    return true;
}

static void read_next(struct far_session *s, struct miss *m)
{
    m->io.read.fd = m->lookup.fd;
    m->io.read.size = m->lookup.size;
    m->io.read.offset = m->lookup.offset;
    m->io.read.enough = 0;
    if (m->lookup.fd == m->pack->fd && m->lookup.offset < m->pack->data_bytes &&
        m->pack->data_bytes - m->lookup.offset < m->lookup.size)
        m->io.read.enough = (size_t)(m->pack->data_bytes - m->lookup.offset);
    far_io_begin(s, &m->io);
}

/* --- what came of it --- */

/* To another session. Its inbox is read under its own lock; k is its own again then. */
static void post_locked(struct kept *k, int status, struct far_record *record)
{
    struct far_session *to = k->session;
    lock_take(&to->inbox_lock);
    k->posted_status = status;
    k->posted = record;
    k->inbox_next = to->inbox;
    to->inbox = k;
    ring_wake(to->ring);
    lock_give(&to->inbox_lock);
}

/* The waiters of the session itself are left in a list. */
static struct kept *hand_out(struct far_session *s, struct miss *m, int status,
                             struct far_record *record)
{
    struct join_shard *shard = shard_of(s->far, m->hash);
    struct kept *own = NULL, *next;
    lock_take(&shard->lock);
    remove_locked(shard, m);
    for (struct kept *k = m->waiters; k != NULL; k = next) {
        next = k->waiter_next;
        k->miss = NULL;
        if (record != NULL)
            far_record_ref(record);
        if (k->session != s) {
            post_locked(k, status, record);
        } else {
            k->waiter_next = own;
            own = k;
        }
    }
    lock_give(&shard->lock);
    return own;
}

/* What the cache keeps of it. */
static void remember(struct far_session *s, const struct miss *m, int status,
                     const struct far_record *record)
{
    if (s->table == NULL || s->cache_version != m->version)
        return;
    cache_charge(s->cache, atomic_load_explicit(&s->far->charged, memory_order_relaxed));
    if (status == TARN_NOTFOUND)
        cache_put_absent(s->cache, s->table, m->key);
    else if (status == TARN_OK && !record->far)
        cache_put(s->cache, s->table, &record->record);
}

static void settle(struct far_session *s, struct miss *m, int status, struct far_record *record)
{
    remember(s, m, status, record);
    struct kept *k = hand_out(s, m, status, record), *next;
    free_miss(s, m);
    for (; k != NULL; k = next) {
        next = k->waiter_next;
        far_kept_resolve(s, k, status, record);
    }
    far_record_unref(record);
}

/* Why it failed, as a record whose value is the text and its NUL. NULL: no memory to say so. */
static struct far_record *reason_new(struct far_session *s, const struct miss *m,
                                     const struct tarn_error *error)
{
    struct tarn_bytes text = {error->text, strlen(error->text) + 1};
    struct lookup_found found = {.record = {.value = text}};
    struct far_record *reason;
    return far_record_new(s->far, m->key, &found, &reason) == TARN_OK ? reason : NULL;
}

static void miss_finish(struct far_session *s, struct far_io *io)
{
    struct miss *m = (struct miss *)(void *)io;
    struct lookup_found found;
    struct tarn_error error;
    int status =
        io->read.status == 0 ? lookup_next(&m->lookup, io->buffer, io->read.done, &found, &error)
        : io->read.status == -ENOMEM ? error_set(&error, TARN_NOMEM, "out of memory for a read")
                                     : lookup_failed(&m->lookup, io->read.status, &error);
    if (status == LOOKUP_READ) {
        read_next(s, m);
        return;
    }
    struct far_record *record = NULL;
    if (status < 0) {
        far_failed(s->far, &error);
        far_count(&s->counters.corrupt, status == TARN_CORRUPT || status == TARN_STALE);
        record = reason_new(s, m, &error);
    } else if (status == TARN_OK && far_is_over(s->far, found.record.expire_ms)) {
        status = TARN_NOTFOUND;
    } else if (status == TARN_OK) {
        status = far_record_new(s->far, m->key, &found, &record);
    }
    settle(s, m, status, record);
}

int far_miss_begin(struct far_session *s, const struct far_version *version, struct kept *k,
                   const struct lookup *lookup)
{
    struct join_shard *shard = shard_of(s->far, k->hash);
    far_count(&s->counters.misses, 1);
    if (join(s, shard, version->number, k))
        return TARN_OK;
    struct miss *m = miss_new(s, version, k, lookup, miss_finish);
    if (m == NULL)
        return TARN_NOMEM;
    list_miss(s, m);
    lock_take(&shard->lock);
    attach_locked(m, k);
    m->chain = *bucket_of(shard, m->hash);
    *bucket_of(shard, m->hash) = m;
    lock_give(&shard->lock);
    far_look_at_file(s->far, version->pack);
    read_next(s, m);
    return TARN_OK;
}

/* --- leaving --- */

void far_miss_leave(struct far_session *s, struct kept *k)
{
    struct join_shard *shard = shard_of(s->far, k->hash);
    lock_take(&shard->lock);
    struct miss *m = k->miss;
    if (m != NULL) {
        struct kept **p = &m->waiters;
        while (*p != k)
            p = &(*p)->waiter_next;
        *p = k->waiter_next;
        k->miss = NULL;
    }
    lock_give(&shard->lock);
    if (m == NULL)
        far_take_inbox(s); /* the answer is there */
    else
        s->joined -= k->joined;
}

/* Take a miss out of the table that only `alone` (NULL: nobody) waits for. */
static bool abandon(struct far_session *s, struct miss *m, const struct kept *alone)
{
    struct join_shard *shard = shard_of(s->far, m->hash);
    lock_take(&shard->lock);
    bool abandons = m->waiters == alone && (alone == NULL || alone->waiter_next == NULL);
    if (abandons)
        remove_locked(shard, m);
    lock_give(&shard->lock);
    return abandons;
}

void far_miss_forget(struct far_session *s, struct kept *k)
{
    struct miss *m = k->joined ? NULL : k->miss; /* its own: only this thread ends it */
    if (m == NULL || m->io.link == NULL || !abandon(s, m, k))
        return;
    (void)far_io_cancel(s, &m->io);
    free_miss(s, m);
    far_kept_forget(s, k);
}

/* Those that the system has go on to their end, and so do those that others wait for. */
void far_miss_drop(struct far_session *s)
{
    struct miss *next;
    for (struct miss *m = s->misses; m != NULL; m = next) {
        next = m->next;
        if (!far_io_cancel(s, &m->io))
            continue;
        if (abandon(s, m, NULL))
            free_miss(s, m);
        else
            far_io_begin(s, &m->io);
    }
    while (s->misses != NULL) {
        far_poll(s);
        if (s->misses != NULL)
            far_wait(s);
    }
}

void far_take_inbox(struct far_session *s)
{
    lock_take(&s->inbox_lock);
    struct kept *k = s->inbox, *next;
    s->inbox = NULL;
    lock_give(&s->inbox_lock);
    for (; k != NULL; k = next) {
        next = k->inbox_next;
        s->joined--;
        far_kept_resolve(s, k, k->posted_status, k->posted);
    }
}
