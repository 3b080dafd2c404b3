/* Compact files: what is read from one, and what of it is refused by name. (That every kind comes
 * through unchanged is tested by tests/kinds/test_convert.py.) */
#include "support/files.h"
#include "support/harness.h"

#include "host/adapter/compact.h"
#include "host/adapter/load.h"

#include <jansson.h>
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

static bool expect_file(const char *head, const char *tensors, oclora_status status,
                        const char *text)
{
    oclora_adapter_image *image = NULL;
    oclora_error err = {0};
    uint8_t *file = aligned_alloc(64, 2 * ROOM);
    const size_t size = oclora_make_compact(file, head, tensors);
    const bool right = CHECK_STATUS(load(file, size, &image, &err), status, &err) &&
                       (text == NULL || CHECK_CONTAINS(err.text, text));
    oclora_adapter_image_destroy(image);
    free(file);
    return right;
}

static void expect(const char *from, const char *to, const char *tensor_from, const char *tensor_to,
                   oclora_status status, const char *text)
{
    char head[ROOM], tensors[ROOM];
    replace(head, oclora_good_compact_head, from, to);
    replace(tensors, oclora_good_compact_tensors, tensor_from, tensor_to);
    if (!expect_file(head, tensors, status, text))
        fprintf(stderr, "  %s -> %s\n", from != NULL ? from : tensor_from,
                from != NULL ? to : tensor_to);
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
        {"\"factors\"", "\"factor\"", OCLORA_FILE_FORMAT, "no list of factors"},
        {"\"modules\"", "\"module\"", OCLORA_FILE_FORMAT, "no list of modules"},
        {"\"name\":\"q\"", "\"name\":\"\"", OCLORA_FILE_FORMAT, "no name"},
        {"\"gate\":2}}", "\"gate\":2}},{\"name\":\"r\",\"group\":1}", OCLORA_MISSING_TENSOR,
         "holds nothing"},
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        expect(heads[i].from, heads[i].to, NULL, NULL, heads[i].status, heads[i].text);
    expect(NULL, NULL, "vector.0.scale", "vector.0.scales", OCLORA_MISSING_TENSOR, "scale");
    expect(NULL, NULL, "vector.0.router", "vector.1.router", OCLORA_MISSING_TENSOR, "router");
    expect(NULL, NULL, "factor.2", "factor.3", OCLORA_MISSING_TENSOR, "factor.2");
    expect(NULL, NULL, "scale\":{\"dtype\":\"F32\",\"shape\":[4]",
           "scale\":{\"dtype\":\"F16\",\"shape\":[8]", OCLORA_UNSUPPORTED_DTYPE, "is not f32");
    expect(NULL, NULL, "scale\":{\"dtype\":\"F32\",\"shape\":[4]",
           "scale\":{\"dtype\":\"F32\",\"shape\":[2,1,2]", OCLORA_OK, NULL);
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

/* The directory of tensors that lie one behind the other, from "NAME:2x3 NAME2:4@U8" (F32 else). */
static void place(char *out, const char *tensors)
{
    size_t used = (size_t)snprintf(out, ROOM, "{"), offset = 0;
    char name[64], shape[32], type[8];
    int read = 0;
    for (; sscanf(tensors, " %63[^:]:%31[0-9x]%n", name, shape, &read) == 2; tensors += read) {
        size_t size = 1;
        tensors += read;
        read = 0;
        if (sscanf(tensors, "@%7[A-Z0-9]%n", type, &read) != 1) strcpy(type, "F32");
        for (char *at = shape; *at != '\0'; at += *at == ',') {
            size *= strtoul(at, &at, 10);
            if (*at == 'x') *at = ',';
        }
        size *= strcmp(type, "F32") == 0 ? 4 : 1;
        used += (size_t)snprintf(out + used, ROOM - used,
                                 "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],"
                                 "\"data_offsets\":[%zu,%zu]}",
                                 offset != 0 ? "," : "", name, type, shape, offset, offset + size);
        offset += size;
    }
    snprintf(out + used, ROOM - used, "}");
    CHECK_INT(offset, OCLORA_COMPACT_DATA);
}

#define HEAD(factors, more)                                                                        \
    "{\"version\":1,\"kind\":\"lora\",\"naming\":\"peft\",\"factors\":[" factors                   \
    "],\"modules\":[{\"name\":\"q\",\"d_in\":4,\"d_out\":3," more "}]}"
#define FACTOR(type, rows, cols) "{\"type\":\"" type "\",\"rows\":" rows ",\"cols\":" cols "}"
#define PAIR                     FACTOR("f32", "2", "4") "," FACTOR("f32", "2", "3") "," FACTOR("f32", "2", "4")
#define RANK2                    "\"rank\":2,\"group\":1,\"a\":0,\"b\":1"
#define ROUTER                   ",\"router\":{\"kind\":1,\"n_experts\":2,\"top_k\":1,\"gate\":2}"
#define PAIRS                    ",\"router\":{\"kind\":2,\"n_experts\":2,\"top_k\":1,\"gate\":2,\"gate_b\":2}"
/* A pair of rank 2 from 4 inputs to 3 outputs, a gate, and what may lie beside them. */
#define SMALL(router, core, vector, mul)                                                           \
    "factor.0:2x4 pad.0:32@U8 factor.1:2x3 pad.1:40@U8 factor.2:2x4 vector.0.scale:2 " router      \
    ":2 " core ":2x2 " vector ":3 " mul ":1x3 pad.9:128@U8"
#define NOTHING "pad.0:344@U8"

/* Parts that do not go together, and headers that are none. */
static void test_parts(void)
{
    static const struct {
        const char *head, *tensors;
        oclora_status status;
        const char *text;
    } cases[] = {
        {HEAD(PAIR, RANK2 ROUTER), SMALL("vector.0.router", "vector.0.core", "pad.3", "pad.4"),
         OCLORA_FILE_FORMAT, "a router and a core together"},
        {HEAD(PAIR, RANK2 ROUTER), SMALL("vector.0.router", "pad.2", "vector.0.magnitude", "pad.4"),
         OCLORA_FILE_FORMAT, "a magnitude does not fit"},
        {HEAD(PAIR, RANK2 ",\"n_mul\":1"), SMALL("pad.5", "pad.2", "pad.3", "vector.0.mul_u"),
         OCLORA_FILE_FORMAT, "n_mul does not fit"},
        {HEAD("", "\"group\":1,\"n_mul\":1"), NOTHING, OCLORA_FILE_FORMAT, "n_mul does not fit"},
        {HEAD("", "\"group\":1"), "vector.0.scale:2 pad.0:336@U8", OCLORA_SHAPE_MISMATCH,
         "2 values where 0"},
        {HEAD(PAIR, "\"group\":1"), NOTHING, OCLORA_MISSING_TENSOR, "factor.0"},
        {"[1]", NOTHING, OCLORA_FILE_FORMAT, "is no object"},
        /* All values are 0.5: of rows of q8_0, 34 bytes each, the second has a scale of 1.75. */
        {HEAD(FACTOR("q8_0", "2", "4") "," FACTOR("f32", "2", "3"), RANK2),
         "factor.0:2x34@I8 pad.0:60@U8 factor.1:2x3 vector.0.scale:2 pad.1:184@U8",
         OCLORA_FILE_FORMAT, "factor.0: a row is not padded with zeros"},
        {HEAD(FACTOR("f32", "2", "4") "," FACTOR("f32", "2", "3") "," FACTOR("q8_0", "1", "4"),
              RANK2 ",\"router\":{\"kind\":1,\"n_experts\":1,\"top_k\":1,\"gate\":2}"),
         "factor.0:2x4 pad.0:32@U8 factor.1:2x3 pad.1:40@U8 factor.2:1x34@I8 pad.2:182@U8",
         OCLORA_UNSUPPORTED_DTYPE, "gate is never rounded"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char tensors[ROOM];
        place(tensors, cases[i].tensors);
        if (!expect_file(cases[i].head, tensors, cases[i].status, cases[i].text))
            fprintf(stderr, "  case %zu\n", i);
    }
}

/* --- every number and text of a file's headers another --- */

static size_t loaded, refused;

static void judge(const json_t *head, const json_t *tensors)
{
    oclora_adapter_image *image = NULL;
    oclora_error err = {0};
    uint8_t *file = aligned_alloc(64, 2 * ROOM);
    char *text = json_dumps(head, JSON_COMPACT), *directory = json_dumps(tensors, JSON_COMPACT);
    const size_t size = oclora_make_compact(file, text, directory);
    const oclora_status status = load(file, size, &image, &err);
    if (status == OCLORA_OK) (void)oclora_adapter_narrow(image, OCLORA_STORE_Q8_0, &err);
    oclora_adapter_image_destroy(image);
    *(status == OCLORA_OK ? &loaded : &refused) += 1;
    if (!CHECK(status == OCLORA_OK || strlen(err.text) > 10) ||
        !CHECK_INT(oclora_test_live_allocations(), 0))
        fprintf(stderr, "  %s\n  %s\n", text, directory);
    free(text);
    free(directory);
    free(file);
}

static void vary(json_t *node, const json_t *head, const json_t *tensors)
{
    static const char *const values[] = {"null", "0",   "1",   "2",  "3",  "4",     "5",
                                         "-1",   "1.5", "257", "[]", "{}", "\"x\"", "1048577"};
    void *next;
    const char *key;
    json_t *value;
    json_object_foreach_safe(node, next, key, value)
    {
        json_t *kept = json_incref(value);
        vary(kept, head, tensors);
        for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
            json_object_set_new(node, key, json_loads(values[i], JSON_DECODE_ANY, NULL));
            judge(head, tensors);
        }
        json_object_set_new(node, key, kept);
    }
    for (size_t n = 0; n < json_array_size(node); n++) {
        json_t *kept = json_incref(json_array_get(node, n));
        vary(kept, head, tensors);
        for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
            json_array_set_new(node, n, json_loads(values[i], JSON_DECODE_ANY, NULL));
            judge(head, tensors);
        }
        json_array_set_new(node, n, kept);
    }
}

