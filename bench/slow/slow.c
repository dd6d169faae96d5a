/* A slow disk: a file of which every read takes a fixed time, any number of them together.
 *
 *     slow FILE PLACE MILLISECONDS
 *
 * FILE's bytes are shown at PLACE (a file that is there, mounted over; read only) until it is
 * unmounted. A request is read at once, and its answer kept until its time has come: the delay is
 * the same for all, so they are answered in the order they came in, by one thread. (nbdkit's delay
 * filter behind nbdfuse has ten requests under way at most.) */
#define FUSE_USE_VERSION 34
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse_lowlevel.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define UNDER_WAY_MAX 4096

struct answer {
    fuse_req_t request;
    struct timespec due;
    char *data;
    ssize_t size; /* or a negative errno */
};

static struct {
    int fd;
    long delay_ns;
    struct stat stat;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct answer queue[UNDER_WAY_MAX];
    unsigned begin, count;
} slow = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void *answer_all(void *context)
{
    (void)context;
    for (;;) {
        pthread_mutex_lock(&slow.lock);
        while (slow.count == 0)
            pthread_cond_wait(&slow.changed, &slow.lock);
        struct answer a = slow.queue[slow.begin];
        slow.begin = (slow.begin + 1) % UNDER_WAY_MAX;
        slow.count--;
        pthread_cond_broadcast(&slow.changed);
        pthread_mutex_unlock(&slow.lock);
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &a.due, NULL) == EINTR)
            continue;
        if (a.size < 0)
            fuse_reply_err(a.request, (int)-a.size);
        else
            fuse_reply_buf(a.request, a.data, (size_t)a.size);
        free(a.data);
    }
    return NULL;
}

static void on_read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                    struct fuse_file_info *info)
{
    (void)inode, (void)info;
    struct answer a = {.request = request, .data = malloc(size)};
    clock_gettime(CLOCK_MONOTONIC, &a.due);
    a.due.tv_nsec += slow.delay_ns;
    a.due.tv_sec += a.due.tv_nsec / 1000000000;
    a.due.tv_nsec %= 1000000000;
    a.size = a.data ? pread(slow.fd, a.data, size, offset) : -1;
    if (a.size < 0)
        a.size = -(a.data ? errno : ENOMEM);
    pthread_mutex_lock(&slow.lock);
    while (slow.count == UNDER_WAY_MAX)
        pthread_cond_wait(&slow.changed, &slow.lock);
    slow.queue[(slow.begin + slow.count++) % UNDER_WAY_MAX] = a;
    pthread_cond_broadcast(&slow.changed);
    pthread_mutex_unlock(&slow.lock);
}

static void on_getattr(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
    (void)info;
    struct stat stat = slow.stat;
    stat.st_ino = inode;
    stat.st_mode = S_IFREG | 0444;
    fuse_reply_attr(request, &stat, 3600);
}

/* Through the page cache unless the reader asks for direct reads. */
static void on_open(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
    (void)inode;
    fuse_reply_open(request, info);
}

static const struct fuse_lowlevel_ops operations = {
    .getattr = on_getattr, .open = on_open, .read = on_read};

int main(int argc, char **argv)
{
    char *words[] = {argv[0], "-o", "ro,fsname=slow", NULL};
    struct fuse_args args = FUSE_ARGS_INIT(3, words);
    pthread_t thread;
    if (argc != 4)
        errx(1, "slow FILE PLACE MILLISECONDS");
    slow.fd = open(argv[1], O_RDONLY | O_CLOEXEC);
    slow.delay_ns = strtol(argv[3], NULL, 10) * 1000000;
    if (slow.fd < 0 || fstat(slow.fd, &slow.stat) != 0)
        err(1, "%s", argv[1]);
    struct fuse_session *session = fuse_session_new(&args, &operations, sizeof operations, NULL);
    if (session == NULL || fuse_session_mount(session, argv[2]) != 0)
        errx(1, "cannot mount at %s", argv[2]);
    if (pthread_create(&thread, NULL, answer_all, NULL) != 0)
        errx(1, "no thread");
    int status = fuse_session_loop(session);
    fuse_session_unmount(session);
    return status != 0;
}
