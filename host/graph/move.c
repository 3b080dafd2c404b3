/* move.c - why: an allocator gives q's product the memory that v's product takes after q was
 * rotated. Products of one input can then not run together, although nothing depends on it. */
#include "host/graph/memory.h"
#include "host/graph/plan.h"

enum { REACH = 32, PLACES = 4, ALIGN = 256 };

static bool reads(const oclora_graph *graph, const oclora_node *node, int32_t root)
{
    if (node->op == OCLORA_OP_NONE) return false;
    for (unsigned s = 0; s < OCLORA_NODE_SOURCES; s++)
        if (node->src[s] >= 0 && graph->tensors[node->src[s]].root == root) return true;
    return false;
}

/* A later product of the same input whose result overlaps this one's. */
static bool is_in_the_way(const oclora_graph *graph, uint32_t number)
{
    const oclora_node *node = &graph->nodes[number];
    for (uint32_t i = number + 1; i < graph->n_nodes && i < number + REACH; i++) {
        const oclora_node *later = &graph->nodes[i];
        if (later->op == OCLORA_OP_MUL_MAT && later->src[1] == node->src[1] &&
            graph->tensors[later->src[0]].weight != NULL &&
            oclora_tensors_overlap(&graph->tensors[node->dst].view,
                                   &graph->tensors[later->dst].view))
            return true;
    }
    return false;
}

static bool covers(const oclora_tensor *writer, const oclora_tensor *t)
{
    uint64_t bytes = oclora_type_block_bytes(writer->type);
    uint64_t block = oclora_type_block(writer->type);
    for (unsigned d = 0; d < 4; d++) bytes *= d == 0 ? writer->ne[0] / block : writer->ne[d];
    return writer->buffer == t->buffer && writer->offset <= t->offset &&
           writer->offset + bytes == oclora_tensor_end(writer) &&
           oclora_tensor_end(writer) >= oclora_tensor_end(t);
}

/* Only this node writes it, and after its last reader something else overwrites all of it before
 * the graph ends: so nobody outside can look at it. */
static bool dies_inside(const oclora_graph *graph, uint32_t number)
{
    const oclora_node *node = &graph->nodes[number];
    const oclora_graph_tensor *t = &graph->tensors[node->dst];
    if (t->root != node->dst || (t->flags & OCLORA_TENSOR_OUTPUT)) return false;
    bool overwritten = false;
    for (uint32_t i = number + 1; i < graph->n_nodes; i++) {
        const oclora_node *later = &graph->nodes[i];
        if (later->op == OCLORA_OP_NONE) continue;
        if (reads(graph, later, node->dst)) {
            if (overwritten || i > number + REACH) return false;
        } else if (graph->tensors[later->dst].root == node->dst) {
            return false;
        } else if (covers(&graph->tensors[later->dst].view, &t->view)) {
            overwritten = true;
        }
    }
    return overwritten;
}

static void move(oclora_plan *plan, int32_t root, uint64_t offset)
{
    /* The plan's own copy, const only for those who read it. */
    oclora_graph_tensor *placed = (oclora_graph_tensor *)plan->placed.tensors;
    uint64_t from = plan->graph.tensors[root].view.offset;
    for (uint32_t i = 0; i < plan->graph.n_tensors; i++) {
        if (plan->graph.tensors[i].root != root) continue;
        placed[i].view.buffer = NULL;
        placed[i].view.offset = plan->graph.tensors[i].view.offset - from + offset;
        plan->is_moved[i] = 1;
    }
}

void oclora_plan_move(oclora_plan *plan)
{
    const oclora_graph *graph = &plan->graph;
    uint64_t place = 0; /* bytes of the largest */
    for (uint32_t pass = 0; pass < 2; pass++) {
        uint32_t count = 0;
        for (uint32_t i = 0; i < graph->n_nodes; i++) {
            const oclora_node *node = &graph->nodes[i];
            if (node->op != OCLORA_OP_MUL_MAT || graph->tensors[node->src[0]].weight == NULL ||
                !is_in_the_way(graph, i) || !dies_inside(graph, i))
                continue;
            const oclora_tensor *t = &graph->tensors[node->dst].view;
            uint64_t bytes = (oclora_tensor_end(t) - t->offset + ALIGN - 1) / ALIGN * ALIGN;
            if (pass == 0 && bytes > place) place = bytes;
            if (pass == 1) move(plan, node->dst, count++ % PLACES * place);
        }
    }
    plan->moved_bytes = place * PLACES;
}

void oclora_plan_place(oclora_plan *plan, oclora_buffer *buffer)
{
    if (plan->moved_bytes == 0 || plan->moved_buffer == buffer) return;
    oclora_graph_tensor *placed = (oclora_graph_tensor *)plan->placed.tensors;
    for (uint32_t i = 0; i < plan->graph.n_tensors; i++)
        if (plan->is_moved[i]) placed[i].view.buffer = buffer;
    plan->moved_buffer = buffer;
}
