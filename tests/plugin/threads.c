/* Several threads load, batch, serve, wait for, unload and destroy the same objects of liboclora.so
 * at once, as its thread rule allows, on a driver that finishes work late and from threads of its
 * own. Nothing may be refused but for reasons that another thread has given. Meant for
 * ThreadSanitizer, and for any OpenCL driver. Usage: plugin_threads [operations per thread]
 *        plugin_threads race   with a data race in the test itself, which the detector must see */
#include "world.h"

#include <pthread.h>
#include <stdatomic.h>

enum { THREADS = 6, WORLDS = 2, NAMES = 6, SLOTS = 6, ROWS = 16 };

/* What a host would keep: handles that any thread may take, use, replace and destroy. */
typedef struct place {
    oclora_context_t *context;
    oclora_weight_t *q, *down;
    oclora_pool_t *pool;
    oclora_adapter_t adapters[NAMES];
} place;

/* y of a submit: it may be written until everybody is done with the event, so it stays to the end.
 */
typedef struct result {
    struct result *next;
    float y[ROWS * Q_OUT];
} result;

typedef struct batch_slot {
    oclora_batch_t *batch;
    uint32_t world, n_rows;
} batch_slot;

enum { LOAD, MEMORY, UNLOAD, PIN, BATCH, LINEAR, SUBMIT, WAIT, QUERY, REBUILD, KINDS };
static const char *const kind_names[KINDS] = {
    "loads",  "loads from memory", "unloads", "pins",    "batches",
    "layers", "submits",           "waits",   "queries", "contexts"};

