/* Checkpoint files made of lists of records, which are put into the order that the format wants,
 * and what was read noted for comparison. Include lib/test.h first. */
#ifndef LIB_CHECKPOINT_FIXTURE_H
#define LIB_CHECKPOINT_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>

#include "core/random.h"
#include "lib/memory_os.h"
#include "lib/scratch.h"
#include "pack/checkpoint_layout.h"

/* An own copy of a record, with its hash. */
struct checkpoint_item {
    uint64_t hash;
    size_t added; /* the how-manieth of its list: the order of equal hashes */
    struct tarn_record record;
};

struct fixture {
    struct scratch scratch;
    char path[SCRATCH_PATH_BYTES];
    struct checkpoint_about about;
    struct checkpoint_item *items; /* the list; in the order of the file once that is written */
    size_t count, room;
    struct buffer file;     /* what was written */
    struct buffer expected; /* its records, as collect() notes them */
    struct checkpoint_totals totals;
};

/* Of the files of fixtures set up from now on: 0: version 2, else version 3. */
static uint32_t fixture_block_bytes;

static inline int setup(void **context)
{
    struct fixture *f = calloc(1, sizeof *f);
    uint64_t random = 1;
    scratch_open(&f->scratch);
    scratch_name(&f->scratch, "checkpoint-1", f->path);
    f->about = (struct checkpoint_about){.store_id = 77, .sequence = 1234567, .time_ms = -5};
    f->about.block_bytes = fixture_block_bytes;
    for (size_t i = 0; i < HASH_SECRET_BYTES; i++)
        f->about.secret[i] = (unsigned char)random_next(&random);
    *context = f;
    return 0;
}

static inline void list_clear(struct fixture *f)
{
    for (size_t i = 0; i < f->count; i++)
        free((void *)(uintptr_t)f->items[i].record.key.data);
    f->count = 0;
}

static inline int teardown(void **context)
{
    struct fixture *f = *context;
    list_clear(f);
    free(f->items);
    buffer_done(&f->file);
    buffer_done(&f->expected);
    scratch_close(&f->scratch);
    free(f);
    return 0;
}

/* --- records --- */

/* Notes a record in a buffer, so that equal buffers are equal records. */
static inline void note(struct buffer *out, const struct tarn_record *record)
{
    assert_non_null(record->key.data);
    assert_non_null(record->value.data);
    buffer_append(out, &record->key.size, sizeof record->key.size);
    buffer_append(out, &record->value.size, sizeof record->value.size);
    buffer_append(out, &record->expire_ms, sizeof record->expire_ms);
    buffer_append(out, record->key.data, record->key.size);
    buffer_append(out, record->value.data, record->value.size);
}

static inline int collect(void *context, const struct tarn_record *records, size_t count)
{
    assert_in_range(count, 1, CHECKPOINT_APPLY_RECORDS);
    for (size_t i = 0; i < count; i++)
        note(context, &records[i]);
    return TARN_OK;
}

/* Record i of a seed: its sizes up to these; bytes of all kinds. */
static inline struct tarn_record make_record(uint64_t seed, uint64_t i, size_t key_max,
                                             size_t value_max)
{
    static unsigned char bytes[1 << 21];
    uint64_t random = seed * 1000003 + i;
    struct tarn_record r = {
        .key = {bytes, random_next(&random) % (key_max + 1)},
        .value = {bytes + (1 << 20), random_next(&random) % (value_max + 1)},
        .expire_ms = i % 3 == 0 ? (int64_t)random_next(&random) | 1 : 0,
    };
    for (size_t k = 0; k < r.key.size; k++)
        bytes[k] = (unsigned char)random_next(&random);
    if (r.value.size > 0)
        memset(bytes + (1 << 20), (int)random_next(&random), r.value.size);
    return r;
}

static inline void list_add(struct fixture *f, struct tarn_record record)
{
    unsigned char *copy = malloc(record.key.size + record.value.size + 1);
    memcpy(copy, record.key.data, record.key.size);
    memcpy(copy + record.key.size, record.value.data, record.value.size);
    record.key.data = copy;
    record.value.data = copy + record.key.size;
    if (f->count == f->room) {
        f->room = 2 * f->room + 64;
        f->items = realloc(f->items, f->room * sizeof *f->items);
    }
    uint64_t hash = hash_key(f->about.secret, record.key);
    f->items[f->count] = (struct checkpoint_item){hash, f->count, record};
    f->count++;
}

/* Keys of one hash: with a secret of zeros the first 16 bytes of a key of 32 count as the product
 * of their halves: if one is zero, then nothing. */
static inline void list_add_colliding(struct fixture *f, uint64_t group, uint64_t i,
                                      size_t value_bytes)
{
    static unsigned char value[1u << 20];
    unsigned char key[32] = {0};
    store_u64le(key + 8, i);
    store_u64le(key + 16, group * 0x9e3779b97f4a7c15u);
    store_u64le(value, i);
    list_add(f, (struct tarn_record){{key, sizeof key}, {value, value_bytes}, (int64_t)i});
}

