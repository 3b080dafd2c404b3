#include "host/base/layout.h"
#include "support/harness.h"

#include <stdlib.h>
#include <string.h>

static const oclora_type panel_types[] = {OCLORA_TYPE_F32,  OCLORA_TYPE_F16,  OCLORA_TYPE_BF16,
                                          OCLORA_TYPE_Q8_0, OCLORA_TYPE_Q4_0, OCLORA_TYPE_Q4_1,
                                          OCLORA_TYPE_Q5_0, OCLORA_TYPE_Q5_1, OCLORA_TYPE_Q4_K,
                                          OCLORA_TYPE_Q5_K, OCLORA_TYPE_Q6_K};

static void test_types(void)
{
    CHECK(!strcmp(oclora_type_name(OCLORA_TYPE_Q4_1), "q4_1"));
    CHECK(oclora_type_name(12345) != NULL);
    CHECK_INT(oclora_type_row_bytes(OCLORA_TYPE_Q4_1, 64), 40);
    CHECK_INT(oclora_type_row_bytes(OCLORA_TYPE_Q4_1, 65), 0);
    CHECK_INT(oclora_type_row_bytes(OCLORA_TYPE_Q6_K, 512), 420);
    CHECK(oclora_panel_fits(OCLORA_TYPE_Q4_1, 576, 192));
    CHECK(!oclora_panel_fits(OCLORA_TYPE_Q4_1, 576, 100));
    CHECK(!oclora_panel_fits(OCLORA_TYPE_F32, 48, 64));
    CHECK(!oclora_panel_fits(OCLORA_TYPE_F32, 0, 64));
    CHECK(oclora_panel_fits(OCLORA_TYPE_Q6_K, 512, 48));
    CHECK(!oclora_panel_fits(OCLORA_TYPE_Q6_K, 288, 64));
    CHECK(!oclora_panel_fits(OCLORA_TYPE_Q4_K, 256, 24));
    CHECK(!oclora_panel_fits(OCLORA_TYPE_I8, 256, 64));
}

/* A byte of a plane: the header's [16] is innermost, `of_panel` bytes a row make a panel. */
static unsigned plane_byte(const unsigned char *plane, size_t of_panel, size_t o, size_t at)
{
    return plane[(o / 16 * of_panel + at) * 16 + o % 16];
}

static float plane_half(const unsigned char *plane, size_t of_panel, size_t o, size_t at)
{
    uint16_t half;
    memcpy(&half, plane + ((o / 16 * of_panel + at) * 16 + o % 16) * 2, 2);
    return oclora_half_to_float(half);
}

static float dense_value(oclora_type type, const unsigned char *p, size_t at)
{
    uint32_t size = oclora_type_block_bytes(type);
    float value = 0;
    oclora_dequantize_row(type, p + at * size, &value, 1, NULL);
    return value;
}

/* The scale and the minimum of sub-block k / 32 of q4_K or q5_K. */
static void sub_scales(const unsigned char *plane, size_t d_in, size_t o, size_t k, float *d,
                       float *m)
{
    size_t of_panel = d_in / 64 * 3, at = k / 64 * 3, second = k / 32 % 2;
    unsigned low = plane_byte(plane, of_panel, o, at + second);
    unsigned top = plane_byte(plane, of_panel, o, at + 2) >> second * 4;
    *d *= (float)((low & 15) + (top & 3) * 16);
    *m *= -(float)((low >> 4) + (top >> 2 & 3) * 16);
}

