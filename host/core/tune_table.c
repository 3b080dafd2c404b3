/* tune_table.c - the values. One row a fact; say how it was found. "predicted" rows wait for
 * somebody with the device and oclora-tune. */
#include "host/core/tune.h"

const oclora_tune_info oclora_tune_infos[OCLORA_TUNE_COUNT] = {
#define OCLORA_TUNE_INFO(NAME, name, classes, least, most, multiple, text)                         \
    {#name, classes, least, most, multiple, text},
    OCLORA_TUNE_PARAMS(OCLORA_TUNE_INFO)
#undef OCLORA_TUNE_INFO
};

#define CPU(name, value, why)                                                                      \
    {                                                                                              \
        OCLORA_CLASS_CPU, "", "", "", OCLORA_TUNE_##name, value, why                               \
    }
#define CPU_ARCH(architecture, name, value, why) CPU_OF("", architecture, name, value, why)
#define CPU_OF(vendor, architecture, name, value, why)                                             \
    {                                                                                              \
        OCLORA_CLASS_CPU, vendor, architecture, "", OCLORA_TUNE_##name, value, why                 \
    }
#define CPU_DEVICE(vendor, architecture, device, name, value, why)                                 \
    {                                                                                              \
        OCLORA_CLASS_CPU, vendor, architecture, device, OCLORA_TUNE_##name, value, why             \
    }
#define GPU(name, value, why)                                                                      \
    {                                                                                              \
        OCLORA_CLASS_GPU, "", "", "", OCLORA_TUNE_##name, value, why                               \
    }
#define GPU_OF(vendor, architecture, name, value, why)                                             \
    {                                                                                              \
        OCLORA_CLASS_GPU, vendor, architecture, "", OCLORA_TUNE_##name, value, why                 \
    }

const oclora_tune_row oclora_tune_rows[] = {
    /* CPU class. A vector of 16 floats is two registers of the 16 that AVX2 has, or one of the 32
     * of AVX-512 ("simd16"). Measured with PoCL and Intel's runtime. */
    CPU(MATMUL_ROWS_4, 2, "one row's kernel for two rows reads the weight twice"),
    CPU(MATMUL_ROWS_8, 65536, "sums of eight rows do not fit: q4_1, 8 rows 243 us, by fours 125"),
    CPU(MATMUL_TILE_FROM, 5, "q4_1, 8 and 16 rows: 125 and 193 us, without a tile 133 and 240"),
    CPU(MATMUL_TILE_FROM_DENSE, 65536,
        "f16, 8, 16, 64 rows: 99, 191, 638 us, by a tile 125, 202, "
        "664"),
    CPU(MATMUL_PANELS_ONE, 1, "q4_1, 576 x 49152: 1311 us, with two 1726, with four 2065"),
    CPU(MATMUL_PANELS_FOUR, 1, "q4_1, 8 rows: 133 us, with two 215, with four 288"),
    CPU(MATMUL_PANELS_FOUR_DENSE, 1, "beside four rows, as blocks"),
    CPU(MATMUL_PANELS_BLOCKS, 1, "beside eight rows, should they be asked for"),
    CPU(MATMUL_PANELS_DENSE, 1, "the same"),
    CPU(VECTOR_SUMS, 8,
        "f16, d = 4096, 32 adapters from a cache: 1.4x of 16 with PoCL, 1.5x with "
        "Intel's runtime; retention of 8 adapters of rank 16 0.84, with 16 0.78"),
    CPU_ARCH("simd16", VECTOR_SUMS, 16, "half of the 32 registers"),
    CPU_ARCH("simd16", MATMUL_ROWS_8, 5, "eight rows for five cost less than four twice"),
    CPU_ARCH("simd16", MATMUL_TILE_FROM, 16, "16 rows: 1.05x; above, a tile converted once wins"),
    CPU_ARCH("simd16", MATMUL_TILE_FROM_DENSE, 17, "16 rows: 0.8x; above, a tile wins"),
    CPU_ARCH("simd16", MATMUL_PANELS_ONE, 4, "27 Gflop/s with one, 44 with four"),
    CPU_ARCH("simd16", MATMUL_PANELS_FOUR, 4, "16 accumulators and 4 weights"),
    CPU_ARCH("simd16", MATMUL_PANELS_FOUR_DENSE, 4, "Zen 4, f16: 103 Gflop/s, with one 80"),
    CPU_ARCH("simd16", MATMUL_PANELS_BLOCKS, 2,
             "16 accumulators and the weight's halves fill 32 registers"),
    CPU_ARCH("simd16", MATMUL_PANELS_DENSE, 3, "24 accumulators and 3 weights fit in 32 registers"),
    /* One multiply-add of 16 floats a cycle, which can load x itself. */
    CPU_DEVICE("", "simd16", "AMD", MATMUL_PANELS_FOUR, 1,
               "Zen 4, q4_1, 576 x 49152, Gflop/s with PoCL and Intel's runtime: 139 and 149, with "
               "four 103 and 123"),
    CPU_DEVICE("", "simd16", "AMD", MATMUL_PANELS_BLOCKS, 1,
               "the same: 189 and 177, with two 170 and 170; by a tile, 64 rows 214 and 214, with "
               "two 201"),
    CPU_DEVICE("pocl", "simd16", "AMD", MATMUL_TILE_FROM, 17,
               "16 rows: 196 Gflop/s, by a tile 187"),
    CPU(MATMUL_AHEAD, 64, "only where the compiler is known to have a prefetch"),
    CPU_OF("pocl", "", MATMUL_AHEAD, 2048,
           "Zen 4, q4_1, 576 x 49152, 8 rows: 190 Gflop/s, with none 178; 2048 to 18432 are alike"),
    CPU_OF("intel-cpu", "", MATMUL_AHEAD, 2048, "the same: 178 Gflop/s, with none 171"),
    CPU(MATMUL_TILE_ROWS, 128, "the rows' x of 288 inputs stay in the second cache"),
    CPU(MATMUL_TILE_BYTES, 36864, "leaves a first cache of 48 KiB room for x and y"),
    CPU(FUSED_WORK, 1048576,
        "oclora-tune, two cores of an EPYC: 1.20x of 131072 with Intel's runtime, 1.07x with PoCL"),
    CPU(FUSED_ITEMS, 1,
        "2048 x 2048, 64 rows of rank 32, two cores: as fast as with 2; blocks need whole chunks"),
    CPU(CHUNK_ROWS, 32,
        "512 rows of 4 adapters, r = 64, d = 4096: 4.8 ms, with 16 and 64 5.1; as many as "
        "lora_fused's blocks have"),
    CPU(ATTENTION_ROWS_FROM, 4, "below, converting keys for eight rows is not won back"),
    CPU(ROW_SPAN, 1024, "4 KiB a work-item cover its start"),
    CPU(CHAIN_STEPS, 1, "chains rely on how a runtime orders memory: only where that is known"),
    CPU(CHAIN_ROWS, 32, "with more rows, starting a kernel costs less than 3 % of running it"),
    CPU(CHAIN_BUILD_AT, 64,
        "graphs take 7 to 30 ms: their kernels are then in use for as long as compiling takes, and "
        "likely to stay; a program that ends waits for what is being compiled"),
    CPU(CHAIN_WAIT_AT, 1u << 30, "never: compiling takes seconds, in which nobody is served"),
    CPU_OF("pocl", "", CHAIN_STEPS, 64,
           "SmolLM2-135M, tokens/s of 1 and 8 rows: 160 and 469, with 1 121 and 420, with 1000 152 "
           "and 422 (the device waits for the list); and uploads wait for one chain"),
    CPU_OF("intel-cpu", "", CHAIN_STEPS, 64, "the same: 163 and 475, with 1 145 and 457"),
    CPU_OF("pocl", "", ATTENTION_ROWS_FROM, 16,
           "oclora-tune, two cores of an EPYC: 1.26x of 4; single rows spread better"),

    /* GPU class. No GPU was to be had: everything is predicted. */
    GPU(MATMUL_ROWS_4, 2, "predicted: a weight is unpacked once for four rows"),
    GPU(MATMUL_ROWS_8, 5, "predicted: a weight is unpacked once for eight rows"),
    GPU(MATMUL_TILE_FROM, 17,
        "predicted by tools/perf-model: from 9 to 33 rows on, a tile of 32 wins 5 % with q4_0"),
    GPU(MATMUL_TILE_FROM_DENSE, 17, "predicted: the same with f16"),
    GPU(CHUNK_ROWS, 16, "predicted: four tiles of four rows leave 32 groups for a prompt of 512"),
    GPU(ROW_WIDTH, 64, "predicted: one wave of 64 or two of 32; 32 groups fill a unit of 2048"),
    GPU_OF("amd", "gfx942", MATMUL_TILE_FROM, 33,
           "predicted by tools/perf-model: q4_0 of 4096, 32 rows, 23.5 us against 26.5 with tiles, "
           "which are too few for 304 units"),
    GPU_OF("amd", "gfx942", MATMUL_TILE_FROM_DENSE, 33, "predicted: tiles are too few, as above"),
    GPU_OF(
        "nvidia", "sm_86", ROW_WIDTH, 128,
        "predicted: at most 16 groups a unit, so that 64 would leave a third of its 1536 threads "
        "empty (CUDA programming guide, compute capabilities)"),
    GPU_OF("nvidia", "sm_87", ROW_WIDTH, 128, "predicted: as sm_86"),
    {0, "", "", "", 0, 0, NULL},
};
