/* Goal: in an open checkpoint every key that was written is found with its value and expiry, and no
 * other; a range of hashes gives exactly the records that lie in it; what is damaged is an error or
 * changes nothing, never a wrong record; looking up asks for no memory and reads twice.
 * Method: files of many shapes, looked up record by record and compared with what was written; keys
 * of one hash, which are easy to make for who chooses the secret, over blocks and pages; every bit
 * flipped; every length; every call and every allocation failed; threads (ThreadSanitizer).
 *
 * Bug planted once to see it fail: no step back to the block before. */
#include "lib/test.h"

#include <errno.h>
#include <pthread.h>

#include "lib/checkpoint_fixture.h"
#include "lib/fault_malloc.h"
#include "lib/fault_os.h"

/* Under a sanitizer every seventh byte: the release build does all. */
enum { STEP = TEST_SLOWER > 1 ? 7 : 1 };

static struct checkpoint_file *open_file(const struct fixture *f, const struct os *os)
{
    struct checkpoint_file *file;
    struct checkpoint_about about;
    struct checkpoint_totals totals;
    struct tarn_error error;
    if (checkpoint_open(os, f->path, f->totals.checksum, &file, &about, &totals, &error) != TARN_OK)
        fail_msg("%s", error.text);
    assert_memory_equal(&about, &f->about, sizeof about);
    assert_memory_equal(&totals, &f->totals, sizeof totals);
    return file;
}

static bool same_record(const struct tarn_record *a, const struct tarn_record *b)
{
    return bytes_equal(a->key, b->key) && bytes_equal(a->value, b->value) &&
           a->expire_ms == b->expire_ms;
}

/* A key is there twice if it is short; either record will do. */
static bool is_one_of(const struct fixture *f, size_t i, const struct tarn_record *got)
{
    size_t first = i;
    while (first > 0 && f->items[first - 1].hash == f->items[i].hash)
        first--;
    for (; first < f->count && f->items[first].hash == f->items[i].hash; first++)
        if (same_record(got, &f->items[first].record))
            return bytes_equal(got->key, f->items[i].record.key);
    return false;
}

static bool is_there(const struct fixture *f, struct tarn_bytes key)
{
    for (size_t i = 0; i < f->count; i++)
        if (bytes_equal(f->items[i].record.key, key))
            return true;
    return false;
}

/* Every key of the list, and some that are not in it, around each of their hashes too. */
static void assert_finds_all(const struct fixture *f, const struct checkpoint_file *file)
{
    struct buffer scratch = {0};
    struct tarn_record got;
    struct tarn_error error = {0};
    const struct tarn_bytes absent = {"a key which is absent", 21};
    for (size_t i = 0; i < f->count; i++) {
        const struct checkpoint_item *item = &f->items[i];
        int status = checkpoint_find(file, item->record.key, item->hash, &scratch, &got, &error);
        if (status != TARN_OK)
            fail_msg("%zu of %zu: %d %s", i, f->count, status, error.text);
        assert_true(is_one_of(f, i, &got));
        for (uint64_t d = 0; d < 3 && i % 16 == 0; d++)
            assert_int_equal(
                checkpoint_find(file, absent, item->hash + d - 1, &scratch, &got, &error),
                TARN_NOTFOUND);
    }
    uint64_t random = 5;
    for (size_t i = 0; i < 200; i++) {
        struct tarn_record record = make_record(999, i, 40, 0);
        uint64_t hash = hash_key(f->about.secret, record.key);
        if (is_there(f, record.key))
            continue;
        assert_int_equal(checkpoint_find(file, record.key, hash, &scratch, &got, &error),
                         TARN_NOTFOUND);
        assert_int_equal(
            checkpoint_find(file, absent, random_next(&random), &scratch, &got, &error),
            TARN_NOTFOUND);
    }
    const uint64_t ends[] = {0, UINT64_MAX};
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(checkpoint_find(file, absent, ends[i], &scratch, &got, &error),
                         TARN_NOTFOUND);
    assert_int_equal(error.status, 0);
    buffer_done(&scratch);
}

struct expecting {
    const struct checkpoint_item *next;
};

