/* See external_fit.h. Scanning needs the tables of blocks, what is read ahead, a chunk for each
 * thread, and a buffer for each partition; solving, after all of that is given back, two times a
 * unit's pairs. Each buffer is as large as memory allows, within what is of use. */
#include "pack/external_fit.h"

#include "pack/feed.h"
#include "pack/spill.h"

#define FIXED_BYTES         (6ull << 20) /* the program, stacks, small things */
#define STAGED_BYTES        (32 * sizeof(struct ribbon_pair)) /* a thread and partition */
#define SPILL_BUFFER_LEAST  (8u << 10)
#define SPILL_BUFFER_MOST   (1u << 20)
#define SERVING_FIXED_BYTES (4ull << 20)

static uint64_t granules(uint64_t data_bytes, unsigned granule_log2)
{
    return (data_bytes >> granule_log2) + 1;
}

uint64_t fit_tables_bytes(uint64_t data_bytes, unsigned granule_log2)
{
    unsigned start_bytes = granule_log2 < 16 ? 2 : 4;
    return granules(data_bytes, granule_log2) * (start_bytes + 4) + 8 * (data_bytes >> 20) + 8;
}

/* What does not depend on partitions. A chunk: a block of the splitter, and the rest of a granule
 * or record before it. */
static uint64_t scan_bytes(const struct fit_input *in, size_t feed_buffer)
{
    uint64_t rest = 1ull << in->granule_log2;
    if (rest < in->record_bytes_max)
        rest = in->record_bytes_max;
    uint64_t chunk = CHECKSUM_BLOCK_BYTES + rest + CHECKSUM_BLOCK_BYTES / 2;
    return FIXED_BYTES + fit_tables_bytes(in->data_bytes, in->granule_log2) +
           FEED_BUFFERS * (uint64_t)feed_buffer + (in->threads + 1) * chunk;
}

static uint64_t partition_bytes(const struct fit_input *in, size_t buffer)
{
    return buffer + in->threads * STAGED_BYTES;
}

static uint64_t least(const struct fit_input *in)
{
    unsigned log2 = in->partitions_log2 ? in->partitions_log2 : FIT_PARTITIONS_LOG2_MIN;
    return scan_bytes(in, FEED_BUFFER_BYTES_MIN) +
           (partition_bytes(in, SPILL_BUFFER_LEAST) << log2);
}

/* The fewest partitions of which two fit, as far as their buffers fit too. */
static unsigned choose_partitions(const struct fit_input *in, uint64_t left)
{
    unsigned log2 = FIT_PARTITIONS_LOG2_MIN;
    while (log2 < FIT_PARTITIONS_LOG2_MAX &&
           (in->records >> log2) > in->memory_bytes / 3 / (2 * sizeof(struct ribbon_pair)) &&
           partition_bytes(in, SPILL_BUFFER_LEAST) << (log2 + 1) <= left)
        log2++;
    return log2;
}

bool fit_build(const struct fit_input *in, struct fit *f, uint64_t *ret_needed)
{
    *ret_needed = least(in);
    if (*ret_needed > in->memory_bytes)
        return false;
    size_t feed = FEED_BUFFER_BYTES;
    while (feed > FEED_BUFFER_BYTES_MIN &&
           (feed * FEED_BUFFERS > in->memory_bytes / 4 ||
            *ret_needed - scan_bytes(in, FEED_BUFFER_BYTES_MIN) + scan_bytes(in, feed) >
                in->memory_bytes))
        feed /= 2;
    uint64_t left = in->memory_bytes - scan_bytes(in, feed);
    f->feed_buffer_bytes = feed;
    f->partitions_log2 = in->partitions_log2 ? in->partitions_log2 : choose_partitions(in, left);
    size_t buffer = SPILL_BUFFER_MOST;
    while (buffer > SPILL_BUFFER_LEAST && partition_bytes(in, buffer) << f->partitions_log2 > left)
        buffer /= 2;
    f->spill_buffer_bytes = buffer;
    f->unit_bytes = (in->memory_bytes - FIXED_BYTES) / 3;
    return true;
}

uint64_t fit_serving_bytes(uint64_t data_bytes, uint64_t keys, enum index_layout layout,
                           unsigned granule_log2, unsigned fingerprint_bits)
{
    uint64_t bytes = SERVING_FIXED_BYTES + fit_tables_bytes(data_bytes, granule_log2);
    struct index sizes = {.data_bytes = data_bytes, .granule_log2 = granule_log2};
    sizes.ribbon.bits = index_location_bits(&sizes);
    if (layout == INDEX_PAGES)
        return bytes + (keys / index_page_entries(&sizes) + 1) * 8;
    double bits = (double)keys * (sizes.ribbon.bits + fingerprint_bits) * 1.008;
    return bytes + (uint64_t)(bits / 8) + keys / RIBBON_SHARD_KEYS * 8;
}

struct fit_units fit_units(uint64_t records, uint64_t partition_records_max,
                           unsigned partitions_log2, uint64_t unit_bytes)
{
    uint64_t units = 1ull << partitions_log2, pairs = unit_bytes / sizeof(struct ribbon_pair);
    /* Parts of a partition are about equal, but for chance: an eighth more. */
    uint64_t part = partition_records_max + partition_records_max / 8;
    while (part > pairs && units < 1ull << 24 && part > RIBBON_SHARD_KEYS) {
        units *= 2;
        part /= 2;
    }
    uint64_t wanted = (records + RIBBON_SHARD_KEYS / 2) / RIBBON_SHARD_KEYS;
    if (wanted >= units)
        return (struct fit_units){(wanted + units / 2) / units * units, units};
    uint64_t power = 1;
    while (power < units && power * RIBBON_SHARD_KEYS * 3 / 2 < records)
        power *= 2;
    return (struct fit_units){power, power};
}
