/* layers.c - the native ABI for programs that run single layers. */
#include "tools/shared/layers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POOL_BYTES = 256 << 20 };

static oclora_status check(oclora_status status, const oclora_message *message, oclora_error *err)
{
    return status == OCLORA_OK ? OCLORA_OK : oclora_fail(err, status, "%s", message->text);
}

/* Which device `text` means, for the reader; the library decides by itself. */
static void describe(oclora_layers *layers, const char *text)
{
    uint32_t count = 0;
    oclora_message msg = {.struct_size = sizeof msg};
    snprintf(layers->device, sizeof layers->device, "%s", text != NULL ? text : "default device");
    if (text == NULL || layers->api->device_count(&count, &msg) != OCLORA_OK) return;
    for (uint32_t i = 0; i < count; i++) {
        char label[208], number[16];
        oclora_device_desc desc = {.struct_size = sizeof desc};
        if (layers->api->device_info(i, &desc, &msg) != OCLORA_OK) continue;
        snprintf(label, sizeof label, "%s / %s", desc.platform, desc.name);
        snprintf(number, sizeof number, "%u", i);
        if (strcmp(text, number) != 0 && strstr(label, text) == NULL) continue;
        memcpy(layers->device, label, sizeof label);
        return;
    }
}

oclora_status oclora_layers_open(oclora_layers *out, const char *device, uint32_t device_class,
                                 oclora_error *err)
{
    oclora_message msg = {.struct_size = sizeof msg};
    memset(out, 0, sizeof *out);
    out->api = oclora_get_api(OCLORA_MAJOR);
    if (out->api == NULL)
        return oclora_fail(err, OCLORA_ABI_MISMATCH, "liboclora.so is of another major version");
    const oclora_context_args args = {.struct_size = sizeof args,
                                      .device = device,
                                      .device_length = device != NULL ? strlen(device) : 0,
                                      .device_class = device_class};
    OCLORA_TRY(check(out->api->context_create(&args, &out->context, &msg), &msg, err));
    describe(out, device);
    const oclora_pool_args pool = {.struct_size = sizeof pool, .budget_bytes = POOL_BYTES};
    return check(out->api->pool_create(out->context, &pool, &out->pool, &msg), &msg, err);
}

void oclora_layers_close(oclora_layers *layers)
{
    if (layers->api != NULL) {
        layers->api->pool_destroy(layers->pool);
        for (size_t i = 0; i < layers->n_weights; i++)
            layers->api->weight_destroy(layers->weights[i]);
        layers->api->context_destroy(layers->context);
    }
    free(layers->weights);
    memset(layers, 0, sizeof *layers);
}

oclora_status oclora_layers_add(oclora_layers *layers, const oclora_weight_args *args,
                                size_t *index, oclora_error *err)
{
    oclora_message msg = {.struct_size = sizeof msg};
    oclora_weight_t **grown =
        realloc(layers->weights, (layers->n_weights + 1) * sizeof *layers->weights);
    if (grown == NULL)
        return oclora_fail(err, OCLORA_OUT_OF_HOST_MEMORY, "no memory for one more weight");
    layers->weights = grown;
    OCLORA_TRY(
        check(layers->api->weight_create(layers->context, args, &grown[layers->n_weights], &msg),
              &msg, err));
    if (index != NULL) *index = layers->n_weights;
    layers->n_weights++;
    return OCLORA_OK;
}

oclora_status oclora_layers_add_f32(oclora_layers *layers, const char *name, const float *w,
                                    const float *bias, uint32_t d_out, uint32_t d_in,
                                    oclora_error *err)
{
    const oclora_weight_args args = {.struct_size = sizeof args,
                                     .name = name,
                                     .name_length = strlen(name),
                                     .data = w,
                                     .data_bytes = (uint64_t)d_out * d_in * sizeof *w,
                                     .bias = bias,
                                     .type = OCLORA_TYPE_F32,
                                     .d_in = d_in,
                                     .d_out = d_out};
    return oclora_layers_add(layers, &args, NULL, err);
}

