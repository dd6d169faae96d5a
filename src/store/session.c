/* Sessions of a store, and pins: who may see what, and for how long.
 *
 * Invariants: (1) a thread is quiescent only when none of its sessions has anything in view, and
 * offline only when all are. (2) A pin holds what it is about by a reference of its own. */
#include "store/session.h"

#include <stdlib.h>

#include "core/assert.h"
#include "core/qsbr.h"

/* A pin is a reference to a pack or, with one of these bits set in its address, to a large item of
 * a table, or to what was read from disk; the type is only a name for callers. */
#define PIN_ITEM   1u
#define PIN_RECORD 2u

_Thread_local struct thread_sessions thread_sessions;

static void look_away(struct tarn_session *session)
{
    if (session->viewing) {
        session->viewing = false;
        session->seen = NULL;
        thread_sessions.viewing--;
        if (session->table != NULL)
            table_session_quiescent(session->table);
        if (session->far != NULL)
            far_session_quiescent(session->far);
    }
}

static void go_online(struct tarn_session *session)
{
    ASSERT(!session->online);
    session->online = true;
    if (thread_sessions.online++ == 0)
        qsbr_online();
}

static void go_offline(struct tarn_session *session)
{
    ASSERT(session->online);
    look_away(session);
    session->online = false;
    if (--thread_sessions.online == 0)
        qsbr_offline();
    else if (thread_sessions.viewing == 0)
        qsbr_quiescent();
}

int tarn_session_open(struct tarn *store, struct tarn_session **ret_session,
                      struct tarn_error *error)
{
    struct tarn_session *session = malloc(sizeof *session);
    if (session == NULL)
        return error_set(error, TARN_NOMEM, "out of memory for a session");
    *session = (struct tarn_session){.store = store};
    if (store->table != NULL && table_session_open(store->table, &session->table) != TARN_OK) {
        free(session);
        return error_set(error, TARN_NOMEM, "out of memory for a session");
    }
    if (store->far != NULL && far_session_open(store->far, &session->far) != TARN_OK) {
        free(session);
        return error_set(error, TARN_NOMEM, "out of memory for a session");
    }
    session->durable = store->durable;
    qsbr_register();
    go_online(session);
    *ret_session = session;
    return TARN_OK;
}

void tarn_session_close(struct tarn_session *session)
{
    if (session == NULL)
        return;
    table_session_close(session->table);
    session->table = NULL;
    far_session_close(session->far);
    session->far = NULL;
    if (session->online)
        go_offline(session);
    qsbr_unregister();
    free(session);
}

void tarn_quiescent(struct tarn_session *session)
{
    look_away(session);
    if (thread_sessions.viewing == 0)
        qsbr_quiescent();
}

void tarn_offline(struct tarn_session *session)
{
    go_offline(session);
}

void tarn_online(struct tarn_session *session)
{
    go_online(session);
}

static bool is_of_pack(const struct pack *pack, struct tarn_bytes value)
{
    const unsigned char *data = value.data;
    return pack != NULL && data >= pack->data && data < pack->data + pack->data_bytes;
}

/* What was read from disk, or its copy in the cache. */
static struct tarn_pin *pin_far(struct far_session *far, struct tarn_bytes value)
{
    struct far_record *record = far_kept_record_of(far, value);
    if (record == NULL)
        return (struct tarn_pin *)((uintptr_t)table_pin(value) | PIN_ITEM);
    far_record_ref(record);
    return (struct tarn_pin *)((uintptr_t)record | PIN_RECORD);
}

struct tarn_pin *tarn_pin(struct tarn_session *session, struct tarn_bytes value)
{
    if (session->far != NULL)
        return pin_far(session->far, value);
    struct pack *pack = session->table != NULL ? session->store->current : session_pack(session);
    if (session->table != NULL && !is_of_pack(pack, value))
        return (struct tarn_pin *)((uintptr_t)table_pin(value) | PIN_ITEM);
    pack_ref(pack);
    return (struct tarn_pin *)pack;
}

void tarn_unpin(struct tarn_pin *pin)
{
    uintptr_t address = (uintptr_t)pin;
    if (address & PIN_ITEM)
        table_unpin((struct item_large *)(address - PIN_ITEM));
    else if (address & PIN_RECORD)
        far_record_unref((struct far_record *)(address - PIN_RECORD));
    else
        pack_unref((struct pack *)address);
}

void session_look_briefly(void)
{
    qsbr_register();
    if (thread_sessions.online == 0)
        qsbr_online();
}

void session_look_away_again(void)
{
    if (thread_sessions.online == 0)
        qsbr_offline();
    qsbr_unregister();
}
