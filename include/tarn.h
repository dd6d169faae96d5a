/* tarn: a key-value store as a library. Everything an embedder sees is in this header.
 *
 * A `struct tarn` is one open store: with a path an immutable data file ("pack") held in memory or,
 * where it does not fit, read from disk as it is asked for; without one a writable store in memory
 * ("table"), empty at first. A `struct tarn_session` is one
 * thread's handle on it. Reads take no lock.
 *
 *     struct tarn *store;
 *     struct tarn_session *session;
 *     struct tarn_error error;
 *     if (tarn_open(&(struct tarn_options){.path = NULL}, &store, &error) != TARN_OK)
 *         errx(1, "%s", error.text);
 *     if (tarn_session_open(store, &session, &error) != TARN_OK) ...
 *     struct tarn_bytes key = {"key", 3}, value = {"value", 5};
 *     if (tarn_put(session, key, value, 0) != TARN_OK) ...
 *     if (tarn_get(session, key, &value) == TARN_OK) ... use value ...
 *     tarn_quiescent(session);          // values returned so far may now go away
 *
 * Threads: a store may be used from any number of threads, each with its own session; a session
 * belongs to the thread that opened it. Functions that take the store may be called from any.
 *
 * Every call is linearizable: it takes effect at one moment between its beginning and its end, and
 * the calls of one session in their order. tarn_begin() makes one call of many.
 *
 * Values: every returned value or key points into the store and stays valid until the session
 * that got it calls tarn_quiescent(), tarn_offline() or tarn_session_close().
 *
 * Errors: fallible functions return TARN_OK or a negative code; a missing key is the positive
 * TARN_NOTFOUND. A `struct tarn_error *` parameter may be NULL; it is written on failure only.
 */
#ifndef TARN_H
#define TARN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TARN_VERSION "0.2.0"

#define TARN_KEY_BYTES_MAX   65535u         /* a key's size, 0..this */
#define TARN_VALUE_BYTES_MAX (512ull << 20) /* a value's size, 0..this */
#define TARN_PIN_BYTES_MIN   (16u << 10)    /* values from this size on can be pinned */
#define TARN_FAR_BYTES       (1u << 20)     /* larger values of a file on disk: by pieces of this */

#if defined(__GNUC__)
#define TARN_MUST __attribute__((warn_unused_result))
#define TARN_API  __attribute__((visibility("default")))
#else
#define TARN_MUST
#define TARN_API
#endif

/* X-macro of every status: name, value, what it means to a user. */
#define TARN_STATUS_MAP(X)                                                                         \
    X(OK, 0, "success")                                                                            \
    X(NOTFOUND, 1, "no such key")                                                                  \
    X(INVALID, -1, "invalid argument")                                                             \
    X(NOMEM, -2, "out of memory")                                                                  \
    X(IO, -3, "input/output error")                                                                \
    X(CORRUPT, -4, "damaged data")                                                                 \
    X(STALE, -5, "index does not belong to this version of the data file")                         \
    X(TOOBIG, -6, "larger than a limit")                                                           \
    X(NOSPACE, -7, "no space left on device")                                                      \
    X(DUPLICATE, -8, "duplicate key")                                                              \
    X(MISSING, -9, "no such file")                                                                 \
    X(DENIED, -10, "permission denied")                                                            \
    X(BUSY, -11, "in use")                                                                         \
    X(CANCELLED, -12, "cancelled")                                                                 \
    X(READONLY, -13, "the data set is immutable")                                                  \
    X(FULL, -14, "the memory limit is reached")                                                    \
    X(UNSURE, -15, "outcome unknown: the change may be lost")

enum tarn_status {
#define X(name, value, text) TARN_##name = value,
    TARN_STATUS_MAP(X)
#undef X
};

/* The meaning of a status code, a static string; "unknown status" for any other number. */
TARN_API const char *tarn_status_text(int status);

/* What failed, filled by whoever detects it; callers prepend context to `text`. */
struct tarn_error {
    int status;      /* one of enum tarn_status */
    uint64_t offset; /* byte offset in the file the error is about, UINT64_MAX if none */
    uint64_t record; /* record number (from 0) in that file, UINT64_MAX if none */
    char text[512];  /* one line for a person: what happened, where, what to do */
};

/* A borrowed view of `size` bytes. data is NULL only for "no value"; an empty value has data. */
struct tarn_bytes {
    const void *data;
    size_t size;
};

/* How records lie in a data file. See doc/format-text.md, doc/format-binary.md and, for what `tarn
 * index --rewrite` writes and is always left on disk, doc/format-tarn.md. */
enum tarn_format_kind { TARN_FORMAT_AUTO, TARN_FORMAT_TEXT, TARN_FORMAT_BINARY, TARN_FORMAT_TARN };
enum tarn_size_type { TARN_SIZE_U32, TARN_SIZE_U16, TARN_SIZE_U64, TARN_SIZE_VARINT };

