/* A fake OpenCL driver for tests of threads: platform, devices, contexts, buffers. A list of
 * drivers with this one alone: OCL_ICD_VENDORS=FOLDER with one .icd file that names it. With
 * OCLORA_FAKE_CPU its devices are CPUs. */
#include "fake_cl.h"

#include <stdlib.h>
#include <string.h>

cl_icd_dispatch fake_dispatch;
atomic_long fake_live;

static struct _cl_platform_id platform = {&fake_dispatch};
static struct _cl_device_id devices[FAKE_DEVICES] = {{&fake_dispatch, 0}, {&fake_dispatch, 1}};
static pthread_mutex_t mems_mutex = PTHREAD_MUTEX_INITIALIZER;
static cl_mem mems;

/* What is left over when a test is done; found with dlsym. */
__attribute__((visibility("default"))) long fake_cl_live_objects(void);
long fake_cl_live_objects(void)
{
    return atomic_load(&fake_live);
}

void *fake_new(size_t size)
{
    fake_object *object = calloc(1, size);
    object->dispatch = &fake_dispatch;
    atomic_init(&object->references, 1);
    atomic_fetch_add(&fake_live, 1);
    return object;
}

bool fake_drop(fake_object *object)
{
    if (atomic_fetch_sub(&object->references, 1) != 1) return false;
    atomic_fetch_sub(&fake_live, 1);
    return true;
}

/* A CPU, of a platform on which chains run. */
static bool fake_is_cpu(void)
{
    return getenv("OCLORA_FAKE_CPU") != NULL;
}

cl_int fake_answer(const void *value, size_t bytes, size_t size, void *out, size_t *size_ret)
{
    if (size_ret != NULL) *size_ret = bytes;
    if (out == NULL) return CL_SUCCESS;
    if (size < bytes) return CL_INVALID_VALUE;
    memcpy(out, value, bytes);
    return CL_SUCCESS;
}

cl_int fake_text(const char *value, size_t size, void *out, size_t *size_ret)
{
    return fake_answer(value, strlen(value) + 1, size, out, size_ret);
}

static cl_int CL_API_CALL platform_ids(cl_uint room, cl_platform_id *out, cl_uint *count)
{
    if (count != NULL) *count = 1;
    if (out != NULL && room > 0) out[0] = &platform;
    return CL_SUCCESS;
}

static cl_int CL_API_CALL platform_info(cl_platform_id id, cl_platform_info what, size_t size,
                                        void *out, size_t *size_ret)
{
    (void)id;
    switch (what) {
    case CL_PLATFORM_NAME:
        return fake_text(fake_is_cpu() ? "Intel(R) OpenCL" : "Fake", size, out, size_ret);
    case CL_PLATFORM_VERSION:
        return fake_text("OpenCL 1.2 fake", size, out, size_ret);
    case CL_PLATFORM_PROFILE:
        return fake_text("FULL_PROFILE", size, out, size_ret);
    case CL_PLATFORM_EXTENSIONS:
        return fake_text("cl_khr_icd", size, out, size_ret);
    case CL_PLATFORM_ICD_SUFFIX_KHR:
        return fake_text("FAKE", size, out, size_ret);
    default:
        return fake_text("tests", size, out, size_ret);
    }
}

static cl_int CL_API_CALL device_ids(cl_platform_id id, cl_device_type type, cl_uint room,
                                     cl_device_id *out, cl_uint *count)
{
    (void)id;
    (void)type;
    if (count != NULL) *count = FAKE_DEVICES;
    for (cl_uint i = 0; out != NULL && i < room && i < FAKE_DEVICES; i++) out[i] = &devices[i];
    return CL_SUCCESS;
}

