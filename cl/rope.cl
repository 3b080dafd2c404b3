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

__kernel void rope(__global uchar *dst, ulong dst_offset, __global const uchar *src,
                   ulong src_offset, __global const int *positions, ulong positions_offset,
                   __global const float *factors, ulong factors_offset, ulong ne0, ulong ne1,
                   ulong ne2, ulong nd1, ulong nd2, ulong nd3, ulong ns1, ulong ns2, ulong ns3,
                   uint type, uint n_dims, uint neox, uint has_factors, float theta_scale,
                   float freq_scale, float ext_factor, float magnitude, float corr_low,
                   float corr_high)
{
    const float16 lane = (float16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
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
    float16 index = (float)pair + lane;
    float16 extrapolated = position * pow((float16)(theta_scale), index);
    if (has_factors) {
        __global const uchar *f = (__global const uchar *)factors + factors_offset + pair * 4;
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
    float16 c = cos(theta) * magnitude, n = sin(theta) * magnitude;
    for (ulong h = get_global_id(1); h < ne1; h += get_global_size(1)) {
        float16 x0, x1;
        split16(s + h * ns1, pair, count, half_dims, neox, type, &x0, &x1);
        merge16(d + h * nd1, pair, count, half_dims, neox, type, x0 * c - x1 * n, x0 * n + x1 * c);
    }
}
