/* See store_look.h. */
#include "lib/store_look.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct look {
    unsigned found, unknown;
};

static void see_key(void *context, struct tarn_bytes key, struct tarn_bytes value)
{
    struct look *look = context;
    (void)value;
    look->found++;
    look->unknown += history_key_find(key) == HISTORY_KEYS;
}

static struct history_value see_value(const struct tarn_record *record)
{
    unsigned char *data = malloc(record->value.size + 1);
    if (data == NULL)
        abort();
    memcpy(data, record->value.data, record->value.size);
    return (struct history_value){true, record->expire_ms, data, record->value.size};
}

void store_look(struct tarn *store, struct history_value seen[HISTORY_KEYS], int64_t time_ms[2],
                char failure[STORE_LOOK_FAILURE_BYTES])
{
    struct tarn_session *session;
    struct look look = {0};
    uint64_t cursor = 0;
    unsigned present = 0;
    int failed = TARN_OK;
    failure[0] = 0;
    if (tarn_session_open(store, &session, NULL) != TARN_OK)
        abort();
    time_ms[0] = tarn_now_ms(store);
    for (unsigned key = 0; key < HISTORY_KEYS; key++) {
        struct tarn_record record;
        int status = tarn_get_record(session, history_key(key), &record);
        if (status < 0)
            failed = status;
        if (status != TARN_OK)
            continue;
        seen[key] = see_value(&record);
        present++;
    }
    do {
        int status = tarn_scan(session, &cursor, 100, see_key, &look);
        if (status != TARN_OK) {
            failed = status;
            break;
        }
    } while (cursor != 0);
    time_ms[1] = tarn_now_ms(store);
    tarn_session_close(session);
    if (failed != TARN_OK)
        snprintf(failure, STORE_LOOK_FAILURE_BYTES, "a read gave status %d", failed);
    else if (look.unknown > 0)
        snprintf(failure, STORE_LOOK_FAILURE_BYTES, "%u keys were never made", look.unknown);
    else if (look.found > present) /* fewer: they expired meanwhile */
        snprintf(failure, STORE_LOOK_FAILURE_BYTES, "a scan finds %u keys, look-ups %u", look.found,
                 present);
}
