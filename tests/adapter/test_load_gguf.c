#include "support/files.h"
#include "support/harness.h"

#include "host/adapter/load.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void discard(oclora_gguf_maker *maker)
{
    oclora_bytes rest = oclora_gguf_make(maker);
    oclora_bytes_free(&rest);
    memset(maker, 0, sizeof *maker);
}

static void start(oclora_gguf_maker *maker)
{
    memset(maker, 0, sizeof *maker);
    oclora_gguf_add_text(maker, "general.type", "adapter");
    oclora_gguf_add_text(maker, "general.architecture", "llama");
    oclora_gguf_add_text(maker, "adapter.type", "lora");
}

static oclora_status load(oclora_gguf_maker *maker, oclora_adapter_image **out, oclora_error *err)
{
    char folder[256], path[300];
    oclora_bytes bytes = oclora_gguf_make(maker);
    oclora_keep_seed("gguf", NULL, 0, bytes.data, bytes.size);
    oclora_make_folder(folder, sizeof folder, "gguf");
    snprintf(path, sizeof path, "%s/adapter.gguf", folder);
    CHECK(oclora_write_file(path, bytes.data, bytes.size));
    oclora_bytes_free(&bytes);
    oclora_status status = oclora_adapter_load(out, oclora_test_env(), path, 0, err);
    unlink(path);
    rmdir(folder);
    return status;
}

static void test_reads(void)
{
    oclora_gguf_maker maker;
    oclora_adapter_image *image = NULL;
    oclora_error err = {0};
    start(&maker);
    oclora_gguf_add_f32(&maker, "adapter.lora.alpha", 6.0f);
    oclora_gguf_add_matrix(&maker, "blk.1.attn_q.weight.lora_a", 3, 10);
    oclora_gguf_add_matrix(&maker, "blk.1.attn_q.weight.lora_b", 7, 3);
    oclora_gguf_add_matrix(&maker, "blk.0.ffn_up.weight.lora_b", 5, 4);
    oclora_gguf_add_matrix(&maker, "blk.0.ffn_up.weight.lora_a", 4, 10);
    CHECK_OK(load(&maker, &image, &err), &err);
    CHECK_INT(image->n_modules, 2);
    CHECK_INT(image->naming, OCLORA_NAMING_GGUF);
    CHECK(strcmp(image->architecture, "llama") == 0);
    const oclora_module *q = &image->modules[1];
    CHECK(strcmp(q->name, "blk.1.attn_q") == 0);
    CHECK(q->rank == 3 && q->d_in == 10 && q->d_out == 7);
    CHECK(q->scale[0] == 2.0f);
    CHECK(image->modules[0].scale[0] == 1.5f);
    oclora_model_info model = {"llama", 2, 1, 1, 10, 0};
    CHECK_OK(oclora_adapter_to_gguf_names(image, &model, &err), &err);
    strcpy(model.architecture, "qwen2");
    CHECK_STATUS(oclora_adapter_to_gguf_names(image, &model, &err), OCLORA_MODULE_MISMATCH, &err);
    oclora_adapter_image_destroy(image);
}

static void expect(oclora_gguf_maker *maker, oclora_status status, const char *text)
{
    oclora_adapter_image *image = NULL;
    oclora_error err = {0};
    CHECK_STATUS(load(maker, &image, &err), status, &err);
    CHECK_CONTAINS(err.text, text);
    CHECK(image == NULL);
    start(maker);
}

