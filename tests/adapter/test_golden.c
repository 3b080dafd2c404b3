/* Every golden case through its loader and the double-precision evaluator of terms: what a kind
 * means is proven here without a device. */
#include "support/harness.h"
#include "support/terms_reference.h"

#include "host/adapter/bind.h"
#include "host/adapter/load.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One module of a case: the base and its input. */
typedef struct layer {
    const char *name;
    float *w, *x, *bias;
    size_t rows, d_in, d_out;
} layer;

/* Bounds on max|d|/max|ref| when factors are rounded: half an f16 ulp per value, and q8_0's half
 * step of 1/127 per block, both damped by the sums. Multiplicative kinds keep f32. */
static const struct {
    uint32_t store;
    const char *name;
    double bound; /* 0: the case's own tolerance */
} stores[] = {{OCLORA_STORE_AUTO, "auto", 0.0},
              {OCLORA_STORE_F32, "f32", 0.0},
              {OCLORA_STORE_F16, "f16", 1e-3},
              {OCLORA_STORE_Q8_0, "q8_0", 3e-2}};

static char *data_path(const char *kind, const char *member)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s/golden/%s%s%s", OCLORA_TEST_DATA, kind,
             member[0] != '\0' && member[0] != '#' ? "/" : "", member);
    return path;
}

static bool open_layer(layer *out, const oclora_golden *golden, const char *name)
{
    size_t dims[2];
    memset(out, 0, sizeof *out);
    out->name = name;
    out->bias = oclora_golden_floats(golden, name, "bias", dims);
    out->w = oclora_golden_floats(golden, name, "W", dims);
    out->d_out = dims[0];
    out->d_in = dims[1];
    out->x = oclora_golden_floats(golden, name, "X", dims);
    out->rows = dims[0];
    return out->w != NULL && out->x != NULL;
}

static void close_layer(layer *in)
{
    free(in->w);
    free(in->x);
    free(in->bias);
}

static oclora_adapter_image *load_store(const char *path, uint32_t store)
{
    oclora_error err = {0};
    oclora_adapter_image *image = NULL;
    CHECK_OK(oclora_adapter_load(&image, oclora_test_env(), path, store, &err), &err);
    return image;
}

/* The module of that name, bound to the layer and resolved; NULL when the adapter leaves it alone.
 */
static const oclora_module *bind_module(oclora_adapter_image *image, const layer *at)
{
    oclora_error err = {0};
    for (size_t i = 0; image != NULL && i < image->n_modules; i++) {
        oclora_module *module = &image->modules[i];
        if (strcmp(module->name, at->name) != 0) continue;
        uint32_t d_out = (uint32_t)at->d_out, half = d_out / 2;
        CHECK_OK(oclora_module_bind(image, module, (uint32_t)at->d_in, d_out, &err), &err);
        if (oclora_module_needs_norms(module)) { /* in two pieces, as a streaming caller would */
            CHECK_OK(oclora_dora_resolve(image, module, at->w, 0, half, &err), &err);
            CHECK_OK(oclora_dora_resolve(image, module, at->w + (size_t)half * at->d_in, half,
                                         d_out - half, &err),
                     &err);
        }
        CHECK_OK(oclora_bias_resolve(image, module, at->bias, &err), &err);
        return module;
    }
    return NULL;
}

static double *evaluate(const layer *at, const oclora_module *module, uint32_t *chosen)
{
    double *y = calloc(at->rows * at->d_out, sizeof *y);
    oclora_ref_terms(y, module, at->w, at->x, at->rows, (uint32_t)at->d_out, (uint32_t)at->d_in,
                     chosen);
    return y;
}

static void add_bias(const layer *at, double *y)
{
    for (size_t i = 0; at->bias != NULL && i < at->rows * at->d_out; i++)
        y[i] += (double)at->bias[i % at->d_out];
}

