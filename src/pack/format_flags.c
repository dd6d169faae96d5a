/* Flags to a format; see format_flags.h. */
#include "pack/format_flags.h"

#include <string.h>

const char *const format_kind_words[] = {"auto", "text", "binary", NULL};
const char *const format_size_type_words[] = {"u32", "u16", "u64", "varint", NULL};

/* One byte, or a word for one that is hard to type. */
static bool parse_separator(const char *text, unsigned char *ret_separator)
{
    static const struct {
        const char *word;
        unsigned char byte;
    } words[] = {{"tab", '\t'}, {"\\t", '\t'}, {"space", ' '}, {"comma", ','}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(text, words[i].word) == 0) {
            *ret_separator = words[i].byte;
            return true;
        }
    }
    if (text[0] == 0 || text[1] != 0 || text[0] == '\n')
        return false;
    *ret_separator = (unsigned char)text[0];
    return true;
}

static int check(const struct format_flags *flags, struct tarn_error *error)
{
    bool text = flags->separator[0] != 0;
    bool binary = flags->size_type != TARN_SIZE_U32 || flags->big_endian;
    const char *binary_flag = flags->big_endian ? "--big-endian" : "--size-type";
    if (text && (binary || flags->kind == TARN_FORMAT_BINARY))
        return error_set(error, TARN_INVALID,
                         "--separator is for the text format, but %s says binary; leave one out",
                         flags->kind == TARN_FORMAT_BINARY ? "--format" : binary_flag);
    if (binary && flags->kind == TARN_FORMAT_TEXT)
        return error_set(error, TARN_INVALID,
                         "%s is for the binary format, but --format says text; leave one out",
                         binary_flag);
    if (flags->big_endian && flags->size_type == TARN_SIZE_VARINT)
        return error_set(error, TARN_INVALID,
                         "--big-endian: sizes of type varint have no byte order; leave it out");
    return TARN_OK;
}

int format_from_flags(const struct format_flags *flags, struct tarn_format *ret_format,
                      struct tarn_error *error)
{
    struct tarn_format format = {
        .kind = (enum tarn_format_kind)flags->kind,
        .size_type = (enum tarn_size_type)flags->size_type,
        .big_endian = flags->big_endian,
        .separator_set = flags->separator[0] != 0,
    };
    if (format.separator_set && !parse_separator(flags->separator, &format.separator))
        return error_set(error, TARN_INVALID,
                         "--separator: \"%.40s\" is not one byte; write one, or tab or space",
                         flags->separator);
    int status = check(flags, error);
    if (status != TARN_OK)
        return status;
    if (format.separator_set)
        format.kind = TARN_FORMAT_TEXT;
    else if (format.size_type != TARN_SIZE_U32 || format.big_endian)
        format.kind = TARN_FORMAT_BINARY;
    *ret_format = format;
    return TARN_OK;
}
