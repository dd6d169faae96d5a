/* Goal: a log is replayed exactly, and whatever was done to it, what is replayed is never wrong:
 * the damage is noticed, or it makes no difference, or (where nothing says that it had been synced)
 * what is missing is the end.
 * Method: small logs of all encodings, of one and of several files and segments, of steps, with and
 * without a seal, with what was known to be synced noted in records and not; of each every bit
 * flipped, every length of every segment, each segment away, doubled, swapped, from another log;
 * records repeated, left out and swapped. A large log through windows that slide; cutting with
 * every call failed, on a disk that forgets; salvage. Planted to see it fail:
 * PLANT_SEQUENCE_UNCHECKED, PLANT_LENGTH_UNCHECKED; and by hand: evidence not looked for, a void
 * segment taken as damage, the step's ends noted after it. */
#include "wal/replay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/test.h"

#include "core/random.h"
#include "lib/fault_malloc.h"
#include "lib/fault_os.h"
#include "lib/scratch.h"
#include "lib/simulated_disk.h"
#include "lib/wal_fixture.h"
#include "lib/wal_log.h"

#if defined(__SANITIZE_ADDRESS__)
enum { BIT_STEP = 7 }; /* every seventh bit: all of them are for the release build */
#else
enum { BIT_STEP = 1 + 6 * (TEST_SLOWER > 1) };
#endif

static struct memory_os memory;

static const struct wal_log_plan plans[] = {
    {.files = 1, .changes = 11, .segment_records = 4, .lag = 2, .filling = 40},
    {.files = 1, .changes = 6, .seal = true, .filling = 9},
    {.files = 1, .changes = 5},
    {.files = 2, .changes = 13, .segment_records = 4, .lag = 3, .filling = 3},
    {.files = 3, .changes = 9, .seal = true},
    {.files = 2, .changes = 9, .lag = 9},
};
enum { PLANS = sizeof plans / sizeof *plans };

/* All encodings, and a log that changes between two. */
static struct wal_log_plan plan_of(size_t plan, unsigned encodings)
{
    struct wal_log_plan p = plans[plan];
    p.seed = 77;
    p.encodings[0] = (enum wal_encoding)(encodings % WAL_ENCODINGS);
    p.encodings[1] = encodings < WAL_ENCODINGS ? p.encodings[0] : WAL_JSON;
    return p;
}

static void for_each_log(void (*test)(struct wal_log *log))
{
    for (size_t plan = 0; plan < PLANS; plan++)
        for (unsigned encodings = 0; encodings <= WAL_ENCODINGS; encodings++) {
            struct wal_log_plan p = plan_of(plan, encodings);
            struct wal_log log;
            wal_log_make(&log, &p);
            memory_os_init(&memory);
            wal_log_put(&log, &memory);
            test(&log);
            assert_int_equal(memory.open, 0);
            wal_log_free(&log);
        }
}

/* --- what must be noticed --- */

/* The highest change that some record whose head lies outside [from, to) of a segment says was
 * synced. segment == log->segments: all are as they were. */
static uint64_t vouched(const struct wal_log *log, size_t segment, size_t from, size_t to)
{
    uint64_t highest = 0;
    for (size_t i = 0; i < log->segments; i++)
        for (size_t j = 0; j < log->segment[i].records; j++) {
            const struct wal_log_record *r = &log->segment[i].record[j];
            size_t head = record_head_bytes(log->segment[i].encoding);
            if (i == segment && r->at + head > from && r->at < to)
                continue;
            if (r->stamp.durable_upto > highest)
                highest = r->stamp.durable_upto;
        }
    return highest;
}

/* Are all changes up to `sure` in, but for those of a step of which the rest is missing? */
static bool holds(const struct wal_log *log, uint64_t reached, uint64_t sure)
{
    while (sure > reached && wal_log_more(log, sure))
        sure--;
    return sure <= reached;
}

/* Never wrong; and if it is accepted, then all that was synced is there. */
static void check_outcome(const struct wal_log *log, uint64_t sure, const char *what, size_t at)
{
    struct wal_log_outcome o = wal_log_replay(log, &memory.os, 0, 0, false);
    if (o.wrong || (o.status == TARN_OK && !holds(log, o.result.sequence, sure)))
        fail_msg("%s %zu: status %d, up to %llu of %llu, wrong: %d: %s", what, at, o.status,
                 (unsigned long long)o.result.sequence, (unsigned long long)sure, o.wrong,
                 o.status == TARN_OK ? "" : o.error.text);
    /* What somebody else knows to have been synced is there or missed, too. */
    for (uint64_t synced = 1; synced <= log->plan.changes; synced += 3) {
        struct wal_log_outcome known = wal_log_replay(log, &memory.os, 0, synced, false);
        bool reached = o.status == TARN_OK && o.result.sequence >= synced;
        /* All of the step that it is in is needed to get there. */
        bool half =
            o.status == TARN_OK && known.status == TARN_OK && !reached && wal_log_more(log, synced);
        if (known.wrong || (known.status == TARN_OK) != (reached || half))
            fail_msg("%s %zu: synced %llu: status %d, %d", what, at, (unsigned long long)synced,
                     o.status, known.status);
        if (TEST_SLOWER > 1 || BIT_STEP > 1)
            break;
    }
}

/* --- whole logs --- */

static void whole(struct wal_log *log)
{
    for (uint64_t synced = 0; synced <= log->plan.changes; synced++) {
        struct wal_log_outcome o = wal_log_replay(log, &memory.os, 0, synced, false);
        assert_int_equal(o.status, TARN_OK);
        assert_false(o.wrong);
        assert_int_equal(o.result.records, log->plan.changes);
        assert_int_equal(o.result.sequence, log->plan.changes);
        assert_int_equal(o.result.truncated_bytes, 0);
        assert_int_equal(o.result.truncated_records, 0);
        assert_int_equal(o.result.sealed, log->plan.seal);
    }
    struct wal_log_outcome o = wal_log_replay(log, &memory.os, 0, log->plan.changes + 1, false);
    assert_int_equal(o.status, TARN_CORRUPT);
}

