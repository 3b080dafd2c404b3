/* Bytes in and out of the plugin's buffers through ggml's public API: weights are repacked on the
 * device and must not show it. */
#include "host/base/layout.h"
#include "support/harness.h"

#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct world {
    ggml_backend_reg_t reg;
    ggml_backend_dev_t device;
    ggml_backend_t backend;
    ggml_backend_buffer_type_t type;
} world;

static world w;

static bool open_world(void)
{
    if (w.reg == NULL) w.reg = ggml_backend_load(OCLORA_PLUGIN);
    if (w.reg == NULL) {
        oclora_test_skip("the plugin does not load: no OpenCL device");
        return false;
    }
    if (w.device == NULL) w.device = ggml_backend_reg_dev_get(w.reg, 0);
    if (w.backend == NULL) w.backend = ggml_backend_dev_init(w.device, NULL);
    w.type = ggml_backend_dev_buffer_type(w.device);
    CHECK(w.backend != NULL);
    return w.backend != NULL;
}

static struct ggml_context *new_context(void)
{
    struct ggml_init_params params = {ggml_tensor_overhead() * 32 + ggml_graph_overhead(), NULL,
                                      true};
    return ggml_init(params);
}

static uint8_t *random_bytes(size_t size)
{
    uint8_t *bytes = malloc(size + 8);
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)oclora_test_random();
    return bytes;
}

/* One weight alone in a buffer. */
static struct ggml_tensor *new_weight(struct ggml_context *ctx, int type, int64_t d_in,
                                      int64_t d_out, const char *name, ggml_backend_buffer_t *out)
{
    struct ggml_tensor *t = ggml_new_tensor_2d(ctx, (enum ggml_type)type, d_in, d_out);
    ggml_set_name(t, name);
    *out = ggml_backend_buft_alloc_buffer(w.type, ggml_nbytes(t) + 4096);
    CHECK(*out != NULL);
    if (*out != NULL) ggml_backend_tensor_alloc(*out, t, ggml_backend_buffer_get_base(*out));
    return t;
}

static void expect_bytes(const struct ggml_tensor *t, const uint8_t *wanted, const char *what)
{
    size_t size = ggml_nbytes(t);
    uint8_t *got = malloc(size);
    ggml_backend_tensor_get(t, got, 0, size);
    CHECK(memcmp(got, wanted, size) == 0);
    if (memcmp(got, wanted, size) != 0) printf("  bytes differ: %s, %s\n", t->name, what);
    free(got);
}

static const int types[] = {GGML_TYPE_F32,  GGML_TYPE_F16,  GGML_TYPE_BF16, GGML_TYPE_Q8_0,
                            GGML_TYPE_Q4_0, GGML_TYPE_Q4_1, GGML_TYPE_Q5_0, GGML_TYPE_Q5_1,
                            GGML_TYPE_Q4_K, GGML_TYPE_Q5_K, GGML_TYPE_Q6_K};
static const int64_t rows[] = {1, 2, 15, 16, 17, 33, 48};
enum { N_TYPES = sizeof types / sizeof types[0], N_ROWS = sizeof rows / sizeof rows[0] };

static void round_trip(int type, int64_t d_out)
{
    struct ggml_context *ctx = new_context();
    ggml_backend_buffer_t buffer = NULL;
    struct ggml_tensor *t = new_weight(ctx, type, 512, d_out, "blk.0.test.weight", &buffer);
    size_t size = ggml_nbytes(t);
    uint8_t *bytes = random_bytes(size);
    ggml_backend_tensor_set(t, bytes, 0, size);
    expect_bytes(t, bytes, "whole");
    size_t at = 1 + oclora_test_random() % (size / 2), n = 1 + oclora_test_random() % (size / 3);
    uint8_t *part = random_bytes(n);
    ggml_backend_tensor_set(t, part, at, n); /* any byte range */
    memcpy(bytes + at, part, n);
    expect_bytes(t, bytes, "after a partial write");
    uint8_t *got = malloc(n);
    ggml_backend_tensor_get(t, got, at, n);
    CHECK(memcmp(got, part, n) == 0);
    ggml_backend_tensor_memset(t, 0x5a, at, n);
    memset(bytes + at, 0x5a, n);
    expect_bytes(t, bytes, "after memset");
    ggml_backend_buffer_clear(buffer, 0);
    memset(bytes, 0, size);
    expect_bytes(t, bytes, "after clear");
    free(got);
    free(part);
    free(bytes);
    ggml_backend_buffer_free(buffer);
    ggml_free(ctx);
}

static void test_round_trip(void)
{
    if (!open_world()) return;
    for (int i = 0; i < N_TYPES; i++)
        for (int j = 0; j < N_ROWS; j++) round_trip(types[i], rows[j]);
}

