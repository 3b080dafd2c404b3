/* SHRINK and EXPAND over mixed batches: ranks 1 to 1024, odd sizes, every factor type and optional
 * vector, mixtures, absent modules, base-only rows; against double precision, and each row bitwise
 * the same alone and in any company. */
#include "host/op/lanes.h"
#include "support/harness.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { POOL_BYTES = 4 << 20, MAX_ADAPTERS = 8, PAD = 3, MAX_ENTRIES = 3, CHUNK_ROWS = 8 };

typedef struct adapter {
    oclora_lane lane;
    float *a, *b; /* values as stored: [rank][d_in / group], [rank][d_out] */
    float *scale, *core, *u, *beta, *c;
} adapter;

typedef struct world {
    const oclora_test_device *device;
    oclora_base *base;
    oclora_buffer *w_buffer, *x_buffer, *y_buffer, *pool;
    const oclora_weight *weight;
    unsigned char *pool_bytes;
    uint64_t pool_used;
    adapter adapters[MAX_ADAPTERS];
    uint32_t n_adapters, d_in, d_out, n_rows;
    oclora_lane_table *table;
    float *values, *x, *y0; /* y0: what y holds before (DELTA_ONLY) */
    uint32_t flags;
} world;

static uint64_t put(world *w, const void *data, size_t bytes)
{
    uint64_t at = w->pool_used;
    CHECK(at + bytes <= POOL_BYTES);
    memcpy(w->pool_bytes + at, data, bytes);
    w->pool_used = (at + bytes + 63) / 64 * 64;
    return at;
}

static void store_q8_row(float *values, uint32_t n, unsigned char *to)
{
    for (uint32_t b = 0; b * 32 < n; b++, to += 34) {
        uint16_t d = oclora_float_to_half(0.004f + 0.001f * oclora_test_uniform());
        memcpy(to, &d, 2);
        memset(to + 2, 0, 32);
        for (uint32_t i = 0; i < 32 && b * 32 + i < n; i++) {
            int q = (int)(values[b * 32 + i] * 127.0f);
            to[2 + i] = (unsigned char)q;
            values[b * 32 + i] = (float)q * oclora_half_to_float(d);
        }
    }
}

/* Stores [rows][cols] random values as `type`; `values` gets what was stored. */
static uint64_t put_factor(world *w, oclora_type type, uint32_t rows, uint32_t cols, float **values)
{
    size_t count = (size_t)rows * cols;
    size_t row_bytes = type == OCLORA_TYPE_F32    ? cols * 4u
                       : type == OCLORA_TYPE_Q8_0 ? (cols + 31) / 32 * 34u
                                                  : cols * 2u;
    unsigned char *bytes = malloc(rows * row_bytes);
    float *v = malloc(count * sizeof *v);
    oclora_test_fill(v, count);
    for (size_t i = 0; i < count; i++) {
        if (type == OCLORA_TYPE_Q8_0) break;
        unsigned char *to = bytes + i / cols * row_bytes + i % cols * (type ? 2 : 4);
        uint32_t bits;
        memcpy(&bits, &v[i], 4);
        uint16_t half = oclora_float_to_half(v[i]), high = (uint16_t)(bits >> 16);
        memcpy(to,
               type == OCLORA_TYPE_F16    ? (void *)&half
               : type == OCLORA_TYPE_BF16 ? (void *)&high
                                          : (void *)&bits,
               type ? 2 : 4);
        if (type) oclora_dequantize_row(type, to, &v[i], 1, NULL);
    }
    for (uint32_t r = 0; type == OCLORA_TYPE_Q8_0 && r < rows; r++)
        store_q8_row(v + (size_t)r * cols, cols, bytes + r * row_bytes);
    uint64_t at = put(w, bytes, rows * row_bytes);
    free(bytes);
    *values = v;
    return at;
}

static uint64_t put_floats(world *w, size_t count, float **values)
{
    *values = malloc(count * sizeof **values);
    oclora_test_fill(*values, count);
    return put(w, *values, count * sizeof **values);
}

