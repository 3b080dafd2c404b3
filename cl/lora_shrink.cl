/* lora_shrink.cl - SHRINK: hidden[slot][j] = scale[j] * sum_k A[j][k] (P x)[k] for every hidden
 * slot (chunk, row, entry) of a work list and every rank row j of the slot's adapter; P sums
 * `group` neighbours. lora_core then applies h' = M h where an adapter has a core.
 *
 * Order per (row, rank row), whatever the chunk: CPU class, 16 partial sums by k mod 16; GPU class, 64
 * partial sums, number l of the inputs 4 (l + 64 i) .. + 3. Each k ascending, added as a tree.
 *
 * Grid. CPU class: (rank tiles of 4, chunks), groups of 1. GPU class: (64 * rank tiles, chunks),
 * groups of 64. `lanes` begins at the weight's first lane. hidden is f32 [n_hidden][hidden_stride],
 * and hidden_stride >= every rank in use. Slots of adapters that leave the weight alone are not
 * written. Any d_in that is a multiple of the group; x rows of any stride (bytes, multiple of 4).
 */
#pragma OPENCL FP_CONTRACT OFF
#include "lora_types.cl"

#define SHRINK_ARGS                                                                                \
    __global const uchar *restrict pool, ulong pool_offset, __global const uchar *restrict lanes,  \
        ulong lane_offset, WORK_ARGS, __global const uchar *restrict x_base, ulong x_offset,       \
        ulong x_stride, __global uchar *restrict h_base, ulong h_offset, uint hidden_stride,       \
        uint d_in

#define LANE(adapter) (((__global const lora_lane *)(lanes + lane_offset))[adapter])
#define X_ROW(m)      ((__global const float *)(x_base + x_offset + (ulong)(m)*x_stride))
#define HIDDEN(slot)  ((__global float *)(h_base + h_offset) + (ulong)(slot)*hidden_stride)

#ifndef OCLORA_CLASS_GPU
#include "lora_cpu.cl"

__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(float16))) void
lora_shrink(SHRINK_ARGS)
{
    pool += pool_offset;
    lora_chunk chunk = WORK_CHUNK(get_global_id(1));
    uint j0 = get_global_id(0) * RANK_TILE;
    rows_of rows = {&WORK_ROW(chunk.row_first),
                    &WORK_WEIGHT(chunk.hidden_first),
                    HIDDEN(chunk.hidden_first),
                    hidden_stride,
                    chunk.n_rows,
                    chunk.n_entries};
    for (uint e = 0; e < chunk.n_entries; e++) {
        lora_lane lane = LANE(WORK_ENTRY(chunk.entry_first + e));
        if (j0 < lane.rank)
            shrink_ranks(&lane, pool, &rows, e, x_base + x_offset, x_stride, d_in, j0);
    }
}
#else
#include "lora_gpu.cl"

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void lora_shrink(SHRINK_ARGS)
{
    __local float partial[ROW_TILE * RANK_TILE][GROUP];
    pool += pool_offset;
    lora_chunk chunk = WORK_CHUNK(get_group_id(1));
    uint j0 = get_group_id(0) * RANK_TILE, l = get_local_id(0);
    for (uint e = 0; e < chunk.n_entries; e++) {
        lora_lane lane = LANE(WORK_ENTRY(chunk.entry_first + e));
        if (j0 >= lane.rank) continue; /* the same for the whole group */
        uint n = d_in / lane.group, n_j = min((uint)RANK_TILE, lane.rank - j0);
        __global const uchar *a_row[RANK_TILE];
        UNROLL for (uint j = 0; j < RANK_TILE; j++)
            a_row[j] = pool + lane.a + (j0 + min(j, n_j - 1)) * factor_row_bytes(lane.type_a, n);
        for (uint i = 0; i < chunk.n_rows;) {
            uint count = chunk.n_rows - i >= ROW_TILE ? ROW_TILE : 1;
            __global const float *x_row[ROW_TILE];
            float sums[ROW_TILE * RANK_TILE];
            /* Constant bounds keep the arrays in registers; rows past `count` repeat the first. */
            UNROLL for (uint r = 0; r < ROW_TILE; r++)
                x_row[r] = X_ROW(WORK_ROW(chunk.row_first + i + (r < count ? r : 0)));
            if (count == 1)
                shrink_share_1(&lane, a_row, x_row, n, l, sums);
            else
                shrink_share_4(&lane, a_row, x_row, n, l, sums);
            UNROLL for (uint s = 0; s < ROW_TILE * RANK_TILE; s++)
                if (s < count * RANK_TILE) partial[s][l] = sums[s];
            barrier(CLK_LOCAL_MEM_FENCE);
            for (uint half_size = GROUP / 2; half_size; half_size /= 2) {
                for (uint s = 0; s < count * RANK_TILE && l < half_size; s++)
                    partial[s][l] += partial[s][l + half_size];
                barrier(CLK_LOCAL_MEM_FENCE);
            }
            uint r = l / RANK_TILE, j = l % RANK_TILE;
            if (r < count && j < n_j) {
                uint slot = chunk.hidden_first + (i + r) * chunk.n_entries + e;
                HIDDEN(slot)[j0 + j] = POOL_FLOATS(lane.scale)[j0 + j] * partial[l][0];
            }
            barrier(CLK_LOCAL_MEM_FENCE);
            i += count;
        }
    }
}
#endif

/* h'[slot] = M h[slot] for slots whose adapter has a core, k ascending; others are left as they are
 * (the reader looks at lane.core too). One work-item per (rank row, chunk); h' begins at g_offset
 * of h. */
__kernel void lora_core(__global const uchar *restrict pool, ulong pool_offset,
                        __global const uchar *restrict lanes, ulong lane_offset, WORK_ARGS,
                        __global uchar *h_base, ulong h_offset, ulong g_offset, uint hidden_stride)
{
    pool += pool_offset;
    lora_chunk chunk = WORK_CHUNK(get_global_id(1));
    uint j = get_global_id(0);
    for (uint e = 0; e < chunk.n_entries; e++) {
        lora_lane lane = LANE(WORK_ENTRY(chunk.entry_first + e));
        if (!lane.core || j >= lane.rank) continue;
        __global const float *core = POOL_FLOATS(lane.core) + (ulong)j * lane.rank;
        for (uint i = 0; i < chunk.n_rows; i++) {
            uint slot = chunk.hidden_first + i * chunk.n_entries + e;
            __global const float *h = HIDDEN(slot);
            float sum = 0.0f;
            for (uint k = 0; k < lane.rank; k++) sum = fma(core[k], h[k], sum);
            *((__global float *)(h_base + g_offset) + (ulong)slot * hidden_stride + j) = sum;
        }
    }
}