/* Another tensor in the place of a weight: whole, and over a part of it. */
static void test_foreign_writes(void)
{
    if (!open_world()) return;
    for (int whole = 0; whole < 2; whole++) {
        struct ggml_context *ctx = new_context();
        ggml_backend_buffer_t buffer = NULL;
        struct ggml_tensor *t = new_weight(ctx, GGML_TYPE_Q4_1, 256, 64, "a.weight", &buffer);
        size_t size = ggml_nbytes(t);
        uint8_t *bytes = random_bytes(size);
        ggml_backend_tensor_set(t, bytes, 0, size);
        size_t n = whole ? size / 4 : size / 16;
        struct ggml_tensor *other = ggml_new_tensor_1d(ctx, GGML_TYPE_F32, (int64_t)n);
        char *base = ggml_backend_buffer_get_base(buffer);
        size_t at = whole ? 0 : 256;
        ggml_backend_tensor_alloc(buffer, other, base + at);
        uint8_t *part = random_bytes(n * 4);
        ggml_backend_tensor_set(other, part, 0, n * 4);
        memcpy(bytes + at, part, n * 4);
        expect_bytes(other, part, "the new tensor");
        expect_bytes(t, bytes, "what is left of the weight");
        free(part);
        free(bytes);
        ggml_backend_buffer_free(buffer);
        ggml_free(ctx);
    }
}

/* Rows [first, first + n) of a tensor as a view. */
static struct ggml_tensor *rows_of(struct ggml_context *ctx, struct ggml_tensor *t, int64_t first,
                                   int64_t n)
{
    struct ggml_tensor *view =
        ggml_view_2d(ctx, t, t->ne[0], n, t->nb[1], (size_t)first * t->nb[1]);
    ggml_backend_view_init(view);
    return view;
}

/* Whole copies to where nothing is and over a weight, and copies between views of weights. */
static void copy(int type, int64_t d_out)
{
    struct ggml_context *ctx = new_context();
    ggml_backend_buffer_t first = NULL, second = NULL;
    struct ggml_tensor *a = new_weight(ctx, type, 256, d_out, "a.weight", &first);
    struct ggml_tensor *b = new_weight(ctx, type, 256, d_out, "b.weight", &second);
    const size_t size = ggml_nbytes(a), row = a->nb[1];
    uint8_t *bytes = random_bytes(size), *other = random_bytes(size);
    ggml_backend_tensor_set(a, bytes, 0, size);
    ggml_backend_tensor_copy(a, b); /* packed to plain */
    expect_bytes(b, bytes, "copy of a weight");
    ggml_backend_tensor_set(b, other, 0, size); /* now a weight itself */
    ggml_backend_tensor_copy(a, b);
    expect_bytes(b, bytes, "copy over a weight");
    ggml_backend_tensor_copy(rows_of(ctx, a, 5, 3), rows_of(ctx, b, 11, 3));
    memcpy(other, bytes, size);
    memcpy(other + 11 * row, bytes + 5 * row, 3 * row);
    expect_bytes(b, other, "copy between views of weights");
    expect_bytes(a, bytes, "the source of a copy");
    free(bytes);
    free(other);
    ggml_backend_buffer_free(first);
    ggml_backend_buffer_free(second);
    ggml_free(ctx);
}

static void test_copies(void)
{
    if (!open_world()) return;
    for (int i = 0; i < N_TYPES; i++) {
        copy(types[i], 32);
        copy(types[i], 19);
    }
}

/* Bytes read and written through a view of some rows of a weight. */
static void view(int type, int64_t d_out)
{
    struct ggml_context *ctx = new_context();
    ggml_backend_buffer_t buffer = NULL;
    struct ggml_tensor *t = new_weight(ctx, type, 256, d_out, "blk.0.test.weight", &buffer);
    const size_t size = ggml_nbytes(t), row = t->nb[1];
    uint8_t *bytes = random_bytes(size), *part = random_bytes(7 * row);
    ggml_backend_tensor_set(t, bytes, 0, size);
    struct ggml_tensor *some = rows_of(ctx, t, 9, 7);
    expect_bytes(some, bytes + 9 * row, "rows read through a view");
    ggml_backend_tensor_set(some, part, 0, 7 * row);
    memcpy(bytes + 9 * row, part, 7 * row);
    expect_bytes(t, bytes, "after rows were written through a view");
    ggml_backend_tensor_set(some, part, row + 3, 2 * row); /* no whole rows */
    memcpy(bytes + 10 * row + 3, part, 2 * row);
    expect_bytes(t, bytes, "after some bytes were written through a view");
    expect_bytes(rows_of(ctx, t, d_out - 1, 1), bytes + (size_t)(d_out - 1) * row, "the last row");
    free(bytes);
    free(part);
    ggml_backend_buffer_free(buffer);
    ggml_free(ctx);
}

