#include "tools/clinfo-bench/selftest.h"

#include "host/base/layout.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

float bench_random(selftest *t)
{
    uint64_t z = (t->random += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (float)((int32_t)(z >> 40) - (1 << 23)) / (float)(1 << 23);
}

static uint64_t count_of(const uint64_t *ne)
{
    return ne[0] * ne[1] * ne[2] * ne[3];
}

static void contiguous(oclora_tensor *view, oclora_type type, const uint64_t *ne)
{
    view->type = type;
    for (int i = 0; i < 4; i++) view->ne[i] = ne[i];
    view->nb[0] = oclora_type_block_bytes(type);
    view->nb[1] = oclora_type_row_bytes(type, ne[0]);
    view->nb[2] = view->nb[1] * ne[1];
    view->nb[3] = view->nb[2] * ne[2];
}

static float fill_value(selftest *t, const case_source *s, uint64_t i)
{
    switch (s->fill) {
    case FILL_POSITIVE:
        return bench_random(t) * 0.5f + 1.0f;
    case FILL_WIDE:
        return bench_random(t) * 30;
    case FILL_INDEX:
        return (float)((i * 7 + 2) % s->limit);
    case FILL_POSITION:
        return (float)(3 * i);
    case FILL_MASK:
        return i % s->ne[0] == 0 || bench_random(t) > -0.3f ? 0 : -INFINITY;
    default:
        return bench_random(t);
    }
}

/* Blocks of random bits whose scales are small halves. */
static void fill_blocks(selftest *t, oclora_type type, unsigned char *bytes, uint64_t n_blocks)
{
    uint32_t size = oclora_type_block_bytes(type);
    bool minimum = type == OCLORA_TYPE_Q4_1 || type == OCLORA_TYPE_Q5_1 ||
                   type == OCLORA_TYPE_Q4_K || type == OCLORA_TYPE_Q5_K;
    uint32_t scale_at = type == OCLORA_TYPE_Q6_K ? 208 : 0;
    for (uint64_t b = 0; b < n_blocks; b++) {
        unsigned char *block = bytes + b * size;
        for (uint32_t i = 0; i < size; i++)
            block[i] = (unsigned char)(int32_t)(bench_random(t) * 32768.0f);
        uint16_t d = oclora_float_to_half(0.01f + 0.005f * bench_random(t));
        uint16_t m = oclora_float_to_half(0.02f * bench_random(t));
        memcpy(block + scale_at, &d, 2);
        if (minimum) memcpy(block + 2, &m, 2);
    }
}

static void encode(oclora_type type, float value, unsigned char *at)
{
    uint32_t bits;
    uint16_t half = oclora_float_to_half(value);
    int32_t i32 = (int32_t)value;
    int64_t i64 = (int64_t)value;
    memcpy(&bits, &value, 4);
    uint16_t top = (uint16_t)(bits >> 16);
    if (type == OCLORA_TYPE_F16)
        memcpy(at, &half, 2);
    else if (type == OCLORA_TYPE_BF16)
        memcpy(at, &top, 2);
    else if (type == OCLORA_TYPE_I32)
        memcpy(at, &i32, 4);
    else if (type == OCLORA_TYPE_I64)
        memcpy(at, &i64, 8);
    else
        memcpy(at, &value, 4);
}

static float decode(oclora_type type, const unsigned char *at)
{
    float value = 0;
    int32_t i32;
    int64_t i64;
    if (type == OCLORA_TYPE_I32) {
        memcpy(&i32, at, 4);
        value = (float)i32;
    } else if (type == OCLORA_TYPE_I64) {
        memcpy(&i64, at, 8);
        value = (float)i64;
    } else {
        oclora_dequantize_row(type, at, &value, 1, NULL);
    }
    return value;
}

void bench_free_tensor(case_tensor *tensor)
{
    oclora_buffer_destroy(tensor->view.buffer);
    free(tensor->values);
    memset(tensor, 0, sizeof *tensor);
}

/* Bytes in stored order; with `permuted`, logical (i0, i1, i2) lies where (i0, i2, i1) would. */
static void make_bytes(selftest *t, const case_source *s, const case_tensor *out,
                       unsigned char *bytes)
{
    uint32_t block = oclora_type_block(s->type);
    if (block > 1) {
        uint64_t rows = out->count / s->ne[0];
        fill_blocks(t, s->type, bytes, out->count / block);
        for (uint64_t r = 0; r < rows; r++)
            oclora_dequantize_row(s->type, bytes + r * out->view.nb[1], out->values + r * s->ne[0],
                                  s->ne[0], NULL);
        return;
    }
    for (uint64_t i = 0; i < out->count; i++) {
        uint64_t i0 = i % s->ne[0], i1 = i / s->ne[0] % s->ne[1];
        uint64_t i2 = i / (s->ne[0] * s->ne[1]) % s->ne[2],
                 i3 = i / (s->ne[0] * s->ne[1] * s->ne[2]);
        unsigned char *at = bytes + i0 * out->view.nb[0] + i1 * out->view.nb[1] +
                            i2 * out->view.nb[2] + i3 * out->view.nb[3];
        encode(s->type, fill_value(t, s, i), at);
        out->values[i] = decode(s->type, at);
    }
}

oclora_status bench_make_source(selftest *t, const case_source *s, bool permuted, case_tensor *out,
                                oclora_error *err)
{
    memset(out, 0, sizeof *out);
    contiguous(&out->view, s->type, s->ne);
    uint64_t bytes = out->view.nb[3] * s->ne[3];
    if (permuted) {
        out->view.nb[2] = out->view.nb[1];
        out->view.nb[1] = out->view.nb[2] * s->ne[2];
    }
    out->count = count_of(s->ne);
    out->view.offset = CASE_GUARD;
    out->values = calloc(out->count, sizeof(float));
    unsigned char *data = calloc(bytes, 1);
    oclora_status status = OCLORA_OK;
    if (!out->values || !data) status = oclora_fail_memory(err, bytes, "a test tensor");
    if (!status) make_bytes(t, s, out, data);
    if (!status)
        status = oclora_buffer_create(&out->view.buffer, t->context, bytes + CASE_GUARD, err);
    if (!status)
        status = oclora_stream_write(t->stream, out->view.buffer, CASE_GUARD, data, bytes, err);
    free(data);
    if (status) bench_free_tensor(out);
    return status;
}

oclora_status bench_make_output(selftest *t, oclora_type type, const uint64_t *ne, case_tensor *out,
                                oclora_error *err)
{
    memset(out, 0, sizeof *out);
    contiguous(&out->view, type, ne);
    out->count = count_of(ne);
    out->view.offset = CASE_GUARD;
    uint64_t bytes = out->view.nb[3] * ne[3] + 2 * CASE_GUARD;
    OCLORA_TRY(oclora_buffer_create(&out->view.buffer, t->context, bytes, err));
    oclora_status status = oclora_stream_fill(t->stream, out->view.buffer, 0, bytes, 0xff, err);
    if (status) bench_free_tensor(out);
    return status;
}

/* Rows of blocks as values. */
static oclora_status open_blocks(case_tensor *out, const unsigned char *bytes, oclora_error *err)
{
    uint64_t rows = out->count / out->view.ne[0];
    if (oclora_type_block(out->view.type) <= 1) return OCLORA_OK;
    out->values = calloc(out->count, sizeof(float));
    if (!out->values) return oclora_fail_memory(err, out->count * sizeof(float), "a test result");
    for (uint64_t r = 0; r < rows; r++)
        OCLORA_TRY(oclora_dequantize_row(out->view.type, bytes + r * out->view.nb[1],
                                         out->values + r * out->view.ne[0], out->view.ne[0], err));
    return OCLORA_OK;
}

static void compare(const case_tensor *out, const unsigned char *bytes, const double *expected,
                    case_verdict *v)
{
    uint32_t size = oclora_type_block_bytes(out->view.type);
    bool blocks = oclora_type_block(out->view.type) > 1;
    double error = 0, norm = 0, worst = -1;
    v->finite = true;
    for (uint64_t i = 0; i < out->count; i++) {
        double got = blocks ? out->values[i] : decode(out->view.type, bytes + i * size);
        double want = expected[i];
        double difference = got == want ? 0 : fabs(got - want);
        if (!isfinite(difference)) {
            v->finite = false;
            difference = INFINITY;
        } else {
            error += difference * difference;
        }
        if (isfinite(want)) norm += want * want;
        if (difference > worst) {
            worst = difference;
            v->worst = i;
            v->got = got;
            v->expected = want;
        }
    }
    v->nmse = norm > 0 ? error / norm : error;
}

oclora_status bench_judge(selftest *t, case_tensor *out, const double *expected,
                          case_verdict *verdict, oclora_error *err)
{
    uint64_t bytes = oclora_buffer_bytes(out->view.buffer);
    unsigned char *data = malloc(bytes);
    if (!data) return oclora_fail_memory(err, bytes, "a test result");
    oclora_status status = oclora_stream_read(t->stream, out->view.buffer, 0, data, bytes, err);
    if (!status) status = open_blocks(out, data + CASE_GUARD, err);
    if (!status) {
        memset(verdict, 0, sizeof *verdict);
        verdict->in_place = true;
        for (uint64_t i = 0; i < CASE_GUARD; i++)
            if (data[i] != 0xff || data[bytes - 1 - i] != 0xff) verdict->in_place = false;
        compare(out, data + CASE_GUARD, expected, verdict);
    }
    free(data);
    return status;
}

static const char *class_name(const selftest *t)
{
    return t->child->device_class == OCLORA_CLASS_GPU ? "gpu" : "cpu";
}

void bench_report_case(selftest *t, const char *kernel, const case_verdict *v, double bound,
                       double seconds)
{
    bool ok = v->finite && v->in_place && v->nmse <= bound;
    json_t *item =
        json_pack("{s:s, s:s, s:f, s:f, s:f}", "kernel", kernel, "class", class_name(t), "nmse",
                  v->finite ? v->nmse : -1.0, "bound", bound, "seconds", seconds);
    if (!ok || v->nmse > 0)
        json_object_set_new(item, "worst",
                            json_pack("{s:I, s:f, s:f}", "index", (json_int_t)v->worst, "got",
                                      isfinite(v->got) ? v->got : 0.0, "expected",
                                      isfinite(v->expected) ? v->expected : 0.0));
    if (!v->in_place)
        bench_result(t->child, "fail", item, "writes outside its output");
    else if (!v->finite)
        bench_result(t->child, "fail", item, "element %llu was not written or is not finite",
                     (unsigned long long)v->worst);
    else if (!ok)
        bench_result(t->child, "fail", item,
                     "NMSE %.3g is above %.3g; element %llu is %.9g, not %.9g", v->nmse, bound,
                     (unsigned long long)v->worst, v->got, v->expected);
    else
        bench_result(t->child, "pass", item, "%s", "");
}

void bench_report_case_error(selftest *t, const char *kernel, oclora_status status,
                             const oclora_error *err)
{
    json_t *item = json_pack("{s:s, s:s}", "kernel", kernel, "class", class_name(t));
    bench_result(t->child, status == OCLORA_NOT_SUPPORTED ? "skip" : "fail", item, "%s: %s",
                 oclora_status_name(status), err->text);
}

static oclora_status run_op(selftest *t, const op_case *c, case_tensor *src, case_tensor *dst,
                            double **expected, oclora_error *err)
{
    oclora_op_call call = {.op = c->op, .n_src = c->n_src, .params = c->params};
    for (uint32_t i = 0; i < c->n_src; i++) {
        if (!c->src[i].ne[0]) continue;
        OCLORA_TRY(bench_make_source(t, &c->src[i], c->permuted && !i, &src[i], err));
        call.src[i] = src[i].view;
    }
    OCLORA_TRY(bench_make_output(t, c->dst_type, c->dst_ne, dst, err));
    call.dst = dst->view;
    if (!oclora_op_supported(t->context, &call))
        return oclora_fail(err, OCLORA_NOT_SUPPORTED, "the engine declines this %s",
                           oclora_op_name(c->op));
    *expected = calloc(dst->count, sizeof **expected);
    if (!*expected) return oclora_fail_memory(err, dst->count * sizeof **expected, "a reference");
    for (uint64_t i = 0; c->dst_is_input && i < dst->count; i++) (*expected)[i] = 7;
    bench_reference(c, src, *expected);
    if (c->dst_is_input) { /* rows nobody writes keep their sevens */
        uint64_t bytes = dst->count * oclora_type_block_bytes(c->dst_type);
        unsigned char *sevens = malloc(bytes);
        if (!sevens) return oclora_fail_memory(err, bytes, "a test tensor");
        for (uint64_t i = 0; i < dst->count; i++)
            encode(c->dst_type, 7, sevens + i * oclora_type_block_bytes(c->dst_type));
        oclora_status status =
            oclora_stream_write(t->stream, dst->view.buffer, dst->view.offset, sevens, bytes, err);
        free(sevens);
        OCLORA_TRY(status);
    }
    return oclora_op_run(t->stream, &call, err);
}

/* What is disabled if the case fails: the file, or one type or function of it. */
static const char *subject_of(const op_case *c, char *text, size_t size)
{
    if (c->op == OCLORA_OP_MUL_MAT || c->op == OCLORA_OP_MUL_MAT_ID)
        snprintf(text, size, "%s:A_TYPE=%u", c->kernel, c->src[0].type);
    else if (c->op == OCLORA_OP_UNARY)
        snprintf(text, size, "%s:UNARY=%u", c->kernel, c->params.variant);
    else if (c->op == OCLORA_OP_GLU)
        snprintf(text, size, "%s:GLU=%u", c->kernel, c->params.variant);
    else
        snprintf(text, size, "%s", c->kernel);
    return text;
}

static void run_case(selftest *t, const op_case *c, const char *subject)
{
    oclora_error err = {0};
    case_tensor src[CASE_SOURCES], dst;
    case_verdict verdict;
    double *expected = NULL, began = bench_now();
    memset(src, 0, sizeof src);
    memset(&dst, 0, sizeof dst);
    oclora_status status = run_op(t, c, src, &dst, &expected, &err);
    if (!status) status = bench_judge(t, &dst, expected, &verdict, &err);
    if (status)
        bench_report_case_error(t, subject, status, &err);
    else
        bench_report_case(t, subject, &verdict, c->bound, bench_now() - began);
    for (int i = 0; i < CASE_SOURCES; i++) bench_free_tensor(&src[i]);
    bench_free_tensor(&dst);
    free(expected);
}

oclora_status bench_step_selftest(bench_child *child, oclora_error *err)
{
    char subject[56];
    selftest t = {.child = child, .random = 20261};
    oclora_context_options options = {.device_class = child->device_class, .ignore_quirks = 1};
    OCLORA_TRY(oclora_context_create(&t.context, &child->env, &child->device, &options, err));
    if (child->device_class == OCLORA_CLASS_CPU)
        OCLORA_TRY(oclora_context_tune(t.context, OCLORA_TUNE_CHAIN_WAIT_AT, 2, err));
    OCLORA_TRY(oclora_stream_create(&t.stream, t.context, err));
    bench_probe_cases(&t);
    for (size_t i = 0; i < bench_n_op_cases; i++) {
        const op_case *c = &bench_op_cases[i];
        t.random = 1000 + i; /* a case does not depend on those before it */
        if (child->mode == BENCH_QUICK && !c->quick) continue;
        if (bench_begin_case(child, c->name, subject_of(c, subject, sizeof subject)))
            run_case(&t, c, subject);
    }
    bench_linear_cases(&t);
    bench_fused_cases(&t);
    bool whole = child->mode != BENCH_QUICK && !child->from && !child->only;
    if (whole && bench_begin(child, "coverage")) bench_report_coverage(&t);
    return OCLORA_OK;
}
