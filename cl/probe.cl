/* probe.cl - the simplest kernels there are: fill, copy and axpy over floats. The engine's own
 * tests run them, and the device benchmark times them (bandwidth, launch cost).
 *
 * One work-item does PROBE_WIDTH consecutive floats; n is a multiple of PROBE_WIDTH and the global
 * size is n / PROBE_WIDTH. Offsets are in bytes and multiples of 4. x and y may not overlap. */
#ifndef PROBE_WIDTH
#define PROBE_WIDTH 1 /* 1, 4 or 16 */
#endif

#if PROBE_WIDTH == 1
#define PROBE_LOAD(at, p)     (p)[at]
#define PROBE_STORE(v, at, p) (p)[at] = (v)
typedef float probe_t;
#elif PROBE_WIDTH == 4
#define PROBE_LOAD(at, p)     vload4(at, p)
#define PROBE_STORE(v, at, p) vstore4(v, at, p)
typedef float4 probe_t;
#elif PROBE_WIDTH == 16
#define PROBE_LOAD(at, p)     vload16(at, p)
#define PROBE_STORE(v, at, p) vstore16(v, at, p)
typedef float16 probe_t;
#else
#error PROBE_WIDTH must be 1, 4 or 16
#endif

__kernel void probe_fill(__global char *y_base, ulong y_offset, float value)
{
    __global float *y = (__global float *)(y_base + y_offset);
    PROBE_STORE((probe_t)(value), get_global_id(0), y);
}

__kernel void probe_copy(__global const char *x_base, ulong x_offset, __global char *y_base,
                         ulong y_offset)
{
    __global const float *x = (__global const float *)(x_base + x_offset);
    __global float *y = (__global float *)(y_base + y_offset);
    size_t at = get_global_id(0);
    PROBE_STORE(PROBE_LOAD(at, x), at, y);
}

/* y += a x */
__kernel void probe_axpy(__global const char *x_base, ulong x_offset, __global char *y_base,
                         ulong y_offset, float a)
{
    __global const float *x = (__global const float *)(x_base + x_offset);
    __global float *y = (__global float *)(y_base + y_offset);
    size_t at = get_global_id(0);
    PROBE_STORE(fma((probe_t)(a), PROBE_LOAD(at, x), PROBE_LOAD(at, y)), at, y);
}
