/* What is retired is kept until the table closes, until the background is there. */
#include "table/reclaim.h"

#include <stdlib.h>

struct thing {
    void *what;
    enum retired_kind kind;
};
struct retired {
    struct retired *next;
    size_t count, capacity;
    struct thing things[];
};
struct reclaim {
    struct table *table;
    _Atomic(struct retired *) all;
};

int reclaim_open(struct table *t, struct reclaim **ret_reclaim)
{
    *ret_reclaim = calloc(1, sizeof **ret_reclaim);
    if (*ret_reclaim == NULL)
        return TARN_NOMEM;
    (*ret_reclaim)->table = t;
    return TARN_OK;
}

static void free_array_items(struct table *t, struct array *array)
{
    for (uint32_t b = 0; b < array->buckets_count; b++)
        for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
            struct item *item = slot_item(atomic_load(&array->buckets[b].slots[i]));
            if (item != NULL)
                item_free_many(&t->items, &item, 1);
        }
}

void reclaim_close(struct reclaim *r)
{
    if (r == NULL)
        return;
    struct retired *next;
    for (struct retired *b = atomic_load(&r->all); b != NULL; b = next) {
        next = b->next;
        for (size_t i = 0; i < b->count; i++) {
            struct item *item = b->things[i].what;
            if (b->things[i].kind == RETIRED_ITEM) {
                item_free_many(&r->table->items, &item, 1);
                continue;
            }
            if (b->things[i].kind == RETIRED_ARRAY_ITEMS)
                free_array_items(r->table, b->things[i].what);
            array_free(r->table, b->things[i].what);
        }
        free(b);
    }
    free(r);
}

bool reclaim_reserve(struct table_session *s, size_t count)
{
    if (s->retired != NULL && s->retired->capacity - s->retired->count >= count)
        return true;
    size_t capacity = count > 256 ? count : 256;
    struct retired *batch = malloc(sizeof *batch + capacity * sizeof batch->things[0]);
    if (batch == NULL)
        return false;
    reclaim_flush(s);
    batch->count = 0;
    batch->capacity = capacity;
    s->retired = batch;
    return true;
}

void reclaim_add(struct table_session *s, enum retired_kind kind, void *thing, size_t bytes)
{
    (void)bytes;
    ASSERT(s->retired->count < s->retired->capacity);
    s->retired->things[s->retired->count++] = (struct thing){thing, kind};
}

void reclaim_flush(struct table_session *s)
{
    struct retired *b = s->retired;
    struct reclaim *r = s->table->reclaim;
    if (b == NULL)
        return;
    s->retired = NULL;
    b->next = atomic_load(&r->all);
    while (!atomic_compare_exchange_weak(&r->all, &b->next, b))
        continue;
}

void reclaim_session_done(struct table_session *s)
{
    reclaim_flush(s);
}
bool reclaim_evict(struct table_session *s, size_t bytes)
{
    (void)s;
    (void)bytes;
    return false;
}
bool reclaim_wait(struct table_session *s)
{
    (void)s;
    return false;
}
void reclaim_wake(struct reclaim *r)
{
    (void)r;
}
void reclaim_figures_get(struct reclaim *r, struct reclaim_figures *ret_figures)
{
    (void)r;
    *ret_figures = (struct reclaim_figures){0};
}