enum { WITH_U = 1, WITH_BETA = 2, WITH_C = 4, WITH_CORE = 8 };

static void add_adapter(world *w, uint32_t rank, uint32_t group, oclora_type type_a,
                        oclora_type type_b, uint32_t with)
{
    adapter *k = &w->adapters[w->n_adapters++];
    k->lane.rank = rank;
    k->lane.group = group;
    k->lane.type_a = type_a;
    k->lane.type_b = type_b;
    if (rank) {
        k->lane.a = put_factor(w, type_a, rank, w->d_in / group, &k->a);
        k->lane.b = put_factor(w, type_b, rank, w->d_out, &k->b);
        k->lane.scale = put_floats(w, rank, &k->scale);
    }
    if (with & WITH_CORE) k->lane.core = put_floats(w, (size_t)rank * rank, &k->core);
    if (with & WITH_U) k->lane.u = put_floats(w, w->d_out, &k->u);
    if (with & WITH_BETA) k->lane.beta = put_floats(w, w->d_out, &k->beta);
    if (with & WITH_C) k->lane.c = put_floats(w, w->d_out, &k->c);
}

static void open_world(world *w, const oclora_test_device *device, uint32_t d_in, uint32_t d_out,
                       uint32_t n_rows)
{
    oclora_error err = {0, ""};
    memset(w, 0, sizeof *w);
    w->device = device;
    w->d_in = d_in;
    w->d_out = d_out;
    w->n_rows = n_rows;
    w->flags = oclora_panel_fits(OCLORA_TYPE_F32, d_in, d_out) ? 0 : OCLORA_LINEAR_DELTA_ONLY;
    w->pool_bytes = calloc(POOL_BYTES, 1);
    w->pool_used = 64; /* offset 0 means absent */
    size_t weights = (size_t)d_in * d_out, outputs = (size_t)n_rows * (d_out + PAD);
    w->values = malloc(weights * 4);
    w->x = malloc((size_t)n_rows * (d_in + PAD) * 4);
    w->y0 = malloc(outputs * 4);
    oclora_test_fill(w->values, weights);
    oclora_test_fill(w->x, (size_t)n_rows * (d_in + PAD));
    oclora_test_fill(w->y0, outputs);
    CHECK_OK(oclora_base_create(&w->base, device->context, &err), &err);
    CHECK_OK(oclora_buffer_create(&w->w_buffer, device->context, weights * 4, &err), &err);
    CHECK_OK(oclora_buffer_create(&w->x_buffer, device->context,
                                  (uint64_t)n_rows * (d_in + PAD) * 4, &err),
             &err);
    CHECK_OK(oclora_buffer_create(&w->y_buffer, device->context, outputs * 4, &err), &err);
    CHECK_OK(oclora_buffer_create(&w->pool, device->context, POOL_BYTES, &err), &err);
    CHECK_OK(oclora_base_add(w->base, "w", OCLORA_TYPE_F32, d_in, d_out, w->w_buffer, 0, &w->weight,
                             &err),
             &err);
    CHECK_OK(oclora_weight_write(w->weight, device->stream, 0, w->values, weights * 4, &err), &err);
}

/* After the adapters were added: pool and lane table to the device. */
static void publish(world *w)
{
    oclora_error err = {0, ""};
    oclora_lane lanes[MAX_ADAPTERS];
    for (uint32_t k = 0; k < w->n_adapters; k++) lanes[k] = w->adapters[k].lane;
    CHECK_OK(oclora_stream_write(w->device->stream, w->pool, 0, w->pool_bytes, POOL_BYTES, &err),
             &err);
    CHECK_OK(oclora_lane_table_create_from(&w->table, w->device->stream, w->pool, lanes, 1,
                                           w->n_adapters, &err),
             &err);
}

