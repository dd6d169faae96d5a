/* The directory: lock, manifest, mark of what is synced. See directory.h.
 *
 * How: a new directory gets its files in this order, each durable before the next: the directory
 * itself in its parent, LOCK, SYNCED, MANIFEST. So one without a manifest never held anything,
 * unless the manifest was lost: then there are segments or checkpoints, and it is damaged.
 *
 * Invariant: between open and close the lock is held, in this process once, too.
 * Failure modes: as the header says; nothing that was there is changed by a failed open. */
#include "store/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/codec.h"
#include "core/hash.h"
#include "os/publish.h"
#include "store/manifest.h"

#define SYNCED_BYTES 32
#define SYNCED_MAGIC 0x3144434e59535254ull /* "TRSYNCD1" */

char *directory_path(const struct directory *d, const char *name)
{
    size_t size = strlen(d->path) + strlen(name) + 2;
    char *path = malloc(size);
    if (path != NULL)
        snprintf(path, size, "%s/%s", d->path, name);
    return path;
}

static int no_memory(const struct directory *d, struct tarn_error *error)
{
    return error_set(error, TARN_NOMEM, "%s: out of memory", d->path);
}

/* --- files --- */

static int open_file(struct directory *d, const char *name, int flags, int *ret_fd,
                     struct tarn_error *error)
{
    char *path = directory_path(d, name);
    if (path == NULL)
        return no_memory(d, error);
    int status = d->os->open(d->os, path, flags, 0666, ret_fd);
    if (status != 0)
        status = os_error(error, status, "cannot open", path);
    free(path);
    return status;
}

int directory_sync(struct directory *d, struct tarn_error *error)
{
    int fd, status = d->os->open(d->os, d->path, O_RDONLY | O_DIRECTORY, 0, &fd);
    if (status == 0) {
        status = os_sync_directory(d->os, fd);
        (void)d->os->close(d->os, fd);
    }
    return status == 0 ? TARN_OK : os_error(error, status, "cannot sync", d->path);
}

static int sync_parent(struct directory *d, struct tarn_error *error)
{
    int fd, status = os_open_parent(d->os, d->path, &fd);
    if (status == -EACCES)
        return TARN_OK; /* made for us by somebody else, whose matter its name is */
    if (status == 0) {
        status = os_sync_directory(d->os, fd);
        (void)d->os->close(d->os, fd);
    }
    return status == 0 ? TARN_OK : os_error(error, status, "cannot sync the parent of", d->path);
}

/* --- what is in it --- */

static bool is_segment(const char *name, unsigned *ret_file, uint64_t *ret_number)
{
    return segment_name_parse(name, ret_file, ret_number);
}

bool directory_checkpoint_parse(const char *name, uint64_t *ret_number)
{
    char again[DIRECTORY_NAME_BYTES];
    unsigned long long number;
    if (sscanf(name, "checkpoint-%llu", &number) != 1)
        return false;
    directory_checkpoint_name(number, again);
    *ret_number = number;
    return strcmp(name, again) == 0;
}

void directory_checkpoint_name(uint64_t number, char ret_name[DIRECTORY_NAME_BYTES])
{
    snprintf(ret_name, DIRECTORY_NAME_BYTES, "checkpoint-%010llu", (unsigned long long)number);
}

struct contents {
    bool manifest;
    unsigned data;    /* segments and checkpoints */
    unsigned strange; /* not ours */
    char example[64]; /* one of them */
};

static void note_name(void *context, const char *name)
{
    struct contents *c = context;
    unsigned file;
    uint64_t number;
    if (is_segment(name, &file, &number) || directory_checkpoint_parse(name, &number)) {
        c->data++;
    } else if (strcmp(name, "MANIFEST") == 0) {
        c->manifest = true;
    } else if (strcmp(name, "LOCK") != 0 && strcmp(name, "SYNCED") != 0 &&
               strcmp(name, "lost+found") != 0 && strstr(name, ".tmp.") == NULL) {
        c->strange++;
        snprintf(c->example, sizeof c->example, "%s", name);
    }
}

/* OK: it has a manifest, or is one for a new store. */
static int check_new(struct directory *d, struct tarn_error *error)
{
    struct contents c = {0};
    int status = d->os->list(d->os, d->path, note_name, &c);
    if (status != 0)
        return os_error(error, status, "cannot list", d->path);
    if (c.data > 0 && !c.manifest)
        return error_set(error, TARN_CORRUPT,
                         "%s: MANIFEST is missing, but there are log segments or checkpoints; "
                         "`tarn repair` can salvage them into a new directory",
                         d->path);
    if (c.strange > 0 && !c.manifest)
        return error_set(
            error, TARN_INVALID,
            "%s: not a directory of a store, it holds \"%s\"; name an empty or a new one", d->path,
            c.example);
    return TARN_OK;
}

/* --- the mark of what is synced --- */

static void encode_synced(uint64_t store_id, uint64_t sequence, unsigned char out[SYNCED_BYTES])
{
    store_u64le(out, SYNCED_MAGIC);
    store_u64le(out + 8, store_id);
    store_u64le(out + 16, sequence);
    store_u64le(out + 24, hash_checksum(out, 24, 0));
}

