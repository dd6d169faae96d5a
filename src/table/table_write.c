/* Writing the table.
 *
 * How: the new item is made first, from memory of the session's arena, outside any lock; then the
 * shard is locked, the key found, the slot stored. What can fail (memory for the item, a larger
 * array, the list of what is retired) comes before anything is published, so a change happens
 * wholly or not at all. Several keys: all items are made, the shards locked in order, room made in
 * each, all marked busy; then everything is published.
 *
 * Invariants
 * 1. No allocation between the first published slot and the end of a change.
 * 2. An item that was not published is freed directly, one that was is retired.
 * Failure modes: FULL (budget), NOMEM (no budget, but malloc fails), TOOBIG; nothing has changed.
 */
#include <stdlib.h>

#include "table/base.h"
#include "table/journal.h"
#include "table/reclaim.h"

#define ON_STACK 64

static int check_sizes(struct tarn_bytes key, size_t value_size)
{
    return key.size > TARN_KEY_BYTES_MAX || value_size > TARN_VALUE_BYTES_MAX ? TARN_TOOBIG
                                                                              : TARN_OK;
}

int table_no_memory(const struct table *t)
{
    return budget_limit(&t->budget) != 0 ? TARN_FULL : TARN_NOMEM;
}

static struct item *make_item(struct table_session *s, const struct tarn_record *record)
{
    struct table *t = s->table;
    return item_new(&t->items, s->arena, record->key, record->value, record->expire_ms, 0);
}

void table_free_item(struct table_session *s, struct item *item)
{
    if (item != NULL)
        item_free_many(&s->table->items, &item, 1);
}

struct item *table_make_item(struct table_session *s, const struct tarn_record *record)
{
    struct item *item = make_item(s, record);
    if (item == NULL && !s->locked &&
        reclaim_evict(s, record->key.size + record->value.size + sizeof(struct item_large)))
        item = make_item(s, record);
    return item;
}

/* Publish an item under its key, and tell of it as `change` (NULL: as a new value). False: no room,
 * or it cannot be told; nothing has changed. */
static bool publish_locked(struct table_session *s, struct place place, struct tarn_bytes key,
                           struct item *item, const struct change *change)
{
    struct position position;
    struct shard *shard = &s->table->shards[place.shard];
    if (item_expires(item) && !shard_make_dues_locked(s, place.shard))
        return false;
    bool there = shard_find_locked(shard, place.index, key, &position) != 0;
    if (!there && !shard_make_room_locked(s, place.shard))
        return false;
    if (change != NULL ? !journal_tell_locked(s, place.shard, change)
                       : !journal_put_locked(s, place.shard, item))
        return false;
    shard_change_begin_locked(s, place.shard);
    if (there)
        shard_replace_locked(s, place.shard, position, item);
    else
        shard_insert_locked(s, place.shard, place.index, item);
    shard_change_end_locked(s, place.shard);
    return true;
}

static bool is_past(const struct table *t, int64_t expire_ms)
{
    int64_t now_ms = 0;
    return table_expired(t, expire_ms, &now_ms);
}

int table_put(struct table_session *s, const struct tarn_record *record)
{
    int status = check_sizes(record->key, record->value.size);
    if (status != TARN_OK)
        return status;
    if (is_past(s->table, record->expire_ms)) {
        status = table_delete(s, record->key);
        return status == TARN_NOTFOUND ? TARN_OK : status;
    }
    struct place place = table_place(s->table, record->key);
    prefetch_line(&s->table->shards[place.shard]);
    if (!reclaim_reserve(s, RETIRED_BY_ONE))
        return TARN_NOMEM;
    struct item *item = table_make_item(s, record);
    if (item == NULL)
        return table_no_memory(s->table);
    shard_lock(s, place.shard);
    bool done = publish_locked(s, place, record->key, item, NULL);
    shard_unlock(s, place.shard);
    if (done)
        return TARN_OK;
    table_free_item(s, item);
    return table_no_memory(s->table);
}

