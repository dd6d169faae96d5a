/* The records of a store in this process.
 *
 * How: a scan says which keys there are, some at a time; each is then looked up with its expiry.
 * Both stay valid until the session is quiescent, which it is between two batches. */
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

int dump_store(struct tarn *store, const struct dump_target *target, struct tarn_error *error)
{
    struct tarn_session *session;
    struct tarn_stats stats;
    struct keys keys = {0};
    uint64_t cursor = 0, done = 0;
    int status = tarn_session_open(store, &session, error);
    if (status != TARN_OK)
        return status;
    tarn_stats_get(store, &stats);
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
