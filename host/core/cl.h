/* cl.h - the engine core's own view of its objects: the one header with OpenCL types. Included by
 * the files of host/core that call OpenCL, and by nothing else. */
#ifndef OCLORA_CORE_CL_H
#define OCLORA_CORE_CL_H

#include "host/core/context.h"
#include "host/core/program.h"
#include "host/core/stream.h"
#include "host/core/tune.h"

#include <CL/cl.h>
#include <pthread.h>
#include <stdatomic.h>

typedef struct oclora_program {
    char *file;
    char *defines;
    cl_program cl;
} oclora_program;

/* A kernel that must not be launched, see oclora_quirk.subject. */
typedef struct oclora_disabled {
    char subject[56];
    char reason[200];
} oclora_disabled;

struct oclora_context {
    oclora_env env;
    oclora_device device;
    uint32_t device_class;
    cl_device_id cl_device;
    cl_context cl;
    char *cache_dir; /* NULL = no disk cache */
    oclora_tuning tuning;
    bool no_binaries; /* built programs are not kept in it: a quirk */
    atomic_bool lost;
    atomic_ullong used_bytes; /* of live buffers made here */
    atomic_uint next_mark;
    atomic_uint
        queue_faults; /* CL_INVALID_COMMAND_QUEUE seen: once is a bug, twice a dead device */
    oclora_disabled *disabled; /* set at creation, then only read */
    size_t n_disabled;
    size_t disabled_capacity;
    atomic_uint compiled, loaded, rejected; /* oclora_program_stats */
    atomic_uint makers;                     /* threads that make chains */
    atomic_bool has_compiled;               /* one of them, a whole chain */
    atomic_bool quiet;                      /* oclora_context_quiet was called */
    void (*drivers_work)(void);             /* see oclora_context_options */
    bool has_lock;
    pthread_mutex_t lock; /* guards the fields below */
    oclora_program *programs;
    size_t n_programs;
    size_t programs_capacity;
};

struct oclora_buffer {
    oclora_context *context;
    cl_mem cl;
    uint64_t bytes;
    bool counted; /* in the context's used_bytes */
};

typedef struct oclora_kernel {
    uint64_t hash;
    uint32_t ordinal; /* among the stream's kernels */
    char *name;       /* file, entry and defines, each zero-terminated, one after the other */
    cl_kernel cl;
} oclora_kernel;

typedef struct oclora_chain oclora_chain; /* chain.h */

/* Small writes are copied into one half of the ring and sent without waiting. A half is reused
 * when the event recorded at its end has completed. */
enum { OCLORA_STAGE_HALF = 256 * 1024, OCLORA_STAGE_MAX_WRITE = 64 * 1024 };

struct oclora_stream {
    oclora_context *context;
    cl_command_queue cl;
    oclora_kernel *kernels; /* open addressing; capacity is a power of two */
    size_t n_kernels;
    size_t kernels_capacity;
    oclora_buffer *scratch[OCLORA_SCRATCH_COUNT];
    unsigned char *stage;
    size_t stage_used; /* in the current half */
    uint32_t stage_half;
    cl_event stage_events[2]; /* end of the last use of each half, or NULL */
    oclora_chain *chain;      /* NULL until the first oclora_stream_chain_begin */
    oclora_stream_stats stats;
};

struct oclora_event {
    oclora_context *context;
    cl_event cl;
};

/* oclora_fail_cl that also notices a dead device and marks the context lost. */
oclora_status oclora_context_fail_cl(oclora_context *context, oclora_error *err, cl_int cl_code,
                                     const char *call, const char *fmt, ...) OCLORA_PRINTF(5, 6);

/* CL_SUCCESS, or why the work up to an event failed; the event may not have come yet. */
cl_int oclora_event_failure(cl_event event);

/* The built program of `file` (without .cl) with `defines`; owned by the context. Any thread.
 * Errors: NOT_FOUND (no such file), BUILD_FAILED with the head of the log, OPENCL. */
oclora_status oclora_program_get(oclora_context *context, const char *file, const char *defines,
                                 cl_program *out, oclora_error *err);
/* The program kept under (file, key), or NULL. Any thread. */
cl_program oclora_program_find(oclora_context *context, const char *file, const char *key);
/* Keeps `made`, also if this fails no longer the caller's; `*out` is the one of another thread if
 * that was first. Any thread. */
oclora_status oclora_program_keep(oclora_context *context, const char *file, const char *key,
                                  cl_program made, cl_program *out, oclora_error *err);
/* Of source `text` with `options`, from the disk cache if it is there: else `make` compiles it, or,
 * without a `make`, there is none and `*out` stays as it is. `costly`: it is kept even by a runtime
 * whose own cache makes that a loss for one file. Any thread. */
typedef oclora_status (*oclora_program_compiler)(oclora_context *context, const char *options,
                                                 const void *user, cl_program *out,
                                                 oclora_error *err);
oclora_status oclora_program_cached(oclora_context *context, const char *text, const char *options,
                                    bool costly, oclora_program_compiler make, const void *user,
                                    cl_program *out, oclora_error *err);
/* Options of every build before those of `defines`; release it. NULL: out of memory. */
char *oclora_program_options(const oclora_context *context, const char *defines);
/* NOT_FOUND: no such file in cl/. */
struct oclora_source;
oclora_status oclora_program_source(const char *file, const struct oclora_source **out,
                                    oclora_error *err);
/* The status of a failed build, with the head of its log. */
oclora_status oclora_program_fail(oclora_context *context, cl_program program, cl_int code,
                                  const char *call, const char *file, const char *defines,
                                  oclora_error *err);
void oclora_programs_destroy(oclora_context *context);

/* Acts on what is known of the context's device: masks features, disables kernels, refuses. With
 * `ignore_all` only on what costs nothing but time. */
oclora_status oclora_context_apply_quirks(oclora_context *context, bool ignore_all,
                                          oclora_error *err);
/* NULL, or why the kernel is disabled. */
const char *oclora_context_disabled_reason(const oclora_context *context, const char *file,
                                           const char *defines);

/* Enqueues a kernel with its arguments now; `name` as oclora_kernel's, for the error's text. */
oclora_status oclora_stream_enqueue(oclora_stream *stream, cl_kernel kernel, const char *name,
                                    const oclora_arg *args, uint32_t n_args, uint32_t dims,
                                    const size_t *global, const size_t *local, oclora_error *err);
/* An oclora_kernel's name as its three parts. */
oclora_kernel_ref oclora_kernel_ref_of(const char *name);
void oclora_stream_release_kernels(oclora_stream *stream);

#endif
