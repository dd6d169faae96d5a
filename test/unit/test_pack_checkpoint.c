/* Goal: a `tarn` file is read back as it was written, or refused; no record of a damaged one is
 * believed; to salvage, every sound block is given out and no other; a large value is neither
 * copied by the writer nor does it need more memory than itself; writing is all or nothing.
 * Method: records whose sizes lie around a block's; every bit flipped, every length, blocks
 * swapped, doubled, left out, and of another file; checksums forged over impossible contents; every
 * call of the os and every allocation failed once.
 *
 * Bugs planted once to see it fail: the body's or the head's checksum not compared; the block's
 * number not compared; the number left out of the body's seed; the footer's sum or counts not
 * compared; the expected checksum not compared; a head's size believed before its checksum; the
 * last block not written; `value` not bounded by the body; the descriptor not closed. */
#include "lib/test.h"

#include <errno.h>

#include "lib/checkpoint_fixture.h"
#include "lib/fault_malloc.h"
#include "lib/fault_os.h"

/* Read bytes as a file; the records go to `out`. Nothing is left open. */
static int read_bytes(struct tarn_bytes file, uint64_t expected_checksum, struct buffer *out,
                      uint64_t *damaged, struct checkpoint_about *about,
                      struct checkpoint_totals *totals, struct tarn_error *error)
{
    struct memory_os m;
    memory_os_init(&m);
    memory_os_put(&m, "c", file, 0);
    buffer_clear(out);
    int status = checkpoint_read(&m.os, "c", expected_checksum, collect, out, NULL, NULL, about,
                                 totals, damaged, error);
    assert_int_equal(m.open, 0);
    return status;
}

/* The file reads as what was written. */
static void assert_same(const struct fixture *f, struct tarn_bytes file, uint64_t checksum)
{
    struct checkpoint_about about;
    struct checkpoint_totals totals;
    struct tarn_error error;
    struct buffer got = {0};
    if (read_bytes(file, checksum, &got, NULL, &about, &totals, &error) != TARN_OK)
        fail_msg("%s", error.text);
    assert_true(bytes_equal(buffer_view(&got), buffer_view(&f->expected)));
    assert_memory_equal(&totals, &f->totals, sizeof totals);
    assert_memory_equal(&about, &f->about, sizeof about);
    buffer_done(&got);
}

/* The file is refused, and what was given out before are the first of the records. */
static void assert_refused(const struct fixture *f, struct tarn_bytes file, uint64_t checksum,
                           const char *what, size_t where)
{
    static struct buffer got;
    struct checkpoint_about about;
    struct checkpoint_totals totals;
    struct tarn_error error = {0};
    int status = read_bytes(file, checksum, &got, NULL, &about, &totals, &error);
    if (status != TARN_CORRUPT)
        fail_msg("%s at %zu of %zu: status %d", what, where, f->file.size, status);
    if (got.size > f->expected.size ||
        (got.size > 0 && memcmp(got.data, f->expected.data, got.size) != 0))
        fail_msg("%s at %zu of %zu: a wrong record", what, where, f->file.size);
    assert_int_equal(error.status, status);
    assert_true(error.offset <= f->file.size + 4096);
    assert_non_null(strstr(error.text, "c: "));
}

/* --- whole --- */

static void round_trip(void **context)
{
    struct fixture *f = *context;
    static const struct {
        size_t count, key_max, value_max;
    } cases[] = {
        {0, 0, 0},       {1, 0, 0},       {1, 9, 9},        {64, 9, 9},
        {65, 9, 0},      {20000, 20, 64}, {200, 100, 9000}, {50, TARN_KEY_BYTES_MAX, 300000},
        {9, 9, 1u << 20}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_file(f, i, cases[i].count, cases[i].key_max, cases[i].value_max);
        assert_int_equal(scratch_count(&f->scratch, ""), 1); /* no temporary file */
        assert_same(f, buffer_view(&f->file), 0);
        assert_same(f, buffer_view(&f->file), f->totals.checksum);
    }
}

/* A value of each size around that which fills a block, after nothing and after something, with
 * the longest key too. */
