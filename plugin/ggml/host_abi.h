/* host_abi.h - the host's ggml as this plugin meets it at load: functions by name, numbers and
 * slots by experiment. Together with host_abi.c and host_probe.c the only place that knows of ggml
 * versions.
 *
 * ggml's public headers say nothing about the tables of callbacks a backend fills in, and those
 * tables, operator numbers and their parameters moved between releases with one and the same "API
 * version". So nothing is taken from a header that can be asked of the running library. */
#ifndef OCLORA_GGML_HOST_ABI_H
#define OCLORA_GGML_HOST_ABI_H

#include "host/core/error.h"
#include "host/graph/graph.h"

#include <ggml-backend.h>
#include <ggml.h>
#include <stdbool.h>

enum { OCLORA_HOST_WORDS = 32, OCLORA_HOST_OPS = 255, OCLORA_HOST_UNKNOWN = 255 };

/* Any table of the host, one pointer a word. Passed by value where the host takes its own, which is
 * never larger: what lies behind it is not read. */
typedef struct oclora_host_words {
    uintptr_t word[OCLORA_HOST_WORDS];
} oclora_host_words;

/* X(result, name, arguments): what is called after loading; all must exist. */
#define OCLORA_HOST_FUNCTIONS(X)                                                                   \
    X(const char *, ggml_version, (void))                                                          \
    X(const char *, ggml_op_name, (int op))                                                        \
    X(const char *, ggml_type_name, (int type))                                                    \
    X(size_t, ggml_type_size, (int type))                                                          \
    X(int64_t, ggml_blck_size, (int type))                                                         \
    X(size_t, ggml_nbytes, (const struct ggml_tensor *tensor))                                     \
    X(int, ggml_graph_n_nodes, (struct ggml_cgraph * graph))                                       \
    X(struct ggml_tensor *, ggml_graph_node, (struct ggml_cgraph * graph, int index))              \
    X(ggml_backend_buffer_t, ggml_backend_buffer_init,                                             \
      (ggml_backend_buffer_type_t type, oclora_host_words table, void *context, size_t size))      \
    X(ggml_backend_buffer_type_t, ggml_backend_buffer_get_type, (ggml_backend_buffer_t buffer))

/* Word numbers within the host's objects, found by oclora_host_bind. */
typedef struct oclora_host_slots {
    struct {
        uint8_t free_buffer, get_base, memset_tensor, set_tensor, get_tensor, cpy_tensor, clear;
        uint8_t context;
    } buffer;
    struct {
        uint8_t get_name, alloc_buffer, get_alignment, get_max_size, device;
    } type;
    struct {
        uint8_t get_name, free, graph_compute, device;
    } backend;
    struct {
        uint8_t get_name, get_description, get_memory, get_type, get_props, init_backend;
        uint8_t get_buffer_type, supports_op, supports_buft, reg;
    } device;
    struct {
        uint8_t get_name, get_device_count, get_device, get_proc_address;
    } reg;
} oclora_host_slots;

typedef struct oclora_host {
#define OCLORA_HOST_DECLARE_(result, name, args) result(*name) args;
    OCLORA_HOST_FUNCTIONS(OCLORA_HOST_DECLARE_)
#undef OCLORA_HOST_DECLARE_
    void (*log)(int level, const char *format, ...); /* the host's; NULL if it has none */
    void *library; /* dlopen handle that all names come from; NULL = the global scope */
    char library_name[256];
    oclora_host_slots slots;
    uint8_t op[OCLORA_HOST_OPS + 1];       /* host number -> OCLORA_OP_*, or UNKNOWN */
    uint8_t op_unary[OCLORA_HOST_OPS + 1]; /* an operator that is a unary function of its own */
    uint8_t unary[64];                     /* sub-number -> OCLORA_UNARY_* */
    uint8_t glu[32];                       /* sub-number -> OCLORA_GLU_* */
    bool rope_offset;                      /* ROPE's word 15 is the first channel that turns */
    bool marks_compute;                    /* nodes to be computed carry GGML_TENSOR_FLAG_COMPUTE */
} oclora_host;

/* Finds the library that called `caller` (a return address in it) or, failing that, a loaded ggml,
 * and verifies everything this plugin relies on. HOST_MISMATCH says what is different. */
oclora_status oclora_host_bind(oclora_host *out, const void *caller, oclora_error *err);

