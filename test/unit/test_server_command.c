/* Goal: the command tables are consistent (every row found by its name, ids dense, what COMMAND
 * says is filled in), and a request is admitted or refused with Redis 7's exact words.
 * Method: walk all rows; a client over a struct server that holds nothing but settings. */
#include "server/command.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/test.h"

#include "server/command_rows.h"
#include "server/state.h"

struct fixture {
    struct config config;
    struct server server;
    struct buffer out;
    struct client client;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    options_init(&config_options, &f->config);
    pthread_mutex_init(&f->server.config_lock, NULL);
    static char path[] = "a data file";
    f->server.data_path = path; /* not writable */
    f->server.config = &f->config;
    static char data_path[] = "data"; /* immutable */
    f->server.data_path = data_path;
    f->client.server = &f->server;
    f->client.reply = (struct reply){&f->out, 2};
    f->client.authenticated = true;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    options_done(&config_options, &f->config);
    pthread_mutex_destroy(&f->server.config_lock);
    buffer_done(&f->out);
    free(f);
    return 0;
}

/* A request of words separated by spaces; an empty word is written as "". */
static struct resp_request request_of(const char *line)
{
    static char text[4096];
    static struct tarn_bytes args[64];
    struct resp_request request = {args, 0};
    snprintf(text, sizeof text, "%s", line);
    for (char *save, *word = strtok_r(text, " ", &save); word != NULL;
         word = strtok_r(NULL, " ", &save))
        args[request.count++] = bytes_of(strcmp(word, "\"\"") == 0 ? "" : word);
    return request;
}

/* --- the tables --- */

/* All rows of both tables, subcommands after their container. */
static size_t all_rows(const struct command *ret_rows[512])
{
    size_t count = 0;
    for (size_t i = 0; i < COMMAND_SERVED_COUNT; i++) {
        ret_rows[count++] = &command_served[i];
        const struct command *sub = command_served[i].subcommands;
        for (; sub != NULL && sub->name != NULL; sub++)
            ret_rows[count++] = sub;
    }
    for (size_t i = 0; i < COMMAND_REFUSED_IDS; i++)
        ret_rows[count++] = &command_refused[i];
    return count;
}

/* A row out of order would not be found by halves. */
static void test_every_row_is_found_by_its_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < COMMAND_SERVED_COUNT; i++) {
        const struct command *c = &command_served[i];
        assert_ptr_equal(command_find(bytes_of(c->name)), c);
        for (const struct command *s = c->subcommands; s != NULL && s->name != NULL; s++) {
            char line[64];
            snprintf(line, sizeof line, "%s %s", c->name, s->name);
            struct resp_request request = request_of(line);
            assert_ptr_equal(command_find_request(&request), s);
            snprintf(line, sizeof line, "%s|%s", c->name, s->name);
            assert_string_equal(s->full_name, line);
            assert_ptr_equal(command_find_full(bytes_of(line)), s);
        }
    }
    for (size_t i = 0; i < COMMAND_REFUSED_IDS; i++) {
        assert_ptr_equal(command_find(bytes_of(command_refused[i].name)), &command_refused[i]);
        assert_null(command_find_full(bytes_of(command_refused[i].name)));
    }
}

static void test_ids_are_dense_and_name_their_row(void **state)
{
    (void)state;
    const struct command *rows[512];
    bool seen[512] = {false};
    size_t count = all_rows(rows);
    assert_int_equal(count, command_count());
    for (size_t i = 0; i < count; i++) {
        assert_true(rows[i]->id < command_count());
        assert_false(seen[rows[i]->id]);
        seen[rows[i]->id] = true;
        assert_string_equal(command_full_name(rows[i]->id), rows[i]->full_name);
    }
    assert_null(command_full_name(command_count()));
    assert_null(command_full_name(UINT32_MAX));
}

