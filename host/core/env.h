/* env.h - what host/ takes from its embedder: memory and a log. No file-scope state anywhere. */
#ifndef OCLORA_CORE_ENV_H
#define OCLORA_CORE_ENV_H

#include "host/core/error.h"

/* Copied into every object at creation. A zeroed struct is valid: malloc, and no log. The callbacks
 * may be called from any thread that calls into the engine, and from those that it makes for chains
 * of a graph's launches (chain_build.h; nothing but graphs has them). */
typedef struct oclora_env {
    void *(*alloc)(void *user, size_t size, size_t align); /* NULL result = out of memory */
    void (*release)(void *user, void *ptr);
    void *alloc_user;
    void (*log)(void *user, int32_t level, const char *text, size_t length);
    void *log_user;
    int32_t log_level; /* messages above this level are not formatted */
    int32_t reserved;
} oclora_env;

/* Zeroed memory of count * size bytes, aligned to 64. NULL on overflow or out of memory; a request
 * of zero bytes gives a valid pointer. */
void *oclora_alloc(const oclora_env *env, size_t count, size_t size);

/* Grows `*array` (of `*capacity` elements, possibly NULL/0) to hold at least `count` elements; new
 * room is zeroed. On failure nothing changes. Geometric growth. */
oclora_status oclora_reserve(const oclora_env *env, void *array_address, size_t *capacity,
                             size_t count, size_t size, oclora_error *err);

void oclora_release(const oclora_env *env, void *ptr); /* NULL is allowed */

/* Copies `length` bytes of `text` into new zero-terminated memory. */
char *oclora_string_copy(const oclora_env *env, const char *text, size_t length);

void oclora_log(const oclora_env *env, int32_t level, const char *fmt, ...) OCLORA_PRINTF(3, 4);

/* The one text for every failed host allocation. */
oclora_status oclora_fail_memory(oclora_error *err, size_t bytes, const char *what);

#endif
