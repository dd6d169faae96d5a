/* Commands on values: GET, MGET, STRLEN, GETRANGE and SUBSTR.
 *
 * Values are answered from the store itself; nothing is copied here (client_reply_value decides).
 * Failure modes: none beyond wrong arguments; a missing key is an answer. */
#include "server/command_rows.h"

enum { BATCH = 64 }; /* keys looked up at once: enough for their memory accesses to overlap */

void cmd_get(struct client *client, const struct resp_request *request, struct tarn_bytes value)
{
    (void)request;
    if (value.data != NULL)
        client_reply_value(client, value);
    else
        reply_null(&client->reply);
}

void cmd_strlen(struct client *client, const struct resp_request *request, struct tarn_bytes value)
{
    (void)request;
    reply_int(&client->reply, value.data != NULL ? (int64_t)value.size : 0);
}

/* Both ends count from 0, or from the end when negative, and are inside the range. */
void cmd_getrange(struct client *client, const struct resp_request *request,
                  struct tarn_bytes value)
{
    int64_t start, end;
    if (!command_arg_int(client, request, 2, &start) || !command_arg_int(client, request, 3, &end))
        return;
    int64_t size = value.data != NULL ? (int64_t)value.size : 0; /* <= 512 MiB: no overflow */
    bool empty = start < 0 && end < 0 && start > end;
    if (start < 0)
        start = start + size > 0 ? start + size : 0;
    if (end < 0)
        end = end + size > 0 ? end + size : 0;
    if (end >= size)
        end = size - 1;
    if (empty || size == 0 || start > end) {
        reply_bulk(&client->reply, (struct tarn_bytes){"", 0});
        return;
    }
    client_reply_part(client, value, (size_t)start, (size_t)(end - start + 1));
}

void cmd_mget(struct client *client, const struct resp_request *request)
{
    struct tarn_bytes values[BATCH];
    const size_t keys_count = request->count - 1;
    reply_array(&client->reply, keys_count);
    for (size_t i = 0; i < keys_count; i += BATCH) {
        size_t count = keys_count - i < BATCH ? keys_count - i : BATCH;
        size_t found = tarn_get_many(client->session, request->args + 1 + i, count, values);
        client_count_lookups(client, found, count - found);
        for (size_t j = 0; j < count; j++)
            cmd_get(client, request, values[j]);
    }
}
