/* The adapted layer through the native ABI: waiting and not, delta beside the host's own product,
 * mixtures, the host's own OpenCL objects, memory callbacks, several threads. */
#include "world.h"

#include <CL/cl.h>
#include <pthread.h>
#include <stdatomic.h>

enum { ROWS = 6 };

static const oclora_api *api;
static oclora_message msg = {sizeof msg, ""};

static void waits_on(uint32_t device, uint32_t device_class)
{
    world w;
    float x[ROWS * Q_IN], y[ROWS * Q_OUT], base[ROWS * Q_OUT], later[4][ROWS * Q_OUT];
    oclora_batch_t *batch = NULL;
    oclora_event_t *events[4] = {NULL};
    uint32_t done = 0;
    if (!world_open(&w, api, device, device_class)) return;
    oclora_test_fill(x, ROWS * Q_IN);
    WANT_OK(world_batch(&w, ROWS, &batch, &msg));
    oclora_linear_args call = world_call(&w, batch, x, y, ROWS);
    WANT_OK(api->linear(&call, &msg));
    call.batch = NULL;
    call.y = base;
    WANT_OK(api->linear(&call, &msg));
    for (int t = 0; t < ROWS; t++) {
        const bool same = memcmp(y + t * Q_OUT, base + t * Q_OUT, Q_OUT * sizeof *y) == 0;
        CHECK_INT(same, t % 2 == 0); /* rows without an adapter are the base's, bit by bit */
    }
    call.batch = batch;
    for (int i = 0; i < 4; i++) {
        oclora_test_poison(later[i], sizeof later[i]);
        call.y = later[i];
        WANT_OK(api->linear_submit(&call, &events[i], &msg));
    }
    for (int i = 3; i >= 0; i--) {
        WANT_OK(api->event_wait(events[i], &msg));
        WANT_OK(api->event_done(events[i], &done, &msg));
        CHECK_INT(done, 1);
        CHECK(memcmp(later[i], y, sizeof y) == 0);
        api->event_destroy(events[i]);
    }
    /* Destroyed without waiting; no rows at all. */
    WANT_OK(api->linear_submit(&call, &events[0], &msg));
    api->event_destroy(events[0]);
    call = world_call(&w, NULL, NULL, NULL, 0);
    WANT_OK(api->linear(&call, &msg));

    /* The host's own base product plus our delta is the whole layer. */
    float whole[ROWS * Q_OUT];
    memcpy(whole, base, sizeof base);
    call = world_call(&w, batch, x, whole, ROWS);
    call.flags = OCLORA_DELTA_ONLY;
    WANT_OK(api->linear(&call, &msg));
    CHECK(memcmp(whole, y, sizeof y) == 0);
    api->batch_destroy(batch);
    world_close(&w);
}

/* Twice weight 0.5 of one adapter is that adapter, and weight 0 is the base. */
static void mixtures_on(uint32_t device, uint32_t device_class)
{
    world w;
    float x[3 * Q_IN], y[3 * Q_OUT], base[3 * Q_OUT];
    oclora_batch_t *batch = NULL;
    if (!world_open(&w, api, device, device_class)) return;
    oclora_test_fill(x, Q_IN);
    for (int t = 1; t < 3; t++) memcpy(x + t * Q_IN, x, Q_IN * sizeof *x);
    const uint32_t starts[4] = {0, 2, 3, 4};
    const oclora_adapter_t entries[4] = {w.adapter, w.adapter, w.adapter, w.adapter};
    const float weights[4] = {0.5f, 0.5f, 1.0f, 0.0f};
    const oclora_batch_args args = {.struct_size = sizeof args,
                                    .row_start = starts,
                                    .adapter = entries,
                                    .weight = weights,
                                    .n_rows = 3};
    WANT_OK(api->batch_create(w.pool, &args, &batch, &msg));
    oclora_linear_args call = world_call(&w, batch, x, y, 3);
    WANT_OK(api->linear(&call, &msg));
    call.batch = NULL;
    call.y = base;
    WANT_OK(api->linear(&call, &msg));
    double whole[Q_OUT];
    for (int i = 0; i < Q_OUT; i++) whole[i] = y[Q_OUT + i];
    CHECK_LE(oclora_test_max_error(y, whole, Q_OUT), 1e-6);
    CHECK(memcmp(y + 2 * Q_OUT, base, Q_OUT * sizeof *y) == 0);
    api->batch_destroy(batch);
    world_close(&w);
}

