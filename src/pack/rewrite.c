/* A rewriting from its beginning to the end of its first pass; see rewrite.h.
 *
 * Invariants: (1) the state speaks only of what was synced before it. (2) The new file has its name
 * only when it is whole, and was made of the file that was looked at in the beginning. (3) Memory:
 * a quarter for buffers of streams, a quarter for the records of one, a quarter for the directory
 * of the new file, the rest for what is larger than was expected. */
#include "pack/rewrite.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/number.h"
#include "pack/pack_open.h"
#include "pack/reader.h"
#include "pack/rewrite_internal.h"

#define PARTITIONS_LOG2_MAX 14
#define BUFFER_BYTES_MAX    (1u << 20)
#define ROUND_BYTES         (4ull << 30)
#define ENDS_BYTES          (64u << 10)
#define PROGRESS_RECORDS    1024
#define MEMORY_BYTES_MIN    (4ull << 20)

int rewrite_progress(const struct rewrite *r, const char *phase, uint64_t done, uint64_t total,
                     struct tarn_error *error)
{
    const struct tarn_options *o = r->options;
    if (o->progress == NULL || o->progress(o->progress_context, phase, done, total))
        return TARN_OK;
    return error_set(error, TARN_CANCELLED,
                     "%s: rewriting was cancelled; the same command goes on from where it was",
                     o->path);
}

static int no_memory(const struct rewrite *r, struct tarn_error *error)
{
    return error_set(error, TARN_NOMEM, "%s: out of memory while rewriting", r->options->path);
}

/* --- what is asked for --- */

static char *joined(const char *directory, const char *name, const char *suffix)
{
    size_t size = (directory ? strlen(directory) + 1 : 0) + strlen(name) + strlen(suffix) + 1;
    char *path = malloc(size);
    if (path != NULL)
        snprintf(path, size, "%s%s%s%s", directory ? directory : "", directory ? "/" : "", name,
                 suffix);
    return path;
}

static int name_files(struct rewrite *r, struct tarn_error *error)
{
    const struct rewrite_settings *s = r->settings;
    r->output =
        s->output ? joined(NULL, s->output, "") : joined(NULL, r->options->path, REWRITE_SUFFIX);
    if (r->output == NULL)
        return no_memory(r, error);
    const char *slash = strrchr(r->output, '/');
    const char *name = s->temp_directory != NULL && slash != NULL ? slash + 1 : r->output;
    r->spill_path = joined(s->temp_directory, name, ".spill");
    r->state_path = joined(NULL, r->output, ".state");
    return r->spill_path != NULL && r->state_path != NULL ? TARN_OK : no_memory(r, error);
}

/* The first bytes and the last: what a rewriting that goes on compares beside size and time. */
static int sum_ends(struct rewrite *r, struct tarn_error *error)
{
    uint64_t size = r->source.size, part = size < ENDS_BYTES ? size : ENDS_BYTES, sum = 0;
    struct buffer buffer = {0};
    struct tarn_bytes view;
    int status = TARN_OK;
    for (int i = 0; i < 2 && status == TARN_OK; i++) {
        status = source_read(&r->source, i ? size - part : 0, (size_t)part, &buffer, &view, error);
        if (status == TARN_OK && part > 0)
            sum = hash_checksum(view.data, view.size, sum + 1);
    }
    buffer_done(&buffer);
    r->state.ends_checksum = sum;
    return status;
}

static unsigned log2_up(uint64_t value)
{
    return value > 1 ? 64 - (unsigned)__builtin_clzll(value - 1) : 0;
}

