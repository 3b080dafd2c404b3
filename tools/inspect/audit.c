/* audit.c - intruder dimensions of one module and the repaired update (arXiv 2410.21228). */
#include "host/adapter/number.h"
#include "tools/inspect/inspect.h"
#include "tools/shared/svd.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A singular value decomposition of an m x n matrix, k = min(m, n). */
typedef struct decomposition {
    uint32_t m;
    uint32_t n;
    uint32_t k;
    double *u;
    double *s;
    double *vt;
} decomposition;

static void release(decomposition *d)
{
    free(d->u);
    free(d->s);
    free(d->vt);
}

/* Destroys `a`. */
static oclora_status decompose(decomposition *d, double *a, uint32_t m, uint32_t n,
                               oclora_error *err)
{
    d->m = m;
    d->n = n;
    d->k = m < n ? m : n;
    d->u = calloc((size_t)m * d->k, sizeof *d->u);
    d->s = calloc(d->k, sizeof *d->s);
    d->vt = calloc((size_t)d->k * n, sizeof *d->vt);
    if (d->u == NULL || d->s == NULL || d->vt == NULL)
        return oclora_fail(err, OCLORA_OUT_OF_HOST_MEMORY, "no memory to decompose %u x %u", m, n);
    return oclora_svd(a, m, n, d->u, d->s, d->vt, err);
}

static void widen(const oclora_factor *factor, uint32_t row, float *out)
{
    const uint64_t bytes = oclora_factor_row_bytes(factor->type, factor->cols);
    oclora_widen(factor->type, (const uint8_t *)factor->data + row * bytes, factor->cols, out);
}

/* out[i, j] += beta_i (B^T M diag(scale) A P)_ij, rank by rank of M's output. */
static oclora_status add_low_rank(const oclora_module *m, double *out, oclora_error *err)
{
    float *row = calloc((size_t)m->a.cols + m->b.cols, sizeof *row);
    double *mixed = calloc((size_t)m->rank * m->a.cols + 1, sizeof *mixed);
    oclora_status status = OCLORA_OK;
    if (row == NULL || mixed == NULL) {
        status = oclora_fail(err, OCLORA_OUT_OF_HOST_MEMORY, "no memory for the factors");
        goto out;
    }
    for (uint32_t r = 0; r < m->rank; r++) {
        widen(&m->a, r, row);
        for (uint32_t to = 0; to < m->rank; to++) {
            const double core =
                m->core != NULL ? (double)m->core[(size_t)to * m->rank + r] : (double)(to == r);
            if (core == 0.0) continue;
            for (uint32_t j = 0; j < m->a.cols; j++)
                mixed[(size_t)to * m->a.cols + j] += core * (double)m->scale[r] * (double)row[j];
        }
    }
    for (uint32_t r = 0; r < m->rank; r++) {
        widen(&m->b, r, row);
        for (uint32_t i = 0; i < m->d_out; i++) {
            const double b = (double)row[i] * (m->beta != NULL ? (double)m->beta[i] : 1.0);
            for (uint32_t j = 0; j < m->d_in; j++)
                out[(size_t)i * m->d_in + j] += b * mixed[(size_t)r * m->a.cols + j / m->group];
        }
    }
out:
    free(row);
    free(mixed);
    return status;
}

/* The adapted weight: the layer without its biases as one matrix. */
static oclora_status adapted_weight(const oclora_module *m, const float *w, double *out,
                                    oclora_error *err)
{
    for (uint32_t i = 0; i < m->d_out; i++)
        for (uint32_t j = 0; j < m->d_in; j++) {
            double factor = m->u != NULL ? (double)m->u[i] : 1.0;
            for (uint32_t n = 0; n < m->n_mul; n++)
                factor = (n == 0 ? 0.0 : factor) +
                         (m->mul_u != NULL ? (double)m->mul_u[(size_t)n * m->d_out + i] : 1.0) *
                             (m->mul_v != NULL ? (double)m->mul_v[(size_t)n * m->d_in + j] : 1.0);
            out[(size_t)i * m->d_in + j] = factor * (double)w[(size_t)i * m->d_in + j];
        }
    return m->rank != 0 ? add_low_rank(m, out, err) : OCLORA_OK;
}

/* similarity[i] = max_j |u_i of the adapted weight . u_j of the base| */
static void compare(oclora_audit *out, const decomposition *base, const decomposition *adapted,
                    double epsilon)
{
    for (uint32_t i = 0; i < out->k; i++) {
        for (uint32_t j = 0; j < base->k; j++) {
            double dot = 0.0;
            for (uint32_t t = 0; t < base->m; t++)
                dot += adapted->u[(size_t)t * adapted->k + i] * base->u[(size_t)t * base->k + j];
            if (fabs(dot) > out->similarity[i]) out->similarity[i] = fabs(dot);
        }
        out->intruder[i] = out->similarity[i] < epsilon;
        if (out->intruder[i]) out->n_intruders++;
    }
}

