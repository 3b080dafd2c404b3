#include "fault/ggml_life.h"
#include "fault/ggml_log.h"

#include <dlfcn.h>
#include <ggml-alloc.h>
#include <gguf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SESSION_STEPS = 14, REGISTRY_STEPS = 4, SETUP_STEPS = 3 };

static char model_path[] = "/tmp/oclora-fault-XXXXXX";

static bool write_model(void)
{
    const int fd = mkstemp(model_path);
    struct gguf_context *file = gguf_init_empty();
    if (fd < 0 || file == NULL) return false;
    gguf_set_val_str(file, "general.architecture", "qwen2");
    gguf_set_val_u32(file, "qwen2.block_count", 4);
    gguf_set_val_u32(file, "qwen2.embedding_length", D_IN);
    gguf_set_val_u32(file, "qwen2.attention.head_count", 8);
    const bool ok = gguf_write_to_file(file, model_path, false);
    gguf_free(file);
    return ok;
}

static oclora_status said(oclora_status status, const oclora_ggml_message *message, char *text)
{
    if (status != OCLORA_OK) memcpy(text, message->text, sizeof message->text);
    return status;
}

/* A device that nobody had yet is opened anew; one that was open, or is said to be lost again when
 * nothing fails any more, is lost for good. */
static void note_lost(ggml_life *l, oclora_status status)
{
    if (status == OCLORA_DEVICE_LOST && (l->opened || l->tried)) l->lost = true;
    l->tried = status == OCLORA_DEVICE_LOST;
}

static oclora_status make_session(ggml_life *l, char *text)
{
    oclora_ggml_message message = {sizeof message, ""};
    const oclora_ggml_session_args args = {.struct_size = sizeof args,
                                           .model_path = model_path,
                                           .model_path_length = strlen(model_path),
                                           .pool_bytes = 16 * 1024};
    oclora_status status = l->api->session_create(&args, &l->session, &message);
    if (status == OCLORA_OK) status = l->api->session_bind(l->session, &message);
    return said(status, &message, text);
}

static oclora_status make_backend(ggml_life *l, char *text)
{
    l->backend = ggml_backend_dev_init(ggml_backend_reg_dev_get(l->reg, 0), NULL);
    if (l->backend == NULL) return ggml_log_unsaid(text);
    l->opened = true;
    return OCLORA_OK;
}

static oclora_status make_buffer(ggml_life *l, char *text)
{
    const struct ggml_init_params params = {ggml_tensor_overhead() * 4, NULL, true};
    if (l->ctx == NULL) {
        l->ctx = ggml_init(params);
        l->q = ggml_new_tensor_2d(l->ctx, GGML_TYPE_F32, D_IN, D_OUT);
        l->down = ggml_new_tensor_2d(l->ctx, GGML_TYPE_F32, DOWN_IN, D_IN);
        ggml_set_name(l->q, "blk.0.attn_q.weight");
        ggml_set_name(l->down, "blk.3.ffn_down.weight");
    }
    l->buffer = ggml_backend_alloc_ctx_tensors(l->ctx, l->backend);
    return l->buffer != NULL ? OCLORA_OK : ggml_log_unsaid(text);
}

static oclora_status upload(ggml_life *l, struct ggml_tensor *weight, char *text)
{
    float *values = malloc(ggml_nbytes(weight));
    if (values == NULL) abort();
    for (int64_t i = 0; i < ggml_nelements(weight); i++)
        values[i] = (float)(i * 37 % 101) / 101.0f - 0.5f;
    ggml_backend_tensor_set(weight, values, 0, ggml_nbytes(weight));
    free(values);
    const oclora_status status = ggml_log_status(text);
    if (status != OCLORA_OK) l->poisoned = true;
    return status;
}

static oclora_status load(ggml_life *l, const char *name, char *text)
{
    oclora_ggml_message message = {sizeof message, ""};
    char path[512];
    snprintf(path, sizeof path, "%s/golden/%s", OCLORA_TEST_DATA, name);
    return said(l->api->adapter_load(l->session, name, strlen(name), path, strlen(path), &message),
                &message, text);
}

