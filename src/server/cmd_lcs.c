/* LCS: the longest common subsequence of two values. What, how and in which memory is core/lcs.h's;
 * here are the options and the shapes of the answer.
 *
 * Invariants: values and memory together bound the time: Redis's limit (4 bytes for each pair of
 * positions may not exceed a string's largest size) leaves at most 2^27 pairs, 64 of which take one
 * step. Failure modes: no memory; nothing is answered but the error. */
#include "core/lcs.h"

#include "core/number.h"
#include "server/command_rows.h"
#include "server/command_scratch.h"

struct lcs_options {
    bool length, matches, match_sizes; /* LEN, IDX, WITHMATCHLEN */
    int64_t match_size_min;            /* MINMATCHLEN */
};

/* False after having answered an error. */
static bool parse_lcs_options(struct client *client, const struct resp_request *request,
                              struct lcs_options *options)
{
    for (size_t i = 3; i < request->count; i++) {
        if (command_arg_is(request, i, "idx")) {
            options->matches = true;
        } else if (command_arg_is(request, i, "len")) {
            options->length = true;
        } else if (command_arg_is(request, i, "withmatchlen")) {
            options->match_sizes = true;
        } else if (command_arg_is(request, i, "minmatchlen") && i + 1 < request->count) {
            if (!command_arg_int(client, request, ++i, &options->match_size_min))
                return false;
        } else {
            command_reply_syntax_error(client);
            return false;
        }
    }
    if (options->matches && options->length)
        reply_error(&client->reply,
                    "ERR If you want both the length and indexes, please just use IDX.");
    return !(options->matches && options->length);
}

/* Each match as its ends in both values, then the length. */
static void reply_matches(struct client *client, struct lcs *lcs, const struct lcs_options *options)
{
    struct reply *r = &client->reply;
    struct lcs_match match;
    size_t count = 0;
    reply_map(r, 2);
    reply_bulk_text(r, "matches");
    size_t start = r->out->size;
    while (lcs_next(lcs, &match)) {
        if ((int64_t)match.size < options->match_size_min)
            continue;
        reply_array(r, 2 + options->match_sizes);
        reply_array(r, 2);
        reply_int(r, (int64_t)match.a_start);
        reply_int(r, (int64_t)(match.a_start + match.size - 1));
        reply_array(r, 2);
        reply_int(r, (int64_t)match.b_start);
        reply_int(r, (int64_t)(match.b_start + match.size - 1));
        if (options->match_sizes)
            reply_int(r, (int64_t)match.size);
        count++;
    }
    command_insert(client, start, "*%zu\r\n", count);
    reply_bulk_text(r, "len");
    reply_int(r, (int64_t)lcs->length);
}

/* The bytes themselves, written from the last to the first. */
static void reply_subsequence(struct client *client, struct lcs *lcs)
{
    struct buffer *out = client->reply.out;
    struct lcs_match match;
    reply_bulk_header(&client->reply, lcs->length);
    if (!buffer_reserve(out, lcs->length + 2))
        return;
    out->size += lcs->length;
    unsigned char *p = out->data + out->size;
    while (lcs_next(lcs, &match)) {
        p -= match.size;
        memcpy(p, (const unsigned char *)lcs->a.data + match.a_start, match.size);
    }
    buffer_append(out, "\r\n", 2);
}

/* False after having answered that there is no memory for it. */
static bool is_within_limit(struct client *client, const struct tarn_bytes values[2])
{
    if ((values[0].size + 1) * (values[1].size + 1) <= TARN_VALUE_BYTES_MAX / sizeof(uint32_t))
        return true;
    reply_error(&client->reply, "ERR Insufficient memory, transient memory for LCS exceeds "
                                "proto-max-bulk-len");
    return false;
}

static void reply_lcs(struct client *client, const struct tarn_bytes values[2],
                      const struct lcs_options *options)
{
    struct lcs lcs;
    size_t size = lcs_bytes(values[0], values[1], !options->length);
    void *memory = command_scratch_take(client, size);
    if (memory == NULL) {
        reply_error(&client->reply,
                    "ERR Insufficient memory, failed allocating transient memory for LCS");
        return;
    }
    lcs_solve(&lcs, values[0], values[1], memory, !options->length);
    if (options->matches)
        reply_matches(client, &lcs, options);
    else if (options->length)
        reply_int(&client->reply, (int64_t)lcs.length);
    else
        reply_subsequence(client, &lcs);
    command_scratch_give(client, memory, size);
}

void cmd_lcs(struct client *client, const struct resp_request *request)
{
    struct lcs_options options = {0};
    struct tarn_bytes values[2];
    size_t found = tarn_get_together(client->session, request->args + 1, 2, values);
    int status = command_values_status(values, 2, found);
    client_count_lookups(client, found, 2 - found);
    if (status != TARN_OK)
        command_reply_unreadable(client, status);
    else if (parse_lcs_options(client, request, &options) && is_within_limit(client, values))
        reply_lcs(client, values, &options);
}
