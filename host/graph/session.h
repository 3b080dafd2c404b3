/* session.h - the assignment of adapters to sequences, and how a graph is served under it.
 *
 * A session belongs to one host context (one KV cache). Its map is changed from any thread and
 * snapshotted once per graph. Mapped adapters are pinned in the pool. */
#ifndef OCLORA_GRAPH_SESSION_H
#define OCLORA_GRAPH_SESSION_H

#include "host/adapter/pool.h"
#include "host/graph/rows.h"
#include "host/op/linear.h"

typedef struct oclora_session oclora_session;

typedef struct oclora_weighted_adapter {
    oclora_adapter_handle handle;
    float weight;
    uint32_t reserved;
} oclora_weighted_adapter;

enum { OCLORA_SEQUENCE_MAX = 256, OCLORA_MIXTURE_MAX = 16 };

/* The pool must outlive the session, the session every runner that ran under it. */
oclora_status oclora_session_create(oclora_session **out, const oclora_env *env, oclora_pool *pool,
                                    oclora_error *err);
void oclora_session_destroy(oclora_session *session); /* unpins all; NULL is allowed */
oclora_pool *oclora_session_pool(oclora_session *session);

/* Sequence `seq` is served by the given adapters (count 0 = the base alone, which is also a
 * per-sequence assignment). Validates handles, makes them resident and pins them; on error the map
 * is unchanged. Replaces a context-wide map. An adapter named twice counts with the sum of its
 * weights. Errors: INVALID_ARGUMENT (sequence or count too large, weight not finite), STALE_HANDLE,
 * ADAPTER_NOT_LOADED (handle 0), POOL_FULL, SESSION_CONFLICT (two contexts live in the session). */
oclora_status oclora_session_map(oclora_session *session, uint32_t seq,
                                 const oclora_weighted_adapter *adapters, uint32_t count,
                                 oclora_error *err);
/* Every row of the context, whatever its sequence. Replaces any per-sequence map. */
oclora_status oclora_session_map_all(oclora_session *session,
                                     const oclora_weighted_adapter *adapters, uint32_t count,
                                     oclora_error *err);
void oclora_session_clear(oclora_session *session); /* back to the base for all, nothing mapped */

/* The KV cache of a sequence was written by something else than a graph (a state restored, a copy
 * from a sequence that is served otherwise): it may be another adapter's. Graphs under a map with
 * tokens of it are refused (ROWS_UNKNOWN) until it is mapped anew or the map is cleared. */
enum { OCLORA_SEQUENCE_ANY = OCLORA_SEQUENCE_MAX };
void oclora_session_taint(oclora_session *session, uint32_t seq);
void oclora_session_trust(oclora_session *session); /* the whole cache is empty again */

/* Whether two sequences are served alike: by equal mixtures, or by one map for all, or by none. */
bool oclora_session_same(oclora_session *session, uint32_t a, uint32_t b);

/* True if any assignment other than "nothing mapped" holds. */
bool oclora_session_is_mapped(oclora_session *session);

typedef struct oclora_session_stats {
    uint64_t graphs;
    uint64_t adapted_graphs;
    uint64_t rows; /* token rows computed */
    uint64_t adapted_rows;
    uint64_t launches;
    uint64_t refusals;
    uint64_t last_launches; /* of the last graph */
    uint64_t last_rows;     /* tokens of the last graph */
} oclora_session_stats;
void oclora_session_get_stats(oclora_session *session, oclora_session_stats *out);

/* Status and text of the last graph that was refused or failed; OK if none was. */
oclora_status oclora_session_last_error(oclora_session *session, oclora_error *out);

/* Runs a whole graph on `stream` under the session's map (NULL session = base only): labels rows,
 * reads the row indices (the one blocking read), snapshots the map, acquires adapters, runs every
 * node, waits, releases. A refusal (SINGLE_STREAM, ROWS_UNKNOWN, WEIGHT_NOT_ON_DEVICE, ...)
 * enqueues nothing. Thread rule: one thread per stream. */
typedef struct oclora_runner oclora_runner; /* per stream: cached plans, tables, work lists */
oclora_status oclora_runner_create(oclora_runner **out, oclora_stream *stream, oclora_error *err);
void oclora_runner_destroy(oclora_runner *runner); /* NULL is allowed */

/* Makes the runner one of the session's live contexts (running a graph under a session does so by
 * itself). While two live, a map is refused: neither map() nor a graph under a map succeeds. NULL
 * leaves the session. Errors: SESSION_CONFLICT (the session is mapped and another runner lives in
 * it; the runner is bound nevertheless, so that graphs of both are refused). */
oclora_status oclora_runner_bind(oclora_runner *runner, oclora_session *session, oclora_error *err);
oclora_status oclora_runner_run(oclora_runner *runner, oclora_session *session,
                                const oclora_graph *graph, oclora_error *err);

#endif
