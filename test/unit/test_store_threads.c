/* Goal: the whole library under threads, as an embedder has it: whatever they do at once, with
 * memory short and keys expiring and being evicted, nobody sees what he must not.
 * Method: a round for each policy. In each a few threads, with sessions that come and go, do
 * everything that tarn.h offers on a store in memory, on keys of these classes:
 *   v  values of all sizes that tell their key and are checked whole; some expire
 *   a  values that are patched in place, with a version and its inverse
 *   g  groups that are stored, deleted and read as one: members never differ
 *   s  slots between which tokens are moved: no token is ever in two
 *   c  counters, by tarn_update() and optimistically by watches: no thread sees them fall
 * Where no policy takes them away the counters are exact at the end, all tokens are always there,
 * and a scan visits each counter once. Views are checked again before they are given back, pinned
 * values by other threads, long after. Seeds are fixed and printed; a thread ends after a number of
 * operations.
 *
 * Bugs planted once to see it fail. Caught by release and ThreadSanitizer: what was taken out is
 * freed without a grace period; a watch is not told that a value was replaced; a view of a large
 * value does not keep it from being patched in place. By ThreadSanitizer only: tarn_get_together()
 * without the second look at the versions; changes of several keys that leave the versions as they
 * are; items moved out of a page without the grace period before. */
#include "lib/test.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/random.h"
#include "tarn.h"

enum {
    WORKERS = 4,
    OPERATIONS = TEST_SLOWER > 1 ? 6000 : 12000, /* of each thread */
    BATCH = 32,
    VALUES = 20000,
    PATCHED = 8,
    GROUPS = 50,
    MEMBERS = 6,
    SLOTS = 64,
    TOKENS = 40,
    COUNTERS = 8,
    KEY_SPACE = 32,
    VALUE_MAX = 40000,
    WORDS_HEAD = 5,
    HEAD = WORDS_HEAD * 8,
    TRIES = 20,
    CHARGE_MAX = 256 << 10,
};

#define CAP ((uint64_t)8 << 20)

/* --- what all threads share in a round --- */

struct pinned {
    struct tarn_pin *pin;
    struct tarn_bytes value;
    uint64_t key;
};

static struct {
    struct tarn *store;
    enum tarn_eviction policy;
    bool exact; /* what has no expiry stays: no policy takes it, and nobody flushes */
    _Atomic uint64_t counts[COUNTERS];
    _Atomic(struct pinned *) mailbox; /* from whoever pinned to whoever comes next */
    _Atomic uint64_t bad, seen, full, changes;
} shared;

struct worker {
    struct tarn_session *session;
    uint64_t random;
    uint64_t counted[COUNTERS]; /* as last seen */
    unsigned char *space;       /* VALUE_MAX bytes for a value */
    uint64_t cursor, visited_counters;
};

static uint64_t pick(struct worker *w, uint64_t limit)
{
    return random_below(random_next(&w->random), limit);
}

/* Note a failure, and say where: the first ones are enough. */
static void must_at(bool holds, const char *what, int line)
{
    if (!holds && atomic_fetch_add(&shared.bad, 1) < 20)
        fprintf(stderr, "line %d: not so: %s\n", line, what);
}
#define must(condition) must_at(condition, #condition, __LINE__)

/* --- keys and values --- */

static struct tarn_bytes key_text(char class, uint64_t number, char text[KEY_SPACE])
{
    int size = snprintf(text, KEY_SPACE, "%c:%llu", class, (unsigned long long)number);
    return (struct tarn_bytes){text, (size_t)size};
}

/* Value: who it is of, what the rest follows from, its size (0: it may grow), and a version with
 * its inverse, which are changed together. */
struct head {
    uint64_t key, seed, size, version, inverse;
};
_Static_assert(sizeof(struct head) == HEAD, "as values begin");

static void body_fill(unsigned char *value, const struct head *head, size_t from, size_t to)
{
    for (size_t at = from; at < to; at += 8) {
        uint64_t bits = random_mix(head->key * 31 + head->seed + at);
        memcpy(value + at, &bits, to - at < 8 ? to - at : 8);
    }
}

