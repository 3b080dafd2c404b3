/* An OpenCL layer (OPENCL_LAYERS) that makes calls fail at will and counts objects. It sits between
 * the loader and every driver, so that the library under test is the real one. Controlled by the
 * functions of layer.h from within the same process. */
#include "layer.h"

#include <CL/cl_layer.h>
#include <stdatomic.h>
#include <string.h>

static const cl_icd_dispatch *next;
static cl_icd_dispatch own;
static atomic_long calls, fail_at, failures, live;
static atomic_int fail_code, sticky, armed;
static const char *_Atomic last;

void fault_arm(long n, int code, int from_then_on)
{
    atomic_store(&fail_at, n);
    atomic_store(&fail_code, code);
    atomic_store(&sticky, from_then_on);
    atomic_store(&calls, 0);
    atomic_store(&failures, 0);
    atomic_store(&armed, 1);
}

void fault_disarm(void)
{
    atomic_store(&armed, 0);
}
long fault_calls(void)
{
    return atomic_load(&calls);
}
long fault_failures(void)
{
    return atomic_load(&failures);
}
long fault_live_objects(void)
{
    return atomic_load(&live);
}
const char *fault_last(void)
{
    return atomic_load(&last);
}

static int hit(const char *name)
{
    if (!atomic_load(&armed)) return 0;
    const long n = atomic_fetch_add(&calls, 1) + 1, at = atomic_load(&fail_at);
    if (n != at && !(atomic_load(&sticky) && n > at)) return 0;
    if (atomic_fetch_add(&failures, 1) == 0) atomic_store(&last, name);
    return 1;
}