int table_delete(struct table_session *s, struct tarn_bytes key)
{
    struct place place = table_place(s->table, key);
    struct position position;
    int status = table_fault(s, key);
    if (status != TARN_OK)
        return status;
    if (!reclaim_reserve(s, RETIRED_BY_ONE))
        return TARN_NOMEM;
    status = TARN_NOTFOUND;
    shard_lock(s, place.shard);
    uint64_t slot = shard_find_locked(&s->table->shards[place.shard], place.index, key, &position);
    if (slot != 0 && is_past(s->table, item_parts(slot_item(slot)).expire_ms)) {
        shard_remove_expired_locked(s, place.shard, position);
    } else if (slot != 0 &&
               !journal_delete_locked(s, place.shard, item_parts(slot_item(slot)).key)) {
        status = TARN_NOMEM;
    } else if (slot != 0) {
        shard_change_begin_locked(s, place.shard);
        shard_remove_locked(s, place.shard, position);
        shard_change_end_locked(s, place.shard);
        status = TARN_OK;
    }
    session_saw(s, place.shard);
    shard_unlock(s, place.shard);
    return status;
}

/* --- read, decide, write --- */

/* What tarn_update() works on, under the lock. */
struct subject {
    struct place place;
    struct position position;
    struct item *item; /* NULL: the key is not there, or expired (then `stale`) */
    bool stale;        /* an expired item is in the way, at position */
};

static struct subject find_subject_locked(struct table_session *s, struct tarn_bytes key)
{
    struct subject subject = {.place = table_place(s->table, key)};
    const struct shard *shard = &s->table->shards[subject.place.shard];
    uint64_t slot = shard_find_locked(shard, subject.place.index, key, &subject.position);
    session_saw(s, subject.place.shard);
    if (slot == 0)
        return subject;
    subject.stale = is_past(s->table, item_parts(slot_item(slot)).expire_ms);
    if (subject.stale)
        return subject;
    subject.item = slot_item(slot);
    if (session_marks(s))
        item_visit(subject.item);
    return subject;
}

static int store_locked(struct table_session *s, const struct subject *subject,
                        struct tarn_bytes key, struct item *item, const struct change *change)
{
    if (item == NULL)
        return table_no_memory(s->table);
    if (publish_locked(s, subject->place, key, item, change))
        return TARN_OK;
    table_free_item(s, item);
    return table_no_memory(s->table);
}

/* A patch, or another expiry, of an item that is there, as it is told. */
static struct change update_change(const struct subject *subject, const struct tarn_update *update,
                                   bool patches)
{
    return (struct change){
        .kind = patches ? CHANGE_PATCH : CHANGE_EXPIRE,
        .key = item_parts(subject->item).key,
        .value = patches ? update->patch : (struct tarn_bytes){NULL, 0},
        .offset = patches ? update->patch_offset : 0,
        .expire_ms = update->record.expire_ms,
    };
}

/* Change a large item where it lies; its shard's readers of several keys retry. TARN_OK; NOTFOUND:
 * it cannot be changed there; NOMEM. */
static int change_in_place_locked(struct table_session *s, const struct subject *subject,
                                  const struct tarn_update *update, bool patches)
{
    if (subject->item == NULL || !item_is_large(subject->item))
        return TARN_NOTFOUND;
    uint32_t shard = subject->place.shard;
    int64_t before_ms = item_parts(subject->item).expire_ms;
    int64_t expire_ms = update->record.expire_ms;
    if (expire_ms != 0 && !shard_make_dues_locked(s, shard))
        return TARN_NOTFOUND;
    if (patches && !item_patch_begin(subject->item, update->patch, update->patch_offset))
        return TARN_NOTFOUND;
    const struct change change = update_change(subject, update, patches);
    if (!journal_tell_locked(s, shard, &change)) {
        if (patches)
            item_patch_end(subject->item);
        return table_no_memory(s->table);
    }
    struct position position;
    (void)shard_find_locked(&s->table->shards[shard], subject->place.index, update->record.key,
                            &position);
    shard_change_begin_locked(s, shard);
    if (patches)
        item_patch(subject->item, update->patch, update->patch_offset);
    item_set_expiry(subject->item, expire_ms);
    if (patches)
        item_patch_end(subject->item);
    shard_set_expiry_locked(s, shard, position, before_ms, expire_ms);
    shard_change_end_locked(s, shard);
    return TARN_OK;
}

