/* A pack made from a data set without any file, so that a test can choose what pack_open() does
 * not let it choose (a weak hash), and the questions that every pack must answer as the model. */
#ifndef LIB_MEMORY_PACK_H
#define LIB_MEMORY_PACK_H

#include <stdlib.h>

#include "lib/dataset.h"
#include "lib/test.h"
#include "pack/builder.h"
#include "pack/pack.h"

struct memory_pack {
    struct pack pack;
    unsigned char *data; /* exactly as large as the data: a byte too many is a fault under ASan */
    struct builder_report report;
};

/* The options' format is the data set's. With a granule the pack cannot be asked: its index can. */
static inline void memory_pack_init_blocks(struct memory_pack *m, struct dataset *d,
                                           struct builder_options options)
{
    struct tarn_error error;
    options.format = d->format;
    *m = (struct memory_pack){0};
    m->data = malloc(d->data.size ? d->data.size : 1);
    if (d->data.size > 0)
        memcpy(m->data, d->data.data, d->data.size);
    struct source source = {.os = os_real(), .path = "memory", .fd = -1, .size = d->data.size};
    source.memory = (struct tarn_bytes){d->data.size ? m->data : NULL, d->data.size};
    m->pack.os = os_real();
    m->pack.references = 1;
    m->pack.data = source.memory.data;
    m->pack.data_bytes = d->data.size;
    m->pack.prefetch_bytes = 64;
    if (builder_run(&source, &options, &m->pack.index, &m->report, &error) != TARN_OK)
        fail_msg("%s", error.text);
    dataset_settle(d, options.duplicates);
}

/* hash_mask 0: none. The data set is settled by the policy. */
static inline void memory_pack_init(struct memory_pack *m, struct dataset *d,
                                    enum tarn_duplicates policy, unsigned threads,
                                    uint64_t hash_mask)
{
    memory_pack_init_blocks(
        m, d,
        (struct builder_options){.duplicates = policy, .threads = threads, .hash_mask = hash_mask});
}

static inline void memory_pack_done(struct memory_pack *m)
{
    index_free(m->pack.index);
    free(m->data);
}

/* What the pack answers for this key, and what the model does. */
static inline void check_answer(const struct pack *pack, const struct dataset *d,
                                struct tarn_bytes key, int status, struct tarn_bytes value)
{
    size_t expected = dataset_find(d, key);
    if (expected == SIZE_MAX) {
        if (status != TARN_NOTFOUND)
            fail_msg("an absent key of %zu bytes is found", key.size);
        return;
    }
    if (status != TARN_OK)
        fail_msg("record %zu is not found", expected);
    assert_int_equal(value.size, d->records[expected].value_size);
    assert_ptr_equal(value.data, pack->data + d->records[expected].value_at);
}

/* get and get_many of all keys present, of their beginnings and continuations, and of `absent`
 * random keys. */
static inline void check_pack(const struct pack *pack, const struct dataset *d, size_t absent)
{
    struct tarn_bytes keys[PACK_BATCH * 2 + 1], values[PACK_BATCH * 2 + 1], value;
    unsigned char noise[PACK_BATCH * 2 + 1][8];
    uint64_t random = d->count;
    size_t total = d->count + absent;
    for (size_t done = 0, size; done < total; done += size) {
        size = 1 + random_next(&random) % (PACK_BATCH * 2 + 1);
        if (size > total - done)
            size = total - done;
        for (size_t i = 0; i < size; i++) {
            uint64_t bytes = random_next(&random);
            memcpy(noise[i], &bytes, 8);
            keys[i] = done + i < d->count ? dataset_key(d, done + i)
                                          : (struct tarn_bytes){noise[i], bytes % 9};
            if (keys[i].size > 0 && bytes % 5 == 0)
                keys[i].size--; /* the beginning of a key is another key */
        }
        size_t found = 0;
        size_t said = pack_get_many(pack, keys, size, values);
        for (size_t i = 0; i < size; i++) {
            found += values[i].data != NULL;
            check_answer(pack, d, keys[i], values[i].data ? TARN_OK : TARN_NOTFOUND, values[i]);
            int status = pack_get(pack, keys[i], &value);
            check_answer(pack, d, keys[i], status, value);
        }
        assert_int_equal(said, found);
    }
}

#endif
