/* probes.c - features: what the driver claims, and what a small kernel finds. */
#include "tools/clinfo-bench/raw.h"

#include "host/base/layout.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct probe {
    bench_child *child;
    bench_raw *raw;
    bool claimed;
    bool minor; /* the engine does not need it: no reason to call a device degraded */
} probe;

static void answer(const probe *p, bool found, const char *detail)
{
    /* A feature that is there but not claimed is no fault; the other way round is. */
    const char *status = p->claimed && !found ? p->minor ? "note" : "fail"
                         : p->claimed         ? "pass"
                                              : "info";
    json_t *item = json_pack("{s:b, s:b}", "claimed", p->claimed, "found", found);
    /* A compiler's refusal of what nobody claimed is no news. */
    bool dull = !p->claimed && !found && !strncmp(detail, "does not build", 14);
    bench_result(p->child, status, item, "%s", dull ? "" : detail);
}

/* Runs `source`'s kernel "probe" on 64 items over one int buffer and compares each with `expected`.
 */
static bool run_ints(const probe *p, const char *source, const char *options, int expected)
{
    int values[64];
    memset(values, 0xff, sizeof values);
    cl_kernel kernel = bench_raw_kernel(p->raw, source, options, "probe");
    cl_mem mem = bench_raw_buffer(p->raw, sizeof values, values);
    if (!kernel || !mem) return false;
    cl_int code = clSetKernelArg(kernel, 0, sizeof mem, &mem);
    if (!code) code = bench_raw_run(p->raw, kernel, 64, 64);
    if (!code)
        code = clEnqueueReadBuffer(p->raw->queue, mem, CL_TRUE, 0, sizeof values, values, 0, NULL,
                                   NULL);
    clReleaseMemObject(mem);
    if (code)
        snprintf(p->raw->log, sizeof p->raw->log, "does not run: %s", oclora_cl_error_name(code));
    for (int i = 0; i < 64 && !code; i++) {
        if (values[i] == expected) continue;
        snprintf(p->raw->log, sizeof p->raw->log, "wrong result: item %d gave %d, expected %d", i,
                 values[i], expected);
        code = -1;
    }
    return !code;
}

static void probe_fp16(const probe *p)
{
    const char *source = "#pragma OPENCL EXTENSION cl_khr_fp16 : enable\n"
                         "__kernel void probe(__global int *y) { half h = (half)1.5f;\n"
                         " half g = h * (half)(float)(get_global_size(0) / 32) + (half)0.25f;\n"
                         " y[get_global_id(0)] = (int)(g * (half)4.0f); }";
    answer(p, run_ints(p, source, "", 13), p->raw->log);
}

static void probe_fp64(const probe *p)
{
    const char *source = "#pragma OPENCL EXTENSION cl_khr_fp64 : enable\n"
                         "__kernel void probe(__global int *y) {\n"
                         " double a = 1.0 + (double)get_global_size(0) * 0x1p-40;\n"
                         " y[get_global_id(0)] = (int)((a - 1.0) * 0x1p40); }";
    answer(p, run_ints(p, source, "", 64), p->raw->log);
}

static void probe_fma(const probe *p)
{
    /* (1 + e)(1 - e) - 1 = -e^2 only if nothing is rounded between; e = 2^-12. */
    const char *source =
        "__kernel void probe(__global int *y) {\n"
        " float e = 0x1p-12f * (float)(get_global_size(0) / 64);\n"
        " y[get_global_id(0)] = (int)(fma(1.0f + e, 1.0f - e, -1.0f) * 0x1p26f); }";
    answer(p, run_ints(p, source, "", -4), p->raw->log);
}

