/* A data file on disk whose reads come when the test says so: tarn_fetch_*, tarn_stream_* and the
 * reads of tarn.h, wrapped (Makefile: LATE_WRAP), over a store that is in memory all the time. It
 * notes every read of a key that was not fetched, which would have waited for the disk. One thread.
 */
#ifndef LIB_LATE_DISK_H
#define LIB_LATE_DISK_H

#include "tarn.h"

struct late_disk {
    bool on;            /* else everything is as in memory */
    uint64_t random;    /* decides what is in the cache */
    unsigned cached;    /* per cent of fetched keys that need no read */
    size_t far_bytes;   /* larger values are read by pieces ... */
    size_t piece_bytes; /* ... of this */
    size_t keys_max;    /* fetches beyond so many keys at a time: FULL */
    size_t records_max; /* ... so many that have come: their reads are FULL */
    const char *bad;    /* reads of this key fail: IO; NULL: none */
    uint64_t bad_from;  /* ... of a far one, pieces from this offset on */
    /* what happened */
    size_t blocked; /* reads that waited */
    size_t fetches, keys, fulls, pieces;
    size_t under_way, held; /* fetches and pieces not come; keys of fetches not ended */
    size_t streams;         /* open */
};
extern struct late_disk late_disk;

void late_begin(uint64_t seed); /* on, nothing cached, nothing far, no limit */
void late_end(void);            /* checks that nothing was left open */
/* One of those under way comes, by `random`; false: there is none. tarn_fetch_poll() is due. */
bool late_come(uint64_t random);
/* A loop turn is over: what was cached may be gone. */
void late_turn(void);

#endif
