/* Golden cases through the ggml plugin: every kind, in the smallest graph there is
 * (golden_model.h). The cases expressive_power_* are chains of layers called `fc`, which no GGUF
 * model has: here they must be refused, and tests/plugin/test_golden.c computes them. */
#include "ggml/golden_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What rounding the stored factors may cost, max|d| / max|ref|; 0: the case's own tolerance. */
static const struct {
    uint32_t store;
    double bound;
} stores[] = {{OCLORA_STORE_AUTO, 0},
              {OCLORA_STORE_F32, 0},
              {OCLORA_STORE_F16, 2e-3},
              {OCLORA_STORE_Q8_0, 3e-2}};

static double bound_of(const model *m)
{
    double bound = 0;
    for (size_t i = 0; i < sizeof stores / sizeof stores[0]; i++)
        if (stores[i].store == run.store) bound = stores[i].bound;
    return bound > m->golden.tolerance ? bound : m->golden.tolerance;
}

static void serve(const model *m, const layer *l, const mapping *map, const char *what)
{
    size_t dims[2] = {0};
    const size_t count = l->rows * l->d_out;
    float *expected = oclora_golden_floats(&m->golden, l->module, what, dims);
    float *y = malloc(count * sizeof *y);
    double *reference = malloc(count * sizeof *reference);
    if (y == NULL || reference == NULL || expected == NULL) exit(1);
    map_rows(m, map, l->rows);
    oclora_test_poison(y, count * sizeof *y);
    for (size_t i = 0; i < count; i++) reference[i] = (double)expected[i];
    if (compute(m, l, map, y) && !CHECK_LE(oclora_test_max_error(y, reference, count), bound_of(m)))
        fprintf(stderr, "  %s %s %s\n", m->golden.folder, l->module, what);
    free(expected);
    free(reference);
    free(y);
}

static void serve_all(const model *m, const mapping *map, const char *what)
{
    for (size_t i = 0; i < m->n_layers; i++) serve(m, &m->layers[i], map, what);
}

static void add(mapping *map, size_t row, const char *adapter, float weight)
{
    const uint32_t e = map->count[row]++;
    snprintf(map->adapter[row][e], sizeof map->adapter[row][e], "%s", adapter);
    map->weight[row][e] = weight;
}

/* All rows are sequence 5, served by one adapter. */
static mapping one_for_all(const char *adapter)
{
    mapping map = {0};
    for (size_t t = 0; t < ROWS; t++) {
        map.seq[t] = 5;
        add(&map, t, adapter, 1.0f);
    }
    return map;
}

static void member(const model *m, const char *as, const char *path, const char *what)
{
    const mapping map = one_for_all(as);
    if (load(m, as, path)) serve_all(m, &map, what);
}

static void plain(const char *name)
{
    model m;
    if (open_model(&m, name)) member(&m, "it", "", "Y");
    close_model(&m);
}

static void test_plain(void)
{
    static const char *const names[] = {
        "lora",      "lora_f16",   "lora_bf16",  "lora_bias",  "lora_rank_pattern",
        "rslora",    "lora_pro",   "loraplus",   "riemannian", "lora_rank_pattern_regex",
        "dora",      "prilora",    "cola",       "rac_lora",   "dora_quantised_base",
        "xgblora",   "delta_lora", "lotr",       "vera",       "vera_two_modules_shared",
        "sharelora", "melora",     "qalora_avg", "qalora_sum", "qalora_peft",
        "flora_r1",  "flora_r4",   "flora_sum",  "hira",       "ia3",
        "meteora"};
    if (!golden_start()) return;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) plain(names[i]);
}

/* One case of every loader, with the factors stored in each type. */
static void test_stores(void)
{
    static const char *const names[] = {"lora",     "lora_bf16",  "dora",     "vera",
                                        "flora_r4", "hira",       "ia3",      "lotr",
                                        "melora",   "qalora_avg", "sharelora"};
    if (!golden_start()) return;
    for (size_t k = 1; k < sizeof stores / sizeof stores[0]; k++) {
        run.store = stores[k].store;
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) plain(names[i]);
    }
    run.store = OCLORA_STORE_AUTO;
}

/* No tensor of a GGUF is called as its layers are. */
static void test_networks(void)
{
    static const char *const paths[] = {"expressive_power_linear/rank_16",
                                        "expressive_power_relu/rank_32"};
    model m;
    if (!golden_start()) return;
    if (open_model(&m, "lora")) {
        for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
            char path[640];
            oclora_ggml_message message = {sizeof message, ""};
            snprintf(path, sizeof path, OCLORA_TEST_DATA "/golden/%s", paths[i]);
            CHECK_INT(run.api->adapter_load(m.session, "it", 2, path, strlen(path), &message),
                      OCLORA_MODULE_MISMATCH);
            CHECK_CONTAINS(message.text, "fc");
        }
    }
    close_model(&m);
}

static void test_members(void)
{
    static const char *const cases[][3] = {
        {"mtl_lora", "#task=0", "Y.task0"},      {"mtl_lora", "#task=1", "Y.task1"},
        {"mtl_lora_diag", "#task=0", "Y.task0"}, {"mtl_lora_diag", "#task=1", "Y.task1"},
        {"bora", "#task=0", "Y.task0"},          {"bora", "#task=2", "Y.task2"},
        {"bora", "", "Y.base_adapter"},          {"intruder", "", "Y.before"},
        {"intruder", "mitigated", "Y"}};
    if (!golden_start()) return;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        model m;
        if (open_model(&m, cases[i][0])) member(&m, "it", cases[i][1], cases[i][2]);
        close_model(&m);
    }
}

