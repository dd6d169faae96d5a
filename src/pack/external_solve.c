/* Solving an external build, one unit after another: a unit's pairs are divided into shards;
 * threads sort each shard, take repeated keys out, and solve it, while one of them reads the next
 * unit's pairs; then its shards, or pages, are appended to the file, in order.
 *
 * Memory: two times a unit's pairs, and what is made of them. Between units the state is written
 * now and then.
 *
 * Invariants: (1) units, shards and pages are in the order of hashes; (2) a unit's results are
 * appended only if all of them are there.
 * Failure modes: those of reading back and writing; NOMEM. */
#include <inttypes.h>
#include <stdlib.h>

#include "core/assert.h"
#include "core/codec.h"
#include "os/parallel.h"
#include "pack/external_internal.h"

#define STATE_PERIOD_NS    2000000000ull
#define WORDS_BUFFER_BYTES (64u << 10) /* of streams while solving */

/* What one thread needs. */
struct solver {
    struct ribbon_workspace *workspace;
    struct ribbon_pair *scratch; /* PAIRS_SORT_MAX */
};

struct solving {
    struct external *x;
    struct unit next;           /* being read */
    uint64_t number;            /* of the unit that is solved */
    struct ribbon_pair *pairs;  /* of it, by shard */
    size_t capacity;            /* of pairs */
    struct unit_shard *shards;  /* of the unit */
    uint64_t shard_count;       /* of each unit */
    _Atomic uint64_t item_next; /* 0: read the next unit; then shards */
    struct solver *solvers;     /* one a thread */
    unsigned threads;
};

/* --- one shard --- */

/* Keys whose hash another key has too become exceptions. Returns how many pairs are left. */
static size_t take_exceptions(struct external *x, struct ribbon_pair *pairs, size_t count,
                              bool *ret_memory)
{
    size_t kept = 0;
    *ret_memory = true;
    for (size_t first = 0, end; first < count; first = end) {
        for (end = first + 1; end < count && pairs[end].hash == pairs[first].hash; end++)
            ;
        if (end - first == 1) {
            pairs[kept++] = pairs[first];
            continue;
        }
        pthread_mutex_lock(&x->lock);
        for (size_t i = first; i < end && *ret_memory; i++)
            *ret_memory = equal_add_exception(&x->equal, pairs[i].hash,
                                              pairs[i].value >> x->check_bits) == TARN_OK;
        pthread_mutex_unlock(&x->lock);
    }
    return kept;
}

static void count_duplicates(struct external *x, uint64_t duplicates,
                             const struct ribbon_pair *repeat)
{
    pthread_mutex_lock(&x->lock);
    x->equal.duplicates += duplicates;
    if (repeat->value < x->counts.repeat_block) {
        x->counts.repeat_block = repeat->value;
        x->counts.repeat_hash = repeat->hash;
    }
    pthread_mutex_unlock(&x->lock);
}

/* The pairs of a shard in their order, each key once. */
static void order_shard(struct solving *s, struct solver *solver, struct unit_shard *shard)
{
    struct external *x = s->x;
    struct ribbon_pair *pairs = s->pairs + shard->first;
    struct ribbon_pair repeat = {0, UINT64_MAX};
    pairs_sort(pairs, solver->scratch, shard->count, x->counts.shards);
    size_t kept = pairs_unique(x, pairs, shard->count, &repeat);
    if (kept < shard->count)
        count_duplicates(x, shard->count - kept, &repeat);
    shard->count = kept;
}

static int solve_shard(struct solving *s, struct solver *solver, struct unit_shard *shard,
                       struct tarn_error *error)
{
    struct external *x = s->x;
    const struct index *index = &x->index;
    struct ribbon_pair *pairs = s->pairs + shard->first;
    const unsigned char *groups;
    bool memory;
    order_shard(s, solver, shard);
    if (index->layout == INDEX_PAGES)
        return TARN_OK;
    shard->count = take_exceptions(x, pairs, shard->count, &memory);
    if (!memory)
        return external_no_memory(x, error);
    for (size_t i = 0; i < shard->count; i++)
        pairs[i].value = index_value(index, pairs[i].hash,
                                     pairs[i].value >> x->check_bits << index->granule_log2);
    int status = ribbon_shard_build(solver->workspace, pairs, shard->count, index->ribbon.bits,
                                    &groups, &shard->group_count, &shard->seed);
    if (status != TARN_OK)
        return error_set(error, status, "%s: cannot solve %zu keys of unit %" PRIu64 ": %s",
                         x->source.path, shard->count, s->number, tarn_status_text(status));
    shard->groups = malloc(shard->group_count * index->ribbon.bits);
    if (shard->groups == NULL)
        return external_no_memory(x, error);
    memcpy(shard->groups, groups, shard->group_count * index->ribbon.bits);
    return TARN_OK;
}

