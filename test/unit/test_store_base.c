/* Goal: a store over a data file, and one whose checkpoint is still being read, answer as one that
 * has it all in its table; and come back so. Method: real files; the same random calls on a store
 * in memory beside it, compared by look-ups, by scanning and by count, before and after closing,
 * checkpoints in between.
 *
 * Bugs planted once to see it fail: deleted keys of the file shine through; a scan that visits what
 * covers a record twice; a fold that leaves out keys the table has nothing of; the secret not taken
 * from the checkpoint; a second pass of a fold that begins a shard late; a flush that leaves the
 * file in place; a damaged block taken for an absent key. */
#include "lib/test.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/random.h"
#include "lib/scratch.h"
#include "store/durable.h"
#include "tarn.h"

enum { KEYS = 400, CALLS = 3000 / TEST_SLOWER, VALUE_MAX = 30000, FOLD_SMALL = 1000 };

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
        bytes[i] = (unsigned char)('a' + i % 23 + i / 256 % 3);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_close(&scratch);
    return 0;
}

static struct tarn_bytes key_of(uint64_t number, char text[16])
{
    return (struct tarn_bytes){text, (size_t)snprintf(text, 16, "key-%d", (int)number)};
}

static void open_store(const struct tarn_options *options, struct tarn **ret_store,
                       struct tarn_session **ret_session)
{
    struct tarn_error error;
    if (tarn_open(options, ret_store, &error) != TARN_OK)
        fail_msg("%s", error.text);
    assert_int_equal(tarn_session_open(*ret_store, ret_session, &error), TARN_OK);
}

static void open_again(struct both *b, const struct tarn_options *options)
{
    open_store(options, &b->store, &b->session);
    if (b->store->durable != NULL)
        b->store->durable->base.fold_bytes = FOLD_SMALL;
}

static void close_ours(struct both *b)
{
    tarn_session_close(b->session);
    tarn_close(b->store);
}

static void begin(struct both *b, const struct tarn_options *options, uint64_t seed)
{
    b->random = seed;
    open_store(&(struct tarn_options){0}, &b->model, &b->model_session);
    open_again(b, options);
}

static void end(struct both *b)
{
    close_ours(b);
    tarn_session_close(b->model_session);
    tarn_close(b->model);
}

static uint64_t pick(struct both *b, uint64_t limit)
{
    return random_below(random_next(&b->random), limit);
}

/* --- the same calls on both --- */

static enum tarn_verdict patch(void *context, struct tarn_update *update)
{
    update->patch = (struct tarn_bytes){"patched", 7};
    update->patch_offset = *(uint64_t *)context;
    return TARN_PATCH;
}

static bool if_there(void *context, const struct tarn_record *present)
{
    (void)context;
    return present->value.data != NULL;
}

static int one_call(struct both *b, struct tarn_session *s, uint64_t kind, struct tarn_bytes key,
                    struct tarn_bytes other, struct tarn_bytes value, uint64_t number)
{
    struct tarn_record records[] = {{key, value, 0},
                                    {other, value, 1}}; /* the second's time is over */
    int64_t later = tarn_now_ms(b->store) + 1000000 + (int64_t)number;
    int status;
    switch (kind) {
    case 0:
    case 1:
        return tarn_delete(s, key);
    case 2:
        return tarn_put_many(s, records, 2);
    case 3:
        return tarn_update(s, key, patch, &number);
    case 4:
        return tarn_copy(s, key, other, TARN_COPY_MOVE);
    case 5:
        return tarn_copy(s, key, other, TARN_COPY_NEW);
    case 6:
        tarn_begin(s, (struct tarn_bytes[]){key, other}, 2);
        status = tarn_delete(s, key);
        assert_int_equal(tarn_put(s, other, key, 0), TARN_OK);
        assert_int_equal(tarn_end(s), TARN_OK);
        return status;
    case 7:
        return tarn_expire(s, key, later);
    case 8:
        return tarn_put_if(s, key, value, 0, if_there, NULL);
    case 9:
        return number == 0 ? tarn_flush(s) : tarn_put(s, key, value, later);
    default:
        return tarn_put(s, key, value, 0);
    }
}

