/* Reading a `tarn` file whole, in one sequential pass. doc/format-tarn.md.
 *
 * How: header and footer come first: if they are not sound, belong together, to a file of this size
 * and to what the caller expects, no record is given out. Then block by block: the head is trusted
 * once its checksum holds, and only then its size; the records once the body's checksum holds. To
 * salvage, what is not sound is skipped: by its size if the head is sound, else by looking for the
 * next sound head of a higher number.
 *
 * Invariants
 * 1. window holds `window.size` bytes of the file from window_at on; of bytes that were not summed
 *    nothing is believed.
 * 2. No more memory is asked for than the file has bytes.
 * 3. A block is given out at most once and in the order of the numbers.
 * Failure modes: CORRUPT with the first bad place; a file that gets shorter meanwhile is CORRUPT
 * too; IO, NOMEM, CANCELLED; what apply returned. */
#include <errno.h>
#include <inttypes.h>

#include "core/status.h"
#include "pack/checkpoint_layout.h"

#define WINDOW_BYTES   (256u << 10)
#define PROGRESS_BYTES (4u << 20)
#define APPLY_RECORDS  64

struct reading {
    const struct os *os;
    const char *path;
    struct tarn_error *error;
    checkpoint_apply apply;
    void *context;
    tarn_progress progress;
    void *progress_context;
    uint64_t *damaged; /* NULL: what is damaged is an error */

    int fd;
    uint64_t file_bytes;
    uint64_t end; /* of the blocks */
    struct buffer window;
    uint64_t window_at;
    uint64_t reported; /* progress: offset last told */

    unsigned char header[HEADER_BYTES], footer[FOOTER_BYTES];
    uint64_t salt;
    uint64_t next_number; /* of the next block */
    uint64_t sum;
    struct checkpoint_totals totals; /* of what was read */
};

struct block {
    uint64_t number, body_checksum, checksum;
    uint32_t records, body_bytes;
};

static int corrupt(const struct reading *r, uint64_t offset, const char *what)
{
    return error_set_at(r->error, TARN_CORRUPT, offset, UINT64_MAX,
                        "%s: damaged at byte %" PRIu64 ": %s", r->path, offset, what);
}

/* Damage: an error; to salvage, counted. */
static int damage(struct reading *r, uint64_t offset, const char *what)
{
    if (r->damaged == NULL)
        return corrupt(r, offset, what);
    ++*r->damaged;
    return TARN_OK;
}

static int read_at(struct reading *r, void *data, size_t size, uint64_t offset)
{
    int result = os_read_full(r->os, r->fd, data, size, offset);
    if (result == -ENODATA)
        return corrupt(r, offset, "the file got shorter while it was read");
    return result < 0 ? os_error(r->error, result, "cannot read", r->path) : TARN_OK;
}

/* View of bytes of the file that lie before its end; valid until the next call. */
static int fetch(struct reading *r, uint64_t offset, size_t size, const unsigned char **ret_bytes)
{
    struct buffer *w = &r->window;
    if (offset < r->window_at || offset > r->window_at + w->size) {
        buffer_clear(w);
        r->window_at = offset;
    }
    size_t skip = (size_t)(offset - r->window_at);
    if (size > w->size - skip) {
        buffer_consume(w, skip);
        r->window_at = offset;
        skip = 0;
        if (size <= WINDOW_BYTES)
            buffer_trim(w, 2 * WINDOW_BYTES);
        uint64_t left = r->file_bytes - offset;
        size_t wanted = size > WINDOW_BYTES ? size : WINDOW_BYTES;
        wanted = left < wanted ? (size_t)left : wanted;
        if (!buffer_reserve_exactly(w, wanted - w->size))
            return error_set(r->error, TARN_NOMEM, "%s: out of memory: a block has %zu bytes",
                             r->path, size);
        int status = read_at(r, w->data + w->size, wanted - w->size, offset + w->size);
        if (status != TARN_OK)
            return status;
        w->size = wanted;
    }
    *ret_bytes = w->data + skip;
    return TARN_OK;
}

