/* onednn.h - the base product by oneDNN (version 2): a matmul primitive whose weight was packed
 * before, in f32 from the dequantised weight, or of signed bytes with one scale a matrix. */
#ifndef OCLORA_BENCH_ONEDNN_H
#define OCLORA_BENCH_ONEDNN_H

#include "tools/bench/layer.h"

typedef struct bench_dnn {
    struct bench_dnn_state *state;
    float *y; /* [rows][d_out] */
} bench_dnn;

/* Whether the library was there when this program was built. */
bool bench_dnn_built(void);

/* Makes its threads, before an OpenCL runtime gives this one a place that they would inherit. */
void bench_dnn_begin(uint32_t threads);

/* `threads`: as many as the other contender has. */
bool bench_dnn_open(bench_dnn *out, bench_layer *layer, bool s8, uint32_t threads);
bool bench_dnn_run(void *dnn, uint32_t repeats);
void bench_dnn_close(bench_dnn *dnn);
/* Greatest difference of y over greatest value, engine against peer; negative if it fails. */
double bench_dnn_error(bench_dnn *dnn, bench_layer *layer);

#endif
