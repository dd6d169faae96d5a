/* Look up keys of a data file with libtarn: the smallest program that embeds the store.
 *
 *     cc -o get get.c $(pkg-config --cflags --libs tarn)
 *     cc -o get get.c $(pkg-config --cflags --libs --static tarn)
 *     ./get FILE KEY...
 *
 * Prints the value of each key on a line of its own. Exit status: 0 if all were found, 1 if one
 * was not, 2 if the file could not be opened. */
#include <stdio.h>
#include <string.h>
#include <tarn.h>

/* Print the value of every key; how many were not found. */
static int print_values(struct tarn_session *session, char **keys, int count)
{
    int missing = 0;
    for (int i = 0; i < count; i++) {
        struct tarn_bytes value;
        if (tarn_get(session, (struct tarn_bytes){keys[i], strlen(keys[i])}, &value) == TARN_OK) {
            fwrite(value.data, 1, value.size, stdout);
            putchar('\n');
        } else {
            fprintf(stderr, "%s: %s\n", keys[i], tarn_status_text(TARN_NOTFOUND));
            missing++;
        }
        tarn_quiescent(session); /* `value` may now go away */
    }
    return missing;
}

int main(int argc, char **argv)
{
    struct tarn *store = NULL;
    struct tarn_session *session = NULL;
    struct tarn_error error;
    int status = 2;

    if (argc < 2) {
        fprintf(stderr, "usage: %s FILE KEY...\n", argv[0]);
        return 2;
    }
    struct tarn_options options = {.path = argv[1]};
    if (tarn_open(&options, &store, &error) != TARN_OK)
        goto failed;
    if (tarn_session_open(store, &session, &error) != TARN_OK)
        goto failed;
    status = print_values(session, argv + 2, argc - 2) == 0 ? 0 : 1;
    goto done;

failed:
    fprintf(stderr, "%s\n", error.text);
done:
    tarn_session_close(session);
    tarn_close(store);
    return status;
}
