/* Any bytes as a compact file. What loads is renamed, bound and narrowed as well. */
#include "fuzz/use.h"
#include "host/adapter/compact.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    oclora_env env = {0};
    oclora_error err = {0};
    oclora_adapter_image *image = NULL;
    /* Files are mapped at page boundaries, and factors must lie at multiples of 64; not a byte more,
     * so that reading past the end is seen. */
    void *file = NULL;
    if (posix_memalign(&file, 64, size + (size == 0)) != 0) return 0;
    if (size != 0) memcpy(file, data, size);
    oclora_map map = {file, size, NULL};
    if (oclora_image_create(&image, &env, &err) == OCLORA_OK &&
        oclora_load_compact(image, &map, &err) == OCLORA_OK)
        oclora_fuzz_use(image);
    oclora_adapter_image_destroy(image);
    free(file);
    return 0;
}
