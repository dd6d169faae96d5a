/* What the files of the lookup share: what a lookup is waiting for, and the steps of each layout.
 * Private to lookup*.c. */
#ifndef PACK_LOOKUP_INTERNAL_H
#define PACK_LOOKUP_INTERNAL_H

#include "pack/lookup.h"

enum lookup_reading {
    READING_BLOCK, /* a block of the data file, all of it */
    READING_HEAD,  /* of a block that ends in a large record: whole raw MiB, up to its value */
    READING_TAIL,  /* the data file's last raw MiB: does a newline end the last record? */
    READING_PAGE,  /* a page of the index */
    READING_ENTRY, /* a page of a `tarn` file's directory */
    READING_BODY,  /* a block of a `tarn` file, or its first piece */
};

/* Ask for these bytes of a file. */
void lookup_ask(struct lookup *l, enum lookup_reading reading, int fd, uint64_t start,
                uint64_t end);

/* Did all that was asked for come? NULL (and the error is filled, STALE), or the byte at l->start.
 */
unsigned char *lookup_arrived(const struct lookup *l, void *data, size_t size,
                              struct tarn_error *error);

/* Fill the error: CORRUPT at this byte of the data file. */
int lookup_corrupt(const struct disk_pack *pack, uint64_t offset, const char *what,
                   struct tarn_error *error);

/* Raw MiB of the data file from `start`, a multiple of that or below the file's size, on: do they
 * match the index's checksums? TARN_OK or CORRUPT. */
int lookup_check_raw(const struct disk_pack *pack, const unsigned char *data, uint64_t start,
                     uint64_t end, struct tarn_error *error);

/* Data files with an index. block_plan(): LOOKUP_READ, or NOTFOUND: no record starts in this block.
 */
int lookup_block_plan(struct lookup *l, uint64_t block);
int lookup_block_finish(struct lookup *l, const unsigned char *data, struct lookup_found *ret_found,
                        struct tarn_error *error);

/* Pages: the one that the hash leads to; the same once more, if what it led to is another key's;
 * what it says. */
int lookup_page_begin(struct lookup *l);
int lookup_page_again(struct lookup *l);
int lookup_page_finish(struct lookup *l, const unsigned char *data, struct tarn_error *error);

/* `tarn` files. */
int lookup_hashed_begin(struct lookup *l);
int lookup_hashed_page(struct lookup *l, const unsigned char *data, struct tarn_error *error);
int lookup_hashed_block(struct lookup *l, unsigned char *data, struct lookup_found *ret_found,
                        struct tarn_error *error);
void lookup_hashed_piece(const struct lookup_far *value, uint64_t at, uint64_t *ret_start,
                         uint64_t *ret_end);
int lookup_hashed_piece_finish(const struct piece *p, const unsigned char *bytes,
                               struct tarn_bytes *ret_view, struct tarn_error *error);

/* Of lookup_read_bytes_max(). */
uint64_t lookup_block_read_bytes_max(const struct disk_pack *pack);
uint64_t lookup_hashed_read_bytes_max(const struct disk_pack *pack);

#endif
