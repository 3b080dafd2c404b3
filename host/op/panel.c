#include "host/op/panel.h"

#include <stdio.h>

/* The kernel's TYPE is the element type's number. */
_Static_assert(OCLORA_TYPE_F32 == 0 && OCLORA_TYPE_F16 == 1 && OCLORA_TYPE_BF16 == 2 &&
                   OCLORA_TYPE_Q8_0 == 3 && OCLORA_TYPE_Q4_0 == 4 && OCLORA_TYPE_Q4_1 == 5 &&
                   OCLORA_TYPE_Q5_0 == 6 && OCLORA_TYPE_Q5_1 == 7 && OCLORA_TYPE_Q4_K == 8 &&
                   OCLORA_TYPE_Q5_K == 9 && OCLORA_TYPE_Q6_K == 10,
               "the kernel's TYPE numbers");

enum { N_ARGS = 15, GPU_SLICES = 8, GPU_TILE_ROWS = 32, TILE_INPUTS = 288 };

typedef struct call {
    oclora_stream *stream;
    const oclora_weight *weight;
    oclora_arg args[N_ARGS];
    uint32_t rows;
    uint32_t panels;
} call;

static void fill_args(call *c, const oclora_tensor *x, const oclora_tensor *y)
{
    const oclora_weight *w = c->weight;
    const oclora_planes planes = oclora_panel_planes(w->type, w->d_in, w->d_out);
    oclora_arg *a = c->args;
    *a++ = oclora_arg_buffer(w->buffer);
    *a++ = oclora_arg_u64(w->offset);
    *a++ = oclora_arg_u64(planes.at[OCLORA_PLANE_D]);
    *a++ = oclora_arg_u64(planes.at[OCLORA_PLANE_M]);
    *a++ = oclora_arg_buffer(x->buffer);
    *a++ = oclora_arg_u64(x->offset);
    *a++ = oclora_arg_u64(x->nb[1]);
    *a++ = oclora_arg_buffer(y->buffer);
    *a++ = oclora_arg_u64(y->offset);
    *a++ = oclora_arg_u64(y->nb[1]);
    *a++ = oclora_arg_u32(w->d_in);
    *a++ = oclora_arg_u32(w->d_out);
    *a++ = oclora_arg_u32(c->rows);
}

/* Inputs of a converted tile, so that `panels` of them take the tuned bytes. */
static uint32_t tile_inputs(const oclora_context *context, uint32_t panels)
{
    const uint32_t bytes = oclora_context_tuned(context, OCLORA_TUNE_MATMUL_TILE_BYTES);
    return bytes / (OCLORA_PANEL_ROWS * 4 * (panels < 2 ? 2 : panels)) / 32 * 32;
}

static bool tile_fits(const oclora_context *context, uint32_t panels)
{
    const uint64_t row_bytes = (uint64_t)panels * OCLORA_PANEL_ROWS * 4;
    return oclora_context_device(context)->local_bytes >= tile_inputs(context, panels) * row_bytes;
}

/* Of the CPU class. */
static uint32_t panels_beside(const oclora_context *context, oclora_type type, uint32_t rows)
{
    const bool dense = oclora_type_block(type) == 1;
    if (rows == 8)
        return oclora_context_tuned(context, dense ? OCLORA_TUNE_MATMUL_PANELS_DENSE
                                                   : OCLORA_TUNE_MATMUL_PANELS_BLOCKS);
    if (rows == 4)
        return oclora_context_tuned(context, dense ? OCLORA_TUNE_MATMUL_PANELS_FOUR_DENSE
                                                   : OCLORA_TUNE_MATMUL_PANELS_FOUR);
    if (dense || type == OCLORA_TYPE_Q8_0) return 4;
    return oclora_context_tuned(context, OCLORA_TUNE_MATMUL_PANELS_ONE);
}

oclora_panel_cut oclora_panel_cut_of(const oclora_context *context, oclora_type type, uint32_t rows)
{
    const bool gpu = oclora_context_class(context) == OCLORA_CLASS_GPU;
    const bool dense = oclora_type_block(type) == 1;
    const uint32_t tile_from = oclora_context_tuned(
        context, dense ? OCLORA_TUNE_MATMUL_TILE_FROM_DENSE : OCLORA_TUNE_MATMUL_TILE_FROM);
    oclora_panel_cut cut = {1, 1, false};
    if (rows >= oclora_context_tuned(context, OCLORA_TUNE_MATMUL_ROWS_8))
        cut.rows = 8;
    else if (rows >= oclora_context_tuned(context, OCLORA_TUNE_MATMUL_ROWS_4))
        cut.rows = 4;
    if (!gpu) cut.panels = panels_beside(context, type, cut.rows);
    cut.tile = cut.rows > 1 && rows >= tile_from && (gpu || tile_fits(context, cut.panels));
    return cut;
}

