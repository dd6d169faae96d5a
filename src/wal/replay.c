/* Replaying a log: the files' records merged by sequence, steps whole, and the rule for the end.
 *
 * How: each file is a source with one record in view. The run goes on as long as some view has the
 * sequence that is due. A step of several changes is kept until its last one is there. When the due
 * one is nowhere, all that is left is read for evidence that it had been synced: then it is damage;
 * otherwise the log ends before it, or before the step that it belongs to.
 *
 * Invariants
 * 1. Changes are applied in the order of sequences without a gap, steps whole or not at all
 *    (salvage: in order, and a step that has a gap not at all).
 * 2. result->ends is where each file ends if exactly what was applied is to be in it; for a step
 *    that is incomplete, where they were before it.
 * Failure modes: those of sources (replay_source.c); damage; what apply returns. */
#include "wal/replay.h"

#include <stdlib.h>

#include "core/assert.h"
#include "core/plant.h"
#include "wal/replay_internal.h"

#define WINDOW_BYTES_TOTAL ((size_t)4 << 20) /* of all sources together ... */
#define WINDOW_BYTES_MIN   ((size_t)64 << 10)
#define WINDOW_BYTES_MAX   ((size_t)1 << 20)

/* A change of the step that is not complete yet; its bytes lie in merge.step_bytes. */
struct kept {
    struct change change;
    size_t offset; /* of the key, then the value */
};

struct merge {
    struct reading reading;
    struct source *sources;
    unsigned files;
    uint64_t due; /* the sequence that comes next */
    replay_apply apply;
    void *context;
    struct buffer step, step_bytes;               /* of struct kept */
    uint64_t step_first;                          /* 0: none is being kept */
    struct source_place step_ends[WAL_FILES_MAX]; /* where the files were before it */
    struct replay_result result;
};

/* --- steps --- */

static void begin_step(struct merge *m, uint64_t sequence)
{
    m->step_first = sequence;
    for (unsigned i = 0; i < m->files; i++)
        m->step_ends[i] = m->sources[i].before;
}

static void drop_step(struct merge *m)
{
    m->step_first = 0;
    buffer_clear(&m->step);
    buffer_clear(&m->step_bytes);
}

static int keep(struct merge *m, const struct change *change, struct tarn_error *error)
{
    struct kept kept = {*change, m->step_bytes.size};
    if (m->step_first == 0)
        begin_step(m, m->due);
    buffer_append(&m->step, &kept, sizeof kept);
    buffer_append(&m->step_bytes, change->key.data, change->key.size);
    buffer_append(&m->step_bytes, change->value.data, change->value.size);
    if (m->step.failed || m->step_bytes.failed)
        return error_set(error, TARN_NOMEM, "%s: out of memory for a step of many changes",
                         m->reading.start->directory);
    return TARN_OK;
}

static int apply_one(struct merge *m, uint64_t sequence, const struct change *change)
{
    int status = m->apply(m->context, sequence, change);
    if (status == TARN_OK) {
        m->result.records++;
        m->result.sequence = sequence;
    }
    return status;
}

static int apply_step(struct merge *m)
{
    size_t count = m->step.size / sizeof(struct kept);
    int status = TARN_OK;
    for (size_t i = 0; i < count && status == TARN_OK; i++) {
        struct kept kept;
        memcpy(&kept, m->step.data + i * sizeof kept, sizeof kept);
        kept.change.key.data = m->step_bytes.data + kept.offset;
        kept.change.value.data = m->step_bytes.data + kept.offset + kept.change.key.size;
        status = apply_one(m, m->step_first + i, &kept.change);
    }
    drop_step(m);
    return status;
}

/* --- the run --- */

/* The source whose view is next; NULL: none has what is due. */
static struct source *find_next(struct merge *m, struct source **ret_out_of_order)
{
    struct source *lowest = NULL;
    *ret_out_of_order = NULL;
    for (unsigned i = 0; i < m->files; i++) {
        struct source *s = &m->sources[i];
        if (s->state != SOURCE_RECORD)
            continue;
        if (s->view.stamp.sequence < m->due)
            *ret_out_of_order = s;
        if (!lowest || s->view.stamp.sequence < lowest->view.stamp.sequence)
            lowest = s;
    }
    if (m->reading.start->repair || plant(PLANT_SEQUENCE_UNCHECKED))
        return lowest;
    return lowest && lowest->view.stamp.sequence == m->due ? lowest : NULL;
}

