/* Sets of records made up for a test: the bytes of their data file, and a model of what a store
 * over that file must answer, computed in the simplest way. Deterministic; memory failures abort.
 * One thread at a time. */
#ifndef LIB_DATASET_H
#define LIB_DATASET_H

#include "core/random.h"
#include "pack/format.h"

/* The formats that tests walk through: text twice, binary in every width and order. */
extern const struct tarn_format dataset_formats[];
extern const size_t dataset_formats_count;

struct dataset_record {
    uint64_t offset, size; /* in the data */
    uint64_t key_at, key_size, value_at, value_size;
};

struct dataset {
    struct tarn_format format;
    struct buffer data;
    struct dataset_record *records;
    size_t count, capacity;
    /* after dataset_settle(): which record counts for a key */
    uint32_t *slots; /* record number + 1 */
    uint64_t slots_count;
    size_t live, duplicates;
};

void dataset_init(struct dataset *d, const struct tarn_format *format);
void dataset_done(struct dataset *d);

/* Append a record. The bytes must suit the format. */
void dataset_add(struct dataset *d, struct tarn_bytes key, struct tarn_bytes value);
void dataset_add_text(struct dataset *d, const char *key, const char *value);

/* `count` records with keys of 0..key_max random bytes and values of 0..value_max, some keys drawn
 * again from those before (share: one in `repeat`, 0: only by chance). In text the bytes are those
 * that the format allows. */
void dataset_add_random(struct dataset *d, uint64_t seed, size_t count, size_t key_max,
                        size_t value_max, unsigned repeat);

/* Take the newline from the end of a text file; nothing for binary. */
void dataset_drop_last_newline(struct dataset *d);

/* Find out which records count. */
void dataset_settle(struct dataset *d, enum tarn_duplicates policy);

struct tarn_bytes dataset_key(const struct dataset *d, size_t record);
struct tarn_bytes dataset_value(const struct dataset *d, size_t record);
/* The record that counts for this key, or SIZE_MAX. */
size_t dataset_find(const struct dataset *d, struct tarn_bytes key);
/* Whether this record is the one that counts for its key. */
bool dataset_live(const struct dataset *d, size_t record);

#endif
