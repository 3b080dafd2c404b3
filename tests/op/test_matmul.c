#include "op_test.h"

typedef struct product {
    const op_tensor *a, *x;
} product;

static double matmul_reference(const void *user, uint64_t m, uint64_t n, uint64_t i2, uint64_t i3)
{
    const product *p = user;
    const uint64_t r2 = p->x->view.ne[2] / p->a->view.ne[2];
    const uint64_t r3 = p->x->view.ne[3] / p->a->view.ne[3];
    double sum = 0.0;
    for (uint64_t k = 0; k < p->a->view.ne[0]; k++)
        sum += op_get(p->a, k, m, i2 / r2, i3 / r3) * op_get(p->x, k, n, i2, i3);
    return sum;
}

typedef struct shape {
    uint64_t k, m, n, b2, b3, c2, c3;
} shape;

static void check_matmul(const oclora_test_device *device, oclora_type type, shape s, op_layout la,
                         op_layout lx)
{
    op_tensor a = op_make(device, type, s.k, s.m, s.b2, s.b3, la);
    op_tensor x = op_make(device, OCLORA_TYPE_F32, s.k, s.n, s.c2, s.c3, lx);
    op_tensor y = op_make(device, OCLORA_TYPE_F32, s.m, s.n, s.c2, s.c3, op_plain);
    op_fill(device, &a);
    op_fill(device, &x);
    oclora_op_call call = op_call(OCLORA_OP_MUL_MAT, &y);
    op_add_source(&call, &a);
    op_add_source(&call, &x);
    const product user = {&a, &x};
    if (op_run(device, &call, &y)) CHECK_LE(op_error(&y, matmul_reference, &user), 2e-6);
    op_free(&a);
    op_free(&x);
    op_free(&y);
}

static void types_on(const oclora_test_device *device)
{
    const shape blocks = {64, 9, 3, 1, 1, 1, 1}, supers = {512, 5, 1, 1, 1, 1, 1};
    for (oclora_type type = OCLORA_TYPE_F32; type <= OCLORA_TYPE_Q5_1; type++)
        check_matmul(device, type, blocks, op_plain, op_padded);
    for (oclora_type type = OCLORA_TYPE_Q4_K; type <= OCLORA_TYPE_Q6_K; type++)
        check_matmul(device, type, supers, op_plain, op_plain);
}

static void shapes_on(const oclora_test_device *device)
{
    const shape odd = {33, 7, 5, 1, 1, 1, 1}, tiny = {1, 1, 1, 1, 1, 1, 1};
    const shape heads = {64, 70, 3, 3, 2, 9, 2}, values = {300, 64, 1, 3, 1, 9, 2};
    const shape wide = {576, 130, 1, 1, 1, 1, 1};
    check_matmul(device, OCLORA_TYPE_F32, odd, op_padded, op_plain);
    check_matmul(device, OCLORA_TYPE_F16, tiny, op_plain, op_plain);
    check_matmul(device, OCLORA_TYPE_F16, heads, op_swapped, op_swapped);
    check_matmul(device, OCLORA_TYPE_F16, values, op_transposed, op_plain);
    check_matmul(device, OCLORA_TYPE_F32, wide, op_plain, op_padded);
}

/* Every row has the same bits alone, in any batch, and on both device classes. */
static void alone_on(const oclora_test_device *device)
{
    op_tensor a = op_make(device, OCLORA_TYPE_F16, 577, 33, 1, 1, op_plain);
    op_tensor x = op_make(device, OCLORA_TYPE_F32, 577, 11, 1, 1, op_plain);
    op_tensor many = op_make(device, OCLORA_TYPE_F32, 33, 11, 1, 1, op_plain);
    op_tensor one = op_make(device, OCLORA_TYPE_F32, 33, 1, 1, 1, op_plain);
    op_fill(device, &a);
    op_fill(device, &x);
    oclora_op_call call = op_call(OCLORA_OP_MUL_MAT, &many);
    op_add_source(&call, &a);
    op_add_source(&call, &x);
    op_run(device, &call, &many);
    call.dst = one.view;
    for (uint64_t n = 0; n < 11; n++) {
        call.src[1] = x.view;
        call.src[1].ne[1] = 1;
        call.src[1].offset += n * x.view.nb[1];
        op_run(device, &call, &one);
        CHECK_INT(memcmp(op_at(&one, 0, 0, 0, 0), op_at(&many, 0, n, 0, 0), 33 * 4), 0);
    }
    op_free(&a);
    op_free(&x);
    op_free(&many);
    op_free(&one);
}

