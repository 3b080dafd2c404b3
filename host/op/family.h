/* family.h - inside host/op: what each family of operators gives to the table, and the helpers they
 * share. */
#ifndef OCLORA_OP_FAMILY_H
#define OCLORA_OP_FAMILY_H

#include "host/op/ops.h"

/* One row of the table. `supported` looks at types and shapes only; `run` may rely on it, on
 * checked ranges and on no tensor being empty. */
typedef struct oclora_op_entry {
    const char *name;
    uint32_t min_src; /* sources that must be present */
    bool (*supported)(const oclora_context *context, const oclora_op_call *call);
    oclora_status (*run)(oclora_stream *stream, const oclora_op_call *call, oclora_error *err);
} oclora_op_entry;

#define OCLORA_OP_FAMILY(family)                                                                   \
    bool oclora_##family##_supported(const oclora_context *context, const oclora_op_call *call);   \
    oclora_status oclora_##family##_run(oclora_stream *stream, const oclora_op_call *call,         \
                                        oclora_error *err)

OCLORA_OP_FAMILY(matmul_op);
OCLORA_OP_FAMILY(matmul_id);
OCLORA_OP_FAMILY(get_rows);
OCLORA_OP_FAMILY(set_rows);
OCLORA_OP_FAMILY(copy);
OCLORA_OP_FAMILY(binary);
OCLORA_OP_FAMILY(unary);
OCLORA_OP_FAMILY(glu);
OCLORA_OP_FAMILY(norm);
OCLORA_OP_FAMILY(rope);
OCLORA_OP_FAMILY(softmax);
OCLORA_OP_FAMILY(attention);
OCLORA_OP_FAMILY(concat);
OCLORA_OP_FAMILY(repeat);
OCLORA_OP_FAMILY(argsort);
OCLORA_OP_FAMILY(add_id);
OCLORA_OP_FAMILY(im2col);

/* ---- tensors ---- */
static inline bool oclora_tensor_absent(const oclora_tensor *tensor)
{
    return tensor->ne[0] == 0 && tensor->buffer == NULL;
}

static inline bool oclora_tensor_empty(const oclora_tensor *tensor)
{
    return tensor->ne[0] == 0 || tensor->ne[1] == 0 || tensor->ne[2] == 0 || tensor->ne[3] == 0;
}

static inline uint64_t oclora_tensor_count(const oclora_tensor *tensor)
{
    return tensor->ne[0] * tensor->ne[1] * tensor->ne[2] * tensor->ne[3];
}

/* f32, f16 and bf16: what the dense kernels load and store. */
static inline bool oclora_type_is_dense(oclora_type type)
{
    return type == OCLORA_TYPE_F32 || type == OCLORA_TYPE_F16 || type == OCLORA_TYPE_BF16;
}

/* What the kernels can write as blocks. */
static inline bool oclora_type_is_quantizable(oclora_type type)
{
    return type >= OCLORA_TYPE_Q8_0 && type <= OCLORA_TYPE_Q5_1;
}

bool oclora_tensor_same_shape(const oclora_tensor *a, const oclora_tensor *b);
bool oclora_tensor_row_contiguous(const oclora_tensor *tensor); /* nb[0] is the type's size */
bool oclora_tensor_contiguous(const oclora_tensor *tensor);
/* Every dimension of `whole` is a multiple of `part`'s. */
bool oclora_tensor_repeats(const oclora_tensor *part, const oclora_tensor *whole);
/* A view of the same memory whose element 0 is `elements` further in dimension 0. */
oclora_tensor oclora_tensor_shifted(const oclora_tensor *tensor, uint64_t elements, uint64_t ne0);

/* ---- kernel arguments ---- */
typedef struct oclora_arg_list {
    oclora_arg args[48];
    uint32_t count;
} oclora_arg_list;

void oclora_args_tensor(oclora_arg_list *list, const oclora_tensor *tensor); /* buffer, offset */
void oclora_args_ne(oclora_arg_list *list, const oclora_tensor *tensor);     /* four u64 */
void oclora_args_nb(oclora_arg_list *list, const oclora_tensor *tensor);     /* four u64 */
void oclora_args_nb123(oclora_arg_list *list, const oclora_tensor *tensor);  /* three u64 */
void oclora_args_u64(oclora_arg_list *list, uint64_t value);
void oclora_args_u32(oclora_arg_list *list, uint32_t value);
void oclora_args_f32(oclora_arg_list *list, float value);

/* ALiBi: max_bias, largest power of two of heads, base slopes below and above it. */
void oclora_args_alibi(oclora_arg_list *list, float max_bias, uint64_t n_head);

/* ---- blocks ---- */
/* Rows of `src` (dense) go to rows of `dst` (quantizable) of their own number, or, with an `index`
 * (else NULL), of the numbers in it as in ggml's SET_ROWS. */
oclora_status oclora_quantize_rows(oclora_stream *stream, const oclora_tensor *src,
                                   const oclora_tensor *index, const oclora_tensor *dst,
                                   oclora_error *err);
/* Rows of blocks to dense rows of the same shape. */
oclora_status oclora_dequantize_rows(oclora_stream *stream, const oclora_tensor *src,
                                     const oclora_tensor *dst, oclora_error *err);

/* ROPE: theta_scale, freq_scale, ext_factor, magnitude, corr_low, corr_high. */
/* Groups of dimension 0 for `pairs` to turn and `rest` channels behind them, and their width. */
uint64_t oclora_rope_groups(const oclora_stream *stream, uint64_t pairs, uint64_t rest);
uint32_t oclora_rope_width(const oclora_stream *stream);
void oclora_args_angles(oclora_arg_list *list, const oclora_node_params *params);

/* ---- launches ---- */
static inline bool oclora_stream_is_cpu(const oclora_stream *stream)
{
    return oclora_context_class(oclora_stream_context(stream)) == OCLORA_CLASS_CPU;
}

static inline uint32_t oclora_stream_tuned(const oclora_stream *stream, oclora_tune_param param)
{
    return oclora_context_tuned(oclora_stream_context(stream), param);
}

/* How a kernel that walks rows is cut: `span` elements of dimension 0 and `rows` rows an item. */
typedef struct oclora_row_cut {
    uint32_t span;
    uint32_t rows;
} oclora_row_cut;
oclora_row_cut oclora_row_cut_of(const oclora_stream *stream, const oclora_tensor *shape);

/* Launches over (ne0 / span, ne1 / rows, ne2 * ne3) of `shape`: groups of 1 on the CPU class, of
 * OCLORA_TUNE_ROW_WIDTH on the GPU class. */
oclora_status oclora_launch_cut(oclora_stream *stream, const oclora_kernel_ref *kernel,
                                const oclora_arg_list *list, const oclora_tensor *shape,
                                oclora_row_cut cut, oclora_error *err);

/* Launches `groups` work-groups of `width` items in dimension 0. */
oclora_status oclora_launch_groups(oclora_stream *stream, const oclora_kernel_ref *kernel,
                                   const oclora_arg_list *list, const uint64_t groups[3],
                                   uint32_t width, oclora_error *err);

/* "-DLANES=16" or "-DLANES=1" by device class. */
const char *oclora_lanes_define(const oclora_stream *stream);
/* For shrink, expand and both: "-DSUMS=8" by OCLORA_TUNE_VECTOR_SUMS, and "-DPREFETCH" where the
 * compiler has one, by OCLORA_TUNE_MATMUL_AHEAD. */
const char *oclora_lora_define(const oclora_stream *stream);

#endif
