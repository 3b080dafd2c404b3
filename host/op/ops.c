#include "host/op/family.h"

#include <stdio.h>
#include <string.h>

static bool nothing_supported(const oclora_context *context, const oclora_op_call *call)
{
    (void)context;
    (void)call;
    return true;
}

static oclora_status nothing_run(oclora_stream *stream, const oclora_op_call *call,
                                 oclora_error *err)
{
    (void)stream;
    (void)call;
    (void)err;
    return OCLORA_OK;
}

#define FAMILY(text, sources, family)                                                              \
    {                                                                                              \
        text, sources, oclora_##family##_supported, oclora_##family##_run                          \
    }

static const oclora_op_entry table[OCLORA_OP_COUNT] = {
    [OCLORA_OP_NONE] = {"none", 0, nothing_supported, nothing_run},
    [OCLORA_OP_MUL_MAT] = FAMILY("mul_mat", 2, matmul_op),
    [OCLORA_OP_MUL_MAT_ID] = FAMILY("mul_mat_id", 3, matmul_id),
    [OCLORA_OP_GET_ROWS] = FAMILY("get_rows", 2, get_rows),
    [OCLORA_OP_SET_ROWS] = FAMILY("set_rows", 2, set_rows),
    [OCLORA_OP_COPY] = FAMILY("copy", 1, copy),
    [OCLORA_OP_ADD] = FAMILY("add", 2, binary),
    [OCLORA_OP_SUB] = FAMILY("sub", 2, binary),
    [OCLORA_OP_MUL] = FAMILY("mul", 2, binary),
    [OCLORA_OP_DIV] = FAMILY("div", 2, binary),
    [OCLORA_OP_SCALE] = FAMILY("scale", 1, unary),
    [OCLORA_OP_NORM] = FAMILY("norm", 1, norm),
    [OCLORA_OP_RMS_NORM] = FAMILY("rms_norm", 1, norm),
    [OCLORA_OP_L2_NORM] = FAMILY("l2_norm", 1, norm),
    [OCLORA_OP_ROPE] = FAMILY("rope", 2, rope),
    [OCLORA_OP_SOFT_MAX] = FAMILY("soft_max", 1, softmax),
    [OCLORA_OP_FLASH_ATTN] = FAMILY("flash_attn", 3, attention),
    [OCLORA_OP_GLU] = FAMILY("glu", 1, glu),
    [OCLORA_OP_UNARY] = FAMILY("unary", 1, unary),
    [OCLORA_OP_CONCAT] = FAMILY("concat", 2, concat),
    [OCLORA_OP_REPEAT] = FAMILY("repeat", 1, repeat),
    [OCLORA_OP_SUM_ROWS] = FAMILY("sum_rows", 1, norm),
    [OCLORA_OP_ARGSORT] = FAMILY("argsort", 1, argsort),
    [OCLORA_OP_CLAMP] = FAMILY("clamp", 1, unary),
    [OCLORA_OP_ADD_ID] = FAMILY("add_id", 3, add_id),
    [OCLORA_OP_IM2COL] = FAMILY("im2col", 2, im2col),
};

const char *oclora_op_name(uint32_t op)
{
    return op < OCLORA_OP_COUNT ? table[op].name : "unknown";
}

static bool shape_is_sane(const oclora_tensor *tensor)
{
    if (tensor->type >= OCLORA_TYPE_COUNT) return false;
    const uint32_t block = oclora_type_block(tensor->type);
    if (block == 0 || tensor->ne[0] % block != 0) return false;
    return block == 1 || oclora_tensor_row_contiguous(tensor);
}

/* The file of cl/ an op's kernel lies in, so that a device where it computes wrong values declines
 * it. */
static const char *const kernel_files[OCLORA_OP_COUNT] = {
    [OCLORA_OP_MUL_MAT] = "matmul_plain",
    [OCLORA_OP_MUL_MAT_ID] = "matmul_plain",
    [OCLORA_OP_GET_ROWS] = "rows",
    [OCLORA_OP_SET_ROWS] = "rows",
    [OCLORA_OP_COPY] = "elementwise",
    [OCLORA_OP_ADD] = "elementwise",
    [OCLORA_OP_SUB] = "elementwise",
    [OCLORA_OP_MUL] = "elementwise",
    [OCLORA_OP_DIV] = "elementwise",
    [OCLORA_OP_SCALE] = "elementwise",
    [OCLORA_OP_NORM] = "norm",
    [OCLORA_OP_RMS_NORM] = "norm",
    [OCLORA_OP_L2_NORM] = "norm",
    [OCLORA_OP_ROPE] = "rope",
    [OCLORA_OP_SOFT_MAX] = "softmax",
    [OCLORA_OP_FLASH_ATTN] = "attention",
    [OCLORA_OP_GLU] = "elementwise",
    [OCLORA_OP_UNARY] = "elementwise",
    [OCLORA_OP_CONCAT] = "shape",
    [OCLORA_OP_REPEAT] = "shape",
    [OCLORA_OP_SUM_ROWS] = "norm",
    [OCLORA_OP_ARGSORT] = "shape",
    [OCLORA_OP_CLAMP] = "elementwise",
    [OCLORA_OP_ADD_ID] = "rows",
    [OCLORA_OP_IM2COL] = "elementwise",
};

