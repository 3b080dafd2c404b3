#include "host/op/delta.h"
#include "host/op/family.h"

enum { RANK_TILE = 4, CPU_OUTPUTS = 256, GPU_GROUP = 64 };

/* Pool, lanes and work list, as every LoRA kernel begins. @return the next free argument. */
static oclora_arg *common_args(const oclora_linear_call *c, oclora_arg *a)
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

static oclora_status launch(const oclora_linear_call *c, const char *file, const char *entry,
                            const oclora_arg *args, const oclora_arg *end, size_t cpu_items,
                            size_t gpu_items, oclora_error *err)
{
    const oclora_kernel_ref kernel = {file, entry, oclora_lora_define(c->stream)};
    const size_t global[2] = {c->gpu ? gpu_items : cpu_items, c->work->n_chunks};
    const size_t local[2] = {c->gpu ? (size_t)GPU_GROUP : 1, 1};
    return oclora_stream_launch(c->stream, &kernel, args, (uint32_t)(end - args), 2, global, local,
                                err);
}

/* Runs over (items, chunks) with no local size of its own. */
static oclora_status launch_any(const oclora_linear_call *c, const char *file, const char *entry,
                                const oclora_arg *args, const oclora_arg *end, size_t items,
                                oclora_error *err)
{
    oclora_kernel_ref kernel = {file, entry, ""};
    const size_t global[2] = {items, c->work->n_chunks};
    return oclora_stream_launch(c->stream, &kernel, args, (uint32_t)(end - args), 2, global, NULL,
                                err);
}

/* The base product over every multiplicative entry's scaled inputs. */
static oclora_status multiply(oclora_linear_call *c, oclora_error *err)
{
    const oclora_weight *w = c->weight;
    OCLORA_TRY(oclora_row_work_expand(c->work, c->lanes, err));
    uint64_t rows = c->work->expansion->n_rows, in = rows * w->d_in * 4, out = rows * w->d_out * 4;
    if (!rows) return OCLORA_OK;
    OCLORA_TRY(oclora_stream_scratch(c->stream, OCLORA_SCRATCH_ROWS, in + out, &c->expanded, err));
    c->expanded_offset = in;
    oclora_arg args[17], *a = common_args(c, args);
    *a++ = oclora_arg_buffer(c->x->buffer);
    *a++ = oclora_arg_u64(c->x->offset);
    *a++ = oclora_arg_u64(c->x->nb[1]);
    *a++ = oclora_arg_buffer(c->work->expansion->first);
    *a++ = oclora_arg_u64(0);
    *a++ = oclora_arg_buffer(c->expanded);
    *a++ = oclora_arg_u64(0);
    *a++ = oclora_arg_u32(w->d_in);
    OCLORA_TRY(launch_any(c, "rowscale", "rowscale", args, a, (w->d_in + 15) / 16, err));
    oclora_tensor x = {c->expanded,           0,
                       OCLORA_TYPE_F32,       0,
                       {w->d_in, rows, 1, 1}, {4, (uint64_t)w->d_in * 4, in, in}};
    oclora_tensor y = {c->expanded,
                       in,
                       OCLORA_TYPE_F32,
                       0,
                       {w->d_out, rows, 1, 1},
                       {4, (uint64_t)w->d_out * 4, out, out}};
    return oclora_linear_base(c->stream, w, &x, &y, (uint32_t)rows, err);
}

/* One choice for all rows of a sequence, from the mean of their logits. */
static oclora_status choose_pairs(const oclora_linear_call *c, oclora_buffer *logits,
                                  uint32_t stride, oclora_error *err)
{
    oclora_arg args[16], *a = common_args(c, args);
    *a++ = oclora_arg_buffer(logits);
    *a++ = oclora_arg_u64(0);
    *a++ = oclora_arg_u32(stride);
    *a++ = oclora_arg_u64(c->work->peer_offset);
    return launch_any(c, "lora_select", "select_pairs", args, a, 1, err);
}

