/* fuse.h - the steps of a plan as calls of host/op/fused.h. */
#ifndef OCLORA_GRAPH_FUSE_H
#define OCLORA_GRAPH_FUSE_H

#include "host/graph/plan.h"
#include "host/op/fused.h"

/* The call of a NORM or ROPE step over the plan's placed graph.
 */
void oclora_step_norm_call(const oclora_graph *graph, const oclora_step *step,
                           oclora_norm_call *out);
void oclora_step_rope_call(const oclora_graph *graph, const oclora_step *step,
                           oclora_rope_call *out);
void oclora_step_group_call(const oclora_graph *graph, const oclora_step *step,
                            oclora_group_call *out);

#endif