static cl_int CL_API_CALL device_info(cl_device_id device, cl_device_info what, size_t size,
                                      void *out, size_t *size_ret)
{
    const cl_device_type type = fake_is_cpu() ? CL_DEVICE_TYPE_CPU : CL_DEVICE_TYPE_GPU;
    const cl_ulong memory = (cl_ulong)1 << 30;
    const cl_ulong none = 0;
    const cl_uint yes = CL_TRUE, units = 4, align = 1024, vendor = 0xfa;
    const size_t group = 256;
    const cl_platform_id owner = &platform;
    switch (what) {
    case CL_DEVICE_NAME:
        return fake_text(device->number == 0 ? "first" : "second", size, out, size_ret);
    case CL_DEVICE_VENDOR:
        return fake_text("tests", size, out, size_ret);
    case CL_DRIVER_VERSION:
        return fake_text("1.0", size, out, size_ret);
    case CL_DEVICE_VERSION:
    case CL_DEVICE_OPENCL_C_VERSION:
        return fake_text("OpenCL 1.2 fake", size, out, size_ret);
    case CL_DEVICE_EXTENSIONS:
        return fake_text("cl_khr_fp16", size, out, size_ret);
    case CL_DEVICE_PLATFORM:
        return fake_answer(&owner, sizeof owner, size, out, size_ret);
    case CL_DEVICE_TYPE:
        return fake_answer(&type, sizeof type, size, out, size_ret);
    case CL_DEVICE_GLOBAL_MEM_SIZE:
    case CL_DEVICE_MAX_MEM_ALLOC_SIZE:
        return fake_answer(&memory, sizeof memory, size, out, size_ret);
    case CL_DEVICE_LOCAL_MEM_SIZE:
        return fake_answer(&(cl_ulong){32768}, sizeof memory, size, out, size_ret);
    case CL_DEVICE_MAX_WORK_GROUP_SIZE:
        return fake_answer(&group, sizeof group, size, out, size_ret);
    case CL_DEVICE_MAX_COMPUTE_UNITS:
        return fake_answer(&units, sizeof units, size, out, size_ret);
    case CL_DEVICE_MEM_BASE_ADDR_ALIGN:
        return fake_answer(&align, sizeof align, size, out, size_ret);
    case CL_DEVICE_VENDOR_ID:
        return fake_answer(&vendor, sizeof vendor, size, out, size_ret);
    case CL_DEVICE_AVAILABLE:
    case CL_DEVICE_COMPILER_AVAILABLE:
        return fake_answer(&yes, sizeof yes, size, out, size_ret);
    case CL_DEVICE_QUEUE_PROPERTIES:
    case CL_DEVICE_SVM_CAPABILITIES:
        return fake_answer(&none, sizeof none, size, out, size_ret);
    default:
        return CL_INVALID_VALUE;
    }
}

static cl_context CL_API_CALL create_context(
    const cl_context_properties *properties, cl_uint count, const cl_device_id *list,
    void(CL_CALLBACK *notify)(const char *, const void *, size_t, void *), void *user, cl_int *code)
{
    (void)properties;
    (void)notify;
    (void)user;
    if (code != NULL) *code = count == 1 ? CL_SUCCESS : CL_INVALID_VALUE;
    if (count != 1) return NULL;
    cl_context context = fake_new(sizeof *context);
    context->device = list[0];
    return context;
}

static cl_int CL_API_CALL retain_context(cl_context context)
{
    atomic_fetch_add(&context->object.references, 1);
    return CL_SUCCESS;
}

static cl_int CL_API_CALL release_context(cl_context context)
{
    if (fake_drop(&context->object)) free(context);
    return CL_SUCCESS;
}

static cl_int CL_API_CALL context_info(cl_context context, cl_context_info what, size_t size,
                                       void *out, size_t *size_ret)
{
    if (what != CL_CONTEXT_DEVICES) return CL_INVALID_VALUE;
    return fake_answer(&context->device, sizeof context->device, size, out, size_ret);
}

