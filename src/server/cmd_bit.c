/* Commands on bits: SETBIT, GETBIT, BITCOUNT, BITPOS, BITFIELD, BITFIELD_RO, BITOP.
 *
 * How: the arithmetic is core/bits.h's. SETBIT and BITFIELD change a value with tarn_update() and a
 * patch of the bytes they touch, so that a large bitmap is changed where it lies. GETBIT and
 * BITFIELD's GET look through tarn_update() too: a view that tarn_get() gives away would make the
 * next change copy the value. BITCOUNT and BITPOS read without a lock.
 *
 * BITFIELD applies its operations to a copy of the bytes that they write (the span), in order, and
 * stores it at once. Where these lie too far apart, the value is first made as long as it must be,
 * which is what can fail, then each operation is a patch of its own, nobody seeing a part of it.
 *
 * BITOP reads its sources at one moment and stores the result at the same: small ones with the keys
 * held, large ones without, watching that they do not change meanwhile.
 *
 * Failure modes: -OOM leaves every value as it was, and so does one that cannot be read. */
#include <stdlib.h>

#include "core/bits.h"
#include "core/number.h"
#include "server/command_rows.h"
#include "server/command_scratch.h"
#include "server/server.h"

enum {
    SPAN_BYTES_MAX = 16 << 10, /* a value longer than this is patched in place */
    OPS_ON_STACK = 16,
    HELD_BYTES_MAX = 1 << 20, /* BITOP of more reads its sources without holding the keys */
    WATCHED_TRIES = 3,        /* before it holds them all the same */
};

static const uint64_t bits_max = 8 * TARN_VALUE_BYTES_MAX;

/* --- shared --- */

static void reply_offset_error(struct client *client)
{
    reply_error(&client->reply, "ERR bit offset is not an integer or out of range");
}

/* A position in bits; "#n" is n times `width`, if that is not 0. */
static bool parse_offset(struct client *client, struct tarn_bytes text, unsigned width,
                         uint64_t *ret_at)
{
    bool times = width > 0 && text.size > 0 && *(const char *)text.data == '#';
    int64_t offset;
    if (times)
        text = (struct tarn_bytes){(const char *)text.data + 1, text.size - 1};
    if (number_parse_int(text, &offset) &&
        !__builtin_mul_overflow(offset, times ? width : 1, &offset) && offset >= 0 &&
        (uint64_t)offset < bits_max) {
        *ret_at = (uint64_t)offset;
        return true;
    }
    reply_offset_error(client);
    return false;
}

/* "byte" or "bit" at args[index]; true and *ret_bits unchanged if there is no such argument. */
static bool parse_unit(struct client *client, const struct resp_request *request, size_t index,
                       bool *ret_bits)
{
    if (index >= request->count)
        return true;
    *ret_bits = command_arg_is(request, index, "bit");
    if (*ret_bits || command_arg_is(request, index, "byte"))
        return true;
    command_reply_syntax_error(client);
    return false;
}

/* Let `look` see the key's value; it must answer TARN_PEEK. False after having answered that it
 * cannot be read. */
static bool peek(struct client *client, struct tarn_bytes key, tarn_change look, void *context)
{
    struct tarn_update update = {.record = {.key = key}};
    if (server_is_writable(client->server) &&
        tarn_update(client->session, key, look, context) == TARN_OK)
        return true;
    int status = tarn_get_record(client->session, key, &update.record);
    if (status == TARN_NOTFOUND)
        update.record.value = (struct tarn_bytes){NULL, 0};
    if (status < 0)
        command_reply_unreadable(client, status);
    else
        (void)look(context, &update);
    return status >= 0;
}

/* --- SETBIT and GETBIT --- */

struct one_bit {
    uint64_t at;
    bool wanted, found; /* what it is to be; what it was */
    bool key_found;
    unsigned char byte;
};

static enum tarn_verdict look_at_bit(void *context, struct tarn_update *update)
{
    struct one_bit *bit = context;
    bit->key_found = update->record.value.data != NULL;
    bit->found = bits_get(update->record.value, bit->at);
    return TARN_PEEK;
}

