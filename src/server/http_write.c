/* The HTTP front: requests that write, to a writable store.
 *
 * How: PUT is tarn_put_if(), whose condition compares entity tags with the value as it is then. The
 * tag of a large value takes too long under the store's lock, so it is computed before, and the
 * condition only sees whether the value is still the one that was looked at; if it is not, all is
 * done again.
 *
 * Invariants
 * 1. No view of the store's is used after tarn_make_room(), which is a quiescent state.
 * 2. A body is let go before the reply is sent.
 * Failure modes: memory or disk is full: 507, nothing was written. The log has failed: 503; before
 * the write or, then nobody knows what became of it, meanwhile. */
#include <stdio.h>
#include <stdlib.h>

#include "server/http_internal.h"
#include "server/http_mset.h"
#include "server/increment.h"

#define TAG_BYTES_MAX                                                                              \
    (16u << 10)      /* of values whose tag is computed under the lock: a microsecond */
#define LOOKS_MAX 16 /* then even a large one's is: others change it all the time */

static struct tarn_session *session_of(struct http_connection *c)
{
    return c->thread->session;
}

/* When a key that is written now expires; 0: never. */
static int64_t expiry_in(struct http_connection *c, int64_t ttl_ms)
{
    return ttl_ms == 0 ? 0 : tarn_now_ms(server_store(c->thread->http->server)) + ttl_ms;
}

/* The write was done (status OK) and acknowledged as the dial says. If the client prefers, wait
 * until it is durable. Returns what it came to. */
static int settle(struct http_connection *c, int status)
{
    struct server *server = c->thread->http->server;

    if (status != TARN_OK || !c->prefers_commit || !server_is_logged(server))
        return status;
    tarn_offline(session_of(c));
    status = tarn_await(server_store(server), tarn_sequence(server_store(server)), TARN_DURABLE,
                        HTTP_COMMIT_US_MAX);
    tarn_online(session_of(c));
    if (status == TARN_INVALID)
        return TARN_OK; /* the dial was turned to none meanwhile: preferring is not demanding */
    c->committed = status == TARN_OK;
    return status == TARN_CANCELLED ? TARN_UNSURE : status;
}

/* 201, 204: the value's tag, or NULL. */
static enum MHD_Result answer_done(struct http_connection *c, struct MHD_Connection *mhd,
                                   unsigned status, const char *tag)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);

    if (response != NULL && tag != NULL)
        MHD_add_response_header(response, "ETag", tag);
    return http_send(c, mhd, status, response, 0);
}

/* --- compare and set --- */

enum outcome { ABSENT, PRESENT, CHANGED_MEANWHILE };

/* What decides whether a write is done, and what it found. */
struct comparison {
    struct http_conditions conditions;
    unsigned looks;           /* how often it was looked before */
    struct tarn_bytes seen;   /* a large value whose tag is known; data NULL: none */
    char tag[HTTP_TAG_BYTES]; /* of that, or of the value compared last */
    enum outcome outcome;     /* out: what was there */
};

/* Read and check the conditions; false after having answered. */
static bool take_conditions(struct http_connection *c, struct MHD_Connection *mhd,
                            struct comparison *ret_comparison, enum MHD_Result *ret_result)
{
    *ret_comparison = (struct comparison){0};
    struct http_conditions *conditions = &ret_comparison->conditions;
    const struct http_tags *lists[] = {&conditions->match, &conditions->none_match};
    bool ok = http_conditions_get(mhd, conditions);

    for (int i = 0; i < 2; i++)
        for (unsigned j = 0; j < lists[i]->count; j++)
            ok = ok && http_tags_valid(lists[i]->fields[j]);
    if (!ok)
        *ret_result = http_answer_error(c, mhd, MHD_HTTP_BAD_REQUEST,
                                        "If-Match and If-None-Match are * or lists of \"tags\"");
    return ok;
}

static bool is_conditional(const struct comparison *cmp)
{
    return cmp->conditions.match.count > 0 || cmp->conditions.none_match.count > 0;
}

/* Compute the tag of a large value before the lock is taken. */
static void look(struct tarn_session *session, struct tarn_bytes key, struct comparison *cmp)
{
    struct tarn_bytes value;

    cmp->seen = (struct tarn_bytes){NULL, 0};
    if (!is_conditional(cmp) || tarn_get(session, key, &value) != TARN_OK ||
        value.size <= TAG_BYTES_MAX)
        return;
    cmp->seen = value;
    http_tag_make(value, cmp->tag);
}

/* Do the conditions hold of the value that is there (data NULL: none is)? (RFC 9110 13.2.2) */
static bool compare(struct comparison *cmp, struct tarn_bytes value)
{
    const struct http_conditions *conditions = &cmp->conditions;
    bool is_seen = value.data == cmp->seen.data && value.size == cmp->seen.size;

    cmp->outcome = value.data == NULL ? ABSENT : PRESENT;
    if (value.data == NULL || !is_conditional(cmp))
        return conditions->match.count == 0;
    if (value.size > TAG_BYTES_MAX && !is_seen && cmp->looks < LOOKS_MAX) {
        cmp->outcome = CHANGED_MEANWHILE;
        return false;
    }
    if (!is_seen)
        http_tag_make(value, cmp->tag);
    return (conditions->match.count == 0 ||
            http_tags_have(&conditions->match, bytes_of(cmp->tag), false)) &&
           !http_tags_have(&conditions->none_match, bytes_of(cmp->tag), true);
}

