#include "host/base/layout.h"
#include "support/harness.h"

#include <stdlib.h>
#include <string.h>

static const oclora_type panel_types[] = {OCLORA_TYPE_F32,  OCLORA_TYPE_F16,  OCLORA_TYPE_BF16,
                                          OCLORA_TYPE_Q8_0, OCLORA_TYPE_Q4_0, OCLORA_TYPE_Q4_1};

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
    CHECK(!oclora_panel_fits(OCLORA_TYPE_Q6_K, 256, 64));
}

/* A value of a packed weight as the header defines it, read independently of pack. */
static float packed_value(oclora_type type, const unsigned char *p, size_t d_in, size_t d_out,
                          size_t o, size_t k)
{
    uint64_t d_plane, m_plane;
    oclora_panel_planes(type, d_in, d_out, &d_plane, &m_plane);
    size_t panel = o / 16, row = o % 16, scale = ((panel * (d_in / 32) + k / 32) * 16 + row) * 2;
    uint16_t d, m;
    memcpy(&d, p + d_plane + (d_plane ? scale : 0), 2);
    memcpy(&m, p + m_plane + (m_plane ? scale : 0), 2);
    float scale_d = oclora_half_to_float(d), scale_m = oclora_half_to_float(m);
    size_t at = (panel * d_in + k) * 16 + row;
    size_t byte = ((panel * (d_in / 32) + k / 32) * 16 + k % 32 / 2) * 16 + row;
    int nibble = k % 2 ? p[byte] >> 4 : p[byte] & 15;
    float f32;
    uint16_t u16;
    switch (type) {
    case OCLORA_TYPE_F32:
        memcpy(&f32, p + at * 4, 4);
        return f32;
    case OCLORA_TYPE_F16:
    case OCLORA_TYPE_BF16:
        memcpy(&u16, p + at * 2, 2);
        oclora_dequantize_row(type, &u16, &f32, 1, NULL);
        return f32;
    case OCLORA_TYPE_Q8_0:
        return (float)(p[at] < 128 ? p[at] : p[at] - 256) * scale_d;
    case OCLORA_TYPE_Q4_0:
        return (float)(nibble - 8) * scale_d;
    default:
        return (float)nibble * scale_d + scale_m;
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
        check_type(panel_types[i], 32, 16);
        check_type(panel_types[i], 96, 80);
    }
}

int main(void)
{
    static const oclora_test tests[] = {{"types", test_types}, {"pack", test_pack}};
    return oclora_test_main("base_layout", tests, sizeof tests / sizeof tests[0]);
}
