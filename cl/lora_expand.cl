/* lora_expand.cl - EXPAND: for every row of a work list, entries e in order,
 *   y = yb + sum_e w_e * ((u_e - 1) o yb + beta_e o (B_e^T h_e) + c_e)
 * and for a multiplicative entry
 *   w_e * (sum_j mul_u[j] o W (mul_v[j] o x) + c_e - yb)
 * with yb the base product that y holds on entry, and the W (mul_v[j] o x) given as rows of m (see
 * rowscale.cl).
 *
 * Order per output: t = sum_j h[j] B[j][o] by fma, j ascending from 0; then t * beta, + c,
 * fma(u - 1, yb, t), fma(w, t, y). Multiplicative: t = fma(mul_u, m, t), j ascending from 0; then + c,
 * - yb, fma(w, t, y). The same in both classes and for every chunk; with a weight of 0 a row has no
 * entry and is not touched.
 *
 * Grid. CPU class: (ceil(d_out / 256), chunks), groups of 1. GPU class: (ceil(d_out / 4) rounded up
 * to 64, chunks), groups of 64. hidden is f32 [n_hidden][hidden_stride]; where an adapter has a core
 * its h begins at g_offset of the same buffer. Any d_out; y rows of any stride (bytes, multiple of 4).
 */
#pragma OPENCL FP_CONTRACT OFF
#include "lora_types.cl"

#define LANE(adapter) (((__global const lora_lane *)(lanes + lane_offset))[adapter])
#define Y_ROW(m)      ((__global float *)(y_base + y_offset + (ulong)(m)*y_stride))
#define HIDDEN(lane, slot)                                                                         \
    ((__global const float *)(h_base + ((lane).core ? g_offset : h_offset)) +                      \
     (ulong)(slot)*hidden_stride)

#define EXPAND_ARGS                                                                                \
    __global const uchar *restrict pool, ulong pool_offset, __global const uchar *restrict lanes,  \
        ulong lane_offset, WORK_ARGS, __global const uchar *restrict h_base, ulong h_offset,       \
        ulong g_offset, uint hidden_stride, __global const uchar *restrict m_base, ulong m_offset, \
        __global const uchar *restrict m_first, ulong m_first_offset,                              \
        __global uchar *restrict y_base, ulong y_offset, ulong y_stride, uint d_out

#define EXPAND_PASS                                                                                \
    pool, pool_offset, lanes, lane_offset, work, chunk_offset, row_offset, entry_offset,           \
        weight_offset, h_base, h_offset, g_offset, hidden_stride, m_base, m_offset, m_first,       \
        m_first_offset, y_base, y_offset, y_stride, d_out

/* Row j of the expanded products of a slot. */
#define EXPANDED(slot, j)                                                                          \
    ((__global const float *)(m_base + m_offset) +                                                 \
     (ulong)(((__global const uint *)(m_first + m_first_offset))[slot] + (j)) * d_out)

#ifndef OCLORA_CLASS_GPU
#include "lora_cpu.cl"

/* Whether all entries of the chunk may be added one after the other without the base product. */
static inline bool is_additive(__global const lora_lane *lanes, __global const uint *entries, uint n)
{
    for (uint e = 0; e < n; e++)
        if (lanes[entries[e]].u || lanes[entries[e]].n_mul) return false;
    return true;
}

/* Any entries, 16 outputs at a time. */
static inline void expand_any(EXPAND_ARGS, lora_chunk chunk, uint first, uint end)
{
    for (uint i = 0; i < chunk.n_rows; i++) {
        __global float *y = Y_ROW(WORK_ROW(chunk.row_first + i));
        uint slot = chunk.hidden_first + i * chunk.n_entries;
        for (uint o = first; o < end; o += 16) {
            uint n = min(16u, end - o);
            float16 base = floats16(y + o, n), out = base;
            for (uint e = 0; e < chunk.n_entries; e++) {
                lora_lane lane = LANE(WORK_ENTRY(chunk.entry_first + e));
                if (!(lane.rank || lane.c || lane.u || lane.n_mul)) continue;
                float16 t = 0.0f;
                for (uint j = 0; j < lane.n_mul; j++) {
                    float16 m = floats16(EXPANDED(slot + e, j) + o, n);
                    float16 u = lane.mul_u
                                    ? floats16(POOL_FLOATS(lane.mul_u) + (ulong)j * d_out + o, n)
                                    : (float16)(1.0f);
                    t = fma(u, m, t);
                }
                if (!lane.n_mul)
                    t = expand16(&lane, pool + lane.b, HIDDEN(lane, slot + e), o, n, d_out);
                if (lane.beta) t *= floats16(POOL_FLOATS(lane.beta) + o, n);
                if (lane.c) t += floats16(POOL_FLOATS(lane.c) + o, n);
                if (lane.u) t = fma(floats16(POOL_FLOATS(lane.u) + o, n) - 1.0f, base, t);
                if (lane.n_mul) t -= base;
                out = fma((float16)(WORK_WEIGHT(slot + e)), t, out);
            }
            store16(y + o, out, n);
        }
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(float16))) void
lora_expand(EXPAND_ARGS)
{
    pool += pool_offset;
    lora_chunk chunk = WORK_CHUNK(get_global_id(1));
    uint first = get_global_id(0) * OUTPUTS, end = min(first + OUTPUTS, d_out);
    if (!is_additive(&LANE(0), &WORK_ENTRY(chunk.entry_first), chunk.n_entries)) {
        expand_any(EXPAND_PASS, chunk, first, end);
        return;
    }
    rows_of rows = {&WORK_ROW(chunk.row_first),
                    &WORK_WEIGHT(chunk.hidden_first),
                    0,
                    hidden_stride,
                    chunk.n_rows,
                    chunk.n_entries};
    for (uint e = 0; e < chunk.n_entries; e++) {
        lora_lane lane = LANE(WORK_ENTRY(chunk.entry_first + e));
        if (lane.rank || lane.c)
            expand_outputs(&lane, pool, &rows, e, HIDDEN(lane, chunk.hidden_first),
                           y_base + y_offset, y_stride, d_out, first, end);
    }
}
#else
#include "lora_gpu.cl"