static void sizes_around_a_block(void **context)
{
    struct fixture *f = *context;
    static unsigned char bytes[CHECKPOINT_BLOCK_BYTES + TARN_KEY_BYTES_MAX], other[4];
    const size_t keys[] = {0, 1, 127, 128, 4000, CHECKPOINT_BLOCK_BYTES - 70, TARN_KEY_BYTES_MAX};
    memset(bytes, 'x', sizeof bytes);
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        list_clear(f);
        size_t full = CHECKPOINT_BLOCK_BYTES > keys[k] ? CHECKPOINT_BLOCK_BYTES - keys[k] : 1;
        for (size_t value = full > 70 ? full - 70 : 0; value < full + 4; value++) {
            store_u32le(keys[k] >= 4 ? bytes : other, (uint32_t)value);
            list_add(f, (struct tarn_record){{bytes, keys[k]}, {bytes, value}, value % 3});
            if (value % 2 == 0)
                list_add(f, (struct tarn_record){{other, 2}, {bytes, value % 100}, 0});
        }
        write_list(f);
        assert_same(f, buffer_view(&f->file), f->totals.checksum);
    }
}

static void limits(void **context)
{
    struct fixture *f = *context;
    struct checkpoint_writer *w = create(f);
    struct tarn_error error;
    struct tarn_record key = {{"", TARN_KEY_BYTES_MAX + 1}, {"", 0}, 0};
    struct tarn_record value = {{"", 0}, {"", TARN_VALUE_BYTES_MAX + 1}, 0};
    struct tarn_record record = {{"k", 1}, {"v", 1}, 0};
    uint64_t hash = hash_key(f->about.secret, record.key);
    assert_int_equal(checkpoint_add(w, &key, 0, &error), TARN_TOOBIG);
    assert_int_equal(checkpoint_add(w, &value, UINT64_MAX, &error), TARN_TOOBIG);
    assert_int_equal(checkpoint_add(w, &record, hash, &error), TARN_OK); /* the writer goes on */
    assert_int_equal(checkpoint_add(w, &record, hash - 1, &error), TARN_INVALID);
    assert_non_null(strstr(error.text, f->path));
    note(&f->expected, &record);
    finish(f, w);
    assert_same(f, buffer_view(&f->file), 0);
    checkpoint_abort(NULL);
    checkpoint_abort(create(f));
    assert_same(f, buffer_view(&f->file), 0);
    assert_int_equal(scratch_count(&f->scratch, ""), 1);
}

/* Hashes that are not those of the keys are the caller's mistake, and found when it is read. */
static void wrong_hashes(void **context)
{
    struct fixture *f = *context;
    for (int wrong = 0; wrong < 2; wrong++) {
        struct checkpoint_writer *w = create(f);
        list_clear(f);
        buffer_clear(&f->expected);
        for (size_t i = 0; i < 40; i++)
            list_add(f, make_record(3, i, 30, 30));
        list_sort(f);
        for (size_t i = 0; i < 40; i++) {
            const struct checkpoint_item *item = &f->items[wrong == 0 ? i : i ^ 1];
            uint64_t hash = wrong == 0 && i == 0 ? item->hash - 1 : f->items[i].hash;
            assert_int_equal(checkpoint_add(w, &item->record, hash, NULL), TARN_OK);
            note(&f->expected, &item->record);
        }
        finish(f, w);
        assert_refused(f, buffer_view(&f->file), 0, "wrong hashes", (size_t)wrong);
    }
}

/* --- a large value --- */

static const void *write_seen; /* a write from this address ... */
static size_t write_seen_size; /* ... moved so many bytes */

static int write_watched(const struct os *os, int fd, const void *data, size_t size,
                         uint64_t offset, size_t *ret_size)
{
    if (data == write_seen)
        write_seen_size = size;
    return os_real()->write_at(os, fd, data, size, offset, ret_size);
}

/* 24 MiB stand for 512: the path is the same. The writer's own memory is small, none is asked for
 * while records are added, and the value goes to the file from where it lies. (Of version 3 by
 * pieces, through room for one.) */
