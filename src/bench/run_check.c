/* Settings that no run can have, told before anything is opened; see run.h. */
#include "bench/run.h"
#include "bench/target.h"

/* Keys and values made up: can there be so many, and can the target take them? */
static int check_generated(const struct os *os, const struct settings *s, const struct target *t,
                           const struct workload_mix *mix, struct tarn_error *error)
{
    struct records *records;
    struct records_options options = {.count = s->records,
                                      .key_bytes = (size_t)s->key_size,
                                      .value_bytes = s->value_size,
                                      .seed = s->seed};
    int status = records_open(os, &options, &records, error);
    if (status != TARN_OK)
        return status;
    status = target_check(t, s, mix, records, error);
    records_close(records);
    return status;
}

int run_check(const struct os *os, const struct settings *settings,
              const struct embedded_store *const *stores, struct tarn_error *error)
{
    struct workload_mix mix =
        workload_mix((enum workload_name)settings->workload, settings->read_ratio);
    struct target target;
    int status = target_open(os, settings, stores, &target, error);
    if (status != TARN_OK) /* a file that is none is no wrong setting */
        return status == TARN_INVALID && !*settings->embedded ? status : TARN_OK;
    if (target.store)
        status = target_check(&target, settings, &mix, NULL, error);
    if (status == TARN_OK && target.store != &embedded_file && !*settings->keys_from)
        status = check_generated(os, settings, &target, &mix, error);
    target_close(&target);
    return status == TARN_INVALID ? status : TARN_OK;
}
