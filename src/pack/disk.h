/* A pack on disk: one version of an immutable data file that stays where it is, and its index.
 * Reads only, and only of what is asked for: nothing is mapped, and no byte is believed before a
 * checksum of the index (or, of a `tarn` file, its own) held.
 *
 * Keys are looked up by the state machine of lookup.h, which leaves the reading to its caller;
 * what is here reads by itself and waits for it (the struct os's read_at).
 *
 * Threads: immutable after open; any number of threads may read, each with its own struct
 * disk_buffer. Lives until the last disk_unref(). */
#ifndef PACK_DISK_H
#define PACK_DISK_H

#include "pack/index.h"

/* Offsets, sizes and memory of every read are multiples of this, which every device takes for
 * direct reads. */
#define DISK_ALIGN_BYTES 4096u

/* A value over this is not read at once but by pieces (lookup.h). */
#define DISK_FAR_BYTES (1u << 20)

enum disk_layout {
    DISK_BLOCKS, /* the index's function is in memory: one read for a key, of its block */
    DISK_PAGES,  /* the index stays on disk: one read of its page, one of the block */
    DISK_HASHED, /* a `tarn` file: records in the order of their keys' hashes */
};

struct hashed;
struct lookup_found;

struct disk_pack {
    const struct os *os;
    enum disk_layout layout;
    int fd;           /* the data file; direct reads where the file system has them */
    int index_fd;     /* DISK_PAGES: the index file; else -1 */
    bool direct;      /* reads go past the page cache */
    char *path;       /* of the data file, for messages */
    char *index_path; /* DISK_PAGES: of the index file; else NULL */
    uint64_t data_bytes;
    struct os_file_info info; /* of the data file when it was opened */
    struct index *index;      /* NULL: DISK_HASHED */
    struct hashed *hashed;    /* NULL: the other layouts */
    bool index_built;         /* was built at open, not read */
    uint64_t open_us;
    _Atomic uint64_t references;
};

/* Open as tarn_open() says, but never load the data: memory is what disk_figures() tells.
 * require_index: refuse instead of building an index that is missing, stale, damaged, or one for
 * data in memory. The caller holds one reference. Errors: as tarn_open(). */
TARN_MUST int disk_open(const struct os *os, const struct tarn_options *options, bool require_index,
                        struct disk_pack **ret_pack, struct tarn_error *error);
void disk_ref(struct disk_pack *pack);
void disk_unref(struct disk_pack *pack); /* NULL is allowed */

/* Is the open file a `tarn` file, by the format given or its first bytes? Such a file is its own
 * index, and is left on disk always. Errors: IO. */
TARN_MUST int disk_is_hashed(const struct os *os, const struct tarn_options *options, int fd,
                             bool *ret_hashed, struct tarn_error *error);

struct disk_figures {
    uint64_t keys, records;
    uint64_t key_bytes_total, value_bytes_total; /* DISK_HASHED: 0 and the sum of both */
    uint64_t memory_bytes;                       /* of index, tables and the pack itself */
    uint64_t
        read_bytes_max; /* size of the largest read that a lookup may ask for, pieces included */
    struct tarn_format format; /* never AUTO */
};
void disk_figures(const struct disk_pack *pack, struct disk_figures *ret_figures);

/* Of a `tarn` file of so many blocks: memory for its directory, held or not. */
uint64_t disk_directory_bytes(uint64_t blocks, bool held);

/* Is the data file still the one that was opened? Cheap: for once a second. TARN_OK; STALE: it has
 * another size or modification time, MISSING: there is none of this name any more, or another;
 * reads of the open file go on, and each answers rightly or with an error. Other errors: IO. */
TARN_MUST int disk_look(const struct disk_pack *pack, struct tarn_error *error);

/* --- reading and waiting for it --- */

/* Memory for reads, aligned; zeroed it is empty. One thread at a time. */
struct disk_buffer {
    unsigned char *data;
    size_t capacity; /* multiple of DISK_ALIGN_BYTES */
};
TARN_MUST bool disk_buffer_reserve(struct disk_buffer *b, size_t size); /* contents are lost */
void disk_buffer_done(struct disk_buffer *b);

/* pread until `needed` bytes are there or the file ends, also direct and after short reads. data,
 * size and offset are aligned. ret_got: fewer than needed only at the end of the file. 0 or a
 * negative errno. */
TARN_MUST int disk_read(const struct os *os, int fd, void *data, size_t size, size_t needed,
                        uint64_t offset, size_t *ret_got);

/* Room in `buffer`; NOMEM with its error. */
TARN_MUST int disk_reserve(const struct disk_pack *pack, struct disk_buffer *buffer, size_t size,
                           struct tarn_error *error);

/* Read what the lookup asks for, wait, and go on: what lookup_next() says, IO, NOMEM. */
struct lookup;
TARN_MUST int disk_step(struct lookup *l, struct disk_buffer *buffer,
                        struct lookup_found *ret_found, struct tarn_error *error);

/* The record of a key: lookup.h, driven to its end. Views into `buffer`, valid until it is used
 * again. TARN_OK, NOTFOUND. Errors: IO, CORRUPT, STALE (the file is shorter than it was), NOMEM. */
TARN_MUST int disk_find(const struct disk_pack *pack, struct tarn_bytes key,
                        struct disk_buffer *buffer, struct lookup_found *ret_found,
                        struct tarn_error *error);

/* All of a value, far or not, appended to out. Errors: as disk_find(). */
TARN_MUST int disk_value(const struct disk_pack *pack, const struct lookup_found *found,
                         struct disk_buffer *buffer, struct buffer *out, struct tarn_error *error);

/* See tarn_scan(); any cursor is safe. Views are valid during the visit only. On an error the
 * cursor is behind what was visited: to go on from there repeats it; and *ret_skip, if it is not
 * NULL, is a cursor behind the place that cannot be read (0: the end). Memory: that of `buffer`,
 * some MiB or the largest record. Errors: as disk_find(). */
TARN_MUST int disk_scan(const struct disk_pack *pack, uint64_t *cursor, size_t count,
                        struct disk_buffer *buffer, tarn_visit visit, void *context,
                        uint64_t *ret_skip, struct tarn_error *error);

/* See tarn_random_key(); the key is a view into `buffer`. Some reads. */
TARN_MUST int disk_random_key(const struct disk_pack *pack, uint64_t random,
                              struct disk_buffer *buffer, struct tarn_bytes *ret_key,
                              struct tarn_error *error);

/* Read everything once, in order: every checksum holds, every record is whole and found under its
 * key, and there are as many as the index says. See tarn_verify(). */
TARN_MUST int disk_verify(const struct disk_pack *pack, const struct tarn_options *options,
                          struct tarn_verify_report *ret_report, struct tarn_error *error);

#endif
