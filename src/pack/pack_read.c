/* Reading a pack: look-ups, one or many, scans, random keys. See pack.h.
 *
 * A look-up has three steps, each over a whole batch so that memory accesses overlap:
 *   1. hash the keys; fetch the windows of the static function
 *   2. compute the locations; fetch the records (and what decides whether one starts there)
 *   3. parse the record at the location, compare its key
 *
 * Invariant: a location is a guess until record_starts() and the comparison have both said yes. For
 * a key that is not in the set, the static function answers any location at all, and in a binary
 * file the bytes there may well look like a record with just this key (a value may hold one). */
#include <stdatomic.h>
#include <string.h>

#include "core/assert.h"
#include "core/bytes.h"
#include "core/prefetch.h"
#include "core/random.h"
#include "pack/pack.h"

static inline struct tarn_bytes pack_bytes(const struct pack *pack)
{
    return (struct tarn_bytes){pack->data, pack->data_bytes};
}

/* Walk from the first record that starts in `from`'s sync block (one must) to the first that
 * starts at or after `from`; data_bytes if there is none. */
static uint64_t walk_to(const struct pack *pack, uint64_t from)
{
    uint64_t block = from / SYNC_BLOCK_BYTES;
    uint64_t at = block * SYNC_BLOCK_BYTES + pack->index->sync[block];
    struct record record;
    while (at < from) {
        if (format_parse(&pack->index->format, pack_bytes(pack), at, true, &record) != FORMAT_OK)
            return pack->data_bytes; /* cannot be: the data were checked when indexed */
        at += record.size;
    }
    return at;
}

static inline bool record_starts(const struct pack *pack, uint64_t location)
{
    if (pack->index->sync == NULL)
        return location == 0 || pack->data[location - 1] == '\n';
    if (pack->index->sync[location / SYNC_BLOCK_BYTES] == SYNC_NONE)
        return false;
    return walk_to(pack, location) == location;
}

bool pack_record_starts(const struct pack *pack, uint64_t location)
{
    return location < pack->data_bytes && record_starts(pack, location);
}

/* The value, if the record of this key is at this location. The cheap test comes first: for an
 * absent key the comparison nearly always says no. */
static inline bool match(const struct pack *pack, uint64_t location, struct tarn_bytes key,
                         struct tarn_bytes *ret_value)
{
    struct record record;
    if (location >= pack->data_bytes ||
        format_parse(&pack->index->format, pack_bytes(pack), location, true, &record) !=
            FORMAT_OK ||
        !bytes_equal(record.key, key) || !record_starts(pack, location))
        return false;
    *ret_value = record.value;
    return true;
}

/* Keys with equal hashes are not in the static function but in a sorted list. It is asked first:
 * for them the function answers any location, so also that of a repetition that does not count. */
static bool match_exception(const struct pack *pack, uint64_t hash, struct tarn_bytes key,
                            struct tarn_bytes *ret_value)
{
    const struct index_exception *list = pack->index->exceptions;
    uint64_t low = 0, high = pack->index->exception_count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (list[middle].hash < hash)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < pack->index->exception_count && list[low].hash == hash; low++)
        if (match(pack, list[low].location, key, ret_value))
            return true;
    return false;
}

/* Fetch the lines that match() will read: a typical record, whole, and what tells that it starts
 * there. */
static inline __attribute__((always_inline)) void prefetch_record(const struct pack *pack,
                                                                  uint64_t location)
{
    if (location >= pack->data_bytes)
        return;
    const unsigned char *sync = pack->index->sync;
    uint64_t first = location > 0 ? location - 1 : 0;
    if (sync != NULL) {
        uint64_t block = location / SYNC_BLOCK_BYTES;
        prefetch_line(sync + block);
        first = block * SYNC_BLOCK_BYTES; /* the walk begins in this block */
    }
    prefetch_range(pack->data + first, location - first + pack->prefetch_bytes);
}

static size_t get_batch(const struct pack *pack, const struct tarn_bytes *keys, size_t count,
                        struct tarn_bytes *ret_values)
{
    uint64_t hashes[PACK_BATCH], locations[PACK_BATCH];
    struct ribbon_probe probes[PACK_BATCH];
    const struct index *index = pack->index;
    ASSERT(count >= 1 && count <= PACK_BATCH);
    for (size_t i = 0; i < count; i++)
        hashes[i] = index_hash(index, keys[i]);
    ribbon_probes_init(&index->ribbon, hashes, count, probes);
    ribbon_probes_values(&index->ribbon, probes, count, locations);
    for (size_t i = 0; i < count; i++)
        prefetch_record(pack, locations[i]);

    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        if ((index->exception_count > 0 &&
             match_exception(pack, hashes[i], keys[i], &ret_values[i])) ||
            match(pack, locations[i], keys[i], &ret_values[i]))
            found++;
        else
            ret_values[i] = (struct tarn_bytes){NULL, 0};
    }
    return found;
}

