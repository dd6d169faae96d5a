/* The table of metrics. One row is one figure; INFO, /metrics and /stats are made from it.
 *
 * How: metrics_sample_take() gathers every figure once, a row names its field of the sample. Rows
 * of one section stand together. What a cache or a replica would have and tarn has not is a fixed
 * row: clients and viewers look for these fields by name.
 * Failure modes: none; what cannot be found out is 0 or "". */
#include "server/metrics_table.h"

#include <stdio.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "pack/format.h"

const struct metrics_section_name metrics_sections[SECTIONS_COUNT] = {
    [SECTION_SERVER] = {"Server", "", true},
    [SECTION_CLIENTS] = {"Clients", "", true},
    [SECTION_MEMORY] = {"Memory", "", true},
    [SECTION_PERSISTENCE] = {"Persistence", "", true},
    [SECTION_STATS] = {"Stats", "", true},
    [SECTION_REPLICATION] = {"Replication", "", true},
    [SECTION_CPU] = {"CPU", "", true},
    [SECTION_MODULES] = {"Modules", "module_list", true},
    [SECTION_COMMANDSTATS] = {"Commandstats", "", false},
    [SECTION_ERRORSTATS] = {"Errorstats", "", true},
    [SECTION_LATENCYSTATS] = {"Latencystats", "", false},
    [SECTION_CLUSTER] = {"Cluster", "", true},
    [SECTION_TARN] = {"Tarn", "", true},
    [SECTION_DISK] = {"Disk", "", true},
    [SECTION_KEYSPACE] = {"Keyspace", "", true},
};

#define AT(member) offsetof(struct metrics_sample, member)
#define FIXED(name, text)                                                                          \
    {                                                                                              \
        S, name, KIND_FIXED, 0, text, NULL, NULL                                                   \
    }
/* For INFO and /stats only. */
#define SHOWN(name, kind, member)                                                                  \
    {                                                                                              \
        S, name, kind, AT(member), NULL, NULL, NULL                                                \
    }
#define COUNT(name, member, prometheus, help)                                                      \
    {                                                                                              \
        S, name, KIND_UINT, AT(member), NULL, prometheus, help                                     \
    }
#define FIGURE(name, kind, member, prometheus, help)                                               \
    {                                                                                              \
        S, name, kind, AT(member), NULL, prometheus, help                                          \
    }

