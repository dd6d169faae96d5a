/* Allocations of the code under test that fail on demand. The Makefile links every test program
 * with -Wl,--wrap for malloc, calloc, realloc, aligned_alloc, strdup and strndup; until one is
 * armed they pass every call on. libc's own allocations (threads, stdio) and cmocka's are not
 * touched. */
#ifndef LIB_FAULT_MALLOC_H
#define LIB_FAULT_MALLOC_H

#include <stdbool.h>
#include <stdint.h>

/* Fail the nth allocation from now on (1-based) of any thread; if stays, the later ones too.
 * nth 0: only count. */
void fault_malloc_arm(uint64_t nth, bool stays);
/* No more failures. Returns how many allocations were failed since armed. */
uint64_t fault_malloc_disarm(void);
uint64_t fault_malloc_calls(void); /* since armed */

#endif
