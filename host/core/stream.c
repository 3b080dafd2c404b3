#include "host/core/chain.h"

#include <inttypes.h>
#include <string.h>

static oclora_status stream_new(oclora_stream **out, oclora_context *context, oclora_error *err)
{
    OCLORA_TRY(oclora_context_health(context, err));
    oclora_stream *stream = oclora_alloc(&context->env, 1, sizeof *stream);
    if (!stream) return oclora_fail_memory(err, sizeof *stream, "a stream");
    stream->context = context;
    *out = stream;
    return OCLORA_OK;
}

oclora_status oclora_stream_create(oclora_stream **out, oclora_context *context, oclora_error *err)
{
    oclora_stream *stream = NULL;
    OCLORA_TRY(stream_new(&stream, context, err));
    cl_int code = CL_SUCCESS;
    stream->cl = clCreateCommandQueue(context->cl, context->cl_device, 0, &code);
    if (!stream->cl) {
        oclora_stream_destroy(stream);
        return oclora_context_fail_cl(context, err, code, "clCreateCommandQueue", "on '%s'",
                                      context->device.name);
    }
    *out = stream;
    return OCLORA_OK;
}

static oclora_status check_host_queue(oclora_context *context, cl_command_queue queue,
                                      oclora_error *err)
{
    cl_context owner = NULL;
    cl_device_id device = NULL;
    cl_command_queue_properties properties = 0;
    if (!queue) return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "the queue to wrap is NULL");
    OCLORA_TRY(oclora_context_health(context, err));
    cl_int code = clGetCommandQueueInfo(queue, CL_QUEUE_CONTEXT, sizeof owner, &owner, NULL);
    if (!code) code = clGetCommandQueueInfo(queue, CL_QUEUE_DEVICE, sizeof device, &device, NULL);
    if (!code)
        code =
            clGetCommandQueueInfo(queue, CL_QUEUE_PROPERTIES, sizeof properties, &properties, NULL);
    if (code)
        return oclora_context_fail_cl(context, err, code, "clGetCommandQueueInfo",
                                      "the host's queue is not usable");
    if (owner != context->cl || device != context->cl_device)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "the host's queue belongs to another cl_context or device");
    if (properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "the host's queue is out-of-order; pass an in-order one");
    return OCLORA_OK;
}

oclora_status oclora_stream_wrap(oclora_stream **out, oclora_context *context, void *cl_queue,
                                 oclora_error *err)
{
    oclora_stream *stream = NULL;
    OCLORA_TRY(check_host_queue(context, cl_queue, err));
    OCLORA_TRY(stream_new(&stream, context, err));
    cl_int code = clRetainCommandQueue(cl_queue);
    if (code) {
        oclora_stream_destroy(stream);
        return oclora_context_fail_cl(context, err, code, "clRetainCommandQueue",
                                      "the host's queue");
    }
    stream->cl = cl_queue;
    *out = stream;
    return OCLORA_OK;
}

void oclora_stream_destroy(oclora_stream *stream)
{
    if (!stream) return;
    const oclora_env *env = &stream->context->env;
    /* A dead device may never answer clFinish. */
    if (stream->cl && !oclora_context_health(stream->context, NULL)) clFinish(stream->cl);
    oclora_chain_destroy(stream->chain);
    oclora_stream_release_kernels(stream);
    for (uint32_t i = 0; i < OCLORA_SCRATCH_COUNT; i++) oclora_buffer_destroy(stream->scratch[i]);
    for (int i = 0; i < 2; i++)
        if (stream->stage_events[i]) clReleaseEvent(stream->stage_events[i]);
    if (stream->cl) clReleaseCommandQueue(stream->cl);
    oclora_release(env, stream->stage);
    oclora_release(env, stream);
}

oclora_context *oclora_stream_context(const oclora_stream *stream)
{
    return stream->context;
}

oclora_stream_stats oclora_stream_get_stats(const oclora_stream *stream)
{
    return stream->stats;
}

/* Every transfer comes behind the launches kept back so far. */
static oclora_status check_range(oclora_stream *stream, const oclora_buffer *buffer,
                                 uint64_t offset, uint64_t bytes, const char *what,
                                 oclora_error *err)
{
    OCLORA_TRY(oclora_context_health(stream->context, err));
    if (!buffer || buffer->context != stream->context)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "%s: the buffer is NULL or of another context", what);
    if (offset > buffer->bytes || bytes > buffer->bytes - offset)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "%s: %" PRIu64 " bytes at offset %" PRIu64
                           " leave the buffer of %" PRIu64 " bytes",
                           what, bytes, offset, buffer->bytes);
    return oclora_chain_submit(stream, err);
}

