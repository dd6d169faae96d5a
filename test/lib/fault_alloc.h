/* Memory that runs out on demand: include this in ONE .c file of a test program.
 *
 * It defines malloc, calloc, realloc and free for the whole program, over those of glibc, so that
 * the nth allocation of this thread can be made to fail. Sanitizers bring their own malloc: under
 * them FAULT_ALLOC is 0, nothing is defined, and tests skip. */
#ifndef LIB_FAULT_ALLOC_H
#define LIB_FAULT_ALLOC_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FAULT_ALLOC 0
#else
#define FAULT_ALLOC 1
#endif

static _Thread_local uint64_t fault_alloc_left; /* allocations until one fails; 0: none will */
static _Thread_local bool fault_alloc_fired;
static _Thread_local int64_t fault_alloc_live; /* allocated less freed, by this thread */

/* Fail the nth allocation from now (1-based; 0: none) and forget the last failure. */
static inline void fault_alloc_at(uint64_t nth)
{
    fault_alloc_left = nth;
    fault_alloc_fired = false;
}

#if FAULT_ALLOC
/* Visible, so that the C library's own calls (strdup) come here too. */
#define FAULT_ALLOC_VISIBLE __attribute__((visibility("default")))

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *data, size_t size);
void __libc_free(void *data);

static bool fault_alloc_fails(void)
{
    if (fault_alloc_left == 0 || --fault_alloc_left != 0)
        return false;
    fault_alloc_fired = true;
    errno = ENOMEM;
    return true;
}

FAULT_ALLOC_VISIBLE void *malloc(size_t size)
{
    void *data = fault_alloc_fails() ? NULL : __libc_malloc(size);
    fault_alloc_live += data != NULL;
    return data;
}

FAULT_ALLOC_VISIBLE void *calloc(size_t count, size_t size)
{
    void *data = fault_alloc_fails() ? NULL : __libc_calloc(count, size);
    fault_alloc_live += data != NULL;
    return data;
}

FAULT_ALLOC_VISIBLE void *realloc(void *old, size_t size)
{
    void *data = fault_alloc_fails() ? NULL : __libc_realloc(old, size);
    fault_alloc_live += data != NULL && old == NULL;
    return data;
}

FAULT_ALLOC_VISIBLE void free(void *data)
{
    fault_alloc_live -= data != NULL;
    __libc_free(data);
}
#endif

#endif
