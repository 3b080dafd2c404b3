#include "plugin/ggml/host_abi.h"

#include <string.h>

/* Names of ggml's operators; the numbers behind them moved between releases that call themselves
 * compatible. */
static const struct {
    const char *name;
    uint8_t op;
    uint8_t unary;
    bool needed; /* by the smallest model: a host without it is not one we know */
} op_names[] = {
    {"NONE", OCLORA_OP_NONE, 0, true},
    {"RESHAPE", OCLORA_OP_NONE, 0, true},
    {"VIEW", OCLORA_OP_NONE, 0, true},
    {"PERMUTE", OCLORA_OP_NONE, 0, true},
    {"TRANSPOSE", OCLORA_OP_NONE, 0, true},
    {"MUL_MAT", OCLORA_OP_MUL_MAT, 0, true},
    {"MUL_MAT_ID", OCLORA_OP_MUL_MAT_ID, 0, false},
    {"GET_ROWS", OCLORA_OP_GET_ROWS, 0, true},
    {"SET_ROWS", OCLORA_OP_SET_ROWS, 0, true},
    {"CPY", OCLORA_OP_COPY, 0, true},
    {"CONT", OCLORA_OP_COPY, 0, true},
    {"DUP", OCLORA_OP_COPY, 0, true},
    {"ADD", OCLORA_OP_ADD, 0, true},
    {"SUB", OCLORA_OP_SUB, 0, false},
    {"MUL", OCLORA_OP_MUL, 0, true},
    {"DIV", OCLORA_OP_DIV, 0, false},
    {"SCALE", OCLORA_OP_SCALE, 0, true},
    {"NORM", OCLORA_OP_NORM, 0, false},
    {"RMS_NORM", OCLORA_OP_RMS_NORM, 0, true},
    {"L2_NORM", OCLORA_OP_L2_NORM, 0, false},
    {"ROPE", OCLORA_OP_ROPE, 0, true},
    {"SOFT_MAX", OCLORA_OP_SOFT_MAX, 0, true},
    {"FLASH_ATTN_EXT", OCLORA_OP_FLASH_ATTN, 0, true},
    {"GLU", OCLORA_OP_GLU, 0, true},
    {"UNARY", OCLORA_OP_UNARY, 0, true},
    {"CONCAT", OCLORA_OP_CONCAT, 0, false},
    {"REPEAT", OCLORA_OP_REPEAT, 0, false},
    {"SUM_ROWS", OCLORA_OP_SUM_ROWS, 0, false},
    {"ARGSORT", OCLORA_OP_ARGSORT, 0, false},
    {"CLAMP", OCLORA_OP_CLAMP, 0, false},
    {"ADD_ID", OCLORA_OP_ADD_ID, 0, false},
    {"IM2COL", OCLORA_OP_IM2COL, 0, false},
    {"SQR", OCLORA_OP_UNARY, OCLORA_UNARY_SQR, false},
    {"SQRT", OCLORA_OP_UNARY, OCLORA_UNARY_SQRT, false},
    {"LOG", OCLORA_OP_UNARY, OCLORA_UNARY_LOG, false},
    {"SIN", OCLORA_OP_UNARY, OCLORA_UNARY_SIN, false},
    {"COS", OCLORA_OP_UNARY, OCLORA_UNARY_COS, false},
};

/* Constructors (context, tensor) of functions that share one operator number. */
static const struct {
    const char *constructor;
    uint8_t variant;
} unary_names[] =
    {
        {"ggml_abs", OCLORA_UNARY_ABS},
        {"ggml_neg", OCLORA_UNARY_NEG},
        {"ggml_tanh", OCLORA_UNARY_TANH},
        {"ggml_relu", OCLORA_UNARY_RELU},
        {"ggml_sigmoid", OCLORA_UNARY_SIGMOID},
        {"ggml_gelu", OCLORA_UNARY_GELU},
        {"ggml_gelu_quick", OCLORA_UNARY_GELU_QUICK},
        {"ggml_gelu_erf", OCLORA_UNARY_GELU_ERF},
        {"ggml_silu", OCLORA_UNARY_SILU},
        {"ggml_exp", OCLORA_UNARY_EXP},
        {"ggml_step", OCLORA_UNARY_STEP},
        {"ggml_softplus", OCLORA_UNARY_SOFTPLUS},
},
  glu_names[] = {
      {"ggml_reglu", OCLORA_GLU_REGLU},
      {"ggml_geglu", OCLORA_GLU_GEGLU},
      {"ggml_swiglu", OCLORA_GLU_SWIGLU},
      {"ggml_geglu_erf", OCLORA_GLU_GEGLU_ERF},
      {"ggml_geglu_quick", OCLORA_GLU_GEGLU_QUICK},
};

