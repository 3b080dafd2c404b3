/* delta.h - inside of the adapted linear layer: what one call works on, and its two halves. */
#ifndef OCLORA_OP_DELTA_H
#define OCLORA_OP_DELTA_H

#include "host/op/lanes.h"
#include "host/op/row_work.h"

typedef struct oclora_linear_call {
    oclora_stream *stream;
    const oclora_weight *weight;
    const oclora_tensor *x;
    const oclora_tensor *y;
    const oclora_lane_table *lanes;
    const oclora_row_work *work;
    oclora_lane_summary summary; /* of the weight; zero: no adapter of the batch touches it */
    oclora_buffer *hidden;
    uint64_t core_offset;    /* of the hidden buffer's second half, for h' = M h */
    oclora_buffer *expanded; /* base products of multiplicative adapters' inputs */
    uint64_t expanded_offset;
    uint32_t flags;
    bool gpu;
} oclora_linear_call;

/* All that oclora_linear refuses, before anything is enqueued; fills the summary. `*rows`: of x. */
oclora_status oclora_linear_check(oclora_linear_call *call, uint32_t *rows, oclora_error *err);

/* y = W x for `rows` rows, in the layout the weight has. */
oclora_status oclora_linear_base(oclora_stream *stream, const oclora_weight *weight,
                                 const oclora_tensor *x, const oclora_tensor *y, uint32_t rows,
                                 oclora_error *err);

/* Whether the layer's adapters are of the kinds that one fused launch serves, on this device. */
bool oclora_linear_fuses(const oclora_linear_call *call);

/* As oclora_linear_delta for up to OCLORA_FUSED_LAYERS calls that fuse and share x, lanes and work:
 * one launch. */
enum { OCLORA_FUSED_LAYERS = 3 };
oclora_status oclora_linear_fused(const oclora_linear_call *calls, uint32_t count,
                                  oclora_error *err);

/* Adds every row's adapters to y, which holds the base product. */
oclora_status oclora_linear_delta(oclora_linear_call *call, oclora_error *err);

#endif