static int expect(void *context, const struct tarn_record *records, size_t count)
{
    struct expecting *e = context;
    assert_in_range(count, 1, CHECKPOINT_APPLY_RECORDS);
    for (size_t i = 0; i < count; i++)
        assert_true(same_record(&records[i], &e->next++->record));
    return TARN_OK;
}

static void assert_range(const struct fixture *f, const struct checkpoint_file *file,
                         uint64_t first, uint64_t last)
{
    size_t begin = 0, end = 0;
    struct tarn_error error;
    while (begin < f->count && f->items[begin].hash < first)
        begin++;
    for (end = begin; end < f->count && f->items[end].hash <= last;)
        end++;
    struct expecting e = {f->items + begin};
    if (checkpoint_range(file, first, last, expect, &e, &error) != TARN_OK)
        fail_msg("%s", error.text);
    assert_int_equal(e.next - f->items, end);
}

/* Ranges that begin and end at, before and behind hashes that are there. */
static void assert_ranges(const struct fixture *f, const struct checkpoint_file *file)
{
    uint64_t random = f->count;
    assert_range(f, file, 0, UINT64_MAX);
    assert_range(f, file, 1, 0);
    assert_range(f, file, 0, 0);
    assert_range(f, file, UINT64_MAX, UINT64_MAX);
    for (size_t i = 0; i < 40 && f->count > 0; i++) {
        uint64_t a = f->items[random_below(random_next(&random), f->count)].hash;
        uint64_t b = f->items[random_below(random_next(&random), f->count)].hash;
        uint64_t low = a < b ? a : b, high = a < b ? b : a;
        assert_range(f, file, low, high);
        assert_range(f, file, low + 1, high - 1);
        assert_range(f, file, low - 1, high + 1);
        assert_range(f, file, low, low);
        assert_range(f, file, low, UINT64_MAX);
        assert_range(f, file, 0, low - 1);
    }
}

static void assert_all(const struct fixture *f)
{
    struct checkpoint_file *file = open_file(f, os_real());
    assert_finds_all(f, file);
    assert_ranges(f, file);
    checkpoint_close(file);
}

/* --- whole --- */

static void every_key(void **context)
{
    struct fixture *f = *context;
    static const struct {
        size_t count, key_max, value_max;
    } cases[] = {{0, 0, 0},       {1, 0, 0},         {1, 9, 9},
                 {2, 9, 9},       {65, 9, 0},        {20000, 20, 64},
                 {900, 30, 2000}, {200, 100, 30000}, {50, TARN_KEY_BYTES_MAX, 300000},
                 {9, 9, 1u << 20}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_file(f, i, cases[i].count / TEST_SLOWER + (cases[i].count > 0), cases[i].key_max,
                   cases[i].value_max);
        assert_all(f);
    }
}

/* One, two, ... blocks up to some beyond three pages of the directory. */
static void every_count_of_blocks(void **context)
{
    struct fixture *f = *context;
    static unsigned char value[CHECKPOINT_BLOCK_BYTES];
    const size_t counts[] = {1, 2, 254, 255, 256, 257, 509, 510, 511, 770};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        list_clear(f);
        for (uint64_t i = 0; i < counts[c]; i++) {
            store_u64le(value, i);
            list_add(f, (struct tarn_record){{value, 8}, {value, sizeof value - 60}, 0});
        }
        write_list(f);
        assert_int_equal(f->totals.blocks, counts[c]);
        assert_all(f);
    }
}

/* Keys of one hash, between others: in a block, over blocks, over pages, large ones. */
static void equal_hashes(void **context)
{
    struct fixture *f = *context;
    static const struct {
        size_t equal, value_bytes, others;
    } cases[] = {{2, 10, 0},        {50, 10, 500},   {1000, 100, 0},
                 {1000, 100, 5000}, {7, 20000, 200}, {270, 9000, 300}};
    memset(f->about.secret, 0, sizeof f->about.secret);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        list_clear(f);
        for (size_t i = 0; i < cases[c].equal; i++)
            list_add_colliding(f, 7, i + 1, cases[c].value_bytes);
        for (size_t i = 1; i < f->count; i++)
            assert_int_equal(f->items[i].hash, f->items[0].hash);
        for (size_t i = 0; i < cases[c].others; i++)
            list_add_colliding(f, 1000 + i, 0, i % 1000);
        write_list(f);
        assert_all(f);
    }
}

