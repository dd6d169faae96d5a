/* Values of a data file or of a directory's store, in this process.
 *
 * A data file with an index of blocks is left on disk, so that a key costs a read or two; another
 * one is loaded. Values too large to be held are written as they come. */
#include "cli/get.h"

#include "core/bytes.h"
#include "store/store.h"

static int open_file(const struct os *os, const struct place *place, struct tarn **ret_store,
                     struct tarn_error *error)
{
    struct tarn_options options = {
        .path = place->path, .data = TARN_DATA_ON_DISK, .index_readonly = true};
    int status = store_open(os, &options, ret_store, error);
    if (status != TARN_STALE && status != TARN_MISSING && status != TARN_CORRUPT)
        return status;
    options.data = TARN_DATA_IN_MEMORY;
    return store_open(os, &options, ret_store, error);
}

static void print(struct tarn_bytes bytes, struct get_output *output)
{
    fwrite(bytes.data, 1, bytes.size, output->values);
}

static int print_stream(struct tarn_stream *stream, struct get_output *output,
                        struct tarn_error *error)
{
    struct tarn_bytes piece = {NULL, 1};
    int status = TARN_OK;
    while (status == TARN_OK && piece.size > 0) {
        status = tarn_stream_next(stream, NULL, NULL);
        if (status == TARN_OK)
            status = tarn_stream_piece(stream, &piece, error);
        else
            error_set(error, status, "cannot read: %s", tarn_status_text(status));
        if (status == TARN_OK)
            print(piece, output);
    }
    tarn_stream_close(stream);
    return status;
}

/* Why a read failed, as precisely as it is known. */
static int fail(struct tarn *store, int status, struct tarn_error *error)
{
    struct tarn_disk_stats stats;
    tarn_disk_stats_get(store, &stats);
    return error_set(error, status, "%s",
                     *stats.failure ? stats.failure : tarn_status_text(status));
}

static int get_one(struct tarn *store, struct tarn_session *session, const char *key,
                   struct get_output *output, struct tarn_error *error)
{
    struct tarn_stream *stream = NULL;
    struct tarn_bytes value;
    uint64_t size;
    int status = tarn_stream_open(session, bytes_of(key), &stream, &size);
    if (status == TARN_OK && stream != NULL) {
        status = print_stream(stream, output, error);
    } else {
        if (status == TARN_OK && (status = tarn_get(session, bytes_of(key), &value)) == TARN_OK)
            print(value, output);
        if (status < 0)
            return fail(store, status, error);
    }
    if (status == TARN_NOTFOUND) {
        output->missing_count++;
        output->missing(output->context, key);
        return TARN_OK;
    }
    if (status == TARN_OK && output->terminator >= 0)
        putc(output->terminator, output->values);
    return status;
}

int get_store(const struct os *os, const struct place *place, const char *const *keys, int count,
              struct get_output *output, struct tarn_error *error)
{
    struct tarn *store = NULL;
    struct tarn_session *session = NULL;
    int status = place_need_store(place, error);
    if (status == TARN_OK)
        status = place->kind == PLACE_FILE ? open_file(os, place, &store, error)
                                           : place_open(os, place, NULL, NULL, &store, error);
    if (status == TARN_OK)
        status = tarn_session_open(store, &session, error);
    for (int i = 0; i < count && status == TARN_OK; i++) {
        status = get_one(store, session, keys[i], output, error);
        tarn_quiescent(session);
    }
    tarn_session_close(session);
    tarn_close(store);
    return status;
}
