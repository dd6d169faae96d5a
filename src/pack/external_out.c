/* The file that becomes the index: appended to in pieces of INDEX_PIECE_BYTES, each of which has a
 * checksum, so that a build can go on with a file that it left.
 *
 * Invariant: `piece` holds the bytes of the last piece that is not whole, sums those of the others.
 * Failure modes: a full disk and other failing writes. */
#include <errno.h>
#include <stdlib.h>

#include "core/assert.h"
#include "core/codec.h"
#include "pack/external_internal.h"

int out_open(struct out *o, const struct os *os, const char *path, int fd, uint64_t base,
             uint64_t size, struct tarn_bytes sums, struct tarn_error *error)
{
    *o = (struct out){.os = os, .path = path, .fd = fd, .base = base, .size = size};
    o->piece = malloc(INDEX_PIECE_BYTES);
    buffer_append(&o->sums, sums.data, sums.size);
    if (o->piece == NULL || o->sums.failed)
        return error_set(error, TARN_NOMEM, "%s: out of memory", path);
    uint64_t whole = size / INDEX_PIECE_BYTES;
    if (sums.size != whole * sizeof(uint64_t))
        return error_set(error, TARN_CORRUPT, "%s: not as long as it was; use --restart", path);
    int result = os_read_full(os, fd, o->piece, (size_t)(size % INDEX_PIECE_BYTES),
                              base + whole * INDEX_PIECE_BYTES);
    if (result == -ENODATA)
        return error_set(error, TARN_CORRUPT, "%s: not as long as it was; use --restart", path);
    return result < 0 ? os_error(error, result, "cannot read", path) : TARN_OK;
}

void out_close(struct out *o)
{
    free(o->piece);
    buffer_done(&o->sums);
    *o = (struct out){.os = NULL};
}

int out_flush(struct out *o, struct tarn_error *error)
{
    size_t used = (size_t)(o->size % INDEX_PIECE_BYTES);
    int result = os_write_full(o->os, o->fd, o->piece, used, o->base + o->size - used);
    return result < 0 ? os_error(error, result, "cannot write", o->path) : TARN_OK;
}

/* The piece is whole: o->size is behind it. */
static int write_piece(struct out *o, struct tarn_error *error)
{
    uint64_t sum = hash_checksum(o->piece, INDEX_PIECE_BYTES, 0);
    uint64_t at = o->base + o->size - INDEX_PIECE_BYTES;
    buffer_append(&o->sums, &sum, sizeof sum);
    if (o->sums.failed)
        return error_set(error, TARN_NOMEM, "%s: out of memory", o->path);
    int result = os_write_full(o->os, o->fd, o->piece, INDEX_PIECE_BYTES, at);
    if (result < 0)
        return os_error(error, result, "cannot write", o->path);
    o->os->write_soon(o->os, o->fd, at, INDEX_PIECE_BYTES);
    return TARN_OK;
}

int out_append(struct out *o, const void *data, size_t size, struct tarn_error *error)
{
    int status = TARN_OK;
    while (size > 0 && status == TARN_OK) {
        size_t used = (size_t)(o->size % INDEX_PIECE_BYTES);
        size_t part = INDEX_PIECE_BYTES - used < size ? INDEX_PIECE_BYTES - used : size;
        memcpy(o->piece + used, data, part);
        data = (const char *)data + part;
        size -= part;
        o->size += part;
        if (o->size % INDEX_PIECE_BYTES == 0)
            status = write_piece(o, error);
    }
    return status;
}

int out_pad(struct out *o, struct tarn_error *error)
{
    static const char zeros[8];
    return out_append(o, zeros, (size_t)(-o->size & 7), error);
}

uint64_t out_checksum(struct out *o)
{
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    size_t used = (size_t)(o->size % INDEX_PIECE_BYTES);
    unsigned char last[8];
    store_u64le(last, hash_checksum(o->piece, used, 0));
    XXH3_64bits_update(&state, o->sums.data, o->sums.size);
    XXH3_64bits_update(&state, last, used > 0 ? sizeof last : 0);
    return XXH3_64bits_digest(&state);
}
