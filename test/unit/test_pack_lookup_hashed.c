/* Goal: in a `tarn` file on disk every key is found with its value and expiry, and no other, with
 * one read where the directory is held and with two where it is not; values of pieces piece by
 * piece; scans, random keys and verification hold as for data files; damage is an error of those
 * keys that it concerns. Method: files of both versions, looked up record by record and compared
 * with what was written; keys of one hash over blocks and pages; every bit flipped; every length
 * while it is open; calls failed.
 *
 * Bugs planted once to see it fail: no step back to the block before; a block of one record left
 * alone whose hash only begins alike; a damaged page of the directory that fails the opening; the
 * scan's place in a block not begun anew with the next. */
#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>

#include "lib/checkpoint_fixture.h"
#include "lib/fault_malloc.h"
#include "lib/fault_os.h"
#include "pack/hashed.h"
#include "pack/lookup.h"

/* The real one, but reads come out of the page cache: thousands of direct ones take their time. */
static int open_buffered(const struct os *os, const char *path, int flags, unsigned mode,
                         int *ret_fd)
{
    (void)os;
    return os_real()->open(os_real(), path, flags & ~O_DIRECT, mode, ret_fd);
}

static const struct os *buffered(void)
{
    static struct os os;
    os = *os_real();
    os.open = open_buffered;
    return &os;
}

/* Under a sanitizer every seventh byte: the release build does all. */
enum { STEP = TEST_SLOWER > 1 ? 7 : 1 };

static struct disk_pack *open_pack(const struct os *os, const char *path, bool held)
{
    struct disk_pack *pack;
    struct tarn_error error;
    struct tarn_options options = {.path = path};
    if (disk_open(os, &options, true, &pack, &error) != TARN_OK)
        fail_msg("%s", error.text);
    if (!held) {
        free(pack->hashed->entries);
        pack->hashed->entries = NULL;
    }
    return pack;
}

static bool is_there(const struct fixture *f, struct tarn_bytes key)
{
    for (size_t i = 0; i < f->count; i++)
        if (bytes_equal(f->items[i].record.key, key))
            return true;
    return false;
}

/* A key is there twice if it is short; either record will do. */
static bool is_one_of(const struct fixture *f, size_t i, const struct tarn_record *got)
{
    while (i > 0 && f->items[i - 1].hash == f->items[i].hash)
        i--;
    for (uint64_t hash = f->items[i].hash; i < f->count && f->items[i].hash == hash; i++) {
        const struct tarn_record *r = &f->items[i].record;
        if (bytes_equal(got->key, r->key) && bytes_equal(got->value, r->value) &&
            got->expire_ms == r->expire_ms)
            return true;
    }
    return false;
}

/* TARN_OK: the right record. */
static int ask(const struct fixture *f, const struct disk_pack *pack, size_t i,
               struct tarn_error *error)
{
    static struct disk_buffer buffer;
    static struct buffer value;
    struct lookup_found found;
    struct tarn_record got;
    int status = disk_find(pack, f->items[i].record.key, &buffer, &found, error);
    if (status != TARN_OK)
        return status;
    got = found.record;
    buffer_clear(&value);
    assert_true(found.far || got.value.data != NULL);
    status = disk_value(pack, &found, &buffer, &value, error);
    got.value = buffer_view(&value);
    if (status == TARN_OK && !is_one_of(f, i, &got))
        fail_msg("record %zu of %zu: a wrong one", i, f->count);
    return status;
}

static void assert_finds_all(const struct fixture *f, const struct disk_pack *pack)
{
    struct tarn_error error = {0};
    struct disk_buffer buffer = {0};
    struct lookup_found found;
    for (size_t i = 0; i < f->count; i++) {
        int status = ask(f, pack, i, &error);
        if (status != TARN_OK)
            fail_msg("%zu of %zu: %d %s", i, f->count, status, error.text);
    }
    for (uint64_t i = 0; i < 200; i++) {
        uint64_t key[3] = {random_mix(i), i, 77};
        if (!is_there(f, (struct tarn_bytes){key, 24}))
            assert_int_equal(disk_find(pack, (struct tarn_bytes){key, 24}, &buffer, &found, &error),
                             TARN_NOTFOUND);
    }
    disk_buffer_done(&buffer);
}

/* --- scans --- */

static void note_visit(void *context, struct tarn_bytes key, struct tarn_bytes value)
{
    struct tarn_record record = {key, value, 0};
    note(context, &record);
}

