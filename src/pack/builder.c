/* See builder.h.
 *
 * Invariants: (1) every record of the file is in exactly one partition list after the scan. (2) A
 * unit of solving is a range of whole partitions and of whole shards (ribbon_shard_count() sees to
 * that), so units share nothing. (3) The first failure wins; the other threads stop at their next
 * step. */
#include "pack/builder.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/assert.h"
#include "os/parallel.h"
#include "pack/blocks.h"
#include "pack/equal.h"
#include "pack/partitions.h"
#include "pack/reader.h"

/* More records in a shard than chance brings there: a key is repeated very often. (Of 6144 keys
 * expected at most, that many is over 100 standard deviations away.) */
#define SHARD_KEYS_CREDIBLE ((size_t)4 * RIBBON_SHARD_KEYS)

/* One solved shard, until it is laid out. */
struct solved {
    unsigned char *groups;
    size_t group_count;
    unsigned seed;
};

/* What one thread adds up. */
struct tally {
    struct partitions partitions;
    uint64_t records, key_bytes, value_bytes, record_bytes_min;
};

struct builder {
    const struct source *source;
    const struct builder_options *options;
    struct index *index; /* secret, format: set before the scan; the rest at the end */
    struct splitter splitter;
    struct tally *tallies; /* one a thread */
    uint64_t *checksums;
    unsigned char *sync;
    struct block_tables blocks; /* with a granule */

    uint64_t shard_count;
    struct solved *solved; /* one a shard */
    _Atomic uint64_t unit_next, units_done;
    uint64_t unit_count;

    _Atomic int status;     /* first failure */
    atomic_bool bad_record; /* it is about a record: the reader can say which */
    pthread_mutex_t lock;   /* guards error, equal */
    struct tarn_error error;
    struct equal_result equal;
};

static void fail(struct builder *b, int status, const struct tarn_error *error)
{
    pthread_mutex_lock(&b->lock);
    if (atomic_load(&b->status) == TARN_OK) {
        b->error = *error;
        b->error.status = status;
        atomic_store(&b->status, status);
    }
    pthread_mutex_unlock(&b->lock);
}

static void fail_memory(struct builder *b)
{
    struct tarn_error error;
    error_set(&error, TARN_NOMEM, "%s: out of memory while indexing", b->source->path);
    fail(b, TARN_NOMEM, &error);
}

/* Report from the calling thread only; a refusal cancels. */
static void progress(struct builder *b, unsigned thread, const char *phase, uint64_t done,
                     uint64_t total)
{
    const struct builder_options *o = b->options;
    if (thread != 0 || o->progress == NULL || o->progress(o->progress_context, phase, done, total))
        return;
    struct tarn_error error;
    error_set(&error, TARN_CANCELLED, "%s: indexing was cancelled", b->source->path);
    fail(b, TARN_CANCELLED, &error);
}

/* --- scan --- */

/* The records of one chunk. False: a bad record. */
static bool scan_chunk(struct builder *b, struct tally *t, const struct chunk *chunk)
{
    const struct index *index = b->index;
    bool at_end = chunk->offset + chunk->data.size == b->source->size;
    struct record record;
    struct block_walk walk;
    block_walk_begin(&walk, &b->blocks, chunk->data.data, chunk->offset);
    for (uint64_t at = 0; at < chunk->data.size; at += record.size) {
        if (format_parse(&index->format, chunk->data, at, at_end, &record) != FORMAT_OK) {
            struct tarn_error error;
            error_set(&error, TARN_CORRUPT, "%s: bad record", b->source->path);
            atomic_store(&b->bad_record, true);
            fail(b, TARN_CORRUPT, &error);
            return false;
        }
        if (index->granule_log2 > 0)
            block_walk_record(&walk, at);
        if (!partitions_drop(&t->partitions, index_hash(index, record.key), chunk->offset + at)) {
            fail_memory(b);
            return false;
        }
        t->records++;
        t->key_bytes += record.key.size;
        t->value_bytes += record.value.size;
        if (record.size < t->record_bytes_min)
            t->record_bytes_min = record.size;
    }
    block_walk_end(&walk, chunk->data.size);
    return true;
}

