/* Goal: a table that rests on a base answers as if the base's records had been put in, whatever is
 * done meanwhile: by whom they are taken in, what is taken out, evicted, flushed, what expires, and
 * when the base cannot be read.
 * Method: random calls of every kind, single and in steps, against a plain model that begins with
 * the base's records; a base whose records stay, and one whose records are taken in, by readers and
 * by a walk through the shards that goes on at random; with room for all, and under each policy,
 * where the journal tells what is evicted. Views are kept and looked at again before they are given
 * back. What the table tells its journal is done by another one that rests on the same base.
 *
 * Bugs planted once to see it fail: a shard done with before its last record is taken in; a flush
 * that forgets the base; an item that covers nothing, as it is put, or in the place of one that
 * does, or when the base could not be asked; a key taken out without a dead item; a key deleted,
 * copied, or copied to that was not taken in before; dead items that count as keys, come alive
 * while time stands still, or are evicted again; records of a shard that is done with, or that
 * items cover, counted twice; a record of the base read after its time; a scan that visits what is
 * for the base's own. */
#include "lib/test.h"

#include <stdlib.h>
#include <string.h>

#include "lib/fake_base.h"
#include "lib/fault_malloc.h"
#include "lib/table_rounds.h"
#include "table/base.h"
#include "table/journal.h"

enum {
    KEYS = 48,
    SHARDS = 6, /* that the keys lie in */
    LARGE_BYTES = 40000,
    ROUNDS = 120 / TEST_SLOWER,
    CALLS = 250,
    HELD_MAX = 64,
    TOLD_MAX = 8192,
};

static struct table_fixture fixture, copy;
static struct fake_base base, copy_base;
static struct tarn_record base_records[KEYS], copy_records[KEYS];
static char texts[KEYS][24];
static struct tarn_bytes keys[KEYS];
static unsigned char bytes[LARGE_BYTES];
static uint64_t random_state;

/* What is true of each key. */
static struct fact {
    bool there;
    int64_t expire_ms;
    struct buffer value;
    uint64_t version; /* counts changes */
    bool in_base;
    bool covered; /* the table must have something of it */
} facts[KEYS];

/* How this round goes. */
static struct {
    bool stays, evicts, timeless, in_step;
    bool failed; /* it could not be asked, now and then, what an item covers */
    enum tarn_eviction eviction;
    bool fails;     /* the base is one that fails now and then */
    uint32_t shard; /* that is being taken in */
    bool forgotten;
    unsigned refused, evicted;
} run;

static uint64_t any(uint64_t limit)
{
    return pick(&random_state, limit);
}

/* --- the model --- */

static bool is_past(int64_t expire_ms)
{
    return expire_ms != 0 && !run.timeless && expire_ms <= table_now_ms(fixture.table);
}

static bool is_live(size_t i)
{
    return facts[i].there && !is_past(facts[i].expire_ms);
}

/* The table takes the key's record in, if it has nothing of the key. */
static void touch(size_t i)
{
    if (facts[i].in_base && is_live(i))
        facts[i].covered = true;
}

static void gone(size_t i)
{
    if (is_live(i))
        facts[i].version++;
    facts[i].there = false;
}

static void set(size_t i, struct tarn_bytes value, int64_t expire_ms)
{
    facts[i].covered = true;
    if (is_past(expire_ms)) {
        gone(i);
        return;
    }
    struct buffer fresh = {0};
    buffer_append(&fresh, value.data, value.size);
    buffer_done(&facts[i].value);
    facts[i].value = fresh;
    facts[i].expire_ms = expire_ms;
    facts[i].there = true;
    facts[i].version++;
}

static void patch(size_t i, struct tarn_bytes piece, size_t offset, int64_t expire_ms)
{
    struct buffer fresh = {0};
    if (is_live(i))
        buffer_append(&fresh, facts[i].value.data, facts[i].value.size);
    while (fresh.size < offset)
        buffer_append_byte(&fresh, 0);
    size_t over = fresh.size - offset < piece.size ? fresh.size - offset : piece.size;
    if (over > 0)
        memcpy(fresh.data + offset, piece.data, over);
    buffer_append(&fresh, (const unsigned char *)piece.data + over, piece.size - over);
    set(i, buffer_view(&fresh), expire_ms);
    buffer_done(&fresh);
}

