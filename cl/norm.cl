/* norm.cl - reductions of rows: norms and row sums.
 *
 * mode 0: RMS norm, 1: mean and variance norm, 2: L2 norm, 3: row sum (dst has one element a row).
 * f32; elements of a source row lie `step` apart, those of dst next to each other. One row per
 * work-item (norm_cpu, groups of 1) or per group of 128 (norm_gpu); global = (ne1, ne2, ne3) items,
 * or groups of 128 in dimension 0. The order of a row's sum depends on its length alone. */
#include "dense.cl"

#define MODE_RMS  0
#define MODE_MEAN 1
#define MODE_L2   2
#define MODE_SUM  3

HELPER float sum_lanes(float16 v)
{
    float8 a = v.lo + v.hi;
    float4 b = a.lo + a.hi;
    float2 c = b.lo + b.hi;
    return c.x + c.y;
}

HELPER float16 load_row(__global const float *x, ulong step, ulong i, ulong n, float pad)
{
    if (i + 16 <= n && step == 1) return vload16(0, x + i);
    float part[16];
    for (uint j = 0; j < 16; j++) part[j] = i + j < n ? x[(i + j) * step] : pad;
    return vload16(0, part);
}

HELPER void store_row(__global float *y, ulong i, ulong n, float16 v)
{
    if (i + 16 <= n) {
        vstore16(v, 0, y + i);
        return;
    }
    float part[16];
    vstore16(v, 0, part);
    for (uint j = 0; i + j < n; j++) y[i + j] = part[j];
}

HELPER float scale_of(float sum, ulong n, float eps, uint mode)
{
    if (mode == MODE_L2) return 1.0f / fmax(sqrt(sum), eps);
    return 1.0f / sqrt(sum / (float)n + eps);
}

#ifndef OCLORA_CLASS_GPU
__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(float16))) void
norm_cpu(__global uchar *dst, ulong dst_offset, __global const uchar *src, ulong src_offset,
         ulong n, ulong step, ulong nd1, ulong nd2, ulong nd3, ulong ns1, ulong ns2, ulong ns3,
         float eps, uint mode)
{
    ulong i1 = get_global_id(0), i2 = get_global_id(1), i3 = get_global_id(2);
    __global float *y = (__global float *)(dst + dst_offset + i1 * nd1 + i2 * nd2 + i3 * nd3);
    __global const float *x =
        (__global const float *)(src + src_offset + i1 * ns1 + i2 * ns2 + i3 * ns3);
    float mean = 0.0f;
    if (mode == MODE_MEAN || mode == MODE_SUM) {
        float16 acc = 0.0f;
        for (ulong i = 0; i < n; i += 16) acc += load_row(x, step, i, n, 0.0f);
        mean = sum_lanes(acc);
        if (mode == MODE_SUM) {
            y[0] = mean;
            return;
        }
        mean /= (float)n;
    }
    float16 acc = 0.0f;
    for (ulong i = 0; i < n; i += 16) {
        float16 v = load_row(x, step, i, n, mean) - mean;
        acc = fma(v, v, acc);
    }
    float scale = scale_of(sum_lanes(acc), n, eps, mode);
    for (ulong i = 0; i < n; i += 16)
        store_row(y, i, n, (load_row(x, step, i, n, mean) - mean) * scale);
}

#else

HELPER float sum_group(float value, __local float *part)
{
    uint lane = get_local_id(0);
    part[lane] = value;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint half_width = 64; half_width > 0; half_width >>= 1) {
        if (lane < half_width) part[lane] += part[lane + half_width];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    float sum = part[0];
    barrier(CLK_LOCAL_MEM_FENCE);
    return sum;
}

