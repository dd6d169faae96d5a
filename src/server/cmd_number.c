/* Commands that take a value for a number: INCR, DECR, INCRBY, DECRBY, INCRBYFLOAT.
 *
 * How: the value is read, added to and stored within tarn_update(), so that no increment is lost. A
 * key that does not exist counts as 0; the expiry stays. INCRBYFLOAT computes with long doubles, as
 * Redis does.
 * Failure modes: a value that is no number and a result out of range are answered with an error;
 * the value is as it was. */
#include <math.h>

#include "core/number.h"
#include "server/command_rows.h"
#include "server/increment.h"

/* --- whole numbers --- */

static void increment_by(struct client *client, const struct resp_request *request, int64_t by)
{
    struct increment i;
    i.by = by;
    if (!command_update(client, request->args[1], increment, &i))
        return;
    if (i.problem == NULL)
        reply_int(&client->reply, i.result);
    else
        reply_error(&client->reply, "ERR %s", i.problem);
}

void cmd_incr(struct client *client, const struct resp_request *request)
{
    increment_by(client, request, 1);
}

void cmd_decr(struct client *client, const struct resp_request *request)
{
    increment_by(client, request, -1);
}

void cmd_incrby(struct client *client, const struct resp_request *request)
{
    int64_t by;
    if (command_arg_int(client, request, 2, &by))
        increment_by(client, request, by);
}

void cmd_decrby(struct client *client, const struct resp_request *request)
{
    int64_t by;
    if (!command_arg_int(client, request, 2, &by))
        return;
    if (by == INT64_MIN)
        reply_error(&client->reply, "ERR decrement would overflow");
    else
        increment_by(client, request, -by);
}

/* --- INCRBYFLOAT --- */

static const char *const not_a_float = "value is not a valid float";

struct float_increment {
    long double by;
    const char *problem;
    size_t size;                         /* out, if problem is NULL: of the text */
    char text[NUMBER_LONG_DOUBLE_BYTES]; /* out: the result */
};

static enum tarn_verdict increment_float(void *context, struct tarn_update *update)
{
    struct float_increment *i = context;
    struct tarn_bytes *value = &update->record.value;
    long double sum = 0;
    if (value->data != NULL && !number_parse_long_double(*value, &sum)) {
        i->problem = not_a_float;
        return TARN_PEEK;
    }
    sum += i->by;
    if (!isfinite(sum)) {
        i->problem = "increment would produce NaN or Infinity";
        return TARN_PEEK;
    }
    i->problem = NULL;
    i->size = number_format_long_double(sum, i->text);
    *value = (struct tarn_bytes){i->text, i->size};
    return TARN_STORE;
}

void cmd_incrbyfloat(struct client *client, const struct resp_request *request)
{
    struct float_increment i;
    if (!number_parse_long_double(request->args[2], &i.by))
        i.problem = not_a_float;
    else if (!command_update(client, request->args[1], increment_float, &i))
        return;
    if (i.problem == NULL)
        reply_bulk(&client->reply, (struct tarn_bytes){i.text, i.size});
    else
        reply_error(&client->reply, "ERR %s", i.problem);
}
