/* rope.cl - rotary position embedding of pairs of channels.
 *
 * Pairs are neighbours (neox 0) or half of n_dims apart (neox 1); channels from n_dims on are
 * copied. src, dst f32 or f16 (types at run time, equal), dimension 0 contiguous; positions I32
 * [ne2]; factors f32 [n_dims / 2] divide the angles (has_factors). A work-item rotates LANES pairs
 * (CPU class 16, GPU class 1) of the heads `head, head + head_step, ...` of one token: global =
 * (ceil(pairs / LANES) + ceil((ne0 - n_dims) / (2 LANES)) or more, head_step, ne2 * ne3). The angle
 * of pair i is position * theta_scale^i, with YaRN's mix of scales if ext_factor is not 0. In-place
 * use is allowed. */
#pragma OPENCL FP_CONTRACT OFF
#ifdef OCLORA_CLASS_GPU
#define LANES 1
#endif
#include "dense.cl"

#define SECTIONS_INTERLEAVED 1
#define SECTIONS_RESTARTED   2
#if LANES == 16
#define LANE_NUMBERS (float16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#else
#define LANE_NUMBERS 0.0f
#endif

static inline lanes_t lanes_of(const float *part)
{
#if LANES == 16
    return vload16(0, part);
#else
    return part[0];
#endif
}

/* Both channels of pairs pair .. pair + count; they may hold less than 16 in the CPU class only. */
static inline void split_pairs(__global const uchar *x, ulong pair, uint count, uint half_dims,
                               uint neox, uint type, lanes_t *x0, lanes_t *x1)
{
    float p0[LANES], p1[LANES];
    ulong size = dense_bytes(type);
#if LANES == 16
    if (count >= 16 && type == TYPE_F32) {
        __global const float *f = (__global const float *)x;
        if (neox) {
            *x0 = vload16(0, f + pair);
            *x1 = vload16(0, f + pair + half_dims);
        } else {
            float16 a = vload16(0, f + 2 * pair), b = vload16(0, f + 2 * pair + 16);
            *x0 = (float16)(a.even, b.even);
            *x1 = (float16)(a.odd, b.odd);
        }
        return;
    }
#endif
    for (uint j = 0; j < LANES; j++) {
        ulong c0 = neox ? pair + j : 2 * (pair + j);
        ulong c1 = neox ? c0 + half_dims : c0 + 1;
        p0[j] = j < count ? load_one(x + c0 * size, type) : 0.0f;
        p1[j] = j < count ? load_one(x + c1 * size, type) : 0.0f;
    }
    *x0 = lanes_of(p0);
    *x1 = lanes_of(p1);
}

static inline void merge_pairs(__global uchar *y, ulong pair, uint count, uint half_dims, uint neox,
                               uint type, lanes_t y0, lanes_t y1)
{
    ulong size = dense_bytes(type);
#if LANES == 16
    float p0[16], p1[16];
    if (count >= 16 && type == TYPE_F32 && neox) {
        vstore16(y0, 0, (__global float *)y + pair);
        vstore16(y1, 0, (__global float *)y + pair + half_dims);
        return;
    }
    if (count >= 16 && type == TYPE_F32) {
        float16 a, b;
        a.even = y0.lo;
        a.odd = y1.lo;
        b.even = y0.hi;
        b.odd = y1.hi;
        vstore16(a, 0, (__global float *)y + 2 * pair);
        vstore16(b, 0, (__global float *)y + 2 * pair + 16);
        return;
    }
    vstore16(y0, 0, p0);
    vstore16(y1, 0, p1);
    for (uint j = 0; j < 16 && j < count; j++) {
        ulong c0 = neox ? pair + j : 2 * (pair + j);
        ulong c1 = neox ? c0 + half_dims : c0 + 1;
        store_one(y + c0 * size, type, p0[j]);
        store_one(y + c1 * size, type, p1[j]);
    }
#else
    ulong c0 = neox ? pair : 2 * pair;
    store_one(y + c0 * size, type, y0);
    store_one(y + (neox ? c0 + half_dims : c0 + 1) * size, type, y1);
#endif
}

/* The angles of pairs pair .. pair + count; the token's position and the power of theta_scale are
 * given for each. */
