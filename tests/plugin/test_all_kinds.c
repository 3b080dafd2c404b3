/* All 22 systems over one base: each on a row of one batch, bit by bit as alone; mixtures of any
 * of them against double precision; and what must hold whatever the numbers are. */
#include "golden_case.h"

#include "host/adapter/bind.h"
#include "host/adapter/load.h"

#include <math.h>

#define GOLDEN OCLORA_TEST_DATA "/golden/"

/* One adapter of every system, then two kinds that fall out of the same algebra. */
static const char *const paths[] = {
    "lora",
    "intruder/mitigated",
    "rac_lora",
    "lora_pro",
    "loraplus",
    "dora",
    "riemannian",
    "lotr",
    "cola",
    "delta_lora",
    "flora_r4",
    "xgblora",
    "mtl_lora#task=1",
    "dlp_lora#task=2",
    "bora#task=1",
    "sharelora",
    "meteora",
    "melora",
    "mixlora_conditional_cfs",
    "prilora",
    "vera_two_modules_shared",
    "qalora_avg",
    "hira",
    "ia3",
};
enum {
    ALL = sizeof paths / sizeof *paths,
    SYSTEMS = 22,
    DLP = 13,
    METEORA = 16,
    MIXLORA = 18,
    WIDTH = 160 /* of any layer, in or out */
};

static void *library;
static const oclora_api *api;

typedef struct world {
    golden_served s; /* the base: three layers, of which two are looked at */
    oclora_context_t *context;
    oclora_adapter_t adapters[ALL];
    oclora_adapter_image *images[ALL]; /* of the same files, for the reference */
    const golden_layer *layer;
    const oclora_module *modules[ALL]; /* of `layer` */
    float x[GOLDEN_ROWS * WIDTH];
} world;

static bool open_world(world *w, uint32_t device, uint32_t device_class)
{
    oclora_error err = {0};
    memset(w, 0, sizeof *w);
    w->context = native_context(api, device, device_class);
    if (!golden_serve(&w->s, api, w->context, GOLDEN "lotr")) return false;
    for (uint32_t k = 0; k < ALL; k++) {
        char path[512];
        snprintf(path, sizeof path, GOLDEN "%s", paths[k]);
        w->adapters[k] = golden_load(&w->s, paths[k], path, OCLORA_STORE_AUTO);
        if (!CHECK_OK(oclora_adapter_load(&w->images[k], oclora_test_env(), path, OCLORA_STORE_AUTO,
                                          &err),
                      &err))
            return false;
    }
    oclora_test_fill(w->x, sizeof w->x / sizeof *w->x);
    return true;
}

static void close_world(world *w)
{
    golden_end(&w->s);
    api->context_destroy(w->context);
    for (uint32_t k = 0; k < ALL; k++) oclora_adapter_image_destroy(w->images[k]);
}

/* From now on about this layer. */
static void take_layer(world *w, const char *name)
{
    oclora_error err = {0};
    for (size_t m = 0; m < w->s.n_layers; m++)
        if (strcmp(w->s.layers[m].name, name) == 0) w->layer = &w->s.layers[m];
    for (uint32_t k = 0; k < ALL; k++) {
        oclora_adapter_image *image = w->images[k];
        oclora_module *module = NULL;
        for (size_t i = 0; i < image->n_modules; i++)
            if (strcmp(image->modules[i].name, name) == 0) module = &image->modules[i];
        if (!CHECK(module != NULL)) exit(1);
        CHECK_OK(oclora_module_bind(image, module, w->layer->d_in, w->layer->d_out, &err), &err);
        if (oclora_module_needs_norms(module))
            CHECK_OK(oclora_dora_resolve(image, module, w->layer->w, 0, w->layer->d_out, &err),
                     &err);
        CHECK_OK(oclora_bias_resolve(image, module, w->layer->bias, &err), &err);
        w->modules[k] = module;
    }
}

static void run(const world *w, const golden_rows *rows, const float *x, float *y)
{
    golden_run(&w->s, w->layer, rows, x, y);
}

/* Row t of `rows` alone is row t of y, bit by bit. */
static void check_alone(const world *w, const golden_rows *rows, const float *y, uint32_t t)
{
    golden_rows one = {0};
    float alone[WIDTH];
    golden_add_row(&one, rows->instance[t]);
    for (uint32_t e = rows->start[t]; e < rows->start[t + 1]; e++)
        golden_add_entry(&one, rows->adapter[e], rows->weight[e]);
    run(w, &one, w->x + (size_t)t * w->layer->d_in, alone);
    CHECK(memcmp(alone, y + (size_t)t * w->layer->d_out, w->layer->d_out * sizeof *y) == 0);
}

