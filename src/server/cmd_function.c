/* FUNCTION, SCRIPT and MODULE: tarn has none of them. What test suites and tools ask all the same
 * is answered as by a Redis in which none were loaded. */
#include "server/command_rows.h"

/* May args[2] stand there: ASYNC, SYNC or nothing? */
static bool is_flush_mode(const struct resp_request *request)
{
    return request->count == 2 || command_arg_is(request, 2, "sync") ||
           command_arg_is(request, 2, "async");
}

void cmd_function_flush(struct client *client, const struct resp_request *request)
{
    if (request->count > 3)
        command_reply_subcommand_syntax(client, request);
    else if (!is_flush_mode(request))
        reply_error(&client->reply, "ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
    else
        reply_simple(&client->reply, "OK");
}

/* FUNCTION LIST [LIBRARYNAME pattern] [WITHCODE], each once. */
void cmd_function_list(struct client *client, const struct resp_request *request)
{
    bool with_code = false, library = false;
    for (size_t i = 2; i < request->count; i++) {
        if (!with_code && command_arg_is(request, i, "withcode")) {
            with_code = true;
        } else if (!library && command_arg_is(request, i, "libraryname")) {
            library = true;
            if (++i == request->count) {
                reply_error(&client->reply, "ERR library name argument was not given");
                return;
            }
        } else {
            reply_error(&client->reply, "ERR Unknown argument %.*s",
                        command_printed_size(request->args[i]),
                        (const char *)request->args[i].data);
            return;
        }
    }
    reply_array(&client->reply, 0);
}

void cmd_script_flush(struct client *client, const struct resp_request *request)
{
    if (request->count > 3 || !is_flush_mode(request))
        reply_error(&client->reply, "ERR SCRIPT FLUSH only support SYNC|ASYNC option");
    else
        reply_simple(&client->reply, "OK");
}

void cmd_module_list(struct client *client, const struct resp_request *request)
{
    (void)request;
    reply_array(&client->reply, 0);
}
