/*
 * oclora.h - many LoRA-family adapters at once over one base model, on any OpenCL device.
 *
 *     const oclora_api *api = oclora_get_api(OCLORA_MAJOR);      // NULL: other major version
 *
 *     api->context_create   a device, and everything that lives on it
 *     api->weight_create    base weights [d_out, d_in], by the names adapters use for their modules
 *     api->pool_create      device memory for adapters, with a byte budget
 *     api->adapter_load     a PEFT folder, a GGUF LoRA file or a compact file
 *     api->batch_create     per row of a batch: which adapters serve it, with which weights
 *     api->linear           y = W x (+ bias) + what each row's own adapters add
 *
 * tests/plugin/client_v1.c is a whole program.
 *
 * Rules for every call
 * - Structs start with struct_size: set it to sizeof the struct and zero the rest before filling
 * in. Newer headers only append.
 * - A call gives a status (0 = success) and, if `message` is not NULL, a text that says what failed
 *   and how to go on. Out-parameters are untouched on error.
 * - Text is UTF-8, pointer and length in bytes, not zero-terminated, copied during the call.
 * - Destroy functions accept NULL. Objects may be destroyed in any order: a child keeps what it
 * needs of its parent. A handle that was destroyed, or never was one, is refused (STALE_HANDLE).
 * - Thread rule: every function may be called from any thread at any time. Work of one context runs
 *   in the order of the calls; contexts are independent. Callbacks run on the calling thread.
 * - Nothing here aborts, exits, prints, or throws.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OCLORA_H
#define OCLORA_H

#include <stddef.h>
#include <stdint.h>

#include "oclora_types.h"

#ifdef __cplusplus
extern "C" {
#endif

#define OCLORA_MAJOR 1
#define OCLORA_MINOR 1 /* 1: oclora_batch_args.instance */

typedef struct oclora_context_t oclora_context_t;
typedef struct oclora_weight_t oclora_weight_t;
typedef struct oclora_pool_t oclora_pool_t;
typedef struct oclora_batch_t oclora_batch_t;
typedef struct oclora_event_t oclora_event_t;

/* An adapter of one pool. Never reused: after unload it is refused for ever. 0 is none. */
typedef uint64_t oclora_adapter_t;

/* A caller's room for a text; may be NULL everywhere. Empty on success. */
typedef struct oclora_message {
    uint64_t struct_size;
    char text[504]; /* zero-terminated */
} oclora_message;

/* What the library takes from the host. All may be NULL: malloc, and no log. May be called from any
 * thread that calls in; must not call back into the library. Used until the context and all its
 * children are destroyed. */
typedef struct oclora_callbacks {
    uint64_t struct_size;
    void *(*alloc)(void *user, uint64_t size, uint64_t align); /* NULL = out of memory */
    void (*release)(void *user, void *memory);
    void *alloc_user;
    void (*log)(void *user, int32_t level, const char *text, uint64_t length); /* OCLORA_LOG_* */
    void *log_user;
    int32_t log_level; /* the highest level wanted */
    uint32_t reserved;
} oclora_callbacks;

enum {
    OCLORA_HAS_FP16 = 1 << 0,
    OCLORA_HAS_SUBGROUPS = 1 << 1,
    OCLORA_HAS_INT_DOT = 1 << 2,
    OCLORA_HAS_SVM = 1 << 3,
    OCLORA_HAS_OUT_OF_ORDER = 1 << 4,
    OCLORA_HAS_UNIFIED_MEMORY = 1 << 5,
    OCLORA_HAS_FP64 = 1 << 6
};

typedef struct oclora_device_desc {
    uint64_t struct_size;
    char name[128]; /* this and the following texts are zero-terminated */
    char vendor[64];
    char driver[64];
    char version[64];
    char platform[64];
    uint64_t global_bytes;
    uint64_t max_alloc_bytes;
    uint64_t local_bytes;
    uint64_t max_work_group;
    uint32_t type;         /* OCLORA_DEVICE_* */
    uint32_t device_class; /* OCLORA_CLASS_*: which kernels it gets by default */
    uint32_t features;     /* OCLORA_HAS_* */
    uint32_t compute_units;
    uint32_t vendor_id;
    uint32_t reserved;
} oclora_device_desc;

