/* blocks.cl - weights of any type of ggml's files as f32. Spliced into other files, no kernels of
 * its own. `type` is a constant at every call, so the choice costs nothing at run time.
 *
 * values16: elements k .. k + 15 of a row, k a multiple of 16 (all 16 must exist).
 * value1:   element k of a row. Dense and 32-element types only. */
#include "helper.cl"
#pragma OPENCL FP_CONTRACT OFF

#define W_F32  0
#define W_F16  1
#define W_BF16 2
#define W_Q8_0 3
#define W_Q4_0 4
#define W_Q4_1 5
#define W_Q5_0 6
#define W_Q5_1 7
#define W_Q4_K 8
#define W_Q5_K 9
#define W_Q6_K 10

HELPER float half_at(__global const uchar *p)
{
    return vload_half(0, (__global const half *)p);
}

HELPER uint uint_at(__global const uchar *p)
{
    return (uint)p[0] | (uint)p[1] << 8 | (uint)p[2] << 16 | (uint)p[3] << 24;
}

/* 16 nibbles of 16 bytes: low for the first half of a 32-block, high for the second. */
HELPER uint16 nibbles(__global const uchar *qs, uint high)
{
    uchar16 q = vload16(0, qs);
    return convert_uint16(high ? q >> (uchar)4 : q & (uchar)15);
}

HELPER uint16 fifth_bits(uint qh, uint high)
{
    const uint16 lane = (uint16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return ((((uint16)(qh >> (high * 16))) >> lane) & 1u) << 4u;
}

/* Scale (x) and minimum (y) of sub-block j of a q4_K or q5_K block: 6 bits each in 12 bytes. */
HELPER uint2 k_scales(__global const uchar *s, uint j)
{
    if (j < 4) return (uint2)(s[j] & 63u, s[j + 4] & 63u);
    return (uint2)((s[j + 4] & 15u) | (uint)(s[j - 4] >> 6) << 4,
                   (uint)(s[j + 4] >> 4) | (uint)(s[j] >> 6) << 4);
}

HELPER float16 values16_k45(__global const uchar *row, ulong k, uint type)
{
    uint at = (uint)(k % 256), sub = at / 32, in_sub = at % 32;
    __global const uchar *b = row + k / 256 * (type == W_Q4_K ? 144 : 176);
    __global const uchar *qs = b + (type == W_Q4_K ? 16 : 48) + sub / 2 * 32 + in_sub;
    uint16 q = nibbles(qs, sub & 1);
    if (type == W_Q5_K) {
        uchar16 qh = vload16(0, b + 16 + in_sub);
        q |= ((convert_uint16(qh) >> sub) & 1u) << 4u;
    }
    uint2 s = k_scales(b + 4, sub);
    float d = half_at(b) * (float)s.x, m = half_at(b + 2) * (float)s.y;
    return fma(convert_float16(q), (float16)(d), (float16)(-m));
}

HELPER float16 values16_q6_k(__global const uchar *row, ulong k)
{
    uint at = (uint)(k % 256), part = at / 128, quarter = at % 128 / 32, l = at % 32;
    __global const uchar *b = row + k / 256 * 210;
    uint16 low = nibbles(b + part * 64 + (quarter & 1) * 32 + l, quarter / 2);
    uint16 high = (convert_uint16(vload16(0, b + 128 + part * 32 + l)) >> (quarter * 2)) & 3u;
    float sc = (float)as_char(b[192 + at / 16]);
    float d = half_at(b + 208) * sc;
    return d * (convert_float16(low | high << 4u) - 32.0f);
}

HELPER float16 values16(__global const uchar *row, ulong k, uint type)
{
    if (type == W_F32) return vload16(0, (__global const float *)row + k);
    if (type == W_F16) return vload_half16(0, (__global const half *)row + k);
    if (type == W_BF16)
        return as_float16(convert_uint16(vload16(0, (__global const ushort *)row + k)) << 16u);
    if (type == W_Q4_K || type == W_Q5_K) return values16_k45(row, k, type);
    if (type == W_Q6_K) return values16_q6_k(row, k);
    uint high = (uint)(k / 16) & 1;
    if (type == W_Q8_0) {
        __global const uchar *b = row + k / 32 * 34;
        char16 q = vload16(0, (__global const char *)b + 2 + high * 16);
        return half_at(b) * convert_float16(q);
    }
    if (type == W_Q4_0) {
        __global const uchar *b = row + k / 32 * 18;
        return half_at(b) * (convert_float16(nibbles(b + 2, high)) - 8.0f);
    }
    if (type == W_Q4_1) {
        __global const uchar *b = row + k / 32 * 20;
        return fma(convert_float16(nibbles(b + 4, high)), (float16)(half_at(b)),
                   (float16)(half_at(b + 2)));
    }
    if (type == W_Q5_0) {
        __global const uchar *b = row + k / 32 * 22;
        uint16 q = nibbles(b + 6, high) | fifth_bits(uint_at(b + 2), high);
        return half_at(b) * (convert_float16(q) - 16.0f);
    }
    __global const uchar *b = row + k / 32 * 24;
    uint16 q = nibbles(b + 8, high) | fifth_bits(uint_at(b + 4), high);
    return fma(convert_float16(q), (float16)(half_at(b)), (float16)(half_at(b + 2)));
}

HELPER float value1(__global const uchar *row, ulong k, uint type)
{
    if (type == W_F32) return ((__global const float *)row)[k];
    if (type == W_F16) return vload_half(k, (__global const half *)row);
    if (type == W_BF16) return as_float((uint)((__global const ushort *)row)[k] << 16);
    uint j = (uint)(k % 32), high = j / 16, byte = j % 16;
    if (type == W_Q8_0) {
        __global const uchar *b = row + k / 32 * 34;
        return half_at(b) * (float)as_char(b[2 + j]);
    }
    if (type == W_Q4_0) {
        __global const uchar *b = row + k / 32 * 18;
        return half_at(b) * ((float)(b[2 + byte] >> (high * 4) & 15) - 8.0f);
    }
    if (type == W_Q4_1) {
        __global const uchar *b = row + k / 32 * 20;
        return fma((float)(b[4 + byte] >> (high * 4) & 15), half_at(b), half_at(b + 2));
    }
    if (type == W_Q5_0) {
        __global const uchar *b = row + k / 32 * 22;
        uint q = (b[6 + byte] >> (high * 4) & 15u) | (uint_at(b + 2) >> j & 1u) << 4;
        return half_at(b) * ((float)q - 16.0f);
    }
    __global const uchar *b = row + k / 32 * 24;
    uint q = (b[8 + byte] >> (high * 4) & 15u) | (uint_at(b + 4) >> j & 1u) << 4;
    return fma((float)q, half_at(b), half_at(b + 2));
}
