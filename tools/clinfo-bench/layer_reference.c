/* layer_reference.c - the adapted layer in double: f(x) + sum of w_k (f_k(x) - f(x)), row by row.
 */
#include "tools/clinfo-bench/layer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_EXPERTS = 256, MOST_RANK = 256 };

static const float *row_of(const bench_layer *l, uint32_t r)
{
    return l->x.values + (size_t)r * l->plan.d_in;
}

static double dot(const float *a, const float *b, uint32_t n)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

/* The indices of the largest scores in descending order, ties to the lower index. */
static void choose(const double *scores, uint32_t n, uint32_t *chosen)
{
    bool taken[MOST_EXPERTS] = {false};
    for (uint32_t j = 0; j < BENCH_LAYER_TOP_K; j++) {
        uint32_t best = n;
        for (uint32_t e = 0; e < n; e++)
            if (!taken[e] && (best == n || scores[e] > scores[best])) best = e;
        taken[best] = true;
        chosen[j] = best;
    }
}

static void softmax(double *values, uint32_t n)
{
    double top = values[0], sum = 0;
    for (uint32_t i = 1; i < n; i++) top = fmax(top, values[i]);
    for (uint32_t i = 0; i < n; i++) sum += values[i] = exp(values[i] - top);
    for (uint32_t i = 0; i < n; i++) values[i] /= sum;
}

/* Expert e owns rank / n rows of h: those of the top_k are weighed by a softmax, the others go. */
static void weigh(const bench_layer *l, uint32_t r, uint32_t rank, double *h)
{
    const uint32_t n = bench_layer_experts(&l->plan), d_in = l->plan.d_in, each = rank / n;
    double logits[MOST_EXPERTS], weights[MOST_EXPERTS] = {0}, sum = 0;
    uint32_t chosen[BENCH_LAYER_TOP_K];
    for (uint32_t e = 0; e < n; e++)
        logits[e] = dot(l->gate + (size_t)e * d_in, row_of(l, r), d_in);
    choose(logits, n, chosen);
    for (uint32_t j = 0; j < BENCH_LAYER_TOP_K; j++)
        sum += weights[chosen[j]] = exp((logits[chosen[j]] - logits[chosen[0]]) / 0.5);
    for (uint32_t j = 0; j < rank; j++) h[j] *= weights[j / each] / sum;
}

/* Rows of one sequence with the same adapters are averaged. */
static bool are_peers(const bench_layer *l, uint32_t a, uint32_t b)
{
    const uint32_t n = l->row_start[a + 1] - l->row_start[a];
    return l->instance[a] == l->instance[b] && l->row_start[b + 1] - l->row_start[b] == n &&
           !memcmp(l->adapter + l->row_start[a], l->adapter + l->row_start[b],
                   n * sizeof *l->adapter);
}

/* h of the chosen A goes to the place of the chosen B. */
static void pair(const bench_layer *l, uint32_t r, double *h)
{
    const uint32_t n = bench_layer_experts(&l->plan), d_in = l->plan.d_in;
    double a[MOST_EXPERTS] = {0}, b[MOST_EXPERTS] = {0}, moved[BENCH_LAYER_TOP_K];
    uint32_t count = 0, ia[BENCH_LAYER_TOP_K], ib[BENCH_LAYER_TOP_K];
    for (uint32_t peer = 0; peer < l->plan.rows; peer++) {
        if (!are_peers(l, r, peer)) continue;
        count++;
        for (uint32_t e = 0; e < n; e++) {
            a[e] += dot(l->gate + (size_t)e * d_in, row_of(l, peer), d_in);
            b[e] += dot(l->gate_b + (size_t)e * d_in, row_of(l, peer), d_in);
        }
    }
    for (uint32_t e = 0; e < n; e++) b[e] /= count;
    choose(a, n, ia);
    for (uint32_t e = 0; e < n; e++) {
        a[e] = 0;
        for (uint32_t j = 0; j < BENCH_LAYER_TOP_K; j++)
            a[e] += (double)l->pair_table[((size_t)j * n + ia[j]) * n + e];
    }
    softmax(a, n);
    softmax(b, n);
    for (uint32_t e = 0; e < n; e++) b[e] += 0.5 * a[e];
    choose(b, n, ib);
    for (uint32_t j = 0; j < BENCH_LAYER_TOP_K; j++) moved[j] = h[ia[j]];
    for (uint32_t e = 0; e < n; e++) h[e] = 0;
    for (uint32_t j = 0; j < BENCH_LAYER_TOP_K; j++) h[ib[j]] = moved[j];
}

