/* session_private.h - what the runner needs of a session. */
#ifndef OCLORA_GRAPH_SESSION_PRIVATE_H
#define OCLORA_GRAPH_SESSION_PRIVATE_H

#include "host/graph/session.h"

enum { OCLORA_MAP_NONE = 0, OCLORA_MAP_SEQUENCES = 1, OCLORA_MAP_ALL = 2 };

/* One state of the map. Immutable and counted: a running graph keeps the one it started with. */
typedef struct oclora_assignment {
    uint32_t mode; /* OCLORA_MAP_* */
    uint32_t n_handles;
    oclora_adapter_handle *handles;          /* [n_handles] distinct, ascending */
    uint32_t start[OCLORA_SEQUENCE_MAX + 1]; /* entries of sequence s; ALL: those of sequence 0 */
    uint32_t *adapter;                       /* [start[MAX]] index into handles */
    float *weight;
    uint8_t *targets; /* [n_weights] not 0: some handle adapts the base weight of this id */
    uint32_t n_weights;
    uint32_t references; /* guarded by the session */
} oclora_assignment;

/* The current assignment, never NULL; give it back with drop. */
oclora_assignment *oclora_session_snapshot(oclora_session *session);
void oclora_session_drop(oclora_session *session, oclora_assignment *assignment);

/* Counts a live runner in or out. */
void oclora_session_attach(oclora_session *session);
void oclora_session_detach(oclora_session *session);

/* SESSION_CONFLICT while more than one runner lives in the session and `mapped`. */
oclora_status oclora_session_check(oclora_session *session, bool mapped, oclora_error *err);

/* ROWS_UNKNOWN if one of the streams is tainted; `streams` NULL asks for any at all. */
oclora_status oclora_session_check_taint(oclora_session *session, const uint32_t *streams,
                                         uint32_t count, oclora_error *err);

typedef struct oclora_graph_account {
    uint64_t rows;
    uint64_t adapted_rows;
    uint64_t launches;
} oclora_graph_account;
void oclora_session_account(oclora_session *session, const oclora_graph_account *account);

/* Keeps `err` for last_error; a refusal is counted. */
void oclora_session_note(oclora_session *session, const oclora_error *err, bool refusal);

static inline bool oclora_assignment_targets(const oclora_assignment *assignment,
                                             uint32_t weight_id)
{
    return weight_id < assignment->n_weights && assignment->targets[weight_id] != 0;
}

/* assignment.c */
typedef struct oclora_mixture {
    uint32_t count;
    uint32_t mapped; /* not 0: assigned, maybe to nothing */
    oclora_weighted_adapter entries[OCLORA_MIXTURE_MAX];
} oclora_mixture;

/* Checks and sums duplicates. */
oclora_status oclora_mixture_make(oclora_mixture *out, const oclora_weighted_adapter *adapters,
                                  uint32_t count, oclora_error *err);
/* Builds and pins: rows is [OCLORA_SEQUENCE_MAX], only rows[0] counts for ALL. */
oclora_status oclora_assignment_create(oclora_assignment **out, const oclora_env *env,
                                       oclora_pool *pool, uint32_t mode, const oclora_mixture *rows,
                                       oclora_error *err);
void oclora_assignment_unpin(const oclora_assignment *assignment, oclora_pool *pool);
void oclora_assignment_free(oclora_assignment *assignment, const oclora_env *env);

#endif
