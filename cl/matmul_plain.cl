/* matmul_plain.cl - y[n][m] = sum_k a[m][k] * x[n][k] for a in ggml's own row layout.
 *
 * -DA_TYPE=n type of a (any); -DNT=1|4 rows of x at once. x f32 or f16 (x_type), y f32. a may have
 * any stride in dimension 0 if it is dense. Planes (ne2, ne3) of a repeat over those of x: plane i2
 * of x meets plane i2 / repeat2 of a. One order for every output: 16 accumulators over k mod 16, k
 * ascending, then one fixed tree. It does not depend on NT, the row's place, or the device class.
 * matmul_cpu: work-group of 1; makes 32 m of NT n; global = (ceil(m / 32), ceil(n / NT), planes).
 * -DBY_EXPERT=1 matmul_id_cpu: work-group of 1; makes 128 m of all rows whose id is one expert, NT
 * at a time, so that a is unpacked once for NT rows; global = (ceil(m / 128), experts, 1). For
 * prompts. matmul_gpu: work-group of 64, one m each, x staged in local memory; global = (m up to
 * 64s, ..).
 */
#pragma OPENCL FP_CONTRACT OFF
#include "dense.cl"
#include "blocks.cl"

#ifndef A_TYPE
#define A_TYPE 1
#endif
#ifndef NT
#define NT 4
#endif
#ifndef BY_EXPERT
#define BY_EXPERT 0
#endif
#define MT     4
#define A_SIZE (A_TYPE == W_F32 ? 4 : 2) /* of dense types */
#define M_SPAN 32
#define E_SPAN 128

/* On a GPU an array whose every index is a constant lives in registers. */
#ifdef OCLORA_CLASS_GPU
#define UNROLL_GPU _Pragma("unroll")
#else
#define UNROLL_GPU
#endif

/* Sums of neighbours of a, then of b. Four rounds over 16 vectors leave the sum of vector j in lane
 * j, added in the same order as sum_lanes does. */
HELPER float16 merge(float16 a, float16 b)
{
    return (float16)(a.even, b.even) + (float16)(a.odd, b.odd);
}

HELPER float sum_lanes(float16 v)
{
    float8 a = v.even + v.odd;
    float4 b = a.even + a.odd;
    float2 c = b.even + b.odd;
    return c.x + c.y;
}

/* 16 inputs of a row of a; lanes at or after `count` are 0. */
HELPER float16 load_a(__global const uchar *row, ulong k, ulong stride, uint count)
{
#if A_TYPE <= 2
    if (count < 16 || stride != A_SIZE) {
        float part[16];
        UNROLL_GPU for (uint j = 0; j < 16; j++) part[j] =
            j < count ? value1(row + (k + j) * stride, 0, A_TYPE) : 0.0f;
        return vload16(0, part);
    }
#endif
    return values16(row, k, A_TYPE);
}

HELPER float16 load_x(__global const uchar *row, ulong k, ulong stride, uint count, uint type)
{
    if (count >= 16 && type == TYPE_F32 && stride == 4)
        return vload16(0, (__global const float *)row + k);
    if (count >= 16 && type == TYPE_F16 && stride == 2)
        return vload_half16(0, (__global const half *)row + k);
    float part[16];
    for (uint j = 0; j < 16; j++)
        part[j] = j < count ? load_one(row + (k + j) * stride, type) : 0.0f;
    return vload16(0, part);
}

/* The plane of a: plane2, or the expert that an id names (-1: there is none such). */
HELPER long plane_of(__global const uchar *id, uint has_ids, ulong plane2, ulong n_expert)
{
    if (!has_ids) return (long)plane2;
    int expert = *(__global const int *)id;
    return expert >= 0 && (ulong)expert < n_expert ? (long)expert : -1L;
}

#define ARGS                                                                                       \
    __global uchar *y, ulong y_offset, __global const uchar *a, ulong a_offset,                    \
        __global const uchar *x, ulong x_offset, ulong n_k, ulong n_m, ulong n_n, ulong planes2,   \
        ulong repeat2, ulong repeat3, ulong ny1, ulong ny2, ulong ny3, SHAPE(na), SHAPE(nx),       \
        uint x_type, __global const uchar *ids, ulong ids_offset, ulong n_expert, ulong ni0,       \
        ulong ni1, ulong n_x, uint has_ids

