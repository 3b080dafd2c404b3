#include "op_test.h"

enum { HEADS = 6, KV_HEADS = 3, SEQUENCES = 2 };

typedef struct attention_case {
    const op_tensor *q, *k, *v, *mask, *sinks;
    float scale, max_bias, softcap;
} attention_case;

static double slope_of(uint64_t head, uint64_t heads, double max_bias)
{
    if (max_bias <= 0) return 1.0;
    const double power = pow(2.0, floor(log2((double)heads)));
    if ((double)head < power) return pow(pow(2.0, -max_bias / power), (double)head + 1);
    return pow(pow(2.0, -max_bias / 2 / power), 2 * ((double)head - power) + 1);
}

static double score_of(const attention_case *c, uint64_t j, uint64_t row, uint64_t h, uint64_t b)
{
    const uint64_t group = c->q->view.ne[2] / c->k->view.ne[2];
    double dot = 0.0;
    for (uint64_t d = 0; d < c->q->view.ne[0]; d++)
        dot += op_get(c->q, d, row, h, b) * op_get(c->k, d, j, h / group, b);
    dot *= c->scale;
    if (c->softcap != 0) dot = c->softcap * tanh(dot / c->softcap);
    if (c->mask == NULL) return dot;
    const uint64_t *ne = c->mask->view.ne;
    return dot + slope_of(h, c->q->view.ne[2], c->max_bias) *
                     op_get(c->mask, j, row, h % ne[2], b % ne[3]);
}

/* dst index order: channel, head, row, batch. */
static double attention_reference(const void *user, uint64_t d, uint64_t h, uint64_t row,
                                  uint64_t b)
{
    const attention_case *c = user;
    const uint64_t n = c->k->view.ne[1], group = c->q->view.ne[2] / c->v->view.ne[2];
    double top = c->sinks ? op_get(c->sinks, h, 0, 0, 0) : -INFINITY, sum = 0.0, out = 0.0;
    double score[1024];
    for (uint64_t j = 0; j < n; j++) {
        score[j] = score_of(c, j, row, h, b);
        top = fmax(top, score[j]);
    }
    for (uint64_t j = 0; j < n; j++) {
        if (score[j] == -INFINITY) continue;
        sum += exp(score[j] - top);
        out += exp(score[j] - top) * op_get(c->v, d, j, h / group, b);
    }
    if (c->sinks) sum += exp(op_get(c->sinks, h, 0, 0, 0) - top);
    return sum > 0 ? out / sum : 0.0;
}

/* Causal, with positions from `used` on masked; some rows see a window only. */
static void fill_mask(const oclora_test_device *device, const op_tensor *mask, uint64_t used)
{
    OP_EACH(mask, i0, i1, i2, i3)
    {
        const bool seen = i0 < used && i0 <= used - mask->view.ne[1] + i1 && (i1 != 2 || i0 >= 70);
        op_set(mask, seen ? -0.01 * (double)(i0 % 7) : -INFINITY, i0, i1, i2, i3);
    }
    op_upload(device, mask);
}

typedef struct setup {
    uint64_t dk, dv, n_kv, rows;
    oclora_type k_type, v_type;
    bool mask, sinks;
    float max_bias, softcap;
    op_layout layout;
} setup;

static void check_attention(const oclora_test_device *device, setup s)
{
    op_tensor q = op_make(device, OCLORA_TYPE_F32, s.dk, s.rows, HEADS, SEQUENCES, op_swapped);
    op_tensor k = op_make(device, s.k_type, s.dk, s.n_kv, KV_HEADS, SEQUENCES, s.layout);
    op_tensor v = op_make(device, s.v_type, s.dv, s.n_kv, KV_HEADS, SEQUENCES, s.layout);
    op_tensor mask = op_make(device, OCLORA_TYPE_F16, s.n_kv, s.rows, 1, SEQUENCES, op_plain);
    op_tensor sinks = op_make(device, OCLORA_TYPE_F32, HEADS, 1, 1, 1, op_plain);
    op_tensor dst = op_make(device, OCLORA_TYPE_F32, s.dv, HEADS, s.rows, SEQUENCES, op_plain);
    op_fill(device, &q);
    op_fill(device, &k);
    op_fill(device, &v);
    op_fill(device, &sinks);
    fill_mask(device, &mask, s.n_kv - 5);
    oclora_op_call call = op_call(OCLORA_OP_FLASH_ATTN, &dst);
    const attention_case user = {&q,
                                 &k,
                                 &v,
                                 s.mask ? &mask : NULL,
                                 s.sinks ? &sinks : NULL,
                                 1.0f / sqrtf((float)s.dk),
                                 s.max_bias,
                                 s.softcap};
    call.params.f[0] = user.scale;
    call.params.f[1] = s.max_bias;
    call.params.f[2] = s.softcap;
    op_add_source(&call, &q);
    op_add_source(&call, &k);
    op_add_source(&call, &v);
    op_add_source(&call, user.mask);
    op_add_source(&call, user.sinks);
    if (op_run(device, &call, &dst)) CHECK_LE(op_error(&dst, attention_reference, &user), 3e-6);
    op_free(&q);
    op_free(&k);
    op_free(&v);
    op_free(&mask);
    op_free(&sinks);
    op_free(&dst);
}

