/* Golden cases through the native ABI: what a server must compute for an adapter as its trainer
 * left it, on every runtime, with both classes of kernels and every storage. The cases are those of
 * index.json in the folder given as the first argument, tests/data/golden without one; a case this
 * program has no check for fails. */
#include "golden_network.h"

#include <math.h>

/* Bounds on max|d| / max|ref| when factors are rounded: half an f16 ulp per value, and q8_0's half
 * step of 1/127 per block, both damped by the sums. Multiplicative kinds keep f32. */
static const struct {
    uint32_t store;
    const char *name;
    double bound; /* 0: the case's own tolerance */
} stores[] = {{OCLORA_STORE_AUTO, "auto", 0.0},
              {OCLORA_STORE_F32, "f32", 0.0},
              {OCLORA_STORE_F16, "f16", 2e-3},
              {OCLORA_STORE_Q8_0, "q8_0", 3e-2}};
enum { STORES = sizeof stores / sizeof *stores };

static void *library;
static const oclora_api *api;
static const char *folder_of_cases = OCLORA_TEST_DATA "/golden";
static double worst[STORES]; /* seen on this device */

static void check_error(const golden_served *s, const char *module, const char *what,
                        const float *y, uint32_t store)
{
    const double bound = stores[store].bound != 0.0 ? stores[store].bound : s->golden.tolerance;
    const double error = golden_error(s, module, what, y);
    if (!CHECK_LE(error, bound))
        fprintf(stderr, "  %s %s %s %s\n", s->golden.folder, module, what, stores[store].name);
    if (!(error <= worst[store])) worst[store] = error;
}

/* One layer under a mapping, against tensor `what`. @return its y, to be freed. */
static float *serve_layer(const golden_served *s, const golden_layer *layer,
                          const golden_rows *rows, const char *what, uint32_t store)
{
    float *y = malloc((size_t)rows->n * layer->d_out * sizeof *y);
    if (y == NULL) exit(1);
    if (golden_run(s, layer, rows, layer->x, y)) check_error(s, layer->name, what, y, store);
    return y;
}

/* --- one adapter on every row --- */

static void *read_whole(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) return NULL;
    fseek(file, 0, SEEK_END);
    *bytes = (size_t)ftell(file);
    rewind(file);
    char *text = malloc(*bytes + 1);
    if (text == NULL || fread(text, 1, *bytes, file) != *bytes) exit(1);
    fclose(file);
    return text;
}

/* The same two files from memory: the same adapter, under another name. */
static oclora_adapter_t load_memory(const golden_served *s, const char *path)
{
    oclora_message msg = {sizeof msg, ""};
    oclora_adapter_t out = 0;
    char name[1100];
    size_t config_bytes = 0, tensor_bytes = 0;
    snprintf(name, sizeof name, "%s/adapter_config.json", path);
    char *config = read_whole(name, &config_bytes);
    snprintf(name, sizeof name, "%s/adapter_model.safetensors", path);
    void *tensors = read_whole(name, &tensor_bytes);
    const oclora_adapter_memory_args args = {.struct_size = sizeof args,
                                             .name = "from memory",
                                             .name_length = strlen("from memory"),
                                             .config = config,
                                             .config_bytes = config_bytes,
                                             .tensors = tensors,
                                             .tensors_bytes = tensor_bytes};
    if (CHECK(config != NULL && tensors != NULL))
        WANT_OK(api->adapter_load_memory(s->pool, &args, &out, &msg));
    free(config);
    free(tensors);
    return out;
}

static void check_memory(const golden_served *s, const golden_layer *layer, const char *member,
                         const float *expected)
{
    golden_rows rows;
    oclora_adapter_t adapter = 0;
    oclora_message msg = {sizeof msg, ""};
    const char *path = golden_member_path(s, member);
    if (strchr(path, '#') != NULL)
        return; /* a choice among several, which has no files of its own */
    adapter = load_memory(s, path);
    if (adapter == 0) return;
    golden_all_rows(&rows, layer->rows, adapter);
    float *y = serve_layer(s, layer, &rows, "Y", 0);
    CHECK(memcmp(y, expected, (size_t)layer->rows * layer->d_out * sizeof *y) == 0);
    free(y);
    WANT_OK(api->adapter_unload(s->pool, adapter, &msg));
}

static void check_member(const golden_served *s, const char *member, const char *what)
{
    for (uint32_t store = 0; store < STORES; store++) {
        oclora_message msg = {sizeof msg, ""};
        golden_rows rows;
        const oclora_adapter_t adapter =
            golden_load(s, stores[store].name, golden_member_path(s, member), stores[store].store);
        for (size_t m = 0; m < s->n_layers && adapter != 0; m++) {
            golden_all_rows(&rows, s->layers[m].rows, adapter);
            float *y = serve_layer(s, &s->layers[m], &rows, what, store);
            if (store == 0 && m == 0 && strcmp(what, "Y") == 0)
                check_memory(s, &s->layers[m], member, y);
            free(y);
        }
        if (adapter != 0) WANT_OK(api->adapter_unload(s->pool, adapter, &msg));
    }
}

