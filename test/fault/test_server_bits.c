/* Goal: when memory runs out within a command on bits or RESTORE, it answers an error about memory
 * and no value has changed, or all is as if nothing had happened; nothing is leaked.
 * Method: each command's handler on a writable store, the nth allocation failing, for every n until
 * there are no more; the values of all keys before and after. */
#include "lib/test.h"

#include "core/codec.h"
#include "core/crc64.h"
#include "lib/fault_malloc.h"
#include "lib/server_world.h"
#include "server/command.h"

#define LARGE_BYTES (1500 << 10) /* two of them are computed on without holding the keys */
#define KEYS_MAX    3
#define ARGS_MAX    80

static const char *const keys[KEYS_MAX] = {"a", "b", "c"};

struct values {
    struct buffer of[KEYS_MAX];
    bool there[KEYS_MAX];
};

static void take_values(struct world *world, struct values *values)
{
    for (size_t i = 0; i < KEYS_MAX; i++) {
        struct tarn_bytes value;
        buffer_clear(&values->of[i]);
        values->there[i] = tarn_get(world->w->session, bytes_of(keys[i]), &value) == TARN_OK;
        if (values->there[i])
            buffer_append(&values->of[i], value.data, value.size);
        assert_false(values->of[i].failed);
    }
    tarn_quiescent(world->w->session);
}

static bool values_equal(const struct values *a, const struct values *b)
{
    for (size_t i = 0; i < KEYS_MAX; i++)
        if (a->there[i] != b->there[i] ||
            !bytes_equal(buffer_view(&a->of[i]), buffer_view(&b->of[i])))
            return false;
    return true;
}

static void values_done(struct values *values)
{
    for (size_t i = 0; i < KEYS_MAX; i++)
        buffer_done(&values->of[i]);
}

/* "a": small, or large; "b": large if that is; "c": none. */
static void set_values(struct world *world, bool large)
{
    size_t size = large ? LARGE_BYTES : 10;
    unsigned char *bytes = malloc(size);
    assert_non_null(bytes);
    memset(bytes, 0x5a, size);
    struct tarn_session *session = world->w->session;
    assert_int_equal(tarn_put(session, bytes_of("a"), (struct tarn_bytes){bytes, size}, 0), 0);
    bytes[3] = 0;
    assert_int_equal(tarn_put(session, bytes_of("b"), (struct tarn_bytes){bytes, size}, 0), 0);
    assert_true(tarn_delete(session, bytes_of("c")) >= 0);
    tarn_quiescent(session);
    free(bytes);
}

static void run(struct world *world, const struct resp_request *request, struct buffer *out)
{
    struct client client = {
        .server = world->server,
        .worker = world->w,
        .session = world->w->session,
        .reply = {out, 2},
        .authenticated = true,
    };
    const struct command *command = command_admit(&client, request);
    assert_non_null(command);
    command->run(&client, request);
}

static bool is_about_memory(const struct buffer *out)
{
    static const char *const texts[] = {"-OOM ", "-ERR out of memory"};
    for (size_t i = 0; i < 2; i++)
        if (out->size > strlen(texts[i]) && memcmp(out->data, texts[i], strlen(texts[i])) == 0)
            return true;
    return false;
}

/* Fail each allocation of the request in turn. */
static void check(const struct resp_request *request, bool large)
{
    struct world world;
    struct values before = {0}, wanted = {0}, after = {0};
    struct buffer out = {0}, answer = {0};
    world_open_writable(&world, 0);
    set_values(&world, large);
    take_values(&world, &before);
    run(&world, request, &answer);
    assert_int_not_equal(answer.data[0], '-');
    take_values(&world, &wanted);
    assert_true(buffer_reserve(&out, answer.size + 200)); /* the reply itself does not fail */
    uint64_t failed = 1, wrong = 0;
    for (uint64_t nth = 1; failed > 0; nth++) {
        set_values(&world, large);
        buffer_clear(&out);
        fault_malloc_arm(nth, false);
        run(&world, request, &out);
        failed = fault_malloc_disarm();
        take_values(&world, &after);
        bool refused = is_about_memory(&out);
        wrong += refused ? failed == 0 || !values_equal(&after, &before)
                         : !bytes_equal(buffer_view(&out), buffer_view(&answer)) ||
                               !values_equal(&after, &wanted);
    }
    values_done(&before);
    values_done(&wanted);
    values_done(&after);
    buffer_done(&out);
    buffer_done(&answer);
    world_close(&world); /* before a failure is told: tests after it want their own */
    assert_int_equal(wrong, 0);
}

static void check_line(const char *line, bool large)
{
    char text[2000];
    struct tarn_bytes args[ARGS_MAX];
    struct resp_request request = {args, 0};
    snprintf(text, sizeof text, "%s", line);
    for (char *save, *word = strtok_r(text, " ", &save); word != NULL;
         word = strtok_r(NULL, " ", &save)) {
        assert_true(request.count < ARGS_MAX);
        args[request.count++] = bytes_of(word);
    }
    check(&request, large);
}

static void test_bits(void **state)
{
    (void)state;
    for (int large = 0; large <= 1; large++) {
        check_line("SETBIT a 3 0", large);
        check_line("SETBIT a 20000000 1", large); /* it grows */
        check_line("SETBIT c 100 1", large);
        check_line("BITFIELD a SET u8 0 1 INCRBY i5 100 3 GET u8 0", large);
        check_line("BITFIELD a SET u8 0 1 SET u8 12000000 1", large); /* far apart */
        check_line("BITFIELD c GET u8 0 GET u8 0 GET u8 0 GET u8 0 GET u8 0 GET u8 0 GET u8 0 GET "
                   "u8 0 GET u8 0 GET u8 0 GET u8 0 GET u8 0 GET u8 0 GET u8 0 GET u8 0 GET u8 0 "
                   "GET u8 0 SET u8 0 5",
                   large); /* more than fit the stack */
    }
}

static void test_bitop(void **state)
{
    (void)state;
    for (int large = 0; large <= 1; large++) {
        check_line("BITOP XOR c a b a", large);
        check_line("BITOP NOT a a", large);
        check_line("BITOP AND a none", large);
    }
}

/* A packed string: the worst of them, as it is unpacked first. */
static void test_restore(void **state)
{
    (void)state;
    unsigned char payload[] = "\x00\xc3\x05\x40\x6b\x00"
                              "a\xe0\x61\x00"
                              "..........";
    size_t size = sizeof payload - 1;
    store_u16le(payload + size - 10, 10);
    store_u64le(payload + size - 8, crc64_update(0, payload, size - 8));
    struct tarn_bytes args[] = {
        bytes_of("RESTORE"), bytes_of("c"), bytes_of("0"), {payload, size}, bytes_of("REPLACE")};
    check(&(struct resp_request){args, 4}, false);
    args[1] = bytes_of("a");
    check(&(struct resp_request){args, 5}, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_bitop),
        cmocka_unit_test(test_restore),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
