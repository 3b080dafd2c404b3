/* memory.c - allocations, claimed and found. clCreateBuffer promises little (drivers allocate
 * late), so every page is written and samples are read back. */
#include "tools/clinfo-bench/raw.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static uint64_t free_host_bytes(void)
{
    char line[256];
    unsigned long long kib = 0;
    FILE *file = fopen("/proc/meminfo", "r");
    while (file && !kib && fgets(line, sizeof line, file))
        if (sscanf(line, "MemAvailable: %llu", &kib) != 1) kib = 0;
    if (file) fclose(file);
    return (uint64_t)kib * 1024;
}

static uint64_t host_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;
}

/* How much a run of this mode may touch: a device that shares the host's memory must leave most of
 * it to others. */
static uint64_t most_bytes(const bench_child *child)
{
    const uint64_t mib = 1024 * 1024;
    uint64_t most = child->mode == BENCH_QUICK      ? 256 * mib
                    : child->mode == BENCH_STANDARD ? 1024 * mib
                                                    : UINT64_MAX;
    bool shared = child->device.type == OCLORA_DEVICE_CPU ||
                  (child->device.features & OCLORA_FEATURE_UNIFIED_MEMORY);
    uint64_t room = free_host_bytes() / 3;
    if (shared && room && room < most) most = room;
    return most;
}

/* One buffer of `bytes`, every page written; kept. @return the failed call's code. */
static cl_int touch(bench_raw *raw, uint64_t bytes, cl_mem *out, const char **call)
{
    cl_int code = CL_SUCCESS;
    cl_uint pattern = 0x5a5a0000u, got = 0;
    *call = "clCreateBuffer";
    cl_mem mem = clCreateBuffer(raw->context, CL_MEM_READ_WRITE, (size_t)bytes, NULL, &code);
    if (!mem) return code ? code : -1;
    pattern |= (cl_uint)(bytes >> 20) & 0xffff;
    *call = "clEnqueueFillBuffer";
    code = clEnqueueFillBuffer(raw->queue, mem, &pattern, sizeof pattern, 0,
                               (size_t)bytes & ~(size_t)3, 0, NULL, NULL);
    if (!code) code = clFinish(raw->queue);
    for (int i = 0; i <= 8 && !code; i++) {
        size_t at = (size_t)(((bytes - 4) / 8 * (uint64_t)i) & ~(uint64_t)3);
        *call = "clEnqueueReadBuffer";
        code = clEnqueueReadBuffer(raw->queue, mem, CL_TRUE, at, 4, &got, 0, NULL, NULL);
        if (!code && got != pattern) {
            *call = "a read back value is wrong";
            code = CL_MEM_COPY_OVERLAP;
        }
    }
    if (code)
        clReleaseMemObject(mem);
    else
        *out = mem;
    return code;
}

static void claims(bench_child *child)
{
    const oclora_device *device = &child->device;
    json_t *item = json_pack("{s:I, s:I}", "claimed_bytes", (json_int_t)device->global_bytes,
                             "found_bytes", (json_int_t)host_bytes());
    if (device->max_alloc_bytes > device->global_bytes)
        bench_result(child, "fail", item,
                     "the largest allocation (%" PRIu64 " bytes) is claimed to exceed the whole "
                     "memory (%" PRIu64 " bytes)",
                     device->max_alloc_bytes, device->global_bytes);
    else if (device->type == OCLORA_DEVICE_CPU && host_bytes() &&
             device->global_bytes > host_bytes() + host_bytes() / 4)
        bench_result(child, "fail", item,
                     "claims %" PRIu64 " bytes of memory; this machine has %" PRIu64,
                     device->global_bytes, host_bytes());
    else if (!device->global_bytes || !device->max_alloc_bytes)
        bench_result(child, "fail", item, "claims no memory at all");
    else
        bench_result(child, "pass", item, "%s", "");
}

static void largest_single(bench_child *child, bench_raw *raw)
{
    uint64_t claimed = child->device.max_alloc_bytes, most = most_bytes(child);
    uint64_t ask = claimed < most ? claimed : most, found = 0;
    bool whole = ask == claimed;
    const char *call = "";
    cl_int code = CL_SUCCESS, first = CL_SUCCESS;
    while (ask >= 1 << 20 && !found) {
        cl_mem mem = NULL;
        code = touch(raw, ask, &mem, &call);
        if (!code) found = ask;
        if (code && !first) first = code;
        ask = ask / 2 & ~(uint64_t)4095;
        if (mem) clReleaseMemObject(mem);
    }
    json_t *item = json_pack("{s:I, s:I}", "claimed_bytes", (json_int_t)claimed, "found_bytes",
                             (json_int_t)found);
    if (first)
        bench_result(child, "fail", item, "%s bytes claimed could not be used: %s",
                     whole ? "all" : "fewer than", oclora_cl_error_name(first));
    else
        bench_result(child, "pass", item, "%s", whole ? "" : "tried up to this mode's bound only");
}

static void total(bench_child *child, bench_raw *raw)
{
    enum { MOST = 64 };
    uint64_t claimed = child->device.global_bytes, most = most_bytes(child), found = 0;
    uint64_t part = most / 8;
    if (part > child->device.max_alloc_bytes) part = child->device.max_alloc_bytes;
    if (part > (uint64_t)2 << 30) part = (uint64_t)2 << 30;
    part &= ~(uint64_t)4095;
    cl_mem mems[MOST] = {0};
    const char *call = "";
    cl_int code = CL_SUCCESS;
    int used = 0;
    while (part && used < MOST && found + part <= most && found + part <= claimed && !code) {
        code = touch(raw, part, &mems[used], &call);
        if (code) break;
        used++;
        found += part;
    }
    for (int i = 0; i < used; i++) clReleaseMemObject(mems[i]);
    json_t *item = json_pack("{s:I, s:I}", "claimed_bytes", (json_int_t)claimed, "found_bytes",
                             (json_int_t)found);
    if (code && found < claimed / 2)
        bench_result(child, "fail", item, "%s after %" PRIu64 " bytes: %s", call, found,
                     oclora_cl_error_name(code));
    else
        bench_result(child, "pass", item, "%s", code ? "" : "tried up to this mode's bound only");
}

oclora_status bench_step_memory(bench_child *child, oclora_error *err)
{
    bench_raw raw = {0};
    OCLORA_TRY(bench_raw_open(&raw, child, err));
    if (bench_begin(child, "memory_claims")) claims(child);
    if (bench_begin(child, "largest_allocation")) largest_single(child, &raw);
    if (bench_begin(child, "total_allocation")) total(child, &raw);
    return OCLORA_OK;
}
