/* Goal: a store with a directory comes back as it was, from log, from checkpoint and from both, at
 * every setting of the dial; and says truly what it found. Method: real files; the same random
 * calls on a store in memory beside it, compared after closing and opening again. (What crashes
 * leave is tested in test/fault.)
 *
 * Bugs planted once to see it fail: the journal not set at opening; `last` of the manifest ignored
 * when a log begins; a checkpoint that begins no new segments; expired keys kept by replaying; a
 * backup without the segments after the checkpoint. */
#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/random.h"
#include "lib/scratch.h"
#include "store/durable.h"
#include "store/store.h"
#include "tarn.h"

enum { KEYS = 300, CALLS = 2000 / TEST_SLOWER, VALUE_MAX = 30000 };

static struct scratch scratch;
static unsigned char bytes[VALUE_MAX];

struct both {
    struct tarn *store, *model;
    struct tarn_session *session, *model_session;
    uint64_t random;
};

static int setup(void **state)
{
    (void)state;
    scratch_open(&scratch);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 7 + i / 256);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_close(&scratch);
    return 0;
}

static void open_store(const struct tarn_options *options, struct tarn **ret_store,
                       struct tarn_session **ret_session)
{
    struct tarn_error error;
    if (tarn_open(options, ret_store, &error) != TARN_OK)
        fail_msg("%s", error.text);
    assert_int_equal(tarn_session_open(*ret_store, ret_session, &error), TARN_OK);
}

static struct tarn_options options_of(const char *name, enum tarn_durability durability)
{
    return (struct tarn_options){.directory = scratch_at(&scratch, name),
                                 .dial = {.durability = durability}};
}

static void open_again(struct both *b, const struct tarn_options *options)
{
    open_store(options, &b->store, &b->session);
}

static void close_durable(struct both *b)
{
    tarn_session_close(b->session);
    tarn_close(b->store);
}

static void begin(struct both *b, const struct tarn_options *options)
{
    b->random = 1;
    open_store(&(struct tarn_options){0}, &b->model, &b->model_session);
    open_again(b, options);
}

static void end(struct both *b)
{
    close_durable(b);
    tarn_session_close(b->model_session);
    tarn_close(b->model);
}

/* --- the same calls on both --- */

static uint64_t pick(struct both *b, uint64_t limit)
{
    return random_below(random_next(&b->random), limit);
}

static struct tarn_bytes key_of(uint64_t number, char text[16])
{
    return (struct tarn_bytes){text, (size_t)snprintf(text, 16, "key %d", (int)number)};
}

static enum tarn_verdict patch(void *context, struct tarn_update *update)
{
    update->patch = (struct tarn_bytes){"patched", 7};
    update->patch_offset = *(uint64_t *)context;
    return TARN_PATCH;
}

static void one_call(struct both *b, struct tarn_session *s, uint64_t kind, struct tarn_bytes key,
                     struct tarn_bytes value, uint64_t number)
{
    char text[16];
    struct tarn_bytes other = key_of(number % KEYS, text);
    struct tarn_record records[] = {{key, value, 0}, {other, value, 0}};
    int64_t later = tarn_now_ms(b->store) + 1000000 + (int64_t)number;
    int status;
    switch (kind) {
    case 0:
        status = tarn_delete(s, key);
        break;
    case 1:
        status = tarn_put_many(s, records, 2);
        break;
    case 2:
        status = tarn_update(s, key, patch, &number);
        break;
    case 3:
        status = tarn_copy(s, key, other, TARN_COPY_MOVE);
        break;
    case 4:
        tarn_begin(s, (struct tarn_bytes[]){key, other}, 2);
        status = tarn_put(s, key, other, 0);
        assert_int_equal(tarn_put(s, other, key, 0), TARN_OK);
        assert_int_equal(tarn_end(s), TARN_OK);
        break;
    case 5:
        status = tarn_put(s, key, value, later);
        break;
    default:
        status = tarn_put(s, key, value, 0);
    }
    assert_true(status == TARN_OK || status == TARN_NOTFOUND);
    tarn_quiescent(s);
}

