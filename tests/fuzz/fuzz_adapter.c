/* A PEFT adapter in one input: the size of the config in two bytes, the config, the tensors. What
 * loads is renamed, bound and stored as q8_0 as well. */
#include "host/adapter/bind.h"
#include "host/adapter/load.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(oclora_adapter_image *image)
{
    oclora_error err = {0};
    oclora_model_info model = {"llama", 4, 2, 1, 16, 0};
    if (oclora_adapter_to_gguf_names(image, &model, &err) != OCLORA_OK) return;
    for (size_t i = 0; i < image->n_modules; i++) {
        oclora_module *module = &image->modules[i];
        uint32_t d_in = module->d_in != 0 ? module->d_in : 6;
        uint32_t d_out = module->d_out != 0 ? module->d_out : 4;
        if (oclora_module_bind(image, module, d_in, d_out, &err) != OCLORA_OK) continue;
        if (!oclora_module_needs_norms(module)) continue;
        float *w = calloc((size_t)d_in * d_out + 1, sizeof *w);
        if (w != NULL) (void)oclora_dora_resolve(image, module, w, 0, d_out, &err);
        free(w);
    }
    (void)oclora_adapter_narrow(image, OCLORA_STORE_Q8_0, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    oclora_env env = {0};
    oclora_error err = {0};
    oclora_adapter_image *image = NULL;
    if (size < 2) return 0;
    size_t config = (size_t)data[0] | (size_t)data[1] << 8;
    if (config > size - 2) config = size - 2;
    char *text = malloc(config + 1); /* exact, so that reading past either part is seen */
    uint8_t *tensors = malloc(size - 2 - config + 1);
    if (text != NULL && tensors != NULL) {
        memcpy(text, data + 2, config);
        memcpy(tensors, data + 2 + config, size - 2 - config);
        if (oclora_adapter_load_memory(&image, &env, text, config, tensors, size - 2 - config,
                                       OCLORA_STORE_AUTO, &err) == OCLORA_OK)
            use(image);
        oclora_adapter_image_destroy(image);
    }
    free(text);
    free(tensors);
    return 0;
}
