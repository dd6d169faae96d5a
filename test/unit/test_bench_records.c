/* Goal: every record has a key and a value of its own that follow from its number; missing keys are
 * nobody's; a key size that is too small is refused; a data file's records are what a store over it
 * answers, and nothing is written beside it.
 * Method: all keys of small key sizes, records and missing ones, collected and compared; values
 * spoilt byte by byte; every size that fits and the first that does not; files of every format with
 * repeated keys against the model of lib/dataset.h; every system call and allocation failed once.
 *
 * Bugs planted once to see it fail: missing keys counted from the middle; the digits of the
 * permuted index not cut from the right end; no permutation; count_max twice too large; the head
 * not compared, the slice not compared, only its first piece compared; the index file written;
 * missing keys not looked up; all numbers one missing key, or keys made of one record; the pin not
 * taken; the list of records not unmapped. */
#include "bench/records.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "core/number.h"

#include "lib/test.h"

#include "lib/chi_square.h"
#include "lib/dataset.h"
#include "lib/fault_malloc.h"
#include "lib/os_fixture.h"

static struct records *opened(const struct records_options *options)
{
    struct records *r;
    struct tarn_error error;
    if (records_open(&fault.os, options, &r, &error) != TARN_OK)
        fail_msg("%s", error.text);
    return r;
}

static struct records *generated(uint64_t count, size_t key, uint64_t low, uint64_t high,
                                 uint64_t seed)
{
    return opened(&(struct records_options){
        .count = count, .key_bytes = key, .value_bytes = {low, high}, .seed = seed});
}

/* --- generated keys --- */

/* The hexadecimal number that a key ends in, behind the prefix that its size asks for. */
static uint64_t key_number(struct tarn_bytes key, size_t size)
{
    static const char prefix[] = "user::::::::::::::::::::::::::::::::::";
    const unsigned char *bytes = key.data;
    size_t prefix_size = size > 16 ? size - 16 : 0;
    uint64_t number = 0;
    assert_int_equal(key.size, size);
    assert_memory_equal(bytes, prefix, prefix_size < 38 ? prefix_size : 38);
    for (size_t i = prefix_size; i < size; i++) {
        assert_true(number_hex_digit(bytes[i]) >= 0 && !(bytes[i] >= 'A' && bytes[i] <= 'F'));
        number = number << 4 | (uint64_t)number_hex_digit(bytes[i]);
    }
    return number;
}

/* All indices of small key sizes: each number is somebody's key, once. */
static void test_keys_are_all_different(void **state)
{
    (void)state;
    for (size_t size = 1; size <= 4; size++) {
        uint64_t half = 1ull << (4 * size - 1);
        struct records *r = generated(half / 2, size, 1, 1, size);
        unsigned char *seen = calloc(2 * half, 1), room[4];
        assert_true(records_count(r) == half / 2 && records_count_max(r) == half);
        assert_int_equal(records_key_bytes_max(r), size);
        for (uint64_t i = 0; i < half; i++) {
            assert_int_equal(seen[key_number(records_key(r, i, room), size)]++, 0);
            uint64_t missing = i | RECORD_MISSING;
            assert_int_equal(seen[key_number(records_key(r, missing, room), size)]++, 0);
        }
        for (uint64_t i = half; i < 2 * half; i++) /* a number that is too large */
            assert_true(key_number(records_key(r, i | RECORD_MISSING, room), size) ==
                        key_number(records_key(r, (i - half) | RECORD_MISSING, room), size));
        free(seen);
        records_close(r);
    }
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void test_keys_of_larger_sizes(void **state)
{
    (void)state;
    static const size_t sizes[] = {5, 8, 15, 16, 17, 20, 24, 40, 1000, TARN_KEY_BYTES_MAX};
    enum { KEYS = 5000 };
    unsigned char *room = malloc(TARN_KEY_BYTES_MAX);
    double even[16];
    for (int i = 0; i < 16; i++)
        even[i] = 1.0 / 16;
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        static uint64_t numbers[3 * KEYS];
        uint64_t first[16] = {0};
        size_t size = sizes[s];
        struct records *r = generated(10000, size, 1, 1, 0);
        for (uint64_t i = 0; i < KEYS; i++) {
            numbers[3 * i] = key_number(records_key(r, i, room), size);
            uint64_t last = records_count_max(r) - 1 - i;
            numbers[3 * i + 1] = key_number(records_key(r, last, room), size);
            numbers[3 * i + 2] = key_number(records_key(r, i | RECORD_MISSING, room), size);
            first[numbers[3 * i] >> (size < 16 ? 4 * size - 4 : 60)]++;
        }
        assert_true(chi_square_ratio(first, even, 16) < 1); /* in no order */
        qsort(numbers, 3 * KEYS, sizeof numbers[0], compare);
        for (size_t i = 1; i < 3 * KEYS; i++)
            assert_true(numbers[i - 1] < numbers[i]);
        records_close(r);
    }
    free(room);
}