static void solve_thread(void *context, unsigned thread)
{
    struct solving *s = context;
    struct external *x = s->x;
    struct tarn_error error;
    while (atomic_load(&x->status) == TARN_OK) {
        uint64_t item = atomic_fetch_add(&s->item_next, 1);
        int status = TARN_OK;
        if (item > s->shard_count)
            break;
        if (item > 0)
            status = solve_shard(s, &s->solvers[thread], &s->shards[item - 1], &error);
        else if (s->number + 1 < x->counts.units)
            status = unit_load(x, &s->next, s->number + 1, &error);
        if (status != TARN_OK)
            external_fail(x, status, &error);
    }
}

/* --- one unit --- */

/* Divide the pairs just read among the unit's shards. */
static int divide(struct solving *s, struct tarn_error *error)
{
    struct external *x = s->x;
    const struct unit *u = &s->next;
    uint64_t first = u->number * s->shard_count;
    s->number = u->number;
    if (u->count > s->capacity || s->pairs == NULL) {
        free(s->pairs);
        s->pairs = malloc((u->count + 1) * sizeof *s->pairs);
        s->capacity = s->pairs ? u->count : 0;
        if (s->pairs == NULL)
            return external_no_memory(x, error);
    }
    memset(s->shards, 0, s->shard_count * sizeof *s->shards);
    for (size_t i = 0; i < u->count; i++)
        s->shards[ribbon_shard_of(u->pairs[i].hash, x->counts.shards) - first].count++;
    size_t at = 0;
    for (uint64_t i = 0; i < s->shard_count; i++) {
        s->shards[i].first = at;
        at += s->shards[i].count;
        s->shards[i].count = 0;
    }
    for (size_t i = 0; i < u->count; i++) {
        struct unit_shard *shard =
            &s->shards[ribbon_shard_of(u->pairs[i].hash, x->counts.shards) - first];
        s->pairs[shard->first + shard->count++] = u->pairs[i];
    }
    if (u->duplicates > 0)
        count_duplicates(x, u->duplicates, &u->repeat);
    return TARN_OK;
}

static int append_words(struct external *x, const uint64_t *words, size_t count,
                        struct tarn_error *error)
{
    return spill_append(&x->spill, external_stream(x, STREAM_WORDS), words, count * sizeof *words,
                        error);
}

static int append_shards(struct solving *s, struct tarn_error *error)
{
    struct external *x = s->x;
    int status = TARN_OK;
    for (uint64_t i = 0; i < s->shard_count && status == TARN_OK; i++) {
        const struct unit_shard *shard = &s->shards[i];
        uint64_t word = x->counts.groups << 8 | shard->seed;
        status = append_words(x, &word, 1, error);
        if (status == TARN_OK)
            status = out_append(&x->out, shard->groups, shard->group_count * x->index.ribbon.bits,
                                error);
        x->counts.groups += shard->group_count;
    }
    return status;
}

/* The page is whole: its checksum, and its first hash into the top. */
static int append_page(struct external *x, unsigned char page[INDEX_PAGE_BYTES], uint64_t count,
                       struct tarn_error *error)
{
    uint64_t first = load_u64le(page + INDEX_PAGE_HEADER_BYTES);
    unsigned used = INDEX_PAGE_HEADER_BYTES + (unsigned)count * index_entry_bytes(&x->index);
    memset(page + used, 0, INDEX_PAGE_BYTES - used);
    store_u64le(page + 8, count);
    store_u64le(page, hash_checksum(page + 8, INDEX_PAGE_BYTES - 8, 0));
    int status = append_words(x, &first, 1, error);
    if (status == TARN_OK)
        status = out_append(&x->out, page, INDEX_PAGE_BYTES, error);
    x->index.page_count++;
    return status;
}

/* The pairs of the unit, closed up: shards follow each other without what was taken out. */
static size_t close_up(struct solving *s)
{
    size_t count = 0;
    for (uint64_t i = 0; i < s->shard_count; i++) {
        memmove(s->pairs + count, s->pairs + s->shards[i].first,
                s->shards[i].count * sizeof *s->pairs);
        count += s->shards[i].count;
    }
    return count;
}

