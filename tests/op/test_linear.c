/* SHRINK and EXPAND over mixed batches: ranks 1 to 1024, odd sizes, every factor type and optional
 * vector, mixtures, absent modules, base-only rows; against double precision, and each row bitwise
 * the same alone and in any company. */
#include "host/op/fused.h"
#include "host/op/row_work.h"
#include "support/lora_world.h"

#include <stdlib.h>
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

enum { GROUP_ROWS = 5, GROUP_IN = 96, GROUP_OUT = 384, GROUP_LAYERS = 3 };

/* Three layers over one x, the factors of all in the pool of one world. */
typedef struct group {
    world w;
    oclora_base *base;
    oclora_buffer *weights, *out;
    oclora_lane_table *table;
    oclora_row_work *work;
    oclora_group_call call;
} group;

static void group_layer(group *g, uint32_t i, uint32_t d_out, uint64_t *at)
{
    oclora_error err = {0, ""};
    uint64_t stride = d_out * 4, xs = (GROUP_IN + WORLD_PAD) * 4;
    float *values = malloc(d_out * GROUP_IN * sizeof *values);
    oclora_test_fill(values, (size_t)d_out * GROUP_IN);
    CHECK_OK(oclora_base_add(g->base, "w", OCLORA_TYPE_F32, GROUP_IN, d_out, g->weights,
                             *at * GROUP_IN, &g->call.weight[i], &err),
             &err);
    CHECK_OK(oclora_weight_write(g->call.weight[i], g->w.device->stream, 0, values,
                                 g->call.weight[i]->bytes, &err),
             &err);
    free(values);
    oclora_tensor x = {g->w.x_buffer,
                       0,
                       OCLORA_TYPE_F32,
                       0,
                       {GROUP_IN, GROUP_ROWS, 1, 1},
                       {4, xs, xs * GROUP_ROWS, xs * GROUP_ROWS}};
    oclora_tensor y = {
        g->out, *at * GROUP_ROWS,          OCLORA_TYPE_F32,
        0,      {d_out, GROUP_ROWS, 1, 1}, {4, stride, stride * GROUP_ROWS, stride * GROUP_ROWS}};
    g->call.x = x;
    g->call.y[i] = y;
    g->w.d_out = d_out;
    world_add(&g->w, i == 1 ? 0 : 8, 1, OCLORA_TYPE_F16, OCLORA_TYPE_F16, 0);
    world_add(&g->w, 3, 1, OCLORA_TYPE_F32, OCLORA_TYPE_Q8_0, i == 2 ? WITH_U : 0);
    *at += stride;
}

static void group_work(group *g)
{
    static const uint32_t start[GROUP_ROWS + 1] = {0, 1, 2, 2, 4, 5}, ids[5] = {0, 1, 1, 0, 0};
    static const float shares[5] = {1, 1, 0.5f, -0.25f, 2};
    oclora_batch batch = {GROUP_ROWS, 2, start, ids, shares, NULL};
    oclora_worklist list;
    oclora_error err = {0, ""};
    CHECK_OK(oclora_worklist_build(&list, oclora_test_env(), &batch, 4, &err), &err);
    CHECK_OK(oclora_row_work_create(&g->work, g->w.device->stream, &err), &err);
    CHECK_OK(oclora_row_work_update(g->work, &list, &err), &err);
    oclora_worklist_free(&list);
    for (uint32_t i = 0; i < GROUP_LAYERS; i++) g->call.work[i] = g->work;
}

static void group_open(group *g, const oclora_test_device *device)
{
    static const uint32_t outs[GROUP_LAYERS] = {192, 64, 128};
    oclora_error err = {0, ""};
    oclora_lane lanes[2 * GROUP_LAYERS];
    uint64_t at = 0;
    memset(g, 0, sizeof *g);
    world_open(&g->w, device, GROUP_IN, outs[0], GROUP_ROWS);
    g->call.count = GROUP_LAYERS;
    g->call.rows = GROUP_ROWS;
    CHECK_OK(oclora_base_create(&g->base, device->context, &err), &err);
    CHECK_OK(oclora_buffer_create(&g->out, device->context, GROUP_ROWS * GROUP_OUT * 4, &err),
             &err);
    CHECK_OK(oclora_buffer_create(&g->weights, device->context, GROUP_IN * GROUP_OUT * 4, &err),
             &err);
    for (uint32_t i = 0; i < GROUP_LAYERS; i++) group_layer(g, i, outs[i], &at);
    for (uint32_t k = 0; k < g->w.n_adapters; k++) lanes[k] = g->w.adapters[k].lane;
    CHECK_OK(
        oclora_stream_write(device->stream, g->w.pool, 0, g->w.pool_bytes, WORLD_POOL_BYTES, &err),
        &err);
    CHECK_OK(oclora_stream_write(device->stream, g->w.x_buffer, 0, g->w.x,
                                 GROUP_ROWS * (GROUP_IN + WORLD_PAD) * 4, &err),
             &err);
    CHECK_OK(oclora_lane_table_create_from(&g->table, device->stream, g->w.pool, lanes,
                                           GROUP_LAYERS, 2, &err),
             &err);
    group_work(g);
}

static void group_close(group *g)
{
    oclora_lane_table_destroy(g->table);
    oclora_row_work_destroy(g->work);
    oclora_base_destroy(g->base);
    oclora_buffer_destroy(g->out);
    oclora_buffer_destroy(g->weights);
    world_close(&g->w);
}

