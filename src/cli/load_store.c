/* Records into a store of this process, and a checkpoint at the end. */
#include "cli/load.h"
#include "core/status.h"

#define RECORDS_PER_UPDATE 1024

static int put(struct tarn_session *session, const struct load_source *source,
               const struct tarn_record *record, const struct dump_place *place,
               struct tarn_error *error)
{
    int status = tarn_put(session, record->key, record->value, record->expire_ms);
    if (status == TARN_OK)
        return TARN_OK;
    error_set(error, status, "cannot store it: %s", tarn_status_text(status));
    load_error_place(error, source->input->format, place);
    return status;
}

static int put_all(struct tarn_session *session, const struct load_source *source,
                   uint64_t *ret_records, struct tarn_error *error)
{
    struct tarn_record record;
    struct dump_place place;
    uint64_t records = 0;
    for (;;) {
        int status = load_input_next(source->input, &record, &place, error);
        if (status == TARN_OK)
            status = put(session, source, &record, &place, error);
        *ret_records = records;
        if (status != TARN_OK)
            return status == TARN_NOTFOUND ? TARN_OK : status;
        if (++records % RECORDS_PER_UPDATE != 0)
            continue;
        tarn_quiescent(session);
        if (!source->progress(source->progress_context, "loading", place.offset,
                              source->input->file_bytes))
            return error_set(error, TARN_CANCELLED, "cancelled");
    }
}

int load_store(struct tarn *store, const struct load_source *source, struct load_report *ret_report,
               struct tarn_error *error)
{
    struct tarn_session *session;
    *ret_report = (struct load_report){0};
    int status = tarn_session_open(store, &session, error);
    if (status != TARN_OK)
        return status;
    uint64_t records;
    status = put_all(session, source, &records, error);
    tarn_session_close(session);
    if (status == TARN_OK)
        status = tarn_checkpoint(store, error);
    if (status == TARN_OK)
        ret_report->records = records;
    return status;
}
