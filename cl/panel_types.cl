/* panel_types.cl - weights of every type from the PANEL layout (host/base/layout.h) as f32, to the
 * bit as values16 of blocks.cl has them. Spliced into matmul_panel.cl, no kernels of its own.
 *
 * -DTYPE=0 f32, 1 f16, 2 bf16, 3 q8_0, 4 q4_0, 5 q4_1, 6 q5_0, 7 q5_1, 8 q4_K, 9 q5_K, 10 q6_K.
 * CPU class: PANEL_POINTERS and BLOCK32. GPU class: PANEL_PLANES and PANEL_WEIGHT. */
#include "helper.cl"
#pragma OPENCL FP_CONTRACT OFF
#ifndef TYPE
#define TYPE 0
#endif
#ifndef MR
#define MR 8
#endif
#ifndef NV
#define NV 2
#endif
#define IS_K      (TYPE >= 8)                                        /* scales of scales */
#define HAS_M     (TYPE == 5 || TYPE == 7 || TYPE == 8 || TYPE == 9) /* minima */
#define HIGH_BITS (TYPE == 10 ? 2 : TYPE == 6 || TYPE == 7 || TYPE == 9 ? 1 : 0)
#if TYPE == 4
#define ZERO 8.0f
#elif TYPE == 6
#define ZERO 16.0f
#elif TYPE == 10
#define ZERO 32.0f
#endif

/* Bytes of one panel in the values plane, and in those of the f16, high bits and 6- or 8-bit
 * scales. */
#if TYPE == 0
#define PANEL_BYTES(d_in) ((ulong)(d_in)*64)
#elif TYPE == 1 || TYPE == 2
#define PANEL_BYTES(d_in) ((ulong)(d_in)*32)
#elif TYPE == 3
#define PANEL_BYTES(d_in) ((ulong)(d_in)*16)
#else
#define PANEL_BYTES(d_in) ((ulong)(d_in)*8)
#endif
#define SCALE_BYTES(d_in) ((ulong)(d_in) / (IS_K ? 8 : 1)) /* f16 [d_in / 32 or 256][16] */
#define HIGH_BYTES(d_in)  ((ulong)(d_in)*2 * HIGH_BITS)
#define SUB_BYTES(d_in)   (TYPE == 10 ? (ulong)(d_in) : (ulong)(d_in) / 64 * 48)

/* The planes behind d_plane, which begins after 8 bytes of values for each input of a panel. */
#define ALL_SCALES (d_plane / (IS_K ? 64 : 8))
#define HIGH_PLANE ((HAS_M ? m_plane : d_plane) + ALL_SCALES)
#define SUB_PLANE  (HIGH_PLANE + d_plane / 4 * HIGH_BITS)

#define PANEL_PLANES(p)                                                                            \
    __global const uchar *q = w_base + w_offset + (p)*PANEL_BYTES(d_in);                           \
    __global const uchar *scales = w_base + w_offset + d_plane + (p)*SCALE_BYTES(d_in);            \
    __global const uchar *minima = w_base + w_offset + m_plane + (p)*SCALE_BYTES(d_in);            \
    __global const uchar *high = w_base + w_offset + HIGH_PLANE + (p)*HIGH_BYTES(d_in);            \
    __global const uchar *sub = w_base + w_offset + SUB_PLANE + (p)*SUB_BYTES(d_in);               \
    (void)scales;                                                                                  \
    (void)minima;                                                                                  \
    (void)high;                                                                                    \
    (void)sub;

#ifndef OCLORA_CLASS_GPU
#define HALF16(p) vload_half16(0, (__global const half *)(p))
#define UNROLL    _Pragma("unroll")
#define UNROLL4   _Pragma("unroll 4")
#if MR == 8 && TYPE == 3 && NV == 1
#define UNROLL_BLOCK _Pragma("unroll 2") /* as many inputs as a byte of two nibbles has */
#elif MR == 8
#define UNROLL_BLOCK _Pragma("unroll 1") /* more spills its accumulators on Intel's runtime */
#else
#define UNROLL_BLOCK UNROLL4
#endif

/* A panel's planes are streams too short for a core to foresee: each block asks for the lines of
 * the one that lies AHEAD bytes of values further. Past a panel that is the next one. */
#ifdef AHEAD
#define AHEAD_BLOCKS (AHEAD / (int)PANEL_BYTES(32))
#define ASK(b, plane, bytes)                                                                       \
    if ((bytes) >= 64 || (b) % (64 / (bytes)) == 0)                                                \
        UNROLL for (int at = 0; at < (bytes); at += 64) __builtin_prefetch(                        \
            (const void *)(ulong)((plane) + (ulong)((b) + AHEAD_BLOCKS) * (bytes) + at));
