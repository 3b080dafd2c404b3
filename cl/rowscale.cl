/* rowscale.cl - ROWSCALE: the inputs of multiplicative adapters. For every hidden slot (chunk, row,
 * entry) of a work list whose adapter multiplies, row m_first[slot] + j of v is mul_v[j] o x (x
 * itself where mul_v is absent), j < n_mul. The base product over the rows of v then goes to
 * lora_expand, which sums them with mul_u.
 *
 * Grid, both classes: (ceil(d_in / 16), chunks), any group. v is f32, rows of d_in, contiguous. Any
 * d_in; x rows of any stride (bytes, multiple of 4). */
#pragma OPENCL FP_CONTRACT OFF
#include "lora_types.cl"

__kernel void rowscale(__global const uchar *restrict pool, ulong pool_offset,
                       __global const uchar *restrict lanes, ulong lane_offset, WORK_ARGS,
                       __global const uchar *restrict x_base, ulong x_offset, ulong x_stride,
                       __global const uchar *restrict m_first, ulong m_first_offset,
                       __global uchar *restrict v_base, ulong v_offset, uint d_in)
{
    pool += pool_offset;
    lora_chunk chunk = WORK_CHUNK(get_global_id(1));
    uint k = get_global_id(0) * 16;
    if (k >= d_in) return;
    uint n = min(16u, d_in - k);
    for (uint e = 0; e < chunk.n_entries; e++) {
        lora_lane lane =
            ((__global const lora_lane *)(lanes + lane_offset))[WORK_ENTRY(chunk.entry_first + e)];
        for (uint i = 0; i < chunk.n_rows && lane.n_mul; i++) {
            ulong row = WORK_ROW(chunk.row_first + i);
            uint slot = chunk.hidden_first + i * chunk.n_entries + e;
            uint first = ((__global const uint *)(m_first + m_first_offset))[slot];
            float16 x =
                floats16((__global const float *)(x_base + x_offset + row * x_stride) + k, n);
            for (uint j = 0; j < lane.n_mul; j++) {
                float16 v = x;
                if (lane.mul_v) v *= floats16(POOL_FLOATS(lane.mul_v) + (ulong)j * d_in + k, n);
                store16((__global float *)(v_base + v_offset) + (ulong)(first + j) * d_in + k, v,
                        n);
            }
        }
    }
}
