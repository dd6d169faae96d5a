/* The server's settings: the table of rows, and the checks that no single row can make.
 *
 * How: every source (defaults, configuration file, flags, CONFIG SET) writes through the table;
 * config_finish() then looks at the whole once. Invariants: a server without a password listens
 * on loopback only; `password` holds the password wherever it came from.
 * Failure modes: each problem is one line that names the option and says what to do; a password
 * never appears in one. */
#include "server/config.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>

#include "core/number.h"
#include "os/os.h"
#include "pack/format_flags.h"
#include "server/log.h"

enum {
    PASSWORD_FILE_BYTES_MAX = 64 << 10,
    ADDRESS_BYTES_MAX = 63,       /* of one numeric address */
    BUFFERS_SHARE = 16,           /* 1/16 of the memory cap is kept for buffers, */
    BUFFERS_BYTES_MAX = 64 << 20, /* but no more than this */
};

static const char *const duplicates_words[] = {"last", "first", "error", NULL};
static const char *const debug_words[] = {
    [CONFIG_DEBUG_NO] = "no",
    [CONFIG_DEBUG_LOCAL] = "local",
    [CONFIG_DEBUG_YES] = "yes",
    NULL,
};
static const char *const eviction_words[] = {
    [TARN_EVICT_NOTHING] = "noeviction",
    [TARN_EVICT_ALL_SIEVE] = "allkeys-sieve",
    [TARN_EVICT_ALL_RANDOM] = "allkeys-random",
    [TARN_EVICT_EXPIRING_SIEVE] = "volatile-sieve",
    [TARN_EVICT_EXPIRING_SOONEST] = "volatile-ttl",
    NULL,
};
/* Redis's names. */
static const struct option_alias eviction_aliases[] = {
    {"allkeys-lru", TARN_EVICT_ALL_SIEVE},          {"allkeys-lfu", TARN_EVICT_ALL_SIEVE},
    {"volatile-lru", TARN_EVICT_EXPIRING_SIEVE},    {"volatile-lfu", TARN_EVICT_EXPIRING_SIEVE},
    {"volatile-random", TARN_EVICT_EXPIRING_SIEVE}, {NULL, 0},
};

static const char *const data_words[] = {
    [TARN_DATA_AUTO] = "auto",
    [TARN_DATA_IN_MEMORY] = "memory",
    [TARN_DATA_ON_DISK] = "disk",
    NULL,
};
static const char *const durability_words[] = {
    [TARN_DURABILITY_NONE] = "none",
    [TARN_DURABILITY_ASYNC] = "async",
    [TARN_DURABILITY_PERIODIC] = "periodic",
    [TARN_DURABILITY_COMMIT] = "commit",
    NULL,
};
static const char *const log_format_words[] = {
    [TARN_LOG_BINARY] = "binary",
    [TARN_LOG_CBOR] = "cbor",
    [TARN_LOG_JSON] = "json",
    NULL,
};

#define FIELD(name) offsetof(struct config, name)

