#include "tools/bench/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool say(const bench_device *device, const char *what)
{
    fprintf(stderr, "oclora-bench: %s: %s\n", what, device->err.text);
    return false;
}

static bool say_cl(const char *what, cl_int code)
{
    fprintf(stderr, "oclora-bench: %s: OpenCL error %d\n", what, (int)code);
    return false;
}

static bool open_cl(bench_device *d)
{
    cl_int code = CL_SUCCESS;
    cl_device_id id = d->info.device_handle;
    const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM,
                                                (cl_context_properties)d->info.platform_handle, 0};
    d->cl = clCreateContext(properties, 1, &id, NULL, NULL, &code);
    if (!d->cl) return say_cl("clCreateContext", code);
    d->queue = clCreateCommandQueue(d->cl, id, 0, &code);
    return d->queue ? true : say_cl("clCreateCommandQueue", code);
}

bool bench_device_open(bench_device *out, const char *selector, uint32_t device_class)
{
    memset(out, 0, sizeof *out);
    oclora_context_options options = {.device_class = device_class};
    if (oclora_device_find(&out->env, selector, &out->info, &out->err) != OCLORA_OK)
        return say(out, "no device");
    if (!open_cl(out)) return false;
    options.cl_context = out->cl;
    if (oclora_context_create(&out->context, &out->env, &out->info, &options, &out->err) !=
            OCLORA_OK ||
        oclora_stream_wrap(&out->stream, out->context, out->queue, &out->err) != OCLORA_OK)
        return say(out, out->info.name);
    /* Nothing is compiled beside what is measured. */
    return oclora_context_class(out->context) != OCLORA_CLASS_CPU ||
           oclora_context_tune(out->context, OCLORA_TUNE_CHAIN_WAIT_AT, 2, &out->err) ==
               OCLORA_OK ||
           say(out, out->info.name);
}

void bench_device_close(bench_device *device)
{
    oclora_stream_destroy(device->stream);
    oclora_context_destroy(device->context);
    if (device->queue) clReleaseCommandQueue(device->queue);
    if (device->cl) clReleaseContext(device->cl);
    memset(device, 0, sizeof *device);
}

cl_kernel bench_kernel(bench_device *device, const char *source, const char *options,
                       const char *entry)
{
    cl_int code = CL_SUCCESS;
    cl_device_id id = device->info.device_handle;
    cl_program program = clCreateProgramWithSource(device->cl, 1, &source, NULL, &code);
    if (program) code = clBuildProgram(program, 1, &id, options, NULL, NULL);
    cl_kernel kernel = code == CL_SUCCESS ? clCreateKernel(program, entry, &code) : NULL;
    if (!kernel) say_cl(entry, code);
    if (program) clReleaseProgram(program);
    return kernel;
}

bool bench_probe_run(void *user, uint32_t repeats)
{
    bench_probe *p = user;
    cl_command_queue queue = p->device->queue;
    cl_int code = CL_SUCCESS;
    for (uint32_t i = 0; i < repeats && code == CL_SUCCESS; i++) {
        if (p->places > 1) {
            code = clSetKernelArg(p->kernel, 0, sizeof p->data[0], &p->data[p->next]);
            p->next = (p->next + 1) % p->places;
        }
        if (code == CL_SUCCESS)
            code = clEnqueueNDRangeKernel(queue, p->kernel, 1, NULL, &p->items, &p->group, 0, NULL,
                                          NULL);
    }
    if (code == CL_SUCCESS) code = clFinish(queue);
    return code == CL_SUCCESS ? true : say_cl("clEnqueueNDRangeKernel", code);
}

/* CPUs read best in one long run a work-item, GPUs with neighbours side by side. */
static const char probe_source[] =
    "__kernel void read_runs(__global const float16 *x, __global float16 *y, uint n) {\n"
    " float16 a = 0.0f, b = 0.0f, c = 0.0f, d = 0.0f;\n"
    " uint items = (uint)get_global_size(0), at = (uint)get_global_id(0);\n"
    " uint i = (uint)((ulong)n * at / items), end = (uint)((ulong)n * (at + 1) / items);\n"
    " for (; i + 3 < end; i += 4) { a += x[i]; b += x[i + 1]; c += x[i + 2]; d += x[i + 3]; }\n"
    " for (; i < end; i++) a += x[i];\n"
    " y[at] = (a + b) + (c + d); }\n"
    "__kernel void read_side(__global const float4 *x, __global float4 *y, uint n) {\n"
    " float4 a = 0.0f;\n"
    " for (uint i = (uint)get_global_id(0); i < n; i += (uint)get_global_size(0)) a += x[i];\n"
    " y[get_global_id(0)] = a; }\n";

static bool is_cpu(const bench_device *device)
{
    return device->info.device_class == OCLORA_CLASS_CPU;
}