static void test_key_sizes_that_do(void **state)
{
    (void)state;
    for (unsigned size = 1; size <= 18; size++) {
        uint64_t most = size >= 16 ? 1ull << 61 : 1ull << (4 * size - 2);
        struct records *r = generated(most, size, 0, 0, 1);
        unsigned char room[18];
        assert_true(records_count_max(r) == 2 * most);
        assert_true(key_number(records_key(r, 2 * most - 1, room), size) !=
                    key_number(records_key(r, RECORD_MISSING | (2 * most - 1), room), size));
        records_close(r);
        struct tarn_error error;
        struct records_options options = {.count = most + 1, .key_bytes = size};
        assert_int_equal(records_open(&fault.os, &options, &r, &error), TARN_INVALID);
        char needed[32];
        snprintf(needed, sizeof needed, "need a key size of %u", size + 1);
        assert_non_null(strstr(error.text, size < 16 ? needed : "there can be"));
    }
}

static void test_options_refused(void **state)
{
    (void)state;
    static const struct {
        struct records_options options;
        int status;
        const char *text;
    } rows[] = {
        {{.count = 0, .key_bytes = 16}, TARN_INVALID, "at least 1"},
        {{.count = 1, .key_bytes = 0}, TARN_INVALID, "at least 1"},
        {{.count = 1, .key_bytes = TARN_KEY_BYTES_MAX + 1}, TARN_TOOBIG, "65535"},
        {{.count = 1, .key_bytes = 9, .value_bytes = {2, 1}}, TARN_INVALID, "from 2 to 1"},
        {{.count = 1, .key_bytes = 9, .value_bytes = {0, TARN_VALUE_BYTES_MAX + 1}},
         TARN_TOOBIG,
         "536870912"},
        {{.count = 1000, .key_bytes = 3, .value_bytes = {1, 1}}, TARN_OK, NULL},
        {{.count = 5000, .key_bytes = 3},
         TARN_INVALID,
         "a key size of 3 is enough for 1,024 records, as many inserted and as many missing "
         "ones; 5,000 records need a key size of 4"},
        {{.count = UINT64_MAX, .key_bytes = 16}, TARN_INVALID, "too many"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tarn_error error = {0};
        struct records *r = NULL;
        assert_int_equal(records_open(&fault.os, &rows[i].options, &r, &error), rows[i].status);
        if (rows[i].text)
            assert_non_null(strstr(error.text, rows[i].text));
        records_close(r);
    }
    fault_malloc_arm(1, true);
    struct records *r;
    int status = records_open(&fault.os, &rows[5].options, &r, NULL);
    fault_malloc_disarm();
    assert_int_equal(status, TARN_NOMEM);
}

/* --- generated values --- */

/* Each byte matters, each size; a value of another record is not this one's. */
static void test_values_are_checked_to_the_byte(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 4, 7, 8, 9, 16, 64, 100, 1000};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        unsigned char room[1001], other[1001];
        struct records *r = generated(100000, 16, sizes[s], sizes[s], 3);
        assert_int_equal(records_value_bytes_max(r), sizes[s]);
        assert_int_equal(records_value_bytes(r, 77), sizes[s]);
        assert_int_equal(records_data_bytes(r), 100000 * (16 + sizes[s]));
        struct tarn_bytes value = records_value(r, 77, room);
        assert_int_equal(value.size, sizes[s]);
        assert_true(records_value_equal(r, 77, value));
        assert_false(records_value_equal(r, 77, (struct tarn_bytes){room, sizes[s] + 1}));
        for (size_t i = 0; i < sizes[s]; i++) {
            assert_in_range(room[i], 0x21, 0x7e);
            assert_false(records_value_equal(r, 77, (struct tarn_bytes){room, i}));
            room[i] ^= 1;
            assert_false(records_value_equal(r, 77, value));
            room[i] ^= 1;
        }
        for (uint64_t i = 78; sizes[s] >= 7 && i < 2000; i++) {
            assert_false(records_value_equal(r, i, value));
            assert_true(records_value_equal(r, i, records_value(r, i, other)));
        }
        records_close(r);
    }
}

