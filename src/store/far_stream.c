/* Values too large to be held, read by pieces. See tarn.h.
 *
 * How: a stream knows where its value lies and holds the version it is of; each piece is a read of
 * the session's, verified before it is given, and stays in its buffer until the next.
 *
 * Failure modes: a piece that cannot be read or is not what was indexed: the stream says so from
 * then on. */
#include <errno.h>
#include <stdlib.h>

#include "core/assert.h"
#include "store/far.h"
#include "store/session.h"

enum stream_state { STREAM_IDLE, STREAM_READING, STREAM_READY };

struct tarn_stream {
    struct far_io io;     /* first */
    struct far_call call; /* of who waits for the piece */
    struct far_session *session;
    struct disk_pack *pack; /* one reference */
    struct lookup_far place;
    uint64_t at;
    struct piece piece;
    enum stream_state state;
    bool closed;
    struct tarn_bytes view;
    int status;
    struct tarn_error error;
};

static void free_stream(struct tarn_stream *stream)
{
    far_io_release(stream->session, &stream->io);
    disk_unref(stream->pack);
    free(stream);
}

static void tell(struct tarn_stream *stream)
{
    stream->state = STREAM_READY;
    if (stream->call.done != NULL)
        far_call_queue(stream->session, &stream->call);
}

static void stream_finish(struct far_session *s, struct far_io *io)
{
    struct tarn_stream *stream = (struct tarn_stream *)(void *)io;
    if (stream->closed) {
        free_stream(stream);
        return;
    }
    stream->status = io->read.status == 0 ? piece_finish(&stream->piece, io->buffer, io->read.done,
                                                         &stream->view, &stream->error)
                     : io->read.status == -ENOMEM
                         ? error_set(&stream->error, TARN_NOMEM, "out of memory for a read")
                         : piece_failed(&stream->piece, io->read.status, &stream->error);
    if (stream->status == TARN_OK) {
        stream->at += stream->view.size;
    } else {
        far_failed(s->far, &stream->error);
        far_count(&s->counters.corrupt,
                  stream->status == TARN_CORRUPT || stream->status == TARN_STALE);
    }
    tell(stream);
}

static bool is_ready(struct far_session *s, struct far_call *call)
{
    (void)s, (void)call;
    return true;
}

static struct tarn_stream *stream_new(struct far_session *s, const struct far_record *far)
{
    struct tarn_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL)
        return NULL;
    stream->session = s;
    stream->io.finish = stream_finish;
    stream->call.ready = is_ready;
    stream->pack = s->seen->pack;
    stream->place = far->place;
    disk_ref(stream->pack);
    return stream;
}

int tarn_stream_open(struct tarn_session *session, struct tarn_bytes key,
                     struct tarn_stream **ret_stream, uint64_t *ret_size)
{
    struct far_session *s = session_far(session);
    struct tarn_record record;
    struct far_record *far = NULL;
    int status = s != NULL ? far_find(s, key, &record, &far) : TARN_OK;
    if (status != TARN_OK)
        return status;
    *ret_stream = NULL;
    *ret_size = 0;
    if (far == NULL)
        return TARN_OK;
    struct tarn_stream *stream = stream_new(s, far);
    if (stream == NULL)
        return TARN_NOMEM;
    *ret_stream = stream;
    *ret_size = far->place.size;
    return TARN_OK;
}

void tarn_stream_from(struct tarn_stream *stream, uint64_t offset)
{
    ASSERT(stream->state == STREAM_IDLE && offset <= stream->place.size);
    stream->at = offset;
}

static void read_piece(struct tarn_stream *stream)
{
    struct piece *piece = &stream->piece;
    piece_begin(stream->pack, &stream->place, stream->at, piece);
    stream->io.read.fd = piece->fd;
    stream->io.read.size = piece->size;
    stream->io.read.offset = piece->offset;
    stream->state = STREAM_READING;
    far_io_begin(stream->session, &stream->io);
}

int tarn_stream_next(struct tarn_stream *stream, tarn_fetched done, void *context)
{
    struct far_session *s = stream->session;
    if (stream->state == STREAM_READING || stream->call.queued)
        return TARN_INVALID;
    if (done != NULL && !far_tell(s))
        return TARN_NOMEM;
    stream->call.done = done;
    stream->call.context = context;
    stream->view = (struct tarn_bytes){"", 0};
    if (stream->status == TARN_OK && stream->at < stream->place.size) {
        read_piece(stream);
    } else {
        tell(stream);
        if (done != NULL)
            ring_wake(s->ring);
    }
    while (done == NULL && stream->state == STREAM_READING) {
        far_wait(s);
        far_poll(s);
    }
    if (done == NULL)
        far_wait_end(s);
    return TARN_OK;
}

int tarn_stream_piece(struct tarn_stream *stream, struct tarn_bytes *ret_piece,
                      struct tarn_error *error)
{
    if (stream->state != STREAM_READY)
        return error_set(error, TARN_INVALID, "no piece has been read");
    if (stream->status != TARN_OK) {
        if (error != NULL)
            *error = stream->error;
        return stream->status;
    }
    *ret_piece = stream->view;
    return TARN_OK;
}

void tarn_stream_close(struct tarn_stream *stream)
{
    if (stream == NULL)
        return;
    far_call_drop(stream->session, &stream->call);
    if (stream->state == STREAM_READING && !far_io_cancel(stream->session, &stream->io))
        stream->closed = true; /* freed when its read comes back */
    else
        free_stream(stream);
}
