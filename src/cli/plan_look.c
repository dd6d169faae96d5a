/* Looking at a data file; see plan_look.h. */
#include "cli/plan_look.h"

#include "pack/reader.h"

static int count_records(struct reader *reader, uint64_t *ret_records, uint64_t *ret_seen,
                         struct tarn_error *error)
{
    struct record record;
    uint64_t records = 0, seen = 0;
    int status = TARN_OK;
    while (seen < PLAN_LOOK_BYTES && (status = reader_next(reader, &record, error)) == TARN_OK) {
        records++;
        seen = reader_offset(reader) + record.size;
    }
    *ret_records = records;
    *ret_seen = seen;
    return status == TARN_NOTFOUND ? TARN_OK : status;
}

int plan_look(const struct os *os, const char *path, struct plan_look *ret_look,
              struct tarn_error *error)
{
    struct reader *reader;
    int status = reader_open(os, path, &(struct tarn_format){0}, &reader, error);
    if (status != TARN_OK)
        return status;
    uint64_t records = 0, seen = 0, data_bytes = reader_data_bytes(reader);
    status = count_records(reader, &records, &seen, error);
    reader_close(reader);
    if (status != TARN_OK)
        return status;
    if (records == 0)
        return error_set(error, TARN_INVALID, "%s has no record: there is nothing to plan", path);
    bool estimated = seen < data_bytes;
    if (estimated)
        records = (uint64_t)((unsigned __int128)records * data_bytes / seen);
    *ret_look = (struct plan_look){data_bytes, records, estimated};
    return TARN_OK;
}
