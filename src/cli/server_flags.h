/* The flags of commands that ask a server: password and time-out. */
#ifndef CLI_SERVER_FLAGS_H
#define CLI_SERVER_FLAGS_H

#include "cli/cli.h"
#include "cli/password.h"
#include "cli/stream.h"

struct server_flags {
    char *password, *password_file;
    uint64_t timeout_seconds;
};

/* Their rows in an option table; `at`: offset of the struct server_flags in the option values. */
#define SERVER_FLAGS_ROWS(at, timeout)                                                             \
    {"password",                                                                                   \
     OPTION_SECRET,                                                                                \
     (at) + offsetof(struct server_flags, password),                                               \
     "",                                                                                           \
     "PASSWORD",                                                                                   \
     "The server's password; others on this machine can see it in the list of processes"},         \
        {"password-file",                                                                          \
         OPTION_TEXT,                                                                              \
         (at) + offsetof(struct server_flags, password_file),                                      \
         "",                                                                                       \
         "FILE",                                                                                   \
         "Take the password from the first line of FILE"},                                         \
    {                                                                                              \
        "timeout", OPTION_UINT, (at) + offsetof(struct server_flags, timeout_seconds), timeout,    \
            "SECONDS", "Give up when the server is silent for so long", .min = 1, .max = 86400     \
    }

/* The password of the flags; *ret_password is "" if there is none, and lives as long as the flags
 * and `room`. Errors: INVALID (both flags), those of password_read(). */
TARN_MUST int server_flags_password(const struct os *os, const struct server_flags *flags,
                                    char room[PASSWORD_BYTES_MAX + 1], const char **ret_password,
                                    struct tarn_error *error);

static inline unsigned server_flags_timeout_ms(const struct server_flags *flags)
{
    return (unsigned)flags->timeout_seconds * 1000;
}

/* Connect over RESP and authenticate; the caller closes and frees the stream. Errors: those of
 * server_flags_password(), stream_open() and resp_client_authenticate(), NOMEM. */
TARN_MUST int server_flags_connect(const struct os *os, const struct server_flags *flags,
                                   const struct stream_address *address, struct stream **ret_stream,
                                   struct tarn_error *error);
void server_flags_disconnect(struct stream *stream); /* NULL is allowed */

#endif
