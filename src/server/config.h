/* The server's settings: one table for flags, configuration file, CONFIG GET/SET, --help and the
 * manual page (see core/options.h). */
#ifndef SERVER_CONFIG_H
#define SERVER_CONFIG_H

#include "core/options.h"

struct config {
    char *bind;                 /* "127.0.0.1"; numeric addresses, comma-separated */
    uint64_t port;              /* RESP; 0 = any free one */
    uint64_t http_port;         /* 0 = off */
    uint64_t threads;           /* workers; 0 = one per core */
    uint64_t memory_bytes;      /* cap on data, index and buffers; 0 = no cap */
    int eviction;               /* enum tarn_eviction */
    char *password;             /* "" = none */
    char *password_file;        /* read at start by config_finish(); first line */
    int log_level;              /* enum log_level */
    uint64_t max_connections;   /* RESP + HTTP */
    uint64_t idle_seconds_max;  /* close a client idle this long; 0 = never */
    uint64_t output_bytes_max;  /* per client, unsent reply bytes; over it the client is cut */
    uint64_t request_bytes_max; /* per request */
    uint64_t slowlog_us;        /* log commands slower than this */
    uint64_t slowlog_entries_max;
    int debug_command; /* enum config_debug: who may use DEBUG */
    char *config_file;
    /* a writable store that is kept */
    char *directory;               /* "": in memory only */
    int durability;                /* enum tarn_durability; NONE without a directory */
    uint64_t queue_depth;          /* async: changes acknowledged but not written */
    uint64_t write_period_us;      /* periodic */
    uint64_t log_files;            /* 1..64 */
    int log_format;                /* enum tarn_log_format */
    uint64_t checkpoint_log_bytes; /* begin a checkpoint when the log is longer */
    uint64_t checkpoint_period_ns; /* ... and when the last one is older; 0: never */
    bool checkpoint_at_exit;
    uint64_t load_bytes; /* a larger checkpoint is read while it is served; 0: any is */
    int backup_command;  /* enum config_debug: who may use TARN.BACKUP */
    /* how to serve and read the data file */
    int data;                            /* enum tarn_data: where its records are */
    uint64_t read_depth;                 /* on disk: reads of a thread under way */
    int format, size_type, on_duplicate; /* as enum tarn_* */
    bool big_endian;
    char *separator;
    char *index_path;
};

enum config_debug { CONFIG_DEBUG_NO, CONFIG_DEBUG_LOCAL, CONFIG_DEBUG_YES }; /* who may */

extern const struct options config_options;

/* After all sources are read: check what one row cannot see (a passwordless bind beyond loopback
 * is refused, password and password-file exclude each other), read the password file, fill
 * defaults that depend on the machine. Errors: INVALID, MISSING, DENIED, IO. */
TARN_MUST int config_finish(struct config *config, struct tarn_error *error);

/* Parts of config_finish(), for those who need only one: the format options agree with each other;
 * the addresses to bind are numeric, and there is a password if one lets other machines in.
 * Errors: INVALID. */
TARN_MUST int config_check_format(const struct config *config, struct tarn_error *error);
TARN_MUST int config_check_password(const struct config *config, struct tarn_error *error);

/* The settings of how a store is kept agree with each other. Errors: INVALID. */
TARN_MUST int config_check_directory(struct config *config, struct tarn_error *error);

struct tarn_dial config_dial(const struct config *config);

/* The store's part as store options; views into config. path: the data file; NULL: none. */
struct tarn_options config_store_options(const struct config *config, const char *path);

/* How much of the memory cap a writable store may fill: the rest is kept for buffers, so that a
 * full store can still be asked. 0 if there is no cap. */
uint64_t config_store_memory(const struct config *config);

#endif
