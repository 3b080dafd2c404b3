/* fault_layer.c - an OpenCL layer (OPENCL_LAYERS) that makes any driver a bad one, for tests of
 * what the programs make of it. OCLORA_FAULT=kind=argument chooses one:
 *
 * - hang=KERNEL, the launch of a kernel of that name never returns (the file OCLORA_FAULT_MARK, if
 * set, is there from then on); crash=KERNEL, it ends in a SIGSEGV; spoil=KERNEL, it is left out and
 * reported as done
 * - abort=TEXT, building a program whose source or options hold TEXT calls abort(); build=TEXT, it
 * fails
 * - lie=groups, work-groups 16 times larger than they are; lie=memory, 1 PiB; lie=fp16, cl_khr_fp16
 * - fail=N, the Nth call that may fail does, with CL_OUT_OF_RESOURCES; all=N, and every one after
 * it */
#include <CL/cl.h>
#include <CL/cl_icd.h>
#include <CL/cl_layer.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static cl_icd_dispatch below, ours;
static long calls;
static char kind[16], argument[64];

static int is_kind(const char *name)
{
    return !strcmp(kind, name);
}

/* Whether this call is to fail. */
static int fails(void)
{
    long at = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
    if (is_kind("fail")) return at == atol(argument);
    return is_kind("all") && at >= atol(argument);
}

static cl_mem CL_API_CALL create_buffer(cl_context context, cl_mem_flags flags, size_t size,
                                        void *host, cl_int *code)
{
    if (!fails()) return below.clCreateBuffer(context, flags, size, host, code);
    if (code) *code = CL_OUT_OF_RESOURCES;
    return NULL;
}

static cl_int CL_API_CALL finish(cl_command_queue queue)
{
    return fails() ? CL_OUT_OF_RESOURCES : below.clFinish(queue);
}

static int holds(cl_program program, const char *options)
{
    static char source[1 << 18];
    memset(source, 0, sizeof source);
    if (options && strstr(options, argument)) return 1;
    below.clGetProgramInfo(program, CL_PROGRAM_SOURCE, sizeof source - 1, source, NULL);
    return strstr(source, argument) != NULL;
}

static cl_int CL_API_CALL build_program(cl_program program, cl_uint count,
                                        const cl_device_id *devices, const char *options,
                                        void(CL_CALLBACK *notify)(cl_program, void *), void *user)
{
    if (fails()) return CL_OUT_OF_RESOURCES;
    if (is_kind("build") && holds(program, options)) return CL_BUILD_PROGRAM_FAILURE;
    if (is_kind("abort") && holds(program, options)) {
        fprintf(stderr, "LLVM ERROR: Cannot select: intrinsic\n");
        abort();
    }
    return below.clBuildProgram(program, count, devices, options, notify, user);
}

static int is_named(cl_kernel kernel)
{
    char name[128] = "";
    below.clGetKernelInfo(kernel, CL_KERNEL_FUNCTION_NAME, sizeof name - 1, name, NULL);
    return !strcmp(name, argument);
}

static void hang(void)
{
    const char *mark = getenv("OCLORA_FAULT_MARK");
    FILE *file = mark ? fopen(mark, "w") : NULL;
    if (file) fclose(file);
    while (1) pause();
}

static cl_int CL_API_CALL enqueue_kernel(cl_command_queue queue, cl_kernel kernel, cl_uint dims,
                                         const size_t *offset, const size_t *global,
                                         const size_t *local, cl_uint n_events,
                                         const cl_event *events, cl_event *event)
{
    if (fails()) return CL_OUT_OF_RESOURCES;
    if (is_kind("hang") && is_named(kernel)) hang();
    if (is_kind("crash") && is_named(kernel)) {
        signal(SIGSEGV, SIG_DFL); /* some runtimes catch it */
        raise(SIGSEGV);
    }
    if (is_kind("spoil") && is_named(kernel))
        return below.clEnqueueMarkerWithWaitList(queue, n_events, events, event);
    return below.clEnqueueNDRangeKernel(queue, kernel, dims, offset, global, local, n_events,
                                        events, event);
}

static cl_int lie_about_extensions(cl_device_id device, size_t size, void *value, size_t *needed)
{
    static const char more[] = " cl_khr_fp16";
    size_t length = 0;
    cl_int code = below.clGetDeviceInfo(device, CL_DEVICE_EXTENSIONS, 0, NULL, &length);
    if (code) return code;
    if (needed) *needed = length + sizeof more - 1;
    if (!value) return CL_SUCCESS;
    if (size < length + sizeof more - 1) return CL_INVALID_VALUE;
    code = below.clGetDeviceInfo(device, CL_DEVICE_EXTENSIONS, size, value, NULL);
    if (!code) strcat(value, more);
    return code;
}

static cl_int CL_API_CALL device_info(cl_device_id device, cl_device_info what, size_t size,
                                      void *value, size_t *needed)
{
    if (is_kind("lie") && !strcmp(argument, "fp16") && what == CL_DEVICE_EXTENSIONS)
        return lie_about_extensions(device, size, value, needed);
    cl_int code = below.clGetDeviceInfo(device, what, size, value, needed);
    if (code || !value || !is_kind("lie")) return code;
    if (!strcmp(argument, "groups") && what == CL_DEVICE_MAX_WORK_GROUP_SIZE)
        *(size_t *)value *= 16;
    if (!strcmp(argument, "memory") && what == CL_DEVICE_GLOBAL_MEM_SIZE)
        *(cl_ulong *)value = (cl_ulong)1 << 50;
    if (!strcmp(argument, "memory") && what == CL_DEVICE_MAX_MEM_ALLOC_SIZE)
        *(cl_ulong *)value = (cl_ulong)1 << 49;
    return code;
}

CL_API_ENTRY cl_int CL_API_CALL clGetLayerInfo(cl_layer_info what, size_t size, void *value,
                                               size_t *needed)
{
    const cl_layer_api_version version = CL_LAYER_API_VERSION_100;
    if (what != CL_LAYER_API_VERSION || (value && size < sizeof version)) return CL_INVALID_VALUE;
    if (value) memcpy(value, &version, sizeof version);
    if (needed) *needed = sizeof version;
    return CL_SUCCESS;
}

CL_API_ENTRY cl_int CL_API_CALL clInitLayer(cl_uint count, const cl_icd_dispatch *target,
                                            cl_uint *used, const cl_icd_dispatch **out)
{
    const char *fault = getenv("OCLORA_FAULT");
    const cl_uint known = sizeof ours / sizeof(void *);
    cl_uint n = count < known ? count : known;
    if (fault) sscanf(fault, "%15[^=]=%63s", kind, argument);
    memcpy(&below, target, n * sizeof(void *));
    memcpy(&ours, target, n * sizeof(void *));
    ours.clCreateBuffer = create_buffer;
    ours.clFinish = finish;
    ours.clBuildProgram = build_program;
    ours.clEnqueueNDRangeKernel = enqueue_kernel;
    ours.clGetDeviceInfo = device_info;
    *used = n;
    *out = &ours;
    return CL_SUCCESS;
}
