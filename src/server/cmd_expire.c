/* Commands on when keys expire: the TTL family, the EXPIRE family and PERSIST.
 *
 * How: a time is always one of tarn_now_ms(), in ms since 1970; seconds and times from now are made
 * into one first. Whether the conditions (NX XX GT LT) hold is decided where the key is changed, by
 * tarn_update(), so that nobody changes it between. A time that has passed deletes the key.
 * Failure modes: a time out of range and what a write can fail with; the key is as it was. */
#include "server/command_rows.h"
#include "server/server.h"

static int64_t now_ms(struct client *client)
{
    return tarn_now_ms(server_store(client->server));
}

/* --- asking --- */

enum unit { MILLISECONDS = 1, SECONDS = 1000 };

/* When args[1] expires; false after having answered -2, of a key that never expires -1, or an
 * error. */
static bool get_expiry(struct client *client, const struct resp_request *request,
                       int64_t *ret_expire_ms)
{
    int status = tarn_get_expiry(client->session, request->args[1], ret_expire_ms);
    bool found = status == TARN_OK;
    client_count_lookups(client, found, !found);
    if (found && *ret_expire_ms != 0)
        return true;
    if (status < 0)
        command_reply_unreadable(client, status);
    else
        reply_int(&client->reply, found ? -1 : -2);
    return false;
}

/* Seconds are rounded to the nearest, as Redis does. */
static void reply_time(struct client *client, int64_t ms, enum unit unit)
{
    reply_int(&client->reply, unit == SECONDS ? ms / 1000 + (ms % 1000 >= 500) : ms);
}

static void reply_time_left(struct client *client, const struct resp_request *request,
                            enum unit unit)
{
    int64_t expire_ms;
    if (!get_expiry(client, request, &expire_ms))
        return;
    int64_t now = now_ms(client);
    reply_time(client, expire_ms > now ? expire_ms - now : 0, unit);
}

static void reply_time_of_expiry(struct client *client, const struct resp_request *request,
                                 enum unit unit)
{
    int64_t expire_ms;
    if (get_expiry(client, request, &expire_ms))
        reply_time(client, expire_ms, unit);
}

void cmd_ttl(struct client *client, const struct resp_request *request)
{
    reply_time_left(client, request, SECONDS);
}

void cmd_pttl(struct client *client, const struct resp_request *request)
{
    reply_time_left(client, request, MILLISECONDS);
}

void cmd_expiretime(struct client *client, const struct resp_request *request)
{
    reply_time_of_expiry(client, request, SECONDS);
}

void cmd_pexpiretime(struct client *client, const struct resp_request *request)
{
    reply_time_of_expiry(client, request, MILLISECONDS);
}

/* --- changing --- */

/* What is to be done to a key's expiry, and whether it was. */
struct change {
    bool nx, xx, gt, lt;
    int64_t expire_ms; /* the new one; PERSIST: 0 */
    int64_t now_ms;
    bool done;
};

/* A key that never expires counts as one that expires last of all. */
static bool conditions_hold(const struct change *change, int64_t present_ms)
{
    if (present_ms == 0)
        return !change->xx && !change->gt;
    return !change->nx && (!change->gt || change->expire_ms > present_ms) &&
           (!change->lt || change->expire_ms < present_ms);
}

static enum tarn_verdict change_expiry(void *context, struct tarn_update *update)
{
    struct change *change = context;
    struct tarn_record *record = &update->record;
    change->done = record->value.data != NULL && conditions_hold(change, record->expire_ms);
    if (!change->done)
        return TARN_PEEK;
    if (change->expire_ms <= change->now_ms)
        return TARN_REMOVE;
    record->expire_ms = change->expire_ms;
    return TARN_EXPIRE;
}

static enum tarn_verdict take_expiry_away(void *context, struct tarn_update *update)
{
    struct change *change = context;
    change->done = update->record.value.data != NULL && update->record.expire_ms != 0;
    update->record.expire_ms = 0;
    return change->done ? TARN_EXPIRE : TARN_PEEK;
}

static void run_change(struct client *client, struct tarn_bytes key, tarn_change function,
                       struct change *change)
{
    int status;
    do {
        status = tarn_update(client->session, key, function, change);
    } while (status == TARN_FULL && client_make_room(client));
    if (status == TARN_TOOBIG) /* the key: there is none such */
        reply_int(&client->reply, 0);
    else if (status != TARN_OK)
        command_reply_failure(client, status);
    else
        reply_int(&client->reply, change->done);
}

void cmd_persist(struct client *client, const struct resp_request *request)
{
    struct change change = {0};
    run_change(client, request->args[1], take_expiry_away, &change);
}

/* The words after the time; false after having answered an error. */
static bool parse_conditions(struct client *client, const struct resp_request *request,
                             struct change *change)
{
    for (size_t i = 3; i < request->count; i++) {
        bool *condition = command_arg_is(request, i, "nx")   ? &change->nx
                          : command_arg_is(request, i, "xx") ? &change->xx
                          : command_arg_is(request, i, "gt") ? &change->gt
                          : command_arg_is(request, i, "lt") ? &change->lt
                                                             : NULL;
        if (condition == NULL) {
            reply_error(&client->reply, "ERR Unsupported option %.*s",
                        command_printed_size(request->args[i]),
                        (const char *)request->args[i].data);
            return false;
        }
        *condition = true;
    }
    if (change->nx && (change->xx || change->gt || change->lt))
        reply_error(&client->reply,
                    "ERR NX and XX, GT or LT options at the same time are not compatible");
    else if (change->gt && change->lt)
        reply_error(&client->reply, "ERR GT and LT options at the same time are not compatible");
    else
        return true;
    return false;
}

/* EXPIRE and its like. start_ms: what the time given counts from. */
static void expire(struct client *client, const struct resp_request *request, const char *name,
                   int64_t start_ms, enum unit unit)
{
    struct change change = {.now_ms = now_ms(client)};
    int64_t time;
    if (!parse_conditions(client, request, &change) || !command_arg_int(client, request, 2, &time))
        return;
    if (__builtin_mul_overflow(time, (int64_t)unit, &change.expire_ms) ||
        __builtin_add_overflow(change.expire_ms, start_ms, &change.expire_ms)) {
        reply_error(&client->reply, "ERR invalid expire time in '%s' command", name);
        return;
    }
    run_change(client, request->args[1], change_expiry, &change);
}

void cmd_expire(struct client *client, const struct resp_request *request)
{
    expire(client, request, "expire", now_ms(client), SECONDS);
}

void cmd_pexpire(struct client *client, const struct resp_request *request)
{
    expire(client, request, "pexpire", now_ms(client), MILLISECONDS);
}

void cmd_expireat(struct client *client, const struct resp_request *request)
{
    expire(client, request, "expireat", 0, SECONDS);
}

void cmd_pexpireat(struct client *client, const struct resp_request *request)
{
    expire(client, request, "pexpireat", 0, MILLISECONDS);
}