/* Where each file ends, by which the writer goes on. */
static void ends(struct wal_log *log)
{
    struct wal_log_outcome o = wal_log_replay(log, &memory.os, 0, 0, false);
    for (unsigned file = 0; file < log->plan.files; file++) {
        const struct wal_log_segment *last = NULL;
        for (size_t i = 0; i < log->segments; i++)
            if (log->segment[i].file == file)
                last = &log->segment[i];
        const struct replay_end *end = &o.result.ends[file];
        const struct wal_log_record *r = &last->record[last->records - 1];
        uint64_t checksum;
        assert_int_equal(end->number, last->number);
        assert_int_equal(end->size, last->content);
        assert_int_equal(end->sequence, r->stamp.sequence);
        if (last->encoding != WAL_JSON) {
            size_t prefix = last->encoding == WAL_CBOR ? 2 : 0;
            memcpy(&checksum, last->bytes.data + r->at + prefix + 24, 8);
            assert_true(end->checksum == checksum);
        }
    }
}

/* What a checkpoint has is passed over. */
static void after(struct wal_log *log)
{
    for (uint64_t n = 0; n <= log->plan.changes; n++) {
        if (n > 0 && wal_log_more(log, n))
            continue;
        struct wal_log_outcome o = wal_log_replay(log, &memory.os, n, 0, false);
        assert_int_equal(o.status, TARN_OK);
        assert_false(o.wrong);
        assert_int_equal(o.result.records, log->plan.changes - n);
        assert_int_equal(o.result.sequence, log->plan.changes);
    }
}

static void test_whole(void **state)
{
    (void)state;
    for_each_log(whole);
    for_each_log(ends);
    for_each_log(after);
}

/* --- damage --- */

static void bits(struct wal_log *log)
{
    for (size_t i = 0; i < log->segments; i++) {
        struct buffer *b = &log->segment[i].bytes;
        for (size_t bit = 0; bit < 8 * b->size; bit += BIT_STEP) {
            size_t at = bit / 8;
            b->data[at] ^= (unsigned char)(1 << bit % 8);
            check_outcome(log, vouched(log, i, at, at + 1), "bit", bit);
            b->data[at] ^= (unsigned char)(1 << bit % 8);
        }
    }
}

static void lengths(struct wal_log *log)
{
    for (size_t i = 0; i < log->segments; i++) {
        struct tarn_bytes all = buffer_view(&log->segment[i].bytes);
        for (size_t size = 0; size < all.size; size += 1 + (BIT_STEP > 1)) {
            memory_os_put(&memory, log->segment[i].path, (struct tarn_bytes){all.data, size}, 0);
            check_outcome(log, vouched(log, i, size, all.size), "length", size);
        }
        memory_os_put(&memory, log->segment[i].path, all, 0);
    }
}

/* From a place on there is only filling, or zeros, or noise: a torn write. */
static void torn(struct wal_log *log)
{
    uint64_t seed = 5;
    for (size_t i = 0; i < log->segments; i++) {
        struct buffer *b = &log->segment[i].bytes, copy = {0};
        buffer_append(&copy, b->data, b->size);
        for (size_t from = 0; from < b->size; from += 1 + 4 * (BIT_STEP > 1))
            for (int with = 0; with < 4; with++) {
                for (size_t at = from; at < b->size && at < from + (with == 3 ? 64 : b->size); at++)
                    copy.data[at] = with == 0   ? record_filling(log->segment[i].encoding)
                                    : with == 1 ? 0
                                                : (unsigned char)random_next(&seed);
                memory_os_put(&memory, log->segment[i].path, buffer_view(&copy), 0);
                size_t to = with == 3 && from + 64 < b->size ? from + 64 : b->size;
                check_outcome(log, vouched(log, i, from, to), "torn", from);
                memcpy(copy.data + from, b->data + from, b->size - from);
            }
        memory_os_put(&memory, log->segment[i].path, buffer_view(b), 0);
        buffer_done(&copy);
    }
}

static void test_bits(void **state)
{
    (void)state;
    for_each_log(bits);
}

static void test_lengths(void **state)
{
    (void)state;
    for_each_log(lengths);
    for_each_log(torn);
}

/* --- segments --- */

static bool is_last(const struct wal_log *log, size_t segment)
{
    for (size_t i = segment + 1; i < log->segments; i++)
        if (log->segment[i].file == log->segment[segment].file)
            return false;
    return true;
}

/* Only the last segment of a file can go without a word, if nothing says that it was synced. */
static void deleted(struct wal_log *log)
{
    for (size_t i = 0; i < log->segments; i++) {
        memory_os_clear(&memory);
        for (size_t j = 0; j < log->segments; j++)
            if (j != i)
                memory_os_put(&memory, log->segment[j].path, buffer_view(&log->segment[j].bytes),
                              0);
        struct wal_log_outcome o = wal_log_replay(log, &memory.os, 0, 0, false);
        if (!is_last(log, i))
            assert_int_equal(o.status, TARN_MISSING);
        check_outcome(log, vouched(log, i, 0, SIZE_MAX), "deleted", i);
    }
}

/* A copy under another name: noticed, or it is no part of this log. */
static void doubled(struct wal_log *log)
{
    for (size_t i = 0; i < log->segments; i++)
        for (unsigned file = 0; file <= log->plan.files; file++)
            for (uint64_t number = 1; number <= 6; number++) {
                char name[SEGMENT_NAME_BYTES], path[sizeof log->segment[i].path];
                segment_name(file, number, name);
                snprintf(path, sizeof path, "%s/%s", WAL_LOG_DIRECTORY, name);
                wal_log_put(log, &memory);
                memory_os_put(&memory, path, buffer_view(&log->segment[i].bytes), 0);
                struct wal_log_outcome o = wal_log_replay(log, &memory.os, 0, 0, false);
                assert_false(o.wrong);
                if (file == log->plan.files || strcmp(path, log->segment[i].path) == 0)
                    assert_int_equal(o.result.sequence, log->plan.changes);
                else
                    assert_int_not_equal(o.status, TARN_OK);
            }
}

