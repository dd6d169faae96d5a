/* Records into a server, by SET, pipelined.
 *
 * How: requests are sent in batches; while the server works on one, the next is sent, and then the
 * replies of the one before are read. So there are never more replies on their way than the
 * sockets' buffers hold, and neither side waits for the other. A large value is sent from where it
 * lies.
 *
 * Invariants: places[] says of each request sent where its record stands, oldest first; answers
 * come in that order.
 * Failure modes: the first record that the server refuses ends it, named by its place; the server's
 * silence, answers that are no RESP. */
#include <stdlib.h>
#include <string.h>

#include "cli/load.h"
#include "cli/resp_client.h"
#include "core/bytes.h"
#include "core/number.h"

#define BATCH_RECORDS 256
#define BATCH_BYTES   (64u << 10)
#define LARGE_BYTES   16384 /* a value from this size on is not copied */

struct loading {
    struct stream *stream;
    const struct load_source *source;
    struct tarn_error *error;
    struct buffer request;
    struct dump_place places[2 * BATCH_RECORDS]; /* a ring */
    uint64_t asked, answered;                    /* requests so far */
    uint64_t batch_start;                        /* asked, when the present batch began */
    struct resp_reply reply;
};

static int refused(struct loading *l, const struct dump_place *place)
{
    int status = resp_client_refused(l->stream, &l->reply, l->error);
    load_error_place(l->error, l->source->input->format, place);
    return status;
}

static int read_reply(struct loading *l)
{
    int status = resp_client_reply(l->stream, &l->reply, l->error);
    if (status != TARN_OK)
        return status;
    const struct dump_place *place = &l->places[l->answered % (2 * BATCH_RECORDS)];
    if (l->reply.type == RESP_ERROR)
        return refused(l, place);
    if (l->reply.type != RESP_SIMPLE)
        return resp_client_unexpected(l->stream, l->error);
    l->answered++;
    return TARN_OK;
}

/* Send what is gathered, and read the replies of the batches before, up to `upto`. */
static int end_batch(struct loading *l, uint64_t upto)
{
    int status = resp_client_send(l->stream, &l->request, l->error);
    while (status == TARN_OK && l->answered < upto)
        status = read_reply(l);
    return status;
}

static int send_large(struct loading *l, struct tarn_bytes value)
{
    buffer_printf(&l->request, "$%zu\r\n", value.size);
    int status = resp_client_send(l->stream, &l->request, l->error);
    if (status == TARN_OK)
        status = stream_send(l->stream, value, l->error);
    buffer_append_text(&l->request, "\r\n");
    return status;
}

static int put(struct loading *l, const struct tarn_record *record, const struct dump_place *place)
{
    char digits[20];
    int status = TARN_OK;
    l->places[l->asked++ % (2 * BATCH_RECORDS)] = *place;
    resp_client_begin(&l->request, record->expire_ms != 0 ? 5 : 3);
    resp_client_argument(&l->request, bytes_of("SET"));
    resp_client_argument(&l->request, record->key);
    if (record->value.size >= LARGE_BYTES)
        status = send_large(l, record->value);
    else
        resp_client_argument(&l->request, record->value);
    if (record->expire_ms != 0) {
        resp_client_argument(&l->request, bytes_of("PXAT"));
        resp_client_argument(
            &l->request, (struct tarn_bytes){digits, number_format_int(record->expire_ms, digits)});
    }
    if (status != TARN_OK ||
        (l->asked - l->batch_start < BATCH_RECORDS && l->request.size < BATCH_BYTES))
        return status;
    status = end_batch(l, l->batch_start);
    l->batch_start = l->asked;
    if (status == TARN_OK && !l->source->progress(l->source->progress_context, "loading",
                                                  place->offset, l->source->input->file_bytes))
        status = error_set(l->error, TARN_CANCELLED, "cancelled");
    return status;
}

/* What was sent is stored even if there is nothing more to send: how much is it? */
static int drain(struct loading *l, int status)
{
    struct tarn_error ignored, *error = l->error;
    l->error = status == TARN_OK ? error : &ignored; /* the first failure is what matters */
    int drained = end_batch(l, l->asked);
    l->error = error;
    return status == TARN_OK ? drained : status;
}

static int put_all(struct loading *l)
{
    struct tarn_record record;
    struct dump_place place;
    for (;;) {
        int status = load_input_next(l->source->input, &record, &place, l->error);
        if (status != TARN_OK)
            return drain(l, status == TARN_NOTFOUND ? TARN_OK : status);
        status = put(l, &record, &place);
        if (status == TARN_CANCELLED)
            return drain(l, status);
        if (status != TARN_OK)
            return status;
    }
}

int load_server(struct stream *stream, const struct load_source *source,
                struct load_report *ret_report, struct tarn_error *error)
{
    *ret_report = (struct load_report){0};
    struct loading *l = calloc(1, sizeof *l);
    if (l == NULL)
        return error_set(error, TARN_NOMEM, "out of memory");
    l->stream = stream;
    l->source = source;
    l->error = error;
    int status = put_all(l);
    ret_report->records = l->answered;
    buffer_done(&l->request);
    free(l);
    return status;
}
