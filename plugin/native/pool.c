#include "plugin/native/calls.h"

#include <string.h>

static void pool_free(native_object *object)
{
    oclora_pool_destroy(((native_pool *)object)->pool);
}

static oclora_status create(native_context *context, const oclora_pool_args *args,
                            oclora_pool_t **out, oclora_error *err)
{
    native_pool *made = NULL;
    OCLORA_TRY(native_object_create(&made, sizeof *made, NATIVE_POOL, &context->object.env,
                                    &context->object, pool_free, err));
    made->context = context;
    oclora_status status =
        oclora_pool_create(&made->pool, oclora_engine_context(context->engine),
                           oclora_engine_base(context->engine), args->budget_bytes, err);
    if (status == OCLORA_OK) status = native_object_publish(&made->object, out, err);
    native_object_put(&made->object);
    return status;
}

oclora_status native_pool_create(oclora_context_t *context, const oclora_pool_args *args,
                                 oclora_pool_t **out, oclora_message *message)
{
    oclora_error err = {0};
    oclora_pool_args own;
    native_context *object = NULL;
    oclora_status status = OCLORA_OK;
    if (out == NULL)
        status = oclora_fail(&err, OCLORA_INVALID_ARGUMENT, "pool_create: out is NULL");
    if (status == OCLORA_OK)
        status = native_take(&own, sizeof own, NATIVE_SIZE(oclora_pool_args, budget_bytes), args,
                             "pool_create", &err);
    if (status == OCLORA_OK) status = native_object_get(&object, context, NATIVE_CONTEXT, &err);
    if (status == OCLORA_OK) {
        status = create(object, &own, out, &err);
        native_object_put(&object->object);
    }
    return native_report(message, status, &err);
}

void native_pool_destroy(oclora_pool_t *pool)
{
    native_object_close(pool, NATIVE_POOL);
}

oclora_status native_pool_query(oclora_pool_t *pool, oclora_pool_desc *out, oclora_message *message)
{
    oclora_error err = {0};
    native_pool *object = NULL;
    oclora_status status =
        native_room(out, NATIVE_SIZE(oclora_pool_desc, evictions), "pool_query: out", &err);
    if (status == OCLORA_OK) status = native_object_get(&object, pool, NATIVE_POOL, &err);
    if (status == OCLORA_OK) {
        oclora_pool_stats stats;
        oclora_pool_get_stats(object->pool, &stats);
        const oclora_pool_desc own = {sizeof own,       stats.budget_bytes, stats.used_bytes,
                                      stats.n_adapters, stats.n_resident,   stats.uploads,
                                      stats.evictions};
        native_give(out, &own, sizeof own);
        native_object_put(&object->object);
    }
    return native_report(message, status, &err);
}
