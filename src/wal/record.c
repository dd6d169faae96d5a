/* Records, written: heads, checksums, chains; the payloads are the encoders' (encode.h).
 *
 * How: a record is a head of a fixed size, then its payload. record_prepare() leaves the payload's
 * own checksum where the record's will stand. Two checksums are made of the head as words in
 * registers: the check, by which a head is recognised anywhere, seeded by the salt; and the
 * record's, of those words and the payload's checksum, seeded by salt ^ the checksum before. Both
 * are XXH3-64, of 24 and 32 bytes; XXH3 of the payload is not seeded, since that takes time.
 *
 * Invariants
 * 1. Every byte of a record counts in its checksum, or can only have one value (as the text between
 *    a line's numbers, and the numbers' own form): no two texts are the same record.
 * 2. record_seal() writes to the head only, and its time does not depend on the payload.
 * Failure modes: memory while preparing. */
#include "wal/record.h"

#include "core/assert.h"
#include "wal/record_head.h"

static const char *const words[] = {
    [CHANGE_PUT] = "put",     [CHANGE_DELETE] = "delete", [CHANGE_EXPIRE] = "expire",
    [CHANGE_PATCH] = "patch", [CHANGE_FLUSH] = "flush",
};

struct tarn_bytes encode_word(enum change_kind kind)
{
    return bytes_of(words[kind]);
}

bool encode_parse_word(struct tarn_bytes word, enum change_kind *ret_kind)
{
    for (int kind = CHANGE_PUT; kind <= CHANGE_FLUSH; kind++)
        if (bytes_equal(word, bytes_of(words[kind]))) {
            *ret_kind = (enum change_kind)kind;
            return true;
        }
    return false;
}

unsigned char record_filling(enum wal_encoding encoding)
{
    return encoding == WAL_JSON ? '\n' : 0;
}

/* Cutting a file fills the rest of a block with zeros, and its new size may be lost with power: so
 * they are filling in any encoding. */
static bool only_newlines(struct tarn_bytes bytes)
{
    const unsigned char *p = bytes.data;
    bool only = true;
    for (size_t i = 0; i < bytes.size; i++)
        only &= p[i] == '\n' || p[i] == 0;
    return only;
}

bool record_only_filling(enum wal_encoding encoding, struct tarn_bytes bytes)
{
    const unsigned char *p = bytes.data;
    if (encoding == WAL_JSON)
        return only_newlines(bytes);
    /* Equal to itself moved by one, from a first byte that is the filling. */
    return bytes.size == 0 || (p[0] == 0 && memcmp(p, p + 1, bytes.size - 1) == 0);
}

size_t record_bytes_max(enum wal_encoding encoding)
{
    return encoding == WAL_JSON
               ? ENCODE_LINE_BYTES_MAX
               : ENCODE_CBOR_PREFIX_BYTES + RECORD_HEAD_BYTES + ENCODE_PAYLOAD_BYTES_MAX;
}

size_t record_head_bytes(enum wal_encoding encoding)
{
    return encoding == WAL_JSON   ? ENCODE_JSON_HEAD_BYTES
           : encoding == WAL_CBOR ? ENCODE_CBOR_PREFIX_BYTES + RECORD_HEAD_BYTES
                                  : RECORD_HEAD_BYTES;
}

/* --- making --- */

/* The head before a payload that has been written, but for what record_seal() fills in. */
static void write_head(const struct change *change, size_t payload_size, unsigned char *head)
{
    bool expires = encode_has_expiry(change->kind) && change->expire_ms != 0;
    size_t key_size = encode_has_key(change->kind) ? change->key.size : 0;
    store_u32le(head + HEAD_CHECK, 0);
    store_u32le(head + HEAD_PAYLOAD_SIZE, (uint32_t)payload_size);
    store_u16le(head + HEAD_KEY_SIZE, (uint16_t)key_size);
    head[HEAD_KIND] = (unsigned char)change->kind;
    head[HEAD_FLAGS] = expires ? FLAG_EXPIRES : 0;
    store_u64le(head + HEAD_CHECKSUM, payload_checksum(head + RECORD_HEAD_BYTES, payload_size));
}

