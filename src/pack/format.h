/* Data file formats: where a record's key and value lie in the bytes. Pure functions.
 *
 * text    key, separator, value, '\n'. The separator is the first space or tab of the line (or a
 *         chosen byte); the value may be empty and may contain separators; the last line may lack
 *         its newline. A line without a separator is an error.
 * binary  key_size, key, value_size, value; sizes u16, u32, u64 or varint (LEB128).
 *
 * Sources: doc/format-text.md, doc/format-binary.md. */
#ifndef PACK_FORMAT_H
#define PACK_FORMAT_H

#include "core/buffer.h"
#include "core/status.h"

struct record {
    struct tarn_bytes key, value; /* views into the data parsed */
    uint64_t size;                /* bytes of the whole record, framing included */
};

/* Why a record could not be parsed. */
enum format_outcome {
    FORMAT_OK,
    FORMAT_INCOMPLETE,   /* the data end inside the record */
    FORMAT_KEY_TOOBIG,   /* over TARN_KEY_BYTES_MAX */
    FORMAT_VALUE_TOOBIG, /* over TARN_VALUE_BYTES_MAX */
    FORMAT_NO_SEPARATOR, /* text: a line without one */
    FORMAT_BAD_SIZE,     /* binary: a varint that overflows 64 bits */
};

/* Parse the record that starts at data + offset (offset < data.size). at_end: data ends where the
 * file ends (so that a last line without newline is whole). Never reads outside data. */
enum format_outcome format_parse(const struct tarn_format *format, struct tarn_bytes data,
                                 uint64_t offset, bool at_end, struct record *ret_record);

/* Of a record whose value may lie beyond what is at hand: what stands before it. */
struct record_head {
    struct tarn_bytes key; /* a view into the data parsed */
    uint64_t value_at;     /* from the record's start; behind the value the record ends */
    uint64_t value_size;   /* UINT64_MAX: text, where it goes on up to the line's end */
};
/* As format_parse(), and INCOMPLETE only if the data end before the value begins. */
enum format_outcome format_parse_head(const struct tarn_format *format, struct tarn_bytes data,
                                      uint64_t offset, struct record_head *ret_head);

/* Fill *error for a failed outcome: "data.bin: record 17 at byte 1234: key size 70000 is over the
 * limit of 65535 bytes". Returns CORRUPT or TOOBIG. */
int format_error(enum format_outcome outcome, const char *path, uint64_t offset, uint64_t record,
                 struct tarn_error *error);

/* Append one record. Errors: TOOBIG; INVALID (text: key or value cannot be written so; u16: a size
 * that does not fit); NOMEM. Nothing is appended on error. */
TARN_MUST int format_encode(const struct tarn_format *format, struct tarn_bytes key,
                            struct tarn_bytes value, struct buffer *out);

/* Check that the fields fit together (see struct tarn_format). INVALID with the reason. */
TARN_MUST int format_check(const struct tarn_format *format, struct tarn_error *error);

/* Guess the format from the first bytes of a file of file_bytes; data.size may be less. An empty
 * file is text. Binary is accepted where the prefix parses as whole records under exactly that
 * size type and byte order. Errors: CORRUPT when nothing fits. */
TARN_MUST int format_detect(struct tarn_bytes prefix, uint64_t file_bytes,
                            struct tarn_format *ret_format, struct tarn_error *error);
#define FORMAT_DETECT_BYTES (1u << 20) /* prefix wanted by format_detect */

/* "text", "text separator ','", "binary u32 little-endian", ... (static or in out). */
const char *format_describe(const struct tarn_format *format, char out[64]);

#endif
