#include "host/op/linear.h"

#include "host/op/lanes.h"
#include "host/op/panel.h"
#include "host/op/row_work.h"

#include <string.h>

enum { RANK_TILE = 4, CPU_OUTPUTS = 64, GPU_GROUP = 64 };

typedef struct call {
    oclora_stream *stream;
    const oclora_weight *weight;
    const oclora_tensor *x;
    const oclora_tensor *y;
    const oclora_lane_table *lanes;
    const oclora_row_work *work;
    oclora_lane_summary summary;
    oclora_buffer *hidden;
    uint64_t core_offset; /* of the hidden buffer's second half, for h' = M h */
    bool gpu;
} call;

static unsigned long long ull(uint64_t value)
{
    return (unsigned long long)value;
}

/* Contiguous f32 rows of `width` values, inside their buffer. */
static oclora_status check_rows(const oclora_tensor *t, const char *which, uint32_t width,
                                uint64_t *rows, oclora_error *err)
{
    if (t->type != OCLORA_TYPE_F32 || t->ne[0] != width || t->nb[0] != 4)
        return oclora_fail(err, OCLORA_SHAPE_MISMATCH,
                           "%s of a linear layer is f32 with %u contiguous values a row, not %s "
                           "with %llu",
                           which, (unsigned)width, oclora_type_name(t->type), ull(t->ne[0]));
    *rows = t->ne[1] * t->ne[2] * t->ne[3];
    if ((t->ne[2] > 1 && t->nb[2] != t->nb[1] * t->ne[1]) ||
        (t->ne[3] > 1 && t->nb[3] != t->nb[2] * t->ne[2]) || t->nb[1] % 4 || t->offset % 4)
        return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                           "%s of a linear layer has rows at no single stride (%llu, %llu, %llu)",
                           which, ull(t->nb[1]), ull(t->nb[2]), ull(t->nb[3]));
    uint64_t room = t->buffer ? oclora_buffer_bytes(t->buffer) : 0;
    uint64_t last = *rows ? (*rows - 1) * t->nb[1] + (uint64_t)width * 4 : 0;
    if (t->offset > room || last > room - t->offset || *rows > UINT32_MAX)
        return oclora_fail(
            err, OCLORA_INVALID_ARGUMENT,
            "%s of a linear layer (%llu rows from %llu on) leaves its buffer of %llu "
            "bytes",
            which, ull(*rows), ull(t->offset), ull(room));
    return OCLORA_OK;
}

static oclora_status check_work(call *c, uint64_t rows, oclora_error *err)
{
    if (!c->lanes || !c->work) return OCLORA_OK;
    if (c->work->n_rows != rows || c->work->n_adapters != c->lanes->n_adapters)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "the work list is for %u rows and %u adapters, the layer '%s' has %llu "
                           "and %u",
                           (unsigned)c->work->n_rows, (unsigned)c->work->n_adapters,
                           c->weight->name, ull(rows), (unsigned)c->lanes->n_adapters);
    if (!c->work->n_chunks || c->weight->id >= c->lanes->n_weights) return OCLORA_OK;
    c->summary = c->lanes->summaries[c->weight->id];
    if (c->summary.flags & (OCLORA_LANES_MULTIPLY | OCLORA_LANES_ROUTER))
        return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                           "an adapter multiplies or routes inside layer '%s', which is not served "
                           "here",
                           c->weight->name);
    return OCLORA_OK;
}

static oclora_status base_product(const call *c, uint32_t rows, oclora_error *err)
{
    if (c->weight->layout == OCLORA_LAYOUT_PANEL)
        return oclora_panel_matmul(c->stream, c->weight, c->x, c->y, rows, err);
    return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                       "weight '%s' (%s, [%u, %u]) has no panel layout, which base products need",
                       c->weight->name, oclora_type_name(c->weight->type),
                       (unsigned)c->weight->d_out, (unsigned)c->weight->d_in);
}

/* Pool, lanes and work list, as every LoRA kernel begins. @return the next free argument. */
static oclora_arg *common_args(const call *c, oclora_arg *a)
{
    uint64_t lane_offset = (uint64_t)c->weight->id * c->lanes->n_adapters * sizeof(oclora_lane);
    *a++ = oclora_arg_buffer(c->lanes->pool);
    *a++ = oclora_arg_u64(0);
    *a++ = oclora_arg_buffer(c->lanes->lanes);
    *a++ = oclora_arg_u64(lane_offset);
    *a++ = oclora_arg_buffer(c->work->buffer);
    *a++ = oclora_arg_u64(0);
    *a++ = oclora_arg_u64(c->work->row_offset);
    *a++ = oclora_arg_u64(c->work->entry_offset);
    *a++ = oclora_arg_u64(c->work->weight_offset);
    return a;
}

static oclora_status launch(const call *c, const char *file, const char *entry,
                            const oclora_arg *args, const oclora_arg *end, size_t cpu_items,
                            size_t gpu_items, oclora_error *err)
{
    oclora_kernel_ref kernel = {file, entry, ""};
    const size_t global[2] = {c->gpu ? gpu_items : cpu_items, c->work->n_chunks};
    const size_t local[2] = {c->gpu ? (size_t)GPU_GROUP : 1, 1};
    return oclora_stream_launch(c->stream, &kernel, args, (uint32_t)(end - args), 2, global, local,
                                err);
}