static struct tarn_bytes value_make(struct worker *w, uint64_t key, uint64_t seed, size_t size)
{
    struct head head = {key, seed, size, seed, ~seed};
    memcpy(w->space, &head, HEAD);
    body_fill(w->space, &head, HEAD, size);
    return (struct tarn_bytes){w->space, size};
}

static struct head value_head(struct tarn_bytes value)
{
    struct head head = {0};
    if (value.size >= HEAD)
        memcpy(&head, value.data, HEAD);
    return head;
}

static bool value_is_whole(struct tarn_bytes value, uint64_t key)
{
    struct head head = value_head(value);
    const unsigned char *p = value.data;
    if (value.size < HEAD || head.key != key || head.inverse != ~head.version ||
        (head.size != 0 && head.size != value.size))
        return false;
    for (size_t at = HEAD; at < value.size; at += 8) {
        uint64_t bits = random_mix(head.key * 31 + head.seed + at);
        if (memcmp(p + at, &bits, value.size - at < 8 ? value.size - at : 8) != 0)
            return false;
    }
    atomic_fetch_add_explicit(&shared.seen, 1, memory_order_relaxed);
    return true;
}

static size_t any_size(struct worker *w)
{
    if (pick(w, 200) == 0)
        return HEAD + pick(w, VALUE_MAX - HEAD);
    return HEAD + pick(w, pick(w, 2) ? 100 : 1500);
}

/* Some keys are used often. */
static uint64_t any_value_key(struct worker *w)
{
    return pick(w, pick(w, 2) ? VALUES / 20 : VALUES);
}

static int64_t any_expiry(struct worker *w)
{
    static const uint64_t spans[] = {3, 30, 300, 100000};
    if (pick(w, 2) != 0)
        return 0;
    return tarn_now_ms(shared.store) + (int64_t)pick(w, spans[pick(w, 4)]);
}

/* --- what writes answer --- */

/* After FULL: is it worth another try? The policy may have nothing to evict. */
static bool again(struct worker *w, int status, unsigned *tries)
{
    if (status != TARN_FULL || ++*tries > TRIES || !tarn_make_room(w->session)) {
        if (status == TARN_FULL)
            atomic_fetch_add(&shared.full, 1);
        return false;
    }
    return true;
}

static bool is_answer(int status)
{
    return status == TARN_OK || status == TARN_NOTFOUND || status == TARN_FULL;
}

static int put(struct worker *w, struct tarn_bytes key, struct tarn_bytes value, int64_t expire_ms)
{
    unsigned tries = 0;
    int status;
    do
        status = tarn_put(w->session, key, value, expire_ms);
    while (again(w, status, &tries));
    must(status == TARN_OK || status == TARN_FULL);
    return status;
}

/* --- class v: values --- */

static void get_batch(struct worker *w, const struct tarn_bytes *keys, struct tarn_bytes *values)
{
    size_t found = 0, got;
    tarn_prefetch(w->session, keys, BATCH);
    if (pick(w, 4) == 0)
        got = tarn_get_together(w->session, keys, BATCH, values);
    else
        got = tarn_get_many(w->session, keys, BATCH, values);
    for (size_t i = 0; i < BATCH; i++)
        found += values[i].data != NULL;
    must(found == got);
}

/* Give one large value to whoever looks into the mailbox next; check and unpin what lay there. */
static void pass_on(struct worker *w, struct tarn_bytes value, uint64_t key)
{
    struct pinned *mine = NULL;
    if (value.size >= TARN_PIN_BYTES_MIN && (mine = malloc(sizeof *mine)) != NULL)
        *mine = (struct pinned){tarn_pin(w->session, value), value, key};
    struct pinned *before = atomic_exchange(&shared.mailbox, mine);
    if (before != NULL) {
        must(value_is_whole(before->value, before->key));
        tarn_unpin(before->pin);
        free(before);
    }
}

