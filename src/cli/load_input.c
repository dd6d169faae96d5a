/* Reading a dump record by record, from a file or a pipe.
 *
 * How: what was read lies in a buffer, from which records are taken. One that is not whole yet has
 * the buffer filled up to twice of what it holds, so that a long record is looked at a few times
 * only.
 * Invariants: `at` <= bytes.size; place is that of bytes[at].
 * Failure modes: those of reading; a record over the format's bound; what the format finds wrong.
 */
#include "cli/load.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "core/status.h"

#define READ_BYTES (256u << 10)

int load_input_open(struct load_input *input, const struct os *os, const char *path,
                    const struct dump_format *format, struct tarn_error *error)
{
    *input = (struct load_input){
        .os = os,
        .format = format,
        .fd = STDIN_FILENO,
        .is_stdin = strcmp(path, "-") == 0,
        .place = {.path = path, .line = 1},
    };
    if (input->is_stdin) {
        input->place.path = "standard input";
        return TARN_OK;
    }
    struct os_file_info info;
    int status = os_open_data(os, path, &input->fd, &info, error);
    if (status == TARN_OK)
        input->file_bytes = info.size;
    return status;
}

void load_input_close(struct load_input *input)
{
    if (!input->is_stdin)
        (void)input->os->close(input->os, input->fd); /* nothing was written */
    buffer_done(&input->bytes);
}

/* One read to the end of the buffer; 0 bytes: the end. */
static int read_some(struct load_input *input, size_t room, struct tarn_error *error)
{
    struct buffer *b = &input->bytes;
    size_t size = 0;
    int result = 0;
    if (input->is_stdin) {
        ssize_t n;
        do
            n = read(input->fd, b->data + b->size, room);
        while (n < 0 && errno == EINTR);
        result = n < 0 ? -errno : 0;
        size = n > 0 ? (size_t)n : 0;
    } else {
        uint64_t offset = input->place.offset + b->size - input->at;
        result = input->os->read_at(input->os, input->fd, b->data + b->size, room, offset, &size);
    }
    if (result < 0)
        return os_error(error, result, "cannot read", input->place.path);
    input->ended = size == 0;
    b->size += size;
    return TARN_OK;
}

/* More bytes behind those that are there. */
static int fill(struct load_input *input, struct tarn_error *error)
{
    struct buffer *b = &input->bytes;
    buffer_consume(b, input->at);
    input->at = 0;
    if (b->size > dump_record_bytes_max(input->format))
        return error_set_at(error, TARN_TOOBIG, input->place.offset, input->place.record,
                            "%s: record %llu at byte %llu is longer than any record can be",
                            input->place.path, (unsigned long long)input->place.record,
                            (unsigned long long)input->place.offset);
    size_t wanted = b->size > READ_BYTES ? 2 * b->size : b->size + READ_BYTES;
    if (!buffer_reserve(b, wanted - b->size))
        return error_set(error, TARN_NOMEM, "%s: out of memory", input->place.path);
    int status = TARN_OK;
    while (status == TARN_OK && !input->ended && b->size < wanted) {
        status = read_some(input, wanted - b->size, error);
        if (input->is_stdin)
            break; /* what a pipe has may be all for now */
    }
    return status;
}

/* Move on behind `size` bytes. */
static void advance(struct load_input *input, size_t size, bool is_record)
{
    input->at += size;
    input->place.offset += size;
    input->place.record += is_record;
    input->place.line++; /* of formats that have lines */
}

int load_input_next(struct load_input *input, struct tarn_record *ret_record,
                    struct dump_place *ret_place, struct tarn_error *error)
{
    for (;;) {
        size_t size, left = input->bytes.size - input->at;
        enum dump_outcome outcome = DUMP_INCOMPLETE;
        if (left > 0)
            outcome = dump_decode(input->format, input->bytes.data + input->at, left, input->ended,
                                  &input->place, &size, ret_record, error);
        switch (outcome) {
        case DUMP_RECORD:
            *ret_place = input->place;
            advance(input, size, true);
            return TARN_OK;
        case DUMP_NOTHING:
            advance(input, size, false);
            break;
        case DUMP_INCOMPLETE: {
            if (input->ended)
                return TARN_NOTFOUND;
            int status = fill(input, error);
            if (status != TARN_OK)
                return status;
            break;
        }
        default:
            return error->status;
        }
    }
}

void load_error_place(struct tarn_error *error, const struct dump_format *format,
                      const struct dump_place *place)
{
    error->offset = place->offset;
    error->record = place->record;
    if (format->kind == DUMP_JSON || format->kind == DUMP_TEXT)
        error_prepend(error, "%s: line %llu", place->path, (unsigned long long)place->line);
    else
        error_prepend(error, "%s: record %llu at byte %llu", place->path,
                      (unsigned long long)place->record, (unsigned long long)place->offset);
}