/* Sequence 0: the base, 1: the adapter, 2: a mixture of it with itself. */
static oclora_status map(ggml_life *l, const char *name, char *text)
{
    oclora_ggml_message message = {sizeof message, ""};
    const oclora_ggml_adapter one = {.name = name, .name_length = strlen(name), .weight = 1.0f};
    const oclora_ggml_adapter half = {.name = name, .name_length = strlen(name), .weight = 0.25f};
    const oclora_ggml_adapter two[2] = {half, half};
    l->mapped = false;
    oclora_status status = l->api->clear(l->session, &message);
    if (status == OCLORA_OK) status = l->api->map(l->session, 0, NULL, 0, &message);
    if (status == OCLORA_OK) status = l->api->map(l->session, 1, &one, 1, &message);
    if (status == OCLORA_OK) status = l->api->map(l->session, 2, two, 2, &message);
    l->mapped = status == OCLORA_OK;
    return said(status, &message, text);
}

static void check_result(ggml_life *l, int which, const float *y)
{
    if (!l->known[which]) {
        memcpy(l->expected[which], y, sizeof l->expected[which]);
        l->known[which] = true;
    }
    double expected[ROWS * D_OUT];
    for (int i = 0; i < ROWS * D_OUT; i++) expected[i] = (double)l->expected[which][i];
    if (l->loosely)
        CHECK_LE(oclora_test_max_error(y, expected, ROWS * D_OUT), 1e-5);
    else
        CHECK_INT(memcmp(y, l->expected[which], sizeof l->expected[which]), 0);
}

/* Computes with x and the rows' places there; after a failed upload the graph must be refused. */
static oclora_status run_graph(ggml_life *l, struct ggml_cgraph *graph, char *text)
{
    oclora_ggml_message message = {sizeof message, ""};
    const oclora_status before = ggml_log_status(text);
    const enum ggml_status done = ggml_backend_graph_compute(l->backend, graph);
    if (before != OCLORA_OK) {
        l->poisoned = true;
        CHECK(done != GGML_STATUS_SUCCESS);
        return before;
    }
    if (done == GGML_STATUS_SUCCESS) return OCLORA_OK;
    const oclora_status status = l->api->last_error(l->session, &message);
    CHECK(status != OCLORA_OK);
    return said(status, &message, text);
}

static oclora_status compute(ggml_life *l, int which, char *text)
{
    const struct ggml_init_params params = {ggml_tensor_overhead() * 16 + ggml_graph_overhead(),
                                            NULL, true};
    struct ggml_context *ctx = ggml_init(params);
    struct ggml_tensor *x = ggml_new_tensor_2d(ctx, GGML_TYPE_F32, D_IN, ROWS);
    struct ggml_tensor *index = ggml_new_tensor_1d(ctx, GGML_TYPE_I64, ROWS);
    struct ggml_tensor *cache = ggml_new_tensor_3d(ctx, GGML_TYPE_F32, D_OUT, CELLS, STREAMS);
    struct ggml_tensor *cells = ggml_reshape_2d(ctx, cache, D_OUT, CELLS * STREAMS);
    struct ggml_tensor *out = ggml_mul_mat(ctx, l->q, x);
    struct ggml_cgraph *graph = ggml_new_graph(ctx);
    const int64_t where[ROWS] = {0, CELLS, 2 * CELLS};
    float y[ROWS * D_OUT];
    ggml_set_name(cache, "cache_k_l0");
    ggml_set_input(x);
    ggml_set_input(index);
    ggml_set_output(out);
    ggml_build_forward_expand(graph, ggml_set_rows(ctx, cells, out, index));
    ggml_backend_buffer_t buffer = ggml_backend_alloc_ctx_tensors(ctx, l->backend);
    oclora_status status = buffer != NULL ? OCLORA_OK : ggml_log_unsaid(text);
    if (status == OCLORA_OK) {
        ggml_backend_tensor_set(x, l->x, 0, ggml_nbytes(x));
        ggml_backend_tensor_set(index, where, 0, ggml_nbytes(index));
        status = run_graph(l, graph, text);
    }
    if (status == OCLORA_OK) {
        ggml_backend_tensor_get(out, y, 0, ggml_nbytes(out));
        status = ggml_log_status(text);
        if (status == OCLORA_OK)
            check_result(l, which, y);
        else
            l->poisoned = true;
    }
    ggml_backend_buffer_free(buffer);
    ggml_free(ctx);
    return status;
}

