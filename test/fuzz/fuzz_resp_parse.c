/* The RESP parser under arbitrary bytes: the same bytes give the same requests and the same error
 * whether they arrive whole, in two pieces or one by one, and nothing outside them is read.
 *
 * The first two bytes choose limits and the place of the cut, the rest is what a client sends. */
#include "lib/transcript.h"

#define BYTES_MAX    8192
#define SINGLE_BYTES 400 /* inputs up to this are also delivered byte by byte */

static const struct resp_limits limits[] = {
    {.args_max = 1 << 20,
     .arg_bytes_max = SIZE_MAX,
     .request_bytes_max = 64 << 20,
     .inline_bytes_max = 64 << 10},
    {.args_max = 10,
     .arg_bytes_max = 16 << 10,
     .request_bytes_max = 64 << 20,
     .inline_bytes_max = 64 << 10,
     .unauthenticated = true},
    {.args_max = 5, .arg_bytes_max = 20, .request_bytes_max = 60, .inline_bytes_max = 40},
    {.args_max = 1000, .arg_bytes_max = 300, .request_bytes_max = 500, .inline_bytes_max = 64},
};

/* Deliver the bytes in two pieces cut at `at`, or one by one. */
static void run(struct transcript *t, unsigned choice, struct tarn_bytes data, size_t at,
                bool single)
{
    const unsigned char *bytes = data.data;
    transcript_init(t, &limits[choice % (sizeof limits / sizeof limits[0])], data.size);
    if (single) {
        for (size_t i = 0; i < data.size; i++)
            transcript_feed(t, bytes + i, 1);
    } else {
        transcript_feed(t, bytes, at);
        transcript_feed(t, bytes + at, data.size - at);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    if (size < 3 || size > BYTES_MAX)
        return 0;
    struct tarn_bytes data = {input + 2, size - 2};
    struct transcript whole, cut, single;
    run(&whole, input[0], data, 0, false);
    run(&cut, input[0], data, (size_t)input[1] * 257 % data.size, false);
    ASSERT(bytes_equal(buffer_view(&whole.text), buffer_view(&cut.text)));
    if (data.size <= SINGLE_BYTES) {
        run(&single, input[0], data, 0, true);
        ASSERT(bytes_equal(buffer_view(&whole.text), buffer_view(&single.text)));
        transcript_done(&single);
    }
    transcript_done(&cut);
    transcript_done(&whole);
    return 0;
}
