/* transformer.c - blocks of multi-head attention and a ReLU network, without skips or norms.
 *
 * The paper's construction: what attention and the following W_1 make of their input must be what
 * the target's make of it, so O V takes W_1^-1 of the frozen block along, and what the frozen W_2
 * of a block leaves wrong (the factor `carry`) is taken back by Q, K and V of the next. The last
 * W_2 and the output layer are a chain of their own. W_1 and the other W_2 only change their
 * biases. */
#include "tools/expressive/expressive.h"
#include "tools/shared/svd.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADS = 2, TOKENS = 8, SEQUENCES = 6, ROWS = TOKENS * SEQUENCES };
enum { Q, K, V, O, PER_HEAD };
enum { W1 = HEADS * PER_HEAD, W2, PER_BLOCK };

typedef struct setting {
    oclora_network frozen;
    oclora_network target; /* its biases are those of W_1 and W_2 */
    size_t blocks;
    double *x; /* [ROWS, n] */
    double *y; /* the target's output */
} setting;

static oclora_status no_memory(oclora_error *err)
{
    return oclora_fail(err, OCLORA_OUT_OF_HOST_MEMORY, "no memory for the experiment");
}

static void name_layers(oclora_network *network, size_t blocks)
{
    static const char *const parts[] = {"q", "k", "v", "o"};
    for (size_t i = 0; i < network->n_layers; i++) {
        char *name = network->layers[i].name;
        const size_t room = sizeof network->layers[i].name, at = i % PER_BLOCK;
        if (i == blocks * PER_BLOCK)
            snprintf(name, room, "output");
        else if (at < W1)
            snprintf(name, room, "blocks.%zu.head%zu.%s", i / PER_BLOCK, at / PER_HEAD,
                     parts[at % PER_HEAD]);
        else
            snprintf(name, room, "blocks.%zu.%s", i / PER_BLOCK, at == W1 ? "w1" : "w2");
    }
}

/* mixed[i] = sum_j softmax_j(k_j . q_i / sqrt(n)) v_j within each sequence */
static void attend(float *mixed, const float *q, const float *k, const float *v, uint32_t n)
{
    for (size_t i = 0; i < ROWS; i++) {
        const size_t first = i / TOKENS * TOKENS;
        double p[TOKENS], largest = -INFINITY, sum = 0.0;
        for (size_t j = 0; j < TOKENS; j++) {
            p[j] = 0.0;
            for (size_t c = 0; c < n; c++)
                p[j] += (double)k[(first + j) * n + c] * (double)q[i * n + c];
            p[j] /= sqrt(n);
            if (p[j] > largest) largest = p[j];
        }
        for (size_t j = 0; j < TOKENS; j++) sum += p[j] = exp(p[j] - largest);
        for (size_t c = 0; c < n; c++) {
            double value = 0.0;
            for (size_t j = 0; j < TOKENS; j++)
                value += p[j] / sum * (double)v[(first + j) * n + c];
            mixed[i * n + c] = (float)value;
        }
    }
}

/* --- the device --- */

typedef struct activations {
    float *z; /* [ROWS, n] each */
    float *q;
    float *k;
    float *v;
    float *mixed;
    float *sum;
} activations;

static bool allocate(activations *a, uint32_t n)
{
    float **all[] = {&a->z, &a->q, &a->k, &a->v, &a->mixed, &a->sum};
    bool ok = true;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        *all[i] = calloc((size_t)ROWS * n, sizeof(float));
        if (*all[i] == NULL) ok = false;
    }
    return ok;
}

static void release(activations *a)
{
    free(a->z);
    free(a->q);
    free(a->k);
    free(a->v);
    free(a->mixed);
    free(a->sum);
}