static void large_value_is_not_copied(void **context)
{
    struct fixture *f = *context;
    struct os os = *os_real();
    os.write_at = write_watched;
    const size_t size = (24u << 20) / TEST_SLOWER;
    unsigned char *value = malloc(size);
    struct checkpoint_writer *w;
    struct tarn_error error;
    memset(value, 0x5c, size);
    for (char name = 'a'; name < 'd'; name++)
        list_add(f, (struct tarn_record){{&name, 1}, {"b", 1}, 0});
    list_sort(f);
    struct tarn_record large = {f->items[1].record.key, {value, size}, 99};
    assert_int_equal(checkpoint_create(&os, f->path, &f->about, &w, &error), TARN_OK);
    write_seen = value;
    fault_malloc_arm(0, false);
    for (int i = 0; i < 3; i++) {
        const struct tarn_record *record = i == 1 ? &large : &f->items[i].record;
        uint64_t before = fault_malloc_calls();
        assert_int_equal(checkpoint_add(w, record, f->items[i].hash, &error), TARN_OK);
        bool pieces = fixture_block_bytes != 0;
        assert_true(i == 0 || fault_malloc_calls() == before + (pieces && i == 1));
        assert_true(i != 1 || pieces || write_seen_size == size);
    }
    fault_malloc_disarm();
    for (int i = 0; i < 3; i++)
        note(&f->expected, i == 1 ? &large : &f->items[i].record);
    finish(f, w);
    assert_int_equal(f->totals.blocks, 3);
    assert_same(f, buffer_view(&f->file), f->totals.checksum);
    free(value);
}

/* --- damaged --- */

static void every_bit_flipped(void **context)
{
    struct fixture *f = *context;
    for (size_t count = 0; count <= 30; count += 15) {
        write_file(f, count, count, 8, 20);
        for (size_t at = 0; at < f->file.size; at++) {
            for (int bit = 0; bit < 8; bit++) {
                f->file.data[at] ^= (unsigned char)(1 << bit);
                assert_refused(f, buffer_view(&f->file), 0, "flip", at);
                f->file.data[at] ^= (unsigned char)(1 << bit);
            }
        }
    }
}

static void every_length(void **context)
{
    struct fixture *f = *context;
    write_file(f, 5, 50, 10, 30);
    size_t size = f->file.size;
    unsigned char *copy = malloc(size + 4096);
    memcpy(copy, f->file.data, size);
    for (size_t length = 0; length < size; length++)
        assert_refused(f, (struct tarn_bytes){copy, length}, 0, "cut", length);
    for (int fill = 0; fill < 256; fill += 255) {
        memset(copy + size, fill, 4096);
        for (size_t more = 1; more <= 4096; more = more * 3 + 1)
            assert_refused(f, (struct tarn_bytes){copy, size + more}, 0, "appended", more);
    }
    memcpy(copy + size, copy + size - FOOTER_BYTES, FOOTER_BYTES);
    assert_refused(f, (struct tarn_bytes){copy, size + FOOTER_BYTES}, 0, "a second footer", size);
    free(copy);
}

enum { BLOCKS_MAX = 64 };

/* Where blocks begin; [count] is the directory. */
static size_t find_blocks(const struct fixture *f, size_t at[BLOCKS_MAX])
{
    size_t count = 0;
    for (at[0] = HEADER_BYTES; count < f->totals.blocks; count++) {
        assert_true(count + 1 < BLOCKS_MAX);
        at[count + 1] = next_block(f, at[count]);
    }
    assert_int_equal(at[count], load_u64le(footer_of(f) + FOOTER_DIRECTORY));
    return count;
}

/* A file made of the header, blocks by number in this order, and all that stands behind them. */
static void assemble(const struct fixture *f, const size_t *at, size_t count, const size_t *order,
                     size_t order_count, struct buffer *out)
{
    buffer_clear(out);
    buffer_append(out, f->file.data, HEADER_BYTES);
    for (size_t i = 0; i < order_count; i++)
        buffer_append(out, f->file.data + at[order[i]], at[order[i] + 1] - at[order[i]]);
    buffer_append(out, f->file.data + at[count], f->file.size - at[count]);
}

/* One-record blocks of the same size, so that nothing but their numbers tells them apart. */
static void write_equal_blocks(struct fixture *f, size_t count)
{
    static unsigned char value[CHECKPOINT_BLOCK_BYTES];
    list_clear(f);
    for (size_t i = 0; i < count; i++) {
        memset(value, (int)i, sizeof value);
        list_add(f, (struct tarn_record){{"key", 3}, {value, sizeof value}, 0});
    }
    write_list(f);
}