static int append_pages(struct solving *s, struct tarn_error *error)
{
    struct external *x = s->x;
    unsigned char page[INDEX_PAGE_BYTES];
    unsigned room = index_page_entries(&x->index), entry = index_entry_bytes(&x->index);
    size_t count = close_up(s), in_page = 0;
    int status = TARN_OK;
    for (size_t first = 0, end; first < count && status == TARN_OK; first = end) {
        for (end = first + 1; end < count && s->pairs[end].hash == s->pairs[first].hash; end++)
            ;
        if (in_page > 0 && in_page + (end - first) > room) {
            status = append_page(x, page, in_page, error);
            in_page = 0;
        }
        x->counts.collisions += end - first > 1 ? end - first : 0;
        for (size_t i = first; i < end && status == TARN_OK; i++) {
            unsigned char *at = page + INDEX_PAGE_HEADER_BYTES + in_page++ * entry;
            uint64_t block = s->pairs[i].value >> x->check_bits;
            store_u64le(at, s->pairs[i].hash);
            memcpy(at + 8, &block, entry - 8);
            if (in_page == room) {
                status = append_page(x, page, in_page, error);
                in_page = 0;
            }
        }
    }
    return status == TARN_OK && in_page > 0 ? append_page(x, page, in_page, error) : status;
}

static void free_groups(struct solving *s)
{
    for (uint64_t i = 0; s->shards != NULL && i < s->shard_count; i++) {
        free(s->shards[i].groups);
        s->shards[i].groups = NULL;
    }
}

static int save_sometimes(struct external *x, struct tarn_error *error)
{
    uint64_t period = x->settings->state_period_ns ? x->settings->state_period_ns : STATE_PERIOD_NS;
    x->counts.out_bytes = x->out.size;
    if (x->counts.units_done < x->counts.units && x->os->monotonic_ns(x->os) - x->state_ns < period)
        return TARN_OK;
    return external_save(x, error);
}

static int solve_unit(struct solving *s, struct tarn_error *error)
{
    struct external *x = s->x;
    uint64_t began = x->os->monotonic_ns(x->os);
    int status = divide(s, error);
    if (status != TARN_OK)
        return status;
    atomic_store(&s->item_next, 0);
    parallel_run(s->threads, solve_thread, s);
    status = atomic_load(&x->status);
    if (status != TARN_OK) {
        if (error != NULL)
            *error = x->error;
        return status;
    }
    status = x->index.layout == INDEX_PAGES ? append_pages(s, error) : append_shards(s, error);
    free_groups(s);
    if (status != TARN_OK)
        return status;
    x->counts.units_done++;
    x->counts.solve_us += (x->os->monotonic_ns(x->os) - began) / 1000;
    status = save_sometimes(x, error);
    if (status == TARN_OK &&
        !external_progress(x, "solving", x->counts.units_done, x->counts.units)) {
        if (error != NULL)
            *error = x->error;
        status = TARN_CANCELLED;
    }
    return status;
}

/* --- all --- */

static int prepare(struct solving *s, struct tarn_error *error)
{
    struct external *x = s->x;
    s->threads = x->threads + 1; /* one of them mostly waits for the disk */
    s->shard_count = x->counts.shards / x->counts.units;
    s->shards = calloc(s->shard_count, sizeof *s->shards);
    s->solvers = calloc(s->threads, sizeof *s->solvers);
    bool memory = s->shards != NULL && s->solvers != NULL;
    for (unsigned i = 0; memory && i < s->threads; i++) {
        s->solvers[i].workspace = ribbon_workspace_new();
        s->solvers[i].scratch = malloc(PAIRS_SORT_MAX * sizeof *s->solvers[i].scratch);
        memory = s->solvers[i].workspace != NULL && s->solvers[i].scratch != NULL;
    }
    return memory ? TARN_OK : external_no_memory(x, error);
}

static void done(struct solving *s)
{
    for (unsigned i = 0; s->solvers != NULL && i < s->threads; i++) {
        ribbon_workspace_free(s->solvers[i].workspace);
        free(s->solvers[i].scratch);
    }
    free_groups(s);
    free(s->solvers);
    free(s->shards);
    free(s->pairs);
    free(s->next.pairs);
    buffer_done(&s->next.buffer);
}

int external_solve(struct external *x, struct tarn_error *error)
{
    struct solving s = {.x = x};
    spill_group(&x->spill);
    int status = spill_resize(&x->spill, WORDS_BUFFER_BYTES, error);
    if (status == TARN_OK)
        status = prepare(&s, error);
    if (status == TARN_OK && x->counts.units_done < x->counts.units)
        status = unit_load(x, &s.next, x->counts.units_done, error);
    while (status == TARN_OK && x->counts.units_done < x->counts.units)
        status = solve_unit(&s, error);
    done(&s);
    return status;
}
