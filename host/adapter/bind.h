/* bind.h - completes a module once the base weight it adapts is known. */
#ifndef OCLORA_ADAPTER_BIND_H
#define OCLORA_ADAPTER_BIND_H

#include "host/adapter/terms.h"

/* Fills open dimensions, cuts A to its leading d_in / group columns, and checks that the module
 * fits a base weight [d_out, d_in]. Binding twice to the same shape changes nothing. Errors:
 * SHAPE_MISMATCH (names the module and both shapes), OUT_OF_HOST_MEMORY. */
oclora_status oclora_module_bind(oclora_adapter_image *image, oclora_module *module, uint32_t d_in,
                                 uint32_t d_out, oclora_error *err);

/* DoRA: whether `u` and `beta` must be computed from the base weight that is served. */
static inline bool oclora_module_needs_norms(const oclora_module *module)
{
    return module->magnitude != NULL;
}

/* For a bound module with magnitude: sets u and beta of rows [first, first + count) to
 * magnitude / || W + B^T (scale o A) ||, from those rows of the dequantised base weight
 * (w [count, d_in]). Computed in double, row by row, so any cut into calls gives the same values.
 * Different rows may be resolved by different threads once one call returned. A row of norm zero is
 * NOT_FINITE. */
oclora_status oclora_dora_resolve(oclora_adapter_image *image, oclora_module *module,
                                  const float *w, uint32_t first, uint32_t count,
                                  oclora_error *err);

/* IA3 (scales_bias): c = (u - 1) o bias, bias [d_out]. Nothing to do for other modules or NULL. */
oclora_status oclora_bias_resolve(oclora_adapter_image *image, oclora_module *module,
                                  const float *bias, oclora_error *err);

#endif
