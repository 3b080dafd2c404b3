/* lora_cpu.cl - SHRINK and EXPAND for CPU-class devices: one work-item, explicit vectors, tiles of
 * 4 rows by 4 rank rows (shrink) and 4 rows by 64 outputs (expand), or one row by several rank
 * rows. Included by the LoRA kernels; compiles alone. What each sum's order is stands in
 * lora_shrink.cl and lora_expand.cl; every tile keeps it, so results do not depend on which was
 * taken. */
#pragma OPENCL FP_CONTRACT OFF
#include "lora_types.cl"

#define UNROLL _Pragma("unroll")
enum { ROW_TILE = 4, RANK_TILE = 4, OUTPUT_TILE = 64, OUTPUTS = 256 };
enum { SWEEP = 64 }; /* vectors of outputs that one row goes along */

/* Vectors of sums that are held in registers: 16, or 8 where such a vector is two of 16. */
#ifndef SUMS
#define SUMS 16
#endif
enum { PASS = SUMS == 16 ? 4 : 2, MOST = SUMS, LEAST = SUMS / 2 };
enum { ALONG = SUMS == 16 ? 4 : 1 }; /* vectors of a factor that four rows share at a time */

/* (P x)[k]: the sum over a group of neighbouring inputs, ascending. */
static inline float grouped_input(__global const float *x, uint k, uint group)
{
    float sum = x[(ulong)k * group];
    for (uint g = 1; g < group; g++) sum += x[(ulong)k * group + g];
    return sum;
}

static inline float16 grouped16(__global const float *x, uint k, uint n, uint group)
{
    float values[16];
    _Pragma("unroll 1") for (uint i = 0; i < 16; i++) values[i] =
        i < n ? grouped_input(x, k + i, group) : 0.0f;
    return vload16(0, values);
}

/* The sums of four vectors, each halved four times. */
static inline float4 sums16(float16 a, float16 b, float16 c, float16 d)
{
    float8 a8 = a.lo + a.hi, b8 = b.lo + b.hi, c8 = c.lo + c.hi, d8 = d.lo + d.hi;
    float4 a4 = a8.lo + a8.hi, b4 = b8.lo + b8.hi, c4 = c8.lo + c8.hi, d4 = d8.lo + d8.hi;
    float4 x = (float4)(a4.x, b4.x, c4.x, d4.x), y = (float4)(a4.y, b4.y, c4.y, d4.y);
    float4 z = (float4)(a4.z, b4.z, c4.z, d4.z), w = (float4)(a4.w, b4.w, c4.w, d4.w);
    return (x + z) + (y + w);
}

#define LOAD_F32(row, i) vload16(0, (__global const float *)(row) + (i))
#define LOAD_F16(row, i) vload_half16(0, (__global const half *)(row) + (i))
#define LOAD_ANY(row, i) factor_values16(type, row, i)

/* partial[r * 4 + j] = the 16 partial sums of A[j][k] x[r][k], k < n / 16 * 16, for R rows and 4
 * rank rows, RP and JP of them at a time; a_row[j] and x_row[r] are rows. */
#define SHRINK_TILE(name, R, RP, JP, LOAD)                                                         \
    static inline void name(uint type, __global const uchar *const *a_row,                         \
                            __global const float *const *x_row, uint n, float16 *partial)          \
    {                                                                                              \
        for (uint r0 = 0; r0 < R; r0 += RP)                                                        \
            for (uint j0 = 0; j0 < RANK_TILE; j0 += JP) {                                          \
                float16 s[RP][JP];                                                                 \
                UNROLL for (int r = 0; r < RP; r++) UNROLL for (int j = 0; j < JP; j++) s[r][j] =  \
                    0.0f;                                                                          \
                for (uint k = 0; k + 16 <= n; k += 16) {                                           \
                    float16 a[JP];                                                                 \
                    UNROLL for (int j = 0; j < JP; j++) a[j] = LOAD(a_row[j0 + j], k);             \
                    UNROLL for (int r = 0; r < RP; r++)                                            \
                    {                                                                              \
                        float16 x = vload16(0, x_row[r0 + r] + k);                                 \
                        UNROLL for (int j = 0; j < JP; j++) s[r][j] = fma(x, a[j], s[r][j]);       \
                    }                                                                              \
                }                                                                                  \
                UNROLL for (int r = 0; r < RP; r++) UNROLL for (int j = 0; j < JP; j++)            \
                    partial[(r0 + r) * RANK_TILE + j0 + j] = s[r][j];                              \
            }                                                                                      \
    }

