/* See crash_run.h.
 *
 * How: what a change did is written down right after its call, with the sequence that the session
 * got (its calls do not wait for durability, so that this is the change's own), and that it was
 * acknowledged after waiting for that, if the disk had not stopped by then. A single thread's calls
 * may wait, too, or be without sequences (durability `none`): its changes are in the order of its
 * calls. The state after a recovery must be that after some number of changes, and that number not
 * below any change that had to survive. */
#include "lib/crash_run.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/history.h"
#include "lib/store_look.h"
#include "lib/turns.h"
#include "store/store.h"

#define DIRECTORY     "/db"
#define THREADS_MAX   3
#define CYCLES_MAX    4
#define FAILURE_BYTES 1024
#define ROOM_SECONDS  30 /* there is room again: then the log goes on, or never */

struct run {
    uint64_t random;
    struct crash_tally *tally;
    char *failure; /* "": none yet */
    struct simulated_disk disk;
    struct history history;
    struct tarn *store;
    struct tarn_options options;
    struct tarn_dial dial;
    unsigned row;          /* of the tally */
    unsigned threads;      /* 1: changes are in the order of calls */
    bool turns_dial;       /* meanwhile */
    unsigned turned;       /* how often so far; odd: it is being turned */
    bool sequenced;        /* all changes since it was opened have a sequence */
    unsigned changes_left; /* to be made before it is closed */
    uint64_t next_id;
    uint64_t highest;    /* sequence of a change since it was opened, by one thread */
    uint64_t seen_power; /* sequence that was told to be durable */
    bool closed;         /* it was closed before, not crashed */
    bool fails_sync;     /* a sync is going to fail, or did, since it was opened */
    bool limited;        /* the disk is small ... */
    bool was_limited;    /* ... or was, since it was opened */
    pthread_mutex_t lock;
};

struct worker {
    struct run *run;
    struct tarn_session *session;
    bool defers;
    uint64_t random;
    pthread_t thread;
};

const char *crash_dial_name(unsigned dial)
{
    static const char *const names[] = {"none", "async", "periodic", "commit", "turned"};
    return names[dial];
}

static void note_failure(struct run *r, uint64_t *count, const char *format, va_list arguments)
{
    if (r->failure[0])
        return;
    ++*count;
    vsnprintf(r->failure, FAILURE_BYTES, format, arguments);
}

__attribute__((format(printf, 2, 3))) static void fail(struct run *r, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    note_failure(r, &r->tally->wrong, format, arguments);
    va_end(arguments);
}

/* What had to be there is not. */
__attribute__((format(printf, 2, 3))) static void lose(struct run *r, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    note_failure(r, &r->tally->losses, format, arguments);
    va_end(arguments);
}

__attribute__((format(printf, 2, 3))) static void trace(struct run *r, const char *format, ...)
{
    va_list arguments;
    if (r->disk.trace == NULL)
        return;
    va_start(arguments, format);
    vfprintf(r->disk.trace, format, arguments);
    va_end(arguments);
    fprintf(r->disk.trace, "\n");
}

static void trace_effects(struct run *r, const struct history_step *step)
{
    static const char *const names[] = {"", "put", "delete", "expire", "patch", "flush"};
    for (unsigned i = 0; i < step->count; i++) {
        const struct history_effect *e = &step->effects[i];
        trace(r, "    %s key %u: %zu bytes at %zu, expiry %lld, source %u%s", names[e->kind],
              e->key, e->size, e->offset, (long long)e->expire_ms, e->source,
              e->anew ? ", anew" : "");
    }
}

static uint64_t below(uint64_t *random, uint64_t limit)
{
    return random_below(random_next(random), limit);
}

/* 1..most, small numbers as likely as large ones. */
static uint64_t any_size(uint64_t *random, uint64_t most)
{
    unsigned bits = 64 - (unsigned)__builtin_clzll(most);
    uint64_t n = 1 + below(random, (uint64_t)1 << below(random, bits + 1));
    return n < most ? n : most;
}

/* --- acknowledgements --- */