#ifndef OCLORA_CLASS_GPU
/* MT rows of a times NT rows of x. Inlined, or the accumulators would live in memory. */
__attribute__((always_inline)) void multiply_tile(float16 acc[NT][MT],
                                                  __global const uchar *const *a_row,
                                                  __global const uchar *const *x_row, ulong n_k,
                                                  ulong na0, ulong nx0, uint x_type)
{
#pragma unroll
    for (uint t = 0; t < NT; t++)
#pragma unroll
        for (uint j = 0; j < MT; j++) acc[t][j] = 0.0f;
    /* Whole groups of rows without gaps go without a question inside the loop. */
    const bool plain = x_type == TYPE_F32 && nx0 == 4 && (A_TYPE > 2 || na0 == A_SIZE);
    ulong k = 0;
    for (ulong end = plain ? n_k & ~15UL : 0; k < end; k += 16) {
        float16 w[MT];
#pragma unroll
        for (uint j = 0; j < MT; j++) w[j] = values16(a_row[j], k, A_TYPE);
#pragma unroll
        for (uint t = 0; t < NT; t++) {
            float16 v = vload16(0, (__global const float *)x_row[t] + k);
#pragma unroll
            for (uint j = 0; j < MT; j++) acc[t][j] = fma(w[j], v, acc[t][j]);
        }
    }
    for (; k < n_k; k += 16) {
        uint count = (uint)min((ulong)16, n_k - k);
        float16 w[MT];
#pragma unroll
        for (uint j = 0; j < MT; j++) w[j] = load_a(a_row[j], k, na0, count);
#pragma unroll
        for (uint t = 0; t < NT; t++) {
            float16 v = load_x(x_row[t], k, nx0, count, x_type);
#pragma unroll
            for (uint j = 0; j < MT; j++) acc[t][j] = fma(w[j], v, acc[t][j]);
        }
    }
}

/* The sums of row t's MT accumulators. */
__attribute__((always_inline)) float4 sums_of(const float16 acc[MT])
{
    float16 v = merge(acc[0], acc[1]), w = merge(acc[2], acc[3]);
    v = merge(v, w);
    float8 a = v.even + v.odd;
    return a.even + a.odd;
}

/* Outputs m .. m + MT of one row. */
HELPER void store_sums(__global float *out, float4 sums, ulong m, ulong n_m)
{
    if (m + MT <= n_m) {
        vstore4(sums, 0, out + m);
        return;
    }
    float part[MT];
    vstore4(sums, 0, part);
    for (uint j = 0; m + j < n_m; j++) out[m + j] = part[j];
}

#if BY_EXPERT
/* `count` rows of x, the pointers behind them repeated, to outputs m_first .. m_last. */
__attribute__((always_inline)) void multiply_rows(__global const uchar *a_plane, ulong m_first,
                                                  ulong m_last, ulong n_m, ulong na0, ulong na1,
                                                  __global const uchar *const *x_row,
                                                  __global float *const *out, uint count, ulong n_k,
                                                  ulong nx0, uint x_type)
{
    __global const uchar *a_row[MT];
    for (ulong m = m_first; m < m_last; m += MT) {
        for (uint j = 0; j < MT; j++) a_row[j] = a_plane + min(m + j, n_m - 1) * na1;
        float16 acc[NT][MT];
        multiply_tile(acc, a_row, x_row, n_k, na0, nx0, x_type);
        for (uint t = 0; t < count; t++) store_sums(out[t], sums_of(acc[t]), m, n_m);
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(float16))) void
matmul_id_cpu(ARGS)
{
    ulong m_first = (ulong)get_global_id(0) * E_SPAN, m_last = min(m_first + E_SPAN, n_m);
    long expert = (long)get_global_id(1);
    __global const uchar *a_plane = a + a_offset + expert * na2, *x_row[NT];
    __global float *out[NT];
    uint count = 0;
    for (ulong i2 = 0; i2 < planes2; i2++) {
        for (ulong n = 0; n < n_n; n++) {
            long plane = plane_of(ids + ids_offset + n * ni0 + i2 * ni1, 1, 0, n_expert);
            if (plane != expert && (plane >= 0 || expert != 0)) continue;
            out[count] = (__global float *)(y + y_offset + n * ny1 + i2 * ny2);
            x_row[count] = x + x_offset + i2 * nx2 + n % n_x * nx1;
            if (plane < 0) { /* there is no such expert */
                for (ulong m = m_first; m < m_last; m++) out[count][m] = NAN;
            } else if (++count == NT) {
                multiply_rows(a_plane, m_first, m_last, n_m, na0, na1, x_row, out, NT, n_k, nx0,
                              x_type);
                count = 0;
            }
        }
    }
    if (count == 0) return;
    for (uint t = count; t < NT; t++) x_row[t] = x_row[0];
    multiply_rows(a_plane, m_first, m_last, n_m, na0, na1, x_row, out, count, n_k, nx0, x_type);
}
#endif

