/* liboclora.so loaded, used and unloaded again and again in a process that has nothing else of it:
 * each time it is gone from memory with the OpenCL loader that it brought, and leaves no thread, no
 * file and no memory behind. Usage: plugin_reload LIBRARY ADAPTER_FOLDERS [exact], with a driver
 * whose memory is malloc's and whose kernels do nothing. */
#include "fault/memory.h"
#include "support/usage.h"

#include <oclora.h>

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 60, WARM = 20, DEVICES = 8, ROWS = 3, Q_IN = 96, Q_OUT = 80, LARGE = 1024 };

#define TEXT(field, text) .field = (text), .field##_length = strlen(text)
#define TRY(call)                                                                                  \
    if ((call) != OCLORA_OK) goto fail

static float expected[DEVICES][2 * ROWS * Q_OUT];
static float w[LARGE * LARGE], x[ROWS * Q_IN], y[2 * ROWS * Q_OUT];
static const char *folder;
static int fake, wrong;

typedef struct world {
    oclora_context_t *context;
    oclora_weight_t *q, *down, *large;
    oclora_pool_t *pool;
    oclora_adapter_t adapter[2];
    oclora_batch_t *batch;
} world;

static oclora_status add_weight(const oclora_api *api, world *l, const char *name, uint32_t d_in,
                                uint32_t d_out, oclora_weight_t **out, oclora_message *msg)
{
    const oclora_weight_args args = {.struct_size = sizeof args,
                                     TEXT(name, name),
                                     .data = w,
                                     .data_bytes = 4 * (uint64_t)d_in * d_out,
                                     .d_in = d_in,
                                     .d_out = d_out};
    return api->weight_create(l->context, &args, out, msg);
}

static oclora_status add_adapter(const oclora_api *api, world *l, const char *name,
                                 oclora_adapter_t *out, oclora_message *msg)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    const oclora_adapter_args args = {
        .struct_size = sizeof args, TEXT(name, name), TEXT(path, path)};
    return api->adapter_load(l->pool, &args, out, msg);
}

/* A row of the base, and two of the adapter. */
static oclora_status serve(const oclora_api *api, world *l, int which, oclora_message *msg)
{
    const uint32_t starts[ROWS + 1] = {0, 0, 1, 2};
    const oclora_adapter_t entries[2] = {l->adapter[which], l->adapter[which]};
    const oclora_batch_args rows = {
        .struct_size = sizeof rows, .row_start = starts, .adapter = entries, .n_rows = ROWS};
    oclora_status status = api->batch_create(l->pool, &rows, &l->batch, msg);
    const oclora_linear_args call = {.struct_size = sizeof call,
                                     .weight = l->q,
                                     .batch = l->batch,
                                     .x = x,
                                     .y = y + which * ROWS * Q_OUT,
                                     .n_rows = ROWS};
    if (status == OCLORA_OK) status = api->linear(&call, msg);
    api->batch_destroy(l->batch);
    l->batch = NULL;
    return status;
}

/* All that a host does on a device. The pool has room for one of the two adapters. */
static int live(const oclora_api *api, uint32_t device)
{
    oclora_message msg = {sizeof msg, ""};
    char number[16];
    snprintf(number, sizeof number, "%u", device);
    const oclora_context_args context = {.struct_size = sizeof context, TEXT(device, number)};
    const oclora_pool_args pool = {.struct_size = sizeof pool, .budget_bytes = 16 * 1024};
    world l = {0};
    TRY(api->context_create(&context, &l.context, &msg));
    TRY(add_weight(api, &l, "model.layers.0.self_attn.q_proj", Q_IN, Q_OUT, &l.q, &msg));
    TRY(add_weight(api, &l, "model.layers.3.mlp.down_proj", 160, 96, &l.down, &msg));
    TRY(add_weight(api, &l, "large", LARGE, LARGE, &l.large, &msg));
    TRY(api->pool_create(l.context, &pool, &l.pool, &msg));
    TRY(add_adapter(api, &l, "lora", &l.adapter[0], &msg));
    TRY(add_adapter(api, &l, "rslora", &l.adapter[1], &msg));
    TRY(serve(api, &l, 0, &msg));
    TRY(serve(api, &l, 1, &msg));
    TRY(api->adapter_unload(l.pool, l.adapter[0], &msg));
fail:
    api->pool_destroy(l.pool);
    api->weight_destroy(l.large);
    api->weight_destroy(l.down);
    api->weight_destroy(l.q);
    api->context_destroy(l.context);
    if (msg.text[0] != '\0') printf("device %u: %s\n", device, msg.text);
    return msg.text[0] == '\0';
}