static void blocks_out_of_place(void **context)
{
    struct fixture *f = *context;
    size_t at[BLOCKS_MAX], order[BLOCKS_MAX];
    struct buffer file = {0};
    write_equal_blocks(f, 6);
    size_t count = find_blocks(f, at);
    assert_int_equal(count, 6);
    for (size_t a = 0; a < count; a++) {
        for (size_t b = 0; b < count; b++) {
            for (size_t i = 0; i < count; i++)
                order[i] = i;
            order[a] = b; /* b twice, a left out */
            assemble(f, at, count, order, count, &file);
            if (a == b)
                assert_same(f, buffer_view(&file), 0);
            else
                assert_refused(f, buffer_view(&file), 0, "doubled", a);
            order[b] = a; /* swapped */
            assemble(f, at, count, order, count, &file);
            if (a != b)
                assert_refused(f, buffer_view(&file), 0, "swapped", a);
        }
        for (size_t i = 0; i < count - 1; i++)
            order[i] = i < a ? i : i + 1;
        assemble(f, at, count, order, count - 1, &file); /* a left out */
        assert_refused(f, buffer_view(&file), 0, "left out", a);
    }
    buffer_done(&file);
}

/* Heads exchanged between bodies of one size, and each part taken from another file with the same
 * records. */
static void parts_of_others(void **context)
{
    struct fixture *f = *context;
    size_t at[BLOCKS_MAX];
    struct buffer other = {0}, mixed = {0};
    write_equal_blocks(f, 3);
    struct checkpoint_totals totals = f->totals;
    buffer_append(&other, f->file.data, f->file.size);
    write_equal_blocks(f, 3); /* with a salt of its own */
    assert_true(totals.checksum != f->totals.checksum);
    assert_refused(f, buffer_view(&other), f->totals.checksum, "another file", 0);
    size_t count = find_blocks(f, at);
    for (size_t part = 0; part < 2 + 2 * count; part++) {
        size_t block = (part - 2) / 2;
        size_t from = part == 0   ? 0
                      : part == 1 ? at[count]
                                  : at[block] + part % 2 * BLOCK_HEAD_BYTES;
        size_t to = part == 0   ? HEADER_BYTES
                    : part == 1 ? f->file.size
                    : part % 2  ? at[block + 1]
                                : at[block] + BLOCK_HEAD_BYTES;
        buffer_clear(&mixed);
        buffer_append(&mixed, f->file.data, f->file.size);
        memcpy(mixed.data + from, other.data + from, to - from);
        if (part < 2 || part % 2 == 0) /* the bodies are the same */
            assert_refused(f, buffer_view(&mixed), 0, "another's", part);
    }
    buffer_clear(&mixed);
    buffer_append(&mixed, f->file.data, f->file.size);
    memcpy(mixed.data + at[1] + BLOCK_HEAD_BYTES, f->file.data + at[0] + BLOCK_HEAD_BYTES,
           at[1] - at[0] - BLOCK_HEAD_BYTES);
    assert_refused(f, buffer_view(&mixed), 0, "another's body", 1);
    buffer_done(&mixed);
    buffer_done(&other);
}

/* With no block between them, only their own bytes tell that header and footer are of two files. */
static void ends_of_two(void **context)
{
    struct fixture *f = *context;
    write_file(f, 0, 0, 0, 0);
    unsigned char footer[FOOTER_BYTES];
    memcpy(footer, f->file.data + HEADER_BYTES, FOOTER_BYTES);
    write_file(f, 0, 0, 0, 0);
    memcpy(f->file.data + HEADER_BYTES, footer, FOOTER_BYTES);
    assert_refused(f, buffer_view(&f->file), 0, "two files", 0);
}

/* --- forged: right checksums over wrong contents --- */

/* Of one small block each byte in turn takes every value, with right checksums: never a byte out
 * of bounds (AddressSanitizer), and what the totals say. */
static void impossible_contents(void **context)
{
    struct fixture *f = *context;
    struct buffer got = {0};
    struct checkpoint_about about;
    struct checkpoint_totals totals;
    write_file(f, 3, 4, 3, 5);
    uint64_t salt = load_u64le(f->file.data + HEADER_SALT);
    unsigned char *block = f->file.data + HEADER_BYTES;
    for (size_t at = 0; at < BLOCK_HEAD_BYTES + load_u32le(block + BLOCK_BODY_BYTES); at++) {
        if (at >= BLOCK_BODY_CHECKSUM && at < BLOCK_HEAD_BYTES)
            continue;
        for (int value = 0; value < 256; value++) {
            unsigned char *copy = malloc(f->file.size);
            memcpy(copy, f->file.data, f->file.size);
            copy[HEADER_BYTES + at] = (unsigned char)value;
            if (load_u32le(copy + HEADER_BYTES + BLOCK_BODY_BYTES) ==
                load_u32le(block + BLOCK_BODY_BYTES))
                forge_block(copy + HEADER_BYTES, salt);
            else
                store_u64le(copy + HEADER_BYTES + BLOCK_CHECKSUM,
                            hash_checksum(copy + HEADER_BYTES, BLOCK_CHECKSUM, salt));
            forge_footer(copy, f->file.size);
            int status = read_bytes((struct tarn_bytes){copy, f->file.size}, 0, &got, NULL, &about,
                                    &totals, NULL);
            assert_true(status == TARN_OK ? totals.records == 4 : status == TARN_CORRUPT);
            assert_true(status == TARN_CORRUPT || at >= BLOCK_HEAD_BYTES || value == block[at]);
            free(copy);
        }
    }
    buffer_done(&got);
}

