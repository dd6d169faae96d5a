/* Goal: whatever is done to the files of a store, it is noticed when the store is opened, or it
 * makes no difference; or, where it only concerns changes that nothing says were synced, what is
 * missing are the last changes. No value that is read is ever wrong. `tarn check` notices the same,
 * and what `tarn repair` salvages was once so.
 * Method: small stores of a checkpoint and a log of two files with several segments (steps of many
 * changes, deletions, expiries, patches, empty values), in each encoding, closed and killed, on a
 * simulated disk. Of each file every bit flipped, every length, the file away, appended to itself,
 * copied to the next name, in another's place, replaced by an older one and by another store's.
 *
 *     test_store_damage             the quick form: a sample of bits and lengths, all of the rest
 *     test_store_damage STRIDE      every STRIDEth bit and length (1: all), and a table
 *
 * What is permitted. Of MANIFEST, SYNCED and the checkpoint: refusal. Of the log: refusal of all
 * that lies before the end of what was synced. Behind it (the seal of a store that was closed;
 * changes that were written and not synced, of one that was killed) also what is as if the power
 * had been lost: all of a first part of the changes, with all that were synced.
 *
 * Bugs planted once to see it fail: patches applied by repair to values of before a gap; what
 * SYNCED and the manifest know of the log's end not looked at. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/test.h"

#include "lib/fault_line.h"
#include "lib/simulated_disk.h"
#include "lib/store_look.h"
#include "store/store.h"

#define DIRECTORY    "/db"
#define SALVAGED     "/salvaged"
#define FILES        2
#define SCENES       9
#define LARGE_STRIDE 11
#define STATES_MAX   64
#define NAMES_MAX    32
#define NAME_BYTES   40
#define PATH_BYTES   64
#define HEADER_BYTES 256 /* of a segment */
#define HOUR_US      UINT64_C(3600000000)
#define FAR_MS       INT64_C(4000000000000)
#define LARGE_KEY    20
#define LARGE_BYTES  17000 /* its patches are logged as such */

enum outcome { REFUSED, SAME, PREFIX, WRONG, OUTCOMES };
static const char *const outcome_names[] = {"refused", "as it was", "the end is missing", "wrong"};
#define MAY(outcome) (1u << (outcome))

/* A store as it was left, and what it held after each change. */
struct scene {
    struct simulated_disk disk;
    char what[40];
    bool closed; /* else killed */
    bool large;  /* with a value that is patched where it lies */
    struct history_value states[STATES_MAX][HISTORY_KEYS];
    unsigned count;  /* of states */
    unsigned synced; /* so many states before the last that is known to have been synced */
    struct {
        char name[NAME_BYTES];
        size_t bytes;
    } synced_end[FILES]; /* the last segment of each file: how much of it was synced */
};

struct tally {
    uint64_t points, outcomes[OUTCOMES];
    uint64_t salvaged, lost; /* keys that repair brought back as they were last, and that not */
};

/* One damage. */
struct damage {
    const struct scene *scene;
    const char *name; /* of the file */
    const char *kind;
    size_t offset;    /* from where on it is not as it was */
    unsigned bit;     /* for messages */
    unsigned allowed; /* outcomes */
    bool names_file;  /* a refusal must */
    bool repairs;     /* is repair to be tried too? */
    unsigned lost_most;
};

static struct simulated_disk damaged; /* the disk that has it */
static struct tally tally;
static uint64_t failures;
static uint64_t repair_every = 1; /* so manyth point */

/* --- making a store --- */

struct making {
    struct scene *scene;
    struct tarn_options options;
    struct tarn *store;
    struct tarn_session *session;
    uint64_t id;
};

static void open_again(struct making *m)
{
    struct tarn_error error;
    if (store_open(&m->scene->disk.os, &m->options, &m->store, &error) != TARN_OK ||
        tarn_session_open(m->store, &m->session, &error) != TARN_OK)
        fail_msg("%s", error.text);
}

static void close_store(struct making *m)
{
    tarn_session_close(m->session);
    tarn_close(m->store);
}

