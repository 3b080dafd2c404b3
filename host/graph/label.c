/* label.c - how each operator hands on the rows of its inputs. */
#include "host/graph/rows_private.h"

static const oclora_row_label other = {OCLORA_ROWS_OTHER, -1, 0, 1};
static const oclora_row_label constant = {OCLORA_ROWS_CONSTANT, -1, 0, 1};

static const oclora_tensor *view_of(const oclora_labelling *state, int32_t tensor)
{
    return &state->graph->tensors[tensor].view;
}

static oclora_row_label label_of(const oclora_labelling *state, int32_t tensor)
{
    return tensor < 0 ? constant : state->labels[tensor];
}

static uint64_t count_of(const oclora_labelling *state, const oclora_row_label *label)
{
    return label->kind == OCLORA_ROWS_SELECTED ? view_of(state, label->ids)->ne[0]
                                               : state->n_tokens;
}

static bool same_label(const oclora_row_label *a, const oclora_row_label *b)
{
    return a->kind == b->kind && a->ids == b->ids && a->dims == b->dims && a->run == b->run;
}

/* The label's dimensions must have the same extents in both tensors. */
static bool keeps_extents(const oclora_labelling *state, const oclora_row_label *label,
                          int32_t from, int32_t to)
{
    for (unsigned d = 0; d < 4; d++)
        if ((label->dims >> d & 1u) && view_of(state, from)->ne[d] != view_of(state, to)->ne[d])
            return false;
    return true;
}

/* Computed along dimension 0, everything else in place; `from` gives the rows. */
static oclora_row_label label_by_row(const oclora_labelling *state, int32_t from, int32_t to)
{
    oclora_row_label label = label_of(state, from);
    if (!oclora_label_has_rows(&label)) return label;
    if ((label.dims & 1u) || !keeps_extents(state, &label, from, to)) return other;
    return label;
}

static oclora_row_label label_same_shape(const oclora_labelling *state, int32_t from, int32_t to)
{
    oclora_row_label label = label_of(state, from);
    if (oclora_label_has_rows(&label) && !keeps_extents(state, &label, from, to)) return other;
    return label;
}

/* Element by element; constants join any rows, rows join only equal rows. */
static oclora_row_label label_joined(const oclora_labelling *state, int32_t a, int32_t b,
                                     int32_t to)
{
    oclora_row_label x = label_same_shape(state, a, to);
    oclora_row_label y = label_of(state, b);
    if (x.kind == OCLORA_ROWS_OTHER || y.kind == OCLORA_ROWS_OTHER) return other;
    if (y.kind == OCLORA_ROWS_CONSTANT) return x;
    y = label_same_shape(state, b, to);
    if (x.kind == OCLORA_ROWS_CONSTANT) return y;
    return same_label(&x, &y) ? x : other;
}

static oclora_row_label label_view(const oclora_labelling *state, int32_t from, int32_t to)
{
    oclora_row_label label = label_of(state, from);
    if (!oclora_label_has_rows(&label)) return label;
    uint64_t count = count_of(state, &label);
    return oclora_axis_view(&label, count, view_of(state, from), view_of(state, to)) ? label
                                                                                     : other;
}

static oclora_row_label label_copy(const oclora_labelling *state, int32_t from, int32_t to)
{
    oclora_row_label label = label_of(state, from);
    if (!oclora_label_has_rows(&label)) return label;
    uint64_t count = count_of(state, &label);
    return oclora_axis_reshape(&label, count, view_of(state, from)->ne, view_of(state, to)->ne)
               ? label
               : other;
}

/* Rows of the product are the rows of src[1], as long as the matrix belongs to no token. */
static oclora_row_label label_mul_mat(const oclora_labelling *state, const oclora_node *node)
{
    if (label_of(state, node->src[0]).kind != OCLORA_ROWS_CONSTANT) return other;
    return label_by_row(state, node->src[1], node->dst);
}

/* src[1] is [k, 1 or n_used, tokens], the product [m, n_used, tokens]. */
static oclora_row_label label_mul_mat_id(const oclora_labelling *state, const oclora_node *node)
{
    oclora_row_label label = label_of(state, node->src[1]);
    if (label_of(state, node->src[0]).kind != OCLORA_ROWS_CONSTANT) return other;
    if (!oclora_label_has_rows(&label)) return label;
    if ((label.dims & ~4u) || !keeps_extents(state, &label, node->src[1], node->dst)) return other;
    return label;
}

static bool is_row_list(const oclora_labelling *state, int32_t ids)
{
    const oclora_graph_tensor *t = &state->graph->tensors[ids];
    return t->root == ids && t->producer < 0 && t->weight == NULL &&
           t->view.type == OCLORA_TYPE_I32 && t->view.ne[1] == 1 && t->view.ne[2] == 1 &&
           t->view.ne[3] == 1;
}