static void probe_half_storage(const probe *p)
{
    const char *source = "__kernel void probe(__global const half *x, __global float *y,\n"
                         " __global half *z) { size_t i = get_global_id(0);\n"
                         " float v = vload_half(i, x); y[i] = v; vstore_half_rte(v, i, z); }";
    enum { COUNT = 65536 };
    uint16_t *in = malloc(COUNT * 2), *back = malloc(COUNT * 2);
    float *out = malloc(COUNT * 4);
    cl_kernel kernel = bench_raw_kernel(p->raw, source, "", "probe");
    if (!kernel || !in || !back || !out) {
        answer(p, false, p->raw->log);
        return;
    }
    for (uint32_t i = 0; i < COUNT; i++) in[i] = (uint16_t)i;
    cl_mem x = bench_raw_buffer(p->raw, COUNT * 2, in),
           y = bench_raw_buffer(p->raw, COUNT * 4, NULL);
    cl_mem z = bench_raw_buffer(p->raw, COUNT * 2, NULL);
    cl_int code = clSetKernelArg(kernel, 0, sizeof x, &x) |
                  clSetKernelArg(kernel, 1, sizeof y, &y) | clSetKernelArg(kernel, 2, sizeof z, &z);
    if (!code) code = bench_raw_run(p->raw, kernel, COUNT, 64);
    if (!code)
        code = clEnqueueReadBuffer(p->raw->queue, y, CL_TRUE, 0, COUNT * 4, out, 0, NULL, NULL);
    if (!code)
        code = clEnqueueReadBuffer(p->raw->queue, z, CL_TRUE, 0, COUNT * 2, back, 0, NULL, NULL);
    uint32_t wrong = 0, first = 0, denormals = 0;
    for (uint32_t i = 0; i < COUNT && !code; i++) {
        float expected = oclora_half_to_float((uint16_t)i);
        if (isnan(expected) ? isnan(out[i]) : out[i] == expected && back[i] == i) continue;
        if (!wrong++) first = i;
        denormals += (i & 0x7c00) == 0;
    }
    char text[200] = "";
    if (code) snprintf(text, sizeof text, "does not run: %s", oclora_cl_error_name(code));
    if (wrong)
        snprintf(text, sizeof text, "%u of 65536 halves wrong (%u denormal), first 0x%04x", wrong,
                 denormals, first);
    answer(p, !code && !wrong, text);
}

/* The size that the driver gives when asked, 0 if it cannot be asked. */
static size_t asked_subgroup_size(const probe *p, cl_kernel kernel)
{
    typedef cl_int(CL_API_CALL * query)(cl_kernel, cl_device_id, cl_kernel_sub_group_info, size_t,
                                        const void *, size_t, void *, size_t *);
    const size_t local = 64;
    size_t size = 0;
    query ask = NULL;
    void *found = clGetExtensionFunctionAddressForPlatform(p->child->device.platform_handle,
                                                           "clGetKernelSubGroupInfoKHR");
    memcpy(&ask, &found, sizeof ask);
    const int modern = strncmp(p->child->device.version, "OpenCL 1", 8) &&
                       strncmp(p->child->device.version, "OpenCL 2.0", 10);
    if (!ask && modern) ask = clGetKernelSubGroupInfo;
    if (!ask || ask(kernel, p->raw->device, CL_KERNEL_MAX_SUB_GROUP_SIZE_FOR_NDRANGE, sizeof local,
                    &local, sizeof size, &size, NULL))
        return 0;
    return size;
}

/* @return the size of the groups that the kernel of these defines ran in; 0 with the reason in
 * raw->log. */
