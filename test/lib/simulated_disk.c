/* See simulated_disk.h.
 *
 * How: nodes are files and directories. A directory has its entries as they are now and as they are
 * on the medium for sure, and the changes in between, in their order; a file has the same of its
 * bytes (simulated_file.c). Every changing call has a number, by which a cut can keep the first of
 * all changes. A node lives as long as any entry, pending change or descriptor has it.
 *
 * Invariants
 * 1. A directory's `durable` with `changes` applied in their order is `now`.
 * 2. While it is stopped neither changes.
 * Failure modes: a path the tree does not have: as Linux says. A rename between directories is
 * not needed: EXDEV. */
#include "lib/simulated_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "lib/simulated_file.h"

#define FD_FIRST   1000
#define PAGE_BYTES 4096u
#define NAME_BYTES 96 /* longer: ENAMETOOLONG */

struct entry {
    char name[NAME_BYTES];
    struct disk_node *node;
};

struct entries {
    struct entry *all;
    size_t count, room;
};

/* `name` is `node` from now on (NULL: is gone); `from`, if any, is gone. */
struct change {
    uint64_t number;
    char from[NAME_BYTES], name[NAME_BYTES];
    struct disk_node *node;
};

struct disk_node {
    struct disk_node *next; /* of all */
    bool directory, locked;
    bool marked;
    unsigned fds;
    uint64_t inode;
    struct file_bytes bytes;
    struct entries now, durable;
    struct change *changes;
    size_t changes_count, changes_room;
};

static struct simulated_disk *self(const struct os *os)
{
    return os->context;
}

static void *grow(void *array, size_t size)
{
    void *grown = realloc(array, size);
    if (grown == NULL)
        abort();
    return grown;
}

/* --- entries --- */

static struct disk_node **find(struct entries *entries, const char *name)
{
    for (size_t i = 0; i < entries->count; i++)
        if (strcmp(entries->all[i].name, name) == 0)
            return &entries->all[i].node;
    return NULL;
}

static void set(struct entries *entries, const char *name, struct disk_node *node)
{
    struct disk_node **present = find(entries, name);
    if (node == NULL) {
        if (present == NULL)
            return;
        struct entry *entry = (struct entry *)((char *)present - offsetof(struct entry, node));
        *entry = entries->all[--entries->count];
        return;
    }
    if (present == NULL) {
        if (entries->count == entries->room) {
            entries->room = entries->room ? 2 * entries->room : 8;
            entries->all = grow(entries->all, entries->room * sizeof *entries->all);
        }
        strcpy(entries->all[entries->count].name, name);
        present = &entries->all[entries->count++].node;
    }
    *present = node;
}

static void copy_entries(struct entries *to, const struct entries *from)
{
    if (to->room < from->count) {
        to->room = from->count;
        to->all = grow(to->all, to->room * sizeof *to->all);
    }
    if (from->count > 0)
        memcpy(to->all, from->all, from->count * sizeof *to->all);
    to->count = from->count;
}

static void apply(struct entries *entries, const struct change *change)
{
    if (change->from[0])
        set(entries, change->from, NULL);
    set(entries, change->name, change->node);
}

static void change_entry(struct simulated_disk *d, struct disk_node *directory, const char *from,
                         const char *name, struct disk_node *node)
{
    if (directory->changes_count == directory->changes_room) {
        directory->changes_room = directory->changes_room ? 2 * directory->changes_room : 16;
        directory->changes =
            grow(directory->changes, directory->changes_room * sizeof *directory->changes);
    }
    struct change *change = &directory->changes[directory->changes_count++];
    *change = (struct change){.number = d->now, .node = node};
    strcpy(change->name, name);
    strcpy(change->from, from ? from : "");
    apply(&directory->now, change);
}

/* --- nodes --- */

static struct disk_node *new_node(struct simulated_disk *d, bool directory)
{
    struct disk_node *node = grow(NULL, sizeof *node);
    *node = (struct disk_node){.next = d->nodes, .directory = directory, .inode = ++d->inodes};
    d->nodes = node;
    return node;
}