static inline lanes_t angles_of(lanes_t position, lanes_t power, ulong pair, uint count,
                                __global const uchar *factors, uint has_factors, float theta_scale,
                                float freq_scale, float ext_factor, float corr_low, float corr_high)
{
    lanes_t index = (float)pair + LANE_NUMBERS;
    lanes_t extrapolated = position * pow((lanes_t)(theta_scale), power);
    if (has_factors) {
        __global const uchar *f = factors + pair * 4;
        float part[LANES];
        for (uint j = 0; j < LANES; j++) part[j] = j < count ? load_one(f + j * 4, TYPE_F32) : 1.0f;
        extrapolated /= lanes_of(part);
    }
    lanes_t theta = freq_scale * extrapolated;
    if (ext_factor != 0.0f) {
        lanes_t y = (index - corr_low) / fmax(0.001f, corr_high - corr_low);
        lanes_t mix = (1.0f - fmin((lanes_t)(1.0f), fmax((lanes_t)(0.0f), y))) * ext_factor;
        theta = theta * (1.0f - mix) + extrapolated * mix;
    }
    return theta;
}

/* As above, with one position for all pairs. */
static inline lanes_t angles(float position, ulong pair, uint count, __global const uchar *factors,
                             uint has_factors, float theta_scale, float freq_scale,
                             float ext_factor, float corr_low, float corr_high)
{
    return angles_of((lanes_t)(position), (float)pair + LANE_NUMBERS, pair, count, factors,
                     has_factors, theta_scale, freq_scale, ext_factor, corr_low, corr_high);
}

__kernel void rope(__global uchar *dst, ulong dst_offset, __global const uchar *src,
                   ulong src_offset, __global const int *positions, ulong positions_offset,
                   __global const float *factors, ulong factors_offset, ulong ne0, ulong ne1,
                   ulong ne2, ulong nd1, ulong nd2, ulong nd3, ulong ns1, ulong ns2, ulong ns3,
                   uint type, uint n_dims, uint neox, uint has_factors, float theta_scale,
                   float freq_scale, float ext_factor, float magnitude, float corr_low,
                   float corr_high)
{
    ulong pair = (ulong)get_global_id(0) * LANES;
    ulong i2 = get_global_id(2) % ne2, i3 = get_global_id(2) / ne2;
    uint half_dims = n_dims / 2;
    __global const uchar *s = src + src_offset + i2 * ns2 + i3 * ns3;
    __global uchar *d = dst + dst_offset + i2 * nd2 + i3 * nd3;
    if (pair >= half_dims) { /* the channels behind the rotated ones */
        ulong from = n_dims + (pair - (half_dims + LANES - 1) / LANES * LANES) * 2,
              size = dense_bytes(type);
        ulong to = min(from + 2 * LANES, ne0);
        for (ulong h = get_global_id(1); h < ne1; h += get_global_size(1))
            for (ulong i = from; i < to; i++)
                store_one(d + h * nd1 + i * size, type, load_one(s + h * ns1 + i * size, type));
        return;
    }
    uint count = (uint)min((ulong)LANES, half_dims - pair);
    float position =
        (float)((__global const int *)((__global const uchar *)positions + positions_offset))[i2];
    lanes_t theta = angles(position, pair, count, (__global const uchar *)factors + factors_offset,
                           has_factors, theta_scale, freq_scale, ext_factor, corr_low, corr_high);
    lanes_t c = cos(theta) * magnitude, n = sin(theta) * magnitude;
    for (ulong h = get_global_id(1); h < ne1; h += get_global_size(1)) {
        lanes_t x0, x1;
        split_pairs(s + h * ns1, pair, count, half_dims, neox, type, &x0, &x1);
        merge_pairs(d + h * nd1, pair, count, half_dims, neox, type, x0 * c - x1 * n,
                    x0 * n + x1 * c);
    }
}

/* Which of a token's four positions (time, height, width, extra) turns a pair, and its power. */
static inline void section_of(uint sector, uint form, uint4 width, uint *which, float *power)
{
    const uint height = width.x, across = height + width.y, extra = across + width.z;
    if (form == SECTIONS_INTERLEAVED) {
        uint k = sector % 3;
        *which = sector < 3 * (k == 0 ? width.x : k == 1 ? width.y : width.z) ? k : 3;
        return;
    }
    *which = sector < height ? 0 : sector < across ? 1 : sector < extra ? 2 : 3;
    if (form == SECTIONS_RESTARTED) {
        uint first = *which == 0 ? 0 : *which == 1 ? height : *which == 2 ? across : extra;
        *power = (float)(sector - first);
    }
}

