#include "host/adapter/number.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { Q8_BLOCK = 32, Q8_BYTES = 34, CHUNK = 64 };

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Without branches, so that loops over it can be vectorised: shifting exponent and mantissa into
 * place and multiplying by 2^112 corrects the bias and normalises subnormals in one exact step;
 * infinities and NaNs take the other value. */
static uint32_t widen_half(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t magnitude = half & 0x7fffu;
    uint32_t finite = bits_of(float_of(magnitude << 13) * 0x1p112f);
    uint32_t endless = 0x7f800000u | (magnitude & 0x3ffu) << 13;
    uint32_t mask = 0u - (uint32_t)(magnitude >= 0x7c00u);
    return sign | (finite & ~mask) | (endless & mask);
}

float oclora_f16_to_f32(uint16_t half)
{
    return float_of(widen_half(half));
}

uint16_t oclora_f32_to_f16(float value)
{
    uint32_t bits = bits_of(value);
    uint32_t sign = bits >> 16 & 0x8000u;
    uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* from 65520 on */
    if (magnitude < 0x38800000u) { /* below 2^-14: subnormal, rounded by adding 2^-1 * 2^0 ulp */
        uint32_t rounded = bits_of(float_of(magnitude) + 0.5f) - bits_of(0.5f);
        return (uint16_t)(sign | rounded);
    }
    uint32_t odd = magnitude >> 13 & 1u;
    return (uint16_t)(sign | (magnitude - 0x38000000u + 0xfffu + odd) >> 13);
}

float oclora_bf16_to_f32(uint16_t value)
{
    return float_of((uint32_t)value << 16);
}

uint16_t oclora_f32_to_bf16(float value)
{
    uint32_t bits = bits_of(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

static uint16_t load_16(const uint8_t *source)
{
    uint16_t raw;
    memcpy(&raw, source, sizeof raw);
    return raw;
}

/* Loops of a constant length are what the compiler vectorises at -O2. */
static void widen_f16(const uint8_t *source, size_t count, float *out)
{
    size_t i = 0;
    for (; i + CHUNK <= count; i += CHUNK)
        for (size_t j = 0; j < CHUNK; j++)
            out[i + j] = float_of(widen_half(load_16(source + 2 * (i + j))));
    for (; i < count; i++) out[i] = float_of(widen_half(load_16(source + 2 * i)));
}

static void widen_bf16(const uint8_t *source, size_t count, float *out)
{
    size_t i = 0;
    for (; i + CHUNK <= count; i += CHUNK)
        for (size_t j = 0; j < CHUNK; j++)
            out[i + j] = float_of((uint32_t)load_16(source + 2 * (i + j)) << 16);
    for (; i < count; i++) out[i] = oclora_bf16_to_f32(load_16(source + 2 * i));
}

static void widen_q8_0(const uint8_t *source, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++) {
        const uint8_t *block = source + i / Q8_BLOCK * Q8_BYTES;
        uint16_t scale;
        memcpy(&scale, block, sizeof scale);
        int8_t value;
        memcpy(&value, block + 2 + i % Q8_BLOCK, 1);
        out[i] = oclora_f16_to_f32(scale) * (float)value;
    }
}

static void widen_f64(const uint8_t *source, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++) {
        double value;
        memcpy(&value, source + 8 * i, sizeof value);
        out[i] = (float)value;
    }
}

bool oclora_widen(oclora_type type, const void *source, size_t count, float *out)
{
    switch (type) {
    case OCLORA_TYPE_F32:
        if (count != 0) memcpy(out, source, count * sizeof *out);
        return true;
    case OCLORA_TYPE_F16:
        widen_f16(source, count, out);
        return true;
    case OCLORA_TYPE_BF16:
        widen_bf16(source, count, out);
        return true;
    case OCLORA_TYPE_F64:
        widen_f64(source, count, out);
        return true;
    case OCLORA_TYPE_Q8_0:
        widen_q8_0(source, count, out);
        return true;
    default:
        return false;
    }
}

size_t oclora_find_not_finite(const float *values, size_t count)
{
    /* Whole chunks first: the branch-free loop is what the compiler can vectorise. */
    size_t i = 0;
    for (; i + 256 <= count; i += 256) {
        uint32_t bad = 0;
        for (size_t j = 0; j < 256; j++)
            bad |= (bits_of(values[i + j]) & 0x7f800000u) == 0x7f800000u;
        if (bad) break;
    }
    while (i < count && isfinite(values[i])) i++;
    return i;
}

size_t oclora_find_inexact_f16(const float *values, size_t count)
{
    size_t i = 0;
    while (i < count && oclora_f16_to_f32(oclora_f32_to_f16(values[i])) == values[i]) i++;
    return i;
}

size_t oclora_narrow_f16(const float *values, size_t count, uint16_t *out)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = oclora_f32_to_f16(values[i]);
        if ((out[i] & 0x7c00u) == 0x7c00u) return i;
    }
    return count;
}

size_t oclora_narrow_bf16(const float *values, size_t count, uint16_t *out)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = oclora_f32_to_bf16(values[i]);
        if ((out[i] & 0x7f80u) == 0x7f80u) return i;
    }
    return count;
}

/* The whole number next to x, halves away from zero, for |x| below 2^22; as roundf. The largest
 * float below 1/2 is added, since 1/2 would carry the float before a half over the edge. */
static int32_t round_away(float x)
{
    return (int32_t)(x + float_of((bits_of(x) & 0x80000000u) | bits_of(0x1.fffffep-2f)));
}

/* As ggml's files have it: d = max|x| / 127 stored in f16, values rounded from x / d in f32. */
static bool narrow_block(const float *values, uint8_t *block)
{
    int32_t largest = 0; /* positive floats are in order as whole numbers too */
    for (size_t i = 0; i < Q8_BLOCK; i++) {
        int32_t magnitude = (int32_t)(bits_of(values[i]) & 0x7fffffffu);
        largest = magnitude > largest ? magnitude : largest;
    }
    float step = float_of((uint32_t)largest) / 127.0f;
    uint16_t half = oclora_f32_to_f16(step);
    float inverse = step != 0.0f ? 1.0f / step : 0.0f;
    if (!isfinite(inverse)) inverse = 0.0f; /* a subnormal step rounds to f16 zero as well */
    memcpy(block, &half, sizeof half);
    int8_t rounded[Q8_BLOCK];
    for (size_t i = 0; i < Q8_BLOCK; i++) rounded[i] = (int8_t)round_away(values[i] * inverse);
    memcpy(block + sizeof half, rounded, sizeof rounded);
    return (half & 0x7c00u) != 0x7c00u;
}

size_t oclora_narrow_q8_0(const float *values, size_t count, void *out)
{
    uint8_t *block = out;
    size_t i = 0;
    for (; i + Q8_BLOCK <= count; i += Q8_BLOCK, block += Q8_BYTES)
        if (!narrow_block(values + i, block)) return i;
    if (i == count) return count;
    float rest[Q8_BLOCK] = {0};
    memcpy(rest, values + i, (count - i) * sizeof *rest);
    return narrow_block(rest, block) ? count : i;
}
