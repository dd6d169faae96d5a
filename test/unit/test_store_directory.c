/* Goal: a directory is one store's, held by one process, made step by step and found damaged when a
 * part is missing. Method: real files; every call failing once (fault_os).
 *
 * Bugs planted once to see it fail: no lock taken; a directory with segments but no manifest taken
 * for a new one; SYNCED of another store accepted; the manifest published before SYNCED is there.
 */
#include "lib/test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/fault_os.h"
#include "lib/scratch.h"
#include "store/directory.h"

static struct scratch scratch;

static int setup(void **state)
{
    (void)state;
    scratch_open(&scratch);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_close(&scratch);
    return 0;
}

static int open_at(const char *name, bool readonly, struct directory *d, struct manifest *m,
                   struct tarn_error *error)
{
    return directory_open(os_real(), scratch_at(&scratch, name), readonly, d, m, error);
}

static void one_at_a_time(void **state)
{
    (void)state;
    struct directory d, second;
    struct manifest m, again;
    struct tarn_error error;
    assert_int_equal(open_at("store", true, &d, &m, &error), TARN_MISSING);
    assert_int_equal(open_at("store", false, &d, &m, &error), TARN_OK);
    assert_true(m.closed && m.store_id != 0 && m.checkpoint_number == 0);
    assert_int_equal(open_at("store", false, &second, &again, &error), TARN_BUSY);
    assert_non_null(strstr(error.text, "in use by another process"));
    assert_int_equal(open_at("store", true, &second, &again, &error), TARN_BUSY);
    directory_close(&d);
    assert_int_equal(open_at("store", false, &d, &again, &error), TARN_OK);
    assert_true(again.store_id == m.store_id);
    directory_close(&d);
}

static void manifest_and_mark(void **state)
{
    (void)state;
    struct directory d;
    struct manifest m;
    struct tarn_error error;
    uint64_t sequence;
    assert_int_equal(open_at("store", false, &d, &m, &error), TARN_OK);
    m.sequence = 17;
    m.files = 2;
    assert_int_equal(directory_put_manifest(&d, &m, &error), TARN_OK);
    directory_mark_synced(&d, 99);
    directory_close(&d);
    assert_int_equal(open_at("store", false, &d, &m, &error), TARN_OK);
    assert_true(m.sequence == 17 && m.files == 2);
    assert_int_equal(directory_read_synced(&d, &sequence, &error), TARN_OK);
    assert_int_equal(sequence, 99);
    directory_close(&d);
}

