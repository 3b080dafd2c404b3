/* GGUF LoRA files, as llama.cpp's converter writes them: NAME.weight.lora_a [r, d_in] and
 * NAME.weight.lora_b [d_out, r], one alpha for all. Rows of q and k are in GGUF order already. */
#include "host/adapter/loader.h"
#include "host/file/gguf.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NAME_ROOM = 256 };

static bool has_text(const oclora_gguf *file, const char *key, const char *wanted)
{
    const char *text;
    size_t length;
    return oclora_gguf_string(file, key, &text, &length) && length == strlen(wanted) &&
           memcmp(text, wanted, length) == 0;
}

static oclora_status read_metadata(oclora_adapter_image *image, const oclora_gguf *file,
                                   float *alpha, oclora_error *err)
{
    const char *text;
    size_t length;
    if (!has_text(file, "general.type", "adapter"))
        return oclora_fail(err, OCLORA_FILE_FORMAT,
                           "the GGUF file is no adapter (general.type is not \"adapter\")");
    if (!has_text(file, "adapter.type", "lora"))
        return oclora_fail(err, OCLORA_UNKNOWN_KIND, "the GGUF adapter is not of type \"lora\"");
    if (oclora_gguf_has(file, "adapter.alora.invocation_tokens"))
        return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                           "the GGUF adapter is an activated LoRA (invocation tokens): not served");
    if (!oclora_gguf_f32(file, "adapter.lora.alpha", alpha) || !isfinite(*alpha))
        return oclora_fail(err, OCLORA_FILE_FORMAT,
                           "the GGUF adapter has no finite f32 adapter.lora.alpha");
    if (oclora_gguf_string(file, "general.architecture", &text, &length) &&
        length < sizeof image->architecture)
        memcpy(image->architecture, text, length);
    return OCLORA_OK;
}

static bool ends_with(const char *name, const char *tail, size_t *length)
{
    size_t all = strlen(name), part = strlen(tail);
    if (all <= part || strcmp(name + all - part, tail) != 0) return false;
    *length = all - part;
    return true;
}

static oclora_status find_b(const oclora_gguf *file, const char *weight, size_t length,
                            const oclora_file_tensor **b, oclora_error *err)
{
    char name[NAME_ROOM];
    int size = snprintf(name, sizeof name, "%.*s.lora_b", (int)length, weight);
    if (size < 0 || size >= NAME_ROOM)
        return oclora_fail(err, OCLORA_FILE_FORMAT, "a tensor name is over %d bytes long",
                           NAME_ROOM - 8);
    *b = oclora_gguf_find(file, name);
    if (*b == NULL) return oclora_fail(err, OCLORA_MISSING_TENSOR, "tensor %s is missing", name);
    return OCLORA_OK;
}

static oclora_status add_pair(oclora_load *load, const oclora_file_tensor *a,
                              const oclora_file_tensor *b, size_t weight_length, float alpha,
                              size_t *capacity, oclora_error *err)
{
    size_t length = weight_length;
    size_t suffix = sizeof ".weight" - 1;
    if (length > suffix && memcmp(a->name + length - suffix, ".weight", suffix) == 0)
        length -= suffix;
    oclora_module *module;
    OCLORA_TRY(oclora_image_add_module(load->image, capacity, a->name, length, &module, err));
    if (strcmp(module->name, "token_embd") == 0)
        return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                           "adapters on the token embedding are not served (%s)", a->name);
    oclora_view view;
    OCLORA_TRY(oclora_view_of(a, &view, err));
    oclora_group group = {module->name, NULL, 0};
    return oclora_module_pair(load, &group, module, a, b, 0, (double)alpha / view.rows, err);
}

static oclora_status read_pairs(oclora_load *load, const oclora_gguf *file, float alpha,
                                oclora_error *err)
{
    size_t capacity = 0, length, n_b = 0;
    for (size_t i = 0; i < oclora_gguf_tensor_count(file); i++) {
        const oclora_file_tensor *tensor = oclora_gguf_tensor(file, i), *b;
        if (ends_with(tensor->name, ".lora_a", &length)) {
            OCLORA_TRY(find_b(file, tensor->name, length, &b, err));
            OCLORA_TRY(add_pair(load, tensor, b, length, alpha, &capacity, err));
        } else if (ends_with(tensor->name, ".lora_b", &length)) {
            n_b++;
        } else {
            return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                               "tensor %s is neither lora_a nor lora_b: nothing is skipped",
                               tensor->name);
        }
    }
    if (n_b != load->image->n_modules)
        return oclora_fail(err, OCLORA_MISSING_TENSOR, "%zu lora_b tensors for %zu lora_a", n_b,
                           load->image->n_modules);
    return oclora_image_finish(load->image, err);
}

oclora_status oclora_load_gguf(oclora_adapter_image *image, const oclora_map *map, uint32_t store,
                               oclora_error *err)
{
    oclora_gguf *file = NULL;
    float alpha;
    oclora_load load = {.env = &image->env, .store = store, .image = image};
    image->kind = OCLORA_KIND_LORA;
    image->naming = OCLORA_NAMING_GGUF;
    OCLORA_TRY(oclora_gguf_parse(&file, &image->env, map, err));
    oclora_status status = read_metadata(image, file, &alpha, err);
    if (status == OCLORA_OK) status = read_pairs(&load, file, alpha, err);
    oclora_gguf_free(file);
    return status;
}
