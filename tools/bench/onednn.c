#include "tools/bench/onednn.h"

#ifndef OCLORA_BENCH_ONEDNN

bool bench_dnn_built(void)
{
    return false;
}

void bench_dnn_begin(uint32_t threads)
{
    (void)threads;
}

bool bench_dnn_open(bench_dnn *out, bench_layer *layer, bool s8, uint32_t threads)
{
    (void)layer;
    (void)s8;
    (void)threads;
    *out = (bench_dnn){.state = NULL};
    return false;
}

bool bench_dnn_run(void *dnn, uint32_t repeats)
{
    (void)dnn;
    (void)repeats;
    return false;
}

void bench_dnn_close(bench_dnn *dnn)
{
    (void)dnn;
}

double bench_dnn_error(bench_dnn *dnn, bench_layer *layer)
{
    (void)dnn;
    (void)layer;
    return -1;
}

#else

#include "tools/bench/peers.h"

#include <dlfcn.h>
#include <math.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdlib.h>
#include <string.h>

struct bench_dnn_state {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t product;
    dnnl_memory_t x, w, y;
    void *x_values, *w_values; /* in the user's layout */
    uint32_t threads;
};

bool bench_dnn_built(void)
{
    return true;
}

static void set_threads(uint32_t count)
{
    void (*set)(int) = NULL;
    void *symbol = dlsym(RTLD_DEFAULT, "omp_set_num_threads");
    memcpy(&set, &symbol, sizeof symbol);
    if (set) set((int)count);
}

void bench_dnn_begin(uint32_t threads)
{
    enum { SIDE = 512 };
    float *m = calloc((size_t)3 * SIDE * SIDE, sizeof *m);
    set_threads(threads);
    if (m)
        dnnl_sgemm('N', 'N', SIDE, SIDE, SIDE, 1, m, SIDE, m + SIDE * SIDE, SIDE, 0,
                   m + 2 * SIDE * SIDE, SIDE);
    free(m);
}

/* As bytes with one scale, or as they are. @return the scale, 0 if memory is out. */
static float convert(void **out, const float *values, size_t count, bool s8)
{
    float largest = 0;
    *out = malloc(count * (s8 ? 1 : sizeof *values));
    if (!*out) return 0;
    if (!s8) {
        memcpy(*out, values, count * sizeof *values);
        return 1;
    }
    for (size_t i = 0; i < count; i++)
        if (fabsf(values[i]) > largest) largest = fabsf(values[i]);
    const float scale = largest > 0 ? largest / 127 : 1;
    for (size_t i = 0; i < count; i++)
        ((signed char *)*out)[i] = (signed char)lrintf(values[i] / scale);
    return scale;
}

static bool memory_of(dnnl_memory_t *out, dnnl_memory_desc_t *desc, struct bench_dnn_state *s,
                      const dnnl_dims_t dims, dnnl_data_type_t type, dnnl_format_tag_t tag,
                      void *values)
{
    return dnnl_memory_desc_init_by_tag(desc, 2, dims, type, tag) == dnnl_success &&
           dnnl_memory_create(out, desc, s->engine, values) == dnnl_success;
}

/* The weight from the user's layout into the one that the primitive chose. */
static bool pack(struct bench_dnn_state *s, dnnl_memory_t from, const dnnl_memory_desc_t *user)
{
    const dnnl_memory_desc_t *chosen =
        dnnl_primitive_desc_query_md(s->desc, dnnl_query_weights_md, 0);
    dnnl_primitive_desc_t desc = NULL;
    dnnl_primitive_t reorder = NULL;
    bool ok = chosen &&
              dnnl_memory_create(&s->w, chosen, s->engine, DNNL_MEMORY_ALLOCATE) == dnnl_success &&
              dnnl_reorder_primitive_desc_create(&desc, user, s->engine, chosen, s->engine, NULL) ==
                  dnnl_success &&
              dnnl_primitive_create(&reorder, desc) == dnnl_success;
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, s->w}};
    ok = ok && dnnl_primitive_execute(reorder, s->stream, 2, args) == dnnl_success &&
         dnnl_stream_wait(s->stream) == dnnl_success;
    if (reorder) dnnl_primitive_destroy(reorder);
    if (desc) dnnl_primitive_desc_destroy(desc);
    return ok;
}

