/* Figures own little; see figures.h. */
#include "bench/figures.h"

#include <stdlib.h>

void figures_done(struct figures *f)
{
    tally_done(&f->all);
    free(f->thread_operations);
    free(f->points);
    *f = (struct figures){0};
}
