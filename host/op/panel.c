#include "host/op/panel.h"

/* Few specialisations, since each costs a compile: rows a work-item (MR) by panels a work-item
 * (NV). */
typedef enum variant {
    ONE_ROW,
    FOUR_ROWS,
    EIGHT_BY_2,
    EIGHT_BY_3,
    ONE_BY_1,
    FOUR_BY_1,
    EIGHT_BY_1,
    N_VARIANTS
} variant;
typedef struct shape {
    uint32_t rows, panels;
} shape;
static const shape shapes[N_VARIANTS] = {{1, 4}, {4, 4}, {8, 2}, {8, 3}, {1, 1}, {4, 1}, {8, 1}};

#define DEFINES(type)                                                                              \
    {                                                                                              \
        "-DTYPE=" #type " -DMR=1 -DNV=4", "-DTYPE=" #type " -DMR=4 -DNV=4",                        \
            "-DTYPE=" #type " -DMR=8 -DNV=2", "-DTYPE=" #type " -DMR=8 -DNV=3 -DKP=192",           \
            "-DTYPE=" #type " -DMR=1 -DNV=1", "-DTYPE=" #type " -DMR=4 -DNV=1",                    \
            "-DTYPE=" #type " -DMR=8 -DNV=1"                                                       \
    }
/* Indexed by element type: F32, F16, BF16, Q8_0, Q4_0, Q4_1 are 0 to 5 there and in the kernel. */
static const char *const defines[][N_VARIANTS] = {DEFINES(0), DEFINES(1), DEFINES(2),
                                                  DEFINES(3), DEFINES(4), DEFINES(5)};
_Static_assert(OCLORA_TYPE_F32 == 0 && OCLORA_TYPE_F16 == 1 && OCLORA_TYPE_BF16 == 2 &&
                   OCLORA_TYPE_Q8_0 == 3 && OCLORA_TYPE_Q4_0 == 4 && OCLORA_TYPE_Q4_1 == 5,
               "the kernel's TYPE numbers");

/* The CPU tile keeps up to 36 KiB in local memory. */
enum {
    TILE_LOCAL_BYTES = 40 << 10,
    TILE_FROM_ROWS = 17,
    TILE_BLOCK_ROWS = 128,
    N_ARGS = 15,
    GPU_SLICES = 8,
    GPU_TILE_ROWS = 32
};

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
    uint64_t d_plane, m_plane;
    oclora_panel_planes(w->type, w->d_in, w->d_out, &d_plane, &m_plane);
    oclora_arg *a = c->args;
    *a++ = oclora_arg_buffer(w->buffer);
    *a++ = oclora_arg_u64(w->offset);
    *a++ = oclora_arg_u64(d_plane);
    *a++ = oclora_arg_u64(m_plane);
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

/* `count` panels from `first` on; a multiple of the variant's panels. */
static oclora_status launch_cpu(call *c, variant v, uint32_t first, uint32_t count,
                                oclora_error *err)
{
    if (!count) return OCLORA_OK;
    const oclora_device *device = oclora_context_device(oclora_stream_context(c->stream));
    bool tile = c->rows >= TILE_FROM_ROWS && device->local_bytes >= TILE_LOCAL_BYTES;
    oclora_kernel_ref kernel = {"matmul_panel", tile ? "panel_tile" : "panel_rows",
                                defines[c->weight->type][v]};
    uint32_t rows_each = tile ? (uint32_t)TILE_BLOCK_ROWS : shapes[v].rows;
    c->args[13] = oclora_arg_u32(first);
    c->args[14] = oclora_arg_u32(rows_each);
    size_t global[2] = {count / shapes[v].panels, (c->rows + rows_each - 1) / rows_each};
    const size_t local[2] = {1, 1};
    return oclora_stream_launch(c->stream, &kernel, c->args, tile ? 15 : 14, 2, global, local, err);
}

static oclora_status run_cpu(call *c, oclora_error *err)
{
    bool dense = oclora_type_block(c->weight->type) == 1;
    variant v = EIGHT_BY_2, rest = EIGHT_BY_1;
    if (c->rows == 1) {
        v = ONE_ROW;
        rest = ONE_BY_1;
    } else if (c->rows <= 4) {
        v = FOUR_ROWS;
        rest = FOUR_BY_1;
    } else if (dense && c->panels % 3 == 0) {
        v = EIGHT_BY_3;
    }
    uint32_t whole = c->panels / shapes[v].panels * shapes[v].panels;
    OCLORA_TRY(launch_cpu(c, v, 0, whole, err));
    return launch_cpu(c, rest, whole, c->panels - whole, err);
}

static oclora_status run_gpu(call *c, oclora_error *err)
{
    bool tile = c->rows >= TILE_FROM_ROWS;
    variant v = c->rows == 1 ? ONE_BY_1 : c->rows <= 4 ? FOUR_BY_1 : EIGHT_BY_1;
    uint32_t rows_each = tile ? (uint32_t)GPU_TILE_ROWS : shapes[v].rows;
    oclora_kernel_ref kernel = {"matmul_panel", tile ? "panel_tile" : "panel_rows",
                                defines[c->weight->type][v]};
    size_t tiles = (c->rows + rows_each - 1) / rows_each;
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
