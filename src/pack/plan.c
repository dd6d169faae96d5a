/* What a layout would cost.
 *
 * Every quantity is a sum of a few products; doc/plan.md derives them, the tests work some by hand.
 * Records are taken to be of one size, D / n, and keys to be asked for by zipf.
 *
 * Invariants:
 *  1. memory_bytes of a candidate is what it takes without any cache; it fits iff that is within
 *     the input's.
 *  2. A choice is deterministic: of equal total times the one tried first, which has the smaller
 *     index, stays.
 *
 * Failure modes: none but input out of range (plan_choose). */
#include "pack/plan.h"

#include <math.h>

#include "core/assert.h"
#include "core/number.h"
#include "pack/index.h"

static_assert(PLAN_GRANULE_LOG2_MIN == INDEX_GRANULE_LOG2_MIN &&
                  PLAN_GRANULE_LOG2_MAX == INDEX_GRANULE_LOG2_MAX &&
                  PLAN_FINGERPRINT_BITS_MAX == INDEX_FINGERPRINT_MAX,
              "what is tried can be built");

#define RIBBON_OVERHEAD 1.008 /* rows per key (doc/index.md) */
#define SHARD_KEYS      4096  /* an entry of 8 bytes each */
#define CHECKSUM_BYTES  4     /* of a block */
#define MIB             1048576.0
#define PAGE_TOP        8       /* in memory, a page: its first hash */
#define REWRITTEN_BLOCK 16384.0 /* doc/format-tarn.md; a directory entry of 16 bytes each */
#define REWRITTEN_ENTRY 16.0
#define SPILL_BYTES     11.0 /* a key on the temporary disk, written and read */
#define PAIR_BYTES      16.0 /* a key in memory while building */
#define ALIGNMENT       4096.0
/* Copies of records: the record, the rounding of its slot, item and bucket. */
#define CACHED_RECORD(bytes) ((bytes)*1.06 + 32)
#define FIXED_BYTES          (8.0 * MIB) /* program, sessions, buffers of connections */
/* Processor time, per key or byte (doc/index.md, "Measured"). */
#define PARSE_NS    35.0
#define SOLVE_NS    105.0
#define CHECKSUM_NS 0.1
#define SORT_NS     150.0
#define CACHED_US   1.0

const char *plan_layout_name(enum plan_layout layout)
{
    static const char *const names[] = {"memory", "blocks", "pages", "rewritten"};
    return names[layout];
}

struct plan_input plan_input_default(uint64_t data_bytes, uint64_t records, uint64_t memory_bytes,
                                     unsigned cores)
{
    struct plan_input input = {.data_bytes = data_bytes,
                               .records = records,
                               .memory_bytes = memory_bytes,
                               .cores = cores,
                               .queries = PLAN_QUERIES,
                               .theta = PLAN_THETA,
                               .missing_ratio = PLAN_MISSING_RATIO};
    int status = plan_disk_parse(bytes_of("hdd"), &input.disk, NULL);
    ASSERT(status == TARN_OK);
    return input;
}

static double record_bytes(const struct plan_input *input)
{
    return (double)input->data_bytes / (double)input->records;
}

static unsigned bits_for(uint64_t count)
{
    return count <= 2 ? 1 : 64 - (unsigned)__builtin_clzll(count - 1);
}

static double function_bytes(double keys, unsigned bits)
{
    return keys * bits * RIBBON_OVERHEAD / 8 + keys / SHARD_KEYS * 8;
}

/* --- memory and reads of each layout --- */

static void lay_memory(const struct plan_input *input, struct plan_candidate *c)
{
    c->location_bits = bits_for(input->data_bytes);
    double index = function_bytes((double)input->records, c->location_bits) +
                   (double)input->data_bytes * (8 / MIB + 1 / 255.0);
    c->index_bytes = (uint64_t)(index + (double)input->data_bytes);
    c->disk_bytes = (uint64_t)index;
}

/* Blocks have all bytes between them; where records are larger than a granule, not every granule
 * has one. The ends of a read are moved out to the next multiple of the device's block. */
static double block_bytes(const struct plan_input *input, unsigned granule_log2)
{
    return fmax(exp2(granule_log2), record_bytes(input)) + ALIGNMENT;
}

/* Where blocks begin, their checksums, those of each MiB. */
static double table_bytes(const struct plan_input *input, const struct plan_candidate *c,
                          uint64_t blocks)
{
    unsigned start_bytes = c->granule_log2 <= 15 ? 2 : 4;
    return (double)blocks * (start_bytes + CHECKSUM_BYTES) + (double)input->data_bytes * 8 / MIB;
}

static uint64_t block_count(const struct plan_input *input, unsigned granule_log2)
{
    return ((input->data_bytes - 1) >> granule_log2) + 1;
}