/* A change or a step was made: note what the store holds now. */
static void note_state(struct making *m, int status)
{
    char failure[STORE_LOOK_FAILURE_BYTES];
    int64_t time_ms[2];
    assert_int_equal(status, TARN_OK);
    assert_true(m->scene->count < STATES_MAX);
    store_look(m->store, m->scene->states[m->scene->count++], time_ms, failure);
    assert_string_equal(failure, "");
}

static struct tarn_bytes value_of(uint64_t id, size_t size)
{
    static unsigned char space[4][LARGE_BYTES];
    unsigned char *data = space[id % 4];
    history_fill(id, data, size);
    return (struct tarn_bytes){data, size};
}

static void put(struct making *m, unsigned key, size_t size, int64_t expire_ms)
{
    struct tarn_bytes value = value_of(++m->id, size);
    note_state(m, tarn_put(m->session, history_key(key), value, expire_ms));
}

static void put_three(struct making *m, unsigned first)
{
    struct tarn_record records[3];
    for (unsigned i = 0; i < 3; i++)
        records[i] = (struct tarn_record){history_key((first + 5 * i) % HISTORY_KEYS),
                                          value_of(++m->id, 10 + i), i == 1 ? FAR_MS : 0};
    note_state(m, tarn_put_many(m->session, records, 3));
}

static enum tarn_verdict append(void *context, struct tarn_update *update)
{
    update->patch = *(struct tarn_bytes *)context;
    update->patch_offset = update->record.value.size / 2;
    return TARN_PATCH;
}

static void patch(struct making *m, unsigned key)
{
    struct tarn_bytes part = value_of(++m->id, 9);
    note_state(m, tarn_update(m->session, history_key(key), append, &part));
}

static void exchange(struct making *m, unsigned key, unsigned other)
{
    struct tarn_bytes keys[] = {history_key(key), history_key(other)};
    tarn_begin(m->session, keys, 2);
    int status = tarn_put(m->session, keys[0], value_of(++m->id, 7), 0);
    if (status == TARN_OK)
        status = tarn_delete(m->session, keys[1]);
    int ended = tarn_end(m->session);
    note_state(m, ended == TARN_OK ? status : ended);
}

static void await(struct making *m, enum tarn_level level)
{
    tarn_offline(m->session);
    assert_int_equal(tarn_await(m->store, tarn_sequence(m->store), level, 0), TARN_OK);
    tarn_online(m->session);
}

static void checkpoint(struct making *m)
{
    struct tarn_error error;
    tarn_offline(m->session);
    if (tarn_checkpoint(m->store, &error) != TARN_OK)
        fail_msg("%s", error.text);
    tarn_online(m->session);
}

/* Something of everything. */
static void change(struct making *m, unsigned round)
{
    unsigned key = 7 * round;
    put(m, (key + 0) % HISTORY_KEYS, 20, 0);
    put(m, (key + 1) % HISTORY_KEYS, 0, 0);
    put_three(m, key + 2);
    patch(m, key % HISTORY_KEYS);
    put(m, (key + 3) % HISTORY_KEYS, 30, FAR_MS + (int64_t)round);
    note_state(m, tarn_expire(m->session, history_key(key % HISTORY_KEYS), FAR_MS + 77));
    exchange(m, (key + 4) % HISTORY_KEYS, (key + 1) % HISTORY_KEYS);
    note_state(m, tarn_delete(m->session, history_key((key + 3) % HISTORY_KEYS)));
    patch(m, (key + 2) % HISTORY_KEYS);
    if (m->scene->large && round % 2 == 0)
        put(m, LARGE_KEY, LARGE_BYTES - round, 0);
    if (m->scene->large)
        patch(m, LARGE_KEY);
}

/* --- its files --- */

struct names {
    char all[NAMES_MAX][NAME_BYTES];
    unsigned count;
};