/* --- header and footer --- */

static bool sound_header(const unsigned char h[HEADER_BYTES])
{
    return memcmp(h + HEADER_MAGIC, CHECKPOINT_MAGIC, 8) == 0 &&
           load_u64le(h + HEADER_CHECKSUM) == hash_checksum(h, HEADER_CHECKSUM, HEADER_SEED);
}

static bool sound_footer(const unsigned char f[FOOTER_BYTES])
{
    return load_u64le(f + FOOTER_CHECKSUM) == checkpoint_footer_checksum(f) &&
           sound_header(f + FOOTER_HEADER);
}

/* The header, or to salvage the footer's copy of it. has_footer: the footer is sound. */
static int check_header(struct reading *r, bool has_footer)
{
    if (!sound_header(r->header)) {
        if (r->damaged == NULL || !has_footer) {
            bool ours = memcmp(r->header + HEADER_MAGIC, CHECKPOINT_MAGIC, 8) == 0;
            return corrupt(r, 0,
                           ours ? "the header does not match its checksum" : "not a tarn file");
        }
        ++*r->damaged;
        memcpy(r->header, r->footer + FOOTER_HEADER, HEADER_BYTES);
    }
    uint32_t version = load_u32le(r->header + HEADER_VERSION);
    if (version != CHECKPOINT_VERSION)
        return error_set(r->error, TARN_INVALID,
                         "%s: format version %" PRIu32 ", this program reads version %d; use a "
                         "newer one",
                         r->path, version, CHECKPOINT_VERSION);
    r->salt = load_u64le(r->header + HEADER_SALT);
    return TARN_OK;
}

static int check_footer(struct reading *r, bool sound, uint64_t expected_checksum)
{
    uint64_t at = r->end;
    if (!sound) {
        r->end = r->file_bytes; /* to salvage: where the blocks end is not known */
        return damage(r, at, "no sound footer: the file was cut, or never finished");
    }
    if (memcmp(r->footer + FOOTER_HEADER, r->header, HEADER_BYTES) != 0)
        return corrupt(r, at, "header and footer are of two files");
    uint64_t checksum = load_u64le(r->footer + FOOTER_CHECKSUM);
    if (expected_checksum != 0 && checksum != expected_checksum)
        return corrupt(r, at, "this is another file than the one expected here");
    if (load_u64le(r->footer + FOOTER_BYTES_ALL) != r->file_bytes)
        return damage(r, at, "the file's size is not what its footer says");
    return TARN_OK;
}

static int read_ends(struct reading *r, uint64_t expected_checksum)
{
    bool sound = r->file_bytes >= HEADER_BYTES + FOOTER_BYTES;
    if (r->file_bytes < HEADER_BYTES || (!sound && r->damaged == NULL))
        return corrupt(r, r->file_bytes, "shorter than header and footer");
    r->end = sound ? r->file_bytes - FOOTER_BYTES : r->file_bytes;
    int status = read_at(r, r->header, HEADER_BYTES, 0);
    if (status == TARN_OK && sound)
        status = read_at(r, r->footer, FOOTER_BYTES, r->end);
    if (status != TARN_OK)
        return status;
    sound = sound && sound_footer(r->footer);
    status = check_header(r, sound);
    return status == TARN_OK ? check_footer(r, sound, expected_checksum) : status;
}

/* --- blocks --- */

