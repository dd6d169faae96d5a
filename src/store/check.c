/* Looking at directories that nobody has open: tarn_check() says whether one is sound,
 * tarn_repair() salvages what is sound of one into a new one.
 *
 * How: checking does what opening does, with nothing to put records into. Repairing takes damaged
 * blocks and records out instead of stopping at them, and does without manifest and SYNCED if it
 * must: then the newest checkpoint and all segments count. Values that never were are not made: see
 * trust.h. Without a manifest, or where the checkpoint holds changes of a part of the log that is
 * not whole, patches are not trusted at all, or only behind a whole value.
 *
 * Invariant: the directory looked at is not changed.
 * Failure modes: as tarn.h says. */
#include "pack/checkpoint.h"
#include "store/durable.h"
#include "store/trust.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct told {
    tarn_line line;
    void *context;
    tarn_progress progress;
    void *progress_context;
};

static void __attribute__((format(printf, 2, 3)))
say(const struct told *told, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    if (told->line == NULL)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    told->line(told->context, text);
}

/* --- checking --- */

static int check_checkpoint(struct directory *d, const struct manifest *m, const struct told *told,
                            struct tarn_check_report *report, struct tarn_error *error)
{
    char name[DIRECTORY_NAME_BYTES];
    struct checkpoint_about about;
    struct checkpoint_totals totals;
    if (m->checkpoint_number == 0 && m->over_data)
        say(told, "no checkpoint yet: over a data file of %llu bytes, which is not looked at",
            (unsigned long long)m->data_bytes);
    else if (m->checkpoint_number == 0)
        say(told, "no checkpoint yet");
    if (m->checkpoint_number == 0)
        return TARN_OK;
    directory_checkpoint_name(m->checkpoint_number, name);
    char *path = directory_path(d, name);
    if (path == NULL)
        return error_set(error, TARN_NOMEM, "%s: out of memory", d->path);
    int status = checkpoint_read(d->os, path, m->checkpoint_checksum, NULL, NULL, told->progress,
                                 told->progress_context, &about, &totals, NULL, error);
    if (status == TARN_MISSING)
        status = error_set(error, TARN_CORRUPT, "%s is missing", path);
    if (status == TARN_OK && (about.store_id != m->store_id || about.sequence != m->sequence))
        status = error_set(error, TARN_CORRUPT, "%s: not the checkpoint that MANIFEST means", path);
    if (status == TARN_OK) {
        report->checkpoint_records = totals.records;
        report->files++;
        say(told, "%s: sound, %llu records up to sequence %llu", name,
            (unsigned long long)totals.records, (unsigned long long)about.sequence);
    }
    free(path);
    return status;
}

static int ignore_change(void *context, uint64_t sequence, const struct change *change)
{
    (void)context, (void)sequence, (void)change;
    return TARN_OK;
}

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static int check_log(struct directory *d, const struct manifest *m, const struct told *told,
                     struct tarn_check_report *report, struct tarn_error *error)
{
    struct replay_result result = {.sequence = m->sequence};
    struct replay_start start = {
        .directory = d->path,
        .store_id = m->store_id,
        .after = m->sequence,
        .files = m->files,
        .first = m->first,
        .last = m->last,
    };
    int status = directory_read_synced(d, &start.synced_upto, error);
    start.synced_upto = most(start.synced_upto, m->sequence_needed);
    start.synced_upto = most(start.synced_upto, m->closed ? m->closed_sequence : 0);
    if (status == TARN_OK)
        status = replay(d->os, &start, ignore_change, NULL, told->progress, told->progress_context,
                        &result, error);
    if (status != TARN_OK)
        return status;
    report->log_records = result.records;
    report->torn_bytes = result.truncated_bytes;
    report->sequence = result.sequence;
    report->files += m->files;
    say(told, "log: sound, %llu records after the checkpoint, up to sequence %llu",
        (unsigned long long)result.records, (unsigned long long)result.sequence);
    if (result.truncated_bytes > 0)
        say(told, "log: a torn end of %llu bytes, which nobody was promised; opening cuts it",
            (unsigned long long)result.truncated_bytes);
    return TARN_OK;
}

