/* The control table of the ggml plugin as a careless host would call it: NULL, garbage and stale
 * sessions, structs of every size at the edge of forbidden memory, calls in the wrong order. */
#define _DEFAULT_SOURCE
#include "ggml/golden_model.h"
#include "plugin/guard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const oclora_ggml_api *api;
static oclora_ggml_message msg = {sizeof msg, ""};

static void want(oclora_status status, oclora_status expected, const char *what)
{
    if (!CHECK_INT(status, expected)) fprintf(stderr, "  %s: %s\n", what, msg.text);
    CHECK((msg.text[0] != 0) == (status != OCLORA_OK));
}
#define WANT(call, expected) want((call), (expected), #call)

static bool start(void)
{
    if (!golden_start()) return false;
    api = run.api;
    return true;
}

static void test_table(void)
{
    if (!start()) return;
    CHECK_INT(api->struct_size, sizeof *api);
    CHECK_INT(api->major, OCLORA_GGML_MAJOR);
    for (size_t at = offsetof(oclora_ggml_api, session_create); at < sizeof *api;
         at += sizeof(void *)) {
        void *slot = NULL;
        memcpy(&slot, (const char *)api + at, sizeof slot);
        CHECK(slot != NULL);
    }
    CHECK_INT(strcmp(api->status_name(OCLORA_STALE_HANDLE), "OCLORA_STALE_HANDLE"), 0);
    CHECK(api->status_name(-12345) != NULL);
    oclora_ggml_get_api_fn get = NULL;
    void *address = ggml_backend_reg_get_proc_address(run.reg, OCLORA_GGML_GET_API);
    memcpy(&get, &address, sizeof get);
    CHECK(get(OCLORA_GGML_MAJOR + 1) == NULL && get(0) == NULL);
    CHECK(ggml_backend_reg_get_proc_address(run.reg, "no such function") == NULL);
}

/* Every slot that takes a session. */
static void with_session(oclora_ggml_session *session, oclora_status expected)
{
    oclora_ggml_adapter_info info = {.struct_size = sizeof info};
    oclora_ggml_stats stats = {.struct_size = sizeof stats, .graphs = 77};
    const oclora_ggml_adapter one = {.name = "a", .name_length = 1, .weight = 1.0f};
    WANT(api->session_bind(session, &msg), expected);
    WANT(api->adapter_load(session, "a", 1, "p", 1, &msg), expected);
    WANT(api->adapter_unload(session, "a", 1, &msg), expected);
    WANT(api->adapter_query(session, "a", 1, &info, &msg), expected);
    WANT(api->map(session, 0, &one, 1, &msg), expected);
    WANT(api->map(session, 0, NULL, 0, &msg), expected);
    WANT(api->map_all(session, &one, 1, &msg), expected);
    WANT(api->clear(session, &msg), expected);
    WANT(api->stats(session, &stats, &msg), expected);
    WANT(api->last_error(session, &msg), expected);
    CHECK_INT(api->clear(session, NULL), expected);
    api->session_destroy(session);
    CHECK(info.n_modules == 0 && stats.graphs == 77);
}

static void test_sessions(void)
{
    uint64_t garbage[64];
    oclora_ggml_session *first = NULL, *second = NULL;
    if (!start()) return;
    for (size_t i = 0; i < 64; i++) garbage[i] = oclora_test_random() * 0x100000001ull;
    with_session((void *)garbage, OCLORA_STALE_HANDLE);
    with_session((void *)(uintptr_t)1, OCLORA_STALE_HANDLE);
    with_session((void *)UINTPTR_MAX, OCLORA_STALE_HANDLE);
    for (int i = 0; i < 100; i++)
        with_session((void *)(uintptr_t)(oclora_test_random() | 1u << 31), OCLORA_STALE_HANDLE);

    WANT(api->session_create(NULL, &first, &msg), OCLORA_OK);
    WANT(api->session_bind(first, &msg), OCLORA_OK);
    api->session_destroy(first);
    with_session(first, OCLORA_STALE_HANDLE);
    WANT(api->session_create(NULL, &second, &msg), OCLORA_OK);
    CHECK(second != first);
    with_session(first, OCLORA_STALE_HANDLE);
    WANT(api->session_bind(second, &msg), OCLORA_OK);
    WANT(api->session_bind(NULL, &msg), OCLORA_OK);
    api->session_destroy(second);
    api->session_destroy(second);
    api->session_destroy(NULL);
}

/* A session destroyed under its context: what the host has goes on, the handle is gone. */
static void test_order(void)
{
    model m;
    if (!start() || !open_model(&m, "lora") || !load(&m, "it", "")) return;
    const layer *l = &m.layers[0];
    float *y = malloc(l->rows * l->d_out * sizeof *y);
    mapping map = {0};
    oclora_ggml_session *session = m.session;
    api->session_destroy(session);
    with_session(session, OCLORA_STALE_HANDLE);
    m.session = NULL;
    for (size_t t = 0; t < l->rows; t++) map.seq[t] = (uint32_t)t;
    CHECK(y != NULL && compute(&m, l, &map, y));
    free(y);
    close_model(&m);
}

