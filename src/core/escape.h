/* Text forms of arbitrary bytes: JSON strings, Prometheus labels, base64; and UTF-8 validity.
 * Pure. Appends follow core/buffer.h: they never fail half-way, the caller checks `failed`. */
#ifndef CORE_ESCAPE_H
#define CORE_ESCAPE_H

#include "core/buffer.h"

/* Are the bytes well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF)?
 */
bool utf8_valid(struct tarn_bytes bytes);

/* "..." with quotes. bytes must be valid UTF-8 (others are copied as they are). */
void escape_json(struct buffer *out, struct tarn_bytes bytes);

/* The same for bytes of unknown origin: what is not UTF-8 becomes U+FFFD. For error texts. */
void escape_json_lossy(struct buffer *out, struct tarn_bytes bytes);

/* A member of an object: "name":"..."; or "name_base64":"..." where the bytes are not UTF-8, have a
 * NUL, or would be longer with their escapes. So it takes at most 4/3 of them and 32 bytes more
 * than the name. */
void escape_json_member(struct buffer *out, struct tarn_bytes name, struct tarn_bytes bytes);

/* The inside of a Prometheus label value: \ " and newline escaped. */
void escape_prometheus(struct buffer *out, struct tarn_bytes bytes);

/* Standard alphabet with padding, RFC 4648 section 4. */
void base64_append(struct buffer *out, struct tarn_bytes bytes);

/* Decode standard base64 (padding required, no white space). out: at least text.size / 4 * 3
 * bytes; may be the text itself. False if malformed. */
bool base64_decode(struct tarn_bytes text, unsigned char *out, size_t *ret_size);

#endif
