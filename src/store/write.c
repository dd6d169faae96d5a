/* The calls of tarn.h that change something: admitted by the log, done by the table, waited for. */
#include "store/session.h"

#include <stdlib.h>

#define WRITE(session, table, call)                                                                \
    ({                                                                                             \
        int write_status_ = session_admit(session, table);                                         \
        write_status_ == TARN_OK ? session_settle(session, call) : write_status_;                  \
    })

int tarn_put(struct tarn_session *session, struct tarn_bytes key, struct tarn_bytes value,
             int64_t expire_ms)
{
    struct table_session *table = session_table(session);
    struct tarn_record record = {key, value, expire_ms};
    return WRITE(session, table, table_put(table, &record));
}

int tarn_put_many(struct tarn_session *session, const struct tarn_record *records, size_t count)
{
    struct table_session *table = session_table(session);
    return WRITE(session, table, table_put_many(table, records, count));
}

int tarn_prepare(struct tarn_session *session, const struct tarn_record *records, size_t count)
{
    struct table_session *table = session_table(session);
    return table != NULL ? table_prepare(table, records, count) : TARN_READONLY;
}

int tarn_put_if(struct tarn_session *session, struct tarn_bytes key, struct tarn_bytes value,
                int64_t expire_ms, tarn_condition condition, void *context)
{
    struct table_session *table = session_table(session);
    struct tarn_record record = {key, value, expire_ms};
    return WRITE(session, table, table_put_if(table, &record, condition, context));
}

int tarn_delete(struct tarn_session *session, struct tarn_bytes key)
{
    struct table_session *table = session_table(session);
    return WRITE(session, table, table_delete(table, key));
}

int tarn_copy(struct tarn_session *session, struct tarn_bytes source, struct tarn_bytes target,
              unsigned flags)
{
    struct table_session *table = session_table(session);
    return WRITE(session, table, table_copy(table, source, target, flags));
}

int tarn_update(struct tarn_session *session, struct tarn_bytes key, tarn_change change,
                void *context)
{
    struct table_session *table = session_table(session);
    return WRITE(session, table, table_update(table, key, change, context));
}

/* What tarn_expire() wants, and whether there was such a key. */
struct expiry_change {
    int64_t expire_ms;
    bool found;
};

static enum tarn_verdict change_expiry(void *context, struct tarn_update *update)
{
    struct expiry_change *change = context;
    change->found = update->record.value.data != NULL;
    if (!change->found || update->record.expire_ms == change->expire_ms)
        return TARN_KEEP;
    update->record.expire_ms = change->expire_ms;
    return TARN_EXPIRE;
}

int tarn_expire(struct tarn_session *session, struct tarn_bytes key, int64_t expire_ms)
{
    struct expiry_change change = {expire_ms, false};
    int status = tarn_update(session, key, change_expiry, &change);
    return status == TARN_OK && !change.found ? TARN_NOTFOUND : status;
}

int tarn_flush(struct tarn_session *session)
{
    struct table_session *table = session_table(session);
    return WRITE(session, table, table_flush(table));
}

void tarn_begin(struct tarn_session *session, const struct tarn_bytes *keys, size_t count)
{
    struct table_session *table = session_table(session);
    session->in_step = true;
    if (table != NULL)
        table_begin(table, keys, count);
}

int tarn_end(struct tarn_session *session)
{
    struct table_session *table = session_table(session);
    session->in_step = false;
    if (table == NULL)
        return TARN_OK;
    table_end(table);
    return session_settle(session, TARN_OK);
}

/* A watch of a key of a table, or of the version of a pack. */
struct tarn_watch {
    struct table_watch *table; /* NULL: a pack */
    struct tarn *store;
    uint64_t generation;
};

int tarn_watch_open(struct tarn_session *session, struct tarn_bytes key,
                    struct tarn_watch **ret_watch)
{
    struct table_session *table = session_table(session);
    struct tarn_watch *watch = malloc(sizeof *watch);
    if (watch == NULL)
        return TARN_NOMEM;
    *watch = (struct tarn_watch){.store = session->store,
                                 .generation = atomic_load(&session->store->generation)};
    int status = table != NULL ? table_watch_open(table, key, &watch->table) : TARN_OK;
    if (status != TARN_OK) {
        free(watch);
        return status;
    }
    *ret_watch = watch;
    return TARN_OK;
}

bool tarn_watch_changed(const struct tarn_watch *watch)
{
    if (watch->table != NULL)
        return table_watch_changed(watch->table);
    return watch->generation != atomic_load(&watch->store->generation);
}

void tarn_watch_close(struct tarn_watch *watch)
{
    if (watch == NULL)
        return;
    table_watch_close(watch->table);
    free(watch);
}
