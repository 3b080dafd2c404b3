/* plan.h - what is known of a graph before any data: labels of its rows and the steps that run it.
 * Pure C; no device is touched. Plans are kept and found again by comparing the whole graph. */
#ifndef OCLORA_GRAPH_PLAN_H
#define OCLORA_GRAPH_PLAN_H

#include "host/graph/rows.h"
#include "host/op/ops.h"

enum {
    OCLORA_STEP_OP = 0,     /* one node, as it is */
    OCLORA_STEP_LINEAR = 1, /* MUL_MATs of one input by whole base weights; adapters join here */
    OCLORA_STEP_NORM = 2,   /* [add,] RMS norm, times a weight */
    OCLORA_STEP_ROPE = 3    /* rotate q [and] k, store k [and v] in the caches */
};
enum {
    OCLORA_STEP_SCALED = 1u << 0 /* the product is multiplied by one number afterwards */
};

/* Nodes that run together, each a number or -1 for absent:
 *   OP      [0]
 *   LINEAR  [0] to [n_members - 1]
 *   NORM    [0] add, [1] norm, [2] product with the weight
 *   ROPE    [0] rope of q, [1] rope of k, [2] k into its cache, [3] v into its cache */
enum { OCLORA_STEP_MEMBERS = 4 };
typedef struct oclora_step {
    uint32_t kind; /* OCLORA_STEP_* */
    int32_t member[OCLORA_STEP_MEMBERS];
    uint32_t n_members;
    uint32_t at;      /* node whose place in the order the step takes */
    uint32_t row_set; /* LINEAR: into row_sets */
    uint32_t flags;
} oclora_step;

/* The distinct kinds of rows that base weights are applied to: one work list each. */
typedef struct oclora_row_set {
    uint32_t kind;      /* OCLORA_ROWS_* */
    int32_t ids;        /* SELECTED: tensor number */
    uint32_t selection; /* SELECTED: its number in the row plan */
    uint32_t n_rows;
} oclora_row_set;

enum { OCLORA_ROW_SETS = 16, OCLORA_ROW_SET_NONE = UINT32_MAX };

typedef struct oclora_plan {
    oclora_env env;
    oclora_graph graph;  /* own copies of tensors and nodes */
    oclora_graph placed; /* the same nodes over tensors some of which lie elsewhere: what runs */
    uint8_t *is_moved;   /* [n_tensors] lies in the runner's memory, at placed's offset */
    uint64_t moved_bytes;
    const oclora_buffer *moved_buffer; /* what moved tensors name at the moment */
    oclora_row_plan rows;
    oclora_step *steps;
    uint32_t n_steps;
    uint32_t n_row_sets;
    oclora_row_set row_sets[OCLORA_ROW_SETS];
    uint32_t checked; /* not 0: the device supports every step */
    uint64_t last_use;
} oclora_plan;

/* `fuse` puts nodes together where their results stay the same, bit by bit. Errors: NOT_SUPPORTED
 * (an operator other than the product uses a weight in PANEL layout), and those of the row plan. */
oclora_status oclora_plan_create(oclora_plan **out, const oclora_env *env,
                                 const oclora_graph *graph, bool fuse, oclora_error *err);
void oclora_plan_destroy(oclora_plan *plan); /* NULL is allowed */

/* Same operators, parameters, shapes, strides, places in memory, and weights. */
bool oclora_plan_matches(const oclora_plan *plan, const oclora_graph *graph);

/* A small least-recently-used store of plans. */
enum { OCLORA_PLANS = 16 };
typedef struct oclora_plan_cache {
    oclora_plan *plans[OCLORA_PLANS];
    uint64_t clock;
    uint64_t built;
} oclora_plan_cache;
oclora_status oclora_plan_cache_get(oclora_plan_cache *cache, const oclora_env *env,
                                    const oclora_graph *graph, bool fuse, oclora_plan **out,
                                    oclora_error *err);
void oclora_plan_cache_clear(oclora_plan_cache *cache);

/* move.c: gives results that die within the graph, and whose memory a sibling product wants too
 * early, a place of their own. Nothing else can tell. */
void oclora_plan_move(oclora_plan *plan);

/* Names the buffer of at least moved_bytes that moved tensors lie in. */
void oclora_plan_place(oclora_plan *plan, oclora_buffer *buffer);

/* fuse.c: puts the steps of a plan together. Every tensor is written as before; the order of steps
 * changes only between nodes whose memory does not meet. */
void oclora_plan_fuse(oclora_plan *plan);

/* The node as the ops take it. */
void oclora_plan_call(const oclora_graph *graph, const oclora_node *node, oclora_op_call *out);

#endif
