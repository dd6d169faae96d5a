/* What an HTTP request says: the pure part of the HTTP front.
 *
 * How: hand-written scanners over views, after RFC 9110 (semantics) and RFC 3986 (targets). What
 * a client may get wrong is answered by a return value; nothing here can fail otherwise.
 * Invariants: 1. no byte outside a view is read; 2. no allocation. */
#include "server/http_request.h"

#include <arpa/inet.h>

#include "core/escape.h"
#include "core/number.h"
#include "server/secret.h"

/* --- percent-encoding --- */

static bool decode(struct tarn_bytes text, bool plus_is_space, unsigned char *out, size_t *ret_size)
{
    const unsigned char *p = text.data;
    size_t size = 0;

    for (size_t i = 0; i < text.size; i++) {
        unsigned char byte = p[i];
        if (byte == '%') {
            if (text.size - i < 3)
                return false;
            int high = number_hex_digit(p[i + 1]), low = number_hex_digit(p[i + 2]);
            if (high < 0 || low < 0)
                return false;
            byte = (unsigned char)(high << 4 | low);
            i += 2;
        } else if (byte == '+' && plus_is_space) {
            byte = ' ';
        }
        out[size++] = byte;
    }
    *ret_size = size;
    return true;
}

bool http_percent_decode(struct tarn_bytes text, unsigned char *out, size_t *ret_size)
{
    return decode(text, false, out, ret_size);
}

bool http_query_decode(struct tarn_bytes text, unsigned char *out, size_t *ret_size)
{
    return decode(text, true, out, ret_size);
}

/* --- fields --- */

struct tarn_bytes http_trim(struct tarn_bytes bytes)
{
    const char *p = bytes.data;
    size_t from = 0, to = bytes.size;

    while (from < to && (p[from] == ' ' || p[from] == '\t'))
        from++;
    while (to > from && (p[to - 1] == ' ' || p[to - 1] == '\t'))
        to--;
    return bytes.data == NULL ? bytes : (struct tarn_bytes){p + from, to - from};
}

bool http_field_name_valid(struct tarn_bytes name)
{
    const unsigned char *p = name.data;

    for (size_t i = 0; i < name.size; i++) {
        bool alphanumeric = (p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'z') ||
                            (p[i] >= 'A' && p[i] <= 'Z');
        if (!alphanumeric && (p[i] == 0 || strchr("!#$%&'*+-.^_`|~", p[i]) == NULL))
            return false;
    }
    return name.size > 0;
}

/* A decimal number that fills the view; what is over 2^64-1 becomes that. */
static bool parse_number(struct tarn_bytes text, uint64_t *ret_value)
{
    const unsigned char *p = text.data;
    uint64_t value = 0;

    for (size_t i = 0; i < text.size; i++) {
        if (p[i] < '0' || p[i] > '9')
            return false;
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(p[i] - '0'), &value)) {
            value = UINT64_MAX;
            for (size_t j = i; j < text.size; j++)
                if (p[j] < '0' || p[j] > '9')
                    return false;
            break;
        }
    }
    *ret_value = value;
    return text.size > 0;
}

enum http_range_outcome http_range_parse(struct tarn_bytes field, uint64_t size,
                                         uint64_t *ret_first, uint64_t *ret_last)
{
    field = http_trim(field);
    if (field.size < 6 || !bytes_equal_nocase((struct tarn_bytes){field.data, 6}, "bytes="))
        return HTTP_RANGE_NONE;
    struct tarn_bytes spec = {(const char *)field.data + 6, field.size - 6};
    spec = http_trim(spec);
    const char *dash = spec.size > 0 ? memchr(spec.data, '-', spec.size) : NULL;
    if (dash == NULL)
        return HTTP_RANGE_NONE;

    struct tarn_bytes before = {spec.data, (size_t)(dash - (const char *)spec.data)};
    struct tarn_bytes after = {dash + 1, spec.size - before.size - 1};
    uint64_t first = 0, last = UINT64_MAX;
    if (before.size == 0) { /* the last `last` bytes */
        if (!parse_number(after, &last))
            return HTTP_RANGE_NONE;
        if (last == 0 || size == 0)
            return HTTP_RANGE_UNSATISFIABLE;
        *ret_first = last < size ? size - last : 0;
        *ret_last = size - 1;
        return HTTP_RANGE_PART;
    }
    if (!parse_number(before, &first) || (after.size > 0 && !parse_number(after, &last)) ||
        last < first)
        return HTTP_RANGE_NONE;
    if (first >= size)
        return HTTP_RANGE_UNSATISFIABLE;
    *ret_first = first;
    *ret_last = last < size ? last : size - 1;
    return HTTP_RANGE_PART;
}

