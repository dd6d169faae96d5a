/* Goal: measuring a device gives the reads that were done over the time they took; every failure is
 * an error that leaves nothing open; a file that shrinks, is too small or cannot be read directly
 * is told.
 * Method: a sparse file on a clock that goes on by a fixed step at each look, so that nothing
 * depends on the machine; each call of the system failed once.
 *
 * Bugs planted once to see it fail: the error of a read ignored; the ring's reads left under way
 * after a failure; the file's end taken for a read; the time of a run not divided by its reads. */
#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/plan_measure.h"
#include "lib/fault_os.h"
#include "lib/scratch.h"

enum { DEPTH = 4, STEP_NS = 10000000, SIZE = 16 << 20 };

static struct scratch scratch;
static char path[SCRATCH_PATH_BYTES];
static struct fault_os *fault;
static _Atomic uint64_t now_ns;

static uint64_t step_clock(const struct os *os)
{
    (void)os;
    return atomic_fetch_add(&now_ns, STEP_NS);
}

/* What tmpfs says of direct reads. */
static int open_indirect(const struct os *os, const char *name, int flags, unsigned mode,
                         int *ret_fd)
{
    (void)os;
    if (flags & O_DIRECT)
        return -EINVAL;
    return os_real()->open(os_real(), name, flags, mode, ret_fd);
}

/* All file systems: whether they have direct reads is not what is tested. */
static int open_any(const struct os *os, const char *name, int flags, unsigned mode, int *ret_fd)
{
    (void)os;
    return os_real()->open(os_real(), name, flags & ~O_DIRECT, mode, ret_fd);
}

static void make_file(off_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, size), 0);
    assert_int_equal(close(fd), 0);
}

static struct os base;

static int set_up(void **state)
{
    (void)state;
    scratch_open(&scratch);
    scratch_name(&scratch, "data", path);
    fault = malloc(sizeof *fault);
    base = *os_real();
    base.open = open_any;
    fault_os_init(fault, &base);
    fault->os.monotonic_ns = step_clock;
    make_file(SIZE);
    return 0;
}

static int clean(void **state)
{
    (void)state;
    fault_os_done(fault);
    free(fault);
    scratch_close(&scratch);
    return 0;
}

static unsigned steps;

static bool count_steps(void *context, const char *phase, uint64_t done, uint64_t total)
{
    assert_string_equal(phase, "measuring");
    assert_true(done == steps && done < total);
    steps++;
    return context == NULL || steps < *(unsigned *)context;
}

static void figures(void **state)
{
    (void)state;
    struct plan_disk disk;
    struct tarn_error error;
    steps = 0;
    assert_int_equal(plan_measure(&fault->os, path, DEPTH, count_steps, NULL, &disk, &error),
                     TARN_OK);
    assert_true(fault_os_clean(fault));
    assert_int_equal(steps, 11);
    assert_int_equal(disk.count, 5);
    assert_int_equal(disk.depth, DEPTH);
    assert_true(disk.points[0].bytes == 4096 && disk.points[4].bytes == 1 << 20);
    for (unsigned i = 0; i < disk.count; i++) {
        /* Alone there are some looks at the clock a read: by the ring, when it begins and ends, and
         * whether it is time. No more than 10 of 10 ms each. */
        assert_true(disk.points[i].latency_us >= 10000 && disk.points[i].latency_us <= 100000);
        assert_true(disk.points[i].reads_s > 1 && disk.points[i].reads_s < 1000);
    }
    assert_true(disk.rate > 1 << 20 && disk.rate < 1e9);
}

static void every_failure(void **state)
{
    (void)state;
    static const enum fault_entry entries[] = {FAULT_OPEN, FAULT_FILE_INFO, FAULT_MAP,
                                               FAULT_ENTROPY};
    struct plan_disk disk;
    struct tarn_error error;
    for (size_t e = 0; e < sizeof entries / sizeof entries[0]; e++) {
        for (uint64_t nth = 1;; nth++) {
            fault_os_reset(fault);
            fault_os_fail(fault, entries[e], nth, EIO, false);
            int status = plan_measure(&fault->os, path, DEPTH, NULL, NULL, &disk, &error);
            if (!fault_os_fired(fault))
                break;
            assert_int_equal(status, TARN_IO);
            assert_true(fault_os_clean(fault));
        }
    }
    for (uint64_t nth = 1; nth <= 600; nth += nth < 20 ? 1 : 97) {
        fault_os_reset(fault);
        fault_os_fail(fault, FAULT_READ_AT, nth, EIO, false);
        int status = plan_measure(&fault->os, path, DEPTH, NULL, NULL, &disk, &error);
        assert_int_equal(status, fault_os_fired(fault) ? TARN_IO : TARN_OK);
        assert_true(fault_os_clean(fault));
    }
    fault_os_reset(fault);
    fault_os_fail(fault, FAULT_READ_AT, 30, EIO, true);
    assert_int_equal(plan_measure(&fault->os, path, DEPTH, NULL, NULL, &disk, &error), TARN_IO);
    assert_non_null(strstr(error.text, "cannot read"));
    assert_non_null(strstr(error.text, path));
    fault_os_reset(fault);
    fault_os_short(fault, FAULT_READ_AT, 30, 0);
    assert_int_equal(plan_measure(&fault->os, path, DEPTH, NULL, NULL, &disk, &error), TARN_IO);
    assert_non_null(strstr(error.text, "ended while"));
    assert_true(fault_os_clean(fault));
}

static void refusals(void **state)
{
    (void)state;
    struct plan_disk disk;
    struct tarn_error error;
    unsigned stop = 3;
    steps = 0;
    assert_int_equal(plan_measure(&fault->os, path, DEPTH, count_steps, &stop, &disk, &error),
                     TARN_CANCELLED);

    base.open = open_indirect;
    assert_int_equal(plan_measure(&fault->os, path, DEPTH, NULL, NULL, &disk, &error),
                     TARN_INVALID);
    assert_non_null(strstr(error.text, "no direct reads"));

    make_file(SIZE - 1);
    assert_int_equal(plan_measure(&fault->os, path, DEPTH, NULL, NULL, &disk, &error),
                     TARN_INVALID);
    assert_non_null(strstr(error.text, "too small"));

    assert_int_equal(plan_measure(&fault->os, "/no/such/file", DEPTH, NULL, NULL, &disk, &error),
                     TARN_MISSING);
    assert_true(fault_os_clean(fault));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(figures, set_up, clean),
        cmocka_unit_test_setup_teardown(every_failure, set_up, clean),
        cmocka_unit_test_setup_teardown(refusals, set_up, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
