/* A wire protocol: requests to bytes, bytes to replies. Pure: no sockets, no state between calls.
 * Peers' bytes are hostile: a decoder reads within `input` only, and every length is bounded. */
#ifndef BENCH_PROTOCOL_H
#define BENCH_PROTOCOL_H

#include "core/buffer.h"
#include "core/status.h"

enum request_kind {
    REQUEST_HELLO, /* the first exchange of a connection */
    REQUEST_GET,   /* 1..n keys */
    REQUEST_PUT,   /* 1..n keys and values */
    REQUEST_SCAN,  /* from a cursor, about n records */
};

/* What a protocol needs to know of the peer. Owned by whoever filled it; struct protocol's check()
 * says whether it can be used. */
struct protocol_peer {
    const char *host;        /* HTTP: the Host field, "127.0.0.1:8379" */
    const char *path_before; /* HTTP: the target before and after the key, "/kv/" and "" */
    const char *path_after;
    const char *password; /* NULL or "": none */
};

#define PROTOCOL_TEXT_BYTES_MAX 160

/* One decoded reply. Zero it before first use; protocol_reply_done() frees what it owns. Views
 * point into the input, into the reply itself or at constants: they are valid until the input
 * moves or the reply is decoded into again, moved or freed. */
struct protocol_reply {
    bool error;                   /* the server refused; error_text says why, count is 0 */
    bool closes;                  /* the server will close the connection behind this reply */
    struct tarn_bytes error_text; /* the server's words, with what bytes it chose */
    uint64_t cursor;              /* SCAN: where to go on, 0 at the end */
    /* GET: one view per key asked for, in the order asked, data NULL where there is none.
     * SCAN: the keys found. An empty value has data. */
    struct tarn_bytes *values;
    size_t count, capacity;
    struct buffer gathered;             /* a body that came in chunks */
    char text[PROTOCOL_TEXT_BYTES_MAX]; /* an error_text that was made here, NUL-terminated */
};
void protocol_reply_done(struct protocol_reply *reply);

enum protocol_outcome {
    PROTOCOL_COMPLETE,   /* ret_size bytes are this reply */
    PROTOCOL_INCOMPLETE, /* ret_size bytes at least are needed in all: always more than there are */
    PROTOCOL_MALFORMED,  /* reply->error_text says what is wrong; the connection is lost */
    PROTOCOL_NOMEM,
};

#define PROTOCOL_REPLY_BYTES_MAX (1ull << 30)     /* one reply, all of it */
#define PROTOCOL_LINE_BYTES_MAX  (64ull << 10)    /* one line; HTTP: one header */
#define PROTOCOL_SCAN_KEYS_MAX   (1000ull * 1000) /* keys in the reply to one SCAN */

struct protocol {
    const char *name; /* "RESP", "HTTP", "memcached" */
    bool puts, scans;
    size_t get_keys_max, put_keys_max; /* per request; 1: no batches */
    size_t key_bytes_max;
    bool keys_printable;    /* keys must have a byte, and no blanks or control characters */
    bool replies_name_keys; /* decode of a GET of several keys wants `keys` */

    /* Can this peer be spoken to? Errors: INVALID, e.g. a password that cannot be sent. To be
     * asked before anything is encoded. */
    int (*check)(const struct protocol_peer *peer, struct tarn_error *error);

    /* Append the opening exchange; returns how many replies of kind HELLO will come (0: none). */
    unsigned (*hello)(const struct protocol_peer *peer, struct buffer *out);
    /* Keys must be ones that protocol_key_allowed() allows (asserted), and as many as allowed. */
    void (*get)(const struct protocol_peer *peer, const struct tarn_bytes *keys, size_t count,
                struct buffer *out);
    void (*put)(const struct protocol_peer *peer, const struct tarn_bytes *keys,
                const struct tarn_bytes *values, size_t count, struct buffer *out);
    void (*scan)(const struct protocol_peer *peer, uint64_t cursor, unsigned count,
                 struct buffer *out); /* NULL unless scans */

    /* Take the reply to a request from the start of input. count: keys asked for (GET only).
     * keys: which they were (only read where replies_name_keys and count > 1; else may be NULL).
     * ret_size is written on COMPLETE and INCOMPLETE, the reply always. What is decided on the
     * start of an answer is never decided otherwise when more of it is there. */
    enum protocol_outcome (*decode)(enum request_kind kind, const struct tarn_bytes *keys,
                                    size_t count, struct tarn_bytes input,
                                    struct protocol_reply *reply, size_t *ret_size);
};

extern const struct protocol protocol_resp, protocol_http, protocol_memcached;

bool protocol_key_allowed(const struct protocol *protocol, struct tarn_bytes key);

/* The start of a peer's bytes for a message: the first line or a part of it, escaped, in out. */
#define PROTOCOL_EXCERPT_BYTES_MAX 64
const char *protocol_excerpt(struct tarn_bytes bytes, char out[PROTOCOL_EXCERPT_BYTES_MAX]);

#endif
