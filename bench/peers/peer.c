/* What the drivers share: directories that come and go, errors, arrays that grow. */
#include "peers/peer.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int peer_error(struct tarn_error *error, const char *name, const char *what, const char *text)
{
    return error_set(error, TARN_IO, "%s: %s: %s", name, what, text ? text : "unknown error");
}

/* The directory of this program: on the file system of the build. */
static void program_directory(char out[PEER_PATH_BYTES])
{
    ssize_t size = readlink("/proc/self/exe", out, PEER_PATH_BYTES - 1);
    out[size > 0 ? size : 0] = 0;
    char *slash = strrchr(out, '/');
    if (slash)
        *slash = 0;
    else
        strcpy(out, "/tmp");
}

int peer_directory_open(struct peer_directory *d, const char *name, const char *path,
                        struct tarn_error *error)
{
    char parent[PEER_PATH_BYTES];
    const char *wanted = getenv("TMPDIR");
    int size;

    d->temporary = !*path;
    if (d->temporary) {
        if (!wanted || !*wanted) {
            program_directory(parent);
            wanted = parent;
        }
        size = snprintf(d->path, sizeof d->path, "%s/%s-XXXXXX", wanted, name);
    } else {
        size = snprintf(d->path, sizeof d->path, "%s", path);
    }
    if (size >= (int)sizeof d->path)
        return error_set(error, TARN_INVALID, "%s: the path is too long: %.200s...", name, d->path);
    if (d->temporary ? !mkdtemp(d->path) : mkdir(d->path, 0777) && errno != EEXIST)
        return os_error(error, -errno, "cannot make the directory", d->path);
    return TARN_OK;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info, (void)kind, (void)place;
    (void)remove(path); /* what cannot be removed stays in a temporary directory */
    return 0;
}

void peer_directory_close(const struct peer_directory *d)
{
    if (d->temporary)
        (void)nftw(d->path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void peer_directory_file(const struct peer_directory *d, const char *file,
                         char out[PEER_PATH_BYTES])
{
    snprintf(out, PEER_PATH_BYTES, "%s/%s", d->path, file);
}

int peer_grow(void *array, size_t *capacity, size_t count, size_t size, struct tarn_error *error)
{
    void *old, *new;

    if (count <= *capacity)
        return TARN_OK;
    memcpy(&old, array, sizeof old);
    new = reallocarray(old, count, size);
    if (!new)
        return error_set(error, TARN_NOMEM, "out of memory");
    memset((char *)new + *capacity *size, 0, (count - *capacity) * size);
    memcpy(array, &new, sizeof new);
    *capacity = count;
    return TARN_OK;
}
