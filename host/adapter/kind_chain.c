/* Kinds whose files hold several factor pairs per module: chains (COLA, RAC-LoRA, XGBLoRA), blocks
 * (MELoRA) and Delta-LoRA's two snapshots. All become one pair of summed rank. */
#include "host/adapter/loader.h"

#include <string.h>

enum { PART_A, PART_B, PART_A_START, PART_B_START, BLOCKS_MAX = 64 };

typedef struct pair {
    oclora_view a;
    oclora_view b;
    double scale;
    uint32_t a_col; /* where the pair's columns lie in the joined A */
    uint32_t b_col; /* and in the joined, rank-major B */
} pair;

static oclora_status fill(oclora_load *load, const pair *pairs, size_t count, oclora_matrix *a,
                          oclora_matrix *b, float *scale, oclora_error *err)
{
    uint32_t row = 0;
    for (size_t i = 0; i < count; i++) {
        OCLORA_TRY(oclora_matrix_put(a, load->env, pairs[i].a, row, pairs[i].a_col, false, err));
        OCLORA_TRY(oclora_matrix_put(b, load->env, pairs[i].b, row, pairs[i].b_col, true, err));
        for (uint32_t j = 0; j < pairs[i].a.rows; j++) scale[row + j] = (float)pairs[i].scale;
        row += pairs[i].a.rows;
    }
    return OCLORA_OK;
}

/* A stacked by rows, B by columns; d_in and d_out are set. */
static oclora_status join(oclora_load *load, oclora_module *module, const pair *pairs, size_t count,
                          oclora_error *err)
{
    uint64_t rank = 0;
    for (size_t i = 0; i < count; i++) rank += pairs[i].a.rows;
    if (rank > OCLORA_RANK_MAX)
        return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                           "module %s: the ranks add up to %llu, over %d", module->name,
                           (unsigned long long)rank, OCLORA_RANK_MAX);
    OCLORA_TRY(oclora_module_scale(load, module, (uint32_t)rank, 0.0, err));
    oclora_matrix a = {0}, b = {0};
    oclora_status status = oclora_matrix_create(&a, load->env, rank, module->d_in, err);
    if (status == OCLORA_OK) status = oclora_matrix_create(&b, load->env, rank, module->d_out, err);
    if (status == OCLORA_OK) status = fill(load, pairs, count, &a, &b, module->scale, err);
    if (status == OCLORA_OK)
        status = oclora_image_factor(load->image, &module->a, &a, load->store, module->name, err);
    if (status == OCLORA_OK)
        status = oclora_image_factor(load->image, &module->b, &b, load->store, module->name, err);
    oclora_matrix_free(&a, load->env);
    oclora_matrix_free(&b, load->env);
    return status;
}

/* alpha / r, or alpha alone where the config (or RAC-LoRA's own code) says so. */
static oclora_status stage_scale(oclora_load *load, const oclora_group *group, uint32_t index,
                                 uint32_t rank, double *scale, oclora_error *err)
{
    double config_rank = rank, alpha = rank;
    const char *rule = load->loader->kind == OCLORA_KIND_RAC_LORA ? "alpha" : "alpha_over_r";
    OCLORA_TRY(oclora_config_item(&load->config, "r", index, &config_rank, err));
    OCLORA_TRY(oclora_config_item(&load->config, "lora_alpha", index, &alpha, err));
    OCLORA_TRY(oclora_config_text(&load->config, "scaling", &rule, err));
    if (config_rank != rank)
        return oclora_fail(err, OCLORA_RANK_MISMATCH,
                           "module %s: pair %u has rank %u, adapter_config.json says %g",
                           group->name, (unsigned)index, (unsigned)rank, config_rank);
    if (strcmp(rule, "alpha") != 0 && strcmp(rule, "alpha_over_r") != 0)
        return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                           "adapter_config.json: scaling is neither alpha nor alpha_over_r");
    *scale = strcmp(rule, "alpha") == 0 ? alpha : alpha / rank;
    return OCLORA_OK;
}

static oclora_status read_pair(oclora_load *load, const oclora_group *group, uint32_t index,
                               pair *out, oclora_error *err)
{
    const oclora_file_tensor *a, *b;
    OCLORA_TRY(oclora_group_need(load, group, PART_A, index, &a, err));
    OCLORA_TRY(oclora_group_need(load, group, PART_B, index, &b, err));
    OCLORA_TRY(oclora_view_of(a, &out->a, err));
    OCLORA_TRY(oclora_view_of(b, &out->b, err));
    OCLORA_TRY(oclora_check_rank(group, out->a.rows, out->b.cols, 0, err));
    return stage_scale(load, group, index, out->a.rows, &out->scale, err);
}

/* Reads every pair of the module in order of its number; parts are sorted A first, then B. */
static oclora_status read_pairs(oclora_load *load, const oclora_group *group, pair *pairs,
                                size_t *count, oclora_error *err)
{
    for (size_t i = 0; i < group->count; i++) {
        uint32_t index = group->parts[i].index;
        if (group->parts[i].part == PART_A)
            OCLORA_TRY(read_pair(load, group, index, &pairs[(*count)++], err));
        else if (oclora_group_find(group, PART_A, index) == NULL)
            return oclora_fail(err, OCLORA_MISSING_TENSOR,
                               "module %s has lora_B.%u.weight and no lora_A.%u.weight",
                               group->name, (unsigned)index, (unsigned)index);
    }
    return OCLORA_OK;
}

