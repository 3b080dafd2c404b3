/* plan.h - what is known of a graph before any data: labels of its rows and the steps that run it.
 * Pure C; no device is touched. Plans are kept and found again by comparing the whole graph. */
#ifndef OCLORA_GRAPH_PLAN_H
#define OCLORA_GRAPH_PLAN_H

#include "host/graph/rows.h"
#include "host/op/ops.h"

enum {
    OCLORA_STEP_OP = 0,    /* one node, as it is */
    OCLORA_STEP_LINEAR = 1 /* MUL_MAT by a whole base weight; adapters join here */
};
enum {
    OCLORA_STEP_SCALED = 1u << 0 /* the product is multiplied by one number afterwards */
};

typedef struct oclora_step {
    uint32_t kind;    /* OCLORA_STEP_* */
    uint32_t node;    /* number of the (last) node */
    int32_t weight;   /* tensor number of the base weight a product is made with, or -1 */
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

/* A PANEL weight that something else than a product reads or writes: needs a copy in plain order.
 */
typedef struct oclora_plain_use {
    int32_t root;
    uint32_t written;
} oclora_plain_use;

typedef struct oclora_plan {
    oclora_env env;
    oclora_graph graph; /* own copies of tensors and nodes */
    oclora_row_plan rows;
    oclora_step *steps;
    uint32_t n_steps;
    uint32_t n_row_sets;
    oclora_row_set row_sets[OCLORA_ROW_SETS];
    oclora_plain_use *plain;
    uint32_t n_plain;
    uint32_t checked; /* not 0: the device supports every step */
    uint64_t last_use;
} oclora_plan;

oclora_status oclora_plan_create(oclora_plan **out, const oclora_env *env,
                                 const oclora_graph *graph, oclora_error *err);
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
                                    const oclora_graph *graph, oclora_plan **out,
                                    oclora_error *err);
void oclora_plan_cache_clear(oclora_plan_cache *cache);

/* The node as the ops take it. */
void oclora_plan_call(const oclora_graph *graph, const oclora_node *node, oclora_op_call *out);

#endif
