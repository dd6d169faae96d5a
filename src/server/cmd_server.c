/* Commands on the server: INFO, TIME, LOLWUT, SHUTDOWN and RELOAD. */
#include "core/number.h"
#include "server/command_rows.h"
#include "server/metrics.h"
#include "server/server.h"

/* Has an earlier argument the same text (case ignored)? */
static bool is_repeated(const struct resp_request *request, size_t index)
{
    struct tarn_bytes text = request->args[index];
    for (size_t i = 1; i < index; i++) {
        struct tarn_bytes earlier = request->args[i];
        if (earlier.size == text.size && strncasecmp(earlier.data, text.data, text.size) == 0)
            return true;
    }
    return false;
}

/* INFO [section ...]: sections in the order asked, each once. */
void cmd_info(struct client *client, const struct resp_request *request)
{
    enum { SECTIONS_MAX = 32 }; /* more than there are */
    struct buffer text;
    buffer_init(&text, 0);
    if (request->count == 1)
        metrics_info(client->server, bytes_of("default"), &text);
    for (size_t i = 1; i < request->count && i <= SECTIONS_MAX; i++) {
        if (is_repeated(request, i))
            continue;
        size_t before = text.size;
        if (before > 0)
            buffer_append_text(&text, "\r\n");
        size_t start = text.size;
        metrics_info(client->server, request->args[i], &text);
        if (text.size == start)
            text.size = before; /* no such section */
    }
    if (text.failed)
        reply_error(&client->reply, "ERR out of memory");
    else
        reply_verbatim(&client->reply, "txt", (struct tarn_bytes){text.data, text.size});
    buffer_done(&text);
}

/* Seconds and microseconds, as texts. */
void cmd_time(struct client *client, const struct resp_request *request)
{
    (void)request;
    const struct os *os = server_os(client->server);
    uint64_t now = (uint64_t)os->realtime_us(os);
    char digits[24];
    reply_array(&client->reply, 2);
    reply_bulk(&client->reply,
               (struct tarn_bytes){digits, number_format_uint(now / 1000000, digits)});
    reply_bulk(&client->reply,
               (struct tarn_bytes){digits, number_format_uint(now % 1000000, digits)});
}

void cmd_lolwut(struct client *client, const struct resp_request *request)
{
    (void)request;
    static const char text[] = "        /\\\n"
                               "   /\\  /  \\    /\\\n"
                               "  /  \\/    \\/\\/  \\\n"
                               " /     \\____/     \\\n"
                               " \\_ ~  ~ ~~  ~ ~ _/\n"
                               "   \\__~ ~  ~ ___/\n"
                               "      \\_____/\n"
                               "tarn ver. " TARN_VERSION "\n";
    reply_verbatim(&client->reply, "txt", (struct tarn_bytes){text, sizeof text - 1});
}

/* Can there be a checkpoint of what is served, or is none needed? */
static bool can_save(struct client *client)
{
    return !server_is_writable(client->server) || server_config(client->server)->directory[0] != 0;
}

/* SHUTDOWN [NOSAVE|SAVE] [NOW] [FORCE] [ABORT]: a checkpoint at the end as checkpoint-at-exit says,
 * or as said here. Nothing but that is to be waited for, so there is nothing to abort. */
void cmd_shutdown(struct client *client, const struct resp_request *request)
{
    bool save = false, nosave = false, abort = false, force = false, other = false;
    for (size_t i = 1; i < request->count; i++) {
        bool *word = command_arg_is(request, i, "save")     ? &save
                     : command_arg_is(request, i, "nosave") ? &nosave
                     : command_arg_is(request, i, "abort")  ? &abort
                     : command_arg_is(request, i, "now")    ? &other
                     : command_arg_is(request, i, "force")  ? &force
                                                            : NULL;
        if (word == NULL) {
            command_reply_syntax_error(client);
            return;
        }
        *word = true;
    }
    if ((save && nosave) || (abort && (save || nosave || force || other))) {
        command_reply_syntax_error(client);
    } else if (abort) {
        reply_error(&client->reply, "ERR No shutdown in progress.");
    } else if (save && !force && !can_save(client)) {
        reply_error(&client->reply, "ERR Errors trying to SHUTDOWN: there is nowhere to save to, "
                                    "the store is in memory only");
    } else {
        client->close_after_reply = true; /* there is no reply: the client sees the end */
        if (save || nosave)
            server_stop_saving(client->server, save);
        else
            server_stop(client->server);
    }
}

void cmd_reload(struct client *client, const struct resp_request *request)
{
    (void)request;
    client_job(client, JOB_RELOAD, NULL);
}
