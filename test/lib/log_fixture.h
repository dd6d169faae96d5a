/* A log being written in a scratch directory, changes with tags to find them by, and reading back
 * what became of them without replay(). Include lib/test.h first. */
#ifndef LIB_LOG_FIXTURE_H
#define LIB_LOG_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>

#include "core/codec.h"
#include "lib/scratch.h"
#include "wal/wal.h"

#define LOG_STORE_ID      0x7a51u
#define LOG_SEQUENCES_MAX (1u << 18)

static const struct wal_settings log_settings = {
    .durability = WAL_COMMIT,
    .queue_depth = 1000,
    .period_us = 10000,
    .files = 1,
    .segment_bytes = 64u << 20,
    .memory_bytes_max = 64u << 20,
};

/* --- writing --- */

/* Behind what is there already: the last sequence, and where each file ends. */
static inline int log_open_after(const struct os *os, const char *directory,
                                 const struct wal_settings *settings, uint64_t sequence,
                                 const struct replay_end *ends, struct wal **ret_wal,
                                 struct tarn_error *error)
{
    const struct wal_start start = {
        .directory = directory, .store_id = LOG_STORE_ID, .sequence = sequence, .ends = ends};
    return wal_open(os, settings, &start, ret_wal, error);
}

static inline int log_open(const struct os *os, const char *directory,
                           const struct wal_settings *settings, struct wal **ret_wal,
                           struct tarn_error *error)
{
    const struct replay_end ends[WAL_FILES_MAX] = {0};
    return log_open_after(os, directory, settings, 0, ends, ret_wal, error);
}

/* A change of 16 + `size` bytes, the first 8 of which are the tag. */
static inline struct change log_change(uint64_t tag, unsigned char value[], size_t size)
{
    assert_true(size >= 8);
    store_u64le(value, tag);
    return (struct change){CHANGE_PUT, {"0123456789abcdef", 16}, {value, size}, 0, 0};
}

/* Its sequence; 0: refused. Allocates nothing itself. */
static inline uint64_t log_append_sized(struct wal *wal, uint64_t tag, size_t size)
{
    static _Thread_local unsigned char value[1u << 20];
    assert_true(size <= sizeof value);
    struct change change = log_change(tag, value, size);
    uint64_t hash = tag * 0x9e3779b97f4a7c15u;
    return wal_append(wal, &change, &hash, 1);
}

static inline uint64_t log_append(struct wal *wal, uint64_t tag)
{
    return log_append_sized(wal, tag, 64);
}

/* --- reading back --- */

struct log_back {
    uint64_t *tags;      /* of each sequence; 0: it is not there */
    unsigned char *more; /* of each sequence */
    uint64_t records;
    uint64_t unbroken, run;   /* up to there all are there; ... and whole steps */
    unsigned segments, seals; /* seals: files that end with one */
    unsigned bad;             /* segments that end with what is no record */
    bool broken;              /* a segment does not follow from the one before, or is in between
                                 and bad, or its sequences do not grow */
};

static inline void log_back_done(struct log_back *back)
{
    free(back->tags);
    free(back->more);
}

struct log_place { /* within a file */
    uint64_t sequence, checksum;
};

/* One segment; false: it ends badly. */
static inline bool log_back_segment(struct log_back *back, struct tarn_bytes bytes, unsigned file,
                                    uint64_t number, struct log_place *place)
{
    struct segment_header h;
    struct record_chain chain;
    struct record_view view;
    struct buffer decoded = {0};
    if (bytes.size < SEGMENT_HEADER_BYTES || !segment_header_read(bytes.data, &h, &chain.checksum))
        return false;
    back->broken |= h.file != file || h.number != number || h.store_id != LOG_STORE_ID ||
                    h.previous_sequence != place->sequence ||
                    h.previous_checksum != place->checksum;
    chain.salt = h.salt;
    const unsigned char *at = bytes.data;
    size_t offset = SEGMENT_HEADER_BYTES;
    enum record_found found;
    for (;;) {
        struct tarn_bytes rest = {at + offset, bytes.size - offset};
        found = record_read(h.encoding, rest, &chain, &view, &decoded);
        if (found != RECORD_FOUND)
            break;
        uint64_t sequence = view.stamp.sequence;
        back->broken |= sequence <= place->sequence || sequence < h.first_sequence;
        assert_true(sequence < LOG_SEQUENCES_MAX && view.change.value.size >= 8);
        assert_true(back->tags[sequence] == 0);
        back->tags[sequence] = load_u64le(view.change.value.data);
        back->more[sequence] = view.stamp.more;
        back->records++;
        place->sequence = sequence;
        offset += view.size;
    }
    place->checksum = chain.checksum;
    back->seals += found == RECORD_SEAL;
    buffer_done(&decoded);
    return found == RECORD_SEAL || found == RECORD_END;
}

static inline void log_back_file(struct log_back *back, const struct os *os, const char *directory,
                                 unsigned file)
{
    struct log_place place = {0};
    bool ok = true;
    for (uint64_t number = 1;; number++) {
        char name[SEGMENT_NAME_BYTES], path[2 * SCRATCH_PATH_BYTES];
        struct buffer content = {0};
        segment_name(file, number, name);
        snprintf(path, sizeof path, "%s/%s", directory, name);
        int status = os_read_file(os, path, 1u << 30, &content, NULL);
        if (status == TARN_MISSING)
            return;
        assert_int_equal(status, TARN_OK);
        back->broken |= !ok;
        back->segments++;
        ok = log_back_segment(back, buffer_view(&content), file, number, &place);
        back->bad += !ok;
        buffer_done(&content);
    }
}

static inline void log_back_read(struct log_back *back, const struct os *os, const char *directory,
                                 unsigned files)
{
    *back = (struct log_back){0};
    back->tags = calloc(LOG_SEQUENCES_MAX, sizeof *back->tags);
    back->more = calloc(LOG_SEQUENCES_MAX, 1);
    assert_true(back->tags && back->more);
    for (unsigned i = 0; i < files; i++)
        log_back_file(back, os, directory, i);
    for (uint64_t s = 1; s < LOG_SEQUENCES_MAX && back->tags[s]; s++) {
        back->unbroken = s;
        if (!back->more[s])
            back->run = s;
    }
}

#endif
