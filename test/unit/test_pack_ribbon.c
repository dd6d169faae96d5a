/* Goal: the static function answers right for every key built in, in the promised space; both
 * kernels compute the same; no query leaves the promised memory, whatever a checked table says.
 * Method: functions of many sizes and widths from random hashes, all keys asked; the groups lie
 * so that the byte behind groups_bytes + RIBBON_PAD_BYTES cannot be read; tables are forged.
 *
 * Bugs planted once to see it fail: one group fewer in RIBBON_WINDOW_GROUPS; the seed ignored in
 * probe_init(); `high` not loaded where bits > 32; `end - first < RIBBON_GROUPS_MIN` dropped from
 * ribbon_check(); has_equal_hashes() answering no. */
#include "lib/test.h"

#include "lib/dataset.h"
#include "lib/guard.h"
#include "pack/ribbon_internal.h"

/* A whole function, its groups at the end of readable memory. */
struct built {
    struct ribbon ribbon;
    uint64_t *shards;
    struct guard guard;
};

static void built_free(struct built *b)
{
    free(b->shards);
    guard_free(&b->guard);
}

/* Sort pairs by shard; starts[s] is where shard s begins. */
static struct ribbon_pair *by_shard(const struct ribbon_pair *pairs, size_t count, uint64_t shards,
                                    size_t *starts)
{
    struct ribbon_pair *sorted = malloc((count + 1) * sizeof *sorted);
    memset(starts, 0, (shards + 2) * sizeof *starts);
    for (size_t i = 0; i < count; i++)
        starts[ribbon_shard_of(pairs[i].hash, shards) + 2]++;
    for (uint64_t s = 2; s < shards + 2; s++)
        starts[s] += starts[s - 1];
    for (size_t i = 0; i < count; i++)
        sorted[starts[ribbon_shard_of(pairs[i].hash, shards) + 1]++] = pairs[i];
    return sorted;
}

static void build(const struct ribbon_pair *pairs, size_t count, unsigned bits,
                  struct built *ret_built)
{
    uint64_t shards = ribbon_shard_count(count);
    size_t *starts = malloc((shards + 2) * sizeof *starts);
    struct ribbon_pair *sorted = by_shard(pairs, count, shards, starts);
    struct ribbon_workspace *workspace = ribbon_workspace_new();
    struct buffer groups = {0};
    uint64_t *table = malloc((shards + 1) * sizeof *table), group = 0;
    for (uint64_t s = 0; s < shards; s++) {
        const unsigned char *part;
        size_t part_groups;
        unsigned seed;
        assert_int_equal(ribbon_shard_build(workspace, sorted + starts[s],
                                            starts[s + 1] - starts[s], bits, &part, &part_groups,
                                            &seed),
                         TARN_OK);
        assert_true(part_groups >= RIBBON_GROUPS_MIN && seed < 256);
        buffer_append(&groups, part, part_groups * bits);
        table[s] = group << 8 | seed;
        group += part_groups;
    }
    table[shards] = group << 8;
    size_t groups_bytes = groups.size;
    unsigned char pad[RIBBON_PAD_BYTES]; /* "anything readable" */
    memset(pad, 0xa5, sizeof pad);
    buffer_append(&groups, pad, sizeof pad);
    ret_built->guard = guard_new(groups.size);
    struct tarn_bytes at = guard_end(&ret_built->guard, groups.data, groups.size);
    ret_built->shards = table;
    ret_built->ribbon = (struct ribbon){table, at.data, shards, groups_bytes, bits};
    assert_true(ribbon_check(&ret_built->ribbon));
    buffer_done(&groups);
    ribbon_workspace_free(workspace);
    free(sorted);
    free(starts);
}

static struct ribbon_pair *random_pairs(uint64_t seed, size_t count, unsigned bits)
{
    struct ribbon_pair *pairs = malloc((count + 1) * sizeof *pairs);
    for (size_t i = 0; i < count; i++) {
        pairs[i].hash = random_next(&seed);
        pairs[i].value = random_next(&seed) >> (64 - bits);
    }
    return pairs;
}

static size_t wrong_answers(const struct ribbon *ribbon, const struct ribbon_pair *pairs,
                            size_t count)
{
    size_t wrong = 0;
    for (size_t i = 0; i < count; i++)
        wrong += ribbon_query(ribbon, pairs[i].hash) != pairs[i].value;
    return wrong;
}

