/* tune.h - how kernels are launched on one device, as data: a table of defaults by vendor,
 * architecture and device; above it what oclora-tune measured on this very device (kept in the
 * cache folder); above that the environment. No OpenCL here.
 *
 * Only what leaves every sum as it is may stand here: any value of any parameter gives the same
 * bits (tests/tools/tune_bits.c). What is part of a sum's order (slices of a GPU's product, width
 * of its reductions, rank tiles, key chunks of attention) is a constant of the kernels. */
#ifndef OCLORA_CORE_TUNE_H
#define OCLORA_CORE_TUNE_H

#include "host/core/device.h"

#include <stdbool.h>

enum { OCLORA_TUNE_CPU = 1u << OCLORA_CLASS_CPU, OCLORA_TUNE_GPU = 1u << OCLORA_CLASS_GPU };
enum {
    OCLORA_TUNE_NO_AHEAD = 64
}; /* OCLORA_TUNE_MATMUL_AHEAD: the compiler may have no prefetch */

/* X(NAME, name, classes, least, most, a multiple of, what it is) */
#define OCLORA_TUNE_PARAMS(X)                                                                      \
    X(MATMUL_ROWS_4, matmul_rows_4, OCLORA_TUNE_CPU | OCLORA_TUNE_GPU, 2, 8, 1,                    \
      "rows from which a base product takes four at a time")                                       \
    X(MATMUL_ROWS_8, matmul_rows_8, OCLORA_TUNE_CPU | OCLORA_TUNE_GPU, 2, 65536, 1,                \
      "rows from which it takes eight at a time")                                                  \
    X(MATMUL_TILE_FROM, matmul_tile_from, OCLORA_TUNE_CPU | OCLORA_TUNE_GPU, 2, 65536, 1,          \
      "rows from which it converts a tile of the weight once for many rows, weights in blocks")    \
    X(MATMUL_TILE_FROM_DENSE, matmul_tile_from_dense, OCLORA_TUNE_CPU | OCLORA_TUNE_GPU, 2, 65536, \
      1, "the same, weights of f32, f16 and bf16")                                                 \
    X(MATMUL_PANELS_ONE, matmul_panels_one, OCLORA_TUNE_CPU, 1, 4, 1,                              \
      "panels of 16 outputs beside one row, weights of less than 8 bits")                          \
    X(MATMUL_PANELS_FOUR, matmul_panels_four, OCLORA_TUNE_CPU, 1, 4, 1,                            \
      "the same beside four rows, weights in blocks")                                              \
    X(MATMUL_PANELS_FOUR_DENSE, matmul_panels_four_dense, OCLORA_TUNE_CPU, 1, 4, 1,                \
      "the same, weights of f32, f16 and bf16")                                                    \
    X(MATMUL_PANELS_BLOCKS, matmul_panels_blocks, OCLORA_TUNE_CPU, 1, 3, 1,                        \
      "the same beside eight rows, weights in blocks")                                             \
    X(MATMUL_PANELS_DENSE, matmul_panels_dense, OCLORA_TUNE_CPU, 1, 3, 1,                          \
      "the same, weights of f32, f16 and bf16")                                                    \
    X(MATMUL_AHEAD, matmul_ahead, OCLORA_TUNE_CPU, 64, 65536, 64,                                  \
      "bytes of one or two panels in blocks that are asked for before their use; 64: none, and "   \
      "adapters ask for nothing ahead either")                                                     \
    X(MATMUL_TILE_ROWS, matmul_tile_rows, OCLORA_TUNE_CPU, 8, 1024, 8, "rows that share a tile")   \
    X(MATMUL_TILE_BYTES, matmul_tile_bytes, OCLORA_TUNE_CPU, 12288, 196608, 6144,                  \
      "bytes of a converted tile")                                                                 \
    X(VECTOR_SUMS, vector_sums, OCLORA_TUNE_CPU, 8, 16, 8,                                         \
      "vectors of 16 sums that kernels hold at a time")                                            \
    X(FUSED_WORK, fused_work, OCLORA_TUNE_CPU, 1024, 1u << 24, 1024,                               \
      "multiply-adds of a chunk up to which its adapter runs in one launch")                       \
    X(FUSED_ITEMS, fused_items, OCLORA_TUNE_CPU, 1, 64, 1,                                         \
      "chunks a compute unit from which larger ones do too")                                       \
    X(CHUNK_ROWS, chunk_rows, OCLORA_TUNE_CPU | OCLORA_TUNE_GPU, 4, 256, 4,                        \
      "rows of one adapter that a chunk of the work list holds")                                   \
    X(ATTENTION_ROWS_FROM, attention_rows_from, OCLORA_TUNE_CPU, 2, 4096, 1,                       \
      "rows from which eight share a chunk of keys")                                               \
    X(ROW_SPAN, row_span, OCLORA_TUNE_CPU, 128, 65536, 128, "elements of a work-item")             \
    X(CHAIN_STEPS, chain_steps, OCLORA_TUNE_CPU, 1, 1024, 1,                                       \
      "launches of a graph that run in one kernel; 1: each its own")                               \
    X(CHAIN_ROWS, chain_rows, OCLORA_TUNE_CPU, 1, 4096, 1, "rows of a graph up to which they do")  \
    X(CHAIN_BUILD_AT, chain_build_at, OCLORA_TUNE_CPU, 1, 1u << 30, 1,                             \
      "graphs of the same kernels from which on their chain is compiled beside them")              \
    X(CHAIN_WAIT_AT, chain_wait_at, OCLORA_TUNE_CPU, 1, 1u << 30, 1,                               \
      "graphs of the same kernels from which on they wait for it (tests, measurements)")           \
    X(ROW_WIDTH, row_width, OCLORA_TUNE_GPU, 32, 256, 32,                                          \
      "work-items of a group that do one element each")