static int patch_locked(struct table_session *s, const struct subject *subject,
                        const struct tarn_update *update, struct tarn_bytes value)
{
    struct table *t = s->table;
    if (update->patch_offset > TARN_VALUE_BYTES_MAX ||
        update->patch.size > TARN_VALUE_BYTES_MAX - update->patch_offset)
        return TARN_TOOBIG;
    int status = change_in_place_locked(s, subject, update, true);
    if (status != TARN_NOTFOUND)
        return status;
    struct item *item =
        item_new_patched(&t->items, s->arena, update->record.key, value, update->patch,
                         update->patch_offset, update->record.expire_ms);
    if (subject->item == NULL || !item_is_large(subject->item))
        return store_locked(s, subject, update->record.key, item, NULL);
    const struct change change = update_change(subject, update, true);
    return store_locked(s, subject, update->record.key, item, &change);
}

static int remove_locked(struct table_session *s, const struct subject *subject)
{
    if (subject->item != NULL) {
        if (!journal_delete_locked(s, subject->place.shard, item_parts(subject->item).key))
            return table_no_memory(s->table);
        shard_change_begin_locked(s, subject->place.shard);
        shard_remove_locked(s, subject->place.shard, subject->position);
        shard_change_end_locked(s, subject->place.shard);
    }
    return TARN_OK;
}

static int expire_locked(struct table_session *s, const struct subject *subject,
                         struct tarn_update *update, struct tarn_bytes value)
{
    if (subject->item == NULL)
        return TARN_OK;
    int status = change_in_place_locked(s, subject, update, false);
    if (status != TARN_NOTFOUND)
        return status;
    update->record.value = value;
    const struct change change = update_change(subject, update, false);
    return store_locked(s, subject, update->record.key, make_item(s, &update->record), &change);
}

/* Do what the function wants. value: the key's present one. */
static int obey_locked(struct table_session *s, const struct subject *subject,
                       enum tarn_verdict verdict, struct tarn_update *update,
                       struct tarn_bytes value)
{
    struct tarn_bytes key = update->record.key;
    if (verdict != TARN_KEEP && verdict != TARN_PEEK && verdict != TARN_REMOVE &&
        is_past(s->table, update->record.expire_ms))
        verdict = TARN_REMOVE;
    switch (verdict) {
    case TARN_STORE:
        if (update->record.value.size > TARN_VALUE_BYTES_MAX)
            return TARN_TOOBIG;
        return store_locked(s, subject, key, make_item(s, &update->record), NULL);
    case TARN_PATCH:
        return patch_locked(s, subject, update, value);
    case TARN_EXPIRE:
        return expire_locked(s, subject, update, value);
    case TARN_REMOVE:
        return remove_locked(s, subject);
    case TARN_KEEP:
    case TARN_PEEK:
        break;
    }
    return TARN_OK;
}

int table_update(struct table_session *s, struct tarn_bytes key, tarn_change change, void *context)
{
    int status = check_sizes(key, 0);
    if (status != TARN_OK)
        return status;
    uint32_t shard = table_place(s->table, key).shard;
    status = table_fault(s, key);
    if (status != TARN_OK)
        return status;
    if (!reclaim_reserve(s, RETIRED_BY_ONE))
        return TARN_NOMEM;
    shard_lock(s, shard);
    struct subject subject = find_subject_locked(s, key);
    struct tarn_update update = {.record = {.key = key}};
    if (subject.item != NULL) {
        struct item_parts parts = item_parts(subject.item);
        update.record.value = parts.value;
        update.record.expire_ms = parts.expire_ms;
    }
    if (subject.stale)
        shard_remove_expired_locked(s, shard, subject.position);
    struct tarn_bytes value = update.record.value;
    enum tarn_verdict verdict = change(context, &update);
    update.record.key = key;
    if (subject.item != NULL && verdict != TARN_PATCH && verdict != TARN_PEEK)
        item_freeze(subject.item);
    status = obey_locked(s, &subject, verdict, &update, value);
    shard_unlock(s, shard);
    if (status == TARN_FULL && !s->locked)
        (void)reclaim_evict(s, value.size + update.record.value.size + update.patch.size);
    return status;
}

