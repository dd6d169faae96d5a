/* A store in this process for the tests of tarn bench: it knows all records of a data set and
 * whether each is there, counts and logs what it is asked, and does what a test says of failing,
 * lying and taking time. There is one of it, for any number of threads. Beside it a struct os whose
 * clock only readings and calls move. Include lib/test.h first. */
#ifndef LIB_FAKE_STORE_H
#define LIB_FAKE_STORE_H

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/embedded.h"
#include "core/hash.h"

#define FAKE_NEVER   UINT64_MAX
#define FAKE_LOG_MAX 4096

/* Set by a test before the store is opened; zeroed is a store without faults. */
struct fake_plan {
    bool starts_full; /* has all records from the start */
    bool wrong;       /* wrong_record's value is wrong */
    uint64_t wrong_record;
    bool knows_everything; /* a key that nobody has has a value too */
    bool fails;            /* a get of fail_record */
    uint64_t fail_record;
    uint64_t fail_get, fail_put, fail_scan; /* 1-based call that fails, and those after it */
    uint64_t stop_at; /* call of any kind, 1-based, in which *stop is stopped */
    struct phase *stop;
    bool fail_open, fail_loaded;
    unsigned fail_thread_open;   /* 1-based thread that cannot be opened, and those after it */
    uint64_t call_ns;            /* how long a call takes by the fake clock */
    uint64_t stall_at, stall_ns; /* this call of any kind, 1-based, takes so long */
};

struct fake_entry {
    char verb; /* G, P, S */
    uint64_t record, keys;
};

struct fake_store {
    struct fake_plan plan;
    const struct records *records;
    uint64_t count, slots_count; /* records known: those there may come to be, too */
    uint32_t *slots;             /* by hash of key: record + 1 */
    atomic_uint *writes;         /* [count] */
    _Atomic uint64_t calls, gets, puts, scans, keys_read, keys_written;
    _Atomic uint64_t unknown;      /* keys that no record has */
    _Atomic uint64_t wrong_writes; /* values that are not the key's */
    _Atomic uint64_t out_of_order; /* puts of several keys that are not neighbours in order */
    atomic_uint opened, closed, threads_opened, threads_closed, loaded, loaded_true;
    unsigned threads; /* as announced to open() */
    char path[64];
    struct fake_entry log[FAKE_LOG_MAX];
    _Atomic size_t log_count;
};

static struct fake_store fake;
static _Atomic uint64_t fake_clock_ns, fake_clock_step_ns;

static uint64_t fake_monotonic_ns(const struct os *os)
{
    (void)os;
    uint64_t step = atomic_load(&fake_clock_step_ns);
    return atomic_fetch_add(&fake_clock_ns, step) + step;
}

/* The real one with a clock at start_ns that each reading moves by step_ns. */
static inline struct os fake_clock_os(uint64_t start_ns, uint64_t step_ns)
{
    struct os os = *os_real();
    os.monotonic_ns = fake_monotonic_ns;
    atomic_store(&fake_clock_ns, start_ns);
    atomic_store(&fake_clock_step_ns, step_ns);
    return os;
}

/* --- what it has --- */

static inline uint64_t fake_hash(struct tarn_bytes key)
{
    return hash_checksum(key.data, key.size, 0);
}

static inline void fake_learn(const struct records *records)
{
    unsigned char key[TARN_KEY_BYTES_MAX];
    uint64_t most = 10 * records_count(records), there = records_count_max(records);
    fake.records = records;
    fake.count = there < most ? there : most;
    for (fake.slots_count = 16; fake.slots_count < 2 * fake.count;)
        fake.slots_count *= 2;
    fake.slots = calloc(fake.slots_count, sizeof *fake.slots);
    fake.writes = calloc(fake.count, sizeof *fake.writes);
    assert_true(fake.slots && fake.writes);
    for (uint64_t i = 0; i < fake.count; i++) {
        uint64_t slot = fake_hash(records_key(records, i, key)) & (fake.slots_count - 1);
        while (fake.slots[slot])
            slot = (slot + 1) & (fake.slots_count - 1);
        fake.slots[slot] = (uint32_t)i + 1;
        atomic_store(&fake.writes[i], fake.plan.starts_full && i < records_count(records));
    }
}

static inline uint64_t fake_record(struct tarn_bytes key)
{
    unsigned char scratch[TARN_KEY_BYTES_MAX];
    uint64_t slot = fake_hash(key) & (fake.slots_count - 1);
    for (; fake.slots[slot]; slot = (slot + 1) & (fake.slots_count - 1)) {
        uint64_t record = fake.slots[slot] - 1;
        struct tarn_bytes known = records_key(fake.records, record, scratch);
        if (known.size == key.size && memcmp(known.data, key.data, key.size) == 0)
            return record;
    }
    return FAKE_NEVER;
}

static inline bool fake_has(uint64_t record)
{
    return record != FAKE_NEVER && atomic_load(&fake.writes[record]) > 0;
}

/* --- its functions --- */

struct fake_thread {
    unsigned char *bytes; /* of the values of the last call */
    size_t capacity;
};

static int fake_open(const struct os *os, const struct embedded_options *options, void **ret_store,
                     struct tarn_error *error)
{
    (void)os;
    if (fake.plan.fail_open)
        return error_set(error, TARN_IO, "the store does not open");
    snprintf(fake.path, sizeof fake.path, "%s", options->path);
    fake.threads = options->threads;
    fake_learn(options->records);
    atomic_fetch_add(&fake.opened, 1);
    *ret_store = &fake;
    return TARN_OK;
}

static void fake_close(void *store)
{
    assert_ptr_equal(store, &fake);
    atomic_fetch_add(&fake.closed, 1);
}

