#include "op_test.h"

/* The quantisers as the formats define them, in f32: every byte must match. */
static void put_half(uint8_t *p, float value)
{
    const uint16_t half = oclora_float_to_half(value);
    memcpy(p, &half, 2);
}

static void block_q8_0(uint8_t *block, const float *x)
{
    float top = 0.0f;
    for (int j = 0; j < 32; j++) top = fmaxf(top, fabsf(x[j]));
    const float inverse = top != 0.0f ? 127.0f / top : 0.0f;
    put_half(block, top / 127.0f);
    for (int j = 0; j < 32; j++) block[2 + j] = (uint8_t)(int8_t)rintf(x[j] * inverse);
}

static void levels_of(uint8_t *block, const float *x, oclora_type type, int *q)
{
    const bool ranged = type == OCLORA_TYPE_Q4_1 || type == OCLORA_TYPE_Q5_1;
    const int steps = type == OCLORA_TYPE_Q4_0 || type == OCLORA_TYPE_Q4_1 ? 15 : 31;
    float low = x[0], high = x[0], top = 0.0f;
    for (int j = 0; j < 32; j++) {
        low = fminf(low, x[j]);
        high = fmaxf(high, x[j]);
        if (fabsf(x[j]) > fabsf(top)) top = x[j];
    }
    const float half_range = (float)((steps + 1) / 2);
    const float d = ranged ? (high - low) / (float)steps : top / -half_range;
    const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
    put_half(block, d);
    if (ranged) put_half(block + 2, low);
    for (int j = 0; j < 32; j++) {
        const float level =
            ranged ? (x[j] - low) * inverse + 0.5f : x[j] * inverse + (half_range + 0.5f);
        q[j] = (int)level < steps ? (int)level : steps;
    }
}

static void block_of(uint8_t *block, const float *x, oclora_type type)
{
    int q[32];
    uint32_t fifth = 0;
    if (type == OCLORA_TYPE_Q8_0) {
        block_q8_0(block, x);
        return;
    }
    levels_of(block, x, type, q);
    uint8_t *nibbles = block + oclora_type_block_bytes(type) - 16;
    for (int j = 0; j < 16; j++) {
        nibbles[j] = (uint8_t)((q[j] & 15) | (q[j + 16] & 15) << 4);
        fifth |= (uint32_t)(q[j] >> 4) << j | (uint32_t)(q[j + 16] >> 4) << (j + 16);
    }
    if (type >= OCLORA_TYPE_Q5_0) memcpy(nibbles - 4, &fifth, 4);
}

static bool block_matches(const op_tensor *src, const op_tensor *dst, uint64_t b, uint64_t from,
                          uint64_t to, uint64_t i2, uint64_t i3)
{
    float x[32];
    uint8_t block[32 * 2];
    for (uint64_t j = 0; j < 32; j++) x[j] = (float)op_get(src, b * 32 + j, from, i2, i3);
    block_of(block, x, dst->view.type);
    return memcmp(block, op_at(dst, b * 32, to, i2, i3), oclora_type_block_bytes(dst->view.type)) ==
           0;
}

static void check_set(const oclora_test_device *device, oclora_type type, oclora_type from)
{
    op_tensor src = op_make(device, from, 96, 5, 2, 3, op_swapped);
    op_tensor index = op_make(device, OCLORA_TYPE_I64, 5, 1, 3, 1, op_plain);
    op_tensor dst = op_make(device, type, 96, 17, 2, 3, op_padded);
    op_fill(device, &src);
    for (uint64_t j = 0; j < 32; j++) op_set(&src, 0.0, j, 1, 1, 2); /* scale 0 */
    op_upload(device, &src);
    op_fill(device, &dst);
    OP_EACH(&index, i0, i1, i2, i3)
    op_set(&index, (double)((i0 * 3 + i2 * 5 + 1) % 17), i0, i1, i2, i3);
    op_upload(device, &index);
    oclora_op_call call = op_call(OCLORA_OP_SET_ROWS, &dst);
    op_add_source(&call, &src);
    op_add_source(&call, &index);
    long wrong = 0;
    if (op_run(device, &call, &dst)) OP_EACH(&src, i0, i1, i2, i3)
    if (i0 % 32 == 0)
        wrong += !block_matches(&src, &dst, i0 / 32, i1, (i1 * 3 + i3 * 5 + 1) % 17, i2, i3);
    CHECK_INT(wrong, 0);
    op_free(&src);
    op_free(&index);
    op_free(&dst);
}

