/* Looking up in a `tarn` file where it lies: keys, and ranges of hashes. doc/format-tarn.md.
 *
 * How: the top, in memory, says which page of the directory to read; the page which block; the
 * block is read, summed and searched from its begin. A hash may begin several blocks, and end the
 * one before them: so the search begins in the last block that may have it and goes back.
 *
 * Invariants
 * 1. Of bytes that were not summed nothing is believed; of a block that is not sound no record is
 *    given out.
 * 2. A struct checkpoint_file is only read: any number of threads may search at once.
 * 3. A block of more than block_bytes has one record, whose hash is in the directory: it
 *    is not read for the sake of any other.
 * Failure modes: CORRUPT with path and offset, IO, NOMEM; what apply returned. */
#include <stdlib.h>

#include "core/random.h"
#include "core/status.h"
#include "pack/checkpoint_block.h"
#include "pack/checkpoint_file.h"

int checkpoint_open(const struct os *os, const char *path, uint64_t expected_checksum,
                    struct checkpoint_file **ret_file, struct checkpoint_about *ret_about,
                    struct checkpoint_totals *ret_totals, struct tarn_error *error)
{
    struct checkpoint_file *f = malloc(sizeof *f);
    if (f == NULL)
        return error_set(error, TARN_NOMEM, "cannot read %s: out of memory", path);
    int status = checkpoint_file_open(f, os, path, error);
    if (status == TARN_OK)
        status = checkpoint_file_ends(f, expected_checksum, NULL, error);
    if (status == TARN_OK)
        status = checkpoint_file_top(f, error);
    if (status != TARN_OK) {
        checkpoint_close(f);
        return status;
    }
    checkpoint_file_about(f, ret_about);
    checkpoint_file_totals(f, ret_totals);
    *ret_file = f;
    return TARN_OK;
}

void checkpoint_close(struct checkpoint_file *file)
{
    if (file == NULL)
        return;
    checkpoint_file_close(file);
    free(file);
}

/* --- the directory --- */

static uint64_t entry_hash(const unsigned char *entries, uint64_t i)
{
    return load_u64le(entries + i * ENTRY_BYTES + ENTRY_HASH);
}