static void forms_on(const oclora_test_device *device)
{
    const oclora_type f16 = OCLORA_TYPE_F16, f32 = OCLORA_TYPE_F32, q8 = OCLORA_TYPE_Q8_0;
    check_attention(device, (setup){64, 64, 256, 3, f16, f16, true, false, 0, 0, op_swapped});
    check_attention(device, (setup){64, 64, 161, 1, f16, f16, true, true, 8.0f, 0, op_plain});
    check_attention(device, (setup){64, 64, 133, 4, f16, f16, true, false, 0, 3.0f, op_padded});
    check_attention(device, (setup){64, 64, 40, 3, f16, f16, false, true, 0, 0, op_plain});
    check_attention(device, (setup){40, 40, 96, 3, f32, f32, true, false, 0, 0, op_swapped});
    check_attention(device, (setup){192, 144, 100, 1, f16, f16, true, false, 0, 0, op_plain});
    check_attention(device,
                    (setup){64, 64, 100, 1, q8, OCLORA_TYPE_Q4_0, true, false, 0, 0, op_plain});
}

static void types_on(const oclora_test_device *device)
{
    for (oclora_type type = OCLORA_TYPE_BF16; type <= OCLORA_TYPE_Q5_1; type++)
        check_attention(device, (setup){32, 32, 100, 1, type, type, true, false, 0, 0, op_plain});
}

/* Runs `rows` rows from `row` against the first n_kv keys of one shared cache and mask. */
static void run_part(const oclora_test_device *device, oclora_op_call call, const op_tensor *q,
                     const op_tensor *mask, uint64_t row, const op_tensor *dst, uint64_t n_kv)
{
    call.dst = dst->view;
    call.src[0].ne[1] = dst->view.ne[2];
    call.src[0].offset += row * q->view.nb[1];
    call.src[1].ne[1] = call.src[2].ne[1] = n_kv;
    call.src[3].ne[0] = n_kv;
    call.src[3].ne[1] = dst->view.ne[2];
    call.src[3].offset += row * mask->view.nb[1];
    op_run(device, &call, dst);
}

/* Bits of a row do not depend on other rows, or on how far the cache is padded with masked keys,
 * whatever lies in them. */
static void alone_on(const oclora_test_device *device)
{
    op_tensor q = op_make(device, OCLORA_TYPE_F32, 64, 5, HEADS, 1, op_swapped);
    op_tensor k = op_make(device, OCLORA_TYPE_F16, 64, 512, KV_HEADS, 1, op_swapped);
    op_tensor v = op_make(device, OCLORA_TYPE_F16, 64, 512, KV_HEADS, 1, op_swapped);
    op_tensor mask = op_make(device, OCLORA_TYPE_F16, 512, 5, 1, 1, op_plain);
    op_tensor many = op_make(device, OCLORA_TYPE_F32, 64, HEADS, 5, 1, op_plain);
    op_tensor one = op_make(device, OCLORA_TYPE_F32, 64, HEADS, 1, 1, op_plain);
    op_fill(device, &q);
    op_fill(device, &k);
    op_fill(device, &v);
    fill_mask(device, &mask, 201);
    OP_EACH(&v, i0, i1, i2, i3)
    if (i1 >= 201) op_set(i0 % 2 ? &v : &k, NAN, i0, i1, i2, i3);
    op_upload(device, &k);
    op_upload(device, &v);
    oclora_op_call call = op_call(OCLORA_OP_FLASH_ATTN, &many);
    call.params.f[0] = 0.125f;
    op_add_source(&call, &q);
    op_add_source(&call, &k);
    op_add_source(&call, &v);
    op_add_source(&call, &mask);
    run_part(device, call, &q, &mask, 0, &many, 256);
    const uint64_t lengths[] = {201, 256, 512};
    for (uint64_t row = 0; row < 5; row++) {
        for (int i = 0; i < 3; i++) {
            run_part(device, call, &q, &mask, row, &one, lengths[i]);
            CHECK_INT(memcmp(op_at(&one, 0, 0, 0, 0), op_at(&many, 0, 0, row, 0), 64 * HEADS * 4),
                      0);
        }
    }
    op_free(&q);
    op_free(&k);
    op_free(&v);
    op_free(&mask);
    op_free(&many);
    op_free(&one);
}

static void refused_on(const oclora_test_device *device)
{
    op_tensor q = op_make(device, OCLORA_TYPE_F32, 256, 1, 1, 1, op_plain);
    op_tensor k = op_make(device, OCLORA_TYPE_Q4_K, 256, 4, 1, 1, op_plain);
    op_tensor dst = op_make(device, OCLORA_TYPE_F32, 256, 1, 1, 1, op_plain);
    oclora_op_call call = op_call(OCLORA_OP_FLASH_ATTN, &dst);
    op_add_source(&call, &q);
    op_add_source(&call, &k);
    op_add_source(&call, &k);
    op_expect_refused(device, &call, "q4_K[256,4,1,1]");
    op_free(&q);
    op_free(&k);
    op_free(&dst);
}

static void forms(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, forms_on);
}
static void types(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, types_on);
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
    const oclora_test tests[] = {
        {"forms", forms}, {"types", types}, {"alone", alone}, {"refused", refused}};
    return oclora_test_main("attention", tests, sizeof(tests) / sizeof(tests[0]));
}
