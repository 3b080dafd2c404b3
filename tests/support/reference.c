#include "support/reference.h"

void oclora_ref_matmul(double *y, const float *w, const float *x, size_t rows, size_t d_out,
                       size_t d_in)
{
    for (size_t r = 0; r < rows; r++) {
        for (size_t o = 0; o < d_out; o++) {
            double sum = 0;
            for (size_t i = 0; i < d_in; i++)
                sum += (double)w[o * d_in + i] * (double)x[r * d_in + i];
            y[r * d_out + o] = sum;
        }
    }
}
