#include "host/op/family.h"

#include <math.h>

enum { MODE_NORMAL = 0, MODE_NEOX = 2, MODE_SECTIONS = 8, MODE_VISION = 24, MODE_INTERLEAVED = 40 };

/* The widths of the four sections, two in a word. */
static uint32_t section(const oclora_node_params *params, int index)
{
    return (uint32_t)params->i[2 + index / 2] >> (index % 2 * 16) & 0xffffu;
}

static uint32_t section_sum(const oclora_node_params *params)
{
    uint32_t sum = 0;
    for (int i = 0; i < 4; i++) sum += section(params, i);
    return sum;
}

static bool has_sections(uint32_t mode)
{
    return mode == MODE_SECTIONS || mode == MODE_VISION || mode == MODE_INTERLEAVED;
}

/* Four positions a token; in vision towers all channels turn, with powers that restart. */
static bool sections_supported(const oclora_op_call *call)
{
    const uint64_t n_dims = (uint64_t)call->params.i[0], ne0 = call->src[0].ne[0];
    const uint32_t sum = section_sum(&call->params);
    if (n_dims == 0 || sum == 0 || call->src[1].ne[0] != 4 * call->src[0].ne[2]) return false;
    if (call->params.variant != MODE_VISION) return true;
    for (int i = 0; i < 3; i++) /* llama.cpp's powers do not restart behind an empty section */
        if (section(&call->params, i) == 0 && section(&call->params, i + 1) != 0) return false;
    return n_dims * 2 == ne0;
}

/* Channels before the first one to turn are copied: what is behind them is a call of its own. */
static uint64_t first_channel(const oclora_op_call *call)
{
    return call->params.variant >> 16;
}

static oclora_op_call behind_first(const oclora_op_call *call)
{
    const uint64_t first = first_channel(call);
    oclora_op_call rest = *call;
    rest.params.variant &= 0xffffu;
    rest.src[0] = oclora_tensor_shifted(&call->src[0], first, call->src[0].ne[0] - first);
    rest.dst = oclora_tensor_shifted(&call->dst, first, call->dst.ne[0] - first);
    return rest;
}

/* With n_dims 0 nothing turns: llama.cpp asks so before it gives frequency factors to a device. */
static bool supported(const oclora_op_call *call)
{
    const oclora_tensor *src = &call->src[0], *positions = &call->src[1], *dst = &call->dst;
    const oclora_tensor *factors = &call->src[2];
    const int32_t n_dims = call->params.i[0];
    const bool sections = has_sections(call->params.variant);
    if (!sections && call->params.variant != MODE_NORMAL && call->params.variant != MODE_NEOX)
        return false;
    if (src->type != OCLORA_TYPE_F32 && src->type != OCLORA_TYPE_F16) return false;
    if (dst->type != src->type || !oclora_tensor_same_shape(src, dst)) return false;
    if (!oclora_tensor_row_contiguous(src) || !oclora_tensor_row_contiguous(dst)) return false;
    if (positions->type != OCLORA_TYPE_I32) return false;
    if (n_dims < 0 || n_dims % 2 != 0 || (uint64_t)n_dims > src->ne[0]) return false;
    if (sections ? !sections_supported(call) : positions->ne[0] != src->ne[2]) return false;
    if (call->n_src < 3 || factors->ne[0] == 0) return true;
    const uint64_t pairs = (uint64_t)n_dims / (call->params.variant == MODE_VISION ? 1 : 2);
    return factors->type == OCLORA_TYPE_F32 && factors->ne[0] >= pairs;
}

bool oclora_rope_supported(const oclora_context *context, const oclora_op_call *call)
{
    (void)context;
    const uint64_t first = first_channel(call);
    if (first == 0) return supported(call);
    if (first >= call->src[0].ne[0] || first >= call->dst.ne[0]) return false;
    const oclora_op_call rest = behind_first(call);
    return rest.params.variant != MODE_VISION && supported(&rest);
}

/* The pair whose wavelength makes `turns` turns over the original context. */
static float turning_pair(int32_t n_dims, int32_t n_ctx, float turns, float base)
{
    const double pi = 3.14159265358979323846;
    return (float)(n_dims * log(n_ctx / (turns * 2.0 * pi)) / (2.0 * log(base)));
}