int store_check(const struct os *os, const char *directory, tarn_line line, void *context,
                tarn_progress progress, void *progress_context,
                struct tarn_check_report *ret_report, struct tarn_error *error)
{
    const struct told told = {line, context, progress, progress_context};
    struct directory d;
    struct manifest m;
    *ret_report = (struct tarn_check_report){.files = 0};
    int status = directory_open(os, directory, true, &d, &m, error);
    if (status != TARN_OK)
        return status;
    ret_report->closed_cleanly = m.closed;
    ret_report->files = 2;
    say(&told, "MANIFEST: sound, generation %llu, %s", (unsigned long long)m.generation,
        m.closed ? "closed cleanly" : "not closed");
    status = check_checkpoint(&d, &m, &told, ret_report, error);
    if (status == TARN_OK)
        status = check_log(&d, &m, &told, ret_report, error);
    directory_close(&d);
    return status;
}

int tarn_check(const char *directory, tarn_line line, void *context, tarn_progress progress,
               void *progress_context, struct tarn_check_report *ret_report,
               struct tarn_error *error)
{
    return store_check(os_real(), directory, line, context, progress, progress_context, ret_report,
                       error);
}

/* --- repairing --- */

struct salvage {
    const struct os *os;
    const struct told *told;
    struct directory d; /* as far as it can be opened */
    struct manifest m;  /* as it was, or as it is guessed */
    bool guessed;
    struct tarn *target;
    struct tarn_session *session;
    struct tarn_repair_report *report;
    struct tarn_error *error;
    struct trust trust;
    uint64_t changes;
};

static void note_file(void *context, const char *name)
{
    struct salvage *s = context;
    unsigned file;
    uint64_t number;
    if (directory_checkpoint_parse(name, &number)) {
        s->m.checkpoint_number = most(s->m.checkpoint_number, number);
    } else if (segment_name_parse(name, &file, &number)) {
        s->m.files = file >= s->m.files ? file + 1 : s->m.files;
        if (s->m.first[file] == 0 || number < s->m.first[file])
            s->m.first[file] = number;
    }
}

/* Without a manifest: all there is counts. */
static int guess_manifest(struct salvage *s)
{
    s->m = (struct manifest){.files = 0};
    s->guessed = true;
    int status = s->os->list(s->os, s->d.path, note_file, s);
    if (status != 0)
        return os_error(s->error, status, "cannot list", s->d.path);
    for (unsigned i = 0; i < s->m.files; i++)
        if (s->m.first[i] == 0)
            s->m.first[i] = 1;
    if (s->m.checkpoint_number == 0 && s->m.files == 0)
        return error_set(s->error, TARN_MISSING, "%s: nothing of a store is in it", s->d.path);
    say(s->told, "no sound MANIFEST or SYNCED: taking the newest checkpoint and all segments");
    return TARN_OK;
}

static int open_damaged(struct salvage *s, const char *directory)
{
    int status = directory_open(s->os, directory, true, &s->d, &s->m, s->error);
    if (status == TARN_OK || (status != TARN_CORRUPT && status != TARN_MISSING))
        return status;
    say(s->told, "%s", s->error->text);
    s->d =
        (struct directory){.os = s->os, .path = strdup(directory), .lock_fd = -1, .synced_fd = -1};
    if (s->d.path == NULL)
        return error_set(s->error, TARN_NOMEM, "%s: out of memory", directory);
    /* Perhaps it is something else that is damaged. */
    status = directory_read_manifest(&s->d, &s->m, s->error);
    if (status == TARN_CORRUPT || status == TARN_MISSING)
        status = guess_manifest(s);
    if (status != TARN_OK)
        directory_close(&s->d);
    return status;
}

static int put_salvaged(void *context, const struct tarn_record *records, size_t count)
{
    struct salvage *s = context;
    int status = table_put_many(s->session->table, records, count);
    s->report->records += count;
    tarn_quiescent(s->session);
    return status;
}