/* Hashes that have nothing to do with the keys are as good for finding: at the ends of what there
 * is, unevenly spread, all the same. */
static void uneven_hashes(void **context)
{
    struct fixture *f = *context;
    static unsigned char value[8000];
    for (int shape = 0; shape < 4; shape++) {
        struct checkpoint_writer *w = create(f);
        struct tarn_record record = {{value, 8}, {value, sizeof value}, 0};
        uint64_t hashes[1200];
        for (uint64_t i = 0; i < 1200; i++) {
            hashes[i] = shape == 0   ? i / 3
                        : shape == 1 ? UINT64_MAX - 1199 + i
                        : shape == 2 ? 42
                                     : (i < 600 ? i : UINT64_MAX - 5000 + i);
            store_u64le(value, i);
            assert_int_equal(checkpoint_add(w, &record, hashes[i], NULL), TARN_OK);
        }
        finish(f, w);
        struct checkpoint_file *file = open_file(f, os_real());
        struct buffer scratch = {0};
        struct tarn_record got;
        for (uint64_t i = 0; i < 1200; i += shape == 2 ? 97 : 1) {
            store_u64le(value, i);
            assert_int_equal(checkpoint_find(file, record.key, hashes[i], &scratch, &got, NULL),
                             TARN_OK);
            assert_true(same_record(&got, &record));
            store_u64le(value, 5000);
            assert_int_equal(checkpoint_find(file, record.key, hashes[i], &scratch, &got, NULL),
                             TARN_NOTFOUND);
        }
        buffer_done(&scratch);
        checkpoint_close(file);
    }
}

/* --- what it costs --- */

/* Two reads and no allocation, once scratch has a block's room. */
static void two_reads(void **context)
{
    struct fixture *f = *context;
    struct fault_os counting;
    struct buffer scratch = {0};
    struct tarn_record got;
    write_file(f, 4, 30000, 20, 100);
    fault_os_init(&counting, NULL);
    struct checkpoint_file *file = open_file(f, &counting.os);
    for (size_t i = 0; i < f->count; i += 7) {
        const struct checkpoint_item *item = &f->items[i];
        fault_os_reset(&counting);
        fault_malloc_arm(0, false);
        assert_int_equal(checkpoint_find(file, item->record.key, item->hash, &scratch, &got, NULL),
                         TARN_OK);
        assert_true(i == 0 || fault_malloc_calls() == 0);
        fault_malloc_disarm();
        assert_int_equal(fault_os_calls(&counting, FAULT_READ_AT), 2);
    }
    checkpoint_close(file);
    assert_true(fault_os_clean(&counting));
    fault_os_done(&counting);
    buffer_done(&scratch);
}

/* A large block is not read for a key that cannot be in it. */
static void large_blocks_are_left_alone(void **context)
{
    struct fixture *f = *context;
    struct buffer scratch = {0};
    struct tarn_record got;
    static unsigned char large[1 << 20];
    list_add(f, (struct tarn_record){{"key", 3}, {large, sizeof large}, 0});
    write_list(f);
    struct checkpoint_file *file = open_file(f, os_real());
    assert_int_equal(
        checkpoint_find(file, bytes_of("other"), f->items[0].hash + 1, &scratch, &got, NULL),
        TARN_NOTFOUND);
    assert_int_equal(scratch.capacity, 0);
    assert_int_equal(checkpoint_find(file, bytes_of("key"), f->items[0].hash, &scratch, &got, NULL),
                     TARN_OK);
    assert_int_equal(got.value.size, 1 << 20);
    checkpoint_close(file);
    buffer_done(&scratch);
}

/* --- damaged --- */

