#include "support/files.h"
#include "support/harness.h"

#include "host/file/safetensors.h"

#include <stdlib.h>
#include <string.h>

static oclora_status parse(const oclora_bytes *bytes, oclora_safetensors *out, oclora_error *err)
{
    oclora_map map = {bytes->data, bytes->size, NULL};
    oclora_keep_seed("safetensors", NULL, 0, bytes->data, bytes->size);
    return oclora_safetensors_parse(out, oclora_test_env(), &map, err);
}

static void test_reads_what_was_written(void)
{
    oclora_bytes bytes = oclora_make_safetensors("/a:2x3 /b:5@f16 /c: /d:0x4 /e:2x2@bf16");
    oclora_safetensors file;
    oclora_error err = {0};
    CHECK_OK(parse(&bytes, &file, &err), &err);
    CHECK_INT(file.count, 5);
    const oclora_file_tensor *b = oclora_safetensors_find(&file, "b");
    CHECK(b != NULL && b->type == OCLORA_TYPE_F16 && b->n_dims == 1 && b->dims[0] == 5);
    CHECK_INT(b->bytes, 10);
    const oclora_file_tensor *c = oclora_safetensors_find(&file, "c");
    CHECK(c != NULL && c->n_dims == 0 && c->bytes == 4);
    CHECK(oclora_safetensors_find(&file, "z") == NULL);
    oclora_safetensors_free(&file);
    oclora_bytes_free(&bytes);
}

static void test_metadata(void)
{
    oclora_bytes bytes = oclora_make_raw_safetensors("{\"__metadata__\":{\"format\":\"pt\"}}", 0);
    oclora_safetensors file;
    oclora_error err = {0};
    CHECK_OK(parse(&bytes, &file, &err), &err);
    CHECK_INT(file.count, 0);
    CHECK_CONTAINS(file.metadata_json, "pt");
    oclora_safetensors_free(&file);
    oclora_bytes_free(&bytes);
}

#define ONE(fields) "{\"t\":{" fields "}}"
#define OF(shape, begin, end)                                                                      \
    "\"dtype\":\"F32\",\"shape\":[" shape "],\"data_offsets\":[" begin "," end "]"

static const struct {
    const char *header;
    size_t data;
    oclora_status status;
    const char *text;
} rejects[] = {
    {"[]", 0, OCLORA_FILE_FORMAT, "not a safetensors directory"},
    {"{", 0, OCLORA_FILE_FORMAT, "not JSON"},
    {"{} x", 0, OCLORA_FILE_FORMAT, "not JSON"},
    {"{\"t\":1}", 0, OCLORA_FILE_FORMAT, "t is not an object"},
    {"{\"t\":{\"shape\":[]}}", 0, OCLORA_FILE_FORMAT, "no dtype"},
    {"{\"__metadata__\":3}", 0, OCLORA_FILE_FORMAT, "__metadata__"},
    {ONE("\"dtype\":\"F8_E4M3\",\"shape\":[1],\"data_offsets\":[0,1]"), 1, OCLORA_UNSUPPORTED_DTYPE,
     "F8_E4M3"},
    {ONE("\"dtype\":\"F32\",\"shape\":2,\"data_offsets\":[0,8]"), 8, OCLORA_FILE_FORMAT, "shape"},
    {ONE(OF("1,1,1,1,1", "0", "4")), 4, OCLORA_FILE_FORMAT, "shape"},
    {ONE(OF("-1", "0", "4")), 4, OCLORA_FILE_FORMAT, "no size"},
    {ONE(OF("1.5", "0", "4")), 4, OCLORA_FILE_FORMAT, "no size"},
    {ONE(OF("4611686018427387904,2", "0", "4")), 4, OCLORA_FILE_FORMAT, "overflows"},
    {ONE(OF("2147483648,2147483648", "0", "4")), 4, OCLORA_FILE_FORMAT, "overflows"},
    {ONE(OF("1", "0", "8")), 8, OCLORA_FILE_FORMAT, "need 4"},
    {ONE(OF("2", "4", "0")), 8, OCLORA_FILE_FORMAT, "data_offsets"},
    {ONE(OF("1", "-4", "0")), 8, OCLORA_FILE_FORMAT, "data_offsets"},
    {ONE("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]"), 4, OCLORA_FILE_FORMAT,
     "data_offsets"},
    {ONE(OF("2", "0", "8")), 4, OCLORA_FILE_TRUNCATED, "the file has 4"},
    {ONE(OF("1", "0", "4")), 8, OCLORA_FILE_FORMAT, "last tensor"},
    {ONE(OF("1", "4", "8")), 8, OCLORA_FILE_FORMAT, "hole or overlap"},
    {"{\"a\":{" OF("2", "0", "8") "},\"b\":{" OF("2", "4", "12") "}}", 12, OCLORA_FILE_FORMAT,
     "hole or overlap"},
    {"{\"a\":{" OF("1", "0", "4") "},\"a\":{" OF("1", "4", "8") "}}", 8, OCLORA_FILE_FORMAT,
     "not JSON"},
    {"{\"\\u0000\":{" OF("1", "0", "4") "}}", 4, OCLORA_FILE_FORMAT, "not JSON"},
    {"{\"\xff\":{" OF("1", "0", "4") "}}", 4, OCLORA_FILE_FORMAT, "not JSON"},
};

