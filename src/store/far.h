/* A data file on disk behind tarn.h: what is read for a key, who waits for it, what is kept. The
 * lookups themselves are pack/lookup.h. Private to the store folder.
 *
 * A VERSION is an open file with its cache; tarn_reload() swaps it. A MISS is the reading of one
 * key's record, done by one session through its ring; whoever wants the key meanwhile JOINS it. A
 * session's KEPT keys are those it has asked for: under way, or what came of them, which stays
 * until the session is quiescent and no fetch holds it, whatever the cache does.
 *
 * Lock order: a join shard's lock, then a session's inbox_lock. `list_lock` is taken alone. */
#ifndef STORE_FAR_H
#define STORE_FAR_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/histogram.h"
#include "core/lock.h"
#include "os/ring.h"
#include "pack/lookup.h"
#include "store/cache.h"

#define FAR_DEPTH_DEFAULT 64u
#define FAR_JOIN_SHARDS   64u
#define FAR_JOIN_BUCKETS  64u /* a shard's */

/* Of one session, which alone adds to them; anybody may look. */
struct far_counters {
    _Atomic uint64_t hits, absent_hits, refused, misses, joined, reads, read_bytes, corrupt,
        io_errors;
};
#define FAR_COUNTERS (sizeof(struct far_counters) / sizeof(uint64_t))

static inline void far_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

struct far_version {
    struct disk_pack *pack;
    struct cache *cache;
    uint64_t number; /* 1, 2, ... */
    struct disk_figures figures;
};

/* What was read for a key; does not change, may be shared. */
struct far_record {
    _Atomic uint32_t references;
    bool far; /* the value is not here: */
    struct lookup_far place;
    struct far *far_store;
    uint64_t bytes;            /* of memory, charged */
    struct tarn_record record; /* into data; of a far one value.data is NULL, its size right */
    unsigned char data[];      /* key, value, CACHE_PRESENT */
};

struct far_session;
struct miss;

/* Somebody is to be told by tarn_fetch_poll(). */
struct far_call {
    tarn_fetched done;
    void *context;
    bool (*ready)(struct far_session *s, struct far_call *call); /* false: not yet, after all */
    struct far_call *next;
    bool queued;
};

struct fetch_link {
    struct kept *kept;
    struct tarn_fetch *fetch;
    struct fetch_link *next; /* of the same kept key */
};

enum kept_state { KEPT_PENDING, KEPT_KNOWN, KEPT_VIEW };

/* A key that a session has asked for. */
struct kept {
    struct kept *chain; /* in the session's map */
    uint64_t hash, version;
    enum kept_state state;
    int status;                /* KNOWN: TARN_OK, NOTFOUND, or why it cannot be read */
    struct far_record *record; /* KNOWN: one reference; of an error why, or NULL */
    struct tarn_record view;   /* VIEW: in the cache, until the session is quiescent */
    unsigned holds;            /* by fetches */
    bool leaving;              /* in the list of those that go when the session is quiescent */
    struct kept *leaving_next;
    struct fetch_link *fetches; /* PENDING: that wait for it */

    /* PENDING. Of the join shard's lock: */
    struct far_session *session;
    struct miss *miss; /* NULL: an answer was posted */
    struct kept *waiter_next;
    bool joined; /* another session reads */
    /* Of the inbox's: */
    struct kept *inbox_next;
    int posted_status;
    struct far_record *posted;

    struct tarn_bytes key;
    unsigned char key_data[];
};

struct far_io;
typedef void (*far_finish)(struct far_session *s, struct far_io *io);

/* A read of a session, with the memory it goes to; part of a miss or a stream. */
struct far_io {
    struct ring_read read; /* fd, size, offset set by the owner; then status and done by the ring */
    unsigned char *buffer; /* read.data: while it is under way and finished */
    size_t capacity;
    far_finish finish;           /* begins it again, or releases it */
    struct far_io *next, **link; /* link: of what waits; NULL: it does not */
};

struct miss {
    struct far_io io;
    struct lookup lookup;
    struct disk_pack *pack; /* one reference */
    uint64_t hash, version;
    struct far_session *session;
    bool driven;               /* its session waits for it; else its fetches are polled some time */
    struct kept *waiters;      /* the join shard's lock */
    struct miss *chain;        /* in the join shard */
    struct miss *next, **link; /* of the session's */
    struct tarn_bytes key;
    unsigned char key_data[];
};

struct join_shard {
    struct lock lock;
    struct miss *buckets[FAR_JOIN_BUCKETS];
} __attribute__((aligned(64)));

#define FAR_POOL_CLASSES 48u

