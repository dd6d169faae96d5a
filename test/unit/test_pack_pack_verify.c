/* Goal: what pack_verify() accepts answers every key as the model does; what it refuses, it names.
 * Method: sound packs in all formats; then each part of index and data changed in memory, byte by
 * byte: either the change is reported, or it has changed no answer.
 *
 * Bugs planted once to see it fail: pack_record_starts() not asked; the
 * count of live keys not compared; the wrong one of two records with a key accepted. */
#include "lib/test.h"

#include "lib/memory_pack.h"

static const struct tarn_options options = {.path = "the-file", .threads = 1};

static int verify(const struct memory_pack *m, struct tarn_verify_report *ret_report,
                  struct tarn_error *error)
{
    return pack_verify(&m->pack, &options, ret_report, error);
}

static void sound(void **context)
{
    (void)context;
    for (size_t i = 0; i < dataset_formats_count; i++) {
        for (size_t count = 0; count < 2000; count = count * 5 + 1) {
            struct dataset d;
            struct memory_pack m;
            struct tarn_verify_report report;
            struct tarn_error error;
            dataset_init(&d, &dataset_formats[i]);
            dataset_add_random(&d, count, count, 6, 50, count % 2 ? 4 : 0);
            dataset_drop_last_newline(&d);
            memory_pack_init(&m, &d, count % 3 == 0, 1, count > 100 ? ~0ull << 57 : 0);
            if (verify(&m, &report, &error) != TARN_OK)
                fail_msg("%s", error.text);
            assert_int_equal(report.records, d.count);
            assert_int_equal(report.keys, d.live);
            assert_int_equal(report.data_bytes, d.data.size);
            assert_int_equal(report.blocks, d.data.size > 0);
            assert_int_equal(report.index_bytes, index_bytes(m.pack.index));
            memory_pack_done(&m);
            dataset_done(&d);
        }
    }
}

/* Verify a pack that was tampered with. Returns whether that was seen. */
static bool seen(const struct memory_pack *m, const struct dataset *d)
{
    struct tarn_verify_report report;
    struct tarn_error error = {0};
    int status = verify(m, &report, &error);
    if (status != TARN_OK) {
        assert_true(status == TARN_CORRUPT || status == TARN_TOOBIG);
        assert_non_null(strstr(error.text, "the-file"));
        return true;
    }
    for (size_t i = 0; i < d->count; i++) {
        struct tarn_bytes value;
        status = pack_get(&m->pack, dataset_key(d, i), &value);
        check_answer(&m->pack, d, dataset_key(d, i), status, value);
    }
    return false;
}

/* Trips on: a function or a table that is not what the records need. */
static void body_changed(void **context)
{
    (void)context;
    for (size_t i = 0; i < dataset_formats_count; i++) {
        struct dataset d;
        struct memory_pack m;
        size_t changes = 0, noticed = 0;
        dataset_init(&d, &dataset_formats[i]);
        dataset_add_random(&d, 5, 200, 6, 20, i % 2 ? 5 : 0);
        memory_pack_init(&m, &d, i % 4 == 1, 1, ~0ull << 58);
        struct index *index = m.pack.index;
        assert_true(index->exception_count > 0);
        unsigned char *body = index->body;
        size_t first = (size_t)((const unsigned char *)index->exceptions - body);
        for (size_t at = first; at < index->body_bytes; at += TEST_SLOWER) {
            const unsigned char *p = body + at;
            if (p >= (const unsigned char *)index->checksums &&
                p < (const unsigned char *)(index->checksums + 1))
                continue; /* these are compared when the data are loaded */
            body[at] ^= 0x11;
            noticed += seen(&m, &d);
            changes++;
            body[at] ^= 0x11;
        }
        assert_true(noticed > changes / 4);
        memory_pack_done(&m);
        dataset_done(&d);
    }
}

