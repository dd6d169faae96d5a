/* Goal: whichever system call or allocation fails under gen, index, inspect, verify, dump and
 * bench, the command says so in one line, exits with status 1, leaves nothing open and no half
 * file. Method: each command is run again and again on a small data set; run n fails the nth call
 * of an entry, for every entry, and then the nth allocation. stderr goes to a memory file. */
#include <errno.h>
#include <unistd.h>

#include "lib/test.h"

#include "lib/cli_scene.h"

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
    {&cli_command_dump, {"dump", "--output", "@out", "@data"}, "out"},
    {&cli_command_dump, {"dump", "--format", "cbor", "--output", "@out", "@indexed"}, "out"},
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
        assert_int_equal(scene_run(s, &cli_command_gen, args, 0, &ignored), 0);
    }
    const char *const args[] = {"index", scratch_at(&s->scratch, "indexed"), NULL};
    assert_int_equal(scene_run(s, &cli_command_index, args, 0, &ignored), 0);
}

/* One run of a job; checks what must hold after it. True if nothing was failed. */
static bool run_job(struct scene *s, const struct job *job, uint64_t nth_allocation,
                    const char *what)
{
    const char *args[8] = {0};
    uint64_t allocations_failed;
    for (size_t i = 0; job->args[i]; i++)
        args[i] = job->args[i][0] == '@' ? scratch_at(&s->scratch, job->args[i] + 1) : job->args[i];
    int exit_status = scene_run(s, job->command, args, nth_allocation, &allocations_failed);
    bool failed = fault_os_fired(&s->fault) || allocations_failed > 0;
    if (exit_status != CLI_OK) {
        if (!failed)
            fail_msg("tarn %s failed though nothing was failed (%s)", job->command->name, what);
        assert_int_equal(exit_status, CLI_FAILED);
        scene_check_error(s, job->command);
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
    scene_start(&s);
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
    scene_finish(&s);
}

static void test_allocations(void **context)
{
    (void)context;
    struct scene s;
    scene_start(&s);
    prepare(&s);
    fault_os_reset(&s.fault);
    for (size_t j = 0; j < sizeof jobs / sizeof jobs[0]; j++)
        for (uint64_t nth = 1; nth<10000; nth += TEST_SLOWER> 1 ? 4 : 1)
            if (run_job(&s, &jobs[j], nth, "allocations"))
                break;
    scene_finish(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_system_calls),
        cmocka_unit_test(test_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
