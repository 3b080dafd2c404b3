/* reference.c - the operators in double, written for clarity. Shapes and parameters as in
 * host/graph/graph.h and host/op/ops.h. */
#include "tools/clinfo-bench/selftest.h"

#include <math.h>
#include <stdlib.h>

static uint64_t at(const uint64_t *ne, uint64_t i0, uint64_t i1, uint64_t i2, uint64_t i3)
{
    return ((i3 * ne[2] + i2) * ne[1] + i1) * ne[0] + i0;
}

#define EACH(ne)                                                                                   \
    for (uint64_t i3 = 0; i3 < (ne)[3]; i3++)                                                      \
        for (uint64_t i2 = 0; i2 < (ne)[2]; i2++)                                                  \
            for (uint64_t i1 = 0; i1 < (ne)[1]; i1++)                                              \
                for (uint64_t i0 = 0; i0 < (ne)[0]; i0++)
#define EACH_ROW(ne)                                                                               \
    for (uint64_t i3 = 0; i3 < (ne)[3]; i3++)                                                      \
        for (uint64_t i2 = 0; i2 < (ne)[2]; i2++)                                                  \
            for (uint64_t i1 = 0; i1 < (ne)[1]; i1++)

static void ref_binary(const op_case *c, const case_tensor *src, double *dst)
{
    const uint64_t *ne = c->dst_ne, *eb = src[1].view.ne;
    EACH(ne)
    {
        double a = src[0].values[at(src[0].view.ne, i0, i1, i2, i3)];
        double b = src[1].values[at(eb, i0 % eb[0], i1 % eb[1], i2 % eb[2], i3 % eb[3])];
        dst[at(ne, i0, i1, i2, i3)] = c->op == OCLORA_OP_ADD   ? a + b
                                      : c->op == OCLORA_OP_SUB ? a - b
                                      : c->op == OCLORA_OP_MUL ? a * b
                                                               : a / b;
    }
}

static double gelu(double x)
{
    return 0.5 * x * (1 + tanh(0.79788456080286535588 * x * (1 + 0.044715 * x * x)));
}

static double unary(uint32_t variant, double x)
{
    switch (variant) {
    case OCLORA_UNARY_ABS:
        return fabs(x);
    case OCLORA_UNARY_NEG:
        return -x;
    case OCLORA_UNARY_TANH:
        return tanh(x);
    case OCLORA_UNARY_RELU:
        return fmax(x, 0);
    case OCLORA_UNARY_SIGMOID:
        return 1 / (1 + exp(-x));
    case OCLORA_UNARY_GELU:
        return gelu(x);
    case OCLORA_UNARY_GELU_QUICK:
        return x / (1 + exp(-1.702 * x));
    case OCLORA_UNARY_GELU_ERF:
        return 0.5 * x * (1 + erf(x * sqrt(0.5)));
    case OCLORA_UNARY_SILU:
        return x / (1 + exp(-x));
    case OCLORA_UNARY_EXP:
        return exp(x);
    case OCLORA_UNARY_SQR:
        return x * x;
    case OCLORA_UNARY_SQRT:
        return sqrt(x);
    case OCLORA_UNARY_LOG:
        return log(x);
    case OCLORA_UNARY_SIN:
        return sin(x);
    case OCLORA_UNARY_COS:
        return cos(x);
    case OCLORA_UNARY_STEP:
        return x > 0;
    default:
        return x > 20 ? x : log1p(exp(x));
    }
}

static void ref_map(const op_case *c, const case_tensor *src, double *dst)
{
    const float *f = c->params.f;
    for (uint64_t i = 0; i < src[0].count; i++) {
        double x = src[0].values[i];
        dst[i] = c->op == OCLORA_OP_SCALE   ? x * (double)f[0] + (double)f[1]
                 : c->op == OCLORA_OP_CLAMP ? fmin(fmax(x, (double)f[0]), (double)f[1])
                 : c->op == OCLORA_OP_COPY  ? x
                                            : unary(c->params.variant, x);
    }
}

static double glu(const op_case *c, double x, double gate)
{
    double alpha = (double)c->params.f[0], limit = (double)c->params.f[1];
    switch (c->params.variant) {
    case OCLORA_GLU_REGLU:
        return fmax(x, 0) * gate;
    case OCLORA_GLU_GEGLU:
        return gelu(x) * gate;
    case OCLORA_GLU_SWIGLU:
        return x / (1 + exp(-x)) * gate;
    case OCLORA_GLU_GEGLU_ERF:
        return 0.5 * x * (1 + erf(x * sqrt(0.5))) * gate;
    case OCLORA_GLU_GEGLU_QUICK:
        return x / (1 + exp(-1.702 * x)) * gate;
    default:
        x = fmin(x, limit);
        gate = fmin(fmax(gate, -limit), limit);
        return x / (1 + exp(-alpha * x)) * (gate + 1);
    }
}