static enum tarn_verdict set_bit(void *context, struct tarn_update *update)
{
    struct one_bit *bit = context;
    const struct tarn_bytes value = update->record.value;
    size_t at = bit->at / 8;
    bool inside = at < value.size;
    bit->found = bits_get(value, bit->at);
    if (inside && bit->found == bit->wanted)
        return TARN_PEEK;
    bit->byte = inside ? ((const unsigned char *)value.data)[at] : 0;
    bits_write(&bit->byte, bit->at % 8, 1, bit->wanted);
    update->patch = (struct tarn_bytes){&bit->byte, 1};
    update->patch_offset = at;
    return TARN_PATCH;
}

void cmd_setbit(struct client *client, const struct resp_request *request)
{
    struct one_bit bit;
    int64_t wanted;
    if (!parse_offset(client, request->args[2], 0, &bit.at))
        return;
    if (!number_parse_int(request->args[3], &wanted) || (wanted & ~1) != 0) {
        reply_error(&client->reply, "ERR bit is not an integer or out of range");
        return;
    }
    bit.wanted = wanted != 0;
    if (command_update(client, request->args[1], set_bit, &bit))
        reply_int(&client->reply, bit.found);
}

void cmd_getbit(struct client *client, const struct resp_request *request)
{
    struct one_bit bit;
    if (!parse_offset(client, request->args[2], 0, &bit.at))
        return;
    bit.key_found = false;
    bool readable = peek(client, request->args[1], look_at_bit, &bit);
    client_count_lookups(client, bit.key_found, !bit.key_found);
    if (readable)
        reply_int(&client->reply, bit.found);
}

/* --- BITCOUNT and BITPOS --- */

/* A range as clients give it, both ends counted, made into bits first..end-1 of a value; empty
 * ranges give first = end = 0. */
struct bit_range {
    int64_t start, last;
    bool in_bits;
};

static void resolve_range(const struct bit_range *range, size_t size, uint64_t *ret_first,
                          uint64_t *ret_end)
{
    int64_t total = (int64_t)size * (range->in_bits ? 8 : 1); /* <= 2^32 */
    int64_t unit = range->in_bits ? 1 : 8;
    int64_t start = range->start < 0 ? range->start + total : range->start;
    int64_t last = range->last < 0 ? range->last + total : range->last;
    if (start < 0)
        start = 0;
    if (last < 0)
        last = 0;
    if (last >= total)
        last = total - 1;
    bool empty = start > last;
    *ret_first = empty ? 0 : (uint64_t)(start * unit);
    *ret_end = empty ? 0 : (uint64_t)((last + 1) * unit);
}

void cmd_bitcount(struct client *client, const struct resp_request *request,
                  struct tarn_bytes value)
{
    struct bit_range range = {0, -1, false};
    uint64_t first, end;
    if (value.data == NULL) { /* before the other arguments are looked at, as in Redis 7.0 */
        reply_int(&client->reply, 0);
        return;
    }
    if (request->count == 3 || request->count > 5) {
        command_reply_syntax_error(client);
        return;
    }
    if (request->count > 3 && (!command_arg_int(client, request, 2, &range.start) ||
                               !command_arg_int(client, request, 3, &range.last)))
        return;
    if (range.start < 0 && range.last < 0 && range.start > range.last) {
        reply_int(&client->reply, 0); /* before the unit is looked at, as in Redis 7.0 */
        return;
    }
    if (!parse_unit(client, request, 4, &range.in_bits))
        return;
    resolve_range(&range, value.size, &first, &end);
    reply_int(&client->reply, (int64_t)bits_count(value.data, first, end));
}

/* The arguments from the start on; false after having answered an error. */
static bool parse_bitpos_range(struct client *client, const struct resp_request *request,
                               struct bit_range *range)
{
    if (request->count > 6) {
        command_reply_syntax_error(client);
        return false;
    }
    return (request->count < 4 || command_arg_int(client, request, 3, &range->start)) &&
           parse_unit(client, request, 5, &range->in_bits) &&
           (request->count < 5 || command_arg_int(client, request, 4, &range->last));
}

