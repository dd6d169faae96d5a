/* See crash_script.h.
 *
 * How: step i of a script is made from the seed and i alone. Steps say what becomes of keys
 * whatever is there (a copy of a key that is not there, an expiry of one, do nothing), so the
 * reader need not know what the calls returned. Messages are of one size, written whole. */
#include "lib/crash_script.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/store_look.h"
#include "store/store.h"

enum message_kind { SAYS_OPENED, SAYS_BEGINS, SAYS_DONE, SAYS_CLOSED, SAYS_ERROR };

struct message {
    enum message_kind kind;
    unsigned step;
    uint64_t time_ns;
    char text[200];
};

enum action { ACT_CHANGE, ACT_MOVE, ACT_MANY, ACT_STEP, ACT_CHECKPOINT, ACT_FORMAT };

static uint64_t below(uint64_t *random, uint64_t limit)
{
    return random_below(random_next(random), limit);
}

void script_init(struct script *s, uint64_t seed, enum tarn_durability durability, unsigned count,
                 const char *directory)
{
    static const uint64_t log_bytes[] = {0, 3000, 30000};
    uint64_t random = random_mix(seed);
    *s = (struct script){.seed = seed, .count = count, .directory = directory};
    s->options = (struct tarn_options){
        .directory = directory,
        .log_files = 1 + (unsigned)below(&random, 3),
        .checkpoint_at_close = below(&random, 3) == 0,
        .dial = {.durability = durability,
                 .queue_depth = 1 + below(&random, 20),
                 .period_us = 1 + below(&random, 20000),
                 .log_format = (enum tarn_log_format)below(&random, 3),
                 .log_bytes_max = log_bytes[below(&random, 3)]},
    };
}

/* --- what step i is --- */

static void add_change(struct history_step *step, uint64_t *random, bool plain)
{
    unsigned key = (unsigned)below(random, HISTORY_KEYS);
    uint64_t id = random_next(random);
    size_t size = below(random, 20) == 0 ? below(random, 20000) : below(random, 200);
    int64_t expire_ms = below(random, 5) == 0 ? INT64_C(4000000000000) + (int64_t)size : 0;
    uint64_t n = plain ? 9 : below(random, 10);
    if (n == 0)
        history_delete(step, key);
    else if (n == 1)
        history_expire(step, key, expire_ms);
    else if (n == 2)
        history_patch(step, key, id, size, below(random, 300), 0, false);
    else
        history_put(step, key, id, size, expire_ms);
}

static enum action make_step(const struct script *s, unsigned index, struct history_step *step)
{
    uint64_t random = random_mix(s->seed + index * UINT64_C(0x9e3779b97f4a7c15)) ^ s->seed;
    uint64_t n = below(&random, 40), count = 1 + below(&random, 4);
    *step = (struct history_step){.count = 0};
    if (n == 0)
        return ACT_CHECKPOINT;
    if (n == 1)
        return ACT_FORMAT;
    if (n == 2) {
        history_flush(step);
        return ACT_CHANGE;
    }
    if (n < 6) {
        unsigned source = (unsigned)below(&random, HISTORY_KEYS);
        history_copy(step, source, (source + (unsigned)count) % HISTORY_KEYS);
        if (n == 3)
            return ACT_CHANGE;
        history_delete(step, source);
        return ACT_MOVE;
    }
    if (n < 12) {
        for (uint64_t i = 0; i < count; i++)
            add_change(step, &random, n < 9);
        return n < 9 ? ACT_MANY : ACT_STEP;
    }
    add_change(step, &random, false);
    return ACT_CHANGE;
}

/* --- playing --- */

static unsigned char *make_value(const struct history_effect *e)
{
    unsigned char *data = malloc(e->size + 1);
    if (data == NULL)
        abort();
    history_fill(e->id, data, e->size);
    return data;
}

struct patch {
    const struct history_effect *effect;
    const unsigned char *data;
};