struct moment {
    unsigned turned;
    enum tarn_durability durability;
};

static struct moment moment(const struct run *r)
{
    return (struct moment){r->turned, r->dial.durability};
}

/* What the dial promises of a change acknowledged between then and now. */
static enum history_must promise(const struct run *r, struct moment then, enum tarn_level level)
{
    if (level == TARN_DURABLE)
        return MUST_SURVIVE_POWER_LOSS;
    if (level == TARN_WRITTEN)
        return MUST_SURVIVE_KILL;
    if (then.turned != r->turned || then.turned % 2 == 1)
        return MUST_NOT;
    return then.durability == TARN_DURABILITY_COMMIT     ? MUST_SURVIVE_POWER_LOSS
           : then.durability == TARN_DURABILITY_PERIODIC ? MUST_SURVIVE_KILL
                                                         : MUST_NOT;
}

static void acknowledge(struct run *r, size_t op, enum history_must must, enum tarn_level level,
                        uint64_t asked_ns)
{
    if (disk_stopped(&r->disk))
        return;
    struct history_op *o = &r->history.ops[op];
    o->acknowledged |= level != TARN_WRITTEN; /* which promises less than `commit` does */
    o->asked_ns = asked_ns;
    o->told_ns = turns_now_ns();
    if (o->must < must)
        o->must = must;
    trace(r, "change %zu acknowledged, must %d", op, (int)must);
}

/* The first changes must survive. */
static void must_all(struct run *r, size_t count)
{
    for (size_t i = 0; i < count; i++)
        r->history.ops[i].must = MUST_SURVIVE_POWER_LOSS;
}

static int await(struct worker *w, uint64_t sequence, enum tarn_level level)
{
    /* with a full disk it may take for ever */
    uint64_t timeout_us = level != TARN_ACKNOWLEDGED && w->run->limited ? 10000000 : 0;
    tarn_offline(w->session);
    int status = tarn_await(w->run->store, sequence, level, timeout_us);
    tarn_online(w->session);
    return status;
}

static enum tarn_level any_level(struct worker *w)
{
    uint64_t n = below(&w->random, 20);
    if (w->run->dial.durability == TARN_DURABILITY_NONE || w->run->turns_dial)
        return TARN_ACKNOWLEDGED;
    return n == 0 ? TARN_DURABLE : n == 1 ? TARN_WRITTEN : TARN_ACKNOWLEDGED;
}

/* Did it change nothing? An expiry that was the key's already: a single thread then sees a sequence
 * that it has had before. */
static bool is_vain(struct run *r, const struct history_step *step, uint64_t sequence)
{
    if (r->threads > 1 || sequence > r->highest) {
        r->highest = sequence;
        return false;
    }
    for (unsigned i = 0; i < step->count; i++)
        if (step->effects[i].kind != CHANGE_EXPIRE)
            fail(r, "a change got sequence %llu after %llu", (unsigned long long)sequence,
                 (unsigned long long)r->highest);
    return true;
}

/* A change was made and the call gave `status`: write it down, wait for it. */
static void made(struct worker *w, const struct history_step *step, int status, struct moment then,
                 uint64_t asked_ns)
{
    struct run *r = w->run;
    uint64_t sequence = tarn_session_sequence(w->session);
    if (sequence == 0 && r->threads > 1)
        return; /* an expiry that was the key's already */
    if (w->defers && sequence == UINT64_MAX)
        return; /* the log failed before it was told of it */
    if (w->defers && sequence != 0 && is_vain(r, step, sequence))
        return;
    if (w->defers && sequence == 0)
        r->sequenced = false;
    if (!w->defers) {
        r->sequenced = false;
        sequence = 0;
    }
    size_t op = history_add(&r->history, step, sequence);
    trace(r, "change %zu: sequence %llu, status %d", op, (unsigned long long)sequence, status);
    trace_effects(r, step);
    if (!w->defers) {
        if (status >= 0)
            acknowledge(r, op, promise(r, then, TARN_ACKNOWLEDGED), TARN_ACKNOWLEDGED, asked_ns);
        return;
    }
    if (sequence == 0 || below(&w->random, 4) == 0)
        return;
    enum tarn_level level = any_level(w);
    then = moment(r);
    if (await(w, sequence, level) == TARN_OK)
        acknowledge(r, op, promise(r, then, level), level, asked_ns);
}

