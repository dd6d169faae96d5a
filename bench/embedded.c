/* embedded: tarn bench with more stores: build/bench/embedded --embedded rocksdb: --load ...
 *
 * All of it is tarn bench's own; only the stores of bench/peers/ are added to those that --embedded
 * knows. */
#include "cli/bench.h"
#include "peers/peer.h"

static const struct embedded_store *const stores[] = {&peer_lmdb,  &peer_rocksdb, &peer_leveldb,
                                                      &peer_tkrzw, &peer_cdb,     NULL};

static int run(struct cli_call *call)
{
    return cmd_bench_run(call, stores);
}

int main(int argc, char **argv)
{
    struct cli_command command = cli_command_bench;
    command.run = run;
    return cli_run(os_real(), &command, argc, argv);
}