static size_t index_of(struct tarn_bytes key)
{
    for (size_t i = 0; i < KEYS; i++)
        if (bytes_equal(keys[i], key))
            return i;
    fail_msg("a key that nobody has put: %.*s", (int)key.size, (const char *)key.data);
    return 0;
}

/* --- the journal: what is evicted, and what another table is to do --- */

static struct {
    struct change changes[TOLD_MAX];
    size_t count;
} told;

static struct tarn_bytes own(struct tarn_bytes view)
{
    if (view.data == NULL)
        return view;
    char *data = malloc(view.size + 1);
    assert_non_null(data);
    memcpy(data, view.data, view.size);
    return (struct tarn_bytes){data, view.size};
}

static void keep(const struct change *change)
{
    assert_true(told.count < TOLD_MAX);
    struct change *c = &told.changes[told.count++];
    *c = *change;
    c->key = own(change->key);
    c->value = own(change->value);
}

static uint64_t append(void *context, const struct change *changes, const uint64_t *shards,
                       size_t count)
{
    static uint64_t sequence = 0;
    (void)context;
    (void)shards;
    for (size_t i = 0; i < count; i++) {
        keep(&changes[i]);
        if (run.evicts && !run.in_step && count == 1 && changes[i].kind == CHANGE_DELETE) {
            run.evicted++;
            assert_true(facts[index_of(changes[i].key)].there);
            gone(index_of(changes[i].key));
        }
    }
    return sequence += count;
}

static uint64_t failed(void *context)
{
    (void)context;
    return UINT64_MAX;
}

static const struct table_journal journal = {NULL, append, failed};

static void forget_told(void)
{
    for (size_t i = 0; i < told.count; i++) {
        free((void *)(uintptr_t)told.changes[i].key.data);
        free((void *)(uintptr_t)told.changes[i].value.data);
    }
    told.count = 0;
}

/* --- views that are kept --- */

static struct held {
    struct tarn_bytes view;
    uint64_t sum;
} held[HELD_MAX];
static size_t held_count;

static uint64_t sum_of(struct tarn_bytes view)
{
    static const unsigned char secret[HASH_SECRET_BYTES];
    return hash_key(secret, view);
}

static void hold(struct tarn_bytes view)
{
    if (held_count < HELD_MAX)
        held[held_count++] = (struct held){view, sum_of(view)};
}

static void look_again(void)
{
    for (size_t i = 0; i < held_count; i++)
        assert_true(sum_of(held[i].view) == held[i].sum);
}

static void let_go(void)
{
    struct held pinned = {{NULL, 0}, 0};
    struct item_large *pin = NULL;
    look_again();
    for (size_t i = 0; i < held_count && pin == NULL && !run.stays; i++)
        if (held[i].view.size >= TARN_PIN_BYTES_MIN) {
            pinned = held[i];
            pin = table_pin(pinned.view);
        }
    held_count = 0;
    fixture_quiescent(fixture.session);
    if (any(4) == 0)
        (void)reclaim_round(fixture.table->reclaim);
    if (run.evicts)
        (void)table_make_room(fixture.session);
    if (pin != NULL)
        assert_true(sum_of(pinned.view) == pinned.sum);
    table_unpin(pin);
}

/* --- calls --- */

static struct tarn_bytes any_value(void)
{
    size_t size = any(run.evicts ? 2 : 6) == 0 ? 16000 + any(20000) : any(run.evicts ? 900 : 40);
    return (struct tarn_bytes){bytes + any(LARGE_BYTES - size), size};
}

static int64_t any_expiry(void)
{
    return any(3) != 0 ? 0 : table_now_ms(fixture.table) - 5 + (int64_t)any(1000);
}

static bool is_fact(size_t i, struct tarn_bytes value)
{
    return value.data != NULL && bytes_equal(value, buffer_view(&facts[i].value));
}

