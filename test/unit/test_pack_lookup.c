/* Goal: a lookup on disk finds every key's value, the one that counts, and no other, in the number
 * of reads that the layout promises; what is damaged or cut is an error of the keys it concerns and
 * never a wrong value.
 * Method: data sets in every format, over all granules and layouts, driven read by read in memory
 * that is exactly as large (AddressSanitizer), and held against the model; every bit flipped, every
 * length.
 *
 * Bugs planted once to see it fail: the block's checksum not compared; in a block the first of a
 * repeated key given under LAST, and of several blocks the first; the fingerprint compared under a
 * mask one bit short; a newline not taken off a far value; no step to the page before; the policy
 * FIRST going down through the blocks. */
#include "lib/test.h"

#include <stdio.h>

#include "core/codec.h"
#include "lib/disk_fixture.h"

static const enum tarn_duplicates policies[] = {TARN_DUPLICATES_LAST, TARN_DUPLICATES_FIRST};

/* TARN_OK, with the right value; or NOTFOUND, or an error. */
static int ask(struct disk_fixture *f, struct tarn_bytes key, struct tarn_error *error)
{
    struct lookup_found found;
    struct buffer value = {0};
    void *memory;
    size_t expected = dataset_find(f->d, key);
    int status = disk_fixture_find(f, key, &memory, &found, error);
    if (status == TARN_OK) {
        if (expected == SIZE_MAX)
            fail_msg("an absent key is found");
        status = disk_fixture_value(f, &found, &value, error);
    }
    if (status == TARN_OK && !bytes_equal(buffer_view(&value), dataset_value(f->d, expected)))
        fail_msg("record %zu has a value of %zu bytes, not this one of %zu", expected,
                 dataset_value(f->d, expected).size, value.size);
    buffer_done(&value);
    free(memory);
    return status;
}

static void assert_finds_all(struct disk_fixture *f)
{
    struct tarn_error error = {0};
    for (size_t i = 0; i < f->d->count; i++) {
        int status = ask(f, dataset_key(f->d, i), &error);
        if (status != TARN_OK)
            fail_msg("record %zu of %zu: %d %s", i, f->d->count, status, error.text);
    }
    assert_int_equal(error.status, 0);
}

/* `count` keys that are not there; how many reads they took. */
static uint64_t assert_finds_none(struct disk_fixture *f, size_t count)
{
    struct tarn_error error = {0};
    uint64_t random = 99, before = f->reads;
    for (size_t i = 0; i < count; i++) {
        uint64_t bytes[2] = {random_next(&random), i};
        struct tarn_bytes key = {bytes, 16};
        if (dataset_find(f->d, key) != SIZE_MAX)
            continue;
        int status = ask(f, key, &error);
        if (status != TARN_NOTFOUND)
            fail_msg("%d %s", status, error.text);
    }
    return f->reads - before;
}

static void all_shapes(const struct dataset *d, enum tarn_duplicates policy, unsigned granule_max,
                       uint64_t hash_mask)
{
    for (unsigned g = INDEX_GRANULE_LOG2_MIN; g <= granule_max; g++)
        for (unsigned layout = 0; layout < 4; layout++) {
            struct disk_shape shape = {.layout = layout < 2 ? INDEX_BLOCKS : INDEX_PAGES,
                                       .granule_log2 = g,
                                       .fingerprint_bits = layout * 5,
                                       .policy = policy,
                                       .hash_mask = hash_mask};
            struct disk_fixture f;
            disk_fixture_init(&f, d, &shape, layout == 3 ? 5 : 0);
            assert_finds_all(&f);
            assert_finds_none(&f, 200);
            disk_fixture_done(&f);
        }
}

/* Records smaller and larger than a granule, empty keys and values, keys repeated; block borders
 * anywhere. */
static void finds_all_in_every_format(void **context)
{
    (void)context;
    static const size_t value_max[] = {0, 40, 700, 6000};
    for (size_t k = 0; k < dataset_formats_count; k++)
        for (size_t v = 0; v < 4; v++)
            for (size_t p = 0; p < 2; p++) {
                struct dataset d;
                dataset_init(&d, &dataset_formats[k]);
                dataset_add_random(&d, k + v, 300 / TEST_SLOWER, 30, value_max[v], v * 5);
                if (v & 1)
                    dataset_drop_last_newline(&d);
                dataset_settle(&d, policies[p]);
                all_shapes(&d, policies[p], 13, 0);
                dataset_done(&d);
            }
}

/* A starts table of 16 and of 32 bits, at the border between them. */
static void finds_all_in_large_granules(void **context)
{
    (void)context;
    struct dataset d;
    dataset_init(&d, &dataset_formats[2]);
    dataset_add_random(&d, 5, 3000 / TEST_SLOWER, 30, 300, 9);
    dataset_settle(&d, TARN_DUPLICATES_LAST);
    all_shapes(&d, TARN_DUPLICATES_LAST, 18, 0);
    dataset_done(&d);
}