static oclora_status ask(ggml_life *l, char *text)
{
    oclora_ggml_message message = {sizeof message, ""};
    oclora_ggml_stats stats = {.struct_size = sizeof stats};
    oclora_ggml_adapter_info info = {.struct_size = sizeof info};
    oclora_status status = l->api->stats(l->session, &stats, &message);
    if (status == OCLORA_OK) status = l->api->adapter_query(l->session, "lora", 4, &info, &message);
    return said(status, &message, text);
}

static oclora_status unload(ggml_life *l, const char *name, char *text)
{
    oclora_ggml_message message = {sizeof message, ""};
    oclora_status status = l->api->clear(l->session, &message);
    if (status == OCLORA_OK)
        status = l->api->adapter_unload(l->session, name, strlen(name), &message);
    return said(status, &message, text);
}

static oclora_status clear_weights(ggml_life *l, char *text)
{
    ggml_backend_buffer_clear(l->buffer, 0);
    const oclora_status status = ggml_log_status(text);
    if (status != OCLORA_OK) l->poisoned = true;
    return status;
}

/* Where all goes on failing, a step may lack what an earlier one makes. Without its map a graph
 * would be served by the base alone, which is no fault, and not what is expected. */
static bool can_do(const ggml_life *l, int number)
{
    if ((number == 8 || number == 10) && !l->mapped) return false;
    return (number < 1 || l->session != NULL) && (number < 2 || l->backend != NULL) &&
           (number < 3 || l->buffer != NULL);
}

static oclora_status session_do(ggml_life *l, int number, char *text)
{
    ggml_log_clear();
    if (!can_do(l, number)) {
        snprintf(text, 512, "an earlier step failed");
        return OCLORA_WRONG_STATE;
    }
    switch (number) {
    case 0:
        return make_session(l, text);
    case 1:
        return make_backend(l, text);
    case 2:
        return make_buffer(l, text);
    case 3:
        return upload(l, l->q, text);
    case 4:
        return upload(l, l->down, text);
    case 5:
        return load(l, "lora", text);
    case 6:
        return load(l, "rslora", text);
    case 7:
        return map(l, "lora", text);
    case 8:
        return compute(l, 0, text);
    case 9:
        return map(l, "rslora", text);
    case 10:
        return compute(l, 1, text); /* evicts the first */
    case 11:
        return ask(l, text);
    case 12:
        return unload(l, "lora", text);
    default:
        return clear_weights(l, text);
    }
}

static void session_end(void *user)
{
    ggml_life *l = user;
    oclora_ggml_message message = {sizeof message, ""};
    ggml_backend_free(l->backend);
    ggml_backend_buffer_free(l->buffer);
    ggml_free(l->ctx);
    l->backend = NULL;
    l->buffer = NULL;
    l->ctx = NULL;
    l->poisoned = false;
    if (l->session == NULL) return;
    l->api->session_bind(NULL, &message);
    l->api->session_destroy(l->session);
    l->session = NULL;
}

/* After a failed upload the host loads its model again, in a session of its own. */
static oclora_status session_step(void *user, int number, char *text)
{
    ggml_life *l = user;
    if (l->poisoned && !l->lost) {
        session_end(l);
        l->poisoned = true; /* until it is all there again */
        for (int s = 0; s < number; s++) OCLORA_TRY(session_do(l, s, text));
        l->poisoned = false;
    }
    const oclora_status status = session_do(l, number, text);
    note_lost(l, status);
    return status;
}

static void session_begin(void *user)
{
    ggml_life *l = user;
    l->lost = l->tried = l->poisoned = false;
}

static bool is_lost(void *user)
{
    return ((ggml_life *)user)->lost;
}

