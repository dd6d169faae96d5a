/* What lies behind a place where no record is: evidence that there had been one, and for salvage
 * what is sound.
 *
 * How: heads are recognised by their checks wherever they are. Salvage takes a record only if its
 * checksum is right, seeded by what the head before it says.
 *
 * Failure modes: reading, memory. */
#include "core/assert.h"
#include "wal/replay_internal.h"

int source_judge(struct source *s, struct tarn_error *error)
{
    bool later;
    int status = source_look_later(s, &later, error);
    if (status == TARN_OK && later)
        return source_damaged(s, error, "a change is damaged or missing, and there are later ones");
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
        int status = source_more(s, error);
        if (status != TARN_OK)
            return status;
    }
}

int source_find_sound(struct source *s, enum record_found *ret_found, struct tarn_error *error)
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
            status = source_read_record(s, ret_found, error);
            if (status != TARN_OK || *ret_found == RECORD_FOUND || *ret_found == RECORD_SEAL)
                return status;
            status = source_seek(s, offset, error);
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
        while (used > 0 && (p[used - 1] == filling || p[used - 1] == 0))
            used--;
        if (used > 0)
            s->extent = window_offset(&s->window) + used;
        if (window_is_last(&s->window))
            break;
        window_pass(&s->window, view.size < head ? 0 : view.size - head + 1);
        int status = source_more(s, error);
        if (status != TARN_OK)
            return status;
    }
    return TARN_OK;
}
