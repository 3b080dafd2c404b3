/* The base product over PANEL weights: every type, both kernel classes, row counts around every
 * variant's bound, against double precision; and each row bitwise the same alone and in company. */
#include "host/op/linear.h"
#include "support/harness.h"

#include <stdlib.h>
#include <string.h>

enum { PAD = 3 /* floats between rows of x and y */, MAX_ROWS = 70 };

typedef struct fixture {
    const oclora_test_device *device;
    oclora_base *base;
    oclora_buffer *w_buffer, *x_buffer, *y_buffer;
    const oclora_weight *weight;
    float *values; /* [d_out][d_in] */
    float *x;      /* [MAX_ROWS][d_in + PAD] */
    uint32_t d_in, d_out;
} fixture;

static void fill_weight(fixture *f, oclora_type type)
{
    oclora_error err = {0, ""};
    size_t bytes = (size_t)f->weight->bytes;
    unsigned char *plain = malloc(bytes);
    for (size_t i = 0; i < bytes; i++) plain[i] = (unsigned char)(oclora_test_random() >> 7);
    uint32_t block = oclora_type_block_bytes(type), step = block > 4 ? block : 0;
    bool minimum = type == OCLORA_TYPE_Q4_1 || type == OCLORA_TYPE_Q5_1 ||
                   type == OCLORA_TYPE_Q4_K || type == OCLORA_TYPE_Q5_K;
    uint32_t scale_at = type == OCLORA_TYPE_Q6_K ? 208 : 0;
    float size = oclora_type_block(type) > 32 ? 0.0005f : 0.02f;
    for (size_t i = 0; step && i < bytes; i += step) { /* scales of ordinary size */
        uint16_t d = oclora_float_to_half(oclora_test_uniform() * size);
        uint16_t m = oclora_float_to_half(oclora_test_uniform() * size);
        memcpy(plain + i + scale_at, &d, 2);
        if (minimum) memcpy(plain + i + 2, &m, 2);
    }
    for (size_t i = 0; !step && i < bytes / block; i++) {
        float v = oclora_test_uniform() * 0.1f;
        uint16_t half = oclora_float_to_half(v);
        uint32_t bits;
        memcpy(&bits, &v, 4);
        uint16_t high = (uint16_t)(bits >> 16);
        memcpy(plain + i * block,
               type == OCLORA_TYPE_F32   ? (void *)&v
               : type == OCLORA_TYPE_F16 ? (void *)&half
                                         : (void *)&high,
               block);
    }
    CHECK_OK(oclora_weight_write(f->weight, f->device->stream, 0, plain, bytes, &err), &err);
    CHECK_OK(oclora_weight_dequantize(f->weight, f->device->stream, f->values, &err), &err);
    free(plain);
}

static void open_fixture(fixture *f, const oclora_test_device *device, oclora_type type,
                         uint32_t d_in, uint32_t d_out)
{
    oclora_error err = {0, ""};
    memset(f, 0, sizeof *f);
    f->device = device;
    f->d_in = d_in;
    f->d_out = d_out;
    uint64_t bytes = oclora_type_row_bytes(type, d_in) * d_out;
    CHECK_OK(oclora_base_create(&f->base, device->context, &err), &err);
    CHECK_OK(oclora_buffer_create(&f->w_buffer, device->context, bytes + 64, &err), &err);
    CHECK_OK(oclora_buffer_create(&f->x_buffer, device->context,
                                  (uint64_t)MAX_ROWS * (d_in + PAD) * 4, &err),
             &err);
    CHECK_OK(oclora_buffer_create(&f->y_buffer, device->context,
                                  (uint64_t)(MAX_ROWS + 2) * (d_out + PAD) * 4, &err),
             &err);
    CHECK_OK(oclora_base_add(f->base, "w", type, d_in, d_out, f->w_buffer, 64, &f->weight, &err),
             &err);
    f->values = malloc(sizeof *f->values * d_in * d_out);
    f->x = malloc(sizeof *f->x * MAX_ROWS * (d_in + PAD));
    fill_weight(f, type);
    oclora_test_fill(f->x, (size_t)MAX_ROWS * (d_in + PAD));
    CHECK_OK(oclora_stream_write(device->stream, f->x_buffer, 0, f->x,
                                 (uint64_t)MAX_ROWS * (d_in + PAD) * 4, &err),
             &err);
}

static void close_fixture(fixture *f)
{
    oclora_base_destroy(f->base);
    oclora_buffer_destroy(f->w_buffer);
    oclora_buffer_destroy(f->x_buffer);
    oclora_buffer_destroy(f->y_buffer);
    free(f->values);
    free(f->x);
}

