/* One life of a store on a simulated disk, all decided by a seed: opened, worked with by a few
 * threads that take turns, killed or cut off from power at any moment (while it is opened, too),
 * opened again, several times over; and what it holds each time judged by what had been
 * acknowledged.
 *
 * What must hold (doc/durability.md): survivors are the first changes of all; steps are whole;
 * nothing acknowledged is lost beyond the dial's bound; what a recovery has shown stays; a store
 * that was closed is known to have been; it always opens again. */
#ifndef LIB_CRASH_RUN_H
#define LIB_CRASH_RUN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/simulated_disk.h"
#include "tarn.h"

/* Runs are told apart by the dial they began with, and by whether it was turned meanwhile. */
#define CRASH_DIALS 5

struct crash_row {
    uint64_t crashes, acknowledged; /* changes acknowledged before */
    uint64_t lost, lost_most;       /* of these: all together, and by one crash */
};

struct crash_tally {
    uint64_t runs, opened, in_recovery; /* in_recovery: crashes while it was opened */
    uint64_t closed, torn, checkpoints, full, failed_syncs;
    uint64_t losses,
        wrong; /* runs that lost too much; in which anything else was not as it should */
    struct crash_row rows[CRASH_DIALS][2]; /* by enum disk_end */
};

const char *crash_dial_name(unsigned dial);

/* False: something that must hold does not, failure says what. Adds to the tally. trace: NULL, or
 * where to write down all that happens. The whole process is the run's meanwhile (lib/turns.h). */
bool crash_run(uint64_t seed, struct crash_tally *tally, FILE *trace, char failure[1024]);

#endif