static void *read_whole(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    if (!CHECK(file != NULL)) return NULL;
    fseek(file, 0, SEEK_END);
    *bytes = (size_t)ftell(file);
    rewind(file);
    void *data = malloc(*bytes);
    CHECK_INT(fread(data, 1, *bytes, file), *bytes);
    fclose(file);
    return data;
}

static void memory_on(uint32_t device, uint32_t device_class)
{
    world w;
    if (!world_open(&w, api, device, device_class)) return;
    oclora_adapter_memory_args args = {
        .struct_size = sizeof args, .name = "memory", .name_length = 6};
    size_t config = 0, tensors = 0;
    void *text = read_whole(GOLDEN "lora/adapter_config.json", &config);
    void *data = read_whole(GOLDEN "lora/adapter_model.safetensors", &tensors);
    args.config = text;
    args.config_bytes = config;
    args.tensors = data;
    args.tensors_bytes = tensors;
    oclora_adapter_t adapter = 0;
    oclora_adapter_desc a = {.struct_size = sizeof a}, b = {.struct_size = sizeof b};
    WANT_OK(api->adapter_load_memory(w.pool, &args, &adapter, &msg));
    WANT_OK(api->adapter_query(w.pool, adapter, &a, &msg));
    WANT_OK(api->adapter_query(w.pool, w.adapter, &b, &msg));
    CHECK(memcmp(a.hash, b.hash, sizeof a.hash) == 0 && a.device_bytes == b.device_bytes);
    /* Equal contents under two names lie on the device once. */
    oclora_pool_desc pool = {.struct_size = sizeof pool};
    WANT_OK(api->adapter_pin(w.pool, adapter, &msg));
    WANT_OK(api->adapter_pin(w.pool, w.adapter, &msg));
    WANT_OK(api->pool_query(w.pool, &pool, &msg));
    CHECK_INT(pool.used_bytes, a.device_bytes);
    CHECK_INT(pool.n_resident, 2);
    args.name = "cut";
    args.name_length = 3;
    args.tensors_bytes = tensors / 2;
    WANT(api->adapter_load_memory(w.pool, &args, &adapter, &msg), OCLORA_FILE_TRUNCATED);
    free(text);
    free(data);
    world_close(&w);
}