static bool kernel_enabled(const oclora_context *context, const oclora_op_call *call)
{
    char defines[40];
    if (!context || !kernel_files[call->op]) return true;
    const bool matmul = call->op == OCLORA_OP_MUL_MAT || call->op == OCLORA_OP_MUL_MAT_ID;
    snprintf(defines, sizeof defines, "-D%s=%u",
             matmul                        ? "A_TYPE"
             : call->op == OCLORA_OP_GLU   ? "GLU"
             : call->op == OCLORA_OP_UNARY ? "UNARY"
                                           : "TYPE",
             matmul                                                     ? call->src[0].type
             : call->op == OCLORA_OP_GLU || call->op == OCLORA_OP_UNARY ? call->params.variant
                                                                        : call->src[0].type);
    return oclora_context_kernel_enabled(context, kernel_files[call->op], defines);
}

bool oclora_op_supported(const oclora_context *context, const oclora_op_call *call)
{
    if (call->op >= OCLORA_OP_COUNT || table[call->op].supported == NULL) return false;
    if (call->op == OCLORA_OP_NONE) return true;
    if (call->n_src > OCLORA_NODE_SOURCES || !shape_is_sane(&call->dst)) return false;
    for (uint32_t i = 0; i < call->n_src; i++) {
        const bool absent = call->src[i].ne[0] == 0 && call->src[i].nb[0] == 0;
        if (!absent && !shape_is_sane(&call->src[i])) return false;
    }
    if (call->n_src < table[call->op].min_src) return false;
    /* A host asks about graphs whose last layer has no rows (none of a part's tokens is read). */
    if (oclora_tensor_empty(&call->dst)) return true;
    return kernel_enabled(context, call) && table[call->op].supported(context, call);
}

/* "f32[576,4,1,1]" appended to text. */
static void describe(char *text, size_t room, const char *role, const oclora_tensor *tensor)
{
    const size_t used = strlen(text);
    if (used + 1 >= room) return;
    snprintf(text + used, room - used, " %s %s[%llu,%llu,%llu,%llu]", role,
             oclora_type_name(tensor->type), (unsigned long long)tensor->ne[0],
             (unsigned long long)tensor->ne[1], (unsigned long long)tensor->ne[2],
             (unsigned long long)tensor->ne[3]);
}

static oclora_status refuse(const oclora_op_call *call, oclora_error *err)
{
    static const char *const roles[OCLORA_NODE_SOURCES] = {"src0", "src1", "src2", "src3",
                                                           "src4", "src5", "src6", "src7"};
    char text[400] = "";
    describe(text, sizeof(text), "dst", &call->dst);
    for (uint32_t i = 0; i < call->n_src && i < OCLORA_NODE_SOURCES; i++)
        if (call->src[i].ne[0] != 0) describe(text, sizeof(text), roles[i], &call->src[i]);
    return oclora_fail(err, OCLORA_NOT_SUPPORTED, "op %s is not done for%s",
                       oclora_op_name(call->op), text);
}

/* The last byte a view touches lies inside its buffer. */
static oclora_status check_range(const oclora_op_call *call, const oclora_tensor *tensor,
                                 const char *role, oclora_error *err)
{
    if (tensor->buffer == NULL)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "op %s: %s has no memory",
                           oclora_op_name(call->op), role);
    const uint64_t size = oclora_buffer_bytes(tensor->buffer);
    uint64_t last = tensor->offset + oclora_type_block_bytes(tensor->type);
    bool fits = last >= tensor->offset && last <= size;
    for (int i = 0; fits && i < 4; i++) {
        const uint64_t steps =
            (i == 0 ? tensor->ne[0] / oclora_type_block(tensor->type) : tensor->ne[i]) - 1;
        if (steps != 0 && tensor->nb[i] > (size - last) / steps)
            fits = false;
        else
            last += steps * tensor->nb[i];
    }
    if (fits) return OCLORA_OK;
    return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                       "op %s: %s at offset %llu reaches beyond its buffer of %llu bytes",
                       oclora_op_name(call->op), role, (unsigned long long)tensor->offset,
                       (unsigned long long)size);
}

oclora_status oclora_op_run(oclora_stream *stream, const oclora_op_call *call, oclora_error *err)
{
    if (!oclora_op_supported(oclora_stream_context(stream), call)) return refuse(call, err);
    if (call->op == OCLORA_OP_NONE || oclora_tensor_empty(&call->dst)) return OCLORA_OK;
    if (call->op == OCLORA_OP_SET_ROWS && oclora_tensor_empty(&call->src[0])) return OCLORA_OK;
    OCLORA_TRY(check_range(call, &call->dst, "dst", err));
    for (uint32_t i = 0; i < call->n_src; i++) {
        if (oclora_tensor_absent(&call->src[i])) continue;
        if (oclora_tensor_empty(&call->src[i])) return refuse(call, err);
        OCLORA_TRY(check_range(call, &call->src[i], "a source", err));
    }
    return table[call->op].run(stream, call, err);
}
