/* Products of weights of every listed type with rows of f32, f16 and bf16, through ggml's public
 * API, against double precision. llama.cpp's own test compares with its CPU backend, which has not
 * all of them. */
#include "support/harness.h"

#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { D_IN = 512, D_OUT = 33, ROWS_MAX = 33 };

static ggml_backend_reg_t reg;

static const int types[] = {GGML_TYPE_F32,  GGML_TYPE_F16,  GGML_TYPE_BF16, GGML_TYPE_Q8_0,
                            GGML_TYPE_Q4_0, GGML_TYPE_Q4_1, GGML_TYPE_Q5_0, GGML_TYPE_Q5_1,
                            GGML_TYPE_Q4_K, GGML_TYPE_Q5_K, GGML_TYPE_Q6_K};
static const int row_types[] = {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16};

/* `count` random values as `type` holds them, and exactly what it holds as floats. */
static void make_values(int type, int64_t rows, int64_t columns, float *values, void *data)
{
    const struct ggml_type_traits *traits = ggml_get_type_traits((enum ggml_type)type);
    oclora_test_fill(values, (size_t)(rows * columns));
    ggml_quantize_chunk((enum ggml_type)type, values, data, 0, rows, columns, NULL);
    if (type != GGML_TYPE_F32) traits->to_float(data, values, rows * columns);
}

static void check_one(ggml_backend_t backend, int type, int row_type, int64_t n)
{
    static float w_values[D_IN * D_OUT], x_values[D_IN * ROWS_MAX], got[D_OUT * ROWS_MAX];
    static double wanted[D_OUT * ROWS_MAX];
    static float w_data[D_IN * D_OUT], x_data[D_IN * ROWS_MAX];
    struct ggml_context *ctx = ggml_init(
        (struct ggml_init_params){ggml_tensor_overhead() * 8 + ggml_graph_overhead(), NULL, true});
    struct ggml_tensor *w = ggml_new_tensor_2d(ctx, (enum ggml_type)type, D_IN, D_OUT);
    struct ggml_tensor *x = ggml_new_tensor_2d(ctx, (enum ggml_type)row_type, D_IN, n);
    struct ggml_tensor *y = ggml_mul_mat(ctx, w, x);
    struct ggml_cgraph *graph = ggml_new_graph(ctx);
    ggml_set_name(w, "blk.0.test.weight");
    ggml_build_forward_expand(graph, y);
    CHECK(ggml_backend_supports_op(backend, y));
    ggml_backend_buffer_t buffer = ggml_backend_alloc_ctx_tensors(ctx, backend);
    if (CHECK(buffer != NULL)) {
        make_values(type, D_OUT, D_IN, w_values, w_data);
        make_values(row_type, n, D_IN, x_values, x_data);
        ggml_backend_tensor_set(w, w_data, 0, ggml_nbytes(w));
        ggml_backend_tensor_set(x, x_data, 0, ggml_nbytes(x));
        oclora_test_poison(got, sizeof got);
        CHECK_INT(ggml_backend_graph_compute(backend, graph), GGML_STATUS_SUCCESS);
        ggml_backend_tensor_get(y, got, 0, ggml_nbytes(y));
        for (int64_t i = 0; i < n * D_OUT; i++) {
            wanted[i] = 0;
            for (int64_t k = 0; k < D_IN; k++)
                wanted[i] +=
                    (double)w_values[i % D_OUT * D_IN + k] * x_values[i / D_OUT * D_IN + k];
        }
        if (!CHECK_LE(oclora_test_nmse(got, wanted, (size_t)(n * D_OUT)), 1e-11))
            printf("  %s x %s, %d rows\n", ggml_type_name((enum ggml_type)type),
                   ggml_type_name((enum ggml_type)row_type), (int)n);
    }
    ggml_backend_buffer_free(buffer);
    ggml_free(ctx);
}

static void test_products(void)
{
    if (reg == NULL) reg = ggml_backend_load(OCLORA_PLUGIN);
    if (reg == NULL) {
        oclora_test_skip("the plugin does not load: no OpenCL device");
        return;
    }
    ggml_backend_t backend = ggml_backend_dev_init(ggml_backend_reg_dev_get(reg, 0), NULL);
    CHECK(backend != NULL);
    for (size_t i = 0; backend != NULL && i < sizeof types / sizeof types[0]; i++)
        for (size_t j = 0; j < sizeof row_types / sizeof row_types[0]; j++) {
            check_one(backend, types[i], row_types[j], 1);
            check_one(backend, types[i], row_types[j], 5);
            check_one(backend, types[i], row_types[j], ROWS_MAX);
        }
    ggml_backend_free(backend);
}

int main(void)
{
    static const oclora_test tests[] = {{"products", test_products}};
    return oclora_test_main("ggml products", tests, sizeof tests / sizeof tests[0]);
}
