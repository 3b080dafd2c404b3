#include "host/graph/session_private.h"

#include <pthread.h>
#include <string.h>

/* `edit` orders the changes of the map and may be held while an adapter is uploaded; `state` guards
 * what a running graph looks at and is held for moments only, so decoding never waits for a load.
 */
struct oclora_session {
    oclora_env env;
    oclora_pool *pool;
    pthread_mutex_t edit;
    pthread_mutex_t state;
    uint32_t locks;                       /* mutexes initialised */
    uint32_t n_runners;                   /* state */
    oclora_assignment *current;           /* state */
    oclora_assignment *none;              /* nothing mapped; kept, so that clearing cannot fail */
    oclora_mixture *rows;                 /* edit: [OCLORA_SEQUENCE_MAX] */
    uint32_t mode;                        /* edit */
    oclora_session_stats stats;           /* state */
    oclora_error last;                    /* state */
    uint32_t n_tainted;                   /* state */
    uint8_t tainted[OCLORA_SEQUENCE_MAX]; /* state */
};

oclora_status oclora_session_create(oclora_session **out, const oclora_env *env, oclora_pool *pool,
                                    oclora_error *err)
{
    oclora_status status = OCLORA_OUT_OF_HOST_MEMORY;
    oclora_session *made = oclora_alloc(env, 1, sizeof *made);
    if (made == NULL) return oclora_fail_memory(err, sizeof *made, "a session");
    made->env = *env;
    made->pool = pool;
    made->rows = oclora_alloc(env, OCLORA_SEQUENCE_MAX, sizeof *made->rows);
    if (made->rows == NULL) {
        oclora_fail_memory(err, OCLORA_SEQUENCE_MAX * sizeof *made->rows, "a session's map");
        goto fail;
    }
    if (pthread_mutex_init(&made->edit, NULL) != 0 || (made->locks++, false) ||
        pthread_mutex_init(&made->state, NULL) != 0) {
        oclora_fail(err, status, "a session's locks could not be made");
        goto fail;
    }
    made->locks++;
    status = oclora_assignment_create(&made->none, env, pool, OCLORA_MAP_NONE, made->rows, err);
    if (status != OCLORA_OK) goto fail;
    made->current = made->none;
    made->none->references++;
    *out = made;
    return OCLORA_OK;

fail:
    oclora_session_destroy(made);
    return status;
}

void oclora_session_destroy(oclora_session *session)
{
    if (session == NULL) return;
    oclora_env env = session->env;
    if (session->current != NULL) oclora_assignment_unpin(session->current, session->pool);
    if (session->current != session->none) oclora_assignment_free(session->current, &env);
    oclora_assignment_free(session->none, &env);
    if (session->locks > 1) pthread_mutex_destroy(&session->state);
    if (session->locks > 0) pthread_mutex_destroy(&session->edit);
    oclora_release(&env, session->rows);
    oclora_release(&env, session);
}

oclora_pool *oclora_session_pool(oclora_session *session)
{
    return session->pool;
}

/* Makes `next` (one reference of it) the current assignment and gives back the pins of the one
 * before; a graph that still runs under that one holds its adapters by their use counts. */
static void publish(oclora_session *session, oclora_assignment *next)
{
    pthread_mutex_lock(&session->state);
    oclora_assignment *before = session->current;
    session->current = next;
    pthread_mutex_unlock(&session->state);
    oclora_assignment_unpin(before, session->pool);
    oclora_session_drop(session, before);
}

static void trust(oclora_session *session, uint32_t seq);