/* The rank-r part of `update` [d_out, d_in], which is destroyed, as b a with evenly shared scale.
 */
static oclora_status cut_rank(oclora_audit *out, double *update, uint32_t d_out, uint32_t d_in,
                              uint32_t rank, oclora_error *err)
{
    decomposition d = {0};
    oclora_status status = decompose(&d, update, d_out, d_in, err);
    if (status == OCLORA_OK) {
        out->rank = rank < d.k ? rank : d.k;
        out->a = calloc((size_t)out->rank * d_in, sizeof *out->a);
        out->b = calloc((size_t)out->rank * d_out, sizeof *out->b);
        if (out->a == NULL || out->b == NULL)
            status = oclora_fail(err, OCLORA_OUT_OF_HOST_MEMORY, "no memory for repaired factors");
    }
    for (uint32_t r = 0; status == OCLORA_OK && r < out->rank; r++) {
        const double root = sqrt(d.s[r]);
        for (uint32_t j = 0; j < d_in; j++)
            out->a[(size_t)r * d_in + j] = root * d.vt[(size_t)r * d_in + j];
        for (uint32_t i = 0; i < d_out; i++)
            out->b[(size_t)i * out->rank + r] = root * d.u[(size_t)i * d.k + r];
    }
    release(&d);
    return status;
}

/* weight: W + dW, becomes the repaired update. */
static oclora_status repair_update(oclora_audit *out, const oclora_module *m, const float *w,
                                   double *weight, const decomposition *adapted, double lambda,
                                   oclora_error *err)
{
    const size_t count = (size_t)m->d_out * m->d_in;
    for (size_t at = 0; at < count; at++) weight[at] -= (double)w[at];
    for (uint32_t t = 0; t < out->k; t++) {
        if (!out->intruder[t]) continue;
        for (uint32_t i = 0; i < m->d_out; i++) {
            const double left =
                (lambda - 1.0) * adapted->s[t] * adapted->u[(size_t)i * adapted->k + t];
            for (uint32_t j = 0; j < m->d_in; j++)
                weight[(size_t)i * m->d_in + j] += left * adapted->vt[(size_t)t * m->d_in + j];
        }
    }
    return cut_rank(out, weight, m->d_out, m->d_in, m->rank, err);
}

static oclora_status check_module(const oclora_module *m, bool repair, oclora_error *err)
{
    if (m->router.kind != OCLORA_ROUTER_NONE)
        return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                           "module %s: what a router chooses differs from row to row, so there is "
                           "no one update to inspect",
                           m->name);
    if (repair && (m->rank == 0 || m->u != NULL || m->n_mul != 0))
        return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                           "module %s: its update is of full rank, which no LoRA of the same rank "
                           "can hold; audit it without --write-mitigated",
                           m->name);
    return OCLORA_OK;
}

oclora_status oclora_audit_module(oclora_audit *out, const oclora_module *module, const float *w,
                                  const oclora_inspect_options *options, bool repair,
                                  oclora_error *err)
{
    const size_t count = (size_t)module->d_out * module->d_in;
    decomposition base = {0}, adapted = {0};
    memset(out, 0, sizeof *out);
    OCLORA_TRY(check_module(module, repair, err));
    double *weight = calloc(count, sizeof *weight), *copy = calloc(count, sizeof *copy);
    out->k = module->d_out < module->d_in ? module->d_out : module->d_in;
    if (out->k > options->k) out->k = options->k;
    out->similarity = calloc(out->k, sizeof *out->similarity);
    out->intruder = calloc(out->k, sizeof *out->intruder);
    oclora_status status = OCLORA_OK;
    if (weight == NULL || copy == NULL || out->similarity == NULL || out->intruder == NULL)
        status =
            oclora_fail(err, OCLORA_OUT_OF_HOST_MEMORY, "no memory for module %s", module->name);
    for (size_t i = 0; status == OCLORA_OK && i < count; i++) copy[i] = (double)w[i];
    if (status == OCLORA_OK) status = decompose(&base, copy, module->d_out, module->d_in, err);
    if (status == OCLORA_OK) status = adapted_weight(module, w, weight, err);
    if (status == OCLORA_OK) memcpy(copy, weight, count * sizeof *copy);
    if (status == OCLORA_OK) status = decompose(&adapted, copy, module->d_out, module->d_in, err);
    if (status == OCLORA_OK) compare(out, &base, &adapted, options->epsilon);
    if (status == OCLORA_OK && repair)
        status = repair_update(out, module, w, weight, &adapted, options->lambda, err);
    release(&base);
    release(&adapted);
    free(weight);
    free(copy);
    return status;
}

void oclora_audit_free(oclora_audit *audit)
{
    free(audit->similarity);
    free(audit->intruder);
    free(audit->a);
    free(audit->b);
    memset(audit, 0, sizeof *audit);
}
