/* world.h - a small model, its adapters and its KV cache on one device, for the tests that run
 * graphs. */
#ifndef OCLORA_TESTS_GRAPH_WORLD_H
#define OCLORA_TESTS_GRAPH_WORLD_H

#include "graph/builder.h"
#include "host/adapter/image.h"
#include "host/graph/session.h"
#include "support/harness.h"

#include <stdio.h>

enum {
    WIDTH = 64,
    HEADS = 8,
    KV_HEADS = 4,
    HEAD = 16,
    FFN = 128,
    VOCAB = 64,
    CELLS = 32,
    STREAMS = 4,
    WORLD_BYTES = 1 << 22,
    WORLD_WEIGHTS = 8
};

typedef struct world {
    const oclora_test_device *device;
    oclora_base *base;
    oclora_buffer *weights;
    oclora_buffer *memory;
    oclora_pool *pool;
    oclora_session *session;
    oclora_runner *runner;
    const oclora_weight *weight[WORLD_WEIGHTS];
    float *values[WORLD_WEIGHTS];
    float *embd; /* [tokens of all sequences][WIDTH] */
} world;

static const struct {
    const char *name;
    uint32_t in, out;
} world_shape[WORLD_WEIGHTS] = {{"q", WIDTH, HEADS *HEAD},    {"k", WIDTH, KV_HEADS *HEAD},
                                {"v", WIDTH, KV_HEADS *HEAD}, {"o", HEADS *HEAD, WIDTH},
                                {"gate", WIDTH, FFN},         {"up", WIDTH, FFN},
                                {"down", FFN, WIDTH},         {"output", WIDTH, VOCAB}};

static inline float *world_random(size_t count, float scale)
{
    float *values = malloc(count * sizeof *values);
    if (values == NULL) abort();
    oclora_test_fill(values, count);
    for (size_t i = 0; i < count; i++) values[i] *= scale;
    return values;
}

static inline bool world_add_weights(world *w)
{
    oclora_error err = {0};
    uint64_t offset = 0;
    bool ok = CHECK_OK(oclora_base_create(&w->base, w->device->context, &err), &err) &&
              CHECK_OK(oclora_buffer_create(&w->weights, w->device->context, 1 << 20, &err), &err);
    for (uint32_t i = 0; ok && i < WORLD_WEIGHTS; i++) {
        uint32_t in = world_shape[i].in;
        uint32_t out = world_shape[i].out;
        char name[32];
        snprintf(name, sizeof name, "%s.weight", world_shape[i].name);
        ok = CHECK_OK(oclora_base_add(w->base, name, OCLORA_TYPE_F32, in, out, w->weights, offset,
                                      &w->weight[i], &err),
                      &err);
        if (w->values[i] == NULL) w->values[i] = world_random((size_t)in * out, 0.2f);
        ok = ok && CHECK_OK(oclora_weight_write(w->weight[i], w->device->stream, 0, w->values[i],
                                                (uint64_t)in * out * 4, &err),
                            &err);
        offset += (uint64_t)in * out * 4;
    }
    return ok;
}

static inline bool world_open(world *w, const oclora_test_device *device)
{
    oclora_error err = {0};
    w->device = device;
    if (w->embd == NULL) w->embd = world_random((size_t)STREAMS * CELLS * WIDTH, 1.0f);
    return world_add_weights(w) &&
           CHECK_OK(oclora_buffer_create(&w->memory, device->context, WORLD_BYTES, &err), &err) &&
           CHECK_OK(oclora_stream_fill(device->stream, w->memory, 0, WORLD_BYTES, 0, &err), &err) &&
           CHECK_OK(oclora_pool_create(&w->pool, device->context, w->base, 1 << 20, &err), &err) &&
           CHECK_OK(oclora_session_create(&w->session, oclora_test_env(), w->pool, &err), &err) &&
           CHECK_OK(oclora_runner_create(&w->runner, device->stream, &err), &err);
}

static inline void world_close(world *w)
{
    oclora_runner_destroy(w->runner);
    oclora_session_destroy(w->session);
    oclora_pool_destroy(w->pool);
    oclora_base_destroy(w->base);
    oclora_buffer_destroy(w->weights);
    oclora_buffer_destroy(w->memory);
    for (uint32_t i = 0; i < WORLD_WEIGHTS; i++) free(w->values[i]);
    free(w->embd);
}

