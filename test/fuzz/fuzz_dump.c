/* The reader of RESTORE's payloads under arbitrary bytes: whatever they are, nothing outside them
 * is read, no size is believed, and a string that is found is written and read again to the same.
 *
 * The bytes are a payload as it is, and once more the part before the footer of a payload whose
 * version and checksum are right: so the fuzzer gets past the checksum. */
#include <stdlib.h>

#include "core/assert.h"
#include "core/codec.h"
#include "core/crc64.h"
#include "core/dump.h"

#define BYTES_MAX (64u << 10)

/* In memory of exactly its size, so that one byte too many is found. */
static unsigned char *seal(const uint8_t *body, size_t size)
{
    unsigned char *payload = malloc(size + DUMP_FOOTER_BYTES);
    ASSERT(payload != NULL);
    memcpy(payload, body, size);
    store_u16le(payload + size, DUMP_VERSION);
    store_u64le(payload + size + 2, crc64_update(0, payload, size + 2));
    return payload;
}

static void check_round_trip(struct tarn_bytes value)
{
    struct dump_head head;
    struct dump_string again;
    unsigned char footer[DUMP_FOOTER_BYTES];
    dump_begin(value, &head);
    dump_end(&head, footer);
    size_t size = head.header_size + head.body.size + sizeof footer;
    unsigned char *payload = malloc(size);
    ASSERT(payload != NULL);
    memcpy(payload, head.header, head.header_size);
    memcpy(payload + head.header_size, head.body.data, head.body.size);
    memcpy(payload + size - sizeof footer, footer, sizeof footer);
    ASSERT(dump_parse((struct tarn_bytes){payload, size}, &again) == DUMP_STRING);
    ASSERT(!again.packed && bytes_equal(again.bytes, value));
    free(payload);
}

static void parse(const unsigned char *payload, size_t size)
{
    struct dump_string string;
    if (dump_parse((struct tarn_bytes){payload, size}, &string) != DUMP_STRING)
        return;
    if (!string.packed) {
        check_round_trip(string.bytes);
        return;
    }
    ASSERT(string.size <= 100 * size);
    unsigned char *out = malloc(string.size);
    ASSERT(out != NULL);
    if (dump_unpack(&string, out))
        check_round_trip((struct tarn_bytes){out, string.size});
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    if (size > BYTES_MAX)
        return 0;
    parse(input, size);
    unsigned char *payload = seal(input, size);
    parse(payload, size + DUMP_FOOTER_BYTES);
    free(payload);
    return 0;
}
