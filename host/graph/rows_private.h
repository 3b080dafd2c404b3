/* rows_private.h - shared by the files of the labelling pass. */
#ifndef OCLORA_GRAPH_ROWS_PRIVATE_H
#define OCLORA_GRAPH_ROWS_PRIVATE_H

#include "host/graph/axis.h"

/* While labelling: a leaf, or computed from leaves alone. Becomes OTHER at the end. */
enum { OCLORA_ROWS_CONSTANT = 3 };

typedef struct oclora_labelling {
    const oclora_graph *graph;
    oclora_row_label *labels; /* [n_tensors] */
    const uint8_t *is_entry;  /* [n_tensors] not 0: the K cache's rows come from here */
    uint64_t n_tokens;
} oclora_labelling;

/* The label of a node's output from those of its inputs. */
oclora_row_label oclora_label_node(const oclora_labelling *state, const oclora_node *node);

static inline bool oclora_label_has_rows(const oclora_row_label *label)
{
    return label->kind == OCLORA_ROWS_TOKENS || label->kind == OCLORA_ROWS_SELECTED;
}

static inline oclora_row_label oclora_label_make(uint32_t kind, int32_t ids, uint32_t dims)
{
    oclora_row_label label = {kind, ids, dims, 1};
    return label;
}

#endif
