#include "support/files.h"
#include "support/harness.h"

#include "host/file/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static oclora_status parse(const oclora_bytes *bytes, oclora_gguf **out, oclora_error *err)
{
    oclora_map map = {bytes->data, bytes->size, NULL};
    oclora_keep_seed("gguf", NULL, 0, bytes->data, bytes->size);
    return oclora_gguf_parse(out, oclora_test_env(), &map, err);
}

static oclora_bytes make_good(void)
{
    oclora_gguf_maker maker = {0};
    oclora_gguf_add_text(&maker, "general.architecture", "llama");
    oclora_gguf_add_f32(&maker, "adapter.lora.alpha", 3.5f);
    oclora_gguf_add_number(&maker, "small", 0, 7, 1);
    oclora_gguf_add_number(&maker, "negative", 5, 0xffffffffu, 4);
    oclora_gguf_add_number(&maker, "wide", 10, 1ull << 40, 8);
    oclora_gguf_add_matrix(&maker, "blk.0.a", 3, 5);
    oclora_gguf_add_matrix(&maker, "blk.0.b", 4, 2);
    return oclora_gguf_make(&maker);
}

static void test_reads_what_was_written(void)
{
    oclora_bytes bytes = make_good();
    oclora_gguf *file = NULL;
    oclora_error err = {0};
    CHECK_OK(parse(&bytes, &file, &err), &err);
    CHECK_INT(oclora_gguf_tensor_count(file), 2);
    const oclora_file_tensor *b = oclora_gguf_find(file, "blk.0.b");
    CHECK(b != NULL && b->dims[0] == 4 && b->dims[1] == 2 && b->bytes == 32);
    CHECK(oclora_gguf_find(file, "blk.0.c") == NULL);
    CHECK(oclora_gguf_tensor(file, 2) == NULL);
    const char *text;
    size_t length;
    uint64_t number = 0;
    float value = 0.0f;
    CHECK(oclora_gguf_string(file, "general.architecture", &text, &length));
    CHECK(length == 5 && memcmp(text, "llama", 5) == 0);
    CHECK(oclora_gguf_f32(file, "adapter.lora.alpha", &value) && value == 3.5f);
    CHECK(oclora_gguf_u64(file, "small", &number) && number == 7);
    CHECK(oclora_gguf_u64(file, "wide", &number) && number == 1ull << 40);
    CHECK(!oclora_gguf_u64(file, "negative", &number));
    CHECK(!oclora_gguf_u64(file, "adapter.lora.alpha", &number));
    CHECK(!oclora_gguf_f32(file, "small", &value));
    CHECK(!oclora_gguf_string(file, "small", &text, &length));
    CHECK(oclora_gguf_has(file, "small") && !oclora_gguf_has(file, "smaller"));
    oclora_gguf_free(file);
    oclora_bytes_free(&bytes);
}

static void test_every_truncation(void)
{
    oclora_bytes bytes = make_good();
    for (size_t size = 0; size < bytes.size; size++) {
        oclora_bytes cut = {NULL, 0};
        oclora_bytes_add(&cut, bytes.data, size);
        cut.data = realloc(cut.data, size + (size == 0));
        oclora_gguf *file = NULL;
        oclora_error err = {0};
        oclora_status status = parse(&cut, &file, &err);
        CHECK(status == OCLORA_FILE_TRUNCATED || status == OCLORA_FILE_FORMAT);
        CHECK(file == NULL);
        oclora_bytes_free(&cut);
    }
    oclora_bytes_free(&bytes);
}

static void check_reject(oclora_gguf_maker *maker, oclora_status status, const char *text)
{
    oclora_bytes bytes = oclora_gguf_make(maker);
    oclora_gguf *file = NULL;
    oclora_error err = {0};
    CHECK_STATUS(parse(&bytes, &file, &err), status, &err);
    CHECK_CONTAINS(err.text, text);
    oclora_bytes_free(&bytes);
    memset(maker, 0, sizeof *maker);
}

