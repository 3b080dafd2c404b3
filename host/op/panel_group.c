/* panel_group.c - linear layers of one input: their base products in one launch, and what
 * their adapters add in another where it can be. */
#include "host/op/delta.h"
#include "host/op/family.h"
#include "host/op/fused.h"
#include "host/op/panel.h"

/* As the products one by one, but with two panels at most beside eight rows, which divide the
 * outputs of more models than three; and the rows of a group are few for a GPU's tile. */
static oclora_panel_cut group_cut(const oclora_context *context, const oclora_group_call *call)
{
    oclora_panel_cut cut = oclora_panel_cut_of(context, call->weight[0]->type, call->rows);
    if (cut.panels == 3) cut.panels = 2;
    cut.tile = cut.tile && oclora_context_class(context) == OCLORA_CLASS_CPU;
    return cut;
}

static bool fits_one_launch(const oclora_context *context, const oclora_group_call *call)
{
    if (call->count < 2 || call->count > OCLORA_GROUP_WEIGHTS || call->rows == 0 ||
        call->rows > OCLORA_GROUP_ROWS)
        return false;
    const oclora_panel_cut c = group_cut(context, call);
    for (uint32_t i = 0; i < call->count; i++) {
        const oclora_weight *w = call->weight[i];
        if (w->layout != OCLORA_LAYOUT_PANEL || w->type != call->weight[0]->type ||
            w->d_in != call->weight[0]->d_in || w->d_out / OCLORA_PANEL_ROWS % c.panels != 0)
            return false;
    }
    return true;
}

static void push_weight(oclora_arg_list *list, const oclora_weight *w, const oclora_tensor *y)
{
    const oclora_planes planes = oclora_panel_planes(w->type, w->d_in, w->d_out);
    const oclora_tensor bytes = {.buffer = w->buffer, .offset = w->offset};
    oclora_args_tensor(list, &bytes);
    oclora_args_u64(list, planes.at[OCLORA_PLANE_D]);
    oclora_args_u64(list, planes.at[OCLORA_PLANE_M]);
    oclora_args_tensor(list, y);
    oclora_args_u64(list, y->nb[1]);
}

static oclora_status launch_group(oclora_stream *stream, const oclora_group_call *call,
                                  oclora_error *err)
{
    const bool gpu = !oclora_stream_is_cpu(stream);
    const oclora_panel_cut c = group_cut(oclora_stream_context(stream), call);
    uint32_t tiles[OCLORA_GROUP_WEIGHTS] = {0};
    oclora_arg_list list = {.count = 0};
    for (uint32_t i = 0; i < OCLORA_GROUP_WEIGHTS; i++) {
        const uint32_t k = i < call->count ? i : call->count - 1;
        if (i == k) tiles[i] = call->weight[i]->d_out / OCLORA_PANEL_ROWS / c.panels;
        push_weight(&list, call->weight[k], &call->y[k]);
    }
    oclora_args_tensor(&list, &call->x);
    oclora_args_u64(&list, call->x.nb[1]);
    oclora_args_u32(&list, call->weight[0]->d_in);
    oclora_args_u32(&list, call->rows);
    oclora_args_u32(&list, tiles[0]);
    oclora_args_u32(&list, tiles[1]);
    char defines[64];
    oclora_panel_defines(defines, sizeof defines, oclora_stream_context(stream),
                         call->weight[0]->type, c);
    const oclora_kernel_ref kernel = {"matmul_panel_group",
                                      c.tile ? "panel_tile_group" : "panel_rows_group", defines};
    const size_t items = tiles[0] + tiles[1] + tiles[2];
    const size_t row_tiles = c.tile ? 1 : (call->rows + c.rows - 1) / c.rows;
    size_t global[2] = {items, row_tiles};
    if (!gpu && !c.tile) {
        global[0] = row_tiles;
        global[1] = items;
    } else if (gpu) {
        global[0] *= 16;
        global[1] *= 8;
    }
    const size_t local[2] = {gpu ? 16 : 1, gpu ? 8 : 1};
    return oclora_stream_launch(stream, &kernel, list.args, list.count, 2, global, local, err);
}

/* The products as calls, each checked as it is alone. */
static oclora_status check_group(oclora_linear_call *calls, oclora_stream *stream,
                                 const oclora_group_call *call, const oclora_lane_table *lanes,
                                 oclora_error *err)
{
    if (call->count == 0 || call->count > OCLORA_GROUP_WEIGHTS)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "a group of %u products", call->count);
    for (uint32_t i = 0; i < call->count; i++) {
        uint32_t rows = 0;
        calls[i] = (oclora_linear_call){.stream = stream,
                                        .weight = call->weight[i],
                                        .x = &call->x,
                                        .y = &call->y[i],
                                        .lanes = call->work[i] != NULL ? lanes : NULL,
                                        .work = call->work[i],
                                        .gpu = !oclora_stream_is_cpu(stream)};
        OCLORA_TRY(oclora_linear_check(&calls[i], &rows, err));
        if (rows != call->rows)
            return oclora_fail(err, OCLORA_SHAPE_MISMATCH,
                               "a group of products for %u rows has %u rows of input", call->rows,
                               rows);
    }
    return OCLORA_OK;
}

/* The adapters of layers that fuse go in one launch, the others one by one. */
static oclora_status add_deltas(oclora_linear_call *calls, uint32_t count, oclora_error *err)
{
    oclora_linear_call fused[OCLORA_GROUP_WEIGHTS];
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++) {
        oclora_linear_call *c = &calls[i];
        if (c->summary.flags == 0) continue; /* no adapter touches the layer */
        bool joins = n == 0 || fused[0].work == c->work;
        if (joins && oclora_linear_fuses(c))
            fused[n++] = *c;
        else
            OCLORA_TRY(oclora_linear_delta(c, err));
    }
    return n != 0 ? oclora_linear_fused(fused, n, err) : OCLORA_OK;
}

oclora_status oclora_linear_group(oclora_stream *stream, const oclora_group_call *call,
                                  const oclora_lane_table *lanes, oclora_error *err)
{
    oclora_linear_call calls[OCLORA_GROUP_WEIGHTS];
    OCLORA_TRY(check_group(calls, stream, call, lanes, err));
    if (!fits_one_launch(oclora_stream_context(stream), call)) {
        for (uint32_t i = 0; i < call->count; i++)
            OCLORA_TRY(oclora_linear(stream, call->weight[i], &call->x, NULL, &call->y[i],
                                     calls[i].lanes, call->work[i], 0, err));
        return OCLORA_OK;
    }
    OCLORA_TRY(launch_group(stream, call, err));
    return add_deltas(calls, call->count, err);
}