static int apply_salvaged(void *context, uint64_t sequence, const struct change *change)
{
    struct salvage *s = context;
    bool may;
    int status = trust_change(&s->trust, sequence, change, &may, s->error);
    if (status == TARN_OK && may)
        status = table_apply(s->session->table, change);
    if (++s->changes % 64 == 0) {
        trust_quiescent(&s->trust);
        tarn_quiescent(s->session);
    }
    return status;
}

static int salvage_checkpoint(struct salvage *s)
{
    char name[DIRECTORY_NAME_BYTES];
    struct checkpoint_about about = {0};
    struct checkpoint_totals totals;
    uint64_t damaged = 0;
    if (s->m.checkpoint_number == 0)
        return TARN_OK;
    directory_checkpoint_name(s->m.checkpoint_number, name);
    char *path = directory_path(&s->d, name);
    if (path == NULL)
        return error_set(s->error, TARN_NOMEM, "%s: out of memory", s->d.path);
    int status = checkpoint_read(s->os, path, 0, put_salvaged, s, s->told->progress,
                                 s->told->progress_context, &about, &totals, &damaged, s->error);
    if (status == TARN_CORRUPT || status == TARN_MISSING) {
        say(s->told, "%s: %s", name, s->error->text);
        damaged++;
        status = TARN_OK;
    }
    if (s->guessed) {
        s->m.sequence = about.sequence;
        s->m.store_id = about.store_id;
    }
    s->report->damaged_places += damaged;
    say(s->told, "%s: %llu records, %llu damaged places", name,
        (unsigned long long)s->report->records, (unsigned long long)damaged);
    free(path);
    return status;
}

/* The store of the first segment whose header is sound, when nothing else tells. */
static void guess_store_id(struct salvage *s)
{
    for (unsigned i = 0; i < s->m.files && s->m.store_id == 0; i++) {
        char name[SEGMENT_NAME_BYTES];
        unsigned char bytes[SEGMENT_HEADER_BYTES];
        struct segment_header header;
        uint64_t checksum;
        int fd;
        segment_name(i, s->m.first[i], name);
        char *path = directory_path(&s->d, name);
        if (path != NULL && s->os->open(s->os, path, 0, 0, &fd) == 0) {
            if (os_read_full(s->os, fd, bytes, sizeof bytes, 0) == 0 &&
                segment_header_read(bytes, &header, &checksum))
                s->m.store_id = header.store_id;
            (void)s->os->close(s->os, fd);
        }
        free(path);
    }
}

struct wholeness {
    uint64_t due, needed;
    bool gap; /* up to needed */
};

static int look_for_gap(void *context, uint64_t sequence, const struct change *change)
{
    struct wholeness *w = context;
    (void)change;
    w->gap |= sequence != w->due && w->due <= w->needed;
    w->due = sequence + 1;
    return TARN_OK;
}

/* Is the log whole as far as the checkpoint may know of it? If not, what the checkpoint holds may
 * be later than changes that are replayed over it. */
static int find_gap(struct salvage *s, const struct replay_start *start, bool *ret_gap)
{
    struct wholeness w = {.due = start->after + 1, .needed = s->m.sequence_needed};
    struct replay_result result;
    int status = TARN_OK;
    if (w.needed > start->after)
        status = replay(s->os, start, look_for_gap, &w, s->told->progress,
                        s->told->progress_context, &result, s->error);
    *ret_gap = w.gap || w.due <= w.needed;
    return status;
}