static void change_both(struct both *b, unsigned calls)
{
    for (unsigned i = 0; i < calls; i++) {
        char text[16];
        uint64_t kind = pick(b, 12), number = pick(b, 5000);
        struct tarn_bytes key = key_of(pick(b, KEYS), text);
        size_t size = pick(b, 40) == 0 ? 16000 + pick(b, 10000) : pick(b, 50);
        struct tarn_bytes value = {bytes + pick(b, VALUE_MAX - size), size};
        one_call(b, b->session, kind, key, value, number);
        one_call(b, b->model_session, kind, key, value, number);
    }
}

static void assert_same(struct both *b)
{
    struct tarn_stats ours, theirs;
    for (uint64_t i = 0; i < KEYS; i++) {
        char text[16];
        struct tarn_record a, m;
        int status = tarn_get_record(b->model_session, key_of(i, text), &m);
        assert_int_equal(tarn_get_record(b->session, key_of(i, text), &a), status);
        if (status != TARN_OK)
            continue;
        assert_int_equal(a.value.size, m.value.size);
        assert_memory_equal(a.value.data, m.value.data, m.value.size);
        assert_true((a.expire_ms == 0) == (m.expire_ms == 0));
    }
    tarn_stats_get(b->store, &ours);
    tarn_stats_get(b->model, &theirs);
    assert_int_equal(ours.keys, theirs.keys);
    tarn_quiescent(b->session);
    tarn_quiescent(b->model_session);
}

/* --- tests --- */

static void comes_back(struct tarn_options options, bool checkpoints)
{
    struct both b;
    struct tarn_error error;
    struct tarn_log_stats stats;
    begin(&b, &options);
    for (unsigned round = 0; round < 4; round++) {
        change_both(&b, CALLS / 8);
        if (checkpoints && round % 2 == 0) {
            tarn_offline(b.session);
            if (tarn_checkpoint(b.store, &error) != TARN_OK)
                fail_msg("%s", error.text);
            tarn_online(b.session);
            change_both(&b, CALLS / 8);
        }
        close_durable(&b);
        open_again(&b, &options);
        tarn_log_stats_get(b.store, &stats);
        assert_true(stats.closed_cleanly && stats.truncated_bytes == 0);
        assert_same(&b);
    }
    end(&b);
}

