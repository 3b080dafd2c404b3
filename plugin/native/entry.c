/* The one exported symbol and the table behind it. */
#include "plugin/native/calls.h"

/* Slots are appended, never moved; a released minor's last slot is pinned for ever. */
_Static_assert(offsetof(oclora_api, version) == 16, "slots of version 1.0");
_Static_assert(offsetof(oclora_api, device_count) == 40, "slots of version 1.0");
_Static_assert(offsetof(oclora_api, context_create) == 56, "slots of version 1.0");
_Static_assert(offsetof(oclora_api, weight_create) == 88, "slots of version 1.0");
_Static_assert(offsetof(oclora_api, pool_create) == 104, "slots of version 1.0");
_Static_assert(offsetof(oclora_api, adapter_load) == 128, "slots of version 1.0");
_Static_assert(offsetof(oclora_api, batch_create) == 184, "slots of version 1.0");
_Static_assert(offsetof(oclora_api, linear) == 200, "slots of version 1.0");
_Static_assert(offsetof(oclora_api, event_destroy) == 232, "slots of version 1.0");

/* Flags and states go through as they are. */
_Static_assert((int)OCLORA_DELTA_ONLY == (int)OCLORA_LINEAR_DELTA_ONLY, "flags");
_Static_assert((int)OCLORA_STATE_HOST == (int)OCLORA_ADAPTER_HOST, "states");
_Static_assert((int)OCLORA_STATE_FAILED == (int)OCLORA_ADAPTER_FAILED, "states");
_Static_assert((int)OCLORA_HAS_FP16 == (int)OCLORA_FEATURE_FP16, "features");
_Static_assert((int)OCLORA_HAS_FP64 == (int)OCLORA_FEATURE_FP64, "features");

static const char *version(void)
{
    return OCLORA_VERSION;
}

static const oclora_api api = {
    .struct_size = sizeof(oclora_api),
    .major = OCLORA_MAJOR,
    .minor = OCLORA_MINOR,
    .version = version,
    .status_name = oclora_status_name,
    .status_text = oclora_status_text,
    .device_count = native_device_count,
    .device_info = native_device_info,
    .context_create = native_context_create,
    .context_destroy = native_context_destroy,
    .context_capabilities = native_context_capabilities,
    .context_health = native_context_health,
    .weight_create = native_weight_create,
    .weight_destroy = native_weight_destroy,
    .pool_create = native_pool_create,
    .pool_destroy = native_pool_destroy,
    .pool_query = native_pool_query,
    .adapter_load = native_adapter_load,
    .adapter_load_memory = native_adapter_load_memory,
    .adapter_find = native_adapter_find,
    .adapter_query = native_adapter_query,
    .adapter_pin = native_adapter_pin,
    .adapter_unpin = native_adapter_unpin,
    .adapter_unload = native_adapter_unload,
    .batch_create = native_batch_create,
    .batch_destroy = native_batch_destroy,
    .linear = native_linear,
    .linear_submit = native_linear_submit,
    .event_wait = native_event_wait,
    .event_done = native_event_done,
    .event_destroy = native_event_destroy,
};

__attribute__((visibility("default"))) const oclora_api *oclora_get_api(uint32_t abi_major)
{
    return abi_major == OCLORA_MAJOR ? &api : NULL;
}
