/* Goal: a `tarn` file of version 3 holds values of any size in pieces that are sound by themselves:
 * what is written, from memory or fetched bit by bit, is read back, whole, by key and by range; a
 * piece that is damaged, exchanged or left out is noticed. Blocks of 32 and 64 KiB are as those
 * of 16. Method: values around the sizes at which a piece ends; each byte of some pieces changed;
 * pieces exchanged; fetches and writes that fail.
 *
 * Bugs planted once to see it fail: the piece's number left out of its seed; the block's number. */
#include "lib/test.h"

#include <errno.h>

#include "lib/checkpoint_fixture.h"
#include "lib/fault_malloc.h"
#include "lib/fault_os.h"

enum { VALUE_MAX = 3 * PIECE_BYTES + 9000 };

static int setup_pieces(void **context)
{
    fixture_block_bytes = 64 << 10;
    return setup(context);
}

static struct tarn_bytes value_of(size_t size)
{
    static unsigned char bytes[VALUE_MAX];
    for (size_t i = 0; i < VALUE_MAX && bytes[1] == 0; i++)
        bytes[i] = (unsigned char)(random_mix(i) | 1);
    return (struct tarn_bytes){bytes, size};
}

static int fetch(void *context, uint64_t at, void *data, size_t size, struct tarn_error *error)
{
    uint64_t *fetched = context;
    (void)error;
    assert_int_equal(at, *fetched);
    assert_in_range(size, 0, PIECE_BYTES);
    memcpy(data, (const char *)value_of(VALUE_MAX).data + at, size);
    *fetched += size;
    return TARN_OK;
}

/* The list as a file; far: large values are fetched. */
static void write_values(struct fixture *f, bool far)
{
    struct checkpoint_writer *w = create(f);
    list_sort(f);
    buffer_clear(&f->expected);
    for (size_t i = 0; i < f->count; i++) {
        struct tarn_record r = f->items[i].record;
        uint64_t fetched = 0;
        if (far && r.value.size > CHECKPOINT_FETCH_BYTES) {
            r.value.data = NULL;
            assert_int_equal(checkpoint_add_far(w, &r, f->items[i].hash, fetch, &fetched, NULL),
                             TARN_OK);
            assert_int_equal(fetched, r.value.size);
        } else {
            assert_int_equal(checkpoint_add(w, &r, f->items[i].hash, NULL), TARN_OK);
        }
        note(&f->expected, &f->items[i].record);
    }
    finish(f, w);
}

static int read_all(const struct fixture *f, struct tarn_error *error)
{
    struct memory_os m;
    struct checkpoint_about about;
    struct checkpoint_totals totals;
    struct buffer got = {0};
    memory_os_init(&m);
    memory_os_put(&m, "c", buffer_view(&f->file), 0);
    int status = checkpoint_read(&m.os, "c", f->totals.checksum, collect, &got, NULL, NULL, &about,
                                 &totals, NULL, error);
    if (status == TARN_OK) {
        assert_true(bytes_equal(buffer_view(&got), buffer_view(&f->expected)));
        assert_int_equal(about.block_bytes, f->about.block_bytes);
    }
    buffer_done(&got);
    return status;
}

static void assert_found(const struct fixture *f)
{
    struct checkpoint_file *file;
    struct checkpoint_about about;
    struct checkpoint_totals totals;
    struct tarn_record got;
    struct buffer scratch = {0}, range = {0};
    assert_int_equal(
        checkpoint_open(os_real(), f->path, f->totals.checksum, &file, &about, &totals, NULL),
        TARN_OK);
    for (size_t i = 0; i < f->count; i++) {
        const struct tarn_record *r = &f->items[i].record;
        assert_int_equal(checkpoint_find(file, r->key, f->items[i].hash, &scratch, &got, NULL),
                         TARN_OK);
        assert_true(bytes_equal(got.value, r->value) && got.expire_ms == r->expire_ms);
    }
    assert_int_equal(checkpoint_range(file, 0, UINT64_MAX, collect, &range, NULL), TARN_OK);
    assert_true(bytes_equal(buffer_view(&range), buffer_view(&f->expected)));
    buffer_done(&scratch);
    buffer_done(&range);
    checkpoint_close(file);
}

/* Bodies around each number of pieces; keys short and long, with an expiry and without. */
static void sizes_around_pieces(void **context)
{
    struct fixture *f = *context;
    static unsigned char key[TARN_KEY_BYTES_MAX];
    for (size_t pieces = 1; pieces <= 3; pieces++) {
        list_clear(f);
        for (size_t less = 0; less < 40; less++) {
            size_t key_size = less % 5 == 4 ? 30000 : 4;
            size_t size = pieces * (pieces == 1 ? PIECE_BYTES : PIECE_DATA) + 14 - less - key_size;
            store_u32le(key, (uint32_t)less);
            list_add(f, (struct tarn_record){{key, key_size}, value_of(size), less & 1});
            list_add(f, (struct tarn_record){{key, 3}, value_of(less), 0});
        }
        for (int far = 0; far < 2; far++) {
            struct tarn_error error;
            write_values(f, far);
            if (read_all(f, &error) != TARN_OK)
                fail_msg("%s", error.text);
            assert_found(f);
        }
    }
}

