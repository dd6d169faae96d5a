/* The scan of an external build: records into partitions of the spill file, blocks into tables.
 *
 * How: rounds of some GiB. In a round threads take chunks of whole blocks from a splitter, which
 * gets its bytes read ahead; a thread keeps some pairs for each partition before it takes the
 * partition's lock. Between rounds all that was found is put into the spill file, the tables too,
 * and the state is written; so a scan that is stopped goes on from the last round.
 *
 * Failure modes: bad records, which are named by reading from the start; a file that changes; what
 * reading and writing can fail with. */
#include <stdlib.h>

#include "core/codec.h"
#include "os/parallel.h"
#include "pack/builder.h"
#include "pack/external_internal.h"

#define ROUND_BYTES  (16ull << 30)
#define STAGED_PAIRS 32

/* What one thread has not put into the spill file yet, and what it counts. */
struct scanner {
    struct external *x;
    struct ribbon_pair (*staged)[STAGED_PAIRS]; /* of each partition */
    unsigned char *counts;                      /* of those */
    uint64_t records, key_bytes, value_bytes, record_bytes_min;
};

struct round {
    struct external *x;
    uint64_t end; /* chunks are taken up to here */
    _Atomic uint64_t done;
    pthread_mutex_t lock; /* guards the index's sums */
};

static bool append(struct external *x, unsigned stream, const void *data, size_t size)
{
    struct tarn_error error;
    int status = spill_append(&x->spill, stream, data, size, &error);
    if (status != TARN_OK)
        external_fail(x, status, &error);
    return status == TARN_OK;
}

static inline bool stage(struct scanner *s, unsigned partition, struct ribbon_pair pair)
{
    unsigned count = s->counts[partition];
    s->staged[partition][count++] = pair;
    s->counts[partition] = (unsigned char)count;
    if (count < STAGED_PAIRS)
        return true;
    s->counts[partition] = 0;
    return append(s->x, partition, s->staged[partition], sizeof s->staged[partition]);
}

/* Another hash of the key, of which a pair has some bits: see external_pairs.c. */
static inline uint64_t check_hash(const struct index *index, struct tarn_bytes key)
{
    return XXH3_64bits_withSeed(key.data, key.size, load_u64le(index->secret));
}

/* The records of one chunk. False: failed. */
static bool scan_chunk(struct scanner *s, const struct chunk *chunk)
{
    struct external *x = s->x;
    const struct index *index = &x->index;
    unsigned shift = 64 - x->fit.partitions_log2, check_bits = x->check_bits;
    uint64_t check_mask = (1ull << check_bits) - 1;
    bool at_end = chunk->offset + chunk->data.size == x->source.size;
    struct block_walk walk;
    struct record record;
    block_walk_begin(&walk, &x->tables, chunk->data.data, chunk->offset);
    for (uint64_t at = 0; at < chunk->data.size; at += record.size) {
        if (format_parse(&index->format, chunk->data, at, at_end, &record) != FORMAT_OK) {
            struct tarn_error error;
            atomic_store(&x->bad_record, true);
            error_set(&error, TARN_CORRUPT, "%s: bad record", x->source.path);
            external_fail(x, TARN_CORRUPT, &error);
            return false;
        }
        block_walk_record(&walk, at);
        uint64_t hash = index_hash(index, record.key);
        uint64_t block = (chunk->offset + at) >> index->granule_log2;
        uint64_t check = check_hash(index, record.key) & check_mask;
        if (!stage(s, (unsigned)(hash >> shift),
                   (struct ribbon_pair){hash, block << check_bits | check}))
            return false;
        s->records++;
        s->key_bytes += record.key.size;
        s->value_bytes += record.value.size;
        if (record.size < s->record_bytes_min)
            s->record_bytes_min = record.size;
    }
    block_walk_end(&walk, chunk->data.size);
    return true;
}

static void scan_chunks(struct scanner *s, struct round *round, unsigned thread)
{
    struct external *x = s->x;
    struct chunk chunk = {0};
    struct tarn_error error;
    while (atomic_load(&x->status) == TARN_OK && atomic_load(&round->done) < round->end) {
        int status = splitter_next(&x->splitter, &chunk, &error);
        if (status == TARN_NOTFOUND)
            break;
        if (status != TARN_OK)
            external_fail(x, status, &error);
        if (status != TARN_OK || !scan_chunk(s, &chunk))
            break;
        uint64_t end = chunk.offset + chunk.data.size, done = atomic_load(&round->done);
        while (done < end && !atomic_compare_exchange_weak(&round->done, &done, end))
            ;
        if (thread == 0)
            external_progress(x, "reading", end, x->source.size);
    }
    buffer_done(&chunk.buffer);
}