/* Buffers that are free, by class of size; a session's. */
struct far_pool {
    struct far_buffer *free[FAR_POOL_CLASSES];
    uint64_t bytes; /* free */
};

/* All of the store's that concerns the file on disk. */
struct far {
    const struct os *os;
    unsigned depth;
    _Atomic uint64_t memory_bytes_max; /* of everything */
    _Atomic uint64_t buffer_bytes_max; /* of reads under way, all sessions */
    _Atomic uint64_t record_bytes_max; /* of all records that are kept, far values read whole too */
    unsigned char secret[HASH_SECRET_BYTES];
    enum ring_engine engine; /* AUTO but in tests */
    _Atomic(struct far_version *) current;
    _Atomic int64_t charged;       /* buffers, records, the server's: against the cap */
    _Atomic uint64_t buffer_bytes; /* under way or free */
    _Atomic uint64_t record_bytes; /* kept */
    _Atomic uint64_t looked_ns;    /* when the file was last looked at */
    _Atomic bool changed;
    pthread_mutex_t list_lock; /* of all below */
    struct far_session *sessions;
    struct cache *retired;    /* not closed yet */
    struct far_counters past; /* of sessions that were closed */
    struct histogram *past_latency;
    char failure[256];
    struct join_shard joins[FAR_JOIN_SHARDS];
};

struct far_session {
    struct far *far;
    struct far_version *seen;    /* since the last quiescent state; NULL: none yet */
    struct cache *cache;         /* whose session is open, one reference; NULL: none */
    struct table_session *table; /* the cache's; NULL: no memory for one */
    uint64_t cache_version;
    bool touches, blocking; /* blocking: this thread waits for its reads */

    struct ring *ring; /* opened when there is something to read */
    bool told;         /* has a descriptor, so that others can wake it */
    unsigned in_flight;
    struct far_io *waiting, **waiting_last; /* for room in the ring, or memory */
    struct far_io *failed;                  /* without the system's help, not finished yet */
    struct far_pool pool;
    struct miss *misses; /* that this session reads */

    struct kept **map; /* of kept keys; NULL: none yet */
    size_t map_size, kept_count;
    struct kept *leaving;
    unsigned joined;            /* PENDING by misses of other sessions */
    struct tarn_fetch *fetches; /* that were not ended */
    struct far_call *calls, **calls_last;

    struct lock inbox_lock;
    struct kept *inbox;

    struct disk_buffer buffer; /* of scans */
    struct far_counters counters;
    _Atomic(struct histogram *) latency;
    _Atomic unsigned under_way; /* as in_flight, for others */
    struct far_session *next, **link;
};

/* --- far.c: the store's part --- */

/* Is this file to be left on disk, by its size and options->data? Errors: as tarn_open(). */
TARN_MUST int far_is_wanted(const struct os *os, const struct tarn_options *options,
                            bool *ret_wanted, struct tarn_error *error);
TARN_MUST int far_open(const struct os *os, const struct tarn_options *options,
                       struct far **ret_far, struct tarn_error *error);
void far_close(struct far *far); /* all sessions are closed; NULL is allowed */
/* *generation: one more as soon as the new version is served. */
TARN_MUST int far_reload(struct far *far, const struct tarn_options *options,
                         _Atomic uint64_t *generation, struct tarn_error *error);
/* Fill in what is known of the present version. The thread is online. */
void far_stats_get(struct far *far, struct tarn_stats *stats);
void far_disk_stats_get(struct far *far, struct tarn_disk_stats *ret_stats);
uint64_t far_memory_used(struct far *far); /* the thread is online */
void far_charge(struct far *far, int64_t bytes);
/* Another cap. Any thread that is online. */
void far_limit(struct far *far, uint64_t memory_bytes_max);
/* Note why a read failed. */
void far_failed(struct far *far, const struct tarn_error *error);
/* Look at the file, if that has not been done for a second. */
void far_look_at_file(struct far *far, const struct disk_pack *pack);

/* --- far_session.c --- */
TARN_MUST int far_session_open(struct far *far, struct far_session **ret_session);
void far_session_close(struct far_session *s); /* the thread still registered; NULL is allowed */
void far_session_quiescent(struct far_session *s);
void far_session_touches(struct far_session *s, bool touches);
/* The version that the session sees from now on until it is quiescent. */
struct far_version *far_version(struct far_session *s);
/* Take what has come of reads and from other sessions. */
void far_poll(struct far_session *s);
/* Wait until there is something to poll. Something is under way. */
void far_wait(struct far_session *s);
/* Others can wake this session from now on. */
bool far_tell(struct far_session *s);

