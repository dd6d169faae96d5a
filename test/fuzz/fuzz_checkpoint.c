/* Goal: no file, whatever its bytes and even under right checksums, leads the reader of checkpoints
 * out of bounds, into an endless loop, or to records beyond the limits; and to salvage a file that
 * is sound gives the same records as reading it.
 * Method: the input is a file behind one byte of flags:
 *
 *     1 make it believe in itself: right checksums of header, heads, bodies and footer
 *     2 number the blocks in their order
 *     4 count blocks and records for the footer
 *     8 salvage
 *
 * The file lies in memory allocated to the byte (lib/memory_os.h).
 *
 * Bugs planted once to see it fail: a value not bounded by the body; a head's size not compared
 * with what is left of the file; the search for a head reads one beyond the end.
 *
 * Seeds: corpus/checkpoint/: files written by the program, with each set of flags. */
#include <stdlib.h>

#include "lib/memory_os.h"
#include "pack/checkpoint_layout.h"

enum { FIX_CHECKSUMS = 1, FIX_NUMBERS = 2, FIX_COUNTS = 4, SALVAGE = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

struct forged {
    uint64_t blocks, records, sum;
};

/* Blocks from `at` on, up to `end` or the first that does not fit. */
static struct forged forge_blocks(unsigned flags, unsigned char *file, size_t at, size_t end,
                                  uint64_t salt)
{
    struct forged f = {0};
    while (end - at >= BLOCK_HEAD_BYTES) {
        unsigned char *head = file + at;
        uint32_t body = load_u32le(head + BLOCK_BODY_BYTES);
        if (body > end - at - BLOCK_HEAD_BYTES)
            break;
        if (flags & FIX_NUMBERS)
            store_u64le(head + BLOCK_NUMBER, f.blocks);
        store_u64le(head + BLOCK_BODY_CHECKSUM,
                    hash_checksum(head + BLOCK_HEAD_BYTES, body, salt + load_u64le(head)));
        store_u64le(head + BLOCK_CHECKSUM, hash_checksum(head, BLOCK_CHECKSUM, salt));
        f.sum = checkpoint_sum(f.sum, load_u64le(head + BLOCK_CHECKSUM));
        f.records += load_u32le(head + BLOCK_RECORDS);
        f.blocks++;
        at += BLOCK_HEAD_BYTES + body;
    }
    return f;
}

static void forge(unsigned flags, unsigned char *file, size_t size)
{
    if (size < HEADER_BYTES + FOOTER_BYTES || !(flags & FIX_CHECKSUMS))
        return;
    memcpy(file, CHECKPOINT_MAGIC, 8);
    store_u64le(file + HEADER_CHECKSUM, hash_checksum(file, HEADER_CHECKSUM, HEADER_SEED));
    unsigned char *footer = file + size - FOOTER_BYTES;
    struct forged f = forge_blocks(flags, file, HEADER_BYTES, size - FOOTER_BYTES,
                                   load_u64le(file + HEADER_SALT));
    memcpy(footer, file, HEADER_BYTES);
    store_u64le(footer + FOOTER_BYTES_ALL, size);
    if (flags & FIX_COUNTS) {
        store_u64le(footer + FOOTER_RECORDS, f.records);
        store_u64le(footer + FOOTER_BLOCKS, f.blocks);
        store_u64le(footer + FOOTER_SUM, f.sum);
    }
    store_u64le(footer + FOOTER_CHECKSUM, checkpoint_footer_checksum(footer));
}

/* What was given out, every byte of it touched. */
struct given {
    uint64_t records, bytes, sum;
};

static int apply(void *context, const struct tarn_record *records, size_t count)
{
    struct given *g = context;
    for (size_t i = 0; i < count; i++) {
        const struct tarn_record *r = &records[i];
        if (r->key.size > TARN_KEY_BYTES_MAX || r->value.size > TARN_VALUE_BYTES_MAX)
            abort();
        g->sum = hash_checksum(r->key.data, r->key.size, g->sum + (uint64_t)r->expire_ms);
        g->sum = hash_checksum(r->value.data, r->value.size, g->sum);
        g->bytes += r->key.size + r->value.size;
    }
    g->records += count;
    return TARN_OK;
}

static int read_file(struct tarn_bytes file, uint64_t *damaged, struct given *ret_given)
{
    struct memory_os m;
    struct checkpoint_about about;
    struct checkpoint_totals totals;
    struct tarn_error error = {0};
    memory_os_init(&m);
    memory_os_put(&m, "c", file, 0);
    *ret_given = (struct given){0};
    int status = checkpoint_read(&m.os, "c", 0, apply, ret_given, NULL, NULL, &about, &totals,
                                 damaged, &error);
    if (m.open != 0 || ret_given->bytes > file.size)
        abort();
    if (status == TARN_OK ? totals.records != ret_given->records : error.text[0] == 0)
        abort();
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    if (size < 1)
        return 0;
    unsigned char *copy = malloc(size - 1 + (size == 1));
    memcpy(copy, input + 1, size - 1);
    forge(input[0], copy, size - 1);
    struct tarn_bytes file = {copy, size - 1};
    struct given given, salvaged;
    uint64_t damaged = 0;
    int status = read_file(file, NULL, &given);
    if (status == TARN_OK || input[0] & SALVAGE) {
        int again = read_file(file, &damaged, &salvaged);
        if (status == TARN_OK && (again != TARN_OK || damaged != 0 || salvaged.sum != given.sum))
            abort();
        if (status == TARN_CORRUPT && again == TARN_OK && damaged == 0)
            abort(); /* something was wrong */
    }
    free(copy);
    return 0;
}
