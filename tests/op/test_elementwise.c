#include "op_test.h"

typedef struct pair {
    const op_tensor *a, *b;
    const oclora_op_call *call;
} pair;

static double binary_reference(const void *user, uint64_t i0, uint64_t i1, uint64_t i2, uint64_t i3)
{
    const pair *p = user;
    const uint64_t *ne = p->b->view.ne;
    const double a = op_get(p->a, i0, i1, i2, i3);
    const double b = op_get(p->b, i0 % ne[0], i1 % ne[1], i2 % ne[2], i3 % ne[3]);
    switch (p->call->op) {
    case OCLORA_OP_ADD:
        return a + b;
    case OCLORA_OP_SUB:
        return a - b;
    case OCLORA_OP_MUL:
        return a * b;
    default:
        return a / b;
    }
}

static void check_binary(const oclora_test_device *device, uint32_t op, const uint64_t ne[4],
                         const uint64_t eb[4], oclora_type type, op_layout layout)
{
    op_tensor a = op_make(device, type, ne[0], ne[1], ne[2], ne[3], layout);
    op_tensor b = op_make(device, type, eb[0], eb[1], eb[2], eb[3], op_padded);
    op_tensor dst = op_make(device, type, ne[0], ne[1], ne[2], ne[3], op_plain);
    op_fill(device, &a);
    OP_EACH(&b, i0, i1, i2, i3)
    {
        const double v = oclora_test_uniform();
        op_set(&b, v + (v < 0 ? -0.5 : 0.5), i0, i1, i2, i3);
    }
    op_upload(device, &b);
    oclora_op_call call = op_call(op, &dst);
    op_add_source(&call, &a);
    op_add_source(&call, &b);
    const pair user = {&a, &b, &call};
    if (op_run(device, &call, &dst))
        CHECK_LE(op_error(&dst, binary_reference, &user), type == OCLORA_TYPE_F32 ? 3e-7 : 8e-3);
    op_free(&a);
    op_free(&b);
    op_free(&dst);
}

static void binary_on(const oclora_test_device *device)
{
    const uint64_t whole[4] = {33, 7, 2, 3}, row[4] = {33, 1, 1, 1}, one[4] = {1, 7, 1, 3};
    const uint64_t third[4] = {11, 1, 2, 1}, wide[4] = {1576, 3, 1, 1}, narrow[4] = {1, 600, 1, 1};
    for (uint32_t op = OCLORA_OP_ADD; op <= OCLORA_OP_DIV; op++)
        check_binary(device, op, whole, whole, OCLORA_TYPE_F32, op_plain);
    check_binary(device, OCLORA_OP_ADD, whole, row, OCLORA_TYPE_F32, op_padded);
    check_binary(device, OCLORA_OP_MUL, whole, one, OCLORA_TYPE_F32, op_swapped);
    check_binary(device, OCLORA_OP_MUL, whole, third, OCLORA_TYPE_F32, op_transposed);
    check_binary(device, OCLORA_OP_ADD, wide, wide, OCLORA_TYPE_F32, op_plain);
    check_binary(device, OCLORA_OP_SUB, narrow, narrow, OCLORA_TYPE_F32, op_plain);
    check_binary(device, OCLORA_OP_ADD, whole, whole, OCLORA_TYPE_F16, op_plain);
    check_binary(device, OCLORA_OP_MUL, whole, row, OCLORA_TYPE_BF16, op_padded);
}