/* --- changes --- */

static unsigned any_key(struct worker *w)
{
    return (unsigned)below(&w->random, HISTORY_KEYS);
}

static size_t any_value_size(struct worker *w)
{
    switch (below(&w->random, 16)) {
    case 0:
        return 0;
    case 1:
        return below(&w->random, 5000);
    case 2:
        return below(&w->random, 40) == 0 ? below(&w->random, 200000) : 512;
    default:
        return below(&w->random, 120);
    }
}

static int64_t any_expiry(struct worker *w)
{
    int64_t now_ms = tarn_now_ms(w->run->store);
    switch (below(&w->random, 10)) {
    case 0:
        return now_ms + 1 + (int64_t)below(&w->random, 300);
    case 1:
    case 2:
        return now_ms + 1000000 + (int64_t)below(&w->random, 1000000);
    default:
        return 0;
    }
}

struct made_value {
    uint64_t id;
    struct tarn_bytes bytes; /* the caller frees data */
};

static struct made_value make_value(struct worker *w)
{
    struct made_value v = {.id = ++w->run->next_id, .bytes.size = any_value_size(w)};
    unsigned char *data = malloc(v.bytes.size + 1);
    if (data == NULL)
        abort();
    history_fill(v.id, data, v.bytes.size);
    v.bytes.data = data;
    return v;
}

static void free_value(const struct made_value *v)
{
    free((void *)(uintptr_t)v->bytes.data);
}

/* Did the call do it, as far as one can know? */
static bool done(int status)
{
    return status == TARN_OK || status == TARN_UNSURE;
}

static int do_put(struct worker *w, struct history_step *step, unsigned key)
{
    struct made_value v = make_value(w);
    int64_t expire_ms = any_expiry(w);
    int status = tarn_put(w->session, history_key(key), v.bytes, expire_ms);
    if (done(status))
        history_put(step, key, v.id, v.bytes.size, expire_ms);
    free_value(&v);
    return status;
}

static int do_delete(struct worker *w, struct history_step *step, unsigned key)
{
    int status = tarn_delete(w->session, history_key(key));
    if (done(status))
        history_delete(step, key);
    return status;
}

/* Would this expiry change nothing, and nothing tell so? A change that is not one, answered at once
 * long after the last that was, would count among those lost. */
static bool is_silent(struct worker *w, unsigned key, int64_t expire_ms)
{
    int64_t present_ms;
    return !w->defers && tarn_get_expiry(w->session, history_key(key), &present_ms) == TARN_OK &&
           present_ms == expire_ms;
}

static int do_expire(struct worker *w, struct history_step *step, unsigned key)
{
    int64_t expire_ms = below(&w->random, 8) == 0 ? 1 : any_expiry(w);
    if (is_silent(w, key, expire_ms))
        return TARN_OK;
    int status = tarn_expire(w->session, history_key(key), expire_ms);
    if (!done(status))
        return status;
    if (expire_ms == 1)
        history_delete(step, key);
    else
        history_expire(step, key, expire_ms);
    return status;
}

struct patch {
    struct worker *worker;
    struct made_value value;
    size_t offset;
    int64_t expire_ms;
    bool anew, stores;
};

static enum tarn_verdict patch(void *context, struct tarn_update *update)
{
    struct patch *p = context;
    p->anew = update->record.value.data == NULL;
    p->expire_ms = update->record.expire_ms;
    if (p->stores) {
        update->record.value = p->value.bytes;
        return TARN_STORE;
    }
    size_t size = update->record.value.size;
    p->offset = below(&p->worker->random, 2) ? size : below(&p->worker->random, size + 20);
    update->patch = p->value.bytes;
    update->patch_offset = p->offset;
    return TARN_PATCH;
}