static void from_log(void **state)
{
    (void)state;
    static const struct {
        enum tarn_durability durability;
        enum tarn_log_format format;
        unsigned files;
    } cases[] = {
        {TARN_DURABILITY_ASYNC, TARN_LOG_JSON, 1},    {TARN_DURABILITY_ASYNC, TARN_LOG_BINARY, 3},
        {TARN_DURABILITY_PERIODIC, TARN_LOG_CBOR, 2}, {TARN_DURABILITY_COMMIT, TARN_LOG_BINARY, 1},
        {TARN_DURABILITY_COMMIT, TARN_LOG_JSON, 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[32];
        snprintf(name, sizeof name, "log-%d", (int)i);
        struct tarn_options options = options_of(name, cases[i].durability);
        options.dial.log_format = cases[i].format;
        options.log_files = cases[i].files;
        comes_back(options, false);
    }
}

static void from_checkpoint_and_log(void **state)
{
    (void)state;
    comes_back(options_of("both", TARN_DURABILITY_ASYNC), true);
}

/* Without a log all that was not in a checkpoint is gone, and nothing else. */
static void without_log(void **state)
{
    (void)state;
    struct tarn_options options = options_of("none", TARN_DURABILITY_NONE);
    struct tarn_error error;
    struct both b;
    begin(&b, &options);
    change_both(&b, CALLS / 4);
    tarn_offline(b.session);
    assert_int_equal(tarn_checkpoint(b.store, &error), TARN_OK);
    tarn_online(b.session);
    assert_int_equal(
        tarn_put(b.session, (struct tarn_bytes){"lost", 4}, (struct tarn_bytes){"x", 1}, 0),
        TARN_OK);
    close_durable(&b);
    open_again(&b, &options);
    assert_same(&b);
    options.checkpoint_at_close = true;
    close_durable(&b);
    open_again(&b, &options);
    change_both(&b, CALLS / 4);
    close_durable(&b);
    open_again(&b, &options);
    assert_same(&b);
    end(&b);
}

/* Turning the dial while the store is used: a log that begins knows all. */
static void dial_turns(void **state)
{
    (void)state;
    static const enum tarn_durability turns[] = {TARN_DURABILITY_NONE, TARN_DURABILITY_COMMIT,
                                                 TARN_DURABILITY_NONE, TARN_DURABILITY_ASYNC,
                                                 TARN_DURABILITY_PERIODIC};
    struct tarn_options options = options_of("turns", TARN_DURABILITY_ASYNC);
    struct tarn_error error;
    struct both b;
    begin(&b, &options);
    for (size_t i = 0; i < 5; i++) {
        change_both(&b, CALLS / 10);
        tarn_offline(b.session);
        const struct tarn_dial dial = {.durability = turns[i], .log_format = TARN_LOG_JSON};
        if (tarn_dial_set(b.store, &dial, &error) != TARN_OK)
            fail_msg("%s", error.text);
        tarn_online(b.session);
        change_both(&b, CALLS / 10);
        if (turns[i] == TARN_DURABILITY_NONE)
            continue;
        close_durable(&b);
        options.dial = dial;
        open_again(&b, &options);
        assert_same(&b);
    }
    end(&b);
}

static void backup_opens(void **state)
{
    (void)state;
    struct tarn_options options = options_of("original", TARN_DURABILITY_ASYNC);
    const char *target = scratch_at(&scratch, "backup");
    struct tarn_check_report report;
    struct tarn_error error;
    struct both b;
    begin(&b, &options);
    change_both(&b, CALLS / 4);
    tarn_offline(b.session);
    assert_int_equal(tarn_checkpoint(b.store, &error), TARN_OK);
    tarn_online(b.session);
    change_both(&b, CALLS / 4);
    tarn_offline(b.session);
    if (tarn_backup(b.store, target, &error) != TARN_OK)
        fail_msg("%s", error.text);
    assert_int_equal(tarn_backup(b.store, target, &error), TARN_INVALID);
    tarn_online(b.session);
    assert_int_equal(tarn_flush(b.session), TARN_OK); /* it is a copy of before */
    assert_int_equal(tarn_check(options.directory, NULL, NULL, NULL, NULL, &report, &error),
                     TARN_BUSY);
    close_durable(&b);
    if (tarn_check(target, NULL, NULL, NULL, NULL, &report, &error) != TARN_OK)
        fail_msg("%s", error.text);
    assert_true(report.closed_cleanly && report.log_records > 0 && report.checkpoint_records > 0);
    options.directory = target;
    open_again(&b, &options);
    assert_same(&b);
    end(&b);
}

/* Expiry is by the time when it is looked at, not when it is replayed; what has expired stays away.
 */
static void expiries(void **state)
{
    (void)state;
    struct tarn_options options = options_of("expiries", TARN_DURABILITY_ASYNC);
    struct tarn *store;
    struct tarn_session *s;
    struct tarn_bytes a = {"a", 1}, b = {"b", 1}, value;
    int64_t expire_ms;
    open_store(&options, &store, &s);
    int64_t now_ms = tarn_now_ms(store);
    assert_int_equal(tarn_put(s, a, a, now_ms + 2), TARN_OK);
    assert_int_equal(tarn_put(s, b, b, now_ms + 1000000), TARN_OK);
    while (tarn_now_ms(store) < now_ms + 2)
        ;
    tarn_session_close(s);
    tarn_close(store);
    open_store(&options, &store, &s);
    assert_int_equal(tarn_get(s, a, &value), TARN_NOTFOUND);
    assert_int_equal(tarn_get_expiry(s, b, &expire_ms), TARN_OK);
    assert_true(expire_ms == now_ms + 1000000);
    tarn_session_close(s);
    tarn_close(store);
}

/* Make of a log of one segment one that was cut within its last step, of two changes, when only the
 * first of them was known to be synced. */
static void lose_half_step(const char *directory, const char *damaged)
{
    static const char *const names[] = {"MANIFEST", "SYNCED", "wal-00-0000000001.log"};
    struct buffer content = {0}, scratch_bytes = {0};
    struct directory d;
    struct manifest m;
    struct tarn_error error;
    char path[SCRATCH_PATH_BYTES];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        buffer_clear(&content);
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        assert_true(file_read(path, &content));
        snprintf(path, sizeof path, "%s/%s", damaged, names[i]);
        file_write(path, buffer_view(&content));
    }
    struct segment_header header;
    struct record_view view = {.size = SEGMENT_HEADER_BYTES};
    struct record_chain chain;
    assert_true(segment_header_read(content.data, &header, &chain.checksum));
    chain.salt = header.salt;
    struct tarn_bytes rest = buffer_view(&content);
    uint64_t sequence = 0;
    do {
        rest.data = (const char *)rest.data + view.size;
        rest.size -= view.size;
        if (sequence < view.stamp.sequence)
            sequence = view.stamp.sequence;
    } while (record_read(header.encoding, rest, &chain, &view, &scratch_bytes) == RECORD_FOUND);
    size_t end = content.size - rest.size;
    file_write(path, (struct tarn_bytes){content.data, end - 1});
    assert_int_equal(directory_open(os_real(), damaged, false, &d, &m, &error), TARN_OK);
    directory_mark_synced(&d, sequence - 1);
    directory_close(&d);
    buffer_done(&content);
    buffer_done(&scratch_bytes);
}

