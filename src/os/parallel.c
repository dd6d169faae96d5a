/* Fork and join with pthreads; see parallel.h. All signals are blocked in the new threads, so that
 * they are delivered where the program expects them. */
#include "os/parallel.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct job {
    void (*work)(void *context, unsigned index);
    void *context;
    unsigned index;
    pthread_t thread;
};

static void *start(void *argument)
{
    struct job *job = argument;
    job->work(job->context, job->index);
    return NULL;
}

void parallel_run(unsigned threads, void (*work)(void *context, unsigned index), void *context)
{
    unsigned started = 0;
    struct job *jobs = threads > 1 ? calloc(threads - 1, sizeof *jobs) : NULL;
    if (jobs != NULL) {
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        for (; started < threads - 1; started++) {
            jobs[started] = (struct job){work, context, started + 1, 0};
            if (pthread_create(&jobs[started].thread, NULL, start, &jobs[started]) != 0)
                break;
        }
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    work(context, 0);
    for (unsigned i = 0; i < started; i++)
        pthread_join(jobs[i].thread, NULL);
    free(jobs);
}