static enum tarn_verdict patch(void *context, struct tarn_update *update)
{
    const struct patch *p = context;
    update->record.expire_ms = p->effect->expire_ms;
    update->patch = (struct tarn_bytes){p->data, p->effect->size};
    update->patch_offset = p->effect->offset;
    return TARN_PATCH;
}

static int play_effect(struct tarn_session *session, const struct history_effect *e, bool moves)
{
    struct tarn_bytes key = history_key(e->key);
    unsigned char *data;
    int status;
    switch (e->kind) {
    case CHANGE_DELETE:
        return tarn_delete(session, key);
    case CHANGE_EXPIRE:
        return tarn_expire(session, key, e->expire_ms);
    case CHANGE_FLUSH:
        return tarn_flush(session);
    default:
        break;
    }
    if (e->source < HISTORY_KEYS)
        return tarn_copy(session, history_key(e->source), key, moves ? TARN_COPY_MOVE : 0);
    data = make_value(e);
    status = e->kind == CHANGE_PATCH
                 ? tarn_update(session, key, patch, &(struct patch){e, data})
                 : tarn_put(session, key, (struct tarn_bytes){data, e->size}, e->expire_ms);
    free(data);
    return status;
}

static int play_many(struct tarn_session *session, const struct history_step *step)
{
    struct tarn_record records[HISTORY_STEP_EFFECTS];
    for (unsigned i = 0; i < step->count; i++) {
        const struct history_effect *e = &step->effects[i];
        records[i] =
            (struct tarn_record){history_key(e->key), {make_value(e), e->size}, e->expire_ms};
    }
    int status = tarn_put_many(session, records, step->count);
    for (unsigned i = 0; i < step->count; i++)
        free((void *)(uintptr_t)records[i].value.data);
    return status;
}

static int play_step(struct tarn_session *session, const struct history_step *step)
{
    struct tarn_bytes keys[HISTORY_STEP_EFFECTS];
    int status = TARN_OK;
    for (unsigned i = 0; i < step->count; i++)
        keys[i] = history_key(step->effects[i].key);
    tarn_begin(session, keys, step->count);
    for (unsigned i = 0; i < step->count && status >= 0; i++)
        status = play_effect(session, &step->effects[i], false);
    int ended = tarn_end(session);
    return ended != TARN_OK ? ended : status < 0 ? status : TARN_OK;
}

static int play(struct tarn *store, struct tarn_session *session, const struct script *s,
                enum action action, const struct history_step *step)
{
    struct tarn_dial dial = s->options.dial;
    int status;
    switch (action) {
    case ACT_MOVE:
        return play_effect(session, &step->effects[0], true);
    case ACT_MANY:
        return play_many(session, step);
    case ACT_STEP:
        return play_step(session, step);
    case ACT_CHECKPOINT:
        tarn_offline(session);
        status = tarn_checkpoint(store, NULL);
        tarn_online(session);
        return status == TARN_BUSY ? TARN_NOTFOUND : status;
    case ACT_FORMAT:
        dial.log_format = (dial.log_format + 1) % 3;
        tarn_offline(session);
        status = tarn_dial_set(store, &dial, NULL);
        tarn_online(session);
        return status == TARN_OK ? TARN_NOTFOUND : status;
    default:
        return play_effect(session, &step->effects[0], false);
    }
}

static void tell(int pipe, const struct os *os, enum message_kind kind, unsigned step,
                 const char *text)
{
    struct message m = {.kind = kind, .step = step, .time_ns = os->monotonic_ns(os)};
    snprintf(m.text, sizeof m.text, "%s", text);
    if (write(pipe, &m, sizeof m) != (ssize_t)sizeof m)
        _exit(3); /* nobody listens */
}