/* Rows, not code: */
/* clang-format off */
static const struct option rows[] = {
    {"bind", OPTION_TEXT, FIELD(bind), "127.0.0.1", "ADDRESS",
     "Numeric addresses to listen on, separated by commas; beyond loopback a password is asked"},
    {"port", OPTION_UINT, FIELD(port), "6379", "N",
     "TCP port of RESP; 0 picks a free one", 0, 65535},
    {"http-port", OPTION_UINT, FIELD(http_port), "8379", "N",
     "TCP port of HTTP; 0 turns it off", 0, 65535},
    {"threads", OPTION_UINT, FIELD(threads), "0", "N",
     "Threads that serve, and that index and load; 0 is one per core", 0, 1024},
    {"memory", OPTION_SIZE, FIELD(memory_bytes), "0", "SIZE",
     "Most memory for everything together; of a data file, during a reload each of the two "
     "versions may take this much, and what a file on disk leaves of it holds records; 0 is no cap",
     .flags = OPTION_LIVE},
    {"max-memory-policy", OPTION_WORD, FIELD(eviction), "noeviction", "POLICY",
     "What a writable store does when memory is full: refuse writes, or evict keys not used of "
     "late, at random, or about to expire, of all keys or of those with an expiry",
     .words = eviction_words, .aliases = eviction_aliases, .flags = OPTION_LIVE},
    {"password", OPTION_SECRET, FIELD(password), NULL, "TEXT",
     "Password that clients must give; a flag can be seen by other users, a file cannot",
     .flags = OPTION_LIVE},
    {"password-file", OPTION_TEXT, FIELD(password_file), NULL, "FILE",
     "File whose first line is the password"},
    {"enable-debug-command", OPTION_WORD, FIELD(debug_command), "no", "WHO",
     "Clients that may use DEBUG, which is for tests: none, those of this machine, or all",
     .words = debug_words},
    {"config", OPTION_TEXT, FIELD(config_file), NULL, "FILE",
     "Configuration file: these names without the dashes, one and its value a line",
     .flags = OPTION_ONLY_FLAG},
    {"log-level", OPTION_WORD, FIELD(log_level), "info", "LEVEL",
     "Least severe events to log", .words = log_level_words, .flags = OPTION_LIVE},
    {"max-connections", OPTION_UINT, FIELD(max_connections), "16384", "N",
     "Most connections at a time, RESP and HTTP together", 1, 1000000, .flags = OPTION_LIVE},
    {"timeout", OPTION_UINT, FIELD(idle_seconds_max), "0", "SECONDS",
     "Close a connection that is idle this long; 0 never does", 0, 2147483647,
     .flags = OPTION_LIVE},
    {"output-limit", OPTION_SIZE, FIELD(output_bytes_max), "1G", "SIZE",
     "Most reply bytes waiting for one client; over it the client is closed", 64 << 10,
     .flags = OPTION_LIVE},
    {"request-limit", OPTION_SIZE, FIELD(request_bytes_max), "1G", "SIZE",
     "Most bytes of one request", 128 << 10, .flags = OPTION_LIVE},
    {"slowlog-log-slower-than", OPTION_UINT, FIELD(slowlog_us), "10000", "US",
     "Keep commands that take this many microseconds or more in the slow log",
     .flags = OPTION_LIVE},
    {"slowlog-max-len", OPTION_UINT, FIELD(slowlog_entries_max), "128", "N",
     "Entries in the slow log; 0 turns it off", 0, 100000, .flags = OPTION_LIVE},
    {"dir", OPTION_TEXT, FIELD(directory), NULL, "DIR",
     "Directory that keeps a writable store, or the changes to a data file, made if it is not there; "
     "without it a store is in memory only, and a data file read-only"},
    {"durability", OPTION_WORD, FIELD(durability), "periodic", "HOW",
     "What of a kept store can be lost. none: all since the last checkpoint; async: queue-depth "
     "changes when the process is killed, more when power fails; periodic: nothing when killed, "
     "two periods when power fails; commit: nothing",
     .words = durability_words, .flags = OPTION_LIVE},
    {"queue-depth", OPTION_COUNT, FIELD(queue_depth), "100000", "N",
     "With async: most changes that are acknowledged and not yet written", 1, 1000000000,
     .flags = OPTION_LIVE},
    {"write-period-us", OPTION_UINT, FIELD(write_period_us), "10000", "US",
     "With periodic: microseconds between two syncs", 1, 3600000000, .flags = OPTION_LIVE},
    {"log-files", OPTION_UINT, FIELD(log_files), "1", "N",
     "Files that the log is spread over", 1, 64},
    {"log-format", OPTION_WORD, FIELD(log_format), "binary", "FORMAT",
     "How changes are written to the log from now on", .words = log_format_words,
     .flags = OPTION_LIVE},
    {"checkpoint-log-bytes", OPTION_SIZE, FIELD(checkpoint_log_bytes), "1G", "SIZE",
     "Begin a checkpoint when the log is longer than this", 64 << 10, .flags = OPTION_LIVE},
    {"checkpoint-period", OPTION_TIME, FIELD(checkpoint_period_ns), "0", "TIME",
     "Begin a checkpoint when the last one is older than this; 0 never does",
     .flags = OPTION_LIVE},
    {"checkpoint-at-exit", OPTION_BOOL, FIELD(checkpoint_at_exit), NULL, NULL,
     "Make a checkpoint when the server stops, so that the next start has no log to replay",
     .flags = OPTION_LIVE},
    {"load-before-serving", OPTION_SIZE, FIELD(load_bytes), "64M", "SIZE",
     "Read a checkpoint of up to this size before serving; a larger one is served at once, and read "
     "in the background"},
    {"enable-backup-command", OPTION_WORD, FIELD(backup_command), "local", "WHO",
     "Clients that may use TARN.BACKUP, which writes a new directory: none, those of this machine, "
     "or all", .words = debug_words},
    {"data", OPTION_WORD, FIELD(data), "auto", "WHERE",
     "Where a data file's records are served from: memory; disk, with the index and those asked for "
     "of late in memory; auto: memory if file and index fit there, else disk",
     .words = data_words},
    {"read-depth", OPTION_UINT, FIELD(read_depth), "64", "N",
     "Of a data file on disk: most reads that a thread has under way", 1, 4096},
    {"format", OPTION_WORD, FIELD(format), "auto", "FORMAT",
     "Format of the data file", .words = format_kind_words},
    {"separator", OPTION_TEXT, FIELD(separator), NULL, "CHAR",
     "Text format: what ends a key, one byte, tab or space; without it the first of tab and space"},
    {"size-type", OPTION_WORD, FIELD(size_type), "u32", "TYPE",
     "Binary format: how sizes are written", .words = format_size_type_words},
    {"big-endian", OPTION_BOOL, FIELD(big_endian), NULL, NULL,
     "Binary format: sizes have their high byte first"},
    {"on-duplicate", OPTION_WORD, FIELD(on_duplicate), "last", "WHICH",
     "Which record of a key counts when there are several", .words = duplicates_words},
    {"index", OPTION_TEXT, FIELD(index_path), NULL, "FILE",
     "Index file; by default the data file's name and .tarnidx"},
};
/* clang-format on */