/* One row of the map replaced, all or nothing. The caller holds `edit`. */
static oclora_status replace_row(oclora_session *session, uint32_t mode, uint32_t seq,
                                 const oclora_mixture *mixture, oclora_error *err)
{
    size_t bytes = OCLORA_SEQUENCE_MAX * sizeof *session->rows;
    oclora_mixture *rows = oclora_alloc(&session->env, OCLORA_SEQUENCE_MAX, sizeof *rows);
    if (rows == NULL) return oclora_fail_memory(err, bytes, "a session's map");
    if (session->mode == mode && mode == OCLORA_MAP_SEQUENCES) memcpy(rows, session->rows, bytes);
    rows[seq] = *mixture;

    oclora_assignment *next = NULL;
    oclora_status status =
        oclora_assignment_create(&next, &session->env, session->pool, mode, rows, err);
    if (status == OCLORA_OK) {
        memcpy(session->rows, rows, bytes);
        session->mode = mode;
        publish(session, next);
        trust(session, mode == OCLORA_MAP_SEQUENCES ? seq : OCLORA_SEQUENCE_ANY);
    }
    oclora_release(&session->env, rows);
    return status;
}

static oclora_status change_map(oclora_session *session, uint32_t mode, uint32_t seq,
                                const oclora_weighted_adapter *adapters, uint32_t count,
                                oclora_error *err)
{
    oclora_mixture mixture;
    OCLORA_TRY(oclora_mixture_make(&mixture, adapters, count, err));
    OCLORA_TRY(oclora_session_check(session, true, err));
    pthread_mutex_lock(&session->edit);
    oclora_status status = replace_row(session, mode, seq, &mixture, err);
    pthread_mutex_unlock(&session->edit);
    return status;
}

oclora_status oclora_session_map(oclora_session *session, uint32_t seq,
                                 const oclora_weighted_adapter *adapters, uint32_t count,
                                 oclora_error *err)
{
    if (seq >= OCLORA_SEQUENCE_MAX)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "sequence %u: only sequences below %d can be mapped", seq,
                           OCLORA_SEQUENCE_MAX);
    return change_map(session, OCLORA_MAP_SEQUENCES, seq, adapters, count, err);
}

oclora_status oclora_session_map_all(oclora_session *session,
                                     const oclora_weighted_adapter *adapters, uint32_t count,
                                     oclora_error *err)
{
    return change_map(session, OCLORA_MAP_ALL, 0, adapters, count, err);
}

void oclora_session_clear(oclora_session *session)
{
    pthread_mutex_lock(&session->edit);
    pthread_mutex_lock(&session->state);
    session->none->references++;
    pthread_mutex_unlock(&session->state);
    publish(session, session->none);
    memset(session->rows, 0, OCLORA_SEQUENCE_MAX * sizeof *session->rows);
    session->mode = OCLORA_MAP_NONE;
    oclora_session_trust(session);
    pthread_mutex_unlock(&session->edit);
}

void oclora_session_taint(oclora_session *session, uint32_t seq)
{
    uint32_t first = seq < OCLORA_SEQUENCE_MAX ? seq : 0;
    uint32_t end = seq < OCLORA_SEQUENCE_MAX ? seq + 1 : OCLORA_SEQUENCE_MAX;
    pthread_mutex_lock(&session->state);
    for (uint32_t i = first; i < end; i++) {
        session->n_tainted += session->tainted[i] == 0;
        session->tainted[i] = 1;
    }
    pthread_mutex_unlock(&session->state);
}

/* As OCLORA_SEQUENCE_ANY: all. */
static void trust(oclora_session *session, uint32_t seq)
{
    pthread_mutex_lock(&session->state);
    for (uint32_t i = 0; i < OCLORA_SEQUENCE_MAX; i++) {
        if (seq != OCLORA_SEQUENCE_ANY && i != seq) continue;
        session->n_tainted -= session->tainted[i] != 0;
        session->tainted[i] = 0;
    }
    pthread_mutex_unlock(&session->state);
}

void oclora_session_trust(oclora_session *session)
{
    trust(session, OCLORA_SEQUENCE_ANY);
}

oclora_status oclora_session_check_taint(oclora_session *session, const uint32_t *streams,
                                         uint32_t count, oclora_error *err)
{
    uint32_t found = OCLORA_SEQUENCE_MAX;
    pthread_mutex_lock(&session->state);
    if (session->n_tainted > 0 && streams == NULL) found = 0;
    for (uint32_t i = 0; session->n_tainted > 0 && streams != NULL && i < count; i++)
        if (session->tainted[streams[i]] != 0) found = streams[i];
    pthread_mutex_unlock(&session->state);
    if (found == OCLORA_SEQUENCE_MAX) return OCLORA_OK;
    return oclora_fail(err, OCLORA_ROWS_UNKNOWN,
                       "the KV cache of sequence %u was copied or restored while adapters are "
                       "mapped, so it may be another adapter's: empty it and map the sequence anew",
                       found);
}