/* As one group in fewer launches, and one by one, the same bits. */
static void grouped(const oclora_test_device *device)
{
    group g;
    oclora_error err = {0, ""};
    oclora_stream *stream = device->stream;
    float together[GROUP_ROWS * GROUP_OUT], apart[GROUP_ROWS * GROUP_OUT];
    group_open(&g, device);
    uint64_t before = oclora_stream_get_stats(stream).launches;
    CHECK_OK(oclora_linear_group(stream, &g.call, g.table, &err), &err);
    uint64_t group_launches = oclora_stream_get_stats(stream).launches - before;
    CHECK_OK(oclora_stream_read(stream, g.out, 0, together, sizeof together, &err), &err);
    before = oclora_stream_get_stats(stream).launches;
    for (int i = 0; i < GROUP_LAYERS; i++)
        CHECK_OK(oclora_linear(stream, g.call.weight[i], &g.call.x, NULL, &g.call.y[i], g.table,
                               g.work, 0, &err),
                 &err);
    CHECK(group_launches < oclora_stream_get_stats(stream).launches - before);
    CHECK_OK(oclora_stream_read(stream, g.out, 0, apart, sizeof apart, &err), &err);
    CHECK(!memcmp(together, apart, sizeof apart));
    group_close(&g);
}

/* A group that has one product with this fault must be refused as that product is alone, and
 * nothing be computed. */
static void refused_alike(group *g, uint32_t i, const oclora_lane_table *table, oclora_status want)
{
    oclora_error err = {0, ""};
    oclora_stream *stream = g->w.device->stream;
    float out[GROUP_ROWS * GROUP_OUT], poison[GROUP_ROWS * GROUP_OUT];
    oclora_test_poison(poison, sizeof poison);
    CHECK_OK(oclora_stream_write(stream, g->out, 0, poison, sizeof poison, &err), &err);
    CHECK_STATUS(oclora_linear(stream, g->call.weight[i], &g->call.x, NULL, &g->call.y[i], table,
                               g->call.work[i], 0, &err),
                 want, &err);
    CHECK_STATUS(oclora_linear_group(stream, &g->call, table, &err), want, &err);
    CHECK_OK(oclora_stream_read(stream, g->out, 0, out, sizeof out, &err), &err);
    CHECK(!memcmp(out, poison, sizeof out));
}

static void group_refusals(const oclora_test_device *device)
{
    group g;
    oclora_error err = {0, ""};
    group_open(&g, device);
    const oclora_group_call good = g.call;
    for (uint32_t i = 0; i < GROUP_LAYERS; i++) {
        g.call.y[i].offset += GROUP_ROWS * GROUP_OUT * 4; /* past the end */
        refused_alike(&g, i, g.table, OCLORA_INVALID_ARGUMENT);
        g.call = good;
        g.call.y[i].ne[1]--;
        refused_alike(&g, i, g.table, OCLORA_SHAPE_MISMATCH);
        g.call = good;
        refused_alike(&g, i, NULL, OCLORA_INVALID_ARGUMENT); /* who is on the rows, but no lanes */
        g.work->n_rows--;
        refused_alike(&g, i, g.table, OCLORA_INVALID_ARGUMENT);
        g.work->n_rows++;
        g.work->n_adapters++;
        refused_alike(&g, i, g.table, OCLORA_INVALID_ARGUMENT);
        g.work->n_adapters--;
        const uint32_t flags = g.table->summaries[i].flags;
        g.table->summaries[i].flags |= OCLORA_LANES_PAIRS; /* and no sequences are known */
        refused_alike(&g, i, g.table, OCLORA_ROWS_UNKNOWN);
        g.table->summaries[i].flags = flags;
    }
    g.call.rows--;
    CHECK_STATUS(oclora_linear_group(device->stream, &g.call, g.table, &err), OCLORA_SHAPE_MISMATCH,
                 &err);
    group_close(&g);
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
    oclora_test_poison(plain, sizeof plain);
    CHECK_OK(oclora_stream_write(device->stream, w.y_buffer, 0, plain, sizeof plain, &err), &err);
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
    const uint64_t steps[3] = {16 * 4 - 4, 0,
                               UINT64_MAX - 63}; /* overlapping rows; a sum that wraps */
    for (int i = 0; i < 3; i++) {
        y.nb[1] = steps[i];
        CHECK_STATUS(oclora_linear(device->stream, w.weight, &x, NULL, &y, NULL, NULL, 0, &err),
                     OCLORA_INVALID_ARGUMENT, &err);
    }
    y.nb[1] = 76;
    x.nb[1] = UINT64_MAX - 127;
    CHECK_STATUS(oclora_linear(device->stream, w.weight, &x, NULL, &y, NULL, NULL, 0, &err),
                 OCLORA_INVALID_ARGUMENT, &err);
    x.nb[1] = 140;
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

static void test_group_refusals(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, group_refusals);
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
    static const oclora_test tests[] = {
        {"mixed_types", test_mixed_types}, {"odd_sizes", test_odd_sizes},
        {"multiplied", test_multiplied},   {"routed", test_routed},
        {"grouped", test_grouped},         {"group_refusals", test_group_refusals},
        {"high_ranks", test_high_ranks},   {"bias_and_refusals", test_bias_and_refusals}};
    return oclora_test_main("op_linear", tests, sizeof tests / sizeof tests[0]);
}
