/* What one worker counts: see the header for the rules. Failure modes: when memory is out, a
 * latency histogram or an error's word is not kept; the plain counters always are. */
#include "server/stats.h"

#include <stdlib.h>

int stats_init(struct stats *s, const _Atomic uint64_t *generation)
{
    *s = (struct stats){.generation_wanted = generation, .commands_count = command_count()};
    s->by_command = calloc(s->commands_count, sizeof *s->by_command);
    if (s->by_command == NULL)
        return TARN_NOMEM;
    atomic_store(&s->generation, atomic_load(generation));
    pthread_mutex_init(&s->errors_lock, NULL);
    return TARN_OK;
}

void stats_done(struct stats *s)
{
    if (s->by_command == NULL)
        return;
    for (unsigned i = 0; i < s->commands_count; i++)
        histogram_free(atomic_load(&s->by_command[i].latency));
    free(s->by_command);
    free(s->by_error);
    pthread_mutex_destroy(&s->errors_lock);
    *s = (struct stats){0};
}

bool stats_is_current(const struct stats *s)
{
    return atomic_load_explicit(&s->generation, memory_order_acquire) ==
           atomic_load_explicit(s->generation_wanted, memory_order_acquire);
}

static void counter_clear(stats_counter *c)
{
    atomic_store_explicit(c, 0, memory_order_relaxed);
}

static void stats_clear(struct stats *s)
{
    stats_counter *counters[] = {
        &s->connections, &s->connections_rejected, &s->commands, &s->hits,        &s->misses,
        &s->input_bytes, &s->output_bytes,         &s->errors,   &s->output_cuts, &s->idle_closed};
    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++)
        counter_clear(counters[i]);
    for (unsigned i = 0; i < s->commands_count; i++) {
        struct stats_command *c = &s->by_command[i];
        counter_clear(&c->calls);
        counter_clear(&c->ns_total);
        counter_clear(&c->rejected);
        counter_clear(&c->failed);
        struct histogram *latency = atomic_load_explicit(&c->latency, memory_order_relaxed);
        if (latency != NULL)
            histogram_reset(latency);
    }
    pthread_mutex_lock(&s->errors_lock);
    s->errors_count = 0;
    pthread_mutex_unlock(&s->errors_lock);
}

void stats_refresh(struct stats *s)
{
    uint64_t wanted = atomic_load_explicit(s->generation_wanted, memory_order_acquire);
    if (atomic_load_explicit(&s->generation, memory_order_relaxed) == wanted)
        return;
    stats_clear(s);
    atomic_store_explicit(&s->generation, wanted, memory_order_release);
}

void stats_record_calls(struct stats *s, const struct command *command, uint64_t count, uint64_t ns)
{
    struct stats_command *c = &s->by_command[command->id];
    stats_add(&s->commands, count);
    stats_add(&c->calls, count);
    stats_add(&c->ns_total, ns);
    struct histogram *latency = atomic_load_explicit(&c->latency, memory_order_relaxed);
    if (latency == NULL) {
        latency = histogram_new();
        if (latency == NULL)
            return;
        atomic_store_explicit(&c->latency, latency, memory_order_release);
    }
    histogram_record(latency, ns / count, count);
}

/* The entry of a word, added if there is room; NULL if not. */
static struct stats_error *find_error_locked(struct stats *s, struct tarn_bytes word)
{
    for (unsigned i = 0; i < s->errors_count; i++)
        if (bytes_equal(bytes_of(s->by_error[i].word), word))
            return &s->by_error[i];
    if (s->errors_count == STATS_ERROR_WORDS_MAX)
        return NULL;
    if (s->by_error == NULL)
        s->by_error = calloc(STATS_ERROR_WORDS_MAX, sizeof *s->by_error);
    if (s->by_error == NULL)
        return NULL;
    struct stats_error *added = &s->by_error[s->errors_count++];
    *added = (struct stats_error){0};
    memcpy(added->word, word.data, word.size);
    return added;
}

void stats_record_error(struct stats *s, const struct command *command, bool rejected,
                        struct tarn_bytes text)
{
    stats_add(&s->errors, 1);
    if (command != NULL) {
        struct stats_command *c = &s->by_command[command->id];
        stats_add(rejected ? &c->rejected : &c->failed, 1);
    }
    const char *bytes = text.data;
    size_t size = 0;
    while (size < text.size && size < STATS_ERROR_WORD_BYTES_MAX && bytes[size] > ' ' &&
           bytes[size] < 0x7f)
        size++;
    pthread_mutex_lock(&s->errors_lock);
    struct stats_error *error = find_error_locked(s, (struct tarn_bytes){bytes, size});
    if (error != NULL)
        error->count++;
    pthread_mutex_unlock(&s->errors_lock);
}

void stats_errors_visit(struct stats *s,
                        void (*visit)(void *context, const char *word, uint64_t count),
                        void *context)
{
    pthread_mutex_lock(&s->errors_lock);
    for (unsigned i = 0; i < s->errors_count; i++)
        visit(context, s->by_error[i].word, s->by_error[i].count);
    pthread_mutex_unlock(&s->errors_lock);
}
