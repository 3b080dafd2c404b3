/* speed.c - measured limits: bandwidth, arithmetic rate, launch and transfer cost, compile time.
 * Only the host's clock is used; event timestamps are broken on some runtimes. */
#include "tools/clinfo-bench/raw.h"

#include <stdlib.h>
#include <string.h>

typedef struct bench_rate {
    bench_child *child;
    bench_raw raw;
    bool cpu;
    int rounds;
} bench_rate;

static void report(const bench_rate *s, double value, const char *unit, double spread)
{
    if (value < 0) {
        bench_result(s->child, "skip", NULL, "%s", s->raw.log[0] ? s->raw.log : "does not run");
        return;
    }
    json_t *item =
        json_pack("{s:f, s:s, s:f}", "value", value, "unit", unit, "spread_percent", spread * 100);
    bench_result(s->child, "info", item, "%s", "");
}

static size_t stream_bytes(const bench_rate *s)
{
    uint64_t bytes = s->child->mode == BENCH_QUICK ? 32u << 20 : 128u << 20;
    if (bytes > s->child->device.max_alloc_bytes) bytes = s->child->device.max_alloc_bytes;
    return (size_t)(bytes & ~(uint64_t)0xfffff);
}

/* read: sums the buffer; copy: counts bytes read plus written. */
static void bandwidth(bench_rate *s, size_t bytes, bool copy)
{
    const char *source =
        "__kernel void read_all(__global const float *x, __global float *y, uint n) {\n"
        " V s = 0.0f; for (uint i = get_global_id(0); i < n; i += get_global_size(0))\n"
        "  s += ((__global const V *)x)[i];\n"
        " ((__global V *)y)[get_global_id(0)] = s; }\n"
        "__kernel void copy_all(__global const float *x, __global float *y, uint n) {\n"
        " for (uint i = get_global_id(0); i < n; i += get_global_size(0))\n"
        "  ((__global V *)y)[i] = ((__global const V *)x)[i]; }\n"
        "__kernel void read_part(__global const float *x, __global float *y, uint n) {\n"
        " V a = 0.0f, b = 0.0f; uint part = n / get_global_size(0), at = get_global_id(0) * part;\n"
        " for (uint i = 0; i + 1 < part; i += 2) { a += ((__global const V *)x)[at + i];\n"
        "  b += ((__global const V *)x)[at + i + 1]; }\n"
        " ((__global V *)y)[get_global_id(0)] = a + b; }\n"
        "__kernel void copy_part(__global const float *x, __global float *y, uint n) {\n"
        " uint part = n / get_global_size(0), at = get_global_id(0) * part;\n"
        " for (uint i = 0; i < part; i++)\n"
        "  ((__global V *)y)[at + i] = ((__global const V *)x)[at + i]; }";
    size_t width = s->cpu ? 64 : 16;
    const char *entry = s->cpu ? copy ? "copy_part" : "read_part" : copy ? "copy_all" : "read_all";
    cl_kernel kernel =
        bench_raw_kernel(&s->raw, source, s->cpu ? "-DV=float16" : "-DV=float4", entry);
    cl_mem x = bench_raw_buffer(&s->raw, bytes, NULL), y = bench_raw_buffer(&s->raw, bytes, NULL);
    cl_uint n = (cl_uint)(bytes / width), zero = 0;
    double spread = 0, seconds = -1;
    size_t global = s->cpu ? (size_t)s->child->device.compute_units * 4
                           : (size_t)s->child->device.compute_units * 2048;
    if (kernel && x && y &&
        !clEnqueueFillBuffer(s->raw.queue, x, &zero, 4, 0, bytes, 0, NULL, NULL) &&
        !clEnqueueFillBuffer(s->raw.queue, y, &zero, 4, 0, bytes, 0, NULL, NULL) &&
        !clSetKernelArg(kernel, 0, sizeof x, &x) && !clSetKernelArg(kernel, 1, sizeof y, &y) &&
        !clSetKernelArg(kernel, 2, sizeof n, &n))
        seconds = bench_raw_time(&s->raw, kernel, global, s->cpu ? 1 : 256, s->rounds, &spread);
    report(s, seconds < 0 ? -1 : (double)bytes * (copy ? 2 : 1) / seconds * 1e-9, "GB/s", spread);
    if (x) clReleaseMemObject(x);
    if (y) clReleaseMemObject(y);
}