static void free_node(struct disk_node *node)
{
    file_bytes_done(&node->bytes);
    free(node->now.all);
    free(node->durable.all);
    free(node->changes);
    free(node);
}

static void mark(struct disk_node *node)
{
    if (node == NULL || node->marked)
        return;
    node->marked = true;
    for (size_t i = 0; i < node->now.count; i++)
        mark(node->now.all[i].node);
    for (size_t i = 0; i < node->durable.count; i++)
        mark(node->durable.all[i].node);
    for (size_t i = 0; i < node->changes_count; i++)
        mark(node->changes[i].node);
}

/* Free what nothing leads to any more. */
static void sweep(struct simulated_disk *d)
{
    for (struct disk_node *node = d->nodes; node; node = node->next)
        node->marked = false;
    mark(d->root);
    for (size_t i = 0; i < DISK_FDS_MAX; i++)
        mark(d->fds[i].node);
    for (struct disk_node **link = &d->nodes; *link;) {
        struct disk_node *node = *link;
        if (node->marked) {
            link = &node->next;
        } else {
            *link = node->next;
            free_node(node);
        }
    }
}

static uint64_t used(const struct disk_node *node, const struct disk_node *but)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < node->now.count; i++) {
        const struct disk_node *child = node->now.all[i].node;
        if (child->directory)
            sum += used(child, but);
        else if (child != but)
            sum += (child->bytes.now_size + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    }
    return sum;
}

/* --- paths --- */

/* The directory that a path's last part is in, and that part: "" for the root itself. */
static int resolve(struct simulated_disk *d, const char *path, struct disk_node **ret_directory,
                   char ret_name[NAME_BYTES])
{
    struct disk_node *directory = d->root;
    ret_name[0] = 0;
    for (;;) {
        while (*path == '/')
            path++;
        if (*path == 0)
            break;
        if (ret_name[0]) { /* the part before was not the last one */
            struct disk_node **child = find(&directory->now, ret_name);
            if (child == NULL)
                return -ENOENT;
            if (!(*child)->directory)
                return -ENOTDIR;
            directory = *child;
        }
        size_t size = strcspn(path, "/");
        if (size >= NAME_BYTES)
            return -ENAMETOOLONG;
        memcpy(ret_name, path, size);
        ret_name[size] = 0;
        if (strcmp(ret_name, ".") == 0)
            ret_name[0] = 0;
        path += size;
    }
    *ret_directory = directory;
    return 0;
}

static struct disk_node *look_up(struct simulated_disk *d, const char *path)
{
    struct disk_node *directory;
    char name[NAME_BYTES];
    if (resolve(d, path, &directory, name) != 0)
        return NULL;
    if (!name[0])
        return directory;
    struct disk_node **node = find(&directory->now, name);
    return node ? *node : NULL;
}

/* --- stopping --- */

__attribute__((format(printf, 2, 3))) static void trace(struct simulated_disk *d,
                                                        const char *format, ...)
{
    va_list arguments;
    if (d->trace == NULL)
        return;
    fprintf(d->trace, "    %6llu ", (unsigned long long)d->now);
    va_start(arguments, format);
    vfprintf(d->trace, format, arguments);
    va_end(arguments);
    fprintf(d->trace, "%s\n", d->stopped ? "  <- stopped" : "");
}

/* Begin a changing call: 0; -EIO if it is stopped already. *ret_last: it is to stop in this call,
 * which may have its effect or not, and has to fail. */
static int begin(struct simulated_disk *d, bool *ret_last)
{
    *ret_last = false;
    if (d->stopped)
        return -EIO;
    d->calls++;
    d->now++;
    *ret_last = d->stop_at != 0 && d->calls == d->stop_at;
    if (*ret_last)
        d->stopped = true;
    return 0;
}

static bool coin(struct simulated_disk *d)
{
    return random_next(&d->entropy) >> 63;
}

