/* Walking a shard in the order of its keys' hashes, for who writes all of it.
 *
 * How: the shard's items are noted first, in the order of the buckets, which is nearly that of the
 * hashes; then their keys are hashed, with the items on their way meanwhile, and the notes sorted
 * by insertion.
 *
 * Invariant: an item that is in the shard all the time is visited; one that is changed meanwhile is
 * visited as it was at some moment, or not at all if that is after the change. A key is visited
 * once.
 * Failure modes: no memory for the notes: nothing was visited. */
#include <stdlib.h>

#include "table/journal.h"

struct note {
    uint64_t hash;
    const struct item *item;
};

static size_t note_items(const struct array *array, struct note *notes, size_t room)
{
    size_t count = 0;
    for (uint32_t b = 0; b < array->buckets_count && count < room; b++)
        for (unsigned i = 0; i < BUCKET_SLOTS && count < room; i++) {
            uint64_t slot = atomic_load_explicit(&array->buckets[b].slots[i], memory_order_acquire);
            if (slot == 0)
                continue;
            prefetch_line(slot_item(slot));
            notes[count++].item = slot_item(slot);
        }
    return count;
}

static void sort(struct note *notes, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct note note = notes[i];
        size_t at = i;
        for (; at > 0 && notes[at - 1].hash > note.hash; at--)
            notes[at] = notes[at - 1];
        notes[at] = note;
    }
}

/* Was an item of the same key visited just before? One that was taken out and put in again, while
 * the items were noted. */
static bool is_again(const struct note *notes, size_t i, struct tarn_bytes key)
{
    for (size_t at = i; at > 0 && notes[at - 1].hash == notes[i].hash; at--)
        if (bytes_equal(item_parts(notes[at - 1].item).key, key))
            return true;
    return false;
}

static int visit_one(struct table_session *s, const struct note *notes, size_t i, int64_t *now_ms,
                     table_visit_ordered visit, void *context)
{
    item_freeze(notes[i].item);
    struct item_parts parts = item_parts(notes[i].item);
    struct tarn_record record = {parts.key, parts.value, parts.expire_ms};
    if (is_again(notes, i, parts.key))
        return TARN_OK;
    if (table_expired(s->table, parts.expire_ms, now_ms))
        record.value = (struct tarn_bytes){NULL, 0};
    else if (record.value.size == 0)
        record.value.data = ""; /* there, and empty */
    return visit(context, notes[i].hash, &record);
}

int table_scan_ordered(struct table_session *s, uint32_t shard, table_visit_ordered visit,
                       void *context)
{
    const struct array *array = table_array_for_reading(s, shard);
    size_t room = (size_t)array->buckets_count * BUCKET_SLOTS;
    int64_t now_ms = 0;
    int status = TARN_OK;
    if (array->items_max == 0)
        return TARN_OK;
    struct note *notes = malloc(room * sizeof *notes);
    if (notes == NULL)
        return TARN_NOMEM;
    size_t count = note_items(array, notes, room);
    for (size_t i = 0; i < count; i++)
        notes[i].hash = hash_key(s->table->secret, item_parts(notes[i].item).key);
    sort(notes, count);
    for (size_t i = 0; i < count && status == TARN_OK; i++)
        status = visit_one(s, notes, i, &now_ms, visit, context);
    session_saw(s, shard);
    free(notes);
    return status;
}
