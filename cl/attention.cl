/* attention.cl - softmax(scale * q k^T + mask) v for one row and head at a time, KV read once.
 *
 * -DDK=, -DDV= head sizes; -DK_TYPE=, -DV_TYPE= types of K and V (f32 f16 bf16 q8_0 q4_0 q4_1 q5_0
 * q5_1). q, dst f32; mask f16 or absent (has_mask); sinks f32 one a head (has_sinks). Heads and
 * batches of K and V repeat over those of q. dst [DV, head, row, batch].
 * The keys are taken in chunks of fixed size from position 0, in order; a chunk whose keys are all
 * masked is skipped, a masked key adds nothing. So padding and other sequences leave a row's bits
 * alone. attention_cpu: work-group of 1; attention_gpu: 128 lanes, one key each, then one output
 * channel each. global = (rows, heads, batches) items or groups. */
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
        ulong sinks_offset, ulong n_kv, ulong nd1, ulong nd2, ulong nd3, ulong nq1, ulong nq2,     \
        ulong nq3, ulong nk1, ulong nk2, ulong nk3, ulong nv1, ulong nv2, ulong nv3, ulong nm1,    \
        ulong nm2, ulong nm3, ulong em2, ulong em3, uint k_repeat2, uint k_repeat3,                \
        uint v_repeat2, uint v_repeat3, uint has_mask, uint has_sinks, float scale, float softcap, \
        float max_bias, uint n_head_log2, float m0, float m1

float slope_of(uint head, float max_bias, uint n_head_log2, float m0, float m1)
{
    if (max_bias <= 0.0f) return 1.0f;
    return head < n_head_log2 ? pow(m0, (float)(head + 1))
                              : pow(m1, (float)(2 * (head - n_head_log2) + 1));
}

float sum_lanes(float16 x)
{
    float8 a = x.lo + x.hi;
    float4 b = a.lo + a.hi;
    float2 c = b.lo + b.hi;
    return c.x + c.y;
}

/* Group g of 16 channels; a head size that is no multiple of 16 ends in zeros. */
float16 load_group(__global const uchar *row, uint g, uint size, uint type)
{
    if (g * 16 + 16 <= size) return values16(row, g * 16, type);
    float part[16];
    for (uint j = 0; j < 16; j++)
        part[j] = g * 16 + j < size ? value1(row, g * 16 + j, type) : 0.0f;
    return vload16(0, part);
}

float score_of(const float16 *query, __global const uchar *key)
{
    float16 acc = 0.0f;
#pragma unroll
    for (uint g = 0; g < KG; g++) acc = fma(query[g], load_group(key, g, DK, K_TYPE), acc);
    return sum_lanes(acc);
}

float capped(float score, float scale, float softcap)
{
    score *= scale;
    return softcap != 0.0f ? softcap * tanh(score) : score;
}

float bias_of(__global const uchar *mask, ulong key, uint has_mask, float slope)
{
    if (!has_mask) return 0.0f;
    float m = vload_half(key, (__global const half *)mask);
    return m == -INFINITY ? -INFINITY : slope * m;
}

#define CHUNK 32

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void attention_cpu(ARGS)
{
    ulong i1 = get_global_id(0), head = get_global_id(1), i3 = get_global_id(2);
    __global const uchar *q_row = q + q_offset + i1 * nq1 + head * nq2 + i3 * nq3;
    __global const uchar *k_head = k + k_offset + head / k_repeat2 * nk2 + i3 / k_repeat3 * nk3;
    __global const uchar *v_head = v + v_offset + head / v_repeat2 * nv2 + i3 / v_repeat3 * nv3;
    __global const uchar *m = mask + mask_offset + i1 * nm1 + head % em2 * nm2 + i3 % em3 * nm3;
    float slope = slope_of((uint)head, max_bias, n_head_log2, m0, m1);
    float16 query[KG], acc[VG];
#pragma unroll
    for (uint g = 0; g < KG; g++) query[g] = load_group(q_row, g, DK, W_F32);
#pragma unroll
    for (uint g = 0; g < VG; g++) acc[g] = 0.0f;
    float top = -INFINITY, sum = 0.0f;
    for (ulong base = 0; base < n_kv; base += CHUNK) {
        float s[CHUNK];
        float best = -INFINITY;
        uint used = (uint)min((ulong)CHUNK, n_kv - base);
        for (uint j = 0; j < CHUNK; j++) {
            float bias = j < used ? bias_of(m, base + j, has_mask, slope) : -INFINITY;
            if (bias != -INFINITY)
                bias += capped(score_of(query, k_head + (base + j) * nk1), scale, softcap);
            s[j] = bias;
            best = fmax(best, bias);
        }
        if (best == -INFINITY) continue;
        if (best > top) {
            float shrink = exp(top - best);
            top = best;
            sum *= shrink;
#pragma unroll
            for (uint g = 0; g < VG; g++) acc[g] *= shrink;
        }
        for (uint j = 0; j < CHUNK; j += 16) vstore16(exp(vload16(0, s + j) - top), 0, s + j);
        for (uint j = 0; j < used; j++) {
            if (s[j] == 0.0f) continue;
            __global const uchar *value = v_head + (base + j) * nv1;
            sum += s[j];
#pragma unroll
            for (uint g = 0; g < VG; g++)
                acc[g] = fma((float16)(s[j]), load_group(value, g, DV, V_TYPE), acc[g]);
        }
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
#pragma unroll
    for (uint g = 0; g < VG; g++) {
        float16 r = acc[g] * weight;
        if (g * 16 + 16 <= DV) {
            vstore16(r, g, out);
        } else {
            float part[16];
            vstore16(r, 0, part);
            for (uint j = 0; g * 16 + j < DV; j++) out[g * 16 + j] = part[j];
        }
    }
}

#define WIDTH 128
#define VL    ((DV + WIDTH - 1) / WIDTH)

float max_group(float value, __local float *part)
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
                dot16 = fma(vload16(g, query), load_group(key, g, DK, K_TYPE), dot16);
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
