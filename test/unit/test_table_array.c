/* Goal: an array of buckets holds exactly what was put in, findable by the rules readers follow, at
 * any size and load; its displaced counts and due times are what they must be.
 * Method: random inserts and removals against a list, for many sizes; after each step that matters
 * the whole array is checked against the rules: each item reachable from its home over buckets that
 * count it as displaced, each count the exact number, each due time not after the first expiry.
 *
 * Bugs planted once to see it fail: the displaced counts not taken back; search not cyclic; a
 * rebuilt array without due times; scale rounded up; the tag stored in the wrong byte. */
#include "lib/test.h"

#include <stdlib.h>
#include <string.h>

#include "lib/table_fixture.h"

enum { ITEMS_MAX = 3000 };

struct entry {
    uint32_t place;
    uint64_t slot;
};

struct model {
    struct entry entries[ITEMS_MAX];
    size_t count;
};

static struct table_fixture fixture;

static int setup(void **state)
{
    (void)state;
    fixture_open(&fixture, 0, TARN_EVICT_NOTHING);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_close(&fixture);
    return 0;
}

static uint64_t word(const _Atomic uint64_t *w)
{
    return atomic_load(w);
}

/* Where the slot lies, following displaced counts from its home; false: unreachable. */
static bool reach(const struct array *a, const struct entry *e, uint32_t *ret_bucket,
                  unsigned *ret_slot)
{
    uint32_t b = place_bucket(a, e->place);
    for (uint32_t n = 0; n < a->buckets_count; n++) {
        uint64_t tags = word(&a->buckets[b].tags);
        for (unsigned i = 0; i < BUCKET_SLOTS; i++)
            if (tags_at(tags, i) == place_tag(e->place) &&
                word(&a->buckets[b].slots[i]) == e->slot) {
                *ret_bucket = b;
                *ret_slot = i;
                return true;
            }
        if (tags_displaced(tags) == 0)
            return false;
        b = (b + 1) % a->buckets_count;
    }
    return false;
}

/* Every rule of array.c. */
static void check(const struct array *a, const struct model *m)
{
    uint32_t *displaced = calloc(a->buckets_count, sizeof *displaced);
    size_t used = 0;
    assert_int_equal(a->items_count, m->count);
    for (size_t i = 0; i < m->count; i++) {
        uint32_t bucket;
        unsigned slot;
        assert_true(reach(a, &m->entries[i], &bucket, &slot));
        for (uint32_t b = place_bucket(a, m->entries[i].place); b != bucket;
             b = (b + 1) % a->buckets_count)
            displaced[b]++;
        if (m->entries[i].slot & SLOT_EXPIRES)
            assert_int_not_equal(a->due[bucket], 0);
    }
    for (uint32_t b = 0; b < a->buckets_count; b++) {
        uint64_t tags = word(&a->buckets[b].tags);
        assert_int_equal(tags_displaced(tags), displaced[b]);
        for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
            assert_true((tags_at(tags, i) == 0) == (word(&a->buckets[b].slots[i]) == 0));
            used += tags_at(tags, i) != 0;
        }
    }
    assert_int_equal(used, m->count);
    free(displaced);
}

/* An address that an item could have; never followed. */
static struct item *address(uint64_t n)
{
    return (struct item *)(uintptr_t)(0x10000 + 8 * n);
}

static void insert(struct array *a, struct model *m, uint64_t *random, uint64_t number)
{
    uint32_t place = (uint32_t)pick(random, PLACES);
    bool expires = number % 5 == 0;
    struct entry e = {place, slot_make(place, address(number), expires)};
    uint32_t bucket = array_insert(a, place, e.slot);
    if (expires)
        array_note_expiry(a, bucket, FIXTURE_START_MS + (int64_t)pick(random, 1 << 20),
                          FIXTURE_START_MS);
    m->entries[m->count++] = e;
}

static void random_steps(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {1, 2, 3, 7, 40, 301};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        uint64_t random = s + 1;
        struct model m = {.count = 0};
        struct array *a = array_new(fixture.table, sizes[s], true);
        assert_non_null(a);
        const uint32_t room = a->buckets_count * BUCKET_SLOTS;
        for (uint64_t step = 0; step < 20 * room; step++) {
            bool fill = step % (4 * room) < 2 * room;
            bool add = m.count == 0 || (m.count < room && pick(&random, 4) < (fill ? 3 : 1));
            if (add) {
                insert(a, &m, &random, step + 1);
            } else {
                size_t i = pick(&random, m.count);
                uint32_t bucket;
                unsigned slot;
                assert_true(reach(a, &m.entries[i], &bucket, &slot));
                array_remove(a, bucket, slot);
                m.entries[i] = m.entries[--m.count];
            }
            if (step % (room / 4 + 1) == 0)
                check(a, &m);
        }
        check(a, &m);
        array_free(fixture.table, a);
    }
}

/* Trips on: an item lost or moved to a bucket it cannot be found from, by growing or shrinking;
 * counts that are not exact afterwards; a due time that comes later than it did. */
