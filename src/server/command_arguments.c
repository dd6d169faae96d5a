/* The arguments of the served commands, for COMMAND DOCS, redis-cli's hints and the HELP of
 * containers. Each list ends with a row without a name. */
#include "server/command_rows.h"

#define END                                                                                        \
    {                                                                                              \
        .name = NULL                                                                               \
    }
#define TOKEN(name_, token_)                                                                       \
    {                                                                                              \
        .name = (name_), .type = ARGUMENT_PURE_TOKEN, .token = (token_)                            \
    }

const struct command_argument arguments_key[] = {
    {"key", ARGUMENT_KEY},
    END,
};

const struct command_argument arguments_keys[] = {
    {"key", ARGUMENT_KEY, .multiple = true},
    END,
};

/* --- values --- */

const struct command_argument arguments_key_value[] = {
    {"key", ARGUMENT_KEY},
    {"value", ARGUMENT_STRING},
    END,
};

static const struct command_argument nx_xx[] = {
    TOKEN("nx", "NX"),
    TOKEN("xx", "XX"),
    END,
};

#define EXPIRATION_TIMES                                                                           \
    {"seconds", ARGUMENT_INTEGER, .token = "EX"},                                                  \
        {"milliseconds", ARGUMENT_INTEGER, .token = "PX"},                                         \
        {"unix-time-seconds", ARGUMENT_UNIX_TIME, .token = "EXAT"},                                \
    {                                                                                              \
        "unix-time-milliseconds", ARGUMENT_UNIX_TIME, .token = "PXAT"                              \
    }

static const struct command_argument set_expiration[] = {
    EXPIRATION_TIMES,
    TOKEN("keepttl", "KEEPTTL"),
    END,
};

const struct command_argument arguments_set[] = {
    {"key", ARGUMENT_KEY},
    {"value", ARGUMENT_STRING},
    {"condition", ARGUMENT_ONEOF, .optional = true, .parts = nx_xx},
    {"get", ARGUMENT_PURE_TOKEN, .token = "GET", .optional = true},
    {"expiration", ARGUMENT_ONEOF, .optional = true, .parts = set_expiration},
    END,
};

static const struct command_argument getex_expiration[] = {
    EXPIRATION_TIMES,
    TOKEN("persist", "PERSIST"),
    END,
};

const struct command_argument arguments_getex[] = {
    {"key", ARGUMENT_KEY},
    {"expiration", ARGUMENT_ONEOF, .optional = true, .parts = getex_expiration},
    END,
};

const struct command_argument arguments_setex[] = {
    {"key", ARGUMENT_KEY},
    {"seconds", ARGUMENT_INTEGER},
    {"value", ARGUMENT_STRING},
    END,
};

const struct command_argument arguments_psetex[] = {
    {"key", ARGUMENT_KEY},
    {"milliseconds", ARGUMENT_INTEGER},
    {"value", ARGUMENT_STRING},
    END,
};

const struct command_argument arguments_mset[] = {
    {"key_value", ARGUMENT_BLOCK, .multiple = true, .parts = arguments_key_value},
    END,
};

const struct command_argument arguments_incrby[] = {
    {"key", ARGUMENT_KEY},
    {"increment", ARGUMENT_INTEGER},
    END,
};

const struct command_argument arguments_decrby[] = {
    {"key", ARGUMENT_KEY},
    {"decrement", ARGUMENT_INTEGER},
    END,
};

const struct command_argument arguments_incrbyfloat[] = {
    {"key", ARGUMENT_KEY},
    {"increment", ARGUMENT_DOUBLE},
    END,
};

const struct command_argument arguments_setrange[] = {
    {"key", ARGUMENT_KEY},
    {"offset", ARGUMENT_INTEGER},
    {"value", ARGUMENT_STRING},
    END,
};

const struct command_argument arguments_lcs[] = {
    {"key1", ARGUMENT_KEY},
    {"key2", ARGUMENT_KEY},
    {"len", ARGUMENT_PURE_TOKEN, .token = "LEN", .optional = true},
    {"idx", ARGUMENT_PURE_TOKEN, .token = "IDX", .optional = true},
    {"len", ARGUMENT_INTEGER, .token = "MINMATCHLEN", .optional = true},
    {"withmatchlen", ARGUMENT_PURE_TOKEN, .token = "WITHMATCHLEN", .optional = true},
    END,
};

