/* SHRINK and EXPAND over mixed batches: ranks 1 to 1024, odd sizes, every factor type and optional
 * vector, mixtures, absent modules, base-only rows; against double precision, and each row bitwise
 * the same alone and in any company. */
#include "host/op/fused.h"
#include "support/lora_world.h"

#include <string.h>

static void mixed_types(const oclora_test_device *device)
{
    world w;
    world_open(&w, device, 96, 80, 37);
    world_add(&w, 8, 1, OCLORA_TYPE_F16, OCLORA_TYPE_F16, 0);
    world_add(&w, 1, 1, OCLORA_TYPE_F32, OCLORA_TYPE_F32, 0);
    world_add(&w, 5, 1, OCLORA_TYPE_BF16, OCLORA_TYPE_Q8_0, WITH_BETA);
    world_add(&w, 16, 1, OCLORA_TYPE_Q8_0, OCLORA_TYPE_BF16, WITH_C);
    world_add(&w, 0, 1, 0, 0, 0); /* leaves the module alone */
    world_add(&w, 7, 3, OCLORA_TYPE_F32, OCLORA_TYPE_F16, WITH_CORE);
    world_add(&w, 4, 1, OCLORA_TYPE_F16, OCLORA_TYPE_F32, WITH_U | WITH_BETA);
    world_add(&w, 0, 1, 0, 0, WITH_U | WITH_C);
    world_check(&w);
}

static void odd_sizes(const oclora_test_device *device)
{
    world w;
    world_open(&w, device, 77, 61, 21);
    w.flags = OCLORA_LINEAR_DELTA_ONLY;
    world_add(&w, 9, 7, OCLORA_TYPE_F16, OCLORA_TYPE_Q8_0, WITH_U);
    world_add(&w, 3, 1, OCLORA_TYPE_Q8_0, OCLORA_TYPE_F16, WITH_CORE | WITH_BETA);
    world_add(&w, 2, 11, OCLORA_TYPE_F32, OCLORA_TYPE_F32, WITH_C);
    world_add(&w, 6, 1, OCLORA_TYPE_BF16, OCLORA_TYPE_BF16, 0);
    world_check(&w);
}

static void multiplied(const oclora_test_device *device)
{
    world w;
    world_open(&w, device, 96, 80, 23);
    world_add_mul(&w, 1, 1);
    world_add(&w, 4, 1, OCLORA_TYPE_F16, OCLORA_TYPE_F16, WITH_U);
    world_add_mul(&w, 3, 3);
    world_add_mul(&w, 2, 2);
    world_check(&w);
}

static void routed(const oclora_test_device *device)
{
    world w;
    world_open(&w, device, 61, 45, 23);
    world_add_routed(&w, 5, 3, 2, OCLORA_TYPE_F16);
    world_add(&w, 4, 1, OCLORA_TYPE_F16, OCLORA_TYPE_F16, 0);
    world_add_routed(&w, 28, 2, 1, OCLORA_TYPE_F32);
    world_add_routed(&w, 3, 8, 3, OCLORA_TYPE_BF16);
    w.tolerance = 2e-5; /* exp */
    world_check(&w);
}

