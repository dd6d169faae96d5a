/* Goal: of records with equal hashes exactly those that count stay, in the static function where
 * the hash is theirs alone, as exceptions else; repetitions are counted and the first is named.
 * Method: random sets whose keys repeat, hashed by a function with few values; every answer is
 * held against the model, for memory and file, in every policy; reads are counted and failed.
 *
 * Bugs planted once to see it fail: pairs sorted by hash alone; `entry->location` moved under
 * FIRST; the key's buffer shared by two entries of a file source; the whole largest record read
 * for the key of each record over 64 KiB. */
#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/dataset.h"
#include "lib/fault_malloc.h"
#include "lib/scratch.h"
#include "pack/equal.h"

/* The real os, counting the bytes read; one read may be failed. */
struct counting_os {
    struct os os;
    uint64_t bytes, calls, fail_nth;
};

static int counting_read_at(const struct os *os, int fd, void *data, size_t size, uint64_t offset,
                            size_t *ret_size)
{
    struct counting_os *c = os->context;
    if (++c->calls == c->fail_nth)
        return -EIO;
    int status = os_real()->read_at(os_real(), fd, data, size, offset, ret_size);
    if (status == 0)
        c->bytes += *ret_size;
    return status;
}

struct fixture {
    struct scratch scratch;
    struct counting_os os;
    char path[SCRATCH_PATH_BYTES];
};

static int setup(void **context)
{
    struct fixture *f = calloc(1, sizeof *f);
    scratch_open(&f->scratch);
    scratch_name(&f->scratch, "data", f->path);
    f->os.os = *os_real();
    f->os.os.read_at = counting_read_at;
    f->os.os.context = &f->os;
    *context = f;
    return 0;
}

static int teardown(void **context)
{
    struct fixture *f = *context;
    scratch_close(&f->scratch);
    free(f);
    return 0;
}

static struct source source_open(struct fixture *f, const struct dataset *d, bool memory)
{
    struct source source = {.os = &f->os.os, .path = f->path, .fd = -1, .size = d->data.size};
    f->os.bytes = f->os.calls = f->os.fail_nth = 0;
    if (memory) {
        source.memory = buffer_view(&d->data);
        return source;
    }
    file_write(f->path, buffer_view(&d->data));
    source.fd = open(f->path, O_RDONLY | O_CLOEXEC);
    assert_true(source.fd >= 0);
    return source;
}

/* A hash with few values, so that different keys share them. */
static uint64_t weak_hash(struct tarn_bytes key, uint64_t values)
{
    uint64_t sum = key.size;
    for (size_t i = 0; i < key.size; i++)
        sum = sum * 31 + ((const unsigned char *)key.data)[i];
    return sum % values * 0x9e3779b97f4a7c15ull;
}

/* The records in an order of chance, as threads would leave them. */
static struct ribbon_pair *shuffled_pairs(const struct dataset *d, uint64_t values)
{
    struct ribbon_pair *pairs = malloc((d->count + 1) * sizeof *pairs);
    uint64_t random = 5;
    for (size_t i = 0; i < d->count; i++) {
        size_t j = random_next(&random) % (i + 1);
        pairs[i] = pairs[j];
        pairs[j] = (struct ribbon_pair){weak_hash(dataset_key(d, i), values), d->records[i].offset};
    }
    return pairs;
}

static bool find_location(const struct ribbon_pair *pairs, size_t count,
                          const struct equal_result *r, uint64_t hash, uint64_t location)
{
    for (size_t i = 0; i < count; i++)
        if (pairs[i].hash == hash && pairs[i].value == location)
            return true;
    for (size_t i = 0; i < r->exception_count; i++)
        if (r->exceptions[i].hash == hash && r->exceptions[i].location == location)
            return true;
    return false;
}

/* The first record that repeats a key, and the one it repeats, computed naively. */
static void check_repeat(const struct dataset *d, const struct equal_result *r,
                         enum tarn_duplicates policy)
{
    for (size_t i = 0; i < d->count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (!bytes_equal(dataset_key(d, i), dataset_key(d, j)))
                continue;
            assert_int_equal(r->repeat_location, d->records[i].offset);
            if (policy != TARN_DUPLICATES_LAST)
                assert_int_equal(r->repeat_of, d->records[j].offset);
            return;
        }
    }
    assert_true(r->repeat_location == UINT64_MAX);
}

static void check(struct fixture *f, struct dataset *d, uint64_t values,
                  enum tarn_duplicates policy, bool memory)
{
    struct source source = source_open(f, d, memory);
    struct ribbon_pair *pairs = shuffled_pairs(d, values);
    struct equal_result result;
    struct tarn_error error;
    size_t count = d->count;
    equal_result_init(&result);
    dataset_settle(d, policy);
    assert_int_equal(equal_resolve(&source, &d->format, policy, pairs, &count, &result, &error),
                     TARN_OK);
    assert_int_equal(result.duplicates, d->duplicates);
    assert_int_equal(count + result.exception_count, d->live);
    for (size_t i = 1; i < count; i++)
        assert_true(pairs[i - 1].hash < pairs[i].hash);
    for (size_t i = 0; i < d->count; i++)
        if (dataset_live(d, i))
            assert_true(find_location(pairs, count, &result, weak_hash(dataset_key(d, i), values),
                                      d->records[i].offset));
    check_repeat(d, &result, policy);
    equal_result_done(&result);
    free(pairs);
    if (source.fd >= 0)
        close(source.fd);
}

