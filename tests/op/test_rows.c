#include "op_test.h"

typedef struct rows_case {
    const op_tensor *src, *index, *before;
} rows_case;

static double get_reference(const void *user, uint64_t i0, uint64_t i1, uint64_t i2, uint64_t i3)
{
    const rows_case *c = user;
    return op_get(c->src, i0, (uint64_t)op_get(c->index, i1, i2, i3, 0), i2, i3);
}

static void check_get(const oclora_test_device *device, oclora_type type, uint64_t n)
{
    op_tensor src = op_make(device, type, n, 11, 2, 3, op_padded);
    op_tensor index = op_make(device, OCLORA_TYPE_I32, 7, 2, 3, 1, op_plain);
    op_tensor dst = op_make(device, OCLORA_TYPE_F32, n, 7, 2, 3, op_plain);
    op_fill(device, &src);
    OP_EACH(&index, i0, i1, i2, i3) op_set(&index, oclora_test_random() % 11, i0, i1, i2, i3);
    op_upload(device, &index);
    oclora_op_call call = op_call(OCLORA_OP_GET_ROWS, &dst);
    op_add_source(&call, &src);
    op_add_source(&call, &index);
    const rows_case user = {&src, &index, NULL};
    if (op_run(device, &call, &dst)) CHECK_LE(op_error(&dst, get_reference, &user), 3e-7);
    op_free(&src);
    op_free(&index);
    op_free(&dst);
}

static void get_on(const oclora_test_device *device)
{
    for (oclora_type type = OCLORA_TYPE_F32; type <= OCLORA_TYPE_Q6_K; type++)
        check_get(device, type, oclora_type_block(type) == 1 ? 33 : 512);
    check_get(device, OCLORA_TYPE_F32, 1);
    check_get(device, OCLORA_TYPE_F16, 1040);
}

/* Row i1 of dst is the source row whose index names it, or what it was before. */
static double set_reference(const void *user, uint64_t i0, uint64_t i1, uint64_t i2, uint64_t i3)
{
    const rows_case *c = user;
    const uint64_t *ne = c->index->view.ne;
    for (uint64_t i = 0; i < ne[0]; i++)
        if (op_get(c->index, i, i2 % ne[1], i3 % ne[2], 0) == (double)i1)
            return op_get(c->src, i0, i, i2, i3);
    return op_get(c->before, i0, i1, i2, i3);
}

static void check_set(const oclora_test_device *device, oclora_type type, oclora_type from,
                      oclora_type index_type, uint64_t n, uint64_t rows)
{
    op_tensor src = op_make(device, from, n, 5, 2, 3, op_swapped);
    op_tensor index = op_make(device, index_type, 5, 1, 3, 1, op_plain);
    op_tensor dst = op_make(device, type, n, rows, 2, 3, op_padded);
    op_tensor before = op_make(device, type, n, rows, 2, 3, op_padded);
    op_fill(device, &src);
    op_fill(device, &dst);
    memcpy(before.bytes, dst.bytes, dst.size);
    OP_EACH(&index, i0, i1, i2, i3)
    op_set(&index, (double)((i0 * 3 + i2 * 5 + 1) % rows), i0, i1, i2, i3);
    op_set(&index, (double)rows, 2, 0, 1, 0); /* outside: skipped */
    op_set(&index, -1.0, 3, 0, 1, 0);
    op_upload(device, &index);
    oclora_op_call call = op_call(OCLORA_OP_SET_ROWS, &dst);
    op_add_source(&call, &src);
    op_add_source(&call, &index);
    const rows_case user = {&src, &index, &before};
    const double bound = type == OCLORA_TYPE_F32 ? 0 : type == OCLORA_TYPE_F16 ? 5e-4 : 4e-3;
    if (op_run(device, &call, &dst)) CHECK_LE(op_error(&dst, set_reference, &user), bound);
    op_free(&src);
    op_free(&index);
    op_free(&dst);
    op_free(&before);
}

static void set_on(const oclora_test_device *device)
{
    const oclora_type f32 = OCLORA_TYPE_F32, f16 = OCLORA_TYPE_F16, i64 = OCLORA_TYPE_I64;
    check_set(device, f32, f32, i64, 33, 17);
    check_set(device, f16, f32, i64, 192, 64);
    check_set(device, f16, f32, OCLORA_TYPE_I32, 1, 700);
    check_set(device, OCLORA_TYPE_BF16, f32, i64, 40, 16);
    check_set(device, f16, f16, i64, 7, 16);
}

static double add_id_reference(const void *user, uint64_t i0, uint64_t i1, uint64_t i2, uint64_t i3)
{
    const rows_case *c = user;
    const uint64_t row = (uint64_t)op_get(c->index, i1, i2, 0, 0);
    return op_get(c->src, i0, i1, i2, i3) + op_get(c->before, i0, row, 0, 0);
}

static void add_id_on(const oclora_test_device *device)
{
    op_tensor src = op_make(device, OCLORA_TYPE_F32, 33, 4, 3, 1, op_padded);
    op_tensor bias = op_make(device, OCLORA_TYPE_F32, 33, 5, 1, 1, op_padded);
    op_tensor ids = op_make(device, OCLORA_TYPE_I32, 4, 3, 1, 1, op_padded);
    op_tensor dst = op_make(device, OCLORA_TYPE_F32, 33, 4, 3, 1, op_plain);
    op_fill(device, &src);
    op_fill(device, &bias);
    OP_EACH(&ids, i0, i1, i2, i3) op_set(&ids, (double)((i0 * 2 + i1) % 5), i0, i1, i2, i3);
    op_upload(device, &ids);
    oclora_op_call call = op_call(OCLORA_OP_ADD_ID, &dst);
    op_add_source(&call, &src);
    op_add_source(&call, &bias);
    op_add_source(&call, &ids);
    const rows_case user = {&src, &ids, &bias};
    if (op_run(device, &call, &dst)) CHECK_LE(op_error(&dst, add_id_reference, &user), 3e-7);
    op_free(&src);
    op_free(&bias);
    op_free(&ids);
    op_free(&dst);
}

static void outside_on(const oclora_test_device *device)
{
    op_tensor src = op_make(device, OCLORA_TYPE_F32, 32, 2, 1, 1, op_plain);
    op_tensor index = op_make(device, OCLORA_TYPE_I32, 1, 1, 1, 1, op_plain);
    op_tensor dst = op_make(device, OCLORA_TYPE_F32, 32, 1, 1, 1, op_plain);
    op_fill(device, &src);
    op_set(&index, 2, 0, 0, 0, 0);
    op_upload(device, &index);
    oclora_op_call call = op_call(OCLORA_OP_GET_ROWS, &dst);
    op_add_source(&call, &src);
    op_add_source(&call, &index);
    op_run(device, &call, &dst);
    CHECK(isnan(op_get(&dst, 0, 0, 0, 0)) && isnan(op_get(&dst, 31, 0, 0, 0)));
    call.src[1].type = OCLORA_TYPE_F32;
    op_expect_refused(device, &call, "op get_rows is not done");
    op_free(&src);
    op_free(&index);
    op_free(&dst);
}

static void get(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, get_on);
}
static void set(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, set_on);
}
static void add_id(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, add_id_on);
}
static void outside(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, outside_on);
}

int main(void)
{
    const oclora_test tests[] = {
        {"get", get}, {"set", set}, {"add_id", add_id}, {"outside", outside}};
    return oclora_test_main("rows", tests, sizeof(tests) / sizeof(tests[0]));
}