static int do_update(struct worker *w, struct history_step *step, unsigned key)
{
    struct patch p = {.worker = w, .value = make_value(w), .stores = below(&w->random, 3) == 0};
    int status = tarn_update(w->session, history_key(key), patch, &p);
    if (done(status) && p.stores)
        history_put(step, key, p.value.id, p.value.bytes.size, p.expire_ms);
    else if (done(status))
        history_patch(step, key, p.value.id, p.value.bytes.size, p.offset, p.expire_ms, p.anew);
    free_value(&p.value);
    return status;
}

static int do_copy(struct worker *w, struct history_step *step, unsigned source)
{
    unsigned target = (source + 1 + (unsigned)below(&w->random, HISTORY_KEYS - 1)) % HISTORY_KEYS;
    bool moves = below(&w->random, 2);
    int status =
        tarn_copy(w->session, history_key(source), history_key(target), moves ? TARN_COPY_MOVE : 0);
    if (!done(status))
        return status;
    history_copy(step, source, target);
    if (moves)
        history_delete(step, source);
    return status;
}

static bool is_absent(void *context, const struct tarn_record *present)
{
    (void)context;
    return present->value.data == NULL;
}

static int do_put_if(struct worker *w, struct history_step *step, unsigned key)
{
    struct made_value v = make_value(w);
    int status = tarn_put_if(w->session, history_key(key), v.bytes, 0, is_absent, NULL);
    if (done(status))
        history_put(step, key, v.id, v.bytes.size, 0);
    free_value(&v);
    return status;
}

#define MANY_MAX 5

static int do_put_many(struct worker *w, struct history_step *step)
{
    struct made_value values[MANY_MAX];
    struct tarn_record records[MANY_MAX];
    unsigned keys[MANY_MAX], count = 1 + (unsigned)below(&w->random, MANY_MAX);
    for (unsigned i = 0; i < count; i++) {
        keys[i] = any_key(w);
        values[i] = make_value(w);
        records[i] = (struct tarn_record){history_key(keys[i]), values[i].bytes, any_expiry(w)};
    }
    int status = tarn_put_many(w->session, records, count);
    for (unsigned i = 0; i < count; i++) {
        if (done(status))
            history_put(step, keys[i], values[i].id, values[i].bytes.size, records[i].expire_ms);
        free_value(&values[i]);
    }
    return status;
}

static int do_one(struct worker *w, struct history_step *step, unsigned key)
{
    switch (below(&w->random, 16)) {
    case 0:
    case 1:
        return do_delete(w, step, key);
    case 2:
        return do_expire(w, step, key);
    case 3:
    case 4:
    case 5:
        return do_update(w, step, key);
    case 6:
        return do_put_if(w, step, key);
    default:
        return do_put(w, step, key);
    }
}

/* Several changes as one step; it fails as a whole if the log fails. */
static int do_step(struct worker *w, struct history_step *step)
{
    unsigned keys[MANY_MAX], count = 1 + (unsigned)below(&w->random, MANY_MAX);
    struct tarn_bytes names[MANY_MAX];
    int status = TARN_OK;
    for (unsigned i = 0; i < count; i++) {
        keys[i] = any_key(w);
        names[i] = history_key(keys[i]);
    }
    tarn_begin(w->session, names, count);
    for (unsigned i = 0; i < count; i++) {
        int one = do_one(w, step, keys[below(&w->random, count)]);
        if (one < 0)
            status = one;
    }
    int ended = tarn_end(w->session);
    return ended != TARN_OK ? ended : status;
}

static int do_flush(struct worker *w, struct history_step *step)
{
    int status = tarn_flush(w->session);
    if (done(status))
        history_flush(step);
    return status;
}

static int do_change(struct worker *w, struct history_step *step)
{
    switch (below(&w->random, 32)) {
    case 0:
        return do_flush(w, step);
    case 1:
    case 2:
    case 3:
        return do_copy(w, step, any_key(w));
    case 4:
    case 5:
    case 6:
        return do_put_many(w, step);
    case 7:
    case 8:
    case 9:
        return do_step(w, step);
    default:
        return do_one(w, step, any_key(w));
    }
}

