/* shape.cl - elements or whole blocks moved as they are: concat, repeat, reordering copies; and
 * the order of a row's elements.
 *
 * One work-item per element of dimension 0 of dst: global = (ne0, ne1, ne2 * ne3) unless said
 * otherwise. */
#pragma OPENCL FP_CONTRACT OFF
#include "dense.cl"

HELPER void move_one(__global uchar *d, __global const uchar *s, uint bytes)
{
    if (bytes == 4) {
        *(__global uint *)d = *(__global const uint *)s;
    } else if (bytes == 2) {
        *(__global ushort *)d = *(__global const ushort *)s;
    } else if (bytes == 8) {
        *(__global ulong *)d = *(__global const ulong *)s;
    } else {
        for (uint i = 0; i < bytes; i++) d[i] = s[i];
    }
}

__kernel void concat(__global uchar *dst, ulong dst_offset, __global const uchar *a, ulong a_offset,
                     __global const uchar *b, ulong b_offset, SHAPE(ne), SHAPE(nd), SHAPE(na),
                     SHAPE(nb), ulong split, uint dim, uint bytes, uint span)
{
    ulong i1 = get_global_id(1), i2 = get_global_id(2) % ne2, i3 = get_global_id(2) / ne2;
    ulong last = min((ulong)(get_global_id(0) + 1) * span, ne0);
    for (ulong i0 = (ulong)get_global_id(0) * span; i0 < last; i0++) {
        ulong at = dim == 0 ? i0 : dim == 1 ? i1 : dim == 2 ? i2 : i3;
        __global uchar *d = dst + dst_offset + i0 * nd0 + i1 * nd1 + i2 * nd2 + i3 * nd3;
        if (at < split) {
            move_one(d, a + a_offset + i0 * na0 + i1 * na1 + i2 * na2 + i3 * na3, bytes);
        } else {
            ulong step = dim == 0 ? nb0 : dim == 1 ? nb1 : dim == 2 ? nb2 : nb3;
            __global const uchar *s = b + b_offset + i0 * nb0 + i1 * nb1 + i2 * nb2 + i3 * nb3;
            move_one(d, s - split * step, bytes);
        }
    }
}

__kernel void repeat(__global uchar *dst, ulong dst_offset, __global const uchar *src,
                     ulong src_offset, SHAPE(ne), SHAPE(nd), SHAPE(es), SHAPE(ns), uint bytes,
                     uint span)
{
    ulong i1 = get_global_id(1), i2 = get_global_id(2) % ne2, i3 = get_global_id(2) / ne2;
    ulong last = min((ulong)(get_global_id(0) + 1) * span, ne0);
    for (ulong i0 = (ulong)get_global_id(0) * span; i0 < last; i0++)
        move_one(dst + dst_offset + i0 * nd0 + i1 * nd1 + i2 * nd2 + i3 * nd3,
                 src + src_offset + i0 % es0 * ns0 + i1 % es1 * ns1 + i2 % es2 * ns2 +
                     i3 % es3 * ns3,
                 bytes);
}

/* `count` elements from s to d, `ds` and `ss` bytes apart. */
HELPER void move_run(__global uchar *d, ulong ds, __global const uchar *s, ulong ss, ulong count,
              uint dst_type, uint src_type, uint bytes)
{
    ulong j = 0;
    if (dst_type == src_type && bytes == 4 && ds == 4 && ss == 4)
        for (; j + 16 <= count; j += 16)
            vstore16(vload16(0, (__global const uint *)(s + j * 4)), 0,
                     (__global uint *)(d + j * 4));
    if (dst_type == src_type) {
        for (; j < count; j++) move_one(d + j * ds, s + j * ss, bytes);
    } else {
        for (; j < count; j++) store_one(d + j * ds, dst_type, load_one(s + j * ss, src_type));
    }
}

/* Element number i of src becomes element number i of dst, whatever their shapes; equal or dense
 * types. A work-item moves `span` elements, in runs that stay in a row of both: global =
 * (ceil(count / span)). */
__kernel void reshape_copy(__global uchar *dst, ulong dst_offset, __global const uchar *src,
                           ulong src_offset, ulong count, ulong ed0, ulong ed1, ulong ed2,
                           SHAPE(nd), ulong es0, ulong es1, ulong es2, SHAPE(ns), uint dst_type,
                           uint src_type, uint bytes, uint span)
{
    ulong last = min((ulong)(get_global_id(0) + 1) * span, count);
    for (ulong i = (ulong)get_global_id(0) * span; i < last;) {
        ulong r = i / ed0, t = i / es0, d0 = i - r * ed0, s0 = i - t * es0;
        __global uchar *d =
            dst + dst_offset + d0 * nd0 + r % ed1 * nd1 + r / ed1 % ed2 * nd2 + r / ed1 / ed2 * nd3;
        __global const uchar *s =
            src + src_offset + s0 * ns0 + t % es1 * ns1 + t / es1 % es2 * ns2 + t / es1 / es2 * ns3;
        ulong run = min(min(ed0 - d0, es0 - s0), last - i);
        move_run(d, nd0, s, ns0, run, dst_type, src_type, bytes);
        i += run;
    }
}

/* A key that orders as the float does; equal values keep their order by position. */
HELPER uint order_key(float value)
{
    uint bits = as_uint(value);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/* dst I32: the positions of a row's f32 elements in order. Counts, for one element, how many come
 * before it. */
__kernel void argsort(__global uchar *dst, ulong dst_offset, __global const uchar *src,
                      ulong src_offset, SHAPE(ne), ulong nd1, ulong nd2, ulong nd3, ulong ns1,
                      ulong ns2, ulong ns3, uint descending, uint span)
{
    ulong i1 = get_global_id(1), i2 = get_global_id(2) % ne2, i3 = get_global_id(2) / ne2;
    __global const float *x =
        (__global const float *)(src + src_offset + i1 * ns1 + i2 * ns2 + i3 * ns3);
    __global int *y = (__global int *)(dst + dst_offset + i1 * nd1 + i2 * nd2 + i3 * nd3);
    ulong last = min((ulong)(get_global_id(0) + 1) * span, ne0);
    for (ulong i = (ulong)get_global_id(0) * span; i < last; i++) {
        uint flip = descending ? ~0u : 0u;
        uint mine = order_key(x[i]) ^ flip;
        ulong rank = 0;
        for (ulong j = 0; j < ne0; j++) {
            uint other = order_key(x[j]) ^ flip;
            rank += other < mine || (other == mine && j < i);
        }
        y[rank] = (int)i;
    }
}