static inline int compare_items(const void *a, const void *b)
{
    const struct checkpoint_item *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->added < y->added ? -1 : x->added > y->added;
}

static inline void list_sort(struct fixture *f)
{
    if (f->count > 0)
        qsort(f->items, f->count, sizeof *f->items, compare_items);
}

/* --- files --- */

static inline struct checkpoint_writer *create(const struct fixture *f)
{
    struct checkpoint_writer *w = NULL;
    struct tarn_error error;
    if (checkpoint_create(os_real(), f->path, &f->about, &w, &error) != TARN_OK)
        fail_msg("%s", error.text);
    return w;
}

/* The offset behind the block at `at`, which is no larger than blocks are. */
static inline size_t next_block(const struct fixture *f, size_t at)
{
    const unsigned char *head = f->file.data + at;
    size_t size = BLOCK_HEAD_BYTES + load_u32le(head + BLOCK_BODY_BYTES);
    size_t most = f->about.block_bytes ? f->about.block_bytes : CHECKPOINT_BLOCK_BYTES;
    assert_true(size <= most || load_u32le(head + BLOCK_RECORDS) == 1);
    return at + size;
}

static inline unsigned char *footer_of(const struct fixture *f)
{
    return f->file.data + f->file.size - FOOTER_BYTES;
}

static inline void finish(struct fixture *f, struct checkpoint_writer *w)
{
    buffer_clear(&f->file);
    assert_int_equal(checkpoint_commit(w, &f->totals, NULL), TARN_OK);
    assert_true(file_read(f->path, &f->file));
    assert_int_equal(f->totals.bytes, f->file.size);
    assert_true(f->totals.checksum != 0);
    size_t at = HEADER_BYTES;
    for (uint64_t i = 0; i < f->totals.blocks; i++)
        at = next_block(f, at);
    assert_int_equal(at, load_u64le(footer_of(f) + FOOTER_DIRECTORY));
    uint64_t pages = load_u64le(footer_of(f) + FOOTER_PAGES);
    assert_int_equal(at + pages * (PAGE_BYTES + ENTRY_BYTES) + FOOTER_BYTES, f->file.size);
}

/* A file of the list. */
static inline void write_list(struct fixture *f)
{
    struct checkpoint_writer *w = create(f);
    uint64_t expiring = 0, payload = 0;
    list_sort(f);
    buffer_clear(&f->expected);
    for (size_t i = 0; i < f->count; i++) {
        const struct checkpoint_item *item = &f->items[i];
        assert_int_equal(checkpoint_add(w, &item->record, item->hash, NULL), TARN_OK);
        note(&f->expected, &item->record);
        expiring += item->record.expire_ms != 0;
        payload += item->record.key.size + item->record.value.size;
    }
    finish(f, w);
    assert_int_equal(f->totals.records, f->count);
    assert_int_equal(f->totals.expiring, expiring);
    assert_int_equal(f->totals.payload_bytes, payload);
}

/* A file of so many records with keys and values up to these sizes. */
static inline void write_file(struct fixture *f, uint64_t seed, size_t count, size_t key_max,
                              size_t value_max)
{
    list_clear(f);
    for (size_t i = 0; i < count; i++)
        list_add(f, make_record(seed, i, key_max, value_max));
    write_list(f);
}

/* --- forged: right checksums over wrong contents --- */

static inline void forge_block(unsigned char *block, uint64_t salt)
{
    store_u64le(block + BLOCK_BODY_CHECKSUM,
                hash_checksum(block + BLOCK_HEAD_BYTES, load_u32le(block + BLOCK_BODY_BYTES),
                              salt + load_u64le(block + BLOCK_NUMBER)));
    store_u64le(block + BLOCK_CHECKSUM, hash_checksum(block, BLOCK_CHECKSUM, salt));
}

/* The footer of a file of one block, whose directory is sound but for its checksums. */
static inline void forge_footer(unsigned char *file, size_t size)
{
    unsigned char *footer = file + size - FOOTER_BYTES;
    unsigned char *top = footer - ENTRY_BYTES, *page = top - PAGE_BYTES;
    uint64_t salt = load_u64le(file + HEADER_SALT);
    memcpy(footer, file, HEADER_BYTES);
    memcpy(top, page, ENTRY_BYTES);
    uint64_t sum = hash_checksum(page, PAGE_CHECKSUM, checkpoint_page_seed(salt, 0));
    store_u64le(page + PAGE_CHECKSUM, sum);
    store_u64le(footer + FOOTER_PAGES_SUM, checkpoint_sum(0, sum));
    store_u64le(footer + FOOTER_TOP_CHECKSUM, hash_checksum(top, ENTRY_BYTES, salt));
    sum = load_u64le(file + HEADER_BYTES + BLOCK_CHECKSUM);
    store_u64le(footer + FOOTER_SUM, checkpoint_sum(0, sum));
    store_u64le(footer + FOOTER_CHECKSUM, checkpoint_footer_checksum(footer));
}

#endif
