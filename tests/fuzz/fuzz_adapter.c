/* A PEFT adapter in one input: the size of the config in two bytes, the config, the tensors. What
 * loads is renamed, bound and stored as q8_0 as well. */
#include "fuzz/use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
            oclora_fuzz_use(image);
        oclora_adapter_image_destroy(image);
    }
    free(text);
    free(tensors);
    return 0;
}
