/* Inside of record.c and record_read.c: where things lie in a head, and its two checksums.
 * doc/format-log.md. */
#ifndef WAL_RECORD_HEAD_H
#define WAL_RECORD_HEAD_H

#include <assert.h>

#include "core/codec.h"
#include "core/hash.h"
#include "core/plant.h"
#include "wal/encode.h"

/* Fields of a head, by offset; doc/format-log.md has them all. */
enum {
    HEAD_CHECK = 0,
    HEAD_PAYLOAD_SIZE = 4,
    HEAD_SEQUENCE = 8,
    HEAD_DISTANCE = 16,
    HEAD_KEY_SIZE = 20,
    HEAD_KIND = 22,
    HEAD_FLAGS = 23,
    HEAD_CHECKSUM = 24,
};
static_assert(HEAD_CHECKSUM + 8 == RECORD_HEAD_BYTES, "a head has no more");

enum { KIND_SEAL = 127 };
enum { FLAG_MORE = 1, FLAG_EXPIRES = 2 };
#define DISTANCE_UNKNOWN UINT32_MAX

/* A head of JSON: text with places. */
static const char json_head[] =
    "{\"seq\":                    ,\"synced\":                    ,\"more\":     ,\"sum\":\""
    "                        \"";
enum {
    JSON_SEQUENCE = 7,
    JSON_SYNCED = 37,
    JSON_MORE = 65,
    JSON_CHECK = 78,
    JSON_CHECKSUM = 86,
};
static_assert(sizeof json_head - 1 == ENCODE_JSON_HEAD_BYTES, "the places are right");
enum { JSON_DIGITS = 20, JSON_MORE_BYTES = 5 };
static const char json_seal[] = ",\"op\":\"seal\"}\n";

static const char cbor_prefix[ENCODE_CBOR_PREFIX_BYTES] = {0x58, RECORD_HEAD_BYTES};

/* --- checksums --- */

/* What the head says as three words, without its check. */
struct head_words {
    uint64_t word[3];
};

static inline uint32_t words_check(const struct head_words *w, uint64_t salt)
{
    return (uint32_t)hash_checksum(w->word, sizeof w->word, salt);
}

static inline uint64_t words_checksum(const struct head_words *w, uint64_t payload_checksum,
                                      const struct record_chain *chain)
{
    const uint64_t all[4] = {w->word[0], w->word[1], w->word[2], payload_checksum};
    return hash_checksum(all, sizeof all, chain->salt ^ chain->checksum);
}

static inline uint64_t payload_checksum(const unsigned char *payload, size_t size)
{
    return hash_checksum(payload, size, 0);
}

/* The words of a binary head as it lies there. */
static inline struct head_words head_words(const unsigned char *head)
{
    struct head_words w = {{load_u64le(head) & ~(uint64_t)UINT32_MAX,
                            load_u64le(head + HEAD_SEQUENCE), load_u64le(head + HEAD_DISTANCE)}};
    if (plant(PLANT_LENGTH_UNCHECKED)) {
        w.word[0] = 0;
        w.word[2] &= 0xffff0000ffffffffu;
    }
    return w;
}

static inline struct head_words json_words(const struct record_stamp *stamp)
{
    return (struct head_words){{stamp->sequence, stamp->durable_upto, stamp->more}};
}

#endif
