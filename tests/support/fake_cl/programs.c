/* Programs and kernels of the fake OpenCL driver: any source compiles, and does nothing. */
#include "fake_cl.h"

#include <stdlib.h>
#include <string.h>

static cl_program new_program(cl_context context, cl_int *code)
{
    cl_program program = fake_new(sizeof *program);
    program->context = context;
    fake_dispatch.clRetainContext(context);
    if (code != NULL) *code = CL_SUCCESS;
    return program;
}

static cl_program CL_API_CALL program_with_source(cl_context context, cl_uint count,
                                                  const char **strings, const size_t *lengths,
                                                  cl_int *code)
{
    (void)count;
    (void)strings;
    (void)lengths;
    return new_program(context, code);
}

static cl_program CL_API_CALL program_with_binary(cl_context context, cl_uint count,
                                                  const cl_device_id *list, const size_t *lengths,
                                                  const unsigned char **binaries, cl_int *states,
                                                  cl_int *code)
{
    (void)list;
    (void)lengths;
    (void)binaries;
    for (cl_uint i = 0; i < count; i++) states[i] = CL_SUCCESS;
    return new_program(context, code);
}

static cl_int CL_API_CALL build_program(cl_program program, cl_uint count, const cl_device_id *list,
                                        const char *options,
                                        void(CL_CALLBACK *notify)(cl_program, void *), void *user)
{
    (void)program;
    (void)count;
    (void)list;
    (void)options;
    (void)notify;
    (void)user;
    return CL_SUCCESS;
}

static cl_int CL_API_CALL compile_program(cl_program program, cl_uint count,
                                          const cl_device_id *list, const char *options,
                                          cl_uint n_headers, const cl_program *headers,
                                          const char **names,
                                          void(CL_CALLBACK *notify)(cl_program, void *), void *user)
{
    (void)n_headers;
    (void)headers;
    (void)names;
    return build_program(program, count, list, options, notify, user);
}

static cl_program CL_API_CALL link_program(cl_context context, cl_uint count,
                                           const cl_device_id *list, const char *options,
                                           cl_uint n_programs, const cl_program *programs,
                                           void(CL_CALLBACK *notify)(cl_program, void *),
                                           void *user, cl_int *code)
{
    (void)count;
    (void)list;
    (void)options;
    (void)n_programs;
    (void)programs;
    (void)notify;
    (void)user;
    return new_program(context, code);
}

static cl_int CL_API_CALL program_info(cl_program program, cl_program_info what, size_t size,
                                       void *out, size_t *size_ret)
{
    static const char binary[] = "a program";
    const size_t bytes = sizeof binary;
    (void)program;
    if (what == CL_PROGRAM_BINARY_SIZES)
        return fake_answer(&bytes, sizeof bytes, size, out, size_ret);
    if (what != CL_PROGRAM_BINARIES) return CL_INVALID_VALUE;
    memcpy(*(unsigned char **)out, binary, sizeof binary);
    return CL_SUCCESS;
}

static cl_int CL_API_CALL build_info(cl_program program, cl_device_id device,
                                     cl_program_build_info what, size_t size, void *out,
                                     size_t *size_ret)
{
    (void)program;
    (void)device;
    (void)what;
    return fake_text("", size, out, size_ret);
}

static cl_int CL_API_CALL release_program(cl_program program)
{
    if (!fake_drop(&program->object)) return CL_SUCCESS;
    fake_dispatch.clReleaseContext(program->context);
    free(program);
    return CL_SUCCESS;
}

static cl_kernel CL_API_CALL create_kernel(cl_program program, const char *name, cl_int *code)
{
    (void)name;
    cl_kernel kernel = fake_new(sizeof *kernel);
    kernel->program = program;
    atomic_fetch_add(&program->object.references, 1);
    if (code != NULL) *code = CL_SUCCESS;
    return kernel;
}

static cl_int CL_API_CALL set_arg(cl_kernel kernel, cl_uint index, size_t size, const void *value)
{
    cl_mem mem = NULL;
    if (index >= FAKE_ARGS) return CL_INVALID_ARG_INDEX;
    if (value != NULL && size == sizeof mem) memcpy(&mem, value, sizeof mem);
    kernel->mems[index] = mem != NULL && fake_is_mem(mem) ? mem : NULL;
    return CL_SUCCESS;
}

static cl_int CL_API_CALL release_kernel(cl_kernel kernel)
{
    if (!fake_drop(&kernel->object)) return CL_SUCCESS;
    release_program(kernel->program);
    free(kernel);
    return CL_SUCCESS;
}

void fake_program_calls(cl_icd_dispatch *d)
{
    d->clCreateProgramWithSource = program_with_source;
    d->clCreateProgramWithBinary = program_with_binary;
    d->clBuildProgram = build_program;
    d->clCompileProgram = compile_program;
    d->clLinkProgram = link_program;
    d->clGetProgramInfo = program_info;
    d->clGetProgramBuildInfo = build_info;
    d->clReleaseProgram = release_program;
    d->clCreateKernel = create_kernel;
    d->clSetKernelArg = set_arg;
    d->clReleaseKernel = release_kernel;
}