/* f(x) + sum weight (f_k(x) - f(x)) + bias, of one row. */
static void reference_row(const world *w, const golden_rows *rows, uint32_t t, double *out)
{
    const golden_layer *layer = w->layer;
    const float *x = w->x + (size_t)t * layer->d_in;
    double base[WIDTH], own[WIDTH];
    oclora_ref_terms(base, NULL, layer->w, x, 1, layer->d_out, layer->d_in, NULL);
    for (uint32_t o = 0; o < layer->d_out; o++)
        out[o] = base[o] + (layer->bias != NULL ? (double)layer->bias[o] : 0.0);
    for (uint32_t e = rows->start[t]; e < rows->start[t + 1]; e++) {
        uint32_t k = 0;
        while (w->adapters[k] != rows->adapter[e]) k++;
        oclora_ref_terms(own, w->modules[k], layer->w, x, 1, layer->d_out, layer->d_in, NULL);
        for (uint32_t o = 0; o < layer->d_out; o++)
            out[o] += (double)rows->weight[e] * (own[o] - base[o]);
    }
}

static void check_rows(const world *w, const golden_rows *rows, const float *y)
{
    double expected[WIDTH];
    for (uint32_t t = 0; t < rows->n; t++) {
        reference_row(w, rows, t, expected);
        if (!CHECK_LE(
                oclora_test_max_error(y + (size_t)t * w->layer->d_out, expected, w->layer->d_out),
                2e-5))
            fprintf(stderr, "  row %u\n", t);
    }
}

/* One row a system; DLP-LoRA's is a mixture, as its router gives it. */
static void side_by_side(world *w)
{
    golden_rows rows = {0};
    float y[SYSTEMS * WIDTH];
    for (uint32_t k = 0; k < SYSTEMS; k++) {
        golden_add_row(&rows, k);
        golden_add_entry(&rows, w->adapters[k], k == DLP ? 0.6f : 1.0f);
        if (k == DLP) golden_add_entry(&rows, w->adapters[0], 0.4f);
    }
    run(w, &rows, w->x, y);
    check_rows(w, &rows, y);
    for (uint32_t t = 0; t < SYSTEMS; t++) check_alone(w, &rows, y, t);
}

/* Random mixtures of up to four of all kinds, some weights 0, some rows without. */
static void draw(const world *w, golden_rows *rows, uint32_t n)
{
    memset(rows, 0, sizeof *rows);
    for (uint32_t t = 0; t < n; t++) {
        golden_add_row(rows, t);
        uint32_t k = oclora_test_random() % ALL;
        for (uint32_t e = oclora_test_random() % (GOLDEN_ENTRIES + 1); e > 0; e--) {
            k = (k + 1 + oclora_test_random() % 5) % ALL;
            golden_add_entry(rows, w->adapters[k],
                             oclora_test_random() % 6 == 0 ? 0.0f : oclora_test_uniform());
        }
    }
}

static void mixtures(world *w)
{
    enum { ROWS = 29 };
    golden_rows rows;
    float y[ROWS * WIDTH];
    draw(w, &rows, ROWS);
    run(w, &rows, w->x, y);
    check_rows(w, &rows, y);
    for (uint32_t t = 0; t < ROWS; t += 5) check_alone(w, &rows, y, t);
}

/* The same rows in another order: the same results in that order. */
static void permuted(world *w)
{
    enum { ROWS = 23, STEP = 7 };
    golden_rows rows, other = {0};
    const size_t in = w->layer->d_in, out = w->layer->d_out;
    float y[ROWS * WIDTH], moved[ROWS * WIDTH], x[ROWS * WIDTH];
    draw(w, &rows, ROWS);
    for (uint32_t t = 0; t < ROWS; t++) {
        const uint32_t from = t * STEP % ROWS;
        memcpy(x + t * in, w->x + from * in, in * sizeof *x);
        golden_add_row(&other, rows.instance[from]);
        for (uint32_t e = rows.start[from]; e < rows.start[from + 1]; e++)
            golden_add_entry(&other, rows.adapter[e], rows.weight[e]);
    }
    run(w, &rows, w->x, y);
    run(w, &other, x, moved);
    for (uint32_t t = 0; t < ROWS; t++)
        CHECK(memcmp(moved + t * out, y + t * STEP % ROWS * out, out * sizeof *y) == 0);
}

/* Weight 0 takes the base path. */
static void weightless(world *w)
{
    golden_rows rows = {0}, none;
    float y[ALL * WIDTH], base[ALL * WIDTH];
    for (uint32_t k = 0; k < ALL; k++) {
        golden_add_row(&rows, k);
        golden_add_entry(&rows, w->adapters[k], 0.0f);
        golden_add_entry(&rows, w->adapters[(k + 3) % ALL], -0.0f);
    }
    golden_all_rows(&none, ALL, 0);
    run(w, &rows, w->x, y);
    run(w, &none, w->x, base);
    CHECK(memcmp(y, base, (size_t)ALL * w->layer->d_out * sizeof *y) == 0);
}

