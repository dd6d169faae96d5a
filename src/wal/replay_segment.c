/* Opening the segments of a file, one after the other.
 *
 * How: each must be the one that is due, and continue the chain of the one before. One without a
 * sound header and without content behind the place of one is void: making it was interrupted. It
 * never held a record, and is passed over wherever it is.
 *
 * Failure modes: reading, memory; segments that are missing, damaged, foreign or misplaced. */
#include <stdlib.h>

#include "wal/replay_internal.h"

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
        int status = source_more(s, error);
        if (status != TARN_OK)
            return status;
    }
}

static int open_window(struct source *s, uint64_t number, struct tarn_error *error)
{
    free(s->path);
    s->path = segment_path(s->reading->start->directory, s->file, number);
    if (!s->path)
        return error_set(error, TARN_NOMEM, "out of memory");
    return window_open(&s->window, s->path, error);
}

/* Open a segment and read its header; the place is behind it if it is sound. */
static int open_file(struct source *s, uint64_t number, struct segment_header *ret_header,
                     uint64_t *ret_checksum, enum segment_kind *ret_kind, struct tarn_error *error)
{
    bool content;
    int status = open_window(s, number, error);
    *ret_kind = SEGMENT_VOID;
    if (status != TARN_OK || s->window.file_bytes < SEGMENT_HEADER_BYTES)
        return status;
    status = source_more(s, error);
    if (status != TARN_OK)
        return status;
    struct tarn_bytes view = window_view(&s->window);
    if (segment_header_read(view.data, ret_header, ret_checksum)) {
        *ret_kind = SEGMENT_SOUND;
        window_pass(&s->window, SEGMENT_HEADER_BYTES);
        return TARN_OK;
    }
    window_pass(&s->window, SEGMENT_HEADER_BYTES);
    status = find_content(s, &content, error);
    if (status == TARN_OK && content) {
        *ret_kind = SEGMENT_DAMAGED;
        status = source_seek(s, 0, error);
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
void source_mark(struct source *s)
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
    source_mark(s);
}

/* The number that the next segment should have. */
static uint64_t due_number(const struct source *s)
{
    uint64_t first = s->reading->start->first[s->file];
    if (s->next > 0)
        return s->list->numbers[s->next - 1] + 1;
    return first ? first : 1;
}

/* A damaged header's word for its encoding is not taken: records of one kind, read as the other,
 * have right checksums and wrong keys. CBOR's heads are binary ones with a prefix. */
static enum wal_encoding guess_encoding(struct source *s, const struct segment_header *h)
{
    struct record_mark mark;
    size_t at = 0;
    if (h->encoding == WAL_JSON)
        return WAL_JSON;
    return record_find(WAL_CBOR, window_view(&s->window), h->salt, &at, &mark) ? WAL_CBOR
                                                                               : WAL_BINARY;
}

/* Salvage what a damaged header of this store allows: with the salt heads are found. */
static void guess_segment(struct source *s)
{
    struct segment_header h;
    uint64_t checksum;
    if (!s->reading->start->repair ||
        !segment_header_guess(window_view(&s->window).data, &h, &checksum) ||
        h.store_id != s->reading->start->store_id)
        return;
    h.number = s->list->numbers[s->next - 1];
    h.previous_sequence = h.first_sequence = 0;
    window_pass(&s->window, SEGMENT_HEADER_BYTES);
    h.encoding = guess_encoding(s, &h);
    begin_segment(s, &h, checksum);
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
    if (kind == SEGMENT_DAMAGED) {
        status = source_complain(s, error, "the segment's header is damaged");
        if (status == TARN_OK)
            guess_segment(s);
        return status;
    }
    const char *wrong = find_misplaced(s, &h, number);
    if (wrong)
        return source_complain(s, error, wrong);
    wrong = find_unchained(s, &h);
    status = wrong ? source_complain(s, error, wrong) : TARN_OK;
    if (status == TARN_OK)
        begin_segment(s, &h, checksum);
    return status;
}

/* Go on to the next segment that has a header; is_open: there was one. */
int source_open_segment(struct source *s, struct tarn_error *error)
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

void source_end_segment(struct source *s, uint64_t extent)
{
    s->passed_bytes += extent;
    s->is_open = false;
    window_close(&s->window);
}

/* --- behind a broken place --- */

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

/* Back to the place where the segment that is being read is broken. */
static int reopen(struct source *s, struct tarn_error *error)
{
    int status = open_window(s, s->before.end.number, error);
    if (status == TARN_OK && s->window.file_bytes < s->before.end.size)
        status =
            error_set(error, TARN_IO, "%s: the file became shorter while it was read", s->path);
    return status == TARN_OK ? source_seek(s, s->before.end.size, error) : status;
}

int source_look_later(struct source *s, bool *ret_later, struct tarn_error *error)
{
    *ret_later = false;
    if (s->next == s->list->count)
        return TARN_OK;
    int status = find_later(s, ret_later, error);
    return status == TARN_OK ? reopen(s, error) : status;
}
