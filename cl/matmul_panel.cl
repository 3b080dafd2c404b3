/* matmul_panel.cl - y[m][o] = sum_k x[m][k] * w[o][k] over a base weight in PANEL layout
 * (host/base/layout.h), f32 in and out, for any number of rows.
 *
 * Variants: -DTYPE=n as in panel_types.cl. CPU class: panel_rows with -DMR=1, 4 or 8 rows a work-item
 * and -DNV panels of 16 outputs; panel_tile for many rows. GPU class: the same entries, a group of 16
 * outputs by 8 slices, and a local-memory tile.
 *
 * Order. CPU class: one accumulator per output, k ascending, fma(x, w, acc). GPU class: the inputs
 * are cut into 8 slices of whole blocks, each summed as above, and the slices are added in order.
 * Both hold for every entry and row count, so a row's result does not depend on the others.
 *
 * Preconditions: d_in % 32 == 0 (K types: 256), d_out % 16 == 0, offsets and row strides (in bytes)
 * multiples of 4 (w's offset of 2), y apart from x and w. Rows past n_rows and panels past the last
 * are never touched. Many-row entries park running sums in y. */
#pragma OPENCL FP_CONTRACT OFF
#include "panel_types.cl"
#ifndef KP
#define KP 288 /* inputs of a dequantised tile; a multiple of 32 */
#endif

#define MATMUL_ARGS                                                                                \
    __global const uchar *restrict w_base, ulong w_offset, ulong d_plane, ulong m_plane,           \
        __global const uchar *restrict x_base, ulong x_offset, ulong x_stride,                     \
        __global uchar *restrict y_base, ulong y_offset, ulong y_stride, uint d_in, uint d_out,    \
        uint n_rows

#define X_ROW(m) ((__global const float *)(x_base + x_offset + (ulong)(m)*x_stride))
#define Y_ROW(m) ((__global float *)(y_base + y_offset + (ulong)(m)*y_stride))

#ifndef OCLORA_CLASS_GPU
#define ACCUMULATE(k, w)                                                                           \
    UNROLL for (int r = 0; r < MR; r++)                                                            \
    {                                                                                              \
        float16 xr = (float16)(x[r][k]);                                                           \
        UNROLL for (int v = 0; v < NV; v++) acc[r][v] = fma(xr, w[v], acc[r][v]);                  \
    }

#define ZERO_SUMS                                                                                  \
    UNROLL for (int r = 0; r < MR; r++) UNROLL for (int v = 0; v < NV; v++) acc[r][v] = 0.0f;
#define STORE_SUMS(p0, m0, m_end)                                                                  \
    UNROLL for (int r = 0; r < MR; r++) if ((m0) + r < (m_end)) UNROLL for (int v = 0; v < NV;     \
                                                                            v++)                   \
        vstore16(acc[r][v], (p0) + v, Y_ROW((m0) + r));

/* NV panels from p0 on, rows [m0, m0 + MR). A short last tile computes its last row again. */
#define PANEL_ROWS(p0, m0)                                                                         \
    PANEL_POINTERS(p0)                                                                             \
    __global const float *x[MR];                                                                   \
    float16 acc[MR][NV];                                                                           \
    UNROLL for (int r = 0; r < MR; r++) x[r] = X_ROW(min((m0) + r, n_rows - 1));                   \
    ZERO_SUMS                                                                                      \
    for (uint b = 0; b < d_in / 32; b++) {                                                         \
        BLOCK32(b, q, ACCUMULATE)                                                                  \
    }                                                                                              \
    STORE_SUMS(p0, m0, n_rows)

#define STORE_TILE(k, w) UNROLL for (int v = 0; v < NV; v++) tile[((k)-k0) * NV + v] = w[v];

/* As above for rows [m_first, m_end): each tile of inputs is converted once for all of them. */
#define PANEL_TILE(p0, m_first, m_end)                                                             \
    PANEL_POINTERS(p0)                                                                             \
    for (uint k0 = 0; k0 < d_in; k0 += KP) {                                                       \
        uint kn = min((uint)KP, d_in - k0);                                                        \
        for (uint b = k0 / 32; b < (k0 + kn) / 32; b++) {                                          \
            BLOCK32(b, q, STORE_TILE)                                                              \
        }                                                                                          \
        for (uint m0 = m_first; m0 < m_end; m0 += MR) {                                            \
            __global const float *x[MR];                                                           \
            float16 acc[MR][NV];                                                                   \
            UNROLL for (int r = 0; r < MR; r++) x[r] = X_ROW(min(m0 + r, m_end - 1)) + k0;         \
            ZERO_SUMS                                                                              \
            if (k0) UNROLL for (int r = 0; r < MR; r++) UNROLL for (int v = 0; v < NV; v++)        \
                acc[r][v] = vload16(p0 + v, Y_ROW(min(m0 + r, m_end - 1)));                        \
            UNROLL4 for (uint k = 0; k < kn; k++)                                                  \
            {                                                                                      \
                float16 w[NV];                                                                     \
                UNROLL for (int v = 0; v < NV; v++) w[v] = tile[k * NV + v];                       \
                ACCUMULATE(k, w)                                                                   \
            }                                                                                      \
            STORE_SUMS(p0, m0, m_end)                                                              \
        }                                                                                          \
    }