/* Trips on: starts that the table does not know, even of records that no key leads to. */
static void sync_changed(void **context)
{
    (void)context;
    for (int same = 0; same < 2; same++) {
        struct dataset d;
        struct memory_pack m;
        dataset_init(&d, &dataset_formats[2]);
        for (int i = 0; same && i < 200; i++)
            dataset_add_text(&d, "the same key", "value");
        if (!same)
            dataset_add_random(&d, 5, 200, 6, 20, 0);
        memory_pack_init(&m, &d, TARN_DUPLICATES_LAST, 1, 0);
        unsigned char *body = m.pack.index->body;
        unsigned char *sync = body + (m.pack.index->sync - body);
        uint64_t blocks = sync_block_count(&d.format, d.data.size);
        for (uint64_t b = 0; b < blocks; b++) {
            unsigned char old = sync[b];
            if (old == SYNC_NONE)
                continue;
            sync[b] = SYNC_NONE;
            assert_true(seen(&m, &d));
            sync[b] = (unsigned char)(old + 1);
            assert_true(seen(&m, &d));
            sync[b] = old;
        }
        memory_pack_done(&m);
        dataset_done(&d);
    }
}

/* Trips on: counts that nobody holds against the records. */
static void counts_changed(void **context)
{
    (void)context;
    struct dataset d;
    struct memory_pack m;
    dataset_init(&d, &dataset_formats[0]);
    dataset_add_random(&d, 5, 300, 3, 20, 3);
    memory_pack_init(&m, &d, TARN_DUPLICATES_LAST, 1, 0);
    struct index *index = m.pack.index;
    assert_true(index->duplicates > 1);
    index->records++;
    assert_true(seen(&m, &d));
    index->records -= 2;
    assert_true(seen(&m, &d));
    index->records++;
    index->duplicates++;
    assert_true(seen(&m, &d));
    index->duplicates -= 2;
    assert_true(seen(&m, &d));
    index->duplicates = 0;
    assert_true(seen(&m, &d));
    index->duplicates = d.duplicates;
    assert_false(seen(&m, &d));
    memory_pack_done(&m);
    dataset_done(&d);
}

/* Trips on: a record that does not parse, or whose key another record answers for, named wrongly.
 */
static void data_changed(void **context)
{
    (void)context;
    struct dataset d;
    struct memory_pack m;
    struct tarn_verify_report report;
    struct tarn_error error;
    dataset_init(&d, &dataset_formats[2]);
    for (int i = 0; i < 100; i++) {
        char key[3] = {(char)('a' + i / 10), (char)('0' + i % 10), 0};
        dataset_add_text(&d, key, "value");
    }
    memory_pack_init(&m, &d, TARN_DUPLICATES_LAST, 1, 0);
    for (size_t r = 0; r < d.count; r++) {
        unsigned char *key = m.data + d.records[r].key_at;
        *key = 'Z'; /* a key that is not in the set, unless the function leads it there by chance */
        struct tarn_bytes value;
        if (pack_get(&m.pack, (struct tarn_bytes){key, 2}, &value) == TARN_NOTFOUND) {
            assert_int_equal(verify(&m, &report, &error), TARN_CORRUPT);
            assert_int_equal(error.record, r);
            assert_int_equal(error.offset, d.records[r].offset);
        }
        *key = d.data.data[d.records[r].key_at];
        unsigned char *size = m.data + d.records[r].offset + 3;
        *size = 1; /* a size over the limit */
        assert_int_equal(verify(&m, &report, &error), TARN_TOOBIG);
        assert_int_equal(error.record, r);
        *size = 0;
    }
    assert_int_equal(verify(&m, &report, &error), TARN_OK);
    memory_pack_done(&m);
    dataset_done(&d);
}

static bool refuse(void *context, const char *phase, uint64_t done, uint64_t total)
{
    (void)phase;
    assert_true(done <= total);
    *(int *)context += 1;
    return false;
}

static void cancelled(void **context)
{
    (void)context;
    struct dataset d;
    struct memory_pack m;
    struct tarn_verify_report report;
    struct tarn_error error;
    int asked = 0;
    struct tarn_options cancelling = options;
    cancelling.progress = refuse;
    cancelling.progress_context = &asked;
    dataset_init(&d, &dataset_formats[0]);
    dataset_add_random(&d, 1, 10000, 6, 6, 0);
    memory_pack_init(&m, &d, TARN_DUPLICATES_LAST, 1, 0);
    assert_int_equal(pack_verify(&m.pack, &cancelling, &report, &error), TARN_CANCELLED);
    assert_int_equal(asked, 1);
    memory_pack_done(&m);
    dataset_done(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound),        cmocka_unit_test(body_changed),
        cmocka_unit_test(sync_changed), cmocka_unit_test(counts_changed),
        cmocka_unit_test(data_changed), cmocka_unit_test(cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