/* Zero means: detect. With kind AUTO the other fields must be zero too. */
struct tarn_format {
    enum tarn_format_kind kind;
    enum tarn_size_type size_type; /* binary: width of both sizes */
    bool big_endian;               /* binary: byte order of the sizes; not with VARINT */
    bool separator_set;            /* text: use `separator` only; else first space or tab */
    unsigned char separator;       /* text: any byte but newline */
};

enum tarn_duplicates { TARN_DUPLICATES_LAST, TARN_DUPLICATES_FIRST, TARN_DUPLICATES_ERROR };

/* Called now and then during long work, from the calling thread. phase: a static word such as
 * "reading"; done/total: in bytes or keys. Return false to cancel (TARN_CANCELLED). */
typedef bool (*tarn_progress)(void *context, const char *phase, uint64_t done, uint64_t total);

/* What goes when the memory limit of a writable store is reached. */
enum tarn_eviction {
    TARN_EVICT_NOTHING,         /* writes that need memory are refused: FULL */
    TARN_EVICT_ALL_SIEVE,       /* a key not read since the hand last passed */
    TARN_EVICT_ALL_RANDOM,      /* any key */
    TARN_EVICT_EXPIRING_SIEVE,  /* as ALL_SIEVE, only keys that have an expiry */
    TARN_EVICT_EXPIRING_SOONEST /* of those, one that expires soon */
};

/* What a writable store that has a directory can lose of changes that were acknowledged. Survivors
 * are always the first changes of all, in their order. doc/durability.md. */
enum tarn_durability {
    TARN_DURABILITY_NONE,     /* no log: all since the last checkpoint */
    TARN_DURABILITY_ASYNC,    /* process killed: queue_depth changes; power lost: also what the
                                 system had not written yet */
    TARN_DURABILITY_PERIODIC, /* process killed: none; power lost: those of two periods */
    TARN_DURABILITY_COMMIT    /* none */
};

enum tarn_log_format { TARN_LOG_BINARY, TARN_LOG_CBOR, TARN_LOG_JSON };

/* The dial. Zero is the documented default of every field but the first. */
struct tarn_dial {
    enum tarn_durability durability;
    uint64_t queue_depth;            /* async; 0: 100,000 */
    uint64_t period_us;              /* periodic; 0: 10,000 */
    enum tarn_log_format log_format; /* of what is written from now on */
    uint64_t log_bytes_max;          /* begin a checkpoint when the log is longer; 0: 1 GiB */
    uint64_t checkpoint_s;           /* ... and when the last one is older; 0: never */
};

/* Where a data file's records are while they are served. */
enum tarn_data {
    TARN_DATA_AUTO,      /* in memory if file and index fit under memory_bytes_max (none: in what
                            the machine has), else on disk */
    TARN_DATA_IN_MEMORY, /* TOOBIG if they do not fit */
    TARN_DATA_ON_DISK    /* the index in memory, the rest of memory_bytes_max caches records */
};

/* Zero is the documented default of every field. */
struct tarn_options {
    const char *path;                /* data file, which is never changed; NULL: none */
    const char *directory;           /* of a writable store: where it, or (with a path) what was
                                        changed of the data file's records, lives; made if it is
                                        not there; NULL: in memory only, or (path) read only */
    struct tarn_dial dial;           /* with a directory */
    unsigned log_files;              /* files that the log is spread over, 1..64; 0: 1 */
    uint64_t load_bytes_max;         /* a checkpoint of up to so many bytes is read before
                                        tarn_open() returns; from a larger one keys are looked
                                        up while it is read in the background. 0: 64 MiB */
    bool checkpoint_at_close;        /* so that the next tarn_open() finds no log to replay */
    const char *index_path;          /* NULL: path + ".tarnidx" */
    struct tarn_format format;       /* zero: detect */
    enum tarn_duplicates duplicates; /* which record of a repeated key counts */
    uint64_t memory_bytes_max;       /* cap on all the store's memory; 0: no cap */
    enum tarn_eviction eviction;     /* of a writable store that has a cap */
    enum tarn_data data;             /* of a data file that is served as it is */
    unsigned read_depth;             /* reads of a data file on disk that one session has under
                                        way at the device at most, 1..4096; 0: 64 */
    unsigned threads;                /* for indexing and loading; 0: one per core */
    bool index_readonly;             /* do not write the index file: build in memory if needed */
    tarn_progress progress;          /* may be NULL */
    void *progress_context;
    /* Told when the index on disk could not be used and is built anew, with the reason.
     * May be NULL. */
    void (*notice)(void *context, const char *text);
    void *notice_context;
};

struct tarn;
struct tarn_session;

