/* Scans and random keys of a pack on disk. See disk.h.
 *
 * A cursor is the byte of the data to go on from; any value is safe, since the scan goes on with
 * the next record that starts there. What one call needs is read at once, as far as it can be
 * guessed from the mean record.
 *
 * A random key: a random byte's block, in which each record is as likely as the other; a block is
 * given up for another if its records are few for its size, since it was drawn by its size. So a
 * record's chance is near 1 / records where records of like size lie everywhere, and after
 * RANDOM_READS it is what it is: records of blocks that have few are favoured. */
#include "core/assert.h"
#include "core/random.h"
#include "pack/disk_internal.h"
#include "pack/disk_run.h"
#include "pack/lookup_internal.h"

struct scan {
    struct disk_run run;
    struct disk_live live;
    uint64_t at, from; /* the next record of the run; records before `from` are passed over */
    uint64_t skip;     /* behind the record that cannot be judged; 0: the whole run */
    size_t left;
    tarn_visit visit;
    void *context;
};

static int scan_record(struct scan *s, struct tarn_error *error)
{
    struct record record;
    int status = disk_run_record(&s->run, s->at, &record, error);
    if (status != TARN_OK)
        return status;
    if (s->at >= s->from) {
        s->skip = s->at + record.size;
        status = disk_live_check(&s->live, &s->run, s->at, &record, error);
        if (status < TARN_OK)
            return status;
        s->left--;
        if (status == TARN_OK)
            s->visit(s->context, record.key, record.value);
        s->skip = 0;
    }
    s->at += record.size;
    return TARN_OK;
}

static int scan_run(struct scan *s, struct tarn_error *error)
{
    int status = TARN_OK;
    while (status == TARN_OK && s->left > 0 && s->at < s->run.end)
        status = scan_record(s, error);
    return status;
}

static int scan_blocks(const struct disk_pack *pack, uint64_t *cursor, struct scan *s,
                       struct disk_buffer *buffer, uint64_t *ret_skip, struct tarn_error *error)
{
    const struct index *index = pack->index;
    uint64_t block = *cursor >> index->granule_log2;
    int status = TARN_OK;
    while (s->left > 0 && status == TARN_OK) {
        s->run = (struct disk_run){.end = index->data_bytes};
        status =
            disk_run_read(pack, block, disk_run_bytes(index->data_bytes, index->records, s->left),
                          buffer, &s->run, error);
        if (status != TARN_OK)
            break;
        s->at = s->run.start;
        status = scan_run(s, error);
        *cursor = s->at > s->from ? s->at : s->from;
        block = s->run.next_block;
    }
    if (status == TARN_NOTFOUND || *cursor >= index->data_bytes) {
        *cursor = 0;
        return TARN_OK;
    }
    uint64_t skip = s->skip != 0 ? s->skip : s->run.end;
    if (status != TARN_OK && ret_skip != NULL)
        *ret_skip = skip < index->data_bytes ? skip : 0;
    return status;
}

int disk_scan(const struct disk_pack *pack, uint64_t *cursor, size_t count,
              struct disk_buffer *buffer, tarn_visit visit, void *context, uint64_t *ret_skip,
              struct tarn_error *error)
{
    struct scan s = {.from = *cursor, .left = count, .visit = visit, .context = context};
    ASSERT(count >= 1);
    if (pack->layout == DISK_HASHED)
        return disk_hashed_scan(pack, cursor, count, buffer, visit, context, ret_skip, error);
    disk_live_init(&s.live);
    int status = scan_blocks(pack, cursor, &s, buffer, ret_skip, error);
    disk_live_done(&s.live);
    return status;
}

/* --- random keys --- */

#define RANDOM_READS 8

/* The block that holds this byte of the data. */
static uint64_t block_around(const struct index *index, uint64_t at)
{
    uint64_t block = at >> index->granule_log2;
    while (block > 0 && (index_block_start(index, block) == INDEX_NO_START ||
                         index_block_start(index, block) > at))
        block--;
    return block;
}

static int count_block(const struct disk_run *run, uint64_t *ret_count, struct tarn_error *error)
{
    struct record record;
    int status = TARN_OK;
    *ret_count = 0;
    for (uint64_t at = run->start; at < run->end && status == TARN_OK; at += record.size) {
        status = disk_run_record(run, at, &record, error);
        ++*ret_count;
    }
    return status;
}

static int key_of_block(const struct disk_run *run, uint64_t number, struct tarn_bytes *ret_key,
                        struct tarn_error *error)
{
    struct record record;
    uint64_t at = run->start;
    int status = disk_run_record(run, at, &record, error);
    while (number-- > 0 && status == TARN_OK)
        status = disk_run_record(run, at += record.size, &record, error);
    *ret_key = record.key;
    return status;
}

/* Does a block of so many records, drawn by its size, stay? With twice the chance that it would
 * have if it were drawn by its records, at most 1. */
static bool stays(const struct disk_run *run, uint64_t count, uint64_t random)
{
    const struct index *index = run->pack->index;
    unsigned __int128 fair = (unsigned __int128)count * (index->data_bytes / index->records + 1)
                             << 31;
    return (uint32_t)random <= fair / (run->end - run->start);
}

int disk_random_key(const struct disk_pack *pack, uint64_t random, struct disk_buffer *buffer,
                    struct tarn_bytes *ret_key, struct tarn_error *error)
{
    const struct index *index = pack->index;
    int status = TARN_NOTFOUND;
    if (pack->layout == DISK_HASHED)
        return disk_hashed_random_key(pack, random, buffer, ret_key, error);
    if (index_keys(index) == 0)
        return TARN_NOTFOUND;
    for (unsigned i = 0; i < RANDOM_READS; i++) {
        struct disk_run run;
        uint64_t count;
        uint64_t at = random_below(random_next(&random), index->data_bytes);
        status = disk_run_read(pack, block_around(index, at), 0, buffer, &run, error);
        if (status != TARN_OK)
            continue; /* another block may be sound */
        status = count_block(&run, &count, error);
        if (status != TARN_OK)
            continue;
        status = key_of_block(&run, random_below(random_next(&random), count), ret_key, error);
        if (status == TARN_OK && stays(&run, count, random_next(&random)))
            break;
    }
    return status;
}
