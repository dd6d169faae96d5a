/* See ahead.h.
 *
 * How: the copies lie one after the other in a buffer, which may move while it grows: pointers to
 * them are only set when all are there.
 * Failure modes: memory, which makes replaying slower and is no failure of it. */
#include "store/ahead.h"

#define BYTES_MAX 4096u /* of a key and value that are copied */

bool ahead_add(struct ahead *a, const struct change *change)
{
    size_t size = change->key.size + change->value.size;
    if (a->count == AHEAD_CHANGES || change->kind == CHANGE_FLUSH || size > BYTES_MAX ||
        !buffer_reserve(&a->bytes, size)) {
        a->bytes.failed = false; /* another time there may be memory */
        return false;
    }
    buffer_append(&a->bytes, change->key.data, change->key.size);
    buffer_append(&a->bytes, change->value.data, change->value.size);
    a->changes[a->count++] = *change;
    return true;
}

void ahead_fetch(struct ahead *a, struct table_session *s)
{
    const unsigned char *at = a->bytes.data;
    for (size_t i = 0; i < a->count; i++) {
        struct change *c = &a->changes[i];
        c->key.data = at;
        c->value.data = at + c->key.size;
        at += c->key.size + c->value.size;
        a->keys[i] = c->key;
    }
    table_prefetch(s, a->keys, a->count);
}

void ahead_clear(struct ahead *a)
{
    a->count = 0;
    buffer_clear(&a->bytes);
}

void ahead_done(struct ahead *a)
{
    buffer_done(&a->bytes);
}