static void test_rejects(void)
{
    for (size_t i = 0; i < sizeof rejects / sizeof rejects[0]; i++) {
        oclora_bytes bytes = oclora_make_raw_safetensors(rejects[i].header, rejects[i].data);
        oclora_safetensors file = {0};
        oclora_error err = {0};
        CHECK_STATUS(parse(&bytes, &file, &err), rejects[i].status, &err);
        CHECK_CONTAINS(err.text, rejects[i].text);
        CHECK(file.tensors == NULL);
        oclora_bytes_free(&bytes);
    }
}

static void test_lengths(void)
{
    static const struct {
        uint64_t announced;
        size_t size;
        oclora_status status;
        const char *text;
    } cases[] = {
        {0, 0, OCLORA_FILE_TRUNCATED, "0 bytes are no safetensors file"},
        {2, 7, OCLORA_FILE_TRUNCATED, "7 bytes are no safetensors file"},
        {3, 10, OCLORA_FILE_TRUNCATED, "announces 3 bytes, the file has 2"},
        {UINT64_MAX, 10, OCLORA_FILE_FORMAT, "not a safetensors file"},
        {100000001, 10, OCLORA_FILE_FORMAT, "not a safetensors file"},
        {0, 10, OCLORA_FILE_FORMAT, "not a safetensors directory"},
        {1, 10, OCLORA_FILE_FORMAT, "not JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        oclora_bytes bytes = {NULL, 0};
        oclora_bytes_number(&bytes, cases[i].announced, 8);
        oclora_bytes_add(&bytes, "{}", 2);
        bytes.size = cases[i].size;
        oclora_safetensors file = {0};
        oclora_error err = {0};
        CHECK_STATUS(parse(&bytes, &file, &err), cases[i].status, &err);
        CHECK_CONTAINS(err.text, cases[i].text);
        oclora_bytes_free(&bytes);
    }
}

/* Every prefix of a good file is refused. */
static void test_every_truncation(void)
{
    oclora_bytes bytes = oclora_make_safetensors("/a:2x3 /b:5@f16");
    for (size_t size = 0; size < bytes.size; size++) {
        oclora_bytes cut = {NULL, 0}; /* exact allocation, so that a sanitizer sees over-reads */
        oclora_bytes_add(&cut, bytes.data, size);
        cut.data = realloc(cut.data, size + (size == 0));
        oclora_safetensors file = {0};
        oclora_error err = {0};
        oclora_status status = parse(&cut, &file, &err);
        CHECK(status == OCLORA_FILE_TRUNCATED || status == OCLORA_FILE_FORMAT);
        oclora_bytes_free(&cut);
    }
    oclora_bytes_free(&bytes);
}

/* A dense header would take many times its size as a tree. */
static void test_dense_header(void)
{
    size_t size = 4000000;
    char *header = malloc(size + 1);
    memset(header, '[', size);
    for (size_t i = 0; i < size; i += 2) memcpy(header + i, "0,", 2);
    memcpy(header, "{\"t\":[", 6);
    header[size] = '\0';
    oclora_bytes bytes = oclora_make_raw_safetensors(header, 0);
    oclora_safetensors file = {0};
    oclora_error err = {0};
    CHECK_STATUS(parse(&bytes, &file, &err), OCLORA_FILE_FORMAT, &err);
    CHECK_CONTAINS(err.text, "directory");
    oclora_bytes_free(&bytes);
    free(header);
}

/* Random bytes flipped in a good file: any answer but a crash, and never a leak. */
static void test_mutations(void)
{
    oclora_bytes bytes = oclora_make_safetensors("/a:2x3 /b:5@f16 /c:1x7@bf16");
    for (int round = 0; round < 3000; round++) {
        oclora_bytes copy = {NULL, 0};
        oclora_bytes_add(&copy, bytes.data, bytes.size);
        for (uint32_t n = oclora_test_random() % 4 + 1; n > 0; n--)
            copy.data[oclora_test_random() % copy.size] = (uint8_t)oclora_test_random();
        oclora_safetensors file = {0};
        oclora_error err = {0};
        if (parse(&copy, &file, &err) == OCLORA_OK) oclora_safetensors_free(&file);
        oclora_bytes_free(&copy);
    }
    oclora_bytes_free(&bytes);
    CHECK_INT(oclora_test_live_allocations(), 0);
}

int main(void)
{
    static const oclora_test tests[] = {{"reads what was written", test_reads_what_was_written},
                                        {"metadata", test_metadata},
                                        {"rejects", test_rejects},
                                        {"lengths", test_lengths},
                                        {"every truncation", test_every_truncation},
                                        {"dense header", test_dense_header},
                                        {"mutations", test_mutations}};
    return oclora_test_main("safetensors", tests, sizeof tests / sizeof tests[0]);
}
