/* What the files of the store share. Private to the store folder. */
#ifndef STORE_STORE_INTERNAL_H
#define STORE_STORE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "pack/pack.h"
#include "store/store.h"
#include "table/table.h"

struct durable;
struct far;
struct far_session;

struct tarn {
    const struct os *os;
    struct tarn_options options;
    char *path, *index_path;        /* copies that options points to */
    struct table *table;            /* NULL: a pack is served */
    struct durable *durable;        /* of a table that lives in a directory; NULL: in memory only */
    struct far *far;                /* of a data file on disk; else NULL */
    _Atomic(struct pack *) current; /* what is served; or what the table rests on, NULL: none */
    _Atomic uint64_t generation;
    _Atomic uint64_t pack_bytes, charged_bytes, memory_bytes_max; /* of a pack */
    pthread_mutex_t
        reload_lock; /* held during a reload, and to look at current without a session */
};

struct tarn_session {
    struct tarn *store;
    struct table_session *table; /* NULL: a pack is served */
    struct durable *durable;     /* the store's; NULL: nothing to wait for */
    struct far_session *far;     /* of a data file on disk; else NULL */
    struct pack *seen;           /* version used since the last quiescent state, NULL: none yet */
    bool viewing;                /* there may be views: `seen` is set, or the table was used */
    bool online;
    bool defers;  /* its calls do not wait for durability */
    bool in_step; /* between tarn_begin() and tarn_end() */
};

/* Memory that a pack takes, with its store. */
uint64_t store_pack_bytes(const struct tarn *store, const struct pack *pack);

#endif
