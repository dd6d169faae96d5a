/* Commands on values as bytes: GET, STRLEN, GETRANGE and SUBSTR; APPEND and SETRANGE; and on many
 * at once: MGET, MSET and MSETNX. (cmd_set.c: SET and its kin.)
 *
 * How: values are answered from the store itself; nothing is copied here (client_reply_value
 * decides). APPEND and SETRANGE are patches, so that a large value is changed where it lies. MGET
 * sees all its keys at one moment, MSET and MSETNX store theirs at one.
 * Failure modes: those of a write; every value is as it was. A missing key is an answer, one that
 * cannot be read an error. */
#include <stdlib.h>

#include "server/command_rows.h"

enum { ON_STACK = 128 }; /* keys of one request for which no memory is allocated */

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
bool cmd_getrange_of(struct client *client, const struct resp_request *request, size_t value_size,
                     size_t *ret_offset, size_t *ret_size)
{
    int64_t start, end;
    *ret_offset = *ret_size = 0;
    if (!command_arg_int(client, request, 2, &start) || !command_arg_int(client, request, 3, &end))
        return false;
    int64_t size = (int64_t)value_size; /* <= 512 MiB: no overflow */
    bool empty = start < 0 && end < 0 && start > end;
    if (start < 0)
        start = start + size > 0 ? start + size : 0;
    if (end < 0)
        end = end + size > 0 ? end + size : 0;
    if (end >= size)
        end = size - 1;
    if (empty || size == 0 || start > end)
        return true;
    *ret_offset = (size_t)start;
    *ret_size = (size_t)(end - start + 1);
    return true;
}

void cmd_getrange(struct client *client, const struct resp_request *request,
                  struct tarn_bytes value)
{
    size_t offset, size;
    if (!cmd_getrange_of(client, request, value.data != NULL ? value.size : 0, &offset, &size))
        return;
    if (size == 0)
        reply_bulk(&client->reply, (struct tarn_bytes){"", 0});
    else
        client_reply_part(client, value, offset, size);
}

/* --- changing a part of a value --- */

struct patch {
    struct tarn_bytes bytes;
    size_t offset;
    bool at_end; /* APPEND: the offset is the value's size */
    size_t size; /* out: of the value then */
};

static enum tarn_verdict patch_value(void *context, struct tarn_update *update)
{
    struct patch *patch = context;
    size_t old_size = update->record.value.size;
    size_t offset = patch->at_end ? old_size : patch->offset;
    patch->size = old_size;
    if (!patch->at_end && patch->bytes.size == 0)
        return TARN_PEEK;
    if (offset + patch->bytes.size > old_size)
        patch->size = offset + patch->bytes.size;
    update->patch = patch->bytes;
    update->patch_offset = offset;
    return TARN_PATCH;
}

static void patch_and_reply(struct client *client, struct tarn_bytes key, struct patch *patch)
{
    if (command_update(client, key, patch_value, patch))
        reply_int(&client->reply, (int64_t)patch->size);
}

void cmd_append(struct client *client, const struct resp_request *request)
{
    struct patch patch = {.bytes = request->args[2], .at_end = true};
    patch_and_reply(client, request->args[1], &patch);
}

void cmd_setrange(struct client *client, const struct resp_request *request)
{
    struct patch patch = {.bytes = request->args[3]};
    int64_t offset;
    if (!command_arg_int(client, request, 2, &offset))
        return;
    if (offset < 0) {
        reply_error(&client->reply, "ERR offset is out of range");
        return;
    }
    patch.offset = (size_t)offset;
    patch_and_reply(client, request->args[1], &patch);
}

/* --- many keys --- */

/* `count` elements, on_stack (of ON_STACK elements) if they fit; to be given to array_free(). NULL
 * after having answered that there is no memory. At most a small multiple of the request's own. */
static void *array_new(struct client *client, size_t count, size_t element_bytes, void *on_stack)
{
    void *array = count <= ON_STACK ? on_stack : malloc(count * element_bytes);
    if (array == NULL)
        command_reply_failure(client, TARN_NOMEM);
    return array;
}

