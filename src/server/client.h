/* A client: one RESP connection's state as commands see it. Owned by one worker; the fields that
 * other workers show (CLIENT LIST) are guarded by the worker's client mutex or atomic; they lie in
 * struct connection, which embeds this one. */
#ifndef SERVER_CLIENT_H
#define SERVER_CLIENT_H

#include "core/buffer.h"
#include "resp/reply.h"
#include "tarn.h"

struct command;
struct resp_request;
struct server;
struct worker;
struct transaction;

enum client_reply_mode { CLIENT_REPLY_ON, CLIENT_REPLY_OFF, CLIENT_REPLY_SKIP };

#define CLIENT_NAME_BYTES_MAX 256

struct client {
    struct server *server;
    struct worker *worker;
    struct tarn_session *session; /* the worker's; online while a handler runs */
    struct reply reply;           /* protocol 2 until HELLO 3; out is the output buffer */
    uint64_t id;                  /* 1, 2, ... over the server's life */
    bool authenticated;
    bool close_after_reply; /* set by a handler: QUIT, protocol errors */
    enum client_reply_mode reply_mode;
    bool reply_skip_next; /* CLIENT REPLY SKIP: for the command after this one */
    bool no_evict, no_touch;
    bool in_multi;   /* after MULTI: requests are queued, not executed */
    bool in_exec;    /* EXEC executes: the store is between begin and end */
    bool is_monitor; /* after MONITOR */
    /* What is being executed, so that an error can say more of its keys. Else old. */
    const struct command *asked_command;
    const struct resp_request *asked;
    struct transaction *transaction; /* cmd_transaction.c's; NULL without MULTI or WATCH */
    /* Never NULL, "" when not set; change through client_set_name() and client_set_lib(). */
    const char *name;
    const char *lib_name, *lib_version;
    char address[64], local_address[64]; /* "127.0.0.1:1234" */
};

/* Reply with a value of the store. Small ones are copied into the output buffer; from 16 KiB on
 * the bytes are sent from the store itself (pinned until sent). */
void client_reply_value(struct client *client, struct tarn_bytes value);
/* Reply with `size` bytes of a value of the store, from `offset` on. */
void client_reply_part(struct client *client, struct tarn_bytes value, size_t offset, size_t size);
/* Only the bytes, without the framing of a reply: the handler writes that around them. */
void client_append_part(struct client *client, struct tarn_bytes value, size_t offset, size_t size);

/* tarn_begin() and tarn_end() of one command, which do nothing inside EXEC. */
void client_begin(struct client *client, const struct tarn_bytes *keys, size_t count);
void client_end(struct client *client);

/* After a call of the store answered FULL: wait a moment for memory; true: try again. Views that
 * the store has returned are no longer valid. False: there will be none, answer the error. */
bool client_make_room(struct client *client);

/* The answer tells of the whole store, or of changes the session has not seen: it waits for every
 * change made so far to be acknowledged. */
void client_saw_everything(struct client *client);

/* Count key look-ups an ordinary command made itself (MGET, EXISTS ...), for keyspace_hits and
 * keyspace_misses. Gathered reads are counted by the connection. A key that could not be read is a
 * miss. */
void client_count_lookups(struct client *client, uint64_t hits, uint64_t misses);

/* Forget MULTI's queue and WATCH; also when the client goes. */
void client_transaction_end(struct client *client);
bool client_transaction_writes(const struct client *client); /* is a queued request a write? */
/* The keys of all queued requests; how many there are. */
size_t client_transaction_keys_count(const struct client *client);
void client_transaction_keys(const struct client *client, struct tarn_bytes *ret_keys);
size_t client_transaction_bytes(const struct client *client); /* memory of the queue */

/* What is done on a thread of its own. */
enum job_kind { JOB_RELOAD, JOB_SAVE, JOB_BACKUP, JOB_SHUTDOWN, JOBS_COUNT };

/* Start it. The client's later requests wait, while the worker serves others, until it is done;
 * then the worker answers +OK, or -ERR and the reason. If one of the kind is under way already,
 * answers an error at once. argument: as server_job_start(). */
void client_job(struct client *client, enum job_kind kind, const char *argument);

/* SHUTDOWN with a checkpoint before: the client waits for it and sees the end of the server, or if
 * it fails an error, and the server goes on. */
void client_shutdown(struct client *client);
/* It is to go on when the checkpoint under way is done. False: there is none. */
bool server_abort_shutdown(struct server *server);

/* --- waiting: park.c. The client's later requests wait, while the worker serves others. Not inside
 * EXEC, but for client_pause(). --- */

/* WAIT: answer that there is no replica when the time is over; 0: never but by CLIENT UNBLOCK. */
void client_wait_replicas(struct client *client, uint64_t timeout_ms);
/* WAITAOF: answer when this client's changes are synced (log), or when the time is over, which it
 * will be first if replicas are waited for, too. Answers at once if it can. */
void client_wait_synced(struct client *client, bool log, bool replicas, uint64_t timeout_ms);
/* Answer OK so much later. */
void client_sleep(struct client *client, uint64_t ms);
/* CLIENT PAUSE: hold the requests of all clients, or only those that write; answers OK when that is
 * in force. A pause under way is made longer and wider, never shorter or narrower. */
void client_pause(struct client *client, uint64_t ms, bool all);
/* If clients are paused, hold this one with its request, which is then admitted anew: true. */
bool client_hold_if_paused(struct client *client, bool writes);

/* --- MONITOR: monitor.c --- */

/* Show the client what all others execute, until it is reset or closed; answers OK. */
void client_monitor(struct client *client);
void client_monitor_end(struct client *client); /* nothing happens if it does not */

#endif
