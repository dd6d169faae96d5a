/* tarn backup: a consistent copy of a store, of a server's or of a directory. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/place.h"
#include "cli/resp_client.h"
#include "cli/server_flags.h"
#include "core/bytes.h"

struct backup_flags {
    char *over;
    struct server_flags server;
};

static const struct option rows[] = {
    PLACE_OVER_ROW(offsetof(struct backup_flags, over)),
    SERVER_FLAGS_ROWS(offsetof(struct backup_flags, server), "3600"),
};
static const struct options table = {rows, sizeof rows / sizeof rows[0]};

/* The new directory's name as a server understands it, which has a working directory of its own. */
static int absolute_path(const char *path, bool is_local, struct buffer *out,
                         struct tarn_error *error)
{
    if (path[0] != '/' && !is_local)
        return error_set(error, TARN_INVALID,
                         "%s: the copy is made on the server's machine; name it from / on", path);
    if (path[0] != '/') {
        char *here = getcwd(NULL, 0);
        if (here == NULL)
            return os_error(error, -errno, "cannot find the working directory", "");
        buffer_append_text(out, here);
        buffer_append_byte(out, '/');
        free(here);
    }
    buffer_append_text(out, path);
    return out->failed ? error_set(error, TARN_NOMEM, "out of memory") : TARN_OK;
}

static int ask(struct stream *stream, struct tarn_bytes directory, struct tarn_error *error)
{
    struct buffer request = {0};
    resp_client_begin(&request, 2);
    resp_client_argument(&request, bytes_of("TARN.BACKUP"));
    resp_client_argument(&request, directory);
    int status = resp_client_do(stream, &request, error);
    buffer_done(&request);
    return status;
}

static int backup_server(struct cli_call *call, const struct place *place, struct buffer *path,
                         struct tarn_error *error)
{
    const struct backup_flags *flags = call->target;
    struct stream *stream;
    int status = server_flags_connect(call->os, &flags->server, &place->address, &stream, error);
    if (status != TARN_OK)
        return status;
    status = absolute_path(call->words[1], socket_is_local(stream->fd), path, error);
    if (status == TARN_OK)
        status = ask(stream, buffer_view(path), error);
    server_flags_disconnect(stream);
    return status;
}

static int backup_directory(struct cli_call *call, const struct place *place,
                            struct interrupt *interrupt, struct tarn_error *error)
{
    struct tarn *store;
    struct progress progress;
    progress_open(&progress, call->os, interrupt);
    int status = place_open(call->os, place, progress_update, &progress, &store, error);
    progress_close(&progress);
    if (status != TARN_OK)
        return status;
    status = tarn_backup(store, call->words[1], error);
    tarn_close(store);
    return status;
}

static int run(struct cli_call *call)
{
    const struct backup_flags *flags = call->target;
    struct place place;
    struct tarn_error error;
    struct interrupt interrupt = {.fd = -1};
    struct buffer path = {0};
    int status = place_parse(call->os, call->words[0], flags->over, &place, &error);
    if (status == TARN_OK && place.kind == PLACE_FILE)
        status = error_set(&error, TARN_INVALID, "%s: a data file is copied with cp", place.path);
    if (status != TARN_OK) {
        cli_error(call->command->name, error.text);
        return CLI_USAGE;
    }
    status = place_need_store(&place, &error);
    if (status == TARN_OK && place.kind == PLACE_SERVER) {
        status = backup_server(call, &place, &path, &error);
    } else if (status == TARN_OK) {
        interrupt_open(&interrupt);
        status = backup_directory(call, &place, &interrupt, &error);
        interrupt_close(&interrupt);
    }
    if (status == TARN_OK)
        printf("%s: a copy of %s\n", call->words[1], call->words[0]);
    buffer_done(&path);
    return status == TARN_OK ? cli_flush(call->command->name) : cli_fail(call, &interrupt, &error);
}

const struct cli_command cli_command_backup = {
    .name = "backup",
    .words = "DIR|HOST:PORT NEWDIR",
    .summary = "Copy a store, as it is at one moment, to a new directory",
    .description =
        "Makes a new directory with a copy of the store, which tarn serve --dir can open: of a "
        "server, which goes on serving meanwhile, or of a directory that no server has open. On "
        "one file system the copy's files are second names of files that never change again, so "
        "that it costs next to nothing; for safety from the disk's loss, name a directory on "
        "another one.\n"
        "\n"
        "The server writes the copy itself, on its own machine, and allows that to clients of the "
        "same machine unless its --enable-backup-command says otherwise.",
    .examples = "tarn backup localhost:6379 /backups/monday\tof a running server\n"
                "tarn backup store store.copy\tof a directory\n",
    .options = &table,
    .target_bytes = sizeof(struct backup_flags),
    .words_min = 2,
    .words_max = 2,
    .run = run,
};
