/* Goal: whichever system call of publishing a file fails, at whichever point, the error names the
 * file and the reason, no temporary file is left, nothing stays open, and the old file is whole.
 * Method: one publish of several appends and an overwrite is run again and again; run n fails the
 * nth call of an entry, for every entry, with several reasons, once or for good. Short writes are
 * dealt out the same way and must change nothing. */
#include "os/publish.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/test.h"

#include "lib/fault_os.h"
#include "lib/scratch.h"

static const char content_old[] = "the old content";
static const char content_new[] = "HEADER, first part, second part";

static int write_new(const struct os *os, const char *path, struct tarn_error *error)
{
    struct publish p;
    int status = publish_open(&p, os, path, error);
    if (status == TARN_OK)
        status = publish_append(&p, "------", 6, error);
    if (status == TARN_OK)
        status = publish_append(&p, content_new + 6, 12, error);
    if (status == TARN_OK)
        status = publish_append(&p, content_new + 18, sizeof content_new - 1 - 18, error);
    if (status == TARN_OK)
        status = publish_write_at(&p, content_new, 6, 0, error);
    if (status == TARN_OK)
        status = publish_commit(&p, error);
    publish_abort(&p); /* allowed after any outcome */
    return status;
}

struct scene {
    struct scratch scratch;
    const char *path;
    struct fault_os fault;
    bool has_old; /* whether an older file is there */
};

static void start(struct scene *s, bool has_old)
{
    scratch_open(&s->scratch);
    s->path = scratch_at(&s->scratch, "data.tarnidx");
    s->has_old = has_old;
    if (has_old)
        file_write(s->path, (struct tarn_bytes){content_old, sizeof content_old - 1});
    fault_os_init(&s->fault, NULL);
}

static void finish(struct scene *s)
{
    assert_true(fault_os_clean(&s->fault)); /* nothing left open */
    fault_os_done(&s->fault);
    scratch_close(&s->scratch);
}

static bool holds_new(const struct scene *s)
{
    return file_holds(s->path, (struct tarn_bytes){content_new, sizeof content_new - 1});
}

/* After a failure: the old state, or, once the rename is done, the new file whole. */
static void check_after_failure(const struct scene *s, bool renamed)
{
    if (renamed) {
        assert_true(holds_new(s));
        assert_int_equal(scratch_count(&s->scratch, ""), 1);
        return;
    }
    assert_int_equal(scratch_count(&s->scratch, ""), s->has_old ? 1 : 0);
    if (s->has_old)
        assert_true(file_holds(s->path, (struct tarn_bytes){content_old, sizeof content_old - 1}));
}

/* One run with one call failing; false if the operation makes fewer than nth such calls. */
static bool run_failing(enum fault_entry entry, uint64_t nth, int number, bool stays, bool has_old)
{
    struct scene s;
    struct tarn_error error = {.status = 42};
    start(&s, has_old);
    fault_os_fail(&s.fault, entry, nth, number, stays);
    int status = write_new(&s.fault.os, s.path, &error);
    bool fired = fault_os_fired(&s.fault);
    if (!fired) {
        assert_int_equal(status, TARN_OK);
        assert_true(holds_new(&s));
    } else {
        assert_int_equal(status, os_status(-number));
        assert_int_equal(error.status, status);
        assert_non_null(strstr(error.text, s.path));
        assert_non_null(strstr(error.text, strerror(number)));
        bool renamed = fault_os_calls(&s.fault, FAULT_RENAME) > 0 && entry != FAULT_RENAME;
        check_after_failure(&s, renamed);
        if (renamed)
            assert_non_null(strstr(error.text, "the new file is in place"));
    }
    finish(&s);
    return fired;
}

