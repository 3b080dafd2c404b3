/* image.h - building an adapter image: factors that are stored once, vectors, modules. */
#ifndef OCLORA_ADAPTER_IMAGE_H
#define OCLORA_ADAPTER_IMAGE_H

#include "host/adapter/terms.h"
#include "host/file/safetensors.h"

/* A matrix on its way to a factor: f32 values and how they were written in the file. */
typedef struct oclora_matrix {
    uint32_t rows;
    uint32_t cols;
    oclora_type source; /* F32, F16, BF16: what AUTO may keep */
    float *values;      /* [rows, cols], owned */
} oclora_matrix;

oclora_status oclora_image_create(oclora_adapter_image **out, const oclora_env *env,
                                  oclora_error *err);

/* Grows the module list by one zeroed module named `name` (copied). The pointer holds until the
 * next call. Modules must be complete before oclora_image_finish. Errors: NOT_SUPPORTED beyond
 * OCLORA_MODULES_MAX, since a file of empty modules would take many times its size in memory; the
 * largest models have some 900 linear layers. */
enum { OCLORA_MODULES_MAX = 8192 };
oclora_status oclora_image_add_module(oclora_adapter_image *image, size_t *capacity,
                                      const char *name, size_t length, oclora_module **out,
                                      oclora_error *err);

/* Releases the factors' memory alone; the factors must not be read after it. */
void oclora_image_release_blobs(oclora_adapter_image *image);

/* Sorts the modules by name, refuses equal names (FILE_FORMAT), and sums up bytes. */
oclora_status oclora_image_finish(oclora_adapter_image *image, oclora_error *err);

/* Zeroed matrix. `source` starts as BF16/F16-neutral: see oclora_matrix_put. */
oclora_status oclora_matrix_create(oclora_matrix *out, const oclora_env *env, uint64_t rows,
                                   uint64_t cols, oclora_error *err);
void oclora_matrix_free(oclora_matrix *matrix, const oclora_env *env);

/* Copies a 2-D view [rows, cols] of `tensor` (element `first` on) to (row, col) of the matrix, or
 * its transpose. The caller has checked that it fits. Errors: NOT_FINITE (tensor and index named),
 * UNSUPPORTED_DTYPE. */
typedef struct oclora_view {
    const oclora_file_tensor *tensor;
    uint64_t first;
    uint32_t rows;
    uint32_t cols;
} oclora_view;
oclora_status oclora_matrix_put(oclora_matrix *matrix, const oclora_env *env, oclora_view view,
                                uint32_t row, uint32_t col, bool transpose, oclora_error *err);

/* Turns the values into a factor of the image in the storage `store` asks for (OCLORA_STORE_*);
 * equal factors of the image share memory. `what` names it in errors. Errors: VALUE_OVERFLOW,
 * OUT_OF_HOST_MEMORY. */
oclora_status oclora_image_factor(oclora_adapter_image *image, oclora_factor *out,
                                  const oclora_matrix *matrix, uint32_t store, const char *what,
                                  oclora_error *err);

/* The plain case in one step: a tensor, whole or a view of it, as a factor. Values that keep their
 * type are moved without a detour through f32. */
oclora_status oclora_image_factor_of(oclora_adapter_image *image, oclora_factor *out,
                                     oclora_view view, bool transpose, uint32_t store,
                                     oclora_error *err);

/* Takes over `data` (from oclora_alloc, of the factor's size) as the factor's values. On error it
 * is released. */
oclora_status oclora_image_adopt(oclora_adapter_image *image, oclora_factor *factor, void *data,
                                 oclora_error *err);

/* The same for values that stay where they are, 64-byte aligned and valid as long as the image is
 * (a part of its map). The image does not release them. */
oclora_status oclora_image_borrow(oclora_factor *factor, const void *data, oclora_error *err);

/* New f32 vector with the values of a tensor of `count` elements (NOT_FINITE, UNSUPPORTED_DTYPE).
 */
oclora_status oclora_vector_of(float **out, const oclora_env *env, const oclora_file_tensor *tensor,
                               uint64_t count, oclora_error *err);

uint64_t oclora_tensor_elements(const oclora_file_tensor *tensor);

#endif
