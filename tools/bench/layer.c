#include "tools/bench/layer.h"

#include "host/op/delta.h"
#include "host/op/fused.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64 };

static float draw(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (float)(int32_t)*seed / 2147483648.0f;
}

static bool say(const bench_layer *l, const char *what)
{
    fprintf(stderr, "oclora-bench: %s: %s\n", what, l->device->err.text);
    return false;
}

/* Random blocks whose scales are small halves; a block's halves come first. */
static void draw_blocks(unsigned char *out, oclora_type type, uint64_t bytes)
{
    const uint32_t block = oclora_type_block_bytes(type);
    const uint32_t halves = type == OCLORA_TYPE_Q4_1 ? 2 : 1;
    uint32_t seed = 7;
    for (uint64_t i = 0; i < bytes; i++) out[i] = (unsigned char)(draw(&seed) * 127.0f);
    for (uint64_t at = 0; at + block <= bytes; at += block)
        for (uint32_t i = 0; i < halves; i++) {
            uint16_t half = oclora_float_to_half(i ? -0.008f : 0.001f);
            memcpy(out + at + 2 * i, &half, 2);
        }
}

static void draw_weight(unsigned char *out, oclora_type type, uint64_t bytes)
{
    uint32_t seed = 11;
    if (oclora_type_block(type) > 1) {
        draw_blocks(out, type, bytes);
    } else if (type == OCLORA_TYPE_F16) {
        for (uint64_t i = 0; i < bytes / 2; i++)
            ((uint16_t *)(void *)out)[i] = oclora_float_to_half(draw(&seed) * 0.02f);
    } else {
        for (uint64_t i = 0; i < bytes / 4; i++) ((float *)(void *)out)[i] = draw(&seed) * 0.02f;
    }
}

static bool add_weight(bench_layer *l, uint32_t number, uint64_t offset)
{
    const bench_shape *s = &l->shape;
    const uint64_t bytes = oclora_type_row_bytes(s->weight_type, s->d_in) * s->d_out[number];
    char name[16];
    snprintf(name, sizeof name, "w%u", (unsigned)number);
    unsigned char *values = malloc(bytes);
    if (!values) return false;
    draw_weight(values, s->weight_type, bytes);
    oclora_status status = oclora_base_add(l->base, name, s->weight_type, s->d_in, s->d_out[number],
                                           l->w, offset, &l->weight[number], &l->device->err);
    if (status == OCLORA_OK)
        status = oclora_weight_write(l->weight[number], l->device->stream, 0, values, bytes,
                                     &l->device->err);
    free(values);
    return status == OCLORA_OK;
}

static oclora_tensor rows_of(oclora_buffer *buffer, uint64_t offset, uint32_t width, uint32_t rows)
{
    const uint64_t row = (uint64_t)width * 4, all = row * rows;
    return (oclora_tensor){
        buffer, offset, OCLORA_TYPE_F32, 0, {width, rows, 1, 1}, {4, row, all, all}};
}

static bool open_base(bench_layer *l)
{
    const bench_shape *s = &l->shape;
    uint64_t bytes[BENCH_OUTPUTS] = {0}, total = 0, y_total = 0;
    for (l->n_out = 0; l->n_out < BENCH_OUTPUTS && s->d_out[l->n_out]; l->n_out++) {
        bytes[l->n_out] = total;
        total += oclora_type_row_bytes(s->weight_type, s->d_in) * s->d_out[l->n_out];
        total = (total + ALIGN - 1) / ALIGN * ALIGN;
        y_total += (uint64_t)s->d_out[l->n_out] * s->rows * 4;
    }
    oclora_error *err = &l->device->err;
    oclora_context *context = l->device->context;
    const uint64_t x_bytes = (uint64_t)s->d_in * s->rows * 4;
    if (oclora_base_create(&l->base, context, err) != OCLORA_OK ||
        oclora_buffer_create(&l->w, context, total, err) != OCLORA_OK ||
        oclora_buffer_create(&l->x, context, x_bytes, err) != OCLORA_OK ||
        oclora_buffer_create(&l->y, context, y_total, err) != OCLORA_OK)
        return false;
    uint32_t seed = 3;
    uint64_t at = 0;
    l->host_x = malloc(x_bytes);
    if (!l->host_x) return false;
    for (uint64_t i = 0; i < x_bytes / 4; i++) l->host_x[i] = draw(&seed);
    l->x_rows = rows_of(l->x, 0, s->d_in, s->rows);
    for (uint32_t i = 0; i < l->n_out; i++) {
        if (!add_weight(l, i, bytes[i])) return false;
        l->y_rows[i] = rows_of(l->y, at, s->d_out[i], s->rows);
        at += (uint64_t)s->d_out[i] * s->rows * 4;
    }
    return oclora_stream_write(l->device->stream, l->x, 0, l->host_x, x_bytes, err) == OCLORA_OK &&
           bench_layer_clear(l);
}