static cl_mem CL_API_CALL create_buffer(cl_context context, cl_mem_flags flags, size_t bytes,
                                        void *host, cl_int *code)
{
    (void)flags;
    (void)host;
    unsigned char *data = bytes > 0 ? calloc(1, bytes) : NULL;
    if (code != NULL) *code = data != NULL ? CL_SUCCESS : CL_MEM_OBJECT_ALLOCATION_FAILURE;
    if (data == NULL) return NULL;
    cl_mem mem = fake_new(sizeof *mem);
    mem->context = context;
    mem->bytes = bytes;
    mem->data = data;
    retain_context(context);
    pthread_mutex_lock(&mems_mutex);
    mem->next = mems;
    mems = mem;
    pthread_mutex_unlock(&mems_mutex);
    return mem;
}

bool fake_is_mem(const void *value)
{
    pthread_mutex_lock(&mems_mutex);
    const struct _cl_mem *at = mems;
    while (at != NULL && at != value) at = at->next;
    pthread_mutex_unlock(&mems_mutex);
    return at != NULL;
}

void fake_retain_mem(cl_mem mem)
{
    atomic_fetch_add(&mem->object.references, 1);
}

void fake_release_mem(cl_mem mem)
{
    if (!fake_drop(&mem->object)) return;
    pthread_mutex_lock(&mems_mutex);
    cl_mem *at = &mems;
    while (*at != mem) at = &(*at)->next;
    *at = mem->next;
    pthread_mutex_unlock(&mems_mutex);
    release_context(mem->context);
    free(mem->data);
    free(mem);
}

static cl_int CL_API_CALL retain_mem(cl_mem mem)
{
    fake_retain_mem(mem);
    return CL_SUCCESS;
}

static cl_int CL_API_CALL release_mem(cl_mem mem)
{
    fake_release_mem(mem);
    return CL_SUCCESS;
}

static cl_int CL_API_CALL mem_info(cl_mem mem, cl_mem_info what, size_t size, void *out,
                                   size_t *size_ret)
{
    if (what == CL_MEM_CONTEXT)
        return fake_answer(&mem->context, sizeof mem->context, size, out, size_ret);
    if (what == CL_MEM_SIZE)
        return fake_answer(&mem->bytes, sizeof mem->bytes, size, out, size_ret);
    return CL_INVALID_VALUE;
}

__attribute__((constructor)) static void fill(void)
{
    cl_icd_dispatch *d = &fake_dispatch;
    d->clGetPlatformIDs = platform_ids;
    d->clGetPlatformInfo = platform_info;
    d->clGetDeviceIDs = device_ids;
    d->clGetDeviceInfo = device_info;
    d->clCreateContext = create_context;
    d->clRetainContext = retain_context;
    d->clReleaseContext = release_context;
    d->clGetContextInfo = context_info;
    d->clCreateBuffer = create_buffer;
    d->clRetainMemObject = retain_mem;
    d->clReleaseMemObject = release_mem;
    d->clGetMemObjectInfo = mem_info;
    fake_program_calls(d);
    fake_queue_calls(d);
}

/* What the loader looks for in a driver. */
CL_API_ENTRY cl_int CL_API_CALL clIcdGetPlatformIDsKHR(cl_uint room, cl_platform_id *out,
                                                       cl_uint *count)
{
    return platform_ids(room, out, count);
}
CL_API_ENTRY cl_int CL_API_CALL clGetPlatformInfo(cl_platform_id id, cl_platform_info what,
                                                  size_t size, void *out, size_t *size_ret)
{
    return platform_info(id, what, size, out, size_ret);
}
CL_API_ENTRY void *CL_API_CALL clGetExtensionFunctionAddress(const char *name)
{
    cl_int(CL_API_CALL * function)(cl_uint, cl_platform_id *, cl_uint *) = clIcdGetPlatformIDsKHR;
    void *address = NULL;
    if (strcmp(name, "clIcdGetPlatformIDsKHR") == 0) memcpy(&address, &function, sizeof address);
    return address;
}
