/* Run one function on several threads and wait for all: what index building and loading use. */
#ifndef OS_PARALLEL_H
#define OS_PARALLEL_H

/* Call work(context, i) for i = 0..threads-1, number 0 on the calling thread. The work must divide
 * itself among however many calls are made: where a thread cannot be created, fewer run. */
void parallel_run(unsigned threads, void (*work)(void *context, unsigned index), void *context);

#endif
