#include "support/harness.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { COUNT = 257 };

static oclora_status launch_fill(oclora_stream *stream, oclora_buffer *y, uint64_t offset,
                                 float value, size_t count, oclora_error *err)
{
    const oclora_kernel_ref fill = {"probe", "probe_fill", ""};
    const oclora_arg args[] = {oclora_arg_buffer(y), oclora_arg_u64(offset), oclora_arg_f32(value)};
    return oclora_stream_launch(stream, &fill, args, 3, 1, &count, NULL, err);
}

static oclora_status launch_axpy(oclora_stream *stream, const oclora_buffer *x, oclora_buffer *y,
                                 float a, size_t count, oclora_error *err)
{
    const oclora_kernel_ref axpy = {"probe", "probe_axpy", ""};
    const oclora_arg args[] = {oclora_arg_buffer(x), oclora_arg_u64(0), oclora_arg_buffer(y),
                               oclora_arg_u64(0), oclora_arg_f32(a)};
    return oclora_stream_launch(stream, &axpy, args, 5, 1, &count, NULL, err);
}

static void transfers(const oclora_test_device *test)
{
    oclora_error err = {0};
    unsigned char in[1000], out[1000];
    for (size_t i = 0; i < sizeof in; i++) in[i] = (unsigned char)oclora_test_random();
    oclora_buffer *a = NULL, *b = NULL;
    CHECK_OK(oclora_buffer_create(&a, test->context, 1000, &err), &err);
    CHECK_OK(oclora_buffer_create(&b, test->context, 700, &err), &err);
    if (!a || !b) goto done;
    CHECK_INT(oclora_buffer_bytes(b), 700);
    CHECK_OK(oclora_stream_write(test->stream, a, 0, in, 1000, &err), &err);
    CHECK_OK(oclora_stream_fill(test->stream, b, 0, 700, 0xee, &err), &err);
    CHECK_OK(oclora_stream_fill(test->stream, b, 3, 13, 0x11, &err), &err);
    CHECK_OK(oclora_stream_copy(test->stream, a, 301, b, 101, 599, &err), &err);
    CHECK_OK(oclora_stream_read(test->stream, b, 0, out, 700, &err), &err);
    for (int i = 0; i < 101; i++) {
        if (!CHECK_INT(out[i], i >= 3 && i < 16 ? 0x11 : 0xee)) break;
    }
    CHECK(!memcmp(out + 101, in + 301, 599));
    CHECK_OK(oclora_stream_read(test->stream, a, 997, out, 3, &err), &err);
    CHECK(!memcmp(out, in + 997, 3));
    oclora_stream_stats stats = oclora_stream_get_stats(test->stream);
    CHECK_INT(stats.bytes_written, 1000);
    CHECK_INT(stats.bytes_read, 703);
    CHECK_INT(stats.waits, 2);
done:
    oclora_buffer_destroy(a);
    oclora_buffer_destroy(b);
}

static void test_transfers(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, transfers);
}

