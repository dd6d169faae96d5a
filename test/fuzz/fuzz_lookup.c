/* Goal: no index of blocks or pages, no data file under one that vouches for it, and no `tarn`
 * file, whatever its bytes, leads a lookup, a scan, a random key or verification on disk out of
 * bounds, into an endless loop or to the value of another key. Method: the input is a data file and
 * an index file as in fuzz_index.c:
 *
 *     offset  bytes
 *     0       1       flags: 1 make the counts add up, 2 belong to the data, 4 right checksums,
 *                     8 pages that believe in themselves, 16 blocks that match their checksums,
 *                     32 the data file is a `tarn` file (4: right checksums)
 *     1       2       size of the data, u16 little-endian
 *     3       size    the data file
 *     ..      rest    the index file
 *
 * Files lie in memory allocated to the byte (lib/memory_os.h).
 *
 * Seeds: corpus/lookup/, made by corpus/make_index_seeds.py with the program itself. */
#include <stdlib.h>

#include "lib/forge.h"
#include "lib/memory_os.h"
#include "pack/checkpoint_layout.h"
#include "pack/lookup.h"

#define DATA_PATH  "data"
#define INDEX_PATH "index"
#define MTIME_NS   7

enum {
    FIX_COUNTS = 1,
    FIX_DATA = 2,
    FIX_CHECKSUMS = 4,
    FIX_PAGES = 8,
    FIX_BLOCKS = 16,
    TARN_FILE = 32
};

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static void forge_pages(unsigned char *index, size_t size)
{
    struct forge_layout l = forge_layout(index, size);
    uint64_t pages = load_u64le(index + FORGE_PAGES);
    if (index[FORGE_LAYOUT] != 1 || l.checksums == 0)
        return;
    for (uint64_t p = 0; p < pages; p++) {
        unsigned char *page = index + 4096 * (p + 1);
        if (load_u64le(page + 8) > 400)
            store_u64le(page + 8, load_u64le(page + 8) % 400);
        memcpy(index + l.top + 8 * p, page + 16, 8);
        store_u64le(page, hash_checksum(page + 8, 4096 - 8, 0));
    }
}

/* Where a granule's block starts in the data; UINT64_MAX: nowhere. */
static uint64_t forge_start(const unsigned char *index, uint64_t starts, uint64_t granule)
{
    unsigned log2 = index[FORGE_GRANULE];
    uint64_t start = log2 < 16 ? load_u16le(index + starts + 2 * granule)
                               : load_u32le(index + starts + 4 * granule);
    return start >= 1ull << log2 ? UINT64_MAX : (granule << log2) + start;
}

static void forge_blocks_of_data(unsigned char *index, size_t size, struct tarn_bytes data)
{
    struct forge_layout l = forge_layout(index, size);
    unsigned log2 = index[FORGE_GRANULE];
    if (l.checksums == 0 || log2 < 9 || log2 > 24)
        return;
    uint64_t count = (data.size + (1ull << log2) - 1) >> log2, end = data.size;
    for (uint64_t g = count; g-- > 0;) {
        uint64_t start = forge_start(index, l.starts, g);
        if (start >= end)
            continue;
        store_u32le(index + l.block_checksums + 4 * g,
                    (uint32_t)hash_checksum((const char *)data.data + start, end - start, 0));
        end = start;
    }
}

static void forge_index(unsigned flags, unsigned char *index, size_t size, struct tarn_bytes data)
{
    if (size < FORGE_HEADER_BYTES)
        return;
    if (flags & FIX_DATA)
        store_u64le(index + FORGE_DATA_BYTES, data.size); /* the layout depends on it */
    if (flags & FIX_COUNTS)
        forge_counts(index, size);
    if (flags & FIX_DATA)
        forge_data(index, size, data, MTIME_NS);
    if (flags & FIX_PAGES)
        forge_pages(index, size);
    if (flags & FIX_BLOCKS)
        forge_blocks_of_data(index, size, data);
    if (flags & FIX_CHECKSUMS)
        forge_checksums(index, size);
}

/* --- tarn files --- */

static void forge_bodies(unsigned char *file, uint64_t end, uint64_t salt)
{
    for (uint64_t at = HEADER_BYTES; end - at >= BLOCK_HEAD_BYTES;) {
        unsigned char *head = file + at;
        uint64_t body = load_u32le(head + BLOCK_BODY_BYTES);
        if (body > end - at - BLOCK_HEAD_BYTES)
            break;
        store_u64le(head + BLOCK_BODY_CHECKSUM,
                    hash_checksum(head + BLOCK_HEAD_BYTES, body, salt + load_u64le(head)));
        store_u64le(head + BLOCK_CHECKSUM, hash_checksum(head, BLOCK_CHECKSUM, salt));
        at += BLOCK_HEAD_BYTES + body;
    }
}