static enum MHD_Result answer_precondition(struct http_connection *c, struct MHD_Connection *mhd,
                                           const struct comparison *cmp)
{
    const char *text = cmp->outcome == ABSENT                  ? "there is no such key"
                       : cmp->conditions.none_match.count == 0 ? "the value has another tag"
                                                               : "the key exists";
    return http_answer_error(c, mhd, MHD_HTTP_PRECONDITION_FAILED, text);
}

/* Is it to be done once more? status: of the write. */
static bool again(struct http_connection *c, int status, struct comparison *cmp)
{
    if (status == TARN_FULL)
        return tarn_make_room(session_of(c));
    cmp->looks++;
    return status == TARN_CANCELLED && cmp->outcome == CHANGED_MEANWHILE;
}

/* --- PUT and DELETE --- */

static bool may_put(void *context, const struct tarn_record *present)
{
    return compare(context, present->value);
}

enum MHD_Result http_answer_put(struct http_connection *c, struct MHD_Connection *mhd)
{
    static const struct tarn_bytes empty = {"", 0};
    struct tarn_bytes value = c->body.size > 0 ? buffer_view(&c->body) : empty;
    struct comparison cmp;
    char tag[HTTP_TAG_BYTES];
    enum MHD_Result result;
    int status;

    if (!take_conditions(c, mhd, &cmp, &result))
        return result;
    http_tag_make(value, tag);
    do {
        look(session_of(c), c->key, &cmp);
        status = tarn_put_if(session_of(c), c->key, value, expiry_in(c, c->parameters.ttl_ms),
                             may_put, &cmp);
    } while (status != TARN_OK && again(c, status, &cmp));
    http_connection_release(c);
    if (status == TARN_CANCELLED)
        return answer_precondition(c, mhd, &cmp);
    status = settle(c, status);
    if (status != TARN_OK)
        return http_answer_failure(c, mhd, status);
    return answer_done(c, mhd, cmp.outcome == ABSENT ? MHD_HTTP_CREATED : MHD_HTTP_NO_CONTENT, tag);
}

/* A conditional DELETE. */
struct removal {
    struct comparison comparison;
    bool holds; /* out */
};

static enum tarn_verdict remove_if(void *context, struct tarn_update *update)
{
    struct removal *removal = context;
    removal->holds = compare(&removal->comparison, update->record.value);
    return removal->holds && update->record.value.data != NULL ? TARN_REMOVE : TARN_KEEP;
}

enum MHD_Result http_answer_delete(struct http_connection *c, struct MHD_Connection *mhd)
{
    struct removal removal;
    struct comparison *cmp = &removal.comparison;
    enum MHD_Result result;
    int status;

    if (!take_conditions(c, mhd, cmp, &result))
        return result;
    do {
        look(session_of(c), c->key, cmp);
        status = tarn_update(session_of(c), c->key, remove_if, &removal);
        if (status == TARN_OK && !removal.holds)
            status = TARN_CANCELLED;
    } while (status != TARN_OK && again(c, status, cmp));
    if (status == TARN_CANCELLED)
        return answer_precondition(c, mhd, cmp);
    if (status == TARN_OK && cmp->outcome == ABSENT)
        status = TARN_NOTFOUND;
    status = settle(c, status);
    return status == TARN_OK ? answer_done(c, mhd, MHD_HTTP_NO_CONTENT, NULL)
                             : http_answer_failure(c, mhd, status);
}

/* --- /incr --- */

enum MHD_Result http_answer_incr(struct http_connection *c, struct MHD_Connection *mhd)
{
    struct increment i = {.by = c->parameters.by};
    int status;

    do
        status = tarn_update(session_of(c), c->key, increment, &i);
    while (status == TARN_FULL && tarn_make_room(session_of(c)));
    if (status != TARN_OK)
        return http_answer_failure(c, mhd, status);
    if (i.problem != NULL)
        return http_answer_error(c, mhd, MHD_HTTP_CONFLICT, i.problem);
    status = settle(c, status);
    if (status != TARN_OK)
        return http_answer_failure(c, mhd, status);
    return http_answer_text(c, mhd, MHD_HTTP_OK, (struct tarn_bytes){i.text, i.text_size},
                            "text/plain; charset=utf-8");
}

/* --- /mset --- */

enum MHD_Result http_answer_mset(struct http_connection *c, struct MHD_Connection *mhd)
{
    struct tarn_record *records;
    struct tarn_error error;
    size_t count;
    int status;

    if (http_mset_parse(c->body.data, c->body.size, HTTP_KEYS_MAX, &records, &count, &error) !=
        TARN_OK)
        return http_answer_bad_body(c, mhd, &error);
    for (size_t i = 0; i < count; i++) {
        int64_t ttl_ms = records[i].expire_ms;
        records[i].expire_ms = expiry_in(c, ttl_ms != 0 ? ttl_ms : c->parameters.ttl_ms);
    }
    do
        status = tarn_put_many(session_of(c), records, count);
    while (status == TARN_FULL && tarn_make_room(session_of(c)));
    free(records);
    http_connection_release(c);
    status = settle(c, status);
    return status == TARN_OK ? answer_done(c, mhd, MHD_HTTP_NO_CONTENT, NULL)
                             : http_answer_failure(c, mhd, status);
}
