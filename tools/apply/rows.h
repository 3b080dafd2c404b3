/* rows.h - one output of a case: its rows mapped to adapters, computed and compared. */
#ifndef OCLORA_APPLY_ROWS_H
#define OCLORA_APPLY_ROWS_H

#include "tools/apply/apply.h"

/* k weighted adapters for each of n rows; adapter 0 is none. NULL weights are all one. */
typedef struct oclora_apply_map {
    uint32_t n;
    uint32_t k;
    oclora_adapter_t *adapter; /* [n][k] */
    const float *weight;       /* [n][k] */
} oclora_apply_map;

/* Loads the case's path with `suffix` behind it: "", "/task0", "#task=1"; NULL loads the adapter of
 * the options. @return 0 when refused,
 * with the reason. */
oclora_adapter_t oclora_apply_load(oclora_apply *a, const char *suffix, oclora_error *refused);

uint32_t oclora_apply_row_count(const oclora_apply *a, size_t module); /* of its X */

/* y [map->n, d_out] of a module. */
oclora_status oclora_apply_serve(oclora_apply *a, size_t module, const oclora_apply_map *map,
                                 const float *x, float *y, oclora_error *err);

/* A new result, not computed yet. `module` NULL: of the whole network of `layers` layers. */
oclora_status oclora_apply_add(oclora_apply *a, const char *module, const char *field,
                               size_t layers, oclora_apply_result **out, oclora_error *err);
void oclora_apply_explain(oclora_apply_result *result, const oclora_error *why);
/* Fills a result from y [rows, d_out] and the case's "<module>.<field>". */
void oclora_apply_compare(const oclora_apply *a, oclora_apply_result *result, const char *module,
                          const float *y, uint32_t rows, uint32_t d_out);

/* A module under a mapping against its tensor `field`; with `refused` set, that is the result.
 * `y_out`, if not NULL, gets the output, which the caller frees. */
oclora_status oclora_apply_module(oclora_apply *a, size_t module, const oclora_apply_map *map,
                                  const char *field, const oclora_error *refused, float **y_out,
                                  oclora_error *err);

/* Every module with the same k adapters on every row, weighted by the case's row_weights or not. */
oclora_status oclora_apply_uniform(oclora_apply *a, const oclora_adapter_t *adapters, uint32_t k,
                                   bool weighted, const char *field, const oclora_error *refused,
                                   oclora_error *err);

#endif