/* h = core scale A P x of one row, through the router if there is one. */
static void shrink(const bench_layer *l, uint32_t k, uint32_t r, double *h)
{
    const bench_layer_plan *p = &l->plan;
    const uint32_t rank = p->ranks[k], group = bench_layer_group(p, k), n = p->d_in / group;
    const float *x = row_of(l, r);
    double before[MOST_RANK];
    for (uint32_t j = 0; j < rank; j++) {
        h[j] = 0;
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t g = 0; g < group; g++)
                h[j] += (double)l->a[k][(size_t)j * n + i] * (double)x[i * group + g];
        h[j] *= (double)l->scale[k][j];
    }
    if (p->routed && k == 2) weigh(l, r, rank, h);
    if (p->paired && k == 2) pair(l, r, h);
    if (!p->scaled || k) return;
    memcpy(before, h, rank * sizeof *h);
    for (uint32_t j = 0; j < rank; j++) {
        h[j] = 0;
        for (uint32_t i = 0; i < rank; i++)
            h[j] += (double)l->core[(size_t)j * rank + i] * before[i];
    }
}

/* W (v o x), v NULL = ones. */
static void multiply(const bench_layer *l, const float *x, const float *v, double *y)
{
    uint32_t d_in = l->plan.d_in;
    for (uint32_t o = 0; o < l->plan.d_out; o++) {
        y[o] = 0;
        for (uint32_t i = 0; i < d_in; i++)
            y[o] +=
                (double)l->w.values[(size_t)o * d_in + i] * (double)x[i] * (v ? (double)v[i] : 1.0);
    }
}

/* y += weight * (sum of u o W (v o x) - base). */
static void add_product(const bench_layer *l, double weight, const float *x, const double *base,
                        double *scratch, double *y)
{
    const uint32_t d_in = l->plan.d_in, d_out = l->plan.d_out;
    for (uint32_t o = 0; o < d_out; o++) y[o] -= weight * base[o];
    for (uint32_t n = 0; n < BENCH_LAYER_PAIRS; n++) {
        multiply(l, x, l->mul_v + (size_t)n * d_in, scratch);
        for (uint32_t o = 0; o < d_out; o++)
            y[o] += weight * (double)l->mul_u[(size_t)n * d_out + o] * scratch[o];
    }
}

/* y += weight * (f_k(x) - f(x)), f the base layer. */
static void add_adapter(const bench_layer *l, uint32_t k, double weight, uint32_t r,
                        const double *base, double *scratch, double *y)
{
    const uint32_t d_out = l->plan.d_out, rank = l->plan.ranks[k];
    const bool scaled = l->plan.scaled && !k;
    double h[MOST_RANK];
    if (l->plan.multiply && k == 1) {
        add_product(l, weight, row_of(l, r), base, scratch, y);
        return;
    }
    shrink(l, k, r, h);
    for (uint32_t o = 0; o < d_out; o++) {
        double t = 0;
        for (uint32_t j = 0; j < rank; j++) t += h[j] * (double)l->b[k][(size_t)j * d_out + o];
        if (scaled) t = t * (double)l->beta[o] + (double)l->c[o] + ((double)l->u[o] - 1) * base[o];
        y[o] += weight * t;
    }
}

oclora_status bench_layer_reference(const bench_layer *l, double *expected, oclora_error *err)
{
    const uint32_t d_out = l->plan.d_out;
    double *base = calloc((size_t)d_out * 2, sizeof *base);
    if (!base) return oclora_fail_memory(err, (size_t)d_out * 16, "a reference");
    for (uint32_t r = 0; r < l->plan.rows; r++) {
        double *y = expected + (size_t)r * d_out;
        multiply(l, row_of(l, r), NULL, base);
        memcpy(y, base, d_out * sizeof *y);
        for (uint32_t e = l->row_start ? l->row_start[r] : 0;
             l->row_start && e < l->row_start[r + 1]; e++)
            add_adapter(l, l->adapter[e], (double)l->weights[e], r, base, base + d_out, y);
        for (uint32_t o = 0; o < d_out && l->bias.count; o++) y[o] += (double)l->bias.values[o];
    }
    free(base);
    return OCLORA_OK;
}
