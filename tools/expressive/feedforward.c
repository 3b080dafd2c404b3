/* feedforward.c - linear and ReLU networks. */
#include "tools/expressive/expressive.h"
#include "tools/shared/svd.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INPUTS = 192 };

static oclora_status no_memory(oclora_error *err)
{
    return oclora_fail(err, OCLORA_OUT_OF_HOST_MEMORY, "no memory for the experiment");
}

oclora_status oclora_plan_ranks(oclora_experiment *e, oclora_error *err)
{
    const uint32_t rank = e->options->rank;
    e->n_points = rank != 0 ? 1 : (size_t)e->threshold + 1;
    if (e->n_points > e->options->width) e->n_points = e->options->width;
    e->points = calloc(e->n_points, sizeof *e->points);
    if (e->points == NULL) return no_memory(err);
    for (size_t i = 0; i < e->n_points; i++)
        e->points[i] = (oclora_point){rank != 0 ? rank : (uint32_t)i + 1, INFINITY, -1.0};
    return OCLORA_OK;
}

static void name_layers(oclora_network *network)
{
    for (size_t i = 0; i < network->n_layers; i++)
        snprintf(network->layers[i].name, sizeof network->layers[i].name, "layers.%zu.fc", i);
}

/* x through all layers on the device; x [rows, n] is replaced by the output. */
static oclora_status run_layers(oclora_experiment *e, const oclora_network *network,
                                oclora_adapter_t adapter, uint32_t rows, bool relu, float *x,
                                oclora_error *err)
{
    const size_t count = (size_t)rows * network->n;
    float *y = calloc(count, sizeof *y);
    oclora_status status = y != NULL ? OCLORA_OK : no_memory(err);
    for (size_t l = 0; l < network->n_layers && status == OCLORA_OK; l++) {
        status = oclora_network_run(&e->device, l, adapter, rows, x, y, err);
        for (size_t i = 0; i < count; i++) x[i] = relu && y[i] < 0.0f ? 0.0f : y[i];
    }
    free(y);
    return status;
}

/* --- linear --- */

/* Spectral norm of (what the device does to the unit vectors) - target. */
static oclora_status spectral_error(const float *y, const double *target, uint32_t n, double *out,
                                    oclora_error *err)
{
    const size_t square = (size_t)n * n;
    double *d = oclora_new(square), *u = oclora_new(square), *s = oclora_new(n),
           *vt = oclora_new(square);
    oclora_status status = d && u && s && vt ? OCLORA_OK : no_memory(err);
    for (size_t i = 0; i < square && status == OCLORA_OK; i++)
        d[i] = (double)y[i % n * n + i / n] - target[i];
    if (status == OCLORA_OK) status = oclora_svd(d, n, n, u, s, vt, err);
    if (status == OCLORA_OK) *out = s[0];
    free(d);
    free(u);
    free(s);
    free(vt);
    return status;
}

static oclora_status linear_point(oclora_experiment *e, oclora_network *network,
                                  const double *target, oclora_point *point, oclora_error *err)
{
    const uint32_t n = network->n;
    oclora_layer **chain = calloc(network->n_layers, sizeof(*chain));
    float *x = calloc((size_t)n * n, sizeof *x);
    double tail = 0.0, top = 1.0, error = 0.0;
    oclora_adapter_t adapter = 0;
    oclora_status status = chain != NULL && x != NULL ? OCLORA_OK : no_memory(err);
    for (size_t l = 0; l < network->n_layers && status == OCLORA_OK; l++)
        chain[l] = &network->layers[l];
    if (status == OCLORA_OK) status = oclora_network_reset(network, point->rank, err);
    if (status == OCLORA_OK)
        status =
            oclora_fit_chain(network, chain, network->n_layers, false, target, &tail, &top, err);
    if (status == OCLORA_OK) status = oclora_network_adapter(network, &e->device, &adapter, err);
    for (uint32_t i = 0; i < n && status == OCLORA_OK; i++) x[(size_t)i * n + i] = 1.0f;
    if (status == OCLORA_OK) status = run_layers(e, network, adapter, n, false, x, err);
    if (status == OCLORA_OK) status = spectral_error(x, target, n, &error, err);
    point->error = error / top;
    point->theory = tail / top;
    free(chain);
    free(x);
    return status;
}

