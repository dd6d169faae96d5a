/* The HTTP front before a data file on disk: requests whose keys are being fetched, and large
 * values that are sent by pieces.
 *
 * How: a request that reads keys which are not in memory is suspended, so that its thread serves
 * others; when they have come MHD goes on with it and asks for the answer once more. A large value
 * is a reply whose bytes MHD asks for; when there is none at hand it is suspended, too.
 *
 * Invariants
 * 1. A connection that is `suspended` is in MHD's hands again exactly once: when its reads have
 *    come, when it is cut, or when the thread ends.
 * 2. What came for a request is kept until the request is done.
 * Failure modes: no memory to read with: 503; a value that cannot be read to its end: the reply is
 * cut short and the connection closed, the reason is logged. */
#include <stdlib.h>

#include "server/http_internal.h"
#include "server/log.h"

#define FAR_BLOCK_BYTES (64u << 10) /* MHD asks for so much at a time */

int http_fetch_open(struct http_thread *t)
{
    int fd = tarn_fetch_fd(t->session);
    if (fd < 0)
        return 0;
    int status = loop_add(&t->loop, fd, EPOLLIN, &t->fetch_tag);
    t->fetches = status == 0;
    return status;
}

void http_fetch_close(struct http_thread *t)
{
    if (t->fetches)
        loop_remove(&t->loop, tarn_fetch_fd(t->session));
    t->fetches = false;
}

static void suspend(struct http_connection *c)
{
    MHD_suspend_connection(c->mhd);
    c->suspended = true;
}

void http_fetch_resume(struct http_connection *c)
{
    if (!c->suspended)
        return;
    c->suspended = false;
    MHD_resume_connection(c->mhd);
}

/* --- keys --- */

static void on_come(void *context)
{
    struct http_connection *c = context;
    c->fetched = true;
    http_fetch_resume(c);
}

static _Atomic unsigned *fetches_held(struct http_connection *c)
{
    return &c->thread->http->server->fetches_held;
}

bool http_fetch(struct http_connection *c, struct MHD_Connection *mhd,
                const struct tarn_bytes *keys, size_t count, enum MHD_Result *ret_result)
{
    if (!c->thread->fetches || count == 0)
        return true;
    if (c->fetched && tarn_fetch_status(c->fetch) == TARN_OK)
        return true;
    int under_way = c->fetched
                        ? TARN_FULL
                        : tarn_fetch_begin(c->thread->session, keys, count, on_come, c, &c->fetch);
    if (under_way == 0)
        return true;
    if (under_way < 0) {
        *ret_result = http_answer_error(c, mhd, MHD_HTTP_SERVICE_UNAVAILABLE, HTTP_NO_READ_TEXT);
        return false;
    }
    atomic_fetch_add_explicit(fetches_held(c), 1, memory_order_relaxed);
    c->mhd = mhd;
    c->stage = HTTP_FETCH;
    http_connection_extend(c, 0);
    suspend(c);
    *ret_result = MHD_YES;
    return false;
}

void http_fetch_end(struct http_connection *c)
{
    if (c->fetch != NULL)
        atomic_fetch_sub_explicit(fetches_held(c), 1, memory_order_relaxed);
    tarn_fetch_end(c->fetch);
    c->fetch = NULL;
    c->fetched = false;
    free(c->keys);
    c->keys = NULL;
    c->keys_count = 0;
}

/* --- large values --- */

/* A reply under way. MHD frees it when the reply is over, whatever its end. */
struct http_far {
    struct http_connection *connection;
    struct tarn_stream *source;
    uint64_t left;           /* bytes to be given */
    bool reading;            /* the next piece has been asked for */
    struct tarn_bytes piece; /* what is left of the present one */
};

static void on_piece(void *context)
{
    http_fetch_resume(context);
}

static void far_free(void *context)
{
    struct http_far *far = context;
    tarn_stream_close(far->source);
    free(far);
}

static ssize_t fail(const struct http_far *far, const char *reason)
{
    log_event(LOG_WARNING, "http", "value-cut", "reason=\"%s\" unsent=%llu", reason,
              (unsigned long long)far->left);
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

/* Take the piece that has come; what is wanted of it. */
static int take_piece(struct http_far *far, struct tarn_error *error)
{
    struct tarn_bytes piece;
    far->reading = false;
    int status = tarn_stream_piece(far->source, &piece, error);
    if (status != TARN_OK)
        return status;
    if (piece.size == 0)
        return error_set(error, TARN_CORRUPT, "the value ends before its size");
    far->piece = piece;
    return TARN_OK;
}

/* The next bytes of the value; 0: none for now, the connection is suspended. */
static ssize_t far_read(void *context, uint64_t offset, char *out, size_t size)
{
    struct http_far *far = context;
    struct tarn_error error;

    (void)offset; /* MHD asks in order */
    if (far->connection->cut)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (far->reading && take_piece(far, &error) != TARN_OK)
        return fail(far, error.text);
    if (far->piece.size == 0) {
        int status = tarn_stream_next(far->source, on_piece, far->connection);
        if (status != TARN_OK)
            return fail(far, tarn_status_text(status));
        far->reading = true;
        suspend(far->connection);
        return 0;
    }
    if (size > far->piece.size)
        size = far->piece.size;
    if (size > far->left)
        size = far->left;
    memcpy(out, far->piece.data, size);
    far->piece = (struct tarn_bytes){(const char *)far->piece.data + size, far->piece.size - size};
    far->left -= size;
    return (ssize_t)size;
}

struct MHD_Response *http_far_response(struct http_connection *c, struct MHD_Connection *mhd,
                                       struct tarn_stream *source, uint64_t offset, uint64_t size)
{
    struct http_far *far = calloc(1, sizeof *far);
    struct MHD_Response *response = NULL;

    if (far != NULL) {
        *far = (struct http_far){.connection = c, .source = source, .left = size};
        tarn_stream_from(source, offset);
        response =
            MHD_create_response_from_callback(size, FAR_BLOCK_BYTES, far_read, far, far_free);
    }
    c->mhd = mhd;
    if (response == NULL) {
        free(far);
        tarn_stream_close(source);
    }
    return response;
}