static void change(struct worker *w)
{
    struct run *r = w->run;
    struct history_step step = {.count = 0};
    struct moment then = moment(r);
    uint64_t asked_ns = turns_now_ns();
    int status = do_change(w, &step);
    if (step.count > 0)
        made(w, &step, status, then, asked_ns);
    else
        (void)tarn_session_sequence(w->session); /* nothing was changed */
    if (status < 0 && status != TARN_IO && status != TARN_UNSURE && status != TARN_NOSPACE &&
        status != TARN_CANCELLED)
        fail(r, "a change gave status %d: %s", status, tarn_status_text(status));
}

/* --- reading, checkpoints, the dial --- */

/* Under `commit` what was read must be there for good. */
static void read_key(struct worker *w)
{
    struct run *r = w->run;
    struct tarn_bytes value;
    struct moment then = moment(r);
    int status = tarn_get(w->session, history_key(any_key(w)), &value);
    uint64_t sequence = tarn_session_sequence(w->session);
    if (!w->defers || status < 0)
        return;
    if (sequence != 0 && await(w, sequence, TARN_ACKNOWLEDGED) != TARN_OK)
        return;
    if (promise(r, then, TARN_ACKNOWLEDGED) == MUST_SURVIVE_POWER_LOSS && !disk_stopped(&r->disk) &&
        sequence > r->seen_power)
        r->seen_power = sequence;
}

static void checkpoint(struct worker *w)
{
    struct run *r = w->run;
    size_t count = r->history.count;
    struct tarn_error error;
    if (below(&w->random, 3) == 0) {
        int started = tarn_checkpoint_start(r->store);
        if (started != TARN_OK && started != TARN_BUSY)
            fail(r, "a checkpoint does not start: status %d", started);
        return;
    }
    tarn_offline(w->session);
    int status = tarn_checkpoint(r->store, &error);
    tarn_online(w->session);
    trace(r, "checkpoint: status %d", status);
    if (status == TARN_OK) {
        if (!disk_stopped(&r->disk))
            must_all(r, count);
        r->tally->checkpoints++;
    } else if (status != TARN_BUSY && !r->fails_sync && !r->was_limited &&
               !disk_stopped(&r->disk)) {
        fail(r, "a checkpoint failed: %s", error.text);
    }
}

static struct tarn_dial any_dial(uint64_t *random)
{
    static const uint64_t log_bytes[] = {0, 0, 2000, 20000, 200000};
    return (struct tarn_dial){
        .durability = (enum tarn_durability)below(random, 4),
        .queue_depth = any_size(random, 200),
        .period_us = any_size(random, 3000),
        .log_format = (enum tarn_log_format)below(random, 3),
        .log_bytes_max = log_bytes[below(random, 5)],
    };
}

static void turn_dial(struct worker *w)
{
    struct run *r = w->run;
    struct tarn_dial dial = any_dial(&w->random);
    struct tarn_error error;
    size_t count = r->history.count;
    bool begins = r->dial.durability == TARN_DURABILITY_NONE;
    r->turned++;
    tarn_offline(w->session);
    int status = tarn_dial_set(r->store, &dial, &error);
    tarn_online(w->session);
    trace(r, "dial: status %d, durability %d", status, (int)dial.durability);
    if (status == TARN_OK) {
        r->dial = dial;
        if (begins && dial.durability != TARN_DURABILITY_NONE && !disk_stopped(&r->disk))
            must_all(r, count);
    } else if (!r->fails_sync && !r->was_limited && !disk_stopped(&r->disk)) {
        fail(r, "the dial does not turn: %s", error.text);
    }
    r->turned++;
}

static void pause_for(struct worker *w)
{
    struct timespec time = {.tv_nsec = (long)any_size(&w->random, 200000000)};
    tarn_offline(w->session);
    nanosleep(&time, NULL);
    tarn_online(w->session);
}

