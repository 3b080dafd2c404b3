/* lora_types.cl - structs shared with the host (host/adapter/pool.h, host/batch/batch.h; sizes are
 * asserted in host/op/lanes.c), element types, and how factors are read. Included by the LoRA
 * kernels; compiles alone. */
#ifndef LORA_TYPES_CL
#define LORA_TYPES_CL

typedef struct lora_lane {
    ulong a, b, scale, core, u, beta, c, mul_u, mul_v; /* byte offsets into the pool, 0 = absent */
    ulong gate, gate_b, pairs;
    uint rank, group, type_a, type_b, n_mul, router;
    float temperature;
    uint type_gate;
} lora_lane;

typedef struct lora_chunk {
    uint row_first, n_rows, entry_first, n_entries, hidden_first, reserved0, reserved1, reserved2;
} lora_chunk;

enum { TYPE_F32 = 0, TYPE_F16 = 1, TYPE_BF16 = 2, TYPE_Q8_0 = 3 };

/* The batch's work: chunks, row indices, adapter of each entry, weight of each hidden slot. */
#define WORK_ARGS                                                                                  \
    __global const uchar *restrict work, ulong chunk_offset, ulong row_offset, ulong entry_offset, \
        ulong weight_offset
#define WORK_CHUNK(i)  (((__global const lora_chunk *)(work + chunk_offset))[i])
#define WORK_ROW(i)    (((__global const uint *)(work + row_offset))[i])
#define WORK_ENTRY(i)  (((__global const uint *)(work + entry_offset))[i])
#define WORK_WEIGHT(i) (((__global const float *)(work + weight_offset))[i])

#define POOL_FLOATS(offset) ((__global const float *)(pool + (offset)))

/* Bytes of one row of n values. */
static inline ulong factor_row_bytes(uint type, uint n)
{
    return type == TYPE_F32    ? (ulong)n * 4
           : type == TYPE_Q8_0 ? (ulong)((n + 31) / 32) * 34
                               : (ulong)n * 2;
}

/* Value i of a row. */
static inline float factor_value(uint type, __global const uchar *row, uint i)
{
    switch (type) {
    case TYPE_F32:
        return ((__global const float *)row)[i];
    case TYPE_F16:
        return vload_half(i, (__global const half *)row);
    case TYPE_BF16:
        return as_float((uint)((__global const ushort *)row)[i] << 16);
    default: {
        __global const uchar *block = row + (ulong)(i / 32) * 34;
        return (float)((__global const char *)(block + 2))[i % 32] *
               vload_half(0, (__global const half *)block);
    }
    }
}

/* Values i .. i+15 of a row; i a multiple of 16, all 16 within the row. */
static inline float16 factor_values16(uint type, __global const uchar *row, uint i)
{
    switch (type) {
    case TYPE_F32:
        return vload16(0, (__global const float *)row + i);
    case TYPE_F16:
        return vload_half16(0, (__global const half *)row + i);
    case TYPE_BF16:
        return as_float16(convert_uint16(vload16(0, (__global const ushort *)row + i)) << 16);
    default: {
        __global const uchar *block = row + (ulong)(i / 32) * 34;
        return convert_float16(vload16(0, (__global const char *)(block + 2 + i % 32))) *
               vload_half(0, (__global const half *)block);
    }
    }
}

/* Loops over the parts of a vector: on GPUs an index known to the compiler keeps the parts in
 * registers, on CPUs unrolling would only cost compile time. */
#ifdef OCLORA_CLASS_GPU
#define TAIL_LOOP _Pragma("unroll")
#else
#define TAIL_LOOP _Pragma("unroll 1")
#endif

/* The same for the last n < 16 values; the others are 0. */
static inline float16 factor_tail16(uint type, __global const uchar *row, uint i, uint n)
{
    float values[16];
    TAIL_LOOP for (uint j = 0; j < 16; j++) values[j] =
        j < n ? factor_value(type, row, i + j) : 0.0f;
    return vload16(0, values);
}

/* The n <= 16 floats at p as a vector filled up with 0, and back. */
static inline float16 floats16(__global const float *p, uint n)
{
    if (n == 16) return vload16(0, p);
    float values[16];
    TAIL_LOOP for (uint i = 0; i < 16; i++) values[i] = i < n ? p[i] : 0.0f;
    return vload16(0, values);
}

static inline void store16(__global float *p, float16 v, uint n)
{
    if (n == 16) {
        vstore16(v, 0, p);
        return;
    }
    float values[16];
    vstore16(v, 0, values);
    TAIL_LOOP for (uint i = 0; i < 16; i++) if (i < n) p[i] = values[i];
}

/* lora_lane.router */
#define ROUTER_KIND(lane)    ((lane).router & 255u)
#define ROUTER_TOP_K(lane)   ((lane).router >> 8 & 255u)
#define ROUTER_EXPERTS(lane) ((lane).router >> 16)
#endif