const struct options config_options = {rows, sizeof rows / sizeof *rows};

/* --- addresses --- */

/* One numeric address; false if it is none. */
static bool parse_address(struct tarn_bytes text, bool *ret_loopback)
{
    char address[ADDRESS_BYTES_MAX + 1];
    struct in_addr v4;
    struct in6_addr v6;
    if (text.size == 0 || text.size > ADDRESS_BYTES_MAX)
        return false;
    memcpy(address, text.data, text.size);
    address[text.size] = 0;
    if (inet_pton(AF_INET, address, &v4) == 1) {
        *ret_loopback = ntohl(v4.s_addr) >> 24 == 127;
        return true;
    }
    if (inet_pton(AF_INET6, address, &v6) != 1)
        return false;
    *ret_loopback =
        IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
    return true;
}

/* Check every address of `bind`. Errors: INVALID. */
static int check_bind(const struct config *config, bool *ret_loopback, struct tarn_error *error)
{
    bool all = true;
    const char *p = config->bind;
    for (;;) {
        size_t size = strcspn(p, ",");
        bool loopback;
        if (!parse_address((struct tarn_bytes){p, size}, &loopback))
            return error_set(error, TARN_INVALID,
                             "--bind: \"%.*s\" is no numeric address; write it like 127.0.0.1 or "
                             "::1, and a comma between two",
                             size < 80 ? (int)size : 80, p);
        all &= loopback;
        if (p[size] == 0)
            break;
        p += size + 1;
    }
    *ret_loopback = all;
    return TARN_OK;
}

int config_check_password(const struct config *config, struct tarn_error *error)
{
    bool loopback = false;
    int status = check_bind(config, &loopback, error);
    if (status != TARN_OK)
        return status;
    if (!loopback && config->password[0] == 0)
        return error_set(error, TARN_INVALID,
                         "--bind: %s lets other machines in, and there is no password; set "
                         "--password-file FILE, or bind to 127.0.0.1",
                         config->bind);
    return TARN_OK;
}

/* --- the password file --- */

/* Take the first line of the file's text as the password. */
static int take_password(struct config *config, const char *text, size_t size,
                         struct tarn_error *error)
{
    const char *newline = memchr(text, '\n', size);
    if (newline != NULL)
        size = (size_t)(newline - text);
    if (size > 0 && text[size - 1] == '\r')
        size--;
    if (size == 0)
        return error_set(error, TARN_INVALID, "--password-file: the first line of %s is empty",
                         config->password_file);
    const struct option *row = options_find(&config_options, bytes_of("password"));
    int status = options_set(row, config, (struct tarn_bytes){text, size}, error);
    if (status != TARN_OK)
        error_prepend(error, "--password-file %s", config->password_file);
    return status;
}