/* An adapter without a router, as a dense weight of its own: W' = f_k on unit vectors, less c. */
static oclora_weight_t *fold(const world *w, uint32_t k)
{
    const golden_layer *layer = w->layer;
    const oclora_module *module = w->modules[k];
    oclora_message msg = {sizeof msg, ""};
    float *dense = calloc((size_t)layer->d_in * layer->d_out, sizeof *dense), unit[WIDTH] = {0};
    float bias[WIDTH];
    double column[WIDTH];
    oclora_weight_t *out = NULL;
    if (dense == NULL) exit(1);
    for (uint32_t i = 0; i < layer->d_in; i++) {
        unit[i] = 1.0f;
        oclora_ref_terms(column, module, layer->w, unit, 1, layer->d_out, layer->d_in, NULL);
        unit[i] = 0.0f;
        for (uint32_t o = 0; o < layer->d_out; o++)
            dense[(size_t)o * layer->d_in + i] =
                (float)(column[o] - (module->c != NULL ? (double)module->c[o] : 0.0));
    }
    for (uint32_t o = 0; o < layer->d_out; o++)
        bias[o] = (layer->bias != NULL ? layer->bias[o] : 0.0f) +
                  (module->c != NULL ? module->c[o] : 0.0f);
    const oclora_weight_args args = {.struct_size = sizeof args,
                                     .name = "folded",
                                     .name_length = strlen("folded"),
                                     .data = dense,
                                     .data_bytes = (uint64_t)layer->d_in * layer->d_out * 4,
                                     .bias = bias,
                                     .type = OCLORA_TYPE_F32,
                                     .d_in = layer->d_in,
                                     .d_out = layer->d_out};
    WANT_OK(api->weight_create(w->context, &args, &out, &msg));
    free(dense);
    return out;
}

static void folded(world *w)
{
    enum { ROWS = 3 };
    for (uint32_t k = 0; k < ALL; k++) {
        golden_rows rows, none;
        golden_layer dense = *w->layer;
        float y[ROWS * WIDTH], merged[ROWS * WIDTH];
        double reference[ROWS * WIDTH];
        if (k == METEORA || k == MIXLORA) continue; /* routers choose by x: no dense form */
        dense.weight = fold(w, k);
        golden_all_rows(&rows, ROWS, w->adapters[k]);
        golden_all_rows(&none, ROWS, 0);
        run(w, &rows, w->x, y);
        golden_run(&w->s, &dense, &none, w->x, merged);
        for (size_t i = 0; i < (size_t)ROWS * dense.d_out; i++) reference[i] = (double)merged[i];
        if (!CHECK_LE(oclora_test_max_error(y, reference, (size_t)ROWS * dense.d_out), 1e-5))
            fprintf(stderr, "  %s\n", paths[k]);
        api->weight_destroy(dense.weight);
    }
}

/* Rows of one sequence share MixLoRA's choice: their mean decides, in any order of the batch and
 * next to another sequence with the same adapter. */
static void sequences(world *w)
{
    enum { ROWS = 17 };
    static const uint32_t of[ROWS] = {9, 4, 9, 9, 4, 1, 4, 9, 9, 4, 9, 4, 4, 9, 9, 9, 9};
    const uint32_t in = w->layer->d_in, out = w->layer->d_out;
    golden_rows rows;
    float y[ROWS * WIDTH], x[ROWS * WIDTH], together[ROWS * WIDTH];
    golden_all_rows(&rows, ROWS, w->adapters[MIXLORA]);
    memcpy(rows.instance, of, sizeof of);
    run(w, &rows, w->x, y);
    for (uint32_t sequence = 1; sequence <= 9; sequence++) {
        uint32_t n = 0;
        double expected[ROWS * WIDTH];
        for (uint32_t t = 0; t < ROWS; t++) {
            if (of[t] != sequence) continue;
            memcpy(x + n * in, w->x + t * in, in * sizeof *x);
            memcpy(together + n++ * out, y + t * out, out * sizeof *y);
        }
        if (n == 0) continue;
        oclora_ref_terms(expected, w->modules[MIXLORA], w->layer->w, x, n, out, in, NULL);
        for (size_t i = 0; w->layer->bias != NULL && i < (size_t)n * out; i++)
            expected[i] += (double)w->layer->bias[i % out];
        CHECK_LE(oclora_test_max_error(together, expected, (size_t)n * out), 1e-5);
    }
}

static void all_on(uint32_t device, uint32_t device_class)
{
    static const char *const layers[] = {"model.layers.0.self_attn.q_proj",
                                         "model.layers.3.mlp.down_proj"};
    world *w = malloc(sizeof *w);
    if (w == NULL) exit(1);
    if (open_world(w, device, device_class))
        for (int i = 0; i < 2; i++) {
            take_layer(w, layers[i]);
            side_by_side(w);
            mixtures(w);
            permuted(w);
            weightless(w);
            folded(w);
            sequences(w);
        }
    close_world(w);
    free(w);
}

static void test_all(void)
{
    native_each(api, 1, all_on);
}

int main(void)
{
    static const oclora_test tests[] = {{"22 systems side by side", test_all}};
    api = native_open(&library);
    const int status = oclora_test_main("plugin_all_kinds", tests, sizeof tests / sizeof *tests);
    dlclose(library);
    return status;
}
