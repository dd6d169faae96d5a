/* Records out of a store or a server, one by one: what tarn dump reads. */
#ifndef CLI_DUMP_H
#define CLI_DUMP_H

#include "cli/stream.h"
#include "os/os.h"

/* Takes a record, borrowed for the call; stops the reading by returning other than TARN_OK. */
typedef int (*dump_sink)(void *context, const struct tarn_record *record, struct tarn_error *error);

/* Where records go, and who is told of progress: "reading keys", in keys. */
struct dump_target {
    dump_sink sink;
    void *context;
    tarn_progress progress;
    void *progress_context;
    /* Told of a key that holds what no dump can: a type of Redis that is no string. Returns TARN_OK
     * to leave it out. */
    int (*refused)(void *context, struct tarn_bytes key, const char *why, struct tarn_error *error);
};

/* Every record of a store, which nobody changes meanwhile. Errors: NOMEM, CANCELLED, those of
 * tarn_scan(), the sink's. */
TARN_MUST int dump_store(struct tarn *store, const struct dump_target *target,
                         struct tarn_error *error);

/* Every string of a server, by SCAN, GET and PEXPIRETIME. What changes meanwhile may be there as it
 * was or as it is. Errors: IO, CORRUPT, DENIED, NOMEM, CANCELLED, the sink's. */
TARN_MUST int dump_server(struct stream *stream, const struct dump_target *target,
                          struct tarn_error *error);

#endif
