#include "host/adapter/load.h"
#include "plugin/native/calls.h"

#include <string.h>

/* Pool and name of a load, and its image once read. */
typedef struct load {
    native_pool *pool;
    char *name;
    oclora_adapter_image *image;
} load;

static oclora_status load_begin(load *self, oclora_pool_t *pool, const char *name, uint64_t length,
                                const oclora_adapter_t *out, oclora_error *err)
{
    if (out == NULL) return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "adapter: out is NULL");
    OCLORA_TRY(native_object_get(&self->pool, pool, NATIVE_POOL, err));
    return native_text(&self->name, &self->pool->object.env, name, length, NATIVE_NAME_MAX, 0,
                       "adapter: name", err);
}

static oclora_status load_end(load *self, oclora_status status, oclora_adapter_t *out,
                              oclora_error *err)
{
    if (status == OCLORA_OK)
        status = oclora_pool_add(self->pool->pool, self->name, self->image, out, err);
    if (self->image != NULL && status != OCLORA_OK) oclora_adapter_image_destroy(self->image);
    if (self->pool != NULL) {
        oclora_release(&self->pool->object.env, self->name);
        native_object_put(&self->pool->object);
    }
    return status;
}

oclora_status native_adapter_load(oclora_pool_t *pool, const oclora_adapter_args *args,
                                  oclora_adapter_t *out, oclora_message *message)
{
    oclora_error err = {0};
    oclora_adapter_args own = {0};
    load self = {0};
    char *path = NULL;
    oclora_status status = native_take(&own, sizeof own, NATIVE_SIZE(oclora_adapter_args, reserved),
                                       args, "adapter_load", &err);
    if (status == OCLORA_OK) status = load_begin(&self, pool, own.name, own.name_length, out, &err);
    if (status == OCLORA_OK)
        status = native_text(&path, &self.pool->object.env, own.path, own.path_length,
                             NATIVE_PATH_MAX, 0, "adapter_load: path", &err);
    if (status == OCLORA_OK) {
        const oclora_env env = self.pool->object.env;
        status = oclora_adapter_load(&self.image, &env, path, own.store, &err);
        oclora_release(&env, path);
    }
    return native_report(message, load_end(&self, status, out, &err), &err);
}

oclora_status native_adapter_load_memory(oclora_pool_t *pool,
                                         const oclora_adapter_memory_args *args,
                                         oclora_adapter_t *out, oclora_message *message)
{
    oclora_error err = {0};
    oclora_adapter_memory_args own = {0};
    load self = {0};
    oclora_status status =
        native_take(&own, sizeof own, NATIVE_SIZE(oclora_adapter_memory_args, reserved), args,
                    "adapter_load_memory", &err);
    if (status == OCLORA_OK && (own.config == NULL || own.tensors == NULL))
        status = oclora_fail(&err, OCLORA_INVALID_ARGUMENT,
                             "adapter_load_memory: config and tensors are both needed");
    if (status == OCLORA_OK) status = load_begin(&self, pool, own.name, own.name_length, out, &err);
    if (status == OCLORA_OK)
        status = oclora_adapter_load_memory(&self.image, &self.pool->object.env, own.config,
                                            (size_t)own.config_bytes, own.tensors,
                                            (size_t)own.tensors_bytes, own.store, &err);
    return native_report(message, load_end(&self, status, out, &err), &err);
}

oclora_status native_adapter_find(oclora_pool_t *pool, const char *name, uint64_t name_length,
                                  oclora_adapter_t *out, oclora_message *message)
{
    oclora_error err = {0};
    load self = {0};
    oclora_status status = load_begin(&self, pool, name, name_length, out, &err);
    if (status == OCLORA_OK) status = oclora_pool_find(self.pool->pool, self.name, out, &err);
    if (self.pool != NULL) {
        oclora_release(&self.pool->object.env, self.name);
        native_object_put(&self.pool->object);
    }
    return native_report(message, status, &err);
}

static void describe(oclora_adapter_desc *own, const oclora_adapter_info *info)
{
    memset(own, 0, sizeof *own);
    own->device_bytes = info->device_bytes;
    own->kind = info->kind;
    own->state = info->state;
    own->generation = info->generation;
    own->n_modules = info->n_modules;
    own->rank_min = info->rank_min;
    own->rank_max = info->rank_max;
    own->pins = info->pins;
    own->uses = info->uses;
    memcpy(own->hash, info->hash, sizeof own->hash);
    _Static_assert(sizeof own->name == sizeof info->name, "names of one size");
    memcpy(own->name, info->name, sizeof own->name);
}

oclora_status native_adapter_query(oclora_pool_t *pool, oclora_adapter_t adapter,
                                   oclora_adapter_desc *out, oclora_message *message)
{
    oclora_error err = {0};
    native_pool *object = NULL;
    oclora_adapter_info info;
    oclora_status status =
        native_room(out, NATIVE_SIZE(oclora_adapter_desc, name), "adapter_query: out", &err);
    if (status == OCLORA_OK) status = native_object_get(&object, pool, NATIVE_POOL, &err);
    if (status != OCLORA_OK) return native_report(message, status, &err);
    status = oclora_pool_info(object->pool, adapter, &info, &err);
    if (status == OCLORA_OK) {
        oclora_adapter_desc own;
        describe(&own, &info);
        native_give(out, &own, sizeof own);
    }
    native_object_put(&object->object);
    return native_report(message, status, &err);
}

static oclora_status on_adapter(oclora_pool_t *pool, oclora_adapter_t adapter,
                                oclora_status (*call)(oclora_pool *, oclora_adapter_handle,
                                                      oclora_error *),
                                oclora_message *message)
{
    oclora_error err = {0};
    native_pool *object = NULL;
    oclora_status status = native_object_get(&object, pool, NATIVE_POOL, &err);
    if (status == OCLORA_OK) {
        status = call(object->pool, adapter, &err);
        native_object_put(&object->object);
    }
    return native_report(message, status, &err);
}

oclora_status native_adapter_pin(oclora_pool_t *pool, oclora_adapter_t adapter,
                                 oclora_message *message)
{
    return on_adapter(pool, adapter, oclora_pool_pin, message);
}

oclora_status native_adapter_unpin(oclora_pool_t *pool, oclora_adapter_t adapter,
                                   oclora_message *message)
{
    return on_adapter(pool, adapter, oclora_pool_unpin, message);
}

oclora_status native_adapter_unload(oclora_pool_t *pool, oclora_adapter_t adapter,
                                    oclora_message *message)
{
    return on_adapter(pool, adapter, oclora_pool_remove, message);
}
