/* Golden cases through the native ABI: what a server must compute for an adapter as its trainer
 * left it, on every runtime and with both classes of kernels. */
#include "native.h"

#include "host/file/safetensors.h"

#include <math.h>

#define GOLDEN OCLORA_TEST_DATA "/golden/"

enum { MODULES_MAX = 4, ROWS_MAX = 16 };

typedef struct golden {
    oclora_map map;
    oclora_safetensors file;
    char modules[MODULES_MAX][96];
    uint32_t n_modules;
} golden;

static void *library;
static const oclora_api *api;

static const oclora_file_tensor *tensor_of(const golden *g, const char *module, const char *what)
{
    char name[192];
    snprintf(name, sizeof name, "%s.%s", module, what);
    return oclora_safetensors_find(&g->file, name);
}

/* A copy, since data in a file may be unaligned. */
static float *values_of(const oclora_file_tensor *tensor)
{
    if (tensor == NULL) return NULL;
    float *values = malloc((size_t)tensor->bytes);
    memcpy(values, tensor->data, (size_t)tensor->bytes);
    return values;
}

static bool golden_open(golden *g, const char *name)
{
    oclora_error err = {0};
    char path[512];
    memset(g, 0, sizeof *g);
    snprintf(path, sizeof path, GOLDEN "%s/case.safetensors", name);
    if (!CHECK_OK(oclora_map_open(&g->map, path, &err), &err) ||
        !CHECK_OK(oclora_safetensors_parse(&g->file, oclora_test_env(), &g->map, &err), &err))
        return false;
    for (size_t i = 0; i < g->file.count; i++) {
        const char *tensor = g->file.tensors[i].name;
        const size_t length = strlen(tensor);
        if (length < 3 || strcmp(tensor + length - 2, ".W") != 0) continue;
        memcpy(g->modules[g->n_modules++], tensor, length - 2);
    }
    return CHECK(g->n_modules > 0);
}

static void golden_close(golden *g)
{
    oclora_safetensors_free(&g->file);
    oclora_map_close(&g->map);
}

/* The base of a case on a device, with room for its adapters. */
typedef struct served {
    oclora_context_t *context;
    oclora_weight_t *weights[MODULES_MAX];
    oclora_pool_t *pool;
} served;

static bool serve(served *s, const golden *g, uint32_t device, uint32_t device_class)
{
    oclora_message msg = {sizeof msg, ""};
    memset(s, 0, sizeof *s);
    s->context = native_context(api, device, device_class);
    for (uint32_t m = 0; m < g->n_modules; m++) {
        const oclora_file_tensor *w = tensor_of(g, g->modules[m], "W");
        float *values = values_of(w);
        float *bias = values_of(tensor_of(g, g->modules[m], "bias"));
        const oclora_weight_args args = {.struct_size = sizeof args,
                                         .name = g->modules[m],
                                         .name_length = strlen(g->modules[m]),
                                         .data = values,
                                         .data_bytes = w->bytes,
                                         .bias = bias,
                                         .type = OCLORA_TYPE_F32,
                                         .d_in = (uint32_t)w->dims[1],
                                         .d_out = (uint32_t)w->dims[0]};
        const bool ok = WANT_OK(api->weight_create(s->context, &args, &s->weights[m], &msg));
        free(values);
        free(bias);
        if (!ok) return false;
    }
    const oclora_pool_args pool = {.struct_size = sizeof pool, .budget_bytes = 4 << 20};
    return WANT_OK(api->pool_create(s->context, &pool, &s->pool, &msg));
}

static void serve_end(served *s, uint32_t n_modules)
{
    api->pool_destroy(s->pool);
    for (uint32_t m = 0; m < n_modules; m++) api->weight_destroy(s->weights[m]);
    api->context_destroy(s->context);
}

static bool load(served *s, const char *name, const char *path, oclora_adapter_t *out)
{
    oclora_message msg = {sizeof msg, ""};
    const oclora_adapter_args args = {.struct_size = sizeof args,
                                      .name = name,
                                      .name_length = strlen(name),
                                      .path = path,
                                      .path_length = strlen(path)};
    return WANT_OK(api->adapter_load(s->pool, &args, out, &msg));
}

