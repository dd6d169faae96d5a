/* Goal: a process killed in any system call, or one whose file system loses power, leaves a
 * directory that opens again with what was promised.
 * Method: a child plays a script (test/lib/crash_script.h) and kills itself in the nth call of its
 * struct os, for every n, in opening too; or a loop-mounted file system is shut down under it
 * (FS_IOC_SHUTDOWN), unmounted and mounted again. The parent has heard what was acknowledged.
 *
 *     test_store_kill                            the quick form: some kills
 *     test_store_kill kill POINTS [SEED]         so many kills, a table, and the lines for
 *                                                script/fault
 *     test_store_kill power FILE-SYSTEM CUTS [SEED]   ext4 or xfs; exit status 77: not permitted
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/test.h"

#include "lib/crash_script.h"
#include "lib/fault_line.h"
#include "lib/scratch.h"

#define STEPS_MAX    60
#define CUTS_A_STORE 40
#define EXIT_SKIPPED 77
#define DURABILITIES 4
#define FAILURES_MAX 10
#define SHUTDOWN     _IOR('X', 125, uint32_t) /* FS_IOC_SHUTDOWN of ext4 and xfs */
#define NO_LOG_FLUSH 2u

static const char *const durability_names[] = {"none", "async", "periodic", "commit"};

/* --- dying in the nth call --- */

/* What it was about when it was killed. */
enum kind {
    KILL_WRITE,
    KILL_CHECKPOINT,
    KILL_ROTATION,
    KILL_CLOSE,
    KILL_RECOVERY,
    KILL_AGAIN,
    KINDS
};

static const char *const kind_names[KINDS] = {
    "kill: write", "kill: checkpoint", "kill: rotation",
    "kill: close", "kill: recovery",   "kill: recovery of recovery",
};

static struct {
    struct os os;
    const struct os *next;
    _Atomic uint64_t calls;
    uint64_t nth;
    _Atomic bool *in_rotation; /* shared with the parent */
} killer;

static __thread bool makes_segment; /* from its opening until its name is synced */