/* Both kernels on absent hashes, the extreme ones included; and nothing beyond the guard. */
static void check_kernels(const struct ribbon *ribbon, uint64_t seed, size_t count)
{
    struct ribbon_probe probes[64];
    uint64_t hashes[64], values[64], portable[64];
    for (size_t done = 0; done < count; done += 64) {
        for (size_t i = 0; i < 64; i++)
            hashes[i] = random_next(&seed);
        hashes[0] = 0;
        hashes[1] = UINT64_MAX;
        hashes[2] |= UINT64_MAX << 24; /* the last shard */
        ribbon_probes_init(ribbon, hashes, 64, probes);
        ribbon_probes_values(ribbon, probes, 64, values);
        ribbon_values_portable(ribbon, probes, 64, portable);
        assert_memory_equal(values, portable, sizeof values);
        for (size_t i = 0; i < 64; i++) {
            assert_true(values[i] >> ribbon->bits == 0);
            assert_true(ribbon_query(ribbon, hashes[i]) == values[i]);
        }
    }
}

static void check_size(size_t count, unsigned bits)
{
    struct ribbon_pair *pairs = random_pairs(count * 64 + bits, count, bits);
    struct built built;
    build(pairs, count, bits, &built);
    if (wrong_answers(&built.ribbon, pairs, count) != 0)
        fail_msg("%zu keys, %u bits: wrong answers", count, bits);
    check_kernels(&built.ribbon, count + bits, 256);
    built_free(&built);
    free(pairs);
}

/* Trips on: windows at a shard's ends, sizes around RIBBON_WIDTH and around several shards. */
static void every_key_in_every_size(void **context)
{
    (void)context;
    for (size_t count = 0; count <= 9000; count = count < 140 ? count + 1 : count * 11 / 10)
        check_size(count, 27);
    check_size(9000, 27);
}

/* Trips on: masks and loads that are wrong for some width. */
static void every_key_in_every_width(void **context)
{
    (void)context;
    for (unsigned bits = 1; bits <= RIBBON_BITS_MAX; bits++) {
        check_size(0, bits);
        check_size(1, bits);
        check_size(700, bits);
    }
}

/* Trips on: a hash mixed badly (space), shards found wrongly, rare unsolvable systems. */
static void million_keys(void **context)
{
    (void)context;
    const size_t count = 1000000;
    const unsigned bits = 27;
    for (uint64_t seed = 1; seed <= (TEST_SLOWER > 1 ? 1 : 3); seed++) {
        struct ribbon_pair *pairs = random_pairs(seed, count, bits);
        struct built built;
        build(pairs, count, bits, &built);
        assert_int_equal(built.ribbon.shard_count, 256);
        assert_int_equal(wrong_answers(&built.ribbon, pairs, count), 0);
        check_kernels(&built.ribbon, seed, 1 << 14);
        double payload = (double)count * bits / 8;
        double space = (double)built.ribbon.groups_bytes + 8.0 * (built.ribbon.shard_count + 1);
        assert_true(space <= 1.011 * payload);
        built_free(&built);
        free(pairs);
    }
}

/* Trips on: the same key order giving another function, or a seed that changes nothing. */
static void seeds_differ(void **context)
{
    (void)context;
    size_t same = 0;
    for (uint64_t hash = 1; hash < 1000; hash++) {
        unsigned __int128 a, b;
        uint32_t x = ribbon_derive(hash, 0, 4128, &a), y = ribbon_derive(hash, 1, 4128, &b);
        same += a == b;
        assert_true(x <= 4128 - RIBBON_WIDTH && y <= 4128 - RIBBON_WIDTH);
        assert_true((a & b & 1) == 1);
    }
    assert_int_equal(same, 0);
}

/* Trips on: shard counts that do not divide 256 or are not divided by it, which the builder's
 * units rely on; shards that are far too large or small. */
static void shard_counts(void **context)
{
    (void)context;
    for (uint64_t keys = 0; keys < 100000000; keys = keys < 100 ? keys + 1 : keys + keys / 7) {
        uint64_t shards = ribbon_shard_count(keys);
        assert_true(shards >= 1);
        if (shards < 256)
            assert_true((shards & (shards - 1)) == 0);
        else
            assert_int_equal(shards % 256, 0);
        assert_true(keys / shards <= RIBBON_SHARD_KEYS * 3 / 2);
        if (shards > 1)
            assert_true(keys / shards >= RIBBON_SHARD_KEYS / 2);
        for (int i = 0; i < 64; i++) {
            uint64_t random = keys * 64 + (uint64_t)i, hash = random_next(&random);
            assert_true(ribbon_shard_of(hash, shards) < shards);
        }
        assert_int_equal(ribbon_shard_of(0, shards), 0);
        assert_int_equal(ribbon_shard_of(UINT64_MAX, shards), shards - 1);
    }
}

static int build_one(const struct ribbon_pair *pairs, size_t count)
{
    struct ribbon_workspace *workspace = ribbon_workspace_new();
    const unsigned char *groups;
    size_t group_count;
    unsigned seed;
    int status = ribbon_shard_build(workspace, pairs, count, 20, &groups, &group_count, &seed);
    ribbon_workspace_free(workspace);
    return status;
}

