#include "host/core/error.h"

#include <stdio.h>
#include <string.h>

/* Codes as numbers, so that this file needs no OpenCL header. */
#define CL_ERROR_MAP(X)                                                                            \
    X(CL_SUCCESS, 0)                                                                               \
    X(CL_DEVICE_NOT_FOUND, -1)                                                                     \
    X(CL_DEVICE_NOT_AVAILABLE, -2)                                                                 \
    X(CL_COMPILER_NOT_AVAILABLE, -3)                                                               \
    X(CL_MEM_OBJECT_ALLOCATION_FAILURE, -4)                                                        \
    X(CL_OUT_OF_RESOURCES, -5)                                                                     \
    X(CL_OUT_OF_HOST_MEMORY, -6)                                                                   \
    X(CL_PROFILING_INFO_NOT_AVAILABLE, -7)                                                         \
    X(CL_MEM_COPY_OVERLAP, -8)                                                                     \
    X(CL_IMAGE_FORMAT_MISMATCH, -9)                                                                \
    X(CL_IMAGE_FORMAT_NOT_SUPPORTED, -10)                                                          \
    X(CL_BUILD_PROGRAM_FAILURE, -11)                                                               \
    X(CL_MAP_FAILURE, -12)                                                                         \
    X(CL_MISALIGNED_SUB_BUFFER_OFFSET, -13)                                                        \
    X(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, -14)                                           \
    X(CL_COMPILE_PROGRAM_FAILURE, -15)                                                             \
    X(CL_LINKER_NOT_AVAILABLE, -16)                                                                \
    X(CL_LINK_PROGRAM_FAILURE, -17)                                                                \
    X(CL_DEVICE_PARTITION_FAILED, -18)                                                             \
    X(CL_KERNEL_ARG_INFO_NOT_AVAILABLE, -19)                                                       \
    X(CL_INVALID_VALUE, -30)                                                                       \
    X(CL_INVALID_DEVICE_TYPE, -31)                                                                 \
    X(CL_INVALID_PLATFORM, -32)                                                                    \
    X(CL_INVALID_DEVICE, -33)                                                                      \
    X(CL_INVALID_CONTEXT, -34)                                                                     \
    X(CL_INVALID_QUEUE_PROPERTIES, -35)                                                            \
    X(CL_INVALID_COMMAND_QUEUE, -36)                                                               \
    X(CL_INVALID_HOST_PTR, -37)                                                                    \
    X(CL_INVALID_MEM_OBJECT, -38)                                                                  \
    X(CL_INVALID_IMAGE_FORMAT_DESCRIPTOR, -39)                                                     \
    X(CL_INVALID_IMAGE_SIZE, -40)                                                                  \
    X(CL_INVALID_SAMPLER, -41)                                                                     \
    X(CL_INVALID_BINARY, -42)                                                                      \
    X(CL_INVALID_BUILD_OPTIONS, -43)                                                               \
    X(CL_INVALID_PROGRAM, -44)                                                                     \
    X(CL_INVALID_PROGRAM_EXECUTABLE, -45)                                                          \
    X(CL_INVALID_KERNEL_NAME, -46)                                                                 \
    X(CL_INVALID_KERNEL_DEFINITION, -47)                                                           \
    X(CL_INVALID_KERNEL, -48)                                                                      \
    X(CL_INVALID_ARG_INDEX, -49)                                                                   \
    X(CL_INVALID_ARG_VALUE, -50)                                                                   \
    X(CL_INVALID_ARG_SIZE, -51)                                                                    \
    X(CL_INVALID_KERNEL_ARGS, -52)                                                                 \
    X(CL_INVALID_WORK_DIMENSION, -53)                                                              \
    X(CL_INVALID_WORK_GROUP_SIZE, -54)                                                             \
    X(CL_INVALID_WORK_ITEM_SIZE, -55)                                                              \
    X(CL_INVALID_GLOBAL_OFFSET, -56)                                                               \
    X(CL_INVALID_EVENT_WAIT_LIST, -57)                                                             \
    X(CL_INVALID_EVENT, -58)                                                                       \
    X(CL_INVALID_OPERATION, -59)                                                                   \
    X(CL_INVALID_GL_OBJECT, -60)                                                                   \
    X(CL_INVALID_BUFFER_SIZE, -61)                                                                 \
    X(CL_INVALID_MIP_LEVEL, -62)                                                                   \
    X(CL_INVALID_GLOBAL_WORK_SIZE, -63)                                                            \
    X(CL_INVALID_PROPERTY, -64)                                                                    \
    X(CL_INVALID_IMAGE_DESCRIPTOR, -65)                                                            \
    X(CL_INVALID_COMPILER_OPTIONS, -66)                                                            \
    X(CL_INVALID_LINKER_OPTIONS, -67)                                                              \
    X(CL_INVALID_DEVICE_PARTITION_COUNT, -68)                                                      \
    X(CL_INVALID_PIPE_SIZE, -69)                                                                   \
    X(CL_INVALID_DEVICE_QUEUE, -70)                                                                \
    X(CL_INVALID_SPEC_ID, -71)                                                                     \
    X(CL_MAX_SIZE_RESTRICTION_EXCEEDED, -72)                                                       \
    X(CL_PLATFORM_NOT_FOUND_KHR, -1001)                                                            \
    X(CL_NVIDIA_ILLEGAL_MEMORY_ACCESS, -9999)

