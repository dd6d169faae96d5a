/* Dumps as text and binary, and the choice of the format; see dump_format.h.
 *
 * Failure modes: what cannot be written is INVALID with the reason; what cannot be read is BAD with
 * file, place and reason. */
#include "cli/dump_format.h"

#include "pack/format.h"

const char *const dump_kind_words[] = {"json", "cbor", "text", "binary", NULL};

int dump_format_from_flags(const struct dump_flags *flags, struct dump_format *ret_format,
                           struct tarn_error *error)
{
    struct format_flags data = {
        .kind = flags->kind == DUMP_TEXT     ? TARN_FORMAT_TEXT
                : flags->kind == DUMP_BINARY ? TARN_FORMAT_BINARY
                                             : TARN_FORMAT_AUTO,
        .size_type = flags->size_type,
        .big_endian = flags->big_endian,
        .separator = flags->separator,
    };
    struct tarn_format format;
    int status = format_from_flags(&data, &format, error);
    if (status != TARN_OK)
        return status;
    if (data.kind == TARN_FORMAT_AUTO && format.kind != TARN_FORMAT_AUTO)
        return error_set(error, TARN_INVALID, "%s needs --format %s",
                         format.kind == TARN_FORMAT_TEXT ? "--separator"
                         : flags->big_endian             ? "--big-endian"
                                                         : "--size-type",
                         format.kind == TARN_FORMAT_TEXT ? "text" : "binary");
    *ret_format = (struct dump_format){(enum dump_kind)flags->kind, format};
    return TARN_OK;
}

static bool has(struct tarn_bytes bytes, int byte)
{
    return bytes.size > 0 && memchr(bytes.data, byte, bytes.size) != NULL;
}

/* Why format_encode() would not. */
static const char *why_not(const struct tarn_format *format, const struct tarn_record *record)
{
    if (format->kind == TARN_FORMAT_BINARY)
        return "its value is over 65,535 bytes, which --size-type u16 cannot say";
    if (has(record->key, '\n'))
        return "its key has a newline, which text cannot hold";
    if (has(record->value, '\n'))
        return "its value has a newline, which text cannot hold";
    return "its key has the separator, which text cannot hold";
}

static int encode_data(const struct dump_format *format, const struct tarn_record *record,
                       struct buffer *out, const char **ret_why)
{
    if (record->expire_ms != 0) {
        *ret_why = "it has an expiry, which only json and cbor can hold";
        return TARN_INVALID;
    }
    int status = format_encode(&format->data, record->key, record->value, out);
    if (status == TARN_INVALID)
        *ret_why = why_not(&format->data, record);
    return status;
}

int dump_encode(const struct dump_format *format, const struct tarn_record *record,
                struct buffer *out, const char **ret_why)
{
    if (format->kind == DUMP_TEXT || format->kind == DUMP_BINARY)
        return encode_data(format, record, out, ret_why);
    if (format->kind == DUMP_JSON)
        dump_json_encode(record, out);
    else
        dump_cbor_encode(record, out);
    return out->failed ? TARN_NOMEM : TARN_OK;
}

static enum dump_outcome decode_data(const struct dump_format *format, struct tarn_bytes bytes,
                                     bool at_end, const struct dump_place *place, size_t *ret_size,
                                     struct tarn_record *ret_record, struct tarn_error *error)
{
    struct record record;
    enum format_outcome outcome = format_parse(&format->data, bytes, 0, at_end, &record);
    if (outcome == FORMAT_INCOMPLETE && !at_end)
        return DUMP_INCOMPLETE;
    if (outcome != FORMAT_OK) {
        format_error(outcome, place->path, place->offset, place->record, error);
        return DUMP_BAD;
    }
    *ret_size = record.size;
    *ret_record = (struct tarn_record){.key = record.key, .value = record.value};
    return DUMP_RECORD;
}

enum dump_outcome dump_decode(const struct dump_format *format, unsigned char *data, size_t size,
                              bool at_end, const struct dump_place *place, size_t *ret_size,
                              struct tarn_record *ret_record, struct tarn_error *error)
{
    switch (format->kind) {
    case DUMP_JSON:
        return dump_json_decode(data, size, at_end, place, ret_size, ret_record, error);
    case DUMP_CBOR: {
        enum dump_outcome outcome =
            dump_cbor_decode(data, size, place, ret_size, ret_record, error);
        if (outcome != DUMP_INCOMPLETE || !at_end)
            return outcome;
        error_set_at(error, TARN_CORRUPT, place->offset, place->record,
                     "%s: record %llu at byte %llu: the file ends inside it", place->path,
                     (unsigned long long)place->record, (unsigned long long)place->offset);
        return DUMP_BAD;
    }
    default:
        return decode_data(format, (struct tarn_bytes){data, size}, at_end, place, ret_size,
                           ret_record, error);
    }
}
