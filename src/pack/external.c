/* An external build from its beginning to its end; see external.h.
 *
 * Failure modes: each phase's. What is left behind: nothing, or if the build can go on from there
 * the three files. A second build of the same index is refused by a lock on the file that becomes
 * it. */
#include "pack/external.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/assert.h"
#include "pack/builder.h"
#include "pack/external_internal.h"
#include "pack/pack_open.h"
#include "pack/reader.h"

/* --- what the phases call --- */

void external_fail(struct external *x, int status, const struct tarn_error *error)
{
    pthread_mutex_lock(&x->lock);
    if (atomic_load(&x->status) == TARN_OK) {
        x->error = *error;
        x->error.status = status;
        atomic_store(&x->status, status);
    }
    pthread_mutex_unlock(&x->lock);
}

int external_no_memory(const struct external *x, struct tarn_error *error)
{
    return error_set(error, TARN_NOMEM, "%s: out of memory while indexing", x->source.path);
}

bool external_progress(struct external *x, const char *phase, uint64_t done, uint64_t total)
{
    const struct tarn_options *o = x->options;
    if (o->progress == NULL || o->progress(o->progress_context, phase, done, total))
        return true;
    struct tarn_error error;
    error_set(&error, TARN_CANCELLED,
              "%s: indexing was cancelled; the same command goes on from where it was",
              x->source.path);
    external_fail(x, TARN_CANCELLED, &error);
    return false;
}

void external_notice(const struct external *x, const char *text)
{
    char line[sizeof x->error.text];
    snprintf(line, sizeof line, "%s: %s", x->index_path, text);
    if (x->options->notice != NULL)
        x->options->notice(x->options->notice_context, line);
}

/* --- phases --- */

/* The scan is done: divide what it found, and begin the file. */
static int begin_solving(struct external *x, struct tarn_error *error)
{
    uint64_t most = 0;
    spill_group(&x->spill);
    for (unsigned p = 0; p < 1u << x->fit.partitions_log2; p++) {
        uint64_t pairs = spill_bytes(&x->spill, p) / sizeof(struct ribbon_pair);
        most = pairs > most ? pairs : most;
    }
    struct fit_units units =
        fit_units(x->index.records, most, x->fit.partitions_log2, x->fit.unit_bytes);
    x->counts.shards = units.shards;
    x->counts.units = units.units;
    x->counts.solving = 1;
    if (x->index.records == 0)
        x->index.record_bytes_min = 0;
    int status = out_open(&x->out, x->os, x->build_path, x->build_fd, external_base(x), 0,
                          (struct tarn_bytes){NULL, 0}, error);
    return status == TARN_OK ? external_save(x, error) : status;
}

/* DUPLICATES_ERROR: name a record of the first block that has a key again. */
static int explain_duplicate(struct external *x, struct tarn_error *error)
{
    struct reader *reader;
    struct record record;
    uint64_t number = 0, first = UINT64_MAX;
    int status = reader_open(x->os, x->source.path, &x->index.format, &reader, error);
    if (status != TARN_OK)
        return status;
    for (; (status = reader_next(reader, &record, error)) == TARN_OK; number++) {
        if (index_hash(&x->index, record.key) != x->counts.repeat_hash)
            continue;
        if (first != UINT64_MAX)
            break;
        first = reader_offset(reader);
    }
    if (status == TARN_OK)
        status = builder_duplicate_error(x->source.path, record.key, number, reader_offset(reader),
                                         first, error);
    else if (status == TARN_NOTFOUND)
        status =
            error_set(error, TARN_STALE, "%s: changed while it was being indexed", x->source.path);
    reader_close(reader);
    return status;
}

