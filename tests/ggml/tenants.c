/* Graphs that must be refused because an adapter would be left out, or served on a weight it was
 * not made for. Each is served before, so that the refusals are for their reasons. */
#define _DEFAULT_SOURCE
#include "ggml/golden_model.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* All rows of sequence 3, in the smallest graph. */
typedef struct attempt {
    int64_t first_row, n_rows; /* of the weight; n_rows 0: the weight itself */
    bool transposed_rows;      /* x is not made of rows of floats */
} attempt;

static struct ggml_tensor *product(struct ggml_context *ctx, const layer *l, const attempt *a)
{
    struct ggml_tensor *w = l->weight;
    if (a->n_rows != 0)
        w = ggml_view_2d(ctx, w, w->ne[0], a->n_rows, w->nb[1], (size_t)a->first_row * w->nb[1]);
    struct ggml_tensor *x = ggml_new_tensor_2d(ctx, GGML_TYPE_F32, (int64_t)l->d_in, 4);
    if (a->transposed_rows)
        x = ggml_transpose(ctx, ggml_new_tensor_2d(ctx, GGML_TYPE_F32, 4, (int64_t)l->d_in));
    return ggml_mul_mat(ctx, w, x);
}

static enum ggml_status run_graph(const model *m, const layer *l, const attempt *a)
{
    const int64_t where[4] = {3 * CELLS, 3 * CELLS + 1, 3 * CELLS + 2, 3 * CELLS + 3};
    struct ggml_context *ctx = ggml_init(
        (struct ggml_init_params){ggml_tensor_overhead() * 16 + ggml_graph_overhead(), NULL, true});
    struct ggml_tensor *y = product(ctx, l, a);
    struct ggml_tensor *index = ggml_new_tensor_1d(ctx, GGML_TYPE_I64, 4);
    struct ggml_tensor *cache = ggml_new_tensor_3d(ctx, GGML_TYPE_F32, y->ne[0], CELLS, STREAMS);
    struct ggml_tensor *cells = ggml_reshape_2d(ctx, cache, y->ne[0], CELLS * STREAMS);
    struct ggml_cgraph *graph = ggml_new_graph(ctx);
    ggml_set_input(index);
    ggml_build_forward_expand(graph, ggml_set_rows(ctx, cells, y, index));
    ggml_backend_buffer_t buffer = ggml_backend_alloc_ctx_tensors(ctx, m->backend);
    enum ggml_status status = GGML_STATUS_ABORTED;
    if (CHECK(buffer != NULL)) {
        ggml_backend_buffer_clear(buffer, 0);
        ggml_backend_tensor_set(index, where, 0, sizeof where);
        status = ggml_backend_graph_compute(m->backend, graph);
    }
    ggml_backend_buffer_free(buffer);
    ggml_free(ctx);
    return status;
}

static const attempt whole = {0};

static void map_one(const model *m)
{
    oclora_ggml_message message = {sizeof message, ""};
    const oclora_ggml_adapter it = {.name = "it", .name_length = 2, .weight = 1.0f};
    check_ok(run.api->map(m->session, 3, &it, 1, &message), &message, "map");
}

static void want_refused(const model *m, const layer *l, const attempt *a, oclora_status status,
                         const char *text)
{
    oclora_ggml_message message = {sizeof message, ""};
    CHECK_INT(run_graph(m, l, a), GGML_STATUS_FAILED);
    CHECK_INT(run.api->last_error(m->session, &message), status);
    CHECK_CONTAINS(message.text, text);
    run.api->clear(m->session, &message);
    CHECK_INT(run_graph(m, l, a), GGML_STATUS_SUCCESS);
}

static void write_whole(const layer *l)
{
    ggml_backend_tensor_set(l->weight, l->w, 0, ggml_nbytes(l->weight));
}
static void write_part(const layer *l)
{
    ggml_backend_tensor_set(l->weight, l->w, 64, 64);
}
static void clear_part(const layer *l)
{
    ggml_backend_tensor_memset(l->weight, 0, 0, 64);
}

/* DoRA's row norms are of the weight's bytes as they were when it was loaded. */
static void test_changed_weight(void)
{
    static void (*const changes[])(const layer *) = {write_whole, write_part, clear_part};
    if (!golden_start()) return;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        oclora_ggml_message message = {sizeof message, ""};
        model m;
        if (open_model(&m, "dora") && load(&m, "it", "")) {
            const layer *l = &m.layers[0];
            map_one(&m);
            CHECK_INT(run_graph(&m, l, &whole), GGML_STATUS_SUCCESS);
            changes[i](l);
            want_refused(&m, l, &whole, OCLORA_WRONG_STATE, l->name);
            const oclora_ggml_adapter it = {.name = "it", .name_length = 2, .weight = 1.0f};
            CHECK_INT(run.api->map(m.session, 3, &it, 1, &message), OCLORA_WRONG_STATE);
            check_ok(run.api->adapter_unload(m.session, "it", 2, &message), &message, "unload");
            if (changes[i] != clear_part && load(&m, "it", "")) {
                map_one(&m);
                CHECK_INT(run_graph(&m, l, &whole), GGML_STATUS_SUCCESS);
            }
        }
        close_model(&m);
    }
}

