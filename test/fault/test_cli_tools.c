/* Goal: whichever system call or allocation fails under load, dump, check, repair and backup of a
 * directory, the command says so in one line and leaves nothing open; a directory that is loaded
 * has all records afterwards or those it had before, a dump is whole or not there, and the
 * directory that is read still holds what it held. Method: as test_cli_commands.c, with the
 * directory put back before each run and looked at after it with nothing failing.
 *
 * Bugs planted once to see it fail: load does not wait for the checkpoint; dump commits after a
 * failed read; the store not closed after a failed scan. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/test.h"

#include "lib/cli_scene.h"

enum { RECORDS = 300, MORE = 200, STRIDE = TEST_SLOWER };

static const char *const quiet_commands[][8] = {
    {"load", "--format", "text", "@store", "@first"},
};

struct job {
    const struct cli_command *command;
    const char *args[10]; /* "@name": in the scratch directory */
    const char *makes;    /* a file that is whole or not there */
    const char *fills;    /* a directory with a store: `before` or `after` records */
    size_t before, after;
};

static const struct job jobs[] = {
    {&cli_command_load,
     {"load", "--format", "text", "@store", "@second"},
     NULL,
     "store",
     RECORDS,
     RECORDS + MORE},
    {&cli_command_load, {"load", "--format", "text", "@new", "@second"}, NULL, "new", 0, MORE},
    {&cli_command_dump, {"dump", "--output", "@out", "@store"}, "out", "store", RECORDS, RECORDS},
    {&cli_command_check, {"check", "@store"}, NULL, "store", RECORDS, RECORDS},
    {&cli_command_check, {"check", "--json", "@store"}, NULL, "store", RECORDS, RECORDS},
    {&cli_command_repair,
     {"repair", "--into", "@new", "--accept-loss", "@store"},
     NULL,
     "new",
     0,
     RECORDS},
    {&cli_command_backup, {"backup", "@store", "@new"}, NULL, "new", 0, RECORDS},
};

static void remove_tree(struct scene *s, const char *name)
{
    char command[2 * SCRATCH_PATH_BYTES];
    snprintf(command, sizeof command, "rm -rf '%s'", scratch_at(&s->scratch, name));
    assert_int_equal(system(command), 0);
}

static int run_words(struct scene *s, const struct cli_command *command, const char *const *words,
                     uint64_t nth, uint64_t *ret_failed)
{
    const char *args[12] = {0};
    for (size_t i = 0; words[i]; i++)
        args[i] = words[i][0] == '@' ? scratch_at(&s->scratch, words[i] + 1) : words[i];
    return scene_run(s, command, args, nth, ret_failed);
}

/* The store as it is before each run. */
static void put_back(struct scene *s)
{
    uint64_t ignored;
    remove_tree(s, "store");
    remove_tree(s, "new");
    assert_int_equal(run_words(s, &cli_command_load, quiet_commands[0], 0, &ignored), CLI_OK);
}

static void prepare(struct scene *s)
{
    static const char *const first[] = {"gen", "--count", "300", "@first", NULL};
    static const char *const second[] = {"gen", "--count", "200", "--seed", "2", "@second", NULL};
    uint64_t ignored;
    assert_int_equal(run_words(s, &cli_command_gen, first, 0, &ignored), CLI_OK);
    assert_int_equal(run_words(s, &cli_command_gen, second, 0, &ignored), CLI_OK);
}

static size_t count_lines(const char *path)
{
    struct buffer content = {0};
    size_t lines = 0;
    assert_true(file_read(path, &content));
    for (size_t i = 0; i < content.size; i++)
        lines += content.data[i] == '\n';
    assert_true(content.size == 0 || content.data[content.size - 1] == '\n');
    buffer_done(&content);
    return lines;
}

/* Records of a directory, with nothing failing. Of one without a store: 0. */
static size_t count_records(struct scene *s, const char *name)
{
    char store[SCRATCH_PATH_BYTES], manifest[SCRATCH_PATH_BYTES + 16];
    uint64_t ignored;
    snprintf(store, sizeof store, "@%s", name);
    snprintf(manifest, sizeof manifest, "%s/MANIFEST", scratch_at(&s->scratch, name));
    if (access(manifest, F_OK) != 0)
        return 0;
    const char *const words[] = {"dump", "--force", "--output", "@counted", store, NULL};
    fault_os_reset(&s->fault);
    if (run_words(s, &cli_command_dump, words, 0, &ignored) != CLI_OK) {
        char text[1024] = {0};
        (void)!pread(s->captured, text, sizeof text - 1, 0);
        fail_msg("%s cannot be read afterwards: %s", name, text);
    }
    size_t lines = count_lines(scratch_at(&s->scratch, "counted"));
    assert_int_equal(unlink(scratch_at(&s->scratch, "counted")), 0);
    return lines;
}

