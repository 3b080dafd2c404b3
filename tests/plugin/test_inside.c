/* liboclora.so inside a program that owns the OpenCL context: the program's own matmul writes y,
 * the library adds what the adapters add, the program's next kernel reads it, all in the program's
 * queue and buffers and without a wait in between. And what the library says it can do is what it
 * does. */
#include "world.h"

#include <CL/cl.h>
#include <math.h>

enum { ROWS = 7, PAD = 32 /* floats before x and y in their buffers */ };

static const oclora_api *api;
static oclora_message msg = {sizeof msg, ""};

static const char source[] =
    "kernel void gemm(global const float *w, global const float *x, global float *y, int d_in,\n"
    "                 int d_out, int pad)\n"
    "{\n"
    "    const int o = get_global_id(0), t = get_global_id(1);\n"
    "    float sum = 0.0f;\n"
    "    for (int i = 0; i < d_in; i++) sum += w[o * d_in + i] * x[pad + t * d_in + i];\n"
    "    y[pad + t * d_out + o] = sum;\n"
    "}\n"
    "kernel void relu(global float *y, int pad)\n"
    "{\n"
    "    const int i = get_global_id(0) + pad;\n"
    "    y[i] = fmax(y[i], 0.0f);\n"
    "}\n";

/* The program around the library. */
typedef struct program {
    cl_context context;
    cl_command_queue queue;
    cl_program built;
    cl_kernel gemm, relu;
    cl_mem w, x, y;
    cl_device_id device;
} program;

static cl_device_id device_at(uint32_t index)
{
    cl_platform_id platforms[16];
    cl_device_id devices[64];
    cl_uint n_platforms = 0, n = 0;
    clGetPlatformIDs(16, platforms, &n_platforms);
    for (cl_uint p = 0; p < n_platforms; p++) {
        if (clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, 64, devices, &n) != CL_SUCCESS)
            continue;
        if (index < n) return devices[index];
        index -= n;
    }
    return NULL;
}

static bool open_program(program *p, uint32_t device)
{
    const char *text = source;
    cl_int code = CL_SUCCESS;
    memset(p, 0, sizeof *p);
    p->device = device_at(device);
    p->context = clCreateContext(NULL, 1, &p->device, NULL, NULL, &code);
    if (!CHECK(p->context != NULL)) return false;
    p->queue = clCreateCommandQueue(p->context, p->device, 0, &code);
    p->built = clCreateProgramWithSource(p->context, 1, &text, NULL, &code);
    CHECK_INT(clBuildProgram(p->built, 1, &p->device, "", NULL, NULL), CL_SUCCESS);
    p->gemm = clCreateKernel(p->built, "gemm", &code);
    p->relu = clCreateKernel(p->built, "relu", &code);
    p->w = clCreateBuffer(p->context, CL_MEM_READ_ONLY, Q_IN * Q_OUT * 4, NULL, &code);
    p->x = clCreateBuffer(p->context, CL_MEM_READ_ONLY, (PAD + ROWS * Q_IN) * 4, NULL, &code);
    p->y = clCreateBuffer(p->context, CL_MEM_READ_WRITE, (PAD + ROWS * Q_OUT) * 4, NULL, &code);
    return CHECK(p->gemm != NULL && p->relu != NULL && p->w != NULL && p->x != NULL &&
                 p->y != NULL);
}

static void close_program(program *p)
{
    cl_uint mine = 0, all = 0;
    clFinish(p->queue);
    clReleaseKernel(p->gemm); /* drivers may count a kernel's arguments */
    clReleaseKernel(p->relu);
    /* Nothing of the program's is held any more: its buffer counts as one the library never saw. */
    clGetMemObjectInfo(p->w, CL_MEM_REFERENCE_COUNT, sizeof mine, &mine, NULL);
    clGetMemObjectInfo(p->y, CL_MEM_REFERENCE_COUNT, sizeof all, &all, NULL);
    CHECK_INT(all, mine);
    /* Not the queue's count: PoCL adds one for each command that ever ran. */
    clReleaseMemObject(p->w);
    clReleaseMemObject(p->x);
    clReleaseMemObject(p->y);
    clReleaseProgram(p->built);
    clReleaseCommandQueue(p->queue);
    clReleaseContext(p->context);
}