/* A product with part of an adapted weight, or of rows that the adapter cannot follow. */
static void test_unusual_products(void)
{
    static const attempt cases[] = {{0, 16, false}, {16, 32, false}, {3, 5, false}, {0, 0, true}};
    if (!golden_start()) return;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        model m;
        if (open_model(&m, "lora") && load(&m, "it", "")) {
            const layer *l = &m.layers[0];
            map_one(&m);
            CHECK_INT(run_graph(&m, l, &whole), GGML_STATUS_SUCCESS);
            want_refused(&m, l, &cases[i], OCLORA_NOT_SUPPORTED, l->name);
        }
        close_model(&m);
    }
}

/* ---- two contexts over one weight, one of which uses it otherwise than in products ---- */

enum { WIDE = 2048, COLUMNS = 32, PRODUCTS = 24, TIMES = 3 };

typedef struct shared_weight {
    struct ggml_context *ctx;
    struct ggml_tensor *weight, *x, *y[PRODUCTS], *row, *rows;
    ggml_backend_buffer_t buffer;
    ggml_backend_t backend[2];
    float *values;
    atomic_int started, done; /* graphs of the one, whether the other's is over */
    long wrong;
} shared_weight;

/* Products that take a while: row i of the weight is all i % 13, and x is ones. */
static void *multiply(void *user)
{
    shared_weight *s = user;
    struct ggml_cgraph *graph = ggml_new_graph_custom(s->ctx, 2 * PRODUCTS, false);
    for (int p = 0; p < PRODUCTS; p++) ggml_build_forward_expand(graph, s->y[p]);
    float *y = malloc(ggml_nbytes(s->y[0]));
    for (int n = 0; y != NULL && (n < TIMES || !atomic_load(&s->done)); n++) {
        atomic_store(&s->started, n);
        CHECK_INT(ggml_backend_graph_compute(s->backend[0], graph), GGML_STATUS_SUCCESS);
        for (int p = 0; p < PRODUCTS; p++) {
            ggml_backend_tensor_get(s->y[p], y, 0, ggml_nbytes(s->y[p]));
            for (int i = 0; i < COLUMNS * WIDE; i++)
                s->wrong += y[i] != (float)(i % WIDE % 13 * WIDE);
        }
    }
    free(y);
    return NULL;
}

static bool open_shared(shared_weight *s)
{
    const struct ggml_init_params params = {ggml_tensor_overhead() * (PRODUCTS + 8) +
                                                2 * ggml_graph_overhead_custom(2 * PRODUCTS, false),
                                            NULL, true};
    ggml_backend_dev_t device = ggml_backend_reg_dev_get(run.reg, 0);
    memset(s, 0, sizeof *s);
    s->ctx = ggml_init(params);
    for (int i = 0; i < 2; i++) s->backend[i] = ggml_backend_dev_init(device, NULL);
    s->weight = ggml_new_tensor_2d(s->ctx, GGML_TYPE_F32, WIDE, WIDE);
    ggml_set_name(s->weight, "blk.0.attn_q.weight");
    s->x = ggml_new_tensor_2d(s->ctx, GGML_TYPE_F32, WIDE, COLUMNS);
    s->row = ggml_new_tensor_1d(s->ctx, GGML_TYPE_I32, 1);
    for (int p = 0; p < PRODUCTS; p++) s->y[p] = ggml_mul_mat(s->ctx, s->weight, s->x);
    s->rows = ggml_get_rows(s->ctx, s->weight, s->row); /* wants ggml's own order */
    s->buffer = ggml_backend_alloc_ctx_tensors(s->ctx, s->backend[0]);
    s->values = malloc(sizeof(float) * WIDE * WIDE);
    if (!CHECK(s->buffer != NULL && s->values != NULL)) return false;
    for (int i = 0; i < WIDE * WIDE; i++) s->values[i] = (float)(i / WIDE % 13);
    ggml_backend_tensor_set(s->weight, s->values, 0, ggml_nbytes(s->weight));
    for (int i = 0; i < COLUMNS * WIDE; i++) s->values[i] = 1.0f;
    ggml_backend_tensor_set(s->x, s->values, 0, ggml_nbytes(s->x));
    return true;
}

static void close_shared(shared_weight *s)
{
    for (int i = 0; i < 2; i++) ggml_backend_free(s->backend[i]);
    ggml_backend_buffer_free(s->buffer);
    ggml_free(s->ctx);
    free(s->values);
}

