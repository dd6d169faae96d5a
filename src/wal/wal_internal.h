/* The log being written, as its own files see it.
 *
 * Locks, in the order in which they are taken; nothing is called with `lock` held:
 *   file.io        one a file: whoever writes to it, and what is open
 *   durable_lock   one announcement of durable sequences at a time
 *   progress_lock  publishing how far it has come, waiting for it, listeners, failure
 *   lock           a spin lock, held for tens of ns a change: sequences, chains, what is pending
 * and by itself file.gate, which only puts a flusher to sleep and wakes it. */
#ifndef WAL_WAL_INTERNAL_H
#define WAL_WAL_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/assert.h"
#include "core/lock.h"
#include "core/plant.h"
#include "wal/wal.h"

#define WAL_CHUNK_BYTES  (128u << 10) /* pending records lie in these, */
#define WAL_APART_BYTES  (32u << 10)  /* those larger than this by themselves */
#define WAL_POOL_CHUNKS  16u          /* empty ones that are kept */
#define WAL_BATCH_BYTES  (256u << 10) /* are written without waiting for more */
#define WAL_BATCH_NS     4000000u     /* async: are written then, however few */
#define WAL_SOON_BYTES   (2u << 20)   /* written: the disk is to begin with them */
#define WAL_LINGER_NS    10000000u    /* async: without work for so long, a flusher sleeps deeply */
#define WAL_RETRY_NS_MIN 10000000u  /* between attempts to go on after the disk was full: first, */
#define WAL_RETRY_NS_MAX 500000000u /* and at last */
#define WAL_SLOW_SYNC_NS 1000000u   /* commit: after such a sync the next awaits a whole group, */
#define WAL_AWAIT_NS_MAX 4000000u   /* half as long as it took, and no longer than this */
#define WAL_FILL_BYTES   (256u << 10) /* commit: room filled ahead of the records, */
#define WAL_FILL_LOW     (16u << 10)  /* once less than this is left */
#define WAL_NEVER        UINT64_MAX

/* Records of one file that are not written yet, in their order. */
struct chunk {
    struct chunk *next;
    unsigned char *data;
    size_t size, capacity;
    uint64_t first, last;      /* sequences; 0: empty. first: of the step that it begins in */
    struct record_chain chain; /* before its first record */
    enum wal_encoding encoding;
    bool apart;  /* data is an allocation of its own */
    bool begins; /* a segment, with this header; until that is created */
    struct segment_header header;
    unsigned char header_bytes[SEGMENT_HEADER_BYTES];
};

struct wal_file {
    struct wal *wal;
    unsigned index;

    /* Under wal->lock. */
    struct chunk *head, *tail; /* pending; the head is taken out under `io`, too */
    size_t room;               /* left in the tail */
    struct record_chain chain; /* as after the last record appended */
    uint64_t last_sequence;    /* of that */
    uint64_t begun;            /* number of the segment that it is to be in */
    uint64_t segment_bytes;    /* of that one so far */
    uint64_t pending_bytes;
    unsigned marks;            /* pending chunks that begin segments */
    uint64_t wake_bytes;       /* pending bytes at which the flusher wants to be woken */
    uint64_t noticed_ns;       /* when the flusher saw the first of what is pending; 0: not yet */
    uint64_t unsynced;         /* first sequence written, not synced; 0: none */
    uint64_t unsynced_ns;      /* when it was written */
    uint64_t later, later_ns;  /* the same of what was written since the present sync began */
    uint64_t written_sequence; /* of the last record written */
    bool syncing;
    uint64_t group_bytes;                 /* written since the last sync began */
    uint64_t expected_bytes, expected_ns; /* commit: so much is awaited for the next, until then */
    _Atomic int encoding;                 /* of `chain`; read without the lock as a good guess */

    /* Under io. The flusher alone opens and closes, so it may use fd without. */
    pthread_mutex_t io;
    int fd;                  /* -1: the segment `number` is ended, the next not begun */
    uint64_t offset, filled; /* bytes of records; and of the file if it was filled ahead, else 0 */
    uint64_t soon;           /* up to here the disk was asked to begin */
    enum wal_encoding written_encoding; /* of the segment written to */
    _Atomic uint64_t retry_ns;          /* no room: when to try again */
    uint64_t retry_delay_ns;            /* the last one */
    uint64_t leftover;       /* number of a segment that could be neither made nor removed */
    _Atomic uint64_t number; /* of the segment written to */
    _Atomic uint64_t made;   /* the same once its name is durable, too */
    _Atomic bool full;       /* no room */
    _Atomic bool shrunk;     /* since the last sync began */

    /* The flusher. */
    pthread_t thread;
    pthread_mutex_t gate;
    pthread_cond_t wake;
    bool asked; /* under gate */
    bool runs;
    uint64_t linger_ns; /* the flusher's own: until then it does not sleep deeply */
    struct buffer seal; /* has room for it */
};

struct wal {
    const struct os *os;
    char *directory;
    int directory_fd;
    struct wal_start start;
    unsigned files;
    uint64_t salts; /* the state that segments' salts are drawn from */

    _Alignas(64) struct lock lock;
    unsigned pool_count;
    struct chunk *pool;
    uint64_t sequence;        /* the last one used */
    uint64_t sequence_before; /* ... before it was opened */
    uint64_t refusals;        /* times that there was no room */
    uint64_t bytes, live_bytes;
    struct wal_settings settings;
    uint64_t asked_written, asked_durable; /* are wanted sooner than the dial says */
    _Atomic uint64_t pending_bytes;

