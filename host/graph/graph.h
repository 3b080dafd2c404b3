/* graph.h - a host runtime's graph in the engine's own terms: what a plugin translates into. Pure
 * data.
 *
 * Tensors are numbered; nodes name them by number. A view names its root. Nothing here depends on a
 * host's version: operator numbers, parameters and names are the engine's. */
#ifndef OCLORA_GRAPH_GRAPH_H
#define OCLORA_GRAPH_GRAPH_H

#include "host/op/tensor.h"

enum {
    OCLORA_OP_NONE = 0, /* a view, reshape, permute: no work; src[0] is what it views */
    OCLORA_OP_MUL_MAT,
    OCLORA_OP_MUL_MAT_ID,
    OCLORA_OP_GET_ROWS,
    OCLORA_OP_SET_ROWS, /* dst is the destination; src[0] rows, src[1] indices */
    OCLORA_OP_COPY,     /* dst = src[0], types may differ (cpy, cont, dup) */
    OCLORA_OP_ADD,
    OCLORA_OP_SUB,
    OCLORA_OP_MUL,
    OCLORA_OP_DIV,
    OCLORA_OP_SCALE,
    OCLORA_OP_NORM,
    OCLORA_OP_RMS_NORM,
    OCLORA_OP_L2_NORM,
    OCLORA_OP_ROPE,
    OCLORA_OP_SOFT_MAX,
    OCLORA_OP_FLASH_ATTN,
    OCLORA_OP_GLU,
    OCLORA_OP_UNARY,
    OCLORA_OP_CONCAT,
    OCLORA_OP_REPEAT,
    OCLORA_OP_SUM_ROWS,
    OCLORA_OP_ARGSORT,
    OCLORA_OP_CLAMP,
    OCLORA_OP_ADD_ID,
    OCLORA_OP_IM2COL, /* src[0] only has the kernel's shape */
    OCLORA_OP_COUNT
};

/* Unary functions and gated units, in params.variant. */
enum {
    OCLORA_UNARY_ABS,
    OCLORA_UNARY_NEG,
    OCLORA_UNARY_TANH,
    OCLORA_UNARY_RELU,
    OCLORA_UNARY_SIGMOID,
    OCLORA_UNARY_GELU,
    OCLORA_UNARY_GELU_QUICK,
    OCLORA_UNARY_GELU_ERF,
    OCLORA_UNARY_SILU,
    OCLORA_UNARY_EXP,
    OCLORA_UNARY_SQR,
    OCLORA_UNARY_SQRT,
    OCLORA_UNARY_LOG,
    OCLORA_UNARY_SIN,
    OCLORA_UNARY_COS,
    OCLORA_UNARY_STEP,
    OCLORA_UNARY_SOFTPLUS,
    OCLORA_UNARY_COUNT
};
enum {
    OCLORA_GLU_REGLU,
    OCLORA_GLU_GEGLU,
    OCLORA_GLU_SWIGLU,
    OCLORA_GLU_GEGLU_ERF,
    OCLORA_GLU_GEGLU_QUICK,
    OCLORA_GLU_SWIGLU_OAI,
    OCLORA_GLU_COUNT
};

typedef struct oclora_node_params {
    uint32_t variant; /* OCLORA_UNARY_*, OCLORA_GLU_*; ROPE: mode bits as ggml's (0 norm, 2 neox,
                         8, 24, 40 with sections), | first channel << 16 */
    int32_t i[4];     /* ROPE: n_dims, n_ctx_orig, widths of sections 0 | 1 << 16, 2 | 3 << 16; GLU:
                         swapped; CONCAT: dim; ARGSORT: order; IM2COL: strides, paddings and
                         dilations, each w | h << 16, and whether it has two dimensions */
    float f[8];       /* SCALE: scale, bias; norms: eps; SOFT_MAX, FLASH_ATTN: scale, max_bias,
                         softcap; ROPE: freq_base, freq_scale, ext_factor, attn_factor, beta_fast,
                         beta_slow; CLAMP: min, max; GLU: alpha, limit */
} oclora_node_params;

enum { OCLORA_NODE_SOURCES = 8 };

typedef struct oclora_graph_tensor {
    oclora_tensor view;
    const oclora_weight *weight; /* the base weight of which this is all or, multiplied, a part */
    int32_t root;                /* tensor this one views (transitively), itself if none */
    int32_t producer;            /* node that writes it, -1 for leaves */
    uint32_t flags;              /* OCLORA_TENSOR_* */
    uint32_t weight_id; /* of `weight`: its record may have taken the address of one that is gone */
} oclora_graph_tensor;
enum {
    OCLORA_TENSOR_INPUT = 1u << 0,
    OCLORA_TENSOR_OUTPUT = 1u << 1,
    OCLORA_TENSOR_WEIGHT = 1u << 2
};

typedef struct oclora_node {
    uint32_t op; /* OCLORA_OP_* */
    int32_t dst;
    int32_t src[OCLORA_NODE_SOURCES]; /* -1 = absent */
    oclora_node_params params;
} oclora_node;

typedef struct oclora_graph {
    const oclora_graph_tensor *tensors;
    const oclora_node *nodes;
    uint32_t n_tensors;
    uint32_t n_nodes;
} oclora_graph;

#endif