/* Open these bytes and look everything up: right, or CORRUPT. Returns whether anything was. */
static bool check_damaged(const struct fixture *f, struct tarn_bytes bytes, const char *what,
                          size_t where)
{
    struct memory_os m;
    struct checkpoint_file *file;
    struct checkpoint_about about;
    struct checkpoint_totals totals;
    struct tarn_error error = {0};
    static struct buffer scratch, got;
    struct tarn_record record;
    memory_os_init(&m);
    memory_os_put(&m, "c", bytes, 0);
    int status = checkpoint_open(&m.os, "c", 0, &file, &about, &totals, &error);
    bool damaged = status == TARN_CORRUPT;
    if (status != TARN_OK) {
        if (!damaged || m.open != 0 || strstr(error.text, "c: ") == NULL)
            fail_msg("%s at %zu: status %d", what, where, status);
        return true;
    }
    for (size_t i = 0; i < f->count; i++) {
        const struct checkpoint_item *item = &f->items[i];
        status = checkpoint_find(file, item->record.key, item->hash, &scratch, &record, &error);
        if (status != TARN_CORRUPT && (status != TARN_OK || !same_record(&record, &item->record)))
            fail_msg("%s at %zu: status %d, or a wrong record", what, where, status);
        damaged = damaged || status == TARN_CORRUPT;
    }
    buffer_clear(&got);
    status = checkpoint_range(file, 0, UINT64_MAX, collect, &got, &error);
    if ((status != TARN_OK || got.size != f->expected.size) && status != TARN_CORRUPT)
        fail_msg("%s at %zu: status %d, or too few records", what, where, status);
    assert_true(got.size == 0 || memcmp(got.data, f->expected.data, got.size) == 0);
    damaged = damaged || status == TARN_CORRUPT;
    checkpoint_close(file);
    assert_int_equal(m.open, 0);
    return damaged;
}

/* Only what stands behind the last entry of a page's can be changed unnoticed: nothing. */
static void every_bit_flipped(void **context)
{
    struct fixture *f = *context;
    write_file(f, 3, 10, 9, 20);
    assert_false(check_damaged(f, buffer_view(&f->file), "nothing", 0));
    for (size_t at = 0; at < f->file.size; at += STEP) {
        for (int bit = 0; bit < 8; bit++) {
            f->file.data[at] ^= (unsigned char)(1 << bit);
            if (!check_damaged(f, buffer_view(&f->file), "flip", at))
                fail_msg("flip at %zu: not noticed", at);
            f->file.data[at] ^= (unsigned char)(1 << bit);
        }
    }
}

/* In a file of many blocks and some pages, each part changed. */
static void a_bit_of_many_blocks(void **context)
{
    struct fixture *f = *context;
    uint64_t random = 8;
    list_clear(f);
    for (uint64_t i = 0; i < 520; i++)
        list_add(f, (struct tarn_record){{&i, 8}, {f->scratch.path, 1}, 0});
    static unsigned char value[CHECKPOINT_BLOCK_BYTES];
    for (size_t i = 0; i < f->count; i++)
        f->items[i].record.value = (struct tarn_bytes){value, sizeof value - 60};
    write_list(f);
    size_t tail = f->file.size - (size_t)load_u64le(footer_of(f) + FOOTER_DIRECTORY);
    for (size_t i = 0; i < 60 / TEST_SLOWER; i++) {
        size_t at = i % 2 ? f->file.size - 1 - random_below(random_next(&random), tail)
                          : random_below(random_next(&random), f->file.size);
        f->file.data[at] ^= 4;
        assert_true(check_damaged(f, buffer_view(&f->file), "flip", at));
        f->file.data[at] ^= 4;
    }
}

static void every_length(void **context)
{
    struct fixture *f = *context;
    write_file(f, 5, 20, 10, 30);
    for (size_t length = 0; length < f->file.size; length += STEP)
        assert_true(check_damaged(f, (struct tarn_bytes){f->file.data, length}, "cut", length));
}

/* Right checksums over a directory that lies: an error or the truth, and no byte out of bounds. */
static void forged_directory(void **context)
{
    struct fixture *f = *context;
    struct tarn_error error;
    struct checkpoint_about about;
    struct checkpoint_totals totals;
    write_file(f, 3, 4, 3, 5);
    for (size_t at = 0; at < 2 * ENTRY_BYTES; at++) {
        for (int bit = 0; bit < 8; bit++) {
            struct buffer copy = {0}, got = {0};
            struct memory_os m;
            struct checkpoint_file *file;
            buffer_append(&copy, f->file.data, f->file.size);
            unsigned char *page = copy.data + load_u64le(footer_of(f) + FOOTER_DIRECTORY);
            page[at] ^= (unsigned char)(1 << bit);
            forge_footer(copy.data, copy.size);
            memory_os_init(&m);
            memory_os_put(&m, "c", buffer_view(&copy), 0);
            int status = checkpoint_open(&m.os, "c", 0, &file, &about, &totals, &error);
            if (status == TARN_OK) {
                for (size_t i = 0; i < f->count; i++)
                    status = checkpoint_find(file, f->items[i].record.key, f->items[i].hash, &got,
                                             &(struct tarn_record){0}, &error);
                buffer_clear(&got);
                status = checkpoint_range(file, 0, UINT64_MAX, collect, &got, &error);
                assert_true(status == TARN_OK || status == TARN_CORRUPT);
                checkpoint_close(file);
            }
            buffer_done(&got);
            buffer_done(&copy);
        }
    }
}