const struct command_argument arguments_range[] = {
    {"key", ARGUMENT_KEY},
    {"start", ARGUMENT_INTEGER},
    {"end", ARGUMENT_INTEGER},
    END,
};

/* --- bits --- */

const struct command_argument arguments_setbit[] = {
    {"key", ARGUMENT_KEY},
    {"offset", ARGUMENT_INTEGER},
    {"value", ARGUMENT_INTEGER},
    END,
};

const struct command_argument arguments_getbit[] = {
    {"key", ARGUMENT_KEY},
    {"offset", ARGUMENT_INTEGER},
    END,
};

static const struct command_argument byte_bit[] = {
    TOKEN("byte", "BYTE"),
    TOKEN("bit", "BIT"),
    END,
};

static const struct command_argument bitcount_index[] = {
    {"start", ARGUMENT_INTEGER},
    {"end", ARGUMENT_INTEGER},
    {"index_unit", ARGUMENT_ONEOF, .optional = true, .parts = byte_bit},
    END,
};

const struct command_argument arguments_bitcount[] = {
    {"key", ARGUMENT_KEY},
    {"index", ARGUMENT_BLOCK, .optional = true, .parts = bitcount_index},
    END,
};

static const struct command_argument bitpos_end[] = {
    {"end", ARGUMENT_INTEGER},
    {"index_unit", ARGUMENT_ONEOF, .optional = true, .parts = byte_bit},
    END,
};

static const struct command_argument bitpos_index[] = {
    {"start", ARGUMENT_INTEGER},
    {"end_index", ARGUMENT_BLOCK, .optional = true, .parts = bitpos_end},
    END,
};

const struct command_argument arguments_bitpos[] = {
    {"key", ARGUMENT_KEY},
    {"bit", ARGUMENT_INTEGER},
    {"index", ARGUMENT_BLOCK, .optional = true, .parts = bitpos_index},
    END,
};

const struct command_argument arguments_bitop[] = {
    {"operation", ARGUMENT_STRING},
    {"destkey", ARGUMENT_KEY},
    {"key", ARGUMENT_KEY, .multiple = true},
    END,
};

static const struct command_argument bitfield_get[] = {
    {"encoding", ARGUMENT_STRING},
    {"offset", ARGUMENT_INTEGER},
    END,
};

static const struct command_argument bitfield_set[] = {
    {"encoding", ARGUMENT_STRING},
    {"offset", ARGUMENT_INTEGER},
    {"value", ARGUMENT_INTEGER},
    END,
};

static const struct command_argument bitfield_incrby[] = {
    {"encoding", ARGUMENT_STRING},
    {"offset", ARGUMENT_INTEGER},
    {"increment", ARGUMENT_INTEGER},
    END,
};

static const struct command_argument bitfield_overflow[] = {
    TOKEN("wrap", "WRAP"),
    TOKEN("sat", "SAT"),
    TOKEN("fail", "FAIL"),
    END,
};

static const struct command_argument bitfield_write_operation[] = {
    {"encoding_offset_value", ARGUMENT_BLOCK, .token = "SET", .parts = bitfield_set},
    {"encoding_offset_increment", ARGUMENT_BLOCK, .token = "INCRBY", .parts = bitfield_incrby},
    END,
};

static const struct command_argument bitfield_write[] = {
    {"wrap_sat_fail", ARGUMENT_ONEOF, .token = "OVERFLOW", .optional = true,
     .parts = bitfield_overflow},
    {"write_operation", ARGUMENT_ONEOF, .parts = bitfield_write_operation},
    END,
};

static const struct command_argument bitfield_operation[] = {
    {"encoding_offset", ARGUMENT_BLOCK, .token = "GET", .parts = bitfield_get},
    {"write", ARGUMENT_BLOCK, .parts = bitfield_write},
    END,
};

const struct command_argument arguments_bitfield[] = {
    {"key", ARGUMENT_KEY},
    {"operation", ARGUMENT_ONEOF, .optional = true, .multiple = true, .parts = bitfield_operation},
    END,
};

const struct command_argument arguments_bitfield_ro[] = {
    {"key", ARGUMENT_KEY},
    {"encoding_offset", ARGUMENT_BLOCK, .token = "GET", .optional = true, .multiple = true,
     .multiple_token = true, .parts = bitfield_get},
    END,
};

/* --- keyspace --- */

