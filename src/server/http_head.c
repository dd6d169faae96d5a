/* The HTTP front: the head of a request, and whether it can be read in one way only.
 *
 * How: MHD has parsed the head in place; its fields are visited once, their places in memory tell
 * what it has dropped.
 * Invariant: nothing of a request whose framing is in doubt is answered but with an error and a
 * close: what follows it might be part of it (request smuggling).
 * Failure modes: a doubt is a text, for 400 or 501. */
#include "server/http_internal.h"
#include "server/http_request.h"

/* 0.9.75 drops what is not well-formed in a head without a word: a line that continues the one
 * before, a bare LF, a NUL. It parses in place, so a head was clean exactly if each field begins
 * two bytes (CR and LF) after the one before. Later versions refuse such heads themselves. */
#define HEAD_IS_CHECKED_BY_PLACE (MHD_VERSION < 0x00097600)

static enum MHD_Result scan_field(void *head, enum MHD_ValueKind kind, const char *name,
                                  size_t name_size, const char *value, size_t value_size)
{
    struct http_head *h = head;
    struct tarn_bytes n = {name, name_size}, v = {value != NULL ? value : "", value_size};

    (void)kind;
    if (!http_field_name_valid(n))
        h->bad_name = true;
    if (name != h->field_at || value == NULL)
        h->torn = true;
    h->field_at = value != NULL ? value + value_size + 2 : NULL;
    if (bytes_equal_nocase(n, "host")) {
        h->host = v;
        h->hosts++;
    } else if (bytes_equal_nocase(n, "authorization")) {
        h->authorization = v;
    } else if (bytes_equal_nocase(n, "content-length")) {
        h->content_length = v;
        h->content_lengths++;
    } else if (bytes_equal_nocase(n, "transfer-encoding")) {
        h->transfer_encoding = v;
        h->transfer_encodings++;
    } else if (bytes_equal_nocase(n, "expect")) {
        h->expects = true;
    } else if (bytes_equal_nocase(n, "content-range")) {
        h->has_content_range = true;
    } else if (bytes_equal_nocase(n, "origin")) {
        h->origin = v;
        h->origins++;
    } else if (bytes_equal_nocase(n, "prefer")) {
        h->prefers_commit |= http_prefers(v, "durability", "commit");
    }
    return MHD_YES;
}

void http_head_scan(struct http_connection *c, struct MHD_Connection *mhd, const char *method,
                    const char *version, struct http_head *ret_head)
{
    struct http_head h = {.method = method, .version = version};

    h.field_at = version + strlen(version) + 2;
    MHD_get_connection_values_n(mhd, MHD_HEADER_KIND, scan_field, &h);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    if (c->target_at != method + strlen(method) + 1 ||
        version != c->target_at + c->target_size + 1 || info == NULL || h.field_at == NULL ||
        h.field_at + 2 != method + info->header_size)
        h.torn = true;
    *ret_head = h;
}

const char *http_head_doubt(const struct http_head *h, unsigned *ret_status)
{
    bool is_1_1 = strcmp(h->version, "HTTP/1.0") != 0;

    *ret_status = MHD_HTTP_BAD_REQUEST;
    if (h->bad_name)
        return "malformed field name";
    if (HEAD_IS_CHECKED_BY_PLACE && h->torn)
        return "malformed request head";
    if (!http_field_name_valid(bytes_of(h->method)))
        return "malformed method";
    if (h->content_lengths > 1)
        return "more than one Content-Length";
    if (h->transfer_encodings > 1)
        return "more than one Transfer-Encoding";
    if (h->transfer_encodings > 0 && h->content_lengths > 0)
        return "both Content-Length and Transfer-Encoding";
    if (h->transfer_encodings > 0 && !is_1_1)
        return "Transfer-Encoding in HTTP/1.0";
    if (h->hosts > 1)
        return "more than one Host";
    if (h->hosts == 0 && is_1_1)
        return "no Host";
    if (h->transfer_encodings > 0 && !bytes_equal_nocase(h->transfer_encoding, "chunked")) {
        *ret_status = MHD_HTTP_NOT_IMPLEMENTED;
        return "unknown Transfer-Encoding";
    }
    return NULL;
}

/* --- conditions --- */

struct condition_scan {
    struct http_conditions *conditions;
    bool too_many;
};

static enum MHD_Result scan_condition(void *scan, enum MHD_ValueKind kind, const char *name,
                                      size_t name_size, const char *value, size_t value_size)
{
    struct condition_scan *s = scan;
    struct tarn_bytes n = {name, name_size}, v = {value != NULL ? value : "", value_size};
    struct http_tags *tags = bytes_equal_nocase(n, "if-match")        ? &s->conditions->match
                             : bytes_equal_nocase(n, "if-none-match") ? &s->conditions->none_match
                                                                      : NULL;
    (void)kind;
    if (tags == NULL)
        return MHD_YES;
    if (tags->count == HTTP_TAG_FIELDS_MAX)
        s->too_many = true;
    else
        tags->fields[tags->count++] = v;
    return MHD_YES;
}

bool http_conditions_get(struct MHD_Connection *mhd, struct http_conditions *ret_conditions)
{
    struct condition_scan scan = {ret_conditions, false};

    *ret_conditions = (struct http_conditions){0};
    MHD_get_connection_values_n(mhd, MHD_HEADER_KIND, scan_condition, &scan);
    return !scan.too_many;
}