/* The tag at *at in a list (quotes included), *at moved behind it; data NULL at the end or, then
 * *ret_malformed, where the list stops being one. */
static struct tarn_bytes next_tag(struct tarn_bytes field, size_t *at, bool *ret_weak,
                                  bool *ret_malformed)
{
    static const struct tarn_bytes none = {NULL, 0};
    const char *p = field.data;

    *ret_malformed = false;
    while (*at < field.size && (p[*at] == ' ' || p[*at] == '\t' || p[*at] == ','))
        ++*at;
    if (*at >= field.size)
        return none;
    *ret_weak = field.size - *at >= 2 && p[*at] == 'W' && p[*at + 1] == '/';
    if (*ret_weak)
        *at += 2;
    *ret_malformed = true;
    if (*at >= field.size || p[*at] != '"')
        return none;
    const char *close = memchr(p + *at + 1, '"', field.size - *at - 1);
    if (close == NULL)
        return none;
    *ret_malformed = false;
    struct tarn_bytes tag = {p + *at, (size_t)(close - (p + *at)) + 1};
    *at += tag.size;
    return tag;
}

bool http_tag_listed(struct tarn_bytes field, struct tarn_bytes tag, bool weak)
{
    size_t at = 0;
    bool is_weak, malformed;
    struct tarn_bytes one;

    field = http_trim(field);
    if (bytes_equal_nocase(field, "*"))
        return true;
    while ((one = next_tag(field, &at, &is_weak, &malformed)).data != NULL)
        if ((weak || !is_weak) && bytes_equal(one, tag))
            return true;
    return false; /* of a malformed list, what follows cannot be told apart */
}

bool http_tags_valid(struct tarn_bytes field)
{
    size_t at = 0, count = 0;
    bool is_weak, malformed;

    field = http_trim(field);
    if (bytes_equal_nocase(field, "*"))
        return true;
    while (next_tag(field, &at, &is_weak, &malformed).data != NULL)
        count++;
    return count > 0 && !malformed;
}

/* --- Host --- */

static bool is_loopback_v4(const struct in_addr *address)
{
    return (ntohl(address->s_addr) >> 24) == 127;
}

static bool is_loopback_v6(const struct in6_addr *address)
{
    return IN6_IS_ADDR_LOOPBACK(address) ||
           (IN6_IS_ADDR_V4MAPPED(address) && address->s6_addr[12] == 127);
}

bool http_address_is_loopback(const char *address)
{
    struct in_addr v4;
    struct in6_addr v6;

    if (inet_pton(AF_INET, address, &v4) == 1)
        return is_loopback_v4(&v4);
    return inet_pton(AF_INET6, address, &v6) == 1 && is_loopback_v6(&v6);
}

static bool is_port(struct tarn_bytes text)
{
    uint64_t port;

    return text.size == 0 || (text.size <= 5 && parse_number(text, &port) && port <= 65535);
}

bool http_host_is_loopback(struct tarn_bytes host)
{
    char name[64]; /* longer ones are not ours */
    struct tarn_bytes port = {"", 0};

    host = http_trim(host);
    if (host.size == 0)
        return false;
    const char *p = host.data;
    const char *colon = NULL;
    if (p[0] == '[') {
        const char *close = memchr(p, ']', host.size);
        if (close == NULL)
            return false;
        size_t tail = host.size - (size_t)(close - p) - 1;
        if (tail > 0 && close[1] != ':')
            return false;
        colon = tail > 0 ? close + 1 : NULL;
    } else {
        colon = memchr(p, ':', host.size);
    }
    if (colon != NULL) {
        port = (struct tarn_bytes){colon + 1, host.size - (size_t)(colon - p) - 1};
        host.size = (size_t)(colon - p);
    }
    if (!is_port(port) || host.size >= sizeof name || memchr(p, 0, host.size) != NULL)
        return false;
    if (bytes_equal_nocase(host, "localhost"))
        return true;
    if (p[0] == '[') {
        memcpy(name, p + 1, host.size - 2);
        name[host.size - 2] = 0;
        struct in6_addr v6;
        return inet_pton(AF_INET6, name, &v6) == 1 && is_loopback_v6(&v6);
    }
    memcpy(name, p, host.size);
    name[host.size] = 0;
    struct in_addr v4;
    return inet_pton(AF_INET, name, &v4) == 1 && is_loopback_v4(&v4);
}

