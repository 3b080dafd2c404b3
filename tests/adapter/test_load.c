/* What loaders make of good files: storage, folders, several adapters of one folder; and mutations.
 */
#include "load_cases.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Storage: what AUTO keeps, what narrowing refuses, and that values survive. */
static void test_storage(void)
{
    static const struct {
        const char *types;
        uint32_t store;
        oclora_type expected;
    } cases[] = {{"", OCLORA_STORE_AUTO, OCLORA_TYPE_F32},
                 {"!zero", OCLORA_STORE_AUTO, OCLORA_TYPE_F16},
                 {"@f16", OCLORA_STORE_AUTO, OCLORA_TYPE_F16},
                 {"@bf16", OCLORA_STORE_AUTO, OCLORA_TYPE_BF16},
                 {"@f64", OCLORA_STORE_AUTO, OCLORA_TYPE_F32},
                 {"@bf16", OCLORA_STORE_F16, OCLORA_TYPE_F16},
                 {"@f16", OCLORA_STORE_F32, OCLORA_TYPE_F32},
                 {"@f16", OCLORA_STORE_Q8_0, OCLORA_TYPE_Q8_0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char tensors[128];
        oclora_adapter_image *image = NULL;
        oclora_error err = {0};
        snprintf(tensors, sizeof tensors, "q.lora_A.weight:2x6%s q.lora_B.weight:4x2%s",
                 cases[i].types, cases[i].types);
        CHECK_OK(load(&image, LORA(""), tensors, cases[i].store, &err), &err);
        CHECK_INT(image->modules[0].a.type, cases[i].expected);
        CHECK_INT(image->modules[0].b.type, cases[i].expected);
        CHECK_INT(image->modules[0].b.rows, 2);
        CHECK_INT(image->modules[0].b.cols, 4);
        CHECK(image->modules[0].scale[1] == 2.0f);
        oclora_adapter_image_destroy(image);
    }
    oclora_adapter_image *image = NULL;
    oclora_error err = {0};
    const char *big = "q.lora_A.weight:2x6!big=3 q.lora_B.weight:4x2";
    CHECK_STATUS(load(&image, LORA(""), big, OCLORA_STORE_F16, &err), OCLORA_VALUE_OVERFLOW, &err);
    CHECK_CONTAINS(err.text, "q.lora_A.weight");
    CHECK_STATUS(load(&image, LORA(""), big, OCLORA_STORE_Q8_0, &err), OCLORA_VALUE_OVERFLOW, &err);
    CHECK_OK(load(&image, LORA(""), big, OCLORA_STORE_AUTO, &err), &err);
    CHECK_STATUS(oclora_adapter_narrow(image, OCLORA_STORE_F16, &err), OCLORA_VALUE_OVERFLOW, &err);
    oclora_adapter_image_destroy(image);
}

static void test_narrow(void)
{
    oclora_adapter_image *direct = NULL, *later = NULL;
    oclora_error err = {0};
    oclora_bytes bytes = oclora_make_safetensors("q.lora_A.weight:2x70 q.lora_B.weight:37x2");
    const char *config = LORA("");
    const oclora_env *env = oclora_test_env();
    CHECK_OK(oclora_adapter_load_memory(&direct, env, config, strlen(config), bytes.data,
                                        bytes.size, OCLORA_STORE_Q8_0, &err),
             &err);
    CHECK_OK(oclora_adapter_load_memory(&later, env, config, strlen(config), bytes.data, bytes.size,
                                        OCLORA_STORE_AUTO, &err),
             &err);
    CHECK(memcmp(direct->hash, later->hash, 32) == 0); /* the file's, not the storage's */
    CHECK(memcmp(direct->modules[0].a.hash, later->modules[0].a.hash, 16) != 0);
    CHECK_OK(oclora_adapter_narrow(later, OCLORA_STORE_Q8_0, &err), &err);
    CHECK(memcmp(direct->modules[0].a.hash, later->modules[0].a.hash, 16) == 0);
    CHECK(memcmp(direct->modules[0].b.hash, later->modules[0].b.hash, 16) == 0);
    CHECK_INT(oclora_factor_row_bytes(OCLORA_TYPE_Q8_0, 70), 3 * 34);
    oclora_adapter_image_destroy(direct);
    oclora_adapter_image_destroy(later);
    oclora_bytes_free(&bytes);
}

static void write_text(const char *folder, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    CHECK(oclora_write_file(path, text, strlen(text)));
}

static void remove_folder(const char *folder)
{
    static const char *const names[] = {"adapter_config.json", "adapter_model.safetensors"};
    char path[512];
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    CHECK_INT(rmdir(folder), 0);
}

static void expect_path(const char *path, oclora_status status, const char *text)
{
    oclora_adapter_image *image = NULL;
    oclora_error err = {0};
    CHECK_STATUS(oclora_adapter_load(&image, oclora_test_env(), path, 0, &err), status, &err);
    CHECK_CONTAINS(err.text, text);
    CHECK((image == NULL) == (status != OCLORA_OK));
    oclora_adapter_image_destroy(image);
}

static void test_folders(void)
{
    char folder[256], path[512];
    oclora_make_folder(folder, sizeof folder, "adapter");
    snprintf(path, sizeof path, "%s/none", folder);
    expect_path(path, OCLORA_FILE_NOT_FOUND, "does not exist");
    expect_path(folder, OCLORA_FILE_NOT_FOUND, "adapter_config.json");
    write_text(folder, "adapter_config.json", "not json");
    expect_path(folder, OCLORA_FILE_FORMAT, folder);
    write_text(folder, "adapter_config.json", LORA(""));
    expect_path(folder, OCLORA_FILE_NOT_FOUND, "adapter_model.safetensors");
    oclora_bytes bytes = oclora_make_safetensors(AB);
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", folder);
    CHECK(oclora_write_file(path, bytes.data, bytes.size - 1));
    expect_path(folder, OCLORA_FILE_TRUNCATED, "q.lora_B.weight");
    CHECK(oclora_write_file(path, bytes.data, bytes.size));
    oclora_adapter_image *image = NULL;
    oclora_error err = {0};
    CHECK_OK(oclora_adapter_load(&image, oclora_test_env(), folder, 0, &err), &err);
    oclora_adapter_image_destroy(image);
    snprintf(path, sizeof path, "%s#task=0", folder);
    expect_path(path, OCLORA_INVALID_ARGUMENT, "one task only");
    image = NULL;
    CHECK_STATUS(oclora_adapter_load(&image, oclora_test_env(), folder, 9, &err),
                 OCLORA_INVALID_ARGUMENT, &err);
    oclora_bytes_free(&bytes);
    remove_folder(folder);
}

/* A folder with one adapter of several tasks. */
static void test_tasks(void)
{
    static const struct {
        const char *config, *tensors, *task;
        oclora_status status;
        const char *text;
    } cases[] = {
        {KIND("MTL_LORA", ",\"r\":2,\"lora_alpha\":1,\"B_scale\":0"), MTL "q.lora_lambdas:2x2",
         "#task=1", OCLORA_FILE_FORMAT, "B_scale 0 is no temperature"},
        {KIND("MTL_LORA", ",\"r\":2,\"lora_alpha\":1"), MTL "q.lora_lambdas:2x2", "#task=2",
         OCLORA_INVALID_ARGUMENT, "holds 2 tasks"},
        {KIND("MTL_LORA", ",\"r\":2,\"lora_alpha\":1"), MTL "q.lora_lambdas:2x2", "#task=1x",
         OCLORA_INVALID_ARGUMENT, "holds 2 tasks"},
        {KIND("MTL_LORA", ",\"r\":2,\"lora_alpha\":1"), MTL1, "#task=1", OCLORA_INVALID_ARGUMENT,
         "holds 1 tasks"},
        {KIND("MTL_LORA", ",\"r\":2,\"lora_alpha\":1"), MTL1, "#task=0", OCLORA_OK, ""},
        {KIND("MTL_LORA", ",\"r\":2,\"lora_alpha\":1"), MTL1, "", OCLORA_OK, ""},
    };
    char folder[256], path[512];
    oclora_make_folder(folder, sizeof folder, "tasks");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        oclora_bytes bytes = oclora_make_safetensors(cases[i].tensors);
        write_text(folder, "adapter_config.json", cases[i].config);
        snprintf(path, sizeof path, "%s/adapter_model.safetensors", folder);
        CHECK(oclora_write_file(path, bytes.data, bytes.size));
        snprintf(path, sizeof path, "%s%s", folder, cases[i].task);
        expect_path(path, cases[i].status, cases[i].text);
        oclora_bytes_free(&bytes);
    }
    remove_folder(folder);
}