static void every_policy(void **context)
{
    for (size_t i = 0; i < dataset_formats_count; i++) {
        struct dataset d;
        dataset_init(&d, &dataset_formats[i]);
        for (uint64_t round = 0; round < 4; round++) {
            for (int policy = 0; policy < 3; policy++) {
                check(*context, &d, 1, policy, round & 1);
                check(*context, &d, 1 + 4 * round, policy, round & 1);
                check(*context, &d, UINT64_MAX, policy, ~round & 1);
            }
            dataset_add_random(&d, round, 1 + 50 * round, 1 + round, 10, 3);
        }
        dataset_drop_last_newline(&d);
        check(*context, &d, 5, TARN_DUPLICATES_LAST, false);
        dataset_done(&d);
    }
}

/* Trips on: time that grows with the square of the repetitions. */
static void one_key_100000_times(void **context)
{
    struct fixture *f = *context;
    struct dataset d;
    dataset_init(&d, &dataset_formats[2]);
    for (int i = 0; i < 100000; i++)
        dataset_add_text(&d, "again", "value");
    for (int policy = 0; policy < 3; policy++) {
        struct source source = source_open(f, &d, true);
        struct ribbon_pair *pairs = shuffled_pairs(&d, 7);
        struct equal_result result;
        size_t count = d.count;
        equal_result_init(&result);
        assert_int_equal(equal_resolve(&source, &d.format, policy, pairs, &count, &result, NULL),
                         TARN_OK);
        assert_int_equal(count, 1);
        assert_int_equal(pairs[0].value,
                         policy == TARN_DUPLICATES_LAST ? d.records[99999].offset : 0);
        assert_int_equal(result.duplicates, 99999);
        assert_int_equal(result.repeat_location, d.records[1].offset);
        equal_result_done(&result);
        free(pairs);
    }
    dataset_done(&d);
}

/* Trips on: reading far more than the records to compare their keys. */
static void large_records(void **context)
{
    struct fixture *f = *context;
    static const size_t sizes[] = {100, 65000, 70000, 200000};
    unsigned char *value = calloc(1, 200000), *key = calloc(1, TARN_KEY_BYTES_MAX);
    memset(value, 'v', 200000);
    memset(key, 'k', TARN_KEY_BYTES_MAX);
    for (int text = 0; text < 2; text++) {
        struct dataset d;
        dataset_init(&d, &dataset_formats[text ? 0 : 2]);
        for (size_t i = 0; i < 100; i++) {
            struct tarn_bytes v = {value, sizes[i % 4]};
            dataset_add(&d, bytes_of("short"), v);
            dataset_add(&d, (struct tarn_bytes){key, TARN_KEY_BYTES_MAX - i % 2}, v);
        }
        check(f, &d, 1, TARN_DUPLICATES_LAST, false);
        assert_true(f->os.bytes <= 10 * d.data.size);
        dataset_done(&d);
    }
    free(value);
    free(key);
}

/* Trips on: a failed read or allocation that is not reported, or leaks (LeakSanitizer). */
static void failures(void **context)
{
    struct fixture *f = *context;
    struct dataset d;
    dataset_init(&d, &dataset_formats[6]);
    dataset_add_random(&d, 1, 120, 2, 30, 2);
    for (int kind = 0; kind < 2; kind++) {
        uint64_t nth = 1;
        for (bool fired = true; fired; nth++) {
            struct source source = source_open(f, &d, false);
            struct ribbon_pair *pairs = shuffled_pairs(&d, 4);
            struct equal_result result;
            struct tarn_error error = {0};
            size_t count = d.count;
            equal_result_init(&result);
            f->os.fail_nth = kind == 0 ? nth : 0;
            fault_malloc_arm(kind == 1 ? nth : 0, false);
            int status = equal_resolve(&source, &d.format, TARN_DUPLICATES_LAST, pairs, &count,
                                       &result, &error);
            fired = kind == 0 ? f->os.calls >= nth : fault_malloc_disarm() > 0;
            assert_int_equal(status, !fired ? TARN_OK : kind == 0 ? TARN_IO : TARN_NOMEM);
            if (fired)
                assert_non_null(strstr(error.text, f->path));
            equal_result_done(&result);
            free(pairs);
            close(source.fd);
        }
        assert_true(nth > 3);
    }
    dataset_done(&d);
}

/* Trips on: a record that is none any more taken for a key. */
static void data_changed(void **context)
{
    struct fixture *f = *context;
    struct dataset d;
    struct tarn_error error;
    struct equal_result result;
    dataset_init(&d, &dataset_formats[2]);
    dataset_add_text(&d, "one", "1");
    dataset_add_text(&d, "one", "2");
    struct ribbon_pair pairs[] = {{1, 0}, {1, d.records[1].offset}};
    size_t count = 2;
    d.data.data[d.records[1].offset + 2] = 1; /* a key of 64 KiB and more */
    for (int memory = 0; memory < 2; memory++) {
        struct source source = source_open(f, &d, memory);
        equal_result_init(&result);
        assert_int_equal(
            equal_resolve(&source, &d.format, TARN_DUPLICATES_LAST, pairs, &count, &result, &error),
            TARN_STALE);
        assert_int_equal(error.offset, d.records[1].offset);
        count = 2;
        equal_result_done(&result);
        if (source.fd >= 0)
            close(source.fd);
    }
    dataset_done(&d);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_policy), TEST(one_key_100000_times), TEST(large_records),
        TEST(failures),     TEST(data_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
