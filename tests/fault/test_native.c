/* The life of a host program on the native ABI, in which every OpenCL call fails once, and once
 * with all after it. After each failure: a status and a text, results of the others unchanged bit
 * by bit, the context usable again or cleanly lost, and no OpenCL object left. */
#include "fault/layer.h"
#include "plugin/world.h"

enum { ROWS = 4, STEPS = 14 };

static const oclora_api *api;
static oclora_message msg = {sizeof msg, ""};

static struct {
    void (*arm)(long, int, int);
    void (*disarm)(void);
    long (*calls)(void);
    long (*failures)(void);
    long (*live)(void);
    const char *(*last)(void);
} layer;

static bool layer_open(void)
{
    const char *path = getenv("OPENCL_LAYERS");
    void *library = path == NULL ? NULL : dlopen(path, RTLD_NOW);
    if (library == NULL) return false;
    const char *const names[6] = {"fault_arm",      "fault_disarm",       "fault_calls",
                                  "fault_failures", "fault_live_objects", "fault_last"};
    void *to[6] = {&layer.arm,      &layer.disarm, &layer.calls,
                   &layer.failures, &layer.live,   &layer.last};
    for (int i = 0; i < 6; i++) {
        void *symbol = dlsym(library, names[i]);
        if (symbol == NULL) return false;
        memcpy(to[i], &symbol, sizeof symbol);
    }
    return true;
}

typedef struct life {
    world w;
    char device[128];
    oclora_adapter_t other;
    oclora_batch_t *batch;
    oclora_event_t *event;
    float x[ROWS * Q_IN];
    float y[ROWS * Q_OUT];
    const float *expected[2]; /* of "lora" and of "rslora"; NULL = being found out */
    float *found[2];
} life;

static oclora_status make_context(life *l)
{
    const oclora_context_args args = {.struct_size = sizeof args,
                                      .device = l->device,
                                      .device_length = strlen(l->device),
                                      .cache_dir = OCLORA_BUILD_DIR "/test-cache",
                                      .cache_dir_length = strlen(OCLORA_BUILD_DIR "/test-cache")};
    return api->context_create(&args, &l->w.context, &msg);
}

static oclora_status make_batch(life *l, oclora_adapter_t adapter)
{
    const uint32_t starts[ROWS + 1] = {0, 0, 1, 1, 2};
    const oclora_adapter_t entries[2] = {adapter, adapter};
    const oclora_batch_args args = {
        .struct_size = sizeof args, .row_start = starts, .adapter = entries, .n_rows = ROWS};
    return api->batch_create(l->w.pool, &args, &l->batch, &msg);
}

static oclora_status check_result(life *l, int which)
{
    if (l->expected[which] == NULL)
        memcpy(l->found[which], l->y, sizeof l->y);
    else
        CHECK_INT(memcmp(l->y, l->expected[which], sizeof l->y), 0);
    oclora_test_poison(l->y, sizeof l->y);
    return OCLORA_OK;
}

static oclora_status run_now(life *l, int which)
{
    const oclora_linear_args call = world_call(&l->w, l->batch, l->x, l->y, ROWS);
    const oclora_status status = api->linear(&call, &msg);
    return status == OCLORA_OK ? check_result(l, which) : status;
}

static oclora_status run_later(life *l, int which)
{
    const oclora_linear_args call = world_call(&l->w, l->batch, l->x, l->y, ROWS);
    uint32_t done = 0;
    oclora_status status = api->linear_submit(&call, &l->event, &msg);
    if (status == OCLORA_OK) status = api->event_done(l->event, &done, &msg);
    if (status == OCLORA_OK) status = api->event_wait(l->event, &msg);
    api->event_destroy(l->event);
    l->event = NULL;
    return status == OCLORA_OK ? check_result(l, which) : status;
}

static oclora_status end_batch(life *l)
{
    api->batch_destroy(l->batch);
    l->batch = NULL;
    return OCLORA_OK;
}

