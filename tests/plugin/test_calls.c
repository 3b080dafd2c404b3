/* Every slot of the table with NULL, garbage, foreign and stale handles, in every order: a status
 * and a text, never a crash, and what was valid before stays so. */
#include "world.h"

static const oclora_api *api;
static oclora_message msg = {sizeof msg, ""};

/* Each function that takes a handle, called with `handle` and otherwise good arguments. */
static void with_handle(const void *handle, oclora_status expected)
{
    oclora_context_t *context;
    oclora_weight_t *weight;
    oclora_pool_t *pool;
    oclora_batch_t *batch;
    oclora_event_t *event;
    memcpy(&context, &handle, sizeof handle);
    memcpy(&weight, &handle, sizeof handle);
    memcpy(&pool, &handle, sizeof handle);
    memcpy(&batch, &handle, sizeof handle);
    memcpy(&event, &handle, sizeof handle);

    float x[Q_IN] = {0}, y[Q_OUT];
    uint32_t starts[2] = {0, 0}, done = 7;
    oclora_adapter_t adapter = 99;
    oclora_capabilities caps = {.struct_size = sizeof caps};
    oclora_pool_desc pool_desc = {.struct_size = sizeof pool_desc};
    oclora_adapter_desc desc = {.struct_size = sizeof desc};
    const oclora_pool_args pa = {.struct_size = sizeof pa, .budget_bytes = 4096};
    const oclora_weight_args wa = {.struct_size = sizeof wa,
                                   .name = "w",
                                   .name_length = 1,
                                   .data = x,
                                   .data_bytes = sizeof x,
                                   .d_in = 32,
                                   .d_out = 16};
    const oclora_adapter_args aa = {
        .struct_size = sizeof aa, .name = "a", .name_length = 1, .path = "p", .path_length = 1};
    const oclora_adapter_memory_args ma = {.struct_size = sizeof ma,
                                           .name = "a",
                                           .name_length = 1,
                                           .config = "{}",
                                           .config_bytes = 2,
                                           .tensors = "x",
                                           .tensors_bytes = 1};
    const oclora_batch_args ba = {.struct_size = sizeof ba, .row_start = starts, .n_rows = 1};
    const oclora_linear_args la = {
        .struct_size = sizeof la, .weight = weight, .x = x, .y = y, .n_rows = 1};
    oclora_event_t *made_event = NULL;
    oclora_weight_t *made_weight = NULL;
    oclora_pool_t *made_pool = NULL;
    oclora_batch_t *made_batch = NULL;

    WANT(api->context_capabilities(context, &caps, &msg), expected);
    CHECK(msg.text[0] != 0);
    WANT(api->context_health(context, &msg), expected);
    WANT(api->weight_create(context, &wa, &made_weight, &msg), expected);
    WANT(api->pool_create(context, &pa, &made_pool, &msg), expected);
    WANT(api->pool_query(pool, &pool_desc, &msg), expected);
    WANT(api->adapter_load(pool, &aa, &adapter, &msg), expected);
    WANT(api->adapter_load_memory(pool, &ma, &adapter, &msg), expected);
    WANT(api->adapter_find(pool, "a", 1, &adapter, &msg), expected);
    WANT(api->adapter_query(pool, 1, &desc, &msg), expected);
    WANT(api->adapter_pin(pool, 1, &msg), expected);
    WANT(api->adapter_unpin(pool, 1, &msg), expected);
    WANT(api->adapter_unload(pool, 1, &msg), expected);
    WANT(api->batch_create(pool, &ba, &made_batch, &msg), expected);
    WANT(api->linear(&la, &msg), expected);
    WANT(api->linear_submit(&la, &made_event, &msg), expected);
    WANT(api->event_wait(event, &msg), expected);
    WANT(api->event_done(event, &done, &msg), expected);
    /* Without a message as well. */
    CHECK_INT(api->event_wait(event, NULL), expected);
    CHECK_INT(api->pool_query(pool, &pool_desc, NULL), expected);
    api->event_destroy(event);
    api->batch_destroy(batch);
    api->pool_destroy(pool);
    api->weight_destroy(weight);
    api->context_destroy(context);
    CHECK(made_event == NULL && made_weight == NULL && made_pool == NULL && made_batch == NULL);
    CHECK(adapter == 99 && done == 7 && caps.kinds == 0 && pool_desc.budget_bytes == 0);
}

