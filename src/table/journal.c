/* The journal of changes, as the table sees it: see journal.h.
 *
 * How: who has the shard's lock tells the listener, which answers with a sequence; that is noted in
 * the shard before the change is published, so that whoever sees the change finds it there.
 *
 * Invariants
 * 1. Told before published; published if told. (A step that cannot be told at its end, for want of
 *    memory, is the listener's failure: it has been published, and nothing can be told after it.)
 * 2. A shard's sequence is stored before the slot, and only grows.
 * Failure modes: the listener refuses, or there is no memory to gather a change: nothing happened.
 */
#include "table/journal.h"

#include "table/base.h"

#include <stdlib.h>

#define GATHERED_KEPT 256 /* places for changes that a session keeps */

struct gathered {
    struct change *changes;
    uint64_t *shards;
    void **owned; /* copies of patches; NULL */
    size_t count, room;
};

/* Every shard is locked. */
void table_journal_set(struct table *t, const struct table_journal *journal)
{
    atomic_store_explicit(&t->journal, journal, memory_order_release);
}

void table_readers_wait(struct table *t, bool wait)
{
    atomic_store_explicit(&t->readers_wait, wait, memory_order_release);
}

uint64_t table_session_sequence(struct table_session *s)
{
    uint64_t sequence = s->sequence;
    s->sequence = 0;
    return sequence;
}

static void note_sequence(struct table *t, uint32_t shard, uint64_t sequence)
{
    atomic_store_explicit(&t->shards[shard].sequence, sequence, memory_order_release);
}

/* ... where whoever sees the change looks for it: a flush is seen in every shard. */
static void note_told(struct table *t, const struct change *change, uint32_t shard,
                      uint64_t sequence)
{
    if (change->kind != CHANGE_FLUSH)
        note_sequence(t, shard, sequence);
    for (uint32_t i = 0; change->kind == CHANGE_FLUSH && i < TABLE_SHARDS; i++)
        note_sequence(t, i, sequence);
}

/* --- gathering --- */

static bool grow(struct gathered *g, size_t room)
{
    struct change *changes = realloc(g->changes, room * sizeof *changes);
    if (changes != NULL)
        g->changes = changes;
    uint64_t *shards = realloc(g->shards, room * sizeof *shards);
    if (shards != NULL)
        g->shards = shards;
    void **owned = realloc(g->owned, room * sizeof *owned);
    if (owned != NULL)
        g->owned = owned;
    if (changes == NULL || shards == NULL || owned == NULL)
        return false;
    g->room = room;
    return true;
}

bool journal_reserve(struct table_session *s, size_t count)
{
    if (!table_is_journaled(s->table))
        return true;
    if (s->gathered == NULL && (s->gathered = calloc(1, sizeof *s->gathered)) == NULL)
        return false;
    struct gathered *g = s->gathered;
    if (g->room - g->count >= count)
        return true;
    size_t room = g->room < 32 ? 64 : g->room * 2;
    return grow(g, room - g->count < count ? g->count + count : room);
}

static void let_go(struct gathered *g)
{
    for (size_t i = 0; i < g->count; i++)
        free(g->owned[i]);
    g->count = 0;
}

static void drop(struct gathered *g)
{
    free(g->changes);
    free(g->shards);
    free(g->owned);
    *g = (struct gathered){.count = 0};
}

/* The patch is the caller's, who may be gone by the end of the step. */
static bool own_patch(struct change *change, void **ret_owned)
{
    *ret_owned = NULL;
    if (change->kind != CHANGE_PATCH || change->value.size == 0)
        return true;
    *ret_owned = malloc(change->value.size);
    if (*ret_owned == NULL)
        return false;
    memcpy(*ret_owned, change->value.data, change->value.size);
    change->value.data = *ret_owned;
    return true;
}

static bool gather(struct table_session *s, uint32_t shard, const struct change *change)
{
    struct change kept = *change;
    void *owned;
    if (!journal_reserve(s, 1) || !own_patch(&kept, &owned))
        return false;
    struct gathered *g = s->gathered;
    g->changes[g->count] = kept;
    g->shards[g->count] = shard;
    g->owned[g->count++] = owned;
    return true;
}

void journal_end_locked(struct table_session *s)
{
    struct gathered *g = s->gathered;
    const struct table_journal *journal =
        atomic_load_explicit(&s->table->journal, memory_order_acquire);
    if (g == NULL || g->count == 0)
        return;
    uint64_t sequence = journal->append(journal->context, g->changes, g->shards, g->count);
    if (sequence == 0)
        sequence = journal->failed(journal->context);
    for (size_t i = 0; i < g->count; i++)
        note_told(s->table, &g->changes[i], (uint32_t)g->shards[i], sequence);
    s->sequence = sequence;
    let_go(g);
    if (g->room > GATHERED_KEPT)
        drop(g);
}

void journal_session_done(struct table_session *s)
{
    if (s->gathered != NULL)
        drop(s->gathered);
    free(s->gathered);
    s->gathered = NULL;
}

/* --- doing what was told --- */

static enum tarn_verdict apply_update(void *context, struct tarn_update *update)
{
    const struct change *change = context;
    if (update->record.value.data == NULL) /* a log that begins later than the change was made */
        return TARN_KEEP;
    update->record.expire_ms = change->expire_ms;
    if (change->kind == CHANGE_EXPIRE)
        return TARN_EXPIRE;
    update->patch = change->value;
    update->patch_offset = (size_t)change->offset;
    return TARN_PATCH;
}

int table_apply(struct table_session *s, const struct change *change)
{
    struct change copy = *change;
    const struct tarn_record record = {change->key, change->value, change->expire_ms};
    int status = TARN_OK;
    switch (change->kind) {
    case CHANGE_PUT:
        return table_put(s, &record);
    case CHANGE_DELETE:
        status = base_delete(s, change->key);
        return status == TARN_NOTFOUND ? TARN_OK : status;
    case CHANGE_EXPIRE:
    case CHANGE_PATCH:
        return table_update(s, change->key, apply_update, &copy);
    case CHANGE_FLUSH:
        return table_flush(s);
    }
    return TARN_CORRUPT;
}

/* --- telling --- */

bool journal_tell_locked(struct table_session *s, uint32_t shard, const struct change *change)
{
    const struct table_journal *journal =
        atomic_load_explicit(&s->table->journal, memory_order_acquire);
    if (journal == NULL)
        return true;
    if (s->locked)
        return gather(s, shard, change);
    uint64_t hash = shard;
    uint64_t sequence = journal->append(journal->context, change, &hash, 1);
    if (sequence == 0)
        return false;
    note_sequence(s->table, shard, sequence);
    s->sequence = sequence;
    return true;
}

bool journal_put_locked(struct table_session *s, uint32_t shard, const struct item *item)
{
    if (!table_is_journaled(s->table))
        return true;
    struct item_parts parts = item_parts(item);
    const struct change change = {
        .kind = CHANGE_PUT, .key = parts.key, .value = parts.value, .expire_ms = parts.expire_ms};
    return journal_tell_locked(s, shard, &change);
}

bool journal_delete_locked(struct table_session *s, uint32_t shard, struct tarn_bytes key)
{
    const struct change change = {.kind = CHANGE_DELETE, .key = key};
    return journal_tell_locked(s, shard, &change);
}