static void close_world(world *w)
{
    for (uint32_t k = 0; k < w->n_adapters; k++) {
        adapter *a = &w->adapters[k];
        float *owned[] = {a->a, a->b, a->scale, a->core, a->u, a->beta, a->c};
        for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) free(owned[i]);
    }
    oclora_lane_table_destroy(w->table);
    oclora_base_destroy(w->base);
    oclora_buffer_destroy(w->w_buffer);
    oclora_buffer_destroy(w->x_buffer);
    oclora_buffer_destroy(w->y_buffer);
    oclora_buffer_destroy(w->pool);
    free(w->pool_bytes);
    free(w->values);
    free(w->x);
    free(w->y0);
}

/* Adds weight * (f_k(x) - f(x)) of one adapter to y; yb is the base product. */
static void add_delta(const world *w, const adapter *k, double weight, const float *x,
                      const double *yb, double *y)
{
    uint32_t rank = k->lane.rank, n = rank ? w->d_in / k->lane.group : 0;
    double *h = calloc(rank + 1, sizeof *h), *g = calloc(rank + 1, sizeof *g);
    for (uint32_t j = 0; j < rank; j++) {
        for (uint32_t i = 0; i < n * k->lane.group; i++)
            h[j] += (double)k->a[(size_t)j * n + i / k->lane.group] * x[i];
        h[j] *= k->scale[j];
    }
    for (uint32_t j = 0; j < rank; j++) {
        if (!k->core) g[j] = h[j];
        for (uint32_t i = 0; k->core && i < rank; i++)
            g[j] += (double)k->core[(size_t)j * rank + i] * h[i];
    }
    for (uint32_t o = 0; o < w->d_out; o++) {
        double t = 0;
        for (uint32_t j = 0; j < rank; j++) t += g[j] * k->b[(size_t)j * w->d_out + o];
        t = t * (k->beta ? k->beta[o] : 1.0) + (k->c ? k->c[o] : 0.0);
        y[o] += weight * (t + (k->u ? k->u[o] - 1.0 : 0.0) * yb[o]);
    }
    free(h);
    free(g);
}

static void reference_row(const world *w, const oclora_batch *batch, uint32_t row, uint32_t x_row,
                          double *y)
{
    const float *x = w->x + (size_t)x_row * (w->d_in + PAD);
    double *yb = malloc(w->d_out * sizeof *yb);
    for (uint32_t o = 0; o < w->d_out; o++) {
        yb[o] = w->flags ? w->y0[(size_t)x_row * (w->d_out + PAD) + o] : 0.0;
        for (uint32_t i = 0; !w->flags && i < w->d_in; i++)
            yb[o] += (double)w->values[(size_t)o * w->d_in + i] * x[i];
        y[o] = yb[o];
    }
    for (uint32_t e = batch->row_start[row]; e < batch->row_start[row + 1]; e++)
        add_delta(w, &w->adapters[batch->adapter[e]], batch->weight[e], x, yb, y);
    free(yb);
}

/* Runs rows x_rows[0..n) of the world's x with `batch`; y is [n][d_out + PAD]. */
static void run(world *w, const oclora_batch *batch, const uint32_t *x_rows, float *y)
{
    oclora_error err = {0, ""};
    oclora_stream *stream = w->device->stream;
    oclora_worklist list;
    oclora_row_work *work = NULL;
    size_t xs = (w->d_in + PAD) * 4, ys = (w->d_out + PAD) * 4;
    uint32_t n = batch->n_rows;
    CHECK_OK(oclora_worklist_build(&list, oclora_test_env(), batch, CHUNK_ROWS, &err), &err);
    CHECK_OK(oclora_row_work_create(&work, stream, &err), &err);
    CHECK_OK(oclora_row_work_update(work, &list, &err), &err);
    oclora_test_poison(y, n * ys);
    for (uint32_t i = 0; i < n; i++) {
        CHECK_OK(oclora_stream_write(stream, w->x_buffer, i * xs, (char *)w->x + x_rows[i] * xs, xs,
                                     &err),
                 &err);
        if (w->flags) memcpy((char *)y + i * ys, (char *)w->y0 + x_rows[i] * ys, ys - PAD * 4);
    }
    CHECK_OK(oclora_stream_write(stream, w->y_buffer, 0, y, n * ys, &err), &err);
    oclora_tensor xt = {
        w->x_buffer, 0, OCLORA_TYPE_F32, 0, {w->d_in, n, 1, 1}, {4, xs, xs * n, xs * n}};
    oclora_tensor yt = {
        w->y_buffer, 0, OCLORA_TYPE_F32, 0, {w->d_out, n, 1, 1}, {4, ys, ys * n, ys * n}};
    CHECK_OK(oclora_linear(stream, w->weight, &xt, NULL, &yt, w->table, work, w->flags, &err),
             &err);
    CHECK_OK(oclora_stream_read(stream, w->y_buffer, 0, y, n * ys, &err), &err);
    oclora_row_work_destroy(work);
    oclora_worklist_free(&list);
}

