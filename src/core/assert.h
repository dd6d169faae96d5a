/* Assertions for our own mistakes, always compiled in. Bytes from disk, socket or configuration
 * never reach one: they get a status code. */
#ifndef CORE_ASSERT_H
#define CORE_ASSERT_H

/* Print file, line and condition on stderr, then abort. */
_Noreturn void assert_failed(const char *condition, const char *file, int line);

#define ASSERT(condition)                                                                          \
    (__builtin_expect(!(condition), 0) ? assert_failed(#condition, __FILE__, __LINE__) : (void)0)

#endif
