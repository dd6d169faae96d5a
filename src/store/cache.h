/* The cache before a data file on disk: a table of its own with a cap, SIEVE deciding what goes.
 * Holds copies of records, and keys known to be absent; nothing that cannot be read again.
 *
 * Threads: as a table's; a struct table_session of the cache's table belongs to one thread. Views
 * are valid until that thread's next quiescent state. */
#ifndef STORE_CACHE_H
#define STORE_CACHE_H

#include <stdatomic.h>

#include "table/table.h"

/* What a stored value has behind it. */
enum cache_mark { CACHE_PRESENT, CACHE_ABSENT };
#define CACHE_MARK_BYTES 1u

#define CACHE_NOTHING 2 /* beside TARN_OK and TARN_NOTFOUND: the cache does not know */

struct cache {
    struct table *table;
    struct cache *next;          /* of those that wait to be closed */
    _Atomic uint64_t references; /* whoever has a session of it */
    _Atomic int64_t charge;      /* what has been charged to the table */
    _Atomic bool retired;        /* takes nothing more */
};

/* bytes_max: of all its memory. One reference. Errors: NOMEM, IO. */
TARN_MUST int cache_open(const struct os *os, uint64_t bytes_max, struct cache **ret_cache,
                         struct tarn_error *error);
void cache_close(struct cache *cache); /* no sessions, no pins; not on a thread that is online */

/* Another version is served from now on: its memory is given back, it takes nothing more. This
 * thread has no session online. */
void cache_retire(struct cache *cache);
/* Nothing of it is pinned any more. */
bool cache_is_empty(struct cache *cache);

/* Bytes of others' that count against its cap: as many as these from now on. */
void cache_charge(struct cache *cache, int64_t bytes);

/* TARN_OK, NOTFOUND (known to be absent), or CACHE_NOTHING. */
int cache_get(struct table_session *s, struct tarn_bytes key, struct tarn_record *ret_record);
/* What table_get_many() gave, understood: TARN_OK, NOTFOUND or CACHE_NOTHING. */
int cache_understand(struct tarn_bytes *value);

/* Keep a record, if there is room: record->value has its mark behind it, in the next byte. */
void cache_put(struct cache *cache, struct table_session *s, const struct tarn_record *record);
void cache_put_absent(struct cache *cache, struct table_session *s, struct tarn_bytes key);

#endif
