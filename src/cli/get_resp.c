/* GET over RESP: requests are sent in batches small enough for any socket buffer, so that neither
 * side waits for the other to read; replies are read in order. */
#include "cli/get.h"

#include <string.h>

#include "cli/resp_client.h"
#include "core/bytes.h"

#define BATCH_KEYS 64

static int read_reply(struct stream *stream, const char *key, struct get_output *output,
                      struct tarn_error *error)
{
    struct resp_reply reply;
    int status = resp_client_reply(stream, &reply, error);
    if (status != TARN_OK)
        return status;
    switch (reply.type) {
    case RESP_ERROR:
        return resp_client_refused(stream, &reply, error);
    case RESP_NULL:
        output->missing_count++;
        output->missing(output->context, key);
        return TARN_OK;
    case RESP_BULK:
        status = resp_client_copy_bulk(stream, (uint64_t)reply.number, output->values, error);
        if (status == TARN_OK && output->terminator >= 0)
            putc(output->terminator, output->values);
        return status;
    default:
        return resp_client_unexpected(stream, error);
    }
}

int get_resp(struct stream *stream, const char *password, const char *const *keys, int count,
             struct get_output *output, struct tarn_error *error)
{
    struct buffer request = {0};
    int status = resp_client_authenticate(stream, password, error);
    for (int sent = 0, received = 0; received < count && status == TARN_OK;) {
        do {
            resp_client_begin(&request, 2);
            resp_client_argument(&request, bytes_of("GET"));
            resp_client_argument(&request, bytes_of(keys[sent++]));
        } while (sent < count && sent - received < BATCH_KEYS &&
                 request.size + strlen(keys[sent]) < RESP_CLIENT_BATCH_BYTES);
        status = resp_client_send(stream, &request, error);
        for (; received < sent && status == TARN_OK; received++)
            status = read_reply(stream, keys[received], output, error);
    }
    buffer_done(&request);
    return status;
}