static double unary_value(uint32_t variant, double x)
{
    switch (variant) {
    case OCLORA_UNARY_ABS:
        return fabs(x);
    case OCLORA_UNARY_NEG:
        return -x;
    case OCLORA_UNARY_TANH:
        return tanh(x);
    case OCLORA_UNARY_RELU:
        return x > 0 ? x : 0;
    case OCLORA_UNARY_SIGMOID:
        return 1 / (1 + exp(-x));
    case OCLORA_UNARY_GELU:
        return 0.5 * x * (1 + tanh(sqrt(2 / 3.14159265358979323846) * x * (1 + 0.044715 * x * x)));
    case OCLORA_UNARY_GELU_QUICK:
        return x / (1 + exp(-1.702 * x));
    case OCLORA_UNARY_GELU_ERF:
        return 0.5 * x * (1 + erf(x / sqrt(2)));
    case OCLORA_UNARY_SILU:
        return x / (1 + exp(-x));
    case OCLORA_UNARY_EXP:
        return exp(x);
    case OCLORA_UNARY_SQR:
        return x * x;
    case OCLORA_UNARY_SQRT:
        return sqrt(x);
    case OCLORA_UNARY_LOG:
        return log(x);
    case OCLORA_UNARY_SIN:
        return sin(x);
    case OCLORA_UNARY_COS:
        return cos(x);
    case OCLORA_UNARY_STEP:
        return x > 0;
    default:
        return x > 20 ? x : log(1 + exp(x));
    }
}

static double unary_reference(const void *user, uint64_t i0, uint64_t i1, uint64_t i2, uint64_t i3)
{
    const pair *p = user;
    const double x = op_get(p->a, i0, i1, i2, i3);
    const float *f = p->call->params.f;
    if (p->call->op == OCLORA_OP_SCALE) return f[0] * x + f[1];
    if (p->call->op == OCLORA_OP_CLAMP) return fmin(fmax(x, f[0]), f[1]);
    return unary_value(p->call->params.variant, x);
}

static void check_unary(const oclora_test_device *device, uint32_t op, uint32_t variant,
                        oclora_type type, op_layout layout)
{
    op_tensor a = op_make(device, type, 33, 5, 2, 1, layout);
    op_tensor dst = op_make(device, type, 33, 5, 2, 1, op_plain);
    const bool positive =
        op == OCLORA_OP_UNARY && (variant == OCLORA_UNARY_SQRT || variant == OCLORA_UNARY_LOG);
    OP_EACH(&a, i0, i1, i2, i3)
    {
        const double v = oclora_test_uniform() * 9.0;
        op_set(&a, positive ? fabs(v) + 0.01 : v, i0, i1, i2, i3);
    }
    op_upload(device, &a);
    oclora_op_call call = op_call(op, &dst);
    call.params.variant = variant;
    call.params.f[0] = -0.75f;
    call.params.f[1] = 1.5f;
    op_add_source(&call, &a);
    const pair user = {&a, NULL, &call};
    if (op_run(device, &call, &dst))
        CHECK_LE(op_error(&dst, unary_reference, &user), type == OCLORA_TYPE_F32 ? 1e-6 : 1e-3);
    op_free(&a);
    op_free(&dst);
}

static void unary_on(const oclora_test_device *device)
{
    for (uint32_t v = 0; v < OCLORA_UNARY_COUNT; v++)
        check_unary(device, OCLORA_OP_UNARY, v, OCLORA_TYPE_F32, op_padded);
    check_unary(device, OCLORA_OP_UNARY, OCLORA_UNARY_SILU, OCLORA_TYPE_F16, op_plain);
    check_unary(device, OCLORA_OP_SCALE, 0, OCLORA_TYPE_F32, op_swapped);
    check_unary(device, OCLORA_OP_CLAMP, 0, OCLORA_TYPE_F32, op_plain);
}

static double glu_value(uint32_t variant, double x, double g, const float *f)
{
    switch (variant) {
    case OCLORA_GLU_REGLU:
        return unary_value(OCLORA_UNARY_RELU, x) * g;
    case OCLORA_GLU_GEGLU:
        return unary_value(OCLORA_UNARY_GELU, x) * g;
    case OCLORA_GLU_SWIGLU:
        return unary_value(OCLORA_UNARY_SILU, x) * g;
    case OCLORA_GLU_GEGLU_ERF:
        return unary_value(OCLORA_UNARY_GELU_ERF, x) * g;
    case OCLORA_GLU_GEGLU_QUICK:
        return unary_value(OCLORA_UNARY_GELU_QUICK, x) * g;
    default:
        break;
    }
    x = fmin(x, f[1]);
    g = fmin(fmax(g, -f[1]), f[1]);
    return x / (1 + exp(-f[0] * x)) * (g + 1);
}

