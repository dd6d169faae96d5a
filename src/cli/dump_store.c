/* The records of a store in this process.
 *
 * How: a scan says which keys there are, some at a time; each is then looked up with its expiry.
 * Both stay valid until the session is quiescent, which it is between two batches. Of a data file
 * on disk, where that would be a read a key, the scan's own views are handed on. */
#include "cli/dump.h"

#include <stdlib.h>

#include "core/status.h"

#define BATCH_RECORDS 1024

struct keys {
    struct tarn_bytes *all;
    size_t count, capacity;
    bool failed; /* out of memory */
};

static void note_key(void *context, struct tarn_bytes key, struct tarn_bytes value)
{
    struct keys *keys = context;
    (void)value;
    if (keys->count == keys->capacity) {
        size_t capacity = keys->capacity ? keys->capacity * 2 : BATCH_RECORDS * 2;
        struct tarn_bytes *all = realloc(keys->all, capacity * sizeof *all);
        if (all == NULL) {
            keys->failed = true;
            return;
        }
        keys->all = all;
        keys->capacity = capacity;
    }
    keys->all[keys->count++] = key;
}

static int hand_out(struct tarn_session *session, const struct keys *keys,
                    const struct dump_target *target, struct tarn_error *error)
{
    int status = TARN_OK;
    for (size_t i = 0; i < keys->count && status == TARN_OK; i++) {
        struct tarn_record record;
        int found = tarn_get_record(session, keys->all[i], &record);
        if (found == TARN_OK)
            status = target->sink(target->context, &record, error);
        else if (found != TARN_NOTFOUND) /* it has expired since */
            status = error_set(error, found, "cannot read a record: %s", tarn_status_text(found));
    }
    return status;
}

/* --- a data file on disk: records are handed out as they are passed --- */

struct passing {
    const struct dump_target *target;
    struct tarn_session *expiries; /* another session, where records may expire; else NULL */
    uint64_t count;
    int status;
    struct tarn_error *error;
};

static void pass_on(void *context, struct tarn_bytes key, struct tarn_bytes value)
{
    struct passing *p = context;
    struct tarn_record record = {key, value, 0};
    if (p->status != TARN_OK)
        return;
    int found = TARN_OK;
    if (p->expiries != NULL) {
        found = tarn_get_expiry(p->expiries, key, &record.expire_ms);
        tarn_quiescent(p->expiries);
    }
    p->count++;
    if (found == TARN_OK)
        p->status = p->target->sink(p->target->context, &record, p->error);
    else if (found != TARN_NOTFOUND) /* it has expired */
        p->status = error_set(p->error, found, "cannot read a record: %s", tarn_status_text(found));
}

static int pass_all(struct tarn_session *session, struct passing *p, uint64_t keys)
{
    uint64_t cursor = 0;
    do {
        int status = tarn_scan(session, &cursor, BATCH_RECORDS, pass_on, p);
        if (status != TARN_OK)
            return error_set(p->error, status, "cannot read all records: %s",
                             tarn_status_text(status));
        tarn_quiescent(session);
        if (p->status == TARN_OK &&
            !p->target->progress(p->target->progress_context, "reading records", p->count, keys))
            return error_set(p->error, TARN_CANCELLED, "cancelled");
    } while (p->status == TARN_OK && cursor != 0);
    return p->status;
}

static int dump_disk(struct tarn *store, const struct dump_target *target,
                     const struct tarn_stats *stats, struct tarn_error *error)
{
    struct passing p = {.target = target, .error = error};
    struct tarn_session *session = NULL;
    int status = tarn_session_open(store, &session, error);
    if (status == TARN_OK && stats->format.kind == TARN_FORMAT_TARN)
        status = tarn_session_open(store, &p.expiries, error);
    if (status == TARN_OK)
        status = pass_all(session, &p, stats->keys);
    tarn_session_close(p.expiries);
    tarn_session_close(session);
    return status;
}

/* --- all else: keys first, since reading a record takes it as it is at that moment --- */

static bool is_on_disk(struct tarn *store)
{
    struct tarn_disk_stats stats;
    tarn_disk_stats_get(store, &stats);
    return stats.on_disk;
}

int dump_store(struct tarn *store, const struct dump_target *target, struct tarn_error *error)
{
    struct tarn_session *session;
    struct tarn_stats stats;
    struct keys keys = {0};
    uint64_t cursor = 0, done = 0;
    tarn_stats_get(store, &stats);
    if (is_on_disk(store))
        return dump_disk(store, target, &stats, error);
    int status = tarn_session_open(store, &session, error);
    if (status != TARN_OK)
        return status;
    do {
        keys.count = 0;
        status = tarn_scan(session, &cursor, BATCH_RECORDS, note_key, &keys);
        if (status != TARN_OK)
            error_set(error, status, "cannot read all keys: %s", tarn_status_text(status));
        else if (keys.failed)
            status = error_set(error, TARN_NOMEM, "out of memory");
        else
            status = hand_out(session, &keys, target, error);
        tarn_quiescent(session);
        done += keys.count;
        if (status == TARN_OK &&
            !target->progress(target->progress_context, "reading keys", done, stats.keys))
            status = error_set(error, TARN_CANCELLED, "cancelled");
    } while (status == TARN_OK && cursor != 0);
    tarn_session_close(session);
    free(keys.all);
    return status;
}
