#include "host/op/family.h"

#include <stdio.h>

bool oclora_binary_supported(const oclora_context *context, const oclora_op_call *call)
{
    (void)context;
    const oclora_tensor *a = &call->src[0], *b = &call->src[1];
    return oclora_type_is_dense(call->dst.type) && oclora_type_is_dense(a->type) &&
           oclora_type_is_dense(b->type) && oclora_tensor_same_shape(a, &call->dst) &&
           oclora_tensor_repeats(b, a);
}

oclora_status oclora_binary_run(oclora_stream *stream, const oclora_op_call *call,
                                oclora_error *err)
{
    const oclora_row_cut cut = oclora_row_cut_of(stream, &call->dst);
    oclora_arg_list list = {.count = 0};
    oclora_args_tensor(&list, &call->dst);
    oclora_args_tensor(&list, &call->src[0]);
    oclora_args_tensor(&list, &call->src[1]);
    oclora_args_ne(&list, &call->dst);
    oclora_args_nb(&list, &call->dst);
    oclora_args_nb(&list, &call->src[0]);
    oclora_args_ne(&list, &call->src[1]);
    oclora_args_nb(&list, &call->src[1]);
    oclora_args_u32(&list, call->dst.type);
    oclora_args_u32(&list, call->src[0].type);
    oclora_args_u32(&list, call->src[1].type);
    oclora_args_u32(&list, call->op - OCLORA_OP_ADD);
    oclora_args_u32(&list, cut.span);
    oclora_args_u32(&list, cut.rows);
    const oclora_kernel_ref kernel = {"elementwise", "binary", oclora_lanes_define(stream)};
    return oclora_launch_cut(stream, &kernel, &list, &call->dst, cut, err);
}

bool oclora_unary_supported(const oclora_context *context, const oclora_op_call *call)
{
    (void)context;
    if (call->op == OCLORA_OP_UNARY && call->params.variant >= OCLORA_UNARY_COUNT) return false;
    return oclora_type_is_dense(call->dst.type) && oclora_type_is_dense(call->src[0].type) &&
           oclora_tensor_same_shape(&call->src[0], &call->dst);
}

/* The kernel's variants, see cl/elementwise.cl. */
enum { VARIANT_FUNCTION, VARIANT_SCALE, VARIANT_CLAMP };

oclora_status oclora_unary_run(oclora_stream *stream, const oclora_op_call *call, oclora_error *err)
{
    const oclora_row_cut cut = oclora_row_cut_of(stream, &call->dst);
    const bool function = call->op == OCLORA_OP_UNARY;
    oclora_arg_list list = {.count = 0};
    oclora_args_tensor(&list, &call->dst);
    oclora_args_tensor(&list, &call->src[0]);
    oclora_args_ne(&list, &call->dst);
    oclora_args_nb(&list, &call->dst);
    oclora_args_nb(&list, &call->src[0]);
    oclora_args_u32(&list, call->dst.type);
    oclora_args_u32(&list, call->src[0].type);
    oclora_args_u32(&list, function                      ? VARIANT_FUNCTION
                           : call->op == OCLORA_OP_SCALE ? VARIANT_SCALE
                                                         : VARIANT_CLAMP);
    oclora_args_f32(&list, call->params.f[0]);
    oclora_args_f32(&list, call->params.f[1]);
    oclora_args_u32(&list, cut.span);
    oclora_args_u32(&list, cut.rows);
    char defines[40];
    snprintf(defines, sizeof(defines), "%s -DUNARY=%u", oclora_lanes_define(stream),
             function ? call->params.variant : 0u);
    const oclora_kernel_ref kernel = {"elementwise", "unary", defines};
    return oclora_launch_cut(stream, &kernel, &list, &call->dst, cut, err);
}

bool oclora_glu_supported(const oclora_context *context, const oclora_op_call *call)
{
    (void)context;
    const oclora_tensor *a = &call->src[0], *b = &call->src[1], *dst = &call->dst;
    const bool split = call->n_src > 1 && b->ne[0] != 0;
    if (call->params.variant >= OCLORA_GLU_COUNT || dst->type != a->type) return false;
    const uint64_t width = split ? a->ne[0] : a->ne[0] / 2; /* an odd last element is not read */
    if (!oclora_type_is_dense(dst->type) || dst->ne[0] != width) return false;
    for (int i = 1; i < 4; i++)
        if (a->ne[i] != dst->ne[i]) return false;
    return !split || (b->type == a->type && oclora_tensor_same_shape(a, b));
}

oclora_status oclora_glu_run(oclora_stream *stream, const oclora_op_call *call, oclora_error *err)
{
    const uint64_t width = call->dst.ne[0];
    oclora_tensor x = call->src[0], gate = call->src[1];
    if (call->n_src < 2 || gate.ne[0] == 0) { /* two halves of one tensor */
        const uint64_t first = call->params.i[0] ? width : 0;
        x = oclora_tensor_shifted(&call->src[0], first, width);
        gate = oclora_tensor_shifted(&call->src[0], width - first, width);
    }
    const oclora_row_cut cut = oclora_row_cut_of(stream, &call->dst);
    oclora_arg_list list = {.count = 0};
    oclora_args_tensor(&list, &call->dst);
    oclora_args_tensor(&list, &x);
    oclora_args_tensor(&list, &gate);
    oclora_args_ne(&list, &call->dst);
    oclora_args_nb(&list, &call->dst);
    oclora_args_nb(&list, &x);
    oclora_args_nb(&list, &gate);
    oclora_args_u32(&list, call->dst.type);
    oclora_args_u32(&list, x.type);
    oclora_args_f32(&list, call->params.f[0]);
    oclora_args_f32(&list, call->params.f[1]);
    oclora_args_u32(&list, cut.span);
    oclora_args_u32(&list, cut.rows);
    char defines[40];
    snprintf(defines, sizeof(defines), "%s -DGLU=%u", oclora_lanes_define(stream),
             call->params.variant);
    const oclora_kernel_ref kernel = {"elementwise", "glu", defines};
    return oclora_launch_cut(stream, &kernel, &list, &call->dst, cut, err);
}
