/* Goal: os_trim_program() and os_trim_heap() give pages back and lose nothing.
 * Method: a constant table larger than all else is read, the pages of files mapped are counted
 * before and after, and table, code and written data must be as they were. The heap is filled with
 * blocks too small to be mapped alone, all but the last are freed, and the pages that are not of
 * files are counted. */
#include "lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/trim.h"

#define TABLE_BYTES (1 << 20)
#define ROW(n)      n, n + 1, n + 2, n + 3
/* Not zero, so that it is part of the file. */
static const unsigned char table[TABLE_BYTES] = {ROW(1), ROW(5), [TABLE_BYTES - 1] = 77};

static char written[1 << 16] = "initialised, then changed";

static unsigned long table_sum(void)
{
    const volatile unsigned char *p = table;
    unsigned long sum = 0;
    for (size_t i = 0; i < TABLE_BYTES; i += 64)
        sum += p[i];
    return sum + p[1] + p[TABLE_BYTES - 1];
}

/* Pages of files this process has mapped and resident. */
static long file_pages(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    long total = 0, resident = 0, shared = 0;
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld %ld", &total, &resident, &shared), 3);
    fclose(f);
    return shared;
}

/* Resident pages of no file. */
static long memory_pages(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    long total = 0, resident = 0, shared = 0;
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld %ld", &total, &resident, &shared), 3);
    fclose(f);
    return resident - shared;
}

static void test_trim_heap(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* the sanitizers' allocators keep what is freed */
#endif
    static char *blocks[400];
    const size_t block_bytes = 32 << 10, count = sizeof blocks / sizeof *blocks;
    for (size_t i = 0; i < count; i++) {
        blocks[i] = malloc(block_bytes);
        assert_non_null(blocks[i]);
        memset(blocks[i], (int)i, block_bytes);
    }
    for (size_t i = 0; i + 1 < count; i++) /* the last stays: the heap's top cannot sink */
        free(blocks[i]);
    long before = memory_pages();
    os_trim_heap();
    long after = memory_pages();
    assert_true(before - after >= (long)(count * block_bytes) / sysconf(_SC_PAGESIZE) / 2);
    assert_int_equal(blocks[count - 1][block_bytes - 1], (char)(count - 1));
    free(blocks[count - 1]);
}

static void test_trim(void **state)
{
    (void)state;
    unsigned long sum = table_sum();
    snprintf(written, sizeof written, "changed %d", 1);
    long before = file_pages();
    os_trim_program();
    long after = file_pages();
    assert_true(before - after >= TABLE_BYTES / sysconf(_SC_PAGESIZE) / 2);
    assert_int_equal(table_sum(), sum);
    assert_string_equal(written, "changed 1");
    os_trim_program(); /* twice does no harm */
    assert_int_equal(table_sum(), sum);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_trim),
                                       cmocka_unit_test(test_trim_heap)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