static void add_name(void *context, const char *name)
{
    struct names *names = context;
    assert_true(names->count < NAMES_MAX && strlen(name) < NAME_BYTES);
    strcpy(names->all[names->count++], name);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void list(struct simulated_disk *disk, struct names *names)
{
    names->count = 0;
    assert_int_equal(disk->os.list(&disk->os, DIRECTORY, add_name, names), 0);
    qsort(names->all, names->count, NAME_BYTES, compare_names);
}

static const char *path_of(const char *name)
{
    static char path[2][PATH_BYTES];
    static unsigned turn;
    turn ^= 1;
    snprintf(path[turn], PATH_BYTES, DIRECTORY "/%s", name);
    return path[turn];
}

static bool is_log(const char *name)
{
    return strncmp(name, "wal-", 4) == 0;
}

static bool is_checkpoint(const char *name)
{
    return strncmp(name, "checkpoint-", 11) == 0;
}

static bool is_same_kind(const char *a, const char *b)
{
    return (is_log(a) && is_log(b)) || (is_checkpoint(a) && is_checkpoint(b)) || strcmp(a, b) == 0;
}

/* Everything so far is synced: where the log's files end. */
static void note_synced(struct making *m)
{
    struct scene *s = m->scene;
    struct names names;
    await(m, TARN_DURABLE);
    s->synced = s->count - 1;
    list(&s->disk, &names);
    for (unsigned i = 0; i < names.count; i++) {
        unsigned file;
        if (sscanf(names.all[i], "wal-%u-", &file) != 1)
            continue;
        assert_true(file < FILES);
        strcpy(s->synced_end[file].name, names.all[i]); /* the last one is kept */
        s->synced_end[file].bytes = disk_content(&s->disk, path_of(names.all[i])).size;
        assert_true(s->synced_end[file].bytes > HEADER_BYTES);
    }
}

/* --- a scene --- */

static void rest_of_scene(struct making *m, struct simulated_disk *older)
{
    for (unsigned round = 0; round < 2; round++) {
        change(m, round);
        checkpoint(m);
        if (round == 0)
            disk_copy(older, &m->scene->disk);
    }
    for (unsigned round = 2; round < 5; round++) {
        change(m, round);
        await(m, TARN_DURABLE);
        if (round == 4)
            break;
        close_store(m); /* and a new segment */
        open_again(m);
    }
    note_synced(m);
}

/* older: NULL, or initialised; becomes the disk after its first checkpoint. */
static void make_scene(struct scene *s, unsigned kind, uint64_t seed, struct simulated_disk *older)
{
    static const char *const formats[] = {"binary", "cbor", "json"};
    struct making m = {.scene = s};
    struct simulated_disk none;
    enum tarn_log_format format = (enum tarn_log_format)(kind % 3);
    bool closed = kind / 3 == 1;
    m.options = (struct tarn_options){
        .directory = DIRECTORY,
        .log_files =
            closed ? 1 : FILES, /* of one file nothing but SYNCED and MANIFEST knows the end */
        .dial = {.durability = TARN_DURABILITY_PERIODIC,
                 .period_us = HOUR_US,
                 .log_format = format},
    };
    memset(s, 0, sizeof *s);
    s->closed = closed;
    s->large = kind / 3 == 2;
    snprintf(s->what, sizeof s->what, "%s, %s%s", formats[format], closed ? "closed" : "killed",
             s->large ? ", large" : "");
    disk_init(&s->disk, seed);
    disk_init(&none, 1);
    open_again(&m);
    note_state(&m, TARN_OK);
    rest_of_scene(&m, older != NULL ? older : &none);
    if (!closed) { /* and some that are not synced */
        change(&m, 5);
        await(&m, TARN_WRITTEN);
        disk_copy(&none, &s->disk);
    }
    close_store(&m);
    if (!closed)
        disk_copy(&s->disk, &none);
    disk_done(&none);
}

static void free_scene(struct scene *s)
{
    for (unsigned i = 0; i < s->count; i++)
        history_values_done(s->states[i]);
    disk_done(&s->disk);
}

/* --- what came of it --- */

static bool same_value(const struct history_value *a, const struct history_value *b, bool expiry)
{
    return a->present == b->present &&
           (!a->present || (a->size == b->size && memcmp(a->data, b->data, a->size) == 0 &&
                            (!expiry || a->expire_ms == b->expire_ms)));
}

static bool same_state(const struct history_value *a, const struct history_value *b)
{
    for (unsigned key = 0; key < HISTORY_KEYS; key++)
        if (!same_value(&a[key], &b[key], true))
            return false;
    return true;
}

/* All of one: the keys that were read are as they were last. */
static bool true_where_read(const struct scene *s, const struct history_value *seen)
{
    for (unsigned key = 0; key < HISTORY_KEYS; key++)
        if (seen[key].present && !same_value(&seen[key], &s->states[s->count - 1][key], true))
            return false;
    return true;
}

/* Number of the state that is seen; count: none. The last one first, as it may be there twice. */
static unsigned find_state(const struct scene *s, const struct history_value *seen)
{
    for (unsigned i = s->count; i-- > 0;)
        if (same_state(s->states[i], seen))
            return i;
    return s->count;
}

__attribute__((format(printf, 2, 3))) static void complain(const struct damage *d,
                                                           const char *format, ...)
{
    va_list arguments;
    failures++;
    fprintf(stderr, "%s: %s %s at byte %zu, bit %u: ", d->scene->what, d->name, d->kind, d->offset,
            d->bit);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n");
    if (failures > 50)
        fail_msg("too many failures");
}

static enum outcome judge_state(const struct damage *d, const struct history_value *seen,
                                const char *look, const struct tarn_log_stats *stats)
{
    const struct scene *s = d->scene;
    unsigned state = find_state(s, seen);
    if (strncmp(look, "a read gave", 11) == 0 && true_where_read(s, seen))
        return REFUSED;
    if (look[0] || state == s->count) {
        complain(d, "it holds what it never held: %s", look);
        return WRONG;
    }
    if (state == s->count - 1)
        return SAME;
    if (state < s->synced)
        complain(d, "state %u of %u, %u were synced", state, s->count, s->synced);
    if (stats->truncated_bytes == 0 && strcmp(d->kind, "flipped") == 0)
        complain(d, "what is missing was not reported");
    return state < s->synced ? WRONG : PREFIX;
}

static const struct tarn_options reopened = {
    .directory = DIRECTORY,
    .log_files = FILES,
    .dial = {.durability = TARN_DURABILITY_PERIODIC, .period_us = HOUR_US},
};

static enum outcome judge_open(const struct damage *d, struct tarn *store)
{
    struct history_value seen[HISTORY_KEYS] = {0};
    struct tarn_log_stats stats;
    char look[STORE_LOOK_FAILURE_BYTES];
    int64_t time_ms[2];
    tarn_log_stats_get(store, &stats);
    store_look(store, seen, time_ms, look);
    enum outcome outcome = judge_state(d, seen, look, &stats);
    history_values_done(seen);
    return outcome;
}

static void judge_refusal(const struct damage *d, int status, const struct tarn_error *error,
                          uint64_t calls)
{
    if (error->status != status || !strstr(error->text, DIRECTORY))
        complain(d, "refused with %d: %s", status, error->text);
    else if (d->names_file && !strstr(error->text, d->name))
        complain(d, "the file is not named: %s", error->text);
    else if (d->names_file && !strstr(error->text, "byte") &&
             (is_log(d->name) || is_checkpoint(d->name)))
        complain(d, "no offset is named: %s", error->text);
    if (disk_calls(&damaged) != calls)
        complain(d, "refused, and changed something: %s", error->text);
}

static enum outcome try_open(const struct damage *d)
{
    struct tarn *store;
    struct tarn_error error = {0};
    uint64_t calls = disk_calls(&damaged);
    struct tarn_options options = reopened;
    options.load_bytes_max = d->offset % 2; /* the checkpoint read now, or while it is served */
    int status = store_open(&damaged.os, &options, &store, &error);
    if (status != TARN_OK) {
        judge_refusal(d, status, &error, calls);
        return REFUSED;
    }
    enum outcome outcome = judge_open(d, store);
    tarn_close(store);
    return outcome;
}

/* --- check and repair --- */

static void try_check(const struct damage *d, enum outcome outcome, int status,
                      const struct tarn_error *error)
{
    if ((status == TARN_OK) == (outcome == REFUSED))
        complain(d, "opening: %s; check says %d: %s", outcome_names[outcome], status,
                 status == TARN_OK ? "" : error->text);
    if (status != TARN_OK && !strstr(error->text, DIRECTORY))
        complain(d, "check says: %s", error->text);
}

static bool was_ever(const struct scene *s, unsigned key, const struct history_value *value)
{
    for (unsigned i = 0; i < s->count; i++)
        if (same_value(&s->states[i][key], value, false))
            return true;
    return false;
}

/* Only what was once so; and most of it as it was last. */
static void judge_salvaged(const struct damage *d, struct tarn *store)
{
    const struct scene *s = d->scene;
    struct history_value seen[HISTORY_KEYS] = {0};
    char look[STORE_LOOK_FAILURE_BYTES];
    int64_t time_ms[2];
    unsigned lost = 0;
    store_look(store, seen, time_ms, look);
    if (look[0])
        complain(d, "salvaged: %s", look);
    for (unsigned key = 0; key < HISTORY_KEYS; key++) {
        if (!was_ever(s, key, &seen[key])) {
            complain(d, "salvaged: key %u has a value that it never had", key);
            tally.outcomes[WRONG]++;
        }
        lost += !same_value(&seen[key], &s->states[s->count - 1][key], true);
    }
    tally.lost += lost;
    tally.salvaged += HISTORY_KEYS - lost;
    if (lost > d->lost_most)
        complain(d, "salvaged: %u keys are not as they were, which is too many", lost);
    history_values_done(seen);
}

static void ignore_line(void *context, const char *line)
{
    (void)context, (void)line;
}

static void try_repair(const struct damage *d)
{
    const struct tarn_line_context lines = {.line = ignore_line};
    struct tarn_options options = reopened;
    struct tarn_repair_report report;
    struct tarn_error error;
    struct tarn *store;
    options.directory = SALVAGED;
    int status = store_repair(&damaged.os, DIRECTORY, NULL, SALVAGED, &lines, &report, &error);
    if (status == TARN_OK)
        status = store_open(&damaged.os, &options, &store, &error);
    if (status != TARN_OK) {
        complain(d, "repair: %s", error.text);
        return;
    }
    judge_salvaged(d, store);
    tarn_close(store);
}

/* The damage is done: see what comes of it. */
static void judge(const struct damage *d)
{
    struct tarn_check_report report;
    struct tarn_error error;
    uint64_t calls = disk_calls(&damaged);
    int status = store_check(&damaged.os, DIRECTORY, NULL, NULL, NULL, NULL, &report, &error);
    if (disk_calls(&damaged) != calls)
        complain(d, "check changed something");
    if (d->repairs && tally.points % repair_every == 0)
        try_repair(d);
    enum outcome outcome = try_open(d);
    tally.points++;
    tally.outcomes[outcome]++;
    if (outcome != WRONG && !(d->allowed & MAY(outcome)))
        complain(d, "%s", outcome_names[outcome]);
    if (strcmp(d->name, "LOCK") != 0) /* which opening makes anew, and checking does not */
        try_check(d, outcome, status, &error);
}

/* --- what is permitted --- */

/* Something from `offset` on of a file is damaged. */
static unsigned allowed_at(const struct scene *s, const char *name, size_t offset)
{
    unsigned end = MAY(REFUSED) | MAY(SAME) | (s->closed ? 0 : MAY(PREFIX));
    if (strcmp(name, "LOCK") == 0)
        return MAY(SAME);
    for (unsigned i = 0; i < FILES; i++)
        if (strcmp(name, s->synced_end[i].name) == 0 && offset >= s->synced_end[i].bytes)
            return end;
    return MAY(REFUSED);
}

/* Do as little harm as may be: so many keys may not be as they were last, after a repair. Without a
 * manifest patches are not believed. */
static unsigned lost_most(const struct scene *s, const char *name)
{
    if (is_log(name) || is_checkpoint(name))
        return HISTORY_KEYS;
    return s->large && strcmp(name, "MANIFEST") == 0 ? 1 : 0;
}

static struct damage damage_of(const struct scene *s, const char *name, const char *kind,
                               size_t offset)
{
    return (struct damage){
        .scene = s,
        .name = name,
        .kind = kind,
        .offset = offset,
        .allowed = allowed_at(s, name, offset),
        .repairs = true,
        .lost_most = lost_most(s, name),
    };
}

static void begin_damage(struct scene *s)
{
    disk_copy(&damaged, &s->disk);
}

/* --- bits and lengths --- */

static void flip(struct scene *s, const char *name, size_t offset, unsigned bit)
{
    struct damage d = damage_of(s, name, "flipped", offset);
    d.bit = bit;
    d.names_file = true;
    begin_damage(s);
    struct tarn_bytes content = disk_content(&damaged, path_of(name));
    unsigned char *copy = malloc(content.size);
    assert_non_null(copy);
    memcpy(copy, content.data, content.size);
    copy[offset] ^= (unsigned char)(1u << bit);
    disk_put(&damaged, path_of(name), (struct tarn_bytes){copy, content.size});
    free(copy);
    judge(&d);
}

static void cut(struct scene *s, const char *name, size_t size)
{
    struct damage d = damage_of(s, name, "cut", size);
    begin_damage(s);
    struct tarn_bytes content = disk_content(&s->disk, path_of(name));
    disk_put(&damaged, path_of(name), (struct tarn_bytes){content.data, size});
    judge(&d);
}

/* Of lengths there are fewer. */
static uint64_t size_stride(uint64_t stride)
{
    return stride / 8 + 1;
}

static void bits_and_lengths(struct scene *s, uint64_t stride)
{
    struct names names;
    uint64_t at = 0;
    list(&s->disk, &names);
    for (unsigned i = 0; i < names.count; i++) {
        size_t size = disk_content(&s->disk, path_of(names.all[i])).size;
        for (; at < 8 * size; at += stride)
            flip(s, names.all[i], at / 8, at % 8);
        at -= 8 * size;
        for (uint64_t length = at % size_stride(stride); length < size;
             length += size_stride(stride))
            cut(s, names.all[i], length);
    }
}

/* --- whole files --- */

static void delete (struct scene *s, const char *name)
{
    struct damage d = damage_of(s, name, "deleted", 0);
    begin_damage(s);
    disk_remove(&damaged, path_of(name));
    d.names_file = !is_log(name) && d.allowed == MAY(REFUSED);
    if (is_checkpoint(name))
        d.names_file = false; /* it is named, without an offset */
    judge(&d);
}

static void append_to_itself(struct scene *s, const char *name)
{
    struct tarn_bytes content = disk_content(&s->disk, path_of(name));
    struct damage d = damage_of(s, name, "doubled", content.size);
    unsigned char *twice = malloc(2 * content.size + 1);
    assert_non_null(twice);
    memcpy(twice, content.data, content.size);
    memcpy(twice + content.size, content.data, content.size);
    d.allowed &= ~MAY(PREFIX); /* nothing is missing */
    if (strcmp(name, "SYNCED") == 0)
        d.allowed = MAY(SAME) | MAY(REFUSED);
    begin_damage(s);
    disk_put(&damaged, path_of(name), (struct tarn_bytes){twice, 2 * content.size});
    free(twice);
    judge(&d);
}

static bool is_last_segment(const struct scene *s, const char *name)
{
    for (unsigned i = 0; i < FILES; i++)
        if (strcmp(name, s->synced_end[i].name) == 0)
            return true;
    return false;
}

/* Under the name that comes after it, in place of what is there. */
static void copy_to_next(struct scene *s, const char *name)
{
    char next[NAME_BYTES];
    unsigned file;
    unsigned long long number;
    struct damage d = damage_of(s, name, "copied to the next name", 0);
    if (sscanf(name, "checkpoint-%llu", &number) == 1) {
        snprintf(next, sizeof next, "checkpoint-%010llu", number + 1);
        d.allowed = MAY(SAME);
        d.lost_most = 1; /* repair may believe it if the manifest is gone, and it is not */
    } else if (sscanf(name, "wal-%u-%llu", &file, &number) == 2) {
        snprintf(next, sizeof next, "wal-%02u-%010llu.log", file, number + 1);
        d.allowed = is_last_segment(s, name) ? MAY(SAME) | MAY(REFUSED) : MAY(REFUSED);
    } else {
        return;
    }
    begin_damage(s);
    disk_put(&damaged, path_of(next), disk_content(&s->disk, path_of(name)));
    judge(&d);
}

static void swap(struct scene *s, const char *name, const char *other)
{
    struct damage d = damage_of(s, name, "swapped", 0);
    begin_damage(s);
    disk_put(&damaged, path_of(name), disk_content(&s->disk, path_of(other)));
    disk_put(&damaged, path_of(other), disk_content(&s->disk, path_of(name)));
    d.allowed = MAY(REFUSED);
    judge(&d);
}

/* By a file of another disk. */
static void replace(struct scene *s, const char *name, struct simulated_disk *disk,
                    const char *other, const char *kind)
{
    struct damage d = damage_of(s, name, kind, 0);
    bool old = strcmp(kind, "old") == 0;
    d.allowed = MAY(REFUSED);
    if (strcmp(name, "LOCK") == 0 || (old && strcmp(name, "SYNCED") == 0))
        d.allowed = MAY(SAME); /* less was known to be synced, and all is there */
    if (strcmp(name, "MANIFEST") == 0)
        d.lost_most = HISTORY_KEYS;
    begin_damage(s);
    disk_put(&damaged, path_of(name), disk_content(disk, path_of(other)));
    judge(&d);
}

static void replace_all(struct scene *s, const char *name, struct simulated_disk *disk,
                        const char *kind)
{
    struct names others;
    list(disk, &others);
    for (unsigned i = 0; i < others.count; i++)
        if (is_same_kind(name, others.all[i]))
            replace(s, name, disk, others.all[i], kind);
}

static void whole_files(struct scene *s, struct simulated_disk *older, struct scene *foreign)
{
    struct names names;
    list(&s->disk, &names);
    for (unsigned i = 0; i < names.count; i++) {
        const char *name = names.all[i];
        delete (s, name);
        append_to_itself(s, name);
        copy_to_next(s, name);
        for (unsigned j = 0; j < i; j++)
            if (is_same_kind(name, names.all[j]))
                swap(s, name, names.all[j]);
        replace_all(s, name, older, "old");
        replace_all(s, name, &foreign->disk, "of another store");
    }
}

/* --- all of it --- */

/* Nothing is wrong with it, and all say so. */
static void test_undamaged(struct scene *s)
{
    struct damage d = {.scene = s, .name = "nothing", .kind = "damaged", .repairs = true};
    d.allowed = MAY(SAME);
    begin_damage(s);
    judge(&d);
}

static void damage_scenes(uint64_t stride)
{
    static struct scene scene, foreign;
    struct simulated_disk older;
    disk_init(&damaged, 1);
    for (unsigned kind = 0; kind < SCENES; kind++) {
        disk_init(&older, 1);
        make_scene(&scene, kind, 1, &older);
        make_scene(&foreign, kind, 2, NULL);
        test_undamaged(&scene);
        whole_files(&scene, &older, &foreign);
        bits_and_lengths(&scene, scene.large ? LARGE_STRIDE * stride : stride);
        free_scene(&foreign);
        free_scene(&scene);
        disk_done(&older);
    }
    disk_done(&damaged);
}

static void print_tally(void)
{
    for (unsigned i = 0; i < OUTCOMES; i++)
        printf("%-20s %10" PRIu64 "\n", outcome_names[i], tally.outcomes[i]);
    printf("repair brought %" PRIu64 " keys back as they were last, %" PRIu64 " otherwise\n",
           tally.salvaged, tally.lost);
    fault_line("files damaged", tally.points, failures, tally.outcomes[WRONG]);
}

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { QUICK_STRIDE = 4001 };
#else
enum { QUICK_STRIDE = 1009 };
#endif

static void test_damage(void **state)
{
    (void)state;
    repair_every = 4;
    damage_scenes(QUICK_STRIDE);
    assert_int_equal(failures, 0);
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_damage),
    };
    int status = 0;
    if (count > 1) {
        uint64_t stride = strtoull(arguments[1], NULL, 10);
        damage_scenes(stride > 0 ? stride : 1);
        status = failures > 0;
    } else {
        status = cmocka_run_group_tests(tests, NULL, NULL);
    }
    print_tally();
    return status;
}