SHRINK_TILE(shrink_1_f32, 1, 1, 4, LOAD_F32)
SHRINK_TILE(shrink_1_f16, 1, 1, 4, LOAD_F16)
SHRINK_TILE(shrink_1_any, 1, 1, 4, LOAD_ANY)
SHRINK_TILE(shrink_4_f32, 4, PASS, PASS, LOAD_F32)
SHRINK_TILE(shrink_4_f16, 4, PASS, PASS, LOAD_F16)
SHRINK_TILE(shrink_4_any, 4, PASS, PASS, LOAD_ANY)

/* Goes on with inputs k0 .. n, of any group. */
static inline void shrink_rest(uint type, __global const uchar *const *a_row,
                               __global const float *const *x_row, uint n_rows, uint k0, uint n,
                               uint group, float16 *partial)
{
    _Pragma("unroll 1") for (uint k = k0; k < n; k += 16)
    {
        uint left = min(16u, n - k);
        _Pragma("unroll 1") for (uint r = 0; r < n_rows; r++)
        {
            float16 x = grouped16(x_row[r], k, left, group);
            _Pragma("unroll 1") for (uint j = 0; j < RANK_TILE; j++)
            {
                float16 a = left == 16 ? factor_values16(type, a_row[j], k)
                                       : factor_tail16(type, a_row[j], k, left);
                uint at = r * RANK_TILE + j;
                partial[at] = fma(x, a, partial[at]);
            }
        }
    }
}

/* out[r][o .. o + 16 V) += w[r] * (beta o sum_j h[r][j] B[j] + c) for R rows, RP of them and VP
 * vectors at a time; whole vectors only. */
#define EXPAND_TILE(name, R, V, RP, VP, LOAD)                                                      \
    static inline void name(const lora_lane *lane, __global const uchar *pool,                     \
                            __global const float *const *h_row, const float *w,                    \
                            __global float *const *y_row, uint o_first, uint d_out)                \
    {                                                                                              \
        uint type = lane->type_b;                                                                  \
        ulong row_bytes = factor_row_bytes(type, d_out);                                           \
        for (uint r0 = 0; r0 < R; r0 += RP)                                                        \
            for (uint o = o_first; o < o_first + 16 * V; o += 16 * VP) {                           \
                __global const uchar *b_row = pool + lane->b;                                      \
                float16 t[RP][VP];                                                                 \
                UNROLL for (int r = 0; r < RP; r++) UNROLL for (int v = 0; v < VP; v++) t[r][v] =  \
                    0.0f;                                                                          \
                for (uint j = 0; j < lane->rank; j++, b_row += row_bytes) {                        \
                    float16 h[RP];                                                                 \
                    UNROLL for (int r = 0; r < RP; r++) h[r] = (float16)(h_row[r0 + r][j]);        \
                    UNROLL for (int v = 0; v < VP; v++)                                            \
                    {                                                                              \
                        float16 b = LOAD(b_row, o + 16 * v);                                       \
                        UNROLL for (int r = 0; r < RP; r++) t[r][v] = fma(h[r], b, t[r][v]);       \
                    }                                                                              \
                }                                                                                  \
                UNROLL for (int r = 0; r < RP; r++) UNROLL for (int v = 0; v < VP; v++)            \
                {                                                                                  \
                    __global float *out = y_row[r0 + r] + o;                                       \
                    if (lane->beta) t[r][v] *= vload16(v, POOL_FLOATS(lane->beta) + o);            \
                    if (lane->c) t[r][v] += vload16(v, POOL_FLOATS(lane->c) + o);                  \
                    vstore16(fma((float16)(w[r0 + r]), t[r][v], vload16(v, out)), v, out);         \
                }                                                                                  \
            }                                                                                      \
    }

EXPAND_TILE(expand_1_any, 1, 4, 1, 4, LOAD_ANY)
EXPAND_TILE(expand_4_f32, 4, 4, ROW_TILE, ALONG, LOAD_F32)
EXPAND_TILE(expand_4_f16, 4, 4, ROW_TILE, ALONG, LOAD_F16)
EXPAND_TILE(expand_4_any, 4, 4, ROW_TILE, ALONG, LOAD_ANY)

/* One row alone takes MOST or LEAST factor rows of f32, or 8 of f16, side by side and reads them
 * along: from memory, waits at the begin of a page are shared by so many streams, where across the
 * rows the caches' ways and prefetchers fail. Rows of a width like 4096 all lie in the same few
 * lines of the first cache, so a step takes a whole line of each, 64 bytes: V vectors. Half of one
 * would be gone before the other. */

