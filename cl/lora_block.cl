/* lora_block.cl - SHRINK and EXPAND of a chunk of several rows on CPU class, in blocks:
 * BLOCK_INPUTS inputs of four rows, and BLOCK_OUTPUTS columns of B, stay in the first cache. The
 * sums are those of lora_cpu.cl, term by term. A work-item takes 170 KiB of its thread's stack.
 * Included by lora_fused.cl; compiles alone. */
#pragma OPENCL FP_CONTRACT OFF
#include "lora_cpu.cl"

enum { BLOCK_LEAST = 8, BLOCK_ROWS = 32, BLOCK_RANKS = 64, BLOCK_INPUTS = 1024 };
/* Of a row of sums, in vectors; with 4 KiB all rows would lie in the same lines of the cache. */
enum { SUMS_PITCH = BLOCK_RANKS + 1 };
enum { BLOCK_OUTPUTS = 128, BLOCK_FACTOR = 8192 }; /* BLOCK_FACTOR floats of B at a time, 32 KiB */

/* What one register holds of a vector of 16. */
#if SUMS == 16
typedef float16 part;
#define LOAD_PART(p)      vload16(0, p)
#define LOAD_PART_HALF(p) vload_half16(0, p)
#define STORE_PART(v, p)  vstore16(v, 0, p)
enum { PART = 16, PARTS = 1 };
#else
typedef float8 part;
#define LOAD_PART(p)      vload8(0, p)
#define LOAD_PART_HALF(p) vload_half8(0, p)
#define STORE_PART(v, p)  vstore8(v, 0, p)
enum { PART = 8, PARTS = 2 };
#endif

#define EACH(i, n) UNROLL for (int i = 0; i < n; i++)

/* Asks for the lines of share i of n of `bytes` bytes at p, where the compiler has a prefetch:
 * pieces of rows are too short for a core to foresee the next. */
static inline void ask_share(__global const uchar *p, uint bytes, uint i, uint n)
{
#ifdef PREFETCH
    for (uint line = bytes / 64 * i / n; line < bytes / 64 * (i + 1) / n; line++)
        __builtin_prefetch((const void *)(ulong)(p + (ulong)line * 64));
#endif
}

/* How many of the first rows are done in blocks: none if they are few, or if something is not made
 * of whole vectors of f32 or f16. */
static inline uint block_rows(const rows_of *rows, const lora_lane *lane, uint d_in, uint d_out)
{
    if (lane->group != 1 || (d_in | d_out) % 16 || rows->n_rows < BLOCK_LEAST || !lane->rank ||
        lane->rank > BLOCK_FACTOR / 16 || lane->type_a > TYPE_F16 || lane->type_b > TYPE_F16)
        return 0;
    return min(rows->n_rows, (uint)BLOCK_ROWS) / ROW_TILE * ROW_TILE;
}

/* Leaves the first n rows out. */
static inline void skip_rows(rows_of *rows, uint n)
{
    uint slots = n * rows->n_entries;
    rows->index += n;
    rows->weight += slots;
    rows->hidden += (ulong)slots * rows->hidden_stride;
    rows->n_rows -= n;
}

/* sums[r][j] += A[j][k] x[r][k] for 4 rows, J rank rows and inputs [k0, end), of each vector of
 * sums a register at a time. Twelve independent sums: two multiply-adds a cycle that take four
 * cycles each need at least eight. Rank row j begins `row` values after the one before, the sums of
 * a row SUMS_PITCH vectors. */
#define SHRINK_BLOCK(name, J, type, LOAD)                                                          \
    static inline void name(__global const type *a, uint row, __global const float *const *x_row,  \
                            uint k0, uint end, float16 *sums)                                      \
    {                                                                                              \
        for (uint p = 0; p < 16; p += PART) {                                                      \
            part s[ROW_TILE][J];                                                                   \
            float *at = (float *)sums + p;                                                         \
            EACH (r, ROW_TILE)                                                                     \
                EACH (j, J) s[r][j] = LOAD_PART(at + (r * SUMS_PITCH + j) * 16);                   \
            for (uint k = k0 + p; k < end; k += 16) {                                              \
                part v[J];                                                                         \
                EACH (j, J) v[j] = LOAD(a + j * row + k);                                          \
                EACH (r, ROW_TILE) {                                                               \
                    part u = LOAD_PART(x_row[r] + k);                                              \
                    EACH (j, J) s[r][j] = fma(u, v[j], s[r][j]);                                   \
                }                                                                                  \
            }                                                                                      \
            EACH (r, ROW_TILE)                                                                     \
                EACH (j, J) STORE_PART(s[r][j], at + (r * SUMS_PITCH + j) * 16);                   \
        }                                                                                          \
    }