/* Put the item (NULL: its time is past) if the condition holds. */
static int put_if_locked(struct table_session *s, struct tarn_bytes key, struct item *item,
                         tarn_condition condition, void *context)
{
    struct subject subject = find_subject_locked(s, key);
    struct tarn_record present = {.key = key};
    if (subject.item != NULL) {
        item_freeze(subject.item);
        struct item_parts parts = item_parts(subject.item);
        present.value = parts.value;
        present.expire_ms = parts.expire_ms;
    }
    if (subject.stale)
        shard_remove_expired_locked(s, subject.place.shard, subject.position);
    if (!condition(context, &present))
        return TARN_CANCELLED;
    if (item == NULL)
        return remove_locked(s, &subject);
    return publish_locked(s, subject.place, key, item, NULL) ? TARN_OK : table_no_memory(s->table);
}

int table_put_if(struct table_session *s, const struct tarn_record *record,
                 tarn_condition condition, void *context)
{
    int status = check_sizes(record->key, record->value.size);
    if (status == TARN_OK)
        status = table_fault(s, record->key);
    if (status != TARN_OK)
        return status;
    if (!reclaim_reserve(s, RETIRED_BY_ONE))
        return TARN_NOMEM;
    struct item *item = NULL;
    if (!is_past(s->table, record->expire_ms)) {
        item = table_make_item(s, record);
        if (item == NULL)
            return table_no_memory(s->table);
    }
    uint32_t shard = table_place(s->table, record->key).shard;
    shard_lock(s, shard);
    status = put_if_locked(s, record->key, item, condition, context);
    shard_unlock(s, shard);
    if (status != TARN_OK)
        table_free_item(s, item);
    return status;
}

/* --- several keys at one moment --- */

void session_note_shards(struct table_session *s, const struct tarn_bytes *keys, size_t count)
{
    memset(s->locked_shards, keys == NULL ? 0xff : 0, sizeof s->locked_shards);
    for (size_t i = 0; keys != NULL && i < count; i++) {
        uint32_t shard = table_place(s->table, keys[i]).shard;
        s->locked_shards[shard / 64] |= 1ull << shard % 64;
    }
}

static void begin_noted(struct table_session *s)
{
    ASSERT(!s->locked);
    shards_lock(s);
    shards_change_begin_locked(s);
    s->locked = true;
}

void table_begin(struct table_session *s, const struct tarn_bytes *keys, size_t count)
{
    for (size_t i = 0; keys != NULL && i < count; i++) {
        int status = table_fault(s, keys[i]); /* so that the base is not read under the locks */
        (void)status;                         /* who looks for the key there is told */
    }
    session_note_shards(s, keys, count);
    begin_noted(s);
}

void table_end(struct table_session *s)
{
    ASSERT(s->locked);
    journal_end_locked(s);
    s->locked = false;
    shards_change_end_locked(s);
    shards_unlock(s);
}

/* One record of table_put_many(). */
struct put {
    struct place place;
    struct item *item; /* NULL: its time is past, the key is to go */
    struct position
        found; /* where the key was before anything was published; array NULL: nowhere */
};

/* Fetch what publishing will touch: shards, arrays, buckets, which arrive while items are made ...
 */
