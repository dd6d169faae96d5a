/* A store over a data file on disk: the file and an index of blocks in a directory of the test's
 * own, and a struct os whose reads of the data file can be held, failed, cut, or changed.
 *
 *     far_fixture_open(&f, &format, records, value_max);
 *     store_open(&f.os, &options, ...)       // f.os: reads by threads; os_real(): by io_uring
 *     far_fixture_hook(&f);                  // from now on: */
#ifndef LIB_FAR_FIXTURE_H
#define LIB_FAR_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/dataset.h"
#include "lib/scratch.h"
#include "lib/test.h"
#include "pack/builder.h"
#include "pack/external.h"
#include "store/far.h"
#include "store/store.h"
#include "store/store_internal.h"

struct far_fixture {
    struct scratch scratch;
    struct dataset d;
    char path[SCRATCH_PATH_BYTES], index_path[SCRATCH_PATH_BYTES + 16];
    struct tarn_options options;

    struct os os;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool hooked;
    uint64_t from, to;         /* the bytes of the file that are meddled with */
    bool hold;                 /* reads of them wait */
    unsigned held, reads;      /* waiting now; begun since it was hooked */
    int fail;                  /* an errno: reads of them fail */
    size_t short_bytes;        /* over 0: no read brings more */
    _Atomic uint64_t later_ns; /* how much later it is than the real clock says */
    bool flip;                 /* what they bring has another byte in it */
};

static inline int far_fixture_read(const struct os *os, int fd, void *data, size_t size,
                                   uint64_t offset, size_t *ret_size)
{
    struct far_fixture *f = os->context;
    pthread_mutex_lock(&f->lock);
    bool mine = f->hooked && offset < f->to && offset + size > f->from;
    f->reads += f->hooked;
    int fail = mine ? f->fail : 0;
    bool flip = mine && f->flip;
    f->held += mine && f->hold;
    pthread_cond_broadcast(&f->changed);
    bool was_held = mine && f->hold;
    while (mine && f->hold)
        pthread_cond_wait(&f->changed, &f->lock);
    f->held -= was_held;
    size_t most = f->hooked && f->short_bytes > 0 ? f->short_bytes : SIZE_MAX;
    pthread_mutex_unlock(&f->lock);
    if (fail != 0)
        return -fail;
    int status = os_real()->read_at(os, fd, data, size, offset, ret_size);
    if (status == 0 && *ret_size > most)
        *ret_size = most;
    if (status == 0 && flip)
        for (size_t i = 0; i < *ret_size; i += 512)
            ((unsigned char *)data)[i] ^= 0x40;
    return status;
}

static inline uint64_t far_fixture_now(const struct os *os)
{
    struct far_fixture *f = os->context;
    return os_real()->monotonic_ns(os) + atomic_load(&f->later_ns);
}

/* The index of what is in the file now. */
static inline void far_fixture_index(struct far_fixture *f, unsigned granule_log2, unsigned bits)
{
    struct tarn_error error;
    struct os_file_info info;
    struct source source = {.os = os_real(), .path = f->path};
    assert_int_equal(os_open_data(os_real(), f->path, &source.fd, &info, &error), TARN_OK);
    source.size = info.size;
    struct builder_options build = {.format = f->d.format,
                                    .granule_log2 = granule_log2,
                                    .fingerprint_bits = bits,
                                    .data_mtime_ns = info.mtime_ns,
                                    .threads = 1};
    struct index *index;
    struct builder_report report;
    if (builder_run(&source, &build, &index, &report, &error) != TARN_OK ||
        index_write(index, f->index_path, &error) != TARN_OK)
        fail_msg("%s", error.text);
    index_free(index);
    close(source.fd);
}

