/* See qsbr.h. liburcu registers a thread once; the count of owners is the thread's own. */
#include "core/qsbr.h"

#include "core/assert.h"

static __thread unsigned registrations;

#if defined(__SANITIZE_THREAD__)
void *qsbr_tsan_tag(void)
{
    static char tag;
    return &tag;
}
#endif

void qsbr_register(void)
{
    if (registrations++ == 0)
        urcu_qsbr_register_thread();
}

void qsbr_unregister(void)
{
    ASSERT(registrations > 0);
    if (--registrations > 0)
        return;
    QSBR_TSAN_RELEASE();
    urcu_qsbr_unregister_thread();
}
