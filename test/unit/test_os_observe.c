/* Goal: the processes that listen on a port are found, each once; processor time and memory are
 * those of the files; files that vanish, are cut or hold nonsense give 0 and do no harm.
 * Method: folders made up like /proc; then the real one, with this process as what is looked for:
 * its own figures are compared with those that the system calls give. */
#include "lib/test.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/scratch.h"
#include "os/observe.h"
#include "os/os.h"
#include "os/socket.h"

static struct scratch scratch;

static int setup(void **state)
{
    (void)state;
    scratch_open(&scratch);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_close(&scratch);
    return 0;
}

static void put(const char *name, const char *text)
{
    file_write(scratch_at(&scratch, name), bytes_of(text));
}

/* A descriptor of a process: a link to what proc says it is. */
static void put_fd(int pid, int fd, const char *target)
{
    char name[64], path[SCRATCH_PATH_BYTES];
    snprintf(name, sizeof name, "%d/fd/.folder", pid);
    put(name, "");
    snprintf(name, sizeof name, "%d/fd/%d", pid, fd);
    assert_int_equal(symlink(target, scratch_name(&scratch, name, path)), 0);
}

static int compare(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* The listeners in ascending order as text, "5 17". */
static const char *listeners(uint16_t port)
{
    static char text[256];
    int pids[8];
    unsigned count = observe_listeners(scratch.path, port, pids, 8);
    assert_true(count <= 8);
    qsort(pids, count, sizeof pids[0], compare);
    size_t size = 0;
    text[0] = 0;
    for (unsigned i = 0; i < count; i++)
        size += (size_t)snprintf(text + size, sizeof text - size, i ? " %d" : "%d", pids[i]);
    return text;
}

#define HEADER                                                                                     \
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout "  \
    "inode\n"
#define LINE(local, remote, state, inode)                                                          \
    "   0: " local " " remote " " state                                                            \
    " 00000000:00000000 00:00000000 00000000  1000        0 " inode                                \
    " 1 00000000fb418b48 100 0 0 10 0\n"
#define ANY  "00000000:0000"
#define ANY6 "00000000000000000000000000000000:0000"

/* Port 6379 is 18EB. */
static void test_listeners(void **state)
{
    (void)state;
    put("net/tcp", HEADER LINE("0100007F:18EB", ANY, "0A", "101") /* */
        LINE("00000000:18EB", ANY, "0A", "102")                   /* shared port, two sockets */
        LINE("0100007F:18EC", ANY, "0A", "103")                   /* another port */
        LINE("0100007F:18EB", "0100007F:9999", "01", "104")       /* a connection of it */
        LINE("0100007F:9999", "0100007F:18EB", "01", "105")       /* and its other end */
        LINE("0100007F:18EB", "0100007F:9998", "06", "0"));       /* one that is closing */
    put("net/tcp6", HEADER LINE("00000000000000000000000000000000:18EB", ANY6, "0A", "201"));
    put_fd(5, 0, "/dev/null");
    put_fd(5, 3, "socket:[101]");
    put_fd(5, 4, "socket:[102]"); /* the same process again */
    put_fd(17, 3, "socket:[102]");
    put_fd(18, 3, "socket:[103]");
    put_fd(19, 3, "socket:[104]");
    put_fd(19, 4, "socket:[105]");
    put_fd(20, 3, "socket:[201]");
    put_fd(21, 3, "socket:[10]");
    put_fd(21, 4, "socket:[1011]");
    put_fd(21, 5, "pipe:[101]");
    put_fd(21, 6, "socket:[1019");
    put_fd(21, 7, "socket:[0]");
    put_fd(21, 8, "socket:[]");
    put_fd(21, 9, "socket:[+101]");
    put_fd(21, 10, "socket:[1000000000000000000000000000000000000000000000000000000000000101]");
    put("self/fd/x", "");
    put("22/fd", "not a folder");
    put("99999999999/fd/x", "");
    assert_string_equal(listeners(6379), "5 17 20");
    assert_string_equal(listeners(6380), "18");
    assert_string_equal(listeners(1), "");
    int pids[3] = {0, 0, -7};
    assert_int_equal(observe_listeners(scratch.path, 6379, pids, 2), 2);
    assert_int_equal(pids[2], -7); /* no more than was asked for */
    assert_true(pids[0] != pids[1]);
}

static void test_listeners_of_nonsense(void **state)
{
    (void)state;
    put_fd(5, 3, "socket:[101]");
    assert_string_equal(listeners(6379), "");
    assert_int_equal(observe_listeners("/nonexistent", 6379, NULL, 0), 0);
    char longer[3000];
    memset(longer, 'x', sizeof longer);
    memcpy(longer + 1000, LINE("0100007F:18EB", ANY, "0A", "101"), 60); /* within a long line */
    longer[sizeof longer - 1] = 0;
    /* at a place where a reader of pieces of 255 bytes begins the next */
    static char piece[1200];
    memset(piece, 'x', 1020);
    strcpy(piece + 1020, LINE("0100007F:18EB", ANY, "0A", "101"));
    const char *const tables[] = {
        "",
        "\n\n\n",
        longer,
        piece,
        "   0: 0100007F:18EB 00000000:0000 0A",
        "   0: 0100007F:18EB 00000000:0000 0A 0:0 0:0 0 0 0 x\n",
        "   0: 0100007F:18EB:0000 0A 0:0 0:0 0 0 0 101\n",
        LINE("0100007F:018EB", ANY, "0A", "101"),
        LINE("0100007F:18EB", ANY, "0B", "101"),
    };
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        put("net/tcp", tables[i]);
        assert_string_equal(listeners(6379), "");
    }
    /* a pipe without a writer in the place of a table: nobody waits for it */
    char path[SCRATCH_PATH_BYTES];
    assert_int_equal(unlink(scratch_name(&scratch, "net/tcp", path)), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_string_equal(listeners(6379), "");
    assert_int_equal(unlink(path), 0);
}

/* More sockets than are kept: those kept are found, nothing is written past the end. */
static void test_many_sockets(void **state)
{
    (void)state;
    struct buffer table = {0};
    char line[200];
    for (int i = 0; i < 3000; i++) {
        snprintf(line, sizeof line, LINE("0100007F:18EB", ANY, "0A", "%d"), 1000 + i);
        buffer_append_text(&table, line);
    }
    file_write(scratch_at(&scratch, "net/tcp"), buffer_view(&table));
    buffer_done(&table);
    put_fd(5, 3, "socket:[1000]");
    put_fd(6, 3, "socket:[1500]");
    assert_string_equal(listeners(6379), "5 6");
}

static uint64_t tick_ns(void)
{
    return 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);
}

