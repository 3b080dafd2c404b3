/* blas.h - OpenBLAS and CLBlast as they are installed, found at run time: neither is needed to
 * build. Matrices are row-major. */
#ifndef OCLORA_BENCH_BLAS_H
#define OCLORA_BENCH_BLAS_H

#include <CL/cl.h>
#include <stdbool.h>
#include <stddef.h>

/* cblas.h's numbers. CLBlast's are the same. */
enum { BLAS_ROW_MAJOR = 101, BLAS_PLAIN = 111, BLAS_TRANSPOSED = 112 };

typedef struct bench_openblas {
    void *library;
    void (*sgemm)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                  const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);
    void (*sgemv)(int order, int trans, int m, int n, float alpha, const float *a, int lda,
                  const float *x, int incx, float beta, float *y, int incy);
    void (*set_threads)(int count);
    char *(*config)(void);
    int (*set_affinity)(int thread, size_t size, const void *cpus); /* NULL in older ones */
} bench_openblas;

/* False: not installed. */
bool bench_openblas_open(bench_openblas *out);

typedef struct bench_clblast {
    void *library;
    int (*sgemv)(int layout, int trans, size_t m, size_t n, float alpha, cl_mem a, size_t a_offset,
                 size_t a_ld, cl_mem x, size_t x_offset, size_t x_inc, float beta, cl_mem y,
                 size_t y_offset, size_t y_inc, cl_command_queue *queue, cl_event *event);
    int (*sgemm_batched)(int layout, int trans_a, int trans_b, size_t m, size_t n, size_t k,
                         const float *alphas, cl_mem a, const size_t *a_offsets, size_t a_ld,
                         cl_mem b, const size_t *b_offsets, size_t b_ld, const float *betas,
                         cl_mem c, const size_t *c_offsets, size_t c_ld, size_t count,
                         cl_command_queue *queue, cl_event *event);
} bench_clblast;

bool bench_clblast_open(bench_clblast *out);

#endif