/* What must hold after a run. */
static void check_outcome(struct scene *s, const struct job *job, int exit_status, const char *what)
{
    if (job->makes && access(scratch_at(&s->scratch, job->makes), F_OK) == 0) {
        assert_int_equal(count_lines(scratch_at(&s->scratch, job->makes)), job->after);
        assert_int_equal(unlink(scratch_at(&s->scratch, job->makes)), 0);
    } else if (job->makes) {
        assert_true(exit_status != CLI_OK);
    }
    size_t records = count_records(s, job->fills);
    if (records != job->after && (records != job->before || exit_status == CLI_OK))
        fail_msg("tarn %s: %zu records after exit status %d (%s)", job->command->name, records,
                 exit_status, what);
    if (strcmp(job->fills, "store") != 0)
        assert_int_equal(count_records(s, "store"), RECORDS);
}

/* One run of a job. True if nothing was failed. */
static bool run_job(struct scene *s, const struct job *job, uint64_t nth_allocation,
                    const char *what)
{
    uint64_t allocations_failed;
    int exit_status = run_words(s, job->command, job->args, nth_allocation, &allocations_failed);
    bool failed = fault_os_fired(&s->fault) || allocations_failed > 0;
    if (exit_status != CLI_OK) {
        if (!failed)
            fail_msg("tarn %s failed though nothing was failed (%s)", job->command->name, what);
        assert_in_range(exit_status, CLI_FAILED, CLI_USAGE);
        char text[2] = {0};
        if (job->args[1][0] != '-' || pread(s->captured, text, 1, 0) == 1)
            scene_check_error(s, job->command); /* --json has it on stdout */
    }
    assert_true(fault_os_clean(&s->fault));
    check_outcome(s, job, exit_status, what);
    return !failed;
}

static void test_system_calls(void **context)
{
    (void)context;
    static const struct {
        enum fault_entry entry;
        int number;
    } failures[] = {
        {FAULT_OPEN, EMFILE},        {FAULT_CLOSE, EIO},       {FAULT_FILE_INFO, EIO},
        {FAULT_READ_AT, EIO},        {FAULT_WRITE_AT, ENOSPC}, {FAULT_SYNC, EIO},
        {FAULT_DATA_SYNC, EIO},      {FAULT_RENAME, EACCES},   {FAULT_MAP, ENOMEM},
        {FAULT_ENTROPY, EIO},        {FAULT_UNLINK, EIO},      {FAULT_LINK, EPERM},
        {FAULT_MAKE_DIRECTORY, EIO}, {FAULT_LIST, EIO},        {FAULT_LOCK, EIO},
        {FAULT_TRUNCATE, EIO},
    };
    struct scene s;
    scene_start(&s);
    prepare(&s);
    for (size_t j = 0; j < sizeof jobs / sizeof jobs[0]; j++) {
        for (size_t f = 0; f < sizeof failures / sizeof failures[0]; f++) {
            for (uint64_t nth = 1; nth < 1000; nth += STRIDE) {
                fault_os_reset(&s.fault);
                put_back(&s);
                fault_os_reset(&s.fault);
                fault_os_fail(&s.fault, failures[f].entry, nth, failures[f].number, false);
                if (run_job(&s, &jobs[j], 0, fault_entry_name(failures[f].entry)))
                    break;
            }
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
    for (size_t j = 0; j < sizeof jobs / sizeof jobs[0]; j++) {
        for (uint64_t nth = 1; nth < 10000; nth += STRIDE * (nth < 200 ? 1 : 7)) {
            fault_os_reset(&s.fault);
            put_back(&s);
            if (run_job(&s, &jobs[j], nth, "allocations"))
                break;
        }
    }
    scene_finish(&s);
}

int main(void)
{
    /* In memory thousands of syncs cost nothing; what they do to a disk is not the question here.
     */
    if (access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_system_calls),
        cmocka_unit_test(test_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
