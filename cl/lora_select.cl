/* lora_select.cl - SELECT: a top-k router inside the layer. For every hidden slot whose adapter
 * routes, logits = gate x; the top_k largest are kept (ties to the lower index), weighed by
 * softmax(kept / temperature); rank row j of the slot's hidden vector is multiplied by the weight
 * of its expert j / (rank / n_experts), 0 where it was not kept. Runs between SHRINK and EXPAND.
 *
 * Order: select_logits sums k ascending in 16 partial sums by k mod 16, added as a tree; the
 * softmax subtracts the largest, experts in index order. The same in both classes and for every
 * chunk.
 *
 * Grids, any group: select_logits (n_experts_max, chunks), select_top_k (1, chunks). `logits` is
 * f32 [n_hidden][logit_stride], logit_stride >= every n_experts; hidden as in lora_shrink.cl. */
#pragma OPENCL FP_CONTRACT OFF
#include "lora_types.cl"

#define LANE(adapter) (((__global const lora_lane *)(lanes + lane_offset))[adapter])
#define LOGITS(slot)  ((__global const float *)(l_base + l_offset) + (ulong)(slot)*logit_stride)
enum { ROUTER_KIND_TOP_K = 1 };

__kernel void select_logits(__global const uchar *restrict pool, ulong pool_offset,
                            __global const uchar *restrict lanes, ulong lane_offset, WORK_ARGS,
                            __global const uchar *restrict x_base, ulong x_offset, ulong x_stride,
                            __global uchar *restrict l_base, ulong l_offset, uint logit_stride,
                            uint d_in)
{
    pool += pool_offset;
    lora_chunk chunk = WORK_CHUNK(get_global_id(1));
    uint expert = get_global_id(0);
    for (uint e = 0; e < chunk.n_entries; e++) {
        lora_lane lane = LANE(WORK_ENTRY(chunk.entry_first + e));
        if (ROUTER_KIND(lane) != ROUTER_KIND_TOP_K || expert >= ROUTER_EXPERTS(lane)) continue;
        __global const uchar *gate =
            pool + lane.gate + expert * factor_row_bytes(lane.type_gate, d_in);
        for (uint i = 0; i < chunk.n_rows; i++) {
            ulong row = WORK_ROW(chunk.row_first + i);
            __global const float *x = (__global const float *)(x_base + x_offset + row * x_stride);
            float16 s = 0.0f;
            uint k = 0;
            for (; k + 16 <= d_in; k += 16)
                s = fma(vload16(0, x + k), factor_values16(lane.type_gate, gate, k), s);
            if (k < d_in)
                s = fma(floats16(x + k, d_in - k), factor_tail16(lane.type_gate, gate, k, d_in - k),
                        s);
            float8 a = s.lo + s.hi;
            float4 b = a.lo + a.hi;
            float2 c = b.lo + b.hi;
            uint slot = chunk.hidden_first + i * chunk.n_entries + e;
            ((__global float *)(l_base + l_offset))[(ulong)slot * logit_stride + expert] =
                c.x + c.y;
        }
    }
}

/* Whether logit `at` is among the top_k: fewer than top_k others come before it. */
inline bool is_kept(__global const float *logits, uint n, uint top_k, uint at)
{
    uint before = 0;
    for (uint i = 0; i < n; i++)
        before += logits[i] > logits[at] || (logits[i] == logits[at] && i < at);
    return before < top_k;
}

__kernel void select_top_k(__global const uchar *restrict lanes, ulong lane_offset, WORK_ARGS,
                           __global const uchar *restrict l_base, ulong l_offset, uint logit_stride,
                           __global uchar *restrict h_base, ulong h_offset, uint hidden_stride)
{
    lora_chunk chunk = WORK_CHUNK(get_global_id(1));
    for (uint e = 0; e < chunk.n_entries; e++) {
        lora_lane lane = LANE(WORK_ENTRY(chunk.entry_first + e));
        if (ROUTER_KIND(lane) != ROUTER_KIND_TOP_K) continue;
        uint n = ROUTER_EXPERTS(lane), top_k = ROUTER_TOP_K(lane), each = lane.rank / n;
        for (uint i = 0; i < chunk.n_rows; i++) {
            uint slot = chunk.hidden_first + i * chunk.n_entries + e;
            __global const float *logits = LOGITS(slot);
            __global float *h = (__global float *)(h_base + h_offset) + (ulong)slot * hidden_stride;
            float largest = logits[0], sum = 0.0f;
            for (uint x = 1; x < n; x++) largest = fmax(largest, logits[x]);
            for (uint x = 0; x < n; x++)
                if (is_kept(logits, n, top_k, x))
                    sum += exp((logits[x] - largest) / lane.temperature);
            for (uint x = 0; x < n; x++) {
                bool kept = is_kept(logits, n, top_k, x);
                float weight = kept ? exp((logits[x] - largest) / lane.temperature) / sum : 0.0f;
                for (uint j = x * each; j < (x + 1) * each; j++) h[j] = kept ? h[j] * weight : 0.0f;
            }
        }
    }
}
