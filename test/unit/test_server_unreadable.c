/* Goal: a key that cannot be read is answered an error, by every command, and is never said not to
 * be there; what is written anew can be read again.
 * Method: a store with a directory is filled, saved and closed; a byte of the checkpoint's only
 * block is changed; it is opened with the checkpoint to be read in the background, so that all that
 * was in it is looked for in the damaged block. Each command in turn; a list says of every command
 * of the table that it was thought of. Once more with reads of the disk that fail.
 *
 * Bugs planted once to see it fail: get_expiry() answering -2 whatever the status; MGET and EXISTS
 * that do not ask for the values' status; execute.c giving such a value to the command; EXEC
 * likewise; SCAN that ignores what tarn_scan() returns; -MISCONF where the log is sound. */
#include "lib/test.h"

#include "lib/server_world.h"
#include "server/command_rows.h"

#define UNREADABLE "-ERR cannot read the key: damaged data\r\n"
#define ALL_KEYS   "-ERR cannot read all keys: damaged data\r\n"

static struct world world;
static struct peer peer;

static void say(const char *line)
{
    peer_say_line(&world, &peer, line);
}

static void assert_answer(const char *line, const char *reply)
{
    say(line);
    expect(&peer, reply);
}

/* --- a store whose checkpoint is damaged --- */

static void open_kept(void)
{
    world_start(&world, NULL);
    peer_open(&world, &peer);
}

static void close_kept(void)
{
    peer_close(&peer);
    while (world.w->clients != NULL)
        connection_close(world.w->clients);
    tarn_session_close(world.w->session);
    server_close(world.server);
}

/* Change a byte of the value of k. */
static void damage(void)
{
    char path[SCRATCH_PATH_BYTES];
    struct buffer content = {0};
    scratch_name(&world.scratch, "kept/checkpoint-0000000001", path);
    file_read(path, &content);
    unsigned char *at = memmem(content.data, content.size, "the value", 9);
    assert_non_null(at);
    *at ^= 1;
    file_write(path, buffer_view(&content));
    buffer_done(&content);
}

/* Wait until the background has met the damage: that shard it leaves. */
static void wait_for_damage(void)
{
    struct tarn_log_stats log;
    do
        tarn_log_stats_get(world.server->store, &log);
    while (log.loading_status == TARN_OK);
    assert_int_equal(log.loading_status, TARN_CORRUPT);
    assert_true(log.loading);
    assert_non_null(strstr(log.loading_failure, "checkpoint-0000000001"));
}

static _Atomic bool reads_fail; /* the background reads, too */

static int failing_read(const struct os *os, int fd, void *bytes, size_t size, uint64_t offset,
                        size_t *ret_size)
{
    return reads_fail ? -EIO : os_real()->read_at(os, fd, bytes, size, offset, ret_size);
}

static void start(void)
{
    struct tarn_error error;
    char path[SCRATCH_PATH_BYTES];
    world_prepare(&world, "", 0);
    world.os.read_at = failing_read;
    free(world.config.directory);
    world.config.directory = strdup(scratch_name(&world.scratch, "kept", path));
    world.config.durability = TARN_DURABILITY_NONE;
    world.config.load_bytes = 0;
    world.config.debug_command = CONFIG_DEBUG_YES;
    open_kept();
    assert_answer("SET k \"the value\"", "+OK\r\n");
    assert_answer("SET n 7 PX 100000000", "+OK\r\n");
    assert_int_equal(tarn_checkpoint(world.server->store, &error), TARN_OK);
    close_kept();
    damage();
    open_kept();
    wait_for_damage();
}

static void stop(void)
{
    close_kept();
    world_clean(&world);
}

/* --- every command --- */

