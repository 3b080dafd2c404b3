#include "host/op/family.h"

#include <math.h>

bool oclora_softmax_supported(const oclora_context *context, const oclora_op_call *call)
{
    (void)context;
    const oclora_tensor *src = &call->src[0], *mask = &call->src[1], *sinks = &call->src[2];
    const oclora_tensor *dst = &call->dst;
    if (src->type != OCLORA_TYPE_F32 || dst->type != OCLORA_TYPE_F32) return false;
    if (!oclora_tensor_same_shape(src, dst) || !oclora_tensor_row_contiguous(src) ||
        !oclora_tensor_row_contiguous(dst))
        return false;
    if (call->n_src > 1 && mask->ne[0] != 0) {
        if (mask->type != OCLORA_TYPE_F32 && mask->type != OCLORA_TYPE_F16) return false;
        if (!oclora_tensor_row_contiguous(mask) || mask->ne[0] < src->ne[0] ||
            mask->ne[1] < src->ne[1] || mask->ne[2] == 0 || mask->ne[3] == 0)
            return false;
        if (src->ne[2] % mask->ne[2] != 0 || src->ne[3] % mask->ne[3] != 0) return false;
    }
    if (call->n_src > 2 && sinks->ne[0] != 0)
        return sinks->type == OCLORA_TYPE_F32 && oclora_tensor_row_contiguous(sinks) &&
               sinks->ne[0] == src->ne[2];
    return true;
}

void oclora_args_alibi(oclora_arg_list *list, float max_bias, uint64_t n_head)
{
    uint32_t power = 1;
    while ((uint64_t)power * 2 <= n_head) power *= 2;
    oclora_args_f32(list, max_bias);
    oclora_args_u32(list, power);
    oclora_args_f32(list, powf(2.0f, -max_bias / (float)power));
    oclora_args_f32(list, powf(2.0f, -(max_bias / 2.0f) / (float)power));
}

oclora_status oclora_softmax_run(oclora_stream *stream, const oclora_op_call *call,
                                 oclora_error *err)
{
    const oclora_tensor none = {.ne = {1, 1, 1, 1}};
    const bool has_mask = call->n_src > 1 && call->src[1].ne[0] != 0;
    const bool has_sinks = call->n_src > 2 && call->src[2].ne[0] != 0;
    const oclora_tensor *mask = has_mask ? &call->src[1] : &none;
    const bool cpu = oclora_stream_is_cpu(stream);
    oclora_arg_list list = {.count = 0};
    oclora_args_tensor(&list, &call->dst);
    oclora_args_tensor(&list, &call->src[0]);
    oclora_args_tensor(&list, mask);
    oclora_args_tensor(&list, has_sinks ? &call->src[2] : &none);
    oclora_args_u64(&list, call->dst.ne[0]);
    oclora_args_nb123(&list, &call->dst);
    oclora_args_nb123(&list, &call->src[0]);
    oclora_args_u64(&list, mask->ne[2]);
    oclora_args_u64(&list, mask->ne[3]);
    oclora_args_nb123(&list, mask);
    oclora_args_u32(&list, has_mask ? mask->type : UINT32_MAX);
    oclora_args_u32(&list, has_sinks);
    oclora_args_f32(&list, call->params.f[0]);
    oclora_args_alibi(&list, call->params.f[1], call->dst.ne[2]);
    const oclora_kernel_ref kernel = {"softmax", cpu ? "softmax_cpu" : "softmax_gpu", ""};
    return oclora_launch_groups(stream, &kernel, &list, &call->dst.ne[1], cpu ? 1 : 128, err);
}