/* The same for up to 3 rank rows. */
#define SHRINK_BLOCKS(name, type, LOAD)                                                            \
    SHRINK_BLOCK(name##_1, 1, type, LOAD)                                                          \
    SHRINK_BLOCK(name##_2, 2, type, LOAD)                                                          \
    SHRINK_BLOCK(name##_3, 3, type, LOAD)                                                          \
    static inline void name(__global const uchar *a_row, uint row, uint ranks,                     \
                            __global const float *const *x_row, uint k0, uint end, float16 *sums)  \
    {                                                                                              \
        __global const type *a = (__global const type *)a_row;                                     \
        if (ranks >= 3)                                                                            \
            name##_3(a, row, x_row, k0, end, sums);                                                \
        else if (ranks == 2)                                                                       \
            name##_2(a, row, x_row, k0, end, sums);                                                \
        else                                                                                       \
            name##_1(a, row, x_row, k0, end, sums);                                                \
    }
SHRINK_BLOCKS(shrink_block_f16, half, LOAD_PART_HALF)
SHRINK_BLOCKS(shrink_block_f32, float, LOAD_PART)

/* The 4 rows that follow rows i .. of inputs k0 .., and how many bytes of each: of the next rows,
 * or of the first ones' next inputs. */
static inline uint next_inputs(const rows_of *rows, uint n_rows, __global const uchar *x,
                               ulong x_stride, uint d_in, uint i, uint k0,
                               __global const uchar **next)
{
    uint i1 = i + ROW_TILE < n_rows ? i + ROW_TILE : 0, k1 = i1 ? k0 : k0 + BLOCK_INPUTS;
    EACH (r, ROW_TILE) next[r] = x + rows->index[i1 + r] * x_stride + (ulong)k1 * 4;
    return k1 < d_in ? min((uint)BLOCK_INPUTS, d_in - k1) * 4 : 0;
}

/* SHRINK of entry e for rank rows [j0, j0 + ranks), ranks <= BLOCK_RANKS, and rows [0, n_rows). */
static inline void shrink_block(const lora_lane *lane, __global const uchar *pool,
                                const rows_of *rows, uint e, __global const uchar *x,
                                ulong x_stride, uint d_in, uint n_rows, uint j0, uint ranks)
{
    float16 sums[BLOCK_ROWS * SUMS_PITCH];
    const ulong row_bytes = factor_row_bytes(lane->type_a, d_in);
    __global const uchar *a = pool + lane->a + j0 * row_bytes;
    for (uint r = 0; r < n_rows; r++)
        for (uint j = 0; j < (ranks + RANK_TILE - 1) / RANK_TILE * RANK_TILE; j++)
            sums[r * SUMS_PITCH + j] = 0.0f;
    for (uint k0 = 0; k0 < d_in; k0 += BLOCK_INPUTS) {
        uint end = min(k0 + BLOCK_INPUTS, d_in);
        for (uint i = 0; i < n_rows; i += ROW_TILE) {
            __global const float *x_row[ROW_TILE];
            __global const uchar *next[ROW_TILE];
            EACH (r, ROW_TILE)
                x_row[r] = (__global const float *)(x + rows->index[i + r] * x_stride);
            uint bytes = next_inputs(rows, n_rows, x, x_stride, d_in, i, k0, next);
            for (uint j = 0; j < ranks; j += 3) {
                EACH (r, ROW_TILE) ask_share(next[r], bytes, j / 3, (ranks + 2) / 3);
                if (lane->type_a == TYPE_F16)
                    shrink_block_f16(a + j * row_bytes, d_in, ranks - j, x_row, k0, end,
                                     sums + i * SUMS_PITCH + j);
                else
                    shrink_block_f32(a + j * row_bytes, d_in, ranks - j, x_row, k0, end,
                                     sums + i * SUMS_PITCH + j);
            }
        }
    }
    for (uint r = 0; r < n_rows; r++)
        for (uint j = 0; j < ranks; j += RANK_TILE)
            store_hidden(sums + r * SUMS_PITCH + j, POOL_FLOATS(lane->scale) + j0 + j,
                         HIDDEN_ROW(rows, SLOT(rows, r, e)) + j0 + j,
                         min((uint)RANK_TILE, ranks - j));
}

/* SHRINK of entry e for rows [0, n_rows), which block_rows gave. */
static inline void shrink_blocks(const lora_lane *lane, __global const uchar *pool,
                                 const rows_of *rows, uint e, __global const uchar *x,
                                 ulong x_stride, uint d_in, uint n_rows)
{
    for (uint j = 0; j < lane->rank; j += BLOCK_RANKS)
        shrink_block(lane, pool, rows, e, x, x_stride, d_in, n_rows, j,
                     min((uint)BLOCK_RANKS, lane->rank - j));
}

/* y[r][o ..] += w[r] * (beta o sum_j h[r][j] B[j] + c) for 4 rows and n outputs; vector v of row j
 * of B is at b + (v * rank + j) * 16. */
#define EXPAND_BLOCK(name, type, LOAD)                                                             \
    static inline void name(const lora_lane *lane, __global const uchar *pool, const type *b,      \
                            uint n, __global const float *const *h_row, const float *w,            \
                            __global float *const *y_row, uint o)                                  \
    {                                                                                              \
        for (uint end = o + n; o < end; o += 16) {                                                 \
            part t[ROW_TILE][PARTS];                                                               \
            EACH (r, ROW_TILE)                                                                     \
                EACH (i, PARTS) t[r][i] = 0.0f;                                                    \
            for (uint j = 0; j < lane->rank; j++, b += 16) {                                       \
                part v[PARTS];                                                                     \
                EACH (i, PARTS) v[i] = LOAD(b + PART * i);                                         \
                EACH (r, ROW_TILE)                                                                 \
                    EACH (i, PARTS) t[r][i] = fma((part)(h_row[r][j]), v[i], t[r][i]);             \
            }                                                                                      \
            EACH (r, ROW_TILE)                                                                     \
                EACH (i, PARTS) {                                                                  \
                    uint at = o + PART * i;                                                        \
                    if (lane->beta) t[r][i] *= LOAD_PART(POOL_FLOATS(lane->beta) + at);            \
                    if (lane->c) t[r][i] += LOAD_PART(POOL_FLOATS(lane->c) + at);                  \
                    STORE_PART(fma((part)(w[r]), t[r][i], LOAD_PART(y_row[r] + at)),               \
                               y_row[r] + at);                                                     \
                }                                                                                  \
        }                                                                                          \
    }
EXPAND_BLOCK(expand_block_f16, half, LOAD_PART_HALF)
EXPAND_BLOCK(expand_block_f32, float, LOAD_PART)

/* Outputs [o, o + n) of all of B's rows, a vector of every row after the other: rows of a width
 * like 4096 lie in the same few lines of the first cache. */
static inline void gather_outputs(const lora_lane *lane, __global const uchar *b, ulong row_bytes,
                                  uint o, uint n, uint *out)
{
    for (uint j = 0; j < lane->rank; j++, b += row_bytes) {
        __global const uint *f16 = (__global const uint *)b + o / 2, *f32 = f16 + o / 2;
        for (uint i = 0; i < n / 16; i++) {
            if (lane->type_b == TYPE_F16)
                vstore8(vload8(i, f16), i * lane->rank + j, out);
            else
                vstore16(vload16(i, f32), i * lane->rank + j, out);
        }
    }
}

/* EXPAND of entry e for rows [0, n_rows), which block_rows gave. */
static inline void expand_blocks(const lora_lane *lane, __global const uchar *pool,
                                 const rows_of *rows, uint e, __global uchar *y, ulong y_stride,
                                 uint d_out, uint n_rows)
{
    uint b[BLOCK_FACTOR]; /* bits of floats, or of pairs of halves */
    const uint rank = lane->rank, width = lane->type_b == TYPE_F16 ? 2 : 4;
    const uint span = min((uint)BLOCK_OUTPUTS, BLOCK_FACTOR / rank / 16 * 16);
    const ulong row_bytes = factor_row_bytes(lane->type_b, d_out);
    for (uint o = 0; o < d_out; o += span) {
        uint n = min(span, d_out - o);
        uint next_bytes = min(span, d_out - o - n) * width;
        __global const uchar *next_b = pool + lane->b + (ulong)(o + n) * width;
        gather_outputs(lane, pool + lane->b, row_bytes, o, n, b);
        for (uint i = 0; i < n_rows; i += ROW_TILE) {
            __global const float *h_row[ROW_TILE];
            __global float *y_row[ROW_TILE];
            float w[ROW_TILE];
            EACH (r, ROW_TILE) {
                uint slot = SLOT(rows, i + r, e);
                h_row[r] = HIDDEN_ROW(rows, slot);
                y_row[r] = (__global float *)(y + rows->index[i + r] * y_stride);
                w[r] = rows->weight[slot];
            }
            for (uint j = i * rank / n_rows; j < (i + ROW_TILE) * rank / n_rows; j++)
                ask_share(next_b + j * row_bytes, next_bytes, 0, 1);
            for (uint r = i + ROW_TILE; r < min(i + 2 * ROW_TILE, n_rows); r++)
                ask_share(y + rows->index[r] * y_stride + (ulong)o * 4, n * 4, 0, 1);
            if (lane->type_b == TYPE_F16)
                expand_block_f16(lane, pool, (const half *)b, n, h_row, w, y_row, o);
            else
                expand_block_f32(lane, pool, (const float *)b, n, h_row, w, y_row, o);
        }
    }
}