static void assert_scans(const struct fixture *f, const struct disk_pack *pack, size_t step)
{
    struct buffer expected = {0}, got = {0};
    struct disk_buffer buffer = {0};
    struct tarn_error error;
    uint64_t cursor = 0;
    for (size_t i = 0; i < f->count; i++)
        note_visit(&expected, f->items[i].record.key, f->items[i].record.value);
    do
        if (disk_scan(pack, &cursor, step, &buffer, note_visit, &got, NULL, &error) != TARN_OK)
            fail_msg("%s", error.text);
    while (cursor != 0);
    assert_true(bytes_equal(buffer_view(&expected), buffer_view(&got)));
    buffer_done(&expected);
    buffer_done(&got);
    disk_buffer_done(&buffer);
}

static void assert_all(const struct fixture *f)
{
    struct tarn_verify_report report;
    struct tarn_options options = {0};
    struct disk_figures figures;
    for (int held = 0; held < 2; held++) {
        struct disk_pack *pack = open_pack(buffered(), f->path, held);
        assert_finds_all(f, pack);
        assert_scans(f, pack, 1 + f->count / 3);
        if (f->count < 1000)
            assert_scans(f, pack, 1);
        assert_int_equal(disk_verify(pack, &options, &report, NULL), TARN_OK);
        assert_int_equal(report.keys, f->count);
        disk_figures(pack, &figures);
        assert_int_equal(figures.keys, f->count);
        assert_int_equal(figures.format.kind, TARN_FORMAT_TARN);
        disk_unref(pack);
    }
}

static void files_of_all_sizes(void **context)
{
    struct fixture *f = *context;
    static const struct {
        size_t count, key_max, value_max;
    } cases[] = {{0, 0, 0},
                 {1, 0, 0},
                 {2, 9, 9},
                 {5000, 20, 64},
                 {900, 30, 2000},
                 {200, 100, 30000},
                 {30, TARN_KEY_BYTES_MAX, 300000},
                 {9, 9, 1u << 20}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_file(f, i, cases[i].count / TEST_SLOWER + (cases[i].count > 0), cases[i].key_max,
                   cases[i].value_max);
        assert_all(f);
    }
}

static void equal_hashes(void **context)
{
    struct fixture *f = *context;
    static const struct {
        size_t equal, value_bytes, others;
    } cases[] = {{2, 10, 0}, {50, 10, 500}, {1000, 100, 5000}, {7, 20000, 200}, {270, 9000, 300}};
    memset(f->about.secret, 0, sizeof f->about.secret);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        list_clear(f);
        size_t equal = 2 + (cases[c].equal - 2) / TEST_SLOWER; /* each is looked for among all */
        for (size_t i = 0; i < equal; i++)
            list_add_colliding(f, 7, i + 1, cases[c].value_bytes);
        for (size_t i = 0; i < cases[c].others; i++)
            list_add_colliding(f, 1000 + i, 0, i % 1000);
        write_list(f);
        assert_all(f);
    }
}

/* Blocks of one record whose hashes begin alike in the half that is held: never passed over. */
static void alike_hashes(void **context)
{
    struct fixture *f = *context;
    static unsigned char value[40000];
    struct disk_buffer buffer = {0};
    struct lookup_found found;
    memset(f->about.secret, 0, sizeof f->about.secret);
    for (uint64_t i = 0; i < 2000000 && f->count < 24; i++) {
        struct tarn_record r = {{&i, 8}, {value, i % 40000}, 0};
        if (hash_key(f->about.secret, r.key) >> 46 == 99)
            list_add(f, r);
    }
    assert_true(f->count >= 5);
    write_list(f);
    struct disk_pack *pack = open_pack(buffered(), f->path, true);
    for (uint64_t b = 0; b < f->totals.blocks; b++) /* as if they were alike to the last bit */
        pack->hashed->entries[b] =
            (pack->hashed->entries[b] & UINT32_MAX) | (f->items[0].hash >> 32 << 32);
    for (size_t i = 0; i < f->count; i++) {
        uint64_t hash = f->items[i].hash;
        if (hash >> 32 != f->items[0].hash >> 32)
            continue;
        assert_int_equal(ask(f, pack, i, NULL), TARN_OK);
    }
    assert_int_equal(disk_find(pack, bytes_of("x"), &buffer, &found, NULL), TARN_NOTFOUND);
    disk_buffer_done(&buffer);
    disk_unref(pack);
}

/* --- what it costs --- */

