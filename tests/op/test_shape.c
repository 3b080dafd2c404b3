#include "op_test.h"

typedef struct shape_case {
    const op_tensor *a, *b;
    uint32_t dim;
} shape_case;

static double concat_reference(const void *user, uint64_t i0, uint64_t i1, uint64_t i2, uint64_t i3)
{
    const shape_case *c = user;
    uint64_t i[4] = {i0, i1, i2, i3};
    const uint64_t split = c->a->view.ne[c->dim];
    if (i[c->dim] < split) return op_get(c->a, i0, i1, i2, i3);
    i[c->dim] -= split;
    return op_get(c->b, i[0], i[1], i[2], i[3]);
}

static double repeat_reference(const void *user, uint64_t i0, uint64_t i1, uint64_t i2, uint64_t i3)
{
    const shape_case *c = user;
    const uint64_t *ne = c->a->view.ne;
    return op_get(c->a, i0 % ne[0], i1 % ne[1], i2 % ne[2], i3 % ne[3]);
}

static void check_concat(const oclora_test_device *device, oclora_type type, uint32_t dim)
{
    const bool blocks = oclora_type_block(type) > 1;
    uint64_t e[4] = {blocks ? 64 : 7, 5, 2, 3};
    op_tensor a = op_make(device, type, e[0], e[1], e[2], e[3], op_swapped);
    e[dim] += blocks ? 32 : 4;
    op_tensor b = op_make(device, type, e[0], e[1], e[2], e[3], blocks ? op_padded : op_transposed);
    e[dim] += a.view.ne[dim];
    op_tensor dst = op_make(device, type, e[0], e[1], e[2], e[3], op_padded);
    op_fill(device, &a);
    op_fill(device, &b);
    oclora_op_call call = op_call(OCLORA_OP_CONCAT, &dst);
    call.params.i[0] = (int32_t)dim;
    op_add_source(&call, &a);
    op_add_source(&call, &b);
    const shape_case user = {&a, &b, dim};
    if (op_run(device, &call, &dst)) CHECK_LE(op_error(&dst, concat_reference, &user), 0);
    op_free(&a);
    op_free(&b);
    op_free(&dst);
}

static void check_repeat(const oclora_test_device *device, oclora_type type)
{
    op_tensor a = op_make(device, type, 3, 1, 2, 1, op_padded);
    op_tensor dst = op_make(device, type, 33, 5, 2, 3, op_swapped);
    op_fill(device, &a);
    oclora_op_call call = op_call(OCLORA_OP_REPEAT, &dst);
    op_add_source(&call, &a);
    const shape_case user = {&a, NULL, 0};
    if (op_run(device, &call, &dst)) CHECK_LE(op_error(&dst, repeat_reference, &user), 0);
    op_free(&a);
    op_free(&dst);
}

static void moves_on(const oclora_test_device *device)
{
    for (uint32_t dim = 0; dim < 4; dim++) check_concat(device, OCLORA_TYPE_F32, dim);
    check_concat(device, OCLORA_TYPE_F16, 1);
    check_concat(device, OCLORA_TYPE_I64, 0);
    check_concat(device, OCLORA_TYPE_Q5_0, 0);
    check_concat(device, OCLORA_TYPE_Q8_0, 2);
    check_repeat(device, OCLORA_TYPE_F32);
    check_repeat(device, OCLORA_TYPE_F16);
}

static void check_argsort(const oclora_test_device *device, uint64_t n, int32_t order)
{
    op_tensor a = op_make(device, OCLORA_TYPE_F32, n, 3, 2, 1, op_padded);
    op_tensor dst = op_make(device, OCLORA_TYPE_I32, n, 3, 2, 1, op_plain);
    op_fill(device, &a);
    OP_EACH(&a, i0, i1, i2, i3) if (i0 % 3 == 2) op_set(&a, 0.25, i0, i1, i2, i3);
    op_upload(device, &a);
    oclora_op_call call = op_call(OCLORA_OP_ARGSORT, &dst);
    call.params.i[0] = order;
    op_add_source(&call, &a);
    if (!op_run(device, &call, &dst)) return;
    long wrong = 0;
    OP_EACH(&dst, i0, i1, i2, i3)
    {
        if (i0 == 0) continue;
        const uint64_t p = (uint64_t)op_get(&dst, i0 - 1, i1, i2, i3);
        const uint64_t q = (uint64_t)op_get(&dst, i0, i1, i2, i3);
        if (p >= n || q >= n) {
            wrong++;
            continue;
        }
        const double x = op_get(&a, p, i1, i2, i3), y = op_get(&a, q, i1, i2, i3);
        wrong += order == 0 ? x > y : x < y;
        wrong += x == y && p >= q; /* equal values keep their order, so no index comes twice */
    }
    CHECK_INT(wrong, 0);
    op_free(&a);
    op_free(&dst);
}

static void argsort_on(const oclora_test_device *device)
{
    check_argsort(device, 1, 0);
    check_argsort(device, 33, 1);
    check_argsort(device, 576, 0);
}