static oclora_status run_head(oclora_layers *device, size_t at, oclora_adapter_t adapter,
                              activations *a, uint32_t n, oclora_error *err)
{
    OCLORA_TRY(oclora_network_run(device, at + Q, adapter, ROWS, a->z, a->q, err));
    OCLORA_TRY(oclora_network_run(device, at + K, adapter, ROWS, a->z, a->k, err));
    OCLORA_TRY(oclora_network_run(device, at + V, adapter, ROWS, a->z, a->v, err));
    attend(a->mixed, a->q, a->k, a->v, n);
    OCLORA_TRY(oclora_network_run(device, at + O, adapter, ROWS, a->mixed, a->q, err));
    for (size_t i = 0; i < (size_t)ROWS * n; i++) a->sum[i] += a->q[i];
    return OCLORA_OK;
}

static oclora_status run_block(oclora_layers *device, size_t at, oclora_adapter_t adapter,
                               activations *a, uint32_t n, oclora_error *err)
{
    memset(a->sum, 0, (size_t)ROWS * n * sizeof *a->sum);
    for (size_t h = 0; h < HEADS; h++)
        OCLORA_TRY(run_head(device, at + h * PER_HEAD, adapter, a, n, err));
    OCLORA_TRY(oclora_network_run(device, at + W1, adapter, ROWS, a->sum, a->mixed, err));
    for (size_t i = 0; i < (size_t)ROWS * n; i++)
        if (a->mixed[i] < 0.0f) a->mixed[i] = 0.0f;
    return oclora_network_run(device, at + W2, adapter, ROWS, a->mixed, a->z, err);
}

static oclora_status run_all(oclora_experiment *e, const setting *s, oclora_adapter_t adapter,
                             double *error, oclora_error *err)
{
    const uint32_t n = s->frozen.n;
    activations a = {0};
    oclora_status status = allocate(&a, n) ? OCLORA_OK : no_memory(err);
    for (size_t i = 0; i < (size_t)ROWS * n && status == OCLORA_OK; i++) a.z[i] = (float)s->x[i];
    for (size_t b = 0; b < s->blocks && status == OCLORA_OK; b++)
        status = run_block(&e->device, b * PER_BLOCK, adapter, &a, n, err);
    if (status == OCLORA_OK)
        status =
            oclora_network_run(&e->device, s->blocks * PER_BLOCK, adapter, ROWS, a.z, a.q, err);
    if (status == OCLORA_OK) *error = oclora_relative_error(a.q, s->y, (size_t)ROWS * n);
    release(&a);
    return status;
}

/* --- the target --- */

static void layer_rows(double *y, const oclora_layer *layer, const double *x, uint32_t n)
{
    for (size_t t = 0; t < ROWS; t++) {
        oclora_apply_matrix(y + t * n, layer->w, x + t * n, n);
        for (size_t i = 0; i < n; i++) y[t * n + i] += layer->bias[i];
    }
}

/* As attend, in double. */
static void attend_exactly(double *mixed, const double *q, const double *k, const double *v,
                           uint32_t n)
{
    for (size_t i = 0; i < ROWS; i++) {
        const size_t first = i / TOKENS * TOKENS;
        double p[TOKENS], sum = 0.0;
        for (size_t j = 0; j < TOKENS; j++) {
            p[j] = 0.0;
            for (size_t c = 0; c < n; c++) p[j] += k[(first + j) * n + c] * q[i * n + c];
            sum += p[j] = exp(p[j] / sqrt(n));
        }
        for (size_t c = 0; c < n; c++) {
            mixed[i * n + c] = 0.0;
            for (size_t j = 0; j < TOKENS; j++)
                mixed[i * n + c] += p[j] / sum * v[(first + j) * n + c];
        }
    }
}

