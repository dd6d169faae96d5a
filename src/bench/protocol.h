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

/* What a protocol needs to know of the peer. Owned by whoever filled it. */
struct protocol_peer {
    const char *host;        /* HTTP: the Host field, "127.0.0.1:8379" */
    const char *path_before; /* HTTP: the target before and after the key, "/kv/" and "" */
    const char *path_after;
    const char *password; /* NULL or "": none */
};

/* One decoded reply. Zero it before first use; protocol_reply_done() frees the list. */
struct protocol_reply {
    bool error;                   /* the server refused; error_text says why */
    struct tarn_bytes error_text; /* view of input, one line */
    /* GET: one view per key asked for, in the order asked, data NULL where there is none.
     * SCAN: the keys found. Views of input (an empty value has data). */
    struct tarn_bytes *values;
    size_t count, capacity;
};
void protocol_reply_done(struct protocol_reply *reply);
/* Append a view; false if out of memory. For decoders. */
bool protocol_reply_add(struct protocol_reply *reply, struct tarn_bytes value);

enum protocol_outcome {
    PROTOCOL_COMPLETE,   /* ret_size bytes are this reply */
    PROTOCOL_INCOMPLETE, /* ret_size bytes at least are needed in all, as far as is known */
    PROTOCOL_MALFORMED,  /* reply->error_text (static) says what is wrong; the connection is lost */
    PROTOCOL_NOMEM,
};

#define PROTOCOL_REPLY_BYTES_MAX (1ull << 30)

struct protocol {
    const char *name; /* "RESP", "HTTP", "memcached" */
    bool puts, scans;
    size_t keys_max;        /* per GET or PUT request; 1: no batches */
    bool replies_name_keys; /* decode of a GET of several keys wants `keys` */

    /* Append the opening exchange; returns how many replies of kind HELLO will come (0: none). */
    unsigned (*hello)(const struct protocol_peer *peer, struct buffer *out);
    void (*get)(const struct protocol_peer *peer, const struct tarn_bytes *keys, size_t count,
                struct buffer *out);
    void (*put)(const struct protocol_peer *peer, const struct tarn_bytes *keys,
                const struct tarn_bytes *values, size_t count, struct buffer *out);
    void (*scan)(const struct protocol_peer *peer, uint64_t cursor, unsigned count,
                 struct buffer *out);

    /* Take the reply to a request from the start of input. keys: those asked for (only read where
     * replies_name_keys and count > 1; else may be NULL). */
    enum protocol_outcome (*decode)(enum request_kind kind, const struct tarn_bytes *keys,
                                    size_t count, struct tarn_bytes input,
                                    struct protocol_reply *reply, size_t *ret_size);
};

extern const struct protocol protocol_resp, protocol_http, protocol_memcached;

#endif
