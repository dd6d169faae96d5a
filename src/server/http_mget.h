/* POST /mget: a JSON list of keys in, a JSON object of values out. Pure but for the store. */
#ifndef SERVER_HTTP_MGET_H
#define SERVER_HTTP_MGET_H

#include "core/buffer.h"
#include "core/status.h"

/* Parse a JSON list of strings. body is overwritten: the keys are decoded in place and point into
 * it. ret_keys: an array to free() (NULL if the list is empty). Errors: INVALID (bad JSON or
 * UTF-8, or not such a list: the text names the byte, error->offset is set), TOOBIG (more than
 * keys_max keys), NOMEM. */
TARN_MUST int http_mget_parse(unsigned char *body, size_t size, size_t keys_max,
                              struct tarn_bytes **ret_keys, size_t *ret_count,
                              struct tarn_error *error);

/* Look all keys up at once (at one moment) and append {"key":value,...}. A key given
 * more than once appears once, where it came first. seed: random, so that nobody can send keys
 * that collide. A value is a string if it is UTF-8, else
 * {"base64":"..."}; null if there is no such key. Appends stop at out's bound (out->failed).
 * ret_hits/ret_misses count every key given. Errors: NOMEM, TOOBIG (out's bound), those of
 * tarn_get() (a key cannot be read). */
TARN_MUST int http_mget_answer(struct tarn_session *session, const struct tarn_bytes *keys,
                               size_t count, uint64_t seed, struct buffer *out, uint64_t *ret_hits,
                               uint64_t *ret_misses);

#endif
