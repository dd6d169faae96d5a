/* tarn serve: a data file, or a writable store, which may lie over one, over RESP and HTTP. */
#include <stdio.h>
#include <string.h>

#include "cli/data_flags.h"
#include "cli/progress.h"
#include "core/number.h"
#include "pack/format.h"
#include "server/server.h"

/* "[::1]" of an IPv6 address, others as they are; of several addresses the first. */
static void host_of(const char *bind, char *out, size_t out_size)
{
    size_t size = strcspn(bind, ", ");
    bool v6 = memchr(bind, ':', size) != NULL;
    snprintf(out, out_size, v6 ? "[%.*s]" : "%.*s", (int)size, bind);
}

/* ... if it stays on disk. */
static void print_disk(const struct tarn_disk_stats *disk, const char *built)
{
    char a[32], b[32];
    printf("disk    the records stay there; %u reads at a time a thread\n", disk->depth);
    printf("memory  an index of %s (%s), and up to %s of records\n",
           number_format_size(disk->index_bytes, a), built,
           number_format_size(disk->cache_bytes_max, b));
}

/* What is served, of a data file. */
static void print_data(struct server *server)
{
    struct tarn_stats stats;
    struct tarn_disk_stats disk;
    char described[64], a[32], b[32];
    tarn_stats_get(server_store(server), &stats);
    printf("data    %s: %s, %s\n", server_data_path(server),
           format_describe(&stats.format, described), number_format_size(stats.data_bytes, a));
    printf("keys    %s%s\n", number_format_count(stats.keys, a),
           stats.records > stats.keys ? " (repeated keys count once)" : "");
    const char *built = stats.index_built ? "built now" : "read from its file";
    tarn_disk_stats_get(server_store(server), &disk);
    if (disk.on_disk)
        print_disk(&disk, built);
    else
        printf("memory  %s: data and an index of %s (%s)\n",
               number_format_size(stats.memory_bytes, a), number_format_size(stats.index_bytes, b),
               built);
}

/* What was found in the directory of a writable store. */
static void print_directory(struct server *server, const struct config *config)
{
    struct tarn_stats stats;
    struct tarn_log_stats log;
    char a[32], b[32];
    tarn_stats_get(server_store(server), &stats);
    tarn_log_stats_get(server_store(server), &log);
    if (server_data_path(server) != NULL)
        printf("data    %s, which is not changed; its changes are in %s: ",
               server_data_path(server), config->directory);
    else
        printf("data    a writable store in %s: ", config->directory);
    printf("%s keys, %s changes replayed\n", number_format_count(stats.keys, a),
           number_format_count(log.replayed_records, b));
    if (log.loading)
        printf("loading its checkpoint while it is served: %s records to go\n",
               number_format_count(stats.base_records_left, a));
    const struct option *row = options_find(&config_options, bytes_of("durability"));
    printf("kept    durability %s\n", row->words[config->durability]);
}

/* ... and of a writable store. */
static void print_writable(struct server *server, const struct config *config)
{
    char size[32];
    if (config->directory[0] != 0)
        print_directory(server, config);
    else
        printf("data    a writable store in memory, empty; it is gone when the server stops\n");
    if (config->memory_bytes != 0)
        printf("memory  at most %s\n", number_format_size(config->memory_bytes, size));
}

/* One line a fact, for the person who started it; scripts read the log instead. */
static void print_start(struct server *server, const struct config *config)
{
    char host[128];
    bool writable = server_is_writable(server);
    if (writable)
        print_writable(server, config);
    else
        print_data(server);
    host_of(config->bind, host, sizeof host);
    unsigned port = server_port(server), http_port = server_http_port(server);
    const char *password = *config->password ? " --pass PASSWORD" : "";
    if (port)
        printf("RESP    %s:%u      try: redis-cli -p %u%s %s\n", host, port, port, password,
               writable ? "set KEY VALUE" : "get KEY");
    if (http_port)
        printf("HTTP    %s:%u      try: curl %shttp://%s:%u/kv/KEY\n", host, http_port,
               *password ? "-H 'Authorization: Bearer PASSWORD' " : "", host, http_port);
    printf("stop with SIGINT or SIGTERM%s\n",
           writable ? "" : "; SIGHUP loads a new version of the file");
}

/* The bar, wiped away when a phase is done, so that log lines stand on lines of their own. */
static bool show_loading(void *context, const char *phase, uint64_t done, uint64_t total)
{
    struct progress *progress = context;
    if (done >= total) {
        progress_close(progress);
        progress_open(progress, progress->os, NULL);
        return true;
    }
    return progress_update(progress, phase, done, total);
}

