/* What other processes of this machine use: who listens on a port, processor time, memory. Figures,
 * not effects: nothing here fails, what cannot be found out is 0 (a process that has ended, or that
 * belongs to somebody else).
 *
 * proc: "/proc" in earnest; a folder made up like it in tests. */
#ifndef OS_OBSERVE_H
#define OS_OBSERVE_H

#include <stdint.h>

/* The processes that listen on TCP `port` of any address of this machine (of this network
 * namespace), each once, however many sockets and threads they do it with. Returns how many of
 * them are in ret_pids, at most pids_max. It looks through the descriptors of every process that
 * it may look at: not for use in a loop. */
unsigned observe_listeners(const char *proc, uint16_t port, int *ret_pids, unsigned pids_max);

/* Processor time since the process began, user and system, of all its threads, those that ended
 * included to the precision of the kernel's tick (10 ms). */
uint64_t observe_cpu_ns(const char *proc, int pid);

/* Resident memory. */
uint64_t observe_memory_bytes(const char *proc, int pid);

/* Processor time of the calling thread. */
uint64_t observe_thread_cpu_ns(void);

#endif
