/* Going through a data file on disk in its order. See disk_run.h.
 *
 * Invariants: (1) of a run only blocks are given whose checksum held. (2) A record counts if its
 * block is the first, in the order in which lookups try them, that has its key, and in the block it
 * is the last (FIRST: the first) of it. */
#include "pack/disk_run.h"

#include <inttypes.h>
#include <stdlib.h>

#include "core/bytes.h"
#include "pack/lookup_internal.h"

/* Where the run ends that begins with a block at `start`; *next_block: the first behind it. */
static uint64_t run_end(const struct index *index, uint64_t start, uint64_t bytes,
                        uint64_t *next_block)
{
    uint64_t end = start, offset, size;
    for (; *next_block < index->block_count; ++*next_block) {
        if (!index_block_range(index, *next_block, &offset, &size))
            continue;
        if (end > start && offset + size - start > bytes)
            break;
        end = offset + size;
    }
    return end;
}

/* Leave out what does not match its checksum, and all behind it. The first block: an error. */
static int check_blocks(struct disk_run *run, struct tarn_error *error)
{
    const struct index *index = run->pack->index;
    uint64_t offset, size;
    for (uint64_t b = run->first_block; b < run->next_block; b++) {
        if (!index_block_range(index, b, &offset, &size) ||
            index_block_checksum(run->data + (offset - run->start), (size_t)size) ==
                index->block_checksums[b])
            continue;
        run->end = offset;
        run->next_block = b;
        if (b > run->first_block)
            return TARN_OK;
        run->end += size;
        return lookup_corrupt(run->pack, offset, "a block does not match the index's checksum",
                              error);
    }
    return TARN_OK;
}

int disk_run_read(const struct disk_pack *pack, uint64_t block, uint64_t bytes,
                  struct disk_buffer *buffer, struct disk_run *ret_run, struct tarn_error *error)
{
    const struct index *index = pack->index;
    uint64_t offset, size = 0;
    while (block < index->block_count && !index_block_range(index, block, &offset, &size))
        block++;
    if (block >= index->block_count)
        return TARN_NOTFOUND;
    struct lookup l = {.pack = pack};
    *ret_run = (struct disk_run){pack, NULL, offset, offset, block, block};
    ret_run->end = run_end(index, offset, bytes, &ret_run->next_block);
    lookup_ask(&l, READING_BLOCK, pack->fd, offset, ret_run->end);
    int status = disk_reserve(pack, buffer, l.size, error);
    if (status != TARN_OK)
        return status;
    size_t got;
    int result = disk_read(pack->os, l.fd, buffer->data, l.size, l.needed, l.offset, &got);
    bool whole = result == 0 && got >= l.needed;
    if (!whole && ret_run->end > offset + size) /* one block only: others may be there */
        return disk_run_read(pack, block, 0, buffer, ret_run, error);
    if (result < 0)
        return lookup_failed(&l, result, error);
    ret_run->data = lookup_arrived(&l, buffer->data, got, error);
    return ret_run->data == NULL ? TARN_STALE : check_blocks(ret_run, error);
}

int disk_run_record(const struct disk_run *run, uint64_t at, struct record *ret_record,
                    struct tarn_error *error)
{
    struct tarn_bytes view = {run->data, (size_t)(run->end - run->start)};
    const struct index *index = run->pack->index;
    if (format_parse(&index->format, view, at - run->start, run->end == index->data_bytes,
                     ret_record) == FORMAT_OK)
        return TARN_OK;
    return lookup_corrupt(run->pack, at, "no record is where the index says that one starts",
                          error);
}

/* --- which records count --- */

void disk_live_init(struct disk_live *live)
{
    *live = (struct disk_live){.block = UINT64_MAX};
}

void disk_live_done(struct disk_live *live)
{
    disk_buffer_done(&live->buffer);
    free(live->slots);
    disk_live_init(live);
}

/* The slot of the key, or where it would be. Slots hold places from the block's start `start` on.
 */
static uint32_t *slot_of(const struct disk_live *live, const struct disk_run *run, uint64_t start,
                         struct tarn_bytes key)
{
    size_t mask = live->slots_count - 1;
    size_t slot = (size_t)index_hash(run->pack->index, key) & mask;
    struct record other;
    while (live->slots[slot] != 0 &&
           (disk_run_record(run, start + live->slots[slot] - 1, &other, NULL) != TARN_OK ||
            !bytes_equal(other.key, key)))
        slot = (slot + 1) & mask;
    return &live->slots[slot];
}

/* Records of the block, which lie in granule_bytes but for the last's end. */
static int count_records(const struct disk_run *run, uint64_t start, uint64_t size,
                         size_t *ret_count, struct tarn_error *error)
{
    struct record record;
    *ret_count = 0;
    for (uint64_t at = start; at < start + size; at += record.size, ++*ret_count) {
        int status = disk_run_record(run, at, &record, error);
        if (status != TARN_OK)
            return status;
    }
    return TARN_OK;
}

/* Note which of each key's records in this block counts there. */
static int note_block(struct disk_live *live, const struct disk_run *run, uint64_t block,
                      uint64_t start, uint64_t size, struct tarn_error *error)
{
    size_t count, slots = 16;
    struct record record;
    int status = count_records(run, start, size, &count, error);
    if (status != TARN_OK)
        return status;
    while (slots < 2 * count)
        slots *= 2;
    live->block = UINT64_MAX;
    if (slots > live->slots_capacity) {
        free(live->slots);
        live->slots = malloc(slots * sizeof *live->slots);
        live->slots_capacity = live->slots != NULL ? slots : 0;
    }
    if (live->slots == NULL)
        return error_set(error, TARN_NOMEM, "%s: out of memory", run->pack->path);
    live->slots_count = slots;
    memset(live->slots, 0, slots * sizeof *live->slots);
    bool first = run->pack->index->duplicates_policy == TARN_DUPLICATES_FIRST;
    for (uint64_t at = start; at < start + size; at += record.size) {
        status = disk_run_record(run, at, &record, error);
        if (status != TARN_OK)
            return status;
        uint32_t *slot = slot_of(live, run, start, record.key);
        if (*slot == 0 || !first)
            *slot = (uint32_t)(at - start) + 1;
    }
    live->block = block;
    return TARN_OK;
}

int disk_leads_to(const struct disk_pack *pack, struct disk_buffer *buffer, struct tarn_bytes key,
                  uint64_t block, struct tarn_error *error)
{
    struct lookup l;
    struct lookup_found found;
    int status = lookup_begin(pack, key, &l);
    while (status == LOOKUP_READ) {
        if (l.reading != READING_PAGE && l.number == block)
            return TARN_OK;
        status = disk_step(&l, buffer, &found, error);
    }
    return status == TARN_OK ? TARN_NOTFOUND : status;
}

int disk_live_check(struct disk_live *live, const struct disk_run *run, uint64_t at,
                    const struct record *record, struct tarn_error *error)
{
    const struct index *index = run->pack->index;
    uint64_t block = at >> index->granule_log2, start, size;
    if (index->duplicates == 0)
        return TARN_OK;
    if (!index_block_range(index, block, &start, &size) || start + size > run->end)
        return lookup_corrupt(run->pack, at, "a record is not in its block", error);
    if (block != live->block) {
        int status = note_block(live, run, block, start, size, error);
        if (status != TARN_OK)
            return status;
    }
    if (*slot_of(live, run, start, record->key) != at - start + 1)
        return TARN_NOTFOUND;
    return disk_leads_to(run->pack, &live->buffer, record->key, block, error);
}