oclora_status oclora_run_linear(oclora_experiment *e, oclora_error *err)
{
    const oclora_expressive_options *o = e->options;
    const size_t square = (size_t)o->width * o->width;
    oclora_dice dice = {0x9e3779b97f4a7c15u ^ o->seed};
    oclora_network network = {0};
    double *target = oclora_new(square);
    e->threshold = (o->width + o->depth - 1) / o->depth;
    oclora_status status = target != NULL ? OCLORA_OK : no_memory(err);
    if (status == OCLORA_OK)
        status = oclora_network_create(&network, o->width, o->depth, &dice, err);
    name_layers(&network);
    for (size_t i = 0; i < square && status == OCLORA_OK; i++)
        target[i] = oclora_dice_normal(&dice) / sqrt(o->width);
    if (status == OCLORA_OK) status = oclora_network_upload(&network, &e->device, err);
    if (status == OCLORA_OK) status = oclora_plan_ranks(e, err);
    for (size_t i = 0; i < e->n_points && status == OCLORA_OK; i++)
        status = linear_point(e, &network, target, &e->points[i], err);
    oclora_network_free(&network);
    free(target);
    return status;
}

/* --- ReLU --- */

/* A target network with biases, and inputs with the outputs it has for them. */
typedef struct target_net {
    uint32_t n;
    uint32_t depth;
    double *w;    /* [depth][n, n] */
    double *bias; /* [depth][n] */
    double *x;    /* [INPUTS, n] */
    double *y;    /* [INPUTS, n] */
} target_net;

static void free_target(target_net *t)
{
    free(t->w);
    free(t->bias);
    free(t->x);
    free(t->y);
}

static oclora_status make_target(target_net *t, uint32_t n, uint32_t depth, oclora_dice *dice,
                                 oclora_error *err)
{
    const size_t square = (size_t)n * n;
    double *z = oclora_new(n);
    *t = (target_net){.n = n, .depth = depth};
    t->w = oclora_new(depth * square);
    t->bias = oclora_new((size_t)depth * n);
    t->x = oclora_new((size_t)INPUTS * n);
    t->y = oclora_new((size_t)INPUTS * n);
    if (!z || !t->w || !t->bias || !t->x || !t->y) {
        free(z);
        return no_memory(err);
    }
    for (size_t i = 0; i < depth * square; i++) t->w[i] = oclora_dice_normal(dice) / sqrt(n);
    for (size_t i = 0; i < (size_t)depth * n; i++) t->bias[i] = 0.3 * oclora_dice_normal(dice);
    /* Inputs as the device will see them. */
    for (size_t i = 0; i < (size_t)INPUTS * n; i++)
        t->x[i] = (double)(float)oclora_dice_normal(dice);
    memcpy(t->y, t->x, (size_t)INPUTS * n * sizeof *t->y);
    for (uint32_t l = 0; l < depth; l++)
        for (size_t row = 0; row < INPUTS; row++) {
            oclora_apply_matrix(z, t->w + l * square, t->y + row * n, n);
            for (uint32_t i = 0; i < n; i++)
                t->y[row * n + i] = fmax(z[i] + t->bias[(size_t)l * n + i], 0.0);
        }
    free(z);
    return OCLORA_OK;
}

/* out = (w + b a) x */
static void adapted(double *out, const oclora_layer *layer, const double *x, uint32_t rank,
                    uint32_t n)
{
    oclora_apply_matrix(out, layer->w, x, n);
    for (uint32_t r = 0; r < rank; r++) {
        double h = 0.0;
        for (uint32_t j = 0; j < n; j++) h += layer->a[(size_t)r * n + j] * x[j];
        for (uint32_t i = 0; i < n; i++) out[i] += layer->b[(size_t)i * rank + r] * h;
    }
}

/* Biases of a group of layers that stands for one layer of the target: all but the last keep every
 * ReLU open for all inputs, the last takes back what that adds. `h` are the group's inputs and
 * become its outputs. */