static void swapped(struct wal_log *log)
{
    for (size_t i = 0; i < log->segments; i++)
        for (size_t j = 0; j < i; j++) {
            wal_log_put(log, &memory);
            memory_os_put(&memory, log->segment[i].path, buffer_view(&log->segment[j].bytes), 0);
            memory_os_put(&memory, log->segment[j].path, buffer_view(&log->segment[i].bytes), 0);
            struct wal_log_outcome o = wal_log_replay(log, &memory.os, 0, 0, false);
            assert_false(o.wrong);
            assert_int_equal(o.status, TARN_CORRUPT);
        }
}

/* From another store; from another log of this store, with which only the one segment of a file
 * that has no other could be confused, but for its changes. */
static void foreign(struct wal_log *log)
{
    struct wal_log_plan other_plan = log->plan;
    struct wal_log other;
    other_plan.seed++;
    wal_log_make(&other, &other_plan);
    for (size_t i = 0; i < log->segments; i++) {
        wal_log_put(log, &memory);
        memory_os_put(&memory, log->segment[i].path, buffer_view(&other.segment[i].bytes), 0);
        struct wal_log_outcome o = wal_log_replay(log, &memory.os, 0, 0, false);
        assert_false(o.wrong);
        if (!is_last(log, i) || log->segment[i].number > 1)
            assert_int_equal(o.status, TARN_CORRUPT);
    }
    wal_log_free(&other);
    unsigned char header[SEGMENT_HEADER_BYTES];
    for (size_t i = 0; i < log->segments; i++) {
        struct buffer *b = &log->segment[i].bytes;
        struct segment_header h;
        uint64_t checksum;
        memcpy(header, b->data, sizeof header);
        assert_true(segment_header_read(b->data, &h, &checksum));
        h.store_id++;
        segment_header_write(&h, b->data, &checksum);
        wal_log_put(log, &memory);
        struct wal_log_outcome o = wal_log_replay(log, &memory.os, 0, 0, false);
        assert_int_equal(o.status, TARN_CORRUPT);
        memcpy(b->data, header, sizeof header);
    }
}

static void test_segments(void **state)
{
    (void)state;
    for_each_log(deleted);
    for_each_log(doubled);
    for_each_log(swapped);
    for_each_log(foreign);
}

/* --- records --- */

static void put_record(const struct wal_log_segment *s, size_t i, struct buffer *out)
{
    buffer_append(out, s->bytes.data + s->record[i].at, s->record[i].size);
}

/* Records i and j change places; or j comes again behind i. */
static void check_moved(struct wal_log *log, size_t segment, size_t i, size_t j, bool repeat)
{
    const struct wal_log_segment *s = &log->segment[segment];
    struct buffer copy = {0};
    buffer_append(&copy, s->bytes.data, SEGMENT_HEADER_BYTES);
    for (size_t k = 0; k < s->records; k++) {
        put_record(s, repeat || (k != i && k != j) ? k : k == i ? j : i, &copy);
        if (repeat && k == i)
            put_record(s, j, &copy);
    }
    memory_os_put(&memory, s->path, buffer_view(&copy), 0);
    check_outcome(log, vouched(log, log->segments, 0, 0), "moved", i);
    memory_os_put(&memory, s->path, buffer_view(&s->bytes), 0);
    buffer_done(&copy);
}

static void moved(struct wal_log *log)
{
    for (size_t segment = 0; segment < log->segments; segment++)
        for (size_t i = 0; i < log->segment[segment].records; i++)
            for (size_t j = 0; j < log->segment[segment].records; j++) {
                check_moved(log, segment, i, j, true);
                if (i < j)
                    check_moved(log, segment, i, j, false);
            }
}

static void left_out(struct wal_log *log)
{
    for (size_t segment = 0; segment < log->segments; segment++) {
        const struct wal_log_segment *s = &log->segment[segment];
        for (size_t i = 0; i < s->records; i++) {
            struct buffer copy = {0};
            buffer_append(&copy, s->bytes.data, SEGMENT_HEADER_BYTES);
            for (size_t k = 0; k < s->records; k++)
                if (k != i)
                    put_record(s, k, &copy);
            memory_os_put(&memory, s->path, buffer_view(&copy), 0);
            check_outcome(log, vouched(log, segment, s->record[i].at, s->record[i].at + 1),
                          "left out", i);
            buffer_done(&copy);
        }
        memory_os_put(&memory, s->path, buffer_view(&s->bytes), 0);
    }
}

static void test_records(void **state)
{
    (void)state;
    for_each_log(moved);
    for_each_log(left_out);
}

/* --- segments whose making was interrupted --- */

/* Without a header and without content they are passed over, wherever they are. */
static void void_segments(struct wal_log *log)
{
    static const unsigned char zeros[600] = {0};
    unsigned char lines[600];
    memset(lines, '\n', sizeof lines);
    for (size_t i = 0; i < log->segments; i++) {
        const struct wal_log_segment *s = &log->segment[i];
        char name[SEGMENT_NAME_BYTES], path[sizeof s->path];
        if (!is_last(log, i))
            continue;
        segment_name(s->file, s->number + 1, name);
        snprintf(path, sizeof path, "%s/%s", WAL_LOG_DIRECTORY, name);
        for (size_t size = 0; size < 3 * sizeof zeros; size += 50) {
            const unsigned char *from = size < sizeof zeros ? zeros
                                        : size < 1200       ? lines
                                                            : s->bytes.data;
            size_t shown = size % sizeof zeros;
            if (from == s->bytes.data && shown >= SEGMENT_HEADER_BYTES)
                continue;
            wal_log_put(log, &memory);
            memory_os_put(&memory, path, (struct tarn_bytes){from, shown}, 0);
            struct wal_log_outcome o = wal_log_replay(log, &memory.os, 0, log->plan.changes, false);
            assert_int_equal(o.status, TARN_OK);
            assert_int_equal(o.result.sequence, log->plan.changes);
            assert_int_equal(o.result.ends[s->file].number, s->number);
        }
        wal_log_put(log, &memory);
        memory_os_put(&memory, path, (struct tarn_bytes){"x", 1}, 0);
        assert_int_equal(wal_log_replay(log, &memory.os, 0, 0, false).status, TARN_OK);
        lines[300] = 'x';
        memory_os_put(&memory, path, (struct tarn_bytes){lines, sizeof lines}, 0);
        assert_int_equal(wal_log_replay(log, &memory.os, 0, 0, false).status, TARN_CORRUPT);
        lines[300] = '\n';
    }
}

