#include "host/op/family.h"

/* The kernel's modes, see cl/norm.cl. */
enum { MODE_RMS, MODE_MEAN, MODE_L2, MODE_SUM };

static uint32_t mode_of(uint32_t op)
{
    return op == OCLORA_OP_RMS_NORM  ? MODE_RMS
           : op == OCLORA_OP_NORM    ? MODE_MEAN
           : op == OCLORA_OP_L2_NORM ? MODE_L2
                                     : MODE_SUM;
}

bool oclora_norm_supported(const oclora_context *context, const oclora_op_call *call)
{
    (void)context;
    const oclora_tensor *src = &call->src[0], *dst = &call->dst;
    const bool sum = call->op == OCLORA_OP_SUM_ROWS;
    if (src->type != OCLORA_TYPE_F32 || dst->type != OCLORA_TYPE_F32) return false;
    if (dst->ne[0] != (sum ? 1 : src->ne[0])) return false;
    for (int i = 1; i < 4; i++)
        if (src->ne[i] != dst->ne[i]) return false;
    return src->nb[0] % sizeof(float) == 0 && (sum || oclora_tensor_row_contiguous(dst));
}

oclora_status oclora_norm_run(oclora_stream *stream, const oclora_op_call *call, oclora_error *err)
{
    const bool cpu = oclora_stream_is_cpu(stream);
    oclora_arg_list list = {.count = 0};
    oclora_args_tensor(&list, &call->dst);
    oclora_args_tensor(&list, &call->src[0]);
    oclora_args_u64(&list, call->src[0].ne[0]);
    oclora_args_u64(&list, call->src[0].nb[0] / sizeof(float));
    oclora_args_nb123(&list, &call->dst);
    oclora_args_nb123(&list, &call->src[0]);
    oclora_args_f32(&list, call->params.f[0]);
    oclora_args_u32(&list, mode_of(call->op));
    const oclora_kernel_ref kernel = {"norm", cpu ? "norm_cpu" : "norm_gpu", ""};
    return oclora_launch_groups(stream, &kernel, &list, &call->dst.ne[1], cpu ? 1 : 128, err);
}
