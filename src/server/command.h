/* Commands: the table of what clients can ask, and what a handler may touch.
 *
 * A command is either
 * - a *gathered read*: it has one key, args[1]; the connection looks up the keys of many such
 *   requests with one tarn_get_many() and then calls `read` with each value, in order; or
 * - an ordinary command: `run` is called. If it reads or writes one key, args[1], it may be called
 *   as one of a run of requests, whose keys have been prefetched; the handler need not know.
 *
 * Handlers run on the worker that owns the client. They answer by appending to client->reply and
 * never block. Whatever is shared between workers is reached through server.h's functions. */
#ifndef SERVER_COMMAND_H
#define SERVER_COMMAND_H

#include "resp/parse.h"
#include "server/client.h"

enum command_flags {
    COMMAND_READONLY = 1 << 0,
    COMMAND_WRITE = 1 << 1, /* answered -READONLY by an immutable data set */
    COMMAND_FAST = 1 << 2,
    COMMAND_ADMIN = 1 << 3,
    COMMAND_LOADING = 1 << 4,
    COMMAND_STALE = 1 << 5,
    COMMAND_NO_AUTH = 1 << 6, /* allowed before AUTH: AUTH, HELLO, QUIT, RESET */
    COMMAND_NOSCRIPT = 1 << 7,
    COMMAND_ALLOW_BUSY = 1 << 8,
    COMMAND_NO_MULTI = 1 << 9,
    COMMAND_ACCESS = 1 << 10,  /* gives the key's value away (COMMAND INFO's key specs) */
    COMMAND_REFUSED = 1 << 11, /* known by name, but tarn has no such thing: answered an error */
    COMMAND_DENYOOM = 1 << 12, /* may need memory for the data */
    COMMAND_NO_ASYNC_LOADING = 1 << 13,
};

/* One argument, or a group of them, as COMMAND DOCS and the hints of redis-cli show it. */
enum command_argument_type {
    ARGUMENT_STRING,
    ARGUMENT_INTEGER,
    ARGUMENT_DOUBLE,
    ARGUMENT_KEY,
    ARGUMENT_PATTERN,
    ARGUMENT_UNIX_TIME,
    ARGUMENT_PURE_TOKEN, /* the token alone */
    ARGUMENT_ONEOF,      /* one of `parts` */
    ARGUMENT_BLOCK,      /* all of `parts`, in order */
};
struct command_argument {
    const char *name;
    enum command_argument_type type;
    const char *token; /* word before the value, e.g. "MATCH"; NULL: none */
    bool optional, multiple;
    bool multiple_token;                  /* the token comes again with each value */
    const struct command_argument *parts; /* of ONEOF and BLOCK; ends with name NULL */
};

struct command;
typedef void (*command_run)(struct client *client, const struct resp_request *request);
/* value.data is NULL when there is no such key. */
typedef void (*command_read)(struct client *client, const struct resp_request *request,
                             struct tarn_bytes value);

struct command {
    const char *name;      /* lower case; a subcommand's own word, e.g. "setname" */
    const char *full_name; /* "client|setname"; as name for a top-level command */
    command_run run; /* exactly one of run, read (both NULL: a container or a refused write) */
    command_read read;
    int arity; /* Redis's: counts the name; negative = at least */
    unsigned flags;
    int key_first, key_last, key_step; /* Redis's; 0,0,0 = no keys */
    /* What is done with the keys, as COMMAND INFO says it: "RW access update". NULL: "RO", and
     * "access" where COMMAND_ACCESS says so. */
    const char *key_use;
    const char *key_use_rest; /* where the keys after the first are used in another way */
    const char *key_notes;    /* on them; may be NULL */
    /* How one request uses its keys (COMMAND GETKEYSANDFLAGS), where its options decide; NULL: as
     * key_use says. */
    const char *(*key_use_of)(const struct resp_request *request);
    const char *categories; /* "@read @string @fast", in Redis's order */
    const char *tips;       /* COMMAND INFO's, separated by spaces; NULL: none */
    const char *group, *since, *complexity, *summary;
    const struct command_argument *arguments; /* for COMMAND DOCS; ends with name NULL */
    const struct command *subcommands;        /* ends with name NULL */
    unsigned id; /* dense number of top-level commands and subcommands, for statistics */
};

/* May a request of the command have so many arguments, its name counted? */
static inline bool command_takes(const struct command *command, size_t count)
{
    return command->arity >= 0 ? count == (size_t)command->arity : count >= (size_t)-command->arity;
}

/* The top-level command of that name, or NULL. Case is ignored. The hot path: GET is one compare
 * of a word, the others a binary search over sorted rows; no allocation. */
const struct command *command_find(struct tarn_bytes name);

/* The command of a whole request: its subcommand where it names one. NULL if there is none. */
const struct command *command_find_request(const struct resp_request *request);

/* Look up, check authentication, arity and READONLY. Returns the command to execute, or NULL
 * after having answered the error word for word as Redis 7. */
const struct command *command_admit(struct client *client, const struct resp_request *request);

/* How many ids there are (statistics arrays have this size), and the full name of an id
 * ("client|setname"). */
unsigned command_count(void);
const char *command_full_name(unsigned id);

/* Have a gathered read answer what a look-up came to: a value, that there is none, or (as
 * tarn_value_status() tells) that it cannot be read. */
void command_answer_read(struct client *client, const struct command *command,
                         const struct resp_request *request, struct tarn_bytes value);

/* What tarn_get() gave no value for, as tarn_get_many() would say it. */
static inline struct tarn_bytes command_no_value(int status)
{
    return (struct tarn_bytes){NULL, status == TARN_NOTFOUND ? 0 : (size_t)status};
}

/* Is args[index] a password, to be shown as "(redacted)" in logs? AUTH, HELLO's AUTH and CONFIG
 * SET of a password. Not for the hot path. */
bool command_argument_is_secret(const struct resp_request *request, size_t index);

#endif