const struct metrics_row metrics_rows[] = {
#define S SECTION_SERVER
    SHOWN("redis_version", KIND_TEXT, redis_version),
    SHOWN("tarn_version", KIND_TEXT, version),
    FIXED("redis_mode", "standalone"),
    SHOWN("os", KIND_ARRAY, os_name),
    FIXED("arch_bits", "64"),
    FIXED("multiplexing_api", "epoll"),
    SHOWN("process_id", KIND_UINT, process_id),
    SHOWN("run_id", KIND_TEXT, run_id),
    SHOWN("tcp_port", KIND_UINT, port),
    SHOWN("tarn_http_port", KIND_UINT, http_port),
    SHOWN("server_time_usec", KIND_UINT, server_time_us),
    COUNT("uptime_in_seconds", uptime_seconds, "tarn_uptime_seconds", "Seconds since the start"),
    SHOWN("uptime_in_days", KIND_UINT, uptime_days),
    FIXED("hz", "10"),
    COUNT("io_threads_active", threads, "tarn_threads", "Worker threads of the RESP port"),
    SHOWN("executable", KIND_ARRAY, executable),
    SHOWN("config_file", KIND_TEXT, config_file),
#undef S
#define S SECTION_CLIENTS
    COUNT("connected_clients", counters.connections_now, "tarn_connected_clients",
          "Open RESP connections"),
    COUNT("tarn_http_connections", counters.http_connections_now, "tarn_http_connections",
          "Open HTTP connections"),
    FIXED("cluster_connections", "0"),
    COUNT("maxclients", max_clients, "tarn_connections_max",
          "Connections allowed, RESP and HTTP together"),
    COUNT("blocked_clients", counters.clients_blocked, "tarn_blocked_clients",
          "RESP clients that wait: in WAIT, or held by CLIENT PAUSE"),
    FIXED("tracking_clients", "0"),
    FIXED("clients_in_timeout_table", "0"),
    COUNT("tarn_client_buffers_bytes", counters.buffers_bytes, "tarn_client_buffers_bytes",
          "Bytes of connections with their request and reply buffers"),
#undef S
#define S SECTION_MEMORY
    COUNT("used_memory", memory_used, "tarn_memory_used_bytes",
          "Bytes that count against the cap: of the store, of connections, and beside a writable "
          "store of the process itself"),
    SHOWN("used_memory_human", KIND_BYTES, memory_used),
    COUNT("used_memory_rss", memory_resident, "tarn_memory_resident_bytes",
          "Bytes of the process in memory"),
    SHOWN("used_memory_rss_human", KIND_BYTES, memory_resident),
    COUNT("used_memory_peak", memory_peak, "tarn_memory_resident_peak_bytes",
          "Most bytes of the process that were ever in memory"),
    SHOWN("used_memory_peak_human", KIND_BYTES, memory_peak),
    SHOWN("used_memory_peak_perc", KIND_PERCENT, memory_peak_percent),
    SHOWN("used_memory_overhead", KIND_UINT, memory_overhead),
    COUNT("used_memory_startup", memory_base, "tarn_memory_base_bytes",
          "Bytes of the process itself, measured at the start, beside a writable store"),
    SHOWN("used_memory_dataset", KIND_UINT, memory_data),
    SHOWN("used_memory_dataset_perc", KIND_PERCENT, memory_data_percent),
    SHOWN("total_system_memory", KIND_UINT, memory_total),
    SHOWN("total_system_memory_human", KIND_BYTES, memory_total),
    COUNT("maxmemory", memory_max, "tarn_memory_max_bytes",
          "Cap on all memory together; 0 is none"),
    SHOWN("maxmemory_human", KIND_BYTES, memory_max),
    SHOWN("maxmemory_policy", KIND_ARRAY, policy),
    SHOWN("mem_fragmentation_ratio", KIND_RATIO, memory_ratio),
    SHOWN("mem_fragmentation_bytes", KIND_INT, memory_rest),
    FIXED("mem_not_counted_for_evict", "0"),
    FIXED("mem_replication_backlog", "0"),
    FIXED("mem_total_replication_buffers", "0"),
    FIXED("mem_clients_slaves", "0"),
    SHOWN("mem_clients_normal", KIND_UINT, counters.buffers_bytes),
    FIXED("mem_cluster_links", "0"),
    FIXED("mem_aof_buffer", "0"),
    FIXED("mem_allocator", "libc"),
    FIXED("active_defrag_running", "0"),
    FIXED("lazyfree_pending_objects", "0"),
    FIXED("lazyfreed_objects", "0"),
#undef S
#define S SECTION_PERSISTENCE
    FIXED("loading", "0"),
    COUNT("async_loading", loading, "tarn_loading",
          "1 while a checkpoint is being read that is served already"),
    COUNT(
        "tarn_base_records_left", store.base_records_left, "tarn_base_records_left",
        "Records of the checkpoint or data file under a writable store that are not in its table"),
    COUNT("tarn_loading_failed", loading_failed, "tarn_loading_failed",
          "1 if that reading does not go on: what could not be read, or does not fit in memory"),
    SHOWN("tarn_loading_failure", KIND_ARRAY, log.loading_failure),
    COUNT("rdb_changes_since_last_save", changes_unsaved, "tarn_changes_since_checkpoint",
          "Changes made since the last checkpoint"),
    COUNT("rdb_bgsave_in_progress", checkpoint_running, "tarn_checkpoint_running",
          "1 while a checkpoint is being made"),
    COUNT("rdb_last_save_time", last_save_unix_seconds, "tarn_checkpoint_last_time_seconds",
          "When the last checkpoint was made, or the server started: seconds since 1970"),
    SHOWN("rdb_last_bgsave_status", KIND_TEXT, checkpoint_status),
    SHOWN("rdb_last_bgsave_time_sec", KIND_INT, checkpoint_whole_seconds),
    FIXED("rdb_current_bgsave_time_sec", "-1"),
    COUNT("rdb_saves", log.checkpoints, "tarn_checkpoints_total", "Checkpoints made"),
    COUNT("tarn_checkpoints_failed", log.checkpoints_failed, "tarn_checkpoints_failed_total",
          "Checkpoints that could not be made; the log was kept instead"),
    SHOWN("tarn_checkpoint_failure", KIND_ARRAY, log.checkpoint_failure),
    FIGURE("tarn_checkpoint_seconds", KIND_DOUBLE, checkpoint_seconds,
           "tarn_checkpoint_last_duration_seconds", "Time the last checkpoint took"),
    COUNT("tarn_checkpoint_records", log.checkpoint_records, "tarn_checkpoint_last_records",
          "Records in the last checkpoint"),
    COUNT("tarn_checkpoint_bytes", log.checkpoint_bytes, "tarn_checkpoint_last_bytes",
          "Bytes of the last checkpoint"),
    FIXED("rdb_last_cow_size", "0"),
    FIXED("rdb_last_load_keys_expired", "0"),
    SHOWN("rdb_last_load_keys_loaded", KIND_UINT, log.recovered_records),
    COUNT("aof_enabled", is_logged, "tarn_log_enabled", "1 if changes go to a log"),
    SHOWN("aof_rewrite_in_progress", KIND_UINT, checkpoint_running),
    FIXED("aof_rewrite_scheduled", "0"),
    SHOWN("aof_last_rewrite_time_sec", KIND_INT, checkpoint_whole_seconds),
    FIXED("aof_current_rewrite_time_sec", "-1"),
    SHOWN("aof_last_bgrewrite_status", KIND_TEXT, checkpoint_status),
    SHOWN("aof_last_write_status", KIND_TEXT, log_status),
    FIXED("aof_last_cow_size", "0"),
    COUNT("aof_current_size", log.log_bytes, "tarn_log_size_bytes",
          "Bytes of the log since the last checkpoint"),
    SHOWN("aof_base_size", KIND_UINT, log.checkpoint_bytes),
    COUNT("aof_buffer_length", log.pending_bytes, "tarn_log_pending_bytes",
          "Bytes of the log in memory, to be written"),
    SHOWN("tarn_directory", KIND_TEXT, directory),
    SHOWN("tarn_durability", KIND_TEXT, durability),
    SHOWN("tarn_log_state", KIND_TEXT, log_state),
    SHOWN("tarn_log_failure", KIND_ARRAY, log.failure),
    COUNT("tarn_log_failed", log_failed, "tarn_log_failed",
          "1 after the log has failed: the store can be read only, until it is opened again"),
    COUNT("tarn_log_no_space", log_no_space, "tarn_log_no_space",
          "1 while there is no room for the log: writes are refused"),
    COUNT("tarn_log_sequence", log.sequence, "tarn_log_sequence", "Number of the last change"),
    COUNT("tarn_log_written", log.written, "tarn_log_written_sequence",
          "Number of the last change that is kept when the process is killed"),
    COUNT("tarn_log_durable", log.durable, "tarn_log_durable_sequence",
          "Number of the last change that is kept when power is lost"),
    COUNT("tarn_log_records", log.records, "tarn_log_records_total", "Records written to the log"),
    COUNT("tarn_log_bytes", log.bytes, "tarn_log_bytes_total", "Bytes written to the log"),
    COUNT("tarn_log_syncs", log.syncs, "tarn_log_syncs_total", "Syncs of the log's files"),
    FIGURE("tarn_log_sync_seconds", KIND_DOUBLE, sync_seconds, "tarn_log_sync_seconds_total",
           "Time spent in syncs of the log's files"),
    FIGURE("tarn_log_sync_seconds_max", KIND_DOUBLE, sync_seconds_max, "tarn_log_sync_seconds_max",
           "The longest of them"),
    COUNT("tarn_log_segments", log.segments, "tarn_log_segments_total", "Files of the log begun"),
    COUNT("tarn_clients_held", counters.clients_gated, "tarn_clients_held",
          "RESP clients whose replies are held until the log has gone on"),
    COUNT("tarn_recovered_records", log.recovered_records, "tarn_recovery_checkpoint_records",
          "Records read from the checkpoint at the start"),
    COUNT("tarn_replayed_records", log.replayed_records, "tarn_recovery_replayed_records",
          "Changes replayed from the log at the start"),
    COUNT("tarn_replayed_bytes", log.replayed_bytes, "tarn_recovery_replayed_bytes",
          "Bytes of the log replayed at the start"),
    COUNT("tarn_truncated_bytes", log.truncated_bytes, "tarn_recovery_truncated_bytes",
          "Bytes of a torn end that were cut off the log at the start"),
    FIGURE("tarn_recovery_seconds", KIND_DOUBLE, recovery_seconds, "tarn_recovery_seconds",
           "Time that took"),
    COUNT("tarn_closed_cleanly", closed_cleanly, "tarn_recovery_closed_cleanly",
          "1 if the directory was closed cleanly the time before"),
#undef S
#define S SECTION_STATS
    COUNT("total_connections_received", counters.connections_total, "tarn_connections_total",
          "Connections accepted on the RESP port"),
    COUNT("total_commands_processed", counters.commands_total, "tarn_commands_total",
          "Commands executed"),
    COUNT("tarn_http_requests", counters.http_requests_total, "tarn_http_requests_total",
          "HTTP requests"),
    COUNT("instantaneous_ops_per_sec", ops_per_second, "tarn_commands_per_second",
          "Commands of about the last second"),
    COUNT("total_net_input_bytes", counters.net_input_bytes, "tarn_net_input_bytes_total",
          "Bytes received on the RESP port"),
    COUNT("total_net_output_bytes", counters.net_output_bytes, "tarn_net_output_bytes_total",
          "Bytes sent on the RESP port"),
    COUNT("rejected_connections", counters.connections_rejected, "tarn_connections_rejected_total",
          "Connections refused for the limit on them"),
    FIXED("sync_full", "0"),
    FIXED("sync_partial_ok", "0"),
    FIXED("sync_partial_err", "0"),
    COUNT("expired_keys", counters.keys_expired, "tarn_keys_expired_total",
          "Keys freed because their time had come"),
    FIXED("expired_stale_perc", "0.00"),
    FIXED("expired_time_cap_reached_count", "0"),
    FIGURE("tarn_expired_lag_ms", KIND_UINT, store.expired_lag_ms, "tarn_expired_lag_milliseconds",
           "Age of the oldest expired key whose memory is not yet freed"),
    COUNT("evicted_keys", counters.keys_evicted, "tarn_keys_evicted_total",
          "Keys evicted because memory was full"),
    COUNT("evicted_clients", counters.client_output_limit_cuts, "tarn_clients_cut_total",
          "Clients cut for the limit on unsent replies"),
    COUNT("tarn_clients_idle_closed", counters.clients_idle_closed,
          "tarn_clients_idle_closed_total", "Clients closed for being idle"),
    COUNT("keyspace_hits", counters.keyspace_hits, "tarn_keyspace_hits_total",
          "Keys looked up and found"),
    COUNT("keyspace_misses", counters.keyspace_misses, "tarn_keyspace_misses_total",
          "Keys looked up and not found, or not readable"),
    FIXED("pubsub_channels", "0"),
    FIXED("pubsub_patterns", "0"),
    FIXED("latest_fork_usec", "0"),
    FIXED("total_forks", "0"),
    COUNT("total_error_replies", counters.errors_total, "tarn_error_replies_total",
          "Error replies"),
#undef S
#define S SECTION_REPLICATION
    FIXED("role", "master"),
    FIXED("connected_slaves", "0"),
    FIXED("master_failover_state", "no-failover"),
    SHOWN("master_replid", KIND_TEXT, run_id),
    FIXED("master_replid2", "0000000000000000000000000000000000000000"),
    FIXED("master_repl_offset", "0"),
    FIXED("second_repl_offset", "-1"),
    FIXED("repl_backlog_active", "0"),
    FIXED("repl_backlog_size", "0"),
    FIXED("repl_backlog_first_byte_offset", "0"),
    FIXED("repl_backlog_histlen", "0"),
#undef S
#define S SECTION_CPU
    FIGURE("used_cpu_sys", KIND_DOUBLE, cpu_system_seconds, "tarn_cpu_system_seconds_total",
           "Processor time in the kernel"),
    FIGURE("used_cpu_user", KIND_DOUBLE, cpu_user_seconds, "tarn_cpu_user_seconds_total",
           "Processor time outside the kernel"),
    FIXED("used_cpu_sys_children", "0.000000"),
    FIXED("used_cpu_user_children", "0.000000"),
#undef S
#define S SECTION_CLUSTER
    FIXED("cluster_enabled", "0"),
#undef S
#define S SECTION_TARN
    COUNT("tarn_writable", writable, "tarn_writable", "1 for a writable store, 0 for a data file"),
    SHOWN("tarn_data_file", KIND_TEXT, data_path),
    SHOWN("tarn_data_format", KIND_ARRAY, format),
    COUNT("tarn_data_bytes", store.data_bytes, "tarn_data_bytes",
          "Bytes of the data file, or of the items in memory"),
    COUNT("tarn_index_bytes", store.index_bytes, "tarn_index_bytes",
          "Bytes of the index, or of the table of a writable store"),
    COUNT("tarn_free_bytes", store.free_bytes, "tarn_free_bytes", "Bytes held for items to come"),
    COUNT("tarn_limbo_bytes", store.limbo_bytes, "tarn_limbo_bytes",
          "Bytes of items replaced or deleted that somebody may still look at"),
    COUNT("tarn_charged_bytes", store.charged_bytes, "tarn_charged_bytes",
          "Bytes of connections, of the process itself and of a data file under the store that "
          "count against a writable store's cap"),
    COUNT("tarn_keys", store.keys, "tarn_keys",
          "Distinct keys; while a checkpoint is being read, as many at most"),
    COUNT("tarn_keys_expiring", store.expiring, "tarn_keys_expiring", "Keys that have an expiry"),
    COUNT("tarn_records", store.records, "tarn_records",
          "Records in the data file, repeated keys counted"),
    COUNT("tarn_key_bytes", store.key_bytes_total, "tarn_key_bytes", "Bytes of all keys"),
    COUNT("tarn_value_bytes", store.value_bytes_total, "tarn_value_bytes", "Bytes of all values"),
    COUNT("tarn_generation", store.generation, "tarn_generation",
          "Version of the data served: 1 at the start, 1 more with each reload"),
    FIGURE("tarn_load_seconds", KIND_DOUBLE, load_seconds, "tarn_load_seconds",
           "Time the last load took"),
    COUNT("tarn_index_built", index_built, "tarn_index_built",
          "1 if the last load had to build the index"),
    COUNT("tarn_data_on_disk", on_disk, "tarn_data_on_disk",
          "1 if the data file stays on disk and its records are read as they are asked for"),
#undef S
#define S SECTION_DISK
    COUNT("tarn_cache_bytes", disk.cache_bytes, "tarn_cache_bytes",
          "Bytes of records, and of keys known to be absent, that are in memory"),
    COUNT("tarn_cache_bytes_max", disk.cache_bytes_max, "tarn_cache_max_bytes",
          "... that may be, with all buffers"),
    COUNT("tarn_cache_records", disk.cache_records, "tarn_cache_records", "How many these are"),
    COUNT("tarn_cache_hits", disk.hits, "tarn_cache_hits_total", "Keys answered from memory"),
    COUNT("tarn_cache_absent_hits", disk.absent_hits, "tarn_cache_absent_hits_total",
          "... of these, keys known to be absent"),
    COUNT("tarn_disk_refused", disk.refused, "tarn_disk_refused_total",
          "Absent keys that the index alone told"),
    COUNT("tarn_disk_misses", disk.misses, "tarn_disk_misses_total", "Keys that were read for"),
    COUNT("tarn_disk_joined", disk.joined, "tarn_disk_joined_total",
          "... of these, keys whose read was under way already"),
    FIGURE("tarn_cache_hit_ratio", KIND_DOUBLE, disk_hit_ratio, "tarn_cache_hit_ratio",
           "Hits of all keys that the index alone did not refuse"),
    COUNT("tarn_disk_reads", disk.reads, "tarn_disk_reads_total", "Reads of the data file"),
    COUNT("tarn_disk_read_bytes", disk.read_bytes, "tarn_disk_read_bytes_total", "Bytes of them"),
    FIGURE("tarn_disk_reads_per_miss", KIND_DOUBLE, disk_reads_per_miss, "tarn_disk_reads_per_miss",
           "Reads for each key that was read for and not joined"),
    COUNT("tarn_disk_in_flight", disk_in_flight, "tarn_disk_in_flight",
          "Reads under way at the device"),
    COUNT("tarn_disk_read_depth", disk_depth, "tarn_disk_read_depth",
          "Most reads that a thread has under way"),
    SHOWN("tarn_disk_read_seconds_mean", KIND_DOUBLE, disk_mean_seconds),
    SHOWN("tarn_disk_read_seconds_p50", KIND_DOUBLE, disk_p50_seconds),
    SHOWN("tarn_disk_read_seconds_p99", KIND_DOUBLE, disk_p99_seconds),
    SHOWN("tarn_disk_read_seconds_p999", KIND_DOUBLE, disk_p999_seconds),
    SHOWN("tarn_disk_read_seconds_max", KIND_DOUBLE, disk_max_seconds),
    COUNT("tarn_disk_corrupt", disk.corrupt, "tarn_disk_corrupt_total",
          "Reads that brought something else than what was indexed"),
    COUNT("tarn_disk_io_errors", disk.io_errors, "tarn_disk_io_errors_total",
          "Reads that the system could not do"),
    COUNT("tarn_disk_changed", disk_changed, "tarn_disk_changed",
          "1 if the data file is not any more what was opened"),
    SHOWN("tarn_disk_failure", KIND_ARRAY, disk.failure),
#undef S
};
const size_t metrics_rows_count = sizeof metrics_rows / sizeof metrics_rows[0];