/* The base may be failing, or memory may be short: then nothing has changed. */
static bool is_refused(int status)
{
    int fails = atomic_load(&base.fails);
    bool refused = (fails != TARN_OK && status == fails) || (run.evicts && status == TARN_FULL);
    run.refused += refused;
    return refused;
}

/* What was read of a key that was (was: then) live when the call began; it may have been evicted
 * by what the call has taken in. */
static void check_read(size_t i, bool was, struct tarn_bytes value)
{
    if (value.data == NULL && value.size != 0) {
        if (!is_refused((int)value.size))
            fail_msg("status %d", (int)value.size);
        return;
    }
    if (value.data == NULL && was && run.evicts && !is_live(i))
        return;
    assert_int_equal(value.data != NULL, was);
    if (was && !is_fact(i, value))
        fail_msg("key %zu has another value of %zu bytes", i, value.size);
    if (was)
        hold(value);
}

static void call_get(size_t i)
{
    struct tarn_record record = {.value = {NULL, 0}};
    bool was = is_live(i);
    int64_t expire_ms = facts[i].expire_ms;
    int status = table_get(fixture.session, keys[i], &record);
    if (status < 0) {
        record.value.size = (size_t)status;
    } else if (status == TARN_OK) {
        assert_non_null(record.value.data);
        assert_true(record.expire_ms == expire_ms && bytes_equal(record.key, keys[i]));
    }
    check_read(i, was, record.value);
}

static void call_get_several(bool together)
{
    struct tarn_bytes wanted[80], values[80];
    size_t indexes[80], count = 1 + any(any(4) == 0 ? 80 : 8);
    bool was[80];
    for (size_t n = 0; n < count; n++) {
        indexes[n] = any(KEYS);
        wanted[n] = keys[indexes[n]];
        was[n] = is_live(indexes[n]);
    }
    size_t found = together ? table_get_together(fixture.session, wanted, count, values)
                            : table_get_many(fixture.session, wanted, count, values);
    for (size_t n = 0; n < count; n++) {
        check_read(indexes[n], was[n], values[n]);
        found -= values[n].data != NULL;
    }
    assert_int_equal(found, 0);
}

static void call_about(size_t i)
{
    struct table_about about;
    bool was = is_live(i);
    int status = table_about(fixture.session, keys[i], &about);
    if (is_refused(status) || (was && run.evicts && !is_live(i)))
        return;
    assert_int_equal(status, was ? TARN_OK : TARN_NOTFOUND);
    if (was)
        assert_true(about.expire_ms == facts[i].expire_ms &&
                    about.item_bytes >= keys[i].size + facts[i].value.size);
}

static void call_put(size_t i)
{
    struct tarn_record record = {keys[i], any_value(), any_expiry()};
    int status = table_put(fixture.session, &record);
    if (is_refused(status))
        return;
    assert_int_equal(status, TARN_OK);
    if (is_past(record.expire_ms)) {
        touch(i);
        gone(i);
    } else {
        set(i, record.value, record.expire_ms);
    }
}

static void call_put_many(const size_t *allowed, size_t allowed_count)
{
    struct tarn_record records[8];
    size_t indexes[8], count = 1 + any(8);
    for (size_t n = 0; n < count; n++) {
        indexes[n] = allowed[any(allowed_count)];
        records[n] = (struct tarn_record){keys[indexes[n]], any_value(), any_expiry()};
    }
    int status = table_put_many(fixture.session, records, count);
    for (size_t n = 0; n < count; n++)
        if (is_past(records[n].expire_ms) && status == TARN_OK)
            touch(indexes[n]);
    if (is_refused(status))
        return;
    assert_int_equal(status, TARN_OK);
    for (size_t n = 0; n < count; n++) {
        if (is_past(records[n].expire_ms))
            gone(indexes[n]);
        else
            set(indexes[n], records[n].value, records[n].expire_ms);
    }
}

static void check_present(size_t i, const struct tarn_record *present)
{
    assert_int_equal(present->value.data != NULL, is_live(i));
    if (is_live(i)) {
        assert_true(is_fact(i, present->value));
        assert_true(present->expire_ms == facts[i].expire_ms);
    }
}

