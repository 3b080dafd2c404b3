/* Golden cases through the ggml plugin, in the smallest graph that has what the plugin looks for:
 * a named weight, MUL_MAT, and the K cache's SET_ROWS with 64-bit indices, built with public ggml
 * calls alone. The model's metadata are a GGUF of an architecture whose rows keep their order, so
 * that PEFT's modules are q_proj -> blk.0.attn_q, down_proj -> blk.3.ffn_down. */
#include "abi/oclora_ggml.h"

#include "support/harness.h"
#include "support/terms_reference.h"

#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml.h>
#include <gguf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LAYERS = 3, ROWS = 16, ENTRIES = 3, CELLS = 24, STREAMS = 20 };

typedef struct layer {
    const char *module;
    char name[64]; /* in the GGUF */
    float *w, *x, *bias;
    size_t rows, d_in, d_out;
    struct ggml_tensor *weight, *shift;
} layer;

/* A case's base as a model on the device. */
typedef struct model {
    oclora_golden golden;
    layer layers[LAYERS];
    size_t n_layers;
    oclora_ggml_session *session;
    struct ggml_context *ctx;
    ggml_backend_buffer_t buffer;
    ggml_backend_t backend;
} model;

/* Row t belongs to sequence seq[t]; a sequence is served by its first row's entries. */
typedef struct mapping {
    uint32_t seq[ROWS];
    uint32_t count[ROWS];
    char adapter[ROWS][ENTRIES][32];
    float weight[ROWS][ENTRIES];
} mapping;

static ggml_backend_reg_t reg;
static const oclora_ggml_api *api;
static bool without_biases;
static const char *folder_of_cases = OCLORA_TEST_DATA "/golden";
static json_t *listed; /* the folder's index */
static char model_path[] = "/tmp/oclora-golden-XXXXXX";

static bool check_ok(oclora_status status, const oclora_ggml_message *message, const char *what)
{
    if (CHECK_INT(status, OCLORA_OK)) return true;
    fprintf(stderr, "  %s: %s\n", what, message->text);
    return false;
}

static bool write_model(void)
{
    const int fd = mkstemp(model_path);
    struct gguf_context *file = gguf_init_empty();
    if (fd < 0 || file == NULL) return false;
    gguf_set_val_str(file, "general.architecture", "qwen2");
    gguf_set_val_u32(file, "qwen2.block_count", 4);
    gguf_set_val_u32(file, "qwen2.embedding_length", 96);
    gguf_set_val_u32(file, "qwen2.attention.head_count", 8);
    struct ggml_context *ctx =
        ggml_init((struct ggml_init_params){ggml_tensor_overhead() * 2 + 1024, NULL, false});
    struct ggml_tensor *bias = ggml_new_tensor_1d(ctx, GGML_TYPE_F32, 80);
    ggml_set_name(bias, "blk.0.attn_q.bias");
    memset(bias->data, 0, ggml_nbytes(bias));
    gguf_add_tensor(file, bias);
    const bool ok = gguf_write_to_file(file, model_path, false);
    gguf_free(file);
    ggml_free(ctx);
    return ok;
}

static bool start(void)
{
    if (reg == NULL) reg = ggml_backend_load(OCLORA_PLUGIN);
    if (reg == NULL) {
        oclora_test_skip("the plugin does not load: no OpenCL device");
        return false;
    }
    oclora_ggml_get_api_fn get = NULL;
    void *address = ggml_backend_reg_get_proc_address(reg, OCLORA_GGML_GET_API);
    memcpy(&get, &address, sizeof get);
    api = get != NULL ? get(OCLORA_GGML_MAJOR) : NULL;
    return CHECK(api != NULL);
}

/* model.layers.3.mlp.down_proj -> blk.3.ffn_down */
static void name_layer(layer *l)
{
    int number = 0;
    sscanf(l->module, "model.layers.%d.", &number);
    const bool q = strstr(l->module, ".q_proj") != NULL;
    snprintf(l->name, sizeof l->name, "blk.%d.%s", number, q ? "attn_q" : "ffn_down");
}

static void read_layer(model *m, size_t index)
{
    layer *l = &m->layers[index];
    size_t dims[2] = {0};
    char packed[160];
    l->module = oclora_golden_module(&m->golden, index);
    name_layer(l);
    l->bias = oclora_golden_floats(&m->golden, l->module, "bias", dims);
    l->w = oclora_golden_floats(&m->golden, l->module, "W", dims);
    l->d_out = dims[0];
    l->d_in = dims[1];
    l->x = oclora_golden_floats(&m->golden, l->module, "X", dims);
    l->rows = dims[0];
    snprintf(packed, sizeof packed, "%s.W_q4_0", l->module);
    const bool quantised = oclora_safetensors_find(&m->golden.tensors, packed) != NULL;
    l->weight = ggml_new_tensor_2d(m->ctx, quantised ? GGML_TYPE_Q4_0 : GGML_TYPE_F32,
                                   (int64_t)l->d_in, (int64_t)l->d_out);
    ggml_format_name(l->weight, "%s.weight", l->name);
    if (l->bias == NULL || without_biases) return;
    l->shift = ggml_new_tensor_1d(m->ctx, GGML_TYPE_F32, (int64_t)l->d_out);
    ggml_format_name(l->shift, "%s.bias", l->name);
}

