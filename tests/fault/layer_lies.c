/* Devices that lie about themselves. */
#include "layer_private.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum lie_kind {
    NUMBER,  /* the answer is `value`, of the size the question has */
    TEXT,    /* the answer is `text` */
    LONG,    /* the answer is a text of `value` letters */
    SIZE,    /* asked for the size alone, the answer is `value` */
    BARE,    /* a text without a zero at its end */
    NOTHING, /* success, and nothing is written */
    GROWS    /* longer at the second question than the first one said: it fails then */
};

static const struct lie {
    const char *what;
    cl_device_info about;
    enum lie_kind kind;
    uint64_t value;
    const char *text;
} lies[] = {
    {"work-groups of 0", CL_DEVICE_MAX_WORK_GROUP_SIZE, NUMBER, 0, NULL},
    {"work-groups of 1", CL_DEVICE_MAX_WORK_GROUP_SIZE, NUMBER, 1, NULL},
    {"work-groups of 2^64 - 1", CL_DEVICE_MAX_WORK_GROUP_SIZE, NUMBER, UINT64_MAX, NULL},
    {"no memory", CL_DEVICE_GLOBAL_MEM_SIZE, NUMBER, 0, NULL},
    {"one byte of memory", CL_DEVICE_GLOBAL_MEM_SIZE, NUMBER, 1, NULL},
    {"2^63 bytes of memory", CL_DEVICE_GLOBAL_MEM_SIZE, NUMBER, (uint64_t)1 << 63, NULL},
    {"2^64 - 1 bytes of memory", CL_DEVICE_GLOBAL_MEM_SIZE, NUMBER, UINT64_MAX, NULL},
    {"allocations of 0", CL_DEVICE_MAX_MEM_ALLOC_SIZE, NUMBER, 0, NULL},
    {"allocations of 64 bytes", CL_DEVICE_MAX_MEM_ALLOC_SIZE, NUMBER, 64, NULL},
    {"allocations of 2^63", CL_DEVICE_MAX_MEM_ALLOC_SIZE, NUMBER, (uint64_t)1 << 63, NULL},
    {"no local memory", CL_DEVICE_LOCAL_MEM_SIZE, NUMBER, 0, NULL},
    {"2^63 bytes of local memory", CL_DEVICE_LOCAL_MEM_SIZE, NUMBER, (uint64_t)1 << 63, NULL},
    {"no compute units", CL_DEVICE_MAX_COMPUTE_UNITS, NUMBER, 0, NULL},
    {"2^32 - 1 compute units", CL_DEVICE_MAX_COMPUTE_UNITS, NUMBER, UINT32_MAX, NULL},
    {"alignment 0", CL_DEVICE_MEM_BASE_ADDR_ALIGN, NUMBER, 0, NULL},
    {"alignment 2^32 - 1", CL_DEVICE_MEM_BASE_ADDR_ALIGN, NUMBER, UINT32_MAX, NULL},
    {"no type", CL_DEVICE_TYPE, NUMBER, 0, NULL},
    {"all types", CL_DEVICE_TYPE, NUMBER, UINT64_MAX, NULL},
    {"a GPU", CL_DEVICE_TYPE, NUMBER, CL_DEVICE_TYPE_GPU, NULL},
    {"an accelerator", CL_DEVICE_TYPE, NUMBER, CL_DEVICE_TYPE_ACCELERATOR, NULL},
    {"not available", CL_DEVICE_AVAILABLE, NUMBER, 0, NULL},
    {"no compiler", CL_DEVICE_COMPILER_AVAILABLE, NUMBER, 0, NULL},
    {"no name", CL_DEVICE_NAME, TEXT, 0, ""},
    {"a name of blanks", CL_DEVICE_NAME, TEXT, 0, "      "},
    {"a name that is no UTF-8", CL_DEVICE_NAME, TEXT, 0, "\xff\xfe\x80%n%s"},
    {"a name of a megabyte", CL_DEVICE_NAME, LONG, 1 << 20, NULL},
    {"a name without end", CL_DEVICE_NAME, BARE, 0, NULL},
    {"a name of 2^64 - 1 bytes", CL_DEVICE_NAME, SIZE, UINT64_MAX, NULL},
    {"a name of 0 bytes", CL_DEVICE_NAME, SIZE, 0, NULL},
    {"a name that grows", CL_DEVICE_NAME, GROWS, 0, NULL},
    {"no vendor", CL_DEVICE_VENDOR, TEXT, 0, ""},
    {"no driver", CL_DRIVER_VERSION, TEXT, 0, ""},
    {"a driver of a megabyte", CL_DRIVER_VERSION, LONG, 1 << 20, NULL},
    {"no version", CL_DEVICE_VERSION, TEXT, 0, ""},
    {"a version that is none", CL_DEVICE_VERSION, TEXT, 0, "OpenCL -1.x"},
    {"OpenCL 1.0", CL_DEVICE_VERSION, TEXT, 0, "OpenCL 1.0 "},
    {"no extensions", CL_DEVICE_EXTENSIONS, TEXT, 0, ""},
    {"extensions of a megabyte", CL_DEVICE_EXTENSIONS, LONG, 1 << 20, NULL},
    {"extensions without end", CL_DEVICE_EXTENSIONS, BARE, 0, NULL},
    {"extensions of 2^64 - 1 bytes", CL_DEVICE_EXTENSIONS, SIZE, UINT64_MAX, NULL},
    {"extensions that grow", CL_DEVICE_EXTENSIONS, GROWS, 0, NULL},
    {"all extensions", CL_DEVICE_EXTENSIONS, TEXT, 0,
     "cl_khr_fp16 cl_khr_fp64 cl_khr_integer_dot_product cl_khr_subgroups"},
    {"nothing about memory", CL_DEVICE_GLOBAL_MEM_SIZE, NOTHING, 0, NULL},
    {"nothing about work-groups", CL_DEVICE_MAX_WORK_GROUP_SIZE, NOTHING, 0, NULL},
};