struct condition {
    size_t i;
    bool holds;
};

static bool check_condition(void *context, const struct tarn_record *present)
{
    const struct condition *c = context;
    check_present(c->i, present);
    return c->holds;
}

static void call_put_if(size_t i)
{
    struct tarn_record record = {keys[i], any_value(), any_expiry()};
    struct condition condition = {i, any(2) == 0};
    int status = table_put_if(fixture.session, &record, check_condition, &condition);
    if (is_refused(status))
        return;
    assert_int_equal(status, condition.holds ? TARN_OK : TARN_CANCELLED);
    touch(i);
    if (condition.holds && is_past(record.expire_ms))
        gone(i);
    else if (condition.holds)
        set(i, record.value, record.expire_ms);
}

static void call_delete(size_t i)
{
    bool was = is_live(i);
    int status = table_delete(fixture.session, keys[i]);
    if (is_refused(status) || (run.evicts && was && !is_live(i)))
        return;
    assert_int_equal(status, was ? TARN_OK : TARN_NOTFOUND);
    touch(i);
    gone(i);
}

struct updating {
    size_t i;
    enum tarn_verdict verdict;
    struct tarn_bytes value, patch;
    size_t offset;
    int64_t expire_ms;
};

static enum tarn_verdict update(void *context, struct tarn_update *u)
{
    struct updating *w = context;
    check_present(w->i, &u->record);
    bool there = u->record.value.data != NULL;
    if (w->verdict == TARN_STORE && there && any(4) == 0) { /* a part of the old */
        w->value = u->record.value;
        w->value.size = any(w->value.size + 1);
    }
    w->offset = any(there ? u->record.value.size + 10 : 10);
    u->record.value = w->value;
    u->record.expire_ms = w->expire_ms;
    u->patch = w->patch;
    u->patch_offset = w->offset;
    return w->verdict;
}

static void note_update(const struct updating *w)
{
    size_t i = w->i;
    touch(i);
    if (w->verdict == TARN_STORE || w->verdict == TARN_PATCH) {
        if (is_past(w->expire_ms))
            gone(i);
        else if (w->verdict == TARN_STORE)
            set(i, w->value, w->expire_ms);
        else
            patch(i, w->patch, w->offset, w->expire_ms);
    } else if (w->verdict == TARN_EXPIRE && is_live(i)) {
        if (is_past(w->expire_ms))
            gone(i);
        else
            set(i, buffer_view(&facts[i].value), w->expire_ms);
    } else if (w->verdict == TARN_REMOVE) {
        gone(i);
    }
}

static void call_update(size_t i)
{
    struct updating w = {.i = i,
                         .verdict = (enum tarn_verdict)any(TARN_REMOVE + 1),
                         .value = any_value(),
                         .patch = {bytes + any(1000), any(50)},
                         .expire_ms = any_expiry()};
    int status = table_update(fixture.session, keys[i], update, &w);
    if (is_refused(status))
        return;
    assert_int_equal(status, TARN_OK);
    note_update(&w);
}

static void call_copy(size_t i, size_t j)
{
    unsigned flags = (unsigned)any(4);
    bool was = is_live(i);
    int64_t expire_ms = facts[i].expire_ms;
    int status = table_copy(fixture.session, keys[i], keys[j], flags);
    if (is_refused(status))
        return;
    if (i != j) {
        touch(i);
        touch(j);
    }
    if (status == TARN_NOTFOUND) {
        assert_false(is_live(i));
    } else if (status == TARN_DUPLICATE) {
        assert_true((flags & TARN_COPY_NEW) && is_live(j));
    } else {
        assert_int_equal(status, TARN_OK);
        assert_true(was && (i == j || !(flags & TARN_COPY_NEW) || !is_live(j)));
        if (i == j)
            return;
        set(j, buffer_view(&facts[i].value), expire_ms);
        if (flags & TARN_COPY_MOVE)
            gone(i);
    }
}