/* h[j] = scale[j] * sum_k A[j][k] x[k] for J factor rows of whole vectors. */
#define SHRINK_STEP(J, LOAD, V)                                                                    \
    for (; k + 16 * V <= n; k += 16 * V) {                                                         \
        float16 v[V];                                                                              \
        UNROLL for (int u = 0; u < V; u++) v[u] = vload16(u, x + k);                               \
        UNROLL for (int j = 0; j < J; j++) UNROLL for (int u = 0; u < V; u++) s[j] =               \
            fma(v[u], LOAD(a + j * row, k + 16 * u), s[j]);                                        \
    }
#define SHRINK_ROW(name, J, LOAD, V)                                                               \
    static inline void name(__global const uchar *a, ulong row, __global const float *x, uint n,   \
                            __global const float *scale, __global float *h)                        \
    {                                                                                              \
        float16 s[J];                                                                              \
        uint k = 0;                                                                                \
        UNROLL for (int j = 0; j < J; j++) s[j] = 0.0f;                                            \
        SHRINK_STEP(J, LOAD, V)                                                                    \
        SHRINK_STEP(J, LOAD, 1)                                                                    \
        UNROLL for (int j = 0; j < J; j += 4)                                                      \
            vstore4(vload4(0, scale + j) * sums16(s[j], s[j + 1], s[j + 2], s[j + 3]), 0, h + j);  \
    }

/* t[i] += sum_j h[j] B[j][16 i ..] for J factor rows and n vectors. */
#define EXPAND_STEP(J, LOAD, V)                                                                    \
    for (; i + V <= n; i += V) {                                                                   \
        float16 s[V];                                                                              \
        UNROLL for (int u = 0; u < V; u++) s[u] = t[i + u];                                        \
        UNROLL for (int j = 0; j < J; j++) UNROLL for (int u = 0; u < V; u++) s[u] =               \
            fma((float16)(h[j]), LOAD(b + j * row, 16 * (i + u)), s[u]);                           \
        UNROLL for (int u = 0; u < V; u++) t[i + u] = s[u];                                        \
    }
#define EXPAND_ROW(name, J, LOAD, V)                                                               \
    static inline void name(__global const uchar *b, ulong row, __global const float *h, uint n,   \
                            float16 *t)                                                            \
    {                                                                                              \
        uint i = 0;                                                                                \
        EXPAND_STEP(J, LOAD, V)                                                                    \
        EXPAND_STEP(J, LOAD, 1)                                                                    \
    }

SHRINK_ROW(shrink_most_f32, MOST, LOAD_F32, 1)
SHRINK_ROW(shrink_8_f16, 8, LOAD_F16, 2)
SHRINK_ROW(shrink_least_f32, LEAST, LOAD_F32, 1)
SHRINK_ROW(shrink_least_f16, LEAST, LOAD_F16, 2)
EXPAND_ROW(expand_16_rows_f32, 16, LOAD_F32, 1)
EXPAND_ROW(expand_8_rows_f32, 8, LOAD_F32, 1)
EXPAND_ROW(expand_8_rows_f16, 8, LOAD_F16, 2)
EXPAND_ROW(expand_a_row_f32, 1, LOAD_F32, 1)
EXPAND_ROW(expand_a_row_f16, 1, LOAD_F16, 1)

/* t[0 .. n) = sum_j h[j] B[j], of vectors that begin at b in B's first row. */
static inline void expand_sums(uint type, uint rank, __global const uchar *b, ulong row,
                               __global const float *h, uint n, float16 *t)
{
    uint j = 0;
    for (uint i = 0; i < n; i++) t[i] = 0.0f;
    for (; type == TYPE_F32 && j + 16 <= rank; j += 16, b += 16 * row)
        expand_16_rows_f32(b, row, h + j, n, t);
    for (; j + 8 <= rank; j += 8, b += 8 * row)
        if (type == TYPE_F16)
            expand_8_rows_f16(b, row, h + j, n, t);
        else
            expand_8_rows_f32(b, row, h + j, n, t);
    for (; j < rank; j++, b += row)
        if (type == TYPE_F16)
            expand_a_row_f16(b, row, h + j, n, t);
        else
            expand_a_row_f32(b, row, h + j, n, t);
}

