#include "op_test.h"

typedef struct softmax_case {
    const op_tensor *src, *mask, *sinks;
    float scale, max_bias;
} softmax_case;

static double slope_of(uint64_t head, uint64_t heads, double max_bias)
{
    if (max_bias <= 0) return 1.0;
    const double power = pow(2.0, floor(log2((double)heads)));
    if ((double)head < power) return pow(pow(2.0, -max_bias / power), (double)head + 1);
    return pow(pow(2.0, -max_bias / 2 / power), 2 * ((double)head - power) + 1);
}

static double logit(const softmax_case *c, uint64_t i0, uint64_t i1, uint64_t i2, uint64_t i3)
{
    double v = c->scale * op_get(c->src, i0, i1, i2, i3);
    if (c->mask != NULL) {
        const uint64_t *ne = c->mask->view.ne;
        v += slope_of(i2, c->src->view.ne[2], c->max_bias) *
             op_get(c->mask, i0, i1, i2 % ne[2], i3 % ne[3]);
    }
    return v;
}

static double softmax_reference(const void *user, uint64_t i0, uint64_t i1, uint64_t i2,
                                uint64_t i3)
{
    const softmax_case *c = user;
    double top = c->sinks ? op_get(c->sinks, i2, 0, 0, 0) : -INFINITY, sum = 0.0;
    for (uint64_t i = 0; i < c->src->view.ne[0]; i++) top = fmax(top, logit(c, i, i1, i2, i3));
    for (uint64_t i = 0; i < c->src->view.ne[0]; i++) sum += exp(logit(c, i, i1, i2, i3) - top);
    if (c->sinks) sum += exp(op_get(c->sinks, i2, 0, 0, 0) - top);
    return exp(logit(c, i0, i1, i2, i3) - top) / sum;
}

static void fill_mask(const oclora_test_device *device, const op_tensor *mask)
{
    const uint64_t n = mask->view.ne[0];
    OP_EACH(mask, i0, i1, i2, i3)
    op_set(mask, i0 <= n / 2 + i1 ? -0.125 * (double)(i0 % 5) : -INFINITY, i0, i1, i2, i3);
    op_upload(device, mask);
}

static void check_softmax(const oclora_test_device *device, uint64_t n, oclora_type mask_type,
                          bool has_mask, bool has_sinks, float max_bias, op_layout layout)
{
    op_tensor src = op_make(device, OCLORA_TYPE_F32, n, 5, 6, 2, layout);
    op_tensor dst = op_make(device, OCLORA_TYPE_F32, n, 5, 6, 2, op_plain);
    op_tensor mask = op_make(device, mask_type, n, 8, 3, 2, op_plain);
    op_tensor sinks = op_make(device, OCLORA_TYPE_F32, 6, 1, 1, 1, op_plain);
    op_fill(device, &src);
    op_fill(device, &sinks);
    fill_mask(device, &mask);
    const softmax_case user = {&src, has_mask ? &mask : NULL, has_sinks ? &sinks : NULL, 1.75f,
                               max_bias};
    oclora_op_call call = op_call(OCLORA_OP_SOFT_MAX, &dst);
    call.params.f[0] = user.scale;
    call.params.f[1] = max_bias;
    op_add_source(&call, &src);
    op_add_source(&call, user.mask);
    op_add_source(&call, user.sinks);
    if (op_run(device, &call, &dst)) CHECK_LE(op_error(&dst, softmax_reference, &user), 2e-6);
    op_free(&src);
    op_free(&dst);
    op_free(&mask);
    op_free(&sinks);
}

static void forms_on(const oclora_test_device *device)
{
    check_softmax(device, 33, OCLORA_TYPE_F32, false, false, 0.0f, op_plain);
    check_softmax(device, 256, OCLORA_TYPE_F32, true, false, 0.0f, op_padded);
    check_softmax(device, 147, OCLORA_TYPE_F16, true, true, 0.0f, op_swapped);
    check_softmax(device, 64, OCLORA_TYPE_F16, true, false, 8.0f, op_plain);
    check_softmax(device, 1, OCLORA_TYPE_F32, false, true, 0.0f, op_plain);
}

/* A row has the same bits alone, and with 256 or 512 positions of which the rest is masked. */
static void alone_on(const oclora_test_device *device)
{
    op_tensor src = op_make(device, OCLORA_TYPE_F32, 512, 5, 2, 1, op_plain);
    op_tensor mask = op_make(device, OCLORA_TYPE_F16, 512, 5, 1, 1, op_plain);
    op_tensor wide = op_make(device, OCLORA_TYPE_F32, 512, 5, 2, 1, op_plain);
    op_tensor near = op_make(device, OCLORA_TYPE_F32, 256, 1, 2, 1, op_plain);
    op_fill(device, &src);
    OP_EACH(&mask, i0, i1, i2, i3)
    op_set(&mask, i0 <= 140 + i1 ? 0.0 : -INFINITY, i0, i1, i2, i3);
    op_upload(device, &mask);
    oclora_op_call call = op_call(OCLORA_OP_SOFT_MAX, &wide);
    call.params.f[0] = 0.5f;
    op_add_source(&call, &src);
    op_add_source(&call, &mask);
    op_run(device, &call, &wide);
    call.dst = near.view;
    call.src[0].ne[0] = call.src[1].ne[0] = 256;
    call.src[0].ne[1] = call.src[1].ne[1] = 1;
    call.src[0].offset += 3 * src.view.nb[1];
    call.src[1].offset += 3 * mask.view.nb[1];
    op_run(device, &call, &near);
    for (uint64_t h = 0; h < 2; h++)
        CHECK_INT(memcmp(op_at(&near, 0, 0, h, 0), op_at(&wide, 0, 3, h, 0), 256 * 4), 0);
    op_free(&src);
    op_free(&mask);
    op_free(&wide);
    op_free(&near);
}

static void refused_on(const oclora_test_device *device)
{
    op_tensor src = op_make(device, OCLORA_TYPE_F32, 8, 4, 1, 1, op_plain);
    op_tensor mask = op_make(device, OCLORA_TYPE_F32, 8, 2, 1, 1, op_plain);
    oclora_op_call call = op_call(OCLORA_OP_SOFT_MAX, &src);
    op_add_source(&call, &src);
    op_add_source(&call, &mask);
    op_expect_refused(device, &call, "op soft_max is not done");
    op_free(&src);
    op_free(&mask);
}

static void forms(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, forms_on);
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
    const oclora_test tests[] = {{"forms", forms}, {"alone", alone}, {"refused", refused}};
    return oclora_test_main("softmax", tests, sizeof(tests) / sizeof(tests[0]));
}
