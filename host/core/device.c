#include "host/core/cl.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { TEXT_MAX = 1 << 24 };

/* Copies `text` without outer spaces, cut to the field. */
static void copy_trimmed(char *out, size_t capacity, const char *text)
{
    while (*text == ' ') text++;
    size_t length = strlen(text);
    while (length && (text[length - 1] == ' ' || text[length - 1] == '\n')) length--;
    if (length >= capacity) length = capacity - 1;
    memcpy(out, text, length);
    out[length] = '\0';
}

/* A device being asked. A driver that does not answer and a host without memory look alike in the
 * answers, but only the first is a reason to skip the device. */
typedef struct device_query {
    const oclora_env *env;
    cl_device_id device;
    bool no_memory;
} device_query;

/* The info as new memory; NULL if the driver does not answer. */
static char *device_string(device_query *query, cl_device_info what)
{
    size_t size = 0;
    if (clGetDeviceInfo(query->device, what, 0, NULL, &size)) return NULL;
    if (size > TEXT_MAX) return NULL; /* nobody's name: size + 1 must not wrap */
    char *text = oclora_alloc(query->env, size + 1, 1);
    if (!text) query->no_memory = true;
    if (text && clGetDeviceInfo(query->device, what, size, text, NULL)) {
        oclora_release(query->env, text);
        return NULL;
    }
    return text;
}

static void device_field(device_query *query, cl_device_info what, char *out, size_t capacity)
{
    char *text = device_string(query, what);
    copy_trimmed(out, capacity, text ? text : "");
    oclora_release(query->env, text);
}

/* Zero where the driver does not know the query: absence of a feature then. */
static cl_ulong device_ulong(cl_device_id device, cl_device_info what)
{
    cl_ulong value = 0;
    return clGetDeviceInfo(device, what, sizeof value, &value, NULL) ? 0 : value;
}

static cl_uint device_uint(cl_device_id device, cl_device_info what)
{
    cl_uint value = 0;
    return clGetDeviceInfo(device, what, sizeof value, &value, NULL) ? 0 : value;
}

static bool has_word(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = list; (at = strstr(at, word)); at += length) {
        bool starts = at == list || at[-1] == ' ';
        if (starts && (at[length] == ' ' || at[length] == '\0')) return true;
    }
    return false;
}

static uint32_t features_of(const char *extensions)
{
    uint32_t features = 0;
    if (has_word(extensions, "cl_khr_fp16")) features |= OCLORA_FEATURE_FP16;
    if (has_word(extensions, "cl_khr_fp64")) features |= OCLORA_FEATURE_FP64;
    if (has_word(extensions, "cl_khr_integer_dot_product")) features |= OCLORA_FEATURE_INT_DOT;
    if (has_word(extensions, "cl_khr_subgroups") || has_word(extensions, "cl_intel_subgroups"))
        features |= OCLORA_FEATURE_SUBGROUPS;
    return features;
}

/* Vendors' own queries; cl_ext.h of older headers lacks them. */
enum {
    NVIDIA_CAPABILITY_MAJOR = 0x4000,
    NVIDIA_CAPABILITY_MINOR = 0x4001,
    INTEL_IP_VERSION = 0x4250
};

/* A name that tuning rows can begin with; "" where the driver gives none. AMD's is the device's
 * name or, with Mesa, the second word in brackets; of a CPU it is the width of its registers, which
 * decides how many sums they hold. */
static void read_architecture(cl_device_id device, const char *extensions, oclora_device *out)
{
    char *text = out->architecture;
    const size_t room = sizeof out->architecture;
    const char *bracket = strstr(out->name, "(radeonsi, ");
    if (out->type == OCLORA_DEVICE_CPU) {
        snprintf(text, room, "simd%u", (unsigned)out->lanes);
    } else if (has_word(extensions, "cl_nv_device_attribute_query")) {
        const unsigned major = device_uint(device, NVIDIA_CAPABILITY_MAJOR);
        if (major)
            snprintf(text, room, "sm_%u%u", major, device_uint(device, NVIDIA_CAPABILITY_MINOR));
    } else if (has_word(extensions, "cl_intel_device_attribute_query") &&
               out->type == OCLORA_DEVICE_GPU) {
        const cl_uint ip = device_uint(device, INTEL_IP_VERSION);
        if (ip) snprintf(text, room, "xe_%u.%u", (unsigned)(ip >> 22), (unsigned)(ip >> 14 & 255));
    } else if (!strncmp(out->name, "gfx", 3)) {
        snprintf(text, room, "%.*s", (int)strcspn(out->name, ": "), out->name);
    } else if (bracket) {
        bracket += strlen("(radeonsi, ");
        snprintf(text, room, "%.*s", (int)strcspn(bracket, ",)"), bracket);
    }
}