static void read_values(struct worker *w)
{
    char texts[BATCH][KEY_SPACE];
    struct tarn_bytes keys[BATCH], values[BATCH];
    uint64_t numbers[BATCH];
    struct head heads[BATCH];
    for (size_t i = 0; i < BATCH; i++)
        keys[i] = key_text('v', numbers[i] = any_value_key(w), texts[i]);
    get_batch(w, keys, values);
    for (size_t i = 0; i < BATCH; i++) {
        must(values[i].data == NULL || value_is_whole(values[i], numbers[i]));
        heads[i] = value_head(values[i]);
    }
    sched_yield();
    size_t large = 0;
    for (size_t i = 0; i < BATCH; i++) {
        struct head head = value_head(values[i]);
        must(values[i].data == NULL || value_is_whole(values[i], numbers[i]));
        must(memcmp(&head, &heads[i], HEAD) == 0);
        large = values[i].size > values[large].size ? i : large;
    }
    pass_on(w, values[large], numbers[large]);
}

static void read_record(struct worker *w)
{
    char text[KEY_SPACE];
    uint64_t number = any_value_key(w), bytes;
    struct tarn_record record;
    struct tarn_bytes key = key_text('v', number, text);
    int64_t before = tarn_now_ms(shared.store), expire_ms;
    if (tarn_get_record(w->session, key, &record) == TARN_OK) {
        must(value_is_whole(record.value, number));
        must(record.expire_ms == 0 || record.expire_ms > before);
    }
    if (tarn_get_expiry(w->session, key, &expire_ms) == TARN_OK)
        must(expire_ms == 0 || expire_ms > before);
    if (tarn_usage(w->session, key, &bytes) == TARN_OK)
        must(bytes >= key.size + HEAD && bytes < VALUE_MAX + 4096);
    if (tarn_random_key(w->session, random_next(&w->random), &key) == TARN_OK)
        must(key.size >= 3 && memchr("vagsc", *(const char *)key.data, 5) != NULL);
}

static void write_value(struct worker *w)
{
    char text[KEY_SPACE];
    uint64_t number = any_value_key(w);
    struct tarn_bytes value = value_make(w, number, random_next(&w->random), any_size(w));
    put(w, key_text('v', number, text), value, any_expiry(w));
}

static bool seed_is_even(void *context, const struct tarn_record *present)
{
    must(present->value.data == NULL || value_is_whole(present->value, *(uint64_t *)context));
    return value_head(present->value).seed % 2 == 0;
}

/* The key gets another value of any size, if it is as it must be. */
static enum tarn_verdict rewrite(void *context, struct tarn_update *update)
{
    struct worker *w = context;
    struct tarn_bytes old = update->record.value;
    if (old.data == NULL)
        return TARN_PEEK;
    uint64_t number = value_head(old).key, seed = random_next(&w->random);
    must(value_is_whole(old, number));
    if (seed % 8 == 0)
        return TARN_REMOVE;
    if (seed % 8 == 1)
        return TARN_KEEP;
    update->record.expire_ms = any_expiry(w);
    if (seed % 8 == 2)
        return TARN_EXPIRE;
    update->record.value = value_make(w, number, seed, any_size(w));
    return TARN_STORE;
}

static void change_value(struct worker *w)
{
    char text[KEY_SPACE];
    uint64_t number = any_value_key(w);
    struct tarn_bytes key = key_text('v', number, text);
    int status;
    switch (pick(w, 4)) {
    case 0:
        status = tarn_delete(w->session, key);
        break;
    case 1:
        status = tarn_expire(w->session, key, any_expiry(w));
        break;
    case 2:
        status = tarn_update(w->session, key, rewrite, w);
        break;
    default:
        status = tarn_put_if(w->session, key, value_make(w, number, pick(w, 1000), any_size(w)),
                             any_expiry(w), seed_is_even, &number);
        status = status == TARN_CANCELLED ? TARN_OK : status;
    }
    must(is_answer(status));
}

/* --- class a: patched in place --- */

struct patching {
    struct worker *w;
    uint64_t number, words[2];
};

