/* What the parts of a rewriting share; see rewrite.h. Private to rewrite*.c. */
#ifndef PACK_REWRITE_INTERNAL_H
#define PACK_REWRITE_INTERNAL_H

#include "pack/checkpoint.h"
#include "pack/rewrite.h"
#include "pack/spill.h"
#include "pack/splitter.h"

/* A record in a stream: this, its key, and its value unless that is far. */
struct rewrite_head {
    uint64_t hash;
    uint64_t offset; /* of the record in the data file: the order of repetitions */
    uint16_t key_bytes;
    uint16_t framing; /* bytes before the value that are not the key's */
    uint32_t value_bytes;
};

/* A larger value is copied from the data file when its turn comes. */
#define REWRITE_FAR_BYTES CHECKPOINT_FETCH_BYTES

/* How far it is, and of what: as the state has it, all u64 (native order: a state is of one
 * machine).
 */
struct rewrite_state {
    uint64_t data_bytes, data_mtime_ns, ends_checksum, format, duplicates; /* must agree */
    uint64_t partitions_log2, block_bytes;
    uint64_t spill_id, spill_bytes;
    uint64_t offset, records; /* where the first pass goes on; data_bytes: it is done */
    unsigned char secret[HASH_SECRET_BYTES];
};

struct rewrite {
    const struct os *os;
    const struct tarn_options *options;
    const struct rewrite_settings *settings;
    uint64_t memory;
    int fd, lock_fd;
    struct os_file_info info;
    struct source source;
    struct tarn_format format;
    char *output, *spill_path, *state_path;
    size_t spill_buffer_bytes;
    struct rewrite_state state;
    struct spill spill;
    struct tarn_index_report report;
};

/* CANCELLED, or TARN_OK. */
TARN_MUST int rewrite_progress(const struct rewrite *r, const char *phase, uint64_t done,
                               uint64_t total, struct tarn_error *error);

/* Fill r->state from OUT.state. TARN_NOTFOUND: there is none, or not of this rewriting. */
TARN_MUST int rewrite_load(struct rewrite *r, struct tarn_error *error);
/* Sync the spill file and write the state. */
TARN_MUST int rewrite_save(struct rewrite *r, struct tarn_error *error);

/* The second pass. */
TARN_MUST int rewrite_write(struct rewrite *r, struct tarn_error *error);

#endif