static void change_both(struct both *b, unsigned calls)
{
    for (unsigned i = 0; i < calls; i++) {
        char text[16], other_text[16];
        uint64_t kind = pick(b, 14), number = pick(b, 300);
        struct tarn_bytes key = key_of(pick(b, KEYS), text);
        struct tarn_bytes other = key_of(pick(b, KEYS), other_text);
        size_t size = pick(b, 40) == 0 ? 16000 + pick(b, 10000) : pick(b, 50);
        struct tarn_bytes value = {bytes + pick(b, VALUE_MAX - size), size};
        int ours = one_call(b, b->session, kind, key, other, value, number);
        int theirs = one_call(b, b->model_session, kind, key, other, value, number);
        if (ours != theirs)
            fail_msg("call %u of kind %d: %d instead of %d", i, (int)kind, ours, theirs);
        tarn_quiescent(b->session);
        tarn_quiescent(b->model_session);
    }
}

/* --- comparing --- */

struct seen {
    struct both *b;
    unsigned count;
    unsigned char times[KEYS];
};

static void see(void *context, struct tarn_bytes key, struct tarn_bytes value)
{
    struct seen *seen = context;
    struct tarn_bytes expected;
    char text[16] = "";
    assert_true(key.size < sizeof text && key.size > 4);
    memcpy(text, key.data, key.size);
    int number = atoi(text + 4);
    assert_in_range(number, 0, KEYS - 1);
    seen->times[number]++;
    seen->count++;
    assert_int_equal(tarn_get(seen->b->model_session, key, &expected), TARN_OK);
    assert_int_equal(value.size, expected.size);
    assert_memory_equal(value.data, expected.data, value.size);
}

static void assert_same_scan(struct both *b, uint64_t keys)
{
    struct seen seen = {.b = b};
    struct tarn_bytes key, value;
    uint64_t cursor = 0;
    do
        assert_int_equal(tarn_scan(b->session, &cursor, 7, see, &seen), TARN_OK);
    while (cursor != 0);
    assert_int_equal(seen.count, keys);
    for (unsigned i = 0; i < KEYS; i++)
        assert_in_range(seen.times[i], 0, 1);
    for (unsigned i = 0; i < 20; i++) {
        int status = tarn_random_key(b->session, random_next(&b->random), &key);
        assert_int_equal(status, keys > 0 ? TARN_OK : TARN_NOTFOUND);
        if (status == TARN_OK)
            assert_int_equal(tarn_get(b->model_session, key, &value), TARN_OK);
    }
}

static void assert_same_gets(struct both *b)
{
    struct tarn_bytes keys[KEYS], values[KEYS];
    char texts[KEYS][16];
    for (unsigned i = 0; i < KEYS; i++)
        keys[i] = key_of(i, texts[i]);
    (void)tarn_get_many(b->session, keys, KEYS, values);
    for (unsigned i = 0; i < KEYS; i++) {
        struct tarn_record a, m;
        int status = tarn_get_record(b->model_session, keys[i], &m);
        assert_int_equal(tarn_get_record(b->session, keys[i], &a), status);
        assert_int_equal(tarn_value_status(values[i]), status);
        if (status != TARN_OK)
            continue;
        assert_int_equal(a.value.size, m.value.size);
        assert_memory_equal(a.value.data, m.value.data, m.value.size);
        assert_int_equal(values[i].size, m.value.size);
        assert_memory_equal(values[i].data, m.value.data, m.value.size);
        assert_true((a.expire_ms == 0) == (m.expire_ms == 0));
    }
}

/* Until the checkpoint was read: it is on its way. */
static void wait_until_loaded(struct tarn *store)
{
    struct tarn_log_stats stats;
    do {
        sched_yield();
        tarn_log_stats_get(store, &stats);
        assert_int_equal(stats.loading_status, TARN_OK);
    } while (stats.loading);
}

static void assert_same(struct both *b)
{
    struct tarn_stats ours, theirs;
    assert_same_gets(b);
    tarn_quiescent(b->session);
    tarn_offline(b->session);
    tarn_offline(b->model_session);
    wait_until_loaded(b->store);
    tarn_online(b->model_session);
    tarn_online(b->session);
    tarn_stats_get(b->store, &ours);
    tarn_stats_get(b->model, &theirs);
    assert_int_equal(ours.keys, theirs.keys);
    assert_same_scan(b, theirs.keys);
    tarn_quiescent(b->session);
    tarn_quiescent(b->model_session);
}

static void checkpoint(struct both *b)
{
    struct tarn_error error;
    tarn_offline(b->session);
    tarn_offline(b->model_session);
    if (tarn_checkpoint(b->store, &error) != TARN_OK)
        fail_msg("%s", error.text);
    tarn_online(b->model_session);
    tarn_online(b->session);
}

/* --- over a data file --- */

