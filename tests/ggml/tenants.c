/* Graphs that must be refused because an adapter would be left out, or served on a weight it was
 * not made for. Each is served before, so that the refusals are for their reasons. */
#include "ggml/golden_model.h"

#include <stdlib.h>
#include <string.h>

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

int main(void)
{
    static const oclora_test tests[] = {
        {"a weight that was written anew", test_changed_weight},
        {"part of a weight, unusual rows", test_unusual_products},
    };
    if (!golden_begin(OCLORA_TEST_DATA "/golden")) return 1;
    const int status = oclora_test_main("ggml tenants", tests, sizeof tests / sizeof tests[0]);
    golden_end();
    return status;
}