static void ref_glu(const op_case *c, const case_tensor *src, double *dst)
{
    const uint64_t *ne = c->dst_ne, *es = src[0].view.ne;
    bool split = c->n_src > 1;
    EACH(ne)
    {
        uint64_t first = c->params.i[0] ? ne[0] : 0, second = c->params.i[0] ? 0 : ne[0];
        double x = src[0].values[at(es, split ? i0 : first + i0, i1, i2, i3)];
        double gate = split ? src[1].values[at(es, i0, i1, i2, i3)]
                            : src[0].values[at(es, second + i0, i1, i2, i3)];
        dst[at(ne, i0, i1, i2, i3)] = glu(c, x, gate);
    }
}

static void ref_norm(const op_case *c, const case_tensor *src, double *dst)
{
    const uint64_t *ne = src[0].view.ne;
    double eps = (double)c->params.f[0];
    EACH_ROW(ne)
    {
        const float *x = src[0].values + at(ne, 0, i1, i2, i3);
        double sum = 0, squares = 0, spread = 0, n = (double)ne[0];
        for (uint64_t i = 0; i < ne[0]; i++) {
            sum += (double)x[i];
            squares += (double)x[i] * (double)x[i];
        }
        for (uint64_t i = 0; i < ne[0]; i++)
            spread += ((double)x[i] - sum / n) * ((double)x[i] - sum / n);
        if (c->op == OCLORA_OP_SUM_ROWS) {
            dst[at(c->dst_ne, 0, i1, i2, i3)] = sum;
            continue;
        }
        double mean = c->op == OCLORA_OP_NORM ? sum / n : 0;
        double factor = c->op == OCLORA_OP_NORM       ? 1 / sqrt(spread / n + eps)
                        : c->op == OCLORA_OP_RMS_NORM ? 1 / sqrt(squares / n + eps)
                                                      : 1 / fmax(sqrt(squares), eps);
        for (uint64_t i = 0; i < ne[0]; i++)
            dst[at(ne, i, i1, i2, i3)] = ((double)x[i] - mean) * factor;
    }
}

/* Which of the four positions of a token turns a pair, and the power of the base it has. */
static int section_of(const op_case *c, uint64_t j, double *power)
{
    uint32_t width[4], sum = 0, first = 0;
    int which = 0;
    for (int i = 0; i < 4; i++)
        sum += width[i] = (uint32_t)c->params.i[2 + i / 2] >> (i % 2 * 16) & 0xffff;
    const uint32_t sector = (uint32_t)j % sum;
    if (c->params.variant == 40) return sector < 3 * width[sector % 3] ? (int)(sector % 3) : 3;
    while (which < 3 && sector >= first + width[which]) first += width[which++];
    if (c->params.variant == 24) *power = sector - first;
    return which;
}

static double rope_angle(const op_case *c, const case_tensor *src, uint64_t token, uint64_t j)
{
    double power = (double)j, factor = c->n_src > 2 ? (double)src[2].values[j] : 1;
    const uint64_t tokens = c->dst_ne[2];
    const uint64_t which = c->params.variant > 2 ? (uint64_t)section_of(c, j, &power) : 0;
    return (double)src[1].values[which * tokens + token] * (double)c->params.f[1] *
           pow((double)c->params.f[0], -2.0 * power / c->params.i[0]) / factor;
}

static void ref_rope(const op_case *c, const case_tensor *src, double *dst)
{
    const uint64_t *ne = c->dst_ne;
    uint64_t dims = (uint64_t)c->params.i[0] * (c->params.variant == 24 ? 2 : 1);
    bool neox = c->params.variant != 0;
    EACH_ROW(ne)
    {
        const float *x = src[0].values + at(ne, 0, i1, i2, i3);
        double *y = dst + at(ne, 0, i1, i2, i3);
        for (uint64_t i = 0; i < ne[0]; i++) y[i] = (double)x[i];
        for (uint64_t j = 0; j < dims / 2; j++) {
            double angle = rope_angle(c, src, i2, j);
            uint64_t a = neox ? j : 2 * j, b = neox ? j + dims / 2 : 2 * j + 1;
            y[a] = (double)x[a] * cos(angle) - (double)x[b] * sin(angle);
            y[b] = (double)x[a] * sin(angle) + (double)x[b] * cos(angle);
        }
    }
}

