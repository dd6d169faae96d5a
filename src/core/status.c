/* Status codes and the error object.
 *
 * How: text is formatted into a local array first, so that an error's own text may be among the
 * arguments, then made one printable line: control bytes (a path may hold a newline) become '?'.
 *
 * Invariants
 * 1. error->text is always NUL-terminated and holds no control byte.
 * 2. A text that does not fit is cut and ends in "...".
 * Failure modes: none; a NULL error object is allowed everywhere. */
#include "core/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define TEXT_BYTES sizeof(((struct tarn_error *)0)->text)

const char *tarn_status_text(int status)
{
    switch (status) {
#define X(name, value, text)                                                                       \
    case value:                                                                                    \
        return text;
        TARN_STATUS_MAP(X)
#undef X
    default:
        return "unknown status";
    }
}

/* Mark a text cut to TEXT_BYTES. length: what the whole text has, in bytes without the NUL. */
static void mark_cut(char *text, size_t length)
{
    if (length >= TEXT_BYTES)
        memcpy(text + TEXT_BYTES - 4, "...", 4);
}

static void replace_control_bytes(char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == 0x7f)
            *text = '?';
    }
}

__attribute__((format(printf, 5, 0))) static int set_va(struct tarn_error *error, int status,
                                                        uint64_t offset, uint64_t record,
                                                        const char *format, va_list arguments)
{
    if (!error)
        return status;
    char text[TEXT_BYTES];
    int length = vsnprintf(text, sizeof text, format, arguments);
    if (length < 0)
        memcpy(text, "(no text)", sizeof "(no text)");
    else
        mark_cut(text, (size_t)length);
    replace_control_bytes(text);
    error->status = status;
    error->offset = offset;
    error->record = record;
    memcpy(error->text, text, strlen(text) + 1);
    return status;
}

int error_set(struct tarn_error *error, int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    set_va(error, status, UINT64_MAX, UINT64_MAX, format, arguments);
    va_end(arguments);
    return status;
}

int error_set_at(struct tarn_error *error, int status, uint64_t offset, uint64_t record,
                 const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    set_va(error, status, offset, record, format, arguments);
    va_end(arguments);
    return status;
}

void error_prepend(struct tarn_error *error, const char *format, ...)
{
    if (!error)
        return;
    char context[TEXT_BYTES], text[2 * TEXT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(context, sizeof context, format, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    length = snprintf(text, sizeof text, "%s: %s", context, error->text);
    mark_cut(text, (size_t)length);
    text[TEXT_BYTES - 1] = 0;
    replace_control_bytes(text);
    memcpy(error->text, text, strlen(text) + 1);
}
