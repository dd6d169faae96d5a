/* Which index of blocks an external build makes: what was asked for, and where that is left open
 * the least time over building and serving by the model of plan.h, of what fits into memory. */
#include <inttypes.h>

#include "core/number.h"
#include "pack/external_choose.h"
#include "pack/plan.h"

#define PAGES_GRANULE_LOG2_MIN 16 /* tables of smaller blocks would take what pages save */

static struct choice with(const struct choice_input *in, enum index_layout layout, unsigned granule,
                          unsigned fingerprint)
{
    struct choice c = {.layout = layout, .granule_log2 = granule, .fingerprint_bits = fingerprint};
    c.serving_bytes = fit_serving_bytes(in->data_bytes, in->records, layout, granule, fingerprint);
    return c;
}

/* Less time, of those that fit; else less memory. time < 0: does not fit. */
static void consider(const struct choice_input *in, struct choice c, double *best_time,
                     struct choice *best)
{
    struct plan_input plan =
        plan_input_default(in->data_bytes, in->records, in->memory_bytes, in->threads);
    enum plan_layout layout = c.layout == INDEX_PAGES ? PLAN_PAGES : PLAN_BLOCKS;
    struct plan_candidate p = plan_evaluate(&plan, layout, c.granule_log2, c.fingerprint_bits);
    if (c.serving_bytes < p.memory_bytes)
        c.serving_bytes = p.memory_bytes; /* reads under way among it */
    bool fits = p.fits && c.serving_bytes <= in->memory_bytes;
    double time = fits ? p.total_s : -1;
    if (best->granule_log2 != 0 &&
        (fits ? *best_time >= 0 && *best_time <= time
              : *best_time >= 0 || best->serving_bytes <= c.serving_bytes))
        return;
    *best = c;
    *best_time = time;
}

static void consider_layout(const struct choice_input *in, enum index_layout layout,
                            double *best_time, struct choice *best)
{
    unsigned least = layout == INDEX_PAGES ? PAGES_GRANULE_LOG2_MIN : INDEX_GRANULE_LOG2_MIN;
    unsigned first = in->granule_log2 >= 0 ? (unsigned)in->granule_log2 : least;
    unsigned last = in->granule_log2 >= 0 ? first : INDEX_GRANULE_LOG2_MAX;
    for (unsigned g = first; g <= last; g++) {
        unsigned f = in->fingerprint_bits >= 0 ? (unsigned)in->fingerprint_bits : 0;
        unsigned end = in->fingerprint_bits >= 0 ? f : INDEX_FINGERPRINT_MAX;
        if (layout == INDEX_PAGES)
            f = end = 0;
        for (; f <= end; f++)
            consider(in, with(in, layout, g, f), best_time, best);
    }
}

/* The best of what was asked for, or the one that needs least; its time, negative if none fits. */
static double choose(const struct choice_input *in, struct choice *ret_best)
{
    double time = -1;
    *ret_best = (struct choice){.granule_log2 = 0};
    for (int layout = INDEX_BLOCKS; layout <= INDEX_PAGES; layout++)
        if (in->layout < 0 || in->layout == layout)
            consider_layout(in, (enum index_layout)layout, &time, ret_best);
    return time;
}

static const char *layout_word(const struct choice *c)
{
    return c->layout == INDEX_PAGES ? "pages" : "blocks";
}

int external_choose(const struct choice_input *in, struct choice *ret_choice,
                    struct tarn_error *error)
{
    struct choice best, other;
    struct choice_input any = *in;
    if (choose(in, &best) >= 0) {
        *ret_choice = best;
        return TARN_OK;
    }
    any.granule_log2 = any.fingerprint_bits = any.layout = -1;
    (void)choose(&any, &other); /* what would fit, or needs least */
    char have[32], need[32], least[32];
    return error_set(error, TARN_TOOBIG,
                     "%s: %s of memory are too little: --layout %s --granule %" PRIu64
                     " needs %s to be served; --layout %s --granule %" PRIu64 " needs %s",
                     in->path, number_format_size(in->memory_bytes, have), layout_word(&best),
                     (uint64_t)1 << best.granule_log2, number_format_size(best.serving_bytes, need),
                     layout_word(&other), (uint64_t)1 << other.granule_log2,
                     number_format_size(other.serving_bytes, least));
}