/* NULL, or what is wrong with a head of which `left` bytes are there, its own included. */
static const char *decode_head(const struct reading *r, const unsigned char *h, uint64_t left,
                               struct block *ret_block)
{
    struct block b = {
        .number = load_u64le(h + BLOCK_NUMBER),
        .records = load_u32le(h + BLOCK_RECORDS),
        .body_bytes = load_u32le(h + BLOCK_BODY_BYTES),
        .body_checksum = load_u64le(h + BLOCK_BODY_CHECKSUM),
        .checksum = load_u64le(h + BLOCK_CHECKSUM),
    };
    if (b.checksum != hash_checksum(h, BLOCK_CHECKSUM, r->salt))
        return "a block's head does not match its checksum";
    if (b.number < r->next_number || (b.number > r->next_number && r->damaged == NULL))
        return "a block is not in its place";
    if (b.records == 0 || b.records > b.body_bytes / 2)
        return "impossible count of records";
    if (b.body_bytes > left - BLOCK_HEAD_BYTES)
        return "a block is longer than the file";
    *ret_block = b;
    return NULL;
}

/* One record at *at; false: there is none. */
static inline bool decode_record(const unsigned char *body, size_t size, size_t *at,
                                 struct tarn_record *ret)
{
    uint64_t key, value;
    size_t i = *at;
    int n = load_varint(body + i, size - i, &key);
    if (n <= 0 || key > TARN_KEY_BYTES_MAX)
        return false;
    i += (size_t)n;
    n = load_varint(body + i, size - i, &value);
    if (n <= 0 || value >> 1 > TARN_VALUE_BYTES_MAX)
        return false;
    i += (size_t)n;
    bool expires = value & 1;
    value >>= 1;
    if (size - i < key + value + (expires ? 8 : 0))
        return false;
    ret->expire_ms = expires ? (int64_t)load_u64le(body + i) : 0;
    i += expires ? 8 : 0;
    ret->key = (struct tarn_bytes){body + i, key};
    ret->value = (struct tarn_bytes){body + i + key, value};
    *at = i + key + value;
    return !expires || ret->expire_ms != 0;
}

/* Give out a block's records. *ret_sound: they are what the head says. */
static int apply_block(struct reading *r, const struct block *b, const unsigned char *body,
                       bool *ret_sound)
{
    struct tarn_record records[APPLY_RECORDS];
    size_t at = 0, left = b->records;
    bool sound = true;
    while (left > 0 && sound) {
        size_t count = 0, want = left < APPLY_RECORDS ? left : APPLY_RECORDS;
        while (count < want && sound) {
            sound = decode_record(body, b->body_bytes, &at, &records[count]);
            count += sound;
        }
        for (size_t i = 0; i < count; i++)
            r->totals.expiring += records[i].expire_ms != 0;
        r->totals.records += count;
        left -= count;
        int status = r->apply != NULL && count > 0 ? r->apply(r->context, records, count) : TARN_OK;
        if (status != TARN_OK)
            return status;
    }
    *ret_sound = sound && at == b->body_bytes;
    return TARN_OK;
}

/* A block whose head is sound: its body. */
static int read_body(struct reading *r, const struct block *b, uint64_t at)
{
    const unsigned char *body;
    bool sound;
    int status = fetch(r, at, b->body_bytes, &body);
    if (status != TARN_OK)
        return status;
    if (b->number > r->next_number)
        ++*r->damaged; /* to salvage only: decode_head() */
    r->next_number = b->number + 1;
    r->sum = checkpoint_sum(r->sum, b->checksum);
    r->totals.blocks++;
    if (hash_checksum(body, b->body_bytes, r->salt + b->number) != b->body_checksum)
        return damage(r, at, "a block does not match its checksum");
    status = apply_block(r, b, body, &sound);
    if (status == TARN_OK && !sound)
        status = damage(r, at, "a block's records are not what its head says");
    return status;
}

/* Salvage: from *at on, the next offset of a sound head, or the end. */
static int find_block(struct reading *r, uint64_t *at)
{
    const unsigned char *bytes;
    struct block block;
    uint64_t from = *at;
    while (r->end - from >= BLOCK_HEAD_BYTES) {
        size_t size = r->end - from < WINDOW_BYTES ? (size_t)(r->end - from) : WINDOW_BYTES;
        int status = fetch(r, from, size, &bytes);
        if (status != TARN_OK)
            return status;
        for (size_t i = 0; i + BLOCK_HEAD_BYTES <= size; i++) {
            /* No file has more blocks than bytes; that spares nearly all sums. */
            if (load_u64le(bytes + i) < r->file_bytes &&
                decode_head(r, bytes + i, r->end - from - i, &block) == NULL) {
                *at = from + i;
                r->next_number = block.number; /* what lies between is counted already */
                return TARN_OK;
            }
        }
        from += size - BLOCK_HEAD_BYTES + 1;
    }
    *at = r->end;
    return TARN_OK;
}

