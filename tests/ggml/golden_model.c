#include "ggml/golden_model.h"

#include <gguf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

golden_run run;
static char model_path[] = "/tmp/oclora-golden-XXXXXX";

bool check_ok(oclora_status status, const oclora_ggml_message *message, const char *what)
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

bool golden_start(void)
{
    if (run.reg == NULL) run.reg = ggml_backend_load(OCLORA_PLUGIN);
    if (run.reg == NULL) {
        oclora_test_skip("the plugin does not load: no OpenCL device");
        return false;
    }
    oclora_ggml_get_api_fn get = NULL;
    void *address = ggml_backend_reg_get_proc_address(run.reg, OCLORA_GGML_GET_API);
    memcpy(&get, &address, sizeof get);
    run.api = get != NULL ? get(OCLORA_GGML_MAJOR) : NULL;
    return CHECK(run.api != NULL);
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
    if (l->bias == NULL || run.without_biases) return;
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
    const json_t *cases = json_object_get(run.listed, "cases");
    for (size_t i = 0; i < json_array_size(cases); i++)
        if (strcmp(json_string_value(json_array_get(cases, i)), name) == 0) return true;
    CHECK(strcmp(run.folder, OCLORA_TEST_DATA "/golden") != 0);
    return false;
}

bool open_model(model *m, const char *name)
{
    char path[512];
    oclora_ggml_message message = {sizeof message, ""};
    const oclora_ggml_session_args args = {.struct_size = sizeof args,
                                           .model_path = model_path,
                                           .model_path_length = strlen(model_path),
                                           .pool_bytes = run.pool_bytes,
                                           .store = run.store};
    const struct ggml_init_params params = {ggml_tensor_overhead() * 16, NULL, true};
    memset(m, 0, sizeof *m);
    if (!has_case(name)) return false;
    snprintf(path, sizeof path, "%s/%s", run.folder, name);
    if (!CHECK(oclora_golden_open(&m->golden, path))) return false;
    if (!check_ok(run.api->session_create(&args, &m->session, &message), &message, name) ||
        !check_ok(run.api->session_bind(m->session, &message), &message, name))
        return false;
    ggml_backend_dev_t device = ggml_backend_reg_dev_get(run.reg, 0);
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

void close_model(model *m)
{
    oclora_ggml_message message = {sizeof message, ""};
    ggml_backend_free(m->backend);
    ggml_backend_buffer_free(m->buffer);
    ggml_free(m->ctx);
    run.api->session_bind(NULL, &message);
    run.api->session_destroy(m->session);
    for (size_t i = 0; i < m->n_layers; i++) {
        free(m->layers[i].w);
        free(m->layers[i].x);
        free(m->layers[i].bias);
    }
    if (m->golden.meta != NULL) oclora_golden_close(&m->golden);
}

bool load(const model *m, const char *as, const char *member)
{
    char path[1024];
    oclora_ggml_message message = {sizeof message, ""};
    snprintf(path, sizeof path, "%s%s%s", m->golden.folder,
             member[0] != '\0' && member[0] != '#' ? "/" : "", member);
    return check_ok(run.api->adapter_load(m->session, as, strlen(as), path, strlen(path), &message),
                    &message, path);
}

void map_rows(const model *m, const mapping *map, size_t rows)
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
        check_ok(run.api->map(m->session, map->seq[t], entries, map->count[t], &message), &message,
                 "map");
    }
}

bool compute(const model *m, const layer *l, const mapping *map, float *y)
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

bool golden_begin(const char *folder)
{
    char path[512];
    run.folder = folder;
    snprintf(path, sizeof path, "%s/index.json", folder);
    run.listed = json_load_file(path, 0, NULL);
    return run.listed != NULL && write_model();
}

void golden_end(void)
{
    remove(model_path);
    json_decref(run.listed);
}