static int run_subgroups(const probe *p, const char *defines, size_t *asked)
{
    static const char source[] =
        "#ifdef cl_khr_subgroups\n#pragma OPENCL EXTENSION cl_khr_subgroups : enable\n#endif\n"
        "__kernel void probe(__global int *y) {\n"
        " size_t i = get_global_id(0); int sum = 0;\n"
        "#ifdef LOCAL\n __local int l[64]; l[get_local_id(0)] = (int)i;\n"
        " barrier(CLK_LOCAL_MEM_FENCE); sum = l[63 - get_local_id(0)] & 0;\n#endif\n"
        "#ifdef PRIVATE\n int v[96]; for (int k = 0; k < 96; k++) v[k] = y[(i + k) % 64];\n"
        " for (int k = 0; k < 96; k++) sum += v[k] * v[95 - k]; sum &= 0;\n#endif\n"
        " y[i] = sum + (sub_group_reduce_add(1) == (int)get_sub_group_size()\n"
        "  ? (int)get_max_sub_group_size() : -1); }";
    int values[64];
    char options[80];
    const char *version = p->child->device.c_version;
    memset(values, 0xff, sizeof values);
    snprintf(options, sizeof options, "%s %s",
             strstr(version, "OpenCL C 1.") ? "" : "-cl-std=CL2.0", defines);
    cl_kernel kernel = bench_raw_kernel(p->raw, source, options, "probe");
    if (!kernel && strstr(version, "OpenCL C 3.")) {
        snprintf(options, sizeof options, "-cl-std=CL3.0 %s", defines);
        kernel = bench_raw_kernel(p->raw, source, options, "probe");
    }
    cl_mem mem = bench_raw_buffer(p->raw, sizeof values, values);
    if (!kernel || !mem) return 0;
    cl_int code = clSetKernelArg(kernel, 0, sizeof mem, &mem);
    if (!code) code = bench_raw_run(p->raw, kernel, 64, 64);
    if (!code)
        code = clEnqueueReadBuffer(p->raw->queue, mem, CL_TRUE, 0, sizeof values, values, 0, NULL,
                                   NULL);
    *asked = asked_subgroup_size(p, kernel);
    for (int i = 0; i < 64 && !code; i++)
        if (values[i] != values[0] || values[i] <= 0) code = CL_INVALID_VALUE;
    if (code) snprintf(p->raw->log, sizeof p->raw->log, "%s", oclora_cl_error_name(code));
    return code ? 0 : values[0];
}

/* A driver may choose another size for each kernel, and say another than it chose. */
static void probe_subgroups(const probe *p)
{
    static const struct {
        const char *name, *defines;
    } kernels[] = {{"a small kernel", ""},
                   {"one with local memory", "-DLOCAL"},
                   {"one with many registers", "-DPRIVATE"}};
    char text[420] = "";
    bool all = true, any = false, agreed = true;
    for (size_t i = 0; i < sizeof kernels / sizeof kernels[0]; i++) {
        size_t asked = 0, used = strlen(text);
        const int size = run_subgroups(p, kernels[i].defines, &asked);
        all = all && size > 0;
        any = any || size > 0;
        snprintf(text + used, sizeof text - used, "%s%s: ", i ? "; " : "", kernels[i].name);
        used = strlen(text);
        if (!size)
            snprintf(text + used, sizeof text - used, "%.100s", p->raw->log);
        else if (asked && asked != (size_t)size)
            snprintf(text + used, sizeof text - used, "%d, THE DRIVER SAYS %zu", size, asked);
        else
            snprintf(text + used, sizeof text - used, "%d", size);
        agreed = agreed && (!asked || asked == (size_t)size);
    }
    probe judged = *p;
    judged.minor = all; /* a size told wrong is to be known, but breaks no kernel of the engine */
    answer(&judged, all && agreed, any ? text : p->raw->log);
}

static void probe_int_dot(const probe *p)
{
    const char *source = "__kernel void probe(__global int *y) {\n"
                         " uint a = 0x01ff0302u + (uint)(get_global_size(0) / 64) - 1u;\n"
                         " y[get_global_id(0)] = dot_4x8packed_ss_int(a, 0x02030405u); }";
    const char *options = strstr(p->child->device.c_version, "OpenCL C 1.") ? "" : "-cl-std=CL3.0";
    answer(p, run_ints(p, source, options, 2 * 1 + 3 * -1 + 4 * 3 + 5 * 2), p->raw->log);
}

static void probe_svm(const probe *p)
{
    const char *source = "__kernel void probe(__global int *y) { y[get_global_id(0)] = 77; }";
    cl_kernel kernel = bench_raw_kernel(p->raw, source, "", "probe");
    int *memory = p->claimed ? clSVMAlloc(p->raw->context, CL_MEM_READ_WRITE, 256, 0) : NULL;
    if (!kernel || !memory) {
        answer(p, false, p->claimed ? "clSVMAlloc gives nothing" : "not claimed, not tried");
        return;
    }
    cl_int code = clSetKernelArgSVMPointer(kernel, 0, memory);
    if (!code) code = bench_raw_run(p->raw, kernel, 64, 64);
    if (!code)
        code = clEnqueueSVMMap(p->raw->queue, CL_TRUE, CL_MAP_READ, memory, 256, 0, NULL, NULL);
    bool found = !code && memory[0] == 77 && memory[63] == 77;
    answer(p, found, code ? oclora_cl_error_name(code) : "");
}