static void test_rejects(void)
{
    oclora_gguf_maker maker;
    memset(&maker, 0, sizeof maker);
    oclora_gguf_add_text(&maker, "general.type", "model");
    expect(&maker, OCLORA_FILE_FORMAT, "no adapter");
    discard(&maker);
    oclora_gguf_add_text(&maker, "general.type", "adapter");
    oclora_gguf_add_text(&maker, "adapter.type", "control");
    expect(&maker, OCLORA_UNKNOWN_KIND, "lora");
    expect(&maker, OCLORA_FILE_FORMAT, "alpha"); /* missing */
    oclora_gguf_add_number(&maker, "adapter.lora.alpha", 4, 6, 4);
    expect(&maker, OCLORA_FILE_FORMAT, "alpha"); /* an integer */
    oclora_gguf_add_number(&maker, "adapter.lora.alpha", 6, 0x7fc00000u, 4);
    expect(&maker, OCLORA_FILE_FORMAT, "alpha"); /* NaN */
    oclora_gguf_add_f32(&maker, "adapter.lora.alpha", 6.0f);
    expect(&maker, OCLORA_MISSING_TENSOR, "no module");
    oclora_gguf_add_f32(&maker, "adapter.lora.alpha", 6.0f);
    oclora_gguf_add_number(&maker, "adapter.alora.invocation_tokens", 4, 1, 4);
    expect(&maker, OCLORA_NOT_SUPPORTED, "activated");
    oclora_gguf_add_f32(&maker, "adapter.lora.alpha", 6.0f);
    oclora_gguf_add_matrix(&maker, "w.weight.lora_a", 3, 8);
    expect(&maker, OCLORA_MISSING_TENSOR, "w.weight.lora_b");
    oclora_gguf_add_f32(&maker, "adapter.lora.alpha", 6.0f);
    oclora_gguf_add_matrix(&maker, "w.weight.lora_a", 3, 8);
    oclora_gguf_add_matrix(&maker, "w.weight.lora_b", 8, 3);
    oclora_gguf_add_matrix(&maker, "v.weight.lora_b", 8, 3);
    expect(&maker, OCLORA_MISSING_TENSOR, "2 lora_b");
    oclora_gguf_add_f32(&maker, "adapter.lora.alpha", 6.0f);
    oclora_gguf_add_matrix(&maker, "w.weight.lora_a", 3, 8);
    oclora_gguf_add_matrix(&maker, "w.weight.lora_b", 8, 4);
    expect(&maker, OCLORA_RANK_MISMATCH, "rank 4");
    oclora_gguf_add_f32(&maker, "adapter.lora.alpha", 6.0f);
    oclora_gguf_add_matrix(&maker, "blk.0.attn_norm.weight", 1, 8);
    expect(&maker, OCLORA_NOT_SUPPORTED, "attn_norm");
    oclora_gguf_add_f32(&maker, "adapter.lora.alpha", 6.0f);
    oclora_gguf_add_matrix(&maker, "token_embd.weight.lora_a", 3, 8);
    oclora_gguf_add_matrix(&maker, "token_embd.weight.lora_b", 8, 3);
    expect(&maker, OCLORA_NOT_SUPPORTED, "token embedding");
    oclora_gguf_add_f32(&maker, "adapter.lora.alpha", 6.0f);
    uint64_t experts[3] = {8, 3, 2};
    oclora_gguf_add_entry(&maker, "w.weight.lora_a", 3, experts, 0, 0);
    for (int i = 0; i < 24; i++) oclora_bytes_number(&maker.data, 0, 8);
    oclora_gguf_add_matrix(&maker, "w.weight.lora_b", 8, 3);
    expect(&maker, OCLORA_SHAPE_MISMATCH, "no matrix");
    oclora_gguf_add_f32(&maker, "adapter.lora.alpha", 6.0f);
    uint64_t k_quant[2] = {256, 1};
    oclora_gguf_add_entry(&maker, "w.weight.lora_a", 2, k_quant, 12, 0);
    for (int i = 0; i < 20; i++) oclora_bytes_number(&maker.data, 0, 8);
    oclora_gguf_add_matrix(&maker, "w.weight.lora_b", 8, 1);
    expect(&maker, OCLORA_UNSUPPORTED_DTYPE, "w.weight.lora_a");
    char name[300];
    memset(name, 'w', sizeof name);
    strcpy(name + 249, ".lora_a"); /* with a longer end, of 256 bytes */
    oclora_gguf_add_f32(&maker, "adapter.lora.alpha", 6.0f);
    oclora_gguf_add_matrix(&maker, name, 3, 8);
    expect(&maker, OCLORA_FILE_FORMAT, "a tensor name is over 248 bytes long");
    discard(&maker);
    CHECK_INT(oclora_test_live_allocations(), 0);
}