/* --- the entries of struct os --- */

static int new_fd(struct simulated_disk *d, struct disk_node *node, bool writes, int *ret_fd)
{
    for (int i = 0; i < DISK_FDS_MAX; i++) {
        if (d->fds[i].node == NULL) {
            d->fds[i].node = node;
            d->fds[i].writes = writes;
            d->fds[i].locks = false;
            *ret_fd = FD_FIRST + i;
            return 0;
        }
    }
    return -EMFILE;
}

static struct disk_node *fd_node(struct simulated_disk *d, int fd)
{
    if (fd < FD_FIRST || fd >= FD_FIRST + DISK_FDS_MAX)
        return NULL;
    return d->fds[fd - FD_FIRST].node;
}

static int create(struct simulated_disk *d, struct disk_node *directory, const char *name,
                  struct disk_node **ret_node)
{
    bool last;
    int status = begin(d, &last);
    if (status != 0)
        return status;
    if (last && coin(d))
        return -EIO;
    *ret_node = new_node(d, false);
    trace(d, "%s is %llu", name, (unsigned long long)(*ret_node)->inode);
    change_entry(d, directory, NULL, name, *ret_node);
    return last ? -EIO : 0;
}

static int open_locked(struct simulated_disk *d, const char *path, int flags, int *ret_fd)
{
    struct disk_node *directory, *node = NULL;
    char name[NAME_BYTES];
    bool writes = (flags & O_ACCMODE) != O_RDONLY;
    int status = resolve(d, path, &directory, name);
    if (status != 0)
        return status;
    struct disk_node **present = name[0] ? find(&directory->now, name) : &directory;
    if (present) {
        node = *present;
        if ((flags & O_CREAT) && (flags & O_EXCL))
            return -EEXIST;
        if (node->directory && writes)
            return -EISDIR;
        if (!node->directory && (flags & O_DIRECTORY))
            return -ENOTDIR;
        if (flags & O_TRUNC)
            file_bytes_truncate(&node->bytes, 0, ++d->now);
    } else if (!(flags & O_CREAT)) {
        return -ENOENT;
    } else {
        status = create(d, directory, name, &node);
    }
    return status != 0 ? status : new_fd(d, node, writes, ret_fd);
}

static int disk_open(const struct os *os, const char *path, int flags, unsigned mode, int *ret_fd)
{
    struct simulated_disk *d = self(os);
    (void)mode;
    pthread_mutex_lock(&d->lock);
    int status = open_locked(d, path, flags, ret_fd);
    pthread_mutex_unlock(&d->lock);
    return status;
}

static int disk_close(const struct os *os, int fd)
{
    struct simulated_disk *d = self(os);
    pthread_mutex_lock(&d->lock);
    struct disk_node *node = fd_node(d, fd);
    if (node) {
        if (d->fds[fd - FD_FIRST].locks)
            node->locked = false;
        d->fds[fd - FD_FIRST].node = NULL;
    }
    pthread_mutex_unlock(&d->lock);
    return node ? 0 : -EBADF;
}

static int disk_file_info(const struct os *os, int fd, struct os_file_info *ret_info)
{
    struct simulated_disk *d = self(os);
    pthread_mutex_lock(&d->lock);
    const struct disk_node *node = fd_node(d, fd);
    if (node)
        *ret_info = (struct os_file_info){
            .kind = node->directory ? OS_FILE_DIRECTORY : OS_FILE_REGULAR,
            .size = node->bytes.now_size,
            .mtime_ns = 1,
            .device = 1,
            .inode = node->inode,
        };
    pthread_mutex_unlock(&d->lock);
    return node ? 0 : -EBADF;
}