const struct command_argument arguments_restore[] = {
    {"key", ARGUMENT_KEY},
    {"ttl", ARGUMENT_INTEGER},
    {"serialized-value", ARGUMENT_STRING},
    {"replace", ARGUMENT_PURE_TOKEN, .token = "REPLACE", .optional = true},
    {"absttl", ARGUMENT_PURE_TOKEN, .token = "ABSTTL", .optional = true},
    {"seconds", ARGUMENT_INTEGER, .token = "IDLETIME", .optional = true},
    {"frequency", ARGUMENT_INTEGER, .token = "FREQ", .optional = true},
    END,
};

const struct command_argument arguments_pattern[] = {
    {"pattern", ARGUMENT_PATTERN},
    END,
};

const struct command_argument arguments_scan[] = {
    {"cursor", ARGUMENT_INTEGER},
    {"pattern", ARGUMENT_PATTERN, .token = "MATCH", .optional = true},
    {"count", ARGUMENT_INTEGER, .token = "COUNT", .optional = true},
    {"type", ARGUMENT_STRING, .token = "TYPE", .optional = true},
    END,
};

const struct command_argument arguments_memory_usage[] = {
    {"key", ARGUMENT_KEY},
    {"count", ARGUMENT_INTEGER, .token = "SAMPLES", .optional = true},
    END,
};

const struct command_argument arguments_rename[] = {
    {"key", ARGUMENT_KEY},
    {"newkey", ARGUMENT_KEY},
    END,
};

const struct command_argument arguments_copy[] = {
    {"source", ARGUMENT_KEY},
    {"destination", ARGUMENT_KEY},
    {"destination-db", ARGUMENT_INTEGER, .token = "DB", .optional = true},
    {"replace", ARGUMENT_PURE_TOKEN, .token = "REPLACE", .optional = true},
    END,
};

const struct command_argument arguments_move[] = {
    {"key", ARGUMENT_KEY},
    {"db", ARGUMENT_INTEGER},
    END,
};

const struct command_argument arguments_swapdb[] = {
    {"index1", ARGUMENT_INTEGER},
    {"index2", ARGUMENT_INTEGER},
    END,
};

static const struct command_argument flush_modes[] = {
    TOKEN("async", "ASYNC"),
    TOKEN("sync", "SYNC"),
    END,
};

const struct command_argument arguments_flush[] = {
    {"async", ARGUMENT_ONEOF, .optional = true, .parts = flush_modes},
    END,
};

static const struct command_argument expire_conditions[] = {
    TOKEN("nx", "NX"), TOKEN("xx", "XX"), TOKEN("gt", "GT"), TOKEN("lt", "LT"), END,
};

#define EXPIRE_CONDITION                                                                           \
    {                                                                                              \
        "condition", ARGUMENT_ONEOF, .optional = true, .parts = expire_conditions                  \
    }

const struct command_argument arguments_expire[] = {
    {"key", ARGUMENT_KEY},
    {"seconds", ARGUMENT_INTEGER},
    EXPIRE_CONDITION,
    END,
};

const struct command_argument arguments_pexpire[] = {
    {"key", ARGUMENT_KEY},
    {"milliseconds", ARGUMENT_INTEGER},
    EXPIRE_CONDITION,
    END,
};

const struct command_argument arguments_expireat[] = {
    {"key", ARGUMENT_KEY},
    {"unix-time-seconds", ARGUMENT_UNIX_TIME},
    EXPIRE_CONDITION,
    END,
};

const struct command_argument arguments_pexpireat[] = {
    {"key", ARGUMENT_KEY},
    {"unix-time-milliseconds", ARGUMENT_UNIX_TIME},
    EXPIRE_CONDITION,
    END,
};

/* --- connection --- */

const struct command_argument arguments_ping[] = {
    {"message", ARGUMENT_STRING, .optional = true},
    END,
};

const struct command_argument arguments_echo[] = {
    {"message", ARGUMENT_STRING},
    END,
};

const struct command_argument arguments_select[] = {
    {"index", ARGUMENT_INTEGER},
    END,
};

static const struct command_argument hello_auth[] = {
    {"username", ARGUMENT_STRING},
    {"password", ARGUMENT_STRING},
    END,
};

