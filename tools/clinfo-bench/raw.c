#include "tools/clinfo-bench/raw.h"

#include <stdlib.h>
#include <string.h>

oclora_status bench_raw_open(bench_raw *raw, const bench_child *child, oclora_error *err)
{
    cl_int code = CL_SUCCESS;
    raw->device = child->device.device_handle;
    const cl_context_properties properties[] = {
        CL_CONTEXT_PLATFORM, (cl_context_properties)child->device.platform_handle, 0};
    raw->context = clCreateContext(properties, 1, &raw->device, NULL, NULL, &code);
    if (!raw->context) return oclora_fail_cl(err, code, "clCreateContext", "for the probes");
    raw->queue = clCreateCommandQueue(raw->context, raw->device, 0, &code);
    if (!raw->queue) return oclora_fail_cl(err, code, "clCreateCommandQueue", "for the probes");
    return OCLORA_OK;
}

cl_kernel bench_raw_kernel(bench_raw *raw, const char *source, const char *options,
                           const char *entry)
{
    cl_int code = CL_SUCCESS;
    raw->log[0] = '\0';
    cl_program program = clCreateProgramWithSource(raw->context, 1, &source, NULL, &code);
    if (!program) {
        snprintf(raw->log, sizeof raw->log, "clCreateProgramWithSource: %s",
                 oclora_cl_error_name(code));
        return NULL;
    }
    code = clBuildProgram(program, 1, &raw->device, options, NULL, NULL);
    if (code) {
        static char text[65536];
        clGetProgramBuildInfo(program, raw->device, CL_PROGRAM_BUILD_LOG, sizeof text - 1, text,
                              NULL);
        snprintf(raw->log, sizeof raw->log, "does not build (%s): %.300s",
                 oclora_cl_error_name(code), text);
        return NULL;
    }
    cl_kernel kernel = clCreateKernel(program, entry, &code);
    if (!kernel)
        snprintf(raw->log, sizeof raw->log, "clCreateKernel: %s", oclora_cl_error_name(code));
    return kernel;
}

cl_mem bench_raw_buffer(bench_raw *raw, size_t bytes, const void *data)
{
    cl_int code = CL_SUCCESS;
    cl_mem mem = clCreateBuffer(raw->context, CL_MEM_READ_WRITE, bytes, NULL, &code);
    if (mem && data &&
        clEnqueueWriteBuffer(raw->queue, mem, CL_TRUE, 0, bytes, data, 0, NULL, NULL))
        return NULL;
    return mem;
}

cl_int bench_raw_run(bench_raw *raw, cl_kernel kernel, size_t global, size_t local)
{
    cl_int code = clEnqueueNDRangeKernel(raw->queue, kernel, 1, NULL, &global,
                                         local ? &local : NULL, 0, NULL, NULL);
    return code ? code : clFinish(raw->queue);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Seconds of `count` launches in a row, divided by `count`. */
static double time_group(bench_raw *raw, cl_kernel kernel, size_t global, size_t local, int count)
{
    double began = bench_now();
    for (int i = 0; i < count; i++)
        if (clEnqueueNDRangeKernel(raw->queue, kernel, 1, NULL, &global, local ? &local : NULL, 0,
                                   NULL, NULL))
            return -1;
    if (clFinish(raw->queue)) return -1;
    return (bench_now() - began) / count;
}

double bench_raw_time(bench_raw *raw, cl_kernel kernel, size_t global, size_t local, int rounds,
                      double *spread)
{
    double times[64];
    int count = 1;
    if (rounds > 64) rounds = 64;
    double first = time_group(raw, kernel, global, local, 1); /* compiles on some runtimes */
    if (first < 0) return -1;
    double once = time_group(raw, kernel, global, local, 1);
    if (once < 2e-3) count = once > 0 ? (int)(2e-3 / once) + 1 : 100;
    if (count > 1000) count = 1000;
    for (int i = 0; i < rounds; i++) {
        times[i] = time_group(raw, kernel, global, local, count);
        if (times[i] < 0) return -1;
        if (i >= 2 && times[i] * count > 2.0) rounds = i + 1; /* a very slow device */
    }
    qsort(times, (size_t)rounds, sizeof *times, compare_doubles);
    if (spread) *spread = times[rounds / 2] / times[0] - 1;
    return times[0];
}

void bench_raw_text(cl_device_id device, cl_device_info what, char *text, size_t size)
{
    static char all[65536];
    memset(all, 0, sizeof all);
    if (clGetDeviceInfo(device, what, sizeof all - 1, all, NULL)) all[0] = '\0';
    snprintf(text, size, "%s", all);
    for (char *at = text; *at; at++)
        if ((unsigned char)*at < ' ' || (unsigned char)*at >= 127) *at = '?';
}

cl_ulong bench_raw_ulong(cl_device_id device, cl_device_info what)
{
    cl_ulong value = 0;
    size_t size = 0;
    if (clGetDeviceInfo(device, what, 0, NULL, &size) || size > sizeof value) return 0;
    return clGetDeviceInfo(device, what, sizeof value, &value, NULL) ? 0 : value;
}
