/* What a word of the command line names: a store's directory, a data file, or a server. */
#ifndef CLI_PLACE_H
#define CLI_PLACE_H

#include "cli/stream.h"
#include "os/os.h"

enum place_kind { PLACE_DIRECTORY, PLACE_FILE, PLACE_SERVER };

struct place {
    enum place_kind kind;
    bool is_store;                 /* a directory with a store in it */
    const char *path;              /* the word */
    const char *over;              /* data file under a directory's store; NULL: none named */
    struct stream_address address; /* of a server, over RESP */
};

/* The flag that names the data file under a directory's store. offset: of a char *. */
#define PLACE_OVER_ROW(offset)                                                                     \
    {                                                                                              \
        "over", OPTION_TEXT, offset, "", "FILE",                                                   \
            "Data file that DIR holds changes to; needed until there is a checkpoint in DIR"       \
    }

/* What exists under this name is meant; otherwise a word with a slash is a directory that is not
 * there yet, any other HOST:PORT. over: the flag's value. Errors: INVALID. */
TARN_MUST int place_parse(const struct os *os, const char *word, const char *over,
                          struct place *ret_place, struct tarn_error *error);

/* Are there files of a store in the directory? */
bool place_holds_store(const struct os *os, const char *directory);

/* MISSING: the directory is not there, or there is no store in it. */
TARN_MUST int place_need_store(const struct place *place, struct tarn_error *error);

/* Open a directory's store, without a log of what is going to change: what does change counts once
 * there is a checkpoint; or a data file. Errors: those of tarn_open(). */
TARN_MUST int place_open(const struct os *os, const struct place *place, tarn_progress progress,
                         void *progress_context, struct tarn **ret_store, struct tarn_error *error);

#endif
