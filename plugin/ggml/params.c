#include "plugin/ggml/translate.h"

#include <string.h>

/* Positions in op_params are checked against nodes made by the host when the plugin is loaded
 * (host_probe.c). */
static float f32_at(const struct ggml_tensor *node, int index)
{
    float value;
    memcpy(&value, &node->op_params[index], sizeof value);
    return value;
}

static void copy_floats(oclora_node_params *params, const struct ggml_tensor *node, int first,
                        int count)
{
    for (int i = 0; i < count; i++) params->f[i] = f32_at(node, first + i);
}

/* Words behind the known ones belong to newer features; they are zero where unused. */
static uint32_t rope(const oclora_host *host, const struct ggml_tensor *node,
                     oclora_node_params *params)
{
    const int32_t first = node->op_params[15];
    if (first != 0 && (!host->rope_offset || first < 0 || first > INT16_MAX))
        return OCLORA_OP_COUNT;
    for (int i = 0; i < 4; i++) {
        int32_t width = node->op_params[11 + i];
        if (width < 0 || width > INT16_MAX) return OCLORA_OP_COUNT;
        params->i[2 + i / 2] |= width << (i % 2 * 16);
    }
    if (node->op_params[2] < 0 || node->op_params[2] > UINT16_MAX) return OCLORA_OP_COUNT;
    params->variant = (uint32_t)node->op_params[2] | (uint32_t)first << 16;
    params->i[0] = node->op_params[1];
    params->i[1] = node->op_params[4];
    copy_floats(params, node, 5, 6);
    return OCLORA_OP_ROPE;
}

static uint32_t glu(const oclora_host *host, const struct ggml_tensor *node,
                    oclora_node_params *params)
{
    uint32_t number = (uint32_t)node->op_params[0];
    uint8_t variant = number < sizeof host->glu ? host->glu[number] : OCLORA_HOST_UNKNOWN;
    if (variant == OCLORA_HOST_UNKNOWN) return OCLORA_OP_COUNT;
    params->variant = variant;
    params->i[0] = node->op_params[1];
    copy_floats(params, node, 2, 2);
    return OCLORA_OP_GLU;
}

static uint32_t unary(const oclora_host *host, const struct ggml_tensor *node,
                      oclora_node_params *params)
{
    uint8_t variant = host->op_unary[node->op];
    uint32_t number = (uint32_t)node->op_params[0];
    if (variant == OCLORA_HOST_UNKNOWN && number < sizeof host->unary)
        variant = host->unary[number];
    if (variant == OCLORA_HOST_UNKNOWN) return OCLORA_OP_COUNT;
    params->variant = variant;
    return OCLORA_OP_UNARY;
}

/* Pairs of numbers, of the width and of the height. */
static uint32_t im2col(const struct ggml_tensor *node, oclora_node_params *params)
{
    for (int i = 0; i < 6; i++) {
        int32_t value = node->op_params[i];
        if (value < 0 || value > INT16_MAX) return OCLORA_OP_COUNT;
        params->i[i / 2] |= value << (i % 2 * 16);
    }
    params->i[3] = node->op_params[6];
    return OCLORA_OP_IM2COL;
}

/* A host may name further sources that only repeat the destination. */
static uint32_t source_limit(uint32_t op)
{
    switch (op) {
    case OCLORA_OP_NONE:
    case OCLORA_OP_COPY:
        return 1;
    case OCLORA_OP_SET_ROWS:
        return 2;
    case OCLORA_OP_REPEAT:
        return 1;
    default:
        return OCLORA_NODE_SOURCES;
    }
}

uint32_t oclora_ggml_params(const oclora_host *host, const struct ggml_tensor *node,
                            oclora_node_params *params, uint32_t *n_src)
{
    memset(params, 0, sizeof *params);
    uint32_t op = (uint32_t)node->op < OCLORA_HOST_OPS ? host->op[node->op] : OCLORA_HOST_UNKNOWN;
    if (op == OCLORA_HOST_UNKNOWN) return OCLORA_OP_COUNT;
    *n_src = source_limit(op);
    switch (op) {
    case OCLORA_OP_SCALE:
    case OCLORA_OP_CLAMP:
        copy_floats(params, node, 0, 2);
        return op;
    case OCLORA_OP_NORM:
    case OCLORA_OP_RMS_NORM:
    case OCLORA_OP_L2_NORM:
        copy_floats(params, node, 0, 1);
        return op;
    case OCLORA_OP_SOFT_MAX:
        copy_floats(params, node, 0, 2);
        return op;
    case OCLORA_OP_FLASH_ATTN:
        copy_floats(params, node, 0, 3);
        return op;
    case OCLORA_OP_CONCAT:
    case OCLORA_OP_ARGSORT:
        params->i[0] = node->op_params[0];
        return op;
    case OCLORA_OP_ROPE:
        return rope(host, node, params);
    case OCLORA_OP_IM2COL:
        return im2col(node, params);
    case OCLORA_OP_GLU:
        return glu(host, node, params);
    case OCLORA_OP_UNARY:
        return unary(host, node, params);
    default:
        return op;
    }
}
