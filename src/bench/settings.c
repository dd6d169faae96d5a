/* The settings of tarn bench: the table, and what cannot be judged row by row.
 *
 * How: settings_check() is a list of small checks, each of one group of options; the first that
 * finds something wrong is reported. Whether an option was given is told by its value not being the
 * default, so that repeating a default is never an error.
 *
 * Invariant: every error names the options that do not go together.
 * Failure modes: INVALID. */
#include "bench/settings.h"

#include <stddef.h>

#include "bench/arrival.h"
#include "bench/plot.h"
#include "bench/workload.h"
#include "core/assert.h"
#include "pack/format_flags.h"

#define FIELD(name) offsetof(struct settings, name)

#define CONNECTIONS_MAX 10000
#define PIPELINE_MAX    10000
#define BATCH_MAX       10000
/* Keys under way at once: each takes a few words of memory and its share of the buffers. */
#define KEYS_UNDER_WAY_MAX 10000000ull
#define THREADS_MAX        1024
#define RECORDS_MAX        (1ull << 40)
#define RATE_MAX           1000000000
#define MILLISECOND_NS     1000000ull
#define DAY_NS             86400000000000ull
#define HOUR_NS            3600000000000ull

/* The first word is the workload's own; the others are enum distribution_kind + 1. */
static const char *const distribution_words[] = {"own",     "uniform",    "zipfian", "latest",
                                                 "hotspot", "sequential", NULL};

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

static const char *const data_words[] = {
    [TARN_DATA_AUTO] = "auto",
    [TARN_DATA_IN_MEMORY] = "memory",
    [TARN_DATA_ON_DISK] = "disk",
    NULL,
};

