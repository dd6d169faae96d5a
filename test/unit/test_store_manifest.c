/* Goal: a manifest comes back as it was written, and no other text is taken for one. Method: every
 * bit of the text flipped, every length of it, text after it; numbers of all sizes.
 *
 * Bugs planted once to see it fail: the comparison with the text written anew left out (numbers
 * with leading zeros pass); `last` not written. */
#include "lib/test.h"

#include <stdlib.h>
#include <string.h>

#include "store/manifest.h"

static struct manifest sample(unsigned files)
{
    struct manifest m = {
        .store_id = UINT64_MAX,
        .generation = 7,
        .checkpoint_number = 3,
        .checkpoint_checksum = 0x123456789abcdef,
        .sequence = 1000,
        .sequence_needed = 1010,
        .closed = true,
        .closed_sequence = 2000,
        .time_ms = 1790000000000,
        .files = files,
    };
    for (unsigned i = 0; i < files; i++) {
        m.first[i] = 10 * i;
        m.last[i] = i % 2 ? 10 * i + 5 : 0;
    }
    return m;
}

static struct buffer text_of(const struct manifest *m)
{
    struct buffer text = {.size_max = MANIFEST_BYTES_MAX};
    manifest_write(m, &text);
    assert_false(text.failed);
    return text;
}

static void comes_back(void **state)
{
    (void)state;
    for (unsigned files = 0; files <= WAL_FILES_MAX; files++) {
        struct manifest m = sample(files), again;
        struct buffer text = text_of(&m);
        memset(&again, 0xff, sizeof again);
        assert_true(manifest_read(buffer_view(&text), &again));
        struct buffer second = text_of(&again);
        assert_true(bytes_equal(buffer_view(&text), buffer_view(&second)));
        assert_true(again.store_id == m.store_id && again.sequence == m.sequence &&
                    again.sequence_needed == m.sequence_needed && again.closed &&
                    again.closed_sequence == m.closed_sequence && again.time_ms == m.time_ms &&
                    again.files == files);
        assert_memory_equal(again.first, m.first, files * sizeof *m.first);
        assert_memory_equal(again.last, m.last, files * sizeof *m.last);
        buffer_done(&text);
        buffer_done(&second);
    }
}

static void no_other_text(void **state)
{
    (void)state;
    struct manifest m = sample(3), again;
    struct buffer text = text_of(&m);
    for (size_t bit = 0; bit < text.size * 8; bit++) {
        text.data[bit / 8] ^= (unsigned char)(1u << bit % 8);
        assert_false(manifest_read(buffer_view(&text), &again));
        text.data[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    for (size_t size = 0; size < text.size; size++)
        assert_false(manifest_read((struct tarn_bytes){text.data, size}, &again));
    assert_true(manifest_read(buffer_view(&text), &again));
    buffer_append_byte(&text, '\n');
    assert_false(manifest_read(buffer_view(&text), &again));
    buffer_done(&text);
}

/* A sound checksum does not make up for fields that cannot be. */
static void too_many_files(void **state)
{
    (void)state;
    struct manifest m = sample(1), again;
    m.files = WAL_FILES_MAX + 1;
    struct buffer text = {.size_max = MANIFEST_BYTES_MAX};
    struct manifest big = m;
    big.files = WAL_FILES_MAX;
    manifest_write(&big, &text);
    char *files = strstr((char *)text.data, "files 64");
    assert_non_null(files);
    files[7] = '5'; /* 65 */
    files[6] = '6';
    assert_false(manifest_read(buffer_view(&text), &again));
    buffer_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back),
        cmocka_unit_test(no_other_text),
        cmocka_unit_test(too_many_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
