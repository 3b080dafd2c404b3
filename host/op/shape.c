#include "host/op/family.h"

/* Groups of 1 that move 512 elements (CPU class), or of 64 that move one each. */
static uint32_t span_of(const oclora_stream *stream)
{
    return oclora_stream_is_cpu(stream) ? 512 : 1;
}

static oclora_status launch(oclora_stream *stream, const char *entry, const oclora_arg_list *list,
                            const oclora_tensor *shape, uint32_t span, oclora_error *err)
{
    const oclora_row_cut cut = {span, 1};
    const oclora_kernel_ref kernel = {"shape", entry, ""};
    return oclora_launch_cut(stream, &kernel, list, shape, cut, err);
}

bool oclora_concat_supported(const oclora_context *context, const oclora_op_call *call)
{
    (void)context;
    const oclora_tensor *a = &call->src[0], *b = &call->src[1], *dst = &call->dst;
    const int32_t dim = call->params.i[0];
    if (dim < 0 || dim > 3 || a->type != dst->type || b->type != dst->type) return false;
    for (int i = 0; i < 4; i++) {
        const uint64_t sum = i == dim ? a->ne[i] + b->ne[i] : a->ne[i];
        if (dst->ne[i] != sum || (i != dim && b->ne[i] != a->ne[i])) return false;
    }
    return true;
}

/* Blocks are moved whole: a tensor of elements that are blocks. */
static oclora_tensor in_blocks(const oclora_tensor *tensor)
{
    oclora_tensor view = *tensor;
    view.ne[0] /= oclora_type_block(tensor->type);
    return view;
}

oclora_status oclora_concat_run(oclora_stream *stream, const oclora_op_call *call,
                                oclora_error *err)
{
    const uint32_t dim = (uint32_t)call->params.i[0];
    const oclora_tensor first = in_blocks(&call->src[0]), dst = in_blocks(&call->dst);
    oclora_arg_list list = {.count = 0};
    oclora_args_tensor(&list, &call->dst);
    oclora_args_tensor(&list, &call->src[0]);
    oclora_args_tensor(&list, &call->src[1]);
    oclora_args_ne(&list, &dst);
    oclora_args_nb(&list, &call->dst);
    oclora_args_nb(&list, &call->src[0]);
    oclora_args_nb(&list, &call->src[1]);
    oclora_args_u64(&list, first.ne[dim]);
    oclora_args_u32(&list, dim);
    oclora_args_u32(&list, oclora_type_block_bytes(call->dst.type));
    oclora_args_u32(&list, span_of(stream));
    return launch(stream, "concat", &list, &dst, span_of(stream), err);
}

bool oclora_repeat_supported(const oclora_context *context, const oclora_op_call *call)
{
    (void)context;
    return call->src[0].type == call->dst.type && oclora_type_block(call->dst.type) == 1 &&
           oclora_tensor_repeats(&call->src[0], &call->dst);
}

oclora_status oclora_repeat_run(oclora_stream *stream, const oclora_op_call *call,
                                oclora_error *err)
{
    oclora_arg_list list = {.count = 0};
    oclora_args_tensor(&list, &call->dst);
    oclora_args_tensor(&list, &call->src[0]);
    oclora_args_ne(&list, &call->dst);
    oclora_args_nb(&list, &call->dst);
    oclora_args_ne(&list, &call->src[0]);
    oclora_args_nb(&list, &call->src[0]);
    oclora_args_u32(&list, oclora_type_block_bytes(call->dst.type));
    oclora_args_u32(&list, span_of(stream));
    return launch(stream, "repeat", &list, &call->dst, span_of(stream), err);
}

/* Ranks are counted in quadratic time: rows of expert scores, not of vocabularies. */
enum { ARGSORT_MAX = 16384 };

bool oclora_argsort_supported(const oclora_context *context, const oclora_op_call *call)
{
    (void)context;
    return call->src[0].type == OCLORA_TYPE_F32 && call->dst.type == OCLORA_TYPE_I32 &&
           oclora_tensor_same_shape(&call->src[0], &call->dst) &&
           oclora_tensor_row_contiguous(&call->src[0]) &&
           oclora_tensor_row_contiguous(&call->dst) && call->dst.ne[0] <= ARGSORT_MAX;
}

oclora_status oclora_argsort_run(oclora_stream *stream, const oclora_op_call *call,
                                 oclora_error *err)
{
    oclora_arg_list list = {.count = 0};
    oclora_args_tensor(&list, &call->dst);
    oclora_args_tensor(&list, &call->src[0]);
    oclora_args_ne(&list, &call->dst);
    oclora_args_nb123(&list, &call->dst);
    oclora_args_nb123(&list, &call->src[0]);
    oclora_args_u32(&list, call->params.i[0] != 0);
    /* A work-item compares `span` elements with all others: about 2^15 steps, so that long rows are
     * shared among all cores (and llvmpipe, which ends loops at 2^16, sorts them). */
    const uint64_t most = 32768 / (call->dst.ne[0] ? call->dst.ne[0] : 1);
    uint32_t span = span_of(stream);
    if (span > most) span = most ? (uint32_t)most : 1;
    oclora_args_u32(&list, span);
    return launch(stream, "argsort", &list, &call->dst, span, err);
}
