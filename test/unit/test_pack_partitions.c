/* Goal: every pair dropped comes out of its partition, once; memory that is out loses nothing.
 * Method: random pairs dropped into two structs, taken back and compared as sorted lists; each
 * allocation failed once.
 *
 * Bugs planted once to see it fail: the partition taken from other bits of the hash; only the
 * newest run taken; counts not reset by partitions_take(). */
#include "lib/test.h"

#include <stdlib.h>

#include "lib/dataset.h"
#include "lib/fault_malloc.h"
#include "pack/partitions.h"

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct ribbon_pair));
}

static void all_come_back(void **context)
{
    (void)context;
    enum { COUNT = 300000 };
    struct partitions two[2] = {0};
    struct ribbon_pair *in = malloc(COUNT * sizeof *in), *out = malloc(COUNT * sizeof *out);
    uint64_t random = 1, counts[PARTITIONS] = {0};
    for (size_t i = 0; i < COUNT; i++) {
        in[i] = (struct ribbon_pair){random_next(&random), i};
        if (i % 3 == 0) /* so that partitions differ in size; some sizes are whole runs */
            in[i].hash &= UINT64_MAX >> 6;
        if (i < 2 * PARTITION_RUN_PAIRS)
            in[i].hash = 255ull << 56 | i;
        counts[in[i].hash >> 56]++;
        assert_true(partitions_drop(&two[i & 1], in[i].hash, in[i].value));
    }
    size_t taken = 0;
    for (unsigned p = 0; p < PARTITIONS; p++) {
        assert_int_equal(two[0].counts[p] + two[1].counts[p], counts[p]);
        size_t before = taken;
        for (int t = 0; t < 2; t++) {
            taken += partitions_take(&two[t], p, out + taken);
            assert_int_equal(two[t].counts[p], 0);
            assert_int_equal(partitions_take(&two[t], p, out + taken), 0);
        }
        assert_int_equal(taken - before, counts[p]);
        for (size_t i = before; i < taken; i++)
            assert_int_equal(out[i].hash >> 56, p);
    }
    assert_int_equal(taken, COUNT);
    qsort(in, COUNT, sizeof *in, compare);
    qsort(out, COUNT, sizeof *out, compare);
    assert_memory_equal(in, out, COUNT * sizeof *in);
    partitions_done(&two[0]);
    partitions_done(&two[1]);
    free(in);
    free(out);
}

static void memory_is_out(void **context)
{
    (void)context;
    struct partitions p = {0};
    struct ribbon_pair out[3 * PARTITION_RUN_PAIRS];
    size_t dropped = 0;
    for (uint64_t i = 0; i < 3 * PARTITION_RUN_PAIRS; i++) {
        fault_malloc_arm(1, false);
        bool ok = partitions_drop(&p, i, i);
        bool failed = fault_malloc_disarm() > 0;
        assert_true(ok == !failed);
        assert_true(failed == (i % PARTITION_RUN_PAIRS == 0));
        if (failed)
            assert_true(partitions_drop(&p, i, i));
        dropped++;
        assert_int_equal(p.counts[0], dropped);
    }
    assert_int_equal(partitions_take(&p, 0, out), dropped);
    /* what was never taken is freed: LeakSanitizer looks */
    for (uint64_t i = 0; i < 1000; i++)
        assert_true(partitions_drop(&p, i << 54, i));
    partitions_done(&p);
    partitions_done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_come_back),
        cmocka_unit_test(memory_is_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
