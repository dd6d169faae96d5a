/* Watching the server's end. How: a thread of its own, as the one that ends the server may hang in
 * a system call. It sleeps until a signal comes or the next notice is due: one second after the
 * beginning, then each time twice as late.
 *
 * Invariants: 1. Nobody else reads the signals meanwhile. 2. The thread touches nothing of the
 * server, which is being taken apart.
 * Failure modes: none once it runs. */
#include "server/farewell.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/log.h"

#define FIRST_NOTICE_NS 1000000000ull

struct farewell {
    const struct os *os;
    int signals_fd;
    bool signalled;
    uint64_t start_ns;
    _Atomic(const char *) waits_for;
    _Atomic bool ended;
    struct loop loop;
    pthread_t thread;
};

static void take_signals(struct farewell *f)
{
    for (;;) {
        int signal = loop_signals_read(f->signals_fd);
        if (signal < 0)
            return;
        if (signal == SIGHUP)
            continue;
        if (f->signalled) {
            log_event(LOG_WARNING, "server", "stopped",
                      "reason=\"second signal\" waited_for=\"%s\"", atomic_load(&f->waits_for));
            _exit(1);
        }
        f->signalled = true;
        log_event(LOG_INFO, "server", "stopping", "signal=%s waiting_for=\"%s\"",
                  signal == SIGTERM ? "SIGTERM" : "SIGINT", atomic_load(&f->waits_for));
    }
}

/* Say what is waited for, if it is time; returns when that is again. */
static uint64_t notice(struct farewell *f, uint64_t now, uint64_t due_ns)
{
    if (now < due_ns)
        return due_ns;
    uint64_t passed = now - f->start_ns;
    log_event(LOG_WARNING, "server", "still-stopping",
              "waiting_for=\"%s\" seconds=%llu advice=\"another signal ends it at once\"",
              atomic_load(&f->waits_for), (unsigned long long)(passed / 1000000000));
    return f->start_ns + 2 * passed;
}

static void *farewell_main(void *argument)
{
    struct farewell *f = argument;
    uint64_t due_ns = f->start_ns + FIRST_NOTICE_NS;
    while (!atomic_load(&f->ended)) {
        struct loop_event events[LOOP_EVENTS_MAX];
        unsigned count;
        bool woken;
        uint64_t now = f->os->monotonic_ns(f->os);
        due_ns = notice(f, now, due_ns);
        if (loop_wait_ns(&f->loop, due_ns > now ? due_ns - now : 0, events, &count, &woken) != 0)
            return NULL;
        take_signals(f);
    }
    return NULL;
}

static int start(struct farewell *f)
{
    int status = loop_open(&f->loop);
    if (status == 0)
        status = loop_add(&f->loop, f->signals_fd, EPOLLIN, f);
    if (status == 0)
        status = -pthread_create(&f->thread, NULL, farewell_main, f);
    if (status != 0)
        loop_close(&f->loop);
    return status;
}

int farewell_begin(const struct os *os, int signals_fd, bool signalled,
                   struct farewell **ret_farewell)
{
    struct farewell *f = calloc(1, sizeof *f);
    if (f == NULL)
        return -ENOMEM;
    f->os = os;
    f->signals_fd = signals_fd;
    f->signalled = signalled;
    f->start_ns = os->monotonic_ns(os);
    atomic_init(&f->waits_for, "clients");
    int status = start(f);
    if (status != 0)
        free(f);
    else
        *ret_farewell = f;
    return status;
}

void farewell_waits_for(struct farewell *farewell, const char *what)
{
    if (farewell != NULL)
        atomic_store(&farewell->waits_for, what);
}

void farewell_end(struct farewell *farewell)
{
    if (farewell == NULL)
        return;
    atomic_store(&farewell->ended, true);
    loop_wake(&farewell->loop);
    pthread_join(farewell->thread, NULL);
    loop_close(&farewell->loop);
    free(farewell);
}