static void call_flush(void)
{
    assert_int_equal(table_flush(fixture.session), TARN_OK);
    for (size_t i = 0; i < KEYS; i++) {
        gone(i);
        facts[i].covered = true;
    }
}

static void call_apply(size_t i)
{
    struct change change = {.kind = (enum change_kind)(CHANGE_PUT + any(4)),
                            .key = keys[i],
                            .value = any_value(),
                            .offset = any(100),
                            .expire_ms = any_expiry()};
    int status = table_apply(fixture.session, &change);
    if (is_refused(status))
        return;
    assert_int_equal(status, TARN_OK);
    touch(i);
    if (change.kind == CHANGE_PUT)
        set(i, change.value, change.expire_ms);
    else if (change.kind == CHANGE_DELETE)
        gone(i);
    else if (change.kind == CHANGE_EXPIRE && is_live(i))
        set(i, buffer_view(&facts[i].value), change.expire_ms);
    else if (change.kind == CHANGE_PATCH && is_live(i))
        patch(i, change.value, (size_t)change.offset, change.expire_ms);
}

/* --- all of it at once --- */

static void visit_live(void *context, struct tarn_bytes key, struct tarn_bytes value)
{
    bool *seen = context;
    size_t i = index_of(key);
    assert_true(!seen[i] && is_live(i) && is_fact(i, value));
    seen[i] = true;
}

/* Who has a base that stays scans it, too: there its keys are visited. */
static void call_scan(void)
{
    bool seen[KEYS] = {false}, rests = table_base_rests(fixture.table, TABLE_SHARDS - 1);
    uint64_t cursor = 0;
    do
        table_scan(fixture.session, &cursor, 5, visit_live, seen);
    while (cursor != 0);
    for (size_t i = 0; i < KEYS; i++)
        if (run.stays && rests && (facts[i].in_base || run.failed))
            assert_false(seen[i] && facts[i].in_base);
        else if (seen[i] != is_live(i))
            assert_true(!run.forgotten && !facts[i].covered);
}

struct ordered {
    uint64_t before;
    size_t count;
    bool seen[KEYS];
};

static int visit_ordered(void *context, uint64_t hash, const struct tarn_record *record)
{
    struct ordered *o = context;
    size_t i = index_of(record->key);
    assert_true(hash == fake_base_hash(fixture.table, record->key));
    assert_true(o->count++ == 0 || hash > o->before);
    o->before = hash;
    assert_false(o->seen[i]);
    o->seen[i] = true;
    assert_int_equal(record->value.data != NULL, is_live(i));
    if (is_live(i))
        assert_true(is_fact(i, record->value) && record->expire_ms == facts[i].expire_ms);
    return TARN_OK;
}

/* What is not visited is as the base says, if the shard rests on it, else not there. */
static void call_scan_ordered(void)
{
    struct ordered o = {.before = 0};
    for (uint32_t shard = 0; shard < SHARDS; shard++)
        assert_int_equal(table_scan_ordered(fixture.session, shard, visit_ordered, &o), TARN_OK);
    for (size_t i = 0; i < KEYS; i++)
        if (!o.seen[i] && is_live(i))
            assert_true(facts[i].in_base && !facts[i].covered &&
                        table_base_rests(fixture.table, table_place(fixture.table, keys[i]).shard));
}

static void call_random_key(void)
{
    struct tarn_bytes key;
    bool live = false;
    int status = table_random_key(fixture.session, random_next(&random_state), &key);
    for (size_t i = 0; i < KEYS; i++)
        live |= is_live(i);
    if (status == TARN_OK)
        assert_true(is_live(index_of(key)));
    else
        assert_true(!live || !run.forgotten);
}

/* --- watches --- */

static struct {
    struct table_watch *watch;
    size_t i;
    uint64_t version;
    int64_t expire_ms;
} watched;