static void plain(const golden_served *s)
{
    check_member(s, "", "Y");
}

static void intruder(const golden_served *s)
{
    check_member(s, "", "Y.before");
    check_member(s, "mitigated", "Y");
}

static bool has(const golden_served *s, const char *what)
{
    char name[192];
    snprintf(name, sizeof name, "%s.%s", s->layers[0].name, what);
    return oclora_safetensors_find(&s->golden.tensors, name) != NULL;
}

static void tasks(const golden_served *s)
{
    char member[32], what[32];
    int n = 0;
    for (;; n++) {
        snprintf(what, sizeof what, "Y.task%d", n);
        if (!has(s, what)) break;
        snprintf(member, sizeof member, "#task=%d", n);
        check_member(s, member, what);
    }
    CHECK(n >= 2);
}

/* --- several adapters on a row --- */

static void bora(const golden_served *s)
{
    char member[32], what[32];
    golden_rows rows;
    tasks(s);
    check_member(s, "", "Y.base_adapter");
    check_member(s, "#task=nobody knows it", "Y.base_adapter");
    const oclora_adapter_t base =
        golden_load(s, "base", golden_member_path(s, ""), OCLORA_STORE_AUTO);
    for (int n = 0;; n++) {
        snprintf(what, sizeof what, "Y.task%d_joined", n);
        if (!has(s, what)) break;
        snprintf(member, sizeof member, "#task=%d", n);
        const oclora_adapter_t task =
            golden_load(s, what, golden_member_path(s, member), OCLORA_STORE_AUTO);
        for (size_t m = 0; m < s->n_layers; m++) {
            memset(&rows, 0, sizeof rows);
            for (uint32_t t = 0; t < s->layers[m].rows; t++) {
                golden_add_row(&rows, 0);
                golden_add_entry(&rows, task, 1.0f);
                golden_add_entry(&rows, base, 1.0f);
            }
            free(serve_layer(s, &s->layers[m], &rows, what, 0));
        }
    }
}

/* Weights of each row and adapter, from the host, for all modules or for each. */
static void weighted(const golden_served *s)
{
    oclora_adapter_t adapters[GOLDEN_ENTRIES] = {0};
    golden_rows rows;
    char member[32];
    for (uint32_t store = 0; store < STORES; store++)
        for (size_t m = 0; m < s->n_layers; m++) {
            const golden_layer *layer = &s->layers[m];
            size_t dims[2] = {0};
            float *weights = oclora_golden_floats(&s->golden, "", "row_weights", dims);
            if (weights == NULL)
                weights = oclora_golden_floats(&s->golden, layer->name, "row_weights", dims);
            if (!CHECK(weights != NULL && dims[0] == layer->rows && dims[1] <= GOLDEN_ENTRIES))
                continue;
            for (size_t k = 0; k < dims[1]; k++) {
                char name[40];
                snprintf(member, sizeof member, "#task=%zu", k);
                snprintf(name, sizeof name, "%s %zu", stores[store].name, k);
                adapters[k] =
                    golden_load(s, name, golden_member_path(s, member), stores[store].store);
            }
            memset(&rows, 0, sizeof rows);
            for (uint32_t t = 0; t < layer->rows; t++) {
                golden_add_row(&rows, 0);
                for (size_t k = 0; k < dims[1]; k++)
                    golden_add_entry(&rows, adapters[k], weights[t * dims[1] + k]);
            }
            free(serve_layer(s, layer, &rows, "Y", store));
            free(weights);
        }
}

/* Rows lo..hi of `instances` are one sequence. Their order in the batch must not matter, and two
 * sequences of one adapter must not mix. */
static void instances(const golden_served *s)
{
    oclora_message msg = {sizeof msg, ""};
    golden_rows rows;
    for (uint32_t store = 0; store < STORES; store++) {
        const oclora_adapter_t adapter =
            golden_load(s, stores[store].name, golden_member_path(s, ""), stores[store].store);
        for (size_t m = 0; m < s->n_layers && adapter != 0; m++) {
            const golden_layer *layer = &s->layers[m];
            size_t count = 0;
            int32_t *ranges = oclora_golden_ints(&s->golden, "", "instances", &count);
            if (!CHECK(ranges != NULL)) break;
            golden_all_rows(&rows, layer->rows, adapter);
            for (size_t n = 0; n < count / 2; n++)
                for (int32_t t = ranges[2 * n]; t < ranges[2 * n + 1]; t++)
                    rows.instance[t] = 40 - (uint32_t)n;
            free(serve_layer(s, layer, &rows, "Y", store));
            free(ranges);
        }
    }
    oclora_batch_t *batch = NULL;
    const oclora_batch_args ba = {.struct_size = sizeof ba,
                                  .row_start = rows.start,
                                  .adapter = rows.adapter,
                                  .n_rows = rows.n};
    WANT(api->batch_create(s->pool, &ba, &batch, &msg), OCLORA_ROWS_UNKNOWN);
    CHECK_CONTAINS(msg.text, "instance");
}

/* --- many adapters in a batch --- */

