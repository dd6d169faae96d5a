/* What the drivers in this folder share, and their names. Each is a struct embedded_store of
 * src/bench/embedded.h; the options that its store gets stand at the head of its file. */
#ifndef BENCH_PEERS_PEER_H
#define BENCH_PEERS_PEER_H

#include "bench/embedded.h"

extern const struct embedded_store peer_lmdb, peer_rocksdb, peer_leveldb, peer_tkrzw, peer_cdb;

#define PEER_PATH_BYTES 4096

/* A store's own directory. */
struct peer_directory {
    char path[PEER_PATH_BYTES - 64]; /* there is always room to append a short file name */
    bool temporary;
};

/* path "": a new directory under $TMPDIR, or beside this program, that close removes with all that
 * is in it. Else that directory, made if it is not there, and kept. Errors: INVALID (too long), IO,
 * DENIED, NOSPACE. */
TARN_MUST int peer_directory_open(struct peer_directory *d, const char *name, const char *path,
                                  struct tarn_error *error);
void peer_directory_close(const struct peer_directory *d);
/* "directory/file" into out. */
void peer_directory_file(const struct peer_directory *d, const char *file,
                         char out[PEER_PATH_BYTES]);

/* "NAME: what: text"; returns TARN_IO. */
int peer_error(struct tarn_error *error, const char *name, const char *what, const char *text);

/* Make *array hold at least `count` items of `size` bytes; new ones are zero. *capacity: how many
 * it holds. Errors: NOMEM (the array is as it was). */
TARN_MUST int peer_grow(void *array, size_t *capacity, size_t count, size_t size,
                        struct tarn_error *error);

#endif
