/* struct_size: every struct of the ABI truncated, exact and oversized, where the bytes before and
 * behind it must not be touched. */
#define _DEFAULT_SOURCE
#include "guard.h"
#include "world.h"

static const oclora_api *api;
static oclora_message msg = {sizeof msg, ""};

/* Calls `call` with the struct at sizes 8 .. first - 1 (ABI_MISMATCH), `first` of version 1.0 on,
 * its full size of today, and larger ones. */
static void sweep_from(const void *args, size_t first, size_t full,
                       oclora_status (*call)(void *args), const char *what)
{
    for (uint64_t size = 8; size < full + 32; size += 4) {
        unsigned char copy[1024] = {0};
        memcpy(copy, args, full);
        memset(copy + full, 0xa5, 32); /* a later version's fields */
        memcpy(copy, &size, sizeof size);
        for (int side = 0; side < 2; side++) {
            guarded g = guard(copy, (size_t)size, side);
            const oclora_status status = call(g.at);
            if (size < first) {
                CHECK_INT(status, OCLORA_ABI_MISMATCH);
                CHECK_CONTAINS(msg.text, "struct_size");
            } else {
                if (!CHECK_INT(status, OCLORA_OK)) printf("  %s: %s\n", what, msg.text);
            }
            unguard(&g);
        }
    }
    uint64_t none = 0;
    guarded g = guard(&none, sizeof none, GUARD_BEHIND);
    CHECK_INT(call(g.at), OCLORA_ABI_MISMATCH);
    unguard(&g);
}

static void sweep(const void *args, size_t full, oclora_status (*call)(void *args),
                  const char *what)
{
    sweep_from(args, full, full, call, what);
}

static world at;
static oclora_batch_t *batch;
static float x[2 * Q_IN], y[2 * Q_OUT];

static oclora_status call_device(void *args)
{
    return api->device_info(0, args, &msg);
}
static oclora_status call_context(void *args)
{
    oclora_context_t *context = NULL;
    const oclora_status status = api->context_create(args, &context, &msg);
    api->context_destroy(context);
    return status;
}
static oclora_status call_callbacks(void *args)
{
    const oclora_context_args own = {.struct_size = sizeof own, .callbacks = args, .no_cache = 1};
    oclora_context_t *context = NULL;
    const oclora_status status = api->context_create(&own, &context, &msg);
    api->context_destroy(context);
    return status;
}
static oclora_status call_capabilities(void *args)
{
    return api->context_capabilities(at.context, args, &msg);
}
static oclora_status call_weight(void *args)
{
    oclora_weight_t *weight = NULL;
    const oclora_status status = api->weight_create(at.context, args, &weight, &msg);
    api->weight_destroy(weight);
    return status;
}
static oclora_status call_pool(void *args)
{
    oclora_pool_t *pool = NULL;
    const oclora_status status = api->pool_create(at.context, args, &pool, &msg);
    api->pool_destroy(pool);
    return status;
}
static oclora_status call_pool_query(void *args)
{
    return api->pool_query(at.pool, args, &msg);
}
static oclora_status call_load(void *args)
{
    oclora_adapter_t adapter = 0;
    return api->adapter_load(at.pool, args, &adapter, &msg);
}
static oclora_status call_load_memory(void *args)
{
    oclora_adapter_t adapter = 0;
    return api->adapter_load_memory(at.pool, args, &adapter, &msg);
}
static oclora_status call_query(void *args)
{
    return api->adapter_query(at.pool, at.adapter, args, &msg);
}
static oclora_status call_batch(void *args)
{
    oclora_batch_t *made = NULL;
    const oclora_status status = api->batch_create(at.pool, args, &made, &msg);
    api->batch_destroy(made);
    return status;
}
static oclora_status call_linear(void *args)
{
    return api->linear(args, &msg);
}

/* A file as a host would read it; the program ends without. */
static char *read_file(const char *path, uint64_t *bytes)
{
    FILE *file = fopen(path, "rb");
    char *text = malloc(1 << 20);
    if (file == NULL || text == NULL) exit(1);
    *bytes = fread(text, 1, 1 << 20, file);
    fclose(file);
    return text;
}

