/* HELP of the containers (CLIENT HELP, CONFIG HELP ...): made from the rows, in the layout that
 * Redis's tools expect: a line for the container, then two for each subcommand. */
#include "server/command_rows.h"

static void append_argument(const struct command_argument *argument, struct buffer *out);

/* Arguments one after another, `between` them. */
static void append_arguments(const struct command_argument *arguments, const char *between,
                             struct buffer *out)
{
    for (const struct command_argument *a = arguments; a->name != NULL; a++) {
        if (a != arguments)
            buffer_append_text(out, between);
        append_argument(a, out);
    }
}

static void append_value(const struct command_argument *argument, struct buffer *out)
{
    switch (argument->type) {
    case ARGUMENT_PURE_TOKEN:
        break;
    case ARGUMENT_ONEOF:
        buffer_append_text(out, "(");
        append_arguments(argument->parts, "|", out);
        buffer_append_text(out, ")");
        break;
    case ARGUMENT_BLOCK:
        append_arguments(argument->parts, " ", out);
        break;
    default:
        buffer_printf(out, "<%s>", argument->name);
        break;
    }
}

static void append_argument(const struct command_argument *argument, struct buffer *out)
{
    if (argument->optional)
        buffer_append_text(out, "[");
    if (argument->token != NULL)
        buffer_append_text(out, argument->token);
    if (argument->token != NULL && argument->type != ARGUMENT_PURE_TOKEN)
        buffer_append_text(out, " ");
    append_value(argument, out);
    if (argument->multiple) {
        buffer_append_text(out, " [");
        if (argument->multiple_token)
            buffer_printf(out, "%s ", argument->token);
        append_value(argument, out);
        buffer_append_text(out, " ...]");
    }
    if (argument->optional)
        buffer_append_text(out, "]");
}

static void append_upper(const char *name, struct buffer *out)
{
    for (const char *p = name; *p != 0; p++)
        buffer_append_byte(out, (unsigned char)(*p >= 'a' && *p <= 'z' ? *p & ~0x20 : *p));
}

void command_append_synopsis(const struct command *command, struct buffer *out)
{
    append_upper(command->name, out);
    if (command->arguments != NULL) {
        buffer_append_text(out, " ");
        append_arguments(command->arguments, " ", out);
    }
}

void cmd_help(struct client *client, const struct resp_request *request)
{
    const struct command *container = command_find(request->args[0]);
    struct buffer *out = client->reply.out;
    size_t count = 0;
    for (const struct command *sub = container->subcommands; sub->name != NULL; sub++)
        count++;
    reply_array(&client->reply, 1 + 2 * count);
    buffer_append_text(out, "+");
    append_upper(container->name, out);
    buffer_append_text(out, " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n");
    const struct command *help = NULL;
    for (const struct command *sub = container->subcommands; sub->name != NULL; sub++) {
        if (strcmp(sub->name, "help") == 0) {
            help = sub;
            continue;
        }
        buffer_append_text(out, "+");
        command_append_synopsis(sub, out);
        buffer_printf(out, "\r\n+    %s.\r\n", sub->summary);
    }
    if (help != NULL) /* last, as everywhere */
        buffer_printf(out, "+HELP\r\n+    %s.\r\n", help->summary);
}
