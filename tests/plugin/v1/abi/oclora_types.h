/*
 * oclora_types.h - status codes, data types and adapter kinds, shared by every public header and by
 * the engine. Depends on nothing but <stdint.h>; compiles alone as C99, C11 and C++.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OCLORA_TYPES_H
#define OCLORA_TYPES_H

#include <stdint.h>

/*
 * One list of every status: X(NAME, code, text). Codes below 100 never change their meaning.
 * Zero is success; every other value is an error whose message text says what failed, where, and
 * how to go on.
 */
#define OCLORA_STATUS_MAP(X)                                                                       \
    X(OK, 0, "success")                                                                            \
    X(INVALID_ARGUMENT, 1, "an argument is outside its documented range")                          \
    X(OUT_OF_HOST_MEMORY, 2, "host memory could not be allocated")                                 \
    X(NOT_SUPPORTED, 3, "this build or device does not support the request")                       \
    X(WRONG_STATE, 4, "the object is not in a state that allows the call")                         \
    X(STALE_HANDLE, 5, "the handle names something that was unloaded or replaced")                 \
    X(NOT_FOUND, 6, "no object of that name exists")                                               \
    X(BUSY, 7, "the object is in use by submitted work")                                           \
    X(INTERNAL, 8, "an internal invariant does not hold")                                          \
    X(ABI_MISMATCH, 9, "caller and library do not speak the same ABI")                             \
    X(ALREADY_EXISTS, 10, "an object of that name exists")                                         \
    X(NO_DEVICE, 20, "no usable OpenCL device was found")                                          \
    X(OUT_OF_DEVICE_MEMORY, 21, "device memory could not be allocated")                            \
    X(DEVICE_LOST, 22, "the device stopped answering; the context can only be destroyed")          \
    X(BUILD_FAILED, 23, "the device compiler rejected a kernel")                                   \
    X(OPENCL, 24, "an OpenCL call failed")                                                         \
    X(DEVICE_REFUSED, 25, "the device is known to give wrong results")                             \
    X(FILE_NOT_FOUND, 40, "a file or folder does not exist or cannot be opened")                   \
    X(FILE_READ, 41, "a file could not be read")                                                   \
    X(FILE_FORMAT, 42, "a file does not follow its format")                                        \
    X(FILE_TRUNCATED, 43, "a file ends before the data it announces")                              \
    X(UNKNOWN_KIND, 44, "the adapter kind is not known")                                           \
    X(MISSING_TENSOR, 45, "a tensor that the adapter kind needs is absent")                        \
    X(SHAPE_MISMATCH, 46, "a tensor's shape does not fit")                                         \
    X(RANK_MISMATCH, 47, "the ranks of a module's factors differ")                                 \
    X(NOT_FINITE, 48, "a factor holds NaN or infinity")                                            \
    X(MODULE_MISMATCH, 49, "modules of the adapter do not match the base model")                   \
    X(UNSUPPORTED_DTYPE, 50, "a tensor's data type is not supported here")                         \
    X(VALUE_OVERFLOW, 51, "a value does not fit the requested storage type")                       \
    X(POOL_FULL, 60, "the adapter pool has no room and nothing can be evicted")                    \
    X(ADAPTER_IN_USE, 61, "the adapter is pinned, mapped or used by submitted work")               \
    X(ADAPTER_NOT_LOADED, 62, "no such adapter is loaded")                                         \
    X(ROWS_UNKNOWN, 80, "which sequence each row belongs to cannot be known")                      \
    X(SINGLE_STREAM, 81, "a per-sequence map needs one KV stream per sequence")                    \
    X(WEIGHT_NOT_ON_DEVICE, 82, "a weight or cache that the adapter needs is not on this device")  \
    X(SESSION_CONFLICT, 83, "two live contexts share one session that has a map")                  \
    X(METADATA_MISSING, 84, "the base model's metadata is needed and was not given")               \
    X(AMBIGUOUS_WEIGHT, 85, "two loaded models hold a weight of the same name")                    \
    X(HOST_MISMATCH, 86, "the host runtime's binary layout is not one this plugin knows")

#define OCLORA_STATUS_ENUM_(name, code, text) OCLORA_##name = code,
enum { OCLORA_STATUS_MAP(OCLORA_STATUS_ENUM_) OCLORA_STATUS_END_ };
#undef OCLORA_STATUS_ENUM_
typedef int32_t oclora_status;