/* rope_sections: each pair is turned by one of the token's four positions (positions I32 [4][ne2]),
 * chosen by its number within the sum of `width`. form 0: one section after the other; 1: in turns;
 * 2: as 0, with powers that restart in each. Everything else as rope, with the channels of a pair
 * `pairs` apart. */
__kernel void rope_sections(__global uchar *dst, ulong dst_offset, __global const uchar *src,
                            ulong src_offset, __global const uchar *positions,
                            ulong positions_offset, __global const uchar *factors,
                            ulong factors_offset, ulong ne0, ulong ne1, ulong ne2, ulong nd1,
                            ulong nd2, ulong nd3, ulong ns1, ulong ns2, ulong ns3, uint type,
                            uint pairs, uint form, uint has_factors, uint width0, uint width1,
                            uint width2, uint width3, float theta_scale, float freq_scale,
                            float ext_factor, float magnitude, float corr_low, float corr_high)
{
    const uint4 width = (uint4)(width0, width1, width2, width3);
    const uint sum = width0 + width1 + width2 + width3;
    ulong pair = (ulong)get_global_id(0) * LANES, size = dense_bytes(type);
    ulong i2 = get_global_id(2) % ne2, i3 = get_global_id(2) / ne2;
    __global const int *at = (__global const int *)(positions + positions_offset) + i2;
    __global const uchar *s = src + src_offset + i2 * ns2 + i3 * ns3;
    __global uchar *d = dst + dst_offset + i2 * nd2 + i3 * nd3;
    if (pair >= pairs) { /* the channels behind the rotated ones */
        ulong from = 2 * pairs + (pair - (pairs + LANES - 1) / LANES * LANES) * 2;
        for (ulong h = get_global_id(1); h < ne1; h += get_global_size(1))
            for (ulong i = from; i < min(from + 2 * LANES, ne0); i++)
                store_one(d + h * nd1 + i * size, type, load_one(s + h * ns1 + i * size, type));
        return;
    }
    float position[LANES], power[LANES];
    for (uint j = 0; j < LANES; j++) {
        uint which = 0;
        power[j] = (float)(pair + j);
        section_of((uint)(pair + j) % sum, form, width, &which, &power[j]);
        position[j] = (float)at[which * ne2];
    }
    uint count = (uint)min((ulong)LANES, pairs - pair);
    lanes_t theta =
        angles_of(lanes_of(position), lanes_of(power), pair, count, factors + factors_offset,
                  has_factors, theta_scale, freq_scale, ext_factor, corr_low, corr_high);
    lanes_t c = cos(theta) * magnitude, n = sin(theta) * magnitude;
    for (ulong h = get_global_id(1); h < ne1; h += get_global_size(1)) {
        lanes_t x0, x1;
        split_pairs(s + h * ns1, pair, count, pairs, 1, type, &x0, &x1);
        merge_pairs(d + h * nd1, pair, count, pairs, 1, type, x0 * c - x1 * n, x0 * n + x1 * c);
    }
}

/* rope_store: one launch for what a layer does between its products and attention. q (if q_heads >
 * 0) and k are rotated as above, f32 into q_dst and k_dst; the rotated k row of each token also
 * goes to row k_index[token] of k_cache, and (if v_width > 0) row v of the token to row
 * v_index[token] of v_cache, converted. Heads lie ne0 elements apart in k_dst and the caches. An
 * index outside a cache is skipped. q_dst may be q, k_dst may be k. Groups as for rope, and one
 * more in dimension 0, which copies v. */
static inline void copy_part(__global const uchar *s, __global uchar *d, __global uchar *cache,
                             ulong from, ulong to, uint cache_type)
{
    for (ulong i = from; i < to; i++) {
        float v = load_one(s + i * 4, TYPE_F32);
        store_one(d + i * 4, TYPE_F32, v);
        if (cache) store_one(cache + i * dense_bytes(cache_type), cache_type, v);
    }
}