static void read_bandwidth(bench_rate *s)
{
    bandwidth(s, stream_bytes(s), false);
}

/* As the weights of a small model lie: in the cache from one call to the next. */
static void cached_bandwidth(bench_rate *s)
{
    bandwidth(s, (size_t)BENCH_CACHED_BYTES, false);
}

static void copy_bandwidth(bench_rate *s)
{
    bandwidth(s, stream_bytes(s), true);
}

/* Eight independent chains of multiply-adds, so that neither latency nor registers are the bound.
 * @return operations a nanosecond, negative if it does not run. */
static double chain_rate(bench_rate *s, const char *options, int lanes, double *spread)
{
    const char *source =
        "#ifdef HALF\n#pragma OPENCL EXTENSION cl_khr_fp16 : enable\n#endif\n"
        "#define B(v, n) (((v) << (24 - 8 * n)) >> 24)\n"
        "#define DOT(a, m) (B(a, 0) * B(m, 0) + B(a, 1) * B(m, 1) + B(a, 2) * B(m, 2) + \\\n"
        "                   B(a, 3) * B(m, 3))\n"
        "__kernel void chains(__global float *y, int n, float seed) {\n"
        " V a = (V)(seed), b = a + (V)(1), c = a + (V)(2), d = a + (V)(3), e = a + (V)(4),\n"
        "   f = a + (V)(5), g = a + (V)(6), h = a + (V)(7), m = (V)(seed);\n"
        " for (int i = 0; i < n; i++) {\n"
        "  a = STEP(a, m); b = STEP(b, m); c = STEP(c, m); d = STEP(d, m);\n"
        "  e = STEP(e, m); f = STEP(f, m); g = STEP(g, m); h = STEP(h, m); }\n"
        " V r = a + b + c + d + e + f + g + h; y[get_global_id(0)] = SUM(r); }";
    size_t global = s->cpu ? (size_t)s->child->device.compute_units * 8
                           : (size_t)s->child->device.compute_units * 4096;
    cl_int n = s->cpu ? 20000 : 500;
    cl_float seed = 0.5f;
    cl_kernel kernel = bench_raw_kernel(&s->raw, source, options, "chains");
    cl_mem y = bench_raw_buffer(&s->raw, global * 4, NULL);
    double seconds = -1;
    if (kernel && y && !clSetKernelArg(kernel, 0, sizeof y, &y) &&
        !clSetKernelArg(kernel, 1, sizeof n, &n) && !clSetKernelArg(kernel, 2, sizeof seed, &seed))
        seconds = bench_raw_time(&s->raw, kernel, global, s->cpu ? 1 : 256, s->rounds, spread);
    if (y) clReleaseMemObject(y);
    return seconds < 0 ? -1 : (double)global * n * 8 * 2 * lanes / seconds * 1e-9;
}

static void chains(bench_rate *s, const char *options, int lanes, const char *unit)
{
    double spread = 0;
    const double rate = chain_rate(s, options, lanes, &spread);
    report(s, rate, unit, spread);
}

static void fp32_rate(bench_rate *s)
{
    if (s->cpu)
        chains(s, "-DV=float16 -DSTEP(a,m)=fma(a,m,m) -DSUM(r)=(r.s0+r.s7+r.sf)", 16, "GFLOP/s");
    else
        chains(s, "-DV=float -DSTEP(a,m)=fma(a,m,m) -DSUM(r)=r", 1, "GFLOP/s");
}