/* With 8 bytes all of 300,000 records have their own value, and the 2^32nd its own again. */
static void test_heads_are_all_different(void **state)
{
    (void)state;
    enum { HEADS = 300000 };
    struct records *r = generated(HEADS, 16, 8, 8, 4);
    uint64_t *heads = malloc(HEADS * sizeof *heads), first;
    for (uint64_t i = 0; i < HEADS; i++)
        memcpy(&heads[i], records_value(r, i, (unsigned char *)&heads[i]).data, 8);
    assert_false(records_value_equal(r, 1ull << 32, records_value(r, 0, (void *)&first)));
    qsort(heads, HEADS, sizeof *heads, compare);
    for (size_t i = 1; i < HEADS; i++)
        assert_true(heads[i - 1] != heads[i]);
    free(heads);
    records_close(r);
}

static void test_large_values(void **state)
{
    (void)state;
    static const size_t sizes[] = {65535, 65536, 65543, 65544, 65545, 131080, 200000, 3 << 20};
    unsigned char *room = malloc(3 << 20);
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        struct records *r = generated(10, 16, sizes[s], sizes[s], 3);
        for (uint64_t i = 0; i < 10; i++) {
            struct tarn_bytes value = records_value(r, i, room);
            assert_true(value.size == sizes[s] && records_value_equal(r, i, value));
            room[sizes[s] - 1] ^= 1;
            assert_false(records_value_equal(r, i, value));
        }
        records_close(r);
    }
    free(room);
}

static void test_value_sizes_are_uniform(void **state)
{
    (void)state;
    uint64_t counted[91] = {0}, sum = 0;
    double even[91];
    struct records *r = generated(91000, 20, 10, 100, 5);
    for (uint64_t i = 0; i < 91000; i++) {
        size_t size = records_value_bytes(r, i);
        assert_in_range(size, 10, 100);
        counted[size - 10]++;
        sum += size + 20;
    }
    for (int i = 0; i < 91; i++)
        even[i] = 1.0 / 91;
    assert_true(chi_square_ratio(counted, even, 91) < 1);
    assert_int_equal(records_value_bytes_max(r), 100);
    assert_int_equal(records_data_bytes(r), sum);
    records_prefetch(r, 5);
    records_prefetch_bytes(r, 5);
    records_close(r);
}

static void test_seeds(void **state)
{
    (void)state;
    struct records *one = generated(1000, 16, 50, 60, 1), *again = generated(1000, 16, 50, 60, 1);
    struct records *other = generated(1000, 16, 50, 60, 2);
    unsigned char a[64], b[64];
    for (uint64_t i = 0; i < 1000; i++) {
        assert_true(bytes_equal(records_key(one, i, a), records_key(again, i, b)));
        assert_false(bytes_equal(records_key(one, i, a), records_key(other, i, b)));
        assert_true(records_value_equal(again, i, records_value(one, i, a)));
        assert_false(records_value_equal(other, i, records_value(one, i, a)));
    }
    records_close(one);
    records_close(again);
    records_close(other);
}

/* --- a file --- */

static const char *data_path(void)
{
    return scratch_at(&scratch, "data");
}

static void check_record(const struct records *r, const struct dataset *d, uint64_t i,
                         unsigned char *seen)
{
    struct tarn_bytes key = records_key(r, i, NULL), value = records_value(r, i, NULL);
    size_t record = dataset_find(d, key);
    assert_true(record != SIZE_MAX);
    assert_int_equal(seen[record]++, 0);
    assert_true(bytes_equal(value, dataset_value(d, record)));
    assert_int_equal(records_value_bytes(r, i), value.size);
    assert_true(records_value_equal(r, i, value));
    assert_true(records_value_equal(r, i, dataset_value(d, record)));
    assert_true(key.size <= records_key_bytes_max(r));
    assert_true(value.size <= records_value_bytes_max(r));
    records_prefetch(r, i);
    records_prefetch_bytes(r, i);
}