/* Hashes of few bits: nearly every key shares its with others, over blocks and pages. */
static void finds_all_under_equal_hashes(void **context)
{
    (void)context;
    static const uint64_t masks[] = {0xff, 0xf000000000000000, 3, 0x8000000000000000};
    for (size_t m = 0; m < 4; m++)
        for (size_t p = 0; p < 2; p++) {
            struct dataset d;
            dataset_init(&d, &dataset_formats[2 * m]);
            dataset_add_random(&d, m, 150, 6, 300, 3);
            dataset_settle(&d, policies[p]);
            all_shapes(&d, policies[p], 11, masks[m]);
            dataset_done(&d);
        }
}

/* No records, one, and one that is empty. */
static void finds_all_of_few(void **context)
{
    (void)context;
    for (size_t k = 0; k < dataset_formats_count; k++)
        for (size_t count = 0; count < 3; count++) {
            struct dataset d;
            dataset_init(&d, &dataset_formats[k]);
            for (size_t i = 0; i < count; i++)
                dataset_add_text(&d, i ? "k" : "", i ? "" : "v");
            dataset_settle(&d, TARN_DUPLICATES_LAST);
            all_shapes(&d, TARN_DUPLICATES_LAST, 10, 0);
            dataset_done(&d);
        }
}

/* One read for a key of layout blocks, two of pages; absent keys as the fingerprint has it. */
static void reads_as_often_as_promised(void **context)
{
    (void)context;
    const size_t count = 4000 / TEST_SLOWER;
    static const char value[300];
    struct dataset d;
    dataset_init(&d, &dataset_formats[2]);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t key = random_mix(i);
        dataset_add(&d, (struct tarn_bytes){&key, 8}, (struct tarn_bytes){value, i % 300});
    }
    dataset_settle(&d, TARN_DUPLICATES_LAST);
    for (unsigned bits = 0; bits <= 8; bits += 4) {
        struct disk_shape shape = {.granule_log2 = 12, .fingerprint_bits = bits};
        struct disk_fixture f;
        disk_fixture_init(&f, &d, &shape, 0);
        assert_finds_all(&f);
        assert_int_equal(f.reads, count);
        assert_true(f.read_bytes <= count * (4096 * 2 + 4096 + 400));
        uint64_t reads = assert_finds_none(&f, count);
        uint64_t places = 1ull << index_location_bits(&f.index); /* those that are none: refused */
        uint64_t expected = (count >> bits) * f.index.block_count / places;
        assert_true(reads <= expected + expected / 4 + 12);
        disk_fixture_done(&f);
    }
    struct disk_fixture f;
    disk_fixture_init(&f, &d, &(struct disk_shape){.layout = INDEX_PAGES, .granule_log2 = 12}, 0);
    assert_finds_all(&f);
    assert_int_equal(f.reads, 2 * count);
    assert_in_range(assert_finds_none(&f, count), count - 10, count);
    disk_fixture_done(&f);
    dataset_done(&d);
}

/* Values around the size from which on they are far, small records before and behind, the last line
 * with and without its newline; the key of a far value repeated by a near one and the other way. */
static void far_values(void **context)
{
    (void)context;
    static const size_t sizes[] = {DISK_FAR_BYTES - 70000, DISK_FAR_BYTES, DISK_FAR_BYTES + 1,
                                   DISK_FAR_BYTES + 70000, 3 * DISK_FAR_BYTES + 5};
    char *value = malloc(sizes[4]);
    for (size_t i = 0; i < sizes[4]; i++)
        value[i] = (char)('a' + random_mix(i) % 26);
    for (size_t k = 0; k < dataset_formats_count; k++) {
        bool small_sizes = dataset_formats[k].kind == TARN_FORMAT_BINARY &&
                           dataset_formats[k].size_type == TARN_SIZE_U16;
        for (size_t p = 0; p < 4 && !small_sizes; p++) {
            struct dataset d;
            dataset_init(&d, &dataset_formats[k]);
            dataset_add_text(&d, "first", "x");
            dataset_add_text(&d, "again", "near");
            for (size_t i = 0; i < 5; i++) {
                char key[20];
                snprintf(key, sizeof key, "key-%zu", i);
                dataset_add(&d, bytes_of(key), (struct tarn_bytes){value, sizes[i]});
                if (i % 2)
                    dataset_add_text(&d, i == 3 ? "key-0" : "small", "y");
            }
            dataset_add(&d, bytes_of("again"), (struct tarn_bytes){value, sizes[3]});
            if (p & 1)
                dataset_drop_last_newline(&d);
            dataset_settle(&d, policies[p / 2]);
            for (unsigned g = 9; g <= 20; g += 11 / TEST_SLOWER + 1) {
                struct disk_fixture f;
                disk_fixture_init(
                    &f, &d, &(struct disk_shape){.granule_log2 = g, .policy = policies[p / 2]}, 0);
                assert_finds_all(&f);
                disk_fixture_done(&f);
            }
            dataset_done(&d);
        }
    }
    free(value);
}