/* Open a store. Without a path: at once; errors NOMEM, IO (no randomness). With one: load the file
 * into memory, load its index or build it (written beside the file unless index_readonly), verify
 * checksums; takes a time proportional to the file's size.
 * Errors: MISSING, DENIED, INVALID (directory, device, options), CORRUPT (bad record: offset and
 * record are set), TOOBIG (record over a limit, or data over memory_bytes_max), NOMEM, IO,
 * DUPLICATE, CANCELLED. */
TARN_API TARN_MUST int tarn_open(const struct tarn_options *options, struct tarn **ret_store,
                                 struct tarn_error *error);

/* All sessions must be closed. NULL is allowed. */
TARN_API void tarn_close(struct tarn *store);

/* Load the file's present version beside the one being served, then swap atomically; the old is
 * freed when no session can still see it. On failure the old version goes on being served.
 * Needs memory for both during the call. Concurrent calls: all but one get BUSY. Never call it
 * from a thread whose own session is online. Errors: as tarn_open, BUSY. */
TARN_API TARN_MUST int tarn_reload(struct tarn *store, struct tarn_error *error);

TARN_API TARN_MUST int tarn_session_open(struct tarn *store, struct tarn_session **ret_session,
                                         struct tarn_error *error);
TARN_API void tarn_session_close(struct tarn_session *session); /* NULL is allowed */

/* Values returned so far to this session may now go away. Call it often (once per batch or loop
 * turn): a version replaced by tarn_reload() is freed only after every session has. */
TARN_API void tarn_quiescent(struct tarn_session *session);

/* Before a thread sleeps for long: as tarn_quiescent(), and reloads no longer wait for this
 * session until tarn_online(). No other call with this session is allowed in between. (A thread
 * with several sessions holds up a reload until none of them has values in view.) */
TARN_API void tarn_offline(struct tarn_session *session);
TARN_API void tarn_online(struct tarn_session *session);

/* Keep one value valid beyond this session's quiescent states, until tarn_unpin(); for sending a
 * large value piece by piece, from any thread. value: whole, of at least TARN_PIN_BYTES_MIN bytes,
 * as returned to this session since it was last quiescent. Never fails. Its memory is kept
 * meanwhile (of an immutable data set: the version's): pin briefly. */
struct tarn_pin;
TARN_API TARN_MUST struct tarn_pin *tarn_pin(struct tarn_session *session, struct tarn_bytes value);
TARN_API void tarn_unpin(struct tarn_pin *pin); /* NULL is allowed */

/* --- reading ------------------------------------------------------------------------------ */

/* TARN_OK and the value, or TARN_NOTFOUND. A key over TARN_KEY_BYTES_MAX is not found. Errors, of a
 * store whose checkpoint is being read (tarn_options.load_bytes_max): IO, CORRUPT, NOMEM: this key
 * cannot be read now; whether it is there is not known. */
TARN_API TARN_MUST int tarn_get(struct tarn_session *session, struct tarn_bytes key,
                                struct tarn_bytes *ret_value);

/* Look up `count` keys at once, in their order; memory accesses overlap, so this is several times
 * faster per key than tarn_get(). ret_values: `count` views, data NULL where there is no such key,
 * or where it cannot be read: tarn_value_status() tells.
 * Each answer holds at a moment of its own. Returns how many were found. */
TARN_API size_t tarn_get_many(struct tarn_session *session, const struct tarn_bytes *keys,
                              size_t count, struct tarn_bytes *ret_values);

/* What tarn_get_many() says of one key: TARN_OK, NOTFOUND, or as tarn_get(). */
static inline int tarn_value_status(struct tarn_bytes value)
{
    if (value.data != NULL)
        return TARN_OK;
    return value.size == 0 ? TARN_NOTFOUND : (int)value.size;
}

/* As tarn_get_many(), and all answers hold at one and the same moment. */
TARN_API size_t tarn_get_together(struct tarn_session *session, const struct tarn_bytes *keys,
                                  size_t count, struct tarn_bytes *ret_values);

/* A key with its value and expiry. */
struct tarn_record {
    struct tarn_bytes key;
    struct tarn_bytes value; /* data NULL: there is no such key */
    int64_t expire_ms;       /* when it expires, ms since 1970 by tarn_now_ms(); 0: never */
};

/* tarn_get() with the expiry too; ret_record->key is `key`. TARN_OK or TARN_NOTFOUND. */
TARN_API TARN_MUST int tarn_get_record(struct tarn_session *session, struct tarn_bytes key,
                                       struct tarn_record *ret_record);

/* When a key expires (0: never); that does not count as use of it, for the eviction policy. TARN_OK
 * or TARN_NOTFOUND. */
TARN_API TARN_MUST int tarn_get_expiry(struct tarn_session *session, struct tarn_bytes key,
                                       int64_t *ret_expire_ms);

