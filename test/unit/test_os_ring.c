/* Goal: what a ring gives back is what the file holds, each read once, with both engines: also when
 * attempts come short, are to be tried again or fail, where the file ends, and beyond the depth.
 * Method: a file whose bytes tell their place; what attempts give is meddled with; a struct os
 * whose reads are held until the test lets them go. Where io_uring is not there its half is left
 * out.
 *
 * Bugs planted once to see it fail: a read continued at `done` instead of the aligned place before;
 * a short read taken for the end of the file; one beyond the depth forgotten; EAGAIN told as an
 * error at once; the descriptor not told of what came before it was asked for. */
#include "lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/fault_malloc.h"
#include "lib/scratch.h"
#include "os/ring.h"

enum { FILE_BYTES = 40 * 4096 + 1000, READS = 60, READ_BYTES = 3 * 4096 };

static struct scratch scratch;
static int file_fd;

static unsigned char byte_at(uint64_t offset)
{
    return (unsigned char)(offset * 31 + offset / 4096);
}

static int set_up(void **state)
{
    (void)state;
    static unsigned char content[FILE_BYTES];
    for (size_t i = 0; i < sizeof content; i++)
        content[i] = byte_at(i);
    scratch_open(&scratch);
    file_write(scratch_at(&scratch, "file"), (struct tarn_bytes){content, sizeof content});
    file_fd = open(scratch_at(&scratch, "file"), O_RDONLY | O_DIRECT);
    if (file_fd < 0)
        file_fd = open(scratch_at(&scratch, "file"), O_RDONLY);
    return file_fd < 0;
}

static int tear_down(void **state)
{
    (void)state;
    close(file_fd);
    scratch_close(&scratch);
    return 0;
}

/* --- reads and what is expected of them --- */

static void prepare(struct ring_read *read, uint64_t offset, size_t size)
{
    *read = (struct ring_read){.fd = file_fd, .size = size, .offset = offset};
    read->data = aligned_alloc(RING_ALIGN_BYTES, size);
    memset(read->data, 0, size);
}

static void check(struct ring_read *read)
{
    const unsigned char *data = read->data;
    uint64_t left = read->offset < FILE_BYTES ? FILE_BYTES - read->offset : 0;
    assert_int_equal(read->status, 0);
    assert_int_equal(read->done, read->size < left ? read->size : left);
    for (size_t i = 0; i < read->done; i++)
        if (data[i] != byte_at(read->offset + i))
            fail_msg("byte %zu of the read at %llu", i, (unsigned long long)read->offset);
    assert_true(read->ended_ns >= read->begun_ns && read->begun_ns > 0);
    free(read->data);
    read->data = NULL;
}

static struct ring_read *next(struct ring *ring)
{
    struct ring_read *read;
    while ((read = ring_reap(ring)) == NULL)
        ring_wait(ring, false);
    return read;
}

/* NULL: this engine cannot be had here. */
static struct ring *open_ring(const struct os *os, struct ring_settings settings)
{
    struct ring *ring = NULL;
    int status = ring_open(os, &settings, &ring);
    if (status != 0)
        assert_int_equal(settings.engine, RING_URING);
    else if (settings.engine != RING_AUTO)
        assert_int_equal(ring_engine(ring), settings.engine);
    return ring;
}

/* --- meddling --- */

struct meddle {
    _Atomic unsigned calls;
    unsigned every; /* nth attempts are meddled with */
    int answer;     /* a negative errno, or how many bytes come at most */
};

static int meddle(void *context, const struct ring_read *read, int result)
{
    (void)read;
    struct meddle *m = context;
    if (atomic_fetch_add(&m->calls, 1) % m->every != 0)
        return result;
    return m->answer < 0 || m->answer < result ? m->answer : result;
}

static void read_all(enum ring_engine engine, unsigned depth, struct meddle *m)
{
    struct ring *ring =
        open_ring(os_real(), (struct ring_settings){depth, engine, m != NULL ? meddle : NULL, m});
    if (ring == NULL)
        return;
    static struct ring_read reads[READS];
    for (uint64_t i = 0; i < READS; i++) {
        prepare(&reads[i], i * 4096 * 7 % (45 * 4096), READ_BYTES);
        ring_add(ring, &reads[i]);
        if (i % 7 == 0)
            ring_submit(ring);
    }
    ring_submit(ring);
    for (unsigned i = 0; i < READS; i++) {
        struct ring_read *read = next(ring);
        assert_non_null(read->data); /* the first time */
        check(read);
    }
    assert_null(ring_reap(ring));
    ring_close(ring);
}