static void approach_buckets(const struct table *t, const struct tarn_record *records,
                             struct put *puts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        puts[i].place = table_place(t, records[i].key);
        prefetch_line(&t->shards[puts[i].place.shard]);
    }
    for (size_t i = 0; i < count; i++)
        prefetch_line(shard_array(&t->shards[puts[i].place.shard]));
    for (size_t i = 0; i < count; i++) {
        const struct array *array = shard_array(&t->shards[puts[i].place.shard]);
        prefetch_line(&array->buckets[place_bucket(array, puts[i].place.index)]);
    }
}

/* ... and the items there. */
static void approach_items(const struct table *t, const struct put *puts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct array *array = shard_array(&t->shards[puts[i].place.shard]);
        const struct bucket *bucket = &array->buckets[place_bucket(array, puts[i].place.index)];
        uint64_t tags = atomic_load_explicit(&bucket->tags, memory_order_relaxed);
        unsigned match = tags_match(tags, place_tag(puts[i].place.index));
        if (match == 0)
            continue;
        const char *item = (const char *)slot_item(
            atomic_load_explicit(&bucket->slots[__builtin_ctz(match)], memory_order_relaxed));
        prefetch_line(item);
        prefetch_line(item + CACHE_LINE_BYTES - 1);
    }
}

/* Make all items, or none. */
static int make_items(struct table_session *s, const struct tarn_record *records, size_t count,
                      struct put *puts)
{
    int status = TARN_OK;
    size_t i;
    approach_buckets(s->table, records, puts, count);
    for (i = 0; i < count && status == TARN_OK; i++) {
        puts[i].item = NULL;
        status = check_sizes(records[i].key, records[i].value.size);
        if (status == TARN_OK && is_past(s->table, records[i].expire_ms)) {
            status = table_fault(s, records[i].key);
            continue;
        }
        if (status != TARN_OK)
            continue;
        puts[i].item = table_make_item(s, &records[i]);
        if (puts[i].item == NULL)
            status = table_no_memory(s->table);
    }
    while (status != TARN_OK && i > 0)
        table_free_item(s, puts[--i].item);
    return status;
}

/* Find all keys and make room for all items that are new; the shards are locked. */
static bool make_room_locked(struct table_session *s, const struct tarn_record *records,
                             struct put *puts, size_t count)
{
    struct table *t = s->table;
    bool room = true;
    size_t i;
    for (i = 0; i < count && room; i++) {
        struct shard *shard = &t->shards[puts[i].place.shard];
        if (puts[i].item != NULL && item_expires(puts[i].item) &&
            !shard_make_dues_locked(s, puts[i].place.shard)) {
            room = false;
            break;
        }
        if (shard_find_locked(shard, puts[i].place.index, records[i].key, &puts[i].found) != 0)
            continue;
        puts[i].found.array = NULL;
        if (puts[i].item == NULL)
            continue;
        room = shard_make_room_locked(s, puts[i].place.shard);
        if (room)
            shard_array_locked(shard)->pending++;
    }
    while (i > 0) {
        struct array *array = shard_array_locked(&t->shards[puts[--i].place.shard]);
        if (array != &shard_empty)
            array->pending = 0;
    }
    return room;
}

static void remove_told_locked(struct table_session *s, uint32_t shard, struct position position)
{
    uint64_t slot = atomic_load_explicit(
        &position.array->buckets[position.bucket].slots[position.slot], memory_order_relaxed);
    if (item_is_dead(slot_item(slot)))
        return;
    if (!journal_delete_locked(s, shard, item_parts(slot_item(slot)).key))
        ASSERT(!"room was reserved");
    shard_remove_locked(s, shard, position);
}

static void publish_all_locked(struct table_session *s, const struct tarn_record *records,
                               const struct put *puts, size_t count)
{
    bool removed = false; /* a key that comes twice may be gone from where it was */
    for (size_t i = 0; i < count; i++) {
        struct place place = puts[i].place;
        struct position position = puts[i].found;
        const struct shard *shard = &s->table->shards[place.shard];
        bool there = !removed && position.array == shard_array_locked(shard);
        if (!there)
            there = shard_find_locked(shard, place.index, records[i].key, &position) != 0;
        removed |= puts[i].item == NULL;
        if (puts[i].item == NULL && there)
            remove_told_locked(s, place.shard, position);
        else if (puts[i].item == NULL)
            continue;
        else if (there)
            shard_replace_locked(s, place.shard, position, puts[i].item);
        else
            shard_insert_locked(s, place.shard, place.index, puts[i].item);
        if (puts[i].item != NULL && !journal_put_locked(s, place.shard, puts[i].item))
            ASSERT(!"room was reserved");
    }
}

