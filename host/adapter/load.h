/* load.h - adapter files to terms. */
#ifndef OCLORA_ADAPTER_LOAD_H
#define OCLORA_ADAPTER_LOAD_H

#include "host/adapter/terms.h"
#include "host/file/map.h"

/* What the loader must know of the base model; from its GGUF file. */
typedef struct oclora_model_info {
    char architecture[64]; /* "llama", "qwen2", ... */
    uint32_t n_layer;
    uint32_t n_head;
    uint32_t n_head_kv;
    uint32_t n_embd;
    uint32_t reserved;
} oclora_model_info;

/* Reads the metadata of a model GGUF. Errors: FILE_*, METADATA_MISSING. */
oclora_status oclora_model_info_read(oclora_model_info *out, const oclora_env *env,
                                     const char *path, oclora_error *err);

/* Reads an adapter: a PEFT folder (adapter_config.json + adapter_model.safetensors), a GGUF LoRA
 * file, or a compact file (host/adapter/compact.h), recognised by what is at `path`. `store` is
 * OCLORA_STORE_*. Module names stay the file's. "FOLDER#task=N" chooses one adapter of a file that
 * holds several: the task of an MTL-LoRA, or the N-th member (or the member of that name) of a
 * BORA, DLP_LORA or XLORA_STATIC set. BORA without a known task gives its base_adapter; the others
 * must be told one (INVALID_ARGUMENT). Errors: FILE_*, UNKNOWN_KIND (the kind is named),
 * MISSING_TENSOR, RANK_MISMATCH, SHAPE_MISMATCH, NOT_FINITE, UNSUPPORTED_DTYPE, VALUE_OVERFLOW,
 * MODULE_MISMATCH (target modules of the config without tensors or tensors without a target). Every
 * text names the file and the module. */
oclora_status oclora_adapter_load(oclora_adapter_image **out, const oclora_env *env,
                                  const char *path, uint32_t store, oclora_error *err);

/* As above from memory: a PEFT adapter's two files. */
oclora_status oclora_adapter_load_memory(oclora_adapter_image **out, const oclora_env *env,
                                         const char *config, size_t config_size,
                                         const void *tensors, size_t tensors_size, uint32_t store,
                                         oclora_error *err);

/* Stores the factors anew as `store` (OCLORA_STORE_*), at any time before they are used: Q8_0 comes
 * after oclora_adapter_to_gguf_names, since rounded blocks cannot follow a change of row order.
 * What a factor has been rounded to already stays so. Errors: VALUE_OVERFLOW, OUT_OF_HOST_MEMORY;
 * the image can then only be destroyed. */
oclora_status oclora_adapter_narrow(oclora_adapter_image *image, uint32_t store, oclora_error *err);

/* Renames PEFT modules to the GGUF names of `model` and puts the rows of q and k (B, u, beta, c,
 * magnitude, mul_u) into the order the GGUF converter gives them for the llama architecture.
 * Errors: METADATA_MISSING (model NULL and q/k modules present), MODULE_MISMATCH (a module has no
 * GGUF counterpart; named), NOT_SUPPORTED (architecture unknown). GGUF naming: nothing to do. */
oclora_status oclora_adapter_to_gguf_names(oclora_adapter_image *image,
                                           const oclora_model_info *model, oclora_error *err);

#endif