    _Alignas(64) _Atomic uint64_t written;
    _Atomic uint64_t durable, horizon;
    _Atomic int state;
    _Atomic int dial;                               /* settings.durability */
    _Atomic uint64_t queue_depth, memory_bytes_max; /* settings' */

    _Alignas(64) pthread_mutex_t progress_lock;
    pthread_mutex_t durable_lock;
    pthread_cond_t progress;
    unsigned waiters;
    struct wal_listener *listeners;
    unsigned full_count; /* files without room */
    char failure[256];
    _Atomic bool stop;
    _Atomic int64_t uncharged; /* memory taken, not yet told of */
    _Atomic uint64_t syncs, segments, sync_ns_total, sync_ns_max;

    struct wal_file file[];
};

/* --- chunk.c: pending records --- */

/* An empty chunk of the usual size; NULL: no memory. */
struct chunk *chunk_new(struct wal *wal);
/* One around bytes of its own, which it takes over from `b`. NULL: no memory, b is as it was. */
struct chunk *chunk_new_apart(struct wal *wal, struct buffer *b);
void chunk_free(struct wal *wal, struct chunk *c);   /* NULL is allowed */
bool chunk_provide(struct wal *wal, unsigned count); /* have so many in the pool */
struct chunk *chunk_take_locked(struct wal *wal);    /* from the pool, which has one */
struct chunk *chunk_give_locked(struct wal *wal, struct chunk *c); /* to free; NULL: it is kept */
void chunk_link_locked(struct wal_file *f, struct chunk *c);
void chunk_header_locked(struct wal_file *f, uint64_t number, uint64_t previous_sequence,
                         uint64_t previous_checksum, uint64_t first_sequence,
                         struct segment_header *ret_header);
/* Let this empty chunk be the first of a new segment. */
void chunk_begin_locked(struct wal_file *f, struct chunk *c);
/* The first sequence of a file that is not written, or not synced, yet; 0: none. */
uint64_t file_unwritten_locked(const struct wal_file *f);
uint64_t file_unsynced_locked(const struct wal_file *f);

/* --- segment_file.c: segments as files; under f->io --- */

/* Make the segment of this header, filled with it, synced; the directory's sync is the caller's.
 * f->fd is -1 before, and after a failure. Negative errno; *ret_sync: of the sync. */
int segment_create(struct wal_file *f, const struct segment_header *header,
                   const unsigned char bytes[SEGMENT_HEADER_BYTES], bool *ret_sync);
void segment_remove(struct wal_file *f, uint64_t number); /* close and unlink it */
/* Fill room ahead if too little is left. Negative errno, but not for lack of room. */
int segment_fill(struct wal_file *f);
int segment_truncate(struct wal_file *f); /* behind the last whole record */
void segment_cut(struct wal_file *f);     /* off what was filled ahead */
void segment_close(struct wal_file *f);   /* the descriptor */
int segment_sync_directory(struct wal *wal);

/* --- write.c: from memory to files --- */

/* Write what is pending of a file, up to a new segment unless `flusher`. Returns false if something
 * of it could not be written, which has been dealt with: the log has failed or has no room. */
bool file_write_locked(struct wal_file *f, bool flusher);
void file_seal_locked(struct wal_file *f); /* write the seal, unless there is no room for it */
bool file_fill_locked(struct wal_file *f); /* room ahead; false: the log has failed */
bool file_sync(struct wal_file *f);        /* the flusher's; false: the log has failed */

/* --- full.c: no room --- */

bool wal_is_room(int negative_errno); /* does this errno mean that there is none? */

/* Cut the file back to what is whole; appends are refused from now on. Under f->io. */
void file_full_locked(struct wal_file *f, int negative_errno, const char *what);
/* Try again; under f->io, the flusher's. */
void file_retry_locked(struct wal_file *f);

/* --- flush.c: the flushers --- */

int flusher_start(struct wal_file *f); /* TARN_OK or TARN_NOMEM */
void flusher_wake(struct wal_file *f);
void flusher_wake_all(struct wal *wal, uint64_t files); /* bit i: file i */

/* --- progress.c: how far it has come --- */

void progress_written(struct wal *wal); /* tell what has been written since */
void progress_durable(struct wal *wal); /* ... and synced: a flusher's */
void progress_state(struct wal *wal);   /* tell that state or pending bytes changed */
void progress_dial(struct wal *wal);    /* ... the dial: the horizon may go back */
/* The log has failed for good, unless it had before. */
void progress_fail(struct wal *wal, int negative_errno, const char *what, const char *name);
void progress_set_state_locked(struct wal *wal, int state); /* under progress_lock */
void progress_charge(struct wal *wal); /* tell of memory taken and freed: a flusher's */
/* Wait for progress, until the deadline at most (WAL_NEVER: none); under progress_lock. */
void progress_wait_locked(struct wal *wal, uint64_t deadline_ns);
/* Sleep on a condition that goes by the monotonic clock, until the deadline by `os` at most. */
void wal_sleep(const struct os *os, pthread_cond_t *condition, pthread_mutex_t *mutex,
               uint64_t deadline_ns);

static inline uint64_t wal_now(const struct wal *wal)
{
    return wal->os->monotonic_ns(wal->os);
}

static inline bool wal_failed(const struct wal *wal)
{
    return atomic_load_explicit(&wal->state, memory_order_acquire) == TARN_IO;
}

/* Under f->io: may it be written to? A full one only by file_retry_locked(). */
static inline bool file_is_writable(const struct wal_file *f)
{
    return !wal_failed(f->wal) && !atomic_load_explicit(&f->full, memory_order_acquire);
}

#endif
