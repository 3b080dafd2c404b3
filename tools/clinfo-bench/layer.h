/* layer.h - an adapted linear layer made of random numbers, for the self-test and for timing. */
#ifndef OCLORA_TOOLS_CLINFO_BENCH_LAYER_H
#define OCLORA_TOOLS_CLINFO_BENCH_LAYER_H

#include "tools/clinfo-bench/selftest.h"

#include "host/op/lanes.h"

enum { BENCH_LAYER_ADAPTERS = 4, BENCH_LAYER_MOST_ADAPTERS = 32 };
enum { BENCH_LAYER_PAIRS = 2, BENCH_LAYER_EXPERTS = 4, BENCH_LAYER_TOP_K = 2 };

typedef struct bench_layer_plan {
    oclora_type type; /* of the base weight */
    oclora_type factor;
    uint32_t d_in, d_out, rows;
    uint32_t n_adapters; /* 0 = base product only */
    uint32_t ranks[BENCH_LAYER_MOST_ADAPTERS];
    bool bias;     /* added to every row */
    bool multiply; /* adapter 1 also multiplies, with two pairs of vectors */
    bool routed;   /* adapter 2 routes to 2 of 4 experts */
    bool paired;   /* adapter 2 pairs experts, one a rank row, for two sequences */
    bool scaled;   /* adapter 0 sums pairs of inputs, has a core, and scales and shifts outputs */
    bool mixed;    /* rows of one adapter, of two, of none; else row t has adapter t % n */
} bench_layer_plan;

typedef struct bench_layer {
    selftest *t;
    bench_layer_plan plan;
    oclora_base *base;
    const oclora_weight *weight;
    case_tensor w, x, y, bias; /* w.values: what the device serves */
    oclora_buffer *pool;
    float *a[BENCH_LAYER_MOST_ADAPTERS], *b[BENCH_LAYER_MOST_ADAPTERS];
    float *scale[BENCH_LAYER_MOST_ADAPTERS];
    float *mul_u, *mul_v; /* [2][d_out], [2][d_in] of adapter 1 */
    float *gate, *gate_b; /* [experts][d_in] of adapter 2 */
    float *pair_table;    /* [2][experts][experts] */
    float *core;          /* [rank][rank] of adapter 0 */
    float *u, *beta, *c;  /* [d_out] of adapter 0 */
    uint32_t *row_start, *adapter, *instance;
    float *weights;
    oclora_lane_table *lanes;
    oclora_row_work *work;
    uint64_t factor_bytes;
} bench_layer;

/* `layer` is zeroed by the caller and destroyed by the caller also after an error. */
oclora_status bench_layer_create(bench_layer *layer, selftest *t, const bench_layer_plan *plan,
                                 oclora_error *err);
void bench_layer_destroy(bench_layer *layer);
/* Enqueues the layer; flags as oclora_linear. */
oclora_status bench_layer_run(bench_layer *layer, uint32_t flags, oclora_error *err);
uint32_t bench_layer_group(const bench_layer_plan *plan, uint32_t k); /* neighbours A sums of x */
uint32_t bench_layer_experts(const bench_layer_plan *plan);
/* expected: [rows * d_out]. */
oclora_status bench_layer_reference(const bench_layer *layer, double *expected, oclora_error *err);

#endif
