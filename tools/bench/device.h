/* device.h - one OpenCL device, seen by the engine and by raw OpenCL (probes, CLBlast) through the
 * same context and queue. */
#ifndef OCLORA_BENCH_DEVICE_H
#define OCLORA_BENCH_DEVICE_H

#include "host/core/stream.h"
#include "tools/bench/duel.h"

#include <CL/cl.h>

typedef struct bench_device {
    oclora_env env;
    oclora_error err; /* of the last failure */
    oclora_device info;
    cl_context cl;
    cl_command_queue queue;
    oclora_context *context;
    oclora_stream *stream;
} bench_device;

/* False after a message on stderr. `device_class`: OCLORA_CLASS_AUTO, or whose kernels to use. */
bool bench_device_open(bench_device *out, const char *selector, uint32_t device_class);
void bench_device_close(bench_device *device);

/* A kernel of its own source; NULL after a message. */
cl_kernel bench_kernel(bench_device *device, const char *source, const char *options,
                       const char *entry);

/* Reads `bytes` of device memory as fast as this device is known to, again and again: the same
 * bytes, or those of `places` buffers in turns. */
typedef struct bench_probe {
    bench_device *device;
    cl_kernel kernel;
    cl_mem *data;
    cl_mem out;
    uint32_t places;
    uint32_t next;
    size_t items;
    size_t group;
} bench_probe;
bool bench_probe_open(bench_probe *out, bench_device *device, uint64_t bytes, uint32_t places);
bool bench_probe_run(void *probe, uint32_t repeats);
void bench_probe_close(bench_probe *probe);

/* Multiply-adds a second that this device reaches, times two; negative if it fails. */
double bench_flop_rate(bench_device *device, double seconds);

/* Runs this thread, and those it makes from now on, on one CPU; on any. */
bool bench_pin(int cpu);
bool bench_unpin(void);

/* Where this thread may run. */
typedef struct bench_place {
    unsigned long cpus[16];
} bench_place;
bool bench_place_get(bench_place *out);
bool bench_place_set(const bench_place *place);
/* On the first CPU until bench_place_set(before), if `many` threads of a peer are on the others. @return
 * whether it was moved. */
bool bench_place_first(bench_place *before, bool many);

#endif
