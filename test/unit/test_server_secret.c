/* Goal: passwords compare equal exactly when all bytes do, whatever the lengths (lengths that are
 * multiples of each other, prefixes, NULs).
 * Method: a table of pairs, each in exact heap copies so that a sanitizer sees a read too far. */
#include "server/secret.h"

#include <stdlib.h>

#include "lib/test.h"

static struct tarn_bytes copy_of(const char *text, size_t size)
{
    char *copy = malloc(size > 0 ? size : 1);
    memcpy(copy, text, size);
    return (struct tarn_bytes){copy, size};
}

static void test_equal(void **state)
{
    (void)state;
    static const struct {
        const char *given;
        size_t given_size;
        const char *wanted;
        size_t wanted_size;
        bool equal;
    } pairs[] = {
        {"secret", 6, "secret", 6, true},
        {"secret", 6, "Secret", 6, false},
        {"secreT", 6, "secret", 6, false},
        {"secre", 5, "secret", 6, false},
        {"secretsecret", 12, "secret", 6, false},
        {"secret", 6, "secretsecret", 12, false},
        {"", 0, "secret", 6, false},
        {"secret", 6, "", 0, false},
        {"", 0, "", 0, true},
        {"a\0b", 3, "a\0b", 3, true},
        {"a\0b", 3, "a\0c", 3, false},
        {"\0", 1, "", 0, false},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct tarn_bytes given = copy_of(pairs[i].given, pairs[i].given_size);
        struct tarn_bytes wanted = copy_of(pairs[i].wanted, pairs[i].wanted_size);
        assert_int_equal(secret_equal(given, wanted), pairs[i].equal);
        free((void *)(uintptr_t)given.data);
        free((void *)(uintptr_t)wanted.data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_equal)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