/* A program that owns its OpenCL context, queue and buffers. */
static void host_objects_on(uint32_t index, uint32_t device_class)
{
    (void)device_class;
    cl_platform_id platforms[16];
    cl_device_id all[64], devices[16];
    cl_uint n_platforms = 0, n = 0, count = 0;
    if (!CHECK_INT(clGetPlatformIDs(16, platforms, &n_platforms), 0)) return;
    for (cl_uint p = 0; p < n_platforms; p++) {
        if (clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, 16, devices, &n) != CL_SUCCESS)
            continue;
        for (cl_uint d = 0; d < n && count < 64; d++) all[count++] = devices[d];
    }
    if (!CHECK(index < count)) return;
    cl_int code = 0;
    cl_context context = clCreateContext(NULL, 1, &all[index], NULL, NULL, &code);
    cl_command_queue queue = clCreateCommandQueue(context, all[index], 0, &code);
    float x[ROWS * Q_IN], y[ROWS * Q_OUT], from_mem[ROWS * Q_OUT];
    oclora_test_fill(x, ROWS * Q_IN);
    cl_mem x_mem = clCreateBuffer(context, CL_MEM_READ_ONLY, sizeof x + 64, NULL, &code);
    cl_mem y_mem = clCreateBuffer(context, CL_MEM_READ_WRITE, sizeof y + 128, NULL, &code);
    if (!CHECK(x_mem != NULL && y_mem != NULL)) return;

    world w = {.api = api};
    const oclora_context_args args = {.struct_size = sizeof args,
                                      .cl_context = context,
                                      .cl_device = all[index],
                                      .cl_queue = queue,
                                      .no_cache = 1};
    oclora_batch_t *batch = NULL;
    oclora_event_t *event = NULL;
    if (WANT_OK(api->context_create(&args, &w.context, &msg)) && WANT_OK(world_fill(&w, &msg)) &&
        WANT_OK(world_batch(&w, ROWS, &batch, &msg))) {
        oclora_linear_args call = world_call(&w, batch, x, y, ROWS);
        WANT_OK(api->linear(&call, &msg));
        call.x = NULL;
        call.y = NULL;
        call.x_mem = x_mem;
        call.y_mem = y_mem;
        call.x_offset = 64;
        call.y_offset = 128;
        /* In the order of the host's queue: write, our layer, read. */
        CHECK_INT(clEnqueueWriteBuffer(queue, x_mem, CL_FALSE, 64, sizeof x, x, 0, NULL, NULL), 0);
        WANT_OK(api->linear_submit(&call, &event, &msg));
        CHECK_INT(
            clEnqueueReadBuffer(queue, y_mem, CL_TRUE, 128, sizeof y, from_mem, 0, NULL, NULL), 0);
        CHECK(memcmp(from_mem, y, sizeof y) == 0);
        WANT_OK(api->event_wait(event, &msg));
        call.y_offset = 256; /* past the end */
        WANT(api->linear(&call, &msg), OCLORA_INVALID_ARGUMENT);
    }
    api->event_destroy(event);
    api->batch_destroy(batch);
    world_close(&w);
    /* Nothing of the host's is held any more. */
    cl_uint references = 0;
    clGetMemObjectInfo(x_mem, CL_MEM_REFERENCE_COUNT, sizeof references, &references, NULL);
    CHECK_INT(references, 1);
    clReleaseMemObject(x_mem);
    clReleaseMemObject(y_mem);
    clReleaseCommandQueue(queue);
    clReleaseContext(context);
}

static atomic_long live, calls_made, fail_at;

static void *counted_alloc(void *user, uint64_t size, uint64_t align)
{
    (void)user;
    if (atomic_fetch_add(&calls_made, 1) + 1 == atomic_load(&fail_at)) return NULL;
    void *memory = aligned_alloc((size_t)align, ((size_t)size + (size_t)align - 1) / align * align);
    if (memory != NULL) atomic_fetch_add(&live, 1);
    return memory;
}

static void counted_release(void *user, void *memory)
{
    (void)user;
    if (memory != NULL) atomic_fetch_sub(&live, 1);
    free(memory);
}

/* One life of everything; the status of the first call that failed. */
static oclora_status whole_life(uint32_t device, float *y)
{
    char index[16];
    snprintf(index, sizeof index, "%u", device);
    const oclora_callbacks callbacks = {
        .struct_size = sizeof callbacks, .alloc = counted_alloc, .release = counted_release};
    const oclora_context_args args = {.struct_size = sizeof args,
                                      .callbacks = &callbacks,
                                      .device = index,
                                      .device_length = strlen(index),
                                      .cache_dir = OCLORA_BUILD_DIR "/test-cache",
                                      .cache_dir_length = strlen(OCLORA_BUILD_DIR "/test-cache")};
    world w = {.api = api};
    float x[2 * Q_IN];
    oclora_batch_t *batch = NULL;
    for (int i = 0; i < 2 * Q_IN; i++) x[i] = (float)(i % 11) * 0.1f;
    oclora_status status = api->context_create(&args, &w.context, &msg);
    if (status == OCLORA_OK) status = world_fill(&w, &msg);
    if (status == OCLORA_OK) status = world_batch(&w, 2, &batch, &msg);
    if (status == OCLORA_OK) {
        const oclora_linear_args call = world_call(&w, batch, x, y, 2);
        status = api->linear(&call, &msg);
    }
    api->batch_destroy(batch);
    world_close(&w);
    return status;
}

/* Every host allocation fails once: a named error, nothing left behind, and the next life is whole.
 */
