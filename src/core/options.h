/* Options as a table: one row a name, type, default and meaning. Command-line flags, the
 * configuration file, CONFIG GET/SET, --help and the manual page are all made from it.
 *
 * Values live in a plain struct of the caller's; a row names the field by its offset. Text values
 * are owned by that struct and freed by options_done(). Not thread-safe by itself. */
#ifndef CORE_OPTIONS_H
#define CORE_OPTIONS_H

#include "core/buffer.h"
#include "core/status.h"

enum option_type {
    OPTION_BOOL,   /* field: bool. Flag alone = yes; yes|no in files and CONFIG */
    OPTION_UINT,   /* field: uint64_t within [min, max] */
    OPTION_SIZE,   /* field: uint64_t bytes within [min, max]; "64M" */
    OPTION_COUNT,  /* field: uint64_t within [min, max]; "10M", powers of 1000 */
    OPTION_TIME,   /* field: uint64_t ns within [min, max]; "500ms", a plain number is seconds */
    OPTION_REAL,   /* field: double within [real_min, real_max]; "0.95" */
    OPTION_RANGE,  /* field: struct option_range; "N" or "A-B", A <= B, within [min, max] */
    OPTION_TEXT,   /* field: char *; never NULL after options_init (default "" if none) */
    OPTION_SECRET, /* as TEXT; never printed back (CONFIG GET answers it to the authenticated) */
    OPTION_WORD,   /* field: int, index into `words` */
};

struct option_range {
    uint64_t low, high;
};

/* Another word that is taken for words[index]. */
struct option_alias {
    const char *word;
    int index;
};

enum {
    OPTION_LIVE = 1,      /* may be changed while running (CONFIG SET) */
    OPTION_HIDDEN = 2,    /* known to CONFIG GET only (names other servers use); not in --help */
    OPTION_ONLY_FLAG = 4, /* not allowed in a configuration file */
};

struct option {
    const char *name; /* "http-port"; the flag is --http-port */
    enum option_type type;
    size_t offset;             /* of the field in the caller's struct */
    const char *fallback;      /* default, as a user would write it; NULL: "no", 0 or "" by type */
    const char *argument;      /* placeholder in --help: "N", "FILE"; NULL for BOOL */
    const char *meaning;       /* one sentence; no final stop */
    uint64_t min, max;         /* UINT, SIZE, COUNT, TIME, RANGE; max 0: no bound */
    double real_min, real_max; /* REAL; >= 0; real_max 0: no bound */
    const char *const *words;  /* WORD: NULL-terminated */
    const struct option_alias *aliases; /* WORD: not shown; ends with word NULL. May be NULL */
    unsigned flags;
};

struct options {
    const struct option *rows;
    size_t count;
};

/* Set every field to its default. The defaults must parse (asserted). */
void options_init(const struct options *table, void *target);
void options_done(const struct options *table, void *target);

const struct option *options_find(const struct options *table, struct tarn_bytes name);

/* Parse `value` into the row's field. On error the field is unchanged and error->text reads like
 * "--port: 70000 is over 65535". Errors: INVALID, NOMEM. */
TARN_MUST int options_set(const struct option *row, void *target, struct tarn_bytes value,
                          struct tarn_error *error);

/* The field as text a user could write, appended to out. */
void options_get(const struct option *row, const void *target, struct buffer *out);

/* Does the field have its default value, however it came to it? */
bool options_is_default(const struct option *row, const void *target);

/* Parse argv[1..): "--name value", "--name=value", "--flag", "--no-flag", "--" ends flags; other
 * words are moved, in order, to the front of argv from index 1 and counted in ret_words_count.
 * An unknown flag's error names the closest known one. Errors: INVALID, NOMEM. */
TARN_MUST int options_parse_args(const struct options *table, void *target, int argc, char **argv,
                                 int *ret_words_count, struct tarn_error *error);

/* Parse the text of a configuration file: "name value" a line, '#' comments, quotes allowed
 * around a value. Errors name the file and line. */
TARN_MUST int options_parse_file(const struct options *table, void *target, const char *path,
                                 struct tarn_bytes text, struct tarn_error *error);

/* "  --port N        TCP port of RESP (default 6379)" lines, wrapped at 80 columns. */
void options_help(const struct options *table, struct buffer *out);

/* What options_help() is made of, for other shapes of the same text (the manual page): "--port N",
 * "--no-color" for a switch that is on by default; and the meaning, the words to choose from, the
 * default where it says something. */
void options_append_flag(const struct option *row, struct buffer *out);
void options_append_meaning(const struct option *row, struct buffer *out);

/* The visible name most like `name`, NULL if none is like it. */
const char *options_closest(const struct options *table, struct tarn_bytes name);

#endif