static int disk_read_at(const struct os *os, int fd, void *data, size_t size, uint64_t offset,
                        size_t *ret_size)
{
    struct simulated_disk *d = self(os);
    int status = 0;
    pthread_mutex_lock(&d->lock);
    const struct disk_node *node = fd_node(d, fd);
    if (node == NULL) {
        status = -EBADF;
    } else if (node->directory) {
        status = -EISDIR;
    } else {
        const struct file_bytes *bytes = &node->bytes;
        size_t left = offset < bytes->now_size ? bytes->now_size - (size_t)offset : 0;
        *ret_size = size < left ? size : left;
        if (*ret_size > 0)
            memcpy(data, bytes->now + offset, *ret_size);
    }
    pthread_mutex_unlock(&d->lock);
    return status;
}

/* How many bytes of a write there is room for. */
static size_t room_for(struct simulated_disk *d, const struct disk_node *node, size_t size,
                       uint64_t offset)
{
    if (d->limit == 0 || offset + size <= node->bytes.now_size)
        return size;
    uint64_t others = used(d->root, node);
    uint64_t end = d->limit > others ? (d->limit - others) / PAGE_BYTES * PAGE_BYTES : 0;
    if (end < node->bytes.now_size)
        end = node->bytes.now_size;
    return offset >= end ? 0 : offset + size > end ? (size_t)(end - offset) : size;
}

/* How much of a write a kill lets happen. */
static size_t part_of(struct simulated_disk *d, size_t size, uint64_t offset)
{
    uint64_t pages = (offset + size + PAGE_BYTES - 1) / PAGE_BYTES - offset / PAGE_BYTES;
    uint64_t whole = random_below(random_next(&d->entropy), pages + 1);
    uint64_t end = (offset / PAGE_BYTES + whole) * PAGE_BYTES;
    return whole == 0 ? 0 : end - offset < size ? (size_t)(end - offset) : size;
}

static int write_locked(struct simulated_disk *d, int fd, const void *data, size_t size,
                        uint64_t offset, size_t *ret_size)
{
    struct disk_node *node = fd_node(d, fd);
    bool last;
    if (node == NULL || !d->fds[fd - FD_FIRST].writes)
        return -EBADF;
    size_t room = room_for(d, node, size, offset);
    if (room == 0 && size > 0) {
        trace(d, "no room for %zu at %llu", size, (unsigned long long)offset);
        return d->stopped ? -EIO : -ENOSPC;
    }
    int status = begin(d, &last);
    if (status != 0)
        return status;
    if (last) /* the process may be killed in the middle of it: between two pages */
        room = part_of(d, room, offset);
    trace(d, "write %llu: %zu of %zu at %llu", (unsigned long long)node->inode, room, size,
          (unsigned long long)offset);
    file_bytes_write(&node->bytes, data, room, (size_t)offset, d->now);
    *ret_size = room;
    return last ? -EIO : 0;
}

static int disk_write_at(const struct os *os, int fd, const void *data, size_t size,
                         uint64_t offset, size_t *ret_size)
{
    struct simulated_disk *d = self(os);
    pthread_mutex_lock(&d->lock);
    int status = write_locked(d, fd, data, size, offset, ret_size);
    pthread_mutex_unlock(&d->lock);
    return status;
}

static void sync_directory(struct simulated_disk *d, struct disk_node *node)
{
    copy_entries(&node->durable, &node->now);
    node->changes_count = 0;
    sweep(d);
}

static int sync_locked(struct simulated_disk *d, int fd, bool data_only)
{
    struct disk_node *node = fd_node(d, fd);
    bool last;
    if (node == NULL)
        return -EBADF;
    int status = begin(d, &last);
    if (status != 0)
        return status;
    bool fails = ++d->syncs == d->fail_sync;
    trace(d, "%s %llu%s", data_only ? "data sync" : "sync", (unsigned long long)node->inode,
          fails ? " fails" : "");
    if (last)
        return -EIO;
    if (fails && !node->directory) /* a file system's own journal is not believed after a failure */
        file_bytes_fail_sync(&node->bytes);
    else if (!fails && node->directory)
        sync_directory(d, node);
    else if (!fails)
        file_bytes_sync(&node->bytes);
    return fails ? -EIO : 0;
}