oclora_status oclora_layers_load(oclora_layers *layers, const char *path, uint32_t store,
                                 oclora_adapter_t *out, oclora_error *err)
{
    oclora_message msg = {.struct_size = sizeof msg};
    const size_t length = strlen(path);
    char name[128]; /* the end of a long path tells more than its beginning */
    snprintf(name, sizeof name, "%s:%s", oclora_store_name(store),
             length > 110 ? path + length - 110 : path);
    const oclora_adapter_args args = {.struct_size = sizeof args,
                                      .name = name,
                                      .name_length = strlen(name),
                                      .path = path,
                                      .path_length = length,
                                      .store = store};
    return check(layers->api->adapter_load(layers->pool, &args, out, &msg), &msg, err);
}

oclora_status oclora_layers_load_tensors(oclora_layers *layers, const char *name,
                                         const json_t *config, const oclora_tensors *list,
                                         uint32_t store, oclora_adapter_t *out, oclora_error *err)
{
    oclora_message msg = {.struct_size = sizeof msg};
    void *packed = NULL;
    size_t size = 0;
    char *text = json_dumps(config, 0);
    oclora_status status = text != NULL ? oclora_tensors_pack(list, NULL, &packed, &size, err)
                                        : oclora_fail(err, OCLORA_OUT_OF_HOST_MEMORY,
                                                      "no memory for adapter %s", name);
    if (status == OCLORA_OK) {
        const oclora_adapter_memory_args args = {.struct_size = sizeof args,
                                                 .name = name,
                                                 .name_length = strlen(name),
                                                 .config = text,
                                                 .config_bytes = strlen(text),
                                                 .tensors = packed,
                                                 .tensors_bytes = size,
                                                 .store = store};
        status = check(layers->api->adapter_load_memory(layers->pool, &args, out, &msg), &msg, err);
    }
    free(text);
    free(packed);
    return status;
}

oclora_status oclora_layers_run(oclora_layers *layers, size_t index, const oclora_batch_args *args,
                                const float *x, float *y, oclora_error *err)
{
    oclora_message msg = {.struct_size = sizeof msg};
    oclora_batch_t *batch = NULL;
    OCLORA_TRY(check(layers->api->batch_create(layers->pool, args, &batch, &msg), &msg, err));
    const oclora_linear_args linear = {.struct_size = sizeof linear,
                                       .weight = layers->weights[index],
                                       .batch = batch,
                                       .x = x,
                                       .y = y,
                                       .n_rows = args->n_rows};
    const oclora_status status = check(layers->api->linear(&linear, &msg), &msg, err);
    layers->api->batch_destroy(batch);
    return status;
}

const char *oclora_kind_name(uint32_t kind)
{
    switch (kind) {
#define OCLORA_KIND_CASE(name, code, text)                                                         \
    case code:                                                                                     \
        return text;
        OCLORA_KIND_MAP(OCLORA_KIND_CASE)
#undef OCLORA_KIND_CASE
    default:
        return "unknown";
    }
}

static const char *const stores[] = {"auto", "f32", "f16", "q8_0"};
static const char *const classes[] = {"auto", "cpu", "gpu"};

const char *oclora_store_name(uint32_t store)
{
    return store < sizeof stores / sizeof *stores ? stores[store] : "unknown";
}

static bool parse_word(const char *text, const char *const *words, uint32_t n, uint32_t *out)
{
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(text, words[i]) == 0) {
            *out = i;
            return true;
        }
    return false;
}

bool oclora_store_parse(const char *text, uint32_t *store)
{
    return parse_word(text, stores, sizeof stores / sizeof *stores, store);
}

bool oclora_class_parse(const char *text, uint32_t *device_class)
{
    return parse_word(text, classes, sizeof classes / sizeof *classes, device_class);
}
