/* layers.h - base layers and adapters on a device through the native ABI, as the programs here use
 * them: a row is served by a few weighted adapters. */
#ifndef OCLORA_TOOLS_LAYERS_H
#define OCLORA_TOOLS_LAYERS_H

#include "abi/oclora.h"

#include "host/core/error.h"
#include "tools/shared/tensors.h"

#include <stdbool.h>
#include <stddef.h>

/* Exit statuses of the programs. */
enum { OCLORA_TOOL_OK = 0, OCLORA_TOOL_FAILED = 1, OCLORA_TOOL_USAGE = 2, OCLORA_TOOL_SETUP = 3 };

typedef struct oclora_layers {
    const oclora_api *api;
    oclora_context_t *context;
    oclora_pool_t *pool;
    oclora_weight_t **weights;
    size_t n_weights;
    char device[208]; /* "platform / name" */
} oclora_layers;

/* A context on `device` (text as in oclora_context_args, NULL = the default) and a pool. Errors:
 * those of context_create and pool_create. The caller closes it in any case. */
oclora_status oclora_layers_open(oclora_layers *out, const char *device, uint32_t device_class,
                                 oclora_error *err);
void oclora_layers_close(oclora_layers *layers); /* zeroed is allowed */

/* A base weight of any type. `index`, if not NULL, gets its number for oclora_layers_run. */
oclora_status oclora_layers_add(oclora_layers *layers, const oclora_weight_args *args,
                                size_t *index, oclora_error *err);
/* The same for f32 values [d_out, d_in]; bias may be NULL. */
oclora_status oclora_layers_add_f32(oclora_layers *layers, const char *name, const float *w,
                                    const float *bias, uint32_t d_out, uint32_t d_in,
                                    oclora_error *err);

/* An adapter from `path`, named by its path and store. */
oclora_status oclora_layers_load(oclora_layers *layers, const char *path, uint32_t store,
                                 oclora_adapter_t *out, oclora_error *err);

/* An adapter from tensors made here, named `name`. */
oclora_status oclora_layers_load_tensors(oclora_layers *layers, const char *name,
                                         const json_t *config, const oclora_tensors *list,
                                         uint32_t store, oclora_adapter_t *out, oclora_error *err);

/* y [args->n_rows, d_out] of one layer for rows mapped as `args` says. */
oclora_status oclora_layers_run(oclora_layers *layers, size_t index, const oclora_batch_args *args,
                                const float *x, float *y, oclora_error *err);

const char *oclora_kind_name(uint32_t kind);   /* "lora"; never NULL */
const char *oclora_store_name(uint32_t store); /* "f16"; never NULL */

/* Parses words of the command line; false when `text` is none of them. */
bool oclora_store_parse(const char *text, uint32_t *store);        /* f32, f16, q8_0, auto */
bool oclora_class_parse(const char *text, uint32_t *device_class); /* cpu, gpu, auto */

#endif
