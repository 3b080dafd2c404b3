#include "host/graph/plan.h"

#include <string.h>

/* Plans are compared byte by byte, so nothing in these may be padding. */
_Static_assert(sizeof(oclora_tensor) == sizeof(void *) + 16 + 64, "padding in oclora_tensor");
_Static_assert(sizeof(oclora_graph_tensor) == sizeof(oclora_tensor) + sizeof(void *) + 16,
               "padding in oclora_graph_tensor");
_Static_assert(sizeof(oclora_node) == 8 + 4 * OCLORA_NODE_SOURCES + sizeof(oclora_node_params) &&
                   sizeof(oclora_node_params) == 52,
               "padding in oclora_node");

static const oclora_weight *weight_under(const oclora_graph *graph, int32_t tensor)
{
    if (tensor < 0) return NULL;
    const oclora_graph_tensor *t = &graph->tensors[tensor];
    return t->weight != NULL ? t->weight : graph->tensors[t->root].weight;
}

static bool is_empty(const oclora_tensor *t)
{
    return t->ne[0] == 0 || t->ne[1] == 0 || t->ne[2] == 0 || t->ne[3] == 0;
}

/* Rows at one stride, f32: what a linear layer takes. */
static bool is_row_list(const oclora_tensor *t)
{
    return t->type == OCLORA_TYPE_F32 && (t->ne[0] <= 1 || t->nb[0] == 4) &&
           (t->ne[2] <= 1 || t->nb[2] == t->nb[1] * t->ne[1]) &&
           (t->ne[3] <= 1 || t->nb[3] == t->nb[2] * t->ne[2]) && t->nb[1] % 4 == 0;
}

static bool is_linear(const oclora_graph *graph, const oclora_node *node)
{
    if (node->op != OCLORA_OP_MUL_MAT) return false;
    const oclora_graph_tensor *a = &graph->tensors[node->src[0]];
    const oclora_weight *w = a->weight;
    const oclora_tensor *x = &graph->tensors[node->src[1]].view;
    const oclora_tensor *y = &graph->tensors[node->dst].view;
    return w != NULL && a->view.buffer == w->buffer && a->view.offset == w->offset &&
           a->view.type == w->type && a->view.ne[0] == w->d_in && a->view.ne[1] == w->d_out &&
           a->view.ne[2] == 1 && a->view.ne[3] == 1 && is_row_list(x) && is_row_list(y) &&
           x->ne[0] == w->d_in && y->ne[0] == w->d_out;
}

/* The product is used by a MUL with one number: the weight's own scale. */
static bool is_scaled(const oclora_graph *graph, int32_t product)
{
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        const oclora_node *node = &graph->nodes[i];
        if (node->op != OCLORA_OP_MUL || node->src[0] != product || node->src[1] < 0) continue;
        const oclora_graph_tensor *factor = &graph->tensors[node->src[1]];
        const oclora_tensor *v = &factor->view;
        if (factor->producer < 0 && v->ne[0] * v->ne[1] * v->ne[2] * v->ne[3] == 1) return true;
    }
    return false;
}

static uint32_t row_set_of(oclora_plan *plan, const oclora_node *node)
{
    const oclora_tensor *x = &plan->graph.tensors[node->src[1]].view;
    oclora_row_label label = plan->rows.labels[node->src[1]];
    oclora_row_set set = {label.kind, label.ids, 0, (uint32_t)(x->ne[1] * x->ne[2] * x->ne[3])};
    if (!oclora_rows_are_flat(&label, x)) set.kind = OCLORA_ROWS_OTHER;
    if (set.kind != OCLORA_ROWS_SELECTED) set.ids = -1;
    while (set.kind == OCLORA_ROWS_SELECTED && set.selection < plan->rows.n_selections &&
           plan->rows.selections[set.selection] != set.ids)
        set.selection++;
    for (uint32_t i = 0; i < plan->n_row_sets; i++)
        if (memcmp(&plan->row_sets[i], &set, sizeof set) == 0) return i;
    if (plan->n_row_sets == OCLORA_ROW_SETS) return OCLORA_ROW_SET_NONE;
    plan->row_sets[plan->n_row_sets] = set;
    return plan->n_row_sets++;
}

static oclora_status check_layouts(const oclora_graph *graph, const oclora_node *node,
                                   oclora_error *err)
{
    for (int s = -1; s < OCLORA_NODE_SOURCES; s++) {
        const oclora_weight *w = weight_under(graph, s < 0 ? node->dst : node->src[s]);
        if (w == NULL || w->layout == OCLORA_LAYOUT_PLAIN) continue;
        return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                           "weight '%s' was repacked for products, but %s uses it otherwise",
                           w->name, oclora_op_name(node->op));
    }
    return OCLORA_OK;
}

static oclora_status add_step(oclora_plan *plan, uint32_t number, oclora_error *err)
{
    const oclora_graph *graph = &plan->graph;
    const oclora_node *node = &graph->nodes[number];
    if (node->op == OCLORA_OP_NONE || is_empty(&graph->tensors[node->dst].view)) return OCLORA_OK;
    oclora_step *step = &plan->steps[plan->n_steps++];
    *step = (oclora_step){.member = {(int32_t)number, -1, -1, -1},
                          .n_members = 1,
                          .at = number,
                          .row_set = OCLORA_ROW_SET_NONE};
    if (node->op == OCLORA_OP_MUL_MAT && graph->tensors[node->src[0]].weight != NULL &&
        is_scaled(graph, node->dst))
        step->flags |= OCLORA_STEP_SCALED;
    if (!is_linear(graph, node)) return check_layouts(graph, node, err);
    step->kind = OCLORA_STEP_LINEAR;
    step->row_set = row_set_of(plan, node);
    return OCLORA_OK;
}