/* Bytes of memory that a key takes: key, value, and its share of what finds it, which is a mean.
 * TARN_OK or TARN_NOTFOUND. */
TARN_API TARN_MUST int tarn_usage(struct tarn_session *session, struct tarn_bytes key,
                                  uint64_t *ret_bytes);

/* Have the processor fetch what calls with these keys will touch; no other effect. Up to 64 keys
 * at a time are worth it. */
TARN_API void tarn_prefetch(struct tarn_session *session, const struct tarn_bytes *keys,
                            size_t count);

/* The time by which keys expire: ms since 1970, as the system's clock had it when the store was
 * opened and moved on by a clock that is never set. Any thread. */
TARN_API int64_t tarn_now_ms(struct tarn *store);

/* Visit about `count` (>= 1) records from *cursor on (0: from the start) and advance *cursor;
 * *cursor is 0 when the end is reached. Every record live in a version that is not replaced
 * during the scan is visited exactly once. Any cursor value is safe. The visitor must not call
 * into the session; of a data file on disk its views hold during the visit only. TARN_OK. Errors:
 * as tarn_get(), FULL (a checkpoint that is being read does not fit in memory): *cursor is as far
 * as it came. */
typedef void (*tarn_visit)(void *context, struct tarn_bytes key, struct tarn_bytes value);
TARN_API int tarn_scan(struct tarn_session *session, uint64_t *cursor, size_t count,
                       tarn_visit visit, void *context);

/* A random record's key; NOTFOUND if the set is empty. `random`: 64 random bits. See doc/index.md
 * for how close to uniform the choice is. */
TARN_API TARN_MUST int tarn_random_key(struct tarn_session *session, uint64_t random,
                                       struct tarn_bytes *ret_key);

/* --- reading a data file on disk ------------------------------------------------------------
 *
 * Reads of what is in memory answer at once; others wait for the disk, on the calling thread, all
 * of one call at the same time. They have more errors: IO, CORRUPT (what was read is not what was
 * indexed), STALE (the file has changed), NOMEM, FULL (no room under memory_bytes_max): of this key
 * now, and no others. Servers, whose threads must not wait, first fetch the keys they are going to
 * read. With every other kind of store nothing is ever to be fetched. */

struct tarn_fetch;
typedef void (*tarn_fetched)(void *context);

/* Begin to read the records of those keys (borrowed for the call) that are not in memory. Returns 0
 * if there are none: every read of them answers at once, *ret_fetch is NULL; what was there stays
 * so until the next quiescent state. Else how many are under way: tarn_fetch_poll() will call
 * done(context) once, on this thread, when all have come. Until tarn_fetch_end() what has come is
 * kept: reads of these keys by this session, across quiescent states, answer at once (with an error
 * if theirs failed). A value over TARN_FAR_BYTES is not fetched: tarn_stream_open(). Errors: NOMEM,
 * FULL: none is under way. */
TARN_API TARN_MUST int tarn_fetch_begin(struct tarn_session *session, const struct tarn_bytes *keys,
                                        size_t count, tarn_fetched done, void *context,
                                        struct tarn_fetch **ret_fetch);
/* When all have come: TARN_OK, or TARN_FULL: of some there was no memory to keep the record. */
TARN_API TARN_MUST int tarn_fetch_status(const struct tarn_fetch *fetch);
/* Also while it is under way: done is then not called any more. NULL is allowed. */
TARN_API void tarn_fetch_end(struct tarn_fetch *fetch);
/* Once a loop turn: hand the system all reads that were begun. */
TARN_API void tarn_fetch_submit(struct tarn_session *session);
/* A descriptor that is readable (epoll, poll) when tarn_fetch_poll() has something to do; the
 * session's own. -1: there never is; TARN_NOMEM: none can be had. */
TARN_API int tarn_fetch_fd(struct tarn_session *session);
/* Take what has come, and call `done` of those that have all. Never waits. */
TARN_API void tarn_fetch_poll(struct tarn_session *session);

/* Why the key could not be read, which this session was told by a fetch or a read that it has in
 * view: what happened, in which file, where. As long as that answer; NULL: not known, or the key
 * can be read. */
TARN_API const char *tarn_unreadable(struct tarn_session *session, struct tarn_bytes key);

/* A value of a data file on disk that is larger than TARN_FAR_BYTES, read by pieces, each of which
 * is verified before it is given. It belongs to the session that opened it, stays whole across
 * quiescent states and reloads, and is closed before the session. */
struct tarn_stream;
/* Of a key that was fetched, else waits for the disk. TARN_OK; *ret_stream NULL: it is not such a
 * value, tarn_get() it. TARN_NOTFOUND. Errors: as tarn_get(). */
TARN_API TARN_MUST int tarn_stream_open(struct tarn_session *session, struct tarn_bytes key,
                                        struct tarn_stream **ret_stream, uint64_t *ret_size);
