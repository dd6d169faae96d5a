/* What a benchmark drives: servers over a protocol, or a store in this process. */
#ifndef BENCH_TARGET_H
#define BENCH_TARGET_H

#include "bench/client.h"
#include "bench/embedded.h"
#include "bench/settings.h"

struct target {
    const struct protocol *protocol; /* servers: how to speak to them; NULL: a store */
    struct client_server *servers;
    unsigned servers_count;
    const struct embedded_store *store; /* NULL: servers */
    const char *path;                   /* of the store; "" if none. Borrowed from the settings */
    char name[320];                     /* "RESP 127.0.0.1:6379", "embedded memory" */
    char *path_before, *path_after;     /* HTTP: what the servers' peers point to */
};

/* From --connect, --http, --memcached or --embedded. stores: further embedded stores, chosen by
 * "NAME:" or "NAME:PATH"; NULL-terminated, may be NULL. settings is borrowed. Errors: INVALID
 * (an address, a URL, an unknown store, a password that the protocol cannot carry), MISSING and
 * kin (a data file that cannot be opened), NOMEM. */
TARN_MUST int target_open(const struct os *os, const struct settings *settings,
                          const struct embedded_store *const *stores, struct target *ret_target,
                          struct tarn_error *error);
void target_close(struct target *t); /* a zeroed one is allowed */

/* Can it do what the settings ask for: batches, scans, writes, these keys? Errors: INVALID, naming
 * the option. */
TARN_MUST int target_check(const struct target *t, const struct settings *settings,
                           const struct workload_mix *mix, const struct records *records,
                           struct tarn_error *error);

#endif
