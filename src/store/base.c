/* What the table rests on: see base.h.
 *
 * How: a checkpoint lies in the order of the hashes by the table's secret, so a shard of the table
 * is a range of it. A background thread takes in shard by shard; who scans takes in the shard it is
 * at. A data file is never taken in: scans visit first what only the table has, then the file's
 * records, each as it is now.
 *
 * Invariants
 * 1. `file` is open as long as `resting`, and after that until nobody can be in it any more.
 * 2. A cursor of a scan over a data file has IN_PACK set in its second part.
 * Failure modes: a shard that cannot be read is left in the checkpoint, for good; when there is no
 * room in memory, taking in waits. `status` says so, and what is looked up is looked for there as
 * before. */
#include "store/base.h"

#include <stdio.h>

#include "core/qsbr.h"
#include "core/random.h"

#define FOLD_BYTES   ((size_t)64 << 20)
#define IN_PACK      ((uint64_t)1 << 62)
#define RANDOM_TRIES 64

void base_init(struct base *b, struct tarn *store)
{
    *b = (struct base){.store = store, .fold_bytes = FOLD_BYTES};
    pthread_mutex_init(&b->lock, NULL);
}

void base_close(struct base *b)
{
    checkpoint_close(b->file);
    pthread_mutex_destroy(&b->lock);
}

/* --- setting up --- */

static int find_in_checkpoint(void *context, struct tarn_bytes key, uint64_t hash,
                              struct buffer *scratch, struct tarn_record *ret_record)
{
    const struct base *b = context;
    return checkpoint_find(b->file, key, hash, scratch, ret_record, NULL);
}

static int find_in_pack(void *context, struct tarn_bytes key, uint64_t hash, struct buffer *scratch,
                        struct tarn_record *ret_record)
{
    (void)hash, (void)scratch;
    const struct base *b = context;
    *ret_record = (struct tarn_record){key, {NULL, 0}, 0};
    return pack_get(b->pack, key, &ret_record->value);
}

int base_rest_on_checkpoint(struct base *b, struct checkpoint_file *file,
                            const struct checkpoint_totals *totals, struct tarn_error *error)
{
    const struct table_base under = {b, totals->records, false, find_in_checkpoint};
    b->file = file;
    b->file_records = totals->records;
    if (table_base_set(b->store->table, &under) != TARN_OK)
        return error_set(error, TARN_NOMEM, "out of memory for a store");
    atomic_store(&b->resting, true);
    return TARN_OK;
}

int base_rest_on_pack(struct base *b, struct pack *pack, struct tarn_error *error)
{
    const struct table_base under = {b, index_keys(pack->index), true, find_in_pack};
    b->pack = pack;
    return table_base_set(b->store->table, &under) == TARN_OK
               ? TARN_OK
               : error_set(error, TARN_NOMEM, "out of memory for a store");
}

/* --- taking in --- */

struct taking {
    struct tarn_session *session;
    uint64_t records;
};

static int adopt(void *context, const struct tarn_record *records, size_t count)
{
    struct taking *taking = context;
    taking->records += count;
    return table_adopt(taking->session->table, records, count);
}

int base_take_in_shard(struct base *b, struct tarn_session *session, unsigned shard,
                       struct tarn_error *error)
{
    struct tarn *store = b->store;
    struct taking taking = {session, 0};
    if (!atomic_load(&b->resting) || !table_base_rests(store->table, shard))
        return TARN_OK;
    table_base_expect(session->table, shard, b->file_records / TABLE_SHARDS);
    int status = checkpoint_range(b->file, table_hash_first(shard), table_hash_last(shard), adopt,
                                  &taking, error);
    if (status == TARN_OK)
        status = table_base_done(session->table, shard, taking.records);
    if (status == TARN_FULL)
        error_set(error, status, "what the checkpoint holds does not fit in --memory");
    else if (status == TARN_NOMEM)
        error_set(error, status, "out of memory");
    return status;
}

static void note(struct base *b, int status, const struct tarn_error *error)
{
    pthread_mutex_lock(&b->lock);
    snprintf(b->failure, sizeof b->failure, "%.255s", status == TARN_OK ? "" : error->text);
    pthread_mutex_unlock(&b->lock);
    atomic_store(&b->status, status);
}

/* Again and again while there may be room a little later. */
static int take_in_shard_patiently(struct base *b, struct tarn_session *session, unsigned shard,
                                   struct tarn_error *error)
{
    for (;;) {
        int status = base_take_in_shard(b, session, shard, error);
        tarn_quiescent(session);
        if (status != TARN_FULL || !tarn_make_room(session))
            return status;
    }
}

int base_take_in_all(struct base *b, struct tarn_error *error)
{
    struct tarn_session *session;
    if (!atomic_load(&b->resting))
        return TARN_OK;
    int status = tarn_session_open(b->store, &session, error);
    if (status != TARN_OK)
        return status;
    for (unsigned shard = 0; shard < TABLE_SHARDS && status == TARN_OK; shard++)
        status = take_in_shard_patiently(b, session, shard, error);
    tarn_session_close(session);
    return status;
}

/* Every shard is done. */
static void let_go(struct base *b)
{
    atomic_store(&b->resting, false);
    table_base_forget(b->store->table);
    qsbr_wait(); /* who saw `resting` is through */
    checkpoint_close(b->file);
    b->file = NULL;
}

