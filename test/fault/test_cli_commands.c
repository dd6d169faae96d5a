/* Goal: whichever system call or allocation fails under gen, index, inspect, verify and bench, the
 * command says so in one line, exits with status 1, leaves nothing open and no half file.
 * Method: each command is run again and again on a small data set; run n fails the nth call of an
 * entry, for every entry, and then the nth allocation. stderr goes to a memory file. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/test.h"

#include "cli/cli.h"
#include "lib/fault_malloc.h"
#include "lib/fault_os.h"
#include "lib/scratch.h"

struct scene {
    struct scratch scratch;
    struct fault_os fault;
    int captured; /* memory file that stands in for stderr */
    int saved_stdout, saved_stderr;
};

static void start(struct scene *s)
{
    scratch_open(&s->scratch);
    fault_os_init(&s->fault, NULL);
    fflush(stdout);
    s->captured = memfd_create("stderr", MFD_CLOEXEC);
    s->saved_stdout = dup(STDOUT_FILENO);
    s->saved_stderr = dup(STDERR_FILENO);
    assert_true(s->captured >= 0 && s->saved_stdout >= 0 && s->saved_stderr >= 0);
}

static void finish(struct scene *s)
{
    assert_true(fault_os_clean(&s->fault));
    fault_os_done(&s->fault);
    close(s->captured);
    close(s->saved_stdout);
    close(s->saved_stderr);
    scratch_close(&s->scratch);
}

/* Allocations fail only once the options are parsed: before that a few bytes are insisted on. */
static const struct cli_command *armed_command;
static uint64_t armed_nth;

static int run_armed(struct cli_call *call)
{
    fault_malloc_arm(armed_nth, false);
    return armed_command->run(call);
}

/* Run a command with stdout thrown away and stderr captured; nth_allocation 0: none fails. */
static int run(struct scene *s, const struct cli_command *command, const char *const *args,
               uint64_t nth_allocation, uint64_t *ret_failed)
{
    char *argv[8] = {0}, storage[8][SCRATCH_PATH_BYTES];
    int argc = 0;
    for (; args[argc]; argc++) {
        snprintf(storage[argc], sizeof storage[argc], "%s", args[argc]);
        argv[argc] = storage[argc];
    }
    assert_int_equal(ftruncate(s->captured, 0), 0);
    assert_int_equal(lseek(s->captured, 0, SEEK_SET), 0);
    fflush(stdout);
    int null = memfd_create("stdout", MFD_CLOEXEC);
    assert_true(null >= 0);
    dup2(null, STDOUT_FILENO);
    dup2(s->captured, STDERR_FILENO);
    close(null);
    struct cli_command armed = *command;
    armed.run = run_armed;
    armed_command = command;
    armed_nth = nth_allocation;
    int exit_status = cli_run(&s->fault.os, &armed, argc, argv);
    *ret_failed = fault_malloc_disarm();
    fflush(stdout);
    dup2(s->saved_stdout, STDOUT_FILENO);
    dup2(s->saved_stderr, STDERR_FILENO);
    return exit_status;
}

/* What a failed command wrote: one line, with its name. */
static void check_error(struct scene *s, const struct cli_command *command)
{
    char text[4096] = {0}, prefix[64];
    ssize_t size = pread(s->captured, text, sizeof text - 1, 0);
    snprintf(prefix, sizeof prefix, "tarn %s: ", command->name);
    if (size <= 0 || strncmp(text, prefix, strlen(prefix)) != 0 ||
        strchr(text, '\n') != text + size - 1)
        fail_msg("not one line of tarn %s: \"%s\"", command->name, text);
}

struct job {
    const struct cli_command *command;
    const char *args[8]; /* "@name": a file of the scratch directory */
    const char *makes;   /* the file it writes, NULL if none */
};

static const struct job jobs[] = {
    {&cli_command_gen, {"gen", "--count", "20000", "@out"}, "out"},
    {&cli_command_gen, {"gen", "--count", "20000", "--value-size", "200", "@out"}, "out"},
    {&cli_command_index, {"index", "@data"}, "data.tarnidx"},
    {&cli_command_index, {"index", "--format", "text", "--index", "@other", "@data"}, "other"},
    {&cli_command_inspect, {"inspect", "@indexed"}, NULL},
    {&cli_command_verify, {"verify", "@indexed"}, NULL},
    {&cli_command_bench,
     {"bench", "--requests=100", "--csv", "@out", "--embedded", "@data"},
     "out"},
};

