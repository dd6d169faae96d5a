/* An option table with one row of every kind, for the tests of core/options. */
#ifndef LIB_SAMPLE_OPTIONS_H
#define LIB_SAMPLE_OPTIONS_H

#include "core/options.h"

struct sample {
    bool quiet, color;
    uint64_t port, seed, memory;
    struct option_range value_size;
    char *bind, *password;
    int level;
    uint64_t hidden, records, step_ns;
    double ratio;
};

static const char *const sample_levels[] = {"debug", "info", "warning", NULL};

#define FIELD(name) offsetof(struct sample, name)

static const struct option sample_rows[] = {
    {"quiet", OPTION_BOOL, FIELD(quiet), .meaning = "Say nothing"},
    {"color", OPTION_BOOL, FIELD(color), "yes", .meaning = "Use no color"},
    {"port", OPTION_UINT, FIELD(port), "6379", "N", "TCP port of RESP", .min = 1, .max = 65535},
    {"seed", OPTION_UINT, FIELD(seed), .argument = "N", .meaning = "Where random numbers start"},
    {"memory", OPTION_SIZE, FIELD(memory), "1G", "SIZE",
     "Most memory that data, index and buffers may take together, after which clients get errors",
     .min = 1 << 20, .max = 1ull << 40},
    {"value-size", OPTION_RANGE, FIELD(value_size), "20-50", "N|A-B", "Size of values", .min = 1,
     .max = 100},
    {"bind", OPTION_TEXT, FIELD(bind), "127.0.0.1", "ADDRESS", "Address to listen on"},
    {"password", OPTION_SECRET, FIELD(password), NULL, "TEXT", "Password that clients must give"},
    {"a-very-long-option-name", OPTION_WORD, FIELD(level), "info", "LEVEL", "Least level logged",
     .words = sample_levels, .flags = OPTION_ONLY_FLAG},
    {"records", OPTION_COUNT, FIELD(records), "1M", "N", "Number of records", .min = 1,
     .max = 1000000000000},
    {"step", OPTION_TIME, FIELD(step_ns), "1.5s", "TIME", "Time of a step", .min = 1000000,
     .max = 86400000000000},
    {"ratio", OPTION_REAL, FIELD(ratio), "0.95", "R", "Share of reads", .real_min = 0.001,
     .real_max = 1},
    {"hz", OPTION_UINT, FIELD(hidden), "10", .meaning = "known to clients only",
     .flags = OPTION_HIDDEN},
};

#undef FIELD

static const struct options sample_options = {sample_rows,
                                              sizeof sample_rows / sizeof sample_rows[0]};

#endif
