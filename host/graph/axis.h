/* axis.h - along which dimensions do the tokens of a tensor lie, and where do they go in a view of
 * it?
 *
 * A label's dims and run say: the token of a position is its index in the lowest listed dimension
 * divided by run, plus the higher listed dimensions as further digits of the same count. A count of
 * one token (or none) needs no dimension: dims is 0. All functions return false where the tokens
 * cannot be followed; the label is then unchanged. */
#ifndef OCLORA_GRAPH_AXIS_H
#define OCLORA_GRAPH_AXIS_H

#include "host/graph/rows.h"

/* The same elements in the same order under other extents (reshape, contiguous copy). */
bool oclora_axis_reshape(oclora_row_label *label, uint64_t count, const uint64_t from[4],
                         const uint64_t to[4]);

/* A view of the same memory: slices of each token, permutations, merged or split dimensions. */
bool oclora_axis_view(oclora_row_label *label, uint64_t count, const oclora_tensor *parent,
                      const oclora_tensor *view);

#endif