/* Each part missing, and SYNCED of another store. */
static void missing_parts(void **state)
{
    (void)state;
    struct directory d;
    struct manifest m;
    struct tarn_error error;
    uint64_t sequence;
    struct buffer other = {.size_max = 0};
    assert_int_equal(open_at("a", false, &d, &m, &error), TARN_OK);
    directory_close(&d);
    assert_int_equal(open_at("b", false, &d, &m, &error), TARN_OK);
    directory_close(&d);

    assert_true(file_read(scratch_at(&scratch, "b/SYNCED"), &other));
    file_write(scratch_at(&scratch, "a/SYNCED"), buffer_view(&other));
    assert_int_equal(open_at("a", false, &d, &m, &error), TARN_OK);
    assert_int_equal(directory_read_synced(&d, &sequence, &error), TARN_CORRUPT);
    directory_close(&d);
    for (size_t bit = 0; bit < other.size * 8; bit++) {
        other.data[bit / 8] ^= (unsigned char)(1u << bit % 8);
        file_write(scratch_at(&scratch, "b/SYNCED"), buffer_view(&other));
        assert_int_equal(open_at("b", false, &d, &m, &error), TARN_OK);
        assert_int_equal(directory_read_synced(&d, &sequence, &error), TARN_CORRUPT);
        directory_close(&d);
        other.data[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    buffer_done(&other);

    assert_int_equal(unlink(scratch_at(&scratch, "a/SYNCED")), 0);
    assert_int_equal(open_at("a", false, &d, &m, &error), TARN_CORRUPT);
    assert_int_equal(unlink(scratch_at(&scratch, "b/MANIFEST")), 0);
    file_write(scratch_at(&scratch, "b/wal-00-0000000001.log"), (struct tarn_bytes){"x", 1});
    assert_int_equal(open_at("b", false, &d, &m, &error), TARN_CORRUPT);
    assert_non_null(strstr(error.text, "MANIFEST is missing"));
}

static void not_a_store(void **state)
{
    (void)state;
    struct directory d;
    struct manifest m;
    struct tarn_error error;
    file_write(scratch_at(&scratch, "home/letter.txt"), (struct tarn_bytes){"x", 1});
    assert_int_equal(open_at("home", false, &d, &m, &error), TARN_INVALID);
    assert_non_null(strstr(error.text, "letter.txt"));
    assert_int_equal(open_at("home/letter.txt", false, &d, &m, &error), TARN_INVALID);
    assert_int_equal(open_at("no/such", false, &d, &m, &error), TARN_MISSING);
}

static void left_overs_go(void **state)
{
    (void)state;
    static const char *const kept[] = {"checkpoint-0000000002", "wal-00-0000000003.log",
                                       "wal-00-0000000004.log", "mine.txt"};
    static const char *const gone[] = {"checkpoint-0000000001", "wal-00-0000000002.log",
                                       "wal-00-0000000005.log", "MANIFEST.tmp.0123456789abcdef",
                                       "checkpoint-0000000003.tmp.0123456789abcdef"};
    struct directory d;
    struct manifest m;
    struct tarn_error error;
    char path[SCRATCH_PATH_BYTES];
    assert_int_equal(open_at("store", false, &d, &m, &error), TARN_OK);
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "store/%s", kept[i]);
        file_write(scratch_at(&scratch, path), (struct tarn_bytes){"x", 1});
    }
    for (size_t i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "store/%s", gone[i]);
        file_write(scratch_at(&scratch, path), (struct tarn_bytes){"x", 1});
    }
    m.checkpoint_number = 2;
    m.files = 1;
    m.first[0] = 3;
    m.last[0] = 4;
    directory_clean(&d, &m);
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "store/%s", kept[i]);
        assert_true(file_holds(scratch_at(&scratch, path), (struct tarn_bytes){"x", 1}));
    }
    for (size_t i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "store/%s", gone[i]);
        assert_false(file_holds(scratch_at(&scratch, path), (struct tarn_bytes){"x", 1}));
    }
    directory_close(&d);
}

/* Whatever fails while a directory is made: nothing is left open, and the next try succeeds. */
static void every_call_fails(void **state)
{
    (void)state;
    static struct fault_os f;
    fault_os_init(&f, NULL);
    for (int entry = 0; entry < FAULT_ENTRY_COUNT; entry++)
        for (uint64_t nth = 1;; nth++) {
            struct directory d;
            struct manifest m;
            struct tarn_error error;
            char name[64];
            snprintf(name, sizeof name, "%s-%d", fault_entry_name((enum fault_entry)entry),
                     (int)nth);
            fault_os_reset(&f);
            fault_os_fail(&f, (enum fault_entry)entry, nth, EIO, false);
            int status = directory_open(&f.os, scratch_at(&scratch, name), false, &d, &m, &error);
            if (status == TARN_OK)
                directory_close(&d);
            bool fired = fault_os_fired(&f);
            fault_os_reset(&f);
            assert_true(fault_os_clean(&f));
            assert_true(fired || status == TARN_OK);
            assert_int_equal(open_at(name, false, &d, &m, &error), TARN_OK);
            directory_close(&d);
            if (!fired)
                break;
        }
    fault_os_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(manifest_and_mark, setup, teardown),
        cmocka_unit_test_setup_teardown(missing_parts, setup, teardown),
        cmocka_unit_test_setup_teardown(not_a_store, setup, teardown),
        cmocka_unit_test_setup_teardown(left_overs_go, setup, teardown),
        cmocka_unit_test_setup_teardown(every_call_fails, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