static void take_policy(const struct config *config, struct metrics_sample *s)
{
    const struct option *row = options_find(&config_options, bytes_of("max-memory-policy"));
    snprintf(s->policy, sizeof s->policy, "%s", row->words[config->eviction]);
}

static void take_config(struct server *server, struct metrics_sample *s)
{
    const struct config *config = server_config(server);

    server_config_lock(server);
    s->max_clients = config->max_connections;
    s->memory_max = config->memory_bytes;
    take_policy(config, s);
    s->config_file = config->config_file != NULL ? config->config_file : ""; /* never changes */
    s->directory = config->directory;                                        /* likewise */
    server_config_unlock(server);
}

/* What the log says, and Redis's words for it. */
static void take_log(struct server *server, struct metrics_sample *s)
{
    const struct option *row = options_find(&config_options, bytes_of("durability"));
    struct tarn_log_stats *log = &s->log;
    tarn_log_stats_get(server_store(server), log);
    s->is_logged = server_is_logged(server);
    s->checkpoint_running = log->checkpoint_running;
    s->closed_cleanly = log->closed_cleanly;
    s->changes_unsaved = log->sequence - log->checkpoint_sequence;
    s->last_save_unix_seconds = (uint64_t)server_last_save_seconds(server);
    s->checkpoint_status = log->checkpoint_status == TARN_OK ? "ok" : "err";
    s->checkpoint_whole_seconds =
        log->checkpoint_time_ms > 0 ? (int64_t)(log->checkpoint_us / 1000000) : -1;
    s->checkpoint_seconds = (double)log->checkpoint_us / 1e6;
    s->log_status = log->state == TARN_OK ? "ok" : "err";
    s->log_failed = log->state == TARN_IO;
    s->log_no_space = log->state == TARN_NOSPACE;
    s->loading = log->loading;
    s->loading_failed = log->loading && log->loading_status != TARN_OK;
    s->log_state = s->log_failed ? "failed" : s->log_no_space ? "no-space" : "ok";
    s->durability = row->words[log->durable_store ? log->dial.durability : TARN_DURABILITY_NONE];
    s->sync_seconds = (double)log->sync_us_total / 1e6;
    s->sync_seconds_max = (double)log->sync_us_max / 1e6;
    s->recovery_seconds = (double)log->recovery_us / 1e6;
}