static const struct {
    int ggml;
    oclora_type type;
} type_numbers[] = {
    {GGML_TYPE_F32, OCLORA_TYPE_F32},   {GGML_TYPE_F16, OCLORA_TYPE_F16},
    {GGML_TYPE_BF16, OCLORA_TYPE_BF16}, {GGML_TYPE_Q8_0, OCLORA_TYPE_Q8_0},
    {GGML_TYPE_Q4_0, OCLORA_TYPE_Q4_0}, {GGML_TYPE_Q4_1, OCLORA_TYPE_Q4_1},
    {GGML_TYPE_Q5_0, OCLORA_TYPE_Q5_0}, {GGML_TYPE_Q5_1, OCLORA_TYPE_Q5_1},
    {GGML_TYPE_Q4_K, OCLORA_TYPE_Q4_K}, {GGML_TYPE_Q5_K, OCLORA_TYPE_Q5_K},
    {GGML_TYPE_Q6_K, OCLORA_TYPE_Q6_K}, {GGML_TYPE_I8, OCLORA_TYPE_I8},
    {GGML_TYPE_I16, OCLORA_TYPE_I16},   {GGML_TYPE_I32, OCLORA_TYPE_I32},
    {GGML_TYPE_I64, OCLORA_TYPE_I64},   {GGML_TYPE_F64, OCLORA_TYPE_F64},
};

oclora_type oclora_host_type(int ggml_type)
{
    for (size_t i = 0; i < sizeof type_numbers / sizeof type_numbers[0]; i++)
        if (type_numbers[i].ggml == ggml_type) return type_numbers[i].type;
    return OCLORA_TYPE_COUNT;
}

static oclora_status check_types(const oclora_host *host, oclora_error *err)
{
    for (size_t i = 0; i < sizeof type_numbers / sizeof type_numbers[0]; i++) {
        oclora_type type = type_numbers[i].type;
        const char *name = host->ggml_type_name(type_numbers[i].ggml);
        if (name == NULL || strcmp(name, oclora_type_name(type)) != 0 ||
            host->ggml_type_size(type_numbers[i].ggml) != oclora_type_block_bytes(type) ||
            host->ggml_blck_size(type_numbers[i].ggml) != (int64_t)oclora_type_block(type))
            return oclora_fail(err, OCLORA_HOST_MISMATCH, "type %d is not %s", type_numbers[i].ggml,
                               oclora_type_name(type));
    }
    return OCLORA_OK;
}

/* ---- public constructors, for experiments ---- */

