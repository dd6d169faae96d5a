/* POST /mset: keys and values in JSON. Pure. */
#ifndef SERVER_HTTP_MSET_H
#define SERVER_HTTP_MSET_H

#include "core/status.h"

/* Parse {"key":value,...} or [[key,value],[key,value,ttl],...]. Keys of a list, and values, are
 * strings or {"base64":"..."}; ttl is as http_ttl_parse() takes it. body is overwritten: keys and
 * values are decoded in place and point into it. ret_records: an array to free() (NULL if there is
 * none), in the order given; expire_ms is how many ms a record is to live, 0 if it does not say.
 * Errors: INVALID (the text names the byte, error->offset is set), TOOBIG (more than records_max),
 * NOMEM. */
TARN_MUST int http_mset_parse(unsigned char *body, size_t size, size_t records_max,
                              struct tarn_record **ret_records, size_t *ret_count,
                              struct tarn_error *error);

#endif