static void test_void_segments(void **state)
{
    (void)state;
    for_each_log(void_segments);
}

/* --- logs made up by hand, with right checksums --- */

struct forger {
    struct memory_os memory;
    struct buffer bytes[4];
    char paths[4][40];
    unsigned files;
    struct record_chain chain[4];
};

static void forge_header(struct forger *f, unsigned file, uint64_t previous, uint64_t first)
{
    unsigned char header[SEGMENT_HEADER_BYTES];
    char name[SEGMENT_NAME_BYTES];
    struct segment_header h = {WAL_BINARY, file, 1, WAL_LOG_STORE_ID, file, previous, 0, first};
    segment_name(file, 1, name);
    snprintf(f->paths[file], sizeof f->paths[file], "%s/%s", WAL_LOG_DIRECTORY, name);
    segment_header_write(&h, header, &f->chain[file].checksum);
    f->chain[file].salt = file;
    buffer_clear(&f->bytes[file]);
    buffer_append(&f->bytes[file], header, sizeof header);
    if (file >= f->files)
        f->files = file + 1;
}

static void forge_record(struct forger *f, unsigned file, uint64_t sequence, uint64_t durable,
                         bool more)
{
    wal_put(WAL_BINARY, &wal_changes[0], (struct record_stamp){sequence, durable, more},
            &f->chain[file], &f->bytes[file]);
}

static int count_changes(void *context, uint64_t sequence, const struct change *change)
{
    (void)sequence, (void)change;
    ++*(uint64_t *)context;
    return TARN_OK;
}

static int forged_replay(struct forger *f, uint64_t after, struct replay_result *ret_result,
                         struct tarn_error *error)
{
    static const uint64_t first[4] = {1, 1, 1, 1};
    uint64_t count = 0;
    struct replay_start start = {.directory = WAL_LOG_DIRECTORY,
                                 .store_id = WAL_LOG_STORE_ID,
                                 .after = after,
                                 .files = f->files,
                                 .first = first};
    memory_os_init(&f->memory);
    for (unsigned i = 0; i < f->files; i++)
        memory_os_put(&f->memory, f->paths[i], buffer_view(&f->bytes[i]), 0);
    return replay(&f->memory.os, &start, count_changes, &count, NULL, NULL, ret_result, error);
}

static void forger_done(struct forger *f)
{
    for (unsigned i = 0; i < f->files; i++)
        buffer_done(&f->bytes[i]);
}

/* A log of two files of which the first has these sequences, ending at 0, and the second those. */
static int replay_sequences(const uint64_t *a, const uint64_t *b, uint64_t first,
                            struct replay_result *ret_result)
{
    struct forger f = {.files = 0};
    struct tarn_error error;
    forge_header(&f, 0, 0, first);
    forge_header(&f, 1, 0, first);
    for (; *a; a++)
        forge_record(&f, 0, *a, 0, false);
    for (; *b; b++)
        forge_record(&f, 1, *b, 0, false);
    int status = forged_replay(&f, 0, ret_result, &error);
    forger_done(&f);
    return status;
}

static void test_sequences(void **state)
{
    (void)state;
    static const struct {
        uint64_t a[5], b[5], first;
        int status;
        uint64_t reached, cut;
    } cases[] = {
        {{1, 2, 3}, {4, 5}, 1, TARN_OK, 5, 0},
        {{1, 3, 5}, {2, 4}, 1, TARN_OK, 5, 0},
        {{1, 3, 5}, {4}, 1, TARN_OK, 1, 3},   /* 2 is missing */
        {{2, 3}, {0}, 1, TARN_OK, 0, 2},      /* 1 is */
        {{1, 1}, {0}, 1, TARN_CORRUPT, 0, 0}, /* twice in a file */
        {{1, 2}, {2}, 1, TARN_CORRUPT, 0, 0}, /* in both */
        {{2, 1}, {0}, 1, TARN_CORRUPT, 0, 0},
        {{1, 2}, {3}, 2, TARN_CORRUPT, 0, 0}, /* below the segment's first */
        {{2}, {3}, 2, TARN_OK, 0, 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct replay_result result;
        int status = replay_sequences(cases[i].a, cases[i].b, cases[i].first, &result);
        assert_int_equal(status, cases[i].status);
        if (status == TARN_OK) {
            assert_int_equal(result.sequence, cases[i].reached);
            assert_int_equal(result.truncated_records, cases[i].cut);
            assert_int_equal(result.truncated_bytes == 0, cases[i].cut == 0);
        }
    }
}

/* Changes before the first segment that are in no checkpoint. */
static void test_changes_before(void **state)
{
    (void)state;
    struct forger f = {.files = 0};
    struct replay_result result;
    struct tarn_error error;
    forge_header(&f, 0, 7, 8);
    forge_record(&f, 0, 8, 0, false);
    assert_int_equal(forged_replay(&f, 6, &result, &error), TARN_CORRUPT);
    assert_non_null(strstr(error.text, "wal-00-0000000001.log"));
    assert_int_equal(forged_replay(&f, 7, &result, &error), TARN_OK);
    assert_int_equal(result.sequence, 8);
    assert_int_equal(forged_replay(&f, 9, &result, &error), TARN_OK);
    assert_int_equal(result.sequence, 9);
    assert_int_equal(result.ends[0].sequence, 8);
    assert_int_equal(result.ends[0].size, f.bytes[0].size);
    forger_done(&f);
}

/* A step that is not whole is cut in all files, to where they were before it. */
static void test_half_step(void **state)
{
    (void)state;
    struct forger f = {.files = 0};
    struct replay_result result;
    struct tarn_error error;
    forge_header(&f, 0, 0, 1);
    forge_header(&f, 1, 0, 1);
    forge_record(&f, 0, 1, 0, false);
    forge_record(&f, 1, 2, 0, false);
    size_t sizes[2] = {f.bytes[0].size, f.bytes[1].size};
    forge_record(&f, 0, 3, 0, true);
    forge_record(&f, 1, 4, 2, true);
    assert_int_equal(forged_replay(&f, 0, &result, &error), TARN_OK);
    assert_int_equal(result.sequence, 2);
    assert_int_equal(result.records, 2);
    assert_int_equal(result.truncated_records, 2);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(result.ends[i].size, sizes[i]);
        assert_int_equal(result.ends[i].sequence, i + 1);
    }
    assert_int_equal(result.truncated_bytes,
                     f.bytes[0].size + f.bytes[1].size - sizes[0] - sizes[1]);
    /* That the first half had been synced promises nothing. That the rest had been does. */
    forge_record(&f, 1, 6, 4, false);
    assert_int_equal(forged_replay(&f, 0, &result, &error), TARN_OK);
    assert_int_equal(result.sequence, 2);
    forge_record(&f, 1, 7, 5, false);
    assert_int_equal(forged_replay(&f, 0, &result, &error), TARN_CORRUPT);
    forge_record(&f, 0, 5, 0, false);
    assert_int_equal(forged_replay(&f, 0, &result, &error), TARN_OK);
    assert_int_equal(result.sequence, 7);
    forger_done(&f);
}