static void sweep_memory(void)
{
    oclora_adapter_memory_args args = {
        .struct_size = sizeof args, .name = "memory", .name_length = strlen("memory")};
    char *config = read_file(GOLDEN "lora/adapter_config.json", &args.config_bytes);
    char *tensors = read_file(GOLDEN "lora/adapter_model.safetensors", &args.tensors_bytes);
    args.config = config;
    args.tensors = tensors;
    sweep(&args, sizeof args, call_load_memory, "adapter in memory");
    free(config);
    free(tensors);
}

static void test_structs(void)
{
    const uint32_t starts[2] = {0, 1};
    float values[32 * 16] = {0};
    const oclora_device_desc device = {.struct_size = sizeof device};
    const oclora_context_args context = {.struct_size = sizeof context, .no_cache = 1};
    const oclora_callbacks callbacks = {.struct_size = sizeof callbacks};
    const oclora_capabilities caps = {.struct_size = sizeof caps};
    const oclora_weight_args weight = {.struct_size = sizeof weight,
                                       .name = "w",
                                       .name_length = 1,
                                       .data = values,
                                       .data_bytes = sizeof values,
                                       .d_in = 32,
                                       .d_out = 16};
    const oclora_pool_args pool = {.struct_size = sizeof pool, .budget_bytes = 4096};
    const oclora_pool_desc pool_desc = {.struct_size = sizeof pool_desc};
    const oclora_adapter_desc desc = {.struct_size = sizeof desc};
    uint32_t count = 0;
    WANT_OK(api->device_count(&count, &msg));
    if (count == 0) {
        oclora_test_skip("no OpenCL device");
        return;
    }
    if (!world_open(&at, api, 0, OCLORA_CLASS_AUTO)) return;
    WANT_OK(world_batch(&at, 2, &batch, &msg));
    const oclora_adapter_args load = {.struct_size = sizeof load,
                                      .name = "lora",
                                      .name_length = 4,
                                      .path = GOLDEN "lora",
                                      .path_length = strlen(GOLDEN "lora")};
    const oclora_batch_args rows = {
        .struct_size = sizeof rows, .row_start = starts, .adapter = &at.adapter, .n_rows = 1};
    const oclora_linear_args layer = world_call(&at, batch, x, y, 2);
    sweep(&device, sizeof device, call_device, "device");
    sweep(&context, sizeof context, call_context, "context");
    sweep(&callbacks, sizeof callbacks, call_callbacks, "callbacks");
    sweep(&caps, sizeof caps, call_capabilities, "capabilities");
    sweep(&weight, sizeof weight, call_weight, "weight");
    sweep(&pool, sizeof pool, call_pool, "pool");
    sweep(&pool_desc, sizeof pool_desc, call_pool_query, "pool query");
    sweep(&load, sizeof load, call_load, "adapter");
    sweep_memory();
    sweep(&desc, sizeof desc, call_query, "adapter query");
    const size_t first = offsetof(oclora_batch_args, instance);
    sweep_from(&rows, first, sizeof rows, call_batch, "batch");
    sweep(&layer, sizeof layer, call_linear, "linear");
    api->batch_destroy(batch);
    world_close(&at);
}

/* A message of any size: text is cut to the room, zero-terminated, and nothing behind it touched.
 */
static void test_messages(void)
{
    for (uint64_t size = 0; size <= 600; size++) {
        unsigned char room[600];
        memset(room, 0x5a, sizeof room);
        memcpy(room, &size, sizeof size);
        guarded g = guard(room, size < 8 ? 8 : (size_t)size, GUARD_BEHIND);
        oclora_message *message = g.at;
        CHECK_INT(api->linear(NULL, message), OCLORA_INVALID_ARGUMENT);
        if (size > 8) CHECK(memchr(message->text, 0, (size_t)size - 8) != NULL);
        if (size > 40) CHECK_CONTAINS(message->text, "NULL");
        unguard(&g);
    }
}

int main(void)
{
    static const oclora_test tests[] = {
        {"arguments and results of every size", test_structs},
        {"messages of every size", test_messages},
    };
    void *library = NULL;
    api = native_open(&library);
    const int status = oclora_test_main("plugin_sizes", tests, sizeof tests / sizeof *tests);
    dlclose(library);
    return status;
}