/* Weighs the hidden slots of routed adapters, or moves their values. */
static oclora_status select_experts(oclora_linear_call *c, oclora_error *err)
{
    uint32_t experts = c->summary.experts_max;
    oclora_buffer *logits = NULL;
    /* Pairs of choices stand behind the logits, at most as many. */
    const uint32_t stride = c->summary.flags & OCLORA_LANES_PAIRS ? 2 * experts : experts;
    OCLORA_TRY(oclora_stream_scratch(c->stream, OCLORA_SCRATCH_OP,
                                     (uint64_t)c->work->n_hidden * stride * 4, &logits, err));
    oclora_arg args[16], *a = common_args(c, args);
    *a++ = oclora_arg_buffer(c->x->buffer);
    *a++ = oclora_arg_u64(c->x->offset);
    *a++ = oclora_arg_u64(c->x->nb[1]);
    *a++ = oclora_arg_buffer(logits);
    *a++ = oclora_arg_u64(0);
    *a++ = oclora_arg_u32(stride);
    *a++ = oclora_arg_u32(c->weight->d_in);
    OCLORA_TRY(launch_any(c, "lora_select", "select_logits", args, a, experts, err));
    if (c->summary.flags & OCLORA_LANES_PAIRS) OCLORA_TRY(choose_pairs(c, logits, stride, err));
    a = common_args(c, args);
    *a++ = oclora_arg_buffer(logits);
    *a++ = oclora_arg_u64(0);
    *a++ = oclora_arg_u32(stride);
    *a++ = oclora_arg_buffer(c->hidden);
    *a++ = oclora_arg_u64(0);
    *a++ = oclora_arg_u32(c->summary.rank_max);
    *a++ = oclora_arg_u64(c->work->peer_offset);
    /* the pool is not looked at */
    return launch_any(c, "lora_select", "select_apply", args + 2, a, 1, err);
}

static oclora_status shrink(oclora_linear_call *c, oclora_error *err)
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
    if (c->summary.flags & OCLORA_LANES_ROUTER) OCLORA_TRY(select_experts(c, err));
    if (!core) return OCLORA_OK;
    a = common_args(c, args);
    *a++ = oclora_arg_buffer(c->hidden);
    *a++ = oclora_arg_u64(0);
    *a++ = oclora_arg_u64(c->core_offset);
    *a++ = oclora_arg_u32(stride);
    size_t groups = (stride + GPU_GROUP - 1) / GPU_GROUP;
    return launch(c, "lora_shrink", "lora_core", args, a, stride, groups * GPU_GROUP, err);
}

static oclora_status expand(oclora_linear_call *c, oclora_error *err)
{
    uint32_t d_out = c->weight->d_out;
    oclora_arg args[21], *a = common_args(c, args);
    *a++ = oclora_arg_buffer(c->hidden);
    *a++ = oclora_arg_u64(0);
    *a++ = oclora_arg_u64(c->core_offset);
    *a++ = oclora_arg_u32(c->summary.rank_max);
    *a++ = oclora_arg_buffer(c->expanded);
    *a++ = oclora_arg_u64(c->expanded_offset);
    *a++ = oclora_arg_buffer(c->expanded ? c->work->expansion->first : NULL);
    *a++ = oclora_arg_u64(0);
    *a++ = oclora_arg_buffer(c->y->buffer);
    *a++ = oclora_arg_u64(c->y->offset);
    *a++ = oclora_arg_u64(c->y->nb[1]);
    *a++ = oclora_arg_u32(d_out);
    size_t groups = (d_out + 4 * GPU_GROUP - 1) / (4 * GPU_GROUP);
    return launch(c, "lora_expand", "lora_expand", args, a, (d_out + CPU_OUTPUTS - 1) / CPU_OUTPUTS,
                  groups * GPU_GROUP, err);
}

oclora_status oclora_linear_delta(oclora_linear_call *c, oclora_error *err)
{
    if (!(c->summary.flags & OCLORA_LANES_TOUCHED)) return OCLORA_OK;
    if (oclora_linear_fuses(c)) return oclora_linear_fused(c, 1, err);
    if (c->summary.flags & OCLORA_LANES_MULTIPLY) OCLORA_TRY(multiply(c, err));
    if (c->summary.flags & OCLORA_LANES_LOW_RANK) OCLORA_TRY(shrink(c, err));
    return expand(c, err);
}