static int write_synced(struct directory *d, uint64_t sequence)
{
    unsigned char bytes[SYNCED_BYTES];
    encode_synced(d->store_id, sequence, bytes);
    return os_write_full(d->os, d->synced_fd, bytes, sizeof bytes, 0);
}

/* The mark only helps to notice damage: that it cannot be written is no failure of the store. */
void directory_mark_synced(struct directory *d, uint64_t sequence)
{
    (void)write_synced(d, sequence);
}

int directory_lower_synced(struct directory *d, uint64_t sequence, struct tarn_error *error)
{
    int status = write_synced(d, sequence);
    if (status == 0)
        status = d->os->sync(d->os, d->synced_fd);
    return status == 0 ? TARN_OK : os_error(error, status, "cannot write SYNCED in", d->path);
}

int directory_read_synced(struct directory *d, uint64_t *ret_sequence, struct tarn_error *error)
{
    unsigned char bytes[SYNCED_BYTES], again[SYNCED_BYTES];
    int status = os_read_full(d->os, d->synced_fd, bytes, sizeof bytes, 0);
    if (status != 0 && status != -ENODATA)
        return os_error(error, status, "cannot read SYNCED in", d->path);
    encode_synced(d->store_id, status == 0 ? load_u64le(bytes + 16) : 0, again);
    if (status != 0 || memcmp(bytes, again, sizeof bytes) != 0)
        return error_set(error, TARN_CORRUPT,
                         "%s: SYNCED is damaged, or another store's; `tarn repair` can salvage "
                         "what is sound into a new directory",
                         d->path);
    *ret_sequence = load_u64le(bytes + 16);
    return TARN_OK;
}

static int make_synced(struct directory *d, struct tarn_error *error)
{
    int status = open_file(d, "SYNCED", O_RDWR | O_CREAT, &d->synced_fd, error);
    if (status != TARN_OK)
        return status;
    return directory_lower_synced(d, 0, error);
}

/* --- the manifest --- */

int directory_put_manifest(struct directory *d, const struct manifest *manifest,
                           struct tarn_error *error)
{
    struct buffer text = {.size_max = MANIFEST_BYTES_MAX};
    struct publish publish = {.fd = -1};
    char *path = directory_path(d, "MANIFEST");
    manifest_write(manifest, &text);
    int status = path == NULL || text.failed ? no_memory(d, error)
                                             : publish_open(&publish, d->os, path, error);
    if (status == TARN_OK)
        status = publish_append(&publish, text.data, text.size, error);
    if (status == TARN_OK)
        status = publish_commit(&publish, error);
    publish_abort(&publish);
    buffer_done(&text);
    free(path);
    return status;
}

int directory_read_manifest(struct directory *d, struct manifest *ret_manifest,
                            struct tarn_error *error)
{
    struct buffer text = {.size_max = 0};
    char *path = directory_path(d, "MANIFEST");
    int status = path == NULL ? no_memory(d, error)
                              : os_read_file(d->os, path, MANIFEST_BYTES_MAX, &text, error);
    if (status == TARN_TOOBIG ||
        (status == TARN_OK && !manifest_read(buffer_view(&text), ret_manifest)))
        status = error_set(error, TARN_CORRUPT,
                           "%s: MANIFEST is damaged; `tarn repair` can salvage what is sound into "
                           "a new directory",
                           d->path);
    buffer_done(&text);
    free(path);
    return status;
}

/* --- opening --- */

/* Nothing is made in a directory that has other things in it. */
static int make_lock(struct directory *d, bool readonly, struct tarn_error *error)
{
    int status = check_new(d, error);
    if (status == TARN_OK && readonly)
        status = error_set(error, TARN_CORRUPT, "%s: LOCK is missing: not a directory of a store",
                           d->path);
    return status == TARN_OK ? open_file(d, "LOCK", O_RDWR | O_CREAT, &d->lock_fd, error) : status;
}

static int lock(struct directory *d, bool readonly, struct tarn_error *error)
{
    int status = open_file(d, "LOCK", O_RDWR, &d->lock_fd, error);
    if (status == TARN_MISSING)
        status = make_lock(d, readonly, error);
    if (status != TARN_OK)
        return status;
    status = d->os->lock(d->os, d->lock_fd);
    if (status == -EWOULDBLOCK)
        return error_set(error, TARN_BUSY, "%s: in use by another process", d->path);
    return status == 0 ? TARN_OK : os_error(error, status, "cannot lock", d->path);
}

static int make_directory(struct directory *d, struct tarn_error *error)
{
    int status = d->os->make_directory(d->os, d->path, 0777);
    return status == 0 || status == -EEXIST
               ? TARN_OK
               : os_error(error, status, "cannot make the directory", d->path);
}

static int check_is_directory(struct directory *d, struct tarn_error *error)
{
    int fd, status = d->os->open(d->os, d->path, O_RDONLY | O_DIRECTORY, 0, &fd);
    if (status == -ENOTDIR)
        return error_set(error, TARN_INVALID, "%s: not a directory", d->path);
    if (status != 0)
        return os_error(error, status, "cannot open the directory", d->path);
    (void)d->os->close(d->os, fd);
    return TARN_OK;
}

