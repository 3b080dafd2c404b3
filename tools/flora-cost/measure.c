/* measure.c - the same rows served in three ways. */
#include "tools/flora-cost/cost.h"
#include "tools/shared/tensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Adapters of one rank: [0 .. examples) are LoRA, then as many FLoRA. */
typedef struct bench {
    oclora_cost *cost;
    uint32_t n_rows;
    float *x; /* [n_rows, d] */
    float *y;
    float *other;
    oclora_batch_t *none;      /* all rows, no adapters */
    oclora_batch_t *lora;      /* all rows, each example its own */
    oclora_batch_t *flora;     /* the same */
    oclora_batch_t **examples; /* [examples]: the rows of one example */
    oclora_adapter_t *adapters;
} bench;

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + 1e-9 * (double)at.tv_nsec;
}

/* Values of about 1 / sqrt(d) from a plain generator: sums stay of one size. */
static void fill(double *values, size_t count, double scale, uint64_t *state)
{
    for (size_t i = 0; i < count; i++) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        values[i] = scale * ((double)(*state >> 40) / 8388608.0 - 1.0);
    }
}

static oclora_status load(oclora_cost *cost, bool flora, uint32_t rank, uint32_t number,
                          oclora_adapter_t *out, oclora_error *err)
{
    const uint32_t d = cost->options->width;
    const size_t count = (size_t)rank * d;
    uint64_t state = 977u * number + 31u * rank + flora;
    char name[48];
    oclora_tensors list = {0};
    double *values = calloc(count, sizeof *values);
    oclora_status status = OCLORA_OK;
    if (values == NULL) return oclora_fail(err, OCLORA_OUT_OF_HOST_MEMORY, "no memory to measure");
    snprintf(name, sizeof name, "%s %u of rank %u", flora ? "flora" : "lora", number, rank);
    fill(values, count, flora ? 1.0 : 1.0 / sqrt(d), &state);
    status = oclora_tensors_add_f32(
        &list, flora ? "base_model.model.layer.flora_A" : "base_model.model.layer.lora_A.weight",
        rank, d, values, err);
    fill(values, count, 1.0, &state);
    if (status == OCLORA_OK)
        status = oclora_tensors_add_f32(&list,
                                        flora ? "base_model.model.layer.flora_B"
                                              : "base_model.model.layer.lora_B.weight",
                                        d, rank, values, err);
    json_t *config = json_pack("{s:s,s:i,s:i,s:[s]}", "peft_type", flora ? "FLORA" : "LORA", "r",
                               (int)rank, "lora_alpha", (int)rank, "target_modules", "layer");
    if (status == OCLORA_OK)
        status = oclora_layers_load_tensors(&cost->device, name, config, &list, OCLORA_STORE_AUTO,
                                            out, err);
    json_decref(config);
    oclora_tensors_free(&list);
    free(values);
    return status;
}

/* Rows of examples [first, first + count); `adapters` has one for each example, or is NULL. */
static oclora_status make_batch(oclora_cost *cost, const oclora_adapter_t *adapters, uint32_t count,
                                oclora_batch_t **out, oclora_error *err)
{
    const uint32_t tokens = cost->options->tokens, n = count * tokens;
    oclora_message msg = {.struct_size = sizeof msg};
    uint32_t *start = calloc((size_t)n + 1, sizeof *start);
    oclora_adapter_t *entries = calloc((size_t)n + 1, sizeof *entries);
    oclora_status status = OCLORA_OK;
    if (start == NULL || entries == NULL)
        status = oclora_fail(err, OCLORA_OUT_OF_HOST_MEMORY, "no memory for %u rows", n);
    for (uint32_t t = 0; t < n && status == OCLORA_OK; t++) {
        start[t + 1] = adapters != NULL ? t + 1 : 0;
        if (adapters != NULL) entries[t] = adapters[t / tokens];
    }
    const oclora_batch_args args = {
        .struct_size = sizeof args, .row_start = start, .adapter = entries, .n_rows = n};
    if (status == OCLORA_OK) {
        status = cost->device.api->batch_create(cost->device.pool, &args, out, &msg);
        if (status != OCLORA_OK) oclora_fail(err, status, "%s", msg.text);
    }
    free(start);
    free(entries);
    return status;
}

static oclora_status run(oclora_cost *cost, oclora_batch_t *batch, uint32_t n_rows, uint32_t flags,
                         const float *x, float *y, oclora_error *err)
{
    oclora_message msg = {.struct_size = sizeof msg};
    const oclora_linear_args args = {.struct_size = sizeof args,
                                     .weight = cost->device.weights[0],
                                     .batch = batch,
                                     .x = x,
                                     .y = y,
                                     .n_rows = n_rows,
                                     .flags = flags};
    const oclora_status status = cost->device.api->linear(&args, &msg);
    return status == OCLORA_OK ? status : oclora_fail(err, status, "%s", msg.text);
}

/* --- the ways --- */

static oclora_status run_batch(bench *b, oclora_batch_t *batch, float *y, double *shortest,
                               oclora_error *err)
{
    const double start = now();
    OCLORA_TRY(run(b->cost, batch, b->n_rows, 0, b->x, y, err));
    *shortest = fmin(*shortest, now() - start);
    return OCLORA_OK;
}

/* The base product of all rows, then every example's adapter by itself. */
static oclora_status run_separate(bench *b, double *shortest, oclora_error *err)
{
    const oclora_cost_options *o = b->cost->options;
    const double start = now();
    OCLORA_TRY(run(b->cost, b->none, b->n_rows, 0, b->x, b->other, err));
    for (uint32_t i = 0; i < o->examples; i++) {
        const size_t at = (size_t)i * o->tokens * o->width;
        OCLORA_TRY(run(b->cost, b->examples[i], o->tokens, OCLORA_DELTA_ONLY, b->x + at,
                       b->other + at, err));
    }
    *shortest = fmin(*shortest, now() - start);
    return OCLORA_OK;
}

