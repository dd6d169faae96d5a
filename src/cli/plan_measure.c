/* Measuring a device; see plan_measure.h.
 *
 * How: a ring is kept full with reads at places drawn at random, until some time has passed and
 * some reads have been done, whichever is later; then it is let run empty, and what was done is
 * divided by the time of it all. In sequence the same with places that follow each other.
 *
 * Failure modes: a read that fails or meets the end of the file (which shrank) ends it. */
#include "cli/plan_measure.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>

#include "core/assert.h"
#include "core/random.h"
#include "os/ring.h"

#define READ_BYTES_MAX  (1u << 20)
#define SEQUENCE_BYTES  (1u << 20)
#define SEQUENCE_DEPTH  8u
#define RUN_NS          400000000ull
#define SEQUENCE_NS     1000000000ull
#define READS_MIN_ALONE 16u

static const uint32_t sizes[] = {4096, 16384, 65536, 262144, READ_BYTES_MAX};
#define SIZES_COUNT (sizeof sizes / sizeof sizes[0])

struct measuring {
    const struct os *os;
    const char *path;
    int fd;
    uint64_t file_bytes;
    uint64_t random, place; /* of the next read in sequence */
    unsigned depth;
    struct ring *ring;
    unsigned char *memory;
    size_t memory_bytes;
    struct ring_read *reads;
    tarn_progress progress;
    void *progress_context;
    unsigned steps_done;
};

/* One run: reads of that many bytes, that many together. */
struct run {
    uint32_t bytes;
    unsigned depth;
    bool sequential;
    uint64_t least_ns, least_reads;
    uint64_t begun_ns, begun, done;
};

static uint64_t next_place(struct measuring *m, const struct run *run)
{
    uint64_t places = m->file_bytes / run->bytes;
    if (run->sequential)
        return m->place++ % places * run->bytes;
    return random_below(random_next(&m->random), places) * run->bytes;
}

static bool is_over(const struct measuring *m, const struct run *run)
{
    return run->begun >= run->least_reads &&
           m->os->monotonic_ns(m->os) - run->begun_ns >= run->least_ns;
}

static void begin_read(struct measuring *m, struct run *run, struct ring_read *read)
{
    read->fd = m->fd;
    read->size = run->bytes;
    read->offset = next_place(m, run);
    run->begun++;
    ring_add(m->ring, read);
}

static int check_read(const struct measuring *m, const struct ring_read *read,
                      struct tarn_error *error)
{
    if (read->status != 0)
        return os_error(error, read->status, "cannot read", m->path);
    if (read->done < read->size)
        return error_set(error, TARN_IO, "%s ended while it was measured", m->path);
    return TARN_OK;
}

/* All that is under way comes back even after a failure, which is the first one. */
static int run_reads(struct measuring *m, struct run *run, struct tarn_error *error)
{
    int status = TARN_OK;
    run->begun_ns = m->os->monotonic_ns(m->os);
    for (unsigned i = 0; i < run->depth; i++) {
        m->reads[i].data = m->memory + (size_t)i * READ_BYTES_MAX;
        begin_read(m, run, &m->reads[i]);
    }
    ring_submit(m->ring);
    while (run->done < run->begun) {
        ring_wait(m->ring, false);
        struct ring_read *read;
        while ((read = ring_reap(m->ring)) != NULL) {
            run->done++;
            if (status == TARN_OK)
                status = check_read(m, read, error);
            if (status == TARN_OK && !is_over(m, run))
                begin_read(m, run, read);
        }
        ring_submit(m->ring);
    }
    return status;
}

/* ret_us: from one read to the next. */
static int measure(struct measuring *m, struct run run, double *ret_us, struct tarn_error *error)
{
    unsigned steps = 2 * SIZES_COUNT + 1;
    if (m->progress && !m->progress(m->progress_context, "measuring", m->steps_done++, steps))
        return error_set(error, TARN_CANCELLED, "%s: cancelled", m->path);
    int status = run_reads(m, &run, error);
    if (status != TARN_OK)
        return status;
    uint64_t elapsed_ns = m->os->monotonic_ns(m->os) - run.begun_ns;
    *ret_us = (double)(elapsed_ns > 0 ? elapsed_ns : 1) / 1e3 / (double)run.done;
    return TARN_OK;
}

