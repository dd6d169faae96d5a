/* An open `tarn` file: its ends, its directory, and bytes of it through a window. Shared by reading
 * it whole and by looking up in it. */
#ifndef PACK_CHECKPOINT_FILE_H
#define PACK_CHECKPOINT_FILE_H

#include "pack/checkpoint_layout.h"

#define CHECKPOINT_WINDOW_BYTES (256u << 10)

struct checkpoint_file {
    const struct os *os;
    char *path;
    int fd;
    uint64_t bytes;       /* the file's */
    uint64_t salt;        /* from the header */
    uint32_t block_bytes; /* of blocks of more than one record, at most */
    bool pieces;          /* version 3: large bodies lie in pieces */
    uint64_t blocks_end;  /* offset; where the directory begins */
    uint64_t blocks;      /* that the footer counts */
    uint64_t pages;     /* of the directory; 0: there are no blocks, or (salvage) it is not known */
    unsigned char *top; /* an entry for each page; NULL: not read, or none */
    unsigned char header[HEADER_BYTES], footer[FOOTER_BYTES];
};

/* Bytes of a file that were read at once; zeroed, it is empty. The owner calls buffer_done(). */
struct checkpoint_window {
    struct buffer bytes;
    uint64_t at; /* of the first of them in the file */
};

/* Open, no more. Errors: those of os_open_data(), NOMEM. */
TARN_MUST int checkpoint_file_open(struct checkpoint_file *f, const struct os *os, const char *path,
                                   struct tarn_error *error);
void checkpoint_file_close(struct checkpoint_file *f);

/* Fill the error: CORRUPT at this byte. */
int checkpoint_file_corrupt(const struct checkpoint_file *f, uint64_t offset, const char *what,
                            struct tarn_error *error);
/* The same; or damaged is not NULL (salvage), and it is counted: TARN_OK. */
int checkpoint_file_damage(const struct checkpoint_file *f, uint64_t *damaged, uint64_t offset,
                           const char *what, struct tarn_error *error);

/* Header and footer: sound, of one file of this size, and of what is expected (0: anything).
 * To salvage (damaged is not NULL) one of them does. Errors: CORRUPT, IO, INVALID. */
TARN_MUST int checkpoint_file_ends(struct checkpoint_file *f, uint64_t expected_checksum,
                                   uint64_t *damaged, struct tarn_error *error);
/* Read the top. Errors: CORRUPT, IO, NOMEM. */
TARN_MUST int checkpoint_file_top(struct checkpoint_file *f, struct tarn_error *error);
void checkpoint_file_about(const struct checkpoint_file *f, struct checkpoint_about *ret_about);
/* By the footer, which is sound. */
void checkpoint_file_totals(const struct checkpoint_file *f, struct checkpoint_totals *ret_totals);

/* A sound page of the directory, number < pages. Errors: CORRUPT, IO. */
TARN_MUST int checkpoint_file_page(const struct checkpoint_file *f, uint64_t number,
                                   unsigned char page[PAGE_BYTES], struct tarn_error *error);
/* ... whose bytes are at hand. CORRUPT. */
TARN_MUST int checkpoint_file_check_page(const struct checkpoint_file *f, uint64_t number,
                                         const unsigned char page[PAGE_BYTES],
                                         struct tarn_error *error);
/* Exactly so many bytes. Errors: CORRUPT (the file got shorter), IO. */
TARN_MUST int checkpoint_file_read(const struct checkpoint_file *f, void *data, size_t size,
                                   uint64_t offset, struct tarn_error *error);
/* View of bytes that lie before `end`, which is not beyond the file's; up to there more is read at
 * once. Valid until the next call, and the caller's to change. Errors: those of
 * checkpoint_file_read(), NOMEM. */
TARN_MUST int checkpoint_file_view(const struct checkpoint_file *f, struct checkpoint_window *w,
                                   uint64_t offset, size_t size, uint64_t end,
                                   unsigned char **ret_bytes, struct tarn_error *error);

#endif
