/* rope.cl - rotary position embedding of pairs of channels.
 *
 * Pairs are neighbours (neox 0) or half of n_dims apart (neox 1); channels from n_dims on are
 * copied. src, dst f32 or f16 (types at run time, equal), dimension 0 contiguous; positions I32
 * [ne2]; factors f32 [n_dims / 2] divide the angles (has_factors). A work-item rotates pairs 16 at
 * a time of the heads `head, head + head_step, ...` of one token: global = (ceil(pairs / 16),
 * head_step, ne2 * ne3). The angle of pair i is position * theta_scale^i, with YaRN's mix of scales
 * if ext_factor is not 0. In-place use is allowed. */
#pragma OPENCL FP_CONTRACT OFF
#include "dense.cl"

#define SECTIONS_INTERLEAVED 1
#define SECTIONS_RESTARTED   2
#define LANE_NUMBERS         (float16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)

void split16(__global const uchar *x, ulong pair, uint count, uint half_dims, uint neox, uint type,
             float16 *x0, float16 *x1)
{
    float p0[16], p1[16];
    ulong size = dense_bytes(type);
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
    for (uint j = 0; j < 16; j++) {
        ulong c0 = neox ? pair + j : 2 * (pair + j);
        ulong c1 = neox ? c0 + half_dims : c0 + 1;
        p0[j] = j < count ? load_one(x + c0 * size, type) : 0.0f;
        p1[j] = j < count ? load_one(x + c1 * size, type) : 0.0f;
    }
    *x0 = vload16(0, p0);
    *x1 = vload16(0, p1);
}

void merge16(__global uchar *y, ulong pair, uint count, uint half_dims, uint neox, uint type,
             float16 y0, float16 y1)
{
    float p0[16], p1[16];
    ulong size = dense_bytes(type);
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
}

/* Cosine and sine of pairs pair .. pair + count, times magnitude: the token's position and the
 * power of theta_scale are given for each. */
void angles16_of(float16 position, float16 power, ulong pair, uint count,
                 __global const uchar *factors, uint has_factors, float theta_scale,
                 float freq_scale, float ext_factor, float magnitude, float corr_low,
                 float corr_high, float16 *c, float16 *n)
{
    float16 index = (float)pair + LANE_NUMBERS;
    float16 extrapolated = position * pow((float16)(theta_scale), power);
    if (has_factors) {
        __global const uchar *f = factors + pair * 4;
        float part[16];
        for (uint j = 0; j < 16; j++) part[j] = j < count ? load_one(f + j * 4, TYPE_F32) : 1.0f;
        extrapolated /= vload16(0, part);
    }
    float16 theta = freq_scale * extrapolated;
    if (ext_factor != 0.0f) {
        float16 y = (index - corr_low) / fmax(0.001f, corr_high - corr_low);
        float16 mix = (1.0f - fmin((float16)(1.0f), fmax((float16)(0.0f), y))) * ext_factor;
        theta = theta * (1.0f - mix) + extrapolated * mix;
    }
    *c = cos(theta) * magnitude;
    *n = sin(theta) * magnitude;
}

/* As above, with one position for all pairs. */
void angles16(float position, ulong pair, uint count, __global const uchar *factors,
              uint has_factors, float theta_scale, float freq_scale, float ext_factor,
              float magnitude, float corr_low, float corr_high, float16 *c, float16 *n)
{
    angles16_of((float16)(position), (float)pair + LANE_NUMBERS, pair, count, factors, has_factors,
                theta_scale, freq_scale, ext_factor, magnitude, corr_low, corr_high, c, n);
}