static void test_read_all(void **state)
{
    (void)state;
    for (enum ring_engine engine = RING_AUTO; engine <= RING_THREADS; engine++)
        for (unsigned depth = 1; depth <= 64; depth *= 4)
            read_all(engine, depth, NULL);
}

static void test_short(void **state)
{
    (void)state;
    static const int sizes[] = {1 + 4096, 4096, 8191, 8192, 5000};
    for (enum ring_engine engine = RING_URING; engine <= RING_THREADS; engine++)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
            for (unsigned every = 1; every < 4; every++)
                read_all(engine, 4, &(struct meddle){.every = every, .answer = sizes[i]});
}

static void test_again(void **state)
{
    (void)state;
    for (enum ring_engine engine = RING_URING; engine <= RING_THREADS; engine++) {
        read_all(engine, 4, &(struct meddle){.every = 2, .answer = -EAGAIN});
        read_all(engine, 64, &(struct meddle){.every = 3, .answer = -EINTR});
    }
}

static int fail_one(void *context, const struct ring_read *read, int result)
{
    return read->offset == 8192 ? *(int *)context : result;
}

/* One read fails, others do not; what never gets anywhere ends, too. */
static void test_failure(void **state)
{
    (void)state;
    for (enum ring_engine engine = RING_URING; engine <= RING_THREADS; engine++) {
        int answers[] = {-EIO, -EAGAIN, -ENOMEM};
        for (size_t a = 0; a < 3; a++) {
            struct ring *ring =
                open_ring(os_real(), (struct ring_settings){2, engine, fail_one, &answers[a]});
            struct ring_read reads[5];
            for (uint64_t i = 0; ring != NULL && i < 5; i++) {
                prepare(&reads[i], i * 4096, 4096);
                ring_add(ring, &reads[i]);
            }
            for (unsigned i = 0; ring != NULL && i < 5; i++) {
                struct ring_read *read = next(ring);
                if (read != &reads[2]) {
                    check(read);
                    continue;
                }
                assert_int_equal(read->status, answers[a]);
                assert_int_equal(read->done, 0);
                free(read->data);
            }
            ring_close(ring);
        }
    }
}

/* --- the descriptor --- */

static bool is_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static void *wake(void *ring)
{
    ring_wake(ring);
    return NULL;
}

static void test_descriptor(void **state)
{
    (void)state;
    for (enum ring_engine engine = RING_URING; engine <= RING_THREADS; engine++) {
        struct ring *ring =
            open_ring(os_real(), (struct ring_settings){.depth = 4, .engine = engine});
        if (ring == NULL)
            continue;
        struct ring_read early, late;
        prepare(&early, 0, 4096);
        ring_add(ring, &early);
        ring_wait(ring, false);
        int fd = ring_fd(ring);
        assert_true(fd >= 0 && is_readable(fd)); /* of what came before */
        assert_int_equal(ring_fd(ring), fd);
        check(ring_reap(ring));
        ring_quiet(ring);
        assert_false(is_readable(fd));

        prepare(&late, 4096, 4096);
        ring_add(ring, &late);
        ring_submit(ring);
        struct pollfd p = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, -1), 1);
        ring_quiet(ring);
        check(ring_reap(ring));

        pthread_t thread;
        pthread_create(&thread, NULL, wake, ring);
        ring_wait(ring, true);
        pthread_join(thread, NULL);
        assert_false(is_readable(fd));
        ring_close(ring);
    }
}

/* --- reads that are held --- */

struct held {
    struct os os;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open;
    unsigned inside, inside_max, calls;
};

static int held_read(const struct os *os, int fd, void *data, size_t size, uint64_t offset,
                     size_t *ret_size)
{
    struct held *h = os->context;
    pthread_mutex_lock(&h->lock);
    h->calls++;
    if (++h->inside > h->inside_max)
        h->inside_max = h->inside;
    pthread_cond_broadcast(&h->changed);
    while (!h->open)
        pthread_cond_wait(&h->changed, &h->lock);
    h->inside--;
    pthread_mutex_unlock(&h->lock);
    return os_real()->read_at(os, fd, data, size, offset, ret_size);
}