static const struct option rows[] = {
    /* target */
    {"connect", OPTION_TEXT, FIELD(connect), "", "HOST:PORT[,...]",
     "Measure a server over RESP; several share the keys as Redis Cluster does, by slot"},
    {"http", OPTION_TEXT, FIELD(http), "", "URL",
     "Measure a server over HTTP; {key} in URL stands for the key, else it is /kv/ and the key"},
    {"memcached", OPTION_TEXT, FIELD(memcached), "", "HOST:PORT",
     "Measure a server over memcached's text protocol"},
    {"embedded", OPTION_TEXT, FIELD(embedded), "", "memory|DIR|FILE|none",
     "Measure tarn in this process: with records made up, in memory or kept in a directory "
     "(dir:DIR "
     "makes a new one) or in a data file on disk (disk:FILE makes it), with those of a data file, "
     "or nothing but the generator"},
    {"data", OPTION_WORD, FIELD(data), "auto", "WHERE",
     "With a data file: in memory, on disk, or as its size and --memory suggest",
     .words = data_words},
    {"memory", OPTION_SIZE, FIELD(memory_bytes), "0", "SIZE",
     "With a data file: most memory that the store takes; 0 is no cap"},
    {"read-depth", OPTION_UINT, FIELD(read_depth), "64", "N",
     "With a data file on disk: reads that a thread has under way at most", .min = 1, .max = 4096},
    {"durability", OPTION_WORD, FIELD(durability), "periodic", "HOW",
     "With a directory: what can be lost. none: all since the last checkpoint; async: queue-depth "
     "changes when the process is killed, more when power fails; periodic: nothing when killed, "
     "two periods when power fails; commit: nothing",
     .words = durability_words},
    {"queue-depth", OPTION_COUNT, FIELD(queue_depth), "100000", "N",
     "With async: most changes that are acknowledged and not yet written", .min = 1,
     .max = 1000000000},
    {"write-period-us", OPTION_UINT, FIELD(write_period_us), "10000", "US",
     "With periodic: microseconds between two syncs", .min = 1, .max = 3600000000},
    {"log-files", OPTION_UINT, FIELD(log_files), "1", "N",
     "With a directory: files that the log is spread over", .min = 1, .max = 64},
    {"log-format", OPTION_WORD, FIELD(log_format), "binary", "FORMAT",
     "With a directory: how changes are written to the log", .words = log_format_words},
    {"checkpoint-log-bytes", OPTION_SIZE, FIELD(checkpoint_log_bytes), "1G", "SIZE",
     "With a directory: begin a checkpoint when the log is longer than this", .min = 64 << 10},
    {"password", OPTION_SECRET, FIELD(password), "", "PASSWORD",
     "The server's password; others on this machine can see it in the list of processes"},
    {"password-file", OPTION_TEXT, FIELD(password_file), "", "FILE",
     "Take the password from the first line of FILE"},
    {"timeout", OPTION_TIME, FIELD(timeout_ns), "10s", "TIME",
     "Give up when a server is silent for so long", .min = MILLISECOND_NS, .max = HOUR_NS},
    /* workload */
    {"workload", OPTION_WORD, FIELD(workload), "get", "NAME",
     "What is asked; a to f are those of YCSB", .words = workload_names},
    {"distribution", OPTION_WORD, FIELD(distribution), "own", "NAME",
     "Which records are asked for, own being what the workload's definition says",
     .words = distribution_words},
    {"read-ratio", OPTION_REAL, FIELD(read_ratio), "0.95", "R", "Share of reads in workload mixed",
     .real_max = 1},
    {"theta", OPTION_REAL, FIELD(theta), "0.99", "T",
     "Skew of zipfian and latest: 0 is uniform, above 1 is extreme", .real_max = ZIPF_THETA_MAX},
    {"records", OPTION_COUNT, FIELD(records), "1M", "N", "Records that there are", .min = 1,
     .max = RECORDS_MAX},
    {"key-size", OPTION_UINT, FIELD(key_size), "16", "N", "Bytes of a key", .min = 1,
     .max = TARN_KEY_BYTES_MAX},
    {"value-size", OPTION_RANGE, FIELD(value_size), "64", "N|A-B",
     "Bytes of a value, each size from A to B being equally likely", .max = TARN_VALUE_BYTES_MAX},
    {"keys-from", OPTION_TEXT, FIELD(keys_from), "", "FILE",
     "Take keys and values from a data file instead of making them up"},
    {"format", OPTION_WORD, FIELD(format), "auto", "FORMAT", "Format of the data file",
     .words = format_kind_words},
    {"separator", OPTION_TEXT, FIELD(separator), "", "CHAR",
     "Text format: what ends a key, one byte, tab or space"},
    {"size-type", OPTION_WORD, FIELD(size_type), "u32", "TYPE",
     "Binary format: how sizes are written", .words = format_size_type_words},
    {"big-endian", OPTION_BOOL, FIELD(big_endian), "no", NULL,
     "Binary format: sizes have their high byte first"},
    {"missing-ratio", OPTION_REAL, FIELD(missing_ratio), "0", "R",
     "Share of the reads that ask for keys that do not exist", .real_max = 1},
    {"hot-records", OPTION_REAL, FIELD(hot_records), "0.2", "R",
     "Distribution hotspot: the share of the records that is hot", .real_min = 1e-9, .real_max = 1},
    {"hot-requests", OPTION_REAL, FIELD(hot_requests), "0.8", "R",
     "Distribution hotspot: the share of the requests that goes to them", .real_max = 1},
    {"seed", OPTION_UINT, FIELD(seed), "1", "S",
     "Another seed asks for other keys, another data set"},
    {"load", OPTION_BOOL, FIELD(load), "no", NULL, "Write all records first"},
    {"load-only", OPTION_BOOL, FIELD(load_only), "no", NULL, "Write all records and stop"},
    {"verify", OPTION_BOOL, FIELD(verify), "no", NULL,
     "Compare every value read byte by byte, not only its presence"},
    /* load */
    {"connections", OPTION_COUNT, FIELD(connections), "50", "N",
     "Connections in all; 1 for each thread with --embedded", .min = 1, .max = CONNECTIONS_MAX},
    {"pipeline", OPTION_COUNT, FIELD(pipeline), "1", "N",
     "Requests under way on a connection at once", .min = 1, .max = PIPELINE_MAX},
    {"batch", OPTION_COUNT, FIELD(batch), "1", "N", "Keys in a request (MGET, MSET)", .min = 1,
     .max = BATCH_MAX},
    {"threads", OPTION_UINT, FIELD(threads), "1", "N", "Threads that send", .min = 1,
     .max = THREADS_MAX},
    {"requests", OPTION_COUNT, FIELD(requests), "0", "N",
     "Stop after so many requests; 0: by --duration"},
    {"duration", OPTION_TIME, FIELD(duration_ns), "10s", "TIME",
     "Stop after so long, unless --requests is given", .min = MILLISECOND_NS, .max = 30 * DAY_NS},
    {"warmup", OPTION_TIME, FIELD(warmup_ns), "0s", "TIME",
     "Send for so long before what counts begins", .max = DAY_NS},
    {"rate", OPTION_COUNT, FIELD(rate), "0", "N",
     "Send N requests a second however fast the answers come (open loop); latency counts from "
     "when a request was due. 0: each connection waits for its answers (closed loop)",
     .max = RATE_MAX},
    {"poisson", OPTION_BOOL, FIELD(poisson), "no", NULL,
     "With --rate: at random times, as independent users do, not evenly"},
    {"arrival", OPTION_WORD, FIELD(arrival), "consistent", "PATTERN",
     "With --rate: how it changes over time", .words = arrival_pattern_names},
    {"arrival-period", OPTION_TIME, FIELD(period_ns), "10s", "TIME",
     "Length of one burst, ramp or sine", .min = MILLISECOND_NS, .max = DAY_NS},
    {"find-peak", OPTION_BOOL, FIELD(find_peak), "no", NULL,
     "Look for the highest rate that holds --target"},
    {"overload", OPTION_REAL, FIELD(overload), "0", "X",
     "With --find-peak or --rate: then send X times as much, and tell how much of it is answered "
     "within --target; 0: do not",
     .real_max = 1000},
    {"target", OPTION_TIME, FIELD(target_ns), "1ms", "TIME",
     "What p99.9 of the latency must not exceed, for --find-peak and --overload", .min = 1000,
     .max = HOUR_NS},
    {"step", OPTION_TIME, FIELD(step_ns), "3s", "TIME", "How long --find-peak tries each rate",
     .min = 100 * MILLISECOND_NS, .max = HOUR_NS},
    /* output */
    {"json", OPTION_TEXT, FIELD(json), "", "FILE", "Write the result as JSON"},
    {"csv", OPTION_TEXT, FIELD(csv), "", "FILE", "Write a line for each second as CSV"},
    {"plot", OPTION_TEXT, FIELD(plot), "", "FILE",
     "Draw latency and throughput into FILE.svg or FILE.png; needs gnuplot"},
};