static void bad_ranges(const oclora_test_device *test)
{
    oclora_error err = {0};
    unsigned char bytes[64] = {0};
    oclora_stream *stream = test->stream;
    oclora_buffer *a = NULL;
    CHECK_STATUS(oclora_buffer_create(&a, test->context, 0, &err), OCLORA_INVALID_ARGUMENT, &err);
    CHECK_STATUS(oclora_buffer_create(&a, test->context, UINT64_MAX, &err),
                 OCLORA_OUT_OF_DEVICE_MEMORY, &err);
    CHECK_STATUS(oclora_buffer_wrap(&a, test->context, NULL, &err), OCLORA_INVALID_ARGUMENT, &err);
    CHECK(a == NULL);
    CHECK_OK(oclora_buffer_create(&a, test->context, 64, &err), &err);
    const oclora_status bad = OCLORA_INVALID_ARGUMENT;
    CHECK_STATUS(oclora_stream_write(stream, a, 1, bytes, 64, &err), bad, &err);
    CHECK_STATUS(oclora_stream_write(stream, a, 65, bytes, 0, &err), bad, &err);
    CHECK_STATUS(oclora_stream_write(stream, a, 8, bytes, UINT64_MAX - 4, &err), bad, &err);
    CHECK_STATUS(oclora_stream_write(stream, a, 0, NULL, 4, &err), bad, &err);
    CHECK_STATUS(oclora_stream_write(stream, NULL, 0, bytes, 4, &err), bad, &err);
    CHECK_STATUS(oclora_stream_read(stream, a, 60, bytes, 5, &err), bad, &err);
    CHECK_CONTAINS(err.text, "5 bytes at offset 60");
    CHECK_STATUS(oclora_stream_fill(stream, a, 64, 1, 0, &err), bad, &err);
    CHECK_STATUS(oclora_stream_copy(stream, a, 0, a, 31, 32, &err), bad, &err);
    CHECK_STATUS(oclora_stream_copy(stream, a, 33, a, 0, 32, &err), bad, &err);
    CHECK_OK(oclora_stream_copy(stream, a, 32, a, 0, 32, &err), &err);
    CHECK_OK(oclora_stream_write(stream, a, 64, NULL, 0, &err), &err);
    CHECK_STATUS(oclora_stream_wrap(&stream, test->context, NULL, &err), bad, &err);
    oclora_buffer_destroy(a);
}

static void test_bad_ranges(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, bad_ranges);
}

static void launches(const oclora_test_device *test)
{
    oclora_error err = {0};
    float x[COUNT], y[COUNT], out[COUNT];
    oclora_test_fill(x, COUNT);
    oclora_test_fill(y, COUNT);
    oclora_buffer *dx = NULL, *dy = NULL;
    CHECK_OK(oclora_buffer_create(&dx, test->context, sizeof x, &err), &err);
    CHECK_OK(oclora_buffer_create(&dy, test->context, sizeof y, &err), &err);
    CHECK_OK(oclora_stream_write(test->stream, dx, 0, x, sizeof x, &err), &err);
    CHECK_OK(oclora_stream_write(test->stream, dy, 0, y, sizeof y, &err), &err);
    for (int i = 0; i < 3; i++)
        CHECK_OK(launch_axpy(test->stream, dx, dy, 0.5f, COUNT, &err), &err);
    CHECK_OK(launch_fill(test->stream, dy, 5 * 4, -3.0f, 2, &err), &err);
    CHECK_OK(launch_fill(test->stream, dy, 0, 9.0f, 0, &err), &err);
    oclora_test_poison(out, sizeof out);
    CHECK_OK(oclora_stream_read(test->stream, dy, 0, out, sizeof out, &err), &err);
    CHECK_INT(oclora_stream_get_stats(test->stream).launches, 4);
    double worst = 0;
    for (int i = 0; i < COUNT; i++) {
        double expected = i == 5 || i == 6 ? -3.0 : (double)y[i] + 1.5 * (double)x[i];
        double difference = (double)out[i] - expected;
        worst = difference * difference > worst * worst ? difference : worst;
        CHECK(out[i] == out[i]);
    }
    CHECK_LE(worst * worst, 1e-12);
    oclora_buffer_destroy(dx);
    oclora_buffer_destroy(dy);
}

static void test_launch(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, launches);
}

