/* The manifest's text: what a directory's files mean. doc/durability.md. */
#ifndef STORE_MANIFEST_H
#define STORE_MANIFEST_H

#include "core/buffer.h"
#include "store/directory.h"

#define MANIFEST_BYTES_MAX (16u << 10)

/* Append the text to out (which fails as buffers do). */
void manifest_write(const struct manifest *manifest, struct buffer *out);

/* False: this is not, byte for byte, what manifest_write() gives for any manifest. */
bool manifest_read(struct tarn_bytes text, struct manifest *ret_manifest);

#endif