static void check_arguments(const struct command_argument *arguments, int depth)
{
    assert_true(depth < 8);
    assert_non_null(arguments->name);
    for (const struct command_argument *a = arguments; a->name != NULL; a++) {
        bool group = a->type == ARGUMENT_ONEOF || a->type == ARGUMENT_BLOCK;
        assert_int_equal(group, a->parts != NULL);
        if (a->type == ARGUMENT_PURE_TOKEN)
            assert_non_null(a->token);
        if (group)
            check_arguments(a->parts, depth + 1);
    }
}

static void test_served_rows_are_complete(void **state)
{
    (void)state;
    const struct command *rows[512];
    size_t count = all_rows(rows);
    for (size_t i = 0; i < count; i++) {
        const struct command *c = rows[i];
        assert_int_not_equal(c->arity, 0);
        assert_non_null(c->group);
        if (c->flags & COMMAND_REFUSED) {
            assert_true(c->run == NULL && c->read == NULL && c->subcommands == NULL);
            continue;
        }
        assert_true(c->summary[0] != 0 && c->since[0] != 0 && c->complexity[0] != 0);
        assert_int_equal(c->categories[0], '@');
        assert_null(strchr(c->summary, '\n'));
        assert_false(c->run != NULL && c->read != NULL);
        assert_true(c->run != NULL || c->read != NULL || c->subcommands != NULL);
        assert_false((c->flags & COMMAND_WRITE) && (c->flags & COMMAND_READONLY));
        if (c->arguments != NULL)
            check_arguments(c->arguments, 0);
        else
            assert_true(abs(c->arity) <= 2);
    }
}

/* The connection takes args[1] of a gathered read as its key without looking. */
static void test_keys_are_within_what_arity_promises(void **state)
{
    (void)state;
    const struct command *rows[512];
    size_t count = all_rows(rows);
    for (size_t i = 0; i < count; i++) {
        const struct command *c = rows[i];
        if (c->key_first != 0) {
            assert_true(c->key_step >= 1);
            assert_true(c->key_first < abs(c->arity));
            assert_true(c->key_last < 0 ? c->arity < 0 : c->key_last >= c->key_first);
        }
        if (c->read != NULL) {
            assert_true(c->key_first == 1 && c->key_last == 1);
            assert_true(abs(c->arity) >= 2);
            assert_true(c->flags & COMMAND_READONLY);
        }
    }
}