static oclora_row_label label_get_rows(const oclora_labelling *state, const oclora_node *node)
{
    oclora_row_label from = label_of(state, node->src[0]);
    const oclora_tensor *dst = view_of(state, node->dst);
    uint32_t row_dims = dst->ne[1] > 1 ? 2u : 0u;
    if (from.kind == OCLORA_ROWS_CONSTANT) { /* an embedding table */
        bool entry = state->is_entry[node->dst] && dst->ne[1] == state->n_tokens &&
                     dst->ne[2] == 1 && dst->ne[3] == 1;
        return entry ? oclora_label_make(OCLORA_ROWS_TOKENS, -1, row_dims) : constant;
    }
    if (from.kind == OCLORA_ROWS_TOKENS && is_row_list(state, node->src[1])) {
        if (!oclora_rows_are_flat(&from, view_of(state, node->src[0]))) return other;
        return oclora_label_make(OCLORA_ROWS_SELECTED, node->src[1], row_dims);
    }
    /* A gather inside each token (experts' weights): tokens in dimension 2 stay there. */
    if (oclora_label_has_rows(&from) && (from.dims & ~4u) == 0 && from.run == 1 &&
        keeps_extents(state, &from, node->src[0], node->dst) &&
        label_of(state, node->src[1]).kind == from.kind &&
        label_of(state, node->src[1]).ids == from.ids)
        return from;
    return other;
}

/* Attention takes [head, tokens, heads, streams] and gives [head, heads, tokens, streams]. */
static oclora_row_label label_flash_attn(const oclora_labelling *state, const oclora_node *node)
{
    oclora_row_label label = label_of(state, node->src[0]);
    if (!oclora_label_has_rows(&label)) return label;
    if ((label.dims & 5u) || label.run != 1) return other;
    if (label.dims & 2u) label.dims = (label.dims & ~2u) | 4u;
    for (unsigned d = 2; d < 4; d++)
        if ((label.dims >> d & 1u) &&
            view_of(state, node->dst)->ne[d] != view_of(state, node->src[0])->ne[d == 2 ? 1 : d])
            return other;
    return label;
}

static oclora_row_label label_concat(const oclora_labelling *state, const oclora_node *node)
{
    oclora_row_label a = label_of(state, node->src[0]);
    oclora_row_label b = label_of(state, node->src[1]);
    if (a.kind == OCLORA_ROWS_OTHER || b.kind == OCLORA_ROWS_OTHER) return other;
    bool a_rows = oclora_label_has_rows(&a);
    bool b_rows = oclora_label_has_rows(&b);
    if (!a_rows && !b_rows) return constant;
    if (a_rows && b_rows && !same_label(&a, &b)) return other;
    int32_t from = a_rows ? node->src[0] : node->src[1];
    oclora_row_label label = a_rows ? a : b;
    /* Joined along the tokens (or, for one token, along rows): no longer one row per token. */
    if (node->params.i[0] != 0 || !keeps_extents(state, &label, from, node->dst)) return other;
    return label;
}

oclora_row_label oclora_label_node(const oclora_labelling *state, const oclora_node *node)
{
    switch (node->op) {
    case OCLORA_OP_NONE:
        return node->src[0] < 0 ? label_of(state, node->dst)
                                : label_view(state, node->src[0], node->dst);
    case OCLORA_OP_COPY:
        return label_copy(state, node->src[0], node->dst);
    case OCLORA_OP_MUL_MAT:
        return label_mul_mat(state, node);
    case OCLORA_OP_MUL_MAT_ID:
        return label_mul_mat_id(state, node);
    case OCLORA_OP_GET_ROWS:
        return label_get_rows(state, node);
    case OCLORA_OP_SET_ROWS:
        return constant; /* the cache holds rows of many graphs */
    case OCLORA_OP_FLASH_ATTN:
        return label_flash_attn(state, node);
    case OCLORA_OP_ADD:
    case OCLORA_OP_SUB:
    case OCLORA_OP_MUL:
    case OCLORA_OP_DIV:
        return label_joined(state, node->src[0], node->src[1], node->dst);
    case OCLORA_OP_GLU: {
        oclora_row_label label = label_joined(state, node->src[0], node->src[1], node->dst);
        return (label.dims & 1u) ? other : label;
    }
    case OCLORA_OP_CONCAT:
        return label_concat(state, node);
    case OCLORA_OP_SCALE:
    case OCLORA_OP_UNARY:
    case OCLORA_OP_CLAMP:
    case OCLORA_OP_REPEAT:
    case OCLORA_OP_ADD_ID:
        return label_same_shape(state, node->src[0], node->dst);
    case OCLORA_OP_NORM:
    case OCLORA_OP_RMS_NORM:
    case OCLORA_OP_L2_NORM:
    case OCLORA_OP_ROPE:
    case OCLORA_OP_SOFT_MAX:
    case OCLORA_OP_SUM_ROWS:
    case OCLORA_OP_ARGSORT:
        return label_by_row(state, node->src[0], node->dst);
    default:
        return other;
    }
}
