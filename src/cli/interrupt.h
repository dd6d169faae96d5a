/* SIGINT, SIGTERM and SIGHUP as something to ask for, so that long work is cancelled between two
 * steps and its temporary files are removed. No handler, no global: a signalfd. */
#ifndef CLI_INTERRUPT_H
#define CLI_INTERRUPT_H

#include <signal.h>
#include <stdbool.h>

struct interrupt {
    int fd;          /* -1: signals keep their usual effect */
    int signal;      /* the one that came, 0 if none */
    sigset_t before; /* the signal mask to restore */
};

/* Block the signals and watch for them; threads started from now on inherit that. Never fails: at
 * worst the signals keep their usual effect. */
void interrupt_open(struct interrupt *interrupt);
/* The signal that came since open, or 0. */
int interrupt_poll(struct interrupt *interrupt);
void interrupt_close(struct interrupt *interrupt);

#endif