static void call_watch(size_t i)
{
    if (watched.watch == NULL) {
        int status = table_watch_open(fixture.session, keys[i], &watched.watch);
        if (is_refused(status))
            return;
        assert_int_equal(status, TARN_OK);
        touch(i);
        watched.i = i;
        watched.version = facts[i].version;
        watched.expire_ms = is_live(i) ? facts[i].expire_ms : 0;
        return;
    }
    bool changed = facts[watched.i].version != watched.version || is_past(watched.expire_ms);
    assert_int_equal(table_watch_changed(watched.watch), changed);
    if (any(3) == 0) {
        table_watch_close(watched.watch);
        watched.watch = NULL;
    }
}

/* --- a shard after the other is taken in --- */

static void take_in_some(void)
{
    size_t from = fake_base_shard(&base, run.shard), to = fake_base_shard(&base, run.shard + 1);
    if (run.stays || run.shard == TABLE_SHARDS)
        return;
    if (any(3) == 0 && to > from) { /* not all of them, in between */
        size_t at = from + any(to - from);
        int status = table_adopt(fixture.session, base.records + at, 1 + any(to - at));
        assert_true(status == TARN_OK || is_refused(status));
        return;
    }
    int status = fake_base_take_in(&base, fixture.session, run.shard);
    if (is_refused(status))
        return;
    assert_int_equal(status, TARN_OK);
    assert_false(table_base_rests(fixture.table, run.shard));
    run.shard++;
}

/* --- counting --- */

static bool expired_lately(void)
{
    int64_t now_ms = table_now_ms(fixture.table);
    for (size_t i = 0; i < KEYS; i++)
        if (facts[i].there && facts[i].expire_ms != 0 && facts[i].expire_ms > now_ms - 300 &&
            facts[i].expire_ms <= now_ms)
            return true;
    return false;
}

/* Exact when what has expired was swept; what nobody has looked for in a base that stays is not. */
static void check_keys(void)
{
    uint64_t expected = 0, own = 0;
    bool rests = table_base_rests(fixture.table, 0);
    if (run.evicts || run.timeless || (run.stays ? run.failed : run.shard < TABLE_SHARDS))
        return;
    while (expired_lately())
        fixture_advance_ms(&fixture, 300);
    held_count = 0;
    rounds_settle(&fixture);
    for (size_t i = 0; i < KEYS; i++) {
        expected += is_live(i) || (run.stays && facts[i].in_base && !facts[i].covered);
        own += is_live(i) && !(rests && facts[i].in_base);
    }
    struct tarn_stats stats;
    table_stats_get(fixture.table, &stats);
    assert_int_equal(stats.keys, expected);
    assert_int_equal(table_own_keys(fixture.table), own);
}

static void take_in_all(void)
{
    while (!run.stays && run.shard < TABLE_SHARDS) {
        int status = fake_base_take_in(&base, fixture.session, run.shard);
        if (is_refused(status)) {
            let_go();
            if (!table_make_room(fixture.session))
                table_limit(fixture.table, 0, run.eviction);
            continue;
        }
        assert_int_equal(status, TARN_OK);
        run.shard++;
    }
    if (run.stays || run.forgotten)
        return;
    check_keys();
    fake_base_forget(&base);
    run.forgotten = true;
}

/* --- any of these --- */

static void call_write(const size_t *allowed, size_t count)
{
    size_t i = allowed[any(count)];
    switch (any(40)) {
    case 0 ... 6:
        call_put(i);
        break;
    case 7 ... 11:
        call_delete(i);
        break;
    case 12 ... 23:
        call_update(i);
        break;
    case 24 ... 27:
        call_put_many(allowed, count);
        break;
    case 28 ... 31:
        call_copy(i, allowed[any(count)]);
        break;
    case 32 ... 35:
        call_put_if(i);
        break;
    default:
        if (run.timeless)
            call_apply(i);
    }
}

static void call_read(size_t i)
{
    switch (any(4)) {
    case 0:
        call_get_several(any(2) == 0);
        break;
    case 1:
        call_about(i);
        break;
    default:
        call_get(i);
    }
}

static const size_t *all_keys(void)
{
    static size_t indexes[KEYS];
    for (size_t i = 0; i < KEYS; i++)
        indexes[i] = i;
    return indexes;
}

