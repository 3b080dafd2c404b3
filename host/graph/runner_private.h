/* runner_private.h - shared by runner.c (the run), adapt.c (rows -> adapters), steps.c. */
#ifndef OCLORA_GRAPH_RUNNER_PRIVATE_H
#define OCLORA_GRAPH_RUNNER_PRIVATE_H

#include "host/graph/plan.h"
#include "host/graph/session_private.h"

/* The rows of one row set on the device, and what they were made of: nothing is rebuilt while the
 * same sequences decode in the same order. */
typedef struct oclora_row_slot {
    oclora_row_work *work;
    uint32_t *csr; /* start [n_rows + 1], adapter, weight bits: one array, compared as a whole */
    size_t csr_capacity;
    size_t csr_length; /* 0: not valid */
    uint32_t n_adapters;
    uint32_t ready; /* in this run */
} oclora_row_slot;

struct oclora_runner {
    oclora_env env;
    oclora_stream *stream;
    oclora_session *session;
    oclora_plan_cache plans;

    oclora_lane_table *lanes;
    oclora_pool *lanes_pool;
    oclora_adapter_handle *lanes_handles;
    size_t lanes_capacity;
    uint32_t lanes_count;
    uint32_t lanes_weights;   /* id limit of the base when made */
    uint64_t lanes_evictions; /* of the pool when made */

    oclora_row_slot slots[OCLORA_ROW_SETS];
    uint32_t *scratch; /* CSR being made */
    size_t scratch_capacity;
    uint8_t *staging; /* index data read from the device */
    size_t staging_capacity;
    uint32_t *streams; /* [n_tokens] */
    size_t streams_capacity;
    oclora_buffer *moved; /* where plans put results that they moved */
    uint32_t fuse;        /* 0: every node on its own, for finding faults */
};

/* What one run does about adapters. */
typedef struct oclora_run {
    oclora_runner *runner;
    oclora_session *session;
    const oclora_graph *graph; /* the caller's; same as the plan's */
    oclora_plan *plan;
    oclora_assignment *map; /* NULL: base only */
    uint32_t adapted;       /* lanes and work lists are ready */
    uint32_t held;          /* the map's adapters are acquired */
    uint64_t adapted_rows;
} oclora_run;

/* adapt.c: refuses what cannot be served, reads the row indices, acquires the adapters and readies
 * the work lists. Enqueues nothing but their upload, and that only when all is well. */
oclora_status oclora_run_adapt(oclora_run *run, oclora_error *err);
/* What was uploaded for earlier graphs is uploaded again for the next one. */
void oclora_runner_forget_adapters(oclora_runner *runner);

/* gather.c: the index tensors of the plan's caches, then of its selections, in one blocking read
 * where they lie near each other. out: [n_caches + n_selections] pointers into the runner's
 * staging. */
oclora_status oclora_run_gather(oclora_run *run, const void **out, oclora_error *err);

/* steps.c */
oclora_status oclora_run_steps(const oclora_run *run, oclora_error *err);
/* NOT_SUPPORTED, naming the node, for what the device cannot run. */
oclora_status oclora_steps_check(oclora_runner *runner, oclora_plan *plan, oclora_error *err);

#endif
