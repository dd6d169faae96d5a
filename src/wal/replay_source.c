/* One file of the log as a run of records, across its segments.
 *
 * How: a segment's header vouches for the end of the segment before: where its chain ended, and
 * that it was synced. So what is not sound before another segment is damage, and only what is not
 * sound at the end of the last one is left for the caller to judge.
 *
 * A segment without a sound header and without content behind the place of one is void: making it
 * was interrupted. It never held a record, and is passed over wherever it is.
 *
 * Invariants
 * 1. `before` is where the view, or what is broken, begins; `chain` is as after the view.
 * 2. The sequences of a file rise, and none is below the first_sequence of its segment.
 * 3. Salvage (start->repair) only takes records whose checksum is right, seeded by what a head
 *    before them says.
 * Failure modes: reading, memory; damage as above, a missing or foreign segment, with its place. */
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

static int damaged(struct source *s, struct tarn_error *error, const char *what)
{
    uint64_t offset = window_offset(&s->window);
    return error_set_at(error, TARN_CORRUPT, offset, UINT64_MAX, "%s: byte %llu: %s: %s", s->path,
                        (unsigned long long)offset, what, REPLAY_ADVICE);
}

/* Damage, unless it is to be salvaged: then it is counted. */
static int complain(struct source *s, struct tarn_error *error, const char *what)
{
    if (!s->reading->start->repair)
        return damaged(s, error, what);
    s->reading->damaged_places++;
    return TARN_OK;
}

static int missing(struct source *s, uint64_t number, struct tarn_error *error)
{
    char name[SEGMENT_NAME_BYTES];
    if (s->reading->start->repair) {
        s->reading->damaged_places++;
        return TARN_OK;
    }
    segment_name(s->file, number, name);
    return error_set(error, TARN_MISSING, "%s/%s: this segment of the log is missing: %s",
                     s->reading->start->directory, name, REPLAY_ADVICE);
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

static int more(struct source *s, struct tarn_error *error)
{
    uint64_t before = s->window.read_bytes;
    int status = window_more(&s->window, s->path, error);
    return status == TARN_OK ? account(s, before, error) : status;
}

static int seek(struct source *s, uint64_t offset, struct tarn_error *error)
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
            return seek(s, from, error);
        window_pass(&s->window, view.size);
        if (window_is_last(&s->window))
            return TARN_OK;
        int status = more(s, error);
        if (status != TARN_OK)
            return status;
    }
}

/* --- opening segments --- */

enum segment_kind { SEGMENT_SOUND, SEGMENT_VOID, SEGMENT_DAMAGED };

/* Is there anything but filling, of whatever encoding, from the present place on? */
static int find_content(struct source *s, bool *ret_content, struct tarn_error *error)
{
    for (;;) {
        struct tarn_bytes view = window_view(&s->window);
        const unsigned char *p = view.data;
        for (size_t i = 0; i < view.size; i++)
            if (p[i] != 0 && p[i] != '\n') {
                *ret_content = true;
                return TARN_OK;
            }
        window_pass(&s->window, view.size);
        *ret_content = false;
        if (window_is_last(&s->window))
            return TARN_OK;
        int status = more(s, error);
        if (status != TARN_OK)
            return status;
    }
}

/* Open a segment and read its header; the place is behind it if it is sound. */
static int open_file(struct source *s, uint64_t number, struct segment_header *ret_header,
                     uint64_t *ret_checksum, enum segment_kind *ret_kind, struct tarn_error *error)
{
    bool content;
    free(s->path);
    s->path = segment_path(s->reading->start->directory, s->file, number);
    if (!s->path)
        return error_set(error, TARN_NOMEM, "out of memory");
    int status = window_open(&s->window, s->path, error);
    if (status == TARN_OK && s->window.file_bytes > 0)
        status = more(s, error);
    if (status != TARN_OK)
        return status;
    struct tarn_bytes view = window_view(&s->window);
    *ret_kind = SEGMENT_VOID;
    if (view.size < SEGMENT_HEADER_BYTES)
        return TARN_OK;
    if (segment_header_read(view.data, ret_header, ret_checksum)) {
        *ret_kind = SEGMENT_SOUND;
        window_pass(&s->window, SEGMENT_HEADER_BYTES);
        return TARN_OK;
    }
    window_pass(&s->window, SEGMENT_HEADER_BYTES);
    status = find_content(s, &content, error);
    if (status == TARN_OK && content) {
        *ret_kind = SEGMENT_DAMAGED;
        status = seek(s, 0, error);
    }
    return status;
}

/* What is wrong with a sound header where it is; NULL: nothing. */
static const char *find_misplaced(const struct source *s, const struct segment_header *h,
                                  uint64_t number)
{
    if (h->store_id != s->reading->start->store_id)
        return "the segment belongs to another store";
    if (h->file != s->file || h->number != number)
        return "the segment is another one, which was renamed";
    return NULL;
}

