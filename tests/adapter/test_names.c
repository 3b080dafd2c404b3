#include "support/files.h"
#include "support/harness.h"
#include "support/terms_reference.h"

#include "host/adapter/bind.h"
#include "host/adapter/load.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static oclora_model_info model_of(const char *architecture)
{
    oclora_model_info info = {.n_layer = 3, .n_head = 3, .n_head_kv = 1, .n_embd = 12};
    snprintf(info.architecture, sizeof info.architecture, "%s", architecture);
    return info;
}

static oclora_adapter_image *make(const char *config, const char *tensors)
{
    oclora_adapter_image *image = NULL;
    oclora_error err = {0};
    oclora_bytes bytes = oclora_make_safetensors(tensors);
    CHECK_OK(oclora_adapter_load_memory(&image, oclora_test_env(), config, strlen(config),
                                        bytes.data, bytes.size, OCLORA_STORE_AUTO, &err),
             &err);
    oclora_bytes_free(&bytes);
    return image;
}

static const char all_linear[] =
    "{\"peft_type\":\"LORA\",\"r\":2,\"target_modules\":\"all-linear\"}";

static void test_names(void)
{
    static const char *const names[][2] = {
        {"model.layers.0.self_attn.q_proj", "blk.0.attn_q"},
        {"model.layers.2.self_attn.k_proj", "blk.2.attn_k"},
        {"model.layers.1.self_attn.v_proj", "blk.1.attn_v"},
        {"model.layers.1.self_attn.o_proj", "blk.1.attn_output"},
        {"model.layers.1.mlp.gate_proj", "blk.1.ffn_gate"},
        {"model.layers.1.mlp.up_proj", "blk.1.ffn_up"},
        {"model.layers.1.mlp.down_proj", "blk.1.ffn_down"},
        {"model.layers.1.self_attn.qkv_proj", "blk.1.attn_qkv"},
        {"model.layers.1.mlp.gate_up_proj", "blk.1.ffn_up"},
        {"language_model.model.layers.1.mlp.down_proj", "blk.1.ffn_down"},
        {"lm_head", "output"},
        {"model.layers.3.mlp.down_proj", NULL},
        {"model.layers.x.mlp.down_proj", NULL},
        {"model.layers.1.mlp.experts.0.down_proj", NULL},
        {"model.embed_tokens", NULL},
        {"transformer.h.0.attn.c_attn", NULL}};
    oclora_model_info model = model_of("qwen3");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char tensors[256];
        oclora_error err = {0};
        snprintf(tensors, sizeof tensors, "%s.lora_A.weight:2x6 %s.lora_B.weight:12x2", names[i][0],
                 names[i][0]);
        oclora_adapter_image *image = make(all_linear, tensors);
        oclora_status status = oclora_adapter_to_gguf_names(image, &model, &err);
        if (names[i][1] != NULL) {
            CHECK_OK(status, &err);
            CHECK(strcmp(image->modules[0].name, names[i][1]) == 0);
            CHECK_INT(image->naming, OCLORA_NAMING_GGUF);
            CHECK_OK(oclora_adapter_to_gguf_names(image, &model, &err), &err); /* nothing to do */
        } else {
            CHECK_STATUS(status, OCLORA_MODULE_MISMATCH, &err);
            CHECK_CONTAINS(err.text, names[i][0]);
        }
        oclora_adapter_image_destroy(image);
    }
}