static int read_password_file(struct config *config, struct tarn_error *error)
{
    const struct os *os = os_real();
    struct os_file_info info;
    char *text = NULL;
    int fd;
    int status = os_open_data(os, config->password_file, &fd, &info, error);
    if (status != TARN_OK) {
        error_prepend(error, "--password-file");
        return status;
    }
    size_t size = info.size < PASSWORD_FILE_BYTES_MAX ? info.size : PASSWORD_FILE_BYTES_MAX;
    text = malloc(size + 1);
    if (text == NULL) {
        status = error_set(error, TARN_NOMEM, "--password-file: out of memory");
        goto out;
    }
    int failure = os_read_full(os, fd, text, size, 0);
    if (failure != 0)
        status = os_error(error, failure, "--password-file: cannot read", config->password_file);
    else
        status = take_password(config, text, size, error);
    explicit_bzero(text, size);
out:
    free(text);
    os->close(os, fd); /* only read: nothing can be lost */
    return status;
}

/* --- the data file --- */

static struct format_flags format_flags_of(const struct config *config)
{
    return (struct format_flags){.kind = config->format,
                                 .size_type = config->size_type,
                                 .big_endian = config->big_endian,
                                 .separator = config->separator};
}

int config_check_format(const struct config *config, struct tarn_error *error)
{
    struct tarn_format format;
    struct format_flags flags = format_flags_of(config);
    return format_from_flags(&flags, &format, error);
}

uint64_t config_store_memory(const struct config *config)
{
    uint64_t buffers = config->memory_bytes / BUFFERS_SHARE;
    return config->memory_bytes - (buffers < BUFFERS_BYTES_MAX ? buffers : BUFFERS_BYTES_MAX);
}

/* --- the directory --- */

/* A setting about the directory that was given without one: its name, else NULL. */
static const char *find_orphan(const struct config *config)
{
    static const char *const names[] = {
        "durability",        "queue-depth",        "write-period-us",
        "log-files",         "log-format",         "checkpoint-log-bytes",
        "checkpoint-period", "checkpoint-at-exit", "load-before-serving",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!options_is_default(options_find(&config_options, bytes_of(names[i])), config))
            return names[i];
    return NULL;
}

int config_check_directory(struct config *config, struct tarn_error *error)
{
    bool given = config->directory[0] != 0;
    const char *orphan = given ? NULL : find_orphan(config);
    if (orphan != NULL)
        return error_set(error, TARN_INVALID,
                         "--%s is about a store that is kept in a directory, and --dir DIR is "
                         "missing",
                         orphan);
    if (!given)
        config->durability = TARN_DURABILITY_NONE;
    return TARN_OK;
}

struct tarn_dial config_dial(const struct config *config)
{
    const uint64_t second_ns = 1000000000;
    uint64_t period_ns = config->checkpoint_period_ns;
    return (struct tarn_dial){
        .durability = (enum tarn_durability)config->durability,
        .queue_depth = config->queue_depth,
        .period_us = config->write_period_us,
        .log_format = (enum tarn_log_format)config->log_format,
        .log_bytes_max = config->checkpoint_log_bytes,
        .checkpoint_s = period_ns / second_ns + (period_ns % second_ns != 0),
    };
}

struct tarn_options config_store_options(const struct config *config, const char *path)
{
    bool kept = config->directory[0] != 0, writable = kept || path == NULL;
    struct tarn_options options = {
        .path = path,
        .index_path = config->index_path[0] != 0 ? config->index_path : NULL,
        .duplicates = (enum tarn_duplicates)config->on_duplicate,
        .memory_bytes_max = writable ? config_store_memory(config) : config->memory_bytes,
        .eviction = (enum tarn_eviction)config->eviction,
        .data = (enum tarn_data)config->data,
        .read_depth = (unsigned)config->read_depth,
        .threads = (unsigned)config->threads,
    };
    if (kept) {
        options.directory = config->directory;
        options.dial = config_dial(config);
        options.log_files = (unsigned)config->log_files;
        options.load_bytes_max = config->load_bytes > 0 ? config->load_bytes : 1;
    }
    struct format_flags flags = format_flags_of(config);
    if (format_from_flags(&flags, &options.format, NULL) != TARN_OK)
        options.format = (struct tarn_format){0}; /* config_check_format() has refused it before */
    return options;
}

int config_finish(struct config *config, struct tarn_error *error)
{
    int status = config_check_format(config, error);
    if (status != TARN_OK)
        return status;
    if (config->password_file[0] != 0) {
        if (config->password[0] != 0)
            return error_set(error, TARN_INVALID,
                             "--password and --password-file exclude each other; leave one out");
        status = read_password_file(config, error);
        if (status != TARN_OK)
            return status;
    }
    status = config_check_password(config, error);
    if (status != TARN_OK)
        return status;
    if (config->threads == 0)
        config->threads = os_core_count();
    return TARN_OK;
}