static oclora_status shrink(call *c, oclora_error *err)
{
    uint32_t stride = c->summary.rank_max;
    uint64_t bytes = (uint64_t)c->work->n_hidden * stride * 4;
    bool core = c->summary.flags & OCLORA_LANES_CORE;
    c->core_offset = bytes;
    OCLORA_TRY(oclora_stream_scratch(c->stream, OCLORA_SCRATCH_HIDDEN, core ? 2 * bytes : bytes,
                                     &c->hidden, err));
    oclora_arg args[16], *a = common_args(c, args);
    *a++ = oclora_arg_buffer(c->x->buffer);
    *a++ = oclora_arg_u64(c->x->offset);
    *a++ = oclora_arg_u64(c->x->nb[1]);
    *a++ = oclora_arg_buffer(c->hidden);
    *a++ = oclora_arg_u64(0);
    *a++ = oclora_arg_u32(stride);
    *a++ = oclora_arg_u32(c->weight->d_in);
    size_t tiles = (stride + RANK_TILE - 1) / RANK_TILE;
    OCLORA_TRY(launch(c, "lora_shrink", "lora_shrink", args, a, tiles, tiles * GPU_GROUP, err));
    if (!core) return OCLORA_OK;
    a = common_args(c, args);
    *a++ = oclora_arg_buffer(c->hidden);
    *a++ = oclora_arg_u64(0);
    *a++ = oclora_arg_u64(c->core_offset);
    *a++ = oclora_arg_u32(stride);
    size_t groups = (stride + GPU_GROUP - 1) / GPU_GROUP;
    return launch(c, "lora_shrink", "lora_core", args, a, stride, groups * GPU_GROUP, err);
}

static oclora_status expand(call *c, oclora_error *err)
{
    uint32_t d_out = c->weight->d_out;
    oclora_arg args[17], *a = common_args(c, args);
    *a++ = oclora_arg_buffer(c->hidden);
    *a++ = oclora_arg_u64(0);
    *a++ = oclora_arg_u64(c->core_offset);
    *a++ = oclora_arg_u32(c->summary.rank_max);
    *a++ = oclora_arg_buffer(c->y->buffer);
    *a++ = oclora_arg_u64(c->y->offset);
    *a++ = oclora_arg_u64(c->y->nb[1]);
    *a++ = oclora_arg_u32(d_out);
    size_t groups = (d_out + GPU_GROUP - 1) / GPU_GROUP;
    return launch(c, "lora_expand", "lora_expand", args, a, (d_out + CPU_OUTPUTS - 1) / CPU_OUTPUTS,
                  groups * GPU_GROUP, err);
}

static oclora_status delta(call *c, oclora_error *err)
{
    if (!(c->summary.flags & OCLORA_LANES_TOUCHED)) return OCLORA_OK;
    if (c->summary.rank_max) OCLORA_TRY(shrink(c, err));
    return expand(c, err);
}

static oclora_status add_bias(const call *c, const oclora_tensor *bias, uint32_t rows,
                              oclora_error *err)
{
    uint64_t length = 0;
    if (!bias || !bias->buffer || !rows) return OCLORA_OK;
    OCLORA_TRY(check_rows(bias, "the bias", c->weight->d_out, &length, err));
    oclora_kernel_ref kernel = {"lora_expand", "linear_bias", ""};
    const oclora_arg args[] = {oclora_arg_buffer(bias->buffer), oclora_arg_u64(bias->offset),
                               oclora_arg_buffer(c->y->buffer), oclora_arg_u64(c->y->offset),
                               oclora_arg_u64(c->y->nb[1])};
    const size_t global[2] = {c->weight->d_out, rows};
    return oclora_stream_launch(c->stream, &kernel, args, 5, 2, global, NULL, err);
}

oclora_status oclora_linear(oclora_stream *stream, const oclora_weight *weight,
                            const oclora_tensor *x, const oclora_tensor *bias,
                            const oclora_tensor *y, const oclora_lane_table *lanes,
                            const oclora_row_work *work, uint32_t flags, oclora_error *err)
{
    uint64_t rows = 0, y_rows = 0;
    call c;
    memset(&c, 0, sizeof c);
    c.stream = stream;
    c.weight = weight;
    c.x = x;
    c.y = y;
    c.lanes = lanes;
    c.work = work;
    c.gpu = oclora_context_class(oclora_stream_context(stream)) == OCLORA_CLASS_GPU;
    OCLORA_TRY(check_rows(x, "the input", weight->d_in, &rows, err));
    OCLORA_TRY(check_rows(y, "the output", weight->d_out, &y_rows, err));
    if (rows != y_rows)
        return oclora_fail(err, OCLORA_SHAPE_MISMATCH,
                           "layer '%s' has %llu input rows and %llu output rows", weight->name,
                           ull(rows), ull(y_rows));
    OCLORA_TRY(check_work(&c, rows, err));
    if (!rows) return OCLORA_OK;
    if (!(flags & OCLORA_LINEAR_DELTA_ONLY)) OCLORA_TRY(base_product(&c, (uint32_t)rows, err));
    OCLORA_TRY(delta(&c, err));
    return add_bias(&c, bias, (uint32_t)rows, err);
}
