/* An OpenCL layer (OPENCL_LAYERS) that makes calls fail at will and counts objects. It sits between
 * the loader and every driver, so that the library under test is the real one. Controlled by the
 * table of layer.h from within the same process. What fails is decided in layer_plan.c. */
#include "layer_private.h"

#include <string.h>

const cl_icd_dispatch *fault_next;
static cl_icd_dispatch own;
#define next fault_next

/* Calls that give a status. */
#define STATUS(name, parameters, arguments)                                                        \
    static cl_int CL_API_CALL my_##name parameters                                                 \
    {                                                                                              \
        if (fault_hits(FAULT_CALL, #name)) return fault_code();                                    \
        return next->name arguments;                                                               \
    }
/* Calls that give an object and a status by pointer `e`; `make` makes it. */
#define OBJECT(type, name, parameters, make)                                                       \
    static type CL_API_CALL my_##name parameters                                                   \
    {                                                                                              \
        if (fault_hits(FAULT_CALL, #name)) {                                                       \
            if (e != NULL) *e = fault_code();                                                      \
            return NULL;                                                                           \
        }                                                                                          \
        type made = make;                                                                          \
        if (made != NULL) fault_count(1);                                                          \
        return made;                                                                               \
    }
/* A retain that fails holds nothing; a release that fails has released, or nothing could be
 * counted. */
#define RETAIN(name, type)                                                                         \
    static cl_int CL_API_CALL my_##name(type object)                                               \
    {                                                                                              \
        if (fault_hits(FAULT_CALL, #name)) return fault_code();                                    \
        fault_count(1);                                                                            \
        return next->name(object);                                                                 \
    }
#define RELEASE(name, type, release)                                                               \
    static cl_int CL_API_CALL my_##name(type object)                                               \
    {                                                                                              \
        const int hit = fault_hits_release(#name);                                                 \
        fault_count(-1);                                                                           \
        const cl_int code = release(object);                                                       \
        return hit ? fault_code() : code;                                                          \
    }

typedef void(CL_CALLBACK *notify)(const char *, const void *, size_t, void *);
typedef void(CL_CALLBACK *built)(cl_program, void *);

OBJECT(cl_context, clCreateContext,
       (const cl_context_properties *p, cl_uint n, const cl_device_id *d, notify f, void *u,
        cl_int *e),
       n == 1 ? fault_context(p, *d, e) : next->clCreateContext(p, n, d, f, u, e))
OBJECT(cl_command_queue, clCreateCommandQueue,
       (cl_context c, cl_device_id d, cl_command_queue_properties p, cl_int *e),
       next->clCreateCommandQueue(c, d, p, e))
OBJECT(cl_program, clCreateProgramWithSource,
       (cl_context c, cl_uint n, const char **s, const size_t *l, cl_int *e),
       fault_program_of_source(c, n, s, l, e))
OBJECT(cl_program, clCreateProgramWithBinary,
       (cl_context c, cl_uint n, const cl_device_id *d, const size_t *l, const unsigned char **b,
        cl_int *s, cl_int *e),
       n == 1 ? fault_program_of_binary(c, *d, *l, *b, s, e) : NULL)
OBJECT(cl_kernel, clCreateKernel, (cl_program p, const char *k, cl_int *e),
       next->clCreateKernel(fault_program_real(p), k, e))

static cl_mem CL_API_CALL my_clCreateBuffer(cl_context c, cl_mem_flags f, size_t s, void *h,
                                            cl_int *e)
{
    if (fault_hits(FAULT_CALL, "clCreateBuffer")) {
        if (e != NULL) *e = fault_code();
        return NULL;
    }
    cl_mem made = next->clCreateBuffer(c, f, s, h, e);
    if (made != NULL) fault_count(1);
    fault_buffer_made(made, fault_hits(FAULT_HOLLOW, "clCreateBuffer"));
    return made;
}

STATUS(clGetPlatformIDs, (cl_uint n, cl_platform_id *p, cl_uint *r), (n, p, r))
STATUS(clGetPlatformInfo, (cl_platform_id p, cl_platform_info i, size_t s, void *v, size_t *r),
       (p, i, s, v, r))
STATUS(clGetDeviceIDs, (cl_platform_id p, cl_device_type t, cl_uint n, cl_device_id *d, cl_uint *r),
       (p, t, n, d, r))
STATUS(clGetContextInfo, (cl_context c, cl_context_info i, size_t s, void *v, size_t *r),
       (c, i, s, v, r))
STATUS(clGetCommandQueueInfo,
       (cl_command_queue q, cl_command_queue_info i, size_t s, void *v, size_t *r), (q, i, s, v, r))
STATUS(clGetMemObjectInfo, (cl_mem m, cl_mem_info i, size_t s, void *v, size_t *r), (m, i, s, v, r))
STATUS(clGetProgramInfo, (cl_program p, cl_program_info i, size_t s, void *v, size_t *r),
       (fault_program_real(p), i, s, v, r))
STATUS(clGetProgramBuildInfo,
       (cl_program p, cl_device_id d, cl_program_build_info i, size_t s, void *v, size_t *r),
       (fault_program_real(p), d, i, s, v, r))
STATUS(clFlush, (cl_command_queue q), (q))

static cl_int CL_API_CALL my_clBuildProgram(cl_program p, cl_uint n, const cl_device_id *d,
                                            const char *o, built f, void *u)
{
    (void)u;
    if (fault_hits(FAULT_CALL, "clBuildProgram")) return fault_code();
    return n == 1 && f == NULL ? fault_program_build(p, d, o) : CL_INVALID_OPERATION;
}

static cl_int CL_API_CALL my_clCompileProgram(cl_program p, cl_uint n, const cl_device_id *d,
                                              const char *o, cl_uint h, const cl_program *hp,
                                              const char **hn, built f, void *u)
{
    (void)hp, (void)hn, (void)u;
    if (fault_hits(FAULT_CALL, "clCompileProgram")) return fault_code();
    return n == 1 && h == 0 && f == NULL ? fault_program_compile(p, d, o) : CL_INVALID_OPERATION;
}

OBJECT(cl_program, clLinkProgram,
       (cl_context c, cl_uint n, const cl_device_id *d, const char *o, cl_uint k,
        const cl_program *p, built f, void *u, cl_int *e),
       n == 1 && f == NULL && u == NULL ? fault_program_link(c, d, o, k, p, e) : NULL)

static cl_int CL_API_CALL my_clGetDeviceInfo(cl_device_id d, cl_device_info i, size_t s, void *v,
                                             size_t *r)
{
    if (fault_hits(FAULT_CALL, "clGetDeviceInfo")) return fault_code();
    return fault_device_info(d, i, s, v, r);
}

static cl_int CL_API_CALL my_clSetKernelArg(cl_kernel k, cl_uint i, size_t s, const void *v)
{
    if (fault_hits(FAULT_CALL, "clSetKernelArg")) return fault_code();
    fault_argument_set(k, i, s, v);
    return next->clSetKernelArg(k, i, s, v);
}

/* A clFinish that fails has waited all the same: nobody can free memory after one that has not. */
static cl_int CL_API_CALL my_clFinish(cl_command_queue q)
{
    const int hit = fault_hits(FAULT_CALL, "clFinish");
    const cl_int code = next->clFinish(q), late = fault_waited(q);
    return hit ? fault_code() : late ? late : code;
}

static cl_int CL_API_CALL my_clWaitForEvents(cl_uint n, const cl_event *w)
{
    if (fault_hits(FAULT_CALL, "clWaitForEvents")) return fault_code();
    const cl_int code = next->clWaitForEvents(n, w);
    return fault_failed_events(n, w) ? CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST : code;
}

/* Work: the hit one is left out, refused, or never ends; its event, if any, tells of it. */
static cl_int enqueued(cl_command_queue q, cl_int code, cl_event *e)
{
    if (code == CL_SUCCESS && e != NULL) {
        fault_count(1);
        fault_event_made(q, *e);
    }
    return code;
}

/* A call that was left out still gives the event that it owes. */
static cl_int left_out(cl_command_queue q, cl_event *e)
{
    if (e == NULL) return CL_SUCCESS;
    return enqueued(q, next->clEnqueueMarkerWithWaitList(q, 0, NULL, e), e);
}

#define WORK(name, uses, parameters, arguments)                                                    \
    static cl_int CL_API_CALL my_##name parameters                                                 \
    {                                                                                              \
        if (fault_hits(FAULT_CALL, #name) || (uses)) return fault_code();                          \
        if (fault_leaves_out(q, #name)) return left_out(q, e);                                     \
        return enqueued(q, next->name arguments, e);                                               \
    }
WORK(clEnqueueCopyBuffer, fault_is_hollow(a) || fault_is_hollow(b),
     (cl_command_queue q, cl_mem a, cl_mem b, size_t x, size_t y, size_t s, cl_uint n,
      const cl_event *w, cl_event *e),
     (q, a, b, x, y, s, n, w, e))
WORK(clEnqueueFillBuffer, fault_is_hollow(m),
     (cl_command_queue q, cl_mem m, const void *p, size_t t, size_t o, size_t s, cl_uint n,
      const cl_event *w, cl_event *e),
     (q, m, p, t, o, s, n, w, e))

static cl_int CL_API_CALL my_clEnqueueNDRangeKernel(cl_command_queue q, cl_kernel k, cl_uint d,
                                                    const size_t *o, const size_t *g,
                                                    const size_t *l, cl_uint n, const cl_event *w,
                                                    cl_event *e)
{
    if (fault_hits(FAULT_CALL, "clEnqueueNDRangeKernel") || fault_uses_hollow(k))
        return fault_code();
    if (fault_leaves_out(q, "clEnqueueNDRangeKernel")) return left_out(q, e);
    cl_event gate = fault_gate(q);
    if (gate == NULL)
        return enqueued(q, next->clEnqueueNDRangeKernel(q, k, d, o, g, l, n, w, e), e);
    return enqueued(q, next->clEnqueueNDRangeKernel(q, k, d, o, g, l, 1, &gate, e), e);
}

static cl_int CL_API_CALL my_clEnqueueWriteBuffer(cl_command_queue q, cl_mem m, cl_bool b, size_t o,
                                                  size_t s, const void *p, cl_uint n,
                                                  const cl_event *w, cl_event *e)
{
    if (fault_hits(FAULT_CALL, "clEnqueueWriteBuffer") || fault_is_hollow(m)) return fault_code();
    if (!b && fault_leaves_out(q, "clEnqueueWriteBuffer")) return left_out(q, e);
    const cl_int code = enqueued(q, next->clEnqueueWriteBuffer(q, m, b, o, s, p, n, w, e), e);
    const cl_int late = b ? fault_waited(q) : CL_SUCCESS;
    return late ? late : code;
}

static cl_int CL_API_CALL my_clEnqueueReadBuffer(cl_command_queue q, cl_mem m, cl_bool b, size_t o,
                                                 size_t s, void *p, cl_uint n, const cl_event *w,
                                                 cl_event *e)
{
    if (fault_hits(FAULT_CALL, "clEnqueueReadBuffer") || fault_is_hollow(m)) return fault_code();
    const cl_int code = enqueued(q, next->clEnqueueReadBuffer(q, m, b, o, s, p, n, w, e), e);
    const cl_int late = b ? fault_waited(q) : CL_SUCCESS;
    return late ? late : code;
}

static cl_int CL_API_CALL my_clEnqueueMarkerWithWaitList(cl_command_queue q, cl_uint n,
                                                         const cl_event *w, cl_event *e)
{
    if (fault_hits(FAULT_CALL, "clEnqueueMarkerWithWaitList")) return fault_code();
    return enqueued(q, next->clEnqueueMarkerWithWaitList(q, n, w, e), e);
}

static cl_int CL_API_CALL my_clEnqueueBarrierWithWaitList(cl_command_queue q, cl_uint n,
                                                          const cl_event *w, cl_event *e)
{
    if (fault_hits(FAULT_CALL, "clEnqueueBarrierWithWaitList")) return fault_code();
    if (fault_failed_events(n, w)) fault_spoil(q);
    return enqueued(q, next->clEnqueueBarrierWithWaitList(q, n, w, e), e);
}

/* The error of work that failed after it was enqueued arrives here. */
static cl_int CL_API_CALL my_clGetEventInfo(cl_event event, cl_event_info i, size_t s, void *v,
                                            size_t *r)
{
    const cl_int code = next->clGetEventInfo(event, i, s, v, r);
    cl_int failed = CL_SUCCESS;
    if (i == CL_EVENT_COMMAND_EXECUTION_STATUS && fault_failed_events(1, &event))
        failed = fault_code();
    if (fault_hits(FAULT_CALL, "clGetEventInfo")) failed = fault_code();
    if (failed == CL_SUCCESS) return code;
    if (i != CL_EVENT_COMMAND_EXECUTION_STATUS || v == NULL) return failed;
    memcpy(v, &failed, sizeof failed);
    return code;
}

/* Of a device that is said to be lost nothing runs any more; here it has to come to its end. */
static cl_int release_queue(cl_command_queue q)
{
    next->clFinish(q);
    return next->clReleaseCommandQueue(q);
}

RETAIN(clRetainContext, cl_context)
RETAIN(clRetainCommandQueue, cl_command_queue)
RETAIN(clRetainMemObject, cl_mem)
RELEASE(clReleaseContext, cl_context, next->clReleaseContext)
RELEASE(clReleaseCommandQueue, cl_command_queue, release_queue)
RELEASE(clReleaseMemObject, cl_mem, next->clReleaseMemObject)
RELEASE(clReleaseProgram, cl_program, fault_program_release)
RELEASE(clReleaseKernel, cl_kernel, next->clReleaseKernel)
RELEASE(clReleaseEvent, cl_event, next->clReleaseEvent)

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
    TAKE(clGetPlatformIDs), TAKE(clGetPlatformInfo), TAKE(clGetDeviceIDs), TAKE(clGetDeviceInfo);
    TAKE(clGetContextInfo), TAKE(clGetCommandQueueInfo), TAKE(clGetMemObjectInfo);
    TAKE(clGetProgramInfo), TAKE(clGetProgramBuildInfo), TAKE(clBuildProgram), TAKE(clSetKernelArg);
    TAKE(clCompileProgram), TAKE(clLinkProgram);
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
