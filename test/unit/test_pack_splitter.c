/* Goal: chunks are whole records and together the file, whatever threads take them; checksums and
 * sync table are those of the bytes; a bad record, a short file or a failing read is an error.
 * Method: data sets whose record boundaries are known, from memory and from a file, with reads
 * that are cut; checksums and sync table computed naively from the same bytes.
 *
 * Bugs planted once to see it fail: `*entry == SYNC_NONE` dropped (the last start, not the first,
 * is noted); `s->carry = next` without the rest of the bytes; FORMAT_INCOMPLETE accepted at the
 * end; the status not kept (a thread goes on after another failed). */
#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/hash.h"
#include "lib/dataset.h"
#include "lib/fault_os.h"
#include "lib/scratch.h"
#include "os/parallel.h"
#include "pack/splitter.h"

struct fixture {
    struct scratch scratch;
    struct fault_os faults;
    char path[SCRATCH_PATH_BYTES];
};

static int setup(void **context)
{
    struct fixture *f = malloc(sizeof *f);
    scratch_open(&f->scratch);
    scratch_name(&f->scratch, "data", f->path);
    fault_os_init(&f->faults, NULL);
    *context = f;
    return 0;
}

static int teardown(void **context)
{
    struct fixture *f = *context;
    scratch_close(&f->scratch);
    fault_os_done(&f->faults);
    free(f);
    return 0;
}

static struct source source_open(struct fixture *f, const struct buffer *data, bool memory)
{
    struct source source = {.os = &f->faults.os, .path = f->path, .fd = -1, .size = data->size};
    if (memory) {
        source.memory = buffer_view(data);
        return source;
    }
    file_write(f->path, buffer_view(data));
    source.fd = open(f->path, O_RDONLY | O_CLOEXEC);
    assert_true(source.fd >= 0);
    return source;
}

static void source_close(struct source *source)
{
    if (source->fd >= 0)
        close(source->fd);
}

/* A splitter with its tables. */
struct split {
    struct splitter splitter;
    uint64_t *checksums;
    unsigned char *sync;
};

static void split_init(struct split *s, const struct source *source,
                       const struct tarn_format *format)
{
    uint64_t sync = sync_block_count(format, source->size);
    s->checksums = calloc(checksum_block_count(source->size) + 1, 8);
    s->sync = sync ? malloc(sync) : NULL; /* exactly: a byte too many is a fault under ASan */
    splitter_init(&s->splitter, source, format, s->checksums, s->sync);
}

static void split_done(struct split *s)
{
    splitter_done(&s->splitter);
    free(s->checksums);
    free(s->sync);
}