static void test_case_is_ignored_and_near_misses_are_not_found(void **state)
{
    (void)state;
    static const char *const gets[] = {"get", "GET", "gEt", "Get"};
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(command_find(bytes_of(gets[i]))->name, "get");
    assert_string_equal(command_find(bytes_of("DbSize"))->name, "dbsize");
    assert_string_equal(command_find(bytes_of("SET"))->name, "set");
    static const char *const none[] = {
        "", "ge", "gett", "g%t", "fet", "get ", "zzz", "a", "georadiusbymember_ro_georadiusby"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_null(command_find(bytes_of(none[i])));
    assert_null(command_find((struct tarn_bytes){"dbsize\0x", 8}));
    assert_null(command_find((struct tarn_bytes){"dbsize\0", 7}));
    assert_null(command_find((struct tarn_bytes){"G\0T", 3}));
    char large[100000];
    memset(large, 'g', sizeof large);
    assert_null(command_find((struct tarn_bytes){large, sizeof large}));
    assert_null(command_find_full(bytes_of("get|x")));
    assert_null(command_find_full(bytes_of("client|")));
    assert_null(command_find_full(bytes_of("|")));
}

/* --- admitting --- */

static void assert_refused(struct fixture *f, const struct resp_request *request, const char *error)
{
    buffer_clear(&f->out);
    assert_null(command_admit(&f->client, request));
    buffer_append_byte(&f->out, 0);
    assert_string_equal((char *)f->out.data, error);
}

static void assert_line_refused(struct fixture *f, const char *line, const char *error)
{
    struct resp_request request = request_of(line);
    assert_refused(f, &request, error);
}

static void assert_admitted(struct fixture *f, const char *line, const char *full_name)
{
    struct resp_request request = request_of(line);
    buffer_clear(&f->out);
    const struct command *command = command_admit(&f->client, &request);
    assert_non_null(command);
    assert_string_equal(command->full_name, full_name);
    assert_int_equal(f->out.size, 0);
}

static void test_right_requests_are_admitted(void **state)
{
    struct fixture *f = *state;
    assert_admitted(f, "GET a", "get");
    assert_admitted(f, "mget a b c", "mget");
    assert_admitted(f, "ping", "ping");
    assert_admitted(f, "CLIENT setname x", "client|setname");
    assert_admitted(f, "command", "command");
    assert_admitted(f, "quit now or never", "quit");
}

static void test_unknown_commands(void **state)
{
    struct fixture *f = *state;
    assert_line_refused(f, "foo", "-ERR unknown command 'foo', with args beginning with: \r\n");
    assert_line_refused(f, "FOO a b",
                        "-ERR unknown command 'FOO', with args beginning with: 'a' 'b' \r\n");
    assert_line_refused(f, "\"\" \"\"",
                        "-ERR unknown command '', with args beginning with: '' \r\n");
    assert_line_refused(f, "client nosuch",
                        "-ERR unknown subcommand 'nosuch'. Try CLIENT HELP.\r\n");
    assert_line_refused(f, "Client MAINT_NOTIFICATIONS on",
                        "-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.\r\n");
    struct tarn_bytes args[] = {{"no\r\nsuch", 8}, {"cut\0here", 8}};
    assert_refused(f, &(struct resp_request){args, 2},
                   "-ERR unknown command 'no  such', with args beginning with: 'cut' \r\n");
}

/* The bound on what is printed: a long line must be cut, at any alignment of the arguments. */
static void test_unknown_command_prints_bounded_arguments(void **state)
{
    struct fixture *f = *state;
    char big[1000], expected[512];
    memset(big, 'x', sizeof big);
    struct tarn_bytes args[64];
    args[0] = (struct tarn_bytes){big, sizeof big};
    for (size_t first = 0; first <= 130; first++) {
        args[1] = (struct tarn_bytes){big, first};
        args[2] = (struct tarn_bytes){big, sizeof big};
        args[3] = bytes_of("tail");
        size_t used = first < 128 ? first + 3 : 131;
        int size = snprintf(expected, sizeof expected,
                            "-ERR unknown command '%.128s', with args beginning with: '%.*s' ", big,
                            first < 128 ? (int)first : 128, big);
        if (used < 128)
            snprintf(expected + size, sizeof expected - (size_t)size, "'%.*s' ", (int)(128 - used),
                     big);
        strcat(expected, "\r\n");
        assert_refused(f, &(struct resp_request){args, 4}, expected);
    }
}

static void test_arity(void **state)
{
    struct fixture *f = *state;
    assert_line_refused(f, "get", "-ERR wrong number of arguments for 'get' command\r\n");
    assert_line_refused(f, "GET a b", "-ERR wrong number of arguments for 'get' command\r\n");
    assert_line_refused(f, "mget", "-ERR wrong number of arguments for 'mget' command\r\n");
    assert_line_refused(f, "client setname",
                        "-ERR wrong number of arguments for 'client|setname' command\r\n");
    assert_line_refused(f, "client", "-ERR wrong number of arguments for 'client' command\r\n");
    assert_line_refused(f, "set a", "-ERR wrong number of arguments for 'set' command\r\n");
}

static void test_what_is_not_served(void **state)
{
    struct fixture *f = *state;
    const char *readonly = "-READONLY You can't write against an immutable data set.\r\n";
    assert_line_refused(f, "set a b", readonly);
    assert_line_refused(f, "DEL a", readonly);
    assert_line_refused(f, "flushall", readonly);
    assert_line_refused(f, "hset a b c", readonly);
    assert_line_refused(f, "hget a b",
                        "-ERR tarn does not serve 'hget': it holds strings only\r\n");
    assert_line_refused(f, "subscribe a",
                        "-ERR tarn does not serve 'subscribe': it has no channels"
                        "\r\n");
    assert_line_refused(f, "cluster info", "-ERR This instance has cluster support disabled\r\n");
    assert_line_refused(
        f, "debug sleep 1",
        "-ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", "
        "you can run it from a local connection, otherwise you need to set this option in the "
        "configuration file, and then restart the server.\r\n");
    assert_line_refused(f, "acl setuser x",
                        "-ERR tarn does not serve 'acl|setuser': it has one user, default\r\n");
    assert_line_refused(f, "ACL SETUSERS x",
                        "-ERR unknown subcommand 'SETUSERS'. Try ACL HELP.\r\n");
}

/* Redis tells an unknown command and a wrong arity before it asks for the password. */
static void test_authentication(void **state)
{
    struct fixture *f = *state;
    const struct option *row = options_find(&config_options, bytes_of("password"));
    assert_int_equal(options_set(row, &f->config, bytes_of("secret"), NULL), TARN_OK);
    f->client.authenticated = false;
    const char *noauth = "-NOAUTH Authentication required.\r\n";
    assert_line_refused(f, "get a", noauth);
    assert_line_refused(f, "set a b", noauth);
    assert_line_refused(f, "client id", noauth);
    assert_line_refused(f, "get", "-ERR wrong number of arguments for 'get' command\r\n");
    assert_line_refused(f, "foo", "-ERR unknown command 'foo', with args beginning with: \r\n");
    assert_admitted(f, "auth x", "auth");
    assert_admitted(f, "hello 3", "hello");
    assert_admitted(f, "quit", "quit");
    assert_admitted(f, "reset", "reset");
    f->client.authenticated = true;
    assert_admitted(f, "get a", "get");
    f->client.authenticated = false;
    assert_int_equal(options_set(row, &f->config, bytes_of(""), NULL), TARN_OK);
    assert_admitted(f, "get a", "get"); /* the password was taken away meanwhile */
}

/* --- what may be logged --- */

/* `marks`: one character an argument, 'x' where it is secret. */
static void assert_secrets(const char *line, const char *marks)
{
    struct resp_request request = request_of(line);
    assert_int_equal(request.count, strlen(marks));
    for (size_t i = 0; i < request.count; i++)
        assert_int_equal(command_argument_is_secret(&request, i), marks[i] == 'x');
}

static void test_passwords_are_secret(void **state)
{
    (void)state;
    assert_secrets("AUTH pw", ".x");
    assert_secrets("auth default pw", ".xx");
    assert_secrets("HELLO 3 AUTH default pw SETNAME me", "...xx..");
    assert_secrets("hello 3 setname auth auth u p", ".....xx");
    assert_secrets("HELLO 3 auth u", "...x");
    assert_secrets("CONFIG SET timeout 1 requirepass pw", ".....x");
    assert_secrets("config set PASSWORD pw timeout 5", "...x..");
    assert_secrets("CONFIG GET requirepass", "...");
    assert_secrets("GET auth", "..");
    assert_secrets("PING", ".");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row_is_found_by_its_name),
        cmocka_unit_test(test_ids_are_dense_and_name_their_row),
        cmocka_unit_test(test_served_rows_are_complete),
        cmocka_unit_test(test_keys_are_within_what_arity_promises),
        cmocka_unit_test(test_case_is_ignored_and_near_misses_are_not_found),
        cmocka_unit_test_setup_teardown(test_right_requests_are_admitted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unknown_commands, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unknown_command_prints_bounded_arguments, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_arity, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_not_served, setup, teardown),
        cmocka_unit_test_setup_teardown(test_authentication, setup, teardown),
        cmocka_unit_test(test_passwords_are_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