static double seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

/* Reads of a data file on disk. */
static void take_disk(struct server *server, struct metrics_sample *s)
{
    const struct tarn_disk_stats *disk = &s->disk;
    tarn_disk_stats_get(server_store(server), &s->disk);
    uint64_t asked = disk->hits + disk->misses, read = disk->misses - disk->joined;
    s->on_disk = disk->on_disk;
    s->disk_in_flight = disk->in_flight;
    s->disk_depth = disk->depth;
    s->disk_changed = disk->changed;
    s->disk_hit_ratio = asked > 0 ? (double)disk->hits / (double)asked : 0;
    s->disk_reads_per_miss = read > 0 ? (double)disk->reads / (double)read : 0;
    s->disk_mean_seconds = seconds(disk->read_ns_mean);
    s->disk_p50_seconds = seconds(disk->read_ns_p50);
    s->disk_p99_seconds = seconds(disk->read_ns_p99);
    s->disk_p999_seconds = seconds(disk->read_ns_p999);
    s->disk_max_seconds = seconds(disk->read_ns_max);
}

static void take_process(struct metrics_sample *s)
{
    struct utsname name;
    struct rusage usage;
    uint64_t user_us, system_us;

    s->process_id = (uint64_t)getpid();
    if (uname(&name) == 0)
        snprintf(s->os_name, sizeof s->os_name, "%s %s %s", name.sysname, name.release,
                 name.machine);
    ssize_t size = readlink("/proc/self/exe", s->executable, sizeof s->executable - 1);
    s->executable[size > 0 ? size : 0] = 0;
    os_cpu_time_us(&user_us, &system_us);
    s->cpu_user_seconds = (double)user_us / 1e6;
    s->cpu_system_seconds = (double)system_us / 1e6;
    s->memory_resident = os_memory_resident();
    s->memory_total = os_memory_total();
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        s->memory_peak = (uint64_t)usage.ru_maxrss * 1024;
    if (s->memory_peak < s->memory_resident)
        s->memory_peak = s->memory_resident; /* the kernel's two counts differ by some pages */
}

