#include "host/op/family.h"

bool oclora_tensor_same_shape(const oclora_tensor *a, const oclora_tensor *b)
{
    for (int i = 0; i < 4; i++)
        if (a->ne[i] != b->ne[i]) return false;
    return true;
}

bool oclora_tensor_row_contiguous(const oclora_tensor *tensor)
{
    return tensor->nb[0] == oclora_type_block_bytes(tensor->type);
}

bool oclora_tensor_contiguous(const oclora_tensor *tensor)
{
    uint64_t expected = oclora_type_row_bytes(tensor->type, tensor->ne[0]);
    if (!oclora_tensor_row_contiguous(tensor) || expected == 0) return false;
    for (int i = 1; i < 4; i++) {
        if (tensor->ne[i] != 1 && tensor->nb[i] != expected) return false;
        expected *= tensor->ne[i];
    }
    return true;
}

bool oclora_tensor_repeats(const oclora_tensor *part, const oclora_tensor *whole)
{
    for (int i = 0; i < 4; i++)
        if (part->ne[i] == 0 || whole->ne[i] % part->ne[i] != 0) return false;
    return true;
}

oclora_tensor oclora_tensor_shifted(const oclora_tensor *tensor, uint64_t elements, uint64_t ne0)
{
    oclora_tensor view = *tensor;
    view.offset += elements * tensor->nb[0];
    view.ne[0] = ne0;
    return view;
}

static void add(oclora_arg_list *list, oclora_arg arg)
{
    const uint32_t room = sizeof(list->args) / sizeof(list->args[0]);
    if (list->count < room) list->args[list->count++] = arg;
}

void oclora_args_tensor(oclora_arg_list *list, const oclora_tensor *tensor)
{
    add(list, oclora_arg_buffer(tensor->buffer));
    add(list, oclora_arg_u64(tensor->buffer ? tensor->offset : 0));
}

void oclora_args_ne(oclora_arg_list *list, const oclora_tensor *tensor)
{
    for (int i = 0; i < 4; i++) add(list, oclora_arg_u64(tensor->ne[i]));
}

void oclora_args_nb(oclora_arg_list *list, const oclora_tensor *tensor)
{
    for (int i = 0; i < 4; i++) add(list, oclora_arg_u64(tensor->nb[i]));
}

void oclora_args_nb123(oclora_arg_list *list, const oclora_tensor *tensor)
{
    for (int i = 1; i < 4; i++) add(list, oclora_arg_u64(tensor->nb[i]));
}

void oclora_args_u64(oclora_arg_list *list, uint64_t value)
{
    add(list, oclora_arg_u64(value));
}
void oclora_args_u32(oclora_arg_list *list, uint32_t value)
{
    add(list, oclora_arg_u32(value));
}
void oclora_args_f32(oclora_arg_list *list, float value)
{
    add(list, oclora_arg_f32(value));
}

static uint64_t ceil_div(uint64_t value, uint64_t by)
{
    return (value + by - 1) / by;
}

oclora_row_cut oclora_row_cut_of(const oclora_stream *stream, const oclora_tensor *shape)
{
    oclora_row_cut cut = {1, 1};
    if (!oclora_stream_is_cpu(stream)) return cut;
    cut.span = oclora_stream_tuned(stream, OCLORA_TUNE_ROW_SPAN);
    if (shape->ne[0] < cut.span / 2) cut.rows = (uint32_t)(cut.span / 2 / shape->ne[0]);
    return cut;
}

oclora_status oclora_launch_cut(oclora_stream *stream, const oclora_kernel_ref *kernel,
                                const oclora_arg_list *list, const oclora_tensor *shape,
                                oclora_row_cut cut, oclora_error *err)
{
    const uint64_t most = oclora_context_device(oclora_stream_context(stream))->max_work_group;
    uint64_t width = oclora_stream_tuned(stream, OCLORA_TUNE_ROW_WIDTH);
    if (oclora_stream_is_cpu(stream)) width = 1;
    if (width > most) width = most;
    const uint64_t items = ceil_div(shape->ne[0], cut.span);
    const uint64_t groups[3] = {ceil_div(items, width), ceil_div(shape->ne[1], cut.rows),
                                shape->ne[2] * shape->ne[3]};
    return oclora_launch_groups(stream, kernel, list, groups, (uint32_t)width, err);
}

oclora_status oclora_launch_groups(oclora_stream *stream, const oclora_kernel_ref *kernel,
                                   const oclora_arg_list *list, const uint64_t groups[3],
                                   uint32_t width, oclora_error *err)
{
    const size_t global[3] = {(size_t)(groups[0] * width), (size_t)groups[1], (size_t)groups[2]};
    const size_t local[3] = {width, 1, 1};
    return oclora_stream_launch(stream, kernel, list->args, list->count, 3, global, local, err);
}

const char *oclora_lanes_define(const oclora_stream *stream)
{
    return oclora_stream_is_cpu(stream) ? "-DLANES=16" : "-DLANES=1";
}

const char *oclora_lora_define(const oclora_stream *stream)
{
    const oclora_context *context = oclora_stream_context(stream);
    const bool eight = oclora_context_tuned(context, OCLORA_TUNE_VECTOR_SUMS) == 8;
    const bool prefetch =
        oclora_context_tuned(context, OCLORA_TUNE_MATMUL_AHEAD) > OCLORA_TUNE_NO_AHEAD;
    if (eight) return prefetch ? "-DSUMS=8 -DPREFETCH" : "-DSUMS=8";
    return prefetch ? "-DPREFETCH" : "";
}
