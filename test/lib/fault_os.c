/* A failing struct os: see fault_os.h.
 *
 * How: each entry asks begin() whether this call is to fail or to be cut, then calls the next os.
 * One lock guards plans, counts and accounts; it is not held during the call itself. */
#include "lib/fault_os.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fault_line.h"

/* --- for script/fault --- */

static _Atomic uint64_t points; /* failures tried */
static pid_t process;

__attribute__((constructor)) static void begin_points(void)
{
    process = getpid();
}

__attribute__((destructor)) static void tell_points(void)
{
    if (points > 0 && getenv("TARN_FAULT_LINES") && getpid() == process)
        fault_line("nth system call fails", points, 0, 0);
}

static struct fault_os *self(const struct os *os)
{
    return os->context;
}

/* Count a call. 0, or the negative errno to fail with; *size is lowered for a short transfer. */
static int begin(struct fault_os *f, enum fault_entry entry, size_t *size)
{
    int status = 0;
    pthread_mutex_lock(&f->lock);
    const struct fault_plan *plan = &f->plans[entry];
    uint64_t nth = ++f->calls[entry];
    if (plan->fail_nth && (nth == plan->fail_nth || (plan->stays && nth > plan->fail_nth))) {
        status = -plan->number;
        points += f->fired++ == 0;
    } else if (size && plan->short_nth == nth && plan->short_size < *size) {
        *size = plan->short_size;
        points += f->fired++ == 0;
    }
    pthread_mutex_unlock(&f->lock);
    return status;
}

static void note_fd(struct fault_os *f, int fd, bool open)
{
    if (fd < 0 || fd >= FAULT_FDS_MAX) {
        fprintf(stderr, "fault_os: descriptor %d is beyond the account\n", fd);
        abort();
    }
    pthread_mutex_lock(&f->lock);
    if (f->fds[fd] == open)
        f->bad_closes += !open;
    else
        f->fds_open += open ? 1 : (size_t)-1;
    f->fds[fd] = open;
    pthread_mutex_unlock(&f->lock);
}

static void note_map(struct fault_os *f, void *address, size_t size)
{
    pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < FAULT_MAPS_MAX; i++) {
        if (!f->maps[i].address) {
            f->maps[i].address = address;
            f->maps[i].size = size;
            f->maps_open++;
            f->bytes_mapped += size;
            pthread_mutex_unlock(&f->lock);
            return;
        }
    }
    fprintf(stderr, "fault_os: too many mappings\n");
    abort();
}

static void note_unmap(struct fault_os *f, void *address, size_t size)
{
    if (!address)
        return;
    pthread_mutex_lock(&f->lock);
    size_t i = 0;
    while (i < FAULT_MAPS_MAX && f->maps[i].address != address)
        i++;
    if (i < FAULT_MAPS_MAX && f->maps[i].size == size) {
        f->maps[i].address = NULL;
        f->maps_open--;
        f->bytes_mapped -= size;
    } else {
        f->bad_closes++;
    }
    pthread_mutex_unlock(&f->lock);
}

static int fault_open(const struct os *os, const char *path, int flags, unsigned mode, int *ret_fd)
{
    struct fault_os *f = self(os);
    int status = begin(f, FAULT_OPEN, NULL);
    if (status == 0)
        status = f->next->open(f->next, path, flags, mode, ret_fd);
    if (status == 0)
        note_fd(f, *ret_fd, true);
    return status;
}

static int fault_close(const struct os *os, int fd)
{
    struct fault_os *f = self(os);
    int status = begin(f, FAULT_CLOSE, NULL);
    note_fd(f, fd, false); /* before the number can be given to another thread */
    int next_status = f->next->close(f->next, fd);
    return status != 0 ? status : next_status;
}

static int fault_file_info(const struct os *os, int fd, struct os_file_info *ret_info)
{
    struct fault_os *f = self(os);
    int status = begin(f, FAULT_FILE_INFO, NULL);
    return status != 0 ? status : f->next->file_info(f->next, fd, ret_info);
}

static int fault_read_at(const struct os *os, int fd, void *data, size_t size, uint64_t offset,
                         size_t *ret_size)
{
    struct fault_os *f = self(os);
    int status = begin(f, FAULT_READ_AT, &size);
    return status != 0 ? status : f->next->read_at(f->next, fd, data, size, offset, ret_size);
}

static int fault_write_at(const struct os *os, int fd, const void *data, size_t size,
                          uint64_t offset, size_t *ret_size)
{
    struct fault_os *f = self(os);
    int status = begin(f, FAULT_WRITE_AT, &size);
    return status != 0 ? status : f->next->write_at(f->next, fd, data, size, offset, ret_size);
}

static int fault_sync(const struct os *os, int fd)
{
    struct fault_os *f = self(os);
    int status = begin(f, FAULT_SYNC, NULL);
    return status != 0 ? status : f->next->sync(f->next, fd);
}

