/* device.h - OpenCL devices and what they can do, as plain data. No OpenCL type appears here. */
#ifndef OCLORA_CORE_DEVICE_H
#define OCLORA_CORE_DEVICE_H

#include "host/core/env.h"

/* Feature bits, as the driver reports them (clinfo-bench measures which are worth using). */
enum {
    OCLORA_FEATURE_FP16 = 1u << 0,        /* half arithmetic; vload_half needs no feature */
    OCLORA_FEATURE_SUBGROUPS = 1u << 1,   /* cl_khr_subgroups or cl_intel_subgroups */
    OCLORA_FEATURE_INT_DOT = 1u << 2,     /* cl_khr_integer_dot_product */
    OCLORA_FEATURE_SVM = 1u << 3,         /* coarse-grained buffers at least */
    OCLORA_FEATURE_OUT_OF_ORDER = 1u << 4,
    OCLORA_FEATURE_UNIFIED_MEMORY = 1u << 5,
    OCLORA_FEATURE_FP64 = 1u << 6
};

typedef struct oclora_device {
    char name[128];
    char vendor[64];
    char driver[64];     /* CL_DRIVER_VERSION */
    char version[64];    /* CL_DEVICE_VERSION */
    char c_version[64];  /* CL_DEVICE_OPENCL_C_VERSION */
    char platform[64];   /* CL_PLATFORM_NAME */
    char architecture[32]; /* "gfx1030", "sm_86", "xe_12.55", "simd16"; "" = not known */
    uint32_t index;      /* position in oclora_devices_list */
    uint32_t type;       /* OCLORA_DEVICE_* */
    uint32_t device_class; /* OCLORA_CLASS_CPU or OCLORA_CLASS_GPU */
    uint32_t features;   /* OCLORA_FEATURE_* */
    uint32_t compute_units;
    uint32_t lanes;            /* floats of a vector register, as the driver says */
    uint32_t vendor_id;
    uint64_t global_bytes;
    uint64_t max_alloc_bytes;
    uint64_t local_bytes;
    uint64_t max_work_group;
    uint64_t base_align_bytes; /* sub-buffer alignment */
    void *platform_handle;     /* cl_platform_id */
    void *device_handle;       /* cl_device_id */
} oclora_device;

/* All devices of all platforms, in platform order. `*out` is released with oclora_release. No device
 * is not an error here: `*count` is 0. A platform that fails to answer is logged and skipped. */
oclora_status oclora_devices_list(const oclora_env *env, oclora_device **out, size_t *count,
                                  oclora_error *err);

/* Chooses one device. `selector`: NULL or "" = the default (a GPU, else Intel's CPU runtime, else
 * PoCL, else anything); a decimal index into the list; or a case-insensitive part of
 * "platform / name". Errors: NO_DEVICE (nothing installed), NOT_FOUND (selector matches none; the
 * text lists the devices), INVALID_ARGUMENT (selector matches devices of two platforms). */
oclora_status oclora_device_find(const oclora_env *env, const char *selector, oclora_device *out,
                                 oclora_error *err);

#endif