static void compare(const oclora_golden *golden, const layer *at, const char *field,
                    const double *y, const char *what, double bound)
{
    size_t dims[2], count = at->rows * at->d_out;
    float *expected = oclora_golden_floats(golden, at->name, field, dims);
    CHECK(expected != NULL);
    if (expected == NULL) return;
    double largest = 0.0, worst = 0.0;
    for (size_t i = 0; i < count; i++) {
        largest = fmax(largest, fabs((double)expected[i]));
        double distance = fabs(y[i] - (double)expected[i]);
        worst = isfinite(distance) ? fmax(worst, distance) : INFINITY;
    }
    free(expected);
    if (!CHECK_LE(worst / largest, bound))
        fprintf(stderr, "  %s %s %s %s\n", golden->folder, at->name, field, what);
}

/* One adapter folder against one field of all modules of the case. */
static void check_folder(const oclora_golden *golden, const char *path, const char *field)
{
    for (size_t s = 0; s < sizeof stores / sizeof stores[0]; s++) {
        oclora_adapter_image *image = load_store(path, stores[s].store);
        for (size_t i = 0; i < oclora_golden_modules(golden); i++) {
            layer at;
            CHECK(open_layer(&at, golden, oclora_golden_module(golden, i)));
            double *y = evaluate(&at, bind_module(image, &at), NULL);
            add_bias(&at, y);
            compare(golden, &at, field, y, stores[s].name,
                    stores[s].bound != 0.0 ? stores[s].bound : golden->tolerance);
            free(y);
            close_layer(&at);
        }
        oclora_adapter_image_destroy(image);
    }
}

static void check_plain(const char *kind)
{
    oclora_golden golden;
    if (!oclora_golden_open(&golden, data_path(kind, ""))) {
        CHECK(false);
        return;
    }
    check_folder(&golden, data_path(kind, ""), "Y");
    oclora_golden_close(&golden);
}

static void test_plain_kinds(void)
{
    static const char *const kinds[] = {
        "lora",      "lora_f16",   "lora_bf16",  "lora_bias",  "lora_rank_pattern",
        "rslora",    "lora_pro",   "loraplus",   "riemannian", "lora_rank_pattern_regex",
        "dora",      "prilora",    "cola",       "rac_lora",   "dora_quantised_base",
        "xgblora",   "delta_lora", "lotr",       "vera",       "vera_two_modules_shared",
        "sharelora", "melora",     "qalora_avg", "qalora_sum", "qalora_peft",
        "flora_r1",  "flora_r4",   "flora_sum",  "hira",       "ia3"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) check_plain(kinds[i]);
}

static void check_fields(const char *kind, const char *const (*pairs)[2], size_t count)
{
    oclora_golden golden;
    CHECK(oclora_golden_open(&golden, data_path(kind, "")));
    for (size_t i = 0; i < count; i++)
        check_folder(&golden, data_path(kind, pairs[i][0]), pairs[i][1]);
    oclora_golden_close(&golden);
}

static void test_tasks(void)
{
    static const char *const mtl[][2] = {{"#task=0", "Y.task0"}, {"#task=1", "Y.task1"}};
    static const char *const bora[][2] = {{"#task=0", "Y.task0"},
                                          {"#task=task1", "Y.task1"},
                                          {"#task=2", "Y.task2"},
                                          {"#task=unheard", "Y.base_adapter"},
                                          {"", "Y.base_adapter"}};
    static const char *const intruder[][2] = {{"", "Y.before"}, {"mitigated", "Y"}};
    check_fields("mtl_lora", mtl, 2);
    check_fields("mtl_lora_diag", mtl, 2);
    check_fields("bora", bora, 5);
    check_fields("intruder", intruder, 2);
}

/* y[t] += weights[t, k] (f_k - f), the rule for mixtures. */
static void mix(const layer *at, double *y, const double *f, const double *f_k,
                const float *weights, size_t k, size_t n)
{
    for (size_t i = 0; i < at->rows * at->d_out; i++)
        y[i] += (double)weights[i / at->d_out * n + k] * (f_k[i] - f[i]);
}

