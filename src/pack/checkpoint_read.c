/* Reading a `tarn` file whole, in one sequential pass. doc/format-tarn.md.
 *
 * How: header, footer and top come first: if they are not sound, belong together, to a file of this
 * size and to what the caller expects, no record is given out. Then block by block: the head is
 * trusted once its checksum holds, and only then its size; the records once the body's checksum
 * holds. The pages of the directory are read as their blocks come, and compared with them. To
 * salvage, what is not sound is skipped: by its size if the head is sound, else by looking for the
 * next sound head of a higher number.
 *
 * Invariants
 * 1. Of bytes that were not summed nothing is believed.
 * 2. No more memory is asked for than the file has bytes.
 * 3. A block is given out at most once and in the order of the numbers.
 * Failure modes: CORRUPT with the first bad place; a file that gets shorter meanwhile is CORRUPT
 * too; IO, NOMEM, CANCELLED; what apply returned. */
#include "core/status.h"
#include "pack/checkpoint_block.h"
#include "pack/checkpoint_file.h"

#define PROGRESS_BYTES (4u << 20)

struct reading {
    struct checkpoint_file file;
    struct checkpoint_window window;
    struct tarn_error *error;
    checkpoint_apply apply;
    void *context;
    tarn_progress progress;
    void *progress_context;
    uint64_t *damaged; /* NULL: what is damaged is an error */
    uint64_t reported; /* progress: offset last told */

    uint64_t next_number; /* of the next block */
    uint64_t last_hash;   /* of the records before */
    uint64_t sum;
    struct checkpoint_totals totals; /* of what was read */

    uint64_t page_number, pages_sum; /* UINT64_MAX: none yet */
    bool page_sound;                 /* and its blocks until now were where it has them */
    unsigned char page[PAGE_BYTES];
};

/* Damage: an error; to salvage, counted. */
static int damage(struct reading *r, uint64_t offset, const char *what)
{
    return checkpoint_file_damage(&r->file, r->damaged, offset, what, r->error);
}

static int view(struct reading *r, uint64_t offset, size_t size, unsigned char **ret_bytes)
{
    return checkpoint_file_view(&r->file, &r->window, offset, size, r->file.bytes, ret_bytes,
                                r->error);
}

/* What is CORRUPT is counted if it is to be salvaged. */
static int tolerate(struct reading *r, int status)
{
    if (status != TARN_CORRUPT || r->damaged == NULL)
        return status;
    ++*r->damaged;
    return TARN_OK;
}

/* --- the directory --- */

/* The page that has this block, if that is not the one at hand. */
static int turn_page(struct reading *r, uint64_t number)
{
    if (number == r->page_number)
        return TARN_OK;
    int status = checkpoint_file_page(&r->file, number, r->page, r->error);
    r->page_number = number;
    r->page_sound = status == TARN_OK;
    r->pages_sum = checkpoint_sum(r->pages_sum, load_u64le(r->page + PAGE_CHECKSUM));
    return tolerate(r, status);
}

/* The directory has this block, whose head lies at `at`, with this hash. Of a page at most one
 * place is counted as damage. */
static int check_entry(struct reading *r, const struct checkpoint_block *b, uint64_t at,
                       uint64_t hash)
{
    if (r->file.pages == 0 && r->damaged != NULL)
        return TARN_OK; /* it is not known */
    if (b->number >= r->file.blocks)
        return damage(r, at, "more blocks than the footer counts");
    int status = turn_page(r, b->number / PAGE_ENTRIES_MAX);
    if (status != TARN_OK || !r->page_sound)
        return status;
    const unsigned char *entry = r->page + b->number % PAGE_ENTRIES_MAX * ENTRY_BYTES;
    if (load_u64le(entry + ENTRY_HASH) == hash && load_u64le(entry + ENTRY_OFFSET) == at)
        return TARN_OK;
    r->page_sound = false;
    return damage(r, at, "the directory has this block in another place or with another hash");
}

/* --- blocks --- */

