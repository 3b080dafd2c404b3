#include "host/graph/rows_private.h"

bool oclora_rows_are_flat(const oclora_row_label *label, const oclora_tensor *tensor)
{
    if (label->run != 1 || (label->dims & 1u)) return false;
    for (unsigned d = 1; d < 4; d++)
        if (tensor->ne[d] > 1 && !(label->dims >> d & 1u)) return false;
    return true;
}

static oclora_status check_graph(const oclora_graph *graph, oclora_error *err)
{
    int64_t n_tensors = graph->n_tensors;
    int64_t n_nodes = graph->n_nodes;
    for (uint32_t i = 0; i < graph->n_tensors; i++) {
        const oclora_graph_tensor *t = &graph->tensors[i];
        if (t->root < 0 || t->root >= n_tensors || t->producer < -1 || t->producer >= n_nodes)
            return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                               "graph tensor %u names root %d and producer %d of %u and %u", i,
                               (int)t->root, (int)t->producer, graph->n_tensors, graph->n_nodes);
    }
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        const oclora_node *node = &graph->nodes[i];
        bool ok = node->op < OCLORA_OP_COUNT && node->dst >= 0 && node->dst < n_tensors;
        for (unsigned s = 0; s < OCLORA_NODE_SOURCES; s++)
            ok = ok && node->src[s] >= -1 && node->src[s] < n_tensors;
        uint32_t needed = node->op == OCLORA_OP_NONE ? 0 : 1;
        if (node->op == OCLORA_OP_MUL_MAT || node->op == OCLORA_OP_GET_ROWS ||
            node->op == OCLORA_OP_SET_ROWS || node->op == OCLORA_OP_MUL_MAT_ID)
            needed = 2;
        for (uint32_t s = 0; ok && s < needed; s++) ok = node->src[s] >= 0;
        if (!ok)
            return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                               "graph node %u (operator %u) names a tensor that is not there", i,
                               node->op);
    }
    return OCLORA_OK;
}

/* The K cache's (and, with flash attention, V's) write: whole rows into a leaf of three dimensions,
 * one 64-bit index per row. */
static bool is_cache_write(const oclora_graph *graph, const oclora_node *node)
{
    if (node->op != OCLORA_OP_SET_ROWS) return false;
    const oclora_graph_tensor *dst = &graph->tensors[node->dst];
    const oclora_graph_tensor *root = &graph->tensors[dst->root];
    const oclora_tensor *rows = &graph->tensors[node->src[0]].view;
    const oclora_graph_tensor *index = &graph->tensors[node->src[1]];
    return dst->root != node->dst && root->producer < 0 && root->weight == NULL &&
           root->view.ne[3] == 1 && dst->view.ne[0] == root->view.ne[0] &&
           rows->ne[0] == dst->view.ne[0] && rows->ne[2] == 1 && rows->ne[3] == 1 &&
           index->producer < 0 && index->view.type == OCLORA_TYPE_I64 && index->view.nb[0] == 8 &&
           index->view.ne[0] == rows->ne[1] && index->view.ne[1] == 1 && index->view.ne[2] == 1 &&
           index->view.ne[3] == 1 && rows->ne[1] > 0;
}

/* All rows of the cache in their order, so that an index says which stream it means. */
static bool is_whole_cache(const oclora_tensor *view, const oclora_tensor *cache)
{
    return view->buffer == cache->buffer && view->offset == cache->offset &&
           view->type == cache->type && view->nb[1] == cache->nb[1] &&
           view->ne[1] * view->ne[2] * view->ne[3] == cache->ne[1] * cache->ne[2] &&
           (view->ne[2] * view->ne[3] == 1 || view->nb[2] == view->nb[1] * view->ne[1]) &&
           (cache->ne[2] == 1 || cache->nb[2] == cache->nb[1] * cache->ne[1]);
}

/* Adds a cache not yet known. False: a part of a cache, more kinds of cache than can be, or counts
 * that disagree. */
static bool add_cache(oclora_row_plan *plan, const oclora_graph *graph, const oclora_node *node)
{
    const oclora_tensor *root = &graph->tensors[graph->tensors[node->dst].root].view;
    if (!is_whole_cache(&graph->tensors[node->dst].view, root)) return false;
    uint32_t n_tokens = (uint32_t)graph->tensors[node->src[1]].view.ne[0];
    if (plan->n_caches > 0 && plan->n_tokens != n_tokens) return false;
    plan->n_tokens = n_tokens;
    for (uint32_t i = 0; i < plan->n_caches; i++)
        if (plan->caches[i].index_tensor == node->src[1] && plan->caches[i].cells == root->ne[1] &&
            plan->caches[i].streams == root->ne[2])
            return true;
    if (plan->n_caches == sizeof plan->caches / sizeof plan->caches[0]) return false;
    struct oclora_cache_index *cache = &plan->caches[plan->n_caches++];
    cache->index_tensor = node->src[1];
    cache->cells = root->ne[1];
    cache->streams = root->ne[2];
    return true;
}

