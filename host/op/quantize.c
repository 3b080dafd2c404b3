#include "host/op/family.h"

#include <stdio.h>

enum { BLOCK = 32, GROUP = 16, GPU_WIDTH = 64 };

static oclora_status launch(oclora_stream *stream, const char *entry, oclora_type type,
                            const oclora_arg_list *list, uint64_t items, const oclora_tensor *src,
                            oclora_error *err)
{
    const uint32_t width = oclora_stream_is_cpu(stream) ? 1 : GPU_WIDTH;
    const uint64_t groups[3] = {(items + width - 1) / width, src->ne[1], src->ne[2] * src->ne[3]};
    char defines[24];
    snprintf(defines, sizeof(defines), "-DTYPE=%u", type);
    const oclora_kernel_ref kernel = {"quantize", entry, defines};
    return oclora_launch_groups(stream, &kernel, list, groups, width, err);
}

oclora_status oclora_quantize_rows(oclora_stream *stream, const oclora_tensor *src,
                                   const oclora_tensor *index, const oclora_tensor *dst,
                                   oclora_error *err)
{
    const oclora_tensor none = {.ne = {1, 1, 1, 1}};
    const oclora_tensor *by = index != NULL ? index : &none;
    oclora_arg_list list = {.count = 0};
    oclora_args_tensor(&list, dst);
    oclora_args_tensor(&list, src);
    oclora_args_tensor(&list, by);
    oclora_args_u64(&list, src->ne[0] / BLOCK);
    oclora_args_u64(&list, src->ne[2]);
    oclora_args_u64(&list, dst->ne[1]);
    oclora_args_nb(&list, dst);
    oclora_args_nb(&list, src);
    oclora_args_u64(&list, by->ne[1]);
    oclora_args_u64(&list, by->ne[2]);
    for (int i = 0; i < 3; i++) oclora_args_u64(&list, by->nb[i]);
    oclora_args_u32(&list, index == NULL ? 0 : index->type == OCLORA_TYPE_I64 ? 8 : 4);
    oclora_args_u32(&list, src->type);
    return launch(stream, "quantize_rows", dst->type, &list, src->ne[0] / BLOCK, src, err);
}

oclora_status oclora_dequantize_rows(oclora_stream *stream, const oclora_tensor *src,
                                     const oclora_tensor *dst, oclora_error *err)
{
    oclora_arg_list list = {.count = 0};
    oclora_args_tensor(&list, dst);
    oclora_args_tensor(&list, src);
    oclora_args_u64(&list, src->ne[0] / GROUP);
    oclora_args_u64(&list, src->ne[2]);
    oclora_args_nb(&list, dst);
    oclora_args_nb(&list, src);
    oclora_args_u32(&list, dst->type);
    return launch(stream, "dequantize_rows", src->type, &list, src->ne[0] / GROUP, src, err);
}