/* The last segment that counts, as a clean close names it. */
static void test_last(void **state)
{
    (void)state;
    struct wal_log_plan plan = plan_of(0, WAL_BINARY);
    struct wal_log log;
    const uint64_t first[1] = {1};
    uint64_t count = 0, last[1] = {0};
    struct replay_result result;
    struct tarn_error error;
    struct replay_start start = {.directory = WAL_LOG_DIRECTORY,
                                 .store_id = WAL_LOG_STORE_ID,
                                 .files = 1,
                                 .first = first,
                                 .last = last};
    wal_log_make(&log, &plan);
    memory_os_init(&memory);
    wal_log_put(&log, &memory);
    assert_int_equal(log.segments, 3);
    for (last[0] = 0; last[0] <= 5; last[0]++) {
        int status = replay(&memory.os, &start, count_changes, &count, NULL, NULL, &result, &error);
        assert_int_equal(status, last[0] > 3 ? TARN_MISSING : TARN_OK);
        if (status == TARN_OK)
            assert_int_equal(result.sequence, last[0] == 1 ? 4 : last[0] == 2 ? 6 : 11);
    }
    wal_log_free(&log);
}

static void test_nothing(void **state)
{
    (void)state;
    const uint64_t first[2] = {0, 7}, last[2] = {0, 7};
    uint64_t count = 0;
    struct replay_result result;
    struct tarn_error error;
    struct replay_start start = {
        .directory = WAL_LOG_DIRECTORY, .after = 5, .files = 2, .first = first};
    memory_os_init(&memory);
    assert_int_equal(replay(&memory.os, &start, count_changes, &count, NULL, NULL, &result, &error),
                     TARN_OK);
    assert_int_equal(result.sequence, 5);
    assert_int_equal(result.ends[0].number, 0);
    assert_false(result.sealed);
    start.synced_upto = 6;
    assert_int_equal(replay(&memory.os, &start, count_changes, &count, NULL, NULL, &result, &error),
                     TARN_CORRUPT);
    start.synced_upto = 5;
    start.last = last;
    assert_int_equal(replay(&memory.os, &start, count_changes, &count, NULL, NULL, &result, &error),
                     TARN_MISSING);
    start.files = 0;
    assert_int_equal(replay(&memory.os, &start, count_changes, &count, NULL, NULL, &result, &error),
                     TARN_OK);
}

/* --- large --- */

enum { LARGE_CHANGES = 6000 };

static struct tarn_bytes large_value(uint64_t sequence, unsigned char *space)
{
    size_t size = sequence == 3000   ? 5000000
                  : sequence % 100   ? sequence % 700
                  : sequence == 2000 ? 1 << 20
                                     : 60000;
    memset(space, 'a' + (int)(sequence % 26), size);
    return (struct tarn_bytes){space, size};
}

static int compare_large(void *context, uint64_t sequence, const struct change *change)
{
    struct tarn_bytes value = large_value(sequence, context);
    assert_true(bytes_equal(change->value, value));
    return TARN_OK;
}

/* Records of all sizes, much filling with and without something behind it, through windows of any
 * alignment. */
static void test_large(void **state)
{
    (void)state;
    unsigned char *space = malloc(5000000), *seen = malloc(5000000);
    for (int e = 0; e < WAL_ENCODINGS; e++) {
        struct buffer b = {0};
        struct record_chain chain = {.salt = 9};
        unsigned char header[SEGMENT_HEADER_BYTES];
        const struct segment_header h = {(enum wal_encoding)e, 0, 1, 0, 9, 0, 0, 1};
        const uint64_t first[1] = {1};
        struct replay_result result;
        struct tarn_error error;
        struct replay_start start = {.directory = WAL_LOG_DIRECTORY, .files = 1, .first = first};
        segment_header_write(&h, header, &chain.checksum);
        buffer_append(&b, header, sizeof header);
        for (uint64_t i = 1; i <= LARGE_CHANGES; i++) {
            struct change put = {CHANGE_PUT, WAL_BYTES("key"), large_value(i, space), 0, 0};
            wal_put((enum wal_encoding)e, &put, (struct record_stamp){i, i > 9 ? i - 9 : 0, false},
                    &chain, &b);
        }
        size_t content = b.size;
        memory_os_init(&memory);
        for (int step = 0; step < 4; step++) {
            memory_os_put(&memory, WAL_LOG_DIRECTORY "/wal-00-0000000001.log", buffer_view(&b), 0);
            int status =
                replay(&memory.os, &start, compare_large, seen, NULL, NULL, &result, &error);
            if (step < 3) {
                assert_int_equal(status, TARN_OK);
                assert_int_equal(result.sequence, LARGE_CHANGES);
                assert_int_equal(result.ends[0].size, content);
                assert_int_equal(result.truncated_bytes, step < 2 ? 0 : b.size - content);
            } else {
                assert_int_equal(status, TARN_CORRUPT);
                assert_int_equal(error.offset, content);
            }
            if (step == 0)
                for (int i = 0; i < 3000000; i++)
                    buffer_append_byte(&b, record_filling((enum wal_encoding)e));
            else if (step == 1)
                buffer_append_byte(&b, 'x');
            else if (step == 2) /* known to be synced, behind a hole of filling and noise */
                wal_put((enum wal_encoding)e, &wal_changes[0],
                        (struct record_stamp){9000, LARGE_CHANGES + 1, false}, &chain, &b);
        }
        buffer_done(&b);
    }
    free(space);
    free(seen);
}

