/* What the parts of the command table share: the tables, the handlers their rows name, and small
 * helpers of handlers. Private to command*.c and cmd_*.c (and their tests). */
#ifndef SERVER_COMMAND_ROWS_H
#define SERVER_COMMAND_ROWS_H

#include <assert.h>

#include "server/command.h"

/* How many ids the rows of each table take, subcommands included, and how many of the served ones
 * are top-level. The compiler checks each number where its table ends. */
enum {
    COMMAND_SERVED_IDS = 155,
    COMMAND_REFUSED_IDS = 150,
    COMMAND_SERVED_COUNT = 93,
    COMMAND_GET_ROW = 30, /* where GET stands in the served table */
};

extern const struct command command_served[COMMAND_SERVED_COUNT]; /* sorted by name */
extern const struct command command_refused[COMMAND_REFUSED_IDS]; /* sorted by name */

/* The served command that "name" or "container|subcommand" names, or NULL. */
const struct command *command_find_full(struct tarn_bytes name);

/* --- helpers of handlers --- */

/* Does argument `index` exist and equal `word`, ASCII case ignored? */
bool command_arg_is(const struct resp_request *request, size_t index, const char *word);

void command_reply_syntax_error(struct client *client);
/* What a call of the store failed with: -OOM, -READONLY, -MISCONF, too long a string, a key that
 * cannot be read. */
void command_reply_failure(struct client *client, int status);
/* A key, or the keyspace as a whole, cannot be read: whether it is there is not known. */
void command_reply_unreadable(struct client *client, int status);
void command_reply_unreadable_keys(struct client *client, int status);
void command_reply_not_integer(struct client *client); /* "value is not an integer ..." */
/* "unknown subcommand 'x'. Try CONTAINER HELP." and "wrong number of arguments ..." */
void command_reply_unknown_subcommand(struct client *client, const struct resp_request *request);
void command_reply_arity(struct client *client, const char *full_name);
/* "unknown subcommand or wrong number of arguments for 'x'. Try CONTAINER HELP." */
void command_reply_subcommand_syntax(struct client *client, const struct resp_request *request);

/* args[index] as an integer; false after having answered that it is none. */
bool command_arg_int(struct client *client, const struct resp_request *request, size_t index,
                     int64_t *ret_value);

/* As command_arg_int(), and it must fit 32 bits. */
bool command_arg_int32(struct client *client, const struct resp_request *request, size_t index,
                       int64_t *ret_value);

/* Of values that were looked up, `found` of them found: TARN_OK, or why one of the others cannot be
 * read. */
int command_values_status(const struct tarn_bytes *values, size_t count, size_t found);

/* tarn_update() of a key, with room made where it is needed; false after having answered the error.
 * A view that `change` kept stays valid until the handler calls the store again. */
bool command_update(struct client *client, struct tarn_bytes key, tarn_change change,
                    void *context);

/* How much of an argument to print in an error with %.*s: up to its first NUL, as Redis does. */
int command_printed_size(struct tarn_bytes bytes);

/* A "+line" reply; the line may come from anywhere, CR and LF in it are blanked. */
void command_reply_status(struct client *client, struct tarn_bytes line);

/* Does it read or write keys, or look at the keyspace as a whole? */
bool command_uses_data(const struct command *command);

/* Does it belong to the category (without its '@', case ignored)? */
bool command_has_category(const struct command *command, struct tarn_bytes category);

/* The keys of a request that has the right number of arguments, by its row's key positions.
 * ret_keys has room for as many as command_keys_count() says; returns their number. */
size_t command_keys_count(const struct command *command, const struct resp_request *request);
size_t command_keys(const struct command *command, const struct resp_request *request,
                    struct tarn_bytes *ret_keys);

/* Put printf-style text (at most 127 bytes) before what was written since out->size was `start`:
 * for an array whose length is known only after its elements. They must be plain bytes, not
 * values from client_reply_value(). */