static void add_up(struct round *round, const struct scanner *s)
{
    struct index *index = &round->x->index;
    pthread_mutex_lock(&round->lock);
    index->records += s->records;
    index->key_bytes_total += s->key_bytes;
    index->value_bytes_total += s->value_bytes;
    if (s->record_bytes_min < index->record_bytes_min)
        index->record_bytes_min = s->record_bytes_min;
    pthread_mutex_unlock(&round->lock);
}

static void scan_thread(void *context, unsigned thread)
{
    struct round *round = context;
    struct external *x = round->x;
    unsigned partitions = 1u << x->fit.partitions_log2;
    struct scanner s = {.x = x, .record_bytes_min = UINT64_MAX};
    struct tarn_error error;
    s.staged = malloc(partitions * sizeof *s.staged);
    s.counts = calloc(partitions, 1);
    if (s.staged != NULL && s.counts != NULL) {
        scan_chunks(&s, round, thread);
        for (unsigned p = 0; p < partitions; p++)
            if (s.counts[p] > 0 && !append(x, p, s.staged[p], s.counts[p] * sizeof **s.staged))
                break;
        add_up(round, &s);
    } else {
        external_no_memory(x, &error);
        external_fail(x, TARN_NOMEM, &error);
    }
    free(s.staged);
    free(s.counts);
}

/* --- tables --- */

/* Entries of the tables that a scan up to `offset` has filled. */
static void tables_until(const struct external *x, uint64_t offset, uint64_t *ret_block,
                         uint64_t *ret_checksum)
{
    bool all = offset == x->source.size;
    *ret_block = all ? x->tables.count : offset >> x->tables.granule_log2;
    *ret_checksum = all ? checksum_block_count(offset) : offset >> CHECKSUM_BLOCK_BYTES_LOG2;
}

/* Put what is new in the tables, up to `offset`, into the spill file. */
static int spill_tables(struct external *x, uint64_t offset, struct tarn_error *error)
{
    const struct block_tables *t = &x->tables;
    uint64_t block, sum, from = x->tables_block;
    tables_until(x, offset, &block, &sum);
    size_t width = t->starts16 != NULL ? sizeof *t->starts16 : sizeof *t->starts32;
    const char *starts =
        t->starts16 != NULL ? (const char *)t->starts16 : (const char *)t->starts32;
    int status = spill_append(&x->spill, external_stream(x, STREAM_STARTS), starts + from * width,
                              (block - from) * width, error);
    if (status == TARN_OK)
        status = spill_append(&x->spill, external_stream(x, STREAM_BLOCK_CHECKSUMS),
                              t->checksums + from, (block - from) * sizeof *t->checksums, error);
    if (status == TARN_OK)
        status = spill_append(&x->spill, external_stream(x, STREAM_CHECKSUMS),
                              x->checksums + x->tables_checksum,
                              (sum - x->tables_checksum) * sizeof *x->checksums, error);
    x->tables_block = block;
    x->tables_checksum = sum;
    return status;
}

/* Where a stream's bytes go. */
struct filling {
    struct external *x;
    unsigned char *at;
    uint64_t left;
};

static int take_bytes(void *context, struct tarn_bytes piece, struct tarn_error *error)
{
    struct filling *f = context;
    if (piece.size > f->left)
        return error_set(error, TARN_CORRUPT, "%s: not what it was; begin anew with --restart",
                         f->x->spill_path);
    memcpy(f->at, piece.data, piece.size);
    f->at += piece.size;
    f->left -= piece.size;
    return TARN_OK;
}

static int fill(struct external *x, enum spill_stream stream, void *out, uint64_t bytes,
                struct tarn_error *error)
{
    struct filling f = {x, out, bytes};
    struct buffer buffer = {0};
    unsigned number = external_stream(x, stream);
    int status = spill_read(&x->spill, number, number, &buffer, take_bytes, &f, error);
    buffer_done(&buffer);
    if (status == TARN_OK && f.left > 0)
        status = error_set(error, TARN_CORRUPT, "%s: not what it was; begin anew with --restart",
                           x->spill_path);
    return status;
}

