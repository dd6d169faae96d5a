/* Giving one key the value and expiry of another, as one step.
 *
 * How: the source is looked up without a lock, and the target's item made of it, however large:
 * nobody waits for that. Then both shards are locked, and the source must still be the very item
 * that was copied, with that expiry; if not, again. After some vain tries, and inside
 * table_begin(), the item is made under the locks.
 *
 * Invariants
 * 1. What was looked up is not freed before this session is quiescent, so that another item of the
 *    key has its value at another address. A large one was frozen by the look-up: its bytes are
 *    the ones that were copied.
 * 2. What can fail comes before anything is published.
 * Failure modes: as of table_put(); nothing has changed. */
#include "table/base.h"
#include "table/journal.h"
#include "table/reclaim.h"

#define TRIES_MAX 4

struct copy {
    struct tarn_bytes keys[2]; /* source, target */
    unsigned flags;
};

/* The source as it is now, or why nothing is to be done: NOTFOUND, DUPLICATE. */
static int look_up(struct table_session *s, const struct copy *copy, struct tarn_record *ret_source)
{
    struct tarn_bytes values[2];
    (void)table_get_together(s, copy->keys, 2, values);
    if (values[0].data == NULL)
        return TARN_NOTFOUND;
    if ((copy->flags & TARN_COPY_NEW) && values[1].data != NULL)
        return TARN_DUPLICATE;
    return table_get(s, copy->keys[0], ret_source);
}

static struct item *make_target(struct table_session *s, const struct copy *copy,
                                const struct tarn_record *source)
{
    struct tarn_record target = *source;
    target.key = copy->keys[1];
    return table_make_item(s, &target);
}

/* The item of a key, expired or not; NULL: none. */
static const struct item *find_locked(struct table_session *s, struct tarn_bytes key,
                                      struct place place, struct position *ret_position)
{
    uint64_t slot =
        shard_find_locked(&s->table->shards[place.shard], place.index, key, ret_position);
    return slot != 0 ? slot_item(slot) : NULL;
}

static bool is_expired(struct table_session *s, const struct item *item)
{
    int64_t now_ms = 0;
    return table_expired(s->table, item_parts(item).expire_ms, &now_ms);
}

static bool is_unchanged_locked(struct table_session *s, const struct tarn_record *source)
{
    struct position position;
    const struct item *item =
        find_locked(s, source->key, table_place(s->table, source->key), &position);
    if (item == NULL || is_expired(s, item))
        return false;
    struct item_parts parts = item_parts(item);
    return parts.value.data == source->value.data && parts.expire_ms == source->expire_ms;
}

/* Take the source out, which was there a moment ago and may have expired since. */
static void remove_source_locked(struct table_session *s, const struct copy *copy)
{
    struct place place = table_place(s->table, copy->keys[0]);
    struct position position;
    const struct item *source = find_locked(s, copy->keys[0], place, &position);
    ASSERT(source != NULL);
    if (!journal_delete_locked(s, place.shard, item_parts(source).key))
        ASSERT(!"room was reserved");
    shard_remove_locked(s, place.shard, position);
}

/* Publish the target's item, and take the source out if it is to move. */
static int publish_locked(struct table_session *s, const struct copy *copy, struct item *item)
{
    struct place place = table_place(s->table, copy->keys[1]);
    struct position position;
    if (item_expires(item) && !shard_make_dues_locked(s, place.shard))
        return table_no_memory(s->table);
    const struct item *old = find_locked(s, copy->keys[1], place, &position);
    if (old != NULL && (copy->flags & TARN_COPY_NEW) && !is_expired(s, old))
        return TARN_DUPLICATE;
    if (!journal_reserve(s, 2) || (old == NULL && !shard_make_room_locked(s, place.shard)))
        return table_no_memory(s->table);
    if (!journal_put_locked(s, place.shard, item))
        ASSERT(!"room was reserved");
    if (old != NULL)
        shard_replace_locked(s, place.shard, position, item);
    else
        shard_insert_locked(s, place.shard, place.index, item);
    if (copy->flags & TARN_COPY_MOVE)
        remove_source_locked(s, copy);
    return TARN_OK;
}

/* Copy, then lock. BUSY: the source was changed meanwhile. */
static int copy_ahead(struct table_session *s, const struct copy *copy)
{
    struct tarn_record source;
    int status = look_up(s, copy, &source);
    if (status != TARN_OK)
        return status;
    struct item *item = make_target(s, copy, &source);
    if (item == NULL)
        return table_no_memory(s->table);
    status = TARN_NOMEM;
    if (reclaim_reserve(s, RETIRED_BY_ONE)) {
        table_begin(s, copy->keys, 2);
        status = is_unchanged_locked(s, &source) ? publish_locked(s, copy, item) : TARN_BUSY;
        table_end(s);
    }
    if (status != TARN_OK)
        table_free_item(s, item);
    return status;
}

/* Copy while both shards are locked. */
static int copy_locked(struct table_session *s, const struct copy *copy)
{
    struct tarn_record source;
    int status = look_up(s, copy, &source);
    if (status != TARN_OK)
        return status;
    struct item *item = make_target(s, copy, &source);
    if (item == NULL)
        return table_no_memory(s->table);
    /* Its time may have come since it was looked up: it need not be there any more as a source. */
    status = is_unchanged_locked(s, &source) ? publish_locked(s, copy, item) : TARN_NOTFOUND;
    if (status != TARN_OK)
        table_free_item(s, item);
    return status;
}

/* One key twice: nothing changes. */
static int copy_to_itself(struct table_session *s, const struct copy *copy)
{
    struct tarn_record source;
    int status = table_get(s, copy->keys[0], &source);
    return status == TARN_OK && (copy->flags & TARN_COPY_NEW) ? TARN_DUPLICATE : status;
}

int table_copy(struct table_session *s, struct tarn_bytes source, struct tarn_bytes target,
               unsigned flags)
{
    const struct copy copy = {{source, target}, flags};
    int status = TARN_BUSY;
    if (target.size > TARN_KEY_BYTES_MAX)
        return TARN_TOOBIG;
    if (bytes_equal(source, target))
        return copy_to_itself(s, &copy);
    int faulted = table_fault(s, source);
    if (faulted == TARN_OK)
        faulted = table_fault(s, target);
    if (faulted != TARN_OK)
        return faulted;
    for (int i = 0; i < TRIES_MAX && status == TARN_BUSY && !s->locked; i++)
        status = copy_ahead(s, &copy);
    if (status != TARN_BUSY)
        return status;
    if (!reclaim_reserve(s, RETIRED_BY_ONE))
        return TARN_NOMEM;
    bool nested = s->locked;
    if (!nested)
        table_begin(s, copy.keys, 2);
    status = copy_locked(s, &copy);
    if (!nested)
        table_end(s);
    return status;
}