static void lay_blocks(const struct plan_input *input, struct plan_candidate *c)
{
    uint64_t blocks = block_count(input, c->granule_log2);
    double granule = exp2(c->granule_log2), n = (double)input->records;
    c->location_bits = bits_for(blocks);
    c->index_bytes = (uint64_t)(function_bytes(n, c->location_bits + c->fingerprint_bits) +
                                table_bytes(input, c, blocks));
    c->disk_bytes = c->index_bytes;
    c->read_bytes = block_bytes(input, c->granule_log2);
    c->reads_hit = 1;
    double with_records = (double)blocks * fmin(1, granule / record_bytes(input));
    c->reads_absent = with_records / exp2(c->location_bits) * exp2(-(double)c->fingerprint_bits);
}

static void lay_pages(const struct plan_input *input, struct plan_candidate *c)
{
    uint64_t blocks = block_count(input, c->granule_log2);
    c->location_bits = bits_for(blocks);
    unsigned entry = 8 + (c->location_bits + 7) / 8;
    unsigned entries = (INDEX_PAGE_BYTES - INDEX_PAGE_HEADER_BYTES) / entry;
    double pages = ceil((double)input->records / entries);
    c->index_bytes = (uint64_t)(pages * PAGE_TOP + table_bytes(input, c, blocks));
    c->disk_bytes = (uint64_t)(pages * INDEX_PAGE_BYTES) + c->index_bytes;
    c->read_bytes = (INDEX_PAGE_BYTES + block_bytes(input, c->granule_log2)) / 2;
    c->reads_hit = 2;
    c->reads_absent = 1;
}

static void lay_rewritten(const struct plan_input *input, struct plan_candidate *c)
{
    double block = fmax(REWRITTEN_BLOCK, record_bytes(input));
    c->index_bytes = (uint64_t)(ceil((double)input->data_bytes / block) * REWRITTEN_ENTRY);
    c->disk_bytes = input->data_bytes + c->index_bytes;
    c->read_bytes = block + ALIGNMENT;
    c->reads_hit = c->reads_absent = 1;
}

/* --- time to build --- */

static double cores_of(const struct plan_input *input)
{
    return input->cores ? input->cores : 1;
}

/* One pass of the data beside which all cores parse; then what was parsed is solved. */
static double index_s(const struct plan_input *input, const struct plan_candidate *c)
{
    double n = (double)input->records, data = (double)input->data_bytes;
    double parse = (n * PARSE_NS + data * CHECKSUM_NS) / 1e9 / cores_of(input);
    double spill = n * PAIR_BYTES > (double)input->memory_bytes / 2 ? 2 * n * SPILL_BYTES : 0;
    return fmax(data / input->disk.rate, parse) + n * SOLVE_NS / 1e9 / cores_of(input) +
           (spill + (double)c->disk_bytes) / input->disk.rate;
}

/* Read, written as sorted runs, read, written. */
static double rewrite_s(const struct plan_input *input)
{
    double n = (double)input->records, data = (double)input->data_bytes;
    return 4 * data / input->disk.rate + n * SORT_NS / 1e9 / cores_of(input);
}

static double build_s(const struct plan_input *input, const struct plan_candidate *c)
{
    return c->layout == PLAN_REWRITTEN ? rewrite_s(input) : index_s(input, c);
}

/* --- queries --- */

/* Of what is read, what is held at a time: large values come by pieces. */
static double held_bytes(const struct plan_candidate *c)
{
    double granule = c->granule_log2 > 0 ? exp2(c->granule_log2) : REWRITTEN_BLOCK;
    return fmin(c->read_bytes, granule + MIB + ALIGNMENT);
}

/* As many reads as the disk takes; fewer at a time where that were most of the memory. */
static double memory_least(const struct plan_input *input, const struct plan_candidate *c)
{
    double fixed = (double)c->index_bytes + FIXED_BYTES, one = held_bytes(c);
    if (c->layout == PLAN_MEMORY)
        return fixed;
    double room = ((double)input->memory_bytes - fixed) / 2;
    return fixed + fmax(one, fmin(input->disk.depth * one, room));
}

static double seconds_of(const struct plan_input *input, const struct plan_candidate *c)
{
    double queries = (double)(input->queries ? input->queries : PLAN_QUERIES);
    return c->build_s + queries * c->query_us / 1e6;
}

static void time_queries(const struct plan_input *input, struct plan_candidate *c)
{
    double queries = (double)(input->queries ? input->queries : PLAN_QUERIES);
    double present = 1 - input->missing_ratio;
    if (c->layout != PLAN_MEMORY)
        c->hit_ratio = plan_hit_ratio((double)input->records, input->theta,
                                      (double)c->cache_bytes / CACHED_RECORD(record_bytes(input)),
                                      queries * present);
    else
        c->hit_ratio = 1;
    c->reads_query =
        present * (1 - c->hit_ratio) * c->reads_hit + input->missing_ratio * c->reads_absent;
    c->latency_us = CACHED_US + c->reads_query * plan_disk_latency_us(&input->disk, c->read_bytes);
    c->query_us = CACHED_US / cores_of(input) +
                  c->reads_query * plan_disk_interval_us(&input->disk, c->read_bytes);
    c->total_s = seconds_of(input, c);
}