static oclora_status fail_widths(oclora_error *err, const oclora_group *group)
{
    return oclora_fail(err, OCLORA_SHAPE_MISMATCH,
                       "module %s: its pairs differ in input or output width", group->name);
}

static oclora_status chain(oclora_load *load, const oclora_group *group, oclora_module *module,
                           pair *pairs, oclora_error *err)
{
    size_t count = 0;
    OCLORA_TRY(read_pairs(load, group, pairs, &count, err));
    module->d_in = pairs[0].a.cols;
    module->d_out = pairs[0].b.rows;
    for (size_t i = 0; i < count; i++)
        if (pairs[i].a.cols != module->d_in || pairs[i].b.rows != module->d_out)
            return fail_widths(err, group);
    return join(load, module, pairs, count, err);
}

/* Block i of the inputs feeds block i of the outputs: zeros elsewhere. */
static oclora_status blocks(oclora_load *load, const oclora_group *group, oclora_module *module,
                            pair *pairs, oclora_error *err)
{
    size_t count = 0;
    OCLORA_TRY(read_pairs(load, group, pairs, &count, err));
    if (count > BLOCKS_MAX)
        return oclora_fail(err, OCLORA_NOT_SUPPORTED, "module %s has %zu blocks, over %d",
                           group->name, count, BLOCKS_MAX);
    uint32_t width = pairs[0].a.cols, height = pairs[0].b.rows;
    for (size_t i = 0; i < count; i++) {
        if (group->parts[i].index != i)
            return oclora_fail(err, OCLORA_MISSING_TENSOR, "module %s: block %zu of %zu is missing",
                               group->name, i, count);
        if (pairs[i].a.cols != width || pairs[i].b.rows != height) return fail_widths(err, group);
        pairs[i].a_col = (uint32_t)i * width;
        pairs[i].b_col = (uint32_t)i * height;
    }
    const json_t *ranks = json_object_get(load->config.root, "r");
    if (json_is_array(ranks) && json_array_size(ranks) != count)
        return oclora_fail(err, OCLORA_RANK_MISMATCH,
                           "module %s has %zu blocks, adapter_config.json lists %zu ranks",
                           group->name, count, json_array_size(ranks));
    uint64_t d_in = (uint64_t)count * width, d_out = (uint64_t)count * height;
    if (d_in > OCLORA_DIM_MAX || d_out > OCLORA_DIM_MAX) return fail_widths(err, group);
    module->d_in = (uint32_t)d_in;
    module->d_out = (uint32_t)d_out;
    return join(load, module, pairs, count, err);
}

typedef oclora_status (*pairs_function)(oclora_load *load, const oclora_group *group,
                                        oclora_module *module, pair *pairs, oclora_error *err);

static oclora_status with_pairs(oclora_load *load, const oclora_group *group, oclora_module *module,
                                pairs_function run, oclora_error *err)
{
    if (group->parts[0].part != PART_A) /* sorted: without any A */
        return oclora_fail(err, OCLORA_MISSING_TENSOR, "module %s has no lora_A tensor",
                           group->name);
    pair *pairs = oclora_alloc(load->env, group->count, sizeof *pairs);
    if (pairs == NULL) return oclora_fail_memory(err, group->count * sizeof *pairs, "factor pairs");
    oclora_status status = run(load, group, module, pairs, err);
    oclora_release(load->env, pairs);
    return status;
}

oclora_status oclora_chain_module(oclora_load *load, const oclora_group *group,
                                  oclora_module *module, oclora_error *err)
{
    return with_pairs(load, group, module, chain, err);
}

oclora_status oclora_melora_module(oclora_load *load, const oclora_group *group,
                                   oclora_module *module, oclora_error *err)
{
    return with_pairs(load, group, module, blocks, err);
}

/* W moved by lambda (B A - B0 A0) in training and s B A comes on top: rank 2r with two scales. */
oclora_status oclora_delta_module(oclora_load *load, const oclora_group *group,
                                  oclora_module *module, oclora_error *err)
{
    const oclora_file_tensor *tensors[4];
    pair pairs[2] = {{.a_col = 0}};
    uint32_t rank;
    double alpha, lambda = 0.0;
    for (uint32_t i = 0; i < 4; i++)
        OCLORA_TRY(oclora_group_need(load, group, i, 0, &tensors[i], err));
    if (oclora_config_empty(&load->config, "delta_lambda"))
        return oclora_fail(err, OCLORA_FILE_FORMAT, "adapter_config.json has no delta_lambda");
    OCLORA_TRY(oclora_config_number(&load->config, "delta_lambda", &lambda, err));
    OCLORA_TRY(oclora_config_rank(&load->config, group->name, &rank, &alpha, err));
    for (uint32_t i = 0; i < 2; i++) {
        OCLORA_TRY(oclora_view_of(tensors[2 * i], &pairs[i].a, err));
        OCLORA_TRY(oclora_view_of(tensors[2 * i + 1], &pairs[i].b, err));
        OCLORA_TRY(oclora_check_rank(group, pairs[i].a.rows, pairs[i].b.cols, rank, err));
    }
    if (pairs[0].a.cols != pairs[1].a.cols || pairs[0].b.rows != pairs[1].b.rows)
        return fail_widths(err, group);
    pairs[0].scale = lambda + alpha / rank;
    pairs[1].scale = -lambda;
    module->d_in = pairs[0].a.cols;
    module->d_out = pairs[0].b.rows;
    return join(load, module, pairs, 2, err);
}