bool http_origin_is(struct tarn_bytes origin, struct tarn_bytes host)
{
    static const char *const schemes[] = {"http://", "https://"};

    origin = http_trim(origin);
    host = http_trim(host);
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t size = strlen(schemes[i]);
        if (origin.size == size + host.size && host.size > 0 &&
            strncasecmp(origin.data, schemes[i], size) == 0 &&
            strncasecmp((const char *)origin.data + size, host.data, host.size) == 0)
            return true;
    }
    return false;
}

/* --- credentials --- */

bool http_authorized(struct tarn_bytes authorization, struct tarn_bytes password)
{
    unsigned char decoded[3072]; /* longer credentials are nobody's */
    struct tarn_bytes given;

    authorization = http_trim(authorization);
    const char *p = authorization.data;
    const char *space = authorization.size > 0 ? memchr(p, ' ', authorization.size) : NULL;
    if (space == NULL || password.size == 0)
        return false;
    struct tarn_bytes scheme = {p, (size_t)(space - p)};
    given = http_trim((struct tarn_bytes){space, authorization.size - scheme.size});
    if (bytes_equal_nocase(scheme, "bearer"))
        return secret_equal(given, password);
    if (!bytes_equal_nocase(scheme, "basic") || given.size > sizeof decoded / 3 * 4)
        return false;
    size_t size;
    if (!base64_decode(given, decoded, &size))
        return false;
    const unsigned char *colon = memchr(decoded, ':', size);
    if (colon == NULL)
        return false;
    given = (struct tarn_bytes){colon + 1, size - (size_t)(colon + 1 - decoded)};
    bool same = secret_equal(given, password);
    explicit_bzero(decoded, size);
    return same;
}

/* --- target --- */

bool http_target_split(struct tarn_bytes target, struct tarn_bytes *ret_authority,
                       struct tarn_bytes *ret_path, struct tarn_bytes *ret_query)
{
    const char *p = target.data;
    struct tarn_bytes authority = {NULL, 0}, query = {NULL, 0};

    for (size_t i = 0; i < target.size; i++)
        if ((unsigned char)p[i] <= ' ' || p[i] == 0x7f)
            return false;
    if (target.size >= 7 && bytes_equal_nocase((struct tarn_bytes){p, 7}, "http://")) {
        size_t at = 7;
        while (at < target.size && p[at] != '/' && p[at] != '?')
            at++;
        authority = (struct tarn_bytes){p + 7, at - 7};
        p += at;
        target.size -= at;
        if (authority.size == 0)
            return false;
    }
    if (target.size == 0 || p[0] != '/')
        return false;
    const char *mark = memchr(p, '?', target.size);
    if (mark != NULL) {
        query = (struct tarn_bytes){mark + 1, target.size - (size_t)(mark + 1 - p)};
        target.size = (size_t)(mark - p);
    }
    *ret_authority = authority;
    *ret_path = (struct tarn_bytes){p, target.size};
    *ret_query = query;
    return true;
}

enum http_parameter_outcome http_query_find(struct tarn_bytes query, const char *name,
                                            struct tarn_bytes *ret_value)
{
    const char *p = query.data;
    size_t at = 0, name_size = strlen(name);
    enum http_parameter_outcome outcome = HTTP_PARAMETER_MISSING;

    while (at < query.size) {
        const char *amper = memchr(p + at, '&', query.size - at);
        size_t size = amper != NULL ? (size_t)(amper - (p + at)) : query.size - at;
        if (size > name_size && p[at + name_size] == '=' && memcmp(p + at, name, name_size) == 0) {
            if (outcome == HTTP_PARAMETER_FOUND)
                return HTTP_PARAMETER_TWICE;
            *ret_value = (struct tarn_bytes){p + at + name_size + 1, size - name_size - 1};
            outcome = HTTP_PARAMETER_FOUND;
        }
        at += size + 1;
    }
    return outcome;
}

/* --- the parameters of writes --- */

#define TTL_MS_MAX          (INT64_MAX / 2) /* added to a time it is one still */
#define PARAMETER_BYTES_MAX 96              /* longer ones are no numbers */

bool http_ttl_parse(struct tarn_bytes text, int64_t *ret_ms)
{
    uint64_t ns;

    if (!number_parse_duration(text, &ns) || ns == 0)
        return false;
    *ret_ms = (int64_t)(ns / 1000000 + (ns % 1000000 != 0));
    return true;
}

static bool parse_ttl_ms(struct tarn_bytes text, int64_t *ret_ms)
{
    return number_parse_int(text, ret_ms) && *ret_ms > 0 && *ret_ms <= TTL_MS_MAX;
}

