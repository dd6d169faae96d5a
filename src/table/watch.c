/* Watched keys. A watch is in the list of its key's shard; a writer who is about to change the key
 * marks it, under the shard's lock. Writers look only if the list is not empty.
 *
 * Invariants: 1. `changed` goes to true once. 2. A watch is in its shard's list from open to close.
 * Failure modes: no memory at open. */
#include <stdlib.h>

#include "table/base.h"
#include "table/reclaim.h"

struct table_watch {
    struct table_watch *next, **link; /* the shard's list */
    struct table *table;
    struct shard *shard;
    _Atomic bool changed;
    int64_t expire_ms; /* of the key when the watch was opened, if that was still to come; else 0 */
    size_t key_size;
    unsigned char key[];
};

/* Is there a present item of the watched key? */
static bool is_there_locked(const struct shard *shard, const struct table_watch *w)
{
    struct tarn_bytes key = {w->key, w->key_size};
    struct position position;
    int64_t now_ms = 0;
    uint64_t slot = shard_find_locked(shard, table_place(w->table, key).index, key, &position);
    return slot != 0 && !table_expired(w->table, item_parts(slot_item(slot)).expire_ms, &now_ms);
}

void watch_notify_locked(struct shard *shard, struct tarn_bytes key)
{
    for (struct table_watch *w = shard->watches; w != NULL; w = w->next)
        if (key.data == NULL ? is_there_locked(shard, w)
                             : bytes_equal((struct tarn_bytes){w->key, w->key_size}, key))
            atomic_store_explicit(&w->changed, true, memory_order_release);
}

/* When the key expires, 0: never or not there. One that has expired is taken out, so that its end
 * is not taken for a change later. */
static int64_t expiry_to_come_locked(struct table_session *s, struct place place,
                                     struct tarn_bytes key)
{
    struct position position;
    int64_t now_ms = 0;
    uint64_t slot = shard_find_locked(&s->table->shards[place.shard], place.index, key, &position);
    if (slot == 0)
        return 0;
    int64_t expire_ms = item_parts(slot_item(slot)).expire_ms;
    if (!table_expired(s->table, expire_ms, &now_ms))
        return expire_ms;
    shard_remove_expired_locked(s, place.shard, position);
    return 0;
}

int table_watch_open(struct table_session *s, struct tarn_bytes key, struct table_watch **ret_watch)
{
    struct place place = table_place(s->table, key);
    struct shard *shard = &s->table->shards[place.shard];
    int status = table_fault(s, key);
    if (status != TARN_OK)
        return status;
    struct table_watch *w = malloc(sizeof *w + key.size);
    if (w == NULL || !reclaim_reserve(s, 1)) {
        free(w);
        return TARN_NOMEM;
    }
    *w = (struct table_watch){.table = s->table, .shard = shard, .key_size = key.size};
    if (key.size > 0)
        memcpy(w->key, key.data, key.size);
    shard_lock(s, place.shard);
    w->expire_ms = expiry_to_come_locked(s, place, key);
    w->next = shard->watches;
    w->link = &shard->watches;
    if (w->next != NULL)
        w->next->link = &w->next;
    shard->watches = w;
    shard_unlock(s, place.shard);
    *ret_watch = w;
    return TARN_OK;
}

bool table_watch_changed(const struct table_watch *w)
{
    int64_t now_ms = 0;
    return atomic_load_explicit(&w->changed, memory_order_acquire) ||
           table_expired(w->table, w->expire_ms, &now_ms);
}

void table_watch_close(struct table_watch *w)
{
    if (w == NULL)
        return;
    lock_take(&w->shard->lock);
    *w->link = w->next;
    if (w->next != NULL)
        w->next->link = w->link;
    lock_give(&w->shard->lock);
    free(w);
}
