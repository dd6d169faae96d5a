/* The manifest as text: one "name value" a line, always all of them in the same order, and a
 * checksum of the lines before it.
 *
 * Invariant: a text is read only if writing what was read gives the same bytes, so there is one
 * text for each manifest, and no byte of it can change unnoticed. Failure modes: any other text is
 * refused. */
#include "store/manifest.h"

#include <stdlib.h>

#include "core/hash.h"
#include "core/number.h"

#define TITLE "tarn manifest 1\n"

static void put_list(struct buffer *out, const char *name, const uint64_t *numbers, unsigned count)
{
    buffer_append_text(out, name);
    for (unsigned i = 0; i < count; i++) {
        buffer_append_byte(out, ' ');
        buffer_append_uint(out, numbers[i]);
    }
    buffer_append_byte(out, '\n');
}

static void put(struct buffer *out, const char *name, uint64_t number)
{
    put_list(out, name, &number, 1);
}

void manifest_write(const struct manifest *m, struct buffer *out)
{
    size_t from = out->size;
    buffer_append_text(out, TITLE);
    put(out, "store", m->store_id);
    put(out, "generation", m->generation);
    put(out, "checkpoint", m->checkpoint_number);
    put(out, "checkpoint_checksum", m->checkpoint_checksum);
    put(out, "sequence", m->sequence);
    put(out, "sequence_needed", m->sequence_needed);
    put(out, "closed_sequence", m->closed_sequence);
    put(out, "closed", m->closed);
    put(out, "time_ms", (uint64_t)m->time_ms);
    put(out, "over_data", m->over_data);
    put(out, "data_bytes", m->data_bytes);
    put(out, "data_checksum", m->data_checksum);
    put(out, "files", m->files);
    put_list(out, "first", m->first, m->files);
    put_list(out, "last", m->last, m->files);
    if (!out->failed)
        put(out, "checksum", hash_checksum(out->data + from, out->size - from, 0));
}

/* --- reading --- */

struct reader {
    struct tarn_bytes text; /* what is left */
    bool failed;
};

static void expect(struct reader *r, const char *text)
{
    size_t size = strlen(text);
    if (r->failed || r->text.size < size || memcmp(r->text.data, text, size) != 0) {
        r->failed = true;
        return;
    }
    r->text = (struct tarn_bytes){(const char *)r->text.data + size, r->text.size - size};
}

static void take_list(struct reader *r, const char *name, uint64_t *ret_numbers, unsigned count)
{
    expect(r, name);
    for (unsigned i = 0; i < count && !r->failed; i++) {
        expect(r, " ");
        size_t digits = r->failed ? 0 : number_take_digits(r->text, &ret_numbers[i]);
        r->failed |= digits == 0;
        r->text = (struct tarn_bytes){(const char *)r->text.data + digits, r->text.size - digits};
    }
    expect(r, "\n");
}

static uint64_t take(struct reader *r, const char *name)
{
    uint64_t number = 0;
    take_list(r, name, &number, 1);
    return number;
}

static bool is_same_text(const struct manifest *m, struct tarn_bytes text)
{
    struct buffer again = {.size_max = MANIFEST_BYTES_MAX};
    manifest_write(m, &again);
    bool same = !again.failed && bytes_equal(buffer_view(&again), text);
    buffer_done(&again);
    return same;
}

bool manifest_read(struct tarn_bytes text, struct manifest *ret_manifest)
{
    struct reader r = {text, false};
    struct manifest m = {0};
    expect(&r, TITLE);
    m.store_id = take(&r, "store");
    m.generation = take(&r, "generation");
    m.checkpoint_number = take(&r, "checkpoint");
    m.checkpoint_checksum = take(&r, "checkpoint_checksum");
    m.sequence = take(&r, "sequence");
    m.sequence_needed = take(&r, "sequence_needed");
    m.closed_sequence = take(&r, "closed_sequence");
    m.closed = take(&r, "closed") != 0;
    m.time_ms = (int64_t)take(&r, "time_ms");
    m.over_data = take(&r, "over_data") != 0;
    m.data_bytes = take(&r, "data_bytes");
    m.data_checksum = take(&r, "data_checksum");
    uint64_t files = take(&r, "files");
    if (r.failed || files > WAL_FILES_MAX)
        return false;
    m.files = (unsigned)files;
    take_list(&r, "first", m.first, m.files);
    take_list(&r, "last", m.last, m.files);
    (void)take(&r, "checksum");
    if (r.failed || r.text.size != 0 || !is_same_text(&m, text))
        return false;
    *ret_manifest = m;
    return true;
}
