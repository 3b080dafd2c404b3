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
                            GGML_TYPE_Q4_0, GGML_TYPE_Q4_1, GGML_TYPE_Q5_0, GGML_TYPE_Q6_K};
static const int64_t rows[] = {2, 15, 16, 33, 48};
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

static void test_copies(void)
{
    if (!open_world()) return;
    struct ggml_context *ctx = new_context();
    ggml_backend_buffer_t first = NULL, second = NULL;
    struct ggml_tensor *a = new_weight(ctx, GGML_TYPE_Q8_0, 128, 32, "a.weight", &first);
    struct ggml_tensor *b = new_weight(ctx, GGML_TYPE_Q8_0, 128, 32, "b.weight", &second);
    size_t size = ggml_nbytes(a);
    uint8_t *bytes = random_bytes(size), *zero = calloc(1, size);
    ggml_backend_tensor_set(a, bytes, 0, size);
    ggml_backend_tensor_copy(a, b); /* packed to plain */
    expect_bytes(b, bytes, "copy of a weight");
    ggml_backend_tensor_set(b, zero, 0, size); /* now a weight itself */
    ggml_backend_tensor_copy(a, b);
    expect_bytes(b, bytes, "copy over a weight");
    struct ggml_tensor *from = ggml_view_2d(ctx, a, 128, 3, a->nb[1], 5 * a->nb[1]);
    struct ggml_tensor *to = ggml_view_2d(ctx, b, 128, 3, b->nb[1], 11 * b->nb[1]);
    ggml_backend_view_init(from);
    ggml_backend_view_init(to);
    ggml_backend_tensor_copy(from, to);
    memcpy(zero, bytes, size);
    memcpy(zero + 11 * b->nb[1], bytes + 5 * a->nb[1], 3 * a->nb[1]);
    expect_bytes(b, zero, "copy between views of weights");
    expect_bytes(a, bytes, "the source of a copy");
    free(bytes);
    free(zero);
    ggml_backend_buffer_free(first);
    ggml_backend_buffer_free(second);
    ggml_free(ctx);
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
        {"round trip", test_round_trip},   {"foreign writes", test_foreign_writes},
        {"copies", test_copies},           {"views of weights", test_views_of_weights},
        {"limits", test_limits},           {"properties", test_properties},
        {"unsupported", test_unsupported},
    };
    int status = oclora_test_main("ggml buffer", tests, sizeof tests / sizeof tests[0]);
    if (w.backend != NULL) ggml_backend_free(w.backend);
    return status;
}