static void held_init(struct held *h)
{
    *h = (struct held){.os = *os_real()};
    h->os.read_at = held_read;
    h->os.context = h;
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->changed, NULL);
}

static void held_await(struct held *h, unsigned inside)
{
    pthread_mutex_lock(&h->lock);
    while (h->inside < inside)
        pthread_cond_wait(&h->changed, &h->lock);
    pthread_mutex_unlock(&h->lock);
}

static void held_open(struct held *h)
{
    pthread_mutex_lock(&h->lock);
    h->open = true;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
}

static void *held_opener(void *h)
{
    held_open(h);
    return NULL;
}

/* As many at once as the depth says, and no more. */
static void test_depth(void **state)
{
    (void)state;
    struct held h;
    held_init(&h);
    struct ring *ring = open_ring(&h.os, (struct ring_settings){.depth = 3});
    assert_int_equal(ring_engine(ring), RING_THREADS); /* a test's os */
    struct ring_read reads[9];
    for (uint64_t i = 0; i < 9; i++) {
        prepare(&reads[i], i * 4096, 4096);
        ring_add(ring, &reads[i]);
    }
    ring_submit(ring);
    held_await(&h, 3);
    assert_null(ring_reap(ring));
    held_open(&h);
    for (unsigned i = 0; i < 9; i++)
        check(next(ring));
    assert_int_equal(h.inside_max, 3);
    ring_close(ring);
}

/* Closing waits for what is under way and forgets what is not. */
static void test_close(void **state)
{
    (void)state;
    struct held h;
    held_init(&h);
    struct ring *ring = open_ring(&h.os, (struct ring_settings){.depth = 2});
    struct ring_read reads[5];
    for (uint64_t i = 0; i < 5; i++) {
        prepare(&reads[i], i * 4096, 4096);
        ring_add(ring, &reads[i]);
    }
    ring_submit(ring);
    held_await(&h, 2);
    pthread_t thread;
    pthread_create(&thread, NULL, held_opener, &h);
    ring_close(ring);
    pthread_join(thread, NULL);
    assert_int_equal(h.calls, 2);
    for (unsigned i = 0; i < 5; i++)
        free(reads[i].data);
}

/* --- where there is no io_uring --- */

struct refused {
    int answer;
    bool ran;
    int status;
    enum ring_engine engine;
};

static void *open_refused(void *argument)
{
    struct refused *r = argument;
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)r->answer),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        return NULL; /* not allowed to here */
    r->ran = true;
    struct ring *ring;
    struct ring_settings settings = {.depth = 8, .engine = RING_URING};
    r->status = ring_open(os_real(), &settings, &ring);
    settings.engine = RING_AUTO;
    if (ring_open(os_real(), &settings, &ring) != 0)
        return NULL;
    r->engine = ring_engine(ring);
    ring_close(ring);
    return NULL;
}

static void test_refused(void **state)
{
    (void)state;
    static const int answers[] = {EPERM, ENOSYS};
    for (size_t i = 0; i < 2; i++) {
        struct refused r = {.answer = answers[i]};
        pthread_t thread;
        pthread_create(&thread, NULL, open_refused, &r);
        pthread_join(thread, NULL);
        if (!r.ran)
            continue;
        assert_int_equal(r.status, -answers[i]);
        assert_int_equal(r.engine, RING_THREADS);
    }
}

static void test_no_memory(void **state)
{
    (void)state;
    size_t open_before = scratch_fd_count();
    for (enum ring_engine engine = RING_AUTO; engine <= RING_THREADS; engine++)
        for (uint64_t nth = 1; nth < 5; nth++) {
            struct ring *ring = NULL;
            struct ring_settings settings = {.depth = 4, .engine = engine};
            fault_malloc_arm(nth, true);
            int status = ring_open(os_real(), &settings, &ring);
            bool failed = fault_malloc_disarm() > 0;
            if (failed && status != 0)
                assert_int_equal(status, -ENOMEM);
            if (status == 0)
                ring_close(ring);
            assert_int_equal(scratch_fd_count(), open_before);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_all),   cmocka_unit_test(test_short),
        cmocka_unit_test(test_again),      cmocka_unit_test(test_failure),
        cmocka_unit_test(test_descriptor), cmocka_unit_test(test_depth),
        cmocka_unit_test(test_close),      cmocka_unit_test(test_refused),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
