/* Commands run in this process over a failing operating system: a directory of their own, stdout
 * thrown away, stderr captured. One at a time. */
#ifndef LIB_CLI_SCENE_H
#define LIB_CLI_SCENE_H

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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

static inline void scene_start(struct scene *s)
{
    scratch_open(&s->scratch);
    fault_os_init(&s->fault, NULL);
    fflush(stdout);
    s->captured = memfd_create("stderr", MFD_CLOEXEC);
    s->saved_stdout = dup(STDOUT_FILENO);
    s->saved_stderr = dup(STDERR_FILENO);
    assert_true(s->captured >= 0 && s->saved_stdout >= 0 && s->saved_stderr >= 0);
}

static inline void scene_finish(struct scene *s)
{
    assert_true(fault_os_clean(&s->fault));
    fault_os_done(&s->fault);
    close(s->captured);
    close(s->saved_stdout);
    close(s->saved_stderr);
    scratch_close(&s->scratch);
}

/* Allocations fail only once the options are parsed: before that a few bytes are insisted on. */
static const struct cli_command *scene_command;
static uint64_t scene_nth;

static int scene_run_armed(struct cli_call *call)
{
    fault_malloc_arm(scene_nth, false);
    return scene_command->run(call);
}

/* Run a command (args[0] is its name, at most 11 more) with stdout thrown away and stderr captured;
 * nth_allocation 0: none fails. */
static inline int scene_run(struct scene *s, const struct cli_command *command,
                            const char *const *args, uint64_t nth_allocation, uint64_t *ret_failed)
{
    char *argv[12] = {0}, storage[12][SCRATCH_PATH_BYTES];
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
    armed.run = scene_run_armed;
    scene_command = command;
    scene_nth = nth_allocation;
    int exit_status = cli_run(&s->fault.os, &armed, argc, argv);
    *ret_failed = fault_malloc_disarm();
    fflush(stdout);
    dup2(s->saved_stdout, STDOUT_FILENO);
    dup2(s->saved_stderr, STDERR_FILENO);
    return exit_status;
}

/* What a failed command wrote: one line, with its name. */
static inline void scene_check_error(struct scene *s, const struct cli_command *command)
{
    char text[4096] = {0}, prefix[64];
    ssize_t size = pread(s->captured, text, sizeof text - 1, 0);
    snprintf(prefix, sizeof prefix, "tarn %s: ", command->name);
    if (size <= 0 || strncmp(text, prefix, strlen(prefix)) != 0 ||
        strchr(text, '\n') != text + size - 1)
        fail_msg("not one line of tarn %s: \"%s\"", command->name, text);
}

#endif