/* There is room again: writing goes on by itself. */
static void make_room(struct worker *w)
{
    struct run *r = w->run;
    disk_limit(&r->disk, 0);
    r->limited = false;
    if (r->threads > 1 || r->fails_sync)
        return;
    struct tarn_log_stats stats;
    int seconds = 0;
    do { /* a thread that is to try again may be kept from it for a while */
        tarn_offline(w->session);
        nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
        tarn_online(w->session);
        tarn_log_stats_get(r->store, &stats);
    } while (stats.state == TARN_NOSPACE && !disk_stopped(&r->disk) && ++seconds < ROOM_SECONDS);
    if (stats.state != TARN_OK && !disk_stopped(&r->disk))
        fail(r, "there is room again, but the log's state is %d: %s", stats.state, stats.failure);
}

static void act(struct worker *w)
{
    uint64_t n = below(&w->random, 100);
    if (w->run->limited && below(&w->random, 30) == 0)
        make_room(w);
    if (n < 8)
        read_key(w);
    else if (n < 10)
        checkpoint(w);
    else if (n < 12 && w->run->turns_dial)
        turn_dial(w);
    else if (n < 18)
        pause_for(w);
    else
        change(w);
    if (below(&w->random, 3) == 0)
        tarn_quiescent(w->session);
}

static void *work(void *argument)
{
    struct worker *w = argument;
    struct run *r = w->run;
    struct tarn_error error;
    if (tarn_session_open(r->store, &w->session, &error) != TARN_OK) {
        fail(r, "no session: %s", error.text);
        return NULL;
    }
    tarn_session_defers(w->session, w->defers);
    while (!disk_stopped(&r->disk) && !r->failure[0] && r->changes_left > 0) {
        r->changes_left--;
        act(w);
    }
    tarn_session_close(w->session);
    return NULL;
}

static void work_all(struct run *r)
{
    struct worker workers[THREADS_MAX] = {0};
    for (unsigned i = 0; i < r->threads; i++) {
        workers[i] = (struct worker){.run = r, .random = random_next(&r->random)};
        workers[i].defers = r->threads > 1 || below(&r->random, 2);
    }
    for (unsigned i = 1; i < r->threads; i++)
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            abort();
    (void)work(&workers[0]);
    for (unsigned i = 1; i < r->threads; i++)
        pthread_join(workers[i].thread, NULL);
}

/* --- judging --- */

/* Bounds that depend on the dial: of those lost, `asynchronous` allows so many changes and
 * `periodic` those of two periods. */
static void judge_lost(struct run *r, size_t kept, enum disk_end end, uint64_t recovered)
{
    const struct history *h = &r->history;
    uint64_t asked_last = 0, told_first = UINT64_MAX, sequence_last = 0;
    for (size_t i = kept; i < h->count; i++) {
        const struct history_op *op = &h->ops[i];
        if (!op->acknowledged)
            continue;
        if (op->asked_ns > asked_last)
            asked_last = op->asked_ns;
        if (op->told_ns < told_first)
            told_first = op->told_ns;
        if (op->sequence > sequence_last)
            sequence_last = op->sequence;
    }
    if (r->turned > 0 || told_first == UINT64_MAX)
        return;
    if (r->dial.durability == TARN_DURABILITY_PERIODIC && asked_last > told_first &&
        asked_last - told_first > 2 * r->dial.period_us * 1000)
        lose(r, "periodic, %llu us: acknowledgements of %llu us are lost",
             (unsigned long long)r->dial.period_us,
             (unsigned long long)(asked_last - told_first) / 1000);
    if (r->dial.durability == TARN_DURABILITY_ASYNC && end == DISK_KILLED && r->sequenced &&
        sequence_last > recovered && sequence_last - recovered > r->dial.queue_depth)
        lose(r, "async, queue depth %llu: %llu acknowledged changes are lost",
             (unsigned long long)r->dial.queue_depth,
             (unsigned long long)(sequence_last - recovered));
}