static void test_null(void)
{
    oclora_ggml_adapter_info info = {.struct_size = sizeof info};
    const oclora_ggml_adapter nameless = {.name_length = 5};
    if (!start()) return;
    WANT(api->session_create(NULL, NULL, &msg), OCLORA_INVALID_ARGUMENT);
    WANT(api->configure(NULL, &msg), OCLORA_OK);
    WANT(api->adapter_load(NULL, NULL, 0, "p", 1, &msg), OCLORA_INVALID_ARGUMENT);
    WANT(api->adapter_load(NULL, "a", 1, NULL, 0, &msg), OCLORA_INVALID_ARGUMENT);
    WANT(api->adapter_load(NULL, "a", UINT64_MAX, "p", 1, &msg), OCLORA_INVALID_ARGUMENT);
    WANT(api->adapter_load(NULL, "a\0b", 3, "p", 1, &msg), OCLORA_INVALID_ARGUMENT);
    WANT(api->adapter_unload(NULL, NULL, 7, &msg), OCLORA_INVALID_ARGUMENT);
    WANT(api->adapter_query(NULL, "a", 1, NULL, &msg), OCLORA_INVALID_ARGUMENT);
    WANT(api->adapter_query(NULL, NULL, 0, &info, &msg), OCLORA_INVALID_ARGUMENT);
    WANT(api->map(NULL, 0, NULL, 1, &msg), OCLORA_INVALID_ARGUMENT);
    WANT(api->map(NULL, 0, &nameless, 1, &msg), OCLORA_INVALID_ARGUMENT);
    WANT(api->map(NULL, 0, &nameless, UINT32_MAX, &msg), OCLORA_INVALID_ARGUMENT);
    WANT(api->map_all(NULL, NULL, 1, &msg), OCLORA_INVALID_ARGUMENT);
    WANT(api->stats(NULL, NULL, &msg), OCLORA_INVALID_ARGUMENT);
    /* Before any model: there is nothing to adapt yet, and nothing is kept of the tries. */
    WANT(api->adapter_load(NULL, "a", 1, "p", 1, &msg), OCLORA_WEIGHT_NOT_ON_DEVICE);
    WANT(api->adapter_unload(NULL, "a", 1, &msg), OCLORA_ADAPTER_NOT_LOADED);
    WANT(api->map(NULL, 0, NULL, 0, &msg), OCLORA_WEIGHT_NOT_ON_DEVICE);
    WANT(api->clear(NULL, &msg), OCLORA_OK);
    WANT(api->last_error(NULL, &msg), OCLORA_OK);
    WANT(api->session_bind(NULL, &msg), OCLORA_OK);
}

static model served;

static oclora_status call_create(void *args)
{
    oclora_ggml_session *made = NULL;
    const oclora_status status = api->session_create(args, &made, &msg);
    CHECK((made != NULL) == (status == OCLORA_OK));
    api->session_destroy(made);
    return status;
}
static oclora_status call_query(void *out)
{
    return api->adapter_query(served.session, "it", 2, out, &msg);
}
static oclora_status call_stats(void *out)
{
    return api->stats(served.session, out, &msg);
}

/* All sizes from 8 to more than today's; below version 1.0's ABI_MISMATCH. */
static void sweep(const void *args, size_t full, oclora_status (*call)(void *args))
{
    for (uint64_t size = 0; size < full + 32; size += 4) {
        unsigned char copy[512] = {0};
        memcpy(copy, args, full);
        memset(copy + full, 0xa5, 32);
        memcpy(copy, &size, sizeof size);
        for (int side = 0; side < 2; side++) {
            guarded g = guard(copy, size < 8 ? 8 : (size_t)size, side);
            const oclora_status status = call(g.at);
            if (!CHECK_INT(status, size < full ? OCLORA_ABI_MISMATCH : OCLORA_OK))
                fprintf(stderr, "  size %d: %s\n", (int)size, msg.text);
            if (size < full) CHECK_CONTAINS(msg.text, "struct_size");
            unguard(&g);
        }
    }
}

static void test_sizes(void)
{
    const oclora_ggml_session_args args = {.struct_size = sizeof args, .pool_bytes = 1 << 16};
    const oclora_ggml_adapter_info info = {.struct_size = sizeof info};
    const oclora_ggml_stats stats = {.struct_size = sizeof stats};
    if (!start() || !open_model(&served, "lora") || !load(&served, "it", "")) return;
    sweep(&args, sizeof args, call_create);
    sweep(&info, sizeof info, call_query);
    sweep(&stats, sizeof stats, call_stats);
    for (uint64_t size = 0; size <= 600; size++) {
        unsigned char room[600];
        memset(room, 0x5a, sizeof room);
        memcpy(room, &size, sizeof size);
        guarded g = guard(room, size < 8 ? 8 : (size_t)size, GUARD_BEHIND);
        oclora_ggml_message *message = g.at;
        CHECK_INT(api->stats(NULL, NULL, message), OCLORA_INVALID_ARGUMENT);
        if (size > 8) CHECK(memchr(message->text, 0, (size_t)size - 8) != NULL);
        if (size > 40) CHECK_CONTAINS(message->text, "NULL");
        unguard(&g);
    }
    /* Texts are not zero-terminated: nothing behind their length is read. */
    guarded name = guard("it", 2, GUARD_BEHIND);
    oclora_ggml_adapter_info out = {.struct_size = sizeof out};
    WANT(api->adapter_query(served.session, name.at, 2, &out, &msg), OCLORA_OK);
    unguard(&name);
    close_model(&served);
}

int main(void)
{
    static const oclora_test tests[] = {
        {"the table", test_table},
        {"NULL everywhere, and calls before any model", test_null},
        {"garbage, stale and foreign sessions", test_sessions},
        {"a session destroyed under its context", test_order},
        {"arguments and results of every size", test_sizes},
    };
    run.pool_bytes = 1 << 18;
    if (!golden_begin(OCLORA_TEST_DATA "/golden")) return 1;
    const int status = oclora_test_main("ggml_control", tests, sizeof tests / sizeof *tests);
    golden_end();
    return status;
}