/* Append some of what must follow, or change the version and its inverse. */
static enum tarn_verdict patch(void *context, struct tarn_update *update)
{
    struct patching *p = context;
    struct tarn_bytes old = update->record.value;
    struct head head = value_head(old);
    if (old.data == NULL || old.size > VALUE_MAX - 5000) {
        update->record.value = value_make(p->w, p->number, pick(p->w, 1000), HEAD);
        memset(p->w->space + offsetof(struct head, size), 0, sizeof head.size);
        return TARN_STORE;
    }
    must(value_is_whole(old, p->number));
    if (pick(p->w, 2) == 0) {
        p->words[0] = random_next(&p->w->random);
        p->words[1] = ~p->words[0];
        update->patch = (struct tarn_bytes){p->words, sizeof p->words};
        update->patch_offset = offsetof(struct head, version);
    } else {
        size_t to = old.size + pick(p->w, 625) * 8;
        body_fill(p->w->space, &head, old.size, to);
        update->patch = (struct tarn_bytes){p->w->space + old.size, to - old.size};
        update->patch_offset = old.size;
    }
    return TARN_PATCH;
}

static void patch_value(struct worker *w)
{
    char text[KEY_SPACE];
    struct patching p = {.w = w, .number = pick(w, PATCHED)};
    struct tarn_bytes key = key_text('a', p.number, text), value;
    must(is_answer(tarn_update(w->session, key, patch, &p)));
    p.number = pick(w, PATCHED);
    if (tarn_get(w->session, key_text('a', p.number, text), &value) != TARN_OK)
        return;
    struct head head = value_head(value);
    must(value_is_whole(value, p.number));
    if (pick(w, 4) == 0)
        pass_on(w, value, p.number);
    sched_yield();
    must(value_is_whole(value, p.number) && value_head(value).version == head.version);
}

/* --- class g: groups --- */

static void group_keys(uint64_t group, char texts[MEMBERS][KEY_SPACE],
                       struct tarn_bytes keys[MEMBERS])
{
    for (uint64_t i = 0; i < MEMBERS; i++)
        keys[i] = key_text('g', group * MEMBERS + i, texts[i]);
}

/* All that are there are of one change; some may have been evicted. */
static void check_group(struct worker *w, uint64_t group, const struct tarn_bytes keys[MEMBERS])
{
    struct tarn_bytes values[MEMBERS];
    uint64_t seed = 0;
    size_t found = tarn_get_together(w->session, keys, MEMBERS, values);
    must(!shared.exact || found == 0 || found == MEMBERS);
    for (size_t i = 0; i < MEMBERS; i++) {
        if (values[i].data == NULL)
            continue;
        must(value_is_whole(values[i], group));
        must(seed == 0 || value_head(values[i]).seed == seed);
        seed = value_head(values[i]).seed;
    }
}

static void put_group(struct worker *w, uint64_t group, const struct tarn_bytes keys[MEMBERS])
{
    struct tarn_record records[MEMBERS];
    struct tarn_bytes value =
        value_make(w, group, random_next(&w->random) | 1, HEAD + pick(w, 300));
    unsigned tries = 0;
    int status;
    for (size_t i = 0; i < MEMBERS; i++)
        records[i] = (struct tarn_record){keys[i], value, 0};
    do
        status = tarn_put_many(w->session, records, MEMBERS);
    while (again(w, status, &tries));
    must(status == TARN_OK || status == TARN_FULL);
}

static void delete_group(struct worker *w, uint64_t group, const struct tarn_bytes keys[MEMBERS])
{
    tarn_begin(w->session, keys, MEMBERS);
    check_group(w, group, keys);
    for (size_t i = 0; i < MEMBERS; i++)
        must(is_answer(tarn_delete(w->session, keys[i])));
    tarn_end(w->session);
}

static void use_group(struct worker *w)
{
    char texts[MEMBERS][KEY_SPACE];
    struct tarn_bytes keys[MEMBERS];
    uint64_t group = pick(w, GROUPS);
    group_keys(group, texts, keys);
    switch (pick(w, 4)) {
    case 0:
        put_group(w, group, keys);
        break;
    case 1:
        delete_group(w, group, keys);
        break;
    default:
        check_group(w, group, keys);
    }
}

/* --- class s: tokens in slots --- */

static void move_token(struct worker *w)
{
    char from[KEY_SPACE], to[KEY_SPACE];
    int status = tarn_copy(w->session, key_text('s', pick(w, SLOTS), from),
                           key_text('s', pick(w, SLOTS), to), TARN_COPY_MOVE | TARN_COPY_NEW);
    must(is_answer(status) || status == TARN_DUPLICATE);
}