static void count_lost(struct run *r, size_t kept, enum disk_end end)
{
    struct crash_row *row = &r->tally->rows[r->row][end];
    uint64_t lost = 0;
    for (size_t i = 0; i < r->history.count; i++) {
        row->acknowledged += r->history.ops[i].acknowledged;
        lost += i >= kept && r->history.ops[i].acknowledged;
    }
    row->crashes++;
    row->lost += lost;
    if (lost > row->lost_most)
        row->lost_most = lost;
}

static void judge_sequence(struct run *r, size_t lowest, size_t highest,
                           const struct tarn_log_stats *stats)
{
    const struct history *h = &r->history;
    uint64_t recovered = stats->recovered_sequence;
    if (recovered < r->seen_power)
        lose(r, "sequence %llu was read, and only %llu is there", (unsigned long long)r->seen_power,
             (unsigned long long)recovered);
    if (!r->sequenced)
        return;
    size_t kept = 0;
    while (kept < h->count && h->ops[kept].sequence <= recovered)
        kept++;
    if (kept < lowest || kept > highest)
        fail(r, "it says that sequence %llu was recovered (%zu changes), but holds %zu to %zu",
             (unsigned long long)recovered, kept, lowest, highest);
}

/* Judge what the opened store holds; it is what counts from now on. */
static void judge(struct run *r, enum disk_end end)
{
    struct history_value seen[HISTORY_KEYS] = {0};
    struct tarn_log_stats stats;
    int64_t time_ms[2] = {0, 0};
    size_t lowest = 0, highest = 0;
    char failure[STORE_LOOK_FAILURE_BYTES];
    tarn_log_stats_get(r->store, &stats);
    trace(r, "recovered: sequence %llu, %llu bytes truncated, closed cleanly %d",
          (unsigned long long)stats.recovered_sequence, (unsigned long long)stats.truncated_bytes,
          stats.closed_cleanly);
    store_look(r->store, seen, time_ms, failure);
    if (failure[0])
        fail(r, "%s", failure);
    if (r->threads > 1 && !history_sort(&r->history))
        fail(r, "two changes got the same sequence");
    size_t needed =
        r->closed ? r->history.count
                  : history_required(&r->history, end == DISK_KILLED ? MUST_SURVIVE_KILL
                                                                     : MUST_SURVIVE_POWER_LOSS);
    bool found = history_find(&r->history, seen, time_ms, &lowest, &highest);
    if (!found && !r->failure[0]) {
        fail(r, "what it holds is not what it held after any number of changes (%zu)",
             r->history.count);
        history_print(&r->history, needed, seen, time_ms);
    }
    if (found && highest < needed)
        lose(r, "%zu changes of %zu are there, %zu had to survive", highest, r->history.count,
             needed);
    if (found && !r->closed) {
        judge_sequence(r, lowest, highest, &stats);
        judge_lost(r, highest, end, stats.recovered_sequence);
        count_lost(r, highest, end);
    }
    if (r->closed && !stats.closed_cleanly)
        fail(r, "it was closed, and does not know");
    r->tally->torn += stats.truncated_bytes > 0;
    r->tally->closed += stats.closed_cleanly;
    history_values_done(seen);
    history_keep(&r->history, found ? highest : 0);
}

/* --- lives --- */

static void plan_faults(struct run *r)
{
    if (below(&r->random, 8) == 0) {
        disk_fail_sync(&r->disk, any_size(&r->random, 40));
        r->fails_sync = true;
        r->tally->failed_syncs++;
    }
    if (below(&r->random, 8) == 0) {
        disk_limit(&r->disk, disk_used(&r->disk) + below(&r->random, 100000));
        r->limited = r->was_limited = true;
        r->tally->full++;
    }
}

static void plan_options(struct run *r)
{
    struct tarn_dial dial = any_dial(&r->random);
    dial.durability = (enum tarn_durability)(r->row < 4 ? r->row : below(&r->random, 4));
    r->options = (struct tarn_options){
        .directory = DIRECTORY,
        .dial = dial,
        .log_files = (unsigned)any_size(&r->random, 4),
        .checkpoint_at_close = below(&r->random, 4) == 0,
        .load_bytes_max = below(&r->random, 2), /* its checkpoint at once, or in the background */
    };
    r->fails_sync = r->limited = r->was_limited = false;
}

