/* Several contexts of one process live, serve and die in threads of their own, while other threads
 * use their sessions' handles, also after they are gone. Meant for ThreadSanitizer and the fake
 * OpenCL driver. Usage: ggml_threads [models per thread] */
#include "ggml/golden_model.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HOSTS = 4, MEDDLERS = 3, GRAPHS = 4 };

static struct {
    pthread_mutex_t mutex;
    oclora_ggml_session *sessions[HOSTS]; /* of now, or of a while ago */
    long lives;
    atomic_int running;
    atomic_long graphs, calls, done, stale, wrong;
} shared = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static uint32_t next(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static bool serve(const model *m, uint32_t *state)
{
    const layer *l = &m->layers[next(state) % m->n_layers];
    float *y = calloc(l->rows * l->d_out, sizeof *y);
    mapping map = {0};
    for (size_t t = 0; t < l->rows; t++) {
        map.seq[t] = (uint32_t)t;
        map.count[t] = next(state) % 2;
        snprintf(map.adapter[t][0], sizeof map.adapter[t][0], "it");
        map.weight[t][0] = 1.0f;
    }
    map_rows(m, &map, l->rows);
    const bool ok = y != NULL && compute(m, l, &map, y);
    free(y);
    return ok;
}

static void *host(void *user)
{
    static const char *const cases[] = {"lora", "rslora", "dora", "lora_bias"};
    const uint32_t number = *(const uint32_t *)user;
    uint32_t state = 0x9e3779b9u * (1 + number);
    for (long n = 0; n < shared.lives; n++) {
        model m;
        bool ok = open_model(&m, cases[next(&state) % 4]);
        pthread_mutex_lock(&shared.mutex);
        shared.sessions[number] = m.session;
        pthread_mutex_unlock(&shared.mutex);
        ok = ok && load(&m, "it", "");
        for (int g = 0; g < GRAPHS && ok; g++) {
            ok = serve(&m, &state);
            atomic_fetch_add(&shared.graphs, 1);
        }
        if (!ok) atomic_fetch_add(&shared.wrong, 1);
        close_model(&m);
    }
    atomic_fetch_sub(&shared.running, 1);
    return NULL;
}

/* What a session that comes and goes may answer. */
static void expect(oclora_status status, const oclora_ggml_message *message)
{
    static const int expected[] = {OCLORA_OK,
                                   OCLORA_STALE_HANDLE,
                                   OCLORA_WEIGHT_NOT_ON_DEVICE,
                                   OCLORA_ADAPTER_NOT_LOADED,
                                   OCLORA_ADAPTER_IN_USE,
                                   OCLORA_ALREADY_EXISTS,
                                   OCLORA_MODULE_MISMATCH,
                                   OCLORA_WRONG_STATE /* the model's weights were just freed */};
    atomic_fetch_add(&shared.calls, 1);
    if (status == OCLORA_OK) atomic_fetch_add(&shared.done, 1);
    if (status == OCLORA_STALE_HANDLE) atomic_fetch_add(&shared.stale, 1);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        if (expected[i] == status) return;
    if (atomic_fetch_add(&shared.wrong, 1) < 10)
        fprintf(stderr, "  wrong: %s (%d)\n", message->text, (int)status);
}

static void meddle(oclora_ggml_session *session, uint32_t *state)
{
    static const char path[] = OCLORA_TEST_DATA "/golden/lora";
    const oclora_ggml_api *api = run.api;
    oclora_ggml_message msg = {sizeof msg, ""};
    oclora_ggml_adapter_info info = {.struct_size = sizeof info};
    oclora_ggml_stats stats = {.struct_size = sizeof stats};
    const oclora_ggml_adapter extra = {.name = "extra", .name_length = 5, .weight = 0.5f};
    switch (next(state) % 10) {
    case 0:
        expect(api->adapter_load(session, "extra", 5, path, sizeof path - 1, &msg), &msg);
        break;
    case 1:
        expect(api->adapter_unload(session, "extra", 5, &msg), &msg);
        break;
    case 2:
        expect(api->adapter_query(session, "it", 2, &info, &msg), &msg);
        break;
    case 3:
        expect(api->map(session, STREAMS + next(state) % 4, &extra, next(state) % 2, &msg), &msg);
        break;
    case 4:
        expect(api->stats(session, &stats, &msg), &msg);
        break;
    case 5:
        expect(api->last_error(session, &msg), &msg);
        break;
    case 6: /* a buffer of this thread belongs to the session, or is refused */
        expect(api->session_bind(session, &msg), &msg);
        ggml_backend_buffer_free(ggml_backend_buft_alloc_buffer(
            ggml_backend_dev_buffer_type(ggml_backend_reg_dev_get(run.reg, 0)), 4096));
        expect(api->session_bind(NULL, &msg), &msg);
        break;
    case 7:
        if (next(state) % 8 == 0) expect(api->clear(session, &msg), &msg);
        break;
    case 8: { /* a session that nobody else knows */
        oclora_ggml_session *own = NULL;
        expect(api->session_create(NULL, &own, &msg), &msg);
        api->session_destroy(own);
        api->session_destroy(own);
        break;
    }
    default:
        expect(api->adapter_query(session, "extra", 5, &info, &msg), &msg);
    }
}

static void *meddler(void *user)
{
    uint32_t state = 0x85ebca6bu * (1 + *(const uint32_t *)user);
    while (atomic_load(&shared.running) > 0) {
        pthread_mutex_lock(&shared.mutex);
        oclora_ggml_session *session = shared.sessions[next(&state) % HOSTS];
        pthread_mutex_unlock(&shared.mutex);
        meddle(next(&state) % 8 == 0 ? NULL : session, &state);
    }
    return NULL;
}

static void test_threads(void)
{
    pthread_t threads[HOSTS + MEDDLERS];
    uint32_t numbers[HOSTS + MEDDLERS];
    if (!golden_start()) return;
    atomic_store(&shared.running, HOSTS);
    for (uint32_t i = 0; i < HOSTS + MEDDLERS; i++) {
        numbers[i] = i;
        CHECK_INT(pthread_create(&threads[i], NULL, i < HOSTS ? host : meddler, &numbers[i]), 0);
    }
    for (uint32_t i = 0; i < HOSTS + MEDDLERS; i++) pthread_join(threads[i], NULL);
    printf(
        "  %ld models, %ld graphs; %ld calls of others, %ld done, %ld of sessions that were gone\n",
        shared.lives * HOSTS, shared.graphs, shared.calls, shared.done, shared.stale);
    CHECK_INT(shared.wrong, 0);
    CHECK_INT(shared.graphs, shared.lives * HOSTS * GRAPHS);
    CHECK(shared.done > 100 && shared.stale > 0);
}

int main(int argc, char **argv)
{
    static const oclora_test tests[] = {{"several models, several threads", test_threads}};
    shared.lives = argc > 1 ? strtol(argv[1], NULL, 10) / 100 : 20;
    run.pool_bytes = 1 << 18;
    if (!golden_begin(OCLORA_TEST_DATA "/golden")) return 1;
    const int status = oclora_test_main("ggml_threads", tests, 1);
    golden_end();
    return status;
}