/* What the error says: the file, and a byte of it where something is wrong. */
static void assert_tells(const struct tarn_error *error, uint64_t size)
{
    assert_true(strncmp(error->text, "data: ", 6) == 0 || strncmp(error->text, "index: ", 7) == 0);
    assert_non_null(strstr(error->text, " at byte "));
    assert_in_range(error->offset, 0, size);
}

/* Each bit of the data flipped: keys of that block fail, all others are found. */
static void flipped_bits_of_data(void **context)
{
    (void)context;
    struct dataset d;
    for (size_t k = 0; k < dataset_formats_count; k++) {
        dataset_init(&d, &dataset_formats[k]);
        dataset_add_random(&d, k, 40, 8, 90, 5);
        dataset_settle(&d, TARN_DUPLICATES_LAST);
        struct disk_fixture f;
        disk_fixture_init(&f, &d, &(struct disk_shape){.granule_log2 = 9}, 0);
        for (size_t bit = 0; bit < 8 * d.data.size; bit += TEST_SLOWER) {
            uint64_t start, size, damaged = 0;
            f.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
            for (size_t i = 0; i < d.count; i++) {
                struct tarn_error error;
                uint64_t at = d.records[dataset_find(&d, dataset_key(&d, i))].offset;
                assert_true(index_block_range(&f.index, at >> 9, &start, &size));
                bool hit = bit / 8 >= start && bit / 8 < start + size;
                int status = ask(&f, dataset_key(&d, i), &error);
                if (!hit && f.index.exception_count == 0)
                    assert_int_equal(status, TARN_OK);
                if (hit || status != TARN_OK) {
                    assert_int_equal(status, TARN_CORRUPT);
                    assert_tells(&error, d.data.size);
                    damaged++;
                }
            }
            assert_true(damaged <= d.count);
            f.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
        }
        disk_fixture_done(&f);
        dataset_done(&d);
    }
}

