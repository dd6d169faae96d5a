/* A directory, a file or a server; see place.h. */
#include "cli/place.h"

#include <fcntl.h>
#include <string.h>

#include "store/store.h"

/* Is there something of that name, and what? */
static bool examine(const struct os *os, const char *path, enum os_file_kind *ret_kind)
{
    int fd;
    struct os_file_info info;
    if (os->open(os, path, O_PATH, 0, &fd) < 0)
        return false;
    int result = os->file_info(os, fd, &info);
    (void)os->close(os, fd); /* nothing was written */
    if (result == 0)
        *ret_kind = info.kind;
    return result == 0;
}

static void note_name(void *context, const char *name)
{
    bool *holds = context;
    if (strcmp(name, "MANIFEST") == 0 || strcmp(name, "SYNCED") == 0 ||
        strncmp(name, "checkpoint-", 11) == 0 || strncmp(name, "wal-", 4) == 0)
        *holds = true;
}

bool place_holds_store(const struct os *os, const char *directory)
{
    bool holds = false;
    return os->list(os, directory, note_name, &holds) == 0 && holds;
}

static int parse(const struct os *os, const char *word, struct place *ret_place,
                 struct tarn_error *error)
{
    enum os_file_kind kind;
    *ret_place = (struct place){.kind = PLACE_DIRECTORY, .path = word};
    if (examine(os, word, &kind)) {
        ret_place->kind = kind == OS_FILE_DIRECTORY ? PLACE_DIRECTORY : PLACE_FILE;
        ret_place->is_store = kind == OS_FILE_DIRECTORY && place_holds_store(os, word);
        return TARN_OK;
    }
    if (strchr(word, '/') != NULL && strncmp(word, "http://", 7) != 0)
        return TARN_OK;
    ret_place->kind = PLACE_SERVER;
    int status = stream_address_parse(word, &ret_place->address, error);
    if (status == TARN_OK && ret_place->address.http)
        status = error_set(error, TARN_INVALID, "%.200s: this needs RESP; write HOST:PORT", word);
    return status;
}

int place_parse(const struct os *os, const char *word, const char *over, struct place *ret_place,
                struct tarn_error *error)
{
    int status = parse(os, word, ret_place, error);
    if (status != TARN_OK || *over == 0)
        return status;
    ret_place->over = over;
    return ret_place->kind == PLACE_DIRECTORY
               ? TARN_OK
               : error_set(error, TARN_INVALID,
                           "--over %s: that is about a directory, and %s is none", over, word);
}

int place_need_store(const struct place *place, struct tarn_error *error)
{
    if (place->kind == PLACE_DIRECTORY && !place->is_store)
        return error_set(error, TARN_MISSING,
                         "%s: there is no store; a directory that tarn serve --dir has made is "
                         "meant, or HOST:PORT",
                         place->path);
    return TARN_OK;
}

int place_open(const struct os *os, const struct place *place, tarn_progress progress,
               void *progress_context, struct tarn **ret_store, struct tarn_error *error)
{
    struct tarn_options options = {
        .index_readonly = true,
        .dial.durability = TARN_DURABILITY_NONE,
        .progress = progress,
        .progress_context = progress_context,
    };
    options.path = place->kind == PLACE_DIRECTORY ? place->over : place->path;
    options.directory = place->kind == PLACE_DIRECTORY ? place->path : NULL;
    int status = store_open(os, &options, ret_store, error);
    if (status != TARN_INVALID || !place->is_store || place->over != NULL)
        return status;
    struct tarn_error refused = *error;
    return error_set(error, status, "%s: --over FILE", refused.text);
}
