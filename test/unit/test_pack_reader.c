/* Goal: reader_next() gives every record of a file exactly once, with its offset, whatever the
 * sizes relative to the window; bad records and I/O failures are errors that name the place.
 * Method: real files in a temporary directory, larger and smaller than the window, with records
 * larger than it; an `os` whose reads are short, fail, or end early. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "pack/reader.h"

static char path[] = "/tmp/tarn-test-reader-XXXXXX";

static int setup(void **context)
{
    (void)context;
    int fd = mkstemp(path);
    if (fd < 0)
        return -1;
    close(fd);
    return 0;
}

static int teardown(void **context)
{
    (void)context;
    return unlink(path);
}

static void write_file(const struct buffer *content)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    if (content->size > 0)
        assert_int_equal(fwrite(content->data, 1, content->size, f), content->size);
    assert_int_equal(fclose(f), 0);
}

/* Record i of a file: sizes from tiny to `largest`, contents from its number. */
static void sample(size_t i, size_t largest, struct buffer *key, struct buffer *value)
{
    buffer_clear(key);
    buffer_clear(value);
    buffer_printf(key, "key-%zu", i);
    size_t size = i % 7 == 3 ? largest - i % 13 : (i * 7919) % 300;
    buffer_reserve(value, size);
    for (size_t j = 0; j < size; j++)
        value->data[value->size++] = (unsigned char)('a' + (i + j) % 26);
}

/* Trips on: records lost, doubled or torn where the window slides or grows. */
static void check_file(const struct os *os, const struct tarn_format *format, size_t count,
                       size_t largest, bool detect)
{
    struct buffer file = {0}, key = {0}, value = {0};
    for (size_t i = 0; i < count; i++) {
        sample(i, largest, &key, &value);
        assert_int_equal(format_encode(format, buffer_view(&key), buffer_view(&value), &file),
                         TARN_OK);
    }
    write_file(&file);
    struct reader *reader = NULL;
    struct tarn_error error;
    struct tarn_format given = detect ? (struct tarn_format){0} : *format;
    assert_int_equal(reader_open(os, path, &given, &reader, &error), TARN_OK);
    assert_int_equal(reader_data_bytes(reader), file.size);
    assert_int_equal(reader_format(reader)->kind, format->kind);
    uint64_t offset = 0;
    struct record record;
    for (size_t i = 0; i < count; i++) {
        sample(i, largest, &key, &value);
        assert_int_equal(reader_next(reader, &record, &error), TARN_OK);
        assert_true(bytes_equal(record.key, buffer_view(&key)));
        assert_true(bytes_equal(record.value, buffer_view(&value)));
        assert_int_equal(reader_offset(reader), offset);
        offset += record.size;
    }
    assert_int_equal(reader_next(reader, &record, &error), TARN_NOTFOUND);
    assert_int_equal(reader_next(reader, &record, &error), TARN_NOTFOUND);
    reader_close(reader);
    buffer_done(&file);
    buffer_done(&key);
    buffer_done(&value);
}

static const struct tarn_format text = {.kind = TARN_FORMAT_TEXT};
static const struct tarn_format u32 = {.kind = TARN_FORMAT_BINARY};
static const struct tarn_format varint = {.kind = TARN_FORMAT_BINARY,
                                          .size_type = TARN_SIZE_VARINT};

static void test_files(void **context)
{
    (void)context;
    const struct tarn_format *formats[] = {&text, &u32, &varint};
    for (size_t f = 0; f < 3; f++) {
        check_file(os_real(), formats[f], 0, 20, false);
        check_file(os_real(), formats[f], 1, 20, false);
        check_file(os_real(), formats[f], 5, 20, f < 2);
        check_file(os_real(), formats[f], 20000, 400, f < 2);  /* several windows */
        check_file(os_real(), formats[f], 40, 3 << 20, f < 2); /* records over the window */
    }
}

/* An os that reads at most 1000 bytes at a time, fails, or meets an early end, from offset on. */
struct faulty {
    uint64_t from;
    int failure; /* errno, or 0: end of file, or -1: none */
};

