/* fused.h - several operators in one launch, with the bits they have one by one.
 *
 * `fits` looks at types, shapes and strides only (no device), and says whether the run may be
 * called. That results and inputs do not meet in memory, beyond what is said here, is the caller's
 * to check. */
#ifndef OCLORA_OP_FUSED_H
#define OCLORA_OP_FUSED_H

#include "host/op/ops.h"

/* sum = a + b; scaled = RMS norm of sum; y = scaled * weight. Without b: sum is a and not written.
 * All f32 with rows at one stride; weight f32, one row. Row by row, results may lie exactly where a
 * or b lie, and y where scaled or sum lie. */
typedef struct oclora_norm_call {
    oclora_tensor a;
    oclora_tensor b; /* ne[0] == 0: absent */
    oclora_tensor sum;
    oclora_tensor scaled;
    oclora_tensor weight;
    oclora_tensor y;
    float eps;
} oclora_norm_call;
bool oclora_add_norm_fits(const oclora_norm_call *call);
oclora_status oclora_add_norm(oclora_stream *stream, const oclora_norm_call *call,
                              oclora_error *err);

/* Rotates q (may be absent) and k, f32 [head, heads, tokens], and stores the rotated rows of k, and
 * the rows of v (may be absent), at their I64 indices in the caches. q_out may be q, k_out may be
 * k. */
typedef struct oclora_rope_call {
    oclora_tensor q, q_out; /* q.ne[0] == 0: absent */
    oclora_tensor k, k_out;
    oclora_tensor k_index, k_cache;    /* cache [head * k heads, rows], f32, f16 or bf16 */
    oclora_tensor v, v_index, v_cache; /* v f32 [width, tokens]; v.ne[0] == 0: absent */
    oclora_tensor positions;           /* I32 [tokens] */
    oclora_tensor factors;             /* f32 or absent */
    oclora_node_params params;         /* of both ropes */
} oclora_rope_call;
bool oclora_rope_store_fits(const oclora_rope_call *call);
oclora_status oclora_rope_store(oclora_stream *stream, const oclora_rope_call *call,
                                oclora_error *err);

/* Up to three linear layers of one input. y[i] = what oclora_linear gives for weight[i], bit by
 * bit, and refused as it refuses any of them, before anything is enqueued. x and y as oclora_linear
 * has them; `work` NULL = no adapters. The base products take one launch where all weights are PANEL
 * of one type and rows are few. */
enum { OCLORA_GROUP_WEIGHTS = 3, OCLORA_GROUP_ROWS = 16 };
typedef struct oclora_group_call {
    uint32_t count;
    uint32_t rows;
    const oclora_weight *weight[OCLORA_GROUP_WEIGHTS];
    oclora_tensor x;
    oclora_tensor y[OCLORA_GROUP_WEIGHTS];
    const oclora_row_work *work[OCLORA_GROUP_WEIGHTS];
} oclora_group_call;
oclora_status oclora_linear_group(oclora_stream *stream, const oclora_group_call *call,
                                  const oclora_lane_table *lanes, oclora_error *err);

#endif
