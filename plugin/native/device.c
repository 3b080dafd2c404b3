#include "host/core/device.h"
#include "plugin/native/calls.h"

#include <string.h>

oclora_status native_device_count(uint32_t *out, oclora_message *message)
{
    oclora_error err = {0};
    const oclora_env env = {0};
    oclora_device *devices = NULL;
    size_t count = 0;
    if (out == NULL)
        return native_report(
            message, oclora_fail(&err, OCLORA_INVALID_ARGUMENT, "device_count: out is NULL"), &err);
    const oclora_status status = oclora_devices_list(&env, &devices, &count, &err);
    oclora_release(&env, devices);
    if (status == OCLORA_OK) *out = (uint32_t)count;
    return native_report(message, status, &err);
}

#define COPY_TEXT(to, from)                                                                        \
    do {                                                                                           \
        _Static_assert(sizeof(to) == sizeof(from), "texts of one size");                           \
        memcpy(to, from, sizeof(to));                                                              \
    } while (0)

static void describe(oclora_device_desc *own, const oclora_device *device)
{
    memset(own, 0, sizeof *own);
    COPY_TEXT(own->name, device->name);
    COPY_TEXT(own->vendor, device->vendor);
    COPY_TEXT(own->driver, device->driver);
    COPY_TEXT(own->version, device->version);
    COPY_TEXT(own->platform, device->platform);
    own->global_bytes = device->global_bytes;
    own->max_alloc_bytes = device->max_alloc_bytes;
    own->local_bytes = device->local_bytes;
    own->max_work_group = device->max_work_group;
    own->type = device->type;
    own->device_class = device->device_class;
    own->features = device->features;
    own->compute_units = device->compute_units;
    own->vendor_id = device->vendor_id;
}

oclora_status native_device_info(uint32_t index, oclora_device_desc *out, oclora_message *message)
{
    oclora_error err = {0};
    const oclora_env env = {0};
    oclora_device *devices = NULL;
    size_t count = 0;
    oclora_status status =
        native_room(out, NATIVE_SIZE(oclora_device_desc, reserved), "device_info: out", &err);
    if (status == OCLORA_OK) status = oclora_devices_list(&env, &devices, &count, &err);
    if (status == OCLORA_OK && index >= count)
        status = oclora_fail(&err, OCLORA_NOT_FOUND, "device %u: there are %zu", index, count);
    if (status == OCLORA_OK) {
        oclora_device_desc own;
        describe(&own, &devices[index]);
        native_give(out, &own, sizeof own);
    }
    oclora_release(&env, devices);
    return native_report(message, status, &err);
}