static const char *find_unchained(const struct source *s, const struct segment_header *h)
{
    if (!s->begun)
        return h->previous_sequence > s->reading->start->after
                   ? "changes before this segment are missing"
                   : NULL;
    if (h->previous_sequence != s->sequence || h->previous_checksum != s->chain.checksum)
        return "the segment before ends too early, or is another one";
    return NULL;
}

/* Note that the file could end here. */
static void mark_place(struct source *s)
{
    uint64_t offset = window_offset(&s->window);
    s->before = (struct source_place){{s->header.number, offset, s->sequence, s->chain.checksum},
                                      s->passed_bytes + offset};
}

static void begin_segment(struct source *s, const struct segment_header *h, uint64_t checksum)
{
    if (!s->begun)
        s->sequence = h->previous_sequence;
    s->begun = s->is_open = true;
    s->sealed = false;
    s->header = *h;
    s->chain = (struct record_chain){.salt = h->salt, .checksum = checksum};
    mark_place(s);
}

/* The number that the next segment should have. */
static uint64_t due_number(const struct source *s)
{
    uint64_t first = s->reading->start->first[s->file];
    if (s->next > 0)
        return s->list->numbers[s->next - 1] + 1;
    return first ? first : 1;
}

/* Try the next segment; is_open if it can be read. */
static int try_segment(struct source *s, struct tarn_error *error)
{
    struct segment_header h = {0};
    uint64_t checksum, due = due_number(s), number = s->list->numbers[s->next];
    enum segment_kind kind;
    int status = number == due ? TARN_OK : missing(s, due, error);
    if (status == TARN_OK)
        status = open_file(s, number, &h, &checksum, &kind, error);
    if (status != TARN_OK)
        return status;
    s->next++;
    if (kind == SEGMENT_VOID)
        return TARN_OK;
    if (kind == SEGMENT_DAMAGED)
        return complain(s, error, "the segment's header is damaged");
    const char *wrong = find_misplaced(s, &h, number);
    if (wrong)
        return complain(s, error, wrong);
    wrong = find_unchained(s, &h);
    status = wrong ? complain(s, error, wrong) : TARN_OK;
    if (status == TARN_OK)
        begin_segment(s, &h, checksum);
    return status;
}

/* Go on to the next segment that has a header; is_open: there was one. */
static int open_segment(struct source *s, struct tarn_error *error)
{
    const uint64_t *last = s->reading->start->last;
    while (s->next < s->list->count) {
        int status = try_segment(s, error);
        if (status != TARN_OK || s->is_open)
            return status;
    }
    uint64_t due = due_number(s);
    return last && last[s->file] >= due ? missing(s, due, error) : TARN_OK;
}

static void end_segment(struct source *s, uint64_t extent)
{
    s->passed_bytes += extent;
    s->is_open = false;
    window_close(&s->window);
}

/* --- what is broken --- */

/* Is there any segment behind the open one that is not void? Leaves the window there. */
static int find_later(struct source *s, bool *ret_later, struct tarn_error *error)
{
    struct segment_header h;
    uint64_t checksum;
    *ret_later = false;
    for (size_t i = s->next; i < s->list->count && !*ret_later; i++) {
        enum segment_kind kind;
        int status = open_file(s, s->list->numbers[i], &h, &checksum, &kind, error);
        if (status != TARN_OK)
            return status;
        *ret_later = kind != SEGMENT_VOID;
    }
    return TARN_OK;
}

/* Back to the segment that is being read. */
static int reopen(struct source *s, struct tarn_error *error)
{
    free(s->path);
    s->path = segment_path(s->reading->start->directory, s->file, s->before.end.number);
    if (!s->path)
        return error_set(error, TARN_NOMEM, "out of memory");
    int status = window_open(&s->window, s->path, error);
    if (status == TARN_OK && s->window.file_bytes < s->before.end.size)
        status =
            error_set(error, TARN_IO, "%s: the file became shorter while it was read", s->path);
    return status == TARN_OK ? seek(s, s->before.end.size, error) : status;
}

static int judge_broken(struct source *s, struct tarn_error *error)
{
    bool later = false;
    int status = TARN_OK;
    if (s->next < s->list->count) {
        status = find_later(s, &later, error);
        if (status == TARN_OK)
            status = reopen(s, error);
    }
    if (status == TARN_OK && later)
        return damaged(s, error, "a change is damaged or missing, and there are later ones");
    s->state = SOURCE_BROKEN;
    return status;
}

