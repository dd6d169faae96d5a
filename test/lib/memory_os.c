/* See memory_os.h. A descriptor is a file's place in the table, from 100 on. */
#include "lib/memory_os.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/prefetch.h"

enum { FD_FIRST = 100 };

#define HUGE_PAGE_BYTES ((size_t)2 << 20)

static struct memory_os *self(const struct os *os)
{
    return os->context;
}

static int memory_open(const struct os *os, const char *path, int flags, unsigned mode, int *ret_fd)
{
    struct memory_os *m = self(os);
    (void)mode;
    for (int i = 0; i < MEMORY_OS_FILES; i++) {
        if (m->files[i].path && strcmp(m->files[i].path, path) == 0 && (flags & 3) == 0) {
            *ret_fd = FD_FIRST + i;
            m->open++;
            return 0;
        }
    }
    return (flags & 3) == 0 ? -ENOENT : -EROFS;
}

static int memory_close(const struct os *os, int fd)
{
    (void)fd;
    self(os)->open--;
    return 0;
}

static int memory_file_info(const struct os *os, int fd, struct os_file_info *ret_info)
{
    struct memory_os *m = self(os);
    *ret_info = (struct os_file_info){
        .kind = OS_FILE_REGULAR,
        .size = m->files[fd - FD_FIRST].content.size,
        .mtime_ns = m->files[fd - FD_FIRST].mtime_ns,
        .inode = (uint64_t)fd,
    };
    return 0;
}

static int memory_read_at(const struct os *os, int fd, void *data, size_t size, uint64_t offset,
                          size_t *ret_size)
{
    struct tarn_bytes content = self(os)->files[fd - FD_FIRST].content;
    if (offset >= content.size)
        size = 0;
    else if (size > content.size - offset)
        size = content.size - offset;
    if (size > 0)
        memcpy(data, (const char *)content.data + offset, size);
    *ret_size = size;
    return 0;
}

static int memory_write_at(const struct os *os, int fd, const void *data, size_t size,
                           uint64_t offset, size_t *ret_size)
{
    (void)os, (void)fd, (void)data, (void)size, (void)offset, (void)ret_size;
    return -EROFS;
}

static int memory_sync(const struct os *os, int fd)
{
    (void)os, (void)fd;
    return -EROFS;
}

static int memory_rename(const struct os *os, const char *from, const char *to)
{
    (void)os, (void)from, (void)to;
    return -EROFS;
}

static int memory_unlink(const struct os *os, const char *path)
{
    (void)os, (void)path;
    return -EROFS;
}

static void memory_write_soon(const struct os *os, int fd, uint64_t offset, uint64_t size)
{
    (void)os, (void)fd, (void)offset, (void)size;
}

static int memory_truncate(const struct os *os, int fd, uint64_t size)
{
    (void)os, (void)fd, (void)size;
    return -EROFS;
}

static int memory_make_directory(const struct os *os, const char *path, unsigned mode)
{
    (void)os, (void)path, (void)mode;
    return -EROFS;
}

static int memory_list(const struct os *os, const char *path, os_visit_name visit, void *context)
{
    struct memory_os *m = self(os);
    size_t size = strlen(path);
    for (int i = 0; i < MEMORY_OS_FILES; i++) {
        const char *file = m->files[i].path;
        if (file && strncmp(file, path, size) == 0 && file[size] == '/')
            visit(context, file + size + 1);
    }
    return 0;
}

static int memory_map(const struct os *os, size_t size, void **ret_address)
{
    if (size == 0)
        return -EINVAL;
    void *address = NULL;
    size_t alignment = size < HUGE_PAGE_BYTES ? CACHE_LINE_BYTES : HUGE_PAGE_BYTES;
    if (size >= (size_t)1 << 32 || posix_memalign(&address, alignment, size) != 0)
        return -ENOMEM;
    memset(address, 0, size);
    self(os)->maps++;
    *ret_address = address;
    return 0;
}

static void memory_unmap(const struct os *os, void *address, size_t size)
{
    (void)size;
    if (!address)
        return;
    self(os)->maps--;
    free(address);
}

static int memory_discard(const struct os *os, void *address, size_t size)
{
    (void)os;
    memset(address, 0, size);
    return 0;
}

static uint64_t memory_monotonic_ns(const struct os *os)
{
    (void)os;
    return 1;
}

static int memory_entropy(const struct os *os, void *data, size_t size)
{
    (void)os;
    memset(data, 0x5a, size);
    return 0;
}

void memory_os_init(struct memory_os *m)
{
    *m = (struct memory_os){0};
    m->os = *os_real();
    m->os.open = memory_open;
    m->os.close = memory_close;
    m->os.file_info = memory_file_info;
    m->os.read_at = memory_read_at;
    m->os.write_at = memory_write_at;
    m->os.sync = memory_sync;
    m->os.data_sync = memory_sync;
    m->os.write_soon = memory_write_soon;
    m->os.truncate = memory_truncate;
    m->os.rename = memory_rename;
    m->os.link = memory_rename;
    m->os.make_directory = memory_make_directory;
    m->os.list = memory_list;
    m->os.lock = memory_sync;
    m->os.unlink = memory_unlink;
    m->os.map = memory_map;
    m->os.unmap = memory_unmap;
    m->os.discard = memory_discard;
    m->os.monotonic_ns = memory_monotonic_ns;
    m->os.entropy = memory_entropy;
    m->os.context = m;
}

void memory_os_clear(struct memory_os *m)
{
    memset(m->files, 0, sizeof m->files);
}

void memory_os_put(struct memory_os *m, const char *path, struct tarn_bytes content,
                   int64_t mtime_ns)
{
    for (int i = 0; i < MEMORY_OS_FILES; i++) {
        if (!m->files[i].path || strcmp(m->files[i].path, path) == 0) {
            m->files[i].path = path;
            m->files[i].content = content;
            m->files[i].mtime_ns = mtime_ns;
            return;
        }
    }
    abort();
}