static void test_variations(void)
{
    static const char *const files[][2] = {
        {HEAD(PAIR, RANK2 ROUTER), SMALL("vector.0.router", "pad.2", "pad.3", "pad.4")},
        {HEAD(PAIR, RANK2 PAIRS), SMALL("vector.0.router", "pad.2", "pad.3", "pad.4")},
        {HEAD(PAIR, RANK2), SMALL("pad.5", "vector.0.core", "vector.0.beta", "pad.4")},
        {HEAD(PAIR, RANK2), SMALL("pad.5", "pad.2", "vector.0.magnitude", "pad.4")},
        {HEAD("", "\"group\":1,\"n_mul\":1,\"scales_bias\":true"),
         "vector.0.mul_u:1x3 vector.0.mul_v:1x4 pad.0:316@U8"},
        {HEAD("", "\"group\":1"), "vector.0.u:3 vector.0.c:3 pad.0:320@U8"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const size_t before = loaded;
        char text[ROOM];
        place(text, files[i][1]);
        json_t *head = json_loads(files[i][0], 0, NULL), *tensors = json_loads(text, 0, NULL);
        if (!CHECK(head != NULL && tensors != NULL)) return;
        judge(head, tensors);
        if (!CHECK_INT(loaded - before, 1)) fprintf(stderr, "  file %zu is not good\n", i);
        vary(head, head, tensors);
        vary(tensors, head, tensors);
        json_decref(head);
        json_decref(tensors);
    }
    printf("  %zu variations refused, %zu load\n", refused, loaded);
    CHECK(refused > 2000 && loaded > 100);
}

/* A safetensors file without our metadata, and one whose router cannot divide by its temperature.
 */
static void test_other_files(void)
{
    oclora_adapter_image *image = NULL;
    oclora_error err = {0};
    uint8_t *file = aligned_alloc(64, 2 * ROOM);
    oclora_bytes plain = oclora_make_safetensors("q.lora_A.weight:2x4");
    CHECK_STATUS(load(plain.data, plain.size, &image, &err), OCLORA_FILE_FORMAT, &err);
    CHECK_CONTAINS(err.text, "no compact adapter");
    oclora_adapter_image_destroy(image);
    image = NULL;
    const size_t size =
        oclora_make_compact(file, oclora_good_compact_head, oclora_good_compact_tensors);
    memset(file + size - OCLORA_COMPACT_DATA + 336, 0, 4);
    CHECK_STATUS(load(file, size, &image, &err), OCLORA_FILE_FORMAT, &err);
    CHECK_CONTAINS(err.text, "temperature");
    oclora_adapter_image_destroy(image);
    oclora_bytes_free(&plain);
    free(file);
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
    /* In this order: the first 300 files become seeds of the fuzz target. */
    static const oclora_test tests[] = {{"reads", test_reads},
                                        {"rejects", test_rejects},
                                        {"parts", test_parts},
                                        {"values", test_values},
                                        {"other files", test_other_files},
                                        {"variations", test_variations},
                                        {"mutations", test_mutations}};
    return oclora_test_main("adapter_compact", tests, sizeof tests / sizeof *tests);
}
