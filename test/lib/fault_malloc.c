/* See fault_malloc.h. Counters are atomic, so that threads may allocate meanwhile. */
#include "lib/fault_malloc.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/fault_line.h"

static _Atomic uint64_t calls, failed, fail_nth;
static atomic_bool stays_failing;

/* For script/fault. */
static _Atomic uint64_t points; /* failures tried */
static pid_t process;

__attribute__((constructor)) static void begin_points(void)
{
    process = getpid();
}

__attribute__((destructor)) static void tell_points(void)
{
    if (points > 0 && getenv("TARN_FAULT_LINES") && getpid() == process)
        fault_line("nth allocation fails", points, 0, 0);
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t size);

void fault_malloc_arm(uint64_t nth, bool stays)
{
    atomic_store(&calls, 0);
    atomic_store(&failed, 0);
    atomic_store(&stays_failing, stays);
    atomic_store(&fail_nth, nth);
}

uint64_t fault_malloc_disarm(void)
{
    atomic_store(&fail_nth, 0);
    return atomic_load(&failed);
}

uint64_t fault_malloc_calls(void)
{
    return atomic_load(&calls);
}

static bool fails(void)
{
    uint64_t call = atomic_fetch_add(&calls, 1) + 1, nth = atomic_load(&fail_nth);
    if (nth == 0 || (call != nth && !(call > nth && atomic_load(&stays_failing))))
        return false;
    if (atomic_fetch_add(&failed, 1) == 0)
        atomic_fetch_add(&points, 1);
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : __real_aligned_alloc(alignment, size);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t size)
{
    return fails() ? NULL : __real_strndup(text, size);
}