static void scan_thread(void *context, unsigned thread)
{
    struct builder *b = context;
    struct tally *t = &b->tallies[thread];
    struct chunk chunk = {0};
    struct tarn_error error;
    while (atomic_load(&b->status) == TARN_OK) {
        int status = splitter_next(&b->splitter, &chunk, &error);
        if (status == TARN_NOTFOUND)
            break;
        if (status != TARN_OK) {
            fail(b, status, &error);
            break;
        }
        if (!scan_chunk(b, t, &chunk))
            break;
        progress(b, thread, "reading", chunk.offset + chunk.data.size, b->source->size);
    }
    buffer_done(&chunk.buffer);
}

int builder_explain_bad_record(const struct source *source, const struct tarn_format *format,
                               struct tarn_error *error)
{
    struct reader *reader;
    struct record record;
    int status = reader_open(source->os, source->path, format, &reader, error);
    if (status != TARN_OK)
        return status;
    do
        status = reader_next(reader, &record, error);
    while (status == TARN_OK);
    reader_close(reader);
    if (status == TARN_NOTFOUND)
        return error_set(error, TARN_STALE, "%s: changed while it was being indexed", source->path);
    return status;
}

static int scan(struct builder *b, struct tarn_error *error)
{
    splitter_init(&b->splitter, b->source, &b->index->format, b->checksums, b->sync);
    b->splitter.granule_log2 = b->index->granule_log2;
    parallel_run(b->options->threads, scan_thread, b);
    if (atomic_load(&b->status) == TARN_OK)
        progress(b, 0, "reading", b->source->size, b->source->size);
    bool bad_record = b->splitter.bad_record || atomic_load(&b->bad_record);
    splitter_done(&b->splitter);
    int status = atomic_load(&b->status);
    if (status != TARN_OK) {
        if (bad_record)
            return builder_explain_bad_record(b->source, &b->index->format, error);
        if (error != NULL)
            *error = b->error;
        return status;
    }
    struct index *index = b->index;
    index->record_bytes_min = UINT64_MAX;
    for (unsigned i = 0; i < b->options->threads; i++) {
        const struct tally *t = &b->tallies[i];
        index->records += t->records;
        index->key_bytes_total += t->key_bytes;
        index->value_bytes_total += t->value_bytes;
        if (t->record_bytes_min < index->record_bytes_min)
            index->record_bytes_min = t->record_bytes_min;
    }
    if (index->records == 0)
        index->record_bytes_min = 0;
    return TARN_OK;
}

/* --- solve --- */

/* Memory of one solving thread. */
struct solver {
    struct ribbon_workspace *workspace;
    struct ribbon_pair *gathered, *sorted;
    size_t gathered_capacity, sorted_capacity;
};

/* Room for the pairs; never NULL on success, even for none. */
static bool reserve_pairs(struct ribbon_pair **pairs, size_t *capacity, size_t wanted)
{
    if (*pairs != NULL && wanted <= *capacity)
        return true;
    free(*pairs);
    *pairs = malloc((wanted + 1) * sizeof **pairs);
    *capacity = *pairs ? wanted : 0;
    return *pairs != NULL;
}

/* Take records with equal hashes out of the pairs. */
static int resolve_equal(struct builder *b, struct ribbon_pair *pairs, size_t *count,
                         struct tarn_error *error)
{
    pthread_mutex_lock(&b->lock);
    int status = equal_resolve(b->source, &b->index->format, b->options->duplicates, pairs, count,
                               &b->equal, error);
    pthread_mutex_unlock(&b->lock);
    return status;
}

/* With a granule equal hashes may have equal values, which any seed solves: they are looked for
 * before that; then locations become the values of blocks. */
static int resolve_blocks(struct builder *b, struct ribbon_pair *pairs, size_t *count,
                          struct tarn_error *error)
{
    int status = resolve_equal(b, pairs, count, error);
    for (size_t i = 0; i < *count; i++)
        pairs[i].value = index_value(b->index, pairs[i].hash, pairs[i].value);
    return status;
}