static void swap_tokens(struct worker *w)
{
    char texts[2][KEY_SPACE];
    uint64_t first = pick(w, SLOTS), second = (first + 1 + pick(w, SLOTS - 1)) % SLOTS;
    struct tarn_bytes values[2],
        keys[] = {key_text('s', first, texts[0]), key_text('s', second, texts[1])};
    tarn_begin(w->session, keys, 2);
    if (tarn_get_together(w->session, keys, 2, values) == 2) {
        struct tarn_record records[] = {{keys[0], values[1], 0}, {keys[1], values[0], 0}};
        must(is_answer(tarn_put_many(w->session, records, 2)));
    }
    tarn_end(w->session);
}

static void check_tokens(struct worker *w)
{
    char texts[SLOTS][KEY_SPACE];
    struct tarn_bytes keys[SLOTS], values[SLOTS];
    bool there[TOKENS] = {false};
    for (uint64_t i = 0; i < SLOTS; i++)
        keys[i] = key_text('s', i, texts[i]);
    size_t found = tarn_get_together(w->session, keys, SLOTS, values);
    must(shared.exact ? found == TOKENS : found <= TOKENS);
    for (size_t i = 0; i < SLOTS; i++) {
        if (values[i].data == NULL)
            continue;
        uint64_t token = value_head(values[i]).key;
        must(token < TOKENS && value_is_whole(values[i], token) && !there[token % TOKENS]);
        there[token % TOKENS] = true;
    }
}

/* --- class c: counters --- */

static uint64_t count_of(struct tarn_bytes value)
{
    uint64_t count = 0;
    must(value.data == NULL || value.size == sizeof count);
    if (value.size == sizeof count)
        memcpy(&count, value.data, sizeof count);
    return count;
}

static void see_count(struct worker *w, uint64_t counter, uint64_t count)
{
    must(!shared.exact || count >= w->counted[counter]);
    w->counted[counter] = count;
}

static void note_count(struct worker *w, uint64_t counter, uint64_t count, int status)
{
    must(status == TARN_OK || status == TARN_FULL);
    if (status == TARN_OK) {
        see_count(w, counter, count);
        atomic_fetch_add(&shared.counts[counter], 1);
    }
}

static enum tarn_verdict increment(void *context, struct tarn_update *update)
{
    uint64_t *count = context;
    *count = count_of(update->record.value) + 1;
    update->record.value = (struct tarn_bytes){count, sizeof *count};
    return TARN_STORE;
}

static void count_up(struct worker *w)
{
    char text[KEY_SPACE];
    uint64_t counter = pick(w, COUNTERS), count;
    struct tarn_bytes key = key_text('c', counter, text);
    int status = tarn_update(w->session, key, increment, &count);
    note_count(w, counter, count, status);
}

/* Read, and write one more if nobody has written since, as WATCH and EXEC do. */
static void count_up_watching(struct worker *w)
{
    char text[KEY_SPACE];
    uint64_t counter = pick(w, COUNTERS);
    struct tarn_bytes value, key = key_text('c', counter, text);
    struct tarn_watch *watch;
    if (tarn_watch_open(w->session, key, &watch) != TARN_OK) {
        must(false);
        return;
    }
    uint64_t count = tarn_get(w->session, key, &value) == TARN_OK ? count_of(value) : 0;
    see_count(w, counter, count);
    if (pick(w, 2) == 0)
        sched_yield();
    tarn_begin(w->session, &key, 1);
    if (tarn_watch_changed(watch)) {
        atomic_fetch_add(&shared.changes, 1);
    } else {
        bool present = tarn_get(w->session, key, &value) == TARN_OK;
        must((present ? count_of(value) : 0) == count);
        count++;
        int status = tarn_put(w->session, key, (struct tarn_bytes){&count, sizeof count}, 0);
        note_count(w, counter, count, status);
        must(status != TARN_OK || tarn_watch_changed(watch));
    }
    tarn_end(w->session);
    tarn_watch_close(watch);
}

/* --- all keys --- */

