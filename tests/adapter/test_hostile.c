/* Files from strangers, by the thousand: no crash, a named status, no more memory than the file's
 * size and 16 MiB, nothing left behind. */
#include "load_cases.h"

#include "support/meter.h"
#include "support/mutate.h"

#include "fuzz/use.h"
#include "host/adapter/compact.h"
#include "host/adapter/loader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 4000 };
static const size_t allowance = (size_t)16 << 20;

/* What a file can be refused with; anything else is a fault of ours. */
static const oclora_status named[] = {
    OCLORA_FILE_FORMAT,     OCLORA_FILE_TRUNCATED,    OCLORA_UNKNOWN_KIND,
    OCLORA_MISSING_TENSOR,  OCLORA_SHAPE_MISMATCH,    OCLORA_RANK_MISMATCH,
    OCLORA_NOT_FINITE,      OCLORA_MODULE_MISMATCH,   OCLORA_VALUE_OVERFLOW,
    OCLORA_NOT_SUPPORTED,   OCLORA_UNSUPPORTED_DTYPE, OCLORA_INVALID_ARGUMENT,
    OCLORA_METADATA_MISSING};

static bool is_named(oclora_status status)
{
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (named[i] == status) return true;
    return false;
}

typedef struct input {
    oclora_bytes config; /* of PEFT */
    oclora_bytes data;
} input;

typedef oclora_status (*reader)(oclora_adapter_image **out, const oclora_env *env, const input *in,
                                oclora_error *err);

static oclora_status read_peft(oclora_adapter_image **out, const oclora_env *env, const input *in,
                               oclora_error *err)
{
    return oclora_adapter_load_memory(out, env, (const char *)in->config.data, in->config.size,
                                      in->data.data, in->data.size, OCLORA_STORE_AUTO, err);
}

static oclora_status read_gguf(oclora_adapter_image **out, const oclora_env *env, const input *in,
                               oclora_error *err)
{
    oclora_map map = {in->data.data, in->data.size, NULL};
    OCLORA_TRY(oclora_image_create(out, env, err));
    return oclora_load_gguf(*out, &map, OCLORA_STORE_AUTO, err);
}

static oclora_status read_compact(oclora_adapter_image **out, const oclora_env *env,
                                  const input *in, oclora_error *err)
{
    void *file = NULL; /* as mapped, at a multiple of 64, and not a byte longer */
    if (posix_memalign(&file, 64, in->data.size + (in->data.size == 0)) != 0)
        return OCLORA_OUT_OF_HOST_MEMORY;
    memcpy(file, in->data.data, in->data.size);
    oclora_map map = {file, in->data.size, NULL};
    oclora_status status = oclora_image_create(out, env, err);
    if (status == OCLORA_OK) status = oclora_load_compact(*out, &map, err);
    if (status == OCLORA_OK) oclora_fuzz_use(*out);
    oclora_adapter_image_destroy(*out);
    *out = NULL;
    free(file);
    return status;
}

/* From memory that lies right; the file must outlive the image. */
static oclora_status read_compact_only(oclora_adapter_image **out, const oclora_env *env,
                                       const input *in, oclora_error *err)
{
    oclora_map map = {in->data.data, in->data.size, NULL};
    OCLORA_TRY(oclora_image_create(out, env, err));
    return oclora_load_compact(*out, &map, err);
}

/* Not a byte longer than the file, so that a sanitizer sees what reads past its end. */
static oclora_bytes exact(const oclora_bytes *bytes)
{
    oclora_bytes out = {malloc(bytes->size + (bytes->size == 0)), bytes->size};
    if (bytes->size != 0) memcpy(out.data, bytes->data, bytes->size);
    return out;
}

/* Loads, and says what was wrong with that; counts what loaded. */
static const char *judge(reader read, const input *given, size_t *loaded)
{
    static oclora_meter meter;
    const input copy = {exact(&given->config), exact(&given->data)}, *in = &copy;
    oclora_env env = oclora_meter_start(&meter);
    oclora_error err = {0};
    oclora_adapter_image *image = NULL;
    oclora_status status = read(&image, &env, in, &err);
    const size_t peak = meter.peak, bytes = in->config.size + in->data.size;
    if (status == OCLORA_OK && image != NULL) oclora_fuzz_use(image);
    oclora_adapter_image_destroy(image);
    free(copy.config.data);
    free(copy.data.data);
    *loaded += status == OCLORA_OK;
    if (status != OCLORA_OK && !is_named(status)) return oclora_status_name(status);
    if (status != OCLORA_OK && strlen(err.text) < 10) return "no text";
    if (peak > bytes + allowance) return "takes more than its size and 16 MiB";
    return meter.live != 0 ? "leaves memory behind" : NULL;
}