typedef struct expert_product {
    const op_tensor *a, *x, *ids;
} expert_product;

static double matmul_id_reference(const void *user, uint64_t m, uint64_t slot, uint64_t token,
                                  uint64_t i3)
{
    const expert_product *p = user;
    const uint64_t expert = (uint64_t)op_get(p->ids, slot, token, 0, 0);
    double sum = 0.0;
    for (uint64_t k = 0; k < p->a->view.ne[0]; k++)
        sum += op_get(p->a, k, m, expert, i3) * op_get(p->x, k, slot % p->x->view.ne[1], token, i3);
    return sum;
}

static void check_experts(const oclora_test_device *device, oclora_type type, uint64_t x_rows)
{
    enum { K = 64, M = 67, EXPERTS = 5, USED = 4, TOKENS = 3 }; /* enough to group */
    op_tensor a = op_make(device, type, K, M, EXPERTS, 1, op_plain);
    op_tensor x = op_make(device, OCLORA_TYPE_F32, K, x_rows, TOKENS, 1, op_padded);
    op_tensor ids = op_make(device, OCLORA_TYPE_I32, USED, TOKENS, 1, 1, op_padded);
    op_tensor y = op_make(device, OCLORA_TYPE_F32, M, USED, TOKENS, 1, op_plain);
    op_fill(device, &a);
    op_fill(device, &x);
    OP_EACH(&ids, i0, i1, i2, i3) op_set(&ids, (double)((i0 * 2 + i1) % EXPERTS), i0, i1, i2, i3);
    op_upload(device, &ids);
    oclora_op_call call = op_call(OCLORA_OP_MUL_MAT_ID, &y);
    op_add_source(&call, &a);
    op_add_source(&call, &x);
    op_add_source(&call, &ids);
    const expert_product user = {&a, &x, &ids};
    if (op_run(device, &call, &y)) CHECK_LE(op_error(&y, matmul_id_reference, &user), 2e-6);
    op_free(&a);
    op_free(&x);
    op_free(&ids);
    op_free(&y);
}

/* A prompt, computed expert by expert, has the bits that every token has alone; an id that no
 * expert has gives NaN. */
static void prompt_on(const oclora_test_device *device)
{
    enum { K = 96, M = 135, EXPERTS = 3, USED = 2, TOKENS = 9 };
    op_tensor a = op_make(device, OCLORA_TYPE_Q8_0, K, M, EXPERTS, 1, op_plain);
    op_tensor x = op_make(device, OCLORA_TYPE_F32, K, 1, TOKENS, 1, op_padded);
    op_tensor ids = op_make(device, OCLORA_TYPE_I32, USED, TOKENS, 1, 1, op_padded);
    op_tensor many = op_make(device, OCLORA_TYPE_F32, M, USED, TOKENS, 1, op_plain);
    op_tensor one = op_make(device, OCLORA_TYPE_F32, M, USED, 1, 1, op_plain);
    op_fill(device, &a);
    op_fill(device, &x);
    OP_EACH(&ids, i0, i1, i2, i3)
    op_set(&ids, (double)(i1 * i1 % 5 == 4 ? 7 : i0 + i1 % 2), i0, i1, i2, i3);
    op_upload(device, &ids);
    oclora_op_call call = op_call(OCLORA_OP_MUL_MAT_ID, &many);
    op_add_source(&call, &a);
    op_add_source(&call, &x);
    op_add_source(&call, &ids);
    op_run(device, &call, &many);
    call.dst = one.view;
    for (uint64_t token = 0; token < TOKENS; token++) {
        call.src[1] = x.view;
        call.src[1].ne[2] = 1;
        call.src[1].offset += token * x.view.nb[2];
        call.src[2] = ids.view;
        call.src[2].ne[1] = 1;
        call.src[2].offset += token * ids.view.nb[1];
        op_run(device, &call, &one);
        CHECK_INT(memcmp(op_at(&one, 0, 0, 0, 0), op_at(&many, 0, 0, token, 0), USED * M * 4), 0);
        const bool none = op_get(&ids, 0, token, 0, 0) >= EXPERTS;
        CHECK_INT(isnan(op_get(&many, M - 1, 0, token, 0)), none);
    }
    op_free(&a);
    op_free(&x);
    op_free(&ids);
    op_free(&many);
    op_free(&one);
}