const struct options settings_options = {rows, sizeof rows / sizeof rows[0]};

/* --- checks --- */

static int refuse(struct tarn_error *error, const char *text)
{
    return error_set(error, TARN_INVALID, "%s", text);
}

static bool is_given(const struct settings *s, const char *name)
{
    const struct option *row = options_find(&settings_options, bytes_of(name));
    ASSERT(row);
    return !options_is_default(row, s);
}

/* The first of a NULL-terminated list of options that is given, NULL if none is. */
static const char *first_given(const struct settings *s, const char *const *names)
{
    for (; *names; names++)
        if (is_given(s, *names))
            return *names;
    return NULL;
}

/* One of `names` is given where `why` forbids it: "--poisson needs --rate". */
static int refuse_given(const struct settings *s, const char *const *names, const char *why,
                        struct tarn_error *error)
{
    const char *name = first_given(s, names);
    if (!name)
        return TARN_OK;
    return error_set(error, TARN_INVALID, "--%s %s", name, why);
}
#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

const char *settings_dial_given(const struct settings *s)
{
    return first_given(s, NAMES("durability", "queue-depth", "write-period-us", "log-files",
                                "log-format", "checkpoint-log-bytes"));
}

const char *settings_data_given(const struct settings *s)
{
    return first_given(s, NAMES("data", "memory", "read-depth"));
}

