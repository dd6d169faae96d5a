/* See history.h. */
#include "lib/history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/random.h"

#define LONG_KEY_BYTES 3000

static void *grow(void *array, size_t size)
{
    void *grown = realloc(array, size);
    if (grown == NULL)
        abort();
    return grown;
}

/* --- keys and values --- */

struct tarn_bytes history_key(unsigned key)
{
    static char keys[HISTORY_KEYS][8], long_key[LONG_KEY_BYTES];
    if (key == 0)
        return (struct tarn_bytes){"", 0};
    if (key == 1) {
        memset(long_key, 'L', sizeof long_key);
        return (struct tarn_bytes){long_key, sizeof long_key};
    }
    char *text = keys[key];
    int size = key < 6 ? snprintf(text, sizeof keys[0], "%c%c\n%u", 0, 0xff - (int)key, key)
                       : snprintf(text, sizeof keys[0], "key%u", key);
    return (struct tarn_bytes){text, (size_t)size};
}

unsigned history_key_find(struct tarn_bytes bytes)
{
    for (unsigned key = 0; key < HISTORY_KEYS; key++) {
        struct tarn_bytes of = history_key(key);
        if (of.size == bytes.size && memcmp(of.data, bytes.data, bytes.size) == 0)
            return key;
    }
    return HISTORY_KEYS;
}

/* Every eight bytes are their own, so that none can stand where another one should. */
void history_fill(uint64_t id, unsigned char *data, size_t size)
{
    for (size_t i = 0; i < size; i += sizeof id) {
        uint64_t word = random_mix(id + i * 0x9e3779b97f4a7c15ull);
        memcpy(data + i, &word, size - i < sizeof word ? size - i : sizeof word);
    }
}

static void clear(struct history_value *value)
{
    free(value->data);
    *value = (struct history_value){0};
}

void history_values_done(struct history_value values[HISTORY_KEYS])
{
    for (unsigned key = 0; key < HISTORY_KEYS; key++)
        clear(&values[key]);
}

static void copy(struct history_value *to, const struct history_value *from)
{
    unsigned char *data = from->size > 0 ? grow(NULL, from->size) : NULL;
    if (data)
        memcpy(data, from->data, from->size);
    free(to->data);
    *to = *from;
    to->data = data;
}

/* --- what changes do --- */

static void apply_patch(struct history_value *value, const struct history_effect *e)
{
    if (e->anew)
        clear(value);
    size_t end = e->offset + e->size;
    if (end > value->size) {
        value->data = grow(value->data, end);
        memset(value->data + value->size, 0, end - value->size);
        value->size = end;
    }
    if (e->size > 0)
        history_fill(e->id, value->data + e->offset, e->size);
    value->present = true;
    value->expire_ms = e->expire_ms;
}

static void apply_put(struct history_value *values, const struct history_effect *e)
{
    struct history_value *value = &values[e->key];
    if (e->source < HISTORY_KEYS) {
        if (values[e->source].present)
            copy(value, &values[e->source]);
        return;
    }
    clear(value);
    value->present = true;
    value->expire_ms = e->expire_ms;
    value->size = e->size;
    if (e->size > 0) {
        value->data = grow(NULL, e->size);
        history_fill(e->id, value->data, e->size);
    }
}

static void apply(struct history_value *values, const struct history_effect *e)
{
    switch (e->kind) {
    case CHANGE_PUT:
        apply_put(values, e);
        break;
    case CHANGE_DELETE:
        clear(&values[e->key]);
        break;
    case CHANGE_EXPIRE:
        if (values[e->key].present)
            values[e->key].expire_ms = e->expire_ms;
        break;
    case CHANGE_PATCH:
        apply_patch(&values[e->key], e);
        break;
    case CHANGE_FLUSH:
        history_values_done(values);
        break;
    }
}

/* --- steps --- */

static struct history_effect *add_effect(struct history_step *step, enum change_kind kind,
                                         unsigned key)
{
    if (step->count == HISTORY_STEP_EFFECTS || key >= HISTORY_KEYS)
        abort();
    struct history_effect *e = &step->effects[step->count++];
    *e = (struct history_effect){.kind = kind, .key = key, .source = HISTORY_KEYS};
    return e;
}

void history_put(struct history_step *step, unsigned key, uint64_t id, size_t size,
                 int64_t expire_ms)
{
    struct history_effect *e = add_effect(step, CHANGE_PUT, key);
    e->id = id;
    e->size = size;
    e->expire_ms = expire_ms;
}

void history_delete(struct history_step *step, unsigned key)
{
    (void)add_effect(step, CHANGE_DELETE, key);
}

void history_expire(struct history_step *step, unsigned key, int64_t expire_ms)
{
    add_effect(step, CHANGE_EXPIRE, key)->expire_ms = expire_ms;
}

void history_patch(struct history_step *step, unsigned key, uint64_t id, size_t size, size_t offset,
                   int64_t expire_ms, bool anew)
{
    struct history_effect *e = add_effect(step, CHANGE_PATCH, key);
    e->id = id;
    e->size = size;
    e->offset = offset;
    e->expire_ms = expire_ms;
    e->anew = anew;
}

