/* One file of the log as a run of records, across its segments.
 *
 * How: a segment's header vouches for the end of the segment before: where its chain ended, and
 * that it was synced. So what is not sound before another segment is damage, and only what is not
 * sound at the end of the last one is left for the caller to judge.
 *
 * Invariants
 * 1. `before` is where the view, or what is broken, begins; `chain` is as after the view.
 * 2. The sequences of a file rise, and none is below the first_sequence of its segment.
 * Failure modes: reading, memory; damage as above, with its place. */
#include <stdlib.h>

#include "core/assert.h"
#include "core/plant.h"
#include "wal/replay_internal.h"

void source_init(struct source *s, struct reading *reading, unsigned file,
                 const struct segment_list *list, size_t usual_bytes)
{
    *s = (struct source){.reading = reading, .file = file, .list = list, .state = SOURCE_END};
    window_init(&s->window, reading->os, usual_bytes);
}

void source_done(struct source *s)
{
    window_done(&s->window);
    buffer_done(&s->scratch);
    free(s->path);
}

/* --- what is wrong --- */

int source_damaged(struct source *s, struct tarn_error *error, const char *what)
{
    uint64_t offset = window_offset(&s->window);
    return error_set_at(error, TARN_CORRUPT, offset, UINT64_MAX, "%s: byte %llu: %s: %s", s->path,
                        (unsigned long long)offset, what, REPLAY_ADVICE);
}

/* Damage, unless it is to be salvaged: then it is counted. */
int source_complain(struct source *s, struct tarn_error *error, const char *what)
{
    if (!s->reading->start->repair)
        return source_damaged(s, error, what);
    s->reading->damaged_places++;
    return TARN_OK;
}

/* --- bytes --- */

static int account(struct source *s, uint64_t read_before, struct tarn_error *error)
{
    struct reading *r = s->reading;
    r->bytes += s->window.read_bytes - read_before;
    uint64_t done = r->bytes < r->bytes_total ? r->bytes : r->bytes_total;
    if (r->progress && !r->progress(r->progress_context, "replaying", done, r->bytes_total))
        return error_set(error, TARN_CANCELLED, "%s: reading the log was cancelled",
                         r->start->directory);
    return TARN_OK;
}

int source_more(struct source *s, struct tarn_error *error)
{
    uint64_t before = s->window.read_bytes;
    int status = window_more(&s->window, s->path, error);
    return status == TARN_OK ? account(s, before, error) : status;
}

int source_seek(struct source *s, uint64_t offset, struct tarn_error *error)
{
    uint64_t before = s->window.read_bytes;
    int status = window_seek(&s->window, offset, s->path, error);
    return status == TARN_OK ? account(s, before, error) : status;
}

/* Pass over filling. *ret_all: up to the end of the file; if not, all stays in view. */
static int pass_filling(struct source *s, bool *ret_all, struct tarn_error *error)
{
    uint64_t from = window_offset(&s->window);
    for (;;) {
        struct tarn_bytes view = window_view(&s->window);
        *ret_all = record_only_filling(s->header.encoding, view);
        if (!*ret_all)
            return source_seek(s, from, error);
        window_pass(&s->window, view.size);
        if (window_is_last(&s->window))
            return TARN_OK;
        int status = source_more(s, error);
        if (status != TARN_OK)
            return status;
    }
}

/* --- records --- */

/* Read what is next in the open segment; the place stays before it. */
int source_read_record(struct source *s, enum record_found *ret_found, struct tarn_error *error)
{
    enum wal_encoding encoding = s->header.encoding;
    for (;;) {
        struct tarn_bytes view = window_view(&s->window);
        *ret_found = record_read(encoding, view, &s->chain, &s->view, &s->scratch);
        if (s->scratch.failed)
            return error_set(error, TARN_NOMEM, "%s: out of memory for a record", s->path);
        /* Filling that is shorter than a head may be the start of one. */
        bool wants_more = *ret_found == RECORD_SHORT ||
                          (*ret_found == RECORD_END && view.size < record_head_bytes(encoding));
        if (!wants_more || window_is_last(&s->window))
            return TARN_OK;
        int status = source_more(s, error);
        if (status != TARN_OK)
            return status;
    }
}