static void check_missing(const struct records *r, const struct dataset *d)
{
    uint64_t *hashes = malloc(d->live * sizeof *hashes);
    for (uint64_t n = 0; n < 2 * d->live; n++) {
        struct tarn_bytes key = records_key(r, n | RECORD_MISSING, NULL);
        assert_true(dataset_find(d, key) == SIZE_MAX);
        assert_true(key.size <= records_key_bytes_max(r));
        assert_true(bytes_equal(key, records_key(r, n | RECORD_MISSING, NULL)));
        hashes[n % d->live] = hash_checksum(key.data, key.size, 0);
        records_prefetch(r, n | RECORD_MISSING);
        records_prefetch_bytes(r, n | RECORD_MISSING);
    }
    qsort(hashes, d->live, sizeof *hashes, compare);
    size_t different = 1;
    for (size_t i = 1; i < d->live; i++)
        different += hashes[i - 1] != hashes[i];
    assert_true(different > d->live * 9 / 10); /* each is made of a record of its own */
    free(hashes);
}

static void check_file(const struct dataset *d)
{
    struct records *r = opened(&(struct records_options){.path = data_path()});
    unsigned char *seen = calloc(d->count, 1);
    uint64_t bytes = 0;
    assert_int_equal(records_count(r), d->live);
    assert_int_equal(records_count_max(r), d->live);
    for (uint64_t i = 0; i < d->live; i++) {
        check_record(r, d, i, seen);
        bytes += records_key(r, i, NULL).size + records_value(r, i, NULL).size;
    }
    assert_int_equal(records_data_bytes(r), bytes);
    check_missing(r, d);
    free(seen);
    records_close(r);
    assert_int_equal(scratch_count(&scratch, ""), 1); /* no index beside it */
}

/* Records of plain words, so that each format is detected; a fifth are of keys that came before. */
static void fill_words(struct dataset *d, const struct tarn_format *format, size_t count)
{
    uint64_t random = 1;
    dataset_init(d, format);
    for (size_t i = 0; i < count; i++) {
        char key[32], value[64];
        size_t number = i % 5 == 4 ? (size_t)random_below(random_next(&random), i) : i;
        snprintf(key, sizeof key, "key-%zu", number);
        snprintf(value, sizeof value, "%.*s-of-%zu", (int)(i % 32),
                 "the-value-that-was-written-for-", i);
        dataset_add_text(d, key, value);
    }
    dataset_settle(d, TARN_DUPLICATES_LAST);
    file_write(data_path(), buffer_view(&d->data));
}

static void test_files_of_every_format(void **state)
{
    (void)state;
    for (size_t f = 0; f < dataset_formats_count; f++) {
        struct dataset d;
        if (dataset_formats[f].separator_set)
            continue; /* is not detected */
        fill_words(&d, &dataset_formats[f], 3000);
        assert_true(d.duplicates > 100);
        check_file(&d);
        dataset_done(&d);
    }
}

/* All keys of one and two letters are taken, so that missing ones must be longer. */
static void test_missing_keys_of_a_dense_file(void **state)
{
    (void)state;
    struct dataset d;
    dataset_init(&d, &dataset_formats[0]);
    for (int a = '0'; a <= 'z'; a++) {
        dataset_add_text(&d, (char[]){(char)a, 0}, "1");
        for (int b = '0'; b <= 'z'; b++)
            dataset_add_text(&d, (char[]){(char)a, (char)b, 0}, "2");
    }
    dataset_settle(&d, TARN_DUPLICATES_LAST);
    file_write(data_path(), buffer_view(&d.data));
    check_file(&d);
    dataset_done(&d);
}

