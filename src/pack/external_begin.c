/* How an external build begins: names, what is left open decided, memory divided; what is left of a
 * build that was stopped, or nothing.
 *
 * Failure modes: those of reading the data file's ends; too little memory, with what would do. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/number.h"
#include "pack/external_choose.h"
#include "pack/external_internal.h"
#include "pack/pack.h"
#include "pack/pack_open.h"

#define SAMPLE_BYTES (4u << 20)
#define ENDS_BYTES   (64u << 10)

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

int external_prepare(struct external *x, struct tarn_error *error)
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
    return out_open(&x->out, x->os, x->build_path, x->build_fd, external_base(x), size, known,
                    error);
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
           (x->os->file_info(x->os, x->build_fd, &info) == 0 && info.size >= external_base(x) &&
            info.size - external_base(x) >= x->counts.out_bytes);
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

int external_begin(struct external *x, struct tarn_error *error)
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
