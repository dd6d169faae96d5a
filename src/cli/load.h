/* Records into a store or a server: what tarn load writes; and the dump it reads. */
#ifndef CLI_LOAD_H
#define CLI_LOAD_H

#include "cli/dump_format.h"
#include "cli/stream.h"
#include "os/os.h"

/* --- the dump being read; memory: a record, and what was read ahead --- */

struct load_input {
    const struct os *os;
    const struct dump_format *format;
    int fd;
    bool is_stdin;       /* then fd is not ours to close */
    uint64_t file_bytes; /* 0: not known */
    bool ended;          /* nothing more to read */
    struct buffer bytes;
    size_t at;               /* of the bytes that are not taken yet */
    struct dump_place place; /* of what comes next */
};

/* path: a file, or "-" for standard input; borrowed. Errors: those of os_open_data(). */
TARN_MUST int load_input_open(struct load_input *input, const struct os *os, const char *path,
                              const struct dump_format *format, struct tarn_error *error);
void load_input_close(struct load_input *input);

/* The next record, views valid until the next call; and its place. NOTFOUND: that was all. Errors:
 * CORRUPT (with the place), TOOBIG, IO, NOMEM. */
TARN_MUST int load_input_next(struct load_input *input, struct tarn_record *ret_record,
                              struct dump_place *ret_place, struct tarn_error *error);

/* --- where records go --- */

struct load_report {
    uint64_t records; /* stored */
};

struct load_source {
    struct load_input *input;
    tarn_progress progress; /* "loading", in bytes of the dump */
    void *progress_context;
};

/* Into a store, and then a checkpoint of it. A failure leaves its directory as it was, if the dial
 * stands at NONE. Errors: the input's, tarn_put()'s with the record's place, tarn_checkpoint()'s.
 */
TARN_MUST int load_store(struct tarn *store, const struct load_source *source,
                         struct load_report *ret_report, struct tarn_error *error);

/* Into a server, by SET. *ret_report is true after a failure too: so many are stored for certain.
 * Errors: the input's, the server's with the record's place, IO, NOMEM, CANCELLED. */
TARN_MUST int load_server(struct stream *stream, const struct load_source *source,
                          struct load_report *ret_report, struct tarn_error *error);

/* Put "PATH: line 3: " or "PATH: record 3 at byte 90: " before an error's text. */
void load_error_place(struct tarn_error *error, const struct dump_format *format,
                      const struct dump_place *place);

#endif
