#include "support/terms_reference.h"

#include "host/adapter/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double *doubles(size_t count)
{
    double *values = calloc(count != 0 ? count : 1, sizeof *values);
    if (values == NULL) abort();
    return values;
}

/* The factor's values as stored, [rows, cols]. */
static double *factor_values(const oclora_factor *factor)
{
    double *out = doubles((size_t)factor->rows * factor->cols);
    float *row = malloc((factor->cols + 1) * sizeof *row);
    if (row == NULL) abort();
    uint64_t bytes = oclora_factor_row_bytes(factor->type, factor->cols);
    for (uint32_t i = 0; i < factor->rows; i++) {
        oclora_widen(factor->type, (const uint8_t *)factor->data + i * bytes, factor->cols, row);
        for (uint32_t j = 0; j < factor->cols; j++)
            out[(size_t)i * factor->cols + j] = (double)row[j];
    }
    free(row);
    return out;
}

static void base_product(double *y, const float *w, const double *x, uint32_t d_out, uint32_t d_in)
{
    for (uint32_t o = 0; o < d_out; o++) {
        y[o] = 0.0;
        for (uint32_t i = 0; i < d_in; i++) y[o] += (double)w[(size_t)o * d_in + i] * x[i];
    }
}

/* The `count` largest scores in descending order, ties to the lower index. */
static void largest(const double *scores, uint32_t n, uint32_t count, uint32_t *out)
{
    for (uint32_t k = 0; k < count; k++) {
        uint32_t best = n;
        for (uint32_t i = 0; i < n; i++) {
            bool taken = false;
            for (uint32_t j = 0; j < k; j++) taken |= out[j] == i;
            if (!taken && (best == n || scores[i] > scores[best])) best = i;
        }
        out[k] = best;
    }
}

static void softmax(double *values, uint32_t n)
{
    double top = values[0], sum = 0.0;
    for (uint32_t i = 1; i < n; i++) top = fmax(top, values[i]);
    for (uint32_t i = 0; i < n; i++) sum += values[i] = exp(values[i] - top);
    for (uint32_t i = 0; i < n; i++) values[i] /= sum;
}

static double *logits_of(const oclora_factor *gate, const double *x)
{
    double *g = factor_values(gate), *out = doubles(gate->rows);
    for (uint32_t e = 0; e < gate->rows; e++)
        for (uint32_t i = 0; i < gate->cols; i++) out[e] += g[(size_t)e * gate->cols + i] * x[i];
    free(g);
    return out;
}

/* Weights of the rank rows of one row, from the top-k softmax. */
static void route_top_k(const oclora_module *m, const double *x, double *h, uint32_t *chosen)
{
    const oclora_router *router = &m->router;
    uint32_t each = m->rank / router->n_experts, kept[256];
    double *logits = logits_of(&router->gate, x), weights[256];
    largest(logits, router->n_experts, router->top_k, kept);
    for (uint32_t k = 0; k < router->top_k; k++)
        weights[k] = logits[kept[k]] / (double)router->temperature;
    softmax(weights, router->top_k);
    for (uint32_t r = 0; r < m->rank; r++) {
        double weight = 0.0;
        for (uint32_t k = 0; k < router->top_k; k++)
            if (kept[k] == r / each) weight = weights[k];
        h[r] *= weight;
    }
    if (chosen != NULL) memcpy(chosen, kept, router->top_k * sizeof *kept);
    free(logits);
}

/* ia and ib of a sequence with mean row xm. */
static void route_pairs(const oclora_router *router, const double *xm, uint32_t *ia, uint32_t *ib)
{
    uint32_t n = router->n_experts;
    double *a = logits_of(&router->gate, xm), *b = logits_of(&router->gate_b, xm);
    largest(a, n, router->top_k, ia);
    if (router->pair_table != NULL) {
        double *pair = doubles(n);
        for (uint32_t j = 0; j < router->top_k; j++)
            for (uint32_t e = 0; e < n; e++)
                pair[e] += (double)router->pair_table[((size_t)j * n + ia[j]) * n + e];
        softmax(b, n);
        softmax(pair, n);
        for (uint32_t e = 0; e < n; e++) b[e] += (double)router->pair_weight * pair[e];
        free(pair);
    }
    largest(b, n, router->top_k, ib);
    free(a);
    free(b);
}

