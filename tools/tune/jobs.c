/* jobs.c - which sizes and which values are measured for each parameter. Sizes of a small model
 * (576, 1536) and of one layer of a large one. */
#include "tools/tune/work.h"

#define BASE(param, type, rows)                                                                    \
    {                                                                                              \
        OCLORA_TUNE_##param, TUNE_BASE, {576, {1536}, rows, 0, 0, OCLORA_TYPE_##type, 0},          \
            "base product, " #type ", " #rows " rows"                                              \
    }
#define DELTA(param, d, rows, adapters, rank)                                                      \
    {                                                                                              \
        OCLORA_TUNE_##param, TUNE_DELTA,                                                           \
            {d, {d}, rows, adapters, rank, OCLORA_TYPE_F16, OCLORA_TYPE_F16},                      \
            #adapters " adapters of rank " #rank ", d = " #d ", " #rows " rows"                    \
    }
#define ATTENTION(param, keys, rows)                                                               \
    {                                                                                              \
        OCLORA_TUNE_##param, TUNE_ATTENTION, {keys, {0}, rows, 0, 0, 0, 0},                        \
            "attention, " #rows " rows over " #keys " keys"                                        \
    }
#define ROWS(param, width, rows)                                                                   \
    {                                                                                              \
        OCLORA_TUNE_##param, TUNE_ROWS, {width, {0}, rows, 0, 0, 0, 0},                            \
            "sum of " #rows " rows of " #width                                                     \
    }
#define CHAIN(param, width, rows)                                                                  \
    {                                                                                              \
        OCLORA_TUNE_##param, TUNE_CHAIN, {width, {0}, rows, 0, 0, 0, 0},                           \
            "128 sums of " #rows " rows of " #width                                                \
    }

const tune_job tune_jobs[] = {
    BASE(MATMUL_ROWS_4, Q4_1, 2),
    BASE(MATMUL_ROWS_4, Q8_0, 3),
    BASE(MATMUL_ROWS_8, Q4_1, 4),
    BASE(MATMUL_ROWS_8, Q4_1, 6),
    BASE(MATMUL_ROWS_8, Q8_0, 7),
    BASE(MATMUL_TILE_FROM, Q4_1, 12),
    BASE(MATMUL_TILE_FROM, Q8_0, 16),
    BASE(MATMUL_TILE_FROM, Q4_1, 24),
    BASE(MATMUL_TILE_FROM, Q8_0, 48),
    BASE(MATMUL_PANELS_BLOCKS, Q4_1, 8),
    BASE(MATMUL_PANELS_BLOCKS, Q8_0, 8),
    BASE(MATMUL_PANELS_BLOCKS, Q4_1, 64),
    BASE(MATMUL_PANELS_DENSE, F16, 8),
    BASE(MATMUL_PANELS_DENSE, F16, 64),
    BASE(MATMUL_AHEAD, Q4_1, 8),
    BASE(MATMUL_AHEAD, Q8_0, 8),
    DELTA(MATMUL_AHEAD, 576, 32, 1, 16),
    BASE(MATMUL_TILE_ROWS, Q4_1, 512),
    BASE(MATMUL_TILE_ROWS, Q8_0, 128),
    BASE(MATMUL_TILE_BYTES, Q4_1, 64),
    BASE(MATMUL_TILE_BYTES, F16, 512),
    BASE(MATMUL_TILE_FROM_DENSE, F16, 16),
    BASE(MATMUL_TILE_FROM_DENSE, F16, 64),
    BASE(MATMUL_PANELS_ONE, Q4_1, 1),
    BASE(MATMUL_PANELS_ONE, Q4_0, 1),
    BASE(MATMUL_PANELS_FOUR, Q4_1, 4),
    BASE(MATMUL_PANELS_FOUR, Q8_0, 4),
    BASE(MATMUL_PANELS_FOUR_DENSE, F16, 4),
    DELTA(VECTOR_SUMS, 576, 8, 8, 16),
    DELTA(VECTOR_SUMS, 2048, 16, 1, 64),
    DELTA(VECTOR_SUMS, 576, 32, 1, 16),
    DELTA(FUSED_WORK, 576, 8, 8, 16),
    DELTA(FUSED_WORK, 576, 16, 1, 16),
    DELTA(FUSED_WORK, 2048, 2, 2, 16),
    DELTA(FUSED_WORK, 2048, 16, 1, 64),
    DELTA(FUSED_ITEMS, 2048, 4, 4, 64),
    DELTA(FUSED_ITEMS, 2048, 64, 4, 32),
    DELTA(CHUNK_ROWS, 576, 512, 4, 16),
    DELTA(CHUNK_ROWS, 2048, 128, 4, 64),
    ATTENTION(ATTENTION_ROWS_FROM, 256, 3),
    ATTENTION(ATTENTION_ROWS_FROM, 256, 6),
    ATTENTION(ATTENTION_ROWS_FROM, 512, 12),
    ROWS(ROW_SPAN, 576, 8),
    ROWS(ROW_SPAN, 1536, 8),
    ROWS(ROW_SPAN, 1536, 512),
    CHAIN(CHAIN_STEPS, 576, 1),
    CHAIN(CHAIN_STEPS, 1536, 8),
    CHAIN(CHAIN_ROWS, 1536, 16),
    CHAIN(CHAIN_ROWS, 1536, 32),
    ROWS(ROW_WIDTH, 576, 8),
    ROWS(ROW_WIDTH, 1536, 512),
    {.name = NULL},
};