static int fault_data_sync(const struct os *os, int fd)
{
    struct fault_os *f = self(os);
    int status = begin(f, FAULT_DATA_SYNC, NULL);
    return status != 0 ? status : f->next->data_sync(f->next, fd);
}

static void fault_write_soon(const struct os *os, int fd, uint64_t offset, uint64_t size)
{
    struct fault_os *f = self(os);
    f->next->write_soon(f->next, fd, offset, size);
}

static int fault_truncate(const struct os *os, int fd, uint64_t size)
{
    struct fault_os *f = self(os);
    int status = begin(f, FAULT_TRUNCATE, NULL);
    return status != 0 ? status : f->next->truncate(f->next, fd, size);
}

static int fault_link(const struct os *os, const char *from, const char *to)
{
    struct fault_os *f = self(os);
    int status = begin(f, FAULT_LINK, NULL);
    return status != 0 ? status : f->next->link(f->next, from, to);
}

static int fault_make_directory(const struct os *os, const char *path, unsigned mode)
{
    struct fault_os *f = self(os);
    int status = begin(f, FAULT_MAKE_DIRECTORY, NULL);
    return status != 0 ? status : f->next->make_directory(f->next, path, mode);
}

static int fault_list(const struct os *os, const char *path, os_visit_name visit, void *context)
{
    struct fault_os *f = self(os);
    int status = begin(f, FAULT_LIST, NULL);
    return status != 0 ? status : f->next->list(f->next, path, visit, context);
}

static int fault_lock(const struct os *os, int fd)
{
    struct fault_os *f = self(os);
    int status = begin(f, FAULT_LOCK, NULL);
    return status != 0 ? status : f->next->lock(f->next, fd);
}

static int fault_rename(const struct os *os, const char *from, const char *to)
{
    struct fault_os *f = self(os);
    int status = begin(f, FAULT_RENAME, NULL);
    return status != 0 ? status : f->next->rename(f->next, from, to);
}

static int fault_unlink(const struct os *os, const char *path)
{
    struct fault_os *f = self(os);
    int status = begin(f, FAULT_UNLINK, NULL);
    return status != 0 ? status : f->next->unlink(f->next, path);
}

static int fault_map(const struct os *os, size_t size, void **ret_address)
{
    struct fault_os *f = self(os);
    int status = begin(f, FAULT_MAP, NULL);
    if (status == 0)
        status = f->next->map(f->next, size, ret_address);
    if (status == 0)
        note_map(f, *ret_address, size);
    return status;
}

static void fault_unmap(const struct os *os, void *address, size_t size)
{
    struct fault_os *f = self(os);
    (void)begin(f, FAULT_UNMAP, NULL); /* counted; it returns nothing that could fail */
    note_unmap(f, address, size);
    f->next->unmap(f->next, address, size);
}

static int fault_discard(const struct os *os, void *address, size_t size)
{
    struct fault_os *f = self(os);
    int status = begin(f, FAULT_DISCARD, NULL);
    return status != 0 ? status : f->next->discard(f->next, address, size);
}

static uint64_t fault_monotonic_ns(const struct os *os)
{
    struct fault_os *f = self(os);
    (void)begin(f, FAULT_MONOTONIC_NS, NULL); /* counted only */
    return f->next->monotonic_ns(f->next);
}

static int64_t fault_realtime_us(const struct os *os)
{
    struct fault_os *f = self(os);
    (void)begin(f, FAULT_REALTIME_US, NULL); /* counted only */
    return f->next->realtime_us(f->next);
}

static int fault_entropy(const struct os *os, void *data, size_t size)
{
    struct fault_os *f = self(os);
    int status = begin(f, FAULT_ENTROPY, NULL);
    return status != 0 ? status : f->next->entropy(f->next, data, size);
}

static int fault_listen(const struct os *os, const char *address, uint16_t port, int backlog,
                        bool share_port, int *ret_fd)
{
    struct fault_os *f = self(os);
    int status = begin(f, FAULT_LISTEN, NULL);
    if (status == 0)
        status = f->next->listen(f->next, address, port, backlog, share_port, ret_fd);
    if (status == 0)
        note_fd(f, *ret_fd, true);
    return status;
}

static int fault_accept(const struct os *os, int fd, struct sockaddr_storage *ret_peer, int *ret_fd)
{
    struct fault_os *f = self(os);
    int status = begin(f, FAULT_ACCEPT, NULL);
    if (status == 0)
        status = f->next->accept(f->next, fd, ret_peer, ret_fd);
    if (status == 0)
        note_fd(f, *ret_fd, true);
    return status;
}

static int fault_receive(const struct os *os, int fd, void *data, size_t size, size_t *ret_size)
{
    struct fault_os *f = self(os);
    int status = begin(f, FAULT_RECEIVE, &size);
    return status != 0 ? status : f->next->receive(f->next, fd, data, size, ret_size);
}

