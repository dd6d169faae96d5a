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

/* What SHUTDOWN was told. */
struct shutdown_words {
    bool save, nosave, now, force, abort;
};

static bool parse_shutdown(const struct resp_request *request, struct shutdown_words *w)
{
    for (size_t i = 1; i < request->count; i++) {
        bool *word = command_arg_is(request, i, "save")     ? &w->save
                     : command_arg_is(request, i, "nosave") ? &w->nosave
                     : command_arg_is(request, i, "abort")  ? &w->abort
                     : command_arg_is(request, i, "now")    ? &w->now
                     : command_arg_is(request, i, "force")  ? &w->force
                                                            : NULL;
        if (word == NULL)
            return false;
        *word = true;
    }
    return !(w->save && w->nosave) && !(w->abort && (w->save || w->nosave || w->force || w->now));
}

/* Without a checkpoint before, at least: there is no reply, the client sees the end. */
static void stop_now(struct client *client, const struct shutdown_words *words)
{
    client->close_after_reply = true;
    if (words->save || words->nosave)
        server_stop_saving(client->server, words->save);
    else
        server_stop(client->server);
}

static bool saves_at_exit(struct server *server)
{
    server_config_lock(server);
    bool saves = server_config(server)->checkpoint_at_exit;
    server_config_unlock(server);
    return saves;
}

/* SHUTDOWN [NOSAVE|SAVE] [NOW] [FORCE] [ABORT]: after a checkpoint, as checkpoint-at-exit says or
 * as said here; if that fails the server goes on. With FORCE it is tried at the end, and the server
 * ends in any case. There are no replicas to be waited for, so NOW changes nothing. */
void cmd_shutdown(struct client *client, const struct resp_request *request)
{
    struct server *server = client->server;
    struct shutdown_words words = {0};
    bool is_kept = server_config(server)->directory[0] != 0; /* never changes */
    if (!parse_shutdown(request, &words))
        command_reply_syntax_error(client);
    else if (words.abort && server_abort_shutdown(server))
        reply_simple(&client->reply, "OK");
    else if (words.abort)
        reply_error(&client->reply, "ERR No shutdown in progress.");
    else if (words.save && !words.force && !is_kept && server_is_writable(server))
        reply_error(&client->reply, "ERR Errors trying to SHUTDOWN: there is nowhere to save to, "
                                    "the store is in memory only");
    else if (is_kept && !words.nosave && !words.force && (words.save || saves_at_exit(server)))
        client_shutdown(client);
    else
        stop_now(client, &words);
}

void cmd_reload(struct client *client, const struct resp_request *request)
{
    (void)request;
    client_job(client, JOB_RELOAD, NULL);
}