#define STAT(name, utime, stime)                                                                   \
    "7 (" name ") S 1 7 7 0 -1 4194560 5000 6000 1 2 " utime " " stime " 800 900 20 0 3 0 123 "    \
    "456\n"

static void test_cpu(void **state)
{
    (void)state;
    assert_true(observe_cpu_ns(scratch.path, 7) == 0);
    put("7/stat", STAT("redis-server", "30", "12"));
    assert_true(observe_cpu_ns(scratch.path, 7) == 42 * tick_ns());
    put("7/stat", STAT("a) S 1 2 3 4 5 6 7 8 9 10 11 12 (b", "30", "12"));
    assert_true(observe_cpu_ns(scratch.path, 7) == 42 * tick_ns());
    put("7/task/7/schedstat", "430000001 5555 66\n");
    put("7/task/8/schedstat", "20 77 88\n");
    put("7/task/.x/schedstat", "9999999999999 77 88\n");
    put("7/task/9/other", "");
    assert_true(observe_cpu_ns(scratch.path, 7) == 430000021);
    put("7/stat", STAT("x", "90", "9")); /* threads ended: their time is only here */
    assert_true(observe_cpu_ns(scratch.path, 7) == 99 * tick_ns());
}

static void test_cpu_of_nonsense(void **state)
{
    (void)state;
    static const char *const stats[] = {
        "",
        ")",
        "7 (x)",
        "7 (x) S 1 7 7 0 -1 4194560 5000 6000 1 2",
        "7 (x) S 1 7 7 0 -1 4194560 5000 6000 1 2 30",
        "7 (x S 1 7 7 0 -1 4194560 5000 6000 1 2 30 12 0 0",
        STAT("x", "-30", "x12"),
        STAT("x", "18446744073709551615", "18446744073709551615"),
        STAT("x", "99999999999999999999", "0"),
    };
    for (size_t i = 0; i < sizeof stats / sizeof stats[0]; i++) {
        put("7/stat", stats[i]);
        assert_true(observe_cpu_ns(scratch.path, 7) == 0);
    }
    char longest[5000];
    memset(longest, '1', sizeof longest);
    longest[sizeof longest - 1] = 0;
    put("7/stat", longest);
    put("7/task/7/schedstat", longest);
    assert_true(observe_cpu_ns(scratch.path, 7) == 0);
    static const char *const threads[] = {"", "x", " 5", "-5 1", "5x 1"};
    for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++) {
        put("7/task/7/schedstat", threads[i]);
        assert_true(observe_cpu_ns(scratch.path, 7) == 0);
    }
    put("7/task/7/schedstat", "18446744073709551615 1 1\n");
    put("7/task/8/schedstat", "18446744073709551615 1 1\n");
    assert_true(observe_cpu_ns(scratch.path, 7) == UINT64_MAX);
}