static oclora_status run_target(setting *s, oclora_error *err)
{
    const uint32_t n = s->target.n;
    const size_t count = (size_t)ROWS * n;
    double *room = oclora_new(6 * count);
    if (room == NULL) return no_memory(err);
    double *z = room, *q = z + count, *k = q + count, *v = k + count, *mixed = v + count,
           *sum = mixed + count;
    memcpy(z, s->x, count * sizeof *z);
    for (size_t b = 0; b < s->blocks; b++) {
        const oclora_layer *block = s->target.layers + b * PER_BLOCK;
        memset(sum, 0, count * sizeof *sum);
        for (size_t h = 0; h < HEADS; h++) {
            layer_rows(q, &block[h * PER_HEAD + Q], z, n);
            layer_rows(k, &block[h * PER_HEAD + K], z, n);
            layer_rows(v, &block[h * PER_HEAD + V], z, n);
            attend_exactly(mixed, q, k, v, n);
            layer_rows(q, &block[h * PER_HEAD + O], mixed, n);
            for (size_t i = 0; i < count; i++) sum[i] += q[i];
        }
        layer_rows(mixed, &block[W1], sum, n);
        for (size_t i = 0; i < count; i++) mixed[i] = fmax(mixed[i], 0.0);
        layer_rows(z, &block[W2], mixed, n);
    }
    layer_rows(s->y, &s->target.layers[s->blocks * PER_BLOCK], z, n);
    free(room);
    return OCLORA_OK;
}

/* --- the construction --- */

/* out = left right carry, `left` transposed if asked; `spare` is [n, n]. */
static void triple(double *out, const double *left, bool transposed, const double *right,
                   const double *carry, double *spare, uint32_t n)
{
    if (transposed)
        oclora_transpose(out, left, n);
    else
        memcpy(out, left, (size_t)n * n * sizeof *out);
    oclora_multiply(spare, out, right, n);
    oclora_multiply(out, spare, carry, n);
}

/* room: 4 [n, n] */
static oclora_status fit_head(setting *s, size_t at, size_t w1, const double *carry, double *room,
                              oclora_error *err)
{
    const uint32_t n = s->frozen.n;
    const size_t square = (size_t)n * n;
    oclora_layer *head = s->frozen.layers + at;
    const oclora_layer *aim = s->target.layers + at;
    double *target = room, *spare = room + square, *turned = room + 2 * square;
    oclora_layer *scores[] = {&head[Q], &head[K]}, *values[] = {&head[V], &head[O]};
    /* carry^T K^T Q carry */
    triple(target, aim[K].w, true, aim[Q].w, carry, spare, n);
    oclora_transpose(turned, carry, n);
    oclora_multiply(spare, turned, target, n);
    OCLORA_TRY(oclora_fit_chain(&s->frozen, scores, 2, true, spare, NULL, NULL, err));
    /* frozen W_1^-1 W_1 O V carry */
    triple(target, aim[O].w, false, aim[V].w, carry, spare, n);
    oclora_multiply(turned, s->target.layers[w1].w, target, n);
    memcpy(spare, s->frozen.layers[w1].w, square * sizeof *spare);
    OCLORA_TRY(oclora_invert(spare, n, err));
    oclora_multiply(target, spare, turned, n);
    return oclora_fit_chain(&s->frozen, values, 2, false, target, NULL, NULL, err);
}

/* The bias of a W_2 that stays as it is, and the factor that the next block takes back. */
static oclora_status carry_on(setting *s, size_t w2, double *carry, double *room, oclora_error *err)
{
    const uint32_t n = s->frozen.n;
    const size_t square = (size_t)n * n;
    const oclora_layer *aim = &s->target.layers[w2];
    oclora_layer *own = &s->frozen.layers[w2];
    memcpy(room, own->w, square * sizeof *room);
    OCLORA_TRY(oclora_invert(room, n, err));
    oclora_multiply(carry, aim->w, room, n);
    memcpy(room, carry, square * sizeof *room);
    OCLORA_TRY(oclora_invert(room, n, err));
    oclora_apply_matrix(own->bias, room, aim->bias, n);
    return OCLORA_OK;
}

static oclora_status fit_output(setting *s, size_t w2, double *room, oclora_error *err)
{
    const uint32_t n = s->frozen.n;
    oclora_layer *chain[] = {&s->frozen.layers[w2], &s->frozen.layers[w2 + 1]};
    const oclora_layer *aim = &s->target.layers[w2];
    oclora_multiply(room, aim[1].w, aim[0].w, n);
    OCLORA_TRY(oclora_fit_chain(&s->frozen, chain, 2, false, room, NULL, NULL, err));
    oclora_apply_matrix(chain[1]->bias, aim[1].w, aim[0].bias, n);
    return OCLORA_OK;
}

