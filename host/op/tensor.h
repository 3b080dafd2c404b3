/* tensor.h - a strided view of device memory, as ops take it. */
#ifndef OCLORA_OP_TENSOR_H
#define OCLORA_OP_TENSOR_H

#include "host/base/weight.h"

/* ne[0] is the fastest dimension (elements); nb are strides in bytes (of a block for block types), as
 * in ggml. All ops check types, shapes and ranges and refuse what they cannot do. */
typedef struct oclora_tensor {
    oclora_buffer *buffer;
    uint64_t offset; /* of element 0 */
    oclora_type type;
    uint32_t reserved;
    uint64_t ne[4];
    uint64_t nb[4];
} oclora_tensor;

#endif