/* Features and architecture. */
static bool read_extensions(device_query *query, oclora_device *out)
{
    cl_device_id device = query->device;
    char *extensions = device_string(query, CL_DEVICE_EXTENSIONS);
    const bool answered = extensions != NULL;
    uint32_t features = answered ? features_of(extensions) : 0;
    if (answered) read_architecture(device, extensions, out);
    oclora_release(query->env, extensions);
    if (device_ulong(device, CL_DEVICE_SVM_CAPABILITIES) & CL_DEVICE_SVM_COARSE_GRAIN_BUFFER)
        features |= OCLORA_FEATURE_SVM;
    if (device_ulong(device, CL_DEVICE_QUEUE_PROPERTIES) & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE)
        features |= OCLORA_FEATURE_OUT_OF_ORDER;
    if (device_uint(device, CL_DEVICE_HOST_UNIFIED_MEMORY))
        features |= OCLORA_FEATURE_UNIFIED_MEMORY;
    out->features = features;
    return answered;
}

static uint32_t device_type(cl_device_id device)
{
    cl_ulong type = device_ulong(device, CL_DEVICE_TYPE);
    if (type == 0) return 0;
    if (type & CL_DEVICE_TYPE_GPU) return OCLORA_DEVICE_GPU;
    return type & CL_DEVICE_TYPE_CPU ? OCLORA_DEVICE_CPU : OCLORA_DEVICE_ACCELERATOR;
}

/* false: the driver did not answer what kernels and limits are chosen by. Guessing would give a CPU
 * the kernels of a GPU, or a device of no memory. */
static bool read_device(device_query *query, cl_platform_id platform, const char *platform_name,
                        oclora_device *out)
{
    size_t work_group = 0;
    cl_device_id device = query->device;
    device_field(query, CL_DEVICE_NAME, out->name, sizeof out->name);
    device_field(query, CL_DEVICE_VENDOR, out->vendor, sizeof out->vendor);
    device_field(query, CL_DRIVER_VERSION, out->driver, sizeof out->driver);
    device_field(query, CL_DEVICE_VERSION, out->version, sizeof out->version);
    device_field(query, CL_DEVICE_OPENCL_C_VERSION, out->c_version, sizeof out->c_version);
    copy_trimmed(out->platform, sizeof out->platform, platform_name);
    out->type = device_type(device);
    out->device_class = out->type == OCLORA_DEVICE_CPU ? OCLORA_CLASS_CPU : OCLORA_CLASS_GPU;
    out->lanes = device_uint(device, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT);
    const bool answered = read_extensions(query, out);
    out->compute_units = device_uint(device, CL_DEVICE_MAX_COMPUTE_UNITS);
    out->vendor_id = device_uint(device, CL_DEVICE_VENDOR_ID);
    out->global_bytes = device_ulong(device, CL_DEVICE_GLOBAL_MEM_SIZE);
    out->max_alloc_bytes = device_ulong(device, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
    out->local_bytes = device_ulong(device, CL_DEVICE_LOCAL_MEM_SIZE);
    clGetDeviceInfo(device, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof work_group, &work_group, NULL);
    out->max_work_group = work_group;
    out->base_align_bytes = device_uint(device, CL_DEVICE_MEM_BASE_ADDR_ALIGN) / 8;
    out->platform_handle = platform;
    out->device_handle = device;
    return answered && out->type != 0 && out->name[0] != 0 && out->version[0] != 0 &&
           out->driver[0] != 0 && out->compute_units > 0 && out->global_bytes > 0 &&
           out->max_alloc_bytes > 0 && work_group > 0;
}

typedef struct device_list {
    oclora_device *devices;
    size_t count;
    size_t capacity;
} device_list;

static oclora_status list_platform(const oclora_env *env, cl_platform_id platform,
                                   device_list *list, oclora_error *err)
{
    char name[64] = "";
    cl_device_id handles[64];
    cl_uint found = 0;
    char text[256] = "";
    if (!clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof text - 1, text, NULL))
        copy_trimmed(name, sizeof name, text);
    cl_int code = clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 64, handles, &found);
    if (code) {
        oclora_log(env, code == CL_DEVICE_NOT_FOUND ? OCLORA_LOG_DEBUG : OCLORA_LOG_WARN,
                   "OpenCL platform '%s' lists no device: %s", name, oclora_cl_error_name(code));
        return OCLORA_OK;
    }
    for (cl_uint i = 0; i < found && i < 64; i++) {
        if (!device_uint(handles[i], CL_DEVICE_AVAILABLE) ||
            !device_uint(handles[i], CL_DEVICE_COMPILER_AVAILABLE)) {
            oclora_log(env, OCLORA_LOG_WARN,
                       "device %u of platform '%s' is skipped: not available or no compiler", i,
                       name);
            continue;
        }
        OCLORA_TRY(oclora_reserve(env, &list->devices, &list->capacity, list->count + 1,
                                  sizeof *list->devices, err));
        oclora_device *device = &list->devices[list->count];
        device_query query = {env, handles[i], false};
        const bool answered = read_device(&query, platform, name, device);
        if (query.no_memory) return oclora_fail_memory(err, sizeof *device, "a device's answers");
        if (!answered) {
            oclora_log(env, OCLORA_LOG_WARN,
                       "device %u of platform '%s' is skipped: its driver does not say what it is",
                       i, name);
            memset(device, 0, sizeof *device);
            continue;
        }
        device->index = (uint32_t)list->count++;
    }
    return OCLORA_OK;
}