/* Of each that looks at a key what is already there decides. */
static const struct {
    const char *request, *reply;
} asked[] = {
    {"GET k", UNREADABLE},
    {"STRLEN k", UNREADABLE},
    {"GETRANGE k 0 1", UNREADABLE},
    {"SUBSTR k 0 1", UNREADABLE},
    {"TYPE k", UNREADABLE},
    {"EXISTS k", UNREADABLE},
    {"EXISTS x k", UNREADABLE},
    {"TOUCH k", UNREADABLE},
    {"MGET k", UNREADABLE},
    {"MGET new k n", UNREADABLE},
    {"GETBIT k 1", UNREADABLE},
    {"BITCOUNT k", UNREADABLE},
    {"BITPOS k 1", UNREADABLE},
    {"BITFIELD_RO k GET u8 0", UNREADABLE},
    {"BITFIELD k GET u8 0", UNREADABLE},
    {"LCS k n", UNREADABLE},
    {"TTL n", UNREADABLE},
    {"PTTL n", UNREADABLE},
    {"EXPIRETIME n", UNREADABLE},
    {"PEXPIRETIME n", UNREADABLE},
    {"DUMP k", UNREADABLE},
    {"OBJECT ENCODING k", UNREADABLE},
    {"OBJECT FREQ k", UNREADABLE},
    {"OBJECT IDLETIME k", UNREADABLE},
    {"OBJECT REFCOUNT k", UNREADABLE},
    {"MEMORY USAGE k", UNREADABLE},
    {"DEBUG OBJECT k", UNREADABLE},
    {"GETEX k", UNREADABLE},
    {"GETEX k EX 10", UNREADABLE},
    {"GETEX k EX x", UNREADABLE},
    {"GETEX k PERSIST", UNREADABLE},
    {"GETDEL k", UNREADABLE},
    {"GETSET k v", UNREADABLE},
    {"SET k v NX", UNREADABLE},
    {"SET k v XX", UNREADABLE},
    {"SET k v GET", UNREADABLE},
    {"SET k v KEEPTTL", UNREADABLE},
    {"SETNX k v", UNREADABLE},
    {"APPEND k v", UNREADABLE},
    {"SETRANGE k 1 v", UNREADABLE},
    {"INCR n", UNREADABLE},
    {"DECR n", UNREADABLE},
    {"INCRBY n 2", UNREADABLE},
    {"DECRBY n 2", UNREADABLE},
    {"INCRBYFLOAT n 2", UNREADABLE},
    {"SETBIT k 1 1", UNREADABLE},
    {"BITFIELD k SET u8 0 1", UNREADABLE},
    {"BITFIELD k SET u8 0 1 SET u8 4000000 1", UNREADABLE},
    {"BITOP AND x k n", UNREADABLE},
    {"BITOP NOT x k", UNREADABLE},
    {"MSETNX k v n v", UNREADABLE},
    {"DEL k", UNREADABLE},
    {"DEL k n", UNREADABLE},
    {"UNLINK k", UNREADABLE},
    {"RENAME k x", UNREADABLE},
    {"RENAMENX k x", UNREADABLE},
    {"COPY k x", UNREADABLE},
    {"COPY k x REPLACE", UNREADABLE},
    {"EXPIRE k 10", UNREADABLE},
    {"PEXPIRE k 10", UNREADABLE},
    {"EXPIREAT k 10", UNREADABLE},
    {"PEXPIREAT k 4102444800000", UNREADABLE},
    {"PERSIST n", UNREADABLE},
    {"RESTORE k 0 x", UNREADABLE},
    {"WATCH k", UNREADABLE},
    {"RANDOMKEY", ALL_KEYS},
    {"SCAN 0", ALL_KEYS},
    {"SCAN 0 COUNT 10000 MATCH k*", ALL_KEYS},
    {"KEYS *", ALL_KEYS},
    /* an upper bound, as long as not all was read */
    {"DBSIZE", ":2\r\n"},
};
enum { ASKED = sizeof asked / sizeof *asked };

/* Those that need nothing of the checkpoint. */
static const char *const other_commands[] = {
    "set", "setex", "psetex", "mset", "flushall", "flushdb", "move", "swapdb", "lolwut", NULL,
};

static bool is_asked(const char *name)
{
    size_t size = strlen(name);
    for (size_t i = 0; i < ASKED; i++)
        if (strncasecmp(asked[i].request, name, size) == 0 && asked[i].request[size] <= ' ')
            return true;
    for (size_t i = 0; other_commands[i] != NULL; i++)
        if (strcmp(other_commands[i], name) == 0)
            return true;
    return false;
}

