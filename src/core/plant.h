/* Bugs that can be planted, to see that the tests catch them (script/fault-plants, which names who
 * does): a build with -DTARN_PLANTS has the one that the environment names, TARN_PLANT=SHORT_WRITE.
 * Any other build has none, and plant() is the constant false. */
#ifndef CORE_PLANT_H
#define CORE_PLANT_H

#include <stdbool.h>

#define PLANTS(X)                                                                                  \
    X(NO_DATA_SYNC, "records are written and never synced")                                        \
    X(EARLY_HORIZON, "under `commit` changes may be told of before the sync")                      \
    X(NO_DIRECTORY_SYNC, "a new segment's name is not synced")                                     \
    X(SYNC_RETRIED, "a sync that failed is tried again, and believed")                             \
    X(LENGTH_UNCHECKED, "lengths are not part of a record's checksum")                             \
    X(UNLINK_BEFORE_RENAME, "old segments go before the new manifest is published")                \
    X(SEQUENCE_UNCHECKED, "replay does not look for gaps in the sequences")                        \
    X(SHORT_WRITE, "how much a write took is not looked at")                                       \
    X(NO_FILE_SYNC, "a file is renamed to its place before it is synced")                          \
    X(HALF_STEP, "a part of a step that is written counts as written")                             \
    X(EVIDENCE_IGNORED, "a log that ends too early is taken for a torn one")                       \
    X(WALK_TOO_EARLY, "a checkpoint does not wait for changes told and not yet seen")              \
    X(NOT_SYNCED_AGAIN, "what recovery has read is not written and synced again")

enum plant_bug {
#define PLANT_NAME(name, what) PLANT_##name,
    PLANTS(PLANT_NAME)
#undef PLANT_NAME
};

#ifdef TARN_PLANTS

#include <stdlib.h>
#include <string.h>

static inline bool plant(enum plant_bug bug)
{
#define PLANT_NAME(name, what) #name,
    static const char *const names[] = {PLANTS(PLANT_NAME)};
#undef PLANT_NAME
    const char *chosen = getenv("TARN_PLANT");
    return chosen != NULL && strcmp(chosen, names[bug]) == 0;
}

#else

static inline bool plant(enum plant_bug bug)
{
    (void)bug;
    return false;
}

#endif

#endif