static int begin_store(struct directory *d, struct manifest *ret_manifest, struct tarn_error *error)
{
    int status = check_new(d, error);
    if (status != TARN_OK)
        return status;
    *ret_manifest = (struct manifest){.generation = 1, .closed = true};
    status = d->os->entropy(d->os, &ret_manifest->store_id, sizeof ret_manifest->store_id);
    if (status != 0)
        return os_error(error, status, "read", "random bytes");
    d->store_id = ret_manifest->store_id;
    status = make_synced(d, error);
    if (status == TARN_OK)
        status = directory_sync(d, error);
    if (status == TARN_OK) /* also if it was there: whoever made it may have been killed since */
        status = sync_parent(d, error);
    if (status == TARN_OK)
        status = directory_put_manifest(d, ret_manifest, error);
    return status;
}

static int open_synced(struct directory *d, bool readonly, struct tarn_error *error)
{
    int status = open_file(d, "SYNCED", readonly ? O_RDONLY : O_RDWR, &d->synced_fd, error);
    if (status == TARN_MISSING)
        return error_set(
            error, TARN_CORRUPT,
            "%s: SYNCED is missing; `tarn repair` can salvage what is there into a new "
            "directory",
            d->path);
    return status;
}

int directory_open(const struct os *os, const char *path, bool readonly,
                   struct directory *ret_directory, struct manifest *ret_manifest,
                   struct tarn_error *error)
{
    struct directory *d = ret_directory;
    *d = (struct directory){.os = os, .path = strdup(path), .lock_fd = -1, .synced_fd = -1};
    int status = TARN_OK;
    if (d->path == NULL)
        status = error_set(error, TARN_NOMEM, "%s: out of memory", path);
    if (status == TARN_OK && !readonly)
        status = make_directory(d, error);
    if (status == TARN_OK)
        status = check_is_directory(d, error);
    if (status == TARN_OK)
        status = lock(d, readonly, error);
    if (status != TARN_OK)
        goto failed;
    status = directory_read_manifest(d, ret_manifest, error);
    if (status == TARN_MISSING) {
        status = readonly ? check_new(d, error) : begin_store(d, ret_manifest, error);
        if (readonly && status == TARN_OK)
            status = error_set(error, TARN_MISSING, "%s: there is no store in it yet", d->path);
    } else if (status == TARN_OK) {
        d->store_id = ret_manifest->store_id;
        status = open_synced(d, readonly, error);
    }
    if (status == TARN_OK)
        return TARN_OK;
failed:
    directory_close(d);
    return status;
}

int directory_create(const struct os *os, const char *path, uint64_t store_id,
                     struct directory *ret_directory, struct tarn_error *error)
{
    struct directory *d = ret_directory;
    *d = (struct directory){
        .os = os, .path = strdup(path), .store_id = store_id, .lock_fd = -1, .synced_fd = -1};
    int status = d->path != NULL ? TARN_OK : TARN_NOMEM;
    int made = status == TARN_OK ? os->make_directory(os, path, 0777) : 0;
    if (status != TARN_OK)
        error_set(error, status, "%s: out of memory", path);
    else if (made == -EEXIST)
        status = error_set(error, TARN_INVALID, "%s: is there already; name a new directory", path);
    else if (made != 0)
        status = os_error(error, made, "cannot make the directory", path);
    else
        status = sync_parent(d, error);
    if (status == TARN_OK)
        status = lock(d, false, error);
    if (status == TARN_OK)
        status = make_synced(d, error);
    if (status != TARN_OK)
        directory_close(d);
    return status;
}

void directory_close(struct directory *d)
{
    if (d->synced_fd >= 0)
        (void)d->os->close(d->os, d->synced_fd);
    if (d->lock_fd >= 0)
        (void)d->os->close(d->os, d->lock_fd);
    free(d->path);
    *d = (struct directory){.os = d->os, .lock_fd = -1, .synced_fd = -1};
}

/* --- removing what is left over --- */

struct cleaning {
    struct directory *d;
    const struct manifest *manifest;
};

static bool is_left_over(const struct manifest *m, const char *name)
{
    unsigned file;
    uint64_t number;
    if (directory_checkpoint_parse(name, &number))
        return number != m->checkpoint_number;
    if (is_segment(name, &file, &number))
        return file < m->files &&
               (number < m->first[file] || (m->last[file] != 0 && number > m->last[file]));
    return strncmp(name, "MANIFEST.tmp.", 13) == 0 ||
           (strncmp(name, "checkpoint-", 11) == 0 && strstr(name, ".tmp.") != NULL);
}

static void clean_name(void *context, const char *name)
{
    const struct cleaning *c = context;
    char *path = is_left_over(c->manifest, name) ? directory_path(c->d, name) : NULL;
    if (path != NULL)
        (void)c->d->os->unlink(c->d->os, path);
    free(path);
}

void directory_clean(struct directory *d, const struct manifest *manifest)
{
    struct cleaning c = {d, manifest};
    (void)d->os->list(d->os, d->path, clean_name, &c);
}
