/* All that a store holds, by look-ups and by a scan, in the terms of lib/history.h. */
#ifndef LIB_STORE_LOOK_H
#define LIB_STORE_LOOK_H

#include "lib/history.h"
#include "tarn.h"

#define STORE_LOOK_FAILURE_BYTES 200

/* seen: zeroed; free with history_values_done(). time_ms: the store's, before and after. failure:
 * "", or what is wrong with the store whatever it should hold: keys that nobody made, a scan that
 * does not agree with look-ups, a read that fails. */
void store_look(struct tarn *store, struct history_value seen[HISTORY_KEYS], int64_t time_ms[2],
                char failure[STORE_LOOK_FAILURE_BYTES]);

#endif