typedef struct oclora_context_args {
    uint64_t struct_size;
    const oclora_callbacks *callbacks;
    const char *device; /* index of device_info in decimal, or a part of "platform / name";
                           NULL = the default: a GPU, else Intel's CPU runtime, else PoCL */
    uint64_t device_length;
    const char *cache_dir; /* for built kernels; NULL = $OCLORA_CACHE_DIR, else
                              $XDG_CACHE_HOME/oclora/programs, else ~/.cache/oclora/programs */
    uint64_t cache_dir_length;
    void *cl_context;      /* the host's own cl_context, retained; NULL = one is made */
    void *cl_device;       /* with cl_context: the cl_device_id in it to use */
    void *cl_queue;        /* with cl_context: an in-order cl_command_queue of it, retained; work is
                              enqueued there in the order of the calls. NULL = one is made */
    uint32_t device_class; /* OCLORA_CLASS_AUTO, or force the CPU or GPU kernels */
    uint32_t no_cache;     /* not 0: built kernels are not kept on disk */
} oclora_context_args;

typedef struct oclora_capabilities {
    uint64_t struct_size;
    uint64_t weight_types; /* bit OCLORA_TYPE_x set: weight_create takes it */
    uint64_t kinds;        /* bit OCLORA_KIND_x set: adapter_load serves it */
    uint64_t stores;       /* bit OCLORA_STORE_x set */
    uint32_t max_rank;
    uint32_t max_adapters; /* of one pool */
    uint32_t device_class; /* which kernels this context runs */
    uint32_t reserved;
} oclora_capabilities;

typedef struct oclora_weight_args {
    uint64_t struct_size;
    const char *name; /* as adapters call it, without "base_model.model." and ".weight" */
    uint64_t name_length;
    const void *data; /* [d_out] rows of d_in elements of `type`, contiguous; copied */
    uint64_t data_bytes;
    const float *bias; /* [d_out] or NULL; copied. linear adds it */
    uint32_t type;     /* OCLORA_TYPE_* */
    uint32_t d_in;
    uint32_t d_out;
    uint32_t reserved;
} oclora_weight_args;

typedef struct oclora_pool_args {
    uint64_t struct_size;
    uint64_t budget_bytes; /* of device memory */
} oclora_pool_args;

typedef struct oclora_pool_desc {
    uint64_t struct_size;
    uint64_t budget_bytes;
    uint64_t used_bytes; /* on the device; shared factors once */
    uint64_t n_adapters;
    uint64_t n_resident; /* on the device */
    uint64_t uploads;
    uint64_t evictions;
} oclora_pool_desc;

typedef struct oclora_adapter_args {
    uint64_t struct_size;
    const char *name; /* the host's name for it, 1 to 127 bytes, unique in the pool */
    uint64_t name_length;
    const char *path; /* a PEFT folder ("FOLDER#task=N" picks one of several), a GGUF LoRA or a
                         compact file */
    uint64_t path_length;
    uint32_t store; /* OCLORA_STORE_* */
    uint32_t reserved;
} oclora_adapter_args;

/* The two files of a PEFT folder, in memory; needed only during the call. */
typedef struct oclora_adapter_memory_args {
    uint64_t struct_size;
    const char *name;
    uint64_t name_length;
    const char *config; /* adapter_config.json */
    uint64_t config_bytes;
    const void *tensors; /* adapter_model.safetensors */
    uint64_t tensors_bytes;
    uint32_t store;
    uint32_t reserved;
} oclora_adapter_memory_args;

enum {
    OCLORA_STATE_HOST = 1,    /* in host memory: uploaded when a batch needs it */
    OCLORA_STATE_LOADING = 2, /* being uploaded */
    OCLORA_STATE_RESIDENT = 3,
    OCLORA_STATE_FAILED = 4 /* the last upload failed; the next batch tries again */
};

typedef struct oclora_adapter_desc {
    uint64_t struct_size;
    uint64_t device_bytes;
    uint32_t kind;  /* OCLORA_KIND_* */
    uint32_t state; /* OCLORA_STATE_* */
    uint32_t generation;
    uint32_t n_modules;
    uint32_t rank_min;
    uint32_t rank_max;
    uint32_t pins;
    uint32_t uses;    /* by batches that are not destroyed */
    uint8_t hash[32]; /* SHA-256 of its files */
    char name[128];   /* zero-terminated */
} oclora_adapter_desc;