static int put_items(struct table_session *s, const struct tarn_record *records, struct put *puts,
                     size_t count)
{
    bool nested = s->locked;
    if (!nested) {
        memset(s->locked_shards, 0, sizeof s->locked_shards);
        for (size_t i = 0; i < count; i++)
            s->locked_shards[puts[i].place.shard / 64] |= 1ull << puts[i].place.shard % 64;
        approach_items(s->table, puts, count);
        begin_noted(s);
    }
    bool room = journal_reserve(s, count) && make_room_locked(s, records, puts, count);
    if (room)
        publish_all_locked(s, records, puts, count);
    if (!nested)
        table_end(s);
    return room ? TARN_OK : table_no_memory(s->table);
}

int table_put_many(struct table_session *s, const struct tarn_record *records, size_t count)
{
    struct put on_stack[ON_STACK], *puts = on_stack;
    if (count == 0)
        return TARN_OK;
    if (count > ON_STACK)
        puts = malloc(count * sizeof *puts);
    int status = puts == NULL || !reclaim_reserve(s, 3 * count)
                     ? TARN_NOMEM
                     : make_items(s, records, count, puts);
    if (status == TARN_OK) {
        status = put_items(s, records, puts, count);
        for (size_t i = 0; i < count && status != TARN_OK; i++)
            table_free_item(s, puts[i].item);
    }
    if (puts != on_stack)
        free(puts);
    return status;
}

/* What was taken is given back at once, to this session's own arena: there it will be found. */
int table_prepare(struct table_session *s, const struct tarn_record *records, size_t count)
{
    struct put on_stack[ON_STACK], *puts = on_stack;
    if (count > ON_STACK)
        puts = malloc(count * sizeof *puts);
    int status = puts == NULL ? TARN_NOMEM : make_items(s, records, count, puts);
    for (size_t i = 0; i < count && status == TARN_OK; i++)
        table_free_item(s, puts[i].item);
    if (puts != on_stack)
        free(puts);
    return status;
}

/* --- everything --- */

static void empty_shard_locked(struct table_session *s, uint32_t i)
{
    struct shard *shard = &s->table->shards[i];
    struct array *array = shard_array_locked(shard);
    if (array == &shard_empty)
        return;
    if (shard->watches != NULL && array->items_count > 0)
        watch_notify_locked(shard, (struct tarn_bytes){NULL, 0});
    struct stripe *stripe = table_stripe(s);
    atomic_fetch_sub_explicit(&stripe->items, array->items_count, memory_order_relaxed);
    atomic_fetch_sub_explicit(&stripe->expiring, array->expiring_count, memory_order_relaxed);
    atomic_fetch_sub_explicit(&stripe->expire_ms_sum, array->expire_ms_sum, memory_order_relaxed);
    shard_set_array_locked(s, i, &shard_empty, RETIRED_ARRAY_ITEMS);
}

int table_flush(struct table_session *s)
{
    bool nested = s->locked;
    if (!reclaim_reserve(s, TABLE_SHARDS))
        return TARN_NOMEM;
    if (!nested)
        table_begin(s, NULL, 0);
    const struct change change = {.kind = CHANGE_FLUSH};
    bool told = journal_tell_locked(s, 0, &change);
    if (told)
        base_flush_locked(s->table); /* before: who finds nothing in an empty shard asks the base */
    for (uint32_t i = 0; told && i < TABLE_SHARDS; i++)
        empty_shard_locked(s, i);
    if (!nested)
        table_end(s);
    return told ? TARN_OK : TARN_NOMEM;
}
