/* Bugs that can be planted, to see that the tests catch them: a build with -DTARN_PLANT=<number>
 * has that one. Any other build has none, and plant() is the constant false. */
#ifndef CORE_PLANT_H
#define CORE_PLANT_H

#include <stdbool.h>

#ifndef TARN_PLANT
#define TARN_PLANT 0
#endif

enum plant_bug {
    PLANT_NONE,
    PLANT_LENGTH_UNCHECKED,   /* wal: lengths are not part of a record's checksum */
    PLANT_SEQUENCE_UNCHECKED, /* wal: replay does not look for gaps in the sequences */
    PLANT_NO_DATA_SYNC,       /* wal: records are written and never synced */
    PLANT_EARLY_HORIZON,      /* wal: under `commit` changes may be told of before the sync */
    PLANT_NO_DIRECTORY_SYNC,  /* wal: a new segment's name is not synced */
    PLANT_SYNC_RETRIED,       /* wal: a sync that failed is tried again, and believed */
    PLANT_SHORT_WRITE,        /* wal: how much a write took is not looked at */
};

static inline bool plant(enum plant_bug bug)
{
    return TARN_PLANT != PLANT_NONE && TARN_PLANT == (int)bug;
}

#endif
