#include "op_test.h"

typedef struct norm_case {
    const op_tensor *src;
    uint32_t op;
    float eps;
} norm_case;

static double norm_reference(const void *user, uint64_t i0, uint64_t i1, uint64_t i2, uint64_t i3)
{
    const norm_case *c = user;
    const uint64_t n = c->src->view.ne[0];
    double sum = 0.0, squares = 0.0;
    for (uint64_t i = 0; i < n; i++) sum += op_get(c->src, i, i1, i2, i3);
    if (c->op == OCLORA_OP_SUM_ROWS) return sum;
    const double mean = c->op == OCLORA_OP_NORM ? sum / (double)n : 0.0;
    for (uint64_t i = 0; i < n; i++) squares += pow(op_get(c->src, i, i1, i2, i3) - mean, 2.0);
    const double x = op_get(c->src, i0, i1, i2, i3) - mean;
    if (c->op == OCLORA_OP_L2_NORM) return x / fmax(sqrt(squares), c->eps);
    return x / sqrt(squares / (double)n + c->eps);
}

static void check_norm(const oclora_test_device *device, uint32_t op, uint64_t n, op_layout layout)
{
    op_tensor src = op_make(device, OCLORA_TYPE_F32, n, 5, 3, 2, layout);
    const uint64_t n_dst = op == OCLORA_OP_SUM_ROWS ? 1 : n;
    op_tensor dst = op_make(device, OCLORA_TYPE_F32, n_dst, 5, 3, 2, op_padded);
    op_fill(device, &src);
    oclora_op_call call = op_call(op, &dst);
    call.params.f[0] = 1e-5f;
    op_add_source(&call, &src);
    const norm_case user = {&src, op, 1e-5f};
    if (op_run(device, &call, &dst)) CHECK_LE(op_error(&dst, norm_reference, &user), 2e-6);
    op_free(&src);
    op_free(&dst);
}

static void norms_on(const oclora_test_device *device)
{
    const uint32_t ops[] = {OCLORA_OP_RMS_NORM, OCLORA_OP_NORM, OCLORA_OP_L2_NORM,
                            OCLORA_OP_SUM_ROWS};
    for (size_t i = 0; i < 4; i++) {
        check_norm(device, ops[i], 576, op_plain);
        check_norm(device, ops[i], 33, op_swapped);
        check_norm(device, ops[i], 1, op_padded);
        check_norm(device, ops[i], 35, op_transposed);
        check_norm(device, ops[i], 147, op_padded);
    }
}

/* A row has the same bits alone and among others. */
static void alone_on(const oclora_test_device *device)
{
    op_tensor src = op_make(device, OCLORA_TYPE_F32, 577, 7, 1, 1, op_plain);
    op_tensor many = op_make(device, OCLORA_TYPE_F32, 577, 7, 1, 1, op_plain);
    op_tensor one = op_make(device, OCLORA_TYPE_F32, 577, 1, 1, 1, op_plain);
    op_fill(device, &src);
    oclora_op_call call = op_call(OCLORA_OP_RMS_NORM, &many);
    call.params.f[0] = 1e-5f;
    op_add_source(&call, &src);
    op_run(device, &call, &many);
    call.dst = one.view;
    call.src[0].ne[1] = 1;
    call.src[0].offset += 4 * src.view.nb[1];
    op_run(device, &call, &one);
    CHECK_INT(memcmp(op_at(&one, 0, 0, 0, 0), op_at(&many, 0, 4, 0, 0), 577 * 4), 0);
    op_free(&src);
    op_free(&many);
    op_free(&one);
}

static void refused_on(const oclora_test_device *device)
{
    op_tensor src = op_make(device, OCLORA_TYPE_F16, 8, 1, 1, 1, op_plain);
    oclora_op_call call = op_call(OCLORA_OP_RMS_NORM, &src);
    op_add_source(&call, &src);
    op_expect_refused(device, &call, "op rms_norm is not done for dst f16[8,1,1,1]");
    op_free(&src);
}

static void norms(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, norms_on);
}
static void alone(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, alone_on);
}
static void refused(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, refused_on);
}

int main(void)
{
    const oclora_test tests[] = {{"norms", norms}, {"alone", alone}, {"refused", refused}};
    return oclora_test_main("norm", tests, sizeof(tests) / sizeof(tests[0]));
}