struct tarn_dial settings_dial(const struct settings *s)
{
    return (struct tarn_dial){
        .durability = (enum tarn_durability)s->durability,
        .queue_depth = s->queue_depth,
        .period_us = s->write_period_us,
        .log_format = (enum tarn_log_format)s->log_format,
        .log_bytes_max = s->checkpoint_log_bytes,
    };
}

/* Whether there is a directory at all is the target's to say. */
static int check_dial(const struct settings *s, struct tarn_error *error)
{
    int status = TARN_OK;
    if (s->durability != TARN_DURABILITY_ASYNC)
        status = refuse_given(s, NAMES("queue-depth"), "needs --durability async", error);
    if (status == TARN_OK && s->durability != TARN_DURABILITY_PERIODIC)
        status = refuse_given(s, NAMES("write-period-us"), "needs --durability periodic", error);
    if (status == TARN_OK && s->durability == TARN_DURABILITY_NONE)
        status = refuse_given(s, NAMES("log-files", "log-format", "checkpoint-log-bytes"),
                              "does not go with --durability none, which keeps no log", error);
    return status;
}

static int check_target(const struct settings *s, struct tarn_error *error)
{
    static const char *const names[] = {"connect", "http", "memcached", "embedded", NULL};
    const char *first = first_given(s, names), *second = NULL;
    if (!first)
        return refuse(error, "nothing to measure; give one of --connect, --http, --memcached and "
                             "--embedded");
    for (const char *const *name = names; *name; name++)
        if (*name != first && is_given(s, *name))
            second = *name;
    if (second)
        return error_set(error, TARN_INVALID, "--%s and --%s exclude each other", first, second);
    if (*s->password && *s->password_file)
        return refuse(error, "--password and --password-file exclude each other");
    if (*s->memcached)
        return refuse_given(s, NAMES("password", "password-file"),
                            "does not go with --memcached, whose text protocol knows none", error);
    if (*s->embedded)
        return refuse_given(s, NAMES("password", "password-file"),
                            "does not go with --embedded, which asks for none", error);
    return TARN_OK;
}

static struct format_flags format_flags_of(const struct settings *s)
{
    return (struct format_flags){.kind = s->format,
                                 .size_type = s->size_type,
                                 .big_endian = s->big_endian,
                                 .separator = s->separator};
}

struct tarn_format settings_format(const struct settings *settings)
{
    struct tarn_format format = {0};
    struct format_flags flags = format_flags_of(settings);
    int status = format_from_flags(&flags, &format, NULL);
    ASSERT(status == TARN_OK);
    return format;
}

static int check_records(const struct settings *s, const struct workload_mix *mix,
                         struct tarn_error *error)
{
    int status = TARN_OK;
    if (*s->keys_from)
        status = refuse_given(s, NAMES("records", "key-size", "value-size"),
                              "does not go with --keys-from, which brings its own records", error);
    if (status == TARN_OK && *s->keys_from && mix->share[OPERATION_INSERT] > 0)
        return error_set(error, TARN_INVALID,
                         "--workload %s inserts new records, of which --keys-from has none",
                         workload_names[s->workload]);
    if (status == TARN_OK && !*s->keys_from && !*s->embedded)
        status = refuse_given(s, NAMES("format", "separator", "size-type", "big-endian"),
                              "needs --keys-from or --embedded FILE", error);
    struct tarn_format format;
    struct format_flags flags = format_flags_of(s);
    return status == TARN_OK ? format_from_flags(&flags, &format, error) : status;
}

static bool is_skewed(const struct settings *s, const struct workload_mix *mix)
{
    enum distribution_kind kind =
        s->distribution == 0 ? mix->distribution : (enum distribution_kind)(s->distribution - 1);
    return kind == DISTRIBUTION_ZIPFIAN || kind == DISTRIBUTION_LATEST;
}