static void forged_is_refused(struct fixture *f, const char *what)
{
    forge_block(f->file.data + HEADER_BYTES, load_u64le(f->file.data + HEADER_SALT));
    forge_footer(f->file.data, f->file.size);
    assert_refused(f, buffer_view(&f->file), 0, what, 0);
}

/* Bytes behind the last record; an expiry that means none. */
static void loose_contents(void **context)
{
    struct fixture *f = *context;
    write_file(f, 3, 4, 3, 5);
    store_u32le(f->file.data + HEADER_BYTES + BLOCK_RECORDS, 3);
    store_u64le(f->file.data + f->file.size - FOOTER_BYTES + FOOTER_RECORDS, 3);
    store_u64le(f->file.data + f->file.size - FOOTER_BYTES + FOOTER_EXPIRING, 1);
    forged_is_refused(f, "loose bytes");
    write_file(f, 3, 1, 3, 5);
    memset(f->file.data + HEADER_BYTES + BLOCK_HEAD_BYTES + 2, 0, 8); /* behind two short sizes */
    store_u64le(f->file.data + f->file.size - FOOTER_BYTES + FOOTER_EXPIRING, 0);
    buffer_clear(&f->expected);
    forged_is_refused(f, "expires at 0");
}

/* The counts of the footer, each off by one under a right checksum. */
static void footer_counts(void **context)
{
    struct fixture *f = *context;
    write_file(f, 3, 4, 3, 5);
    unsigned char *footer = f->file.data + f->file.size - FOOTER_BYTES;
    for (size_t at = FOOTER_RECORDS; at < FOOTER_ZERO; at += 8) {
        footer[at]++;
        store_u64le(footer + FOOTER_CHECKSUM, checkpoint_footer_checksum(footer));
        assert_refused(f, buffer_view(&f->file), 0, "count", at);
        footer[at]--;
    }
}

static void other_versions(void **context)
{
    struct fixture *f = *context;
    struct buffer got = {0};
    struct checkpoint_about about;
    struct checkpoint_totals totals;
    struct tarn_error error;
    write_file(f, 3, 4, 3, 5);
    for (uint32_t version = 1; version <= 4; version += 3) {
        store_u32le(f->file.data + HEADER_VERSION, version);
        store_u64le(f->file.data + HEADER_CHECKSUM,
                    hash_checksum(f->file.data, HEADER_CHECKSUM, HEADER_SEED));
        assert_int_equal(read_bytes(buffer_view(&f->file), 0, &got, NULL, &about, &totals, &error),
                         TARN_INVALID);
        assert_non_null(strstr(error.text, version == 1 ? "version 1" : "version 4"));
    }
    buffer_done(&got);
}

/* --- salvage --- */

/* Salvage the bytes: so many places are damaged, and the records are those of the blocks in
 * `kept`, a bit each. */
static void assert_salvaged(const struct fixture *f, struct tarn_bytes file, uint64_t damaged_min,
                            uint64_t damaged_max, uint64_t kept)
{
    struct buffer got = {0}, expected = {0};
    struct checkpoint_about about;
    struct checkpoint_totals totals;
    struct tarn_error error = {0};
    uint64_t damaged = 0;
    size_t one = f->expected.size / f->totals.blocks; /* a block is a record, all of one size */
    for (size_t i = 0; i < f->totals.blocks; i++)
        if (kept >> i & 1)
            buffer_append(&expected, f->expected.data + i * one, one);
    if (read_bytes(file, 0, &got, &damaged, &about, &totals, &error) != TARN_OK)
        fail_msg("%s", error.text);
    assert_in_range(damaged, damaged_min, damaged_max);
    assert_int_equal(got.size, expected.size);
    assert_true(bytes_equal(buffer_view(&got), buffer_view(&expected)));
    assert_int_equal(totals.records, __builtin_popcountll(kept));
    assert_int_equal(about.store_id, f->about.store_id);
    buffer_done(&got);
    buffer_done(&expected);
}

