/* Which segments a directory holds.
 *
 * Invariants: a list is sorted, and has each number once, as names are unique.
 * Failure modes: the directory cannot be read (IO, MISSING, DENIED); NOMEM. */
#include <stdio.h>
#include <stdlib.h>

#include "core/assert.h"
#include "wal/replay_internal.h"

struct listing {
    const struct replay_start *start;
    struct segment_list *lists;
    bool failed; /* no memory */
};

static bool append(struct segment_list *list, uint64_t number)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 16;
        uint64_t *numbers = realloc(list->numbers, capacity * sizeof *numbers);
        if (!numbers)
            return false;
        list->numbers = numbers;
        list->capacity = capacity;
    }
    list->numbers[list->count++] = number;
    return true;
}

static void visit(void *context, const char *name)
{
    struct listing *l = context;
    unsigned file;
    uint64_t number;
    if (!segment_name_parse(name, &file, &number) || file >= l->start->files ||
        number < l->start->first[file])
        return;
    if (l->start->last && l->start->last[file] && number > l->start->last[file])
        return;
    l->failed |= !append(&l->lists[file], number);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

int segment_lists_read(const struct os *os, const struct replay_start *start,
                       struct segment_list lists[WAL_FILES_MAX], struct tarn_error *error)
{
    struct listing l = {start, lists, false};
    ASSERT(start->files <= WAL_FILES_MAX);
    memset(lists, 0, WAL_FILES_MAX * sizeof *lists);
    int e = os->list(os, start->directory, visit, &l);
    if (e < 0)
        return os_error(error, e, "cannot list", start->directory);
    if (l.failed)
        return error_set(error, TARN_NOMEM, "%s: out of memory", start->directory);
    for (unsigned file = 0; file < start->files; file++)
        if (lists[file].count > 1)
            qsort(lists[file].numbers, lists[file].count, sizeof(uint64_t), compare);
    return TARN_OK;
}

void segment_lists_free(struct segment_list lists[WAL_FILES_MAX])
{
    for (unsigned file = 0; file < WAL_FILES_MAX; file++)
        free(lists[file].numbers);
}

char *segment_path(const char *directory, unsigned file, uint64_t number)
{
    char name[SEGMENT_NAME_BYTES];
    segment_name(file, number, name);
    size_t size = strlen(directory) + 1 + sizeof name;
    char *path = malloc(size);
    if (path)
        snprintf(path, size, "%s/%s", directory, name);
    return path;
}