void script_play(const struct script *s, const struct os *os, int pipe)
{
    struct tarn *store;
    struct tarn_session *session;
    struct tarn_error error;
    const struct os *clock = os_real();
    int status = store_open(os, &s->options, &store, &error);
    if (status != TARN_OK) {
        tell(pipe, clock, SAYS_ERROR, 0, error.text);
        return;
    }
    tell(pipe, clock, SAYS_OPENED, 0, "");
    if (tarn_session_open(store, &session, &error) != TARN_OK)
        abort();
    for (unsigned i = 0; i < s->count && status >= 0; i++) {
        struct history_step step;
        enum action action = make_step(s, i, &step);
        tell(pipe, clock, SAYS_BEGINS, i, "");
        status = play(store, session, s, action, &step);
        if (status == TARN_OK)
            tell(pipe, clock, SAYS_DONE, i, "");
        else if (status < 0)
            tell(pipe, clock, SAYS_ERROR, i, tarn_status_text(status));
        tarn_quiescent(session);
    }
    tarn_session_close(session);
    tarn_close(store);
    if (status >= 0)
        tell(pipe, clock, SAYS_CLOSED, 0, "");
}

/* --- hearing --- */

static enum history_must promise(const struct script *s)
{
    return s->options.dial.durability == TARN_DURABILITY_COMMIT     ? MUST_SURVIVE_POWER_LOSS
           : s->options.dial.durability == TARN_DURABILITY_PERIODIC ? MUST_SURVIVE_KILL
                                                                    : MUST_NOT;
}

static void must_all(struct history *h)
{
    for (size_t i = 0; i < h->count; i++)
        h->ops[i].must = MUST_SURVIVE_POWER_LOSS;
}

static void hear_done(const struct script *s, const struct message *m, struct history *h,
                      struct script_heard *heard)
{
    struct history_step step;
    if (make_step(s, m->step, &step) == ACT_CHECKPOINT) {
        must_all(h);
        return;
    }
    struct history_op *op = &h->ops[h->count - 1];
    op->acknowledged = true;
    op->told_ns = m->time_ns;
    op->must = promise(s);
    heard->acknowledged++;
}

static void hear(const struct script *s, const struct message *m, struct history *h,
                 struct script_heard *heard)
{
    struct history_step step;
    switch (m->kind) {
    case SAYS_OPENED:
        heard->opened = true;
        heard->phase = s->count > 0 ? SCRIPT_CHANGES : SCRIPT_CLOSES;
        break;
    case SAYS_BEGINS:
        heard->phase =
            make_step(s, m->step, &step) == ACT_CHECKPOINT ? SCRIPT_CHECKPOINTS : SCRIPT_CHANGES;
        if (step.count > 0) {
            size_t op = history_add(h, &step, 0); /* which moves them */
            h->ops[op].asked_ns = m->time_ns;
        }
        break;
    case SAYS_DONE:
        if (m->step + 1 == s->count)
            heard->phase = SCRIPT_CLOSES;
        if (!heard->late)
            hear_done(s, m, h, heard);
        break;
    case SAYS_CLOSED:
        if (heard->late)
            break;
        heard->closed = true;
        /* One that only opened has what was left, which nobody has looked at. */
        if (s->count > 0 &&
            (s->options.dial.durability != TARN_DURABILITY_NONE || s->options.checkpoint_at_close))
            must_all(h);
        break;
    case SAYS_ERROR:
        snprintf(heard->error, sizeof heard->error, "%s", m->text);
        break;
    }
}

void script_hear(const struct script *s, int pipe, unsigned upto, struct history *h,
                 struct script_heard *heard)
{
    struct message m;
    while (upto == 0 || heard->acknowledged < upto) {
        ssize_t size = read(pipe, &m, sizeof m);
        if (size < 0 && errno == EINTR)
            continue;
        if (size != (ssize_t)sizeof m) /* the end; nothing now */
            return;
        hear(s, &m, h, heard);
    }
}

/* --- judging --- */

