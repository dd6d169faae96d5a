/* A data format as people say it: --format, --separator, --size-type and --big-endian, the same
 * wherever a data file is named. */
#ifndef PACK_FORMAT_FLAGS_H
#define PACK_FORMAT_FLAGS_H

#include "core/status.h"

/* In the order of enum tarn_format_kind and enum tarn_size_type; NULL-terminated. */
extern const char *const format_kind_words[], *const format_size_type_words[];

struct format_flags {
    int kind;      /* index into format_kind_words */
    int size_type; /* into format_size_type_words; 0 if not given */
    bool big_endian;
    const char *separator; /* one byte, or tab, space, comma; "": not given */
};

/* A flag of one format chooses that format. Errors: INVALID, naming the flags that do not go
 * together. */
TARN_MUST int format_from_flags(const struct format_flags *flags, struct tarn_format *ret_format,
                                struct tarn_error *error);

#endif