static double largest_difference(const float *y, const float *reference, size_t count)
{
    double difference = 0.0, scale = 0.0;
    for (size_t i = 0; i < count; i++) {
        const double d = fabs((double)y[i] - (double)reference[i]);
        if (!(d <= INFINITY)) return INFINITY;
        difference = fmax(difference, d);
        scale = fmax(scale, fabs((double)reference[i]));
    }
    return difference / scale;
}

static oclora_status make_batches(bench *b, uint32_t rank, oclora_error *err)
{
    const uint32_t n = b->cost->options->examples;
    for (uint32_t i = 0; i < 2 * n; i++)
        OCLORA_TRY(load(b->cost, i >= n, rank, i, &b->adapters[i], err));
    OCLORA_TRY(make_batch(b->cost, b->adapters, n, &b->lora, err));
    OCLORA_TRY(make_batch(b->cost, b->adapters + n, n, &b->flora, err));
    for (uint32_t i = 0; i < n; i++)
        OCLORA_TRY(make_batch(b->cost, b->adapters + i, 1, &b->examples[i], err));
    return OCLORA_OK;
}

static void drop_batches(bench *b)
{
    const oclora_api *api = b->cost->device.api;
    oclora_message msg = {.struct_size = sizeof msg};
    const uint32_t n = b->cost->options->examples;
    api->batch_destroy(b->lora);
    api->batch_destroy(b->flora);
    b->lora = NULL;
    b->flora = NULL;
    for (uint32_t i = 0; i < n; i++) {
        api->batch_destroy(b->examples[i]);
        b->examples[i] = NULL;
    }
    for (uint32_t i = 0; i < 2 * n; i++) {
        if (b->adapters[i] != 0)
            (void)api->adapter_unload(b->cost->device.pool, b->adapters[i], &msg);
        b->adapters[i] = 0;
    }
}

/* The first turn builds kernels and is not counted. */
static oclora_status measure_rank(bench *b, oclora_cost_row *row, oclora_error *err)
{
    OCLORA_TRY(make_batches(b, row->rank, err));
    for (uint32_t turn = 0; turn <= b->cost->options->repeats; turn++) {
        if (turn <= 1) row->segmented = row->separate = row->flora = INFINITY;
        OCLORA_TRY(run_batch(b, b->none, b->y, &b->cost->base, err));
        OCLORA_TRY(run_batch(b, b->flora, b->y, &row->flora, err));
        OCLORA_TRY(run_batch(b, b->lora, b->y, &row->segmented, err));
        OCLORA_TRY(run_separate(b, &row->separate, err));
    }
    row->difference =
        largest_difference(b->y, b->other, (size_t)b->n_rows * b->cost->options->width);
    return OCLORA_OK;
}

static oclora_status add_weight(bench *b, oclora_error *err)
{
    const uint32_t d = b->cost->options->width;
    const size_t square = (size_t)d * d;
    uint64_t state = 1;
    double *values = calloc(square, sizeof *values);
    float *w = calloc(square, sizeof *w);
    oclora_status status = OCLORA_OK;
    if (values == NULL || w == NULL)
        status = oclora_fail(err, OCLORA_OUT_OF_HOST_MEMORY, "no memory for the weight");
    if (status == OCLORA_OK) {
        fill(values, square, 1.0 / sqrt(d), &state);
        for (size_t i = 0; i < square; i++) w[i] = (float)values[i];
        status = oclora_layers_add_f32(&b->cost->device, "layer", w, NULL, d, d, err);
    }
    free(values);
    free(w);
    return status;
}

static oclora_status measure(bench *b, oclora_error *err)
{
    const oclora_cost_options *o = b->cost->options;
    const size_t count = (size_t)b->n_rows * o->width;
    for (size_t i = 0; i < count; i++)
        b->x[i] = (float)((i * 2654435761u >> 7) % 2001) / 1000.0f - 1.0f;
    OCLORA_TRY(add_weight(b, err));
    OCLORA_TRY(make_batch(b->cost, NULL, o->examples, &b->none, err));
    b->cost->base = INFINITY;
    for (uint32_t i = 0; i < o->n_ranks; i++) {
        b->cost->rows[i].rank = o->ranks[i];
        const oclora_status status = measure_rank(b, &b->cost->rows[i], err);
        drop_batches(b);
        OCLORA_TRY(status);
    }
    return OCLORA_OK;
}

oclora_status oclora_cost_measure(oclora_cost *cost, oclora_error *err)
{
    const oclora_cost_options *o = cost->options;
    bench b = {.cost = cost, .n_rows = o->examples * o->tokens};
    const size_t count = (size_t)b.n_rows * o->width;
    b.x = calloc(count, sizeof *b.x);
    b.y = calloc(count, sizeof *b.y);
    b.other = calloc(count, sizeof *b.other);
    b.examples = calloc(o->examples, sizeof(*b.examples));
    b.adapters = calloc((size_t)o->examples * 2, sizeof *b.adapters);
    oclora_status status = OCLORA_OK;
    if (!b.x || !b.y || !b.other || !b.examples || !b.adapters)
        status = oclora_fail(err, OCLORA_OUT_OF_HOST_MEMORY, "no memory for %u rows", b.n_rows);
    if (status == OCLORA_OK)
        status = oclora_layers_open(&cost->device, o->device, o->device_class, err);
    if (status == OCLORA_OK) status = measure(&b, err);
    if (cost->device.api != NULL) cost->device.api->batch_destroy(b.none);
    free(b.x);
    free(b.y);
    free(b.other);
    free(b.examples);
    free(b.adapters);
    return status;
}
