/* Waiting for signals without being interrupted by them; see interrupt.h. */
#include "cli/interrupt.h"

#include <sys/signalfd.h>
#include <unistd.h>

void interrupt_open(struct interrupt *interrupt)
{
    sigset_t watched;
    *interrupt = (struct interrupt){.fd = -1};
    sigemptyset(&watched);
    sigaddset(&watched, SIGINT);
    sigaddset(&watched, SIGTERM);
    sigaddset(&watched, SIGHUP);
    if (pthread_sigmask(SIG_BLOCK, &watched, &interrupt->before) != 0)
        return;
    interrupt->fd = signalfd(-1, &watched, SFD_NONBLOCK | SFD_CLOEXEC);
    if (interrupt->fd < 0)
        pthread_sigmask(SIG_SETMASK, &interrupt->before, NULL);
}

int interrupt_poll(struct interrupt *interrupt)
{
    struct signalfd_siginfo info;
    if (interrupt->fd >= 0 && read(interrupt->fd, &info, sizeof info) == sizeof info)
        interrupt->signal = (int)info.ssi_signo;
    return interrupt->signal;
}

void interrupt_close(struct interrupt *interrupt)
{
    if (interrupt->fd < 0)
        return;
    close(interrupt->fd);
    interrupt->fd = -1;
    pthread_sigmask(SIG_SETMASK, &interrupt->before, NULL);
}