/* Three layers over one x, as one group and one by one. */
static void grouped(const oclora_test_device *device)
{
    world w[3];
    const uint32_t outs[3] = {192, 64, 128};
    oclora_error err = {0, ""};
    const oclora_weight *weights[3];
    oclora_tensor y[3];
    oclora_stream *stream = device->stream;
    oclora_buffer *out = NULL, *both = NULL;
    oclora_base *base = NULL;
    enum { ROWS = 5, D_IN = 96, BYTES = ROWS * 384 * 4 };
    float together[ROWS * 384], apart[ROWS * 384];
    CHECK_OK(oclora_base_create(&base, device->context, &err), &err);
    CHECK_OK(oclora_buffer_create(&out, device->context, BYTES, &err), &err);
    CHECK_OK(oclora_buffer_create(&both, device->context, D_IN * 384 * 4, &err), &err);
    uint64_t at = 0, lane_count = 0;
    oclora_lane lanes[9];
    for (int i = 0; i < 3;
         i++) { /* lanes of world 0's pool, so that d_out differs by factor rows only */
        world_open(&w[i], device, D_IN, outs[i], ROWS);
        CHECK_OK(oclora_base_add(base, "w", OCLORA_TYPE_F32, D_IN, outs[i], both, at * D_IN,
                                 &weights[i], &err),
                 &err);
        CHECK_OK(oclora_weight_write(weights[i], stream, 0, w[i].values, weights[i]->bytes, &err),
                 &err);
        oclora_tensor t = {out,
                           at * ROWS,
                           OCLORA_TYPE_F32,
                           0,
                           {outs[i], ROWS, 1, 1},
                           {4, outs[i] * 4, outs[i] * 4 * ROWS, outs[i] * 4 * ROWS}};
        y[i] = t;
        at += outs[i] * 4;
    }
    for (int i = 0; i < 3; i++) {
        w[0].d_out = outs[i];
        world_add(&w[0], i == 1 ? 0 : 8, 1, OCLORA_TYPE_F16, OCLORA_TYPE_F16, 0);
        world_add(&w[0], 3, 1, OCLORA_TYPE_F32, OCLORA_TYPE_Q8_0, i == 2 ? WITH_U : 0);
        lanes[lane_count++] = w[0].adapters[2 * i].lane;
        lanes[lane_count++] = w[0].adapters[2 * i + 1].lane;
    }
    w[0].d_out = outs[0];
    const uint32_t start[ROWS + 1] = {0, 1, 2, 2, 4, 5}, ids[5] = {0, 1, 1, 0, 0};
    const float shares[5] = {1, 1, 0.5f, -0.25f, 2};
    oclora_batch batch = {ROWS, 2, start, ids, shares};
    oclora_worklist list;
    oclora_row_work *work = NULL;
    oclora_lane_table *table = NULL;
    CHECK_OK(oclora_worklist_build(&list, oclora_test_env(), &batch, 4, &err), &err);
    CHECK_OK(oclora_row_work_create(&work, stream, &err), &err);
    CHECK_OK(oclora_row_work_update(work, &list, &err), &err);
    CHECK_OK(oclora_stream_write(stream, w[0].pool, 0, w[0].pool_bytes, WORLD_POOL_BYTES, &err),
             &err);
    CHECK_OK(oclora_lane_table_create_from(&table, stream, w[0].pool, lanes, 3, 2, &err), &err);
    CHECK_OK(
        oclora_stream_write(stream, w[0].x_buffer, 0, w[0].x, ROWS * (D_IN + WORLD_PAD) * 4, &err),
        &err);
    uint64_t xs = (D_IN + WORLD_PAD) * 4;
    oclora_tensor x = {
        w[0].x_buffer, 0, OCLORA_TYPE_F32, 0, {D_IN, ROWS, 1, 1}, {4, xs, xs * ROWS, xs * ROWS}};
    uint64_t before = oclora_stream_get_stats(stream).launches;
    oclora_group_call call = {
        3, ROWS, {weights[0], weights[1], weights[2]}, x, {y[0], y[1], y[2]}, {work, work, work}};
    CHECK_OK(oclora_linear_group(stream, &call, table, &err), &err);
    uint64_t group_launches = oclora_stream_get_stats(stream).launches - before;
    CHECK_OK(oclora_stream_read(stream, out, 0, together, BYTES, &err), &err);
    before = oclora_stream_get_stats(stream).launches;
    for (int i = 0; i < 3; i++)
        CHECK_OK(oclora_linear(stream, weights[i], &x, NULL, &y[i], table, work, 0, &err), &err);
    CHECK(group_launches < oclora_stream_get_stats(stream).launches - before);
    CHECK_OK(oclora_stream_read(stream, out, 0, apart, BYTES, &err), &err);
    CHECK(!memcmp(together, apart, BYTES));
    oclora_lane_table_destroy(table);
    oclora_row_work_destroy(work);
    oclora_worklist_free(&list);
    oclora_base_destroy(base);
    oclora_buffer_destroy(out);
    oclora_buffer_destroy(both);
    for (int i = 0; i < 3; i++) world_close(&w[i]);
}