struct plan_candidate plan_evaluate(const struct plan_input *input, enum plan_layout layout,
                                    unsigned granule_log2, unsigned fingerprint_bits)
{
    static void (*const lay[])(const struct plan_input *, struct plan_candidate *) = {
        lay_memory, lay_blocks, lay_pages, lay_rewritten};
    bool granular = layout == PLAN_BLOCKS || layout == PLAN_PAGES;
    struct plan_candidate c = {.layout = layout,
                               .granule_log2 = granular ? granule_log2 : 0,
                               .fingerprint_bits = layout == PLAN_BLOCKS ? fingerprint_bits : 0};
    lay[layout](input, &c);
    double least = memory_least(input, &c);
    c.memory_bytes = (uint64_t)ceil(least);
    c.fits = c.memory_bytes <= input->memory_bytes;
    if (!c.fits)
        return c;
    c.cache_bytes = layout == PLAN_MEMORY ? 0 : input->memory_bytes - c.memory_bytes;
    c.build_s = build_s(input, &c);
    time_queries(input, &c);
    return c;
}

/* --- choosing --- */

static bool is_better(const struct plan_candidate *a, const struct plan_candidate *b)
{
    if (a->fits != b->fits)
        return a->fits;
    return a->fits ? a->total_s < b->total_s : a->memory_bytes < b->memory_bytes;
}

/* All of a granule: fingerprints are for blocks. */
static void try_granule(const struct plan_input *input, enum plan_layout layout, unsigned granule,
                        struct plan_candidate *best)
{
    unsigned bits_max = layout == PLAN_BLOCKS ? PLAN_FINGERPRINT_BITS_MAX : 0;
    for (unsigned bits = 0; bits <= bits_max; bits++) {
        struct plan_candidate c = plan_evaluate(input, layout, granule, bits);
        if (is_better(&c, best))
            *best = c;
        else if (!c.fits)
            break; /* more bits take more memory */
    }
}

struct plan_candidate plan_best_granule(const struct plan_input *input, enum plan_layout layout,
                                        unsigned granule_log2)
{
    struct plan_candidate best = plan_evaluate(input, layout, granule_log2, 0);
    try_granule(input, layout, granule_log2, &best);
    return best;
}

struct plan_candidate plan_best(const struct plan_input *input, enum plan_layout layout)
{
    struct plan_candidate best = plan_evaluate(input, layout, PLAN_GRANULE_LOG2_MAX, 0);
    if (layout == PLAN_BLOCKS || layout == PLAN_PAGES)
        for (unsigned g = PLAN_GRANULE_LOG2_MAX; g >= PLAN_GRANULE_LOG2_MIN; g--)
            try_granule(input, layout, g, &best);
    return best;
}

static int check_input(const struct plan_input *input, struct tarn_error *error)
{
    const char *wrong = NULL;
    if (input->data_bytes == 0)
        wrong = "the data is empty";
    else if (input->records == 0)
        wrong = "there is no record";
    else if (input->records > input->data_bytes)
        wrong = "there are more records than bytes";
    else if (input->memory_bytes == 0)
        wrong = "there is no memory";
    else if (!(input->theta >= 0 && input->theta <= 10))
        wrong = "theta must lie between 0 and 10";
    else if (!(input->missing_ratio >= 0 && input->missing_ratio <= 1))
        wrong = "the missing ratio must lie between 0 and 1";
    else if (input->disk.count == 0 || !(input->disk.rate > 0))
        wrong = "the disk is not described";
    return wrong ? error_set(error, TARN_INVALID, "no plan: %s", wrong) : TARN_OK;
}

int plan_choose(const struct plan_input *input, struct plan_candidate *ret_candidate,
                struct tarn_error *error)
{
    int status = check_input(input, error);
    if (status != TARN_OK)
        return status;
    struct plan_candidate best = plan_best(input, PLAN_MEMORY);
    for (enum plan_layout layout = PLAN_BLOCKS; layout <= PLAN_PAGES; layout++) {
        struct plan_candidate c = plan_best(input, layout);
        if (is_better(&c, &best))
            best = c;
    }
    if (!best.fits) {
        char have[32], need[32];
        return error_set(error, TARN_FULL,
                         "%s of memory are too little for this data: what takes least, %s, needs "
                         "%s",
                         number_format_size(input->memory_bytes, have),
                         plan_layout_name(best.layout),
                         number_format_size(best.memory_bytes, need));
    }
    *ret_candidate = best;
    return TARN_OK;
}