static int solve_shard(struct builder *b, struct solver *s, uint64_t shard,
                       struct ribbon_pair *pairs, size_t count, struct tarn_error *error)
{
    const unsigned char *groups;
    struct solved *solved = &b->solved[shard];
    unsigned bits = b->index->ribbon.bits;
    int status = b->index->granule_log2 > 0 ? resolve_blocks(b, pairs, &count, error) : TARN_OK;
    if (status != TARN_OK)
        return status;
    status = TARN_DUPLICATE;
    if (count <= SHARD_KEYS_CREDIBLE)
        status = ribbon_shard_build(s->workspace, pairs, count, bits, &groups, &solved->group_count,
                                    &solved->seed);
    if (status == TARN_DUPLICATE) {
        status = resolve_equal(b, pairs, &count, error);
        if (status != TARN_OK)
            return status;
        status = ribbon_shard_build(s->workspace, pairs, count, bits, &groups, &solved->group_count,
                                    &solved->seed);
    }
    if (status != TARN_OK)
        return error_set(error, status, "%s: cannot solve shard %" PRIu64 " of %zu keys: %s",
                         b->source->path, shard, count, tarn_status_text(status));
    solved->groups = malloc(solved->group_count * bits);
    if (solved->groups == NULL)
        return error_set(error, TARN_NOMEM, "%s: out of memory while indexing", b->source->path);
    memcpy(solved->groups, groups, solved->group_count * bits);
    return TARN_OK;
}

/* Sort `count` pairs by shard (first_shard..first_shard + shards) into s->sorted, and solve. */
static int solve_shards(struct builder *b, struct solver *s, uint64_t first_shard, uint64_t shards,
                        size_t count, struct tarn_error *error)
{
    size_t *ends = calloc(shards + 1, sizeof *ends);
    if (ends == NULL || !reserve_pairs(&s->sorted, &s->sorted_capacity, count)) {
        free(ends);
        return error_set(error, TARN_NOMEM, "%s: out of memory while indexing", b->source->path);
    }
    for (size_t i = 0; i < count; i++)
        ends[ribbon_shard_of(s->gathered[i].hash, b->shard_count) - first_shard + 1]++;
    for (uint64_t i = 0; i < shards; i++)
        ends[i + 1] += ends[i];
    for (size_t i = 0; i < count; i++) {
        uint64_t shard = ribbon_shard_of(s->gathered[i].hash, b->shard_count) - first_shard;
        s->sorted[ends[shard]++] = s->gathered[i]; /* ends[shard] was its start */
    }
    int status = TARN_OK;
    for (uint64_t i = 0; i < shards && status == TARN_OK; i++) {
        size_t start = i ? ends[i - 1] : 0;
        status = solve_shard(b, s, first_shard + i, s->sorted + start, ends[i] - start, error);
    }
    free(ends);
    return status;
}

static int solve_unit(struct builder *b, struct solver *s, uint64_t unit, struct tarn_error *error)
{
    unsigned partitions = (unsigned)(PARTITIONS / b->unit_count);
    unsigned first = (unsigned)unit * partitions;
    size_t count = 0;
    for (unsigned t = 0; t < b->options->threads; t++)
        for (unsigned p = first; p < first + partitions; p++)
            count += b->tallies[t].partitions.counts[p];
    if (!reserve_pairs(&s->gathered, &s->gathered_capacity, count))
        return error_set(error, TARN_NOMEM, "%s: out of memory while indexing", b->source->path);
    size_t taken = 0;
    for (unsigned t = 0; t < b->options->threads; t++)
        for (unsigned p = first; p < first + partitions; p++)
            taken += partitions_take(&b->tallies[t].partitions, p, s->gathered + taken);
    ASSERT(taken == count);
    uint64_t shards = b->shard_count / b->unit_count;
    if (shards == 1)
        return solve_shard(b, s, unit, s->gathered, count, error);
    return solve_shards(b, s, unit * shards, shards, count, error);
}

static void solve_thread(void *context, unsigned thread)
{
    struct builder *b = context;
    struct solver solver = {.workspace = ribbon_workspace_new()};
    struct tarn_error error;
    if (solver.workspace == NULL)
        fail_memory(b);
    while (atomic_load(&b->status) == TARN_OK) {
        uint64_t unit = atomic_fetch_add(&b->unit_next, 1);
        if (unit >= b->unit_count)
            break;
        int status = solve_unit(b, &solver, unit, &error);
        if (status != TARN_OK) {
            fail(b, status, &error);
            break;
        }
        progress(b, thread, "solving", atomic_fetch_add(&b->units_done, 1) + 1, b->unit_count);
    }
    free(solver.gathered);
    free(solver.sorted);
    ribbon_workspace_free(solver.workspace);
}