static void reads_as_often_as_promised(void **context)
{
    struct fixture *f = *context;
    struct fault_os counting;
    for (uint32_t bytes = 16 << 10; bytes <= 64 << 10; bytes *= 4) {
        f->about.block_bytes = fixture_block_bytes ? bytes : 0;
        list_clear(f);
        for (uint64_t i = 0; i < 20000 / TEST_SLOWER; i++)
            list_add(f, (struct tarn_record){{&i, 8}, {f->path, 100}, 0});
        write_list(f);
        for (int held = 0; held < 2; held++) {
            fault_os_init(&counting, buffered());
            struct disk_pack *pack = open_pack(&counting.os, f->path, held);
            fault_os_reset(&counting);
            for (size_t i = 0; i < f->count; i++)
                assert_int_equal(ask(f, pack, i, NULL), TARN_OK);
            assert_int_equal(fault_os_calls(&counting, FAULT_READ_AT), f->count * (2 - held));
            disk_unref(pack);
            assert_true(fault_os_clean(&counting));
            fault_os_done(&counting);
        }
    }
}

/* A directory that does not fit a quarter of the cap is not held; one that never fits is told of.
 */
static void the_cap(void **context)
{
    struct fixture *f = *context;
    struct disk_pack *pack;
    struct tarn_error error;
    write_file(f, 4, 20000, 20, 100);
    struct tarn_options options = {.path = f->path, .memory_bytes_max = 4 * 8 * f->totals.blocks};
    assert_int_equal(disk_open(os_real(), &options, true, &pack, &error), TARN_OK);
    assert_non_null(pack->hashed->entries);
    disk_unref(pack);
    options.memory_bytes_max--;
    assert_int_equal(disk_open(os_real(), &options, true, &pack, &error), TARN_OK);
    assert_null(pack->hashed->entries);
    disk_unref(pack);
    options.memory_bytes_max = 100;
    assert_int_equal(disk_open(os_real(), &options, true, &pack, &error), TARN_TOOBIG);
    assert_non_null(strstr(error.text, "--memory"));
}

/* --- far values --- */

static void far_values(void **context)
{
    struct fixture *f = *context;
    struct disk_buffer buffer = {0};
    struct lookup_found found;
    static const size_t sizes[] = {DISK_FAR_BYTES - 3,     DISK_FAR_BYTES,     DISK_FAR_BYTES + 1,
                                   DISK_FAR_BYTES + 70000, 3 * PIECE_DATA - 9, 3 * PIECE_DATA + 5};
    unsigned char *value = malloc(sizes[5]);
    for (size_t i = 0; i < sizes[5]; i++)
        value[i] = (unsigned char)random_mix(i);
    for (size_t i = 0; i < 12; i++) {
        static unsigned char key[40000];
        key[0] = (unsigned char)i;
        list_add(f, (struct tarn_record){{key, i < 6 ? 5 : 40000}, {value, sizes[i % 6]}, i % 2});
        list_add(f, make_record(5, i, 30, 300));
    }
    write_list(f);
    assert_all(f);
    struct disk_pack *pack = open_pack(buffered(), f->path, true);
    for (size_t i = 0; i < f->count; i++) {
        const struct tarn_record *r = &f->items[i].record;
        assert_int_equal(disk_find(pack, r->key, &buffer, &found, NULL), TARN_OK);
        assert_int_equal(found.far, fixture_block_bytes && r->value.size > DISK_FAR_BYTES);
        assert_true(!fixture_block_bytes || buffer.capacity <= 2 * PIECE_READ_BYTES_MAX);
        for (uint64_t at = 0; found.far && at < r->value.size; at += 300007) {
            struct piece p; /* from any byte on */
            struct tarn_bytes view;
            size_t got;
            piece_begin(pack, &found.place, at, &p);
            assert_in_range(p.size, 1, PIECE_READ_BYTES_MAX);
            assert_true(disk_buffer_reserve(&buffer, p.size));
            assert_int_equal(
                disk_read(pack->os, p.fd, buffer.data, p.size, p.needed, p.offset, &got), 0);
            assert_int_equal(piece_finish(&p, buffer.data, got, &view, NULL), TARN_OK);
            assert_in_range(view.size, 1, DISK_FAR_BYTES);
            assert_memory_equal(view.data, value + at, view.size);
        }
    }
    disk_unref(pack);
    disk_buffer_done(&buffer);
    free(value);
}

/* --- damage --- */

