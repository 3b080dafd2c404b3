/* dense.c - small dense matrices and random numbers. */
#include "tools/expressive/expressive.h"

#include <math.h>
#include <stdlib.h>

static double uniform(oclora_dice *dice)
{
    dice->state ^= dice->state << 13;
    dice->state ^= dice->state >> 7;
    dice->state ^= dice->state << 17;
    return ((double)(dice->state >> 11) + 0.5) * 0x1p-53;
}

double oclora_dice_normal(oclora_dice *dice)
{
    const double radius = sqrt(-2.0 * log(uniform(dice)));
    return radius * cos(6.283185307179586 * uniform(dice));
}

double *oclora_new(size_t count)
{
    return calloc(count + 1, sizeof(double));
}

void oclora_multiply(double *out, const double *a, const double *b, uint32_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) out[i * n + j] = 0.0;
        for (size_t k = 0; k < n; k++)
            for (size_t j = 0; j < n; j++) out[i * n + j] += a[i * n + k] * b[k * n + j];
    }
}

void oclora_transpose(double *out, const double *a, uint32_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) out[j * n + i] = a[i * n + j];
}

void oclora_apply_matrix(double *y, const double *w, const double *x, uint32_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = 0.0;
        for (size_t j = 0; j < n; j++) y[i] += w[i * n + j] * x[j];
    }
}

double oclora_relative_error(const float *y, const double *target, size_t count)
{
    double difference = 0.0, scale = 0.0;
    for (size_t i = 0; i < count; i++) {
        const double d = (double)y[i] - target[i];
        difference += d * d;
        scale += target[i] * target[i];
    }
    return sqrt(difference / scale);
}