static int disk_sync(const struct os *os, int fd)
{
    struct simulated_disk *d = self(os);
    pthread_mutex_lock(&d->lock);
    int status = sync_locked(d, fd, false);
    pthread_mutex_unlock(&d->lock);
    return status;
}

static int disk_data_sync(const struct os *os, int fd)
{
    struct simulated_disk *d = self(os);
    pthread_mutex_lock(&d->lock);
    int status = sync_locked(d, fd, true);
    pthread_mutex_unlock(&d->lock);
    return status;
}

/* The disk may have any of it at any time all the same. */
static void disk_write_soon(const struct os *os, int fd, uint64_t offset, uint64_t size)
{
    (void)os, (void)fd, (void)offset, (void)size;
}

static int disk_truncate(const struct os *os, int fd, uint64_t size)
{
    struct simulated_disk *d = self(os);
    bool last = false; /* begin() may not be reached */
    pthread_mutex_lock(&d->lock);
    struct disk_node *node = fd_node(d, fd);
    int status = node == NULL || !d->fds[fd - FD_FIRST].writes ? -EBADF : begin(d, &last);
    if (status == 0)
        trace(d, "truncate %llu to %llu", (unsigned long long)node->inode,
              (unsigned long long)size);
    if (status == 0 && !(last && coin(d)))
        file_bytes_truncate(&node->bytes, (size_t)size, d->now);
    pthread_mutex_unlock(&d->lock);
    return last ? -EIO : status;
}

/* Rename (moves) or link. */
static int name_locked(struct simulated_disk *d, const char *from, const char *to, bool moves)
{
    struct disk_node *from_directory, *to_directory;
    char from_name[NAME_BYTES], to_name[NAME_BYTES];
    bool last;
    int status = resolve(d, from, &from_directory, from_name);
    if (status == 0)
        status = resolve(d, to, &to_directory, to_name);
    if (status != 0)
        return status;
    struct disk_node **node = find(&from_directory->now, from_name);
    struct disk_node **target = find(&to_directory->now, to_name);
    if (node == NULL)
        return -ENOENT;
    if (moves && from_directory != to_directory)
        return -EXDEV;
    if (!moves && (*node)->directory)
        return -EPERM;
    if (target && !moves)
        return -EEXIST;
    if (target && (*target)->directory != (*node)->directory)
        return (*target)->directory ? -EISDIR : -ENOTDIR;
    if (target && *target == *node)
        return 0; /* two names of one file: rename(2) leaves both */
    status = begin(d, &last);
    trace(d, "%s %s to %s", moves ? "rename" : "link", from, to);
    if (status == 0 && !(last && coin(d)))
        change_entry(d, to_directory, moves ? from_name : NULL, to_name, *node);
    return last ? -EIO : status;
}

static int disk_rename(const struct os *os, const char *from, const char *to)
{
    struct simulated_disk *d = self(os);
    pthread_mutex_lock(&d->lock);
    int status = name_locked(d, from, to, true);
    pthread_mutex_unlock(&d->lock);
    return status;
}

static int disk_link(const struct os *os, const char *from, const char *to)
{
    struct simulated_disk *d = self(os);
    pthread_mutex_lock(&d->lock);
    int status = name_locked(d, from, to, false);
    pthread_mutex_unlock(&d->lock);
    return status;
}

static int unlink_locked(struct simulated_disk *d, const char *path)
{
    struct disk_node *directory;
    char name[NAME_BYTES];
    bool last;
    int status = resolve(d, path, &directory, name);
    if (status != 0)
        return status;
    struct disk_node **node = find(&directory->now, name);
    if (node == NULL)
        return -ENOENT;
    if ((*node)->directory)
        return -EISDIR;
    status = begin(d, &last);
    trace(d, "unlink %s", name);
    if (status == 0 && !(last && coin(d)))
        change_entry(d, directory, NULL, name, NULL);
    return last ? -EIO : status;
}

