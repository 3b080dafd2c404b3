/* fuse.c - nodes that can run in one launch.
 *
 * A group takes the place of one of its nodes, so the others move. A move is allowed only if every
 * pair of nodes whose order it turns around has no memory in common; the graph's memory is reused
 * by its allocator, so names say nothing. All tensors are written as they were: whether a node
 * outside this graph reads one cannot be seen here. */
#include "host/graph/fuse.h"

#include "host/graph/memory.h"

#include <string.h>

enum { WINDOW = 64 }; /* how far a node may move */

typedef struct fusion {
    oclora_plan *plan;
    const oclora_graph *graph;
    uint32_t *step_of; /* [n_nodes] its step, or UINT32_MAX */
} fusion;

static const oclora_tensor *view_of(const oclora_graph *graph, int32_t tensor)
{
    return &graph->tensors[tensor].view;
}

static const oclora_node *node_of(const oclora_graph *graph, int32_t node)
{
    return &graph->nodes[node];
}

static oclora_step *own_step(const fusion *f, int32_t node)
{
    uint32_t step = node < 0 ? UINT32_MAX : f->step_of[node];
    return step == UINT32_MAX ? NULL : &f->plan->steps[step];
}

/* A node that still stands alone in a step of that kind. */
static bool is_single(const fusion *f, int32_t node, uint32_t kind)
{
    const oclora_step *step = own_step(f, node);
    return step != NULL && step->kind == kind && step->n_members == 1;
}

static bool is_member(const oclora_step *group, uint32_t node)
{
    for (uint32_t i = 0; i < OCLORA_STEP_MEMBERS; i++)
        if (group->member[i] == (int32_t)node) return true;
    return false;
}

/* Whether moving `node` to the group's place turns its order with a node it conflicts with. */
static bool may_move(const fusion *f, const oclora_step *group, uint32_t node)
{
    uint32_t reach = 2 * WINDOW; /* the other node may have moved as well */
    uint32_t first = node > reach ? node - reach : 0;
    uint32_t last = node + reach < f->graph->n_nodes ? node + reach : f->graph->n_nodes - 1;
    for (uint32_t m = first; m <= last; m++) {
        const oclora_step *step = own_step(f, (int32_t)m);
        if (step == NULL || is_member(group, m)) continue;
        bool turned = m < node ? step->at > group->at : step->at < group->at;
        if (turned && oclora_nodes_conflict(f->graph, &f->graph->nodes[m], &f->graph->nodes[node]))
            return false;
    }
    return true;
}

/* Puts the members together at `group->at` if all of them may move there. */
static bool commit(fusion *f, const oclora_step *group)
{
    for (uint32_t i = 0; i < OCLORA_STEP_MEMBERS; i++) {
        if (group->member[i] < 0) continue;
        uint32_t node = (uint32_t)group->member[i];
        uint32_t span = node < group->at ? group->at - node : node - group->at;
        if (span >= WINDOW || !may_move(f, group, node)) return false;
    }
    uint32_t home = f->step_of[group->at];
    for (uint32_t i = 0; i < OCLORA_STEP_MEMBERS; i++) {
        if (group->member[i] < 0) continue;
        f->plan->steps[f->step_of[group->member[i]]].n_members = 0;
        f->step_of[group->member[i]] = home;
    }
    f->plan->steps[home] = *group;
    return true;
}

/* ---- [add,] norm, product with a weight ---- */

void oclora_step_norm_call(const oclora_graph *graph, const oclora_step *step,
                           oclora_norm_call *out)
{
    const oclora_node *norm = node_of(graph, step->member[1]);
    const oclora_node *product = node_of(graph, step->member[2]);
    memset(out, 0, sizeof *out);
    out->a = *view_of(graph, norm->src[0]);
    out->scaled = *view_of(graph, norm->dst);
    out->weight = *view_of(graph, product->src[1]);
    out->y = *view_of(graph, product->dst);
    out->eps = norm->params.f[0];
    if (step->member[0] < 0) return;
    const oclora_node *sum = node_of(graph, step->member[0]);
    out->sum = *view_of(graph, sum->dst);
    out->a = *view_of(graph, sum->src[0]);
    out->b = *view_of(graph, sum->src[1]);
}