static inline void world_factor(oclora_adapter_image *image, oclora_factor *factor, uint32_t rows,
                                uint32_t cols, const float *values)
{
    oclora_error err = {0};
    factor->type = OCLORA_TYPE_F32;
    factor->rows = rows;
    factor->cols = cols;
    void *data = oclora_alloc(&image->env, (size_t)rows * cols, 4);
    if (data == NULL) abort();
    memcpy(data, values, (size_t)rows * cols * 4);
    CHECK_OK(oclora_image_adopt(image, factor, data, &err), &err);
}

/* An adapter on the weights of `mask`; if `merged` is given, its deltas are added there. */
static inline oclora_adapter_handle world_adapter(world *w, const char *name, uint32_t mask,
                                                  uint32_t rank, float **merged)
{
    oclora_error err = {0};
    oclora_adapter_image *image = NULL;
    oclora_adapter_handle handle = 0;
    size_t capacity = 0;
    if (!CHECK_OK(oclora_image_create(&image, oclora_test_env(), &err), &err)) return 0;
    image->kind = OCLORA_KIND_LORA;
    image->naming = OCLORA_NAMING_GGUF;
    snprintf((char *)image->hash, sizeof image->hash, "%s", name);
    for (uint32_t i = 0; i < WORLD_WEIGHTS; i++) {
        if (!(mask >> i & 1u)) continue;
        uint32_t in = world_shape[i].in;
        uint32_t out = world_shape[i].out;
        float *a = world_random((size_t)rank * in, 0.15f);
        float *b = world_random((size_t)rank * out, 0.15f);
        oclora_module *module = NULL;
        CHECK_OK(oclora_image_add_module(image, &capacity, world_shape[i].name,
                                         strlen(world_shape[i].name), &module, &err),
                 &err);
        module->d_in = in;
        module->d_out = out;
        module->rank = rank;
        module->group = 1;
        world_factor(image, &module->a, rank, in, a);
        world_factor(image, &module->b, rank, out, b);
        module->scale = oclora_alloc(&image->env, rank, sizeof(float));
        for (uint32_t r = 0; r < rank; r++) module->scale[r] = 2.0f;
        for (uint32_t o = 0; merged != NULL && o < out; o++)
            for (uint32_t k = 0; k < in; k++) {
                double sum = merged[i][(size_t)o * in + k];
                for (uint32_t r = 0; r < rank; r++)
                    sum += 2.0 * a[(size_t)r * in + k] * b[(size_t)r * out + o];
                merged[i][(size_t)o * in + k] = (float)sum;
            }
        free(a);
        free(b);
    }
    CHECK_OK(oclora_image_finish(image, &err), &err);
    if (!CHECK_OK(oclora_pool_add(w->pool, name, image, &handle, &err), &err))
        oclora_adapter_image_destroy(image);
    return handle;
}

/* A batch: `per` tokens of each of `streams` sequences from `first` on, at positions from `at` on.
 */
typedef struct world_batch {
    uint32_t first, streams, per, at;
    bool flash;
    uint32_t cache_streams; /* of the KV cache; 0 = STREAMS */
} world_batch;

static inline builder_model world_model(const world *w, const world_batch *batch)
{
    builder_model m = {.width = WIDTH,
                       .heads = HEADS,
                       .kv_heads = KV_HEADS,
                       .head = HEAD,
                       .ffn = FFN,
                       .vocab = VOCAB,
                       .tokens = (uint64_t)batch->streams * batch->per,
                       .outputs = batch->streams,
                       .cells = CELLS,
                       .streams = batch->cache_streams ? batch->cache_streams : STREAMS,
                       .batch_streams = batch->streams,
                       .n_kv = CELLS,
                       .first_stream = batch->first,
                       .flash = batch->flash,
                       .layers = 2};
    m.q = w->weight[0];
    m.k = w->weight[1];
    m.v = w->weight[2];
    m.o = w->weight[3];
    m.gate = w->weight[4];
    m.up = w->weight[5];
    m.down = w->weight[6];
    m.output = w->weight[7];
    return m;
}

static inline void world_write(world *w, const builder *b, int32_t tensor, const void *data,
                               uint64_t bytes)
{
    oclora_error err = {0};
    CHECK_OK(oclora_stream_write(w->device->stream, w->memory, b->tensors[tensor].view.offset, data,
                                 bytes, &err),
             &err);
}

static inline void world_write_ones(world *w, const builder *b, int32_t tensor)
{
    float ones[WIDTH];
    for (int i = 0; i < WIDTH; i++) ones[i] = 1.0f + 0.01f * (float)(i % 7);
    world_write(w, b, tensor, ones, sizeof ones);
}

