#include "plugin/native/calls.h"

static void event_free(native_object *object)
{
    native_event *event = (native_event *)object;
    oclora_job_destroy(event->job);
    native_object_put(event->batch == NULL ? NULL : &event->batch->object);
}

/* The layer enqueued, as an object nobody else knows yet. */
static oclora_status submit(const oclora_linear_args *args, native_event **out, oclora_error *err)
{
    oclora_linear_args own;
    native_weight *weight = NULL;
    native_event *made = NULL;
    OCLORA_TRY(
        native_take(&own, sizeof own, NATIVE_SIZE(oclora_linear_args, flags), args, "linear", err));
    OCLORA_TRY(native_object_get(&weight, own.weight, NATIVE_WEIGHT, err));
    oclora_status status = native_object_create(
        &made, sizeof *made, NATIVE_EVENT, &weight->object.env, &weight->object, event_free, err);
    if (status == OCLORA_OK && own.batch != NULL)
        status = native_object_get(&made->batch, own.batch, NATIVE_BATCH, err);
    if (status == OCLORA_OK) {
        const oclora_job_spec spec = {.layer = weight->layer,
                                      .roster = made->batch == NULL ? NULL : made->batch->roster,
                                      .x = own.x,
                                      .y = own.y,
                                      .x_mem = own.x_mem,
                                      .y_mem = own.y_mem,
                                      .x_offset = own.x_offset,
                                      .y_offset = own.y_offset,
                                      .n_rows = own.n_rows,
                                      .flags = own.flags};
        status = oclora_job_submit(&made->job, weight->context->engine, &spec, err);
    }
    native_object_put(&weight->object);
    if (status == OCLORA_OK)
        *out = made;
    else
        native_object_put(made == NULL ? NULL : &made->object);
    return status;
}

oclora_status native_linear(const oclora_linear_args *args, oclora_message *message)
{
    oclora_error err = {0};
    native_event *event = NULL;
    oclora_status status = submit(args, &event, &err);
    if (status == OCLORA_OK) {
        status = oclora_job_wait(event->job, &err);
        native_object_put(&event->object);
    }
    return native_report(message, status, &err);
}

oclora_status native_linear_submit(const oclora_linear_args *args, oclora_event_t **out,
                                   oclora_message *message)
{
    oclora_error err = {0};
    native_event *event = NULL;
    oclora_status status = OCLORA_OK;
    if (out == NULL)
        status = oclora_fail(&err, OCLORA_INVALID_ARGUMENT, "linear_submit: out is NULL");
    if (status == OCLORA_OK) status = submit(args, &event, &err);
    if (status == OCLORA_OK) {
        status = native_object_publish(&event->object, out, &err);
        native_object_put(&event->object);
    }
    return native_report(message, status, &err);
}

oclora_status native_event_wait(oclora_event_t *event, oclora_message *message)
{
    oclora_error err = {0};
    native_event *object = NULL;
    oclora_status status = native_object_get(&object, event, NATIVE_EVENT, &err);
    if (status == OCLORA_OK) {
        status = oclora_job_wait(object->job, &err);
        native_object_put(&object->object);
    }
    return native_report(message, status, &err);
}

oclora_status native_event_done(oclora_event_t *event, uint32_t *done, oclora_message *message)
{
    oclora_error err = {0};
    native_event *object = NULL;
    bool finished = false;
    oclora_status status = OCLORA_OK;
    if (done == NULL)
        status = oclora_fail(&err, OCLORA_INVALID_ARGUMENT, "event_done: done is NULL");
    if (status == OCLORA_OK) status = native_object_get(&object, event, NATIVE_EVENT, &err);
    if (status == OCLORA_OK) {
        status = oclora_job_done(object->job, &finished, &err);
        native_object_put(&object->object);
    }
    if (status == OCLORA_OK) *done = finished ? 1 : 0;
    return native_report(message, status, &err);
}

void native_event_destroy(oclora_event_t *event)
{
    native_object_close(event, NATIVE_EVENT);
}