/* h[ib_j] collects scale a[ia_j] . x, so that B^T h is the routed sum. */
static void rewire(const oclora_module *m, const uint32_t *ia, const uint32_t *ib, double *h)
{
    double *moved = doubles(m->rank);
    for (uint32_t j = 0; j < m->router.top_k; j++) moved[ib[j]] += h[ia[j]];
    memcpy(h, moved, m->rank * sizeof *h);
    free(moved);
}

static void apply_core(const oclora_module *m, double *h)
{
    double *moved = doubles(m->rank);
    for (uint32_t i = 0; i < m->rank; i++)
        for (uint32_t j = 0; j < m->rank; j++)
            moved[i] += (double)m->core[(size_t)i * m->rank + j] * h[j];
    memcpy(h, moved, m->rank * sizeof *h);
    free(moved);
}

/* h = scale o A P x. */
static void shrink(const oclora_module *m, const double *a, const double *x, double *h)
{
    for (uint32_t r = 0; r < m->rank; r++) {
        h[r] = 0.0;
        for (uint32_t c = 0; c < m->a.cols; c++) {
            double sum = 0.0;
            for (uint32_t g = 0; g < m->group; g++) sum += x[(size_t)c * m->group + g];
            h[r] += a[(size_t)r * m->a.cols + c] * sum;
        }
        h[r] *= (double)m->scale[r];
    }
}

static void additive_row(double *y, const oclora_module *m, const double *a, const double *b,
                         const float *w, const double *x, const uint32_t *ia, const uint32_t *ib,
                         uint32_t *chosen)
{
    base_product(y, w, x, m->d_out, m->d_in);
    for (uint32_t o = 0; m->u != NULL && o < m->d_out; o++) y[o] *= (double)m->u[o];
    if (m->rank == 0) return;
    double *h = doubles(m->rank);
    shrink(m, a, x, h);
    if (m->router.kind == OCLORA_ROUTER_TOP_K) route_top_k(m, x, h, chosen);
    if (m->router.kind == OCLORA_ROUTER_PAIRS) rewire(m, ia, ib, h);
    if (m->core != NULL) apply_core(m, h);
    for (uint32_t o = 0; o < m->d_out; o++) {
        double sum = 0.0;
        for (uint32_t r = 0; r < m->rank; r++) sum += b[(size_t)r * m->d_out + o] * h[r];
        y[o] += (m->beta != NULL ? (double)m->beta[o] : 1.0) * sum;
    }
    free(h);
}

static void multiplied_row(double *y, const oclora_module *m, const float *w, const double *x)
{
    double *v = doubles(m->d_in), *part = doubles(m->d_out);
    memset(y, 0, m->d_out * sizeof *y);
    for (uint32_t j = 0; j < m->n_mul; j++) {
        for (uint32_t i = 0; i < m->d_in; i++)
            v[i] = x[i] * (m->mul_v != NULL ? (double)m->mul_v[(size_t)j * m->d_in + i] : 1.0);
        base_product(part, w, v, m->d_out, m->d_in);
        for (uint32_t o = 0; o < m->d_out; o++)
            y[o] += part[o] * (m->mul_u != NULL ? (double)m->mul_u[(size_t)j * m->d_out + o] : 1.0);
    }
    free(v);
    free(part);
}

static void route_sequence(const oclora_module *m, const float *x, size_t rows, uint32_t d_in,
                           uint32_t *ia, uint32_t *ib)
{
    double *mean = doubles(d_in);
    for (size_t t = 0; t < rows; t++)
        for (uint32_t i = 0; i < d_in; i++) mean[i] += (double)x[t * d_in + i] / (double)rows;
    route_pairs(&m->router, mean, ia, ib);
    free(mean);
}

