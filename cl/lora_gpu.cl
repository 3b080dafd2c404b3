/* lora_gpu.cl - SHRINK and EXPAND for GPU-class devices: wide loads, tiles of 4 rows. Included by
 * the LoRA kernels; compiles alone. What each sum's order is stands in lora_shrink.cl and
 * lora_expand.cl; tiles of one and of four rows keep it.
 *
 * Loads go through pointers cast to float4 and uint2 (vload4 becomes four loads on NVIDIA), so
 * factors lie at multiples of 16 in the pool, which begins at a multiple of 16. */
#pragma OPENCL FP_CONTRACT OFF
#include "lora_types.cl"

#define UNROLL _Pragma("unroll")
enum { GROUP = 64, RANK_TILE = 4, ROW_TILE = 4 };

/* (P x)[k]: the sum over a group of neighbouring inputs, ascending. */
static inline float grouped_input(__global const float *x, uint k, uint group)
{
    float sum = x[(ulong)k * group];
    for (uint g = 1; g < group; g++) sum += x[(ulong)k * group + g];
    return sum;
}

/* Whether rows of n values of the type may be read four at a time. */
static inline bool is_wide(uint type, uint n)
{
    return n % 4 == 0 && type <= TYPE_F16;
}

/* Values i .. i + 3 of a row that is_wide; i a multiple of 4. */
static inline float4 wide4(uint type, __global const uchar *row, uint i)
{
    if (type == TYPE_F32) return ((__global const float4 *)row)[i / 4];
    uint2 halves = ((__global const uint2 *)row)[i / 4];
    return vload_half4(0, (const half *)&halves);
}

/* Values i .. i + n - 1 of any row, n <= 4; the others are 0. */
static inline float4 narrow4(uint type, __global const uchar *row, uint i, uint n)
{
    float v[4];
    UNROLL for (uint j = 0; j < 4; j++) v[j] = j < n ? factor_value(type, row, i + j) : 0.0f;
    return vload4(0, v);
}

static inline float4 floats4(__global const float *p, uint n)
{
    if (n == 4) return vload4(0, p);
    float v[4];
    UNROLL for (uint j = 0; j < 4; j++) v[j] = j < n ? p[j] : 0.0f;
    return vload4(0, v);
}

static inline float4 inputs4(__global const float *x, uint k, uint n, uint group)
{
    if (group == 1) return floats4(x + k, n);
    float v[4];
    UNROLL for (uint j = 0; j < 4; j++) v[j] = j < n ? grouped_input(x, k + j, group) : 0.0f;
    return vload4(0, v);
}

static inline float fma4(float4 a, float4 b, float sum)
{
    return fma(a.w, b.w, fma(a.z, b.z, fma(a.y, b.y, fma(a.x, b.x, sum))));
}

/* sums[r * 4 + j] = work-item l's share of A[j] . x[r] for R rows and 4 rank rows. */
#define SHRINK_SHARE(name, R)                                                                      \
    static inline void name(const lora_lane *lane, __global const uchar *const *a_row,                    \
                     __global const float *const *x_row, uint n, uint l, float *sums)              \
    {                                                                                              \
        bool wide = is_wide(lane->type_a, n);                                                      \
        UNROLL for (int i = 0; i < R * RANK_TILE; i++) sums[i] = 0.0f;                             \
        for (uint k = 4 * l; k < n; k += 4 * GROUP) {                                              \
            uint left = min(4u, n - k);                                                            \
            float4 a[RANK_TILE];                                                                   \
            UNROLL for (int j = 0; j < RANK_TILE; j++) a[j] =                                      \
                wide ? wide4(lane->type_a, a_row[j], k)                                            \
                     : narrow4(lane->type_a, a_row[j], k, left);                                   \
            UNROLL for (int r = 0; r < R; r++)                                                     \
            {                                                                                      \
                float4 x = inputs4(x_row[r], k, left, lane->group);                                \
                UNROLL for (int j = 0; j < RANK_TILE; j++) sums[r * RANK_TILE + j] =               \
                    fma4(x, a[j], sums[r * RANK_TILE + j]);                                        \
            }                                                                                      \
        }                                                                                          \
    }

SHRINK_SHARE(shrink_share_1, 1)
SHRINK_SHARE(shrink_share_4, ROW_TILE)

/* t[r] = sum_j h[r * step + j] B[j][o .. o + n) for R rows. */
#define EXPAND_SHARE(name, R)                                                                      \
    static inline void name(const lora_lane *lane, __global const uchar *b,                               \
                     __global const float *h, ulong step, uint o, uint n, uint d_out, float4 *t)   \
    {                                                                                              \
        bool wide = is_wide(lane->type_b, d_out);                                                  \
        ulong row_bytes = factor_row_bytes(lane->type_b, d_out);                                   \
        UNROLL for (int r = 0; r < R; r++) t[r] = 0.0f;                                            \
        for (uint j = 0; j < lane->rank; j++, b += row_bytes) {                                    \
            float4 v = wide ? wide4(lane->type_b, b, o) : narrow4(lane->type_b, b, o, n);          \
            UNROLL for (int r = 0; r < R; r++) t[r] = fma((float4)(h[r * step + j]), v, t[r]);     \
        }                                                                                          \
    }

EXPAND_SHARE(expand_share_1, 1)
EXPAND_SHARE(expand_share_4, ROW_TILE)