size_t pack_get_many(const struct pack *pack, const struct tarn_bytes *keys, size_t count,
                     struct tarn_bytes *ret_values)
{
    size_t found = 0;
    for (size_t done = 0; done < count; done += PACK_BATCH) {
        size_t left = count - done;
        found +=
            get_batch(pack, keys + done, left < PACK_BATCH ? left : PACK_BATCH, ret_values + done);
    }
    return found;
}

int pack_get(const struct pack *pack, struct tarn_bytes key, struct tarn_bytes *ret_value)
{
    const struct index *index = pack->index;
    uint64_t hash = index_hash(index, key);
    uint64_t location = ribbon_query(&index->ribbon, hash);
    prefetch_record(pack, location);
    if (index->exception_count > 0 && match_exception(pack, hash, key, ret_value))
        return TARN_OK;
    if (match(pack, location, key, ret_value))
        return TARN_OK;
    return TARN_NOTFOUND;
}

/* The first record that starts at or after `from`; data_bytes if there is none. */
static uint64_t next_start(const struct pack *pack, uint64_t from)
{
    if (from == 0 || from >= pack->data_bytes)
        return from == 0 ? 0 : pack->data_bytes;
    if (pack->index->sync == NULL) {
        const unsigned char *newline =
            memchr(pack->data + from - 1, '\n', pack->data_bytes - from + 1);
        return newline == NULL ? pack->data_bytes : (uint64_t)(newline + 1 - pack->data);
    }
    uint64_t block = from / SYNC_BLOCK_BYTES;
    const unsigned char *sync = pack->index->sync;
    if (sync[block] != SYNC_NONE) {
        uint64_t at = walk_to(pack, from);
        if (at / SYNC_BLOCK_BYTES == block || at >= pack->data_bytes)
            return at;
    }
    uint64_t blocks = sync_block_count(&pack->index->format, pack->data_bytes);
    while (++block < blocks)
        if (sync[block] != SYNC_NONE)
            return block * SYNC_BLOCK_BYTES + sync[block];
    return pack->data_bytes;
}

/* Whether the record with this value is the one that counts for its key. */
static bool is_live(const struct pack *pack, const struct record *record)
{
    struct tarn_bytes value;
    return pack->index->duplicates == 0 ||
           (pack_get(pack, record->key, &value) == TARN_OK && value.data == record->value.data);
}

void pack_scan(const struct pack *pack, uint64_t *cursor, size_t count, tarn_visit visit,
               void *context)
{
    ASSERT(count >= 1);
    uint64_t at = next_start(pack, *cursor);
    struct record record;
    while (count-- > 0 && at < pack->data_bytes) {
        if (format_parse(&pack->index->format, pack_bytes(pack), at, true, &record) != FORMAT_OK)
            at = pack->data_bytes; /* cannot be: the data were checked when indexed */
        else if (at += record.size, is_live(pack, &record))
            visit(context, record.key, record.value);
    }
    *cursor = at < pack->data_bytes ? at : 0;
}

/* The record that holds byte `at`. */
static uint64_t start_of(const struct pack *pack, uint64_t at)
{
    if (pack->index->sync == NULL) {
        const unsigned char *newline = memrchr(pack->data, '\n', at);
        return newline == NULL ? 0 : (uint64_t)(newline + 1 - pack->data);
    }
    const unsigned char *sync = pack->index->sync;
    uint64_t block = at / SYNC_BLOCK_BYTES;
    while (block > 0 && (sync[block] == SYNC_NONE || block * SYNC_BLOCK_BYTES + sync[block] > at))
        block--;
    /* Block 0 has a record at byte 0, whatever a forged table says. */
    uint64_t start = block > 0 ? block * SYNC_BLOCK_BYTES + sync[block] : 0;
    struct record record;
    while (format_parse(&pack->index->format, pack_bytes(pack), start, true, &record) ==
               FORMAT_OK &&
           start + record.size <= at)
        start += record.size;
    return start;
}

/* A random byte picks the record around it, so large records would be picked more often: one of
 * size z is taken with chance smallest / z only. After PICKS refusals, or refused records of
 * PICKS_BYTES in all (their ends must be looked for), the last one is taken, so that a set of very
 * unequal records answers in bounded time, if less evenly. (Its key is in the set even if another
 * record of that key is the one that counts.) */
#define PICKS       128
#define PICKS_BYTES (16ull << 20)

int pack_random_key(const struct pack *pack, uint64_t random, struct tarn_bytes *ret_key)
{
    const struct index *index = pack->index;
    if (index_keys(index) == 0)
        return TARN_NOTFOUND;
    uint64_t bytes = 0;
    for (unsigned i = 0; i < PICKS && bytes <= PICKS_BYTES; i++) {
        struct record record;
        uint64_t at =
            (uint64_t)(((unsigned __int128)random_next(&random) * pack->data_bytes) >> 64);
        if (format_parse(&index->format, pack_bytes(pack), start_of(pack, at), true, &record) !=
            FORMAT_OK)
            return TARN_NOTFOUND; /* cannot be: the data were checked when indexed */
        *ret_key = record.key;
        bytes += record.size;
        if (random_next(&random) % record.size < index->record_bytes_min && is_live(pack, &record))
            break;
    }
    return TARN_OK;
}