/* Salvage: a record that is not the one due. *ret_skip: it is one too many. */
static void bridge_gap(struct merge *m, uint64_t sequence, bool *ret_skip)
{
    *ret_skip = sequence < m->due;
    if (*ret_skip) {
        m->reading.damaged_places++;
        return;
    }
    if (m->step_first != 0) {
        m->reading.damaged_places++;
        drop_step(m);
    }
    m->due = sequence;
}

static int take_in(struct merge *m, struct source *s, struct tarn_error *error)
{
    int status;
    bool skip = false;
    if (s->view.stamp.sequence != m->due)
        bridge_gap(m, s->view.stamp.sequence, &skip);
    if (skip)
        return source_next(s, error);
    if (m->step_first == 0 && !s->view.stamp.more) {
        status = apply_one(m, m->due, &s->view.change);
    } else {
        status = keep(m, &s->view.change, error);
        if (status == TARN_OK && !s->view.stamp.more)
            status = apply_step(m);
    }
    m->due++;
    return status == TARN_OK ? source_next(s, error) : status;
}

static int run(struct merge *m, struct tarn_error *error)
{
    struct source *out_of_order, *s;
    int status = TARN_OK;
    while (status == TARN_OK && (s = find_next(m, &out_of_order)) != NULL)
        status = take_in(m, s, error);
    if (status == TARN_OK && out_of_order)
        return error_set_at(error, TARN_CORRUPT, out_of_order->before.end.size, UINT64_MAX,
                            "%s: byte %llu: change %llu is in two files: %s", out_of_order->path,
                            (unsigned long long)out_of_order->before.end.size,
                            (unsigned long long)out_of_order->view.stamp.sequence, REPLAY_ADVICE);
    return status;
}

/* --- the end --- */

static void note_ends(struct merge *m)
{
    for (unsigned i = 0; i < m->files; i++)
        m->result.ends[i] = m->step_first ? m->step_ends[i].end : m->sources[i].before.end;
}

/* The change that is due had been synced. */
static int lost(struct merge *m, struct tarn_error *error)
{
    unsigned long long due = m->due;
    for (unsigned i = 0; i < m->files; i++) {
        const struct source *s = &m->sources[i];
        unsigned long long offset = s->before.end.size;
        if (s->state == SOURCE_BROKEN)
            return error_set_at(error, TARN_CORRUPT, offset, UINT64_MAX,
                                "%s: byte %llu: change %llu is damaged or missing, which had been "
                                "synced: %s",
                                s->path, offset, due, REPLAY_ADVICE);
    }
    const struct source *s = &m->sources[0];
    if (m->files == 1 && s->path)
        return error_set_at(
            error, TARN_CORRUPT, s->before.end.size, UINT64_MAX,
            "%s: byte %llu: the log ends before change %llu, which had been synced: "
            "%s",
            s->path, (unsigned long long)s->before.end.size, due, REPLAY_ADVICE);
    return error_set(error, TARN_CORRUPT,
                     "%s: the log ends before change %llu, which had been synced: %s",
                     m->reading.start->directory, due, REPLAY_ADVICE);
}

/* All that is left of a source behind the end of the run. */
static int drain(struct merge *m, struct source *s, bool *ret_evidence, struct tarn_error *error)
{
    uint64_t records = 0;
    int status = TARN_OK;
    while (status == TARN_OK && s->state == SOURCE_RECORD) {
        *ret_evidence |= s->view.stamp.durable_upto >= m->due;
        m->result.truncated_records++;
        status = source_next(s, error);
    }
    *ret_evidence |= s->sealed && s->sequence >= m->due;
    if (status == TARN_OK && s->state == SOURCE_BROKEN) {
        bool behind;
        status = source_look_behind(s, m->due, &behind, &records, error);
        *ret_evidence |= behind;
        m->result.truncated_records += records;
    }
    return status;
}