static int disk_unlink(const struct os *os, const char *path)
{
    struct simulated_disk *d = self(os);
    pthread_mutex_lock(&d->lock);
    int status = unlink_locked(d, path);
    pthread_mutex_unlock(&d->lock);
    return status;
}

static int make_locked(struct simulated_disk *d, const char *path)
{
    struct disk_node *directory;
    char name[NAME_BYTES];
    bool last;
    int status = resolve(d, path, &directory, name);
    if (status != 0)
        return status;
    if (!name[0] || find(&directory->now, name))
        return -EEXIST;
    status = begin(d, &last);
    trace(d, "make directory %s", name);
    if (status == 0 && !(last && coin(d)))
        change_entry(d, directory, NULL, name, new_node(d, true));
    return last ? -EIO : status;
}

static int disk_make_directory(const struct os *os, const char *path, unsigned mode)
{
    struct simulated_disk *d = self(os);
    (void)mode;
    pthread_mutex_lock(&d->lock);
    int status = make_locked(d, path);
    pthread_mutex_unlock(&d->lock);
    return status;
}

/* The names of a directory in an order of the seed's. */
static struct entry *shuffled(struct simulated_disk *d, const struct disk_node *node)
{
    struct entries copy = {0};
    copy_entries(&copy, &node->now);
    for (size_t i = copy.count; i > 1; i--) {
        size_t other = random_below(random_next(&d->entropy), i);
        struct entry entry = copy.all[i - 1];
        copy.all[i - 1] = copy.all[other];
        copy.all[other] = entry;
    }
    return copy.all;
}

static int disk_list(const struct os *os, const char *path, os_visit_name visit, void *context)
{
    struct simulated_disk *d = self(os);
    struct entry *names = NULL;
    size_t count = 0;
    pthread_mutex_lock(&d->lock);
    const struct disk_node *node = look_up(d, path);
    if (node && node->directory) {
        count = node->now.count;
        names = shuffled(d, node);
    }
    pthread_mutex_unlock(&d->lock);
    for (size_t i = 0; i < count; i++) /* not locked: it may call us */
        visit(context, names[i].name);
    free(names);
    return node == NULL ? -ENOENT : node->directory ? 0 : -ENOTDIR;
}

static int disk_lock(const struct os *os, int fd)
{
    struct simulated_disk *d = self(os);
    int status = 0;
    pthread_mutex_lock(&d->lock);
    struct disk_node *node = fd_node(d, fd);
    if (node == NULL) {
        status = -EBADF;
    } else if (node->locked && !d->fds[fd - FD_FIRST].locks) {
        status = -EWOULDBLOCK;
    } else {
        node->locked = true;
        d->fds[fd - FD_FIRST].locks = true;
    }
    pthread_mutex_unlock(&d->lock);
    return status;
}

static int disk_entropy(const struct os *os, void *data, size_t size)
{
    struct simulated_disk *d = self(os);
    unsigned char *bytes = data;
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(random_next(&d->entropy) >> 56);
    pthread_mutex_unlock(&d->lock);
    return 0;
}

/* --- losing power --- */

static bool related(const struct change *a, const struct change *b)
{
    return strcmp(a->name, b->name) == 0 || (a->from[0] && strcmp(a->from, b->name) == 0) ||
           (b->from[0] && strcmp(a->name, b->from) == 0) ||
           (a->from[0] && strcmp(a->from, b->from) == 0);
}

/* Number the changes' groups: those of names that renames join, in groups[i] the first one's. */
static void group_changes(const struct disk_node *node, size_t *groups)
{
    for (size_t i = 0; i < node->changes_count; i++) {
        groups[i] = i;
        for (size_t j = 0; j < i; j++) {
            if (!related(&node->changes[i], &node->changes[j]) || groups[j] == groups[i])
                continue;
            size_t low = groups[i] < groups[j] ? groups[i] : groups[j];
            size_t high = groups[i] < groups[j] ? groups[j] : groups[i];
            for (size_t k = 0; k <= i; k++)
                if (groups[k] == high)
                    groups[k] = low;
        }
    }
}