static void test_handles(void)
{
    uint64_t garbage[64];
    for (size_t i = 0; i < 64; i++) garbage[i] = oclora_test_random() * 0x100000001ull;
    with_handle(NULL, OCLORA_INVALID_ARGUMENT);
    with_handle(garbage, OCLORA_STALE_HANDLE);
    with_handle((const void *)(uintptr_t)1, OCLORA_STALE_HANDLE);
    with_handle((const void *)UINTPTR_MAX, OCLORA_STALE_HANDLE);
    for (int i = 0; i < 100; i++)
        with_handle((const void *)(uintptr_t)(oclora_test_random() | 1), OCLORA_STALE_HANDLE);
}

static void test_null(void)
{
    WANT(api->device_count(NULL, &msg), OCLORA_INVALID_ARGUMENT);
    WANT(api->device_info(0, NULL, &msg), OCLORA_INVALID_ARGUMENT);
    WANT(api->context_create(NULL, NULL, &msg), OCLORA_INVALID_ARGUMENT);
    WANT(api->weight_create(NULL, NULL, NULL, &msg), OCLORA_INVALID_ARGUMENT);
    WANT(api->pool_create(NULL, NULL, NULL, &msg), OCLORA_INVALID_ARGUMENT);
    WANT(api->pool_query(NULL, NULL, &msg), OCLORA_INVALID_ARGUMENT);
    WANT(api->context_capabilities(NULL, NULL, &msg), OCLORA_INVALID_ARGUMENT);
    WANT(api->adapter_load(NULL, NULL, NULL, &msg), OCLORA_INVALID_ARGUMENT);
    WANT(api->adapter_load_memory(NULL, NULL, NULL, &msg), OCLORA_INVALID_ARGUMENT);
    WANT(api->adapter_find(NULL, NULL, 0, NULL, &msg), OCLORA_INVALID_ARGUMENT);
    WANT(api->adapter_query(NULL, 0, NULL, &msg), OCLORA_INVALID_ARGUMENT);
    WANT(api->batch_create(NULL, NULL, NULL, &msg), OCLORA_INVALID_ARGUMENT);
    WANT(api->linear(NULL, &msg), OCLORA_INVALID_ARGUMENT);
    WANT(api->linear_submit(NULL, NULL, &msg), OCLORA_INVALID_ARGUMENT);
    WANT(api->event_wait(NULL, &msg), OCLORA_INVALID_ARGUMENT);
    WANT(api->event_done(NULL, NULL, &msg), OCLORA_INVALID_ARGUMENT);
    CHECK_INT(api->linear(NULL, NULL), OCLORA_INVALID_ARGUMENT);
}

_Static_assert(sizeof(oclora_api) == offsetof(oclora_api, event_destroy) + sizeof(void (*)(void)),
               "a slot was added: call it in with_handle and test_null, then name it here");

static bool is_refused(oclora_status status, uint64_t adapter)
{
    const bool right = CHECK(status == OCLORA_STALE_HANDLE || status == OCLORA_INVALID_ARGUMENT);
    if (!right) printf("  adapter %llx: %s\n", (unsigned long long)adapter, msg.text);
    return right;
}

/* An adapter's number that is no adapter's, in each slot that takes one. */
static bool with_adapter(world *w, oclora_adapter_t adapter)
{
    const uint32_t starts[2] = {0, 1};
    const oclora_batch_args rows = {
        .struct_size = sizeof rows, .row_start = starts, .adapter = &adapter, .n_rows = 1};
    oclora_adapter_desc desc = {.struct_size = sizeof desc};
    oclora_batch_t *batch = NULL;
    return is_refused(api->adapter_query(w->pool, adapter, &desc, &msg), adapter) &&
           is_refused(api->adapter_pin(w->pool, adapter, &msg), adapter) &&
           is_refused(api->adapter_unpin(w->pool, adapter, &msg), adapter) &&
           is_refused(api->adapter_unload(w->pool, adapter, &msg), adapter) &&
           is_refused(api->batch_create(w->pool, &rows, &batch, &msg), adapter) &&
           CHECK(batch == NULL && desc.rank_max == 0);
}

/* 0, all ones, a good one with each bit another, and random ones. */
static void numbers_on(uint32_t device, uint32_t device_class)
{
    world w, other;
    oclora_adapter_desc desc = {.struct_size = sizeof desc};
    if (!world_open(&w, api, device, device_class)) return;
    bool right = with_adapter(&w, 0) && with_adapter(&w, UINT64_MAX);
    for (int bit = 0; bit < 64 && right; bit++)
        right = with_adapter(&w, w.adapter ^ (uint64_t)1 << bit);
    for (int i = 0; i < 1000 && right; i++)
        right = with_adapter(&w, (uint64_t)oclora_test_random() << 32 | oclora_test_random());
    if (world_open(&other, api, device, device_class)) {
        with_adapter(&w, other.adapter); /* of another pool */
        with_adapter(&other, w.adapter);
        world_close(&other);
    }
    WANT_OK(api->adapter_query(w.pool, w.adapter, &desc, &msg));
    world_close(&w);
}

