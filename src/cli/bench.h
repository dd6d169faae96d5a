/* tarn bench for programs of their own: one that links further stores makes a struct cli_command
 * with settings_options and a run function that calls this. */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "bench/embedded.h"
#include "cli/cli.h"

/* Run it, call->target being a struct settings. stores: further embedded stores by name,
 * NULL-terminated; may be NULL. Returns an exit status. */
int cmd_bench_run(struct cli_call *call, const struct embedded_store *const *stores);

#endif
