/* A file system in memory behind a struct os, which knows what has been synced: what a power cut
 * may leave of a program's files.
 *
 * Contents are kept in units of 512 bytes; each unsynced change of a unit, of a file's size, of a
 * name is remembered. sync and data_sync of a file make its content and size durable, sync of a
 * directory its names; nothing else does. When power is lost,
 * disk_restart() chooses by a seed what of the rest reached the medium:
 *
 *     nothing          all of it          the first changes, in their order, the last one torn
 *     any version of any unit, any size; names in their order
 *     the same; each name on its own, but for those joined by a rename, which is whole or not at
 * all
 *
 * When a process is killed everything written stays, and can still be lost with power later.
 *
 *     disk_init(&d, seed);
 *     disk_stop_at(&d, nth);             // in the nth changing call from now on
 *     ... store_open(&d.os, ...), work, until disk_stopped(&d), close ...
 *     disk_restart(&d, DISK_POWER_LOST, seed);
 *     ... store_open() again, look ...
 *
 * While it is stopped every call that changes anything fails with EIO, so what is there stays as it
 * was at that moment and the store that is under test can be closed in peace. It counts as
 * acknowledged what was so before disk_stopped() was seen to be false.
 *
 * Further faults: a failed sync that loses what it should have synced, and says OK when it is
 * retried (disk_fail_sync()); a full disk (disk_limit()). For other failing calls put a fault_os in
 * front. Memory, sockets and clocks are the real ones; entropy comes from the seed. Any thread.
 * Failures of its own (memory) abort. */
#ifndef LIB_SIMULATED_DISK_H
#define LIB_SIMULATED_DISK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/bytes.h"
#include "core/random.h"
#include "os/os.h"

#define DISK_FDS_MAX 256

struct disk_node; /* a file or a directory */

struct simulated_disk {
    struct os os; /* hand &d.os to the code under test */
    pthread_mutex_t lock;
    struct disk_node *root, *nodes; /* nodes: all there are */
    uint64_t inodes;
    struct {
        struct disk_node *node; /* NULL: closed */
        bool writes, locks;
    } fds[DISK_FDS_MAX];
    uint64_t entropy;   /* state */
    uint64_t now;       /* changes so far: each has a number */
    uint64_t stop_at;   /* the change that stops it; 0: none */
    uint64_t calls;     /* changing calls so far */
    uint64_t syncs;     /* sync and data_sync calls so far */
    uint64_t fail_sync; /* the one to fail; 0: none */
    uint64_t limit;     /* bytes; 0: none */
    bool stopped;
    FILE *trace; /* NULL, or where to write each changing call down; set it at any time */
};

enum disk_end { DISK_KILLED, DISK_POWER_LOST };

void disk_init(struct simulated_disk *d, uint64_t seed);
void disk_done(struct simulated_disk *d);

/* Stop in the nth (1-based) changing call from now on: an opening that creates, write_at, sync,
 * data_sync, truncate, rename, unlink, link, make_directory. That call fails, and may have taken
 * effect. 0: do not. */
void disk_stop_at(struct simulated_disk *d, uint64_t nth);
void disk_stop(struct simulated_disk *d); /* now */
bool disk_stopped(struct simulated_disk *d);
uint64_t disk_calls(struct simulated_disk *d); /* changing calls so far */

/* Start again after one end or the other: descriptors and locks are gone, and with power lost what
 * the seed says. No call may be under way. */
void disk_restart(struct simulated_disk *d, enum disk_end end, uint64_t seed);

/* The nth sync or data_sync from now on fails with EIO: what it should have made durable of a file
 * is kept in memory, as clean; only a part may have reached the medium. Names just stay unsynced.
 */
void disk_fail_sync(struct simulated_disk *d, uint64_t nth);

/* Files may have so many bytes together, in pages of 4 KiB; beyond: short writes and ENOSPC. 0: no
 * limit. */
void disk_limit(struct simulated_disk *d, uint64_t bytes);
uint64_t disk_used(struct simulated_disk *d);

/* For damaging things on purpose: a file's content as it is now, valid until the next change of
 * it (data NULL: no such file); a file with this content, durable; no such file. */
struct tarn_bytes disk_content(struct simulated_disk *d, const char *path);
void disk_put(struct simulated_disk *d, const char *path, struct tarn_bytes content);
void disk_remove(struct simulated_disk *d, const char *path);

/* Make d's tree what `from` has now, all durable; descriptors must be closed. */
void disk_copy(struct simulated_disk *d, struct simulated_disk *from);

#endif
