/* Building an index of blocks within a bound of memory, however large the data are, so that it can
 * be stopped at any time and gone on with.
 *
 * scan   one pass over the data, read ahead by large direct reads, parsed on all cores: (hash,
 * block) of each record goes to one of many partitions of a spill file, by the hash's top bits;
 * what each block needs (where it starts, its checksum) to streams of the same file solve  one unit
 * after another, each a range of hashes: its pairs are read back, sorted, rid of repeated keys, and
 * become shards of the static function or pages; these are appended to the index file, which nobody
 * sees yet join   tables, header, and the file gets its name
 *
 * Beside the index lie INDEX.build, which becomes the index, and INDEX.state, which says how far it
 * is; INDEX.spill lies beside it or in another directory. The state is written now and then, after
 * what it speaks of was synced. What is left of a build that was stopped is these files; the same
 * build goes on from there, and a build that ends, well or not, takes them away, unless it ends for
 * a reason that going on can overcome: a full disk, an I/O error, being cancelled. */
#ifndef PACK_EXTERNAL_H
#define PACK_EXTERNAL_H

#include "pack/index.h"

#define EXTERNAL_AUTO (-1)

/* Zero is a default but where EXTERNAL_AUTO is. */
struct external_settings {
    uint64_t memory_bytes;      /* cap of the build, and of serving for what is chosen; 0: half of
                                   what the machine has */
    int granule_log2;           /* 9..24 or EXTERNAL_AUTO */
    int fingerprint_bits;       /* 0..16 or EXTERNAL_AUTO */
    int layout;                 /* enum index_layout or EXTERNAL_AUTO */
    const char *temp_directory; /* of the spill file; NULL: beside the index */
    bool restart;               /* do not go on with what is left of another build */

    /* For tests. */
    uint64_t hash_mask;       /* 0: all ones; such an index is written as if it were whole */
    uint64_t round_bytes;     /* of data, after which the state is written; 0: 16 GiB */
    uint64_t state_period_ns; /* least time between two states while solving; 0: 2 s */
    unsigned partitions_log2; /* 0: by memory and size */
    uint64_t unit_bytes;      /* of pairs in memory; 0: by memory */
};

/* Build the index of options->path and put it in its place. options: path, index_path, format,
 * duplicates, threads, progress, notice. Errors: those of pack_index_build(), and TOOBIG: the
 * memory is too little, with how much is needed and what would fit; NOSPACE; BUSY: another build of
 * this index is under way; CANCELLED. */
TARN_MUST int external_build(const struct os *os, const struct tarn_options *options,
                             const struct external_settings *settings,
                             struct tarn_index_report *ret_report, struct tarn_error *error);

#endif
