/* Goal: whatever call fails, with whatever error, and however little a write takes: what had been
 * acknowledged is in the files, nothing wrong is, nobody waits for ever, nothing is left open.
 * Method: a log is opened, appended to, given new segments and closed while the nth call of an
 * entry fails, for each n until there are no more; then it is read back. */
#include <errno.h>
#include <unistd.h>

#include "lib/test.h"

#include "lib/fault_os.h"
#include "lib/log_fixture.h"
#include "lib/simulated_disk.h"

enum { STEPS = 30, STEP = 3, ROTATE_AT = 15, LARGE_AT = 7, QUEUE = 20, HANG_S = 120 };

/* What one run has seen. */
struct run {
    struct wal_settings settings;
    uint64_t appended;     /* last sequence */
    uint64_t acknowledged; /* ... that could be told of, */
    uint64_t durable;      /* and of those that were known to be synced */
    int state, closed;     /* before and after closing */
};

static struct simulated_disk disk; /* which is quick to sync, and new in a moment */
static struct fault_os fault;

/* A step of three changes; one of them may be large. */
static uint64_t append_step(struct wal *wal, unsigned step)
{
    static unsigned char values[STEP][40000];
    struct change changes[STEP];
    uint64_t hashes[STEP];
    for (unsigned i = 0; i < STEP; i++) {
        uint64_t tag = STEP * step + i + 1;
        size_t size = step == LARGE_AT && i == 1 ? sizeof values[i] : 200;
        changes[i] = log_change(tag, values[i], size);
        hashes[i] = tag * 0x9e3779b97f4a7c15u;
    }
    return wal_append(wal, changes, hashes, STEP);
}

/* Only of whole steps: nobody asks for the middle of one. */
static void note_reached(const struct wal *wal, struct run *run)
{
    for (uint64_t s = run->acknowledged + STEP; s <= run->appended; s += STEP)
        if (wal_reached(wal, s, WAL_ACKNOWLEDGED))
            run->acknowledged = s;
    for (uint64_t s = run->durable + STEP; s <= run->appended; s += STEP)
        if (wal_reached(wal, s, WAL_DURABLE))
            run->durable = s;
}

static void work(struct wal *wal, struct run *run)
{
    for (unsigned step = 0; step < STEPS; step++) {
        uint64_t sequence = append_step(wal, step);
        if (sequence == 0)
            break;
        run->appended = sequence;
        if (wal_state(wal) != TARN_OK)
            break; /* when it comes right by itself is not this test's matter */
        if (step % 3 == 0 && wal_wait(wal, sequence, WAL_ACKNOWLEDGED, 0) == TARN_OK)
            assert_true(wal_reached(wal, sequence, WAL_ACKNOWLEDGED));
        note_reached(wal, run);
        uint64_t first[WAL_FILES_MAX];
        if (step == ROTATE_AT && wal_rotate(wal, &sequence, first, NULL) == TARN_OK)
            assert_true(sequence == run->appended && wal_reached(wal, sequence, WAL_DURABLE));
    }
    if (run->appended > 0 && wal_state(wal) == TARN_OK)
        (void)!wal_wait(wal, run->appended, WAL_ACKNOWLEDGED, 0);
    note_reached(wal, run);
}

/* True: the log could be opened. */
static bool run_log(struct run *run)
{
    struct wal *wal;
    struct tarn_error error = {0};
    int status = log_open(&fault.os, "/log", &run->settings, &wal, &error);
    if (status != TARN_OK) {
        assert_true(error.status == status && error.text[0] != 0);
        return false;
    }
    work(wal, run);
    run->state = wal_state(wal);
    run->closed = wal_close(wal, &error);
    if (run->closed != TARN_OK)
        assert_true(error.status == run->closed && error.text[0] != 0);
    return true;
}

static void check_back(const struct run *run, bool opened)
{
    struct log_back back;
    uint64_t slack = run->settings.durability == WAL_ASYNC ? QUEUE + STEP - 1 : 0;
    log_back_read(&back, &disk.os, "/log", run->settings.files);
    assert_false(back.broken);
    if (back.run < run->durable || back.run + slack < run->acknowledged)
        fail_msg("%llu are there; acknowledged %llu, durable %llu of %llu; closed with %d",
                 (unsigned long long)back.run, (unsigned long long)run->acknowledged,
                 (unsigned long long)run->durable, (unsigned long long)run->appended, run->closed);
    for (uint64_t s = 1; s <= back.run; s++)
        assert_true(back.tags[s] == s);
    if (opened && run->closed == TARN_OK) {
        assert_true(back.run == run->appended && back.records == run->appended && back.bad == 0);
        if (!fault_os_fired(&fault)) /* else there may have been no room for them */
            assert_int_equal(back.seals, run->settings.files);
    }
    log_back_done(&back);
}

static void check_one(int durability, unsigned files)
{
    struct run run = {.settings = log_settings};
    run.settings.durability = (enum wal_durability)durability;
    run.settings.encoding = (enum wal_encoding)(files + (unsigned)durability) % WAL_ENCODINGS;
    run.settings.files = files;
    run.settings.queue_depth = QUEUE;
    run.settings.period_us = 2000;
    run.settings.segment_bytes = 8000;
    disk_init(&disk, 1);
    assert_int_equal(disk.os.make_directory(&disk.os, "/log", 0777), 0);
    alarm(HANG_S);
    bool opened = run_log(&run);
    alarm(0);
    assert_true(fault_os_clean(&fault));
    check_back(&run, opened);
    if (!fault_os_fired(&fault))
        assert_true(opened && run.closed == TARN_OK && run.appended == STEP * STEPS);
    disk_done(&disk);
}

static void test_failures(void **state)
{
    (void)state;
    static const enum fault_entry entries[] = {FAULT_OPEN,      FAULT_WRITE_AT, FAULT_SYNC,
                                               FAULT_DATA_SYNC, FAULT_TRUNCATE, FAULT_UNLINK,
                                               FAULT_CLOSE,     FAULT_ENTROPY};
    static const int numbers[] = {EIO, ENOSPC, EMFILE};
    for (size_t e = 0; e < sizeof entries / sizeof *entries; e++)
        for (int n = 0; n < 3; n++)
            for (int variant = 0; variant < 12; variant++) {
                int durability = WAL_ASYNC + variant % 3;
                unsigned files = 1 + (unsigned)variant / 3 % 2;
                bool fired = true;
                for (uint64_t nth = 1; fired; nth += 1 + nth / 8) {
                    fault_os_reset(&fault);
                    fault_os_fail(&fault, entries[e], nth, numbers[n], variant >= 6);
                    check_one(durability, files);
                    fired = fault_os_fired(&fault);
                }
            }
}

/* A write that takes a part, or nothing, and then fails, or does not. */
static void test_short_writes(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 31, 33, 250, 5000};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int variant = 0; variant < 12; variant++) {
            bool fired = true;
            for (uint64_t nth = 1; fired; nth += 1 + nth / 8) {
                fault_os_reset(&fault);
                fault_os_short(&fault, FAULT_WRITE_AT, nth, sizes[s]);
                if (variant >= 6)
                    fault_os_fail(&fault, FAULT_WRITE_AT, nth + 1, ENOSPC, false);
                check_one(WAL_ASYNC + variant % 3, 1 + (unsigned)variant / 3 % 2);
                fired = fault_os_fired(&fault);
            }
        }
}

static int setup(void **state)
{
    (void)state;
    fault_os_init(&fault, &disk.os);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fault_os_done(&fault);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_failures, setup, teardown),
        cmocka_unit_test_setup_teardown(test_short_writes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
