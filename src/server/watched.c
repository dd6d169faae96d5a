/* Watched keys. How: a hash set with open addressing and linear probing, at most half full. The
 * hash is seeded with an address, which clients do not know, so that they cannot make keys collide.
 *
 * Invariants: each key is in the set once, with the watch that was opened first. Failure modes: no
 * memory: the set is as it was. */
#include "server/watched.h"

#include <stdlib.h>

#include "core/bytes.h"
#include "core/hash.h"

#define CAPACITY_MIN 8

struct watched_key {
    uint64_t hash;
    struct tarn_watch *watch;
    size_t size;
    unsigned char bytes[];
};

static struct tarn_bytes key_of(const struct watched_key *k)
{
    return (struct tarn_bytes){k->bytes, k->size};
}

/* Where the key is, or the empty slot where it would be. */
static size_t find_slot(const struct watched *w, uint64_t hash, struct tarn_bytes key)
{
    size_t i = hash & (w->capacity - 1);
    while (w->slots[i] != NULL &&
           (w->slots[i]->hash != hash || !bytes_equal(key_of(w->slots[i]), key)))
        i = (i + 1) & (w->capacity - 1);
    return i;
}

/* Room for one more key. */
static bool grow(struct watched *w)
{
    if (2 * (w->count + 1) <= w->capacity)
        return true;
    struct watched bigger = {.capacity = w->capacity > 0 ? 2 * w->capacity : CAPACITY_MIN};
    bigger.slots = calloc(bigger.capacity, sizeof *bigger.slots);
    if (bigger.slots == NULL)
        return false;
    for (size_t i = 0; i < w->capacity; i++)
        if (w->slots[i] != NULL)
            bigger.slots[find_slot(&bigger, w->slots[i]->hash, key_of(w->slots[i]))] = w->slots[i];
    free(w->slots);
    w->slots = bigger.slots;
    w->bytes += (bigger.capacity - w->capacity) * sizeof *w->slots;
    w->capacity = bigger.capacity;
    return true;
}

static int open_key(struct tarn_session *session, uint64_t hash, struct tarn_bytes key,
                    struct watched_key **ret_key)
{
    struct watched_key *k = malloc(sizeof *k + key.size);
    if (k == NULL)
        return TARN_NOMEM;
    k->hash = hash;
    k->size = key.size;
    if (key.size > 0)
        memcpy(k->bytes, key.data, key.size);
    int status = tarn_watch_open(session, key, &k->watch);
    if (status != TARN_OK)
        free(k);
    else
        *ret_key = k;
    return status;
}

int watched_add(struct watched *w, struct tarn_session *session, struct tarn_bytes key)
{
    uint64_t hash = hash_checksum(key.data, key.size, (uintptr_t)session);
    if (w->count > 0 && w->slots[find_slot(w, hash, key)] != NULL)
        return TARN_OK;
    if (w->count >= WATCHED_KEYS_MAX)
        return TARN_TOOBIG;
    struct watched_key *k;
    if (!grow(w))
        return TARN_NOMEM;
    int status = open_key(session, hash, key, &k);
    if (status != TARN_OK)
        return status;
    w->slots[find_slot(w, hash, key)] = k;
    w->count++;
    w->bytes += sizeof *k + key.size;
    return TARN_OK;
}

bool watched_changed(const struct watched *w)
{
    for (size_t i = 0; i < w->capacity; i++)
        if (w->slots[i] != NULL && tarn_watch_changed(w->slots[i]->watch))
            return true;
    return false;
}

void watched_keys(const struct watched *w, struct tarn_bytes *ret_keys)
{
    for (size_t i = 0; i < w->capacity; i++)
        if (w->slots[i] != NULL)
            *ret_keys++ = key_of(w->slots[i]);
}

void watched_clear(struct watched *w)
{
    for (size_t i = 0; i < w->capacity; i++) {
        if (w->slots[i] == NULL)
            continue;
        tarn_watch_close(w->slots[i]->watch);
        free(w->slots[i]);
    }
    free(w->slots);
    *w = (struct watched){0};
}