/* Streams, blocks and buffers by size and memory. */
static int divide_memory(struct rewrite *r, struct tarn_error *error)
{
    struct rewrite_state *state = &r->state;
    uint64_t quarter = r->memory / 4, size = r->source.size;
    uint64_t spilled = size + size / 4; /* with heads; small records take more, and have room */
    unsigned partitions = r->settings->partitions_log2;
    if (partitions == 0)
        partitions = log2_up(spilled / (quarter ? quarter : 1) + 1);
    uint32_t block = CHECKPOINT_BLOCK_BYTES;
    while (block < CHECKPOINT_BLOCK_BYTES_MAX && size / block * 16 > quarter)
        block *= 2;
    uint64_t buffer = quarter >> partitions;
    if (r->memory < MEMORY_BYTES_MIN || partitions > PARTITIONS_LOG2_MAX ||
        (buffer < SPILL_BUFFER_BYTES_MIN && r->settings->partitions_log2 == 0) ||
        size / block * 16 > quarter * 2) {
        uint64_t needed = MEMORY_BYTES_MIN;
        while (needed / 4 < SPILL_BUFFER_BYTES_MIN * (spilled / (needed / 4) + 1) * 2 ||
               size / CHECKPOINT_BLOCK_BYTES_MAX * 16 > needed / 2)
            needed += needed / 8;
        char have[32], need[32];
        return error_set(error, TARN_TOOBIG,
                         "%s: %s of memory are too little to rewrite it: %s are needed; raise "
                         "--memory",
                         r->options->path, number_format_size(r->memory, have),
                         number_format_size(needed, need));
    }
    r->spill_buffer_bytes =
        (size_t)(buffer > BUFFER_BYTES_MAX ? BUFFER_BYTES_MAX : buffer) & ~4095ul;
    if (r->spill_buffer_bytes < SPILL_BUFFER_BYTES_MIN)
        r->spill_buffer_bytes = SPILL_BUFFER_BYTES_MIN;
    state->partitions_log2 = partitions;
    state->block_bytes = block;
    return TARN_OK;
}

static int check_output(const struct rewrite *r, struct tarn_error *error)
{
    struct tarn_options as_index = *r->options;
    as_index.index_path = r->output;
    if (r->format.kind == TARN_FORMAT_TARN)
        return error_set(error, TARN_INVALID, "%s: is a tarn file already", r->options->path);
    return pack_check_index_path(r->os, &as_index, &r->info, error);
}

static int prepare(struct rewrite *r, struct tarn_error *error)
{
    const struct tarn_options *o = r->options;
    int status = os_open_data(r->os, o->path, &r->fd, &r->info, error);
    if (status != TARN_OK) {
        r->fd = -1;
        return status;
    }
    r->source = (struct source){.os = r->os, .path = o->path, .fd = r->fd, .size = r->info.size};
    status = name_files(r, error);
    if (status == TARN_OK)
        status = pack_find_format(o, &r->source, &r->format, error);
    if (status == TARN_OK)
        status = check_output(r, error);
    if (status == TARN_OK)
        status = sum_ends(r, error);
    const struct tarn_format *f = &r->format;
    r->state.data_bytes = r->info.size;
    r->state.data_mtime_ns = (uint64_t)r->info.mtime_ns;
    r->state.duplicates = o->duplicates;
    r->state.format = (uint64_t)f->kind | (uint64_t)f->size_type << 8 |
                      (uint64_t)f->big_endian << 16 | (uint64_t)f->separator_set << 24 |
                      (uint64_t)f->separator << 32;
    return status == TARN_OK ? divide_memory(r, error) : status;
}

/* --- the first pass --- */

static int put_aside(struct rewrite *r, const struct record *record, uint64_t offset,
                     struct tarn_error *error)
{
    struct rewrite_state *state = &r->state;
    uint64_t hash = hash_key(state->secret, record->key);
    bool far = record->value.size > REWRITE_FAR_BYTES;
    bool newline = r->format.kind == TARN_FORMAT_TEXT;
    uint16_t framing =
        newline ? 1 : (uint16_t)(record->size - record->key.size - record->value.size);
    struct rewrite_head head = {
        .hash = hash,
        .offset = offset,
        .key_bytes = (uint16_t)record->key.size,
        .framing = framing,
        .value_bytes = (uint32_t)record->value.size,
    };
    unsigned stream =
        state->partitions_log2 ? (unsigned)(hash >> (64 - state->partitions_log2)) : 0;
    int status = spill_append(&r->spill, stream, &head, sizeof head, error);
    if (status == TARN_OK)
        status = spill_append(&r->spill, stream, record->key.data, record->key.size, error);
    if (status == TARN_OK && !far)
        status = spill_append(&r->spill, stream, record->value.data, record->value.size, error);
    return status;
}

