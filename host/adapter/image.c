#include "host/adapter/image.h"
#include "host/file/hash.h"

#include <stdlib.h>
#include <string.h>

struct oclora_blob {
    void *data;
    uint64_t bytes;
    uint8_t hash[16];
};

uint64_t oclora_factor_row_bytes(oclora_type type, uint32_t cols)
{
    switch (type) {
    case OCLORA_TYPE_F32:
        return (uint64_t)cols * 4;
    case OCLORA_TYPE_Q8_0:
        return ((uint64_t)cols + 31) / 32 * 34;
    default:
        return (uint64_t)cols * 2;
    }
}

uint64_t oclora_factor_bytes(const oclora_factor *factor)
{
    return factor->rows * oclora_factor_row_bytes(factor->type, factor->cols);
}

oclora_status oclora_image_create(oclora_adapter_image **out, const oclora_env *env,
                                  oclora_error *err)
{
    oclora_adapter_image *image = oclora_alloc(env, 1, sizeof *image);
    if (image == NULL) return oclora_fail_memory(err, sizeof *image, "adapter image");
    image->env = *env;
    image->naming = OCLORA_NAMING_PEFT;
    image->n_tasks = 1;
    *out = image;
    return OCLORA_OK;
}

static void release_module(const oclora_env *env, oclora_module *module)
{
    float *vectors[] = {module->scale, module->core,      module->u,
                        module->beta,  module->c,         module->mul_u,
                        module->mul_v, module->magnitude, module->router.pair_table};
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) oclora_release(env, vectors[i]);
    oclora_release(env, module->name);
}

void oclora_image_release_blobs(oclora_adapter_image *image)
{
    for (size_t i = 0; i < image->n_blobs; i++) oclora_release(&image->env, image->blobs[i].data);
    oclora_release(&image->env, image->blobs);
    image->blobs = NULL;
    image->n_blobs = 0;
    image->blob_capacity = 0;
}

void oclora_adapter_image_destroy(oclora_adapter_image *image)
{
    if (image == NULL) return;
    oclora_env env = image->env;
    for (size_t i = 0; i < image->n_modules; i++) release_module(&env, &image->modules[i]);
    oclora_image_release_blobs(image);
    oclora_map_close(&image->map);
    oclora_release(&env, image->modules);
    oclora_release(&env, image);
}

void oclora_adapter_image_keep(oclora_adapter_image *image,
                               bool (*wanted)(void *user, const char *name), void *user)
{
    size_t kept = 0;
    for (size_t i = 0; i < image->n_modules; i++) {
        if (wanted(user, image->modules[i].name))
            image->modules[kept++] = image->modules[i];
        else
            release_module(&image->env, &image->modules[i]);
    }
    image->n_modules = kept;
}

oclora_status oclora_image_add_module(oclora_adapter_image *image, size_t *capacity,
                                      const char *name, size_t length, oclora_module **out,
                                      oclora_error *err)
{
    if (image->n_modules == OCLORA_MODULES_MAX)
        return oclora_fail(err, OCLORA_NOT_SUPPORTED, "the adapter has over %d modules",
                           OCLORA_MODULES_MAX);
    OCLORA_TRY(oclora_reserve(&image->env, &image->modules, capacity, image->n_modules + 1,
                              sizeof *image->modules, err));
    oclora_module *module = &image->modules[image->n_modules];
    memset(module, 0, sizeof *module);
    module->name = oclora_string_copy(&image->env, name, length);
    if (module->name == NULL) return oclora_fail_memory(err, length, "module name");
    module->group = 1;
    image->n_modules++;
    *out = module;
    return OCLORA_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const oclora_module *)a)->name, ((const oclora_module *)b)->name);
}

static uint64_t module_bytes(const oclora_module *module)
{
    uint64_t floats = 0;
    if (module->scale != NULL) floats += module->rank;
    if (module->core != NULL) floats += (uint64_t)module->rank * module->rank;
    if (module->u != NULL) floats += module->d_out;
    if (module->beta != NULL) floats += module->d_out;
    if (module->c != NULL) floats += module->d_out;
    if (module->magnitude != NULL) floats += module->d_out;
    if (module->mul_u != NULL) floats += (uint64_t)module->n_mul * module->d_out;
    if (module->mul_v != NULL) floats += (uint64_t)module->n_mul * module->d_in;
    return floats * sizeof(float) + oclora_factor_bytes(&module->a) +
           oclora_factor_bytes(&module->b) + oclora_factor_bytes(&module->router.gate) +
           oclora_factor_bytes(&module->router.gate_b);
}

oclora_status oclora_image_finish(oclora_adapter_image *image, oclora_error *err)
{
    if (image->n_modules == 0)
        return oclora_fail(err, OCLORA_MISSING_TENSOR, "the adapter holds no module at all");
    qsort(image->modules, image->n_modules, sizeof *image->modules, by_name);
    image->bytes = 0;
    for (size_t i = 0; i < image->n_modules; i++) {
        if (i > 0 && by_name(&image->modules[i - 1], &image->modules[i]) == 0)
            return oclora_fail(err, OCLORA_FILE_FORMAT, "two entries for module %s",
                               image->modules[i].name);
        image->bytes += module_bytes(&image->modules[i]);
    }
    return OCLORA_OK;
}

/* Shape and type take part. */
static bool hash_factor(oclora_factor *factor)
{
    const uint32_t head[4] = {factor->type, factor->rows, factor->cols, 0};
    return oclora_mark(head, sizeof head, factor->data, oclora_factor_bytes(factor), factor->hash);
}

static bool same_bytes(const oclora_blob *blob, const oclora_factor *factor, const void *data)
{
    return memcmp(blob->hash, factor->hash, sizeof blob->hash) == 0 &&
           blob->bytes == oclora_factor_bytes(factor) &&
           memcmp(blob->data, data, (size_t)blob->bytes) == 0;
}

static oclora_status keep_blob(oclora_adapter_image *image, oclora_factor *factor, void *data,
                               oclora_error *err)
{
    if (!hash_factor(factor)) return oclora_fail_memory(err, 0, "factor hash");
    for (size_t i = 0; i < image->n_blobs; i++) {
        if (same_bytes(&image->blobs[i], factor, data)) {
            factor->data = image->blobs[i].data;
            oclora_release(&image->env, data);
            return OCLORA_OK;
        }
    }
    OCLORA_TRY(oclora_reserve(&image->env, &image->blobs, &image->blob_capacity, image->n_blobs + 1,
                              sizeof *image->blobs, err));
    oclora_blob *blob = &image->blobs[image->n_blobs++];
    blob->data = data;
    blob->bytes = oclora_factor_bytes(factor);
    memcpy(blob->hash, factor->hash, sizeof blob->hash);
    return OCLORA_OK;
}

oclora_status oclora_image_adopt(oclora_adapter_image *image, oclora_factor *factor, void *data,
                                 oclora_error *err)
{
    factor->data = data;
    oclora_status status = keep_blob(image, factor, data, err);
    if (status != OCLORA_OK) {
        oclora_release(&image->env, data);
        factor->data = NULL;
    }
    return status;
}

oclora_status oclora_image_borrow(oclora_factor *factor, const void *data, oclora_error *err)
{
    factor->data = (void *)(uintptr_t)data; /* nothing writes to a factor */
    if (hash_factor(factor)) return OCLORA_OK;
    factor->data = NULL;
    return oclora_fail_memory(err, 0, "factor hash");
}