/* Before the first piece: begin at this byte of the value, 0..its size. */
TARN_API void tarn_stream_from(struct tarn_stream *stream, uint64_t offset);
/* Begin to read the next piece; tarn_fetch_poll() calls done(context) when it is there or has
 * failed. One at a time. done NULL: wait for it here. Errors: NOMEM, FULL: nothing is under way. */
TARN_API TARN_MUST int tarn_stream_next(struct tarn_stream *stream, tarn_fetched done,
                                        void *context);
/* The piece that has come: 1..TARN_FAR_BYTES bytes, valid until the next is begun or the stream is
 * closed; size 0: that was all. Errors: IO, CORRUPT, STALE: the value cannot be read on. */
TARN_API TARN_MUST int tarn_stream_piece(struct tarn_stream *stream, struct tarn_bytes *ret_piece,
                                         struct tarn_error *error);
TARN_API void tarn_stream_close(struct tarn_stream *stream); /* also under way; NULL is allowed */

/* Figures of a data file on disk, since the store was opened. */
#define TARN_READ_BOUNDS 16
struct tarn_disk_stats {
    bool on_disk; /* else all else is 0 */
    bool changed; /* the file is not any more what was opened */
    uint64_t data_bytes, index_bytes;
    uint64_t cache_bytes, cache_bytes_max; /* records in memory, and keys known to be absent */
    uint64_t cache_records;
    uint64_t hits, absent_hits;  /* keys answered from memory; of these: not there */
    uint64_t refused;            /* keys that the index alone knew to be absent */
    uint64_t misses;             /* keys that were read for */
    uint64_t joined;             /* ... by a read that was under way already */
    uint64_t reads, read_bytes;  /* that the system was asked for */
    uint64_t corrupt, io_errors; /* reads that failed */
    char failure[256];           /* of the last that did: file, offset, why */
    unsigned in_flight, depth;   /* reads under way; at most, a session */
    uint64_t read_ns_mean, read_ns_p50, read_ns_p99, read_ns_p999, read_ns_max; /* a read's time */
    struct {
        uint64_t bound_ns, count; /* reads that took at most so long */
    } read_latency[TARN_READ_BOUNDS];
};
TARN_API void tarn_disk_stats_get(struct tarn *store, struct tarn_disk_stats *ret_stats);

/* --- writing ------------------------------------------------------------------------------
 *
 * To stores in memory only: a data file answers READONLY. Keys and values are copied. FULL: the
 * memory limit is reached (with an eviction policy: and evicting has not yet freed enough; call
 * tarn_make_room() and try again); nothing has changed. TOOBIG: a key or value over its limit. */

/* Store a value. expire_ms: 0 is never; a time that has passed deletes the key. Replaces value and
 * expiry. Errors: READONLY, FULL, NOMEM, TOOBIG. */
TARN_API TARN_MUST int tarn_put(struct tarn_session *session, struct tarn_bytes key,
                                struct tarn_bytes value, int64_t expire_ms);

/* Store `count` records, all at one moment or none; of equal keys the last counts. Errors: as
 * tarn_put(). */
TARN_API TARN_MUST int tarn_put_many(struct tarn_session *session,
                                     const struct tarn_record *records, size_t count);

/* Before tarn_begin(): see that there is memory for records that are going to be stored until
 * tarn_end(), where none can be evicted and nothing be waited for. Stores nothing; others may take
 * the memory meanwhile. Errors: as tarn_put_many(). */
TARN_API TARN_MUST int tarn_prepare(struct tarn_session *session, const struct tarn_record *records,
                                    size_t count);

/* tarn_put() if `condition` holds of the key as it is: compare and set. Unlike with tarn_update(),
 * a large value is copied before anybody has to wait. `condition` is called once, on this thread,
 * under a lock: it must be short and must not call into the store. present: value data NULL if
 * there is no such key; the value stays valid as that of tarn_get() does. Errors: as tarn_put();
 * CANCELLED: the condition does not hold. In both cases nothing has changed. */
typedef bool (*tarn_condition)(void *context, const struct tarn_record *present);
TARN_API TARN_MUST int tarn_put_if(struct tarn_session *session, struct tarn_bytes key,
                                   struct tarn_bytes value, int64_t expire_ms,
                                   tarn_condition condition, void *context);

/* TARN_OK, or TARN_NOTFOUND. Errors: READONLY, NOMEM; as long as a checkpoint is being read, also
 * those of tarn_get() and FULL. */
TARN_API TARN_MUST int tarn_delete(struct tarn_session *session, struct tarn_bytes key);

/* Give `target` the value and the expiry of `source`, as one step; a large value is copied before
 * anybody has to wait. TARN_OK; TARN_NOTFOUND: there is no source; DUPLICATE: TARN_COPY_NEW and
 * there is a target. Of one key twice nothing changes. Other errors: as tarn_put(). */