static int divide_records(struct rewrite *r, struct reader *reader, struct tarn_error *error)
{
    struct rewrite_state *state = &r->state;
    uint64_t round = r->settings->round_bytes ? r->settings->round_bytes : ROUND_BYTES;
    uint64_t saved = state->offset;
    struct record record;
    int status;
    while ((status = reader_next(reader, &record, error)) == TARN_OK) {
        status = put_aside(r, &record, reader_offset(reader), error);
        if (status != TARN_OK)
            return status;
        state->offset = reader_offset(reader) + record.size;
        state->records++;
        if (state->records % PROGRESS_RECORDS == 0)
            status = rewrite_progress(r, "dividing", state->offset, state->data_bytes, error);
        if (status == TARN_OK && state->offset - saved >= round) {
            saved = state->offset;
            status = rewrite_save(r, error);
        }
        if (status != TARN_OK)
            return status;
    }
    return status == TARN_NOTFOUND ? TARN_OK : status;
}

static int divide(struct rewrite *r, struct tarn_error *error)
{
    struct reader *reader;
    int status = reader_open(r->os, r->options->path, &r->format, &reader, error);
    if (status != TARN_OK)
        return status;
    status = reader_seek(reader, r->state.offset, r->state.records, error);
    if (status == TARN_OK)
        status = divide_records(r, reader, error);
    reader_close(reader);
    if (status == TARN_OK)
        status = pack_check_unchanged(r->os, r->fd, &r->info, r->options->path, error);
    return status == TARN_OK ? rewrite_save(r, error) : status;
}

/* --- all --- */

/* Takes away what a rewriting that was killed in its second pass had written of the new file. */
static void forget_part(void *context, const char *name)
{
    const struct rewrite *r = context;
    const char *slash = strrchr(r->output, '/');
    size_t at = slash != NULL ? (size_t)(slash + 1 - r->output) : 0;
    size_t size = strlen(r->output + at);
    if (strncmp(name, r->output + at, size) != 0 || strncmp(name + size, ".tmp.", 5) != 0)
        return;
    char *directory = at > 1 ? strndup(r->output, at - 1) : at == 1 ? strdup("") : NULL;
    char *path = at == 0 || directory != NULL ? joined(directory, name, "") : NULL;
    if (path != NULL)
        (void)r->os->unlink(r->os, path); /* it only takes room */
    free(directory);
    free(path);
}

static void forget_parts(struct rewrite *r)
{
    struct os_file_info info;
    const char *slash = strrchr(r->output, '/');
    if (r->os->file_info(r->os, r->lock_fd, &info) != 0 || info.size == 0)
        return; /* none was under way */
    size_t size = slash != NULL ? (size_t)(slash - r->output) : 0;
    char *directory = slash == NULL ? strdup(".")
                      : size == 0   ? strdup("/")
                                    : strndup(r->output, size);
    if (directory != NULL)
        (void)r->os->list(r->os, directory, forget_part, r); /* likewise */
    free(directory);
}

/* Nobody else makes this file at the same time. */
static int lock(struct rewrite *r, struct tarn_error *error)
{
    int result = r->os->open(r->os, r->spill_path, O_RDWR | O_CREAT, 0666, &r->lock_fd);
    if (result < 0) {
        r->lock_fd = -1;
        return os_error(error, result, "cannot create", r->spill_path);
    }
    result = r->os->lock(r->os, r->lock_fd);
    if (result == -EWOULDBLOCK)
        return error_set(error, TARN_BUSY, "%s: another rewriting to it is under way", r->output);
    return result < 0 ? os_error(error, result, "cannot lock", r->spill_path) : TARN_OK;
}

