/* attention.cl - softmax(scale * q k^T + mask) v for every row and head, KV read once.
 *
 * -DDK=, -DDV= head sizes; -DK_TYPE=, -DV_TYPE= types of K and V (f32 f16 bf16 q8_0 q4_0 q4_1 q5_0
 * q5_1). q, dst f32; mask f16 or absent (has_mask); sinks f32 one a head (has_sinks). Heads and
 * batches of K and V repeat over those of q. dst [DV, head, row, batch].
 * The keys are taken in chunks of fixed size from position 0, in order; a chunk whose keys are all
 * masked is skipped, a masked key adds nothing. So padding and other sequences leave a row's bits
 * alone.
 *
 * CPU class, work-items of one vector, two ways whose arithmetic of a row and head is the same:
 * -DROWS=8  attention_rows: rows of one head, which share a chunk's conversion to f32; global =
 *           (rows / ROWS, heads, batches).
 * -DHEADS=n attention_heads: one row and n heads of the same keys, whose queries stay in registers;
 *           global = (rows, heads / HEADS, batches).
 * GPU class: attention_gpu, 128 lanes, one key each, then one output channel each; global = (rows,
 * heads, batches) groups. */
#pragma OPENCL FP_CONTRACT OFF
#include "attention_types.cl"

#ifndef OCLORA_CLASS_GPU
#ifdef HEADS

__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(float16))) void
attention_heads(ARGS)
{
    ulong row = get_global_id(0), head = (ulong)get_global_id(1) * HEADS, i3 = get_global_id(2);
    __global const uchar *q_row = q + q_offset + row * nq1 + head * nq2 + i3 * nq3;
    __global const uchar *k_head = K_HEAD, *v_head = V_HEAD;
    __global const uchar *m[HEADS];
    float16 query[HEADS][KG], acc[HEADS][VG], sums[HEADS];
    float tops[HEADS], slopes[HEADS];
    for (uint r = 0; r < HEADS; r++) {
        m[r] = MASK(row, head + r);
        slopes[r] = SLOPE(head + r);
        begin(q_row + r * nq2, query[r], acc[r], &sums[r], &tops[r]);
    }
    for (ulong base = 0; base < n_kv; base += CHUNK) {
        uint used = (uint)min((ulong)CHUNK, n_kv - base);
        __global const uchar *k_chunk = k_head + base * nk1, *v_chunk = v_head + base * nv1;
        float16 s[HEADS][2]; /* biases, then scores */
        float p[HEADS][CHUNK];
        bool any = false;
        for (uint r = 0; r < HEADS; r++) {
            for (uint part = 0; part < 2; part++)
                s[r][part] = bias16(m[r], base + part * 16, used - min(part * 16, used), has_mask,
                                    slopes[r]);
            any |= max_lanes(fmax(s[r][0], s[r][1])) != -INFINITY;
        }
        if (!any) continue;
        for (uint part = 0; part < 2 && part * 16 < used; part++) {
            float16 d[HEADS][16];
            for (uint j = 0; j < 16; j++) {
                __global const uchar *key = k_chunk + min(part * 16 + j, used - 1) * nk1;
                float16 one[HEADS];
#pragma unroll
                for (uint r = 0; r < HEADS; r++) one[r] = 0.0f;
#pragma unroll
                for (uint g = 0; g < KG; g++) {
                    float16 k16 = load_group(key, g, DK, K_TYPE);
#pragma unroll
                    for (uint r = 0; r < HEADS; r++) one[r] = fma(query[r][g], k16, one[r]);
                }
#pragma unroll
                for (uint r = 0; r < HEADS; r++) d[r][j] = one[r];
            }
            for (uint r = 0; r < HEADS; r++)
                s[r][part] = scores16(d[r], s[r][part], scale, softcap);
        }
        for (uint r = 0; r < HEADS; r++) weigh(s[r][0], s[r][1], &tops[r], &sums[r], acc[r], p[r]);
        float16 out[HEADS][VG];
#pragma unroll
        for (uint r = 0; r < HEADS; r++)
#pragma unroll
            for (uint g = 0; g < VG; g++) out[r][g] = acc[r][g];
        for (uint j = 0; j < used; j++) {
            float16 v16[VG];
#pragma unroll
            for (uint g = 0; g < VG; g++) v16[g] = load_group(v_chunk + j * nv1, g, DV, V_TYPE);
#pragma unroll
            for (uint r = 0; r < HEADS; r++) {
                float16 weight = (float16)(p[r][j]);
                int16 none = weight == 0.0f;
#pragma unroll
                for (uint g = 0; g < VG; g++)
                    out[r][g] = select(fma(weight, v16[g], out[r][g]), out[r][g], none);
            }
        }
#pragma unroll
        for (uint r = 0; r < HEADS; r++)
#pragma unroll
            for (uint g = 0; g < VG; g++) acc[r][g] = out[r][g];
    }
    for (uint r = 0; r < HEADS; r++)
        finish(acc[r], sums[r], tops[r], SINK(head + r), Y(row, head + r));
}