void command_insert(struct client *client, size_t start, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Does a setting that says who may use a command (enum config_debug) allow it to this client? */
bool command_is_allowed(const struct client *client, int who);

/* Is the client allowed in: authenticated, or no password set? */
bool command_client_is_authenticated(struct client *client);

/* COMMAND HELP-like text of a container, made from its rows. */
void cmd_help(struct client *client, const struct resp_request *request);
/* "FOO <bar> [BAZ qux]": the arguments of one command, as its help shows them. */
void command_append_synopsis(const struct command *command, struct buffer *out);

/* After MULTI, command_admit() ends with this: command is what was admitted, or NULL. */
const struct command *command_admit_in_multi(struct client *client, const struct command *command,
                                             const struct resp_request *request);

/* --- handlers: cmd_string.c --- */
void cmd_get(struct client *client, const struct resp_request *request, struct tarn_bytes value);
void cmd_strlen(struct client *client, const struct resp_request *request, struct tarn_bytes value);
void cmd_getrange(struct client *client, const struct resp_request *request,
                  struct tarn_bytes value);
/* What GETRANGE asks for of a value of this size; false after having answered why nothing. */
bool cmd_getrange_of(struct client *client, const struct resp_request *request, size_t value_size,
                     size_t *ret_offset, size_t *ret_size);
void cmd_append(struct client *client, const struct resp_request *request);
void cmd_setrange(struct client *client, const struct resp_request *request);
void cmd_mget(struct client *client, const struct resp_request *request);
void cmd_mset(struct client *client, const struct resp_request *request);
void cmd_msetnx(struct client *client, const struct resp_request *request);

/* --- cmd_set.c --- */
void cmd_set(struct client *client, const struct resp_request *request);
const char *cmd_set_key_use(const struct resp_request *request);
void cmd_setnx(struct client *client, const struct resp_request *request);
void cmd_setex(struct client *client, const struct resp_request *request);
void cmd_psetex(struct client *client, const struct resp_request *request);
void cmd_getset(struct client *client, const struct resp_request *request);
void cmd_getdel(struct client *client, const struct resp_request *request);
void cmd_getex(struct client *client, const struct resp_request *request);

/* --- cmd_number.c --- */
void cmd_incr(struct client *client, const struct resp_request *request);
void cmd_decr(struct client *client, const struct resp_request *request);
void cmd_incrby(struct client *client, const struct resp_request *request);
void cmd_decrby(struct client *client, const struct resp_request *request);
void cmd_incrbyfloat(struct client *client, const struct resp_request *request);

/* --- cmd_lcs.c --- */
void cmd_lcs(struct client *client, const struct resp_request *request);

/* --- cmd_bit.c --- */
void cmd_setbit(struct client *client, const struct resp_request *request);
void cmd_getbit(struct client *client, const struct resp_request *request);
void cmd_bitcount(struct client *client, const struct resp_request *request,
                  struct tarn_bytes value);
void cmd_bitpos(struct client *client, const struct resp_request *request, struct tarn_bytes value);
void cmd_bitfield(struct client *client, const struct resp_request *request);
void cmd_bitfield_ro(struct client *client, const struct resp_request *request);
const char *cmd_bitfield_key_use(const struct resp_request *request);
void cmd_bitop(struct client *client, const struct resp_request *request);
extern const struct command_argument arguments_setbit[], arguments_getbit[], arguments_bitcount[],
    arguments_bitpos[], arguments_bitop[], arguments_bitfield[], arguments_bitfield_ro[];

/* --- cmd_dump.c --- */
void cmd_dump(struct client *client, const struct resp_request *request, struct tarn_bytes value);
void cmd_restore(struct client *client, const struct resp_request *request);
extern const struct command_argument arguments_restore[];

/* --- cmd_keyspace.c --- */
void cmd_type(struct client *client, const struct resp_request *request, struct tarn_bytes value);
void cmd_exists(struct client *client, const struct resp_request *request);
void cmd_touch(struct client *client, const struct resp_request *request);
void cmd_del(struct client *client, const struct resp_request *request);
void cmd_flush(struct client *client, const struct resp_request *request);
void cmd_dbsize(struct client *client, const struct resp_request *request);
void cmd_randomkey(struct client *client, const struct resp_request *request);
void cmd_scan(struct client *client, const struct resp_request *request);
void cmd_keys(struct client *client, const struct resp_request *request);

/* --- cmd_expire.c --- */
void cmd_ttl(struct client *client, const struct resp_request *request);
void cmd_pttl(struct client *client, const struct resp_request *request);
void cmd_expiretime(struct client *client, const struct resp_request *request);
void cmd_pexpiretime(struct client *client, const struct resp_request *request);
void cmd_expire(struct client *client, const struct resp_request *request);
void cmd_pexpire(struct client *client, const struct resp_request *request);
void cmd_expireat(struct client *client, const struct resp_request *request);
void cmd_pexpireat(struct client *client, const struct resp_request *request);
void cmd_persist(struct client *client, const struct resp_request *request);

/* --- cmd_rename.c --- */
void cmd_rename(struct client *client, const struct resp_request *request);
void cmd_renamenx(struct client *client, const struct resp_request *request);
void cmd_copy(struct client *client, const struct resp_request *request);
void cmd_move(struct client *client, const struct resp_request *request);
void cmd_swapdb(struct client *client, const struct resp_request *request);

/* --- cmd_object.c --- */
void cmd_object_encoding(struct client *client, const struct resp_request *request);
const char *cmd_object_encoding_of(struct tarn_bytes value); /* as Redis would hold it */
void cmd_object_freq(struct client *client, const struct resp_request *request);
void cmd_object_idletime(struct client *client, const struct resp_request *request);
void cmd_object_refcount(struct client *client, const struct resp_request *request);

/* --- cmd_memory.c --- */
void cmd_memory_usage(struct client *client, const struct resp_request *request);
void cmd_memory_doctor(struct client *client, const struct resp_request *request);
void cmd_memory_stats(struct client *client, const struct resp_request *request);
void cmd_memory_purge(struct client *client, const struct resp_request *request);
void cmd_memory_malloc_stats(struct client *client, const struct resp_request *request);

/* --- cmd_connection.c --- */
void cmd_ping(struct client *client, const struct resp_request *request);
void cmd_echo(struct client *client, const struct resp_request *request);
void cmd_quit(struct client *client, const struct resp_request *request);
void cmd_reset(struct client *client, const struct resp_request *request);
void cmd_select(struct client *client, const struct resp_request *request);
void cmd_hello(struct client *client, const struct resp_request *request);
void cmd_auth(struct client *client, const struct resp_request *request);

/* --- cmd_transaction.c --- */
void cmd_multi(struct client *client, const struct resp_request *request);
void cmd_exec(struct client *client, const struct resp_request *request);
void cmd_discard(struct client *client, const struct resp_request *request);
void cmd_watch(struct client *client, const struct resp_request *request);
void cmd_unwatch(struct client *client, const struct resp_request *request);

/* --- cmd_wait.c --- */
void cmd_client_pause(struct client *client, const struct resp_request *request);
void cmd_client_unpause(struct client *client, const struct resp_request *request);
void cmd_client_unblock(struct client *client, const struct resp_request *request);
void cmd_wait(struct client *client, const struct resp_request *request);
void cmd_waitaof(struct client *client, const struct resp_request *request);

/* --- cmd_acl.c --- */
void cmd_acl_cat(struct client *client, const struct resp_request *request);
void cmd_acl_genpass(struct client *client, const struct resp_request *request);
void cmd_acl_getuser(struct client *client, const struct resp_request *request);
void cmd_acl_list(struct client *client, const struct resp_request *request);
void cmd_acl_users(struct client *client, const struct resp_request *request);
void cmd_acl_whoami(struct client *client, const struct resp_request *request);

/* --- cmd_function.c --- */
void cmd_function_flush(struct client *client, const struct resp_request *request);
void cmd_function_list(struct client *client, const struct resp_request *request);
void cmd_script_flush(struct client *client, const struct resp_request *request);
void cmd_module_list(struct client *client, const struct resp_request *request);

/* --- cmd_debug.c --- */
void cmd_debug(struct client *client, const struct resp_request *request);
bool cmd_debug_is_allowed(struct client *client);

/* --- cmd_client.c --- */
void cmd_client_id(struct client *client, const struct resp_request *request);
void cmd_client_setname(struct client *client, const struct resp_request *request);
void cmd_client_getname(struct client *client, const struct resp_request *request);
void cmd_client_setinfo(struct client *client, const struct resp_request *request);
void cmd_client_info(struct client *client, const struct resp_request *request);
void cmd_client_list(struct client *client, const struct resp_request *request);
void cmd_client_kill(struct client *client, const struct resp_request *request);
void cmd_client_reply(struct client *client, const struct resp_request *request);
void cmd_client_no_evict(struct client *client, const struct resp_request *request);
void cmd_client_no_touch(struct client *client, const struct resp_request *request);
/* NULL if `name` may be a client's name, else the error's text. */
const char *cmd_client_name_problem(struct tarn_bytes name);
void cmd_client_set_name(struct client *client, struct tarn_bytes name); /* one without problem */

/* --- cmd_command.c --- */
void cmd_command(struct client *client, const struct resp_request *request);
void cmd_command_count(struct client *client, const struct resp_request *request);
void cmd_command_info(struct client *client, const struct resp_request *request);
void cmd_command_docs(struct client *client, const struct resp_request *request);
void cmd_command_list(struct client *client, const struct resp_request *request);
void cmd_command_getkeys(struct client *client, const struct resp_request *request);
void cmd_command_getkeysandflags(struct client *client, const struct resp_request *request);

/* --- cmd_config.c --- */
void cmd_config_get(struct client *client, const struct resp_request *request);
void cmd_config_set(struct client *client, const struct resp_request *request);
void cmd_config_resetstat(struct client *client, const struct resp_request *request);
void cmd_config_rewrite(struct client *client, const struct resp_request *request);
/* Does CONFIG SET of this name carry a password? */
bool cmd_config_name_is_secret(struct tarn_bytes name);

/* --- cmd_server.c --- */
void cmd_info(struct client *client, const struct resp_request *request);
void cmd_time(struct client *client, const struct resp_request *request);
void cmd_lolwut(struct client *client, const struct resp_request *request);
void cmd_shutdown(struct client *client, const struct resp_request *request);
void cmd_save(struct client *client, const struct resp_request *request);
void cmd_bgsave(struct client *client, const struct resp_request *request);
void cmd_bgrewriteaof(struct client *client, const struct resp_request *request);
void cmd_lastsave(struct client *client, const struct resp_request *request);
void cmd_tarn_backup(struct client *client, const struct resp_request *request);
void cmd_reload(struct client *client, const struct resp_request *request);

/* --- cmd_monitor.c: MONITOR, SLOWLOG and LATENCY --- */
void cmd_monitor(struct client *client, const struct resp_request *request);
void cmd_slowlog_get(struct client *client, const struct resp_request *request);
void cmd_slowlog_len(struct client *client, const struct resp_request *request);
void cmd_slowlog_reset(struct client *client, const struct resp_request *request);
void cmd_latency_histogram(struct client *client, const struct resp_request *request);
void cmd_latency_latest(struct client *client, const struct resp_request *request);
void cmd_latency_history(struct client *client, const struct resp_request *request);
void cmd_latency_reset(struct client *client, const struct resp_request *request);
void cmd_latency_doctor(struct client *client, const struct resp_request *request);
void cmd_latency_graph(struct client *client, const struct resp_request *request);

/* --- arguments, for COMMAND DOCS: command_arguments.c --- */
extern const struct command_argument arguments_key[], arguments_keys[], arguments_key_value[],
    arguments_set[], arguments_setex[], arguments_psetex[], arguments_getex[], arguments_mset[],
    arguments_incrby[], arguments_decrby[], arguments_incrbyfloat[], arguments_setrange[],
    arguments_lcs[], arguments_range[], arguments_pattern[], arguments_scan[],
    arguments_memory_usage[], arguments_rename[], arguments_copy[], arguments_move[],
    arguments_swapdb[], arguments_flush[], arguments_expire[], arguments_pexpire[],
    arguments_expireat[], arguments_pexpireat[], arguments_ping[], arguments_echo[],
    arguments_select[], arguments_hello[], arguments_auth[], arguments_client_setname[],
    arguments_client_setinfo[], arguments_client_list[], arguments_client_kill[],
    arguments_client_reply[], arguments_on_off[], arguments_command_names[],
    arguments_command_list[], arguments_command_getkeys[], arguments_config_get[],
    arguments_bgsave[], arguments_tarn_backup[], arguments_config_set[], arguments_info[],
    arguments_wait[], arguments_waitaof[], arguments_client_pause[], arguments_client_unblock[],
    arguments_acl_cat[], arguments_acl_genpass[], arguments_acl_getuser[],
    arguments_function_list[], arguments_debug[], arguments_lolwut[], arguments_shutdown[],
    arguments_slowlog_get[], arguments_latency_histogram[], arguments_latency_event[],
    arguments_latency_events[];

#endif
