/* An external build from its beginning to its end; see external.h.
 *
 * Failure modes: each phase's. What is left behind: nothing, or if the build can go on from there
 * the three files. A second build of the same index is refused by a lock on the file that becomes
 * it. */
#include "pack/external.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/assert.h"
#include "core/number.h"
#include "pack/builder.h"
#include "pack/external_choose.h"
#include "pack/external_internal.h"
#include "pack/pack.h"
#include "pack/pack_open.h"
#include "pack/reader.h"

#define SAMPLE_BYTES (4u << 20)
#define ENDS_BYTES   (64u << 10)

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

/* --- what is asked for --- */

/* base + suffix, in memory of the caller's. */
static char *joined(const char *base, size_t size, const char *suffix)
{
    char *path = malloc(size + strlen(suffix) + 1);
    if (path != NULL) {
        memcpy(path, base, size);
        strcpy(path + size, suffix);
    }
    return path;
}

static char *spill_name(const struct external *x)
{
    const char *directory = x->settings->temp_directory;
    if (directory == NULL)
        return joined(x->index_path, strlen(x->index_path), ".spill");
    const char *slash = strrchr(x->index_path, '/');
    const char *name = slash ? slash + 1 : x->index_path;
    size_t size = strlen(directory) + strlen(name) + sizeof "/.spill";
    char *path = malloc(size);
    if (path != NULL)
        snprintf(path, size, "%s/%s.spill", directory, name);
    return path;
}

static int name_files(struct external *x, struct tarn_error *error)
{
    x->index_path = pack_index_path(x->options);
    if (x->index_path == NULL)
        return external_no_memory(x, error);
    size_t size = strlen(x->index_path);
    x->build_path = joined(x->index_path, size, ".build");
    x->state_path = joined(x->index_path, size, ".state");
    x->state_temp_path = joined(x->index_path, size, ".state.new");
    x->spill_path = spill_name(x);
    bool all = x->build_path && x->state_path && x->state_temp_path && x->spill_path;
    return all ? TARN_OK : external_no_memory(x, error);
}

/* What a build that goes on compares, beside size and time: the first bytes and the last. */
static int sum_ends(struct external *x, struct tarn_error *error)
{
    uint64_t size = x->source.size, part = size < ENDS_BYTES ? size : ENDS_BYTES, sums[2] = {0};
    struct buffer buffer = {0};
    int status = TARN_OK;
    for (int i = 0; i < 2 && status == TARN_OK; i++) {
        struct tarn_bytes view = {"", 0};
        status = source_read(&x->source, i ? size - part : 0, part, &buffer, &view, error);
        if (status == TARN_OK)
            sums[i] = hash_checksum(view.data, view.size, 0);
    }
    x->ends_checksum = hash_checksum(sums, sizeof sums, 0);
    buffer_done(&buffer);
    return status;
}

/* A guess from the file's beginning: how many records there are, and how large one gets. */
static int guess_records(struct external *x, uint64_t *ret_records, uint64_t *ret_largest,
                         struct tarn_error *error)
{
    struct buffer buffer = {0};
    struct tarn_bytes view = {"", 0};
    struct record record;
    uint64_t size = x->source.size, at = 0, count = 0, largest = 0;
    int status = source_read(&x->source, 0, size < SAMPLE_BYTES ? (size_t)size : SAMPLE_BYTES,
                             &buffer, &view, error);
    while (status == TARN_OK && at < view.size &&
           format_parse(&x->index.format, view, at, view.size == size, &record) == FORMAT_OK) {
        at += record.size;
        count++;
        if (record.size > largest)
            largest = record.size;
    }
    *ret_largest = count > 0 ? largest : view.size;
    *ret_records = count > 0 ? (uint64_t)((double)size / (double)at * (double)count) + 1 : 1;
    buffer_done(&buffer);
    return status;
}

static int fit_memory(struct external *x, uint64_t memory, uint64_t records, uint64_t largest,
                      struct tarn_error *error)
{
    struct fit_input in = {
        .memory_bytes = memory,
        .data_bytes = x->source.size,
        .records = records,
        .record_bytes_max = largest,
        .threads = x->threads,
        .granule_log2 = x->index.granule_log2,
        .partitions_log2 = x->settings->partitions_log2,
    };
    uint64_t needed;
    bool fits = fit_build(&in, &x->fit, &needed);
    while (!fits && x->threads > 1) {
        in.threads = --x->threads;
        fits = fit_build(&in, &x->fit, &needed);
    }
    if (x->settings->unit_bytes)
        x->fit.unit_bytes = x->settings->unit_bytes;
    char have[32], need[32];
    if (!fits)
        return error_set(
            error, TARN_TOOBIG,
            "%s: %s of memory are too little to build its index: %s are needed; raise "
            "--memory%s",
            x->source.path, number_format_size(memory, have), number_format_size(needed, need),
            x->index.granule_log2 < 16 ? ", or --granule, whose tables are large" : "");
    return TARN_OK;
}

/* Granule, fingerprint and layout, and how memory is divided. */
static int decide(struct external *x, struct tarn_error *error)
{
    const struct external_settings *s = x->settings;
    uint64_t records, largest, memory = s->memory_bytes ? s->memory_bytes : os_memory_total() / 2;
    int status = guess_records(x, &records, &largest, error);
    if (status != TARN_OK)
        return status;
    struct choice_input in = {
        .path = x->source.path,
        .data_bytes = x->source.size ? x->source.size : 1,
        .records = records,
        .memory_bytes = memory,
        .threads = x->threads,
        .granule_log2 = s->granule_log2,
        .fingerprint_bits = s->fingerprint_bits,
        .layout = s->layout,
    };
    struct choice choice;
    status = external_choose(&in, &choice, error);
    if (status != TARN_OK)
        return status;
    struct index *index = &x->index;
    index->layout = choice.layout;
    index->granule_log2 = choice.granule_log2;
    index->fingerprint_bits = choice.fingerprint_bits;
    index->ribbon.bits = index_location_bits(index) + index->fingerprint_bits;
    x->check_bits = 64 - index_location_bits(index);
    if (index->ribbon.bits > RIBBON_BITS_MAX)
        return error_set(error, TARN_TOOBIG, "%s: too large for this granule", x->source.path);
    return fit_memory(x, memory, records, largest, error);
}