static int finish(struct merge *m, struct tarn_error *error)
{
    bool evidence = m->reading.start->synced_upto >= m->due;
    bool sealed = true, begun = false;
    note_ends(m);
    for (unsigned i = 0; i < m->files; i++) {
        struct source *s = &m->sources[i];
        uint64_t kept = m->step_first ? m->step_ends[i].bytes : s->before.bytes;
        int status = drain(m, s, &evidence, error);
        if (status != TARN_OK)
            return status;
        m->result.truncated_bytes += s->passed_bytes + s->extent - kept;
        sealed &= s->sealed || !s->begun;
        begun |= s->begun;
    }
    m->result.sealed = sealed && begun && m->result.truncated_bytes == 0;
    m->result.truncated_records += m->step.size / sizeof(struct kept);
    if (m->reading.start->repair || plant(PLANT_EVIDENCE_IGNORED))
        return TARN_OK;
    return evidence ? lost(m, error) : TARN_OK;
}

/* --- all of it --- */

/* What there is to read, for the progress. */
static int measure(struct merge *m, const struct segment_list *list, unsigned file,
                   struct tarn_error *error)
{
    const struct os *os = m->reading.os;
    for (size_t i = 0; i < list->count; i++) {
        struct os_file_info info;
        int fd;
        char *path = segment_path(m->reading.start->directory, file, list->numbers[i]);
        if (!path)
            return error_set(error, TARN_NOMEM, "out of memory");
        int status = os_open_data(os, path, &fd, &info, error);
        free(path);
        if (status != TARN_OK)
            return status;
        (void)os->close(os, fd);
        m->reading.bytes_total += info.size;
    }
    return TARN_OK;
}

static size_t window_bytes(unsigned files)
{
    size_t bytes = WINDOW_BYTES_TOTAL / (files ? files : 1);
    return bytes > WINDOW_BYTES_MAX   ? WINDOW_BYTES_MAX
           : bytes < WINDOW_BYTES_MIN ? WINDOW_BYTES_MIN
                                      : bytes;
}

static int open_sources(struct merge *m, const struct segment_list *lists, struct tarn_error *error)
{
    m->sources = calloc(m->files ? m->files : 1, sizeof *m->sources);
    if (!m->sources)
        return error_set(error, TARN_NOMEM, "out of memory");
    for (unsigned i = 0; i < m->files; i++)
        source_init(&m->sources[i], &m->reading, i, &lists[i], window_bytes(m->files));
    int status = TARN_OK;
    for (unsigned i = 0; i < m->files && m->reading.progress && status == TARN_OK; i++)
        status = measure(m, &lists[i], i, error);
    for (unsigned i = 0; i < m->files && status == TARN_OK; i++)
        status = source_next(&m->sources[i], error);
    return status;
}

static void close_sources(struct merge *m)
{
    for (unsigned i = 0; m->sources && i < m->files; i++)
        source_done(&m->sources[i]);
    free(m->sources);
    buffer_done(&m->step);
    buffer_done(&m->step_bytes);
}

int replay(const struct os *os, const struct replay_start *start, replay_apply apply, void *context,
           tarn_progress progress, void *progress_context, struct replay_result *ret_result,
           struct tarn_error *error)
{
    struct segment_list lists[WAL_FILES_MAX];
    struct merge m = {
        .reading = {.os = os,
                    .start = start,
                    .progress = progress,
                    .progress_context = progress_context},
        .files = start->files,
        .due = start->after + 1,
        .apply = apply,
        .context = context,
        .result = {.sequence = start->after},
    };
    int status = segment_lists_read(os, start, lists, error);
    if (status == TARN_OK)
        status = open_sources(&m, lists, error);
    if (status == TARN_OK)
        status = run(&m, error);
    if (status == TARN_OK)
        status = finish(&m, error);
    m.result.bytes = m.reading.bytes;
    m.result.damaged_places = m.reading.damaged_places;
    close_sources(&m);
    segment_lists_free(lists);
    if (status == TARN_OK)
        *ret_result = m.result;
    return status;
}
