/* matmul_panel_group.cl - up to three products of the same rows by weights of one type and layout, for
 * few rows: panel_rows and panel_tile of matmul_panel.cl (same variants, same order of summation, same
 * bits) with the outputs of all weights in the panels' dimension.
 *
 * Tiles of NV panels (GPU class: of one) of weight 0 come first, then tiles_1 of weight 1, then those of
 * weight 2. Preconditions as there, panels of every weight a multiple of NV; results apart from x, the
 * weights and each other. */
#include "matmul_panel.cl"

#define GROUP_WEIGHT(i)                                                                            \
    __global const uchar *restrict w_base##i, ulong w_offset##i, ulong d_plane##i,                 \
        ulong m_plane##i, __global uchar *restrict y_base##i, ulong y_offset##i, ulong y_stride##i

#define GROUP_ARGS                                                                                 \
    GROUP_WEIGHT(0), GROUP_WEIGHT(1), GROUP_WEIGHT(2), __global const uchar *restrict x_base,      \
        ulong x_offset, ulong x_stride, uint d_in, uint n_rows, uint tiles_0, uint tiles_1

#define GROUP_SELECT(tile)                                                                         \
    uint which = (tile) < tiles_0 ? 0 : (tile) < tiles_0 + tiles_1 ? 1 : 2;                        \
    uint at = (tile) - (which > 0 ? tiles_0 : 0) - (which > 1 ? tiles_1 : 0);                      \
    __global const uchar *w_base = which == 0 ? w_base0 : which == 1 ? w_base1 : w_base2;          \
    __global uchar *y_base = which == 0 ? y_base0 : which == 1 ? y_base1 : y_base2;                \
    ulong w_offset = which == 0 ? w_offset0 : which == 1 ? w_offset1 : w_offset2;                  \
    ulong d_plane = which == 0 ? d_plane0 : which == 1 ? d_plane1 : d_plane2;                      \
    ulong m_plane = which == 0 ? m_plane0 : which == 1 ? m_plane1 : m_plane2;                      \
    ulong y_offset = which == 0 ? y_offset0 : which == 1 ? y_offset1 : y_offset2;                  \
    ulong y_stride = which == 0 ? y_stride0 : which == 1 ? y_stride1 : y_stride2;

#ifndef OCLORA_CLASS_GPU

__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(float16))) void
panel_rows_group(GROUP_ARGS)
{
    uint m0 = get_global_id(0) * MR;
    GROUP_SELECT((uint)get_global_id(1))
    ulong p0 = (ulong)at * NV;
    PANEL_ROWS(p0, m0)
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(float16))) void
panel_tile_group(GROUP_ARGS)
{
    __local float16 tile[KP * NV];
    GROUP_SELECT((uint)get_global_id(0))
    ulong p0 = (ulong)at * NV;
    PANEL_TILE(p0, 0, n_rows)
}

#else

__kernel __attribute__((reqd_work_group_size(16, SLICES, 1))) void panel_rows_group(GROUP_ARGS)
{
    __local float partial[SLICES][MR][16];
    uint row = get_local_id(0), slice = get_local_id(1);
    uint m0 = get_group_id(1) * MR, step = slice_inputs(d_in);
    GROUP_SELECT((uint)get_group_id(0))
    ulong p = at;
    PANEL_PLANES(p)
    __global const float *x[MR];
    float acc[MR];
    for (int r = 0; r < MR; r++) {
        x[r] = X_ROW(min(m0 + r, n_rows - 1));
        acc[r] = 0.0f;
    }
    uint end = min((slice + 1) * step, d_in);
    for (uint k = slice * step; k < end; k++) {
        float w = PANEL_WEIGHT(k, row);
        for (int r = 0; r < MR; r++) acc[r] = fma(x[r][k], w, acc[r]);
    }
    for (int r = 0; r < MR; r++) partial[slice][r][row] = acc[r];
    barrier(CLK_LOCAL_MEM_FENCE);
    uint used = (d_in + step - 1) / step;
    for (uint r = slice; r < MR; r += SLICES) {
        float sum = partial[0][r][row];
        for (uint s = 1; s < used; s++) sum += partial[s][r][row];
        if (m0 + r < n_rows) Y_ROW(m0 + r)[p * 16 + row] = sum;
    }
}

#endif
