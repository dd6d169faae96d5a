/* Settings that Redis has by other names and with other values: appendonly, appendfsync, save. */
#ifndef SERVER_CONFIG_REDIS_H
#define SERVER_CONFIG_REDIS_H

#include "server/config.h"

struct config_mapped {
    const char *name;     /* Redis's */
    const char *row_name; /* the setting behind it */
    void (*get)(const struct config *config, struct buffer *out);
    /* The setting's value that means the same as Redis's, appended to out. NULL, or why there is
     * none, in Redis's words where it has some. */
    const char *(*set)(const struct config *config, struct tarn_bytes value, struct buffer *out);
};
enum { CONFIG_MAPPED_COUNT = 3 };
extern const struct config_mapped config_mapped[CONFIG_MAPPED_COUNT];

/* By its name, case ignored; NULL. */
const struct config_mapped *config_mapped_find(struct tarn_bytes name);

#endif
