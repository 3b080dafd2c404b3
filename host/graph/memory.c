#include "host/graph/memory.h"

uint64_t oclora_tensor_end(const oclora_tensor *t)
{
    uint64_t block = oclora_type_block(t->type);
    uint64_t bytes = oclora_type_block_bytes(t->type);
    bool wraps = false;
    for (unsigned d = 0; d < 4; d++) {
        uint64_t ne = d == 0 && block > 1 ? t->ne[0] / block : t->ne[d];
        if (ne == 0) return t->offset;
        wraps = wraps || (ne > 1 && t->nb[d] > (UINT64_MAX - bytes) / (ne - 1));
        bytes += (ne - 1) * t->nb[d];
    }
    return wraps || bytes > UINT64_MAX - t->offset ? UINT64_MAX : t->offset + bytes;
}

bool oclora_tensors_overlap(const oclora_tensor *a, const oclora_tensor *b)
{
    return a->buffer == b->buffer && a->offset < oclora_tensor_end(b) &&
           b->offset < oclora_tensor_end(a);
}

bool oclora_tensors_apart_or_same(const oclora_tensor *a, const oclora_tensor *b)
{
    if (!oclora_tensors_overlap(a, b)) return true;
    bool same = a->offset == b->offset && a->type == b->type;
    for (unsigned d = 0; d < 4; d++)
        same = same && a->ne[d] == b->ne[d] && (a->ne[d] <= 1 || a->nb[d] == b->nb[d]);
    return same;
}

static bool writes_into(const oclora_graph *graph, const oclora_node *writer,
                        const oclora_node *reader)
{
    const oclora_tensor *dst = &graph->tensors[writer->dst].view;
    for (unsigned s = 0; s < OCLORA_NODE_SOURCES; s++)
        if (reader->src[s] >= 0 &&
            oclora_tensors_overlap(dst, &graph->tensors[reader->src[s]].view))
            return true;
    return false;
}

bool oclora_nodes_conflict(const oclora_graph *graph, const oclora_node *a, const oclora_node *b)
{
    if (a->op == OCLORA_OP_NONE || b->op == OCLORA_OP_NONE) return false;
    return writes_into(graph, a, b) || writes_into(graph, b, a) ||
           oclora_tensors_overlap(&graph->tensors[a->dst].view, &graph->tensors[b->dst].view);
}