static void report(const char *format, int round, const char *problem)
{
    if (!CHECK(problem == NULL)) fprintf(stderr, "  %s, mutation %d: %s\n", format, round, problem);
}

static size_t header_end(const oclora_bytes *bytes)
{
    uint64_t length = 0;
    for (size_t i = 8; i-- > 0;) length = length << 8 | bytes->data[i];
    return 8 + (size_t)length;
}

static void test_compact(void)
{
    oclora_bytes good = {aligned_alloc(64, 16384), 0};
    size_t loaded = 0;
    good.size =
        oclora_make_compact(good.data, oclora_good_compact_head, oclora_good_compact_tensors);
    for (int round = 0; round < ROUNDS; round++) {
        input in = {.data = oclora_mutate(&good, &good, header_end(&good), 1)};
        report("compact", round, judge(read_compact, &in, &loaded));
        oclora_bytes_free(&in.data);
    }
    printf("compact: %d mutations, %zu load\n", ROUNDS, loaded);
    oclora_bytes_free(&good);
}

static oclora_bytes make_gguf(void)
{
    oclora_gguf_maker maker = {0};
    oclora_gguf_add_text(&maker, "general.type", "adapter");
    oclora_gguf_add_text(&maker, "general.architecture", "llama");
    oclora_gguf_add_text(&maker, "adapter.type", "lora");
    oclora_gguf_add_f32(&maker, "adapter.lora.alpha", 6.0f);
    oclora_gguf_add_number(&maker, "general.alignment", 4, 32, 4);
    oclora_gguf_add_matrix(&maker, "blk.1.attn_q.weight.lora_a", 3, 10);
    oclora_gguf_add_matrix(&maker, "blk.1.attn_q.weight.lora_b", 7, 3);
    oclora_gguf_add_matrix(&maker, "blk.0.ffn_up.weight.lora_b", 5, 4);
    oclora_gguf_add_matrix(&maker, "blk.0.ffn_up.weight.lora_a", 4, 10);
    return oclora_gguf_make(&maker);
}

static void test_gguf(void)
{
    oclora_bytes good = make_gguf();
    size_t loaded = 0;
    for (int round = 0; round < ROUNDS; round++) {
        input in = {.data = oclora_mutate(&good, &good, 440, 0)};
        report("gguf", round, judge(read_gguf, &in, &loaded));
        oclora_bytes_free(&in.data);
    }
    printf("gguf: %d mutations, %zu load\n", ROUNDS, loaded);
    oclora_bytes_free(&good);
}

static input make_peft(size_t kind)
{
    input out = {.data = oclora_make_safetensors(good_peft[kind][1])};
    oclora_bytes_add(&out.config, good_peft[kind][0], strlen(good_peft[kind][0]));
    return out;
}

/* Whichever file is changed, the other is good. */
static void mutate_peft(size_t kind, size_t other, size_t rounds, bool config, size_t *loaded)
{
    input good = make_peft(kind), second = make_peft(other);
    for (size_t round = 0; round < rounds; round++) {
        input in = good;
        if (config)
            in.config = oclora_mutate(&good.config, &second.config, good.config.size, 0);
        else
            in.data = oclora_mutate(&good.data, &second.data, header_end(&good.data), 1);
        report(good_peft[kind][0], (int)round, judge(read_peft, &in, loaded));
        oclora_bytes_free(config ? &in.config : &in.data);
    }
    oclora_bytes_free(&good.config);
    oclora_bytes_free(&good.data);
    oclora_bytes_free(&second.config);
    oclora_bytes_free(&second.data);
}

static void test_peft(void)
{
    const size_t kinds = sizeof good_peft / sizeof *good_peft, each = ROUNDS / kinds + 1;
    size_t loaded[2] = {0, 0};
    for (size_t i = 0; i < kinds; i++) {
        input good = make_peft(i);
        size_t good_loads = 0;
        const char *problem = judge(read_peft, &good, &good_loads);
        if (!CHECK(problem == NULL && good_loads == 1)) fprintf(stderr, "  %s\n", good_peft[i][0]);
        oclora_bytes_free(&good.config);
        oclora_bytes_free(&good.data);
        mutate_peft(i, (i + 1) % kinds, each, false, &loaded[0]);
        mutate_peft(i, (i + 1) % kinds, each, true, &loaded[1]);
    }
    printf("safetensors: %zu mutations, %zu load; adapter_config.json: %zu, %zu load\n",
           kinds * each, loaded[0], kinds * each, loaded[1]);
}

