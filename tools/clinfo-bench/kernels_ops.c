/* kernels_ops.c - the operators between the linear layers, at the sizes of a model of width 2048:
 * 32 heads of 64, 8 of them with keys and values, 8192 hidden, 1024 tokens in the cache. */
#include "tools/clinfo-bench/kernels.h"

#include <string.h>

typedef struct model_op {
    op_case c;
    double per_output; /* operations for one element of the result */
} model_op;

#define ATTENTION_AS(text, q, TYPE, rows)                                                          \
    {                                                                                              \
        {"attention",                                                                              \
         text,                                                                                     \
         q,                                                                                        \
         OCLORA_OP_FLASH_ATTN,                                                                     \
         4,                                                                                        \
         {.f = {0.125f}},                                                                          \
         {SRC(F32, UNIFORM, 0, 64, rows, 32, 1), SRC(TYPE, UNIFORM, 0, 64, 1024, 8, 1),            \
          SRC(TYPE, UNIFORM, 0, 64, 1024, 8, 1), SRC(F16, MASK, 0, 1024, rows, 1, 1)},             \
         DST(F32, 64, 32, rows, 1)},                                                               \
            4.0 * 1024                                                                             \
    }
#define SET_ROWS_AS(file, text, TYPE)                                                              \
    {                                                                                              \
        {file,                                                                                     \
         text,                                                                                     \
         false,                                                                                    \
         OCLORA_OP_SET_ROWS,                                                                       \
         2,                                                                                        \
         {0},                                                                                      \
         {SRC(F32, UNIFORM, 0, 512, 32, 1, 1), SRC(I64, INDEX, 1024, 32, 1, 1, 1)},                \
         DST(TYPE, 512, 1024, 1, 1)},                                                              \
            0                                                                                      \
    }

/* clang-format off: one case a line or three */
static const model_op ops[] = {
    ATTENTION_AS("attention_f16_decode_1", true, F16, 1),
    ATTENTION_AS("attention_q8_0_decode_1", false, Q8_0, 1),
    ATTENTION_AS("attention_f16_prefill_128", false, F16, 128),
    {{"matmul_plain",
      "mul_mat_f16_keys_decode_1",
      false,
      OCLORA_OP_MUL_MAT,
      2,
      {0},
      {SRC(F16, UNIFORM, 0, 64, 1024, 8, 1), SRC(F32, UNIFORM, 0, 64, 1, 32, 1)},
      DST(F32, 1024, 1, 32, 1)},
     128},
    {{"matmul_plain",
      "mul_mat_id_q4_0_decode_32",
      false,
      OCLORA_OP_MUL_MAT_ID,
      3,
      {0},
      {SRC(Q4_0, UNIFORM, 0, 2048, 512, 8, 1), SRC(F32, UNIFORM, 0, 2048, 1, 32, 1),
       SRC(I32, INDEX, 8, 2, 32, 1, 1)},
      DST(F32, 512, 2, 32, 1)},
     2 * 2048},
    {{"norm",
      "rms_norm_decode_32",
      true,
      OCLORA_OP_RMS_NORM,
      1,
      {.f = {1e-5f}},
      {SRC(F32, UNIFORM, 0, 2048, 32, 1, 1)},
      DST(F32, 2048, 32, 1, 1)},
     3},
    {{"rope",
      "rope_decode_32",
      true,
      OCLORA_OP_ROPE,
      2,
      {.variant = 2, .i = {64, 2048}, .f = {10000.0f, 1.0f, 0, 1.0f, 32.0f, 1.0f}},
      {SRC(F32, UNIFORM, 0, 64, 32, 32, 1), SRC(I32, POSITION, 0, 32, 1, 1, 1)},
      DST(F32, 64, 32, 32, 1)},
     3},
    {{"softmax",
      "soft_max_decode_32",
      false,
      OCLORA_OP_SOFT_MAX,
      2,
      {.f = {0.125f}},
      {SRC(F32, WIDE, 0, 1024, 32, 32, 1), SRC(F16, MASK, 0, 1024, 32, 1, 1)},
      DST(F32, 1024, 32, 32, 1)},
     5},
    {{"elementwise",
      "swiglu_decode_32",
      true,
      OCLORA_OP_GLU,
      2,
      {.variant = OCLORA_GLU_SWIGLU},
      {SRC(F32, UNIFORM, 0, 8192, 32, 1, 1), SRC(F32, UNIFORM, 0, 8192, 32, 1, 1)},
      DST(F32, 8192, 32, 1, 1)},
     5},
    {{"elementwise",
      "add_decode_32",
      false,
      OCLORA_OP_ADD,
      2,
      {0},
      {SRC(F32, UNIFORM, 0, 2048, 32, 1, 1), SRC(F32, UNIFORM, 0, 2048, 32, 1, 1)},
      DST(F32, 2048, 32, 1, 1)},
     1},
    {{"rows",
      "get_rows_q8_0_decode_32",
      false,
      OCLORA_OP_GET_ROWS,
      2,
      {0},
      {SRC(Q8_0, UNIFORM, 0, 2048, 1024, 1, 1), SRC(I32, INDEX, 1024, 32, 1, 1, 1)},
      DST(F32, 2048, 32, 1, 1)},
     1},
    SET_ROWS_AS("rows", "set_rows_f16_decode_32", F16),
    SET_ROWS_AS("quantize", "set_rows_q8_0_decode_32", Q8_0),
    {{"elementwise",
      "copy_f32_permuted",
      false,
      OCLORA_OP_COPY,
      1,
      {0},
      {SRC(F32, UNIFORM, 0, 64, 32, 128, 1)},
      DST(F32, 64, 32, 128, 1),
      .permuted = true},
     0},
    {{"shape",
      "concat_128",
      false,
      OCLORA_OP_CONCAT,
      2,
      {.i = {1}},
      {SRC(F32, UNIFORM, 0, 2048, 64, 1, 1), SRC(F32, UNIFORM, 0, 2048, 64, 1, 1)},
      DST(F32, 2048, 128, 1, 1)},
     0},
    {{"shape",
      "argsort_experts_32",
      false,
      OCLORA_OP_ARGSORT,
      1,
      {.i = {1}},
      {SRC(F32, UNIFORM, 0, 128, 32, 1, 1)},
      DST(I32, 128, 32, 1, 1)},
     0},
};
/* clang-format on */

