/* config.h - adapter_config.json: typed access, ranks per module, which modules are meant. */
#ifndef OCLORA_ADAPTER_CONFIG_H
#define OCLORA_ADAPTER_CONFIG_H

#include "host/core/env.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct oclora_config {
    json_t *root;
    const char *peft_type; /* into root */
} oclora_config;

/* Errors: FILE_FORMAT (not JSON, duplicate keys, no peft_type). */
oclora_status oclora_config_parse(oclora_config *out, const char *text, size_t size,
                                  oclora_error *err);
void oclora_config_free(oclora_config *config); /* zeroed is allowed */

/* Typed reads. A missing or null key gives the default; another type is FILE_FORMAT. */
oclora_status oclora_config_bool(const oclora_config *config, const char *key, bool *value,
                                 oclora_error *err);
oclora_status oclora_config_number(const oclora_config *config, const char *key, double *value,
                                   oclora_error *err);
oclora_status oclora_config_text(const oclora_config *config, const char *key, const char **value,
                                 oclora_error *err);

/* Key absent, null, false, "", {} or []. */
bool oclora_config_empty(const oclora_config *config, const char *key);

/* Element `index` of a list, or the number itself where the file holds one number for all. */
oclora_status oclora_config_item(const oclora_config *config, const char *key, size_t index,
                                 double *value, oclora_error *err);

/* r and lora_alpha of one module: rank_pattern and alpha_pattern, first match wins. r is checked to
 * be 1..OCLORA_RANK_MAX, alpha to be finite. */
oclora_status oclora_config_rank(const oclora_config *config, const char *module, uint32_t *r,
                                 double *alpha, oclora_error *err);

/* Whether target_modules, exclude_modules and layers_to_transform mean `module`. */
oclora_status oclora_config_targets(const oclora_config *config, const char *module, bool *targeted,
                                    oclora_error *err);

/* Every target and every layer named must have at least one of the `count` modules. Errors:
 * MODULE_MISMATCH, naming what has no tensors. */
oclora_status oclora_config_covered(const oclora_config *config, const char *const *modules,
                                    size_t count, oclora_error *err);

/* Whether `module` ends with `suffix` at a dot or is equal to it. */
bool oclora_module_has_suffix(const char *module, const char *suffix);

#endif
