/* What one worker counts. One writer, the worker's thread; any thread reads. No locked instruction
 * on the request path: a counter is a relaxed load and a relaxed store.
 *
 * Resetting (CONFIG RESETSTAT) must not write what another thread owns: the server moves a
 * generation on, from that moment readers take a worker with an older one for zero, and the worker
 * clears its figures when it next counts. */
#ifndef SERVER_STATS_H
#define SERVER_STATS_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/histogram.h"
#include "server/command.h"

typedef _Atomic uint64_t stats_counter;

#define STATS_ERROR_WORDS_MAX      128 /* distinct first words of error replies, as in Redis */
#define STATS_ERROR_WORD_BYTES_MAX 31

struct stats_command {
    stats_counter calls, ns_total, rejected, failed;
    _Atomic(struct histogram *) latency; /* ns; NULL until the first call */
};

struct stats_error {
    char word[STATS_ERROR_WORD_BYTES_MAX + 1];
    uint64_t count;
};

struct stats {
    const _Atomic uint64_t *generation_wanted; /* the server's */
    _Atomic uint64_t generation;
    stats_counter connections, connections_rejected;
    stats_counter commands, hits, misses;
    stats_counter input_bytes, output_bytes;
    stats_counter errors, output_cuts, idle_closed;
    unsigned commands_count;
    struct stats_command *by_command; /* by command id */
    pthread_mutex_t errors_lock;      /* guards the two below */
    struct stats_error *by_error;     /* NULL until the first error */
    unsigned errors_count;
};

/* generation: the server's, read at every reset check; must outlive the stats. Errors: NOMEM. */
TARN_MUST int stats_init(struct stats *s, const _Atomic uint64_t *generation);
void stats_done(struct stats *s); /* allowed on a zeroed struct */

/* --- the worker's thread --- */

static inline void stats_add(stats_counter *c, uint64_t n)
{
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* Once a loop turn, before counting: obey a reset. */
void stats_refresh(struct stats *s);

/* `count` calls of a command took ns in all. */
void stats_record_calls(struct stats *s, const struct command *command, uint64_t count,
                        uint64_t ns);
/* An error reply: text starts after the '-'; command may be NULL. rejected: it was not executed. */
void stats_record_error(struct stats *s, const struct command *command, bool rejected,
                        struct tarn_bytes text);

/* --- any thread --- */

/* False while the worker has not yet obeyed a reset: all its figures count as zero. */
bool stats_is_current(const struct stats *s);

static inline uint64_t stats_read(const stats_counter *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

void stats_errors_visit(struct stats *s,
                        void (*visit)(void *context, const char *word, uint64_t count),
                        void *context);

#endif