static bool always_changes(const struct history_op *op)
{
    return op->step.effects[0].kind == CHANGE_PUT && op->step.effects[0].source == HISTORY_KEYS;
}

/* Is what was lost more than the dial allows to lose? */
static bool is_too_much(const struct script *s, const struct history *h, size_t kept,
                        enum disk_end end, struct script_tally *tally, char failure[1024])
{
    const struct tarn_dial *dial = &s->options.dial;
    uint64_t asked_last = 0, told_first = UINT64_MAX, lost = 0, changes = 0;
    for (size_t i = kept; i < h->count; i++) {
        const struct history_op *op = &h->ops[i];
        if (!op->acknowledged)
            continue;
        lost++;
        changes += always_changes(op);
        asked_last = op->asked_ns > asked_last ? op->asked_ns : asked_last;
        told_first = op->told_ns < told_first ? op->told_ns : told_first;
    }
    tally->lost += lost;
    tally->lost_most = lost > tally->lost_most ? lost : tally->lost_most;
    if (dial->durability == TARN_DURABILITY_ASYNC && end == DISK_KILLED &&
        changes > dial->queue_depth)
        snprintf(failure, 1024, "async, queue depth %llu: %llu acknowledged changes are lost",
                 (unsigned long long)dial->queue_depth, (unsigned long long)changes);
    else if (dial->durability == TARN_DURABILITY_PERIODIC && lost > 0 && asked_last > told_first &&
             asked_last - told_first > 2 * dial->period_us * 1000)
        snprintf(failure, 1024, "periodic, %llu us: acknowledgements of %llu us are lost",
                 (unsigned long long)dial->period_us,
                 (unsigned long long)(asked_last - told_first) / 1000);
    return failure[0] != 0;
}

static bool judge_seen(const struct script *s, struct history *h, enum disk_end end,
                       const struct history_value *seen, const int64_t time_ms[2],
                       struct script_tally *tally, char failure[1024])
{
    size_t lowest, highest,
        needed =
            history_required(h, end == DISK_KILLED ? MUST_SURVIVE_KILL : MUST_SURVIVE_POWER_LOSS);
    if (!history_find(h, seen, time_ms, &lowest, &highest)) {
        tally->wrong++;
        snprintf(failure, 1024, "what it holds is not what it held after any number of changes");
        history_print(h, needed, seen, time_ms);
        return false;
    }
    if (highest < needed)
        snprintf(failure, 1024, "%zu changes of %zu are there, %zu had to survive", highest,
                 h->count, needed);
    if (highest < needed || is_too_much(s, h, highest, end, tally, failure)) {
        tally->losses++;
        return false;
    }
    history_keep(h, highest);
    return true;
}

bool script_judge(const struct script *s, const struct os *os, struct history *h,
                  const struct script_heard *heard, enum disk_end end, struct script_tally *tally,
                  char failure[1024])
{
    struct history_value seen[HISTORY_KEYS] = {0};
    struct tarn_options options = s->options;
    struct tarn_log_stats stats;
    struct tarn *store;
    struct tarn_error error;
    int64_t time_ms[2];
    failure[0] = 0;
    tally->points++;
    tally->acknowledged += heard->acknowledged;
    options.checkpoint_at_close = tally->points % 3 == 0;
    if (store_open(os, &options, &store, &error) != TARN_OK) {
        tally->wrong++;
        snprintf(failure, 1024, "it does not open: %s", error.text);
        return false;
    }
    tarn_log_stats_get(store, &stats);
    store_look(store, seen, time_ms, failure);
    tarn_close(store);
    if (!failure[0] && heard->closed && !stats.closed_cleanly)
        snprintf(failure, 1024, "it was closed, and does not know");
    tally->wrong += failure[0] != 0;
    bool good = !failure[0] && judge_seen(s, h, end, seen, time_ms, tally, failure);
    history_values_done(seen);
    return good;
}
