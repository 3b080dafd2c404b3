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

float sum_lanes(float16 v)
{
    float8 a = v.lo + v.hi;
    float4 b = a.lo + a.hi;
    float2 c = b.lo + b.hi;
    return c.x + c.y;
}

float16 load_row(__global const float *x, ulong step, ulong i, ulong n, float pad)
{
    if (i + 16 <= n && step == 1) return vload16(0, x + i);
    float part[16];
    for (uint j = 0; j < 16; j++) part[j] = i + j < n ? x[(i + j) * step] : pad;
    return vload16(0, part);
}

void store_row(__global float *y, ulong i, ulong n, float16 v)
{
    if (i + 16 <= n) {
        vstore16(v, 0, y + i);
        return;
    }
    float part[16];
    vstore16(v, 0, part);
    for (uint j = 0; i + j < n; j++) y[i + j] = part[j];
}

float scale_of(float sum, ulong n, float eps, uint mode)
{
    if (mode == MODE_L2) return 1.0f / fmax(sqrt(sum), eps);
    return 1.0f / sqrt(sum / (float)n + eps);
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
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

float sum_group(float value, __local float *part)
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
