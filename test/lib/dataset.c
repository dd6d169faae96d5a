/* See dataset.h. The model is a plain open-addressing table with FNV-1a, so that it shares nothing
 * with the code under test but format_encode(). */
#include "lib/dataset.h"

#include <stdio.h>
#include <stdlib.h>

const struct tarn_format dataset_formats[] = {
    {.kind = TARN_FORMAT_TEXT},
    {.kind = TARN_FORMAT_TEXT, .separator_set = true, .separator = ','},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U32},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U16},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U64},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U32, .big_endian = true},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U16, .big_endian = true},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_U64, .big_endian = true},
    {.kind = TARN_FORMAT_BINARY, .size_type = TARN_SIZE_VARINT},
};
const size_t dataset_formats_count = sizeof dataset_formats / sizeof dataset_formats[0];

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "dataset: %s\n", what);
    abort();
}

void dataset_init(struct dataset *d, const struct tarn_format *format)
{
    *d = (struct dataset){.format = *format};
}

void dataset_done(struct dataset *d)
{
    buffer_done(&d->data);
    free(d->records);
    free(d->slots);
    *d = (struct dataset){0};
}

void dataset_add(struct dataset *d, struct tarn_bytes key, struct tarn_bytes value)
{
    if (d->count == d->capacity) {
        d->capacity = d->capacity ? 2 * d->capacity : 64;
        d->records = realloc(d->records, d->capacity * sizeof *d->records);
        if (!d->records)
            die("out of memory");
    }
    struct dataset_record *record = &d->records[d->count++];
    size_t start = d->data.size;
    if (format_encode(&d->format, key, value, &d->data) != TARN_OK)
        die("this record does not suit the format");
    size_t framing = d->data.size - start - key.size - value.size;
    bool text = d->format.kind == TARN_FORMAT_TEXT;
    size_t value_field = text ? 1 : framing / 2;
    if (!text && d->format.size_type == TARN_SIZE_VARINT)
        for (size_t n = value.size, bytes = 1; bytes == 1 || n > 0; bytes++, n >>= 7)
            value_field = bytes;
    size_t key_field = text ? 0 : framing - value_field;
    *record = (struct dataset_record){
        .offset = start,
        .size = d->data.size - start,
        .key_at = start + key_field,
        .key_size = key.size,
        .value_at = start + key_field + key.size + value_field,
        .value_size = value.size,
    };
}

void dataset_add_text(struct dataset *d, const char *key, const char *value)
{
    dataset_add(d, bytes_of(key), bytes_of(value));
}

/* Random bytes that the format takes: in text keys no newline and no separator, in values no
 * newline, but otherwise as nasty as can be. */
static void fill(const struct tarn_format *format, bool key, uint64_t *random, unsigned char *out,
                 size_t size)
{
    bool text = format->kind == TARN_FORMAT_TEXT;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)random_next(random);
        if ((random_next(random) & 3) == 0) /* favour what has a meaning */
            c = (unsigned char)"\0\1\n\r\t ,\xff"[c & 7];
        if (text && c == '\n')
            c = 'n';
        if (text && key && (format->separator_set ? c == format->separator : c == ' ' || c == '\t'))
            c = 's';
        out[i] = c;
    }
}

void dataset_add_random(struct dataset *d, uint64_t seed, size_t count, size_t key_max,
                        size_t value_max, unsigned repeat)
{
    unsigned char *key = malloc(key_max + 1), *value = malloc(value_max + 1);
    uint64_t random = seed;
    if (!key || !value)
        die("out of memory");
    for (size_t i = 0; i < count; i++) {
        size_t key_size = random_next(&random) % (key_max + 1);
        size_t value_size = random_next(&random) % (value_max + 1);
        fill(&d->format, true, &random, key, key_size);
        fill(&d->format, false, &random, value, value_size);
        if (repeat && d->count > 0 && random_next(&random) % repeat == 0) {
            struct tarn_bytes old = dataset_key(d, random_next(&random) % d->count);
            if (old.size <= key_max) {
                key_size = old.size;
                memcpy(key, old.data, old.size);
            }
        }
        dataset_add(d, (struct tarn_bytes){key, key_size}, (struct tarn_bytes){value, value_size});
    }
    free(key);
    free(value);
}

void dataset_drop_last_newline(struct dataset *d)
{
    if (d->format.kind != TARN_FORMAT_TEXT || d->count == 0)
        return;
    d->data.size--;
    d->records[d->count - 1].size--;
}

struct tarn_bytes dataset_key(const struct dataset *d, size_t record)
{
    const struct dataset_record *r = &d->records[record];
    return (struct tarn_bytes){d->data.data + r->key_at, r->key_size};
}

struct tarn_bytes dataset_value(const struct dataset *d, size_t record)
{
    const struct dataset_record *r = &d->records[record];
    return (struct tarn_bytes){d->data.data + r->value_at, r->value_size};
}

/* The slot where this key is, or would be. */
static uint64_t slot_of(const struct dataset *d, struct tarn_bytes key)
{
    const unsigned char *p = key.data;
    uint64_t hash = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < key.size; i++)
        hash = (hash ^ p[i]) * 0x100000001b3ull;
    hash ^= hash >> 29;
    uint64_t slot = hash & (d->slots_count - 1);
    while (d->slots[slot] != 0 && !bytes_equal(dataset_key(d, d->slots[slot] - 1), key))
        slot = (slot + 1) & (d->slots_count - 1);
    return slot;
}

void dataset_settle(struct dataset *d, enum tarn_duplicates policy)
{
    free(d->slots);
    for (d->slots_count = 16; d->slots_count < 2 * d->count; d->slots_count *= 2)
        ;
    d->slots = calloc(d->slots_count, sizeof *d->slots);
    if (!d->slots)
        die("out of memory");
    d->live = d->duplicates = 0;
    for (size_t i = 0; i < d->count; i++) {
        uint32_t *slot = &d->slots[slot_of(d, dataset_key(d, i))];
        if (*slot == 0)
            d->live++;
        else
            d->duplicates++;
        if (*slot == 0 || policy == TARN_DUPLICATES_LAST)
            *slot = (uint32_t)i + 1;
    }
}

size_t dataset_find(const struct dataset *d, struct tarn_bytes key)
{
    return (size_t)d->slots[slot_of(d, key)] - 1;
}

bool dataset_live(const struct dataset *d, size_t record)
{
    return dataset_find(d, dataset_key(d, record)) == record;
}
