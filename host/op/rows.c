#include "host/op/family.h"

#include <stdio.h>

/* ggml: src0 [n, rows, b2, b3], indices [m, b2, b3], dst [n, m, b2, b3]. */
bool oclora_get_rows_supported(const oclora_context *context, const oclora_op_call *call)
{
    (void)context;
    const oclora_tensor *src = &call->src[0], *index = &call->src[1], *dst = &call->dst;
    const bool moved = src->type == OCLORA_TYPE_I32 && dst->type == OCLORA_TYPE_I32;
    return (moved || (src->type <= OCLORA_TYPE_Q6_K && dst->type == OCLORA_TYPE_F32)) &&
           index->type == OCLORA_TYPE_I32 && oclora_tensor_row_contiguous(src) &&
           oclora_tensor_row_contiguous(dst) && dst->ne[0] == src->ne[0] &&
           dst->ne[1] == index->ne[0] && dst->ne[2] == index->ne[1] && dst->ne[3] == index->ne[2] &&
           index->ne[3] == 1 && src->ne[2] == dst->ne[2] && src->ne[3] == dst->ne[3];
}

oclora_status oclora_get_rows_run(oclora_stream *stream, const oclora_op_call *call,
                                  oclora_error *err)
{
    oclora_row_cut cut = oclora_row_cut_of(stream, &call->dst);
    if (!oclora_stream_is_cpu(stream)) cut.span = 16;
    cut.rows = 1;
    oclora_arg_list list = {.count = 0};
    oclora_args_tensor(&list, &call->dst);
    oclora_args_tensor(&list, &call->src[0]);
    oclora_args_tensor(&list, &call->src[1]);
    oclora_args_ne(&list, &call->dst);
    oclora_args_nb(&list, &call->dst);
    oclora_args_u64(&list, call->src[0].ne[1]);
    oclora_args_nb(&list, &call->src[0]);
    for (int i = 0; i < 3; i++) oclora_args_u64(&list, call->src[1].nb[i]);
    oclora_args_u32(&list, cut.span);
    char defines[40];
    snprintf(defines, sizeof(defines), "%s -DTYPE=%u", oclora_lanes_define(stream),
             call->src[0].type == OCLORA_TYPE_I32 ? OCLORA_TYPE_F32 : call->src[0].type);
    const oclora_kernel_ref kernel = {"rows", "get_rows", defines};
    return oclora_launch_cut(stream, &kernel, &list, &call->dst, cut, err);
}

/* ggml: rows src0 [n, m, b2, b3] go to dst [n, rows, b2, b3] at indices [m, i1, i2], i1 and i2
 * repeating over b2 and b3. */
bool oclora_set_rows_supported(const oclora_context *context, const oclora_op_call *call)
{
    (void)context;
    const oclora_tensor *src = &call->src[0], *index = &call->src[1], *dst = &call->dst;
    if (index->type != OCLORA_TYPE_I32 && index->type != OCLORA_TYPE_I64) return false;
    if (!oclora_type_is_dense(src->type)) return false;
    if (!oclora_type_is_dense(dst->type) && !oclora_type_is_quantizable(dst->type)) return false;
    return dst->ne[0] == src->ne[0] && dst->ne[2] == src->ne[2] && dst->ne[3] == src->ne[3] &&
           index->ne[0] == src->ne[1] && index->ne[1] != 0 && index->ne[2] != 0 &&
           src->ne[2] % index->ne[1] == 0 && src->ne[3] % index->ne[2] == 0 && index->ne[3] == 1;
}

oclora_status oclora_set_rows_run(oclora_stream *stream, const oclora_op_call *call,
                                  oclora_error *err)
{
    const oclora_tensor *src = &call->src[0], *index = &call->src[1];
    if (oclora_type_is_quantizable(call->dst.type))
        return oclora_quantize_rows(stream, src, index, &call->dst, err);
    const oclora_row_cut cut = oclora_row_cut_of(stream, src);
    oclora_arg_list list = {.count = 0};
    oclora_args_tensor(&list, &call->dst);
    oclora_args_tensor(&list, src);
    oclora_args_tensor(&list, index);
    oclora_args_ne(&list, src);
    oclora_args_u64(&list, call->dst.ne[1]);
    oclora_args_nb(&list, &call->dst);
    oclora_args_nb(&list, src);
    oclora_args_u64(&list, index->ne[1]);
    oclora_args_u64(&list, index->ne[2]);
    for (int i = 0; i < 3; i++) oclora_args_u64(&list, index->nb[i]);
    oclora_args_u32(&list, index->type == OCLORA_TYPE_I64 ? 8 : 4);
    oclora_args_u32(&list, call->dst.type);
    oclora_args_u32(&list, src->type);
    oclora_args_u32(&list, cut.span);
    oclora_args_u32(&list, cut.rows);
    const oclora_kernel_ref kernel = {"rows", "set_rows", oclora_lanes_define(stream)};
    return oclora_launch_cut(stream, &kernel, &list, src, cut, err);
}

/* ggml: dst, src0 [n, used, tokens], src1 [n, experts], src2 ids [used, tokens]. */
bool oclora_add_id_supported(const oclora_context *context, const oclora_op_call *call)
{
    (void)context;
    const oclora_tensor *src = &call->src[0], *b = &call->src[1], *ids = &call->src[2];
    if (src->type != OCLORA_TYPE_F32 || b->type != OCLORA_TYPE_F32 ||
        call->dst.type != OCLORA_TYPE_F32 || ids->type != OCLORA_TYPE_I32)
        return false;
    return oclora_tensor_same_shape(src, &call->dst) && oclora_tensor_row_contiguous(src) &&
           oclora_tensor_row_contiguous(b) && oclora_tensor_row_contiguous(&call->dst) &&
           b->ne[0] == src->ne[0] && b->ne[2] == 1 && b->ne[3] == 1 && ids->ne[0] == src->ne[1] &&
           ids->ne[1] == src->ne[2] && ids->ne[2] == 1 && ids->ne[3] == 1;
}

oclora_status oclora_add_id_run(oclora_stream *stream, const oclora_op_call *call,
                                oclora_error *err)
{
    const oclora_row_cut cut = oclora_row_cut_of(stream, &call->dst);
    oclora_arg_list list = {.count = 0};
    oclora_args_tensor(&list, &call->dst);
    for (int i = 0; i < 3; i++) oclora_args_tensor(&list, &call->src[i]);
    oclora_args_ne(&list, &call->dst);
    oclora_args_nb(&list, &call->dst);
    oclora_args_nb(&list, &call->src[0]);
    oclora_args_u64(&list, call->src[1].ne[1]);
    oclora_args_u64(&list, call->src[1].nb[1]);
    oclora_args_u64(&list, call->src[2].nb[0]);
    oclora_args_u64(&list, call->src[2].nb[1]);
    oclora_args_u32(&list, cut.span);
    oclora_args_u32(&list, cut.rows);
    const oclora_kernel_ref kernel = {"rows", "add_id", oclora_lanes_define(stream)};
    return oclora_launch_cut(stream, &kernel, &list, &call->dst, cut, err);
}