/* Paths at the edge of what the system takes, and a task of a file. */
static void test_paths(void)
{
    enum { ROOM = 4096 };
    char folder[256], path[ROOM + 16];
    oclora_make_folder(folder, sizeof folder, "paths");
    size_t length = strlen(folder);
    memcpy(path, folder, length);
    while (length + 2 < ROOM - 4) {
        memcpy(path + length, "/.", 2);
        length += 2;
    }
    path[length] = '\0';
    expect_path(path, OCLORA_INVALID_ARGUMENT, "is too long");
    memset(path, 'x', ROOM);
    path[ROOM] = '\0';
    expect_path(path, OCLORA_INVALID_ARGUMENT, "is too long");
    write_text(folder, "adapter_config.json", "");
    snprintf(path, sizeof path, "%s/adapter_config.json#task=0", folder);
    expect_path(path, OCLORA_INVALID_ARGUMENT, "without #task");
    path[strlen(path) - strlen("#task=0")] = '\0';
    expect_path(path, OCLORA_FILE_FORMAT, "not a GGUF file");
    remove_folder(folder);
}

/* Sets name sub-folders; a name must not lead out of the set. */
static void test_sets(void)
{
    static const struct {
        const char *config, *task;
        oclora_status status;
        const char *text;
    } cases[] = {
        {"{\"peft_type\":\"DLP_LORA\",\"adapters\":[\"a\",\"b\"]}", "", OCLORA_INVALID_ARGUMENT,
         "#task=0 to #task=1"},
        {"{\"peft_type\":\"DLP_LORA\",\"adapters\":[\"a\",\"b\"]}", "#task=2",
         OCLORA_INVALID_ARGUMENT, "set of 2"},
        {"{\"peft_type\":\"DLP_LORA\",\"adapters\":[]}", "#task=0", OCLORA_FILE_FORMAT,
         "no adapters"},
        {"{\"peft_type\":\"XLORA_STATIC\",\"adapters\":[\"../a\"]}", "#task=0", OCLORA_FILE_FORMAT,
         "plain folder name"},
        {"{\"peft_type\":\"XLORA_STATIC\",\"adapters\":[\"..\"]}", "#task=0", OCLORA_FILE_FORMAT,
         "plain folder name"},
        {"{\"peft_type\":\"XLORA_STATIC\",\"adapters\":[7]}", "#task=0", OCLORA_FILE_FORMAT,
         "plain folder name"},
        {"{\"peft_type\":\"BORA\",\"adapters\":[\"a\"]}", "#task=z", OCLORA_FILE_FORMAT,
         "plain folder name"},
        {"{\"peft_type\":\"BORA\",\"adapters\":[\"a\"]}", "#task=0", OCLORA_FILE_NOT_FOUND, "/a/"},
    };
    char folder[256], path[512];
    oclora_make_folder(folder, sizeof folder, "set");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_text(folder, "adapter_config.json", cases[i].config);
        snprintf(path, sizeof path, "%s%s", folder, cases[i].task);
        expect_path(path, cases[i].status, cases[i].text);
    }
    remove_folder(folder);
}