/* The block at *at, which is moved to the next. */
static int read_block(struct reading *r, uint64_t *at)
{
    const unsigned char *head;
    struct block block;
    const char *wrong = "a block is cut";
    int status;
    if (r->end - *at >= BLOCK_HEAD_BYTES) {
        status = fetch(r, *at, BLOCK_HEAD_BYTES, &head);
        if (status != TARN_OK)
            return status;
        wrong = decode_head(r, head, r->end - *at, &block);
    }
    if (wrong == NULL) {
        status = read_body(r, &block, *at + BLOCK_HEAD_BYTES);
        *at += BLOCK_HEAD_BYTES + block.body_bytes;
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
    if (r->progress == NULL || (at - r->reported < PROGRESS_BYTES && at < r->end))
        return TARN_OK;
    r->reported = at;
    if (r->progress(r->progress_context, "reading", at, r->file_bytes))
        return TARN_OK;
    return error_set(r->error, TARN_CANCELLED, "%s: cancelled", r->path);
}

/* Everything was sound by itself; is it all there? To salvage, that is one more sign. */
static int check_totals(struct reading *r)
{
    const unsigned char *f = r->footer;
    if (load_u64le(f + FOOTER_RECORDS) == r->totals.records &&
        load_u64le(f + FOOTER_EXPIRING) == r->totals.expiring &&
        load_u64le(f + FOOTER_BLOCKS) == r->totals.blocks && load_u64le(f + FOOTER_SUM) == r->sum)
        return TARN_OK;
    if (r->damaged != NULL && *r->damaged > 0)
        return TARN_OK; /* it is known why */
    return damage(r, r->end, "the blocks are not those that the footer counts");
}

static int read_all(struct reading *r, uint64_t expected_checksum)
{
    int status = read_ends(r, expected_checksum);
    uint64_t at = HEADER_BYTES;
    while (status == TARN_OK && at < r->end) {
        status = read_block(r, &at);
        if (status == TARN_OK)
            status = tell_progress(r, at);
    }
    if (status != TARN_OK)
        return status;
    r->totals.bytes = r->file_bytes;
    r->totals.checksum = load_u64le(r->footer + FOOTER_CHECKSUM);
    return check_totals(r);
}

int checkpoint_read(const struct os *os, const char *path, uint64_t expected_checksum,
                    checkpoint_apply apply, void *context, tarn_progress progress,
                    void *progress_context, struct checkpoint_about *ret_about,
                    struct checkpoint_totals *ret_totals, uint64_t *damaged_blocks,
                    struct tarn_error *error)
{
    struct os_file_info info;
    struct reading r = {
        .os = os,
        .path = path,
        .error = error,
        .apply = apply,
        .context = context,
        .progress = progress,
        .progress_context = progress_context,
        .damaged = damaged_blocks,
    };
    int status = os_open_data(os, path, &r.fd, &info, error);
    if (status != TARN_OK)
        return status;
    r.file_bytes = info.size;
    status = read_all(&r, expected_checksum);
    buffer_done(&r.window);
    (void)os->close(os, r.fd); /* nothing was written */
    if (status != TARN_OK)
        return status;
    *ret_about = (struct checkpoint_about){
        .store_id = load_u64le(r.header + HEADER_STORE_ID),
        .sequence = load_u64le(r.header + HEADER_SEQUENCE),
        .time_ms = (int64_t)load_u64le(r.header + HEADER_TIME_MS),
    };
    *ret_totals = r.totals;
    return TARN_OK;
}
