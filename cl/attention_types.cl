/* attention_types.cl - arguments of the attention kernels and what they share. Spliced into
 * attention.cl, no kernels of its own. */
#pragma OPENCL FP_CONTRACT OFF
#include "dense.cl"
#include "blocks.cl"

#ifndef DK
#define DK 64
#endif
#ifndef DV
#define DV 64
#endif
#ifndef K_TYPE
#define K_TYPE 1
#endif
#ifndef V_TYPE
#define V_TYPE 1
#endif

#define KG ((DK + 15) / 16)
#define VG ((DV + 15) / 16)

#define ARGS                                                                                       \
    __global uchar *dst, ulong dst_offset, __global const uchar *q, ulong q_offset,                \
        __global const uchar *k, ulong k_offset, __global const uchar *v, ulong v_offset,          \
        __global const uchar *mask, ulong mask_offset, __global const uchar *sinks,                \
        ulong sinks_offset, ulong n_rows, ulong n_kv, ulong nd1, ulong nd2, ulong nd3, ulong nq1,  \
        ulong nq2, ulong nq3, ulong nk1, ulong nk2, ulong nk3, ulong nv1, ulong nv2, ulong nv3,    \
        ulong nm1, ulong nm2, ulong nm3, ulong em2, ulong em3, uint k_repeat2, uint k_repeat3,     \
        uint v_repeat2, uint v_repeat3, uint has_mask, uint has_sinks, float scale, float softcap, \
        float max_bias, uint n_head_log2, float m0, float m1

HELPER float slope_of(uint head, float max_bias, uint n_head_log2, float m0, float m1)
{
    if (max_bias <= 0.0f) return 1.0f;
    return head < n_head_log2 ? pow(m0, (float)(head + 1))
                              : pow(m1, (float)(2 * (head - n_head_log2) + 1));
}

HELPER float sum_lanes(float16 x)
{
    float8 a = x.lo + x.hi;
    float4 b = a.lo + a.hi;
    float2 c = b.lo + b.hi;
    return c.x + c.y;
}

/* Group g of 16 channels; a head size that is no multiple of 16 ends in zeros. */
HELPER float16 load_group(__global const uchar *row, uint g, uint size, uint type)
{
    if (g * 16 + 16 <= size) return values16(row, g * 16, type);
    float part[16];
    for (uint j = 0; j < 16; j++)
        part[j] = g * 16 + j < size ? value1(row, g * 16 + j, type) : 0.0f;
    return vload16(0, part);
}

HELPER float capped(float score, float scale, float softcap)
{
    score *= scale;
    return softcap != 0.0f ? softcap * tanh(score) : score;
}

HELPER float bias_of(__global const uchar *mask, ulong key, uint has_mask, float slope)
{
    if (!has_mask) return 0.0f;
    float m = vload_half(key, (__global const half *)mask);
    return m == -INFINITY ? -INFINITY : slope * m;
}

#ifndef OCLORA_CLASS_GPU
#define CHUNK 32

/* The sums of 16 vectors, vector j's in lane j: four rounds that each add the halves of two
 * vectors, of 8, 4, 2 and 1 lanes. */
HELPER float16 merge8(float16 a, float16 b)
{
    return (float16)(a.lo, b.lo) + (float16)(a.hi, b.hi);
}
HELPER float16 merge4(float16 a, float16 b)
{
    return (float16)(a.s0123, a.s89ab, b.s0123, b.s89ab) +
           (float16)(a.s4567, a.scdef, b.s4567, b.scdef);
}
HELPER float16 merge2(float16 a, float16 b)
{
    return (float16)(a.s01, b.s01, a.s45, b.s45, a.s89, b.s89, a.scd, b.scd) +
           (float16)(a.s23, b.s23, a.s67, b.s67, a.sab, b.sab, a.sef, b.sef);
}
HELPER float16 merge1(float16 a, float16 b)
{
    return (float16)(a.s02, b.s02, a.s46, b.s46, a.s8a, b.s8a, a.sce, b.sce) +
           (float16)(a.s13, b.s13, a.s57, b.s57, a.s9b, b.s9b, a.sdf, b.sdf);
}
HELPER float16 sums16(const float16 *d)
{
    float16 four[4]; /* of d[i], d[i + 4], d[i + 8] and d[i + 12] */
#pragma unroll
    for (uint i = 0; i < 4; i++)
        four[i] = merge4(merge8(d[i], d[i + 4]), merge8(d[i + 8], d[i + 12]));
    return merge1(merge2(four[0], four[1]), merge2(four[2], four[3]));
}