/* NULL, or what is wrong with a head behind which `left` bytes are there. */
static const char *decode_head(const struct reading *r, const unsigned char *h, uint64_t left,
                               struct checkpoint_block *ret_block)
{
    struct checkpoint_block b;
    const char *wrong = checkpoint_decode_head(h, r->file.salt, left, &b);
    if (wrong != NULL)
        return wrong;
    if (b.number < r->next_number || (b.number > r->next_number && r->damaged == NULL))
        return "a block is not in its place";
    *ret_block = b;
    return NULL;
}

/* Count the records. *ret_ordered: their hashes do not decrease; *ret_hash: the first one's. */
static void note_records(struct reading *r, const struct tarn_record *records, size_t count,
                         bool *ret_ordered, uint64_t *ret_hash)
{
    const unsigned char *secret = r->file.header + HEADER_SECRET;
    bool ordered = true;
    for (size_t i = 0; i < count; i++) {
        uint64_t hash = hash_key(secret, records[i].key);
        if (i == 0)
            *ret_hash = hash;
        ordered = ordered && hash >= r->last_hash;
        r->last_hash = hash;
        r->totals.expiring += records[i].expire_ms != 0;
        r->totals.payload_bytes += records[i].key.size + records[i].value.size;
    }
    r->totals.records += count;
    *ret_ordered = ordered;
}

/* Give out the records of a block, whose head lies at `at`. *ret_sound: they are what the head
 * says. */
static int apply_block(struct reading *r, const struct checkpoint_block *b,
                       const unsigned char *body, uint64_t at, bool *ret_sound)
{
    struct tarn_record records[CHECKPOINT_APPLY_RECORDS];
    size_t i = 0, left = b->records;
    bool sound = true;
    while (left > 0 && sound) {
        size_t want = left < CHECKPOINT_APPLY_RECORDS ? left : CHECKPOINT_APPLY_RECORDS;
        size_t count = checkpoint_decode_records(body, b->body_bytes, &i, records, want);
        bool ordered;
        uint64_t hash = 0;
        int status = TARN_OK;
        sound = count == want;
        if (count == 0)
            break;
        note_records(r, records, count, &ordered, &hash);
        if (left == b->records)
            status = check_entry(r, b, at, hash);
        if (status == TARN_OK && !ordered)
            status = damage(r, at, "a block's records are not in the order of their hashes");
        if (status == TARN_OK && r->apply != NULL)
            status = r->apply(r->context, records, count);
        if (status != TARN_OK)
            return status;
        left -= count;
    }
    *ret_sound = sound && i == b->body_bytes;
    return TARN_OK;
}

/* A block whose head, at `at`, is sound: its body. */
static int read_body(struct reading *r, struct checkpoint_block *b, uint64_t at)
{
    unsigned char *body;
    bool sound;
    int status = view(r, at + BLOCK_HEAD_BYTES, b->body_bytes, &body);
    if (status != TARN_OK)
        return status;
    if (b->number > r->next_number)
        ++*r->damaged; /* to salvage only: decode_head() */
    r->next_number = b->number + 1;
    r->sum = checkpoint_sum(r->sum, b->checksum);
    r->totals.blocks++;
    if (!checkpoint_open_body(b, body, r->file.salt, r->file.pieces))
        return damage(r, at, "a block does not match its checksum");
    status = apply_block(r, b, body, at, &sound);
    if (status == TARN_OK && !sound)
        status = damage(r, at, "a block's records are not what its head says");
    return status;
}

/* Salvage: from *at on, the next offset of a sound head, or the end. */
static int find_block(struct reading *r, uint64_t *at)
{
    unsigned char *bytes;
    struct checkpoint_block block;
    uint64_t from = *at, end = r->file.blocks_end;
    while (end - from >= BLOCK_HEAD_BYTES) {
        size_t size =
            end - from < CHECKPOINT_WINDOW_BYTES ? (size_t)(end - from) : CHECKPOINT_WINDOW_BYTES;
        int status = view(r, from, size, &bytes);
        if (status != TARN_OK)
            return status;
        for (size_t i = 0; i + BLOCK_HEAD_BYTES <= size; i++) {
            /* No file has more blocks than bytes; that spares nearly all sums. */
            if (load_u64le(bytes + i) < r->file.bytes &&
                decode_head(r, bytes + i, end - from - i - BLOCK_HEAD_BYTES, &block) == NULL) {
                *at = from + i;
                r->next_number = block.number; /* what lies between is counted already */
                return TARN_OK;
            }
        }
        from += size - BLOCK_HEAD_BYTES + 1;
    }
    *at = end;
    return TARN_OK;
}

