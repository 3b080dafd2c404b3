/* Any bytes as a GGUF LoRA file. What loads is renamed, bound and narrowed as well. */
#include "fuzz/use.h"
#include "host/adapter/loader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    oclora_env env = {0};
    oclora_error err = {0};
    oclora_map map = {data, size, NULL};
    oclora_adapter_image *image = NULL;
    if (oclora_image_create(&image, &env, &err) != OCLORA_OK) return 0;
    if (oclora_load_gguf(image, &map, OCLORA_STORE_AUTO, &err) == OCLORA_OK) oclora_fuzz_use(image);
    oclora_adapter_image_destroy(image);
    return 0;
}
