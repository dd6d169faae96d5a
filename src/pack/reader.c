/* Reading a data file record by record.
 *
 * How: a window of the file, [base, base + size), slides along. A record that ends beyond the
 * window makes the rest move to its start and the window be filled up; a record larger than the
 * window doubles it.
 *
 * Invariants
 * 1. base + at is the offset of the next record; at <= size <= capacity.
 * 2. The window never reaches beyond the file's size at open: a file that grows is read up to
 *    there, one that shrinks is an error.
 * 3. capacity is at most twice the largest record: past that, format_parse() has refused it.
 *
 * Failure modes: I/O errors, a shrunk file (IO); a bad record (CORRUPT, TOOBIG, with its place);
 * NOMEM. After an error the reader can only be closed. */
#include "pack/reader.h"

#include <errno.h>
#include <stdlib.h>

#include "core/assert.h"

#define WINDOW_BYTES     ((size_t)FORMAT_DETECT_BYTES)
#define RECORD_BYTES_MAX (TARN_KEY_BYTES_MAX + TARN_VALUE_BYTES_MAX + 32)

struct reader {
    const struct os *os;
    char *path;
    int fd; /* -1: not open */
    struct tarn_format format;
    uint64_t file_bytes;
    unsigned char *window;
    size_t capacity, size, at;
    uint64_t base;
    uint64_t record_offset; /* of the record last returned */
    uint64_t records;       /* returned so far */
};

/* Fill the window up, as far as the file goes. */
static int fill(struct reader *reader, struct tarn_error *error)
{
    uint64_t file_left = reader->file_bytes - reader->base - reader->size;
    size_t room = reader->capacity - reader->size;
    size_t wanted = file_left < room ? (size_t)file_left : room;
    if (wanted == 0)
        return TARN_OK;
    int e = os_read_full(reader->os, reader->fd, reader->window + reader->size, wanted,
                         reader->base + reader->size);
    if (e == -ENODATA)
        return error_set(error, TARN_IO, "%s: the file became shorter while it was read",
                         reader->path);
    if (e < 0)
        return os_error(error, e, "cannot read", reader->path);
    reader->size += wanted;
    return TARN_OK;
}

/* Bring more of the record at `at` into the window. */
static int slide(struct reader *reader, struct tarn_error *error)
{
    if (reader->at > 0) {
        memmove(reader->window, reader->window + reader->at, reader->size - reader->at);
        reader->base += reader->at;
        reader->size -= reader->at;
        reader->at = 0;
    } else {
        ASSERT(reader->size == reader->capacity && reader->capacity < 2 * RECORD_BYTES_MAX);
        unsigned char *larger = realloc(reader->window, 2 * reader->capacity);
        if (!larger)
            return error_set(error, TARN_NOMEM, "%s: out of memory for a record", reader->path);
        reader->window = larger;
        reader->capacity *= 2;
    }
    return fill(reader, error);
}

static int open_file(struct reader *reader, const char *path, struct tarn_error *error)
{
    struct os_file_info info;
    int status = os_open_data(reader->os, path, &reader->fd, &info, error);
    if (status != TARN_OK)
        return status;
    reader->file_bytes = info.size;
    reader->capacity = info.size < WINDOW_BYTES ? (size_t)info.size + 1 : WINDOW_BYTES;
    reader->path = strdup(path);
    reader->window = malloc(reader->capacity);
    if (!reader->path || !reader->window)
        return error_set(error, TARN_NOMEM, "%s: out of memory", path);
    return fill(reader, error);
}

int reader_open(const struct os *os, const char *path, const struct tarn_format *format,
                struct reader **ret_reader, struct tarn_error *error)
{
    int status = format_check(format, error);
    if (status != TARN_OK)
        return status;
    struct reader *reader = calloc(1, sizeof *reader);
    if (!reader)
        return error_set(error, TARN_NOMEM, "%s: out of memory", path);
    *reader = (struct reader){.os = os, .fd = -1, .format = *format};
    status = open_file(reader, path, error);
    if (status == TARN_OK && format->kind == TARN_FORMAT_AUTO) {
        struct tarn_bytes prefix = {reader->window, reader->size};
        status = format_detect(prefix, reader->file_bytes, &reader->format, error);
        if (status != TARN_OK)
            error_prepend(error, "%s", path);
    }
    if (status == TARN_OK && reader->format.kind == TARN_FORMAT_TARN)
        status = error_set(error, TARN_INVALID, "%s: is a tarn file, which has no records in a row",
                           path);
    if (status != TARN_OK) {
        reader_close(reader);
        return status;
    }
    *ret_reader = reader;
    return TARN_OK;
}

void reader_close(struct reader *reader)
{
    if (!reader)
        return;
    if (reader->fd >= 0) /* only read from: a failing close loses nothing */
        (void)reader->os->close(reader->os, reader->fd);
    free(reader->window);
    free(reader->path);
    free(reader);
}

int reader_seek(struct reader *reader, uint64_t offset, uint64_t records, struct tarn_error *error)
{
    ASSERT(offset <= reader->file_bytes);
    reader->base = offset;
    reader->at = reader->size = 0;
    reader->records = records;
    return fill(reader, error);
}

int reader_next(struct reader *reader, struct record *ret_record, struct tarn_error *error)
{
    for (;;) {
        uint64_t offset = reader->base + reader->at;
        if (offset == reader->file_bytes)
            return TARN_NOTFOUND;
        bool at_end = reader->base + reader->size == reader->file_bytes;
        if (reader->at < reader->size) {
            struct tarn_bytes data = {reader->window, reader->size};
            enum format_outcome outcome =
                format_parse(&reader->format, data, reader->at, at_end, ret_record);
            if (outcome == FORMAT_OK) {
                reader->record_offset = offset;
                reader->records++;
                reader->at += ret_record->size;
                return TARN_OK;
            }
            if (outcome != FORMAT_INCOMPLETE || at_end)
                return format_error(outcome, reader->path, offset, reader->records, error);
        }
        int status = slide(reader, error);
        if (status != TARN_OK)
            return status;
    }
}

const struct tarn_format *reader_format(const struct reader *reader)
{
    return &reader->format;
}

uint64_t reader_offset(const struct reader *reader)
{
    return reader->record_offset;
}

uint64_t reader_data_bytes(const struct reader *reader)
{
    return reader->file_bytes;
}