/* CSR: row t is served by entries row_start[t] to row_start[t + 1] - 1. A row without entries, or
 * with weight 0 only, is computed by the base alone, bit by bit. A row gets
 * f(x) + sum weight * (f_adapter(x) - f(x)). Copied. */
typedef struct oclora_batch_args {
    uint64_t struct_size;
    const uint32_t *row_start;       /* [n_rows + 1], from 0, never falling */
    const oclora_adapter_t *adapter; /* [row_start[n_rows]] */
    const float *weight;             /* [row_start[n_rows]], finite; NULL = 1 everywhere */
    uint32_t n_rows;
    uint32_t reserved;
    /* [n_rows] or NULL: rows of one number are of one sequence (any numbers, any order). Only
     * conditional MixLoRA needs it: its routers see the mean of the sequence's rows in this batch
     * that name the same adapters. Without it such an adapter is refused (ROWS_UNKNOWN). */
    const uint32_t *instance;
} oclora_batch_args;

enum {
    OCLORA_DELTA_ONLY = 1 << 0 /* y holds the base product already (the host's own GEMM): only what
                                  the adapters add is added. No bias. Kinds that scale the base
                                  product: NOT_SUPPORTED */
};

/* y [n_rows, d_out] = adapted layer of x [n_rows, d_in]; f32, rows contiguous. Each of x and y is
 * host memory or, in a context over the host's cl_context, a cl_mem with a byte offset (4-byte
 * aligned). */
typedef struct oclora_linear_args {
    uint64_t struct_size;
    oclora_weight_t *weight;
    oclora_batch_t *batch; /* of n_rows rows; NULL = the base alone */
    const float *x;
    float *y;
    void *x_mem; /* cl_mem; then x is NULL */
    void *y_mem; /* cl_mem; then y is NULL */
    uint64_t x_offset;
    uint64_t y_offset;
    uint32_t n_rows;
    uint32_t flags;
} oclora_linear_args;

