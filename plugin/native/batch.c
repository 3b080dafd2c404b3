#include "plugin/native/calls.h"

static void batch_free(native_object *object)
{
    oclora_roster_destroy(((native_batch *)object)->roster);
}

static oclora_status check(const oclora_batch_args *args, oclora_error *err)
{
    if (args->row_start == NULL)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "batch_create: row_start is NULL");
    if (args->adapter == NULL && args->row_start[args->n_rows] > 0)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "batch_create: adapter is NULL");
    return OCLORA_OK;
}

static oclora_status create(native_pool *pool, const oclora_batch_args *args, oclora_batch_t **out,
                            oclora_error *err)
{
    native_batch *made = NULL;
    OCLORA_TRY(native_object_create(&made, sizeof *made, NATIVE_BATCH, &pool->object.env,
                                    &pool->object, batch_free, err));
    made->pool = pool;
    oclora_status status =
        oclora_roster_create(&made->roster, pool->context->engine, pool->pool, args->n_rows,
                             args->row_start, args->adapter, args->weight, args->instance, err);
    if (status == OCLORA_OK) status = native_object_publish(&made->object, out, err);
    native_object_put(&made->object);
    return status;
}

oclora_status native_batch_create(oclora_pool_t *pool, const oclora_batch_args *args,
                                  oclora_batch_t **out, oclora_message *message)
{
    oclora_error err = {0};
    oclora_batch_args own;
    native_pool *object = NULL;
    oclora_status status = OCLORA_OK;
    if (out == NULL)
        status = oclora_fail(&err, OCLORA_INVALID_ARGUMENT, "batch_create: out is NULL");
    if (status == OCLORA_OK)
        status = native_take(&own, sizeof own, NATIVE_SIZE(oclora_batch_args, reserved), args,
                             "batch_create", &err);
    if (status == OCLORA_OK) status = check(&own, &err);
    if (status == OCLORA_OK) status = native_object_get(&object, pool, NATIVE_POOL, &err);
    if (status == OCLORA_OK) {
        status = create(object, &own, out, &err);
        native_object_put(&object->object);
    }
    return native_report(message, status, &err);
}

void native_batch_destroy(oclora_batch_t *batch)
{
    native_object_close(batch, NATIVE_BATCH);
}
