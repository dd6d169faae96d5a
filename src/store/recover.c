/* Recovery: checkpoint and log into an empty table.
 *
 * How: time stands still meanwhile, so that what a change was made to is what it is replayed to.
 * The log must reach the highest sequence of which anything says that it was synced: SYNCED, the
 * manifest (a clean close; what the checkpoint may know), or the log's own records.
 *
 * Invariant: nothing in the directory is changed before all of it was read and found sound.
 * Failure modes: CORRUPT and the like, FULL if it does not fit in memory; the directory is as it
 * was. */
#include "pack/checkpoint.h"
#include "store/ahead.h"
#include "store/durable.h"

#include <stdlib.h>

#include "core/qsbr.h"

#define QUIESCENT_EVERY 256                  /* changes */
#define LOAD_BYTES_MAX  ((uint64_t)64 << 20) /* of a checkpoint that is read before serving */

struct recovery {
    struct durable *d;
    struct tarn_session *session;
    uint64_t changes;
    struct tarn_error *error;
    struct ahead ahead;
};

static int does_not_fit(struct recovery *r)
{
    return error_set(r->error, TARN_FULL,
                     "%s: what it holds does not fit in --memory; give it more, or an eviction "
                     "policy",
                     r->d->directory.path);
}

/* Put or apply until there is room or nothing more can be evicted. */
static int again(struct recovery *r, int status, bool *ret_again)
{
    *ret_again = status == TARN_FULL && tarn_make_room(r->session);
    if (status == TARN_FULL && !*ret_again)
        (void)does_not_fit(r);
    else if (status == TARN_NOMEM)
        error_set(r->error, TARN_NOMEM, "%s: out of memory", r->d->directory.path);
    return status;
}

static void pause_now_and_then(struct recovery *r, uint64_t count)
{
    r->changes += count;
    if (r->changes % QUIESCENT_EVERY < count)
        tarn_quiescent(r->session);
}

static int put_records(void *context, const struct tarn_record *records, size_t count)
{
    struct recovery *r = context;
    bool more;
    int status;
    do
        status = again(r, table_put_many(r->session->table, records, count), &more);
    while (more);
    pause_now_and_then(r, count);
    return status;
}

static int apply(struct recovery *r, const struct change *change)
{
    bool more;
    int status;
    do
        status = again(r, table_apply(r->session->table, change), &more);
    while (more);
    pause_now_and_then(r, 1);
    return status;
}

/* Make the changes that have been kept. */
static int apply_kept(struct recovery *r)
{
    int status = TARN_OK;
    ahead_fetch(&r->ahead, r->session->table);
    for (size_t i = 0; i < r->ahead.count && status == TARN_OK; i++)
        status = apply(r, &r->ahead.changes[i]);
    ahead_clear(&r->ahead);
    return status;
}

static int apply_change(void *context, uint64_t sequence, const struct change *change)
{
    (void)sequence;
    struct recovery *r = context;
    if (ahead_add(&r->ahead, change))
        return TARN_OK;
    int status = apply_kept(r);
    if (status != TARN_OK)
        return status;
    return ahead_add(&r->ahead, change) ? TARN_OK : apply(r, change);
}

/* --- a data file --- */

static int refuse(struct durable *d, struct tarn_error *error)
{
    const struct manifest *m = &d->manifest;
    const char *data = d->store->options.path;
    if (data == NULL && m->over_data && m->checkpoint_number == 0)
        return error_set(error, TARN_INVALID,
                         "%s: it holds changes to a data file of %llu bytes; name that file, too",
                         d->directory.path, (unsigned long long)m->data_bytes);
    if (data != NULL && m->generation > 1 && !m->over_data)
        return error_set(error, TARN_INVALID,
                         "%s: a store of its own, which holds no changes to a data file; leave "
                         "away %s, or name another directory",
                         d->directory.path, data);
    return TARN_OK;
}

static int stale(struct durable *d, struct tarn_error *error)
{
    return error_set(error, TARN_STALE,
                     "%s: not the data file that the changes in %s belong to: that has %llu bytes "
                     "and checksum %016llx",
                     d->store->options.path, d->directory.path,
                     (unsigned long long)d->manifest.data_bytes,
                     (unsigned long long)d->manifest.data_checksum);
}

