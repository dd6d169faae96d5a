/* The table of metrics, and the figures it draws on. Private to metrics*.c; the figures are
 * cmd_memory.c's too. */
#ifndef SERVER_METRICS_TABLE_H
#define SERVER_METRICS_TABLE_H

#include "server/metrics.h"

/* INFO's sections, in INFO's order. */
enum metrics_section {
    SECTION_SERVER,
    SECTION_CLIENTS,
    SECTION_MEMORY,
    SECTION_PERSISTENCE,
    SECTION_STATS,
    SECTION_REPLICATION,
    SECTION_CPU,
    SECTION_MODULES,
    SECTION_COMMANDSTATS, /* from here on to LATENCYSTATS: not rows, made from lists */
    SECTION_ERRORSTATS,
    SECTION_LATENCYSTATS,
    SECTION_CLUSTER,
    SECTION_TARN,
    SECTION_DISK,     /* of a data file on disk only */
    SECTION_KEYSPACE, /* not rows */
    SECTIONS_COUNT,
};

struct metrics_section_name {
    const char *title;   /* "# Server", and "server" in /stats */
    const char *aliases; /* other names it may be asked by, separated by spaces */
    bool is_default;     /* part of INFO without arguments */
};

extern const struct metrics_section_name metrics_sections[SECTIONS_COUNT];

/* Everything the rows show, taken at one moment. Text is borrowed: from the server, or from the
 * sample itself. */
struct metrics_sample {
    struct server_counters counters;
    struct tarn_stats store;
    struct tarn_log_stats log;
    struct tarn_disk_stats disk;
    uint64_t process_id, port, http_port, uptime_seconds, uptime_days, server_time_us;
    uint64_t threads, max_clients, memory_max, memory_used, memory_resident, memory_peak;
    uint64_t memory_total, ops_per_second, start_unix_seconds;
    uint64_t memory_base, memory_data, memory_overhead;
    int64_t memory_rest;
    double cpu_system_seconds, cpu_user_seconds, memory_ratio, memory_peak_percent;
    double memory_data_percent;
    double load_seconds;
    uint64_t index_built, writable;
    uint64_t is_logged, checkpoint_running, closed_cleanly, changes_unsaved;
    uint64_t last_save_unix_seconds, log_failed, log_no_space, loading, loading_failed;
    int64_t checkpoint_whole_seconds; /* -1: none was made */
    double checkpoint_seconds, sync_seconds, sync_seconds_max, recovery_seconds;
    uint64_t on_disk, disk_in_flight, disk_depth, disk_changed;
    double disk_hit_ratio, disk_reads_per_miss;
    double disk_mean_seconds, disk_p50_seconds, disk_p99_seconds, disk_p999_seconds,
        disk_max_seconds;
    const char *directory, *durability, *checkpoint_status, *log_status, *log_state;
    const char *run_id, *data_path, *config_file, *version, *redis_version;
    char os_name[256], executable[512], format[64], policy[32];
};

enum metrics_kind {
    KIND_UINT,
    KIND_INT,     /* int64_t; not for Prometheus */
    KIND_DOUBLE,  /* INFO: 6 decimals */
    KIND_RATIO,   /* INFO: 2 decimals */
    KIND_PERCENT, /* INFO: 2 decimals and '%' */
    KIND_BYTES,   /* uint64 as people read it, "1.50M"; not for Prometheus */
    KIND_TEXT,    /* const char * */
    KIND_ARRAY,   /* char[] in the sample */
    KIND_FIXED,   /* no figure: the row's `fixed` */
};

struct metrics_row {
    enum metrics_section section;
    const char *field; /* in INFO and /stats; NULL: Prometheus only */
    enum metrics_kind kind;
    size_t offset;          /* in the sample */
    const char *fixed;      /* of KIND_FIXED */
    const char *prometheus; /* NULL: not there. A name in _total is a counter, else a gauge */
    const char *help;       /* what it means; NULL where the field is only for clients' sake */
};

extern const struct metrics_row metrics_rows[];
extern const size_t metrics_rows_count;

void metrics_sample_take(struct server *server, struct metrics_sample *ret_sample);

#endif