/* Random factors: to the pool in their type, to the host as the f32 the type holds. */
static void draw_factors(unsigned char *out, float *host, uint64_t count, oclora_type type,
                         uint32_t seed)
{
    for (uint64_t i = 0; i < count; i++) {
        float value = draw(&seed) * 0.05f;
        uint16_t half = oclora_float_to_half(value);
        if (type == OCLORA_TYPE_F16) value = oclora_half_to_float(half);
        if (type == OCLORA_TYPE_F16)
            memcpy(out + 2 * i, &half, 2);
        else
            memcpy(out + 4 * i, &value, 4);
        host[i] = value;
    }
}

static uint64_t lane_bytes(const bench_layer *l, uint32_t number)
{
    const bench_shape *s = &l->shape;
    const uint64_t size = s->factor_type == OCLORA_TYPE_F16 ? 2 : 4;
    uint64_t bytes =
        ((uint64_t)s->d_in + s->d_out[number]) * s->rank * size + ALIGN + (uint64_t)s->rank * 4;
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

static void fill_lane(const bench_layer *l, uint32_t number, uint32_t adapter, uint64_t offset,
                      unsigned char *pool, oclora_lane *lane)
{
    const bench_shape *s = &l->shape;
    const uint64_t size = s->factor_type == OCLORA_TYPE_F16 ? 2 : 4;
    const uint64_t a = (uint64_t)s->d_in * s->rank, b = (uint64_t)s->d_out[number] * s->rank;
    memset(lane, 0, sizeof *lane);
    lane->rank = s->rank;
    lane->group = 1;
    lane->type_a = lane->type_b = s->factor_type;
    lane->a = offset;
    lane->b = offset + a * size;
    lane->scale = (offset + (a + b) * size + ALIGN - 1) / ALIGN * ALIGN;
    draw_factors(pool + lane->a, l->host_a[number] + adapter * a, a, s->factor_type,
                 adapter * 2 + number * 1000 + 1);
    draw_factors(pool + lane->b, l->host_b[number] + adapter * b, b, s->factor_type,
                 adapter * 2 + number * 1000 + 2);
    for (uint32_t i = 0; i < s->rank; i++) {
        float one = 1.0f;
        memcpy(pool + lane->scale + 4 * i, &one, 4);
    }
}

static bool open_lanes(bench_layer *l)
{
    const bench_shape *s = &l->shape;
    uint64_t total = ALIGN, at = ALIGN;
    for (uint32_t i = 0; i < l->n_out; i++) {
        total += lane_bytes(l, i) * s->adapters;
        l->host_a[i] = calloc((size_t)s->adapters * s->rank * s->d_in, 4);
        l->host_b[i] = calloc((size_t)s->adapters * s->rank * s->d_out[i], 4);
        if (!l->host_a[i] || !l->host_b[i]) return false;
    }
    unsigned char *pool = calloc(total, 1);
    oclora_lane *lanes = calloc((size_t)l->n_out * s->adapters, sizeof *lanes);
    oclora_error *err = &l->device->err;
    bool ok = pool && lanes;
    for (uint32_t i = 0; ok && i < l->n_out; i++)
        for (uint32_t k = 0; k < s->adapters; k++, at += lane_bytes(l, i))
            fill_lane(l, i, k, at, pool, &lanes[i * s->adapters + k]);
    ok = ok && oclora_buffer_create(&l->pool, l->device->context, total, err) == OCLORA_OK &&
         oclora_stream_write(l->device->stream, l->pool, 0, pool, total, err) == OCLORA_OK &&
         oclora_lane_table_create_from(&l->lanes, l->device->stream, l->pool, lanes, l->n_out,
                                       s->adapters, err) == OCLORA_OK;
    free(pool);
    free(lanes);
    return ok;
}

uint32_t bench_layer_row(const bench_layer *layer, uint32_t adapter)
{
    return (uint32_t)((uint64_t)layer->shape.rows * adapter / layer->shape.adapters);
}

static bool open_work(bench_layer *l)
{
    const bench_shape *s = &l->shape;
    uint32_t *start = malloc((s->rows + 1) * sizeof *start);
    uint32_t *adapter = malloc(s->rows * sizeof *adapter);
    float *weight = malloc(s->rows * sizeof *weight);
    oclora_error *err = &l->device->err;
    oclora_worklist list = {0};
    bool ok = start && adapter && weight;
    for (uint32_t k = 0; ok && k < s->adapters; k++)
        for (uint32_t i = bench_layer_row(l, k); i < bench_layer_row(l, k + 1); i++) {
            start[i] = i;
            adapter[i] = k;
            weight[i] = 1.0f;
        }
    if (ok) {
        start[s->rows] = s->rows;
        oclora_batch batch = {.n_rows = s->rows,
                              .n_adapters = s->adapters,
                              .row_start = start,
                              .adapter = adapter,
                              .weight = weight};
        const uint32_t chunk_rows =
            oclora_context_tuned(l->device->context, OCLORA_TUNE_CHUNK_ROWS);
        ok = oclora_worklist_build(&list, &l->device->env, &batch, chunk_rows, err) == OCLORA_OK &&
             oclora_row_work_create(&l->work, l->device->stream, err) == OCLORA_OK &&
             oclora_row_work_update(l->work, &list, err) == OCLORA_OK;
    }
    oclora_worklist_free(&list);
    free(start);
    free(adapter);
    free(weight);
    return ok;
}

bool bench_layer_open(bench_layer *out, bench_device *device, const bench_shape *shape)
{
    memset(out, 0, sizeof *out);
    out->shape = *shape;
    out->device = device;
    snprintf(device->err.text, sizeof device->err.text, "out of memory");
    if (open_base(out) && (!shape->adapters || (open_lanes(out) && open_work(out)))) return true;
    say(out, "a layer");
    bench_layer_close(out);
    return false;
}

void bench_layer_close(bench_layer *layer)
{
    for (uint32_t i = 0; i < layer->n_others; i++) bench_layer_close(&layer->others[i]);
    free(layer->others);
    oclora_row_work_destroy(layer->work);
    oclora_lane_table_destroy(layer->lanes);
    oclora_base_destroy(layer->base);
    oclora_buffer_destroy(layer->w);
    oclora_buffer_destroy(layer->x);
    oclora_buffer_destroy(layer->y);
    oclora_buffer_destroy(layer->pool);
    free(layer->host_x);
    for (uint32_t i = 0; i < BENCH_OUTPUTS; i++) {
        free(layer->host_a[i]);
        free(layer->host_b[i]);
    }
    memset(layer, 0, sizeof *layer);
}

/* As a group of layers adds its adapters (host/op/panel_group.c), without the base products. */
static oclora_status delta_once(bench_layer *l)
{
    oclora_error *err = &l->device->err;
    if (l->n_out == 1)
        return oclora_linear(l->device->stream, l->weight[0], &l->x_rows, NULL, &l->y_rows[0],
                             l->lanes, l->work, OCLORA_LINEAR_DELTA_ONLY, err);
    oclora_linear_call calls[BENCH_OUTPUTS];
    memset(calls, 0, sizeof calls);
    for (uint32_t i = 0; i < l->n_out; i++) {
        calls[i].stream = l->device->stream;
        calls[i].weight = l->weight[i];
        calls[i].x = &l->x_rows;
        calls[i].y = &l->y_rows[i];
        calls[i].lanes = l->lanes;
        calls[i].work = l->work;
        calls[i].summary = l->lanes->summaries[l->weight[i]->id];
        calls[i].gpu = oclora_context_class(l->device->context) == OCLORA_CLASS_GPU;
    }
    if (oclora_linear_fuses(&calls[0])) return oclora_linear_fused(calls, l->n_out, err);
    for (uint32_t i = 0; i < l->n_out; i++) OCLORA_TRY(oclora_linear_delta(&calls[i], err));
    return OCLORA_OK;
}

static oclora_status base_once(bench_layer *l)
{
    return oclora_linear(l->device->stream, l->weight[0], &l->x_rows, NULL, &l->y_rows[0], NULL,
                         NULL, 0, &l->device->err);
}

static oclora_status repeat(bench_layer *l, oclora_status (*once)(bench_layer *), uint32_t repeats)
{
    for (uint32_t i = 0; i < repeats; i++) {
        bench_layer *at = l->turn ? &l->others[l->turn - 1] : l;
        l->turn = (l->turn + 1) % (l->n_others + 1);
        OCLORA_TRY(once(at));
    }
    return OCLORA_OK;
}

/* `as_graph`: as host/graph/steps.c runs them. */
static bool launch(bench_layer *l, oclora_status (*once)(bench_layer *), uint32_t repeats,
                   bool as_graph)
{
    oclora_stream *stream = l->device->stream;
    oclora_error *err = &l->device->err;
    if (as_graph) oclora_stream_chain_begin(stream, l->shape.rows);
    oclora_status status = repeat(l, once, repeats);
    const oclora_status ended = oclora_stream_chain_end(stream, status ? NULL : err);
    if (status == OCLORA_OK) status = ended;
    if (status == OCLORA_OK) status = oclora_stream_finish(stream, err);
    return status == OCLORA_OK || say(l, "a layer");
}

bool bench_layer_delta(void *layer, uint32_t repeats)
{
    return launch(layer, delta_once, repeats, false);
}

bool bench_layer_base(void *layer, uint32_t repeats)
{
    return launch(layer, base_once, repeats, false);
}

bool bench_layer_delta_graph(void *layer, uint32_t repeats)
{
    return launch(layer, delta_once, repeats, true);
}

bool bench_layer_base_graph(void *layer, uint32_t repeats)
{
    return launch(layer, base_once, repeats, true);
}

bool bench_layer_spread(bench_layer *layer, uint32_t places)
{
    layer->others = calloc(places, sizeof *layer->others);
    if (!layer->others) return false;
    for (; layer->n_others + 1 < places; layer->n_others++)
        if (!bench_layer_open(&layer->others[layer->n_others], layer->device, &layer->shape))
            return false;
    return true;
}

bool bench_layer_clear(bench_layer *layer)
{
    return oclora_stream_fill(layer->device->stream, layer->y, 0, oclora_buffer_bytes(layer->y), 0,
                              &layer->device->err) == OCLORA_OK;
}

bool bench_layer_read(bench_layer *layer, uint32_t number, float *values)
{
    const oclora_tensor *y = &layer->y_rows[number];
    return oclora_stream_read(layer->device->stream, y->buffer, y->offset, values,
                              y->nb[1] * y->ne[1], &layer->device->err) == OCLORA_OK;
}

double bench_layer_bytes(const bench_layer *layer)
{
    const bench_shape *s = &layer->shape;
    double size = s->factor_type == OCLORA_TYPE_F16 ? 2 : 4, bytes = 4.0 * s->rows * s->d_in;
    double served = s->adapters < s->rows ? s->adapters : s->rows;
    for (uint32_t i = 0; i < layer->n_out; i++)
        bytes +=
            served * s->rank * ((double)s->d_in + s->d_out[i]) * size + 8.0 * s->rows * s->d_out[i];
    return bytes;
}

double bench_layer_flops(const bench_layer *layer)
{
    const bench_shape *s = &layer->shape;
    double flops = 0;
    for (uint32_t i = 0; i < layer->n_out; i++)
        flops += 2.0 * s->rows * s->rank * ((double)s->d_in + s->d_out[i]);
    return flops;
}