size_t record_binary_size(const struct change *change)
{
    return RECORD_HEAD_BYTES + encode_binary_size(change);
}

void record_write_binary(const struct change *change, size_t size, unsigned char *out)
{
    encode_binary(change, out + RECORD_HEAD_BYTES);
    write_head(change, size - RECORD_HEAD_BYTES, out);
}

static void prepare_binary(const struct change *change, struct buffer *out)
{
    size_t size = record_binary_size(change);
    if (!buffer_reserve(out, size))
        return;
    record_write_binary(change, size, out->data + out->size);
    out->size += size;
}

static void prepare_cbor(const struct change *change, struct buffer *out)
{
    const size_t before = ENCODE_CBOR_PREFIX_BYTES + RECORD_HEAD_BYTES;
    size_t room = encode_cbor_size_max(change);
    if (!buffer_reserve(out, before + room))
        return;
    unsigned char *record = out->data + out->size;
    memcpy(record, cbor_prefix, ENCODE_CBOR_PREFIX_BYTES);
    size_t payload_size = encode_cbor(change, record + before, room);
    write_head(change, payload_size, record + ENCODE_CBOR_PREFIX_BYTES);
    out->size += before + payload_size;
}

static void prepare_json(const struct change *change, struct buffer *out)
{
    size_t at = out->size;
    buffer_append(out, json_head, ENCODE_JSON_HEAD_BYTES);
    encode_json(change, out);
    if (out->failed) {
        out->size = at;
        return;
    }
    unsigned char *payload = out->data + at + ENCODE_JSON_HEAD_BYTES;
    store_u64le(out->data + at + JSON_CHECKSUM,
                payload_checksum(payload, out->size - at - ENCODE_JSON_HEAD_BYTES));
}

size_t record_prepare(enum wal_encoding encoding, const struct change *change, struct buffer *out)
{
    size_t at = out->size;
    ASSERT(!encode_has_key(change->kind) || change->key.size <= TARN_KEY_BYTES_MAX);
    ASSERT(!encode_has_value(change->kind) || change->value.size <= TARN_VALUE_BYTES_MAX);
    if (encoding == WAL_BINARY)
        prepare_binary(change, out);
    else if (encoding == WAL_CBOR)
        prepare_cbor(change, out);
    else
        prepare_json(change, out);
    return at;
}

static void seal_headed(unsigned char *head, const struct record_stamp *stamp,
                        struct record_chain *chain)
{
    uint64_t distance = stamp->sequence - stamp->durable_upto;
    store_u64le(head + HEAD_SEQUENCE, stamp->sequence);
    uint32_t noted = distance < DISTANCE_UNKNOWN ? (uint32_t)distance : DISTANCE_UNKNOWN;
    uint32_t fixed =
        load_u32le(head + HEAD_KEY_SIZE) | (stamp->more ? (uint32_t)FLAG_MORE << 24 : 0);
    struct head_words w = {{(uint64_t)load_u32le(head + HEAD_PAYLOAD_SIZE) << 32, stamp->sequence,
                            noted | (uint64_t)fixed << 32}};
    store_u64le(head + HEAD_DISTANCE, w.word[2]);
    if (plant(PLANT_LENGTH_UNCHECKED))
        w = head_words(head);
    store_u32le(head + HEAD_CHECK, words_check(&w, chain->salt));
    chain->checksum = words_checksum(&w, load_u64le(head + HEAD_CHECKSUM), chain);
    store_u64le(head + HEAD_CHECKSUM, chain->checksum);
}

