/* Goal: what is written is read back exactly, in every encoding; nothing that was damaged, moved
 * or made up is; heads are found wherever they lie; lines are JSON and the others CBOR to any
 * reader of those.
 * Method: changes of all kinds there and back, at the edge of an unreadable page; every bit and
 * every length of a small log; records repeated, swapped, from other chains; every allocation
 * failed; jansson and libcbor reading what they did not write. Planted once to see it fail: key
 * sizes outside the checksum (TARN_PLANT=PLANT_LENGTH_UNCHECKED). */
#include "wal/record.h"

#include <cbor.h>
#include <jansson.h>
#include <stdlib.h>

#include "lib/test.h"

#include "core/codec.h"
#include "core/hash.h"
#include "lib/fault_malloc.h"
#include "lib/guard.h"
#include "lib/wal_fixture.h"

enum { RECORDS = WAL_CHANGES, SALT = 0x5a17 };
static const struct record_chain chain_start = {SALT, 0xc4a1};

struct log {
    enum wal_encoding encoding;
    struct buffer bytes;
    size_t at[RECORDS + 1];
    struct record_chain end;
};

static struct record_stamp stamp_of(size_t i)
{
    return (struct record_stamp){10 + i * i, i < 4 ? 3 : 10 + (i - 2) * (i - 2), i % 3 == 1};
}

static struct log log_new(enum wal_encoding encoding)
{
    struct log log = {encoding, .end = chain_start};
    for (size_t i = 0; i < RECORDS; i++)
        log.at[i] = wal_put(encoding, &wal_changes[i], stamp_of(i), &log.end, &log.bytes);
    log.at[RECORDS] = log.bytes.size;
    return log;
}

static void log_free(struct log *log)
{
    buffer_done(&log->bytes);
}

/* Reads on until something is no record, checking what is one; returns how many there were. */
static size_t read_all(enum wal_encoding encoding, struct tarn_bytes bytes,
                       enum record_found *ret_last)
{
    struct record_chain chain = chain_start;
    struct buffer scratch = {0};
    struct record_view view;
    for (size_t n = 0;; n++) {
        *ret_last = record_read(encoding, bytes, &chain, &view, &scratch);
        if (*ret_last != RECORD_FOUND) {
            buffer_done(&scratch);
            return n;
        }
        struct record_stamp stamp = stamp_of(n);
        assert_true(n < RECORDS && wal_changes_equal(&view.change, &wal_changes[n]));
        assert_int_equal(view.stamp.sequence, stamp.sequence);
        assert_int_equal(view.stamp.durable_upto, stamp.durable_upto);
        assert_int_equal(view.stamp.more, stamp.more);
        assert_true(view.size > 0 && view.size <= bytes.size);
        bytes.data = (const char *)bytes.data + view.size;
        bytes.size -= view.size;
    }
}

static void for_each_encoding(void (*test)(struct log *log))
{
    for (int e = 0; e < WAL_ENCODINGS; e++) {
        struct log log = log_new((enum wal_encoding)e);
        test(&log);
        log_free(&log);
    }
}

/* --- there and back --- */

static void round_trip(struct log *log)
{
    enum record_found last;
    assert_int_equal(read_all(log->encoding, buffer_view(&log->bytes), &last), RECORDS);
    assert_int_equal(last, RECORD_END);
}

/* All lengths of the log, against an unreadable page: whole records, then SHORT (or END). */
static void lengths(struct log *log)
{
    struct guard guard = guard_new(log->bytes.size);
    size_t whole = 0;
    for (size_t size = 0; size <= log->bytes.size; size++) {
        enum record_found last;
        while (whole + 1 <= RECORDS && log->at[whole + 1] <= size)
            whole++;
        assert_int_equal(read_all(log->encoding, guard_end(&guard, log->bytes.data, size), &last),
                         whole);
        assert_int_equal(last, size == log->at[whole] ? RECORD_END : RECORD_SHORT);
        if (whole == RECORDS)
            break;
    }
    guard_free(&guard);
}

/* The filling behind a log is its end, and so are zeros, which are what is left when a file was cut
 * and power lost before its size was synced. Anything else in there is not. Bug planted: zeros are
 * not, in JSON; then a store that lost power while it was closed did not open. */