static int fault_send(const struct os *os, int fd, const struct iovec *parts, int parts_count,
                      size_t *ret_size)
{
    struct fault_os *f = self(os);
    size_t size = SIZE_MAX;
    int status = begin(f, FAULT_SEND, &size);
    if (status != 0)
        return status;
    if (size == SIZE_MAX)
        return f->next->send(f->next, fd, parts, parts_count, ret_size);
    /* a short one: as much of the first part as allowed */
    struct iovec first = parts[0];
    if (first.iov_len > size)
        first.iov_len = size;
    return f->next->send(f->next, fd, &first, 1, ret_size);
}

void fault_os_init(struct fault_os *f, const struct os *next)
{
    memset(f, 0, sizeof *f);
    f->next = next ? next : os_real();
    pthread_mutex_init(&f->lock, NULL);
    f->os = (struct os){
        .open = fault_open,
        .close = fault_close,
        .file_info = fault_file_info,
        .read_at = fault_read_at,
        .write_at = fault_write_at,
        .sync = fault_sync,
        .data_sync = fault_data_sync,
        .write_soon = fault_write_soon,
        .truncate = fault_truncate,
        .rename = fault_rename,
        .unlink = fault_unlink,
        .link = fault_link,
        .make_directory = fault_make_directory,
        .list = fault_list,
        .lock = fault_lock,
        .map = fault_map,
        .unmap = fault_unmap,
        .discard = fault_discard,
        .monotonic_ns = fault_monotonic_ns,
        .realtime_us = fault_realtime_us,
        .entropy = fault_entropy,
        .listen = fault_listen,
        .accept = fault_accept,
        .receive = fault_receive,
        .send = fault_send,
        .context = f,
    };
}

void fault_os_done(struct fault_os *f)
{
    pthread_mutex_destroy(&f->lock);
}

void fault_os_reset(struct fault_os *f)
{
    pthread_mutex_lock(&f->lock);
    memset(f->plans, 0, sizeof f->plans);
    memset(f->calls, 0, sizeof f->calls);
    f->fired = 0;
    pthread_mutex_unlock(&f->lock);
}

void fault_os_fail(struct fault_os *f, enum fault_entry entry, uint64_t nth, int number, bool stays)
{
    pthread_mutex_lock(&f->lock);
    f->plans[entry].fail_nth = nth;
    f->plans[entry].number = number;
    f->plans[entry].stays = stays;
    pthread_mutex_unlock(&f->lock);
}

void fault_os_short(struct fault_os *f, enum fault_entry entry, uint64_t nth, size_t size)
{
    pthread_mutex_lock(&f->lock);
    f->plans[entry].short_nth = nth;
    f->plans[entry].short_size = size;
    pthread_mutex_unlock(&f->lock);
}

uint64_t fault_os_calls(struct fault_os *f, enum fault_entry entry)
{
    pthread_mutex_lock(&f->lock);
    uint64_t calls = f->calls[entry];
    pthread_mutex_unlock(&f->lock);
    return calls;
}

bool fault_os_fired(struct fault_os *f)
{
    pthread_mutex_lock(&f->lock);
    bool fired = f->fired > 0;
    pthread_mutex_unlock(&f->lock);
    return fired;
}

bool fault_os_clean(struct fault_os *f)
{
    pthread_mutex_lock(&f->lock);
    bool clean = f->fds_open == 0 && f->maps_open == 0 && f->bad_closes == 0;
    pthread_mutex_unlock(&f->lock);
    return clean;
}

const char *fault_entry_name(enum fault_entry entry)
{
    static const char *const names[FAULT_ENTRY_COUNT] = {
        [FAULT_OPEN] = "open",
        [FAULT_CLOSE] = "close",
        [FAULT_FILE_INFO] = "file_info",
        [FAULT_READ_AT] = "read_at",
        [FAULT_WRITE_AT] = "write_at",
        [FAULT_SYNC] = "sync",
        [FAULT_DATA_SYNC] = "data_sync",
        [FAULT_TRUNCATE] = "truncate",
        [FAULT_RENAME] = "rename",
        [FAULT_UNLINK] = "unlink",
        [FAULT_LINK] = "link",
        [FAULT_MAKE_DIRECTORY] = "make_directory",
        [FAULT_LIST] = "list",
        [FAULT_LOCK] = "lock",
        [FAULT_MAP] = "map",
        [FAULT_UNMAP] = "unmap",
        [FAULT_DISCARD] = "discard",
        [FAULT_MONOTONIC_NS] = "monotonic_ns",
        [FAULT_REALTIME_US] = "realtime_us",
        [FAULT_ENTROPY] = "entropy",
        [FAULT_LISTEN] = "listen",
        [FAULT_ACCEPT] = "accept",
        [FAULT_RECEIVE] = "receive",
        [FAULT_SEND] = "send",
    };
    return names[entry];
}
