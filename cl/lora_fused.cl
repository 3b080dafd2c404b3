/* lora_fused.cl - SHRINK and EXPAND of a chunk in one work-item, for up to three weights that share
 * x (q, k and v; gate and up). CPU class only; the sums are those of lora_shrink.cl and
 * lora_expand.cl.
 *
 * Preconditions beyond theirs: no adapter of the batch has u, a core, a router or multiplies in
 * these weights. Grid (weights, chunks), groups of 1. Weight i has its lanes at l<i>, rows of y at
 * y<i> (stride s<i>) and d<i> outputs; no two weights share rows of y; its hidden vectors begin
 * hidden_floats * i floats into h. */
#pragma OPENCL FP_CONTRACT OFF
#include "lora_block.cl"

__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(float16))) void
lora_fused(__global const uchar *restrict pool, ulong pool_offset,
           __global const uchar *restrict lanes, ulong l0, ulong l1, ulong l2, WORK_ARGS,
           __global const uchar *restrict x_base, ulong x_offset, ulong x_stride,
           __global uchar *restrict h_base, ulong h_offset, ulong hidden_floats, uint hidden_stride,
           __global uchar *y0_base, ulong y0, __global uchar *y1_base, ulong y1,
           __global uchar *y2_base, ulong y2, ulong s0, ulong s1, ulong s2, uint d0, uint d1,
           uint d2, uint d_in)
{
    uint g = get_global_id(0);
    ulong lane_offset = g == 0 ? l0 : g == 1 ? l1 : l2;
    __global uchar *y = g == 0 ? y0_base + y0 : g == 1 ? y1_base + y1 : y2_base + y2;
    ulong y_stride = g == 0 ? s0 : g == 1 ? s1 : s2;
    uint d_out = g == 0 ? d0 : g == 1 ? d1 : d2;
    lora_chunk chunk = WORK_CHUNK(get_global_id(1));
    pool += pool_offset;
    rows_of rows = {&WORK_ROW(chunk.row_first),
                    &WORK_WEIGHT(chunk.hidden_first),
                    (__global float *)(h_base + h_offset) + g * hidden_floats +
                        (ulong)chunk.hidden_first * hidden_stride,
                    hidden_stride,
                    chunk.n_rows,
                    chunk.n_entries};
    for (uint e = 0; e < chunk.n_entries; e++) {
        lora_lane lane =
            ((__global const lora_lane *)(lanes + lane_offset))[WORK_ENTRY(chunk.entry_first + e)];
        for (rows_of rest = rows; rest.n_rows;) {
            uint n = block_rows(&rest, &lane, d_in, d_out);
            if (n) {
                shrink_blocks(&lane, pool, &rest, e, x_base + x_offset, x_stride, d_in, n);
                expand_blocks(&lane, pool, &rest, e, y, y_stride, d_out, n);
            } else {
                n = rest.n_rows;
                uint j0 = shrink_row(&lane, pool, &rest, e, x_base + x_offset, x_stride, d_in);
                for (; j0 < lane.rank; j0 += RANK_TILE)
                    shrink_ranks(&lane, pool, &rest, e, x_base + x_offset, x_stride, d_in, j0);
                /* so much of B stays near for all rows */
                for (uint o = 0; o < d_out && (lane.rank || lane.c); o += OUTPUTS)
                    expand_outputs(&lane, pool, &rest, e, rest.hidden, y, y_stride, d_out, o,
                                   min(o + OUTPUTS, d_out));
            }
            skip_rows(&rest, n);
        }
    }
}