/* A value of a packed weight as the header defines it, read independently of pack. */
static float packed_value(oclora_type type, const unsigned char *p, size_t d_in, size_t d_out,
                          size_t o, size_t k)
{
    const oclora_planes planes = oclora_panel_planes(type, d_in, d_out);
    const unsigned char *high = p + planes.at[OCLORA_PLANE_H], *sub = p + planes.at[OCLORA_PLANE_S];
    size_t block = oclora_type_block(type), blocks = d_in / block;
    if (block == 1) return dense_value(type, p, (o / 16 * d_in + k) * 16 + o % 16);
    float d = plane_half(p + planes.at[OCLORA_PLANE_D], blocks, o, k / block), m = 0;
    if (planes.at[OCLORA_PLANE_H] > planes.at[OCLORA_PLANE_M])
        m = plane_half(p + planes.at[OCLORA_PLANE_M], blocks, o, k / block);
    if (type == OCLORA_TYPE_Q8_0) {
        int byte = (int)plane_byte(p, d_in, o, k);
        return (float)(byte < 128 ? byte : byte - 256) * d;
    }
    int value = plane_byte(p, d_in / 2, o, k / 2) >> k % 2 * 4 & 15;
    int fifth = 0, two = 0, scale = 0;
    if (type == OCLORA_TYPE_Q5_0 || type == OCLORA_TYPE_Q5_1 || type == OCLORA_TYPE_Q5_K)
        fifth = plane_byte(high, d_in / 8, o, k / 8) >> k % 8 & 1;
    if (type == OCLORA_TYPE_Q6_K) {
        two = plane_byte(high, d_in / 4, o, k / 4) >> k % 4 * 2 & 3;
        scale = (int)plane_byte(sub, d_in / 16, o, k / 16);
    }
    switch (type) {
    case OCLORA_TYPE_Q4_0:
        return (float)(value - 8) * d;
    case OCLORA_TYPE_Q5_0:
        return (float)(value + fifth * 16 - 16) * d;
    case OCLORA_TYPE_Q6_K:
        return d * (float)(scale < 128 ? scale : scale - 256) * (float)(value + two * 16 - 32);
    case OCLORA_TYPE_Q4_K:
    case OCLORA_TYPE_Q5_K:
        sub_scales(sub, d_in, o, k, &d, &m);
        return d * (float)(value + fifth * 16) + m;
    default:
        return (float)(value + fifth * 16) * d + m;
    }
}

static void check_type(oclora_type type, size_t d_in, size_t d_out)
{
    size_t row = (size_t)oclora_type_row_bytes(type, d_in), bytes = row * d_out, wrong = 0;
    unsigned char *plain = malloc(bytes), *packed = malloc(bytes + 1), *back = malloc(bytes + 1);
    float *values = malloc(d_in * sizeof *values);
    for (size_t i = 0; i < bytes; i++) {
        plain[i] = (unsigned char)(oclora_test_random() >> 13);
        if (i % 2) plain[i] &= 0xbf;
    }
    packed[bytes] = back[bytes] = 0xa5;
    oclora_panel_pack(type, d_in, d_out, plain, packed);
    oclora_panel_unpack(type, d_in, d_out, packed, back);
    CHECK(!memcmp(plain, back, bytes));
    CHECK_INT(packed[bytes], 0xa5);
    CHECK_INT(back[bytes], 0xa5);
    for (size_t o = 0; o < d_out; o++) {
        CHECK_OK(oclora_dequantize_row(type, plain + o * row, values, d_in, NULL), NULL);
        for (size_t k = 0; k < d_in; k++)
            wrong += packed_value(type, packed, d_in, d_out, o, k) != values[k];
    }
    if (wrong) printf("type %s\n", oclora_type_name(type));
    CHECK_INT(wrong, 0);
    free(plain);
    free(packed);
    free(back);
    free(values);
}

static void test_pack(void)
{
    for (size_t i = 0; i < sizeof panel_types / sizeof panel_types[0]; i++) {
        const uint32_t block = oclora_type_block(panel_types[i]) > 32 ? 256 : 32;
        check_type(panel_types[i], block, 16);
        check_type(panel_types[i], block * 3, 80);
    }
}

int main(void)
{
    static const oclora_test tests[] = {{"types", test_types}, {"pack", test_pack}};
    return oclora_test_main("base_layout", tests, sizeof tests / sizeof tests[0]);
}
