/* rows.cl - rows chosen by index, from and to tensors.
 *
 * get_rows: dst f32, src any type (-DTYPE=n), indices I32. A work-item makes `span` elements (a
 * multiple of 16) of one row; global = (ceil(ne0 / span), ne1, ne2 * ne3) of dst. An index outside
 * the source gives NaN, so that it cannot pass for data.
 * set_rows: src dense, dst dense, types at run time; indices I32 or I64 (index_bytes). A work-item
 * handles `span` elements of `rows` rows; global over src. An index outside dst is skipped.
 * add_id: dst = src + row ids[i2][i1] of b, all f32; cut as set_rows. An id outside b gives NaN.
 * -DLANES as in dense.cl. */
#pragma OPENCL FP_CONTRACT OFF
#include "dense.cl"
#include "blocks.cl"

#ifndef TYPE
#define TYPE 0
#endif

__kernel void get_rows(__global uchar *dst, ulong dst_offset, __global const uchar *src,
                       ulong src_offset, __global const uchar *index, ulong index_offset, SHAPE(ne),
                       SHAPE(nd), ulong n_rows, SHAPE(ns), ulong ni0, ulong ni1, ulong ni2,
                       uint span)
{
    ulong first = (ulong)get_global_id(0) * span;
    ulong last = min(first + span, ne0);
    ulong i1 = get_global_id(1), i2 = get_global_id(2) % ne2, i3 = get_global_id(2) / ne2;
    int at = *(__global const int *)(index + index_offset + i1 * ni0 + i2 * ni1 + i3 * ni2);
    bool valid = at >= 0 && (ulong)at < n_rows;
    __global float *d = (__global float *)(dst + dst_offset + i1 * nd1 + i2 * nd2 + i3 * nd3);
    __global const uchar *row =
        src + src_offset + (valid ? (ulong)at : 0) * ns1 + i2 * ns2 + i3 * ns3;
    ulong i = first;
    for (; i + 16 <= last; i += 16)
        vstore16(valid ? values16(row, i, TYPE) : (float16)(NAN), 0, d + i);
#if TYPE <= 2
    for (; i < last; i++) d[i] = valid ? value1(row, i, TYPE) : NAN;
#endif
}

__kernel void set_rows(__global uchar *dst, ulong dst_offset, __global const uchar *src,
                       ulong src_offset, __global const uchar *index, ulong index_offset, SHAPE(ne),
                       ulong n_rows, SHAPE(nd), SHAPE(ns), ulong ei1, ulong ei2, ulong ni0,
                       ulong ni1, ulong ni2, uint index_bytes, uint dst_type, uint src_type,
                       uint span, uint rows)
{
    ulong first = (ulong)get_global_id(0) * span;
    ulong last = min(first + span, ne0);
    ulong i2 = get_global_id(2) % ne2, i3 = get_global_id(2) / ne2;
    ulong row_end = min((get_global_id(1) + 1) * (ulong)rows, ne1);
    for (ulong i1 = get_global_id(1) * (ulong)rows; i1 < row_end; i1++) {
        __global const uchar *p =
            index + index_offset + i1 * ni0 + (i2 % ei1) * ni1 + (i3 % ei2) * ni2;
        long at = index_bytes == 8 ? *(__global const long *)p : (long)*(__global const int *)p;
        if (at < 0 || (ulong)at >= n_rows) continue;
        __global uchar *d = dst + dst_offset + (ulong)at * nd1 + i2 * nd2 + i3 * nd3;
        __global const uchar *x = src + src_offset + i1 * ns1 + i2 * ns2 + i3 * ns3;
        for (ulong i = first; i < last; i += LANES) {
            uint count = (uint)min((ulong)LANES, last - i);
            store_lanes(d + i * nd0, nd0, count, dst_type,
                        load_lanes(x + i * ns0, ns0, count, src_type));
        }
    }
}

__kernel void add_id(__global uchar *dst, ulong dst_offset, __global const uchar *src,
                     ulong src_offset, __global const uchar *b, ulong b_offset,
                     __global const uchar *ids, ulong ids_offset, SHAPE(ne), SHAPE(nd), SHAPE(ns),
                     ulong n_rows, ulong nb1, ulong ni0, ulong ni1, uint span, uint rows)
{
    ulong first = (ulong)get_global_id(0) * span;
    ulong last = min(first + span, ne0);
    ulong i2 = get_global_id(2) % ne2, i3 = get_global_id(2) / ne2;
    ulong row_end = min((get_global_id(1) + 1) * (ulong)rows, ne1);
    for (ulong i1 = get_global_id(1) * (ulong)rows; i1 < row_end; i1++) {
        int at = *(__global const int *)(ids + ids_offset + i1 * ni0 + i2 * ni1);
        bool valid = at >= 0 && (ulong)at < n_rows;
        __global const uchar *y = b + b_offset + (valid ? (ulong)at : 0) * nb1;
        __global uchar *d = dst + dst_offset + i1 * nd1 + i2 * nd2 + i3 * nd3;
        __global const uchar *x = src + src_offset + i1 * ns1 + i2 * ns2 + i3 * ns3;
        for (ulong i = first; i < last; i += LANES) {
            uint count = (uint)min((ulong)LANES, last - i);
            lanes_t sum = load_lanes(x + i * 4, 4, count, TYPE_F32) +
                          load_lanes(y + i * 4, 4, count, TYPE_F32);
            store_lanes(d + i * 4, 4, count, TYPE_F32, valid ? sum : (lanes_t)(NAN));
        }
    }
}
