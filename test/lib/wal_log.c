/* See wal_log.h. */
#include "lib/wal_log.h"

#include <stdio.h>

#include "lib/test.h"

#include "core/random.h"
#include "lib/wal_fixture.h"

/* --- making --- */

const struct change *wal_log_change(uint64_t sequence)
{
    return &wal_changes[sequence % WAL_CHANGES];
}

/* Steps of one, then of three. */
bool wal_log_more(const struct wal_log *log, uint64_t sequence)
{
    return (sequence % 5 == 2 || sequence % 5 == 3) && sequence < log->plan.changes;
}

struct writer {
    struct wal_log *log;
    struct record_chain chain;
    uint64_t sequence; /* of the file's last record */
    uint64_t number;
    struct wal_log_segment *segment;
};

static void begin_segment(struct writer *w, unsigned file, uint64_t next, uint64_t *seed)
{
    ASSERT(w->log->segments < WAL_LOG_SEGMENTS);
    struct wal_log_segment *s = &w->log->segment[w->log->segments++];
    unsigned char header[SEGMENT_HEADER_BYTES];
    char name[SEGMENT_NAME_BYTES];
    struct segment_header h = {
        .encoding = w->log->plan.encodings[w->number % 2],
        .file = file,
        .number = ++w->number,
        .store_id = WAL_LOG_STORE_ID,
        .salt = random_next(seed),
        .previous_sequence = w->sequence,
        .previous_checksum = w->chain.checksum,
        .first_sequence = next,
    };
    *s = (struct wal_log_segment){.file = file, .number = h.number, .encoding = h.encoding};
    segment_name(file, h.number, name);
    snprintf(s->path, sizeof s->path, "%s/%s", WAL_LOG_DIRECTORY, name);
    w->chain.salt = h.salt;
    segment_header_write(&h, header, &w->chain.checksum);
    buffer_append(&s->bytes, header, sizeof header);
    w->segment = s;
}

static void note_record(struct wal_log_segment *s, size_t at, struct record_stamp stamp, bool seal)
{
    ASSERT(s->records < WAL_LOG_RECORDS);
    s->record[s->records++] = (struct wal_log_record){at, s->bytes.size - at, stamp, seal};
    s->content = s->bytes.size;
}

static void write_change(struct writer *w, uint64_t sequence)
{
    unsigned lag = w->log->plan.lag;
    struct record_stamp stamp = {
        .sequence = sequence,
        .durable_upto = lag > 0 && sequence > lag ? sequence - lag : 0,
        .more = wal_log_more(w->log, sequence),
    };
    struct buffer *bytes = &w->segment->bytes;
    size_t at = wal_put(w->segment->encoding, wal_log_change(sequence), stamp, &w->chain, bytes);
    note_record(w->segment, at, stamp, false);
    w->sequence = sequence;
}

static void end_file(struct writer *w)
{
    struct wal_log_segment *s = w->segment;
    size_t at = s->bytes.size;
    if (w->log->plan.seal) {
        record_append_seal(s->encoding, w->sequence, &w->chain, &s->bytes);
        note_record(s, at, (struct record_stamp){w->sequence, w->sequence, false}, true);
    }
    s->content = s->bytes.size;
    for (size_t i = 0; i < w->log->plan.filling; i++)
        buffer_append_byte(&s->bytes, record_filling(s->encoding));
}

void wal_log_make(struct wal_log *log, const struct wal_log_plan *plan)
{
    struct writer writers[WAL_LOG_SEGMENTS] = {{0}};
    uint64_t seed = plan->seed;
    *log = (struct wal_log){.plan = *plan};
    for (unsigned file = 0; file < plan->files; file++) {
        writers[file].log = log;
        begin_segment(&writers[file], file, 1, &seed);
    }
    for (uint64_t sequence = 1; sequence <= plan->changes; sequence++) {
        unsigned file = (unsigned)(sequence * 5 / 3) % plan->files;
        struct writer *w = &writers[file];
        if (plan->segment_records > 0 && w->segment->records == plan->segment_records)
            begin_segment(w, file, sequence, &seed);
        write_change(w, sequence);
    }
    for (unsigned file = 0; file < plan->files; file++)
        end_file(&writers[file]);
}

void wal_log_free(struct wal_log *log)
{
    for (size_t i = 0; i < log->segments; i++)
        buffer_done(&log->segment[i].bytes);
}

void wal_log_put(const struct wal_log *log, struct memory_os *m)
{
    memory_os_clear(m);
    for (size_t i = 0; i < log->segments; i++)
        memory_os_put(m, log->segment[i].path, buffer_view(&log->segment[i].bytes), 0);
}

/* --- replaying --- */

struct comparison {
    const struct wal_log *log;
    bool repair;
    uint64_t last;
    bool wrong;
};

static int compare(void *context, uint64_t sequence, const struct change *change)
{
    struct comparison *c = context;
    bool follows = c->repair ? sequence > c->last : sequence == c->last + 1;
    c->wrong |= !follows || sequence > c->log->plan.changes ||
                !wal_changes_equal(change, wal_log_change(sequence));
    c->last = sequence;
    return TARN_OK;
}

struct wal_log_outcome wal_log_replay(const struct wal_log *log, const struct os *os,
                                      uint64_t after, uint64_t synced_upto, bool repair)
{
    uint64_t first[WAL_LOG_SEGMENTS];
    struct comparison comparison = {log, repair, after, false};
    struct wal_log_outcome outcome = {0};
    for (size_t i = 0; i < WAL_LOG_SEGMENTS; i++)
        first[i] = 1;
    const struct replay_start start = {
        .directory = WAL_LOG_DIRECTORY,
        .store_id = WAL_LOG_STORE_ID,
        .after = after,
        .synced_upto = synced_upto,
        .files = log->plan.files,
        .first = first,
        .repair = repair,
    };
    outcome.status =
        replay(os, &start, compare, &comparison, NULL, NULL, &outcome.result, &outcome.error);
    ASSERT(outcome.status == TARN_OK || outcome.status == TARN_CORRUPT ||
           outcome.status == TARN_MISSING);
    outcome.wrong = comparison.wrong;
    if (outcome.status == TARN_OK)
        outcome.wrong |= outcome.result.sequence != comparison.last ||
                         (!repair && wal_log_more(log, comparison.last) && comparison.last > after);
    return outcome;
}