/* Each name is kept up to a change of its own. */
static void mix_names(struct disk_node *node, struct cut *cut)
{
    size_t count = node->changes_count;
    size_t *groups = grow(NULL, (count + 1) * sizeof *groups);
    size_t *kept = grow(NULL, (count + 1) * sizeof *kept);
    group_changes(node, groups);
    for (size_t i = 0; i < count; i++) {
        size_t members = 0;
        for (size_t j = 0; j < count; j++)
            members += groups[j] == i;
        kept[i] = cut_random(cut, members + 1);
    }
    for (size_t i = 0; i < count; i++)
        if (kept[groups[i]] > 0) {
            kept[groups[i]]--;
            apply(&node->durable, &node->changes[i]);
        }
    free(groups);
    free(kept);
}

static void cut_directory(struct disk_node *node, struct cut *cut)
{
    size_t count = node->changes_count;
    if (cut->style == CUT_MIXES_ALL) {
        mix_names(node, cut);
    } else {
        uint64_t *numbers = grow(NULL, (count + 1) * sizeof *numbers);
        for (size_t i = 0; i < count; i++)
            numbers[i] = node->changes[i].number;
        size_t kept = cut_keeps(cut, numbers, count, false);
        free(numbers);
        for (size_t i = 0; i < kept; i++)
            apply(&node->durable, &node->changes[i]);
    }
    copy_entries(&node->now, &node->durable);
    node->changes_count = 0;
}

static void cut_power(struct simulated_disk *d, uint64_t seed)
{
    struct cut cut = {.random = seed};
    cut.style = (enum cut_style)cut_random(&cut, CUT_STYLES);
    uint64_t back = cut_random(&cut, (uint64_t)1 << cut_random(&cut, 14));
    cut.last = back < d->now ? d->now - back : 0;
    trace(d, "power lost, style %d, last %llu", (int)cut.style, (unsigned long long)cut.last);
    for (struct disk_node *node = d->nodes; node; node = node->next) {
        if (node->directory)
            cut_directory(node, &cut);
        else
            file_bytes_cut(&node->bytes, &cut);
    }
}

void disk_restart(struct simulated_disk *d, enum disk_end end, uint64_t seed)
{
    pthread_mutex_lock(&d->lock);
    memset(d->fds, 0, sizeof d->fds);
    for (struct disk_node *node = d->nodes; node; node = node->next)
        node->locked = false;
    if (end == DISK_POWER_LOST)
        cut_power(d, seed);
    sweep(d);
    d->stopped = false;
    d->stop_at = d->fail_sync = 0;
    pthread_mutex_unlock(&d->lock);
}

/* --- control --- */

void disk_init(struct simulated_disk *d, uint64_t seed)
{
    *d = (struct simulated_disk){.entropy = seed, .os = *os_real()};
    pthread_mutex_init(&d->lock, NULL);
    d->root = new_node(d, true);
    d->os.open = disk_open;
    d->os.close = disk_close;
    d->os.file_info = disk_file_info;
    d->os.read_at = disk_read_at;
    d->os.write_at = disk_write_at;
    d->os.sync = disk_sync;
    d->os.data_sync = disk_data_sync;
    d->os.write_soon = disk_write_soon;
    d->os.truncate = disk_truncate;
    d->os.rename = disk_rename;
    d->os.unlink = disk_unlink;
    d->os.link = disk_link;
    d->os.make_directory = disk_make_directory;
    d->os.list = disk_list;
    d->os.lock = disk_lock;
    d->os.entropy = disk_entropy;
    d->os.context = d;
}

void disk_done(struct simulated_disk *d)
{
    while (d->nodes) {
        struct disk_node *next = d->nodes->next;
        free_node(d->nodes);
        d->nodes = next;
    }
    pthread_mutex_destroy(&d->lock);
}

void disk_stop_at(struct simulated_disk *d, uint64_t nth)
{
    pthread_mutex_lock(&d->lock);
    d->stop_at = nth == 0 ? 0 : d->calls + nth;
    pthread_mutex_unlock(&d->lock);
}

