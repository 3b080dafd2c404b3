#include "op_test.h"

typedef struct rope_case {
    const op_tensor *src, *positions, *factors;
    const oclora_node_params *params;
} rope_case;

static double clamp01(double x)
{
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

static double section_width(const rope_case *c, int index)
{
    return (double)((uint32_t)c->params->i[2 + index / 2] >> (index % 2 * 16) & 0xffff);
}

/* With sections: which of the four positions turns a pair, and the power of the base. */
static int section_of(const rope_case *c, uint64_t pair, double *power)
{
    double width[4], sum = 0;
    for (int i = 0; i < 4; i++) sum += width[i] = section_width(c, i);
    double sector = fmod((double)pair, sum), first = 0;
    if (c->params->variant == 40) {
        const int k = (int)sector % 3;
        return sector < 3 * width[k] ? k : 3;
    }
    int which = 0;
    while (which < 3 && sector >= first + width[which]) first += width[which++];
    if (c->params->variant == 24) *power = sector - first;
    return which;
}

/* Angle and magnitude of one pair, after the YaRN paper's mix of interpolated and extrapolated. */
static double angle_of(const rope_case *c, uint64_t pair, uint64_t token, double *magnitude)
{
    const float *f = c->params->f;
    const double n = c->params->i[0], base = f[0];
    const uint64_t tokens = c->src->view.ne[2];
    double power = (double)pair;
    const uint64_t which = c->params->variant > 2 ? (uint64_t)section_of(c, pair, &power) : 0;
    const double position = op_get(c->positions, token + which * tokens, 0, 0, 0);
    double extra = position * pow(base, -2.0 * power / n);
    if (c->factors) extra /= op_get(c->factors, pair, 0, 0, 0);
    *magnitude = f[3];
    if (f[2] == 0) return f[1] * extra;
    const double pi = 3.14159265358979323846, n_ctx = c->params->i[1];
    const double low = fmax(0, floor(n * log(n_ctx / (f[4] * 2 * pi)) / (2 * log(base))));
    const double high = fmin(n - 1, ceil(n * log(n_ctx / (f[5] * 2 * pi)) / (2 * log(base))));
    const double ramp = 1 - clamp01(((double)pair - low) / fmax(0.001, high - low));
    *magnitude *= 1 + 0.1 * log(1 / f[1]);
    return f[1] * extra * (1 - ramp * f[2]) + extra * ramp * f[2];
}

static double turned(const rope_case *c, uint64_t first, uint64_t i0, uint64_t i1, uint64_t i2,
                     uint64_t i3)
{
    const uint32_t mode = c->params->variant;
    const uint64_t n = (uint64_t)c->params->i[0] * (mode == 24 ? 2 : 1), half = n / 2;
    if (i0 >= n) return op_get(c->src, i0 + first, i1, i2, i3);
    const bool neox = mode != 0;
    const uint64_t pair = neox ? i0 % half : i0 / 2;
    const bool second = neox ? i0 >= half : i0 % 2;
    const double x0 = op_get(c->src, first + (neox ? pair : 2 * pair), i1, i2, i3);
    const double x1 = op_get(c->src, first + (neox ? pair + half : 2 * pair + 1), i1, i2, i3);
    double magnitude;
    const double angle = angle_of(c, pair, i2, &magnitude);
    return magnitude *
           (second ? x0 * sin(angle) + x1 * cos(angle) : x0 * cos(angle) - x1 * sin(angle));
}

/* Channels before the first one are copied. */
static double rope_reference(const void *user, uint64_t i0, uint64_t i1, uint64_t i2, uint64_t i3)
{
    const rope_case *c = user;
    const uint64_t first = c->params->variant >> 16;
    if (i0 < first) return op_get(c->src, i0, i1, i2, i3);
    oclora_node_params params = *c->params;
    params.variant &= 0xffff;
    const rope_case behind = {c->src, c->positions, c->factors, &params};
    return turned(&behind, first, i0 - first, i1, i2, i3);
}

static void check_rope(const oclora_test_device *device, oclora_type type, uint64_t ne0,
                       int32_t n_dims, uint32_t mode, bool factors, float ext_factor,
                       op_layout layout)
{
    op_tensor src = op_make(device, type, ne0, 3, 7, 2, layout);
    op_tensor dst = op_make(device, type, ne0, 3, 7, 2, op_plain);
    const uint64_t n_positions = (mode & 0xffff) > 2 ? 4 * 7 : 7;
    op_tensor positions = op_make(device, OCLORA_TYPE_I32, n_positions, 1, 1, 1, op_padded);
    const uint64_t pairs = (uint64_t)n_dims / (mode == 24 ? 1 : 2);
    op_tensor scale = op_make(device, OCLORA_TYPE_F32, pairs, 1, 1, 1, op_plain);
    op_fill(device, &src);
    for (uint64_t i = 0; i < n_positions; i++)
        op_set(&positions, (double)(i * 37 % 200), i, 0, 0, 0);
    op_upload(device, &positions);
    for (uint64_t i = 0; i < scale.view.ne[0]; i++)
        op_set(&scale, 1.0 + (double)(i % 4), i, 0, 0, 0);
    op_upload(device, &scale);
    oclora_op_call call = op_call(OCLORA_OP_ROPE, &dst);
    call.params.variant = mode;
    call.params.i[0] = n_dims;
    call.params.i[1] = 2048;
    call.params.i[2] = 5 | 7 << 16; /* sections of 5, 7, 3 and 2 pairs, again and again */
    call.params.i[3] = 3 | 2 << 16;
    const float f[6] = {10000.0f, ext_factor != 0 ? 0.25f : 1.0f, ext_factor, 1.1f, 32.0f, 1.0f};
    memcpy(call.params.f, f, sizeof(f));
    op_add_source(&call, &src);
    op_add_source(&call, &positions);
    if (factors) op_add_source(&call, &scale);
    const rope_case user = {&src, &positions, factors ? &scale : NULL, &call.params};
    /* Angles of up to 200 radians carry f32 rounding. */
    if (op_run(device, &call, &dst))
        CHECK_LE(op_error(&dst, rope_reference, &user), type == OCLORA_TYPE_F32 ? 4e-5 : 1e-3);
    op_free(&src);
    op_free(&dst);
    op_free(&positions);
    op_free(&scale);
}

static void forms_on(const oclora_test_device *device)
{
    for (uint32_t mode = 0; mode <= 2; mode += 2) {
        check_rope(device, OCLORA_TYPE_F32, 64, 64, mode, false, 0.0f, op_plain);
        check_rope(device, OCLORA_TYPE_F32, 80, 32, mode, true, 0.0f, op_padded);
        check_rope(device, OCLORA_TYPE_F32, 131, 42, mode, false, 1.0f, op_swapped);
        check_rope(device, OCLORA_TYPE_F16, 64, 64, mode, true, 0.7f, op_plain);
    }
    check_rope(device, OCLORA_TYPE_F32, 2, 2, 0, false, 0.0f, op_plain);
    check_rope(device, OCLORA_TYPE_F32, 48, 0, 0, false, 0.0f, op_plain); /* nothing turns */
    check_rope(device, OCLORA_TYPE_F32, 80, 32, 2 | 22 << 16, true, 0.0f, op_padded);
    check_rope(device, OCLORA_TYPE_F16, 64, 32, 0 | 32 << 16, false, 0.7f, op_plain);
}

static void sections_on(const oclora_test_device *device)
{
    check_rope(device, OCLORA_TYPE_F32, 64, 64, 8, false, 0.0f, op_plain);
    check_rope(device, OCLORA_TYPE_F32, 80, 42, 8, true, 0.7f, op_padded);
    check_rope(device, OCLORA_TYPE_F16, 64, 64, 40, true, 0.0f, op_swapped);
    check_rope(device, OCLORA_TYPE_F32, 131, 50, 40, false, 1.0f, op_plain);
    check_rope(device, OCLORA_TYPE_F32, 80, 40, 24, true, 0.0f, op_padded);
    check_rope(device, OCLORA_TYPE_F16, 64, 32, 24, false, 0.7f, op_plain);
}

/* In place, as a host may ask; and a token's bits are the same alone. */
static void in_place_on(const oclora_test_device *device)
{
    op_tensor src = op_make(device, OCLORA_TYPE_F32, 64, 3, 4, 1, op_plain);
    op_tensor dst = op_make(device, OCLORA_TYPE_F32, 64, 3, 4, 1, op_plain);
    op_tensor positions = op_make(device, OCLORA_TYPE_I32, 4, 1, 1, 1, op_plain);
    op_fill(device, &src);
    for (uint64_t i = 0; i < 4; i++) op_set(&positions, (double)(9 * i + 1), i, 0, 0, 0);
    op_upload(device, &positions);
    oclora_op_call call = op_call(OCLORA_OP_ROPE, &dst);
    call.params.i[0] = 64;
    call.params.f[0] = 1e5f;
    call.params.f[1] = call.params.f[3] = 1.0f;
    op_add_source(&call, &src);
    op_add_source(&call, &positions);
    op_run(device, &call, &dst);
    call.dst = call.src[0];
    call.dst.offset = call.src[0].offset += 2 * src.view.nb[2];
    call.dst.ne[2] = call.src[0].ne[2] = call.src[1].ne[0] = 1;
    call.src[1].offset += 2 * 4;
    op_run(device, &call, &src);
    CHECK_INT(memcmp(op_at(&src, 0, 0, 2, 0), op_at(&dst, 0, 0, 2, 0), 3 * 64 * 4), 0);
    op_free(&src);
    op_free(&dst);
    op_free(&positions);
}

static void refused_on(const oclora_test_device *device)
{
    op_tensor src = op_make(device, OCLORA_TYPE_F32, 8, 1, 1, 1, op_plain);
    op_tensor positions = op_make(device, OCLORA_TYPE_I32, 1, 1, 1, 1, op_plain);
    oclora_op_call call = op_call(OCLORA_OP_ROPE, &src);
    op_add_source(&call, &src);
    op_add_source(&call, &positions);
    call.params.i[0] = 10;
    op_expect_refused(device, &call, "op rope is not done");
    call.params.i[0] = 8;
    call.params.variant = 8; /* four positions a token are needed, and some section */
    op_expect_refused(device, &call, "op rope is not done");
    call.params.variant = 4;
    op_expect_refused(device, &call, "op rope is not done");
    op_free(&src);
    op_free(&positions);
}

static void forms(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, forms_on);
}
static void sections(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, sections_on);
}
static void in_place(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, in_place_on);
}
static void refused(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, refused_on);
}

int main(void)
{
    const oclora_test tests[] = {
        {"forms", forms}, {"sections", sections}, {"in_place", in_place}, {"refused", refused}};
    return oclora_test_main("rope", tests, sizeof(tests) / sizeof(tests[0]));
}