/* out[o .. end) += w * (beta o sum_j h[j] B[j] + c) for one row, whole vectors, f32 or f16. */
static inline void expand_row(const lora_lane *lane, __global const uchar *pool,
                              __global const float *h, float w, __global float *y, uint o_first,
                              uint end, uint d_out)
{
    float16 t[SWEEP];
    ulong row = factor_row_bytes(lane->type_b, d_out);
    for (uint o = o_first; o < end; o += 16 * SWEEP) {
        uint n = min(end - o, 16u * SWEEP) / 16;
        expand_sums(lane->type_b, lane->rank,
                    pool + lane->b + (ulong)o * (lane->type_b == TYPE_F16 ? 2 : 4), row, h, n, t);
        for (uint i = 0; i < n; i++) {
            float16 s = t[i];
            if (lane->beta) s *= vload16(i, POOL_FLOATS(lane->beta) + o);
            if (lane->c) s += vload16(i, POOL_FLOATS(lane->c) + o);
            vstore16(fma((float16)(w), s, vload16(i, y + o)), i, y + o);
        }
    }
}

/* sum_j h[j] B[j][o .. o + n), n <= 16. */
static inline float16 expand16(const lora_lane *lane, __global const uchar *b,
                               __global const float *h, uint o, uint n, uint d_out)
{
    ulong row = factor_row_bytes(lane->type_b, d_out);
    float16 sum = 0.0f;
    if (n == 16)
        for (uint j = 0; j < lane->rank; j++, b += row)
            sum = fma((float16)(h[j]), factor_values16(lane->type_b, b, o), sum);
    else
        for (uint j = 0; j < lane->rank; j++, b += row)
            sum = fma((float16)(h[j]), factor_tail16(lane->type_b, b, o, n), sum);
    return sum;
}

/* The rows a chunk works on, and what they share. */
typedef struct rows_of {
    __global const uint *index;   /* of x and y, per row of the chunk */
    __global const float *weight; /* per hidden slot of the chunk */
    __global float *hidden;       /* of the chunk's first slot */
    uint hidden_stride;
    uint n_rows;
    uint n_entries;
} rows_of;

/* Slot of (row i, entry e) within the chunk. */
#define SLOT(rows, i, e)       ((i) * (rows)->n_entries + (e))
#define HIDDEN_ROW(rows, slot) ((rows)->hidden + (ulong)(slot) * (rows)->hidden_stride)

/* h[j] = scale[j] * the sum of partial[j], j < n <= 4. */
static inline void store_hidden(const float16 *partial, __global const float *scale,
                                __global float *h, uint n)
{
    float4 sums = sums16(partial[0], partial[1], partial[2], partial[3]);
    if (n == RANK_TILE) {
        vstore4(vload4(0, scale) * sums, 0, h);
        return;
    }
    h[0] = scale[0] * sums.x;
    if (n > 1) h[1] = scale[1] * sums.y;
    if (n > 2) h[2] = scale[2] * sums.z;
}

/* SHRINK of entry e for rank rows [j0, j0 + 4) cut at the rank, all rows of the chunk. Past the
 * last rank row the last is computed again and not stored. */
static inline void shrink_ranks(const lora_lane *lane, __global const uchar *pool,
                                const rows_of *rows, uint e, __global const uchar *x,
                                ulong x_stride, uint d_in, uint j0)
{
    uint n = d_in / lane->group, type = lane->type_a, n_j = min((uint)RANK_TILE, lane->rank - j0);
    ulong row_bytes = factor_row_bytes(type, n);
    __global const uchar *a_row[RANK_TILE];
    __global const float *x_row[ROW_TILE];
    for (uint j = 0; j < RANK_TILE; j++)
        a_row[j] = pool + lane->a + (j0 + min(j, n_j - 1)) * row_bytes;
    for (uint i = 0; i < rows->n_rows;) {
        uint count = rows->n_rows - i >= ROW_TILE ? ROW_TILE : 1;
        float16 partial[ROW_TILE * RANK_TILE];
        for (uint r = 0; r < count; r++)
            x_row[r] = (__global const float *)(x + rows->index[i + r] * x_stride);
        uint whole = lane->group == 1 ? n / 16 * 16 : 0;
        if (count == 1) {
            if (type == TYPE_F16)
                shrink_1_f16(type, a_row, x_row, whole, partial);
            else if (type == TYPE_F32)
                shrink_1_f32(type, a_row, x_row, whole, partial);
            else
                shrink_1_any(type, a_row, x_row, whole, partial);
        } else {
            if (type == TYPE_F16)
                shrink_4_f16(type, a_row, x_row, whole, partial);
            else if (type == TYPE_F32)
                shrink_4_f32(type, a_row, x_row, whole, partial);
            else
                shrink_4_any(type, a_row, x_row, whole, partial);
        }
        shrink_rest(type, a_row, x_row, count, whole, n, lane->group, partial);
        for (uint r = 0; r < count; r++)
            store_hidden(partial + r * RANK_TILE, POOL_FLOATS(lane->scale) + j0,
                         HIDDEN_ROW(rows, SLOT(rows, i + r, e)) + j0, n_j);
        i += count;
    }
}