/* Trips on: equal hashes taken for a seed that does not work (an endless or failing search). */
static void equal_hashes(void **context)
{
    (void)context;
    for (size_t count = 2; count <= 5000; count = count * 5 / 2) {
        struct ribbon_pair *pairs = random_pairs(count, count, 20);
        assert_int_equal(build_one(pairs, count), TARN_OK);
        pairs[count - 1].hash = pairs[count / 3].hash;
        pairs[count - 1].value = pairs[count / 3].value ^ 1;
        assert_int_equal(build_one(pairs, count), TARN_DUPLICATE);
        free(pairs);
    }
    struct ribbon_pair all[100];
    for (size_t i = 0; i < 100; i++)
        all[i] = (struct ribbon_pair){0, i};
    assert_int_equal(build_one(all, 100), TARN_DUPLICATE);
}

/* Trips on: each condition of ribbon_check() left out, by a table that only it refuses. */
static void impossible_tables(void **context)
{
    (void)context;
    const unsigned bits = 10;
    const uint64_t good[] = {0, 20ull << 8 | 3, 40ull << 8 | 255, 56ull << 8};
    struct ribbon ribbon = {good, NULL, 3, 56 * bits, bits};
    assert_true(ribbon_check(&ribbon));

    struct ribbon bad = ribbon;
    bad.bits = 0, bad.groups_bytes = 0;
    assert_false(ribbon_check(&bad));
    bad.bits = RIBBON_BITS_MAX + 1, bad.groups_bytes = 56 * (RIBBON_BITS_MAX + 1);
    assert_false(ribbon_check(&bad));
    bad = ribbon, bad.shard_count = 0, bad.groups_bytes = 0;
    assert_false(ribbon_check(&bad));
    bad = ribbon, bad.groups_bytes++;
    assert_false(ribbon_check(&bad));
    bad = ribbon, bad.groups_bytes--;
    assert_false(ribbon_check(&bad));

    static const uint64_t tables[][4] = {
        {1 << 8, 20 << 8, 40 << 8, 56 << 8},          /* does not begin at 0 */
        {0, 15 << 8, 40 << 8, 56 << 8},               /* too small a shard */
        {0, 20 << 8, 41 << 8, 56 << 8},               /* too small at the end */
        {0, 40 << 8, 20 << 8, 56 << 8},               /* backwards */
        {0, 20 << 8, 60 << 8, 56 << 8},               /* backwards at the end */
        {0, 0, 0, 56 << 8},                           /* empty shards */
        {0, 20 << 8, (20ull + (1ull << 29)) << 8, 0}, /* rows over 32 bits; end set below */
        {0, 20 << 8, 40 << 8, UINT64_MAX & ~0xffull}, /* bytes over 64 bits */
        {0, 20 << 8, 40 << 8, 0},
    };
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        uint64_t table[4];
        memcpy(table, tables[i], sizeof table);
        if (i == 6)
            table[3] = table[2] + (16 << 8);
        bad = ribbon;
        bad.shards = table;
        bad.groups_bytes = (table[3] >> 8) * bits; /* so that the size is no reason */
        if (ribbon_check(&bad))
            fail_msg("table %zu is accepted", i);
    }
}

/* Trips on: a query that leaves groups_bytes + RIBBON_PAD_BYTES under a forged but checked table:
 * smallest shards, any seeds, any groups. */
static void forged_tables(void **context)
{
    (void)context;
    uint64_t random = 99;
    for (unsigned bits = 1; bits <= RIBBON_BITS_MAX; bits++) {
        uint64_t table[9], group = 0;
        for (int s = 0; s < 8; s++) {
            table[s] = group << 8 | (random_next(&random) & 255);
            group += RIBBON_GROUPS_MIN + random_next(&random) % 3;
        }
        table[8] = group << 8 | 77;
        size_t size = group * bits + RIBBON_PAD_BYTES;
        struct guard guard = guard_new(size);
        unsigned char *noise = malloc(size);
        for (size_t i = 0; i < size; i++)
            noise[i] = (unsigned char)random_next(&random);
        struct tarn_bytes at = guard_end(&guard, noise, size);
        struct ribbon ribbon = {table, at.data, 8, group * bits, bits};
        assert_true(ribbon_check(&ribbon));
        check_kernels(&ribbon, bits, 4096);
        free(noise);
        guard_free(&guard);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_in_every_size),
        cmocka_unit_test(every_key_in_every_width),
        cmocka_unit_test(million_keys),
        cmocka_unit_test(seeds_differ),
        cmocka_unit_test(shard_counts),
        cmocka_unit_test(equal_hashes),
        cmocka_unit_test(impossible_tables),
        cmocka_unit_test(forged_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