static void *copy_of(const oclora_env *env, const void *from, size_t count, size_t size)
{
    void *to = oclora_alloc(env, count, size);
    if (to != NULL && count > 0) memcpy(to, from, count * size);
    return to;
}

oclora_status oclora_plan_create(oclora_plan **out, const oclora_env *env,
                                 const oclora_graph *graph, bool fuse, oclora_error *err)
{
    oclora_status status = OCLORA_OUT_OF_HOST_MEMORY;
    size_t bytes = graph->n_tensors * sizeof *graph->tensors;
    oclora_plan *plan = oclora_alloc(env, 1, sizeof *plan);
    if (plan == NULL) return oclora_fail_memory(err, sizeof *plan, "a graph's plan");
    plan->env = *env;
    plan->graph = *graph;
    plan->graph.tensors = copy_of(env, graph->tensors, graph->n_tensors, sizeof *graph->tensors);
    plan->graph.nodes = copy_of(env, graph->nodes, graph->n_nodes, sizeof *graph->nodes);
    plan->placed = plan->graph;
    plan->placed.tensors = copy_of(env, graph->tensors, graph->n_tensors, sizeof *graph->tensors);
    plan->is_moved = oclora_alloc(env, graph->n_tensors, 1);
    plan->steps = oclora_alloc(env, graph->n_nodes, sizeof *plan->steps);
    if (!plan->graph.tensors || !plan->graph.nodes || !plan->steps || !plan->placed.tensors ||
        !plan->is_moved) {
        oclora_fail_memory(err, bytes, "a graph's plan");
        goto fail;
    }
    status = oclora_row_plan_build(&plan->rows, env, &plan->graph, err);
    if (status != OCLORA_OK) goto fail;
    for (uint32_t i = 0; i < graph->n_nodes && status == OCLORA_OK; i++)
        status = add_step(plan, i, err);
    if (status != OCLORA_OK) goto fail;
    if (fuse) oclora_plan_move(plan);
    if (fuse) oclora_plan_fuse(plan);
    *out = plan;
    return OCLORA_OK;

fail:
    oclora_plan_destroy(plan);
    return status;
}

void oclora_plan_destroy(oclora_plan *plan)
{
    if (plan == NULL) return;
    oclora_env env = plan->env;
    oclora_row_plan_free(&plan->rows);
    /* The graph's arrays are this plan's own copies. */
    oclora_release(&env, (void *)plan->graph.tensors);
    oclora_release(&env, (void *)plan->graph.nodes);
    oclora_release(&env, (void *)plan->placed.tensors);
    oclora_release(&env, plan->is_moved);
    oclora_release(&env, plan->steps);
    oclora_release(&env, plan);
}

bool oclora_plan_matches(const oclora_plan *plan, const oclora_graph *graph)
{
    const oclora_graph *own = &plan->graph;
    return own->n_nodes == graph->n_nodes && own->n_tensors == graph->n_tensors &&
           (graph->n_nodes == 0 ||
            memcmp(own->nodes, graph->nodes, graph->n_nodes * sizeof *graph->nodes) == 0) &&
           (graph->n_tensors == 0 ||
            memcmp(own->tensors, graph->tensors, graph->n_tensors * sizeof *graph->tensors) == 0);
}

oclora_status oclora_plan_cache_get(oclora_plan_cache *cache, const oclora_env *env,
                                    const oclora_graph *graph, bool fuse, oclora_plan **out,
                                    oclora_error *err)
{
    unsigned oldest = 0;
    for (unsigned i = 0; i < OCLORA_PLANS; i++) {
        oclora_plan *plan = cache->plans[i];
        if (plan != NULL && oclora_plan_matches(plan, graph)) {
            plan->last_use = ++cache->clock;
            *out = plan;
            return OCLORA_OK;
        }
        uint64_t use = plan != NULL ? plan->last_use : 0;
        if (cache->plans[oldest] != NULL && use < cache->plans[oldest]->last_use) oldest = i;
    }
    oclora_plan *plan = NULL;
    OCLORA_TRY(oclora_plan_create(&plan, env, graph, fuse, err));
    oclora_plan_destroy(cache->plans[oldest]);
    cache->plans[oldest] = plan;
    cache->built++;
    plan->last_use = ++cache->clock;
    *out = plan;
    return OCLORA_OK;
}

void oclora_plan_cache_clear(oclora_plan_cache *cache)
{
    for (unsigned i = 0; i < OCLORA_PLANS; i++) {
        oclora_plan_destroy(cache->plans[i]);
        cache->plans[i] = NULL;
    }
}

void oclora_plan_call(const oclora_graph *graph, const oclora_node *node, oclora_op_call *out)
{
    memset(out, 0, sizeof *out);
    out->op = node->op;
    out->params = node->params;
    out->dst = graph->tensors[node->dst].view;
    for (uint32_t s = 0; s < OCLORA_NODE_SOURCES; s++) {
        if (node->src[s] < 0) continue;
        out->src[s] = graph->tensors[node->src[s]].view;
        out->n_src = s + 1;
    }
}