/* Settings of reading a data file have no meaning without one: say so, a FILE may be forgotten. */
static int check_no_file(const struct config *config, struct tarn_error *error)
{
    static const char *const names[] = {"format",       "separator", "size-type", "big-endian",
                                        "on-duplicate", "index",     "data",      "read-depth"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!options_is_default(options_find(&config_options, bytes_of(names[i])), config))
            return error_set(error, TARN_INVALID, "--%s is about a data file, and FILE is missing",
                             names[i]);
    return TARN_OK;
}

static int run(struct cli_call *call)
{
    const char *path = call->words_count > 0 ? call->words[0] : NULL;
    struct config *config = call->target;
    struct server *server;
    struct tarn_error error;
    int status = config_finish(config, &error);
    if (status == TARN_OK && path == NULL)
        status = check_no_file(config, &error);
    if (status == TARN_OK)
        status = config_check_directory(config, &error);
    if (status != TARN_OK) {
        cli_error(call->command->name, error.text);
        return status == TARN_INVALID ? CLI_USAGE : CLI_FAILED;
    }
    /* The server watches for signals itself, and logs while nobody looks at a terminal. */
    struct progress progress;
    progress_open(&progress, call->os, NULL);
    bool shown = progress.fd >= 0;
    status = server_open(call->os, config, path, shown ? show_loading : NULL, &progress, &server,
                         &error);
    progress_close(&progress);
    if (status != TARN_OK)
        return cli_fail(call, NULL, &error);
    print_start(server, config);
    if (fflush(stdout) != 0)
        clearerr(stdout); /* whoever reads the greeting went away; serving goes on */
    status = server_run(server, &error);
    server_close(server);
    return status == TARN_OK ? CLI_OK : cli_fail(call, NULL, &error);
}

static const char *config_path(const void *target)
{
    return ((const struct config *)target)->config_file;
}

const struct cli_command cli_command_serve = {
    .name = "serve",
    .words = "[FILE]",
    .summary = "Serve a data file, or a writable store, over RESP and HTTP",
    .description =
        "With FILE: loads it into memory and answers reads of it: over RESP, as Redis's clients "
        "speak it, and over HTTP. If the index FILE.tarnidx is missing, damaged or belongs to "
        "another version of the file, it is built first. A file that does not fit into --memory "
        "(without it, into the machine's) stays on disk, as with --data disk: its index is in "
        "memory, records are read when they are asked for, and those asked for of late fill the "
        "rest of --memory.\n"
        "\n"
        "Without FILE: serves a writable store. It is in memory only, empty at the start and gone "
        "when the server stops, or with --dir kept in a directory: changes go to a log there, and "
        "--durability says what of them can be lost (doc/durability.md). --memory caps all the "
        "server's memory, and "
        "--max-memory-policy says what happens when the store has filled it; of the policies' "
        "names in Redis, those of LRU and LFU stand for sieve.\n"
        "\n"
        "With FILE and --dir: serves a writable store that begins with the file's records. FILE "
        "is never touched; what is changed and deleted lies in the directory. A checkpoint "
        "(SAVE, a long log, --checkpoint-at-exit) writes all there is into the directory: from "
        "then on it can be served without FILE, too.\n"
        "\n"
        "The log goes to standard error, one line an event. SIGTERM and SIGINT finish the replies "
        "under way and exit with status 0; SIGHUP, or the command RELOAD, loads a new version of "
        "the file beside the old one and swaps them without dropping a request.\n"
        "\n"
        "Every option can also stand in the file named by --config, one \"name value\" a line; "
        "options on the command line win.",
    .examples = "tarn serve\ta writable store\n"
                "tarn serve --dir data --durability commit\tone that loses nothing\n"
                "tarn serve sample.txt --dir changes\tchanges to a file that stays as it is\n"
                "tarn serve --memory 2G --max-memory-policy allkeys-sieve\ta cache\n"
                "tarn serve sample.txt\tRESP on 127.0.0.1:6379, HTTP on 127.0.0.1:8379\n"
                "tarn serve --bind 0.0.0.0 --password-file secret sample.txt\tfor other machines\n"
                "tarn serve --memory 8G --threads 4 big.bin\tuse no more than 8 GiB\n"
                "tarn serve --data disk --memory 80M big.bin\tserve it from disk\n",
    .options = &config_options,
    .target_bytes = sizeof(struct config),
    .words_min = 0,
    .words_max = 1,
    .config_path = config_path,
    .run = run,
};
