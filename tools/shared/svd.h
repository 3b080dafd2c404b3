/* svd.h - dense linear algebra in double, by LAPACKE. All matrices are row-major and contiguous.
 * Built without LAPACKE every function gives NOT_SUPPORTED. */
#ifndef OCLORA_TOOLS_SVD_H
#define OCLORA_TOOLS_SVD_H

#include "host/core/error.h"

#include <stdint.h>

/* a [m, n] = u diag(s) vt with k = min(m, n): u [m, k], s [k] falling, vt [k, n]; a is destroyed.
 * Errors: OUT_OF_HOST_MEMORY, NOT_FINITE, INTERNAL (no convergence). */
oclora_status oclora_svd(double *a, uint32_t m, uint32_t n, double *u, double *s, double *vt,
                         oclora_error *err);

/* a [n, n] becomes its inverse. Errors: INVALID_ARGUMENT when singular, OUT_OF_HOST_MEMORY. */
oclora_status oclora_invert(double *a, uint32_t n, oclora_error *err);

/* a [n, n] becomes an orthogonal matrix, evenly distributed when its values were drawn from a
 * normal distribution. */
oclora_status oclora_orthogonalize(double *a, uint32_t n, oclora_error *err);

#endif