void cmd_bitpos(struct client *client, const struct resp_request *request, struct tarn_bytes value)
{
    struct bit_range range = {0, -1, false};
    uint64_t first, end;
    int64_t bit;
    if (!command_arg_int(client, request, 2, &bit))
        return;
    if (bit != 0 && bit != 1) {
        reply_error(&client->reply, "ERR The bit argument must be 1 or 0.");
        return;
    }
    if (value.data == NULL) {
        reply_int(&client->reply, bit == 1 ? -1 : 0);
        return;
    }
    if (!parse_bitpos_range(client, request, &range))
        return;
    resolve_range(&range, value.size, &first, &end);
    uint64_t at = bits_find(value.data, first, end, bit == 1);
    /* Without an explicit end, zero bits go on behind the value. */
    bool found = first < end && (at < end || (bit == 0 && request->count < 5));
    reply_int(&client->reply, found ? (int64_t)at : -1);
}

/* --- BITFIELD and BITFIELD_RO --- */

enum field_kind { FIELD_GET, FIELD_SET, FIELD_INCREMENT };

struct field_op {
    enum field_kind kind;
    bool sign_kept;
    unsigned char width;
    enum bits_overflow overflow;
    bool failed; /* it would overflow: answered null */
    uint64_t at; /* its first bit */
    int64_t operand, result;
};

/* Operations that are applied together, and the bytes from..to-1 of the value that they write. */
struct field_run {
    struct field_op *ops;
    size_t count;
    uint64_t from, to;
    bool key_found;
    unsigned char span[SPAN_BYTES_MAX];
};

static bool parse_type(struct client *client, struct tarn_bytes text, struct field_op *op)
{
    const char *p = text.data;
    int64_t width = 0;
    op->sign_kept = text.size > 0 && p[0] == 'i';
    bool known = op->sign_kept || (text.size > 0 && p[0] == 'u');
    if (known && number_parse_int((struct tarn_bytes){p + 1, text.size - 1}, &width) &&
        width >= 1 && width <= (op->sign_kept ? 64 : 63)) {
        op->width = (unsigned char)width;
        return true;
    }
    reply_error(&client->reply, "ERR Invalid bitfield type. Use something like i16 u8. Note that "
                                "u64 is not supported but i64 is.");
    return false;
}

static bool parse_overflow(struct client *client, const struct resp_request *request, size_t index,
                           enum bits_overflow *ret_overflow)
{
    if (command_arg_is(request, index, "wrap"))
        *ret_overflow = BITS_WRAP;
    else if (command_arg_is(request, index, "sat"))
        *ret_overflow = BITS_SATURATE;
    else if (command_arg_is(request, index, "fail"))
        *ret_overflow = BITS_FAIL;
    else {
        reply_error(&client->reply, "ERR Invalid OVERFLOW type specified");
        return false;
    }
    return true;
}