void oclora_ref_terms(double *y, const oclora_module *module, const float *w, const float *x,
                      size_t rows, uint32_t d_out, uint32_t d_in, uint32_t *chosen)
{
    double *row = doubles(d_in), *a = NULL, *b = NULL;
    uint32_t ia[256], ib[256];
    if (module != NULL && module->rank != 0) {
        a = factor_values(&module->a);
        b = factor_values(&module->b);
    }
    if (module != NULL && module->router.kind == OCLORA_ROUTER_PAIRS) {
        route_sequence(module, x, rows, d_in, ia, ib);
        if (chosen != NULL) {
            memcpy(chosen, ia, module->router.top_k * sizeof *ia);
            memcpy(chosen + module->router.top_k, ib, module->router.top_k * sizeof *ib);
        }
    }
    for (size_t t = 0; t < rows; t++) {
        for (uint32_t i = 0; i < d_in; i++) row[i] = (double)x[t * d_in + i];
        double *out = y + t * d_out;
        if (module == NULL)
            base_product(out, w, row, d_out, d_in);
        else if (module->n_mul != 0)
            multiplied_row(out, module, w, row);
        else
            additive_row(out, module, a, b, w, row, ia, ib,
                         chosen != NULL && module->router.kind == OCLORA_ROUTER_TOP_K
                             ? chosen + t * module->router.top_k
                             : NULL);
        for (uint32_t o = 0; module != NULL && module->c != NULL && o < d_out; o++)
            out[o] += (double)module->c[o];
    }
    free(row);
    free(a);
    free(b);
}

bool oclora_golden_open(oclora_golden *out, const char *folder)
{
    char path[640];
    oclora_error err = {0};
    oclora_env env = {0};
    memset(out, 0, sizeof *out);
    snprintf(out->folder, sizeof out->folder, "%s", folder);
    snprintf(path, sizeof path, "%s/case.json", folder);
    out->meta = json_load_file(path, 0, NULL);
    snprintf(path, sizeof path, "%s/case.safetensors", folder);
    if (out->meta == NULL || oclora_map_open(&out->map, path, &err) != OCLORA_OK ||
        oclora_safetensors_parse(&out->tensors, &env, &out->map, &err) != OCLORA_OK) {
        fprintf(stderr, "%s cannot be read: %s\n", folder, err.text);
        oclora_golden_close(out);
        return false;
    }
    out->tolerance = json_number_value(json_object_get(out->meta, "tolerance_fp32"));
    return true;
}

void oclora_golden_close(oclora_golden *golden)
{
    json_decref(golden->meta);
    oclora_safetensors_free(&golden->tensors);
    oclora_map_close(&golden->map);
    golden->meta = NULL;
}

static const oclora_file_tensor *find(const oclora_golden *golden, const char *module,
                                      const char *field)
{
    char name[512];
    snprintf(name, sizeof name, "%s%s%s", module, module[0] != '\0' ? "." : "", field);
    return oclora_safetensors_find(&golden->tensors, name);
}

float *oclora_golden_floats(const oclora_golden *golden, const char *module, const char *field,
                            size_t dims[2])
{
    const oclora_file_tensor *tensor = find(golden, module, field);
    if (tensor == NULL || tensor->type != OCLORA_TYPE_F32) return NULL;
    dims[0] = tensor->n_dims == 2 ? (size_t)tensor->dims[0] : 1;
    dims[1] = (size_t)tensor->dims[tensor->n_dims - 1];
    float *values = malloc((size_t)tensor->bytes + 1);
    if (values == NULL) abort();
    memcpy(values, tensor->data, (size_t)tensor->bytes);
    return values;
}

int32_t *oclora_golden_ints(const oclora_golden *golden, const char *module, const char *field,
                            size_t *count)
{
    const oclora_file_tensor *tensor = find(golden, module, field);
    if (tensor == NULL || tensor->type != OCLORA_TYPE_I32) return NULL;
    *count = (size_t)tensor->bytes / sizeof(int32_t);
    int32_t *values = malloc((size_t)tensor->bytes + 1);
    if (values == NULL) abort();
    memcpy(values, tensor->data, (size_t)tensor->bytes);
    return values;
}

size_t oclora_golden_modules(const oclora_golden *golden)
{
    return json_array_size(json_object_get(golden->meta, "modules"));
}

const char *oclora_golden_module(const oclora_golden *golden, size_t index)
{
    const json_t *entry = json_array_get(json_object_get(golden->meta, "modules"), index);
    return json_string_value(json_object_get(entry, "name"));
}