static void all_commands_are_asked(void **state)
{
    (void)state;
    for (size_t i = 0; i < COMMAND_SERVED_COUNT; i++) {
        const struct command *c = &command_served[i];
        bool served = c->run != NULL || c->read != NULL;
        if (served && command_uses_data(c) && !is_asked(c->name))
            fail_msg("%s is not among the commands that are tried", c->name);
    }
}

static void each_says_so(void **state)
{
    (void)state;
    start();
    for (size_t i = 0; i < ASKED; i++)
        assert_answer(asked[i].request, asked[i].reply);
    stop();
}

static void many_keys_say_so(void **state)
{
    struct buffer line = {0};
    (void)state;
    start();
    buffer_append_text(&line, "EXISTS");
    for (int i = 0; i < 200; i++)
        buffer_printf(&line, " %s%d", i == 150 ? "k" : "x", i);
    buffer_append_byte(&line, 0);
    assert_answer((const char *)line.data, UNREADABLE);
    stop();
    buffer_done(&line);
}

/* Neighbours of one run: each is answered by itself. */
static void neighbours_go_on(void **state)
{
    (void)state;
    start();
    assert_answer("SET new 1", "+OK\r\n");
    assert_answer("GET new", "$1\r\n1\r\n"); /* GET and SET are known from here on */
    assert_answer("GET new\r\nGET k\r\nSET m 1\r\nGET n\r\nGET new",
                  "$1\r\n1\r\n" UNREADABLE "+OK\r\n" UNREADABLE "$1\r\n1\r\n");
    stop();
}

static void inside_exec(void **state)
{
    (void)state;
    start();
    assert_answer("MULTI", "+OK\r\n");
    assert_answer("GET k", "+QUEUED\r\n");
    assert_answer("EXISTS k", "+QUEUED\r\n");
    assert_answer("SET new 1", "+QUEUED\r\n");
    assert_answer("INCR n", "+QUEUED\r\n");
    assert_answer("GET new", "+QUEUED\r\n");
    assert_answer("EXEC", "*5\r\n" UNREADABLE UNREADABLE "+OK\r\n" UNREADABLE "$1\r\n1\r\n");
    stop();
}

/* What is written anew needs nothing of the checkpoint. */
static void written_anew(void **state)
{
    (void)state;
    start();
    assert_answer("SET k v", "+OK\r\n");
    assert_answer("GET k", "$1\r\nv\r\n");
    assert_answer("SETEX n 100 v", "+OK\r\n");
    assert_answer("TTL n", ":100\r\n");
    assert_answer("MSET k w new x", "+OK\r\n");
    assert_answer("MGET k new", "*2\r\n$1\r\nw\r\n$1\r\nx\r\n");
    assert_answer("DEL k", ":1\r\n");
    assert_answer("GET k", "$-1\r\n");
    assert_answer("RENAME new k", "+OK\r\n");
    assert_answer("GET k", "$1\r\nx\r\n");
    assert_answer("GET new", "$-1\r\n");
    assert_answer("FLUSHALL", "+OK\r\n");
    assert_answer("EXISTS k n other", ":0\r\n");
    assert_answer("KEYS *", "*0\r\n");
    assert_answer("RANDOMKEY", "$-1\r\n");
    stop();
}

/* It is the disk below that fails, not the log. */
static void disk_fails(void **state)
{
    (void)state;
    start();
    reads_fail = true;
    assert_answer("GET k", "-ERR cannot read the key: input/output error\r\n");
    assert_answer("APPEND k v", "-ERR cannot read the key: input/output error\r\n");
    assert_answer("SCAN 0", "-ERR cannot read all keys: input/output error\r\n");
    assert_answer("SET new 1", "+OK\r\n");
    reads_fail = false;
    assert_answer("GET k", UNREADABLE);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_commands_are_asked),
        cmocka_unit_test(each_says_so),
        cmocka_unit_test(many_keys_say_so),
        cmocka_unit_test(neighbours_go_on),
        cmocka_unit_test(inside_exec),
        cmocka_unit_test(written_anew),
        cmocka_unit_test(disk_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