static int measure_point(struct measuring *m, uint32_t bytes, struct plan_point *ret_point,
                         struct tarn_error *error)
{
    double alone_us, interval_us;
    struct run alone = {
        .bytes = bytes, .depth = 1, .least_ns = RUN_NS, .least_reads = READS_MIN_ALONE};
    struct run deep = {
        .bytes = bytes, .depth = m->depth, .least_ns = RUN_NS, .least_reads = 2ull * m->depth};
    int status = measure(m, alone, &alone_us, error);
    if (status == TARN_OK)
        status = measure(m, deep, &interval_us, error);
    if (status == TARN_OK)
        *ret_point = (struct plan_point){bytes, alone_us, 1e6 / interval_us};
    return status;
}

static int measure_all(struct measuring *m, struct plan_disk *ret_disk, struct tarn_error *error)
{
    struct plan_disk disk = {.depth = m->depth, .count = SIZES_COUNT};
    static_assert(SIZES_COUNT <= PLAN_POINTS_MAX, "there is room");
    for (unsigned i = 0; i < SIZES_COUNT; i++) {
        int status = measure_point(m, sizes[i], &disk.points[i], error);
        if (status != TARN_OK)
            return status;
    }
    double us;
    m->place = random_below(random_next(&m->random), m->file_bytes / SEQUENCE_BYTES);
    struct run in_sequence = {.bytes = SEQUENCE_BYTES,
                              .depth = m->depth < SEQUENCE_DEPTH ? m->depth : SEQUENCE_DEPTH,
                              .sequential = true,
                              .least_ns = SEQUENCE_NS,
                              .least_reads = 2ull * SEQUENCE_DEPTH};
    int status = measure(m, in_sequence, &us, error);
    if (status != TARN_OK)
        return status;
    disk.rate = SEQUENCE_BYTES / us * 1e6;
    *ret_disk = disk;
    return TARN_OK;
}

/* Once more, past the page cache; that it is a file that can be read is known. */
static int open_direct(struct measuring *m, struct tarn_error *error)
{
    int e = m->os->open(m->os, m->path, O_RDONLY | O_DIRECT, 0, &m->fd);
    if (e == -EINVAL)
        return error_set(error, TARN_INVALID,
                         "%s: its file system has no direct reads, so that the device cannot be "
                         "measured; describe it by --disk",
                         m->path);
    return e == 0 ? TARN_OK : os_error(error, e, "cannot open", m->path);
}

static int check_file(struct measuring *m, struct tarn_error *error)
{
    struct os_file_info info;
    int fd, status = os_open_data(m->os, m->path, &fd, &info, error);
    if (status != TARN_OK)
        return status;
    (void)m->os->close(m->os, fd); /* opened for its description only */
    m->file_bytes = info.size;
    if (info.size >= PLAN_MEASURE_BYTES_MIN)
        return TARN_OK;
    return error_set(error, TARN_INVALID,
                     "%s is too small to measure its device, which takes 16 MiB; give a larger "
                     "file on it by --measure, or describe the device by --disk",
                     m->path);
}

static int prepare(struct measuring *m, struct tarn_error *error)
{
    int status = check_file(m, error);
    if (status == TARN_OK)
        status = open_direct(m, error);
    if (status != TARN_OK)
        return status;
    m->memory_bytes = (size_t)m->depth * READ_BYTES_MAX;
    void *memory, *reads;
    int e = m->os->map(m->os, m->memory_bytes, &memory);
    if (e == 0) {
        m->memory = memory;
        e = m->os->map(m->os, m->depth * sizeof *m->reads, &reads);
    }
    if (e == 0) {
        m->reads = reads;
        e = m->os->entropy(m->os, &m->random, sizeof m->random);
    }
    if (e == 0)
        e = ring_open(m->os, &(struct ring_settings){.depth = m->depth}, &m->ring);
    return e == 0 ? TARN_OK : os_error(error, e, "cannot measure", m->path);
}

int plan_measure(const struct os *os, const char *path, unsigned depth, tarn_progress progress,
                 void *context, struct plan_disk *ret_disk, struct tarn_error *error)
{
    ASSERT(depth >= 1 && depth <= RING_DEPTH_MAX);
    struct measuring m = {.os = os,
                          .path = path,
                          .fd = -1,
                          .depth = depth,
                          .progress = progress,
                          .progress_context = context};
    int status = prepare(&m, error);
    if (status == TARN_OK)
        status = measure_all(&m, ret_disk, error);
    ring_close(m.ring);
    os->unmap(os, m.reads, m.depth * sizeof *m.reads);
    os->unmap(os, m.memory, m.memory_bytes);
    if (m.fd >= 0)
        (void)os->close(os, m.fd); /* only read from: nothing is lost */
    return status;
}