/* All of the file is in the checkpoint: it is only looked at. */
static int look_at_data_file(struct durable *d, struct tarn_error *error)
{
    const struct os *os = d->directory.os;
    struct os_file_info info;
    int fd, status = os_open_data(os, d->store->options.path, &fd, &info, error);
    if (status != TARN_OK)
        return status;
    (void)os->close(os, fd);
    return info.size == d->manifest.data_bytes ? TARN_OK : stale(d, error);
}

int durable_open_data_file(struct durable *d, struct tarn_error *error)
{
    struct tarn *store = d->store;
    struct manifest *m = &d->manifest;
    struct pack *pack;
    int status = refuse(d, error);
    if (status != TARN_OK || store->options.path == NULL)
        return status;
    if (m->checkpoint_number != 0)
        return look_at_data_file(d, error);
    status = pack_open(d->directory.os, &store->options, false, &pack, error);
    if (status != TARN_OK)
        return status;
    atomic_store(&store->current, pack);
    table_charge(store->table, (int64_t)store_pack_bytes(store, pack));
    if (m->over_data && (pack->index->data_bytes != m->data_bytes ||
                         pack->index->data_checksum != m->data_checksum))
        return stale(d, error);
    m->over_data = true;
    m->data_bytes = pack->index->data_bytes;
    m->data_checksum = pack->index->data_checksum;
    return base_rest_on_pack(&d->base, pack, error);
}

/* --- the checkpoint --- */

/* Does what a checkpoint holds surely not fit in memory? */
static bool is_too_much(const struct tarn_options *options, const struct checkpoint_totals *totals)
{
    return options->memory_bytes_max != 0 && options->eviction == TARN_EVICT_NOTHING &&
           totals->payload_bytes > options->memory_bytes_max;
}

static int read_whole(struct recovery *r, const char *path, const struct tarn_options *options)
{
    struct checkpoint_about about;
    struct checkpoint_totals totals;
    return checkpoint_read(r->d->directory.os, path, r->d->manifest.checkpoint_checksum,
                           put_records, r, options->progress, options->progress_context, &about,
                           &totals, NULL, r->error);
}

/* Small ones are read now, others are rested on. */
static int use_checkpoint(struct recovery *r, const char *path, const struct tarn_options *options,
                          struct checkpoint_file *file, const struct checkpoint_about *about,
                          const struct checkpoint_totals *totals)
{
    struct durable *d = r->d;
    uint64_t load_max = options->load_bytes_max ? options->load_bytes_max : LOAD_BYTES_MAX;
    int status = TARN_OK;
    if (about->store_id != d->manifest.store_id || about->sequence != d->manifest.sequence)
        status =
            error_set(r->error, TARN_CORRUPT, "%s: not the checkpoint that MANIFEST means", path);
    else if (is_too_much(options, totals))
        status = does_not_fit(r);
    if (status != TARN_OK) {
        checkpoint_close(file);
        return status;
    }
    table_secret_set(d->store->table, about->secret);
    if (totals->bytes > load_max)
        return base_rest_on_checkpoint(&d->base, file, totals, r->error);
    checkpoint_close(file);
    return read_whole(r, path, options);
}

static int read_checkpoint(struct recovery *r, const struct tarn_options *options)
{
    struct durable *d = r->d;
    char name[DIRECTORY_NAME_BYTES];
    struct checkpoint_about about = {0};
    struct checkpoint_totals totals = {0};
    struct checkpoint_file *file;
    if (d->manifest.checkpoint_number == 0)
        return TARN_OK;
    directory_checkpoint_name(d->manifest.checkpoint_number, name);
    char *path = directory_path(&d->directory, name);
    if (path == NULL)
        return error_set(r->error, TARN_NOMEM, "%s: out of memory", d->directory.path);
    int status = checkpoint_open(d->directory.os, path, d->manifest.checkpoint_checksum, &file,
                                 &about, &totals, r->error);
    if (status == TARN_OK)
        status = use_checkpoint(r, path, options, file, &about, &totals);
    if (status == TARN_MISSING)
        status = error_set(r->error, TARN_CORRUPT, "%s is missing", path);
    d->stats.recovered_records = totals.records;
    d->stats.checkpoint_time_ms = about.time_ms;
    d->stats.checkpoint_sequence = about.sequence;
    d->stats.checkpoint_bytes = totals.bytes;
    d->stats.checkpoint_records = totals.records;
    free(path);
    return status;
}

