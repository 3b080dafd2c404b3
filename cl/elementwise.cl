/* elementwise.cl - one value in, one value out: binary operators with broadcast, unary functions,
 * gated units, and copies that convert.
 *
 * A work-item handles `span` elements of dimension 0 (a multiple of LANES) of `rows` rows: global =
 * (ceil(ne0 / span), ceil(ne1 / rows), ne2 * ne3). Types (dense only) are run-time arguments.
 * -DLANES=16|1 by device class; -DUNARY=n, -DGLU=n (numbers of host/graph/graph.h) choose the
 * function, so that a program holds no code it does not need. In-place use is allowed. */
#include "dense.cl"

#ifndef UNARY
#define UNARY 0
#endif
#ifndef GLU
#define GLU 2
#endif

/* Elements of dimension 0 of a broadcast operand: position i repeats every `ne`. */
HELPER lanes_t load_repeated(__global const uchar *row, ulong i, ulong ne, ulong stride, uint count,
                      uint type)
{
    if (ne == 1) return (lanes_t)(load_one(row, type));
#if LANES == 16
    ulong at = i % ne;
    if (at + 16 <= ne) return load_lanes(row + at * stride, stride, count, type);
    float part[16];
    for (uint j = 0; j < 16; j++)
        part[j] = j < count ? load_one(row + ((i + j) % ne) * stride, type) : 0.0f;
    return vload16(0, part);
#else
    return load_one(row + (i % ne) * stride, type);
#endif
}

HELPER lanes_t apply_binary(lanes_t a, lanes_t b, uint op)
{
    if (op == 0) return a + b;
    if (op == 1) return a - b;
    if (op == 2) return a * b;
    return a / b;
}

__kernel void binary(__global uchar *dst, ulong dst_offset, __global const uchar *a, ulong a_offset,
                     __global const uchar *b, ulong b_offset, SHAPE(ne), SHAPE(nd), SHAPE(na),
                     SHAPE(eb), SHAPE(nb), uint dst_type, uint a_type, uint b_type, uint op,
                     uint span, uint rows)
{
    ulong first = (ulong)get_global_id(0) * span;
    ulong last = min(first + span, ne0);
    ulong i2 = get_global_id(2) % ne2, i3 = get_global_id(2) / ne2;
    ulong row_end = min((get_global_id(1) + 1) * (ulong)rows, ne1);
    for (ulong i1 = get_global_id(1) * (ulong)rows; i1 < row_end; i1++) {
        __global uchar *d = dst + dst_offset + i1 * nd1 + i2 * nd2 + i3 * nd3;
        __global const uchar *x = a + a_offset + i1 * na1 + i2 * na2 + i3 * na3;
        __global const uchar *y =
            b + b_offset + (i1 % eb1) * nb1 + (i2 % eb2) * nb2 + (i3 % eb3) * nb3;
        for (ulong i = first; i < last; i += LANES) {
            uint count = (uint)min((ulong)LANES, last - i);
            lanes_t p = load_lanes(x + i * na0, na0, count, a_type);
            lanes_t q = load_repeated(y, i, eb0, nb0, count, b_type);
            store_lanes(d + i * nd0, nd0, count, dst_type, apply_binary(p, q, op));
        }
    }
}

HELPER lanes_t sigmoid_of(lanes_t x)
{
    return 1.0f / (1.0f + exp(-x));
}

HELPER lanes_t gelu_of(lanes_t x)
{
    return 0.5f * x * (1.0f + tanh(0.79788456080286535588f * x * (1.0f + 0.044715f * x * x)));
}

HELPER lanes_t gelu_erf_of(lanes_t x)
{
    return 0.5f * x * (1.0f + erf(x * 0.70710678118654752440f));
}

HELPER lanes_t gelu_quick_of(lanes_t x)
{
    return x / (1.0f + exp(-1.702f * x));
}

HELPER lanes_t silu_of(lanes_t x)
{
    return x / (1.0f + exp(-x));
}

