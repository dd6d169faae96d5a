/* What the parts of an external build share: see external.h.
 *
 *     external.c         runs the phases, cleans up
 *     external_begin.c   what is asked for, what is left of a build that was stopped
 *     external_scan.c    records into partitions, blocks into tables
 *     external_solve.c   one unit after another into shards or pages
 *     external_pairs.c   pairs of a unit: read back, sorted, repeated keys taken out
 *     external_join.c    tables and header, the name
 *     external_state.c   how far it is, on disk
 *     external_out.c     the file that becomes the index
 *
 * Invariant: what a state speaks of was on the disk before it, and nothing of it is written over
 * until the next state. */
#ifndef PACK_EXTERNAL_INTERNAL_H
#define PACK_EXTERNAL_INTERNAL_H

#include <stdatomic.h>

#include "pack/blocks.h"
#include "pack/equal.h"
#include "pack/external.h"
#include "pack/external_fit.h"
#include "pack/spill.h"

/* The file that becomes the index, written from `base` on, with the checksums of pieces. */
struct out {
    const struct os *os;
    const char *path; /* borrowed */
    int fd;           /* borrowed */
    uint64_t base;    /* where it begins in the file */
    uint64_t size;    /* bytes appended */
    unsigned char *piece;
    struct buffer sums; /* u64 of each whole piece before */
};

/* Begin, or go on behind `size` bytes whose pieces' sums are given. Errors: IO, NOMEM, CORRUPT. */
TARN_MUST int out_open(struct out *o, const struct os *os, const char *path, int fd, uint64_t base,
                       uint64_t size, struct tarn_bytes sums, struct tarn_error *error);
void out_close(struct out *o); /* the descriptor stays open; allowed on a zeroed struct */
TARN_MUST int out_append(struct out *o, const void *data, size_t size, struct tarn_error *error);
TARN_MUST int out_pad(struct out *o, struct tarn_error *error); /* zeros up to a multiple of 8 */
/* What is not written yet; it may be gone on after that. */
TARN_MUST int out_flush(struct out *o, struct tarn_error *error);
uint64_t out_checksum(struct out *o); /* of all of it: index_body_checksum() */

/* Streams of the spill file behind those of the partitions. */
enum spill_stream {
    STREAM_CHECKSUMS,       /* u64 for each MiB of the data */
    STREAM_STARTS,          /* as in the index */
    STREAM_BLOCK_CHECKSUMS, /* likewise */
    STREAM_WORDS,           /* u64: entries of the table of shards, or of the top */
    STREAM_COUNT
};

/* How far it is: all numbers that a state holds beside the index's own. */
struct external_counts {
    uint64_t solving;         /* 0: scanning */
    uint64_t partitions_log2; /* of the spill file */
    uint64_t offset;          /* where the scan goes on */
    uint64_t spill_bytes;     /* of the spill file */
    uint64_t units_done;      /* of units */
    uint64_t shards, units;   /* from struct fit_units, once the scan is done */
    uint64_t groups;          /* of all shards done */
    uint64_t out_bytes;       /* appended to the body, or of pages */
    uint64_t repeat_block;    /* the first block that has a key again; UINT64_MAX: none */
    uint64_t repeat_hash;
    uint64_t collisions;
    uint64_t scan_us, solve_us; /* in earlier lives, too */
};

/* A unit's shard, solved; or its part of the pairs, for pages. */
struct unit_shard {
    size_t first, count; /* of pairs */
    unsigned char *groups;
    size_t group_count;
    unsigned seed;
};

/* Pairs of a unit. value: block << check_bits | check bits of another hash of the key. */
struct unit {
    uint64_t number;
    struct ribbon_pair *pairs; /* as read, in no order */
    size_t count, capacity;
    uint64_t duplicates;       /* taken out while reading */
    struct ribbon_pair repeat; /* seen then: hash, block; UINT64_MAX: none */
    struct buffer buffer;      /* of an extent */
};