/* The number of work-items that reads fastest. */
static void choose_items(bench_probe *p)
{
    const size_t units = p->device->info.compute_units ? p->device->info.compute_units : 1;
    const size_t factors[] = {1, 2, 4, 16, 64};
    double best = -1;
    size_t chosen = units * p->group;
    for (size_t i = 0; i < sizeof factors / sizeof factors[0]; i++) {
        p->items = units * factors[i] * p->group;
        bench_side side = {bench_probe_run, p};
        double took = bench_time_alone(&side, 5e-3);
        if (took < 0 || (best >= 0 && took >= best)) continue;
        best = took;
        chosen = p->items;
    }
    p->items = chosen;
}

static bool open_places(bench_probe *p, size_t bytes, uint32_t places)
{
    const cl_uint zero = 0;
    p->data = calloc(places, sizeof *p->data);
    for (; p->data && p->places < places; p->places++) {
        cl_mem *data = &p->data[p->places];
        *data = clCreateBuffer(p->device->cl, CL_MEM_READ_WRITE, bytes, NULL, NULL);
        if (!*data) return false;
        if (clEnqueueFillBuffer(p->device->queue, *data, &zero, 4, 0, bytes, 0, NULL, NULL)) {
            clReleaseMemObject(*data);
            return false;
        }
    }
    return p->data;
}

bool bench_probe_open(bench_probe *out, bench_device *device, uint64_t bytes, uint32_t places)
{
    const bool cpu = is_cpu(device);
    const size_t width = cpu ? 64 : 16;
    const cl_uint n = (cl_uint)(bytes / width);
    const size_t items_max = (size_t)device->info.compute_units * 64 * (cpu ? 1 : 256);
    memset(out, 0, sizeof *out);
    out->device = device;
    out->group = cpu ? 1 : 256;
    out->items = 1;
    out->kernel = bench_kernel(device, probe_source, "", cpu ? "read_runs" : "read_side");
    out->out = clCreateBuffer(device->cl, CL_MEM_READ_WRITE, items_max * width, NULL, NULL);
    if (!out->kernel || !out->out || !open_places(out, (size_t)n * width, places) ||
        clSetKernelArg(out->kernel, 0, sizeof out->data[0], &out->data[0]) ||
        clSetKernelArg(out->kernel, 1, sizeof out->out, &out->out) ||
        clSetKernelArg(out->kernel, 2, sizeof n, &n)) {
        bench_probe_close(out);
        return false;
    }
    choose_items(out);
    return true;
}

void bench_probe_close(bench_probe *probe)
{
    if (probe->kernel) clReleaseKernel(probe->kernel);
    for (uint32_t i = 0; i < probe->places; i++) clReleaseMemObject(probe->data[i]);
    if (probe->out) clReleaseMemObject(probe->out);
    free(probe->data);
    memset(probe, 0, sizeof *probe);
}

/* Eight independent chains, so that neither latency nor registers are the bound. */
double bench_flop_rate(bench_device *device, double seconds)
{
    static const char source[] =
        "__kernel void chains(__global float *y, int n, float m) {\n"
        " float16 a = m, b = a + 1, c = a + 2, d = a + 3, e = a + 4, f = a + 5, g = a + 6,\n"
        "  h = a + 7, k = a;\n"
        " for (int i = 0; i < n; i++) {\n"
        "  a = fma(a, k, k); b = fma(b, k, k); c = fma(c, k, k); d = fma(d, k, k);\n"
        "  e = fma(e, k, k); f = fma(f, k, k); g = fma(g, k, k); h = fma(h, k, k); }\n"
        " a += b + c + d + e + f + g + h; y[get_global_id(0)] = a.s0 + a.s7 + a.sf; }\n";
    const bool cpu = is_cpu(device);
    bench_probe p = {.device = device, .group = cpu ? 1 : 256};
    cl_int n = cpu ? 20000 : 500;
    cl_float half = 0.5f;
    double took = -1;
    p.items = device->info.compute_units * (cpu ? (size_t)8 : (size_t)2048);
    p.kernel = bench_kernel(device, source, "", "chains");
    p.out = clCreateBuffer(device->cl, CL_MEM_READ_WRITE, p.items * 4, NULL, NULL);
    if (p.kernel && p.out && !clSetKernelArg(p.kernel, 0, sizeof p.out, &p.out) &&
        !clSetKernelArg(p.kernel, 1, sizeof n, &n) &&
        !clSetKernelArg(p.kernel, 2, sizeof half, &half)) {
        bench_side side = {bench_probe_run, &p};
        took = bench_time_alone(&side, seconds);
    }
    double operations = (double)p.items * n * 8 * 2 * 16;
    bench_probe_close(&p);
    return took > 0 ? operations / took : -1;
}
