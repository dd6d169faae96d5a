/* Commands that store whole values, or give them away while changing their key: SET, SETNX, SETEX,
 * PSETEX, GETSET, GETDEL, GETEX.
 *
 * How: what does not depend on the present value is one tarn_put(), and plain SET looks at nothing
 * else. The others decide in tarn_put_if() or tarn_update(). An old value is answered from the
 * store itself: it stays in view after it was replaced.
 *
 * Failure modes: those of a write; the key is as it was. */
#include "core/number.h"
#include "server/command_rows.h"
#include "server/server.h"

/* --- options --- */

enum option_flag {
    NX = 1 << 0,
    XX = 1 << 1,
    GET = 1 << 2,
    KEEPTTL = 1 << 3,
    PERSIST = 1 << 4,
    EX = 1 << 5,
    PX = 1 << 6,
    EXAT = 1 << 7,
    PXAT = 1 << 8,
    TIMES = EX | PX | EXAT | PXAT, /* a time follows */
};

/* The words, and what may not stand before them. */
static const struct set_option {
    const char *word;
    unsigned flag, excludes;
} option_rows[] = {
    {"ex", EX, KEEPTTL | PERSIST | (TIMES & ~EX)},
    {"px", PX, KEEPTTL | PERSIST | (TIMES & ~PX)},
    {"nx", NX, XX},
    {"xx", XX, NX},
    {"get", GET, 0},
    {"keepttl", KEEPTTL, TIMES},
    {"exat", EXAT, KEEPTTL | PERSIST | (TIMES & ~EXAT)},
    {"pxat", PXAT, KEEPTTL | PERSIST | (TIMES & ~PXAT)},
    {"persist", PERSIST, TIMES},
};
enum { OPTION_ROWS_COUNT = sizeof option_rows / sizeof *option_rows };

struct set_options {
    unsigned flags;
    struct tarn_bytes time; /* with one of TIMES; the last one given counts */
};

static const struct set_option *find_option(struct tarn_bytes word, unsigned allowed)
{
    for (size_t i = 0; i < OPTION_ROWS_COUNT; i++)
        if ((option_rows[i].flag & allowed) && bytes_equal_nocase(word, option_rows[i].word))
            return &option_rows[i];
    return NULL;
}

/* The words from args[from] on; false after having answered an error. */
static bool parse_options(struct client *client, const struct resp_request *request, size_t from,
                          unsigned allowed, struct set_options *ret_options)
{
    *ret_options = (struct set_options){0};
    for (size_t i = from; i < request->count; i++) {
        const struct set_option *option = find_option(request->args[i], allowed);
        bool timed = option != NULL && (option->flag & TIMES) != 0;
        if (option == NULL || (ret_options->flags & option->excludes) != 0 ||
            (timed && i + 1 == request->count)) {
            command_reply_syntax_error(client);
            return false;
        }
        ret_options->flags |= option->flag;
        if (timed)
            ret_options->time = request->args[++i];
    }
    return true;
}

enum time_problem { TIME_FINE, TIME_NOT_INTEGER, TIME_OUT_OF_RANGE };

/* When a key expires, in ms since 1970, by the text of a time. kind: one of TIMES. */
static enum time_problem resolve_time(struct client *client, struct tarn_bytes text, unsigned kind,
                                      int64_t *ret_expire_ms)
{
    int64_t time;
    if (!number_parse_int(text, &time))
        return TIME_NOT_INTEGER;
    int64_t unit = kind & (EX | EXAT) ? 1000 : 1;
    int64_t start_ms = kind & (EX | PX) ? tarn_now_ms(server_store(client->server)) : 0;
    if (time <= 0 || __builtin_mul_overflow(time, unit, &time) ||
        __builtin_add_overflow(time, start_ms, &time))
        return TIME_OUT_OF_RANGE;
    *ret_expire_ms = time;
    return TIME_FINE;
}

static void reply_time_problem(struct client *client, enum time_problem problem, const char *name)
{
    if (problem == TIME_NOT_INTEGER)
        command_reply_not_integer(client);
    else
        reply_error(&client->reply, "ERR invalid expire time in '%s' command", name);
}

/* As resolve_time(); false after having answered what is wrong. name: the command's. */
static bool parse_time(struct client *client, struct tarn_bytes text, unsigned kind,
                       const char *name, int64_t *ret_expire_ms)
{
    enum time_problem problem = resolve_time(client, text, kind, ret_expire_ms);
    if (problem != TIME_FINE)
        reply_time_problem(client, problem, name);
    return problem == TIME_FINE;
}

/* --- storing --- */

static void put(struct client *client, struct tarn_bytes key, struct tarn_bytes value,
                int64_t expire_ms)
{
    int status;
    do {
        status = tarn_put(client->session, key, value, expire_ms);
    } while (status == TARN_FULL && client_make_room(client));
    if (__builtin_expect(status == TARN_OK, 1))
        reply_simple(&client->reply, "OK");
    else
        command_reply_failure(client, status);
}

/* A conditional SET, or one that tells the old value. */
struct set {
    unsigned flags;
    struct tarn_bytes value;
    int64_t expire_ms;
    struct tarn_bytes old; /* out; data NULL: there was none */
    bool done;             /* out: the conditions held */
};

static bool conditions_hold(void *context, const struct tarn_record *present)
{
    struct set *set = context;
    set->old = present->value;
    set->done = (set->flags & (set->old.data != NULL ? NX : XX)) == 0;
    return set->done;
}

static enum tarn_verdict change_value(void *context, struct tarn_update *update)
{
    struct set *set = context;
    if (!conditions_hold(set, &update->record))
        return TARN_KEEP;
    update->record.value = set->value;
    return TARN_STORE;
}

