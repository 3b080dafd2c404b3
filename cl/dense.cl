/* dense.cl - loads and stores of dense elements whose type is known at run time. Spliced into other
 * files, no kernels of its own.
 *
 * LANES  elements a work-item handles at once: 16 (CPU class, explicit vectors) or 1 (GPU class, so
 *        that neighbouring work-items touch neighbouring elements). The tail of a row goes through
 *        the same vector code as its body, so a value never depends on where it lies. */
#include "helper.cl"
#ifndef LANES
#define LANES 16
#endif

#define TYPE_F32  0
#define TYPE_F16  1
#define TYPE_BF16 2
#define TYPE_I32  13

/* Four numbers of a shape: elements (ne) or byte strides (nb). */
#define SHAPE(s) ulong s##0, ulong s##1, ulong s##2, ulong s##3

#if LANES == 16
typedef float16 lanes_t;
#else
typedef float lanes_t;
#endif

HELPER uint dense_bytes(uint type)
{
    return type == TYPE_F32 || type == TYPE_I32 ? 4 : 2;
}

HELPER float load_one(__global const uchar *p, uint type)
{
    if (type == TYPE_F32) return *(__global const float *)p;
    if (type == TYPE_F16) return vload_half(0, (__global const half *)p);
    if (type == TYPE_I32) return (float)*(__global const int *)p;
    return as_float((uint) * (__global const ushort *)p << 16);
}

/* Round to nearest even; NaN stays NaN. */
HELPER ushort float_to_bf16(float value)
{
    uint bits = as_uint(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (ushort)((bits >> 16) | 64u);
    return (ushort)((bits + (0x7fffu + ((bits >> 16) & 1u))) >> 16);
}

HELPER void store_one(__global uchar *p, uint type, float value)
{
    if (type == TYPE_F32) {
        *(__global float *)p = value;
    } else if (type == TYPE_F16) {
        vstore_half_rte(value, 0, (__global half *)p);
    } else if (type == TYPE_I32) {
        *(__global int *)p = (int)value;
    } else {
        *(__global ushort *)p = float_to_bf16(value);
    }
}

/* Elements p, p + stride, ...; those at or after `count` are 0. */
HELPER lanes_t load_lanes(__global const uchar *p, ulong stride, uint count, uint type)
{
#if LANES == 16
    if (count >= 16 && stride == dense_bytes(type)) {
        if (type == TYPE_F32) return vload16(0, (__global const float *)p);
        if (type == TYPE_F16) return vload_half16(0, (__global const half *)p);
    }
    float part[16];
    for (uint j = 0; j < 16; j++) part[j] = j < count ? load_one(p + j * stride, type) : 0.0f;
    return vload16(0, part);
#else
    return load_one(p, type);
#endif
}

HELPER void store_lanes(__global uchar *p, ulong stride, uint count, uint type, lanes_t values)
{
#if LANES == 16
    if (count >= 16 && stride == dense_bytes(type)) {
        if (type == TYPE_F32) {
            vstore16(values, 0, (__global float *)p);
            return;
        }
        if (type == TYPE_F16) {
            vstore_half16_rte(values, 0, (__global half *)p);
            return;
        }
    }
    float part[16];
    vstore16(values, 0, part);
    uint n = count < 16 ? count : 16;
    for (uint j = 0; j < n; j++) store_one(p + j * stride, type, part[j]);
#else
    store_one(p, type, values);
#endif
}