/* A step of which only the first part had been synced is not there, and was never promised; the
 * store goes on from before it, the next time too. */
static void half_step_synced(void **state)
{
    (void)state;
    struct tarn_options options = options_of("whole", TARN_DURABILITY_COMMIT);
    const char *damaged = scratch_at(&scratch, "damaged");
    struct tarn_bytes a = {"a", 1}, b = {"b", 1}, c = {"c", 1}, value;
    struct tarn *store;
    struct tarn_session *s;
    open_store(&options, &store, &s);
    assert_int_equal(tarn_put(s, a, a, 0), TARN_OK);
    assert_int_equal(tarn_put_many(s, (struct tarn_record[]){{b, b, 0}, {c, c, 0}}, 2), TARN_OK);
    assert_int_equal(tarn_await(store, tarn_sequence(store), TARN_DURABLE, 0), TARN_OK);
    lose_half_step(options.directory, damaged);
    tarn_session_close(s);
    tarn_close(store);
    options.directory = damaged;
    for (int i = 0; i < 3; i++) {
        open_store(&options, &store, &s);
        assert_int_equal(tarn_get(s, a, &value), TARN_OK);
        assert_int_equal(tarn_get(s, b, &value), TARN_NOTFOUND);
        tarn_session_close(s);
        tarn_close(store);
    }
}

static void misuse(void **state)
{
    (void)state;
    struct tarn_options options = options_of("misuse", TARN_DURABILITY_ASYNC);
    struct tarn *store, *second;
    struct tarn_error error;
    assert_int_equal(tarn_open(&options, &store, &error), TARN_OK);
    assert_int_equal(tarn_open(&options, &second, &error), TARN_BUSY);
    struct tarn_dial dial = {.durability = (enum tarn_durability)9};
    assert_int_equal(tarn_dial_set(store, &dial, &error), TARN_INVALID);
    assert_int_equal(tarn_await(store, 1, TARN_DURABLE, 1000), TARN_INVALID);
    tarn_close(store);
    options.log_files = 65;
    assert_int_equal(tarn_open(&options, &store, &error), TARN_INVALID);
    assert_int_equal(tarn_open(&(struct tarn_options){0}, &store, &error), TARN_OK);
    assert_int_equal(tarn_checkpoint(store, &error), TARN_INVALID);
    assert_int_equal(tarn_backup(store, "nowhere", &error), TARN_INVALID);
    dial.durability = TARN_DURABILITY_ASYNC;
    assert_int_equal(tarn_dial_set(store, &dial, &error), TARN_INVALID);
    assert_true(tarn_reached(store, 5, TARN_DURABLE) && tarn_sequence(store) == 0);
    tarn_close(store);
}

