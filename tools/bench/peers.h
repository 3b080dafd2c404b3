/* peers.h - what others would do for the adapters of a batch: a loop over adapters with OpenBLAS,
 * or with CLBlast on the same device; and sgemm on the dequantised weight. */
#ifndef OCLORA_BENCH_PEERS_H
#define OCLORA_BENCH_PEERS_H

#include "tools/bench/blas.h"
#include "tools/bench/layer.h"

/* Factors in f32, each in the order that a few trial runs found fastest. */
typedef struct bench_loop {
    const bench_openblas *blas;
    const bench_layer *layer;
    float *a[2][BENCH_OUTPUTS]; /* [adapters][rank][d_in], and transposed */
    float *b[2][BENCH_OUTPUTS]; /* [adapters][rank][d_out], and transposed */
    float *h, *y[BENCH_OUTPUTS];
    uint32_t a_order, b_order, threads;
} bench_loop;

/* `threads_max`: as many threads as the other contender has. Chooses orders and threads. */
bool bench_loop_open(bench_loop *out, const bench_openblas *blas, const bench_layer *layer,
                     uint32_t threads_max);
bool bench_loop_run(void *loop, uint32_t repeats);
void bench_loop_close(bench_loop *loop);

/* Greatest difference of y over greatest value, engine against loop; negative if it fails. Both run
 * once. */
double bench_loop_error(bench_loop *loop, bench_layer *layer);

typedef struct bench_cl_loop {
    const bench_clblast *clblast;
    bench_layer *layer;
    cl_mem x, a, b, h, y;
    size_t *offsets; /* [5][adapters] */
    float *ones, *zeros;
    bool batched;
} bench_cl_loop;

/* For layers with as many rows as adapters. */
bool bench_cl_loop_open(bench_cl_loop *out, const bench_clblast *clblast, bench_layer *layer,
                        bool batched);
bool bench_cl_loop_run(void *loop, uint32_t repeats);
void bench_cl_loop_close(bench_cl_loop *loop);

/* The base product runs once. Greatest difference of its y from the peer's over the greatest value;
 * negative if it fails. */
double bench_base_difference(bench_layer *layer, const float *peer);

typedef struct bench_sgemm {
    const bench_openblas *blas;
    const bench_layer *layer;
    float *w[2]; /* [d_out][d_in], and transposed */
    float *y;
    uint32_t order, threads;
} bench_sgemm;

bool bench_sgemm_open(bench_sgemm *out, const bench_openblas *blas, bench_layer *layer,
                      uint32_t threads_max);
bool bench_sgemm_run(void *gemm, uint32_t repeats);
void bench_sgemm_close(bench_sgemm *gemm);
double bench_sgemm_error(bench_sgemm *gemm, bench_layer *layer);

#endif