static uint32_t fill_batch(const world *w, uint32_t *start, uint32_t *ids, float *weights)
{
    uint32_t n = 0;
    for (uint32_t row = 0; row < w->n_rows; row++) {
        start[row] = n;
        for (uint32_t e = row % 5 ? oclora_test_random() % (MAX_ENTRIES + 1) : 1; e; e--) {
            ids[n] = oclora_test_random() % w->n_adapters;
            weights[n++] = oclora_test_random() % 5 ? oclora_test_uniform() * 2 : 0.0f;
        }
    }
    start[w->n_rows] = n;
    return n;
}

static void check_world(world *w)
{
    uint32_t n = w->n_rows, start[65], ids[64 * MAX_ENTRIES], order[64] = {0}, differ = 0;
    float weights[64 * MAX_ENTRIES];
    size_t stride = w->d_out + PAD;
    float *y = malloc(n * stride * 4), *alone = malloc(stride * 4);
    double *want = malloc(w->d_out * sizeof *want), worst = 0;
    publish(w);
    fill_batch(w, start, ids, weights);
    oclora_batch batch = {n, w->n_adapters, start, ids, weights};
    for (uint32_t row = 0; row < n; row++) order[row] = row;
    run(w, &batch, order, y);
    for (uint32_t row = 0; row < n; row++) {
        reference_row(w, &batch, row, row, want);
        double error = oclora_test_max_error(y + row * stride, want, w->d_out);
        if (!(error <= worst)) worst = error;
        for (uint32_t i = w->d_out; i < stride; i++) differ += !isnan(y[row * stride + i]);
        uint32_t one_start[2] = {0, start[row + 1] - start[row]};
        oclora_batch one = {1, w->n_adapters, one_start, ids + start[row], weights + start[row]};
        run(w, &one, &row, alone);
        differ += memcmp(alone, y + row * stride, w->d_out * 4) != 0;
        if (!one_start[1] && !w->flags) continue;
        for (uint32_t e = 0; e < one_start[1]; e++) weights[start[row] + e] *= 0.0f;
        if (row % 4) continue;
        float *base = malloc(stride * 4); /* weight 0 is the base product to the bit */
        uint32_t none_start[2] = {0, 0};
        oclora_batch none = {1, w->n_adapters, none_start, ids, weights};
        run(w, &one, &row, alone);
        run(w, &none, &row, base);
        differ += memcmp(alone, base, w->d_out * 4) != 0;
        free(base);
    }
    CHECK_LE(worst, 4e-6);
    CHECK_INT(differ, 0);
    free(y);
    free(alone);
    free(want);
    close_world(w);
}

