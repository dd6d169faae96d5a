/* Setup and teardown of a test that uses files through a failing os: a scratch folder and a
 * fault_os, both empty again at the end. Include lib/test.h first. */
#ifndef LIB_OS_FIXTURE_H
#define LIB_OS_FIXTURE_H

#include "lib/fault_os.h"
#include "lib/scratch.h"

static struct scratch scratch;
static struct fault_os fault;

static int setup(void **state)
{
    (void)state;
    scratch_open(&scratch);
    fault_os_init(&fault, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_true(fault_os_clean(&fault));
    fault_os_done(&fault);
    scratch_close(&scratch);
    return 0;
}

#endif