static void array_free(void *array, const void *on_stack)
{
    if (array != on_stack)
        free(array);
}

void cmd_mget(struct client *client, const struct resp_request *request)
{
    struct tarn_bytes on_stack[ON_STACK];
    const size_t count = request->count - 1;
    struct tarn_bytes *values = array_new(client, count, sizeof *values, on_stack);
    if (values == NULL)
        return;
    size_t found = tarn_get_together(client->session, request->args + 1, count, values);
    client_count_lookups(client, found, count - found);
    int status = command_values_status(values, count, found);
    if (status == TARN_OK)
        reply_array(&client->reply, count);
    else
        command_reply_unreadable(client, status);
    for (size_t i = 0; i < count && status == TARN_OK; i++)
        cmd_get(client, request, values[i]);
    array_free(values, on_stack);
}

/* Keys and values in turn make whole pairs; false after having answered that they do not. */
static bool are_pairs(struct client *client, const struct resp_request *request, const char *name)
{
    if (request->count % 2 == 1)
        return true;
    command_reply_arity(client, name);
    return false;
}

static void fill_records(const struct resp_request *request, struct tarn_record *records)
{
    for (size_t i = 1; i < request->count; i += 2)
        records[i / 2] =
            (struct tarn_record){.key = request->args[i], .value = request->args[i + 1]};
}

void cmd_mset(struct client *client, const struct resp_request *request)
{
    struct tarn_record on_stack[ON_STACK], *records;
    const size_t count = request->count / 2;
    int status;
    if (!are_pairs(client, request, "mset"))
        return;
    records = array_new(client, count, sizeof *records, on_stack);
    if (records == NULL)
        return;
    fill_records(request, records);
    do {
        status = tarn_put_many(client->session, records, count);
    } while (status == TARN_FULL && client_make_room(client));
    if (status == TARN_OK)
        reply_simple(&client->reply, "OK");
    else
        command_reply_failure(client, status);
    array_free(records, on_stack);
}

/* Is there any of the keys? They are held. TARN_OK, NOTFOUND, or why one cannot be read. */
static int find_any(struct client *client, const struct tarn_record *records, size_t count)
{
    struct tarn_bytes value;
    int status = TARN_NOTFOUND;
    for (size_t i = 0; i < count && status == TARN_NOTFOUND; i++)
        status = tarn_get(client->session, records[i].key, &value);
    return status;
}

/* Store all records if none of their keys exists; keys: theirs. TARN_DUPLICATE: one does. */
static int put_new(struct client *client, const struct tarn_record *records,
                   const struct tarn_bytes *keys, size_t count)
{
    int status;
    do {
        client_begin(client, keys, count);
        status = find_any(client, records, count);
        if (status == TARN_NOTFOUND)
            status = tarn_put_many(client->session, records, count);
        else if (status == TARN_OK)
            status = TARN_DUPLICATE;
        client_end(client);
    } while (status == TARN_FULL && client_make_room(client));
    return status;
}

void cmd_msetnx(struct client *client, const struct resp_request *request)
{
    struct tarn_record records_on_stack[ON_STACK], *records;
    struct tarn_bytes keys_on_stack[ON_STACK], *keys = NULL;
    const size_t count = request->count / 2;
    if (!are_pairs(client, request, "msetnx"))
        return;
    records = array_new(client, count, sizeof *records, records_on_stack);
    if (records != NULL)
        keys = array_new(client, count, sizeof *keys, keys_on_stack);
    if (keys != NULL) {
        fill_records(request, records);
        for (size_t i = 0; i < count; i++)
            keys[i] = records[i].key;
        int status = put_new(client, records, keys, count);
        if (status == TARN_OK || status == TARN_DUPLICATE)
            reply_int(&client->reply, status == TARN_OK);
        else
            command_reply_failure(client, status);
    }
    array_free(keys, keys_on_stack);
    array_free(records, records_on_stack);
}