/* One step of the life; done again after a failure. The pool has room for one adapter. */
static oclora_status step(life *l, int number)
{
    world *w = &l->w;
    const oclora_pool_args pool = {.struct_size = sizeof pool, .budget_bytes = 16 * 1024};
    switch (number) {
    case 0:
        return make_context(l);
    case 1:
        return world_weight(w, "model.layers.0.self_attn.q_proj", Q_IN, Q_OUT, &w->q, &msg);
    case 2:
        return world_weight(w, "model.layers.3.mlp.down_proj", DOWN_IN, DOWN_OUT, &w->down, &msg);
    case 3:
        return api->pool_create(w->context, &pool, &w->pool, &msg);
    case 4:
        return world_load(w, "lora", GOLDEN "lora", &w->adapter, &msg);
    case 5:
        return world_load(w, "rslora", GOLDEN "rslora", &l->other, &msg);
    case 6:
        return make_batch(l, w->adapter);
    case 7:
        return run_now(l, 0);
    case 8:
        return end_batch(l);
    case 9:
        return make_batch(l, l->other); /* evicts the first */
    case 10:
        return run_later(l, 1);
    case 11:
        return end_batch(l);
    case 12:
        return make_batch(l, w->adapter); /* and back */
    default:
        return run_now(l, 0);
    }
}

static void end_life(life *l)
{
    api->event_destroy(l->event);
    api->batch_destroy(l->batch);
    world_close(&l->w);
    CHECK_INT(layer.live(), 0);
}

/* @return whether a failure was met. */
static bool one_life(life *l, long n, int code, int sticky)
{
    l->w = (world){.api = api};
    l->other = 0;
    layer.arm(n, code, sticky);
    for (int s = 0; s < STEPS; s++) {
        msg.text[0] = 0;
        if (step(l, s) == OCLORA_OK) continue;
        CHECK_INT(msg.text[0] != 0, true);
        CHECK_INT(layer.failures() > 0, true);
        layer.disarm();
        if (l->w.context != NULL && api->context_health(l->w.context, NULL) == OCLORA_DEVICE_LOST) {
            CHECK_INT(step(l, s), OCLORA_DEVICE_LOST);
            break;
        }
        if (!WANT_OK(step(l, s))) {
            printf("  step %d again after %s (call %ld, code %d%s)\n", s, layer.last(), n, code,
                   sticky ? ", sticky" : "");
            break;
        }
    }
    const bool met = layer.failures() > 0;
    layer.disarm();
    end_life(l);
    return met;
}

static void faults_on(uint32_t device, uint32_t device_class)
{
    /* Out of resources, of device memory, of host memory; a dead queue. */
    static const int codes[4] = {-5, -4, -6, -36};
    const char *full = getenv("OCLORA_TEST_FULL");
    /* Every call on the first device; elsewhere, and with all calls after it, a sample. */
    const bool all = full != NULL && full[0] == '1';
    const long strides[2] = {all || device == 0 ? 1 : 9, all ? 1 : 5};
    static float expected[2][ROWS * Q_OUT];
    oclora_device_desc desc = {.struct_size = sizeof desc};
    life *l = calloc(1, sizeof *l);
    (void)device_class;
    WANT_OK(api->device_info(device, &desc, &msg));
    snprintf(l->device, sizeof l->device, "%.60s", desc.platform);
    oclora_test_fill(l->x, ROWS * Q_IN);
    l->found[0] = expected[0];
    l->found[1] = expected[1];
    one_life(l, 0, 0, 0); /* fills the program cache */
    one_life(l, 0, 0, 0);
    const long calls = layer.calls();
    l->expected[0] = expected[0];
    l->expected[1] = expected[1];
    CHECK(memcmp(expected[0], expected[1], sizeof expected[0]) != 0);
    CHECK(calls > 50);
    long faults = 0, lives = 0;
    for (int sticky = 0; sticky < 2; sticky++)
        for (long n = 1; n <= calls; n += strides[sticky]) {
            if (CU_get_number_of_failures() > 10) break;
            faults += one_life(l, n, codes[lives++ % 4], sticky);
        }
    one_life(l, 0, 0, 0);
    printf("  %ld calls in a life; %ld lives with a failure\n", calls, faults);
    CHECK_INT(faults, lives);
    free(l);
}

static void test_faults(void)
{
    native_each(api, 0, faults_on);
}

int main(void)
{
    static const oclora_test tests[] = {{"every OpenCL call fails", test_faults}};
    void *library = NULL;
    if (!layer_open()) {
        printf("skipped: this OpenCL loader knows no layers, or OPENCL_LAYERS is not set\n");
        return 77;
    }
    api = native_open(&library);
    const int status = oclora_test_main("fault_native", tests, sizeof tests / sizeof *tests);
    dlclose(library);
    return status;
}