/* --- failures --- */

/* Open, find and range over all. */
static int look_up(const struct fixture *f, const struct os *os, struct tarn_error *error)
{
    struct checkpoint_file *file;
    struct checkpoint_about about;
    struct checkpoint_totals totals;
    struct tarn_record record;
    struct buffer scratch = {0};
    uint64_t records = 0;
    int status = checkpoint_open(os, f->path, 0, &file, &about, &totals, error);
    if (status != TARN_OK)
        return status;
    for (size_t i = 0; i < f->count && status == TARN_OK; i += 10, records++)
        status = checkpoint_find(file, f->items[i].record.key, f->items[i].hash, &scratch, &record,
                                 error);
    buffer_done(&scratch);
    if (status == TARN_OK)
        status = checkpoint_range(file, 0, UINT64_MAX, collect, &scratch, error);
    buffer_done(&scratch);
    checkpoint_close(file);
    return status;
}

static void every_call_fails(void **context)
{
    struct fixture *f = *context;
    struct fault_os faults;
    struct tarn_error error;
    write_file(f, 7, 60, 30, 30000);
    fault_os_init(&faults, NULL);
    for (enum fault_entry entry = 0; entry < FAULT_ENTRY_COUNT; entry++) {
        for (uint64_t nth = 1;; nth++) {
            fault_os_reset(&faults);
            fault_os_fail(&faults, entry, nth, EIO, false);
            int status = look_up(f, &faults.os, &error);
            if (!fault_os_fired(&faults))
                break;
            assert_true(status == TARN_IO || entry == FAULT_CLOSE);
            assert_true(entry == FAULT_CLOSE || strstr(error.text, f->path) != NULL);
            assert_true(fault_os_clean(&faults));
        }
    }
    for (uint64_t nth = 1;; nth++) {
        fault_os_reset(&faults);
        fault_os_short(&faults, FAULT_READ_AT, nth, 7);
        assert_int_equal(look_up(f, &faults.os, &error), TARN_OK);
        if (!fault_os_fired(&faults))
            break;
        fault_os_reset(&faults);
        fault_os_short(&faults, FAULT_READ_AT, nth, 0); /* it got shorter meanwhile */
        assert_int_equal(look_up(f, &faults.os, &error), TARN_CORRUPT);
    }
    fault_os_done(&faults);
}

static void every_allocation_fails(void **context)
{
    struct fixture *f = *context;
    struct checkpoint_file *file;
    struct checkpoint_about about;
    struct checkpoint_totals totals;
    struct tarn_record record;
    struct tarn_error error;
    write_file(f, 7, 20, 30, 300000);
    for (uint64_t nth = 1;; nth++) {
        fault_malloc_arm(nth, false);
        int status = checkpoint_open(os_real(), f->path, 0, &file, &about, &totals, &error);
        if (fault_malloc_disarm() == 0)
            break;
        assert_int_equal(status, TARN_NOMEM);
        assert_non_null(strstr(error.text, f->path));
    }
    for (size_t i = 0; i < f->count; i++) {
        struct buffer scratch = {0};
        const struct checkpoint_item *item = &f->items[i];
        fault_malloc_arm(1, false);
        assert_int_equal(
            checkpoint_find(file, item->record.key, item->hash, &scratch, &record, &error),
            TARN_NOMEM);
        fault_malloc_disarm();
        assert_int_equal(
            checkpoint_find(file, item->record.key, item->hash, &scratch, &record, &error),
            TARN_OK);
        assert_true(same_record(&record, &item->record));
        buffer_done(&scratch);
    }
    fault_malloc_arm(1, false);
    assert_int_equal(checkpoint_range(file, 0, UINT64_MAX, collect, NULL, &error), TARN_NOMEM);
    fault_malloc_disarm();
    checkpoint_close(file);
}

