/* A struct os that passes every call on to another one, unless told to fail it.
 *
 * It counts the calls of each entry, can fail the nth call of any of them (once or from then on),
 * can make the nth transfer a short one, and keeps account of the descriptors and mappings that
 * are still open, so that a test can walk through all failures of an operation:
 *
 *     for (uint64_t nth = 1;; nth++) {
 *         fault_os_reset(&f);
 *         fault_os_fail(&f, FAULT_WRITE_AT, nth, ENOSPC, false);
 *         int status = operation(&f.os);
 *         if (!fault_os_fired(&f))
 *             break; // fewer than nth calls: all have been failed once
 *         ... status is an error, nothing is left open ...
 *     }
 *
 * Safe to use from several threads; set failures up before they start. */
#ifndef LIB_FAULT_OS_H
#define LIB_FAULT_OS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "os/os.h"

enum fault_entry {
    FAULT_OPEN,
    FAULT_CLOSE, /* the descriptor is closed all the same, as on Linux */
    FAULT_FILE_INFO,
    FAULT_READ_AT,
    FAULT_WRITE_AT,
    FAULT_SYNC,
    FAULT_DATA_SYNC,
    FAULT_TRUNCATE,
    FAULT_RENAME,
    FAULT_UNLINK,
    FAULT_LINK,
    FAULT_MAKE_DIRECTORY,
    FAULT_LIST,
    FAULT_LOCK,
    FAULT_MAP,
    FAULT_UNMAP,        /* counted only: it cannot fail */
    FAULT_DISCARD,      /* the contents stay */
    FAULT_MONOTONIC_NS, /* counted only */
    FAULT_REALTIME_US,  /* counted only */
    FAULT_ENTROPY,
    FAULT_LISTEN,
    FAULT_ACCEPT,
    FAULT_RECEIVE,
    FAULT_SEND,
    FAULT_ENTRY_COUNT
};

#define FAULT_FDS_MAX  65536
#define FAULT_MAPS_MAX 4096

struct fault_plan {
    uint64_t fail_nth;  /* 1-based call to fail; 0: none */
    int number;         /* errno to fail with */
    bool stays;         /* all later calls fail too: a full disk */
    uint64_t short_nth; /* 1-based transfer to cut; 0: none */
    size_t short_size;  /* bytes it may move at most */
};

struct fault_os {
    struct os os; /* hand &f.os to the code under test */
    const struct os *next;
    pthread_mutex_t lock;
    struct fault_plan plans[FAULT_ENTRY_COUNT];
    uint64_t calls[FAULT_ENTRY_COUNT];
    uint64_t fired;      /* failures and cuts dealt out */
    uint64_t bad_closes; /* close or unmap of what was not open */
    size_t fds_open;
    size_t maps_open;
    uint64_t bytes_mapped;
    bool fds[FAULT_FDS_MAX];
    struct {
        void *address;
        size_t size;
    } maps[FAULT_MAPS_MAX];
};

/* next: NULL for os_real(). */
void fault_os_init(struct fault_os *f, const struct os *next);
void fault_os_done(struct fault_os *f);

/* Forget plans, counts and `fired`; what is open stays accounted for. */
void fault_os_reset(struct fault_os *f);

/* Fail the nth call (1-based) of an entry with -number; if stays, the later ones too. */
void fault_os_fail(struct fault_os *f, enum fault_entry entry, uint64_t nth, int number,
                   bool stays);

/* Let the nth read_at, write_at, receive or send move at most `size` bytes. size 0: a read tells
 * the end of the file, a write takes nothing. */
void fault_os_short(struct fault_os *f, enum fault_entry entry, uint64_t nth, size_t size);

uint64_t fault_os_calls(struct fault_os *f, enum fault_entry entry);
bool fault_os_fired(struct fault_os *f); /* has any plan come into effect since the reset? */
bool fault_os_clean(struct fault_os *f); /* nothing open, nothing mapped, nothing closed twice */
const char *fault_entry_name(enum fault_entry entry);

#endif