static bool make_product(struct bench_dnn_state *s, const dnnl_memory_desc_t *x,
                         const dnnl_memory_desc_t *w, const dnnl_memory_desc_t *y, float scale)
{
    dnnl_matmul_desc_t product;
    dnnl_memory_desc_t any;
    dnnl_primitive_attr_t attr = NULL;
    bool ok =
        dnnl_memory_desc_init_by_tag(&any, 2, w->dims, w->data_type, dnnl_format_tag_any) ==
            dnnl_success &&
        dnnl_primitive_attr_create(&attr) == dnnl_success &&
        dnnl_primitive_attr_set_output_scales(attr, 1, 0, &scale) == dnnl_success &&
        dnnl_matmul_desc_init(&product, x, &any, NULL, y) == dnnl_success &&
        dnnl_primitive_desc_create(&s->desc, &product, attr, s->engine, NULL) == dnnl_success &&
        dnnl_primitive_create(&s->product, s->desc) == dnnl_success;
    if (attr) dnnl_primitive_attr_destroy(attr);
    return ok;
}

static bool fill(bench_dnn *out, bench_layer *layer, bool s8, const float *weight)
{
    struct bench_dnn_state *s = out->state;
    const bench_shape *shape = &layer->shape;
    const dnnl_dim_t m = shape->rows, k = shape->d_in, n = shape->d_out[0];
    const dnnl_dims_t x_dims = {m, k}, w_dims = {k, n}, y_dims = {m, n};
    const dnnl_data_type_t type = s8 ? dnnl_s8 : dnnl_f32;
    dnnl_memory_desc_t x, w, y;
    dnnl_memory_t user = NULL;
    const float sx = convert(&s->x_values, layer->host_x, (size_t)(m * k), s8);
    const float sw = convert(&s->w_values, weight, (size_t)(k * n), s8);
    out->y = calloc((size_t)(m * n), sizeof *out->y);
    const bool ok =
        sx > 0 && sw > 0 && out->y && dnnl_engine_create(&s->engine, dnnl_cpu, 0) == dnnl_success &&
        dnnl_stream_create(&s->stream, s->engine, dnnl_stream_default_flags) == dnnl_success &&
        memory_of(&s->x, &x, s, x_dims, type, dnnl_ab, s->x_values) &&
        memory_of(&user, &w, s, w_dims, type, dnnl_ba, s->w_values) &&
        memory_of(&s->y, &y, s, y_dims, dnnl_f32, dnnl_ab, out->y) &&
        make_product(s, &x, &w, &y, sx * sw) && pack(s, user, &w);
    if (user) dnnl_memory_destroy(user);
    return ok;
}

bool bench_dnn_open(bench_dnn *out, bench_layer *layer, bool s8, uint32_t threads)
{
    bench_device *d = layer->device;
    const bench_shape *s = &layer->shape;
    float *weight = malloc((size_t)s->d_in * s->d_out[0] * sizeof *weight);
    *out = (bench_dnn){.state = calloc(1, sizeof *out->state)};
    bool ok = weight && out->state &&
              oclora_weight_dequantize(layer->weight[0], d->stream, weight, &d->err) == OCLORA_OK;
    if (ok) {
        out->state->threads = threads;
        set_threads(threads);
        ok = fill(out, layer, s8, weight);
    }
    free(weight);
    if (!ok) bench_dnn_close(out);
    return ok;
}

bool bench_dnn_run(void *user, uint32_t repeats)
{
    const bench_dnn *dnn = user;
    struct bench_dnn_state *s = dnn->state;
    const dnnl_exec_arg_t args[] = {
        {DNNL_ARG_SRC, s->x}, {DNNL_ARG_WEIGHTS, s->w}, {DNNL_ARG_DST, s->y}};
    bench_place before;
    /* An OpenCL runtime may have put this thread beside one of oneDNN's. */
    const bool moved = bench_place_first(&before, s->threads > 1);
    set_threads(s->threads);
    bool ok = true;
    for (uint32_t i = 0; ok && i < repeats; i++)
        ok = dnnl_primitive_execute(s->product, s->stream, 3, args) == dnnl_success;
    ok = ok && dnnl_stream_wait(s->stream) == dnnl_success;
    if (moved) bench_place_set(&before);
    return ok;
}

void bench_dnn_close(bench_dnn *dnn)
{
    struct bench_dnn_state *s = dnn->state;
    if (s) {
        if (s->product) dnnl_primitive_destroy(s->product);
        if (s->desc) dnnl_primitive_desc_destroy(s->desc);
        if (s->x) dnnl_memory_destroy(s->x);
        if (s->w) dnnl_memory_destroy(s->w);
        if (s->y) dnnl_memory_destroy(s->y);
        if (s->stream) dnnl_stream_destroy(s->stream);
        if (s->engine) dnnl_engine_destroy(s->engine);
        free(s->x_values);
        free(s->w_values);
    }
    free(s);
    free(dnn->y);
    *dnn = (bench_dnn){.state = NULL};
}

double bench_dnn_error(bench_dnn *dnn, bench_layer *layer)
{
    if (!bench_dnn_run(dnn, 1)) return -1;
    return bench_base_difference(layer, dnn->y);
}

#endif