__kernel void rope(__global uchar *dst, ulong dst_offset, __global const uchar *src,
                   ulong src_offset, __global const int *positions, ulong positions_offset,
                   __global const float *factors, ulong factors_offset, ulong ne0, ulong ne1,
                   ulong ne2, ulong nd1, ulong nd2, ulong nd3, ulong ns1, ulong ns2, ulong ns3,
                   uint type, uint n_dims, uint neox, uint has_factors, float theta_scale,
                   float freq_scale, float ext_factor, float magnitude, float corr_low,
                   float corr_high)
{
    ulong pair = (ulong)get_global_id(0) * 16;
    ulong i2 = get_global_id(2) % ne2, i3 = get_global_id(2) / ne2;
    uint half_dims = n_dims / 2;
    __global const uchar *s = src + src_offset + i2 * ns2 + i3 * ns3;
    __global uchar *d = dst + dst_offset + i2 * nd2 + i3 * nd3;
    if (pair >= half_dims) { /* the channels behind the rotated ones */
        ulong from = n_dims + (pair - (half_dims + 15) / 16 * 16) * 2, size = dense_bytes(type);
        ulong to = min(from + 32, ne0);
        for (ulong h = get_global_id(1); h < ne1; h += get_global_size(1))
            for (ulong i = from; i < to; i++)
                store_one(d + h * nd1 + i * size, type, load_one(s + h * ns1 + i * size, type));
        return;
    }
    uint count = (uint)min((ulong)16, half_dims - pair);
    float position =
        (float)((__global const int *)((__global const uchar *)positions + positions_offset))[i2];
    float16 c, n;
    angles16(position, pair, count, (__global const uchar *)factors + factors_offset, has_factors,
             theta_scale, freq_scale, ext_factor, magnitude, corr_low, corr_high, &c, &n);
    for (ulong h = get_global_id(1); h < ne1; h += get_global_size(1)) {
        float16 x0, x1;
        split16(s + h * ns1, pair, count, half_dims, neox, type, &x0, &x1);
        merge16(d + h * nd1, pair, count, half_dims, neox, type, x0 * c - x1 * n, x0 * n + x1 * c);
    }
}