HELPER lanes_t apply_unary(lanes_t x)
{
#if UNARY == 0
    return fabs(x);
#elif UNARY == 1
    return -x;
#elif UNARY == 2
    return tanh(x);
#elif UNARY == 3
    return fmax(x, (lanes_t)(0.0f));
#elif UNARY == 4
    return sigmoid_of(x);
#elif UNARY == 5
    return gelu_of(x);
#elif UNARY == 6
    return gelu_quick_of(x);
#elif UNARY == 7
    return gelu_erf_of(x);
#elif UNARY == 8
    return silu_of(x);
#elif UNARY == 9
    return exp(x);
#elif UNARY == 10
    return x * x;
#elif UNARY == 11
    return sqrt(x);
#elif UNARY == 12
    return log(x);
#elif UNARY == 13
    return sin(x);
#elif UNARY == 14
    return cos(x);
#elif UNARY == 15
    return select((lanes_t)(0.0f), (lanes_t)(1.0f), x > 0.0f);
#else
    return select(log(1.0f + exp(x)), x, x > 20.0f);
#endif
}

/* variant 0: the unary function; 1: a * x + b; 2: clamp to [a, b]; 3: copy. */
__kernel void unary(__global uchar *dst, ulong dst_offset, __global const uchar *src,
                    ulong src_offset, SHAPE(ne), SHAPE(nd), SHAPE(ns), uint dst_type, uint src_type,
                    uint variant, float a, float b, uint span, uint rows)
{
    ulong first = (ulong)get_global_id(0) * span;
    ulong last = min(first + span, ne0);
    ulong i2 = get_global_id(2) % ne2, i3 = get_global_id(2) / ne2;
    ulong row_end = min((get_global_id(1) + 1) * (ulong)rows, ne1);
    for (ulong i1 = get_global_id(1) * (ulong)rows; i1 < row_end; i1++) {
        __global uchar *d = dst + dst_offset + i1 * nd1 + i2 * nd2 + i3 * nd3;
        __global const uchar *x = src + src_offset + i1 * ns1 + i2 * ns2 + i3 * ns3;
        for (ulong i = first; i < last; i += LANES) {
            uint count = (uint)min((ulong)LANES, last - i);
            lanes_t value = load_lanes(x + i * ns0, ns0, count, src_type);
            if (variant == 0) {
                value = apply_unary(value);
            } else if (variant == 1) {
                value = fma(value, (lanes_t)(a), (lanes_t)(b));
            } else if (variant == 2) {
                value = fmin(fmax(value, (lanes_t)(a)), (lanes_t)(b));
            }
            store_lanes(d + i * nd0, nd0, count, dst_type, value);
        }
    }
}

HELPER lanes_t apply_glu(lanes_t x, lanes_t gate, float alpha, float limit)
{
#if GLU == 0
    return fmax(x, (lanes_t)(0.0f)) * gate;
#elif GLU == 1
    return gelu_of(x) * gate;
#elif GLU == 2
    return silu_of(x) * gate;
#elif GLU == 3
    return gelu_erf_of(x) * gate;
#elif GLU == 4
    return gelu_quick_of(x) * gate;
#else
    x = fmin(x, (lanes_t)(limit));
    gate = fmin(fmax(gate, (lanes_t)(-limit)), (lanes_t)(limit));
    return x / (1.0f + exp(-alpha * x)) * (gate + 1.0f);
#endif
}

/* dst = act(x) * gate; x and gate are two tensors, or two halves of one (the host gives offsets).
 */
__kernel void glu(__global uchar *dst, ulong dst_offset, __global const uchar *a, ulong a_offset,
                  __global const uchar *b, ulong b_offset, SHAPE(ne), SHAPE(nd), SHAPE(na),
                  SHAPE(nb), uint dst_type, uint src_type, float alpha, float limit, uint span,
                  uint rows)
{
    ulong first = (ulong)get_global_id(0) * span;
    ulong last = min(first + span, ne0);
    ulong i2 = get_global_id(2) % ne2, i3 = get_global_id(2) / ne2;
    ulong row_end = min((get_global_id(1) + 1) * (ulong)rows, ne1);
    for (ulong i1 = get_global_id(1) * (ulong)rows; i1 < row_end; i1++) {
        __global uchar *d = dst + dst_offset + i1 * nd1 + i2 * nd2 + i3 * nd3;
        __global const uchar *x = a + a_offset + i1 * na1 + i2 * na2 + i3 * na3;
        __global const uchar *y = b + b_offset + i1 * nb1 + i2 * nb2 + i3 * nb3;
        for (ulong i = first; i < last; i += LANES) {
            uint count = (uint)min((ulong)LANES, last - i);
            lanes_t p = load_lanes(x + i * na0, na0, count, src_type);
            lanes_t q = load_lanes(y + i * nb0, nb0, count, src_type);
            store_lanes(d + i * nd0, nd0, count, dst_type, apply_glu(p, q, alpha, limit));
        }
    }
}
