/* Images under memory that runs out: right status, nothing leaked, and a clean pass in the end. */
#include "support/harness.h"

#include "host/adapter/bind.h"
#include "host/adapter/image.h"
#include "host/adapter/load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct budget {
    long left; /* allocations until the first failure */
    bool sticky;
    long live;
    long failed;
} budget;

static void *limited_alloc(void *user, size_t size, size_t align)
{
    budget *b = user;
    bool fails = b->sticky ? b->left <= 0 : b->left == 0;
    b->left--;
    if (fails) {
        b->failed++;
        return NULL;
    }
    b->live++;
    return aligned_alloc(align, size);
}

static void limited_release(void *user, void *ptr)
{
    budget *b = user;
    b->live -= ptr != NULL;
    free(ptr);
}

/* The life of an image up to its use: load, names, binding, storage. */
static oclora_status live_through(const oclora_env *env, const char *path, oclora_error *err)
{
    oclora_adapter_image *image = NULL;
    oclora_model_info model = {"llama", 30, 1, 1, 96, 0};
    float *w = calloc(160 * 160, sizeof *w);
    for (size_t i = 0; i < 160 * 160; i++) w[i] = 1.0f;
    oclora_status status = oclora_adapter_load(&image, env, path, OCLORA_STORE_AUTO, err);
    if (status == OCLORA_OK) status = oclora_adapter_to_gguf_names(image, &model, err);
    for (size_t i = 0; status == OCLORA_OK && i < image->n_modules; i++) {
        oclora_module *module = &image->modules[i];
        uint32_t d_in = strstr(module->name, "ffn_down") != NULL ? 160 : 96;
        uint32_t d_out = d_in == 96 ? 80 : 96;
        status = oclora_module_bind(image, module, d_in, d_out, err);
        if (status == OCLORA_OK && oclora_module_needs_norms(module))
            status = oclora_dora_resolve(image, module, w, 0, d_out, err);
        if (status == OCLORA_OK) status = oclora_bias_resolve(image, module, w, err);
    }
    if (status == OCLORA_OK) status = oclora_adapter_narrow(image, OCLORA_STORE_Q8_0, err);
    oclora_adapter_image_destroy(image);
    free(w);
    return status;
}

static long fail_each(const char *path, bool sticky)
{
    long failures = 0;
    for (long n = 0; n < 10000; n++) {
        budget b = {n, sticky, 0, 0};
        oclora_env env = {.alloc = limited_alloc, .release = limited_release, .alloc_user = &b};
        oclora_error err = {0};
        oclora_status status = live_through(&env, path, &err);
        CHECK_INT(b.live, 0);
        if (b.failed == 0) {
            CHECK_OK(status, &err);
            return failures;
        }
        /* A growing array asks again for less before it gives up. */
        if (sticky || status != OCLORA_OK) CHECK_STATUS(status, OCLORA_OUT_OF_HOST_MEMORY, &err);
        failures++;
    }
    CHECK(!"a pass without failures");
    return failures;
}

static void test_every_allocation_fails(void)
{
    static const char *const kinds[] = {"lora",
                                        "lora_f16",
                                        "lora_bias",
                                        "dora",
                                        "cola",
                                        "melora",
                                        "delta_lora",
                                        "lotr",
                                        "qalora_avg",
                                        "vera_two_modules_shared",
                                        "mtl_lora#task=0",
                                        "mtl_lora_diag#task=1",
                                        "meteora",
                                        "bora#task=1",
                                        "flora_r4",
                                        "hira",
                                        "ia3",
                                        "mixlora_conditional_cfs",
                                        "xgblora",
                                        "dlp_lora#task=0"};
    long total = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/golden/%s", OCLORA_TEST_DATA, kinds[i]);
        total += fail_each(path, false);
        total += fail_each(path, true);
    }
    printf("  %ld allocations failed on purpose\n", total);
    CHECK(total > 500);
}

static void test_equal_factors_share(void)
{
    static const float values[2][4] = {{1.0f, 2.0f, 3.0f, 4.0f}, {1.0f, 2.0f, 3.0f, 5.0f}};
    oclora_adapter_image *image = NULL;
    oclora_factor factors[4];
    oclora_error err = {0};
    CHECK_OK(oclora_image_create(&image, oclora_test_env(), &err), &err);
    for (size_t i = 0; i < 4; i++) { /* equal, other shape, other values */
        oclora_matrix matrix = {0};
        uint32_t rows = i == 2 ? 1 : 2;
        CHECK_OK(oclora_matrix_create(&matrix, oclora_test_env(), rows, 4 / rows, &err), &err);
        memcpy(matrix.values, values[i == 3], sizeof values[0]);
        CHECK_OK(oclora_image_factor(image, &factors[i], &matrix, OCLORA_STORE_F32, "f", &err),
                 &err);
        oclora_matrix_free(&matrix, oclora_test_env());
    }
    CHECK(factors[0].data == factors[1].data);
    CHECK(factors[2].data != factors[0].data);
    CHECK(factors[3].data != factors[0].data);
    CHECK_INT(image->n_blobs, 3);
    CHECK_INT(oclora_factor_bytes(&factors[0]), 16);
    CHECK_STATUS(oclora_image_finish(image, &err), OCLORA_MISSING_TENSOR, &err);
    oclora_adapter_image_destroy(image);
    oclora_adapter_image_destroy(NULL);
    CHECK_INT(oclora_test_live_allocations(), 0);
}

/* The identity of an adapter: the same files give the same hash, another task or file another. */
static void test_identity(void)
{
    static const char *const paths[] = {"mtl_lora#task=0", "mtl_lora#task=1", "lora", "rslora"};
    uint8_t hashes[4][32];
    for (size_t i = 0; i < 4; i++) {
        for (int again = 0; again < 2; again++) {
            char path[512];
            oclora_adapter_image *image = NULL;
            oclora_error err = {0};
            snprintf(path, sizeof path, "%s/golden/%s", OCLORA_TEST_DATA, paths[i]);
            CHECK_OK(oclora_adapter_load(&image, oclora_test_env(), path, 0, &err), &err);
            if (again) CHECK(memcmp(image->hash, hashes[i], 32) == 0);
            memcpy(hashes[i], image->hash, 32);
            oclora_adapter_image_destroy(image);
        }
        for (size_t j = 0; j < i; j++) CHECK(memcmp(hashes[i], hashes[j], 32) != 0);
    }
}

int main(void)
{
    static const oclora_test tests[] = {{"every allocation fails", test_every_allocation_fails},
                                        {"equal factors share", test_equal_factors_share},
                                        {"identity", test_identity}};
    return oclora_test_main("image", tests, sizeof tests / sizeof tests[0]);
}