/* How many arguments the word at `index` takes after it, 0 if they are not there or it is none. */
static size_t word_arguments(const struct resp_request *request, size_t index)
{
    static const struct {
        const char *word;
        size_t arguments;
    } words[] = {{"get", 2}, {"set", 3}, {"incrby", 3}, {"overflow", 1}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (command_arg_is(request, index, words[i].word) &&
            request->count - index > words[i].arguments)
            return words[i].arguments;
    return 0;
}

/* GET, SET or INCRBY at `index`. */
static bool parse_op(struct client *client, const struct resp_request *request, size_t index,
                     struct field_op *op)
{
    op->failed = false;
    op->kind = command_arg_is(request, index, "get")   ? FIELD_GET
               : command_arg_is(request, index, "set") ? FIELD_SET
                                                       : FIELD_INCREMENT;
    if (!parse_type(client, request->args[index + 1], op) ||
        !parse_offset(client, request->args[index + 2], op->width, &op->at))
        return false;
    if (op->kind == FIELD_GET)
        return true;
    if (!command_arg_int(client, request, index + 3, &op->operand))
        return false;
    if (op->width <= bits_max - op->at)
        return true;
    reply_offset_error(client); /* its end would be past what a value can hold */
    return false;
}

/* ops: room for a third of the request's arguments. */
static bool parse_ops(struct client *client, const struct resp_request *request,
                      struct field_op *ops, size_t *ret_count)
{
    enum bits_overflow overflow = BITS_WRAP;
    size_t count = 0, taken;
    for (size_t i = 2; i < request->count; i += 1 + taken) {
        taken = word_arguments(request, i);
        if (taken == 0) {
            command_reply_syntax_error(client);
            return false;
        }
        if (taken == 1) {
            if (!parse_overflow(client, request, i + 1, &overflow))
                return false;
            continue;
        }
        ops[count].overflow = overflow;
        if (!parse_op(client, request, i, &ops[count++]))
            return false;
    }
    *ret_count = count;
    return true;
}

/* Set the bytes that the operations write; none: 0..0. */
static void cover(struct field_run *run)
{
    run->from = run->to = 0;
    for (size_t i = 0; i < run->count; i++) {
        const struct field_op *op = &run->ops[i];
        uint64_t from = op->at / 8, to = (op->at + op->width + 7) / 8;
        if (op->kind == FIELD_GET)
            continue;
        if (run->to == 0 || from < run->from)
            run->from = from;
        if (to > run->to)
            run->to = to;
    }
}

/* A field as it is now: the span's bytes are newer than the value's. */
static uint64_t read_field(const struct field_run *run, struct tarn_bytes value,
                           const struct field_op *op)
{
    unsigned char window[9];
    uint64_t first = op->at / 8;
    for (uint64_t i = 0; i < sizeof window; i++) {
        uint64_t at = first + i;
        if (at >= run->from && at < run->to)
            window[i] = run->span[at - run->from];
        else
            window[i] = at < value.size ? ((const unsigned char *)value.data)[at] : 0;
    }
    return bits_read(window, op->at % 8, op->width);
}

/* Returns whether bits have changed. */
static bool apply_op(struct field_run *run, struct tarn_bytes value, struct field_op *op)
{
    uint64_t raw = read_field(run, value, op);
    int64_t old = op->sign_kept ? bits_sign_extend(raw, op->width) : (int64_t)raw, new;
    op->result = old;
    if (op->kind == FIELD_GET)
        return false;
    bool sets = op->kind == FIELD_SET;
    op->failed = !bits_add(sets ? op->operand : old, sets ? 0 : op->operand, op->width,
                           op->sign_kept, op->overflow, &new);
    if (op->failed)
        return false;
    if (!sets)
        op->result = new;
    bits_write(run->span, op->at - 8 * run->from, op->width, (uint64_t) new);
    return new != old;
}

static enum tarn_verdict apply_ops(void *context, struct tarn_update *update)
{
    struct field_run *run = context;
    const struct tarn_bytes value = update->record.value;
    size_t size = run->to - run->from;
    size_t there = value.size <= run->from ? 0 : value.size - run->from;
    if (there > size)
        there = size;
    if (there > 0)
        memcpy(run->span, (const unsigned char *)value.data + run->from, there);
    memset(run->span + there, 0, size - there);
    run->key_found = value.data != NULL;
    bool changed = there < size;
    for (size_t i = 0; i < run->count; i++)
        changed |= apply_op(run, value, &run->ops[i]);
    if (!changed)
        return TARN_PEEK;
    update->patch = (struct tarn_bytes){run->span, size};
    update->patch_offset = run->from;
    return TARN_PATCH;
}

/* Make the value so long that it ends at byte `to`, and our own: its last byte is written anew. */
static enum tarn_verdict grow(void *context, struct tarn_update *update)
{
    struct field_run *run = context;
    const struct tarn_bytes value = update->record.value;
    run->span[0] = run->to <= value.size ? ((const unsigned char *)value.data)[run->to - 1] : 0;
    update->patch = (struct tarn_bytes){run->span, 1};
    update->patch_offset = run->to - 1;
    return TARN_PATCH;
}

/* Each operation by itself, at one moment. After the value has grown, which may fail, every patch
 * is inside it and in place. */
static int apply_one_by_one(struct client *client, struct tarn_bytes key, struct field_run *run)
{
    struct field_op *ops = run->ops;
    size_t count = run->count;
    client_begin(client, &key, 1);
    int status = tarn_update(client->session, key, grow, run);
    for (size_t i = 0; i < count && status == TARN_OK; i++) {
        run->ops = &ops[i];
        run->count = 1;
        cover(run);
        status = tarn_update(client->session, key, apply_ops, run);
    }
    client_end(client);
    run->ops = ops;
    run->count = count;
    cover(run);
    return status;
}

/* False after having answered an error. */
static bool run_ops(struct client *client, struct tarn_bytes key, struct field_run *run)
{
    cover(run);
    if (run->to == 0) {
        bool readable = peek(client, key, apply_ops, run);
        client_count_lookups(client, run->key_found, !run->key_found);
        return readable;
    }
    if (run->to - run->from <= SPAN_BYTES_MAX)
        return command_update(client, key, apply_ops, run);
    int status;
    do
        status = apply_one_by_one(client, key, run);
    while (status == TARN_FULL && client_make_room(client));
    if (status != TARN_OK)
        command_reply_failure(client, status);
    return status == TARN_OK;
}

static void reply_results(struct client *client, const struct field_run *run)
{
    reply_array(&client->reply, run->count);
    for (size_t i = 0; i < run->count; i++) {
        if (run->ops[i].failed)
            reply_null(&client->reply);
        else
            reply_int(&client->reply, run->ops[i].result);
    }
}

static void bitfield(struct client *client, const struct resp_request *request, bool readonly)
{
    struct field_op on_stack[OPS_ON_STACK];
    struct field_run run; /* its span is not worth clearing */
    size_t count_max = request->count / 3;
    run.ops = count_max > OPS_ON_STACK ? malloc(count_max * sizeof *run.ops) : on_stack;
    if (run.ops == NULL) {
        command_reply_failure(client, TARN_NOMEM);
        return;
    }
    if (parse_ops(client, request, run.ops, &run.count)) {
        cover(&run);
        run.key_found = false;
        if (readonly && run.to > 0)
            reply_error(&client->reply, "ERR BITFIELD_RO only supports the GET subcommand");
        else if (run_ops(client, request->args[1], &run))
            reply_results(client, &run);
    }
    if (run.ops != on_stack)
        free(run.ops);
}

void cmd_bitfield(struct client *client, const struct resp_request *request)
{
    bitfield(client, request, false);
}

void cmd_bitfield_ro(struct client *client, const struct resp_request *request)
{
    bitfield(client, request, true);
}

const char *cmd_bitfield_key_use(const struct resp_request *request)
{
    for (size_t i = 2; i < request->count; i++) {
        size_t taken = word_arguments(request, i);
        if (taken == 0 || taken == 3)
            return "RW access update";
        i += taken;
    }
    return "RO access";
}

/* --- BITOP --- */

/* keys: the destination, then the sources. */
struct bitop {
    struct client *client;
    enum bits_operation operation;
    const struct tarn_bytes *keys;
    size_t sources_count;
    struct tarn_bytes *values; /* of the sources */
    struct tarn_watch **watches;
    void *result; /* of the longest source's size */
    size_t size;
};

static bool parse_operation(struct client *client, const struct resp_request *request,
                            enum bits_operation *ret_operation)
{
    static const char *const words[] = {"and", "or", "xor", "not"};
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++) {
        if (!command_arg_is(request, 1, words[i]))
            continue;
        *ret_operation = (enum bits_operation)i;
        if (*ret_operation != BITS_NOT || request->count == 4)
            return true;
        reply_error(&client->reply, "ERR BITOP NOT must be called with a single source key.");
        return false;
    }
    command_reply_syntax_error(client);
    return false;
}