static void ref_softmax(const op_case *c, const case_tensor *src, double *dst)
{
    const uint64_t *ne = c->dst_ne, *em = src[1].view.ne;
    double scale = (double)c->params.f[0];
    EACH_ROW(ne)
    {
        double top = -INFINITY, sum = 0;
        double *y = dst + at(ne, 0, i1, i2, i3);
        for (uint64_t i = 0; i < ne[0]; i++) {
            y[i] = (double)src[0].values[at(ne, i, i1, i2, i3)] * scale;
            if (src[1].count) y[i] += (double)src[1].values[at(em, i, i1, i2 % em[2], i3 % em[3])];
            top = fmax(top, y[i]);
        }
        for (uint64_t i = 0; i < ne[0]; i++) sum += y[i] = exp(y[i] - top);
        for (uint64_t i = 0; i < ne[0]; i++) y[i] /= sum;
    }
}

static void ref_matmul(const op_case *c, const case_tensor *src, double *dst)
{
    const uint64_t *ne = c->dst_ne, *ea = src[0].view.ne, *ex = src[1].view.ne;
    EACH(ne)
    {
        double sum = 0;
        const float *a = src[0].values + at(ea, 0, i0, i2 / (ne[2] / ea[2]), i3 / (ne[3] / ea[3]));
        const float *x = src[1].values + at(ex, 0, i1, i2, i3);
        for (uint64_t k = 0; k < ea[0]; k++) sum += (double)a[k] * (double)x[k];
        dst[at(ne, i0, i1, i2, i3)] = sum;
    }
}

/* a [k, m, experts], x [k, used or 1, rows], ids [used, rows], y [m, used, rows]. */
static void ref_matmul_id(const op_case *c, const case_tensor *src, double *dst)
{
    const uint64_t *ne = c->dst_ne, *ea = src[0].view.ne, *ex = src[1].view.ne;
    EACH(ne)
    {
        double sum = 0;
        uint64_t expert = (uint64_t)src[2].values[i2 * src[2].view.ne[0] + i1];
        const float *a = src[0].values + at(ea, 0, i0, expert, 0);
        const float *x = src[1].values + at(ex, 0, i1 % ex[1], i2, 0);
        for (uint64_t k = 0; k < ea[0]; k++) sum += (double)a[k] * (double)x[k];
        dst[at(ne, i0, i1, i2, i3)] = sum;
    }
}

static void ref_rows(const op_case *c, const case_tensor *src, double *dst)
{
    const uint64_t *es = src[0].view.ne;
    bool get = c->op == OCLORA_OP_GET_ROWS;
    for (uint64_t r = 0; r < src[1].count; r++) {
        uint64_t row = (uint64_t)src[1].values[r];
        for (uint64_t i = 0; i < es[0]; i++)
            dst[get ? r * es[0] + i : row * es[0] + i] =
                (double)src[0].values[get ? row * es[0] + i : r * es[0] + i];
    }
}

static void ref_shape(const op_case *c, const case_tensor *src, double *dst)
{
    const uint64_t *ne = c->dst_ne, *ea = src[0].view.ne;
    int dim = c->params.i[0];
    EACH(ne)
    {
        uint64_t i[4] = {i0, i1, i2, i3};
        double *y = &dst[at(ne, i0, i1, i2, i3)];
        if (c->op == OCLORA_OP_REPEAT) {
            *y = (double)src[0].values[at(ea, i0 % ea[0], i1 % ea[1], i2 % ea[2], i3 % ea[3])];
        } else if (i[dim] < ea[dim]) {
            *y = (double)src[0].values[at(ea, i0, i1, i2, i3)];
        } else {
            i[dim] -= ea[dim];
            *y = (double)src[1].values[at(src[1].view.ne, i[0], i[1], i[2], i[3])];
        }
    }
}

static void ref_argsort(const op_case *c, const case_tensor *src, double *dst)
{
    const uint64_t *ne = c->dst_ne;
    EACH(ne)
    {
        const float *x = src[0].values + at(ne, 0, i1, i2, i3);
        uint64_t place = 0;
        for (uint64_t j = 0; j < ne[0]; j++) place += c->params.i[0] ? x[j] > x[i0] : x[j] < x[i0];
        dst[at(ne, place, i1, i2, i3)] = (double)i0;
    }
}