static void experts_on(const oclora_test_device *device)
{
    prompt_on(device);
    check_experts(device, OCLORA_TYPE_F16, 1);
    check_experts(device, OCLORA_TYPE_Q4_0, 4);
    check_experts(device, OCLORA_TYPE_F32, 2);
}

static void refused_on(const oclora_test_device *device)
{
    op_tensor a = op_make(device, OCLORA_TYPE_F16, 8, 4, 3, 1, op_plain);
    op_tensor x = op_make(device, OCLORA_TYPE_F32, 8, 2, 4, 1, op_plain);
    op_tensor y = op_make(device, OCLORA_TYPE_F32, 4, 2, 4, 1, op_plain);
    oclora_op_call call = op_call(OCLORA_OP_MUL_MAT, &y);
    op_add_source(&call, &a);
    op_add_source(&call, &x);
    op_expect_refused(device, &call, "op mul_mat is not done");
    oclora_error err = {0};
    CHECK_STATUS(oclora_matmul(device->stream, &a.view, &x.view, &y.view, &err),
                 OCLORA_NOT_SUPPORTED, &err);
    CHECK_CONTAINS(err.text, "matmul of f16[8,4]");
    op_free(&a);
    op_free(&x);
    op_free(&y);
}

/* Hosts ask about graphs whose last layer has no rows; a CPU would take them otherwise. */
static void empty_on(const oclora_test_device *device)
{
    static const uint32_t ops[] = {OCLORA_OP_MUL_MAT, OCLORA_OP_ADD};
    op_tensor a = op_make(device, OCLORA_TYPE_F32, 32, 32, 1, 1, op_plain);
    op_tensor x = op_make(device, OCLORA_TYPE_F32, 32, 0, 1, 1, op_plain);
    op_tensor y = op_make(device, OCLORA_TYPE_F32, 32, 0, 1, 1, op_plain);
    for (int i = 0; i < 2; i++) {
        oclora_error err = {0};
        oclora_op_call call = op_call(ops[i], &y);
        op_add_source(&call, ops[i] == OCLORA_OP_MUL_MAT ? &a : &x);
        op_add_source(&call, &x);
        CHECK(oclora_op_supported(device->context, &call));
        CHECK_OK(oclora_op_run(device->stream, &call, &err), &err);
    }
    op_tensor index = op_make(device, OCLORA_TYPE_I64, 0, 1, 1, 1, op_plain);
    oclora_error err = {0};
    oclora_op_call call = op_call(OCLORA_OP_SET_ROWS, &a);
    op_add_source(&call, &x);
    op_add_source(&call, &index);
    CHECK(oclora_op_supported(device->context, &call));
    CHECK_OK(oclora_op_run(device->stream, &call, &err), &err);
    op_free(&index);
    op_free(&a);
    op_free(&x);
    op_free(&y);
}

static void types(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, types_on);
}
static void shapes(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, shapes_on);
}
static void alone(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, alone_on);
}
static void experts(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, experts_on);
}
static void empty(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, empty_on);
}
static void refused(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, refused_on);
}

int main(void)
{
    const oclora_test tests[] = {{"types", types},     {"shapes", shapes}, {"alone", alone},
                                 {"experts", experts}, {"empty", empty},   {"refused", refused}};
    return oclora_test_main("matmul", tests, sizeof(tests) / sizeof(tests[0]));
}
