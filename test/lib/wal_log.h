/* Small logs of known content, in memory, and a replay that compares: what is found is the log's
 * first changes, whole steps of them, or it is refused. */
#ifndef LIB_WAL_LOG_H
#define LIB_WAL_LOG_H

#include "lib/memory_os.h"
#include "wal/replay.h"

#define WAL_LOG_DIRECTORY "log"
#define WAL_LOG_STORE_ID  0x7a12
#define WAL_LOG_SEGMENTS  8
#define WAL_LOG_RECORDS   64 /* of a segment */

struct wal_log_plan {
    enum wal_encoding encodings[2]; /* of odd and even segments */
    unsigned files;                 /* changes are dealt over them */
    unsigned changes;
    unsigned segment_records; /* a file begins a new segment after so many; 0: never */
    unsigned lag;             /* durable_upto is the change so many before the last one; 0: 0 */
    bool seal;
    size_t filling; /* bytes behind each file's last record */
    uint64_t seed;  /* salts */
};

struct wal_log_segment {
    unsigned file;
    uint64_t number;
    char path[SEGMENT_NAME_BYTES + sizeof WAL_LOG_DIRECTORY];
    enum wal_encoding encoding;
    struct buffer bytes;
    size_t content; /* bytes without filling */
    size_t records; /* the seal is one */
    struct wal_log_record {
        size_t at, size;
        struct record_stamp stamp;
        bool seal;
    } record[WAL_LOG_RECORDS];
};

struct wal_log {
    struct wal_log_plan plan;
    size_t segments;
    struct wal_log_segment segment[WAL_LOG_SEGMENTS];
};

void wal_log_make(struct wal_log *log, const struct wal_log_plan *plan);
void wal_log_free(struct wal_log *log);

/* What the change of this sequence (from 1) is, and whether the next one belongs to its step. */
const struct change *wal_log_change(uint64_t sequence);
bool wal_log_more(const struct wal_log *log, uint64_t sequence);

/* All segments as files of WAL_LOG_DIRECTORY. */
void wal_log_put(const struct wal_log *log, struct memory_os *m);

struct wal_log_outcome {
    int status; /* OK, or CORRUPT or MISSING; anything else aborts */
    struct replay_result result;
    struct tarn_error error;
    bool wrong; /* a change that is not the log's, out of order, or half a step */
};

struct wal_log_outcome wal_log_replay(const struct wal_log *log, const struct os *os,
                                      uint64_t after, uint64_t synced_upto, bool repair);

#endif
