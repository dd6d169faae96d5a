/* Goal: what was put aside is read back, each stream whole and in its order, also after going on
 * with the file; what is not what was written is an error, never other bytes. Method: streams
 * filled at random by several threads, held against copies in memory; every byte of the file
 * flipped, every length cut.
 *
 * Bugs planted once to see it fail: an extent's checksum not compared; the id not compared. */
#include "lib/test.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/random.h"
#include "lib/fault_os.h"
#include "lib/scratch.h"
#include "os/parallel.h"
#include "pack/spill.h"

enum { STREAMS = 5, THREADS = 3 };

struct fixture {
    struct scratch scratch;
    char path[SCRATCH_PATH_BYTES];
    struct fault_os faults;
    struct spill spill;
    uint64_t written[STREAMS]; /* u64s of each stream */
};

static int setup(void **context)
{
    struct fixture *f = calloc(1, sizeof *f);
    scratch_open(&f->scratch);
    scratch_name(&f->scratch, "spill", f->path);
    fault_os_init(&f->faults, NULL);
    *context = f;
    return 0;
}

static int teardown(void **context)
{
    struct fixture *f = *context;
    spill_close(&f->spill);
    assert_true(fault_os_clean(&f->faults));
    fault_os_done(&f->faults);
    scratch_close(&f->scratch);
    free(f);
    return 0;
}

static int open_spill(struct fixture *f, uint64_t end, struct tarn_error *error)
{
    spill_close(&f->spill);
    return spill_open(&f->spill, &f->faults.os, f->path, 77, STREAMS, SPILL_BUFFER_BYTES_MIN, end,
                      error);
}

/* Append the next `count` numbers of a stream: each is its place and the stream. */
static void append(struct fixture *f, unsigned stream, uint64_t count)
{
    struct tarn_error error;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t number = f->written[stream]++ << 8 | stream;
        if (spill_append(&f->spill, stream, &number, sizeof number, &error) != TARN_OK)
            fail_msg("%s", error.text);
    }
}

struct check {
    unsigned stream;
    uint64_t seen;
};

static int take(void *context, struct tarn_bytes piece, struct tarn_error *error)
{
    struct check *c = context;
    (void)error;
    assert_int_equal(piece.size % 8, 0);
    for (size_t at = 0; at < piece.size; at += 8) {
        uint64_t number;
        memcpy(&number, (const char *)piece.data + at, 8);
        assert_int_equal(number, c->seen++ << 8 | c->stream);
    }
    return TARN_OK;
}

static int read_stream(struct fixture *f, unsigned stream, struct tarn_error *error)
{
    struct check c = {.stream = stream};
    struct buffer buffer = {0};
    int status = spill_read(&f->spill, stream, stream, &buffer, take, &c, error);
    buffer_done(&buffer);
    if (status == TARN_OK) {
        assert_int_equal(c.seen, f->written[stream]);
        assert_int_equal(spill_bytes(&f->spill, stream), 8 * c.seen);
    }
    return status;
}

static void check_all(struct fixture *f)
{
    struct tarn_error error;
    assert_int_equal(spill_flush(&f->spill, &error), TARN_OK);
    spill_group(&f->spill);
    for (unsigned s = 0; s < STREAMS; s++)
        if (read_stream(f, s, &error) != TARN_OK)
            fail_msg("%s", error.text);
}

static void written_and_read(void **context)
{
    struct fixture *f = *context;
    struct tarn_error error;
    uint64_t random = 1;
    assert_int_equal(open_spill(f, 0, &error), TARN_OK);
    check_all(f); /* nothing at all */
    for (int life = 0; life < 4; life++) {
        for (int i = 0; i < 50; i++)
            append(f, (unsigned)(random_next(&random) % (STREAMS - 1)),
                   random_next(&random) % 2000);
        check_all(f);
        assert_int_equal(spill_sync(&f->spill, &error), TARN_OK);
        uint64_t end = f->spill.end, before = f->written[0];
        append(f, 0, 3000); /* lost: behind what is gone on with */
        f->written[0] = before;
        assert_int_equal(open_spill(f, end, &error), TARN_OK);
        check_all(f);
        assert_int_equal(spill_resize(&f->spill, SPILL_BUFFER_BYTES_MIN << life, &error), TARN_OK);
    }
}

static void append_thread(void *context, unsigned thread)
{
    append(context, thread, 20000);
}

static void by_threads(void **context)
{
    struct fixture *f = *context;
    struct tarn_error error;
    assert_int_equal(open_spill(f, 0, &error), TARN_OK);
    parallel_run(THREADS, append_thread, f);
    check_all(f);
}

/* All streams, or why not. */
static int read_all(struct fixture *f, uint64_t end, struct tarn_error *error)
{
    int status = open_spill(f, end, error);
    if (status == TARN_OK)
        spill_group(&f->spill);
    for (unsigned s = 0; s < STREAMS && status == TARN_OK; s++)
        status = read_stream(f, s, error);
    return status;
}

static void damaged(void **context)
{
    struct fixture *f = *context;
    struct tarn_error error;
    struct buffer file = {0};
    assert_int_equal(open_spill(f, 0, &error), TARN_OK);
    append(f, 1, 40);
    append(f, 3, 9);
    check_all(f);
    uint64_t end = f->spill.end;
    spill_close(&f->spill);
    assert_true(file_read(f->path, &file));
    for (size_t at = 0; at < file.size; at++) {
        file.data[at] ^= 0x20;
        file_write(f->path, buffer_view(&file));
        if (read_all(f, end, &error) != TARN_CORRUPT)
            fail_msg("byte %zu", at);
        assert_non_null(strstr(error.text, "--restart"));
        file.data[at] ^= 0x20;
    }
    for (size_t size = 0; size < file.size; size++) {
        file_write(f->path, (struct tarn_bytes){file.data, size});
        assert_int_equal(read_all(f, end, &error), TARN_CORRUPT);
    }
    spill_close(&f->spill);
    file_write(f->path, buffer_view(&file));
    assert_int_equal(spill_open(&f->spill, &f->faults.os, f->path, 78, STREAMS,
                                SPILL_BUFFER_BYTES_MIN, end, &error),
                     TARN_CORRUPT); /* of another build */
    buffer_done(&file);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {TEST(written_and_read), TEST(by_threads), TEST(damaged)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