/* What was done before has been judged. */
static void begin_work(struct run *r)
{
    r->dial = r->options.dial;
    r->turned = 0;
    r->sequenced = true;
    r->seen_power = r->highest = 0;
    r->closed = false;
}

static bool open_store(struct run *r)
{
    struct tarn_error error = {.text = ""};
    int status = store_open(&r->disk.os, &r->options, &r->store, &error);
    r->tally->opened++;
    trace(r, "open: status %d %s; durability %d, queue %llu, period %llu us, format %d, files %u",
          status, error.text, (int)r->options.dial.durability,
          (unsigned long long)r->options.dial.queue_depth,
          (unsigned long long)r->options.dial.period_us, (int)r->options.dial.log_format,
          r->options.log_files);
    if (status == TARN_OK)
        return true;
    r->store = NULL;
    if (disk_stopped(&r->disk))
        r->tally->in_recovery++;
    else if (!(r->fails_sync && (status == TARN_IO || status == TARN_UNSURE)) &&
             !(r->was_limited && status == TARN_NOSPACE))
        fail(r, "it does not open: %s", error.text);
    return false;
}

static void close_store(struct run *r)
{
    bool keeps_all = r->dial.durability != TARN_DURABILITY_NONE || r->options.checkpoint_at_close;
    trace(r, "close");
    tarn_close(r->store);
    r->closed = keeps_all && !r->fails_sync && !r->was_limited && !disk_stopped(&r->disk);
}

/* From opening to its end. `before`: how it ended before; returns how it did now. */
static enum disk_end live(struct run *r, enum disk_end before, bool last)
{
    enum disk_end end = (enum disk_end)below(&r->random, 2);
    bool crashes = !last && below(&r->random, 5) > 0;
    bool stops = crashes && below(&r->random, 5) > 0;
    plan_options(r);
    if (!last)
        plan_faults(r);
    if (stops)
        disk_stop_at(&r->disk, any_size(&r->random, 400));
    if (open_store(r)) {
        judge(r, before);
        begin_work(r);
        if (!last && !r->failure[0]) {
            r->changes_left = (unsigned)any_size(&r->random, 150);
            work_all(r);
        }
        if (crashes)
            disk_stop(&r->disk);
        close_store(r);
    } else {
        if (r->closed)
            must_all(r, r->history.count);
        r->closed = false;
        if (before == DISK_POWER_LOST) /* what was in danger still is */
            end = before;
    }
    disk_limit(&r->disk, 0);
    trace(r, "ends: %s", end == DISK_KILLED ? "killed" : "power lost");
    disk_restart(&r->disk, end, random_next(&r->random));
    return end;
}

bool crash_run(uint64_t seed, struct crash_tally *tally, FILE *trace_to,
               char failure[FAILURE_BYTES])
{
    struct run *r = calloc(1, sizeof *r);
    if (r == NULL)
        abort();
    r->random = random_mix(seed);
    r->tally = tally;
    r->failure = failure;
    failure[0] = 0;
    turns_begin(random_next(&r->random));
    disk_init(&r->disk, random_next(&r->random));
    r->disk.trace = trace_to;
    history_init(&r->history);
    r->row = (unsigned)(seed % CRASH_DIALS);
    r->turns_dial = r->row == 4;
    r->threads = r->row == TARN_DURABILITY_NONE || r->turns_dial
                     ? 1
                     : 1 + (unsigned)below(&r->random, THREADS_MAX);
    unsigned cycles = 1 + (unsigned)below(&r->random, CYCLES_MAX);
    enum disk_end end = DISK_KILLED;
    for (unsigned i = 0; i <= cycles && !failure[0]; i++)
        end = live(r, end, i == cycles);
    history_done(&r->history);
    disk_done(&r->disk);
    turns_end();
    tally->runs++;
    bool good = failure[0] == 0;
    free(r);
    return good;
}
