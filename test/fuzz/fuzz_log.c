/* Goal: no bytes lead the log's reader out of bounds or astray: what is accepted under right
 * checksums is a change that can be written and read again, and a log of which bytes were changed,
 * moved or taken away gives its own first changes or is refused.
 * Method: the first byte chooses
 *
 *     0..2  a record of that encoding with this payload (after kind, flags and key size), its
 *           checksums made right
 *     3..5  records of that encoding, as they are
 *     6..   a sound log of one of some plans, and edits of it, 6 bytes each: what, which segment,
 *           where, how much
 *
 * All lies in memory allocated to the byte (lib/memory_os.h).
 *
 * Bugs planted once to see it fail: PLANT_LENGTH_UNCHECKED, PLANT_SEQUENCE_UNCHECKED; a key's size
 * not compared with the payload's.
 *
 * Seeds: corpus/log/: payloads of each kind, whole records, edits of each kind. */
#include <stdlib.h>

#include "lib/test.h"

#include "core/codec.h"
#include "core/hash.h"
#include "lib/wal_fixture.h"
#include "lib/wal_log.h"
#include "wal/segment.h"

int LLVMFuzzerTestOneInput(const unsigned char *input, size_t size);

static const struct record_chain chain_start = {0x5a17, 0xc4a1};
static const struct record_stamp stamp = {.sequence = 9, .durable_upto = 5};

/* --- records --- */

/* A change that was read is written, and read to the same one. */
static void check_again(enum wal_encoding encoding, const struct change *change)
{
    struct buffer bytes = {0}, scratch = {0};
    struct record_chain writer = chain_start, reader = chain_start;
    struct record_view view;
    wal_put(encoding, change, stamp, &writer, &bytes);
    ASSERT(record_read(encoding, buffer_view(&bytes), &reader, &view, &scratch) == RECORD_FOUND);
    ASSERT(wal_changes_equal(&view.change, change) && view.size == bytes.size);
    buffer_done(&bytes);
    buffer_done(&scratch);
}

static void read_records(enum wal_encoding encoding, struct tarn_bytes bytes)
{
    struct buffer scratch = {0};
    struct record_chain chain = chain_start;
    struct record_view view;
    struct record_mark mark;
    while (record_read(encoding, bytes, &chain, &view, &scratch) == RECORD_FOUND) {
        ASSERT(view.size > 0 && view.size <= bytes.size);
        check_again(encoding, &view.change);
        bytes.data = (const char *)bytes.data + view.size;
        bytes.size -= view.size;
    }
    for (size_t at = 0; record_find(encoding, bytes, chain_start.salt, &at, &mark); at++)
        ASSERT(at + record_head_bytes(encoding) <= bytes.size);
    buffer_done(&scratch);
}

/* Offsets in heads: doc/format-log.md. */
static void forge_record(enum wal_encoding encoding, const unsigned char *input, size_t size)
{
    size_t head = record_head_bytes(encoding), prefix = encoding == WAL_CBOR ? 2 : 0;
    if (size < 4)
        return;
    struct buffer b = {0};
    struct record_chain chain = chain_start;
    record_prepare(encoding, &wal_changes[0], &b);
    b.size = head;
    buffer_append(&b, input + 4, size - 4);
    if (encoding != WAL_JSON) {
        store_u32le(b.data + prefix + 4, (uint32_t)(size - 4));
        store_u16le(b.data + prefix + 20, load_u16le(input + 2));
        b.data[prefix + 22] = input[0];
        b.data[prefix + 23] = input[1];
    }
    store_u64le(b.data + (encoding == WAL_JSON ? 86 : prefix + 24),
                hash_checksum(b.data + head, size - 4, 0));
    record_seal(encoding, b.data, b.size, &stamp, &chain);
    unsigned char *exact = malloc(b.size);
    ASSERT(exact);
    memcpy(exact, b.data, b.size);
    read_records(encoding, (struct tarn_bytes){exact, b.size});
    free(exact);
    buffer_done(&b);
}

/* --- logs --- */

enum { EDIT_BYTES = 6, EDITS_MAX = 12 };

