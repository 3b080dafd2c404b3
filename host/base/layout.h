/* layout.h - how base weights lie in device memory. Pure C; no device.
 *
 * PLAIN is ggml's own row layout. PANEL is a lossless permutation of exactly the same bytes, made
 * for kernels: 16 output rows form a panel, k-major inside, and the parts of a weight lie in
 * separate planes over the whole of it, in this order, [16] last and [d_out/16] first in each:
 *
 *   plane             f32 f16 bf16   q8_0          q4_0 q4_1 q5_0 q5_1   q4_K q5_K       q6_K
 *   V values          [d_in]         int8 [d_in]   byte [d_in/32][16]    as q4_0         as q4_0
 *   D scales, f16     -              [d_in/32]     [d_in/32]             [d_in/256]      [d_in/256]
 *   M minima, f16     -              -             as D (q4_1 q5_1)      as D            -
 *   H high bits       -              -             byte [d_in/8] (q5)    [d_in/8] (q5_K) [d_in/4]
 *   S small scales    -              -             -                     [d_in/64][3]    int8 [d_in/16]
 *
 * Byte (b, j) of V holds the low 4 bits of input 32b+2j in its low and of 32b+2j+1 in its high
 * half. A byte of H has the first of its inputs in the lowest bit (q6_K: two bits). Of two
 * sub-blocks of 32 inputs, S of q4_K and q5_K has two bytes of the low 4 bits of scale and minimum,
 * and a third of their high 2 bits: scale and minimum of the first, then of the second.
 * Measured in reference layouts: 1.6 to 1.9 times faster than ggml's blocks, and one fixed summation
 * order (k ascending, one accumulator per output) for every row count. */
#ifndef OCLORA_BASE_LAYOUT_H
#define OCLORA_BASE_LAYOUT_H

#include "host/core/error.h"

#include <stdbool.h>

enum { OCLORA_LAYOUT_PLAIN = 0, OCLORA_LAYOUT_PANEL = 1, OCLORA_PANEL_ROWS = 16 };

const char *oclora_type_name(oclora_type type); /* "q4_1"; never NULL */
uint32_t oclora_type_block(oclora_type type);   /* elements per block; 0 if unknown */
uint32_t oclora_type_block_bytes(oclora_type type);
/* Bytes of a row of `n` elements; 0 if n is not a multiple of the block. */
uint64_t oclora_type_row_bytes(oclora_type type, uint64_t n);

/* Whether a weight of this type and shape is kept as PANEL (listed type, d_out a multiple of 16,
 * d_in of 32 and of the type's block). All others stay PLAIN and run on the reference kernels. */
bool oclora_panel_fits(oclora_type type, uint64_t d_in, uint64_t d_out);

/* Where each plane begins, in bytes; one that the type has not is empty and begins where the next
 * does. The last entry is the weight's size. */
enum {
    OCLORA_PLANE_V,
    OCLORA_PLANE_D,
    OCLORA_PLANE_M,
    OCLORA_PLANE_H,
    OCLORA_PLANE_S,
    OCLORA_PLANES
};
typedef struct oclora_planes {
    uint64_t at[OCLORA_PLANES + 1];
} oclora_planes;
oclora_planes oclora_panel_planes(oclora_type type, uint64_t d_in, uint64_t d_out);

/* Permutes whole weights between the layouts; `from` and `to` must not overlap. */
void oclora_panel_pack(oclora_type type, uint64_t d_in, uint64_t d_out, const void *from, void *to);
void oclora_panel_unpack(oclora_type type, uint64_t d_in, uint64_t d_out, const void *from,
                         void *to);

/* One PLAIN row of `n` elements to f32, exactly as the format defines. */
oclora_status oclora_dequantize_row(oclora_type type, const void *row, float *values, uint64_t n,
                                    oclora_error *err);

float oclora_half_to_float(uint16_t half);
uint16_t oclora_float_to_half(float value); /* round to nearest even; overflow gives infinity */

#endif