/* Module m of the case with one adapter per row (0 = none) against tensor `what`. */
static void compare(served *s, const golden *g, uint32_t m, const oclora_adapter_t *rows,
                    const char *what, double tolerance, float **y_out)
{
    oclora_message msg = {sizeof msg, ""};
    const oclora_file_tensor *x_tensor = tensor_of(g, g->modules[m], "X");
    const oclora_file_tensor *y_tensor = tensor_of(g, g->modules[m], what);
    if (!CHECK(x_tensor != NULL && y_tensor != NULL)) return;
    const uint32_t n_rows = (uint32_t)x_tensor->dims[0];
    const size_t count = (size_t)(y_tensor->bytes / 4);
    float *x = values_of(x_tensor), *expected = values_of(y_tensor);
    float *y = malloc((size_t)y_tensor->bytes);
    double *reference = malloc(count * sizeof *reference);
    uint32_t starts[ROWS_MAX + 1] = {0};
    oclora_adapter_t entries[ROWS_MAX];
    oclora_test_poison(y, (size_t)y_tensor->bytes);
    for (uint32_t t = 0; t < n_rows; t++) {
        starts[t + 1] = starts[t];
        if (rows[t] != 0) entries[starts[t + 1]++] = rows[t];
    }
    for (size_t i = 0; i < count; i++) reference[i] = expected[i];
    oclora_batch_t *batch = NULL;
    const oclora_batch_args ba = {
        .struct_size = sizeof ba, .row_start = starts, .adapter = entries, .n_rows = n_rows};
    if (WANT_OK(api->batch_create(s->pool, &ba, &batch, &msg))) {
        const oclora_linear_args la = {.struct_size = sizeof la,
                                       .weight = s->weights[m],
                                       .batch = batch,
                                       .x = x,
                                       .y = y,
                                       .n_rows = n_rows};
        if (WANT_OK(api->linear(&la, &msg)))
            CHECK_LE(oclora_test_max_error(y, reference, count), tolerance);
    }
    api->batch_destroy(batch);
    free(x);
    free(expected);
    free(reference);
    if (y_out != NULL)
        *y_out = y;
    else
        free(y);
}

/* Cases whose adapter is one folder and whose Y is that adapter on every row. */
static const char *const cases[] = {
    "lora",
    "lora_f16",
    "lora_bf16",
    "rslora",
    "lora_rank_pattern",
    "lora_rank_pattern_regex",
    "lora_bias",
    "loraplus",
    "lora_pro",
    "riemannian",
    "prilora",
    "sharelora",
    "dora",
    "cola",
    "rac_lora",
    "xgblora",
    "delta_lora",
    "lotr",
    "vera",
    "vera_two_modules_shared",
    "melora",
    "qalora_avg",
    "qalora_sum",
    "qalora_peft",
    "flora_r1",
    "flora_r4",
    "flora_sum",
    "hira",
    "ia3",
    "meteora",
};

static uint32_t at_device, at_class;

static void one_case(const char *name)
{
    golden g;
    served s;
    oclora_adapter_t adapter = 0, rows[ROWS_MAX];
    char path[512];
    snprintf(path, sizeof path, GOLDEN "%s", name);
    if (golden_open(&g, name) && serve(&s, &g, at_device, at_class)) {
        if (load(&s, name, path, &adapter)) {
            for (uint32_t t = 0; t < ROWS_MAX; t++) rows[t] = adapter;
            const unsigned before = CU_get_number_of_failures();
            for (uint32_t m = 0; m < g.n_modules; m++) compare(&s, &g, m, rows, "Y", 1e-5, NULL);
            if (CU_get_number_of_failures() != before) printf("  case %s\n", name);
        }
        serve_end(&s, g.n_modules);
    }
    golden_close(&g);
}

static void cases_on(uint32_t device, uint32_t device_class)
{
    at_device = device;
    at_class = device_class;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) one_case(cases[i]);
}

/* Eight rows, six adapters of five kinds, two rows without: each row as if it were alone. */
static void mixed_on(uint32_t device, uint32_t device_class)
{
    static const char *const folders[8] = {"lora_a", NULL,  "dora",     "vera",
                                           NULL,     "ia3", "flora_r2", "lora_b"};
    golden g;
    served s;
    oclora_adapter_t rows[ROWS_MAX] = {0};
    if (!golden_open(&g, "mixed_batch")) return;
    if (!serve(&s, &g, device, device_class)) return;
    for (uint32_t t = 0; t < 8; t++) {
        char path[512];
        if (folders[t] == NULL) continue;
        snprintf(path, sizeof path, GOLDEN "mixed_batch/%s", folders[t]);
        load(&s, folders[t], path, &rows[t]);
    }
    for (uint32_t m = 0; m < g.n_modules; m++) {
        const uint64_t d_out = tensor_of(&g, g.modules[m], "W")->dims[0];
        float *together = NULL;
        compare(&s, &g, m, rows, "Y", 1e-5, &together);
        for (uint32_t t = 0; t < 8 && together != NULL; t++) {
            oclora_adapter_t alone[ROWS_MAX];
            char what[64];
            float *solo = NULL;
            for (uint32_t k = 0; k < ROWS_MAX; k++) alone[k] = rows[t];
            snprintf(what, sizeof what, "Y.solo.%s", folders[t] == NULL ? "none" : folders[t]);
            compare(&s, &g, m, alone, what, 1e-5, &solo);
            CHECK(solo != NULL &&
                  memcmp(solo + t * d_out, together + t * d_out, (size_t)d_out * 4) == 0);
            free(solo);
        }
        free(together);
    }
    serve_end(&s, g.n_modules);
    golden_close(&g);
}

static void test_cases(void)
{
    native_each(api, 1, cases_on);
}
static void test_mixed(void)
{
    native_each(api, 1, mixed_on);
}

int main(void)
{
    static const oclora_test tests[] = {
        {"one adapter on every row", test_cases},
        {"a mixed batch, bit by bit as alone", test_mixed},
    };
    api = native_open(&library);
    const int status = oclora_test_main("plugin_golden", tests, sizeof tests / sizeof *tests);
    dlclose(library);
    return status;
}
