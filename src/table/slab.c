/* Slots from malloc, until pages are there. */
#include "table/slab.h"

#include <stdlib.h>

struct slab {
    struct budget *budget;
    _Atomic uint64_t used;
};

int slab_open(const struct os *os, struct budget *budget, struct slab **ret_slab)
{
    (void)os;
    *ret_slab = calloc(1, sizeof **ret_slab);
    if (*ret_slab == NULL)
        return TARN_NOMEM;
    (*ret_slab)->budget = budget;
    return TARN_OK;
}
void slab_close(struct slab *slab)
{
    free(slab);
}
size_t slab_slot_bytes(size_t size)
{
    return (size + 7) / 8 * 8;
}
void *slab_alloc(struct slab *slab, unsigned arena, size_t size)
{
    (void)arena;
    size_t bytes = slab_slot_bytes(size);
    if (!budget_take(slab->budget, bytes))
        return NULL;
    size_t *p = malloc(bytes + 16);
    if (p == NULL) {
        budget_give(slab->budget, bytes);
        return NULL;
    }
    *p = bytes;
    atomic_fetch_add(&slab->used, bytes);
    return p + 2;
}
void slab_free(struct slab *slab, void *const *slots, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t *p = (size_t *)slots[i] - 2;
        budget_give(slab->budget, *p);
        atomic_fetch_sub(&slab->used, *p);
        free(p);
    }
}
void slab_figures_get(struct slab *slab, struct slab_figures *ret_figures)
{
    uint64_t used = atomic_load(&slab->used);
    *ret_figures = (struct slab_figures){used, used};
}
struct slab_page *slab_evacuate(struct slab *slab, unsigned percent_max)
{
    (void)slab;
    (void)percent_max;
    return NULL;
}
void slab_page_visit(struct slab *slab, struct slab_page *page,
                     void (*visit)(void *context, void *slot), void *context)
{
    (void)slab;
    (void)page;
    (void)visit;
    (void)context;
}
void slab_evacuate_end(struct slab *slab, struct slab_page *page)
{
    (void)slab;
    (void)page;
}