void disk_stop(struct simulated_disk *d)
{
    pthread_mutex_lock(&d->lock);
    d->stopped = true;
    pthread_mutex_unlock(&d->lock);
}

bool disk_stopped(struct simulated_disk *d)
{
    pthread_mutex_lock(&d->lock);
    bool stopped = d->stopped;
    pthread_mutex_unlock(&d->lock);
    return stopped;
}

uint64_t disk_calls(struct simulated_disk *d)
{
    pthread_mutex_lock(&d->lock);
    uint64_t calls = d->calls;
    pthread_mutex_unlock(&d->lock);
    return calls;
}

void disk_fail_sync(struct simulated_disk *d, uint64_t nth)
{
    pthread_mutex_lock(&d->lock);
    d->fail_sync = nth == 0 ? 0 : d->syncs + nth;
    pthread_mutex_unlock(&d->lock);
}

void disk_limit(struct simulated_disk *d, uint64_t bytes)
{
    pthread_mutex_lock(&d->lock);
    d->limit = bytes;
    pthread_mutex_unlock(&d->lock);
}

uint64_t disk_used(struct simulated_disk *d)
{
    pthread_mutex_lock(&d->lock);
    uint64_t bytes = used(d->root, NULL);
    pthread_mutex_unlock(&d->lock);
    return bytes;
}

/* --- damage --- */

struct tarn_bytes disk_content(struct simulated_disk *d, const char *path)
{
    struct tarn_bytes content = {0};
    pthread_mutex_lock(&d->lock);
    const struct disk_node *node = look_up(d, path);
    if (node && !node->directory)
        content = (struct tarn_bytes){node->bytes.now ? (const char *)node->bytes.now : "",
                                      node->bytes.now_size};
    pthread_mutex_unlock(&d->lock);
    return content;
}

/* A name's new node, or none, durable at once. */
static void put_node(struct simulated_disk *d, const char *path, struct disk_node *node)
{
    struct disk_node *directory;
    char name[NAME_BYTES];
    if (resolve(d, path, &directory, name) != 0 || !name[0] || directory->changes_count > 0)
        abort();
    set(&directory->now, name, node);
    set(&directory->durable, name, node);
    sweep(d);
}

void disk_put(struct simulated_disk *d, const char *path, struct tarn_bytes content)
{
    pthread_mutex_lock(&d->lock);
    struct disk_node *node = new_node(d, false);
    file_bytes_write(&node->bytes, content.data, content.size, 0, 0);
    file_bytes_sync(&node->bytes);
    put_node(d, path, node);
    pthread_mutex_unlock(&d->lock);
}

void disk_remove(struct simulated_disk *d, const char *path)
{
    pthread_mutex_lock(&d->lock);
    put_node(d, path, NULL);
    pthread_mutex_unlock(&d->lock);
}

static void copy_tree(struct simulated_disk *d, struct disk_node *to, const struct disk_node *from)
{
    for (size_t i = 0; i < from->now.count; i++) {
        const struct disk_node *node = from->now.all[i].node;
        struct disk_node *copy = new_node(d, node->directory);
        set(&to->now, from->now.all[i].name, copy);
        set(&to->durable, from->now.all[i].name, copy);
        if (node->directory) {
            copy_tree(d, copy, node);
        } else {
            file_bytes_write(&copy->bytes, node->bytes.now, node->bytes.now_size, 0, 0);
            file_bytes_sync(&copy->bytes);
        }
    }
}

void disk_copy(struct simulated_disk *d, struct simulated_disk *from)
{
    pthread_mutex_lock(&d->lock);
    d->root->now.count = d->root->durable.count = d->root->changes_count = 0;
    sweep(d);
    pthread_mutex_lock(&from->lock);
    copy_tree(d, d->root, from->root);
    pthread_mutex_unlock(&from->lock);
    pthread_mutex_unlock(&d->lock);
}
