/* What needs OpenCL's own types or the inside of a context: host objects, and faults. */
#include "host/core/cl.h"
#include "support/harness.h"

#include <stdlib.h>
#include <string.h>

typedef struct host {
    cl_context context;
    cl_command_queue queue, out_of_order;
    cl_mem mem;
} host;

static bool make_host(const oclora_test_device *test, host *out)
{
    cl_int code = 0;
    cl_device_id device = test->device->device_handle;
    out->context = clCreateContext(NULL, 1, &device, NULL, NULL, &code);
    if (!CHECK_INT(code, 0)) return false;
    out->queue = clCreateCommandQueue(out->context, device, 0, &code);
    CHECK_INT(code, 0);
    if (test->device->features & OCLORA_FEATURE_OUT_OF_ORDER)
        out->out_of_order = clCreateCommandQueue(out->context, device,
                                                 CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, &code);
    out->mem = clCreateBuffer(out->context, CL_MEM_READ_WRITE, 400, NULL, &code);
    return CHECK_INT(code, 0) && out->queue;
}

static oclora_status run_fill(oclora_stream *stream, oclora_buffer *y, oclora_error *err)
{
    const oclora_kernel_ref fill = {"probe", "probe_fill", ""};
    const oclora_arg args[] = {oclora_arg_buffer(y), oclora_arg_u64(0), oclora_arg_f32(5)};
    const size_t count = 10;
    return oclora_stream_launch(stream, &fill, args, 3, 1, &count, NULL, err);
}

/* Our objects over the host's keep working after the host released its own references. */
static void host_objects(const oclora_test_device *test)
{
    oclora_error err = {0};
    host own = {0};
    oclora_context *context = NULL;
    oclora_stream *stream = NULL;
    oclora_buffer *buffer = NULL;
    if (!make_host(test, &own)) return;
    const oclora_context_options options = {.cache_dir = "", .cl_context = own.context};
    CHECK_OK(oclora_context_create(&context, oclora_test_env(), test->device, &options, &err),
             &err);
    CHECK_STATUS(oclora_stream_wrap(&stream, test->context, own.queue, &err),
                 OCLORA_INVALID_ARGUMENT, &err);
    CHECK_STATUS(oclora_buffer_wrap(&buffer, test->context, own.mem, &err), OCLORA_INVALID_ARGUMENT,
                 &err);
    if (own.out_of_order) {
        CHECK_STATUS(oclora_stream_wrap(&stream, context, own.out_of_order, &err),
                     OCLORA_INVALID_ARGUMENT, &err);
        clReleaseCommandQueue(own.out_of_order);
    }
    CHECK(!stream && !buffer);
    CHECK_OK(oclora_stream_wrap(&stream, context, own.queue, &err), &err);
    CHECK_OK(oclora_buffer_wrap(&buffer, context, own.mem, &err), &err);
    clReleaseMemObject(own.mem);
    clReleaseCommandQueue(own.queue);
    clReleaseContext(own.context);
    CHECK_INT(oclora_buffer_bytes(buffer), 400);
    float out[10] = {0};
    CHECK_OK(run_fill(stream, buffer, &err), &err);
    CHECK_OK(oclora_stream_read(stream, buffer, 0, out, sizeof out, &err), &err);
    CHECK(out[0] == 5.0f && out[9] == 5.0f);
    CHECK_STATUS(oclora_stream_read(test->stream, buffer, 0, out, sizeof out, &err),
                 OCLORA_INVALID_ARGUMENT, &err);
    oclora_buffer_destroy(buffer);
    oclora_stream_destroy(stream);
    oclora_context_destroy(context);
}

static void test_host_objects(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, host_objects);
}

static void foreign_device(const oclora_test_device *test)
{
    oclora_error err = {0};
    oclora_device *devices = NULL;
    size_t count = 0;
    oclora_context *context = NULL;
    CHECK_OK(oclora_devices_list(oclora_test_env(), &devices, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        if (devices[i].device_handle == test->device->device_handle) continue;
        const oclora_context_options options = {.cl_context = test->context->cl};
        CHECK_STATUS(
            oclora_context_create(&context, oclora_test_env(), &devices[i], &options, &err),
            OCLORA_INVALID_ARGUMENT, &err);
    }
    oclora_release(oclora_test_env(), devices);
}

static void test_foreign_device(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, foreign_device);
}

