/* tensors.h - writing safetensors files and adapter folders. */
#ifndef OCLORA_TOOLS_TENSORS_H
#define OCLORA_TOOLS_TENSORS_H

#include "host/core/error.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

typedef struct oclora_tensor_out {
    char *name;        /* owned by the list */
    const char *dtype; /* "F32", "F16", "BF16", "U8"; static */
    uint32_t n_dims;
    uint64_t dims[4];
    void *data; /* owned by the list */
    uint64_t bytes;
} oclora_tensor_out;

typedef struct oclora_tensors {
    oclora_tensor_out *items;
    size_t count;
} oclora_tensors;

/* Adds a copy of `bytes` bytes, [rows, cols] or, with rows 0, [cols]. OUT_OF_HOST_MEMORY. */
oclora_status oclora_tensors_add(oclora_tensors *list, const char *name, const char *dtype,
                                 uint64_t rows, uint64_t cols, const void *data, uint64_t bytes,
                                 oclora_error *err);
/* The same from doubles, stored as f32; values over f32 are VALUE_OVERFLOW. */
oclora_status oclora_tensors_add_f32(oclora_tensors *list, const char *name, uint64_t rows,
                                     uint64_t cols, const double *values, oclora_error *err);
void oclora_tensors_free(oclora_tensors *list); /* zeroed is allowed */

/* The file's bytes, which the caller frees. `metadata` (strings only) may be NULL. Data begin at a
 * multiple of 64 and follow each other without a gap. */
oclora_status oclora_tensors_pack(const oclora_tensors *list, const json_t *metadata, void **out,
                                  size_t *size, oclora_error *err);

/* Writes a whole file beside `path` and renames it, so that readers that mapped what was there keep
 * it. FILE_READ when it cannot be written. */
oclora_status oclora_write_file(const char *path, const void *data, size_t size, oclora_error *err);

/* FOLDER/adapter_config.json and FOLDER/adapter_model.safetensors; the folder is made. */
oclora_status oclora_write_adapter(const char *folder, const json_t *config,
                                   const oclora_tensors *list, oclora_error *err);

#endif