/* One that was started is under way at once, for whoever looks; a refused one is none. Bugs
 * planted: one that runs only once its thread does; a refused one that is made afterwards. */
static void checkpoints_in_background(void **state)
{
    (void)state;
    struct both b = {0};
    struct tarn_options options = options_of("d", TARN_DURABILITY_ASYNC);
    struct tarn_log_stats stats;
    uint64_t started = 0;
    begin(&b, &options);
    tarn_offline(b.session);
    for (int i = 0; i < 20; i++) {
        started += tarn_checkpoint_start(b.store) == TARN_OK;
        tarn_log_stats_get(b.store, &stats);
        assert_true(stats.checkpoint_running || stats.checkpoints == started);
        started += tarn_checkpoint_start(b.store) == TARN_OK;
        do
            tarn_log_stats_get(b.store, &stats);
        while (stats.checkpoint_running);
        assert_int_equal(stats.checkpoints, started);
    }
    tarn_online(b.session);
    end(&b);
}

/* --- a log that fails while there is a checkpoint --- */

enum { FDS = 1024 };

static struct {
    struct os os;
    struct tarn *store;
    struct tarn_session *session;
    bool fills, full; /* the disk becomes full; else the log fails */
    bool is_log[FDS]; /* of a descriptor */
    unsigned failures;
} failing;

static void change_meanwhile(void)
{
    for (unsigned i = 0; i < 10; i++) {
        char text[16];
        int status = tarn_put(failing.session, key_of(i, text), (struct tarn_bytes){"v", 1}, 0);
        failing.failures += status != TARN_OK;
    }
}

/* When the checkpoint's file is made the log gets into trouble, and changes come. */
static int open_and_fail(const struct os *os, const char *path, int flags, unsigned mode,
                         int *ret_fd)
{
    const struct os *real = os->context;
    if (failing.store != NULL && strstr(path, "checkpoint-") != NULL && (flags & O_CREAT)) {
        failing.full = failing.fills;
        if (!failing.fills)
            (void)wal_fail(failing.store->durable->wal, "a test");
        change_meanwhile();
    }
    int status = real->open(real, path, flags, mode, ret_fd);
    if (status == 0 && *ret_fd < FDS)
        failing.is_log[*ret_fd] = strstr(path, "/wal-") != NULL;
    return status;
}

static int write_if_room(const struct os *os, int fd, const void *data, size_t size,
                         uint64_t offset, size_t *ret_size)
{
    const struct os *real = os->context;
    if (failing.full && fd < FDS && failing.is_log[fd])
        return -ENOSPC;
    return real->write_at(real, fd, data, size, offset, ret_size);
}

static int checkpoint_failing(enum tarn_durability durability, bool fills, struct tarn_error *error)
{
    struct tarn_options options = options_of("failing", durability);
    memset(&failing, 0, sizeof failing);
    failing.fills = fills;
    failing.os = *os_real();
    failing.os.context = (void *)(uintptr_t)os_real();
    failing.os.open = open_and_fail;
    failing.os.write_at = write_if_room;
    assert_int_equal(store_open(&failing.os, &options, &failing.store, error), TARN_OK);
    assert_int_equal(tarn_session_open(failing.store, &failing.session, error), TARN_OK);
    tarn_offline(failing.session);
    int status = tarn_checkpoint(failing.store, error);
    tarn_online(failing.session);
    assert_int_equal(failing.failures, 0);
    tarn_session_close(failing.session);
    tarn_close(failing.store);
    return status;
}