/* How many entries have a hash that is not above this one, if it is known that low..high have. */
static uint64_t search(const unsigned char *entries, uint64_t low, uint64_t high, uint64_t hash)
{
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (entry_hash(entries, middle) <= hash)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The same, of all. Hashes are spread evenly: begin where this one should be and widen; of n
 * entries it is about sqrt(n) / 2 away. */
static uint64_t search_even(const unsigned char *entries, uint64_t count, uint64_t hash)
{
    uint64_t low = 0, high = count, step = 8;
    if (count == 0)
        return 0;
    uint64_t guess = random_below(hash, count);
    if (entry_hash(entries, guess) <= hash) {
        low = guess + 1;
        for (; high - low > step && entry_hash(entries, low + step) <= hash; step *= 2)
            low += step + 1;
        high = high - low > step ? low + step : high;
    } else {
        high = guess;
        for (; high - low > step && entry_hash(entries, high - 1 - step) > hash; step *= 2)
            high -= step + 1;
        low = high - low > step ? high - step : low;
    }
    return search(entries, low, high, hash);
}

/* A block, as the directory has it. */
struct place {
    uint64_t number, hash;
    uint64_t offset, end;
    uint64_t page_number; /* UINT64_MAX: none was read */
    unsigned char page[PAGE_BYTES];
};

static int read_page(const struct checkpoint_file *f, struct place *p, uint64_t number,
                     struct tarn_error *error)
{
    p->page_number = number;
    return checkpoint_file_page(f, number, p->page, error);
}

static uint64_t entries_of_page(const struct checkpoint_file *f, uint64_t number)
{
    uint64_t left = f->blocks - number * PAGE_ENTRIES_MAX;
    return left < PAGE_ENTRIES_MAX ? left : PAGE_ENTRIES_MAX;
}

/* Fill the place of the block that the page has as its i-th. */
static int take_entry(const struct checkpoint_file *f, struct place *p, uint64_t i,
                      struct tarn_error *error)
{
    const unsigned char *entry = p->page + i * ENTRY_BYTES;
    p->number = p->page_number * PAGE_ENTRIES_MAX + i;
    p->hash = load_u64le(entry + ENTRY_HASH);
    p->offset = load_u64le(entry + ENTRY_OFFSET);
    if (i + 1 < entries_of_page(f, p->page_number))
        p->end = load_u64le(entry + ENTRY_BYTES + ENTRY_OFFSET);
    else if (p->page_number + 1 < f->pages)
        p->end = load_u64le(f->top + (p->page_number + 1) * ENTRY_BYTES + ENTRY_OFFSET);
    else
        p->end = f->blocks_end;
    if (p->offset >= HEADER_BYTES && p->end <= f->blocks_end && p->offset < p->end &&
        p->end - p->offset > BLOCK_HEAD_BYTES && p->end - p->offset <= SIZE_MAX)
        return TARN_OK;
    return checkpoint_file_corrupt(f, f->blocks_end + p->page_number * PAGE_BYTES + i * ENTRY_BYTES,
                                   "the directory has an impossible block", error);
}

/* The last block that begins with this hash or a lower one; NOTFOUND: none does. */
static int locate(const struct checkpoint_file *f, uint64_t hash, struct place *p,
                  struct tarn_error *error)
{
    uint64_t pages = search_even(f->top, f->pages, hash);
    if (pages == 0)
        return TARN_NOTFOUND;
    int status = read_page(f, p, pages - 1, error);
    if (status != TARN_OK)
        return status;
    uint64_t count = entries_of_page(f, pages - 1); /* the first one's hash is the top's */
    return take_entry(f, p, search(p->page, 1, count, hash) - 1, error);
}

/* From a block that is not the first to the one before. */
static int step_back(const struct checkpoint_file *f, struct place *p, struct tarn_error *error)
{
    uint64_t number = p->number - 1, page = number / PAGE_ENTRIES_MAX;
    int status = page != p->page_number ? read_page(f, p, page, error) : TARN_OK;
    return status == TARN_OK ? take_entry(f, p, number % PAGE_ENTRIES_MAX, error) : status;
}

/* --- a key --- */

/* The head of the block whose bytes, all of it, are these; NULL or what is wrong. */
static const char *check_block(const struct checkpoint_file *f, uint64_t number,
                               unsigned char *bytes, size_t size,
                               struct checkpoint_block *ret_block)
{
    const char *wrong = checkpoint_decode_head(bytes, f->salt, size - BLOCK_HEAD_BYTES, ret_block);
    if (wrong != NULL)
        return wrong;
    if (ret_block->number != number || ret_block->body_bytes != size - BLOCK_HEAD_BYTES)
        return "a block is not the one that should be here";
    return checkpoint_open_body(ret_block, bytes + BLOCK_HEAD_BYTES, f->salt, f->pieces)
               ? NULL
               : "a block does not match its checksum";
}

/* Read a block and verify it. Its body lies in scratch behind the head. */
static int read_block(const struct checkpoint_file *f, const struct place *p,
                      struct buffer *scratch, struct checkpoint_block *ret_block,
                      struct tarn_error *error)
{
    size_t size = (size_t)(p->end - p->offset);
    buffer_clear(scratch);
    if (!buffer_reserve_exactly(scratch, size < f->block_bytes ? f->block_bytes : size))
        return error_set(error, TARN_NOMEM, "%s: out of memory: a block has %zu bytes", f->path,
                         size);
    int status = checkpoint_file_read(f, scratch->data, size, p->offset, error);
    if (status != TARN_OK)
        return status;
    scratch->size = size;
    const char *wrong = check_block(f, p->number, scratch->data, size, ret_block);
    return wrong == NULL ? TARN_OK : checkpoint_file_corrupt(f, p->offset, wrong, error);
}

/* TARN_OK or NOTFOUND: in this block. */
static int find_in_block(const struct checkpoint_file *f, const struct place *p,
                         struct tarn_bytes key, struct buffer *scratch,
                         struct tarn_record *ret_record, struct tarn_error *error)
{
    struct checkpoint_block block;
    struct tarn_record record;
    size_t at = 0;
    int status = read_block(f, p, scratch, &block, error);
    if (status != TARN_OK)
        return status;
    const unsigned char *body = scratch->data + BLOCK_HEAD_BYTES;
    for (uint32_t i = 0; i < block.records; i++) {
        if (!checkpoint_decode_record(body, block.body_bytes, &at, &record))
            return checkpoint_file_corrupt(f, p->offset,
                                           "a block's records are not what its head says", error);
        if (bytes_equal(record.key, key)) {
            *ret_record = record;
            return TARN_OK;
        }
    }
    return TARN_NOTFOUND;
}

int checkpoint_find(const struct checkpoint_file *file, struct tarn_bytes key, uint64_t hash,
                    struct buffer *scratch, struct tarn_record *ret_record,
                    struct tarn_error *error)
{
    struct place p;
    int status = locate(file, hash, &p, error);
    while (status == TARN_OK) {
        if (p.hash == hash || p.end - p.offset <= file->block_bytes) {
            status = find_in_block(file, &p, key, scratch, ret_record, error);
            if (status != TARN_NOTFOUND)
                return status;
        }
        if (p.hash != hash || p.number == 0)
            return TARN_NOTFOUND;
        status = step_back(file, &p, error);
    }
    return status;
}

/* --- a range --- */

struct range {
    const struct checkpoint_file *file;
    uint64_t first_hash, last_hash;
    checkpoint_apply apply;
    void *context;
    struct tarn_error *error;
    struct checkpoint_window window;
    uint64_t end; /* of the range's blocks in the file */
};

/* Drop those records that are not of the range; returns how many are left. */
static size_t filter(const struct range *r, struct tarn_record *records, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t hash = hash_key(r->file->header + HEADER_SECRET, records[i].key);
        if (hash >= r->first_hash && hash <= r->last_hash)
            records[kept++] = records[i];
    }
    return kept;
}