static void die(void)
{
    atomic_store(killer.in_rotation, makes_segment);
    (void)kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* In every second call it dies before, in the others after it. */
static bool is_last(void)
{
    return atomic_fetch_add(&killer.calls, 1) + 1 == killer.nth;
}

static int end_call(bool last, int status)
{
    if (last)
        die();
    return status;
}

static bool begin_call(void)
{
    bool last = is_last();
    if (last && killer.nth % 2 == 0)
        die();
    return last;
}

static int killer_open(const struct os *os, const char *path, int flags, unsigned mode, int *ret_fd)
{
    (void)os;
    makes_segment = (flags & O_CREAT) && strstr(path, "/wal-") != NULL;
    bool last = begin_call();
    return end_call(last, killer.next->open(killer.next, path, flags, mode, ret_fd));
}

static int killer_write_at(const struct os *os, int fd, const void *data, size_t size,
                           uint64_t offset, size_t *ret_size)
{
    (void)os;
    bool last = begin_call();
    if (last) /* in the middle of it */
        size = size / 512 > 1 ? size / 1024 * 512 : size / 2;
    return end_call(last, killer.next->write_at(killer.next, fd, data, size, offset, ret_size));
}

static int killer_sync(const struct os *os, int fd)
{
    (void)os;
    bool last = begin_call();
    int status = end_call(last, killer.next->sync(killer.next, fd));
    makes_segment = false;
    return status;
}

static int killer_data_sync(const struct os *os, int fd)
{
    (void)os;
    bool last = begin_call();
    return end_call(last, killer.next->data_sync(killer.next, fd));
}

static int killer_truncate(const struct os *os, int fd, uint64_t size)
{
    (void)os;
    bool last = begin_call();
    return end_call(last, killer.next->truncate(killer.next, fd, size));
}

static int killer_rename(const struct os *os, const char *from, const char *to)
{
    (void)os;
    bool last = begin_call();
    return end_call(last, killer.next->rename(killer.next, from, to));
}

static int killer_unlink(const struct os *os, const char *path)
{
    (void)os;
    bool last = begin_call();
    return end_call(last, killer.next->unlink(killer.next, path));
}

static int killer_link(const struct os *os, const char *from, const char *to)
{
    (void)os;
    bool last = begin_call();
    return end_call(last, killer.next->link(killer.next, from, to));
}

static int killer_make_directory(const struct os *os, const char *path, unsigned mode)
{
    (void)os;
    bool last = begin_call();
    return end_call(last, killer.next->make_directory(killer.next, path, mode));
}

static int killer_list(const struct os *os, const char *path, os_visit_name visit, void *context)
{
    (void)os;
    bool last = begin_call();
    return end_call(last, killer.next->list(killer.next, path, visit, context));
}

static int killer_lock(const struct os *os, int fd)
{
    (void)os;
    bool last = begin_call();
    return end_call(last, killer.next->lock(killer.next, fd));
}

/* nth 0: never. */
static const struct os *killer_os(uint64_t nth)
{
    killer.next = os_real();
    killer.nth = nth;
    killer.os = *killer.next;
    killer.os.open = killer_open;
    killer.os.write_at = killer_write_at;
    killer.os.sync = killer_sync;
    killer.os.data_sync = killer_data_sync;
    killer.os.truncate = killer_truncate;
    killer.os.rename = killer_rename;
    killer.os.unlink = killer_unlink;
    killer.os.link = killer_link;
    killer.os.make_directory = killer_make_directory;
    killer.os.list = killer_list;
    killer.os.lock = killer_lock;
    return &killer.os;
}

/* --- children --- */

static pid_t start(const struct script *s, uint64_t nth, int *ret_pipe)
{
    int ends[2];
    if (pipe(ends) != 0)
        abort();
    fflush(NULL);
    pid_t child = fork();
    if (child < 0)
        abort();
    if (child == 0) {
        close(ends[0]);
        script_play(s, killer_os(nth), ends[1]);
        _exit(0);
    }
    close(ends[1]);
    *ret_pipe = ends[0];
    return child;
}

/* Did it end as it should: killed, or well? */
static bool ended(pid_t child)
{
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            abort();
    return (WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
           (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static bool complain(const struct script *s, uint64_t nth, const char *what)
{
    fprintf(stderr, "seed %" PRIu64 ", %s, call %" PRIu64 ": %s\n", s->seed,
            durability_names[s->options.dial.durability], nth, what);
    return false;
}

/* Play until it is killed in the nth call. */
static bool play(const struct script *s, uint64_t nth, struct history *h,
                 struct script_heard *heard)
{
    int pipe;
    pid_t child = start(s, nth, &pipe);
    script_hear(s, pipe, 0, h, heard);
    close(pipe);
    if (!ended(child))
        return complain(s, nth, "the process crashed");
    if (heard->error[0])
        return complain(s, nth, heard->error);
    return true;
}

/* --- kills --- */

static enum kind kind_of(const struct script_heard *heard)
{
    if (heard->phase == SCRIPT_OPENS)
        return KILL_RECOVERY;
    if (atomic_load(killer.in_rotation))
        return KILL_ROTATION;
    return heard->phase == SCRIPT_CHECKPOINTS ? KILL_CHECKPOINT
           : heard->phase == SCRIPT_CLOSES    ? KILL_CLOSE
                                              : KILL_WRITE;
}

struct kills {
    struct script_tally dials[DURABILITIES], kinds[KINDS];
};

static void count_kill(struct kills *k, enum kind kind)
{
    k->kinds[kind].points++;
}

/* Killed once more while it is opened again? Then how it was closed before is no matter. */
static bool kill_again(const struct script *s, uint64_t nth, struct history *h, enum kind before,
                       struct script_heard *heard, struct kills *kills)
{
    struct script opening = *s;
    struct script_heard again = {0};
    opening.count = 0;
    if (!play(&opening, 1 + nth / 2 % 40, h, &again))
        return false;
    heard->closed = again.closed && heard->closed;
    if (again.phase == SCRIPT_OPENS)
        count_kill(kills, before == KILL_RECOVERY ? KILL_AGAIN : KILL_RECOVERY);
    else if (!again.closed)
        count_kill(kills, KILL_CLOSE);
    return true;
}

/* One kill, every second time another one while it is opened again; then the judgement. *ret_end:
 * there was no nth call. */
static bool kill_once(const struct script *s, uint64_t nth, struct history *h, struct kills *kills,
                      bool *ret_end)
{
    struct script_heard heard = {0};
    struct script_tally *tally = &kills->dials[s->options.dial.durability], before = *tally;
    char failure[1024];
    if (!play(s, nth, h, &heard))
        return false;
    *ret_end = heard.closed;
    enum kind kind = heard.closed ? KINDS : kind_of(&heard);
    if (kind < KINDS)
        count_kill(kills, kind);
    if (nth % 2 == 0 && !kill_again(s, nth, h, kind, &heard, kills))
        return false;
    bool good = script_judge(s, os_real(), h, &heard, DISK_KILLED, tally, failure);
    if (kind < KINDS) {
        kills->kinds[kind].losses += tally->losses - before.losses;
        kills->kinds[kind].wrong += tally->wrong - before.wrong;
    }
    return good || complain(s, nth, failure);
}

/* All kills of one script, or so many. */
static bool kill_script(uint64_t seed, uint64_t points, struct kills *kills)
{
    struct scratch scratch;
    struct history h;
    struct script s;
    bool good = true, end = false;
    scratch_open(&scratch);
    history_init(&h);
    script_init(&s, seed, (enum tarn_durability)(seed % DURABILITIES),
                1 + (unsigned)(seed * 7 % STEPS_MAX), scratch_at(&scratch, "db"));
    char *directory = strdup(s.directory);
    s.directory = s.options.directory = directory;
    for (uint64_t nth = 1; good && !end && nth <= points; nth++)
        good = kill_once(&s, nth, &h, kills, &end);
    history_done(&h);
    scratch_close(&scratch);
    free(directory);
    return good;
}

static void print_tallies(const char *what, const struct script_tally *tallies)
{
    printf("durability  %-10s      points  acknowledged          lost  at most\n", what);
    for (unsigned i = 0; i < DURABILITIES; i++)
        printf("%-10s  %-10s  %10" PRIu64 "  %12" PRIu64 "  %12" PRIu64 "  %7" PRIu64 "\n",
               durability_names[i], "", tallies[i].points, tallies[i].acknowledged, tallies[i].lost,
               tallies[i].lost_most);
}

static uint64_t points_of(const struct script_tally *tallies, unsigned count)
{
    uint64_t points = 0;
    for (unsigned i = 0; i < count; i++)
        points += tallies[i].points;
    return points;
}

/* Scripts until there are so many points. Returns how many of them went wrong. */
static unsigned kill_many(uint64_t seed, uint64_t points, uint64_t points_a_script,
                          struct kills *kills)
{
    unsigned failures = 0;
    killer.in_rotation = mmap(NULL, sizeof *killer.in_rotation, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (killer.in_rotation == MAP_FAILED)
        abort();
    while (failures < FAILURES_MAX && points_of(kills->kinds, KINDS) < points)
        failures += !kill_script(seed++, points_a_script, kills);
    munmap((void *)(uintptr_t)killer.in_rotation, sizeof *killer.in_rotation);
    return failures;
}

static int kill_long(uint64_t points, uint64_t seed)
{
    struct kills kills = {0};
    unsigned failures = kill_many(seed, points, UINT64_MAX, &kills);
    print_tallies("killed", kills.dials);
    for (unsigned i = 0; i < KINDS; i++)
        fault_line(kind_names[i], kills.kinds[i].points, kills.kinds[i].losses,
                   kills.kinds[i].wrong);
    return failures > 0;
}

/* --- power cuts --- */

struct mount {
    struct scratch scratch;
    char image[SCRATCH_PATH_BYTES], point[SCRATCH_PATH_BYTES];
    const char *kind;
};

static bool run(const char *const *arguments)
{
    int status;
    pid_t child = fork();
    if (child < 0)
        abort();
    if (child == 0) {
        int null = open("/dev/null", O_RDWR);
        (void)dup2(null, STDOUT_FILENO);
        (void)dup2(null, STDERR_FILENO);
        (void)execvp(arguments[0], (char *const *)(uintptr_t)arguments);
        _exit(127);
    }
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            abort();
    return status == 0;
}

#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})

static bool mount_again(const struct mount *m)
{
    return RUN("mount", "-o", "loop", m->image, m->point);
}

static bool mount_new(struct mount *m, const char *kind)
{
    char make[32];
    m->kind = kind;
    scratch_open(&m->scratch);
    (void)scratch_name(&m->scratch, "image", m->image);
    (void)scratch_name(&m->scratch, "mount", m->point);
    snprintf(make, sizeof make, "mkfs.%s", kind);
    if (mkdir(m->point, 0700) == 0 && RUN("truncate", "-s", "320M", m->image) &&
        RUN(make, "-q", m->image) && mount_again(m))
        return true;
    scratch_close(&m->scratch);
    return false;
}

static void unmount(struct mount *m)
{
    if (!RUN("umount", m->point))
        fprintf(stderr, "%s cannot be unmounted\n", m->point);
}

static bool shut_down(const struct mount *m)
{
    uint32_t flags = NO_LOG_FLUSH;
    int fd = open(m->point, O_RDONLY | O_CLOEXEC);
    bool done = fd >= 0 && ioctl(fd, SHUTDOWN, &flags) == 0;
    if (fd >= 0)
        close(fd);
    return done;
}

/* Play until so many acknowledgements, cut, and judge. */
static bool cut_once(struct mount *m, const struct script *s, unsigned acknowledgements,
                     struct history *h, struct script_tally *tally)
{
    struct script_heard heard = {0};
    char failure[1024];
    int pipe;
    pid_t child = start(s, 0, &pipe);
    if (acknowledgements > 0)
        script_hear(s, pipe, acknowledgements, h, &heard);
    if (fcntl(pipe, F_SETFL, O_NONBLOCK) != 0)
        abort();
    script_hear(s, pipe, 0, h, &heard);
    bool done = shut_down(m);
    heard.late = true;
    (void)kill(child, SIGKILL);
    bool good = ended(child);
    script_hear(s, pipe, 0, h, &heard);
    close(pipe);
    unmount(m);
    if (!done || !mount_again(m)) {
        fprintf(stderr, "%s: the file system cannot be shut down or mounted again\n", m->kind);
        exit(EXIT_FAILURE);
    }
    if (!good)
        return complain(s, 0, "the process crashed");
    if (!script_judge(s, os_real(), h, &heard, DISK_POWER_LOST, tally, failure))
        return complain(s, acknowledgements, failure);
    return true;
}

static bool cut_store(struct mount *m, uint64_t seed, uint64_t cuts, struct script_tally *tallies)
{
    struct history h;
    struct script s;
    char directory[SCRATCH_PATH_BYTES + 24];
    uint64_t random = seed;
    bool good = true;
    snprintf(directory, sizeof directory, "%s/db%" PRIu64, m->point, seed);
    history_init(&h);
    for (uint64_t i = 0; good && i < cuts; i++) {
        enum tarn_durability durability = (enum tarn_durability)(seed % DURABILITIES);
        script_init(&s, random_next(&random), durability, 100000, directory);
        unsigned acknowledgements = (unsigned)random_below(
            random_next(&random), (uint64_t)1 << random_below(random_next(&random), 11));
        good = cut_once(m, &s, acknowledgements, &h, &tallies[durability]);
    }
    history_done(&h);
    if (good)
        (void)RUN("rm", "-r", directory);
    return good;
}

static int cut_many(const char *kind, uint64_t cuts, uint64_t seed)
{
    struct script_tally tallies[DURABILITIES] = {0};
    struct mount m;
    bool good = true;
    char name[32];
    uint64_t losses = 0, wrong = 0;
    snprintf(name, sizeof name, "power cut: %s", kind);
    if (!mount_new(&m, kind)) {
        fault_skipped(name, "it cannot be loop-mounted here");
        return EXIT_SKIPPED;
    }
    while (good && points_of(tallies, DURABILITIES) < cuts)
        good = cut_store(&m, seed++, CUTS_A_STORE, tallies);
    unmount(&m);
    scratch_close(&m.scratch);
    print_tallies(kind, tallies);
    for (unsigned i = 0; i < DURABILITIES; i++) {
        losses += tallies[i].losses;
        wrong += tallies[i].wrong;
    }
    fault_line(name, points_of(tallies, DURABILITIES), losses,
               wrong + (!good && losses + wrong == 0));
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* --- the quick form --- */

static void test_killed_in_any_call(void **state)
{
    (void)state;
    struct kills kills = {0};
    assert_int_equal(kill_many(1, 160 / TEST_SLOWER, 20, &kills), 0);
    print_tallies("killed", kills.dials);
    assert_int_equal(kills.dials[TARN_DURABILITY_PERIODIC].lost, 0);
    assert_int_equal(kills.dials[TARN_DURABILITY_COMMIT].lost, 0);
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_in_any_call),
    };
    bool powers = count > 3 && strcmp(arguments[1], "power") == 0;
    if (powers)
        return cut_many(arguments[2], strtoull(arguments[3], NULL, 10),
                        count > 4 ? strtoull(arguments[4], NULL, 10) : 1);
    if (access("/dev/shm", W_OK) == 0) /* what a kill leaves is in the page cache anyway */
        (void)setenv("TMPDIR", "/dev/shm", 0);
    if (count > 2 && strcmp(arguments[1], "kill") == 0)
        return kill_long(strtoull(arguments[2], NULL, 10),
                         count > 3 ? strtoull(arguments[3], NULL, 10) : 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