#define ASK_AHEAD(b)                                                                               \
    UNROLL for (int v = 0; v < NV; v++)                                                            \
    {                                                                                              \
        ASK(b, q + v * panel, (int)PANEL_BYTES(32))                                                \
        ASK(b, scales + v * scale_panel, (int)SCALE_BYTES(32))                                     \
        if (HAS_M) ASK(b, minima + v * scale_panel, (int)SCALE_BYTES(32))                          \
        if (HIGH_BITS) ASK(b, high + v * HIGH_BYTES(d_in), 64 * HIGH_BITS)                         \
        if (IS_K) ASK(b, sub + v * SUB_BYTES(d_in), TYPE == 10 ? 32 : 24)                          \
    }
#else
#define ASK_AHEAD(b)
#endif

#define PANEL_POINTERS(p0)                                                                         \
    ulong panel = PANEL_BYTES(d_in), scale_panel = SCALE_BYTES(d_in);                              \
    PANEL_PLANES(p0)

/* BLOCK32(b, q, USE): dequantises input block b of NV panels whose values begin at q, and hands
 * every input k = 32 b + j with its NV vectors of weights to USE(k, w). Panels lie PANEL_BYTES
 * apart. */
#if TYPE == 0
#define LOAD_DENSE(p) vload16(0, (__global const float *)(p))
#define DENSE_BYTES   64
#elif TYPE == 1
#define LOAD_DENSE(p) HALF16(p)
#define DENSE_BYTES   32
#elif TYPE == 2
#define LOAD_DENSE(p) as_float16(convert_uint16(vload16(0, (__global const ushort *)(p))) << 16)
#define DENSE_BYTES   32
#endif

#if TYPE <= 2
#define BLOCK32(b, q, USE)                                                                         \
    UNROLL_BLOCK for (uint j = 0; j < 32; j++)                                                     \
    {                                                                                              \
        float16 w[NV];                                                                             \
        UNROLL for (int v = 0; v < NV; v++) w[v] =                                                 \
            LOAD_DENSE(q + v * panel + ((ulong)(b)*32 + j) * DENSE_BYTES);                         \
        USE((b)*32 + j, w)                                                                         \
    }
#elif TYPE == 3
#define BLOCK32(b, q, USE)                                                                         \
    ASK_AHEAD(b)                                                                                   \
    float16 d[NV];                                                                                 \
    UNROLL for (int v = 0; v < NV; v++) d[v] = HALF16(scales + v * scale_panel + (ulong)(b)*32);   \
    UNROLL_BLOCK for (uint j = 0; j < 32; j++)                                                     \
    {                                                                                              \
        float16 w[NV];                                                                             \
        UNROLL for (int v = 0; v < NV; v++) w[v] =                                                 \
            convert_float16(                                                                       \
                vload16(0, (__global const char *)(q + v * panel + ((ulong)(b)*32 + j) * 16))) *   \
            d[v];                                                                                  \
        USE((b)*32 + j, w)                                                                         \
    }
#else

/* w = n d + m of each of a part's inputs: 32 of one scale, or 16. */
#if TYPE == 10
#define PART 16
#else
#define PART 32
#endif
#if TYPE == 8 || TYPE == 9
#define SUB_BYTES_OF(part, v) (sub + (v)*SUB_BYTES(d_in) + (ulong)((part) / 2) * 48)
#define LOAD_SCALES(part)                                                                          \
    UNROLL for (int v = 0; v < NV; v++)                                                            \
    {                                                                                              \
        ulong at = v * scale_panel + (ulong)((part) / 8) * 32;                                     \
        uchar16 low = vload16((part)&1, SUB_BYTES_OF(part, v));                                    \
        uchar16 top = vload16(2, SUB_BYTES_OF(part, v)) >> (uchar)(((part)&1) * 4);                \
        d[v] = HALF16(scales + at) *                                                               \
               convert_float16((low & (uchar)15) | (top & (uchar)3) << (uchar)4);                  \
        mn[v] = -HALF16(minima + at) *                                                             \
                convert_float16(low >> (uchar)4 | (top & (uchar)12) << (uchar)2);                  \
    }
#elif TYPE == 10
#define LOAD_SCALES(part)                                                                          \
    UNROLL for (int v = 0; v < NV; v++)                                                            \
    {                                                                                              \
        d[v] = HALF16(scales + v * scale_panel + (ulong)((part) / 16) * 32) *                      \
               convert_float16(vload16(part, (__global const char *)(sub + v * SUB_BYTES(d_in)))); \
        mn[v] = -ZERO * d[v];                                                                      \
    }
