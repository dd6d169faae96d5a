/* See equal.h. Pairs are sorted by (hash, location); each run of equal hashes is split by key.
 *
 * Cost: a run of k records with d different keys takes k x d comparisons; d is 1 but for true
 * collisions (0.03 expected pairs at 1e9 keys), so a key repeated a million times stays linear. */
#include "pack/equal.h"

#include <stdlib.h>

#include "core/bytes.h"

void equal_result_init(struct equal_result *r)
{
    *r = (struct equal_result){.repeat_location = UINT64_MAX};
}

void equal_result_done(struct equal_result *r)
{
    free(r->exceptions);
    r->exceptions = NULL;
    r->exception_count = r->exception_capacity = 0;
}

static int compare_pairs(const void *a, const void *b)
{
    const struct ribbon_pair *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->value < y->value ? -1 : x->value > y->value;
}

/* Read the key of the record at `location`. *key_buffer holds it for a file source. */
static int read_key(const struct source *source, const struct tarn_format *format,
                    uint64_t location, struct buffer *key_buffer, struct tarn_bytes *ret_key,
                    struct tarn_error *error)
{
    uint64_t left = source->size - location;
    uint64_t limit = TARN_KEY_BYTES_MAX + TARN_VALUE_BYTES_MAX + 64; /* any record */
    if (limit > left)
        limit = left;
    /* Enough for most records at first, then more, so that at most 9 times the record is read. */
    for (uint64_t size = 512;; size *= 8) {
        size = size < limit ? size : limit;
        struct tarn_bytes view;
        int status = source_read(source, location, size, key_buffer, &view, error);
        if (status != TARN_OK)
            return status;
        struct record record;
        if (format_parse(format, view, 0, size == left, &record) == FORMAT_OK) {
            *ret_key = record.key;
            return TARN_OK;
        }
        if (size == limit)
            break;
    }
    return error_set_at(error, TARN_STALE, location, UINT64_MAX,
                        "%s: changed while it was being indexed", source->path);
}

int equal_add_exception(struct equal_result *r, uint64_t hash, uint64_t location)
{
    if (r->exception_count == r->exception_capacity) {
        size_t capacity = r->exception_capacity ? 2 * r->exception_capacity : 64;
        void *bigger = realloc(r->exceptions, capacity * sizeof *r->exceptions);
        if (bigger == NULL)
            return TARN_NOMEM;
        r->exceptions = bigger;
        r->exception_capacity = capacity;
    }
    r->exceptions[r->exception_count++] = (struct index_exception){hash, location};
    return TARN_OK;
}

/* One distinct key of a run. */
struct distinct {
    struct buffer key;
    struct tarn_bytes view;
    uint64_t location; /* of the record that counts */
};

struct run {
    struct distinct *keys;
    size_t count, capacity;
};

/* The run's entry of this key, or a new one; NULL if out of memory. `buffer` may be taken over. */
static struct distinct *run_entry(struct run *run, struct tarn_bytes key, struct buffer *buffer,
                                  bool *ret_new)
{
    *ret_new = false;
    for (size_t i = 0; i < run->count; i++)
        if (bytes_equal(run->keys[i].view, key))
            return &run->keys[i];
    if (run->count == run->capacity) {
        size_t capacity = run->capacity ? 2 * run->capacity : 4;
        void *bigger = realloc(run->keys, capacity * sizeof *run->keys);
        if (bigger == NULL)
            return NULL;
        run->keys = bigger;
        run->capacity = capacity;
    }
    struct distinct *entry = &run->keys[run->count++];
    *entry = (struct distinct){.key = *buffer, .view = key};
    buffer_init(buffer, 0);
    *ret_new = true;
    return entry;
}

static void note_repeat(struct equal_result *r, uint64_t location, uint64_t of)
{
    r->duplicates++;
    if (location < r->repeat_location) {
        r->repeat_location = location;
        r->repeat_of = of;
    }
}

/* Split one run (in order of location) by key; afterwards run->keys are the records that count. */
static int split_run(const struct source *source, const struct tarn_format *format,
                     enum tarn_duplicates policy, const struct ribbon_pair *pairs, size_t count,
                     struct run *run, struct equal_result *result, struct tarn_error *error)
{
    struct buffer buffer = {0};
    int status = TARN_OK;
    for (size_t i = 0; i < count && status == TARN_OK; i++) {
        struct tarn_bytes key = {0};
        bool is_new;
        status = read_key(source, format, pairs[i].value, &buffer, &key, error);
        if (status != TARN_OK)
            break;
        struct distinct *entry = run_entry(run, key, &buffer, &is_new);
        if (entry == NULL) {
            status = error_set(error, TARN_NOMEM, "%s: out of memory", source->path);
        } else if (is_new) {
            entry->location = pairs[i].value;
        } else {
            note_repeat(result, pairs[i].value, entry->location);
            if (policy == TARN_DUPLICATES_LAST)
                entry->location = pairs[i].value;
        }
    }
    buffer_done(&buffer);
    return status;
}

static void run_clear(struct run *run)
{
    for (size_t i = 0; i < run->count; i++)
        buffer_done(&run->keys[i].key);
    run->count = 0;
}

int equal_resolve(const struct source *source, const struct tarn_format *format,
                  enum tarn_duplicates policy, struct ribbon_pair *pairs, size_t *count,
                  struct equal_result *result, struct tarn_error *error)
{
    qsort(pairs, *count, sizeof *pairs, compare_pairs);
    struct run run = {0};
    size_t kept = 0;
    int status = TARN_OK;
    for (size_t first = 0, end; first < *count && status == TARN_OK; first = end) {
        for (end = first + 1; end < *count && pairs[end].hash == pairs[first].hash; end++)
            ;
        uint64_t hash = pairs[first].hash;
        if (end - first == 1) {
            pairs[kept++] = pairs[first];
            continue;
        }
        status = split_run(source, format, policy, pairs + first, end - first, &run, result, error);
        if (status != TARN_OK)
            break;
        if (run.count == 1) {
            pairs[kept++] = (struct ribbon_pair){hash, run.keys[0].location};
        } else {
            for (size_t i = 0; i < run.count && status == TARN_OK; i++)
                status = equal_add_exception(result, hash, run.keys[i].location);
            if (status != TARN_OK)
                error_set(error, status, "%s: out of memory", source->path);
        }
        run_clear(&run);
    }
    run_clear(&run);
    free(run.keys);
    *count = kept;
    return status;
}
