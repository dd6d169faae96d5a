/* See scratch.h. */
#include "lib/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static _Noreturn void die(const char *what, const char *path)
{
    fprintf(stderr, "scratch: %s %s: %s\n", what, path, strerror(errno));
    abort();
}

void scratch_open(struct scratch *s)
{
    const char *parent = getenv("TMPDIR");
    int length = snprintf(s->path, sizeof s->path, "%s/tarn-test-XXXXXX", parent ? parent : "/tmp");
    if (length < 0 || (size_t)length > sizeof s->path - 64 || !mkdtemp(s->path))
        die("cannot make", s->path);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void scratch_close(struct scratch *s)
{
    if (nftw(s->path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0)
        die("cannot remove", s->path);
}

const char *scratch_name(const struct scratch *s, const char *name, char out[SCRATCH_PATH_BYTES])
{
    int length = snprintf(out, SCRATCH_PATH_BYTES, "%.190s/%.60s", s->path, name);
    if (length < 0)
        die("cannot name", name);
    return out;
}

const char *scratch_at(const struct scratch *s, const char *name)
{
    static _Thread_local char names[8][SCRATCH_PATH_BYTES];
    static _Thread_local unsigned turn;
    return scratch_name(s, name, names[turn++ % 8]);
}

static size_t count_entries(const char *path, const char *part)
{
    DIR *directory = opendir(path);
    if (!directory)
        die("cannot list", path);
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
                 strstr(entry->d_name, part) != NULL;
    closedir(directory);
    return count;
}

size_t scratch_count(const struct scratch *s, const char *part)
{
    return count_entries(s->path, part);
}

size_t scratch_fd_count(void)
{
    return count_entries("/proc/self/fd", "") - 1; /* without the listing's own */
}

static void make_parents(const char *path)
{
    char directory[1024];
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(directory, sizeof directory, "%.*s", (int)(slash - path), path);
        if (mkdir(directory, 0777) != 0 && errno != EEXIST)
            die("cannot make", directory);
    }
}

void file_write(const char *path, struct tarn_bytes content)
{
    make_parents(path);
    FILE *f = fopen(path, "wb");
    if (!f || (content.size && fwrite(content.data, 1, content.size, f) != content.size) ||
        fclose(f) != 0)
        die("cannot write", path);
}

bool file_read(const char *path, struct buffer *ret_content)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    buffer_clear(ret_content);
    unsigned char part[4096];
    for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;)
        buffer_append(ret_content, part, n);
    if (ferror(f) || fclose(f) != 0 || ret_content->failed)
        die("cannot read", path);
    return true;
}

bool file_holds(const char *path, struct tarn_bytes content)
{
    struct buffer found;
    buffer_init(&found, 0);
    bool same = file_read(path, &found) && found.size == content.size &&
                (found.size == 0 || memcmp(found.data, content.data, found.size) == 0);
    buffer_done(&found);
    return same;
}