static void test_views(void)
{
    if (!open_world()) return;
    for (int i = 0; i < N_TYPES; i++) {
        view(types[i], 19);
        view(types[i], 48);
    }
}

/* Products and row reads of the whole weight and of views into it, against double precision. */
static void check_product(const struct ggml_tensor *y, const float *values, const float *x,
                          int64_t d_in, int64_t first_row, int64_t n_rows, const char *what)
{
    float got[64];
    double wanted[64];
    ggml_backend_tensor_get(y, got, 0, (size_t)n_rows * sizeof(float));
    for (int64_t o = 0; o < n_rows; o++) {
        wanted[o] = 0;
        for (int64_t i = 0; i < d_in; i++)
            wanted[o] += (double)values[(first_row + o) * d_in + i] * x[i];
    }
    double error = oclora_test_nmse(got, wanted, (size_t)n_rows);
    CHECK_LE(error, 1e-10);
    if (!(error <= 1e-10)) printf("  product of %s: NMSE %g\n", what, error);
}

static void test_views_of_weights(void)
{
    if (!open_world()) return;
    enum { D_IN = 64, D_OUT = 48 };
    struct ggml_context *ctx = new_context();
    ggml_backend_buffer_t buffer = NULL;
    struct ggml_tensor *a = new_weight(ctx, GGML_TYPE_F16, D_IN, D_OUT, "v.weight", &buffer);
    float values[D_IN * D_OUT], x_values[D_IN];
    ggml_fp16_t half[D_IN * D_OUT];
    oclora_test_fill(values, D_IN * D_OUT);
    oclora_test_fill(x_values, D_IN);
    ggml_fp32_to_fp16_row(values, half, D_IN * D_OUT);
    ggml_fp16_to_fp32_row(half, values, D_IN * D_OUT);
    ggml_backend_tensor_set(a, half, 0, sizeof half);
    struct ggml_context *compute = new_context();
    struct ggml_tensor *x = ggml_new_tensor_2d(compute, GGML_TYPE_F32, D_IN, 1);
    struct ggml_tensor *ids = ggml_new_tensor_1d(compute, GGML_TYPE_I32, 2);
    struct ggml_tensor *whole = ggml_mul_mat(compute, a, x);
    struct ggml_tensor *part = ggml_view_2d(compute, a, D_IN, 16, a->nb[1], 16 * a->nb[1]);
    struct ggml_tensor *of_part = ggml_mul_mat(compute, part, x);
    struct ggml_tensor *read = ggml_get_rows(compute, a, ids);
    struct ggml_tensor *again = ggml_mul_mat(compute, a, x);
    struct ggml_cgraph *graph = ggml_new_graph(compute);
    ggml_build_forward_expand(graph, whole);
    ggml_build_forward_expand(graph, of_part);
    ggml_build_forward_expand(graph, read);
    ggml_build_forward_expand(graph, again);
    ggml_backend_buffer_t room = ggml_backend_alloc_ctx_tensors(compute, w.backend);
    CHECK(room != NULL);
    const int32_t wanted_rows[2] = {47, 5};
    for (int run = 0; run < 2 && room != NULL; run++) {
        ggml_backend_tensor_set(x, x_values, 0, sizeof x_values);
        ggml_backend_tensor_set(ids, wanted_rows, 0, sizeof wanted_rows);
        CHECK_INT(ggml_backend_graph_compute(w.backend, graph), GGML_STATUS_SUCCESS);
        check_product(whole, values, x_values, D_IN, 0, D_OUT, "the weight");
        check_product(of_part, values, x_values, D_IN, 16, 16, "a view");
        check_product(again, values, x_values, D_IN, 0, D_OUT, "the weight again");
        float got[2 * D_IN];
        ggml_backend_tensor_get(read, got, 0, sizeof got);
        CHECK(memcmp(got, values + 47 * D_IN, D_IN * 4) == 0);
        CHECK(memcmp(got + D_IN, values + 5 * D_IN, D_IN * 4) == 0);
    }
    uint8_t bytes[sizeof half];
    memcpy(bytes, half, sizeof half);
    expect_bytes(a, bytes, "after views were used");
    /* One row anew: the next product must see it. */
    for (int i = 0; i < D_IN; i++) values[17 * D_IN + i] = (float)(i % 5) - 2.0f;
    ggml_fp32_to_fp16_row(values + 17 * D_IN, half, D_IN);
    ggml_backend_tensor_set(a, half, 17 * a->nb[1], a->nb[1]);
    ggml_backend_tensor_set(x, x_values, 0, sizeof x_values);
    CHECK_INT(ggml_backend_graph_compute(w.backend, graph), GGML_STATUS_SUCCESS);
    check_product(whole, values, x_values, D_IN, 0, D_OUT, "the weight with a new row");
    check_product(of_part, values, x_values, D_IN, 16, 16, "a view with a new row");
    ggml_backend_buffer_free(room);
    ggml_free(compute);
    ggml_backend_buffer_free(buffer);
    ggml_free(ctx);
}

