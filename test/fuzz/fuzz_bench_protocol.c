/* The load generator's decoders under arbitrary bytes: nothing outside them is read, a complete
 * reply lies within them, and what is decided on the start of an answer is not decided otherwise
 * when more of it is there.
 *
 * The first byte chooses the protocol, the kind of request and the number of keys, the rest is what
 * a server sends. Replies are taken one after the other, as from a pipeline. */
#include "lib/protocol_feed.h"

#define BYTES_MAX   8192
#define EVERY_BYTES 256 /* inputs up to this are cut at every byte */
#define CUTS        23

static const struct protocol *const protocols[] = {&protocol_resp, &protocol_http,
                                                   &protocol_memcached};
static const size_t counts[] = {1, 2, 3, 7};
static const struct tarn_bytes keys[] = {{"a", 1}, {"b", 1}, {"a", 1}, {"key", 3},
                                         {"c", 1}, {"d", 1}, {"e", 1}};

/* False if the protocol has no such request. */
static bool choose(unsigned char choice, struct feed *f)
{
    const struct protocol *protocol = protocols[choice % 3];
    enum request_kind kind = (enum request_kind)(choice / 3 % 4);
    size_t count = kind == REQUEST_GET ? counts[choice / 12 % 4] : 1;
    if ((kind == REQUEST_SCAN && !protocol->scans) || count > protocol->get_keys_max)
        return false;
    feed_init(f, protocol, kind, keys, count, BYTES_MAX);
    return true;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct feed f;
    if (size < 2 || size > BYTES_MAX || !choose(data[0], &f))
        return 0;
    for (size_t at = 1; at < size;) {
        size_t left = size - at;
        size_t step = left <= EVERY_BYTES ? 1 : left / CUTS;
        if (feed_all(&f, data + at, left, step) != PROTOCOL_COMPLETE)
            break;
        at += f.size;
    }
    feed_done(&f);
    return 0;
}
