/* Flags of a data file; see data_flags.h. */
#include "cli/data_flags.h"

#include "cli/progress.h"

#include "pack/index.h"

int data_flags_options(struct cli_call *call, struct tarn_options *ret_options,
                       struct tarn_error *error)
{
    struct config *config = call->target;
    int status = config_finish(config, error);
    if (status == TARN_OK)
        *ret_options = config_store_options(config, call->words[0]);
    return status;
}

bool data_flags_index_path(const struct tarn_options *options, struct buffer *ret_path)
{
    buffer_clear(ret_path);
    buffer_append_text(ret_path, options->index_path ? options->index_path : options->path);
    if (!options->index_path)
        buffer_append_text(ret_path, INDEX_SUFFIX);
    buffer_append_byte(ret_path, 0);
    return !ret_path->failed;
}

int data_flags_run(struct cli_call *call, const struct data_work *work, void *report)
{
    struct tarn_options options;
    struct tarn_error error;
    struct buffer index_path = {0};
    if (data_flags_options(call, &options, &error) != TARN_OK) {
        cli_error(call->command->name, error.text);
        return CLI_USAGE;
    }
    if (!data_flags_index_path(&options, &index_path)) {
        cli_error(call->command->name, "out of memory");
        return CLI_FAILED;
    }
    struct interrupt interrupt;
    struct progress progress;
    interrupt_open(&interrupt);
    progress_open(&progress, call->os, &interrupt);
    options.progress = progress_update;
    options.progress_context = &progress;
    int status = work->work(call->os, &options, report, &error);
    progress_close(&progress);
    interrupt_close(&interrupt);

    int exit_status;
    if (status == TARN_OK) {
        work->print(&options, (const char *)index_path.data, report);
        exit_status = cli_flush(call->command->name);
    } else {
        exit_status = cli_fail(call, &interrupt, &error);
    }
    buffer_done(&index_path);
    return exit_status;
}
