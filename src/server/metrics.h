/* The same figures in three shapes: INFO text, Prometheus text, JSON. One table of metrics (name,
 * INFO field, Prometheus name and type, meaning) serves all three. */
#ifndef SERVER_METRICS_H
#define SERVER_METRICS_H

#include "server/server.h"

/* INFO's text: section "default", "all", "everything" or one section's name (case ignored). */
void metrics_info(struct server *server, struct tarn_bytes section, struct buffer *out);
void metrics_prometheus(struct server *server, struct buffer *out);
void metrics_json(struct server *server, struct buffer *out);

#endif