static void test_memory(void **state)
{
    (void)state;
    assert_true(observe_memory_bytes(scratch.path, 7) == 0);
    put("7/status", "Name:\tx\nVmHWM:\t    9999 kB\nVmRSS:\t    2048 kB\nRssAnon:\t  5 kB\n");
    assert_true(observe_memory_bytes(scratch.path, 7) == 2048 * 1024);
    static const char *const bad[] = {
        "",
        "Name:\tVmRSS:\t5 kB\n",
        "Name:\tkthread\n",
        "x\nVmRSS:",
        "x\nVmRSS:\t",
        "x\nVmRSS:\t-1 kB\n",
        "x\nVmRSS:\t18446744073709551615 kB\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put("7/status", bad[i]);
        assert_true(observe_memory_bytes(scratch.path, 7) == 0);
    }
}

/* Keep a thread busy for so much of its own time. */
static void *use_processor(void *argument)
{
    uint64_t start = observe_thread_cpu_ns(), wanted = *(const uint64_t *)argument;
    while (observe_thread_cpu_ns() - start < wanted)
        continue;
    return NULL;
}

/* The real thing: this process, and a child that shares its socket. */
static void test_this_process(void **state)
{
    (void)state;
    const struct os *os = os_real();
    int fd, pids[8], pipe_fds[2];
    assert_int_equal(os->listen(os, "127.0.0.1", 0, 1, false, &fd), 0);
    uint16_t port = socket_local_port(fd);
    assert_int_equal(observe_listeners("/proc", port, pids, 8), 1);
    assert_int_equal(pids[0], getpid());
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char c;
        close(pipe_fds[1]);
        _exit((int)read(pipe_fds[0], &c, 1)); /* until the other end is closed */
    }
    close(pipe_fds[0]);
    assert_int_equal(observe_listeners("/proc", port, pids, 8), 2);
    assert_true((pids[0] == getpid() && pids[1] == child) ||
                (pids[1] == getpid() && pids[0] == child));
    close(pipe_fds[1]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(fd);
    assert_int_equal(observe_listeners("/proc", port, pids, 8), 0);
}

/* Trips when the time of a thread that has ended is lost. */
static void test_figures_of_this_process(void **state)
{
    (void)state;
    uint64_t own_ns = 10000000, thread_ns = 100000000;
    pthread_t thread;
    uint64_t user_us, system_us, before = observe_thread_cpu_ns();
    use_processor(&own_ns);
    assert_true(observe_thread_cpu_ns() >= before + own_ns);
    assert_int_equal(pthread_create(&thread, NULL, use_processor, &thread_ns), 0);
    pthread_join(thread, NULL);
    uint64_t seen = observe_cpu_ns("/proc", getpid());
    os_cpu_time_us(&user_us, &system_us);
    assert_true(seen + 3 * tick_ns() >= own_ns + thread_ns);
    assert_true(seen <= (user_us + system_us) * 1000 + 2 * tick_ns());
    assert_true(observe_memory_bytes("/proc", getpid()) > 100000);
    assert_true(observe_cpu_ns("/proc", INT32_MAX) == 0);
    assert_true(observe_memory_bytes("/proc", INT32_MAX) == 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_listeners),    TEST(test_listeners_of_nonsense),   TEST(test_many_sockets),
        TEST(test_cpu),          TEST(test_cpu_of_nonsense),         TEST(test_memory),
        TEST(test_this_process), TEST(test_figures_of_this_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
