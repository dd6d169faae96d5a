/* Preloaded into the server under test: it is killed with SIGKILL in the $KILL_AT-th call that
 * touches files (opening, making, writing, syncing, cutting, renaming, linking, unlinking); in
 * every second one before the call, in the others after it. Of a write that is the last call only a
 * half is done. */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static _Atomic long calls;
static long kill_at;

__attribute__((constructor)) static void begin(void)
{
    const char *number = getenv("KILL_AT");
    kill_at = number != NULL ? atol(number) : 0;
}

static void die(void)
{
    (void)kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* Is this the last call, and not to be done? It dies here; is it the last that is done? 1. */
static int enter(void)
{
    int last = atomic_fetch_add(&calls, 1) + 1 == kill_at;
    if (last && kill_at % 2 == 0)
        die();
    return last;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define CALL(type, name, ...)                                                                      \
    int last = enter();                                                                            \
    type status = REAL(name)(__VA_ARGS__);                                                         \
    if (last)                                                                                      \
        die();                                                                                     \
    return status

int open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    if (strncmp(path, "/proc/", 6) == 0 || strncmp(path, "/sys/", 5) == 0)
        return REAL(open)(path, flags, mode);
    CALL(int, open, path, flags, mode);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    int last = enter();
    ssize_t written = REAL(pwrite)(fd, data, last && size > 1 ? size / 2 : size, offset);
    if (last)
        die();
    return written;
}

int fsync(int fd)
{
    CALL(int, fsync, fd);
}

int fdatasync(int fd)
{
    CALL(int, fdatasync, fd);
}

int ftruncate(int fd, off_t size)
{
    CALL(int, ftruncate, fd, size);
}

int rename(const char *from, const char *to)
{
    CALL(int, rename, from, to);
}

int link(const char *from, const char *to)
{
    CALL(int, link, from, to);
}

int unlink(const char *path)
{
    CALL(int, unlink, path);
}

int mkdir(const char *path, mode_t mode)
{
    CALL(int, mkdir, path, mode);
}