/* A data file of every second key, whose records the model is given, too. */
static const char *make_data_file(const char *name, struct buffer *ret_text)
{
    const char *path = scratch_at(&scratch, name);
    for (int i = 0; i < KEYS; i += 2)
        buffer_printf(ret_text, "key-%d %.*s\n", i, i % 60, bytes + i);
    file_write(path, buffer_view(ret_text));
    return path;
}

static void fill_model(struct both *b)
{
    for (int i = 0; i < KEYS; i += 2) {
        char text[16];
        struct tarn_bytes value = {bytes + i, (size_t)(i % 60)};
        assert_int_equal(tarn_put(b->model_session, key_of((uint64_t)i, text), value, 0), TARN_OK);
    }
}

static void over_data_file(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        char name[2][32];
        struct buffer text = {0};
        struct both b;
        snprintf(name[0], sizeof name[0], "data-%d", (int)seed);
        snprintf(name[1], sizeof name[1], "over-%d", (int)seed);
        struct tarn_options options = {
            .path = make_data_file(name[0], &text),
            .directory = scratch_at(&scratch, name[1]),
            .dial = {.durability = seed % 2 ? TARN_DURABILITY_ASYNC : TARN_DURABILITY_COMMIT}};
        const char *path = options.path;
        begin(&b, &options, seed);
        fill_model(&b);
        assert_same(&b);
        for (unsigned round = 0; round < 6; round++) {
            change_both(&b, CALLS / 40);
            assert_same(&b);
            if (round >= 2 && round % 2 == seed % 2) {
                checkpoint(&b);
                change_both(&b, CALLS / 40);
                if (round >= 4)
                    options.path = NULL; /* it is all in the checkpoint */
            }
            close_ours(&b);
            options.load_bytes_max = pick(&b, 2); /* all at once, or in the background */
            open_again(&b, &options);
            assert_same(&b);
        }
        end(&b);
        assert_true(file_holds(path, buffer_view(&text)));
        buffer_done(&text);
    }
}

static void refuses(const struct tarn_options *options, int status, const char *part)
{
    struct tarn *store;
    struct tarn_error error;
    assert_int_equal(tarn_open(options, &store, &error), status);
    if (strstr(error.text, part) == NULL)
        fail_msg("\"%s\" instead of: %s", error.text, part);
}

static void another_data_file(void **state)
{
    (void)state;
    struct buffer text = {0};
    struct both b;
    struct tarn_options options = {.path = make_data_file("right", &text),
                                   .directory = scratch_at(&scratch, "of-right"),
                                   .dial = {.durability = TARN_DURABILITY_ASYNC}};
    begin(&b, &options, 1);
    close_ours(&b);
    struct tarn_options wrong = options;
    wrong.path = scratch_at(&scratch, "wrong");
    text.data[text.size - 2] ^= 1; /* of the same size */
    file_write(wrong.path, buffer_view(&text));
    refuses(&wrong, TARN_STALE, "not the data file that the changes in");
    wrong.path = NULL;
    refuses(&wrong, TARN_INVALID, "holds changes to a data file");
    open_again(&b, &options);
    fill_model(&b);
    assert_same(&b);
    checkpoint(&b);
    close_ours(&b);
    buffer_append_text(&text, "more than-before\n");
    file_write(scratch_at(&scratch, "longer"), buffer_view(&text));
    wrong.path = scratch_at(&scratch, "longer");
    refuses(&wrong, TARN_STALE, "not the data file that the changes in");
    open_again(&b, &(struct tarn_options){.directory = options.directory});
    assert_same(&b);
    close_ours(&b);
    struct tarn_options own = {.directory = scratch_at(&scratch, "own")};
    open_again(&b, &own);
    close_ours(&b);
    own.path = options.path;
    refuses(&own, TARN_INVALID, "a store of its own");
    open_again(&b, &options);
    end(&b);
    buffer_done(&text);
}

/* --- while a checkpoint is being read --- */

static void served_while_read(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        char name[32];
        struct both b;
        snprintf(name, sizeof name, "lazy-%d", (int)seed);
        struct tarn_options options = {.directory = scratch_at(&scratch, name),
                                       .dial = {.durability = TARN_DURABILITY_ASYNC},
                                       .load_bytes_max = 1};
        begin(&b, &options, seed);
        for (unsigned round = 0; round < 5; round++) {
            change_both(&b, CALLS / 20);
            checkpoint(&b);
            change_both(&b, CALLS / 50);
            if (seed % 2)
                assert_same(&b);
            close_ours(&b);
            open_again(&b, &options);
            if (seed % 3 == 0) /* changed while it is read */
                change_both(&b, CALLS / 50);
            assert_same(&b);
        }
        end(&b);
    }
}

