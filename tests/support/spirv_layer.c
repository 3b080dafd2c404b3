/* spirv_layer.c - an OpenCL layer (OPENCL_LAYERS) that gives a runtime the SPIR-V that clang makes
 * of each program instead of its source: proof that the kernels survive that way too.
 * OCLORA_SPIRV_CLANG names the compiler (default clang-22), which leaves optimising to the runtime:
 * of what clang 22 optimises itself, Intel's runtime crashes on some and gets some wrong. A program
 * keeps its handle; its kernels come from the other. */
#include <CL/cl.h>
#include <CL/cl_icd.h>
#include <CL/cl_layer.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_PROGRAMS = 4096, MOST_SOURCE = 1 << 19, MOST_IL = 1 << 23 };

static cl_icd_dispatch below, ours;
static struct {
    cl_program source, il;
} pairs[MOST_PROGRAMS];
static size_t n_pairs;

static void *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    unsigned char *data = file ? malloc(MOST_IL) : NULL;
    *size = data ? fread(data, 1, MOST_IL, file) : 0;
    if (file) fclose(file);
    return data;
}

/* The program's SPIR-V; NULL if it cannot be made. */
static void *translate(cl_program program, const char *options, size_t *size)
{
    const char *clang = getenv("OCLORA_SPIRV_CLANG");
    char folder[] = "/tmp/oclora-spirv-XXXXXX", path[64], out[64], command[2048];
    char *source = calloc(MOST_SOURCE, 1);
    if (!source || !mkdtemp(folder)) return NULL;
    snprintf(path, sizeof path, "%s/k.cl", folder);
    snprintf(out, sizeof out, "%s/k.spv", folder);
    below.clGetProgramInfo(program, CL_PROGRAM_SOURCE, MOST_SOURCE - 1, source, NULL);
    FILE *file = fopen(path, "w");
    if (file) {
        fputs(source, file);
        fclose(file);
    }
    free(source);
    snprintf(
        command, sizeof command,
        "%s -x cl %s -w -O0 -target spirv64-unknown-unknown -Xclang -finclude-default-header -c "
        "%s -o %s",
        clang ? clang : "clang-22", options ? options : "", path, out);
    void *data = system(command) == 0 ? read_file(out, size) : NULL;
    unlink(path);
    unlink(out);
    rmdir(folder);
    return data;
}

static cl_int CL_API_CALL build_program(cl_program program, cl_uint count,
                                        const cl_device_id *devices, const char *options,
                                        void(CL_CALLBACK *notify)(cl_program, void *), void *user)
{
    cl_context context = NULL;
    size_t size = 0;
    cl_int code = CL_SUCCESS;
    void *il = translate(program, options, &size);
    if (!il || !size || n_pairs == MOST_PROGRAMS) {
        fprintf(stderr, "spirv_layer: clang makes no SPIR-V of a program\n");
        return CL_BUILD_PROGRAM_FAILURE;
    }
    below.clGetProgramInfo(program, CL_PROGRAM_CONTEXT, sizeof context, &context, NULL);
    cl_program made = below.clCreateProgramWithIL(context, il, size, &code);
    free(il);
    if (!made) {
        fprintf(stderr, "spirv_layer: clCreateProgramWithIL gives %d\n", code);
        return CL_BUILD_PROGRAM_FAILURE;
    }
    code = below.clBuildProgram(made, count, devices, "", notify, user);
    if (code) {
        char log[2000] = "";
        if (count && devices)
            below.clGetProgramBuildInfo(made, devices[0], CL_PROGRAM_BUILD_LOG, sizeof log - 1, log,
                                        NULL);
        fprintf(stderr, "spirv_layer: the runtime does not build it (%d): %s\n", code, log);
        return code;
    }
    fprintf(stderr, "spirv_layer: built\n");
    pairs[n_pairs].source = program;
    pairs[n_pairs++].il = made;
    return CL_SUCCESS;
}

static cl_kernel CL_API_CALL create_kernel(cl_program program, const char *name, cl_int *code)
{
    for (size_t i = n_pairs; i-- > 0;)
        if (pairs[i].source == program) return below.clCreateKernel(pairs[i].il, name, code);
    return below.clCreateKernel(program, name, code);
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
    const cl_uint known = sizeof ours / sizeof(void *);
    cl_uint n = count < known ? count : known;
    memcpy(&below, target, n * sizeof(void *));
    memcpy(&ours, target, n * sizeof(void *));
    ours.clBuildProgram = build_program;
    ours.clCreateKernel = create_kernel;
    *used = n;
    *out = &ours;
    return CL_SUCCESS;
}