enum { WINDOW_BYTES = 1 << 20 }; /* of replay.c, for one file */

/* A log of one segment, whose first record ends at an offset, before three others. */
static void make_bordered(enum wal_encoding encoding, size_t border, unsigned char *space,
                          struct buffer *out)
{
    const struct segment_header h = {encoding, 0, 1, WAL_LOG_STORE_ID, 9, 0, 0, 1};
    unsigned char header[SEGMENT_HEADER_BYTES];
    struct change put = {CHANGE_PUT, WAL_BYTES("key"), {space, WINDOW_BYTES / 2}, 0, 0};
    struct record_chain chain = {.salt = h.salt};
    segment_header_write(&h, header, &chain.checksum);
    for (int i = 0; i < 2; i++) { /* once to see how long it becomes */
        struct record_chain first = chain;
        buffer_clear(out);
        buffer_append(out, header, sizeof header);
        wal_put(encoding, &put, (struct record_stamp){1, 0, false}, &first, out);
        put.value.size += border - out->size;
        if (i == 1)
            chain = first;
    }
    assert_int_equal(out->size, border);
    for (uint64_t sequence = 2; sequence <= 4; sequence++)
        wal_put(encoding, wal_log_change(sequence), (struct record_stamp){sequence, 0, false},
                &chain, out);
}

/* The window ends anywhere between and within records. */
static void test_window_borders(void **state)
{
    (void)state;
    unsigned char *space = malloc(WINDOW_BYTES + 200);
    memset(space, 'v', WINDOW_BYTES + 200);
    for (int e = 0; e < WAL_ENCODINGS; e++)
        for (size_t border = WINDOW_BYTES - 120; border <= WINDOW_BYTES + 5; border++) {
            static const uint64_t first[1] = {1};
            struct buffer b = {0};
            struct replay_result result;
            struct tarn_error error;
            uint64_t count = 0;
            struct replay_start start = {.directory = WAL_LOG_DIRECTORY,
                                         .store_id = WAL_LOG_STORE_ID,
                                         .files = 1,
                                         .first = first};
            make_bordered((enum wal_encoding)e, border, space, &b);
            memory_os_init(&memory);
            memory_os_put(&memory, WAL_LOG_DIRECTORY "/wal-00-0000000001.log", buffer_view(&b), 0);
            assert_int_equal(
                replay(&memory.os, &start, count_changes, &count, NULL, NULL, &result, &error),
                TARN_OK);
            assert_int_equal(result.sequence, 4);
            assert_int_equal(result.truncated_bytes, 0);
            buffer_done(&b);
        }
    free(space);
}

/* --- what the callbacks say --- */

struct stop {
    uint64_t at;
    int status;
};

static int stop_at(void *context, uint64_t sequence, const struct change *change)
{
    struct stop *stop = context;
    (void)change;
    return sequence == stop->at ? stop->status : TARN_OK;
}

static bool cancel(void *context, const char *phase, uint64_t done, uint64_t total)
{
    assert_string_equal(phase, "replaying");
    assert_true(done <= total && total > 0);
    return --*(int *)context >= 0;
}

static void test_callbacks(void **state)
{
    (void)state;
    struct wal_log_plan plan = plan_of(3, WAL_BINARY);
    struct wal_log log;
    const uint64_t first[2] = {1, 1};
    struct replay_result result;
    struct tarn_error error;
    struct replay_start start = {
        .directory = WAL_LOG_DIRECTORY, .store_id = WAL_LOG_STORE_ID, .files = 2, .first = first};
    wal_log_make(&log, &plan);
    memory_os_init(&memory);
    wal_log_put(&log, &memory);
    for (uint64_t at = 1; at <= plan.changes; at++) {
        struct stop stop = {at, TARN_FULL};
        assert_int_equal(replay(&memory.os, &start, stop_at, &stop, NULL, NULL, &result, &error),
                         TARN_FULL);
    }
    struct stop never = {0, TARN_OK};
    int left = 0, status = TARN_CANCELLED;
    for (int calls = 0; status == TARN_CANCELLED; calls++) {
        left = calls;
        status = replay(&memory.os, &start, stop_at, &never, cancel, &left, &result, &error);
        assert_true(status == TARN_CANCELLED || (status == TARN_OK && left >= 0));
        assert_true(calls < 30);
    }
    assert_int_equal(memory.open, 0);
    wal_log_free(&log);
}

/* --- failures --- */