/* With `none` a log that fails fails the checkpoint that has need of it, and holds up nobody. Bug
 * planted: changes are refused; there seemed to be no memory for them. */
static void log_fails_without_log(void **state)
{
    (void)state;
    struct tarn_error error;
    assert_int_equal(checkpoint_failing(TARN_DURABILITY_NONE, false, &error), TARN_IO);
    assert_non_null(strstr(error.text, "a test"));
}

/* A checkpoint whose log has no room is none, and does not wait for better times, nor does closing.
 * Bug planted: it does, for ever. */
static void log_is_full(void **state)
{
    (void)state;
    struct tarn_error error;
    assert_int_equal(checkpoint_failing(TARN_DURABILITY_ASYNC, true, &error), TARN_NOSPACE);
    assert_non_null(strstr(error.text, "No space"));
}

/* --- a change that was told and cannot be seen yet --- */

enum { YIELDS = 20000 };

static struct {
    uint64_t (*append)(void *context, const struct change *changes, const uint64_t *shards,
                       size_t count);
    struct tarn *store;
    pthread_t thread;
    int status;
} late;

static void *checkpoint_meanwhile(void *unused)
{
    (void)unused;
    late.status = tarn_checkpoint(late.store, NULL);
    return NULL;
}

/* The log knows of the change; before it is published a checkpoint comes as far as it can. */
static uint64_t append_late(void *context, const struct change *changes, const uint64_t *shards,
                            size_t count)
{
    struct tarn_log_stats stats = {.segments = 0};
    uint64_t sequence = late.append(context, changes, shards, count);
    late.store->durable->journal.append = late.append;
    assert_int_equal(pthread_create(&late.thread, NULL, checkpoint_meanwhile, NULL), 0);
    while (stats.segments < 2)
        tarn_log_stats_get(late.store, &stats);
    for (int i = 0; i < YIELDS && stats.checkpoints == 0; i++) {
        sched_yield();
        tarn_log_stats_get(late.store, &stats);
    }
    return sequence;
}

/* A checkpoint has every change that its log does not have. Bug planted: it does not wait for those
 * that are told before its segments begin and published after it has passed. */
static void told_before_a_checkpoint(void **state)
{
    (void)state;
    struct tarn_options options = options_of("late", TARN_DURABILITY_COMMIT);
    struct tarn_session *s;
    struct tarn_bytes key = {"k", 1}, value;
    open_store(&options, &late.store, &s);
    struct table_journal *journal = &late.store->durable->journal;
    late.append = journal->append;
    journal->append = append_late;
    assert_int_equal(tarn_put(s, key, key, 0), TARN_OK);
    tarn_offline(s);
    pthread_join(late.thread, NULL);
    tarn_online(s);
    assert_int_equal(late.status, TARN_OK);
    tarn_session_close(s);
    tarn_close(late.store);
    open_store(&options, &late.store, &s);
    assert_int_equal(tarn_get(s, key, &value), TARN_OK);
    tarn_session_close(s);
    tarn_close(late.store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(from_log, setup, teardown),
        cmocka_unit_test_setup_teardown(from_checkpoint_and_log, setup, teardown),
        cmocka_unit_test_setup_teardown(without_log, setup, teardown),
        cmocka_unit_test_setup_teardown(dial_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(checkpoints_in_background, setup, teardown),
        cmocka_unit_test_setup_teardown(backup_opens, setup, teardown),
        cmocka_unit_test_setup_teardown(expiries, setup, teardown),
        cmocka_unit_test_setup_teardown(half_step_synced, setup, teardown),
        cmocka_unit_test_setup_teardown(log_fails_without_log, setup, teardown),
        cmocka_unit_test_setup_teardown(log_is_full, setup, teardown),
        cmocka_unit_test_setup_teardown(told_before_a_checkpoint, setup, teardown),
        cmocka_unit_test_setup_teardown(misuse, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