static void high_ranks(const oclora_test_device *device)
{
    world w;
    world_open(&w, device, 160, 112, 9);
    world_add(&w, 1024, 1, OCLORA_TYPE_F16, OCLORA_TYPE_F16, 0);
    world_add(&w, 129, 1, OCLORA_TYPE_Q8_0, OCLORA_TYPE_Q8_0, 0);
    world_add(&w, 1, 1, OCLORA_TYPE_F32, OCLORA_TYPE_F32, 0);
    world_check(&w);
}

static void bias_and_refusals(const oclora_test_device *device)
{
    world w;
    oclora_error err = {0, ""};
    world_open(&w, device, 32, 16, 2);
    oclora_buffer *bias = NULL;
    float values[16], plain[2 * (16 + WORLD_PAD)], biased[2 * (16 + WORLD_PAD)];
    oclora_test_fill(values, 16);
    CHECK_OK(oclora_buffer_create(&bias, device->context, sizeof values, &err), &err);
    CHECK_OK(oclora_stream_write(device->stream, bias, 0, values, sizeof values, &err), &err);
    CHECK_OK(
        oclora_stream_write(device->stream, w.x_buffer, 0, w.x, 2 * (32 + WORLD_PAD) * 4, &err),
        &err);
    oclora_tensor x = {w.x_buffer, 0, OCLORA_TYPE_F32, 0, {32, 2, 1, 1}, {4, 140, 280, 280}};
    oclora_tensor y = {w.y_buffer, 0, OCLORA_TYPE_F32, 0, {16, 2, 1, 1}, {4, 76, 152, 152}};
    oclora_tensor b = {bias, 0, OCLORA_TYPE_F32, 0, {16, 1, 1, 1}, {4, 64, 64, 64}};
    CHECK_OK(oclora_linear(device->stream, w.weight, &x, NULL, &y, NULL, NULL, 0, &err), &err);
    CHECK_OK(oclora_stream_read(device->stream, w.y_buffer, 0, plain, sizeof plain, &err), &err);
    CHECK_OK(oclora_linear(device->stream, w.weight, &x, &b, &y, NULL, NULL, 0, &err), &err);
    CHECK_OK(oclora_stream_read(device->stream, w.y_buffer, 0, biased, sizeof biased, &err), &err);
    for (int i = 0; i < 32; i++) {
        int at = i / 16 * (16 + WORLD_PAD) + i % 16;
        CHECK(biased[at] == plain[at] + values[i % 16]);
    }
    y.ne[1] = 3;
    CHECK_STATUS(oclora_linear(device->stream, w.weight, &x, NULL, &y, NULL, NULL, 0, &err),
                 OCLORA_INVALID_ARGUMENT, &err);
    y.ne[1] = 1;
    CHECK_STATUS(oclora_linear(device->stream, w.weight, &x, NULL, &y, NULL, NULL, 0, &err),
                 OCLORA_SHAPE_MISMATCH, &err);
    x.ne[0] = 31;
    CHECK_STATUS(oclora_linear(device->stream, w.weight, &x, NULL, &y, NULL, NULL, 0, &err),
                 OCLORA_SHAPE_MISMATCH, &err);
    oclora_buffer_destroy(bias);
    world_close(&w);
}

static void test_mixed_types(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, mixed_types);
}

static void test_odd_sizes(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, odd_sizes);
}

static void test_multiplied(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, multiplied);
}

static void test_routed(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, routed);
}

static void test_grouped(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, grouped);
}

static void test_high_ranks(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, high_ranks);
}

static void test_bias_and_refusals(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, bias_and_refusals);
}

int main(void)
{
    static const oclora_test tests[] = {{"mixed_types", test_mixed_types},
                                        {"odd_sizes", test_odd_sizes},
                                        {"multiplied", test_multiplied},
                                        {"routed", test_routed},
                                        {"grouped", test_grouped},
                                        {"high_ranks", test_high_ranks},
                                        {"bias_and_refusals", test_bias_and_refusals}};
    return oclora_test_main("op_linear", tests, sizeof tests / sizeof tests[0]);
}
