/* stream.h - an in-order command queue with its own kernel objects and scratch memory.
 *
 * Everything that runs on the device goes through a stream. A stream belongs to one thread at a
 * time; two streams of one context may be used from two threads. Work of one stream runs in the
 * order of the calls. */
#ifndef OCLORA_CORE_STREAM_H
#define OCLORA_CORE_STREAM_H

#include "host/core/context.h"

#include <stdbool.h>

typedef struct oclora_stream oclora_stream;
typedef struct oclora_event oclora_event;

oclora_status oclora_stream_create(oclora_stream **out, oclora_context *context, oclora_error *err);
/* As above over a host's cl_command_queue (retained; must be in-order and of the same context). */
oclora_status oclora_stream_wrap(oclora_stream **out, oclora_context *context, void *cl_queue,
                                 oclora_error *err);
void oclora_stream_destroy(oclora_stream *stream); /* waits for submitted work; NULL is allowed */
oclora_context *oclora_stream_context(const oclora_stream *stream);

/* Transfers. Write copies `data` before it returns; read blocks until earlier work is done and the
 * data has arrived. Ranges are checked against the buffer: INVALID_ARGUMENT, nothing enqueued. */
oclora_status oclora_stream_write(oclora_stream *stream, oclora_buffer *dst, uint64_t offset,
                                  const void *data, uint64_t bytes, oclora_error *err);
oclora_status oclora_stream_read(oclora_stream *stream, const oclora_buffer *src, uint64_t offset,
                                 void *data, uint64_t bytes, oclora_error *err);
oclora_status oclora_stream_copy(oclora_stream *stream, const oclora_buffer *src,
                                 uint64_t src_offset, oclora_buffer *dst, uint64_t dst_offset,
                                 uint64_t bytes, oclora_error *err);
oclora_status oclora_stream_fill(oclora_stream *stream, oclora_buffer *dst, uint64_t offset,
                                 uint64_t bytes, uint8_t value, oclora_error *err);

oclora_status oclora_stream_flush(oclora_stream *stream, oclora_error *err);
oclora_status oclora_stream_finish(oclora_stream *stream, oclora_error *err); /* waits for all */

/* A point in the stream. Wait blocks the caller; stream_wait_event orders another stream behind it.
 * `done` polls: 1 complete, 0 not yet, an error status (negative of it) if the work failed. */
oclora_status oclora_stream_record(oclora_stream *stream, oclora_event **out, oclora_error *err);
oclora_status oclora_event_wait(oclora_event *event, oclora_error *err);
int oclora_event_done(oclora_event *event);
oclora_status oclora_stream_wait_event(oclora_stream *stream, oclora_event *event,
                                       oclora_error *err);
void oclora_event_destroy(oclora_event *event); /* NULL is allowed */

/* A kernel: a file of cl/ (without .cl), an entry point in it, and -D options ("" = the defaults;
 * compared as text, so spell them one way). Programs are built once per context and (file, defines)
 * and kept on disk; kernel objects are the stream's. Strings need to live only during the call. */
typedef struct oclora_kernel_ref {
    const char *file;
    const char *entry;
    const char *defines;
} oclora_kernel_ref;

typedef struct oclora_arg {
    uint32_t kind; /* set by the makers below */
    uint32_t bytes;
    union {
        const oclora_buffer *buffer;
        int32_t i32;
        uint32_t u32;
        uint64_t u64;
        float f32;
    } value;
} oclora_arg;

enum { OCLORA_ARG_BUFFER = 1, OCLORA_ARG_VALUE = 2, OCLORA_ARG_LOCAL = 3, OCLORA_ARG_FLOAT = 4 };

