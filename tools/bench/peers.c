#include "tools/bench/peers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static float *transposed(const float *m, uint32_t count, uint32_t rows, uint32_t columns)
{
    float *out = malloc((size_t)count * rows * columns * sizeof *out);
    for (size_t k = 0; out && k < count; k++)
        for (size_t i = 0; i < rows; i++)
            for (size_t j = 0; j < columns; j++)
                out[(k * columns + j) * rows + i] = m[(k * rows + i) * columns + j];
    return out;
}

static void shrink(const bench_loop *l, uint32_t number, uint32_t adapter, uint32_t first, int m)
{
    const bench_shape *s = &l->layer->shape;
    const int in = (int)s->d_in, r = (int)s->rank;
    const float *x = l->layer->host_x + (size_t)first * s->d_in;
    const float *a = l->a[l->a_order][number] + (size_t)adapter * s->rank * s->d_in;
    const bool plain = l->a_order == 0;
    if (m == 1)
        l->blas->sgemv(BLAS_ROW_MAJOR, plain ? BLAS_PLAIN : BLAS_TRANSPOSED, plain ? r : in,
                       plain ? in : r, 1, a, plain ? in : r, x, 1, 0, l->h, 1);
    else
        l->blas->sgemm(BLAS_ROW_MAJOR, BLAS_PLAIN, plain ? BLAS_TRANSPOSED : BLAS_PLAIN, m, r, in,
                       1, x, in, a, plain ? in : r, 0, l->h, r);
}

static void expand(const bench_loop *l, uint32_t number, uint32_t adapter, uint32_t first, int m)
{
    const bench_shape *s = &l->layer->shape;
    const int out = (int)s->d_out[number], r = (int)s->rank;
    float *y = l->y[number] + (size_t)first * s->d_out[number];
    const float *b = l->b[l->b_order][number] + (size_t)adapter * s->rank * s->d_out[number];
    const bool plain = l->b_order == 0;
    if (m == 1)
        l->blas->sgemv(BLAS_ROW_MAJOR, plain ? BLAS_TRANSPOSED : BLAS_PLAIN, plain ? r : out,
                       plain ? out : r, 1, b, plain ? out : r, l->h, 1, 1, y, 1);
    else
        l->blas->sgemm(BLAS_ROW_MAJOR, BLAS_PLAIN, plain ? BLAS_PLAIN : BLAS_TRANSPOSED, m, out, r,
                       1, l->h, r, b, plain ? out : r, 1, y, out);
}

bool bench_loop_run(void *user, uint32_t repeats)
{
    const bench_loop *l = user;
    bench_place before;
    const bool moved = bench_place_first(&before, l->threads > 1 && l->blas->set_affinity);
    l->blas->set_threads((int)l->threads);
    for (uint32_t i = 0; i < repeats; i++)
        for (uint32_t n = 0; n < l->layer->n_out; n++)
            for (uint32_t k = 0; k < l->layer->shape.adapters; k++) {
                uint32_t first = bench_layer_row(l->layer, k);
                uint32_t end = bench_layer_row(l->layer, k + 1);
                if (first == end) continue;
                shrink(l, n, k, first, (int)(end - first));
                expand(l, n, k, first, (int)(end - first));
            }
    if (moved) bench_place_set(&before);
    return true;
}

/* The fastest of the four orders and the thread counts. */
static void choose(bench_loop *l, uint32_t threads_max)
{
    double best = -1;
    bench_loop chosen = *l;
    for (uint32_t i = 0; i < 8; i++) {
        l->a_order = i & 1;
        l->b_order = i >> 1 & 1;
        l->threads = i & 4 ? threads_max : 1;
        if (i & 4 && threads_max == 1) break;
        bench_side side = {bench_loop_run, l};
        double took = bench_time_alone(&side, 0.02);
        if (best >= 0 && took >= best) continue;
        best = took;
        chosen = *l;
    }
    *l = chosen;
}

bool bench_loop_open(bench_loop *out, const bench_openblas *blas, const bench_layer *layer,
                     uint32_t threads_max)
{
    const bench_shape *s = &layer->shape;
    memset(out, 0, sizeof *out);
    out->blas = blas;
    out->layer = layer;
    out->h = malloc((size_t)s->rows * s->rank * sizeof *out->h);
    bool ok = out->h;
    for (uint32_t i = 0; i < layer->n_out; i++) {
        out->a[0][i] = layer->host_a[i];
        out->b[0][i] = layer->host_b[i];
        out->a[1][i] = transposed(layer->host_a[i], s->adapters, s->rank, s->d_in);
        out->b[1][i] = transposed(layer->host_b[i], s->adapters, s->rank, s->d_out[i]);
        out->y[i] = calloc((size_t)s->rows * s->d_out[i], sizeof(float));
        ok = ok && out->a[1][i] && out->b[1][i] && out->y[i];
    }
    if (ok)
        choose(out, threads_max);
    else
        bench_loop_close(out);
    return ok;
}

