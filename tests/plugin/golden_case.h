/* golden_case.h - a case of tests/data/golden served through the native ABI: its base on a device,
 * its adapters, any mapping of rows, and the comparison with what the case expects. */
#ifndef OCLORA_TESTS_GOLDEN_CASE_H
#define OCLORA_TESTS_GOLDEN_CASE_H

#include "native.h"

#include "support/terms_reference.h"

enum { GOLDEN_LAYERS = 8, GOLDEN_ROWS = 256, GOLDEN_ENTRIES = 4 };

typedef struct golden_layer {
    const char *name;
    float *w;
    float *x; /* NULL in a network's later layers */
    float *bias;
    uint32_t rows;
    uint32_t d_in;
    uint32_t d_out;
    oclora_weight_t *weight;
} golden_layer;

typedef struct golden_served {
    const oclora_api *api;
    oclora_golden golden;
    golden_layer layers[GOLDEN_LAYERS];
    size_t n_layers;
    oclora_pool_t *pool;
} golden_served;

/* Which adapters serve each row. */
typedef struct golden_rows {
    uint32_t n;
    uint32_t start[GOLDEN_ROWS + 1];
    oclora_adapter_t adapter[GOLDEN_ROWS * GOLDEN_ENTRIES];
    float weight[GOLDEN_ROWS * GOLDEN_ENTRIES];
    uint32_t instance[GOLDEN_ROWS];
} golden_rows;

/* One more row, without entries so far. */
static inline void golden_add_row(golden_rows *rows, uint32_t instance)
{
    if (!CHECK(rows->n < GOLDEN_ROWS)) exit(1);
    rows->instance[rows->n++] = instance;
    rows->start[rows->n] = rows->start[rows->n - 1];
}

/* One more entry of the last row. */
static inline void golden_add_entry(golden_rows *rows, oclora_adapter_t adapter, float weight)
{
    const uint32_t at = rows->start[rows->n]++;
    rows->adapter[at] = adapter;
    rows->weight[at] = weight;
}

/* All rows of one sequence, with one adapter (0: none). */
static inline void golden_all_rows(golden_rows *rows, uint32_t n, oclora_adapter_t adapter)
{
    memset(rows, 0, sizeof *rows);
    for (uint32_t t = 0; t < n; t++) {
        golden_add_row(rows, 7);
        if (adapter != 0) golden_add_entry(rows, adapter, 1.0f);
    }
}

static inline void golden_layer_close(const oclora_api *api, golden_layer *layer)
{
    api->weight_destroy(layer->weight);
    free(layer->w);
    free(layer->x);
    free(layer->bias);
}

static inline void golden_end(golden_served *s)
{
    s->api->pool_destroy(s->pool);
    for (size_t m = 0; m < s->n_layers; m++) golden_layer_close(s->api, &s->layers[m]);
    if (s->golden.meta != NULL) oclora_golden_close(&s->golden);
    memset(s, 0, sizeof *s);
}

static inline bool golden_open_layer(golden_served *s, oclora_context_t *context, size_t index)
{
    oclora_message msg = {sizeof msg, ""};
    golden_layer *layer = &s->layers[index];
    size_t dims[2] = {0};
    char packed_name[160];
    layer->name = oclora_golden_module(&s->golden, index);
    layer->bias = oclora_golden_floats(&s->golden, layer->name, "bias", dims);
    layer->w = oclora_golden_floats(&s->golden, layer->name, "W", dims);
    if (!CHECK(layer->w != NULL)) return false;
    layer->d_out = (uint32_t)dims[0];
    layer->d_in = (uint32_t)dims[1];
    layer->x = oclora_golden_floats(&s->golden, layer->name, "X", dims);
    layer->rows = layer->x != NULL ? (uint32_t)dims[0] : 0;
    snprintf(packed_name, sizeof packed_name, "%s.W_q4_0", layer->name);
    const oclora_file_tensor *packed = oclora_safetensors_find(&s->golden.tensors, packed_name);
    const oclora_weight_args args = {
        .struct_size = sizeof args,
        .name = layer->name,
        .name_length = strlen(layer->name),
        .data = packed != NULL ? packed->data : (const void *)layer->w,
        .data_bytes = packed != NULL ? packed->bytes : (uint64_t)layer->d_in * layer->d_out * 4,
        .bias = layer->bias,
        .type = packed != NULL ? OCLORA_TYPE_Q4_0 : OCLORA_TYPE_F32,
        .d_in = layer->d_in,
        .d_out = layer->d_out};
    return WANT_OK(s->api->weight_create(context, &args, &layer->weight, &msg));
}