/* Rows [first, first + rows) of x into a NaN-poisoned y, read back whole (a guard row on each
 * side). */
static float *run(fixture *f, uint32_t first, uint32_t rows)
{
    oclora_error err = {0, ""};
    size_t xs = (f->d_in + PAD) * 4, ys = (f->d_out + PAD) * 4, bytes = (rows + 2) * ys;
    float *y = malloc(bytes);
    oclora_test_poison(y, bytes);
    CHECK_OK(oclora_stream_write(f->device->stream, f->y_buffer, 0, y, bytes, &err), &err);
    oclora_tensor xt = {f->x_buffer,           first * xs,
                        OCLORA_TYPE_F32,       0,
                        {f->d_in, rows, 1, 1}, {4, xs, xs * rows, xs * rows}};
    oclora_tensor yt = {
        f->y_buffer, ys, OCLORA_TYPE_F32, 0, {f->d_out, rows, 1, 1}, {4, ys, ys * rows, ys * rows}};
    CHECK_OK(oclora_linear(f->device->stream, f->weight, &xt, NULL, &yt, NULL, NULL, 0, &err),
             &err);
    CHECK_OK(oclora_stream_read(f->device->stream, f->y_buffer, 0, y, bytes, &err), &err);
    return y;
}

/* Everything outside the outputs still holds the poison. */
static size_t touched(const fixture *f, const float *y, uint32_t rows)
{
    float poison;
    size_t stride = f->d_out + PAD, wrong = 0;
    oclora_test_poison(&poison, sizeof poison);
    for (size_t i = 0; i < (rows + 2) * stride; i++) {
        size_t row = i / stride, column = i % stride;
        if (row && row <= rows && column < f->d_out) continue;
        wrong += memcmp(&y[i], &poison, 4) != 0;
    }
    return wrong;
}

static void check_case(const oclora_test_device *device, oclora_type type, uint32_t d_in,
                       uint32_t d_out)
{
    static const uint32_t counts[] = {1, 3, 4, 5, 8, 11, 17, 70};
    fixture f;
    open_fixture(&f, device, type, d_in, d_out);
    double *want = malloc(sizeof *want * d_out);
    float *all = run(&f, 0, MAX_ROWS);
    CHECK_INT(touched(&f, all, MAX_ROWS), 0);
    double worst = 0;
    for (uint32_t m = 0; m < MAX_ROWS; m++) {
        for (uint32_t o = 0; o < d_out; o++) {
            want[o] = 0;
            for (uint32_t k = 0; k < d_in; k++)
                want[o] += (double)f.x[m * (d_in + PAD) + k] * f.values[(size_t)o * d_in + k];
        }
        double error = oclora_test_max_error(all + (m + 1) * (d_out + PAD), want, d_out);
        if (!(error <= worst)) worst = error;
    }
    CHECK_LE(worst, 2e-6);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        uint32_t rows = counts[i], first = oclora_test_random() % (MAX_ROWS - rows + 1), differ = 0;
        float *some = run(&f, first, rows);
        CHECK_INT(touched(&f, some, rows), 0);
        for (uint32_t m = 0; m < rows; m++)
            differ += memcmp(some + (m + 1) * (d_out + PAD), all + (first + m + 1) * (d_out + PAD),
                             d_out * sizeof *some) != 0;
        if (differ) printf("type %s, %u rows\n", oclora_type_name(type), (unsigned)rows);
        CHECK_INT(differ, 0);
        free(some);
    }
    free(all);
    free(want);
    close_fixture(&f);
}

static void all_types(const oclora_test_device *device)
{
    check_case(device, OCLORA_TYPE_F32, 96, 80);
    check_case(device, OCLORA_TYPE_F16, 96, 96);
    check_case(device, OCLORA_TYPE_BF16, 64, 64);
    check_case(device, OCLORA_TYPE_Q8_0, 320, 80);
    check_case(device, OCLORA_TYPE_Q4_0, 32, 16);
    check_case(device, OCLORA_TYPE_Q4_1, 608, 144);
    check_case(device, OCLORA_TYPE_Q5_0, 352, 80);
    check_case(device, OCLORA_TYPE_Q5_1, 32, 48);
    check_case(device, OCLORA_TYPE_Q4_K, 768, 80);
    check_case(device, OCLORA_TYPE_Q5_K, 256, 16);
    check_case(device, OCLORA_TYPE_Q5_K, 512, 48);
    check_case(device, OCLORA_TYPE_Q6_K, 768, 144);
}

static void test_matmul(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, all_types);
}

int main(void)
{
    static const oclora_test tests[] = {{"matmul", test_matmul}};
    return oclora_test_main("op_panel", tests, sizeof tests / sizeof tests[0]);
}