/* 20 characters, the number's digits at their end; the places before hold spaces. */
static void put_padded(unsigned char *at, uint64_t value)
{
    static const char pairs[] = "0001020304050607080910111213141516171819"
                                "2021222324252627282930313233343536373839"
                                "4041424344454647484950515253545556575859"
                                "6061626364656667686970717273747576777879"
                                "8081828384858687888990919293949596979899";
    unsigned char *p = at + JSON_DIGITS;
    for (; value >= 10; value /= 100) /* 10..99 are the last pair, and have no leading zero */
        memcpy(p -= 2, pairs + 2 * (value % 100), 2);
    if (value > 0 || p == at + JSON_DIGITS)
        *--p = (unsigned char)('0' + value);
}

/* 8 lower-case digits. Each nibble gets a byte, then what makes it a digit or a letter. */
static void put_hex(unsigned char *at, uint32_t value)
{
    uint64_t x = __builtin_bswap32(value);
    x = (x | x << 16) & 0x0000ffff0000ffff;
    x = (x | x << 8) & 0x00ff00ff00ff00ff;
    x = (x >> 4 & 0x000f000f000f000f) | (x & 0x000f000f000f000f) << 8;
    uint64_t letters = (x + 0x0606060606060606) >> 4 & 0x0101010101010101;
    store_u64le(at, x + 0x3030303030303030 + letters * ('a' - '0' - 10));
}

static void seal_json(unsigned char *line, const struct record_stamp *stamp,
                      struct record_chain *chain)
{
    struct head_words w = json_words(stamp);
    uint64_t checksum = words_checksum(&w, load_u64le(line + JSON_CHECKSUM), chain);
    put_padded(line + JSON_SEQUENCE, stamp->sequence);
    put_padded(line + JSON_SYNCED, stamp->durable_upto);
    memcpy(line + JSON_MORE, stamp->more ? "true " : "false", JSON_MORE_BYTES);
    put_hex(line + JSON_CHECK, words_check(&w, chain->salt));
    put_hex(line + JSON_CHECKSUM, (uint32_t)(checksum >> 32));
    put_hex(line + JSON_CHECKSUM + 8, (uint32_t)checksum);
    chain->checksum = checksum;
}

void record_seal(enum wal_encoding encoding, unsigned char *record, size_t size,
                 const struct record_stamp *stamp, struct record_chain *chain)
{
    ASSERT(size >= RECORD_HEAD_BYTES && stamp->durable_upto < stamp->sequence);
    if (encoding == WAL_BINARY)
        seal_headed(record, stamp, chain);
    else if (encoding == WAL_CBOR)
        seal_headed(record + ENCODE_CBOR_PREFIX_BYTES, stamp, chain);
    else
        seal_json(record, stamp, chain);
}

/* A record whose payload is nothing, and which says that all up to its sequence is synced. */
void record_append_seal(enum wal_encoding encoding, uint64_t last_sequence,
                        struct record_chain *chain, struct buffer *out)
{
    const struct record_stamp stamp = {.sequence = last_sequence, .durable_upto = last_sequence};
    size_t at = out->size;
    if (!buffer_reserve(out, ENCODE_JSON_HEAD_BYTES + sizeof json_seal))
        return;
    unsigned char *record = out->data + at;
    if (encoding == WAL_JSON) {
        buffer_append(out, json_head, ENCODE_JSON_HEAD_BYTES);
        buffer_append(out, json_seal, sizeof json_seal - 1);
        store_u64le(record + JSON_CHECKSUM,
                    payload_checksum(record + ENCODE_JSON_HEAD_BYTES, sizeof json_seal - 1));
        seal_json(record, &stamp, chain);
        return;
    }
    if (encoding == WAL_CBOR)
        buffer_append(out, cbor_prefix, ENCODE_CBOR_PREFIX_BYTES);
    unsigned char head[RECORD_HEAD_BYTES] = {[HEAD_KIND] = KIND_SEAL};
    store_u64le(head + HEAD_CHECKSUM, payload_checksum(head, 0));
    seal_headed(head, &stamp, chain);
    buffer_append(out, head, sizeof head);
}
