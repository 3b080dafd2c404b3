#include "support/lora_world.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint64_t put(world *w, const void *data, size_t bytes)
{
    uint64_t at = w->pool_used;
    CHECK(at + bytes <= WORLD_POOL_BYTES);
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

void world_add(world *w, uint32_t rank, uint32_t group, oclora_type type_a, oclora_type type_b,
               uint32_t with)
{
    world_adapter *k = &w->adapters[w->n_adapters++];
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

void world_add_mul(world *w, uint32_t n_mul, uint32_t with)
{
    world_adapter *k = &w->adapters[w->n_adapters++];
    k->lane.group = 1;
    k->lane.n_mul = n_mul;
    if (with & 1) k->lane.mul_u = put_floats(w, (size_t)n_mul * w->d_out, &k->mul_u);
    if (with & 2) k->lane.mul_v = put_floats(w, (size_t)n_mul * w->d_in, &k->mul_v);
    if (with == 3) k->lane.c = put_floats(w, w->d_out, &k->c);
}

void world_add_routed(world *w, uint32_t n_experts, uint32_t expert_rank, uint32_t top_k,
                      oclora_type type_gate)
{
    world_add(w, n_experts * expert_rank, 1, OCLORA_TYPE_F16, OCLORA_TYPE_F16, 0);
    world_adapter *k = &w->adapters[w->n_adapters - 1];
    k->lane.router = OCLORA_ROUTER_TOP_K | top_k << 8 | n_experts << 16;
    k->lane.temperature = 1.5f;
    k->lane.type_gate = type_gate;
    k->lane.gate = put_factor(w, type_gate, n_experts, w->d_in, &k->gate);
}

void world_open(world *w, const oclora_test_device *device, uint32_t d_in, uint32_t d_out,
                uint32_t n_rows)
{
    oclora_error err = {0, ""};
    memset(w, 0, sizeof *w);
    w->device = device;
    w->d_in = d_in;
    w->d_out = d_out;
    w->n_rows = n_rows;
    w->tolerance = 4e-6;
    w->chunk_rows = 8;
    w->pool_bytes = calloc(WORLD_POOL_BYTES, 1);
    w->pool_used = 64; /* offset 0 means absent */
    size_t weights = (size_t)d_in * d_out, outputs = (size_t)n_rows * (d_out + WORLD_PAD);
    w->values = malloc(weights * 4);
    w->x = malloc((size_t)n_rows * (d_in + WORLD_PAD) * 4);
    w->y0 = malloc(outputs * 4);
    oclora_test_fill(w->values, weights);
    oclora_test_fill(w->x, (size_t)n_rows * (d_in + WORLD_PAD));
    oclora_test_fill(w->y0, outputs);
    CHECK_OK(oclora_base_create(&w->base, device->context, &err), &err);
    CHECK_OK(oclora_buffer_create(&w->w_buffer, device->context, weights * 4, &err), &err);
    CHECK_OK(oclora_buffer_create(&w->x_buffer, device->context,
                                  (uint64_t)n_rows * (d_in + WORLD_PAD) * 4, &err),
             &err);
    CHECK_OK(oclora_buffer_create(&w->y_buffer, device->context, outputs * 4, &err), &err);
    CHECK_OK(oclora_buffer_create(&w->pool, device->context, WORLD_POOL_BYTES, &err), &err);
    CHECK_OK(oclora_base_add(w->base, "w", OCLORA_TYPE_F32, d_in, d_out, w->w_buffer, 0, &w->weight,
                             &err),
             &err);
    CHECK_OK(oclora_weight_write(w->weight, device->stream, 0, w->values, weights * 4, &err), &err);
}

/* After the adapters were added: pool and lane table to the device. */
static void publish(world *w)
{
    oclora_error err = {0, ""};
    oclora_lane lanes[WORLD_ADAPTERS];
    for (uint32_t k = 0; k < w->n_adapters; k++) lanes[k] = w->adapters[k].lane;
    CHECK_OK(
        oclora_stream_write(w->device->stream, w->pool, 0, w->pool_bytes, WORLD_POOL_BYTES, &err),
        &err);
    CHECK_OK(oclora_lane_table_create_from(&w->table, w->device->stream, w->pool, lanes, 1,
                                           w->n_adapters, &err),
             &err);
}

void world_close(world *w)
{
    for (uint32_t k = 0; k < w->n_adapters; k++) {
        world_adapter *a = &w->adapters[k];
        float *owned[] = {a->a,    a->b, a->scale, a->core,  a->u,
                          a->beta, a->c, a->mul_u, a->mul_v, a->gate};
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

/* The sum over j of mul_u[j] o W (mul_v[j] o x), + c, - yb. */
static void add_product(const world *w, const world_adapter *k, double weight, const float *x,
                        const double *yb, double *y)
{
    for (uint32_t o = 0; o < w->d_out; o++) {
        double t = (k->c ? k->c[o] : 0.0) - yb[o];
        for (uint32_t j = 0; j < k->lane.n_mul; j++) {
            double sum = 0;
            for (uint32_t i = 0; i < w->d_in; i++)
                sum += (k->mul_v ? k->mul_v[(size_t)j * w->d_in + i] : 1.0) * x[i] *
                       w->values[(size_t)o * w->d_in + i];
            t += sum * (k->mul_u ? k->mul_u[(size_t)j * w->d_out + o] : 1.0);
        }
        y[o] += weight * t;
    }
}

/* The router's weight of every expert for x. */
static void route(const world *w, const world_adapter *k, const float *x, double *weights)
{
    uint32_t n = k->lane.router >> 16, top_k = k->lane.router >> 8 & 255;
    double logits[64], sum = 0;
    for (uint32_t e = 0; e < n; e++) {
        logits[e] = weights[e] = 0;
        for (uint32_t i = 0; i < w->d_in; i++) logits[e] += (double)k->gate[e * w->d_in + i] * x[i];
    }
    for (uint32_t taken = 0; taken < top_k; taken++) {
        uint32_t best = n;
        for (uint32_t e = 0; e < n; e++)
            if (weights[e] == 0 && (best == n || logits[e] > logits[best])) best = e;
        weights[best] = exp(logits[best] / k->lane.temperature);
        sum += weights[best];
    }
    for (uint32_t e = 0; e < n; e++) weights[e] /= sum;
}

/* Adds weight * (f_k(x) - f(x)) of one adapter to y; yb is the base product. */
static void add_delta(const world *w, const world_adapter *k, double weight, const float *x,
                      const double *yb, double *y)
{
    uint32_t rank = k->lane.rank, n = rank ? w->d_in / k->lane.group : 0;
    double *h = calloc(rank + 1, sizeof *h), *g = calloc(rank + 1, sizeof *g);
    for (uint32_t j = 0; j < rank; j++) {
        for (uint32_t i = 0; i < n * k->lane.group; i++)
            h[j] += (double)k->a[(size_t)j * n + i / k->lane.group] * x[i];
        h[j] *= k->scale[j];
    }
    double experts[64];
    if (k->gate) route(w, k, x, experts);
    for (uint32_t j = 0; j < rank && k->gate; j++)
        h[j] *= experts[j / (rank / (k->lane.router >> 16))];
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
    const float *x = w->x + (size_t)x_row * (w->d_in + WORLD_PAD);
    double *yb = malloc(w->d_out * sizeof *yb);
    for (uint32_t o = 0; o < w->d_out; o++) {
        yb[o] = w->flags & OCLORA_LINEAR_DELTA_ONLY
                    ? w->y0[(size_t)x_row * (w->d_out + WORLD_PAD) + o]
                    : 0.0;
        for (uint32_t i = 0; !(w->flags & OCLORA_LINEAR_DELTA_ONLY) && i < w->d_in; i++)
            yb[o] += (double)w->values[(size_t)o * w->d_in + i] * x[i];
        y[o] = yb[o];
    }
    for (uint32_t e = batch->row_start[row]; e < batch->row_start[row + 1]; e++)
        (w->adapters[batch->adapter[e]].lane.n_mul ? add_product : add_delta)(
            w, &w->adapters[batch->adapter[e]], batch->weight[e], x, yb, y);
    free(yb);
}

/* Runs rows x_rows[0..n) of the world's x with `batch`; y is [n][d_out + WORLD_PAD]. */
static void run(world *w, const oclora_batch *batch, const uint32_t *x_rows, float *y)
{
    oclora_error err = {0, ""};
    oclora_stream *stream = w->device->stream;
    oclora_worklist list;
    oclora_row_work *work = NULL;
    size_t xs = (w->d_in + WORLD_PAD) * 4, ys = (w->d_out + WORLD_PAD) * 4;
    uint32_t n = batch->n_rows;
    CHECK_OK(oclora_worklist_build(&list, oclora_test_env(), batch, w->chunk_rows, &err), &err);
    CHECK_OK(oclora_row_work_create(&work, stream, &err), &err);
    CHECK_OK(oclora_row_work_update(work, &list, &err), &err);
    oclora_test_poison(y, n * ys);
    for (uint32_t i = 0; i < n; i++) {
        CHECK_OK(oclora_stream_write(stream, w->x_buffer, i * xs, (char *)w->x + x_rows[i] * xs, xs,
                                     &err),
                 &err);
        if (w->flags & OCLORA_LINEAR_DELTA_ONLY)
            memcpy((char *)y + i * ys, (char *)w->y0 + x_rows[i] * ys, ys - WORLD_PAD * 4);
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

/* Run i of alike rows has adapters i, i + 1, ..., 1 to WORLD_ENTRIES of them, weighted row by row.
 */
static uint32_t fill_runs(const world *w, uint32_t *start, uint32_t *ids, float *weights)
{
    uint32_t n = 0;
    for (uint32_t row = 0, run = 0, left = w->runs[0]; row < w->n_rows; row++, left--) {
        if (left == 0) left = w->runs[++run];
        start[row] = n;
        for (uint32_t e = 0; e <= run % WORLD_ENTRIES; e++) {
            ids[n] = (run + e) % w->n_adapters;
            weights[n++] = 0.25f + oclora_test_uniform();
        }
    }
    start[w->n_rows] = n;
    return n;
}

static uint32_t fill_batch(const world *w, uint32_t *start, uint32_t *ids, float *weights)
{
    uint32_t n = 0;
    for (uint32_t row = 0; row < w->n_rows; row++) {
        start[row] = n;
        for (uint32_t e = row % 5 ? oclora_test_random() % (WORLD_ENTRIES + 1) : 1; e; e--) {
            ids[n] = oclora_test_random() % w->n_adapters;
            weights[n++] = oclora_test_random() % 5 ? oclora_test_uniform() * 2 : 0.0f;
        }
    }
    start[w->n_rows] = n;
    return n;
}

void world_check(world *w)
{
    uint32_t n = w->n_rows, start[65], ids[64 * WORLD_ENTRIES], order[64] = {0}, differ = 0;
    float weights[64 * WORLD_ENTRIES];
    size_t stride = w->d_out + WORLD_PAD;
    float *y = malloc(n * stride * 4), *alone = malloc(stride * 4);
    double *want = malloc(w->d_out * sizeof *want), worst = 0;
    publish(w);
    (w->runs ? fill_runs : fill_batch)(w, start, ids, weights);
    oclora_batch batch = {n, w->n_adapters, start, ids, weights, NULL};
    for (uint32_t row = 0; row < n; row++) order[row] = row;
    run(w, &batch, order, y);
    float *tiles = malloc(n * stride * 4);
    w->flags ^= OCLORA_LINEAR_TILES;
    run(w, &batch, order, tiles);
    w->flags ^= OCLORA_LINEAR_TILES;
    differ += memcmp(tiles, y, n * stride * 4) != 0;
    free(tiles);
    for (uint32_t row = 0; row < n; row++) {
        reference_row(w, &batch, row, row, want);
        double error = oclora_test_max_error(y + row * stride, want, w->d_out);
        if (!(error <= worst)) worst = error;
        for (uint32_t i = w->d_out; i < stride; i++) differ += !isnan(y[row * stride + i]);
        uint32_t one_start[2] = {0, start[row + 1] - start[row]};
        oclora_batch one = {1,   w->n_adapters, one_start, ids + start[row], weights + start[row],
                            NULL};
        run(w, &one, &row, alone);
        differ += memcmp(alone, y + row * stride, w->d_out * 4) != 0;
        if (!one_start[1] && !(w->flags & OCLORA_LINEAR_DELTA_ONLY)) continue;
        for (uint32_t e = 0; e < one_start[1]; e++) weights[start[row] + e] *= 0.0f;
        if (row % 4) continue;
        float *base = malloc(stride * 4); /* weight 0 is the base product to the bit */
        uint32_t none_start[2] = {0, 0};
        oclora_batch none = {1, w->n_adapters, none_start, ids, weights, NULL};
        run(w, &one, &row, alone);
        run(w, &none, &row, base);
        differ += memcmp(alone, base, w->d_out * 4) != 0;
        free(base);
    }
    CHECK_LE(worst, w->tolerance);
    CHECK_INT(differ, 0);
    free(y);
    free(alone);
    free(want);
    world_close(w);
}