static void test_failures(void **state)
{
    (void)state;
    static const enum fault_entry entries[] = {FAULT_LIST, FAULT_OPEN, FAULT_FILE_INFO,
                                               FAULT_READ_AT};
    for (unsigned encoding = 0; encoding < WAL_ENCODINGS; encoding++) {
        struct wal_log_plan plan = plan_of(3, encoding);
        struct wal_log log;
        struct fault_os fault;
        uint64_t count = 0;
        const uint64_t first[2] = {1, 1};
        struct replay_result result;
        struct tarn_error error;
        int calls = 1000;
        struct replay_start start = {.directory = WAL_LOG_DIRECTORY,
                                     .store_id = WAL_LOG_STORE_ID,
                                     .files = 2,
                                     .first = first};
        wal_log_make(&log, &plan);
        log.segment[log.segments - 1].bytes.data[300] ^= 1; /* so that all paths are taken */
        memory_os_init(&memory);
        wal_log_put(&log, &memory);
        fault_os_init(&fault, &memory.os);
        for (size_t e = 0; e < sizeof entries / sizeof *entries; e++)
            for (uint64_t nth = 1;; nth++) {
                fault_os_reset(&fault);
                fault_os_fail(&fault, entries[e], nth, EIO, false);
                int status = replay(&fault.os, &start, count_changes, &count, cancel, &calls,
                                    &result, &error);
                calls = 1000;
                assert_true(fault_os_clean(&fault));
                if (!fault_os_fired(&fault))
                    break;
                assert_int_equal(status, TARN_IO);
            }
        for (uint64_t nth = 1;; nth++) {
            fault_os_reset(&fault);
            fault_os_short(&fault, FAULT_READ_AT, nth, 7);
            int status =
                replay(&fault.os, &start, count_changes, &count, NULL, NULL, &result, &error);
            if (!fault_os_fired(&fault))
                break;
            assert_true(status == TARN_OK || status == TARN_CORRUPT);
        }
        for (uint64_t nth = 1;; nth++) {
            fault_malloc_arm(nth, false);
            int status =
                replay(&fault.os, &start, count_changes, &count, cancel, &calls, &result, &error);
            calls = 1000;
            assert_true(fault_os_clean(&fault));
            if (fault_malloc_disarm() == 0)
                break;
            assert_int_equal(status, TARN_NOMEM);
        }
        fault_os_done(&fault);
        wal_log_free(&log);
    }
}

/* --- salvage --- */

/* How many changes one damaged byte may cost salvage: those of two steps; all of a segment if its
 * header no longer says what it is, its store or its salt. */
static uint64_t lost_at_most(const struct wal_log_segment *s, size_t at)
{
    bool needed = s->encoding == WAL_JSON || at == 0 || (at >= 24 && at < 40);
    return at < SEGMENT_HEADER_BYTES && needed ? s->records + 4 : 6;
}

/* Each bit flipped. */
static void salvage_bits(struct wal_log *log)
{
    for (size_t i = 0; i < log->segments; i++) {
        struct buffer *b = &log->segment[i].bytes;
        for (size_t bit = 0; bit < 8 * log->segment[i].content; bit += 5) {
            size_t at = bit / 8;
            uint64_t lost_max = lost_at_most(&log->segment[i], at);
            b->data[at] ^= (unsigned char)(1 << bit % 8);
            struct wal_log_outcome o = wal_log_replay(log, &memory.os, 0, 0, true);
            assert_int_equal(o.status, TARN_OK);
            assert_false(o.wrong);
            assert_true(o.result.damaged_places > 0);
            assert_true(o.result.records + lost_max >= log->plan.changes);
            b->data[at] ^= (unsigned char)(1 << bit % 8);
        }
    }
}

static void salvage_segments(struct wal_log *log)
{
    struct wal_log_outcome o = wal_log_replay(log, &memory.os, 0, 0, true);
    assert_true(o.status == TARN_OK && !o.wrong);
    assert_int_equal(o.result.records, log->plan.changes);
    assert_int_equal(o.result.damaged_places, 0);
    for (size_t i = 0; i < log->segments; i++) {
        memory_os_clear(&memory);
        for (size_t j = 0; j < log->segments; j++)
            if (j != i)
                memory_os_put(&memory, log->segment[j].path, buffer_view(&log->segment[j].bytes),
                              0);
        o = wal_log_replay(log, &memory.os, 0, 0, true);
        assert_true(o.status == TARN_OK && !o.wrong);
        assert_true(o.result.records + log->segment[i].records + 4 >= log->plan.changes);
        for (size_t j = 0; j < i; j++) { /* and swapped */
            wal_log_put(log, &memory);
            memory_os_put(&memory, log->segment[i].path, buffer_view(&log->segment[j].bytes), 0);
            memory_os_put(&memory, log->segment[j].path, buffer_view(&log->segment[i].bytes), 0);
            o = wal_log_replay(log, &memory.os, 0, 0, true);
            assert_true(o.status == TARN_OK && !o.wrong);
            assert_true(o.result.damaged_places > 0);
        }
    }
}

static void test_salvage(void **state)
{
    (void)state;
    for_each_log(salvage_bits);
    for_each_log(salvage_segments);
}

/* --- cutting --- */

static void disk_file(const struct os *os, const char *path, struct tarn_bytes content)
{
    int fd;
    assert_int_equal(os->open(os, path, O_WRONLY | O_CREAT | O_TRUNC, 0666, &fd), 0);
    assert_int_equal(os_write_full(os, fd, content.data, content.size, 0), 0);
    assert_int_equal(os->sync(os, fd), 0);
    assert_int_equal(os->close(os, fd), 0);
}

static void sync_names(const struct os *os, const char *path)
{
    int fd;
    assert_int_equal(os->open(os, path, O_RDONLY | O_DIRECTORY, 0, &fd), 0);
    assert_int_equal(os->sync(os, fd), 0);
    assert_int_equal(os->close(os, fd), 0);
}

/* The log on a disk, one segment of it torn from a place on. */
static void disk_log(struct simulated_disk *d, const struct wal_log *log, size_t segment,
                     size_t from)
{
    disk_init(d, 3);
    assert_int_equal(d->os.make_directory(&d->os, WAL_LOG_DIRECTORY, 0777), 0);
    for (size_t i = 0; i < log->segments; i++) {
        struct buffer copy = {0};
        const struct wal_log_segment *s = &log->segment[i];
        buffer_append(&copy, s->bytes.data, s->bytes.size);
        for (size_t at = i == segment ? from : copy.size; at < copy.size; at++)
            copy.data[at] ^= 0x5a;
        disk_file(&d->os, s->path, buffer_view(&copy));
        buffer_done(&copy);
    }
    sync_names(&d->os, WAL_LOG_DIRECTORY);
    sync_names(&d->os, "/");
}