/* The key of no bytes, and keys as long as they may be. */
static void test_keys_of_extreme_sizes(void **state)
{
    (void)state;
    struct dataset d;
    char *longest = malloc(TARN_KEY_BYTES_MAX);
    memset(longest, 'k', TARN_KEY_BYTES_MAX);
    dataset_init(&d, &dataset_formats[dataset_formats_count - 1]);
    dataset_add_text(&d, "", "");
    for (char c = 'a'; c < 'a' + 5; c++) {
        longest[0] = c;
        dataset_add(&d, (struct tarn_bytes){longest, TARN_KEY_BYTES_MAX}, bytes_of("value"));
    }
    dataset_settle(&d, TARN_DUPLICATES_LAST);
    file_write(data_path(), buffer_view(&d.data));
    check_file(&d);
    dataset_done(&d);
    free(longest);
}

static void test_files_refused(void **state)
{
    (void)state;
    struct records *r;
    struct tarn_error error;
    struct records_options options = {.path = data_path()};
    assert_int_equal(records_open(&fault.os, &options, &r, &error), TARN_MISSING);
    file_write(data_path(), bytes_of(""));
    assert_int_equal(records_open(&fault.os, &options, &r, &error), TARN_INVALID);
    assert_non_null(strstr(error.text, data_path()));
    file_write(data_path(), bytes_of("a line without any separator\n\n\n"));
    assert_true(records_open(&fault.os, &options, &r, &error) <= 0);
}

static bool cancel_at(void *context, const char *phase, uint64_t done, uint64_t total)
{
    assert_true(done <= total);
    return strcmp(phase, context) != 0;
}

static void test_cancelled(void **state)
{
    (void)state;
    static const char *const phases[] = {"reading", "listing", "nothing"};
    struct dataset d;
    fill_words(&d, &dataset_formats[0], 300);
    dataset_done(&d);
    for (size_t i = 0; i < 3; i++) {
        struct records *r = NULL;
        struct records_options options = {.path = data_path(),
                                          .progress = cancel_at,
                                          .progress_context = (void *)(uintptr_t)phases[i]};
        assert_int_equal(records_open(&fault.os, &options, &r, NULL),
                         i < 2 ? TARN_CANCELLED : TARN_OK);
        records_close(r);
    }
}

static void test_failures(void **state)
{
    (void)state;
    struct dataset d;
    struct records *r;
    struct tarn_error error;
    struct records_options options = {.path = data_path()};
    fill_words(&d, &dataset_formats[0], 300);
    dataset_done(&d);
    for (uint64_t nth = 1;; nth++) {
        fault_malloc_arm(nth, false);
        int status = records_open(&fault.os, &options, &r, &error);
        bool fired = fault_malloc_disarm() != 0;
        if (status == TARN_OK)
            records_close(r);
        else
            assert_int_equal(status, TARN_NOMEM);
        assert_true(fault_os_clean(&fault));
        if (!fired)
            break;
    }
    static const enum fault_entry entries[] = {FAULT_OPEN, FAULT_READ_AT, FAULT_FILE_INFO,
                                               FAULT_MAP};
    for (size_t e = 0; e < 4; e++) {
        for (uint64_t nth = 1; nth < 100; nth++) {
            fault_os_reset(&fault);
            fault_os_fail(&fault, entries[e], nth, e == 3 ? ENOMEM : EIO, false);
            int status = records_open(&fault.os, &options, &r, &error);
            if (status == TARN_OK)
                records_close(r);
            assert_true(fault_os_clean(&fault));
            if (!fault_os_fired(&fault))
                break;
        }
    }
    fault_os_reset(&fault);
    assert_int_equal(scratch_count(&scratch, ""), 1);
}

#define WITH_FILES(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FILES(test_keys_are_all_different),
        WITH_FILES(test_keys_of_larger_sizes),
        WITH_FILES(test_key_sizes_that_do),
        WITH_FILES(test_options_refused),
        WITH_FILES(test_values_are_checked_to_the_byte),
        WITH_FILES(test_heads_are_all_different),
        WITH_FILES(test_large_values),
        WITH_FILES(test_value_sizes_are_uniform),
        WITH_FILES(test_seeds),
        WITH_FILES(test_files_of_every_format),
        WITH_FILES(test_missing_keys_of_a_dense_file),
        WITH_FILES(test_keys_of_extreme_sizes),
        WITH_FILES(test_files_refused),
        WITH_FILES(test_cancelled),
        WITH_FILES(test_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