static const struct wal_log_plan plans[] = {
    {.files = 1, .changes = 11, .segment_records = 4, .lag = 2, .filling = 40},
    {.files = 2, .changes = 13, .segment_records = 4, .lag = 3, .seal = true},
    {.files = 1, .changes = 6},
    {.files = 3, .changes = 9, .lag = 9, .filling = 9},
};
enum { PLANS = sizeof plans / sizeof *plans };

static struct wal_log_plan choose(unsigned choice)
{
    struct wal_log_plan plan = plans[choice % PLANS];
    unsigned encoding = choice / PLANS % 4;
    plan.encodings[0] = encoding < 3 ? (enum wal_encoding)encoding : WAL_JSON;
    plan.encodings[1] = encoding < 3 ? (enum wal_encoding)encoding : WAL_BINARY;
    return plan;
}

static void replace(struct buffer *b, size_t at, size_t removed, struct tarn_bytes inserted)
{
    struct buffer all = {0};
    buffer_append(&all, b->data, at);
    buffer_append(&all, inserted.data, inserted.size);
    buffer_append(&all, b->data + at + removed, b->size - at - removed);
    buffer_done(b);
    *b = all;
}

static void edit(struct wal_log *log, const unsigned char *e)
{
    struct wal_log_segment *s = &log->segment[e[1] % log->segments];
    struct wal_log_segment *other = &log->segment[e[1] / 16 % log->segments];
    struct buffer *b = &s->bytes, swap;
    if (b->data == NULL) /* all of it was taken away */
        return;
    size_t at = load_u16le(e + 2), count = e[4];
    at = at < b->size ? at : b->size;
    count = count < b->size - at ? count : b->size - at;
    switch (e[0] % 8) {
    case 0:
        if (at < b->size)
            b->data[at] ^= e[5];
        break;
    case 1:
        if (count > 0)
            memset(b->data + at, e[5], count);
        break;
    case 2:
        b->size = at;
        break;
    case 3:
        replace(b, at, count, (struct tarn_bytes){NULL, 0});
        break;
    case 4: /* bytes from elsewhere, in place of these, or between */
    case 5:
        count = at < other->bytes.size ? e[4] : 0;
        count = count < other->bytes.size - at ? count : other->bytes.size - at;
        if (at <= b->size && count > 0) {
            size_t removed = e[0] % 8 == 4 ? 0 : b->size - at < count ? b->size - at : count;
            struct buffer copy = {0};
            buffer_append(&copy, other->bytes.data + at, count);
            replace(b, at, removed, buffer_view(&copy));
            buffer_done(&copy);
        }
        break;
    case 6:
        swap = s->bytes;
        s->bytes = other->bytes;
        other->bytes = swap;
        break;
    default:
        memset(s->path, 'x', 3); /* not there */
    }
}

static void replay_edited(const unsigned char *input, size_t size)
{
    static struct memory_os memory;
    struct wal_log_plan plan = choose(input[0] - 6u);
    struct wal_log log;
    wal_log_make(&log, &plan);
    for (size_t at = 1; at + EDIT_BYTES <= size && at < 1 + EDIT_BYTES * EDITS_MAX;
         at += EDIT_BYTES)
        edit(&log, input + at);
    memory_os_init(&memory);
    wal_log_put(&log, &memory);
    struct wal_log_outcome o = wal_log_replay(&log, &memory.os, 0, 0, false);
    ASSERT(!o.wrong);
    o = wal_log_replay(&log, &memory.os, 0, plan.changes, false);
    ASSERT(!o.wrong && (o.status != TARN_OK || o.result.sequence == plan.changes));
    o = wal_log_replay(&log, &memory.os, 0, 0, true);
    ASSERT(!o.wrong && o.status == TARN_OK);
    ASSERT(memory.open == 0);
    wal_log_free(&log);
}

int LLVMFuzzerTestOneInput(const unsigned char *input, size_t size)
{
    if (size == 0)
        return 0;
    if (input[0] < 3)
        forge_record((enum wal_encoding)input[0], input + 1, size - 1);
    else if (input[0] < 6)
        read_records((enum wal_encoding)(input[0] - 3), (struct tarn_bytes){input + 1, size - 1});
    else
        replay_edited(input, size);
    return 0;
}