int builder_duplicate_error(const char *path, struct tarn_bytes key, uint64_t record, uint64_t at,
                            uint64_t of, struct tarn_error *error)
{
    struct buffer text = {0};
    size_t shown = key.size < 100 ? key.size : 100;
    buffer_append_escaped(&text, (struct tarn_bytes){key.data, shown});
    buffer_append_byte(&text, 0);
    int status = error_set_at(error, TARN_DUPLICATE, at, record,
                              "%s: record %" PRIu64 " at byte %" PRIu64
                              " repeats the key \"%s\"%s of the record at byte %" PRIu64,
                              path, record, at, text.failed ? "" : (char *)text.data,
                              shown < key.size ? "..." : "", of);
    buffer_done(&text);
    return status;
}

/* DUPLICATES_ERROR: name the first record that repeats a key. */
static int explain_duplicate(const struct builder *b, struct tarn_error *error)
{
    struct reader *reader;
    struct record record;
    int status = reader_open(b->source->os, b->source->path, &b->index->format, &reader, error);
    if (status != TARN_OK)
        return status;
    uint64_t number = 0, at = b->equal.repeat_location;
    while ((status = reader_next(reader, &record, error)) == TARN_OK && reader_offset(reader) < at)
        number++;
    if (status == TARN_OK)
        status = builder_duplicate_error(b->source->path, record.key, number, at,
                                         b->equal.repeat_of, error);
    else if (status == TARN_NOTFOUND)
        status =
            error_set(error, TARN_STALE, "%s: changed while it was being indexed", b->source->path);
    reader_close(reader);
    return status;
}

static int solve(struct builder *b, struct tarn_error *error)
{
    struct index *index = b->index;
    index->ribbon.bits = index_location_bits(index) + index->fingerprint_bits;
    if (index->ribbon.bits > RIBBON_BITS_MAX)
        return error_set(error, TARN_TOOBIG, "%s: data files over 2^%d bytes are not supported",
                         b->source->path, RIBBON_BITS_MAX);
    b->shard_count = ribbon_shard_count(index->records);
    b->unit_count = b->shard_count < PARTITIONS ? b->shard_count : PARTITIONS;
    b->solved = calloc(b->shard_count, sizeof *b->solved);
    if (b->solved == NULL)
        return error_set(error, TARN_NOMEM, "%s: out of memory while indexing", b->source->path);
    parallel_run(b->options->threads, solve_thread, b);
    if (atomic_load(&b->status) == TARN_OK)
        progress(b, 0, "solving", b->unit_count, b->unit_count);
    int status = atomic_load(&b->status);
    if (status != TARN_OK && error != NULL)
        *error = b->error;
    if (status == TARN_OK && b->equal.duplicates > 0 &&
        b->options->duplicates == TARN_DUPLICATES_ERROR)
        status = explain_duplicate(b, error);
    return status;
}

/* --- join --- */

static int compare_exceptions(const void *a, const void *b)
{
    const struct index_exception *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->location < y->location ? -1 : x->location > y->location;
}

static int join(struct builder *b, struct tarn_error *error)
{
    struct index *index = b->index;
    unsigned bits = index->ribbon.bits;
    uint64_t groups = 0;
    for (uint64_t s = 0; s < b->shard_count; s++)
        groups += b->solved[s].group_count;
    index->duplicates = b->equal.duplicates;
    index->exception_count = b->equal.exception_count;
    index->ribbon.shard_count = b->shard_count;
    index->ribbon.groups_bytes = groups * bits;
    index->data_checksum = hash_checksum(
        b->checksums, checksum_block_count(index->data_bytes) * sizeof *b->checksums, 0);

    bool fits = index_attach(index, NULL);
    ASSERT(fits); /* the counts are our own */
    int status = index_body_map(index, error);
    if (status != TARN_OK) {
        error_prepend(error, "%s", b->source->path);
        return status;
    }

    /* The body is ours to write until it is handed out; its view in struct index is const. */
    char *body = index->body;
    uint64_t *shards = (void *)(body + ((const char *)index->ribbon.shards - body));
    unsigned char *out = (void *)(body + ((const char *)index->ribbon.groups - body));
    char *exceptions = body + ((const char *)index->exceptions - body);
    uint64_t group = 0;
    for (uint64_t s = 0; s < b->shard_count; s++) {
        struct solved *solved = &b->solved[s];
        shards[s] = group << 8 | solved->seed;
        memcpy(out + group * bits, solved->groups, solved->group_count * bits);
        group += solved->group_count;
        free(solved->groups);
        solved->groups = NULL;
    }
    shards[b->shard_count] = group << 8;
    if (b->equal.exception_count > 0) {
        for (size_t i = 0; i < b->equal.exception_count; i++)
            b->equal.exceptions[i].location >>= index->granule_log2;
        qsort(b->equal.exceptions, b->equal.exception_count, sizeof *b->equal.exceptions,
              compare_exceptions);
        memcpy(exceptions, b->equal.exceptions,
               b->equal.exception_count * sizeof *b->equal.exceptions);
    }
    memcpy(body + ((const char *)index->checksums - body), b->checksums,
           checksum_block_count(index->data_bytes) * sizeof *b->checksums);
    if (index->sync != NULL)
        memcpy(body + ((const char *)index->sync - body), b->sync, index_sync_count(index));
    block_tables_copy(&b->blocks, index, body);
    ASSERT(ribbon_check(&index->ribbon));
    return TARN_OK;
}