__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(float16))) void
matmul_cpu(ARGS)
{
    ulong m_first = (ulong)get_global_id(0) * M_SPAN, n = (ulong)get_global_id(1) * NT;
    ulong m_last = min(m_first + M_SPAN, n_m);
    ulong i2 = get_global_id(2) % planes2, i3 = get_global_id(2) / planes2;
    __global const uchar *a_row[MT], *x_row[NT];
    long plane = plane_of(ids + ids_offset + n * ni0 + i2 * ni1, has_ids, i2 / repeat2, n_expert);
    __global const uchar *a_plane = a + a_offset + max(plane, 0L) * na2 + i3 / repeat3 * na3;
    __global const uchar *x_plane = x + x_offset + i2 * nx2 + i3 * nx3;
    for (uint j = 0; j < NT; j++) x_row[j] = x_plane + min(n + j, n_n - 1) % n_x * nx1;
    for (ulong m = m_first; m < m_last; m += MT) {
        for (uint j = 0; j < MT; j++) a_row[j] = a_plane + min(m + j, n_m - 1) * na1;
        float16 acc[NT][MT];
        multiply_tile(acc, a_row, x_row, n_k, na0, nx0, x_type);
        for (uint t = 0; t < NT && n + t < n_n; t++) {
            __global float *out =
                (__global float *)(y + y_offset + (n + t) * ny1 + i2 * ny2 + i3 * ny3);
            store_sums(out, plane < 0 ? (float4)(NAN) : sums_of(acc[t]), m, n_m);
        }
    }
}

#else

#define STAGE 256

__kernel __attribute__((reqd_work_group_size(64, 1, 1))) void matmul_gpu(ARGS)
{
    __local float stage[NT][STAGE];
    uint lane = get_local_id(0);
    ulong m = get_global_id(0), n = (ulong)get_global_id(1) * NT;
    ulong i2 = get_global_id(2) % planes2, i3 = get_global_id(2) / planes2;
    long plane = plane_of(ids + ids_offset + n * ni0 + i2 * ni1, has_ids, i2 / repeat2, n_expert);
    __global const uchar *row =
        a + a_offset + max(plane, 0L) * na2 + i3 / repeat3 * na3 + min(m, n_m - 1) * na1;
    __global const uchar *x_plane = x + x_offset + i2 * nx2 + i3 * nx3;
    float16 acc[NT];
#pragma unroll
    for (uint t = 0; t < NT; t++) acc[t] = 0.0f;
    for (ulong base = 0; base < n_k; base += STAGE) {
        for (uint t = 0; t < NT; t++) {
            __global const uchar *x_row = x_plane + min(n + t, n_n - 1) % n_x * nx1;
            for (uint i = lane; i < STAGE; i += 64)
                stage[t][i] = base + i < n_k ? load_one(x_row + (base + i) * nx0, x_type) : 0.0f;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        ulong end = min((ulong)STAGE, n_k - base);
        for (ulong k = 0; k < end; k += 16) {
            float16 w = load_a(row, base + k, na0, (uint)min((ulong)16, end - k));
#pragma unroll
            for (uint t = 0; t < NT; t++) acc[t] = fma(w, vload16(0, &stage[t][k]), acc[t]);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    if (m >= n_m) return;
#pragma unroll
    for (uint t = 0; t < NT; t++) /* whole, or the accumulators would live in memory */
        if (n + t < n_n)
            ((__global float *)(y + y_offset + (n + t) * ny1 + i2 * ny2 + i3 * ny3))[m] =
                plane < 0 ? NAN : sum_lanes(acc[t]);
}
#endif
