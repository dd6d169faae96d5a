/* Goal: the set of watched keys: a key counts once, changes of each are seen, memory failures leave
 * the set as it was. Method: a writable store in memory; every allocation of a sequence is failed
 * in turn. */
#include "lib/test.h"

#include <stdio.h>

#include "core/bytes.h"
#include "core/number.h"
#include "lib/fault_malloc.h"
#include "server/watched.h"

struct fixture {
    struct tarn *store;
    struct tarn_session *session;
    struct watched watched;
};

static int setup(void **state)
{
    static struct fixture fixture;
    fixture = (struct fixture){0};
    assert_int_equal(tarn_open(&(struct tarn_options){.path = NULL}, &fixture.store, NULL),
                     TARN_OK);
    assert_int_equal(tarn_session_open(fixture.store, &fixture.session, NULL), TARN_OK);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    watched_clear(&f->watched);
    assert_int_equal(f->watched.bytes, 0);
    tarn_session_close(f->session);
    tarn_close(f->store);
    return 0;
}

static struct tarn_bytes key_of(char text[32], int i)
{
    return (struct tarn_bytes){text, (size_t)snprintf(text, 32, "key-%d", i)};
}

static void put(struct fixture *f, struct tarn_bytes key)
{
    assert_int_equal(tarn_put(f->session, key, bytes_of("v"), 0), TARN_OK);
}

/* Fails if a key is lost when the set grows, or found under another's place. */
static void test_every_key_is_watched(void **state)
{
    struct fixture *f = *state;
    char text[32];
    for (int changed = 0; changed < 100; changed++) {
        for (int i = 0; i < 100; i++)
            assert_int_equal(watched_add(&f->watched, f->session, key_of(text, i)), TARN_OK);
        assert_int_equal(f->watched.count, 100);
        put(f, bytes_of("another"));
        assert_false(watched_changed(&f->watched));
        put(f, key_of(text, changed));
        assert_true(watched_changed(&f->watched));
        watched_clear(&f->watched);
        assert_false(watched_changed(&f->watched));
    }
}

/* Fails if a second watch takes the first one's place: the change between would be missed. */
static void test_a_key_counts_once(void **state)
{
    struct fixture *f = *state;
    struct tarn_bytes empty = {"", 0};
    assert_int_equal(watched_add(&f->watched, f->session, empty), TARN_OK);
    assert_int_equal(watched_add(&f->watched, f->session, bytes_of("a")), TARN_OK);
    size_t bytes = f->watched.bytes;
    put(f, bytes_of("a"));
    assert_int_equal(watched_add(&f->watched, f->session, bytes_of("a")), TARN_OK);
    assert_int_equal(watched_add(&f->watched, f->session, empty), TARN_OK);
    assert_int_equal(f->watched.count, 2);
    assert_int_equal(f->watched.bytes, bytes);
    assert_true(watched_changed(&f->watched));
}

static void test_the_keys_are_listed(void **state)
{
    struct fixture *f = *state;
    struct tarn_bytes keys[50];
    bool seen[50] = {false};
    char text[32];
    for (int i = 0; i < 50; i++)
        assert_int_equal(watched_add(&f->watched, f->session, key_of(text, i)), TARN_OK);
    watched_keys(&f->watched, keys);
    for (int i = 0; i < 50; i++) {
        struct tarn_bytes digits = {(const char *)keys[i].data + 4, keys[i].size - 4};
        int64_t number;
        assert_true(number_parse_int(digits, &number) && number >= 0 && number < 50);
        assert_false(seen[number]);
        seen[number] = true;
    }
}

static void test_the_bound(void **state)
{
    struct fixture *f = *state;
    char text[32];
    for (int i = 0; i < WATCHED_KEYS_MAX; i++)
        assert_int_equal(watched_add(&f->watched, f->session, key_of(text, i)), TARN_OK);
    assert_int_equal(watched_add(&f->watched, f->session, bytes_of("x")), TARN_TOOBIG);
    assert_int_equal(watched_add(&f->watched, f->session, key_of(text, 0)), TARN_OK);
    assert_int_equal(f->watched.count, WATCHED_KEYS_MAX);
}

/* Fail each allocation of 20 additions; what was there before is still watched. */
static void test_out_of_memory(void **state)
{
    struct fixture *f = *state;
    char text[32];
    bool failed = true;
    for (uint64_t nth = 1; failed; nth++) {
        int status = TARN_OK, added = 0;
        fault_malloc_arm(nth, false);
        for (int i = 0; i < 20 && status == TARN_OK; i++) {
            status = watched_add(&f->watched, f->session, key_of(text, i));
            added += status == TARN_OK;
        }
        failed = fault_malloc_disarm() > 0;
        assert_int_equal(status, failed ? TARN_NOMEM : TARN_OK);
        assert_int_equal(f->watched.count, added);
        assert_false(watched_changed(&f->watched));
        if (added > 0) {
            put(f, key_of(text, added - 1));
            assert_true(watched_changed(&f->watched));
        }
        watched_clear(&f->watched);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_key_is_watched, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_key_counts_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_keys_are_listed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(test_out_of_memory, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