static void check_mixture(const char *kind, bool per_module)
{
    oclora_golden golden;
    oclora_adapter_image *images[3];
    CHECK(oclora_golden_open(&golden, data_path(kind, "")));
    for (size_t k = 0; k < 3; k++) {
        char task[16];
        snprintf(task, sizeof task, "#task=%zu", k);
        images[k] = load_store(data_path(kind, task), OCLORA_STORE_AUTO);
        CHECK_INT(images[k]->n_tasks, 3);
        CHECK_INT(images[k]->task, k);
    }
    for (size_t i = 0; i < oclora_golden_modules(&golden); i++) {
        layer at;
        size_t dims[2];
        CHECK(open_layer(&at, &golden, oclora_golden_module(&golden, i)));
        float *weights =
            oclora_golden_floats(&golden, per_module ? at.name : "", "row_weights", dims);
        CHECK(weights != NULL && dims[0] == at.rows && dims[1] == 3);
        double *base = evaluate(&at, NULL, NULL), *y = evaluate(&at, NULL, NULL);
        for (size_t k = 0; k < 3; k++) {
            double *own = evaluate(&at, bind_module(images[k], &at), NULL);
            mix(&at, y, base, own, weights, k, 3);
            free(own);
        }
        add_bias(&at, y);
        compare(&golden, &at, "Y", y, "mixture", golden.tolerance);
        free(base);
        free(y);
        free(weights);
        close_layer(&at);
    }
    for (size_t k = 0; k < 3; k++) oclora_adapter_image_destroy(images[k]);
    oclora_golden_close(&golden);
}

static void test_mixtures(void)
{
    check_mixture("dlp_lora", false);
    check_mixture("xlora_static", true);
}

static void check_indices(const oclora_golden *golden, const char *module, const char *field,
                          const uint32_t *chosen, size_t first, size_t n)
{
    size_t count;
    int32_t *expected = oclora_golden_ints(golden, module, field, &count);
    CHECK(expected != NULL && first + n <= count);
    for (size_t i = 0; expected != NULL && i < n; i++) CHECK_INT(chosen[i], expected[first + i]);
    free(expected);
}

static void test_meteora(void)
{
    oclora_golden golden;
    CHECK(oclora_golden_open(&golden, data_path("meteora", "")));
    oclora_adapter_image *image = load_store(data_path("meteora", ""), OCLORA_STORE_AUTO);
    for (size_t i = 0; i < oclora_golden_modules(&golden); i++) {
        layer at;
        uint32_t chosen[256];
        CHECK(open_layer(&at, &golden, oclora_golden_module(&golden, i)));
        const oclora_module *module = bind_module(image, &at);
        double *y = evaluate(&at, module, chosen);
        add_bias(&at, y);
        compare(&golden, &at, "Y", y, "auto", golden.tolerance);
        check_indices(&golden, at.name, "router_indices", chosen, 0,
                      at.rows * module->router.top_k);
        free(y);
        close_layer(&at);
    }
    oclora_adapter_image_destroy(image);
    oclora_golden_close(&golden);
}

static void check_instances(const oclora_golden *golden, oclora_adapter_image *image, layer *at)
{
    size_t count;
    uint32_t chosen[64];
    const oclora_module *module = bind_module(image, at);
    uint32_t top_k = module->router.top_k;
    int32_t *ranges = oclora_golden_ints(golden, "", "instances", &count);
    double *y = calloc(at->rows * at->d_out, sizeof *y);
    for (size_t n = 0; n < count / 2; n++) {
        size_t first = (size_t)ranges[2 * n], last = (size_t)ranges[2 * n + 1];
        oclora_ref_terms(y + first * at->d_out, module, at->w, at->x + first * at->d_in,
                         last - first, (uint32_t)at->d_out, (uint32_t)at->d_in, chosen);
        check_indices(golden, at->name, "router_indices_A", chosen, n * top_k, top_k);
        check_indices(golden, at->name, "router_indices_B", chosen + top_k, n * top_k, top_k);
    }
    add_bias(at, y);
    compare(golden, at, "Y", y, "auto", golden->tolerance);
    free(y);
    free(ranges);
}

static void test_mixlora(void)
{
    static const char *const kinds[] = {"mixlora_conditional_ifs", "mixlora_conditional_cfs"};
    for (size_t k = 0; k < 2; k++) {
        oclora_golden golden;
        CHECK(oclora_golden_open(&golden, data_path(kinds[k], "")));
        oclora_adapter_image *image = load_store(data_path(kinds[k], ""), OCLORA_STORE_AUTO);
        for (size_t i = 0; i < oclora_golden_modules(&golden); i++) {
            layer at;
            CHECK(open_layer(&at, &golden, oclora_golden_module(&golden, i)));
            check_instances(&golden, image, &at);
            close_layer(&at);
        }
        oclora_adapter_image_destroy(image);
        oclora_golden_close(&golden);
    }
}

