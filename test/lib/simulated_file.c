/* See simulated_file.h.
 *
 * How: two copies of the content, as it is now and as it is on the medium for sure, and for each
 * unit changed since a list of the versions it has had, oldest first. A sync copies dirty units; a
 * sync that failed makes them clean without.
 *
 * Invariants
 * 1. A unit is in `touched` exactly if it has versions; its last version is what it is now.
 * 2. A unit without versions is the same in both copies.
 * 3. sizes_count is 0 exactly if durable_size == now_size and no other size was in between. */
#include "lib/simulated_file.h"

#include <stdlib.h>
#include <string.h>

#include "core/random.h"

struct file_version {
    uint64_t number;
    struct file_version *next;
    unsigned char bytes[FILE_UNIT_BYTES];
};

struct file_unit {
    struct file_version *first, *last;
    bool dirty;
};

static void *grow(void *array, size_t size)
{
    void *grown = realloc(array, size);
    if (grown == NULL)
        abort();
    return grown;
}

/* --- choosing --- */

uint64_t cut_random(struct cut *cut, uint64_t limit)
{
    return random_below(random_next(&cut->random), limit);
}

size_t cut_keeps(struct cut *cut, const uint64_t *numbers, size_t count, bool mixes)
{
    size_t kept = 0;
    switch (cut->style) {
    case CUT_KEEPS_NOTHING:
        return 0;
    case CUT_KEEPS_ALL:
        return count;
    case CUT_MIXES_ALL:
        return cut_random(cut, count + 1);
    case CUT_MIXES_CONTENTS:
        if (mixes)
            return cut_random(cut, count + 1);
        break;
    default:
        break;
    }
    while (kept < count && numbers[kept] < cut->last)
        kept++;
    if (kept < count && numbers[kept] == cut->last)
        kept += cut_random(cut, 2);
    return kept;
}

/* --- room --- */

static void reserve(struct file_bytes *f, size_t size)
{
    if (size <= f->room)
        return;
    size_t room = f->room * 2 < 8 * FILE_UNIT_BYTES ? 8 * FILE_UNIT_BYTES : f->room * 2;
    while (room < size)
        room *= 2;
    f->now = grow(f->now, room);
    f->durable = grow(f->durable, room);
    f->units = grow(f->units, room / FILE_UNIT_BYTES * sizeof *f->units);
    memset(f->now + f->room, 0, room - f->room);
    memset(f->durable + f->room, 0, room - f->room);
    memset(f->units + f->room / FILE_UNIT_BYTES, 0,
           (room - f->room) / FILE_UNIT_BYTES * sizeof *f->units);
    f->room = room;
}

static void forget_versions(struct file_unit *unit)
{
    while (unit->first) {
        struct file_version *next = unit->first->next;
        free(unit->first);
        unit->first = next;
    }
    unit->last = NULL;
    unit->dirty = false;
}

void file_bytes_done(struct file_bytes *f)
{
    for (size_t i = 0; i < f->touched_count; i++)
        forget_versions(&f->units[f->touched[i]]);
    free(f->now);
    free(f->durable);
    free(f->units);
    free(f->touched);
    free(f->sizes);
    free(f->size_numbers);
    *f = (struct file_bytes){0};
}

/* --- changes --- */

static void note_touched(struct file_bytes *f, size_t index)
{
    if (f->touched_count == f->touched_room) {
        f->touched_room = f->touched_room ? 2 * f->touched_room : 64;
        f->touched = grow(f->touched, f->touched_room * sizeof *f->touched);
    }
    f->touched[f->touched_count++] = index;
}

/* The units from `first` on up to `end` bytes have a new version: what they hold now. */
static void note_versions(struct file_bytes *f, size_t first, size_t end, uint64_t number)
{
    for (size_t i = first / FILE_UNIT_BYTES; i * FILE_UNIT_BYTES < end; i++) {
        struct file_unit *unit = &f->units[i];
        struct file_version *version = grow(NULL, sizeof *version);
        version->number = number;
        version->next = NULL;
        memcpy(version->bytes, f->now + i * FILE_UNIT_BYTES, FILE_UNIT_BYTES);
        if (unit->last)
            unit->last->next = version;
        else
            note_touched(f, i);
        if (!unit->first)
            unit->first = version;
        unit->last = version;
        unit->dirty = true;
    }
}