/* ALiBi-scaled mask of 16 keys; -infinity where masked or at or after `count`. */
HELPER float16 bias16(__global const uchar *mask, ulong key, uint count, uint has_mask, float slope)
{
    if (has_mask && count >= 16) {
        float16 m = vload_half16(0, (__global const half *)mask + key);
        return select(m * slope, m, m == -INFINITY);
    }
    float part[16];
    for (uint j = 0; j < 16; j++)
        part[j] = j < count ? bias_of(mask, key + j, has_mask, slope) : -INFINITY;
    return vload16(0, part);
}

HELPER float max_lanes(float16 x)
{
    float8 a = fmax(x.lo, x.hi);
    float4 b = fmax(a.lo, a.hi);
    return fmax(fmax(b.x, b.y), fmax(b.z, b.w));
}

/* A query at its begin. */
HELPER void begin(__global const uchar *q_row, float16 *query, float16 *acc, float16 *sums,
                  float *top)
{
    for (uint g = 0; g < KG; g++) query[g] = load_group(q_row, g, DK, W_F32);
    for (uint g = 0; g < VG; g++) acc[g] = 0.0f;
    *sums = 0.0f;
    *top = -INFINITY;
}

/* Scores of 16 keys, whose products with a query are the sums of d. */
HELPER float16 scores16(const float16 *d, float16 bias, float scale, float softcap)
{
    float16 s = sums16(d) * scale;
    if (softcap != 0.0f) s = softcap * tanh(s);
    return select(s + bias, bias, bias == -INFINITY);
}

/* A chunk's 32 scores become weights p relative to the highest score so far, to which the sums and
 * the output's are shrunk where it has risen. */
HELPER void weigh(float16 s0, float16 s1, float *top, float16 *sums, float16 *acc, float *p)
{
    float best = max_lanes(fmax(s0, s1));
    if (best == -INFINITY) {
        vstore16((float16)(0.0f), 0, p);
        vstore16((float16)(0.0f), 1, p);
        return;
    }
    if (best > *top) {
        float shrink = exp(*top - best);
        *top = best;
        *sums *= shrink;
        for (uint g = 0; g < VG; g++) acc[g] *= shrink;
    }
    s0 = exp(s0 - *top);
    s1 = exp(s1 - *top);
    vstore16(s0, 0, p);
    vstore16(s1, 1, p);
    *sums += s0;
    *sums += s1;
}

/* y = acc / the sum of all weights, which a sink adds to. */
HELPER void finish(const float16 *acc, float16 sums, float top, __global const float *sink,
                   __global float *y)
{
    float weight = 1.0f, sum = sum_lanes(sums);
    if (sink) {
        float high = fmax(*sink, top);
        weight = exp(top - high);
        sum = sum * weight + exp(*sink - high);
    }
    weight = sum > 0.0f ? weight / sum : 0.0f;
    for (uint g = 0; g < VG; g++) {
        float16 result = acc[g] * weight;
        if (g * 16 + 16 <= DV) {
            vstore16(result, g, y);
        } else {
            float part[16];
            vstore16(result, 0, part);
            for (uint j = 0; g * 16 + j < DV; j++) y[g * 16 + j] = part[j];
        }
    }
}

#define K_HEAD          (k + k_offset + head / k_repeat2 * nk2 + i3 / k_repeat3 * nk3)
#define V_HEAD          (v + v_offset + head / v_repeat2 * nv2 + i3 / v_repeat3 * nv3)
#define MASK(row, head) (mask + mask_offset + (row)*nm1 + (head) % em2 * nm2 + i3 % em3 * nm3)
#define SLOPE(head)     slope_of((uint)(head), max_bias, n_head_log2, m0, m1)
#define SINK(head)      (has_sinks ? (__global const float *)(sinks + sinks_offset) + (head) : 0)
#define Y(row, head)    ((__global float *)(dst + dst_offset + (head)*nd1 + (row)*nd2 + i3 * nd3))
#endif