static void test_rejects_tensors(void)
{
    static const struct {
        uint32_t n_dims;
        uint64_t dims[5];
        uint32_t type;
        uint64_t offset;
        oclora_status status;
        const char *text;
    } cases[] = {
        {0, {1}, 0, 0, OCLORA_FILE_FORMAT, "dimensions"},
        {5, {1, 1, 1, 1, 1}, 0, 0, OCLORA_FILE_FORMAT, "dimensions"},
        {2, {4, 0}, 0, 0, OCLORA_FILE_FORMAT, "empty or overflows"},
        {2, {1ull << 40, 1ull << 40}, 0, 0, OCLORA_FILE_FORMAT, "empty or overflows"},
        {3, {1ull << 31, 1ull << 31, 4}, 0, 0, OCLORA_FILE_FORMAT, "empty or overflows"},
        {1, {1ull << 46}, 0, 0, OCLORA_FILE_TRUNCATED, "beyond the file"},
        {1, {31}, 8, 0, OCLORA_FILE_FORMAT, "whole blocks"},
        {1, {4}, 0, 8, OCLORA_FILE_FORMAT, "unaligned"},
        {1, {4}, 0, 32, OCLORA_FILE_TRUNCATED, "beyond the file"},
        {1, {4}, 0, UINT64_MAX - 31, OCLORA_FILE_TRUNCATED, "beyond the file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        oclora_gguf_maker maker = {0};
        oclora_gguf_add_entry(&maker, "t", cases[i].n_dims, cases[i].dims, cases[i].type,
                              cases[i].offset);
        static const uint8_t zeros[16];
        oclora_bytes_add(&maker.data, zeros, sizeof zeros);
        check_reject(&maker, cases[i].status, cases[i].text);
    }
}

static void test_rejects_structure(void)
{
    oclora_gguf_maker maker = {0};
    oclora_gguf_add_matrix(&maker, "t", 2, 4);
    oclora_gguf_add_matrix(&maker, "t", 2, 4);
    check_reject(&maker, OCLORA_FILE_FORMAT, "t appears twice");
    uint64_t dims[1] = {4};
    oclora_gguf_add_matrix(&maker, "a", 2, 8);
    oclora_gguf_add_entry(&maker, "b", 1, dims, 0, 32);
    check_reject(&maker, OCLORA_FILE_FORMAT, "overlaps");
    oclora_gguf_add_matrix(&maker, "", 2, 4);
    check_reject(&maker, OCLORA_FILE_FORMAT, "empty or binary name");
    oclora_gguf_add_text(&maker, "k", "1");
    oclora_gguf_add_text(&maker, "k", "2");
    check_reject(&maker, OCLORA_FILE_FORMAT, "k appears twice");
    oclora_gguf_add_number(&maker, "k", 13, 0, 4);
    check_reject(&maker, OCLORA_FILE_FORMAT, "value type 13");
    oclora_gguf_add_number(&maker, "general.alignment", 4, 24, 4);
    check_reject(&maker, OCLORA_FILE_FORMAT, "alignment 24");
    oclora_gguf_add_number(&maker, "general.alignment", 4, 1u << 20, 4);
    check_reject(&maker, OCLORA_FILE_FORMAT, "alignment");
    maker.n_keys = UINT64_MAX;
    check_reject(&maker, OCLORA_FILE_TRUNCATED, "metadata");
    maker.n_tensors = UINT64_MAX / 2;
    check_reject(&maker, OCLORA_FILE_TRUNCATED, "directory");
}

static void test_arrays(void)
{
    oclora_gguf_maker maker = {0};
    oclora_gguf_add_number(&maker, "tokens", 9, 8, 4); /* two strings follow */
    oclora_bytes_number(&maker.keys, 2, 8);
    oclora_bytes_number(&maker.keys, 1, 8);
    oclora_bytes_add(&maker.keys, "a", 1);
    oclora_bytes_number(&maker.keys, 0, 8);
    oclora_gguf_add_text(&maker, "after", "x");
    oclora_bytes bytes = oclora_gguf_make(&maker);
    oclora_gguf *file = NULL;
    oclora_error err = {0};
    CHECK_OK(parse(&bytes, &file, &err), &err);
    CHECK(oclora_gguf_has(file, "after"));
    oclora_gguf_free(file);
    oclora_bytes_free(&bytes);
    memset(&maker, 0, sizeof maker);
    oclora_gguf_add_number(&maker, "nested", 9, 9, 4);
    oclora_bytes_number(&maker.keys, 1, 8);
    check_reject(&maker, OCLORA_FILE_FORMAT, "array of type 9");
    oclora_gguf_add_number(&maker, "huge", 9, 10, 4);
    oclora_bytes_number(&maker.keys, UINT64_MAX / 4, 8);
    check_reject(&maker, OCLORA_FILE_TRUNCATED, "metadata");
}

static void test_header(void)
{
    oclora_bytes bytes = make_good();
    oclora_gguf *file = NULL;
    oclora_error err = {0};
    bytes.data[4] = 1;
    CHECK_STATUS(parse(&bytes, &file, &err), OCLORA_FILE_FORMAT, &err);
    CHECK_CONTAINS(err.text, "version 1");
    bytes.data[4] = 2; /* the same layout */
    CHECK_OK(parse(&bytes, &file, &err), &err);
    oclora_gguf_free(file);
    bytes.data[0] = 'X';
    CHECK_STATUS(parse(&bytes, &file, &err), OCLORA_FILE_FORMAT, &err);
    oclora_bytes_free(&bytes);
}

static void test_unknown_type_is_listed(void)
{
    oclora_gguf_maker maker = {0};
    uint64_t dims[1] = {4};
    oclora_gguf_add_entry(&maker, "future", 1, dims, 99, 0);
    oclora_bytes_number(&maker.data, 0, 8);
    oclora_bytes bytes = oclora_gguf_make(&maker);
    oclora_gguf *file = NULL;
    oclora_error err = {0};
    CHECK_OK(parse(&bytes, &file, &err), &err);
    const oclora_file_tensor *tensor = oclora_gguf_find(file, "future");
    CHECK(tensor != NULL && tensor->type == OCLORA_TYPE_COUNT && tensor->data == NULL);
    oclora_gguf_free(file);
    oclora_bytes_free(&bytes);
}

static void test_mutations(void)
{
    oclora_bytes bytes = make_good();
    for (int round = 0; round < 5000; round++) {
        oclora_bytes copy = {NULL, 0};
        oclora_bytes_add(&copy, bytes.data, bytes.size);
        for (uint32_t n = oclora_test_random() % 4 + 1; n > 0; n--)
            copy.data[oclora_test_random() % copy.size] =
                (uint8_t)(oclora_test_random() % 3 == 0 ? 0xff : oclora_test_random());
        oclora_gguf *file = NULL;
        oclora_error err = {0};
        if (parse(&copy, &file, &err) == OCLORA_OK) oclora_gguf_free(file);
        oclora_bytes_free(&copy);
    }
    oclora_bytes_free(&bytes);
    CHECK_INT(oclora_test_live_allocations(), 0);
}

int main(void)
{
    static const oclora_test tests[] = {{"reads what was written", test_reads_what_was_written},
                                        {"every truncation", test_every_truncation},
                                        {"rejects tensors", test_rejects_tensors},
                                        {"rejects structure", test_rejects_structure},
                                        {"arrays", test_arrays},
                                        {"header", test_header},
                                        {"unknown type is listed", test_unknown_type_is_listed},
                                        {"mutations", test_mutations}};
    return oclora_test_main("gguf", tests, sizeof tests / sizeof tests[0]);
}