/* What is found in these bytes is right, or CORRUPT; how many are not found. */
static size_t count_damaged(const struct fixture *f, struct tarn_bytes bytes, bool held,
                            bool *ret_opened)
{
    struct memory_os m;
    struct disk_pack *pack;
    struct tarn_error error = {0};
    struct tarn_options options = {.path = "c", .format = {.kind = TARN_FORMAT_TARN}};
    size_t damaged = 0;
    memory_os_init(&m);
    memory_os_put(&m, "c", bytes, 0);
    int status = disk_open(&m.os, &options, true, &pack, &error);
    *ret_opened = status == TARN_OK;
    if (status != TARN_OK) {
        assert_true(status == TARN_CORRUPT || status == TARN_INVALID);
        assert_int_equal(m.open, 0);
        return f->count;
    }
    if (!held) {
        free(pack->hashed->entries);
        pack->hashed->entries = NULL;
    }
    for (size_t i = 0; i < f->count; i++) {
        status = ask(f, pack, i, &error);
        if (status == TARN_OK)
            continue;
        assert_int_equal(status, TARN_CORRUPT);
        assert_true(strncmp(error.text, "c: ", 3) == 0);
        assert_in_range(error.offset, 0, bytes.size);
        damaged++;
    }
    disk_unref(pack);
    assert_int_equal(m.open, 0);
    return damaged;
}

/* A bit in a block: its keys fail, no other. In a page: not even those, if another copy is held. */
static void every_bit_flipped(void **context)
{
    struct fixture *f = *context;
    bool opened;
    for (uint64_t i = 0; i < 40; i++) {
        struct tarn_record r = make_record(3, i, 5, 2000);
        list_add(f, (struct tarn_record){{&i, 8}, r.value, r.expire_ms});
    }
    write_list(f);
    assert_true(f->totals.blocks > 2);
    uint64_t end = load_u64le(footer_of(f) + FOOTER_DIRECTORY);
    for (size_t at = 0; at < f->file.size; at += at < 9000 ? STEP : STEP * 5)
        for (int bit = 0; bit < 8; bit += 3) {
            f->file.data[at] ^= (unsigned char)(1 << bit);
            size_t damaged = count_damaged(f, buffer_view(&f->file), at & 1, &opened);
            assert_true(damaged > 0);
            assert_int_equal(opened, at >= HEADER_BYTES && at < end + PAGE_BYTES);
            assert_true(!opened || at >= end || damaged < f->count);
            f->file.data[at] ^= (unsigned char)(1 << bit);
        }
    assert_int_equal(count_damaged(f, buffer_view(&f->file), true, &opened), 0);
}

/* Of a damaged page only the keys it leads to are lost, and the file is opened. */
static void damaged_page(void **context)
{
    struct fixture *f = *context;
    bool opened;
    static unsigned char value[12000];
    for (uint64_t i = 0; i < 600; i++)
        list_add(f, (struct tarn_record){{&i, 8}, {value, sizeof value}, 0});
    write_list(f);
    uint64_t end = load_u64le(footer_of(f) + FOOTER_DIRECTORY);
    assert_int_equal(f->totals.blocks, 600);
    f->file.data[end + PAGE_BYTES + 100] ^= 1;
    size_t damaged = count_damaged(f, buffer_view(&f->file), true, &opened);
    assert_true(opened);
    assert_int_equal(damaged, 255);
    assert_int_equal(count_damaged(f, buffer_view(&f->file), false, &opened), 255);
}

/* Cut at any length while it is open. */
static void cut_while_open(void **context)
{
    struct fixture *f = *context;
    struct memory_os m;
    struct disk_pack *pack;
    struct tarn_error error;
    struct tarn_options options = {.path = "c"};
    write_file(f, 9, 60, 30, 1500);
    memory_os_init(&m);
    memory_os_put(&m, "c", buffer_view(&f->file), 0);
    assert_int_equal(disk_open(&m.os, &options, true, &pack, &error), TARN_OK);
    for (size_t size = 0; size <= f->file.size; size += STEP * 13) {
        memory_os_put(&m, "c", (struct tarn_bytes){f->file.data, size}, 0);
        for (size_t i = 0; i < f->count; i++) {
            int status = ask(f, pack, i, &error);
            assert_true(status == TARN_OK || status == TARN_STALE);
            if (status == TARN_STALE)
                assert_true(strncmp(error.text, "c: ", 3) == 0);
        }
    }
    disk_unref(pack);
}