/* NULL is passed as a null pointer. */
static inline oclora_arg oclora_arg_buffer(const oclora_buffer *buffer)
{
    oclora_arg arg = {OCLORA_ARG_BUFFER, 0, {.buffer = buffer}};
    return arg;
}
static inline oclora_arg oclora_arg_i32(int32_t value)
{
    oclora_arg arg = {OCLORA_ARG_VALUE, 4, {.i32 = value}};
    return arg;
}
static inline oclora_arg oclora_arg_u32(uint32_t value)
{
    oclora_arg arg = {OCLORA_ARG_VALUE, 4, {.u32 = value}};
    return arg;
}
static inline oclora_arg oclora_arg_u64(uint64_t value)
{
    oclora_arg arg = {OCLORA_ARG_VALUE, 8, {.u64 = value}};
    return arg;
}
static inline oclora_arg oclora_arg_f32(float value)
{
    oclora_arg arg = {OCLORA_ARG_FLOAT, 4, {.f32 = value}};
    return arg;
}
/* `bytes` of local memory. */
static inline oclora_arg oclora_arg_local(uint32_t bytes)
{
    oclora_arg arg = {OCLORA_ARG_LOCAL, bytes, {.u64 = 0}};
    return arg;
}

/* Enqueues one kernel over `global` work-items in groups of `local` (NULL = the runtime's choice).
 * A global size of zero in any dimension enqueues nothing. Errors: BUILD_FAILED with the build
 * log's head, OPENCL, OUT_OF_DEVICE_MEMORY, DEVICE_LOST. */
oclora_status oclora_stream_launch(oclora_stream *stream, const oclora_kernel_ref *kernel,
                                   const oclora_arg *args, uint32_t n_args, uint32_t dims,
                                   const size_t *global, const size_t *local, oclora_error *err);

/* Between begin and end, launches may be kept back and run in chains: many in one kernel, whose
 * work-groups take the launches' items from a list in memory, each launch after the one before it
 * is done. Same results bit by bit; an error of a launch may come with a later call, `end` at the
 * latest. Every other call on the stream submits first what was kept back; buffers must live until
 * then. Launches run as ever where chains do not pay (more than `rows` of OCLORA_TUNE_CHAIN_ROWS,
 * GPUs, runtimes that are not known well) and until the chain of the kernels in use is there:
 * loaded from disk once two graphs have used them, else compiled once OCLORA_TUNE_CHAIN_BUILD_AT
 * graphs have, by a thread that `end` begins and the stream's end waits for. From
 * OCLORA_TUNE_CHAIN_WAIT_AT graphs on `end` does that itself. */
void oclora_stream_chain_begin(oclora_stream *stream, uint32_t rows);
/* Whether launches may run in chains on this stream's device. */
bool oclora_stream_chains(const oclora_stream *stream);
oclora_status oclora_stream_chain_end(oclora_stream *stream, oclora_error *err);

/* Calls `visit` for every kernel launched on the stream so far, in no order; "chain" among them
 * once it ran. */
void oclora_stream_each_kernel(const oclora_stream *stream,
                               void (*visit)(void *user, const oclora_kernel_ref *kernel),
                               void *user);

/* Scratch memory of at least `bytes`, kept by the stream and grown as needed. One buffer per slot:
 * contents live until the slot is asked for again. */
enum {
    OCLORA_SCRATCH_HIDDEN,
    OCLORA_SCRATCH_ROWS,
    OCLORA_SCRATCH_OP,
    OCLORA_SCRATCH_WORK,
    OCLORA_SCRATCH_COUNT
};
oclora_status oclora_stream_scratch(oclora_stream *stream, uint32_t slot, uint64_t bytes,
                                    oclora_buffer **out, oclora_error *err);

typedef struct oclora_stream_stats {
    uint64_t launches; /* of kernels, those in chains among them */
    uint64_t enqueues; /* of kernels; a chain is one */
    uint64_t bytes_written;
    uint64_t bytes_read;
    uint64_t waits; /* blocking points */
} oclora_stream_stats;
oclora_stream_stats oclora_stream_get_stats(const oclora_stream *stream);

#endif