static const char *read_parameter(struct tarn_bytes name, struct tarn_bytes value, unsigned takes,
                                  unsigned *seen, struct http_parameters *p)
{
    unsigned char decoded[PARAMETER_BYTES_MAX];
    struct tarn_bytes text = {decoded, 0};
    bool is_key = bytes_equal(name, bytes_of("key")), is_ttl = bytes_equal(name, bytes_of("ttl"));
    bool is_ttl_ms = bytes_equal(name, bytes_of("ttl_ms")),
         is_by = bytes_equal(name, bytes_of("by"));
    unsigned flag = is_key                ? HTTP_TAKES_KEY
                    : is_ttl || is_ttl_ms ? HTTP_TAKES_TTL
                    : is_by               ? HTTP_TAKES_BY
                                          : 0;

    if ((flag & takes) == 0)
        return takes & HTTP_TAKES_TTL  ? "unknown parameter: there are ttl and ttl_ms"
               : takes & HTTP_TAKES_BY ? "unknown parameter: there is by"
                                       : "unknown parameter";
    if (flag != HTTP_TAKES_KEY && (*seen & flag))
        return flag == HTTP_TAKES_TTL ? "ttl or ttl_ms is given twice" : "by is given twice";
    *seen |= flag;
    if (is_key)
        return NULL;
    bool ok = value.size <= sizeof decoded && http_query_decode(value, decoded, &text.size);
    if (is_ttl)
        return ok && http_ttl_parse(text, &p->ttl_ms)
                   ? NULL
                   : "ttl must be a time over 0: seconds (1.5), or with a unit (500ms, 10m, 2h)";
    if (is_ttl_ms)
        return ok && parse_ttl_ms(text, &p->ttl_ms)
                   ? NULL
                   : "ttl_ms must be a whole number of milliseconds over 0";
    return ok && number_parse_int(text, &p->by) ? NULL : "by is not an integer or out of range";
}

const char *http_parameters_parse(struct tarn_bytes query, unsigned takes,
                                  struct http_parameters *ret_parameters)
{
    const char *p = query.data, *problem = NULL;
    unsigned seen = 0;

    *ret_parameters = (struct http_parameters){.by = 1};
    for (size_t at = 0; at < query.size && problem == NULL;) {
        const char *amper = memchr(p + at, '&', query.size - at);
        size_t size = amper != NULL ? (size_t)(amper - (p + at)) : query.size - at;
        const char *equal = size > 0 ? memchr(p + at, '=', size) : NULL;
        size_t name_size = equal != NULL ? (size_t)(equal - (p + at)) : size;
        struct tarn_bytes name = {p + at, name_size};
        struct tarn_bytes value = {p + at + name_size + (equal != NULL),
                                   size - name_size - (equal != NULL)};
        if (size > 0)
            problem = read_parameter(name, value, takes, &seen, ret_parameters);
        at += size + 1;
    }
    return problem;
}

/* --- preferences --- */

/* How far a list's member, or a parameter of it, goes: to one of `ends` outside quotes. */
static size_t member_end(struct tarn_bytes field, size_t at, const char *ends)
{
    const char *p = field.data;
    bool quoted = false;

    for (; at < field.size; at++) {
        if (quoted && p[at] == '\\')
            at++;
        else if (p[at] == '"')
            quoted = !quoted;
        else if (!quoted && p[at] != 0 && strchr(ends, p[at]) != NULL)
            return at;
    }
    return field.size;
}

/* name=value or name="value", spaces around the sign allowed. */
static bool is_preference(struct tarn_bytes member, const char *name, const char *value)
{
    const char *p = member.data;
    const char *sign = member.size > 0 ? memchr(p, '=', member.size) : NULL;

    if (sign == NULL)
        return false;
    struct tarn_bytes left = http_trim((struct tarn_bytes){p, (size_t)(sign - p)});
    struct tarn_bytes right =
        http_trim((struct tarn_bytes){sign + 1, member.size - (size_t)(sign + 1 - p)});
    const char *text = right.data;
    if (right.size >= 2 && text[0] == '"' && text[right.size - 1] == '"')
        right = (struct tarn_bytes){text + 1, right.size - 2};
    return bytes_equal_nocase(left, name) && bytes_equal(right, bytes_of(value));
}

bool http_prefers(struct tarn_bytes field, const char *name, const char *value)
{
    const char *p = field.data;

    for (size_t at = 0; at < field.size;) {
        size_t end = member_end(field, at, ",");
        size_t first = member_end((struct tarn_bytes){p, end}, at, ";");
        if (is_preference((struct tarn_bytes){p + at, first - at}, name, value))
            return true;
        at = end + 1;
    }
    return false;
}
