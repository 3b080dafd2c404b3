/* identity.c - what the driver says of itself. */
#include "tools/clinfo-bench/raw.h"

#include "host/core/quirks.h"

#include <string.h>

static json_t *device_line(const oclora_device *device)
{
    return json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I}", "index", (int)device->index,
                     "platform", device->platform, "device", device->name, "vendor", device->vendor,
                     "driver", device->driver, "version", device->version, "c_version",
                     device->c_version, "type",
                     device->type == OCLORA_DEVICE_GPU   ? "gpu"
                     : device->type == OCLORA_DEVICE_CPU ? "cpu"
                                                         : "accelerator",
                     "global_bytes", (json_int_t)device->global_bytes);
}

oclora_status bench_step_list(bench_child *child, oclora_error *err)
{
    oclora_device *devices = NULL;
    size_t count = 0;
    if (!bench_begin(child, "list")) return OCLORA_OK;
    OCLORA_TRY(oclora_devices_list(&child->env, &devices, &count, err));
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) json_array_append_new(list, device_line(&devices[i]));
    json_t *item = json_object();
    json_object_set_new(item, "devices", list);
    bench_result(child, "info", item, "%zu devices", count);
    return OCLORA_OK;
}

/* Extensions that change what the engine does, or what a bug report needs. */
static const char *const extensions[] = {
    "cl_khr_fp16",
    "cl_khr_fp64",
    "cl_khr_subgroups",
    "cl_intel_subgroups",
    "cl_khr_subgroup_shuffle",
    "cl_intel_required_subgroup_size",
    "cl_khr_integer_dot_product",
    "cl_khr_il_program",
    "cl_khr_spir",
    "cl_khr_command_buffer",
    "cl_khr_global_int32_base_atomics",
    "cl_khr_int64_base_atomics",
    "cl_khr_byte_addressable_store",
    "cl_intel_unified_shared_memory",
    "cl_khr_device_uuid",
    "cl_khr_pci_bus_info",
    "cl_nv_device_attribute_query",
    "cl_amd_device_attribute_query",
    "cl_qcom_reqd_sub_group_size",
};

static json_t *extension_list(cl_device_id device)
{
    char all[8192], word[128];
    bench_raw_text(device, CL_DEVICE_EXTENSIONS, all, sizeof all);
    json_t *list = json_array();
    size_t length = strlen(all);
    if (length + 2 < sizeof all) memcpy(all + length, " ", 2);
    for (size_t i = 0; i < sizeof extensions / sizeof extensions[0]; i++) {
        snprintf(word, sizeof word, "%s ", extensions[i]);
        if (strstr(all, word)) json_array_append_new(list, json_string(extensions[i]));
    }
    return list;
}

static json_t *limits(const oclora_device *device)
{
    static const struct {
        const char *name;
        cl_device_info what;
    } queries[] = {
        {"max_clock_mhz", CL_DEVICE_MAX_CLOCK_FREQUENCY},
        {"global_cache_bytes", CL_DEVICE_GLOBAL_MEM_CACHE_SIZE},
        {"cache_line_bytes", CL_DEVICE_GLOBAL_MEM_CACHELINE_SIZE},
        {"max_constant_bytes", CL_DEVICE_MAX_CONSTANT_BUFFER_SIZE},
        {"native_float_width", CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT},
        {"timer_resolution_ns", CL_DEVICE_PROFILING_TIMER_RESOLUTION},
        {"address_bits", CL_DEVICE_ADDRESS_BITS},
        {"little_endian", CL_DEVICE_ENDIAN_LITTLE},
        {"svm_capabilities", CL_DEVICE_SVM_CAPABILITIES},
        {"single_fp_config", CL_DEVICE_SINGLE_FP_CONFIG},
    };
    json_t *object = json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I}", "compute_units", (json_int_t)device->compute_units,
        "global_bytes", (json_int_t)device->global_bytes, "max_alloc_bytes",
        (json_int_t)device->max_alloc_bytes, "local_bytes", (json_int_t)device->local_bytes,
        "max_work_group", (json_int_t)device->max_work_group, "base_align_bytes",
        (json_int_t)device->base_align_bytes);
    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++)
        json_object_set_new(
            object, queries[i].name,
            json_integer((json_int_t)bench_raw_ulong(device->device_handle, queries[i].what)));
    return object;
}

/* What is known of this driver, and whether the record of an earlier run says otherwise. */
static json_t *quirk_list(const bench_child *child)
{
    oclora_record record;
    char *dir = oclora_cache_dir(&child->env, NULL);
    json_t *list = json_array();
    oclora_record_load(&record, &child->env, dir, &child->device);
    for (const oclora_quirk *quirk = oclora_quirks; quirk->id; quirk++) {
        if (!oclora_quirk_matches(quirk, &child->device)) continue;
        bool lifted = oclora_quirk_lifted(quirk, &record, child->device.device_class);
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:b}", "id", quirk->id, "subject",
                            quirk->subject, "effect", oclora_quirk_effect_name(quirk->effect),
                            "citation", quirk->citation, "retest",
                            quirk->retest[0] ? quirk->retest : "none", "lifted", lifted));
    }
    oclora_record_free(&record);
    oclora_release(&child->env, dir);
    return list;
}

oclora_status bench_step_identity(bench_child *child, oclora_error *err)
{
    (void)err;
    if (!bench_begin(child, "identity")) return OCLORA_OK;
    const oclora_device *device = &child->device;
    json_t *item = device_line(device);
    char text[160];
    size_t size = sizeof text;
    memset(text, 0, sizeof text);
    if (clGetPlatformInfo(device->platform_handle, CL_PLATFORM_VERSION, size - 1, text, NULL))
        text[0] = '\0';
    json_object_set_new(item, "platform_version", json_string(text));
    json_object_set_new(item, "vendor_id", json_integer((json_int_t)device->vendor_id));
    json_object_set_new(item, "class",
                        json_string(device->device_class == OCLORA_CLASS_GPU ? "gpu" : "cpu"));
    json_object_set_new(item, "limits", limits(device));
    json_object_set_new(item, "extensions", extension_list(device->device_handle));
    json_object_set_new(item, "quirks", quirk_list(child));
    bench_result(child, "info", item, "%s", "");
    return OCLORA_OK;
}
