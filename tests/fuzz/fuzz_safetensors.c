/* Any bytes as a safetensors file. */
#include "host/file/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    oclora_env env = {0};
    oclora_error err = {0};
    oclora_map map = {data, size, NULL};
    oclora_safetensors file;
    if (oclora_safetensors_parse(&file, &env, &map, &err) == OCLORA_OK)
        oclora_safetensors_free(&file);
    return 0;
}