#else
#ifdef ZERO /* n d - 8 d is (n - 8) d to the bit: n d and 8 d are exact in f32 */
#define LOAD_MINIMUM(at, v) (-ZERO * d[v])
#else
#define LOAD_MINIMUM(at, v) HALF16(minima + (at))
#endif
#define LOAD_SCALES(part)                                                                          \
    UNROLL for (int v = 0; v < NV; v++)                                                            \
    {                                                                                              \
        ulong at = v * scale_panel + (ulong)(part)*32;                                             \
        d[v] = HALF16(scales + at);                                                                \
        mn[v] = LOAD_MINIMUM(at, v);                                                               \
    }
#endif

/* The high bits of inputs 2 i and 2 i + 1, at bit 4, onto their nibbles. */
#if HIGH_BITS == 0
#define ADD_HIGH(i, v)
#else
#define HIGH_PAIRS (4 / HIGH_BITS) /* pairs of inputs a byte */
#define HIGH_MASK  (16 * (HIGH_BITS == 2 ? 3 : 1))
#define ADD_HIGH(i, v)                                                                             \
    int16 h = BYTES16((i) / HIGH_PAIRS, high + (v)*HIGH_BYTES(d_in));                              \
    h = h >> (int)((i) % HIGH_PAIRS * 2 * HIGH_BITS);                                              \
    n |= (h << 4) & HIGH_MASK;                                                                     \
    n1 |= (h << (4 - HIGH_BITS)) & HIGH_MASK;
#endif

/* Widened as they are loaded, then taken apart: AVX2 widens from memory in one instruction, and has
 * no shifts of bytes. */
#define BYTES16(i, p) convert_int16(vload16(i, p))

#define BLOCK32(b, q, USE)                                                                         \
    ASK_AHEAD(b)                                                                                   \
    for (uint part = (b)*32 / PART; part < ((b) + 1) * 32 / PART; part++) {                        \
        float16 d[NV], mn[NV];                                                                     \
        LOAD_SCALES(part)                                                                          \
        UNROLL_BLOCK for (uint j = 0; j < PART / 2; j++)                                           \
        {                                                                                          \
            float16 w[NV], w1[NV];                                                                 \
            UNROLL for (int v = 0; v < NV; v++)                                                    \
            {                                                                                      \
                int16 n1 = BYTES16((ulong)part * (PART / 2) + j, q + v * panel);                   \
                int16 n = n1 & 15;                                                                 \
                n1 = n1 >> 4;                                                                      \
                ADD_HIGH(part *(PART / 2) + j, v)                                                  \
                w[v] = fma(convert_float16(n), d[v], mn[v]);                                       \
                w1[v] = fma(convert_float16(n1), d[v], mn[v]);                                     \
            }                                                                                      \
            USE(part *PART + 2 * j, w)                                                             \
            USE(part *PART + 2 * j + 1, w1)                                                        \
        }                                                                                          \
    }
#endif

#else /* GPU class */

/* One weight: output `row` of a panel, input k. */
static inline float panel_weight(__global const uchar *q, __global const uchar *scales,
                                 __global const uchar *minima, __global const uchar *high,
                                 __global const uchar *sub, uint k, uint row)
{
#if TYPE == 0
    return ((__global const float *)q)[(ulong)k * 16 + row];
#elif TYPE == 1
    return vload_half((ulong)k * 16 + row, (__global const half *)q);
#elif TYPE == 2
    return as_float((uint)((__global const ushort *)q)[(ulong)k * 16 + row] << 16);
#else
    ulong at = (ulong)(k / (IS_K ? 256 : 32)) * 16 + row;
    float d = vload_half(at, (__global const half *)scales);
#if TYPE == 3
    return (float)((__global const char *)q)[(ulong)k * 16 + row] * d;
#else
    uint byte = q[(ulong)(k / 2) * 16 + row];
    uint n = k & 1 ? byte >> 4 : byte & 15u;
#if HIGH_BITS != 0
    uint bits = high[(ulong)(k * HIGH_BITS / 8) * 16 + row] >> k * HIGH_BITS % 8;
    n |= (bits & (HIGH_BITS == 2 ? 3u : 1u)) << 4;
#endif
#if TYPE == 10
    d *= (float)((__global const char *)sub)[(ulong)(k / 16) * 16 + row];
#endif
#ifdef ZERO
    return ((float)n - ZERO) * d;
#else
    float m = vload_half(at, (__global const half *)minima);
#if IS_K
    uint low = sub[((ulong)(k / 64) * 3 + k / 32 % 2) * 16 + row];
    uint top = sub[((ulong)(k / 64) * 3 + 2) * 16 + row] >> k / 32 % 2 * 4;
    d *= (float)((low & 15u) | (top & 3u) << 4);
    m *= -(float)(low >> 4 | (top & 12u) << 2);
#endif
    return fma((float)n, d, m);
#endif
#endif
#endif
}
#define PANEL_WEIGHT(k, row) panel_weight(q, scales, minima, high, sub, k, row)
#endif
