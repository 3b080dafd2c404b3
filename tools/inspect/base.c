/* base.c - the weights an adapter was made for, from a model's file. */
#include "host/adapter/image.h"
#include "host/adapter/number.h"
#include "host/base/layout.h"
#include "tools/inspect/inspect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

oclora_status oclora_base_file_open(oclora_base_file *out, const char *path, oclora_error *err)
{
    const oclora_env env = {0};
    memset(out, 0, sizeof *out);
    OCLORA_TRY(oclora_map_open(&out->map, path, err));
    if (out->map.size < 4 || memcmp(out->map.data, "GGUF", 4) != 0)
        return oclora_safetensors_parse(&out->tensors, &env, &out->map, err);
    OCLORA_TRY(oclora_gguf_parse(&out->gguf, &env, &out->map, err));
    return oclora_model_info_read(&out->model, &env, path, err);
}

void oclora_base_file_close(oclora_base_file *base)
{
    oclora_gguf_free(base->gguf);
    oclora_safetensors_free(&base->tensors);
    oclora_map_close(&base->map);
    memset(base, 0, sizeof *base);
}

/* An image of one module without factors, whose c counts its outputs: renaming it tells the name
 * and the order of rows in a GGUF file. */
static oclora_status probe(const oclora_model_info *model, const char *module, uint32_t d_out,
                           oclora_adapter_image **out, oclora_error *err)
{
    const oclora_env env = {0};
    oclora_adapter_image *image = NULL;
    oclora_module *only = NULL;
    size_t capacity = 0;
    OCLORA_TRY(oclora_image_create(&image, &env, err));
    oclora_status status =
        oclora_image_add_module(image, &capacity, module, strlen(module), &only, err);
    if (status == OCLORA_OK && d_out != 0) {
        only->d_out = d_out;
        only->c = oclora_alloc(&env, d_out, sizeof *only->c);
        if (only->c == NULL) status = oclora_fail_memory(err, d_out * sizeof(float), "row order");
        for (uint32_t i = 0; status == OCLORA_OK && i < d_out; i++) only->c[i] = (float)i;
    }
    if (status == OCLORA_OK) status = oclora_adapter_to_gguf_names(image, model, err);
    if (status == OCLORA_OK)
        *out = image;
    else
        oclora_adapter_image_destroy(image);
    return status;
}

static oclora_status find(const oclora_base_file *base, const char *module,
                          const oclora_file_tensor **out, oclora_error *err)
{
    static const char *const endings[] = {"weight", "W"};
    char name[512];
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        snprintf(name, sizeof name, "%s.%s", module, endings[i]);
        *out = base->gguf != NULL ? oclora_gguf_find(base->gguf, name)
                                  : oclora_safetensors_find(&base->tensors, name);
        if (*out != NULL) break;
    }
    if (*out == NULL)
        return oclora_fail(err, OCLORA_MODULE_MISMATCH, "the base has no weight of module %s",
                           module);
    if ((*out)->n_dims != 2 || (*out)->dims[0] == 0 || (*out)->dims[1] == 0 ||
        (*out)->dims[0] > OCLORA_DIM_MAX || (*out)->dims[1] > OCLORA_DIM_MAX)
        return oclora_fail(err, OCLORA_SHAPE_MISMATCH, "weight %s is no matrix", (*out)->name);
    return OCLORA_OK;
}

static oclora_status widen_row(const oclora_file_tensor *tensor, uint32_t row, float *out,
                               oclora_error *err)
{
    const uint64_t cols = tensor->dims[1], bytes = tensor->bytes / tensor->dims[0];
    const uint8_t *from = tensor->data + row * bytes;
    if (tensor->data == NULL)
        return oclora_fail(err, OCLORA_UNSUPPORTED_DTYPE, "weight %s is of a type not read here",
                           tensor->name);
    if (oclora_type_block(tensor->type) == 1 && oclora_widen(tensor->type, from, (size_t)cols, out))
        return OCLORA_OK;
    return oclora_dequantize_row(tensor->type, from, out, cols, err);
}

oclora_status oclora_base_file_weight(const oclora_base_file *base, const char *module,
                                      uint32_t naming, float **w, uint32_t *d_out, uint32_t *d_in,
                                      oclora_error *err)
{
    const oclora_file_tensor *tensor = NULL;
    oclora_adapter_image *names = NULL, *order = NULL;
    const bool renamed = base->gguf != NULL && naming == OCLORA_NAMING_PEFT;
    if (base->gguf == NULL && naming == OCLORA_NAMING_GGUF)
        return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                           "a GGUF adapter is inspected over a GGUF base");
    if (renamed) OCLORA_TRY(probe(&base->model, module, 0, &names, err));
    oclora_status status = find(base, renamed ? names->modules[0].name : module, &tensor, err);
    oclora_adapter_image_destroy(names);
    OCLORA_TRY(status);
    const uint32_t rows = (uint32_t)tensor->dims[0], cols = (uint32_t)tensor->dims[1];
    if (renamed) OCLORA_TRY(probe(&base->model, module, rows, &order, err));
    float *values = calloc((size_t)rows * cols, sizeof *values);
    if (values == NULL) status = oclora_fail_memory(err, (size_t)rows * cols * 4, "a weight");
    for (uint32_t i = 0; i < rows && status == OCLORA_OK; i++) {
        const uint32_t to = renamed ? (uint32_t)order->modules[0].c[i] : i;
        status = widen_row(tensor, i, values + (size_t)to * cols, err);
    }
    oclora_adapter_image_destroy(order);
    if (status != OCLORA_OK) {
        free(values);
        return status;
    }
    *w = values;
    *d_out = rows;
    *d_in = cols;
    return OCLORA_OK;
}