static void salvage_flips(void **context)
{
    struct fixture *f = *context;
    size_t at[BLOCKS_MAX];
    write_equal_blocks(f, 4);
    size_t count = find_blocks(f, at);
    unsigned char *bytes = f->file.data;
    assert_salvaged(f, buffer_view(&f->file), 0, 0, 0xf);
    for (size_t b = 0; b < count; b++) {
        for (size_t k = 0; k < BLOCK_HEAD_BYTES + 200; k += 3) {
            bytes[at[b] + k] ^= 0x20;
            assert_salvaged(f, buffer_view(&f->file), 1, 1, 0xf & ~(1u << b));
            bytes[at[b] + k] ^= 0x20;
        }
    }
    for (size_t k = 0; k < HEADER_BYTES; k++) { /* the footer has it too */
        bytes[k] ^= 0x20;
        assert_salvaged(f, buffer_view(&f->file), 1, 1, 0xf);
        bytes[k] ^= 0x20;
    }
    for (size_t k = at[count]; k < f->file.size; k++) {
        bytes[k] ^= 0x20;
        assert_salvaged(f, buffer_view(&f->file), 1, 2, 0xf);
        bytes[k] ^= 0x20;
    }
    bytes[0] ^= 1, bytes[f->file.size - 1] ^= 1; /* both gone: the salt is not known */
    assert_refused(f, buffer_view(&f->file), 0, "both ends", 0);
}

static void salvage_cut(void **context)
{
    struct fixture *f = *context;
    size_t at[BLOCKS_MAX], order[] = {0, 2, 1, 3, 3};
    struct buffer file = {0};
    write_equal_blocks(f, 4);
    size_t count = find_blocks(f, at);
    for (size_t b = 0; b <= count; b++) {
        uint64_t kept = (1u << b) - 1;
        assert_salvaged(f, (struct tarn_bytes){f->file.data, at[b]}, 1, 2, kept);
        assert_salvaged(f, (struct tarn_bytes){f->file.data, at[b] + 40}, 1, 2, kept);
    }
    assemble(f, at, count, order, 5, &file); /* 2 stands before 1; 3 twice: each once, in order */
    assert_salvaged(f, buffer_view(&file), 2, 5, 0xd);
    buffer_clear(&file);
    buffer_append(&file, f->file.data, at[1]);
    buffer_append(&file, "some bytes that should not be here", 34);
    buffer_append(&file, f->file.data + at[1], f->file.size - at[1]);
    assert_salvaged(f, buffer_view(&file), 1, 3, 0xf);
    buffer_done(&file);
}

/* Filling before a block so that its head lies across any border of what is searched at a time. */
static void salvage_searches_everywhere(void **context)
{
    struct fixture *f = *context;
    size_t at[BLOCKS_MAX];
    struct buffer file = {0};
    static unsigned char filling[(256 << 10) + 40];
    write_equal_blocks(f, 2);
    find_blocks(f, at);
    for (size_t more = 0; more < 2 * BLOCK_HEAD_BYTES; more++) {
        buffer_clear(&file);
        buffer_append(&file, f->file.data, at[1]);
        buffer_append(&file, filling, (256 << 10) - BLOCK_HEAD_BYTES - 8 + more);
        buffer_append(&file, f->file.data + at[1], f->file.size - at[1]);
        assert_salvaged(f, buffer_view(&file), 3, 3, 3);
    }
    buffer_done(&file);
}

/* --- failures --- */

/* The list becomes one of everything. */
static void list_one(struct fixture *f)
{
    list_clear(f);
    for (size_t i = 0; i < 4000; i++)
        list_add(f, make_record(1, i, 30, i % 1000 == 0 ? 100000 : 30));
    list_sort(f);
}

/* Write a file of the list. TARN_OK or the failure, which leaves nothing behind. */
static int write_one(const struct fixture *f, const struct os *os, struct tarn_error *error)
{
    struct checkpoint_writer *w;
    struct checkpoint_totals totals;
    int status = checkpoint_create(os, f->path, &f->about, &w, error);
    if (status != TARN_OK)
        return status;
    const struct checkpoint_item *item = f->items;
    for (size_t i = 0; i < f->count && status == TARN_OK; i++, item++)
        status = checkpoint_add(w, &item->record, item->hash, error);
    if (status != TARN_OK) {
        assert_int_equal(checkpoint_add(w, &f->items[0].record, UINT64_MAX, NULL), status);
        checkpoint_abort(w);
        return status;
    }
    return checkpoint_commit(w, &totals, error);
}

