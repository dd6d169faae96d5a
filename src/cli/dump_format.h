/* The formats of dumps: how a record with its expiry lies in one, and back. doc/tools.md.
 *
 *     json    a line a record: {"key":"k","value":"v","expire_ms":1} ; key_base64, value_base64
 *     cbor    a CBOR sequence (RFC 8742) of maps with the same names; key and value are bytes
 *     text    tarn's data files of lines; no newlines, no expiry
 *     binary  tarn's data files of sized records; no expiry
 *
 * Pure. */
#ifndef CLI_DUMP_FORMAT_H
#define CLI_DUMP_FORMAT_H

#include <stddef.h>

#include "core/options.h"
#include "pack/format_flags.h"

enum dump_kind { DUMP_JSON, DUMP_CBOR, DUMP_TEXT, DUMP_BINARY };
extern const char *const dump_kind_words[]; /* in the order of the enum */

struct dump_format {
    enum dump_kind kind;
    struct tarn_format data; /* of text and binary */
};

/* Its flags: --format, --separator, --size-type, --big-endian. at: offset in the option values. */
struct dump_flags {
    int kind, size_type;
    bool big_endian;
    char *separator;
};
#define DUMP_FLAGS_ROWS(at, meaning)                                                               \
    {"format",                                                                                     \
     OPTION_WORD,                                                                                  \
     (at) + offsetof(struct dump_flags, kind),                                                     \
     "json",                                                                                       \
     "FORMAT",                                                                                     \
     meaning,                                                                                      \
     .words = dump_kind_words},                                                                    \
        {"separator",                                                                              \
         OPTION_TEXT,                                                                              \
         (at) + offsetof(struct dump_flags, separator),                                            \
         NULL,                                                                                     \
         "CHAR",                                                                                   \
         "Text: what ends a key, one byte, tab or space; without it space"},                       \
        {"size-type",                                                                              \
         OPTION_WORD,                                                                              \
         (at) + offsetof(struct dump_flags, size_type),                                            \
         "u32",                                                                                    \
         "TYPE",                                                                                   \
         "Binary: how sizes are written",                                                          \
         .words = format_size_type_words},                                                         \
    {                                                                                              \
        "big-endian", OPTION_BOOL, (at) + offsetof(struct dump_flags, big_endian), NULL, NULL,     \
            "Binary: sizes have their high byte first"                                             \
    }
/* Errors: INVALID, naming the flags that do not go together. */
TARN_MUST int dump_format_from_flags(const struct dump_flags *flags, struct dump_format *ret_format,
                                     struct tarn_error *error);

/* Append a record. INVALID: it cannot be written so, *ret_why says why ("the key has a newline");
 * nothing is appended. Errors: INVALID, NOMEM. */
TARN_MUST int dump_encode(const struct dump_format *format, const struct tarn_record *record,
                          struct buffer *out, const char **ret_why);

enum dump_outcome {
    DUMP_RECORD,     /* one is taken */
    DUMP_NOTHING,    /* an empty line */
    DUMP_INCOMPLETE, /* the bytes end within one */
    DUMP_BAD,        /* error says what is wrong, and where */
};

/* Where bytes lie in what is read, for errors. */
struct dump_place {
    const char *path;
    uint64_t offset, record, line; /* record from 0, line from 1 */
};

/* Take what is at the start of the bytes, which are changed: strings are decoded over themselves.
 * at_end: nothing follows. ret_size: bytes taken. ret_record: views into the bytes. */
enum dump_outcome dump_decode(const struct dump_format *format, unsigned char *data, size_t size,
                              bool at_end, const struct dump_place *place, size_t *ret_size,
                              struct tarn_record *ret_record, struct tarn_error *error);

/* A record is never longer than this: in JSON each byte may be an escape of six. */
static inline uint64_t dump_record_bytes_max(const struct dump_format *format)
{
    return (uint64_t)(format->kind == DUMP_JSON ? 6 : 1) *
               (TARN_KEY_BYTES_MAX + TARN_VALUE_BYTES_MAX) +
           4096;
}

/* Inside: one format's part of dump_encode() and dump_decode(). */
void dump_json_encode(const struct tarn_record *record, struct buffer *out);
enum dump_outcome dump_json_decode(unsigned char *data, size_t size, bool at_end,
                                   const struct dump_place *place, size_t *ret_size,
                                   struct tarn_record *ret_record, struct tarn_error *error);
void dump_cbor_encode(const struct tarn_record *record, struct buffer *out);
enum dump_outcome dump_cbor_decode(unsigned char *data, size_t size, const struct dump_place *place,
                                   size_t *ret_size, struct tarn_record *ret_record,
                                   struct tarn_error *error);

#endif