static void bad_launches(const oclora_test_device *test)
{
    oclora_error err = {0};
    const size_t one = 1, three = 3, two = 2;
    const oclora_kernel_ref no_file = {"no_such", "x", ""}, no_entry = {"probe", "probe_no", ""};
    const oclora_kernel_ref broken = {"probe", "probe_fill", "-DPROBE_WIDTH=3"};
    const oclora_kernel_ref fill = {"probe", "probe_fill", ""};
    const oclora_arg args[] = {oclora_arg_buffer(NULL), oclora_arg_u64(0)};
    oclora_stream *stream = test->stream;
    CHECK_STATUS(oclora_stream_launch(stream, &no_file, NULL, 0, 1, &one, NULL, &err),
                 OCLORA_NOT_FOUND, &err);
    CHECK_CONTAINS(err.text, "no_such.cl");
    CHECK_STATUS(oclora_stream_launch(stream, &no_entry, NULL, 0, 1, &one, NULL, &err),
                 OCLORA_NOT_FOUND, &err);
    CHECK_CONTAINS(err.text, "probe_no");
    CHECK_STATUS(oclora_stream_launch(stream, &broken, NULL, 0, 1, &one, NULL, &err),
                 OCLORA_BUILD_FAILED, &err);
    CHECK_CONTAINS(err.text, "probe.cl [-DPROBE_WIDTH=3]");
    CHECK_STATUS(oclora_stream_launch(stream, &fill, args, 2, 4, &one, NULL, &err),
                 OCLORA_INVALID_ARGUMENT, &err);
    CHECK_STATUS(oclora_stream_launch(stream, &fill, args, 2, 1, &one, NULL, &err), OCLORA_OPENCL,
                 &err);
    CHECK_CONTAINS(err.text, "probe_fill of probe.cl");
    oclora_buffer *y = NULL;
    CHECK_OK(oclora_buffer_create(&y, test->context, 64, &err), &err);
    const oclora_arg good[] = {oclora_arg_buffer(y), oclora_arg_u64(0), oclora_arg_f32(1)};
    CHECK_STATUS(oclora_stream_launch(stream, &fill, good, 3, 1, &three, &two, &err), OCLORA_OPENCL,
                 &err);
    CHECK_OK(oclora_stream_launch(stream, &fill, good, 3, 1, &three, &one, &err), &err);
    CHECK_OK(oclora_stream_finish(stream, &err), &err);
    CHECK_OK(oclora_context_health(test->context, &err), &err);
    oclora_buffer_destroy(y);
}

static void test_bad_launch(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, bad_launches);
}

/* More small writes than the staging ring holds, each from memory that is reused at once. */
static void staging(const oclora_test_device *test)
{
    enum { WRITES = 100, SIZE = 20000 };
    oclora_error err = {0};
    static unsigned char block[SIZE], out[SIZE];
    oclora_buffer *buffer = NULL;
    CHECK_OK(oclora_buffer_create(&buffer, test->context, (uint64_t)WRITES * SIZE, &err), &err);
    for (int i = 0; i < WRITES; i++) {
        memset(block, i + 1, SIZE);
        CHECK_OK(oclora_stream_write(test->stream, buffer, (uint64_t)i * SIZE, block, SIZE, &err),
                 &err);
    }
    for (int i = 0; i < WRITES; i++) {
        memset(block, i + 1, SIZE);
        CHECK_OK(oclora_stream_read(test->stream, buffer, (uint64_t)i * SIZE, out, SIZE, &err),
                 &err);
        CHECK(!memcmp(block, out, SIZE));
    }
    oclora_buffer_destroy(buffer);
}

static void test_staging(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, staging);
}

static void scratch(const oclora_test_device *test)
{
    oclora_error err = {0};
    oclora_buffer *a = NULL, *b = NULL, *c = NULL;
    CHECK_OK(oclora_stream_scratch(test->stream, OCLORA_SCRATCH_ROWS, 100, &a, &err), &err);
    CHECK(a && oclora_buffer_bytes(a) >= 100);
    CHECK_OK(launch_fill(test->stream, a, 0, 2.5f, 25, &err), &err);
    CHECK_OK(oclora_stream_scratch(test->stream, OCLORA_SCRATCH_OP, 1000000, &b, &err), &err);
    CHECK(b && b != a && oclora_buffer_bytes(b) >= 1000000);
    CHECK_OK(oclora_stream_scratch(test->stream, OCLORA_SCRATCH_ROWS, 64, &c, &err), &err);
    CHECK(c == a);
    CHECK_OK(oclora_stream_scratch(test->stream, OCLORA_SCRATCH_ROWS, 1 << 20, &c, &err), &err);
    CHECK(oclora_buffer_bytes(c) >= 1 << 20);
    CHECK_STATUS(oclora_stream_scratch(test->stream, OCLORA_SCRATCH_COUNT, 64, &c, &err),
                 OCLORA_INVALID_ARGUMENT, &err);
}

static void test_scratch(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, scratch);
}