static int begin_new(struct rewrite *r, struct tarn_error *error)
{
    struct rewrite_state *state = &r->state;
    (void)r->os->unlink(r->os, r->state_path); /* what it spoke of is about to go */
    state->offset = state->records = state->spill_bytes = 0;
    int result = r->os->entropy(r->os, state->secret, sizeof state->secret);
    if (result == 0)
        result = r->os->entropy(r->os, &state->spill_id, sizeof state->spill_id);
    return result < 0 ? os_error(error, result, "no randomness for", r->output) : TARN_OK;
}

static int begin(struct rewrite *r, struct tarn_error *error)
{
    int status = r->settings->restart ? TARN_NOTFOUND : rewrite_load(r, error);
    if (status == TARN_OK && r->options->notice != NULL) {
        char line[256];
        snprintf(line, sizeof line, "%.150s: going on with a rewriting that was stopped",
                 r->output);
        r->options->notice(r->options->notice_context, line);
    }
    if (status == TARN_NOTFOUND)
        status = begin_new(r, error);
    return status == TARN_OK ? spill_open(&r->spill, r->os, r->spill_path, r->state.spill_id,
                                          1u << r->state.partitions_log2, r->spill_buffer_bytes,
                                          r->state.spill_bytes, error)
                             : status;
}

static int run(struct rewrite *r, struct tarn_error *error)
{
    uint64_t began = r->os->monotonic_ns(r->os);
    int status = begin(r, error);
    if (status == TARN_OK && r->state.offset < r->state.data_bytes)
        status = divide(r, error);
    uint64_t divided = r->os->monotonic_ns(r->os);
    r->report.read_us = (divided - began) / 1000;
    if (status == TARN_OK)
        status = rewrite_write(r, error);
    r->report.solve_us = (r->os->monotonic_ns(r->os) - divided) / 1000;
    return status;
}

/* Whether going on later makes sense: the reason may be gone by then. */
static bool may_go_on(int status)
{
    return status == TARN_CANCELLED || status == TARN_NOSPACE || status == TARN_IO ||
           status == TARN_NOMEM || status == TARN_DENIED || status == TARN_BUSY;
}

static void close_all(struct rewrite *r, int status)
{
    spill_close(&r->spill);
    if (r->lock_fd >= 0 && !may_go_on(status)) {
        (void)r->os->unlink(r->os, r->state_path); /* it may not be there */
        (void)r->os->unlink(r->os, r->spill_path);
    }
    if (r->lock_fd >= 0)
        (void)r->os->close(r->os, r->lock_fd); /* nothing was written through it */
    if (r->fd >= 0)
        (void)r->os->close(r->os, r->fd); /* only read from */
    free(r->output);
    free(r->spill_path);
    free(r->state_path);
}

int rewrite_run(const struct os *os, const struct tarn_options *options,
                const struct rewrite_settings *settings, struct tarn_index_report *ret_report,
                struct tarn_error *error)
{
    struct rewrite r = {
        .os = os, .options = options, .settings = settings, .fd = -1, .lock_fd = -1};
    uint64_t began = os->monotonic_ns(os);
    r.memory = settings->memory_bytes ? settings->memory_bytes : os_memory_total() / 2;
    int status = prepare(&r, error);
    if (status == TARN_OK)
        status = lock(&r, error);
    if (status == TARN_OK)
        forget_parts(&r);
    if (status == TARN_OK)
        status = run(&r, error);
    close_all(&r, status);
    if (status != TARN_OK)
        return status;
    r.report.total_us = (os->monotonic_ns(os) - began) / 1000;
    r.report.records = r.state.records;
    r.report.data_bytes = r.state.data_bytes;
    r.report.format = r.format;
    *ret_report = r.report;
    return TARN_OK;
}