void bench_loop_close(bench_loop *loop)
{
    for (uint32_t i = 0; i < BENCH_OUTPUTS; i++) {
        free(loop->a[1][i]);
        free(loop->b[1][i]);
        free(loop->y[i]);
    }
    free(loop->h);
    memset(loop, 0, sizeof *loop);
}

static double difference(const float *a, const float *b, size_t count)
{
    double most = 0, largest = 1e-30;
    for (size_t i = 0; i < count; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        if (!(d <= most)) most = d;
        if (fabs((double)b[i]) > largest) largest = fabs((double)b[i]);
    }
    return most / largest;
}

double bench_loop_error(bench_loop *loop, bench_layer *layer)
{
    double worst = 0;
    const bench_shape *s = &layer->shape;
    for (uint32_t i = 0; i < layer->n_out; i++)
        memset(loop->y[i], 0, (size_t)s->rows * s->d_out[i] * sizeof(float));
    if (!bench_loop_run(loop, 1) || !bench_layer_clear(layer) || !bench_layer_delta(layer, 1))
        return -1;
    for (uint32_t i = 0; i < layer->n_out; i++) {
        const size_t count = (size_t)s->rows * s->d_out[i];
        float *y = malloc(count * sizeof *y);
        double d = y && bench_layer_read(layer, i, y) ? difference(y, loop->y[i], count) : -1;
        free(y);
        if (!(d >= 0)) return -1;
        if (d > worst) worst = d;
    }
    return worst;
}

bool bench_sgemm_run(void *user, uint32_t repeats)
{
    const bench_sgemm *g = user;
    const bench_shape *s = &g->layer->shape;
    const int in = (int)s->d_in, out = (int)s->d_out[0], m = (int)s->rows;
    bench_place before;
    const bool moved = bench_place_first(&before, g->threads > 1 && g->blas->set_affinity);
    g->blas->set_threads((int)g->threads);
    for (uint32_t i = 0; i < repeats; i++) {
        if (g->order == 0)
            g->blas->sgemm(BLAS_ROW_MAJOR, BLAS_PLAIN, BLAS_TRANSPOSED, m, out, in, 1,
                           g->layer->host_x, in, g->w[0], in, 0, g->y, out);
        else
            g->blas->sgemm(BLAS_ROW_MAJOR, BLAS_PLAIN, BLAS_PLAIN, m, out, in, 1, g->layer->host_x,
                           in, g->w[1], out, 0, g->y, out);
    }
    if (moved) bench_place_set(&before);
    return true;
}

static void choose_gemm(bench_sgemm *g, uint32_t threads_max)
{
    double best = -1;
    bench_sgemm chosen = *g;
    for (uint32_t i = 0; i < 4; i++) {
        g->order = i & 1;
        g->threads = i & 2 ? threads_max : 1;
        if (i & 2 && threads_max == 1) break;
        bench_side side = {bench_sgemm_run, g};
        double took = bench_time_alone(&side, 0.05);
        if (best >= 0 && took >= best) continue;
        best = took;
        chosen = *g;
    }
    *g = chosen;
}

bool bench_sgemm_open(bench_sgemm *out, const bench_openblas *blas, bench_layer *layer,
                      uint32_t threads_max)
{
    const bench_shape *s = &layer->shape;
    bench_device *d = layer->device;
    memset(out, 0, sizeof *out);
    out->blas = blas;
    out->layer = layer;
    out->w[0] = malloc((size_t)s->d_in * s->d_out[0] * sizeof(float));
    out->y = calloc((size_t)s->rows * s->d_out[0], sizeof(float));
    if (out->w[0] && out->y &&
        oclora_weight_dequantize(layer->weight[0], d->stream, out->w[0], &d->err) == OCLORA_OK)
        out->w[1] = transposed(out->w[0], 1, s->d_out[0], s->d_in);
    if (!out->w[1]) {
        bench_sgemm_close(out);
        return false;
    }
    choose_gemm(out, threads_max);
    return true;
}

void bench_sgemm_close(bench_sgemm *gemm)
{
    free(gemm->w[0]);
    free(gemm->w[1]);
    free(gemm->y);
    memset(gemm, 0, sizeof *gemm);
}

double bench_base_difference(bench_layer *layer, const float *peer)
{
    const size_t count = (size_t)layer->shape.rows * layer->shape.d_out[0];
    float *y = malloc(count * sizeof *y);
    double d = -1;
    if (y && bench_layer_base(layer, 1) && bench_layer_read(layer, 0, y))
        d = difference(y, peer, count);
    free(y);
    return d;
}

double bench_sgemm_error(bench_sgemm *gemm, bench_layer *layer)
{
    return bench_sgemm_run(gemm, 1) ? bench_base_difference(layer, gemm->y) : -1;
}