static inline void world_write_mask(world *w, const builder *b, const builder_llama *g,
                                    const world_batch *batch)
{
    uint32_t rows = batch->streams * batch->per;
    float *mask = malloc((size_t)rows * CELLS * sizeof *mask);
    uint16_t *half = malloc((size_t)rows * CELLS * sizeof *half);
    if (mask == NULL || half == NULL) abort();
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t c = 0; c < CELLS; c++) {
            bool seen = c <= batch->at + r % batch->per;
            mask[r * CELLS + c] = seen ? 0.0f : -1.0f / 0.0f;
            half[r * CELLS + c] = seen ? 0 : 0xfc00u;
        }
    if (batch->flash)
        world_write(w, b, g->mask, half, (uint64_t)rows * CELLS * 2);
    else
        world_write(w, b, g->mask, mask, (uint64_t)rows * CELLS * 4);
    free(mask);
    free(half);
}

/* Fills every input. Token i of the batch is position at + i % per of sequence first + i / per. */
static inline void world_inputs(world *w, const builder *b, const builder_llama *g,
                                const world_batch *batch)
{
    enum { MAX = STREAMS * CELLS };
    const uint32_t tokens = batch->streams * batch->per;
    float embd[MAX * WIDTH / 2];
    int32_t positions[MAX];
    int32_t ids[STREAMS];
    int64_t k[MAX];
    static int64_t v[MAX * KV_HEADS * HEAD];
    for (uint32_t i = 0; i < tokens; i++) {
        uint32_t seq = batch->first + i / batch->per;
        uint32_t at = batch->at + i % batch->per;
        memcpy(embd + i * WIDTH, w->embd + (seq * CELLS + at) * WIDTH, WIDTH * sizeof *embd);
        positions[i] = (int32_t)at;
        k[i] = (int64_t)seq * CELLS + at;
        for (uint32_t e = 0; e < KV_HEADS * HEAD; e++)
            v[i * KV_HEADS * HEAD + e] = ((int64_t)seq * KV_HEADS * HEAD + e) * CELLS + at;
    }
    for (uint32_t s = 0; s < batch->streams; s++) ids[s] = (int32_t)((s + 1) * batch->per - 1);
    world_write(w, b, g->embd, embd, (uint64_t)tokens * WIDTH * 4);
    world_write(w, b, g->positions, positions, (uint64_t)tokens * 4);
    world_write(w, b, g->ids, ids, (uint64_t)batch->streams * 4);
    world_write(w, b, g->k_index, k, (uint64_t)tokens * 8);
    world_write(w, b, g->v_index, batch->flash ? k : v,
                (uint64_t)tokens * 8 * (batch->flash ? 1 : KV_HEADS * HEAD));
    world_write_mask(w, b, g, batch);
    for (uint32_t l = 0; l < 2; l++) {
        world_write_ones(w, b, g->norm[l]);
        world_write_ones(w, b, g->ffn_norm[l]);
    }
    world_write_ones(w, b, g->out_norm);
}

static inline void world_read(world *w, const builder *b, int32_t tensor, void *data,
                              uint64_t bytes)
{
    oclora_error err = {0};
    CHECK_OK(oclora_stream_read(w->device->stream, w->memory, b->tensors[tensor].view.offset, data,
                                bytes, &err),
             &err);
}

static inline builder *world_graph(world *w, const world_batch *batch, builder_llama *g)
{
    builder *b = builder_new();
    b->buffer = w->memory;
    builder_model m = world_model(w, batch);
    *g = builder_llama_graph(b, &m);
    CHECK_LE(b->next, WORLD_BYTES);
    world_inputs(w, b, g, batch);
    return b;
}

/* logits: [batch->streams][VOCAB], of each sequence's last token. */
static inline oclora_status world_run(world *w, oclora_session *session, const world_batch *batch,
                                      float *logits, oclora_error *err)
{
    builder_llama g;
    builder *b = world_graph(w, batch, &g);
    oclora_test_poison(logits, (size_t)batch->streams * VOCAB * sizeof *logits);
    oclora_status status = oclora_runner_run(w->runner, session, &b->graph, err);
    if (status == OCLORA_OK)
        world_read(w, b, g.logits, logits, (uint64_t)batch->streams * VOCAB * 4);
    free(b);
    return status;
}

#endif