/* The tables of a scan that is gone on with. */
static int fill_tables(struct external *x, struct tarn_error *error)
{
    struct block_tables *t = &x->tables;
    size_t width = t->starts16 != NULL ? sizeof *t->starts16 : sizeof *t->starts32;
    tables_until(x, x->counts.offset, &x->tables_block, &x->tables_checksum);
    spill_group(&x->spill);
    int status =
        fill(x, STREAM_STARTS, t->starts16 != NULL ? (void *)t->starts16 : (void *)t->starts32,
             x->tables_block * width, error);
    if (status == TARN_OK)
        status = fill(x, STREAM_BLOCK_CHECKSUMS, t->checksums,
                      x->tables_block * sizeof *t->checksums, error);
    if (status == TARN_OK)
        status = fill(x, STREAM_CHECKSUMS, x->checksums, x->tables_checksum * sizeof *x->checksums,
                      error);
    return status;
}

/* --- rounds --- */

/* Why threads stopped. */
static int failure(struct external *x, struct tarn_error *error)
{
    int status = atomic_load(&x->status);
    if (status != TARN_OK && (x->splitter.bad_record || atomic_load(&x->bad_record)))
        return builder_explain_bad_record(&x->source, &x->index.format, error);
    if (status != TARN_OK && error != NULL)
        *error = x->error;
    return status;
}

/* One round, and what it found onto the disk: also when it was cancelled, since every chunk that
 * was taken is done then. */
static int scan_round(struct external *x, struct tarn_error *error)
{
    uint64_t bytes = x->settings->round_bytes ? x->settings->round_bytes : ROUND_BYTES;
    struct round round = {.x = x, .done = x->counts.offset};
    uint64_t began = x->os->monotonic_ns(x->os);
    if (__builtin_add_overflow(x->counts.offset, bytes, &round.end))
        round.end = UINT64_MAX;
    pthread_mutex_init(&round.lock, NULL);
    parallel_run(x->threads, scan_thread, &round);
    pthread_mutex_destroy(&round.lock);
    int status = failure(x, error);
    if (status != TARN_OK && status != TARN_CANCELLED)
        return status;
    x->counts.offset = splitter_offset(&x->splitter);
    x->counts.scan_us += (x->os->monotonic_ns(x->os) - began) / 1000;
    int saved = spill_tables(x, x->counts.offset, status == TARN_OK ? error : NULL);
    if (saved == TARN_OK)
        saved = external_save(x, status == TARN_OK ? error : NULL);
    return status != TARN_OK ? status : saved;
}

static int open_scan(struct external *x, struct feed *feed, struct tarn_error *error)
{
    uint64_t offset = x->counts.offset;
    struct os_file_info info;
    x->checksums = calloc(checksum_block_count(x->source.size) + 1, sizeof *x->checksums);
    if (x->checksums == NULL || block_tables_init(&x->tables, &x->index) != TARN_OK)
        return external_no_memory(x, error);
    int status = offset > 0 ? fill_tables(x, error) : TARN_OK;
    if (status == TARN_OK)
        status = feed_open(feed, x->os, x->source.path, offset & ~(CHECKSUM_BLOCK_BYTES - 1),
                           x->source.size, x->fit.feed_buffer_bytes, error);
    if (status != TARN_OK)
        return status;
    int result = x->os->file_info(x->os, feed->fd, &info);
    if (result < 0)
        return os_error(error, result, "cannot examine", x->source.path);
    if (info.inode != x->info.inode || info.device != x->info.device)
        return error_set(error, TARN_STALE, "%s: was replaced while it was read", x->source.path);
    x->splitter.feed = feed;
    x->splitter.checksums = x->checksums;
    x->splitter.granule_log2 = x->index.granule_log2;
    return splitter_seek(&x->splitter, offset, error);
}

int external_scan(struct external *x, struct tarn_error *error)
{
    struct feed feed = {0};
    splitter_init(&x->splitter, &x->source, &x->index.format, NULL, NULL);
    if (x->counts.offset == 0)
        x->index.record_bytes_min = UINT64_MAX;
    int status = open_scan(x, &feed, error);
    while (status == TARN_OK && x->counts.offset < x->source.size)
        status = scan_round(x, error);
    if (status == TARN_OK)
        external_progress(x, "reading", x->source.size, x->source.size);
    feed_close(&feed);
    splitter_done(&x->splitter);
    free(x->checksums);
    x->checksums = NULL;
    block_tables_done(&x->tables);
    return status;
}