/* A handle of one kind given as another. */
static void kinds_on(uint32_t device, uint32_t device_class)
{
    world w;
    float x[Q_IN] = {0}, y[Q_OUT];
    oclora_pool_t *pool;
    oclora_weight_t *weight;
    oclora_pool_desc desc = {.struct_size = sizeof desc};
    if (!world_open(&w, api, device, device_class)) return;
    memcpy(&pool, &w.context, sizeof pool);
    memcpy(&weight, &w.pool, sizeof weight);
    WANT(api->pool_query(pool, &desc, &msg), OCLORA_STALE_HANDLE);
    oclora_linear_args call = world_call(&w, NULL, x, y, 1);
    call.weight = weight;
    WANT(api->linear(&call, &msg), OCLORA_STALE_HANDLE);
    api->pool_destroy(pool); /* does nothing */
    call.weight = w.q;
    WANT_OK(api->linear(&call, &msg));
    world_close(&w);
}

/* Parents destroyed first, everything destroyed twice. */
static void order_on(uint32_t device, uint32_t device_class)
{
    world w;
    float x[2 * Q_IN], y[2 * Q_OUT], again[2 * Q_OUT];
    oclora_batch_t *batch = NULL;
    oclora_event_t *event = NULL;
    if (!world_open(&w, api, device, device_class)) return;
    oclora_test_fill(x, 2 * Q_IN);
    WANT_OK(world_batch(&w, 2, &batch, &msg));
    oclora_linear_args call = world_call(&w, batch, x, y, 2);
    WANT_OK(api->linear(&call, &msg));
    api->context_destroy(w.context);
    api->pool_destroy(w.pool);
    api->context_destroy(w.context);
    api->pool_destroy(w.pool);
    /* The batch and the weight keep what they need. */
    call.y = again;
    oclora_test_poison(again, sizeof again);
    WANT_OK(api->linear_submit(&call, &event, &msg));
    api->batch_destroy(batch);
    api->weight_destroy(w.q);
    WANT_OK(api->event_wait(event, &msg));
    WANT_OK(api->event_wait(event, &msg));
    CHECK(memcmp(y, again, sizeof y) == 0);
    WANT(api->linear(&call, &msg), OCLORA_STALE_HANDLE);
    call.weight = w.down;
    WANT(api->linear(&call, &msg), OCLORA_STALE_HANDLE); /* the batch */
    api->event_destroy(event);
    api->event_destroy(event);
    WANT(api->event_wait(event, &msg), OCLORA_STALE_HANDLE);
    world_close(&w);
    world_close(&w);
}

static void adapters_on(uint32_t device, uint32_t device_class)
{
    world w;
    oclora_batch_t *batch = NULL;
    oclora_adapter_t other = 5, found = 0;
    oclora_adapter_desc desc = {.struct_size = sizeof desc};
    if (!world_open(&w, api, device, device_class)) return;
    WANT_OK(api->adapter_query(w.pool, w.adapter, &desc, &msg));
    CHECK_INT(desc.kind, OCLORA_KIND_LORA);
    CHECK_INT(desc.state, OCLORA_STATE_HOST);
    CHECK_INT(desc.n_modules, 2);
    CHECK_INT(desc.rank_max, 8);
    CHECK_INT(strcmp(desc.name, "lora"), 0);
    WANT(world_load(&w, "lora", GOLDEN "rslora", &other, &msg), OCLORA_ALREADY_EXISTS);
    WANT(world_load(&w, "x", GOLDEN "nothing", &other, &msg), OCLORA_FILE_NOT_FOUND);
    CHECK_INT(other, 5);
    WANT(api->adapter_find(w.pool, "nobody", 6, &found, &msg), OCLORA_ADAPTER_NOT_LOADED);
    WANT_OK(api->adapter_find(w.pool, "lora", 4, &found, &msg));
    CHECK(found == w.adapter);
    WANT(api->adapter_unpin(w.pool, w.adapter, &msg), OCLORA_WRONG_STATE);
    WANT_OK(api->adapter_pin(w.pool, w.adapter, &msg));
    WANT(api->adapter_unload(w.pool, w.adapter, &msg), OCLORA_ADAPTER_IN_USE);
    WANT_OK(api->adapter_unpin(w.pool, w.adapter, &msg));
    WANT_OK(world_batch(&w, 4, &batch, &msg));
    WANT(api->adapter_unload(w.pool, w.adapter, &msg), OCLORA_ADAPTER_IN_USE);
    api->batch_destroy(batch);
    WANT_OK(api->adapter_unload(w.pool, w.adapter, &msg));
    batch = NULL;
    WANT(world_batch(&w, 4, &batch, &msg), OCLORA_STALE_HANDLE);
    WANT_OK(world_load(&w, "lora", GOLDEN "lora", &other, &msg));
    WANT(world_batch(&w, 4, &batch, &msg), OCLORA_STALE_HANDLE);
    WANT(api->adapter_query(w.pool, w.adapter, &desc, &msg), OCLORA_STALE_HANDLE);
    CHECK(batch == NULL);
    world_close(&w);
}

