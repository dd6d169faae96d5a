/* The store behind tarn.h, with the operating system handed in. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "os/os.h"

/* tarn_open(), tarn_index_build() and tarn_verify() with this operating system (borrowed, must
 * outlive the store); the public functions pass the real one. */
TARN_MUST int store_open(const struct os *os, const struct tarn_options *options,
                         struct tarn **ret_store, struct tarn_error *error);
TARN_MUST int store_index_build(const struct os *os, const struct tarn_options *options,
                                struct tarn_index_report *ret_report, struct tarn_error *error);
TARN_MUST int store_verify(const struct os *os, const struct tarn_options *options,
                           struct tarn_verify_report *ret_report, struct tarn_error *error);

#endif