typedef enum oclora_tune_param {
#define OCLORA_TUNE_ENUM(NAME, name, classes, least, most, multiple, text) OCLORA_TUNE_##NAME,
    OCLORA_TUNE_PARAMS(OCLORA_TUNE_ENUM)
#undef OCLORA_TUNE_ENUM
        OCLORA_TUNE_COUNT
} oclora_tune_param;

typedef struct oclora_tune_info {
    const char *name;
    uint32_t classes; /* OCLORA_TUNE_CPU, OCLORA_TUNE_GPU */
    uint32_t least, most, multiple;
    const char *text;
} oclora_tune_info;

extern const oclora_tune_info oclora_tune_infos[OCLORA_TUNE_COUNT];

/* One row of the table. The default of a class names nothing; a row of a vendor names that; a row
 * of an architecture names vendor and architecture; a row of a device names all three or vendor and
 * device. */
typedef struct oclora_tune_row {
    uint32_t device_class;
    const char *vendor;       /* of oclora_tune_vendor, or "" */
    const char *architecture; /* a beginning of oclora_device.architecture, or "" */
    const char *device;       /* a part of its name, case ignored, or "" */
    uint32_t param;
    uint32_t value;
    const char *why; /* a command and its figure; or "predicted: " and from what */
} oclora_tune_row;

/* Ends with a row whose `why` is NULL. */
extern const oclora_tune_row oclora_tune_rows[];

/* "amd", "nvidia", "intel", "arm", "qualcomm"; of CPU devices, whose speed is their runtime's,
 * "pocl", "intel-cpu"; else "". */
const char *oclora_tune_vendor(const oclora_device *device);

/* The row that decides: one that names the device before one of its architecture before one of its
 * vendor before the default. Never NULL for a parameter of the class. */
const oclora_tune_row *oclora_tune_find(const oclora_tune_row *rows, const oclora_device *device,
                                        uint32_t device_class, uint32_t param);

/* OCLORA_TUNE_COUNT if there is none. */
uint32_t oclora_tune_of_name(const char *name, size_t length);
/* Whether the value may be used for the parameter in that class. */
bool oclora_tune_valid(uint32_t device_class, uint32_t param, uint32_t value);

typedef enum oclora_tune_source {
    OCLORA_TUNE_FROM_TABLE,
    OCLORA_TUNE_FROM_CACHE,
    OCLORA_TUNE_FROM_ENVIRONMENT,
    OCLORA_TUNE_FROM_CALL
} oclora_tune_source;

typedef struct oclora_tuning {
    uint32_t values[OCLORA_TUNE_COUNT]; /* 0: not of this class */
    uint8_t sources[OCLORA_TUNE_COUNT]; /* oclora_tune_source */
} oclora_tuning;

/* The values for a device: table, then its record in `dir` (NULL: none), then OCLORA_TUNE, a list
 * "name=value,..." or "off" (the table alone). A record or a list with anything wrong in it is
 * refused as a whole, with a warning. */
void oclora_tuning_load(oclora_tuning *out, const oclora_env *env, const char *dir,
                        const oclora_device *device, uint32_t device_class);

/* What oclora-tune found on a device with one driver and version of this library: 0 = nothing. */
typedef struct oclora_tune_record {
    uint32_t values[OCLORA_CLASS_GPU + 1][OCLORA_TUNE_COUNT];
} oclora_tune_record;

typedef enum { OCLORA_TUNE_NONE, OCLORA_TUNE_READ, OCLORA_TUNE_REFUSED } oclora_tune_result;

/* READ: the record is whole and every value of it is allowed. Else `*out` is zeroed. */
oclora_tune_result oclora_tune_record_load(oclora_tune_record *out, const oclora_env *env,
                                           const char *dir, const oclora_device *device);
/* @return true if stored. */
bool oclora_tune_record_store(const oclora_tune_record *record, const oclora_env *env,
                              const char *dir, const oclora_device *device);
/* As text: a line "CLASS NAME VALUE" a value under a heading. @return its length without the zero
 * that is always written; `capacity` if it does not fit. */
size_t oclora_tune_record_print(const oclora_tune_record *record, char *text, size_t capacity);
/* Strict: every line known, every value allowed, none twice. Else false, and `*out` is zeroed. */
bool oclora_tune_record_parse(oclora_tune_record *out, const char *text, size_t length);

#endif