/* Calls that give a status. */
#define STATUS(name, parameters, arguments)                                                        \
    static cl_int CL_API_CALL my_##name parameters                                                 \
    {                                                                                              \
        if (hit(#name)) return atomic_load(&fail_code);                                            \
        return next->name arguments;                                                               \
    }
/* Calls that give an object and a status by pointer `e`. */
#define OBJECT(type, name, parameters, arguments)                                                  \
    static type CL_API_CALL my_##name parameters                                                   \
    {                                                                                              \
        if (hit(#name)) {                                                                          \
            if (e != NULL) *e = atomic_load(&fail_code);                                           \
            return NULL;                                                                           \
        }                                                                                          \
        type made = next->name arguments;                                                          \
        if (made != NULL) atomic_fetch_add(&live, 1);                                              \
        return made;                                                                               \
    }
/* Releases and retains never fail here; they count. */
#define COUNT(name, type, by)                                                                      \
    static cl_int CL_API_CALL my_##name(type object)                                               \
    {                                                                                              \
        atomic_fetch_add(&live, by);                                                               \
        return next->name(object);                                                                 \
    }

typedef void(CL_CALLBACK *notify)(const char *, const void *, size_t, void *);
typedef void(CL_CALLBACK *built)(cl_program, void *);

OBJECT(cl_context, clCreateContext,
       (const cl_context_properties *p, cl_uint n, const cl_device_id *d, notify f, void *u,
        cl_int *e),
       (p, n, d, f, u, e))
OBJECT(cl_command_queue, clCreateCommandQueue,
       (cl_context c, cl_device_id d, cl_command_queue_properties p, cl_int *e), (c, d, p, e))
OBJECT(cl_mem, clCreateBuffer, (cl_context c, cl_mem_flags f, size_t s, void *h, cl_int *e),
       (c, f, s, h, e))
OBJECT(cl_program, clCreateProgramWithSource,
       (cl_context c, cl_uint n, const char **s, const size_t *l, cl_int *e), (c, n, s, l, e))
OBJECT(cl_program, clCreateProgramWithBinary,
       (cl_context c, cl_uint n, const cl_device_id *d, const size_t *l, const unsigned char **b,
        cl_int *s, cl_int *e),
       (c, n, d, l, b, s, e))
OBJECT(cl_kernel, clCreateKernel, (cl_program p, const char *k, cl_int *e), (p, k, e))

STATUS(clGetDeviceIDs, (cl_platform_id p, cl_device_type t, cl_uint n, cl_device_id *d, cl_uint *r),
       (p, t, n, d, r))
STATUS(clGetDeviceInfo, (cl_device_id d, cl_device_info i, size_t s, void *v, size_t *r),
       (d, i, s, v, r))
STATUS(clGetContextInfo, (cl_context c, cl_context_info i, size_t s, void *v, size_t *r),
       (c, i, s, v, r))
STATUS(clGetMemObjectInfo, (cl_mem m, cl_mem_info i, size_t s, void *v, size_t *r), (m, i, s, v, r))
STATUS(clGetProgramInfo, (cl_program p, cl_program_info i, size_t s, void *v, size_t *r),
       (p, i, s, v, r))
STATUS(clGetProgramBuildInfo,
       (cl_program p, cl_device_id d, cl_program_build_info i, size_t s, void *v, size_t *r),
       (p, d, i, s, v, r))
STATUS(clBuildProgram,
       (cl_program p, cl_uint n, const cl_device_id *d, const char *o, built f, void *u),
       (p, n, d, o, f, u))
STATUS(clSetKernelArg, (cl_kernel k, cl_uint i, size_t s, const void *v), (k, i, s, v))
STATUS(clFlush, (cl_command_queue q), (q))
STATUS(clFinish, (cl_command_queue q), (q))
STATUS(clWaitForEvents, (cl_uint n, const cl_event *w), (n, w))

/* Enqueues make an event where the caller asks for one. */
#define ENQUEUE(name, parameters, arguments)                                                       \
    static cl_int CL_API_CALL my_##name parameters                                                 \
    {                                                                                              \
        if (hit(#name)) return atomic_load(&fail_code);                                            \
        const cl_int code = next->name arguments;                                                  \
        if (code == CL_SUCCESS && e != NULL) atomic_fetch_add(&live, 1);                           \
        return code;                                                                               \
    }
ENQUEUE(clEnqueueNDRangeKernel,
        (cl_command_queue q, cl_kernel k, cl_uint d, const size_t *o, const size_t *g,
         const size_t *l, cl_uint n, const cl_event *w, cl_event *e),
        (q, k, d, o, g, l, n, w, e))
ENQUEUE(clEnqueueWriteBuffer,
        (cl_command_queue q, cl_mem m, cl_bool b, size_t o, size_t s, const void *p, cl_uint n,
         const cl_event *w, cl_event *e),
        (q, m, b, o, s, p, n, w, e))
ENQUEUE(clEnqueueReadBuffer,
        (cl_command_queue q, cl_mem m, cl_bool b, size_t o, size_t s, void *p, cl_uint n,
         const cl_event *w, cl_event *e),
        (q, m, b, o, s, p, n, w, e))
ENQUEUE(clEnqueueCopyBuffer,
        (cl_command_queue q, cl_mem a, cl_mem b, size_t x, size_t y, size_t s, cl_uint n,
         const cl_event *w, cl_event *e),
        (q, a, b, x, y, s, n, w, e))
ENQUEUE(clEnqueueFillBuffer,
        (cl_command_queue q, cl_mem m, const void *p, size_t t, size_t o, size_t s, cl_uint n,
         const cl_event *w, cl_event *e),
        (q, m, p, t, o, s, n, w, e))
ENQUEUE(clEnqueueMarkerWithWaitList,
        (cl_command_queue q, cl_uint n, const cl_event *w, cl_event *e), (q, n, w, e))
ENQUEUE(clEnqueueBarrierWithWaitList,
        (cl_command_queue q, cl_uint n, const cl_event *w, cl_event *e), (q, n, w, e))

/* The error of work that failed after it was enqueued arrives here. */
static cl_int CL_API_CALL my_clGetEventInfo(cl_event event, cl_event_info i, size_t s, void *v,
                                            size_t *r)
{
    const cl_int code = next->clGetEventInfo(event, i, s, v, r);
    if (i != CL_EVENT_COMMAND_EXECUTION_STATUS || v == NULL || !hit("clGetEventInfo")) return code;
    const cl_int failed = atomic_load(&fail_code);
    memcpy(v, &failed, sizeof failed);
    return code;
}

COUNT(clRetainContext, cl_context, 1)
COUNT(clReleaseContext, cl_context, -1)
COUNT(clRetainCommandQueue, cl_command_queue, 1)
COUNT(clReleaseCommandQueue, cl_command_queue, -1)
COUNT(clRetainMemObject, cl_mem, 1)
COUNT(clReleaseMemObject, cl_mem, -1)
COUNT(clReleaseProgram, cl_program, -1)
COUNT(clReleaseKernel, cl_kernel, -1)
COUNT(clReleaseEvent, cl_event, -1)

CL_API_ENTRY cl_int CL_API_CALL clGetLayerInfo(cl_layer_info name, size_t size, void *value,
                                               size_t *size_ret)
{
    if (name != CL_LAYER_API_VERSION) return CL_INVALID_VALUE;
    const cl_layer_api_version version = CL_LAYER_API_VERSION_100;
    if (value != NULL && size < sizeof version) return CL_INVALID_VALUE;
    if (value != NULL) memcpy(value, &version, sizeof version);
    if (size_ret != NULL) *size_ret = sizeof version;
    return CL_SUCCESS;
}

#define TAKE(name) own.name = my_##name
CL_API_ENTRY cl_int CL_API_CALL clInitLayer(cl_uint count, const cl_icd_dispatch *target,
                                            cl_uint *count_ret, const cl_icd_dispatch **layer)
{
    const size_t room = sizeof own / sizeof(void *);
    const size_t taken = count < room ? count : room;
    next = target;
    memcpy(&own, target, taken * sizeof(void *));
    TAKE(clCreateContext), TAKE(clCreateCommandQueue), TAKE(clCreateBuffer);
    TAKE(clCreateProgramWithSource), TAKE(clCreateProgramWithBinary), TAKE(clCreateKernel);
    TAKE(clGetDeviceIDs), TAKE(clGetDeviceInfo), TAKE(clGetContextInfo), TAKE(clGetMemObjectInfo);
    TAKE(clGetProgramInfo), TAKE(clGetProgramBuildInfo), TAKE(clBuildProgram), TAKE(clSetKernelArg);
    TAKE(clFlush), TAKE(clFinish), TAKE(clWaitForEvents), TAKE(clGetEventInfo);
    TAKE(clEnqueueNDRangeKernel), TAKE(clEnqueueWriteBuffer), TAKE(clEnqueueReadBuffer);
    TAKE(clEnqueueCopyBuffer), TAKE(clEnqueueFillBuffer), TAKE(clEnqueueMarkerWithWaitList);
    TAKE(clEnqueueBarrierWithWaitList);
    TAKE(clRetainContext), TAKE(clReleaseContext), TAKE(clRetainCommandQueue);
    TAKE(clReleaseCommandQueue), TAKE(clRetainMemObject), TAKE(clReleaseMemObject);
    TAKE(clReleaseProgram), TAKE(clReleaseKernel), TAKE(clReleaseEvent);
    *count_ret = (cl_uint)taken;
    *layer = &own;
    return CL_SUCCESS;
}
