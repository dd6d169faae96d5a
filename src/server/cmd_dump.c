/* DUMP and RESTORE: a value as Redis serialises it (core/dump.h), so that keys can be moved between
 * tarn and Redis, either way.
 *
 * DUMP sends a large value from where it lies, between header and footer. Strings are not packed;
 * RESTORE unpacks those that Redis has packed. IDLETIME and FREQ are checked and not used: tarn
 * keeps neither.
 *
 * Failure modes: a payload that is no sound string of a known version is refused, -OOM; the key is
 * as it was. */
#include "core/dump.h"
#include "core/number.h"
#include "server/command_rows.h"
#include "server/command_scratch.h"
#include "server/server.h"

void cmd_dump(struct client *client, const struct resp_request *request, struct tarn_bytes value)
{
    struct dump_head head;
    unsigned char footer[DUMP_FOOTER_BYTES];
    (void)request;
    if (value.data == NULL) {
        reply_null(&client->reply);
        return;
    }
    dump_begin(value, &head);
    dump_end(&head, footer);
    reply_bulk_header(&client->reply, head.header_size + head.body.size + sizeof footer);
    buffer_append(client->reply.out, head.header, head.header_size);
    client_append_part(client, value, 0, head.body.size);
    buffer_append(client->reply.out, footer, sizeof footer);
    buffer_append(client->reply.out, "\r\n", 2);
}

/* --- RESTORE --- */

struct restore {
    bool replace, absolute, busy;
    int64_t idle_seconds, frequency; /* -1: not given */
    struct tarn_bytes key, value;
    int64_t expire_ms;
};

/* IDLETIME or FREQ at `index`, its value at index + 1; each is taken only without the other. */
static bool parse_usage(struct client *client, const struct resp_request *request, size_t index,
                        struct restore *restore)
{
    bool frequency = command_arg_is(request, index, "freq");
    int64_t value;
    bool known = frequency || command_arg_is(request, index, "idletime");
    if (!known || index + 1 == request->count ||
        (frequency ? restore->idle_seconds : restore->frequency) != -1) {
        command_reply_syntax_error(client);
        return false;
    }
    if (!command_arg_int(client, request, index + 1, &value))
        return false;
    if (value < 0 || (frequency && value > 255)) {
        reply_error(&client->reply, frequency ? "ERR Invalid FREQ value, must be >= 0 and <= 255"
                                              : "ERR Invalid IDLETIME value, must be >= 0");
        return false;
    }
    *(frequency ? &restore->frequency : &restore->idle_seconds) = value;
    return true;
}

static bool parse_options(struct client *client, const struct resp_request *request,
                          struct restore *restore)
{
    for (size_t i = 4; i < request->count; i++) {
        if (command_arg_is(request, i, "replace"))
            restore->replace = true;
        else if (command_arg_is(request, i, "absttl"))
            restore->absolute = true;
        else if (!parse_usage(client, request, i++, restore))
            return false;
    }
    return true;
}

static bool parse_ttl(struct client *client, const struct resp_request *request,
                      struct restore *restore)
{
    int64_t ttl;
    if (!command_arg_int(client, request, 2, &ttl))
        return false;
    if (ttl < 0) {
        reply_error(&client->reply, "ERR Invalid TTL value, must be >= 0");
        return false;
    }
    int64_t now = restore->absolute || ttl == 0 ? 0 : tarn_now_ms(server_store(client->server));
    if (__builtin_add_overflow(ttl, now, &restore->expire_ms))
        restore->expire_ms = INT64_MAX;
    return true;
}

static bool parse_payload(struct client *client, struct tarn_bytes payload,
                          struct dump_string *ret_string)
{
    switch (dump_parse(payload, ret_string)) {
    case DUMP_STRING:
        return true;
    case DUMP_UNVERIFIED:
        reply_error(&client->reply, "ERR DUMP payload version or checksum are wrong");
        break;
    case DUMP_OTHER_TYPE:
        reply_error(&client->reply, "ERR tarn does not serve such values: it holds strings only");
        break;
    case DUMP_DAMAGED:
        reply_error(&client->reply, "ERR Bad data format");
        break;
    }
    return false;
}

static enum tarn_verdict look_whether_busy(void *context, struct tarn_update *update)
{
    struct restore *restore = context;
    restore->busy = update->record.value.data != NULL;
    return TARN_PEEK;
}

static enum tarn_verdict store_if_absent(void *context, struct tarn_update *update)
{
    struct restore *restore = context;
    enum tarn_verdict verdict = look_whether_busy(context, update);
    if (restore->busy)
        return verdict;
    update->record.value = restore->value;
    update->record.expire_ms = restore->expire_ms;
    return TARN_STORE;
}

/* TARN_DUPLICATE: there is such a key. TARN_INVALID: it does not unpack. */
static int store_string(struct client *client, struct restore *restore,
                        const struct dump_string *string)
{
    void *scratch = NULL;
    int status = TARN_OK;
    restore->value = string->bytes;
    if (string->packed) {
        scratch = command_scratch_take(client, string->size);
        if (scratch == NULL)
            return TARN_FULL;
        restore->value = (struct tarn_bytes){scratch, string->size};
        status = dump_unpack(string, scratch) ? TARN_OK : TARN_INVALID;
    }
    restore->busy = false;
    if (status == TARN_OK && restore->replace)
        status = tarn_put(client->session, restore->key, restore->value, restore->expire_ms);
    else if (status == TARN_OK)
        status = tarn_update(client->session, restore->key, store_if_absent, restore);
    if (scratch != NULL)
        command_scratch_give(client, scratch, string->size);
    return status == TARN_OK && restore->busy ? TARN_DUPLICATE : status;
}

static void reply_restored(struct client *client, int status)
{
    if (status == TARN_OK)
        reply_simple(&client->reply, "OK");
    else if (status == TARN_DUPLICATE)
        reply_error(&client->reply, "BUSYKEY Target key name already exists.");
    else if (status == TARN_INVALID)
        reply_error(&client->reply, "ERR Bad data format");
    else
        command_reply_failure(client, status);
}

void cmd_restore(struct client *client, const struct resp_request *request)
{
    struct restore restore = {.idle_seconds = -1, .frequency = -1, .key = request->args[1]};
    struct dump_string string;
    if (!parse_options(client, request, &restore))
        return;
    /* Redis tells of a key in the way before it looks at the rest. */
    if (!restore.replace && !command_update(client, restore.key, look_whether_busy, &restore))
        return;
    if (restore.busy) {
        reply_restored(client, TARN_DUPLICATE);
        return;
    }
    if (!parse_ttl(client, request, &restore) || !parse_payload(client, request->args[3], &string))
        return;
    int status;
    do {
        status = store_string(client, &restore, &string);
    } while (status == TARN_FULL && client_make_room(client));
    reply_restored(client, status);
}
