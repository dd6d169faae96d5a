/* Goal: whatever call fails in the life of a store (opening, writing, a checkpoint, closing), with
 * whatever error, and however little a write takes: it says so, goes on reading, leaves nothing
 * open, and with a healthy disk all is there that was acknowledged, and nothing else.
 * Method: a store on a simulated disk is opened, changed, checkpointed and closed while the nth
 * call of an entry fails, for each n until there are no more; then it is opened again without. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/test.h"

#include "lib/fault_line.h"
#include "lib/fault_os.h"
#include "lib/simulated_disk.h"
#include "store/store.h"

enum { KEYS = 8, STEPS = 24, CHECKPOINT_AT = 12, VALUE_BYTES = 300, HANG_S = 300 };

/* What is stored under each key: the number of the step that did; 0: nothing. */
struct model {
    unsigned by[KEYS];
};

struct run {
    struct tarn_options options;
    struct model states[STEPS + 1]; /* after each step that was, or may have been, done */
    unsigned count;                 /* of these steps */
    unsigned must;                  /* so many of them must be there later */
    bool opened;
};

static struct simulated_disk disk;
static struct fault_os fault;
static uint64_t points;

static struct tarn_bytes key_of(unsigned key)
{
    static const char names[KEYS][2] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    return (struct tarn_bytes){names[key], 1};
}

static struct tarn_bytes value_of(unsigned step, unsigned char space[VALUE_BYTES])
{
    memset(space, (int)step, VALUE_BYTES);
    return (struct tarn_bytes){space, step % 6 == 1 ? 1 : VALUE_BYTES};
}

/* --- a life --- */

static int put_three(struct tarn_session *session, unsigned step, struct tarn_bytes value,
                     struct model *m)
{
    struct tarn_record records[3];
    for (unsigned i = 0; i < 3; i++) {
        unsigned key = (step + 3 * i) % KEYS;
        records[i] = (struct tarn_record){key_of(key), value, 0};
        m->by[key] = step;
    }
    return tarn_put_many(session, records, 3);
}

/* Step 1.. ; m becomes what it does to it. */
static int do_step(struct tarn_session *session, unsigned step, struct model *m)
{
    unsigned char space[VALUE_BYTES];
    struct tarn_bytes value = value_of(step, space);
    unsigned key = step % KEYS;
    if (step % 5 == 0)
        return put_three(session, step, value, m);
    if (step % 7 == 0) {
        m->by[key] = 0;
        int status = tarn_delete(session, key_of(key));
        return status == TARN_NOTFOUND ? TARN_OK : status;
    }
    m->by[key] = step;
    return tarn_put(session, key_of(key), value, 0);
}

static void note_checkpoint(struct run *r, struct tarn *store, struct tarn_session *session)
{
    struct tarn_error error = {.text = ""};
    tarn_offline(session);
    int status = tarn_checkpoint(store, &error);
    tarn_online(session);
    if (status == TARN_OK)
        r->must = r->count;
    else
        assert_true(error.status == status && error.text[0] != 0);
}

static void work(struct run *r, struct tarn *store, struct tarn_session *session)
{
    for (unsigned step = 1; step <= STEPS; step++) {
        struct model next = r->states[r->count];
        int status = do_step(session, step, &next);
        tarn_quiescent(session);
        if (status == TARN_OK || status == TARN_UNSURE) {
            r->states[++r->count] = next;
            if (status == TARN_OK && r->options.dial.durability != TARN_DURABILITY_ASYNC)
                r->must = r->count;
        } else if (status != TARN_IO && status != TARN_NOSPACE && status != TARN_NOMEM) {
            fail_msg("step %u: status %d", step, status);
        }
        if (step == CHECKPOINT_AT)
            note_checkpoint(r, store, session);
    }
}

static bool holds(struct tarn_session *session, const struct model *m)
{
    for (unsigned key = 0; key < KEYS; key++) {
        unsigned char space[VALUE_BYTES];
        struct tarn_bytes value, should = value_of(m->by[key], space);
        int status = tarn_get(session, key_of(key), &value);
        if (status < 0)
            fail_msg("a read gave status %d", status);
        if ((status == TARN_OK) != (m->by[key] != 0) ||
            (status == TARN_OK && !bytes_equal(value, should)))
            return false;
    }
    return true;
}

