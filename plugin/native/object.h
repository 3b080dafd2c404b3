/* object.h - what handles of the native ABI stand for.
 *
 * A handle is a number in the shape of a pointer and is never dereferenced: it is looked up. So a
 * stale, foreign or destroyed handle is an error and no crash, whatever the order of calls and
 * whichever thread. Objects count references and keep their parents. */
#ifndef OCLORA_NATIVE_OBJECT_H
#define OCLORA_NATIVE_OBJECT_H

#include "host/core/env.h"

enum { NATIVE_CONTEXT = 1, NATIVE_WEIGHT, NATIVE_POOL, NATIVE_BATCH, NATIVE_EVENT };

typedef struct native_object {
    uint32_t kind;
    uint32_t references;
    struct native_object *parent; /* holds a reference, or NULL */
    oclora_env env;
    void (*free_parts)(struct native_object *object); /* not the object itself */
} native_object;

/* A zeroed object of `size` bytes that begins with a native_object; one reference, the caller's.
 * Takes a reference of `parent` (may be NULL). */
oclora_status native_object_create(void *out, size_t size, uint32_t kind, const oclora_env *env,
                                   native_object *parent, void (*free_parts)(native_object *object),
                                   oclora_error *err);

/* Makes the object known to callers; the handle owns a reference of its own. */
oclora_status native_object_publish(native_object *object, void *handle_out, oclora_error *err);

/* The object of a handle, with a reference to put back. STALE_HANDLE or INVALID_ARGUMENT (NULL). */
oclora_status native_object_get(void *out, const void *handle, uint32_t kind, oclora_error *err);
void native_object_keep(native_object *object);
void native_object_put(native_object *object); /* NULL is allowed; frees with the last reference */

/* The handle is no more; the object goes when nobody uses it. Unknown handles are ignored. */
void native_object_close(const void *handle, uint32_t kind);

#endif