static void events(const oclora_test_device *test)
{
    oclora_error err = {0};
    oclora_stream *other = NULL;
    oclora_event *event = NULL;
    oclora_buffer *y = NULL;
    float out[COUNT];
    CHECK_OK(oclora_stream_create(&other, test->context, &err), &err);
    CHECK_OK(oclora_buffer_create(&y, test->context, sizeof out, &err), &err);
    CHECK_OK(launch_fill(test->stream, y, 0, 4.0f, COUNT, &err), &err);
    CHECK_OK(oclora_stream_record(test->stream, &event, &err), &err);
    CHECK_OK(oclora_stream_wait_event(other, event, &err), &err);
    CHECK_OK(launch_axpy(other, y, y, 0.0f, COUNT, &err), &err);
    CHECK_OK(oclora_stream_read(other, y, 0, out, sizeof out, &err), &err);
    CHECK(out[0] == 4.0f && out[COUNT - 1] == 4.0f);
    CHECK_OK(oclora_event_wait(event, &err), &err);
    CHECK_INT(oclora_event_done(event), 1);
    CHECK_OK(oclora_stream_flush(other, &err), &err);
    oclora_event_destroy(event);
    oclora_event_destroy(NULL);
    oclora_buffer_destroy(y);
    oclora_stream_destroy(other);
}

static void test_events(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, events);
}

typedef struct worker {
    oclora_context *context;
    float value;
    int wrong;
    oclora_status status;
    oclora_error err;
} worker;

static oclora_status work(worker *self, oclora_stream *stream, oclora_buffer *x, oclora_buffer *y)
{
    float out[COUNT];
    for (int round = 0; round < 20; round++) {
        OCLORA_TRY(launch_fill(stream, x, 0, self->value, COUNT, &self->err));
        OCLORA_TRY(launch_fill(stream, y, 0, (float)round, COUNT, &self->err));
        OCLORA_TRY(launch_axpy(stream, x, y, 2.0f, COUNT, &self->err));
        OCLORA_TRY(oclora_stream_read(stream, y, 0, out, sizeof out, &self->err));
        for (int i = 0; i < COUNT; i++) self->wrong += out[i] != (float)round + 2.0f * self->value;
    }
    return OCLORA_OK;
}

static void *run_worker(void *arg)
{
    worker *self = arg;
    oclora_stream *stream = NULL;
    oclora_buffer *x = NULL, *y = NULL;
    self->status = oclora_stream_create(&stream, self->context, &self->err);
    if (!self->status)
        self->status = oclora_buffer_create(&x, self->context, COUNT * 4, &self->err);
    if (!self->status)
        self->status = oclora_buffer_create(&y, self->context, COUNT * 4, &self->err);
    if (!self->status) self->status = work(self, stream, x, y);
    oclora_stream_destroy(stream);
    oclora_buffer_destroy(x);
    oclora_buffer_destroy(y);
    return NULL;
}

static void two_threads(const oclora_test_device *test)
{
    if (!strcmp(test->device->platform, "Oclgrind")) {
        oclora_test_skip("Oclgrind aborts when two queues of a context run kernels at once");
        return;
    }
    worker workers[2] = {{.context = test->context, .value = 1.0f},
                         {.context = test->context, .value = -7.0f}};
    pthread_t threads[2];
    int started = 0;
    for (; started < 2; started++)
        if (pthread_create(&threads[started], NULL, run_worker, &workers[started])) break;
    CHECK_INT(started, 2);
    for (int i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
        CHECK_OK(workers[i].status, &workers[i].err);
        CHECK_INT(workers[i].wrong, 0);
    }
}

static void test_threads(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, two_threads);
}

int main(void)
{
    const oclora_test tests[] = {
        {"transfers move the right bytes", test_transfers},
        {"ranges outside a buffer are refused", test_bad_ranges},
        {"launches compute", test_launch},
        {"bad launches are refused and harmless", test_bad_launch},
        {"small writes are copied at once", test_staging},
        {"scratch slots grow", test_scratch},
        {"events order two streams", test_events},
        {"two threads, two streams", test_threads},
    };
    return oclora_test_main("stream", tests, sizeof tests / sizeof tests[0]);
}