static oclora_status set_biases(oclora_layer *layers, size_t count, uint32_t rank,
                                const double *target_bias, double *h, uint32_t n, oclora_error *err)
{
    double *z = oclora_new(n), *shift = oclora_new(n);
    if (z == NULL || shift == NULL) {
        free(z);
        free(shift);
        return no_memory(err);
    }
    for (size_t l = 0; l < count; l++) {
        double *bias = layers[l].bias;
        adapted(z, &layers[l], shift, rank, n); /* what earlier biases add to z */
        memcpy(shift, z, n * sizeof *z);
        for (size_t row = 0; row < INPUTS; row++) {
            adapted(z, &layers[l], h + row * n, rank, n);
            memcpy(h + row * n, z, n * sizeof *z);
            for (uint32_t i = 0; i < n && l + 1 < count; i++)
                if (-2.0 * z[i] > bias[i]) bias[i] = -2.0 * z[i];
        }
        for (uint32_t i = 0; i < n; i++) {
            if (l + 1 == count) bias[i] = target_bias[i] - shift[i];
            bias[i] = (double)(float)bias[i];
            shift[i] += bias[i];
            for (size_t row = 0; row < INPUTS; row++)
                h[row * n + i] = fmax(h[row * n + i] + bias[i], 0.0);
        }
    }
    free(z);
    free(shift);
    return OCLORA_OK;
}

/* Layers [first, last) of the frozen network stand for layer i of the target. */
static void group_of(const oclora_expressive_options *o, uint32_t i, size_t *first, size_t *last)
{
    *first = (size_t)i * o->depth / o->target_depth;
    *last = ((size_t)i + 1) * o->depth / o->target_depth;
}

static oclora_status fit_relu(const oclora_expressive_options *o, oclora_network *network,
                              const target_net *t, oclora_error *err)
{
    const size_t square = (size_t)t->n * t->n;
    double *h = oclora_new((size_t)INPUTS * t->n);
    oclora_layer **chain = calloc(network->n_layers, sizeof(*chain));
    oclora_status status = h != NULL && chain != NULL ? OCLORA_OK : no_memory(err);
    if (status == OCLORA_OK) memcpy(h, t->x, (size_t)INPUTS * t->n * sizeof *h);
    for (uint32_t i = 0; i < t->depth && status == OCLORA_OK; i++) {
        size_t first, last;
        group_of(o, i, &first, &last);
        for (size_t l = first; l < last; l++) chain[l - first] = &network->layers[l];
        status = oclora_fit_chain(network, chain, last - first, false, t->w + i * square, NULL,
                                  NULL, err);
        if (status == OCLORA_OK)
            status = set_biases(network->layers + first, last - first, network->rank,
                                t->bias + (size_t)i * t->n, h, t->n, err);
    }
    free(h);
    free(chain);
    return status;
}

static oclora_status relu_point(oclora_experiment *e, oclora_network *network, const target_net *t,
                                oclora_point *point, oclora_error *err)
{
    const size_t count = (size_t)INPUTS * t->n;
    float *x = calloc(count, sizeof *x);
    oclora_adapter_t adapter = 0;
    oclora_status status = x != NULL ? OCLORA_OK : no_memory(err);
    for (size_t i = 0; i < count && x != NULL; i++) x[i] = (float)t->x[i];
    if (status == OCLORA_OK) status = oclora_network_reset(network, point->rank, err);
    if (status == OCLORA_OK) status = fit_relu(e->options, network, t, err);
    if (status == OCLORA_OK) status = oclora_network_adapter(network, &e->device, &adapter, err);
    if (status == OCLORA_OK) status = run_layers(e, network, adapter, INPUTS, true, x, err);
    if (status == OCLORA_OK) point->error = oclora_relative_error(x, t->y, count);
    free(x);
    return status;
}

oclora_status oclora_run_relu(oclora_experiment *e, oclora_error *err)
{
    const oclora_expressive_options *o = e->options;
    const uint32_t group = o->depth / o->target_depth;
    oclora_dice dice = {0xd1b54a32d192ed03u ^ o->seed};
    oclora_network network = {0};
    target_net target = {0};
    e->threshold = (o->width + group - 1) / group;
    oclora_status status = oclora_network_create(&network, o->width, o->depth, &dice, err);
    name_layers(&network);
    if (status == OCLORA_OK) status = make_target(&target, o->width, o->target_depth, &dice, err);
    if (status == OCLORA_OK) status = oclora_network_upload(&network, &e->device, err);
    if (status == OCLORA_OK) status = oclora_plan_ranks(e, err);
    for (size_t i = 0; i < e->n_points && status == OCLORA_OK; i++)
        status = relu_point(e, &network, &target, &e->points[i], err);
    oclora_network_free(&network);
    free_target(&target);
    return status;
}