/* False after having answered the error. */
static bool put_if(struct client *client, struct tarn_bytes key, struct set *set)
{
    int status;
    if (set->flags & KEEPTTL)
        return command_update(client, key, change_value, set);
    do {
        status =
            tarn_put_if(client->session, key, set->value, set->expire_ms, conditions_hold, set);
    } while (status == TARN_FULL && client_make_room(client));
    if (status == TARN_OK || status == TARN_CANCELLED)
        return true;
    command_reply_failure(client, status);
    return false;
}

/* Answer a value that was looked up, or that there is none. */
static void reply_looked_up(struct client *client, struct tarn_bytes value)
{
    client_count_lookups(client, value.data != NULL, value.data == NULL);
    cmd_get(client, NULL, value);
}

static void set_with_options(struct client *client, const struct resp_request *request)
{
    struct set_options options;
    struct set set = {.value = request->args[2]};
    if (!parse_options(client, request, 3, ~(unsigned)PERSIST, &options))
        return;
    if ((options.flags & TIMES) &&
        !parse_time(client, options.time, options.flags & TIMES, "set", &set.expire_ms))
        return;
    if ((options.flags & ~(unsigned)TIMES) == 0) {
        put(client, request->args[1], set.value, set.expire_ms);
        return;
    }
    set.flags = options.flags;
    if (!put_if(client, request->args[1], &set))
        return;
    if (set.flags & GET)
        reply_looked_up(client, set.old);
    else if (set.done)
        reply_simple(&client->reply, "OK");
    else
        reply_null(&client->reply);
}

void cmd_set(struct client *client, const struct resp_request *request)
{
    if (__builtin_expect(request->count == 3, 1))
        put(client, request->args[1], request->args[2], 0);
    else
        set_with_options(client, request);
}

const char *cmd_set_key_use(const struct resp_request *request)
{
    for (size_t i = 3; i < request->count; i++)
        if (command_arg_is(request, i, "get"))
            return "RW access update";
    return "OW update";
}

void cmd_setnx(struct client *client, const struct resp_request *request)
{
    struct set set = {.flags = NX, .value = request->args[2]};
    if (put_if(client, request->args[1], &set))
        reply_int(&client->reply, set.done);
}

void cmd_getset(struct client *client, const struct resp_request *request)
{
    struct set set = {.flags = GET, .value = request->args[2]};
    if (put_if(client, request->args[1], &set))
        reply_looked_up(client, set.old);
}

/* SETEX and PSETEX: the time stands before the value. */
static void set_for_a_time(struct client *client, const struct resp_request *request, unsigned kind,
                           const char *name)
{
    int64_t expire_ms;
    if (parse_time(client, request->args[2], kind, name, &expire_ms))
        put(client, request->args[1], request->args[3], expire_ms);
}

void cmd_setex(struct client *client, const struct resp_request *request)
{
    set_for_a_time(client, request, EX, "setex");
}

void cmd_psetex(struct client *client, const struct resp_request *request)
{
    set_for_a_time(client, request, PX, "psetex");
}

/* --- giving away --- */

/* What GETDEL and GETEX do with the key whose value they answer. */
struct give {
    enum tarn_verdict verdict;
    bool persist; /* there may be nothing to do */
    int64_t expire_ms;
    struct tarn_bytes value; /* out; data NULL: no such key */
};

static enum tarn_verdict give_value(void *context, struct tarn_update *update)
{
    struct give *give = context;
    struct tarn_record *record = &update->record;
    give->value = record->value;
    if (record->value.data == NULL || (give->persist && record->expire_ms == 0))
        return TARN_KEEP;
    record->expire_ms = give->expire_ms;
    return give->verdict;
}

static void update_and_reply(struct client *client, struct tarn_bytes key, struct give *give)
{
    if (key.size > TARN_KEY_BYTES_MAX) /* there is none such */
        reply_looked_up(client, (struct tarn_bytes){NULL, 0});
    else if (command_update(client, key, give_value, give))
        reply_looked_up(client, give->value);
}

void cmd_getdel(struct client *client, const struct resp_request *request)
{
    struct give give = {.verdict = TARN_REMOVE};
    update_and_reply(client, request->args[1], &give);
}

/* The expiry stays as it is: there is no option, or something is wrong with the time, which is
 * told only if there is such a key. */
static void getex_unchanged(struct client *client, struct tarn_bytes key, enum time_problem problem)
{
    struct tarn_bytes value;
    int status = tarn_get(client->session, key, &value);
    if (status < 0) {
        client_count_lookups(client, 0, 1);
        command_reply_unreadable(client, status);
        return;
    }
    if (status == TARN_NOTFOUND)
        value = (struct tarn_bytes){NULL, 0};
    if (value.data == NULL || problem == TIME_FINE) {
        reply_looked_up(client, value);
        return;
    }
    client_count_lookups(client, 1, 0);
    reply_time_problem(client, problem, "getex");
}

void cmd_getex(struct client *client, const struct resp_request *request)
{
    struct set_options options;
    struct give give = {.verdict = TARN_EXPIRE};
    enum time_problem problem = TIME_FINE;
    if (!parse_options(client, request, 2, TIMES | PERSIST, &options))
        return;
    give.persist = (options.flags & PERSIST) != 0;
    if (options.flags & TIMES)
        problem = resolve_time(client, options.time, options.flags & TIMES, &give.expire_ms);
    if (options.flags == 0 || problem != TIME_FINE)
        getex_unchanged(client, request->args[1], problem);
    else
        update_and_reply(client, request->args[1], &give);
}