enum tarn_copy_flags {
    TARN_COPY_MOVE = 1 << 0, /* and delete the source: a new name for it */
    TARN_COPY_NEW = 1 << 1,  /* only if there is no target yet */
};
TARN_API TARN_MUST int tarn_copy(struct tarn_session *session, struct tarn_bytes source,
                                 struct tarn_bytes target, unsigned flags);

/* Set or (0) take away a key's expiry. TARN_OK or TARN_NOTFOUND. Errors: as tarn_put(). */
TARN_API TARN_MUST int tarn_expire(struct tarn_session *session, struct tarn_bytes key,
                                   int64_t expire_ms);

/* What tarn_update()'s function wants done. */
enum tarn_verdict {
    TARN_KEEP,   /* nothing */
    TARN_PEEK,   /* nothing, and the value will not be looked at any more: a large value can then
                    still be patched in place */
    TARN_STORE,  /* store record.value and record.expire_ms; the value may be (part of) the old */
    TARN_PATCH,  /* store patch at patch_offset of the old value, which is zero-filled up to there
                    if shorter; and record.expire_ms. An absent key counts as empty. Large values
                    are changed in place where nobody can see it. */
    TARN_EXPIRE, /* store record.expire_ms only */
    TARN_REMOVE, /* delete the key */
};
struct tarn_update {
    struct tarn_record record; /* as it is now; the function may change value and expire_ms */
    struct tarn_bytes patch;
    size_t patch_offset;
};
typedef enum tarn_verdict (*tarn_change)(void *context, struct tarn_update *update);

/* Read, decide and write as one step: nobody else changes the key meanwhile. `change` is called
 * once, on this thread, under a lock: it must be short and must not call into the store. What it
 * leaves in *update must stay until this returns. The value it saw stays valid as that of
 * tarn_get() does, but after TARN_PATCH and TARN_PEEK only until it returns. Errors: as tarn_put();
 * the key is as it was. */
TARN_API TARN_MUST int tarn_update(struct tarn_session *session, struct tarn_bytes key,
                                   tarn_change change, void *context);

/* Delete everything, at one moment and at once; memory is given back in the background. Errors:
 * READONLY, NOMEM. */
TARN_API TARN_MUST int tarn_flush(struct tarn_session *session);

/* Until tarn_end(), this session's calls with these keys (scans too, with keys NULL: everything)
 * take effect together, at one moment: no other session sees or makes a change between. Other keys
 * may be read, not written. Not nested; no quiescent or offline state between. Be short: others
 * wait. With a data file it does nothing. tarn_end(): TARN_OK; UNSURE (a store with a directory).
 */
TARN_API void tarn_begin(struct tarn_session *session, const struct tarn_bytes *keys, size_t count);
TARN_API int tarn_end(struct tarn_session *session);

/* Watch a key: has it been changed, deleted, evicted or has it expired since? Never misses a
 * change; a key that comes back to its value has changed. tarn_watch_changed() may be called by
 * any thread, between tarn_begin() with this key and tarn_end() its answer stays true.
 * Errors: NOMEM; FULL, and as tarn_get(). */
struct tarn_watch;
TARN_API TARN_MUST int tarn_watch_open(struct tarn_session *session, struct tarn_bytes key,
                                       struct tarn_watch **ret_watch);
TARN_API bool tarn_watch_changed(const struct tarn_watch *watch);
TARN_API void tarn_watch_close(struct tarn_watch *watch); /* any thread; NULL is allowed */

/* After FULL: wait for a moment until evicted or deleted keys' memory can be used again. Counts as
 * a quiescent state; not between tarn_begin() and tarn_end(). False: there is nothing to wait for
 * (no eviction policy, nothing evictable). */
TARN_API bool tarn_make_room(struct tarn_session *session);

/* Change the cap and the policy of an open store; a smaller cap evicts at once, in the
 * background. Of a data file in memory it holds from the next reload on; of one on disk it is at
 * least what index and reads need. Any thread. */
TARN_API void tarn_limit(struct tarn *store, uint64_t memory_bytes_max,
                         enum tarn_eviction eviction);

/* Count memory of the caller's own (buffers) against the cap; negative gives it back. Never fails.
 * Any thread. */
TARN_API void tarn_charge(struct tarn *store, int64_t bytes);

/* Bytes in use that count against the cap, charged ones too. Quick; any thread. */
TARN_API uint64_t tarn_memory_used(struct tarn *store);

/* Do reads by this session count as use, for the eviction policy? At first they do. */
TARN_API void tarn_session_touches(struct tarn_session *session, bool touches);

/* Let the background free expired keys, or (for tests) not; reads never show them. Any thread. */
TARN_API void tarn_expire_actively(struct tarn *store, bool active);

