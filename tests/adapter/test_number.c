#include "support/harness.h"

#include "host/adapter/number.h"

#include <math.h>
#include <string.h>

/* All 65536 halves against the definition. */
static void test_f16_widening(void)
{
    for (uint32_t bits = 0; bits < 65536; bits++) {
        uint32_t exponent = bits >> 10 & 31, mantissa = bits & 1023;
        double magnitude =
            exponent == 0 ? ldexp(mantissa, -24) : ldexp(1024 + mantissa, (int)exponent - 25);
        float value = oclora_f16_to_f32((uint16_t)bits);
        if (exponent == 31) {
            CHECK(mantissa != 0 ? isnan(value) != 0 : isinf(value) != 0);
            continue;
        }
        CHECK((double)value == (bits & 0x8000 ? -magnitude : magnitude));
        CHECK_INT(oclora_f32_to_f16(value), bits);
    }
}

/* Halfway between two neighbours goes to the even one, a little beside it to the nearer. */
static void test_f16_rounding(void)
{
    for (uint32_t bits = 0; bits < 0x7bff; bits++) {
        float low = oclora_f16_to_f32((uint16_t)bits),
              high = oclora_f16_to_f32((uint16_t)(bits + 1));
        float half = (low + high) / 2.0f;
        CHECK_INT(oclora_f32_to_f16(half), bits % 2 == 0 ? bits : bits + 1);
        CHECK_INT(oclora_f32_to_f16(nextafterf(half, -1.0f)), bits);
        CHECK_INT(oclora_f32_to_f16(nextafterf(half, 1e9f)), bits + 1);
    }
    CHECK_INT(oclora_f32_to_f16(65519.0f), 0x7bff);
    CHECK_INT(oclora_f32_to_f16(65520.0f), 0x7c00);
    CHECK_INT(oclora_f32_to_f16(-INFINITY), 0xfc00);
    CHECK_INT(oclora_f32_to_f16(NAN) & 0x7e00, 0x7e00);
    CHECK_INT(oclora_f32_to_f16(1e-30f), 0);
}

static void test_bf16(void)
{
    CHECK(oclora_bf16_to_f32(0x3f80) == 1.0f);
    CHECK_INT(oclora_f32_to_bf16(1.00390625f), 0x3f80); /* halfway, to even */
    CHECK_INT(oclora_f32_to_bf16(1.01171875f), 0x3f82);
    CHECK_INT(oclora_f32_to_bf16(NAN) & 0x7fc0, 0x7fc0);
}

/* Blocks of 32 against the definition, with values at and beside every half. */
static void test_q8_0_halves(void)
{
    for (int turn = 0; turn < 4000; turn++) {
        float values[32];
        uint8_t block[34];
        for (int i = 0; i < 32; i++) {
            const float half = (float)(oclora_test_random() % 254) - 126.5f;
            const uint32_t beside = oclora_test_random() % 3;
            values[i] = beside == 0   ? half
                        : beside == 1 ? nextafterf(half, 1000.0f)
                                      : nextafterf(half, -1000.0f);
        }
        values[turn % 32] = turn % 2 ? 127.0f : -127.0f; /* so that the step is 1 */
        const float scale = turn % 4 < 2 ? 1.0f : oclora_test_uniform() + 1.5f;
        for (int i = 0; i < 32; i++) values[i] *= scale;
        float largest = 0.0f;
        for (int i = 0; i < 32; i++) largest = fmaxf(largest, fabsf(values[i]));
        const float inverse = 1.0f / (largest / 127.0f);
        CHECK_INT(oclora_narrow_q8_0(values, 32, block), 32);
        for (int i = 0; i < 32; i++)
            if ((int8_t)block[2 + i] != (int8_t)roundf(values[i] * inverse))
                CHECK_INT((int8_t)block[2 + i], roundf(values[i] * inverse));
    }
}

static void test_finite(void)
{
    float values[1000];
    oclora_test_fill(values, 1000);
    CHECK_INT(oclora_find_not_finite(values, 1000), 1000);
    for (size_t at = 0; at < 1000; at += 37) {
        float kept = values[at];
        values[at] = at % 2 ? NAN : -INFINITY;
        CHECK_INT(oclora_find_not_finite(values, 1000), at);
        values[at] = kept;
    }
    values[5] = 0.1f;
    for (size_t i = 0; i < 1000; i++) values[i] = oclora_f16_to_f32(oclora_f32_to_f16(values[i]));
    CHECK_INT(oclora_find_inexact_f16(values, 1000), 1000);
    values[77] = 0.1f;
    CHECK_INT(oclora_find_inexact_f16(values, 1000), 77);
}

/* Q8_0 over an odd length: half a step of error at most, the padding zero. */
static void test_q8_0(void)
{
    enum { COUNT = 71 };
    float values[COUNT], back[COUNT];
    uint8_t blocks[3 * 34];
    oclora_test_fill(values, COUNT);
    memset(blocks, 0xcc, sizeof blocks);
    CHECK_INT(oclora_narrow_q8_0(values, COUNT, blocks), COUNT);
    CHECK(oclora_widen(OCLORA_TYPE_Q8_0, blocks, COUNT, back));
    for (size_t i = 0; i < COUNT; i++) {
        float largest = 0.0f;
        for (size_t j = i / 32 * 32; j < COUNT && j < i / 32 * 32 + 32; j++)
            largest = fmaxf(largest, fabsf(values[j]));
        CHECK_LE(fabsf(values[i] - back[i]), largest / 127.0f * 0.57f);
    }
    for (size_t i = 2 * 34 + 2 + 7; i < sizeof blocks; i++) CHECK_INT(blocks[i], 0);
    float zeros[32] = {0.0f}, big[1] = {1e9f};
    CHECK_INT(oclora_narrow_q8_0(zeros, 32, blocks), 32);
    CHECK_INT(oclora_narrow_q8_0(big, 1, blocks), 0);
    float tiny[2] = {1e-40f, 1e-42f};
    CHECK_INT(oclora_narrow_q8_0(tiny, 2, blocks), 2);
    CHECK(!oclora_widen(OCLORA_TYPE_I32, blocks, 1, back));
}

int main(void)
{
    static const oclora_test tests[] = {{"f16 widening", test_f16_widening},
                                        {"f16 rounding", test_f16_rounding},
                                        {"bf16", test_bf16},
                                        {"finite", test_finite},
                                        {"q8_0", test_q8_0},
                                        {"q8_0 halves", test_q8_0_halves}};
    return oclora_test_main("number", tests, sizeof tests / sizeof tests[0]);
}
