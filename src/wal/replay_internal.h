/* Inside of replay: one file of the log as a run of records, and what may be said against it. */
#ifndef WAL_REPLAY_INTERNAL_H
#define WAL_REPLAY_INTERNAL_H

#include "wal/replay.h"
#include "wal/window.h"

/* --- replay_list.c: which segments there are --- */

/* Numbers in rising order. */
struct segment_list {
    uint64_t *numbers;
    size_t count, capacity;
};

/* The segments of files 0..files-1 from first[file] on, one list a file, which the caller frees
 * with segment_lists_free() also after a failure. */
TARN_MUST int segment_lists_read(const struct os *os, const struct replay_start *start,
                                 struct segment_list lists[WAL_FILES_MAX],
                                 struct tarn_error *error);
void segment_lists_free(struct segment_list lists[WAL_FILES_MAX]);
/* "<directory>/<name>"; NULL: no memory. */
char *segment_path(const char *directory, unsigned file, uint64_t number);

/* --- replay_source.c: the records of one file --- */

/* What all sources of one replay share. */
struct reading {
    const struct os *os;
    const struct replay_start *start;
    tarn_progress progress;
    void *progress_context;
    uint64_t bytes, bytes_total;
    uint64_t damaged_places; /* repair */
};

enum source_state {
    SOURCE_RECORD, /* `view` is the next one */
    SOURCE_END,    /* there is none, and nothing that looks like one */
    SOURCE_BROKEN, /* there is none, but something else: a torn end, or damage */
};

/* A place in a file: where it would end without all that comes after. */
struct source_place {
    struct replay_end end;
    uint64_t bytes; /* of content in all its segments up to there */
};

struct source {
    struct reading *reading;
    unsigned file;
    const struct segment_list *list;
    size_t next;  /* in the list */
    char *path;   /* of the segment last looked at; NULL: none yet */
    bool begun;   /* a sound header has been read */
    bool is_open; /* ... and its segment is being read */
    bool sealed;  /* its end is a seal */
    enum source_state state;
    struct segment_header header;
    struct record_chain chain;
    uint64_t sequence; /* of the last record passed or in view */
    struct window window;
    struct record_view view;
    struct buffer scratch;
    struct source_place before; /* of the view; or of what is broken; or the end */
    uint64_t passed_bytes;      /* content of segments before the open one */
    uint64_t extent;            /* BROKEN, looked behind: content of the open one */
};

/* usual_bytes: of its window. */
void source_init(struct source *s, struct reading *reading, unsigned file,
                 const struct segment_list *list, size_t usual_bytes);
void source_done(struct source *s);

/* Go to the first record after start->after, or to the next one. Errors: IO, NOMEM, CANCELLED, and
 * unless start->repair: CORRUPT, MISSING, for what cannot be a torn end. */
TARN_MUST int source_next(struct source *s, struct tarn_error *error);

/* ... and among these files: */

/* An error at the present place, CORRUPT; or, for salvage, OK, and it is counted. */
int source_damaged(struct source *s, struct tarn_error *error, const char *what);
TARN_MUST int source_complain(struct source *s, struct tarn_error *error, const char *what);

/* window_more() and window_seek(), with the progress told. */
TARN_MUST int source_more(struct source *s, struct tarn_error *error);
TARN_MUST int source_seek(struct source *s, uint64_t offset, struct tarn_error *error);

/* Note that the file could end at the present place. */
void source_mark(struct source *s);

/* Read what is next in the open segment; the place stays before it. */
TARN_MUST int source_read_record(struct source *s, enum record_found *ret_found,
                                 struct tarn_error *error);

/* --- replay_segment.c: opening segments --- */

/* Go on to the next segment that has a header; is_open: there was one. */
TARN_MUST int source_open_segment(struct source *s, struct tarn_error *error);
/* Leave it; `extent`: its content. */
void source_end_segment(struct source *s, uint64_t extent);
/* Is there any segment behind the open one that is not void? The place becomes that of `before`. */
TARN_MUST int source_look_later(struct source *s, bool *ret_later, struct tarn_error *error);

/* --- replay_broken.c: where no record is --- */

/* It is damage if there is a later segment; else the state is BROKEN. */
TARN_MUST int source_judge(struct source *s, struct tarn_error *error);
/* Salvage: the next record behind the present place whose checksum is right, if the head found
 * before it says what that is seeded with; END: none. */
TARN_MUST int source_find_sound(struct source *s, enum record_found *ret_found,
                                struct tarn_error *error);

/* BROKEN: is there a record behind it that was made when `sequence` was known to be synced?
 * *ret_records: heads of records there, up to that one. Sets extent, if there is none. */
TARN_MUST int source_look_behind(struct source *s, uint64_t sequence, bool *ret_evidence,
                                 uint64_t *ret_records, struct tarn_error *error);

/* What to do about damage: the end of all messages about damage. */
#define REPLAY_ADVICE                                                                              \
    "nothing was changed; see `tarn check`, and `tarn repair --accept-loss` for what is sound"

#endif