/* --- all --- */

static int prepare(struct builder *b, struct tarn_error *error)
{
    const struct builder_options *o = b->options;
    struct index *index = calloc(1, sizeof *index);
    b->index = index;
    if (index == NULL)
        return error_set(error, TARN_NOMEM, "%s: out of memory while indexing", b->source->path);
    index->os = b->source->os;
    index->format = o->format;
    index->duplicates_policy = o->duplicates;
    index->data_bytes = b->source->size;
    index->data_mtime_ns = o->data_mtime_ns;
    index->hash_mask = o->hash_mask ? o->hash_mask : UINT64_MAX;
    index->granule_log2 = o->granule_log2;
    index->fingerprint_bits = o->fingerprint_bits;
    uint64_t sync_bytes = index_sync_count(index);
    b->tallies = calloc(o->threads, sizeof *b->tallies);
    b->checksums = calloc(checksum_block_count(b->source->size) + 1, sizeof *b->checksums);
    b->sync = sync_bytes ? malloc(sync_bytes) : NULL;
    if (b->tallies == NULL || b->checksums == NULL || (sync_bytes && b->sync == NULL) ||
        block_tables_init(&b->blocks, index) != TARN_OK)
        return error_set(error, TARN_NOMEM, "%s: out of memory while indexing", b->source->path);
    for (unsigned i = 0; i < o->threads; i++)
        b->tallies[i].record_bytes_min = UINT64_MAX;
    int result = index->os->entropy(index->os, index->secret, sizeof index->secret);
    if (result < 0)
        return os_error(error, result, "cannot get random bytes for", b->source->path);
    return TARN_OK;
}

static void builder_done(struct builder *b)
{
    for (unsigned i = 0; b->tallies != NULL && i < b->options->threads; i++)
        partitions_done(&b->tallies[i].partitions);
    for (uint64_t s = 0; b->solved != NULL && s < b->shard_count; s++)
        free(b->solved[s].groups);
    equal_result_done(&b->equal);
    free(b->tallies);
    free(b->solved);
    free(b->checksums);
    free(b->sync);
    block_tables_done(&b->blocks);
    index_free(b->index);
    pthread_mutex_destroy(&b->lock);
}

int builder_run(const struct source *source, const struct builder_options *options,
                struct index **ret_index, struct builder_report *ret_report,
                struct tarn_error *error)
{
    ASSERT(options->threads >= 1 && options->format.kind != TARN_FORMAT_AUTO);
    const struct os *os = source->os;
    struct builder b = {.source = source, .options = options};
    pthread_mutex_init(&b.lock, NULL);
    equal_result_init(&b.equal);
    uint64_t start = os->monotonic_ns(os), scanned = start;
    int status = prepare(&b, error);
    if (status == TARN_OK)
        status = scan(&b, error);
    if (status == TARN_OK) {
        scanned = os->monotonic_ns(os);
        status = solve(&b, error);
    }
    if (status == TARN_OK)
        status = join(&b, error);
    if (status == TARN_OK) {
        *ret_report = (struct builder_report){
            .collisions = b.equal.exception_count,
            .scan_us = (scanned - start) / 1000,
            .solve_us = (os->monotonic_ns(os) - scanned) / 1000,
        };
        *ret_index = b.index;
        b.index = NULL;
    }
    builder_done(&b);
    return status;
}
