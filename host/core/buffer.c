#include "host/core/cl.h"

#include <inttypes.h>
#include <stdio.h>

/* Buffers smaller than this are not worth a look at the machine's free memory. */
enum { LARGE_BUFFER = 64 * 1024 * 1024 };

/* Memory the machine can still give without swapping; UINT64_MAX where that cannot be known. */
static uint64_t host_memory_available(void)
{
    FILE *file = fopen("/proc/meminfo", "r");
    if (!file) return UINT64_MAX;
    char line[128];
    unsigned long long kib;
    uint64_t bytes = UINT64_MAX;
    while (bytes == UINT64_MAX && fgets(line, sizeof line, file))
        if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1) bytes = (uint64_t)kib * 1024;
    fclose(file);
    return bytes;
}

/* Drivers allocate lazily: clCreateBuffer succeeds for memory that is not there, and the first
 * touch kills the process (CPU devices) or fails far from its cause (GPUs). So ask first. */
static oclora_status check_room(const oclora_context *context, uint64_t bytes, oclora_error *err)
{
    const oclora_device *device = &context->device;
    uint64_t used = atomic_load(&context->used_bytes);
    if (bytes > device->global_bytes || used > device->global_bytes - bytes)
        return oclora_fail(err, OCLORA_OUT_OF_DEVICE_MEMORY,
                           "%" PRIu64 " bytes were asked for with %" PRIu64
                           " in use, '%s' has %" PRIu64 "; free device memory or ask for less",
                           bytes, used, device->name, device->global_bytes);
    if (device->type != OCLORA_DEVICE_CPU || bytes < LARGE_BUFFER) return OCLORA_OK;
    uint64_t available = host_memory_available();
    if (bytes > available)
        return oclora_fail(err, OCLORA_OUT_OF_DEVICE_MEMORY,
                           "%" PRIu64 " bytes were asked for on '%s', which shares the machine's "
                           "memory: %" PRIu64 " bytes are free; ask for less",
                           bytes, device->name, available);
    return OCLORA_OK;
}

static oclora_status buffer_new(oclora_buffer **out, oclora_context *context, oclora_error *err)
{
    oclora_buffer *buffer = oclora_alloc(&context->env, 1, sizeof *buffer);
    if (!buffer) return oclora_fail_memory(err, sizeof *buffer, "a buffer");
    buffer->context = context;
    *out = buffer;
    return OCLORA_OK;
}

oclora_status oclora_buffer_create(oclora_buffer **out, oclora_context *context, uint64_t bytes,
                                   oclora_error *err)
{
    if (!bytes)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "a device buffer of 0 bytes was asked for");
    OCLORA_TRY(oclora_context_health(context, err));
    if (bytes > context->device.max_alloc_bytes || bytes > SIZE_MAX)
        return oclora_fail(err, OCLORA_OUT_OF_DEVICE_MEMORY,
                           "%" PRIu64 " bytes were asked for, the largest allocation of '%s' is "
                           "%" PRIu64 " bytes; split the buffer or store smaller types",
                           bytes, context->device.name, context->device.max_alloc_bytes);
    OCLORA_TRY(check_room(context, bytes, err));
    oclora_buffer *buffer = NULL;
    OCLORA_TRY(buffer_new(&buffer, context, err));
    cl_int code = CL_SUCCESS;
    buffer->bytes = bytes;
    buffer->cl = clCreateBuffer(context->cl, CL_MEM_READ_WRITE, (size_t)bytes, NULL, &code);
    if (!buffer->cl) {
        oclora_buffer_destroy(buffer);
        return oclora_context_fail_cl(context, err, code, "clCreateBuffer",
                                      "%" PRIu64 " bytes on '%s'", bytes, context->device.name);
    }
    buffer->counted = true;
    atomic_fetch_add(&context->used_bytes, bytes);
    *out = buffer;
    return OCLORA_OK;
}

oclora_status oclora_buffer_wrap(oclora_buffer **out, oclora_context *context, void *cl_mem_handle,
                                 oclora_error *err)
{
    cl_context owner = NULL;
    size_t bytes = 0;
    if (!cl_mem_handle)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "the cl_mem to wrap is NULL");
    OCLORA_TRY(oclora_context_health(context, err));
    cl_int code = clGetMemObjectInfo(cl_mem_handle, CL_MEM_CONTEXT, sizeof owner, &owner, NULL);
    if (!code) code = clGetMemObjectInfo(cl_mem_handle, CL_MEM_SIZE, sizeof bytes, &bytes, NULL);
    if (code)
        return oclora_context_fail_cl(context, err, code, "clGetMemObjectInfo",
                                      "the host's cl_mem is not usable");
    if (owner != context->cl)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "the host's cl_mem belongs to another cl_context; create the oclora "
                           "context over that one");
    oclora_buffer *buffer = NULL;
    OCLORA_TRY(buffer_new(&buffer, context, err));
    code = clRetainMemObject(cl_mem_handle);
    if (code) {
        oclora_buffer_destroy(buffer);
        return oclora_context_fail_cl(context, err, code, "clRetainMemObject",
                                      "the host's cl_mem is not usable");
    }
    buffer->cl = cl_mem_handle;
    buffer->bytes = bytes;
    *out = buffer;
    return OCLORA_OK;
}

void oclora_buffer_destroy(oclora_buffer *buffer)
{
    if (!buffer) return;
    if (buffer->cl) clReleaseMemObject(buffer->cl);
    if (buffer->counted) atomic_fetch_sub(&buffer->context->used_bytes, buffer->bytes);
    oclora_release(&buffer->context->env, buffer);
}

uint64_t oclora_buffer_bytes(const oclora_buffer *buffer)
{
    return buffer->bytes;
}