static void test_refusals(void)
{
    oclora_error err = {0};
    oclora_adapter_image *image =
        make(all_linear, "lm_head.lora_A.weight:2x6 lm_head.lora_B.weight:12x2");
    oclora_model_info model = model_of("rwkv7");
    CHECK_STATUS(oclora_adapter_to_gguf_names(image, &model, &err), OCLORA_NOT_SUPPORTED, &err);
    CHECK_CONTAINS(err.text, "rwkv7");
    CHECK_OK(oclora_adapter_to_gguf_names(image, NULL, &err), &err);
    CHECK(strcmp(image->modules[0].name, "output") == 0);
    oclora_adapter_image_destroy(image);
    model = model_of("llama");
    image = make(all_linear, "model.layers.0.self_attn.q_proj.lora_A.weight:2x6 "
                             "model.layers.0.self_attn.q_proj.lora_B.weight:9x2");
    CHECK_STATUS(oclora_adapter_to_gguf_names(image, NULL, &err), OCLORA_METADATA_MISSING, &err);
    CHECK_STATUS(oclora_adapter_to_gguf_names(image, &model, &err), OCLORA_SHAPE_MISMATCH, &err);
    CHECK_CONTAINS(err.text, "heads of even size");
    oclora_adapter_image_destroy(image);
    image = make(all_linear, "model.layers.0.mlp.up_proj.lora_A.weight:2x6 "
                             "model.layers.0.mlp.up_proj.lora_B.weight:8x2 "
                             "model.layers.0.mlp.gate_up_proj.lora_A.weight:2x6 "
                             "model.layers.0.mlp.gate_up_proj.lora_B.weight:8x2");
    CHECK_STATUS(oclora_adapter_to_gguf_names(image, &model, &err), OCLORA_FILE_FORMAT, &err);
    oclora_adapter_image_destroy(image);
    image = make(all_linear, "model.layers.0.self_attn.q_proj.lora_A.weight:2x6 "
                             "model.layers.0.self_attn.q_proj.lora_B.weight:12x2");
    CHECK_OK(oclora_adapter_narrow(image, OCLORA_STORE_Q8_0, &err), &err);
    CHECK_STATUS(oclora_adapter_to_gguf_names(image, &model, &err), OCLORA_NOT_SUPPORTED, &err);
    CHECK_CONTAINS(err.text, "oclora_adapter_narrow");
    oclora_adapter_image_destroy(image);
}

/* The converter's formula, written as it is stated: w.reshape(n_head, 2, hd/2).swapaxes(1, 2). */
static void converter_order(uint32_t *order, uint32_t n_head, uint32_t rows)
{
    uint32_t head_rows = rows / n_head, half = head_rows / 2, at = 0;
    for (uint32_t head = 0; head < n_head; head++)
        for (uint32_t i = 0; i < half; i++)
            for (uint32_t side = 0; side < 2; side++)
                order[at++] = head * head_rows + side * half + i;
}

/* Renamed terms on the reordered base give the reordered output, for every part of the algebra. */
static void check_permuted(const char *config, const char *tensors, const char *projection,
                           uint32_t n_head)
{
    enum { D_IN = 6, D_OUT = 12, ROWS = 3 };
    float w[D_OUT * D_IN], moved_w[D_OUT * D_IN], x[ROWS * D_IN];
    double before[ROWS * D_OUT], after[ROWS * D_OUT];
    uint32_t order[D_OUT];
    oclora_error err = {0};
    oclora_model_info model = model_of("llama");
    char all[1024] = "", name[128];
    snprintf(name, sizeof name, "model.layers.1.self_attn.%s", projection);
    for (const char *at = tensors; *at != '\0'; at++) { /* '%' stands for the module */
        size_t used = strlen(all);
        if (*at == '%')
            snprintf(all + used, sizeof all - used, "%s", name);
        else
            snprintf(all + used, sizeof all - used, "%c", *at);
    }
    oclora_test_fill(w, D_OUT * D_IN);
    oclora_test_fill(x, ROWS * D_IN);
    converter_order(order, n_head, D_OUT);
    for (uint32_t i = 0; i < D_OUT; i++)
        memcpy(moved_w + i * D_IN, w + order[i] * D_IN, D_IN * sizeof *w);

    oclora_adapter_image *plain = NULL, *moved = NULL;
    oclora_bytes bytes = oclora_make_safetensors(all);
    const oclora_env *env = oclora_test_env();
    CHECK_OK(oclora_adapter_load_memory(&plain, env, config, strlen(config), bytes.data, bytes.size,
                                        0, &err),
             &err);
    CHECK_OK(oclora_adapter_load_memory(&moved, env, config, strlen(config), bytes.data, bytes.size,
                                        0, &err),
             &err);
    oclora_bytes_free(&bytes);
    CHECK_OK(oclora_adapter_to_gguf_names(moved, &model, &err), &err);
    oclora_module *p = &plain->modules[0], *m = &moved->modules[0];
    CHECK_OK(oclora_module_bind(plain, p, D_IN, D_OUT, &err), &err);
    CHECK_OK(oclora_module_bind(moved, m, D_IN, D_OUT, &err), &err);
    if (oclora_module_needs_norms(p)) {
        CHECK_OK(oclora_dora_resolve(plain, p, w, 0, D_OUT, &err), &err);
        CHECK_OK(oclora_dora_resolve(moved, m, moved_w, 0, D_OUT, &err), &err);
    }
    oclora_ref_terms(before, p, w, x, ROWS, D_OUT, D_IN, NULL);
    oclora_ref_terms(after, m, moved_w, x, ROWS, D_OUT, D_IN, NULL);
    for (uint32_t i = 0; i < ROWS * D_OUT; i++)
        CHECK_LE(fabs(after[i] - before[i / D_OUT * D_OUT + order[i % D_OUT]]), 1e-6);
    oclora_adapter_image_destroy(plain);
    oclora_adapter_image_destroy(moved);
}