/* Change one byte in the middle of a store's checkpoint. */
static void damage_checkpoint(const char *directory)
{
    char path[SCRATCH_PATH_BYTES];
    struct buffer content = {0};
    snprintf(path, sizeof path, "%s/checkpoint-0000000001", directory);
    assert_true(file_read(path, &content));
    content.data[content.size / 2] ^= 1;
    file_write(path, buffer_view(&content));
    buffer_done(&content);
}

/* Until no more records than these are left where the checkpoint is. */
static void wait_until_only(struct tarn *store, uint64_t records)
{
    struct tarn_stats stats;
    do {
        sched_yield();
        tarn_stats_get(store, &stats);
    } while (stats.base_records_left > records);
}

/* Keys of the damaged block cannot be read, and are not taken for absent; others go on. */
static void damaged_checkpoint(void **state)
{
    (void)state;
    struct both b;
    struct tarn_error error;
    struct tarn_options options = {.directory = scratch_at(&scratch, "damaged"),
                                   .dial = {.durability = TARN_DURABILITY_ASYNC},
                                   .load_bytes_max = 1};
    unsigned damaged = 0;
    begin(&b, &options, 1);
    for (uint64_t i = 0; i < KEYS; i++) {
        char text[16];
        struct tarn_bytes key = key_of(i, text), value = {bytes + i, 600};
        assert_int_equal(tarn_put(b.session, key, value, 0), TARN_OK);
        assert_int_equal(tarn_put(b.model_session, key, value, 0), TARN_OK);
    }
    checkpoint(&b);
    close_ours(&b);
    damage_checkpoint(options.directory);
    open_again(&b, &options);
    for (uint64_t i = 0; i < KEYS; i++) {
        char text[16];
        struct tarn_bytes key = key_of(i, text), value, many;
        int status = tarn_get(b.session, key, &value);
        (void)tarn_get_many(b.session, &key, 1, &many);
        assert_int_equal(tarn_value_status(many), status);
        if (status == TARN_OK) {
            assert_int_equal(value.size, 600);
            assert_memory_equal(value.data, bytes + i, 600);
            continue;
        }
        assert_int_equal(status, TARN_CORRUPT);
        assert_int_equal(tarn_delete(b.session, key), TARN_CORRUPT);
        assert_int_equal(tarn_put(b.session, key, key, 0), TARN_OK);
        assert_int_equal(tarn_get(b.session, key, &value), TARN_OK);
        damaged++;
    }
    assert_in_range(damaged, 10, KEYS / 4);
    tarn_offline(b.session);
    tarn_offline(b.model_session);
    wait_until_only(b.store, damaged); /* all others are taken in */
    tarn_online(b.model_session);
    tarn_online(b.session);
    tarn_offline(b.session);
    tarn_offline(b.model_session);
    assert_int_equal(tarn_checkpoint(b.store, &error), TARN_CORRUPT);
    assert_non_null(strstr(error.text, "damaged at byte"));
    tarn_online(b.model_session);
    tarn_online(b.session);
    uint64_t cursor = 0;
    struct seen seen = {.b = &b};
    int status = TARN_OK;
    while (status == TARN_OK && (cursor != 0 || seen.count == 0))
        status = tarn_scan(b.session, &cursor, 10, see, &seen);
    assert_int_equal(status, TARN_CORRUPT);
    end(&b);
}

/* What does not fit is told at the start, if it cannot be otherwise. */
static void too_much(void **state)
{
    (void)state;
    struct both b;
    struct tarn_options options = {.directory = scratch_at(&scratch, "too-much"),
                                   .dial = {.durability = TARN_DURABILITY_ASYNC},
                                   .load_bytes_max = 1};
    begin(&b, &options, 1);
    char *large = calloc(1, 1 << 20);
    for (uint64_t i = 0; i < 80; i++) {
        char text[16];
        assert_int_equal(
            tarn_put(b.session, key_of(i, text), (struct tarn_bytes){large, 1 << 20}, 0), TARN_OK);
    }
    checkpoint(&b);
    close_ours(&b);
    options.memory_bytes_max = 64 << 20;
    refuses(&options, TARN_FULL, "does not fit in --memory");
    options.memory_bytes_max = 0;
    open_again(&b, &options);
    end(&b);
    free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(over_data_file),    cmocka_unit_test(another_data_file),
        cmocka_unit_test(served_while_read), cmocka_unit_test(damaged_checkpoint),
        cmocka_unit_test(too_much),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
