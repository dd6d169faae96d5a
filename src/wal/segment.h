/* Segments: the files of a log. `wal-<file>-<number>.log`; numbers of a file count up from 1 and
 * are never used again. A segment begins with a header, which holds the last sequence and checksum
 * of the segment before it; that one is synced before this one is used.
 *
 * One log may have several files, to which changes are dealt by key; sequences count over all of
 * them, so that replaying merges them into one order. */
#ifndef WAL_SEGMENT_H
#define WAL_SEGMENT_H

#include "os/os.h"
#include "wal/record.h"

#define SEGMENT_HEADER_BYTES 256 /* in JSON a line of that length */
#define WAL_FILES_MAX        64

struct segment_header {
    enum wal_encoding encoding;
    unsigned file;     /* 0..WAL_FILES_MAX-1 */
    uint64_t number;   /* from 1 */
    uint64_t store_id; /* random, the directory's: a foreign segment is no part of this log */
    uint64_t salt;     /* random */
    uint64_t previous_sequence; /* of the last record in this file's segments before; 0: none */
    uint64_t previous_checksum; /* where the chain of the segment before ended: that of its seal, of
                                   its last record, or if it has neither of its header; 0: none */
    uint64_t first_sequence;    /* every record here has this sequence or a higher one */
};

/* "wal-03-0000000017.log" */
#define SEGMENT_NAME_BYTES 32
void segment_name(unsigned file, uint64_t number, char ret_name[SEGMENT_NAME_BYTES]);
bool segment_name_parse(const char *name, unsigned *ret_file, uint64_t *ret_number);

void segment_header_write(const struct segment_header *header,
                          unsigned char ret_bytes[SEGMENT_HEADER_BYTES], uint64_t *ret_checksum);
/* False: no sound header. ret_checksum: what its first record's checksum is seeded with. */
bool segment_header_read(const unsigned char bytes[SEGMENT_HEADER_BYTES],
                         struct segment_header *ret_header, uint64_t *ret_checksum);

/* What was a header, by its fields and not by its checksum: any of them may be wrong. For salvage.
 * False: nothing can be made of it. */
bool segment_header_guess(const unsigned char bytes[SEGMENT_HEADER_BYTES],
                          struct segment_header *ret_header, uint64_t *ret_checksum);

#endif