static int faulty_read(const struct os *os, int fd, void *data, size_t size, uint64_t offset,
                       size_t *ret_size)
{
    const struct faulty *faulty = os->context;
    if (size > 1000)
        size = 1000;
    if (faulty->failure >= 0 && offset + size > faulty->from) {
        *ret_size = 0;
        return -faulty->failure;
    }
    return os_real()->read_at(os_real(), fd, data, size, offset, ret_size);
}

static void test_short_reads(void **context)
{
    (void)context;
    struct faulty faulty = {.failure = -1};
    struct os os = *os_real();
    os.read_at = faulty_read;
    os.context = &faulty;
    check_file(&os, &u32, 8000, 400, true);
}

static void test_read_failures(void **context)
{
    (void)context;
    struct buffer file = {0}, key = {0}, value = {0};
    for (size_t i = 0; i < 20000; i++) {
        sample(i, 400, &key, &value);
        assert_int_equal(format_encode(&u32, buffer_view(&key), buffer_view(&value), &file), 0);
    }
    assert_true(file.size > 2 << 20);
    write_file(&file);
    static const struct faulty faults[] = {
        {0, EIO}, {0, 0}, {(1 << 20) + 5, EIO}, {(1 << 20) + 5, 0}, {2 << 20, EIO}};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        struct faulty faulty = faults[i];
        struct os os = *os_real();
        os.read_at = faulty_read;
        os.context = &faulty;
        struct reader *reader = NULL;
        struct tarn_error error = {.text = ""};
        struct record record;
        int status = reader_open(&os, path, &u32, &reader, &error);
        assert_int_equal(status, faulty.from == 0 ? TARN_IO : TARN_OK);
        while (status == TARN_OK)
            status = reader_next(reader, &record, &error);
        assert_int_equal(status, TARN_IO);
        assert_non_null(strstr(error.text, path));
        reader_close(reader);
    }
    buffer_done(&file);
    buffer_done(&key);
    buffer_done(&value);
}

static void test_bad_records(void **context)
{
    (void)context;
    struct buffer file = {0};
    struct reader *reader = NULL;
    struct tarn_error error;
    struct record record;

    buffer_append(&file, "\x03\0\0\0key\x05\0\0\0value\x03\0\0\0ke", 22);
    write_file(&file);
    assert_int_equal(reader_open(os_real(), path, &u32, &reader, &error), TARN_OK);
    assert_int_equal(reader_next(reader, &record, &error), TARN_OK);
    assert_int_equal(reader_next(reader, &record, &error), TARN_CORRUPT);
    assert_int_equal(error.offset, 16);
    assert_int_equal(error.record, 1);
    assert_non_null(strstr(error.text, path));
    assert_non_null(strstr(error.text, "record 1 at byte 16"));
    reader_close(reader);

    /* the same detected: the error comes from open, with path and place */
    const struct tarn_format automatic = {0};
    reader = NULL;
    assert_int_equal(reader_open(os_real(), path, &automatic, &reader, &error), TARN_CORRUPT);
    assert_null(reader);
    assert_non_null(strstr(error.text, path));
    assert_int_equal(error.offset, 16);
    assert_int_equal(error.record, 1);
    buffer_done(&file);
}

static void test_open_failures(void **context)
{
    (void)context;
    struct reader *reader = NULL;
    struct tarn_error error;
    assert_int_equal(reader_open(os_real(), "/nonexistent/x", &text, &reader, &error),
                     TARN_MISSING);
    assert_int_equal(reader_open(os_real(), "/tmp", &text, &reader, &error), TARN_INVALID);
    assert_int_equal(reader_open(os_real(), "/dev/null", &text, &reader, &error), TARN_INVALID);
    const struct tarn_format wrong = {.kind = TARN_FORMAT_TEXT, .big_endian = true};
    assert_int_equal(reader_open(os_real(), path, &wrong, &reader, &error), TARN_INVALID);
    assert_null(reader);
    reader_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),         cmocka_unit_test(test_short_reads),
        cmocka_unit_test(test_read_failures), cmocka_unit_test(test_bad_records),
        cmocka_unit_test(test_open_failures),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