static void check_info(oclora_gguf_maker *maker, oclora_model_info *info, oclora_status status,
                       const char *text)
{
    char folder[256], path[300];
    oclora_error err = {0};
    oclora_bytes bytes = oclora_gguf_make(maker);
    oclora_make_folder(folder, sizeof folder, "model");
    snprintf(path, sizeof path, "%s/model.gguf", folder);
    CHECK(oclora_write_file(path, bytes.data, bytes.size));
    oclora_bytes_free(&bytes);
    CHECK_STATUS(oclora_model_info_read(info, oclora_test_env(), path, &err), status, &err);
    CHECK_CONTAINS(err.text, text);
    unlink(path);
    rmdir(folder);
    memset(maker, 0, sizeof *maker);
}

static void add_counts(oclora_gguf_maker *maker, bool heads)
{
    oclora_gguf_add_text(maker, "general.architecture", "llama");
    oclora_gguf_add_number(maker, "llama.block_count", 4, 30, 4);
    oclora_gguf_add_number(maker, "llama.embedding_length", 4, 576, 4);
    if (heads) oclora_gguf_add_number(maker, "llama.attention.head_count", 4, 9, 4);
}

static void test_model_info(void)
{
    oclora_gguf_maker maker = {0};
    oclora_model_info info = {{0}, 0, 0, 0, 0, 0};
    add_counts(&maker, true);
    check_info(&maker, &info, OCLORA_OK, "");
    CHECK(info.n_layer == 30 && info.n_embd == 576 && info.n_head == 9 && info.n_head_kv == 9);
    add_counts(&maker, true);
    oclora_gguf_add_number(&maker, "llama.attention.head_count_kv", 4, 3, 4);
    check_info(&maker, &info, OCLORA_OK, "");
    CHECK_INT(info.n_head_kv, 3);
    add_counts(&maker, false);
    check_info(&maker, &info, OCLORA_METADATA_MISSING, "llama.attention.head_count");
    check_info(&maker, &info, OCLORA_METADATA_MISSING, "general.architecture");
    static const struct {
        const char *key;
        uint32_t type;
        uint64_t bits;
        size_t size;
    } bad[] = {{"llama.block_count", 4, 0, 4},
               {"llama.block_count", 6, 0x3f800000, 4},
               {"llama.block_count", 5, 0xffffffff, 4},
               {"llama.block_count", 10, 1ull << 32, 8},
               {"llama.embedding_length", 7, 1, 1},
               {"llama.attention.head_count_kv", 11, UINT64_MAX, 8}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        oclora_gguf_add_text(&maker, "general.architecture", "llama");
        if (i < 4) oclora_gguf_add_number(&maker, "llama.embedding_length", 4, 576, 4);
        if (i >= 4) oclora_gguf_add_number(&maker, "llama.block_count", 0, 30, 1);
        if (i >= 5) oclora_gguf_add_number(&maker, "llama.embedding_length", 3, 576, 2);
        oclora_gguf_add_number(&maker, "llama.attention.head_count", 1, 9, 1);
        oclora_gguf_add_number(&maker, bad[i].key, bad[i].type, bad[i].bits, bad[i].size);
        check_info(&maker, &info, OCLORA_METADATA_MISSING, bad[i].key);
    }
    oclora_gguf_add_number(&maker, "general.architecture", 4, 1, 4);
    check_info(&maker, &info, OCLORA_METADATA_MISSING, "general.architecture");
    oclora_gguf_add_text(&maker, "general.architecture", "");
    check_info(&maker, &info, OCLORA_METADATA_MISSING, "general.architecture");
    oclora_gguf_add_text(&maker, "general.architecture",
                         "an architecture whose name is longer than any that there is, by far");
    check_info(&maker, &info, OCLORA_METADATA_MISSING, "general.architecture");
    oclora_error err = {0};
    CHECK_STATUS(oclora_model_info_read(&info, oclora_test_env(), "/nowhere/model.gguf", &err),
                 OCLORA_FILE_NOT_FOUND, &err);
}

int main(void)
{
    static const oclora_test tests[] = {
        {"reads", test_reads}, {"rejects", test_rejects}, {"model info", test_model_info}};
    return oclora_test_main("load_gguf", tests, sizeof tests / sizeof tests[0]);
}