/* SHRINK of entry e by MOST and LEAST rank rows for a chunk of one row. @return how many were done;
 * the others are shrink_ranks' to do. */
static inline uint shrink_row(const lora_lane *lane, __global const uchar *pool,
                              const rows_of *rows, uint e, __global const uchar *x, ulong x_stride,
                              uint d_in)
{
    uint type = lane->type_a, j = 0;
    ulong row = factor_row_bytes(type, d_in);
    __global const uchar *a = pool + lane->a;
    __global const float *scale = POOL_FLOATS(lane->scale);
    __global const float *x_row = (__global const float *)(x + rows->index[0] * x_stride);
    __global float *h = HIDDEN_ROW(rows, SLOT(rows, 0, e));
    if (rows->n_rows != 1 || lane->group != 1 || d_in % 16 || type > TYPE_F16) return 0;
    for (; type == TYPE_F16 && j + 8 <= lane->rank; j += 8, a += 8 * row)
        shrink_8_f16(a, row, x_row, d_in, scale + j, h + j);
    for (; type == TYPE_F32 && j + MOST <= lane->rank; j += MOST, a += MOST * row)
        shrink_most_f32(a, row, x_row, d_in, scale + j, h + j);
    for (; j + LEAST <= lane->rank; j += LEAST, a += LEAST * row)
        if (type == TYPE_F16)
            shrink_least_f16(a, row, x_row, d_in, scale + j, h + j);
        else
            shrink_least_f32(a, row, x_row, d_in, scale + j, h + j);
    return j;
}

/* EXPAND of entry e, which has no u and does not multiply, for outputs [o, end), all rows of the
 * chunk. `h` is like rows->hidden, or h' = M h where the adapter has a core. */
static inline void expand_outputs(const lora_lane *lane, __global const uchar *pool,
                                  const rows_of *rows, uint e, __global const float *h,
                                  __global uchar *y, ulong y_stride, uint d_out, uint o_first,
                                  uint end)
{
    uint type = lane->type_b;
    for (uint i = 0; i < rows->n_rows;) {
        uint count = rows->n_rows - i >= ROW_TILE ? ROW_TILE : 1, o = o_first;
        __global const float *h_row[ROW_TILE];
        __global float *y_row[ROW_TILE];
        float w[ROW_TILE];
        for (uint r = 0; r < count; r++) {
            uint slot = SLOT(rows, i + r, e);
            h_row[r] = h + (ulong)slot * rows->hidden_stride;
            y_row[r] = (__global float *)(y + rows->index[i + r] * y_stride);
            w[r] = rows->weight[slot];
        }
        if (count == 1 && type <= TYPE_F16) {
            uint whole = o + (end - o) / 16 * 16;
            expand_row(lane, pool, h_row[0], w[0], y_row[0], o, whole, d_out);
            o = whole;
        }
        for (; o + OUTPUT_TILE <= end; o += OUTPUT_TILE) {
            if (count == 1)
                expand_1_any(lane, pool, h_row, w, y_row, o, d_out);
            else if (type == TYPE_F16)
                expand_4_f16(lane, pool, h_row, w, y_row, o, d_out);
            else if (type == TYPE_F32)
                expand_4_f32(lane, pool, h_row, w, y_row, o, d_out);
            else
                expand_4_any(lane, pool, h_row, w, y_row, o, d_out);
        }
        for (; o < end; o += 16) {
            uint n = min(16u, end - o);
            for (uint r = 0; r < count; r++) {
                float16 t = expand16(lane, pool + lane->b, h_row[r], o, n, d_out);
                if (lane->beta) t *= floats16(POOL_FLOATS(lane->beta) + o, n);
                if (lane->c) t += floats16(POOL_FLOATS(lane->c) + o, n);
                store16(y_row[r] + o, fma((float16)(w[r]), t, floats16(y_row[r] + o, n)), n);
            }
        }
        i += count;
    }
}