/* Which of a token's four positions (time, height, width, extra) turns a pair, and its power. */
void section_of(uint sector, uint form, const uint *width, uint *which, float *power)
{
    const uint height = width[0], across = height + width[1], extra = across + width[2];
    if (form == SECTIONS_INTERLEAVED) {
        uint k = sector % 3;
        *which = sector < 3 * width[k] ? k : 3;
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
    const uint width[4] = {width0, width1, width2, width3};
    const uint sum = width0 + width1 + width2 + width3;
    ulong pair = (ulong)get_global_id(0) * 16, size = dense_bytes(type);
    ulong i2 = get_global_id(2) % ne2, i3 = get_global_id(2) / ne2;
    __global const int *at = (__global const int *)(positions + positions_offset) + i2;
    __global const uchar *s = src + src_offset + i2 * ns2 + i3 * ns3;
    __global uchar *d = dst + dst_offset + i2 * nd2 + i3 * nd3;
    if (pair >= pairs) { /* the channels behind the rotated ones */
        ulong from = 2 * pairs + (pair - (pairs + 15) / 16 * 16) * 2;
        for (ulong h = get_global_id(1); h < ne1; h += get_global_size(1))
            for (ulong i = from; i < min(from + 32, ne0); i++)
                store_one(d + h * nd1 + i * size, type, load_one(s + h * ns1 + i * size, type));
        return;
    }
    float position[16], power[16];
    for (uint j = 0; j < 16; j++) {
        uint which = 0;
        power[j] = (float)(pair + j);
        section_of((uint)(pair + j) % sum, form, width, &which, &power[j]);
        position[j] = (float)at[which * ne2];
    }
    uint count = (uint)min((ulong)16, pairs - pair);
    float16 c, n;
    angles16_of(vload16(0, position), vload16(0, power), pair, count, factors + factors_offset,
                has_factors, theta_scale, freq_scale, ext_factor, magnitude, corr_low, corr_high,
                &c, &n);
    for (ulong h = get_global_id(1); h < ne1; h += get_global_size(1)) {
        float16 x0, x1;
        split16(s + h * ns1, pair, count, pairs, 1, type, &x0, &x1);
        merge16(d + h * nd1, pair, count, pairs, 1, type, x0 * c - x1 * n, x0 * n + x1 * c);
    }
}

/* rope_store: one launch for what a layer does between its products and attention. q (if q_heads >
 * 0) and k are rotated as above, f32 into q_dst and k_dst; the rotated k row of each token also
 * goes to row k_index[token] of k_cache, and (if v_width > 0) row v of the token to row
 * v_index[token] of v_cache, converted. Heads lie ne0 elements apart in k_dst and the caches. An
 * index outside a cache is skipped. q_dst may be q, k_dst may be k. global = (ceil(n_dims / 32) +
 * ceil((ne0 - n_dims) / 32)
 * + 1, head_step, tokens): the last column copies v. */
void copy_part(__global const uchar *s, __global uchar *d, __global uchar *cache, ulong from,
               ulong to, uint cache_type)
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
    ulong pair = (ulong)get_global_id(0) * 16, token = get_global_id(2);
    uint half_dims = n_dims / 2, neox = flags & 1, has_factors = flags >> 1;
    uint k_type = cache_types & 255, v_type = cache_types >> 8, size = dense_bytes(k_type);
    if (get_global_id(0) + 1 == get_global_size(0)) {
        long at = v_width ? ((__global const long *)(v_index + v_index_offset))[token] : -1;
        if (at < 0 || (ulong)at >= v_rows) return;
        __global const uchar *s = v + v_offset + token * v1;
        __global uchar *d = v_cache + v_cache_offset + (ulong)at * v_cache1;
        for (ulong i = get_global_id(1) * 16; i < v_width; i += get_global_size(1) * 16) {
            uint left = (uint)min((ulong)16, v_width - i);
#if LANES == 16
            store_lanes(d + i * dense_bytes(v_type), dense_bytes(v_type), left, v_type,
                        load_lanes(s + i * 4, 4, left, TYPE_F32));
#else
            for (uint j = 0; j < left; j++)
                store_one(d + (i + j) * dense_bytes(v_type), v_type,
                          load_one(s + (i + j) * 4, TYPE_F32));
#endif
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
    ulong from = behind ? n_dims + (pair - (half_dims + 15) / 16 * 16) * 2 : 0;
    ulong to = min(from + 32, (ulong)ne0);
    uint count = behind ? 0 : (uint)min((ulong)16, half_dims - pair);
    float16 c = 0.0f, n = 0.0f;
    if (!behind)
        angles16((float)((__global const int *)(positions + positions_offset))[token], pair, count,
                 factors + factors_offset, has_factors, theta_scale, freq_scale, ext_factor,
                 magnitude, corr_low, corr_high, &c, &n);
    for (uint h = get_global_id(1); h < max(q_heads, k_heads); h += get_global_size(1)) {
        float16 x0, x1;
        if (h < q_heads && behind) {
            copy_part(qs + h * q1, qd + h * q_dst1, 0, from, to, TYPE_F32);
        } else if (h < q_heads) {
            split16(qs + h * q1, pair, count, half_dims, neox, TYPE_F32, &x0, &x1);
            merge16(qd + h * q_dst1, pair, count, half_dims, neox, TYPE_F32, x0 * c - x1 * n,
                    x0 * n + x1 * c);
        }
        if (h >= k_heads) continue;
        __global uchar *cached = cache ? cache + (ulong)h * ne0 * size : 0;
        __global uchar *rotated = kd + (ulong)h * ne0 * 4;
        if (behind) {
            copy_part(ks + h * k1, rotated, cached, from, to, k_type);
            continue;
        }
        split16(ks + h * k1, pair, count, half_dims, neox, TYPE_F32, &x0, &x1);
        float16 y0 = x0 * c - x1 * n, y1 = x0 * n + x1 * c;
        merge16(rotated, pair, count, half_dims, neox, TYPE_F32, y0, y1);
        if (cached) merge16(cached, pair, count, half_dims, neox, k_type, y0, y1);
    }
}
