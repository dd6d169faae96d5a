/* The settings of tarn bench: a row each in settings_options, a field each here. */
#ifndef BENCH_SETTINGS_H
#define BENCH_SETTINGS_H

#include "core/options.h"

struct settings {
    /* target: exactly one of the first four */
    char *connect;   /* RESP: "HOST:PORT[,HOST:PORT...]" */
    char *http;      /* "http://HOST:PORT[/path/{key}]" */
    char *memcached; /* memcached's text protocol: "HOST:PORT" */
    char *embedded;  /* "memory", DIR, "dir:DIR", FILE, "none"; NAME:PATH in bench/embedded */
    int durability, log_format; /* of a directory: enum tarn_durability, enum tarn_log_format */
    uint64_t queue_depth, write_period_us, log_files, checkpoint_log_bytes;
    int data; /* of a data file: enum tarn_data */
    uint64_t memory_bytes, read_depth;
    char *password, *password_file;
    uint64_t timeout_ns;

    /* workload */
    int workload;     /* enum workload_name */
    int distribution; /* 0: the workload's own; else enum distribution_kind + 1 */
    double read_ratio, theta, missing_ratio, hot_records, hot_requests;
    uint64_t records, key_size;
    struct option_range value_size;
    char *keys_from;
    int format, size_type; /* of that file, or of --embedded FILE: pack/format_flags.h */
    bool big_endian;
    char *separator;
    uint64_t seed;
    bool load, load_only, verify;

    /* load */
    uint64_t connections, pipeline, batch, threads;
    uint64_t requests; /* 0: by time */
    uint64_t duration_ns, warmup_ns;
    uint64_t rate; /* requests a second; 0: closed loop */
    bool poisson;
    int arrival; /* enum arrival_pattern */
    uint64_t period_ns;
    bool find_peak;
    double overload;             /* 0: not asked for */
    uint64_t target_ns, step_ns; /* of --find-peak and --overload: p99.9 to hold, time per step */

    /* output */
    char *json, *csv, *plot;
};

extern const struct options settings_options;

/* The format of the data file; settings_check() has refused what does not go together. */
struct tarn_format settings_format(const struct settings *settings);

/* The dial of --embedded DIR; the name of an option that turns it and was given, NULL if none was.
 */
struct tarn_dial settings_dial(const struct settings *settings);
const char *settings_dial_given(const struct settings *settings);
/* Likewise one that only a data file has. */
const char *settings_data_given(const struct settings *settings);

/* What cannot be judged option by option: no target or two, a rate for a pattern, a write workload
 * that ... Errors: INVALID, each naming the options. */
TARN_MUST int settings_check(const struct settings *settings, struct tarn_error *error);

#endif