static void prepare(struct scene *s)
{
    uint64_t ignored;
    static const char *const names[] = {"data", "indexed"};
    for (size_t i = 0; i < 2; i++) {
        const char *const args[] = {"gen", "--count", "3000", scratch_at(&s->scratch, names[i]),
                                    NULL};
        assert_int_equal(run(s, &cli_command_gen, args, 0, &ignored), 0);
    }
    const char *const args[] = {"index", scratch_at(&s->scratch, "indexed"), NULL};
    assert_int_equal(run(s, &cli_command_index, args, 0, &ignored), 0);
}

/* One run of a job; checks what must hold after it. True if nothing was failed. */
static bool run_job(struct scene *s, const struct job *job, uint64_t nth_allocation,
                    const char *what)
{
    const char *args[8] = {0};
    uint64_t allocations_failed;
    for (size_t i = 0; job->args[i]; i++)
        args[i] = job->args[i][0] == '@' ? scratch_at(&s->scratch, job->args[i] + 1) : job->args[i];
    int exit_status = run(s, job->command, args, nth_allocation, &allocations_failed);
    bool failed = fault_os_fired(&s->fault) || allocations_failed > 0;
    if (exit_status != CLI_OK) {
        if (!failed)
            fail_msg("tarn %s failed though nothing was failed (%s)", job->command->name, what);
        assert_int_equal(exit_status, CLI_FAILED);
        check_error(s, job->command);
    }
    assert_int_equal(scratch_count(&s->scratch, ".tmp."), 0);
    if (job->makes) {
        const char *made = scratch_at(&s->scratch, job->makes);
        struct buffer content = {0};
        bool there = file_read(made, &content);
        assert_true(there || exit_status != CLI_OK);
        buffer_done(&content);
        if (there)
            assert_int_equal(unlink(made), 0);
    }
    assert_int_equal(scratch_count(&s->scratch, ""), 3); /* data, indexed, indexed.tarnidx */
    assert_true(fault_os_clean(&s->fault));
    return !failed;
}

static void test_system_calls(void **context)
{
    (void)context;
    static const struct {
        enum fault_entry entry;
        int number;
    } failures[] = {
        {FAULT_OPEN, EMFILE},   {FAULT_CLOSE, EIO},       {FAULT_FILE_INFO, EIO},
        {FAULT_READ_AT, EIO},   {FAULT_WRITE_AT, ENOSPC}, {FAULT_SYNC, EIO},
        {FAULT_RENAME, EACCES}, {FAULT_MAP, ENOMEM},      {FAULT_ENTROPY, EIO},
    };
    struct scene s;
    start(&s);
    prepare(&s);
    for (size_t j = 0; j < sizeof jobs / sizeof jobs[0]; j++) {
        for (size_t f = 0; f < sizeof failures / sizeof failures[0]; f++) {
            for (uint64_t nth = 1; nth < 1000; nth++) {
                fault_os_reset(&s.fault);
                fault_os_fail(&s.fault, failures[f].entry, nth, failures[f].number, false);
                if (run_job(&s, &jobs[j], 0, fault_entry_name(failures[f].entry)))
                    break;
            }
        }
        for (uint64_t nth = 1; nth < 1000; nth++) { /* short reads and writes change nothing */
            fault_os_reset(&s.fault);
            fault_os_short(&s.fault, FAULT_READ_AT, nth, 7);
            fault_os_short(&s.fault, FAULT_WRITE_AT, nth, 7);
            if (run_job(&s, &jobs[j], 0, "short transfers"))
                break;
        }
    }
    finish(&s);
}

static void test_allocations(void **context)
{
    (void)context;
    struct scene s;
    start(&s);
    prepare(&s);
    fault_os_reset(&s.fault);
    for (size_t j = 0; j < sizeof jobs / sizeof jobs[0]; j++)
        for (uint64_t nth = 1; nth<10000; nth += TEST_SLOWER> 1 ? 4 : 1)
            if (run_job(&s, &jobs[j], nth, "allocations"))
                break;
    finish(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_system_calls),
        cmocka_unit_test(test_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
