/* Running another program; see spawn.h.
 *
 * How: posix_spawnp() with a socket as standard input (a pipe would raise SIGPIPE when the program
 * ends early) and a pipe as standard error; one poll() over both and over the process itself.
 *
 * Invariants
 * 1. The process is always waited for: it is gone when spawn_run() returns.
 * 2. Only the process's end ends the wait, not its standard error: a grandchild may keep that open.
 * Failure modes: MISSING, IO, NOMEM. */
#include "os/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "os/os.h"

struct spawned {
    pid_t pid;
    int process;       /* pidfd */
    int input, errors; /* our ends; -1 once done with */
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Standard descriptors and signals of the new process, then its start; 0 or an errno. */
static int start(const char *const *argv, int input, int errors, pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, usual;
    sigemptyset(&none);
    sigemptyset(&usual);
    sigaddset(&usual, SIGPIPE);
    int e = posix_spawn_file_actions_init(&actions);
    if (e != 0)
        return e;
    e = posix_spawnattr_init(&attributes);
    if (e != 0)
        goto done_actions;
    if (e == 0)
        e = posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    if (e == 0)
        e = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    if (e == 0)
        e = posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
    if (e == 0)
        e = posix_spawnattr_setsigmask(&attributes, &none);
    if (e == 0)
        e = posix_spawnattr_setsigdefault(&attributes, &usual);
    if (e == 0)
        e = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    if (e == 0) /* the words are not written to: POSIX, exec, "Rationale" */
        e = posix_spawnp(ret_pid, argv[0], &actions, &attributes, (char *const *)(uintptr_t)argv,
                         environ);
    posix_spawnattr_destroy(&attributes);
done_actions:
    posix_spawn_file_actions_destroy(&actions);
    return e;
}

static int fail(struct tarn_error *error, int number, const char *program)
{
    if (number == ENOENT)
        return error_set(error, TARN_MISSING, "%s: no such program; is it installed?", program);
    return os_error(error, -number, "cannot run", program);
}

static int spawn_open(const char *const *argv, struct spawned *s, struct tarn_error *error)
{
    int input[2] = {-1, -1}, errors[2] = {-1, -1}, e = 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, input) != 0 ||
        pipe2(errors, O_CLOEXEC) != 0)
        e = errno;
    if (e == 0)
        e = start(argv, input[1], errors[1], &s->pid);
    close_fd(&input[1]);
    close_fd(&errors[1]);
    if (e == 0) {
        s->process = pidfd_open(s->pid, 0);
        if (s->process < 0) {
            e = errno;
            kill(s->pid, SIGKILL);
            waitpid(s->pid, NULL, 0);
        }
    }
    if (e != 0) {
        close_fd(&input[0]);
        close_fd(&errors[0]);
        return fail(error, e, argv[0]);
    }
    s->input = input[0];
    s->errors = errors[0];
    return TARN_OK;
}

/* Send some of the rest of the input; the program's end of it may be closed. */
static void feed(struct spawned *s, struct tarn_bytes *rest)
{
    ssize_t n = send(s->input, rest->data, rest->size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n >= 0)
        *rest = (struct tarn_bytes){(const char *)rest->data + n, rest->size - (size_t)n};
    if (n < 0 || rest->size == 0)
        close_fd(&s->input);
}

/* Take some of what it says; false when nothing more will come. */
static bool gather(struct spawned *s, struct buffer *errors, size_t *kept)
{
    char text[1024];
    ssize_t n = read(s->errors, text, sizeof text);
    if (n < 0 && errno == EINTR)
        return true;
    if (n <= 0)
        return false;
    size_t room = SPAWN_ERRORS_BYTES_MAX - *kept, take = (size_t)n < room ? (size_t)n : room;
    buffer_append(errors, text, take);
    *kept += take;
    return true;
}

/* What lies in the pipe still, without waiting for more. */
static void gather_rest(struct spawned *s, struct buffer *errors, size_t *kept)
{
    struct pollfd pipe = {s->errors, POLLIN, 0};
    while (s->errors >= 0 && poll(&pipe, 1, 0) > 0 && gather(s, errors, kept))
        continue;
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Feed and gather until the process ends; false if it did not in time. */
static bool attend(struct spawned *s, struct tarn_bytes input, unsigned timeout_ms,
                   struct buffer *errors)
{
    int64_t deadline = now_ms() + timeout_ms;
    size_t kept = 0;
    if (input.size == 0)
        close_fd(&s->input);
    for (;;) {
        struct pollfd fds[3] = {
            {s->process, POLLIN, 0}, {s->errors, POLLIN, 0}, {s->input, POLLOUT, 0}};
        int64_t left = deadline - now_ms();
        int n = left <= 0 ? 0 : poll(fds, 3, left < INT32_MAX ? (int)left : INT32_MAX);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        if (fds[0].revents != 0) {
            gather_rest(s, errors, &kept);
            return true;
        }
        if (fds[1].revents != 0 && !gather(s, errors, &kept))
            close_fd(&s->errors);
        if (fds[2].revents != 0)
            feed(s, &input);
    }
}

int spawn_run(const char *const *argv, struct tarn_bytes input, unsigned timeout_ms,
              struct buffer *errors, int *ret_exit, struct tarn_error *error)
{
    struct spawned s;
    int wait_status = 0;
    int status = spawn_open(argv, &s, error);
    if (status != TARN_OK)
        return status;
    bool ended = attend(&s, input, timeout_ms, errors);
    if (!ended)
        kill(s.pid, SIGKILL);
    while (waitpid(s.pid, &wait_status, 0) < 0 && errno == EINTR)
        continue;
    close_fd(&s.process);
    close_fd(&s.input);
    close_fd(&s.errors);
    if (!ended)
        return error_set(error, TARN_IO, "%s: not done after %u ms, and was killed", argv[0],
                         timeout_ms);
    if (WIFSIGNALED(wait_status))
        return error_set(error, TARN_IO, "%s: ended by signal %d", argv[0], WTERMSIG(wait_status));
    if (errors->failed)
        return error_set(error, TARN_NOMEM, "%s: out of memory for its messages", argv[0]);
    *ret_exit = WEXITSTATUS(wait_status);
    return TARN_OK;
}
