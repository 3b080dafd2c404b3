/* gguf.h - reader of GGUF files: metadata and tensor directory; hostile files are expected. */
#ifndef OCLORA_FILE_GGUF_H
#define OCLORA_FILE_GGUF_H

#include "host/file/safetensors.h"

#include <stdbool.h>

typedef struct oclora_gguf oclora_gguf;

/* Versions 2 and 3, little endian. `map` must outlive the result. Tensors have dims slowest first
 * (so a ggml [ne0=d_in, ne1=d_out] matrix reads as dims {d_out, d_in}). Tensors whose ggml type has
 * no oclora_type are listed with type OCLORA_TYPE_COUNT and data NULL. */
oclora_status oclora_gguf_parse(oclora_gguf **out, const oclora_env *env, const oclora_map *map,
                                oclora_error *err);
void oclora_gguf_free(oclora_gguf *file);

size_t oclora_gguf_tensor_count(const oclora_gguf *file);
const oclora_file_tensor *oclora_gguf_tensor(const oclora_gguf *file, size_t index);
const oclora_file_tensor *oclora_gguf_find(const oclora_gguf *file, const char *name);

/* Metadata; false when the key is absent or of another type. Integers of any width are accepted. */
bool oclora_gguf_has(const oclora_gguf *file, const char *key); /* of any type */
bool oclora_gguf_string(const oclora_gguf *file, const char *key, const char **text,
                        size_t *length);
bool oclora_gguf_u64(const oclora_gguf *file, const char *key, uint64_t *value);
bool oclora_gguf_f32(const oclora_gguf *file, const char *key, float *value);

#endif