#else

#ifndef ROWS
#define ROWS 8
#endif

__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(float16))) void
attention_rows(ARGS)
{
    ulong first = (ulong)get_global_id(0) * ROWS, head = get_global_id(1), i3 = get_global_id(2);
    uint rows = (uint)min((ulong)ROWS, n_rows - first);
    __global const uchar *q_rows = q + q_offset + first * nq1 + head * nq2 + i3 * nq3;
    __global const uchar *k_head = K_HEAD, *v_head = V_HEAD;
    float slope = SLOPE(head);
    float16 query[ROWS][KG], acc[ROWS][VG], sums[ROWS];
    float tops[ROWS], keys[CHUNK][KG * 16], values[CHUNK][VG * 16];
    for (uint r = 0; r < rows; r++) {
        begin(q_rows + r * nq1, query[r], acc[r], &sums[r], &tops[r]);
    }
    for (ulong base = 0; base < n_kv; base += CHUNK) {
        uint used = (uint)min((ulong)CHUNK, n_kv - base);
        __global const uchar *k_chunk = k_head + base * nk1, *v_chunk = v_head + base * nv1;
        bool loaded = false;
        for (uint r = 0; r < rows; r++) {
            __global const uchar *m = MASK(first + r, head);
            float16 s[2];
            float p[CHUNK];
            for (uint part = 0; part < 2; part++)
                s[part] = bias16(m, base + part * 16, used - min(part * 16, used), has_mask, slope);
            if (max_lanes(fmax(s[0], s[1])) == -INFINITY) continue;
            for (uint j = 0; !loaded && j < used; j++) {
                for (uint g = 0; g < KG; g++)
                    vstore16(load_group(k_chunk + j * nk1, g, DK, K_TYPE), g, keys[j]);
                for (uint g = 0; g < VG; g++)
                    vstore16(load_group(v_chunk + j * nv1, g, DV, V_TYPE), g, values[j]);
            }
            loaded = true;
            for (uint part = 0; part < 2 && part * 16 < used; part++) {
                float16 d[16];
                for (uint j = 0; j < 16; j++) {
                    const float *key = keys[min(part * 16 + j, used - 1)];
                    float16 one = 0.0f;
#pragma unroll
                    for (uint g = 0; g < KG; g++) one = fma(query[r][g], vload16(g, key), one);
                    d[j] = one;
                }
                s[part] = scores16(d, s[part], scale, softcap);
            }
            weigh(s[0], s[1], &tops[r], &sums[r], acc[r], p);
            float16 out[VG];
#pragma unroll
            for (uint g = 0; g < VG; g++) out[g] = acc[r][g];
            for (uint j = 0; j < used; j++) {
                if (p[j] == 0.0f) continue;
#pragma unroll
                for (uint g = 0; g < VG; g++)
                    out[g] = fma((float16)(p[j]), vload16(g, values[j]), out[g]);
            }
#pragma unroll
            for (uint g = 0; g < VG; g++) acc[r][g] = out[g];
        }
    }
    for (uint r = 0; r < rows; r++)
        finish(acc[r], sums[r], tops[r], SINK(head), Y(first + r, head));
}
#endif

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