/* --- beginning and going on --- */

static int begin_new(struct external *x, struct tarn_error *error)
{
    const struct os *os = x->os;
    (void)os->unlink(os, x->state_path); /* what it spoke of is about to go */
    int result = os->entropy(os, x->index.secret, sizeof x->index.secret);
    if (result == 0)
        result = os->entropy(os, &x->spill_id, sizeof x->spill_id);
    if (result == 0)
        result = os->truncate(os, x->build_fd, 0);
    x->counts = (struct external_counts){.partitions_log2 = x->fit.partitions_log2,
                                         .repeat_block = UINT64_MAX};
    return result < 0 ? os_error(error, result, "cannot begin", x->build_path) : TARN_OK;
}

/* Where what is made by solving begins in the file. */
static uint64_t out_base(const struct external *x)
{
    return x->index.layout == INDEX_PAGES ? INDEX_PAGES_AT : INDEX_HEADER_BYTES;
}

/* The spill file, and the file of the index as far as it was written. */
static int open_files(struct external *x, const struct buffer *sums, struct tarn_error *error)
{
    unsigned streams = (1u << x->fit.partitions_log2) + STREAM_COUNT;
    int status = spill_open(&x->spill, x->os, x->spill_path, x->spill_id, streams,
                            x->fit.spill_buffer_bytes, x->counts.spill_bytes, error);
    if (status != TARN_OK || !x->counts.solving)
        return status;
    uint64_t size = x->counts.units_done > 0 ? x->counts.out_bytes : 0;
    struct tarn_bytes known = {sums->data, size / INDEX_PIECE_BYTES * sizeof(uint64_t)};
    return out_open(&x->out, x->os, x->build_path, x->build_fd, out_base(x), size, known, error);
}

/* A build that was stopped after its file had got its name, but before the state was taken away:
 * the index is there. */
static bool is_published(struct external *x)
{
    struct index *index;
    if (x->counts.units_done < x->counts.units ||
        index_read(x->os, x->index_path, &x->info, &x->index.format, x->index.duplicates_policy,
                   &index, NULL) != TARN_OK)
        return false;
    bool same = memcmp(index->secret, x->index.secret, sizeof index->secret) == 0;
    if (same) {
        x->index.records = index->records;
        x->index.duplicates = index->duplicates;
        x->index.page_count = index->page_count;
        x->index.body_bytes = index->body_bytes;
        x->published = true;
    }
    index_free(index);
    return same;
}

/* Whether the file that becomes the index is as long as the state says. */
static bool is_long_enough(struct external *x)
{
    struct os_file_info info;
    return !x->counts.solving || x->counts.units_done == 0 ||
           (x->os->file_info(x->os, x->build_fd, &info) == 0 && info.size >= out_base(x) &&
            info.size - out_base(x) >= x->counts.out_bytes);
}

static void tell_going_on(const struct external *x)
{
    char line[96];
    uint64_t percent = x->source.size ? x->counts.offset * 100 / x->source.size : 100;
    snprintf(line, sizeof line, "going on with a build that was stopped at %" PRIu64 " %% of %s",
             x->counts.solving ? x->counts.units_done * 100 / x->counts.units : percent,
             x->counts.solving ? "solving" : "reading");
    external_notice(x, line);
}

static int begin(struct external *x, struct tarn_error *error)
{
    struct buffer sums = {0};
    int status = TARN_NOTFOUND;
    if (!x->settings->restart)
        status = external_load(x, &sums, error);
    if (status == TARN_OK && !is_long_enough(x) && !is_published(x))
        status = external_unload(x, &sums);
    if (status == TARN_NOTFOUND) {
        status = begin_new(x, error);
    } else if (status == TARN_OK && !x->published) {
        x->fit.partitions_log2 = (unsigned)x->counts.partitions_log2;
        tell_going_on(x);
    }
    if (x->published) {
        buffer_done(&sums);
        return status;
    }
    if (status == TARN_OK)
        status = open_files(x, &sums, error);
    buffer_done(&sums);
    return status;
}

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
    int status = out_open(&x->out, x->os, x->build_path, x->build_fd, out_base(x), 0,
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
    int status = begin(x, error);
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

static int prepare(struct external *x, struct tarn_error *error)
{
    const struct tarn_options *o = x->options;
    int status = os_open_data(x->os, o->path, &x->fd, &x->info, error);
    if (status != TARN_OK)
        return status;
    x->source = (struct source){.os = x->os, .path = o->path, .fd = x->fd, .size = x->info.size};
    x->index = (struct index){
        .os = x->os,
        .duplicates_policy = o->duplicates,
        .data_bytes = x->info.size,
        .data_mtime_ns = x->info.mtime_ns,
        .hash_mask = x->settings->hash_mask ? x->settings->hash_mask : UINT64_MAX,
    };
    status = name_files(x, error);
    if (status == TARN_OK)
        status = pack_check_index_path(x->os, o, &x->info, error);
    if (status == TARN_OK)
        status = pack_find_format(o, &x->source, &x->index.format, error);
    if (status == TARN_OK)
        status = sum_ends(x, error);
    return status == TARN_OK ? decide(x, error) : status;
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
    int status = prepare(&x, error);
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
