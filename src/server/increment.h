/* A value taken for a whole number and added to: INCR and its kin, POST /incr. */
#ifndef SERVER_INCREMENT_H
#define SERVER_INCREMENT_H

#include "tarn.h"

struct increment {
    int64_t by;
    int64_t result;      /* out, if problem is NULL */
    const char *problem; /* out: NULL, or why it cannot be, in Redis's words; nothing is changed */
    char text[20];       /* of the result */
    size_t text_size;
};

/* A tarn_change; context: a struct increment. A key that does not exist counts as 0; the expiry
 * stays. */
enum tarn_verdict increment(void *context, struct tarn_update *update);

#endif
