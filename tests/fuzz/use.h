/* use.h - what a host does with an adapter that loaded: renamed, bound to weights, stored smaller. */
#ifndef OCLORA_TESTS_FUZZ_USE_H
#define OCLORA_TESTS_FUZZ_USE_H

#include "host/adapter/bind.h"
#include "host/adapter/load.h"

#include <stdlib.h>
#include <string.h>

static inline void oclora_fuzz_use(oclora_adapter_image *image)
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

#endif
