/* What every unit test includes: cmocka with the headers it wants before it. */
#ifndef LIB_TEST_H
#define LIB_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Repetitions are divided by this: under ThreadSanitizer all is some 20 times slower. */
#if defined(__SANITIZE_THREAD__)
enum { TEST_SLOWER = 8 };
#else
enum { TEST_SLOWER = 1 };
#endif

#endif
