/* attention.cl - softmax(scale * q k^T + mask) v for one row and head at a time, KV read once.
 *
 * -DDK=, -DDV= head sizes; -DK_TYPE=, -DV_TYPE= types of K and V (f32 f16 bf16 q8_0 q4_0 q4_1 q5_0
 * q5_1). q, dst f32; mask f16 or absent (has_mask); sinks f32 one a head (has_sinks). Heads and
 * batches of K and V repeat over those of q. dst [DV, head, row, batch].
 * The keys are taken in chunks of fixed size from position 0, in order; a chunk whose keys are all
 * masked is skipped, a masked key adds nothing. So padding and other sequences leave a row's bits
 * alone. attention_cpu: work-group of 1 for -DROWS=1|8 rows, which share a chunk's conversion to
 * f32 (the arithmetic of a row does not depend on ROWS); attention_gpu: 128 lanes, one key each,
 * then one output channel each. global = (rows / ROWS, heads, batches) items, or (rows, heads,
 * batches) groups. */
#pragma OPENCL FP_CONTRACT OFF
#include "dense.cl"
#include "blocks.cl"

#ifndef DK
#define DK 64
#endif
#ifndef DV
#define DV 64
#endif
#ifndef ROWS
#define ROWS 1
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

#define CHUNK 32

/* Sums of neighbours of a, then of b. Four rounds over 16 vectors leave the sum of vector j in lane
 * j. */
HELPER float16 merge(float16 a, float16 b)
{
    return (float16)(a.even, b.even) + (float16)(a.odd, b.odd);
}

#if ROWS > 1
#define KEY_GROUP(j, g)   vload16(0, &keys[j][(g)*16])
#define VALUE_GROUP(j, g) vload16(0, &values[j][(g)*16])
#else
#define KEY_GROUP(j, g)   load_group(k_chunk + min((uint)(j), used - 1) * nk1, g, DK, K_TYPE)
#define VALUE_GROUP(j, g) load_group(v_chunk + (j)*nv1, g, DV, V_TYPE)
#endif

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

#ifndef OCLORA_CLASS_GPU
__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(float16))) void
attention_cpu(ARGS)
{
    ulong first = (ulong)get_global_id(0) * ROWS, head = get_global_id(1), i3 = get_global_id(2);
    uint rows = (uint)min((ulong)ROWS, n_rows - first);
    __global const uchar *q_rows = q + q_offset + first * nq1 + head * nq2 + i3 * nq3;
    __global const uchar *k_head = k + k_offset + head / k_repeat2 * nk2 + i3 / k_repeat3 * nk3;
    __global const uchar *v_head = v + v_offset + head / v_repeat2 * nv2 + i3 / v_repeat3 * nv3;
    __global const uchar *m = mask + mask_offset + first * nm1 + head % em2 * nm2 + i3 % em3 * nm3;
    float slope = slope_of((uint)head, max_bias, n_head_log2, m0, m1);
    float16 query[ROWS][KG], acc[ROWS][VG], sums[ROWS];
    float tops[ROWS];
#if ROWS > 1
    float keys[CHUNK][KG * 16], values[CHUNK][VG * 16];
#endif
    for (uint r = 0; r < rows; r++) {
        for (uint g = 0; g < KG; g++) query[r][g] = load_group(q_rows + r * nq1, g, DK, W_F32);
        for (uint g = 0; g < VG; g++) acc[r][g] = 0.0f;
        sums[r] = 0.0f;
        tops[r] = -INFINITY;
    }
    for (ulong base = 0; base < n_kv; base += CHUNK) {
        uint used = (uint)min((ulong)CHUNK, n_kv - base);
        __global const uchar *k_chunk = k_head + base * nk1, *v_chunk = v_head + base * nv1;
        bool loaded = false;
        for (uint r = 0; r < rows; r++) {
            float16 s0 = bias16(m + r * nm1, base, used, has_mask, slope);
            float16 s1 = bias16(m + r * nm1, base + 16, used > 16 ? used - 16 : 0, has_mask, slope);
            if (max_lanes(fmax(s0, s1)) == -INFINITY) continue;
#if ROWS > 1
            for (uint j = 0; !loaded && j < used; j++) {
                for (uint g = 0; g < KG; g++)
                    vstore16(load_group(k_chunk + j * nk1, g, DK, K_TYPE), g, keys[j]);
                for (uint g = 0; g < VG; g++)
                    vstore16(load_group(v_chunk + j * nv1, g, DV, V_TYPE), g, values[j]);
            }
            loaded = true;
#endif
            for (uint part = 0; part < 2; part++) {
                if (part * 16 >= used) break;
                float16 d[16];
                for (uint j = 0; j < 16; j++) {
                    float16 one = 0.0f;
#pragma unroll
                    for (uint g = 0; g < KG; g++)
                        one = fma(query[r][g], KEY_GROUP(part * 16 + j, g), one);
                    d[j] = one;
                }
#pragma unroll
                for (uint width = 8; width > 0; width >>= 1)
#pragma unroll
                    for (uint j = 0; j < width; j++) d[j] = merge(d[2 * j], d[2 * j + 1]);
                float16 bias = part == 0 ? s0 : s1;
                float16 s = d[0] * scale;
                if (softcap != 0.0f) s = softcap * tanh(s);
                s = select(s + bias, bias, bias == -INFINITY);
                if (part == 0) {
                    s0 = s;
                } else {
                    s1 = s;
                }
            }
            float best = max_lanes(fmax(s0, s1));
            if (best > tops[r]) {
                float shrink = exp(tops[r] - best);
                tops[r] = best;
                sums[r] *= shrink;
                for (uint g = 0; g < VG; g++) acc[r][g] *= shrink;
            }
            float p[CHUNK];
            s0 = exp(s0 - tops[r]);
            s1 = exp(s1 - tops[r]);
            vstore16(s0, 0, p);
            vstore16(s1, 1, p);
            sums[r] += s0;
            sums[r] += s1;
            float16 out[VG];
#pragma unroll
            for (uint g = 0; g < VG; g++) out[g] = acc[r][g];
            for (uint j = 0; j < used; j++) {
                if (p[j] == 0.0f) continue;
#pragma unroll
                for (uint g = 0; g < VG; g++)
                    out[g] = fma((float16)(p[j]), VALUE_GROUP(j, g), out[g]);
            }
#pragma unroll
            for (uint g = 0; g < VG; g++) acc[r][g] = out[g];
        }
    }
    for (uint r = 0; r < rows; r++) {
        float weight = 1.0f, sum = sum_lanes(sums[r]);
        if (has_sinks) {
            float sink = ((__global const float *)(sinks + sinks_offset))[head];
            float high = fmax(sink, tops[r]);
            weight = exp(tops[r] - high);
            sum = sum * weight + exp(sink - high);
        }
        weight = sum > 0.0f ? weight / sum : 0.0f;
        __global float *y =
            (__global float *)(dst + dst_offset + head * nd1 + (first + r) * nd2 + i3 * nd3);
        for (uint g = 0; g < VG; g++) {
            float16 result = acc[r][g] * weight;
            if (g * 16 + 16 <= DV) {
                vstore16(result, g, y);
            } else {
                float part[16];
                vstore16(result, 0, part);
                for (uint j = 0; g * 16 + j < DV; j++) y[g * 16 + j] = part[j];
            }
        }
    }
}

