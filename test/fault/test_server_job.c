/* Goal: when memory runs out at any one allocation, or for good from any one on, while a reload, a
 * checkpoint, a backup or a SHUTDOWN is asked for and made, the client gets its answer or an error,
 * the server goes on, and the same can be asked for again with success.
 * Method: the nth allocation of any thread fails, for every n until there are no more; one thread
 * plays the worker (lib/server_world.h) and waits for the job's.
 *
 * Bugs planted once to see it fail: a job that could not be started leaves its client parked; a
 * result is not freed when there is no job; `running` is not taken back. */
#include "lib/test.h"

#include "lib/fault_malloc.h"
#include "lib/server_world.h"
#include "server/park.h"

#include <ftw.h>

static struct world world;
static struct peer peer;
static char directory[SCRATCH_PATH_BYTES], copy[SCRATCH_PATH_BYTES];

/* kept: a store in a directory; else the data file. */
static void begin(bool kept)
{
    world_prepare(&world, "", 0);
    if (kept) {
        free(world.config.directory);
        world.config.directory = strdup(scratch_name(&world.scratch, "store", directory));
    }
    world.config.backup_command = CONFIG_DEBUG_YES;
    world_start(&world, kept ? NULL : world.path);
    peer_open(&world, &peer);
    (void)scratch_name(&world.scratch, "copy", copy);
}

/* What is said is done when this returns. */
static void ask(const char *bytes)
{
    ssize_t sent = send(peer.fd, bytes, strlen(bytes), MSG_NOSIGNAL);
    (void)sent; /* the connection may be gone */
    turn(&world, &peer, 1);
    tarn_offline(world.w->session); /* a reload waits for all who are not */
    server_jobs_join(world.server);
    tarn_online(world.w->session);
    job_deliver(world.w);
    (void)gate_push(world.w);
    park_deliver(world.w);
    turn(&world, &peer, 1);
}

static int remove_it(const char *path, const struct stat *about, int type, struct FTW *place)
{
    (void)about;
    (void)type;
    (void)place;
    return remove(path);
}

/* The answer to `bytes`, or an error; or the connection was lost. True: the former. */
static bool asked(const char *bytes, const char *answer)
{
    ask(bytes);
    peer_receive(&peer);
    bool good = peer.received.size == strlen(answer) &&
                memcmp(peer.received.data, answer, peer.received.size) == 0;
    bool error = peer.received.size > 2 && peer.received.data[0] == '-' &&
                 peer.received.data[peer.received.size - 1] == '\n';
    if (!good && !error && !(peer.ended && peer.received.size == 0))
        fail_msg("%s: %d %.*s", bytes, peer.ended, (int)peer.received.size,
                 (const char *)peer.received.data);
    buffer_clear(&peer.received);
    return good;
}

static void for_each_allocation(bool kept, const char *before, const char *words, bool with_copy,
                                const char *answer)
{
    for (int stays = 0; stays <= 1; stays++) {
        uint64_t failed = 1;
        for (uint64_t nth = 1; failed > 0; nth++) {
            char said[SCRATCH_PATH_BYTES + 64];
            begin(kept);
            snprintf(said, sizeof said, "%s %s\r\n", words, with_copy ? copy : "");
            if (before != NULL)
                assert_true(asked(before, "+OK\r\n"));
            fault_malloc_arm(nth, stays);
            ask(said);
            failed = fault_malloc_disarm();
            assert_true(asked("", answer) || failed > 0);
            if (peer.ended || find(&world, &peer) == NULL) {
                peer_close(&peer);
                peer_open(&world, &peer);
            }
            (void)nftw(copy, remove_it, 8, FTW_DEPTH | FTW_PHYS);
            if (answer[0] != 0 && !asked(said, answer))
                fail_msg("allocation %llu: not again", (unsigned long long)nth);
            peer_close(&peer);
            world_close(&world);
        }
    }
}

static void test_reload(void **state)
{
    (void)state;
    for_each_allocation(false, NULL, "RELOAD", false, "+OK\r\n");
}

static void test_save(void **state)
{
    (void)state;
    for_each_allocation(true, "SET a 1\r\n", "SAVE", false, "+OK\r\n");
}

static void test_backup(void **state)
{
    (void)state;
    for_each_allocation(true, "SET a 1\r\n", "TARN.BACKUP", true, "+OK\r\n");
}

/* Without failures there is no answer, but the end. */
static void test_shutdown(void **state)
{
    (void)state;
    for_each_allocation(true, "SET a 1\r\n", "SHUTDOWN SAVE", false, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_save),
        cmocka_unit_test(test_backup),
        cmocka_unit_test(test_shutdown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