/* Give out a sound block's records. whole: all of them are of the range. */
static int apply_block(const struct range *r, const struct checkpoint_block *b,
                       const unsigned char *body, uint64_t offset, bool whole)
{
    struct tarn_record records[CHECKPOINT_APPLY_RECORDS];
    size_t at = 0;
    for (size_t left = b->records; left > 0;) {
        size_t want = left < CHECKPOINT_APPLY_RECORDS ? left : CHECKPOINT_APPLY_RECORDS;
        if (checkpoint_decode_records(body, b->body_bytes, &at, records, want) < want)
            return checkpoint_file_corrupt(
                r->file, offset, "a block's records are not what its head says", r->error);
        left -= want;
        size_t kept = whole ? want : filter(r, records, want);
        int status = kept > 0 ? r->apply(r->context, records, kept) : TARN_OK;
        if (status != TARN_OK)
            return status;
    }
    return TARN_OK;
}

/* The block at *offset, which is moved behind it. */
static int range_block(struct range *r, uint64_t number, bool whole, uint64_t *offset)
{
    const struct checkpoint_file *f = r->file;
    unsigned char *bytes;
    struct checkpoint_block block;
    const char *wrong = "a block is cut";
    size_t size = BLOCK_HEAD_BYTES;
    if (r->end - *offset < size)
        return checkpoint_file_corrupt(f, *offset, wrong, r->error);
    int status = checkpoint_file_view(f, &r->window, *offset, size, r->end, &bytes, r->error);
    if (status != TARN_OK)
        return status;
    wrong = checkpoint_decode_head(bytes, f->salt, r->end - *offset - size, &block);
    if (wrong == NULL) {
        size += block.body_bytes;
        status = checkpoint_file_view(f, &r->window, *offset, size, r->end, &bytes, r->error);
        if (status != TARN_OK)
            return status;
        wrong = check_block(f, number, bytes, size, &block);
    }
    if (wrong != NULL)
        return checkpoint_file_corrupt(f, *offset, wrong, r->error);
    status = apply_block(r, &block, bytes + BLOCK_HEAD_BYTES, *offset, whole);
    *offset += size;
    return status;
}

/* From the last block that begins below the range, which may end in it, to the last that begins in
 * it. */
static int range_blocks(struct range *r)
{
    struct place place;
    int status = locate(r->file, r->last_hash, &place, r->error);
    if (status != TARN_OK)
        return status == TARN_NOTFOUND ? TARN_OK : status; /* there is none */
    uint64_t last = place.number, first = 0, offset = HEADER_BYTES;
    r->end = place.end;
    if (r->first_hash > 0) {
        status = locate(r->file, r->first_hash - 1, &place, r->error);
        if (status == TARN_OK) {
            first = place.number;
            offset = place.offset;
        } else if (status != TARN_NOTFOUND) {
            return status;
        }
    }
    status = TARN_OK;
    for (uint64_t i = first; i <= last && status == TARN_OK; i++)
        status = range_block(r, i, i > first && i < last, &offset);
    return status;
}

int checkpoint_range(const struct checkpoint_file *file, uint64_t first_hash, uint64_t last_hash,
                     checkpoint_apply apply, void *context, struct tarn_error *error)
{
    struct range r = {
        .file = file,
        .first_hash = first_hash,
        .last_hash = last_hash,
        .apply = apply,
        .context = context,
        .error = error,
    };
    if (first_hash > last_hash)
        return TARN_OK;
    int status = range_blocks(&r);
    buffer_done(&r.window.bytes);
    return status;
}