#else

#define WIDTH 128
#define VL    ((DV + WIDTH - 1) / WIDTH)

HELPER float max_group(float value, __local float *part)
{
    uint lane = get_local_id(0);
    part[lane] = value;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint w = WIDTH / 2; w > 0; w >>= 1) {
        if (lane < w) part[lane] = fmax(part[lane], part[lane + w]);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    float best = part[0];
    barrier(CLK_LOCAL_MEM_FENCE);
    return best;
}

__kernel __attribute__((reqd_work_group_size(WIDTH, 1, 1))) void attention_gpu(ARGS)
{
    __local float part[WIDTH], p[WIDTH], query[KG * 16];
    uint lane = get_local_id(0);
    ulong i1 = get_group_id(0), head = get_group_id(1), i3 = get_group_id(2);
    __global const uchar *q_row = q + q_offset + i1 * nq1 + head * nq2 + i3 * nq3;
    __global const uchar *k_head = k + k_offset + head / k_repeat2 * nk2 + i3 / k_repeat3 * nk3;
    __global const uchar *v_head = v + v_offset + head / v_repeat2 * nv2 + i3 / v_repeat3 * nv3;
    __global const uchar *m = mask + mask_offset + i1 * nm1 + head % em2 * nm2 + i3 % em3 * nm3;
    float slope = slope_of((uint)head, max_bias, n_head_log2, m0, m1);
    for (uint i = lane; i < KG * 16; i += WIDTH)
        query[i] = i < DK ? ((__global const float *)q_row)[i] : 0.0f;
    barrier(CLK_LOCAL_MEM_FENCE);
    float acc[VL];
    for (uint c = 0; c < VL; c++) acc[c] = 0.0f;
    float top = -INFINITY, sum = 0.0f;
    for (ulong base = 0; base < n_kv; base += WIDTH) {
        float s = base + lane < n_kv ? bias_of(m, base + lane, has_mask, slope) : -INFINITY;
        if (s != -INFINITY) {
            __global const uchar *key = k_head + (base + lane) * nk1;
            float16 dot16 = 0.0f;
            for (uint g = 0; g < KG; g++)
                dot16 = fma(vload16(0, &query[g * 16]), load_group(key, g, DK, K_TYPE), dot16);
            s += capped(sum_lanes(dot16), scale, softcap);
        }
        float best = max_group(s, part);
        if (best == -INFINITY) continue;
        if (best > top) {
            float shrink = exp(top - best);
            top = best;
            sum *= shrink;
            for (uint c = 0; c < VL; c++) acc[c] *= shrink;
        }
        p[lane] = exp(s - top);
        barrier(CLK_LOCAL_MEM_FENCE);
        uint used = (uint)min((ulong)WIDTH, n_kv - base);
        for (uint j = 0; j < used; j++) {
            float weight = p[j];
            if (weight == 0.0f) continue;
            sum += weight;
            for (uint c = 0; c < VL; c++)
                if (c * WIDTH + lane < DV)
                    acc[c] =
                        fma(weight, value1(v_head + (base + j) * nv1, c * WIDTH + lane, V_TYPE),
                            acc[c]);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    float weight = 1.0f;
    if (has_sinks) {
        float sink = ((__global const float *)(sinks + sinks_offset))[head];
        float high = fmax(sink, top);
        weight = exp(top - high);
        sum = sum * weight + exp(sink - high);
    }
    weight = sum > 0.0f ? weight / sum : 0.0f;
    __global float *out = (__global float *)(dst + dst_offset + head * nd1 + i1 * nd2 + i3 * nd3);
    for (uint c = 0; c < VL; c++)
        if (c * WIDTH + lane < DV) out[c * WIDTH + lane] = acc[c] * weight;
}
#endif