/* Element types of weights, factors and tensors. Block formats are those of ggml's files. */
#define OCLORA_TYPE_MAP(X)                                                                         \
    X(F32, 0, "f32", 1, 4)                                                                         \
    X(F16, 1, "f16", 1, 2)                                                                         \
    X(BF16, 2, "bf16", 1, 2)                                                                       \
    X(Q8_0, 3, "q8_0", 32, 34)                                                                     \
    X(Q4_0, 4, "q4_0", 32, 18)                                                                     \
    X(Q4_1, 5, "q4_1", 32, 20)                                                                     \
    X(Q5_0, 6, "q5_0", 32, 22)                                                                     \
    X(Q5_1, 7, "q5_1", 32, 24)                                                                     \
    X(Q4_K, 8, "q4_K", 256, 144)                                                                   \
    X(Q5_K, 9, "q5_K", 256, 176)                                                                   \
    X(Q6_K, 10, "q6_K", 256, 210)                                                                  \
    X(I8, 11, "i8", 1, 1)                                                                          \
    X(I16, 12, "i16", 1, 2)                                                                        \
    X(I32, 13, "i32", 1, 4)                                                                        \
    X(I64, 14, "i64", 1, 8)                                                                        \
    X(F64, 15, "f64", 1, 8)

/* X(NAME, code, text, elements per block, bytes per block) */
#define OCLORA_TYPE_ENUM_(name, code, text, elems, bytes) OCLORA_TYPE_##name = code,
enum { OCLORA_TYPE_MAP(OCLORA_TYPE_ENUM_) OCLORA_TYPE_COUNT };
#undef OCLORA_TYPE_ENUM_
typedef uint32_t oclora_type;

/* How a pool stores factors; AUTO keeps every file's values exactly. */
enum {
    OCLORA_STORE_AUTO = 0, /* f16 and bf16 files as they are; f32 as f16 where that is exact */
    OCLORA_STORE_F32 = 1,
    OCLORA_STORE_F16 = 2,
    OCLORA_STORE_Q8_0 = 3
};

enum { OCLORA_DEVICE_CPU = 1, OCLORA_DEVICE_GPU = 2, OCLORA_DEVICE_ACCELERATOR = 3 };

/* Which variants of the kernels a device takes. */
enum { OCLORA_CLASS_AUTO = 0, OCLORA_CLASS_CPU = 1, OCLORA_CLASS_GPU = 2 };

/* Adapter kinds: what a file was, not how it is computed (all kinds reduce to the same terms). */
#define OCLORA_KIND_MAP(X)                                                                         \
    X(LORA, 1, "lora")                                                                             \
    X(RSLORA, 2, "rslora")                                                                         \
    X(DORA, 3, "dora")                                                                             \
    X(COLA, 4, "cola")                                                                             \
    X(RAC_LORA, 5, "rac_lora")                                                                     \
    X(XGBLORA, 6, "xgblora")                                                                       \
    X(DELTA_LORA, 7, "delta_lora")                                                                 \
    X(LOTR, 8, "lotr")                                                                             \
    X(VERA, 9, "vera")                                                                             \
    X(QALORA, 10, "qalora")                                                                        \
    X(MELORA, 11, "melora")                                                                        \
    X(MTL_LORA, 12, "mtl_lora")                                                                    \
    X(METEORA, 13, "meteora")                                                                      \
    X(MIXLORA_CONDITIONAL, 14, "mixlora_conditional")                                              \
    X(DLP_LORA, 15, "dlp_lora")                                                                    \
    X(XLORA_STATIC, 16, "xlora_static")                                                            \
    X(BORA, 17, "bora")                                                                            \
    X(FLORA, 18, "flora")                                                                          \
    X(HIRA, 19, "hira")                                                                            \
    X(IA3, 20, "ia3")

#define OCLORA_KIND_ENUM_(name, code, text) OCLORA_KIND_##name = code,
enum { OCLORA_KIND_UNKNOWN = 0, OCLORA_KIND_MAP(OCLORA_KIND_ENUM_) OCLORA_KIND_END_ };
#undef OCLORA_KIND_ENUM_
typedef uint32_t oclora_kind;

enum { OCLORA_LOG_ERROR = 1, OCLORA_LOG_WARN = 2, OCLORA_LOG_INFO = 3, OCLORA_LOG_DEBUG = 4 };

#endif /* OCLORA_TYPES_H */