__kernel void rope_store(__global uchar *q_dst, ulong q_dst_offset, __global const uchar *q,
                         ulong q_offset, __global uchar *k_dst, ulong k_dst_offset,
                         __global const uchar *k, ulong k_offset, __global uchar *k_cache,
                         ulong k_cache_offset, __global const uchar *k_index, ulong k_index_offset,
                         __global const uchar *v, ulong v_offset, __global uchar *v_cache,
                         ulong v_cache_offset, __global const uchar *v_index, ulong v_index_offset,
                         __global const uchar *positions, ulong positions_offset,
                         __global const uchar *factors, ulong factors_offset, uint ne0,
                         uint q_heads, uint k_heads, ulong q_dst1, ulong q_dst2, ulong q1, ulong q2,
                         ulong k_dst2, ulong k1, ulong k2, ulong k_cache1, ulong k_rows,
                         ulong v_width, ulong v1, ulong v_cache1, ulong v_rows, uint cache_types,
                         uint n_dims, uint flags, float theta_scale, float freq_scale,
                         float ext_factor, float magnitude, float corr_low, float corr_high)
{
    ulong pair = (ulong)get_global_id(0) * LANES, token = get_global_id(2);
    uint half_dims = n_dims / 2, neox = flags & 1, has_factors = flags >> 1;
    uint k_type = cache_types & 255, v_type = cache_types >> 8, size = dense_bytes(k_type);
    if (get_group_id(0) + 1 == get_num_groups(0)) {
        long at = v_width ? ((__global const long *)(v_index + v_index_offset))[token] : -1;
        if (at < 0 || (ulong)at >= v_rows) return;
        __global const uchar *s = v + v_offset + token * v1;
        __global uchar *d = v_cache + v_cache_offset + (ulong)at * v_cache1;
        ulong step = get_global_size(1) * get_local_size(0) * LANES;
        ulong i = (get_global_id(1) * get_local_size(0) + get_local_id(0)) * LANES;
        for (; i < v_width; i += step) {
            uint left = (uint)min((ulong)LANES, v_width - i);
            store_lanes(d + i * dense_bytes(v_type), dense_bytes(v_type), left, v_type,
                        load_lanes(s + i * 4, 4, left, TYPE_F32));
        }
        return;
    }
    long at = ((__global const long *)(k_index + k_index_offset))[token];
    __global uchar *cache = 0;
    if (at >= 0 && (ulong)at < k_rows) cache = k_cache + k_cache_offset + (ulong)at * k_cache1;
    __global const uchar *qs = q + q_offset + token * q2, *ks = k + k_offset + token * k2;
    __global uchar *qd = q_dst + q_dst_offset + token * q_dst2;
    __global uchar *kd = k_dst + k_dst_offset + token * k_dst2;
    bool behind = pair >= half_dims; /* the channels behind the rotated ones */
    ulong from = behind ? n_dims + (pair - (half_dims + LANES - 1) / LANES * LANES) * 2 : 0;
    ulong to = min(from + 2 * LANES, (ulong)ne0);
    uint count = behind ? 0 : (uint)min((ulong)LANES, half_dims - pair);
    lanes_t c = 0.0f, n = 0.0f;
    if (!behind) {
        lanes_t theta = angles((float)((__global const int *)(positions + positions_offset))[token],
                               pair, count, factors + factors_offset, has_factors, theta_scale,
                               freq_scale, ext_factor, corr_low, corr_high);
        c = cos(theta) * magnitude;
        n = sin(theta) * magnitude;
    }
    for (uint h = get_global_id(1); h < max(q_heads, k_heads); h += get_global_size(1)) {
        lanes_t x0, x1;
        if (h < q_heads && behind) {
            copy_part(qs + h * q1, qd + h * q_dst1, 0, from, to, TYPE_F32);
        } else if (h < q_heads) {
            split_pairs(qs + h * q1, pair, count, half_dims, neox, TYPE_F32, &x0, &x1);
            merge_pairs(qd + h * q_dst1, pair, count, half_dims, neox, TYPE_F32, x0 * c - x1 * n,
                        x0 * n + x1 * c);
        }
        if (h >= k_heads) continue;
        __global uchar *cached = cache ? cache + (ulong)h * ne0 * size : 0;
        __global uchar *rotated = kd + (ulong)h * ne0 * 4;
        if (behind) {
            copy_part(ks + h * k1, rotated, cached, from, to, k_type);
            continue;
        }
        split_pairs(ks + h * k1, pair, count, half_dims, neox, TYPE_F32, &x0, &x1);
        lanes_t y0 = x0 * c - x1 * n, y1 = x0 * n + x1 * c;
        merge_pairs(rotated, pair, count, half_dims, neox, TYPE_F32, y0, y1);
        if (cached) merge_pairs(cached, pair, count, half_dims, neox, k_type, y0, y1);
    }
}