static const oclora_api *api;
static struct {
    pthread_mutex_t mutex; /* of the handles, never held during a call */
    place worlds[WORLDS];
    batch_slot batches[SLOTS];
    oclora_event_t *events[SLOTS];
    result *results;
    long operations;
    bool race;
    long raced;
    atomic_long live, tried[KINDS], done[KINDS], wrong;
    char *config, *tensors;
    uint64_t config_bytes, tensors_bytes;
} shared = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static uint32_t next(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static void *host_alloc(void *user, uint64_t size, uint64_t align)
{
    (void)user;
    (void)align;
    atomic_fetch_add(&shared.live, 1);
    return malloc(size);
}
static void host_release(void *user, void *memory)
{
    (void)user;
    if (memory != NULL) atomic_fetch_sub(&shared.live, 1);
    free(memory);
}

/* `others` lists, up to a 0, what another thread may have caused. */
static bool expect(int kind, oclora_status status, const oclora_message *msg, const int *others)
{
    atomic_fetch_add(&shared.tried[kind], 1);
    if (status == OCLORA_OK) {
        atomic_fetch_add(&shared.done[kind], 1);
        return true;
    }
    while (*others != 0 && *others != status) others++;
    if (*others == 0 && atomic_fetch_add(&shared.wrong, 1) < 10)
        fprintf(stderr, "  wrong: %s: %s (%s)\n", kind_names[kind], msg->text,
                api->status_name(status));
    return false;
}

static place copy_place(uint32_t w)
{
    pthread_mutex_lock(&shared.mutex);
    const place copy = shared.worlds[w];
    pthread_mutex_unlock(&shared.mutex);
    return copy;
}

static void close_place(const place *p, uint32_t order)
{
    for (uint32_t i = 0; i < 4; i++) {
        switch ((i + order) % 4) {
        case 0:
            api->context_destroy(p->context);
            break;
        case 1:
            api->weight_destroy(p->q);
            break;
        case 2:
            api->weight_destroy(p->down);
            break;
        default:
            api->pool_destroy(p->pool);
        }
    }
}

/* A new context with all that belongs to it in place of the one that is there. */
static void do_rebuild(uint32_t w, uint32_t *state)
{
    static const int none[] = {0};
    static const char *const devices[] = {"0", "1"};
    oclora_message msg = {sizeof msg, ""};
    oclora_callbacks callbacks = {
        .struct_size = sizeof callbacks, .alloc = host_alloc, .release = host_release};
    oclora_context_args args = {.struct_size = sizeof args,
                                .callbacks = &callbacks,
                                .device_length = 1,
                                .cache_dir = OCLORA_BUILD_DIR "/test-cache",
                                .cache_dir_length = strlen(OCLORA_BUILD_DIR "/test-cache"),
                                .device_class = 1 + next(state) % 2};
    uint32_t count = 0;
    if (!expect(QUERY, api->device_count(&count, &msg), &msg, none) || count == 0) return;
    args.device = devices[next(state) % (count < 2 ? count : 2)];
    const oclora_pool_args pool = {.struct_size = sizeof pool, .budget_bytes = 24 * 1024};
    world made = {.api = api};
    if (!expect(REBUILD, api->context_create(&args, &made.context, &msg), &msg, none)) return;
    oclora_status status =
        world_weight(&made, "model.layers.0.self_attn.q_proj", Q_IN, Q_OUT, &made.q, &msg);
    if (status == OCLORA_OK)
        status = world_weight(&made, "model.layers.3.mlp.down_proj", DOWN_IN, DOWN_OUT, &made.down,
                              &msg);
    if (status == OCLORA_OK) status = api->pool_create(made.context, &pool, &made.pool, &msg);
    expect(REBUILD, status, &msg, none);
    const place fresh = {
        .context = made.context, .q = made.q, .down = made.down, .pool = made.pool};
    pthread_mutex_lock(&shared.mutex);
    const place old = shared.worlds[w];
    shared.worlds[w] = fresh;
    pthread_mutex_unlock(&shared.mutex);
    close_place(&old, next(state));
    if (next(state) % 2 == 0) close_place(&old, next(state));
}

static void do_load(uint32_t w, uint32_t i, bool from_memory, uint32_t *state)
{
    static const int others[] = {OCLORA_ALREADY_EXISTS, OCLORA_STALE_HANDLE,
                                 OCLORA_MODULE_MISMATCH /* weights are destroyed one by one */,
                                 OCLORA_WRONG_STATE /* after adapters were loaded for them */, 0};
    static const char *const paths[] = {GOLDEN "lora", GOLDEN "rslora", GOLDEN "lora_f16",
                                        GOLDEN "dora"};
    const char *path = paths[next(state) % 4];
    const place p = copy_place(w);
    oclora_message msg = {sizeof msg, ""};
    oclora_adapter_t made = 0;
    char name[8];
    snprintf(name, sizeof name, "n%u", i);
    const oclora_adapter_args args = {.struct_size = sizeof args,
                                      .name = name,
                                      .name_length = strlen(name),
                                      .path = path,
                                      .path_length = strlen(path),
                                      .store = next(state) % 3};
    const oclora_adapter_memory_args memory = {.struct_size = sizeof memory,
                                               .name = name,
                                               .name_length = strlen(name),
                                               .config = shared.config,
                                               .config_bytes = shared.config_bytes,
                                               .tensors = shared.tensors,
                                               .tensors_bytes = shared.tensors_bytes};
    const oclora_status status = from_memory
                                     ? api->adapter_load_memory(p.pool, &memory, &made, &msg)
                                     : api->adapter_load(p.pool, &args, &made, &msg);
    if (!expect(from_memory ? MEMORY : LOAD, status, &msg, others)) return;
    pthread_mutex_lock(&shared.mutex);
    if (shared.worlds[w].pool == p.pool) shared.worlds[w].adapters[i] = made;
    pthread_mutex_unlock(&shared.mutex);
}

static void do_unload(uint32_t w, uint32_t i)
{
    static const int others[] = {OCLORA_ADAPTER_IN_USE, OCLORA_STALE_HANDLE, 0};
    const place p = copy_place(w);
    oclora_message msg = {sizeof msg, ""};
    expect(UNLOAD, api->adapter_unload(p.pool, p.adapters[i], &msg), &msg, others);
}

static void do_pin(uint32_t w, uint32_t i)
{
    static const int others[] = {OCLORA_POOL_FULL, OCLORA_STALE_HANDLE, OCLORA_WRONG_STATE, 0};
    static const int stale[] = {OCLORA_STALE_HANDLE, 0};
    const place p = copy_place(w);
    oclora_message msg = {sizeof msg, ""};
    if (!expect(PIN, api->adapter_pin(p.pool, p.adapters[i], &msg), &msg, others)) return;
    expect(PIN, api->adapter_unpin(p.pool, p.adapters[i], &msg), &msg, stale);
}

static void do_batch(uint32_t w, uint32_t slot, uint32_t *state)
{
    static const int others[] = {OCLORA_POOL_FULL, OCLORA_STALE_HANDLE, OCLORA_WRONG_STATE, 0};
    const place p = copy_place(w);
    oclora_message msg = {sizeof msg, ""};
    oclora_adapter_t entries[2 * ROWS];
    float weights[2 * ROWS];
    uint32_t starts[ROWS + 1] = {0};
    batch_slot made = {.world = w, .n_rows = 1 + next(state) % ROWS};
    const oclora_adapter_t two[2] = {p.adapters[next(state) % NAMES],
                                     p.adapters[next(state) % NAMES]};
    for (uint32_t t = 0; t < made.n_rows; t++) {
        starts[t + 1] = starts[t];
        for (uint32_t k = next(state) % 3; k > 0; k--) {
            weights[starts[t + 1]] = 0.25f * (float)(next(state) % 5);
            entries[starts[t + 1]++] = two[k - 1];
        }
    }
    const oclora_batch_args args = {.struct_size = sizeof args,
                                    .row_start = starts,
                                    .adapter = entries,
                                    .weight = weights,
                                    .n_rows = made.n_rows};
    if (!expect(BATCH, api->batch_create(p.pool, &args, &made.batch, &msg), &msg, others)) return;
    pthread_mutex_lock(&shared.mutex);
    const batch_slot old = shared.batches[slot];
    shared.batches[slot] = made;
    pthread_mutex_unlock(&shared.mutex);
    api->batch_destroy(old.batch);
}

static float *new_result(void)
{
    result *made = calloc(1, sizeof *made);
    if (made == NULL) exit(1);
    pthread_mutex_lock(&shared.mutex);
    made->next = shared.results;
    shared.results = made;
    pthread_mutex_unlock(&shared.mutex);
    return made->y;
}

static void do_layer(uint32_t slot, bool submit, uint32_t *state)
{
    static const int others[] = {OCLORA_STALE_HANDLE, OCLORA_INVALID_ARGUMENT, OCLORA_WRONG_STATE,
                                 0};
    float x[ROWS * Q_IN], own[ROWS * Q_OUT];
    oclora_message msg = {sizeof msg, ""};
    oclora_event_t *event = NULL;
    pthread_mutex_lock(&shared.mutex);
    const batch_slot use = shared.batches[slot];
    pthread_mutex_unlock(&shared.mutex);
    const place p = copy_place(use.world); /* perhaps a later world than the batch's */
    for (uint32_t i = 0; i < ROWS * Q_IN; i++) x[i] = (float)(next(state) % 16);
    const oclora_linear_args args = {.struct_size = sizeof args,
                                     .weight = p.q,
                                     .batch = use.batch,
                                     .x = x,
                                     .y = submit ? new_result() : own,
                                     .n_rows = use.batch == NULL ? 1 : use.n_rows};
    if (!submit) {
        expect(LINEAR, api->linear(&args, &msg), &msg, others);
        return;
    }
    if (!expect(SUBMIT, api->linear_submit(&args, &event, &msg), &msg, others)) return;
    memset(x, 0, sizeof x); /* copied: it may be used again at once */
    pthread_mutex_lock(&shared.mutex);
    oclora_event_t *old = shared.events[slot];
    shared.events[slot] = event;
    pthread_mutex_unlock(&shared.mutex);
    api->event_destroy(old);
}

static void do_wait(uint32_t slot, uint32_t *state)
{
    static const int others[] = {OCLORA_STALE_HANDLE, OCLORA_INVALID_ARGUMENT /* none yet */, 0};
    oclora_message msg = {sizeof msg, ""};
    uint32_t done = 0;
    pthread_mutex_lock(&shared.mutex);
    oclora_event_t *event = shared.events[slot];
    pthread_mutex_unlock(&shared.mutex);
    if (next(state) % 2 == 0)
        expect(WAIT, api->event_done(event, &done, &msg), &msg, others);
    else
        expect(WAIT, api->event_wait(event, &msg), &msg, others);
}

static void do_query(uint32_t w, uint32_t i, uint32_t *state)
{
    static const int others[] = {OCLORA_STALE_HANDLE, OCLORA_ADAPTER_NOT_LOADED, 0};
    const place p = copy_place(w);
    oclora_message msg = {sizeof msg, ""};
    oclora_pool_desc pool = {.struct_size = sizeof pool};
    oclora_adapter_desc adapter = {.struct_size = sizeof adapter};
    oclora_capabilities caps = {.struct_size = sizeof caps};
    oclora_device_desc device = {.struct_size = sizeof device};
    oclora_adapter_t found = 0;
    char name[8];
    snprintf(name, sizeof name, "n%u", i);
    switch (next(state) % 5) {
    case 0:
        expect(QUERY, api->adapter_find(p.pool, name, strlen(name), &found, &msg), &msg, others);
        break;
    case 1:
        expect(QUERY, api->adapter_query(p.pool, p.adapters[i], &adapter, &msg), &msg, others);
        break;
    case 2:
        if (expect(QUERY, api->pool_query(p.pool, &pool, &msg), &msg, others) &&
            pool.used_bytes > pool.budget_bytes)
            atomic_fetch_add(&shared.wrong, 1);
        break;
    case 3:
        expect(QUERY, api->context_capabilities(p.context, &caps, &msg), &msg, others);
        break;
    default:
        expect(QUERY, api->context_health(p.context, &msg), &msg, others);
        expect(QUERY, api->device_info(0, &device, &msg), &msg, others);
    }
}

static void *work(void *user)
{
    uint32_t state = 0x9e3779b9u * (1 + *(const uint32_t *)user);
    for (long n = 0; n < shared.operations; n++) {
        if (shared.race) shared.raced++;
        const uint32_t w = next(&state) % WORLDS, i = next(&state) % NAMES;
        switch (next(&state) % 16) {
        case 0:
        case 1:
            do_load(w, i, false, &state);
            break;
        case 2:
            do_load(w, i, true, &state);
            break;
        case 3:
            do_unload(w, i);
            break;
        case 4:
            do_pin(w, i);
            break;
        case 5:
        case 6:
        case 7:
            do_batch(w, i, &state);
            break;
        case 8:
        case 9:
            do_layer(i, false, &state);
            break;
        case 10:
        case 11:
        case 12:
            do_layer(i, true, &state);
            break;
        case 13:
            do_wait(i, &state);
            break;
        case 14:
            do_query(w, i, &state);
            break;
        default:
            if (next(&state) % 30 == 0) do_rebuild(w, &state);
        }
    }
    return NULL;
}

static char *read_file(const char *path, uint64_t *bytes)
{
    FILE *file = fopen(path, "rb");
    char *text = malloc(1 << 20);
    if (file == NULL || text == NULL) exit(1);
    *bytes = fread(text, 1, 1 << 20, file);
    fclose(file);
    return text;
}

static void destroy_all(void)
{
    for (uint32_t i = 0; i < SLOTS; i++) {
        api->batch_destroy(shared.batches[i].batch);
        api->event_destroy(shared.events[i]);
    }
    for (uint32_t w = 0; w < WORLDS; w++) close_place(&shared.worlds[w], w);
    while (shared.results != NULL) {
        result *first = shared.results;
        shared.results = first->next;
        free(first);
    }
    free(shared.config);
    free(shared.tensors);
}

/* Objects of the fake driver that are left; 0 where another driver serves. */
static long live_objects(void)
{
    const char *path = getenv("OCLORA_FAKE_CL");
    void *driver = path == NULL ? NULL : dlopen(path, RTLD_NOW | RTLD_NOLOAD);
    void *symbol = driver == NULL ? NULL : dlsym(driver, "fake_cl_live_objects");
    long (*live)(void) = NULL;
    if (path != NULL && !CHECK(symbol != NULL)) return -1;
    memcpy(&live, &symbol, sizeof live);
    return live == NULL ? 0 : live();
}

static void test_threads(void)
{
    pthread_t threads[THREADS];
    uint32_t numbers[THREADS], state = 7, count = 0;
    oclora_message msg = {sizeof msg, ""};
    WANT_OK(api->device_count(&count, &msg));
    if (count == 0) {
        oclora_test_skip("no OpenCL device");
        return;
    }
    shared.config = read_file(GOLDEN "lora/adapter_config.json", &shared.config_bytes);
    shared.tensors = read_file(GOLDEN "lora/adapter_model.safetensors", &shared.tensors_bytes);
    for (uint32_t w = 0; w < WORLDS; w++) do_rebuild(w, &state);
    for (uint32_t i = 0; i < THREADS; i++) {
        numbers[i] = i;
        CHECK_INT(pthread_create(&threads[i], NULL, work, &numbers[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    destroy_all();
    for (int k = 0; k < KINDS; k++) {
        const long done = atomic_load(&shared.done[k]);
        printf("  %s: %ld of %ld\n", kind_names[k], done, atomic_load(&shared.tried[k]));
        CHECK(done > shared.operations / 200);
    }
    CHECK_INT(atomic_load(&shared.wrong), 0);
    CHECK_INT(atomic_load(&shared.live), 0);
    CHECK_INT(live_objects(), 0);
}

int main(int argc, char **argv)
{
    static const oclora_test tests[] = {{"one library, several threads", test_threads}};
    void *library = NULL;
    shared.race = argc > 1 && strcmp(argv[1], "race") == 0;
    shared.operations = argc > 1 && !shared.race ? strtol(argv[1], NULL, 10) : shared.race ? 300 : 3000;
    api = native_open(&library);
    const int status = oclora_test_main("plugin_threads", tests, 1);
    dlclose(library);
    return status;
}
