/* The calls of tarn.h that read: each asks the part that the session has, and waits where what it
 * saw may still be lost. */
#include "store/session.h"

#include <string.h>

int tarn_get_record(struct tarn_session *session, struct tarn_bytes key,
                    struct tarn_record *ret_record)
{
    struct table_session *table = session_table(session);
    if (table != NULL)
        return session_settle(session, table_get(table, key, ret_record));
    struct far_session *far = session_far(session);
    if (far != NULL)
        return far_get(far, key, ret_record);
    struct tarn_bytes value;
    int status = pack_get(session_pack(session), key, &value);
    if (status == TARN_OK)
        *ret_record = (struct tarn_record){key, value, 0};
    return status;
}

int tarn_get(struct tarn_session *session, struct tarn_bytes key, struct tarn_bytes *ret_value)
{
    struct table_session *table = session_table(session);
    struct far_session *far = session_far(session);
    if (table == NULL && far == NULL)
        return pack_get(session_pack(session), key, ret_value);
    struct tarn_record record;
    int status = far != NULL ? far_get(far, key, &record)
                             : session_settle(session, table_get(table, key, &record));
    if (status == TARN_OK)
        *ret_value = record.value;
    return status;
}

size_t tarn_get_many(struct tarn_session *session, const struct tarn_bytes *keys, size_t count,
                     struct tarn_bytes *ret_values)
{
    struct table_session *table = session_table(session);
    if (table != NULL)
        return session_settle_count(session, table_get_many(table, keys, count, ret_values));
    struct far_session *far = session_far(session);
    if (far != NULL)
        return far_get_many(far, keys, count, ret_values);
    return pack_get_many(session_pack(session), keys, count, ret_values);
}

size_t tarn_get_together(struct tarn_session *session, const struct tarn_bytes *keys, size_t count,
                         struct tarn_bytes *ret_values)
{
    struct table_session *table = session_table(session);
    if (table != NULL)
        return session_settle_count(session, table_get_together(table, keys, count, ret_values));
    return tarn_get_many(session, keys, count, ret_values); /* nothing of it changes */
}

void tarn_prefetch(struct tarn_session *session, const struct tarn_bytes *keys, size_t count)
{
    struct table_session *table = session_table(session);
    struct far_session *far = session_far(session);
    if (table != NULL)
        table_prefetch(table, keys, count);
    else if (far != NULL)
        far_prefetch(far, keys, count);
}

int tarn_scan(struct tarn_session *session, uint64_t *cursor, size_t count, tarn_visit visit,
              void *context)
{
    struct table_session *table = session_table(session);
    size_t wanted = count ? count : 1;
    if (session->durable != NULL)
        return session_settle(
            session, base_scan(&session->durable->base, session, cursor, wanted, visit, context));
    struct far_session *far = session_far(session);
    if (far != NULL)
        return far_scan(far, cursor, wanted, visit, context);
    if (table != NULL)
        table_scan(table, cursor, wanted, visit, context);
    else
        pack_scan(session_pack(session), cursor, wanted, visit, context);
    return TARN_OK;
}

int tarn_random_key(struct tarn_session *session, uint64_t random, struct tarn_bytes *ret_key)
{
    struct table_session *table = session_table(session);
    if (session->durable != NULL)
        return session_settle(session,
                              base_random_key(&session->durable->base, session, random, ret_key));
    if (table != NULL)
        return table_random_key(table, random, ret_key);
    struct far_session *far = session_far(session);
    if (far != NULL)
        return far_random_key(far, random, ret_key);
    return pack_random_key(session_pack(session), random, ret_key);
}

/* What a key takes beside its item or its key and value: the table, or file framing and index,
 * shared equally; rounded up. */
static uint64_t overhead_per_key(const struct tarn_stats *stats)
{
    uint64_t payload = stats->key_bytes_total + stats->value_bytes_total;
    uint64_t framing = stats->data_bytes > payload ? stats->data_bytes - payload : 0;
    uint64_t count = stats->records > 0 ? stats->records : 1;
    uint64_t bytes = stats->writable ? stats->table_bytes : framing + stats->index_bytes;
    return (bytes + count - 1) / count;
}

/* What is known of a key: when it expires, how large it is. */
static int get_about(struct tarn_session *session, struct tarn_bytes key,
                     struct table_about *ret_about)
{
    struct table_session *table = session_table(session);
    struct far_session *far = session_far(session);
    struct far_record *not_read;
    struct tarn_record record = {.expire_ms = 0};
    if (table != NULL)
        return session_settle(session, table_about(table, key, ret_about));
    int status = far != NULL ? far_find(far, key, &record, &not_read)
                             : pack_get(session_pack(session), key, &record.value);
    if (status == TARN_OK)
        *ret_about = (struct table_about){record.expire_ms, key.size + record.value.size};
    return status;
}

int tarn_get_expiry(struct tarn_session *session, struct tarn_bytes key, int64_t *ret_expire_ms)
{
    struct table_about about;
    int status = get_about(session, key, &about);
    if (status == TARN_OK)
        *ret_expire_ms = about.expire_ms;
    return status;
}

int tarn_usage(struct tarn_session *session, struct tarn_bytes key, uint64_t *ret_bytes)
{
    struct tarn_stats stats;
    struct table_about about;
    int status = get_about(session, key, &about);
    if (status != TARN_OK)
        return status;
    tarn_stats_get(session->store, &stats);
    *ret_bytes = overhead_per_key(&stats) + about.item_bytes;
    return TARN_OK;
}

int64_t tarn_now_ms(struct tarn *store)
{
    if (store->table != NULL)
        return table_now_ms(store->table);
    return store->os->realtime_us(store->os) / 1000;
}