static bool norm_memory_fits(const oclora_norm_call *call)
{
    const oclora_tensor *all[5] = {&call->y, &call->scaled, &call->a, &call->b, &call->sum};
    const uint32_t count = call->b.ne[0] != 0 ? 5 : 3;
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = i + 1; j < count; j++)
            if (!oclora_tensors_apart_or_same(all[i], all[j])) return false;
    return !oclora_tensors_overlap(&call->weight, &call->y) &&
           !oclora_tensors_overlap(&call->weight, &call->scaled) &&
           (count == 3 || !oclora_tensors_overlap(&call->weight, &call->sum));
}

static bool try_norm(fusion *f, int32_t sum, int32_t norm, int32_t product)
{
    oclora_step group = {.kind = OCLORA_STEP_NORM,
                         .member = {sum, norm, product, -1},
                         .n_members = 3,
                         .at = (uint32_t)norm,
                         .row_set = OCLORA_ROW_SET_NONE};
    oclora_norm_call call;
    oclora_step_norm_call(f->graph, &group, &call);
    return oclora_add_norm_fits(&call) && norm_memory_fits(&call) && commit(f, &group);
}

static void fuse_norm(fusion *f, uint32_t number)
{
    const oclora_node *product = &f->graph->nodes[number];
    if (product->op != OCLORA_OP_MUL || !is_single(f, (int32_t)number, OCLORA_STEP_OP)) return;
    int32_t norm = f->graph->tensors[product->src[0]].producer;
    if (norm < 0 || f->graph->nodes[norm].op != OCLORA_OP_RMS_NORM ||
        !is_single(f, norm, OCLORA_STEP_OP))
        return;
    int32_t sum = f->graph->tensors[f->graph->nodes[norm].src[0]].producer;
    bool add =
        sum >= 0 && f->graph->nodes[sum].op == OCLORA_OP_ADD && is_single(f, sum, OCLORA_STEP_OP);
    if (add && try_norm(f, sum, norm, (int32_t)number)) return;
    (void)try_norm(f, -1, norm, (int32_t)number);
}

/* ---- products of one input ---- */

void oclora_step_group_call(const oclora_graph *graph, const oclora_step *step,
                            oclora_group_call *out)
{
    memset(out, 0, sizeof *out);
    out->count = step->n_members;
    out->x = *view_of(graph, node_of(graph, step->member[0])->src[1]);
    out->rows = (uint32_t)(out->x.ne[1] * out->x.ne[2] * out->x.ne[3]);
    for (uint32_t i = 0; i < step->n_members; i++) {
        const oclora_node *node = node_of(graph, step->member[i]);
        out->weight[i] = graph->tensors[node->src[0]].weight;
        out->y[i] = *view_of(graph, node->dst);
    }
}

static bool group_memory_fits(const oclora_group_call *call)
{
    for (uint32_t i = 0; i < call->count; i++) {
        if (oclora_tensors_overlap(&call->y[i], &call->x)) return false;
        for (uint32_t j = 0; j < i; j++)
            if (oclora_tensors_overlap(&call->y[i], &call->y[j])) return false;
    }
    return true;
}

static bool joins(const fusion *f, const oclora_node *first, uint32_t number)
{
    const oclora_node *node = &f->graph->nodes[number];
    if (!is_single(f, (int32_t)number, OCLORA_STEP_LINEAR)) return false;
    const oclora_weight *a = f->graph->tensors[first->src[0]].weight;
    const oclora_weight *b = f->graph->tensors[node->src[0]].weight;
    return node->src[1] == first->src[1] && a->type == b->type && a->layout == b->layout &&
           own_step(f, (int32_t)number)->flags == 0;
}

