/* Commands that give a value another key: RENAME, RENAMENX and COPY; MOVE and SWAPDB, for which
 * there would have to be another database.
 *
 * How: tarn_copy() does it, as one step. Failure modes: those of a write; nothing has changed. */
#include <limits.h>

#include "core/number.h"
#include "server/command_rows.h"

static int copy(struct client *client, const struct resp_request *request, unsigned flags)
{
    int status;
    do {
        status = tarn_copy(client->session, request->args[1], request->args[2], flags);
    } while (status == TARN_FULL && client_make_room(client));
    return status;
}

static void reply_rename(struct client *client, int status)
{
    if (status == TARN_NOTFOUND)
        reply_error(&client->reply, "ERR no such key");
    else
        command_reply_failure(client, status);
}

void cmd_rename(struct client *client, const struct resp_request *request)
{
    int status = copy(client, request, TARN_COPY_MOVE);
    if (status == TARN_OK)
        reply_simple(&client->reply, "OK");
    else
        reply_rename(client, status);
}

void cmd_renamenx(struct client *client, const struct resp_request *request)
{
    int status = copy(client, request, TARN_COPY_MOVE | TARN_COPY_NEW);
    if (status == TARN_OK || status == TARN_DUPLICATE)
        reply_int(&client->reply, status == TARN_OK);
    else
        reply_rename(client, status);
}

/* --- databases, of which there is one --- */

static void reply_index_out_of_range(struct client *client)
{
    reply_error(&client->reply, "ERR DB index is out of range");
}

/* Does args[index] name the one database? False after having answered an error. */
static bool is_database(struct client *client, const struct resp_request *request, size_t index)
{
    int64_t number;
    if (!command_arg_int32(client, request, index, &number))
        return false;
    if (number == 0)
        return true;
    reply_index_out_of_range(client);
    return false;
}

static void reply_same_object(struct client *client)
{
    reply_error(&client->reply, "ERR source and destination objects are the same");
}

void cmd_move(struct client *client, const struct resp_request *request)
{
    if (is_database(client, request, 2))
        reply_same_object(client);
}

static bool parse_index(struct tarn_bytes text, int64_t *ret_index)
{
    return number_parse_int(text, ret_index) && *ret_index >= INT_MIN && *ret_index <= INT_MAX;
}

void cmd_swapdb(struct client *client, const struct resp_request *request)
{
    int64_t first, second;
    if (!parse_index(request->args[1], &first))
        reply_error(&client->reply, "ERR invalid first DB index");
    else if (!parse_index(request->args[2], &second))
        reply_error(&client->reply, "ERR invalid second DB index");
    else if (first != 0 || second != 0)
        reply_index_out_of_range(client);
    else
        reply_simple(&client->reply, "OK");
}

/* The words after the keys; false after having answered an error. */
static bool parse_copy_options(struct client *client, const struct resp_request *request,
                               unsigned *ret_flags)
{
    *ret_flags = TARN_COPY_NEW;
    for (size_t i = 3; i < request->count; i++) {
        if (command_arg_is(request, i, "replace")) {
            *ret_flags = 0;
        } else if (command_arg_is(request, i, "db") && i + 1 < request->count) {
            if (!is_database(client, request, ++i))
                return false;
        } else {
            command_reply_syntax_error(client);
            return false;
        }
    }
    return true;
}

void cmd_copy(struct client *client, const struct resp_request *request)
{
    unsigned flags;
    if (!parse_copy_options(client, request, &flags))
        return;
    if (bytes_equal(request->args[1], request->args[2])) {
        reply_same_object(client);
        return;
    }
    int status = copy(client, request, flags);
    client_count_lookups(client, status != TARN_NOTFOUND, status == TARN_NOTFOUND);
    if (status == TARN_OK || status == TARN_NOTFOUND || status == TARN_DUPLICATE)
        reply_int(&client->reply, status == TARN_OK);
    else
        command_reply_failure(client, status);
}
