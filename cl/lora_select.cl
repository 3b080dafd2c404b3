/* lora_select.cl - SELECT: a router inside the layer, between SHRINK and EXPAND. select_logits: for
 * every hidden slot whose adapter routes, logits = gate x. Then by the router's kind:
 *
 * TOP_K: the top_k largest are kept (ties to the lower index), weighed by softmax(kept /
 * temperature); rank row j of the slot's hidden vector is multiplied by the weight of its expert j
 * / (rank / n_experts), 0 where it was not kept (select_apply). PAIRS: the gate has logits for A
 * and, behind them, for B. select_pairs averages both over the rows of a sequence (the mean of
 * products is the product with the mean), chooses top_k of A and of B, in descending order, and
 * leaves the choices behind the logits of the sequence's first slot; a pair table shifts B's
 * scores. select_apply then moves h[ia_j] to h[ib_j], by way of the row's own logits, which nobody
 * needs by then, and clears the rest.
 *
 * Order: select_logits sums k ascending in 16 partial sums by k mod 16, added as a tree; the
 * softmax subtracts the largest, experts in index order; means add rows in ascending order. The
 * same in both classes and for every chunk; with PAIRS for the same rows of the sequence.
 *
 * Grids, any group: select_logits (gate rows at most, chunks), select_pairs and select_apply
 * (1, chunks). `logits` is f32 [n_hidden][logit_stride], logit_stride >= every n_experts, with
 * PAIRS 4 times that; hidden as in lora_shrink.cl. At most 256 experts. */
#pragma OPENCL FP_CONTRACT OFF
#include "lora_types.cl"

#define LANE(adapter) (((__global const lora_lane *)(lanes + lane_offset))[adapter])
#define LOGITS(slot)  ((__global const float *)(l_base + l_offset) + (ulong)(slot)*logit_stride)
enum { ROUTER_KIND_NONE = 0, ROUTER_KIND_TOP_K = 1, ROUTER_KIND_PAIRS = 2 };

/* First hidden slot of entry e among the rows of a position's sequence, and how many rows they are.
 */