static int salvage_log(struct salvage *s)
{
    if (s->m.store_id == 0)
        guess_store_id(s);
    struct replay_result result = {.sequence = s->m.sequence};
    const struct replay_start start = {
        .directory = s->d.path,
        .store_id = s->m.store_id,
        .after = s->m.sequence,
        .files = s->m.files,
        .first = s->m.first,
        .last = s->m.last,
        .repair = true,
    };
    bool gap = false;
    int status = find_gap(s, &start, &gap);
    trust_init(&s->trust, s->os, start.after + 1, gap, s->guessed);
    if (status == TARN_OK)
        status = replay(s->os, &start, apply_salvaged, s, s->told->progress,
                        s->told->progress_context, &result, s->error);
    trust_done(&s->trust);
    s->report->log_records = result.records;
    s->report->damaged_places += result.damaged_places + s->trust.refused;
    s->report->truncated_bytes = result.truncated_bytes;
    s->report->sequence = result.sequence;
    if (status == TARN_OK)
        say(s->told, "log: %llu records, %llu damaged places, %llu bytes left out",
            (unsigned long long)result.records, (unsigned long long)result.damaged_places,
            (unsigned long long)result.truncated_bytes);
    if (status == TARN_OK && s->trust.refused > 0)
        say(s->told, "log: %llu changes of a part of a value left out, as the value is not known",
            (unsigned long long)s->trust.refused);
    return status;
}

static int fill_target(struct salvage *s)
{
    int status = tarn_session_open(s->target, &s->session, s->error);
    if (status != TARN_OK)
        return status;
    table_stop_time(s->target->table, s->m.time_ms);
    status = salvage_checkpoint(s);
    if (status == TARN_OK)
        status = salvage_log(s);
    tarn_session_close(s->session);
    table_start_time(s->target->table);
    return status == TARN_OK ? tarn_checkpoint(s->target, s->error) : status;
}

/* Whether a data file is needed under what is salvaged. */
static int choose_data_file(const struct salvage *s, const char *data_path,
                            struct tarn_options *options)
{
    if (s->m.checkpoint_number != 0)
        return TARN_OK; /* all of it is in there */
    options->path = data_path;
    options->index_readonly = true;
    if (data_path != NULL || !s->m.over_data)
        return TARN_OK;
    return error_set(s->error, TARN_INVALID,
                     "%s: it holds changes to a data file of %llu bytes; name that file, too: "
                     "--over FILE",
                     s->d.path, (unsigned long long)s->m.data_bytes);
}

/* Is what the target lies over the file that the changes belong to? */
static int check_data_file(const struct salvage *s)
{
    const struct manifest *m = &s->target->durable->manifest;
    if (s->guessed || !m->over_data ||
        (m->data_bytes == s->m.data_bytes && m->data_checksum == s->m.data_checksum))
        return TARN_OK;
    return error_set(s->error, TARN_STALE, "%s: not the data file that the changes in %s belong to",
                     s->target->options.path, s->d.path);
}

int store_repair(const struct os *os, const char *directory, const char *data_path,
                 const char *target, const struct tarn_line_context *lines,
                 struct tarn_repair_report *ret_report, struct tarn_error *error)
{
    struct tarn_error own;
    const struct told told = {lines->line, lines->context, lines->progress,
                              lines->progress_context};
    struct salvage s = {
        .os = os, .told = &told, .report = ret_report, .error = error != NULL ? error : &own};
    struct tarn_options options = {.directory = target,
                                   .dial = {.durability = TARN_DURABILITY_NONE}};
    *ret_report = (struct tarn_repair_report){.records = 0};
    int status = open_damaged(&s, directory);
    if (status != TARN_OK)
        return status;
    status = choose_data_file(&s, data_path, &options);
    if (status == TARN_OK)
        status = store_open(os, &options, &s.target, s.error);
    if (status == TARN_OK) {
        struct tarn_log_stats stats;
        tarn_log_stats_get(s.target, &stats);
        if (stats.recovered_sequence != 0 || stats.recovered_records != 0)
            status = error_set(s.error, TARN_INVALID, "%s: there is a store in it; name a new one",
                               target);
        if (status == TARN_OK)
            status = check_data_file(&s);
        if (status == TARN_OK)
            status = fill_target(&s);
        tarn_close(s.target);
    }
    directory_close(&s.d);
    return status;
}

int tarn_repair(const char *directory, const char *target, tarn_line line, void *context,
                tarn_progress progress, void *progress_context,
                struct tarn_repair_report *ret_report, struct tarn_error *error)
{
    const struct tarn_line_context lines = {line, context, progress, progress_context};
    return store_repair(os_real(), directory, NULL, target, &lines, ret_report, error);
}
