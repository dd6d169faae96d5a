/* A log that goes on when the test says so. While `held.on`, what the store says of its log
 * (tarn_reached(), tarn_await(), tarn_session_sequence() ...) is made up: each
 * session's latest calls made or saw changes up to `held.sequence`, and those up to `held.reached`
 * are acknowledged, and up to `held.durable` synced. Else they are the store's own. */
#ifndef LIB_HELD_LOG_H
#define LIB_HELD_LOG_H

#include <stdbool.h>
#include <stdint.h>

extern struct held_log {
    bool on;
    uint64_t sequence, reached, durable;
    uint64_t hurried; /* the last sequence asked for */
    uint64_t awaited; /* ... waited for: tarn_await() has it acknowledged */
    int state;        /* of the log: TARN_OK, TARN_NOSPACE or TARN_IO */
    unsigned looks;   /* calls of tarn_reached() */
} held;

#endif