static oclora_status fit(setting *s, oclora_error *err)
{
    const uint32_t n = s->frozen.n;
    const size_t square = (size_t)n * n;
    double *carry = oclora_new(5 * square), *room = carry + square;
    oclora_status status = carry != NULL ? OCLORA_OK : no_memory(err);
    for (size_t i = 0; i < n && status == OCLORA_OK; i++) carry[i * n + i] = 1.0;
    for (size_t b = 0; b < s->blocks && status == OCLORA_OK; b++) {
        const size_t at = b * PER_BLOCK;
        for (size_t h = 0; h < HEADS && status == OCLORA_OK; h++)
            status = fit_head(s, at + h * PER_HEAD, at + W1, carry, room, err);
        if (status != OCLORA_OK) break;
        memcpy(s->frozen.layers[at + W1].bias, s->target.layers[at + W1].bias, n * sizeof(double));
        status = b + 1 < s->blocks ? carry_on(s, at + W2, carry, room, err)
                                   : fit_output(s, at + W2, room, err);
    }
    free(carry);
    return status;
}

static oclora_status make_target(setting *s, uint32_t width, oclora_dice *dice, oclora_error *err)
{
    const size_t square = (size_t)width * width, count = (size_t)ROWS * width;
    OCLORA_TRY(oclora_network_create(&s->target, width, s->blocks * PER_BLOCK + 1, dice, err));
    OCLORA_TRY(oclora_network_reset(&s->target, 1, err));
    for (size_t i = 0; i < s->target.n_layers; i++) {
        oclora_layer *layer = &s->target.layers[i];
        for (size_t j = 0; j < square; j++) layer->w[j] = oclora_dice_normal(dice) / sqrt(width);
        for (size_t j = 0; j < width && i % PER_BLOCK >= W1; j++)
            layer->bias[j] = 0.3 * oclora_dice_normal(dice);
    }
    s->x = oclora_new(count);
    s->y = oclora_new(count);
    if (s->x == NULL || s->y == NULL) return no_memory(err);
    for (size_t i = 0; i < count; i++) s->x[i] = (double)(float)oclora_dice_normal(dice);
    return run_target(s, err);
}

static oclora_status point(oclora_experiment *e, setting *s, oclora_point *out, oclora_error *err)
{
    oclora_adapter_t adapter = 0;
    OCLORA_TRY(oclora_network_reset(&s->frozen, out->rank, err));
    OCLORA_TRY(fit(s, err));
    OCLORA_TRY(oclora_network_adapter(&s->frozen, &e->device, &adapter, err));
    return run_all(e, s, adapter, &out->error, err);
}

oclora_status oclora_run_transformer(oclora_experiment *e, oclora_error *err)
{
    const oclora_expressive_options *o = e->options;
    oclora_dice dice = {0xbf58476d1ce4e5b9u ^ o->seed};
    setting s = {.blocks = o->depth};
    e->threshold = (o->width + 1) / 2;
    oclora_status status =
        oclora_network_create(&s.frozen, o->width, s.blocks * PER_BLOCK + 1, &dice, err);
    name_layers(&s.frozen, s.blocks);
    if (status == OCLORA_OK) status = make_target(&s, o->width, &dice, err);
    if (status == OCLORA_OK) status = oclora_network_upload(&s.frozen, &e->device, err);
    if (status == OCLORA_OK) status = oclora_plan_ranks(e, err);
    for (size_t i = 0; i < e->n_points && status == OCLORA_OK; i++)
        status = point(e, &s, &e->points[i], err);
    oclora_network_free(&s.frozen);
    oclora_network_free(&s.target);
    free(s.x);
    free(s.y);
    return status;
}
