/* What a process does to a store, decided by a seed alone, so that another process knows it: the
 * one plays the script and tells through a pipe how far it is, until it is killed or its disk is;
 * the other one reads that, opens what is left and judges it (lib/history.h, doc/durability.md). */
#ifndef LIB_CRASH_SCRIPT_H
#define LIB_CRASH_SCRIPT_H

#include "lib/history.h"
#include "lib/simulated_disk.h"
#include "os/os.h"
#include "tarn.h"

struct script {
    uint64_t seed;
    unsigned count; /* of steps */
    const char *directory;
    struct tarn_options options;
};

/* durability: the dial's; the rest of it is the seed's. */
void script_init(struct script *s, uint64_t seed, enum tarn_durability durability, unsigned count,
                 const char *directory);

/* Open the store, tell so, play all steps, close it. What goes wrong is told, too. */
void script_play(const struct script *s, const struct os *os, int pipe);

/* What the player is about. */
enum script_phase { SCRIPT_OPENS, SCRIPT_CHANGES, SCRIPT_CHECKPOINTS, SCRIPT_CLOSES };

/* What was heard of a script being played. */
struct script_heard {
    enum script_phase phase;
    bool late; /* set by the listener: what is heard now was perhaps never acknowledged in time */
    bool opened, closed;
    uint64_t acknowledged;
    char error[300]; /* what the player said went wrong; "" */
};

/* Read what there is, and add it to the history: until the end of the pipe, or (upto > 0) until so
 * many steps were acknowledged; without waiting if it is a pipe that does not. */
void script_hear(const struct script *s, int pipe, unsigned upto, struct history *h,
                 struct script_heard *heard);

struct script_tally {
    uint64_t points, acknowledged, lost, lost_most;
    uint64_t losses,
        wrong; /* points where too much was lost; where anything else was not as it should */
};

/* Open what is left, judge it, and make it the history's base; the store is closed again, every
 * third time with a checkpoint, so that its log does not grow for ever. False: failure says what is
 * wrong, and the tally counts it. */
bool script_judge(const struct script *s, const struct os *os, struct history *h,
                  const struct script_heard *heard, enum disk_end end, struct script_tally *tally,
                  char failure[1024]);

#endif