/* --- files that are small for what they ask for --- */

static void expect(const char *what, reader read, input *in, oclora_status status)
{
    static oclora_meter meter;
    oclora_env env = oclora_meter_start(&meter);
    oclora_error err = {0};
    oclora_adapter_image *image = NULL;
    const size_t bytes = in->config.size + in->data.size;
    bool right = CHECK_STATUS(read(&image, &env, in, &err), status, &err);
    right &= CHECK_LE((double)meter.peak, (double)(bytes + allowance));
    oclora_adapter_image_destroy(image);
    right &= CHECK_INT(meter.live, 0);
    printf("%s: %.1f MiB for a file of %.1f MiB\n", what, (double)meter.peak / 1048576.0,
           (double)bytes / 1048576.0);
    if (!right) fprintf(stderr, "  %s\n", what);
    oclora_bytes_free(&in->config);
    oclora_bytes_free(&in->data);
}

static void add_text(oclora_bytes *out, const char *text)
{
    oclora_bytes_add(out, text, strlen(text));
}

/* `first`, then `part` over and over up to `size` bytes, then `last`. */
static oclora_bytes repeat(const char *first, const char *part, size_t size, const char *last)
{
    oclora_bytes out = {malloc(2 * (strlen(first) + size + strlen(last)) + 64), 0};
    const size_t head = strlen(first), step = strlen(part);
    memcpy(out.data, first, head);
    for (out.size = head; out.size + step <= head + size; out.size += step)
        memcpy(out.data + out.size, part, step);
    add_text(&out, last);
    return out;
}

static oclora_bytes with_length(oclora_bytes header)
{
    oclora_bytes out = {NULL, 0};
    oclora_bytes_number(&out, header.size, 8);
    oclora_bytes_add(&out, header.data, header.size);
    oclora_bytes_free(&header);
    return out;
}

static void test_dense_text(void)
{
    const char *lora = good_peft[0][0];
    const size_t mib = 1 << 20;
    const struct {
        const char *what, *first, *part;
        size_t size;
        const char *last;
    } headers[] = {
        {"header of numbers", "{\"t\":[0", ",0", 4 * mib, "]}"},
        {"header of lists", "{\"t\":[[]", ",[]", 4 * mib, "]}"},
        {"header of objects", "{\"t\":[{}", ",{}", 2 * mib, "]}"},
        {"large metadata", "{\"__metadata__\":{\"a\":\"", "xxxxxxxx", 20 * mib, "\"}}"},
        {"modest metadata", "{\"__metadata__\":{\"a\":\"", "xxxxxxxx", 2 * mib, "\"}}"},
    };
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        input in = {.data = with_length(repeat(headers[i].first, headers[i].part, headers[i].size,
                                               headers[i].last))};
        add_text(&in.config, lora);
        expect(headers[i].what, read_peft, &in,
               i == 4 ? OCLORA_MISSING_TENSOR : OCLORA_FILE_FORMAT);
    }
    static const char *const compact_parts[] = {",0", "\\u002c0"};
    for (size_t i = 0; i < 2; i++) { /* the second hides its commas from the first look */
        input in = {.data = with_length(repeat("{\"__metadata__\":{\"oclora_compact\":\"[0",
                                               compact_parts[i], mib, "]\"}}"))};
        expect("compact header", read_compact, &in, OCLORA_FILE_FORMAT);
    }
    static const char *const config_parts[] = {",0", ",[]", ",{}", ",\"x\""};
    for (size_t i = 0; i < sizeof config_parts / sizeof *config_parts; i++) {
        input in = {
            .config = repeat("{\"peft_type\":\"LORA\",\"x\":[0", config_parts[i], mib - 100, "]}"),
            .data = oclora_make_safetensors(good_peft[0][1])};
        expect("dense config", read_peft, &in, OCLORA_FILE_FORMAT);
    }
}