static int read_one(const struct os *os, const char *path, struct buffer *out,
                    struct tarn_error *error)
{
    struct checkpoint_about about;
    struct checkpoint_totals totals;
    buffer_clear(out);
    return checkpoint_read(os, path, 0, collect, out, NULL, NULL, &about, &totals, NULL, error);
}

static void every_call_fails(void **context)
{
    struct fixture *f = *context;
    struct fault_os faults;
    struct buffer got = {0};
    struct tarn_error error;
    static const int numbers[] = {EIO, ENOSPC, EMFILE};
    list_one(f);
    fault_os_init(&faults, NULL);
    for (enum fault_entry entry = 0; entry < FAULT_ENTRY_COUNT; entry++) {
        for (uint64_t nth = 1;; nth++) {
            fault_os_reset(&faults);
            fault_os_fail(&faults, entry, nth, numbers[nth % 3], false);
            int status = write_one(f, &faults.os, &error);
            if (!fault_os_fired(&faults))
                break;
            if (status == TARN_OK) /* only what harms nothing */
                assert_true(entry == FAULT_MONOTONIC_NS || entry == FAULT_REALTIME_US);
            else
                assert_non_null(strstr(error.text, f->path));
            assert_true(fault_os_clean(&faults));
            assert_true(scratch_count(&f->scratch, "tmp") == 0 || entry == FAULT_UNLINK);
            assert_true(scratch_count(&f->scratch, "") <= 1);
        }
        assert_int_equal(read_one(os_real(), f->path, &got, &error), TARN_OK);
        for (uint64_t nth = 1;; nth++) {
            fault_os_reset(&faults);
            fault_os_fail(&faults, entry, nth, EIO, false);
            int status = read_one(&faults.os, f->path, &got, &error);
            if (!fault_os_fired(&faults))
                break;
            assert_true(status == TARN_IO || entry == FAULT_CLOSE);
            assert_true(fault_os_clean(&faults));
        }
    }
    fault_os_done(&faults);
    buffer_done(&got);
}

/* The syncs on the way are part of it: a failed one is the file's failure. */
static void sync_on_the_way_fails(void **context)
{
    struct fixture *f = *context;
    struct fault_os faults;
    struct checkpoint_writer *w;
    struct tarn_error error = {0};
    static char value[1 << 20];
    struct tarn_record record = {{"k", 1}, {value, sizeof value}, 0};
    int status = TARN_OK;
    fault_os_init(&faults, NULL);
    fault_os_fail(&faults, FAULT_DATA_SYNC, 2, EIO, false);
    assert_int_equal(checkpoint_create(&faults.os, f->path, &f->about, &w, &error), TARN_OK);
    for (int i = 0; i < 40 && status == TARN_OK; i++)
        status = checkpoint_add(w, &record, 7, &error);
    assert_int_equal(status, TARN_IO);
    assert_non_null(strstr(error.text, f->path));
    assert_int_equal(checkpoint_commit(w, &f->totals, &error), TARN_IO);
    assert_true(fault_os_clean(&faults));
    assert_int_equal(scratch_count(&f->scratch, ""), 0);
    fault_os_done(&faults);
}

static void short_transfers(void **context)
{
    struct fixture *f = *context;
    struct fault_os faults;
    struct buffer got = {0};
    struct tarn_error error;
    list_one(f);
    fault_os_init(&faults, NULL);
    for (uint64_t nth = 1;; nth++) {
        fault_os_reset(&faults);
        fault_os_short(&faults, FAULT_WRITE_AT, nth, 7);
        assert_int_equal(write_one(f, &faults.os, &error), TARN_OK);
        if (!fault_os_fired(&faults))
            break;
        assert_int_equal(read_one(os_real(), f->path, &got, &error), TARN_OK);
    }
    for (uint64_t nth = 1;; nth++) {
        fault_os_reset(&faults);
        fault_os_short(&faults, FAULT_READ_AT, nth, 7);
        assert_int_equal(read_one(&faults.os, f->path, &got, &error), TARN_OK);
        if (!fault_os_fired(&faults))
            break;
        fault_os_reset(&faults);
        fault_os_short(&faults, FAULT_READ_AT, nth, 0); /* it got shorter meanwhile */
        assert_int_equal(read_one(&faults.os, f->path, &got, &error), TARN_CORRUPT);
        assert_true(fault_os_clean(&faults));
    }
    fault_os_done(&faults);
    buffer_done(&got);
}