/* Turns to the other half of the staging ring, waiting until its last use is over. */
static oclora_status turn_stage(oclora_stream *stream, oclora_error *err)
{
    oclora_context *context = stream->context;
    cl_int code =
        clEnqueueMarkerWithWaitList(stream->cl, 0, NULL, &stream->stage_events[stream->stage_half]);
    if (code)
        return oclora_context_fail_cl(context, err, code, "clEnqueueMarkerWithWaitList",
                                      "end of a staging half");
    uint32_t next = !stream->stage_half;
    cl_event last_use = stream->stage_events[next];
    if (last_use) {
        stream->stats.waits++;
        code = clWaitForEvents(1, &last_use);
        if (code) clFinish(stream->cl); /* or the half may still be read */
        clReleaseEvent(last_use);
        stream->stage_events[next] = NULL;
    }
    stream->stage_half = next;
    stream->stage_used = 0;
    if (code)
        return oclora_context_fail_cl(context, err, code, "clWaitForEvents", "a staged write");
    return OCLORA_OK;
}

/* Room for a small write in the staging ring. */
static oclora_status stage(oclora_stream *stream, const void *data, size_t bytes,
                           const void **staged, oclora_error *err)
{
    if (!stream->stage) {
        stream->stage = oclora_alloc(&stream->context->env, 2, OCLORA_STAGE_HALF);
        if (!stream->stage) return oclora_fail_memory(err, 2 * OCLORA_STAGE_HALF, "staging");
    }
    if (stream->stage_used + bytes > OCLORA_STAGE_HALF) OCLORA_TRY(turn_stage(stream, err));
    unsigned char *at =
        stream->stage + (size_t)stream->stage_half * OCLORA_STAGE_HALF + stream->stage_used;
    memcpy(at, data, bytes);
    stream->stage_used += (bytes + 63) & ~(size_t)63;
    *staged = at;
    return OCLORA_OK;
}

oclora_status oclora_stream_write(oclora_stream *stream, oclora_buffer *dst, uint64_t offset,
                                  const void *data, uint64_t bytes, oclora_error *err)
{
    OCLORA_TRY(check_range(stream, dst, offset, bytes, "write", err));
    if (!bytes) return OCLORA_OK;
    if (!data) return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "write: the data is NULL");
    /* A blocking write would also wait for all earlier work; small ones must not. */
    bool small = bytes <= OCLORA_STAGE_MAX_WRITE;
    if (small)
        OCLORA_TRY(stage(stream, data, (size_t)bytes, &data, err));
    else
        stream->stats.waits++;
    cl_int code = clEnqueueWriteBuffer(stream->cl, dst->cl, small ? CL_FALSE : CL_TRUE,
                                       (size_t)offset, (size_t)bytes, data, 0, NULL, NULL);
    if (code)
        return oclora_context_fail_cl(stream->context, err, code, "clEnqueueWriteBuffer",
                                      "%" PRIu64 " bytes", bytes);
    stream->stats.bytes_written += bytes;
    return OCLORA_OK;
}

oclora_status oclora_stream_read(oclora_stream *stream, const oclora_buffer *src, uint64_t offset,
                                 void *data, uint64_t bytes, oclora_error *err)
{
    OCLORA_TRY(check_range(stream, src, offset, bytes, "read", err));
    if (!bytes) return OCLORA_OK;
    if (!data) return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "read: the data is NULL");
    stream->stats.waits++;
    cl_int code = clEnqueueReadBuffer(stream->cl, src->cl, CL_TRUE, (size_t)offset, (size_t)bytes,
                                      data, 0, NULL, NULL);
    if (code)
        return oclora_context_fail_cl(stream->context, err, code, "clEnqueueReadBuffer",
                                      "%" PRIu64 " bytes", bytes);
    stream->stats.bytes_read += bytes;
    return OCLORA_OK;
}