static void test_row_order(void)
{
    check_permuted(all_linear, "%.lora_A.weight:2x6 %.lora_B.weight:12x2", "q_proj", 3);
    check_permuted(all_linear, "%.lora_A.weight:2x6@f16 %.lora_B.weight:12x2@f16", "k_proj", 1);
    check_permuted("{\"peft_type\":\"LORA\",\"r\":2,\"lora_bias\":true}",
                   "%.lora_A.weight:2x6 %.lora_B.weight:12x2 %.lora_B.bias:12", "q_proj", 3);
    check_permuted("{\"peft_type\":\"LORA\",\"r\":2,\"use_dora\":true}",
                   "%.lora_A.weight:2x6 %.lora_B.weight:12x2 %.lora_magnitude_vector:12", "q_proj",
                   3);
    check_permuted("{\"peft_type\":\"VERA\",\"r\":2}",
                   "%.vera_lambda_d:2 %.vera_lambda_b:12 /base_model.vera_A:2x9 "
                   "/base_model.vera_B:15x2",
                   "q_proj", 3);
    check_permuted("{\"peft_type\":\"FLORA\",\"r\":3}", "%.flora_A:3x12 %.flora_B:6x3", "k_proj",
                   1);
    check_permuted("{\"peft_type\":\"HIRA\",\"r\":2}", "%.hira_A:2x6 %.hira_B:12x2", "q_proj", 3);
    check_permuted("{\"peft_type\":\"IA3\"}", "%.ia3_l:12x1", "q_proj", 3);
}

/* Only q and k move, and only where the converter moves them. */
static void test_others_stay(void)
{
    static const char *const cases[][2] = {{"llama", "v_proj"},    {"qwen2", "q_proj"},
                                           {"qwen3moe", "q_proj"}, {"olmoe", "k_proj"},
                                           {"gpt-oss", "k_proj"},  {"gemma3", "q_proj"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char tensors[256];
        uint8_t hash[16];
        oclora_error err = {0};
        oclora_model_info model = model_of(cases[i][0]);
        snprintf(tensors, sizeof tensors,
                 "model.layers.0.self_attn.%s.lora_A.weight:2x6 "
                 "model.layers.0.self_attn.%s.lora_B.weight:12x2",
                 cases[i][1], cases[i][1]);
        oclora_adapter_image *image = make(all_linear, tensors);
        memcpy(hash, image->modules[0].b.hash, sizeof hash);
        CHECK_OK(oclora_adapter_to_gguf_names(image, &model, &err), &err);
        CHECK(memcmp(hash, image->modules[0].b.hash, sizeof hash) == 0);
        oclora_adapter_image_destroy(image);
    }
}

static void test_trained_adapters(void)
{
    static const char *const names[] = {"pirate", "shout", "json",  "robot",
                                        "prof",   "brief", "herald"};
    oclora_model_info model = {"llama", 30, 9, 3, 576, 0};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[512];
        oclora_error err = {0};
        oclora_adapter_image *image = NULL;
        snprintf(path, sizeof path, "%s/adapters/%s", OCLORA_TEST_DATA, names[i]);
        CHECK_OK(oclora_adapter_load(&image, oclora_test_env(), path, OCLORA_STORE_AUTO, &err),
                 &err);
        CHECK_OK(oclora_adapter_to_gguf_names(image, &model, &err), &err);
        oclora_adapter_image_destroy(image);
    }
    CHECK_INT(oclora_test_live_allocations(), 0);
}

int main(void)
{
    static const oclora_test tests[] = {{"names", test_names},
                                        {"refusals", test_refusals},
                                        {"row order", test_row_order},
                                        {"others stay", test_others_stay},
                                        {"trained adapters", test_trained_adapters}};
    return oclora_test_main("names", tests, sizeof tests / sizeof tests[0]);
}
