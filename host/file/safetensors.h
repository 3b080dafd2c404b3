/* safetensors.h - reader of the safetensors format; hostile files are expected.
 *
 * Checked: header length within the file and at most 100 MB, UTF-8 JSON without duplicate keys,
 * every dtype known, shape product without overflow, byte size = shape * dtype, ranges in order
 * without hole or overlap, and ending exactly at the end of the file. */
#ifndef OCLORA_FILE_SAFETENSORS_H
#define OCLORA_FILE_SAFETENSORS_H

#include "host/file/map.h"

enum { OCLORA_TENSOR_MAX_DIMS = 4 };

typedef struct oclora_file_tensor {
    const char *name; /* zero-terminated, owned by the file object */
    oclora_type type;
    uint32_t n_dims;
    uint64_t dims[OCLORA_TENSOR_MAX_DIMS]; /* slowest first, as in the file ([rows, cols]) */
    const uint8_t *data;                   /* may be unaligned */
    uint64_t bytes;
} oclora_file_tensor;

typedef struct oclora_safetensors {
    oclora_file_tensor *tensors; /* in file order */
    size_t count;
    char *metadata_json; /* the __metadata__ object as text, or NULL */
    char *names;         /* storage */
    oclora_env env;
} oclora_safetensors;

/* `map` must outlive the result. Errors: FILE_TRUNCATED, FILE_FORMAT, UNSUPPORTED_DTYPE,
 * OUT_OF_HOST_MEMORY; texts name the tensor. */
oclora_status oclora_safetensors_parse(oclora_safetensors *out, const oclora_env *env,
                                       const oclora_map *map, oclora_error *err);
void oclora_safetensors_free(oclora_safetensors *file); /* zeroed is allowed */
const oclora_file_tensor *oclora_safetensors_find(const oclora_safetensors *file, const char *name);

#endif
