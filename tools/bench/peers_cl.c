#include "tools/bench/peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OFFSET_A, OFFSET_X, OFFSET_H, OFFSET_B, OFFSET_Y, OFFSET_KINDS };

static bool say(const char *what, int code)
{
    fprintf(stderr, "oclora-bench: %s: status %d\n", what, code);
    return false;
}

/* h = A x, y += h B, one GEMV pair an adapter. */
static int run_gemv(const bench_cl_loop *l)
{
    const bench_shape *s = &l->layer->shape;
    const size_t in = s->d_in, out = s->d_out[0], r = s->rank;
    cl_command_queue queue = l->layer->device->queue;
    int code = 0;
    for (size_t k = 0; k < s->adapters && !code; k++) {
        code = l->clblast->sgemv(BLAS_ROW_MAJOR, BLAS_PLAIN, r, in, 1, l->a, k * r * in, in, l->x,
                                 k * in, 1, 0, l->h, k * r, 1, &queue, NULL);
        if (!code)
            code = l->clblast->sgemv(BLAS_ROW_MAJOR, BLAS_TRANSPOSED, r, out, 1, l->b, k * r * out,
                                     out, l->h, k * r, 1, 1, l->y, k * out, 1, &queue, NULL);
    }
    return code;
}

static int run_batched(const bench_cl_loop *l)
{
    const bench_shape *s = &l->layer->shape;
    const size_t in = s->d_in, out = s->d_out[0], r = s->rank, n = s->adapters;
    const size_t *at = l->offsets;
    cl_command_queue queue = l->layer->device->queue;
    int code = l->clblast->sgemm_batched(
        BLAS_ROW_MAJOR, BLAS_PLAIN, BLAS_TRANSPOSED, 1, r, in, l->ones, l->x, at + OFFSET_X * n, in,
        l->a, at + OFFSET_A * n, in, l->zeros, l->h, at + OFFSET_H * n, r, n, &queue, NULL);
    if (code) return code;
    return l->clblast->sgemm_batched(BLAS_ROW_MAJOR, BLAS_PLAIN, BLAS_PLAIN, 1, out, r, l->ones,
                                     l->h, at + OFFSET_H * n, r, l->b, at + OFFSET_B * n, out,
                                     l->ones, l->y, at + OFFSET_Y * n, out, n, &queue, NULL);
}

bool bench_cl_loop_run(void *user, uint32_t repeats)
{
    bench_cl_loop *l = user;
    for (uint32_t i = 0; i < repeats; i++) {
        int code = l->batched ? run_batched(l) : run_gemv(l);
        if (code) return say("CLBlast", code);
    }
    cl_int code = clFinish(l->layer->device->queue);
    return code == CL_SUCCESS ? true : say("clFinish", (int)code);
}

static cl_mem buffer_of(bench_cl_loop *l, size_t floats, const float *values)
{
    cl_mem_flags flags = CL_MEM_READ_WRITE | (values ? CL_MEM_COPY_HOST_PTR : 0);
    void *copy = NULL;
    if (values) memcpy(&copy, &values, sizeof copy); /* OpenCL takes it without const */
    return clCreateBuffer(l->layer->device->cl, flags, floats * 4, copy, NULL);
}

static void fill_offsets(bench_cl_loop *l)
{
    const bench_shape *s = &l->layer->shape;
    const size_t n = s->adapters, in = s->d_in, out = s->d_out[0], r = s->rank;
    const size_t steps[OFFSET_KINDS] = {r * in, in, r, r * out, out};
    for (size_t k = 0; k < n; k++) {
        for (size_t i = 0; i < OFFSET_KINDS; i++) l->offsets[i * n + k] = k * steps[i];
        l->ones[k] = 1;
    }
}

bool bench_cl_loop_open(bench_cl_loop *out, const bench_clblast *clblast, bench_layer *layer,
                        bool batched)
{
    const bench_shape *s = &layer->shape;
    const size_t n = s->adapters, r = s->rank;
    memset(out, 0, sizeof *out);
    out->clblast = clblast;
    out->layer = layer;
    out->batched = batched;
    out->offsets = calloc(OFFSET_KINDS * n, sizeof *out->offsets);
    out->ones = calloc(n, sizeof *out->ones);
    out->zeros = calloc(n, sizeof *out->zeros);
    out->x = buffer_of(out, n * s->d_in, layer->host_x);
    out->a = buffer_of(out, n * r * s->d_in, layer->host_a[0]);
    out->b = buffer_of(out, n * r * s->d_out[0], layer->host_b[0]);
    out->h = buffer_of(out, n * r, NULL);
    out->y = buffer_of(out, n * s->d_out[0], NULL);
    if (out->offsets && out->ones && out->zeros && out->x && out->a && out->b && out->h && out->y) {
        fill_offsets(out);
        return true;
    }
    bench_cl_loop_close(out);
    return false;
}

void bench_cl_loop_close(bench_cl_loop *loop)
{
    cl_mem buffers[] = {loop->x, loop->a, loop->b, loop->h, loop->y};
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++)
        if (buffers[i]) clReleaseMemObject(buffers[i]);
    free(loop->offsets);
    free(loop->ones);
    free(loop->zeros);
    memset(loop, 0, sizeof *loop);
}