static void upload_layer(const model *m, const layer *l)
{
    char packed[160];
    snprintf(packed, sizeof packed, "%s.W_q4_0", l->module);
    const oclora_file_tensor *blocks = oclora_safetensors_find(&m->golden.tensors, packed);
    ggml_backend_tensor_set(l->weight, blocks != NULL ? blocks->data : (const void *)l->w, 0,
                            ggml_nbytes(l->weight));
    if (l->shift != NULL) ggml_backend_tensor_set(l->shift, l->bias, 0, ggml_nbytes(l->shift));
}

/* Another seed may have no case of a kind; the folder of the repository has all. */
static bool has_case(const char *name)
{
    const json_t *cases = json_object_get(listed, "cases");
    for (size_t i = 0; i < json_array_size(cases); i++)
        if (strcmp(json_string_value(json_array_get(cases, i)), name) == 0) return true;
    CHECK(strcmp(folder_of_cases, OCLORA_TEST_DATA "/golden") != 0);
    return false;
}

static bool open_model(model *m, const char *name)
{
    char path[512];
    oclora_ggml_message message = {sizeof message, ""};
    const oclora_ggml_session_args args = {.struct_size = sizeof args,
                                           .model_path = model_path,
                                           .model_path_length = strlen(model_path)};
    const struct ggml_init_params params = {ggml_tensor_overhead() * 16, NULL, true};
    memset(m, 0, sizeof *m);
    if (!has_case(name)) return false;
    snprintf(path, sizeof path, "%s/%s", folder_of_cases, name);
    if (!CHECK(oclora_golden_open(&m->golden, path))) return false;
    if (!check_ok(api->session_create(&args, &m->session, &message), &message, name) ||
        !check_ok(api->session_bind(m->session, &message), &message, name))
        return false;
    ggml_backend_dev_t device = ggml_backend_reg_dev_get(reg, 0);
    m->ctx = ggml_init(params);
    m->backend = ggml_backend_dev_init(device, NULL);
    if (!CHECK(m->ctx != NULL && m->backend != NULL)) return false;
    for (; m->n_layers < oclora_golden_modules(&m->golden); m->n_layers++)
        read_layer(m, m->n_layers);
    m->buffer = ggml_backend_alloc_ctx_tensors(m->ctx, m->backend);
    if (!CHECK(m->buffer != NULL)) return false;
    for (size_t i = 0; i < m->n_layers; i++) upload_layer(m, &m->layers[i]);
    return true;
}

static void close_model(model *m)
{
    oclora_ggml_message message = {sizeof message, ""};
    ggml_backend_free(m->backend);
    ggml_backend_buffer_free(m->buffer);
    ggml_free(m->ctx);
    api->session_bind(NULL, &message);
    api->session_destroy(m->session);
    for (size_t i = 0; i < m->n_layers; i++) {
        free(m->layers[i].w);
        free(m->layers[i].x);
        free(m->layers[i].bias);
    }
    if (m->golden.meta != NULL) oclora_golden_close(&m->golden);
}

/* Loads member "", "task0" or "#task=1" of the case under the name `as`. */
static bool load(const model *m, const char *as, const char *member)
{
    char path[1024];
    oclora_ggml_message message = {sizeof message, ""};
    snprintf(path, sizeof path, "%s%s%s", m->golden.folder,
             member[0] != '\0' && member[0] != '#' ? "/" : "", member);
    return check_ok(api->adapter_load(m->session, as, strlen(as), path, strlen(path), &message),
                    &message, path);
}

static void map_rows(const model *m, const mapping *map, size_t rows)
{
    oclora_ggml_message message = {sizeof message, ""};
    for (size_t t = 0; t < rows; t++) {
        oclora_ggml_adapter entries[ENTRIES];
        memset(entries, 0, sizeof entries);
        for (uint32_t e = 0; e < map->count[t]; e++) {
            entries[e].name = map->adapter[t][e];
            entries[e].name_length = strlen(map->adapter[t][e]);
            entries[e].weight = map->weight[t][e];
        }
        check_ok(api->map(m->session, map->seq[t], entries, map->count[t], &message), &message,
                 "map");
    }
}

