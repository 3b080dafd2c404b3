/* raw.h - OpenCL without the engine, for what the engine has no need to ask: the probes' own
 * context, queue and small kernels. The step's process ends soon, so objects are not given back one
 * by one. */
#ifndef OCLORA_TOOLS_CLINFO_BENCH_RAW_H
#define OCLORA_TOOLS_CLINFO_BENCH_RAW_H

#include "tools/clinfo-bench/bench.h"

#include <CL/cl.h>

typedef struct bench_raw {
    cl_device_id device;
    cl_context context;
    cl_command_queue queue;
    char log[400]; /* of the last failed build */
} bench_raw;

oclora_status bench_raw_open(bench_raw *raw, const bench_child *child, oclora_error *err);

/* @return the kernel, or NULL with the head of the build log (or the failed call) in raw->log. */
cl_kernel bench_raw_kernel(bench_raw *raw, const char *source, const char *options,
                           const char *entry);

/* A buffer of `bytes`, filled with `data` unless that is NULL; NULL if it cannot be had. */
cl_mem bench_raw_buffer(bench_raw *raw, size_t bytes, const void *data);

/* Runs one dimension and waits. `local` 0 = the runtime's choice. */
cl_int bench_raw_run(bench_raw *raw, cl_kernel kernel, size_t global, size_t local);

/* Seconds of one launch: the best of `rounds` groups of launches, each group long enough for the
 * clock; `*spread` (may be NULL) is how much worse the median is, as a fraction. Negative on error.
 */
double bench_raw_time(bench_raw *raw, cl_kernel kernel, size_t global, size_t local, int rounds,
                      double *spread);

/* As text; "" where the driver does not know the query. */
void bench_raw_text(cl_device_id device, cl_device_info what, char *text, size_t size);
/* 0 where the driver does not know the query. */
cl_ulong bench_raw_ulong(cl_device_id device, cl_device_info what);

#endif
