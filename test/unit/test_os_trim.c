/* Goal: os_trim_program() gives pages back and loses nothing.
 * Method: a constant table larger than all else is read, the pages of files mapped are counted
 * before and after, and table, code and written data must be as they were. */
#include "lib/test.h"

#include <stdio.h>
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_trim)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