void metrics_sample_take(struct server *server, struct metrics_sample *ret_sample)
{
    struct metrics_sample *s = ret_sample;
    const struct os *os = server_os(server);

    *s = (struct metrics_sample){.version = TARN_VERSION};
    s->redis_version = SERVER_REDIS_VERSION;
    server_counters_get(server, &s->counters);
    tarn_stats_get(server_store(server), &s->store);
    take_config(server, s);
    take_log(server, s);
    take_disk(server, s);
    take_process(s);
    s->port = server_port(server);
    s->http_port = server_http_port(server);
    s->threads = server_thread_count(server);
    s->run_id = server_run_id(server);
    s->writable = server_is_writable(server);
    s->data_path = server_data_path(server) != NULL ? server_data_path(server) : "";
    s->uptime_seconds = server_uptime_seconds(server);
    s->uptime_days = s->uptime_seconds / 86400;
    s->server_time_us = (uint64_t)os->realtime_us(os);
    s->start_unix_seconds = s->server_time_us / 1000000 - s->uptime_seconds;
    s->ops_per_second = server_ops_per_second(server);
    s->memory_used = tarn_memory_used(server_store(server));
    s->memory_base = server_base_bytes(server);
    s->memory_data = s->writable ? s->store.item_bytes : s->store.memory_bytes;
    s->memory_overhead = s->memory_used > s->memory_data ? s->memory_used - s->memory_data : 0;
    s->memory_rest = (int64_t)(s->memory_resident - s->memory_used);
    if (s->memory_used > s->memory_base)
        s->memory_data_percent =
            100.0 * (double)s->memory_data / (double)(s->memory_used - s->memory_base);
    if (s->memory_used > 0)
        s->memory_ratio = (double)s->memory_resident / (double)s->memory_used;
    if (s->memory_peak > 0)
        s->memory_peak_percent = 100.0 * (double)s->memory_used / (double)s->memory_peak;
    s->load_seconds = (double)s->store.load_us / 1e6;
    s->index_built = s->store.index_built;
    if (!s->writable)
        snprintf(s->format, sizeof s->format, "%s",
                 format_describe(&s->store.format, (char[64]){0}));
}
