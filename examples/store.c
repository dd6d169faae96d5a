/* A writable store within a program: what tarn.h offers for it, once each.
 *
 *     cc -o store store.c $(pkg-config --cflags --libs tarn)
 *     ./store
 *
 * Two threads count visits; the main thread keeps sessions that expire, moves money between two
 * accounts in one step, and prints what the store holds at the end. Exit status: 0, or 1 if
 * something failed. It is C and C++. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tarn.h>

enum { THREADS = 2, VISITS = 1000 };

static struct tarn_bytes text(const char *s)
{
    struct tarn_bytes bytes = {s, strlen(s)};
    return bytes;
}

static void check(int status, const char *what)
{
    if (status == TARN_OK)
        return;
    fprintf(stderr, "%s: %s\n", what, tarn_status_text(status));
    exit(1);
}

static struct tarn_session *open_session(struct tarn *store)
{
    struct tarn_session *session;
    struct tarn_error error;
    if (tarn_session_open(store, &session, &error) != TARN_OK) {
        fprintf(stderr, "%s\n", error.text);
        exit(1);
    }
    return session;
}

/* --- a counter: read, change and write as one step --- */

struct addition {
    long long by;
    char text[24];
};

/* Called under a lock: short, and without calls into the store. */
static enum tarn_verdict add(void *context, struct tarn_update *update)
{
    struct addition *a = (struct addition *)context;
    char old[24] = "0";
    if (update->record.value.data != NULL && update->record.value.size < sizeof old) {
        memcpy(old, update->record.value.data, update->record.value.size);
        old[update->record.value.size] = 0;
    }
    snprintf(a->text, sizeof a->text, "%lld", strtoll(old, NULL, 10) + a->by);
    update->record.value = text(a->text);
    return TARN_STORE;
}

static void add_to(struct tarn_session *session, const char *key, long long by)
{
    struct addition a = {by, ""};
    check(tarn_update(session, text(key), add, &a), "cannot add");
}

/* A thread has a session of its own. */
static void *count_visits(void *store)
{
    struct tarn_session *session = open_session((struct tarn *)store);
    for (int i = 0; i < VISITS; i++) {
        add_to(session, "visits", 1);
        tarn_quiescent(session);
    }
    tarn_session_close(session);
    return NULL;
}

/* --- several keys as one step: nobody sees the money on neither account, or on both --- */

static void transfer(struct tarn_session *session, const char *from, const char *to, long long sum)
{
    struct tarn_bytes keys[2] = {text(from), text(to)};
    tarn_begin(session, keys, 2);
    add_to(session, from, -sum);
    add_to(session, to, sum);
    tarn_end(session);
}

/* --- reading --- */

static void print_many(struct tarn_session *session, const struct tarn_bytes *keys, size_t count)
{
    struct tarn_bytes values[8];
    size_t found = tarn_get_many(session, keys, count, values);
    printf("%zu of %zu found\n", found, count);
    for (size_t i = 0; i < count; i++)
        printf("%.*s = %.*s\n", (int)keys[i].size, (const char *)keys[i].data,
               values[i].data != NULL ? (int)values[i].size : 6,
               values[i].data != NULL ? (const char *)values[i].data : "(none)");
    tarn_quiescent(session); /* the values may now go away */
}

/* Create a key only if nobody has. */
static bool is_absent(void *context, const struct tarn_record *present)
{
    (void)context;
    return present->value.data == NULL;
}

static void use(struct tarn *store, struct tarn_session *session)
{
    struct tarn_record accounts[2] = {{text("account:a"), text("100"), 0},
                                      {text("account:b"), text("0"), 0}};
    check(tarn_put_many(session, accounts, 2), "cannot store the accounts");
    transfer(session, "account:a", "account:b", 30);

    int64_t in_a_minute = tarn_now_ms(store) + 60000;
    check(tarn_put(session, text("session:1"), text("alice"), in_a_minute), "cannot put");
    int status = tarn_put_if(session, text("session:1"), text("mallory"), 0, is_absent, NULL);
    printf("second session:1: %s\n", status == TARN_CANCELLED ? "refused" : "stored");
    check(tarn_put(session, text("session:2"), text("bob"), in_a_minute), "cannot put");
    check(tarn_expire(session, text("session:2"), 1), "cannot expire"); /* that was long ago */

    struct tarn_record record;
    check(tarn_get_record(session, text("session:1"), &record), "cannot get");
    printf("session:1 expires: %s\n", record.expire_ms == in_a_minute ? "in a minute" : "?");
    check(tarn_delete(session, text("session:1")), "cannot delete");
}

int main(void)
{
    struct tarn_options options; /* no path: a store in memory */
    struct tarn *store;
    struct tarn_error error;
    pthread_t threads[THREADS];

    memset(&options, 0, sizeof options);
    options.memory_bytes_max = 64ull << 20;
    if (tarn_open(&options, &store, &error) != TARN_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, count_visits, store) != 0)
            return 1;
    struct tarn_session *session = open_session(store);
    use(store, session);
    tarn_offline(session); /* while it waits, nobody need wait for it */
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    tarn_online(session);

    struct tarn_bytes keys[] = {text("visits"), text("account:a"), text("account:b"),
                                text("session:1"), text("session:2")};
    print_many(session, keys, sizeof keys / sizeof keys[0]);
    tarn_session_close(session);
    tarn_close(store);
    return 0;
}