/* a + b[ids], a [n, used, rows], b [n, experts], ids [used, rows]. */
static void ref_add_id(const op_case *c, const case_tensor *src, double *dst)
{
    const uint64_t *ne = c->dst_ne;
    EACH(ne)
    {
        uint64_t expert = (uint64_t)src[2].values[i2 * ne[1] + i1];
        dst[at(ne, i0, i1, i2, i3)] = (double)src[0].values[at(ne, i0, i1, i2, i3)] +
                                      (double)src[1].values[expert * ne[0] + i0];
    }
}

static void attention_row(const op_case *c, const case_tensor *src, uint64_t row, uint64_t head,
                          uint64_t batch, double *y)
{
    const uint64_t *eq = src[0].view.ne, *ek = src[1].view.ne, *ev = src[2].view.ne;
    uint64_t kv_head = head / (eq[2] / ek[2]), n_kv = ek[1];
    double *p = calloc(n_kv, sizeof *p), top = -INFINITY, sum = 0;
    double cap = (double)c->params.f[2];
    if (!p) return;
    for (uint64_t j = 0; j < n_kv; j++) {
        const float *k = src[1].values + at(ek, 0, j, kv_head, batch);
        const float *q = src[0].values + at(eq, 0, row, head, batch);
        for (uint64_t i = 0; i < ek[0]; i++) p[j] += (double)q[i] * (double)k[i];
        p[j] *= (double)c->params.f[0];
        if (cap > 0) p[j] = cap * tanh(p[j] / cap);
        if (src[3].count) p[j] += (double)src[3].values[row * src[3].view.ne[0] + j];
        top = fmax(top, p[j]);
    }
    if (src[4].count) top = fmax(top, (double)src[4].values[head]);
    for (uint64_t j = 0; j < n_kv; j++) sum += p[j] = exp(p[j] - top);
    if (src[4].count) sum += exp((double)src[4].values[head] - top);
    for (uint64_t i = 0; i < ev[0]; i++) {
        y[i] = 0;
        for (uint64_t j = 0; j < n_kv; j++)
            y[i] += p[j] / sum * (double)src[2].values[at(ev, i, j, kv_head, batch)];
    }
    free(p);
}

static void ref_attention(const op_case *c, const case_tensor *src, double *dst)
{
    const uint64_t *eq = src[0].view.ne;
    for (uint64_t b = 0; b < eq[3]; b++)
        for (uint64_t head = 0; head < eq[2]; head++)
            for (uint64_t row = 0; row < eq[1]; row++)
                attention_row(c, src, row, head, b, dst + at(c->dst_ne, 0, head, row, b));
}

void bench_reference(const op_case *c, const case_tensor *src, double *dst)
{
    static void (*const table[OCLORA_OP_COUNT])(const op_case *, const case_tensor *, double *) = {
        [OCLORA_OP_MUL_MAT] = ref_matmul,   [OCLORA_OP_MUL_MAT_ID] = ref_matmul_id,
        [OCLORA_OP_GET_ROWS] = ref_rows,    [OCLORA_OP_SET_ROWS] = ref_rows,
        [OCLORA_OP_COPY] = ref_map,         [OCLORA_OP_ADD] = ref_binary,
        [OCLORA_OP_SUB] = ref_binary,       [OCLORA_OP_MUL] = ref_binary,
        [OCLORA_OP_DIV] = ref_binary,       [OCLORA_OP_SCALE] = ref_map,
        [OCLORA_OP_NORM] = ref_norm,        [OCLORA_OP_RMS_NORM] = ref_norm,
        [OCLORA_OP_L2_NORM] = ref_norm,     [OCLORA_OP_ROPE] = ref_rope,
        [OCLORA_OP_SOFT_MAX] = ref_softmax, [OCLORA_OP_FLASH_ATTN] = ref_attention,
        [OCLORA_OP_GLU] = ref_glu,          [OCLORA_OP_UNARY] = ref_map,
        [OCLORA_OP_CONCAT] = ref_shape,     [OCLORA_OP_REPEAT] = ref_shape,
        [OCLORA_OP_SUM_ROWS] = ref_norm,    [OCLORA_OP_ARGSORT] = ref_argsort,
        [OCLORA_OP_CLAMP] = ref_map,        [OCLORA_OP_ADD_ID] = ref_add_id,
    };
    if (c->op < OCLORA_OP_COUNT && table[c->op]) table[c->op](c, src, dst);
}