static const struct command_argument hello_parts[] = {
    {"protover", ARGUMENT_INTEGER},
    {"username_password", ARGUMENT_BLOCK, .token = "AUTH", .optional = true, .parts = hello_auth},
    {"clientname", ARGUMENT_STRING, .token = "SETNAME", .optional = true},
    END,
};

const struct command_argument arguments_hello[] = {
    {"arguments", ARGUMENT_BLOCK, .optional = true, .parts = hello_parts},
    END,
};

const struct command_argument arguments_auth[] = {
    {"username", ARGUMENT_STRING, .optional = true},
    {"password", ARGUMENT_STRING},
    END,
};

/* --- CLIENT --- */

const struct command_argument arguments_client_setname[] = {
    {"connection-name", ARGUMENT_STRING},
    END,
};

static const struct command_argument client_setinfo_parts[] = {
    {"libname", ARGUMENT_STRING, .token = "LIB-NAME"},
    {"libver", ARGUMENT_STRING, .token = "LIB-VER"},
    END,
};

const struct command_argument arguments_client_setinfo[] = {
    {"attr", ARGUMENT_ONEOF, .parts = client_setinfo_parts},
    END,
};

static const struct command_argument client_types[] = {
    TOKEN("normal", "NORMAL"),
    TOKEN("master", "MASTER"),
    TOKEN("replica", "REPLICA"),
    TOKEN("pubsub", "PUBSUB"),
    END,
};

static const struct command_argument client_ids[] = {
    {"client-id", ARGUMENT_INTEGER, .multiple = true},
    END,
};

const struct command_argument arguments_client_list[] = {
    {"client-type", ARGUMENT_ONEOF, .token = "TYPE", .optional = true, .parts = client_types},
    {"id", ARGUMENT_BLOCK, .token = "ID", .optional = true, .parts = client_ids},
    END,
};

static const struct command_argument yes_no[] = {
    TOKEN("yes", "YES"),
    TOKEN("no", "NO"),
    END,
};

static const struct command_argument client_kill_filters[] = {
    {"client-id", ARGUMENT_INTEGER, .token = "ID", .optional = true},
    {"client-type", ARGUMENT_ONEOF, .token = "TYPE", .optional = true, .parts = client_types},
    {"username", ARGUMENT_STRING, .token = "USER", .optional = true},
    {"ip:port", ARGUMENT_STRING, .token = "ADDR", .optional = true},
    {"local-ip:port", ARGUMENT_STRING, .token = "LADDR", .optional = true},
    {"skipme", ARGUMENT_ONEOF, .token = "SKIPME", .optional = true, .parts = yes_no},
    {"maxage", ARGUMENT_INTEGER, .token = "MAXAGE", .optional = true},
    END,
};

static const struct command_argument client_kill_forms[] = {
    {"ip:port", ARGUMENT_STRING},
    {"new-format", ARGUMENT_ONEOF, .multiple = true, .parts = client_kill_filters},
    END,
};

const struct command_argument arguments_client_kill[] = {
    {"filter", ARGUMENT_ONEOF, .parts = client_kill_forms},
    END,
};

static const struct command_argument on_off_skip[] = {
    TOKEN("on", "ON"),
    TOKEN("off", "OFF"),
    TOKEN("skip", "SKIP"),
    END,
};

const struct command_argument arguments_client_reply[] = {
    {"action", ARGUMENT_ONEOF, .parts = on_off_skip},
    END,
};

static const struct command_argument on_off[] = {
    TOKEN("on", "ON"),
    TOKEN("off", "OFF"),
    END,
};

const struct command_argument arguments_on_off[] = {
    {"enabled", ARGUMENT_ONEOF, .parts = on_off},
    END,
};

/* --- COMMAND --- */

const struct command_argument arguments_command_names[] = {
    {"command-name", ARGUMENT_STRING, .optional = true, .multiple = true},
    END,
};

static const struct command_argument command_list_filters[] = {
    {"module-name", ARGUMENT_STRING, .token = "MODULE"},
    {"category", ARGUMENT_STRING, .token = "ACLCAT"},
    {"pattern", ARGUMENT_PATTERN, .token = "PATTERN"},
    END,
};

const struct command_argument arguments_command_list[] = {
    {"filterby", ARGUMENT_ONEOF, .token = "FILTERBY", .optional = true,
     .parts = command_list_filters},
    END,
};

const struct command_argument arguments_command_getkeys[] = {
    {"command", ARGUMENT_STRING},
    {"arg", ARGUMENT_STRING, .optional = true, .multiple = true},
    END,
};

