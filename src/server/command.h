/* Commands: the table of what clients can ask, and what a handler may touch.
 *
 * A command is either
 * - a *gathered read*: it has one key, args[1]; the connection looks up the keys of a whole run of
 *   such requests with one tarn_get_many() and then calls `read` with each value, in order; or
 * - an ordinary command: `run` is called alone.
 *
 * Handlers run on the worker that owns the client. They answer by appending to client->reply and
 * never block. Whatever is shared between workers is reached through server.h's functions. */
#ifndef SERVER_COMMAND_H
#define SERVER_COMMAND_H

#include "resp/parse.h"
#include "server/client.h"

enum command_flags {
    COMMAND_READONLY = 1 << 0,
    COMMAND_WRITE = 1 << 1, /* known, but answered -READONLY by an immutable data set */
    COMMAND_FAST = 1 << 2,
    COMMAND_ADMIN = 1 << 3,
    COMMAND_LOADING = 1 << 4,
    COMMAND_STALE = 1 << 5,
    COMMAND_NO_AUTH = 1 << 6, /* allowed before AUTH: AUTH, HELLO, QUIT, RESET */
    COMMAND_NOSCRIPT = 1 << 7,
    COMMAND_SENTINEL = 1 << 8,
};

struct command;
typedef void (*command_run)(struct client *client, const struct resp_request *request);
/* value.data is NULL when there is no such key. */
typedef void (*command_read)(struct client *client, const struct resp_request *request,
                             struct tarn_bytes value);

struct command {
    const char *name;    /* lower case; a subcommand's own word, e.g. "setname" */
    command_run run;     /* exactly one of run, read (both NULL: a container or a refused write) */
    command_read read;
    int arity;           /* Redis's: counts the name; negative = at least */
    unsigned flags;
    int key_first, key_last, key_step; /* Redis's; 0,0,0 = no keys */
    const char *categories;            /* "@read @string @fast" */
    const char *group, *since, *complexity, *summary;
    const struct command_argument *arguments; /* for COMMAND DOCS; ends with name NULL */
    const struct command *subcommands;        /* ends with name NULL */
    const struct command *parent;             /* of a subcommand, else NULL */
    unsigned id; /* dense number of top-level commands and subcommands, for statistics */
};

/* The command of a request (its subcommand where there is one), or NULL. Case is ignored. The hot
 * path: a perfect-ish hash over the short name, no allocation. */
const struct command *command_find(struct tarn_bytes name);

/* Look up, check authentication, arity and READONLY. Returns the command to execute, or NULL
 * after having answered the error word for word as Redis 7. */
const struct command *command_admit(struct client *client, const struct resp_request *request);

/* How many ids there are (statistics arrays have this size), and the full name of an id
 * ("client|setname"). */
unsigned command_count(void);
const char *command_full_name(unsigned id);

#endif