/* Each bit of the pages flipped; two pages exchanged. */
static void damaged_pages(void **context)
{
    (void)context;
    struct dataset d;
    struct disk_fixture f;
    struct tarn_error error;
    dataset_init(&d, &dataset_formats[2]);
    dataset_add_random(&d, 1, 12, 8, 90, 0);
    dataset_settle(&d, TARN_DUPLICATES_LAST);
    disk_fixture_init(&f, &d, &(struct disk_shape){.layout = INDEX_PAGES, .granule_log2 = 9}, 6);
    assert_int_equal(f.index.page_count, 2);
    for (size_t bit = 8 * INDEX_PAGES_AT; bit < 8 * f.pages.size; bit += TEST_SLOWER) {
        size_t page = (bit / 8 - INDEX_PAGES_AT) / INDEX_PAGE_BYTES;
        f.pages.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
        for (size_t i = 0; i < d.count; i++) {
            bool hit = (index_hash(&f.index, dataset_key(&d, i)) >= f.index.top[1]) == page;
            assert_int_equal(ask(&f, dataset_key(&d, i), &error), hit ? TARN_CORRUPT : TARN_OK);
            if (hit)
                assert_tells(&error, f.pages.size);
        }
        f.pages.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    memmove(f.pages.data + INDEX_PAGES_AT, f.pages.data + INDEX_PAGES_AT + INDEX_PAGE_BYTES,
            INDEX_PAGE_BYTES);
    for (size_t i = 0; i < d.count; i++) {
        bool hit = index_hash(&f.index, dataset_key(&d, i)) < f.index.top[1];
        assert_int_equal(ask(&f, dataset_key(&d, i), &error), hit ? TARN_CORRUPT : TARN_OK);
    }
    disk_fixture_done(&f);
    dataset_done(&d);
}

/* Cut at every length while it is open: what lies before is found, the rest is an error. */
static void cut_while_open(void **context)
{
    (void)context;
    struct dataset d;
    struct disk_fixture f;
    struct tarn_error error;
    dataset_init(&d, &dataset_formats[0]);
    dataset_add_random(&d, 1, 60, 8, 90, 0);
    dataset_settle(&d, TARN_DUPLICATES_LAST);
    for (unsigned layout = 0; layout < 2; layout++) {
        disk_fixture_init(&f, &d, &(struct disk_shape){.layout = layout, .granule_log2 = 9}, 0);
        for (size_t size = 0; size <= d.data.size; size++) {
            memory_os_put(&f.memory, "data", (struct tarn_bytes){f.data, size}, 0);
            for (size_t i = 0; i < d.count; i++) {
                uint64_t start, length;
                size_t counts = dataset_find(&d, dataset_key(&d, i));
                assert_true(
                    index_block_range(&f.index, d.records[counts].offset >> 9, &start, &length));
                int status = ask(&f, dataset_key(&d, i), &error);
                if (f.index.exception_count == 0)
                    assert_int_equal(status, start + length <= size ? TARN_OK : TARN_STALE);
                if (status != TARN_OK) {
                    assert_int_equal(status, TARN_STALE);
                    assert_tells(&error, layout ? f.pages.size : d.data.size);
                }
            }
        }
        for (size_t size = 0; layout == 1 && size < f.pages.size; size += 512) {
            memory_os_put(&f.memory, "index", (struct tarn_bytes){f.pages.data, size}, 0);
            assert_int_equal(ask(&f, dataset_key(&d, 0), &error), TARN_STALE);
            assert_tells(&error, layout ? f.pages.size : d.data.size);
        }
        disk_fixture_done(&f);
    }
    dataset_done(&d);
}

/* A far value whose file is damaged or cut while it is read: the pieces before are right, that one
 * is an error. */
static void damaged_far_value(void **context)
{
    (void)context;
    struct dataset d;
    struct disk_fixture f;
    struct tarn_error error;
    struct lookup_found found;
    void *memory;
    size_t size = 4 * DISK_FAR_BYTES + 77;
    char *value = calloc(1, size);
    dataset_init(&d, &dataset_formats[2]);
    dataset_add_text(&d, "small", "x");
    dataset_add(&d, bytes_of("far"), (struct tarn_bytes){value, size});
    dataset_settle(&d, TARN_DUPLICATES_LAST);
    disk_fixture_init(&f, &d, &(struct disk_shape){.granule_log2 = 12}, 0);
    assert_int_equal(disk_fixture_find(&f, bytes_of("far"), &memory, &found, &error), TARN_OK);
    assert_true(found.far && found.place.size == size);
    free(memory);
    for (size_t at = 3 * DISK_FAR_BYTES; at < d.data.size; at += 50021) {
        struct buffer out = {0};
        f.data[at] ^= 1;
        assert_int_equal(disk_value(&f.pack, &found, &f.buffer, &out, &error), TARN_CORRUPT);
        assert_tells(&error, d.data.size);
        assert_true(out.size >= 2 * DISK_FAR_BYTES && memcmp(out.data, value, out.size) == 0);
        f.data[at] ^= 1;
        buffer_clear(&out);
        memory_os_put(&f.memory, "data", (struct tarn_bytes){f.data, at}, 0);
        assert_int_equal(disk_value(&f.pack, &found, &f.buffer, &out, &error), TARN_STALE);
        assert_tells(&error, d.data.size);
        memory_os_put(&f.memory, "data", (struct tarn_bytes){f.data, d.data.size}, 0);
        buffer_done(&out);
    }
    disk_fixture_done(&f);
    dataset_done(&d);
    free(value);
}

/* Keys over the limit, and reads that fail. */
static void refusals(void **context)
{
    (void)context;
    struct dataset d;
    struct disk_fixture f;
    struct lookup l;
    struct tarn_error error;
    dataset_init(&d, &dataset_formats[2]);
    dataset_add_text(&d, "key", "value");
    dataset_settle(&d, TARN_DUPLICATES_LAST);
    disk_fixture_init(&f, &d, &(struct disk_shape){.granule_log2 = 12}, 0);
    char *key = calloc(1, TARN_KEY_BYTES_MAX + 1);
    assert_int_equal(lookup_begin(&f.pack, (struct tarn_bytes){key, TARN_KEY_BYTES_MAX + 1}, &l),
                     TARN_NOTFOUND);
    assert_int_equal(lookup_begin(&f.pack, bytes_of("key"), &l), LOOKUP_READ);
    assert_int_equal(lookup_failed(&l, -5, &error), TARN_IO);
    assert_string_equal(error.text, "4096 bytes at byte 0: cannot read data: Input/output error; "
                                    "check the disk (dmesg)");
    assert_int_equal(error.offset, 0);
    free(key);
    disk_fixture_done(&f);
    dataset_done(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_all_in_every_format),
        cmocka_unit_test(finds_all_in_large_granules),
        cmocka_unit_test(finds_all_under_equal_hashes),
        cmocka_unit_test(finds_all_of_few),
        cmocka_unit_test(reads_as_often_as_promised),
        cmocka_unit_test(far_values),
        cmocka_unit_test(flipped_bits_of_data),
        cmocka_unit_test(damaged_pages),
        cmocka_unit_test(cut_while_open),
        cmocka_unit_test(damaged_far_value),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