/* The address of a function of the host, or NULL. */
void *oclora_host_symbol(const oclora_host *host, const char *name);

/* Steps of bind, in host_probe.c: the layout of tensors, operator numbers and parameters. */
oclora_status oclora_host_probe_tensors(oclora_host *host, oclora_error *err);

/* The engine's type for a host's, OCLORA_TYPE_COUNT if it has none. */
oclora_type oclora_host_type(int ggml_type);

/* A buffer whose calls are these and whose context is `context`. */
typedef struct oclora_host_buffer_calls {
    void (*free_buffer)(ggml_backend_buffer_t buffer);
    void *(*get_base)(ggml_backend_buffer_t buffer);
    void (*memset_tensor)(ggml_backend_buffer_t buffer, struct ggml_tensor *tensor, uint8_t value,
                          size_t offset, size_t size);
    void (*set_tensor)(ggml_backend_buffer_t buffer, struct ggml_tensor *tensor, const void *data,
                       size_t offset, size_t size);
    void (*get_tensor)(ggml_backend_buffer_t buffer, const struct ggml_tensor *tensor, void *data,
                       size_t offset, size_t size);
    bool (*cpy_tensor)(ggml_backend_buffer_t buffer, const struct ggml_tensor *src,
                       struct ggml_tensor *dst);
    void (*clear)(ggml_backend_buffer_t buffer, uint8_t value);
} oclora_host_buffer_calls;
ggml_backend_buffer_t oclora_host_buffer_create(const oclora_host *host,
                                                ggml_backend_buffer_type_t type,
                                                const oclora_host_buffer_calls *calls,
                                                void *context, size_t size);
void *oclora_host_buffer_context(const oclora_host *host, ggml_backend_buffer_t buffer);

/* The others are the plugin's own objects: each begins with oclora_host_words, filled by these. */
typedef struct oclora_host_type_calls {
    const char *(*get_name)(ggml_backend_buffer_type_t type);
    ggml_backend_buffer_t (*alloc_buffer)(ggml_backend_buffer_type_t type, size_t size);
    size_t (*get_alignment)(ggml_backend_buffer_type_t type);
    size_t (*get_max_size)(ggml_backend_buffer_type_t type);
} oclora_host_type_calls;
void oclora_host_fill_type(const oclora_host *host, oclora_host_words *words,
                           const oclora_host_type_calls *calls, ggml_backend_dev_t device);

typedef struct oclora_host_backend_calls {
    const char *(*get_name)(ggml_backend_t backend);
    void (*free)(ggml_backend_t backend);
    enum ggml_status (*graph_compute)(ggml_backend_t backend, struct ggml_cgraph *graph);
} oclora_host_backend_calls;
void oclora_host_fill_backend(const oclora_host *host, oclora_host_words *words,
                              const oclora_host_backend_calls *calls, const uint8_t *guid,
                              ggml_backend_dev_t device);

typedef struct oclora_host_device_calls {
    const char *(*get_name)(ggml_backend_dev_t device);
    const char *(*get_description)(ggml_backend_dev_t device);
    void (*get_memory)(ggml_backend_dev_t device, size_t *available, size_t *total);
    enum ggml_backend_dev_type (*get_type)(ggml_backend_dev_t device);
    void (*get_props)(ggml_backend_dev_t device, struct ggml_backend_dev_props *props);
    ggml_backend_t (*init_backend)(ggml_backend_dev_t device, const char *params);
    ggml_backend_buffer_type_t (*get_buffer_type)(ggml_backend_dev_t device);
    bool (*supports_op)(ggml_backend_dev_t device, const struct ggml_tensor *op);
    bool (*supports_buft)(ggml_backend_dev_t device, ggml_backend_buffer_type_t type);
} oclora_host_device_calls;
void oclora_host_fill_device(const oclora_host *host, oclora_host_words *words,
                             const oclora_host_device_calls *calls, ggml_backend_reg_t reg);

typedef struct oclora_host_reg_calls {
    const char *(*get_name)(ggml_backend_reg_t reg);
    size_t (*get_device_count)(ggml_backend_reg_t reg);
    ggml_backend_dev_t (*get_device)(ggml_backend_reg_t reg, size_t index);
    void *(*get_proc_address)(ggml_backend_reg_t reg, const char *name);
} oclora_host_reg_calls;
void oclora_host_fill_reg(const oclora_host *host, oclora_host_words *words,
                          const oclora_host_reg_calls *calls);

#endif