/* The weight is reordered where it lies while the other context multiplies by it. */
static void test_reordered_in_use(void)
{
    static shared_weight s;
    if (!golden_start()) return;
    for (int life = 0; life < 3; life++) {
        const int32_t row = 5;
        pthread_t thread;
        float got[WIDE];
        if (!open_shared(&s)) return;
        struct ggml_cgraph *graph = ggml_new_graph_custom(s.ctx, 2 * PRODUCTS, false);
        ggml_build_forward_expand(graph, s.rows);
        ggml_backend_tensor_set(s.row, &row, 0, sizeof row);
        CHECK_INT(pthread_create(&thread, NULL, multiply, &s), 0);
        while (atomic_load(&s.started) < 1) {
        }
        CHECK_INT(ggml_backend_graph_compute(s.backend[1], graph), GGML_STATUS_SUCCESS);
        atomic_store(&s.done, 1);
        ggml_backend_tensor_get(s.rows, got, 0, sizeof got);
        for (int i = 0; i < WIDE; i++) s.wrong += got[i] != 5.0f;
        pthread_join(thread, NULL);
        CHECK_INT(s.wrong, 0);
        close_shared(&s);
    }
}

/* A file of zeros behind a header, which takes a while to hash. @return false where it cannot be
 * made. */
static bool write_large(const char *folder)
{
    enum { VALUES = 1 << 26 };
    char path[96], header[160];
    const int length = snprintf(header, sizeof header,
                                "{\"x\":{\"dtype\":\"F32\",\"shape\":[%d],\"data_offsets\":"
                                "[0,%lld]}}",
                                VALUES, 4LL * VALUES);
    const uint64_t size = (uint64_t)length;
    snprintf(path, sizeof path, "%s/adapter_config.json", folder);
    FILE *file = fopen(path, "w");
    if (file == NULL) return false;
    fputs("{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":4,\"target_modules\":[\"q_proj\"]}",
          file);
    fclose(file);
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", folder);
    file = fopen(path, "w");
    if (file == NULL) return false;
    bool ok = fwrite(&size, sizeof size, 1, file) == 1 && fputs(header, file) >= 0;
    ok = fclose(file) == 0 && ok;
    return ok && truncate(path, 8 + length + 4LL * VALUES) == 0;
}

typedef struct loading {
    const model *m;
    const char *folder;
    oclora_status status;
    atomic_int state; /* 1 while the call runs, then 2 */
} loading;

static void *load_large(void *user)
{
    loading *l = user;
    oclora_ggml_message message = {sizeof message, ""};
    atomic_store(&l->state, 1);
    l->status =
        run.api->adapter_load(l->m->session, "large", 5, l->folder, strlen(l->folder), &message);
    atomic_store(&l->state, 2);
    return NULL;
}

/* How many graphs ended while a call that loads ran; one of them could have begun before. */
static long served_while_loading(model *m, const char *folder)
{
    loading l = {.m = m, .folder = folder};
    pthread_t thread;
    long served = 0;
    if (!CHECK_INT(pthread_create(&thread, NULL, load_large, &l), 0)) return 0;
    while (atomic_load(&l.state) == 0) {
    }
    while (atomic_load(&l.state) == 1) {
        CHECK_INT(run_graph(m, &m->layers[0], &whole), GGML_STATUS_SUCCESS);
        served += atomic_load(&l.state) == 1;
    }
    pthread_join(thread, NULL);
    CHECK(l.status != OCLORA_OK); /* "x" is of no module */
    return served;
}

/* Several tries: who runs when is the machine's choice. */
static void test_served_while_loading(void)
{
    enum { TRIES = 20, ENOUGH = 3 };
    char folder[] = "/tmp/oclora-large-XXXXXX", command[64];
    model m;
    if (!golden_start() || !CHECK(mkdtemp(folder) != NULL) || !CHECK(write_large(folder))) return;
    if (open_model(&m, "lora") && load(&m, "it", "")) {
        long served = 0;
        map_one(&m);
        CHECK_INT(run_graph(&m, &m.layers[0], &whole), GGML_STATUS_SUCCESS);
        for (int i = 0; i < TRIES && served < ENOUGH; i++)
            served = served_while_loading(&m, folder);
        CHECK(served >= ENOUGH);
    }
    close_model(&m);
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK_INT(system(command), 0);
}

int main(void)
{
    static const oclora_test tests[] = {
        {"a weight that was written anew", test_changed_weight},
        {"part of a weight, unusual rows", test_unusual_products},
        {"a weight reordered while another context uses it", test_reordered_in_use},
        {"graphs go on while an adapter is read", test_served_while_loading},
    };
    if (!golden_begin(OCLORA_TEST_DATA "/golden")) return 1;
    const int status = oclora_test_main("ggml tenants", tests, sizeof tests / sizeof tests[0]);
    golden_end();
    return status;
}
