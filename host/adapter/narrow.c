/* Changing the storage of a loaded image. */
#include "host/adapter/image.h"
#include "host/adapter/load.h"
#include "host/adapter/number.h"

#include <string.h>

static oclora_status store_factor(oclora_adapter_image *target, const oclora_adapter_image *from,
                                  oclora_factor *factor, uint32_t store, const char *what,
                                  oclora_error *err)
{
    if (factor->data == NULL) return OCLORA_OK;
    oclora_matrix matrix = {0};
    OCLORA_TRY(oclora_matrix_create(&matrix, &from->env, factor->rows, factor->cols, err));
    uint64_t row_bytes = oclora_factor_row_bytes(factor->type, factor->cols);
    for (uint32_t i = 0; i < factor->rows; i++)
        oclora_widen(factor->type, (const uint8_t *)factor->data + i * row_bytes, factor->cols,
                     matrix.values + (size_t)i * factor->cols);
    matrix.source = factor->type;
    oclora_status status = oclora_image_factor(target, factor, &matrix, store, what, err);
    oclora_matrix_free(&matrix, &from->env);
    return status;
}

oclora_status oclora_adapter_narrow(oclora_adapter_image *image, uint32_t store, oclora_error *err)
{
    /* New memory is collected in a second image, so that the old can go in one piece. */
    oclora_adapter_image fresh = {.env = image->env};
    oclora_status status = OCLORA_OK;
    for (size_t i = 0; i < image->n_modules && status == OCLORA_OK; i++) {
        oclora_module *module = &image->modules[i];
        oclora_factor *gates[] = {&module->router.gate, &module->router.gate_b};
        status = store_factor(&fresh, image, &module->a, store, module->name, err);
        if (status == OCLORA_OK)
            status = store_factor(&fresh, image, &module->b, store, module->name, err);
        for (size_t j = 0; j < 2 && status == OCLORA_OK; j++)
            status = store_factor(&fresh, image, gates[j], OCLORA_STORE_AUTO, module->name, err);
    }
    oclora_adapter_image old = {
        .env = image->env, .blobs = image->blobs, .n_blobs = image->n_blobs};
    image->blobs = fresh.blobs;
    image->n_blobs = fresh.n_blobs;
    image->blob_capacity = fresh.blob_capacity;
    oclora_image_release_blobs(&old);
    return status == OCLORA_OK ? oclora_image_finish(image, err) : status;
}
