#include "host/core/chain.h"

cl_int oclora_event_failure(cl_event event)
{
    cl_int state = CL_COMPLETE;
    cl_int code =
        clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
    return code ? code : state < 0 ? state : CL_SUCCESS;
}

oclora_status oclora_stream_record(oclora_stream *stream, oclora_event **out, oclora_error *err)
{
    oclora_context *context = stream->context;
    OCLORA_TRY(oclora_context_health(context, err));
    OCLORA_TRY(oclora_chain_submit(stream, err));
    oclora_event *event = oclora_alloc(&context->env, 1, sizeof *event);
    if (!event) return oclora_fail_memory(err, sizeof *event, "an event");
    event->context = context;
    cl_int code = clEnqueueMarkerWithWaitList(stream->cl, 0, NULL, &event->cl);
    /* Without a flush a poll, or a wait in another queue, may never see it complete. */
    if (!code) code = clFlush(stream->cl);
    if (code) {
        oclora_event_destroy(event);
        return oclora_context_fail_cl(context, err, code, "clEnqueueMarkerWithWaitList",
                                      "recording an event");
    }
    *out = event;
    return OCLORA_OK;
}

oclora_status oclora_event_wait(oclora_event *event, oclora_error *err)
{
    OCLORA_TRY(oclora_context_health(event->context, err));
    cl_int code = clWaitForEvents(1, &event->cl);
    /* This code says only that something failed, the event says what: it may be a lost device. */
    const cl_int cause = code == CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST
                             ? oclora_event_failure(event->cl)
                             : CL_SUCCESS;
    if (cause) code = cause;
    if (code)
        return oclora_context_fail_cl(event->context, err, code, "clWaitForEvents",
                                      "work before an event on '%s'", event->context->device.name);
    return OCLORA_OK;
}

int oclora_event_done(oclora_event *event)
{
    cl_int state = CL_QUEUED;
    cl_int code =
        clGetEventInfo(event->cl, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
    if (!code && state < 0) code = state;
    if (code)
        return -(int)oclora_context_fail_cl(event->context, NULL, code, "clGetEventInfo", "poll");
    return state == CL_COMPLETE;
}

oclora_status oclora_stream_wait_event(oclora_stream *stream, oclora_event *event,
                                       oclora_error *err)
{
    OCLORA_TRY(oclora_context_health(stream->context, err));
    if (event->context != stream->context)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "a stream can wait only for events of its own context");
    OCLORA_TRY(oclora_chain_submit(stream, err));
    cl_int code = clEnqueueBarrierWithWaitList(stream->cl, 1, &event->cl, NULL);
    if (code)
        return oclora_context_fail_cl(stream->context, err, code, "clEnqueueBarrierWithWaitList",
                                      "waiting for another stream");
    return OCLORA_OK;
}

void oclora_event_destroy(oclora_event *event)
{
    if (!event) return;
    if (event->cl) clReleaseEvent(event->cl);
    oclora_release(&event->context->env, event);
}