oclora_status oclora_fail(oclora_error *err, oclora_status status, const char *fmt, ...)
{
    if (err) {
        va_list args;
        va_start(args, fmt);
        err->status = status;
        vsnprintf(err->text, sizeof err->text, fmt, args);
        va_end(args);
    }
    return status;
}

static oclora_status status_of_cl(int cl_code)
{
    switch (cl_code) {
    case -4: /* CL_MEM_OBJECT_ALLOCATION_FAILURE */
    case -5: /* CL_OUT_OF_RESOURCES: lazy allocators report memory exhaustion this way */
        return OCLORA_OUT_OF_DEVICE_MEMORY;
    case -6:
        return OCLORA_OUT_OF_HOST_MEMORY;
    case -2:
    case -9999:
        return OCLORA_DEVICE_LOST;
    case -11:
    case -15:
    case -17:
        return OCLORA_BUILD_FAILED;
    default:
        return OCLORA_OPENCL;
    }
}

/* How to go on; a build log says it better. */
static const char *advice(oclora_status status)
{
    switch (status) {
    case OCLORA_OUT_OF_DEVICE_MEMORY:
        return "; free device memory or ask for less at once";
    case OCLORA_OUT_OF_HOST_MEMORY:
        return "; free host memory or load less";
    case OCLORA_DEVICE_LOST:
        return "; destroy the context and create another";
    case OCLORA_OPENCL:
        return "; try again, and if it stays so, another driver version or device";
    default:
        return "";
    }
}

oclora_status oclora_fail_cl_list(oclora_error *err, int cl_code, const char *call, const char *fmt,
                                  va_list args)
{
    oclora_status status = status_of_cl(cl_code);
    if (err) {
        char detail[sizeof err->text];
        vsnprintf(detail, sizeof detail, fmt, args);
        err->status = status;
        size_t used = (size_t)snprintf(err->text, sizeof err->text, "%s returned %s (%d): ", call,
                                       oclora_cl_error_name(cl_code), cl_code);
        if (used < sizeof err->text)
            snprintf(err->text + used, sizeof err->text - used, "%s", detail);
        used = strlen(err->text);
        snprintf(err->text + used, sizeof err->text - used, "%s", advice(status));
    }
    return status;
}

oclora_status oclora_fail_cl(oclora_error *err, int cl_code, const char *call, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    oclora_status status = oclora_fail_cl_list(err, cl_code, call, fmt, args);
    va_end(args);
    return status;
}

oclora_status oclora_error_prefix(oclora_error *err, oclora_status status, const char *fmt, ...)
{
    if (!err) return status;
    char old[sizeof err->text];
    memcpy(old, err->text, sizeof old);
    va_list args;
    va_start(args, fmt);
    int length = vsnprintf(err->text, sizeof err->text, fmt, args);
    va_end(args);
    size_t used = length < 0 ? 0 : (size_t)length;
    if (used < sizeof err->text) snprintf(err->text + used, sizeof err->text - used, ": %s", old);
    return err->status;
}

const char *oclora_status_name(oclora_status status)
{
    switch (status) {
#define STATUS_NAME(name, code, text)                                                              \
    case code:                                                                                     \
        return "OCLORA_" #name;
        OCLORA_STATUS_MAP(STATUS_NAME)
#undef STATUS_NAME
    default:
        return "OCLORA_(unknown status)";
    }
}

const char *oclora_status_text(oclora_status status)
{
    switch (status) {
#define STATUS_TEXT(name, code, text)                                                              \
    case code:                                                                                     \
        return text;
        OCLORA_STATUS_MAP(STATUS_TEXT)
#undef STATUS_TEXT
    default:
        return "unknown status";
    }
}

const char *oclora_cl_error_name(int cl_code)
{
    switch (cl_code) {
#define CL_NAME(name, code)                                                                        \
    case code:                                                                                     \
        return #name;
        CL_ERROR_MAP(CL_NAME)
#undef CL_NAME
    default:
        return "CL_(unknown code)";
    }
}