/* The next head at or behind the present place, which becomes that of it; or the end. */
static int find_head(struct source *s, bool *ret_found, struct record_mark *ret_mark,
                     struct tarn_error *error)
{
    size_t head = record_head_bytes(s->header.encoding);
    for (;;) {
        struct tarn_bytes view = window_view(&s->window);
        size_t at = 0;
        *ret_found = record_find(s->header.encoding, view, s->chain.salt, &at, ret_mark);
        window_pass(&s->window, *ret_found || view.size < head ? at : view.size - head + 1);
        if (*ret_found || window_is_last(&s->window))
            return TARN_OK;
        int status = more(s, error);
        if (status != TARN_OK)
            return status;
    }
}

static int read_here(struct source *s, enum record_found *ret_found, struct tarn_error *error);

/* Salvage: the next record behind the present place whose checksum is right, if the head found
 * before it says what that is seeded with. */
static int find_sound(struct source *s, enum record_found *ret_found, struct tarn_error *error)
{
    bool seeded = false, found;
    for (;;) {
        struct record_mark mark;
        int status = find_head(s, &found, &mark, error);
        *ret_found = RECORD_END;
        if (status != TARN_OK || !found)
            return status;
        uint64_t offset = window_offset(&s->window);
        if (seeded) {
            status = read_here(s, ret_found, error);
            if (status != TARN_OK || *ret_found == RECORD_FOUND || *ret_found == RECORD_SEAL)
                return status;
            status = seek(s, offset, error);
            if (status != TARN_OK)
                return status;
        }
        s->chain.checksum = mark.checksum;
        seeded = true;
        window_pass(&s->window, 1);
    }
}

int source_look_behind(struct source *s, uint64_t sequence, bool *ret_evidence,
                       uint64_t *ret_records, struct tarn_error *error)
{
    size_t head = record_head_bytes(s->header.encoding);
    const unsigned char filling = record_filling(s->header.encoding);
    ASSERT(s->state == SOURCE_BROKEN);
    s->extent = window_offset(&s->window);
    *ret_records = 0;
    for (*ret_evidence = false; !*ret_evidence;) {
        struct tarn_bytes view = window_view(&s->window);
        const unsigned char *p = view.data;
        struct record_mark mark;
        for (size_t at = 0; record_find(s->header.encoding, view, s->chain.salt, &at, &mark);
             at++) {
            ++*ret_records;
            *ret_evidence |= mark.stamp.durable_upto >= sequence;
        }
        size_t used = view.size;
        while (used > 0 && p[used - 1] == filling)
            used--;
        if (used > 0)
            s->extent = window_offset(&s->window) + used;
        if (window_is_last(&s->window))
            break;
        window_pass(&s->window, view.size < head ? 0 : view.size - head + 1);
        int status = more(s, error);
        if (status != TARN_OK)
            return status;
    }
    return TARN_OK;
}

/* --- records --- */

/* Read what is next in the open segment; the place stays before it. */
static int read_here(struct source *s, enum record_found *ret_found, struct tarn_error *error)
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
        int status = more(s, error);
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
        end_segment(s, offset);
    return status;
}

static int take_seal(struct source *s, bool *ret_broken, struct tarn_error *error)
{
    if (s->view.stamp.sequence != s->sequence) {
        int status = complain(s, error, "the seal does not belong here");
        if (status != TARN_OK)
            return status;
    }
    window_pass(&s->window, s->view.size);
    s->sealed = true;
    mark_place(s);
    int status = finish(s, ret_broken, error);
    if (status != TARN_OK || !*ret_broken)
        return status;
    return complain(s, error, "there is something behind the end of the log");
}

/* The view is a record: is it one that may stand here? */
static int take_record(struct source *s, struct tarn_error *error)
{
    uint64_t sequence = s->view.stamp.sequence;
    if (!plant(PLANT_SEQUENCE_UNCHECKED) &&
        (sequence <= s->sequence || sequence < s->header.first_sequence)) {
        int status = complain(s, error, "changes are not in their order");
        if (status != TARN_OK)
            return status;
        window_pass(&s->window, s->view.size);
        mark_place(s);
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
    int status = find_sound(s, &found, error);
    if (status == TARN_OK && found == RECORD_END)
        end_segment(s, s->window.file_bytes);
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
            status = open_segment(s, error);
            if (status != TARN_OK || !s->is_open)
                return status;
        }
        status = read_here(s, &found, error);
        if (status == TARN_OK)
            status = take(s, found, &broken, error);
        if (status == TARN_OK && broken)
            status = s->reading->start->repair ? salvage(s, error) : judge_broken(s, error);
    }
    return status;
}

int source_next(struct source *s, struct tarn_error *error)
{
    ASSERT(s->state != SOURCE_BROKEN);
    for (;;) {
        if (s->state == SOURCE_RECORD) {
            window_pass(&s->window, s->view.size);
            mark_place(s);
        }
        int status = advance(s, error);
        if (status != TARN_OK || s->state != SOURCE_RECORD ||
            s->view.stamp.sequence > s->reading->start->after)
            return status;
    }
}
