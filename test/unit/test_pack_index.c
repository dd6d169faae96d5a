/* Goal: an index is read back as it was written, or refused with the reason; nothing in a file,
 * not even under right checksums, leads a query out of bounds; writing is all or nothing.
 * Method: every byte of a small index flipped, every length cut; header and body forged at random
 * with checksums computed anew, then queried under AddressSanitizer over memory that ends where
 * the index does; every call of the os and every allocation failed once.
 *
 * Bugs planted once to see it fail: each of the checksums not compared; the file's size not
 * compared; ribbon_check() not called; a location not compared with the data's size; the loop
 * over sync blocks not stopped at block 0; the descriptor not closed after a bad header. */
#include "lib/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/block_check.h"
#include "lib/dataset.h"
#include "lib/fault_malloc.h"
#include "lib/fault_os.h"
#include "lib/forge.h"
#include "lib/memory_os.h"
#include "lib/memory_pack.h"
#include "lib/scratch.h"
#include "pack/external.h"

enum { MTIME = 1234567890 };

/* A data set, its index, and the index's file in memory. */
struct fixture {
    struct dataset dataset;
    struct memory_pack memory;
    struct buffer file;
    struct scratch scratch;
    char path[SCRATCH_PATH_BYTES];
};

/* Records with keys all different. */
static void add_numbered(struct dataset *d, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char key[32];
        snprintf(key, sizeof key, "key-%zu", i);
        dataset_add_text(d, key, key + i % 4);
    }
}

/* repeat: as for dataset_add_random(); 0: no key repeats. granule_log2 0: an index of bytes. */
static void fixture_fill_blocks(struct fixture *f, const struct tarn_format *format, size_t count,
                                unsigned repeat, unsigned granule_log2, unsigned fingerprint_bits)
{
    struct tarn_error error;
    dataset_init(&f->dataset, format);
    if (repeat > 0)
        dataset_add_random(&f->dataset, count, count, 8, 30, repeat);
    else
        add_numbered(&f->dataset, count);
    memory_pack_init_blocks(&f->memory, &f->dataset,
                            (struct builder_options){.threads = 1,
                                                     .granule_log2 = granule_log2,
                                                     .fingerprint_bits = fingerprint_bits});
    f->memory.pack.index->data_mtime_ns = MTIME;
    if (index_write(f->memory.pack.index, f->path, &error) != TARN_OK)
        fail_msg("%s", error.text);
    assert_true(file_read(f->path, &f->file));
}

static void fixture_fill(struct fixture *f, const struct tarn_format *format, size_t count,
                         unsigned repeat)
{
    fixture_fill_blocks(f, format, count, repeat, 0, 0);
}

static void fixture_empty(struct fixture *f)
{
    memory_pack_done(&f->memory);
    dataset_done(&f->dataset);
    buffer_done(&f->file);
}