struct external {
    const struct os *os;
    const struct tarn_options *options;
    const struct external_settings *settings;
    unsigned threads;
    int fd; /* the data file */
    struct os_file_info info;
    struct source source;
    uint64_t ends_checksum; /* of the data's first and last bytes */
    char *index_path, *build_path, *spill_path, *state_path, *state_temp_path;
    int build_fd;

    struct index index; /* what the header will say; body NULL */
    struct fit fit;
    unsigned check_bits;
    uint64_t spill_id;
    struct external_counts counts;
    bool published;    /* a build that was stopped had come to its end */
    bool state_saved;  /* there is one on disk that can be gone on from */
    uint64_t state_ns; /* when */

    struct block_tables tables; /* scan */
    uint64_t *checksums;
    uint64_t tables_block, tables_checksum; /* what is before them is in the spill file */
    struct splitter splitter;
    struct spill spill;
    struct out out;

    struct equal_result equal; /* exceptions, duplicates */
    _Atomic int status;        /* first failure of a thread */
    atomic_bool bad_record;
    pthread_mutex_t lock; /* guards error, equal */
    struct tarn_error error;
};

/* The first failure wins. Any thread. */
void external_fail(struct external *x, int status, const struct tarn_error *error);
int external_no_memory(const struct external *x, struct tarn_error *error);
/* Report progress, from the calling thread; false (and failed): cancelled. */
bool external_progress(struct external *x, const char *phase, uint64_t done, uint64_t total);
void external_notice(const struct external *x, const char *text);
static inline unsigned external_stream(const struct external *x, enum spill_stream stream)
{
    return (1u << x->fit.partitions_log2) + stream;
}

/* Where what is made by solving begins in the file. */
static inline uint64_t external_base(const struct external *x)
{
    return x->index.layout == INDEX_PAGES ? INDEX_PAGES_AT : INDEX_HEADER_BYTES;
}

/* Open the data file; decide. */
TARN_MUST int external_prepare(struct external *x, struct tarn_error *error);
/* From the state, or anew; x->published: there is nothing left to do. */
TARN_MUST int external_begin(struct external *x, struct tarn_error *error);
TARN_MUST int external_scan(struct external *x, struct tarn_error *error);
TARN_MUST int external_solve(struct external *x, struct tarn_error *error);
/* The tables of the data, which come first in the body. */
TARN_MUST int external_join_tables(struct external *x, struct tarn_error *error);
TARN_MUST int external_join(struct external *x, struct tarn_error *error);

/* Everything that the state will speak of onto the disk, then the state. */
TARN_MUST int external_save(struct external *x, struct tarn_error *error);
/* Fill counts, index and the rest from a state. TARN_NOTFOUND: there is none, or not of this build
 * (with a notice). Errors: IO, NOMEM. ret_sums: of the pieces of the file that was begun. */
TARN_MUST int external_load(struct external *x, struct buffer *ret_sums, struct tarn_error *error);
/* As if nothing had been read, with a notice that what is left is damaged. Returns TARN_NOTFOUND.
 */
int external_unload(struct external *x, struct buffer *sums);
/* Take away all three files. Failures are ignored: the next build overwrites them. */
void external_forget(struct external *x);

/* Read a unit's pairs back, in place of those it had. */
TARN_MUST int unit_load(struct external *x, struct unit *u, uint64_t number,
                        struct tarn_error *error);
/* Sort pairs of one of `shards` shards by (hash, value). scratch: as many again; only for up to
 * PAIRS_SORT_MAX. */
#define PAIRS_SORT_MAX 16384
void pairs_sort(struct ribbon_pair *pairs, struct ribbon_pair *scratch, size_t count,
                uint64_t shards);
/* Take repeated keys out of sorted pairs, in place; returns how many are left. *repeat becomes the
 * hash and block of a pair that repeats a key, if its block is below repeat->value. */
size_t pairs_unique(const struct external *x, struct ribbon_pair *pairs, size_t count,
                    struct ribbon_pair *repeat);

#endif
