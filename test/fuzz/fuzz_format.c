/* Data formats under arbitrary bytes: parsing, detection, and encoding what was parsed.
 *
 * The first byte chooses the variant, the rest is the file, copied to its exact size so that a read
 * past its end is seen. What must hold: records tile the data from the start; views lie within
 * their record; encoding a record gives the same bytes back (sizes written in more bytes than
 * needed and a last line without newline excepted); what parses as incomplete parses the same or
 * better with more bytes; detection gives a format that is valid. */
#include <stdlib.h>
#include <string.h>

#include "core/assert.h"
#include "pack/format.h"

static const struct tarn_format variants[] = {
    {.kind = TARN_FORMAT_TEXT},
    {.kind = TARN_FORMAT_TEXT, .separator_set = true, .separator = ','},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U32},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U32, .big_endian = true},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U16},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U16, .big_endian = true},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U64},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U64, .big_endian = true},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_VARINT},
};
#define VARIANTS_COUNT (sizeof variants / sizeof variants[0])

static bool within(struct tarn_bytes view, const unsigned char *start, uint64_t size)
{
    const unsigned char *p = view.data;
    return p >= start && p <= start + size && view.size <= size - (uint64_t)(p - start);
}

static void check_record(const struct tarn_format *format, const unsigned char *start,
                         const struct record *record, bool last)
{
    struct buffer out = {0};
    ASSERT(record->size >= 1 && record->key.size <= TARN_KEY_BYTES_MAX);
    ASSERT(within(record->key, start, record->size) && within(record->value, start, record->size));
    ASSERT(format_encode(format, record->key, record->value, &out) == TARN_OK);
    bool text = format->kind == TARN_FORMAT_TEXT;
    if (text && !format->separator_set) /* a tab is written as a space */
        out.data[record->key.size] = start[record->key.size];
    bool same = out.size == record->size && memcmp(out.data, start, out.size) == 0;
    bool unfinished_line =
        text && last && out.size == record->size + 1 && memcmp(out.data, start, record->size) == 0;
    bool longer_varint = format->size_type == TARN_SIZE_VARINT && out.size < record->size;
    ASSERT(same || unfinished_line || longer_varint);
    buffer_done(&out);
}

static void walk(const struct tarn_format *format, struct tarn_bytes data)
{
    const unsigned char *bytes = data.data;
    struct record record, again;
    for (uint64_t offset = 0; offset < data.size; offset += record.size) {
        enum format_outcome outcome = format_parse(format, data, offset, true, &record);
        enum format_outcome open = format_parse(format, data, offset, false, &again);
        if (outcome != FORMAT_OK) {
            struct tarn_error error;
            ASSERT(open == outcome || open == FORMAT_INCOMPLETE);
            ASSERT(format_error(outcome, "file", offset, 0, &error) < 0);
            return;
        }
        ASSERT(record.size <= data.size - offset);
        bool last = offset + record.size == data.size;
        ASSERT(open == FORMAT_OK ? again.size == record.size : open == FORMAT_INCOMPLETE && last);
        check_record(format, bytes + offset, &record, last);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    if (size == 0)
        return 0;
    unsigned char *copy = malloc(size - 1 ? size - 1 : 1);
    ASSERT(copy);
    memcpy(copy, input + 1, size - 1);
    struct tarn_bytes data = {copy, size - 1};
    walk(&variants[input[0] % VARIANTS_COUNT], data);

    struct tarn_format format = {0};
    struct tarn_error error;
    uint64_t file_bytes = data.size + (input[0] & 0x80 ? 1000 : 0);
    int status = format_detect(data, file_bytes, &format, &error);
    if (status == TARN_OK) {
        char described[64];
        ASSERT(format.kind != TARN_FORMAT_AUTO && format_check(&format, &error) == TARN_OK);
        ASSERT(strlen(format_describe(&format, described)) > 0);
        if (format.kind != TARN_FORMAT_TARN) /* whose records lie in blocks: fuzz_lookup */
            walk(&format, data);
    } else {
        ASSERT(status < 0 && error.text[0] != 0);
    }
    free(copy);
    return 0;
}
