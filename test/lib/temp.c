/* Temporary directories of tests: see temp.h. */
#include "lib/temp.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void require(bool done, const char *what, const char *path)
{
    if (done)
        return;
    fprintf(stderr, "%s %s: %s\n", what, path, strerror(errno));
    abort();
}

const char *temp_new(char out[256])
{
    const char *parent = getenv("TMPDIR");
    int size = snprintf(out, 256, "%s/tarn-test-XXXXXX", parent && *parent ? parent : "/tmp");
    require(size < 256 && mkdtemp(out), "cannot make", out);
    return out;
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    require(remove(path) == 0, "cannot remove", path);
    return 0;
}

void temp_free(const char *path)
{
    require(nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) == 0, "cannot remove", path);
}

const char *temp_name(const char *path, const char *name)
{
    static _Thread_local char names[8][1024];
    static _Thread_local unsigned turn;
    char *out = names[turn++ % 8];
    int size = snprintf(out, sizeof names[0], "%s/%s", path, name);
    require(size < (int)sizeof names[0], "too long", path);
    return out;
}

void temp_write(const char *path, const void *data, size_t size)
{
    char directory[1024];
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(directory, sizeof directory, "%.*s", (int)(slash - path), path);
        require(mkdir(directory, 0777) == 0 || errno == EEXIST, "cannot make", directory);
    }
    FILE *file = fopen(path, "we");
    require(file != NULL, "cannot create", path);
    require(fwrite(data, 1, size, file) == size, "cannot write", path);
    require(fclose(file) == 0, "cannot write", path);
}

bool temp_holds(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    unsigned char *content = malloc(size + 1);
    require(content != NULL, "no memory for", path);
    bool same = fread(content, 1, size + 1, file) == size && memcmp(content, data, size) == 0;
    free(content);
    fclose(file);
    return same;
}

size_t temp_count(const char *path)
{
    DIR *directory = opendir(path);
    require(directory != NULL, "cannot read", path);
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(directory));)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(directory);
    return count;
}
