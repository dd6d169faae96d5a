/* Commands about what is kept on disk: SAVE, BGSAVE, BGREWRITEAOF, LASTSAVE, TARN.BACKUP.
 *
 * Redis's two kinds of file are one thing here: a checkpoint, after which the log before it is
 * dropped. SAVE waits for it, others are served meanwhile. Failure modes: errors, in Redis's words
 * where it has some; what was kept stays. */
#include "server/command_rows.h"
#include "server/server.h"

#define PATH_BYTES_MAX 4095

/* Is there a directory? False after having answered that there is none. */
static bool is_kept(struct client *client)
{
    struct server *server = client->server;
    if (!server_is_writable(server))
        reply_error(&client->reply, "ERR there is nothing to save: the data file never changes");
    else if (server_config(server)->directory[0] == 0)
        reply_error(&client->reply, "ERR there is nowhere to save to: the store is in memory only; "
                                    "start the server with --dir DIR");
    else
        return true;
    return false;
}

void cmd_save(struct client *client, const struct resp_request *request)
{
    (void)request;
    if (is_kept(client))
        client_job(client, JOB_SAVE, NULL);
}

/* Start a checkpoint in the background, and answer. */
static void start(struct client *client, const char *started, const char *busy)
{
    int status = tarn_checkpoint_start(server_store(client->server));
    if (status == TARN_OK)
        reply_simple(&client->reply, started);
    else if (status == TARN_BUSY)
        reply_error(&client->reply, "ERR %s", busy);
    else
        command_reply_failure(client, status);
}

/* BGSAVE [SCHEDULE]: what SCHEDULE is for, another kind of work under way, there is not. */
void cmd_bgsave(struct client *client, const struct resp_request *request)
{
    if (request->count > 2 || (request->count == 2 && !command_arg_is(request, 1, "schedule")))
        command_reply_syntax_error(client);
    else if (is_kept(client))
        start(client, client->in_exec ? "Background saving scheduled" : "Background saving started",
              "Background save already in progress");
}

void cmd_bgrewriteaof(struct client *client, const struct resp_request *request)
{
    (void)request;
    if (is_kept(client))
        start(client, "Background append only file rewriting started",
              "Background append only file rewriting already in progress");
}

/* When the last checkpoint was made; when the server was started, if none was. */
void cmd_lastsave(struct client *client, const struct resp_request *request)
{
    (void)request;
    reply_int(&client->reply, server_last_save_seconds(client->server));
}

/* --- TARN.BACKUP -------------------------------------------------------------------------- */

/* Why no backup may be written there; NULL if one may. */
static const char *find_fault(struct tarn_bytes path)
{
    if (path.size == 0 || *(const char *)path.data != '/')
        return "the directory must be an absolute path: the server's working directory is not "
               "yours";
    if (path.size > PATH_BYTES_MAX || memchr(path.data, 0, path.size) != NULL)
        return "that is no path";
    return NULL;
}

void cmd_tarn_backup(struct client *client, const struct resp_request *request)
{
    char path[PATH_BYTES_MAX + 1];
    struct tarn_bytes given = request->args[1];
    if (!command_is_allowed(client, server_config(client->server)->backup_command)) {
        reply_error(&client->reply,
                    "ERR TARN.BACKUP not allowed: it writes a new directory. If the "
                    "enable-backup-command option is \"local\", it can be used from this machine; "
                    "\"yes\" allows it to all.");
        return;
    }
    const char *fault = find_fault(given);
    if (fault != NULL) {
        reply_error(&client->reply, "ERR %s", fault);
    } else if (is_kept(client)) {
        memcpy(path, given.data, given.size);
        path[given.size] = 0;
        client_job(client, JOB_BACKUP, path);
    }
}