/* The calls that this operation makes of each entry that can fail: as many runs must fail. */
static void test_every_call_failed_once(void **state)
{
    (void)state;
    static const struct {
        enum fault_entry entry;
        uint64_t calls;
    } expected[] = {
        {FAULT_ENTROPY, 1},  {FAULT_OPEN, 2} /* file, directory */,
        {FAULT_WRITE_AT, 4}, {FAULT_SYNC, 2},
        {FAULT_CLOSE, 2},    {FAULT_RENAME, 1},
    };
    static const int numbers[] = {ENOSPC, EIO, EDQUOT, ENOMEM, EACCES, EROFS, EMFILE};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        for (size_t j = 0; j < sizeof numbers / sizeof numbers[0]; j++) {
            for (int has_old = 0; has_old <= 1; has_old++) {
                for (int stays = 0; stays <= 1; stays++) {
                    uint64_t nth = 1;
                    while (run_failing(expected[i].entry, nth, numbers[j], stays, has_old))
                        nth++;
                    assert_int_equal(nth - 1, expected[i].calls);
                }
            }
        }
    }
}

/* Entries that publishing has no business with: failing them all must change nothing. */
static void test_other_entries_are_not_used(void **state)
{
    (void)state;
    for (int entry = 0; entry < FAULT_ENTRY_COUNT; entry++) {
        switch (entry) {
        case FAULT_ENTROPY:
        case FAULT_OPEN:
        case FAULT_WRITE_AT:
        case FAULT_SYNC:
        case FAULT_CLOSE:
        case FAULT_RENAME:
            continue;
        default:
            if (run_failing((enum fault_entry)entry, 1, EIO, true, true))
                fail_msg("%s is used", fault_entry_name((enum fault_entry)entry));
        }
    }
}

/* Every write cut to every length goes on where it stopped; one that takes nothing ends it. */
static void test_short_writes(void **state)
{
    (void)state;
    for (uint64_t nth = 1;; nth++) {
        bool fired = false;
        for (size_t size = 0; size < 8; size++) {
            struct scene s;
            struct tarn_error error;
            start(&s, true);
            fault_os_short(&s.fault, FAULT_WRITE_AT, nth, size);
            int status = write_new(&s.fault.os, s.path, &error);
            fired |= fault_os_fired(&s.fault);
            if (size == 0 && fault_os_fired(&s.fault)) {
                assert_int_equal(status, TARN_IO);
                check_after_failure(&s, false);
            } else {
                assert_int_equal(status, TARN_OK);
                assert_true(holds_new(&s));
            }
            finish(&s);
        }
        if (!fired) {
            assert_int_equal(nth, 5); /* four writes, each cut */
            return;
        }
    }
}

/* When even removing the temporary file fails, the first reason is still the one told. */
static void test_unlink_fails_too(void **state)
{
    (void)state;
    struct scene s;
    struct tarn_error error;
    start(&s, true);
    fault_os_fail(&s.fault, FAULT_WRITE_AT, 2, ENOSPC, true);
    fault_os_fail(&s.fault, FAULT_UNLINK, 1, EIO, true);
    assert_int_equal(write_new(&s.fault.os, s.path, &error), TARN_NOSPACE);
    assert_non_null(strstr(error.text, "No space left on device; free space and run again"));
    assert_true(file_holds(s.path, (struct tarn_bytes){content_old, sizeof content_old - 1}));
    finish(&s);
}

/* A name that exists by chance is tried again, but not for ever. */
static void test_name_taken_by_chance(void **state)
{
    (void)state;
    struct scene s;
    struct tarn_error error;
    start(&s, true);
    fault_os_fail(&s.fault, FAULT_OPEN, 1, EEXIST, false);
    assert_int_equal(write_new(&s.fault.os, s.path, &error), TARN_OK);
    assert_true(holds_new(&s));
    fault_os_reset(&s.fault);
    fault_os_fail(&s.fault, FAULT_OPEN, 1, EEXIST, true);
    assert_int_equal(write_new(&s.fault.os, s.path, &error), TARN_IO);
    assert_in_range(fault_os_calls(&s.fault, FAULT_OPEN), 2, 100);
    assert_int_equal(scratch_count(&s.scratch, ""), 1);
    finish(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_call_failed_once),
        cmocka_unit_test(test_other_entries_are_not_used),
        cmocka_unit_test(test_short_writes),
        cmocka_unit_test(test_unlink_fails_too),
        cmocka_unit_test(test_name_taken_by_chance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