static void every_allocation_fails(void **context)
{
    struct fixture *f = *context;
    struct buffer got = {0};
    struct tarn_error error;
    list_one(f);
    for (uint64_t nth = 1;; nth++) {
        fault_malloc_arm(nth, false);
        int status = write_one(f, os_real(), &error);
        if (fault_malloc_disarm() == 0)
            break;
        assert_int_equal(status, TARN_NOMEM);
        assert_int_equal(scratch_count(&f->scratch, ""), 0);
    }
    struct checkpoint_about about;
    struct checkpoint_totals totals;
    for (uint64_t nth = 1;; nth++) {
        fault_malloc_arm(nth, false);
        int status = checkpoint_read(os_real(), f->path, 0, NULL, NULL, NULL, NULL, &about, &totals,
                                     NULL, &error);
        if (fault_malloc_disarm() == 0) {
            assert_int_equal(status, TARN_OK);
            assert_int_equal(totals.records, 4000);
            break;
        }
        assert_int_equal(status, TARN_NOMEM);
    }
    buffer_done(&got);
}

static void missing(void **context)
{
    static const char text[HEADER_BYTES + FOOTER_BYTES] = "key value\n";
    struct fixture *f = *context;
    struct buffer got = {0};
    struct tarn_error error;
    assert_int_equal(read_one(os_real(), f->path, &got, &error), TARN_MISSING);
    assert_int_equal(read_one(os_real(), f->scratch.path, &got, &error), TARN_INVALID);
    file_write(f->path, (struct tarn_bytes){text, sizeof text});
    assert_int_equal(read_one(os_real(), f->path, &got, &error), TARN_CORRUPT);
    assert_non_null(strstr(error.text, "not a tarn file"));
}

/* --- stopping --- */

static int stop_at(void *context, const struct tarn_record *records, size_t count)
{
    size_t *left = context;
    (void)records;
    if (*left < count)
        return TARN_FULL;
    *left -= count;
    return TARN_OK;
}

static bool go_on(void *context, const char *phase, uint64_t done, uint64_t total)
{
    uint64_t *calls = context;
    assert_string_equal(phase, "reading");
    assert_true(done <= total);
    return --*calls > 0;
}

static void stopping(void **context)
{
    struct fixture *f = *context;
    struct checkpoint_about about;
    struct checkpoint_totals totals = {.records = 42};
    struct tarn_error error;
    size_t left = 1000;
    write_file(f, 8, 30, 9, 1u << 20);
    write_file(f, 9, 20000, 20, 100);
    assert_int_equal(checkpoint_read(os_real(), f->path, 0, stop_at, &left, NULL, NULL, &about,
                                     &totals, NULL, &error),
                     TARN_FULL);
    assert_int_equal(totals.records, 42);
    write_file(f, 8, 30, 9, 1u << 20);
    uint64_t calls = 2;
    assert_int_equal(checkpoint_read(os_real(), f->path, 0, NULL, NULL, go_on, &calls, &about,
                                     &totals, NULL, &error),
                     TARN_CANCELLED);
    calls = 1000;
    assert_int_equal(checkpoint_read(os_real(), f->path, 0, NULL, NULL, go_on, &calls, &about,
                                     &totals, NULL, &error),
                     TARN_OK);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(round_trip),
        TEST(sizes_around_a_block),
        TEST(limits),
        TEST(wrong_hashes),
        TEST(large_value_is_not_copied),
        TEST(every_bit_flipped),
        TEST(every_length),
        TEST(blocks_out_of_place),
        TEST(parts_of_others),
        TEST(ends_of_two),
        TEST(impossible_contents),
        TEST(loose_contents),
        TEST(footer_counts),
        TEST(other_versions),
        TEST(salvage_flips),
        TEST(salvage_cut),
        TEST(salvage_searches_everywhere),
        TEST(every_call_fails),
        TEST(sync_on_the_way_fails),
        TEST(short_transfers),
        TEST(every_allocation_fails),
        TEST(missing),
        TEST(stopping),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    fixture_block_bytes = CHECKPOINT_BLOCK_BYTES;
    return failed + cmocka_run_group_tests_name("version 3", tests, NULL, NULL);
}