/* A scan goes on behind a damaged block. */
static void scan_around_damage(void **context)
{
    struct fixture *f = *context;
    struct buffer got = {0};
    struct disk_buffer buffer = {0};
    struct tarn_error error;
    for (uint64_t i = 0; i < 300; i++)
        list_add(f, (struct tarn_record){{&i, 8}, {f->path, 200}, 0});
    write_list(f);
    size_t second = next_block(f, HEADER_BYTES);
    uint32_t lost = load_u32le(f->file.data + second + BLOCK_RECORDS);
    f->file.data[second + 50] ^= 1;
    file_write(f->path, buffer_view(&f->file));
    struct disk_pack *pack = open_pack(buffered(), f->path, true);
    uint64_t cursor = 0;
    unsigned errors = 0;
    do {
        int status = disk_scan(pack, &cursor, 1000, &buffer, note_visit, &got, &cursor, &error);
        errors += status != TARN_OK;
        assert_true(status == TARN_OK || status == TARN_CORRUPT);
    } while (cursor != 0);
    assert_int_equal(errors, 1);
    assert_int_equal(error.offset, second);
    assert_int_equal(got.size, (f->count - lost) * (8 + 8 + 8 + 8 + 200));
    cursor = UINT64_MAX;
    assert_int_equal(disk_scan(pack, &cursor, 5, &buffer, note_visit, &got, NULL, NULL), TARN_OK);
    assert_int_equal(cursor, 0);
    struct tarn_verify_report report;
    struct tarn_options options = {0};
    assert_int_equal(disk_verify(pack, &options, &report, &error), TARN_CORRUPT);
    disk_unref(pack);
    disk_buffer_done(&buffer);
    buffer_done(&got);
}

static void random_keys(void **context)
{
    struct fixture *f = *context;
    enum { COUNT = 300 };
    unsigned drawn[COUNT] = {0};
    struct disk_buffer buffer = {0};
    static unsigned char value[400];
    for (uint64_t i = 0; i < COUNT; i++)
        list_add(f, (struct tarn_record){{&i, 8}, {value, i % 400}, 0});
    write_list(f);
    for (int held = 0; held < 2; held++) {
        struct disk_pack *pack = open_pack(buffered(), f->path, held);
        for (uint64_t i = 0; i < 100 * COUNT / TEST_SLOWER; i++) {
            struct tarn_bytes key;
            assert_int_equal(disk_random_key(pack, random_mix(i), &buffer, &key, NULL), TARN_OK);
            assert_int_equal(key.size, 8);
            drawn[load_u64le(key.data)]++;
        }
        disk_unref(pack);
    }
    for (size_t i = 0; i < COUNT && TEST_SLOWER == 1; i++)
        assert_in_range(drawn[i], 100, 400);
    disk_buffer_done(&buffer);
}

/* Opening and looking up, with each call and each allocation failed. */
static void every_call_fails(void **context)
{
    struct fixture *f = *context;
    struct fault_os faults;
    struct tarn_options options = {.path = f->path};
    struct disk_pack *pack;
    struct tarn_error error;
    static const enum fault_entry entries[] = {FAULT_OPEN, FAULT_FILE_INFO, FAULT_READ_AT};
    write_file(f, 4, 300, 20, 100);
    fault_os_init(&faults, buffered());
    for (size_t e = 0; e < 3; e++)
        for (uint64_t nth = 1;; nth++) {
            fault_os_reset(&faults);
            fault_os_fail(&faults, entries[e], nth, EIO, false);
            int status = disk_open(&faults.os, &options, true, &pack, &error);
            assert_true(status == TARN_OK || status == TARN_IO);
            if (status == TARN_OK) { /* without direct reads, or a page of the directory */
                fault_os_reset(&faults);
                assert_int_equal(ask(f, pack, 5, &error), TARN_OK);
                fault_os_reset(&faults);
                fault_os_fail(&faults, FAULT_READ_AT, 1, EIO, false);
                assert_int_equal(ask(f, pack, 5, &error), TARN_IO);
                assert_int_equal(ask(f, pack, 5, &error), TARN_OK);
                disk_unref(pack);
            }
            assert_true(fault_os_clean(&faults));
            if (nth > 12)
                break;
        }
    for (uint64_t nth = 1;; nth++) {
        fault_malloc_arm(nth, false);
        int status = disk_open(os_real(), &options, true, &pack, &error);
        uint64_t failed = fault_malloc_disarm();
        assert_true(status == TARN_OK || (failed && status == TARN_NOMEM));
        if (status == TARN_OK)
            disk_unref(pack);
        if (!failed)
            break;
    }
    fault_os_done(&faults);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(files_of_all_sizes), TEST(equal_hashes),
        TEST(alike_hashes),       TEST(the_cap),
        TEST(far_values),         TEST(every_bit_flipped),
        TEST(damaged_page),       TEST(cut_while_open),
        TEST(scan_around_damage), TEST(random_keys),
        TEST(every_call_fails),   TEST(reads_as_often_as_promised),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    fixture_block_bytes = CHECKPOINT_BLOCK_BYTES;
    return failed + cmocka_run_group_tests_name("version 3", tests, NULL, NULL);
}
