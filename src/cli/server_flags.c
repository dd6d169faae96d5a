/* Connecting to a server as the flags say; see server_flags.h. */
#include "cli/server_flags.h"

#include <stdlib.h>

#include "cli/resp_client.h"

int server_flags_password(const struct os *os, const struct server_flags *flags,
                          char room[PASSWORD_BYTES_MAX + 1], const char **ret_password,
                          struct tarn_error *error)
{
    if (*flags->password && *flags->password_file)
        return error_set(error, TARN_INVALID, "--password and --password-file exclude each other");
    *ret_password = flags->password;
    if (*flags->password_file) {
        *ret_password = room;
        return password_read(os, flags->password_file, room, error);
    }
    return TARN_OK;
}

int server_flags_connect(const struct os *os, const struct server_flags *flags,
                         const struct stream_address *address, struct stream **ret_stream,
                         struct tarn_error *error)
{
    char room[PASSWORD_BYTES_MAX + 1];
    const char *password;
    int status = server_flags_password(os, flags, room, &password, error);
    if (status != TARN_OK)
        return status;
    struct stream *stream = malloc(sizeof *stream);
    if (stream == NULL)
        return error_set(error, TARN_NOMEM, "out of memory");
    stream->fd = -1;
    status = stream_open(stream, address, server_flags_timeout_ms(flags), error);
    if (status == TARN_OK)
        status = resp_client_authenticate(stream, password, error);
    if (status == TARN_OK)
        *ret_stream = stream;
    else
        server_flags_disconnect(stream);
    return status;
}

void server_flags_disconnect(struct stream *stream)
{
    if (stream != NULL)
        stream_close(stream);
    free(stream);
}