static int setup(void **context)
{
    struct fixture *f = calloc(1, sizeof *f);
    scratch_open(&f->scratch);
    scratch_name(&f->scratch, "data.tarnidx", f->path);
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

static int read_bytes(struct memory_os *m, struct tarn_bytes file, struct index **ret_index,
                      struct tarn_error *error)
{
    memory_os_init(m);
    memory_os_put(m, "i", file, 0);
    return index_read_any(&m->os, "i", ret_index, error);
}

/* --- whole --- */

static void assert_same_index(const struct index *a, const struct index *b)
{
    assert_memory_equal(&a->format, &b->format, sizeof a->format);
    assert_int_equal(a->duplicates_policy, b->duplicates_policy);
    assert_int_equal(a->data_bytes, b->data_bytes);
    assert_int_equal(a->data_mtime_ns, b->data_mtime_ns);
    assert_true(a->data_checksum == b->data_checksum);
    assert_int_equal(a->records, b->records);
    assert_int_equal(a->duplicates, b->duplicates);
    assert_int_equal(a->key_bytes_total, b->key_bytes_total);
    assert_int_equal(a->value_bytes_total, b->value_bytes_total);
    assert_int_equal(a->record_bytes_min, b->record_bytes_min);
    assert_int_equal(a->exception_count, b->exception_count);
    assert_memory_equal(a->secret, b->secret, HASH_SECRET_BYTES);
    assert_true(a->hash_mask == b->hash_mask);
    assert_int_equal(a->ribbon.bits, b->ribbon.bits);
    assert_int_equal(a->ribbon.shard_count, b->ribbon.shard_count);
    assert_int_equal(a->ribbon.groups_bytes, b->ribbon.groups_bytes);
    assert_int_equal(a->layout, b->layout);
    assert_int_equal(a->granule_log2, b->granule_log2);
    assert_int_equal(a->fingerprint_bits, b->fingerprint_bits);
    assert_int_equal(a->block_count, b->block_count);
    assert_int_equal(a->body_bytes, b->body_bytes);
    assert_memory_equal(a->body, b->body, a->body_bytes);
}

static void round_trip(void **context)
{
    struct fixture *f = *context;
    for (size_t i = 0; i < dataset_formats_count; i++) {
        for (size_t count = 0; count <= 20000; count = count * 11 + 1) {
            struct index *index;
            struct tarn_error error;
            fixture_fill(f, &dataset_formats[i], count, 7);
            const struct index *own = f->memory.pack.index;
            assert_int_equal(f->file.size, index_bytes(own));
            assert_int_equal(scratch_count(&f->scratch, ""), 1); /* no temporary file */
            struct os_file_info data = {.size = f->dataset.data.size, .mtime_ns = MTIME};
            assert_int_equal(index_read(os_real(), f->path, &data, &f->dataset.format,
                                        TARN_DUPLICATES_LAST, &index, &error),
                             TARN_OK);
            assert_same_index(own, index);
            struct pack pack = f->memory.pack;
            pack.index = index;
            check_pack(&pack, &f->dataset, 100);
            index_free(index);
            fixture_empty(f);
        }
    }
    index_free(NULL);
}

/* The same with blocks, which the pack in memory does not ask. */
static void round_trip_blocks(void **context)
{
    struct fixture *f = *context;
    static const unsigned granules[] = {9, 12, 15, 16, 18, 24};
    for (size_t i = 0; i < dataset_formats_count; i++) {
        for (size_t g = 0; g < sizeof granules / sizeof *granules; g++) {
            struct index *index;
            struct tarn_error error;
            fixture_fill_blocks(f, &dataset_formats[i], i + g ? 3000 : 0, 7, granules[g],
                                (unsigned)(i + g) % 9);
            struct os_file_info data = {.size = f->dataset.data.size, .mtime_ns = MTIME};
            assert_int_equal(index_read(os_real(), f->path, &data, &f->dataset.format,
                                        TARN_DUPLICATES_LAST, &index, &error),
                             TARN_OK);
            assert_same_index(f->memory.pack.index, index);
            assert_null(index->sync);
            check_blocks(index, NULL, &f->dataset);
            index_free(index);
            fixture_empty(f);
        }
    }
}

/* --- damaged --- */

static void assert_refused(const struct fixture *f, struct tarn_bytes file, const char *what,
                           size_t where)
{
    struct memory_os m;
    struct index *index = NULL;
    struct tarn_error error = {0};
    int status = read_bytes(&m, file, &index, &error);
    if (status != TARN_CORRUPT && status != TARN_STALE && status != TARN_IO)
        fail_msg("%s at %zu of %zu: status %d", what, where, f->file.size, status);
    assert_true(strlen(error.text) > 0 && error.status == status);
    assert_int_equal(m.open, 0);
    assert_int_equal(m.maps, 0);
    assert_null(index);
}

static void every_byte_flipped(void **context)
{
    struct fixture *f = *context;
    static const unsigned char patterns[] = {0x01, 0x80, 0xff, 0x10};
    for (size_t i = 0; i < dataset_formats_count; i += 2) {
        fixture_fill_blocks(f, &dataset_formats[i], 30, 4, i == 2 ? 9 : 0, i);
        for (size_t at = 0; at < f->file.size; at++) {
            for (size_t p = 0; p < sizeof patterns; p++) {
                f->file.data[at] ^= patterns[p];
                assert_refused(f, buffer_view(&f->file), "flip", at);
                f->file.data[at] ^= patterns[p];
            }
        }
        fixture_empty(f);
    }
}

static void every_length(void **context)
{
    struct fixture *f = *context;
    fixture_fill(f, &dataset_formats[2], 50, 0);
    size_t size = f->file.size;
    unsigned char *copy = malloc(size + 4096);
    memcpy(copy, f->file.data, size);
    for (size_t length = 0; length < size; length++)
        assert_refused(f, (struct tarn_bytes){copy, length}, "cut", length);
    for (int fill = 0; fill < 256; fill += 255) {
        memset(copy + size, fill, 4096);
        for (size_t more = 1; more <= 4096; more = more * 3 + 1)
            assert_refused(f, (struct tarn_bytes){copy, size + more}, "appended", more);
    }
    free(copy);
    fixture_empty(f);
}

/* The file got shorter between looking at its size and reading it. */
static void shrinks_meanwhile(void **context)
{
    struct fixture *f = *context;
    struct fault_os faults;
    fixture_fill(f, &dataset_formats[2], 50, 0);
    fault_os_init(&faults, NULL);
    for (uint64_t nth = 1; nth <= 2; nth++) {
        struct index *index;
        struct tarn_error error;
        fault_os_reset(&faults);
        fault_os_short(&faults, FAULT_READ_AT, nth, 0);
        assert_true(index_read_any(&faults.os, f->path, &index, &error) < 0);
        assert_true(fault_os_fired(&faults) && fault_os_clean(&faults));
        assert_non_null(strstr(error.text, f->path));
        fault_os_reset(&faults);
        fault_os_short(&faults, FAULT_READ_AT, nth, 3); /* merely a short count */
        assert_int_equal(index_read_any(&faults.os, f->path, &index, &error), TARN_OK);
        index_free(index);
    }
    fault_os_done(&faults);
    fixture_empty(f);
}

/* --- stale --- */

static void assert_stale(const struct fixture *f, struct os_file_info data,
                         const struct tarn_format *format, enum tarn_duplicates policy,
                         const char *reason)
{
    struct index *index = NULL;
    struct tarn_error error = {0};
    int status = index_read(os_real(), f->path, &data, format, policy, &index, &error);
    if (reason == NULL) {
        assert_int_equal(status, TARN_OK);
        index_free(index);
        return;
    }
    assert_int_equal(status, TARN_STALE);
    assert_non_null(strstr(error.text, reason));
    assert_non_null(strstr(error.text, f->path));
}

static void stale(void **context)
{
    struct fixture *f = *context;
    const struct tarn_format any = {0}, *format = &dataset_formats[2];
    for (unsigned repeat = 0; repeat <= 2; repeat += 2) {
        fixture_fill(f, format, 100, repeat);
        struct os_file_info data = {.size = f->dataset.data.size, .mtime_ns = MTIME};
        enum tarn_duplicates last = TARN_DUPLICATES_LAST;
        assert_stale(f, data, format, last, NULL);
        assert_stale(f, data, &any, last, NULL);
        for (size_t i = 0; i < dataset_formats_count; i++)
            assert_stale(f, data, &dataset_formats[i], last, i == 2 ? NULL : "format");
        data.size++;
        assert_stale(f, data, format, last, "size");
        data.size--, data.mtime_ns--;
        assert_stale(f, data, format, last, "modification time");
        data.mtime_ns++;
        bool repeats = f->dataset.duplicates > 0;
        assert_stale(f, data, format, TARN_DUPLICATES_FIRST, repeats ? "duplicate" : NULL);
        assert_stale(f, data, format, TARN_DUPLICATES_ERROR, repeats ? "duplicate" : NULL);
        assert_true(repeats == (repeat != 0));
        fixture_empty(f);
    }
    /* another version of the index's own format */
    fixture_fill(f, format, 10, 0);
    store_u32le(f->file.data + FORGE_VERSION, 1);
    forge_checksums(f->file.data, f->file.size);
    struct memory_os m;
    struct index *index;
    struct tarn_error error;
    assert_int_equal(read_bytes(&m, buffer_view(&f->file), &index, &error), TARN_STALE);
    assert_non_null(strstr(error.text, "version"));
    fixture_empty(f);
}

static void missing_and_unusable(void **context)
{
    struct fixture *f = *context;
    struct index *index;
    struct tarn_error error;
    assert_int_equal(index_read_any(os_real(), f->path, &index, &error), TARN_MISSING);
    assert_int_equal(index_read_any(os_real(), f->scratch.path, &index, &error), TARN_INVALID);
    assert_non_null(strstr(error.text, f->scratch.path));
}

/* --- forged --- */

static void visit_nothing(void *context, struct tarn_bytes key, struct tarn_bytes value)
{
    (void)context, (void)key, (void)value;
}

/* Ask all kinds of questions; the answers may be wrong, the memory touched may not. */
static void interrogate(const struct fixture *f, struct index *index, uint64_t seed)
{
    struct pack pack = f->memory.pack;
    pack.index = index;
    struct tarn_bytes keys[PACK_BATCH], values[PACK_BATCH], key;
    uint64_t words[PACK_BATCH], random = seed;
    for (size_t i = 0; i < PACK_BATCH; i++) {
        words[i] = random_next(&random);
        keys[i] = i % 2 && f->dataset.count ? dataset_key(&f->dataset, words[i] % f->dataset.count)
                                            : (struct tarn_bytes){&words[i], words[i] % 9};
    }
    size_t found = pack_get_many(&pack, keys, PACK_BATCH, values);
    assert_true(found <= PACK_BATCH);
    for (uint64_t at = 0; at < pack.data_bytes + 2; at += 1 + random_next(&random) % 64)
        (void)pack_record_starts(&pack, at);
    for (int i = 0; i < 8; i++) {
        int status = pack_random_key(&pack, random_next(&random), &key);
        assert_true(status == TARN_OK || status == TARN_NOTFOUND);
    }
    uint64_t cursor = random_next(&random) % (pack.data_bytes + 1);
    for (int i = 0; i < 4; i++)
        pack_scan(&pack, &cursor, 7, visit_nothing, NULL);
}

static void interrogate_blocks(const struct index *index, uint64_t seed)
{
    uint64_t offset, size;
    for (int i = 0; i < 64; i++)
        (void)ribbon_query(&index->ribbon, random_next(&seed));
    for (uint64_t b = 0; b < index->block_count && b < 1000; b++)
        if (index_block_range(index, b, &offset, &size))
            assert_true(offset < index->data_bytes && size <= index->data_bytes - offset);
}

/* Read the forged file; if it is believed, interrogate it. Returns whether it was. */
static bool try_forged(const struct fixture *f, unsigned char *file, size_t size, uint64_t seed)
{
    struct memory_os m;
    struct index *index;
    struct tarn_error error;
    forge_checksums(file, size);
    int status = read_bytes(&m, (struct tarn_bytes){file, size}, &index, &error);
    if (status != TARN_OK) {
        assert_true(status == TARN_CORRUPT || status == TARN_STALE || status == TARN_NOMEM);
        assert_int_equal(m.maps, 0);
        return false;
    }
    if (index->data_bytes == f->dataset.data.size && index->granule_log2 == 0)
        interrogate(f, index, seed);
    else if (index->layout == INDEX_BLOCKS)
        interrogate_blocks(index, seed);
    index_free(index);
    assert_int_equal(m.maps, 0);
    return true;
}

/* Every number of the header at its extremes. */
static void forged_header(void **context)
{
    struct fixture *f = *context;
    for (size_t i = 0; i < 4; i++) {
        fixture_fill_blocks(f, &dataset_formats[i], 60, 5, i == 3 ? 9 : 0, 0);
        unsigned char *copy = malloc(f->file.size);
        for (size_t at = FORGE_DATA_BYTES; at < FORGE_RESERVED; at += 8) {
            if (at == FORGE_SECRET)
                at = FORGE_GRANULE;
            uint64_t old = load_u64le(f->file.data + at);
            for (int shape = 0; shape < 3 * 64 + 4; shape++) {
                uint64_t bit = 1ull << (shape & 63);
                uint64_t value = shape < 64    ? old ^ bit
                                 : shape < 128 ? bit
                                 : shape < 192 ? 0 - bit
                                               : old + (uint64_t)shape - 194;
                memcpy(copy, f->file.data, f->file.size);
                store_u64le(copy + at, value);
                try_forged(f, copy, f->file.size, value);
            }
        }
        free(copy);
        fixture_empty(f);
    }
}

/* Anything in the body, under counts that add up. */
static void forged_body(void **context)
{
    struct fixture *f = *context;
    uint64_t random = 7;
    size_t believed = 0;
    for (size_t i = 0; i < dataset_formats_count; i++) {
        fixture_fill_blocks(f, &dataset_formats[i], 200, 5, i == 1 || i == 4 ? 9 : 0, 0);
        size_t size_max = f->file.size + 512;
        for (int round = 0; round < 600; round++) {
            /* exactly as large as the file, so that reading on is seen */
            size_t size = round % 4 ? f->file.size
                                    : FORGE_HEADER_BYTES +
                                          random_next(&random) % (size_max - FORGE_HEADER_BYTES);
            unsigned char *copy = calloc(1, size);
            memcpy(copy, f->file.data, size < f->file.size ? size : f->file.size);
            if (round % 3 == 0)
                store_u64le(copy + FORGE_EXCEPTIONS, random_next(&random) % 6);
            if (round % 7 == 0)
                copy[FORGE_BITS] = (unsigned char)(random_next(&random) % 50);
            if (round % 11 == 0)
                store_u64le(copy + FORGE_SHARDS, 1 + random_next(&random) % 4);
            size_t changes = random_next(&random) % 40;
            for (size_t c = 0; c < changes && size > FORGE_HEADER_BYTES; c++) {
                size_t at = FORGE_HEADER_BYTES + random_next(&random) % (size - FORGE_HEADER_BYTES);
                copy[at] = (unsigned char)(random_next(&random) % 3 ? random_next(&random) : 255);
            }
            forge_counts(copy, size);
            forge_data(copy, size, buffer_view(&f->dataset.data), MTIME);
            believed += try_forged(f, copy, size, random);
            free(copy);
        }
        fixture_empty(f);
    }
    assert_true(believed > 1000); /* else this tests nothing */
}

/* A sync table that knows no record, or only impossible ones. */
static void forged_sync(void **context)
{
    struct fixture *f = *context;
    for (size_t i = 2; i < dataset_formats_count; i++) {
        fixture_fill(f, &dataset_formats[i], 300, 0);
        struct forge_layout l = forge_layout(f->file.data, f->file.size);
        for (unsigned value = 0; value < 256; value += value % 250 == 4 ? 50 : 1) {
            memset(f->file.data + l.sync, (int)value, l.starts - l.sync);
            assert_true(try_forged(f, f->file.data, f->file.size, value));
        }
        fixture_empty(f);
    }
}

/* Exceptions at any location, under any hash. */
static void forged_exceptions(void **context)
{
    struct fixture *f = *context;
    dataset_init(&f->dataset, &dataset_formats[2]);
    add_numbered(&f->dataset, 60);
    memory_pack_init(&f->memory, &f->dataset, TARN_DUPLICATES_LAST, 1, 3ull << 62);
    f->memory.pack.index->hash_mask = UINT64_MAX; /* as a file says */
    struct tarn_error error;
    assert_int_equal(index_write(f->memory.pack.index, f->path, &error), TARN_OK);
    assert_true(file_read(f->path, &f->file));
    struct forge_layout l = forge_layout(f->file.data, f->file.size);
    uint64_t count = load_u64le(f->file.data + FORGE_EXCEPTIONS), random = 1;
    assert_true(count >= 56);
    for (int round = 0; round < 300; round++) {
        for (uint64_t e = 0; e < count; e++) {
            uint64_t key = random_next(&random) % f->dataset.count;
            uint64_t hash = hash_key(f->memory.pack.index->secret, dataset_key(&f->dataset, key));
            uint64_t location = random_next(&random) >> (random_next(&random) % 64);
            store_u64le(f->file.data + l.exceptions + 16 * e, round % 2 ? hash : e << 58);
            store_u64le(f->file.data + l.exceptions + 16 * e + 8, location);
        }
        assert_true(try_forged(f, f->file.data, f->file.size, random));
    }
    fixture_empty(f);
}

/* --- pages --- */

/* The file of an index with pages, which only an external build makes. */
static void fill_pages(struct fixture *f, size_t count)
{
    char data_path[SCRATCH_PATH_BYTES];
    struct tarn_error error;
    struct tarn_index_report report;
    struct external_settings settings = {
        .memory_bytes = 64u << 20, .granule_log2 = 9, .layout = INDEX_PAGES};
    struct tarn_options options = {.path = data_path, .format = dataset_formats[2], .threads = 1};
    scratch_name(&f->scratch, "data", data_path);
    dataset_init(&f->dataset, &dataset_formats[2]);
    add_numbered(&f->dataset, count);
    file_write(data_path, buffer_view(&f->dataset.data));
    if (external_build(os_real(), &options, &settings, &report, &error) != TARN_OK)
        fail_msg("%s", error.text);
    assert_int_equal(report.pages, (count + 452) / 453);
    assert_true(file_read(f->path, &f->file));
}

/* Whatever is wrong with header or body is seen; pages are judged when they are read. */
static void pages_flipped_and_cut(void **context)
{
    struct fixture *f = *context;
    struct memory_os m;
    struct index *index;
    struct tarn_error error;
    fill_pages(f, 1000);
    assert_int_equal(read_bytes(&m, buffer_view(&f->file), &index, &error), TARN_OK);
    uint64_t body = index_body_at(index);
    assert_true(index_memory_bytes(index) < f->file.size - 2 * INDEX_PAGE_BYTES);
    index_free(index);
    for (size_t at = 0; at < f->file.size; at = at == INDEX_HEADER_BYTES - 1 ? body : at + 1) {
        f->file.data[at] ^= 0x11;
        assert_refused(f, buffer_view(&f->file), "flip", at);
        f->file.data[at] ^= 0x11;
    }
    for (size_t size = 0; size < f->file.size; size += 1 + size / 64)
        assert_refused(f, (struct tarn_bytes){f->file.data, size}, "cut", size);
    dataset_done(&f->dataset);
    buffer_done(&f->file);
}

static void pages_forged(void **context)
{
    struct fixture *f = *context;
    fill_pages(f, 1000);
    unsigned char *copy = malloc(f->file.size);
    for (size_t at = FORGE_EXCEPTIONS; at < FORGE_RESERVED; at += 8) {
        if (at == FORGE_SECRET)
            at = FORGE_GRANULE;
        for (int bit = 0; bit < 64; bit++) {
            memcpy(copy, f->file.data, f->file.size);
            store_u64le(copy + at, load_u64le(copy + at) ^ 1ull << bit);
            if (load_u64le(copy + FORGE_PAGES) > 1000)
                continue; /* the checksum of what is not there */
            try_forged(f, copy, f->file.size, (uint64_t)bit);
        }
    }
    struct forge_layout l = forge_layout(f->file.data, f->file.size);
    memcpy(copy, f->file.data, f->file.size);
    store_u64le(copy + l.top, UINT64_MAX); /* not in order */
    assert_false(try_forged(f, copy, f->file.size, 0));
    memcpy(copy, f->file.data, f->file.size);
    store_u16le(copy + l.starts, 3); /* the first record is not at byte 0 */
    assert_false(try_forged(f, copy, f->file.size, 0));
    store_u16le(copy + l.starts, 0);
    store_u16le(copy + l.starts + 2, 512); /* behind its granule */
    assert_false(try_forged(f, copy, f->file.size, 0));
    free(copy);
    dataset_done(&f->dataset);
    buffer_done(&f->file);
}

/* --- failures --- */

static void failing_writes(void **context)
{
    struct fixture *f = *context;
    struct fault_os faults;
    fixture_fill(f, &dataset_formats[2], 500, 0);
    struct index *index = f->memory.pack.index;
    fault_os_init(&faults, NULL);
    index->os = &faults.os;
    for (int entry = 0; entry < FAULT_ENTRY_COUNT; entry++) {
        uint64_t nth = 1;
        for (bool fired = true; fired; nth++) {
            struct tarn_error error = {0};
            struct buffer after = {0};
            fault_os_reset(&faults);
            fault_os_fail(&faults, entry, nth, ENOSPC, false);
            int status = index_write(index, f->path, &error);
            fired = entry != FAULT_UNMAP && entry != FAULT_MONOTONIC_NS && fault_os_fired(&faults);
            if (status != TARN_OK) {
                assert_true(fired && status == TARN_NOSPACE);
                assert_non_null(strstr(error.text, f->path));
            }
            /* whole under its name, whatever failed; nothing beside it, nothing open */
            assert_true(file_read(f->path, &after));
            assert_int_equal(after.size, f->file.size);
            assert_memory_equal(after.data, f->file.data, after.size);
            assert_int_equal(scratch_count(&f->scratch, ""), 1);
            assert_true(fault_os_clean(&faults));
            buffer_done(&after);
        }
        if (entry == FAULT_WRITE_AT)
            assert_true(nth > 2);
    }
    index->os = os_real();
    fault_os_done(&faults);
    fixture_empty(f);
}

static void failing_reads(void **context)
{
    struct fixture *f = *context;
    struct fault_os faults;
    fixture_fill(f, &dataset_formats[2], 500, 0);
    fault_os_init(&faults, NULL);
    for (int entry = 0; entry < FAULT_ENTRY_COUNT; entry++) {
        uint64_t nth = 1;
        for (bool fired = true; fired; nth++) {
            struct index *index = NULL;
            struct tarn_error error = {0};
            fault_os_reset(&faults);
            fault_os_fail(&faults, entry, nth, EIO, false);
            int status = index_read_any(&faults.os, f->path, &index, &error);
            fired = fault_os_fired(&faults) && entry != FAULT_UNMAP;
            if (status != TARN_OK) {
                assert_true(fired && strstr(error.text, f->path) != NULL);
                assert_null(index);
            } else {
                assert_true(!fired || entry == FAULT_CLOSE); /* reading lost nothing */
                index_free(index);
            }
            assert_true(fault_os_clean(&faults));
        }
    }
    fault_os_done(&faults);
    fixture_empty(f);
}

static void failing_allocations(void **context)
{
    struct fixture *f = *context;
    fixture_fill(f, &dataset_formats[2], 500, 0);
    uint64_t nth = 1;
    for (bool fired = true; fired; nth++) {
        struct index *index;
        struct tarn_error error = {0};
        fault_malloc_arm(nth, false);
        int status = index_read_any(os_real(), f->path, &index, &error);
        fired = fault_malloc_disarm() > 0;
        assert_int_equal(status, fired ? TARN_NOMEM : TARN_OK);
        if (status == TARN_OK)
            index_free(index);
        else
            assert_non_null(strstr(error.text, f->path));
    }
    nth = 1;
    for (bool fired = true; fired; nth++) {
        struct tarn_error error = {0};
        fault_malloc_arm(nth, false);
        int status = index_write(f->memory.pack.index, f->path, &error);
        fired = fault_malloc_disarm() > 0;
        assert_int_equal(status, fired ? TARN_NOMEM : TARN_OK);
        assert_true(!fired || strstr(error.text, f->path) != NULL);
        assert_int_equal(scratch_count(&f->scratch, ""), 1);
    }
    fixture_empty(f);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(round_trip),
        TEST(round_trip_blocks),
        TEST(every_byte_flipped),
        TEST(every_length),
        TEST(stale),
        TEST(missing_and_unusable),
        TEST(shrinks_meanwhile),
        TEST(forged_header),
        TEST(forged_body),
        TEST(forged_sync),
        TEST(failing_writes),
        TEST(forged_exceptions),
        TEST(failing_reads),
        TEST(failing_allocations),
        TEST(pages_flipped_and_cut),
        TEST(pages_forged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
