/* linear.h - the adapted linear layer: base product plus every row's own adapters. */
#ifndef OCLORA_OP_LINEAR_H
#define OCLORA_OP_LINEAR_H

#include "host/adapter/pool.h"
#include "host/batch/batch.h"
#include "host/op/tensor.h"

/* Lanes of a set of adapters over all weights of a base, on the device: lane (weight id w, adapter
 * k) is element w * n_adapters + k. Immutable; rebuild when the set of adapters changes. */
typedef struct oclora_lane_table oclora_lane_table;
oclora_status oclora_lane_table_create(oclora_lane_table **out, oclora_stream *stream,
                                       oclora_pool *pool, const oclora_adapter_handle *handles,
                                       uint32_t n_adapters, oclora_error *err);
void oclora_lane_table_destroy(oclora_lane_table *table);
/* Whether an adapter averages over sequences: then the batch must say which rows they have
 * (oclora_batch.instance), or layers it adapts are refused with ROWS_UNKNOWN. */
bool oclora_lane_table_needs_instances(const oclora_lane_table *table);

/* A work list on the device. Reused across calls: `update` overwrites (after earlier work of the
 * stream, in order). */
typedef struct oclora_row_work oclora_row_work;
oclora_status oclora_row_work_create(oclora_row_work **out, oclora_stream *stream,
                                     oclora_error *err);
oclora_status oclora_row_work_update(oclora_row_work *work, const oclora_worklist *list,
                                     oclora_error *err);
/* Work that used the list failed: what was uploaded on the way is uploaded again when needed. */
void oclora_row_work_suspect(oclora_row_work *work);
void oclora_row_work_destroy(oclora_row_work *work);

/* y[t] = adapted W x[t] (+ bias). x: f32 [rows, d_in], y: f32 [rows, d_out], rows =
 * ne[1]*ne[2]*ne[3] contiguous rows of any stride nb[1]. `bias` (f32 [d_out], buffer may be NULL)
 * is added once and unscaled. `lanes` and `work` NULL = the base product only; `work` must be of the
 * same stream. `flags`: see below.
 * Order per row is fixed: base product k ascending, then the row's entries in order. */
enum {
    OCLORA_LINEAR_DELTA_ONLY = 1u << 0, /* y already holds the base product; add the delta.
                                           Multiplicative kinds: NOT_SUPPORTED */
    OCLORA_LINEAR_TILES = 1u << 1       /* shrink and expand in two launches, never fused; the
                                           results are bitwise the same */
};
oclora_status oclora_linear(oclora_stream *stream, const oclora_weight *weight,
                            const oclora_tensor *x, const oclora_tensor *bias,
                            const oclora_tensor *y, const oclora_lane_table *lanes,
                            const oclora_row_work *work, uint32_t flags, oclora_error *err);

/* The base product alone; also for PLAIN weights that are views. Batched over ne[2], ne[3] of x
 * with ggml's broadcast rule; used for attention scores too. a: [k, m, b2, b3] any weight type
 * PLAIN, x: f32 [k, n, c2, c3], y: f32 [m, n, c2, c3]. */
oclora_status oclora_matmul(oclora_stream *stream, const oclora_tensor *a, const oclora_tensor *x,
                            const oclora_tensor *y, oclora_error *err);

#endif