static void enqueue_gemm(const program *p)
{
    const cl_int d_in = Q_IN, d_out = Q_OUT, pad = PAD;
    const size_t global[2] = {Q_OUT, ROWS};
    clSetKernelArg(p->gemm, 0, sizeof p->w, &p->w);
    clSetKernelArg(p->gemm, 1, sizeof p->x, &p->x);
    clSetKernelArg(p->gemm, 2, sizeof p->y, &p->y);
    clSetKernelArg(p->gemm, 3, sizeof d_in, &d_in);
    clSetKernelArg(p->gemm, 4, sizeof d_out, &d_out);
    clSetKernelArg(p->gemm, 5, sizeof pad, &pad);
    CHECK_INT(clEnqueueNDRangeKernel(p->queue, p->gemm, 2, NULL, global, NULL, 0, NULL, NULL), 0);
}

static void enqueue_relu(const program *p)
{
    const cl_int pad = PAD;
    const size_t global[1] = {ROWS * Q_OUT};
    clSetKernelArg(p->relu, 0, sizeof p->y, &p->y);
    clSetKernelArg(p->relu, 1, sizeof pad, &pad);
    CHECK_INT(clEnqueueNDRangeKernel(p->queue, p->relu, 1, NULL, global, NULL, 0, NULL, NULL), 0);
}

/* A context of the library over the program's. */
static oclora_status adopt(const program *p, cl_command_queue queue, oclora_context_t **out)
{
    const oclora_context_args args = {.struct_size = sizeof args,
                                      .cl_context = p->context,
                                      .cl_device = p->device,
                                      .cl_queue = queue,
                                      .no_cache = 1};
    return api->context_create(&args, out, &msg);
}

/* As world_weight makes it. */
static float weight_at(size_t i)
{
    return (float)(i * 37 % 101) / 101.0f - 0.5f;
}

/* The delta of the adapter alone, by the library's other way: host memory, full minus base. */
static void reference(const world *w, oclora_batch_t *batch, const float *x, double *out)
{
    static float whole[ROWS * Q_OUT], base[ROWS * Q_OUT];
    oclora_linear_args call = world_call(w, batch, x, whole, ROWS);
    WANT_OK(api->linear(&call, &msg));
    call.batch = NULL;
    call.y = base;
    WANT_OK(api->linear(&call, &msg));
    for (size_t t = 0; t < ROWS; t++)
        for (size_t o = 0; o < Q_OUT; o++) {
            double sum = (double)whole[t * Q_OUT + o] - (double)base[t * Q_OUT + o];
            for (size_t i = 0; i < Q_IN; i++)
                sum += (double)weight_at(o * Q_IN + i) * (double)x[t * Q_IN + i];
            out[t * Q_OUT + o] = sum > 0.0 ? sum : 0.0;
        }
}

static void inside_on(uint32_t device, uint32_t device_class)
{
    static float weights[Q_IN * Q_OUT], x[PAD + ROWS * Q_IN], y[PAD + ROWS * Q_OUT];
    static double expected[ROWS * Q_OUT];
    program p;
    world w = {.api = api};
    oclora_batch_t *batch = NULL;
    oclora_event_t *event = NULL;
    (void)device_class;
    if (!open_program(&p, device)) return;
    for (size_t i = 0; i < Q_IN * Q_OUT; i++) weights[i] = weight_at(i);
    oclora_test_fill(x, PAD + ROWS * Q_IN);
    oclora_test_poison(y, sizeof y);
    if (WANT_OK(adopt(&p, p.queue, &w.context)) && WANT_OK(world_fill(&w, &msg)) &&
        WANT_OK(world_batch(&w, ROWS, &batch, &msg))) {
        reference(&w, batch, x + PAD, expected);
        CHECK_INT(
            clEnqueueWriteBuffer(p.queue, p.w, CL_FALSE, 0, sizeof weights, weights, 0, NULL, NULL),
            0);
        CHECK_INT(clEnqueueWriteBuffer(p.queue, p.x, CL_FALSE, 0, sizeof x, x, 0, NULL, NULL), 0);
        CHECK_INT(clEnqueueWriteBuffer(p.queue, p.y, CL_FALSE, 0, sizeof y, y, 0, NULL, NULL), 0);
        enqueue_gemm(&p);
        oclora_linear_args call = world_call(&w, batch, NULL, NULL, ROWS);
        call.x_mem = p.x;
        call.y_mem = p.y;
        call.x_offset = PAD * sizeof(float);
        call.y_offset = PAD * sizeof(float);
        call.flags = OCLORA_DELTA_ONLY;
        WANT_OK(api->linear_submit(&call, &event, &msg));
        enqueue_relu(&p);
        CHECK_INT(clEnqueueReadBuffer(p.queue, p.y, CL_TRUE, 0, sizeof y, y, 0, NULL, NULL), 0);
        CHECK_LE(oclora_test_max_error(y + PAD, expected, ROWS * Q_OUT), 1e-5);
        for (int i = 0; i < PAD; i++) CHECK(isnan(y[i])); /* nothing before the offset is touched */
        WANT_OK(api->event_wait(event, &msg));
    }
    api->event_destroy(event);
    api->batch_destroy(batch);
    world_close(&w);
    close_program(&p);
}