static void check_copy(const oclora_test_device *device, oclora_type type, oclora_type from,
                       op_layout layout)
{
    op_tensor src = op_make(device, from, 64, 5, 2, 3, layout);
    op_tensor dst = op_make(device, type, 64, 5, 2, 3, op_padded);
    op_fill(device, &src);
    oclora_op_call call = op_call(OCLORA_OP_COPY, &dst);
    op_add_source(&call, &src);
    long wrong = 0;
    if (op_run(device, &call, &dst)) OP_EACH(&src, i0, i1, i2, i3)
    if (i0 % 32 == 0) wrong += !block_matches(&src, &dst, i0 / 32, i1, i1, i2, i3);
    CHECK_INT(wrong, 0);
    op_free(&src);
    op_free(&dst);
}

static void into_blocks_on(const oclora_test_device *device)
{
    for (oclora_type type = OCLORA_TYPE_Q8_0; type <= OCLORA_TYPE_Q5_1; type++)
        check_set(device, type, OCLORA_TYPE_F32);
    check_set(device, OCLORA_TYPE_Q8_0, OCLORA_TYPE_F16);
    check_copy(device, OCLORA_TYPE_Q4_0, OCLORA_TYPE_F32, op_transposed);
    check_copy(device, OCLORA_TYPE_Q5_1, OCLORA_TYPE_F16, op_swapped);
}

static double same_value(const void *user, uint64_t i0, uint64_t i1, uint64_t i2, uint64_t i3)
{
    return op_get(user, i0, i1, i2, i3);
}

static void check_out(const oclora_test_device *device, oclora_type type, oclora_type to,
                      uint64_t n)
{
    op_tensor src = op_make(device, type, n, 3, 2, 1, op_swapped);
    op_tensor dst = op_make(device, to, n, 3, 2, 1, op_padded);
    op_fill(device, &src);
    oclora_op_call call = op_call(OCLORA_OP_COPY, &dst);
    op_add_source(&call, &src);
    if (op_run(device, &call, &dst))
        CHECK_LE(op_error(&dst, same_value, &src), to == OCLORA_TYPE_F32 ? 3e-7 : 5e-4);
    op_free(&src);
    op_free(&dst);
}

static void out_of_blocks_on(const oclora_test_device *device)
{
    check_out(device, OCLORA_TYPE_Q8_0, OCLORA_TYPE_F32, 96);
    check_out(device, OCLORA_TYPE_Q5_0, OCLORA_TYPE_F16, 64);
    check_out(device, OCLORA_TYPE_Q6_K, OCLORA_TYPE_F32, 512);
    check_out(device, OCLORA_TYPE_Q4_0, OCLORA_TYPE_Q4_0, 64); /* blocks moved whole */
}

static void refused_on(const oclora_test_device *device)
{
    op_tensor src = op_make(device, OCLORA_TYPE_F32, 256, 1, 1, 1, op_plain);
    op_tensor dst = op_make(device, OCLORA_TYPE_Q4_K, 256, 1, 1, 1, op_plain);
    oclora_op_call call = op_call(OCLORA_OP_COPY, &dst);
    op_add_source(&call, &src);
    op_expect_refused(device, &call, "op copy is not done for dst q4_K[256,1,1,1]");
    op_free(&src);
    op_free(&dst);
}

static void into_blocks(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, into_blocks_on);
}
static void out_of_blocks(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, out_of_blocks_on);
}
static void refused(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, refused_on);
}

int main(void)
{
    const oclora_test tests[] = {
        {"into_blocks", into_blocks}, {"out_of_blocks", out_of_blocks}, {"refused", refused}};
    return oclora_test_main("quantize", tests, sizeof(tests) / sizeof(tests[0]));
}