/* With some keys, or with everything. */
static void call_step(void)
{
    struct tarn_bytes begun[4];
    size_t allowed[4], count = 1 + any(4);
    bool everything = any(6) == 0;
    for (size_t n = 0; n < count; n++) {
        allowed[n] = any(KEYS);
        begun[n] = keys[allowed[n]];
        if (!everything && atomic_load(&base.fails) == TARN_OK && !run.evicts)
            touch(allowed[n]);
    }
    table_begin(fixture.session, everything ? NULL : begun, count);
    run.in_step = true;
    for (uint64_t n = any(8); n > 0; n--) {
        if (any(3) == 0)
            call_read(any(KEYS));
        else
            call_write(everything ? all_keys() : allowed, everything ? KEYS : count);
    }
    if (everything && any(12) == 0)
        call_flush();
    table_end(fixture.session);
    run.in_step = false;
}

static void call_rarely(void)
{
    switch (any(24)) {
    case 0:
        if (any(10) == 0)
            call_flush();
        break;
    case 1 ... 4:
        call_scan_ordered();
        break;
    case 5 ... 6:
        call_scan();
        break;
    case 7 ... 9:
        call_random_key();
        break;
    case 10 ... 17:
        call_watch(any(KEYS));
        break;
    case 18 ... 20:
        check_keys();
        break;
    default:
        fixture_advance_ms(&fixture, any(60));
    }
}

static void call_any(void)
{
    bool fails = run.fails && any(20) == 0 && !run.forgotten;
    if (fails)
        atomic_store(&base.fails, any(2) ? TARN_IO : TARN_CORRUPT);
    if (fails && run.stays)
        run.failed = true;
    switch (any(16)) {
    case 0 ... 4:
        call_read(any(KEYS));
        break;
    case 5 ... 10:
        call_write(all_keys(), KEYS);
        break;
    case 11 ... 12:
        call_step();
        break;
    case 13:
        take_in_some();
        break;
    default:
        call_rarely();
    }
    atomic_store(&base.fails, TARN_OK);
    if (any(3) == 0)
        let_go();
}

/* --- rounds --- */

/* The same keys, values and expiries in two bases, of which each has its own order. */
static size_t make_records(void)
{
    size_t count = 0;
    for (size_t i = 0; i < KEYS; i++) {
        buffer_done(&facts[i].value);
        facts[i] = (struct fact){.in_base = any(3) != 0};
        struct tarn_bytes value = any_value();
        int64_t expire_ms = any(3) != 0 ? 0 : FIXTURE_START_MS - 5 + (int64_t)any(1000);
        if (!facts[i].in_base)
            continue;
        base_records[count] = copy_records[count] = (struct tarn_record){keys[i], value, expire_ms};
        count++;
        buffer_append(&facts[i].value, value.data, value.size);
        facts[i].there = true;
        facts[i].expire_ms = expire_ms;
    }
    return count;
}

static void count_one(void *context, struct tarn_bytes key, struct tarn_bytes value)
{
    (void)key;
    (void)value;
    ++*(uint64_t *)context;
}

/* Of those that were deleted unread, too, none counts. */
static void check_copy_keys(void)
{
    uint64_t count = 0, cursor = 0;
    struct tarn_stats stats;
    for (uint32_t shard = 0; shard < TABLE_SHARDS; shard++)
        assert_int_equal(fake_base_take_in(&copy_base, copy.session, shard), TARN_OK);
    assert_int_equal(table_fit(copy.session), TARN_OK);
    fake_base_forget(&copy_base);
    do
        table_scan(copy.session, &cursor, 100, count_one, &count);
    while (cursor != 0);
    table_stats_get(copy.table, &stats);
    assert_int_equal(stats.keys, count);
}

/* Another table on the same records, of the other kind, does what was told, and then has the same.
 */
