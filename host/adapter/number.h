/* number.h - the element types of factors: widening, narrowing, finiteness. No OpenCL, no state. */
#ifndef OCLORA_ADAPTER_NUMBER_H
#define OCLORA_ADAPTER_NUMBER_H

#include "abi/oclora_types.h"

#include <stdbool.h>
#include <stddef.h>

float oclora_f16_to_f32(uint16_t half);
uint16_t oclora_f32_to_f16(float value); /* to nearest even; overflow gives infinity */
float oclora_bf16_to_f32(uint16_t value);
uint16_t oclora_f32_to_bf16(float value); /* to nearest even */

/* Widens `count` values of F32, F16, BF16, F64 or Q8_0 (whole blocks; `source` may be unaligned).
 * F64 is rounded. False for any other type. */
bool oclora_widen(oclora_type type, const void *source, size_t count, float *out);

/* Index of the first NaN or infinity, or `count`. */
size_t oclora_find_not_finite(const float *values, size_t count);

/* Index of the first value that f16 cannot hold exactly, or `count`. */
size_t oclora_find_inexact_f16(const float *values, size_t count);

/* Narrow finite values; the result is the index of the first that overflows, or `count`. Q8_0 pads
 * the last block with zeros. */
size_t oclora_narrow_f16(const float *values, size_t count, uint16_t *out);
size_t oclora_narrow_bf16(const float *values, size_t count, uint16_t *out);
size_t oclora_narrow_q8_0(const float *values, size_t count, void *out);

#endif