static void forge_tarn(unsigned char *file, size_t size)
{
    if (size < HEADER_BYTES + FOOTER_BYTES)
        return;
    unsigned char *footer = file + size - FOOTER_BYTES;
    uint64_t salt = load_u64le(file + HEADER_SALT), at = load_u64le(footer + FOOTER_DIRECTORY);
    uint64_t pages = load_u64le(footer + FOOTER_PAGES), room = size - HEADER_BYTES - FOOTER_BYTES;
    memcpy(file, CHECKPOINT_MAGIC, 8);
    store_u64le(file + HEADER_CHECKSUM, hash_checksum(file, HEADER_CHECKSUM, HEADER_SEED));
    memcpy(footer, file, HEADER_BYTES);
    if (at >= HEADER_BYTES && pages <= room / (PAGE_BYTES + ENTRY_BYTES) &&
        at == HEADER_BYTES + room - pages * (PAGE_BYTES + ENTRY_BYTES)) {
        unsigned char *top = file + at + pages * PAGE_BYTES;
        forge_bodies(file, at, salt);
        for (uint64_t p = 0; p < pages; p++) {
            unsigned char *page = file + at + p * PAGE_BYTES;
            store_u64le(page + PAGE_NUMBER, p);
            store_u64le(page + PAGE_CHECKSUM,
                        hash_checksum(page, PAGE_CHECKSUM, checkpoint_page_seed(salt, p)));
            memcpy(top + p * ENTRY_BYTES, page, ENTRY_BYTES);
        }
        store_u64le(footer + FOOTER_TOP_CHECKSUM, hash_checksum(top, pages * ENTRY_BYTES, salt));
    }
    store_u64le(footer + FOOTER_BYTES_ALL, size);
    store_u64le(footer + FOOTER_CHECKSUM, checkpoint_footer_checksum(footer));
}

/* --- questions --- */

/* A check that the compiler cannot leave out: every byte of the view is there. */
static void touch(struct tarn_bytes view)
{
    volatile unsigned char sum = 0;
    for (size_t i = 0; i < view.size; i++)
        sum ^= ((const unsigned char *)view.data)[i];
    (void)sum;
}

static void visit(void *context, struct tarn_bytes key, struct tarn_bytes value)
{
    ++*(uint64_t *)context;
    touch(key);
    touch(value);
}

/* Driven by hand: each read comes in memory that is exactly as large as what was got. */
static int find(const struct disk_pack *pack, struct tarn_bytes key, struct tarn_error *error)
{
    struct lookup l;
    struct lookup_found found;
    unsigned char *data = NULL;
    unsigned reads = 0;
    int status = lookup_begin(pack, key, &l);
    while (status == LOOKUP_READ) {
        size_t got;
        unsigned char *whole = malloc(l.size);
        if (++reads > 70000 || l.size > lookup_read_bytes_max(pack))
            abort();
        if (pack->os->read_at(pack->os, l.fd, whole, l.size, l.offset, &got) != 0)
            abort();
        free(data);
        data = malloc(got + (got == 0));
        memcpy(data, whole, got);
        free(whole);
        status = lookup_next(&l, data, got, &found, error);
    }
    if (status == TARN_OK && !found.far)
        touch(found.record.value);
    free(data);
    return status;
}

static void ask_keys(const struct disk_pack *pack, const unsigned char *input, size_t size)
{
    struct tarn_error error = {0};
    for (size_t i = 0; i < 64; i++) {
        size_t at = size ? i * 37 % size : 0, length = i % 11;
        if (length > size - at)
            length = size - at;
        if (find(pack, (struct tarn_bytes){input + at, length}, &error) < 0 && error.text[0] == 0)
            abort();
    }
}

static void ask(const struct disk_pack *pack, const unsigned char *input, size_t size)
{
    struct disk_buffer buffer = {0};
    struct tarn_options options = {0};
    struct tarn_verify_report report;
    struct tarn_error error;
    struct tarn_bytes key;
    ask_keys(pack, input, size);
    uint64_t cursors[] = {0, 1, pack->data_bytes / 2, 1 << 16, UINT64_MAX};
    for (size_t i = 0; i < sizeof cursors / sizeof *cursors; i++) {
        uint64_t visits = 0, turns = 0;
        do
            (void)disk_scan(pack, &cursors[i], 16, &buffer, visit, &visits, &cursors[i], &error);
        while (cursors[i] != 0 && visits <= pack->data_bytes && ++turns <= 2 * pack->data_bytes);
        if (visits > pack->data_bytes || turns > 2 * pack->data_bytes)
            abort();
    }
    for (uint64_t i = 0; i < 8; i++)
        if (disk_random_key(pack, i * 0x9e3779b97f4a7c15ull, &buffer, &key, &error) == TARN_OK)
            touch(key);
    if (disk_verify(pack, &options, &report, &error) == TARN_OK &&
        report.records > pack->data_bytes)
        abort();
    disk_buffer_done(&buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    if (size < 3)
        return 0;
    size_t data_size = load_u16le(input + 1);
    if (data_size > size - 3)
        data_size = size - 3;
    size_t index_size = size - 3 - data_size;
    unsigned char *data = malloc(data_size + 1), *index = malloc(index_size + 1);
    memcpy(data, input + 3, data_size);
    memcpy(index, input + 3 + data_size, index_size);
    if (!(input[0] & TARN_FILE))
        forge_index(input[0], index, index_size, (struct tarn_bytes){data, data_size});
    else if (input[0] & FIX_CHECKSUMS)
        forge_tarn(data, data_size);

    struct memory_os m;
    struct disk_pack *pack;
    struct index *any;
    struct tarn_error error = {0};
    struct tarn_options options = {.path = DATA_PATH, .index_path = INDEX_PATH};
    if (input[0] & TARN_FILE)
        options.format.kind = TARN_FORMAT_TARN;
    memory_os_init(&m);
    memory_os_put(&m, DATA_PATH, (struct tarn_bytes){data, data_size}, MTIME_NS);
    memory_os_put(&m, INDEX_PATH, (struct tarn_bytes){index, index_size}, 0);
    if (index_read_any(&m.os, INDEX_PATH, &any, &error) == TARN_OK) {
        options.duplicates = any->duplicates_policy;
        index_free(any);
    }
    error.text[0] = 0;
    if (disk_open(&m.os, &options, true, &pack, &error) == TARN_OK) {
        ask(pack, input, size);
        disk_unref(pack);
    } else if (error.text[0] == 0) {
        abort();
    }
    if (m.open != 0 || m.maps != 0)
        abort();
    free(data);
    free(index);
    return 0;
}
