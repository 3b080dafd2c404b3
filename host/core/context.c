#include "host/core/cl.h"

#include <string.h>
#include <time.h>

oclora_status oclora_context_fail_cl(oclora_context *context, oclora_error *err, cl_int cl_code,
                                     const char *call, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    oclora_status status = oclora_fail_cl_list(err, cl_code, call, fmt, args);
    va_end(args);
    /* NVIDIA reports a faulted kernel as an invalid queue from then on. */
    if (cl_code == CL_INVALID_COMMAND_QUEUE && atomic_fetch_add(&context->queue_faults, 1) >= 1) {
        status = OCLORA_DEVICE_LOST;
        if (err) err->status = status;
        oclora_error_prefix(err, status, "device '%s' is lost, create another context",
                            context->device.name);
    }
    if (status == OCLORA_DEVICE_LOST) atomic_store(&context->lost, true);
    return status;
}

static void CL_CALLBACK on_notify(const char *text, const void *info, size_t size, void *user)
{
    const oclora_context *context = user;
    (void)info;
    (void)size;
    if (!context) return; /* Oclgrind forgets the pointer */
    oclora_log(&context->env, OCLORA_LOG_WARN, "OpenCL driver of %s: %s", context->device.name,
               text ? text : "(no text)");
}

static oclora_status adopt_host_context(oclora_context *context, cl_context host, oclora_error *err)
{
    cl_device_id devices[64];
    size_t bytes = 0;
    cl_int code = clGetContextInfo(host, CL_CONTEXT_DEVICES, sizeof devices, devices, &bytes);
    if (code)
        return oclora_fail_cl(err, code, "clGetContextInfo", "the host's cl_context is not usable");
    for (size_t i = 0; i < bytes / sizeof devices[0]; i++) {
        if (devices[i] != context->cl_device) continue;
        code = clRetainContext(host);
        if (code) return oclora_fail_cl(err, code, "clRetainContext", "the host's cl_context");
        context->cl = host;
        return OCLORA_OK;
    }
    return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                       "the host's cl_context does not hold device '%s'; pass a device of it",
                       context->device.name);
}

static oclora_status create_cl_context(oclora_context *context, oclora_error *err)
{
    const cl_context_properties properties[] = {
        CL_CONTEXT_PLATFORM, (cl_context_properties)context->device.platform_handle, 0};
    cl_int code = CL_SUCCESS;
    context->cl = clCreateContext(properties, 1, &context->cl_device, on_notify, context, &code);
    if (!context->cl)
        return oclora_fail_cl(err, code, "clCreateContext", "on device '%s' of '%s'",
                              context->device.name, context->device.platform);
    return OCLORA_OK;
}

static oclora_status check_options(const oclora_device *device,
                                   const oclora_context_options *options, oclora_error *err)
{
    if (!device || !device->device_handle)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "a context needs a device from oclora_device_find");
    if (options->device_class > OCLORA_CLASS_GPU)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "device class %u does not exist",
                           options->device_class);
    return OCLORA_OK;
}

/* Other contexts at this address before had, all but surely, other marks. */
static uint32_t first_mark(const oclora_context *context)
{
    struct timespec now = {0};
    timespec_get(&now, TIME_UTC);
    const uint64_t mixed = (uint64_t)(uintptr_t)context >> 6 ^ (uint64_t)now.tv_nsec * 2654435761u;
    return (uint32_t)(mixed ^ mixed >> 32);
}

uint32_t oclora_context_mark(oclora_context *context)
{
    return atomic_fetch_add(&context->next_mark, 1);
}

oclora_status oclora_context_create(oclora_context **out, const oclora_env *env,
                                    const oclora_device *device,
                                    const oclora_context_options *options, oclora_error *err)
{
    const oclora_env no_env = {0};
    const oclora_context_options no_options = {0};
    if (!env) env = &no_env;
    if (!options) options = &no_options;
    OCLORA_TRY(check_options(device, options, err));

    oclora_context *context = oclora_alloc(env, 1, sizeof *context);
    if (!context) return oclora_fail_memory(err, sizeof *context, "a context");
    context->env = *env;
    context->device = *device;
    context->cl_device = device->device_handle;
    context->device_class = options->device_class ? options->device_class : device->device_class;
    atomic_init(&context->lost, false);
    atomic_init(&context->next_mark, first_mark(context));
    atomic_init(&context->queue_faults, 0);
    atomic_init(&context->compiled, 0);
    atomic_init(&context->loaded, 0);
    atomic_init(&context->rejected, 0);
    atomic_init(&context->makers, 0);
    atomic_init(&context->has_compiled, false);
    atomic_init(&context->quiet, false);
    context->drivers_work = options->drivers_work;
    oclora_status status;
    if (pthread_mutex_init(&context->lock, NULL)) {
        status = oclora_fail(err, OCLORA_INTERNAL, "a mutex could not be created");
        goto fail;
    }
    context->has_lock = true;
    context->cache_dir = oclora_cache_dir(env, options->cache_dir);
    status = oclora_context_apply_quirks(context, options->ignore_quirks != 0, err);
    if (status) goto fail;
    oclora_tuning_load(&context->tuning, env, context->cache_dir, device, context->device_class);
    status = options->cl_context ? adopt_host_context(context, options->cl_context, err)
                                 : create_cl_context(context, err);
    if (status) goto fail;
    *out = context;
    return OCLORA_OK;
fail:
    oclora_context_destroy(context);
    return status;
}

void oclora_context_destroy(oclora_context *context)
{
    if (!context) return;
    oclora_programs_destroy(context);
    if (context->cl) clReleaseContext(context->cl);
    if (context->has_lock) pthread_mutex_destroy(&context->lock);
    const oclora_env env = context->env;
    oclora_release(&env, context->disabled);
    oclora_release(&env, context->cache_dir);
    oclora_release(&env, context);
}

void oclora_context_quiet(oclora_context *context)
{
    const struct timespec pause = {0, 1000000};
    atomic_store(&context->quiet, true);
    while (atomic_load(&context->makers)) nanosleep(&pause, NULL);
}

const oclora_env *oclora_context_env(const oclora_context *context)
{
    return &context->env;
}

const oclora_device *oclora_context_device(const oclora_context *context)
{
    return &context->device;
}

uint32_t oclora_context_class(const oclora_context *context)
{
    return context->device_class;
}

uint32_t oclora_context_tuned(const oclora_context *context, oclora_tune_param param)
{
    return context->tuning.values[param];
}

oclora_status oclora_context_tune(oclora_context *context, oclora_tune_param param, uint32_t value,
                                  oclora_error *err)
{
    if (!oclora_tune_valid(context->device_class, param, value))
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "%u is no value of '%s' on this class of devices (oclora-tune --list)",
                           (unsigned)value,
                           param < OCLORA_TUNE_COUNT ? oclora_tune_infos[param].name : "?");
    context->tuning.values[param] = value;
    context->tuning.sources[param] = OCLORA_TUNE_FROM_CALL;
    return OCLORA_OK;
}

const char *oclora_context_cache_dir(const oclora_context *context)
{
    return context->cache_dir;
}

oclora_status oclora_context_health(const oclora_context *context, oclora_error *err)
{
    if (!atomic_load_explicit(&context->lost, memory_order_relaxed)) return OCLORA_OK;
    return oclora_fail(err, OCLORA_DEVICE_LOST,
                       "device '%s' stopped answering earlier; destroy the context and create "
                       "another",
                       context->device.name);
}