bool oclora_session_same(oclora_session *session, uint32_t a, uint32_t b)
{
    if (a >= OCLORA_SEQUENCE_MAX || b >= OCLORA_SEQUENCE_MAX) return false;
    oclora_assignment *map = oclora_session_snapshot(session);
    uint32_t count = map->start[a + 1] - map->start[a];
    bool same = map->mode != OCLORA_MAP_SEQUENCES || map->start[b + 1] - map->start[b] == count;
    for (uint32_t i = 0; same && map->mode == OCLORA_MAP_SEQUENCES && i < count; i++)
        same = map->adapter[map->start[a] + i] == map->adapter[map->start[b] + i] &&
               map->weight[map->start[a] + i] == map->weight[map->start[b] + i];
    oclora_session_drop(session, map);
    return same;
}

bool oclora_session_is_mapped(oclora_session *session)
{
    pthread_mutex_lock(&session->state);
    bool mapped = session->current->mode != OCLORA_MAP_NONE;
    pthread_mutex_unlock(&session->state);
    return mapped;
}

oclora_assignment *oclora_session_snapshot(oclora_session *session)
{
    pthread_mutex_lock(&session->state);
    oclora_assignment *assignment = session->current;
    assignment->references++;
    pthread_mutex_unlock(&session->state);
    return assignment;
}

void oclora_session_drop(oclora_session *session, oclora_assignment *assignment)
{
    pthread_mutex_lock(&session->state);
    bool last = --assignment->references == 0;
    pthread_mutex_unlock(&session->state);
    if (last) oclora_assignment_free(assignment, &session->env);
}

void oclora_session_attach(oclora_session *session)
{
    pthread_mutex_lock(&session->state);
    session->n_runners++;
    pthread_mutex_unlock(&session->state);
}

void oclora_session_detach(oclora_session *session)
{
    pthread_mutex_lock(&session->state);
    if (session->n_runners > 0) session->n_runners--;
    pthread_mutex_unlock(&session->state);
}

oclora_status oclora_session_check(oclora_session *session, bool mapped, oclora_error *err)
{
    pthread_mutex_lock(&session->state);
    uint32_t n_runners = session->n_runners;
    pthread_mutex_unlock(&session->state);
    if (!mapped || n_runners <= 1) return OCLORA_OK;
    return oclora_fail(err, OCLORA_SESSION_CONFLICT,
                       "%u contexts live in one session, so its map would serve all of them; give "
                       "each context a session of its own",
                       n_runners);
}

void oclora_session_account(oclora_session *session, const oclora_graph_account *account)
{
    pthread_mutex_lock(&session->state);
    oclora_session_stats *stats = &session->stats;
    stats->graphs++;
    stats->adapted_graphs += account->adapted_rows > 0;
    stats->rows += account->rows;
    stats->adapted_rows += account->adapted_rows;
    stats->launches += account->launches;
    stats->last_launches = account->launches;
    stats->last_rows = account->rows;
    pthread_mutex_unlock(&session->state);
}

void oclora_session_note(oclora_session *session, const oclora_error *err, bool refusal)
{
    pthread_mutex_lock(&session->state);
    session->last = *err;
    session->stats.refusals += refusal;
    pthread_mutex_unlock(&session->state);
}

void oclora_session_get_stats(oclora_session *session, oclora_session_stats *out)
{
    pthread_mutex_lock(&session->state);
    *out = session->stats;
    pthread_mutex_unlock(&session->state);
}

oclora_status oclora_session_last_error(oclora_session *session, oclora_error *out)
{
    pthread_mutex_lock(&session->state);
    oclora_status status = session->last.status;
    if (out != NULL) *out = session->last;
    pthread_mutex_unlock(&session->state);
    return status;
}