/* --- durability: of a store that has a directory -------------------------------------------
 *
 * Calls that change something return when the dial allows to acknowledge it, and with COMMIT reads
 * return when what they saw is durable: nobody sees a change that can still be lost. UNSURE: the
 * log failed meanwhile, and whether the change is kept is not known. IO: the log has failed before;
 * the store can be read only, until it is opened again. NOSPACE: the disk is full; nothing was
 * changed, and once there is room again, writing goes on. */

/* With `defers` the session's calls do not wait: tarn_session_sequence() then says what must reach
 * TARN_ACKNOWLEDGED before anything that the session got, or did, since that was last asked may be
 * told to anybody (0: nothing must), and begins anew. For callers that answer many at once. */
TARN_API void tarn_session_defers(struct tarn_session *session, bool defers);
TARN_API uint64_t tarn_session_sequence(struct tarn_session *session);

enum tarn_level {
    TARN_ACKNOWLEDGED, /* as the dial says */
    TARN_WRITTEN,      /* kept when the process is killed */
    TARN_DURABLE       /* kept when power is lost */
};

/* Has this change and every one before reached the level? Any thread; true without a directory. */
TARN_API bool tarn_reached(struct tarn *store, uint64_t sequence, enum tarn_level level);
/* Wait until it has; WRITTEN and DURABLE have it done now, whatever the dial says. timeout_us: 0 is
 * none. A session of this thread should be offline meanwhile. Errors: UNSURE, CANCELLED (the time
 * is up), INVALID (DURABILITY_NONE cannot reach it). */
TARN_API TARN_MUST int tarn_await(struct tarn *store, uint64_t sequence, enum tarn_level level,
                                  uint64_t timeout_us);
/* Have it done soon, and do not wait. Any thread. */
TARN_API void tarn_hurry(struct tarn *store, uint64_t sequence, enum tarn_level level);
/* The last change made. Any thread. */
TARN_API uint64_t tarn_sequence(struct tarn *store);

/* Have `wake` called, on a thread of the store, whenever something may have reached a level or the
 * state changed; it must be quick and must not call into the store. */
struct tarn_listener;
TARN_API TARN_MUST int tarn_listen(struct tarn *store, void (*wake)(void *context), void *context,
                                   struct tarn_listener **ret_listener);
TARN_API void tarn_unlisten(struct tarn_listener *listener); /* NULL is allowed */

/* Write all there is into a new file and drop the log before it, while others go on; needs little
 * memory. Never from a thread whose own session is online. Errors: BUSY (one is under way), INVALID
 * (no directory), IO, NOSPACE, NOMEM; the old checkpoint and the log are then as they were. */
TARN_API TARN_MUST int tarn_checkpoint(struct tarn *store, struct tarn_error *error);
/* The same in the background; BUSY or OK. How it went: tarn_log_stats. */
TARN_API TARN_MUST int tarn_checkpoint_start(struct tarn *store);

/* Turn the dial. Any thread. Errors: INVALID (no directory, values out of range), IO. */
TARN_API TARN_MUST int tarn_dial_set(struct tarn *store, const struct tarn_dial *dial,
                                     struct tarn_error *error);

/* A consistent copy of a store that is being served, in a new directory that can be opened: a
 * checkpoint, hard links or copies of its files. Errors: as tarn_checkpoint(); INVALID: there is
 * something of that name already. */
TARN_API TARN_MUST int tarn_backup(struct tarn *store, const char *directory,
                                   struct tarn_error *error);

struct tarn_log_stats {
    bool durable_store;    /* there is a directory; else all else is 0 */
    struct tarn_dial dial; /* as it is now */
    unsigned log_files;
    int state;                                /* TARN_OK; NOSPACE; IO: failed */
    char failure[256];                        /* why, if not OK */
    uint64_t sequence, written, durable;      /* of changes; how far they have come */
    uint64_t log_bytes;                       /* since the last checkpoint */
    uint64_t records, bytes, syncs, segments; /* since the store was opened */
    uint64_t pending_bytes;                   /* in memory, to be written */
    uint64_t sync_us_total, sync_us_max;
    bool checkpoint_running;
    int checkpoint_status; /* of the last one; OK if there was none */
    char checkpoint_failure[256];
    int64_t checkpoint_time_ms;   /* of the last good one; 0: none */
    uint64_t checkpoint_sequence; /* ... every change up to this one is in it */
    uint64_t checkpoint_us, checkpoint_bytes, checkpoint_records; /* of the last good one */
    uint64_t checkpoints, checkpoints_failed;                     /* since the store was opened */
    bool loading;       /* the checkpoint is being read, while it is served */
    int loading_status; /* TARN_OK, or why that does not go on; FULL: it is tried again */
    char loading_failure[256];
    /* What tarn_open() found. */
    uint64_t recovered_records; /* from the checkpoint */
    uint64_t replayed_records, replayed_bytes;
    uint64_t truncated_bytes; /* of a torn end */
    uint64_t recovered_sequence, recovery_us;
    bool closed_cleanly; /* the time before */
};
TARN_API void tarn_log_stats_get(struct tarn *store, struct tarn_log_stats *ret_stats);

