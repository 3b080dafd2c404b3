#include "host/op/family.h"

/* Types the kernels convert between; equal types of any size are moved as bytes. */
static bool convertible(oclora_type type)
{
    return oclora_type_is_dense(type) || type == OCLORA_TYPE_I32;
}

/* Blocks into or out of dense rows: the same shape, or both one run of memory. */
static bool blocks_line_up(const oclora_tensor *src, const oclora_tensor *dst)
{
    return oclora_tensor_same_shape(src, dst) ||
           (oclora_tensor_contiguous(src) && oclora_tensor_contiguous(dst));
}

bool oclora_copy_supported(const oclora_context *context, const oclora_op_call *call)
{
    (void)context;
    const oclora_tensor *src = &call->src[0], *dst = &call->dst;
    if (oclora_tensor_count(src) != oclora_tensor_count(dst)) return false;
    if (src->type == dst->type) return true;
    if (convertible(src->type) && convertible(dst->type)) return true;
    if (oclora_type_is_quantizable(dst->type))
        return oclora_type_is_dense(src->type) && blocks_line_up(src, dst);
    return src->type <= OCLORA_TYPE_Q6_K && oclora_type_is_dense(dst->type) &&
           blocks_line_up(src, dst);
}

static oclora_status copy_rows(oclora_stream *stream, const oclora_op_call *call, oclora_error *err)
{
    enum { VARIANT_COPY = 3 };
    const oclora_row_cut cut = oclora_row_cut_of(stream, &call->dst);
    oclora_arg_list list = {.count = 0};
    oclora_args_tensor(&list, &call->dst);
    oclora_args_tensor(&list, &call->src[0]);
    oclora_args_ne(&list, &call->dst);
    oclora_args_nb(&list, &call->dst);
    oclora_args_nb(&list, &call->src[0]);
    oclora_args_u32(&list, call->dst.type);
    oclora_args_u32(&list, call->src[0].type);
    oclora_args_u32(&list, VARIANT_COPY);
    oclora_args_f32(&list, 0.0f);
    oclora_args_f32(&list, 0.0f);
    oclora_args_u32(&list, cut.span);
    oclora_args_u32(&list, cut.rows);
    const bool cpu = oclora_stream_is_cpu(stream);
    const oclora_kernel_ref kernel = {"elementwise", "unary",
                                      cpu ? "-DLANES=16 -DUNARY=0" : "-DLANES=1 -DUNARY=0"};
    return oclora_launch_cut(stream, &kernel, &list, &call->dst, cut, err);
}

/* Shapes differ, or the elements are moved as bytes. */
static oclora_status copy_elements(oclora_stream *stream, const oclora_op_call *call,
                                   oclora_error *err)
{
    const oclora_tensor *src = &call->src[0], *dst = &call->dst;
    const bool cpu = oclora_stream_is_cpu(stream);
    const uint32_t span = cpu ? 512 : 1, width = cpu ? 1 : 64;
    const uint64_t block = oclora_type_block(dst->type); /* blocks are moved whole */
    const uint64_t count = oclora_tensor_count(dst) / block;
    oclora_arg_list list = {.count = 0};
    oclora_args_tensor(&list, dst);
    oclora_args_tensor(&list, src);
    oclora_args_u64(&list, count);
    for (int i = 0; i < 3; i++) oclora_args_u64(&list, i == 0 ? dst->ne[0] / block : dst->ne[i]);
    oclora_args_nb(&list, dst);
    for (int i = 0; i < 3; i++) oclora_args_u64(&list, i == 0 ? src->ne[0] / block : src->ne[i]);
    oclora_args_nb(&list, src);
    oclora_args_u32(&list, dst->type);
    oclora_args_u32(&list, src->type);
    oclora_args_u32(&list, oclora_type_block_bytes(dst->type));
    oclora_args_u32(&list, span);
    const uint64_t items = (count + span - 1) / span;
    const uint64_t groups[3] = {(items + width - 1) / width, 1, 1};
    const oclora_kernel_ref kernel = {"shape", "reshape_copy", ""};
    return oclora_launch_groups(stream, &kernel, &list, groups, width, err);
}

/* The same elements as one row. */
static oclora_tensor flattened(const oclora_tensor *tensor)
{
    oclora_tensor flat = *tensor;
    const uint64_t bytes = oclora_type_row_bytes(tensor->type, oclora_tensor_count(tensor));
    flat.ne[0] = oclora_tensor_count(tensor);
    for (int i = 1; i < 4; i++) {
        flat.ne[i] = 1;
        flat.nb[i] = bytes;
    }
    return flat;
}

static oclora_status copy_blocks(oclora_stream *stream, const oclora_op_call *call,
                                 oclora_error *err)
{
    oclora_tensor src = call->src[0], dst = call->dst;
    if (!oclora_tensor_same_shape(&src, &dst)) {
        src = flattened(&src);
        dst = flattened(&dst);
    }
    if (oclora_type_is_dense(src.type)) return oclora_quantize_rows(stream, &src, NULL, &dst, err);
    return oclora_dequantize_rows(stream, &src, &dst, err);
}

oclora_status oclora_copy_run(oclora_stream *stream, const oclora_op_call *call, oclora_error *err)
{
    const oclora_tensor *src = &call->src[0], *dst = &call->dst;
    if (src->type == dst->type && oclora_tensor_contiguous(src) && oclora_tensor_contiguous(dst)) {
        const uint64_t bytes = oclora_tensor_count(dst) / oclora_type_block(dst->type) *
                               oclora_type_block_bytes(dst->type);
        if (src->buffer == dst->buffer && src->offset == dst->offset) return OCLORA_OK;
        return oclora_stream_copy(stream, src->buffer, src->offset, dst->buffer, dst->offset, bytes,
                                  err);
    }
    const bool dense = oclora_type_is_dense(src->type) && oclora_type_is_dense(dst->type);
    const bool as_is = src->type == dst->type && src->type == OCLORA_TYPE_BF16;
    if (dense && !as_is && oclora_tensor_same_shape(src, dst)) return copy_rows(stream, call, err);
    if (src->type != dst->type &&
        (oclora_type_block(src->type) > 1 || oclora_type_block(dst->type) > 1))
        return copy_blocks(stream, call, err);
    return copy_elements(stream, call, err);
}
