#include "host/serve/engine.h"

#include <string.h>

static oclora_status find_device(const oclora_env *env, const oclora_engine_options *options,
                                 oclora_device *out, oclora_error *err)
{
    if (options->cl_device == NULL) return oclora_device_find(env, options->device, out, err);
    oclora_device *devices = NULL;
    size_t count = 0;
    OCLORA_TRY(oclora_devices_list(env, &devices, &count, err));
    oclora_status status = OCLORA_NOT_FOUND;
    for (size_t i = 0; i < count && status != OCLORA_OK; i++) {
        if (devices[i].device_handle != options->cl_device) continue;
        *out = devices[i];
        status = OCLORA_OK;
    }
    oclora_release(env, devices);
    if (status == OCLORA_OK) return status;
    return oclora_fail(err, status, "the host's cl_device_id is none of the %zu devices here",
                       count);
}

static oclora_status open_streams(oclora_engine *engine, const oclora_engine_options *options,
                                  oclora_error *err)
{
    if (options->cl_queue != NULL && options->context.cl_context == NULL)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "a host's queue needs the host's cl_context with it");
    if (options->cl_queue != NULL)
        OCLORA_TRY(oclora_stream_wrap(&engine->stream, engine->context, options->cl_queue, err));
    else
        OCLORA_TRY(oclora_stream_create(&engine->stream, engine->context, err));
    return oclora_stream_create(&engine->reader, engine->context, err);
}

static oclora_status make_locks(oclora_engine *engine, oclora_error *err)
{
    if (pthread_mutex_init(&engine->lock, NULL) == 0) engine->n_locks++;
    if (engine->n_locks == 1 && pthread_mutex_init(&engine->read_lock, NULL) == 0)
        engine->n_locks++;
    if (engine->n_locks == 2) return OCLORA_OK;
    return oclora_fail(err, OCLORA_INTERNAL, "a mutex could not be made");
}

oclora_status oclora_engine_create(oclora_engine **out, const oclora_env *env,
                                   const oclora_engine_options *options, oclora_error *err)
{
    oclora_device device;
    OCLORA_TRY(find_device(env, options, &device, err));
    oclora_engine *engine = oclora_alloc(env, 1, sizeof *engine);
    if (engine == NULL) return oclora_fail_memory(err, sizeof *engine, "an engine");
    engine->env = *env;
    engine->host_context = options->context.cl_context != NULL;
    oclora_status status = make_locks(engine, err);
    if (status == OCLORA_OK)
        status = oclora_context_create(&engine->context, env, &device, &options->context, err);
    if (status == OCLORA_OK) status = open_streams(engine, options, err);
    if (status == OCLORA_OK) status = oclora_base_create(&engine->base, engine->context, err);
    if (status != OCLORA_OK) {
        oclora_engine_destroy(engine);
        return status;
    }
    *out = engine;
    return OCLORA_OK;
}

void oclora_engine_destroy(oclora_engine *engine)
{
    if (engine == NULL) return;
    const oclora_env env = engine->env;
    oclora_base_destroy(engine->base);
    oclora_stream_destroy(engine->reader);
    oclora_stream_destroy(engine->stream);
    oclora_context_destroy(engine->context);
    if (engine->n_locks > 1) pthread_mutex_destroy(&engine->read_lock);
    if (engine->n_locks > 0) pthread_mutex_destroy(&engine->lock);
    oclora_release(&env, engine);
}

oclora_context *oclora_engine_context(oclora_engine *engine)
{
    return engine->context;
}
oclora_base *oclora_engine_base(oclora_engine *engine)
{
    return engine->base;
}