static void mixed_types(const oclora_test_device *device)
{
    world w;
    open_world(&w, device, 96, 80, 37);
    add_adapter(&w, 8, 1, OCLORA_TYPE_F16, OCLORA_TYPE_F16, 0);
    add_adapter(&w, 1, 1, OCLORA_TYPE_F32, OCLORA_TYPE_F32, 0);
    add_adapter(&w, 5, 1, OCLORA_TYPE_BF16, OCLORA_TYPE_Q8_0, WITH_BETA);
    add_adapter(&w, 16, 1, OCLORA_TYPE_Q8_0, OCLORA_TYPE_BF16, WITH_C);
    add_adapter(&w, 0, 1, 0, 0, 0); /* leaves the module alone */
    add_adapter(&w, 7, 3, OCLORA_TYPE_F32, OCLORA_TYPE_F16, WITH_CORE);
    add_adapter(&w, 4, 1, OCLORA_TYPE_F16, OCLORA_TYPE_F32, WITH_U | WITH_BETA);
    add_adapter(&w, 0, 1, 0, 0, WITH_U | WITH_C);
    check_world(&w);
}

static void odd_sizes(const oclora_test_device *device)
{
    world w;
    open_world(&w, device, 77, 61, 21);
    add_adapter(&w, 9, 7, OCLORA_TYPE_F16, OCLORA_TYPE_Q8_0, WITH_U);
    add_adapter(&w, 3, 1, OCLORA_TYPE_Q8_0, OCLORA_TYPE_F16, WITH_CORE | WITH_BETA);
    add_adapter(&w, 2, 11, OCLORA_TYPE_F32, OCLORA_TYPE_F32, WITH_C);
    add_adapter(&w, 6, 1, OCLORA_TYPE_BF16, OCLORA_TYPE_BF16, 0);
    check_world(&w);
}

static void high_ranks(const oclora_test_device *device)
{
    world w;
    open_world(&w, device, 160, 112, 9);
    add_adapter(&w, 1024, 1, OCLORA_TYPE_F16, OCLORA_TYPE_F16, 0);
    add_adapter(&w, 129, 1, OCLORA_TYPE_Q8_0, OCLORA_TYPE_Q8_0, 0);
    add_adapter(&w, 1, 1, OCLORA_TYPE_F32, OCLORA_TYPE_F32, 0);
    check_world(&w);
}

static void bias_and_refusals(const oclora_test_device *device)
{
    world w;
    oclora_error err = {0, ""};
    open_world(&w, device, 32, 16, 2);
    oclora_buffer *bias = NULL;
    float values[16], plain[2 * (16 + PAD)], biased[2 * (16 + PAD)];
    oclora_test_fill(values, 16);
    CHECK_OK(oclora_buffer_create(&bias, device->context, sizeof values, &err), &err);
    CHECK_OK(oclora_stream_write(device->stream, bias, 0, values, sizeof values, &err), &err);
    CHECK_OK(oclora_stream_write(device->stream, w.x_buffer, 0, w.x, 2 * (32 + PAD) * 4, &err),
             &err);
    oclora_tensor x = {w.x_buffer, 0, OCLORA_TYPE_F32, 0, {32, 2, 1, 1}, {4, 140, 280, 280}};
    oclora_tensor y = {w.y_buffer, 0, OCLORA_TYPE_F32, 0, {16, 2, 1, 1}, {4, 76, 152, 152}};
    oclora_tensor b = {bias, 0, OCLORA_TYPE_F32, 0, {16, 1, 1, 1}, {4, 64, 64, 64}};
    CHECK_OK(oclora_linear(device->stream, w.weight, &x, NULL, &y, NULL, NULL, 0, &err), &err);
    CHECK_OK(oclora_stream_read(device->stream, w.y_buffer, 0, plain, sizeof plain, &err), &err);
    CHECK_OK(oclora_linear(device->stream, w.weight, &x, &b, &y, NULL, NULL, 0, &err), &err);
    CHECK_OK(oclora_stream_read(device->stream, w.y_buffer, 0, biased, sizeof biased, &err), &err);
    for (int i = 0; i < 32; i++) {
        int at = i / 16 * (16 + PAD) + i % 16;
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
    close_world(&w);
}

static void test_mixed_types(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, mixed_types);
}

static void test_odd_sizes(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, odd_sizes);
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
                                        {"high_ranks", test_high_ranks},
                                        {"bias_and_refusals", test_bias_and_refusals}};
    return oclora_test_main("op_linear", tests, sizeof tests / sizeof tests[0]);
}