static void find_caches(oclora_row_plan *plan, const oclora_graph *graph)
{
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        if (!is_cache_write(graph, &graph->nodes[i])) continue;
        if (add_cache(plan, graph, &graph->nodes[i])) continue;
        plan->n_caches = 0;
        plan->n_tokens = 0;
        return;
    }
}

static uint64_t row_count(const oclora_tensor *tensor)
{
    return tensor->ne[1] * tensor->ne[2] * tensor->ne[3];
}

static void mark(const oclora_graph *graph, uint8_t *marks, int32_t tensor)
{
    if (tensor < 0) return;
    marks[tensor] = 1;
    if (graph->tensors[tensor].producer < 0) marks[graph->tensors[tensor].root] = 1;
}

/* Walks back from the rows written to the caches, through operators that keep rows, to where the
 * tokens enter the graph. */
static void mark_entries(const oclora_graph *graph, uint8_t *marks)
{
    for (uint32_t i = graph->n_nodes; i-- > 0;) {
        const oclora_node *node = &graph->nodes[i];
        if (is_cache_write(graph, node)) mark(graph, marks, node->src[0]);
        if (!marks[node->dst] || node->op == OCLORA_OP_GET_ROWS || node->op == OCLORA_OP_SET_ROWS)
            continue;
        bool product = node->op == OCLORA_OP_MUL_MAT || node->op == OCLORA_OP_MUL_MAT_ID;
        mark(graph, marks, node->src[product ? 1 : 0]);
        bool joined = node->op == OCLORA_OP_ADD || node->op == OCLORA_OP_SUB ||
                      node->op == OCLORA_OP_MUL || node->op == OCLORA_OP_DIV ||
                      node->op == OCLORA_OP_GLU;
        /* One row beside the tokens is a weight or a bias, not the tokens themselves. */
        if (joined && node->src[1] >= 0 &&
            (graph->tensors[node->src[1]].producer >= 0 ||
             row_count(&graph->tensors[node->src[1]].view) > 1))
            mark(graph, marks, node->src[1]);
    }
}

static oclora_row_label label_leaf(const oclora_labelling *state, uint32_t tensor)
{
    const oclora_graph_tensor *t = &state->graph->tensors[tensor];
    bool entry = state->is_entry[tensor] && t->producer < 0 && t->root == (int32_t)tensor &&
                 t->weight == NULL && !(t->flags & OCLORA_TENSOR_WEIGHT) &&
                 t->view.type == OCLORA_TYPE_F32 && t->view.ne[1] == state->n_tokens &&
                 t->view.ne[2] == 1 && t->view.ne[3] == 1;
    if (entry) return oclora_label_make(OCLORA_ROWS_TOKENS, -1, state->n_tokens > 1 ? 2u : 0u);
    return oclora_label_make(OCLORA_ROWS_CONSTANT, -1, 0);
}

static oclora_row_label label_leaf_view(const oclora_labelling *state, uint32_t tensor)
{
    int32_t root = state->graph->tensors[tensor].root;
    oclora_node node = {.op = OCLORA_OP_NONE, .dst = (int32_t)tensor};
    node.src[0] = root;
    return oclora_label_node(state, &node);
}

/* A node that writes into another tensor's memory may spoil what was known about its rows. */
static void label_output(const oclora_labelling *state, const oclora_node *node)
{
    const oclora_graph *graph = state->graph;
    int32_t root = graph->tensors[node->dst].root;
    oclora_row_label made = oclora_label_node(state, node);
    bool writes = node->op != OCLORA_OP_NONE && root != node->dst;
    if (writes && oclora_label_has_rows(&state->labels[root])) {
        oclora_node view = {.op = OCLORA_OP_NONE, .dst = node->dst};
        view.src[0] = root;
        oclora_row_label kept = oclora_label_node(state, &view);
        bool same = kept.kind == made.kind && kept.ids == made.ids && kept.dims == made.dims &&
                    kept.run == made.run;
        for (uint32_t i = 0; !same && i < graph->n_tensors; i++)
            if (graph->tensors[i].root == root)
                state->labels[i] = oclora_label_make(OCLORA_ROWS_OTHER, -1, 0);
    }
    state->labels[node->dst] = made;
}

