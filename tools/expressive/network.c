/* network.c - frozen layers with adapters, and their way to the device. */
#include "tools/expressive/expressive.h"
#include "tools/shared/svd.h"
#include "tools/shared/tensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static oclora_status no_memory(oclora_error *err)
{
    return oclora_fail(err, OCLORA_OUT_OF_HOST_MEMORY, "no memory for a network");
}

oclora_status oclora_network_create(oclora_network *out, uint32_t width, size_t n_layers,
                                    oclora_dice *dice, oclora_error *err)
{
    const size_t square = (size_t)width * width;
    memset(out, 0, sizeof *out);
    out->n = width;
    out->layers = calloc(n_layers, sizeof *out->layers);
    if (out->layers == NULL) return no_memory(err);
    for (; out->n_layers < n_layers; out->n_layers++) {
        oclora_layer *layer = &out->layers[out->n_layers];
        layer->w = oclora_new(square);
        if (layer->w == NULL) return no_memory(err);
        for (size_t i = 0; i < square; i++) layer->w[i] = oclora_dice_normal(dice);
        const oclora_status status = oclora_orthogonalize(layer->w, width, err);
        if (status == OCLORA_OK) continue;
        free(layer->w);
        return status;
    }
    return OCLORA_OK;
}

static void free_adapter(oclora_layer *layer)
{
    free(layer->a);
    free(layer->b);
    free(layer->bias);
    layer->a = NULL;
    layer->b = NULL;
    layer->bias = NULL;
}

void oclora_network_free(oclora_network *network)
{
    for (size_t i = 0; i < network->n_layers; i++) {
        free_adapter(&network->layers[i]);
        free(network->layers[i].w);
    }
    free(network->layers);
    memset(network, 0, sizeof *network);
}

oclora_status oclora_network_reset(oclora_network *network, uint32_t rank, oclora_error *err)
{
    network->rank = rank;
    for (size_t i = 0; i < network->n_layers; i++) {
        oclora_layer *layer = &network->layers[i];
        free_adapter(layer);
        layer->a = oclora_new((size_t)rank * network->n);
        layer->b = oclora_new((size_t)rank * network->n);
        layer->bias = oclora_new(network->n);
        if (layer->a == NULL || layer->b == NULL || layer->bias == NULL) return no_memory(err);
    }
    return OCLORA_OK;
}

oclora_status oclora_network_upload(const oclora_network *network, oclora_layers *device,
                                    oclora_error *err)
{
    const size_t square = (size_t)network->n * network->n;
    float *w = calloc(square, sizeof *w);
    oclora_status status = w != NULL ? OCLORA_OK : no_memory(err);
    for (size_t i = 0; i < network->n_layers && status == OCLORA_OK; i++) {
        for (size_t j = 0; j < square; j++) w[j] = (float)network->layers[i].w[j];
        status = oclora_layers_add_f32(device, network->layers[i].name, w, NULL, network->n,
                                       network->n, err);
    }
    free(w);
    return status;
}

static oclora_status add(oclora_tensors *list, const oclora_layer *layer, const char *part,
                         uint64_t rows, uint64_t cols, const double *values, oclora_error *err)
{
    char name[128];
    snprintf(name, sizeof name, "base_model.model.%s.%s", layer->name, part);
    return oclora_tensors_add_f32(list, name, rows, cols, values, err);
}

oclora_status oclora_network_adapter(const oclora_network *network, oclora_layers *device,
                                     oclora_adapter_t *out, oclora_error *err)
{
    const uint32_t n = network->n, rank = network->rank;
    oclora_tensors list = {0};
    char name[32];
    snprintf(name, sizeof name, "rank %u", rank);
    json_t *targets = json_array();
    oclora_status status = OCLORA_OK;
    for (size_t i = 0; i < network->n_layers && status == OCLORA_OK; i++) {
        const oclora_layer *layer = &network->layers[i];
        json_array_append_new(targets, json_string(layer->name));
        status = add(&list, layer, "lora_A.weight", rank, n, layer->a, err);
        if (status == OCLORA_OK)
            status = add(&list, layer, "lora_B.weight", n, rank, layer->b, err);
        if (status == OCLORA_OK) status = add(&list, layer, "lora_B.bias", 0, n, layer->bias, err);
    }
    json_t *config = json_pack("{s:s,s:i,s:i,s:o,s:b}", "peft_type", "LORA", "r", (int)rank,
                               "lora_alpha", (int)rank, "target_modules", targets, "lora_bias", 1);
    if (status == OCLORA_OK)
        status =
            oclora_layers_load_tensors(device, name, config, &list, OCLORA_STORE_F32, out, err);
    json_decref(config);
    oclora_tensors_free(&list);
    return status;
}

oclora_status oclora_network_run(oclora_layers *device, size_t layer, oclora_adapter_t adapter,
                                 uint32_t rows, const float *x, float *y, oclora_error *err)
{
    uint32_t *start = calloc((size_t)rows + 1, sizeof *start);
    oclora_adapter_t *entries = calloc((size_t)rows + 1, sizeof *entries);
    oclora_status status = OCLORA_OK;
    if (start == NULL || entries == NULL) status = no_memory(err);
    for (uint32_t t = 0; t < rows && status == OCLORA_OK; t++) {
        start[t + 1] = t + 1;
        entries[t] = adapter;
    }
    const oclora_batch_args args = {
        .struct_size = sizeof args, .row_start = start, .adapter = entries, .n_rows = rows};
    if (status == OCLORA_OK) status = oclora_layers_run(device, layer, &args, x, y, err);
    free(start);
    free(entries);
    return status;
}
