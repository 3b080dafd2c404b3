#include "plugin/native/calls.h"

#include <string.h>

static void context_free(native_object *object)
{
    oclora_engine_destroy(((native_context *)object)->engine);
}

static oclora_status create(const oclora_context_args *args, const oclora_env *env,
                            oclora_context_t **out, oclora_error *err)
{
    char *device = NULL;
    char *cache_dir = NULL;
    native_context *made = NULL;
    oclora_engine_options options = {.cl_device = args->cl_device, .cl_queue = args->cl_queue};
    oclora_status status = native_text(&device, env, args->device, args->device_length,
                                       NATIVE_NAME_MAX, 1, "context_create: device", err);
    if (status == OCLORA_OK)
        status = native_text(&cache_dir, env, args->cache_dir, args->cache_dir_length,
                             NATIVE_PATH_MAX, 1, "context_create: cache_dir", err);
    if (status == OCLORA_OK)
        status =
            native_object_create(&made, sizeof *made, NATIVE_CONTEXT, env, NULL, context_free, err);
    if (status == OCLORA_OK) {
        options.device = device;
        options.context.device_class = args->device_class;
        options.context.cache_dir = args->no_cache != 0 ? "" : cache_dir;
        options.context.cl_context = args->cl_context;
        status = oclora_engine_create(&made->engine, env, &options, err);
    }
    if (status == OCLORA_OK) status = native_object_publish(&made->object, out, err);
    native_object_put(made == NULL ? NULL : &made->object);
    oclora_release(env, device);
    oclora_release(env, cache_dir);
    return status;
}

oclora_status native_context_create(const oclora_context_args *args, oclora_context_t **out,
                                    oclora_message *message)
{
    oclora_error err = {0};
    oclora_context_args own = {0};
    oclora_env env;
    oclora_status status = OCLORA_OK;
    if (out == NULL)
        status = oclora_fail(&err, OCLORA_INVALID_ARGUMENT, "context_create: out is NULL");
    if (status == OCLORA_OK && args != NULL)
        status = native_take(&own, sizeof own, NATIVE_SIZE(oclora_context_args, no_cache), args,
                             "context_create", &err);
    if (status == OCLORA_OK) status = native_env(&env, own.callbacks, &err);
    if (status == OCLORA_OK) status = create(&own, &env, out, &err);
    return native_report(message, status, &err);
}

void native_context_destroy(oclora_context_t *context)
{
    native_object_close(context, NATIVE_CONTEXT);
}

static void describe(oclora_capabilities *own, const native_context *context)
{
    memset(own, 0, sizeof *own);
    for (uint32_t type = 0; type < OCLORA_TYPE_COUNT; type++)
        if (oclora_layer_type_served(type)) own->weight_types |= (uint64_t)1 << type;
    for (uint32_t kind = 0; kind < OCLORA_KIND_END_; kind++)
        if (oclora_kind_served(kind)) own->kinds |= (uint64_t)1 << kind;
    own->stores = 1u << OCLORA_STORE_AUTO | 1u << OCLORA_STORE_F32 | 1u << OCLORA_STORE_F16 |
                  1u << OCLORA_STORE_Q8_0;
    own->max_rank = OCLORA_RANK_MAX;
    own->max_adapters = OCLORA_POOL_ADAPTERS_MAX;
    own->device_class = oclora_context_class(oclora_engine_context(context->engine));
}

oclora_status native_context_capabilities(oclora_context_t *context, oclora_capabilities *out,
                                          oclora_message *message)
{
    oclora_error err = {0};
    native_context *object = NULL;
    oclora_status status = native_room(out, NATIVE_SIZE(oclora_capabilities, reserved),
                                       "context_capabilities: out", &err);
    if (status == OCLORA_OK) status = native_object_get(&object, context, NATIVE_CONTEXT, &err);
    if (status != OCLORA_OK) return native_report(message, status, &err);
    oclora_capabilities own;
    describe(&own, object);
    native_give(out, &own, sizeof own);
    native_object_put(&object->object);
    return native_report(message, status, &err);
}

oclora_status native_context_health(oclora_context_t *context, oclora_message *message)
{
    oclora_error err = {0};
    native_context *object = NULL;
    oclora_status status = native_object_get(&object, context, NATIVE_CONTEXT, &err);
    if (status == OCLORA_OK) {
        status = oclora_context_health(oclora_engine_context(object->engine), &err);
        native_object_put(&object->object);
    }
    return native_report(message, status, &err);
}
