/* world.h - the smallest whole world of the native ABI: a context, the two weights the golden LoRA
 * cases adapt, a pool, one adapter. */
#ifndef OCLORA_TESTS_NATIVE_WORLD_H
#define OCLORA_TESTS_NATIVE_WORLD_H

#include "native.h"

#define GOLDEN OCLORA_TEST_DATA "/golden/"

enum { Q_IN = 96, Q_OUT = 80, DOWN_IN = 160, DOWN_OUT = 96 };

typedef struct world {
    const oclora_api *api;
    oclora_context_t *context;
    oclora_weight_t *q;
    oclora_weight_t *down;
    oclora_pool_t *pool;
    oclora_adapter_t adapter;
} world;

static inline oclora_status world_weight(world *w, const char *name, uint32_t d_in, uint32_t d_out,
                                         oclora_weight_t **out, oclora_message *msg)
{
    const size_t count = (size_t)d_in * d_out;
    float *values = malloc(count * sizeof *values);
    for (size_t i = 0; i < count; i++) values[i] = (float)(i * 37 % 101) / 101.0f - 0.5f;
    const oclora_weight_args args = {.struct_size = sizeof args,
                                     .name = name,
                                     .name_length = strlen(name),
                                     .data = values,
                                     .data_bytes = count * sizeof *values,
                                     .type = OCLORA_TYPE_F32,
                                     .d_in = d_in,
                                     .d_out = d_out};
    const oclora_status status = w->api->weight_create(w->context, &args, out, msg);
    free(values);
    return status;
}

static inline oclora_status world_load(world *w, const char *name, const char *path,
                                       oclora_adapter_t *out, oclora_message *msg)
{
    const oclora_adapter_args args = {.struct_size = sizeof args,
                                      .name = name,
                                      .name_length = strlen(name),
                                      .path = path,
                                      .path_length = strlen(path)};
    return w->api->adapter_load(w->pool, &args, out, msg);
}

/* All but the context, which is there. The first failure's status. */
static inline oclora_status world_fill(world *w, oclora_message *msg)
{
    const oclora_pool_args pool = {.struct_size = sizeof pool, .budget_bytes = 1 << 18};
    OCLORA_TRY(world_weight(w, "model.layers.0.self_attn.q_proj", Q_IN, Q_OUT, &w->q, msg));
    OCLORA_TRY(world_weight(w, "model.layers.3.mlp.down_proj", DOWN_IN, DOWN_OUT, &w->down, msg));
    OCLORA_TRY(w->api->pool_create(w->context, &pool, &w->pool, msg));
    return world_load(w, "lora", GOLDEN "lora", &w->adapter, msg);
}

static inline bool world_open(world *w, const oclora_api *api, uint32_t device,
                              uint32_t device_class)
{
    oclora_message msg = {sizeof msg, ""};
    memset(w, 0, sizeof *w);
    w->api = api;
    w->context = native_context(api, device, device_class);
    return WANT_OK(world_fill(w, &msg));
}

static inline void world_close(world *w)
{
    w->api->pool_destroy(w->pool);
    w->api->weight_destroy(w->q);
    w->api->weight_destroy(w->down);
    w->api->context_destroy(w->context);
}

/* A batch of `n_rows` in which odd rows have the adapter with weight 1. */
static inline oclora_status world_batch(world *w, uint32_t n_rows, oclora_batch_t **out,
                                        oclora_message *msg)
{
    uint32_t starts[65] = {0};
    oclora_adapter_t entries[64];
    for (uint32_t t = 0; t < n_rows; t++) {
        entries[t] = w->adapter;
        starts[t + 1] = starts[t] + t % 2;
    }
    const oclora_batch_args args = {
        .struct_size = sizeof args, .row_start = starts, .adapter = entries, .n_rows = n_rows};
    return w->api->batch_create(w->pool, &args, out, msg);
}

static inline oclora_linear_args world_call(const world *w, oclora_batch_t *batch, const float *x,
                                            float *y, uint32_t n_rows)
{
    const oclora_linear_args args = {.struct_size = sizeof args,
                                     .weight = w->q,
                                     .batch = batch,
                                     .x = x,
                                     .y = y,
                                     .n_rows = n_rows};
    return args;
}

#endif
