/* The block formats against ggml's own reading of the same bytes (FNV-1a over the f32 values).
 * Every product in these formats is exact in f32, so equality is to the bit. */
#include "host/base/layout.h"
#include "support/harness.h"

#include <math.h>
#include <string.h>

enum { VALUES = 1024 };

static void fill_bytes(unsigned char *bytes, size_t count)
{
    uint32_t state = 12345;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        bytes[i] = (unsigned char)(state >> 24);
        if (i % 2) bytes[i] &= 0xbf; /* keeps every scale finite */
    }
}

static uint64_t hash_of(const float *values)
{
    const unsigned char *bytes = (const unsigned char *)values;
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < VALUES * sizeof *values; i++) hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return hash;
}

static void test_formats(void)
{
    static const struct {
        oclora_type type;
        uint64_t hash;
    } cases[] = {
        {OCLORA_TYPE_Q8_0, 0x9cfe465ae9243366u}, {OCLORA_TYPE_Q4_0, 0x77149786c003892fu},
        {OCLORA_TYPE_Q4_1, 0x21316474b0eaacd1u}, {OCLORA_TYPE_Q5_0, 0x7bad2dc598c5177eu},
        {OCLORA_TYPE_Q5_1, 0x2509087c6833f76au}, {OCLORA_TYPE_Q4_K, 0x0e50cd1cb96ae32du},
        {OCLORA_TYPE_Q5_K, 0x0387ab73df2a06c8u}, {OCLORA_TYPE_Q6_K, 0x8fd9ffac401c29a4u},
        {OCLORA_TYPE_F16, 0xc4cefcfd3d08760bu},  {OCLORA_TYPE_BF16, 0x62185c2af7c68bf3u},
    };
    static unsigned char bytes[VALUES * 4];
    static float values[VALUES];
    oclora_error err = {0, ""};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fill_bytes(bytes, (size_t)oclora_type_row_bytes(cases[i].type, VALUES));
        oclora_test_poison(values, sizeof values);
        CHECK_OK(oclora_dequantize_row(cases[i].type, bytes, values, VALUES, &err), &err);
        if (hash_of(values) != cases[i].hash) printf("type %s\n", oclora_type_name(cases[i].type));
        CHECK(hash_of(values) == cases[i].hash);
    }
}

static void test_refusals(void)
{
    float value[32];
    unsigned char bytes[64] = {0};
    oclora_error err = {0, ""};
    CHECK_STATUS(oclora_dequantize_row(OCLORA_TYPE_I32, bytes, value, 1, &err),
                 OCLORA_UNSUPPORTED_DTYPE, &err);
    CHECK_CONTAINS(err.text, "i32");
    CHECK_STATUS(oclora_dequantize_row(999, bytes, value, 1, &err), OCLORA_UNSUPPORTED_DTYPE, &err);
    CHECK_STATUS(oclora_dequantize_row(OCLORA_TYPE_Q4_0, bytes, value, 31, &err),
                 OCLORA_INVALID_ARGUMENT, &err);
}

/* The half nearest to a float, by trying all of them. */
static bool is_nearest(float value, uint16_t half)
{
    double got = fabs((double)oclora_half_to_float(half) - value);
    for (int step = -1; step <= 1; step += 2) {
        uint16_t other = (uint16_t)(half + step);
        if ((other & 0x7c00u) == 0x7c00u || (other ^ half) & 0x8000u) continue;
        double distance = fabs((double)oclora_half_to_float(other) - value);
        if (distance < got || (distance == got && half & 1)) return false;
    }
    return true;
}

static void test_half(void)
{
    for (uint32_t h = 0; h < 0x10000; h++) {
        float value = oclora_half_to_float((uint16_t)h);
        if (isnan(value)) continue;
        if (oclora_float_to_half(value) != h) CHECK_INT(oclora_float_to_half(value), h);
    }
    for (int i = 0; i < 20000; i++) {
        float value = ldexpf(oclora_test_uniform(), (int)(oclora_test_random() % 44) - 28);
        if (fabsf(value) >= 65504.0f) continue;
        bool nearest = is_nearest(value, oclora_float_to_half(value));
        if (!nearest) printf("value %a\n", (double)value);
        CHECK(nearest);
    }
    CHECK_INT(oclora_float_to_half(65519.0f), 0x7bff);
    CHECK_INT(oclora_float_to_half(65520.0f), 0x7c00);
    CHECK_INT(oclora_float_to_half(-INFINITY), 0xfc00);
    CHECK(isnan(oclora_half_to_float(oclora_float_to_half(NAN))));
}

int main(void)
{
    static const oclora_test tests[] = {
        {"formats", test_formats}, {"refusals", test_refusals}, {"half", test_half}};
    return oclora_test_main("base_dequant", tests, sizeof tests / sizeof tests[0]);
}
