/* reference.h - the operations in double precision, written for clarity: what kernels are held to. */
#ifndef OCLORA_TESTS_REFERENCE_H
#define OCLORA_TESTS_REFERENCE_H

#include <stddef.h>

/* y[r][o] = sum_i w[o][i] * x[r][i]; all row-major, w is [d_out][d_in], x is [rows][d_in]. */
void oclora_ref_matmul(double *y, const float *w, const float *x, size_t rows, size_t d_out,
                       size_t d_in);

#endif
