/* Telling of changes, before anybody can see them; and what readers saw. Private to the table
 * folder.
 *
 * A change of one key is told at once. Between table_begin() and table_end() changes are gathered
 * and told at the end as one step, while their shards are still busy, so that nobody has seen them.
 */
#ifndef TABLE_JOURNAL_H
#define TABLE_JOURNAL_H

#include "core/change.h"
#include "table/shard.h"

static inline bool table_is_journaled(const struct table *t)
{
    return atomic_load_explicit(&t->journal, memory_order_acquire) != NULL;
}

/* Tell of a change of this shard that is about to be published, and will be. The change's key and
 * value need to stay until the session is quiescent, but for what is PATCHed. False: refused, and
 * the change must not happen. */
bool journal_tell_locked(struct table_session *s, uint32_t shard, const struct change *change);

/* ... that this item is about to be published; that this key's is about to be taken out. */
bool journal_put_locked(struct table_session *s, uint32_t shard, const struct item *item);
bool journal_delete_locked(struct table_session *s, uint32_t shard, struct tarn_bytes key);

/* Between table_begin() and table_end(): make sure that `count` changes, none of them a PATCH, can
 * be told of without failing. */
bool journal_reserve(struct table_session *s, size_t count);
/* Tell what was gathered; the shards are still locked and busy. */
void journal_end_locked(struct table_session *s);
void journal_session_done(struct table_session *s);

/* This session looked at the shard, after what it saw there. */
static inline void session_saw(struct table_session *s, uint32_t shard)
{
    if (__builtin_expect(!atomic_load_explicit(&s->table->readers_wait, memory_order_relaxed), 1))
        return;
    uint64_t sequence =
        atomic_load_explicit(&s->table->shards[shard].sequence, memory_order_acquire);
    if (sequence > s->sequence)
        s->sequence = sequence;
}

#endif