typedef struct image {
    const op_tensor *pixels;
    int64_t kernel[2], stride[2], padding[2], dilation[2];
} image;

static double im2col_reference(const void *user, uint64_t i0, uint64_t i1, uint64_t i2, uint64_t i3)
{
    const image *m = user;
    const uint64_t *ne = m->pixels->view.ne, taps = (uint64_t)(m->kernel[0] * m->kernel[1]);
    const int64_t tap = (int64_t)(i0 % taps);
    const int64_t w =
        (int64_t)i1 * m->stride[0] + tap % m->kernel[0] * m->dilation[0] - m->padding[0];
    const int64_t h =
        (int64_t)i2 * m->stride[1] + tap / m->kernel[0] * m->dilation[1] - m->padding[1];
    if (w < 0 || h < 0 || w >= (int64_t)ne[0] || h >= (int64_t)ne[1]) return 0;
    return op_get(m->pixels, (uint64_t)w, (uint64_t)h, i0 / taps, i3);
}

static uint64_t outputs(int64_t size, const image *m, int d)
{
    return (uint64_t)((size + 2 * m->padding[d] - m->dilation[d] * (m->kernel[d] - 1) - 1) /
                          m->stride[d] +
                      1);
}

static void check_im2col(const oclora_test_device *device, image m, oclora_type type, bool two)
{
    const uint64_t height = two ? 9 : 1;
    op_tensor pixels = op_make(device, OCLORA_TYPE_F32, 11, height, 3, 2, op_plain);
    op_tensor kernel = op_make(device, OCLORA_TYPE_F32, (uint64_t)m.kernel[0],
                               (uint64_t)m.kernel[1], 3, 4, op_plain);
    m.pixels = &pixels;
    const uint64_t columns = 3 * (uint64_t)(m.kernel[0] * m.kernel[1]);
    op_tensor dst = op_make(device, type, columns, outputs(11, &m, 0),
                            two ? outputs((int64_t)height, &m, 1) : 1, 2, op_plain);
    op_fill(device, &pixels);
    oclora_op_call call = op_call(OCLORA_OP_IM2COL, &dst);
    for (int d = 0; d < 2; d++) {
        call.params.i[0] |= (int32_t)m.stride[d] << 16 * d;
        call.params.i[1] |= (int32_t)m.padding[d] << 16 * d;
        call.params.i[2] |= (int32_t)m.dilation[d] << 16 * d;
    }
    call.params.i[3] = two;
    op_add_source(&call, &kernel);
    op_add_source(&call, &pixels);
    if (!two) { /* the same memory as ggml numbers it: no dimension of height */
        for (int s = 0; s < 2; s++) {
            oclora_tensor *t = &call.src[s];
            for (int i = 1; i < 3; i++) {
                t->ne[i] = t->ne[i + 1];
                t->nb[i] = t->nb[i + 1];
            }
            t->ne[3] = 1;
        }
        call.dst.ne[2] = 2;
        call.dst.nb[2] = call.dst.nb[3];
        call.dst.ne[3] = 1;
    }
    if (op_run(device, &call, &dst))
        CHECK_LE(op_error(&dst, im2col_reference, &m), type == OCLORA_TYPE_F32 ? 0 : 1e-3);
    op_free(&pixels);
    op_free(&kernel);
    op_free(&dst);
}

static void im2col_on(const oclora_test_device *device)
{
    const image same = {.kernel = {3, 3}, .stride = {1, 1}, .padding = {1, 1}, .dilation = {1, 1}};
    const image wide = {.kernel = {2, 3}, .stride = {3, 2}, .padding = {3, 0}, .dilation = {3, 1}};
    const image line = {.kernel = {3, 1}, .stride = {2, 1}, .padding = {2, 0}, .dilation = {2, 1}};
    check_im2col(device, same, OCLORA_TYPE_F32, true);
    check_im2col(device, wide, OCLORA_TYPE_F16, true);
    check_im2col(device, line, OCLORA_TYPE_F32, false);
}

static void refused_on(const oclora_test_device *device)
{
    op_tensor a = op_make(device, OCLORA_TYPE_F32, 8, 4, 1, 1, op_plain);
    op_tensor b = op_make(device, OCLORA_TYPE_F32, 7, 4, 1, 1, op_plain);
    oclora_op_call concat = op_call(OCLORA_OP_CONCAT, &a);
    op_add_source(&concat, &b);
    op_add_source(&concat, &b);
    op_expect_refused(device, &concat, "op concat is not done");
    oclora_op_call repeat = op_call(OCLORA_OP_REPEAT, &a);
    op_add_source(&repeat, &b);
    op_expect_refused(device, &repeat, "op repeat is not done");
    op_free(&a);
    op_free(&b);
}

static void moves(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, moves_on);
}
static void argsort(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, argsort_on);
}
static void im2col(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, im2col_on);
}
static void refused(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, refused_on);
}

int main(void)
{
    const oclora_test tests[] = {
        {"moves", moves}, {"argsort", argsort}, {"im2col", im2col}, {"refused", refused}};
    return oclora_test_main("shape", tests, sizeof(tests) / sizeof(tests[0]));
}