static void live(struct run *r)
{
    struct tarn *store;
    struct tarn_session *session;
    struct tarn_error error = {.text = ""};
    int status = store_open(&fault.os, &r->options, &store, &error);
    r->opened = status == TARN_OK;
    if (!r->opened) {
        assert_true(error.status == status && error.text[0] != 0);
        return;
    }
    assert_int_equal(tarn_session_open(store, &session, &error), TARN_OK);
    work(r, store, session);
    /* Reads go on; what may wait for a log that has failed is not asked for. */
    if (r->options.dial.durability != TARN_DURABILITY_COMMIT)
        assert_true(holds(session, &r->states[r->count]));
    tarn_session_close(session);
    tarn_close(store);
}

/* --- and what is left of it --- */

static void judge(const struct run *r)
{
    struct tarn *store;
    struct tarn_session *session;
    struct tarn_error error = {.text = ""};
    if (store_open(&disk.os, &r->options, &store, &error) != TARN_OK)
        fail_msg("it does not open: %s", error.text);
    assert_int_equal(tarn_session_open(store, &session, &error), TARN_OK);
    unsigned kept = r->count;
    while (kept > 0 && !holds(session, &r->states[kept]))
        kept--;
    if (!holds(session, &r->states[kept]) || kept < r->must)
        fail_msg("%u steps of %u are there, %u had to be", kept, r->count, r->must);
    tarn_session_close(session);
    tarn_close(store);
}

static void check_one(unsigned variant)
{
    struct run r = {.count = 0};
    r.options = (struct tarn_options){
        .directory = "/db",
        .log_files = 1 + variant / 3 % 2,
        .dial = {.durability = (enum tarn_durability)(TARN_DURABILITY_ASYNC + variant % 3),
                 .queue_depth = 5,
                 .period_us = 1000,
                 .log_format = (enum tarn_log_format)(variant % 3)},
    };
    disk_init(&disk, 1);
    alarm(HANG_S);
    live(&r);
    assert_true(fault_os_clean(&fault));
    judge(&r);
    alarm(0);
    if (!fault_os_fired(&fault))
        assert_true(r.opened && r.count == STEPS);
    disk_done(&disk);
    points++;
}

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { QUICK = 4 };
#else
enum { QUICK = 2 };
#endif
static unsigned denser = QUICK; /* from the nth call on only some are failed; 0: all are */

static uint64_t after(uint64_t nth)
{
    return nth + 1 + (denser > 0 ? denser * nth / 8 : 0);
}

static void test_failures(void **state)
{
    (void)state;
    static const enum fault_entry entries[] = {
        FAULT_OPEN,      FAULT_WRITE_AT, FAULT_SYNC,    FAULT_DATA_SYNC,     FAULT_TRUNCATE,
        FAULT_UNLINK,    FAULT_RENAME,   FAULT_READ_AT, FAULT_LIST,          FAULT_LOCK,
        FAULT_FILE_INFO, FAULT_ENTROPY,  FAULT_CLOSE,   FAULT_MAKE_DIRECTORY};
    static const int numbers[] = {EIO, ENOSPC, EMFILE, EINTR};
    unsigned turn = 0;
    for (size_t e = 0; e < sizeof entries / sizeof *entries; e++)
        for (size_t n = 0; n < sizeof numbers / sizeof *numbers; n++)
            for (unsigned variant = turn++ % 6; variant<12; variant += denser> 0 ? 6 : 1) {
                bool fired = true;
                for (uint64_t nth = 1; fired; nth = after(nth)) {
                    fault_os_reset(&fault);
                    fault_os_fail(&fault, entries[e], nth, numbers[n], variant >= 6);
                    check_one(variant);
                    fired = fault_os_fired(&fault);
                }
            }
}

static void test_short_transfers(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 31, 250};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (unsigned variant = s; variant<12; variant += denser> 0 ? 4 : 1) {
            enum fault_entry entry = variant < 6 || sizes[s] == 0 ? FAULT_WRITE_AT : FAULT_READ_AT;
            bool fired = true;
            for (uint64_t nth = 1; fired; nth = after(nth)) {
                fault_os_reset(&fault);
                fault_os_short(&fault, entry, nth, sizes[s]);
                check_one(variant);
                fired = fault_os_fired(&fault);
            }
        }
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_short_transfers),
    };
    (void)arguments;
    if (count > 1) /* the long form */
        denser = 0;
    fault_os_init(&fault, &disk.os);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    fault_line("calls that fail", points, (uint64_t)failed, 0);
    fault_os_done(&fault);
    return failed;
}
