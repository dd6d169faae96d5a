/* Goal: an item gives back exactly the key, value and expiry it was made of, whatever their sizes;
 * patches are what a naive patch would be; memory is counted to the byte and all given back.
 * Method: all sizes around the borders of the layout; a patch of every kind against a copy.
 *
 * Bugs planted once to see it fail: a size of 255 taken for wide, of 256 for narrow; the expiry
 * stored after the key; patched values without what follows the patch; room not counted. */
#include "lib/test.h"

#include <stdlib.h>
#include <string.h>

#include "lib/fault_malloc.h"
#include "table/item.h"

static struct budget budget;
static struct item_memory memory;

static int setup(void **state)
{
    (void)state;
    budget = (struct budget){0};
    memory = (struct item_memory){.budget = &budget};
    return slab_open(os_real(), &budget, &memory.slab) == TARN_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(atomic_load(&memory.large_bytes), 0);
    slab_close(memory.slab);
    return 0;
}

static unsigned char *bytes_from(size_t size, unsigned start)
{
    unsigned char *p = malloc(size + 1);
    for (size_t i = 0; i < size; i++)
        p[i] = (unsigned char)(start + i * 7);
    return p;
}

static void assert_bytes(struct tarn_bytes a, struct tarn_bytes b)
{
    assert_int_equal(a.size, b.size);
    assert_non_null(a.data);
    if (a.size > 0)
        assert_memory_equal(a.data, b.data, b.size);
}

static void layouts(void **state)
{
    (void)state;
    static const size_t sizes[] = {0,    1,    7,     254,   255,   256,    257,
                                   1000, 8170, 8180,  8187,  8188,  8189,   8190,
                                   8192, 9000, 16384, 65534, 65535, 1 << 20};
    static const int64_t expiries[] = {0, 1, 1700000000000, INT64_MAX};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    unsigned char *keys = bytes_from(1 << 20, 3), *values = bytes_from(1 << 20, 101);
    for (size_t k = 0; k < SIZES && sizes[k] <= TARN_KEY_BYTES_MAX; k++)
        for (size_t v = 0; v < SIZES; v++)
            for (size_t e = 0; e < 4; e++) {
                struct tarn_bytes key = {keys, sizes[k]}, value = {values, sizes[v]};
                struct item *item = item_new(&memory, 0, key, value, expiries[e], 0);
                assert_non_null(item);
                assert_int_equal((uintptr_t)item % 8, 0);
                struct item_parts parts = item_parts(item);
                assert_bytes(parts.key, key);
                assert_bytes(parts.value, value);
                assert_true(parts.expire_ms == expiries[e]);
                size_t bytes = item_bytes(item);
                assert_in_range(bytes, key.size + value.size + 3, key.size + value.size + 600);
                if (key.size < 256 && value.size < 256) /* the promise of doc/table.md */
                    assert_true(bytes < 3 + key.size + value.size + (e > 0 ? 8 : 0) + 8);
                item_visit(item);
                assert_true(item_flags(item) & ITEM_VISITED);
                assert_bytes(item_parts(item).value, value);
                item_free_many(&memory, &item, 1);
            }
    free(keys);
    free(values);
}

static void check_patch(size_t old_size, size_t offset, size_t size)
{
    unsigned char *old = bytes_from(old_size, 9), *fresh = bytes_from(size, 77);
    size_t expected_size = offset + size > old_size ? offset + size : old_size;
    unsigned char *expected = calloc(1, expected_size + 1);
    memcpy(expected, old, old_size);
    memcpy(expected + offset, fresh, size);
    struct tarn_bytes key = {"key", 3}, patch = {fresh, size};
    struct item *item = item_new(&memory, 1, key, (struct tarn_bytes){old, old_size}, 5, 0);
    struct item *patched =
        item_new_patched(&memory, 1, key, item_parts(item).value, patch, offset, 6);
    assert_bytes(item_parts(patched).value, (struct tarn_bytes){expected, expected_size});
    assert_bytes(item_parts(patched).key, key);
    assert_true(item_parts(patched).expire_ms == 6);
    if (item_patch_begin(item, patch, offset)) { /* large, and it fits */
        item_patch(item, patch, offset);
        item_set_expiry(item, 7);
        item_patch_end(item);
        assert_true(item_is_large(item));
        assert_bytes(item_parts(item).value, (struct tarn_bytes){expected, expected_size});
        assert_bytes(item_parts(item).key, key);
        assert_true(item_parts(item).expire_ms == 7);
    } else {
        assert_true(!item_is_large(item) || expected_size > old_size);
        assert_bytes(item_parts(item).value, (struct tarn_bytes){old, old_size});
    }
    item_free_many(&memory, (struct item *[]){item, patched}, 2);
    free(old);
    free(fresh);
    free(expected);
}

static void patches(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 200, 300, 8100, 8192, 20000};
    for (size_t i = 0; i < 7; i++)
        for (size_t j = 0; j < 7; j++)
            for (size_t k = 0; k < 7; k++)
                check_patch(sizes[i], sizes[j], sizes[k]);
}

/* Trips on: an item that is gone while a pin is on it; one patched while it may be looked at;
 * memory counted twice or not. */
static void large_ones(void **state)
{
    (void)state;
    unsigned char *bytes = bytes_from(20000, 1);
    uint64_t used = budget_used(&budget);
    struct tarn_bytes key = {"k", 1}, value = {bytes, 20000}, patch = {"x", 1};
    struct item *item = item_new(&memory, 0, key, value, 0, 500);
    assert_int_equal(budget_used(&budget) - used, item_bytes(item));
    assert_int_equal(atomic_load(&memory.large_bytes), item_bytes(item));
    assert_true(item_patch_begin(item, patch, 20499));
    assert_false(item_patch_begin(item, patch, 0)); /* somebody is at it */
    item_patch(item, patch, 20499);
    item_patch_end(item);
    assert_false(item_patch_begin(item, patch, 20500)); /* no room */
    item_set_expiry(item, 9);
    struct item_large *pin = item_ref_value(item_parts(item).value);
    assert_ptr_equal(pin, item);
    assert_false(item_patch_begin(item, patch, 0)); /* somebody looks */
    item_free_many(&memory, &item, 1);
    assert_int_equal(budget_used(&budget) - used, pin->bytes);
    assert_memory_equal(pin->data, bytes, 20000);
    item_unref(pin);
    item_unref(NULL);
    assert_int_equal(budget_used(&budget), used);
    free(bytes);
}

static void no_memory(void **state)
{
    (void)state;
    static char bytes[20000];
    struct tarn_bytes key = {"k", 1}, value = {bytes, sizeof bytes};
    uint64_t used = budget_used(&budget);
    fault_malloc_arm(1, true);
    struct item *item = item_new(&memory, 0, key, value, 0, 0);
    fault_malloc_disarm();
    assert_null(item);
    assert_int_equal(budget_used(&budget), used);
    atomic_store(&budget.limit, used + 19000);
    assert_null(item_new(&memory, 0, key, value, 0, 0));
    assert_int_equal(budget_used(&budget), used);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(layouts, setup, teardown),
        cmocka_unit_test_setup_teardown(patches, setup, teardown),
        cmocka_unit_test_setup_teardown(large_ones, setup, teardown),
        cmocka_unit_test_setup_teardown(no_memory, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