/* Blocks of each size: the largest are nearly full. */
static void sizes_of_blocks(void **context)
{
    struct fixture *f = *context;
    for (uint32_t bytes = CHECKPOINT_BLOCK_BYTES; bytes <= CHECKPOINT_BLOCK_BYTES_MAX; bytes *= 2) {
        f->about.block_bytes = bytes;
        list_clear(f);
        for (uint64_t i = 0; i < 3000 / TEST_SLOWER; i++) {
            struct tarn_record r = make_record(bytes, i, 100, 900);
            list_add(f, (struct tarn_record){{&i, 8}, r.value, r.expire_ms});
        }
        write_list(f);
        assert_int_equal(read_all(f, NULL), TARN_OK);
        assert_found(f);
        size_t large = 0;
        for (size_t at = HEADER_BYTES, i = 0; i < f->totals.blocks; i++) {
            size_t next = next_block(f, at);
            large += next - at > bytes - 2000;
            at = next;
        }
        assert_true(large + 1 >= f->totals.blocks);
    }
}

/* One large value between small ones: every byte of its head and of some places of its pieces. */
static void damaged_pieces(void **context)
{
    struct fixture *f = *context;
    struct tarn_error error;
    list_clear(f);
    list_add(f, (struct tarn_record){{"large", 5}, value_of(2 * PIECE_DATA + 5000), 0});
    write_values(f, true);
    uint64_t end = load_u64le(footer_of(f) + FOOTER_DIRECTORY);
    size_t body = HEADER_BYTES + BLOCK_HEAD_BYTES;
    for (size_t at = HEADER_BYTES; at < end; at += at < body + 9 ? 1 : 4099) {
        f->file.data[at] ^= 16;
        assert_int_equal(read_all(f, &error), TARN_CORRUPT);
        assert_int_equal(error.offset, HEADER_BYTES);
        f->file.data[at] ^= 16;
    }
    for (size_t piece = 1; piece <= 3; piece++) {
        size_t at = body + piece * PIECE_BYTES - PIECE_CHECKSUM_BYTES;
        at = at < end ? at : end - PIECE_CHECKSUM_BYTES;
        f->file.data[at] ^= 1;
        assert_int_equal(read_all(f, &error), TARN_CORRUPT);
        f->file.data[at] ^= 1;
    }
    assert_int_equal(read_all(f, &error), TARN_OK);
}

/* Two pieces of one value, and the same piece of two values. */
static void exchanged_pieces(void **context)
{
    struct fixture *f = *context;
    struct tarn_error error;
    static unsigned char kept[PIECE_BYTES];
    list_clear(f);
    for (size_t i = 0; i < 2; i++)
        list_add(f, (struct tarn_record){{i ? "a" : "b", 1}, value_of(3 * PIECE_DATA), 0});
    write_values(f, false);
    size_t first = HEADER_BYTES + BLOCK_HEAD_BYTES, second = next_block(f, HEADER_BYTES);
    const size_t others[] = {first + 2 * PIECE_BYTES, second + BLOCK_HEAD_BYTES + PIECE_BYTES};
    unsigned char *one = f->file.data + first + PIECE_BYTES;
    for (size_t i = 0; i < 2; i++) {
        unsigned char *other = f->file.data + others[i];
        memcpy(kept, one, PIECE_BYTES);
        memcpy(one, other, PIECE_BYTES);
        assert_int_equal(read_all(f, &error), TARN_CORRUPT);
        memcpy(one, kept, PIECE_BYTES);
    }
    assert_int_equal(read_all(f, &error), TARN_OK);
}

static int refuse(void *context, uint64_t at, void *data, size_t size, struct tarn_error *error)
{
    (void)data, (void)size;
    if (at < *(uint64_t *)context) {
        memset(data, 0, size);
        return TARN_OK;
    }
    return error_set(error, TARN_STALE, "gone");
}

/* A fetch that fails at any piece, memory that is not there: nothing is left, and it is told. */
static void failures(void **context)
{
    struct fixture *f = *context;
    struct tarn_error error;
    struct tarn_record r = {{"k", 1}, {NULL, 3 * PIECE_BYTES}, 0};
    for (uint64_t at = 0; at < r.value.size; at += PIECE_BYTES) {
        struct checkpoint_writer *w = create(f);
        assert_int_equal(checkpoint_add_far(w, &r, 1, refuse, &at, &error), TARN_STALE);
        assert_string_equal(error.text, "gone");
        assert_int_equal(checkpoint_add_far(w, &r, 1, refuse, &at, &error), TARN_STALE);
        struct checkpoint_totals totals;
        assert_int_equal(checkpoint_commit(w, &totals, &error), TARN_STALE);
        assert_int_equal(scratch_count(&f->scratch, ""), 0);
    }
    uint64_t all = UINT64_MAX;
    struct checkpoint_writer *w = create(f);
    fault_malloc_arm(1, false);
    int status = checkpoint_add_far(w, &r, 1, refuse, &all, &error);
    assert_int_equal(fault_malloc_disarm(), 1);
    assert_int_equal(status, TARN_NOMEM);
    assert_int_equal(checkpoint_add_far(w, &r, 1, refuse, &all, &error), TARN_OK); /* goes on */
    checkpoint_abort(w);
}

/* Sizes of blocks that no writer makes. */
static void impossible_sizes_of_blocks(void **context)
{
    struct fixture *f = *context;
    struct tarn_error error;
    const uint32_t sizes[] = {0, 1, 8192, 24576, 131072, 0x80000000};
    write_file(f, 1, 10, 10, 10);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        store_u32le(f->file.data + HEADER_BLOCK_BYTES, sizes[i]);
        store_u64le(f->file.data + HEADER_CHECKSUM,
                    hash_checksum(f->file.data, HEADER_CHECKSUM, HEADER_SEED));
        forge_footer(f->file.data, f->file.size);
        f->totals.checksum = 0;
        assert_int_equal(read_all(f, &error), TARN_CORRUPT);
        assert_non_null(strstr(error.text, "impossible size of blocks"));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_pieces, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sizes_around_pieces), TEST(sizes_of_blocks), TEST(damaged_pieces),
        TEST(exchanged_pieces),    TEST(failures),        TEST(impossible_sizes_of_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