/* Is there a record boundary (or the end) at this offset? */
static bool is_boundary(const struct dataset *d, uint64_t offset)
{
    size_t low = 0, high = d->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (d->records[middle].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return offset == d->data.size || (low < d->count && d->records[low].offset == offset);
}

/* Take all chunks; each is checked against the file's bytes and boundaries. */
static int drain(struct split *s, const struct dataset *d, struct tarn_error *error)
{
    struct chunk chunk = {0};
    uint64_t at = 0;
    int status;
    while ((status = splitter_next(&s->splitter, &chunk, error)) == TARN_OK) {
        assert_int_equal(chunk.offset, at);
        assert_true(chunk.data.size > 0 && chunk.data.size <= d->data.size - at);
        assert_memory_equal(chunk.data.data, d->data.data + at, chunk.data.size);
        at += chunk.data.size;
        if (!is_boundary(d, at))
            fail_msg("a chunk ends at %llu, inside a record", (unsigned long long)at);
    }
    buffer_done(&chunk.buffer);
    if (status == TARN_NOTFOUND)
        assert_int_equal(at, d->data.size);
    return status;
}

static void check_tables(const struct split *s, const struct dataset *d)
{
    for (uint64_t b = 0; b < checksum_block_count(d->data.size); b++) {
        uint64_t at = b << CHECKSUM_BLOCK_BYTES_LOG2;
        size_t size =
            d->data.size - at < CHECKSUM_BLOCK_BYTES ? d->data.size - at : CHECKSUM_BLOCK_BYTES;
        assert_true(s->checksums[b] == hash_checksum(d->data.data + at, size, 0));
    }
    if (d->format.kind == TARN_FORMAT_TEXT) {
        assert_null(s->sync);
        return;
    }
    size_t blocks = (d->data.size + SYNC_BLOCK_BYTES - 1) / SYNC_BLOCK_BYTES;
    unsigned char *naive = malloc(blocks + 1);
    memset(naive, SYNC_NONE, blocks + 1);
    for (size_t i = d->count; i-- > 0;)
        naive[d->records[i].offset / SYNC_BLOCK_BYTES] =
            (unsigned char)(d->records[i].offset % SYNC_BLOCK_BYTES);
    assert_int_equal(sync_block_count(&d->format, d->data.size), blocks);
    if (blocks > 0)
        assert_memory_equal(s->sync, naive, blocks);
    free(naive);
}

static void check_whole(struct fixture *f, const struct dataset *d)
{
    for (int memory = 0; memory < 2; memory++) {
        struct source source = source_open(f, &d->data, memory);
        struct split split;
        struct tarn_error error;
        split_init(&split, &source, &d->format);
        assert_int_equal(drain(&split, d, &error), TARN_NOTFOUND);
        check_tables(&split, d);
        struct chunk chunk = {0};
        assert_int_equal(splitter_next(&split.splitter, &chunk, &error), TARN_NOTFOUND);
        assert_false(split.splitter.bad_record);
        split_done(&split);
        source_close(&source);
    }
}

/* Sets that straddle blocks: many small records, a record larger than two blocks (where the format
 * has such) in front, in the middle and at the end. */
static void fill_large(struct dataset *d, uint64_t seed)
{
    size_t largest = d->format.size_type == TARN_SIZE_U16 && d->format.kind == TARN_FORMAT_BINARY
                         ? 65535
                         : (5 << 20) / 2;
    unsigned char *big = malloc(largest);
    memset(big, 'x', largest);
    if (seed & 1)
        dataset_add(d, bytes_of("big"), (struct tarn_bytes){big, largest});
    dataset_add_random(d, seed, 2500, 40, 300, 0);
    dataset_add(d, bytes_of("big"), (struct tarn_bytes){big, largest});
    dataset_add_random(d, seed + 1, 2500, 10, 300, 0);
    for (int i = 0; i < 40; i++) /* so that there are several blocks in every format */
        dataset_add(d, bytes_of("large"), (struct tarn_bytes){big, 30000 + (size_t)i});
    if (seed & 2)
        dataset_add(d, bytes_of("big"), (struct tarn_bytes){big, largest});
    free(big);
}

static void all_formats(void **context)
{
    for (size_t i = 0; i < dataset_formats_count; i++) {
        struct dataset d;
        dataset_init(&d, &dataset_formats[i]);
        check_whole(*context, &d); /* an empty file */
        dataset_add_random(&d, i, 1, 8, 20, 0);
        check_whole(*context, &d);
        dataset_add_random(&d, i, 200, 20, 700, 0);
        check_whole(*context, &d);
        fill_large(&d, i);
        check_whole(*context, &d);
        if (d.format.kind == TARN_FORMAT_TEXT) {
            dataset_drop_last_newline(&d);
            check_whole(*context, &d);
        }
        dataset_done(&d);
    }
}

/* Trips on: a file that ends exactly at a block's end, or one byte beside it. */
static void block_edges(void **context)
{
    for (size_t i = 0; i < dataset_formats_count; i += 2) {
        for (int beside = -1; beside <= 1; beside++) {
            struct dataset d;
            unsigned char *value = calloc(1, 65000);
            memset(value, 'v', 65000);
            dataset_init(&d, &dataset_formats[i]);
            size_t target = 2 * CHECKSUM_BLOCK_BYTES + (size_t)beside;
            while (target - d.data.size > 65000 + 200)
                dataset_add(&d, bytes_of("key"), (struct tarn_bytes){value, 65000});
            size_t left = target - d.data.size, before = d.data.size;
            dataset_add(&d, bytes_of("half"), (struct tarn_bytes){value, left / 2});
            size_t framing = d.data.size - before - left / 2;
            dataset_add(&d, bytes_of("half"),
                        (struct tarn_bytes){value, left - (left / 2 + framing) - framing});
            if (d.format.size_type != TARN_SIZE_VARINT)
                assert_int_equal(d.data.size, target);
            check_whole(*context, &d);
            dataset_done(&d);
            free(value);
        }
    }
}

/* --- several threads --- */

struct crew {
    struct split split;
    const struct dataset *dataset;
    uint64_t bytes[4];
    uint64_t sums[4]; /* of the chunks' checksums mixed with their offsets */
};

static void take_chunks(void *context, unsigned thread)
{
    struct crew *crew = context;
    struct chunk chunk = {0};
    struct tarn_error error;
    while (splitter_next(&crew->split.splitter, &chunk, &error) == TARN_OK) {
        const struct dataset *d = crew->dataset;
        if (chunk.offset + chunk.data.size <= d->data.size &&
            memcmp(chunk.data.data, d->data.data + chunk.offset, chunk.data.size) == 0)
            crew->bytes[thread] += chunk.data.size;
        crew->sums[thread] += chunk.offset;
    }
    buffer_done(&chunk.buffer);
}

/* Trips on: state of the splitter used outside its lock (TSan), a chunk's buffer handed to two. */
static void threads(void **context)
{
    struct fixture *f = *context;
    for (size_t i = 0; i < dataset_formats_count; i += 2) {
        for (int memory = 0; memory < 2; memory++) {
            struct dataset d;
            dataset_init(&d, &dataset_formats[i]);
            fill_large(&d, 3);
            struct source source = source_open(f, &d.data, memory);
            struct crew crew = {.dataset = &d};
            split_init(&crew.split, &source, &d.format);
            parallel_run(4, take_chunks, &crew);
            assert_int_equal(crew.bytes[0] + crew.bytes[1] + crew.bytes[2] + crew.bytes[3],
                             d.data.size);
            check_tables(&crew.split, &d);
            split_done(&crew.split);
            source_close(&source);
            dataset_done(&d);
        }
    }
}

/* --- what is wrong with the file --- */

/* Trips on: an incomplete last record taken for a whole one or dropped. */
static void truncated_anywhere(void **context)
{
    struct fixture *f = *context;
    for (size_t i = 2; i < dataset_formats_count; i++) {
        struct dataset d;
        dataset_init(&d, &dataset_formats[i]);
        dataset_add_random(&d, i, 12, 6, 40, 0);
        size_t whole = d.data.size;
        for (size_t size = 0; size < whole; size++) {
            bool boundary = is_boundary(&d, size);
            d.data.size = size;
            struct source source = source_open(f, &d.data, true);
            struct split split;
            struct tarn_error error;
            split_init(&split, &source, &d.format);
            int status = drain(&split, &d, &error);
            if (boundary && status != TARN_NOTFOUND)
                fail_msg("format %zu, %zu bytes: %s", i, size, error.text);
            if (!boundary) {
                assert_int_equal(status, TARN_CORRUPT);
                assert_true(split.splitter.bad_record);
            }
            split_done(&split);
            d.data.size = whole;
        }
        dataset_done(&d);
    }
}

/* Trips on: a bad record behind the first block not seen, or seen by one thread only. */
static void bad_record_in_any_block(void **context)
{
    struct fixture *f = *context;
    for (int memory = 0; memory < 2; memory++) {
        struct dataset d;
        struct tarn_error error;
        dataset_init(&d, &dataset_formats[2]);
        fill_large(&d, 3);
        for (size_t r = 0; r < d.count; r += d.count / 7) {
            unsigned char *size = d.data.data + d.records[r].offset;
            size[3] ^= 0x40; /* a key over the limit */
            struct source source = source_open(f, &d.data, memory);
            struct split split;
            split_init(&split, &source, &d.format);
            assert_int_equal(drain(&split, &d, &error), TARN_CORRUPT);
            assert_true(split.splitter.bad_record);
            struct chunk chunk = {0};
            assert_int_equal(splitter_next(&split.splitter, &chunk, &error), TARN_CORRUPT);
            split_done(&split);
            source_close(&source);
            size[3] ^= 0x40;
        }
        dataset_done(&d);
    }
}

/* Trips on: a count taken for granted. */
static void short_reads(void **context)
{
    struct fixture *f = *context;
    struct dataset d;
    dataset_init(&d, &dataset_formats[3]);
    fill_large(&d, 0);
    for (uint64_t nth = 1; nth <= 6; nth++) {
        for (size_t cut = 1; cut <= 100000; cut *= 317) {
            struct source source = source_open(f, &d.data, false);
            struct split split;
            struct tarn_error error;
            fault_os_reset(&f->faults);
            fault_os_short(&f->faults, FAULT_READ_AT, nth, cut);
            split_init(&split, &source, &d.format);
            assert_int_equal(drain(&split, &d, &error), TARN_NOTFOUND);
            check_tables(&split, &d);
            split_done(&split);
            source_close(&source);
        }
    }
    fault_os_reset(&f->faults);
    dataset_done(&d);
}

/* Trips on: a failed read's bytes used, or another thread going on behind it. */
static void failing_reads(void **context)
{
    struct fixture *f = *context;
    struct dataset d;
    dataset_init(&d, &dataset_formats[0]);
    fill_large(&d, 1);
    uint64_t nth = 1;
    for (bool fired = true; fired; nth++) {
        for (int kind = 0; kind < 2; kind++) {
            struct source source = source_open(f, &d.data, false);
            struct split split;
            struct tarn_error error = {0};
            fault_os_reset(&f->faults);
            if (kind == 0)
                fault_os_fail(&f->faults, FAULT_READ_AT, nth, EIO, false);
            else
                fault_os_short(&f->faults, FAULT_READ_AT, nth, 0); /* the file got shorter */
            split_init(&split, &source, &d.format);
            int status = drain(&split, &d, &error);
            fired = fault_os_fired(&f->faults);
            assert_int_equal(status, !fired ? TARN_NOTFOUND : kind == 0 ? TARN_IO : TARN_STALE);
            if (fired) {
                assert_non_null(strstr(error.text, f->path));
                assert_false(split.splitter.bad_record);
                struct chunk chunk = {0};
                assert_int_equal(splitter_next(&split.splitter, &chunk, &error), status);
            }
            split_done(&split);
            source_close(&source);
        }
    }
    assert_true(nth > 3);
    fault_os_reset(&f->faults);
    dataset_done(&d);
}

/* Trips on: a line over the limit accepted, or its part in earlier blocks forgotten. */
static void huge_lines(void **context)
{
    struct fixture *f = *context;
#if defined(__SANITIZE_THREAD__)
    size_t size = 24u << 20; /* reading more takes too long here */
#else
    size_t size = TARN_VALUE_BYTES_MAX + TARN_KEY_BYTES_MAX + (3u << 20);
#endif
    unsigned char *data =
        mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(data != MAP_FAILED);
    struct source source = {.os = &f->faults.os, .path = f->path, .size = size};
    source.memory = (struct tarn_bytes){data, size};
    struct split split;
    struct tarn_error error;
    struct chunk chunk = {0};
    split_init(&split, &source, &dataset_formats[0]);
    int status = splitter_next(&split.splitter, &chunk, &error);
    if (size > TARN_VALUE_BYTES_MAX) {
        assert_int_equal(status, TARN_TOOBIG);
        assert_true(split.splitter.bad_record);
    } else {
        assert_int_equal(status, TARN_OK);
        assert_int_equal(chunk.data.size, size);
    }
    split_done(&split);
    munmap(data, size);
}

static void source_reads(void **context)
{
    struct fixture *f = *context;
    struct buffer data = {0}, buffer = {0};
    struct tarn_bytes view;
    struct tarn_error error;
    buffer_append_text(&data, "0123456789");
    for (int memory = 0; memory < 2; memory++) {
        struct source source = source_open(f, &data, memory);
        for (size_t at = 0; at <= 10; at++) {
            for (size_t size = 0; size <= 10 - at; size++) {
                assert_int_equal(source_read(&source, at, size, &buffer, &view, &error), TARN_OK);
                assert_int_equal(view.size, size);
                if (size > 0)
                    assert_memory_equal(view.data, &"0123456789"[at], size);
            }
        }
        source_close(&source);
    }
    struct source longer = source_open(f, &data, false);
    longer.size = 11;
    assert_int_equal(source_read(&longer, 5, 6, &buffer, &view, &error), TARN_STALE);
    assert_int_equal(error.offset, 5);
    source_close(&longer);
    buffer_done(&buffer);
    buffer_done(&data);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(all_formats),  TEST(block_edges),        TEST(threads),
        TEST(source_reads), TEST(truncated_anywhere), TEST(bad_record_in_any_block),
        TEST(short_reads),  TEST(failing_reads),      TEST(huge_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