__kernel __attribute__((reqd_work_group_size(128, 1, 1))) void
norm_gpu(__global uchar *dst, ulong dst_offset, __global const uchar *src, ulong src_offset,
         ulong n, ulong step, ulong nd1, ulong nd2, ulong nd3, ulong ns1, ulong ns2, ulong ns3,
         float eps, uint mode)
{
    __local float part[128];
    ulong i1 = get_group_id(0), i2 = get_group_id(1), i3 = get_group_id(2);
    uint lane = get_local_id(0);
    __global float *y = (__global float *)(dst + dst_offset + i1 * nd1 + i2 * nd2 + i3 * nd3);
    __global const float *x =
        (__global const float *)(src + src_offset + i1 * ns1 + i2 * ns2 + i3 * ns3);
    float mean = 0.0f;
    if (mode == MODE_MEAN || mode == MODE_SUM) {
        float acc = 0.0f;
        for (ulong i = lane; i < n; i += 128) acc += x[i * step];
        mean = sum_group(acc, part) / (mode == MODE_SUM ? 1.0f : (float)n);
    }
    if (mode == MODE_SUM) {
        if (lane == 0) y[0] = mean;
    } else {
        float acc = 0.0f;
        for (ulong i = lane; i < n; i += 128)
            acc = fma(x[i * step] - mean, x[i * step] - mean, acc);
        float scale = scale_of(sum_group(acc, part), n, eps, mode);
        for (ulong i = lane; i < n; i += 128) y[i] = (x[i * step] - mean) * scale;
    }
}

#endif

/* add_norm: sum = a + b (has_sum), scaled = RMS norm of sum (of a without has_sum), y = scaled * w.
 * Rows at one stride each, w [n]. Every element of the results is written by the work-item that read
 * its place, so results may take the place of a or b, and of each other in the order given. Same order
 * of summation as the kernels above; global = rows items (cpu) or groups of 128 (gpu). */
#define ADD_NORM_ARGS                                                                              \
    __global uchar *y_base, ulong y_offset, ulong y_stride, __global uchar *scaled_base,           \
        ulong scaled_offset, ulong scaled_stride, __global uchar *sum_base, ulong sum_offset,      \
        ulong sum_stride, __global const uchar *a_base, ulong a_offset, ulong a_stride,            \
        __global const uchar *b_base, ulong b_offset, ulong b_stride,                              \
        __global const uchar *w_base, ulong w_offset, ulong n, float eps, uint has_sum

#define ADD_NORM_ROWS(row)                                                                         \
    __global float *y = (__global float *)(y_base + y_offset + (row)*y_stride);                    \
    __global float *scaled = (__global float *)(scaled_base + scaled_offset + (row)*scaled_stride); \
    __global float *sum = (__global float *)(sum_base + sum_offset + (row)*sum_stride);            \
    __global const float *a = (__global const float *)(a_base + a_offset + (row)*a_stride);        \
    __global const float *b = (__global const float *)(b_base + b_offset + (row)*b_stride);        \
    __global const float *w = (__global const float *)(w_base + w_offset);                         \
    __global const float *x = has_sum ? sum : a;

#ifndef OCLORA_CLASS_GPU
__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(float16))) void
add_norm_cpu(ADD_NORM_ARGS)
{
    ADD_NORM_ROWS((ulong)get_global_id(0))
    float16 acc = 0.0f;
    for (ulong i = 0; i < n; i += 16) {
        float16 v;
        if (has_sum) {
            v = load_row(a, 1, i, n, 0.0f) + load_row(b, 1, i, n, 0.0f);
            store_row(sum, i, n, v);
        } else {
            v = load_row(a, 1, i, n, 0.0f);
        }
        acc = fma(v, v, acc);
    }
    float scale = scale_of(sum_lanes(acc), n, eps, MODE_RMS);
    for (ulong i = 0; i < n; i += 16) {
        float16 v = load_row(x, 1, i, n, 0.0f) * scale;
        store_row(scaled, i, n, v);
        store_row(y, i, n, v * load_row(w, 1, i, n, 0.0f));
    }
}

#else

__kernel __attribute__((reqd_work_group_size(128, 1, 1))) void add_norm_gpu(ADD_NORM_ARGS)
{
    __local float part[128];
    uint lane = get_local_id(0);
    ADD_NORM_ROWS((ulong)get_group_id(0))
    float acc = 0.0f;
    for (ulong i = lane; i < n; i += 128) {
        float v = a[i];
        if (has_sum) {
            v += b[i];
            sum[i] = v;
        }
        acc = fma(v, v, acc);
    }
    float scale = scale_of(sum_group(acc, part), n, eps, MODE_RMS);
    for (ulong i = lane; i < n; i += 128) {
        float v = x[i] * scale;
        scaled[i] = v;
        y[i] = v * w[i];
    }
}
#endif