oclora_status oclora_stream_copy(oclora_stream *stream, const oclora_buffer *src,
                                 uint64_t src_offset, oclora_buffer *dst, uint64_t dst_offset,
                                 uint64_t bytes, oclora_error *err)
{
    OCLORA_TRY(check_range(stream, src, src_offset, bytes, "copy source", err));
    OCLORA_TRY(check_range(stream, dst, dst_offset, bytes, "copy destination", err));
    if (!bytes) return OCLORA_OK;
    uint64_t distance = src_offset > dst_offset ? src_offset - dst_offset : dst_offset - src_offset;
    if (src->cl == dst->cl && distance < bytes)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "copy: source and destination overlap by %" PRIu64 " bytes",
                           bytes - distance);
    cl_int code = clEnqueueCopyBuffer(stream->cl, src->cl, dst->cl, (size_t)src_offset,
                                      (size_t)dst_offset, (size_t)bytes, 0, NULL, NULL);
    if (code)
        return oclora_context_fail_cl(stream->context, err, code, "clEnqueueCopyBuffer",
                                      "%" PRIu64 " bytes", bytes);
    return OCLORA_OK;
}

oclora_status oclora_stream_fill(oclora_stream *stream, oclora_buffer *dst, uint64_t offset,
                                 uint64_t bytes, uint8_t value, oclora_error *err)
{
    OCLORA_TRY(check_range(stream, dst, offset, bytes, "fill", err));
    if (!bytes) return OCLORA_OK;
    unsigned char pattern[16];
    memset(pattern, value, sizeof pattern);
    /* Runtimes fill in steps of the pattern: take the widest that divides the range. */
    size_t width = sizeof pattern;
    while ((offset | bytes) % width) width /= 2;
    cl_int code = clEnqueueFillBuffer(stream->cl, dst->cl, pattern, width, (size_t)offset,
                                      (size_t)bytes, 0, NULL, NULL);
    if (code)
        return oclora_context_fail_cl(stream->context, err, code, "clEnqueueFillBuffer",
                                      "%" PRIu64 " bytes", bytes);
    return OCLORA_OK;
}

oclora_status oclora_stream_flush(oclora_stream *stream, oclora_error *err)
{
    OCLORA_TRY(oclora_context_health(stream->context, err));
    OCLORA_TRY(oclora_chain_submit(stream, err));
    cl_int code = clFlush(stream->cl);
    if (code) return oclora_context_fail_cl(stream->context, err, code, "clFlush", "a stream");
    return OCLORA_OK;
}

oclora_status oclora_stream_finish(oclora_stream *stream, oclora_error *err)
{
    OCLORA_TRY(oclora_context_health(stream->context, err));
    OCLORA_TRY(oclora_chain_submit(stream, err));
    stream->stats.waits++;
    /* PoCL's and Intel's clFinish succeed whatever became of the work: only an event may tell. */
    cl_event end = NULL;
    const cl_int marked = clEnqueueMarkerWithWaitList(stream->cl, 0, NULL, &end);
    cl_int code = clFinish(stream->cl);
    if (!code) code = marked ? marked : oclora_event_failure(end);
    if (!marked) clReleaseEvent(end);
    if (code)
        return oclora_context_fail_cl(stream->context, err, code, "clFinish",
                                      "work of a stream on '%s'", stream->context->device.name);
    return OCLORA_OK;
}

oclora_status oclora_stream_scratch(oclora_stream *stream, uint32_t slot, uint64_t bytes,
                                    oclora_buffer **out, oclora_error *err)
{
    if (slot >= OCLORA_SCRATCH_COUNT)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "scratch slot %u does not exist", slot);
    oclora_buffer *old = stream->scratch[slot];
    if (old && old->bytes >= bytes) {
        *out = old;
        return OCLORA_OK;
    }
    OCLORA_TRY(oclora_chain_submit(stream, err)); /* launches kept back may use the old one */
    /* Grown by half, so that a slowly growing batch does not allocate every time. */
    uint64_t grown = old ? old->bytes + old->bytes / 2 : 64 * 1024;
    oclora_buffer *fresh = NULL;
    if (grown <= bytes || oclora_buffer_create(&fresh, stream->context, grown, NULL))
        OCLORA_TRY(oclora_buffer_create(&fresh, stream->context, bytes, err));
    oclora_buffer_destroy(old); /* the driver keeps it until submitted work is done */
    stream->scratch[slot] = fresh;
    *out = fresh;
    return OCLORA_OK;
}