static void probe_out_of_order(const probe *p)
{
    cl_int code = CL_SUCCESS;
    int ones[64], result[64];
    for (int i = 0; i < 64; i++) ones[i] = 1;
    const char *source = "__kernel void probe(__global int *y) { y[get_global_id(0)] *= 5; }";
    cl_kernel kernel = bench_raw_kernel(p->raw, source, "", "probe");
    cl_mem mem = bench_raw_buffer(p->raw, sizeof ones, NULL);
    cl_command_queue queue = clCreateCommandQueue(p->raw->context, p->raw->device,
                                                  CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, &code);
    if (!queue || !kernel || !mem) {
        answer(p, false, queue ? p->raw->log : oclora_cl_error_name(code));
        return;
    }
    cl_event written = NULL, ran = NULL;
    size_t global = 64;
    code = clSetKernelArg(kernel, 0, sizeof mem, &mem);
    if (!code)
        code = clEnqueueWriteBuffer(queue, mem, CL_FALSE, 0, sizeof ones, ones, 0, NULL, &written);
    if (!code)
        code = clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &global, NULL, 1, &written, &ran);
    if (!code)
        code = clEnqueueReadBuffer(queue, mem, CL_TRUE, 0, sizeof result, result, 1, &ran, NULL);
    bool found = !code && result[0] == 5 && result[63] == 5;
    answer(p, found,
           code    ? oclora_cl_error_name(code)
           : found ? ""
                   : "events do not order commands");
}

static void probe_timer(const probe *p)
{
    const char *source =
        "__kernel void probe(__global float *y) { float v = (float)get_global_id(0);\n"
        " for (int i = 0; i < 20000; i++) v = fma(v, 0.999f, 1.0f);\n"
        " y[get_global_id(0)] = v; }";
    cl_int code = CL_SUCCESS;
    cl_kernel kernel = bench_raw_kernel(p->raw, source, "", "probe");
    cl_mem mem = bench_raw_buffer(p->raw, 4096 * 4, NULL);
    cl_command_queue queue =
        clCreateCommandQueue(p->raw->context, p->raw->device, CL_QUEUE_PROFILING_ENABLE, &code);
    if (!queue || !kernel || !mem) {
        answer(p, false, queue ? p->raw->log : oclora_cl_error_name(code));
        return;
    }
    cl_ulong start = 0, end = 0;
    double wall = 0;
    size_t global = 4096;
    code = clSetKernelArg(kernel, 0, sizeof mem, &mem);
    for (int i = 0; i < 2 && !code; i++) { /* the second run does not compile */
        cl_event event = NULL;
        double began = bench_now();
        code = clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &global, NULL, 0, NULL, &event);
        if (!code) code = clFinish(queue);
        wall = bench_now() - began;
        if (!code)
            code = clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, 8, &start, NULL);
        if (!code) code = clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, 8, &end, NULL);
    }
    double device_seconds = end >= start ? 1e-9 * (double)(end - start) : -1;
    char text[200];
    if (code)
        snprintf(text, sizeof text, "%s", oclora_cl_error_name(code));
    else
        snprintf(text, sizeof text, "events say %.3g ms, the host's clock %.3g ms%s",
                 device_seconds * 1e3, wall * 1e3,
                 device_seconds > wall * 1.2 || device_seconds < wall * 0.02
                     ? "; figures here come from the host's clock"
                     : "");
    answer(p, !code && device_seconds <= wall * 1.2 && device_seconds >= wall * 0.02, text);
}

static void probe_work_group(const probe *p)
{
    const char *source = "__kernel void probe(__global int *y) { y[get_local_id(0)] = 1; }";
    size_t size = p->child->device.max_work_group;
    cl_kernel kernel = bench_raw_kernel(p->raw, source, "", "probe");
    cl_mem mem = size && size <= 1 << 20 ? bench_raw_buffer(p->raw, size * 4, NULL) : NULL;
    char text[200];
    cl_int code = kernel && mem ? clSetKernelArg(kernel, 0, sizeof mem, &mem) : CL_INVALID_VALUE;
    if (!code) code = bench_raw_run(p->raw, kernel, size, size);
    snprintf(text, sizeof text, "claims groups of %zu; a launch of one gives %s", size,
             oclora_cl_error_name(code));
    answer(p, !code, text);
}

