/* convert.h - what matrix.c and convert.c share of the way from tensors to factors. */
#ifndef OCLORA_ADAPTER_CONVERT_H
#define OCLORA_ADAPTER_CONVERT_H

#include "host/adapter/image.h"

/* The bytes of an element; of a q8_0 tensor the block's that begins there. */
const uint8_t *oclora_tensor_at(const oclora_file_tensor *tensor, uint64_t index);

/* UNSUPPORTED_DTYPE, unless the tensor has values that a factor can be made of. */
oclora_status oclora_tensor_check_type(const oclora_file_tensor *tensor, oclora_error *err);
oclora_status oclora_fail_not_finite(oclora_error *err, const oclora_file_tensor *tensor,
                                     uint64_t index);

/* Stores `count` rows of values as rows `first` on of the factor's `data`. `what` names the factor
 * in errors (VALUE_OVERFLOW). */
oclora_status oclora_rows_narrow(const oclora_factor *factor, const float *values, uint32_t first,
                                 uint32_t count, uint8_t *data, const char *what,
                                 oclora_error *err);

#endif