static int fake_loaded(void *store, bool loading, struct tarn_error *error)
{
    assert_ptr_equal(store, &fake);
    assert_int_equal(atomic_load(&fake.threads_opened), atomic_load(&fake.threads_closed));
    atomic_fetch_add(&fake.loaded, 1);
    atomic_fetch_add(&fake.loaded_true, loading);
    return fake.plan.fail_loaded ? error_set(error, TARN_NOSPACE, "no room to build") : TARN_OK;
}

static int fake_thread_open(void *store, void **ret_thread, struct tarn_error *error)
{
    assert_ptr_equal(store, &fake);
    if (fake.plan.fail_thread_open &&
        atomic_load(&fake.threads_opened) + 1 >= fake.plan.fail_thread_open)
        return error_set(error, TARN_BUSY, "no more threads");
    *ret_thread = calloc(1, sizeof(struct fake_thread));
    assert_non_null(*ret_thread);
    atomic_fetch_add(&fake.threads_opened, 1);
    return TARN_OK;
}

static void fake_thread_close(void *thread)
{
    struct fake_thread *t = thread;
    free(t->bytes);
    free(t);
    atomic_fetch_add(&fake.threads_closed, 1);
}

/* What every call does first. Returns the number of calls of its kind. */
static inline uint64_t fake_enter(char verb, struct tarn_bytes first, size_t keys,
                                  _Atomic uint64_t *of_kind)
{
    uint64_t call = atomic_fetch_add(&fake.calls, 1) + 1;
    size_t at = atomic_fetch_add(&fake.log_count, 1);
    if (at < FAKE_LOG_MAX)
        fake.log[at] = (struct fake_entry){verb, fake_record(first), keys};
    atomic_fetch_add(&fake_clock_ns,
                     call == fake.plan.stall_at ? fake.plan.stall_ns : fake.plan.call_ns);
    if (call == fake.plan.stop_at)
        phase_stop(fake.plan.stop);
    return atomic_fetch_add(of_kind, 1) + 1;
}

static int fake_get(void *thread, const struct tarn_bytes *keys, size_t count,
                    struct tarn_bytes *ret_values, struct tarn_error *error)
{
    struct fake_thread *t = thread;
    size_t each = records_value_bytes_max(fake.records) + 1;
    uint64_t call = fake_enter('G', keys[0], count, &fake.gets);
    if (fake.plan.fail_get && call >= fake.plan.fail_get)
        return error_set(error, TARN_IO, "get %ju fails", (uintmax_t)call);
    if (t->capacity < count * each) {
        free(t->bytes);
        t->bytes = malloc(t->capacity = count * each);
        assert_non_null(t->bytes);
    }
    atomic_fetch_add(&fake.keys_read, count);
    for (size_t i = 0; i < count; i++) {
        uint64_t record = fake_record(keys[i]);
        if (fake.plan.fails && record == fake.plan.fail_record)
            return error_set(error, TARN_IO, "record %ju fails", (uintmax_t)record);
        if (fake.plan.knows_everything && record == FAKE_NEVER)
            ret_values[i] = (struct tarn_bytes){"surprise", 8};
        else if (!fake_has(record))
            ret_values[i] = (struct tarn_bytes){0};
        else if (fake.plan.wrong && record == fake.plan.wrong_record)
            ret_values[i] = (struct tarn_bytes){"wrong", 5};
        else
            ret_values[i] = records_value(fake.records, record, t->bytes + i * each);
    }
    return TARN_OK;
}

static int fake_put(void *thread, const struct tarn_bytes *keys, const struct tarn_bytes *values,
                    size_t count, struct tarn_error *error)
{
    (void)thread;
    uint64_t call = fake_enter('P', keys[0], count, &fake.puts), before = FAKE_NEVER;
    if (fake.plan.fail_put && call >= fake.plan.fail_put)
        return error_set(error, TARN_NOSPACE, "put %ju fails", (uintmax_t)call);
    atomic_fetch_add(&fake.keys_written, count);
    for (size_t i = 0; i < count; i++) {
        uint64_t record = fake_record(keys[i]);
        if (record == FAKE_NEVER) {
            atomic_fetch_add(&fake.unknown, 1);
            continue;
        }
        if (i > 0 && record != before + 1)
            atomic_fetch_add(&fake.out_of_order, 1);
        if (!records_value_equal(fake.records, record, values[i]))
            atomic_fetch_add(&fake.wrong_writes, 1);
        atomic_fetch_add(&fake.writes[record], 1);
        before = record;
    }
    return TARN_OK;
}

static int fake_scan(void *thread, struct tarn_bytes key, size_t count, embedded_visit visit,
                     void *context, struct tarn_error *error)
{
    (void)thread;
    uint64_t call = fake_enter('S', key, count, &fake.scans);
    if (fake.plan.fail_scan && call >= fake.plan.fail_scan)
        return error_set(error, TARN_CORRUPT, "scan %ju fails", (uintmax_t)call);
    assert_true(count >= 1 && count <= SCAN_RECORDS_MAX);
    for (size_t i = 0; i < count; i++)
        visit(context, key, (struct tarn_bytes){"12345", 5});
    atomic_fetch_add(&fake.keys_read, count);
    return TARN_OK;
}

static const struct embedded_store fake_embedded = {
    .name = "fake",
    .open = fake_open,
    .close = fake_close,
    .loaded = fake_loaded,
    .thread_open = fake_thread_open,
    .thread_close = fake_thread_close,
    .get_many = fake_get,
    .put_many = fake_put,
    .scan = fake_scan,
};

static inline void fake_reset(const struct fake_plan *plan)
{
    free(fake.slots);
    free(fake.writes);
    memset(&fake, 0, sizeof fake);
    if (plan)
        fake.plan = *plan;
}

#endif
