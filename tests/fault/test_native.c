/* The life of a host program on the native ABI, in which every OpenCL call, every allocation and
 * every system call fails: once alone, once with all after it, and in pairs. After each failure a
 * named status and a text; the results of the others bit by bit as before; the context usable again
 * or cleanly lost; and nothing left behind. */
#include "fault/native_life.h"

#include <CL/cl.h>

/* Out of resources, of device memory, of host memory; a dead queue; a lost device, in two words. */
static const int codes[6] = {-5, -4, -6, -36, -2, -9999};
static const int no_memory[1] = {-4};

static const oclora_api *api;

static native_life *open_life(uint32_t device)
{
    oclora_message msg = {sizeof msg, ""};
    oclora_device_desc desc = {.struct_size = sizeof desc};
    native_life *l = calloc(1, sizeof *l);
    if (l == NULL) abort();
    WANT_OK(api->device_info(device, &desc, &msg));
    snprintf(l->device, sizeof l->device, "%.60s", desc.platform);
    l->w.api = api;
    oclora_test_fill(l->x, LIFE_ROWS * Q_IN);
    return l;
}

/* `sample`: one call of how many is failed; in the full test each. */
static fault_effort effort_of(uint32_t device, long sample)
{
    if (fault_loop_full()) return (fault_effort){1, 1, 200, 1};
    if (device > 0) sample *= 8; /* other drivers fail in the same places */
    return (fault_effort){sample, 3 * sample, 20 / sample, 6 * sample};
}

static void calls_on(uint32_t device, uint32_t device_class)
{
    const fault_plan none = {0};
    native_life *l = open_life(device);
    const fault_life life = native_life_of(l);
    const fault_effort some = effort_of(device, 5), more = effort_of(device, 2);
    (void)device_class;
    fault_loop_once(&life, FAULT_CALL, &none); /* fills the program cache */
    CHECK(memcmp(l->expected[0], l->expected[1], sizeof l->expected[0]) != 0);
    fault_loop_run(&life, FAULT_CALL, codes, 6, &some);
    fault_loop_run(&life, FAULT_LATER, codes, 6, &more);
    fault_loop_run(&life, FAULT_SILENT, codes, 6, &more);
    fault_loop_run(&life, FAULT_HOLLOW, no_memory, 1, &more);
    free(l);
}

static void test_calls(void)
{
    native_each(api, 0, calls_on);
}

/* Allocations of the library and of the libraries it uses, of the host's callback, system calls. */
static void memory_on(uint32_t device, uint32_t device_class)
{
    native_life *l = open_life(device);
    const fault_life life = native_life_of(l);
    const fault_effort some = effort_of(device, 7), more = effort_of(device, 2);
    (void)device_class;
    fault_loop_run(&life, FAULT_FROM_MEMORY, codes, 1, &some);
    fault_loop_run(&life, FAULT_FROM_SYSTEM, codes, 1, &more);
    l->callbacks = true;
    fault_loop_run(&life, FAULT_FROM_HOST, codes, 1, &some);
    free(l);
}

static void test_memory(void)
{
    native_each(api, 0, memory_on);
}

/* Over the host's own context, queue and buffer, which stay the host's. */
static bool open_host(native_life *l, uint32_t number)
{
    oclora_device *devices = NULL;
    size_t count = 0;
    cl_int code = CL_INVALID_DEVICE;
    if (oclora_devices_list(oclora_test_env(), &devices, &count, NULL) == OCLORA_OK &&
        number < count) {
        cl_device_id device = devices[number].device_handle;
        cl_context context = clCreateContext(NULL, 1, &device, NULL, NULL, &code);
        l->cl[0] = context;
        l->cl[1] = device;
        if (code == CL_SUCCESS) l->cl[2] = clCreateCommandQueue(context, device, 0, &code);
        if (code == CL_SUCCESS)
            l->cl[3] = clCreateBuffer(context, CL_MEM_COPY_HOST_PTR, sizeof l->x, l->x, &code);
    }
    oclora_release(oclora_test_env(), devices);
    return CHECK_INT(code, CL_SUCCESS);
}

static void host_context_on(uint32_t device, uint32_t device_class)
{
    native_life *l = open_life(device);
    const fault_effort some = effort_of(device, 5);
    (void)device_class;
    if (open_host(l, device)) {
        const fault_life life = native_life_of(l);
        fault_loop_run(&life, FAULT_CALL, codes, 6, &some);
        fault_loop_run(&life, FAULT_SILENT, codes, 6, &some);
        fault_loop_run(&life, FAULT_HOLLOW, no_memory, 1, &some);
        clReleaseMemObject(l->cl[3]);
        clReleaseCommandQueue(l->cl[2]);
        clReleaseContext(l->cl[0]);
    }
    free(l);
}

static void test_host_context(void)
{
    native_each(api, 0, host_context_on);
    fault_loop_summary("native ABI");
}

int main(void)
{
    static const oclora_test tests[] = {{"every OpenCL call fails", test_calls},
                                        {"every allocation and system call fails", test_memory},
                                        {"in the host's own context", test_host_context}};
    void *library = NULL;
    if (fault_loop_layer() == NULL) {
        printf("skipped: this OpenCL loader knows no layers, or OPENCL_LAYERS is not set\n");
        return 77;
    }
    api = native_open(&library);
    const bool watched = fault_memory_watch("liboclora.so", true) &&
                         fault_memory_watch("libjansson.so", true) &&
                         fault_memory_watch("libpcre2-8.so", true) &&
                         fault_memory_watch("libcrypto.so", false); /* keeps what it looked up */
    const int status = oclora_test_main("fault_native", tests, sizeof tests / sizeof *tests);
    dlclose(library);
    return watched ? status : 1;
}