/* The highest sequence of which it is known, outside the log, that it was synced. */
static int known_synced(struct durable *d, uint64_t *ret_sequence, struct tarn_error *error)
{
    const struct manifest *m = &d->manifest;
    int status = directory_read_synced(&d->directory, ret_sequence, error);
    if (status == TARN_OK && *ret_sequence < m->sequence_needed)
        *ret_sequence = m->sequence_needed;
    if (status == TARN_OK && m->closed && *ret_sequence < m->closed_sequence)
        *ret_sequence = m->closed_sequence;
    return status;
}

static int read_log(struct recovery *r, const struct tarn_options *options,
                    struct replay_result *ret_result)
{
    struct durable *d = r->d;
    struct replay_start start = {
        .directory = d->directory.path,
        .store_id = d->manifest.store_id,
        .after = d->manifest.sequence,
        .files = d->manifest.files,
        .first = d->manifest.first,
        .last = d->manifest.last,
        .closed = d->manifest.closed,
    };
    int status = known_synced(d, &start.synced_upto, r->error);
    if (status == TARN_OK)
        status = replay(d->directory.os, &start, apply_change, r, options->progress,
                        options->progress_context, ret_result, r->error);
    if (status == TARN_OK)
        status = apply_kept(r);
    /* Whoever published the manifest may have been killed before its name was durable: with power
     * lost now the one before would count again, and what it needs be gone. */
    if (status == TARN_OK)
        status = directory_sync(&d->directory, r->error);
    /* Of a step that is cut because it is not whole the first part may have been synced. Said
     * before it is cut, so that the log never ends before what counts as synced. */
    if (status == TARN_OK && ret_result->sequence < start.synced_upto)
        status = directory_lower_synced(&d->directory, ret_result->sequence, r->error);
    if (status == TARN_OK)
        status = replay_truncate(d->directory.os, &start, ret_result, r->error);
    return status;
}

static void note(struct durable *d, const struct replay_result *result, uint64_t start_ns)
{
    const struct os *os = d->directory.os;
    d->stats.replayed_records = result->records;
    d->stats.replayed_bytes = result->bytes;
    d->stats.truncated_bytes = result->truncated_bytes;
    d->stats.recovered_sequence = result->sequence;
    d->stats.recovery_us = (os->monotonic_ns(os) - start_ns) / 1000;
    d->stats.closed_cleanly = d->manifest.closed;
}

int durable_recover(struct durable *d, struct replay_end ret_ends[WAL_FILES_MAX],
                    uint64_t *ret_sequence, struct tarn_error *error)
{
    const struct os *os = d->directory.os;
    const struct tarn_options *options = &d->store->options;
    struct replay_result result = {.sequence = d->manifest.sequence};
    struct recovery r = {.d = d, .error = error};
    uint64_t start_ns = os->monotonic_ns(os);
    int status = tarn_session_open(d->store, &r.session, error);
    if (status != TARN_OK)
        return status;
    table_stop_time(d->store->table, d->manifest.time_ms);
    status = read_checkpoint(&r, options);
    if (status == TARN_OK)
        status = read_log(&r, options, &result);
    if (status == TARN_OK && table_fit(r.session->table) != TARN_OK)
        status = error_set(error, TARN_NOMEM, "%s: out of memory", d->directory.path);
    ahead_done(&r.ahead);
    tarn_session_close(r.session);
    if (status != TARN_OK)
        return status;
    directory_clean(&d->directory, &d->manifest);
    memcpy(ret_ends, result.ends, sizeof result.ends);
    for (unsigned i = 0; i < d->manifest.files; i++)
        if (ret_ends[i].number == 0 && d->manifest.first[i] > 0)
            ret_ends[i].number = d->manifest.first[i] - 1;
    *ret_sequence = result.sequence;
    note(d, &result, start_ns);
    return TARN_OK;
}
