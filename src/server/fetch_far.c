/* Large values of a data file on disk, sent by pieces. How: the reply's header is written when the
 * size is known; then a piece is read, put into the output as it lies in the store, and when all of
 * the output has been sent, the next one is asked for. So a client that takes its time has one
 * piece in memory, and no read under way.
 *
 * Invariants: 1. c->stream.source is not NULL exactly while a value is being sent; c is parked. 2.
 * A piece in the output is valid: the next is begun, or the stream closed, only when the output is
 * empty or given up.
 * Failure modes: a piece that cannot be read, or is damaged, closes the connection, as the client
 * waits for bytes that nobody has; the reason is logged. If it is the first, nothing of the value
 * has been answered yet, and an error is. */
#include "server/command_rows.h"
#include "server/fetch.h"
#include "server/log.h"

bool fetch_is_far(struct connection *c, struct tarn_bytes key)
{
    struct tarn_stream *stream;
    uint64_t size;
    if (tarn_stream_open(c->client.session, key, &stream, &size) != TARN_OK)
        return false;
    tarn_stream_close(stream);
    return stream != NULL;
}

/* The value cannot be sent to its end. */
static void cut(struct connection *c, const char *reason)
{
    log_event(LOG_WARNING, "server", "value-cut", "id=%llu address=%s reason=\"%s\" unsent=%llu",
              (unsigned long long)c->client.id, c->client.address, reason,
              (unsigned long long)c->stream.left);
    c->state = CONNECTION_DEAD;
}

/* Begin to read the next piece. */
static void ask(struct connection *c)
{
    int status = tarn_stream_next(c->stream.source, fetch_come, c);
    if (status != TARN_OK)
        cut(c, tarn_status_text(status));
    else
        c->stream.reading = true;
}

/* Begin to answer with `size` bytes of the value, from `offset` on. */
static void begin(struct connection *c, struct tarn_stream *source, uint64_t offset, uint64_t size)
{
    tarn_stream_from(source, offset);
    int status = tarn_stream_next(source, fetch_come, c);
    if (status != TARN_OK) {
        command_reply_unreadable(&c->client, status);
        tarn_stream_close(source);
        return;
    }
    c->stream = (struct stream){.source = source, .left = size, .size = size, .reading = true};
    c->parked = true;
}

bool fetch_answer_far(struct connection *c, const struct command *command,
                      const struct resp_request *request)
{
    struct tarn_stream *source;
    uint64_t size;
    size_t offset = 0, wanted;
    if (tarn_stream_open(c->client.session, request->args[1], &source, &size) != TARN_OK ||
        source == NULL)
        return false;
    wanted = size;
    if (command->read == cmd_strlen || command->read == cmd_type) {
        wanted = 0; /* they look at nothing but the size */
        command->read(&c->client, request, (struct tarn_bytes){"", size});
    } else if (command->read == cmd_getrange) {
        if (cmd_getrange_of(&c->client, request, size, &offset, &wanted) && wanted == 0)
            reply_bulk(&c->client.reply, (struct tarn_bytes){"", 0});
    } else if (command->read != cmd_get) {
        tarn_stream_close(source);
        return false; /* BITCOUNT, DUMP ...: they need it whole */
    }
    if (wanted > 0 && c->client.reply_mode == CLIENT_REPLY_ON)
        begin(c, source, offset, wanted);
    else
        tarn_stream_close(source);
    return true;
}

/* Put what is wanted of the piece into the output. */
static void append(struct connection *c, struct tarn_bytes piece)
{
    struct stream *s = &c->stream;
    if (s->left == s->size)
        reply_bulk_header(&c->client.reply, s->size);
    if (piece.size > s->left)
        piece.size = s->left;
    s->left -= piece.size;
    output_append_ref(c->out, piece, NULL);
    if (s->left == 0)
        buffer_append(c->client.reply.out, "\r\n", 2);
}

/* A piece could not be read. The connection may be closed by it. */
static void fail(struct connection *c, const char *reason)
{
    if (c->stream.left < c->stream.size) {
        cut(c, reason);
        connection_end_turn(c);
        return;
    }
    size_t start = c->out->bytes.size;
    reply_error(&c->client.reply, "ERR cannot read the key: %s", reason);
    stats_record_error(
        &c->client.worker->stats, NULL, false,
        (struct tarn_bytes){c->out->bytes.data + start + 1, c->out->bytes.size - start - 1});
    fetch_forget(c);
    fetch_go_on(c);
}

void fetch_take_piece(struct connection *c)
{
    struct tarn_bytes piece;
    struct tarn_error error;
    c->stream.reading = false;
    if (tarn_stream_piece(c->stream.source, &piece, &error) != TARN_OK) {
        fail(c, error.text);
    } else if (piece.size == 0) {
        fail(c, "the value ends before its size");
    } else {
        append(c, piece);
        connection_end_turn(c);
    }
}

bool fetch_send_on(struct connection *c)
{
    struct stream *s = &c->stream;
    if (s->reading || output_unsent(c->out) > 0)
        return false;
    if (s->left > 0) {
        ask(c);
        return false;
    }
    tarn_stream_close(s->source);
    s->source = NULL;
    c->parked = false;
    return true;
}