#define PEER_FIRST(position) (((__global const uint *)(work + peer_offset))[2 * (position)])
#define PEER_COUNT(position) (((__global const uint *)(work + peer_offset))[2 * (position) + 1])

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
        uint n = ROUTER_EXPERTS(lane);
        bool second = ROUTER_KIND(lane) == ROUTER_KIND_PAIRS && expert >= n;
        if (ROUTER_KIND(lane) == ROUTER_KIND_NONE || expert >= (second ? 2 * n : n)) continue;
        uint type = second ? lane.type_gate >> 8 : lane.type_gate & 255u;
        __global const uchar *gate = pool + (second ? lane.gate_b : lane.gate) +
                                     (second ? expert - n : expert) * factor_row_bytes(type, d_in);
        for (uint i = 0; i < chunk.n_rows; i++) {
            ulong row = WORK_ROW(chunk.row_first + i);
            __global const float *x = (__global const float *)(x_base + x_offset + row * x_stride);
            float16 s = 0.0f;
            uint k = 0;
            for (; k + 16 <= d_in; k += 16)
                s = fma(vload16(0, x + k), factor_values16(type, gate, k), s);
            if (k < d_in)
                s = fma(floats16(x + k, d_in - k), factor_tail16(type, gate, k, d_in - k), s);
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
static inline bool is_kept(__global const float *logits, uint n, uint top_k, uint at)
{
    uint before = 0;
    for (uint i = 0; i < n; i++)
        before += logits[i] > logits[at] || (logits[i] == logits[at] && i < at);
    return before < top_k;
}

/* The top_k largest of n scores in descending order, ties to the lower index. */
static inline void choose(__global const float *scores, uint n, uint top_k, __global float *chosen)
{
    for (uint j = 0; j < top_k; j++) {
        uint best = n;
        for (uint i = 0; i < n; i++) {
            bool taken = false;
            for (uint k = 0; k < j; k++) taken = taken || (uint)chosen[k] == i;
            if (!taken && (best == n || scores[i] > scores[best])) best = i;
        }
        chosen[j] = (float)best;
    }
}

static inline void softmax_in_place(__global float *values, uint n)
{
    float largest = values[0], sum = 0.0f;
    for (uint i = 1; i < n; i++) largest = fmax(largest, values[i]);
    for (uint i = 0; i < n; i++) sum += values[i] = exp(values[i] - largest);
    for (uint i = 0; i < n; i++) values[i] /= sum;
}

/* b = softmax(b) + weight * softmax(sum_j table[j][ia_j]); a's scores are no longer needed and hold
 * the second term. */
static inline void add_pair_scores(__global const float *table, float weight,
                                   __global const float *ia, uint n, uint top_k, __global float *a,
                                   __global float *b)
{
    for (uint e = 0; e < n; e++) {
        float sum = 0.0f;
        for (uint j = 0; j < top_k; j++) sum += table[((ulong)j * n + (uint)ia[j]) * n + e];
        a[e] = sum;
    }
    softmax_in_place(a, n);
    softmax_in_place(b, n);
    for (uint e = 0; e < n; e++) b[e] = fma(weight, a[e], b[e]);
}

__kernel void select_pairs(__global const uchar *restrict pool, ulong pool_offset,
                           __global const uchar *restrict lanes, ulong lane_offset, WORK_ARGS,
                           __global uchar *restrict l_base, ulong l_offset, uint logit_stride,
                           ulong peer_offset)
{
    pool += pool_offset;
    lora_chunk chunk = WORK_CHUNK(get_global_id(1));
    for (uint e = 0; e < chunk.n_entries; e++) {
        lora_lane lane = LANE(WORK_ENTRY(chunk.entry_first + e));
        if (ROUTER_KIND(lane) != ROUTER_KIND_PAIRS) continue;
        uint n = ROUTER_EXPERTS(lane), top_k = ROUTER_TOP_K(lane);
        for (uint i = 0; i < chunk.n_rows; i++) {
            uint position = chunk.row_first + i, first = PEER_FIRST(position);
            if (first != chunk.hidden_first + i * chunk.n_entries) continue; /* not the first row */
            uint count = PEER_COUNT(position);
            __global float *own = (__global float *)LOGITS(first + e);
            for (uint x = 0; x < 2 * n; x++) {
                float sum = 0.0f;
                for (uint j = 0; j < count; j++) sum += LOGITS(first + j * chunk.n_entries + e)[x];
                own[x] = sum / (float)count;
            }
            __global float *ia = own + 2 * n, *ib = ia + n;
            choose(own, n, top_k, ia);
            if (lane.pairs)
                add_pair_scores(POOL_FLOATS(lane.pairs), lane.temperature, ia, n, top_k, own,
                                own + n);
            choose(own + n, n, top_k, ib);
        }
    }
}

static inline void weigh(const lora_lane lane, __global const float *logits, __global float *h)
{
    uint n = ROUTER_EXPERTS(lane), top_k = ROUTER_TOP_K(lane), each = lane.rank / n;
    float largest = logits[0], sum = 0.0f;
    for (uint x = 1; x < n; x++) largest = fmax(largest, logits[x]);
    for (uint x = 0; x < n; x++)
        if (is_kept(logits, n, top_k, x)) sum += exp((logits[x] - largest) / lane.temperature);
    for (uint x = 0; x < n; x++) {
        bool kept = is_kept(logits, n, top_k, x);
        float weight = kept ? exp((logits[x] - largest) / lane.temperature) / sum : 0.0f;
        for (uint j = x * each; j < (x + 1) * each; j++) h[j] = kept ? h[j] * weight : 0.0f;
    }
}

/* `moved` has room for top_k values: an array of our own would be private memory on a GPU. */
static inline void rewire(const lora_lane lane, __global const float *logits, __global float *h,
                          __global float *moved)
{
    uint n = ROUTER_EXPERTS(lane), top_k = ROUTER_TOP_K(lane);
    __global const float *ia = logits + 2 * n, *ib = ia + n;
    for (uint j = 0; j < top_k; j++) moved[j] = h[(uint)ia[j]];
    for (uint x = 0; x < n; x++) h[x] = 0.0f;
    for (uint j = 0; j < top_k; j++) h[(uint)ib[j]] = moved[j];
}

__kernel void select_apply(__global const uchar *restrict lanes, ulong lane_offset, WORK_ARGS,
                           __global uchar *restrict l_base, ulong l_offset, uint logit_stride,
                           __global uchar *restrict h_base, ulong h_offset, uint hidden_stride,
                           ulong peer_offset)
{
    lora_chunk chunk = WORK_CHUNK(get_global_id(1));
    for (uint e = 0; e < chunk.n_entries; e++) {
        lora_lane lane = LANE(WORK_ENTRY(chunk.entry_first + e));
        for (uint i = 0; i < chunk.n_rows; i++) {
            uint slot = chunk.hidden_first + i * chunk.n_entries + e;
            __global float *h = (__global float *)(h_base + h_offset) + (ulong)slot * hidden_stride;
            if (ROUTER_KIND(lane) == ROUTER_KIND_TOP_K) weigh(lane, LOGITS(slot), h);
            if (ROUTER_KIND(lane) == ROUTER_KIND_PAIRS)
                rewire(lane, LOGITS(PEER_FIRST(chunk.row_first + i) + e), h,
                       (__global float *)LOGITS(slot));
        }
    }
}
