/* Goal: the start of a file as a string, whatever the file is; nothing waits.
 * Method: a file longer than the room, a folder, a pipe that nobody writes to. */
#include "os/text_file.h"

#include <sys/stat.h>

#include "lib/test.h"

#include "core/bytes.h"
#include "lib/scratch.h"

static void test_text_file(void **state)
{
    (void)state;
    struct scratch scratch;
    scratch_open(&scratch);
    char text[8] = "before", path[SCRATCH_PATH_BYTES];
    assert_false(text_file_read(scratch_at(&scratch, "none"), text, sizeof text));
    assert_false(text_file_read(scratch.path, text, sizeof text)); /* a folder */
    assert_string_equal(text, "before");
    file_write(scratch_at(&scratch, "long"), bytes_of("0123456789"));
    assert_true(text_file_read(scratch_at(&scratch, "long"), text, sizeof text));
    assert_string_equal(text, "0123456");
    assert_int_equal(mkfifo(scratch_name(&scratch, "fifo", path), 0600), 0);
    assert_true(text_file_read(path, text, sizeof text)); /* empty, and at once */
    assert_string_equal(text, "");
    scratch_close(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
