/* Reads of a data file on disk for those who must not wait: tarn.h's fetches and streams. In every
 * store that is in memory there is never anything to fetch. */
#include "store/store_internal.h"

int tarn_fetch_begin(struct tarn_session *session, const struct tarn_bytes *keys, size_t count,
                     tarn_fetched done, void *context, struct tarn_fetch **ret_fetch)
{
    (void)session, (void)keys, (void)count, (void)done, (void)context;
    *ret_fetch = NULL;
    return 0;
}

void tarn_fetch_end(struct tarn_fetch *fetch)
{
    (void)fetch;
}

void tarn_fetch_submit(struct tarn_session *session)
{
    (void)session;
}

int tarn_fetch_fd(struct tarn_session *session)
{
    (void)session;
    return -1;
}

void tarn_fetch_poll(struct tarn_session *session)
{
    (void)session;
}

int tarn_stream_open(struct tarn_session *session, struct tarn_bytes key,
                     struct tarn_stream **ret_stream, uint64_t *ret_size)
{
    (void)session, (void)key;
    *ret_stream = NULL;
    *ret_size = 0;
    return TARN_OK;
}

int tarn_stream_next(struct tarn_stream *stream, tarn_fetched done, void *context)
{
    (void)stream, (void)done, (void)context;
    return TARN_INVALID;
}

int tarn_stream_piece(struct tarn_stream *stream, struct tarn_bytes *ret_piece,
                      struct tarn_error *error)
{
    (void)stream, (void)ret_piece;
    return error_set(error, TARN_INVALID, "there is no stream");
}

void tarn_stream_close(struct tarn_stream *stream)
{
    (void)stream;
}

void tarn_disk_stats_get(struct tarn *store, struct tarn_disk_stats *ret_stats)
{
    (void)store;
    *ret_stats = (struct tarn_disk_stats){.on_disk = false};
}
