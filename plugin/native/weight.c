#include "plugin/native/calls.h"

static void weight_free(native_object *object)
{
    oclora_layer_destroy(((native_weight *)object)->layer);
}

static oclora_status create(native_context *context, const oclora_weight_args *args,
                            oclora_weight_t **out, oclora_error *err)
{
    const oclora_env *env = &context->object.env;
    native_weight *made = NULL;
    char *name = NULL;
    OCLORA_TRY(native_text(&name, env, args->name, args->name_length, NATIVE_NAME_MAX, 0,
                           "weight_create: name", err));
    oclora_status status = native_object_create(&made, sizeof *made, NATIVE_WEIGHT, env,
                                                &context->object, weight_free, err);
    if (status == OCLORA_OK) {
        const oclora_layer_spec spec = {name,       args->type,       args->d_in, args->d_out,
                                        args->data, args->data_bytes, args->bias};
        made->context = context;
        status = oclora_layer_create(&made->layer, context->engine, &spec, err);
    }
    if (status == OCLORA_OK) status = native_object_publish(&made->object, out, err);
    native_object_put(made == NULL ? NULL : &made->object);
    oclora_release(env, name);
    return status;
}

oclora_status native_weight_create(oclora_context_t *context, const oclora_weight_args *args,
                                   oclora_weight_t **out, oclora_message *message)
{
    oclora_error err = {0};
    oclora_weight_args own;
    native_context *object = NULL;
    oclora_status status = OCLORA_OK;
    if (out == NULL)
        status = oclora_fail(&err, OCLORA_INVALID_ARGUMENT, "weight_create: out is NULL");
    if (status == OCLORA_OK)
        status = native_take(&own, sizeof own, NATIVE_SIZE(oclora_weight_args, reserved), args,
                             "weight_create", &err);
    if (status == OCLORA_OK) status = native_object_get(&object, context, NATIVE_CONTEXT, &err);
    if (status == OCLORA_OK) {
        status = create(object, &own, out, &err);
        native_object_put(&object->object);
    }
    return native_report(message, status, &err);
}

void native_weight_destroy(oclora_weight_t *weight)
{
    native_object_close(weight, NATIVE_WEIGHT);
}