void oclora_args_angles(oclora_arg_list *list, const oclora_node_params *params)
{
    const float base = params->f[0], freq_scale = params->f[1], ext_factor = params->f[2];
    const int32_t n_dims = params->i[0] > 0 ? params->i[0] : 1, n_ctx = params->i[1];
    float magnitude = params->f[3], low = 0.0f, high = 0.0f;
    if (ext_factor != 0.0f) {
        low = fmaxf(0.0f, floorf(turning_pair(n_dims, n_ctx, params->f[4], base)));
        high = fminf((float)(n_dims - 1), ceilf(turning_pair(n_dims, n_ctx, params->f[5], base)));
        magnitude *= 1.0f + 0.1f * logf(1.0f / freq_scale);
    }
    oclora_args_f32(list, (float)pow(base, -2.0 / n_dims));
    oclora_args_f32(list, freq_scale);
    oclora_args_f32(list, ext_factor);
    oclora_args_f32(list, magnitude);
    oclora_args_f32(list, low);
    oclora_args_f32(list, high);
}

/* The kernel's forms, see cl/rope.cl. */
static uint32_t section_form(uint32_t mode)
{
    return mode == MODE_INTERLEAVED ? 1 : mode == MODE_VISION ? 2 : 0;
}

uint32_t oclora_rope_width(const oclora_stream *stream)
{
    return oclora_stream_is_cpu(stream) ? 1 : 32;
}

uint64_t oclora_rope_groups(const oclora_stream *stream, uint64_t pairs, uint64_t rest)
{
    const uint64_t lanes = oclora_stream_is_cpu(stream) ? 16 : 1;
    const uint64_t items = (pairs + lanes - 1) / lanes + (rest + 2 * lanes - 1) / (2 * lanes);
    const uint64_t width = oclora_rope_width(stream);
    return (items + width - 1) / width;
}

static oclora_status turn(oclora_stream *stream, const oclora_op_call *call, oclora_error *err)
{
    const oclora_tensor *src = &call->src[0], *dst = &call->dst;
    const oclora_tensor none = {.buffer = NULL};
    const bool has_factors = call->n_src > 2 && call->src[2].ne[0] != 0;
    const uint32_t mode = call->params.variant, n_dims = (uint32_t)call->params.i[0];
    const uint32_t pairs = mode == MODE_VISION ? n_dims : n_dims / 2;
    const bool sections = has_sections(mode);
    oclora_arg_list list = {.count = 0};
    oclora_args_tensor(&list, dst);
    oclora_args_tensor(&list, src);
    oclora_args_tensor(&list, &call->src[1]);
    oclora_args_tensor(&list, has_factors ? &call->src[2] : &none);
    for (int i = 0; i < 3; i++) oclora_args_u64(&list, src->ne[i]);
    oclora_args_nb123(&list, dst);
    oclora_args_nb123(&list, src);
    oclora_args_u32(&list, src->type);
    oclora_args_u32(&list, sections ? pairs : n_dims);
    oclora_args_u32(&list, sections ? section_form(mode) : mode == MODE_NEOX);
    oclora_args_u32(&list, has_factors);
    for (int i = 0; sections && i < 4; i++) oclora_args_u32(&list, section(&call->params, i));
    oclora_args_angles(&list, &call->params);
    const uint64_t rest = src->ne[0] - 2 * pairs;
    /* On the CPU class one item takes all heads, so that a sine is computed once. */
    const uint64_t groups[3] = {oclora_rope_groups(stream, pairs, rest),
                                oclora_stream_is_cpu(stream) ? 1 : src->ne[1],
                                src->ne[2] * src->ne[3]};
    const oclora_kernel_ref kernel = {"rope", sections ? "rope_sections" : "rope", ""};
    return oclora_launch_groups(stream, &kernel, &list, groups, oclora_rope_width(stream), err);
}

oclora_status oclora_rope_run(oclora_stream *stream, const oclora_op_call *call, oclora_error *err)
{
    const oclora_tensor *src = &call->src[0], *dst = &call->dst;
    const uint64_t first = first_channel(call);
    if (first == 0) return turn(stream, call, err);
    const oclora_op_call rest = behind_first(call);
    OCLORA_TRY(turn(stream, &rest, err));
    if (src->buffer == dst->buffer && src->offset == dst->offset) return OCLORA_OK; /* in place */
    oclora_op_call copy = {.op = OCLORA_OP_COPY, .n_src = 1};
    copy.dst = oclora_tensor_shifted(dst, 0, first);
    copy.src[0] = oclora_tensor_shifted(src, 0, first);
    return oclora_copy_run(stream, &copy, err);
}
