/* memory.h - do two tensors, or two nodes of a graph, meet in memory? */
#ifndef OCLORA_GRAPH_MEMORY_H
#define OCLORA_GRAPH_MEMORY_H

#include "host/graph/graph.h"

/* One past the last byte; the offset itself if the tensor is empty. */
uint64_t oclora_tensor_end(const oclora_tensor *tensor);

bool oclora_tensors_overlap(const oclora_tensor *a, const oclora_tensor *b);

/* Apart, or exactly the same place and shape. */
bool oclora_tensors_apart_or_same(const oclora_tensor *a, const oclora_tensor *b);

/* Whether the nodes must keep their order: one writes what the other reads or writes. */
bool oclora_nodes_conflict(const oclora_graph *graph, const oclora_node *a, const oclora_node *b);

#endif