/* Another index of the file, as tarn index would make it. */
static inline void far_fixture_layout(struct far_fixture *f, enum index_layout layout,
                                      unsigned granule_log2)
{
    struct tarn_error error;
    struct tarn_index_report report;
    struct external_settings settings = {.memory_bytes = 256u << 20,
                                         .granule_log2 = (int)granule_log2,
                                         .fingerprint_bits = EXTERNAL_AUTO,
                                         .layout = (int)layout};
    if (external_build(os_real(), &f->options, &settings, &report, &error) != TARN_OK)
        fail_msg("%s", error.text);
}

/* f->d as the file, anew: as another file under its name. */
static inline void far_fixture_write(struct far_fixture *f)
{
    char name[SCRATCH_PATH_BYTES];
    scratch_name(&f->scratch, "new", name);
    file_write(name, buffer_view(&f->d.data));
    assert_int_equal(rename(name, f->path), 0);
    dataset_settle(&f->d, TARN_DUPLICATES_LAST);
    far_fixture_index(f, 12, 4);
}

static inline void far_fixture_open(struct far_fixture *f, size_t records, size_t value_max)
{
    memset(f, 0, sizeof *f);
    struct tarn_format format = {.kind = TARN_FORMAT_BINARY};
    scratch_open(&f->scratch);
    scratch_name(&f->scratch, "data", f->path);
    snprintf(f->index_path, sizeof f->index_path, "%s.tarnidx", f->path);
    dataset_init(&f->d, &format);
    dataset_add_random(&f->d, 1, records, 24, value_max, 50);
    f->os = *os_real();
    f->os.read_at = far_fixture_read;
    f->os.monotonic_ns = far_fixture_now;
    f->os.context = f;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    f->to = UINT64_MAX;
    f->options = (struct tarn_options){
        .path = f->path, .data = TARN_DATA_ON_DISK, .memory_bytes_max = 64u << 20, .read_depth = 8};
    far_fixture_write(f);
}

static inline void far_fixture_done(struct far_fixture *f)
{
    dataset_done(&f->d);
    scratch_close(&f->scratch);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
}

static inline void far_fixture_hook(struct far_fixture *f)
{
    pthread_mutex_lock(&f->lock);
    f->hooked = true;
    f->reads = 0;
    pthread_mutex_unlock(&f->lock);
}

/* Meddle with the reads of this record's block. */
static inline void far_fixture_aim(struct far_fixture *f, size_t record)
{
    pthread_mutex_lock(&f->lock);
    f->from = f->d.records[record].offset;
    f->to = f->from + 1;
    pthread_mutex_unlock(&f->lock);
}

static inline void far_fixture_hold(struct far_fixture *f, bool hold)
{
    pthread_mutex_lock(&f->lock);
    f->hold = hold;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

/* Until so many reads are held. */
static inline void far_fixture_await(struct far_fixture *f, unsigned held)
{
    pthread_mutex_lock(&f->lock);
    while (f->held < held)
        pthread_cond_wait(&f->changed, &f->lock);
    pthread_mutex_unlock(&f->lock);
}

static inline struct tarn *far_fixture_store(struct far_fixture *f, const struct os *os)
{
    struct tarn *store;
    struct tarn_error error;
    if (store_open(os, &f->options, &store, &error) != TARN_OK)
        fail_msg("%s", error.text);
    return store;
}

static inline struct tarn_session *far_fixture_session(struct tarn *store)
{
    struct tarn_session *session;
    assert_int_equal(tarn_session_open(store, &session, NULL), TARN_OK);
    return session;
}

static inline struct tarn_disk_stats far_fixture_stats(struct tarn *store)
{
    struct tarn_disk_stats stats;
    tarn_disk_stats_get(store, &stats);
    return stats;
}

/* What is told of a record's key is right. */
static inline void far_fixture_check(const struct far_fixture *f, struct tarn_session *session,
                                     size_t record)
{
    struct tarn_bytes value, key = dataset_key(&f->d, record);
    assert_int_equal(tarn_get(session, key, &value), TARN_OK);
    assert_true(bytes_equal(value, dataset_value(&f->d, dataset_find(&f->d, key))));
}

#endif