static atomic_int current = -1;
static atomic_long told;

const char *fault_lie(int number)
{
    const int known = (int)(sizeof lies / sizeof lies[0]);
    atomic_store(&current, number < known ? number : -1);
    atomic_store(&told, 0);
    return number >= 0 && number < known ? lies[number].what : NULL;
}

long fault_lies_told(void)
{
    return atomic_load(&told);
}

/* A text of `length` bytes with its end: `text` over and over. */
static cl_int give(const char *text, size_t length, size_t size, char *value, size_t *needed)
{
    if (needed != NULL) *needed = length;
    if (value == NULL) return CL_SUCCESS;
    if (size < length) return CL_INVALID_VALUE;
    const size_t period = strlen(text);
    for (size_t i = 0; i + 1 < length; i++) value[i] = text[i % period];
    if (length > 0) value[length - 1] = '\0';
    return CL_SUCCESS;
}

cl_int fault_device_info(cl_device_id device, cl_device_info what, size_t size, void *value,
                         size_t *needed)
{
    const int number = atomic_load(&current);
    const struct lie *lie = number < 0 ? NULL : &lies[number];
    if (lie == NULL || lie->about != what)
        return fault_next->clGetDeviceInfo(device, what, size, value, needed);
    atomic_fetch_add(&told, 1);
    size_t full = 0;
    cl_int code = CL_SUCCESS;
    switch (lie->kind) {
    case NUMBER:
        code = fault_next->clGetDeviceInfo(device, what, size, value, &full);
        if (code == CL_SUCCESS && value != NULL) memcpy(value, &lie->value, full);
        break;
    case TEXT:
        return give(lie->text, strlen(lie->text) + 1, size, value, needed);
    case LONG:
        return give("A long word ", (size_t)lie->value, size, value, needed);
    case SIZE:
        code = fault_next->clGetDeviceInfo(device, what, size, value, NULL);
        full = (size_t)lie->value;
        break;
    case BARE:
        full = 64;
        if (value != NULL) memset(value, 'x', size < full ? size : full);
        break;
    case NOTHING:
        break;
    case GROWS:
        code = fault_next->clGetDeviceInfo(device, what, 0, NULL, &full);
        if (value != NULL) return CL_INVALID_VALUE;
        break;
    }
    if (needed != NULL) *needed = full;
    return code;
}