oclora_status oclora_devices_list(const oclora_env *env, oclora_device **out, size_t *count,
                                  oclora_error *err)
{
    cl_platform_id platforms[32];
    cl_uint found = 0;
    device_list list = {0};
    cl_int code = clGetPlatformIDs(32, platforms, &found);
    if (code) {
        found = 0;
        oclora_log(env, OCLORA_LOG_INFO, "no OpenCL platform: %s", oclora_cl_error_name(code));
    }
    for (cl_uint i = 0; i < found && i < 32; i++) {
        oclora_status status = list_platform(env, platforms[i], &list, err);
        if (status) {
            oclora_release(env, list.devices);
            return status;
        }
    }
    *out = list.devices;
    *count = list.count;
    return OCLORA_OK;
}

static int default_rank(const oclora_device *device)
{
    if (device->type == OCLORA_DEVICE_GPU) return 0;
    if (strstr(device->platform, "Intel") && device->type == OCLORA_DEVICE_CPU) return 1;
    if (!strcmp(device->platform, "Portable Computing Language")) return 2;
    return 3;
}

static size_t find_default(const oclora_device *devices, size_t count)
{
    size_t best = 0;
    for (size_t i = 1; i < count; i++)
        if (default_rank(&devices[i]) < default_rank(&devices[best])) best = i;
    return best;
}

static bool contains_ignoring_case(const char *text, const char *part)
{
    size_t length = strlen(part);
    for (; *text; text++)
        if (!strncasecmp(text, part, length)) return true;
    return false;
}

static bool matches(const oclora_device *device, const char *selector)
{
    char full[sizeof device->platform + sizeof device->name + 4];
    snprintf(full, sizeof full, "%s / %s", device->platform, device->name);
    return contains_ignoring_case(full, selector);
}

static oclora_status fail_not_found(const oclora_device *devices, size_t count,
                                    const char *selector, oclora_error *err)
{
    char list[360] = "";
    size_t used = 0;
    for (size_t i = 0; i < count && used + 1 < sizeof list; i++) {
        int length = snprintf(list + used, sizeof list - used, "%s%zu: %s / %s", i ? "; " : "", i,
                              devices[i].platform, devices[i].name);
        used += length > 0 ? (size_t)length : 0;
    }
    return oclora_fail(err, OCLORA_NOT_FOUND, "no device matches '%.60s'; there are: %s", selector,
                       list);
}

static oclora_status find_selected(const oclora_device *devices, size_t count, const char *selector,
                                   size_t *out, oclora_error *err)
{
    size_t found = count;
    if (strspn(selector, "0123456789") == strlen(selector)) {
        unsigned long index = strtoul(selector, NULL, 10);
        if (index < count) found = (size_t)index;
    } else {
        for (size_t i = 0; i < count; i++) {
            if (!matches(&devices[i], selector)) continue;
            if (found == count) found = i;
            if (devices[i].platform_handle != devices[found].platform_handle)
                return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                                   "'%.60s' matches devices of '%s' and of '%s'; name the platform "
                                   "too, or use an index",
                                   selector, devices[found].platform, devices[i].platform);
        }
    }
    if (found == count) return fail_not_found(devices, count, selector, err);
    *out = found;
    return OCLORA_OK;
}

oclora_status oclora_device_find(const oclora_env *env, const char *selector, oclora_device *out,
                                 oclora_error *err)
{
    oclora_device *devices = NULL;
    size_t count = 0, found = 0;
    OCLORA_TRY(oclora_devices_list(env, &devices, &count, err));
    oclora_status status = OCLORA_OK;
    if (!count)
        status = oclora_fail(err, OCLORA_NO_DEVICE,
                             "no OpenCL device is installed; install a driver (clinfo -l lists "
                             "them) or check OCL_ICD_VENDORS");
    else if (!selector || !selector[0])
        found = find_default(devices, count);
    else
        status = find_selected(devices, count, selector, &found, err);
    if (!status) *out = devices[found];
    oclora_release(env, devices);
    return status;
}