static void rebuilding(void **state)
{
    (void)state;
    uint64_t random = 77;
    struct model m = {.count = 0};
    struct array *a = array_new(fixture.table, 1, true);
    uint64_t used_before = budget_used(&fixture.table->budget);
    due_time now = due_of(FIXTURE_START_MS, FIXTURE_START_MS);
    for (uint64_t n = 1; n <= ITEMS_MAX; n++) {
        if (a->items_count == a->items_max) {
            struct array *grown = array_rebuild(fixture.table, a, a->items_max * 9 / 8 + 1);
            assert_non_null(grown);
            assert_true(grown->items_max > a->items_max);
            check(grown, &m);
            for (size_t i = 0; i < m.count; i++) {
                uint32_t from, to;
                unsigned slot;
                assert_true(reach(a, &m.entries[i], &from, &slot));
                assert_true(reach(grown, &m.entries[i], &to, &slot));
                if (m.entries[i].slot & SLOT_EXPIRES)
                    assert_true((int16_t)(grown->due[to] - now) <= (int16_t)(a->due[from] - now));
            }
            array_free(fixture.table, a);
            a = grown;
        }
        insert(a, &m, &random, n);
    }
    struct array *shrunk = array_rebuild(fixture.table, a, a->items_count);
    assert_true(shrunk->bytes <= a->bytes);
    check(shrunk, &m);
    struct array *copy = array_copy(fixture.table, a);
    assert_int_equal(copy->buckets_count, a->buckets_count);
    check(copy, &m);
    assert_int_equal(atomic_load(&fixture.table->array_bytes),
                     a->bytes + shrunk->bytes + copy->bytes);
    array_free(fixture.table, a);
    array_free(fixture.table, shrunk);
    array_free(fixture.table, copy);
    assert_int_equal(atomic_load(&fixture.table->array_bytes), 0);
    assert_int_equal(atomic_load(&fixture.table->slab_array_bytes), 0);
    assert_true(budget_used(&fixture.table->budget) <= used_before + SLAB_PAGE_BYTES);
}

/* Trips on: a place outside the array, or places that do not rise with their bucket. */
static void places(void **state)
{
    (void)state;
    for (uint32_t n = 1; n < 5000000; n = n * 9 / 8 + 1) {
        struct array a = {.buckets_count = n, .scale = ((uint64_t)n << 40) / PLACES};
        assert_int_equal(place_bucket(&a, 0), 0);
        assert_true(place_bucket(&a, PLACES - 1) < n);
        assert_true(n > PLACES / 64 || place_bucket(&a, PLACES - 1) == n - 1);
        uint32_t last = 0;
        for (uint32_t place = 0; place < PLACES; place += 4099) {
            uint32_t bucket = place_bucket(&a, place);
            assert_true(bucket >= last);
            last = bucket;
        }
    }
    for (uint32_t place = 0; place < PLACES; place += 11) {
        uint64_t slot = slot_make(place, address(3), false);
        assert_int_equal(slot_place(slot, place_tag(place)), place);
        assert_ptr_equal(slot_item(slot), address(3));
        assert_in_range(place_tag(place), 1, 255);
    }
    struct place last = place_of_hash(UINT64_MAX), first = place_of_hash(0);
    assert_int_equal(last.shard, TABLE_SHARDS - 1);
    assert_int_equal(last.index, 65535 * TAGS + (255 * TAGS >> 8));
    assert_true(first.shard == 0 && first.index == 0);
}

/* Trips on: a due time that wraps into the future, is later than the expiry, or reads as never. */
static void due_times(void **state)
{
    (void)state;
    for (int64_t now = FIXTURE_START_MS; now < FIXTURE_START_MS + 7000000; now += 9973) {
        due_time at = due_of(now, now);
        assert_int_not_equal(at, 0);
        for (int64_t left = -1000; left < 10000000; left = left * 3 / 2 + 700) {
            due_time due = due_of(now + left, now);
            assert_int_not_equal(due, 0);
            bool far = left / DUE_UNIT_MS > DUE_UNITS_MAX - 2;
            int64_t later = now + (far ? DUE_UNITS_MAX * (int64_t)DUE_UNIT_MS : left);
            if (left > 0)
                assert_true(due_has_come(due, due_of(later, later)));
            if (left >= 3 * DUE_UNIT_MS)
                assert_false(due_has_come(due, at));
            due_time lowest = due;
            due_lower(&lowest, at);
            assert_true(due_has_come(lowest, at));
        }
    }
    due_time due = 0;
    due_lower(&due, 5);
    assert_int_equal(due, 5);
    due_lower(&due, 0);
    assert_int_equal(due, 5);
    assert_false(due_has_come(0, 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(random_steps, setup, teardown),
        cmocka_unit_test_setup_teardown(rebuilding, setup, teardown),
        cmocka_unit_test(places),
        cmocka_unit_test(due_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