static void do_the_same(void)
{
    fixture_open(&copy, 0, TARN_EVICT_NOTHING);
    fake_base_set(&copy_base, &copy, copy_records, base.count, !run.stays);
    table_stop_time(copy.table, 0);
    for (size_t i = 0; i < told.count; i++) {
        assert_int_equal(table_apply(copy.session, &told.changes[i]), TARN_OK);
        if (!copy_base.stays && i % 8 == 0)
            assert_int_equal(fake_base_take_in(&copy_base, copy.session, (uint32_t)any(SHARDS)),
                             TARN_OK);
        fixture_quiescent(copy.session);
    }
    if (!copy_base.stays)
        check_copy_keys();
    atomic_store(&copy.clock_ns, atomic_load(&fixture.clock_ns));
    table_start_time(copy.table);
    for (size_t i = 0; i < KEYS; i++) {
        struct tarn_record record;
        int status = table_get(copy.session, keys[i], &record);
        assert_int_equal(status, is_live(i) ? TARN_OK : TARN_NOTFOUND);
        if (is_live(i))
            assert_true(is_fact(i, record.value) && record.expire_ms == facts[i].expire_ms);
    }
    fixture_close(&copy);
}

static void begin_round(uint64_t seed, bool stays, enum tarn_eviction eviction)
{
    random_state = seed;
    memset(&run, 0, sizeof run);
    run.stays = stays;
    run.eviction = eviction;
    run.evicts = eviction != TARN_EVICT_NOTHING;
    rounds_open(&fixture, 0, eviction);
    uint64_t from = 0;
    for (size_t i = 0; i < KEYS; i++)
        keys[i] = fixture_key(fixture.table, SHARDS, &from, texts[i]);
    fake_base_set(&base, &fixture, base_records, make_records(), stays);
    if (run.evicts)
        table_limit(fixture.table, table_memory_used(fixture.table) + (800u << 10), eviction);
    table_begin(fixture.session, NULL, 0);
    table_journal_set(fixture.table, &journal);
    table_end(fixture.session);
}

static void end_round(void)
{
    if (watched.watch != NULL)
        table_watch_close(watched.watch);
    watched.watch = NULL;
    let_go();
    fixture_close(&fixture);
    forget_told();
}

static void play(uint64_t seed, bool stays, enum tarn_eviction eviction)
{
    begin_round(seed, stays, eviction);
    run.fails = any(2) == 0;
    if (any(3) == 0) {
        table_stop_time(fixture.table, 0);
        run.timeless = true;
    }
    for (unsigned n = 0; n < CALLS; n++) {
        if (n == CALLS / 3 && run.timeless) {
            table_start_time(fixture.table);
            run.timeless = false;
        }
        if (n == CALLS / 4 * 3 && any(2) == 0)
            take_in_all();
        call_any();
    }
    take_in_all();
    for (size_t i = 0; i < KEYS; i++)
        call_get(i);
    call_scan();
    call_scan_ordered();
    check_keys();
    do_the_same();
}

static void rounds_of(bool stays, enum tarn_eviction eviction, uint64_t from, unsigned rounds)
{
    unsigned refused = 0, evicted = 0;
    for (uint64_t seed = from; seed < from + rounds; seed++) {
        printf("seed %llu\r", (unsigned long long)seed);
        fflush(stdout);
        play(seed, stays, eviction);
        refused += run.refused;
        evicted += run.evicted;
        end_round();
    }
    printf("%u rounds: %u times refused, %u evicted\n", rounds, refused, evicted);
    assert_true(refused > rounds / 4 && (evicted > rounds || eviction == TARN_EVICT_NOTHING));
}

static void taken_in(void **state)
{
    (void)state;
    rounds_of(false, TARN_EVICT_NOTHING, 1000, ROUNDS);
}

static void stays(void **state)
{
    (void)state;
    rounds_of(true, TARN_EVICT_NOTHING, 2000, ROUNDS);
}

static void evicted(void **state)
{
    (void)state;
    for (int policy = TARN_EVICT_ALL_SIEVE; policy <= TARN_EVICT_EXPIRING_SOONEST; policy++)
        for (int i = 0; i < 2; i++)
            rounds_of(i == 0, (enum tarn_eviction)policy, 3000 + (uint64_t)policy * 100 + 50u * i,
                      ROUNDS / 4);
}

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 31 + i / 251);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(taken_in),
        cmocka_unit_test(stays),
        cmocka_unit_test(evicted),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
