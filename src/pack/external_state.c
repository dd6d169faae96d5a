/* How far an external build is: a small file, written anew each time under another name and
 * renamed, after everything that it speaks of was synced.
 *
 * magic (8 bytes), version (u32), size (u32), then u64s: first what the build is of, which must
 * agree with what is asked for now; then how far it is; then secret, sums of the pieces written,
 * exceptions; XXH3-64 of all before it.
 *
 * Failure modes: those of writing. A state that is damaged, of another build, or of another version
 * is none. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "core/assert.h"
#include "core/codec.h"
#include "pack/external_internal.h"

#define STATE_VERSION   1
#define STATE_BYTES_MAX (256u << 20)

static const char magic[8] = "tarnbld";

enum { IDENTITY_COUNT = 11, NUMBERS_MAX = 40 };

static uint64_t format_word(const struct tarn_format *f)
{
    return (uint64_t)f->kind | (uint64_t)f->size_type << 8 | (uint64_t)f->big_endian << 16 |
           (uint64_t)f->separator_set << 24 | (uint64_t)f->separator << 32;
}

/* What the build is of and how it is asked for. */
static void identity(const struct external *x, uint64_t out[IDENTITY_COUNT])
{
    const struct index *index = &x->index;
    const uint64_t words[IDENTITY_COUNT] = {
        index->data_bytes,
        (uint64_t)index->data_mtime_ns,
        x->ends_checksum,
        format_word(&index->format),
        (uint64_t)index->duplicates_policy,
        index->granule_log2,
        index->fingerprint_bits,
        (uint64_t)index->layout,
        index->hash_mask,
        x->settings->partitions_log2,
        x->settings->unit_bytes,
    };
    memcpy(out, words, sizeof words);
}

/* Every number that the state holds; returns how many. */
static size_t numbers(struct external *x, uint64_t *out[NUMBERS_MAX])
{
    struct index *index = &x->index;
    struct external_counts *c = &x->counts;
    uint64_t *const fields[] = {
        &index->records,
        &index->key_bytes_total,
        &index->value_bytes_total,
        &index->page_count,
        &index->record_bytes_min,
        &x->equal.duplicates,
        &x->spill_id,
        &c->partitions_log2,
        &c->solving,
        &c->offset,
        &c->spill_bytes,
        &c->units_done,
        &c->shards,
        &c->units,
        &c->groups,
        &c->out_bytes,
        &c->repeat_block,
        &c->repeat_hash,
        &c->scan_us,
        &c->solve_us,
        &c->collisions,
    };
    size_t count = sizeof fields / sizeof *fields;
    ASSERT(count <= NUMBERS_MAX);
    memcpy(out, fields, sizeof fields);
    return count;
}

static void append_u64(struct buffer *b, uint64_t value)
{
    unsigned char bytes[8];
    store_u64le(bytes, value);
    buffer_append(b, bytes, sizeof bytes);
}

static bool encode(struct external *x, struct buffer *out)
{
    uint64_t same[IDENTITY_COUNT], *fields[NUMBERS_MAX];
    size_t count = numbers(x, fields);
    unsigned char word[4];
    buffer_append(out, magic, sizeof magic);
    store_u32le(word, STATE_VERSION);
    buffer_append(out, word, sizeof word);
    store_u32le(word, (uint32_t)count);
    buffer_append(out, word, sizeof word);
    identity(x, same);
    for (size_t i = 0; i < IDENTITY_COUNT; i++)
        append_u64(out, same[i]);
    for (size_t i = 0; i < count; i++)
        append_u64(out, *fields[i]);
    buffer_append(out, x->index.secret, HASH_SECRET_BYTES);
    append_u64(out, x->out.sums.size);
    buffer_append(out, x->out.sums.data, x->out.sums.size);
    append_u64(out, x->equal.exception_count);
    for (size_t i = 0; i < x->equal.exception_count; i++) {
        append_u64(out, x->equal.exceptions[i].hash);
        append_u64(out, x->equal.exceptions[i].location);
    }
    append_u64(out, hash_checksum(out->data, out->size, STATE_VERSION));
    return !out->failed;
}

/* --- writing --- */

static int write_file(const struct external *x, struct tarn_bytes content, struct tarn_error *error)
{
    const struct os *os = x->os;
    const char *temp = x->state_temp_path;
    int fd, directory;
    int result = os->open(os, temp, O_WRONLY | O_CREAT | O_TRUNC, 0666, &fd);
    if (result < 0)
        return os_error(error, result, "cannot create", temp);
    result = os_write_full(os, fd, content.data, content.size, 0);
    if (result == 0)
        result = os->sync(os, fd);
    int closed = os->close(os, fd);
    if (result == 0)
        result = closed;
    if (result < 0)
        return os_error(error, result, "cannot write", temp);
    result = os_open_parent(os, x->state_path, &directory);
    if (result < 0)
        return os_error(error, result, "cannot open the directory of", x->state_path);
    result = os->rename(os, temp, x->state_path);
    if (result == 0)
        result = os_sync_directory(os, directory);
    (void)os->close(os, directory); /* opened for its sync */
    return result < 0 ? os_error(error, result, "cannot write", x->state_path) : TARN_OK;
}

int external_save(struct external *x, struct tarn_error *error)
{
    struct buffer state = {0};
    int status = spill_sync(&x->spill, error);
    x->counts.spill_bytes = x->spill.end;
    if (status == TARN_OK && x->counts.solving) {
        status = out_flush(&x->out, error);
        int result = status == TARN_OK ? x->os->data_sync(x->os, x->build_fd) : 0;
        if (result < 0)
            status = os_error(error, result, "cannot sync", x->build_path);
    }
    if (status != TARN_OK)
        return status;
    if (encode(x, &state))
        status = write_file(x, buffer_view(&state), error);
    else
        status = external_no_memory(x, error);
    buffer_done(&state);
    if (status == TARN_OK)
        x->state_saved = true;
    x->state_ns = x->os->monotonic_ns(x->os);
    return status;
}

