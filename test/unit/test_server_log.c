/* Goal: a log line has its form, stays one line, is bounded, and appears from its level on.
 * Method: stderr is a pipe for the moment; read what comes out. */
#include "lib/test.h"

#include <string.h>
#include <unistd.h>

#include "core/buffer.h"
#include "server/log.h"

static char text[8192];

/* Run the statement with stderr caught in text. */
#define CATCH(statement)                                                                           \
    do {                                                                                           \
        int ends[2], saved = dup(2);                                                               \
        assert_int_equal(pipe(ends), 0);                                                           \
        dup2(ends[1], 2);                                                                          \
        close(ends[1]);                                                                            \
        statement;                                                                                 \
        dup2(saved, 2);                                                                            \
        close(saved);                                                                              \
        ssize_t size = read(ends[0], text, sizeof text - 1);                                       \
        close(ends[0]);                                                                            \
        text[size > 0 ? size : 0] = 0;                                                             \
    } while (0)

static void test_form(void **state)
{
    (void)state;
    CATCH(log_event(LOG_INFO, "server", "listening", "address=%s port=%d", "::1", 5));
    /* 2026-11-21T03:10:00.123Z info server listening address=::1 port=5 */
    assert_int_equal(strspn(text, "0123456789-T:."), strlen("2026-11-21T03:10:00.123"));
    assert_string_equal(text + 23, "Z info server listening address=::1 port=5\n");
    CATCH(log_event(LOG_ERROR, "store", "failed", "%s", ""));
    assert_string_equal(text + 23, "Z error store failed \n");
}

static void test_levels(void **state)
{
    (void)state;
    CATCH(log_event(LOG_DEBUG, "a", "b", "c"));
    assert_string_equal(text, "");
    log_set_level(LOG_DEBUG);
    CATCH(log_event(LOG_DEBUG, "a", "b", "c"));
    assert_string_equal(text + 23, "Z debug a b c\n");
    log_set_level(LOG_SILENT);
    CATCH(log_event(LOG_ERROR, "a", "b", "c"));
    assert_string_equal(text, "");
    log_set_level(LOG_INFO);
    assert_string_equal(log_level_words[LOG_SILENT], "silent");
    assert_null(log_level_words[LOG_SILENT + 1]);
}

/* What a peer sent cannot forge a second line, nor a line without end. */
static void test_hostile(void **state)
{
    (void)state;
    struct buffer escaped = {0};
    char bytes[3000];
    buffer_append_escaped(&escaped, bytes_of("a\r\nb\x1b[0m\""));
    buffer_append_byte(&escaped, 0);
    CATCH(log_event(LOG_INFO, "a", "b", "x=%s", (char *)escaped.data));
    assert_string_equal(text + 23, "Z info a b x=a\\r\\nb\\x1b[0m\\\"\n");
    CATCH(log_event(LOG_INFO, "a", "b", "%s", "x\ny\rz\x1b"));
    assert_string_equal(text + 23, "Z info a b x y z \n");
    memset(bytes, 'x', sizeof bytes);
    bytes[sizeof bytes - 1] = 0;
    CATCH(log_event(LOG_INFO, "a", "b", "%s", bytes));
    assert_int_equal(strlen(text), 1025);
    assert_int_equal(text[1024], '\n');
    buffer_done(&escaped);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_form),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_hostile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