static void probe_local_memory(const probe *p)
{
    const char *source =
        "__kernel void probe(__global int *y, __local int *l, int n) {\n"
        " int sum = 0; for (int i = (int)get_local_id(0); i < n; i += 32) l[i] = 1;\n"
        " barrier(CLK_LOCAL_MEM_FENCE);\n"
        " for (int i = 0; i < n; i++) sum += l[i]; y[get_global_id(0)] = sum; }";
    size_t bytes = p->child->device.local_bytes;
    int sums[32] = {0}, n = (int)(bytes / 4);
    char text[200];
    cl_kernel kernel = bench_raw_kernel(p->raw, source, "", "probe");
    cl_mem mem = bench_raw_buffer(p->raw, sizeof sums, NULL);
    cl_int code = CL_INVALID_VALUE;
    if (kernel && mem && bytes >= 4 && bytes <= 1 << 28)
        code = clSetKernelArg(kernel, 0, sizeof mem, &mem) |
               clSetKernelArg(kernel, 1, (size_t)n * 4, NULL) |
               clSetKernelArg(kernel, 2, sizeof n, &n);
    if (!code) code = bench_raw_run(p->raw, kernel, 32, 32);
    if (!code)
        code =
            clEnqueueReadBuffer(p->raw->queue, mem, CL_TRUE, 0, sizeof sums, sums, 0, NULL, NULL);
    snprintf(text, sizeof text, "claims %zu bytes; using all of it gives %s%s", bytes,
             oclora_cl_error_name(code), !code && sums[31] != n ? " but wrong values" : "");
    answer(p, !code && sums[31] == n, text);
}

/* Some drivers end a loop after so many rounds, as if a shader hung: every sum is wrong then. */
static void probe_long_loop(const probe *p)
{
    const char *source =
        "__kernel void probe(__global int *y) { uint x = 1, n = (uint)get_global_size(0) * 4096u;\n"
        " if (get_global_id(0)) { y[get_global_id(0)] = EXPECTED; return; }\n"
        " for (uint i = 0; i < n; i++) x = x * 1664525u + 1013904223u + (x >> 16);\n"
        " y[0] = (int)(x >> 1); }";
    uint32_t x = 1;
    char options[40];
    for (uint32_t i = 0; i < 64 * 4096; i++) x = x * 1664525u + 1013904223u + (x >> 16);
    snprintf(options, sizeof options, "-DEXPECTED=%u", x >> 1);
    answer(p, run_ints(p, source, options, (int)(x >> 1)), p->raw->log);
}

oclora_status bench_step_probes(bench_child *child, oclora_error *err)
{
    static const struct {
        const char *name;
        uint32_t feature; /* 0: every device must have it */
        void (*run)(const probe *p);
    } probes[] = {
        {"fma", 0, probe_fma},
        {"half_storage", 0, probe_half_storage},
        {"work_group_size", 0, probe_work_group},
        {"local_memory", 0, probe_local_memory},
        {"long_loop", 0, probe_long_loop},
        {"fp16", OCLORA_FEATURE_FP16, probe_fp16},
        {"fp64", OCLORA_FEATURE_FP64, probe_fp64},
        {"subgroups", OCLORA_FEATURE_SUBGROUPS, probe_subgroups},
        {"integer_dot_product", OCLORA_FEATURE_INT_DOT, probe_int_dot},
        {"svm", OCLORA_FEATURE_SVM, probe_svm},
        {"out_of_order", OCLORA_FEATURE_OUT_OF_ORDER, probe_out_of_order},
        {"timer", 0, probe_timer},
    };
    bench_raw raw = {0};
    OCLORA_TRY(bench_raw_open(&raw, child, err));
    for (size_t i = 0; i < sizeof probes / sizeof probes[0]; i++) {
        bool claimed = !probes[i].feature || (child->device.features & probes[i].feature);
        probe p = {child, &raw, claimed, !strcmp(probes[i].name, "timer")};
        raw.log[0] = '\0';
        if (bench_begin(child, probes[i].name)) probes[i].run(&p);
    }
    return OCLORA_OK;
}
