#include "host/base/layout.h"

#include <string.h>

float oclora_half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = half >> 10 & 31u;
    uint32_t mantissa = half & 0x3ffu, bits;
    if (exponent == 31) {
        bits = sign | 0x7f800000u | mantissa << 13;
    } else if (exponent) {
        bits = sign | (exponent + 112) << 23 | mantissa << 13;
    } else {
        float tiny = (float)mantissa * 0x1p-24f;
        return sign ? -tiny : tiny;
    }
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

uint16_t oclora_float_to_half(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu));
    if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* 65520 and more */
    uint32_t shift = 13, base = 0;
    if (magnitude < 0x38800000u) { /* below 2^-14: subnormal */
        uint32_t exponent = magnitude >> 23;
        if (exponent < 101) return (uint16_t)sign; /* below 2^-26: rounds to zero */
        shift = 126 - exponent;
        magnitude = (magnitude & 0x7fffffu) | 0x800000u;
    } else {
        base = 112u << 23;
    }
    magnitude -= base;
    uint32_t kept = magnitude >> shift, rest = magnitude & ((1u << shift) - 1);
    uint32_t middle = 1u << (shift - 1);
    if (rest > middle || (rest == middle && (kept & 1))) kept++;
    return (uint16_t)(sign | kept);
}

static float half_at(const unsigned char *p)
{
    uint16_t half;
    memcpy(&half, p, sizeof half);
    return oclora_half_to_float(half);
}

static void row_f32(const unsigned char *p, float *y)
{
    memcpy(y, p, sizeof *y);
}

static void row_f16(const unsigned char *p, float *y)
{
    *y = half_at(p);
}

static void row_bf16(const unsigned char *p, float *y)
{
    uint16_t high;
    memcpy(&high, p, sizeof high);
    uint32_t bits = (uint32_t)high << 16;
    memcpy(y, &bits, sizeof *y);
}

static void block_q8_0(const unsigned char *p, float *y)
{
    float d = half_at(p);
    for (int i = 0; i < 32; i++) {
        int q = p[2 + i] < 128 ? p[2 + i] : p[2 + i] - 256;
        y[i] = (float)q * d;
    }
}

static void block_q4_0(const unsigned char *p, float *y)
{
    float d = half_at(p);
    for (int i = 0; i < 16; i++) {
        y[i] = (float)((p[2 + i] & 15) - 8) * d;
        y[i + 16] = (float)((p[2 + i] >> 4) - 8) * d;
    }
}

static void block_q4_1(const unsigned char *p, float *y)
{
    float d = half_at(p), m = half_at(p + 2);
    for (int i = 0; i < 16; i++) {
        y[i] = (float)(p[4 + i] & 15) * d + m;
        y[i + 16] = (float)(p[4 + i] >> 4) * d + m;
    }
}

static void fifth_bits(const unsigned char *high, const unsigned char *q, int *values)
{
    for (int i = 0; i < 16; i++) {
        values[i] = (q[i] & 15) | (high[i / 8] >> i % 8 & 1) << 4;
        values[i + 16] = q[i] >> 4 | (high[2 + i / 8] >> i % 8 & 1) << 4;
    }
}

static void block_q5_0(const unsigned char *p, float *y)
{
    float d = half_at(p);
    int q[32];
    fifth_bits(p + 2, p + 6, q);
    for (int i = 0; i < 32; i++) y[i] = (float)(q[i] - 16) * d;
}

static void block_q5_1(const unsigned char *p, float *y)
{
    float d = half_at(p), m = half_at(p + 2);
    int q[32];
    fifth_bits(p + 4, p + 8, q);
    for (int i = 0; i < 32; i++) y[i] = (float)q[i] * d + m;
}

/* Scale and minimum of sub-block j of a q4_K or q5_K block: 8 pairs of 6 bits in 12 bytes. */
static void k_scale(const unsigned char *s, int j, int *scale, int *minimum)
{
    if (j < 4) {
        *scale = s[j] & 63;
        *minimum = s[j + 4] & 63;
    } else {
        *scale = (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
        *minimum = s[j + 4] >> 4 | s[j] >> 6 << 4;
    }
}

/* `high` is NULL for q4_K. */
static void block_k(const unsigned char *p, const unsigned char *high, const unsigned char *q,
                    float *y)
{
    float d = half_at(p), m = half_at(p + 2);
    for (int j = 0; j < 8; j++) {
        int scale, minimum;
        k_scale(p + 4, j, &scale, &minimum);
        float dj = d * (float)scale, mj = m * (float)minimum;
        for (int i = 0; i < 32; i++) {
            int byte = q[j / 2 * 32 + i], value = j % 2 ? byte >> 4 : byte & 15;
            if (high) value += (high[i] >> j & 1) << 4;
            y[j * 32 + i] = dj * (float)value - mj;
        }
    }
}

static void block_q4_K(const unsigned char *p, float *y)
{
    block_k(p, NULL, p + 16, y);
}

static void block_q5_K(const unsigned char *p, float *y)
{
    block_k(p, p + 16, p + 48, y);
}

static void block_q6_K(const unsigned char *p, float *y)
{
    float d = half_at(p + 208);
    for (int i = 0; i < 256; i++) {
        int half = i / 128, in = i % 128, l = in % 32, quarter = in / 32;
        int low = p[half * 64 + (quarter & 1) * 32 + l];
        int high = p[128 + half * 32 + l] >> 2 * quarter & 3;
        int value = (quarter < 2 ? low & 15 : low >> 4) | high << 4;
        int scale = p[192 + i / 16] < 128 ? p[192 + i / 16] : p[192 + i / 16] - 256;
        y[i] = d * (float)scale * (float)(value - 32);
    }
}

typedef void block_function(const unsigned char *block, float *values);

static block_function *const functions[OCLORA_TYPE_COUNT] = {
    [OCLORA_TYPE_F32] = row_f32,     [OCLORA_TYPE_F16] = row_f16,
    [OCLORA_TYPE_BF16] = row_bf16,   [OCLORA_TYPE_Q8_0] = block_q8_0,
    [OCLORA_TYPE_Q4_0] = block_q4_0, [OCLORA_TYPE_Q4_1] = block_q4_1,
    [OCLORA_TYPE_Q5_0] = block_q5_0, [OCLORA_TYPE_Q5_1] = block_q5_1,
    [OCLORA_TYPE_Q4_K] = block_q4_K, [OCLORA_TYPE_Q5_K] = block_q5_K,
    [OCLORA_TYPE_Q6_K] = block_q6_K,
};

oclora_status oclora_dequantize_row(oclora_type type, const void *row, float *values, uint64_t n,
                                    oclora_error *err)
{
    if (type >= OCLORA_TYPE_COUNT || !functions[type])
        return oclora_fail(err, OCLORA_UNSUPPORTED_DTYPE, "values of type %s cannot be read as f32",
                           oclora_type_name(type));
    uint32_t block = oclora_type_block(type), bytes = oclora_type_block_bytes(type);
    if (n % block)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "a row of %llu elements is not whole blocks of %u (%s)",
                           (unsigned long long)n, (unsigned)block, oclora_type_name(type));
    const unsigned char *from = row;
    for (uint64_t i = 0; i < n; i += block, from += bytes) functions[type](from, values + i);
    return OCLORA_OK;
}