/* Bytes of values that are asked for before their use. Beside more streams than those of two panels
 * it costs more than it brings, and the long ones of dense types the device sees by itself. */
static uint32_t bytes_ahead(const oclora_context *context, oclora_type type, oclora_panel_cut cut)
{
    if (oclora_context_class(context) != OCLORA_CLASS_CPU) return OCLORA_TUNE_NO_AHEAD;
    if (oclora_type_block(type) == 1 || cut.panels > 2) return OCLORA_TUNE_NO_AHEAD;
    return oclora_context_tuned(context, OCLORA_TUNE_MATMUL_AHEAD);
}

/* Few specialisations, since each costs a compile. */
void oclora_panel_defines(char *out, size_t size, const oclora_context *context, oclora_type type,
                          oclora_panel_cut cut)
{
    const uint32_t inputs = cut.tile && oclora_context_class(context) == OCLORA_CLASS_CPU
                                ? tile_inputs(context, cut.panels)
                                : TILE_INPUTS;
    const uint32_t ahead = bytes_ahead(context, type, cut);
    int n = snprintf(out, size, "-DTYPE=%u -DMR=%u -DNV=%u", (unsigned)type, (unsigned)cut.rows,
                     (unsigned)cut.panels);
    if (ahead > OCLORA_TUNE_NO_AHEAD)
        n += snprintf(out + n, size - (size_t)n, " -DAHEAD=%u", (unsigned)ahead);
    if (inputs != TILE_INPUTS) snprintf(out + n, size - (size_t)n, " -DKP=%u", (unsigned)inputs);
}

/* `count` panels from `first` on; a multiple of the cut's. */
static oclora_status launch_cpu(call *c, oclora_panel_cut cut, uint32_t first, uint32_t count,
                                oclora_error *err)
{
    if (!count) return OCLORA_OK;
    char defines[64];
    const oclora_context *context = oclora_stream_context(c->stream);
    oclora_panel_defines(defines, sizeof defines, context, c->weight->type, cut);
    const oclora_kernel_ref kernel = {"matmul_panel", cut.tile ? "panel_tile" : "panel_rows",
                                      defines};
    const uint32_t rows_each =
        cut.tile ? oclora_context_tuned(context, OCLORA_TUNE_MATMUL_TILE_ROWS) : cut.rows;
    c->args[13] = oclora_arg_u32(first);
    c->args[14] = oclora_arg_u32(rows_each);
    const size_t panels = count / cut.panels, rows = (c->rows + rows_each - 1) / rows_each;
    const size_t global[2] = {cut.tile ? panels : rows, cut.tile ? rows : panels};
    const size_t local[2] = {1, 1};
    return oclora_stream_launch(c->stream, &kernel, c->args, cut.tile ? 15 : 14, 2, global, local,
                                err);
}

static oclora_status run_cpu(call *c, oclora_error *err)
{
    oclora_panel_cut cut =
        oclora_panel_cut_of(oclora_stream_context(c->stream), c->weight->type, c->rows);
    if (cut.panels == 3 && c->panels % 3 != 0) cut.panels = 2;
    const oclora_panel_cut rest = {cut.rows, 1, cut.tile};
    const uint32_t whole = c->panels / cut.panels * cut.panels;
    OCLORA_TRY(launch_cpu(c, cut, 0, whole, err));
    return launch_cpu(c, rest, whole, c->panels - whole, err);
}

static oclora_status run_gpu(call *c, oclora_error *err)
{
    char defines[64];
    const oclora_context *context = oclora_stream_context(c->stream);
    const oclora_panel_cut cut = oclora_panel_cut_of(context, c->weight->type, c->rows);
    const uint32_t rows_each = cut.tile ? (uint32_t)GPU_TILE_ROWS : cut.rows;
    oclora_panel_defines(defines, sizeof defines, context, c->weight->type, cut);
    const oclora_kernel_ref kernel = {"matmul_panel", cut.tile ? "panel_tile" : "panel_rows",
                                      defines};
    const size_t tiles = (c->rows + rows_each - 1) / rows_each;
    const size_t global[2] = {(size_t)c->panels * OCLORA_PANEL_ROWS, tiles * GPU_SLICES};
    const size_t local[2] = {OCLORA_PANEL_ROWS, GPU_SLICES};
    return oclora_stream_launch(c->stream, &kernel, c->args, 13, 2, global, local, err);
}

oclora_status oclora_panel_matmul(oclora_stream *stream, const oclora_weight *weight,
                                  const oclora_tensor *x, const oclora_tensor *y, uint32_t rows,
                                  oclora_error *err)
{
    if (!rows) return OCLORA_OK;
    call c = {stream, weight, {{0}}, rows, weight->d_out / OCLORA_PANEL_ROWS};
    fill_args(&c, x, y);
    bool gpu = oclora_context_class(oclora_stream_context(stream)) == OCLORA_CLASS_GPU;
    return gpu ? run_gpu(&c, err) : run_cpu(&c, err);
}