static void fp16_rate(bench_rate *s)
{
    if (!(s->child->device.features & OCLORA_FEATURE_FP16)) {
        bench_result(s->child, "skip", NULL, "half arithmetic is not claimed");
        return;
    }
    if (s->cpu)
        chains(s, "-DHALF -DV=half16 -DSTEP(a,m)=fma(a,m,m) -DSUM(r)=(float)(r.s0+r.s7+r.sf)", 16,
               "GFLOP/s");
    else
        chains(s, "-DHALF -DV=half2 -DSTEP(a,m)=fma(a,m,m) -DSUM(r)=(float)(r.x+r.y)", 2,
               "GFLOP/s");
}

#define DOT_PRODUCT                                                                                \
    "-cl-std=CL3.0 -DV=int "                                                                       \
    "-DSTEP(a,m)=(a+dot_4x8packed_ss_int((uint)(a),(uint)(m+7))) -DSUM(r)=(float)(r)"
/* There is no dot product of vectors; a CPU's plain sums are of vectors. */
#define PLAIN_DOT    "-DV=int -DSTEP(a,m)=(a+DOT(a,(m+7))) -DSUM(r)=(float)(r)"
#define PLAIN_DOT_16 "-DV=int16 -DSTEP(a,m)=(a+DOT(a,(m+7))) -DSUM(r)=(float)(r.s0+r.s7+r.sf)"

static void int8_rate(bench_rate *s)
{
    if (s->child->device.features & OCLORA_FEATURE_INT_DOT)
        chains(s, DOT_PRODUCT, 4, "GOP/s");
    else
        chains(s, "-DV=int16 -DSTEP(a,m)=(a*(m+3)+a) -DSUM(r)=(float)(r.s0+r.s7+r.sf)", 16,
               "GOP/s");
}

/* Is the claimed dot product of bytes an instruction, or made of others? */
static void int_dot_gain(bench_rate *s)
{
    if (!(s->child->device.features & OCLORA_FEATURE_INT_DOT)) {
        bench_result(s->child, "skip", NULL, "an integer dot product is not claimed");
        return;
    }
    double spread = 0, plain_spread = 0;
    const double rate = chain_rate(s, DOT_PRODUCT, 4, &spread);
    const double plain = rate < 0 ? -1
                         : s->cpu ? chain_rate(s, PLAIN_DOT_16, 64, &plain_spread)
                                  : chain_rate(s, PLAIN_DOT, 4, &plain_spread);
    report(s, plain < 0 ? -1 : rate / plain, "x", spread > plain_spread ? spread : plain_spread);
}

