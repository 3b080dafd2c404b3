#include "host/op/linear.h"

#include "host/op/delta.h"
#include "host/op/panel.h"

#include <string.h>

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
    const bool steps_fit = *rows <= 1 || t->nb[1] <= room / (*rows - 1);
    uint64_t last = *rows && steps_fit ? (*rows - 1) * t->nb[1] + (uint64_t)width * 4 : 0;
    if (t->offset > room || last > room - t->offset || !steps_fit || *rows > UINT32_MAX)
        return oclora_fail(
            err, OCLORA_INVALID_ARGUMENT,
            "%s of a linear layer (%llu rows from %llu on) leaves its buffer of %llu "
            "bytes",
            which, ull(*rows), ull(t->offset), ull(room));
    return OCLORA_OK;
}

static oclora_status check_work(oclora_linear_call *c, uint64_t rows, oclora_error *err)
{
    if (!c->lanes && !c->work) return OCLORA_OK;
    if (!c->lanes || !c->work || c->work->stream != c->stream)
        return oclora_fail(
            err, OCLORA_INVALID_ARGUMENT,
            "layer '%s': rows with adapters need the adapters' lanes and a work list "
            "of the same stream",
            c->weight->name);
    if (c->work->n_rows != rows || c->work->n_adapters != c->lanes->n_adapters)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "the work list is for %u rows and %u adapters, the layer '%s' has %llu "
                           "and %u",
                           (unsigned)c->work->n_rows, (unsigned)c->work->n_adapters,
                           c->weight->name, ull(rows), (unsigned)c->lanes->n_adapters);
    if (!c->work->n_chunks || c->weight->id >= c->lanes->n_weights) return OCLORA_OK;
    c->summary = c->lanes->summaries[c->weight->id];
    if (c->summary.flags & OCLORA_LANES_PAIRS && !c->work->peer_offset)
        return oclora_fail(err, OCLORA_ROWS_UNKNOWN,
                           "an adapter of layer '%s' averages over the rows of a sequence, and "
                           "which rows belong to one is not known here",
                           c->weight->name);
    if (c->summary.flags & OCLORA_LANES_MULTIPLY && c->flags & OCLORA_LINEAR_DELTA_ONLY)
        return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                           "an adapter multiplies layer '%s', which needs its base product too",
                           c->weight->name);
    return OCLORA_OK;
}

oclora_status oclora_linear_base(oclora_stream *stream, const oclora_weight *weight,
                                 const oclora_tensor *x, const oclora_tensor *y, uint32_t rows,
                                 oclora_error *err)
{
    if (weight->layout == OCLORA_LAYOUT_PANEL)
        return oclora_panel_matmul(stream, weight, x, y, rows, err);
    uint64_t row_bytes = oclora_type_row_bytes(weight->type, weight->d_in);
    oclora_tensor a = {
        weight->buffer,
        weight->offset,
        weight->type,
        0,
        {weight->d_in, weight->d_out, 1, 1},
        {oclora_type_block_bytes(weight->type), row_bytes, weight->bytes, weight->bytes}};
    return oclora_matmul(stream, &a, x, y, err);
}

static oclora_status add_bias(const oclora_linear_call *c, const oclora_tensor *bias, uint32_t rows,
                              oclora_error *err)
{
    uint64_t length = 0;
    if (!bias || !bias->buffer || !rows) return OCLORA_OK;
    OCLORA_TRY(check_rows(bias, "the bias", c->weight->d_out, &length, err));
    oclora_kernel_ref kernel = {"linear_bias", "linear_bias", ""};
    const oclora_arg args[] = {oclora_arg_buffer(bias->buffer), oclora_arg_u64(bias->offset),
                               oclora_arg_buffer(c->y->buffer), oclora_arg_u64(c->y->offset),
                               oclora_arg_u64(c->y->nb[1])};
    const size_t global[2] = {c->weight->d_out, rows};
    return oclora_stream_launch(c->stream, &kernel, args, 5, 2, global, NULL, err);
}

oclora_status oclora_linear_check(oclora_linear_call *c, uint32_t *rows, oclora_error *err)
{
    uint64_t x_rows = 0, y_rows = 0;
    OCLORA_TRY(check_rows(c->x, "the input", c->weight->d_in, &x_rows, err));
    OCLORA_TRY(check_rows(c->y, "the output", c->weight->d_out, &y_rows, err));
    if (x_rows != y_rows)
        return oclora_fail(err, OCLORA_SHAPE_MISMATCH,
                           "layer '%s' has %llu input rows and %llu output rows", c->weight->name,
                           ull(x_rows), ull(y_rows));
    if (y_rows > 1 && c->y->nb[1] < (uint64_t)c->weight->d_out * 4)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "layer '%s': output rows of %u values lie %llu bytes apart",
                           c->weight->name, (unsigned)c->weight->d_out, ull(c->y->nb[1]));
    *rows = (uint32_t)x_rows;
    return check_work(c, x_rows, err);
}

oclora_status oclora_linear(oclora_stream *stream, const oclora_weight *weight,
                            const oclora_tensor *x, const oclora_tensor *bias,
                            const oclora_tensor *y, const oclora_lane_table *lanes,
                            const oclora_row_work *work, uint32_t flags, oclora_error *err)
{
    uint32_t rows = 0;
    oclora_linear_call c;
    memset(&c, 0, sizeof c);
    c.stream = stream;
    c.weight = weight;
    c.x = x;
    c.y = y;
    c.lanes = lanes;
    c.work = work;
    c.flags = flags;
    c.gpu = oclora_context_class(oclora_stream_context(stream)) == OCLORA_CLASS_GPU;
    OCLORA_TRY(oclora_linear_check(&c, &rows, err));
    if (!rows) return OCLORA_OK;
    if (!(flags & OCLORA_LINEAR_DELTA_ONLY))
        OCLORA_TRY(oclora_linear_base(stream, weight, x, y, rows, err));
    if (c.summary.flags) OCLORA_TRY(oclora_linear_delta(&c, err));
    return add_bias(&c, bias, rows, err);
}