void history_copy(struct history_step *step, unsigned source, unsigned target)
{
    add_effect(step, CHANGE_PUT, target)->source = source;
}

void history_flush(struct history_step *step)
{
    (void)add_effect(step, CHANGE_FLUSH, 0);
}

/* --- the history --- */

void history_init(struct history *h)
{
    *h = (struct history){0};
}

void history_done(struct history *h)
{
    history_values_done(h->base);
    free(h->ops);
    *h = (struct history){0};
}

size_t history_add(struct history *h, const struct history_step *step, uint64_t sequence)
{
    if (h->count == h->room) {
        h->room = h->room ? 2 * h->room : 64;
        h->ops = grow(h->ops, h->room * sizeof *h->ops);
    }
    h->ops[h->count] = (struct history_op){.sequence = sequence, .step = *step};
    return h->count++;
}

/* May it have changed nothing? */
static bool is_vain(const struct history_op *op)
{
    for (unsigned i = 0; i < op->step.count; i++)
        if (op->step.effects[i].kind != CHANGE_EXPIRE)
            return false;
    return true;
}

static int compare(const void *a, const void *b)
{
    const struct history_op *one = a, *two = b;
    if (one->sequence != two->sequence)
        return one->sequence < two->sequence ? -1 : 1;
    return is_vain(one) - is_vain(two);
}

bool history_sort(struct history *h)
{
    if (h->count > 0)
        qsort(h->ops, h->count, sizeof *h->ops, compare);
    for (size_t i = 1; i < h->count; i++)
        if (h->ops[i - 1].sequence == h->ops[i].sequence && !is_vain(&h->ops[i]))
            return false;
    return true;
}

/* May a key that should be `value` be seen as `seen` at a time between the two? */
static bool may_be(const struct history_value *value, const struct history_value *seen,
                   const int64_t time_ms[2])
{
    bool expires = value->present && value->expire_ms != 0;
    if (!seen->present)
        return !value->present || (expires && value->expire_ms <= time_ms[1]);
    return value->present && !(expires && value->expire_ms <= time_ms[0]) &&
           value->expire_ms == seen->expire_ms && value->size == seen->size &&
           (value->size == 0 || memcmp(value->data, seen->data, value->size) == 0);
}

static void copy_base(const struct history *h, struct history_value *values)
{
    memset(values, 0, HISTORY_KEYS * sizeof *values);
    for (unsigned key = 0; key < HISTORY_KEYS; key++)
        copy(&values[key], &h->base[key]);
}

static bool all_may_be(const struct history_value *values, const struct history_value *seen,
                       const int64_t time_ms[2])
{
    for (unsigned key = 0; key < HISTORY_KEYS; key++)
        if (!may_be(&values[key], &seen[key], time_ms))
            return false;
    return true;
}

bool history_find(const struct history *h, const struct history_value seen[HISTORY_KEYS],
                  const int64_t time_ms[2], size_t *ret_lowest, size_t *ret_highest)
{
    struct history_value values[HISTORY_KEYS];
    bool found = false;
    copy_base(h, values);
    for (size_t i = 0;; i++) {
        if (all_may_be(values, seen, time_ms)) {
            if (!found)
                *ret_lowest = i;
            *ret_highest = i;
            found = true;
        }
        if (i == h->count)
            break;
        for (unsigned e = 0; e < h->ops[i].step.count; e++)
            apply(values, &h->ops[i].step.effects[e]);
    }
    history_values_done(values);
    return found;
}

size_t history_required(const struct history *h, enum history_must must)
{
    size_t required = 0;
    for (size_t i = 0; i < h->count; i++)
        if (h->ops[i].must >= must)
            required = i + 1;
    return required;
}

void history_keep(struct history *h, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (unsigned e = 0; e < h->ops[i].step.count; e++)
            apply(h->base, &h->ops[i].step.effects[e]);
    h->count = 0;
}

static void print_value(const char *what, const struct history_value *v)
{
    fprintf(stderr, "  %s ", what);
    if (!v->present)
        fprintf(stderr, "nothing");
    else
        fprintf(stderr, "%zu bytes, expiry %lld:", v->size, (long long)v->expire_ms);
    for (size_t i = 0; v->present && i < v->size && i < 16; i++)
        fprintf(stderr, " %02x", v->data[i]);
}

void history_print(const struct history *h, size_t count,
                   const struct history_value seen[HISTORY_KEYS], const int64_t time_ms[2])
{
    struct history_value values[HISTORY_KEYS];
    copy_base(h, values);
    for (size_t i = 0; i < count; i++)
        for (unsigned e = 0; e < h->ops[i].step.count; e++)
            apply(values, &h->ops[i].step.effects[e]);
    for (unsigned key = 0; key < HISTORY_KEYS; key++)
        if (!may_be(&values[key], &seen[key], time_ms)) {
            fprintf(stderr, "    key %u:", key);
            print_value("should be", &values[key]);
            print_value("is", &seen[key]);
            fprintf(stderr, "\n");
        }
    history_values_done(values);
}