/* Global size (ceil(n_rows / MR), panels / NV): tiles of one panel's rows lie side by side, while
 * its weights are near. d_out % (16 NV) == 0 here: the host gives leftover panels to a launch of
 * NV = 1 at a panel offset. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(float16))) void
panel_rows(MATMUL_ARGS, uint panel_first)
{
    uint m0 = get_global_id(0) * MR;
    ulong p0 = panel_first + get_global_id(1) * NV;
    PANEL_ROWS(p0, m0)
}

/* Global size (panels / NV, ceil(n_rows / block_rows)): panels of one block lie side by side, while
 * its x is near. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(float16))) void
panel_tile(MATMUL_ARGS, uint panel_first, uint block_rows)
{
    __local float16 tile[KP * NV];
    ulong p0 = panel_first + get_global_id(0) * NV;
    uint m_first = get_global_id(1) * block_rows, m_end = min(m_first + block_rows, n_rows);
    PANEL_TILE(p0, m_first, m_end)
}

#else /* GPU class */

enum { SLICES = 8 };

/* Inputs of slice s are [s * slice_inputs, (s + 1) * slice_inputs), cut at d_in. */
static inline uint slice_inputs(uint d_in)
{
    return (d_in / 32 + SLICES - 1) / SLICES * 32;
}

/* Groups of (16 outputs, 8 slices); group id (panel, tile of MR rows). */
__kernel __attribute__((reqd_work_group_size(16, SLICES, 1))) void panel_rows(MATMUL_ARGS)
{
    __local float partial[SLICES][MR][16];
    uint row = get_local_id(0), slice = get_local_id(1);
    ulong p = get_group_id(0);
    uint m0 = get_group_id(1) * MR, step = slice_inputs(d_in);
    PANEL_PLANES(p)
    __global const float *x[MR];
    float acc[MR];
    for (int r = 0; r < MR; r++) {
        x[r] = X_ROW(min(m0 + r, n_rows - 1));
        acc[r] = 0.0f;
    }
    uint end = min((slice + 1) * step, d_in);
    for (uint k = slice * step; k < end; k += 2) { /* two nibbles of one byte */
        float w = PANEL_WEIGHT(k, row);
        float w1 = PANEL_WEIGHT(k + 1, row);
        for (int r = 0; r < MR; r++) acc[r] = fma(x[r][k + 1], w1, fma(x[r][k], w, acc[r]));
    }
    for (int r = 0; r < MR; r++) partial[slice][r][row] = acc[r];
    barrier(CLK_LOCAL_MEM_FENCE);
    uint used = (d_in + step - 1) / step; /* the last slices of a small d_in are empty */
    for (uint r = slice; r < MR; r += SLICES) {
        float sum = partial[0][r][row];
        for (uint s = 1; s < used; s++) sum += partial[s][r][row];
        if (m0 + r < n_rows) Y_ROW(m0 + r)[p * 16 + row] = sum;
    }
}

enum { TILE_ROWS = 32, TILE_INPUTS = 32 };

/* Groups of (16 outputs, 8): a tile of 32 rows by 16 outputs, four rows a work-item; group id
 * (panel, tile). A slice is a whole number of 32-input steps. */
__kernel __attribute__((reqd_work_group_size(16, 8, 1))) void panel_tile(MATMUL_ARGS)
{
    __local float xs[TILE_ROWS][TILE_INPUTS + 1], ws[TILE_INPUTS][16];
    uint row = get_local_id(0), lane = get_local_id(1), local_id = lane * 16 + row;
    ulong p = get_group_id(0);
    uint m0 = get_group_id(1) * TILE_ROWS, step = slice_inputs(d_in);
    PANEL_PLANES(p)
    float total[4], acc[4];
    for (int r = 0; r < 4; r++) total[r] = acc[r] = 0.0f;
    for (uint k0 = 0; k0 < d_in; k0 += TILE_INPUTS) {
        for (uint i = local_id; i < TILE_ROWS * TILE_INPUTS; i += 128)
            xs[i / TILE_INPUTS][i % TILE_INPUTS] =
                X_ROW(min(m0 + i / TILE_INPUTS, n_rows - 1))[k0 + i % TILE_INPUTS];
        for (uint k = lane; k < TILE_INPUTS; k += 8)
            ws[k][row] = PANEL_WEIGHT(k0 + k, row);
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint k = 0; k < TILE_INPUTS; k++) {
            float w = ws[k][row];
            for (int r = 0; r < 4; r++) acc[r] = fma(xs[lane * 4 + r][k], w, acc[r]);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        uint next = k0 + TILE_INPUTS;
        if (next % step == 0 || next == d_in) {
            for (int r = 0; r < 4; r++) {
                total[r] = next <= step ? acc[r] : total[r] + acc[r];
                acc[r] = 0.0f;
            }
        }
    }
    for (int r = 0; r < 4; r++)
        if (m0 + lane * 4 + r < n_rows) Y_ROW(m0 + lane * 4 + r)[p * 16 + row] = total[r];
}
#endif