/* The block at *at, which is moved to the next. */
static int read_block(struct reading *r, uint64_t *at)
{
    unsigned char *head;
    struct checkpoint_block block;
    const char *wrong = "a block is cut";
    uint64_t left = r->file.blocks_end - *at;
    int status;
    if (left >= BLOCK_HEAD_BYTES) {
        status = view(r, *at, BLOCK_HEAD_BYTES, &head);
        if (status != TARN_OK)
            return status;
        wrong = decode_head(r, head, left - BLOCK_HEAD_BYTES, &block);
    }
    if (wrong == NULL) {
        uint64_t size = BLOCK_HEAD_BYTES + (uint64_t)block.body_bytes;
        status = read_body(r, &block, *at);
        *at += size;
        return status;
    }
    status = damage(r, *at, wrong);
    if (status != TARN_OK)
        return status;
    ++*at;
    return find_block(r, at);
}

static int tell_progress(struct reading *r, uint64_t at)
{
    if (r->progress == NULL || (at - r->reported < PROGRESS_BYTES && at < r->file.blocks_end))
        return TARN_OK;
    r->reported = at;
    if (r->progress(r->progress_context, "reading", at, r->file.bytes))
        return TARN_OK;
    return error_set(r->error, TARN_CANCELLED, "%s: cancelled", r->file.path);
}

/* Everything was sound by itself; is it all there? To salvage, that is one more sign. */
static int check_totals(struct reading *r)
{
    const unsigned char *f = r->file.footer;
    if (load_u64le(f + FOOTER_RECORDS) == r->totals.records &&
        load_u64le(f + FOOTER_EXPIRING) == r->totals.expiring &&
        load_u64le(f + FOOTER_PAYLOAD) == r->totals.payload_bytes &&
        load_u64le(f + FOOTER_BLOCKS) == r->totals.blocks && load_u64le(f + FOOTER_SUM) == r->sum &&
        load_u64le(f + FOOTER_PAGES_SUM) == r->pages_sum)
        return TARN_OK;
    if (r->damaged != NULL && *r->damaged > 0)
        return TARN_OK; /* it is known why */
    return damage(r, r->file.bytes - FOOTER_BYTES,
                  "the blocks are not those that the footer counts");
}

static int read_all(struct reading *r, uint64_t expected_checksum)
{
    int status = checkpoint_file_ends(&r->file, expected_checksum, r->damaged, r->error);
    if (status == TARN_OK && r->file.pages > 0)
        status = tolerate(r, checkpoint_file_top(&r->file, r->error));
    for (uint64_t at = HEADER_BYTES; status == TARN_OK && at < r->file.blocks_end;) {
        status = read_block(r, &at);
        if (status == TARN_OK)
            status = tell_progress(r, at);
    }
    if (status != TARN_OK)
        return status;
    r->totals.bytes = r->file.bytes;
    r->totals.checksum = load_u64le(r->file.footer + FOOTER_CHECKSUM);
    return check_totals(r);
}

int checkpoint_read(const struct os *os, const char *path, uint64_t expected_checksum,
                    checkpoint_apply apply, void *context, tarn_progress progress,
                    void *progress_context, struct checkpoint_about *ret_about,
                    struct checkpoint_totals *ret_totals, uint64_t *damaged_blocks,
                    struct tarn_error *error)
{
    struct reading r = {
        .error = error,
        .apply = apply,
        .context = context,
        .progress = progress,
        .progress_context = progress_context,
        .damaged = damaged_blocks,
        .page_number = UINT64_MAX,
    };
    int status = checkpoint_file_open(&r.file, os, path, error);
    if (status != TARN_OK)
        return status;
    status = read_all(&r, expected_checksum);
    buffer_done(&r.window.bytes);
    if (status == TARN_OK) {
        checkpoint_file_about(&r.file, ret_about);
        *ret_totals = r.totals;
    }
    checkpoint_file_close(&r.file);
    return status;
}