static int run(struct external *x, struct tarn_error *error)
{
    int status = external_begin(x, error);
    if (x->published)
        return status;
    if (status == TARN_OK && !x->counts.solving) {
        status = external_scan(x, error);
        if (status == TARN_OK)
            status = pack_check_unchanged(x->os, x->fd, &x->info, x->source.path, error);
        if (status == TARN_OK)
            status = begin_solving(x, error);
    }
    if (status == TARN_OK && x->counts.units_done == 0 && x->index.layout == INDEX_BLOCKS) {
        spill_group(&x->spill);
        status = external_join_tables(x, error);
    }
    if (status == TARN_OK)
        status = external_solve(x, error);
    if (status == TARN_OK && x->options->duplicates == TARN_DUPLICATES_ERROR &&
        x->counts.repeat_block != UINT64_MAX)
        status = explain_duplicate(x, error);
    if (status == TARN_OK)
        status = pack_check_unchanged(x->os, x->fd, &x->info, x->source.path, error);
    return status == TARN_OK ? external_join(x, error) : status;
}

/* --- all --- */

static int open_build(struct external *x, struct tarn_error *error)
{
    int result = x->os->open(x->os, x->build_path, O_RDWR | O_CREAT, 0666, &x->build_fd);
    if (result < 0) {
        x->build_fd = -1;
        return os_error(error, result, "cannot create", x->build_path);
    }
    result = x->os->lock(x->os, x->build_fd);
    if (result == 0)
        return TARN_OK;
    (void)x->os->close(x->os, x->build_fd);
    x->build_fd = -1;
    if (result == -EWOULDBLOCK)
        return error_set(error, TARN_BUSY, "%s: another build of this index is under way",
                         x->index_path);
    return os_error(error, result, "cannot lock", x->build_path);
}

static void close_all(struct external *x)
{
    out_close(&x->out);
    spill_close(&x->spill);
    equal_result_done(&x->equal);
    if (x->build_fd >= 0)
        (void)x->os->close(x->os, x->build_fd); /* what counts was synced */
    if (x->fd >= 0)
        (void)x->os->close(x->os, x->fd); /* only read from */
    free(x->index_path);
    free(x->build_path);
    free(x->spill_path);
    free(x->state_path);
    free(x->state_temp_path);
    pthread_mutex_destroy(&x->lock);
}

/* Whether going on later makes sense: the reason may be gone by then. */
static bool may_go_on(int status)
{
    return status == TARN_CANCELLED || status == TARN_NOSPACE || status == TARN_IO ||
           status == TARN_NOMEM || status == TARN_DENIED || status == TARN_TOOBIG;
}

static void report(struct external *x, uint64_t began, struct tarn_index_report *r)
{
    const struct index *index = &x->index;
    *r = (struct tarn_index_report){
        .keys = index_keys(index),
        .records = index->records,
        .duplicates = index->duplicates,
        .collisions = x->counts.collisions,
        .data_bytes = index->data_bytes,
        .index_bytes = index_bytes(index),
        .read_us = x->counts.scan_us,
        .solve_us = x->counts.solve_us,
        .total_us = (x->os->monotonic_ns(x->os) - began) / 1000,
        .format = index->format,
        .granule_bytes = 1ull << index->granule_log2,
        .pages = index->page_count,
        .fingerprint_bits = index->fingerprint_bits,
    };
}

int external_build(const struct os *os, const struct tarn_options *options,
                   const struct external_settings *settings, struct tarn_index_report *ret_report,
                   struct tarn_error *error)
{
    struct external x = {.os = os, .options = options, .settings = settings, .fd = -1};
    uint64_t began = os->monotonic_ns(os);
    x.build_fd = -1;
    x.threads = pack_thread_count(options);
    pthread_mutex_init(&x.lock, NULL);
    equal_result_init(&x.equal);
    int status = external_prepare(&x, error);
    if (status == TARN_OK)
        status = open_build(&x, error);
    if (status == TARN_OK) {
        status = run(&x, error);
        if (status == TARN_OK)
            report(&x, began, ret_report);
        if (status == TARN_OK || !may_go_on(status) || !x.state_saved)
            external_forget(&x);
    }
    close_all(&x);
    return status;
}
