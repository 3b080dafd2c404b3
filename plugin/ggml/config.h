/* config.h - the settings of OCLORA_CONFIG: JSON, read strictly. */
#ifndef OCLORA_GGML_CONFIG_H
#define OCLORA_GGML_CONFIG_H

#include "host/core/env.h"

#include <stdbool.h>

typedef struct oclora_ggml_config_use {
    const char *name;
    float weight;
} oclora_ggml_config_use;

typedef struct oclora_ggml_config_adapter {
    const char *name;
    const char *path;
} oclora_ggml_config_adapter;

typedef struct oclora_ggml_config_slot {
    uint32_t seq;
    uint32_t count; /* 0 = the base alone */
    oclora_ggml_config_use *uses;
} oclora_ggml_config_slot;

typedef struct oclora_ggml_config {
    oclora_env env;
    void *json;        /* owns the texts */
    const char *model; /* or NULL */
    uint64_t pool_bytes;
    uint32_t store; /* OCLORA_STORE_* */
    bool partial;
    oclora_ggml_config_adapter *adapters;
    size_t n_adapters;
    oclora_ggml_config_slot *slots;
    size_t n_slots;
    bool has_all;
    oclora_ggml_config_slot all; /* its seq is not used */
} oclora_ggml_config;

/* `text` is JSON (starts with an opening brace) or the path of a JSON file. Unknown keys, double
 * keys, wrong types and names that no adapter has are INVALID_ARGUMENT; a file that cannot be read
 * FILE_NOT_FOUND. Every text names the key. */
oclora_status oclora_ggml_config_read(oclora_ggml_config **out, const oclora_env *env,
                                      const char *text, oclora_error *err);
void oclora_ggml_config_free(oclora_ggml_config *config); /* NULL is allowed */

#endif
