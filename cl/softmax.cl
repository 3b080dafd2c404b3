/* softmax.cl - dst = softmax(scale * x + slope * mask) over rows, with optional sinks.
 *
 * x, dst f32 with dimension 0 contiguous; mask f32 or f16 (mask_type) or absent (mask_type ~0u),
 * broadcast over dimensions 2 and 3; sinks f32, one a head (has_sinks). slope: ALiBi per head, 1 if
 * max_bias is 0. One row per work-item (groups of 1) or per group of 128; global = rows (ne1, ne2,
 * ne3). Masked positions (-infinity) add exact zeros, so their number does not change a row. */
#include "dense.cl"

HELPER float slope_of(uint head, float max_bias, uint n_head_log2, float m0, float m1)
{
    if (max_bias <= 0.0f) return 1.0f;
    return head < n_head_log2 ? pow(m0, (float)(head + 1))
                              : pow(m1, (float)(2 * (head - n_head_log2) + 1));
}

HELPER float16 logits(__global const float *x, __global const uchar *mask, uint mask_type, ulong i,
               ulong n, float scale, float slope)
{
    float part[16];
    float16 v;
    if (i + 16 <= n) {
        v = vload16(0, x + i) * scale;
    } else {
        for (uint j = 0; j < 16; j++) part[j] = i + j < n ? x[i + j] * scale : -INFINITY;
        v = vload16(0, part);
    }
    if (mask_type == ~0u) return v;
    ulong stride = dense_bytes(mask_type);
    if (i + 16 <= n) {
        float16 m = mask_type == TYPE_F32 ? vload16(0, (__global const float *)(mask + i * 4))
                                          : vload_half16(0, (__global const half *)(mask + i * 2));
        return fma(m, (float16)(slope), v);
    }
    for (uint j = 0; j < 16; j++)
        part[j] = i + j < n ? load_one(mask + (i + j) * stride, mask_type) * slope : 0.0f;
    return v + vload16(0, part);
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

#define ARGS                                                                                       \
    __global uchar *dst, ulong dst_offset, __global const uchar *src, ulong src_offset,            \
        __global const uchar *mask, ulong mask_offset, __global const float *sinks,                \
        ulong sinks_offset, ulong n, ulong nd1, ulong nd2, ulong nd3, ulong ns1, ulong ns2,        \
        ulong ns3, ulong em2, ulong em3, ulong nm1, ulong nm2, ulong nm3, uint mask_type,          \
        uint has_sinks, float scale, float max_bias, uint n_head_log2, float m0, float m1

#ifndef OCLORA_CLASS_GPU
__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(float16))) void
softmax_cpu(ARGS)
{
    ulong i1 = get_global_id(0), i2 = get_global_id(1), i3 = get_global_id(2);
    __global float *y = (__global float *)(dst + dst_offset + i1 * nd1 + i2 * nd2 + i3 * nd3);
    __global const float *x =
        (__global const float *)(src + src_offset + i1 * ns1 + i2 * ns2 + i3 * ns3);
    __global const uchar *m = mask + mask_offset + i1 * nm1 + (i2 % em2) * nm2 + (i3 % em3) * nm3;
    float slope = slope_of((uint)i2, max_bias, n_head_log2, m0, m1);
    float16 top = -INFINITY;
    for (ulong i = 0; i < n; i += 16) top = fmax(top, logits(x, m, mask_type, i, n, scale, slope));
    float8 t8 = fmax(top.lo, top.hi);
    float4 t4 = fmax(t8.lo, t8.hi);
    float best = fmax(fmax(t4.x, t4.y), fmax(t4.z, t4.w));
    float sink = 0.0f;
    if (has_sinks) {
        sink = ((__global const float *)((__global const uchar *)sinks + sinks_offset))[i2];
        best = fmax(best, sink);
    }
    if (best == -INFINITY) best = 0.0f;
    float16 acc = 0.0f;
    for (ulong i = 0; i < n; i += 16) {
        float16 e = exp(logits(x, m, mask_type, i, n, scale, slope) - best);
        acc += e;
        store_row(y, i, n, e);
    }
    float8 a8 = acc.lo + acc.hi;
    float4 a4 = a8.lo + a8.hi;
    float sum = (a4.x + a4.z) + (a4.y + a4.w);
    if (has_sinks) sum += exp(sink - best);
    float inverse = sum > 0.0f ? 1.0f / sum : 0.0f;
    ulong i = 0;
    for (; i + 16 <= n; i += 16) vstore16(vload16(0, y + i) * inverse, 0, y + i);
    for (; i < n; i++) y[i] *= inverse;
}

#else

HELPER float logit(__global const float *x, __global const uchar *mask, uint mask_type, ulong i,
            float scale, float slope)
{
    float v = x[i] * scale;
    if (mask_type == ~0u) return v;
    return fma(load_one(mask + i * dense_bytes(mask_type), mask_type), slope, v);
}

__kernel __attribute__((reqd_work_group_size(128, 1, 1))) void softmax_gpu(ARGS)
{
    __local float part[128];
    ulong i1 = get_group_id(0), i2 = get_group_id(1), i3 = get_group_id(2);
    uint lane = get_local_id(0);
    __global float *y = (__global float *)(dst + dst_offset + i1 * nd1 + i2 * nd2 + i3 * nd3);
    __global const float *x =
        (__global const float *)(src + src_offset + i1 * ns1 + i2 * ns2 + i3 * ns3);
    __global const uchar *m = mask + mask_offset + i1 * nm1 + (i2 % em2) * nm2 + (i3 % em3) * nm3;
    float slope = slope_of((uint)i2, max_bias, n_head_log2, m0, m1);
    float best = -INFINITY;
    for (ulong i = lane; i < n; i += 128)
        best = fmax(best, logit(x, m, mask_type, i, scale, slope));
    part[lane] = best;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint w = 64; w > 0; w >>= 1) {
        if (lane < w) part[lane] = fmax(part[lane], part[lane + w]);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    best = part[0];
    barrier(CLK_LOCAL_MEM_FENCE);
    float sink = 0.0f;
    if (has_sinks) {
        sink = ((__global const float *)((__global const uchar *)sinks + sinks_offset))[i2];
        best = fmax(best, sink);
    }
    if (best == -INFINITY) best = 0.0f;
    float acc = 0.0f;
    for (ulong i = lane; i < n; i += 128)
        acc += exp(logit(x, m, mask_type, i, scale, slope) - best);
    part[lane] = acc;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint w = 64; w > 0; w >>= 1) {
        if (lane < w) part[lane] += part[lane + w];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    float sum = part[0] + (has_sinks ? exp(sink - best) : 0.0f);
    float inverse = sum > 0.0f ? 1.0f / sum : 0.0f;
    for (ulong i = lane; i < n; i += 128)
        y[i] = exp(logit(x, m, mask_type, i, scale, slope) - best) * inverse;
}
#endif