bool base_take_in_some(struct base *b, struct tarn_session *session)
{
    struct tarn_error error;
    if (!atomic_load(&b->resting))
        return false;
    if (b->next < TABLE_SHARDS) {
        int status = take_in_shard_patiently(b, session, b->next, &error);
        b->waits = status == TARN_FULL || status == TARN_NOMEM;
        if (b->skipped == 0) /* else that is what is to be told */
            note(b, status, &error);
        if (b->waits)
            return false;
        b->skipped += status != TARN_OK;
        b->next++;
        return true;
    }
    if (b->skipped > 0)
        return false;
    tarn_offline(session);
    let_go(b);
    tarn_online(session);
    return false;
}

void base_figures_get(struct base *b, struct tarn_log_stats *ret_stats)
{
    ret_stats->loading = atomic_load(&b->resting);
    ret_stats->loading_status = atomic_load(&b->status);
    pthread_mutex_lock(&b->lock);
    memcpy(ret_stats->loading_failure, b->failure, sizeof ret_stats->loading_failure);
    pthread_mutex_unlock(&b->lock);
}

/* --- scanning --- */

struct pack_visit {
    struct tarn_session *session;
    tarn_visit visit;
    void *context;
};

/* A record of the data file, as it is now. */
static void visit_present(void *context, struct tarn_bytes key, struct tarn_bytes value)
{
    struct pack_visit *v = context;
    struct tarn_record record;
    (void)value;
    if (table_key_rests(v->session->table, key) &&
        table_get(v->session->table, key, &record) == TARN_OK)
        v->visit(v->context, record.key, record.value);
}

static void scan_over_pack(struct base *b, struct tarn_session *session, uint64_t *cursor,
                           size_t count, tarn_visit visit, void *context)
{
    struct pack_visit v = {session, visit, context};
    uint64_t offset = *cursor & (IN_PACK - 1);
    if (!(*cursor & IN_PACK)) {
        table_scan(session->table, cursor, count, visit, context);
        if (*cursor == 0)
            *cursor = IN_PACK;
        return;
    }
    pack_scan(b->pack, &offset, count, visit_present, &v);
    *cursor = offset != 0 ? offset | IN_PACK : 0;
}

int base_scan(struct base *b, struct tarn_session *session, uint64_t *cursor, size_t count,
              tarn_visit visit, void *context)
{
    if (b->pack != NULL) {
        scan_over_pack(b, session, cursor, count, visit, context);
        return TARN_OK;
    }
    /* One shard at a time, so that none is visited that was not taken in. */
    for (size_t visited = 0; atomic_load(&b->resting);) {
        unsigned shard = table_scan_shard(*cursor);
        int status = base_take_in_shard(b, session, shard, NULL);
        if (status != TARN_OK)
            return status;
        visited +=
            table_scan_until(session->table, cursor, shard + 1, count - visited, visit, context);
        if (visited >= count || *cursor == 0)
            return TARN_OK;
    }
    table_scan(session->table, cursor, count, visit, context);
    return TARN_OK;
}

struct first_key {
    struct tarn_bytes key; /* data NULL: none yet */
};

static void take_first(void *context, struct tarn_bytes key, struct tarn_bytes value)
{
    struct first_key *first = context;
    (void)value;
    if (first->key.data == NULL)
        first->key = key;
}

static int any_key(struct base *b, struct tarn_session *session, struct tarn_bytes *ret_key)
{
    struct first_key first = {{NULL, 0}};
    uint64_t cursor = 0;
    do
        scan_over_pack(b, session, &cursor, 1, take_first, &first);
    while (cursor != 0 && first.key.data == NULL);
    *ret_key = first.key;
    return first.key.data != NULL ? TARN_OK : TARN_NOTFOUND;
}

/* A data file's keys and the table's own, each by its share; if most of the file's are gone, any
 * key that is there. */
static int random_over_pack(struct base *b, struct tarn_session *session, uint64_t random,
                            struct tarn_bytes *ret_key)
{
    struct tarn_record record;
    uint64_t packed = index_keys(b->pack->index), all = packed + table_own_keys(b->store->table);
    for (unsigned i = 0; i < RANDOM_TRIES && all > 0; i++) {
        random = random_mix(random + i);
        if (random % all >= packed) {
            if (table_random_key(session->table, random, ret_key) == TARN_OK)
                return TARN_OK;
        } else if (pack_random_key(b->pack, random, ret_key) == TARN_OK &&
                   table_key_rests(session->table, *ret_key) &&
                   table_get(session->table, *ret_key, &record) == TARN_OK) {
            return TARN_OK;
        }
    }
    return any_key(b, session, ret_key);
}

int base_random_key(struct base *b, struct tarn_session *session, uint64_t random,
                    struct tarn_bytes *ret_key)
{
    if (b->pack != NULL)
        return random_over_pack(b, session, random, ret_key);
    unsigned shard = table_shard_of(random);
    for (unsigned i = 0; i < TABLE_SHARDS && atomic_load(&b->resting); i++) {
        int status = base_take_in_shard(b, session, (shard + i) % TABLE_SHARDS, NULL);
        if (status == TARN_OK)
            status = table_random_key(session->table, random, ret_key);
        if (status != TARN_NOTFOUND)
            return status;
    }
    return table_random_key(session->table, random, ret_key);
}
