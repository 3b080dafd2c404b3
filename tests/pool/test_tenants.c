/* Nothing of an evicted, unloaded or destroyed adapter is left on the device: its memory is read,
 * all of it, after every step. The last look is through the driver's own handle, since the pool is
 * gone. */
#include "images.h"

#include "host/core/cl.h"

enum { D_IN = 64, D_OUT = 32, COUNT = 6, STEPS = 120 };

static image_spec spec_of(uint32_t i)
{
    static const uint32_t ranks[COUNT] = {16, 1, 8, 2, 12, 4};
    const image_spec spec = {1 + i % 2, D_IN, D_OUT, ranks[i], 10 + i, 20 + i};
    return spec;
}

/* Marks the bytes of a resident adapter's blocks. */
static void mark(uint8_t *mine, oclora_pool *pool, oclora_adapter_handle handle,
                 const image_spec *spec)
{
    for (uint32_t m = 0; m < spec->n_modules; m++) {
        oclora_lane lane;
        if (oclora_pool_lane(pool, handle, m, &lane) != OCLORA_OK) return;
        memset(mine + lane.a, 1, spec->rank * D_IN * 2u);
        memset(mine + lane.b, 1, spec->rank * D_OUT * 2u);
        memset(mine + lane.scale, 1, spec->rank * 4u);
    }
}

/* Bytes that belong to nobody on the device and are not zero. */
static uint64_t leftovers(oclora_stream *stream, oclora_pool *pool,
                          const oclora_adapter_handle *handles)
{
    oclora_error err = {0};
    oclora_buffer *buffer = oclora_pool_buffer(pool);
    const uint64_t bytes = oclora_buffer_bytes(buffer);
    uint8_t *memory = calloc(2, (size_t)bytes), *mine = memory + bytes;
    uint64_t count = 0;
    CHECK_OK(oclora_stream_read(stream, buffer, 0, memory, bytes, &err), &err);
    for (uint32_t i = 0; i < COUNT; i++) {
        const image_spec spec = spec_of(i);
        if (handles[i] != 0) mark(mine, pool, handles[i], &spec);
    }
    for (uint64_t i = 0; i < bytes; i++) count += memory[i] != 0 && mine[i] == 0;
    free(memory);
    return count;
}

static oclora_adapter_handle add(oclora_pool *pool, uint32_t i)
{
    oclora_error err = {0};
    oclora_adapter_handle handle = 0;
    const image_spec spec = spec_of(i);
    char name[8];
    snprintf(name, sizeof name, "n%u", i);
    CHECK_OK(oclora_pool_add(pool, name, image_make(&spec), &handle, &err), &err);
    return handle;
}

/* The pool's memory after the pool, kept alive by a reference of our own. */
static void check_after(const oclora_test_device *device, oclora_pool *pool)
{
    const uint64_t bytes = oclora_buffer_bytes(oclora_pool_buffer(pool));
    cl_mem mem = oclora_pool_buffer(pool)->cl;
    uint8_t *memory = malloc((size_t)bytes);
    uint64_t dirty = 0;
    CHECK_INT(clRetainMemObject(mem), CL_SUCCESS);
    oclora_pool_destroy(pool);
    CHECK_INT(clEnqueueReadBuffer(device->stream->cl, mem, CL_TRUE, 0, (size_t)bytes, memory, 0,
                                  NULL, NULL),
              CL_SUCCESS);
    for (uint64_t i = 0; i < bytes; i++) dirty += memory[i] != 0;
    CHECK_INT(dirty, 0);
    clReleaseMemObject(mem);
    free(memory);
}

static void leftovers_on(const oclora_test_device *device)
{
    oclora_error err = {0};
    test_base base = {0};
    oclora_pool *pool = NULL;
    oclora_adapter_handle handles[COUNT] = {0};
    oclora_pool_stats stats;
    const image_spec first = spec_of(0), second = spec_of(4);
    const uint64_t budget = 256 + image_bytes(&first) + image_bytes(&second) / 2;
    uint64_t unloads = 0;
    if (!base_make(&base, device->context, 2, D_IN, D_OUT) ||
        !CHECK_OK(oclora_pool_create(&pool, device->context, base.base, budget, &err), &err))
        return;
    pool_zero(device->stream, pool);
    for (uint32_t i = 0; i < COUNT; i++) handles[i] = add(pool, i);
    for (int step = 0; step < STEPS; step++) {
        const uint32_t i = oclora_test_random() % COUNT;
        if (oclora_test_random() % 8 == 0) {
            CHECK_OK(oclora_pool_remove(pool, handles[i], &err), &err);
            handles[i] = 0;
            unloads++;
            CHECK_INT(leftovers(device->stream, pool, handles), 0);
            handles[i] = add(pool, i);
            continue;
        }
        CHECK_OK(oclora_pool_acquire(pool, &handles[i], 1, &err), &err);
        const image_spec spec = spec_of(i);
        lane_holds(device->stream, pool, handles[i], &spec, 0);
        oclora_pool_release(pool, &handles[i], 1);
        CHECK_INT(leftovers(device->stream, pool, handles), 0);
    }
    oclora_pool_get_stats(pool, &stats);
    printf("  %llu evictions and %llu unloads, memory read after each\n",
           (unsigned long long)stats.evictions, (unsigned long long)unloads);
    CHECK(stats.evictions > 20 && unloads > 5);
    CHECK_OK(oclora_pool_acquire(pool, handles, 1, &err), &err);
    oclora_pool_release(pool, handles, 1);
    CHECK(pool_nonzero(device->stream, pool) > 0);
    check_after(device, pool);
    base_free(&base);
}

static void test_leftovers(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, leftovers_on);
}

int main(void)
{
    static const oclora_test tests[] = {{"nothing of an adapter stays behind", test_leftovers}};
    return oclora_test_main("pool_tenants", tests, 1);
}