static void launch_cost(bench_rate *s)
{
    const char *source = "__kernel void nothing(__global int *y) { if (!y) y[0] = 1; }";
    cl_kernel kernel = bench_raw_kernel(&s->raw, source, "", "nothing");
    cl_mem y = bench_raw_buffer(&s->raw, 64, NULL);
    double spread = 0, seconds = -1;
    if (kernel && y && !clSetKernelArg(kernel, 0, sizeof y, &y))
        seconds = bench_raw_time(&s->raw, kernel, 1, 1, s->rounds, &spread);
    report(s, seconds < 0 ? -1 : seconds * 1e6, "us", spread);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void round_trip(bench_rate *s)
{
    const char *source = "__kernel void nothing(__global int *y) { if (!y) y[0] = 1; }";
    enum { COUNT = 50 };
    double times[COUNT];
    cl_kernel kernel = bench_raw_kernel(&s->raw, source, "", "nothing");
    cl_mem y = bench_raw_buffer(&s->raw, 64, NULL);
    cl_int code = kernel && y ? clSetKernelArg(kernel, 0, sizeof y, &y) : -1;
    if (!code) code = bench_raw_run(&s->raw, kernel, 1, 1);
    for (int i = 0; i < COUNT && !code; i++) {
        double began = bench_now();
        code = bench_raw_run(&s->raw, kernel, 1, 1);
        times[i] = bench_now() - began;
    }
    if (!code) qsort(times, COUNT, sizeof *times, compare_doubles);
    report(s, code ? -1 : times[COUNT / 4] * 1e6, "us",
           code ? 0 : times[COUNT / 2] / times[COUNT / 4] - 1);
}

static void transfer(bench_rate *s, bool write)
{
    enum { ROUNDS = 7 };
    size_t bytes = 16u << 20;
    double times[ROUNDS];
    char *memory = calloc(bytes, 1);
    cl_mem x = bench_raw_buffer(&s->raw, bytes, memory);
    cl_int code = memory && x ? CL_SUCCESS : -1;
    for (int i = 0; i < ROUNDS && !code; i++) {
        double began = bench_now();
        code = write
                   ? clEnqueueWriteBuffer(s->raw.queue, x, CL_TRUE, 0, bytes, memory, 0, NULL, NULL)
                   : clEnqueueReadBuffer(s->raw.queue, x, CL_TRUE, 0, bytes, memory, 0, NULL, NULL);
        times[i] = bench_now() - began;
    }
    if (!code) qsort(times, ROUNDS, sizeof *times, compare_doubles);
    report(s, code ? -1 : (double)bytes / times[0] * 1e-9, "GB/s",
           code ? 0 : times[ROUNDS / 2] / times[0] - 1);
    if (x) clReleaseMemObject(x);
    free(memory);
}

static void write_transfer(bench_rate *s)
{
    transfer(s, true);
}

static void read_transfer(bench_rate *s)
{
    transfer(s, false);
}

/* A program nobody has cached: its text holds the clock. Includes the first launch, when some
 * runtimes really compile. */
static void compile_time(bench_rate *s)
{
    char source[400];
    snprintf(source, sizeof source,
             "__kernel void fresh(__global float *y) { size_t i = get_global_id(0);\n"
             " float v = y[i] + %.0f.0f; for (int k = 0; k < 64; k++) v = fma(v, y[k], 1.0f);\n"
             " y[i] = v; }",
             bench_now() * 1e3);
    double began = bench_now();
    cl_kernel kernel = bench_raw_kernel(&s->raw, source, "", "fresh");
    cl_mem y = bench_raw_buffer(&s->raw, 4096, NULL);
    bool ok = kernel && y && !clSetKernelArg(kernel, 0, sizeof y, &y) &&
              !bench_raw_run(&s->raw, kernel, 64, 64);
    report(s, ok ? (bench_now() - began) * 1e3 : -1, "ms", 0);
}

oclora_status bench_step_speed(bench_child *child, oclora_error *err)
{
    static const struct {
        const char *name;
        void (*run)(bench_rate *s);
    } rates[] = {
        {"read_bandwidth", read_bandwidth}, {"read_bandwidth_2MiB", cached_bandwidth},
        {"copy_bandwidth", copy_bandwidth}, {"fp32_rate", fp32_rate},
        {"fp16_rate", fp16_rate},           {"int8_rate", int8_rate},
        {"int_dot_gain", int_dot_gain},     {"launch_cost", launch_cost},
        {"round_trip", round_trip},         {"host_to_device", write_transfer},
        {"device_to_host", read_transfer},  {"compile_time", compile_time},
    };
    bench_rate s = {.child = child,
                    .cpu = child->device.type == OCLORA_DEVICE_CPU,
                    .rounds = child->mode == BENCH_QUICK  ? 7
                              : child->mode == BENCH_FULL ? 31
                                                          : 15};
    OCLORA_TRY(bench_raw_open(&s.raw, child, err));
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        s.raw.log[0] = '\0';
        if (bench_begin(child, rates[i].name)) rates[i].run(&s);
    }
    return OCLORA_OK;
}