/* What was read: how long the result is. */
static void measure(struct bitop *op)
{
    op->size = 0;
    for (size_t i = 0; i < op->sources_count; i++)
        if (op->values[i].data != NULL && op->values[i].size > op->size)
            op->size = op->values[i].size;
}

/* found: how many sources there are. */
static int compute(struct bitop *op, size_t found)
{
    int status = command_values_status(op->values, op->sources_count, found);
    measure(op);
    if (status != TARN_OK || op->size == 0)
        return status;
    op->result = command_scratch_take(op->client, op->size);
    if (op->result == NULL)
        return TARN_FULL;
    for (size_t i = 0; i < op->sources_count; i++)
        if (op->values[i].data == NULL)
            op->values[i].size = 0;
    bits_combine(op->operation, op->values, op->sources_count, op->result);
    return TARN_OK;
}

static int store(const struct bitop *op)
{
    struct tarn_session *session = op->client->session;
    if (op->size > 0)
        return tarn_put(session, op->keys[0], (struct tarn_bytes){op->result, op->size}, 0);
    int status = tarn_delete(session, op->keys[0]);
    return status == TARN_NOTFOUND ? TARN_OK : status;
}

static void drop_result(struct bitop *op)
{
    if (op->result != NULL)
        command_scratch_give(op->client, op->result, op->size);
    op->result = NULL;
}