/* Behind the last record: is it the end of the segment? */
static int finish(struct source *s, bool *ret_broken, struct tarn_error *error)
{
    bool all;
    uint64_t offset = window_offset(&s->window);
    int status = pass_filling(s, &all, error);
    *ret_broken = status == TARN_OK && !all;
    if (status == TARN_OK && all)
        source_end_segment(s, offset);
    return status;
}

static int take_seal(struct source *s, bool *ret_broken, struct tarn_error *error)
{
    if (s->view.stamp.sequence != s->sequence) {
        int status = source_complain(s, error, "the seal does not belong here");
        if (status != TARN_OK)
            return status;
    }
    window_pass(&s->window, s->view.size);
    s->sealed = true;
    source_mark(s);
    int status = finish(s, ret_broken, error);
    if (status != TARN_OK || !*ret_broken)
        return status;
    return source_complain(s, error, "there is something behind the end of the log");
}

/* The view is a record: is it one that may stand here? */
static int take_record(struct source *s, struct tarn_error *error)
{
    uint64_t sequence = s->view.stamp.sequence;
    if (!plant(PLANT_SEQUENCE_UNCHECKED) &&
        (sequence <= s->sequence || sequence < s->header.first_sequence)) {
        int status = source_complain(s, error, "changes are not in their order");
        if (status != TARN_OK)
            return status;
        window_pass(&s->window, s->view.size);
        source_mark(s);
        return TARN_OK; /* and not taken */
    }
    s->sequence = sequence;
    s->state = SOURCE_RECORD;
    return TARN_OK;
}

/* What was read is taken: a record (state RECORD), or what ends the segment or breaks it. */
static int take(struct source *s, enum record_found found, bool *ret_broken,
                struct tarn_error *error)
{
    *ret_broken = false;
    if (found == RECORD_FOUND)
        return take_record(s, error);
    if (found == RECORD_SEAL)
        return take_seal(s, ret_broken, error);
    if (found == RECORD_END)
        return finish(s, ret_broken, error);
    *ret_broken = true;
    return TARN_OK;
}

/* Salvage goes on behind what is broken, in this segment or the next. */
static int salvage(struct source *s, struct tarn_error *error)
{
    enum record_found found;
    bool broken;
    s->reading->damaged_places++;
    int status = source_find_sound(s, &found, error);
    if (status == TARN_OK && found == RECORD_END)
        source_end_segment(s, s->window.file_bytes);
    else if (status == TARN_OK)
        status = take(s, found, &broken, error);
    return status;
}

/* The first record from the present place on, in this segment or a later one. */
static int advance(struct source *s, struct tarn_error *error)
{
    int status = TARN_OK;
    s->state = SOURCE_END;
    while (status == TARN_OK && s->state == SOURCE_END) {
        enum record_found found;
        bool broken = false;
        if (!s->is_open) {
            status = source_open_segment(s, error);
            if (status != TARN_OK || !s->is_open)
                return status;
        }
        status = source_read_record(s, &found, error);
        if (status == TARN_OK)
            status = take(s, found, &broken, error);
        if (status == TARN_OK && broken)
            status = s->reading->start->repair ? salvage(s, error) : source_judge(s, error);
    }
    return status;
}

int source_next(struct source *s, struct tarn_error *error)
{
    ASSERT(s->state != SOURCE_BROKEN);
    for (;;) {
        if (s->state == SOURCE_RECORD) {
            window_pass(&s->window, s->view.size);
            source_mark(s);
        }
        int status = advance(s, error);
        if (status != TARN_OK || s->state != SOURCE_RECORD ||
            s->view.stamp.sequence > s->reading->start->after)
            return status;
    }
}
