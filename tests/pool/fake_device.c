#include "fake_device.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct oclora_context {
    oclora_env env;
    oclora_device device;
};

struct oclora_buffer {
    oclora_context *context;
    uint64_t bytes;
    uint8_t *memory;
};

typedef struct command {
    struct command *next;
    oclora_buffer *dst;
    uint64_t offset;
    uint64_t bytes;
    uint8_t value;
    bool write;
    uint8_t data[]; /* of a write; none of a fill */
} command;

struct oclora_stream {
    oclora_context *context;
    command *first;
    command **last;
};

struct oclora_event {
    oclora_stream *stream;
};

static oclora_context the_context;
static atomic_long fail_at, calls, failures;
static atomic_bool fail_sticky;
static atomic_long fail_every;

void fake_fail_at(long n, bool sticky)
{
    atomic_store(&fail_at, n);
    atomic_store(&fail_sticky, sticky);
    atomic_store(&calls, 0);
}

void fake_fail_every(long n)
{
    atomic_store(&fail_every, n);
}

long fake_calls(void)
{
    return atomic_load(&calls);
}
long fake_failures(void)
{
    return atomic_load(&failures);
}

static oclora_status device_call(const char *what, oclora_error *err)
{
    const long n = atomic_fetch_add(&calls, 1) + 1, at = atomic_load(&fail_at);
    const long every = atomic_load(&fail_every);
    const bool drawn = every != 0 && (n * 2654435761 >> 8) % every == 0;
    if (!drawn && (at == 0 || (n != at && !(atomic_load(&fail_sticky) && n > at))))
        return OCLORA_OK;
    atomic_fetch_add(&failures, 1);
    return oclora_fail(err, OCLORA_OPENCL, "%s: failed on purpose (call %ld)", what, n);
}

oclora_context *fake_context(const oclora_env *env)
{
    the_context.env = *env;
    return &the_context;
}

/* What the harness asks for: there is no driver here. */
oclora_status oclora_devices_list(const oclora_env *env, oclora_device **out, size_t *count,
                                  oclora_error *err)
{
    (void)env;
    (void)out;
    (void)count;
    return oclora_fail(err, OCLORA_NO_DEVICE, "only the fake device");
}
oclora_status oclora_context_create(oclora_context **out, const oclora_env *env,
                                    const oclora_device *device,
                                    const oclora_context_options *options, oclora_error *err)
{
    (void)out;
    (void)env;
    (void)device;
    (void)options;
    return oclora_fail(err, OCLORA_NO_DEVICE, "only the fake device");
}
void oclora_context_destroy(oclora_context *context)
{
    (void)context;
}

bool oclora_context_kernel_enabled(const oclora_context *context, const char *file,
                                   const char *defines)
{
    (void)context;
    (void)file;
    (void)defines;
    return true;
}

uint32_t oclora_context_mark(oclora_context *context)
{
    static atomic_uint next;
    (void)context;
    return atomic_fetch_add(&next, 1);
}

const oclora_env *oclora_context_env(const oclora_context *context)
{
    return &context->env;
}
oclora_status oclora_context_health(const oclora_context *context, oclora_error *err)
{
    (void)context;
    (void)err;
    return OCLORA_OK;
}

oclora_status oclora_buffer_create(oclora_buffer **out, oclora_context *context, uint64_t bytes,
                                   oclora_error *err)
{
    OCLORA_TRY(device_call("buffer", err));
    oclora_buffer *buffer = calloc(1, sizeof *buffer);
    buffer->context = context;
    buffer->bytes = bytes;
    buffer->memory = calloc(1, (size_t)bytes);
    *out = buffer;
    return OCLORA_OK;
}

void oclora_buffer_destroy(oclora_buffer *buffer)
{
    if (buffer == NULL) return;
    free(buffer->memory);
    free(buffer);
}

uint64_t oclora_buffer_bytes(const oclora_buffer *buffer)
{
    return buffer->bytes;
}
uint8_t *fake_memory(oclora_buffer *buffer)
{
    return buffer->memory;
}

oclora_status oclora_stream_create(oclora_stream **out, oclora_context *context, oclora_error *err)
{
    OCLORA_TRY(device_call("stream", err));
    oclora_stream *stream = calloc(1, sizeof *stream);
    stream->context = context;
    stream->last = &stream->first;
    *out = stream;
    return OCLORA_OK;
}

static void run_all(oclora_stream *stream)
{
    while (stream->first != NULL) {
        command *next = stream->first;
        stream->first = next->next;
        if (next->write)
            memcpy(next->dst->memory + next->offset, next->data, (size_t)next->bytes);
        else
            memset(next->dst->memory + next->offset, next->value, (size_t)next->bytes);
        free(next);
    }
    stream->last = &stream->first;
}

void oclora_stream_destroy(oclora_stream *stream)
{
    if (stream == NULL) return;
    run_all(stream);
    free(stream);
}

oclora_context *oclora_stream_context(const oclora_stream *stream)
{
    return stream->context;
}

static oclora_status enqueue(oclora_stream *stream, oclora_buffer *dst, uint64_t offset,
                             const void *data, uint64_t bytes, uint8_t value, oclora_error *err)
{
    if (offset > dst->bytes || bytes > dst->bytes - offset)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "past the end of a buffer");
    command *made = calloc(1, sizeof *made + (data == NULL ? 0 : (size_t)bytes));
    made->dst = dst;
    made->offset = offset;
    made->bytes = bytes;
    made->value = value;
    made->write = data != NULL;
    if (data != NULL) memcpy(made->data, data, (size_t)bytes);
    *stream->last = made;
    stream->last = &made->next;
    return OCLORA_OK;
}

oclora_status oclora_stream_write(oclora_stream *stream, oclora_buffer *dst, uint64_t offset,
                                  const void *data, uint64_t bytes, oclora_error *err)
{
    OCLORA_TRY(device_call("write", err));
    return enqueue(stream, dst, offset, data, bytes, 0, err);
}

oclora_status oclora_stream_fill(oclora_stream *stream, oclora_buffer *dst, uint64_t offset,
                                 uint64_t bytes, uint8_t value, oclora_error *err)
{
    OCLORA_TRY(device_call("fill", err));
    return enqueue(stream, dst, offset, NULL, bytes, value, err);
}

oclora_status oclora_stream_finish(oclora_stream *stream, oclora_error *err)
{
    OCLORA_TRY(device_call("finish", err));
    run_all(stream);
    return OCLORA_OK;
}

oclora_status oclora_stream_read(oclora_stream *stream, const oclora_buffer *src, uint64_t offset,
                                 void *data, uint64_t bytes, oclora_error *err)
{
    OCLORA_TRY(oclora_stream_finish(stream, err));
    memcpy(data, src->memory + offset, (size_t)bytes);
    return OCLORA_OK;
}

oclora_status oclora_stream_record(oclora_stream *stream, oclora_event **out, oclora_error *err)
{
    OCLORA_TRY(device_call("record", err));
    oclora_event *event = calloc(1, sizeof *event);
    event->stream = stream;
    *out = event;
    return OCLORA_OK;
}

/* A wait that fails has run nothing: what was enqueued stays, as after a lost interrupt. */
oclora_status oclora_event_wait(oclora_event *event, oclora_error *err)
{
    OCLORA_TRY(device_call("wait", err));
    sched_yield(); /* the device takes its time: others come in between */
    run_all(event->stream);
    return OCLORA_OK;
}

void oclora_event_destroy(oclora_event *event)
{
    free(event);
}