/* --- server --- */

const struct command_argument arguments_config_get[] = {
    {"parameter", ARGUMENT_STRING, .multiple = true},
    END,
};

static const struct command_argument config_set_pair[] = {
    {"parameter", ARGUMENT_STRING},
    {"value", ARGUMENT_STRING},
    END,
};

const struct command_argument arguments_config_set[] = {
    {"data", ARGUMENT_BLOCK, .multiple = true, .parts = config_set_pair},
    END,
};

const struct command_argument arguments_info[] = {
    {"section", ARGUMENT_STRING, .optional = true, .multiple = true},
    END,
};

const struct command_argument arguments_wait[] = {
    {"numreplicas", ARGUMENT_INTEGER},
    {"timeout", ARGUMENT_INTEGER},
    END,
};

const struct command_argument arguments_waitaof[] = {
    {"numlocal", ARGUMENT_INTEGER},
    {"numreplicas", ARGUMENT_INTEGER},
    {"timeout", ARGUMENT_INTEGER},
    END,
};

static const struct command_argument write_all[] = {
    TOKEN("write", "WRITE"),
    TOKEN("all", "ALL"),
    END,
};

const struct command_argument arguments_client_pause[] = {
    {"timeout", ARGUMENT_INTEGER},
    {"mode", ARGUMENT_ONEOF, .optional = true, .parts = write_all},
    END,
};

static const struct command_argument timeout_error[] = {
    TOKEN("timeout", "TIMEOUT"),
    TOKEN("error", "ERROR"),
    END,
};

const struct command_argument arguments_client_unblock[] = {
    {"client-id", ARGUMENT_INTEGER},
    {"timeout_error", ARGUMENT_ONEOF, .optional = true, .parts = timeout_error},
    END,
};

/* --- ACL, FUNCTION, DEBUG --- */

const struct command_argument arguments_acl_cat[] = {
    {"categoryname", ARGUMENT_STRING, .optional = true},
    END,
};

const struct command_argument arguments_acl_genpass[] = {
    {"bits", ARGUMENT_INTEGER, .optional = true},
    END,
};

const struct command_argument arguments_acl_getuser[] = {
    {"username", ARGUMENT_STRING},
    END,
};

const struct command_argument arguments_function_list[] = {
    {"library-name-pattern", ARGUMENT_STRING, .token = "LIBRARYNAME", .optional = true},
    {"withcode", ARGUMENT_PURE_TOKEN, .token = "WITHCODE", .optional = true},
    END,
};

const struct command_argument arguments_debug[] = {
    {"subcommand", ARGUMENT_STRING},
    {"arg", ARGUMENT_STRING, .optional = true, .multiple = true},
    END,
};

const struct command_argument arguments_lolwut[] = {
    {"version", ARGUMENT_INTEGER, .token = "VERSION", .optional = true},
    END,
};

const struct command_argument arguments_bgsave[] = {
    {"schedule", ARGUMENT_PURE_TOKEN, .token = "SCHEDULE", .optional = true},
    END,
};

const struct command_argument arguments_tarn_backup[] = {
    {"directory", ARGUMENT_STRING},
    END,
};

static const struct command_argument shutdown_save[] = {
    TOKEN("nosave", "NOSAVE"),
    TOKEN("save", "SAVE"),
    END,
};

const struct command_argument arguments_shutdown[] = {
    {"save-selector", ARGUMENT_ONEOF, .optional = true, .parts = shutdown_save},
    {"now", ARGUMENT_PURE_TOKEN, .token = "NOW", .optional = true},
    {"force", ARGUMENT_PURE_TOKEN, .token = "FORCE", .optional = true},
    {"abort", ARGUMENT_PURE_TOKEN, .token = "ABORT", .optional = true},
    END,
};

const struct command_argument arguments_slowlog_get[] = {
    {"count", ARGUMENT_INTEGER, .optional = true},
    END,
};

const struct command_argument arguments_latency_histogram[] = {
    {"command", ARGUMENT_STRING, .optional = true, .multiple = true},
    END,
};

const struct command_argument arguments_latency_event[] = {
    {"event", ARGUMENT_STRING},
    END,
};

const struct command_argument arguments_latency_events[] = {
    {"event", ARGUMENT_STRING, .optional = true, .multiple = true},
    END,
};