void external_forget(struct external *x)
{
    const char *const paths[] = {x->state_path, x->state_temp_path, x->spill_path, x->build_path};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        (void)x->os->unlink(x->os, paths[i]); /* most are not there */
}

/* --- reading --- */

/* A state being read; `left` shrinks. */
struct view {
    const unsigned char *at;
    size_t left;
};

static const unsigned char *take(struct view *v, uint64_t size)
{
    if (size > v->left)
        return NULL;
    const unsigned char *at = v->at;
    v->at += size;
    v->left -= size;
    return at;
}

static bool take_u64(struct view *v, uint64_t *ret_value)
{
    const unsigned char *at = take(v, 8);
    if (at != NULL)
        *ret_value = load_u64le(at);
    return at != NULL;
}

static int take_exceptions(struct external *x, struct view *v)
{
    uint64_t count, hash, location;
    if (!take_u64(v, &count) || count > v->left / 16)
        return TARN_CORRUPT;
    for (uint64_t i = 0; i < count; i++) {
        if (!take_u64(v, &hash) || !take_u64(v, &location))
            return TARN_CORRUPT;
        if (equal_add_exception(&x->equal, hash, location) != TARN_OK)
            return TARN_NOMEM;
    }
    return v->left == 0 ? TARN_OK : TARN_CORRUPT;
}

/* What the numbers must be for the build to go on from them. */
static bool credible(const struct external *x, const struct buffer *sums)
{
    const struct external_counts *c = &x->counts;
    uint64_t units = c->units;
    if (c->partitions_log2 < 1 || c->offset > x->index.data_bytes ||
        c->partitions_log2 > FIT_PARTITIONS_LOG2_MAX || c->spill_bytes > INT64_MAX)
        return false;
    if (!c->solving)
        return true;
    return units > 0 && (units & (units - 1)) == 0 && units <= 1ull << 32 &&
           c->shards % units == 0 && c->units_done <= units &&
           sums->size / 8 == c->out_bytes / INDEX_PIECE_BYTES && c->out_bytes <= INT64_MAX;
}

static int decode(struct external *x, struct tarn_bytes content, struct buffer *ret_sums)
{
    uint64_t same[IDENTITY_COUNT], *fields[NUMBERS_MAX], sums;
    size_t count = numbers(x, fields);
    struct view v = {content.data, content.size};
    const unsigned char *head = take(&v, 16), *bytes;
    if (head == NULL || v.left < 8 || memcmp(head, magic, sizeof magic) != 0 ||
        load_u32le(head + 8) != STATE_VERSION || load_u32le(head + 12) != count)
        return TARN_CORRUPT;
    v.left -= 8;
    if (load_u64le(v.at + v.left) != hash_checksum(content.data, content.size - 8, STATE_VERSION))
        return TARN_CORRUPT;
    identity(x, same);
    bytes = take(&v, sizeof same);
    if (bytes == NULL)
        return TARN_CORRUPT;
    if (memcmp(bytes, same, sizeof same) != 0)
        return TARN_STALE;
    for (size_t i = 0; i < count; i++)
        if (!take_u64(&v, fields[i]))
            return TARN_CORRUPT;
    bytes = take(&v, HASH_SECRET_BYTES);
    if (bytes == NULL)
        return TARN_CORRUPT;
    memcpy(x->index.secret, bytes, HASH_SECRET_BYTES);
    if (!take_u64(&v, &sums) || (bytes = take(&v, sums)) == NULL)
        return TARN_CORRUPT;
    buffer_append(ret_sums, bytes, sums);
    if (ret_sums->failed)
        return TARN_NOMEM;
    int status = take_exceptions(x, &v);
    return status == TARN_OK && !credible(x, ret_sums) ? TARN_CORRUPT : status;
}

static void forget_numbers(struct external *x, struct buffer *sums)
{
    uint64_t *fields[NUMBERS_MAX];
    size_t count = numbers(x, fields);
    for (size_t i = 0; i < count; i++)
        *fields[i] = 0;
    equal_result_done(&x->equal);
    equal_result_init(&x->equal);
    buffer_clear(sums);
    x->state_saved = false;
}

int external_unload(struct external *x, struct buffer *sums)
{
    forget_numbers(x, sums);
    external_notice(x, "what is left of an unfinished build is damaged; beginning anew");
    return TARN_NOTFOUND;
}

int external_load(struct external *x, struct buffer *ret_sums, struct tarn_error *error)
{
    struct buffer content = {0};
    int status = os_read_file(x->os, x->state_path, STATE_BYTES_MAX, &content, error);
    if (status == TARN_MISSING) {
        buffer_done(&content);
        return TARN_NOTFOUND;
    }
    if (status == TARN_OK) {
        status = decode(x, buffer_view(&content), ret_sums);
        if (status == TARN_NOMEM)
            external_no_memory(x, error);
    }
    buffer_done(&content);
    if (status == TARN_CORRUPT)
        return external_unload(x, ret_sums);
    if (status == TARN_STALE) {
        forget_numbers(x, ret_sums);
        external_notice(x, "what is left of an unfinished build is of other data or settings; "
                           "beginning anew");
        return TARN_NOTFOUND;
    }
    x->state_saved = status == TARN_OK;
    return status;
}