static void allocations_on(uint32_t device, uint32_t device_class)
{
    (void)device_class;
    float expected[2 * Q_OUT], y[2 * Q_OUT];
    atomic_store(&fail_at, 0);
    atomic_store(&calls_made, 0);
    WANT_OK(whole_life(device, expected));
    const long total = atomic_load(&calls_made);
    CHECK_INT(atomic_load(&live), 0);
    CHECK(total > 20);
    long faults = 0;
    for (long n = 1; n <= total; n++) {
        atomic_store(&fail_at, n);
        atomic_store(&calls_made, 0);
        const oclora_status status = whole_life(device, y);
        if (!CHECK(status == OCLORA_OUT_OF_HOST_MEMORY || status == OCLORA_OK))
            printf("  allocation %ld gave %s: %s\n", n, api->status_name(status), msg.text);
        if (status != OCLORA_OK) CHECK(msg.text[0] != 0);
        CHECK_INT(atomic_load(&live), 0);
        faults++;
    }
    atomic_store(&fail_at, 0);
    WANT_OK(whole_life(device, y));
    CHECK(memcmp(y, expected, sizeof y) == 0);
    printf("  %ld allocations failed in turn\n", faults);
}

typedef struct worker {
    world *w;
    const float *expected;
    const float *x;
    long wrong;
} worker;

static void *work(void *user)
{
    worker *self = user;
    oclora_message own = {sizeof own, ""};
    float y[ROWS * Q_OUT];
    for (int i = 0; i < 40; i++) {
        oclora_batch_t *batch = NULL;
        oclora_event_t *event = NULL;
        if (world_batch(self->w, ROWS, &batch, &own) != OCLORA_OK) self->wrong++;
        const oclora_linear_args call = world_call(self->w, batch, self->x, y, ROWS);
        if (api->linear_submit(&call, &event, &own) != OCLORA_OK) self->wrong++;
        api->batch_destroy(batch);
        if (api->event_wait(event, &own) != OCLORA_OK) self->wrong++;
        if (memcmp(y, self->expected, sizeof y) != 0) self->wrong++;
        api->event_destroy(event);
        if (i % 4 == 0 && api->adapter_pin(self->w->pool, self->w->adapter, &own) == OCLORA_OK &&
            api->adapter_unpin(self->w->pool, self->w->adapter, &own) != OCLORA_OK)
            self->wrong++;
    }
    return NULL;
}

static void threads_on(uint32_t device, uint32_t device_class)
{
    enum { THREADS = 4 };
    world w;
    float x[ROWS * Q_IN], y[ROWS * Q_OUT];
    oclora_batch_t *batch = NULL;
    if (!world_open(&w, api, device, device_class)) return;
    oclora_test_fill(x, ROWS * Q_IN);
    WANT_OK(world_batch(&w, ROWS, &batch, &msg));
    const oclora_linear_args call = world_call(&w, batch, x, y, ROWS);
    WANT_OK(api->linear(&call, &msg));
    pthread_t threads[THREADS];
    worker workers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (worker){&w, y, x, 0};
        CHECK_INT(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        CHECK_INT(workers[i].wrong, 0);
    }
    api->batch_destroy(batch);
    world_close(&w);
}

static void test_waits(void)
{
    native_each(api, 1, waits_on);
}
static void test_mixtures(void)
{
    native_each(api, 1, mixtures_on);
}
static void test_memory(void)
{
    native_each(api, 0, memory_on);
}
static void test_host_objects(void)
{
    native_each(api, 0, host_objects_on);
}
static void test_allocations(void)
{
    native_each(api, 0, allocations_on);
}
static void test_threads(void)
{
    native_each(api, 0, threads_on);
}

int main(void)
{
    static const oclora_test tests[] = {
        {"with and without waiting; delta only", test_waits},
        {"mixtures", test_mixtures},
        {"adapters from memory", test_memory},
        {"the host's own context, queue and buffers", test_host_objects},
        {"every host allocation fails once", test_allocations},
        {"several threads", test_threads},
    };
    void *library = NULL;
    api = native_open(&library);
    const int status = oclora_test_main("plugin_linear", tests, sizeof tests / sizeof *tests);
    dlclose(library);
    return status;
}
