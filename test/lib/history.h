/* What was done to a store, and what of it may be left: a model of a few keys, the changes made to
 * them in their order, and which of these must survive. After a crash the store must hold what the
 * keys were after some first part of the changes: never anything else.
 *
 *     history_init(&h);
 *     struct history_step step = {0};
 *     ... tarn_put(...) == TARN_OK: history_put(&step, key, id, size, expire_ms) ...
 *     size_t op = history_add(&h, &step, tarn_session_sequence(session));
 *     ... it was acknowledged: history_op(&h, op)->must = ...
 *     ... crash, open again, look: seen[key] ...
 *     history_find(&h, seen, ...) and history_keep()
 *
 * Values are known by an identity and a size, of which history_fill() makes their bytes. Locked by
 * the caller. Failures (memory) abort. */
#ifndef LIB_HISTORY_H
#define LIB_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "core/change.h"

#define HISTORY_KEYS         24
#define HISTORY_STEP_EFFECTS 16

struct history_value {
    bool present;
    int64_t expire_ms;
    unsigned char *data; /* from malloc() */
    size_t size;
};

/* What became of a key by one change. */
struct history_effect {
    enum change_kind kind;
    unsigned key;
    uint64_t id; /* of PUT's and PATCH's bytes */
    size_t size, offset;
    int64_t expire_ms;
    bool anew;       /* PATCH: of a key that was not there */
    unsigned source; /* of a copy: PUT of what this key holds; else HISTORY_KEYS */
};

/* Changes that survive together. */
struct history_step {
    struct history_effect effects[HISTORY_STEP_EFFECTS];
    unsigned count;
};

enum history_must { MUST_NOT, MUST_SURVIVE_KILL, MUST_SURVIVE_POWER_LOSS };

struct history_op {
    uint64_t sequence; /* 0: not known; then the order of adding counts */
    struct history_step step;
    bool acknowledged;
    enum history_must must;
    uint64_t asked_ns, told_ns; /* when it was begun, and acknowledged */
};

struct history {
    struct history_value base[HISTORY_KEYS]; /* before all changes */
    struct history_op *ops;
    size_t count, room;
};

void history_init(struct history *h);
void history_done(struct history *h);

/* The bytes of a key: among them the empty one, a long one, binary ones. Static. */
struct tarn_bytes history_key(unsigned key);
/* The key that has these bytes; HISTORY_KEYS: none. */
unsigned history_key_find(struct tarn_bytes bytes);

void history_fill(uint64_t id, unsigned char *data, size_t size);

/* Add to a step, which has room for HISTORY_STEP_EFFECTS. An expiry or a copy of a key that is not
 * there does nothing. */
void history_put(struct history_step *step, unsigned key, uint64_t id, size_t size,
                 int64_t expire_ms);
void history_delete(struct history_step *step, unsigned key);
void history_expire(struct history_step *step, unsigned key, int64_t expire_ms);
void history_patch(struct history_step *step, unsigned key, uint64_t id, size_t size, size_t offset,
                   int64_t expire_ms, bool anew);
void history_copy(struct history_step *step, unsigned source, unsigned target);
void history_flush(struct history_step *step);

/* Returns its number, valid until history_sort() or history_keep(). */
size_t history_add(struct history *h, const struct history_step *step, uint64_t sequence);

/* Bring the changes of several threads into the order of their sequences, which all have. An expiry
 * that was the key's already has no sequence of its own but perhaps one that was seen; it comes
 * behind that. False: two others have the same. */
bool history_sort(struct history *h);

/* After how many changes the keys are as seen, at a time between the two; the lowest and the
 * highest number. False: never. */
bool history_find(const struct history *h, const struct history_value seen[HISTORY_KEYS],
                  const int64_t time_ms[2], size_t *ret_lowest, size_t *ret_highest);

/* How many of the first changes are needed to have all that must survive this. */
size_t history_required(const struct history *h, enum history_must must);

/* What keys are after so many changes becomes the base, the later changes are forgotten. */
void history_keep(struct history *h, size_t count);

/* Say on stderr how keys after `count` changes differ from those seen. */
void history_print(const struct history *h, size_t count,
                   const struct history_value seen[HISTORY_KEYS], const int64_t time_ms[2]);

void history_values_done(struct history_value values[HISTORY_KEYS]);

#endif