static void test_limits(void)
{
    if (!open_world()) return;
    size_t available = 0, total = 0, before = 0;
    ggml_backend_dev_memory(w.device, &before, &total);
    CHECK(total > 0 && before <= total);
    ggml_backend_buffer_t small = ggml_backend_buft_alloc_buffer(w.type, 1 << 20);
    ggml_backend_dev_memory(w.device, &available, &total);
    CHECK_INT(before - available, 1 << 20);
    CHECK(ggml_backend_buft_alloc_buffer(w.type, total * 2) == NULL); /* NULL, not abort */
    ggml_backend_buffer_free(small);
    ggml_backend_dev_memory(w.device, &available, &total);
    CHECK_INT(available, before);
    CHECK_INT(ggml_backend_buft_get_alignment(w.type), 256);
    CHECK(ggml_backend_buft_get_max_size(w.type) > 0 &&
          ggml_backend_buft_get_max_size(w.type) <= total);
    CHECK(!ggml_backend_buft_is_host(w.type));
    CHECK(ggml_backend_dev_supports_buft(w.device, w.type));
    CHECK(!ggml_backend_dev_supports_buft(w.device, ggml_backend_cpu_buffer_type()));
    ggml_backend_buffer_t empty = ggml_backend_buft_alloc_buffer(w.type, 0);
    CHECK(empty != NULL);
    ggml_backend_buffer_free(empty);
}

static void test_properties(void)
{
    if (!open_world()) return;
    struct ggml_backend_dev_props props;
    memset(&props, 0xff, sizeof props);
    ggml_backend_dev_get_props(w.device, &props);
    CHECK(strncmp(props.name, "OCLORA", 6) == 0);
    CHECK(strcmp(props.description, ggml_backend_dev_description(w.device)) == 0);
    CHECK_INT(props.type, GGML_BACKEND_DEVICE_TYPE_GPU);
    CHECK(props.device_id == NULL);
    CHECK(!props.caps.async && !props.caps.events && !props.caps.host_buffer);
    CHECK(ggml_backend_dev_backend_reg(w.device) == w.reg);
    CHECK(ggml_backend_get_device(w.backend) == w.device);
    CHECK(strcmp(ggml_backend_name(w.backend), props.name) == 0);
}

/* What is not supported is said so by supports_op, and refused, not guessed, when sent anyway. */
static void test_unsupported(void)
{
    if (!open_world()) return;
    struct ggml_context *ctx = new_context();
    struct ggml_tensor *x = ggml_new_tensor_2d(ctx, GGML_TYPE_F32, 64, 64);
    struct ggml_tensor *y = ggml_cumsum(ctx, x);
    CHECK(!ggml_backend_dev_supports_op(w.device, y));
    CHECK(ggml_backend_dev_supports_op(w.device, ggml_scale(ctx, x, 2.0f)));
    CHECK(!ggml_backend_dev_supports_op(
        w.device, ggml_mul_mat(ctx, ggml_new_tensor_2d(ctx, GGML_TYPE_IQ2_XXS, 256, 16),
                               ggml_new_tensor_2d(ctx, GGML_TYPE_F32, 256, 1))));
    struct ggml_cgraph *graph = ggml_new_graph(ctx);
    ggml_build_forward_expand(graph, y);
    ggml_backend_buffer_t room = ggml_backend_alloc_ctx_tensors(ctx, w.backend);
    CHECK(ggml_backend_graph_compute(w.backend, graph) == GGML_STATUS_FAILED);
    ggml_backend_buffer_free(room);
    ggml_free(ctx);
}

int main(void)
{
    static const oclora_test tests[] = {
        {"round trip", test_round_trip},
        {"foreign writes", test_foreign_writes},
        {"copies", test_copies},
        {"bytes of views", test_views},
        {"views of weights", test_views_of_weights},
        {"limits", test_limits},
        {"properties", test_properties},
        {"unsupported", test_unsupported},
    };
    int status = oclora_test_main("ggml buffer", tests, sizeof tests / sizeof tests[0]);
    if (w.backend != NULL) ggml_backend_free(w.backend);
    return status;
}