#define MAKERS(X)                                                                                  \
    X(struct ggml_context *, ggml_init, (struct ggml_init_params))                                 \
    X(void, ggml_free, (struct ggml_context *))                                                    \
    X(size_t, ggml_tensor_overhead, (void))                                                        \
    X(size_t, ggml_graph_overhead_custom, (size_t, bool))                                          \
    X(struct ggml_tensor *, ggml_new_tensor_4d,                                                    \
      (struct ggml_context *, int, int64_t, int64_t, int64_t, int64_t))                            \
    X(struct ggml_tensor *, ggml_set_name, (struct ggml_tensor *, const char *))                   \
    X(void, ggml_set_input, (struct ggml_tensor *))                                                \
    X(void, ggml_set_output, (struct ggml_tensor *))                                               \
    X(struct ggml_tensor *, ggml_view_1d,                                                          \
      (struct ggml_context *, struct ggml_tensor *, int64_t, size_t))                              \
    X(struct ggml_tensor *, ggml_mul_mat,                                                          \
      (struct ggml_context *, struct ggml_tensor *, struct ggml_tensor *))                         \
    X(struct ggml_tensor *, ggml_get_rows,                                                         \
      (struct ggml_context *, struct ggml_tensor *, struct ggml_tensor *))                         \
    X(struct ggml_tensor *, ggml_set_rows,                                                         \
      (struct ggml_context *, struct ggml_tensor *, struct ggml_tensor *, struct ggml_tensor *))   \
    X(struct ggml_tensor *, ggml_swiglu, (struct ggml_context *, struct ggml_tensor *))            \
    X(struct ggml_tensor *, ggml_swiglu_swapped, (struct ggml_context *, struct ggml_tensor *))    \
    X(struct ggml_tensor *, ggml_silu, (struct ggml_context *, struct ggml_tensor *))              \
    X(struct ggml_tensor *, ggml_scale, (struct ggml_context *, struct ggml_tensor *, float))      \
    X(struct ggml_tensor *, ggml_rms_norm, (struct ggml_context *, struct ggml_tensor *, float))   \
    X(struct ggml_tensor *, ggml_clamp,                                                            \
      (struct ggml_context *, struct ggml_tensor *, float, float))                                 \
    X(struct ggml_tensor *, ggml_concat,                                                           \
      (struct ggml_context *, struct ggml_tensor *, struct ggml_tensor *, int))                    \
    X(struct ggml_tensor *, ggml_argsort, (struct ggml_context *, struct ggml_tensor *, int))      \
    X(struct ggml_tensor *, ggml_soft_max_ext,                                                     \
      (struct ggml_context *, struct ggml_tensor *, struct ggml_tensor *, float, float))           \
    X(struct ggml_tensor *, ggml_flash_attn_ext,                                                   \
      (struct ggml_context *, struct ggml_tensor *, struct ggml_tensor *, struct ggml_tensor *,    \
       struct ggml_tensor *, float, float, float))                                                 \
    X(struct ggml_tensor *, ggml_rope_ext,                                                         \
      (struct ggml_context *, struct ggml_tensor *, struct ggml_tensor *, struct ggml_tensor *,    \
       int, int, int, float, float, float, float, float, float))                                   \
    X(struct ggml_tensor *, ggml_im2col,                                                           \
      (struct ggml_context *, struct ggml_tensor *, struct ggml_tensor *, int, int, int, int, int, \
       int, bool, int))                                                                            \
    X(struct ggml_cgraph *, ggml_new_graph_custom, (struct ggml_context *, size_t, bool))          \
    X(void, ggml_build_forward_expand, (struct ggml_cgraph *, struct ggml_tensor *))

typedef struct makers {
#define DECLARE(result, name, args) result(*name) args;
    MAKERS(DECLARE)
#undef DECLARE
} makers;