/* What entry e of one row adds to t = B^T h (or to the expanded products), for outputs o .. o + n.
 */
static inline float4 finish4(const lora_lane *lane, __global const uchar *pool, float4 t, float4 base,
                      uint o, uint n)
{
    if (lane->beta) t *= floats4(POOL_FLOATS(lane->beta) + o, n);
    if (lane->c) t += floats4(POOL_FLOATS(lane->c) + o, n);
    if (lane->u) t = fma(floats4(POOL_FLOATS(lane->u) + o, n) - 1.0f, base, t);
    return lane->n_mul ? t - base : t;
}

/* A work-item owns four neighbouring outputs of all rows of its chunk. */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void lora_expand(EXPAND_ARGS)
{
    pool += pool_offset;
    /* The group's number, not the item's: so compilers see that all this is the same in a group. */
    lora_chunk chunk = WORK_CHUNK(get_group_id(1));
    uint o = get_global_id(0) * 4;
    if (o >= d_out) return;
    uint n = min(4u, d_out - o);
    for (uint i = 0; i < chunk.n_rows;) {
        uint count = chunk.n_rows - i >= ROW_TILE ? ROW_TILE : 1;
        float4 base[ROW_TILE], out[ROW_TILE], t[ROW_TILE];
        /* Constant bounds keep the arrays in registers; rows past `count` repeat the first. */
        UNROLL for (uint r = 0; r < ROW_TILE; r++)
            base[r] = out[r] =
                floats4(Y_ROW(WORK_ROW(chunk.row_first + i + (r < count ? r : 0))) + o, n);
        for (uint e = 0; e < chunk.n_entries; e++) {
            lora_lane lane = LANE(WORK_ENTRY(chunk.entry_first + e));
            if (!(lane.rank || lane.c || lane.u || lane.n_mul)) continue;
            uint slot = chunk.hidden_first + i * chunk.n_entries + e;
            __global const float *h = HIDDEN(lane, slot);
            const ulong step = (ulong)chunk.n_entries * hidden_stride;
            if (lane.n_mul)
                UNROLL for (uint r = 0; r < ROW_TILE; r++) {
                    t[r] = 0.0f;
                    if (r >= count) continue;
                    for (uint j = 0; j < lane.n_mul; j++)
                        t[r] = fma(lane.mul_u
                                       ? floats4(POOL_FLOATS(lane.mul_u) + (ulong)j * d_out + o, n)
                                       : (float4)(1.0f),
                                   floats4(EXPANDED(slot + r * chunk.n_entries, j) + o, n), t[r]);
                }
            else if (count == 1)
                expand_share_1(&lane, pool + lane.b, h, step, o, n, d_out, t);
            else
                expand_share_4(&lane, pool + lane.b, h, step, o, n, d_out, t);
            UNROLL for (uint r = 0; r < ROW_TILE; r++)
                if (r < count) out[r] = fma((float4)(WORK_WEIGHT(slot + r * chunk.n_entries)),
                             finish4(&lane, pool, t[r], base[r], o, n), out[r]);
        }
        UNROLL for (uint r = 0; r < ROW_TILE; r++) {
            if (r >= count) continue;
            __global float *y = Y_ROW(WORK_ROW(chunk.row_first + i + r)) + o;
            if (n == 4)
                vstore4(out[r], 0, y);
            else {
                float v[4];
                vstore4(out[r], 0, v);
                UNROLL for (uint j = 0; j < 4; j++)
                    if (j < n) y[j] = v[j];
            }
        }
        i += count;
    }
}
#endif
