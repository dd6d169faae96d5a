/* Counters and histograms of one thread, and their sums.
 *
 * How: counters and histograms are relaxed atomics with one writer, so that a thread that shows
 * progress may read them meanwhile. Texts are the writer's own until it has ended.
 *
 * Invariants
 * 1. errors == sum of error_texts[].count + error_texts_other.
 * 2. error_texts[0..count-1] differ from each other; texts are NUL-terminated.
 * 3. Merging adds everything: nothing is counted twice or dropped.
 * Failure modes: no memory at init; more different error texts than there is room: the rest are
 * counted together. */
#include "bench/tally.h"

#include <string.h>

#include "core/buffer.h"

int tally_init(struct tally *t)
{
    memset(t, 0, sizeof *t);
    t->latency_ns = histogram_new();
    t->late_ns = histogram_new();
    bool complete = t->latency_ns && t->late_ns;
    for (int i = 0; i < OPERATION_KINDS; i++) {
        t->kind_ns[i] = histogram_new();
        complete = complete && t->kind_ns[i];
    }
    if (!complete)
        tally_done(t);
    return complete ? TARN_OK : TARN_NOMEM;
}

void tally_done(struct tally *t)
{
    histogram_free(t->latency_ns);
    histogram_free(t->late_ns);
    for (int i = 0; i < OPERATION_KINDS; i++)
        histogram_free(t->kind_ns[i]);
    memset(t, 0, sizeof *t);
}

static const size_t counters[] = {
    offsetof(struct tally, operations), offsetof(struct tally, requests),
    offsetof(struct tally, hits),       offsetof(struct tally, misses),
    offsetof(struct tally, errors),     offsetof(struct tally, misses_expected),
    offsetof(struct tally, lost),       offsetof(struct tally, unsent),
    offsetof(struct tally, wrong),      offsetof(struct tally, value_bytes),
    offsetof(struct tally, bytes_sent), offsetof(struct tally, bytes_received),
};
#define COUNTERS (sizeof counters / sizeof counters[0])

static tally_counter *counter_of(struct tally *t, size_t i)
{
    return (tally_counter *)(void *)((char *)t + counters[i]);
}

void tally_reset(struct tally *t)
{
    for (size_t i = 0; i < COUNTERS; i++)
        atomic_store_explicit(counter_of(t, i), 0, memory_order_relaxed);
    histogram_reset(t->latency_ns);
    histogram_reset(t->late_ns);
    for (int i = 0; i < OPERATION_KINDS; i++)
        histogram_reset(t->kind_ns[i]);
    t->cpu_ns = t->end_ns = 0;
    t->first_wrong[0] = 0;
    t->error_texts_count = 0;
    t->error_texts_other = 0;
}

/* Add to the row of a text that is clean already. */
static void add_error(struct tally *t, const char *text, uint64_t count)
{
    unsigned i = 0;
    while (i < t->error_texts_count && strcmp(t->error_texts[i].text, text) != 0)
        i++;
    if (i == TALLY_ERROR_TEXTS_MAX) {
        t->error_texts_other += count;
        return;
    }
    struct tally_error *row = &t->error_texts[i];
    if (i == t->error_texts_count) {
        strcpy(row->text, text);
        row->count = 0;
        t->error_texts_count++;
    }
    row->count += count;
}

static void merge_texts(struct tally *into, const struct tally *from)
{
    for (unsigned i = 0; i < from->error_texts_count; i++)
        add_error(into, from->error_texts[i].text, from->error_texts[i].count);
    into->error_texts_other += from->error_texts_other;
    if (!into->first_wrong[0])
        strcpy(into->first_wrong, from->first_wrong);
}

void tally_merge(struct tally *into, const struct tally *from)
{
    for (size_t i = 0; i < COUNTERS; i++) {
        const tally_counter *counter = (const void *)((const char *)from + counters[i]);
        tally_add(counter_of(into, i), tally_get(counter));
    }
    histogram_merge(into->latency_ns, from->latency_ns);
    histogram_merge(into->late_ns, from->late_ns);
    for (int i = 0; i < OPERATION_KINDS; i++)
        histogram_merge(into->kind_ns[i], from->kind_ns[i]);
    into->cpu_ns += from->cpu_ns;
    if (from->end_ns > into->end_ns)
        into->end_ns = from->end_ns;
    merge_texts(into, from);
}

void tally_requests(struct tally *t, enum operation_kind kind, uint64_t latency_ns,
                    uint64_t requests, uint64_t operations)
{
    tally_add(&t->requests, requests);
    tally_add(&t->operations, operations);
    histogram_record(t->latency_ns, latency_ns, requests);
    histogram_record(t->kind_ns[kind], latency_ns, requests);
}

/* Peers' bytes as one line of printable text, cut where an escape would not fit whole. */
static void clean_text(struct tarn_bytes bytes, char out[TALLY_ERROR_BYTES_MAX])
{
    unsigned char storage[TALLY_ERROR_BYTES_MAX];
    struct buffer text = {.data = storage, .capacity = sizeof storage, .size_max = sizeof storage};
    text.size_max--;
    for (size_t i = 0; i < bytes.size && !text.failed; i++)
        buffer_append_escaped(&text, (struct tarn_bytes){(const char *)bytes.data + i, 1});
    memcpy(out, storage, text.size);
    out[text.size] = 0;
}

void tally_error(struct tally *t, struct tarn_bytes text, uint64_t operations)
{
    char clean[TALLY_ERROR_BYTES_MAX];
    clean_text(text, clean);
    tally_add(&t->errors, operations);
    add_error(t, clean, operations);
}

void tally_wrong(struct tally *t, struct tarn_bytes key)
{
    tally_add(&t->wrong, 1);
    if (!t->first_wrong[0])
        clean_text(key, t->first_wrong);
}