/* What does not belong to the program's context is refused by name, and the program goes on. */
static void foreign_on(uint32_t device, uint32_t device_class)
{
    program p, other;
    world w = {.api = api};
    oclora_context_t *none = NULL;
    cl_int code = 0;
    (void)device_class;
    if (!open_program(&p, device) || !open_program(&other, device)) return;
    const oclora_context_args queue_alone = {
        .struct_size = sizeof queue_alone, .cl_queue = p.queue, .no_cache = 1};
    WANT(api->context_create(&queue_alone, &none, &msg), OCLORA_INVALID_ARGUMENT);
    WANT(adopt(&p, other.queue, &none), OCLORA_INVALID_ARGUMENT);
    cl_command_queue wild =
        clCreateCommandQueue(p.context, p.device, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, &code);
    if (wild != NULL) {
        WANT(adopt(&p, wild, &none), OCLORA_INVALID_ARGUMENT);
        CHECK_CONTAINS(msg.text, "out-of-order");
        clReleaseCommandQueue(wild);
    }
    CHECK(none == NULL);
    if (WANT_OK(adopt(&p, NULL, &w.context)) && WANT_OK(world_fill(&w, &msg))) {
        oclora_linear_args call = world_call(&w, NULL, NULL, NULL, ROWS);
        call.x_mem = other.x;
        call.y_mem = p.y;
        WANT(api->linear(&call, &msg), OCLORA_INVALID_ARGUMENT);
        CHECK_CONTAINS(msg.text, "another cl_context");
        call.x_mem = p.x;
        WANT_OK(api->linear(&call, &msg));
        call.x_mem = p.y; /* the rows would be written over those still to be read */
        WANT(api->linear(&call, &msg), OCLORA_INVALID_ARGUMENT);
        CHECK_CONTAINS(msg.text, "overlap");
    }
    world_close(&w);
    close_program(&other);
    close_program(&p);
}

/* weight_types bit by bit: a set one is taken, a clear one refused as such. */
static void capabilities_on(uint32_t device, uint32_t device_class)
{
    static const float values[256 * 16] = {0};
    oclora_context_t *context = native_context(api, device, device_class);
    oclora_capabilities caps = {.struct_size = sizeof caps};
    WANT_OK(api->context_capabilities(context, &caps, &msg));
    CHECK_INT(caps.device_class, device_class);
    CHECK_INT(caps.stores, 15);
    CHECK(caps.max_rank >= 512 && caps.max_adapters >= 1000);
    CHECK(caps.weight_types >> OCLORA_TYPE_COUNT == 0);
    CHECK(caps.kinds == ((uint64_t)1 << OCLORA_KIND_END_) - 2);
#define BYTES(name, code, text, elements, bytes) 256 / (elements) * (bytes)*16,
    static const uint64_t sizes[] = {OCLORA_TYPE_MAP(BYTES)};
    for (uint32_t type = 0; type < OCLORA_TYPE_COUNT; type++) {
        oclora_weight_t *weight = NULL;
        const oclora_weight_args args = {.struct_size = sizeof args,
                                         .name = "w",
                                         .name_length = 1,
                                         .data = values,
                                         .data_bytes = sizes[type],
                                         .type = type,
                                         .d_in = 256,
                                         .d_out = 16};
        if (sizes[type] > sizeof values) continue; /* 64-bit elements */
        WANT(api->weight_create(context, &args, &weight, &msg),
             caps.weight_types >> type & 1 ? OCLORA_OK : OCLORA_UNSUPPORTED_DTYPE);
        api->weight_destroy(weight);
    }
    api->context_destroy(context);
}

static void test_inside(void)
{
    native_each(api, 0, inside_on);
}
static void test_foreign(void)
{
    native_each(api, 0, foreign_on);
}
static void test_capabilities(void)
{
    native_each(api, 1, capabilities_on);
}

int main(void)
{
    static const oclora_test tests[] = {
        {"between two kernels of the program that owns the context", test_inside},
        {"queues and buffers of others", test_foreign},
        {"capabilities are what is done", test_capabilities},
    };
    void *library = NULL;
    api = native_open(&library);
    const int status = oclora_test_main("plugin_inside", tests, sizeof tests / sizeof *tests);
    dlclose(library);
    return status;
}
