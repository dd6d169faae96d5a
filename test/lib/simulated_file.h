/* What a file holds, as a program sees it and as the medium may: the part of a simulated disk that
 * knows nothing of names. See simulated_disk.h. One thread at a time. */
#ifndef LIB_SIMULATED_FILE_H
#define LIB_SIMULATED_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FILE_UNIT_BYTES 512

/* How a power cut chooses: the same choice is asked about every file. */
enum cut_style {
    CUT_KEEPS_NOTHING,  /* of what was not synced */
    CUT_KEEPS_ALL,      /* what was written back just in time */
    CUT_KEEPS_FIRST,    /* changes before `last`, and parts of that one */
    CUT_MIXES_CONTENTS, /* any version of any unit; names in their order, up to `last` */
    CUT_MIXES_ALL,      /* names too */
    CUT_STYLES
};

struct cut {
    enum cut_style style;
    uint64_t last;   /* number of a change */
    uint64_t random; /* state */
};

/* 0..limit-1. */
uint64_t cut_random(struct cut *cut, uint64_t limit);

/* Of `count` changes with these numbers, how many does the cut keep? In their order. */
size_t cut_keeps(struct cut *cut, const uint64_t *numbers, size_t count, bool mixes);

struct file_unit;

struct file_bytes {
    unsigned char *now, *durable; /* `room` bytes each, 0 beyond the sizes */
    size_t now_size, durable_size;
    size_t room;                                  /* a multiple of FILE_UNIT_BYTES */
    struct file_unit *units;                      /* room / FILE_UNIT_BYTES */
    size_t *touched, touched_count, touched_room; /* units that have versions */
    uint64_t *size_numbers; /* of changes of the size that are not durable yet ... */
    size_t *sizes, sizes_count, sizes_room; /* ... and what they made of it */
};

/* A zeroed one is an empty file. */
void file_bytes_done(struct file_bytes *f);
void file_bytes_write(struct file_bytes *f, const void *data, size_t size, size_t offset,
                      uint64_t number);
void file_bytes_truncate(struct file_bytes *f, size_t size, uint64_t number);
void file_bytes_sync(struct file_bytes *f);
/* What a sync that failed leaves: nothing more to write back, though nothing was. */
void file_bytes_fail_sync(struct file_bytes *f);
/* Power was lost: what is left of it. */
void file_bytes_cut(struct file_bytes *f, struct cut *cut);

#endif