/* Weights from the host: every row is a sequence with a mixture of its own. */
static void weighted(const char *name)
{
    model m;
    if (open_model(&m, name)) {
        bool ok = true;
        char as[32], path[32];
        for (int k = 0; k < 3; k++) {
            snprintf(as, sizeof as, "a%d", k);
            snprintf(path, sizeof path, "#task=%d", k);
            ok = ok && load(&m, as, path);
        }
        for (size_t i = 0; ok && i < m.n_layers; i++) {
            size_t dims[2];
            mapping map = {0};
            float *weights = oclora_golden_floats(&m.golden, "", "row_weights", dims);
            if (weights == NULL)
                weights = oclora_golden_floats(&m.golden, m.layers[i].module, "row_weights", dims);
            for (size_t t = 0; t < m.layers[i].rows; t++) {
                map.seq[t] = (uint32_t)t;
                for (int k = 0; k < 3; k++) {
                    snprintf(as, sizeof as, "a%d", k);
                    add(&map, t, as, weights[t * 3 + (size_t)k]);
                }
            }
            serve(&m, &m.layers[i], &map, "Y");
            free(weights);
        }
    }
    close_model(&m);
}

/* Routers that look at whole sequences get them from the K cache's indices. */
static void sequences(const char *name)
{
    model m;
    if (open_model(&m, name) && load(&m, "it", "")) {
        size_t count = 0;
        mapping map = one_for_all("it");
        int32_t *ranges = oclora_golden_ints(&m.golden, "", "instances", &count);
        for (size_t n = 0; n < count / 2; n++)
            for (int32_t t = ranges[2 * n]; t < ranges[2 * n + 1]; t++)
                map.seq[t] = 9 - (uint32_t)n;
        free(ranges);
        serve_all(&m, &map, "Y");
    }
    close_model(&m);
}

static void mixed(void)
{
    model m;
    mapping map = {0};
    if (open_model(&m, "mixed_batch")) {
        const json_t *names = json_object_get(m.golden.meta, "row_adapters");
        for (size_t t = 0; t < json_array_size(names); t++) {
            const char *name = json_string_value(json_array_get(names, t));
            map.seq[t] = (uint32_t)(t * 5 % 8);
            if (name != NULL && load(&m, name, name)) add(&map, t, name, 1.0f);
        }
        serve_all(&m, &map, "Y");
    }
    close_model(&m);
}

static void test_rows(void)
{
    if (!golden_start()) return;
    weighted("dlp_lora");
    weighted("xlora_static");
    sequences("mixlora_conditional_ifs");
    sequences("mixlora_conditional_cfs");
    mixed();
}

/* Without a map per sequence nobody knows which rows belong together. */
static void test_unknown_sequences(void)
{
    model m;
    if (!golden_start()) return;
    if (open_model(&m, "mixlora_conditional_ifs") && load(&m, "it", "")) {
        oclora_ggml_message message = {sizeof message, ""};
        const oclora_ggml_adapter all = {.name = "it", .name_length = 2, .weight = 1.0f};
        check_ok(run.api->map_all(m.session, &all, 1, &message), &message, "map_all");
        const layer *l = &m.layers[0];
        struct ggml_context *ctx = ggml_init((struct ggml_init_params){
            ggml_tensor_overhead() * 8 + ggml_graph_overhead(), NULL, true});
        struct ggml_tensor *x = ggml_new_tensor_2d(ctx, GGML_TYPE_F32, (int64_t)l->d_in, 3);
        struct ggml_cgraph *graph = ggml_new_graph(ctx);
        ggml_build_forward_expand(graph, ggml_mul_mat(ctx, l->weight, x));
        ggml_backend_buffer_t buffer = ggml_backend_alloc_ctx_tensors(ctx, m.backend);
        CHECK_INT(ggml_backend_graph_compute(m.backend, graph), GGML_STATUS_FAILED);
        CHECK_INT(run.api->last_error(m.session, &message), OCLORA_ROWS_UNKNOWN);
        CHECK_CONTAINS(message.text, "averages");
        ggml_backend_buffer_free(buffer);
        ggml_free(ctx);
    }
    close_model(&m);
}

/* IA3 scales the layer's bias, so it must not serve a layer whose bias it does not see. */
static void test_missing_bias(void)
{
    model m;
    if (!golden_start()) return;
    run.without_biases = true;
    if (open_model(&m, "ia3")) {
        char path[640];
        oclora_ggml_message message = {sizeof message, ""};
        snprintf(path, sizeof path, "%s", m.golden.folder);
        CHECK_INT(run.api->adapter_load(m.session, "it", 2, path, strlen(path), &message),
                  OCLORA_WEIGHT_NOT_ON_DEVICE);
        CHECK_CONTAINS(message.text, "blk.0.attn_q.bias");
    }
    close_model(&m);
    run.without_biases = false;
}

int main(int argc, char **argv)
{
    static const oclora_test tests[] = {
        {"one adapter on every row", test_plain},
        {"one of several", test_members},
        {"rows of their own", test_rows},
        {"sequences unknown", test_unknown_sequences},
        {"a bias elsewhere", test_missing_bias},
        {"stores", test_stores},
        {"networks", test_networks},
    };
    if (!golden_begin(argc > 1 ? argv[1] : OCLORA_TEST_DATA "/golden")) return 1;
    const int status = oclora_test_main("ggml golden", tests, sizeof tests / sizeof tests[0]);
    golden_end();
    return status;
}