/* A lost context refuses all work and can be destroyed. */
static void lost(const oclora_test_device *test)
{
    oclora_error err = {0};
    oclora_buffer *buffer = NULL, *late = NULL;
    oclora_event *event = NULL;
    oclora_context *context = test->context;
    unsigned char byte = 0;
    CHECK_OK(oclora_buffer_create(&buffer, context, 64, &err), &err);
    CHECK_OK(oclora_stream_finish(test->stream, &err), &err);
    const cl_int bad_queue = CL_INVALID_COMMAND_QUEUE;
    CHECK_STATUS(oclora_context_fail_cl(context, &err, CL_INVALID_VALUE, "cl", "x"), OCLORA_OPENCL,
                 &err);
    CHECK_STATUS(oclora_context_fail_cl(context, &err, bad_queue, "cl", "x"), OCLORA_OPENCL, &err);
    CHECK_OK(oclora_context_health(context, &err), &err);
    CHECK_STATUS(oclora_context_fail_cl(context, &err, bad_queue, "cl", "x"), OCLORA_DEVICE_LOST,
                 &err);
    CHECK_INT(err.status, OCLORA_DEVICE_LOST);
    const oclora_status dead = OCLORA_DEVICE_LOST;
    CHECK_STATUS(oclora_context_health(context, &err), dead, &err);
    CHECK_STATUS(run_fill(test->stream, buffer, &err), dead, &err);
    CHECK_STATUS(oclora_stream_read(test->stream, buffer, 0, &byte, 1, &err), dead, &err);
    CHECK_STATUS(oclora_stream_finish(test->stream, &err), dead, &err);
    CHECK_STATUS(oclora_stream_record(test->stream, &event, &err), dead, &err);
    CHECK_STATUS(oclora_buffer_create(&late, context, 64, &err), dead, &err);
    CHECK(!late && !event);
    oclora_buffer_destroy(buffer);
}

static void test_lost(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, lost);
}

typedef struct budget {
    int left;
    int live;
} budget;

static void *budget_alloc(void *user, size_t size, size_t align)
{
    budget *self = user;
    if (self->left-- <= 0) return NULL;
    self->live++;
    return aligned_alloc(align, size);
}

static void budget_release(void *user, void *ptr)
{
    budget *self = user;
    self->live--;
    free(ptr);
}

static oclora_status use_all(const oclora_env *env, const oclora_device *device, oclora_error *err)
{
    const oclora_context_options options = {.cache_dir = ""};
    oclora_context *context = NULL;
    oclora_stream *stream = NULL;
    oclora_buffer *buffer = NULL;
    oclora_event *event = NULL;
    oclora_status status = oclora_context_create(&context, env, device, &options, err);
    if (!status) status = oclora_stream_create(&stream, context, err);
    if (!status) status = oclora_stream_scratch(stream, 0, 64, &buffer, err);
    if (!status) status = oclora_stream_write(stream, buffer, 0, "abcd", 4, err);
    if (!status) status = run_fill(stream, buffer, err);
    if (!status) status = oclora_stream_record(stream, &event, err);
    oclora_event_destroy(event);
    oclora_stream_destroy(stream);
    oclora_context_destroy(context);
    return status;
}

/* Every allocation on the way fails once: the right status, and nothing kept. */
static void out_of_memory(const oclora_test_device *test)
{
    oclora_error err = {0};
    oclora_status status = OCLORA_OUT_OF_HOST_MEMORY;
    int allowed = 0;
    for (; status && allowed < 100; allowed++) {
        budget room = {.left = allowed};
        const oclora_env env = {
            .alloc = budget_alloc, .release = budget_release, .alloc_user = &room};
        err.text[0] = '\0';
        status = use_all(&env, test->device, &err);
        CHECK_INT(room.live, 0);
        if (!status) break;
        CHECK_STATUS(status, OCLORA_OUT_OF_HOST_MEMORY, &err);
        CHECK_CONTAINS(err.text, "could not be allocated");
    }
    CHECK_OK(status, &err);
    CHECK(allowed >= 8);
}

static void test_out_of_memory(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, out_of_memory);
}

/* Memory that the device says it has not got is refused before the driver promises it lazily. */
static void memory_used_up(const oclora_test_device *test)
{
    oclora_error err = {0};
    oclora_buffer *a = NULL, *b = NULL;
    CHECK_OK(oclora_buffer_create(&a, test->context, 4096, &err), &err);
    uint64_t global = test->context->device.global_bytes;
    test->context->device.global_bytes = 6144;
    CHECK_STATUS(oclora_buffer_create(&b, test->context, 4096, &err), OCLORA_OUT_OF_DEVICE_MEMORY,
                 &err);
    CHECK_CONTAINS(err.text, "4096 in use");
    CHECK(b == NULL);
    oclora_buffer_destroy(a);
    CHECK_OK(oclora_buffer_create(&b, test->context, 4096, &err), &err);
    oclora_buffer_destroy(b);
    test->context->device.global_bytes = global;
}

static void test_memory_used_up(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, memory_used_up);
}

int main(void)
{
    const oclora_test tests[] = {
        {"a host's context, queue and memory", test_host_objects},
        {"a host's context of another device is refused", test_foreign_device},
        {"a lost device", test_lost},
        {"each allocation may fail", test_out_of_memory},
        {"device memory used up", test_memory_used_up},
    };
    return oclora_test_main("context", tests, sizeof tests / sizeof tests[0]);
}