static double glu_reference(const void *user, uint64_t i0, uint64_t i1, uint64_t i2, uint64_t i3)
{
    const pair *p = user;
    const uint64_t n = p->call->dst.ne[0];
    const bool split = p->b != NULL, swapped = p->call->params.i[0] != 0;
    const double x = op_get(p->a, split || !swapped ? i0 : i0 + n, i1, i2, i3);
    const double g =
        split ? op_get(p->b, i0, i1, i2, i3) : op_get(p->a, swapped ? i0 : i0 + n, i1, i2, i3);
    return glu_value(p->call->params.variant, x, g, p->call->params.f);
}

static void check_glu(const oclora_test_device *device, uint32_t variant, bool split, bool swapped,
                      uint64_t n)
{
    op_tensor a = op_make(device, OCLORA_TYPE_F32, split ? n : 2 * n + n % 2, 7, 2, 1, op_padded);
    op_tensor b = op_make(device, OCLORA_TYPE_F32, n, 7, 2, 1, op_plain);
    op_tensor dst = op_make(device, OCLORA_TYPE_F32, n, 7, 2, 1, op_plain);
    op_fill(device, &a);
    op_fill(device, &b);
    oclora_op_call call = op_call(OCLORA_OP_GLU, &dst);
    call.params.variant = variant;
    call.params.i[0] = swapped;
    call.params.f[0] = 1.702f;
    call.params.f[1] = 0.7f;
    op_add_source(&call, &a);
    if (split) op_add_source(&call, &b);
    const pair user = {&a, split ? &b : NULL, &call};
    if (op_run(device, &call, &dst)) CHECK_LE(op_error(&dst, glu_reference, &user), 1e-6);
    op_free(&a);
    op_free(&b);
    op_free(&dst);
}

static void glu_on(const oclora_test_device *device)
{
    for (uint32_t v = 0; v < OCLORA_GLU_COUNT; v++) check_glu(device, v, true, false, 33);
    check_glu(device, OCLORA_GLU_SWIGLU, false, false, 1536);
    check_glu(device, OCLORA_GLU_SWIGLU, false, true, 17);
    check_glu(device, OCLORA_GLU_SWIGLU_OAI, false, true, 1);
}

static void refused_on(const oclora_test_device *device)
{
    op_tensor a = op_make(device, OCLORA_TYPE_F32, 8, 2, 1, 1, op_plain);
    op_tensor b = op_make(device, OCLORA_TYPE_F32, 3, 1, 1, 1, op_plain);
    op_tensor q = op_make(device, OCLORA_TYPE_Q8_0, 32, 2, 1, 1, op_plain);
    oclora_op_call call = op_call(OCLORA_OP_ADD, &a);
    op_add_source(&call, &a);
    op_add_source(&call, &b);
    op_expect_refused(device, &call, "op add is not done for dst f32[8,2,1,1]");
    oclora_op_call unary = op_call(OCLORA_OP_UNARY, &q);
    op_add_source(&unary, &q);
    op_expect_refused(device, &unary, "q8_0[32,2,1,1]");
    oclora_op_call beyond = op_call(OCLORA_OP_SCALE, &a);
    op_add_source(&beyond, &a);
    beyond.dst.offset = a.size - 8;
    oclora_error err = {0};
    CHECK_STATUS(oclora_op_run(device->stream, &beyond, &err), OCLORA_INVALID_ARGUMENT, &err);
    CHECK_CONTAINS(err.text, "reaches beyond its buffer");
    op_free(&a);
    op_free(&b);
    op_free(&q);
}

static void binary(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, binary_on);
}
static void unary(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, unary_on);
}
static void glu(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, glu_on);
}
static void refused(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, refused_on);
}

int main(void)
{
    const oclora_test tests[] = {
        {"binary", binary}, {"unary", unary}, {"glu", glu}, {"refused", refused}};
    return oclora_test_main("elementwise", tests, sizeof(tests) / sizeof(tests[0]));
}
