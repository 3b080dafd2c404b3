/* ops.h - every operator of the engine: can it run, and run it. */
#ifndef OCLORA_OP_OPS_H
#define OCLORA_OP_OPS_H

#include "host/graph/graph.h"
#include "host/op/linear.h"

/* Tensors of one node as the ops take them; absent ones have buffer NULL and ne[0] == 0. Only types
 * and shapes are looked at by `supported`, so buffers may be NULL there. */
typedef struct oclora_op_call {
    uint32_t op; /* OCLORA_OP_* */
    uint32_t n_src;
    oclora_node_params params;
    oclora_tensor dst;
    oclora_tensor src[OCLORA_NODE_SOURCES];
} oclora_op_call;

/* True only if oclora_op_run will compute it, for this device. */
bool oclora_op_supported(const oclora_context *context, const oclora_op_call *call);

/* Enqueues the op. NOT_SUPPORTED (named with types and shapes) for what `supported` declines. */
oclora_status oclora_op_run(oclora_stream *stream, const oclora_op_call *call, oclora_error *err);

const char *oclora_op_name(uint32_t op);

#endif
