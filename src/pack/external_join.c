/* The end of an external build: what is not the function or the pages, and the file's name.
 *
 * The order in the file is that of struct index_sections: tables of the data come before the groups
 * of the function, and are written before it is solved; with pages the whole body comes behind
 * them, and is written at the end. */
#include <stdlib.h>

#include "core/assert.h"
#include "pack/external_internal.h"

struct copying {
    struct external *x;
    uint64_t bytes;
};

static int take_piece(void *context, struct tarn_bytes piece, struct tarn_error *error)
{
    struct copying *c = context;
    c->bytes += piece.size;
    return out_append(&c->x->out, piece.data, piece.size, error);
}

/* A stream of the spill file as a section, which has `bytes`. */
static int append_stream(struct external *x, enum spill_stream stream, uint64_t bytes,
                         struct tarn_error *error)
{
    struct copying c = {.x = x};
    struct buffer buffer = {0};
    unsigned number = external_stream(x, stream);
    int status = spill_read(&x->spill, number, number, &buffer, take_piece, &c, error);
    buffer_done(&buffer);
    if (status == TARN_OK && c.bytes != bytes)
        status = error_set(error, TARN_CORRUPT, "%s: not what it was; begin anew with --restart",
                           x->spill_path);
    return status;
}

int external_join_tables(struct external *x, struct tarn_error *error)
{
    struct index *index = &x->index;
    struct index_sections s;
    if (!index_lay_out(index, &s))
        return external_no_memory(x, error);
    uint64_t count = index->block_count;
    int status =
        append_stream(x, STREAM_CHECKSUMS, checksum_block_count(index->data_bytes) * 8, error);
    if (status == TARN_OK)
        status = append_stream(x, STREAM_STARTS, count * (index->granule_log2 < 16 ? 2 : 4), error);
    if (status == TARN_OK)
        status = out_pad(&x->out, error);
    if (status == TARN_OK)
        status = append_stream(x, STREAM_BLOCK_CHECKSUMS, count * 4, error);
    return status == TARN_OK ? out_pad(&x->out, error) : status;
}

static int compare_exceptions(const void *a, const void *b)
{
    const struct index_exception *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->location < y->location ? -1 : x->location > y->location;
}

/* Behind the groups: shards and exceptions. */
static int join_blocks(struct external *x, struct tarn_error *error)
{
    struct index *index = &x->index;
    struct equal_result *equal = &x->equal;
    uint64_t end = x->counts.groups << 8;
    index->exception_count = equal->exception_count;
    x->counts.collisions = equal->exception_count;
    if (equal->exception_count > 0)
        qsort(equal->exceptions, equal->exception_count, sizeof *equal->exceptions,
              compare_exceptions);
    int status = out_pad(&x->out, error);
    if (status == TARN_OK)
        status = append_stream(x, STREAM_WORDS, x->counts.shards * 8, error);
    if (status == TARN_OK)
        status = out_append(&x->out, &end, sizeof end, error);
    if (status == TARN_OK)
        status = out_append(&x->out, equal->exceptions,
                            equal->exception_count * sizeof *equal->exceptions, error);
    return status;
}

/* Behind the pages: the body. */
static int join_pages(struct external *x, struct tarn_error *error)
{
    int status = out_flush(&x->out, error);
    out_close(&x->out);
    if (status == TARN_OK)
        status = out_open(&x->out, x->os, x->build_path, x->build_fd, index_body_at(&x->index), 0,
                          (struct tarn_bytes){NULL, 0}, error);
    if (status == TARN_OK)
        status = external_join_tables(x, error);
    return status == TARN_OK ? append_stream(x, STREAM_WORDS, x->index.page_count * 8, error)
                             : status;
}

/* XXH3-64 of the table of checksums, which is the body's first section. */
struct summing {
    XXH3_state_t state;
};

static int take_sums(void *context, struct tarn_bytes piece, struct tarn_error *error)
{
    (void)error;
    struct summing *s = context;
    XXH3_64bits_update(&s->state, piece.data, piece.size);
    return TARN_OK;
}

static int sum_checksums(struct external *x, struct tarn_error *error)
{
    struct summing s;
    struct buffer buffer = {0};
    unsigned number = external_stream(x, STREAM_CHECKSUMS);
    XXH3_64bits_reset(&s.state);
    int status = spill_read(&x->spill, number, number, &buffer, take_sums, &s, error);
    x->index.data_checksum = XXH3_64bits_digest(&s.state);
    buffer_done(&buffer);
    return status;
}

static int write_header(struct external *x, struct tarn_error *error)
{
    unsigned char header[INDEX_PAGES_AT] = {0};
    size_t size = x->index.layout == INDEX_PAGES ? INDEX_PAGES_AT : INDEX_HEADER_BYTES;
    index_header(&x->index, out_checksum(&x->out), header);
    int result = os_write_full(x->os, x->build_fd, header, size, 0);
    if (result == 0)
        result = x->os->truncate(x->os, x->build_fd, x->out.base + x->out.size);
    if (result == 0)
        result = x->os->sync(x->os, x->build_fd);
    return result < 0 ? os_error(error, result, "cannot write", x->build_path) : TARN_OK;
}

/* Give the file its name; from here on it is the index. */
static int publish(struct external *x, struct tarn_error *error)
{
    int directory, result = os_open_parent(x->os, x->index_path, &directory);
    if (result < 0)
        return os_error(error, result, "cannot open the directory of", x->index_path);
    result = x->os->rename(x->os, x->build_path, x->index_path);
    if (result == 0)
        result = os_sync_directory(x->os, directory);
    (void)x->os->close(x->os, directory); /* opened for its sync */
    return result < 0 ? os_error(error, result, "cannot write", x->index_path) : TARN_OK;
}

int external_join(struct external *x, struct tarn_error *error)
{
    struct index *index = &x->index;
    index->duplicates = x->equal.duplicates;
    index->ribbon.shard_count = index->layout == INDEX_PAGES ? 0 : x->counts.shards;
    index->ribbon.groups_bytes = x->counts.groups * index->ribbon.bits;
    int status = spill_flush(&x->spill, error);
    spill_group(&x->spill);
    if (status == TARN_OK)
        status = sum_checksums(x, error);
    if (status == TARN_OK)
        status = index->layout == INDEX_PAGES ? join_pages(x, error) : join_blocks(x, error);
    if (status == TARN_OK)
        status = out_flush(&x->out, error);
    if (status != TARN_OK)
        return status;
    bool fits = index_attach(index, NULL);
    ASSERT(fits && index->body_bytes == x->out.size); /* the counts are our own */
    status = write_header(x, error);
    return status == TARN_OK ? publish(x, error) : status;
}