static int serve_all(const oclora_api *api)
{
    oclora_message msg = {sizeof msg, ""};
    uint32_t count = 0;
    if (api->device_count(&count, &msg) != OCLORA_OK || count == 0) return 0;
    for (uint32_t d = 0; d < count && d < DEVICES; d++) {
        memset(y, 0xff, sizeof y);
        if (!live(api, d)) wrong++;
        if (fake) continue;
        if (expected[d][0] == 0.0f) memcpy(expected[d], y, sizeof y);
        if (memcmp(expected[d], y, sizeof y) != 0) wrong += printf("other results\n");
        if (memcmp(y, y + ROWS * Q_OUT, sizeof y / 2) == 0) wrong += printf("equal adapters\n");
    }
    return (int)count;
}

static int is_there(const char *library)
{
    void *found = dlopen(library, RTLD_NOW | RTLD_NOLOAD);
    if (found != NULL) dlclose(found);
    return found != NULL;
}

/* @return how many devices it had. */
static int round_of(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    void *symbol = library != NULL ? dlsym(library, "oclora_get_api") : NULL;
    oclora_get_api_fn get = NULL;
    memcpy(&get, &symbol, sizeof get);
    if (get == NULL) {
        wrong += printf("%s\n", dlerror());
        return 0;
    }
    fault_memory_forget(); /* where the library was before */
    if (!fault_memory_watch("liboclora.so", true) || !fault_memory_watch("libjansson.so", true) ||
        !fault_memory_watch("libpcre2-8.so", true))
        wrong += printf("a library cannot be watched\n");
    fault_memory_arm(FAULT_MEMORY, 0, 0, false); /* counts calls, none fails */
    const int devices = serve_all(get(OCLORA_MAJOR));
    fault_memory_disarm();
    if (fault_memory_live() != 0) wrong += printf("%ld blocks held\n", fault_memory_live());
    if (devices > 0 && fault_memory_calls() < 100) wrong += printf("nothing is counted\n");
    if (dlclose(library) != 0 || is_there(path)) wrong += printf("the library is still there\n");
    if (is_there("libOpenCL.so.1")) wrong += printf("the OpenCL loader is still there\n");
    return devices;
}

int main(int argc, char **argv)
{
    usage early = usage_now(), late;
    int devices = 0;
    if (argc < 3) return 2;
    folder = argv[2];
    fake = argc > 3;
    for (int i = 0; i < LARGE * LARGE; i++) w[i] = (float)(i * 37 % 101) / 101.0f - 0.5f;
    for (int i = 0; i < ROWS * Q_IN; i++) x[i] = (float)(i * 29 % 83) / 83.0f - 0.5f;
    for (int i = 0; i < ROUNDS && wrong == 0; i++) {
        devices = round_of(argv[1]);
        if (i + 1 == WARM) early = usage_now();
    }
    if (devices == 0 && wrong == 0) {
        printf("skipped: no OpenCL device\n");
        return 77;
    }
    late = usage_settled(&early);
    if (!usage_is_flat("liboclora", &early, &late, ROUNDS - WARM)) wrong++;
    printf("%d rounds on %d devices, %ld allocations in the last one, 0 held; %d wrong\n", ROUNDS,
           devices, fault_memory_calls(), wrong);
    return wrong != 0;
}
