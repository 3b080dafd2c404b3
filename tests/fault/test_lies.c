/* Drivers that lie about their device, and drivers that hang, on the native ABI: what they say is
 * believed only as far as it does no harm, and who does not wait is not made to. */
#include "fault/native_life.h"

#include <pthread.h>
#include <time.h>

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

/* Devices are still listed, and a life ends with the right numbers or with a status and a text. */
static bool live_with(const fault_life *life, int number, const char *lie)
{
    oclora_message msg = {sizeof msg, ""};
    uint32_t count = 0;
    char text[512] = "";
    oclora_status status = OCLORA_OK;
    bool ok = WANT_OK(api->device_count(&count, &msg));
    for (uint32_t i = 0; i < count; i++) {
        oclora_device_desc desc = {.struct_size = sizeof desc};
        ok = WANT_OK(api->device_info(i, &desc, &msg)) && ok;
        ok = CHECK(memchr(desc.name, 0, sizeof desc.name) != NULL) && ok;
    }
    native_life *l = life->user;
    const native_life right = *l;
    l->known[0] = l->known[1] = false;
    life->begin(l);
    int s = 0;
    while (s < life->steps && status == OCLORA_OK) status = life->step(l, s++, text);
    life->end(l);
    /* Another class of device adds up in another order. */
    const bool reordered = strstr(lie, "type") != NULL || strstr(lie, "GPU") != NULL ||
                           strstr(lie, "accelerator") != NULL;
    for (int which = 0; which < 2 && l->known[which]; which++) {
        double reference[LIFE_ROWS * Q_OUT];
        for (int i = 0; i < LIFE_ROWS * Q_OUT; i++) reference[i] = (double)right.expected[which][i];
        const double error =
            oclora_test_max_error(l->expected[which], reference, LIFE_ROWS * Q_OUT);
        ok = CHECK_LE(error, reordered ? 1e-5 : 0) && ok;
    }
    memcpy(l->expected, right.expected, sizeof right.expected);
    memcpy(l->known, right.known, sizeof right.known);
    ok = CHECK(status == OCLORA_OK || strlen(text) > 10) && ok;
    ok = CHECK(status != OCLORA_INTERNAL) && ok;
    printf("    %2d %s: %s\n", number, lie, api->status_name(status));
    return ok;
}

static void lies_on(uint32_t device, uint32_t device_class)
{
    const fault_plan none = {0};
    const fault_layer *layer = fault_loop_layer();
    native_life *l = open_life(device);
    const fault_life life = native_life_of(l);
    (void)device_class;
    fault_loop_once(&life, FAULT_CALL, &none); /* what is right */
    const long objects = layer->live(), memory = fault_memory_live();
    int number = 0;
    for (const char *lie; (lie = layer->lie(number)) != NULL; number++) {
        if (!live_with(&life, number, lie)) printf("  failed with: %s\n", lie);
        CHECK(layer->lies_told() > 0);
    }
    layer->lie(-1);
    CHECK(number > 40);
    CHECK_INT(layer->live() - objects, 0);
    CHECK_INT(fault_memory_live() - memory, 0);
    fault_loop_once(&life, FAULT_CALL, &none);
    printf("  %d lies\n", number);
    free(l);
}

static void test_lies(void)
{
    native_each(api, 0, lies_on);
}

static double now(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *let_go_later(void *user)
{
    const struct timespec a_while = {1, 0};
    nanosleep(&a_while, NULL);
    fault_loop_layer()->let_go();
    return user;
}

/* A kernel that never ends: submitting and asking return, other contexts work, and only who waits
 * waits; here until a second thread lets the kernel go. */
static void hang(native_life *l, native_life *other)
{
    const fault_plan plan = {.kind = FAULT_HANG, .at = 1, .on = 1};
    const fault_life life = native_life_of(l), another = native_life_of(other);
    const fault_layer *layer = fault_loop_layer();
    oclora_message msg = {sizeof msg, ""};
    char text[512] = "";
    float y[LIFE_ROWS * Q_OUT];
    oclora_event_t *event = NULL;
    oclora_pool_desc desc = {.struct_size = sizeof desc};
    uint32_t done = 1;
    pthread_t thread;
    life.begin(l);
    for (int s = 0; s < 8; s++) CHECK_INT(life.step(l, s, text), OCLORA_OK);
    CHECK_INT(life.step(l, 8, text), OCLORA_OK);
    CHECK_INT(life.step(l, 9, text), OCLORA_OK);
    layer->arm(&plan);
    const double start = now();
    const oclora_linear_args call = world_call(&l->w, l->batch, l->x, y, LIFE_ROWS);
    WANT_OK(api->linear_submit(&call, &event, &msg));
    layer->disarm();
    CHECK(layer->failures() > 0);
    WANT_OK(api->event_done(event, &done, &msg));
    CHECK_INT(done, 0);
    WANT_OK(api->context_health(l->w.context, &msg));
    WANT_OK(api->pool_query(l->w.pool, &desc, &msg));
    another.begin(other);
    for (int s = 0; s < another.steps; s++) CHECK_INT(another.step(other, s, text), OCLORA_OK);
    another.end(other);
    WANT_OK(api->event_done(event, &done, &msg));
    CHECK_INT(done, 0);
    CHECK_LE(now() - start, 60);
    CHECK_INT(pthread_create(&thread, NULL, let_go_later, NULL), 0);
    WANT_OK(api->event_wait(event, &msg));
    pthread_join(thread, NULL);
    CHECK_INT(memcmp(y, l->expected[1], sizeof y), 0);
    api->event_destroy(event);
    life.end(l);
}

static void hang_on(uint32_t device, uint32_t device_class)
{
    const fault_plan none = {0};
    native_life *l = open_life(device), *other = open_life(device);
    const fault_life life = native_life_of(l);
    (void)device_class;
    fault_loop_once(&life, FAULT_CALL, &none);
    *other = *l;
    const long objects = fault_loop_layer()->live();
    hang(l, other);
    CHECK_INT(fault_loop_layer()->live() - objects, 0);
    free(l);
    free(other);
}

static void test_hang(void)
{
    native_each(api, 0, hang_on);
}

int main(void)
{
    static const oclora_test tests[] = {{"a device that lies", test_lies},
                                        {"a kernel that never ends", test_hang}};
    void *library = NULL;
    if (fault_loop_layer() == NULL) {
        printf("skipped: this OpenCL loader knows no layers, or OPENCL_LAYERS is not set\n");
        return 77;
    }
    api = native_open(&library);
    if (!fault_memory_watch("liboclora.so", true)) return 1;
    const int status = oclora_test_main("fault_lies", tests, sizeof tests / sizeof *tests);
    dlclose(library);
    return status;
}
