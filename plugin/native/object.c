#include "plugin/native/object.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Handle: serial number, slot, and a low bit of 1, which no real pointer to an object has. */
enum { SLOT_BITS = 20 };

typedef struct entry {
    native_object *object; /* NULL = free */
    uintptr_t handle;
} entry;

/* The one piece of state of the plugin. Its memory goes with the last handle; serial numbers go on,
 * so that no handle ever comes back. */
static struct {
    pthread_mutex_t mutex;
    entry *entries;
    size_t capacity;
    size_t live;
    uintptr_t serial;
} registry = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static const char *kind_name(uint32_t kind)
{
    static const char *const names[] = {"handle", "context", "weight", "pool", "batch", "event"};
    return names[kind <= NATIVE_EVENT ? kind : 0];
}

oclora_status native_object_create(void *out, size_t size, uint32_t kind, const oclora_env *env,
                                   native_object *parent, void (*free_parts)(native_object *object),
                                   oclora_error *err)
{
    native_object *object = oclora_alloc(env, 1, size);
    if (object == NULL) return oclora_fail_memory(err, size, kind_name(kind));
    object->kind = kind;
    object->references = 1;
    object->env = *env;
    object->parent = parent;
    object->free_parts = free_parts;
    if (parent != NULL) native_object_keep(parent);
    memcpy(out, &object, sizeof object);
    return OCLORA_OK;
}

static bool registry_grow(void)
{
    if (registry.live < registry.capacity) return true;
    const size_t capacity = registry.capacity == 0 ? 64 : registry.capacity * 2;
    if (capacity > (size_t)1 << SLOT_BITS) return false;
    entry *entries = realloc(registry.entries, capacity * sizeof *entries);
    if (entries == NULL) return false;
    memset(entries + registry.capacity, 0, (capacity - registry.capacity) * sizeof *entries);
    registry.entries = entries;
    registry.capacity = capacity;
    return true;
}

oclora_status native_object_publish(native_object *object, void *handle_out, oclora_error *err)
{
    uintptr_t handle = 0;
    pthread_mutex_lock(&registry.mutex);
    if (registry_grow()) {
        /* Serial numbers move the starting point, so a free slot is found soon. */
        const uintptr_t serial = ++registry.serial;
        size_t slot = serial % registry.capacity;
        while (registry.entries[slot].object != NULL) slot = (slot + 1) % registry.capacity;
        handle = ((serial << SLOT_BITS | slot) << 1) | 1;
        registry.entries[slot].object = object;
        registry.entries[slot].handle = handle;
        registry.live++;
        object->references++;
    }
    pthread_mutex_unlock(&registry.mutex);
    if (handle == 0) return oclora_fail_memory(err, sizeof(entry), "a handle");
    memcpy(handle_out, &handle, sizeof handle);
    return OCLORA_OK;
}

/* With the mutex held: the live entry of a handle, or NULL. */
static entry *lookup(const void *handle, uint32_t kind)
{
    const uintptr_t value = (uintptr_t)handle;
    const size_t slot = (value >> 1) & (((uintptr_t)1 << SLOT_BITS) - 1);
    if (slot >= registry.capacity) return NULL;
    entry *found = &registry.entries[slot];
    if (found->object == NULL || found->handle != value || found->object->kind != kind) return NULL;
    return found;
}

oclora_status native_object_get(void *out, const void *handle, uint32_t kind, oclora_error *err)
{
    if (handle == NULL)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "the %s is NULL", kind_name(kind));
    pthread_mutex_lock(&registry.mutex);
    const entry *found = lookup(handle, kind);
    native_object *object = found == NULL ? NULL : found->object;
    if (object != NULL) object->references++;
    pthread_mutex_unlock(&registry.mutex);
    if (object == NULL)
        return oclora_fail(err, OCLORA_STALE_HANDLE,
                           "%p is no %s: it was destroyed, or never was one", handle,
                           kind_name(kind));
    memcpy(out, &object, sizeof object);
    return OCLORA_OK;
}

void native_object_keep(native_object *object)
{
    pthread_mutex_lock(&registry.mutex);
    object->references++;
    pthread_mutex_unlock(&registry.mutex);
}

void native_object_put(native_object *object)
{
    while (object != NULL) {
        pthread_mutex_lock(&registry.mutex);
        const bool last = --object->references == 0;
        pthread_mutex_unlock(&registry.mutex);
        if (!last) return;
        native_object *parent = object->parent;
        const oclora_env env = object->env;
        object->free_parts(object);
        oclora_release(&env, object);
        object = parent;
    }
}

void native_object_close(const void *handle, uint32_t kind)
{
    if (handle == NULL) return;
    pthread_mutex_lock(&registry.mutex);
    entry *found = lookup(handle, kind);
    native_object *object = found == NULL ? NULL : found->object;
    if (object != NULL) {
        found->object = NULL;
        if (--registry.live == 0) {
            free(registry.entries);
            registry.entries = NULL;
            registry.capacity = 0;
        }
    }
    pthread_mutex_unlock(&registry.mutex);
    native_object_put(object);
}