static void visit(void *context, struct tarn_bytes key, struct tarn_bytes value)
{
    struct worker *w = context;
    char text[KEY_SPACE] = {0};
    unsigned long long number = 0;
    must(key.size < KEY_SPACE);
    memcpy(text, key.data, key.size < KEY_SPACE ? key.size : 0);
    must(sscanf(text + 2, "%llu", &number) == 1);
    w->visited_counters += text[0] == 'c';
    if (text[0] == 'v' || text[0] == 'a')
        must(value_is_whole(value, number));
}

/* Part of a scan that goes on for many turns. */
static void scan_on(struct worker *w)
{
    if (w->cursor == 0)
        w->visited_counters = 0;
    tarn_scan(w->session, &w->cursor, 1 + pick(w, 2000), visit, w);
    if (w->cursor == 0 && shared.exact)
        must(w->visited_counters == COUNTERS);
}

/* All keys at one moment; where nothing need be exact they are flushed in it. */
static void hold_all(struct worker *w)
{
    uint64_t cursor = 0;
    if (pick(w, 40) != 0)
        return;
    tarn_begin(w->session, NULL, 0);
    if (!shared.exact)
        must(tarn_flush(w->session) == TARN_OK);
    w->visited_counters = 0;
    do
        tarn_scan(w->session, &cursor, 1000, visit, w);
    while (cursor != 0);
    must(w->visited_counters == (shared.exact ? COUNTERS : 0));
    tarn_end(w->session);
    w->cursor = 0;
}

static void watch_memory(struct worker *w)
{
    struct tarn_stats stats;
    int64_t charge = (int64_t)pick(w, CHARGE_MAX);
    tarn_charge(shared.store, charge);
    must(tarn_memory_used(shared.store) <= CAP + WORKERS * CHARGE_MAX);
    if (pick(w, 20) == 0) {
        tarn_stats_get(shared.store, &stats);
        must(stats.writable && stats.expiring <= stats.keys && stats.keys < 2 * VALUES);
    }
    tarn_charge(shared.store, -charge);
    if (pick(w, 20) == 0)
        tarn_limit(shared.store, CAP - pick(w, 2) * (CAP / 4), shared.policy);
    if (pick(w, 20) == 0)
        tarn_expire_actively(shared.store, pick(w, 3) != 0);
}

/* --- sessions --- */

static void open_session(struct worker *w)
{
    struct tarn_error error;
    if (tarn_session_open(shared.store, &w->session, &error) != TARN_OK) {
        fprintf(stderr, "%s\n", error.text);
        abort();
    }
    tarn_session_touches(w->session, pick(w, 8) != 0);
}

static void change_session(struct worker *w)
{
    switch (pick(w, 4)) {
    case 0:
        tarn_session_close(w->session);
        open_session(w);
        break;
    case 1:
        tarn_offline(w->session);
        sched_yield();
        tarn_online(w->session);
        break;
    default:
        tarn_quiescent(w->session);
    }
}

static const struct operation {
    void (*run)(struct worker *);
    unsigned weight;
} operations[] = {
    {read_values, 6},  {read_record, 8},  {write_value, 40},      {change_value, 12},
    {patch_value, 8},  {use_group, 8},    {move_token, 6},        {swap_tokens, 3},
    {check_tokens, 2}, {count_up, 6},     {count_up_watching, 8}, {scan_on, 1},
    {hold_all, 1},     {watch_memory, 1}, {change_session, 6},
};

static void any_operation(struct worker *w)
{
    uint64_t total = 0;
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
        total += operations[i].weight;
    uint64_t choice = pick(w, total);
    const struct operation *o = operations;
    while (choice >= o->weight)
        choice -= o++->weight;
    o->run(w);
}

static void *work(void *argument)
{
    struct worker w = {.random = *(uint64_t *)argument, .space = malloc(VALUE_MAX + 8)};
    if (w.space == NULL)
        abort();
    open_session(&w);
    for (unsigned i = 0; i < OPERATIONS; i++) {
        any_operation(&w);
        if (i % 8 == 0)
            tarn_quiescent(w.session);
    }
    tarn_session_close(w.session);
    free(w.space);
    return NULL;
}

/* --- a round --- */