/* x -> MUL_MAT (-> ADD) -> SET_ROWS into the K cache; `y` gets what went in. */
static bool compute(const model *m, const layer *l, const mapping *map, float *y)
{
    const struct ggml_init_params params = {ggml_tensor_overhead() * 16 + ggml_graph_overhead(),
                                            NULL, true};
    struct ggml_context *ctx = ggml_init(params);
    const int64_t n = (int64_t)l->rows, width = (int64_t)l->d_out;
    struct ggml_tensor *x = ggml_new_tensor_2d(ctx, GGML_TYPE_F32, (int64_t)l->d_in, n);
    struct ggml_tensor *index = ggml_new_tensor_1d(ctx, GGML_TYPE_I64, n);
    struct ggml_tensor *cache = ggml_new_tensor_3d(ctx, GGML_TYPE_F32, width, CELLS, STREAMS);
    struct ggml_tensor *cells = ggml_reshape_2d(ctx, cache, width, CELLS * STREAMS);
    struct ggml_tensor *out = ggml_mul_mat(ctx, l->weight, x);
    int64_t where[ROWS];
    if (l->shift != NULL) out = ggml_add(ctx, out, l->shift);
    struct ggml_cgraph *graph = ggml_new_graph(ctx);
    ggml_set_name(cache, "cache_k_l0");
    ggml_set_input(x);
    ggml_set_input(index);
    ggml_set_output(out);
    ggml_build_forward_expand(graph, ggml_set_rows(ctx, cells, out, index));
    ggml_backend_buffer_t buffer = ggml_backend_alloc_ctx_tensors(ctx, m->backend);
    bool ok = CHECK(buffer != NULL);
    if (ok) {
        for (size_t t = 0; t < l->rows; t++) where[t] = (int64_t)map->seq[t] * CELLS + (int64_t)t;
        ggml_backend_tensor_set(x, l->x, 0, ggml_nbytes(x));
        ggml_backend_tensor_set(index, where, 0, ggml_nbytes(index));
        ok = CHECK_INT(ggml_backend_graph_compute(m->backend, graph), GGML_STATUS_SUCCESS);
        ggml_backend_tensor_get(out, y, 0, ggml_nbytes(out));
    }
    ggml_backend_buffer_free(buffer);
    ggml_free(ctx);
    return ok;
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
    if (compute(m, l, map, y) &&
        !CHECK_LE(oclora_test_max_error(y, reference, count), m->golden.tolerance))
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
    if (!start()) return;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) plain(names[i]);
}

static void test_members(void)
{
    static const char *const cases[][3] = {
        {"mtl_lora", "#task=0", "Y.task0"},      {"mtl_lora", "#task=1", "Y.task1"},
        {"mtl_lora_diag", "#task=0", "Y.task0"}, {"mtl_lora_diag", "#task=1", "Y.task1"},
        {"bora", "#task=0", "Y.task0"},          {"bora", "#task=2", "Y.task2"},
        {"bora", "", "Y.base_adapter"},          {"intruder", "", "Y.before"},
        {"intruder", "mitigated", "Y"}};
    if (!start()) return;
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
    if (!start()) return;
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
    if (!start()) return;
    if (open_model(&m, "mixlora_conditional_ifs") && load(&m, "it", "")) {
        oclora_ggml_message message = {sizeof message, ""};
        const oclora_ggml_adapter all = {.name = "it", .name_length = 2, .weight = 1.0f};
        check_ok(api->map_all(m.session, &all, 1, &message), &message, "map_all");
        const layer *l = &m.layers[0];
        struct ggml_context *ctx = ggml_init((struct ggml_init_params){
            ggml_tensor_overhead() * 8 + ggml_graph_overhead(), NULL, true});
        struct ggml_tensor *x = ggml_new_tensor_2d(ctx, GGML_TYPE_F32, (int64_t)l->d_in, 3);
        struct ggml_cgraph *graph = ggml_new_graph(ctx);
        ggml_build_forward_expand(graph, ggml_mul_mat(ctx, l->weight, x));
        ggml_backend_buffer_t buffer = ggml_backend_alloc_ctx_tensors(ctx, m.backend);
        CHECK_INT(ggml_backend_graph_compute(m.backend, graph), GGML_STATUS_FAILED);
        CHECK_INT(api->last_error(m.session, &message), OCLORA_ROWS_UNKNOWN);
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
    if (!start()) return;
    without_biases = true;
    if (open_model(&m, "ia3")) {
        char path[640];
        oclora_ggml_message message = {sizeof message, ""};
        snprintf(path, sizeof path, "%s", m.golden.folder);
        CHECK_INT(api->adapter_load(m.session, "it", 2, path, strlen(path), &message),
                  OCLORA_WEIGHT_NOT_ON_DEVICE);
        CHECK_CONTAINS(message.text, "blk.0.attn_q.bias");
    }
    close_model(&m);
    without_biases = false;
}

int main(int argc, char **argv)
{
    static const oclora_test tests[] = {
        {"one adapter on every row", test_plain}, {"one of several", test_members},
        {"rows of their own", test_rows},         {"sequences unknown", test_unknown_sequences},
        {"a bias elsewhere", test_missing_bias},
    };
    char path[512];
    if (argc > 1) folder_of_cases = argv[1];
    snprintf(path, sizeof path, "%s/index.json", folder_of_cases);
    listed = json_load_file(path, 0, NULL);
    if (listed == NULL || !write_model()) return 1;
    const int status = oclora_test_main("ggml golden", tests, sizeof tests / sizeof tests[0]);
    remove(model_path);
    json_decref(listed);
    return status;
}
