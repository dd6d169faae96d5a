/* Goal: a command's synopsis shows tokens, alternatives, optional and repeated parts so that one
 * can type it; HELP of a container has a line for each subcommand, HELP last.
 * Method: synopses of rows that use each kind of argument; HELP over a client that only collects
 * what is answered. */
#include "server/command_rows.h"

#include <stdio.h>

#include "lib/test.h"

static void assert_synopsis(const char *full_name, const char *expected)
{
    struct buffer out;
    buffer_init(&out, 0);
    const struct command *command = command_find_full(bytes_of(full_name));
    assert_non_null(command);
    command_append_synopsis(command, &out);
    buffer_append_byte(&out, 0);
    assert_string_equal((char *)out.data, expected);
    buffer_done(&out);
}

static void test_synopsis(void **state)
{
    (void)state;
    assert_synopsis("ping", "PING [<message>]");
    assert_synopsis("get", "GET <key>");
    assert_synopsis("mget", "MGET <key> [<key> ...]");
    assert_synopsis("dbsize", "DBSIZE");
    assert_synopsis("scan", "SCAN <cursor> [MATCH <pattern>] [COUNT <count>] [TYPE <type>]");
    assert_synopsis("hello",
                    "HELLO [<protover> [AUTH <username> <password>] [SETNAME <clientname>]]");
    assert_synopsis("client|reply", "REPLY (ON|OFF|SKIP)");
    assert_synopsis("client|setinfo", "SETINFO (LIB-NAME <libname>|LIB-VER <libver>)");
    assert_synopsis("config|set", "SET <parameter> <value> [<parameter> <value> ...]");
    assert_synopsis("command|list", "LIST [FILTERBY (MODULE <module-name>|ACLCAT <category>|"
                                    "PATTERN <pattern>)]");
    assert_synopsis("bitfield_ro", "BITFIELD_RO <key> [GET <encoding> <offset> "
                                   "[GET <encoding> <offset> ...]]");
    assert_synopsis("shutdown", "SHUTDOWN [(NOSAVE|SAVE)] [NOW] [FORCE] [ABORT]");
}

/* Every container: the number announced is the number of lines, and every subcommand is there. */
static void test_help_of_every_container(void **state)
{
    (void)state;
    for (size_t i = 0; i < COMMAND_SERVED_COUNT; i++) {
        const struct command *container = &command_served[i];
        if (container->subcommands == NULL)
            continue;
        struct buffer out;
        buffer_init(&out, 0);
        struct client client = {.reply = {&out, 2}};
        struct tarn_bytes args[] = {bytes_of(container->name), bytes_of("help")};
        cmd_help(&client, &(struct resp_request){args, 2});
        buffer_append_byte(&out, 0);
        char *text = (char *)out.data;
        size_t lines = 0;
        for (char *p = strstr(text, "\r\n"); p != NULL; p = strstr(p + 2, "\r\n"))
            lines++;
        char announced[32];
        snprintf(announced, sizeof announced, "*%zu\r\n", lines - 1);
        assert_memory_equal(text, announced, strlen(announced));
        for (const struct command *sub = container->subcommands; sub->name != NULL; sub++)
            assert_non_null(strstr(text, sub->summary));
        char *help = strstr(text, "\r\n+HELP\r\n");
        assert_non_null(help);
        assert_null(strstr(strstr(help + 9, "\r\n") + 2, "\r\n")); /* one line more, then the end */
        buffer_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_synopsis),
        cmocka_unit_test(test_help_of_every_container),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