static oclora_status bind_makers(makers *make, const oclora_host *host, oclora_error *err)
{
#define BIND(result, name, args)                                                                   \
    {                                                                                              \
        void *address = oclora_host_symbol(host, #name);                                           \
        if (address == NULL)                                                                       \
            return oclora_fail(err, OCLORA_HOST_MISMATCH, "there is no function " #name);          \
        memcpy(&make->name, &address, sizeof address);                                             \
    }
    MAKERS(BIND)
#undef BIND
    return OCLORA_OK;
}

#define DEMAND(condition)                                                                          \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return oclora_fail(err, OCLORA_HOST_MISMATCH, "tensors differ: %s", #condition);       \
    } while (0)

static float f32_param(const struct ggml_tensor *t, int index)
{
    float value;
    memcpy(&value, &t->op_params[index], sizeof value);
    return value;
}

/* Fields of a tensor, as filled in by public constructors. */
static oclora_status check_layout(const makers *make, struct ggml_context *ctx, oclora_error *err)
{
    struct ggml_tensor *w = make->ggml_new_tensor_4d(ctx, GGML_TYPE_Q4_1, 64, 3, 1, 1);
    struct ggml_tensor *x = make->ggml_new_tensor_4d(ctx, GGML_TYPE_F32, 64, 5, 1, 1);
    DEMAND(w->type == GGML_TYPE_Q4_1 && w->ne[0] == 64 && w->ne[1] == 3 && w->ne[3] == 1);
    DEMAND(w->nb[0] == 20 && w->nb[1] == 40 && w->nb[2] == 120 && w->nb[3] == 120);
    DEMAND(w->buffer == NULL && w->data == NULL && w->view_src == NULL && w->src[0] == NULL);
    make->ggml_set_name(w, "oclora probe");
    DEMAND(strcmp(w->name, "oclora probe") == 0);
    DEMAND(x->flags == 0);
    make->ggml_set_input(x);
    DEMAND(x->flags == GGML_TENSOR_FLAG_INPUT);
    struct ggml_tensor *view = make->ggml_view_1d(ctx, x, 8, 16);
    DEMAND(view->view_src == x && view->view_offs == 16 && view->src[0] == x && view->ne[0] == 8);
    struct ggml_tensor *y = make->ggml_mul_mat(ctx, w, x);
    DEMAND(y->src[0] == w && y->src[1] == x && y->src[2] == NULL);
    DEMAND(y->ne[0] == 3 && y->ne[1] == 5 && y->type == GGML_TYPE_F32);
    make->ggml_set_output(y);
    DEMAND(y->flags == GGML_TENSOR_FLAG_OUTPUT);
    return OCLORA_OK;
}

/* Where operators keep their parameters and sources: the facts that params.c is written from. */
static oclora_status check_params(const makers *make, struct ggml_context *ctx, oclora_error *err)
{
    struct ggml_tensor *x = make->ggml_new_tensor_4d(ctx, GGML_TYPE_F32, 32, 4, 2, 1);
    struct ggml_tensor *ids = make->ggml_new_tensor_4d(ctx, GGML_TYPE_I32, 2, 1, 1, 1);
    struct ggml_tensor *t = make->ggml_scale(ctx, x, 2.5f);
    DEMAND(t->src[0] == x && f32_param(t, 0) == 2.5f && f32_param(t, 1) == 0.0f);
    t = make->ggml_rms_norm(ctx, x, 0.25f);
    DEMAND(t->src[0] == x && f32_param(t, 0) == 0.25f);
    t = make->ggml_clamp(ctx, x, -1.5f, 3.0f);
    DEMAND(t->src[0] == x && f32_param(t, 0) == -1.5f && f32_param(t, 1) == 3.0f);
    t = make->ggml_concat(ctx, x, x, 2);
    DEMAND(t->src[0] == x && t->src[1] == x && t->op_params[0] == 2);
    t = make->ggml_argsort(ctx, x, 1);
    DEMAND(t->src[0] == x && t->op_params[0] == 1);
    t = make->ggml_swiglu_swapped(ctx, x);
    DEMAND(t->src[0] == x && t->src[1] == NULL && t->op_params[1] == 1);
    t = make->ggml_soft_max_ext(ctx, x, NULL, 0.5f, 0.0f);
    DEMAND(t->src[0] == x && t->src[1] == NULL && f32_param(t, 0) == 0.5f);
    t = make->ggml_flash_attn_ext(ctx, x, x, x, NULL, 0.5f, 0.0f, 30.0f);
    DEMAND(t->src[0] == x && t->src[1] == x && t->src[2] == x && t->src[3] == NULL);
    DEMAND(f32_param(t, 0) == 0.5f && f32_param(t, 1) == 0.0f && f32_param(t, 2) == 30.0f);
    t = make->ggml_rope_ext(ctx, x, ids, NULL, 16, 2, 77, 1e4f, 0.5f, 0.25f, 1.5f, 32.0f, 2.0f);
    DEMAND(t->src[0] == x && t->src[1] == ids && t->src[2] == NULL);
    DEMAND(t->op_params[1] == 16 && t->op_params[2] == 2 && t->op_params[4] == 77);
    DEMAND(f32_param(t, 5) == 1e4f && f32_param(t, 6) == 0.5f && f32_param(t, 7) == 0.25f);
    DEMAND(f32_param(t, 8) == 1.5f && f32_param(t, 9) == 32.0f && f32_param(t, 10) == 2.0f);
    t = make->ggml_im2col(ctx, x, x, 2, 3, 94, 15, 6, 7, true, GGML_TYPE_F32);
    DEMAND(t->src[0] == x && t->src[1] == x && t->op_params[0] == 2 && t->op_params[1] == 3);
    DEMAND(t->op_params[2] == 94 && t->op_params[3] == 15 && t->op_params[4] == 6);
    DEMAND(t->op_params[5] == 7 && t->op_params[6] == 1);
    struct ggml_tensor *table = make->ggml_new_tensor_4d(ctx, GGML_TYPE_F16, 32, 9, 1, 1);
    struct ggml_tensor *rows = make->ggml_new_tensor_4d(ctx, GGML_TYPE_F32, 32, 2, 1, 1);
    struct ggml_tensor *index = make->ggml_new_tensor_4d(ctx, GGML_TYPE_I64, 2, 1, 1, 1);
    t = make->ggml_set_rows(ctx, table, rows, index);
    DEMAND(t->src[0] == rows && t->src[1] == index && t->view_src == table);
    t = make->ggml_get_rows(ctx, table, ids);
    DEMAND(t->src[0] == table && t->src[1] == ids && t->ne[0] == 32 && t->ne[1] == 2);
    return OCLORA_OK;
}

/* Numbers of operators by name, up to the number of a node made just now: names beyond the host's
 * own list must not be asked for. */
static oclora_status learn_ops(oclora_host *host, int last, oclora_error *err)
{
    enum { N = sizeof op_names / sizeof op_names[0] };
    bool found[N] = {false};
    for (int number = 0; number <= last; number++) {
        const char *name = host->ggml_op_name(number);
        for (size_t i = 0; i < N; i++) {
            if (name == NULL || strcmp(name, op_names[i].name) != 0) continue;
            host->op[number] = op_names[i].op;
            host->op_unary[number] = op_names[i].op == OCLORA_OP_UNARY && strcmp(name, "UNARY") != 0
                                         ? op_names[i].unary
                                         : OCLORA_HOST_UNKNOWN;
            found[i] = true;
        }
    }
    for (size_t i = 0; i < N; i++)
        if (op_names[i].needed && !found[i])
            return oclora_fail(err, OCLORA_HOST_MISMATCH, "there is no operator %s",
                               op_names[i].name);
    return OCLORA_OK;
}

typedef struct ggml_tensor *(*make_one)(struct ggml_context *, struct ggml_tensor *);

/* Sub-numbers from nodes of each function that the host has. */
static void learn_variants(oclora_host *host, struct ggml_context *ctx, struct ggml_tensor *x)
{
    for (size_t i = 0; i < sizeof unary_names / sizeof unary_names[0]; i++) {
        void *address = oclora_host_symbol(host, unary_names[i].constructor);
        make_one make;
        memcpy(&make, &address, sizeof make);
        const struct ggml_tensor *t = make != NULL ? make(ctx, x) : NULL;
        if (t != NULL && host->op[t->op] == OCLORA_OP_UNARY && (uint32_t)t->op_params[0] < 64)
            host->unary[t->op_params[0]] = unary_names[i].variant;
    }
    for (size_t i = 0; i < sizeof glu_names / sizeof glu_names[0]; i++) {
        void *address = oclora_host_symbol(host, glu_names[i].constructor);
        make_one make;
        memcpy(&make, &address, sizeof make);
        const struct ggml_tensor *t = make != NULL ? make(ctx, x) : NULL;
        if (t != NULL && host->op[t->op] == OCLORA_OP_GLU && (uint32_t)t->op_params[0] < 32)
            host->glu[t->op_params[0]] = glu_names[i].variant;
    }
    void *address = oclora_host_symbol(host, "ggml_swiglu_oai");
    struct ggml_tensor *(*oai)(struct ggml_context *, struct ggml_tensor *, struct ggml_tensor *,
                               float, float);
    memcpy(&oai, &address, sizeof oai);
    const struct ggml_tensor *t = oai != NULL ? oai(ctx, x, x, 1.5f, 7.0f) : NULL;
    if (t != NULL && f32_param(t, 2) == 1.5f && f32_param(t, 3) == 7.0f &&
        (uint32_t)t->op_params[0] < 32)
        host->glu[t->op_params[0]] = OCLORA_GLU_SWIGLU_OAI;
}

/* An operator whose name and node disagree would compute something else. */
static oclora_status check_ops(const oclora_host *host, const makers *make,
                               struct ggml_context *ctx, struct ggml_tensor *x, oclora_error *err)
{
    DEMAND(host->op[make->ggml_mul_mat(ctx, x, x)->op] == OCLORA_OP_MUL_MAT);
    DEMAND(host->op[make->ggml_scale(ctx, x, 1.0f)->op] == OCLORA_OP_SCALE);
    DEMAND(host->op[make->ggml_rms_norm(ctx, x, 1.0f)->op] == OCLORA_OP_RMS_NORM);
    DEMAND(host->op[make->ggml_clamp(ctx, x, 0.0f, 1.0f)->op] == OCLORA_OP_CLAMP);
    DEMAND(host->op[make->ggml_view_1d(ctx, x, 8, 0)->op] == OCLORA_OP_NONE);
    DEMAND(host->op[make->ggml_silu(ctx, x)->op] == OCLORA_OP_UNARY);
    DEMAND(host->glu[make->ggml_swiglu(ctx, x)->op_params[0]] == OCLORA_GLU_SWIGLU);
    return OCLORA_OK;
}

static oclora_status check_graph(oclora_host *host, const makers *make, struct ggml_context *ctx,
                                 struct ggml_tensor *x, oclora_error *err)
{
    struct ggml_tensor *y = make->ggml_scale(ctx, x, 2.0f);
    struct ggml_cgraph *graph = make->ggml_new_graph_custom(ctx, 8, false);
    DEMAND(graph != NULL);
    make->ggml_build_forward_expand(graph, y);
    DEMAND(host->ggml_graph_n_nodes(graph) == 1 && host->ggml_graph_node(graph, 0) == y);
    DEMAND((y->flags & ~GGML_TENSOR_FLAG_COMPUTE) == 0);
    host->marks_compute = (y->flags & GGML_TENSOR_FLAG_COMPUTE) != 0;
    return OCLORA_OK;
}

/* Newer hosts turn a window of the channels; in others the word means nothing known here. */
static void learn_rope_offset(oclora_host *host, const makers *make, struct ggml_context *ctx)
{
    struct ggml_tensor *(*set_offset)(struct ggml_tensor *, int) = NULL;
    void *address = oclora_host_symbol(host, "ggml_rope_set_offset");
    if (address == NULL) return;
    memcpy(&set_offset, &address, sizeof address);
    struct ggml_tensor *x = make->ggml_new_tensor_4d(ctx, GGML_TYPE_F32, 32, 4, 2, 1);
    struct ggml_tensor *ids = make->ggml_new_tensor_4d(ctx, GGML_TYPE_I32, 2, 1, 1, 1);
    struct ggml_tensor *t =
        make->ggml_rope_ext(ctx, x, ids, NULL, 16, 2, 77, 1e4f, 0.5f, 0.25f, 1.5f, 32.0f, 2.0f);
    host->rope_offset = t->op_params[15] == 0 && set_offset(t, 6)->op_params[15] == 6;
}

static oclora_status probe_in(oclora_host *host, const makers *make, struct ggml_context *ctx,
                              oclora_error *err)
{
    OCLORA_TRY(check_layout(make, ctx, err));
    OCLORA_TRY(check_params(make, ctx, err));
    struct ggml_tensor *x = make->ggml_new_tensor_4d(ctx, GGML_TYPE_F32, 16, 4, 1, 1);
    int last = (int)make->ggml_swiglu(ctx, x)->op;
    DEMAND(last > 0 && last < OCLORA_HOST_OPS);
    OCLORA_TRY(learn_ops(host, last, err));
    learn_variants(host, ctx, x);
    learn_rope_offset(host, make, ctx);
    OCLORA_TRY(check_ops(host, make, ctx, x, err));
    return check_graph(host, make, ctx, x, err);
}

oclora_status oclora_host_probe_tensors(oclora_host *host, oclora_error *err)
{
    makers make = {0};
    OCLORA_TRY(bind_makers(&make, host, err));
    OCLORA_TRY(check_types(host, err));
    memset(host->op, OCLORA_HOST_UNKNOWN, sizeof host->op);
    memset(host->op_unary, OCLORA_HOST_UNKNOWN, sizeof host->op_unary);
    memset(host->unary, OCLORA_HOST_UNKNOWN, sizeof host->unary);
    memset(host->glu, OCLORA_HOST_UNKNOWN, sizeof host->glu);
    /* The overhead is a tensor and its list entry (32 bytes): a tensor of another size shows here,
     * before any field of it is read. */
    size_t overhead = make.ggml_tensor_overhead();
    if (overhead != sizeof(struct ggml_tensor) + 32)
        return oclora_fail(err, OCLORA_HOST_MISMATCH,
                           "a tensor takes %zu bytes; this plugin knows one of %zu", overhead,
                           sizeof(struct ggml_tensor));
    struct ggml_init_params params = {
        .mem_size = 128 * overhead + make.ggml_graph_overhead_custom(8, false),
        .no_alloc = true,
    };
    struct ggml_context *ctx = make.ggml_init(params);
    if (ctx == NULL) return oclora_fail_memory(err, params.mem_size, "the host's probe context");
    oclora_status status = probe_in(host, &make, ctx, err);
    make.ggml_free(ctx);
    return status;
}