static void batches_on(uint32_t device, uint32_t device_class)
{
    world w;
    oclora_batch_t *batch = NULL;
    float x[2 * Q_IN] = {0}, y[2 * Q_OUT];
    if (!world_open(&w, api, device, device_class)) return;
    const uint32_t falling[3] = {0, 1, 0}, late[2] = {1, 1}, good[3] = {0, 1, 2};
    const oclora_adapter_t entries[2] = {w.adapter, w.adapter};
    const float nan[2] = {1.0f, (float)strtod("nan", NULL)};
    oclora_batch_args args = {.struct_size = sizeof args, .adapter = entries, .n_rows = 2};
    WANT(api->batch_create(w.pool, &args, &batch, &msg), OCLORA_INVALID_ARGUMENT);
    args.row_start = falling;
    WANT(api->batch_create(w.pool, &args, &batch, &msg), OCLORA_INVALID_ARGUMENT);
    CHECK_CONTAINS(msg.text, "row 1");
    args.row_start = good;
    args.weight = nan;
    WANT(api->batch_create(w.pool, &args, &batch, &msg), OCLORA_INVALID_ARGUMENT);
    CHECK_CONTAINS(msg.text, "row 1");
    args.weight = NULL;
    args.adapter = NULL;
    WANT(api->batch_create(w.pool, &args, &batch, &msg), OCLORA_INVALID_ARGUMENT);
    args.adapter = entries;
    args.row_start = late;
    args.n_rows = 1;
    WANT(api->batch_create(w.pool, &args, &batch, &msg), OCLORA_INVALID_ARGUMENT);
    WANT_OK(world_batch(&w, 2, &batch, &msg));
    oclora_linear_args call = world_call(&w, batch, x, y, 1);
    WANT(api->linear(&call, &msg), OCLORA_INVALID_ARGUMENT); /* the batch has two rows */
    call.n_rows = 2;
    call.flags = 1u << 31;
    WANT(api->linear(&call, &msg), OCLORA_INVALID_ARGUMENT);
    call.flags = 0;
    call.x = NULL;
    WANT(api->linear(&call, &msg), OCLORA_INVALID_ARGUMENT);
    call.x_mem = x; /* not a cl_mem, and no context of the host's */
    WANT(api->linear(&call, &msg), OCLORA_INVALID_ARGUMENT);
    CHECK_CONTAINS(msg.text, "cl_context");
    api->batch_destroy(batch);
    world_close(&w);
}

static void test_kinds(void)
{
    native_each(api, 0, kinds_on);
}
static void test_numbers(void)
{
    native_each(api, 0, numbers_on);
}
static void test_order(void)
{
    native_each(api, 0, order_on);
}
static void test_adapters(void)
{
    native_each(api, 0, adapters_on);
}
static void test_batches(void)
{
    native_each(api, 0, batches_on);
}

int main(void)
{
    static const oclora_test tests[] = {
        {"NULL everywhere", test_null},
        {"garbage handles", test_handles},
        {"handles of another kind", test_kinds},
        {"numbers that are no adapter's", test_numbers},
        {"destroyed in any order, twice", test_order},
        {"adapters: names, pins, stale handles", test_adapters},
        {"batches and layers: arguments", test_batches},
    };
    void *library = NULL;
    api = native_open(&library);
    const int status = oclora_test_main("plugin_calls", tests, sizeof tests / sizeof *tests);
    dlclose(library);
    return status;
}
