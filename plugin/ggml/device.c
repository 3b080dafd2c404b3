#include "plugin/ggml/plugin.h"
#include "plugin/ggml/translate.h"

#include <stdio.h>
#include <string.h>

static oclora_ggml_device *device_of(ggml_backend_dev_t device)
{
    return (oclora_ggml_device *)(void *)device;
}

static oclora_status open_locked(oclora_ggml_device *device, oclora_error *err)
{
    if (device->absent)
        return oclora_fail(err, OCLORA_NO_DEVICE, "no OpenCL device; OCLORA_CONFIG needs one");
    if (device->transfer != NULL) return OCLORA_OK;
    const oclora_context_options options = {.drivers_work = oclora_ggml_watch_exit};
    if (device->context == NULL)
        OCLORA_TRY(oclora_context_create(&device->context, &device->plugin->env, &device->info,
                                         &options, err));
    oclora_status status = oclora_stream_create(&device->transfer, device->context, err);
    if (status !=
        OCLORA_OK) { /* nobody has it yet, and it may be lost: the next try makes another */
        oclora_context_destroy(device->context);
        device->context = NULL;
    }
    return status;
}

oclora_status oclora_ggml_device_open(oclora_ggml_device *device, oclora_error *err)
{
    pthread_mutex_lock(&device->lock);
    oclora_status status = open_locked(device, err);
    pthread_mutex_unlock(&device->lock);
    return status;
}

oclora_status oclora_ggml_device_settle(oclora_ggml_device *device, oclora_error *err)
{
    oclora_status status = OCLORA_OK;
    pthread_mutex_lock(&device->lock);
    if (device->pending) {
        status = oclora_stream_finish(device->transfer, err);
        device->pending = status != OCLORA_OK;
    }
    pthread_mutex_unlock(&device->lock);
    return status;
}

static const char *get_name(ggml_backend_dev_t device)
{
    return device_of(device)->name;
}

static const char *get_description(ggml_backend_dev_t device)
{
    return device_of(device)->description;
}

static void get_memory(ggml_backend_dev_t device, size_t *available, size_t *total)
{
    oclora_ggml_device *own = device_of(device);
    uint64_t used = atomic_load(&own->used_bytes);
    *total = (size_t)own->info.global_bytes;
    *available = used < own->info.global_bytes ? (size_t)(own->info.global_bytes - used) : 0;
}

static enum ggml_backend_dev_type get_type(ggml_backend_dev_t device)
{
    (void)device;
    return GGML_BACKEND_DEVICE_TYPE_GPU;
}

/* Field by field, and only those in front: the rest of the structure grew between versions, and the
 * host zeroes it before the call. */
static void get_props(ggml_backend_dev_t device, struct ggml_backend_dev_props *props)
{
    props->name = get_name(device);
    props->description = get_description(device);
    props->type = get_type(device);
    get_memory(device, &props->memory_free, &props->memory_total);
}

static ggml_backend_buffer_type_t get_buffer_type(ggml_backend_dev_t device)
{
    return (ggml_backend_buffer_type_t)(void *)&device_of(device)->type;
}

static bool supports_op(ggml_backend_dev_t device, const struct ggml_tensor *op)
{
    oclora_ggml_device *own = device_of(device);
    if (oclora_ggml_device_open(own, NULL) != OCLORA_OK) return false;
    return oclora_ggml_supports(own->plugin, own->context, op);
}

static bool supports_buft(ggml_backend_dev_t device, ggml_backend_buffer_type_t type)
{
    return type == get_buffer_type(device);
}

void oclora_ggml_device_init(oclora_ggml_device *device, oclora_ggml_plugin *plugin, uint32_t index,
                             const oclora_device *info)
{
    static const oclora_host_device_calls calls = {
        .get_name = get_name,
        .get_description = get_description,
        .get_memory = get_memory,
        .get_type = get_type,
        .get_props = get_props,
        .init_backend = oclora_ggml_backend_create,
        .get_buffer_type = get_buffer_type,
        .supports_op = supports_op,
        .supports_buft = supports_buft,
    };
    device->plugin = plugin;
    device->index = index;
    if (info != NULL) device->info = *info;
    device->absent = info == NULL;
    snprintf(device->name, sizeof device->name, "OCLORA%u", index);
    if (info != NULL)
        snprintf(device->description, sizeof device->description, "%s / %s", info->platform,
                 info->name);
    else
        snprintf(device->description, sizeof device->description, "no OpenCL device");
    pthread_mutex_init(&device->lock, NULL);
    oclora_host_fill_device(&plugin->abi, &device->host, &calls,
                            (ggml_backend_reg_t)(void *)plugin);
    oclora_ggml_type_init(device);
}
