/* See held_log.h. The linker sends the calls here (-Wl,--wrap). */
#include "lib/held_log.h"

#include <stdio.h>

#include "tarn.h"

struct held_log held;

bool __real_tarn_reached(struct tarn *store, uint64_t sequence, enum tarn_level level);
uint64_t __real_tarn_session_sequence(struct tarn_session *session);
uint64_t __real_tarn_sequence(struct tarn *store);
void __real_tarn_hurry(struct tarn *store, uint64_t sequence, enum tarn_level level);
int __real_tarn_await(struct tarn *store, uint64_t sequence, enum tarn_level level,
                      uint64_t timeout_us);
int __wrap_tarn_await(struct tarn *store, uint64_t sequence, enum tarn_level level,
                      uint64_t timeout_us);
void __real_tarn_log_stats_get(struct tarn *store, struct tarn_log_stats *ret_stats);
bool __wrap_tarn_reached(struct tarn *store, uint64_t sequence, enum tarn_level level);
uint64_t __wrap_tarn_session_sequence(struct tarn_session *session);
uint64_t __wrap_tarn_sequence(struct tarn *store);
void __wrap_tarn_hurry(struct tarn *store, uint64_t sequence, enum tarn_level level);
void __wrap_tarn_log_stats_get(struct tarn *store, struct tarn_log_stats *ret_stats);

bool __wrap_tarn_reached(struct tarn *store, uint64_t sequence, enum tarn_level level)
{
    if (!held.on)
        return __real_tarn_reached(store, sequence, level);
    held.looks++;
    return sequence <= (level == TARN_ACKNOWLEDGED ? held.reached : held.durable);
}

uint64_t __wrap_tarn_session_sequence(struct tarn_session *session)
{
    return held.on ? held.sequence : __real_tarn_session_sequence(session);
}

uint64_t __wrap_tarn_sequence(struct tarn *store)
{
    return held.on ? held.sequence : __real_tarn_sequence(store);
}

void __wrap_tarn_hurry(struct tarn *store, uint64_t sequence, enum tarn_level level)
{
    if (held.on)
        held.hurried = sequence;
    else
        __real_tarn_hurry(store, sequence, level);
}

int __wrap_tarn_await(struct tarn *store, uint64_t sequence, enum tarn_level level,
                      uint64_t timeout_us)
{
    if (!held.on)
        return __real_tarn_await(store, sequence, level, timeout_us);
    held.awaited = sequence;
    if (held.state == TARN_OK && held.reached < sequence)
        held.reached = sequence;
    return held.state == TARN_OK ? TARN_OK : TARN_UNSURE;
}

void __wrap_tarn_log_stats_get(struct tarn *store, struct tarn_log_stats *ret_stats)
{
    __real_tarn_log_stats_get(store, ret_stats);
    if (!held.on)
        return;
    ret_stats->state = held.state;
    snprintf(ret_stats->failure, sizeof ret_stats->failure, "the test says so");
}