/* Every row as if it were alone, bit by bit. */
static void mixed(const golden_served *s)
{
    const json_t *names = json_object_get(s->golden.meta, "row_adapters");
    oclora_adapter_t adapters[GOLDEN_ROWS] = {0};
    golden_rows rows;
    for (size_t t = 0; t < json_array_size(names); t++) {
        const char *name = json_string_value(json_array_get(names, t));
        if (name != NULL)
            adapters[t] = golden_load(s, name, golden_member_path(s, name), OCLORA_STORE_AUTO);
    }
    for (size_t m = 0; m < s->n_layers; m++) {
        const golden_layer *layer = &s->layers[m];
        const size_t bytes = layer->d_out * sizeof(float);
        if (!CHECK_INT(layer->rows, json_array_size(names))) return;
        golden_all_rows(&rows, 0, 0);
        for (uint32_t t = 0; t < layer->rows; t++) {
            golden_add_row(&rows, t);
            if (adapters[t] != 0) golden_add_entry(&rows, adapters[t], 1.0f);
        }
        float *together = serve_layer(s, layer, &rows, "Y", 0);
        for (uint32_t t = 0; t < layer->rows; t++) {
            char what[64];
            const char *name = json_string_value(json_array_get(names, t));
            snprintf(what, sizeof what, "Y.solo.%s", name == NULL ? "none" : name);
            golden_all_rows(&rows, layer->rows, adapters[t]);
            float *solo = serve_layer(s, layer, &rows, what, 0);
            CHECK(memcmp(solo + t * layer->d_out, together + t * layer->d_out, bytes) == 0);
            free(solo);
        }
        free(together);
    }
}

/* --- all of them --- */

static const struct {
    const char *name;
    void (*check)(const golden_served *s);
} checks[] = {
    {"bora", bora},
    {"dlp_lora", weighted},
    {"expressive_power_linear", golden_linear_network},
    {"expressive_power_relu", golden_relu_network},
    {"intruder", intruder},
    {"mixed_batch", mixed},
    {"mixlora_conditional_cfs", instances},
    {"mixlora_conditional_ifs", instances},
    {"mtl_lora", tasks},
    {"mtl_lora_diag", tasks},
    {"xlora_static", weighted},
    {"cola", plain},
    {"delta_lora", plain},
    {"dora", plain},
    {"dora_quantised_base", plain},
    {"flora_r1", plain},
    {"flora_r4", plain},
    {"flora_sum", plain},
    {"hira", plain},
    {"ia3", plain},
    {"lora", plain},
    {"lora_bf16", plain},
    {"lora_bias", plain},
    {"lora_f16", plain},
    {"lora_pro", plain},
    {"lora_rank_pattern", plain},
    {"lora_rank_pattern_regex", plain},
    {"loraplus", plain},
    {"lotr", plain},
    {"melora", plain},
    {"meteora", plain},
    {"prilora", plain},
    {"qalora_avg", plain},
    {"qalora_peft", plain},
    {"qalora_sum", plain},
    {"rac_lora", plain},
    {"riemannian", plain},
    {"rslora", plain},
    {"sharelora", plain},
    {"vera", plain},
    {"vera_two_modules_shared", plain},
    {"xgblora", plain},
};

static void one_case(oclora_context_t *context, const char *name)
{
    golden_served s;
    char path[512];
    size_t at = 0;
    while (at < sizeof checks / sizeof *checks && strcmp(checks[at].name, name) != 0) at++;
    if (!CHECK(at < sizeof checks / sizeof *checks)) {
        fprintf(stderr, "  no check for the case '%s'\n", name);
        return;
    }
    const unsigned before = CU_get_number_of_failures();
    snprintf(path, sizeof path, "%s/%s", folder_of_cases, name);
    if (golden_serve(&s, api, context, path)) checks[at].check(&s);
    golden_end(&s);
    if (CU_get_number_of_failures() != before) fprintf(stderr, "  case %s\n", name);
}

static void cases_on(uint32_t device, uint32_t device_class)
{
    char path[512];
    snprintf(path, sizeof path, "%s/index.json", folder_of_cases);
    json_t *index = json_load_file(path, 0, NULL);
    const json_t *cases = json_object_get(index, "cases");
    oclora_context_t *context = native_context(api, device, device_class);
    memset(worst, 0, sizeof worst);
    CHECK(json_array_size(cases) > 0);
    for (size_t i = 0; i < json_array_size(cases) && context != NULL; i++)
        one_case(context, json_string_value(json_array_get(cases, i)));
    printf("  %zu cases; largest max|d|/max|ref|:", json_array_size(cases));
    for (uint32_t store = 0; store < STORES; store++)
        printf(" %s %.2g", stores[store].name, worst[store]);
    printf("\n");
    api->context_destroy(context);
    json_decref(index);
}

static void test_cases(void)
{
    native_each(api, 1, cases_on);
}

int main(int argc, char **argv)
{
    static const oclora_test tests[] = {{"every case of the index", test_cases}};
    if (argc > 1) folder_of_cases = argv[1];
    api = native_open(&library);
    const int status = oclora_test_main("plugin_golden", tests, sizeof tests / sizeof *tests);
    dlclose(library);
    return status;
}
