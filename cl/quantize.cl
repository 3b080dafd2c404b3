/* quantize.cl - rows into and out of blocks of 32 elements.
 *
 * quantize_rows: dst of type -DTYPE=n (q8_0 q4_0 q4_1 q5_0 q5_1), src dense. One work-item makes
 * one block: global = (ne0 / 32, ne1, ne2 * ne3) of src. The row of dst is the row's own number,
 * or, with index_bytes 4 or 8, what the index names (outside dst: skipped). Values are rounded as
 * ggml's reference quantisers do. dequantize_rows: src of type TYPE (any), dst dense; one work-item
 * makes 16 elements. */
#pragma OPENCL FP_CONTRACT OFF
#include "dense.cl"
#include "blocks.cl"

#ifndef TYPE
#define TYPE W_Q8_0
#endif

/* On a GPU an array whose every index is a constant lives in registers. */
#ifdef OCLORA_CLASS_GPU
#define UNROLL _Pragma("unroll")
#else
#define UNROLL
#endif

HELPER void store_half(__global uchar *p, float value)
{
    vstore_half_rte(value, 0, (__global half *)p);
}

HELPER void quantize_q8_0(__global uchar *block, const float *x)
{
    float top = 0.0f;
    UNROLL for (uint j = 0; j < 32; j++) top = fmax(top, fabs(x[j]));
    float inverse = top != 0.0f ? 127.0f / top : 0.0f;
    store_half(block, top / 127.0f);
    UNROLL for (uint j = 0; j < 32; j++) block[2 + j] = (uchar)(char)(int)rint(x[j] * inverse);
}

/* Symmetric: the value of largest magnitude becomes the lowest level. */
HELPER void quantize_signed(__global uchar *block, const float *x, uint *q, int levels)
{
    float top = 0.0f, signed_top = 0.0f;
    UNROLL for (uint j = 0; j < 32; j++)
    {
        if (top < fabs(x[j])) {
            top = fabs(x[j]);
            signed_top = x[j];
        }
    }
    float d = signed_top / (float)-levels;
    float inverse = d != 0.0f ? 1.0f / d : 0.0f;
    store_half(block, d);
    UNROLL for (uint j = 0; j < 32; j++) q[j] =
        (uint)min(2 * levels - 1, (int)(x[j] * inverse + ((float)levels + 0.5f)));
}

HELPER void quantize_range(__global uchar *block, const float *x, uint *q, int steps)
{
    float low = FLT_MAX, high = -FLT_MAX;
    UNROLL for (uint j = 0; j < 32; j++)
    {
        low = fmin(low, x[j]);
        high = fmax(high, x[j]);
    }
    float d = (high - low) / (float)steps;
    float inverse = d != 0.0f ? 1.0f / d : 0.0f;
    store_half(block, d);
    store_half(block + 2, low);
    UNROLL for (uint j = 0; j < 32; j++) q[j] =
        (uint)min(steps, (int)((x[j] - low) * inverse + 0.5f));
}

/* Low four bits of 32 levels in 16 bytes; with `fifth`, their fifth bits in the 4 bytes there. */
HELPER void pack_levels(__global uchar *nibbles_at, __global uchar *fifth, const uint *q)
{
    uint bits = 0;
    UNROLL for (uint j = 0; j < 16; j++)
    {
        nibbles_at[j] = (uchar)((q[j] & 15u) | (q[j + 16] & 15u) << 4);
        bits |= (q[j] >> 4 & 1u) << j | (q[j + 16] >> 4 & 1u) << (j + 16);
    }
    if (fifth != 0) UNROLL for (uint j = 0; j < 4; j++) fifth[j] = (uchar)(bits >> (8 * j));
}

HELPER void quantize_block(__global uchar *block, const float *x)
{
#if TYPE == 3
    quantize_q8_0(block, x);
#else
    uint q[32];
#if TYPE == 4
    quantize_signed(block, x, q, 8);
    pack_levels(block + 2, 0, q);
#elif TYPE == 5
    quantize_range(block, x, q, 15);
    pack_levels(block + 4, 0, q);
#elif TYPE == 6
    quantize_signed(block, x, q, 16);
    pack_levels(block + 6, block + 2, q);
#else
    quantize_range(block, x, q, 31);
    pack_levels(block + 8, block + 4, q);
#endif
#endif
}

__kernel void quantize_rows(__global uchar *dst, ulong dst_offset, __global const uchar *src,
                            ulong src_offset, __global const uchar *index, ulong index_offset,
                            ulong n_blocks, ulong ne2, ulong n_rows, SHAPE(nd), SHAPE(ns),
                            ulong ei1, ulong ei2, ulong ni0, ulong ni1, ulong ni2, uint index_bytes,
                            uint src_type)
{
    ulong b = get_global_id(0), i1 = get_global_id(1);
    ulong i2 = get_global_id(2) % ne2, i3 = get_global_id(2) / ne2;
    if (b >= n_blocks) return;
    long at = (long)i1;
    if (index_bytes != 0) {
        __global const uchar *p =
            index + index_offset + i1 * ni0 + (i2 % ei1) * ni1 + (i3 % ei2) * ni2;
        at = index_bytes == 8 ? *(__global const long *)p : (long)*(__global const int *)p;
    }
    if (at < 0 || (ulong)at >= n_rows) return;
    __global const uchar *s = src + src_offset + i1 * ns1 + i2 * ns2 + i3 * ns3 + b * 32 * ns0;
    float x[32];
    UNROLL for (uint j = 0; j < 32; j++) x[j] = load_one(s + j * ns0, src_type);
    quantize_block(dst + dst_offset + (ulong)at * nd1 + i2 * nd2 + i3 * nd3 + b * nd0, x);
}

__kernel void dequantize_rows(__global uchar *dst, ulong dst_offset, __global const uchar *src,
                              ulong src_offset, ulong n_groups, ulong ne2, SHAPE(nd), SHAPE(ns),
                              uint dst_type)
{
    ulong g = get_global_id(0), i1 = get_global_id(1);
    ulong i2 = get_global_id(2) % ne2, i3 = get_global_id(2) / ne2;
    if (g >= n_groups) return;
    __global uchar *d = dst + dst_offset + i1 * nd1 + i2 * nd2 + i3 * nd3 + g * 16 * nd0;
    float part[16];
    vstore16(values16(src + src_offset + i1 * ns1 + i2 * ns2 + i3 * ns3, g * 16, TYPE), 0, part);
    UNROLL for (uint j = 0; j < 16; j++) store_one(d + j * nd0, dst_type, part[j]);
}