static void set_size(struct file_bytes *f, size_t size, uint64_t number)
{
    if (f->sizes_count == f->sizes_room) {
        f->sizes_room = f->sizes_room ? 2 * f->sizes_room : 16;
        f->sizes = grow(f->sizes, f->sizes_room * sizeof *f->sizes);
        f->size_numbers = grow(f->size_numbers, f->sizes_room * sizeof *f->size_numbers);
    }
    f->size_numbers[f->sizes_count] = number;
    f->sizes[f->sizes_count++] = size;
    f->now_size = size;
}

void file_bytes_write(struct file_bytes *f, const void *data, size_t size, size_t offset,
                      uint64_t number)
{
    if (size == 0)
        return;
    reserve(f, offset + size);
    memcpy(f->now + offset, data, size);
    note_versions(f, offset, offset + size, number);
    if (offset + size > f->now_size)
        set_size(f, offset + size, number);
}

void file_bytes_truncate(struct file_bytes *f, size_t size, uint64_t number)
{
    if (size == f->now_size)
        return;
    reserve(f, size);
    if (size < f->now_size) {
        memset(f->now + size, 0, f->now_size - size);
        note_versions(f, size, f->now_size, number);
    }
    set_size(f, size, number);
}

/* --- making durable --- */

static void set_durable_size(struct file_bytes *f, size_t size)
{
    if (size < f->durable_size)
        memset(f->durable + size, 0, f->durable_size - size);
    f->durable_size = size;
}

void file_bytes_sync(struct file_bytes *f)
{
    size_t kept = 0;
    for (size_t i = 0; i < f->touched_count; i++) {
        size_t index = f->touched[i], offset = index * FILE_UNIT_BYTES;
        if (f->units[index].dirty) {
            memcpy(f->durable + offset, f->now + offset, FILE_UNIT_BYTES);
            forget_versions(&f->units[index]);
        } else { /* a sync that failed before has lost it */
            f->touched[kept++] = index;
        }
    }
    f->touched_count = kept;
    set_durable_size(f, f->now_size);
    f->sizes_count = 0;
}

void file_bytes_fail_sync(struct file_bytes *f)
{
    for (size_t i = 0; i < f->touched_count; i++)
        f->units[f->touched[i]].dirty = false;
}

/* --- losing power --- */

static void cut_unit(struct file_bytes *f, size_t index, struct cut *cut)
{
    struct file_unit *unit = &f->units[index];
    struct file_version *kept = NULL, *version = unit->first;
    size_t count = 0;
    for (const struct file_version *v = version; v; v = v->next)
        count++;
    if (cut->style == CUT_KEEPS_NOTHING)
        count = 0;
    else if (cut->style == CUT_MIXES_CONTENTS || cut->style == CUT_MIXES_ALL || !unit->dirty)
        count = cut_random(cut, count + 1);
    for (; count > 0; count--, version = version->next) {
        if (cut->style == CUT_KEEPS_FIRST && version->number >= cut->last &&
            (version->number > cut->last || cut_random(cut, 2)))
            break;
        kept = version;
    }
    if (kept)
        memcpy(f->durable + index * FILE_UNIT_BYTES, kept->bytes, FILE_UNIT_BYTES);
    forget_versions(unit);
}

void file_bytes_cut(struct file_bytes *f, struct cut *cut)
{
    for (size_t i = 0; i < f->touched_count; i++)
        cut_unit(f, f->touched[i], cut);
    size_t kept = cut_keeps(cut, f->size_numbers, f->sizes_count, true);
    size_t size = kept > 0 ? f->sizes[kept - 1] : f->durable_size;
    if (f->room > size)
        memset(f->durable + size, 0, f->room - size);
    if (f->now_size > size)
        memset(f->now + size, 0, f->now_size - size);
    f->durable_size = f->now_size = size;
    f->sizes_count = 0;
    for (size_t i = 0; i < f->touched_count; i++) {
        size_t offset = f->touched[i] * FILE_UNIT_BYTES;
        memcpy(f->now + offset, f->durable + offset, FILE_UNIT_BYTES);
    }
    f->touched_count = 0;
}