static void filling(struct log *log)
{
    size_t size = log->bytes.size;
    enum record_found last;
    for (int zeros = 3; zeros >= 0; zeros--) {
        log->bytes.size = size;
        for (int i = 0; i < 300; i++)
            buffer_append_byte(&log->bytes, i / 100 < zeros ? 0 : record_filling(log->encoding));
        assert_int_equal(read_all(log->encoding, buffer_view(&log->bytes), &last), RECORDS);
        assert_int_equal(last, RECORD_END);
    }
    for (size_t at = size; at < log->bytes.size; at++) {
        log->bytes.data[at] ^= 0x10;
        assert_int_equal(read_all(log->encoding, buffer_view(&log->bytes), &last), RECORDS);
        assert_int_equal(last, RECORD_BAD);
        log->bytes.data[at] ^= 0x10;
    }
}

/* Numbers at their limits; distances that do not fit are not known. */
static void extremes(struct log *log)
{
    static const struct {
        struct record_stamp stamp;
        uint64_t durable[2]; /* of a head; of a line */
    } cases[] = {
        {{1, 0, false}, {0, 0}},
        {{UINT64_MAX, UINT64_MAX - 1, true}, {UINT64_MAX - 1, UINT64_MAX - 1}},
        {{UINT64_MAX, 0, false}, {0, 0}},
        {{10000000000, 10000000000 - 0xfffffffe, false}, {10000000000 - 0xfffffffe, 5705032706}},
        {{10000000000, 10000000000 - 0xffffffff, false}, {0, 5705032705}},
        {{1010, 100, true}, {100, 100}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct record_chain writer = chain_start, reader = chain_start;
        struct record_view view;
        struct buffer scratch = {0};
        buffer_clear(&log->bytes);
        wal_put(log->encoding, &wal_changes[0], cases[i].stamp, &writer, &log->bytes);
        assert_int_equal(
            record_read(log->encoding, buffer_view(&log->bytes), &reader, &view, &scratch),
            RECORD_FOUND);
        assert_true(view.stamp.sequence == cases[i].stamp.sequence);
        assert_true(view.stamp.durable_upto == cases[i].durable[log->encoding == WAL_JSON]);
        assert_true(reader.checksum == writer.checksum);
        buffer_done(&scratch);
    }
}

/* Every byte value in keys and values of many sizes. */
static void all_bytes(struct log *log)
{
    unsigned char raw[700];
    struct buffer scratch = {0};
    for (size_t size = 0; size <= sizeof raw; size += size < 40 ? 1 : 33) {
        for (unsigned step = 0; step < 5; step++) {
            static const unsigned char ranges[5][2] = {
                {0, 255}, {'a', 26}, {1, 127}, {0x20, 95}, {'"', 1}};
            for (size_t i = 0; i < size; i++)
                raw[i] = (unsigned char)(ranges[step][0] + (i * 7 + size) % ranges[step][1]);
            struct change put = {CHANGE_PUT, {raw, size / 3}, {raw, size}, 0, (int64_t)size};
            struct record_chain writer = chain_start, reader = chain_start;
            struct record_view view;
            buffer_clear(&log->bytes);
            wal_put(log->encoding, &put, stamp_of(0), &writer, &log->bytes);
            assert_int_equal(
                record_read(log->encoding, buffer_view(&log->bytes), &reader, &view, &scratch),
                RECORD_FOUND);
            assert_true(wal_changes_equal(&view.change, &put));
            assert_true(log->bytes.size < 1000 + size);
            assert_true(log->bytes.size <= 103 + 160 + (size / 3 + 1) * 4 + (size / 9 + 1) * 4);
        }
    }
    buffer_done(&scratch);
}

static void test_round_trip(void **state)
{
    (void)state;
    for_each_encoding(round_trip);
    for_each_encoding(all_bytes);
    for_each_encoding(extremes);
}

static void test_lengths(void **state)
{
    (void)state;
    for_each_encoding(lengths);
    for_each_encoding(filling);
}

/* --- damage --- */

/* Every bit: the records before are read, the one it is in is not. */
static void bits(struct log *log)
{
    size_t record = 0;
    for (size_t at = 0; at < log->bytes.size; at++) {
        while (log->at[record + 1] <= at)
            record++;
        for (int bit = 0; bit < 8; bit++) {
            enum record_found last;
            log->bytes.data[at] ^= (unsigned char)(1 << bit);
            assert_int_equal(read_all(log->encoding, buffer_view(&log->bytes), &last), record);
            assert_true(last == RECORD_BAD || last == RECORD_SHORT);
            log->bytes.data[at] ^= (unsigned char)(1 << bit);
        }
    }
}

static struct tarn_bytes record_of(const struct log *log, size_t i)
{
    return (struct tarn_bytes){log->bytes.data + log->at[i], log->at[i + 1] - log->at[i]};
}

static void append_record(const struct log *log, size_t i, struct buffer *out)
{
    struct tarn_bytes record = record_of(log, i);
    buffer_append(out, record.data, record.size);
}

/* Records left out, repeated, swapped; a chain that began elsewhere. */
static void order(struct log *log)
{
    struct buffer other = {0}, scratch = {0};
    enum record_found last;
    for (size_t i = 0; i + 1 < RECORDS; i++) {
        buffer_clear(&other);
        for (size_t j = 0; j < RECORDS; j++)
            append_record(log, j == i ? i + 1 : j == i + 1 ? i : j, &other);
        assert_int_equal(read_all(log->encoding, buffer_view(&other), &last), i);
        assert_int_equal(last, RECORD_BAD);
        buffer_clear(&other);
        for (size_t j = 0; j < RECORDS; j++)
            append_record(log, j <= i ? j : j - 1, &other); /* i twice */
        assert_int_equal(read_all(log->encoding, buffer_view(&other), &last), i + 1);
        assert_int_equal(last, RECORD_BAD);
        buffer_clear(&other);
        for (size_t j = 0; j < RECORDS; j++)
            if (j != i)
                append_record(log, j, &other);
        assert_int_equal(read_all(log->encoding, buffer_view(&other), &last), i);
        assert_int_equal(last, RECORD_BAD);
    }
    for (int bit = 0; bit < 64; bit++) {
        struct record_chain salted = chain_start, chained = chain_start;
        struct record_view view;
        salted.salt ^= (uint64_t)1 << bit;
        chained.checksum ^= (uint64_t)1 << bit;
        struct tarn_bytes all = buffer_view(&log->bytes);
        assert_int_equal(record_read(log->encoding, all, &salted, &view, &scratch), RECORD_BAD);
        assert_int_equal(record_read(log->encoding, all, &chained, &view, &scratch), RECORD_BAD);
    }
    buffer_done(&other);
    buffer_done(&scratch);
}

static void test_damage(void **state)
{
    (void)state;
    for_each_encoding(bits);
    for_each_encoding(order);
}

/* --- seals and heads --- */

static void seals(struct log *log)
{
    size_t at = log->bytes.size;
    struct record_chain chain = log->end;
    struct record_view view;
    struct buffer scratch = {0};
    record_append_seal(log->encoding, 131, &chain, &log->bytes);
    for (int i = 0; i < 9; i++)
        buffer_append_byte(&log->bytes, record_filling(log->encoding));
    struct tarn_bytes seal = {log->bytes.data + at, log->bytes.size - at};
    struct record_chain reader = log->end;
    assert_int_equal(record_read(log->encoding, seal, &reader, &view, &scratch), RECORD_SEAL);
    assert_int_equal(view.stamp.sequence, 131);
    assert_int_equal(view.size, seal.size - 9);
    assert_true(reader.checksum == chain.checksum);
    assert_true(record_evidence(log->encoding, seal, SALT, 131));
    assert_false(record_evidence(log->encoding, seal, SALT, 132));
    for (size_t i = at; i < at + view.size; i++)
        for (int bit = 0; bit < 8; bit++) {
            log->bytes.data[i] ^= (unsigned char)(1 << bit);
            reader = log->end;
            enum record_found found = record_read(log->encoding, seal, &reader, &view, &scratch);
            assert_true(found == RECORD_BAD || found == RECORD_SHORT);
            log->bytes.data[i] ^= (unsigned char)(1 << bit);
        }
    buffer_done(&scratch);
}

/* Every head is found from anywhere before it, alone or among other bytes, but with the salt. */
static void finding(struct log *log)
{
    struct tarn_bytes all = buffer_view(&log->bytes);
    struct record_mark mark;
    for (size_t from = 0, i = 0; i < RECORDS; from++) {
        size_t at = from;
        assert_true(record_find(log->encoding, all, SALT, &at, &mark));
        assert_int_equal(at, log->at[i]);
        assert_int_equal(mark.stamp.sequence, stamp_of(i).sequence);
        assert_int_equal(mark.stamp.durable_upto, stamp_of(i).durable_upto);
        assert_false(mark.seal);
        if (from == log->at[i])
            i++;
    }
    for (size_t i = 0; i < RECORDS; i++) {
        struct tarn_bytes head = {log->bytes.data + log->at[i], record_head_bytes(log->encoding)};
        uint64_t durable = stamp_of(i).durable_upto;
        assert_true(record_evidence(log->encoding, head, SALT, durable));
        assert_false(record_evidence(log->encoding, head, SALT, durable + 1));
        assert_false(record_evidence(log->encoding, head, SALT + 1, durable));
        head.size--;
        assert_false(record_evidence(log->encoding, head, SALT, durable));
    }
}

static void test_seals_and_heads(void **state)
{
    (void)state;
    for_each_encoding(seals);
    for_each_encoding(finding);
}

/* --- other readers --- */

static void test_lines_are_json(void **state)
{
    (void)state;
    struct log log = log_new(WAL_JSON);
    struct record_chain chain = log.end;
    record_append_seal(WAL_JSON, 131, &chain, &log.bytes);
    const char *p = (const char *)log.bytes.data, *end = p + log.bytes.size;
    for (size_t n = 0; p < end; n++) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        json_t *line = json_loadb(p, (size_t)(newline - p), JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(line);
        assert_true(json_is_string(json_object_get(line, "op")));
        if (n < RECORDS) {
            struct record_stamp stamp = stamp_of(n);
            assert_int_equal(json_integer_value(json_object_get(line, "seq")), stamp.sequence);
            assert_int_equal(json_integer_value(json_object_get(line, "synced")),
                             stamp.durable_upto);
            assert_int_equal(json_is_true(json_object_get(line, "more")), stamp.more);
            assert_int_equal(json_integer_value(json_object_get(line, "expire_ms")),
                             wal_changes[n].expire_ms);
        }
        json_decref(line);
        p = newline + 1;
    }
    log_free(&log);
}

/* The sequence of items: head, map, head, map, ... */
static void test_cbor_is_cbor(void **state)
{
    (void)state;
    struct log log = log_new(WAL_CBOR);
    struct tarn_bytes rest = buffer_view(&log.bytes);
    for (size_t n = 0; n < 2 * RECORDS; n++) {
        struct cbor_load_result result;
        cbor_item_t *item = cbor_load(rest.data, rest.size, &result);
        assert_non_null(item);
        if (n % 2 == 0)
            assert_int_equal(cbor_bytestring_length(item), RECORD_HEAD_BYTES);
        else
            assert_true(cbor_isa_map(item));
        cbor_decref(&item);
        rest.data = (const char *)rest.data + result.read;
        rest.size -= result.read;
    }
    assert_int_equal(rest.size, 0);
    log_free(&log);
}

/* --- payloads with a right checksum that say something else --- */

/* A record of the encoding with this payload instead of its own. */
static enum record_found read_forged(enum wal_encoding encoding, const char *payload, size_t size,
                                     unsigned char kind, unsigned char flags, uint16_t key_size)
{
    struct buffer b = {0}, scratch = {0};
    struct record_chain writer = chain_start, reader = chain_start;
    struct record_view view;
    size_t prefix = encoding == WAL_CBOR ? 2 : 0, head = record_head_bytes(encoding);
    record_prepare(encoding, &wal_changes[0], &b);
    b.size = head;
    buffer_append(&b, payload, size);
    if (encoding != WAL_JSON) {
        store_u32le(b.data + prefix + 4, (uint32_t)size);
        store_u16le(b.data + prefix + 20, key_size);
        b.data[prefix + 22] = kind;
        b.data[prefix + 23] = flags;
    }
    store_u64le(b.data + (encoding == WAL_JSON ? 86 : prefix + 24),
                hash_checksum(b.data + head, size, 0));
    struct record_stamp stamp = stamp_of(0);
    record_seal(encoding, b.data, b.size, &stamp, &writer);
    enum record_found found = record_read(encoding, buffer_view(&b), &reader, &view, &scratch);
    assert_false(scratch.failed);
    buffer_done(&b);
    buffer_done(&scratch);
    return found;
}

static void test_forged_binary(void **state)
{
    (void)state;
    static const struct {
        struct tarn_bytes payload;
        unsigned char kind, flags;
        uint16_t key_size;
        bool fine;
    } cases[] = {
        {WAL_BYTES("kv"), CHANGE_PUT, 0, 1, true},
        {WAL_BYTES("kv"), CHANGE_PUT, 0, 3, false},
        {WAL_BYTES("kv"), CHANGE_PUT, 2, 1, false},    /* no room for an expiry */
        {WAL_BYTES("kv"), CHANGE_PATCH, 0, 1, false},  /* ... for an offset */
        {WAL_BYTES("kv"), CHANGE_DELETE, 0, 1, false}, /* a value */
        {WAL_BYTES("k"), CHANGE_FLUSH, 0, 1, false},   /* a key */
        {WAL_BYTES("kv"), 0, 0, 1, false},             /* no such kind */
        {WAL_BYTES("kv"), 6, 0, 1, false},
        {WAL_BYTES("kv"), CHANGE_PUT, 4, 1, false},                /* no such flag */
        {WAL_BYTES("\0\0\0\0\0\0\0\0k"), CHANGE_PUT, 2, 1, false}, /* an expiry of 0 */
        {WAL_BYTES("\1\0\0\0\0\0\0\0k"), CHANGE_PUT, 2, 1, true},
        {WAL_BYTES("\1\0\0\0\0\0\0\0k"), CHANGE_DELETE, 2, 1, false},
        {WAL_BYTES(""), 127, 0, 0, false}, /* a seal with a distance */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(read_forged(WAL_BINARY, cases[i].payload.data, cases[i].payload.size,
                                     cases[i].kind, cases[i].flags, cases[i].key_size),
                         cases[i].fine ? RECORD_FOUND : RECORD_BAD);
}

static void test_forged_cbor(void **state)
{
    (void)state;
    static const struct {
        struct tarn_bytes payload;
        bool fine;
    } cases[] = {
        {WAL_BYTES("\xa2\x62op\x66"
                   "delete\x63key\x41k"),
         true},
        {WAL_BYTES("\xa2\x63key\x41k\x62op\x66"
                   "delete"),
         true},
        {WAL_BYTES(""), false},
        {WAL_BYTES("\xa2\x62op\x66"
                   "delete\x63key\x41k "),
         false},
        {WAL_BYTES("\xa2\x62op\x66"
                   "delete\x63key\x61k"),
         false}, /* text */
        {WAL_BYTES("\xa2\x62op\x66"
                   "delete\x63key\x5f\x41k\xff"),
         false}, /* in pieces */
        {WAL_BYTES("\xbf\x62op\x66"
                   "delete\x63key\x41k\xff"),
         false},
        {WAL_BYTES("\xa1\x62op\x66"
                   "delete"),
         false},
        {WAL_BYTES("\xa3\x62op\x66"
                   "delete\x63key\x41k\x63key\x41k"),
         false},
        {WAL_BYTES("\xa2\x62op\x66"
                   "delete\x63key\x42k"),
         false},
        {WAL_BYTES("\xa3\x62op\x66"
                   "delete\x63key\x41k\x65value\x40"),
         false},
        {WAL_BYTES("\xa3\x62op\x66"
                   "delete\x63key\x41k\x69"
                   "expire_ms\x01"),
         false},
        {WAL_BYTES("\xa3\x62op\x66"
                   "delete\x63key\x41k\x65other\x01"),
         false},
        {WAL_BYTES("\xa2\x62op\x66"
                   "forget\x63key\x41k"),
         false},
        {WAL_BYTES("\xa2\x62op\xf6\x63key\x41k"), false},
        {WAL_BYTES("\xa2\x62op\x1b\x63key\x41k"), false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(read_forged(WAL_CBOR, cases[i].payload.data, cases[i].payload.size,
                                     CHANGE_DELETE, 0, 1),
                         cases[i].fine ? RECORD_FOUND : RECORD_BAD);
    /* The head says another kind, key or expiry than the map. */
    assert_int_equal(
        read_forged(WAL_CBOR, cases[0].payload.data, cases[0].payload.size, CHANGE_PUT, 0, 1),
        RECORD_BAD);
    assert_int_equal(
        read_forged(WAL_CBOR, cases[0].payload.data, cases[0].payload.size, CHANGE_DELETE, 0, 2),
        RECORD_BAD);
    assert_int_equal(
        read_forged(WAL_CBOR, cases[0].payload.data, cases[0].payload.size, CHANGE_DELETE, 2, 1),
        RECORD_BAD);
}

static void test_forged_json(void **state)
{
    (void)state;
    static const struct {
        const char *payload;
        bool fine;
    } cases[] = {
        {",\"op\":\"put\",\"key\":\"k\",\"value\":\"v\"}\n", true},
        {",\"value\":\"\\u0000\" , \"key\":\"k\",\"op\":\"put\"}\n", false}, /* a NUL as text */
        {" ,\"op\":\"put\",\"key\":\"k\",\"value\":\"v\"}\n", false},
        {",\"value\":\"\\u00e4\" , \"key\":\"k\",\"op\":\"put\"}\n", true},
        {",\"op\":\"put\",\"key\":\"k\"}\n", false},
        {",\"op\":\"put\",\"key\":\"k\",\"value\":1}\n", false},
        {",\"op\":\"put\",\"key\":\"k\",\"value\":\"v\",\"value_base64\":\"\"}\n", false},
        {",\"op\":\"put\",\"key\":\"k\",\"value_base64\":\"dg==\"}\n", true},
        {",\"op\":\"put\",\"key\":\"k\",\"value_base64\":\"dg=\"}\n", false},
        {",\"op\":\"put\",\"key\":\"k\",\"value\":\"v\",\"expire_ms\":1.5}\n", false},
        {",\"op\":\"put\",\"key\":\"k\",\"value\":\"v\",\"expire_ms\":99999999999999999999}\n",
         false},
        {",\"op\":\"put\",\"key\":\"k\",\"value\":\"v\",\"other\":1}\n", false},
        {",\"op\":\"put\",\"op\":\"put\",\"key\":\"k\",\"value\":\"v\"}\n", false},
        {",\"op\":\"patch\",\"key\":\"k\",\"value\":\"v\",\"offset\":-1}\n", false},
        {",\"op\":\"patch\",\"key\":\"k\",\"value\":\"v\",\"offset\":2}\n", true},
        {",\"op\":\"delete\",\"key\":\"k\",\"value\":\"v\"}\n", false},
        {",\"op\":\"flush\",\"key\":\"k\"}\n", false},
        {",\"op\":\"flush\"}\n", true},
        {",\"op\":\"flush\"}}\n", false},
        {",\"op\":\"flush\"\n", false},
        {",\"op\":\"seal\"}\n", false},
        {",\"op\":1}\n", false},
        {"}\n", false},
        {"\n", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(read_forged(WAL_JSON, cases[i].payload, strlen(cases[i].payload), 0, 0, 0),
                         cases[i].fine ? RECORD_FOUND : RECORD_BAD);
}

/* --- memory, names --- */

/* A failed allocation, or a bound, leaves what was there and says so. */
static void memory(struct log *log)
{
    for (uint64_t nth = 1;; nth++) {
        struct buffer b = {0};
        buffer_append_text(&b, "before");
        buffer_trim(&b, 6);
        fault_malloc_arm(nth, true);
        for (size_t i = 0; i < RECORDS; i++)
            record_prepare(log->encoding, &wal_changes[i], &b);
        bool fired = fault_malloc_disarm() > 0;
        assert_int_equal(b.failed, fired);
        if (fired && nth == 1)
            assert_int_equal(b.size, 6);
        buffer_done(&b);
        if (!fired)
            break;
    }
    for (size_t bound = 1; bound < 400; bound++) {
        struct buffer b = {.size_max = bound};
        record_prepare(log->encoding, &wal_changes[3], &b);
        assert_true(b.failed ? b.size == 0 : b.size > 0);
        buffer_done(&b);
    }
    if (log->encoding == WAL_JSON) {
        struct buffer scratch = {0};
        struct record_chain chain = chain_start;
        struct record_view view;
        fault_malloc_arm(1, true);
        assert_int_equal(record_read(WAL_JSON, buffer_view(&log->bytes), &chain, &view, &scratch),
                         RECORD_BAD);
        assert_int_equal(fault_malloc_disarm(), 1);
        assert_true(scratch.failed && chain.checksum == chain_start.checksum);
    }
}

static void test_memory(void **state)
{
    (void)state;
    for_each_encoding(memory);
}

static void test_names(void **state)
{
    (void)state;
    for (int e = 0; e < WAL_ENCODINGS; e++) {
        enum wal_encoding again;
        assert_true(wal_encoding_parse(wal_encoding_name((enum wal_encoding)e), &again));
        assert_int_equal(again, e);
    }
    enum wal_encoding none;
    assert_false(wal_encoding_parse("", &none));
    assert_false(wal_encoding_parse("jso", &none));
    assert_false(wal_encoding_parse("JSON", &none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),     cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_damage),         cmocka_unit_test(test_seals_and_heads),
        cmocka_unit_test(test_lines_are_json), cmocka_unit_test(test_cbor_is_cbor),
        cmocka_unit_test(test_forged_binary),  cmocka_unit_test(test_forged_cbor),
        cmocka_unit_test(test_forged_json),    cmocka_unit_test(test_memory),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