static void label_all(const oclora_labelling *state)
{
    const oclora_graph *graph = state->graph;
    for (uint32_t i = 0; i < graph->n_tensors; i++) state->labels[i] = label_leaf(state, i);
    for (uint32_t i = 0; i < graph->n_tensors; i++)
        if (graph->tensors[i].producer < 0 && graph->tensors[i].root != (int32_t)i &&
            graph->tensors[graph->tensors[i].root].producer < 0)
            state->labels[i] = label_leaf_view(state, i);
    for (uint32_t i = 0; i < graph->n_nodes; i++) label_output(state, &graph->nodes[i]);
    for (uint32_t i = 0; i < graph->n_tensors; i++)
        if (state->labels[i].kind == OCLORA_ROWS_CONSTANT)
            state->labels[i] = oclora_label_make(OCLORA_ROWS_OTHER, -1, 0);
}

/* The selections that base weights are applied to. One too many becomes OTHER, hence refused. */
static void find_selections(oclora_row_plan *plan, const oclora_graph *graph)
{
    const uint32_t room = sizeof plan->selections / sizeof plan->selections[0];
    for (uint32_t i = 0; i < graph->n_nodes; i++) {
        const oclora_node *node = &graph->nodes[i];
        if (node->op != OCLORA_OP_MUL_MAT || graph->tensors[node->src[0]].weight == NULL) continue;
        oclora_row_label *label = &plan->labels[node->src[1]];
        if (label->kind != OCLORA_ROWS_SELECTED) continue;
        uint32_t k = 0;
        while (k < plan->n_selections && plan->selections[k] != label->ids) k++;
        if (k < plan->n_selections) continue;
        if (k == room)
            *label = oclora_label_make(OCLORA_ROWS_OTHER, -1, 0);
        else
            plan->selections[plan->n_selections++] = label->ids;
    }
}

oclora_status oclora_row_plan_build(oclora_row_plan *out, const oclora_env *env,
                                    const oclora_graph *graph, oclora_error *err)
{
    OCLORA_TRY(check_graph(graph, err));
    oclora_row_plan plan = {.env = *env};
    uint8_t *marks = oclora_alloc(env, graph->n_tensors, sizeof *marks);
    plan.labels = oclora_alloc(env, graph->n_tensors, sizeof *plan.labels);
    if (marks == NULL || plan.labels == NULL) {
        oclora_release(env, marks);
        oclora_row_plan_free(&plan);
        return oclora_fail_memory(err, graph->n_tensors * sizeof *plan.labels, "row labels");
    }
    find_caches(&plan, graph);
    if (plan.n_tokens > 0) mark_entries(graph, marks);
    oclora_labelling state = {graph, plan.labels, marks, plan.n_tokens};
    label_all(&state);
    find_selections(&plan, graph);
    oclora_release(env, marks);
    *out = plan;
    return OCLORA_OK;
}

void oclora_row_plan_free(oclora_row_plan *plan)
{
    if (plan == NULL) return;
    if (plan->labels != NULL) oclora_release(&plan->env, plan->labels);
    plan->labels = NULL;
    plan->n_tokens = plan->n_caches = plan->n_selections = 0;
}

oclora_status oclora_row_streams(const oclora_row_plan *plan, const int64_t *const *indices,
                                 uint32_t *streams, oclora_error *err)
{
    if (plan->n_caches == 0)
        return oclora_fail(err, OCLORA_ROWS_UNKNOWN,
                           "the graph writes no K cache, so its rows' sequences are not known");
    for (uint32_t c = 0; c < plan->n_caches; c++) {
        uint64_t cells = plan->caches[c].cells;
        uint64_t limit = cells * plan->caches[c].streams;
        for (uint32_t i = 0; i < plan->n_tokens; i++) {
            int64_t index = indices[c][i];
            if (index < 0 || (uint64_t)index >= limit)
                return oclora_fail(err, OCLORA_ROWS_UNKNOWN,
                                   "token %u is stored at K cache row %lld of %llu", i,
                                   (long long)index, (unsigned long long)limit);
            uint32_t stream = (uint32_t)((uint64_t)index / cells);
            if (c > 0 && indices[0][i] >= 0 &&
                (uint64_t)indices[0][i] / plan->caches[0].cells != stream)
                return oclora_fail(err, OCLORA_ROWS_UNKNOWN,
                                   "two K caches put token %u into different streams", i);
        }
    }
    for (uint32_t i = 0; i < plan->n_tokens; i++)
        streams[i] = (uint32_t)((uint64_t)indices[0][i] / plan->caches[0].cells);
    return OCLORA_OK;
}
