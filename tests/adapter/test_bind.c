#include "support/files.h"
#include "support/harness.h"

#include "host/adapter/bind.h"
#include "host/adapter/load.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static oclora_adapter_image *make(const char *config, const char *tensors, uint32_t store)
{
    oclora_adapter_image *image = NULL;
    oclora_error err = {0};
    oclora_bytes bytes = oclora_make_safetensors(tensors);
    CHECK_OK(oclora_adapter_load_memory(&image, oclora_test_env(), config, strlen(config),
                                        bytes.data, bytes.size, store, &err),
             &err);
    oclora_bytes_free(&bytes);
    return image;
}

static void test_shapes(void)
{
    oclora_error err = {0};
    oclora_adapter_image *image =
        make("{\"peft_type\":\"LORA\",\"r\":2}", "q.lora_A.weight:2x6 q.lora_B.weight:4x2", 0);
    oclora_module *module = &image->modules[0];
    CHECK_OK(oclora_module_bind(image, module, 6, 4, &err), &err);
    CHECK_OK(oclora_module_bind(image, module, 6, 4, &err), &err);
    CHECK_STATUS(oclora_module_bind(image, module, 7, 4, &err), OCLORA_SHAPE_MISMATCH, &err);
    CHECK_CONTAINS(err.text, "module q maps 6 inputs to 4 outputs, the base weight 7 to 4");
    CHECK_STATUS(oclora_module_bind(image, module, 6, 5, &err), OCLORA_SHAPE_MISMATCH, &err);
    CHECK_STATUS(oclora_module_bind(image, module, 0, 0, &err), OCLORA_SHAPE_MISMATCH, &err);
    oclora_adapter_image_destroy(image);
}

/* VeRA's A is cut to the module's inputs; modules of one width share the cut. */
static void test_vera_is_cut(void)
{
    static const uint32_t stores[] = {OCLORA_STORE_AUTO, OCLORA_STORE_Q8_0};
    for (size_t s = 0; s < 2; s++) {
        oclora_error err = {0};
        oclora_adapter_image *image =
            make("{\"peft_type\":\"VERA\",\"r\":3}",
                 "p.vera_lambda_d:3 p.vera_lambda_b:4 q.vera_lambda_d:3 q.vera_lambda_b:4 "
                 "/base_model.vera_A:3x50 /base_model.vera_B:9x3",
                 stores[s]);
        oclora_module *p = &image->modules[0], *q = &image->modules[1];
        CHECK_INT(p->d_in, 0);
        CHECK_INT(p->d_out, 4);
        CHECK(p->a.data == q->a.data);
        CHECK_STATUS(oclora_module_bind(image, p, 51, 4, &err), OCLORA_SHAPE_MISMATCH, &err);
        CHECK_OK(oclora_module_bind(image, p, 35, 4, &err), &err);
        CHECK_OK(oclora_module_bind(image, q, 35, 4, &err), &err);
        CHECK_INT(p->a.cols, 35);
        CHECK(p->a.data == q->a.data);
        CHECK(memcmp(p->a.hash, q->a.hash, sizeof p->a.hash) == 0);
        CHECK_STATUS(oclora_module_bind(image, p, 34, 4, &err), OCLORA_SHAPE_MISMATCH, &err);
        oclora_adapter_image_destroy(image);
    }
}

/* Norms are the same however the rows are cut, and a dead row is named. */
static void test_norms(void)
{
    enum { D_IN = 37, D_OUT = 11 };
    float w[D_IN * D_OUT], u[D_OUT];
    oclora_error err = {0};
    const char *config = "{\"peft_type\":\"LORA\",\"r\":2,\"use_dora\":true}";
    oclora_adapter_image *image = make(
        config, "q.lora_A.weight:2x37@f16 q.lora_B.weight:11x2@f16 q.lora_magnitude_vector:11", 0);
    oclora_module *module = &image->modules[0];
    CHECK(oclora_module_needs_norms(module));
    CHECK(module->u == NULL);
    oclora_test_fill(w, D_IN * D_OUT);
    CHECK_OK(oclora_module_bind(image, module, D_IN, D_OUT, &err), &err);
    CHECK_OK(oclora_dora_resolve(image, module, w, 0, D_OUT, &err), &err);
    memcpy(u, module->u, sizeof u);
    for (uint32_t i = 0; i < D_OUT; i++)
        CHECK_OK(oclora_dora_resolve(image, module, w + i * D_IN, i, 1, &err), &err);
    CHECK(memcmp(u, module->u, sizeof u) == 0);
    CHECK(memcmp(u, module->beta, sizeof u) == 0);
    CHECK_STATUS(oclora_dora_resolve(image, module, w, 5, D_OUT, &err), OCLORA_INVALID_ARGUMENT,
                 &err);
    oclora_adapter_image_destroy(image);

    image = make(config,
                 "q.lora_A.weight:2x37 q.lora_B.weight:11x2!zero q.lora_magnitude_vector:11", 0);
    module = &image->modules[0];
    memset(w + 4 * D_IN, 0, D_IN * sizeof *w);
    CHECK_OK(oclora_module_bind(image, module, D_IN, D_OUT, &err), &err);
    CHECK_STATUS(oclora_dora_resolve(image, module, w, 0, D_OUT, &err), OCLORA_NOT_FINITE, &err);
    CHECK_CONTAINS(err.text, "module q: row 4");
    oclora_adapter_image_destroy(image);
}

static void test_bias(void)
{
    static const float bias[4] = {1.0f, -2.0f, 0.5f, 0.0f};
    oclora_error err = {0};
    oclora_adapter_image *image = make("{\"peft_type\":\"IA3\"}", "q.ia3_l:4x1", 0);
    oclora_module *module = &image->modules[0];
    CHECK_INT(module->d_in, 0);
    CHECK_OK(oclora_module_bind(image, module, 9, 4, &err), &err);
    CHECK_OK(oclora_bias_resolve(image, module, NULL, &err), &err);
    CHECK(module->c == NULL);
    CHECK_OK(oclora_bias_resolve(image, module, bias, &err), &err);
    for (size_t i = 0; i < 4; i++)
        CHECK_LE(fabs((double)module->c[i] - ((double)module->u[i] - 1.0) * (double)bias[i]), 1e-6);
    oclora_adapter_image_destroy(image);
    CHECK_INT(oclora_test_live_allocations(), 0);
}

int main(void)
{
    static const oclora_test tests[] = {{"shapes", test_shapes},
                                        {"vera is cut", test_vera_is_cut},
                                        {"norms", test_norms},
                                        {"bias", test_bias}};
    return oclora_test_main("bind", tests, sizeof tests / sizeof tests[0]);
}
