/* Threads that take turns: a program of several threads runs the same way each time it is given the
 * same seed. Between turns_begin() and turns_end() one thread at a time runs; whenever it locks,
 * waits, signals, yields or sleeps, the seed decides who goes on. Time stands still while anybody
 * can run, but for a little with each turn; when all wait it goes on to the first who waits for it.
 * A program in which nobody can ever go on is reported with what each waits for, and aborts.
 *
 * The test program must be linked with -Wl,--wrap for each function of TURNS_WRAP in the Makefile;
 * calls from within shared libraries are not seen, so nothing may wait there, but for liburcu's
 * grace periods, which are imitated. Reads and writes of shared memory without any of these calls
 * in between are not interrupted: this finds what goes wrong between critical sections, not in
 * missing ones, which ThreadSanitizer does. */
#ifndef LIB_TURNS_H
#define LIB_TURNS_H

#include <stdint.h>

/* The calling thread has the turn; no other thread of the process may be running code under test.
 */
void turns_begin(uint64_t seed);

/* Every thread that was created meanwhile must have been joined. */
void turns_end(void);

/* Here another one may have the turn. Outside of turns_begin() and turns_end() it does nothing. */
void turns_yield(void);

/* Turns taken and the time since turns_begin(), ns. */
uint64_t turns_taken(void);
uint64_t turns_now_ns(void);

#endif
