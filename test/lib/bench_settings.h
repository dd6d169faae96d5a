/* Settings of tarn bench as a command line gives them. Include lib/test.h first. */
#ifndef LIB_BENCH_SETTINGS_H
#define LIB_BENCH_SETTINGS_H

#include <string.h>

#include "bench/settings.h"
#include "core/bytes.h"

/* "name=value" or "name" for a switch. */
static inline void bench_set(struct settings *s, const char *word)
{
    struct tarn_error error = {0};
    const char *equals = strchr(word, '=');
    struct tarn_bytes name = {word, equals ? (size_t)(equals - word) : strlen(word)};
    const struct option *row = options_find(&settings_options, name);
    assert_non_null(row);
    if (options_set(row, s, bytes_of(equals ? equals + 1 : "yes"), &error) != TARN_OK)
        fail_msg("%s", error.text);
}

/* Defaults, then each of these words; bench_settings_done() when they are not needed any more. */
static inline void bench_settings_init(struct settings *s, const char *const *words)
{
    options_init(&settings_options, s);
    for (; *words; words++)
        bench_set(s, *words);
}
#define BENCH_SETTINGS(s, ...) bench_settings_init(s, (const char *const[]){__VA_ARGS__, NULL})

static inline void bench_settings_done(struct settings *s)
{
    options_done(&settings_options, s);
}

#endif
