/* Goal: what is appended is in the files, once and in order, with any setting.
 * Method: logs in a scratch directory, read back record by record. */
#include <sys/stat.h>

#include "lib/test.h"

#include "lib/log_fixture.h"
#include "lib/os_fixture.h"

static struct wal *must_open(const char *directory, const struct wal_settings *settings)
{
    struct wal *wal;
    struct tarn_error error;
    if (mkdir(directory, 0777) != 0)
        fail_msg("cannot make %s", directory);
    if (log_open(&fault.os, directory, settings, &wal, &error) != TARN_OK)
        fail_msg("%s", error.text);
    return wal;
}

static void must_close(struct wal *wal)
{
    struct tarn_error error;
    if (wal_close(wal, &error) != TARN_OK)
        fail_msg("%s", error.text);
}

/* --- every setting --- */

enum { ROUND_TRIPS = 1000, LARGE_EVERY = 50, WAIT_EVERY = 10 };

/* Small and large ones; some waited for. */
static void append_many(struct wal *wal)
{
    for (uint64_t i = 1; i <= ROUND_TRIPS; i++) {
        uint64_t sequence = log_append_sized(wal, i, i % LARGE_EVERY == 0 ? 40000 : 64);
        assert_true(sequence == i);
        if (i % WAIT_EVERY == 0)
            assert_int_equal(wal_wait(wal, sequence, WAL_ACKNOWLEDGED, 0), TARN_OK);
    }
    assert_int_equal(wal_wait(wal, ROUND_TRIPS, WAL_DURABLE, 0), TARN_OK);
}

static void check_back(const char *directory, unsigned files, uint64_t segments_min)
{
    struct log_back back;
    log_back_read(&back, os_real(), directory, files);
    assert_true(back.run == ROUND_TRIPS && back.records == ROUND_TRIPS);
    assert_true(!back.broken && back.bad == 0);
    assert_int_equal(back.seals, files);
    assert_true(back.segments >= segments_min);
    for (uint64_t i = 1; i <= ROUND_TRIPS; i++)
        assert_true(back.tags[i] == i);
    log_back_done(&back);
}

static void test_round_trip(void **state)
{
    (void)state;
    for (int dial = WAL_ASYNC; dial <= WAL_COMMIT; dial++)
        for (int encoding = 0; encoding < WAL_ENCODINGS; encoding++)
            for (unsigned files = 1; files <= 3; files += 2) {
                char name[64];
                snprintf(name, sizeof name, "%d-%d-%u", dial, encoding, files);
                struct wal_settings settings = log_settings;
                settings.durability = (enum wal_durability)dial;
                settings.encoding = (enum wal_encoding)encoding;
                settings.files = files;
                settings.segment_bytes = 50000;
                struct wal *wal = must_open(scratch_at(&scratch, name), &settings);
                append_many(wal);
                must_close(wal);
                check_back(scratch_at(&scratch, name), files, 10);
            }
}

static void test_rotate(void **state)
{
    (void)state;
    struct wal_settings settings = log_settings;
    settings.files = 2;
    struct wal *wal = must_open(scratch_at(&scratch, "log"), &settings);
    for (uint64_t i = 1; i <= 10; i++)
        assert_true(log_append(wal, i) == i);
    uint64_t sequence, first[WAL_FILES_MAX];
    struct tarn_error error;
    assert_int_equal(wal_rotate(wal, &sequence, first, &error), TARN_OK);
    assert_true(sequence == 10 && first[0] == 2 && first[1] == 2);
    assert_true(wal_reached(wal, 10, WAL_DURABLE));
    assert_int_equal(wal_rotate(wal, &sequence, first, &error), TARN_OK);
    assert_true(sequence == 10 && first[0] == 3 && first[1] == 3);
    must_close(wal);
    struct log_back back;
    log_back_read(&back, os_real(), scratch_at(&scratch, "log"), 2);
    assert_true(back.run == 10 && back.segments == 6 && back.seals == 2 && !back.broken);
    log_back_done(&back);
}

/* Whatever numbers deal changes to files, such as those of a few thousand shards, each gets some.
 */
static void test_deal(void **state)
{
    (void)state;
    struct wal_settings settings = log_settings;
    settings.files = 4;
    settings.durability = WAL_PERIODIC; /* which fills no room ahead */
    const char *directory = scratch_at(&scratch, "log");
    struct wal *wal = must_open(directory, &settings);
    for (uint64_t shard = 0; shard < ROUND_TRIPS; shard++) {
        unsigned char value[8];
        struct change change = log_change(shard + 1, value, sizeof value);
        assert_true(wal_append(wal, &change, &shard, 1) == shard + 1);
    }
    must_close(wal);
    for (unsigned file = 0; file < settings.files; file++) {
        struct stat info;
        char name[SEGMENT_NAME_BYTES], path[SCRATCH_PATH_BYTES + SEGMENT_NAME_BYTES];
        segment_name(file, 1, name);
        snprintf(path, sizeof path, "%s/%s", directory, name);
        assert_int_equal(stat(path, &info), 0);
        assert_true((uint64_t)info.st_size > ROUND_TRIPS / 8 * 50);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rotate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deal, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