/* Random damage to both files of a good adapter: an answer, no crash, no leak. */
static void test_mutations(void)
{
    oclora_bytes tensors = oclora_make_safetensors(AB " q.lora_B.bias:4");
    const char *config = LORA(",\"lora_bias\":true,\"rank_pattern\":{\"q\":2}");
    for (int round = 0; round < 3000; round++) {
        oclora_bytes text = {NULL, 0}, data = {NULL, 0};
        oclora_bytes_add(&text, config, strlen(config));
        oclora_bytes_add(&data, tensors.data, tensors.size);
        if (round % 2) text.data[oclora_test_random() % text.size] = (uint8_t)oclora_test_random();
        if (round % 3) data.data[oclora_test_random() % data.size] = (uint8_t)oclora_test_random();
        oclora_adapter_image *image = NULL;
        oclora_error err = {0};
        oclora_adapter_load_memory(&image, oclora_test_env(), (const char *)text.data, text.size,
                                   data.data, data.size, round % 4 == 3 ? 0 : (uint32_t)round % 4,
                                   &err);
        oclora_adapter_image_destroy(image);
        oclora_bytes_free(&text);
        oclora_bytes_free(&data);
    }
    oclora_bytes_free(&tensors);
    CHECK_INT(oclora_test_live_allocations(), 0);
}

int main(void)
{
    static const oclora_test tests[] = {{"storage", test_storage},    {"narrow", test_narrow},
                                        {"folders", test_folders},    {"sets", test_sets},
                                        {"tasks", test_tasks},        {"paths", test_paths},
                                        {"mutations", test_mutations}};
    return oclora_test_main("load", tests, sizeof tests / sizeof tests[0]);
}
