#include "host/op/family.h"

#include <stdio.h>

enum { HEAD_MAX = 576, LANES = 16 };

static bool kv_supported(const oclora_tensor *kv, const oclora_tensor *q, uint64_t n_kv)
{
    return kv->type <= OCLORA_TYPE_Q5_1 && oclora_tensor_row_contiguous(kv) && kv->ne[0] != 0 &&
           kv->ne[0] <= HEAD_MAX && kv->ne[1] == n_kv && kv->ne[2] != 0 && kv->ne[3] != 0 &&
           q->ne[2] % kv->ne[2] == 0 && q->ne[3] % kv->ne[3] == 0;
}

/* ggml: q [dk, rows, heads, b], k [dk, n_kv, kv heads, b], v [dv, n_kv, kv heads, b], mask
 * [n_kv, rows.., h, b], sinks [heads], dst [dv, heads, rows, b]. */
bool oclora_attention_supported(const oclora_context *context, const oclora_op_call *call)
{
    (void)context;
    const oclora_tensor *q = &call->src[0], *k = &call->src[1], *v = &call->src[2];
    const oclora_tensor *mask = &call->src[3], *sinks = &call->src[4], *dst = &call->dst;
    if (q->type != OCLORA_TYPE_F32 || dst->type != OCLORA_TYPE_F32) return false;
    if (!oclora_tensor_row_contiguous(q) || !oclora_tensor_row_contiguous(dst)) return false;
    if (!kv_supported(k, q, k->ne[1]) || !kv_supported(v, q, k->ne[1])) return false;
    if (q->ne[0] != k->ne[0] || dst->ne[0] != v->ne[0] || dst->ne[1] != q->ne[2] ||
        dst->ne[2] != q->ne[1] || dst->ne[3] != q->ne[3])
        return false;
    if (call->n_src > 3 && mask->ne[0] != 0) {
        if (mask->type != OCLORA_TYPE_F16 || !oclora_tensor_row_contiguous(mask)) return false;
        if (mask->ne[0] < k->ne[1] || mask->ne[1] < q->ne[1] || mask->ne[2] == 0 ||
            mask->ne[3] == 0 || q->ne[2] % mask->ne[2] != 0 || q->ne[3] % mask->ne[3] != 0)
            return false;
    }
    if (call->n_src > 4 && sinks->ne[0] != 0)
        return sinks->type == OCLORA_TYPE_F32 && oclora_tensor_row_contiguous(sinks) &&
               sinks->ne[0] == q->ne[2];
    return true;
}

/* What a work-item of the CPU class takes: rows of one head or heads of one row. Every way gives
 * the same bits. */
typedef struct item {
    uint32_t rows, heads;
} item;

/* The most heads that share their keys, and whose queries fit in the registers. */
static uint32_t heads_together(const oclora_stream *stream, const oclora_tensor *q,
                               const oclora_tensor *k, const oclora_tensor *v)
{
    const uint64_t size = k->ne[0] > v->ne[0] ? k->ne[0] : v->ne[0];
    const uint64_t fit =
        oclora_stream_tuned(stream, OCLORA_TUNE_VECTOR_SUMS) / ((size + LANES - 1) / LANES);
    const uint64_t repeat = q->ne[2] / k->ne[2];
    uint64_t heads = k->ne[2] == v->ne[2] && fit > 0 ? fit : 1;
    while (repeat % heads != 0) heads--;
    const uint64_t items = q->ne[1] * (q->ne[2] / heads) * q->ne[3];
    return items < oclora_context_device(oclora_stream_context(stream))->compute_units
               ? 1
               : (uint32_t)heads;
}

static item item_of(const oclora_stream *stream, const oclora_tensor *q, const oclora_tensor *k,
                    const oclora_tensor *v)
{
    enum { TILE = 8, TILE_HEAD_MAX = 256 };
    const uint32_t from = oclora_stream_tuned(stream, OCLORA_TUNE_ATTENTION_ROWS_FROM);
    const bool small = k->ne[0] <= TILE_HEAD_MAX && v->ne[0] <= TILE_HEAD_MAX;
    if (small && q->ne[1] >= from) return (item){TILE, 1};
    return (item){1, heads_together(stream, q, k, v)};
}

oclora_status oclora_attention_run(oclora_stream *stream, const oclora_op_call *call,
                                   oclora_error *err)
{
    const oclora_tensor none = {.ne = {1, 1, 1, 1}};
    const oclora_tensor *q = &call->src[0], *k = &call->src[1], *v = &call->src[2];
    const bool has_mask = call->n_src > 3 && call->src[3].ne[0] != 0;
    const bool has_sinks = call->n_src > 4 && call->src[4].ne[0] != 0;
    const oclora_tensor *mask = has_mask ? &call->src[3] : &none;
    const bool cpu = oclora_stream_is_cpu(stream);
    const float softcap = call->params.f[2];
    oclora_arg_list list = {.count = 0};
    oclora_args_tensor(&list, &call->dst);
    oclora_args_tensor(&list, q);
    oclora_args_tensor(&list, k);
    oclora_args_tensor(&list, v);
    oclora_args_tensor(&list, mask);
    oclora_args_tensor(&list, has_sinks ? &call->src[4] : &none);
    oclora_args_u64(&list, q->ne[1]);
    oclora_args_u64(&list, k->ne[1]);
    oclora_args_nb123(&list, &call->dst);
    oclora_args_nb123(&list, q);
    oclora_args_nb123(&list, k);
    oclora_args_nb123(&list, v);
    oclora_args_nb123(&list, mask);
    oclora_args_u64(&list, mask->ne[2]);
    oclora_args_u64(&list, mask->ne[3]);
    oclora_args_u32(&list, (uint32_t)(q->ne[2] / k->ne[2]));
    oclora_args_u32(&list, (uint32_t)(q->ne[3] / k->ne[3]));
    oclora_args_u32(&list, (uint32_t)(q->ne[2] / v->ne[2]));
    oclora_args_u32(&list, (uint32_t)(q->ne[3] / v->ne[3]));
    oclora_args_u32(&list, has_mask);
    oclora_args_u32(&list, has_sinks);
    oclora_args_f32(&list, softcap != 0.0f ? call->params.f[0] / softcap : call->params.f[0]);
    oclora_args_f32(&list, softcap);
    oclora_args_alibi(&list, call->params.f[1], q->ne[2]);
    const item each = cpu ? item_of(stream, q, k, v) : (item){1, 1};
    const bool by_heads = cpu && each.rows == 1;
    char defines[112];
    snprintf(defines, sizeof(defines), "-DDK=%u -DDV=%u -DK_TYPE=%u -DV_TYPE=%u -D%s=%u",
             (unsigned)k->ne[0], (unsigned)v->ne[0], k->type, v->type, by_heads ? "HEADS" : "ROWS",
             (unsigned)(by_heads ? each.heads : each.rows));
    const oclora_kernel_ref kernel = {"attention",
                                      by_heads ? "attention_heads"
                                      : cpu    ? "attention_rows"
                                               : "attention_gpu",
                                      defines};
    const uint64_t groups[3] = {(q->ne[1] + each.rows - 1) / each.rows, q->ne[2] / each.heads,
                                q->ne[3]};
    return oclora_launch_groups(stream, &kernel, &list, groups, cpu ? 1 : 128, err);
}
