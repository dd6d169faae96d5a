/* OBJECT: what is inside a key. Answers as Redis would for the same string: tools show the words to
 * people. Figures that tarn does not keep (idle time, frequency) are answered as a server that does
 * not keep them. */
#include "core/number.h"
#include "server/command_rows.h"

enum {
    EMBEDDED_BYTES_MAX = 44, /* Redis keeps longer strings apart from their object */
    INTEGER_DIGITS_MAX = 20, /* of an int64, sign included */
};

/* Look up args[2], which is no use of it for eviction; false after having answered null, or that it
 * cannot be read. */
static bool get_key(struct client *client, const struct resp_request *request,
                    struct tarn_bytes *ret_value)
{
    tarn_session_touches(client->session, false);
    int status = tarn_get(client->session, request->args[2], ret_value);
    tarn_session_touches(client->session, !client->no_touch);
    client_count_lookups(client, status == TARN_OK, status != TARN_OK);
    if (status == TARN_NOTFOUND)
        reply_null(&client->reply);
    else if (status != TARN_OK)
        command_reply_unreadable(client, status);
    return status == TARN_OK;
}

const char *cmd_object_encoding_of(struct tarn_bytes value)
{
    int64_t number;
    if (value.size <= INTEGER_DIGITS_MAX && number_parse_int(value, &number))
        return "int";
    return value.size <= EMBEDDED_BYTES_MAX ? "embstr" : "raw";
}

void cmd_object_encoding(struct client *client, const struct resp_request *request)
{
    struct tarn_bytes value;
    if (get_key(client, request, &value))
        reply_bulk_text(&client->reply, cmd_object_encoding_of(value));
}

void cmd_object_freq(struct client *client, const struct resp_request *request)
{
    struct tarn_bytes value;
    if (get_key(client, request, &value))
        reply_error(&client->reply,
                    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. "
                    "Please note that when switching between policies at runtime LRU and LFU data "
                    "will take some time to adjust.");
}

void cmd_object_idletime(struct client *client, const struct resp_request *request)
{
    struct tarn_bytes value;
    if (get_key(client, request, &value))
        reply_int(&client->reply, 0);
}

void cmd_object_refcount(struct client *client, const struct resp_request *request)
{
    struct tarn_bytes value;
    if (get_key(client, request, &value))
        reply_int(&client->reply, 1);
}