const uint32_t *tune_candidates(oclora_tune_param param)
{
    enum { MOST = 8 };
    static const uint32_t values[OCLORA_TUNE_COUNT][MOST] = {
        [OCLORA_TUNE_MATMUL_ROWS_4] = {2, 3, 4},
        [OCLORA_TUNE_MATMUL_ROWS_8] = {4, 5, 6, 7, 8, 9, 65536},
        [OCLORA_TUNE_MATMUL_TILE_FROM] = {5, 9, 13, 17, 33, 65, 65536},
        [OCLORA_TUNE_MATMUL_TILE_FROM_DENSE] = {5, 9, 17, 25, 33, 65, 65536},
        [OCLORA_TUNE_MATMUL_PANELS_ONE] = {1, 2, 4},
        [OCLORA_TUNE_MATMUL_PANELS_FOUR] = {1, 2, 4},
        [OCLORA_TUNE_MATMUL_PANELS_FOUR_DENSE] = {1, 2, 4},
        [OCLORA_TUNE_MATMUL_PANELS_BLOCKS] = {1, 2, 3},
        [OCLORA_TUNE_MATMUL_PANELS_DENSE] = {1, 2, 3},
        [OCLORA_TUNE_MATMUL_AHEAD] = {64, 1024, 2048, 8192},
        [OCLORA_TUNE_MATMUL_TILE_ROWS] = {32, 64, 128, 256, 512},
        [OCLORA_TUNE_MATMUL_TILE_BYTES] = {12288, 24576, 36864, 49152, 73728},
        [OCLORA_TUNE_VECTOR_SUMS] = {8, 16},
        [OCLORA_TUNE_FUSED_WORK] = {16384, 65536, 131072, 262144, 1048576},
        [OCLORA_TUNE_FUSED_ITEMS] = {1, 2, 4, 8},
        [OCLORA_TUNE_CHUNK_ROWS] = {4, 8, 16, 32, 64},
        [OCLORA_TUNE_ATTENTION_ROWS_FROM] = {2, 4, 5, 8, 16},
        [OCLORA_TUNE_ROW_SPAN] = {256, 512, 1024, 2048, 4096, 16384},
        [OCLORA_TUNE_CHAIN_STEPS] = {1, 16, 32, 64, 128, 256},
        [OCLORA_TUNE_CHAIN_ROWS] = {1, 16, 32},
        [OCLORA_TUNE_ROW_WIDTH] = {32, 64, 128, 256},
    };
    return values[param];
}
