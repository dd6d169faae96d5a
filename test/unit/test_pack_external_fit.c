/* Goal: an index build divides its memory so that it stays within it, and its hashes so that units
 * fit and shards have the right size, for any number of records and bytes; what is chosen fits, and
 * what does not is refused with what would.
 * Method: walks over sizes up to 2^60 bytes and 2^40 records, each result held against the bounds;
 * no data at all, so that arithmetic beyond 32 bits is tested in a moment. */
#include "lib/test.h"

#include <string.h>

#include "pack/external_choose.h"
#include "pack/feed.h"

#define GIB (1ull << 30)

static void memory_is_divided(void **context)
{
    (void)context;
    for (uint64_t memory = 8u << 20; memory <= 64 * GIB; memory += memory / 3) {
        for (unsigned size = 0; size <= 50; size += 5) {
            for (uint64_t records = 1; records <= 1ull << 40; records *= 37) {
                struct fit f = {0};
                uint64_t needed = 0;
                struct fit_input in = {
                    .memory_bytes = memory,
                    .data_bytes = 1ull << size,
                    .records = records,
                    .record_bytes_max = 1000,
                    .threads = 1 + size % 8,
                    .granule_log2 = 16,
                };
                bool fits = fit_build(&in, &f, &needed);
                assert_true(needed > fit_tables_bytes(in.data_bytes, 16));
                if (!fits) {
                    assert_true(needed > memory);
                    in.memory_bytes = needed; /* what is asked for would do */
                    assert_true(fit_build(&in, &f, &needed));
                }
                uint64_t partitions = 1ull << f.partitions_log2;
                assert_true(f.partitions_log2 >= 8 && f.partitions_log2 <= 12);
                assert_true(fit_tables_bytes(in.data_bytes, 16) +
                                FEED_BUFFERS * f.feed_buffer_bytes +
                                partitions * f.spill_buffer_bytes <=
                            in.memory_bytes);
                assert_true(2 * f.unit_bytes < in.memory_bytes);
                assert_true(f.feed_buffer_bytes % 4096 == 0 && f.spill_buffer_bytes % 4096 == 0);
            }
        }
    }
}

static void hashes_are_divided(void **context)
{
    (void)context;
    for (unsigned partitions = 1; partitions <= 12; partitions++) {
        for (uint64_t records = 0; records <= 1ull << 42; records += 1 + records / 5) {
            for (uint64_t unit = 1u << 18; unit <= 4 * GIB; unit *= 64) {
                uint64_t most = (records >> partitions) + (records >> partitions) / 100 + 1;
                struct fit_units u = fit_units(records, most, partitions, unit);
                assert_true(u.units > 0 && (u.units & (u.units - 1)) == 0);
                assert_int_equal(u.shards % u.units, 0);
                uint64_t mean = records / u.shards;
                assert_true(mean <= RIBBON_SHARD_KEYS * 3 / 2);
                assert_true(u.shards == 1 || mean >= RIBBON_SHARD_KEYS * 2 / 3);
                /* a unit fits, unless it is a single shard or there are more than can be */
                assert_true(records / u.units * sizeof(struct ribbon_pair) <= unit ||
                            u.shards == u.units || u.units == 1ull << 24);
            }
        }
    }
}

/* Sections of an index of more than 2^32 records, blocks and bytes. */
static void large_index(void **context)
{
    (void)context;
    struct index index = {
        .format = {.kind = TARN_FORMAT_BINARY},
        .data_bytes = 1ull << 52,
        .granule_log2 = 16,
        .fingerprint_bits = 4,
        .records = 1ull << 36,
    };
    struct index_sections s;
    index.ribbon.bits = index_location_bits(&index) + 4;
    assert_int_equal(index.ribbon.bits, 40);
    index.ribbon.shard_count = 1ull << 24;
    index.ribbon.groups_bytes = (1ull << 33) * 40;
    assert_true(index_lay_out(&index, &s));
    assert_int_equal(index.block_count, 1ull << 36);
    assert_int_equal(s.starts, 8ull << 32);
    assert_int_equal(s.block_checksums, s.starts + (4ull << 36));
    assert_int_equal(s.groups, s.block_checksums + (4ull << 36));
    assert_int_equal(s.shards, s.groups + index.ribbon.groups_bytes);
    uint64_t offset = (1ull << 52) - 12345, hash = 0xfedcba9876543215ull;
    assert_int_equal(index_value(&index, hash, offset), offset >> 16 << 4 | 5);
    index.layout = INDEX_PAGES;
    index.page_count = 1ull << 36;
    assert_int_equal(index_body_at(&index), 4096 + (4096ull << 36));
    index.page_count = UINT64_MAX / 4096;
    assert_false(index_lay_out(&index, &s));
}

static struct choice_input input(uint64_t memory)
{
    return (struct choice_input){
        .path = "data",
        .data_bytes = 1000000000000ull,
        .records = 1000000000,
        .memory_bytes = memory,
        .threads = 8,
        .granule_log2 = -1,
        .fingerprint_bits = -1,
        .layout = -1,
    };
}

/* The published exercise: 1e9 records in 1 TB. */
static void what_is_chosen_fits(void **context)
{
    (void)context;
    struct choice c, again;
    struct tarn_error error = {0};
    struct choice_input in = input(4 * GIB);
    assert_int_equal(external_choose(&in, &c, &error), TARN_OK);
    assert_int_equal(c.layout, INDEX_BLOCKS);
    assert_true(c.serving_bytes <= in.memory_bytes);
    in.granule_log2 = 16;
    in.fingerprint_bits = 0;
    assert_int_equal(external_choose(&in, &c, &error), TARN_OK);
    assert_true(c.granule_log2 == 16 && c.fingerprint_bits == 0 && c.layout == INDEX_BLOCKS);
    assert_true(c.serving_bytes > 3020000000 && c.serving_bytes < 3200000000);
    in = input(GIB); /* too little for a function */
    assert_int_equal(external_choose(&in, &c, &error), TARN_OK);
    assert_int_equal(c.layout, INDEX_PAGES);
    assert_true(c.serving_bytes <= in.memory_bytes);
    in.layout = INDEX_BLOCKS;
    assert_int_equal(external_choose(&in, &again, &error), TARN_TOOBIG);
    assert_non_null(strstr(error.text, "needs"));
    assert_non_null(strstr(error.text, "--layout pages"));
    in = input(1 << 20);
    assert_int_equal(external_choose(&in, &again, &error), TARN_TOOBIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_divided),
        cmocka_unit_test(hashes_are_divided),
        cmocka_unit_test(large_index),
        cmocka_unit_test(what_is_chosen_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
