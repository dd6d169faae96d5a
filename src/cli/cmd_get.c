/* tarn get: ask a running server, or a store in this process. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/get.h"
#include "cli/server_flags.h"
#include "core/bytes.h"

struct get_flags {
    struct server_flags server;
    bool raw, null;
};

static const struct option rows[] = {
    SERVER_FLAGS_ROWS(offsetof(struct get_flags, server), "10"),
    {"raw", OPTION_BOOL, offsetof(struct get_flags, raw), "no", NULL,
     "Print the values only, without a newline after each"},
    {"null", OPTION_BOOL, offsetof(struct get_flags, null), "no", NULL,
     "End each value with a NUL byte instead of a newline"},
};
static const struct options table = {rows, sizeof rows / sizeof rows[0]};

static void note_missing(void *context, const char *key)
{
    const struct cli_call *call = context;
    char text[512]; /* a long key is cut */
    snprintf(text, sizeof text, "no such key: %s", key);
    cli_error(call->command->name, text);
}

static int get_server(struct cli_call *call, const struct stream_address *address,
                      const char *password, struct get_output *output, struct tarn_error *error)
{
    const struct get_flags *flags = call->target;
    unsigned timeout_ms = server_flags_timeout_ms(&flags->server);
    const char *const *keys = (const char *const *)call->words + 1;
    int status, count = call->words_count - 1;
    struct stream *stream = malloc(sizeof *stream);
    if (!stream)
        return error_set(error, TARN_NOMEM, "out of memory");
    stream->fd = -1;
    if (address->http) {
        status = get_http(stream, address, timeout_ms, password, keys, count, output, error);
    } else {
        status = stream_open(stream, address, timeout_ms, error);
        if (status == TARN_OK)
            status = get_resp(stream, password, keys, count, output, error);
    }
    stream_close(stream);
    free(stream);
    return status;
}

/* What is there under the name is meant, else a server. */
static int find_place(const struct cli_call *call, struct place *ret_place,
                      struct tarn_error *error)
{
    const char *word = call->words[0];
    *ret_place = (struct place){.kind = PLACE_SERVER};
    if (strncmp(word, "http://", 7) == 0)
        return stream_address_parse(word, &ret_place->address, error);
    return place_parse(call->os, word, "", ret_place, error);
}

static int get(struct cli_call *call, const struct place *place, const char *password,
               struct get_output *output, struct tarn_error *error)
{
    if (place->kind == PLACE_SERVER)
        return get_server(call, &place->address, password, output, error);
    return get_store(call->os, place, (const char *const *)call->words + 1, call->words_count - 1,
                     output, error);
}

static int usage(const struct cli_call *call, const char *text)
{
    cli_error(call->command->name, text);
    return CLI_USAGE;
}

static int run(struct cli_call *call)
{
    const struct get_flags *flags = call->target;
    const char *name = call->command->name, *password;
    char from_file[PASSWORD_BYTES_MAX + 1];
    struct place place;
    struct tarn_error error;
    if (flags->raw && flags->null)
        return usage(call, "--raw and --null exclude each other");
    if (find_place(call, &place, &error) != TARN_OK)
        return usage(call, error.text);
    int status = server_flags_password(call->os, &flags->server, from_file, &password, &error);
    if (status == TARN_INVALID && *flags->server.password)
        return usage(call, error.text);
    if (status != TARN_OK)
        return cli_fail(call, NULL, &error);
    struct get_output output = {.values = stdout,
                                .terminator = flags->raw    ? -1
                                              : flags->null ? 0
                                                            : '\n',
                                .missing = note_missing,
                                .context = call};
    status = get(call, &place, password, &output, &error);
    int exit_status = cli_flush(name);
    if (status != TARN_OK)
        return cli_fail(call, NULL, &error);
    return output.missing_count > 0 ? CLI_FAILED : exit_status;
}

const struct cli_command cli_command_get = {
    .name = "get",
    .words = "HOST:PORT|FILE|DIR KEY...",
    .summary = "Ask a server, a data file or a directory for values",
    .description =
        "Prints the values of the keys, one a line, in the order of the keys. For a key that does "
        "not exist nothing is printed on standard output, a line on standard error says so, and "
        "the exit status is 1.\n"
        "\n"
        "HOST:PORT is asked over RESP, http://HOST:PORT over HTTP; without a port, 6379 and 8379 "
        "are taken. An IPv6 address stands in brackets.\n"
        "\n"
        "FILE is a data file: with an index of blocks (tarn index --granule) it stays on disk and "
        "a "
        "key costs a read or two, else it is loaded. DIR is a store's directory that no server has "
        "open.",
    .examples = "tarn get localhost:6379 KEY\tover RESP\n"
                "tarn get http://[::1]:8379 KEY1 KEY2\tover HTTP\n"
                "tarn get data.bin KEY\tout of a data file\n"
                "tarn get --raw localhost KEY > file\tthe value's bytes and nothing else\n",
    .options = &table,
    .target_bytes = sizeof(struct get_flags),
    .words_min = 2,
    .words_max = -1,
    .run = run,
};
