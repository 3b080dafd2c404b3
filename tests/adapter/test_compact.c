/* Compact files: what is read from one, and what of it is refused by name. (That every kind comes
 * through unchanged is tested by tests/kinds/test_convert.py.) */
#include "support/files.h"
#include "support/harness.h"

#include "host/adapter/compact.h"
#include "host/adapter/load.h"

#include <stdlib.h>
#include <string.h>

enum { ROOM = 8192 };

/* `text` with its first `from` replaced; NULL changes nothing. */
static void replace(char *out, const char *text, const char *from, const char *to)
{
    const char *at = from != NULL ? strstr(text, from) : NULL;
    if (from != NULL && !CHECK(at != NULL)) fprintf(stderr, "  no %s\n", from);
    if (at == NULL) {
        snprintf(out, ROOM, "%s", text);
        return;
    }
    snprintf(out, ROOM, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
}

static oclora_status load(const uint8_t *file, size_t size, oclora_adapter_image **out,
                          oclora_error *err)
{
    oclora_map map = {file, size, NULL};
    oclora_keep_seed("compact", NULL, 0, file, size);
    OCLORA_TRY(oclora_image_create(out, oclora_test_env(), err));
    return oclora_load_compact(*out, &map, err);
}

static void expect(const char *from, const char *to, const char *tensor_from, const char *tensor_to,
                   oclora_status status, const char *text)
{
    char head[ROOM], tensors[ROOM];
    oclora_adapter_image *image = NULL;
    oclora_error err = {0};
    uint8_t *file = aligned_alloc(64, 2 * ROOM);
    replace(head, oclora_good_compact_head, from, to);
    replace(tensors, oclora_good_compact_tensors, tensor_from, tensor_to);
    const size_t size = oclora_make_compact(file, head, tensors);
    if (!CHECK_STATUS(load(file, size, &image, &err), status, &err) ||
        (text != NULL && !CHECK_CONTAINS(err.text, text)))
        fprintf(stderr, "  %s -> %s\n", from != NULL ? from : tensor_from,
                from != NULL ? to : tensor_to);
    oclora_adapter_image_destroy(image);
    free(file);
}

static void test_reads(void)
{
    oclora_adapter_image *image = NULL;
    oclora_error err = {0};
    uint8_t *file = aligned_alloc(64, 2 * ROOM);
    const size_t size =
        oclora_make_compact(file, oclora_good_compact_head, oclora_good_compact_tensors);
    CHECK_OK(load(file, size, &image, &err), &err);
    const oclora_module *q = &image->modules[0];
    CHECK_INT(image->kind, OCLORA_KIND_METEORA);
    CHECK(strcmp(q->name, "q") == 0 && q->rank == 4 && q->d_in == 8 && q->d_out == 5);
    CHECK((const uint8_t *)q->a.data > file && (const uint8_t *)q->a.data < file + size);
    CHECK(q->scale[3] == 0.5f && q->router.temperature == 0.5f && q->router.gate.rows == 2);
    /* Narrowing and renaming never write into the file. */
    uint8_t *copy = malloc(size);
    memcpy(copy, file, size);
    CHECK_OK(oclora_adapter_narrow(image, OCLORA_STORE_F16, &err), &err);
    CHECK_INT(image->modules[0].a.type, OCLORA_TYPE_F16);
    CHECK(memcmp(copy, file, size) == 0);
    oclora_adapter_image_destroy(image);
    free(copy);
    free(file);
}

static void test_rejects(void)
{
    static const struct {
        const char *from, *to;
        oclora_status status;
        const char *text;
    } heads[] = {
        {"\"version\":1", "\"version\":2", OCLORA_NOT_SUPPORTED, "version 2"},
        {"\"version\":1,", "", OCLORA_NOT_SUPPORTED, "version 0"},
        {"{\"version\"", "[\"version\"", OCLORA_FILE_FORMAT, "not JSON"},
        {"\"meteora\"", "\"loha\"", OCLORA_UNKNOWN_KIND, "loha"},
        {"\"peft\"", "\"onnx\"", OCLORA_FILE_FORMAT, "naming"},
        {"\"f32\"", "\"q4_0\"", OCLORA_UNSUPPORTED_DTYPE, "q4_0"},
        {"\"f32\"", "\"f16\"", OCLORA_SHAPE_MISMATCH, "factor.0"},
        {"\"rows\":4", "\"rows\":8", OCLORA_SHAPE_MISMATCH, "factor.0"},
        {"\"rows\":4", "\"rows\":-4", OCLORA_FILE_FORMAT, "rows"},
        {"\"rows\":4", "\"rows\":4.5", OCLORA_FILE_FORMAT, "rows"},
        {"\"cols\":8", "\"cols\":4294967304", OCLORA_FILE_FORMAT, "cols"},
        {"\"a\":0", "\"a\":3", OCLORA_FILE_FORMAT, "factor 3 of 3"},
        {"\"a\":0", "\"a\":2", OCLORA_RANK_MISMATCH, "module q: a has 2 rows"},
        {"\"a\":0,", "", OCLORA_MISSING_TENSOR, "a names no factor"},
        {"\"b\":1", "\"b\":0", OCLORA_SHAPE_MISMATCH, "b has 8 columns"},
        {"\"rank\":4", "\"rank\":2", OCLORA_RANK_MISMATCH, "4 rows"},
        {"\"rank\":4", "\"rank\":5000", OCLORA_FILE_FORMAT, "rank"},
        {"\"rank\":4,", "", OCLORA_FILE_FORMAT, "router"},
        {"\"d_in\":8", "\"d_in\":9", OCLORA_SHAPE_MISMATCH, "9 are needed"},
        {"\"d_out\":5", "\"d_out\":6", OCLORA_SHAPE_MISMATCH, "6 are needed"},
        {"\"d_out\":5,", "", OCLORA_SHAPE_MISMATCH, "outputs"},
        {"\"group\":1", "\"group\":3", OCLORA_SHAPE_MISMATCH, "groups of 3"},
        {"\"group\":1", "\"group\":0", OCLORA_SHAPE_MISMATCH, "groups of 0"},
        {"\"group\":1", "\"group\":1,\"n_mul\":2", OCLORA_FILE_FORMAT, "router"},
        {"\"kind\":1", "\"kind\":2", OCLORA_RANK_MISMATCH, "2 experts"},
        {"\"kind\":1", "\"kind\":3", OCLORA_FILE_FORMAT, "kind"},
        {"\"n_experts\":2", "\"n_experts\":3", OCLORA_RANK_MISMATCH, "3 experts"},
        {"\"n_experts\":2", "\"n_experts\":4", OCLORA_RANK_MISMATCH, "gate has 2 rows"},
        {"\"top_k\":1", "\"top_k\":3", OCLORA_FILE_FORMAT, "router"},
        {"\"gate\":2", "\"gate\":0", OCLORA_RANK_MISMATCH, "gate has 4 rows"},
        {"\"name\":\"q\"", "\"name\":\"\"", OCLORA_FILE_FORMAT, "no name"},
        {"\"gate\":2}}", "\"gate\":2}},{\"name\":\"r\",\"group\":1}", OCLORA_MISSING_TENSOR,
         "holds nothing"},
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        expect(heads[i].from, heads[i].to, NULL, NULL, heads[i].status, heads[i].text);
    expect(NULL, NULL, "vector.0.scale", "vector.0.scales", OCLORA_MISSING_TENSOR, "scale");
    expect(NULL, NULL, "vector.0.router", "vector.1.router", OCLORA_MISSING_TENSOR, "router");
    expect(NULL, NULL, "factor.2", "factor.3", OCLORA_MISSING_TENSOR, "factor.2");
    expect(NULL, NULL, "pad.0", "more.0", OCLORA_FILE_FORMAT, "1 tensors of the file");
    expect(NULL, NULL, "\"shape\":[4],", "\"shape\":[2,2],", OCLORA_OK, NULL);
    expect(NULL, NULL, "[208,256]", "[208,255]", OCLORA_FILE_FORMAT, "pad.0");
    expect(NULL, NULL,
           "[4,5],\"data_offsets\":[128,208]},\"pad.0\":{\"dtype\":\"U8\",\"shape\":[48],"
           "\"data_offsets\":[208,256]}",
           "[4,5],\"data_offsets\":[132,212]},\"pad.0\":{\"dtype\":\"U8\",\"shape\":[4],"
           "\"data_offsets\":[128,132]},\"pad.1\":{\"dtype\":\"U8\",\"shape\":[44],"
           "\"data_offsets\":[212,256]}",
           OCLORA_FILE_FORMAT, "multiple of 64");
}

static void test_values(void)
{
    oclora_error err = {0};
    uint8_t *file = aligned_alloc(64, 2 * ROOM);
    const size_t size =
        oclora_make_compact(file, oclora_good_compact_head, oclora_good_compact_tensors);
    const uint32_t bad[] = {0x7fc00000u, 0xff800000u};
    const size_t places[] = {0, 127, 256, 335, 340};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        oclora_adapter_image *image = NULL;
        uint8_t *at = file + size - OCLORA_COMPACT_DATA + places[i] / 4 * 4;
        uint8_t kept[4];
        memcpy(kept, at, 4);
        memcpy(at, &bad[i % 2], 4);
        CHECK_STATUS(load(file, size, &image, &err), OCLORA_NOT_FINITE, &err);
        oclora_adapter_image_destroy(image);
        memcpy(at, kept, 4);
    }
    free(file);
}

/* Any byte of the header may be any other: refused or served, never worse. */
static void test_mutations(void)
{
    uint8_t *file = aligned_alloc(64, 2 * ROOM), *copy = aligned_alloc(64, 2 * ROOM);
    const size_t size =
        oclora_make_compact(file, oclora_good_compact_head, oclora_good_compact_tensors);
    uint64_t state = 1;
    for (int turn = 0; turn < 4000; turn++) {
        oclora_adapter_image *image = NULL;
        oclora_error err = {0};
        memcpy(copy, file, size);
        for (int n = 0; n <= turn % 3; n++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            copy[8 + (state >> 33) % (size - 8)] =
                (uint8_t) "0123456789\"{}[],:ab-"[state >> 20 & 15];
        }
        if (load(copy, turn % 7 == 0 ? size / 2 : size, &image, &err) == OCLORA_OK)
            (void)oclora_adapter_narrow(image, OCLORA_STORE_Q8_0, &err);
        oclora_adapter_image_destroy(image);
    }
    free(copy);
    free(file);
}

int main(void)
{
    static const oclora_test tests[] = {{"reads", test_reads},
                                        {"rejects", test_rejects},
                                        {"values", test_values},
                                        {"mutations", test_mutations}};
    return oclora_test_main("adapter_compact", tests, sizeof tests / sizeof *tests);
}
