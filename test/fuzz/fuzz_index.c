/* Goal: no index file, whatever its bytes, and no data file under an index that vouches for it,
 * leads a read out of bounds, into an endless loop or into undefined behaviour.
 * Method: the input is a data file and an index file:
 *
 *     offset  bytes
 *     0       1       flags: 1 make the counts add up, 2 belong to the data, 4 right checksums
 *     1       2       size of the data, u16 little-endian
 *     3       size    the data file
 *     ..      rest    the index file
 *
 * By its flags the index is first made to believe in itself, so that the fuzzer gets behind the
 * checksums. Then it is read, opened over the data, and asked everything. Memory is allocated to
 * the byte (lib/memory_os.h), so that AddressSanitizer sees each byte too many.
 *
 * Bugs planted once to see it fail: the loop over sync blocks not stopped at block 0; a location
 * not compared with the data's size.
 *
 * Seeds: corpus/index/, made by corpus/make_index_seeds.py with the program itself. */
#include <stdlib.h>

#include "lib/forge.h"
#include "lib/memory_os.h"
#include "pack/lookup.h"
#include "pack/pack.h"

#define DATA_PATH  "data"
#define INDEX_PATH "index"
#define MTIME_NS   7

enum { FIX_COUNTS = 1, FIX_DATA = 2, FIX_CHECKSUMS = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static void forge(unsigned flags, unsigned char *index, size_t size, struct tarn_bytes data)
{
    if (size < FORGE_HEADER_BYTES)
        return;
    if (flags & FIX_DATA)
        store_u64le(index + FORGE_DATA_BYTES, data.size); /* the layout depends on it */
    if (flags & FIX_COUNTS)
        forge_counts(index, size);
    if (flags & FIX_DATA)
        forge_data(index, size, data, MTIME_NS);
    if (flags & FIX_CHECKSUMS)
        forge_checksums(index, size);
}

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

static void ask_keys(const struct pack *pack, const unsigned char *input, size_t size)
{
    struct tarn_bytes keys[PACK_BATCH], values[PACK_BATCH], value;
    for (size_t i = 0; i < PACK_BATCH; i++) {
        size_t at = size ? i * 37 % size : 0, length = i % 11;
        if (length > size - at)
            length = size - at;
        keys[i] = (struct tarn_bytes){input + at, length};
    }
    size_t found = pack_get_many(pack, keys, PACK_BATCH, values), again = 0;
    for (size_t i = 0; i < PACK_BATCH; i++) {
        int status = pack_get(pack, keys[i], &value);
        if ((status == TARN_OK) != (values[i].data != NULL))
            abort(); /* one and many agree */
        if (status != TARN_OK)
            continue;
        again++;
        if (value.data != values[i].data || value.size != values[i].size)
            abort();
        touch(value);
    }
    if (again != found)
        abort();
}

static void ask(const struct pack *pack, const struct tarn_options *options,
                const unsigned char *input, size_t size)
{
    struct tarn_verify_report report;
    struct tarn_error error;
    struct tarn_bytes key;
    ask_keys(pack, input, size);
    for (uint64_t at = 0; at <= pack->data_bytes; at++)
        (void)pack_record_starts(pack, at);
    uint64_t cursors[] = {0, 1, pack->data_bytes / 2, pack->data_bytes - 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof cursors / sizeof *cursors; i++) {
        uint64_t visits = 0;
        do
            pack_scan(pack, &cursors[i], 16, visit, &visits);
        while (cursors[i] != 0 && visits <= pack->data_bytes);
        if (visits > pack->data_bytes)
            abort(); /* records have at least a byte each */
    }
    for (uint64_t i = 0; i < 8; i++)
        if (pack_random_key(pack, i * 0x9e3779b97f4a7c15ull, &key) == TARN_OK)
            touch(key);
    if (pack_verify(pack, options, &report, &error) == TARN_OK && report.records > pack->data_bytes)
        abort();
}

/* The same of data that stay on disk. */
static void ask_disk(struct disk_pack *pack, const struct tarn_options *options,
                     const unsigned char *input, size_t size)
{
    struct disk_buffer buffer = {0};
    struct buffer value = {0};
    struct lookup_found found;
    struct tarn_verify_report report;
    struct tarn_error error;
    struct tarn_bytes key;
    for (size_t i = 0; i < PACK_BATCH; i++) {
        size_t at = size ? i * 37 % size : 0, length = i % 11;
        key = (struct tarn_bytes){input + at, length < size - at ? length : size - at};
        if (disk_find(pack, key, &buffer, &found, &error) != TARN_OK)
            continue;
        buffer_clear(&value);
        if (disk_value(pack, &found, &buffer, &value, &error) == TARN_OK)
            touch(buffer_view(&value));
    }
    uint64_t cursor = 0, visits = 0;
    do
        if (disk_scan(pack, &cursor, 16, &buffer, visit, &visits, NULL, &error) != TARN_OK)
            break;
    while (cursor != 0 && visits <= pack->data_bytes);
    if (visits > pack->data_bytes)
        abort();
    for (uint64_t i = 0; i < 8; i++)
        if (disk_random_key(pack, i * 0x9e3779b97f4a7c15ull, &buffer, &key, &error) == TARN_OK)
            touch(key);
    (void)!disk_verify(pack, options, &report, &error);
    buffer_done(&value);
    disk_buffer_done(&buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    if (size < 3)
        return 0;
    size_t data_size = load_u16le(input + 1);
    if (data_size > size - 3)
        data_size = size - 3;
    struct tarn_bytes data = {input + 3, data_size};
    size_t index_size = size - 3 - data_size;
    unsigned char *bytes = malloc(index_size + 1);
    memcpy(bytes, input + 3 + data_size, index_size);
    forge(input[0], bytes, index_size, data);

    struct memory_os m;
    struct index *index;
    struct pack *pack;
    struct disk_pack *disk;
    struct tarn_error error;
    struct tarn_options options = {.path = DATA_PATH, .index_path = INDEX_PATH, .threads = 1};
    memory_os_init(&m);
    memory_os_put(&m, DATA_PATH, data, MTIME_NS);
    memory_os_put(&m, INDEX_PATH, (struct tarn_bytes){bytes, index_size}, 0);
    if (index_read_any(&m.os, INDEX_PATH, &index, &error) == TARN_OK) {
        options.duplicates = index->duplicates_policy;
        index_free(index);
    }
    if (pack_open(&m.os, &options, true, &pack, &error) == TARN_OK) {
        ask(pack, &options, input, size);
        pack_unref(pack);
    } else if (error.text[0] == 0) {
        abort();
    }
    if (disk_open(&m.os, &options, true, &disk, &error) == TARN_OK) {
        ask_disk(disk, &options, input, size);
        disk_unref(disk);
    }
    if (m.open != 0 || m.maps != 0)
        abort();
    free(bytes);
    return 0;
}