/* Failures are noted until everything is closed: a session left open would hold up later rounds. */
static void fill(struct worker *w)
{
    char text[KEY_SPACE];
    uint64_t zero = 0;
    for (uint64_t i = 0; i < COUNTERS; i++)
        must(put(w, key_text('c', i, text), (struct tarn_bytes){&zero, 8}, 0) == TARN_OK);
    for (uint64_t i = 0; i < TOKENS; i++) {
        struct tarn_bytes value = value_make(w, i, i, i % 8 == 0 ? 20000 : HEAD + i);
        must(put(w, key_text('s', i, text), value, 0) == TARN_OK);
    }
}

static void run_threads(uint64_t seed)
{
    pthread_t threads[WORKERS];
    uint64_t seeds[WORKERS];
    for (unsigned i = 0; i < WORKERS; i++) {
        seeds[i] = seed * WORKERS + i;
        if (pthread_create(&threads[i], NULL, work, &seeds[i]) != 0)
            abort();
    }
    for (unsigned i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
}

static void check_counts(struct worker *w)
{
    char text[KEY_SPACE];
    struct tarn_bytes value;
    for (uint64_t i = 0; i < COUNTERS; i++)
        must(tarn_get(w->session, key_text('c', i, text), &value) == TARN_OK &&
             count_of(value) == atomic_load(&shared.counts[i]));
}

/* What is left is right, and a flush takes it all; what was to happen did. */
static void check_end(struct worker *w)
{
    struct tarn_stats stats;
    if (shared.exact)
        check_counts(w);
    check_tokens(w);
    pass_on(w, (struct tarn_bytes){NULL, 0}, 0);
    tarn_stats_get(shared.store, &stats);
    printf("seen %llu, changed while watched %llu, full %llu, evicted %llu, expired %llu\n",
           (unsigned long long)shared.seen, (unsigned long long)shared.changes,
           (unsigned long long)shared.full, (unsigned long long)stats.evicted_total,
           (unsigned long long)stats.expired_total);
    must(shared.seen > 1000);
    /* two policies take what expires before it does */
    must(stats.expired_total > 0 || stats.evicted_total > 0);
    if (shared.policy == TARN_EVICT_NOTHING)
        must(shared.full > 0 && stats.evicted_total == 0);
    else
        must(stats.evicted_total > 1000);
    must(tarn_flush(w->session) == TARN_OK);
    tarn_stats_get(shared.store, &stats);
    must(stats.keys == 0 && stats.expiring == 0);
}

static void one_round(enum tarn_eviction policy, bool exact)
{
    struct tarn_options options = {.memory_bytes_max = CAP, .eviction = policy};
    struct tarn_error error;
    struct worker w = {.random = 1, .space = malloc(VALUE_MAX + 8)};
    memset(&shared, 0, sizeof shared);
    shared.policy = policy;
    shared.exact = exact;
    if (tarn_open(&options, &shared.store, &error) != TARN_OK)
        fail_msg("%s", error.text);
    open_session(&w);
    fill(&w);
    tarn_offline(w.session);
    printf("policy %d, seed %d: ", (int)policy, (int)policy + 1);
    fflush(stdout);
    run_threads(policy + 1);
    tarn_online(w.session);
    check_end(&w);
    tarn_session_close(w.session);
    tarn_close(shared.store);
    free(w.space);
    assert_int_equal(atomic_load(&shared.bad), 0);
}

static void nothing_is_evicted(void **state)
{
    (void)state;
    one_round(TARN_EVICT_NOTHING, true);
}

static void expiring_sieve(void **state)
{
    (void)state;
    one_round(TARN_EVICT_EXPIRING_SIEVE, true);
}

static void expiring_soonest(void **state)
{
    (void)state;
    one_round(TARN_EVICT_EXPIRING_SOONEST, true);
}

static void all_sieve(void **state)
{
    (void)state;
    one_round(TARN_EVICT_ALL_SIEVE, false);
}

static void all_random(void **state)
{
    (void)state;
    one_round(TARN_EVICT_ALL_RANDOM, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_evicted), cmocka_unit_test(expiring_sieve),
        cmocka_unit_test(expiring_soonest),   cmocka_unit_test(all_sieve),
        cmocka_unit_test(all_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