/* The case's base in `context`, a quantised one as it was quantised, and an empty pool. End it with
 * golden_end in any case. */
static inline bool golden_serve(golden_served *s, const oclora_api *api, oclora_context_t *context,
                                const char *folder)
{
    oclora_message msg = {sizeof msg, ""};
    memset(s, 0, sizeof *s);
    s->api = api;
    if (!CHECK(oclora_golden_open(&s->golden, folder))) return false;
    const size_t n = oclora_golden_modules(&s->golden);
    if (!CHECK(n >= 1 && n <= GOLDEN_LAYERS)) return false;
    for (; s->n_layers < n; s->n_layers++)
        if (!golden_open_layer(s, context, s->n_layers)) {
            golden_layer_close(api, &s->layers[s->n_layers]);
            return false;
        }
    const oclora_pool_args pool = {.struct_size = sizeof pool, .budget_bytes = 16 << 20};
    return WANT_OK(api->pool_create(context, &pool, &s->pool, &msg));
}

static inline oclora_adapter_t golden_load(const golden_served *s, const char *name,
                                           const char *path, uint32_t store)
{
    oclora_message msg = {sizeof msg, ""};
    oclora_adapter_t out = 0;
    const oclora_adapter_args args = {.struct_size = sizeof args,
                                      .name = name,
                                      .name_length = strlen(name),
                                      .path = path,
                                      .path_length = strlen(path),
                                      .store = store};
    WANT_OK(s->api->adapter_load(s->pool, &args, &out, &msg));
    return out;
}

/* y [rows->n, d_out] of one layer. */
static inline bool golden_run(const golden_served *s, const golden_layer *layer,
                              const golden_rows *rows, const float *x, float *y)
{
    oclora_message msg = {sizeof msg, ""};
    oclora_batch_t *batch = NULL;
    oclora_test_poison(y, (size_t)rows->n * layer->d_out * sizeof *y);
    const oclora_batch_args ba = {.struct_size = sizeof ba,
                                  .row_start = rows->start,
                                  .adapter = rows->adapter,
                                  .weight = rows->weight,
                                  .n_rows = rows->n,
                                  .instance = rows->instance};
    if (!WANT_OK(s->api->batch_create(s->pool, &ba, &batch, &msg))) return false;
    const oclora_linear_args la = {.struct_size = sizeof la,
                                   .weight = layer->weight,
                                   .batch = batch,
                                   .x = x,
                                   .y = y,
                                   .n_rows = rows->n};
    const bool ok = WANT_OK(s->api->linear(&la, &msg));
    s->api->batch_destroy(batch);
    return ok;
}

/* max |d| / max |ref| of y against a tensor of the case. */
static inline double golden_error(const golden_served *s, const char *module, const char *what,
                                  const float *y)
{
    size_t dims[2] = {0};
    float *expected = oclora_golden_floats(&s->golden, module, what, dims);
    if (!CHECK(expected != NULL)) return INFINITY;
    const size_t count = dims[0] * dims[1];
    double *reference = malloc(count * sizeof *reference);
    if (reference == NULL) exit(1);
    for (size_t i = 0; i < count; i++) reference[i] = (double)expected[i];
    const double error = oclora_test_max_error(y, reference, count);
    free(expected);
    free(reference);
    return error;
}

/* The path of an adapter of the case; member "", "task0", "#task=1". */
static inline const char *golden_member_path(const golden_served *s, const char *member)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s%s%s", s->golden.folder,
             member[0] != '\0' && member[0] != '#' ? "/" : "", member);
    return path;
}

#endif
