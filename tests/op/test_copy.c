#include "op_test.h"

/* Element number of a position, and the position of an element number. */
static uint64_t number_of(const op_tensor *t, const uint64_t i[4])
{
    const uint64_t *ne = t->view.ne;
    return i[0] + ne[0] * (i[1] + ne[1] * (i[2] + ne[2] * i[3]));
}

static double at_number(const op_tensor *t, uint64_t n)
{
    const uint64_t *ne = t->view.ne;
    return op_get(t, n % ne[0], n / ne[0] % ne[1], n / ne[0] / ne[1] % ne[2],
                  n / ne[0] / ne[1] / ne[2]);
}

typedef struct copy_case {
    const op_tensor *src, *dst;
} copy_case;

static double copy_reference(const void *user, uint64_t i0, uint64_t i1, uint64_t i2, uint64_t i3)
{
    const copy_case *c = user;
    const uint64_t i[4] = {i0, i1, i2, i3};
    return at_number(c->src, number_of(c->dst, i));
}

static void check_copy(const oclora_test_device *device, oclora_type from, oclora_type to,
                       const uint64_t es[4], const uint64_t ed[4], op_layout ls, op_layout ld,
                       double bound)
{
    op_tensor src = op_make(device, from, es[0], es[1], es[2], es[3], ls);
    op_tensor dst = op_make(device, to, ed[0], ed[1], ed[2], ed[3], ld);
    op_fill(device, &src);
    if (from == OCLORA_TYPE_I32 || from == OCLORA_TYPE_I64) {
        OP_EACH(&src, i0, i1, i2, i3) op_set(&src, (double)(i0 * 7 + i1) - 20, i0, i1, i2, i3);
        op_upload(device, &src);
    }
    oclora_op_call call = op_call(OCLORA_OP_COPY, &dst);
    op_add_source(&call, &src);
    const copy_case user = {&src, &dst};
    if (op_run(device, &call, &dst)) CHECK_LE(op_error(&dst, copy_reference, &user), bound);
    op_free(&src);
    op_free(&dst);
}

static void forms_on(const oclora_test_device *device)
{
    const uint64_t e[4] = {33, 7, 2, 3}, other[4] = {11, 6, 7, 3}, block[4] = {64, 3, 2, 1};
    const oclora_type f32 = OCLORA_TYPE_F32, f16 = OCLORA_TYPE_F16, bf16 = OCLORA_TYPE_BF16;
    check_copy(device, f32, f32, e, e, op_plain, op_plain, 0);
    check_copy(device, f32, f32, e, e, op_transposed, op_plain, 0);
    check_copy(device, f32, f32, e, other, op_swapped, op_padded, 0);
    check_copy(device, f32, f16, e, e, op_padded, op_plain, 5e-4);
    check_copy(device, f32, f16, e, other, op_swapped, op_transposed, 5e-4);
    check_copy(device, f16, f32, e, e, op_swapped, op_padded, 0);
    check_copy(device, f16, f16, e, e, op_transposed, op_plain, 0);
    check_copy(device, f32, bf16, e, e, op_plain, op_padded, 4e-3);
    check_copy(device, bf16, bf16, e, e, op_swapped, op_plain, 0);
    check_copy(device, OCLORA_TYPE_I32, OCLORA_TYPE_I32, e, other, op_swapped, op_plain, 0);
    check_copy(device, OCLORA_TYPE_I32, f32, e, e, op_swapped, op_plain, 0);
    check_copy(device, OCLORA_TYPE_I64, OCLORA_TYPE_I64, e, e, op_padded, op_plain, 0);
    check_copy(device, OCLORA_TYPE_Q4_1, OCLORA_TYPE_Q4_1, block, block, op_plain, op_plain, 0);
}

static void refused_on(const oclora_test_device *device)
{
    op_tensor src = op_make(device, OCLORA_TYPE_F32, 8, 4, 1, 1, op_plain);
    op_tensor dst = op_make(device, OCLORA_TYPE_F32, 8, 3, 1, 1, op_plain);
    oclora_op_call call = op_call(OCLORA_OP_COPY, &dst);
    op_add_source(&call, &src);
    op_expect_refused(device, &call, "op copy is not done for dst f32[8,3,1,1] src0 f32[8,4,1,1]");
    op_free(&src);
    op_free(&dst);
}

static void forms(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, forms_on);
}
static void refused(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, refused_on);
}

int main(void)
{
    const oclora_test tests[] = {{"forms", forms}, {"refused", refused}};
    return oclora_test_main("copy", tests, sizeof(tests) / sizeof(tests[0]));
}