static void refused(void **context)
{
    struct fixture *f = *context;
    struct checkpoint_file *file;
    struct checkpoint_about about;
    struct checkpoint_totals totals;
    struct tarn_error error;
    const struct os *os = os_real();
    checkpoint_close(NULL);
    assert_int_equal(checkpoint_open(os, f->path, 0, &file, &about, &totals, &error), TARN_MISSING);
    assert_int_equal(checkpoint_open(os, f->scratch.path, 0, &file, &about, &totals, &error),
                     TARN_INVALID);
    write_file(f, 1, 5, 5, 5);
    assert_int_equal(
        checkpoint_open(os, f->path, f->totals.checksum ^ 1, &file, &about, &totals, &error),
        TARN_CORRUPT);
}

static int stop(void *context, const struct tarn_record *records, size_t count)
{
    size_t *left = context;
    (void)records;
    if (*left < count)
        return *left == 0 ? TARN_NOTFOUND : TARN_FULL;
    *left -= count;
    return TARN_OK;
}

static void range_stops(void **context)
{
    struct fixture *f = *context;
    write_file(f, 9, 5000, 20, 100);
    struct checkpoint_file *file = open_file(f, os_real());
    for (size_t left = 0; left < 4000; left += 1000) {
        size_t still = left;
        int status = checkpoint_range(file, 0, UINT64_MAX, stop, &still, NULL);
        assert_int_equal(status, still == 0 ? TARN_NOTFOUND : TARN_FULL);
        assert_true(still < CHECKPOINT_APPLY_RECORDS);
    }
    checkpoint_close(file);
}

/* --- threads --- */

struct searcher {
    const struct fixture *fixture;
    const struct checkpoint_file *file;
    uint64_t seed;
    uint64_t wrong;
    pthread_t thread;
};

static int count_records(void *context, const struct tarn_record *records, size_t count)
{
    size_t *total = context;
    (void)records;
    *total += count;
    return TARN_OK;
}

static void *search(void *argument)
{
    struct searcher *s = argument;
    const struct fixture *f = s->fixture;
    struct buffer scratch = {0};
    struct tarn_record got;
    struct tarn_error error;
    for (int i = 0; i < 3000 / TEST_SLOWER; i++) {
        const struct checkpoint_item *item =
            &f->items[random_below(random_next(&s->seed), f->count)];
        int status = checkpoint_find(s->file, item->record.key, item->hash, &scratch, &got, &error);
        s->wrong += status != TARN_OK || !same_record(&got, &item->record);
        if (i % 500 == 0) {
            size_t total = 0;
            status = checkpoint_range(s->file, 0, UINT64_MAX, count_records, &total, &error);
            s->wrong += status != TARN_OK || total != f->count;
        }
    }
    buffer_done(&scratch);
    return NULL;
}

static void threads(void **context)
{
    enum { THREADS = 4 };
    struct fixture *f = *context;
    struct searcher searchers[THREADS];
    list_clear(f);
    for (uint64_t i = 0; i < 5000; i++)
        list_add(f, (struct tarn_record){{&i, 8}, {f->path, i % 50}, (int64_t)i});
    write_list(f);
    struct checkpoint_file *file = open_file(f, os_real());
    for (uint64_t i = 0; i < THREADS; i++) {
        searchers[i] = (struct searcher){.fixture = f, .file = file, .seed = i};
        assert_int_equal(pthread_create(&searchers[i].thread, NULL, search, &searchers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(searchers[i].thread, NULL);
        assert_int_equal(searchers[i].wrong, 0);
    }
    checkpoint_close(file);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_key),         TEST(every_count_of_blocks),
        TEST(equal_hashes),      TEST(uneven_hashes),
        TEST(two_reads),         TEST(large_blocks_are_left_alone),
        TEST(every_bit_flipped), TEST(a_bit_of_many_blocks),
        TEST(every_length),      TEST(forged_directory),
        TEST(every_call_fails),  TEST(every_allocation_fails),
        TEST(refused),           TEST(range_stops),
        TEST(threads),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    fixture_block_bytes = CHECKPOINT_BLOCK_BYTES;
    return failed + cmocka_run_group_tests_name("version 3", tests, NULL, NULL);
}