static const uint64_t first_segments[WAL_LOG_SEGMENTS] = {1, 1, 1, 1, 1, 1, 1, 1};

static int cut_log(const struct wal_log *log, const struct os *os, uint64_t *ret_sequence)
{
    struct tarn_error error;
    const struct replay_start start = {.directory = WAL_LOG_DIRECTORY,
                                       .store_id = WAL_LOG_STORE_ID,
                                       .files = log->plan.files,
                                       .first = first_segments};
    struct wal_log_outcome o = wal_log_replay(log, os, 0, 0, false);
    assert_false(o.wrong);
    if (o.status != TARN_OK)
        return o.status;
    *ret_sequence = o.result.sequence;
    return replay_truncate(os, &start, &o.result, &error);
}

/* After cutting, interrupted or not, the log is the same run; and done, it has no torn end. */
static void check_cut(const struct wal_log *log, size_t segment, size_t from)
{
    for (uint64_t nth = 0;; nth++) {
        struct simulated_disk d;
        uint64_t reached = 0, again = 0;
        disk_log(&d, log, segment, from);
        disk_stop_at(&d, nth);
        int status = cut_log(log, &d.os, &reached);
        if (status == TARN_CORRUPT) { /* nothing to cut */
            disk_done(&d);
            return;
        }
        bool stopped = disk_stopped(&d);
        assert_int_equal(status, stopped ? TARN_IO : TARN_OK);
        disk_restart(&d, DISK_POWER_LOST, nth);
        assert_int_equal(cut_log(log, &d.os, &again), TARN_OK);
        assert_int_equal(again, reached);
        struct wal_log_outcome o = wal_log_replay(log, &d.os, 0, 0, false);
        assert_true(o.status == TARN_OK && !o.wrong);
        assert_int_equal(o.result.sequence, reached);
        assert_int_equal(o.result.truncated_bytes, 0);
        disk_done(&d);
        if (nth > 0 && !stopped)
            return;
    }
}

static void cutting(struct wal_log *log)
{
    for (size_t i = 0; i < log->segments; i++)
        for (size_t from = 250; from < log->segment[i].content; from += 23)
            check_cut(log, i, from);
}

/* Two files, of which one is cut within a segment that is not its last. */
static void test_cutting(void **state)
{
    (void)state;
    for_each_log(cutting);
    struct wal_log_plan plan = {
        .files = 2, .changes = 24, .segment_records = 4, .encodings = {WAL_JSON, WAL_BINARY}};
    struct wal_log log;
    wal_log_make(&log, &plan);
    for (size_t i = 0; i < log.segments; i++)
        for (size_t from = 260; from < log.segment[i].content; from += 100)
            check_cut(&log, i, from);
    wal_log_free(&log);
}

/* Cutting says so if it cannot. */
static void test_cutting_fails(void **state)
{
    (void)state;
    static const enum fault_entry entries[] = {FAULT_LIST,     FAULT_OPEN,   FAULT_FILE_INFO,
                                               FAULT_TRUNCATE, FAULT_UNLINK, FAULT_SYNC};
    struct wal_log_plan plan = {.files = 2, .changes = 24, .segment_records = 4};
    struct wal_log log;
    const struct replay_start start = {.directory = WAL_LOG_DIRECTORY,
                                       .store_id = WAL_LOG_STORE_ID,
                                       .files = 2,
                                       .first = first_segments};
    struct replay_result result = {.ends = {{1, 256, 0, 0}, {1, 256, 0, 0}}};
    wal_log_make(&log, &plan);
    for (size_t e = 0; e < sizeof entries / sizeof *entries; e++)
        for (uint64_t nth = 1;; nth++) {
            struct simulated_disk d;
            struct fault_os fault;
            struct tarn_error error;
            disk_log(&d, &log, 0, SIZE_MAX);
            fault_os_init(&fault, &d.os);
            fault_os_fail(&fault, entries[e], nth, EIO, false);
            int status = replay_truncate(&fault.os, &start, &result, &error);
            bool fired = fault_os_fired(&fault);
            assert_int_equal(status, fired ? TARN_IO : TARN_OK);
            assert_true(fault_os_clean(&fault));
            fault_os_done(&fault);
            disk_done(&d);
            if (!fired)
                break;
        }
    wal_log_free(&log);
}

static void test_cutting_without_memory(void **state)
{
    (void)state;
    struct wal_log_plan plan = {.files = 2, .changes = 24, .segment_records = 4};
    struct wal_log log;
    struct scratch scratch;
    wal_log_make(&log, &plan);
    scratch_open(&scratch);
    const struct replay_start start = {
        .directory = scratch.path, .files = 2, .first = first_segments};
    const struct replay_result result = {.ends = {{1, 256, 0, 0}, {1, 256, 0, 0}}};
    for (uint64_t nth = 1;; nth++) {
        struct tarn_error error;
        for (size_t i = 0; i < log.segments; i++)
            file_write(scratch_at(&scratch, strchr(log.segment[i].path, '/') + 1),
                       buffer_view(&log.segment[i].bytes));
        fault_malloc_arm(nth, false);
        int status = replay_truncate(os_real(), &start, &result, &error);
        bool fired = fault_malloc_disarm() > 0;
        assert_int_equal(status, fired ? TARN_NOMEM : TARN_OK);
        if (!fired)
            break;
    }
    assert_int_equal(scratch_count(&scratch, "wal-"), 2);
    scratch_close(&scratch);
    wal_log_free(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_segments),
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_void_segments),
        cmocka_unit_test(test_sequences),
        cmocka_unit_test(test_changes_before),
        cmocka_unit_test(test_half_step),
        cmocka_unit_test(test_last),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_window_borders),
        cmocka_unit_test(test_callbacks),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_salvage),
        cmocka_unit_test(test_cutting),
        cmocka_unit_test(test_cutting_fails),
        cmocka_unit_test(test_cutting_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