/* Append only within a major version. */
typedef struct oclora_api {
    uint64_t struct_size;
    uint32_t major;
    uint32_t minor;

    const char *(*version)(void);                     /* "0.1.0" */
    const char *(*status_name)(oclora_status status); /* "OCLORA_POOL_FULL"; never NULL */
    const char *(*status_text)(oclora_status status);

    /* Devices of all OpenCL platforms, in a fixed order. No device at all is a count of 0. */
    oclora_status (*device_count)(uint32_t *out, oclora_message *message);
    /* NOT_FOUND: index too large. Set out->struct_size before the call. */
    oclora_status (*device_info)(uint32_t index, oclora_device_desc *out, oclora_message *message);

    /* `args` NULL = all defaults. Errors: NO_DEVICE, NOT_FOUND (the text lists the devices),
     * INVALID_ARGUMENT, OPENCL, OUT_OF_*_MEMORY. */
    oclora_status (*context_create)(const oclora_context_args *args, oclora_context_t **out,
                                    oclora_message *message);
    void (*context_destroy)(oclora_context_t *context);
    oclora_status (*context_capabilities)(oclora_context_t *context, oclora_capabilities *out,
                                          oclora_message *message);
    /* OK, or DEVICE_LOST once any call met a dead device: destroy the context then. */
    oclora_status (*context_health)(oclora_context_t *context, oclora_message *message);

    /* Uploads a base weight. Load adapters after the weights they adapt. Errors: ALREADY_EXISTS,
     * INVALID_ARGUMENT (bytes do not match shape and type), UNSUPPORTED_DTYPE,
     * OUT_OF_DEVICE_MEMORY. */
    oclora_status (*weight_create)(oclora_context_t *context, const oclora_weight_args *args,
                                   oclora_weight_t **out, oclora_message *message);
    void (*weight_destroy)(oclora_weight_t *weight);

    oclora_status (*pool_create)(oclora_context_t *context, const oclora_pool_args *args,
                                 oclora_pool_t **out, oclora_message *message);
    void (*pool_destroy)(oclora_pool_t *pool);
    oclora_status (*pool_query)(oclora_pool_t *pool, oclora_pool_desc *out,
                                oclora_message *message);

    /* Reads and checks an adapter and keeps it in host memory; device memory is taken when a batch
     * or a pin needs it. Every module must find its base weight. Loading the same contents under
     * the same name again gives the same handle. Errors: FILE_*, UNKNOWN_KIND, MISSING_TENSOR,
     * RANK_MISMATCH, SHAPE_MISMATCH, NOT_FINITE, UNSUPPORTED_DTYPE, VALUE_OVERFLOW, MODULE_MISMATCH
     * (modules named), ALREADY_EXISTS (other contents under this name), POOL_FULL (larger than the
     * whole budget), NOT_SUPPORTED. */
    oclora_status (*adapter_load)(oclora_pool_t *pool, const oclora_adapter_args *args,
                                  oclora_adapter_t *out, oclora_message *message);
    oclora_status (*adapter_load_memory)(oclora_pool_t *pool,
                                         const oclora_adapter_memory_args *args,
                                         oclora_adapter_t *out, oclora_message *message);
    /* ADAPTER_NOT_LOADED if no adapter has the name. */
    oclora_status (*adapter_find)(oclora_pool_t *pool, const char *name, uint64_t name_length,
                                  oclora_adapter_t *out, oclora_message *message);
    oclora_status (*adapter_query)(oclora_pool_t *pool, oclora_adapter_t adapter,
                                   oclora_adapter_desc *out, oclora_message *message);
    /* A pinned adapter is on the device and stays there. Counted. POOL_FULL: no room for it. */
    oclora_status (*adapter_pin)(oclora_pool_t *pool, oclora_adapter_t adapter,
                                 oclora_message *message);
    oclora_status (*adapter_unpin)(oclora_pool_t *pool, oclora_adapter_t adapter,
                                   oclora_message *message);
    /* ADAPTER_IN_USE while pinned or named by a batch. Its device memory is cleared. */
    oclora_status (*adapter_unload)(oclora_pool_t *pool, oclora_adapter_t adapter,
                                    oclora_message *message);

    /* Brings the adapters of the batch to the device and holds them there until the batch is
     * destroyed and its work is done; used for every layer. Errors: STALE_HANDLE, INVALID_ARGUMENT
     * (the row is named), POOL_FULL (more than fits beside what is pinned and in use), ROWS_UNKNOWN
     * (an adapter averages over sequences and `instance` is NULL), WRONG_STATE (a weight that an
     * adapter was loaded for was destroyed since: unload the adapter and load it again). */
    oclora_status (*batch_create)(oclora_pool_t *pool, const oclora_batch_args *args,
                                  oclora_batch_t **out, oclora_message *message);
    void (*batch_destroy)(oclora_batch_t *batch);

    /* Runs one layer and waits for it. Errors: INVALID_ARGUMENT, STALE_HANDLE, WRONG_STATE (an
     * adapter of the batch was loaded for another weight of this name), NOT_SUPPORTED,
     * OUT_OF_DEVICE_MEMORY, DEVICE_LOST. y is undefined after an error. */
    oclora_status (*linear)(const oclora_linear_args *args, oclora_message *message);
    /* The same without waiting. x is copied before the call returns. Host memory y must stay valid
     * until event_wait returned (in every thread that called it) or the event is destroyed;
     * event_wait fills it. A cl_mem y is filled when the work is done, in the order of the queue. */
    oclora_status (*linear_submit)(const oclora_linear_args *args, oclora_event_t **out,
                                   oclora_message *message);
    oclora_status (*event_wait)(oclora_event_t *event, oclora_message *message);
    /* *done: 1 = the work is finished, event_wait will not block; 0 = not yet. The status is the
     * work's own if it failed. */
    oclora_status (*event_done)(oclora_event_t *event, uint32_t *done, oclora_message *message);
    void (*event_destroy)(oclora_event_t *event);
} oclora_api;

/* The only symbol of the library. NULL if it does not speak that major version. Any thread. */
const oclora_api *oclora_get_api(uint32_t abi_major);
typedef const oclora_api *(*oclora_get_api_fn)(uint32_t abi_major);

#ifdef __cplusplus
}
#endif

#endif /* OCLORA_H */