/* --- far_io.c: reads --- */
void far_io_begin(struct far_session *s, struct far_io *io);   /* far_poll() calls io->finish */
void far_io_release(struct far_session *s, struct far_io *io); /* gives the buffer back */
void far_io_poll(struct far_session *s);
/* It still waits: forget it. False: the system was asked. */
bool far_io_cancel(struct far_session *s, struct far_io *io);
void far_io_done(struct far_session *s); /* nothing is under way */
TARN_MUST int far_ring_open(struct far_session *s);

/* --- far_miss.c --- */
/* Have the record of k, PENDING and alone, read; or join those who do. `lookup` was begun with the
 * caller's key. Errors: NOMEM: k is as it was. */
TARN_MUST int far_miss_begin(struct far_session *s, const struct far_version *version,
                             struct kept *k, const struct lookup *lookup);
/* Nobody waits for k any more: it is PENDING and owned by the caller afterwards. */
void far_miss_leave(struct far_session *s, struct kept *k);
/* No fetch holds k, PENDING, any more: it is forgotten with its miss, if the system was not asked
 * yet and nobody else waits. */
void far_miss_forget(struct far_session *s, struct kept *k);
/* Before the session is closed, when it waits for nothing: reads that nobody wants are dropped. */
void far_miss_drop(struct far_session *s);
void far_take_inbox(struct far_session *s);

/* --- far_kept.c --- */
static inline bool far_is_over(const struct far *far, int64_t expire_ms)
{
    return expire_ms != 0 && expire_ms <= far->os->realtime_us(far->os) / 1000;
}
static inline uint64_t far_hash(const struct far *far, struct tarn_bytes key)
{
    return hash_key(far->secret, key);
}
/* Of the version that is seen; NULL: not kept. */
struct kept *far_kept_find(struct far_session *s, uint64_t hash, struct tarn_bytes key);
struct kept *far_kept_new(struct far_session *s, uint64_t hash,
                          struct tarn_bytes key); /* PENDING */
/* It goes at the next quiescent state, unless a fetch holds it. */
void far_kept_leave(struct far_session *s, struct kept *k);
void far_kept_forget(struct far_session *s, struct kept *k); /* now; PENDING or in no list */
/* The answer has come; `record`'s reference is k's from now on. */
void far_kept_resolve(struct far_session *s, struct kept *k, int status, struct far_record *record);
/* VIEW becomes KNOWN, with memory of its own. NOMEM, FULL. */
TARN_MUST int far_kept_copy(struct far_session *s, struct kept *k);
void far_kept_quiescent(struct far_session *s);
void far_kept_done(struct far_session *s);
/* The record in which this value lies; NULL: in none that is kept. */
struct far_record *far_kept_record_of(struct far_session *s, struct tarn_bytes value);

/* Errors: NOMEM; FULL: there are too many. */
TARN_MUST int far_record_new(struct far *far, struct tarn_bytes key,
                             const struct lookup_found *found, struct far_record **ret);
void far_record_ref(struct far_record *r);
void far_record_unref(struct far_record *r); /* NULL is allowed */

/* --- far_get.c: reading and waiting for it --- */
TARN_MUST int far_get(struct far_session *s, struct tarn_bytes key, struct tarn_record *ret_record);
/* As far_get(); the value of a far record is not read: its data is NULL, *ret_far its record. */
TARN_MUST int far_find(struct far_session *s, struct tarn_bytes key, struct tarn_record *ret_record,
                       struct far_record **ret_far);
size_t far_get_many(struct far_session *s, const struct tarn_bytes *keys, size_t count,
                    struct tarn_bytes *ret_values);
/* Look at the cache and the index: KNOWN, VIEW, PENDING (being read); NULL and *ret_status:
 * NOTFOUND, or an error. The session sees a version. */
struct kept *far_want(struct far_session *s, struct tarn_bytes key, int *ret_status);
void far_await(struct far_session *s, const struct kept *k); /* until it is not PENDING */
/* This thread begins or stops to wait for what it reads. */
void far_wait_begin(struct far_session *s);
void far_wait_end(struct far_session *s);
void far_prefetch(struct far_session *s, const struct tarn_bytes *keys, size_t count);
int far_scan(struct far_session *s, uint64_t *cursor, size_t count, tarn_visit visit,
             void *context);
TARN_MUST int far_random_key(struct far_session *s, uint64_t random, struct tarn_bytes *ret_key);

/* --- far_fetch.c --- */
/* One of the keys that fetches wait for has come. */
void far_fetch_resolved(struct far_session *s, struct kept *k);
void far_fetch_done(struct far_session *s);
void far_call_queue(struct far_session *s, struct far_call *call);
void far_call_drop(struct far_session *s, struct far_call *call);

#endif
