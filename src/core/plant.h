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
};

static inline bool plant(enum plant_bug bug)
{
    return TARN_PLANT != PLANT_NONE && TARN_PLANT == (int)bug;
}

#endif