static void fuse_products(fusion *f, uint32_t number)
{
    if (!is_single(f, (int32_t)number, OCLORA_STEP_LINEAR)) return;
    oclora_step group = *own_step(f, (int32_t)number);
    const oclora_node *first = &f->graph->nodes[number];
    if (group.flags != 0 || !joins(f, first, number)) return;
    uint32_t end = number + WINDOW < f->graph->n_nodes ? number + WINDOW : f->graph->n_nodes;
    for (uint32_t i = number + 1; i < end && group.n_members < OCLORA_GROUP_WEIGHTS; i++)
        if (joins(f, first, i)) group.member[group.n_members++] = (int32_t)i;
    oclora_group_call call;
    oclora_step_group_call(f->graph, &group, &call);
    if (group.n_members > 1 && group_memory_fits(&call)) (void)commit(f, &group);
}

/* ---- rotation and storing of k and v ---- */

void oclora_step_rope_call(const oclora_graph *graph, const oclora_step *step,
                           oclora_rope_call *out)
{
    const oclora_node *k = node_of(graph, step->member[1]);
    const oclora_node *store = node_of(graph, step->member[2]);
    memset(out, 0, sizeof *out);
    out->k = *view_of(graph, k->src[0]);
    out->k_out = *view_of(graph, k->dst);
    out->positions = *view_of(graph, k->src[1]);
    if (k->src[2] >= 0) out->factors = *view_of(graph, k->src[2]);
    out->params = k->params;
    out->k_index = *view_of(graph, store->src[1]);
    out->k_cache = *view_of(graph, store->dst);
    if (step->member[0] >= 0) {
        const oclora_node *q = node_of(graph, step->member[0]);
        out->q = *view_of(graph, q->src[0]);
        out->q_out = *view_of(graph, q->dst);
    }
    if (step->member[3] >= 0) {
        const oclora_node *v = node_of(graph, step->member[3]);
        out->v = *view_of(graph, v->src[0]);
        out->v_index = *view_of(graph, v->src[1]);
        out->v_cache = *view_of(graph, v->dst);
    }
}

/* In place is allowed; otherwise results meet nothing. */
static bool rope_memory_fits(const oclora_rope_call *call)
{
    const oclora_tensor *results[4] = {&call->q_out, &call->k_out, &call->k_cache, &call->v_cache};
    const oclora_tensor *inputs[7] = {&call->q,       &call->k,       &call->k_index,  &call->v,
                                      &call->v_index, &call->factors, &call->positions};
    for (uint32_t r = 0; r < 4; r++) {
        if (results[r]->ne[0] == 0) continue;
        for (uint32_t i = 0; i < 7; i++) {
            if (inputs[i]->ne[0] == 0) continue;
            bool own = r == i && r < 2 && oclora_tensors_apart_or_same(results[r], inputs[i]);
            if (!own && oclora_tensors_overlap(results[r], inputs[i])) return false;
        }
        for (uint32_t o = 0; o < r; o++)
            if (results[o]->ne[0] != 0 && oclora_tensors_overlap(results[r], results[o]))
                return false;
    }
    return true;
}

/* Rows of k as they are stored: the rotated heads of each token, one behind the other. */
static bool stores_whole(const fusion *f, const oclora_node *rope, const oclora_node *store)
{
    const oclora_graph_tensor *rows = &f->graph->tensors[store->src[0]];
    const oclora_tensor *k = view_of(f->graph, rope->dst);
    return rows->root == f->graph->tensors[rope->dst].root && rows->view.offset == k->offset &&
           rows->view.type == k->type && rows->view.ne[0] == k->ne[0] * k->ne[1] &&
           rows->view.ne[1] == k->ne[2] && rows->view.ne[2] == 1 && rows->view.ne[3] == 1 &&
           k->nb[1] == k->ne[0] * 4 && rows->view.nb[0] == 4 &&
           (k->ne[2] <= 1 || rows->view.nb[1] == k->nb[2]);
}