static void test_many(void)
{
    oclora_gguf_maker maker = {0};
    char name[64];
    for (int i = 0; i < 200000; i++) {
        snprintf(name, sizeof name, "%x", (unsigned)i);
        oclora_gguf_add_number(&maker, name, 0, 0, 1);
    }
    input in = {.data = oclora_gguf_make(&maker)};
    expect("many keys", read_gguf, &in, OCLORA_FILE_FORMAT);
    memset(&maker, 0, sizeof maker);
    const uint64_t one[1] = {1};
    for (unsigned i = 0; i < 100000; i++) {
        snprintf(name, sizeof name, "%x", i);
        oclora_gguf_add_entry(&maker, name, 1, one, 0, 32ull * i);
    }
    in = (input){.data = oclora_gguf_make(&maker)};
    expect("many tensors", read_gguf, &in, OCLORA_FILE_FORMAT);
    memset(&maker, 0, sizeof maker);
    oclora_gguf_add_text(&maker, "general.type", "adapter");
    oclora_gguf_add_text(&maker, "adapter.type", "lora");
    oclora_gguf_add_f32(&maker, "adapter.lora.alpha", 1.0f);
    for (int i = 0; i < 10000; i++) {
        snprintf(name, sizeof name, "m%d.lora_a", i);
        oclora_gguf_add_matrix(&maker, name, 1, 1);
        name[strlen(name) - 1] = 'b';
        oclora_gguf_add_matrix(&maker, name, 1, 1);
    }
    in = (input){.data = oclora_gguf_make(&maker)};
    expect("many modules", read_gguf, &in, OCLORA_NOT_SUPPORTED);
}

/* The values themselves: no more than the file has of them. */
static void test_large(void)
{
    static const char *const types[] = {"f32", "f16", "bf16", "f64"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char text[256];
        input in = {{NULL, 0}, {NULL, 0}};
        snprintf(text, sizeof text, "q.lora_A.weight:64x20011@%s q.lora_B.weight:70001x64@%s",
                 types[i], types[i]);
        in.data = oclora_make_safetensors(text);
        add_text(&in.config, KIND("LORA", ",\"r\":64"));
        expect(types[i], read_peft, &in, OCLORA_OK);
    }
}

/* --- memory that runs out --- */

/* The n-th allocation fails, alone or with all after it, for n = 1, 2, ... until none is left. */
static size_t starve(const char *what, reader read, const input *in, bool fail_on)
{
    for (size_t n = 1;; n++) {
        static oclora_meter meter;
        meter = (oclora_meter){.fail_at = n, .fail_on = fail_on};
        oclora_env env = oclora_meter_start(&meter);
        oclora_error err = {0};
        oclora_adapter_image *image = NULL;
        oclora_status status = read(&image, &env, in, &err);
        oclora_adapter_image_destroy(image);
        /* A growing array may do with less room, once. */
        const bool done = status == OCLORA_OK && (!meter.failed || !fail_on);
        if (!CHECK(done || (status == OCLORA_OUT_OF_HOST_MEMORY && meter.failed)) ||
            !CHECK_INT(meter.live, 0))
            fprintf(stderr, "  %s, allocation %zu\n", what, n);
        if (!meter.failed || n > 5000) return n - 1;
    }
}

static oclora_status read_and_narrow(oclora_adapter_image **out, const oclora_env *env,
                                     const input *in, oclora_error *err)
{
    oclora_model_info model = {"llama", 4, 2, 1, 16, 0};
    OCLORA_TRY(read_gguf(out, env, in, err));
    OCLORA_TRY(oclora_adapter_to_gguf_names(*out, &model, err));
    return oclora_adapter_narrow(*out, OCLORA_STORE_Q8_0, err);
}

static void test_starved(void)
{
    size_t faults = 0;
    for (int on = 0; on < 2; on++) {
        for (size_t i = 0; i < sizeof good_peft / sizeof *good_peft; i++) {
            input in = make_peft(i);
            faults += starve(good_peft[i][0], read_peft, &in, on);
            oclora_bytes_free(&in.config);
            oclora_bytes_free(&in.data);
        }
        input gguf = {.data = make_gguf()}, compact = {.data = {aligned_alloc(64, 16384), 0}};
        compact.data.size = oclora_make_compact(compact.data.data, oclora_good_compact_head,
                                                oclora_good_compact_tensors);
        faults += starve("gguf", read_gguf, &gguf, on);
        faults += starve("gguf, narrowed", read_and_narrow, &gguf, on);
        faults += starve("compact", read_compact_only, &compact, on);
        oclora_bytes_free(&gguf.data);
        oclora_bytes_free(&compact.data);
    }
    printf("%zu failed allocations\n", faults);
}

int main(void)
{
    static const oclora_test tests[] = {{"compact", test_compact}, {"gguf", test_gguf},
                                        {"peft", test_peft},       {"dense text", test_dense_text},
                                        {"many", test_many},       {"large", test_large},
                                        {"starved", test_starved}};
    return oclora_test_main("hostile", tests, sizeof tests / sizeof tests[0]);
}