/* The library is held while it is watched, so that its code stays where it is. */
static void registry_begin(void *user)
{
    ggml_life *l = user;
    l->lost = l->tried = l->opened = l->poisoned = false;
    l->library = dlopen(OCLORA_PLUGIN, RTLD_NOW | RTLD_LOCAL);
    fault_memory_forget();
    CHECK(fault_memory_watch("libggml-oclora.so", true) &&
          fault_memory_watch("libjansson.so", true) && fault_memory_watch("libpcre2-8.so", true) &&
          fault_memory_watch("libcrypto.so", false));
}

static oclora_status registry_step(void *user, int number, char *text)
{
    ggml_life *l = user;
    oclora_ggml_message message = {sizeof message, ""};
    const oclora_ggml_session_args args = {.struct_size = sizeof args,
                                           .model_path = model_path,
                                           .model_path_length = strlen(model_path)};
    oclora_ggml_get_api_fn get = NULL;
    ggml_log_clear();
    if (number > 0 && l->api == NULL && (number > 1 || l->reg == NULL)) {
        snprintf(text, 512, "an earlier step failed");
        return OCLORA_WRONG_STATE;
    }
    switch (number) {
    case 0:
        l->reg = ggml_backend_load(OCLORA_PLUGIN);
        return l->reg != NULL ? OCLORA_OK : ggml_log_unsaid(text);
    case 1: {
        void *address = ggml_backend_reg_get_proc_address(l->reg, OCLORA_GGML_GET_API);
        memcpy(&get, &address, sizeof get);
        l->api = get != NULL ? get(OCLORA_GGML_MAJOR) : NULL;
        CHECK(l->api != NULL && ggml_backend_reg_dev_count(l->reg) > 0);
        return OCLORA_OK;
    }
    case 2:
        return said(l->api->configure(&args, &message), &message, text);
    default: {
        const oclora_status status = make_backend(l, text);
        note_lost(l, status);
        return status;
    }
    }
}

static void registry_end(void *user)
{
    ggml_life *l = user;
    ggml_backend_free(l->backend);
    l->backend = NULL;
    if (l->reg != NULL) ggml_backend_unload(l->reg);
    l->reg = NULL;
    l->api = NULL;
    if (l->library != NULL) dlclose(l->library);
    l->library = NULL;
}

static void whole_end(void *user)
{
    session_end(user);
    registry_end(user);
}

static oclora_status whole_step(void *user, int number, char *text)
{
    if (number < SETUP_STEPS) return registry_step(user, number, text);
    if (((ggml_life *)user)->api != NULL) return session_step(user, number - SETUP_STEPS, text);
    snprintf(text, 512, "an earlier step failed");
    return OCLORA_WRONG_STATE;
}

fault_life ggml_registry_life(ggml_life *l)
{
    return (fault_life){"ggml registry",
                        REGISTRY_STEPS,
                        registry_begin,
                        registry_step,
                        is_lost,
                        registry_end,
                        l,
                        true};
}

fault_life ggml_session_life(ggml_life *l)
{
    return (fault_life){
        "ggml session", SESSION_STEPS, session_begin, session_step, is_lost, session_end, l, false};
}

fault_life ggml_whole_life(ggml_life *l)
{
    return (fault_life){"ggml, lost",
                        SETUP_STEPS + SESSION_STEPS,
                        registry_begin,
                        whole_step,
                        is_lost,
                        whole_end,
                        l,
                        true};
}

bool ggml_life_open(ggml_life *l)
{
    char text[512] = "";
    registry_begin(l);
    for (int s = 0; s < 2; s++)
        if (!CHECK_INT(registry_step(l, s, text), OCLORA_OK)) {
            printf("  %s\n", text);
            return false;
        }
    return true;
}

void ggml_life_close(ggml_life *l)
{
    registry_end(l);
}

bool ggml_life_start(ggml_life *l)
{
    ggml_log_listen();
    oclora_test_fill(l->x, ROWS * D_IN);
    return write_model();
}

void ggml_life_finish(void)
{
    remove(model_path);
}