static void test_mixed_batch(void)
{
    static const char *const solo[][2] = {
        {"dora", "Y.solo.dora"}, {"flora_r2", "Y.solo.flora_r2"}, {"ia3", "Y.solo.ia3"},
        {"vera", "Y.solo.vera"}, {"lora_a", "Y.solo.lora_a"},     {"lora_b", "Y.solo.lora_b"}};
    check_fields("mixed_batch", solo, 6);
}

/* Four layers in a row; `relu` after each where the case has biases to tune. */
static void check_network(const char *kind, const char *member, bool relu)
{
    oclora_golden golden;
    char field[64];
    CHECK(oclora_golden_open(&golden, data_path(kind, "")));
    oclora_adapter_image *image = load_store(data_path(kind, member), OCLORA_STORE_AUTO);
    layer at, last = {0};
    CHECK(open_layer(&last, &golden, oclora_golden_module(&golden, 0)));
    double *y = NULL;
    for (size_t i = 0; i < oclora_golden_modules(&golden); i++) {
        open_layer(&at, &golden, oclora_golden_module(&golden, i));
        free(at.x);
        at.x = last.x;
        at.rows = last.rows;
        free(y);
        y = evaluate(&at, bind_module(image, &at), NULL);
        for (size_t j = 0; j < at.rows * at.d_out; j++) {
            if (relu) y[j] = fmax(y[j], 0.0);
            last.x[j] = (float)y[j]; /* square layers */
        }
        free(at.w);
        free(at.bias);
    }
    snprintf(field, sizeof field, "%s.Y", member);
    layer whole = {.name = "", .rows = last.rows, .d_out = last.d_out};
    compare(&golden, &whole, field, y, "network", golden.tolerance);
    free(y);
    close_layer(&last);
    oclora_adapter_image_destroy(image);
    oclora_golden_close(&golden);
}

static void test_expressive_power(void)
{
    static const char *const linear[] = {"rank_01", "rank_02", "rank_04", "rank_08",
                                         "rank_12", "rank_15", "rank_16"};
    for (size_t i = 0; i < sizeof linear / sizeof linear[0]; i++)
        check_network("expressive_power_linear", linear[i], false);
    check_network("expressive_power_relu", "rank_31", true);
    check_network("expressive_power_relu", "rank_32", true);
}

/* Shared factors are stored once per image. */
static void test_sharing(void)
{
    oclora_adapter_image *image = load_store(data_path("sharelora", ""), OCLORA_STORE_AUTO);
    CHECK_INT(image->n_blobs, 5);
    oclora_adapter_image_destroy(image);
    image = load_store(data_path("lotr", ""), OCLORA_STORE_AUTO);
    CHECK_INT(image->n_blobs, 4);
    oclora_adapter_image_destroy(image);
    char path[1024];
    snprintf(path, sizeof path, "%s/adapters/prof", OCLORA_TEST_DATA);
    image = load_store(path, OCLORA_STORE_AUTO); /* 60 VeRA modules of one shape */
    CHECK_INT(image->n_blobs, 2);
    CHECK_INT(image->n_modules, 60);
    oclora_adapter_image_destroy(image);
}

static void test_no_leak(void)
{
    CHECK_INT(oclora_test_live_allocations(), 0);
}

int main(void)
{
    static const oclora_test tests[] = {{"plain kinds", test_plain_kinds},
                                        {"tasks", test_tasks},
                                        {"mixtures", test_mixtures},
                                        {"meteora", test_meteora},
                                        {"mixlora", test_mixlora},
                                        {"mixed batch", test_mixed_batch},
                                        {"expressive power", test_expressive_power},
                                        {"sharing", test_sharing},
                                        {"no leak", test_no_leak}};
    return oclora_test_main("golden", tests, sizeof tests / sizeof tests[0]);
}
