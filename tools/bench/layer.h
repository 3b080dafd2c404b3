/* layer.h - layers of one input with a base weight each, and a batch over random adapters. */
#ifndef OCLORA_BENCH_LAYER_H
#define OCLORA_BENCH_LAYER_H

#include "host/op/lanes.h"
#include "tools/bench/device.h"

enum { BENCH_OUTPUTS = 3 };

typedef struct bench_shape {
    uint32_t d_in;
    uint32_t d_out[BENCH_OUTPUTS]; /* 0 = no such layer */
    uint32_t rows;
    uint32_t adapters; /* rows are divided among them, in runs; 0 = the base alone */
    uint32_t rank;
    oclora_type weight_type;
    oclora_type factor_type; /* F32 or F16 */
} bench_shape;

typedef struct bench_layer {
    bench_shape shape;
    bench_device *device;
    uint32_t n_out;
    oclora_base *base;
    oclora_buffer *w, *x, *y, *pool;
    const oclora_weight *weight[BENCH_OUTPUTS];
    oclora_lane_table *lanes;
    oclora_row_work *work;
    oclora_tensor x_rows, y_rows[BENCH_OUTPUTS];
    struct bench_layer *others; /* see bench_layer_spread */
    uint32_t n_others;
    uint32_t turn;
    /* The same values in host memory, f32. */
    float *host_x;                /* [rows][d_in] */
    float *host_a[BENCH_OUTPUTS]; /* [adapters][rank][d_in] */
    float *host_b[BENCH_OUTPUTS]; /* [adapters][rank][d_out] */
} bench_layer;

/* False after a message. */
bool bench_layer_open(bench_layer *out, bench_device *device, const bench_shape *shape);
void bench_layer_close(bench_layer *layer);

/* First row of the adapter; of `adapters`, the end. */
uint32_t bench_layer_row(const bench_layer *layer, uint32_t adapter);

/* Bench sides: the adapters' share alone, and the base products alone. */
bool bench_layer_delta(void *layer, uint32_t repeats);
bool bench_layer_base(void *layer, uint32_t repeats);
/* The same as a graph runs them: few rows in chains (oclora_stream_chain_begin), which are compiled
 * at the second call with several repeats. */
bool bench_layer_delta_graph(void *layer, uint32_t repeats);
bool bench_layer_base_graph(void *layer, uint32_t repeats);

/* The sides go through `places` layers of this shape in turns from here on: with more bytes
 * together than the device caches, every one comes from memory, as those of a whole model do. */
bool bench_layer_spread(bench_layer *layer, uint32_t places);

/* y of one layer as zero; and copied to `values` [rows][d_out]. */
bool bench_layer_clear(bench_layer *layer);
bool bench_layer_read(bench_layer *layer, uint32_t number, float *values);

/* Least bytes the adapters' share moves, and its operations: every factor once, x and h once a
 * layer, y read and written. */
double bench_layer_bytes(const bench_layer *layer);
double bench_layer_flops(const bench_layer *layer);

#endif
