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

oclora_status oclora_session_create(oclora_session **out, oclora_pool *pool, oclora_error *err);
void oclora_session_destroy(oclora_session *session);

/* Sequence `seq` is served by the given adapters (count 0 = the base alone, which is also a
 * per-sequence assignment). Validates handles, makes them resident and pins them; on error the map is
 * unchanged. Errors: INVALID_ARGUMENT, STALE_HANDLE, ADAPTER_NOT_LOADED, POOL_FULL. */
oclora_status oclora_session_map(oclora_session *session, uint32_t seq,
                                 const oclora_weighted_adapter *adapters, uint32_t count,
                                 oclora_error *err);
/* Every row of the context, whatever its sequence. Replaces any per-sequence map. */
oclora_status oclora_session_map_all(oclora_session *session,
                                     const oclora_weighted_adapter *adapters, uint32_t count,
                                     oclora_error *err);
void oclora_session_clear(oclora_session *session); /* back to the base for all, nothing mapped */

/* True if any assignment other than "nothing mapped" holds. */
bool oclora_session_is_mapped(oclora_session *session);

typedef struct oclora_session_stats {
    uint64_t graphs;
    uint64_t adapted_graphs;
    uint64_t rows;          /* token rows computed */
    uint64_t adapted_rows;
    uint64_t launches;
    uint64_t refusals;
} oclora_session_stats;
void oclora_session_get_stats(oclora_session *session, oclora_session_stats *out);

/* Runs a whole graph on `stream` under the session's map (NULL session = base only): labels rows,
 * reads the row indices (the one blocking read), snapshots the map, acquires adapters, runs every
 * node, waits, releases. A refusal (SINGLE_STREAM, ROWS_UNKNOWN, WEIGHT_NOT_ON_DEVICE, ...) enqueues
 * nothing. Thread rule: one thread per stream. */
typedef struct oclora_runner oclora_runner; /* per stream: cached plans, tables, work lists */
oclora_status oclora_runner_create(oclora_runner **out, oclora_stream *stream, oclora_error *err);
void oclora_runner_destroy(oclora_runner *runner);
oclora_status oclora_runner_run(oclora_runner *runner, oclora_session *session,
                                const oclora_graph *graph, oclora_error *err);

#endif
