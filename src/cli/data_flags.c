/* Flags of a data file; see data_flags.h. */
#include "cli/data_flags.h"

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
