/* Goal: a dump of a store is all of it or an error, also where keys are looked up in a checkpoint
 * that is damaged.
 * Method: a directory with a checkpoint, opened so that it is read in the background; then the same
 * with a byte of it changed. (What a dump looks like is tried from outside.)
 *
 * Bugs planted once to see it fail: what tarn_scan() returns ignored. */
#include "lib/test.h"

#include <stdlib.h>

#include "cli/dump.h"
#include "lib/scratch.h"

#define COUNT 1000

static struct scratch scratch;
static char directory[SCRATCH_PATH_BYTES];

static struct tarn *open_store(void)
{
    struct tarn *store;
    struct tarn_error error;
    const struct tarn_options options = {
        .directory = directory, .load_bytes_max = 1, .dial.durability = TARN_DURABILITY_NONE};
    if (tarn_open(&options, &store, &error) != TARN_OK)
        fail_msg("%s", error.text);
    return store;
}

static int make(void **state)
{
    struct tarn_session *session;
    char key[16];
    (void)state;
    scratch_open(&scratch);
    scratch_name(&scratch, "store", directory);
    struct tarn *store = open_store();
    assert_int_equal(tarn_session_open(store, &session, NULL), TARN_OK);
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "key %d", i);
        assert_int_equal(tarn_put(session, bytes_of(key), bytes_of("the value"), 0), TARN_OK);
    }
    tarn_session_close(session);
    assert_int_equal(tarn_checkpoint(store, NULL), TARN_OK);
    tarn_close(store);
    return 0;
}

static int clean(void **state)
{
    (void)state;
    scratch_close(&scratch);
    return 0;
}

static int count_record(void *context, const struct tarn_record *record, struct tarn_error *error)
{
    (void)error;
    assert_true(bytes_equal(record->value, bytes_of("the value")));
    ++*(int *)context;
    return TARN_OK;
}

static bool go_on(void *context, const char *phase, uint64_t done, uint64_t total)
{
    (void)context, (void)phase, (void)done, (void)total;
    return true;
}

static int dump(int *ret_count, struct tarn_error *error)
{
    const struct dump_target target = {
        .sink = count_record, .context = ret_count, .progress = go_on};
    struct tarn *store = open_store();
    *ret_count = 0;
    int status = dump_store(store, &target, error);
    tarn_close(store);
    return status;
}

static void test_all_of_it(void **state)
{
    struct tarn_error error;
    int count;
    (void)state;
    assert_int_equal(dump(&count, &error), TARN_OK);
    assert_int_equal(count, COUNT);
}

static void test_damaged(void **state)
{
    struct tarn_error error;
    struct buffer content = {0};
    char path[SCRATCH_PATH_BYTES];
    int count;
    (void)state;
    assert_true(file_read(scratch_name(&scratch, "store/checkpoint-0000000001", path), &content));
    unsigned char *at = memmem(content.data, content.size, "the value", 9);
    assert_non_null(at);
    *at ^= 1;
    file_write(path, buffer_view(&content));
    buffer_done(&content);
    assert_int_equal(dump(&count, &error), TARN_CORRUPT);
    assert_string_equal(error.text, "cannot read all keys: damaged data");
    assert_true(count < COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all_of_it, make, clean),
        cmocka_unit_test_setup_teardown(test_damaged, make, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
