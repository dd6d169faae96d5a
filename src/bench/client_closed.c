/* The closed loop: a connection sends `pipeline` requests, waits for all answers, sends again.
 *
 * How: a batch is chosen and encoded whole and goes out in one send for each server. Second
 * requests of operations that began in the batch before were queued by their answers, so they are
 * first in the output and take places of the pipeline.
 *
 * Invariant: a connection sends only when nothing that it sent is unanswered.
 * Failure modes: none of its own. */
#include "bench/client_internal.h"

static bool all_answered(const struct client *c, const struct connection *connection)
{
    for (unsigned i = 0; i < c->options.servers_count; i++)
        if (link_waiting(&connection->links[i]) > 0)
            return false;
    return true;
}

static bool time_is_over(const struct client *c)
{
    return c->phase->deadline_ns != 0 && c->now_ns >= c->phase->deadline_ns;
}

static int send_batch(struct client *c, struct connection *connection, struct tarn_error *error)
{
    if (phase_stopped(c->phase))
        return TARN_CANCELLED;
    size_t room = c->phase->pipeline - client_busy(c, connection);
    size_t requests = time_is_over(c) ? 0 : requests_plan(c, room);
    int status = TARN_OK;
    for (size_t i = 0; i < requests && status == TARN_OK; i++)
        status = requests_issue(c, connection, i, REQUEST_STARTS_WHEN_SENT, 0, error);
    return status == TARN_OK ? client_flush(c, connection, error) : status;
}

static int answered(struct client *c, struct connection *connection, struct tarn_error *error)
{
    return all_answered(c, connection) ? send_batch(c, connection, error) : TARN_OK;
}

int client_run_closed(struct client *c, struct tarn_error *error)
{
    int status = TARN_OK;
    c->answered = answered;
    for (unsigned i = 0; i < c->options.connections && status == TARN_OK; i++)
        status = send_batch(c, &c->connections[i], error);
    while (status == TARN_OK && c->under_way > 0)
        status = client_wait(c, UINT64_MAX, error);
    return status;
}
