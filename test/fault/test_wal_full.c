/* Goal: a full disk costs nothing that was acknowledged; writes are refused while it lasts and go
 * on by themselves afterwards. A failed sync is believed the first time and for good. Method: a
 * simulated disk with a limit that is lifted again, round after round; syncs that fail, of which a
 * second one would lie. */
#include <sched.h>

#include "lib/test.h"

#include "lib/log_fixture.h"
#include "lib/simulated_disk.h"

enum { ROUNDS = 100, VALUE = 3000 };

static struct simulated_disk disk;
static struct wal *wal;

static void open_log(const struct wal_settings *settings)
{
    struct tarn_error error;
    disk_init(&disk, 1);
    assert_int_equal(disk.os.make_directory(&disk.os, "/log", 0777), 0);
    if (log_open(&disk.os, "/log", settings, &wal, &error) != TARN_OK)
        fail_msg("%s", error.text);
}

/* What comes back is `least` records or more, `most` at most. */
static void check_back(const struct wal_settings *settings, uint64_t least, uint64_t most)
{
    struct log_back back;
    log_back_read(&back, &disk.os, "/log", settings->files);
    assert_true(back.run >= least && back.run <= most && back.records == back.run);
    assert_true(!back.broken && back.bad == 0);
    for (uint64_t s = 1; s <= back.run; s++)
        assert_true(back.tags[s] == s);
    log_back_done(&back);
    disk_done(&disk);
}

/* --- full --- */

/* Append until there is no room, and a little more, which is kept; the last one's sequence. */
static uint64_t fill(uint64_t appended)
{
    struct wal_figures figures;
    for (int more = 0; more < 5; more += wal_state(wal) == TARN_NOSPACE) {
        uint64_t sequence = log_append_sized(wal, appended + 1, VALUE);
        assert_true(sequence == appended + 1);
        appended = sequence;
        wal_hurry(wal, sequence, WAL_WRITTEN);
        sched_yield();
    }
    wal_figures_get(wal, &figures);
    assert_int_equal(figures.state, TARN_NOSPACE);
    assert_non_null(strstr(figures.failure, "/log"));
    return appended;
}

/* No room: what can be told of is told of, all else is unsure at once, or waited for. */
static void check_waiters(uint64_t appended)
{
    struct wal_figures figures;
    wal_figures_get(wal, &figures);
    bool told = figures.horizon >= appended;
    assert_int_equal(wal_wait(wal, appended, WAL_ACKNOWLEDGED, 0), told ? TARN_OK : TARN_UNSURE);
    assert_true(figures.written < appended);
    assert_int_equal(wal_wait(wal, appended, WAL_WRITTEN, 1), TARN_CANCELLED);
    assert_int_equal(wal_wait(wal, appended, WAL_DURABLE, 1), TARN_CANCELLED);
    uint64_t sequence, first[WAL_FILES_MAX];
    struct tarn_error error;
    assert_int_equal(wal_rotate(wal, &sequence, first, &error), TARN_NOSPACE);
    wal_admit(wal); /* does not wait */
}

/* While the log recovers: some, as of steps that were under way. */
static uint64_t append_meanwhile(uint64_t appended)
{
    for (int i = 0; i < 50 && wal_state(wal) != TARN_OK; i++) {
        assert_true(log_append(wal, appended + 1) == appended + 1);
        appended++;
        sched_yield();
    }
    return appended;
}

static void test_rounds(void **state)
{
    (void)state;
    for (int variant = 0; variant < 9; variant++) {
        struct wal_settings settings = log_settings;
        settings.durability = (enum wal_durability)(WAL_ASYNC + variant % 3);
        settings.encoding = (enum wal_encoding)(variant / 3);
        settings.files = variant % 2 ? 1 : 3;
        settings.segment_bytes = 100000;
        open_log(&settings);
        uint64_t appended = 0;
        for (int round = 0; round < ROUNDS / 9; round++) {
            disk_limit(&disk, disk_used(&disk) + 1 + (uint64_t)round * 5000);
            appended = fill(appended);
            check_waiters(appended);
            disk_limit(&disk, 0);
            appended = append_meanwhile(appended);
            assert_int_equal(wal_wait(wal, appended, WAL_DURABLE, 0), TARN_OK);
            while (wal_state(wal) != TARN_OK)
                sched_yield();
            /* Other settings hold for the segments that follow. */
            settings.encoding = (enum wal_encoding)(((int)settings.encoding + 1) % WAL_ENCODINGS);
            wal_configure(wal, &settings);
        }
        assert_int_equal(wal_close(wal, NULL), TARN_OK);
        check_back(&settings, appended, appended);
    }
}

/* Closing a log that is full still: an error, and what was acknowledged is there. */
static void test_close_full(void **state)
{
    (void)state;
    struct tarn_error error;
    open_log(&log_settings);
    uint64_t first = log_append_sized(wal, 1, VALUE);
    assert_int_equal(wal_wait(wal, first, WAL_ACKNOWLEDGED, 0), TARN_OK);
    disk_limit(&disk, 1);
    uint64_t appended = fill(first);
    struct wal_figures figures;
    wal_figures_get(wal, &figures);
    assert_true(figures.durable < appended);
    assert_int_equal(wal_close(wal, &error), TARN_NOSPACE);
    assert_non_null(strstr(error.text, "lost"));
    check_back(&log_settings, figures.durable, appended); /* the end may have been synced yet */
}

/* --- failed syncs --- */

static void test_failed_sync(void **state)
{
    (void)state;
    for (int durability = WAL_ASYNC; durability <= WAL_COMMIT; durability++) {
        struct wal_settings settings = log_settings;
        settings.durability = (enum wal_durability)durability;
        open_log(&settings);
        assert_int_equal(wal_wait(wal, log_append(wal, 1), WAL_DURABLE, 0), TARN_OK);
        disk_fail_sync(&disk, 1);
        uint64_t lost = log_append(wal, 2);
        assert_int_equal(wal_wait(wal, lost, WAL_DURABLE, 0), TARN_UNSURE);
        assert_int_equal(wal_state(wal), TARN_IO);
        assert_true(log_append(wal, 3) == 0);
        assert_int_equal(wal_wait(wal, lost, WAL_DURABLE, 0), TARN_UNSURE);
        assert_int_equal(wal_wait(wal, 1, WAL_DURABLE, 0), TARN_OK);
        struct tarn_error error;
        uint64_t sequence, first[WAL_FILES_MAX];
        assert_int_equal(wal_rotate(wal, &sequence, first, &error), TARN_IO);
        assert_non_null(strstr(error.text, "cannot sync"));
        assert_int_equal(wal_close(wal, &error), TARN_IO);
        disk_done(&disk);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounds),
        cmocka_unit_test(test_close_full),
        cmocka_unit_test(test_failed_sync),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