/* All of it while the keys are held. */
static int bitop_held(struct bitop *op)
{
    client_begin(op->client, op->keys, 1 + op->sources_count);
    size_t found = tarn_get_many(op->client->session, op->keys + 1, op->sources_count, op->values);
    int status = compute(op, found);
    if (status == TARN_OK)
        status = store(op);
    client_end(op->client);
    drop_result(op);
    return status;
}

static int watch_sources(struct bitop *op)
{
    int status = TARN_OK;
    for (size_t i = 0; i < op->sources_count && status == TARN_OK; i++)
        status = tarn_watch_open(op->client->session, op->keys[1 + i], &op->watches[i]);
    return status;
}

static bool sources_changed(const struct bitop *op)
{
    for (size_t i = 0; i < op->sources_count; i++)
        if (tarn_watch_changed(op->watches[i]))
            return true;
    return false;
}

static void unwatch_sources(struct bitop *op)
{
    for (size_t i = 0; i < op->sources_count; i++) {
        tarn_watch_close(op->watches[i]);
        op->watches[i] = NULL;
    }
}

/* Reads and computes first, then holds the keys and stores, if the sources are what they were.
 * *ret_changed: they were not, and nothing is done. */
static int bitop_watched(struct bitop *op, bool *ret_changed)
{
    int status = watch_sources(op);
    *ret_changed = false;
    if (status == TARN_OK) {
        size_t found =
            tarn_get_together(op->client->session, op->keys + 1, op->sources_count, op->values);
        status = compute(op, found);
    }
    if (status == TARN_OK) {
        client_begin(op->client, op->keys, 1 + op->sources_count);
        *ret_changed = sources_changed(op);
        if (!*ret_changed)
            status = store(op);
        client_end(op->client);
    }
    unwatch_sources(op);
    drop_result(op);
    return status;
}

static uint64_t sources_bytes(const struct bitop *op)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < op->sources_count; i++)
        bytes += op->values[i].data != NULL ? op->values[i].size : 0;
    return bytes;
}

static int run_bitop(struct bitop *op)
{
    bool changed = true;
    int status = TARN_OK;
    size_t found = tarn_get_many(op->client->session, op->keys + 1, op->sources_count, op->values);
    client_count_lookups(op->client, found, op->sources_count - found);
    if (sources_bytes(op) > HELD_BYTES_MAX && !op->client->in_exec)
        for (int i = 0; i < WATCHED_TRIES && changed && status == TARN_OK; i++)
            status = bitop_watched(op, &changed);
    return changed && status == TARN_OK ? bitop_held(op) : status;
}

void cmd_bitop(struct client *client, const struct resp_request *request)
{
    struct bitop op = {
        .client = client,
        .keys = request->args + 2,
        .sources_count = request->count - 3,
    };
    if (!parse_operation(client, request, &op.operation))
        return;
    op.values = calloc(op.sources_count, sizeof *op.values);
    op.watches = calloc(op.sources_count, sizeof(struct tarn_watch *));
    int status = TARN_NOMEM;
    if (op.values != NULL && op.watches != NULL)
        do
            status = run_bitop(&op);
        while (status == TARN_FULL && client_make_room(client));
    if (status == TARN_OK)
        reply_int(&client->reply, (int64_t)op.size);
    else
        command_reply_failure(client, status);
    free(op.watches);
    free(op.values);
}
