/* Writing all that a store holds into a checkpoint, in the order of the hashes.
 *
 * How: shard by shard, since a shard is a range of hashes. Over a data file, which lies in any
 * order, the file is gone through for some shards at a time, as many as base.fold_bytes have room
 * for; its records of those shards are noted and sorted, and merged with what the table has.
 *
 * Invariants
 * 1. What the table has of a key, be it that it is gone, goes before what the data file has.
 * 2. A shard's items are noted before the file's records of it are written: a key that the table
 * had nothing of then was as in the file, and what was changed since is in the log.
 * Failure modes: NOMEM; those of the writer. */
#include <stdlib.h>

#include "store/base.h"

/* A record of the data file. */
struct noted {
    uint64_t hash;
    struct tarn_bytes key, value; /* value.data NULL: the table has something of the key */
};

struct fold {
    struct checkpoint_writer *writer;
    struct tarn_error *error;
    const struct table *table;
    unsigned char secret[HASH_SECRET_BYTES];
    unsigned first, end; /* shards of this pass */
    struct noted *notes;
    size_t count, room;
    size_t at; /* the next to be written */
    bool short_of_memory;
};

/* --- the data file's records --- */

static void note_record(void *context, struct tarn_bytes key, struct tarn_bytes value)
{
    struct fold *fold = context;
    uint64_t hash = hash_key(fold->secret, key);
    unsigned shard = table_shard_of(hash);
    if (shard < fold->first || shard >= fold->end || !table_base_rests(fold->table, shard))
        return;
    if (fold->count == fold->room) {
        size_t room = fold->room ? fold->room + fold->room / 2 : 1024;
        struct noted *notes = realloc(fold->notes, room * sizeof *notes);
        fold->short_of_memory |= notes == NULL;
        if (notes == NULL)
            return;
        fold->notes = notes;
        fold->room = room;
    }
    fold->notes[fold->count++] = (struct noted){hash, key, value};
}

static int compare(const void *a, const void *b)
{
    uint64_t x = ((const struct noted *)a)->hash, y = ((const struct noted *)b)->hash;
    return (x > y) - (x < y);
}

static int note_records(struct fold *fold, const struct pack *pack)
{
    uint64_t offset = 0;
    fold->count = fold->at = 0;
    do
        pack_scan(pack, &offset, 1024, note_record, fold);
    while (offset != 0 && !fold->short_of_memory);
    if (fold->short_of_memory)
        return error_set(fold->error, TARN_NOMEM, "out of memory");
    if (fold->count > 0)
        qsort(fold->notes, fold->count, sizeof *fold->notes, compare);
    return TARN_OK;
}

/* Write those whose hashes are below this one, or (last) all up to it. */
static int write_noted(struct fold *fold, uint64_t hash, bool last)
{
    int status = TARN_OK;
    for (; fold->at < fold->count && status == TARN_OK; fold->at++) {
        const struct noted *note = &fold->notes[fold->at];
        if (note->hash > hash || (note->hash == hash && !last))
            break;
        const struct tarn_record record = {note->key, note->value, 0};
        if (note->value.data != NULL)
            status = checkpoint_add(fold->writer, &record, note->hash, fold->error);
    }
    return status;
}

/* --- the table's --- */

/* The table has something of this key: the file's record does not count. */
static void cover(struct fold *fold, uint64_t hash, struct tarn_bytes key)
{
    for (size_t i = fold->at; i < fold->count && fold->notes[i].hash == hash; i++)
        if (bytes_equal(fold->notes[i].key, key))
            fold->notes[i].value.data = NULL;
}

static int write_item(void *context, uint64_t hash, const struct tarn_record *record)
{
    struct fold *fold = context;
    int status = write_noted(fold, hash, false);
    cover(fold, hash, record->key);
    if (status == TARN_OK && record->value.data != NULL)
        status = checkpoint_add(fold->writer, record, hash, fold->error);
    return status;
}

static int write_shard(struct fold *fold, struct tarn_session *session, unsigned shard)
{
    int status = table_scan_ordered(session->table, shard, write_item, fold);
    if (status == TARN_NOMEM)
        error_set(fold->error, status, "out of memory");
    if (status == TARN_OK)
        status = write_noted(fold, table_hash_last(shard), true);
    tarn_quiescent(session);
    return status;
}

/* --- all --- */

static unsigned shards_a_pass(const struct base *b)
{
    if (b->pack == NULL)
        return TABLE_SHARDS;
    uint64_t shards =
        b->fold_bytes * TABLE_SHARDS / (index_keys(b->pack->index) * sizeof(struct noted) + 1);
    return shards == 0 ? 1 : shards > TABLE_SHARDS ? TABLE_SHARDS : (unsigned)shards;
}

int base_write_all(struct base *b, struct tarn_session *session, struct checkpoint_writer *writer,
                   struct tarn_error *error)
{
    struct fold fold = {.writer = writer, .error = error, .table = b->store->table};
    unsigned step = shards_a_pass(b);
    int status = TARN_OK;
    table_secret_get(b->store->table, fold.secret);
    for (; fold.first < TABLE_SHARDS && status == TARN_OK; fold.first = fold.end) {
        fold.end = fold.first + step < TABLE_SHARDS ? fold.first + step : TABLE_SHARDS;
        if (b->pack != NULL)
            status = note_records(&fold, b->pack);
        for (unsigned i = fold.first; i < fold.end && status == TARN_OK; i++)
            status = write_shard(&fold, session, i);
    }
    free(fold.notes);
    return status;
}