/* Read a directory that nobody has open, and say whether it is sound; changes nothing. report: one
 * line a file and a verdict, for people. Errors: CORRUPT (the first bad place), MISSING, BUSY, IO.
 */
struct tarn_check_report {
    uint64_t checkpoint_records, log_records, torn_bytes, sequence, files;
    bool closed_cleanly;
};
typedef void (*tarn_line)(void *context, const char *line);
TARN_API TARN_MUST int tarn_check(const char *directory, tarn_line line, void *context,
                                  tarn_progress progress, void *progress_context,
                                  struct tarn_check_report *ret_report, struct tarn_error *error);
/* Salvage what is sound of `directory` into `target`, a new directory; the old is not touched.
 * Counts what was lost in places, as one does not know in records. Errors: as tarn_check(); INVALID
 * (there is a store in `target`; changes to a data file, and no checkpoint yet, which holds it). */
struct tarn_repair_report {
    uint64_t records, log_records, damaged_places, truncated_bytes, sequence;
};
TARN_API TARN_MUST int tarn_repair(const char *directory, const char *target, tarn_line line,
                                   void *context, tarn_progress progress, void *progress_context,
                                   struct tarn_repair_report *ret_report, struct tarn_error *error);

/* --- figures and files -------------------------------------------------------------------- */

/* Figures of the version being served, and of the store. */
struct tarn_stats {
    uint64_t keys;              /* distinct keys */
    uint64_t records;           /* records in the data file, duplicates counted */
    uint64_t data_bytes;        /* the data file's size */
    uint64_t index_bytes;       /* the index's size in memory */
    uint64_t memory_bytes;      /* data + index + bookkeeping in memory */
    uint64_t key_bytes_total;   /* over all records */
    uint64_t value_bytes_total; /* over all records */
    uint64_t generation;        /* 1 at open, +1 with each reload */
    uint64_t load_us;           /* time the last load took */
    bool index_built;           /* the last load had to build the index */
    struct tarn_format format;  /* as given or detected; never AUTO */

    /* Of a writable store; 0 for a data file. Expired keys count until they are freed. */
    bool writable;
    uint64_t base_records_left; /* of the checkpoint or data file under the table: not in it. As
                                   long as a checkpoint's are, keys that were set count twice */
    uint64_t expiring;          /* keys that have an expiry */
    int64_t expire_ms_mean;     /* mean time they have left, estimated; ms */
    uint64_t item_bytes;        /* keys and values with their headers, as allocated */
    uint64_t table_bytes;       /* buckets and shards */
    uint64_t free_bytes;        /* room for items in memory held already */
    uint64_t limbo_bytes;       /* replaced or deleted, not yet free to use */
    uint64_t charged_bytes;     /* tarn_charge()d */
    uint64_t memory_bytes_max;  /* the cap; 0: none */
    enum tarn_eviction eviction;
    uint64_t expired_total, evicted_total; /* keys, since the store was opened */
    uint64_t expired_lag_ms; /* age of the oldest expired key whose memory is not yet freed */
};
TARN_API void tarn_stats_get(struct tarn *store, struct tarn_stats *ret_stats);

/* Build and write the index of a data file, without serving it. options: path, index_path,
 * format, duplicates, threads, progress are used. */
struct tarn_index_report {
    uint64_t keys, records, duplicates, collisions;
    uint64_t data_bytes, index_bytes;
    uint64_t read_us, solve_us, total_us;
    struct tarn_format format;
    uint64_t granule_bytes; /* of an index for data that stay on disk; else 0 */
    uint64_t pages;         /* of 4 KiB, if the index stays on disk, too; else 0 */
    unsigned fingerprint_bits;
};
TARN_API TARN_MUST int tarn_index_build(const struct tarn_options *options,
                                        struct tarn_index_report *ret_report,
                                        struct tarn_error *error);

/* Read everything: check the index against the data file and both against their checksums, and
 * that every live record is found under its key. options: path, index_path, format, threads,
 * progress. Errors: as tarn_open, STALE, CORRUPT (with the first bad place). */
struct tarn_verify_report {
    uint64_t keys, records, blocks;   /* checked and sound */
    uint64_t data_bytes, index_bytes; /* index_bytes 0: the file has its own (a tarn file) */
};
TARN_API TARN_MUST int tarn_verify(const struct tarn_options *options,
                                   struct tarn_verify_report *ret_report, struct tarn_error *error);

#ifdef __cplusplus
}
#endif
#endif
