#include "host/core/env.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALLOC_ALIGN = 64 };

void *oclora_alloc(const oclora_env *env, size_t count, size_t size)
{
    if (size && count > (SIZE_MAX - ALLOC_ALIGN) / size) return NULL;
    size_t bytes = count * size;
    bytes = bytes ? (bytes + ALLOC_ALIGN - 1) / ALLOC_ALIGN * ALLOC_ALIGN : ALLOC_ALIGN;
    void *ptr = env->alloc ? env->alloc(env->alloc_user, bytes, ALLOC_ALIGN)
                           : aligned_alloc(ALLOC_ALIGN, bytes);
    if (ptr) memset(ptr, 0, bytes);
    return ptr;
}

oclora_status oclora_reserve(const oclora_env *env, void *array_address, size_t *capacity,
                             size_t count, size_t size, oclora_error *err)
{
    if (count <= *capacity) return OCLORA_OK;
    size_t grown = *capacity > SIZE_MAX / 2 ? count : *capacity * 2;
    if (grown < count) grown = count;
    if (grown < 8) grown = 8;
    void *fresh = oclora_alloc(env, grown, size);
    if (!fresh && grown > count) fresh = oclora_alloc(env, grown = count, size);
    if (!fresh) {
        size_t bytes = size && count > SIZE_MAX / size ? SIZE_MAX : count * size;
        return oclora_fail_memory(err, bytes, "a growing array");
    }
    void *old = NULL;
    memcpy(&old, array_address, sizeof old); /* the caller's pointer type is unknown here */
    if (old) memcpy(fresh, old, *capacity * size);
    memcpy(array_address, &fresh, sizeof fresh);
    oclora_release(env, old);
    *capacity = grown;
    return OCLORA_OK;
}

void oclora_release(const oclora_env *env, void *ptr)
{
    if (!ptr) return;
    if (env->alloc) {
        if (env->release) env->release(env->alloc_user, ptr);
        return;
    }
    free(ptr);
}

char *oclora_string_copy(const oclora_env *env, const char *text, size_t length)
{
    if (length == SIZE_MAX) return NULL;
    char *copy = oclora_alloc(env, length + 1, 1);
    if (copy && length) memcpy(copy, text, length);
    return copy;
}

void oclora_log(const oclora_env *env, int32_t level, const char *fmt, ...)
{
    if (!env->log || level > env->log_level) return;
    char text[1024];
    va_list args;
    va_start(args, fmt);
    int length = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (length < 0) return;
    size_t used = (size_t)length < sizeof text ? (size_t)length : sizeof text - 1;
    env->log(env->log_user, level, text, used);
}

oclora_status oclora_fail_memory(oclora_error *err, size_t bytes, const char *what)
{
    return oclora_fail(err, OCLORA_OUT_OF_HOST_MEMORY,
                       "%zu bytes of host memory for %s could not be allocated; free memory or "
                       "load less",
                       bytes, what);
}