/* The rope that made the rows of this store, or -1. */
static int32_t stored_rope(const fusion *f, const oclora_node *store)
{
    int32_t rope = f->graph->tensors[f->graph->tensors[store->src[0]].root].producer;
    if (rope < 0 || f->graph->nodes[rope].op != OCLORA_OP_ROPE ||
        !is_single(f, rope, OCLORA_STEP_OP) || !stores_whole(f, &f->graph->nodes[rope], store))
        return -1;
    return rope;
}

static bool turns_alike(const oclora_node *a, const oclora_node *b)
{
    return b->op == OCLORA_OP_ROPE && a->src[1] == b->src[1] && a->src[2] == b->src[2] &&
           memcmp(&a->params, &b->params, sizeof a->params) == 0;
}

static void fuse_rope(fusion *f, uint32_t number)
{
    const oclora_node *store = &f->graph->nodes[number];
    if (store->op != OCLORA_OP_SET_ROWS || !is_single(f, (int32_t)number, OCLORA_STEP_OP)) return;
    int32_t k = stored_rope(f, store);
    if (k < 0) return;
    int32_t q = -1;
    for (int32_t i = (int32_t)number - 1; i >= 0 && i + WINDOW > (int32_t)number && q < 0; i--)
        if (i != k && is_single(f, i, OCLORA_STEP_OP) &&
            turns_alike(&f->graph->nodes[k], &f->graph->nodes[i]))
            q = i;
    int32_t v = -1;
    for (uint32_t i = number + 1; i < f->graph->n_nodes && i < number + 8 && v < 0; i++)
        if (f->graph->nodes[i].op == OCLORA_OP_SET_ROWS && is_single(f, (int32_t)i, OCLORA_STEP_OP))
            v = (int32_t)i;
    /* With and without v, then without q: whatever the memory allows. */
    for (uint32_t tries = 0; tries < 4; tries++) {
        int32_t with_q = tries & 2 ? -1 : q;
        int32_t with_v = tries & 1 ? -1 : v;
        oclora_step group = {.kind = OCLORA_STEP_ROPE,
                             .member = {with_q, k, (int32_t)number, with_v},
                             .n_members = 4,
                             .at = with_v >= 0 ? (uint32_t)with_v : number,
                             .row_set = OCLORA_ROW_SET_NONE};
        oclora_rope_call call;
        oclora_step_rope_call(f->graph, &group, &call);
        if (oclora_rope_store_fits(&call) && rope_memory_fits(&call) && commit(f, &group)) return;
    }
}

/* Drops the steps whose nodes went elsewhere. Steps are in the order of their places. */
static void compact(oclora_plan *plan)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < plan->n_steps; i++)
        if (plan->steps[i].n_members > 0) plan->steps[kept++] = plan->steps[i];
    plan->n_steps = kept;
}

void oclora_plan_fuse(oclora_plan *plan)
{
    fusion f = {plan, &plan->placed, NULL};
    f.step_of = oclora_alloc(&plan->env, plan->graph.n_nodes, sizeof *f.step_of);
    if (f.step_of == NULL) return; /* one by one is as right */
    memset(f.step_of, 0xff, plan->graph.n_nodes * sizeof *f.step_of);
    for (uint32_t i = 0; i < plan->n_steps; i++) f.step_of[plan->steps[i].at] = i;
    for (uint32_t i = 0; i < plan->graph.n_nodes; i++) {
        fuse_norm(&f, i);
        fuse_products(&f, i);
    }
    for (uint32_t i = 0; i < plan->graph.n_nodes; i++) fuse_rope(&f, i);
    oclora_release(&plan->env, f.step_of);
    compact(plan);
}