typedef struct op_run {
    oclora_stream *stream;
    oclora_op_call call;
    case_tensor src[CASE_SOURCES], dst;
} op_run;

static oclora_status run_op(void *user, oclora_error *err)
{
    op_run *r = user;
    return oclora_op_run(r->stream, &r->call, err);
}

static oclora_status create(op_run *r, selftest *t, const op_case *c, oclora_error *err)
{
    r->stream = t->stream;
    r->call = (oclora_op_call){.op = c->op, .n_src = c->n_src, .params = c->params};
    for (uint32_t i = 0; i < c->n_src; i++) {
        OCLORA_TRY(bench_make_source(t, &c->src[i], c->permuted && !i, &r->src[i], err));
        r->call.src[i] = r->src[i].view;
    }
    OCLORA_TRY(bench_make_output(t, c->dst_type, c->dst_ne, &r->dst, err));
    r->call.dst = r->dst.view;
    if (oclora_op_supported(t->context, &r->call)) return OCLORA_OK;
    return oclora_fail(err, OCLORA_NOT_SUPPORTED, "the engine declines this %s",
                       oclora_op_name(c->op));
}

static double tensor_bytes(const case_tensor *tensor, uint64_t rows)
{
    const oclora_tensor *v = &tensor->view;
    const uint64_t all = tensor->count / v->ne[0];
    return (double)oclora_type_row_bytes(v->type, v->ne[0]) * (double)(rows < all ? rows : all);
}

/* Of what rows are picked from, or put into, only those count. */
static double moved_bytes(const op_case *c, const op_run *r)
{
    const uint64_t all = UINT64_MAX;
    double bytes = 0;
    for (uint32_t i = 0; i < c->n_src; i++)
        bytes += tensor_bytes(&r->src[i], c->op == OCLORA_OP_GET_ROWS && !i ? c->dst_ne[1] : all);
    return bytes + tensor_bytes(&r->dst, c->op == OCLORA_OP_SET_ROWS ? c->src[0].ne[1] : all);
}

static void run_case(selftest *t, const model_op *m)
{
    oclora_error err = {0};
    op_run r;
    memset(&r, 0, sizeof r);
    oclora_status status = create(&r, t, &m->c, &err);
    if (status) {
        bench_report_case_error(t, m->c.kernel, status, &err);
    } else {
        const bench_work work = {run_op, &r, moved_bytes(&m->c, &r),
                                 m->per_output * (double)r.dst.count};
        bench_time_work(t, &work);
    }
    for (int i = 0; i < CASE_SOURCES; i++) bench_free_tensor(&r.src[i]);
    bench_free_tensor(&r.dst);
}

oclora_status bench_model_ops(selftest *t, oclora_error *err)
{
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        if (t->child->mode == BENCH_QUICK && !ops[i].c.quick) continue;
        if (!bench_begin(t->child, ops[i].c.name)) continue;
        OCLORA_TRY(oclora_stream_create(&t->stream, t->context, err));
        run_case(t, &ops[i]);
        oclora_stream_destroy(t->stream);
        t->stream = NULL;
    }
    return OCLORA_OK;
}