static int check_workload(const struct settings *s, const struct workload_mix *mix,
                          struct tarn_error *error)
{
    int status = TARN_OK;
    if (s->workload != WORKLOAD_MIXED)
        status = refuse_given(s, NAMES("read-ratio"), "needs --workload mixed", error);
    if (status == TARN_OK && s->distribution != DISTRIBUTION_HOTSPOT + 1)
        status = refuse_given(s, NAMES("hot-records", "hot-requests"),
                              "needs --distribution hotspot", error);
    if (status == TARN_OK && !is_skewed(s, mix))
        status = refuse_given(s, NAMES("theta"),
                              "needs --distribution zipfian or latest, or a workload that has one "
                              "of them",
                              error);
    if (status == TARN_OK && mix->share[OPERATION_READ] <= 0)
        status = refuse_given(s, NAMES("missing-ratio"),
                              "needs a workload that reads single records", error);
    return status;
}

static int check_rate(const struct settings *s, struct tarn_error *error)
{
    int status = TARN_OK;
    if (s->find_peak)
        status =
            refuse_given(s, NAMES("rate", "poisson", "arrival", "requests", "duration", "warmup"),
                         "does not go with --find-peak, which chooses rates and times by "
                         "itself (--step)",
                         error);
    else
        status = refuse_given(s, NAMES("step"), "needs --find-peak", error);
    if (status == TARN_OK && !s->find_peak && s->rate == 0)
        status = refuse_given(s, NAMES("overload"), "needs --rate or --find-peak", error);
    if (status == TARN_OK && !s->find_peak && s->overload <= 0)
        status = refuse_given(s, NAMES("target"), "needs --find-peak or --overload", error);
    if (status == TARN_OK && s->rate == 0)
        status = refuse_given(s, NAMES("poisson", "arrival"), "needs --rate", error);
    if (status == TARN_OK && s->arrival == ARRIVAL_CONSISTENT)
        status =
            refuse_given(s, NAMES("arrival-period"), "needs --arrival burst, ramp or sine", error);
    if (status == TARN_OK && s->overload > 0 && s->overload <= 1)
        return error_set(error, TARN_INVALID,
                         "--overload: a factor over 1 is needed, such as 1.5 for half as much "
                         "again");
    return status;
}

static int check_size(const struct settings *s, struct tarn_error *error)
{
    if (s->requests > 0 && is_given(s, "duration"))
        return refuse(error, "--requests and --duration exclude each other");
    if (!*s->embedded && s->threads > s->connections)
        return error_set(error, TARN_INVALID,
                         "--threads: %llu threads have only %llu connections to share; raise "
                         "--connections",
                         (unsigned long long)s->threads, (unsigned long long)s->connections);
    if (s->connections * s->pipeline * s->batch > KEYS_UNDER_WAY_MAX)
        return error_set(error, TARN_INVALID,
                         "--connections times --pipeline times --batch is over %llu keys under way "
                         "at once",
                         KEYS_UNDER_WAY_MAX);
    return TARN_OK;
}

static int check_output(const struct settings *s, struct tarn_error *error)
{
    if (s->load_only) {
        int status = refuse_given(
            s,
            NAMES("rate", "find-peak", "overload", "requests", "duration", "warmup", "csv", "plot"),
            "does not go with --load-only, which measures nothing but the load", error);
        if (status != TARN_OK)
            return status;
    }
    return *s->plot ? plot_check(s->plot, error) : TARN_OK;
}

int settings_check(const struct settings *settings, struct tarn_error *error)
{
    struct workload_mix mix =
        workload_mix((enum workload_name)settings->workload, settings->read_ratio);
    int status = check_target(settings, error);
    if (status == TARN_OK)
        status = check_dial(settings, error);
    if (status == TARN_OK)
        status = check_output(settings, error);
    if (status == TARN_OK)
        status = check_records(settings, &mix, error);
    if (status == TARN_OK)
        status = check_workload(settings, &mix, error);
    if (status == TARN_OK)
        status = check_rate(settings, error);
    if (status == TARN_OK)
        status = check_size(settings, error);
    return status;
}
